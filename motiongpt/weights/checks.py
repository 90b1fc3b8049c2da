"""What every load of weights shares: modules without memory, a total check of keys and shapes, renamed keys, and the
order of rows in Meta's own layout."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

WRAPPERS = {
    "_orig_mod.": "torch.compile",
    "module.": "a data-parallel wrapper",
    "base_model.model.": "PEFT",
}
"""Start of the keys that a wrapped model writes -> what wrapped it."""


class Unfilled(TorchFunctionMode):
    """`with Unfilled():` builds modules without memory and initial weights, to be filled from a file.

    Draws are skipped: on the meta device they would change nothing, yet import torch's compiler, which takes longer
    than the rest of a load.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (Tensor.normal_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            # an init function returns the tensor that it was given
            return args[0] if args else kwargs["tensor"]
        with torch.device("meta"):
            return func(*args, **(kwargs or {}))


def check_total(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]], source: Path | str) -> None:
    """ValueError unless both name the same tensors with the same shapes. It lists the first few that differ."""

    def few(keys: list[str]) -> str:
        return f"{len(keys)} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else "none"

    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    if missing or unexpected:
        line = f"{source} does not fit the model: missing {few(missing)}, unexpected {few(unexpected)}"
        wrapped = next((start for start in WRAPPERS if unexpected and unexpected[0].startswith(start)), None)
        if wrapped and not any(key.startswith(wrapped) for key in expected):
            line += f"; {wrapped}... are the keys of a model inside {WRAPPERS[wrapped]}: save the model inside"
        raise ValueError(line)
    for key, shape in expected.items():
        if tuple(found[key]) != tuple(shape):
            raise ValueError(f"{source}: {key} is {tuple(found[key])}, the model has {tuple(shape)}")


def rename(key: str, table: Mapping[str, str]) -> str:
    """Replace the start of a key as `table` says. KeyError if no entry fits."""
    for start, other in table.items():
        if key.startswith(start):
            return other + key[len(start) :]
    raise KeyError(key)


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor with infinite or undefined numbers, such as one rounded to fp16, which ends at 65,504."""
    real = (name for name, tensor in tensors.items() if tensor.is_floating_point())
    return next((name for name in real if not torch.isfinite(tensors[name]).all()), None)


def half_split(rows: Tensor, heads: int) -> Tensor:
    """Rows of q or k in Meta's order, which rotates neighbours, in ours: row i goes with row i + d / 2.

    rows: (heads * d, C). There, row i of a head is at 2 i, and row d / 2 + i at 2 i + 1.
    """
    count, width = rows.shape
    return rows.view(heads, count // heads // 2, 2, width).transpose(1, 2).reshape(count, width)
