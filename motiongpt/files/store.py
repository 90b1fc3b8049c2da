"""JSON and safetensors files: written whole or not at all, read with an error that names the file.

The danger is half a file: a full disk or a kill in the middle of a write. So a write goes into a temporary file beside
the place and is renamed; until then the former file stays as it was. Nothing here unpickles.

torch and safetensors are imported inside the functions that need them: scripts read JSON before they know whether
there is a model to load, and `--help` must not wait for torch.
"""

import errno
import gzip
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motiongpt.files.hashes import short_hash, stamp
from motiongpt.files.leftovers import remove_leftovers, remove_leftovers_once, temporary_path
from motiongpt.files.limits import Capped, check_declared, largest
from motiongpt.files.listing import is_free

if TYPE_CHECKING:
    import torch
    from torch import Tensor

JSON_COPIES = 8  # text as bytes and as letters, and its values, in about the proportions of token data
LIST_BYTES, ITEM_BYTES = 64, 40  # of an empty list or object, and of a short value in it
ALMOST_FULL_BYTES = 1 << 16
SAFETENSORS_METADATA = {"format": "pt"}  # some versions of `transformers` refuse a file without it


class WriteError(OSError):
    """A file that could not be written, named with the reason."""


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it; on any failure `path` stays as it was.

    Raises OSError naming `path`: a full disk's own error names no file, and others name the temporary one.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers_once(path.parent.absolute())
        write(temporary)
        flush_to_disk(temporary)  # before the rename, or a power cut could leave the new name with no content
        mask = os.umask(0)  # reading the mask means setting it
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # some writers leave files that only their owner can read
        os.replace(temporary, path)
    except WriteError:
        raise
    except OSError as error:
        raise _named(error, path) from error
    finally:
        with suppress(OSError):  # no folder, or a file in its place
            temporary.unlink()


def flush_to_disk(path: Path) -> None:
    """What was written to a file outlives a power cut once this returns."""
    with open(path, "r+b") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """For a write that is not atomic, such as a line more in a log: an OSError names `path` and says why."""
    try:
        yield
    except WriteError:  # names a file already
        raise
    except OSError as error:
        raise _named(error, path) from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` when the block ends; on any failure nothing of it stays.

    Raises FileExistsError if `folder` holds something, see `is_free`.
    """
    if not is_free(folder):
        raise FileExistsError(f"{folder} exists already; delete it or name another")
    temporary = temporary_path(folder)
    remove_leftovers(folder.parent)
    try:
        with naming(folder):
            temporary.mkdir(parents=True)
        yield temporary
        if folder.is_dir() and is_free(folder):
            shutil.rmtree(folder)  # Windows replaces no folder, not even an empty one
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _named(error: OSError, path: Path) -> WriteError:
    """The error of a write with the file and the reason. NumPy and others do not say that a disk is full."""
    reason = error.strerror or str(error)
    is_full = error.errno == errno.ENOSPC or "No space left" in reason
    with suppress(OSError):
        is_full = is_full or error.errno is None and shutil.disk_usage(path.parent).free < ALMOST_FULL_BYTES
    return WriteError(f"{path} cannot be written ({'no space left on the disk' if is_full else reason})")


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object, indent: int | None = 2) -> None:
    """`value` as UTF-8 JSON, readable: letters of any script stay as they are.

    Halves of characters, as a file's name may have, are written as \\udXXX, which is JSON's own way: they come back.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="backslashreplace"))


def read_json(path: Path | str, kind: type = dict) -> Any:
    """The content of FILE.json or FILE.json.gz: an object; with `kind` list a list, with `kind` object anything.

    Raises FileNotFoundError, or ValueError with the file, the line, and what was expected and found.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        content = _gunzip(path) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); copy or make it again") from error
    try:
        value = json.loads(content.decode("utf-8-sig"))  # some Windows editors begin a file with a mark
    except RecursionError as error:
        raise ValueError(f"{path}: its JSON is nested too deeply to be read") from error
    except ValueError as error:  # of the syntax, of UTF-8, or a number of thousands of digits
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"{path}{line}: not valid JSON ({error})") from error
    if not isinstance(value, kind):
        wanted = "object" if kind is dict else kind.__name__
        raise ValueError(f"{path}: expected a JSON {wanted}, got {type(value).__name__}")
    return value


def _gunzip(path: Path) -> bytearray:
    """The text of a .json.gz. ValueError if it, or the values in it, would take more memory than the cap allows."""
    what = f"{path} (unpack it with gunzip to read it all the same):"
    with gzip.open(path) as stream:
        content = Capped(stream, what, largest(JSON_COPIES)).read_all()
    values = LIST_BYTES * (content.count(b"[") + content.count(b"{")) + ITEM_BYTES * content.count(b",")
    check_declared(values, f"{what} its list of values")
    return content


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> None:
    """A safetensors file of contiguous CPU copies. Raises OSError naming `path`."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    contiguous = _on_cpu(tensors)

    def write(temporary: Path) -> None:
        try:
            save_file(contiguous, temporary, SAFETENSORS_METADATA)
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from error
        stamp(temporary)  # its hash is asked for several times

    write_atomic(path, write)


def read_tensors(path: Path | str, device: "str | torch.device" = "cpu") -> "dict[str, Tensor]":
    """Tensors of one safetensors file.

    Raises FileNotFoundError, ValueError naming a truncated file, or OSError naming one that cannot be opened.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    open(path, "rb").close()  # safetensors says of whatever it cannot open that it does not exist
    try:
        return load_file(path, device=str(device))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut short ({error}); copy or make it again") from error


def tensors_hash(tensors: "Mapping[str, Tensor]") -> str:
    """`file_hash` of the file that `write_tensors` would make of these tensors."""
    from safetensors.torch import save

    return short_hash([save(_on_cpu(tensors), SAFETENSORS_METADATA)])


def _on_cpu(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
