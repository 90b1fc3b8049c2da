"""The protocol: planted embeddings give planted numbers, a seed always gives the same bytes, a mistake one line."""

import importlib.util
import json
import math
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import seeded
from test_evaluation_reconstruction import links_of, make_smplx

from motiongpt import MotionGenerator
from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.config import SampleConfig, VQVAEConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation import report as evaluation_report
from motiongpt.evaluation import t2m_m2t as text_evaluation
from motiongpt.evaluation.clips import Item, items_hash, read_items, shortest_clip
from motiongpt.evaluation.comparison import compare
from motiongpt.evaluation.markdown import protocol_line
from motiongpt.evaluation.model_answers import MULTIMODALITY, M2TOptions, T2MOptions, write_motions
from motiongpt.evaluation.perplexity import language_perplexity, perplexities
from motiongpt.evaluation.protocol import (
    Evaluation,
    EvaluationSet,
    ProtocolConfig,
    RepeatDraws,
    TableRow,
    interval,
    rounded,
)
from motiongpt.evaluation.published import PUBLISHED_FILE
from motiongpt.evaluation.qualities import clip_qualities
from motiongpt.evaluation.reconstruction import evaluate_vqvae
from motiongpt.evaluation.report import write_reconstruction, write_report
from motiongpt.evaluation.report_markdown import matching_markdown, report_markdown
from motiongpt.evaluation.t2m_m2t import ModelRow, evaluate_m2t, evaluate_t2m
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.files.hashes import file_hash
from motiongpt.metrics.embeddings import fid, multimodality, retrieval_ranks, top_shares
from motiongpt.metrics.joints import jerk
from motiongpt.metrics.tokens import edit_distances
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.model import load_run
from motiongpt.vqvae import VQVAE

ROOT = Path(__file__).resolve().parents[1]
N, CLIPS = 40, 36  # on the list; usable
SENTENCES = ("a person walks forward", "someone waves", "a person jumps twice", "he sits down", "she turns left")
RANKS = ("best", "median", "worst")
FILES = {"report.json", "report.md", "embeddings.safetensors", "metrics.png", "r_precision.png", "codes.png",
         "lengths.png", "best.png", "median.png", "worst.png"}  # fmt: skip


@dataclass
class Stub:
    """An evaluator with the real interface: motions are means of randomly mapped frames, captions seed a random row."""

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
        map_ = torch.randn(263, self.width, generator=seeded(1))
        assert all(4 <= len(clip) <= 196 for clip in clips)  # as the real one
        return torch.stack([(torch.as_tensor(clip) @ map_).mean(0) + len(clip) / 100 for clip in clips])

    def embed_text(self, captions) -> torch.Tensor:
        rows = [np.random.default_rng(list(" ".join(c).encode())).normal(size=self.width) for c in captions]
        return torch.tensor(np.array(rows), dtype=torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """40 clips of 48 ... 87 frames. c36 has a NaN, c37 200 frames, c38 39 frames, c39 no caption, c0 timed captions."""
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


def t2m(data, generator, clips=None, repeats=2, seed=0, motion_tokenizer=None, **options) -> Evaluation:
    protocol = ProtocolConfig(clips=clips, repeats=repeats, seed=seed)
    options = T2MOptions(**{"multimodality_texts": 2} | options)
    motion_tokenizer = motion_tokenizer or generator.motion_tokenizer
    return evaluate_t2m(data, Stub(), motion_tokenizer, generator, protocol, options)


def tokenizer_alone(data, motion_tokenizer, stub=None, **protocol) -> Evaluation:
    return evaluate_t2m(data, stub or Stub(), motion_tokenizer, protocol=ProtocolConfig(**{"repeats": 1} | protocol))


def m2t(data, generator, repeats=2, **options) -> Evaluation:
    protocol = ProtocolConfig(repeats=repeats)
    return evaluate_m2t(data, Stub(), generator.motion_tokenizer, generator, protocol, M2TOptions(**options))


@pytest.fixture(scope="module")
def result(data, generator) -> Evaluation:
    return t2m(data, generator)


@pytest.fixture(scope="module")
def once(data, generator) -> Evaluation:
    return t2m(data, generator, repeats=1, multimodality_texts=0)


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
    kit = SimpleNamespace(skeleton=KIT, fps=20.0)  # 24 because it is KIT-ML, not because of its 12.5 fps
    assert (shortest_clip(data), shortest_clip(kit), shortest_clip(SimpleNamespace(skeleton=HUMANML3D, fps=30.0))) == (
        40, 24, 60
    )  # fmt: skip
    with pytest.raises(ValueError, match="has 1 clips of 83 to 199 frames"):
        read_items(data, "test", 83, 196)


def test_a_caption_of_marks_is_none(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "data")
    (other / "texts" / "c1.txt").write_text("!!!#!/PUNCT#0.0#0.0\n")
    (other / "texts" / "c2.txt").write_text("...#./PUNCT#0.0#0.0\n走る#走る/VERB#0.0#0.0\n")
    items, dropped = read_items(MotionDataset(other), "test", 40, 196)
    assert dropped["c1"] == "no caption" and {i.name: len(i.captions) for i in items}["c2"] == 1


def test_only_lists_with_enough_clips_are_advised(folder, tmp_path):
    """Two lists of one clip are advised together; clips of 200 or 39 frames do not count; train is never advised."""
    other = shutil.copytree(folder, tmp_path / "data")
    for name, ids in (("val", [1]), ("test", [2]), ("few", [3])):
        (other / f"{name}.txt").write_text("\n".join(f"c{i}" for i in ids) + "\n")
    data = MotionDataset(other)
    for split in ("few", "test"):
        with pytest.raises(ValueError, match=r"see --min-frames\); --split val\+test measures others$"):
            read_items(data, split, 40, 196)
    (other / "val.txt").write_text("\n".join(["c37"] * 5 + ["c38"] * 4) + "\n")
    for split in ("few", "val+test"):
        with pytest.raises(ValueError, match=r"see --min-frames\)$"):
            read_items(data, split, 40, 196)


def test_clips_and_training_clips_are_in_the_protocol(folder, generator, tmp_path):
    other = shutil.copytree(folder, tmp_path / "data")
    (other / "train.txt").write_text("c0\nc3\nc35\n")
    data = MotionDataset(other)
    report = tokenizer_alone(data, generator.motion_tokenizer, clips=33).report
    assert "N = 33 (the first 33 of 37 usable, 5 dropped;" in protocol_line(report["protocol"])
    text = matching_markdown(report)
    assert "**Warning: 3 of 33 measured clips are in the training split" in text  # c0 twice, with a piece of its own
    (other / "train.txt").write_text("c39\n")
    report = tokenizer_alone(data, generator.motion_tokenizer).report
    assert "first 3" not in protocol_line(report["protocol"]) and "Warning" not in matching_markdown(report)
    with pytest.raises(ValueError, match="--clips 1 is too small: FID and Diversity need 2"):
        tokenizer_alone(data, generator.motion_tokenizer, clips=1)


def test_few_clips_have_everything_but_r_precision(data, generator, describer, tmp_path):
    """R-precision ranks motions in groups of 32. All other numbers of 31 clips are measured, and the report says so."""
    options = T2MOptions(multimodality_texts=2)
    config = ProtocolConfig(clips=31, repeats=2)
    few = evaluate_t2m(data, Stub(), generator.motion_tokenizer, generator, config, options)
    rows = few.report["rows"]
    for name in ("fid", "mm_dist", "diversity", "multimodality", "edit_nearest", "foot_skate"):
        assert rows["model"][name]["mean"] is not None, name
    assert rows["model"]["mm_dist"]["mean"] == pytest.approx(
        np.mean([clip["mm_dist"] for clip in few.report["clips"].values()]), rel=1e-5
    )
    assert rows["real"]["fid"]["mean"] == 0
    assert not [name for row in rows.values() for name in row if name.startswith("r_precision")]
    text, paths = write_report(few, data, tmp_path / "a")
    line = "**No R-precision: it ranks motions in groups of 32, and these are 31 clips.**"
    assert line in text and line in (tmp_path / "a" / "report.md").read_text()
    assert "R@1" not in text and "r_precision.png" not in {path.name for path in paths}
    pair = tokenizer_alone(data, generator.motion_tokenizer, clips=2)  # the fewest: one clip has no spread
    assert pair.report["rows"]["reconstruction"]["fid"]["mean"] > 0 and "these are 2 clips" in matching_markdown(
        pair.report
    )
    # two such reports can be compared; FID's jackknife would need groups of clips
    other = evaluate_t2m(data, Stub(), generator.motion_tokenizer, generator, replace(config, seed=1), options)
    write_report(other, data, tmp_path / "b")
    found = compare(tmp_path / "a", tmp_path / "b", resamples=50)
    assert "r_precision_1" not in found["rows"] and found["rows"]["mm_dist"]["low"] is not None
    assert found["rows"]["fid"]["low"] is None and "jackknife needs 32" in found["left_out"]["fid"]
    more = evaluate_t2m(data, Stub(), generator.motion_tokenizer, generator, replace(config, clips=32), options).report
    assert "r_precision_1" in more["rows"]["model"] and "No R-precision" not in matching_markdown(more)
    sentences = evaluate_m2t(data, Stub(), describer.motion_tokenizer, describer, config).report
    assert sentences["rows"]["model"]["bleu_1"]["mean"] is not None
    assert "No R-precision" in matching_markdown(sentences)


def test_interval_and_rounding_by_hand():
    assert interval([1.0, 3.0]) == pytest.approx({"mean": 2.0, "interval": 1.96 / math.sqrt(2)})
    assert interval([3.0]) == {"mean": 3.0, "interval": None}  # one repeat says nothing about others
    assert interval([]) is None and interval([1.0, None]) is None
    assert rounded({1: [1.23456789e-8, math.nan, 5, "x"]}) == {"1": [1.23457e-8, None, 5, "x"]}


def test_qualities_are_those_of_each_clip_alone(data):
    clips = [data.features(f"c{i}")[:size] for i, size in ((1, 48), (2, 44), (3, 48))]
    got = clip_qualities(clips, data.representation, 20.0)
    for i, clip in enumerate(clips):
        joints = data.representation.decode(torch.from_numpy(clip))
        assert got["jerk_m_s3"][i] == pytest.approx(float(jerk(joints, 20.0).mean()), rel=1e-4)  # float32 sums
    assert 0 < got["bone_limits"].mean() <= 1  # joints were shaken by 2 cm a frame


# 2) The rows.


def test_real_row_and_chance(result):
    report, vectors = result.report, result.embeddings
    rows = report["rows"]
    assert list(rows) == ["real", "reconstruction", "model", "chance"]
    assert abs(rows["real"]["fid"]["mean"]) < 1e-6 < rows["reconstruction"]["fid"]["mean"]  # float64 roundings
    assert rows["model"]["fid"]["interval"] > 0 and rows["reconstruction"]["fid"]["interval"] == 0
    assert "fid" not in rows["chance"] and vectors["model"].shape == vectors["real"].shape == (37, 8)
    assert report["protocol"]["multimodality"] == [2, 30, 10] and rows["model"]["multimodality"]["mean"] > 0
    assert report["protocol"]["diversity_pairs"] == 18 and not report["protocol"]["fid_few"]
    for row in ("real", "model"):  # one pass over the clips each, however many repeats
        assert len(report["lengths"][row]) == 37
        assert sum(report["codebook"][row]["histogram"]) == sum(report["lengths"][row])
    assert list(report["perplexity"]) == ["1"] and all(1 < x < 1000 for x in report["perplexity"]["1"].values())


def test_chance_is_one_in_32():
    """Texts equal to their motions, then shuffled: 200 repeats x 64 clips = 12,800 draws. 0.006 is four binomial
    deviations of 1/32, sqrt(p (1 - p) / 12800) = 0.00154."""
    items = [Item(str(i), np.zeros((40, 263), np.float32), ()) for i in range(64)]
    draws = RepeatDraws(SimpleNamespace(embed_text=lambda x: torch.zeros(0, 4)), items, 0)
    motion = torch.randn(64, 16)
    own, chance = TableRow(), TableRow()
    for repeat in range(200):
        own.add_matching(motion, motion, draws.rng(repeat))
        chance.add_matching(motion, motion[draws.chance(repeat)], draws.rng(repeat))
    assert all(own.summary()[f"r_precision_{k}"]["mean"] == 1.0 for k in (1, 2, 3))  # identical embeddings
    assert own.summary()["mm_dist"]["mean"] == 0.0
    for k in (1, 2, 3):
        assert chance.summary()[f"r_precision_{k}"]["mean"] == pytest.approx(k / 32, abs=0.006 * math.sqrt(k))
    assert np.mean(chance.curves, axis=0)[9] == pytest.approx(10 / 32, abs=0.02)


def test_per_clip_values_are_the_means_of_the_rows(result, once):
    report = result.report
    clips = report["clips"].values()
    for name in ("mm_dist", "foot_skate", "edit_nearest", "jerk_m_s3"):
        mean = np.mean([clip[name] for clip in clips])
        assert report["rows"]["model"][name]["mean"] == pytest.approx(mean, rel=1e-5)  # six digits
    assert all(clip["r_precision_1"] in (0, 0.5, 1, None) for clip in clips)
    for k in (1, 2, 3):  # of one repeat: 32 of 37 clips are in a group, and their mean is the set's
        hits = [clip[f"r_precision_{k}"] for clip in once.report["clips"].values()]
        known = [hit for hit in hits if hit is not None]
        assert len(known) == 32 and once.report["rows"]["model"][f"r_precision_{k}"]["mean"] == np.mean(known)
    assert np.mean(known) > 0
    assert "c0@0-2" in report["clips"] and report["clips"]["c1"]["frames"] == 48


def test_token_distance_to_the_real_codes(data, generator, once):
    """The first repeat, written again by hand: edit distance to all clips that the sentence is a caption of."""
    report = once.report
    items, _ = read_items(data, "test", 40, 196)
    captions, _ = RepeatDraws(Stub(), items, 0).captions(0)
    texts = [caption.text for caption in captions]
    codes = write_motions(generator, texts, 0, None, SampleConfig(), 7)
    real = generator.motion_tokenizer.encode([item.features for item in items])
    for item, text, row in zip(items, texts, codes, strict=True):
        said = [r for other, r in zip(items, real, strict=True) if text in {c.text for c in other.captions}]
        wanted = edit_distances([(row, reference) for reference in said]).min()
        assert report["clips"][item.name]["edit_nearest"] == wanted
    known = [generator.knows(text) for text in texts]
    assert any(known) and not all(known)
    assert (report["clips"]["c1"]["length_error"] is not None) == known[2]


@pytest.mark.parametrize("policy", ["own", "gt", "cut"])
def test_length_policies(data, generator, policy, monkeypatch):
    seen = []
    monkeypatch.setattr(Stub, "embed_motion", spy(Stub.embed_motion, seen))
    evaluation = t2m(data, generator, clips=32, repeats=1, length_policy=policy, multimodality_texts=0)
    report, vectors = evaluation.report, evaluation.embeddings
    real, made = seen[0], seen[2]  # real, reconstruction, model
    if policy == "gt":
        assert made == real
    elif policy == "own":
        assert made == [4 * length for length in report["lengths"]["model"]] and made != real
    else:
        assert made == [min(a, 4 * b) for a, b in zip(real, report["lengths"]["model"], strict=True)]
        assert seen[3] == made and made != real  # the real motions, cut the same way
    assert ("real_cut" in vectors) == ("**The model's FID is against" in report_markdown(report)) == (policy == "cut")
    fids = {name: fid(vectors[name], vectors["model"], allow_few=True) for name in vectors if name.startswith("real")}
    got = report["rows"]["model"]["fid"]["mean"]
    assert got == pytest.approx(fids.get("real_cut", fids["real"]), rel=1e-5)  # six digits
    assert policy != "cut" or got != pytest.approx(fids["real"], rel=1e-3)
    assert f"length policy {policy} (" in report_markdown(report)


def test_frames_beyond_the_longest_clip_are_ignored(data, generator, monkeypatch):
    """A motion of 60 codes has 240 frames; 196 are embedded and measured."""
    seen, measured, real = [], [], EvaluationSet.qualities
    monkeypatch.setattr(Stub, "embed_motion", spy(Stub.embed_motion, seen))
    monkeypatch.setattr(text_evaluation, "write_motions", lambda generator, texts, *rest: [[3] * 60] * len(texts))
    monkeypatch.setattr(
        EvaluationSet, "qualities", lambda self, x: measured.append({len(clip) for clip in x}) or real(self, x)
    )
    report = t2m(data, generator, repeats=1, multimodality_texts=0, perplexity="none").report
    assert set(seen[-1]) == measured[-1] == {196} and set(report["lengths"]["model"]) == {60}


def spy(function, seen):
    def embed(self, clips):
        seen.append([len(clip) for clip in clips])
        return function(self, clips)

    return embed


# 3) Reports.


@pytest.mark.slow
def test_same_seed_same_bytes(data, generator, result, tmp_path):
    """A motion depends on its own seed only, so the batch size changes nothing."""
    for name, got in (("one", result), ("two", t2m(data, generator, batch_size=5))):
        write_report(got, data, tmp_path / name)
    assert {path.name for path in (tmp_path / "one").iterdir()} == FILES
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    text = (tmp_path / "one" / "report.md").read_text()
    assert links_of(tmp_path / "one" / "report.md") == {name for name in FILES if name.endswith(".png")}
    assert "| MultiModality (± of pairs) |" in text and "its ± is over draws of pairs" in text
    under = [line for line in text.splitlines() if line.startswith("Protocol: ")]
    assert len(under) == 4 == text.count("\n| --- |")  # one under every table
    assert under[2].startswith("Protocol: of each clip's first caption") and "first repeat" in under[3]
    kept = json.loads((tmp_path / "one" / "report.json").read_text())
    assert kept["embeddings_hash"] == file_hash(tmp_path / "one" / "embeddings.safetensors")
    assert "2 repeats, seed 0" in text and "c36: " in text
    assert str(tmp_path) not in text and "20" + "26" not in (tmp_path / "one" / "report.json").read_text()[:3000]
    other = t2m(data, generator, seed=1).report
    assert other["rows"]["model"] != result.report["rows"]["model"]


def test_few_clips_give_a_warning(data, generator):
    stub = Stub(width=CLIPS + 1)  # N = D
    evaluation = tokenizer_alone(data, generator.motion_tokenizer, stub)
    report, vectors = evaluation.report, evaluation.embeddings
    assert list(report["rows"]) == ["real", "reconstruction", "chance"] and set(vectors) == {
        "real", "reconstruction", "text"
    }  # fmt: skip
    assert report["protocol"]["fid_few"]
    assert "FID with N <= D (37 clips, 37 dimensions)" in matching_markdown(report)


@pytest.mark.slow
def test_m2t(data, describer, tmp_path):
    evaluation = m2t(data, describer)
    report = evaluation.report
    assert report == m2t(data, describer, batch_size=5).report
    row = report["rows"]["model"]
    assert list(report["rows"]) == ["real", "model", "chance"] and 0 <= row["bleu_4"]["mean"] <= row["bleu_1"]["mean"]
    assert row["rouge_l"]["interval"] == 0 and report["clips"]["c1"]["captions"] == ["someone waves", "clip number 1"]
    codes = describer.motion_tokenizer.encode([data.features("c1")[:48]])[0]
    assert report["clips"]["c1"]["written"] == describer.describe(codes)
    for name in (*FILES, "best.gif", "notes.txt", "comparison.json"):  # files of an earlier evaluation, and others
        (tmp_path / name).write_text("former")
    _, paths = write_report(evaluation, data, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths} | {
        "notes.txt",
        "comparison.json",
    }
    assert {"best.png", "report.md", "metrics.png"} <= {path.name for path in paths}
    pictures = {path.name for path in paths if path.suffix == ".png"}
    assert pictures == links_of(tmp_path / "report.md") == {f"{n}.png" for n in (*RANKS, "metrics", "r_precision")}


# 4) The script.


@pytest.fixture
def stubbed(monkeypatch):
    """Evaluator.load returns the stub."""
    from motiongpt.evaluation import evaluators

    monkeypatch.setattr(evaluators.Evaluator, "load", lambda *args, **kwargs: Stub())


@pytest.mark.slow
def test_script(script, stubbed, folder, tiny, tmp_path):
    base = ("--data", folder, "--evaluator", tmp_path, "--repeats", 1)
    done = script("evaluate", "--what", "t2m", *base, "--run", tiny.run, "--out", tmp_path / "a", "--multimodality", 0)
    assert done.code == 0, done.err
    assert "| model |" in done.out and "protocol: evaluator 0123" in done.out and "dropped c36" in done.out
    assert "±" not in done.out + (tmp_path / "a" / "report.md").read_text()  # of one repeat
    done = script("evaluate", "--what", "m2t", *base, "--run", tiny.run, "--out", tmp_path / "m", "--max-new-tokens", 8)
    assert done.code == 0 and "BLEU-4" in done.out and "temperature 0" in done.out, done.err
    done = script("evaluate", "--vqvae", tiny.vqvae, *base, "--out", tmp_path / "v")
    assert done.code == 0 and "| reconstruction |" in done.out, done.err
    text = (tmp_path / "v" / "report.md").read_text()
    assert "# Motion tokenizer: reconstruction" in text and "## Text and motion" in text
    assert text.count("foot-skate ratio") == 1  # over frames, with the floor of the clip; not also over clips
    assert "protocol: data data (" in done.out and "protocol for the evaluator: evaluator 0123" in done.out
    assert "\ndropped c39" not in done.out and "\ndropped for the evaluator c39: no caption" in done.out
    matching = json.loads((tmp_path / "v" / "report.json").read_text())["matching"]
    assert matching["embeddings_hash"] == file_hash(tmp_path / "v" / "embeddings.safetensors")
    links = links_of(tmp_path / "v" / "report.md")
    assert links == {f"{n}.{end}" for n in RANKS for end in ("gif", "png")} | {
        "codes.png", "metrics.png", "r_precision.png"
    }  # fmt: skip
    assert all((tmp_path / "v" / name).is_file() for name in links)
    done = script("evaluate", "--vqvae", tiny.vqvae, *base, "--out", tmp_path / "t", "--split", "train")
    assert done.code == 0 and "**Warning: 39 of 39 measured" in done.out and "**Warning: 37 of 37" in done.out
    for a in ("a", "v"):
        done = script("evaluate", "--compare", tmp_path / a, shutil.copytree(tmp_path / a, tmp_path / f"{a} copy"))
        assert done.code == 0 and "| MM-Dist |" in done.out and "| no |" not in done.out, done.err
    done = script("evaluate", "--compare", tmp_path / "a", tmp_path / "v")
    assert done.code == 2 and "cannot be compared: what is t2m and vqvae" in done.err


def test_mistakes_end_in_one_line(script, stubbed, folder, tiny, tmp_path):
    base = ("--what", "t2m", "--data", folder, "--run", tiny.run, "--out", tmp_path / "out")
    (folder / "some.txt").write_text("c1\n")
    (folder / "none.txt").write_text("")
    for args, message in [
        (base, "--what t2m needs an evaluator (--evaluator): train one with scripts/train_evaluator.py, or fetch"),
        ((*base[:2],), "--what t2m needs --data"),
        ((*base, "--evaluator", tmp_path, "--split", "some"), "has 1 clips of 40 to 199 frames with a caption"),
        ((*base, "--repeats", 0), "--repeats must be at least 1, got 0"),
        ((*base, "--evaluator", tmp_path, "--split", "none"), "has 0 clips of 40 to 199 frames with a caption"),
        ((*base, "--evaluator", tmp_path, "--split", "none"), "see --min-frames); --split test measures others"),
        ((*base, "--evaluator", tmp_path, "--clips", 1), "--clips 1 is too small: FID and Diversity need 2"),
        ((*base[:-1], tiny.run, "--evaluator", tmp_path), "is a run or a tokenizer; give the evaluation a folder"),
        (("--what", "m2t", *base[2:], "--length-policy", "gt"), "--length-policy has no meaning for --what m2t"),
        (("--what", "m2t", *base[2:], "--multimodality", 0), "--multimodality has no meaning for --what m2t"),
        (("--compare", tmp_path, tmp_path / "b"), "report.json does not exist"),
        (("--compare", tmp_path, tmp_path), "takes two evaluations, got"),
        (("--compare", tmp_path, tmp_path, "--data", folder), "--data has no meaning with --compare"),
    ]:
        done = script("evaluate", *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "out").exists()


def test_an_evaluator_of_another_motion(data, generator):
    with pytest.raises(ValueError, match="the evaluator has frame rate 30.0"):
        tokenizer_alone(data, generator.motion_tokenizer, Stub(fps=30.0))


def test_tokenizer_alone_needs_no_language_model(data, tiny):
    report = tokenizer_alone(data, MotionTokenizer.load(tiny.vqvae)).report
    assert "length_policy" not in report["protocol"] and report["protocol"]["what"] == "vqvae"


def test_ranks_leave_the_rest_out():
    x = torch.randn(70, 4)
    ranks = retrieval_ranks(x, x, np.random.default_rng(0))
    assert (int((ranks == 0).sum()), int((ranks == 1).sum())) == (6, 64)
    assert top_shares(ranks, 2) == (1.0, 1.0)


def test_perplexity_against_the_sum_by_hand(data, generator):
    """exp of the mean of -log p over the labelled tokens of one entry, from the logits of all positions."""
    from motiongpt.data.tokens import Entry

    entry = Entry("someone waves", (3, 1, 4, 1, 5))
    ids, labels = generator.run.renderer.render("t2m", entry, np.random.default_rng(0))
    with torch.inference_mode():
        logits = generator.run.llm(torch.tensor([ids]))[0].double().log_softmax(-1)
    terms = [float(logits[i - 1, ids[i]]) for i in range(1, len(ids)) if labels[i]]
    assert len(terms) == 7  # five codes, begin and end
    wanted = math.exp(-np.mean(terms))
    got = language_perplexity(generator.run, [entry] * 3, "t2m", 2)
    assert got == pytest.approx(wanted, rel=1e-4)  # float32 logits


def test_every_repeat_writes_anew_and_the_sheet_shows_what_was_asked(data, generator, monkeypatch):
    """No seed is used twice: repeat r starts at seed + r N, MultiModality after all repeats, 30 times per caption."""
    calls, write = [], text_evaluation.write_motions

    def recorded(generator, texts, first_seed, *rest):
        calls.append((list(texts), first_seed))
        return write(generator, texts, first_seed, *rest)

    monkeypatch.setattr(text_evaluation, "write_motions", recorded)
    report = t2m(data, generator, seed=5).report
    N = report["protocol"]["N"]
    assert [seed for _, seed in calls] == [5 + 2 * N, 5, 5 + N]  # MultiModality first, then the repeats
    several = calls[0][0]
    assert [several[:30], several[30:]] == [[several[0]] * 30, [several[30]] * 30]
    assert {several[0], several[30]} <= {clip["captions"][0] for clip in report["clips"].values()}
    assert [clip["asked"] for clip in report["clips"].values()] == calls[1][0] != calls[2][0]
    draws = RepeatDraws(Stub(), read_items(data, "test", 40, 196)[0], 5)
    assert draws.rng(0).integers(10**9) != draws.rng(1).integers(10**9)


def test_the_data_hash_sees_a_word_and_a_frame(data):
    items, _ = read_items(data, "test", 40, 196)
    changed = [replace(items[0], captions=items[1].captions), replace(items[0], features=items[0].features + 1)]
    assert len({items_hash(items), *(items_hash([item, *items[1:]]) for item in changed)}) == 3


# 5) MultiModality, perplexity, motions of one code, pictures.


def test_multimodality_against_the_sum_by_hand():
    """Ten pairs out of thirty motions per text. The two sides are two draws, so hardly any motion meets itself."""
    several = torch.randn(4, 30, 5, dtype=torch.float64)
    rng, distances = np.random.default_rng(7), []
    first, second = rng.permutation(30)[:10], rng.permutation(30)[:10]
    for text in several.numpy():
        distances += [np.linalg.norm(text[a] - text[b]) for a, b in zip(first, second, strict=True)]
    assert len(distances) == 40 and (first == second).sum() <= 2
    assert multimodality(several, np.random.default_rng(7)) == pytest.approx(np.mean(distances))


def test_multimodality_of_a_model(data, generator, monkeypatch):
    """3 texts x 30 motions x 10 pairs: each motion has its own seed, all repeats measure the same motions; 100 texts is
    the default."""
    seen = []

    def recorded(motion, rng, pairs):
        seen.append((motion, pairs))
        return multimodality(motion, rng, pairs)

    monkeypatch.setattr(text_evaluation, "multimodality", recorded)
    report = t2m(data, generator, multimodality_texts=3).report
    assert [(tuple(motion.shape), pairs) for motion, pairs in seen] == [((3, 30, 8), 10)] * 2
    first, second = (motion for motion, _ in seen)
    assert first is second and len(first.flatten(0, 1).unique(dim=0)) > 80  # of 90: they differ
    assert report["protocol"]["multimodality"] == [3, 30, 10] and MULTIMODALITY == (100, 30, 10)
    asked = []
    monkeypatch.setattr(ModelRow, "write_several", lambda self, texts: asked.append(texts))
    evaluate_t2m(data, Stub(), generator.motion_tokenizer, generator, ProtocolConfig(repeats=1))
    assert asked == [100]


@pytest.mark.slow
def test_perplexity_of_every_stage(data, tiny, tmp_path):
    run = tmp_path / "run"
    tiny.finetune(run, 1, vqvae=tiny.vqvae)
    tiny.finetune(run, 2)
    items = read_items(data, "test", 40, 196)[0][:32]
    two = MotionGenerator.load(run, stage=2)
    codes = two.motion_tokenizer.encode([item.features for item in items])
    every = perplexities(two, items, codes, 7, "all")
    assert list(every) == ["1", "2"] and all(
        every[str(n)].keys() == load_run(run, n).meta["tasks"].keys() for n in (1, 2)
    )
    for stage in ("1", "2"):  # each alone, loaded for itself: the same numbers
        alone = perplexities(MotionGenerator.load(run, stage=int(stage)), items, codes, 7, "stage")
        assert alone == {stage: every[stage]}
    assert every["1"] != every["2"] and perplexities(two, items, codes, 7, "none") == {}
    report = t2m(data, two, repeats=1, multimodality_texts=0).report
    text = report_markdown(report)
    assert "\n| stage 1 | " in text and "\n| stage 2, evaluated | " in text


def test_a_motion_of_one_code_of_two_frames(data, generator, monkeypatch):
    """Its last frame is repeated up to the four frames an evaluator needs; the motion itself does not change."""
    tokenizer = MotionTokenizer(VQVAE(VQVAEConfig(codes=32, code_dim=16, width=16, depth=1, down=1)),
                                generator.motion_tokenizer.normalizer, HUMANML3D, 20.0)  # fmt: skip
    tokenizer.vqvae.quantizer.codebook.normal_()
    seen = []
    monkeypatch.setattr(
        Stub, "embed_motion", lambda self, clips, real=Stub.embed_motion: seen.append(clips) or real(self, clips)
    )
    monkeypatch.setattr(text_evaluation, "write_motions", lambda generator, texts, *rest: [[3]] * len(texts))
    for policy in ("own", "cut"):
        evaluation = t2m(
            data, generator, repeats=1, motion_tokenizer=tokenizer, length_policy=policy, multimodality_texts=1
        )
        report = evaluation.report
        assert report["lengths"]["model"] == [1] * 37 and len(evaluation.shown_motions["best"]) == 2
        assert report["rows"]["model"]["jerk_m_s3"] is None  # of two frames
    held = seen[1][0]  # MultiModality comes after the real motions
    assert len(held) == 4 and torch.equal(held[1:], held[1:2].expand(3, -1)) and not torch.equal(held[0], held[1])


def test_panels_of_the_bars(data, describer, result, tmp_path, monkeypatch):
    """Sentences have no Diversity, every panel notes which way is better, and all bars are equally wide."""
    from motiongpt.render import figures as pictures

    seen, figures = [], []

    def recorded(panels, path, notes):
        seen.append((panels, notes))
        return pictures.plot_bars(panels, path, notes)

    monkeypatch.setattr(evaluation_report, "plot_bars", recorded)
    monkeypatch.setattr(pictures, "_save", lambda figure, path: figures.append(figure) or path)
    evaluation_report.write_pictures(result, data, tmp_path)
    sentences = m2t(data, describer, repeats=1, perplexity="none")
    evaluation_report.write_pictures(sentences, data, tmp_path)
    several, one = (
        [[getattr(bars, "errorbar", None) for bars in axes.containers] for axes in figure.axes if axes.get_visible()]
        for figure in figures
        if len(figure.axes) > 4
    )
    assert all(any(marks) for marks in several) and not any(any(marks) for marks in one)  # one repeat: no intervals
    (motions, notes), (sentences, more_notes) = seen
    assert "Diversity" in motions and "Diversity" not in sentences and "BLEU-4" in sentences
    assert (notes["FID"], notes["R@1"], more_notes["BLEU-1"]) == ("lower is better", *["higher is better"] * 2)
    for bars in (figure for figure in figures if len(figure.axes) > 4):
        shown = [axes for axes in bars.axes if axes.get_visible()]
        assert len({round(float(np.ptp(axes.get_xlim())), 6) for axes in shown}) == 1
        assert all(
            axes.get_xlim()[0] < 0 and axes.texts[0].get_text().split()[-1] in ("better", "varied") for axes in shown
        )


def test_smplx_with_an_evaluator_links_what_is_drawn(tmp_path):
    folder, tokenizer = make_smplx(tmp_path / "data", list(range(40, 76)))
    data = MotionDataset(folder)
    stub = Stub()
    stub.representation = tokenizer.representation
    stub.embed_motion = lambda clips: torch.stack([torch.as_tensor(clip).mean(0)[:8] for clip in clips])
    matching = tokenizer_alone(data, tokenizer, stub, split="val")
    report = evaluate_vqvae(tokenizer, data, "val")
    _, paths = write_reconstruction(report, matching, tokenizer, data, tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    shown = {f"{rank}.{suffix}" for rank in ("best", "median", "worst") for suffix in ("gif", "png")}
    assert links_of(tmp_path / "out" / "report.md") == {"codes.png", "metrics.png", "r_precision.png", *shown}
    assert {path.name for path in paths} == {path.name for path in (tmp_path / "out").iterdir()}
    assert "## Motion\n" not in text and "## Clips by MM-Dist" in text


def test_a_token_that_is_none_names_its_file(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "data")
    (other / "texts" / "c1.txt").write_text("someone waves#someone/PRON wave#0.0#0.0\n")
    with pytest.raises(ValueError, match=r"texts/c1.txt: a token is word/POS, such as walk/VERB; got 'wave'"):
        read_items(MotionDataset(other), "test", 40, 196)


# 6) The published evaluator, if it is there.


@pytest.fixture
def published(monkeypatch, tmp_path):
    """evaluate.py in a checkout with a published evaluator in checkpoints/t2m, and the list of how it was loaded."""
    from motiongpt.evaluation import evaluators

    spec = importlib.util.spec_from_file_location("evaluate", ROOT / "scripts" / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    module.ROOT, loaded = tmp_path / "checkout", []
    path = module.ROOT / "checkpoints" / "t2m" / PUBLISHED_FILE
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr(evaluators.Evaluator, "load", lambda *args: loaded.append(args[:4]) or Stub())
    return lambda *words: module.main(module.make_parser().parse_args([str(word) for word in words])), loaded


@pytest.mark.slow
def test_the_published_evaluator_is_the_default_of_vqvae(published, folder, tiny, tmp_path, capsys):
    evaluate, loaded = published
    base = ("--data", folder, "--vqvae", tiny.vqvae, "--device", "cpu")
    evaluate(*base, "--repeats", 1, "--out", tmp_path / "a", "--evaluator-stats", tmp_path)
    checkout = tmp_path / "checkout"
    assert loaded == [(checkout / "checkpoints" / "t2m", checkout / "glove", None, tmp_path)]
    assert "## Text and motion" in (tmp_path / "a" / "report.md").read_text()
    evaluate(*base, "--clips", 1, "--out", tmp_path / "b")  # too few for it, and nobody asked for it
    assert "warning: neither R-precision nor FID by the published evaluator" in capsys.readouterr().out
    assert "## Text and motion" not in (tmp_path / "b" / "report.md").read_text()
    with pytest.raises(ValueError, match="FID and Diversity need 2"):
        evaluate(*base, "--clips", 1, "--repeats", 2)
    (checkout / "checkpoints" / "t2m" / PUBLISHED_FILE).unlink()
    evaluate(*base, "--clips", 5, "--out", tmp_path / "c")
    assert len(loaded) == 3 and "warning" not in capsys.readouterr().out
