"""Training state that survives: atomic saves, one previous generation kept, loud loads.

A training state is a folder with tensors (parameters, buffers, optimizer moments) in safetensors files and `state.json`
(step, best score, everything that is not a tensor, and the hashes of all files). It is written beside its place and
renamed, so a full disk or a kill leaves the old one as it was:

    state/last       the newest save            state/previous   the one before, used if `last` is damaged

Tensors are in one file, or, if several processes have a part of each, in one file per process. Any number of processes
reads either. It knows folders, tensors and JSON values; the caller knows what they mean.
"""

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from motiongpt.files.hashes import HASHES, check_hashes, check_values, file_hashes, hashes_in, values_hash
from motiongpt.files.store import flush_to_disk, naming, read_json, read_tensors, write_json, write_tensors

TENSORS, STATE = "tensors.safetensors", "state.json"
GENERATORS = ("rng/cpu", "rng/cuda")
"""States of random generators, which older states have: now what is random in a step is a function of the step."""


# 1) Folders.


def save_state(folder: Path, tensors: dict[str, Tensor], state: dict) -> None:
    """Write `folder/last`, and keep the former one as `folder/previous`.

    Whenever it is interrupted, `folder` holds at least one whole state.
    """
    with _new_state(Path(folder), state, lambda fresh: file_hashes(fresh, [TENSORS])) as fresh:
        write_tensors(fresh / TENSORS, tensors)


def save_shards(folder: Path, tensors: dict[str, Tensor], state: dict, is_first: bool) -> None:
    """`save_state` of processes that have a part of each tensor, a DTensor. All of them call it together.

    Raises OSError naming the folder if one cannot write its part: in all of them, and nothing is put in place.
    """
    import torch.distributed.checkpoint as dcp

    folder, hashes = Path(folder), {}
    with _new_state(folder, state, lambda _: hashes) if is_first else nullcontext(folder / NEW) as fresh:
        dist.all_reduce(torch.zeros(()))  # not before the first has made the folder
        try:
            dcp.save(tensors, storage_writer=_hf_storage().HuggingFaceStorageWriter(str(fresh), save_distributed=True))
        except dcp.CheckpointException as error:
            reasons = {str(failure) for failure, _ in error.failures.values()}
            raise OSError(f"{fresh} cannot be written ({'; '.join(reasons)})") from error
        # every process flushes and hashes what it has written; together that is as fast as their disks
        own = sorted(fresh.glob(f"shard-{dist.get_rank() + 1:05}-*"))
        everywhere: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everywhere, _flushed_hashes(own))
        if failures := sorted({found for found in everywhere if isinstance(found, str)}):
            raise OSError("; ".join(failures))
        hashes |= {name: value for found in everywhere for name, value in found.items()}


def _flushed_hashes(shards: list[Path]) -> dict[str, str] | str:
    """The hashes of files that are on the disk now; the reason if one cannot be written there."""
    hashes = {}
    try:
        for path in shards:
            with naming(path):
                flush_to_disk(path)  # PyTorch flushes before the last bytes have left Python's buffer
                hashes |= file_hashes(path.parent, [path.name])
    except OSError as error:
        return str(error)
    return hashes


NEW = ".new"


@contextmanager
def _new_state(folder: Path, state: dict, hashes: Callable[[Path], dict[str, str]]) -> Iterator[Path]:
    """An empty folder for tensors, which becomes `folder/last` when the block ends; `hashes` are those of its files."""
    fresh = folder / NEW
    shutil.rmtree(fresh, ignore_errors=True)
    with naming(fresh):
        fresh.mkdir(parents=True)
    try:
        yield fresh
        write_json(fresh / STATE, state | {HASHES: hashes(fresh) | {STATE: values_hash(state)}})
        put_in_place(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def put_in_place(folder: Path) -> None:
    """`folder/.new`, a whole state, becomes `folder/last`, and the former one `folder/previous`.

    Raises OSError naming which of the two cannot be replaced; at least one of them is whole.
    """
    last, previous = folder / "last", folder / "previous"
    # between the two renames there is no `last`: `previous` is then the newest
    if last.exists():
        with naming(previous):
            if previous.exists():
                shutil.rmtree(previous)
            os.replace(last, previous)
    with naming(last):
        os.replace(folder / NEW, last)


def saved_state(folder: Path) -> dict[str, Any]:
    """state.json of the newest state under `folder`, unchecked; empty if there is none that can be read."""
    for name in ("last", "previous"):
        try:
            return read_json(folder / name / STATE)
        except (FileNotFoundError, ValueError):  # whoever resumes from it says so
            continue
    return {}


def find_state(
    folder: Path, warn: Callable[[str], None], check: Callable[[dict], object] = lambda state: None
) -> tuple[Path, dict] | None:
    """The newest readable state under `folder` and its state.json, or None if there is none. `restore` reads the rest.

    A state is damaged if a file is missing or cut short, if it is not the one whose hash state.json remembers, or if
    `check` refuses the values of state.json with a ValueError. If `last` is damaged, `warn` gets a line that names the
    file, `previous` is used, and `last` is set aside as `damaged`: the next save would otherwise overwrite the good
    state with it. Raises ValueError if both are damaged, OSError if the disk or its permissions do not let one be
    read: that may pass, and an older state is no remedy.
    """
    folder = Path(folder)
    shutil.rmtree(folder / NEW, ignore_errors=True)  # of a save that was killed
    problems = []
    for name in ("last", "previous"):
        if not (folder / name).is_dir():
            continue
        try:
            state = _read_state(folder / name, check)
        except (ValueError, FileNotFoundError) as error:
            problems.append(str(error))
            continue
        except OSError as error:
            raise OSError(
                f"{error.filename or folder / name} cannot be read ({error.strerror or error}); make it readable, or "
                f"move {folder / name} away to go on without it"
            ) from error
        for problem in problems:
            warn(f"{problem}; resuming from the save before it, step {state.get('step')}")
            shutil.rmtree(folder / "damaged", ignore_errors=True)
            os.replace(folder / "last", folder / "damaged")
        return folder / name, state
    if problems:
        raise ValueError(f"no readable checkpoint under {folder}: {'; '.join(problems)}; --fresh starts over")
    return None


def _read_state(folder: Path, check: Callable[[dict], object]) -> dict:
    """state.json of one state, whose files it checks against their hashes and `check`. Older states have no hashes."""
    path = folder / STATE
    state = read_json(path)
    names = [name for name in hashes_in(state, path) if name != STATE] or [TENSORS]
    for name in names:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}, which {path} names, does not exist")
        read_tensors(folder / name)
    check_hashes(folder, state, names, path)
    values = {key: value for key, value in state.items() if key != HASHES}
    check_values(values, state, STATE, path)
    try:
        check(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return values


# 2) Tensors.


def state_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Trainable parameters, buffers and optimizer moments as one flat dict: the tensors themselves, on their device.

    Keys are `model/NAME`, `buffer/NAME` and `optimizer/NAME/MOMENT`. Frozen parameters are left out: they are the
    backbone's, which is on disk already.
    """
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if strange := set(optimizer.state) - set(named.values()):
        raise RuntimeError(f"the optimizer knows {len(strange)} parameters that the module does not have")
    tensors = {f"model/{name}": p for name, p in named.items()}
    tensors |= {f"buffer/{name}": b for name, b in module.named_buffers()}
    for name, p in named.items():
        for key, value in optimizer.state.get(p, {}).items():
            tensors[f"optimizer/{name}/{key}"] = torch.as_tensor(value)
    return {name: tensor.detach() for name, tensor in tensors.items()}


def pack_state(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """`state_tensors` on the CPU. Copies, because tied or sliced tensors share memory, which safetensors refuses."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in state_tensors(module, optimizer).items()}


def restore(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Fill module and optimizer from a state that `find_state` found. All processes of a training call it together.

    Whoever wrote the state, one process or several with a part of each tensor, and whoever reads it. Raises what
    `unpack_state` raises.
    """
    sharded = any(hasattr(p, "full_tensor") for p in module.parameters())  # a DTensor
    if (folder / TENSORS).is_file() and not sharded:
        unpack_state(read_tensors(folder / TENSORS), module, optimizer)
        return
    import torch.distributed.checkpoint as dcp

    reader = _hf_storage().HuggingFaceStorageReader(str(folder))
    shapes = {name: stored.size for name, stored in reader.read_metadata().state_dict_metadata.items()}
    targets = _targets(shapes, module, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a single process, that it is one
        dcp.load(targets, storage_reader=reader)


def unpack_state(tensors: Mapping[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Inverse of `pack_state`. Raises ValueError for an extra, missing or misshapen tensor; nothing is copied then.

    Only optimizer moments may be missing: a parameter that never had a gradient has none.
    """
    # copies: a tensor read from disk may lie in the mapped file, which Windows does not rename
    for name, target in _targets({name: x.shape for name, x in tensors.items()}, module, optimizer).items():
        target.copy_(tensors[name])


def _targets(
    shapes: Mapping[str, torch.Size], module: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """What saved tensors of these names and shapes are to be copied into; moments are made. ValueError as above."""
    # first the names: none missing, none unknown
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    targets = {f"model/{name}": p.detach() for name, p in named.items()}
    targets |= {f"buffer/{name}": b for name, b in module.named_buffers()}
    moments = {name: name.split("/") for name in shapes if name.startswith("optimizer/")}
    allowed = {name for name, (_, owner, _) in moments.items() if owner in named} | {*GENERATORS}
    odd = sorted((set(shapes) - set(targets) - allowed) | (set(targets) - set(shapes)))
    if odd:
        raise ValueError(f"the saved state has other tensors than this model, {len(odd)} of them, first {odd[0]}")
    # then the shapes
    wanted = {name: target.shape for name, target in targets.items()}
    wanted |= {name: named[owner].shape for name, (_, owner, key) in moments.items() if key != "step"}
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise ValueError(f"{name}: saved shape {tuple(shapes[name])}, model {tuple(shape)}")
    # all of it fits
    for name, (_, owner, key) in moments.items():
        p = named[owner]
        # on the device, step counter too: a fused optimizer keeps it there
        moment = torch.zeros((), device=p.device) if key == "step" else torch.zeros_like(p, requires_grad=False)
        targets[name] = optimizer.state[p][key] = moment
    return targets


def _hf_storage() -> Any:
    """PyTorch's reader and writer of parts of tensors in safetensors files. Its other formats are pickles."""
    try:
        from torch.distributed.checkpoint import hf_storage
    except ImportError as error:
        raise ValueError(f"a sharded state needs PyTorch 2.9 or newer, this is {torch.__version__}") from error
    return hf_storage


# 3) What a state is of.


def differences(saved: dict, now: dict) -> list[str]:
    """`width 32 there, 64 here` for every value that differs between two sets of settings, looking into dicts."""
    lines = []
    for key in saved | now:
        there = saved.get(key)
        here = now.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            lines += differences(there, here)
        elif there != here:
            lines.append(f"{key} {there!r} there, {here!r} here")
    return lines
