"""H5 files of other people, opened safely: the H5 library may crash, hang or run out of memory on a damaged one.

A file is first read to its end by a process of its own. After that only data sets inside the file itself are used, and
only if their stored bytes can hold what they claim.
"""

import subprocess
import sys
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

MAX_EXPANSION = 2000  # deflate packs 1,032 : 1 at best, and chunks of zeros may be left out
KEYS = ("motion", "poses", "text", "captions", "lengths", "ids")  # data sets that are read

_PROBE = """
import sys, h5py
with h5py.File(sys.argv[1], "r") as file:
    for name, item in [("", file), *file.items()]:
        dict(item.attrs)
        if name in sys.argv[3:] and item.size * item.dtype.itemsize <= int(sys.argv[2]) * (
            item.id.get_storage_size() + 1000
        ):
            for i in range(len(item)):
                item[i]
"""


@lru_cache
def _probe(path: Path, size: int, _changed: int) -> None:
    """Read the file once in a process of its own, which a crash or an endless loop of the H5 library cannot leave.

    Other errors are left for the actual reading, which names the place. `_changed` is the file's time: a changed file
    is read again.
    """
    command = [sys.executable, "-c", _PROBE, str(path), str(MAX_EXPANSION), *KEYS]
    try:
        done = subprocess.run(command, capture_output=True, timeout=4 + size / 1e6)  # reads 20 MB a second and more
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{path} is damaged (the H5 library hangs on it)") from error
    if done.returncode not in (0, 1):  # 1: a Python error
        raise ValueError(f"{path} is damaged (the H5 library crashes on it, code {done.returncode})")


@contextmanager
def open_h5(path: Path):
    """A context with the open file. Raises FileNotFoundError, or ValueError if the file is damaged or no H5 file."""
    import h5py

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    _probe(path, path.stat().st_size, path.stat().st_mtime_ns)
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no H5 file ({' '.join(str(error).split())[:150]})") from error
    try:
        yield file
    finally:
        file.close()


def h5_dataset(file, key: str):
    """A data set that lies in the file itself and is no larger than its stored bytes allow. Raises ValueError."""
    import h5py

    item = file.get(key)
    if not isinstance(item, h5py.Dataset) or isinstance(file.get(key, getlink=True), h5py.ExternalLink):
        raise ValueError(f"{key} is no data set of this file")
    if item.external or item.is_virtual or item.shape is None or not item.shape:
        raise ValueError(f"{key} has its numbers in another file, or none")
    size, stored = item.size * max(item.dtype.itemsize, 1), item.id.get_storage_size()
    if size > MAX_EXPANSION * (stored + 1000):
        raise ValueError(f"{key} claims {item.shape} in {stored} stored bytes")
    return item
