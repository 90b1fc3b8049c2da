"""The VQ-VAE's convolutions on a CPU: another layout, another gradient, and the same numbers as torch's."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import seeded

from motiongpt import vqvae as V
from motiongpt.config import VQVAEConfig
from motiongpt.kernels import convolution
from motiongpt.kernels.convolution import convolve, doubled

TINY = VQVAEConfig(feature_dim=23, joint_dim=6, codes=16, code_dim=8, width=12, dead_below=0.0)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype).requires_grad_()


def with_gradients(function, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What `function` makes of tensors, and the gradients of a weighted sum of it."""
    out = function(*inputs)
    weights = torch.randn(out.shape, generator=seeded(9), dtype=torch.float64).to(out.dtype)
    return out, *torch.autograd.grad((out * weights).sum(), inputs)


# kernel, stride, padding, dilation: those of the network, causal ones, and one with taps that see zeros only
SHAPES = [
    (3, 1, 1, 1),
    (3, 1, 3, 3),
    (3, 1, 9, 9),
    (1, 1, 0, 1),
    (4, 2, 1, 1),
    (3, 1, 0, 1),
    (4, 2, 0, 1),
    (5, 3, 4, 2),
]


@pytest.mark.parametrize("frames", [9, 16, 21])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs_convolution(shape, frames):
    kernel, *others = shape
    x, weight, bias = drawn(3, 5, frames), drawn(7, 5, kernel, seed=1), drawn(7, seed=2)
    ours = with_gradients(lambda x, w, b: convolve(x, w, b, *others), x, weight, bias)
    theirs = with_gradients(lambda x, w, b: F.conv1d(x, w, b, *others), x, weight, bias)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=0)  # float64: the same sums in another order


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_frames_that_come_twice(causal, rows):
    conv = V.convolution(replace(TINY, causal=causal), 12, 12).double()
    x = drawn(rows, 12, 7)
    inputs = x, conv.weight, conv.bias
    ours = with_gradients(lambda *inputs: doubled(*inputs, causal), *inputs)
    theirs = with_gradients(lambda *_: conv(x.repeat_interleave(2, dim=-1)), *inputs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-12, rtol=0)  # float64: the same sums in another order


def step(lengths: torch.Tensor | None, autocast: bool = False) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The loss per frame of a tiny network in training, and its gradients."""
    torch.manual_seed(0)
    model = V.VQVAE(TINY)
    motion = drawn(4, 32, 23, dtype=torch.float32).detach()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        total, count, _ = model.loss(motion, lengths)
    loss = total / count
    return loss.detach(), list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("lengths", [None, [32, 30, 17, 8]])
def test_a_step_is_that_of_the_plain_network(lengths, monkeypatch):
    lengths = None if lengths is None else torch.tensor(lengths)
    loss, gradients = step(lengths)
    monkeypatch.setattr(convolution, "convolve", F.conv1d)
    monkeypatch.setattr(V, "doubled", lambda x, w, b, causal: F.conv1d(x.repeat_interleave(2, dim=-1), w, b, padding=1))
    plain_loss, plain_gradients = step(lengths)
    torch.testing.assert_close(loss, plain_loss, rtol=1e-5, atol=0)
    for mine, other in zip(gradients, plain_gradients, strict=True):
        # fp32: the same sums in another order, through 30 layers
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5 * float(other.abs().max()) + 1e-7)


def test_a_step_in_bf16_is_near_that_in_fp32():
    loss, gradients = step(None)
    low_loss, low_gradients = step(None, autocast=True)
    assert all(gradient.dtype == torch.float32 for gradient in low_gradients)
    torch.testing.assert_close(low_loss, loss, rtol=1e-2, atol=0)  # bf16 has 8 bits: 4e-3 of a number
    for low, full in zip(low_gradients, gradients, strict=True):
        # of the direction: a number of few bits after 30 layers, and a code may be another one
        assert float(F.cosine_similarity(low.flatten(), full.flatten(), dim=0)) > 0.95


def test_rows_without_a_gradient_need_none():
    """Frozen weights, and motion that asks for no gradient: the function computes only what is asked for."""
    x, weight, bias = drawn(2, 5, 8).detach(), drawn(7, 5, 3, seed=1), drawn(7, seed=2).detach()
    (of_weight,) = torch.autograd.grad(convolve(x, weight, bias, 1, 1).sum(), weight)
    expected = F.conv1d(x, weight, bias, 1, 1).sum()
    torch.testing.assert_close(of_weight, torch.autograd.grad(expected, weight)[0])
