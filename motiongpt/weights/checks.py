"""What every load of weights shares: modules without memory, a total check of keys and shapes,
renamed keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Unfilled(TorchFunctionMode):
    """`with Unfilled():` builds modules without memory and initial weights,
    to be filled from a file.

    Draws are skipped: on the meta device they would change nothing, yet import torch's compiler,
    which takes longer than the rest of a load.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (Tensor.normal_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            # an init function returns the tensor that it was given
            return args[0] if args else kwargs["tensor"]
        with torch.device("meta"):
            return func(*args, **(kwargs or {}))


def check_total(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]], source: Path | str) -> None:
    """ValueError unless both name the same tensors with the same shapes.
    It lists the first few that differ."""

    def few(keys: list[str]) -> str:
        return f"{len(keys)} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else "none"

    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    if missing or unexpected:
        raise ValueError(f"{source} does not fit the model: missing {few(missing)}, unexpected {few(unexpected)}")
    for key, shape in expected.items():
        if tuple(found[key]) != tuple(shape):
            raise ValueError(f"{source}: {key} is {tuple(found[key])}, the model has {tuple(shape)}")


def rename(key: str, table: Mapping[str, str]) -> str:
    """Replace the start of a key as `table` says. KeyError if no entry fits."""
    for start, other in table.items():
        if key.startswith(start):
            return other + key[len(start) :]
    raise KeyError(key)
