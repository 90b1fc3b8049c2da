"""Files written whole or not at all, and read with an error that names the file.

A write goes beside its place and is renamed, so a full disk or a kill leaves the former file as it was.
JSON and safetensors only: nothing here unpickles.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def file_hash(path: Path | str) -> str:
    """First 16 hex digits of a file's SHA-256: enough to tell two tokenizers or data sets apart."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16]


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, then rename it into place; on any failure `path` is untouched."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "r+b") as file:  # Windows flushes only what is open for writing
            os.fsync(file.fileno())
        mask = os.umask(0)  # reading the mask means setting it
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # some writers leave files that only their owner can read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object, indent: int | None = 2) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file that says it comes from PyTorch: some versions of `transformers` refuse one that does not."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, lambda temporary: save_file(contiguous, temporary, {"format": "pt"}))


def read_json(path: Path | str) -> dict:
    """A JSON object from disk. Raises FileNotFoundError or ValueError naming the file, and the line at fault."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # some Windows editors begin a file with a mark
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"{path}{line}: not valid JSON ({error})") from error


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
