"""The protocol: planted embeddings give planted numbers, the same seed the same bytes, and mistakes one line."""

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from motiongpt import MotionGenerator
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation_report import RESAMPLES, bootstrap, compare, report_markdown, write_report
from motiongpt.features import joints_to_features
from motiongpt.metrics import edit_distance, jerk, retrieval_ranks, top_shares
from motiongpt.protocol import Item, Row, Texts, interval, items_hash, qualities, read_items, rounded, shortest_clip
from motiongpt.skeletons import HUMANML3D
from motiongpt.text_evaluation import evaluate_m2t, evaluate_t2m, write_motions
from motiongpt.tokenizer import MotionTokenizer

N, CLIPS = 40, 36  # on the list; usable
SENTENCES = ("a person walks forward", "someone waves", "a person jumps twice", "he sits down", "she turns left")
FILES = {"report.json", "report.md", "embeddings.safetensors", "metrics.png", "r_precision.png", "codes.png",
         "lengths.png", "best.png", "median.png", "worst.png"}  # fmt: skip


@dataclass
class Stub:
    """An evaluator with the interface of the real one: means of a random map of the frames; words hashed by letters."""

    hash: str = "0123456789abcdef"
    packing: str = "guo"
    width: int = 8
    skeleton = HUMANML3D
    representation = SimpleNamespace(name="humanml3d-263")
    fps: float = 20.0
    config = SimpleNamespace(max_frames=196)

    def describe(self) -> str:
        return f"evaluator {self.hash}, packing {self.packing}"

    def embed_motion(self, clips) -> torch.Tensor:
        map_ = torch.randn(263, self.width, generator=torch.Generator().manual_seed(1))
        assert all(len(clip) and len(clip) <= 196 for clip in clips)
        return torch.stack([(torch.as_tensor(clip) @ map_).mean(0) + len(clip) / 100 for clip in clips])

    def embed_text(self, captions) -> torch.Tensor:
        rows = [np.random.default_rng(list(" ".join(c).encode())).normal(size=self.width) for c in captions]
        return torch.tensor(np.array(rows), dtype=torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """40 clips of 48 ... 87 frames; c36 has a NaN, c37 200 frames, c38 39, c39 no caption; c0 also timed ones."""
    folder = tmp_path_factory.mktemp("protocol") / "data"
    rng = np.random.default_rng(0)
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir(parents=True)
    pose = np.zeros((22, 3))
    for joint, parent in enumerate(HUMANML3D.parents[1:], 1):
        pose[joint] = pose[parent] + HUMANML3D.offsets[joint]
    for i in range(N):
        frames = {37: 200, 38: 39}.get(i, 48 + i)
        joints = pose + np.linspace(0, 1, frames + 1)[:, None, None] * [0, 0, 0.1 * i]
        joints = joints + 0.02 * rng.normal(size=joints.shape).cumsum(0)
        features = joints_to_features(joints, HUMANML3D, retargeted=True).astype(np.float32)
        if i == 36:
            features[3, 5] = math.nan
        np.save(folder / "new_joint_vecs" / f"c{i}.npy", features)
        lines = [f"{SENTENCES[i % 5]}#a/DET b{i}/NOUN#0.0#0.0", f"clip number {i}#clip/NOUN n{i}/NOUN#0.0#0.0"]
        lines += ["he sits down#he/PRON sit/VERB#0.0#2.0", "short#short/ADJ#0.0#1.0"] if i == 0 else []
        (folder / "texts" / f"c{i}.txt").write_text("" if i == 39 else "\n".join(lines) + "\n")
    np.save(folder / "Mean.npy", np.zeros(263, np.float32))
    np.save(folder / "Std.npy", np.full(263, 0.2, np.float32))
    for split in ("train", "test"):
        (folder / f"{split}.txt").write_text("\n".join(f"c{i}" for i in range(N)) + "\n")
    return folder


@pytest.fixture(scope="module")
def data(folder) -> MotionDataset:
    return MotionDataset(folder)


@pytest.fixture(scope="module")
def generator(tiny) -> MotionGenerator:
    return MotionGenerator.load(tiny.run)


def t2m(data, generator, **changes) -> tuple:
    values = {"repeats": 2, "multimodality_texts": 2} | changes
    return evaluate_t2m(data, Stub(), generator.tokenizer, generator, **values)


@pytest.fixture(scope="module")
def result(data, generator) -> tuple:
    return t2m(data, generator)


# 1) What counts.


def test_dropped_clips(data):
    items, dropped = read_items(data, "test", 40, 196)
    assert set(dropped) == {"c36", "c37", "c38", "c39", "c0@0-1"}
    assert "not finite" in dropped["c36"] and dropped["c39"] == "no caption"
    assert dropped["c37"] == "200 frames, not 40 to 199" and dropped["c38"] == "39 frames, not 40 to 199"
    assert dropped["c0@0-1"] == "20 frames, not 40 to 199"
    assert str(data.folder) not in json.dumps(dropped)
    assert [item.name for item in items] == ["c0", "c0@0-2", *(f"c{i}" for i in range(1, CLIPS))]
    assert [len(item.features) for item in items[:3]] == [48, 40, 48]  # a multiple of 4; 2 s are 40 frames
    assert all(c.start == 0 for item in items for c in item.captions) and len(items[1].captions) == 1
    cut, _ = read_items(data, "test", 4, 80)  # up to 83 frames stay, as 196 to 199 of the field's 196
    assert max(len(item.features) for item in cut) == 80 and "c38" in {item.name for item in cut}
    assert (shortest_clip(data), len(read_items(data, "test", 40, 196, 33)[0])) == (40, 33)
    with pytest.raises(ValueError, match="has 4 clips of 80 to 199 frames"):
        read_items(data, "test", 80, 196)


def test_interval_and_rounding_by_hand():
    assert interval([1.0, 3.0]) == pytest.approx({"mean": 2.0, "interval": 1.96 / math.sqrt(2)})
    assert interval([]) is None and interval([1.0, None]) is None
    assert rounded({1: [1.23456789e-8, math.nan, 5, "x"]}) == {"1": [1.23457e-8, None, 5, "x"]}


def test_qualities_are_those_of_each_clip_alone(data):
    clips = [data.features(f"c{i}")[:size] for i, size in ((1, 48), (2, 44), (3, 48))]
    got = qualities(clips, data.representation, 20.0)
    for i, clip in enumerate(clips):
        joints = data.representation.decode(torch.from_numpy(clip))
        assert got["jerk_m_s3"][i] == pytest.approx(float(jerk(joints, 20.0).mean()), rel=1e-4)  # float32 sums
    assert 0 < got["bone_limits"].mean() <= 1  # joints were shaken by 2 cm a frame


# 2) The rows.


def test_real_row_and_chance(result):
    report, vectors, _ = result
    rows = report["rows"]
    assert list(rows) == ["real", "reconstruction", "model", "chance"]
    assert abs(rows["real"]["fid"]["mean"]) < 1e-6 < rows["reconstruction"]["fid"]["mean"]  # float64 roundings
    assert rows["model"]["fid"]["interval"] > 0 and rows["reconstruction"]["fid"]["interval"] == 0
    assert "fid" not in rows["chance"] and vectors["model"].shape == vectors["real"].shape == (37, 8)
    assert report["protocol"]["multimodality"] == [2, 30, 10] and rows["model"]["multimodality"]["mean"] > 0
    assert report["protocol"]["diversity_pairs"] == 18 and not report["protocol"]["fid_few"]
    assert len(report["lengths"]["model"]) == 2 * 37 and sum(report["codebook"]["model"]["histogram"]) == sum(
        report["lengths"]["model"]
    )
    assert report["perplexity"] and all(1 < value < 1000 for value in report["perplexity"].values())


def test_chance_is_one_in_32():
    """Texts that know their motion, dealt out: 200 repeats x 64 clips = 12,800 draws; 0.006 is four binomial
    deviations of 1/32, sqrt(p (1 - p) / 12800) = 0.00154."""
    items = [Item(str(i), np.zeros((40, 263), np.float32), ()) for i in range(64)]
    texts = Texts(SimpleNamespace(embed_text=lambda x: torch.zeros(0, 4)), items, 0)
    motion = torch.randn(64, 16)
    own, chance = Row(), Row()
    for repeat in range(200):
        own.match(motion, motion, texts.shuffle(repeat))
        chance.match(motion, motion[texts.deal(repeat)], texts.shuffle(repeat))
    assert all(own.summary()[f"r_precision_{k}"]["mean"] == 1.0 for k in (1, 2, 3))  # identical embeddings
    assert own.summary()["mm_dist"]["mean"] == 0.0
    for k in (1, 2, 3):
        assert chance.summary()[f"r_precision_{k}"]["mean"] == pytest.approx(k / 32, abs=0.006 * math.sqrt(k))
    assert np.mean(chance.curves, axis=0)[9] == pytest.approx(10 / 32, abs=0.02)


def test_per_clip_values_are_the_means_of_the_rows(result):
    report, *_ = result
    clips = report["clips"].values()
    for name in ("mm_dist", "foot_skate", "edit_nearest", "jerk_m_s3"):
        mean = np.mean([clip[name] for clip in clips])
        assert report["rows"]["model"][name]["mean"] == pytest.approx(mean, rel=1e-5)  # six digits
    # 32 of 37 clips are in a group, others each repeat: over clips that were, the mean is near the set's
    assert all(clip["r_precision_1"] in (0, 0.5, 1, None) for clip in clips)
    assert "c0@0-2" in report["clips"] and report["clips"]["c1"]["frames"] == 48


def test_token_distance_to_the_real_codes(data, generator, result):
    """The first repeat written again by hand: edit distance to all clips of which the sentence is said."""
    report, *_ = t2m(data, generator, repeats=1, multimodality_texts=0)
    items, _ = read_items(data, "test", 40, 196)
    captions, _ = Texts(Stub(), items, 0).draw(0)
    texts = [caption.text for caption in captions]
    codes = write_motions(generator, texts, 0, None, generator_config(), 7)
    real = generator.tokenizer.encode([item.features for item in items])
    for item, text, row in zip(items, texts, codes, strict=True):
        said = [r for other, r in zip(items, real, strict=True) if text in {c.text for c in other.captions}]
        wanted = min(edit_distance(row, reference) for reference in said)
        assert report["clips"][item.name]["edit_nearest"] == wanted
    known = [generator.knows(text) for text in texts]
    assert any(known) and not all(known)
    assert (report["clips"]["c1"]["length_error"] is not None) == known[2]


def generator_config():
    from motiongpt.config import SampleConfig

    return SampleConfig()


@pytest.mark.parametrize("policy", ["own", "gt", "cut"])
def test_length_policies(data, generator, policy, monkeypatch):
    seen = []
    monkeypatch.setattr(Stub, "embed_motion", spy(Stub.embed_motion, seen))
    report, vectors, shown = t2m(data, generator, repeats=1, policy=policy, multimodality_texts=0, clips=32)
    real, made = seen[0], seen[2]  # real, reconstruction, model
    if policy == "gt":
        assert made == real
    elif policy == "own":
        assert made == [4 * length for length in report["lengths"]["model"]] and made != real
    else:
        assert made == [min(a, 4 * b) for a, b in zip(real, report["lengths"]["model"], strict=True)]
        assert seen[3] == made and made != real  # the real motions, cut the same way
    assert ("real_cut" in vectors) == (policy == "cut")
    assert f"length policy {policy} (" in report_markdown(report)


def spy(function, seen):
    def embed(self, clips):
        seen.append([len(clip) for clip in clips])
        return function(self, clips)

    return embed


# 3) Reports.


def test_same_seed_same_bytes(data, generator, result, tmp_path):
    """Whatever the batch size: motions depend on their own seed only."""
    for name, got in (("one", result), ("two", t2m(data, generator, batch_size=5))):
        write_report(*got, data, tmp_path / name)
    assert {path.name for path in (tmp_path / "one").iterdir()} == FILES
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    text = (tmp_path / "one" / "report.md").read_text()
    assert text.count("Protocol: ") == 2 and "2 repeats, seed 0" in text and "c36: " in text
    assert str(tmp_path) not in text and "20" + "26" not in (tmp_path / "one" / "report.json").read_text()[:3000]
    other, *_ = t2m(data, generator, seed=1)
    assert other["rows"]["model"] != result[0]["rows"]["model"]


def test_few_clips_are_said(data, generator):
    stub = Stub(width=64)
    report, vectors, _ = evaluate_t2m(data, stub, generator.tokenizer, repeats=1)
    assert list(report["rows"]) == ["real", "reconstruction", "chance"] and set(vectors) == {
        "real", "reconstruction", "text"
    }  # fmt: skip
    assert report["protocol"]["fid_few"]
    from motiongpt.evaluation_report import matching_markdown

    assert "FID with N < D (37 clips, 64 dimensions)" in matching_markdown(report)


def test_m2t(data, generator, tmp_path):
    report, vectors, shown = evaluate_m2t(data, Stub(), generator.tokenizer, generator, repeats=2)
    again, *_ = evaluate_m2t(data, Stub(), generator.tokenizer, generator, repeats=2, batch_size=5)
    assert report == again
    row = report["rows"]["model"]
    assert list(report["rows"]) == ["real", "model", "chance"] and 0 <= row["bleu_4"]["mean"] <= row["bleu_1"]["mean"]
    assert row["rouge_l"]["interval"] == 0 and report["clips"]["c1"]["captions"] == ["someone waves", "clip number 1"]
    codes = generator.tokenizer.encode([data.features("c1")[:48]])[0]
    assert report["clips"]["c1"]["written"] == generator.describe(codes)
    paths = write_report(report, vectors, shown, data, tmp_path)
    assert {"best.png", "report.md", "metrics.png"} <= {path.name for path in paths}


# 4) Comparison.


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


def test_compare_finds_what_was_planted(data, generator, result, tmp_path):
    report, vectors, shown = result
    vectors = vectors | {"model": vectors["real"].clone()}
    write_report(report, vectors, shown, data, tmp_path / "a")
    rng = np.random.default_rng(0)
    worse = {
        name: clip | {"mm_dist": clip["mm_dist"] + 1, "jerk_m_s3": clip["jerk_m_s3"] + float(rng.normal())}
        for name, clip in report["clips"].items()
    }
    far = vectors | {"model": vectors["real"] + 5.0}
    write_report(report | {"clips": worse}, far, shown, data, tmp_path / "b")
    got = compare(tmp_path / "a", tmp_path / "b", resamples=500, fid_resamples=20)["rows"]
    assert (got["mm_dist"]["low"], got["mm_dist"]["high"]) == pytest.approx((1, 1), abs=1e-4)  # six digits
    assert not got["mm_dist"]["zero_inside"] and got["edit_mean"]["zero_inside"] and got["jerk_m_s3"]["low"] < 0.5
    assert got["fid"]["a"] == pytest.approx(0, abs=1e-6)  # float64
    assert [got["fid"][x] for x in ("b", "low", "high")] == pytest.approx([8 * 25] * 3, rel=1e-4)  # float32 embeddings
    for changes, message in (
        ({"protocol": report["protocol"] | {"repeats": 3}}, "repeats is 2 and 3"),
        ({"protocol": report["protocol"] | {"split": "val"}}, "split is test and val"),
        ({"clips": dict(list(worse.items())[::-1])}, "they measured different clips"),
    ):
        write_report(report | changes, vectors, shown, data, tmp_path / "c")
        with pytest.raises(ValueError, match=message):
            compare(tmp_path / "a", tmp_path / "c")


# 5) The script.


@pytest.fixture
def stubbed(monkeypatch):
    """Evaluator.load gives the stub."""
    from motiongpt import evaluators

    monkeypatch.setattr(evaluators.Evaluator, "load", lambda *args, **kwargs: Stub())


def test_script(script, stubbed, folder, tiny, tmp_path):
    base = ("--data", folder, "--evaluator", tmp_path, "--repeats", 1)
    done = script("evaluate", "--what", "t2m", *base, "--run", tiny.run, "--out", tmp_path / "a", "--multimodality", 0)
    assert done.code == 0, done.err
    assert "| model |" in done.out and "protocol: evaluator 0123" in done.out and "dropped c36" in done.out
    done = script("evaluate", "--what", "m2t", *base, "--run", tiny.run, "--out", tmp_path / "m", "--max-new-tokens", 8)
    assert done.code == 0 and "BLEU-4" in done.out and "temperature 0" in done.out, done.err
    done = script("evaluate", "--vqvae", tiny.vqvae, *base, "--out", tmp_path / "v")
    assert done.code == 0 and "| reconstruction |" in done.out, done.err
    text = (tmp_path / "v" / "report.md").read_text()
    assert "# Motion tokenizer: reconstruction" in text and "## Text and motion" in text
    done = script("evaluate", "--vqvae", tiny.vqvae, *base, "--out", tmp_path / "t", "--split", "train")
    assert done.code == 0 and "warning: --split train" in done.out and "**Measured on the training split" in done.out
    for a in ("a", "v"):
        done = script("evaluate", "--compare", tmp_path / a, shutil.copytree(tmp_path / a, tmp_path / f"{a} copy"))
        assert done.code == 0 and "| MM-Dist |" in done.out and "| no |" not in done.out, done.err
    done = script("evaluate", "--compare", tmp_path / "a", tmp_path / "v")
    assert done.code == 2 and "cannot be compared: what is t2m and vqvae" in done.err


def test_mistakes_end_in_one_line(script, stubbed, folder, tiny, tmp_path):
    base = ("--what", "t2m", "--data", folder, "--run", tiny.run, "--out", tmp_path / "out")
    (folder / "some.txt").write_text("c1\nc2\n")
    for args, message in [
        (base, "needs an evaluator: scripts/train_evaluator.py makes one"),
        ((*base[:2],), "--what t2m needs --data"),
        ((*base, "--evaluator", tmp_path, "--split", "some"), "has 2 clips of 40 to 199 frames with a caption"),
        ((*base, "--evaluator", tmp_path, "--min-frames", 86), "R-precision needs 32"),
        ((*base, "--repeats", 0), "--repeats must be at least 1, got 0"),
        (("--what", "m2t", *base[2:], "--length-policy", "gt"), "--length-policy has no meaning for --what m2t"),
        (("--compare", tmp_path, tmp_path / "b"), "report.json does not exist"),
        (("--compare", tmp_path, tmp_path), "takes two evaluations, got"),
        (("--compare", tmp_path, tmp_path, "--data", folder), "--data has no meaning with --compare"),
    ]:
        done = script("evaluate", *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "out").exists()


def test_an_evaluator_of_another_motion(data, generator):
    with pytest.raises(ValueError, match="the evaluator has frame rate 30.0"):
        evaluate_t2m(data, Stub(fps=30.0), generator.tokenizer)


def test_tokenizer_alone_needs_no_language_model(data, tiny):
    report, *_ = evaluate_t2m(data, Stub(), MotionTokenizer.load(tiny.vqvae), repeats=1)
    assert "length_policy" not in report["protocol"] and report["protocol"]["what"] == "vqvae"


def test_ranks_leave_the_rest_out():
    x = torch.randn(70, 4)
    ranks = retrieval_ranks(x, x, np.random.default_rng(0))
    assert (int((ranks == 0).sum()), int((ranks == 1).sum())) == (6, 64)
    assert top_shares(ranks, 2) == (1.0, 1.0)


def test_perplexity_against_the_sum_by_hand(data, generator):
    """One entry: exp of the mean of -log p over the labelled tokens, from the logits of all positions."""
    from motiongpt.data.tokens import Entry
    from motiongpt.text_evaluation import language_perplexity

    entry = Entry("someone waves", (3, 1, 4, 1, 5))
    ids, labels = generator.run.renderer.render("t2m", entry, np.random.default_rng(0))
    with torch.inference_mode():
        logits = generator.run.llm(torch.tensor([ids]))[0].double().log_softmax(-1)
    terms = [float(logits[i - 1, ids[i]]) for i in range(1, len(ids)) if labels[i]]
    assert len(terms) == 7  # five codes, begin and end
    wanted = math.exp(-np.mean(terms))
    got = language_perplexity(generator, [entry] * 3, "t2m", 2)
    assert got == pytest.approx(wanted, rel=1e-4)  # float32 logits


def test_every_repeat_writes_anew_and_the_sheet_shows_what_was_asked(data, generator, monkeypatch):
    """Seeds never meet: repeat r starts at seed + r N, MultiModality after all of them, 30 times one caption a text."""
    from motiongpt import text_evaluation

    calls, write = [], text_evaluation.write_motions

    def recorded(generator, texts, first_seed, *rest):
        calls.append((list(texts), first_seed))
        return write(generator, texts, first_seed, *rest)

    monkeypatch.setattr(text_evaluation, "write_motions", recorded)
    report, _, _ = t2m(data, generator, seed=5)
    N = report["protocol"]["N"]
    assert [seed for _, seed in calls] == [5 + 2 * N, 5, 5 + N]  # MultiModality first, then the repeats
    several = calls[0][0]
    assert [several[:30], several[30:]] == [[several[0]] * 30, [several[30]] * 30]
    assert {several[0], several[30]} <= {clip["captions"][0] for clip in report["clips"].values()}
    assert [clip["asked"] for clip in report["clips"].values()] == calls[1][0] != calls[2][0]
    texts = Texts(Stub(), read_items(data, "test", 40, 196)[0], 5)
    assert texts.shuffle(0).integers(10**9) != texts.shuffle(1).integers(10**9)


def test_the_data_hash_sees_a_word_and_a_frame(data):
    items, _ = read_items(data, "test", 40, 196)
    changed = [replace(items[0], captions=items[1].captions), replace(items[0], features=items[0].features + 1)]
    assert len({items_hash(items), *(items_hash([item, *items[1:]]) for item in changed)}) == 3
