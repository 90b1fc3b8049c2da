"""Two evaluations compared: equal ones do not differ, planted differences are found, intervals hold as often as stated.

The evaluation folders are written here, from texts and motions that are planted points.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import seeded

from motiongpt.config import SampleConfig
from motiongpt.evaluation.comparison import compare, comparison_markdown
from motiongpt.evaluation.intervals import FID_GROUPS, RESAMPLES, bootstrap, fid_half_width
from motiongpt.evaluation.protocol import TableRow
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_tensors, write_json, write_tensors
from motiongpt.metrics.embeddings import fid

N, D = 64, 8
PROTOCOL = {
    "what": "t2m", "evaluator": "evaluator 0123", "evaluator_hash": "0123", "packing": "guo", "data": "mine",
    "data_hash": "4567", "split": "test", "N": N, "usable": N, "in_train": 0, "dropped": 0,
    "min_frames": 40, "max_frames": 196, "repeats": 3,
    "seed": 0, "diversity_pairs": N // 2, "embedding_dim": D, "fid_few": False, "tokenizer_hash": "89ab",
    "run": "signmotiongpt", "stage": 3, "run_hash": "cdef", "length_policy": "own",
    "sampling": SampleConfig().to_dict(), "motiongpt": "0.1.0", "torch": "2.13.0",
}  # fmt: skip
MEASURED = ["r_precision_1", "r_precision_2", "r_precision_3", "fid", "mm_dist"]


def write(
    folder: Path,
    noise: float,
    protocol: dict | None = None,
    seed: int = 0,
    names: str = "c",
    n: int = N,
    repeats: int = 3,
    **more,
) -> Path:
    """An evaluation whose motions are their texts plus `noise`; `seed` draws the noise, texts are always the same."""
    text = torch.randn(n, D, generator=seeded(0))
    model = text + noise * torch.randn(n, D, generator=seeded(1 + seed))
    row = TableRow()
    for repeat in range(repeats):
        row.add_matching(text, model, np.random.default_rng([seed, repeat]))
        row.add({}, fid=fid(more.get("real_cut", text), model, True), multimodality=float(repeat))
    clips = {f"{names}{i}": {"frames": 40 + 4 * (i % 5), "captions": ["x"]} | row.of_clip(i) for i in range(n)}
    write_tensors(folder / "embeddings.safetensors", {"real": text, "model": model, **more})
    report = {"protocol": PROTOCOL | (protocol or {}), "rows": {"model": row.summary()}, "clips": clips}
    write_json(folder / "report.json", report | {"embeddings_hash": file_hash(folder / "embeddings.safetensors")})
    return folder


def edit(folder: Path, change) -> Path:
    report = json.loads((folder / "report.json").read_text())
    change(report)
    write_json(folder / "report.json", report)
    return folder


def means_of(values: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    return bootstrap(values[None], np.ones_like(values)[None], rng, resamples)[:, 0]


def test_bootstrap_by_hand():
    rng = np.random.default_rng(0)
    values = np.stack([np.full(50, 0.25), rng.normal(size=50), np.zeros(50), np.arange(50.0)], axis=1)
    weights = np.ones((50, 4))
    weights[:25, 0], weights[:, 2], weights[1:49, 3], weights[0, 3] = 0, 0, 0, 1e-9
    values[:25, 0] = 9  # clips without a value are left out
    means = bootstrap(values[None], weights[None], np.random.default_rng(1), RESAMPLES)[:, 0]
    assert (means[:, 0] == 0.25).all() and np.isnan(means[:, 2]).all()
    assert np.nanmax(means[:, 3]) == 49  # a clip of weight 1e-9 counts as little, and where none is drawn there is none
    low, high = np.percentile(means[:, 1], [2.5, 97.5])
    wanted = values[:, 1].std() / math.sqrt(50)  # the standard error; percentiles at 1.96 of it, about
    assert (high - low) / 2 == pytest.approx(1.96 * wanted, rel=0.05)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """400 pairs of evaluations of 60 clips, B better by 0.3: 95 % of the intervals should hold 0.3.

    The binomial deviation is 1.1 %, and percentiles of so few clips hold it about 1 % too seldom: 91 to 98 %. Unpaired
    intervals would also contain what clips share; they would be three times as wide and nearly always hold it.
    """
    rng, inside, widths = np.random.default_rng(0), 0, []
    for _ in range(400):
        clip = rng.normal(size=60)  # hard and easy clips, the same for both
        a, b = clip + 0.3 * rng.normal(size=60), clip + 0.3 + 0.3 * rng.normal(size=60)
        low, high = np.percentile(means_of((b - a)[:, None], rng, 500), [2.5, 97.5])
        inside += low <= 0.3 <= high
        widths.append(high - low)
    assert 0.91 <= inside / 400 <= 0.98
    # 2 x 1.96 standard errors of the pairs' difference, 0.3 sqrt(2) / sqrt(60); 5 %: 59 of 60, and tails of 500 draws
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.3 * math.sqrt(2 / 60), rel=0.05)


def test_equal_evaluations_do_not_differ(tmp_path):
    a = write(tmp_path / "a", 0.5)
    got = compare(a, shutil.copytree(a, tmp_path / "b"), resamples=200)
    assert set(got["rows"]) == {*MEASURED, "diversity", "multimodality"}
    for name in MEASURED:
        row = got["rows"][name]
        assert (row["difference"], row["low"], row["high"], row["zero_inside"]) == (0, 0, 0, True), name
    assert got["differs"] == {} and "by the same protocol" in comparison_markdown(got)


def test_a_better_one_is_found_and_chance_is_not(tmp_path):
    """Less noise is better by every metric; different noise of the same size is not."""
    a = write(tmp_path / "a", 1.5)
    better = compare(a, write(tmp_path / "b", 0.5), resamples=500)["rows"]
    for name in MEASURED:
        row = better[name]
        assert not row["zero_inside"] and row["low"] < row["difference"] < row["high"], name
        assert (row["difference"] > 0) == name.startswith("r_precision"), name
    same = compare(a, write(tmp_path / "c", 1.5, seed=7), resamples=500)["rows"]
    assert all(same[name]["zero_inside"] for name in MEASURED)
    a, b = (json.loads((tmp_path / x / "report.json").read_text())["clips"].values() for x in "ab")
    hits = [np.mean([clip["r_precision_1"] for clip in x]) for x in (a, b)]  # all 64 clips are in a group of 32
    assert [better["r_precision_1"][x] for x in ("a", "b")] == pytest.approx(hits)


def test_a_metric_of_one_side_or_of_other_clips_is_left_out(tmp_path):
    """A clip with a value in one evaluation only is in neither mean."""
    for name in "ab":
        folder = write(tmp_path / name, 0.5)
        report = json.loads((folder / "report.json").read_text())
        clips = list(report["clips"].values())
        for i, clip in enumerate(clips):
            clip["jerk_m_s3"] = None if (i == 0) == (name == "a") else float(i)
            clip["foot_skate"] = {"a": 1.0, "b": 1.0 + i}[name] if i < 10 else {"a": None, "b": 100.0}[name]
        more = {"foot_skate": {"a": 1.0, "b": 85.2}[name], "jerk_m_s3": {"a": 32.0, "b": 0.0}[name]}
        report["rows"]["model"] |= {key: {"mean": value, "interval": 0.0} for key, value in more.items()}
        write_json(folder / "report.json", report)
    got = compare(tmp_path / "a", tmp_path / "b", resamples=50)
    rows = got["rows"]
    assert "jerk_m_s3" not in rows  # a has all but the first clip, b the first alone
    assert [rows["foot_skate"][x] for x in ("a", "b", "clips")] == [1, 5.5, 10]  # every clip once, short or long
    assert 0 < rows["foot_skate"]["low"] < 4.5 < rows["foot_skate"]["high"]
    assert "foot-skate ratio: over the 10 clips that have a value in both." in comparison_markdown(got)


@pytest.mark.parametrize("width", [5, 200])  # more clips than dimensions, and fewer
def test_fid_half_width_is_the_jackknife(width):
    """The formula, from `fid` of the rows that each group leaves."""
    generator = seeded(0)
    real, x, y, other = (torch.randn(50, width, generator=generator) * (i + 1) for i in range(4))
    for a, b in (((real, x), (real, y)), ((real, x), (other, y))):
        got = fid_half_width(a, b, np.random.default_rng(3))
        group, values = np.random.default_rng(3).permutation(50) % FID_GROUPS, []
        for g in range(FID_GROUPS):
            rows = np.flatnonzero(group != g)
            values.append(fid(b[0][rows], b[1][rows], True) - fid(a[0][rows], a[1][rows], True))
        wanted = math.sqrt((FID_GROUPS - 1) / FID_GROUPS * np.square(values - np.mean(values)).sum())
        assert got == pytest.approx(2.093 * wanted, rel=1e-8)  # float64


@pytest.mark.slow
@pytest.mark.parametrize("clips, width", [(100, 16), (100, 64)])
def test_fid_intervals_hold_the_expected_difference(clips, width):
    """100 trials; the truth is the mean of 300 fresh ones. 95 % with a binomial deviation of 2.2 %: at least 88 % hold
    it. They are not too wide either: less than 1.5 times 1.96 deviations."""
    generator, rng = seeded(0), np.random.default_rng(0)

    def draw():
        real, x, y = (torch.randn(clips, width, generator=generator) for _ in range(3))
        return (real, 0.3 * real + 0.8 * x + 0.3), (real, 0.6 * real + 0.7 * y + 0.1)

    def difference(a, b):
        return fid(*b, True) - fid(*a, True)

    fresh = [difference(*draw()) for _ in range(300)]
    truth, halves, inside = np.mean(fresh), [], 0
    for a, b in (draw() for _ in range(100)):
        halves.append(fid_half_width(a, b, rng))
        inside += abs(difference(a, b) - truth) <= halves[-1]
    assert inside >= 88 and np.mean(halves) < 1.5 * 1.96 * np.std(fresh)


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_values_are_those_of_the_reports(tmp_path, repeats):
    """70 clips, 64 of them in groups: each evaluation leaves out other clips, so the mean over clips differs."""
    a, b = (write(tmp_path / x, noise, n=70, repeats=repeats, seed=repeats * i)
            for i, (x, noise) in enumerate((("a", 1.0), ("b", 0.9))))  # fmt: skip
    rows, reports = compare(a, b, resamples=500)["rows"], [json.loads((x / "report.json").read_text()) for x in (a, b)]
    for name, row in rows.items():
        assert [row["a"], row["b"]] == [x["rows"]["model"][name]["mean"] for x in reports], name
        assert row["low"] is None or row["low"] < row["difference"] < row["high"], name
    hits = [np.nanmean([float(c["r_precision_1"] or 0) for c in x["clips"].values()]) for x in reports]
    assert hits[0] != pytest.approx(rows["r_precision_1"]["a"], rel=1e-6)


def test_a_metric_without_values_per_clip_has_no_interval(tmp_path):
    a, b = write(tmp_path / "a", 0.5), write(tmp_path / "b", 1.0)
    edit(b, lambda report: report["rows"]["model"].update(multimodality={"mean": 7.0, "interval": None}))
    got = compare(a, b, resamples=20)
    row = got["rows"]["multimodality"]
    assert (row["a"], row["b"], row["difference"]) == (1, 7, 6) and row["low"] is row["zero_inside"] is None
    text = comparison_markdown(got)
    assert "| MultiModality | 1 | 7 | 6 | - | - |" in text
    assert "No interval for Diversity, MultiModality: only the whole set has a value" in text
    edit(b, lambda report: report["rows"]["model"].update(multimodality=None))
    got = compare(a, b, resamples=20)
    assert "multimodality" not in got[
        "rows"
    ] and "No MultiModality: it was not measured in both" in comparison_markdown(got)


def reconstruction(folder: Path, factor: float, matching: Path | None = None) -> Path:
    """A tokenizer's report: clips of 4, 8, 12 ... frames, their errors, and the means over frames."""
    frames, errors = 4 * np.arange(1, N + 1), factor * np.random.default_rng(0).uniform(1, 2, N)
    clips = {f"c{i}": {"frames": int(frames[i]), "mpjpe_mm": errors[i], "transl_rmse": errors[i]} for i in range(N)}
    metrics = {"mpjpe_mm": np.average(errors, weights=frames),
               "transl_rmse": np.average(errors**2, weights=frames) ** 0.5}  # fmt: skip
    protocol = {"data": "mine", "data_hash": "4567", "tokenizer_hash": f"{factor}", "split": "test", "clips": N,
                "usable_clips": N, "dropped_clips": 0, "in_train": 0, "frames": int(frames.sum()), "fps": 20.0,
                "skeleton": "humanml3d", "representation": "x", "motiongpt": "0.1.0", "torch": "2.13.0"}  # fmt: skip
    report = {"what": "vqvae", "protocol": protocol, "metrics": metrics, "clips": clips}
    if matching:
        report["matching"] = json.loads((matching / "report.json").read_text())
        folder.mkdir()
        shutil.copy(matching / "embeddings.safetensors", folder)
    write_json(folder / "report.json", report)
    return folder


def test_reconstructions_are_compared_by_their_frames(tmp_path):
    a, b = reconstruction(tmp_path / "a", 2.0), reconstruction(tmp_path / "b", 1.0)
    reports = [json.loads((x / "report.json").read_text()) for x in (a, b)]
    got = compare(a, b, resamples=500)
    assert set(got["rows"]) == {"mpjpe_mm", "transl_rmse"} and got["fid_groups"] is None
    for name, row in got["rows"].items():
        assert [row["a"], row["b"]] == [x["metrics"][name] for x in reports]
        assert row["low"] < row["difference"] < row["high"] < 0
    weights = np.array([c["frames"] for c in reports[0]["clips"].values()])
    errors = np.array([c["mpjpe_mm"] for c in reports[1]["clips"].values()])  # the difference is minus these
    rows = compare(a, b, resamples=4000)["rows"]
    for name, power in (("mpjpe_mm", 1), ("transl_rmse", 2)):
        mean = np.average(errors**power, weights=weights)  # of a ratio, then of its root, to the first order
        wanted = np.sqrt(np.square(weights * (errors**power - mean)).sum()) / weights.sum()
        wanted /= power * mean ** (1 - 1 / power)
        # 5 %: tails of the draws; every clip counted once would be 13 % off
        assert rows[name]["high"] - rows[name]["low"] == pytest.approx(2 * 1.96 * wanted, rel=0.05)
    assert "tokenizer 2.0" in comparison_markdown(got) and got["differs"] == {"tokenizer_hash": ["2.0", "1.0"]}
    both = [reconstruction(tmp_path / f"{x}2", 1.0, write(tmp_path / f"{x}m", 0.5, {"what": "vqvae"})) for x in "ab"]
    got = compare(*both, resamples=20)
    assert {"mpjpe_mm", "fid", "mm_dist"} <= set(got["rows"]) and len(got["a"]) == 2
    assert set(compare(a, both[1], resamples=20)["rows"]) == {"mpjpe_mm", "transl_rmse"}  # what both have
    with pytest.raises(ValueError, match="cannot be compared: one is of a tokenizer alone"):
        compare(a, write(tmp_path / "c", 0.5))


def test_incomparable_evaluations_are_refused(tmp_path):
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
    fewer = write(tmp_path / "e", 0.5)
    cut = {x: y[1:] for x, y in read_tensors(fewer / "embeddings.safetensors").items()}
    write_tensors(fewer / "embeddings.safetensors", cut)
    edit(fewer, lambda report: [report.pop("embeddings_hash"), report["clips"].pop("c0")])
    with pytest.raises(ValueError, match=r"measured (\d+) and \d+ clips; give both the same --clips"):
        compare(a, fewer)
    with pytest.raises(ValueError, match="takes two evaluations, got"):
        compare(a, tmp_path / "a" / ".." / "a")
    other = shutil.copytree(a, tmp_path / "d")  # as many rows, of another evaluation
    write_tensors(
        other / "embeddings.safetensors", {x: y + 1 for x, y in read_tensors(a / "embeddings.safetensors").items()}
    )
    with pytest.raises(ValueError, match="embeddings.safetensors is not that of report.json"):
        compare(a, other)
    for folder in (a, other):  # a report of before there was a hash, of fewer clips
        edit(folder, lambda report: [report.pop("embeddings_hash"), report["clips"].pop("c0")])
    with pytest.raises(ValueError, match="embeddings.safetensors is not that of report.json"):
        compare(a, other)
    edit(a, lambda report: report["protocol"].pop("run_hash"))
    with pytest.raises(ValueError, match="of another version .no 'run_hash'.; evaluate it again"):
        compare(a, tmp_path / "c")


def test_differences_of_protocol_are_listed(tmp_path):
    sampling = SampleConfig(temperature=1.5).to_dict()
    b = {"repeats": 5, "seed": 3, "tokenizer_hash": "ffff", "sampling": sampling, "length_policy": "gt",
         "motiongpt": "0.2.0", "bert_model": "x"}  # fmt: skip
    got = compare(write(tmp_path / "a", 0.5), write(tmp_path / "b", 0.5, b), resamples=20)
    assert got["differs"] == {
        "repeats": [3, 5], "seed": [0, 3], "tokenizer_hash": ["89ab", "ffff"], "length_policy": ["own", "gt"],
        "motiongpt": ["0.1.0", "0.2.0"], "sampling temperature": [SampleConfig().temperature, 1.5],
        "bert_model": [None, "x"],
    }  # fmt: skip
    text = comparison_markdown(got)
    assert "| tokenizer_hash | 89ab | ffff |" in text and "| length_policy | own | gt |" in text
    assert got["a"] == [PROTOCOL] and got["b"] == [PROTOCOL | b]


def test_fid_of_cut_motions_compares_with_cut_ones_only(tmp_path):
    """With the policy cut the real motions are cut too: FID is against real_cut, which only another cut has."""
    shift = torch.randn(N, D, generator=seeded(0)) + 2.0
    a = write(tmp_path / "a", 0.1)
    cut = write(tmp_path / "b", 0.1, {"length_policy": "cut"}, real_cut=shift)
    got = compare(a, cut, resamples=20)
    assert "fid" not in got["rows"] and got["fid_groups"] is None and "mm_dist" in got["rows"]
    assert "No FID: the length policy cut also cuts the real motions" in comparison_markdown(got)
    both = compare(write(tmp_path / "c", 0.1, {"length_policy": "cut"}), cut, resamples=20)["rows"]
    assert both["fid"]["b"] == pytest.approx(4 * D, rel=0.05) and both["fid"]["a"] < 0.1  # a shift of 2 in D dimensions


def test_script_writes_it_and_refuses_flags_without_effect(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without --out nothing is written, not into the default folder either
    a, b, out = write(tmp_path / "a", 0.5), write(tmp_path / "b", 1.0, {"repeats": 4}), tmp_path / "out"
    done = script("evaluate", "--compare", a, b, "--seed", 3)
    assert done.code == 0 and "| MM-Dist |" in done.out and not Path("outputs").exists(), done.err
    done = script("evaluate", "--compare", a, b, "--seed", 3, "--out", out)
    assert done.code == 0 and (out / "comparison.md").read_text() in done.out, done.err
    kept = json.loads((out / "comparison.json").read_text())
    assert kept == json.loads(json.dumps(compare(a, b, seed=3)))  # the same numbers from the same seed
    assert (kept["resamples"], kept["fid_groups"]) == (RESAMPLES, FID_GROUPS)
    assert kept["differs"] == {"repeats": [3, 4]}
    for flags, message in (
        (("--temperature", 1, "--split", "test"), "--split, --temperature have no meaning with --compare"),
        (("--what", "vqvae"), "--what has no meaning with --compare"),
        (("--seed", -1), "--seed must be 0 or more, got -1"),
        (("--repeats", 20, "--multimodality", 0), "--repeats, --multimodality have no meaning"),
        (("--device", "cpu", "--bert-score", "x", "--glove", "y"), "--glove, --bert-score, --device have no meaning"),
    ):  # also when they are given their default values
        done = script("evaluate", "--compare", a, b, *flags)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    (tmp_path / "file").write_text("mine")
    done = script("evaluate", "--compare", a, b, "--out", tmp_path / "file")
    assert done.code == 2 and "is a file, not a folder to write in" in done.err
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_text("{}")
    done = script("evaluate", "--compare", a, b, "--out", tmp_path / "data")
    assert done.code == 2 and "is a data set; give the evaluation a folder" in done.err


def test_few_clips_give_a_warning(tmp_path):
    for name in "ab":
        folder = write(tmp_path / name, 0.5, {"fid_few": True})
        vectors = read_tensors(folder / "embeddings.safetensors")
        wide = {key: torch.cat([x] * 10, 1) for key, x in vectors.items()}  # 80 dimensions, 64 clips
        write_tensors(folder / "embeddings.safetensors", wide)
        edit(folder, lambda report: report.pop("embeddings_hash"))  # a report of before there was one
    got = compare(tmp_path / "a", tmp_path / "b", resamples=20)
    assert "**FID with N <= D: it depends on N" in comparison_markdown(got)
