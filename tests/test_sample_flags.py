"""sample.py with given codes: how --codes and --input are read, what is refused, and what comes out."""

import json

import pytest
from cases import for_each

from motiongpt.cli.sample_flags import parse_codes
from motiongpt.vocab import parse_motion

PROMPT = ("--prompt", "a person walks forward")


@for_each(
    "text, task, given",
    [
        ("315@0,406@24", "keys", {0: 315, 24: 406}),
        (" 3@0 , 4@-1 ", "t2m", {0: 3, -1: 4}),
        ("3@0,3@0", "keys", {0: 3}),
        ("3", "init", {0: 3}),
        ("3@0", "init", {0: 3}),
        ("3", "last", {-1: 3}),
        ("3,4,5", "predict", {0: 3, 1: 4, 2: 5}),
    ],
)
def test_codes_as_typed(text, task, given):
    assert parse_codes(text, task) == given


@for_each(
    "text, task, message",
    [
        ("", "keys", "expected CODE@POSITION"),
        ("3@", "keys", "expected CODE@POSITION, such as 315@0,406@24, got '3@'"),
        ("x@1", "keys", "got 'x@1'"),
        ("-3@1", "keys", "got '-3@1'"),
        ("3@1,", "keys", "got ''"),
        ("٣@1", "keys", "expected CODE@POSITION"),
        ("3,4,5", "keys", "the code 3 needs a position for --task keys, such as 3@0"),
        ("3,4", "init", "the code 3 needs a position"),
        ("3,4@1", "predict", "the code 3 needs a position"),
        ("3@1,4@1", "keys", "two codes for position 1: 3 and 4"),
    ],
)
def test_codes_that_cannot_be_read(text, task, message):
    with pytest.raises(ValueError, match=message):
        parse_codes(text, task)


def sampled(script, tiny, folder, *flags) -> list[int]:
    """The codes that sample.py writes."""
    out = folder / "motion.txt"
    done = script("sample", "--run", tiny.run, "--output", out, *flags)
    assert done.code == 0, done.err
    return parse_motion(out.read_text())


def test_a_motion_as_a_condition(script, tiny, tmp_path):
    clip = tmp_path / "clip.txt"
    codes = [9, 31, 5, 6, 7, 8, 30, 29]
    clip.write_text(" ".join(map(str, codes)))
    given = ("--input", clip, *PROMPT)
    assert sampled(script, tiny, tmp_path, "--task", "init", *given)[0] == 9
    assert sampled(script, tiny, tmp_path, "--task", "last", *given)[-1] == 29
    longer = sampled(script, tiny, tmp_path, "--task", "predict", *given)
    assert longer[:8] == codes and len(longer) > 8
    same = sampled(script, tiny, tmp_path, "--task", "inbetween", *given)
    assert len(same) == 8 and same[:2] == [9, 31] and same[-2:] == [30, 29]
    other = sampled(script, tiny, tmp_path, "--task", "inbetween", *given, "--seconds", 4, "--exact-length")
    assert len(other) == 20 and other[:2] == [9, 31] and other[-2:] == [30, 29]


def test_codes_as_conditions(script, tiny, tmp_path):
    keys = sampled(script, tiny, tmp_path, "--task", "keys", "--codes", "31@0,30@4,29@7", *PROMPT)
    assert (keys[0], keys[4], keys[7]) == (31, 30, 29)
    plain = sampled(script, tiny, tmp_path, "--codes", "31@2,30@-1", *PROMPT)
    assert (plain[2], plain[-1]) == (31, 30)


def test_codes_in_a_file_of_settings(script, tiny, tmp_path):
    """There it may be the size of a codebook, for scripts that train: that is no given code."""
    settings = tmp_path / "settings.json"
    plain = sampled(script, tiny, tmp_path, *PROMPT)
    for value in (512, "512"):
        settings.write_text(json.dumps({"codes": value}))
        assert sampled(script, tiny, tmp_path, *PROMPT, "--config", settings) == plain
    settings.write_text(json.dumps({"codes": "31@1"}))
    assert sampled(script, tiny, tmp_path, *PROMPT, "--config", settings)[1] == 31


def test_a_run_without_the_task_says_so(script, tiny, tmp_path):
    out = tmp_path / "m.txt"
    done = script("sample", "--run", tiny.run, "--task", "init", "--codes", "3", *PROMPT, "--output", out)
    assert done.code == 0 and "warning: stage 1 was trained on motion, not on init" in done.out
    done = script("sample", "--run", tiny.run, "--task", "predict", "--codes", "3")
    assert done.code == 2 and "never learnt predict, so it needs a sentence, --prompt" in done.err


def test_without_a_sentence(script, tiny, tmp_path, monkeypatch):
    """A run that learnt it; the motion goes into a folder named by the task."""
    run = tmp_path / "run"
    tiny.finetune(run, 1, vqvae=tiny.vqvae, tasks={"predict": 1.0, "random": 1.0})
    monkeypatch.setenv("WORK_DIR", str(tmp_path))
    done = script("sample", "--run", run, "--task", "predict", "--codes", "31,30")
    assert done.code == 0, done.err
    assert parse_motion((tmp_path / "outputs" / "predict" / "motion.txt").read_text())[:2] == [31, 30]
    assert script("sample", "--run", run, "--task", "random", "--output", tmp_path / "any.txt").code == 0


@for_each(
    "flags, message",
    [
        (("--task", "init", *PROMPT), "--task init needs either --input, a motion, or --codes"),
        (("--task", "init", *PROMPT, "--codes", "3", "--input", "m.txt"), "--task init needs either --input"),
        (("--task", "init", "--codes", "3"), "--prompt is needed"),
        (("--task", "keys", *PROMPT), "--task keys needs --codes with their positions"),
        (("--task", "keys", *PROMPT, "--codes", "3@0", "--input", "m.txt"), "--input has no meaning for --task keys"),
        (("--task", "predict", *PROMPT, "--codes", "3", "--fps", "20"), "--fps has no meaning without --input"),
        (("--task", "random", "--codes", "3@0"), "--codes has no meaning for --task random"),
        (("--task", "m2t", "--input", "m.txt", "--codes", "3@0"), "--codes has no meaning for --task m2t"),
        (("--task", "init", *PROMPT, "--codes", "3@1"), "task init needs the code at position 0"),
        (("--task", "keys", *PROMPT, "--codes", "99@0"), "the given code 99 is outside the codebook of 32"),
        ((*PROMPT, "--codes", "3@9", "--seconds", "1"), "a code is given at position 9, the motion has"),
    ],
)
def test_flags_that_do_not_fit(flags, message, script, tiny):
    done = script("sample", "--run", tiny.run, *flags)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
