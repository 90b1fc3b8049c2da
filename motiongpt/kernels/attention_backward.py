"""The backward pass of attention on a CPU in bf16, as five products.

torch's own takes three times as long there, a quarter of a training step.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MAX_SCORES = 1 << 26
"""Of one row of a batch, (H, T, U): beyond, `AttentionFunction` would take 512 MB for them."""


def is_for(q: Tensor, k: Tensor) -> bool:
    """Whether `AttentionFunction` is worth it for queries (B, H, T, d) and keys (B, K, U, d)."""
    trains = torch.is_grad_enabled() and q.requires_grad
    scores = q.shape[1] * q.shape[2] * k.shape[2]
    return trains and q.device.type == "cpu" and q.dtype == torch.bfloat16 and scores <= MAX_SCORES


class AttentionFunction(torch.autograd.Function):
    """`plain(q, k, v, mask, causal, scale)`, which is `layers.attend`. The scores are in fp32, as in torch's kernel; a
    row of the batch at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        plain: Callable[[Tensor, Tensor, Tensor, Tensor | None, bool, float | None], Tensor],
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        causal: bool,
        scale: float | None,
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, mask)
        ctx.causal, ctx.scale = causal, q.shape[-1] ** -0.5 if scale is None else scale
        return plain(q, k, v, mask, causal, scale)  # without a gradient, so by torch's kernel

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask = ctx.saved_tensors
        (B, H, T, d), (K, U) = q.shape, k.shape[1:3]
        visible = torch.ones(T, U, dtype=torch.bool).tril() if ctx.causal else mask
        hidden = None if visible is None else ~visible.expand(B, 1, T, U)
        found = []
        for b in range(B):
            # queries that share a key are rows of one product
            rows, keys, values = q[b].reshape(K, -1, d), k[b].contiguous(), v[b].contiguous()
            out = gradient[b].reshape(K, -1, d)  # (K, H / K * T, d)
            scores = torch.bmm(rows.float() * ctx.scale, keys.float().mT)  # (K, H / K * T, U)
            if hidden is not None:
                scores.view(H, T, U).masked_fill_(hidden[b], -math.inf)
            p = scores.softmax(-1).to(q.dtype)
            d_p = torch.bmm(out, values.mT)
            d_scores = torch.ops.aten._softmax_backward_data(d_p, p, -1, p.dtype)
            d_q = torch.bmm(d_scores, keys).mul_(ctx.scale).view(H, T, d)
            found.append((d_q, torch.bmm(d_scores.mT, rows).mul_(ctx.scale), torch.bmm(p.mT, out)))
        d_q, d_k, d_v = (torch.stack(parts) for parts in zip(*found, strict=True))
        return None, d_q, d_k, d_v, None, None, None
