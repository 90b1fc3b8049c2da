"""Arrays in .npy and .npz files.

Two dangers: an array of Python objects is a pickle, which may run any program, so objects are refused; and a header may
claim more memory than the file has, or a small archive may hold gigabytes. So sizes are checked against `limits.py`, or
the file is mapped, before memory is taken. Errors name the file in one line.
"""

import math
import re
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from motiongpt.files.limits import Capped, TooLarge, check_declared, check_packing

COPIES = 3  # how often a clip's numbers are in memory at once: as read, in another precision, and in our order
MAX_HEADER_BYTES = 1 << 16  # of an array; NumPy would read the 4 GB that a header may claim


def read_array(path: Path) -> np.ndarray:
    """The array in a .npy, mapped and not read: a header that lies costs no memory.

    Raises FileNotFoundError, or ValueError naming a file that is no .npy or holds Python objects.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged files, tokenize.TokenError among them
        raise ValueError(f"{path} is not a readable .npy array ({array_fault(error)})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} is not a .npy array, but an NpzFile, an archive of arrays")
    return array


def copy_array(path: Path) -> np.ndarray:
    """The array in a .npy in memory. Raises what `read_array` raises, and ValueError for more than the cap."""
    array = read_array(path)
    check_declared(array.nbytes, f"{path} {array.shape}")  # a file with holes is small on the disk
    return np.array(array)


def load_array(path: Path, ndim: int, width: int | None = None) -> np.ndarray:
    """A float32 copy of the numeric array in a .npy, of `ndim` dimensions and, if given, `width` columns.

    Raises FileNotFoundError, or ValueError with the file, what was expected and what was found.
    """
    array = read_array(path)
    if array.ndim != ndim or not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"{path}: expected a numeric array of {ndim} dimensions, got {array.dtype} {array.shape}")
    if width is not None and array.shape[-1] != width:
        raise ValueError(f"{path}: expected width {width}, got {array.shape[-1]} (shape {array.shape})")
    check_declared(array.size * 4, f"{path} {array.shape}")
    return np.array(array, np.float32)  # a copy: the map ends here


def read_npz(
    path: Path | str, keys: Collection[str] | None = None
) -> tuple[dict[str, tuple[tuple[int, ...], np.dtype]], dict[str, np.ndarray]]:
    """The shape and dtype of every array in an .npz, and the arrays under `keys` that are there, or all of them.

    Raises FileNotFoundError, or ValueError for a damaged file, for Python objects under one of `keys`, and for arrays
    that are larger than their part of the file, or together larger than the cap of `limits.py`.
    """
    path = Path(path)
    headers: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    arrays: dict[str, np.ndarray] = {}
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                headers[name] = _header(archive, info)
                if keys is None or name in keys:
                    wanted[name] = info
            sizes = {name: _size(name, headers[name], info.file_size) for name, info in wanted.items()}
            check_declared(sum(sizes.values()), str(path), COPIES)
            for name, info in wanted.items():
                with archive.open(info) as part:
                    # a member gives no more bytes than it declares
                    arrays[name] = np.lib.format.read_array(Capped(part, f"{path}: {name}"), allow_pickle=False)
    except TooLarge:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged files
        raise ValueError(f"{path} is damaged or no .npz ({' '.join(str(error).split())[:200]})") from error
    return headers, arrays


def names_in_npz(path: Path | str) -> set[str]:
    """The names of the arrays in an .npz, from its directory alone; none if it is damaged or no .npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, struct.error):
        return set()


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of the .npy that a member begins with."""
    check_packing(info, "no array of NumPy")
    with archive.open(info) as part:
        capped = Capped(part, f"{archive.filename}: the header of {info.filename}", MAX_HEADER_BYTES)
        version = np.lib.format.read_magic(capped)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(capped)
    return shape, dtype


def _size(name: str, header: tuple[tuple[int, ...], np.dtype], file_size: int) -> int:
    """Bytes of an array, which its part of the file must have room for."""
    shape, dtype = header
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects instead of numbers")
    size = math.prod(shape) * dtype.itemsize
    if not 0 <= size <= file_size:
        raise ValueError(f"{name} claims {shape} {dtype} in {file_size} bytes")
    return size


def array_fault(error: Exception) -> str:
    """Why NumPy refused a file, in one line and without NumPy's advice to unpickle it."""
    text = " ".join(str(error).split())
    if not re.search("allow_pickle|pickled|Python objects", text):
        return text
    first = "" if re.search("Object arrays|Python objects", text) else "it is not a NumPy file, or it "
    return f"{first}holds Python objects; only plain arrays are read"
