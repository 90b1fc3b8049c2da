"""The backward pass of the rotary embedding: its gradient, turned back."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class RotationFunction(torch.autograd.Function):
    """`plain(x, cos, sin)`, which is `layers.rotate`: x (B, H, T, d), tables (T, d) or (B, 1, T, d).

    It keeps nothing of x. torch would differentiate four operations one by one.
    """

    @staticmethod
    def forward(
        ctx: Any, plain: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, cos: Tensor, sin: Tensor
    ) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.plain = plain
        return plain(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return None, ctx.plain(gradient, cos, -sin), None, None
