"""Whatever strikes a training, the same call resumes it, and it ends as if nothing had happened, bit for bit.

A tiny network with a buffer and dropout is trained for 8 steps of 2 micro-batches, validated, exported and saved after
every second one. Everything that happens has a name, such as "rename state/last" or "validate": a fault strikes when it
happens for the n-th time. Nothing but the steps since the last save may be lost, so each fault says from which step the
next call resumes. A state that is refused is named with the remedy, and stays as it was.
"""

import errno
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from motiongpt import checkpoint
from motiongpt.config import TrainConfig
from motiongpt.files.leftovers import temporary_path
from motiongpt.files.store import read_json, write_json, write_tensors
from motiongpt.loops import Result, train
from motiongpt.training.watch import Watcher

CONFIG = TrainConfig(
    lr=0.03, max_steps=8, warmup=2, grad_accum=2, eval_every=2, save_every=2, sample_every=4, log_every=3
)
STEPS, DROPPED = CONFIG.max_steps, 0.2


# ---- what happens, and what strikes ----------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for kill -9: from here on nothing happens any more, not even in `finally` blocks."""


class Strike(NamedTuple):
    """When `event` happens for the n-th time, what `error` makes of the file's path is raised."""

    event: str
    nth: int
    error: Callable[[str], BaseException]
    resumes: int  # the step from which the next call goes on; 0: from the beginning


class Fault:
    """Counts what happens in one call of a training, and strikes."""

    def __init__(self, strike: Strike | None = None) -> None:
        self.strike = strike
        self.seen: Counter[str] = Counter()
        self.struck: BaseException | None = None

    def __call__(self, event: str, path: object = "") -> None:
        """`event` happens, to the file `path` if the operating system would name one in its error."""
        self.seen[event] += 1
        if isinstance(self.struck, Killed) or self._is_full(event):
            raise self.struck
        if self.strike and (event, self.seen[event]) == self.strike[:2]:
            self.struck = self.strike.error(str(path))
            raise self.struck

    def _is_full(self, event: str) -> bool:
        """A full disk stays full: what is written fails, what is removed does not."""
        is_full = getattr(self.struck, "errno", None) == errno.ENOSPC
        return is_full and event.partition(" ")[0] in ("make", "write", "flush", "append")


def killed(path: str) -> Killed:
    return Killed()


def system_error(number: int) -> Callable[[str], OSError]:
    """As the operating system raises it: with the file's name if a call was given one."""
    return lambda path: OSError(number, os.strerror(number), *([path] if path else []))


full, broken, denied = map(system_error, (errno.ENOSPC, errno.EIO, errno.EACCES))


def out_of_memory(path: str) -> MemoryError:
    return MemoryError("no memory for this")


def mistake(path: str) -> RuntimeError:
    return RuntimeError("a bug")


def second_ctrl_c(path: str) -> KeyboardInterrupt:
    return KeyboardInterrupt()


@contextmanager
def happening(happen: Fault, folder: Path) -> Iterator[None]:
    """What the block does to files happens by name. Files and folders are half written or removed by then."""

    def name(path: object) -> str:
        """`state/.new/state.json` also for the temporary file that will become it."""
        place = Path(path).absolute()
        final = place.name.rpartition(".")[0].rpartition(".")[0][1:] if place.name.endswith(".tmp") else place.name
        return place.with_name(final).relative_to(folder).as_posix()

    def make(path: Path, *args, **keywords) -> None:
        if not path.exists():
            happen(f"make {name(path)}", path)
        real["mkdir"](path, *args, **keywords)

    def write_text(path: Path, text: str, *args, **keywords) -> int:
        real["write_text"](path, text[: len(text) // 2], *args, **keywords)
        happen(f"write {name(path)}", path)
        return real["write_text"](path, text, *args, **keywords)

    def save_file(tensors: dict, path: Path, *args) -> None:
        path.write_bytes(safetensors.torch.save(tensors)[:-9])
        happen(f"write {name(path)}")  # safetensors names no file
        real["save_file"](tensors, path, *args)

    def flush(number: int) -> None:
        opened = os.fstat(number)
        path = next(path for path in folder.rglob("*") if os.path.samestat(path.stat(), opened))
        happen(f"flush {name(path)}")  # nor does the operating system for an open file
        real["fsync"](number)

    def rename(source: Path, target: Path) -> None:
        if not Path(source).name.endswith(".tmp"):
            happen(f"rename {name(source)}", source)
        else:
            happen(f"place {name(target)}", source)
        real["replace"](source, target)

    def remove(path: Path, ignore_errors: bool = False, **keywords) -> None:
        if path.exists():
            for file in sorted(path.iterdir())[:1]:
                file.unlink()
            try:
                happen(f"remove {name(path)}", path)
            except OSError:
                if ignore_errors:
                    return
                raise
        real["rmtree"](path, ignore_errors, **keywords)

    def unlink(path: Path, *args, **keywords) -> None:
        happen(f"unlink {path.name}")
        real["unlink"](path, *args, **keywords)

    def open_file(path: Path, mode: str = "r", **keywords):
        if mode == "a":
            size = path.stat().st_size
            with open(path, "a") as file:
                file.write('{"step": ')
            happen(f"append {path.name}", path)
            os.truncate(path, size)
        return open(path, mode, **keywords)

    wrapped = {
        "mkdir": (Path, make),
        "write_text": (Path, write_text),
        "unlink": (Path, unlink),
        "save_file": (safetensors.torch, save_file),
        "fsync": (os, flush),
        "replace": (os, rename),
        "rmtree": (shutil, remove),
    }
    real = {key: getattr(owner, key) for key, (owner, _) in wrapped.items()}
    with pytest.MonkeyPatch.context() as patch:
        for key, (owner, function) in wrapped.items():
            patch.setattr(owner, key, function)
        patch.setattr("motiongpt.training.journal.open", open_file, raising=False)
        patch.setattr("motiongpt.loops.plot_losses", lambda metrics, path: write_json(path, "a picture"))
        yield


# ---- what is trained -------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(DROPPED), nn.Linear(4, 1))


def points(number: int) -> dict:
    x = torch.from_numpy(np.random.default_rng(number).standard_normal((4 + number % 3, 3)).astype(np.float32))
    return {"x": x, "y": x.sum(-1, keepdim=True), "count": len(x)}


class Batches:
    per_epoch = 100

    def __init__(self, happen: Fault) -> None:
        self.happen = happen

    def __call__(self, micro_step: int) -> dict:
        self.happen("batch")
        return points(micro_step)


class Told(Watcher):
    def __init__(self, happen: Fault) -> None:
        self.happen = happen

    def on_save(self, step: int, folder: Path, total_steps: int) -> None:
        self.happen("told of a save")


def train_once(
    folder: Path, happen: Fault | None = None, log: Callable[[str], None] = lambda line: None, extra: float = 1.0
) -> tuple[nn.Module, Result]:
    """One call of the training in `folder`, in which everything that happens is told to `happen`."""
    happen = happen or Fault()
    model = network()

    def loss(batch: dict) -> tuple[torch.Tensor, dict]:
        happen("forward")
        value = (model(batch["x"]) - batch["y"]).square().sum()
        value.register_hook(lambda gradient: happen("backward"))
        return value, {"extra": extra}

    def validate() -> dict[str, float]:
        happen("validate")
        batch = points(10**6)
        return {"loss": float((model(batch["x"]) - batch["y"]).square().sum())}

    def decode() -> dict[str, float]:
        happen("decode")
        return {"edit": 1.0}

    def sample(step: int) -> Path:
        write_json(folder / "samples" / f"{step}.json", model[3].bias.tolist())
        return folder / "samples"

    def export(folder: Path) -> None:
        write_tensors(folder / "model.safetensors", model.state_dict())
        write_json(folder / "meta.json", {"bias": model[3].bias.tolist()})

    with happening(happen, folder):
        batches, watchers = Batches(happen), [Told(happen)]
        functions = {"validate": validate, "decode": decode, "sample": sample, "export": export}
        keywords = {"device": torch.device("cpu"), "watchers": watchers, "log": log, "fingerprint": {"data": "points"}}
        return model, train(model, batches, loss, CONFIG, folder, **functions, **keywords)


def content(folder: Path) -> dict[str, object]:
    """All that a training leaves: bytes of files, and metrics.jsonl without the speeds."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found: dict[str, object] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return found | {"metrics.jsonl": [{k: v for k, v in line.items() if k != "tokens_per_s"} for line in lines]}


class Undisturbed(NamedTuple):
    folder: Path
    weights: dict[str, torch.Tensor]
    content: dict[str, object]
    seen: Counter[str]  # how often everything happened


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Undisturbed:
    folder, counts = tmp_path_factory.mktemp("undisturbed"), Fault()
    model, result = train_once(folder, counts)
    assert result.finished and counts.seen["write model.safetensors"] == 4, "every validation is to be the best so far"
    return Undisturbed(folder, model.state_dict(), content(folder), counts.seen)


def check_resumed(folder: Path, undisturbed: Undisturbed, step: int, said: int = 0) -> list[str]:
    """Resume from `step` to the same end; returns the lines before "resumed", of which there are `said`."""
    lines: list[str] = []
    model, result = train_once(folder, log=lines.append)
    resumed = f"resumed at step {step} of {STEPS}"
    assert resumed in lines if step else not any("resumed" in line for line in lines), lines
    first = lines.index(resumed) if step else 0
    assert first == said, lines
    assert result.finished and result.step == STEPS
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, undisturbed.weights[name]), name
    shutil.rmtree(folder / "state" / "damaged", ignore_errors=True)
    found = content(folder)
    assert found.keys() == undisturbed.content.keys()
    different = [name for name, value in undisturbed.content.items() if found[name] != value]
    # of a run that goes on from its last step there is no save left to make
    assert not [name for name in different if step < STEPS or not name.startswith("state/previous/")], different
    return lines[:first]


# ---- 28 faults that strike while it trains ---------------------------------------------------------------------------

# the state of step 2 is saved first, then that of 4, 6 and 8; from step 6 on a save removes `previous`
STRIKES = {
    # of the steps
    "killed as the first batch is made": Strike("batch", 1, killed, 0),
    "killed in a forward pass, between two micro-batches": Strike("forward", 12, killed, 4),
    "out of memory in a backward pass": Strike("backward", 11, out_of_memory, 4),
    "a second Ctrl-C in a forward pass": Strike("forward", 15, second_ctrl_c, 6),
    "killed in the middle of a line of metrics": Strike("append metrics.jsonl", 3, killed, 2),
    "a full disk under a line of metrics": Strike("append metrics.jsonl", 3, full, 2),
    # of what is done once in a while
    "killed in a validation": Strike("validate", 3, killed, 4),
    "a mistake in the last validation": Strike("validate", 4, mistake, 6),
    "killed while the last validation writes motions": Strike("decode", 1, killed, 6),
    "a full disk under the samples": Strike("make samples", 1, full, 2),
    "killed in the middle of the exported weights": Strike("write model.safetensors", 3, killed, 4),
    "a full disk under the exported weights": Strike("write model.safetensors", 3, full, 4),
    "killed between an export and its meta.json": Strike("place meta.json", 3, killed, 4),
    # of a save, in the order in which they happen
    "a full disk as the folder of a save is made": Strike("make state/.new", 3, full, 4),
    "killed in the middle of the first saved tensors": Strike("write state/.new/tensors.safetensors", 1, killed, 0),
    "killed in the middle of the saved tensors": Strike("write state/.new/tensors.safetensors", 3, killed, 4),
    "a full disk under the saved tensors": Strike("write state/.new/tensors.safetensors", 3, full, 4),
    "a disk that breaks as tensors are flushed": Strike("flush state/.new/tensors.safetensors", 3, broken, 4),
    "killed in the middle of state.json": Strike("write state/.new/state.json", 3, killed, 4),
    "a full disk under state.json": Strike("write state/.new/state.json", 3, full, 4),
    "killed before state.json gets its name": Strike("place state/.new/state.json", 3, killed, 4),
    "killed in the middle of removing the oldest state": Strike("remove state/previous", 1, killed, 4),
    "an oldest state that may not be removed": Strike("remove state/previous", 1, denied, 4),
    "killed before the former state is set aside": Strike("rename state/last", 2, killed, 4),
    "killed between the two renames of a save": Strike("rename state/.new", 3, killed, 4),
    "a disk that breaks between the two renames": Strike("rename state/.new", 3, broken, 4),
    "a mistake of whoever is told of a save": Strike("told of a save", 3, mistake, 6),
    "a full disk under the curves, after the last save": Strike("write loss.png", 1, full, 8),
}


@pytest.mark.parametrize("name", STRIKES)
def test_a_training_that_is_struck(tmp_path, undisturbed, name):
    strike, folder = STRIKES[name], tmp_path / "run"
    fault = Fault(strike)
    with pytest.raises(BaseException) as raised:
        train_once(folder, fault)
    assert fault.struck is not None, f"{strike.event} happened {fault.seen[strike.event]} times: {raised.value!r}"
    if isinstance(fault.struck, OSError):
        reason = "no space left on the disk" if strike.error is full else fault.struck.strerror
        assert reason in str(raised.value) and str(folder) in str(raised.value)
        assert not list(folder.rglob("*.tmp")) + list(folder.rglob(".new"))
    else:
        assert raised.value is fault.struck
    check_resumed(folder, undisturbed, strike.resumes)
    assert not list(folder.rglob(".*"))


# ---- 17 kinds of damage to what a killed training has left -----------------------------------------------------------


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """One bit of a number that stays a number: of a weight, or a digit of the best score."""
    data = bytearray(path.read_bytes())
    data[data.index(b'"best": ') + 12 if path.suffix == ".json" else -30] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def mix(path: Path) -> None:
    """The tensors of another step."""
    shutil.copyfile(path.parents[1] / "previous" / path.name, path)


def leave(path: Path) -> None:
    """What an interrupted save leaves, and a process that has died: half a state, temporary files, its lock."""
    (path / "state" / ".new").mkdir()
    (path / "state" / ".new" / "tensors.safetensors").write_bytes(b"half")
    dead = temporary_path(path / "model.safetensors").name.replace(f"-{os.getpid()}.", f"-{2**22 + 1}.")  # no such PID
    (path / dead).write_bytes(b"half")
    (path / ".lock").write_text(str(2**22 + 1))


def tear(path: Path) -> None:
    path.write_text(path.read_text() + '{"step": 7, "lo')


class Damage(NamedTuple):
    """What is done to which files of a run that was killed in step 7; the next call warns of `file`, or refuses it."""

    harm: Callable[[Path], object]
    files: tuple[str, ...]
    resumes: int | None  # None: refused
    file: str | None = None


TENSORS, VALUES = "state/last/tensors.safetensors", "state/last/state.json"
TENSORS_BEFORE, VALUES_BEFORE = "state/previous/tensors.safetensors", "state/previous/state.json"
DAMAGES = {
    # of the newest state: the one before it is used
    "tensors that are cut short": Damage(truncate, (TENSORS,), 4, TENSORS),
    "tensors with a flipped bit": Damage(flip, (TENSORS,), 4, TENSORS),
    "tensors that are gone": Damage(Path.unlink, (TENSORS,), 4, TENSORS),
    "tensors of another step": Damage(mix, (TENSORS,), 4, TENSORS),
    "a state.json that is cut short": Damage(truncate, (VALUES,), 4, VALUES),
    "a state.json with a flipped bit": Damage(flip, (VALUES,), 4, VALUES),
    "a state.json that is empty": Damage(empty, (VALUES,), 4, VALUES),
    "a state.json that is gone": Damage(Path.unlink, (VALUES,), 4, VALUES),
    "a newest state that is gone": Damage(shutil.rmtree, ("state/last",), 4),
    # of what no resume reads
    "both files of the state before": Damage(flip, (TENSORS_BEFORE, VALUES_BEFORE), 6),
    "an empty meta.json and empty weights beside it": Damage(empty, ("meta.json", "model.safetensors"), 6),
    "what an interrupted save and a dead process leave": Damage(leave, (".",), 6),
    "a torn line of metrics": Damage(tear, ("metrics.jsonl",), 6),
    # of both states
    "tensors of both that are cut short": Damage(truncate, (TENSORS, TENSORS_BEFORE), None, TENSORS),
    "tensors of both with a flipped bit": Damage(flip, (TENSORS, TENSORS_BEFORE), None, TENSORS),
    "a state.json of both that is empty": Damage(empty, (VALUES, VALUES_BEFORE), None, VALUES),
    "another file of each that is gone": Damage(Path.unlink, (TENSORS, VALUES_BEFORE), None, TENSORS),
}


@pytest.fixture(scope="module")
def in_step_7(tmp_path_factory) -> Path:
    """A run that was killed in step 7: its states are those of steps 6 and 4."""
    folder = tmp_path_factory.mktemp("in step 7") / "run"
    with pytest.raises(Killed):
        train_once(folder, Fault(Strike("forward", 13, killed, 6)))
    return folder


@pytest.fixture
def run(in_step_7, tmp_path) -> Path:
    return shutil.copytree(in_step_7, tmp_path / "run")


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_training_that_was_damaged(run, in_step_7, undisturbed, name):
    damage = DAMAGES[name]
    for file in damage.files:
        damage.harm(run / file)
    if damage.resumes is not None:
        said = check_resumed(run, undisturbed, damage.resumes, said=1 if damage.file else 0)
        for line in said:
            assert str(run / damage.file) in line and "resuming from the save before it, step 4" in line
        assert not list(run.rglob(".*"))
        return
    before = files_in(run)
    with pytest.raises(ValueError, match="--fresh starts over") as refused:
        train_once(run)
    assert all(str(run / file) in str(refused.value) for file in damage.files), refused.value
    assert files_in(run) == before
    # copied again, as the message says
    shutil.copytree(in_step_7 / "state", run / "state", dirs_exist_ok=True)
    check_resumed(run, undisturbed, 6)


def test_damage_strikes_again(run, undisturbed):
    """Killed while the damaged state is set aside, before and after the next save, which is damaged too: the sound
    state keeps its place."""
    truncate(run / TENSORS)
    for event in ("rename state/last", "place metrics.jsonl", "forward", "told of a save"):
        with pytest.raises(Killed):
            train_once(run, Fault(Strike(event, 1, killed, 4)))
    flip(run / TENSORS)
    check_resumed(run, undisturbed, 4, said=1)


@pytest.mark.parametrize("reader", ["read_tensors", "read_json"])
def test_a_file_that_cannot_be_opened_costs_no_step(run, undisturbed, reader):
    """Too many open files, a wrong owner, a broken cable: no damage. Nothing is set aside, and the message helps."""
    resource = pytest.importorskip("resource", reason="Windows has no such limits")
    before, read, limits = files_in(run), getattr(checkpoint, reader), resource.getrlimit(resource.RLIMIT_NOFILE)

    def starved(path: Path) -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            return read(path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError) as refused:
        patch.setattr(checkpoint, reader, starved)
        train_once(run)
    file = run / (TENSORS if reader == "read_tensors" else VALUES)
    assert f"{file} cannot be read ({os.strerror(errno.EMFILE)}); make it readable, or move" in str(refused.value)
    assert f"move {file.parent} away" in str(refused.value) and files_in(run) == before
    other = shutil.copytree(run, run.with_name("other"))
    check_resumed(run, undisturbed, 6)
    (other / "state" / "last").rename(other / "away")  # the other remedy
    check_resumed(shutil.copytree(other, other.with_name("moved"), ignore=lambda *_: ["away"]), undisturbed, 4)


# ---- 5 real kills ----------------------------------------------------------------------------------------------------

KILLS = {
    "in a step": ("backward", 10, 4),
    "in a validation": ("validate", 3, 4),
    "in the exported weights": ("write model.safetensors", 3, 4),
    "in the saved tensors": ("write state/.new/tensors.safetensors", 3, 4),
    "between the two renames of a save": ("rename state/.new", 4, 6),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed training is a fork of this process")
@pytest.mark.parametrize("place", KILLS)
def test_kill_9(tmp_path, undisturbed, place):
    """A process that waits in the middle of something is killed by another one, and leaves whatever it leaves."""
    event, nth, resumes = KILLS[place]
    folder = tmp_path / "run"
    ready, there = os.pipe()

    def wait(path: str) -> Killed:
        os.write(there, b"there")
        time.sleep(60)
        return Killed()

    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)
            train_once(folder, Fault(Strike(event, nth, wait, resumes)))
        finally:
            os._exit(1)  # it was not killed
    os.close(there)
    assert os.read(ready, 5) == b"there"
    os.close(ready)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (folder / ".lock").is_file()
    check_resumed(folder, undisturbed, resumes)
    assert not list(folder.rglob(".*"))


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_to_log_that_is_not_finite_is_saved(tmp_path, number):
    """A state has those since the last line of metrics: one of them must not make it unreadable."""
    train_once(tmp_path / "whole", extra=number)
    with pytest.raises(Killed):
        train_once(tmp_path / "two", Fault(Strike("forward", 16, killed, 6)), extra=number)
    saved = read_json(tmp_path / "two" / VALUES)
    assert saved["step"] == 6 and saved["sums"] == {}
    saved = read_json(tmp_path / "two" / VALUES_BEFORE)
    assert saved["step"] == 4 and saved["sums"]["extra"] == [str(number)]  # of step 4; step 3 was logged
    shutil.rmtree(tmp_path / "two" / "state" / "last")
    lines: list[str] = []
    train_once(tmp_path / "two", log=lines.append, extra=number)
    assert f"resumed at step 4 of {STEPS}" in lines
    # repr: a NaN equals nothing
    assert repr(content(tmp_path / "two")["metrics.jsonl"]) == repr(content(tmp_path / "whole")["metrics.jsonl"])
    assert (tmp_path / "two" / TENSORS).read_bytes() == (tmp_path / "whole" / TENSORS).read_bytes()
