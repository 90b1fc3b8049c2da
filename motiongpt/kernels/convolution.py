"""Convolutions over frames, faster on a CPU than torch's: 0.9 of a training step's time in fp32, and 0.7 in bf16.

Channels lie side by side in memory, as motion has them: (B, C, F) is a transposed view of (B, F, C). torch would copy
that for a one-dimensional convolution, but not for one of pictures that are one pixel high. And oneDNN's gradient of
the weight is slow for short rows; here it is one matrix product per tap.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Conv1d(nn.Conv1d):
    """`nn.Conv1d`, computed by `convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, self.stride[0], self.padding[0], self.dilation[0])


def convolve(x: Tensor, weight: Tensor, bias: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
    """`F.conv1d`; several rows on a CPU go through `ConvolutionFunction`, which is slower for a single one."""
    if x.device.type != "cpu" or len(x) == 1:
        return F.conv1d(x, weight, bias, stride, padding, dilation)
    parts = x, weight, bias
    if torch.is_autocast_enabled("cpu"):  # a Function casts nothing by itself
        parts = (part.to(torch.get_autocast_dtype("cpu")) for part in parts)
    return ConvolutionFunction.apply(*parts, stride, padding, dilation)


def doubled(x: Tensor, weight: Tensor, bias: Tensor, causal: bool) -> Tensor:
    """What a convolution of 3 makes of `x` (B, C, F) with every frame twice: (B, C, 2 F), in 2/3 of the products.

    Of the three frames that an output sees, two are the same one, so their weights are added first.
    """
    first, second, third = weight.unbind(-1)
    start, end = torch.stack((first + second, third), -1), torch.stack((first, second + third), -1)
    before = F.pad(x, (1, 0))
    # seen from the frame itself, a causal convolution ends there, and the other one a half frame later
    even, odd = (start, end) if causal else (end, start)
    after = before if causal else F.pad(x, (0, 1))
    pairs = convolve(before, even, bias), convolve(after, odd, bias)  # (B, C, F) each
    return torch.stack([half.mT for half in pairs], dim=2).flatten(1, 2).mT


class ConvolutionFunction(torch.autograd.Function):
    """`F.conv1d` as one of pictures, and its gradients: x (B, inputs, F), weight (outputs, inputs, taps).

    Gradients of gradients are refused, as by all functions of this folder: RuntimeError. A loss that needs them, such
    as a gradient penalty, takes `F.conv1d`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = stride, padding, dilation
        return F.conv2d(x[:, :, None], weight[:, :, None], bias, (1, stride), (0, padding), (1, dilation))[:, :, 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.shape
        of_x, of_weight, of_bias = None, None, None
        if ctx.needs_input_grad[0]:
            sizes = (None, (1, stride), (0, padding), (1, dilation), False, (0, 0), 1, (True, False, False))
            rows = (t[:, :, None] for t in (grad, x, weight))  # one row of a picture each
            of_x = torch.ops.aten.convolution_backward(*rows, *sizes)[0][:, :, 0]
        if ctx.needs_input_grad[1]:
            taps = [_tap_gradient(x, grad, k * dilation - padding, stride) for k in range(weight.shape[-1])]
            of_weight = torch.stack(taps).permute(1, 2, 0)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2))
        return of_x, of_weight, of_bias, None, None, None


def _tap_gradient(x: Tensor, grad: Tensor, offset: int, stride: int) -> Tensor:
    """(outputs, inputs): how the loss changes with the weight by which output i sees input i * stride + offset."""
    # the outputs that see a frame there, not the zeros beside the clip
    first = max(0, -(offset // stride))
    last = min(grad.shape[-1], (x.shape[-1] - 1 - offset) // stride + 1)
    if first >= last:
        return grad.new_zeros(grad.shape[1], x.shape[1])
    seen = x.mT[:, first * stride + offset : (last - 1) * stride + offset + 1 : stride]  # (B, n, inputs)
    return grad.mT[:, first:last].flatten(0, 1).T @ seen.flatten(0, 1)
