"""Attention within samples that lie one after another in the rows of a batch, none of which sees another.

    row   a a a b b .      who sees whom   a  1 . . . . .      positions   0 1 2 0 1 0
                                           a  1 1 . . . .
                                           a  1 1 1 . . .
                                           b  . . . 1 . .
                                           b  . . . 1 1 .
                                           .  . . . . . 1      padding is a sample, at which nobody looks

`Samples.mask` is this picture and the definition, from which a GPU's fused kernel computes. A CPU takes one sample at a
time instead (`by_sample`): the empty parts of the picture cost nothing there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool, float | None], Tensor]
"""q (B, H, T, d), k and v (B, K, T, d), mask, causal, scale -> (B, H, T, d); `layers.attend`."""


@dataclass(frozen=True)
class Samples:
    """The lengths of the samples in each row; every row has T tokens. With a `window`, a position sees so many, the
    last of them its own."""

    rows: tuple[tuple[int, ...], ...]
    window: int = 0

    @classmethod
    def of(cls, lengths: Sequence[Sequence[int]], T: int) -> "Samples":
        """Rows of samples, the rest of each row of T tokens being padding."""
        return cls(tuple((*row, T - sum(row)) if sum(row) < T else tuple(row) for row in lengths))

    def within(self, window: int) -> "Samples":
        return replace(self, window=window)

    def positions(self, device: torch.device) -> Tensor:
        """(B, T): they begin anew in each sample."""
        return torch.stack([torch.cat([torch.arange(t, device=device) for t in row]) for row in self.rows])

    def mask(self, device: torch.device) -> Tensor:
        """Which keys each query sees: (B, 1, T, T), True = visible."""
        owners = [torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in self.rows]
        owner = torch.stack(owners).to(device)  # (B, T)
        same = owner[:, :, None] == owner[:, None]
        return (same & seen(owner.shape[1], self.window, device))[:, None]


def seen(T: int, window: int, device: torch.device) -> Tensor:
    """(T, T): a query sees keys up to its own, with a window only the last ones."""
    visible = torch.ones(T, T, dtype=torch.bool, device=device).tril()
    return visible.triu(1 - window) if window else visible


def by_sample(attend: Attend, q: Tensor, k: Tensor, v: Tensor, samples: Samples, scale: float | None) -> Tensor:
    """`attend` with `samples.mask`, a sample at a time."""
    B, _, T, d = q.shape
    lengths = [t for row in samples.rows for t in row]
    # all rows as one: (B, H, T, d) lies as (B, T, H, d) in memory, so nothing is copied
    split = (x.transpose(1, 2).reshape(1, B * T, -1, d).transpose(1, 2).split(lengths, 2) for x in (q, k, v))
    found = []
    for own in zip(*split, strict=True):
        t = own[0].shape[2]
        mask = seen(t, samples.window, q.device) if 0 < samples.window < t else None
        found.append(attend(*own, mask, mask is None, scale).transpose(1, 2))
    return torch.cat(found, 1).view(B, T, -1, d).transpose(1, 2)
