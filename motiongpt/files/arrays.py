"""Arrays in .npy and .npz files, never unpickled."""

import math
import re
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np


def load_array(path: Path, ndim: int, width: int | None = None) -> np.ndarray:
    """A float32 array from .npy, never a pickle. Raises ValueError naming file, expected and found."""
    array = read_array(path)
    if array.ndim != ndim or not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"{path}: expected a numeric array of {ndim} dimensions, got {array.dtype} {array.shape}")
    if width is not None and array.shape[-1] != width:
        raise ValueError(f"{path}: expected width {width}, got {array.shape[-1]} (shape {array.shape})")
    return np.array(array, np.float32)  # a copy: the map ends here


MAX_ARRAY_BYTES = 1 << 30  # of one array; the largest of SMPL-X, posedirs, has 122 MB and is not read


def read_npz(
    path: Path | str, keys: Collection[str]
) -> tuple[dict[str, tuple[tuple[int, ...], np.dtype]], dict[str, np.ndarray]]:
    """Shape and dtype of everything in an .npz, and those of `keys` that are there as arrays. Nothing is unpickled.

    No array is made larger than its part of the file, or than 1 GiB. Raises FileNotFoundError, or ValueError in one
    line for a damaged file and for Python objects under one of `keys`.
    """
    path, headers, arrays = Path(path), {}, {}
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as part:
                    version = np.lib.format.read_magic(part)
                    one = version == (1, 0)
                    header = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
                    shape, _, dtype = header(part)
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


def read_array(path: Path) -> np.ndarray:
    """What a .npy holds, mapped and not read, so that a header that lies costs no memory.

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


def array_fault(error: Exception) -> str:
    """In one line why NumPy refused a file, without its advice to unpickle: a pickle may run any program."""
    text = " ".join(str(error).split())
    if not re.search("allow_pickle|pickled|Python objects", text):
        return text
    first = "" if re.search("Object arrays|Python objects", text) else "it is none of NumPy's files, or it "
    return f"{first}holds Python objects; only plain arrays are read"
