"""Adapted linear layers in training, with fewer copies than `lora.LoRALinear.forward`, which is the formula.

The formula as it stands keeps x once for every product, and every sum is a new tensor. Here x is kept once, the A of
all layers that read it are one product, and the low-rank terms are added in place, in both directions.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Adapted(Protocol):
    """A layer y = x W^T + b + s x A^T B^T with W (out, in), A (r, in) and B (out, r); `lora.LoRALinear` is one."""

    weight: Tensor
    bias: Tensor | None
    lora_A: Tensor
    lora_B: Tensor
    scale: float
    dropout: nn.Module
    merged: bool
    training: bool


def is_for(layer: Adapted) -> bool:
    """Whether `products` may compute a layer: its adapter is in training, without dropout of the input."""
    return (
        torch.is_grad_enabled()
        and not (layer.merged or layer.weight.requires_grad)
        and not (layer.training and isinstance(layer.dropout, nn.Dropout))
    )


def products(x: Tensor, layers: Sequence[Adapted]) -> tuple[Tensor, ...]:
    """The outputs (..., out_i) of layers that all read x (..., in)."""
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    matrices = [matrix for layer in layers for matrix in (layer.weight, layer.bias, layer.lora_A, layer.lora_B)]
    return ProductsFunction.apply(x.to(dtype), [layer.scale for layer in layers], *matrices)


class ProductsFunction(torch.autograd.Function):
    """y_i = x W_i^T + b_i + s_i x A_i^T B_i^T for several layers i, (..., in) -> (..., out_i) each.

    With W frozen, and g_i the gradient of y_i and l_i = x A_i^T (n, r):

        dx = sum_i g_i W_i + (s_i g_i B_i) A_i      dA_i = (s_i g_i B_i)^T x      dB_i = s_i g_i^T l_i
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: list[float], *matrices: Tensor | None) -> tuple[Tensor, ...]:
        rows = x.reshape(-1, x.shape[-1])  # (n, in)
        weights = [W.to(x.dtype) for W in matrices[::4]]
        biases = [b if b is None else b.to(x.dtype) for b in matrices[1::4]]
        As, Bs = matrices[2::4], matrices[3::4]
        A = torch.cat([A.to(x.dtype) for A in As])  # (R, in), R = r per layer
        low = rows @ A.T  # (n, R)
        outputs = []
        for W, b, B, s, own in zip(weights, biases, Bs, scales, low.split([len(A) for A in As], 1), strict=True):
            y = F.linear(rows, W, b).addmm_(own, B.to(x.dtype).T, alpha=s)
            outputs.append(y.view(*x.shape[:-1], -1))
        ctx.scales = scales
        ctx.save_for_backward(x, low, *weights, *As, *Bs)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, low, *matrices = ctx.saved_tensors
        count = len(ctx.scales)
        weights, As, Bs = matrices[:count], matrices[count : 2 * count], matrices[2 * count :]
        ranks = [len(A) for A in As]
        rows = x.reshape(-1, x.shape[-1])
        gs = [g.reshape(len(rows), -1) for g in gradients]
        layers = list(zip(gs, Bs, ctx.scales, low.split(ranks, 1), strict=True))
        # s_i g_i B_i and s_i g_i^T l_i: the scale on the small factor
        down = torch.cat([g @ (s * B).to(x.dtype) for g, B, s, _ in layers], 1)  # (n, R)
        d_B = [(g.T @ (s * own)).to(B.dtype) for g, B, s, own in layers]
        d_A = (down.T @ rows).split(ranks)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = down @ torch.cat([A.to(x.dtype) for A in As])
            for g, W in zip(gs, weights, strict=True):
                d_x.addmm_(g, W)
            d_x = d_x.view(x.shape)
        of_layers = [(None, None, a.to(A.dtype), b) for a, A, b in zip(d_A, As, d_B, strict=True)]
        return d_x, None, *[gradient for one in of_layers for gradient in one]
