"""--dry-run says what would be done, runs one batch if there is a model, and leaves the disk as it is."""

from pathlib import Path

import numpy as np
import pytest

from motiongpt.data.tokens import load_tokens
from motiongpt.files.store import write_json

pytestmark = pytest.mark.slow  # many small cases and processes: together they take long

SMALL = ("--width", 8, "--code-dim", 8, "--codes", 8, "--depth", 1, "--batch-size", 2, "--max-steps", 3)


def state_of(folder: Path) -> dict:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def data(script, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dry") / "data"
    assert script("prepare", "--from", "procedural", "--count", 12, "--out", folder).code == 0
    return folder


def dry(script, tmp_path: Path, *command: object):
    before = state_of(tmp_path)
    done = script(*command, "--dry-run")
    assert state_of(tmp_path) == before
    assert done.code == 0, done.err
    assert "nothing was written" in done.out
    return done.out


def test_prepare(script, data, tmp_path):
    out = dry(script, tmp_path, "prepare", "--from", "procedural", "--count", 7, "--out", tmp_path / "new")
    assert "procedural: 7 clips" in out and "humanml3d-263 of skeleton humanml3d-22 at 20 fps" in out
    assert f"would build {tmp_path}/new/ (a new folder)" in out and not (tmp_path / "new").exists()
    joints = tmp_path / "in" / "joints"
    joints.mkdir(parents=True)
    (tmp_path / "in" / "train.txt").write_text("a\n")
    np.save(joints / "a.npy", np.random.default_rng(0).standard_normal((40, 22, 3)).astype(np.float32))
    out = dry(script, tmp_path, "prepare", "--from", "joints", "--input", tmp_path / "in", "--out", tmp_path / "new")
    assert "joints: 1 clips, such as a (40, 22, 3)" in out
    done = script("prepare", "--from", "procedural", "--out", data, "--dry-run")
    assert done.code == 2 and "is not empty" in done.err


def test_train_vqvae(script, data, tmp_path):
    out = dry(script, tmp_path, "train_vqvae", "--data", data, "--out", tmp_path / "vq", *SMALL)
    assert (
        "one batch: motion (2, 64, 263)" in out and f"would train 3 steps into {tmp_path}/vq/ (a new training)" in out
    )
    assert not (tmp_path / "vq").exists()
    write_json(tmp_path / "vq" / "state" / "last" / "state.json", {"step": 1})
    out = dry(script, tmp_path, "train_vqvae", "--data", data, "--out", tmp_path / "vq", *SMALL)
    assert "the unfinished one at step 1" in out
    out = dry(script, tmp_path, "train_vqvae", "--data", data, "--out", tmp_path / "vq", *SMALL, "--fresh")
    assert "a new training, replacing the unfinished one at step 1" in out


def test_finetune(script, tiny, data, tmp_path):
    few = ("--backbone", tiny.backbone, "--max-steps", 2, "--eval-every", 2, "--batch-size", 8)
    command = ("finetune", "--stage", "all", "--data", tiny.data, *few, "--out", tmp_path / "run")
    out = dry(script, tmp_path, *command)
    assert "stage 1 of 3: motion-lm" in out and f"{len(load_tokens(tiny.data))} entries" in out
    assert "2 steps on cpu, fp32" in out and "one batch: ids (8, " in out and "; loss 5." in out
    assert "then: stage 2 (multitask), 3 (sft)" in out and not (tmp_path / "run").exists()
    assert script(*command[:2], 1, *command[3:], "--lora-r", 4).code == 0
    out = dry(script, tmp_path, *command)
    assert "stage 1 (motion-lm) is finished" in out and f"2 steps into {tmp_path}/run/stage2/" in out
    out = dry(script, tmp_path, *command[:2], 1, *command[3:], "--fresh")
    assert f"2 steps into {tmp_path}/run/stage1/ (a new training" in out
    # the same mistakes as in earnest
    done = script(*command[:2], 1, *command[3:], "--dry-run")
    assert done.code == 2 and "is finished; --fresh trains it again" in done.err
    myo = ("finetune", "--recipe", "myoskeleton", "--stage", "all", "--data", data, "--out", tmp_path / "myo", *SMALL)
    out = dry(script, tmp_path, *myo)
    assert "stage 1 of 3: tokenizer" in out and "one batch: motion (2, 64, 263)" in out
    assert "then: stage 2 (pretrain), 3 (instruct)" in out and not (tmp_path / "myo").exists()


def test_sample(script, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ask = ("sample", "--run", tiny.run, "--prompt", "someone waves")
    out = dry(script, tmp_path, *ask)
    assert "4 codes" in out and "would write outputs/someone-waves" in out and not Path("outputs").exists()
    assert "would write w.npy" in dry(script, tmp_path, *ask, "--output", "w.npy")
    # a wanted length is checked against --max-new-tokens, not against the 4 codes of a dry run
    for wanted in (("--seconds", 3), ("--seconds", 3, "--exact-length"), ("--prompt", "someone waves#60")):
        out = dry(script, tmp_path, *ask[:3], *(ask[3:] if "--prompt" not in wanted else ()), *wanted)
        assert "4 codes of 0.2 s" in out
    for limit in ((), ("--dry-run",)):
        done = script(*ask, "--seconds", 3, "--max-new-tokens", 9, "--output", "w.npy", *limit)
        assert done.code == 2 and "--seconds 3 is 15 codes, --max-new-tokens allows 9" in done.err
    # the same for the room that a sentence needs
    ask = ("sample", "--run", tiny.run, "--task", "m2t", "--input", tmp_path / "m.txt")
    (tmp_path / "m.txt").write_text("1 2 3")
    for limit in ((), ("--dry-run",)):
        done = script(*ask, "--max-new-tokens", 100000, *limit)
        assert done.code == 2 and "prompt and motion need 1000" in done.err, done.err
