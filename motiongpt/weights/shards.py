"""The safetensors files of a folder: which ones count, what is in them, and how tensors get into their final memory.

A tensor is read block by block into memory of its final dtype and device, so loading takes the model and one block,
not the file as well. The bytes are hashed on the way: `weights_hash` then need not read gigabytes again.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

import torch
from torch import Tensor

from motiongpt.files.fields import get_field
from motiongpt.files.hashes import file_version, known_hash, note_hash, short_hash
from motiongpt.files.store import read_json, write_json, write_tensors
from motiongpt.weights.checks import check_total
from motiongpt.weights.memory import check_memory

LIT_FILE = "lit-llama.pth"  # the weights of a folder of Lit-LLaMA, which has no config.json
BLOCK_BYTES = 1 << 22
KEY_PARTS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Parts of keys that torch.compile, FSDP and activation checkpointing add; no model has them in its own names."""
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


# 1) Which files.


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors of a Hugging Face folder, or without it the shards of its index.

    The order is that of `transformers`: a save in one file leaves an older index, and its shards, beside it. Raises
    FileNotFoundError if a file is absent, ValueError if the index names one outside its folder.
    """
    single = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise FileNotFoundError(f"no model.safetensors and no {index.name} in {folder}")
    shards = list(get_field(read_json(index), "weight_map", dict, index).values())
    for name in shards:
        if not isinstance(name, str) or not name or PureWindowsPath(name).name != name:  # also no drive and no \
            raise ValueError(f"{index}: weight_map must name files of its own folder, got {str(name)[:60]!r}")
    absent = sorted({name for name in shards if not (folder / name).is_file()})
    if absent or not shards:
        raise FileNotFoundError(f"{index} names shards that are not there: {', '.join(absent) or '(none named)'}")
    return [folder / name for name in sorted(set(shards))]


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter: adapter_config.json says so, as for `transformers`, or nothing else does."""
    has = {name: (folder / name).is_file() for name in ("adapter_config.json", "adapter_model.safetensors")}
    return has["adapter_config.json"] or (has["adapter_model.safetensors"] and not (folder / "config.json").is_file())


def is_lit_llama(folder: Path) -> bool:
    """Whether a folder holds a model in the layout of Lit-LLaMA, and none in that of Hugging Face."""
    return (folder / LIT_FILE).is_file() and not (folder / "config.json").is_file()


def hashed_files(folder: Path) -> list[Path]:
    """The weights in a folder: its adapter, or else its model in one or more files, of Lit-LLaMA or Hugging Face.

    Raises FileNotFoundError if it has neither.
    """
    if is_adapter(folder):
        return [folder / "adapter_model.safetensors"]
    return [folder / LIT_FILE] if is_lit_llama(folder) else weight_files(folder)


def weights_hash(folder: Path | str) -> str:
    """16 hex digits that identify the `hashed_files` of a folder. Raises FileNotFoundError if there are none."""
    return short_hash([" ".join(map(known_hash, hashed_files(Path(folder)))).encode()])


# 2) What they hold.


@dataclass(frozen=True)
class Stored:
    """A tensor in a file, not read yet."""

    path: Path
    key: str
    kind: str  # as safetensors calls the dtype: F32, BF16 ...
    shape: tuple[int, ...]
    begin: int  # of its bytes in the file
    size: int

    @property
    def dtype(self) -> torch.dtype:
        """ValueError for a kind of numbers that is not read."""
        if self.kind not in DTYPES:
            raise ValueError(f"{self.path}: {self.key} is stored as {self.kind}; supported: {', '.join(DTYPES)}")
        return DTYPES[self.kind]


def stored_tensors(paths: Iterable[Path]) -> dict[str, Stored]:
    """Key -> tensor of all files, each key once. Only headers are read.

    Raises FileNotFoundError, or ValueError naming a file that is cut short, or a key that two files hold.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, Stored] = {}
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist")
        try:
            with safe_open(path, framework="pt"):  # checks the header, every offset, and the size of the file
                pass
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged or cut short ({error}); copy or make it again") from error
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        for key, values in header.items():
            if key == "__metadata__":
                continue
            if key in found:
                raise ValueError(f"{path} holds {key}, which an earlier shard holds too")
            first, last = values["data_offsets"]
            found[key] = Stored(path, key, values["dtype"], tuple(values["shape"]), 8 + length + first, last - first)
    return unwrapped(found)


def unwrapped(stored: dict[str, Stored]) -> dict[str, Stored]:
    """The same tensors without what torch.compile, DDP, FSDP and activation checkpointing put into their keys.

    `module.` is a name that a model may use itself, so it goes only if every key begins with it. Says on stderr if it
    changed a key; ValueError if two keys become one.
    """
    ours: dict[str, Stored] = {}
    parallel = bool(stored) and all(key.replace("_orig_mod.", "").startswith("module.") for key in stored)
    for key, tensor in stored.items():
        for part in KEY_PARTS:
            key = key.replace(part, "")
        key = key.removeprefix("module.") if parallel else key
        if key in ours:
            raise ValueError(f"{tensor.path}: {tensor.key} and {ours[key].key} are the same tensor, {key}; keep one")
        ours[key] = tensor
    changed = next((tensor for key, tensor in ours.items() if key != tensor.key), None)
    if changed is not None:
        print(f"note: {changed.path}: keys such as {changed.key} are read without their wrapper", file=sys.stderr)
    return ours


def check_stored(expected: Mapping[str, Sequence[int]], stored: Mapping[str, Stored], folder: Path) -> None:
    """`check_total` for stored tensors; one of the wrong shape is named with its file."""
    paths = {tensor.path for tensor in stored.values()}
    if expected.keys() == stored.keys():  # only a shape can be wrong, and that is in one file
        paths = {tensor.path for key, tensor in stored.items() if tensor.shape != tuple(expected[key])} or paths
    source = min(paths) if len(paths) == 1 else folder
    check_total(expected, {key: tensor.shape for key, tensor in stored.items()}, source)


def equal_on_disk(one: Stored, other: Stored) -> bool:
    """Whether two stored tensors hold the same bytes."""
    if (one.kind, one.shape) != (other.kind, other.shape):
        return False
    with open(one.path, "rb") as first, open(other.path, "rb") as second:
        first.seek(one.begin)
        second.seek(other.begin)
        sizes = [min(BLOCK_BYTES, one.size - done) for done in range(0, one.size, BLOCK_BYTES)]
        return all(first.read(size) == second.read(size) for size in sizes)


# 3) Into memory.


def read_state(
    stored: Mapping[str, Stored],
    names: Mapping[str, str],
    dtype: torch.dtype,
    device: torch.device | str,
    what: object,
) -> dict[str, Tensor]:
    """The tensors `names` (key in the files -> our name) under our names, in `dtype` on `device`.

    They are for `load_state_dict(..., assign=True)`. The rest of these files is only hashed. Raises ValueError if
    memory is too small for `what`, or if a file gets shorter meanwhile.
    """
    check_memory(sum(prod(stored[key].shape) for key in names), dtype, device, what)
    state = {}
    with ThreadPoolExecutor(1) as pool:
        for path in sorted({stored[key].path for key in names}):
            version = file_version(path)
            inside = [(stored[key], name) for key, name in names.items() if stored[key].path == path]
            with open(path, "rb") as file:
                reader = _Reader(file, pool)
                for tensor, name in sorted(inside, key=lambda pair: pair[0].begin):
                    reader.skip_to(tensor.begin)
                    state[name] = torch.empty(tensor.shape, dtype=dtype, device=device)
                    reader.fill(state[name], tensor.dtype)
                reader.skip_to(path.stat().st_size)
                note_hash(version, reader.hash())
    return state


class _Reader:
    """A file from its start to its end, block by block, while another thread hashes the block before."""

    def __init__(self, file: BinaryIO, pool: ThreadPoolExecutor) -> None:
        self.file, self.pool = file, pool
        self.digest = hashlib.sha256()
        self.hashing: Future | None = None  # of the block read last
        self.buffers = [torch.empty(BLOCK_BYTES, dtype=torch.uint8) for _ in range(2)]

    def read(self, block: Tensor) -> None:
        """Fill a uint8 block, which must stay as it is until the block after the next is read."""
        view = memoryview(block.numpy())
        if self.file.readinto(view) != len(view):
            raise ValueError(f"{self.file.name} is cut short; copy or make it again")
        if self.hashing is not None:
            self.hashing.result()
        self.hashing = self.pool.submit(self.digest.update, view)

    def next_buffer(self, size: int) -> Tensor:
        """The buffer whose bytes are hashed already: the two take turns."""
        self.buffers.reverse()
        return self.buffers[0][:size]

    def skip_to(self, position: int) -> None:
        while (left := position - self.file.tell()) > 0:
            self.read(self.next_buffer(min(left, BLOCK_BYTES)))

    def fill(self, target: Tensor, dtype: torch.dtype) -> None:
        """Fill a tensor with the numbers that come next, which are stored as `dtype`."""
        flat = target.view(-1)
        count = BLOCK_BYTES // dtype.itemsize
        for part in flat.split(count):
            if part.dtype == dtype and part.device.type == "cpu":
                self.read(part.view(torch.uint8))
                continue
            block = self.next_buffer(part.numel() * dtype.itemsize)
            self.read(block)
            part.copy_(block.view(dtype).to(part.device))  # moved first, converted on the device

    def hash(self) -> str:
        if self.hashing is not None:
            self.hashing.result()
        return self.digest.hexdigest()[:16]


# 4) Onto disk.


def write_model(folder: Path, tensors: Mapping[str, Tensor], max_shard_bytes: int | None = None) -> None:
    """Write model.safetensors, or, for more than `max_shard_bytes`, shards and their index, as `transformers` does.

    A shard is full when the next tensor would exceed the limit; a larger tensor is alone in its shard. Several files
    cannot replace older ones at once: with a limit, the folder should be new.
    """
    shards: list[dict[str, Tensor]] = [{}]
    room = max_shard_bytes
    for key, tensor in tensors.items():
        if max_shard_bytes is not None and shards[-1] and tensor.nbytes > room:
            shards.append({})
            room = max_shard_bytes
        shards[-1][key] = tensor
        room = None if room is None else room - tensor.nbytes
    if len(shards) == 1:
        write_tensors(folder / "model.safetensors", tensors)
        return
    places = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_tensors(folder / name, shard)
        places |= dict.fromkeys(shard, name)
    sizes = {
        "total_parameters": sum(tensor.numel() for tensor in tensors.values()),
        "total_size": sum(tensor.nbytes for tensor in tensors.values()),
    }
    write_json(folder / "model.safetensors.index.json", {"metadata": sizes, "weight_map": dict(sorted(places.items()))})
