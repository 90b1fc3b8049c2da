"""Two machines and the Hub in between: scripts/finetune.py on A, and then on B, which has nothing but the command.

A machine is a run folder of its own; the Hub is that of `fake_hub.py`. The undisturbed training of machine C, which no
Hub sees, says what must come out.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cases import random_dataset
from fake_hub import TOKEN, FakeHub, fake_hub
from test_hub_upload import manifests

from motiongpt import loops
from motiongpt.files.store import read_json
from motiongpt.generator import MotionGenerator
from motiongpt.training.hub_checkpoints import run_progress

ROOT = Path(__file__).resolve().parents[1]
STEPS = 8


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch, tmp_path / "home") as server:
        yield server


@pytest.fixture
def words(tiny) -> list:
    words = ["--stage", 1, "--data", tiny.data, "--backbone", tiny.backbone, "--vqvae", tiny.vqvae, "--device", "cpu"]
    words += ["--max-steps", STEPS, "--eval-every", 4, "--save-every", 2, "--log-every", 1, "--lora-r", 2]
    return [*words, "--batch-size", 4, "--precision", "fp32"]


def made(run: Path) -> dict[str, object]:
    """What a training ends with: weights and numbers, without speeds and places."""
    found: dict[str, object] = {path.name: path.read_bytes() for path in run.glob("stage1/*.safetensors")}
    found |= {"state": (run / "stage1" / "state" / "last" / "tensors.safetensors").read_bytes()}
    found |= {"losses": {name: value for name, value in read_json(run / "stage1" / "meta.json")["losses"].items()
                         if not name.endswith("_per_s")}}  # fmt: skip
    return found


def environment(hub: FakeHub, home: Path) -> dict[str, str]:
    """Of a process of its own that talks to the Hub."""
    values = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home / "home"),
    }
    return os.environ | values | {"OMP_NUM_THREADS": "1"}


def stop_at(step: int, monkeypatch, how: signal.Signals = signal.SIGTERM) -> None:
    """A signal comes while step `step` is computed."""
    rate = loops.get_lr

    def get_lr(now: int, *args) -> float:
        if now == step:
            signal.raise_signal(how)
        return rate(now, *args)

    monkeypatch.setattr(loops, "get_lr", get_lr)


@pytest.mark.slow
def test_a_training_goes_on_elsewhere_bit_for_bit(hub, tmp_path, script, words, monkeypatch):
    calm = script("finetune", *words, "--out", tmp_path / "c")
    assert calm.code == 0, calm.err
    words += ["--hub-repo", "me/run"]
    with monkeypatch.context() as patch:
        stop_at(5, patch)
        first = script("finetune", *words, "--out", tmp_path / "a")
    assert first.code == 143 and "pushed stage1, step 6 of 8 to me/run" in first.out, first.err
    assert [manifest.step for manifest in manifests(hub)] == [6, 4], "where it stopped, and its half"
    second = script("finetune", *words, "--out", tmp_path / "b", "--resume")
    assert second.code == 0 and "pulled stage1, step 6 of 8 from me/run" in second.out, second.err
    assert "resumed at step 6 of 8" in second.out and "pushed stage1, step 8 of 8" in second.out
    assert made(tmp_path / "b") == made(tmp_path / "c")
    # on A the same command finds that B has finished it
    third = script("finetune", *words[2:], "--stage", "all", "--out", tmp_path / "a", "--max-hours", 1e-9)
    assert "pulled stage1, step 8, its end" in third.out and "stage 1 (motion-lm) is finished" in third.out, third.err
    # the token is nowhere: not in what was said, not on disk, not in the repository, and not sent to the storage
    said = "".join(done.out + done.err for done in (first, second, third))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert TOKEN not in said and len(files) > 30 and not hub.leaks
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert not [path for path, data in hub.repos["me/run"].files.items() if TOKEN.encode() in data]
    # and others sample from the repository
    hub.requests.clear()
    with pytest.raises(FileNotFoundError, match="a run moves together with its backbone"):
        MotionGenerator.load("me/run")  # this one has a folder as its backbone; a repo id would be fetched
    assert hub.count("GET .*/adapter_model.safetensors|GET /storage") and not hub.count("/checkpoints/")


@pytest.mark.slow
def test_a_dead_hub_changes_nothing(tmp_path, script, words, monkeypatch):
    """The training is that without a Hub, bit for bit, and the next command with a living one pushes it."""
    calm = script("finetune", *words, "--out", tmp_path / "c")
    words += ["--hub-repo", "me/run", "--out", tmp_path / "a"]
    with fake_hub(monkeypatch, tmp_path / "home") as hub:
        hub.fault("", 503, times=10_000)
        done = script("finetune", *words)
        assert done.code == 0 and calm.code == 0, done.err
        assert made(tmp_path / "a") == made(tmp_path / "c")
        assert "the training goes on from the beginning" in done.out
        assert "not pushed: stage1, step 8 of 8" in done.out and "the same command tries again" in done.out
        hub._faults.clear()
        words[1] = "all"
        done = script("finetune", *words, "--max-hours", 1e-9)
        assert "pushed stage1, step 8 of 8 to me/run" in done.out, done.out + done.err
        assert [manifest.finished for manifest in manifests(hub)][-1]


@pytest.mark.slow
def test_kill_9_while_a_checkpoint_is_uploaded(hub, tmp_path, script, words):
    """B goes on from the checkpoint before; A, which is further along, cleans up and goes on from its own disk."""
    calm = script("finetune", *words, "--out", tmp_path / "c")
    assert calm.code == 0, calm.err
    words += ["--hub-repo", "me/run", "--hub-every", 2]
    hub.hang_seconds = 600.0

    def then_hang(repo) -> None:
        hub.fault("PUT /storage", "hang")
        hub.before_commit = lambda repo: None

    hub.before_commit = then_hang  # the first checkpoint comes in, the upload of the second never ends
    command = [sys.executable, str(ROOT / "scripts" / "finetune.py"), *map(str, words), "--out", str(tmp_path / "a")]
    child = subprocess.Popen(command, env=environment(hub, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    end = time.monotonic() + 200
    while not hub._faults or hub._faults[0].times:
        assert child.poll() is None and time.monotonic() < end, child.communicate()[0].decode()
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait(20) == -signal.SIGKILL
    hub.hang_seconds = 0.0
    [kept] = manifests(hub)
    done = script("finetune", *words, "--out", tmp_path / "b")
    assert done.code == 0 and f"pulled stage1, step {kept.step} of 8" in done.out, done.err
    assert made(tmp_path / "b") == made(tmp_path / "c")
    left = run_progress(tmp_path / "a")[0]
    assert left > kept.progress and list((tmp_path / "a").glob(".push.*.tmp")), "the kill left a snapshot"
    words[1] = "all"
    done = script("finetune", *words, "--out", tmp_path / "a", "--max-hours", 1e-9)
    assert "pulled stage1, step 8, its end" in done.out, done.out + done.err
    assert not list((tmp_path / "a").glob(".*.tmp"))


@pytest.mark.slow
def test_a_tokenizer_and_its_stages_over_three_machines(hub, tmp_path, script, tiny, monkeypatch):
    """From a dataset folder: A stops within the tokenizer, B within stage 1, and D ends as the undisturbed C does."""
    data = random_dataset(tmp_path / "data", ["walks", "runs", "sits", "walks", "jumps", "waves"], training=4)
    words = ["--stage", "all", "--data", data, "--backbone", tiny.backbone, "--device", "cpu", "--precision", "fp32"]
    words += ["--width", 8, "--code-dim", 8, "--codes", 8, "--depth", 1, "--window", 16, "--batch-size", 2]
    words += ["--max-steps", 4, "--eval-every", 2, "--save-every", 1, "--lora-r", 2]
    calm = script("finetune", *words, "--out", tmp_path / "c")
    assert calm.code == 0, calm.err
    words += ["--hub-repo", "me/run"]
    with monkeypatch.context() as patch:
        stop_at(2, patch)
        first = script("finetune", *words, "--out", tmp_path / "a")
    assert first.code == 143 and "pushed vqvae, step 3 of 4" in first.out, first.err
    with monkeypatch.context() as patch:
        stop_at(1, patch)  # the tokenizer is beyond that step
        second = script("finetune", *words, "--out", tmp_path / "b")
    assert second.code == 143 and "pulled vqvae, step 3 of 4" in second.out, second.err
    assert "pushed vqvae, step 4 of 4" in second.out and "pushed stage1, step 2 of 4" in second.out
    third = script("finetune", *words, "--out", tmp_path / "d")
    assert third.code == 0 and "pulled stage1, step 2 of 4" in third.out, third.err
    assert f"{tmp_path}/d/tokens.json holds {data}" in third.out, "the tokens were pulled too"
    names = ["vqvae/model.safetensors", "tokens.json"]
    names += [f"stage{number}/adapter_model.safetensors" for number in (1, 2, 3)]
    for name in names:
        assert (tmp_path / "d" / name).read_bytes() == (tmp_path / "c" / name).read_bytes(), name


@pytest.mark.slow
def test_machine_b_has_two_devices(hub, tmp_path, script, words, monkeypatch):
    """A has one process. On B, torchrun starts two: the first pulls and pushes, and the losses are those of one.

    To 1e-4: two processes add the numbers of a step up in another order.
    """
    words += ["--grad-accum", 2, "--max-steps", 4]
    assert script("finetune", *words, "--out", tmp_path / "c").code == 0
    words += ["--hub-repo", "me/run"]
    with monkeypatch.context() as patch:
        stop_at(1, patch)
        assert script("finetune", *words, "--out", tmp_path / "a").code == 143
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(ROOT / "scripts" / "finetune.py"), *map(str, words), "--out", str(tmp_path / "b")]
    done = subprocess.run(command, env=environment(hub, tmp_path), capture_output=True, text=True, timeout=250)
    assert done.returncode == 0 and done.stdout.count("pulled stage1, step 2 of 4") == 1, done.stdout + done.stderr
    assert done.stdout.count("pushed stage1, step 4 of 4") == 1 and manifests(hub)[0].finished
    kept = [read_json(tmp_path / name / "stage1" / "meta.json")["losses"] for name in "bc"]
    assert kept[0]["loss"] == pytest.approx(kept[1]["loss"], abs=1e-4)
    assert kept[0]["val_loss"] == pytest.approx(kept[1]["val_loss"], abs=1e-4)
