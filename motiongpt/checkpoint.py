"""Training state that survives: atomic saves, one previous generation kept, loud loads.

A training state is a folder with `tensors.safetensors` (parameters, buffers, optimizer moments, generators) and
`state.json` (step, best score, everything that is not a tensor). It is written beside its place and renamed, so a
full disk or a kill leaves the old one as it was:

    state/last       the newest save            state/previous   the one before, used if `last` is damaged

It knows folders, tensors and JSON values; the caller knows what they mean.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from motiongpt.files.hashes import HASHES, check_hashes, check_values, file_hashes, values_hash
from motiongpt.files.store import read_json, read_tensors, write_json, write_tensors

TENSORS, STATE = "tensors.safetensors", "state.json"


def save_state(folder: Path, tensors: dict[str, Tensor], state: dict) -> None:
    """Write `folder/last`, and keep the former one as `folder/previous`.

    Whenever it is interrupted, `folder` holds at least one whole state.
    """
    folder = Path(folder)
    fresh = folder / ".new"
    last = folder / "last"
    previous = folder / "previous"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        write_tensors(fresh / TENSORS, tensors)
        hashes = file_hashes(fresh, [TENSORS]) | {STATE: values_hash(state)}
        write_json(fresh / STATE, state | {HASHES: hashes})
        # between the two renames there is no `last`: `previous` is then the newest
        if last.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.replace(last, previous)
        os.replace(fresh, last)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load_state(
    folder: Path, warn: Callable[[str], None], check: Callable[[dict], object] = lambda state: None
) -> tuple[dict[str, Tensor], dict] | None:
    """The newest readable (tensors, state.json) under `folder`, or None if it has none.

    A state is damaged if a file cannot be read, if it is not the one whose hash state.json remembers, or if `check`
    refuses the values of state.json with a ValueError. If `last` is damaged, `warn` gets a line that names the file,
    `previous` is used, and `last` is set aside as `damaged`: the next save would otherwise overwrite the good state
    with it. Raises ValueError if both are damaged.
    """
    folder = Path(folder)
    shutil.rmtree(folder / ".new", ignore_errors=True)  # of a save that was killed
    problems = []
    for name in ("last", "previous"):
        if not (folder / name).is_dir():
            continue
        try:
            tensors, state = _read_state(folder / name, check)
        except (ValueError, FileNotFoundError) as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warn(f"{problem}; resuming from the save before it, step {state.get('step')}")
            shutil.rmtree(folder / "damaged", ignore_errors=True)
            os.replace(folder / "last", folder / "damaged")
        return tensors, state
    if problems:
        raise ValueError(f"no readable checkpoint under {folder}: {'; '.join(problems)}; --fresh starts over")
    return None


def _read_state(folder: Path, check: Callable[[dict], object]) -> tuple[dict[str, Tensor], dict]:
    """One saved state, against its own hashes and `check`. Older states have no hashes."""
    path = folder / STATE
    tensors = read_tensors(folder / TENSORS)
    state = read_json(path)
    check_hashes(folder, state, [TENSORS], path)
    values = {key: value for key, value in state.items() if key != HASHES}
    check_values(values, state, STATE, path)
    try:
        check(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return tensors, values


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


def pack_state(module: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> dict[str, Tensor]:
    """Trainable parameters, buffers, optimizer moments and generator states as one flat dict of CPU tensors.

    Keys are `model/NAME`, `buffer/NAME`, `optimizer/NAME/MOMENT`, `rng/cpu` and, on CUDA, `rng/cuda`. Frozen
    parameters are left out: they are the backbone's, which is on disk already.
    """
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    tensors = {f"model/{name}": p for name, p in named.items()}
    tensors |= {f"buffer/{name}": b for name, b in module.named_buffers()}
    for name, p in named.items():
        for key, value in optimizer.state.get(p, {}).items():
            tensors[f"optimizer/{name}/{key}"] = torch.as_tensor(value)
    tensors["rng/cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["rng/cuda"] = torch.cuda.get_rng_state(device)
    # copies, because tied or sliced tensors share memory, which safetensors refuses to write
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def unpack_state(
    tensors: dict[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> None:
    """Inverse of `pack_state`. Raises ValueError for an extra, missing or misshapen tensor; nothing is copied then.

    Only optimizer moments may be missing: a parameter that never had a gradient has none.
    """
    # first the names: none missing, none unknown
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    targets = {f"model/{name}": p.data for name, p in named.items()}
    targets |= {f"buffer/{name}": b for name, b in module.named_buffers()}
    moments = {name: name.split("/") for name in tensors if name.startswith("optimizer/")}
    allowed = {name for name, (_, owner, _) in moments.items() if owner in named} | {"rng/cpu", "rng/cuda"}
    odd = sorted((set(tensors) - set(targets) - allowed) | (({"rng/cpu"} | set(targets)) - set(tensors)))
    if odd:
        raise ValueError(f"the saved state has other tensors than this model, {len(odd)} of them, first {odd[0]}")
    # then the shapes
    shapes = {name: target.shape for name, target in targets.items()}
    shapes |= {name: named[owner].shape for name, (_, owner, key) in moments.items() if key != "step"}
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{name}: saved shape {tuple(tensors[name].shape)}, model {tuple(shape)}")
    # now that all of it fits, copy
    for name, target in targets.items():
        target.copy_(tensors[name])
    for name, (_, owner, key) in moments.items():
        p = named[owner]
        # to the device, step counter too: a fused optimizer keeps it there;
        # a copy, because a tensor read from disk may lie in the mapped file, which Windows does not rename
        optimizer.state[p][key] = tensors[name].to(p.device, copy=True)
    try:
        torch.set_rng_state(tensors["rng/cpu"].cpu())
        if "rng/cuda" in tensors and device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng/cuda"].cpu(), device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"the state of the random generator is damaged ({error})") from error


def records_until(path: Path, step: int) -> str:
    """The lines of a metrics.jsonl up to `step`, without a line that is torn or damaged and what follows it."""
    kept = ""
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
            if record["step"] > step or not all(isinstance(value, int | float) for value in record.values()):
                break
        except (ValueError, TypeError, LookupError, RecursionError):
            break
        kept += line + "\n"
    return kept
