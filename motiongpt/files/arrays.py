"""Arrays in .npy and .npz files.

Two dangers: an array of Python objects is a pickle, which may run any program, so objects are refused; and a header may
claim more memory than the file has, so sizes are checked, or the file is mapped, before memory is taken. Errors name
the file in one line.
"""

import math
import re
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

MAX_ARRAY_BYTES = 1 << 30  # per array of an .npz; the largest one of SMPL-X, posedirs, has 122 MB and is not read


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


def load_array(path: Path, ndim: int, width: int | None = None) -> np.ndarray:
    """A float32 copy of the numeric array in a .npy, of `ndim` dimensions and, if given, `width` columns.

    Raises FileNotFoundError, or ValueError with the file, what was expected and what was found.
    """
    array = read_array(path)
    if array.ndim != ndim or not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"{path}: expected a numeric array of {ndim} dimensions, got {array.dtype} {array.shape}")
    if width is not None and array.shape[-1] != width:
        raise ValueError(f"{path}: expected width {width}, got {array.shape[-1]} (shape {array.shape})")
    return np.array(array, np.float32)  # a copy: the map ends here


def read_npz(
    path: Path | str, keys: Collection[str]
) -> tuple[dict[str, tuple[tuple[int, ...], np.dtype]], dict[str, np.ndarray]]:
    """The shape and dtype of every array in an .npz, and the arrays under `keys` that are there.

    No array may be larger than its part of the file, or than 1 GiB.

    Raises FileNotFoundError, or ValueError for a damaged file and for Python objects under one of `keys`.
    """
    path = Path(path)
    headers: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    arrays: dict[str, np.ndarray] = {}
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as part:
                    shape, dtype = _read_header(part)
                headers[name] = shape, dtype
                if name not in keys:
                    continue
                if dtype.hasobject:
                    raise ValueError(f"{name} holds Python objects instead of numbers")
                if not 0 <= math.prod(shape) * dtype.itemsize <= min(info.file_size, MAX_ARRAY_BYTES):
                    raise ValueError(f"{name} claims {shape} {dtype} in {info.file_size} bytes")
                with archive.open(info) as part:
                    arrays[name] = np.lib.format.read_array(part, allow_pickle=False)
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds on damaged files
        raise ValueError(f"{path} is damaged or no .npz ({' '.join(str(error).split())[:200]})") from error
    return headers, arrays


def _read_header(part) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of the .npy that begins here."""
    version = np.lib.format.read_magic(part)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(part)
    return shape, dtype


def array_fault(error: Exception) -> str:
    """Why NumPy refused a file, in one line and without NumPy's advice to unpickle it."""
    text = " ".join(str(error).split())
    if not re.search("allow_pickle|pickled|Python objects", text):
        return text
    first = "" if re.search("Object arrays|Python objects", text) else "it is none of NumPy's files, or it "
    return f"{first}holds Python objects; only plain arrays are read"
