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
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

MOST = 4  # processes; more bring little beside the one that copies their parts together
FEWEST = 8  # items of a part: a fork, and what a part begins with, take as long as some items


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_processes() -> int:
    """How many processes `write_parts` should take on this machine; 1 where it must not fork."""
    return min(usable_cores(), MOST) if sys.platform.startswith("linux") else 1


def write_parts(file: BinaryIO, write: Callable[[BinaryIO, int, int], object], count: int, processes: int) -> None:
    """`write(file, first, end)` the items 0 to `count` in consecutive parts, and put them into `file` in their order.

    This process writes the first part itself. The others write to nameless files in the folder of `file`. Raises
    ChildProcessError if one of them fails; the error itself is lost.
    """
    parts = max(1, min(processes, count // FEWEST))
    bounds = [count * part // parts for part in range(parts + 1)]
    others = []
    try:
        for first, end in pairwise(bounds[1:]):
            others.append(_Fork(write, first, end, Path(file.name).parent))
        write(file, 0, bounds[1])
        for other in others:
            other.copy_to(file)
    finally:
        for other in others:
            other.end()


class _Fork:
    """A process that writes one part and ends, and its nameless file."""

    def __init__(self, write: Callable[[BinaryIO, int, int], object], first: int, end: int, folder: Path) -> None:
        from tempfile import TemporaryFile

        self.file = TemporaryFile(dir=folder)
        self.id: int | None = None
        try:
            self.id = os.fork()
        except OSError:  # no more processes, or no memory
            self.file.close()
            raise
        if self.id == 0:
            failed = 1
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                write(self.file, first, end)
                self.file.flush()
                failed = 0
            finally:
                os._exit(failed)  # the rest of the program, and what it has not flushed, is the other process's

    def copy_to(self, file: BinaryIO) -> None:
        """Wait for the process and append its part to `file`."""
        _, status = os.waitpid(self.id, 0)
        self.id = None
        if status:
            raise ChildProcessError("a process that wrote a part of a file has failed")
        self.file.seek(0)
        shutil.copyfileobj(self.file, file)

    def end(self) -> None:
        """End the process, if it runs, and remove the file."""
        if self.id is not None:
            os.kill(self.id, signal.SIGKILL)
            os.waitpid(self.id, 0)
            self.id = None
        self.file.close()
