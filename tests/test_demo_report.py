"""The report counts correctly, the model never meets a condition, and the script writes its two files."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from motiongpt.data.spelling import fold
from motiongpt.faithfulness import rows
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.fresh import fresh_clips
from motiongpt.faithfulness.plain_requests import plain_caption
from motiongpt.faithfulness.report import MeasureRow, Sheets, markdown
from motiongpt.faithfulness.rows import NAMED, PAIRS, Asked, ask, clips_row, lengths_row, quality_row, spellings_row
from motiongpt.faithfulness.wants import Want, plain_want

pytestmark = pytest.mark.slow  # many small cases and processes: together they take long


@pytest.fixture(scope="module")
def motions():
    """Sentence -> a motion that does what it says, as an ideal model would write it."""
    known = [("jump",), ("wave_left",), ("turn_left", "walk_forward")]
    return {plain_caption(names): fresh_clips(names, 1)[0] for names in known}


def ideal(motions):
    asked = []

    def generate(sentences, seed, **lengths):
        asked.extend(zip(sentences, seed, strict=True))
        assert not lengths, "a plain sentence gets the defaults"
        return [SimpleNamespace(joints=motions[sentence], tokens=()) for sentence in sentences]

    return generate, asked


def test_plain_captions_are_the_grammar_s_own():
    assert plain_caption(("wave_left",)) == "a person waves the left hand"
    assert plain_caption(("turn_right", "walk_forward")) == "a person turns right then walks forward"
    texts = [plain_caption((name,)) for name in CHECKS]
    assert len(set(texts)) == len(texts)


def tries(*some) -> list[Asked]:
    """(sentence, actions, seed), ... -> tries that count by their actions."""
    return [Asked(text, seed, plain_want(actions), " then ".join(actions)) for text, actions, seed in some]


def test_an_ideal_model_gets_everything_and_a_mixed_up_one_fails(motions):
    some = [("a person jumps", ("jump",), 0), ("a person jumps", ("jump",), 1),
            ("a person waves the left hand", ("wave_left",), 0),
            ("a person turns left then walks forward", ("turn_left", "walk_forward"), 4)]  # fmt: skip
    generate, asked = ideal(motions)
    row = ask(MeasureRow("model"), tries(*some), generate)
    assert (row.passed, row.total, row.failures) == (4, 4, [])
    assert sorted(asked) == sorted((sentence, seed) for sentence, _, seed in some)  # sentence and seed, no action
    assert row.tries["jump"] == [True, True] and row.tries["turn_left then walk_forward"] == [True]

    mixed = dict(zip(motions, reversed(motions.values()), strict=True))
    row = ask(MeasureRow("model"), tries(*some), ideal(mixed)[0])
    assert (row.passed, row.total) == (1, 4)  # the middle one of three stays in its place
    failure = next(what for what in row.failures if what["sentence"].endswith("walks forward"))
    assert failure["seed"] == 4 and failure["shows"] == ["jump"] and failure["wanted"] == "turn_left then walk_forward"
    assert failure["lacks"] == ["actions"]


def test_a_refusal_counts_where_it_is_right_and_nowhere_else(motions):
    """What is refused is not generated; a motion of the nearest action is as good where that is said."""
    generate, asked = ideal(motions)
    jumps = plain_want(("jump",))
    near = Want(jumps.steps, refused=True)
    some = [Asked("flies to the moon", 0, Want(refused=True), "right"), Asked("leaps", 0, jumps, "wrong"),
            Asked("hops about", 0, near, "near"), Asked("a person jumps", 0, near, "near"),
            Asked("a person waves the left hand", 0, Want(refused=True), "guessed")]  # fmt: skip
    row = ask(MeasureRow("free"), some, generate, refused=lambda text: None if text in motions else "no idea")
    assert row.tries == {"right": [True], "wrong": [False], "near": [True, True], "guessed": [False]}
    assert [text for text, _ in asked] == ["a person jumps", "a person waves the left hand"]
    lacks = {what["wanted"]: what["lacks"] for what in row.failures}
    assert lacks == {"wrong": ["answer"], "guessed": ["refusal"]}
    assert next(what for what in row.failures if what["wanted"] == "wrong")["refused"] == "no idea"


def test_refusals_are_those_of_the_reader():
    def understand(sentence):
        if "moon" in sentence:
            raise ValueError("names no action")

    generator = SimpleNamespace(listener=SimpleNamespace(reads=True), understand=understand)
    refused = rows.refusals(generator)
    assert refused("flies to the moon") == "names no action" and refused("walks") is None
    generator.listener.reads = False
    assert rows.refusals(generator)("flies to the moon") is None  # a run that reads nothing refuses nothing


def test_the_captions_are_asked_for_in_every_spelling(motions):
    """A model that knows one spelling alone gets the words as they were typed, and fails three ways in four."""
    asked = []

    def generate(sentences, seed):
        asked.extend(sentences)
        known = [motions.get(sentence.replace("  ", " "), motions["a person jumps"]) for sentence in sentences]
        return [SimpleNamespace(joints=joints, tokens=()) for joints in known]

    row = spellings_row(["wave_left"], range(3), generate)
    counts = {spelling: sum(passed) for spelling, passed in row.tries.items()}
    assert counts == {"capital and full stop": 0, "capitals": 0, "double spaces": 3, "quoted": 0}
    spelt = ["A person waves the left hand.", "A PERSON WAVES THE LEFT HAND", "a  person  waves  the  left  hand",
             "“A person waves the left hand.”"]  # fmt: skip
    assert asked == [text for text in spelt for _ in range(3)]
    assert {fold(text) for text in spelt} == {"a person waves the left hand"}
    assert row.failures[0]["seed"] == 0 and row.failures[0]["shows"] == ["jump"]
    text = markdown("Title", [row])
    assert "| spellings | 3 / 12 | 25.0 % | 98 % | no |" in text and "| double spaces | 3/3 |" in text
    assert "## Per action" not in text


def test_batches_lose_nothing(motions, monkeypatch):
    monkeypatch.setattr(rows, "BATCH", 3)
    generate, asked = ideal(motions)
    row = ask(MeasureRow("sentences"), tries(*[("a person jumps", ("jump",), seed) for seed in range(7)]), generate)
    assert row.total == 7 and sorted(seed for _, seed in asked) == list(range(7))


def test_lengths_within_one_code_and_exactly():
    def generate(sentences, seed, seconds, exact_length):
        codes = round(seconds * 5) + (1 if seconds < 5 else 2)
        return [SimpleNamespace(tokens=[0] * codes, joints=None) for _ in sentences]

    row = lengths_row(generate, 20.0, 4)
    assert row.tries["4 s"] == [True] * 4 and row.tries["4 s, exact"] == [False] * 4
    assert row.tries["6 s"] == [False] * 4 and row.failures[0]["codes"] == 32 and row.failures[0]["wanted_codes"] == 30
    assert (row.passed, row.total) == (8, 32)


def test_clips_row_says_what_a_wrong_clip_shows():
    row = clips_row("truth", {"nod": fresh_clips(("jump",), 2), "jump": fresh_clips(("jump",), 1)})
    assert (row.passed, row.total) == (1, 3)
    assert row.failures == [{"wanted": "nod", "clip": index, "shows": ["jump"]} for index in (0, 1)]


def test_the_text_holds_counts_targets_and_failures():
    row = MeasureRow("sentences")
    row.add("jump", True, sentence="up", seed=0)
    row.add("jump", False, sentence="a person leaps", seed=3, shows=["squat"])
    text = markdown("Title", [row], {"jump": {"jump": 1.0, "squat": 0.04}})
    assert "| sentences | 1 / 2 | 50.0 % | 70 % | no |" in text and "| jump | 1/2 |" in text
    assert "- wanted jump, sentence a person leaps, seed 3, shows ['squat']" in text
    assert "| jump | 100 % | squat 4 % |" in text and "A model gets the sentence and the seed" in text


def test_pairs_are_distinct_and_have_conditions():
    assert len(PAIRS) == len(set(PAIRS)) == 12
    assert {name for pair in PAIRS for name in pair} <= set(CHECKS)


def test_quality_tells_a_cut_walk_from_a_whole_one():
    (walk,) = fresh_clips(("walk_forward",), 1)
    shaking = walk + np.random.default_rng(0).normal(0, 0.01, walk.shape)
    for joints, at_rest in ((walk, 1), (walk[: len(walk) // 2], 0)):
        row = quality_row(["walk_forward"], [0], answering(joints), {"walk_forward": [walk]})
        assert row.tries == {"ends at rest": [bool(at_rest)], "does not stop and start again": [True]}
    numbers = quality_row(["walk_forward"], [0], answering(shaking), {"walk_forward": [walk]}).numbers
    for name in ("jerk (m/s^3)", "slide (cm/s)", "stretch (cm)", "below floor (mm)"):
        assert numbers["model"][name] > 1.5 * numbers["fresh motions"][name], name
    assert numbers["model"]["rest at the end (%)"] == 0 < numbers["fresh motions"]["rest at the end (%)"]


def answering(joints):
    return lambda sentences, seed: [SimpleNamespace(joints=joints, tokens=()) for _ in sentences]


def test_numbers_are_a_table():
    row = MeasureRow("quality", numbers={"model": {"jerk": 61.23}, "fresh motions": {"jerk": 55.0}})
    row.add("ends at rest", True)
    text = markdown("Title", [row])
    assert "| quality | model | fresh motions |" in text and "| jerk | 61.2 | 55 |" in text
    assert row.record()["numbers"] == row.numbers and "numbers" not in MeasureRow("model").record()


def test_contact_sheets_show_twenty_of_the_sentences(motions, tmp_path):
    sheets = Sheets(tmp_path / "sheets", most=2)
    generate = ideal(motions)[0]
    some = [Asked(text, seed, plain_want(("jump",)), "made up") for text in motions for seed in (0, 1)]
    ask(MeasureRow("free"), some, generate, seen=sheets.see)
    assert len(sheets.motions) == 3  # one of each sentence
    names = [path.name for path in sheets.write()]
    assert names == ["01-made_up-passes.png", "02-made_up-lacks-actions.png"]
    with Image.open(tmp_path / "sheets" / names[0]) as picture:
        assert picture.width > 3 * picture.height  # one row


def test_the_script_measures_truth_without_a_model(script, tmp_path):
    done = script("demo_report", "--rows", "truth", "truth-more", "--clips", 2, "--matrix", "--out", tmp_path)
    assert done.code == 0, done.err
    assert "| truth | 64 / 64 | 100.0 % | 99 % | yes |" in done.out  # 32 actions that a demo must have
    more = 2 * (len(CHECKS) - 32)
    assert f"| truth-more | {more} / {more} | 100.0 % | 99 % | yes |" in done.out and "| pick_up | 100 % |" in done.out
    assert done.out.rstrip().endswith(f"wrote {tmp_path / 'report.md'}")
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (
        set(record["rows"]["truth"]["groups"]) == set(NAMED) <= set(CHECKS) and record["matrix"]["jump"]["jump"] == 1.0
    )
    assert "Only a reward stage trains on conditions" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_script_measures_a_run(script, tiny, tmp_path):
    """With random weights nothing is faithful, but everything is counted, and lengths are right all the same."""
    few = tmp_path / "few.json"
    few.write_text(json.dumps([{"sentence": "a person walks", "actions": ["walk_forward"]}]))
    done = script("demo_report", "--run", tiny.run, "--rows", "roundtrip", "sentences", "lengths", "spellings",
                  "--clips", 1, "--seeds", 1, "--sentences", few,
                  "--sentence-seeds", 2, "--first-seed", 7, "--out", tmp_path / "out")  # fmt: skip
    assert done.code == 0, done.err
    rows = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["rows"]
    assert list(rows) == ["roundtrip", "sentences", "lengths", "spellings"]
    assert rows["spellings"]["total"] == 4 * 32
    assert (rows["roundtrip"]["total"], rows["sentences"]["total"], rows["lengths"]["total"]) == (32, 2, 32)
    assert {what["seed"] for what in rows["sentences"]["failures"]} == {7, 8}
    assert all(rows["lengths"]["groups"][f"{s} s, exact"] == [4, 4] for s in (2, 4, 6, 8))


def test_the_report_is_where_work_dir_says(script, tmp_path, monkeypatch):
    """Without --out: outputs/demo_report in the folder of WORK_DIR, else in the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORK_DIR", str(tmp_path / "w"))
    done = script("demo_report", "--rows", "truth", "--clips", 1)
    assert done.code == 0, done.err
    assert f"outputs/demo_report is in {tmp_path / 'w'} (environment: WORK_DIR)" in done.out
    written = tmp_path / "w" / "outputs" / "demo_report"
    assert {path.name for path in written.iterdir()} == {"report.json", "report.md"}
    monkeypatch.delenv("WORK_DIR")
    assert script("demo_report", "--rows", "truth", "--clips", 1).code == 0
    assert (tmp_path / "outputs" / "demo_report" / "report.md").is_file()


def test_sentences_are_checked_against_the_captions_of_the_training(script, tiny, tmp_path):
    few, tokens = tmp_path / "few.json", tmp_path / "tokens.json"
    walks = {"sentence": "a person walks", "actions": ["walk_forward"]}
    few.write_text(json.dumps([walks]))
    flags = ("--run", tiny.run, "--rows", "sentences", "--sentences", few, "--data", tokens, "--out", tmp_path / "out")
    tokens.write_text(json.dumps([{"text_query": "A person  walks", "motion_tokens": "1 2 3"}]))
    done = script("demo_report", *flags)
    assert done.code == 2 and f"--sentences: all of its sentences are captions of {tokens}" in done.err
    few.write_text(json.dumps([walks, walks | {"sentence": "he goes ahead"}]))
    done = script("demo_report", *flags)
    assert done.code == 0 and f"left out, as captions of {tokens}: 'a person walks'\n" in done.out, done.err
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert record["sentences_checked_against"]["left_out"] == ["a person walks"]
    assert record["rows"]["sentences"]["total"] == 1
    few.write_text(json.dumps([walks]))
    tokens.write_text(json.dumps([{"text_query": "a person jumps", "motion_tokens": "1 2 3"}]))
    done = script("demo_report", *flags, "--device", "cpu", "--precision", "bf16")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    checked = record["sentences_checked_against"]
    assert (checked["file"], checked["entries"], len(checked["hash"])) == ("tokens.json", 1, 16)
    assert (record["device"], record["dtype"]) == ("cpu", "bfloat16")


@pytest.mark.parametrize(
    "flags, said",
    [(("--clips", 0), "--clips must be 1 or more, got 0"),
     (("--free", "none.json", "--rows", "free"), "none.json does not exist"),
     (("--sentences", "none.json", "--rows", "sentences"), "none.json does not exist"),
     (("--rows", "magic"), "invalid choice")],
)  # fmt: skip
def test_mistakes_are_one_line(script, tmp_path, flags, said):
    done = script("demo_report", *flags, "--out", tmp_path)
    assert done.code == 2 and said in done.err and len(done.err.strip().splitlines()) == 1
