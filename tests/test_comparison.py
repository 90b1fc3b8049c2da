"""Two evaluations compared: equal ones do not differ, planted differences are found, and intervals hold what they say.

Evaluations are folders written here: hits, distances and embeddings of texts and motions that are planted points.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from motiongpt.comparison import FID_RESAMPLES, RESAMPLES, bootstrap, compare, comparison_markdown, fid_differences
from motiongpt.config import SampleConfig
from motiongpt.files import read_tensors, write_json, write_tensors
from motiongpt.metrics import fid
from motiongpt.protocol import Row

N, D = 64, 8
PROTOCOL = {
    "what": "t2m", "evaluator": "evaluator 0123", "evaluator_hash": "0123", "packing": "guo", "data": "mine",
    "data_hash": "4567", "split": "test", "N": N, "dropped": 0, "min_frames": 40, "max_frames": 196, "repeats": 3,
    "seed": 0, "diversity_pairs": N // 2, "embedding_dim": D, "fid_few": False, "tokenizer_hash": "89ab",
    "run": "signmotiongpt", "stage": 3, "run_hash": "cdef", "length_policy": "own",
    "sampling": SampleConfig().to_dict(), "motiongpt": "0.1.0", "torch": "2.13.0",
}  # fmt: skip


def write(folder: Path, noise: float, protocol: dict | None = None, seed: int = 0, names: str = "c", **more) -> Path:
    """An evaluation whose motions are their texts plus `noise`; `seed` draws the noise, texts are always the same."""
    text = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    model = text + noise * torch.randn(N, D, generator=torch.Generator().manual_seed(1 + seed))
    row = Row()
    for repeat in range(3):
        row.match(text, model, np.random.default_rng(repeat))
    clips = {f"{names}{i}": {"frames": 40, "captions": ["x"]} | row.per_clip(i) for i in range(N)}
    write_json(folder / "report.json", {"protocol": PROTOCOL | (protocol or {}), "rows": {}, "clips": clips})
    write_tensors(folder / "embeddings.safetensors", {"real": text, "model": model, **more})
    return folder


def test_bootstrap_by_hand():
    rng = np.random.default_rng(0)
    differences = np.stack([np.full(50, 0.25), rng.normal(size=50), np.full(50, np.nan)], axis=1)
    differences[:25, 0] = np.nan  # clips without a value are left out
    low, high = bootstrap(differences, np.random.default_rng(1), RESAMPLES)
    assert low[0] == high[0] == 0.25
    column = differences[:, 1]
    wanted = column.std() / math.sqrt(50)  # the standard error; percentiles at 1.96 of it, about
    assert (high[1] - low[1]) / 2 == pytest.approx(1.96 * wanted, rel=0.05)
    assert low[1] < column.mean() < high[1]


def test_intervals_hold_the_truth_as_often_as_they_say():
    """400 pairs of evaluations of 60 clips, B better by 0.3: 95 % of the intervals hold 0.3. The binomial deviation is
    1.1 %, and percentiles of so few clips hold it about 1 % too seldom: 91 to 98 %. Not paired, with the part that
    clips share left in, they would be three times as wide and hold it nearly always."""
    rng, inside, widths = np.random.default_rng(0), 0, []
    for _ in range(400):
        clip = rng.normal(size=60)  # hard and easy clips, the same for both
        a, b = clip + 0.3 * rng.normal(size=60), clip + 0.3 + 0.3 * rng.normal(size=60)
        low, high = bootstrap((b - a)[:, None], rng, 500)[:, 0]
        inside += low <= 0.3 <= high
        widths.append(high - low)
    assert 0.91 <= inside / 400 <= 0.98
    # 2 x 1.96 standard errors of the pairs' difference, 0.3 sqrt(2) / sqrt(60); 5 %: 59 of 60, and tails of 500 draws
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.3 * math.sqrt(2 / 60), rel=0.05)


def test_equal_evaluations_do_not_differ(tmp_path):
    a = write(tmp_path / "a", 0.5)
    got = compare(a, shutil.copytree(a, tmp_path / "b"), resamples=200, fid_resamples=20)
    assert set(got["rows"]) == {"r_precision_1", "r_precision_2", "r_precision_3", "mm_dist", "fid"}
    for name, row in got["rows"].items():
        assert (row["difference"], row["low"], row["high"], row["zero_inside"]) == (0, 0, 0, True), name
    assert got["differs"] == {} and "by the same protocol" in comparison_markdown(got)


def test_a_better_one_is_found_and_chance_is_not(tmp_path):
    """Less noise is better by every metric; other noise of the same size is not."""
    a = write(tmp_path / "a", 1.5)
    better = compare(a, write(tmp_path / "b", 0.5), resamples=500, fid_resamples=50)["rows"]
    for name, row in better.items():
        assert not row["zero_inside"] and row["low"] < row["difference"] < row["high"], name
        assert (row["difference"] > 0) == name.startswith("r_precision"), name
    same = compare(a, write(tmp_path / "c", 1.5, seed=7), resamples=500, fid_resamples=50)["rows"]
    assert all(row["zero_inside"] for row in same.values())
    a, b = (json.loads((tmp_path / x / "report.json").read_text())["clips"].values() for x in "ab")
    hits = [np.mean([clip["r_precision_1"] for clip in x]) for x in (a, b)]  # all 64 clips are in a group of 32
    assert [better["r_precision_1"][x] for x in ("a", "b")] == pytest.approx(hits)


def test_a_metric_of_one_side_or_of_other_clips_is_left_out(tmp_path):
    """A value that only one evaluation has is no pair: neither is in the means."""
    for name in "ab":
        folder = write(tmp_path / name, 0.5)
        report = json.loads((folder / "report.json").read_text())
        clips = list(report["clips"].values())
        for i, clip in enumerate(clips):
            clip["jerk_m_s3"] = None if (i == 0) == (name == "a") else float(i)
            clip["foot_skate"] = {"a": 1.0, "b": 3.0}[name] if i < 10 else {"a": None, "b": 100.0}[name]
        write_json(folder / "report.json", report)
    rows = compare(tmp_path / "a", tmp_path / "b", resamples=50, fid_resamples=2)["rows"]
    assert "jerk_m_s3" not in rows  # a has all but the first clip, b the first alone
    assert [rows["foot_skate"][x] for x in ("a", "b", "low", "high")] == [1, 3, 2, 2]


@pytest.mark.parametrize("width", [5, 200])  # more clips than dimensions, and fewer
def test_fid_of_resamples_is_fid_of_the_rows_drawn(width):
    generator = torch.Generator().manual_seed(0)
    real, x, y, other = (torch.randn(50, width, generator=generator) * (i + 1) for i in range(4))
    for a, b in (((real, x), (real, y)), ((real, x), (other, y))):
        got = fid_differences(a, b, np.random.default_rng(3), 4)
        rng = np.random.default_rng(3)
        for value in got:
            rows = rng.integers(50, size=50)
            wanted = fid(b[0][rows], b[1][rows], True) - fid(a[0][rows], a[1][rows], True)
            assert value == pytest.approx(wanted, rel=1e-8)  # float64; rows twice or with a weight of two


def test_the_interval_of_fid_is_its_percentiles(tmp_path, monkeypatch):
    monkeypatch.setattr("motiongpt.comparison.fid_differences", lambda a, b, rng, resamples: np.arange(resamples + 1.0))
    rows = compare(write(tmp_path / "a", 0.5), write(tmp_path / "b", 0.5), resamples=20, fid_resamples=1000)["rows"]
    assert (rows["fid"]["low"], rows["fid"]["high"]) == pytest.approx((25, 975))


def test_what_cannot_be_compared_is_refused(tmp_path):
    a = write(tmp_path / "a", 0.5)
    for name, value, message in (
        ("what", "m2t", "what is t2m and m2t, they measure different things"),
        ("evaluator_hash", "f" * 4, "evaluator_hash is 0123 and ffff, each evaluator has a scale of its own"),
        ("packing", "openmotionlab", "packing is guo and openmotionlab"),
        ("split", "val", "split is test and val, they measured different clips"),
        ("data_hash", "9999", "data_hash is 4567 and 9999, frames or captions are not the same"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(a, write(tmp_path / "b", 0.5, {name: value}))
    with pytest.raises(ValueError, match="cannot be compared: they measured different clips"):
        compare(a, write(tmp_path / "c", 0.5, names="d"))
    with pytest.raises(ValueError, match="takes two evaluations, got"):
        compare(a, tmp_path / "a" / ".." / "a")
    report = json.loads((a / "report.json").read_text())
    write_json(a / "report.json", report | {"clips": dict(list(report["clips"].items())[1:])})
    with pytest.raises(ValueError, match="embeddings.safetensors is not that of report.json"):
        compare(a, tmp_path / "c")
    del report["protocol"]["run_hash"]
    write_json(a / "report.json", report)
    with pytest.raises(ValueError, match="of another version, without 'run_hash'; evaluate it again"):
        compare(a, tmp_path / "c")


def test_what_differs_is_said(tmp_path):
    sampling = SampleConfig(temperature=1.5).to_dict()
    b = {"repeats": 5, "seed": 3, "tokenizer_hash": "ffff", "sampling": sampling, "length_policy": "gt",
         "motiongpt": "0.2.0", "bert_model": "x"}  # fmt: skip
    got = compare(write(tmp_path / "a", 0.5), write(tmp_path / "b", 0.5, b), resamples=20, fid_resamples=2)
    assert got["differs"] == {
        "repeats": [3, 5], "seed": [0, 3], "tokenizer_hash": ["89ab", "ffff"], "length_policy": ["own", "gt"],
        "motiongpt": ["0.1.0", "0.2.0"], "sampling temperature": [SampleConfig().temperature, 1.5],
        "bert_model": [None, "x"],
    }  # fmt: skip
    text = comparison_markdown(got)
    assert "| tokenizer_hash | 89ab | ffff |" in text and "| length_policy | own | gt |" in text
    assert got["a"] == PROTOCOL and got["b"] == PROTOCOL | b


def test_fid_of_cut_motions_compares_with_cut_ones_only(tmp_path):
    """With `cut` the real motions are cut too: real_cut is what was compared with, and only another `cut` has one."""
    shift = torch.randn(N, D, generator=torch.Generator().manual_seed(0)) + 2.0
    a = write(tmp_path / "a", 0.1)
    cut = write(tmp_path / "b", 0.1, {"length_policy": "cut"}, real_cut=shift)
    got = compare(a, cut, resamples=20)
    assert "fid" not in got["rows"] and got["fid_resamples"] is None and "mm_dist" in got["rows"]
    assert "No FID: with the length policy cut the real motions are cut too" in comparison_markdown(got)
    both = compare(write(tmp_path / "c", 0.1, {"length_policy": "cut"}), cut, resamples=20, fid_resamples=20)["rows"]
    assert both["fid"]["b"] == pytest.approx(4 * D, rel=0.05) and both["fid"]["a"] < 0.1  # a shift of 2 in D dimensions


def test_script_keeps_it_and_refuses_what_has_no_effect(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without --out nothing is written, not into the default folder either
    a, b, out = write(tmp_path / "a", 0.5), write(tmp_path / "b", 1.0, {"repeats": 4}), tmp_path / "out"
    done = script("evaluate", "--compare", a, b, "--seed", 3)
    assert done.code == 0 and "| MM-Dist |" in done.out and not Path("outputs").exists(), done.err
    done = script("evaluate", "--compare", a, b, "--seed", 3, "--out", out)
    assert done.code == 0 and (out / "comparison.md").read_text() in done.out, done.err
    kept = json.loads((out / "comparison.json").read_text())
    assert kept == json.loads(json.dumps(compare(a, b, seed=3)))  # the same numbers from the same seed
    assert (kept["resamples"], kept["fid_resamples"]) == (RESAMPLES, FID_RESAMPLES[1])  # 64 clips, 8 dimensions
    assert kept["differs"] == {"repeats": [3, 4]}
    for flags, message in (
        (("--temperature", 1, "--split", "test"), "--split, --temperature have no meaning with --compare"),
        (("--what", "vqvae"), "--what has no meaning with --compare"),
        (("--repeats", 20, "--multimodality", 0), "--repeats, --multimodality have no meaning"),
        (("--device", "cpu", "--bert-score", "x", "--glove", "y"), "--glove, --bert-score, --device have no meaning"),
    ):  # also where they are given their defaults
        done = script("evaluate", "--compare", a, b, *flags)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    (tmp_path / "file").write_text("mine")
    done = script("evaluate", "--compare", a, b, "--out", tmp_path / "file")
    assert done.code == 2 and "is a file, not a folder to write in" in done.err


def test_few_clips_are_said(tmp_path):
    for name in "ab":
        folder = write(tmp_path / name, 0.5, {"fid_few": True})
        vectors = read_tensors(folder / "embeddings.safetensors")
        wide = {key: torch.cat([x] * 10, 1) for key, x in vectors.items()}  # 80 dimensions, 64 clips
        write_tensors(folder / "embeddings.safetensors", wide)
    got = compare(tmp_path / "a", tmp_path / "b", resamples=20, fid_resamples=2)
    assert "**FID with N < D: it depends on N." in comparison_markdown(got)
