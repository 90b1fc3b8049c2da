"""One process to a folder."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None


LOCKED_BYTE = 1 << 30  # Windows lets nobody read a locked byte: not one of those that say the PID


@contextmanager
def hold(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes out of `folder`, which is made, while it is being `doing` ("trained", "written").

    The OS lock on FOLDER/.lock ends with its process, however that ends: what a kill leaves is a file that nobody has
    locked. Where the file system has no locks, nobody is kept out. BlockingIOError where another process holds it,
    OSError naming the folder where it cannot be made.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b", buffering=0)
    except OSError as error:
        raise OSError(f"{folder} cannot be written ({error.strerror or error})") from error
    with file:
        # no link: its holder took the file away after we opened it, and another may be locked in its place
        if not _lock(file) or os.fstat(file.fileno()).st_nlink == 0:
            file.seek(0)
            holder = f" (PID {pid.decode(errors='replace')})" if (pid := file.read(20)) else ""
            raise BlockingIOError(
                f"{folder} is being {doing} by another process{holder}; wait for it or give another --out"
            )
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        try:
            yield
        finally:
            if not fcntl:  # Windows removes no open file; elsewhere it goes while nobody else can have the lock
                file.close()
            with suppress(OSError):
                path.unlink()


def _lock(file: BinaryIO) -> bool:
    """False where another process has the lock, True where this one has it or there are none to have."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)  # the latter on Windows
    return True
