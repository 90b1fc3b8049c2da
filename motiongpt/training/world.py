"""The processes of a training, one for each device, and what they agree on.

    torchrun --nproc-per-node 2 scripts/finetune.py --stage 1

All of them run the same code on the same files; the first alone writes files and speaks to people. What may differ from
one to another is agreed on: a signal may reach only one, clocks differ, and each knows the labels of its own batches.

A training alone is a `World` of one process. It has no process group, and nothing here communicates then.
"""

import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from signal import SIG_IGN, SIGTERM, signal
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from motiongpt.checkpoint import differences
from motiongpt.signals import Stopped, asked_to_stop

TIMEOUT = timedelta(minutes=30)  # of a wait without a sign of life: one of the others may write or read a large file
PATIENCE = 5.0  # seconds in which a lost connection ends a process by itself


@dataclass(frozen=True)
class World:
    """How many processes there are, and which of them this one is. Every process must make the same calls in turn."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files, logs, and tells watchers."""
        return self.rank == 0

    def total(self, *numbers: float) -> list[float]:
        """The sum of each number over all processes; of flags, in how many they are set."""
        if self.size == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(values)
        return values.tolist()

    def add_up(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, in place and on its device, for which nothing waits."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def from_first(self, work: Callable[[], Any]) -> Any:
        """What `work` returns in the first process, in all of them. It begins once all have come here, and alone.

        It may take longer than `TIMEOUT`: the others wait as long as the first process lives. `work` itself must not
        talk to them.
        """
        if self.size == 1:
            return work()
        self.wait()
        if self.is_first:
            with self._signs_of_life():
                found = work()
            return self.of_first((True, found))[1]
        done = False
        while not done:
            done, found = self.of_first(None)
        return found

    @contextmanager
    def _signs_of_life(self) -> Iterator[None]:
        """Within the block, in the first process, the others get (False, None) from `of_first` every so often."""
        done = threading.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # one of them has died: whoever waits for it next says so
                while not done.wait(TIMEOUT.total_seconds() / 3):
                    self.of_first((False, None))

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def of_first(self, value: Any) -> Any:
        """The first process's value."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def wait(self) -> None:
        """Until all processes have come here."""
        self.total(0)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in their order."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def merge(self, sums: Counter[str]) -> Counter[str]:
        """The sum of each number over the processes that have it."""
        merged: Counter[str] = Counter()
        for found in self.gather(sums):
            merged.update(found)
        return merged

    def check_same(self, settings: dict[str, Any]) -> None:
        """ValueError if this process has other settings than the first. All wait for each other here."""
        if changes := ", ".join(differences(self.gather(settings)[0], settings)):
            raise ValueError(f"this process has other settings or data than the first ({changes})")

    def part(self, count: int) -> slice:
        """This process's items of `count`: in the order of the processes, the parts are all of them."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def turns(self, count: int) -> Iterator[tuple[int, bool]]:
        """Items i < count that this process has its turn with, as (i, True): rank r has r, r + size, ...

        All processes get as many turns, because sharded weights need all of them at once: one that has no item left
        gets the last one, as (count - 1, False). Raises Stopped, in all processes before the same turn, if a signal has
        come to one of them; a training alone is stopped by the signal itself.
        """
        for first in range(0, count, self.size):
            if self.size > 1 and self.total(asked_to_stop())[0]:
                raise Stopped
            own = first + self.rank
            yield (own, True) if own < count else (count - 1, False)


ALONE = World()


def this_world() -> World:
    """The world that this process has joined, or that of a process alone."""
    joined = dist.is_available() and dist.is_initialized()
    return World(dist.get_rank(), dist.get_world_size()) if joined else ALONE


@contextmanager
def join_world(device: str | None) -> Iterator[tuple[World, str]]:
    """Join the processes that the environment names, as torchrun sets it; yields the world and this process's device.

    `device` is cpu, cuda or None, which is cuda if there is one. Inside, an error of one process ends all: the first to
    fail raises its own, the others raise SystemExit and say nothing.

    Raises ValueError for a device that cannot be shared out, and ConnectionError if another process has died.
    """
    from torch.distributed.rendezvous import rendezvous  # not in every build of PyTorch

    store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
    store = dist.PrefixStore("motiongpt", store)
    left = threading.Event()
    try:
        name, backend = _own_device(device)
        dist.init_process_group(
            backend,
            store=store,
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
            device_id=None if name == "cpu" else torch.device(name),
        )
        world = this_world()
        threading.Thread(target=_watch, args=(world, store, world.gather(_place()), left), daemon=True).start()
        yield world, name
        left.set()
        store.set(f"left {rank}", "")
        dist.destroy_process_group()
    except BaseException as error:
        left.set()
        with suppress(ValueError):  # outside the main thread nothing ends a sentence early
            signal(SIGTERM, SIG_IGN)  # which torchrun sends as soon as one process has ended
        lost = isinstance(error, RuntimeError) and _is_lost_connection(error)
        # of a mistake that all processes make, the first one tells
        if not _may_speak(store, wait=0.0 if lost or rank == 0 else 0.5):
            raise SystemExit(1) from error
        if lost:
            raise ConnectionError(LOST) from error
        raise


LOST = "another process of this training has died or does not answer; the same command continues from the last save"


def _own_device(device: str | None) -> tuple[str, str]:
    """The name of this process's device, and the backend: nccl for CUDA, gloo for the CPU and for numbers on it."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device == "cpu" or (device is None and not torch.cuda.is_available()):
        return "cpu", "gloo"
    if device not in (None, "cuda"):
        raise ValueError(f"--device {device} is one device for several processes; drop it, and each takes its own")
    if not torch.cuda.is_available():
        raise ValueError("--device cuda: there is no CUDA device here")
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"there are more processes than the {torch.cuda.device_count()} CUDA devices of this machine: lower "
            "--nproc-per-node"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}", "cpu:gloo,cuda:nccl"


def _may_speak(store: "dist.Store", wait: float = 0.0) -> bool:
    """Whether this process is the first of all to fail, after so many seconds."""
    time.sleep(wait)
    try:
        return store.add("failed", 1) == 1
    except RuntimeError:  # the store has died with torchrun
        return True


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether a collective failed because another process is gone; gloo has no type of error for that."""
    return isinstance(error, dist.DistError) or any(word in str(error) for word in ("gloo", "Connection"))


# A process that dies closes its connections, and gloo then fails in those that wait for it. NCCL waits on.


def _place() -> tuple[str, int, int]:
    """Machine, parent and number of this process. Processes of one parent see each other's numbers."""
    return socket.gethostname(), os.getppid(), os.getpid()


def _watch(world: World, store: "dist.Store", places: list[tuple[str, int, int]], left: threading.Event) -> None:
    """End this process if one beside it has died, and stop the training if torchrun itself has."""
    if os.name == "nt":  # where asking for a process would end it
        return
    machine, parent, own = _place()
    beside = {rank: pid for rank, (*where, pid) in enumerate(places) if where == [machine, parent] and pid != own}
    while not left.wait(1.0):
        if os.getppid() != parent:
            os.kill(own, SIGTERM)
            return
        if any(_has_died(pid, store, rank) for rank, pid in beside.items()) and not left.wait(PATIENCE):
            if _may_speak(store):
                print(f"process {world.rank + 1} of {world.size}: {LOST}", file=sys.__stderr__, flush=True)
            os._exit(1)


def _has_died(pid: int, store: "dist.Store", rank: int) -> bool:
    """Whether a process is gone that has not come to its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        with suppress(RuntimeError):  # the store has died with torchrun
            return not store.check([f"left {rank}"])
    return False
