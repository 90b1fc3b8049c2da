"""H5 files of other people, opened safely: the H5 library may crash, hang or run out of memory on a damaged one.

A file is first read to its end by a process of its own (`h5_probe.py`). After that only data sets inside the file
itself are used, and only if they can be unpacked within the cap of `files/limits.py`.
"""

import math
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from motiongpt.data.readers import h5_probe
from motiongpt.data.readers.h5_probe import cache_bytes, chunk_bytes, lies_elsewhere, own_object
from motiongpt.files.limits import MAX_GROWTH, TooLarge, check_declared, growth_limit, largest

MAX_EXPANSION = 2000  # deflate packs 1,032 : 1 at best, and chunks of zeros may be left out
WAITING = 32  # clips that a build holds at once, each of which may have this part of the cap
CHUNK_COPIES = 2  # a chunk is in memory as it is packed and as it is unpacked
MAX_ATTRIBUTE_BYTES = 1 << 20
PATIENCE = 20  # seconds on the clock per processor second: the machine may be busy
KEYS = ("motion", "poses", "text", "captions", "lengths", "ids")  # data sets that are read


@lru_cache
def _probe(path: Path, size: int, _changed: int) -> None:
    """Read the file once in a separate process, so that the H5 library can crash or hang without harm.

    Other errors are left for the actual reading, which names the place. `_changed` is the file's time: a changed file
    is read again.
    """
    source = Path(h5_probe.__file__).read_text(encoding="utf-8")
    numbers = map(str, (MAX_EXPANSION, MAX_GROWTH, largest()))
    command = [sys.executable, "-c", source, str(path), *numbers, *KEYS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes) as process:
        try:
            process.stdout.readline()  # loading h5py takes as long as it takes
            # the process limits its own work; the clock is for one that waits for something
            process.wait(PATIENCE * (h5_probe.SECONDS + size / h5_probe.BYTES_PER_SECOND))
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"{path} is damaged (the H5 library hangs on it)") from error
        finally:
            process.kill()
    code = process.returncode
    if hasattr(signal, "SIGXCPU") and code == -signal.SIGXCPU:
        raise ValueError(f"{path} is damaged (the H5 library hangs on it)")
    if code == h5_probe.EXIT_MEMORY:
        raise TooLarge(f"{path} unpacks to more than {largest():,} bytes at once, which is all that is read")
    if code not in (0, 1):  # 1: a Python error
        raise ValueError(f"{path} is damaged (the H5 library crashes on it, code {code})")


@contextmanager
def open_h5(path: Path):
    """A context with the open file. Raises FileNotFoundError, or ValueError if the file is damaged or no H5 file."""
    import h5py

    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    _probe(path, path.stat().st_size, path.stat().st_mtime_ns)
    try:
        file = h5py.File(path, "r", rdcc_nbytes=cache_bytes(largest()))
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no H5 file ({' '.join(str(error).split())[:150]})") from error
    try:
        yield file
    finally:
        file.close()


def has_key(file, key: str) -> bool:
    """Whether the file has anything under a name, be it a link that leads nowhere."""
    return file.id.links.exists(key.encode())


def h5_dataset(file, key: str):
    """A data set that lies in the file itself and can be unpacked within the cap. Raises ValueError."""
    import h5py

    item = own_object(file, key)
    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"{key} is no data set of this file")
    if not item.shape or lies_elsewhere(item):
        raise ValueError(f"{key} has its numbers in another file or data set, or none")
    row = math.prod(item.shape[1:]) * max(item.dtype.itemsize, 1)
    size, stored = row * len(item), item.id.get_storage_size()
    if size > MAX_EXPANSION * (stored + 1000):
        raise ValueError(f"{key} claims {item.shape} in {stored} stored bytes")
    if size > growth_limit(stored):
        raise TooLarge(f"{key} claims {size:,} bytes unpacked, at most {growth_limit(stored):,} are read")
    check_declared(row, f"one entry of {key}", WAITING)
    check_declared(chunk_bytes(item), f"one chunk of {key}", CHUNK_COPIES)
    return item


def check_texts(item, key: str, count: int) -> None:
    """ValueError if a data set is not so many texts."""
    import h5py

    if len(item) != count:
        raise ValueError(f"{key} has {len(item)} entries for {count} clips")
    if h5py.check_string_dtype(item.dtype) is None:
        raise ValueError(f"{key} must be texts, got {item.dtype}")


def h5_attribute(holder, key: str):
    """An attribute of the file or of a data set: text, a number or a list; None if there is none.

    Raises ValueError for an immense one, and for bytes that are not UTF-8.
    """
    if key not in holder.attrs:
        return None
    size = holder.attrs.get_id(key).get_storage_size()
    if size > MAX_ATTRIBUTE_BYTES:
        raise ValueError(f"the attribute {key} claims {size:,} bytes, at most {MAX_ATTRIBUTE_BYTES:,} are read")
    value = holder.attrs[key]
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return h5_text(value) if isinstance(value, str | bytes) else value


def h5_text(value, errors: str = "strict") -> str:
    """Bytes as text. ValueError for bytes that are not UTF-8, unless `errors` says what becomes of them.

    h5py gives the text of an attribute with such bytes as halves of characters.
    """
    text = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    try:
        return text.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        shown = ascii(text[max(0, error.start - 20) : error.start + 20])[1:]
        raise ValueError(f"text that is not UTF-8 near {shown} ({error.reason}); write it as UTF-8") from error
