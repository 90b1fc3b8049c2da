"""Training an evaluator: it learns, is reproducible, resumes after a stop, and never reads the test split."""

import json
import os
import pickle
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from motiongpt.config import EvaluatorConfig, TrainConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation import evaluator_training
from motiongpt.evaluation.clips import items_hash
from motiongpt.evaluation.evaluator_training import (
    Collate,
    matching_loss,
    new_evaluator,
    random_piece,
    read_pairs,
    train_evaluator,
    validation_scores,
)
from motiongpt.evaluation.evaluators import Evaluator
from motiongpt.evaluation.networks import MovementConvEncoder
from motiongpt.evaluation.word_vectors import read_glove
from motiongpt.files.store import read_tensors, write_json

CPU = torch.device("cpu")
TINY = EvaluatorConfig(
    movement_width=32, movement_dim=32, motion_width=32, text_width=32, embedding_dim=16, word_dim=16
)
CONFIG = TrainConfig(
    lr=1e-2, max_steps=80, warmup=0.1, batch_size=32, eval_every=20, save_every=20, log_every=1, precision="fp32"
)
KINDS = 16
FLAGS = ("--movement-width", 8, "--movement-dim", 8, "--motion-width", 8, "--text-width", 8, "--embedding-dim", 8,
         "--word-dim", 8, "--batch-size", 8, "--max-steps", 2, "--eval-every", 1, "--device", "cpu")  # fmt: skip
WORDS = "walk run jump sit kick wave bow turn crawl climb throw catch push pull nod spin".split()


def write_glove(folder: Path) -> None:
    folder.mkdir()
    words = ["sos", "eos", "unk", *WORDS]
    np.save(folder / "our_vab_data.npy", np.random.default_rng(1).normal(size=(len(words), 12)).astype(np.float32))
    (folder / "our_vab_words.pkl").write_bytes(pickle.dumps(words))
    (folder / "our_vab_idx.pkl").write_bytes(pickle.dumps({word: i for i, word in enumerate(words)}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """28 joints, 84 columns: every action has its own level in each column, and a word. There is no test split."""
    return make_data(tmp_path_factory.mktemp("actions"))


def make_data(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    levels = rng.normal(size=(KINDS, 84))
    (folder / "new_joint_vecs").mkdir(parents=True)
    (folder / "texts").mkdir()
    for split, each in (("train", 4), ("val", 2)):
        ids = [f"{split}{kind}_{i}" for kind in range(KINDS) for i in range(each)]
        (folder / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for name in ids:
            kind = int(name.removeprefix(split).split("_")[0])
            motion = levels[kind] + 0.3 * rng.normal(size=(rng.integers(8, 30), 84))
            np.save(folder / "new_joint_vecs" / f"{name}.npy", motion.astype(np.float32))
            word = WORDS[kind]
            lines = f"a person {word}s#a/DET person/NOUN {word}/VERB#0.0#0.0\nsomeone {word}s\n"
            (folder / "texts" / f"{name}.txt").write_text(lines)
    np.save(folder / "Mean.npy", np.zeros(84, np.float32))
    np.save(folder / "Std.npy", np.ones(84, np.float32))
    info = {"skeleton": "myoskeleton-28", "representation": "positions-84", "fps": 20.0}
    write_json(folder / "dataset.json", info)
    return folder


def train(folder: Path, out: Path, config=CONFIG, model=TINY, **kwargs):
    lines = []
    kwargs = {"say": lines.append} | kwargs
    return train_evaluator(MotionDataset(folder), model, config, out, device=CPU, **kwargs), lines


def records(out: Path) -> list[dict]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.endswith("_per_s")} for line in lines]


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "evaluator"
    return out, *train(folder, out)


@pytest.mark.slow
def test_it_learns_what_can_be_told_apart(folder, trained):
    """Untrained, a caption finds its motion by chance, 3 of 32; trained, the two clips of its action lead."""
    out, result, lines = trained
    losses = [line["loss"] for line in records(out) if "loss" in line]
    assert result.finished and np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    data = MotionDataset(folder)
    val = read_pairs(data, "val")
    untrained = validation_scores(new_evaluator(data, read_pairs(data, "train"), TINY, 0), val)
    scores = validation_scores(Evaluator.load(out), val, CONFIG.seed)
    assert untrained["r_precision_3"] < 0.35 and scores["r_precision_3"] > 0.8
    assert scores["loss"] == pytest.approx(result.best)  # the best one is what was written
    assert f"32 validation pieces of {folder}" in " ".join(lines)


@pytest.mark.slow
def test_the_contrastive_loss_brings_pairs_together(folder, tmp_path):
    """It has one wrong motion per caption, where info_nce has the whole batch, so it learns more slowly."""
    model = replace(TINY, objective="contrastive", margin=2.0)
    result, _ = train(folder, tmp_path / "out", replace(CONFIG, lr=3e-3), model)
    assert 1 - result.best > 0.2  # chance: (1 + 2 + 3) / 3 / 32 = 0.06


def test_the_folder_says_what_it_is(folder, trained):
    out, *_ = trained
    evaluator = Evaluator.load(out)
    data = MotionDataset(folder)
    hashes = {split: items_hash(read_pairs(data, split)) for split in ("train", "val")}
    facts = {"data": data.hash(), "seed": CONFIG.seed, "glove": None, "movement": None}
    assert evaluator.facts == facts | hashes
    assert (evaluator.representation.name, evaluator.fps, evaluator.config.contacts) == ("positions-84", 20.0, 0)
    assert {"walk", "walks", "person", "someone"} <= set(evaluator.vocabulary.words)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_changed_clip_is_another_data_set(folder, trained, tmp_path, split):
    """The hash of the split sees one changed frame; lists and statistics do not. A folder from before there was such a
    hash still loads."""
    data = shutil.copytree(folder, tmp_path / "data")
    clip = data / "new_joint_vecs" / f"{split}3_0.npy"
    np.save(clip, np.load(clip) + np.eye(1, 84, dtype=np.float32))
    out = shutil.copytree(trained[0], tmp_path / "out")
    content = json.loads((out / "config.json").read_text())
    del content["facts"]["train"], content["facts"]["val"]
    (out / "config.json").write_text(json.dumps(content))
    assert Evaluator.load(out).facts["data"] == MotionDataset(data).hash()  # which does not see it
    evaluator = train(data, tmp_path / "new", replace(CONFIG, max_steps=1, warmup=0.0))
    facts, before = Evaluator.load(tmp_path / "new").facts, Evaluator.load(trained[0]).facts
    assert {name for name in facts if facts[name] != before[name]} == {split} and evaluator[0].finished


def test_a_token_that_is_none_names_its_file(folder, tmp_path):
    data = shutil.copytree(folder, tmp_path / "data")
    (data / "texts" / "train3_0.txt").write_text("a person walks#a/DET person walk/VERB#0.0#0.0\n")
    with pytest.raises(ValueError, match=r"texts/train3_0.txt: a token is word/POS, such as walk/VERB; got 'person'"):
        read_pairs(MotionDataset(data), "train")


@pytest.mark.slow
def test_same_seed_same_evaluator_and_a_stop_changes_nothing(folder, trained, tmp_path, monkeypatch):
    out, *_ = trained
    calls = iter(range(30))

    def killed(network, batch):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return matching_loss(network, batch)

    with monkeypatch.context() as patch:
        patch.setattr(evaluator_training, "matching_loss", killed)
        stopped, _ = train(folder, tmp_path / "again")
    assert not stopped.finished and stopped.step == 31
    train(folder, tmp_path / "again")
    ours, theirs = (read_tensors(place / "model.safetensors") for place in (out, tmp_path / "again"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)
    assert records(out) == records(tmp_path / "again")
    with pytest.raises(ValueError, match="--embedding-dim 16 there, 4 here.*--fresh starts over"):
        train(folder, out, model=replace(TINY, embedding_dim=4))


def test_patience_ends_a_training_that_gets_no_better(folder, tmp_path):
    still = replace(CONFIG, lr=1e-12, max_steps=8, eval_every=2)
    result, _ = train(folder, tmp_path / "out", still, patience=2)
    assert (result.early, result.finished, result.step) == (True, True, 6)  # the first validation is the best
    result, _ = train(folder, tmp_path / "out", still, patience=2)  # nothing is left to do
    assert (result.early, result.step) == (True, 6)
    result, _ = train(folder, tmp_path / "out", still, patience=0)
    assert (result.early, result.step) == (False, 8)


def test_the_test_split_is_not_opened(tmp_path):
    """With a test split of clips that do not exist the evaluator is the same, and nothing is reported."""
    data, short = make_data(tmp_path / "data"), replace(CONFIG, max_steps=3)
    train(data, tmp_path / "without", short)
    (data / "test.txt").write_text("nowhere\n")
    _, lines = train(data, tmp_path / "with", short)
    ours, theirs = (read_tensors(tmp_path / name / "model.safetensors") for name in ("without", "with"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not any("dropped" in line for line in lines)


def test_few_validation_clips_make_one_small_group(tmp_path):
    data = make_data(tmp_path / "data")
    ids = (data / "val.txt").read_text().split()
    (data / "val.txt").write_text("\n".join(ids[::4]))
    _, lines = train(data, tmp_path / "out", replace(CONFIG, max_steps=1))
    assert "only 8 validation pieces: R-precision in one group of 8, not 32" in lines


def test_pieces_of_captions_with_times(tmp_path):
    """A caption with times makes a pair of its own; captions with the same times share a piece."""
    data = make_data(tmp_path / "data")
    np.save(data / "new_joint_vecs" / "val0_0.npy", np.zeros((40, 84), np.float32))
    (data / "texts" / "val0_0.txt").write_text("a\nb\nc#c/NOUN#0.5#1.5\nd#d/NOUN#1.9#2.0\n")
    (data / "val.txt").write_text("val0_0\n")
    lines = []
    pairs = read_pairs(MotionDataset(data), "val", lines.append)
    assert [(len(pair.features), [c.text for c in pair.captions]) for pair in pairs] == [(40, ["a", "b"]), (20, ["c"])]
    assert lines == ["val: dropped 1 pieces of fewer than 4 frames, 0 clips without a caption"]


def test_random_pieces():
    rng = np.random.default_rng(0)
    drawn = [random_piece(43, 196, rng) for _ in range(300)]
    sizes = [piece.stop - piece.start for piece in drawn]
    assert set(sizes) == {40, 36} and 60 < sizes.count(36) < 140  # a third
    assert {piece.start for piece in drawn} == set(range(8)) and max(piece.stop for piece in drawn) == 43
    assert random_piece(5, 196, rng).stop <= 5
    assert {p.stop - p.start for p in (random_piece(300, 196, rng) for _ in range(50))} == {196, 192}


def test_clips_that_share_a_caption_are_not_told_apart(folder):
    data = MotionDataset(folder)
    pairs = read_pairs(data, "train")[:6]  # four clips of one action, two of the next
    evaluator = new_evaluator(data, pairs, TINY, 0)
    batch = Collate(pairs, evaluator, 0.0)(np.arange(6), np.random.default_rng(0))
    kind = torch.arange(6) // 4
    assert torch.equal(batch["same"], kind[:, None] == kind) and 1 <= batch["shift"] <= 5 and batch["count"] == 6
    lost = Collate(pairs, evaluator, 1.0)(np.arange(6), np.random.default_rng(0))
    assert set(lost["words"][:, 1:3].flatten().tolist()) == {evaluator.vocabulary.rows["unk"]}


def test_glove_and_a_movement_encoder_are_kept(folder, tmp_path):
    write_glove(tmp_path / "glove")
    encoder = MovementConvEncoder(84, 6, 10)
    torch.save({"movement_enc": encoder.state_dict()}, tmp_path / "latest.tar")
    short = replace(CONFIG, max_steps=2)
    train(folder, tmp_path / "out", short, glove=tmp_path / "glove", movement=tmp_path / "latest.tar")
    evaluator = Evaluator.load(tmp_path / "out")
    assert (evaluator.config.word_dim, evaluator.config.movement_dim) == (12, 10)
    assert np.array_equal(evaluator.network.words.weight.detach(), read_glove(tmp_path / "glove")[1])
    for ours, theirs in zip(evaluator.network.movement_encoder.parameters(), encoder.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert evaluator.facts["glove"] and evaluator.facts["movement"]
    network = evaluator.network.train()
    assert network.movement_encoder.training  # loaded to be used, it is like the others
    network.movement_encoder.requires_grad_(False)
    assert not network.train().movement_encoder.training and network.motion_encoder.training
    torch.save({"movement_enc": MovementConvEncoder(80, 6, 10).state_dict()}, tmp_path / "latest.tar")
    with pytest.raises(ValueError, match="reads 80 columns, the data has 84"):
        train(folder, tmp_path / "other", short, movement=tmp_path / "latest.tar")


def test_what_cannot_be_trained(folder, tmp_path):
    with pytest.raises(ValueError, match="cannot accumulate gradients"):
        train(folder, tmp_path / "out", replace(CONFIG, grad_accum=2))
    with pytest.raises(ValueError, match="--batch-size must be at least 2"):
        train(folder, tmp_path / "out", replace(CONFIG, batch_size=1))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text("{}")
    with pytest.raises(ValueError, match="is an evaluation; give an evaluator"):
        train(folder, tmp_path / "report", CONFIG)
    with pytest.raises(ValueError, match="is a data set; give an evaluator"):
        train(folder, folder)
    data = make_data(tmp_path / "data")
    (data / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match="val.txt is missing"):
        train(data, tmp_path / "out")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "model.safetensors").write_bytes(b"")
    with pytest.raises(FileExistsError, match="holds an evaluator that cannot be resumed"):
        train(folder, bare)


def test_the_script(folder, script, tmp_path):
    done = script("train_evaluator", "--data", folder, "--out", tmp_path / "e", *FLAGS, "--patience", 1)
    assert (done.code, done.err) == (0, "") and f"wrote {tmp_path / 'e'}/" in done.out
    assert Evaluator.load(tmp_path / "e").embed_text(["someone walks"]).shape == (1, 8)
    done = script("train_evaluator", "--data", folder, "--out", tmp_path / "e2", *FLAGS, "--max-minutes", 1e-9)
    assert done.code == 0 and "the same command continues from there" in done.out
    done = script("train_evaluator", "--data", folder, "--out", tmp_path / "e3", *FLAGS, "--patience", -1)
    assert done.code == 2 and "--patience must be 0 (never) or more, got -1" in done.err
