"""Temporary names, and what killed processes left under them.

Everything here is written under `.NAME.HOST-PID.tmp` beside its place and then renamed. A kill
leaves that file, or folder, and only its process would have removed it. So the next process that
writes into the same folder does, once it knows from the PID that nobody writes it any more. A PID
of another machine, on a shared disk, says nothing: then only age does.
"""

import os
import platform
import re
import shutil
import sys
import time
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.(?:([0-9a-f]{8})-)?(\d+)\.tmp")  # older versions wrote no host
STARTED = time.time()  # a temporary of our own PID that is older was another process's of the same number
CERTAIN_SECONDS = 24 * 3600  # if nobody can be asked whether a process lives: nothing takes a day to write


def temporary_path(path: Path) -> Path:
    """Where this process writes `path` before it renames it."""
    return path.with_name(f".{path.name}.{this_host()}-{os.getpid()}.tmp")


@cache
def this_host() -> str:
    """Eight hex digits for the name of this machine or container."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def remove_leftovers(folder: Path) -> None:
    """Remove temporaries in `folder` whose process has ended. What cannot be removed stays: it does no harm."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = TEMPORARY.fullmatch(entry.name)
            if match and not _is_being_written(match[1] or this_host(), int(match[2]), entry):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        os.unlink(entry.path)


@cache
def remove_leftovers_once(folder: Path) -> None:
    """`remove_leftovers` at the first write of this process into `folder`: a folder may have many files."""
    remove_leftovers(folder)


def _is_being_written(host: str, pid: int, entry: os.DirEntry) -> bool:
    changed = entry.stat(follow_symlinks=False).st_mtime
    if host != this_host():
        return time.time() - changed < CERTAIN_SECONDS
    if pid == os.getpid():
        return changed >= STARTED - 1  # clocks of files are coarser
    if sys.platform == "win32":  # os.kill would end the process there
        return time.time() - changed < CERTAIN_SECONDS
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's process
        return True
    return True
