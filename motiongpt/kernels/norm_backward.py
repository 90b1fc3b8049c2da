"""The backward pass of RMSNorm by its formula, with a third of the passes over x that torch's own takes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class NormFunction(torch.autograd.Function):
    """`plain(x, weight, eps)`, which is `layers.norm`. Of the forward pass it keeps x (..., D) and weight (D,) alone.

    With r = 1 / rms(x) and g the gradient of the result:

        dx = r (g w - x r^2 mean(g w x))      dw = sum g x r
    """

    @staticmethod
    def forward(
        ctx: Any, plain: Callable[[Tensor, Tensor, float], Tensor], x: Tensor, weight: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return plain(x, weight, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wide = x.float()
        r = (torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square() / x.shape[-1] + ctx.eps).rsqrt()
        gradient = gradient.float()
        d_weight = None
        if ctx.needs_input_grad[2]:
            d_weight = (gradient * wide * r).flatten(0, -2).sum(0).to(weight.dtype)
        d_x = gradient * weight.float()
        mean = (d_x * wide).mean(-1, keepdim=True)
        return None, d_x.addcmul_(wide, -mean * r * r).mul_(r).to(x.dtype), d_weight, None
