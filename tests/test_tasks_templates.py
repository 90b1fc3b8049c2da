"""Templates: files are read or refused by name, wordings are drawn, and the margin bounds how long an example gets."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cases import for_each
from tiny_templates import OPEN_MOTION_LAB, group, tiny_renderer, tiny_vocab, written

from motiongpt.data.tokens import Entry
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.sequences import Renderer
from motiongpt.tasks.table import FROM_TEMPLATES, TABLE
from motiongpt.tasks.templates import BUILT_IN, MOTIONS, Group, Templates, built_in, read_templates

# 1) Reading.


@for_each(
    "content, fault",
    [
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object, got list"),
        ({}, "has no templates: expected SECTION"),
        ({"settings": {}}, "has no templates"),
        ({"settings": []}, r"settings must be an object, got \[\]"),
        ({"settings": {"frames": "none"}}, "there is no setting 'frames'; there are: frame, motion_as, quote_share"),
        ({"settings": {"frame": "turn"}}, "settings: frame must be chat or none, got turn"),
        ({"settings": {"motion_as": 1}}, "settings: motion_as must be words or digits, got 1"),
        ({"settings": {"quote_share": 1.5}}, r"settings: quote_share must be a share in \[0, 1\], got 1.5"),
        ({"settings": {"tell_length": True}}, r"settings: tell_length must be a share in \[0, 1\], got True"),
        ({"settings": {"loss_on_prompt": 1}}, "settings: loss_on_prompt must be true or false, got 1"),
        ('{"settings": {"quote_share": NaN}}', "settings: quote_share must be a share"),
        ({"A": []}, r"'A' must be an object of groups, got \[\]"),
        ({"A": {"b": []}}, r"'A', 'b' must have class, input and output, got \[\]"),
        ({"A": {"b": {"input": ["x"], "output": ["y"]}}}, "'A', 'b' must have class, input and output"),
        ({"A": {"b": group(asked=[])}}, r"'A', 'b': input must be a list of at least one text, got \[\]"),
        ({"A": {"b": group(asked="do it")}}, "'A', 'b': input must be a list of at least one text, got do it"),
        ({"A": {"b": group(answer=[1])}}, r"'A', 'b': output must be a list of at least one text, got \[1\]"),
        ({"A": {"b": group("dance")}}, "'A', 'b': unknown class 'dance'; there are: t2m, predict"),
        ({"A": {"b": group("denoise")}}, "'A', 'b': unknown class 'denoise'"),
        (
            {"A": {"b": group(answer=["so: <Motion_Placeholder>"])}},
            "'A', 'b': output of t2m must be <Motion_Placeholder",
        ),
        ({"A": {"b": group(answer=["<Motion_Placeholder>"] * 2)}}, "'A', 'b': output of t2m must be"),
        (
            {"A": {"b": group(answer=["<Motion_Placeholder_s2>"])}},
            "'A', 'b': the output <Motion_Placeholder_s2> is for",
        ),
        (
            {"A": {"b": group(asked=["<My_Placeholder>"])}},
            "'A', 'b' has no text whose placeholders are known; there are",
        ),
        ({"A": {"b": group("m2d", answer=["<Framelen_Placeholder>"])}}, "'A', 'b' has no text whose placeholders"),
    ],
)
def test_every_fault_names_the_file_and_the_group(content, fault, tmp_path):
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=fault) as error:
        read_templates(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_and_a_name_that_is_not_built_in(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_templates(tmp_path / "none.json")
    with pytest.raises(ValueError, match="no templates 'fancy'; there are: plain, zhang, myoskeleton-pretrain"):
        built_in("fancy")


def test_a_file_of_openmotionlab_is_read_as_it_is(tmp_path):
    """Its classes get the names of our tasks, its settings the defaults. A text with an unknown placeholder is left
    out, with one line that says so."""
    said = []
    path = written(tmp_path, OPEN_MOTION_LAB)
    templates = read_templates(path, said.append)
    assert {task: len(groups) for task, groups in templates.groups.items()} == {
        "t2m": 2, "random": 2, "m2t": 1, "m2d": 1, "t2d": 1, "caption": 2, "predict": 1, "inbetween": 1,
    }  # fmt: skip
    assert templates.settings == Templates().settings
    assert templates.groups["random"][0].inputs == ("<Frame_Placeholder> frames, please",)
    assert said == [
        f"{path}: 'Text-to-Motion', 'framelen': 1 of 2 texts are left out: <Framelen_Placeholder> is no placeholder"
    ]
    assert templates.groups["predict"][0].answers_rest and not templates.groups["inbetween"][0].answers_rest


@for_each("name", BUILT_IN)
def test_what_a_stage_folder_keeps_is_read_back(name, tmp_path):
    templates = replace(built_in(name), tell_length=0.25)
    assert read_templates(written(tmp_path, templates.to_json())) == templates


def test_the_first_fitting_wording_is_that_of_sampling_and_a_known_length_is_told():
    groups = (
        Group("t2m", ("a <Caption_Placeholder>", "b <Caption_Placeholder>"), ("<Motion_Placeholder>",)),
        Group("t2m", ("c", "d <Caption_Placeholder> <Frame_Placeholder>"), ("<Motion_Placeholder>",)),
        Group("t2m", ("e <Caption_Placeholder> <Second_Placeholder>",), ("<Motion_Placeholder>",)),
    )
    templates = Templates({"t2m": groups})
    picked = {
        (caption, length): templates.for_sampling("t2m", caption, length)
        for caption in (False, True)
        for length in (False, True)
    }
    assert {key: text[0][0] for key, text in picked.items()} == {
        (False, False): "c", (False, True): "c", (True, False): "a", (True, True): "d",
    }  # fmt: skip
    assert picked[True, True][1] is groups[1]
    assert templates.for_sampling("m2t", True, True) is None
    assert Templates({"t2m": groups[:1]}).for_sampling("t2m", False, True) is None
    assert templates.tells_length("t2m") and not Templates({"t2m": groups[:1]}).tells_length("t2m")
    assert Templates(tell_length=0.5).tells_length("t2m") and not Templates().tells_length("t2m")


def test_a_stage_keeps_its_settings_and_has_plain_words_for_the_rest():
    both = built_in("zhang").over(built_in("plain"))
    assert both.settings == built_in("zhang").settings
    assert both.groups["init"] == built_in("zhang").groups["init"]
    assert both.groups["edit"] == built_in("plain").groups["edit"]


@for_each("name", BUILT_IN)
def test_the_built_in_files_word_what_their_recipes_ask_for(name):
    templates = built_in(name)
    wanted = {
        "plain": set(FROM_TEMPLATES),
        "zhang": {"t2m", "init", "last", "keys"},
        "myoskeleton-pretrain": {"t2m", "m2t", "predict"},
        "myoskeleton-instruct": {"t2m", "m2t", "predict", "inbetween"},
    }
    assert set(templates.groups) == wanted[name]
    for task, groups in templates.groups.items():
        texts = [text for part in groups for text in part.inputs]
        assert len(texts) == len(set(texts))
        writes_motion = TABLE[task].writes == "motion"
        assert all((part.outputs[0] in MOTIONS) == writes_motion for part in groups)


# 2) What is drawn in training.


def examples(renderer: Renderer, task: str, entry: Entry, n: int) -> list[list[int]]:
    draw = np.random.default_rng(0)
    return [renderer.render(task, entry, draw)[0] for _ in range(n)]


def near(count: int, n: int, share: float) -> bool:
    """Within 5 standard deviations of a binomial; chance fails this once in 10^6 seeds."""
    return abs(count - share * n) <= 5 * math.sqrt(n * share * (1 - share))


@for_each("share", [0.0, 0.25, 0.5, 1.0])
def test_a_share_of_the_requests_of_t2m_tells_the_length(share):
    """16 codes at 20 frames a second are 3.2 seconds."""
    renderer = tiny_renderer("qwen", tell_length=share)
    entry = Entry("a person walks", tuple(range(16)))
    told = renderer.text_prompt(entry.text, None, 16)
    silent = renderer.text_prompt(entry.text)
    answer = renderer.vocab.motion_ids(entry.codes)
    drawn = examples(renderer, "t2m", entry, 2000)
    assert all(ids in ([*told, *answer], [*silent, *answer]) for ids in drawn)
    assert near(sum(ids == [*told, *answer] for ids in drawn), 2000, share)
    words = renderer.vocab.text_tokenizer.decode(told[len(renderer.frame.before) : -len(renderer.frame.after)])
    assert words.endswith("a person walks\nfor 3.2 seconds")
    assert renderer.request(Request("t2m", entry.text, length=16)) == (told if share else silent)
    assert renderer.request(Request("t2m", entry.text)) == silent
    assert renderer.margin("t2m", entry) == (len(told) - len(silent) if share else 0)


@for_each("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_sentences_is_in_quotes(share):
    """In training alone: sampling asks without."""
    renderer = tiny_renderer("qwen", "myoskeleton-pretrain", quote_share=share)
    drawn = examples(renderer, "t2m", Entry("a person walks", (1, 2)), 1000)
    end = renderer.vocab.begin_id
    texts = [renderer.vocab.text_tokenizer.decode(ids[: ids.index(end)]) for ids in drawn]
    assert set(texts) <= {"a person walks", '"a person walks"'}
    assert near(texts.count('"a person walks"'), 1000, share)
    asked = renderer.request(Request("t2m", "a person walks"))
    assert renderer.vocab.text_tokenizer.decode(asked) == "a person walks"


@for_each("task", FROM_TEMPLATES)
def test_every_wording_is_drawn_and_groups_have_equal_shares(task):
    """600 draws of at most 32 wordings: to miss one has odds of 10^-7."""
    renderer = tiny_renderer("qwen")
    groups = renderer.templates.groups[task]
    entry = Entry("a person walks", tuple(range(16)), source=(7, 8) if task == "edit" else ())
    texts = {text: i for i, part in enumerate(groups) for text in part.inputs}
    seen = []
    framed = renderer.framed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer, "framed", lambda text, request: seen.append(text) or framed(text, request))
        examples(renderer, task, entry, 600)
    assert set(seen) == set(texts)
    counts = [sum(texts[text] == i for text in seen) for i in range(len(groups))]
    assert all(near(count, 600, 1 / len(groups)) for count in counts)


def test_dropped_words_are_words_of_the_sentence_only():
    vocab = tiny_vocab("qwen")
    renderer = Renderer(vocab, caption_dropout=0.5, templates=built_in("zhang"))
    seen = set()
    for ids in examples(renderer, "t2m", Entry("a person walks", (1, 2)), 200):
        text = vocab.text_tokenizer.decode(ids[: ids.index(vocab.begin_id)])
        before, rest = text.split("### Input:\n")
        sentence, _ = rest.split("\n\n### Response:")
        assert before.count("\n") == 5 and before.startswith("Below is an instruction")
        seen.add(sentence)
    # in order, at least one
    assert seen == {"a person walks", "a person", "a walks", "person walks", "a", "person", "walks"}


def test_the_loss_is_on_the_prompt_where_the_templates_say_so():
    entry = Entry("a person walks", (1, 2))
    for share, name in ((True, "zhang"), (False, "myoskeleton-pretrain")):
        ids, labels = tiny_renderer("llama", name).render("t2m", entry, np.random.default_rng(0))
        assert labels[: len(ids) - 4] == [share] * (len(ids) - 4) and labels[-4:] == [True] * 4
    with pytest.raises(ValueError, match="loss_on_prompt is for decoders"):
        Renderer(tiny_vocab("t5"), encoder=True, templates=built_in("zhang"))


def test_an_encoder_decoder_reads_the_template_and_its_end():
    """Frame none: the template alone, </s> after it. Frame chat: the participant before it."""
    vocab = tiny_vocab("t5")
    encode, end = vocab.text_tokenizer.encode, vocab.id("</s>")
    request = Request("predict", given={0: 5, 1: 6}, participant="P1")
    text = "Predict motion: <Motion_Placeholder_s1>"
    asked = [*encode("Predict motion:"), *vocab.motion_ids([5, 6]), end]
    assert tiny_renderer("t5", frame="none").framed(text, request) == asked
    assert tiny_renderer("t5").framed(text, request) == [vocab.id("<PID_P1>"), *asked]


@for_each("kind, lead", [("llama", " "), ("gemma", ""), ("qwen", "")])
def test_a_text_alone_begins_as_the_family_begins_a_text(kind, lead):
    """Llama puts a space before the first word of a text, and none before a motion."""
    renderer = tiny_renderer(kind, "myoskeleton-pretrain")
    start, encode = renderer.frame.start, renderer.vocab.text_tokenizer.encode
    assert renderer.request(Request("t2m", "walks")) == [*start, *encode(f"{lead}walks")]
    assert renderer.request(Request("m2t", motion=[1])) == [*start, *renderer.vocab.motion_ids([1])]


# 3) Length.


@for_each("name", ["qwen", "llama", "t5"])
@for_each("templates", BUILT_IN)
def test_no_draw_is_longer_than_any_other_and_the_margin(name, templates):
    """100 draws of every task, of a short and a long motion: the longest exceeds the shortest by the margin at most."""
    settings = {"quote_share": 0.5} if templates == "plain" else {}
    renderer = tiny_renderer(name, templates, **settings)
    for S in (2, 60):
        entry = Entry("A person walks forward, twice.", tuple(range(S)))
        for task in built_in(templates).groups:
            pair = replace(entry, source=(7, 8, 9)) if task == "edit" else entry
            lengths = [len(ids) for ids in examples(renderer, task, pair, 100)]
            assert max(lengths) - min(lengths) <= renderer.margin(task, pair), (task, S)


def test_the_margin_of_templates_that_differ_in_everything(tmp_path):
    """A file of many wordings, one of which shows nothing; and one wording alone needs no margin."""
    content = OPEN_MOTION_LAB | {"More": {"nothing": group("n2t", ["Guess."], ["<Caption_Placeholder>"])}}
    renderer = tiny_renderer("qwen", read_templates(written(tmp_path, content)))
    entry = Entry("a person walks forward", tuple(range(40)))
    for task in ("t2m", "m2t", "m2d", "t2d", "caption", "random", "predict"):
        lengths = [len(ids) for ids in examples(renderer, task, entry, 300)]
        spread = max(lengths) - min(lengths)
        assert spread <= renderer.margin(task, entry) <= spread + 40, task
    assert renderer.margin("predict", entry) == 0  # it has one wording


def test_the_longest_entries_bound_all_others():
    """No example of 300 random entries is longer than the longest of the few, with its margin."""
    renderer, draw = tiny_renderer("qwen"), np.random.default_rng(0)
    words = ["a", "person", "walks", "forward", "and", "waves", "the", "left", "hand"]
    entries = [
        Entry(
            " ".join(draw.choice(words, size=1 + draw.integers(12))),
            tuple(draw.integers(0, 8, size=1 + draw.integers(30)).tolist()),
            source=tuple(draw.integers(0, 8, size=1 + draw.integers(30)).tolist()) if i % 3 == 0 else (),
        )
        for i in range(300)
    ]
    few = renderer.longest(entries)
    assert 0 < len(few) < 60
    for task, row in TABLE.items():
        own = [entry for entry in entries if bool(entry.source) == row.of_pairs]
        found = [entry for entry in few if bool(entry.source) == row.of_pairs]
        bound = max(len(renderer.render(task, entry, draw)[0]) + renderer.margin(task, entry) for entry in found)
        assert max(len(renderer.render(task, entry, draw)[0]) for entry in own) <= bound, task
