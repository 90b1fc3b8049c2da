"""Files written whole or not at all, and read with an error that names the file.

A write goes beside its place and is renamed, so a full disk or a kill leaves the former file as it was.
JSON, safetensors and plain .npy only: nothing here unpickles.
"""

import errno
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

FORMAT = {"format": "pt"}
LOCKED_BYTE = 1 << 30  # Windows lets nobody read a locked byte: not one of those that say the PID


def file_hash(path: Path | str) -> str:
    """First 16 hex digits of a file's SHA-256: enough to tell two tokenizers or data sets apart."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16]


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then rename it into place; on any failure `path` is untouched.

    OSError names `path`: a full disk's error names no file, others the temporary one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "r+b") as file:  # Windows flushes only what is open for writing
            os.fsync(file.fileno())
        mask = os.umask(0)  # reading the mask means setting it
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # some writers leave files that only their owner can read
        os.replace(temporary, path)
    except (OSError, safetensors.SafetensorError) as error:
        raise OSError(f"{path} cannot be written ({getattr(error, 'strerror', None) or error})") from error
    finally:
        with suppress(OSError):  # no folder, or a file in its place
            temporary.unlink()


def write_json(path: Path, value: object, indent: int | None = 2) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file that says it comes from PyTorch: some versions of `transformers` refuse one that does not."""
    plain = _plain(tensors)
    write_atomic(path, lambda temporary: save_file(plain, temporary, FORMAT))


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """`file_hash` of the file that `write_tensors` makes of these."""
    return hashlib.sha256(save(_plain(tensors), FORMAT)).hexdigest()[:16]


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


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


def read_json(path: Path | str, kind: type = dict) -> Any:
    """A JSON object from disk, of FILE.json.gz too; with `kind` list a list, with object whatever it holds.

    FileNotFoundError or ValueError name the file and the line, or what was expected and what was found.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); copy or make it again") from error
    try:
        value = json.loads(content.decode("utf-8-sig"))  # some Windows editors begin a file with a mark
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"{path}{line}: not valid JSON ({error})") from error
    if not isinstance(value, kind):
        wanted = "object" if kind is dict else kind.__name__
        raise ValueError(f"{path}: expected a JSON {wanted}, got {type(value).__name__}")
    return value


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


def read_tensors(path: Path | str, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Tensors of one safetensors file. Raises FileNotFoundError, or ValueError naming a truncated file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        return load_file(path, device=str(device))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); copy or make it again") from error


class Unfilled(TorchFunctionMode):
    """`with Unfilled():` builds modules without memory or first weights, for a file that holds every tensor of them.

    On the meta device a draw changes nothing, but it imports torch's compiler, which takes longer than all the rest.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (Tensor.normal_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return args[0] if args else kwargs["tensor"]
        with torch.device("meta"):
            return func(*args, **(kwargs or {}))
