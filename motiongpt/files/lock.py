"""One process per folder.

Two trainings in one folder would mix their weights, states and logs. A lock of the operating system on FOLDER/.lock
prevents that, and ends with its process however that ends: a kill leaves a file that nobody has locked.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from motiongpt.files.leftovers import remove_leftovers
from motiongpt.files.store import naming

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

LOCKED_BYTE = 1 << 30  # Windows lets nobody read a locked byte, so it is not one of those that hold the PID


@contextmanager
def hold(folder: Path, doing: str, flag: str = "--out") -> Iterator[None]:
    """Keep other processes out of `folder`, which is made, while it is being `doing` ("trained", "written").

    Temporary files that killed processes left in it are removed. `flag` names the folder on the command line.

    On a file system without locks nobody is kept out. Raises BlockingIOError if another process holds the folder,
    OSError naming it if it cannot be made.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b", buffering=0)
    except OSError as error:
        raise OSError(f"{folder} cannot be written ({error.strerror or error})") from error
    with file:
        # no link left: the holder removed the file after we opened it, and a new one may be locked in its place
        if not _lock(file) or os.fstat(file.fileno()).st_nlink == 0:
            file.seek(0)
            pid = file.read(20).decode(errors="replace")
            holder = f" (PID {pid})" if pid else ""
            raise BlockingIOError(
                f"{folder} is being {doing} by another process{holder}; wait for it or give another {flag}"
            )
        with naming(folder):
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        remove_leftovers(folder)
        try:
            yield
        finally:
            if not fcntl:  # Windows removes no open file; elsewhere it is removed while nobody else can lock it
                file.close()
            with suppress(OSError):
                path.unlink()


def _lock(file: BinaryIO) -> bool:
    """False if another process has the lock, True if this one has it now or the file system has no locks."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)  # the latter on Windows
    return True
