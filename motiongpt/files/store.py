"""Files written whole or not at all, and read with an error that names the file.

A write goes beside its place and is renamed, so a full disk or a kill leaves the former file as it was.
JSON, safetensors and plain .npy only: nothing here unpickles.
"""

import gzip
import json
import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from motiongpt.files.hashes import short_hash

FORMAT = {"format": "pt"}


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
    return short_hash([save(_plain(tensors), FORMAT)])


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


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


def read_tensors(path: Path | str, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Tensors of one safetensors file. Raises FileNotFoundError, or ValueError naming a truncated file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        return load_file(path, device=str(device))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); copy or make it again") from error
