"""Pickles of other projects, read without running them:
checkpoints, statistics, GloVe tables, SMPL models.

The danger: a pickle is a program, and `pickle.load` runs whatever it names. `load_pickle` runs it
with a short table of what it may name (`stand_ins.py`): numpy arrays and scalars, builtin
containers, torch tensors (in zip and legacy `torch.save` files, and inside plain pickles),
scipy.sparse matrices and `chumpy.Ch` (both given as arrays). Anything else is named and refused.
Neither scipy nor chumpy need be installed.

Sizes are checked against the bytes that are there before memory is taken. A file made to waste time
(say, nested tuples as dict keys) can still do so; it cannot run code.
"""

import io
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch

from motiongpt.files.limits import TooLarge
from motiongpt.files.stand_ins import ALLOWED, Function, Refused, Seen, Storage, inert, to_bytes, to_plain

TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a legacy torch.save file

# what a damaged file makes pickle, zipfile and our stand-ins raise
DAMAGE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, ValueError, TypeError, AttributeError, KeyError,
    IndexError, OverflowError, MemoryError, RecursionError, NotImplementedError, RuntimeError, ImportError,
)  # fmt: skip


# how pickletools marks the kinds of counts before an argument; opcode -> (name, width or kind of its argument)
_COUNTS = {-2: "<B", -3: "<i", -4: "<I", -5: "<Q"}
_OPCODES = {op.code.encode("latin1"): (op.name, op.arg.n if op.arg else 0) for op in pickletools.opcodes}


def load_pickle(path: str | Path):
    """The value of a pickle or torch.save file (.pth .pt .ckpt .tar .pkl), without running it.

    Values are dict, list, tuple, set, numpy arrays and scalars, CPU tensors, numbers, text (Python
    2's as latin1), and `Inert` for what training frameworks left.

    Raises FileNotFoundError, or ValueError in one line:
    what the file names that is refused, or that it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with open(path, "rb") as file:
            return to_plain(_read(file), Seen(), 0)
    except Refused as error:
        raise ValueError(
            f"{path}: refuses to load {error} (a pickle may run code); convert it to arrays (.npz, .safetensors) with "
            "the program that wrote it"
        ) from error
    except TooLarge as error:
        raise TooLarge(f"{path}: {error}") from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is damaged, cut short or no pickle ({reason})") from error


def _read(file: BinaryIO):
    """The value of a stream: a zip of torch.save, a legacy one, or a plain pickle."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(16)
    file.seek(0)
    # a zip file begins with PK; a link to a web page often gives its HTML
    if start[:2] == b"PK":
        return _read_zip(file, size)
    if start.lstrip()[:1] == b"<":
        raise ValueError("it is a web page or XML, not a pickle: download it again")
    value = _unpickle(file)
    return _read_legacy(file, size) if isinstance(value, int) and value == TORCH_MAGIC else value


# 1) One pickle.


class _Unpickler(pickle.Unpickler):
    """Finds classes in our table only; `storage` makes the storage of a torch file's persistent
    id."""

    def __init__(self, file: BinaryIO, storage):
        super().__init__(file, encoding="latin1")  # Python 2 wrote arrays as text
        self.storage = storage
        self.inert: dict[str, type] = {}

    def find_class(self, module, name):
        full = f"{module}.{name}"
        if full == "torch.storage._load_from_bytes":
            return _LOAD_FROM_BYTES
        # everything that pickle would call goes through here
        found = ALLOWED.get(full) or inert(module, name, self.inert)
        if found is None:
            raise Refused(full)
        return found

    def persistent_load(self, pid):
        if self.storage is None or pid[0] != "storage" or not isinstance(pid[1], torch.dtype):
            raise ValueError(f"a persistent object {str(pid)[:60]} outside a torch file")
        return self.storage(pid)


def _check_lengths(file: BinaryIO) -> None:
    """Check the lengths in one pickle against the bytes that are left, and its memo:
    index 2 ** 31 would take 32 GiB.

    By hand: `pickletools.genops` of Python 3.11 fails on the byte strings of Python 2's protocol 0.
    """
    start = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(start)
    steps = 0
    name = ""
    while name != "STOP":
        # an unknown opcode is a KeyError, one of DAMAGE
        name, width = _OPCODES[file.read(1)]
        if width == -1:  # arguments end with their line
            argument = file.readline()
            if name in ("GLOBAL", "INST"):
                file.readline()
        elif width in _COUNTS:
            count = struct.unpack(_COUNTS[width], file.read(struct.calcsize(_COUNTS[width])))[0]
            if not 0 <= count <= size - file.tell():
                raise ValueError(f"{name} claims {count} bytes, {size - file.tell()} are left")
            file.seek(count, io.SEEK_CUR)
        else:
            argument = file.read(width)
        steps += 1
        # pickle makes its memo as long as the largest index, so an index must be near the number of steps
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            index = int(argument) if name == "PUT" else int.from_bytes(argument, "little")
            if index > 2 * steps + 1000:
                raise ValueError(f"a memo index of {index} after {steps} steps")
    file.seek(start)


def _unpickle(file: BinaryIO, storage=None):
    """The value of the pickle that begins here; the stream then stands behind it."""
    _check_lengths(file)
    return _Unpickler(file, storage).load()


# 2) Files of torch.save.


def _read_zip(file: BinaryIO, size: int):
    """FOLDER/data.pkl, whose persistent ids name the storages FOLDER/data/KEY."""
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        # torch.save stores without compression, so the parts cannot be larger than the file
        if sum(info.file_size for info in infos) > size or any(info.compress_type for info in infos):
            raise ValueError("its parts are compressed or larger than the file, which torch.save never does")
        names = [info.filename for info in infos if info.filename.split("/")[1:] == ["data.pkl"]]
        if len(names) != 1:
            raise ValueError("a zip file without data.pkl is not a torch.save file")
        folder = names[0].split("/")[0]
        if f"{folder}/byteorder" in archive.namelist() and archive.read(f"{folder}/byteorder") != b"little":
            raise Refused("big-endian tensors")
        storages = {}

        def storage(pid) -> Storage:
            kind, key, numel = pid[1], str(pid[2]), int(pid[4])
            if key not in storages:
                data = archive.read(f"{folder}/data/{key}")
                if numel * kind.itemsize != len(data):
                    raise ValueError(f"storage {key} should hold {numel} {kind}, it has {len(data)} bytes")
                # a bytearray, since tensors may be written to; frombuffer refuses an empty one
                numbers = torch.frombuffer(bytearray(data), dtype=kind) if data else torch.empty(0, dtype=kind)
                storages[key] = Storage(numbers)
            return storages[key]

        return _unpickle(io.BytesIO(archive.read(names[0])), storage)


def _read_legacy(file: BinaryIO, size: int):
    """After the magic number: protocol, system, object, storage keys,
    then each storage as a count and its bytes."""
    version = _unpickle(file)
    system = _unpickle(file)
    if version != 1001 or not system.get("little_endian", True):
        raise ValueError(f"legacy torch files of version {version} or big-endian ones are not read")
    storages = {}
    taken = 0  # bytes of all storages, which the file must have room for

    def storage(pid) -> Storage:
        nonlocal taken
        kind, key, numel = pid[1], str(pid[2]), int(pid[4])
        if len(pid) > 5 and pid[5] is not None:
            raise Refused("views of storages, as torch before 0.4 wrote them")
        if key not in storages:
            taken += numel * kind.itemsize
            if numel < 0 or taken > size:
                raise ValueError(f"storages of {taken} bytes in a file of {size}")
            storages[key] = Storage(torch.empty(numel, dtype=kind))
        return storages[key]

    # the object comes first, with storages still to be filled; their bytes follow
    value = _unpickle(file, storage)
    for key in _unpickle(file):
        numbers = storages[str(key)].numbers
        data = file.read(8 + numbers.nbytes)
        if len(data) != 8 + numbers.nbytes or int.from_bytes(data[:8], "little") != len(numbers):
            raise ValueError(f"storage {key} is cut short")
        if len(numbers):
            numbers.copy_(torch.frombuffer(bytearray(data[8:]), dtype=numbers.dtype))
    return value


# a tensor inside a plain pickle carries its storage as a legacy torch file
_LOAD_FROM_BYTES = Function(lambda data: _read(io.BytesIO(to_bytes(data))))
