"""evaluate.py --what tokens: the numbers are those of the metrics on what sampling writes, without any motion."""

import json

import numpy as np
import pytest

from motiongpt.data.spelling import fold
from motiongpt.data.tokens import load_tokens, save_tokens
from motiongpt.evaluation.markdown import protocol_line
from motiongpt.evaluation.model_answers import T2MOptions
from motiongpt.evaluation.perplexity import language_perplexity
from motiongpt.evaluation.protocol import ProtocolConfig
from motiongpt.evaluation.report import write_tokens
from motiongpt.evaluation.report_markdown import tokens_markdown
from motiongpt.evaluation.token_writing import Scores, asked_captions, evaluate_tokens
from motiongpt.files.store import read_json
from motiongpt.metrics.tokens import edit_distances

pytestmark = pytest.mark.slow  # many small cases and processes: together they take long

RECORDS = [
    {"text_query": "A person walks forward.", "motion_tokens": [1, 2, 3, 4, 5, 6], "split": "test"},
    {"text_query": "a person walks forward", "motion_tokens": [1, 2, 3, 4], "split": "test"},
    {"text_query": "someone flies", "motion_tokens": [7, 7, 7], "split": "test"},
    {"text_query": "someone waves", "motion_tokens": [3, 3], "split": "test", "participant_id": "nobody knows"},
    {"text_query": "!!!", "motion_tokens": [3], "split": "test"},
    {"text_query": "he sits down", "motion_tokens": [9, 8, 7, 6], "split": "train"},
    {"text_query": "he sits down", "motion_tokens": [9, 8, 7, 6], "split": "val"},
]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(RECORDS))
    return path


def measure(path, generator, split="test", clips=None, repeats=1, **options) -> dict:
    options = T2MOptions(**{"perplexity": "stage"} | options)
    return evaluate_tokens(path, generator, ProtocolConfig(split, clips, repeats=repeats), options)


def test_the_numbers_are_those_of_what_is_written(path, generator):
    report = measure(path, generator)
    protocol, clips = report["protocol"], report["clips"]
    assert list(clips) == ["A person walks forward.", "someone flies", "someone waves"]  # one per caption, folded
    assert (protocol["N"], protocol["motions"], protocol["unknown_participants"]) == (3, 4, 1)
    assert report["dropped"] == {"!!!": "no letter, digit or emoji"}
    # the model's row, by hand: what `generate` writes with the same seeds, against the caption's own motions
    motions = generator.generate(list(clips), seed=[0, 1, 2])
    references = [[r["motion_tokens"] for r in RECORDS[:5] if fold(r["text_query"]) == fold(text)] for text in clips]
    nearest, mean = [], []
    for (name, clip), motion, several in zip(clips.items(), motions, references, strict=True):
        assert clip["written"] == " ".join(map(str, motion.tokens)), name
        edits = edit_distances([(motion.tokens, one) for one in several])
        assert (clip["edit_nearest"], clip["edit_mean"]) == (edits.min(), edits.mean())
        nearest.append(edits.min())
        mean.append(edits.mean())
    row = report["rows"]["model"]
    assert row["edit_nearest"]["mean"] == pytest.approx(np.mean(nearest), rel=1e-5)
    assert row["edit_mean"]["mean"] == pytest.approx(np.mean(mean), rel=1e-5) and row["edit_mean"]["interval"] is None
    # lengths: the median of [6, 4] is 5, as in prompts.json; training never showed "someone flies"
    assert clips["A person walks forward."]["split_length_error"] == abs(len(motions[0].tokens) - 5)
    assert clips["someone flies"]["split_length_error"] == abs(len(motions[1].tokens) - 3)
    assert clips["someone flies"]["length_error"] is None and clips["someone waves"]["length_error"] is not None
    median = generator.run.prompts.find("someone waves")["median"]
    assert clips["someone waves"]["length_error"] == abs(len(motions[2].tokens) - median)
    assert report["rows"]["real"]["edit_nearest"]["mean"] == 2  # [1 .. 6] and [1 .. 4]
    # perplexity: of all motions of the split, in their own spelling
    entries = [e for e in load_tokens(path) if e.split == "test" and e.text != "!!!"]
    entries = [e if e.participant is None else type(e)(e.text, e.codes) for e in entries]
    found = report["perplexity"][str(generator.run.stage)]
    assert set(found) == set(generator.run.meta["tasks"])
    for task, value in found.items():
        if task != "denoise":  # whose masks depend on the order of the entries
            assert value == pytest.approx(language_perplexity(generator.run, entries, task, 1), rel=1e-4)
    assert len(set(found) - {"denoise"}) > 0
    assert report == measure(path, generator, batch_size=2)


def test_violations_are_counted_on_what_was_written(path, generator):
    report = measure(path, generator, repeats=2)
    assert report["rows"]["model"]["length_violations"] == {"mean": 0, "interval": 0}
    assert report["rows"]["model"]["code_violations"] == {"mean": 0, "interval": 0}
    asked = asked_captions([e for e in load_tokens(path) if e.split == "test" and e.text != "!!!"], ())
    scores = Scores(generator, asked, 256)
    most, least = scores.limits[0].hard_max, scores.limits[2].hard_min
    allowed = sorted(generator.run.prompts.find("someone waves")["codes"])
    foreign = next(code for code in range(generator.run.config.codes) if code not in allowed)
    first = sorted(generator.run.prompts.find("a person walks forward")["codes"])[0]
    found = scores.violations([[first] * (most + 1), [0] * scores.limits[1].hard_max, [foreign] * least])
    assert found["length_violations"].tolist() == [1, 0, 0]
    assert found["code_violations"].tolist() == [0, 0, 1]
    assert found["cut_off"].tolist() == [1, 1, float(least >= scores.limits[2].hard_max)]


def test_the_report_and_a_comparison(script, tiny, path, generator, tmp_path):
    base = ("--what", "tokens", "--data", path, "--run", tiny.run, "--device", "cpu")
    for name, seed in (("a", 0), ("b", 1)):
        done = script("evaluate", *base, "--out", tmp_path / name, "--seed", seed)
        assert done.code == 0 and "token edit distance" in done.out and "split test, N = 3" in done.out, done.err
    report = read_json(tmp_path / "a" / "report.json")
    assert report == json.loads(json.dumps(measure(path, generator, perplexity="all")))
    text = (tmp_path / "a" / "report.md").read_text()
    assert text == tokens_markdown(report) and f"Protocol: {protocol_line(report['protocol'])}." in text
    assert "## Perplexity" in text and "1 participants are not the run's" in text and "Warning" not in text
    names = {p.name for p in (tmp_path / "a").iterdir()}
    assert names == {"report.json", "report.md", "codes.png", "lengths.png"}
    done = script("evaluate", "--compare", tmp_path / "a", tmp_path / "b")
    assert done.code == 0 and "| token edit distance, mean |" in done.out and "| seed | 0 | 1 |" in done.out, done.err
    # not with a report of motions
    (tmp_path / "c").mkdir()
    other = {"what": "vqvae", "protocol": {}, "metrics": {}, "clips": {}}
    (tmp_path / "c" / "report.json").write_text(json.dumps(other))
    done = script("evaluate", "--compare", tmp_path / "a", tmp_path / "c")
    assert done.code == 2 and done.err.count("\n") == 1, done.err
    # a split that training has seen
    seen = measure(path, generator, "val")
    assert seen["protocol"]["in_train"] == 1 and "**Warning: 1 of 1 measured motions" in tokens_markdown(seen)
    write_tokens(seen, tmp_path / "a")
    assert read_json(tmp_path / "a" / "report.json")["protocol"]["split"] == "val"


def test_mistakes_end_in_one_line(script, tiny, path, tmp_path):
    base = ("--what", "tokens", "--run", tiny.run, "--out", tmp_path / "out", "--device", "cpu")
    other = tmp_path / "other.json"
    entries = load_tokens(path)
    save_tokens(other, entries, {"codes": 40, "vqvae": "0" * 16})
    big = tmp_path / "big.json"
    big.write_text(json.dumps([RECORDS[2] | {"motion_tokens": [100_00]}]))
    splitless = tmp_path / "splitless.json"
    splitless.write_text(json.dumps([RECORDS[5]]))
    for args, message in [
        (base, "--what tokens needs --data"),
        ((*base, "--data", path, "--evaluator", tmp_path), "--evaluator has no meaning for --what tokens"),
        ((*base, "--data", path, "--vqvae", tmp_path), "--vqvae has no meaning for --what tokens"),
        ((*base, "--data", path, "--multimodality", 3), "--multimodality has no meaning for --what tokens"),
        ((*base, "--data", path, "--split", "dev"), "no entry of the split dev; --split test (5) or val (1) or train"),
        ((*base, "--data", splitless), "no entry of the split test; --split train (1) has entries"),
        ((*base, "--data", big), "has the code 10000"),
        ((*base, "--data", other), "has codes of another tokenizer than"),
        ((*base, "--data", tmp_path / "none.json"), "none.json does not exist"),
    ]:
        done = script("evaluate", *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "out").exists()
