"""Free sentences read as plain captions: the tree that allows nothing else, the search in it, what people are told."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from cases import for_each
from tiny_backbones import backbone
from tiny_tokenizers import sentencepiece_model

from motiongpt import MotionGenerator
from motiongpt.cli.run_info import run_info
from motiongpt.config import SampleConfig
from motiongpt.data.plain_captions import action_of, check_reading_table, plain_length, reading_table, split_plain
from motiongpt.data.tokens import Entry, load_tokens, read_tokens_meta, save_tokens
from motiongpt.data.training_captions import Prompts, prompt_table
from motiongpt.data.words import denials
from motiongpt.evaluation.model_answers import write_motions
from motiongpt.generation import understanding
from motiongpt.generation.reading import END, PlainTree, Reader, Reading, search
from motiongpt.generation.scores import by_description
from motiongpt.generation.understanding import Listener, Understood, in_short, without_politeness
from motiongpt.stages.model import load_run
from motiongpt.stages.run_folder import RunConfig
from motiongpt.stages.ship import ship_run
from motiongpt.tasks.prompts import Request
from motiongpt.text_tokenizer import load_text_tokenizer, train_text_tokenizer

PLAIN = {
    "a person walks forward": "a man goes ahead",
    "a person walks forward slowly": "a man goes ahead without haste",
    "a happy person waves the left hand": "he waves, smiling",
    "a person waves the right hand": "greeting with the right hand",
    "a person walks forward then waves the right hand": "he goes ahead and then greets with the right hand",
    "a person stands still": "she does not move",
}
TABLE = {
    "subjects": ["a person", "a happy person"],
    "clauses": ["walks forward", "walks forward slowly", "raises the arm", "raises then arm"],
    "wholes": ["dancing", "a crowd walks"],
    "words": ["walks"],
    "telling": {},
    "negated": [],
}


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory):
    """A run that learnt t2m and read, barely; and its data."""
    folder = tmp_path_factory.mktemp("reading")
    entries = []
    for i in range(8):
        for plain, free in PLAIN.items():
            codes = (i % 4, 5, 6, 7 + i % 3, 9, 11)
            split = "val" if i == 7 else "train"
            entries += [
                Entry(text, codes, f"P{i % 3}", f"c{i}", split, plain=plain if i else "") for text in (plain, free)
            ]
    meta = {key: value for key, value in read_tokens_meta(tiny.data).items() if key != "tokens"}
    save_tokens(folder / "tokens.json", entries, meta)
    tasks = {"t2m": 1.0, "read": 1.0}
    tiny.finetune(folder / "run", 1, data=folder / "tokens.json", vqvae=tiny.vqvae, tasks=tasks)
    return folder


@pytest.fixture(scope="module")
def reading(world) -> MotionGenerator:
    return MotionGenerator.load(world / "run")


def paths(node: dict) -> list[tuple[int, ...]]:
    """All sequences of ids that a tree allows."""
    found = [()] if END in node else []
    return found + [(key, *rest) for key, child in node.items() if key != END for rest in paths(child)]


def language(table: dict, most: int) -> set[str]:
    """All captions that a table stands for."""
    bodies = [" then ".join(part) for n in range(1, most + 1) for part in itertools.product(table["clauses"], repeat=n)]
    return {f"{subject} {body}" for subject in table["subjects"] for body in bodies} | set(table["wholes"])


# 1) The tree.


def tokenizers(tmp_path) -> dict:
    """Text tokenizers that cut these captions differently: few merges, many, and sentencepiece's."""
    texts = sorted(language(TABLE, 2))
    found = {f"bpe-{size}": train_text_tokenizer(texts[:size], size) for size in (280, 420)}
    for kind, name in (("llama", "tokenizer.model"), ("t5", "spiece.model")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_bytes(sentencepiece_model(kind))
        (tmp_path / kind / "tokenizer_config.json").write_text('{"extra_ids": 100}')
        found[kind] = load_text_tokenizer(tmp_path / kind)
    return found


def test_the_tree_has_the_captions_and_nothing_else(tmp_path):
    """As the ids that the whole sentences have, whatever the tokenizer joins; " the" may begin " then"."""
    for name, words in tokenizers(tmp_path).items():
        for most in (1, 2, 3):
            tree = PlainTree(TABLE, words.encode, most)
            wanted = {tuple(words.encode(text)) for text in language(TABLE, most)}
            assert set(paths(tree.root)) == wanted, (name, most)
            assert max(map(len, wanted)) <= tree.depth


def test_a_tokenizer_that_joins_words_is_refused():
    def joins(text: str) -> list[int]:
        return [hash(text) % 1000]

    with pytest.raises(ValueError, match="joins .* over a space"):
        PlainTree(TABLE, joins)
    alone = PlainTree(TABLE | {"subjects": [], "clauses": []}, joins)
    assert len(paths(alone.root)) == 2


# 2) The search.


@torch.no_grad()
def log_likelihood(run, prompt: list[int], answer: list[int]) -> float:
    """By the model itself, without a cache, in fp32."""
    text = torch.tensor([prompt + answer])
    states = run.llm.hidden(text)[:, -len(answer) - 1 : -1]
    log_p = run.llm.logits(states, span=(0, run.vocab.first_id)).log_softmax(-1)[0]
    return float(log_p.gather(-1, torch.tensor(answer)[:, None]).sum())


def test_a_wide_search_finds_the_best_caption_of_all(reading):
    """Every caption of a small language, by its likelihood; the widest search is no search at all."""
    run = reading.run
    table = run.prompts.reading | {"clauses": run.prompts.reading["clauses"][:4]}
    words, stop = run.vocab.text_tokenizer, run.renderer.frame.stop_id
    tree = PlainTree(table, words.encode, 2)
    for text in ("a man goes ahead", "xyz", "he waves"):
        prompt = run.renderer.request(Request("read", text))
        scores = {
            caption: log_likelihood(run, prompt, [*words.encode(caption), stop]) for caption in language(table, 2)
        }
        (found,) = search(run.llm, [prompt], tree.root, stop, run.vocab.first_id, 200, tree.depth)
        assert len(found) == len(scores)
        for beam in found:
            assert beam.score == pytest.approx(scores[words.decode(beam.ids)], abs=1e-3)
        assert [beam.score for beam in found] == sorted((beam.score for beam in found), reverse=True)
        for width in (1, 3):
            (few,) = search(run.llm, [prompt], tree.root, stop, run.vocab.first_id, width, tree.depth)
            assert len(few) == width and all(words.decode(beam.ids) in scores for beam in few)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_sentence_is_read_alone_as_among_others(family, world, tiny, tmp_path):
    """For every family: all that is read is a plain caption, and neighbours of any length change nothing."""
    home = backbone(family, tmp_path / family)
    data = world / "tokens.json"
    tiny.finetune(tmp_path / "run", 1, data=data, backbone=str(home), tasks={"read": 1.0}, vqvae=tiny.vqvae)
    run = load_run(tmp_path / "run")
    reader = Reader(run, run.prompts.reading)
    known = language(run.prompts.reading, 3)
    sentences = [
        "he waves",
        "a man goes ahead and then some more of it, until he stops",
        "🕺",
        "She Does NOT move.",
    ]
    together = reader.read(sentences)
    for text, found in zip(sentences, together, strict=True):
        (alone,) = reader.read([text])
        assert found.text == alone.text and found.text in known
        assert found.score == pytest.approx(alone.score, abs=1e-3) and found.score < 0
        assert 0 <= found.certainty <= 1 and action_of(found.text) not in map(action_of, dict(found.others))
    assert reader.read(["he WAVES. "])[0] == reader.read(["he waves"])[0]


def test_a_sentence_must_leave_room(reading):
    with pytest.raises(ValueError, match=r"^'walk walk .* has \d+ tokens: of the model's \d+ positions .* shorten it"):
        reading.listener.reader.read(["he waves", "walk " * 3000])


def test_a_sentence_has_its_room_beside_a_long_one(reading, monkeypatch):
    """What leaves room for a short caption only is read alone, or its neighbours would have no more room than it."""
    run, reader = reading.run, Reader(reading.run, reading.run.prompts.reading)
    texts = ["he waves", "a man goes ahead", "she does not move"]
    apart = [reader.read([text])[0].text for text in texts]
    long, few = "he waves " * 100, reader.tree.depth - 1  # ids that it leaves room for
    taken = len(run.renderer.request(Request("read", long)))
    monkeypatch.setattr(run.llm, "config", replace(run.llm.config, max_positions=taken + few + 1))
    searches = []
    monkeypatch.setattr("motiongpt.generation.reading.TOGETHER", 2)
    monkeypatch.setattr(reader, "_search", lambda *args: searches.append(args) or Reader._search(reader, *args))
    found = reader.read([texts[0], long, *texts[1:]])
    assert [one.text for one in (found[0], *found[2:])] == apart
    assert [(len(prompts), most) for prompts, most, _ in searches] == [(2, reader.tree.depth), (1, reader.tree.depth),
                                                                        (1, few)]  # fmt: skip


# 3) What is learnt.


def test_read_is_learnt_from_entries_with_a_plain_caption(world):
    """Sentence to plain caption, without a participant; entries without one take no part in it."""
    run = load_run(world / "run")
    entries = load_tokens(world / "tokens.json")
    from motiongpt.tasks.collate import TaskCollate

    build = TaskCollate(entries, {"read": 1.0}, run.renderer)
    assert len(build.entries) == sum(bool(entry.plain) for entry in entries) < len(entries)
    both = TaskCollate(entries, {"t2m": 1.0, "read": 1.0}, run.renderer)
    assert len(both.entries) == len(entries)
    import numpy as np

    ids, labels = run.renderer.render(
        "read", Entry("He WAVES.", (1,), "P1", plain="A person waves"), np.random.default_rng(0)
    )
    words = run.vocab.text_tokenizer
    learnt = [i for i, label in zip(ids, labels, strict=True) if label]
    assert learnt == [*words.encode("a person waves"), run.renderer.frame.stop_id]
    assert ids[: -len(learnt)] == run.renderer.request(Request("read", "he waves"))
    assert max(ids) < run.vocab.first_id  # no word of motion: another backbone needs none
    for entry in entries[:1]:
        with pytest.raises(ValueError, match="needs entries with a plain caption"):
            TaskCollate([entry], {"t2m": 1.0, "read": 1.0}, run.renderer)


def test_the_table_of_a_data_set(world):
    entries = [entry for entry in load_tokens(world / "tokens.json") if entry.split == "train"]
    table = reading_table(entries)
    assert set(table["subjects"]) == {"a person", "a happy person"} and table["subjects"][0] == "a person"
    assert set(table["clauses"]) == {"walks forward", "walks forward slowly", "waves the left hand",
                                     "waves the right hand", "stands still"}  # fmt: skip
    assert "mov" in table["negated"] and "smiling" in table["words"] and table["wholes"] == []
    told = table["telling"]
    assert told["wav"] == ["waves"] and told["ahead"] == ["walks"] and "he" not in told and "slowly" not in told
    check_reading_table(table)
    assert prompt_table(entries, True)["reading"] == table == json.loads(json.dumps(table))
    without = [Entry(entry.text, entry.codes) for entry in entries]
    assert "reading" not in prompt_table(without) and Prompts(prompt_table(without)).reading is None
    usual = set(table["clauses"]) - {"waves the left hand"}  # only a happy person does that
    assert table["lengths"] == dict.fromkeys(usual, 6) and table["paces"] == {"a person": 1.0}
    again = [replace(entry, text=f"the {i}th {entry.text}") for i in range(400) for entry in entries[:14]]
    typed = [replace(entries[0], text=text) for text in ("a man gose ahaed", "a man went to the alley", "wnet")]
    often = reading_table([*again, *typed])["words"]
    assert {"ahead", "went", "alley", "wnet"} <= set(often) and not {"ahaed"} & set(often)  # no "went" is common
    with pytest.raises(ValueError, match="got dict with telling \\['wav'\\]; training a stage writes it anew"):
        check_reading_table(table | {"telling": ["wav"]})
    with pytest.raises(ValueError, match="clauses must be a list of texts"):
        Prompts(prompt_table(entries) | {"reading": table | {"clauses": 3}})
    with pytest.raises(ValueError, match="lengths of 'waves' must be positive, got -1"):
        check_reading_table(table | {"lengths": {"waves": -1}})


def test_the_length_of_a_new_plain_caption_is_that_of_its_clauses():
    """Each motion counts once, however often it is listed; a seam costs a code; moods have a pace of their own."""
    lengths = {"walks": (10, 10, 14), "waves": (4,), "sits down": (8, 9)}
    entries = [
        Entry(f"he {clause}", (i, *range(length - 1)), plain=f"a person {clause}")
        for clause, found in lengths.items()
        for i, length in enumerate(found)
    ]
    slow = Entry("the old man walks", tuple(range(15)), plain="an old person walks")
    table = prompt_table([*entries, *[entries[2]] * 9, slow])
    assert table["reading"]["lengths"] == {"walks": 10, "waves": 4, "sits down": 8}
    assert table["reading"]["paces"] == {"a person": 1.0, "an old person": 1.5}
    prompts = Prompts(table)
    for text, expected in {
        "a person walks then waves": 13,
        "an old person walks then waves then sits down": 31,
        "an old person waves": 6,
        "he walks": 14,  # a caption of training: the median of all its entries
    }.items():
        assert prompts.expected_length(text) == expected, text
    assert plain_length(table["reading"], "a person walks then flies") is None
    assert plain_length(table["reading"], "a sad person walks") is plain_length(table["reading"], "dancing") is None
    del table["reading"]["lengths"], table["reading"]["paces"]  # of an older run
    assert plain_length(table["reading"], "a person walks") is None and Prompts(table).expected_length("a person waves")


@for_each(
    "text, subject, clauses, action",
    [
        ("a person walks", "a person", ("walks",), ("walks",)),
        ("a person waves the left hand twice slowly then sits down", "a person",
         ("waves the left hand twice slowly", "sits down"), ("waves hand", "sits")),
        ("an old person turns right 90 degrees", "an old person", ("turns right 90 degrees",), ("turns",)),
        ("dancing", "", ("dancing",), ("dancing",)),
        ("a personal walk", "", ("a personal walk",), ("personal walk",)),
    ],
)  # fmt: skip
def test_the_parts_of_a_plain_caption(text, subject, clauses, action):
    assert split_plain(text) == (subject, clauses) and action_of(text) == action


@for_each(
    "text, parts",
    [
        ("does not move", [("not move", "mov")]),
        ("doesn't walk slowly, never runs", [("doesn't walk slowly", "walk"), ("never runs", "run")]),
        ("dont jump but run", [("dont jump", "jump")]),
        ("walks without waving the left hand and sits", [("without waving the left hand", "wav")]),
        ("never goes ahead", [("never goes ahead", "ahead")]),
        ("walks a knot, nodding", []),
        ("not", [("not", "")]),
        ("shakes the head to say no", []),
    ],
)
def test_denials(text, parts):
    assert [(text[start:end], what) for start, end, what in denials(text)] == parts


# 4) What people are told.


def listener(reading, text: str, certainty: float = 0.98, others=()) -> Listener:
    """The run with a reader that reads everything as `text`."""
    found = Listener(reading.run)

    class Fixed:
        def read(self, sentences):
            return [Reading(text, -0.1, certainty, tuple((other, 0.1) for other in others)) for _ in sentences]

    found.reader = Fixed()
    return found


@for_each(
    "text, plain, line",
    [
        ("A soldier goes ahead!", "a person walks forward", "walk forward (ignored: 'soldier')"),
        ("hee wavees", "a happy person waves the left hand", "wave the left hand, happy ('wavees' read as 'waves')"),
        ("he greets, then goes ahead", "a person waves the right hand then walks forward",
         "wave the right hand, then walk forward"),
        ("a frobnicating gizmo", "a person stands still",
         "stand still (ignored: 'frobnicating', 'gizmo'; the nearest action it knows)"),
        ("she does not move", "no reading of it is asked for", "she does not move"),
        ("he goes ahead, not waving", "a person walks forward", "walk forward (left out: 'not waving')"),
        ("he really does not move", "a person stands still", "stand still (ignored: 'really')"),
    ],
)  # fmt: skip
def test_what_was_understood_is_one_line(text, plain, line, reading):
    found = listener(reading, plain).understand_all([text])[0]
    assert found.line == f"understood: {line}"
    assert found.known == (text == "she does not move")


@for_each(
    "text, plain, certainty, message",
    [
        ("a frobnicating gizmo", "a person stands still", 0.3,
         "nothing in 'a frobnicating gizmo' names an action that this run knows; the nearest are: "
         "'a person stands still', 'a person waves the right hand', 'a person walks forward'"),
        ("he does not wave", "a person waves the right hand", 0.99, "'he does not wave' says what is not done"),
        ("never goes ahead", "a person walks ahead", 0.99, "says what is not done"),
        # where nothing is said, no certainty is enough
        ("he", "a person stands still", 1.0, "nothing in 'he' names an action"),
        ("123 ☎", "a person stands still", 1.0, "nothing in '123 ☎' names an action"),
        ("left, please", "a person stands still", 1.0, "nothing in 'left, please' names an action"),
    ],
)  # fmt: skip
def test_what_must_not_be_guessed_is_refused(text, plain, certainty, message, reading):
    found = listener(reading, plain, certainty, ["a person waves the right hand"])
    with pytest.raises(ValueError, match=message) as error:
        found.understand_all([text])
    assert "\n" not in str(error.value) and "--as-written" in str(error.value)


def test_a_line_stays_short(reading):
    text = "he waves " + " ".join(f"{letter * 40}" for letter in "bcdfghjklm")
    (found,) = listener(reading, "a person waves the right hand").understand_all([text])
    assert len(found.ignored) == 10 and len(found.line) < 330
    assert f"(ignored: '{'b' * 21}...', " in found.line and found.line.endswith(", 2 more)")


def test_evaluation_measures_what_the_model_makes_of_the_sentence_itself(reading):
    """Test captions are no requests: one that is refused would leave nothing to measure."""
    texts = ["frobnicate gizmos", "a man goes ahead"]
    with pytest.raises(ValueError, match="names an action"):
        reading.generate(texts, seed=[3, 4])
    codes = write_motions(reading, texts, 3, None, SampleConfig(), 2)
    assert codes == [list(motion.tokens) for motion in reading.generate(texts, seed=[3, 4], read=False)]


def test_a_caption_that_follows_every_verb_goes_first(reading):
    """A likelier one that leaves a verb of the sentence out is taken only if there is no other, and that is said."""
    both = "a person stands still then waves the right hand"
    found = listener(reading, "a person stands still", 0.5, [both]).understand_all(["he waves and stands"])[0]
    assert found.text == both and found.alternatives == ("a person stands still",) and found.notes == ()
    found = listener(reading, "a person stands still", 0.5).understand_all(["he waves and stands"])[0]
    assert found.text == "a person stands still" and found.line.endswith("(not followed: 'waves')")


def test_an_unsure_reading_keeps_only_what_words_of_the_sentence_name(reading):
    plain = "a person walks forward then waves the right hand"
    unsure, sure = (listener(reading, plain, certainty) for certainty in (0.3, 0.9))
    assert unsure.understand_all(["a wizard waves"])[0].text == "a person waves the right hand"
    assert sure.understand_all(["a wizard waves"])[0].text == plain


PARTS = {
    "he walks": ("a person walks forward", 0.9),
    "he waves": ("a person waves the right hand", 0.9),
    "he waves and he waves": ("a person waves the right hand then walks forward", 0.9),
    "he waves, waves": ("a person waves the right hand", 0.9),
    "waves": ("a person stands still", 0.9),
    "he stands": ("a person stands still", 0.5),
    "he goes": ("a person walks forward", 0.9),
    "he strolls": ("a person walks forward", 0.9),
    "he ambles": ("a person walks forward", 0.62),
}


@for_each(
    "text, certainty, meant",
    [
        ("he walks, he waves", 0.5, "a person walks forward then waves the right hand"),
        ("he walks. he waves; he walks", 0.5, "a person walks forward then waves the right hand then walks forward"),
        ("he walks, he waves", 0.7, "a person walks forward then waves the right hand"),  # sure, but it follows no verb
        ("he moves, he goes", 0.7, "a person stands still"),  # the whole is sure enough, and no verb is passed over
        ("he goes, he strolls", 0.5, "a person walks forward then walks forward"),  # no word names what is surely read
        ("he goes, he ambles", 0.5, "a person stands still"),  # nor what is not
        ("before he walks, he waves", 0.5, "a person stands still"),  # another order
        ("he walks, he stands", 0.5, "a person stands still"),  # an unsure part
        ("he walks, waves", 0.5, "a person stands still"),  # what is read is not what the word names
        ("he walks, smoothly", 0.5, "a person stands still"),  # a part without a verb
        ("he walks, he waves, he walks, he waves", 0.5, "a person stands still"),  # too many
    ],
)
def test_an_unsure_reading_is_made_part_by_part(reading, text, certainty, meant):
    found = listener(reading, "")

    class Parts:
        def read(self, sentences):
            made = [PARTS.get(one, ("a person stands still", certainty)) for one in sentences]
            return [Reading(plain, -0.1, share) for plain, share in made]

    found.reader = Parts()
    (read,) = found._in_parts([text], found.reader.read([text]))
    assert read.text == meant and read.certainty == (0.9 if "then" in meant else certainty)


@for_each(
    "text, meant",
    [
        ("could you please wave, please", "wave"),
        ("please please wave", "wave"),
        ("show me a person who pleases", "a person who pleases"),
        ("please", "please"),
    ],
)
def test_politeness(text, meant):
    assert without_politeness(text) == meant


def test_a_caption_of_training_is_taken_as_it_is(reading):
    found = listener(reading, "a person stands still")
    for text in ("a man goes ahead", " A Man goes AHEAD.", "a man goess ahead"):
        known = found.understand_all([text])[0]
        assert known.text == "a man goes ahead" and known.known and not known.ignored
    assert found.heard(["a man goes", None], "t2m", None)[1] == (None, ())
    assert found.heard(["faster"], "edit", None) == [("faster", ())]
    assert found.heard(["a man goes"], "t2m", False) == [("a man goes", ())]


@for_each(
    "text, short",
    [
        ("a person walks forward then waves the right hand", "walk forward, then wave the right hand"),
        ("a very happy person stands still", "a very happy person stands still"),
        ("a happy person goes ahead", "go ahead, happy"),
        ("dancing", "dancing"),
    ],
)
def test_in_short(text, short):
    assert in_short(text) == short


# 5) In motions, and on the command line.


@pytest.fixture
def trusting(monkeypatch):
    """These models have learnt next to nothing, so what they read must not be refused for that."""
    monkeypatch.setattr(understanding, "SURE", 0.0)
    monkeypatch.setattr(understanding, "FAIRLY_SURE", 0.0)


def test_a_motion_is_that_of_the_plain_caption(reading, trusting):
    text = "he goes, and greets"
    understood = reading.understand(text)
    assert isinstance(understood, Understood) and understood.text in language(reading.run.prompts.reading, 3)
    motion = reading.generate(text, seed=3)
    plain = reading.generate(understood.text, seed=3, read=False)
    assert motion.tokens == plain.tokens and motion.text == text and plain.notes == ()
    assert motion.notes == (understood.line,)
    both = reading.generate([text, "he waves, smiling"], seed=3)
    assert both[0].tokens == motion.tokens and both[1].notes == ("understood: he waves, smiling",)
    parts = reading.sequence([text, "he waves, smiling"], seed=3)
    assert parts.notes[0] == f"0.0 s: {text}, {understood.line}"


def test_runs_that_never_learnt_to_read_are_as_before(generator):
    assert not generator.listener.reads and generator.generate("a man goes").notes == ()
    with pytest.raises(ValueError, match="no stage of .* was trained on read"):
        generator.understand("a man goes")
    with pytest.raises(ValueError, match="no stage of .* was trained on read"):
        generator.generate("a man goes", read=True)


def test_another_run_reads(world, tiny, trusting, tmp_path):
    """--reader, and a reader that config.json names; one that is gone is said, and the run's own reads."""
    other = tiny.finetune(tmp_path / "reader", 1, data=world / "tokens.json", tasks={"read": 1.0})
    said: list[str] = []
    silent = MotionGenerator.load(tiny.run, reader=other, say=said.append)
    assert silent.listener.reads and not said  # nothing was read yet
    assert silent.understand("xyz waves").text in language(silent.listener.reader.run.prompts.reading, 3)
    assert said == [f"sentences are read by {tmp_path / 'reader'}, stage 1"]
    with pytest.raises(ValueError, match="never learnt to read"):
        MotionGenerator.load(tiny.run, reader=tiny.run)
    with pytest.raises(FileNotFoundError):
        MotionGenerator.load(tiny.run, reader=tmp_path / "nowhere")
    import shutil

    named = tmp_path / "named"
    shutil.copytree(world / "run", named)
    config = json.loads((named / "config.json").read_text())
    config["RunConfig"]["reader"] = "../reader"
    (named / "config.json").write_text(json.dumps(config))
    assert RunConfig.read(named).reader == "../reader"
    said.clear()
    hearing = MotionGenerator.load(named, say=said.append)
    caption = next(iter(hearing.run.prompts.captions))
    hearing.generate(caption, max_new_tokens=2)
    assert not said and "_other" not in vars(hearing.listener)  # a caption of training needs no reader
    hearing.understand("xyz waves")
    assert said[0].endswith("reader, stage 1")
    shutil.rmtree(tmp_path / "reader")
    said.clear()
    gone = MotionGenerator.load(named, say=said.append).listener
    assert gone.reads and gone.reader.run is gone.run
    assert len(said) == 1 and "is not usable, so this run reads sentences itself" in said[0]


def test_the_command_line_refuses_in_one_line(world, script):
    refused = script("sample", "--run", world / "run", "--prompt", "frobnicate gizmos")
    assert refused.code == 2 and "nothing in 'frobnicate gizmos' names an action" in refused.err
    assert refused.err.count("\n") == 1


def test_the_command_line_says_what_was_understood(world, script, trusting, tmp_path):
    run = ("--run", world / "run", "--output", tmp_path / "m.json")
    done = script("sample", *run, "--prompt", "the wizard waves, then walkks", "--trace")
    assert done.code == 0, done.err
    assert "understood: " in done.out and "'wizard'" in done.out and "certainty" in done.out
    assert "note:" not in done.out and "'walkks' read as 'walks'" in done.out
    assert json.loads((tmp_path / "m.json").read_text())["notes"][0].startswith("understood: ")
    plain = script("sample", *run, "--prompt", "the wizard waves", "--as-written")
    assert plain.code == 0 and "understood" not in plain.out and "note: " in plain.out
    info = script("sample", "--run", world / "run", "--info").out
    assert "moods        happy" in info and "  a person waves the right hand\n" in info
    assert "actions      walks, waves, stands\n" in info  # not "goes", "greeting" and "smiling" of other captions
    stream = script("sample", "--run", world / "run", "--prompt", "he greets ahead", "--stream", "--output", tmp_path)
    assert stream.code == 0 and "understood: " in stream.out


def test_a_motion_may_be_described_plainly(reading, world):
    (text,) = reading.listener.describe(reading.run, [[1, 5, 6]])
    assert text in language(reading.run.prompts.reading, 3) and math.isfinite(len(text))


def test_a_run_may_keep_the_best_of_several(world, tiny, trusting, tmp_path):
    """Of sentences that it reads, by what it read: the typed ones are no captions to be described by."""
    run = tmp_path / "run"
    tasks = {"t2m": 1.0, "m2t": 1.0, "read": 1.0}
    tiny.finetune(run, 1, data=world / "tokens.json", vqvae=tiny.vqvae, tasks=tasks)
    shipped, plain = tmp_path / "shipped", MotionGenerator.load(run)
    ship_run(run, world / "tokens.json", shipped, best_of=4)
    generator = MotionGenerator.load(shipped)
    text = generator.understand("xyz waves").text
    wanted = generator.generate("xyz waves", best_of=4)
    several = generator.generate("xyz waves", samples=4)
    score = by_description(generator.run, heard={"xyz waves": text})
    assert wanted.tokens == max(several, key=score).tokens != several[0].tokens
    assert generator.generate("xyz waves").tokens == wanted.tokens
    assert generator.generate("xyz waves", best_of=1).tokens == several[0].tokens
    as_written = generator.generate("xyz waves", read=False)
    assert as_written.tokens == generator.generate("xyz waves", read=False, best_of=1).tokens
    assert plain.generate("xyz waves").tokens == plain.generate("xyz waves", best_of=1).tokens
    assert "best of      4 motions of a sentence" in run_info(generator)
    with pytest.raises(ValueError, match=r"--best-of 2: no stage of .* learnt m2t"):
        ship_run(world / "run", world / "tokens.json", tmp_path / "unable", best_of=2)
