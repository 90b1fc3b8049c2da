"""What every load of weights checks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Unfilled(TorchFunctionMode):
    """`with Unfilled():` builds modules without memory or first weights, for a file that holds every tensor of them.

    On the meta device a draw changes nothing, but it imports torch's compiler, which takes longer than all the rest.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (Tensor.normal_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return args[0] if args else kwargs["tensor"]
        with torch.device("meta"):
            return func(*args, **(kwargs or {}))


def check_total(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]], source: Path | str) -> None:
    """ValueError unless both name the same tensors with the same shapes; it lists the first few that disagree."""

    def few(keys: list[str]) -> str:
        return f"{len(keys)} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else "none"

    missing, unexpected = [k for k in expected if k not in found], [k for k in found if k not in expected]
    if missing or unexpected:
        raise ValueError(f"{source} does not fit the model: missing {few(missing)}, unexpected {few(unexpected)}")
    for key, shape in expected.items():
        if tuple(found[key]) != tuple(shape):
            raise ValueError(f"{source}: {key} is {tuple(found[key])}, the model has {tuple(shape)}")


def rename(key: str, table: Mapping[str, str]) -> str:
    """Replace the start of a key by a table; KeyError where no entry fits."""
    for start, other in table.items():
        if key.startswith(start):
            return other + key[len(start) :]
    raise KeyError(key)
