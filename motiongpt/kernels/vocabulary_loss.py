"""Cross-entropy over a large vocabulary that never keeps the logits of all labels.

    hidden (n, C) -- a chunk of rows -- logits (rows, V) -- softmax -- minus the target = gradient of the logits
                                                                       -- times the tables: gradients of hidden, tables

The gradient of a sum of cross-entropies is known as soon as the logits are. So it is computed with the loss, a chunk of
labels at a time and in the place of the logits, and only what has the shape of `hidden` and of trained tables is kept.
With 152,000 words and 256 labels, the logits, their log-probabilities and their gradient would be 400 MB at the
moment when all activations are in memory, and most of the time of a step would go into moving them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 1 << 26
"""Logits of a chunk: enough rows for a full-speed product, few enough to be small beside the activations."""

CACHED = 1 << 20
"""Logits of a few rows, whose fp32 values stay in a core's cache from the exponential to the gradient."""

Logits = Callable[[Tensor], Sequence[Tensor]]
"""Hidden states (n, C) -> their logits in parts (n, V_i), in the order of ids."""


def plain_losses(hidden: Tensor, logits: Logits, targets: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """The sum () of the cross-entropies of hidden (n, C) with targets (n,) in fp32, and each of them (n,).

    Only the sum is smoothed and has a gradient. This is the definition; it holds several tensors of n V.
    """
    # a sum over the whole vocabulary loses its small terms in half precision
    return _losses(torch.cat([part.float() for part in logits(hidden)], -1).log_softmax(-1), targets, label_smoothing)


def chunked_losses(
    hidden: Tensor, logits: Logits, targets: Tensor, label_smoothing: float, tables: Sequence[Tensor], width: int
) -> tuple[Tensor, Tensor]:
    """`plain_losses` in less time and memory. `tables` are what `logits` reads beside its argument; `width` is V.

    fp16 is not for it: a gradient that is computed before the scale of the loss is known vanishes there.
    """
    tables = [table for table in tables if table.requires_grad]
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or bool(tables))
    return _ChunkedLosses.apply(wanted, width, hidden, logits, targets, label_smoothing, *tables)


def _losses(log_p: Tensor, targets: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """Log-probabilities (n, V) and targets (n,) -> the sum (), smoothed, and each loss (n,)."""
    total = F.nll_loss(log_p, targets, reduction="sum")
    # as torch does it: this share of the probability is spread evenly over the vocabulary
    if label_smoothing:
        uniform = (-log_p.sum(-1)).sum()
        total = total * (1 - label_smoothing) + uniform * (label_smoothing / log_p.shape[-1])
    return total, -log_p.detach().gather(-1, targets[:, None])[:, 0]


class _ChunkedLosses(torch.autograd.Function):
    """The loss with its gradients of hidden states and tables, which `backward` only has to scale."""

    @staticmethod
    def forward(
        ctx: Any,
        wanted: bool,
        width: int,
        hidden: Tensor,
        logits: Logits,
        targets: Tensor,
        label_smoothing: float,
        *tables: Tensor,
    ) -> tuple[Tensor, Tensor]:
        n = len(hidden)
        total = torch.zeros((), device=hidden.device)
        single = torch.empty(n, device=hidden.device)
        gradients = [torch.empty_like(hidden), *map(torch.zeros_like, tables)] if wanted else []
        for chunk in _slices(n, CHUNK // width):
            with torch.set_grad_enabled(wanted):
                own = hidden[chunk].detach().requires_grad_(wanted)
                parts = logits(own)
            in_place = [part.detach() for part in parts]
            cached = CACHED // width if hidden.device.type == "cpu" else n  # a GPU wants few and large kernels
            for rows in _slices(len(own), cached):
                log_p = torch.cat([part[rows] for part in in_place], -1).float().log_softmax(-1)
                value, single[chunk][rows] = _losses(log_p, targets[chunk][rows], label_smoothing)
                total += value
                if wanted:
                    _fill([part[rows] for part in in_place], log_p, targets[chunk][rows], label_smoothing)
                del log_p  # or the next slice would be computed beside it
            if wanted:
                gradients[0][chunk], *found = torch.autograd.grad(parts, (own, *tables), in_place)
                for sum_ in gradients[1:]:
                    sum_ += found.pop(0)
            del parts, in_place  # or the next chunk would
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(single)
        return total, single

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, *of_tables = (gradient * scale.to(gradient.dtype) for gradient in ctx.saved_tensors)
        return None, None, of_hidden, None, None, None, *of_tables


def _slices(n: int, rows: int) -> list[slice]:
    """0 .. n - 1 in as few slices of at most `rows` as there can be, of nearly equal length."""
    count = -(-n // max(1, rows))
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def _fill(parts: list[Tensor], log_p: Tensor, targets: Tensor, label_smoothing: float) -> None:
    """Put the gradients of the summed loss in the place of its logits, parts (n, V_i), and of log_p (n, V)."""
    gradient = log_p.exp_()
    if label_smoothing:
        gradient -= label_smoothing / gradient.shape[-1]
    gradient[torch.arange(len(targets), device=targets.device), targets] -= 1 - label_smoothing
    for part, values in zip(parts, gradient.split([part.shape[-1] for part in parts], -1), strict=True):
        part.copy_(values)
