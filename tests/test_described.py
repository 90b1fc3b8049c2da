"""Test clips described by a run, and judged by the actions that their own captions name."""

import json
from types import SimpleNamespace

import pytest

from motiongpt.data.tokens import Entry, read_tokens_meta, save_tokens
from motiongpt.evaluation.action_naming import named_actions
from motiongpt.faithfulness import described
from motiongpt.faithfulness.described import Clip, Described, clips_by_row
from motiongpt.faithfulness.report import group_lines, markdown, number_lines, summary


def entry(name: str, text: str, plain: str = "", split: str = "test", codes=(1, 2), source=()) -> Entry:
    return Entry(text, codes, None, name, split, source, plain)


def test_clips_go_to_their_rows():
    """One clip of several entries, in order of name; training, edits, mirror images and clips without an id do not."""
    entries = [
        entry("cmu_02", "he waves", codes=(3,)),
        entry("cmu_01", "a man goes", "a person walks forward", codes=(4, 5)),
        entry("cmu_01", "someone walks", codes=(4, 5)),
        entry("cmu_01", "someone walks", codes=(4, 5)),
        entry("Mcmu_01", "someone walks"),
        entry("cmu_03", "someone walks", split="train"),
        entry("p00_000007", "a person jumps"),
        entry("Mp00_000007", "a person jumps"),
        entry("e00_000001_target", "a person claps"),
        entry("p00_000008", "but faster", source=(1,)),
        entry("", "a person squats"),
        entry("pacing_1", "a person walks"),
    ]
    clips = clips_by_row(entries)
    assert [clip.id for clip in clips["described"]] == ["p00_000007"]
    assert [clip.id for clip in clips["described-real"]] == ["cmu_01", "cmu_02", "pacing_1"]
    assert clips["described-real"][0] == Clip(
        "cmu_01", (4, 5), ("a man goes", "someone walks"), "a person walks forward"
    )


def describing(answers: dict, clips: dict) -> Described:
    """A generator that answers by codes."""
    asked = []

    def describe(run, rows):
        asked.append((run, len(rows)))
        return [answers[row] for row in rows]

    generator = SimpleNamespace(describing_run="run", listener=SimpleNamespace(describe=describe), asked=asked)
    return Described(generator, {"described": [], "described-real": []} | clips, named_actions)


REAL = [
    Clip("a", (1,), ("a man goes ahead",), "a person walks forward"),
    Clip("b", (2,), ("someone waves the left hand", "a person claps"), ""),
    Clip("c", (3,), ("a person reads the news",), ""),
    Clip("d", (4,), ("a person waves the left hand then jumps",), ""),
    Clip("e", (5,), ("a person jumps",), ""),
    Clip("f", (6,), ("a person waves",), ""),
]
ANSWERS = {
    (1,): "a person walks forward then jumps",
    (2,): "a person claps twice",
    (4,): "a person waves the right hand",
    (5,): "a person waves the left hand then jumps",
    (6,): "a person waves the right hand",
}


def test_the_first_action_decides():
    study = describing(ANSWERS, {"described-real": REAL})
    row = study.measure("described-real")
    assert study.generator.asked == [("run", 5)]  # "reads the news" is not described
    assert row.tries == {"walk_forward": [True], "wave": [True, True, True], "jump": [False]}
    (failure,) = row.failures
    assert (failure["clip"], failure["wanted"], failure["caption"]) == ("e", "jump", "a person jumps")
    wrong = {record["id"]: record["wrong_side"] for record in study.records}
    assert wrong == {"a": False, "b": False, "d": True, "e": False, "f": False}  # nobody said which hand "f" waves
    assert row.numbers["clips"] == {
        "left out, no action named": 1,
        "right, but with the wrong side": 1,
        "right if always the same action": 3,
    }
    assert summary([row])[-1] == "| described-real | 4 / 5 | 80.0 % | 50 % | yes |"
    assert "| left out, no action named | 1 |" in number_lines(row)


def test_a_description_without_an_action_is_wrong():
    row = describing({(5,): "a person"}, {"described": [REAL[4]]}).measure("described")
    assert row.tries == {"jump": [False]} and row.failures[0]["description"] == "a person"


def test_only_so_many_clips_are_described(monkeypatch):
    """Clips that are left out take no place; those after the last one are not counted."""
    monkeypatch.setitem(described.MOST, "described-real", 2)
    row = describing(ANSWERS, {"described-real": [REAL[2], *REAL[:2], REAL[2], REAL[3]]}).measure("described-real")
    assert row.total == 2 and row.numbers["clips"]["left out, no action named"] == 1


@pytest.mark.parametrize(
    "clips, said",
    [([], "it has no test clips; --data takes"), ([REAL[2]], "no caption of its 1 test clips names an action")],
)
def test_a_row_without_clips_says_why(clips, said):
    row = describing({}, {"described": clips}).measure("described")
    assert said in row.unmeasured and said in group_lines(row)[0]
    assert summary([row])[-1] == "| described | - | - | 80 % | - |"
    assert (row.record()["share"], row.record()["met"], row.record()["unmeasured"]) == (None, None, row.unmeasured)
    assert "Described was not measured: " in markdown("Title", [row])


def test_described_json_is_of_this_report(tmp_path):
    """Written for a person; one of an earlier report goes."""
    study = describing(ANSWERS, {"described-real": REAL})
    study.measure("described-real")
    assert study.write(tmp_path) == [tmp_path / "described.json"]
    first = json.loads((tmp_path / "described.json").read_text(encoding="utf-8"))[0]
    assert first == {
        "id": "a",
        "captions": ["a man goes ahead"],
        "plain": "a person walks forward",
        "description": "a person walks forward then jumps",
        "right": True,
        "wrong_side": False,
    }
    assert describing({}, {}).write(tmp_path) == [] and not (tmp_path / "described.json").exists()


@pytest.fixture(scope="module")
def tokens(tiny, tmp_path_factory):
    """Plain captions to learn from, and one test clip of each kind."""
    plain = ("a person walks forward", "a person waves the left hand", "a person jumps")
    entries = [
        entry(f"c{i}", text, text, "val" if i == 7 else "train", (i % 4, 5, 6)) for i in range(8) for text in plain
    ]
    entries += [entry("p00_000001", "a person jumps", codes=(1, 5)), entry("cmu_01", "someone walks", codes=(2, 6, 7))]
    meta = {key: value for key, value in read_tokens_meta(tiny.data).items() if key != "tokens"}
    path = tmp_path_factory.mktemp("described") / "tokens.json"
    save_tokens(path, entries, meta)
    return path


def report(script, run, tokens, out) -> tuple:
    flags = ("--run", run, "--rows", "described", "described-real", "--data", tokens, "--out", out)
    done = script("demo_report", *flags)
    assert done.code == 0, done.err
    return done, json.loads((out / "report.json").read_text(encoding="utf-8"))["rows"]


def test_a_run_describes_clips_of_its_data(script, tiny, tokens, tmp_path):
    """With hardly trained weights nothing need be right, but every clip gets a caption of the training."""
    tiny.finetune(tmp_path / "run", 1, data=tokens, vqvae=tiny.vqvae, tasks={"t2m": 1.0, "m2t": 1.0, "read": 1.0})
    done, rows = report(script, tmp_path / "run", tokens, tmp_path / "out")
    assert (rows["described"]["total"], rows["described-real"]["total"]) == (1, 1)
    found = json.loads((tmp_path / "out" / "described.json").read_text(encoding="utf-8"))
    assert [record["id"] for record in found] == ["p00_000001", "cmu_01"]
    assert all(record["description"].startswith("a person ") for record in found)
    assert [record["right"] for record in found] == [bool(rows[name]["passed"]) for name in rows]
    assert f"wrote {tmp_path / 'out' / 'described.json'}" in done.out


@pytest.mark.parametrize("tasks, said", [(None, "was trained on m2t"), ({"m2t": 1.0}, "knows no plain captions")])
def test_a_run_that_cannot_describe_says_so(script, tiny, tokens, tmp_path, tasks, said):
    """Never learnt to describe, or learnt it without plain captions."""
    run = tiny.run
    if tasks:
        run = tmp_path / "run"
        tiny.finetune(run, 1, vqvae=tiny.vqvae, tasks=tasks)
    done, rows = report(script, run, tokens, tmp_path / "out")
    assert said in rows["described-real"]["unmeasured"] and rows["described-real"]["total"] == 0
    assert "| described-real | - | - | 50 % | - |" in done.out and "not measured: " in done.out
    assert not (tmp_path / "out" / "described.json").exists()


def test_codes_of_another_tokenizer_are_refused(script, tiny, tmp_path):
    path = tmp_path / "tokens.json"
    save_tokens(path, [entry("cmu_01", "someone walks", codes=(32,))], {})
    done = script("demo_report", "--run", tiny.run, "--rows", "described", "--data", path, "--out", tmp_path / "out")
    assert done.code == 2 and "has the code 32" in done.err and len(done.err.strip().splitlines()) == 1
