"""The table of tasks: the former five are the ids of the code before it; the others show what they must and no more."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import for_each
from tiny_tokenizers import sentencepiece_model

from motiongpt.data.spelling import fold
from motiongpt.data.tokens import Entry
from motiongpt.files.sentencepiece_model import tokenizer_json
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.sequences import NULL_SHARE, Renderer, sentinel_ids
from motiongpt.tasks.spans import corrupt_spans
from motiongpt.tasks.table import FORMER, FROM_TEMPLATES, TABLE, TASKS, WRITE_TEXT, end_codes, first_codes, key_codes
from motiongpt.tasks.templates import CAPTION, Group, Templates, built_in, tells_length
from motiongpt.text_tokenizer import JSONTokenizer, load_text_tokenizer
from motiongpt.vocab import MotionVocab

DEMO = Path(__file__).resolve().parents[1] / "checkpoints" / "demo"
CODES = 64
CAPTIONS = ("a person walks forward", "A person WAVES the left hand, twice.", "x")
GIVEN = ("predict", "inbetween", "init", "last", "keys", "random")


def former_render(renderer: Renderer, task: str, entry: Entry, rng) -> tuple[list[int], list[bool]]:
    """`Renderer.render` as it was before the table, one chain of ifs."""
    ids, labels = [], []

    def add(piece, label):
        ids.extend(piece)
        labels.extend([label] * len(piece))

    encode = renderer.vocab.text_tokenizer.encode
    who = None if entry.participant is not None and rng.random() < NULL_SHARE else entry.participant
    caption = []
    if task in ("t2m", "m2t", "caption"):
        caption = encode(fold(entry.text) if task == "t2m" and renderer.fold_captions else entry.text)
    motion = renderer.vocab.motion_ids(entry.codes) if task != "caption" else []
    answer = [*caption, renderer.frame.stop_id] if task in ("m2t", "caption") else motion
    if task == "t2m":
        if renderer.caption_dropout:
            kept = rng.random(len(caption)) >= renderer.caption_dropout
            caption = [token for token, keep in zip(caption, kept, strict=True) if keep] or caption
        add(renderer.prompt(task, caption, who), False)
    elif task == "m2t":
        add(renderer.prompt(task, motion, who), False)
    elif task == "denoise":
        S = len(motion) - 2
        masked = list(motion)
        for position in rng.choice(S, size=max(1, round(0.15 * S)), replace=False) + 1:
            masked[position] = renderer.vocab.id("<MOTION_MASK>")
        add(renderer.prompt(task, masked, who), False)
    elif renderer.encoder:
        shown, hidden = corrupt_spans(motion or caption, sentinel_ids(renderer.vocab), rng)
        add([*shown, renderer.frame.stop_id], False)
        answer = [*hidden, renderer.frame.stop_id]
    else:
        add(renderer.frame.start, False)
    add(answer, True)
    return ids, labels


@pytest.fixture(scope="module")
def vocabs() -> dict[bool, MotionVocab]:
    """By whether it is an encoder-decoder's: the demo's vocabulary, and T5's."""
    t5 = JSONTokenizer(json.dumps(tokenizer_json(sentencepiece_model("t5"), sentinels=100)))
    tokenizers = {False: load_text_tokenizer(DEMO), True: t5}
    return {encoder: MotionVocab(tokenizer, CODES, ["P1", "P2"]) for encoder, tokenizer in tokenizers.items()}


def entries(draw: np.random.Generator, n: int = 6) -> list[Entry]:
    """Captions, participants and codes at random; lengths from 1."""
    people = (None, "P1", "P2")
    return [
        Entry(CAPTIONS[i % 3], tuple(draw.integers(0, CODES, size=1 + draw.integers(60)).tolist()), people[i % 3])
        for i in range(n)
    ]


@for_each("encoder", [False, True])
@for_each("task", FORMER)
@for_each("dropout, fold_captions", [(0.0, False), (0.3, True)])
def test_ids_labels_and_draws_of_the_former_tasks_stay(encoder, task, dropout, fold_captions, vocabs):
    """Token for token, and the generator ends in the same state: a training of before resumes as it was."""
    renderer = Renderer(vocabs[encoder], caption_dropout=dropout, fold_captions=fold_captions, encoder=encoder)
    for seed in range(5):
        ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
        for entry in entries(np.random.default_rng(100 + seed)):
            assert renderer.render(task, entry, ours) == former_render(renderer, task, entry, theirs)
        assert ours.bit_generator.state == theirs.bit_generator.state


def test_the_table_and_its_names():
    assert TASKS[:5] == FORMER == ("t2m", "m2t", "denoise", "motion", "caption")
    assert TASKS[5:] == FROM_TEMPLATES == (*GIVEN, "edit", "t2d", "m2d", "read") == tuple(built_in("plain").groups)
    assert WRITE_TEXT == ("m2t", "caption", "t2d", "m2d", "read")
    assert all(name == task.name for name, task in TABLE.items())
    assert [task.name for task in TABLE.values() if task.of_pairs] == ["edit"]
    assert [task.name for task in TABLE.values() if task.of_plain] == ["read"]


@for_each("encoder", [False, True])
@for_each("task", GIVEN)
def test_a_task_with_given_codes_shows_those_and_asks_for_the_whole_motion(encoder, task, vocabs):
    """Only codes of the motion are shown, by their number those of the task."""
    vocab = vocabs[encoder]
    renderer, draw = Renderer(vocab, encoder=encoder), np.random.default_rng(0)
    for entry in entries(np.random.default_rng(1), 30):
        ids, labels = renderer.render(task, entry, draw)
        first = labels.index(True)
        assert labels == [False] * first + [True] * (len(ids) - first)
        assert ids[first:] == vocab.motion_ids(entry.codes)
        shown = codes_in(ids[:first], vocab)
        S = len(entry.codes)
        wanted = {
            "predict": list(entry.codes[: max(1, S // 5)]),
            "inbetween": [entry.codes[i] for i in end_codes(S, draw)],
            "init": [entry.codes[0]],
            "last": [entry.codes[-1]],
            "random": [],
        }
        if task == "keys":
            assert min(S, 3) <= len(shown) <= 5
            keys = iter(entry.codes)
            assert all(code in keys for code in shown)  # in the order of the motion
        else:
            assert shown == wanted[task]
        masked = ids[:first].count(vocab.id("<MOTION_MASK>"))
        assert masked == (S - len(shown) if task == "inbetween" else 0)


def codes_in(ids: list[int], vocab: MotionVocab) -> list[int]:
    return [i - vocab.first_motion for i in ids if 0 <= i - vocab.first_motion < CODES]


@for_each("encoder", [False, True])
def test_edit_shows_the_motion_to_change_and_durations_are_text(encoder, vocabs):
    """16 codes of 4 frames at 20 frames a second are 3.2 seconds."""
    vocab = vocabs[encoder]
    renderer, draw = Renderer(vocab, encoder=encoder), np.random.default_rng(0)
    edited = Entry("but faster", (1, 2, 3), source=(7, 8, 9, 10))
    for _ in range(20):
        ids, labels = renderer.render("edit", edited, draw)
        first = labels.index(True)
        assert codes_in(ids[:first], vocab) == [7, 8, 9, 10] and ids[first:] == vocab.motion_ids([1, 2, 3])
    entry = Entry("a person walks", tuple(range(16)))
    said = [*vocab.text_tokenizer.encode("3.2"), renderer.frame.stop_id]
    for task, shown in (("t2d", []), ("m2d", list(entry.codes))):
        ids, labels = renderer.render(task, entry, draw)
        first = labels.index(True)
        assert ids[first:] == said and codes_in(ids[:first], vocab) == shown


@for_each("encoder", [False, True])
@for_each("task", FROM_TEMPLATES)
@for_each("has_caption, has_length", [(False, False), (False, True), (True, False), (True, True)])
def test_sampling_asks_as_training_does(encoder, task, has_caption, has_length, vocabs):
    """With the wording that sampling takes as the only one, the request of a training example is that of sampling."""
    writer = Renderer(vocabs[encoder], encoder=encoder)
    found = writer.templates.for_sampling(task, has_caption, has_length)
    entry = Entry("Walks, twice.", tuple(range(20)), source=(7, 8, 9) if task == "edit" else ())
    caption = entry.text if has_caption else ""
    if found is None:
        needs = "no sentence" if has_caption else "a sentence"
        with pytest.raises(ValueError, match=f"ask for {task} with {needs} only"):
            writer.request(Request(task, caption, length=20 if has_length else None))
        return
    text, group = found
    assert (CAPTION in text) == has_caption
    alone = Templates({task: (Group(task, (text,), group.outputs),)})
    trained = Renderer(vocabs[encoder], encoder=encoder, templates=alone)
    ids, labels = trained.render(task, entry, np.random.default_rng(0))
    positions = {"predict": range(4), "inbetween": end_codes(20, np.random.default_rng(0)), "init": [0], "last": [19]}
    given = {i: entry.codes[i] for i in positions.get(task, ())}
    if task == "keys":
        shown = codes_in(ids[: labels.index(True)], vocabs[encoder])
        given = {code: code for code in shown}  # the code at position i is i
    length = 20 if has_length or task == "inbetween" else None
    motion = entry.source or (entry.codes if task == "m2d" else ())
    assert ids[: labels.index(True)] == writer.request(Request(task, caption, motion, given, length))
    # a length that is known is told wherever the task has words for it
    with_caption = [t for g in writer.templates.groups[task] for t in g.inputs if (CAPTION in t) == has_caption]
    assert tells_length(text) == (has_length and any(map(tells_length, with_caption)))


def test_given_positions_of_each_task():
    draw = np.random.default_rng(0)
    assert [first_codes(S, draw) for S in (1, 5, 9, 10)] == [[0], [0], [0], [0, 1]]
    assert [end_codes(S, draw) for S in (1, 2, 3, 8)] == [[0], [0, 1], [0, 2], [0, 1, 6, 7]]
    drawn = [key_codes(40, draw) for _ in range(300)]
    assert {len(keys) for keys in drawn} == {3, 4, 5} and all(keys == sorted(set(keys)) for keys in drawn)
    assert key_codes(2, draw) == [0, 1]


def test_a_request_as_text(vocabs):
    """The demo's tokenizer: a sentence, the caption, the length, and the key codes with their positions."""
    renderer = Renderer(vocabs[False])
    vocab, text = renderer.vocab, renderer.vocab.text_tokenizer
    for length, told in ((None, ""), (30, "\nfor 6.0 seconds")):
        request = Request("keys", "a person walks", given={24: 6, 0: 5}, length=length, participant="P1")
        ids = renderer.request(request)
        asked = ids[len(renderer.frame.before) : -len(renderer.frame.after)]
        assert asked[0] == vocab.id("<PID_P1>") and asked[-1] == vocab.first_motion + 6
        words = text.decode([i for i in asked if i < vocab.first_id])
        assert words == f"\n\nwrite a motion through the given poses\na person walks{told} 0: 24:"


@for_each("task", ("predict", "inbetween"))
def test_a_share_of_the_examples_has_a_sentence(task, vocabs):
    """Half of 1,000, within 5 standard deviations of 16."""
    renderer, draw = Renderer(vocabs[False]), np.random.default_rng(0)
    entry, word = Entry("zzz", (1, 2, 3, 4, 5)), vocabs[False].text_tokenizer.encode("\nzzz")
    with_sentence = 0
    for _ in range(1000):
        ids, _ = renderer.render(task, entry, draw)
        with_sentence += any(ids[i : i + len(word)] == word for i in range(len(ids)))
    assert abs(with_sentence - 500) < 80
