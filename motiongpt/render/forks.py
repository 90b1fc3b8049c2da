"""One file whose parts are written at the same time, each by a process of its own.

The processes are forked: what is loaded and prepared is theirs at once, and nothing is sent. A fork copies only the
thread that asks for it, and a lock that another thread holds is never opened in the copy. So this is for a process
without threads, such as `drawing_process.py`. Only Linux has it: libraries of macOS do not survive a fork.

What this module does not know: what is written.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NoReturn

MOST = 4  # processes; more bring little beside the one that copies their parts together
FEWEST = 8  # items of a part: a fork, and what a part begins with, take as long as some items
ENDING = (signal.SIGINT, signal.SIGTERM)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_processes() -> int:
    """How many processes `write_parts` should take on this machine; 1 where it must not fork."""
    return min(usable_cores(), MOST) if sys.platform.startswith("linux") else 1


def write_parts(file: BinaryIO, write: Callable[[BinaryIO, int, int], object], count: int, processes: int) -> None:
    """`write(file, first, end)` the items 0 to `count` in consecutive parts, and put them into `file` in their order.

    This process writes the first part itself. The others write to nameless files in the folder of `file`. Raises
    ChildProcessError if one of them fails, with its error or its signal in words.
    """
    parts = max(1, min(processes, count // FEWEST))
    bounds = [count * part // parts for part in range(parts + 1)]
    others = []
    try:
        for first, end in pairwise(bounds[1:]):
            others.append(_Fork(Path(file.name).parent))
            others[-1].start(write, first, end)
        write(file, 0, bounds[1])
        for other in others:
            other.copy_to(file)
    finally:
        for other in others:
            other.end()


def end_with(parent: int) -> None:
    """From now on this process gets a SIGTERM within a second after its parent has ended. Windows cannot do this."""
    if hasattr(signal, "setitimer"):  # a timer and no thread: what forks must have none
        signal.signal(signal.SIGALRM, lambda *_: os.getppid() == parent or os.kill(os.getpid(), signal.SIGTERM))
        signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)


class _Fork:
    """A process that writes one part and ends, and its nameless file."""

    def __init__(self, folder: Path) -> None:
        from tempfile import TemporaryFile

        self.file = TemporaryFile(dir=folder)
        self.id: int | None = None

    def start(self, write: Callable[[BinaryIO, int, int], object], first: int, end: int) -> None:
        """Fork. OSError if there are no more processes, or no memory."""
        parent = os.getpid()
        # an exception of a signal must neither lose `id` here nor run the rest of the program a second time there
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            self.id = os.fork()
            if self.id == 0:
                self._work(write, first, end, parent, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _work(
        self, write: Callable[[BinaryIO, int, int], object], first: int, end: int, parent: int, mask: set[int]
    ) -> NoReturn:
        """What the new process does."""
        failed = 1
        try:
            for number in filter(lambda number: callable(signal.getsignal(number)), ENDING):  # not what is ignored
                signal.signal(number, signal.SIG_DFL)
            end_with(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            write(self.file, first, end)
            self.file.flush()
            failed = 0
        except BaseException as error:
            os.ftruncate(self.file.fileno(), 0)  # makes room on a full disk
            os.pwrite(self.file.fileno(), repr(error).encode(errors="replace"), 0)
        finally:
            os._exit(failed)  # the rest of the program, and what it has not flushed, is the other process's

    def copy_to(self, file: BinaryIO) -> None:
        """Wait for the process and append its part to `file`."""
        _, status = os.waitpid(self.id, 0)
        self.id = None
        if status:
            code = os.waitstatus_to_exitcode(status)
            why = os.pread(self.file.fileno(), 1000, 0).decode(errors="replace") if code > 0 else f"signal {-code}"
            raise ChildProcessError(f"a process that wrote a part of a file has failed: {why}")
        self.file.seek(0)
        shutil.copyfileobj(self.file, file)

    def end(self) -> None:
        """End the process, if it runs, and remove the file."""
        if self.id is not None:
            with suppress(ProcessLookupError, ChildProcessError):  # this program, or the system, has waited for it
                os.kill(self.id, signal.SIGKILL)
                os.waitpid(self.id, 0)
            self.id = None
        self.file.close()
