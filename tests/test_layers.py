"""The bricks alone: norm, rotary embedding, grouped attention, cache."""

from dataclasses import replace

import pytest
import torch
from cases import for_each

from motiongpt.config import LLM_PRESETS
from motiongpt.layers import MLP, Attention, KVCache, RMSNorm, attend, rotary, rotate

CLOSE = dict(atol=1e-5, rtol=1e-5)  # fp32, the same sums in another order


def test_norm_is_its_formula():
    norm = RMSNorm(16, eps=1e-3)
    with torch.no_grad():
        norm.weight.normal_()
    x = torch.randn(3, 16)
    torch.testing.assert_close(norm(x), x / (x.pow(2).mean(-1, keepdim=True) + 1e-3).sqrt() * norm.weight)


def test_norm_with_unit_offset():
    """Gemma's: it multiplies by 1 + weight, and takes that sum in fp32 even if the weights are bf16."""
    norm = RMSNorm(16, eps=1e-3, unit_offset=True)
    assert not norm.weight.any()
    with torch.no_grad():
        norm.weight.normal_(std=0.01)
    x = torch.randn(3, 16)
    expected = x / (x.pow(2).mean(-1, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(norm(x), expected * (1 + norm.weight))
    norm.to(torch.bfloat16)
    out = norm(x.to(torch.bfloat16))
    x = x.to(torch.bfloat16).float()
    expected = x / (x.pow(2).mean(-1, keepdim=True) + 1e-3).sqrt() * (1 + norm.weight.float())
    assert out.dtype == torch.bfloat16 and torch.equal(out, expected.to(torch.bfloat16))


@pytest.mark.parametrize("weight_dtype", [torch.float32, torch.bfloat16])
def test_norm_of_half_precision_input_reduces_in_fp32(weight_dtype):
    """4,096 ones: a bf16 running sum stops growing at 256. The result may be off by one bf16 rounding."""
    norm = RMSNorm(4096, eps=0.0).to(weight_dtype)
    out = norm(torch.full((4096,), 3.0, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), torch.ones(4096), atol=2**-8, rtol=0)


def test_rotation_keeps_lengths_and_depends_on_distance_only():
    cos, sin = rotary(torch.arange(40), 8, 100.0, torch.float32)
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    rotated_q, rotated_k = rotate(q.expand(1, 1, 40, 8), cos, sin), rotate(k.expand(1, 1, 40, 8), cos, sin)
    torch.testing.assert_close(rotated_q.norm(dim=-1), q.norm(dim=-1).expand(1, 1, 40), **CLOSE)
    scores = rotated_q[0, 0] @ rotated_k[0, 0].T  # (40, 40)
    torch.testing.assert_close(scores[5:, 5:], scores[:-5, :-5], **CLOSE)
    assert not torch.allclose(scores[0, 0], scores[5, 0])


def test_rotation_pairs_halves():
    """Half-split: channel i turns with channel i + d/2, by t * theta^(-2i/d) radians."""
    cos, sin = rotary(torch.tensor([3]), 4, 100.0, torch.float32)
    x = torch.zeros(1, 1, 1, 4)
    x[..., 1] = 1.0
    angle = torch.tensor(3 * 100.0**-0.5)
    torch.testing.assert_close(rotate(x, cos, sin)[0, 0, 0], torch.tensor([0.0, angle.cos(), 0.0, angle.sin()]))


def test_angles_are_fp32_for_bf16_models():
    """Position 1001 in bf16 would be 1000, and the angle of the first channel would be off by one radian."""
    cos, _ = rotary(torch.tensor([1001]), 8, 1e6, torch.bfloat16)
    torch.testing.assert_close(cos[0, 0].float(), torch.tensor(1001.0).cos(), atol=2**-8, rtol=0)  # one bf16 rounding


@for_each("T", [1, 5])
@for_each("K", [1, 2, 4])
def test_grouped_attention_is_attention_with_repeated_keys(T, K):
    B, H, U, d = 2, 4, 5, 8
    q, k, v = torch.randn(B, H, T, d), torch.randn(B, K, U, d), torch.randn(B, K, U, d)
    mask = torch.ones(B, 1, T, U, dtype=torch.bool).tril(U - T)
    scores = q @ k.repeat_interleave(H // K, 1).mT / d**0.5
    expected = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v.repeat_interleave(H // K, 1)
    torch.testing.assert_close(attend(q, k, v, mask, causal=False), expected, **CLOSE)
    if T == U:
        torch.testing.assert_close(attend(q, k, v, None, causal=True), expected, **CLOSE)


def test_attention_is_causal():
    config = LLM_PRESETS["tiny"]
    attention = Attention(config, 0)
    cos, sin = rotary(torch.arange(6), config.head_dim, config.rope_theta, torch.float32)
    x = torch.randn(1, 6, config.hidden_size)
    changed = x.clone()
    changed[:, 4:] += 1.0
    before, after = attention(x, cos, sin), attention(changed, cos, sin)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_cache_returns_what_was_appended():
    cache = KVCache(layers=2, shape=(1, 2, 5, 4), dtype=torch.float32, device="cpu")
    k, v = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    keys, values = cache.append(1, k, v)
    assert torch.equal(keys, k) and torch.equal(values, v)
    assert cache.length == 0 and not cache.keys[0].any()  # the model advances it, after all layers
    cache.length = 3
    keys, _ = cache.append(1, k[:, :, :1], v[:, :, :1])
    assert torch.equal(keys, torch.cat((k, k[:, :, :1]), 2))


@pytest.mark.parametrize("activation", ["silu", "gelu_tanh"])
def test_mlp_is_gated(activation):
    mlp = MLP(replace(LLM_PRESETS["tiny"], activation=activation))
    x = torch.randn(3, 32)
    gate = x @ mlp.gate_proj.weight.T
    tanh = torch.tanh((2 / torch.pi) ** 0.5 * (gate + 0.044715 * gate**3))  # Hendrycks and Gimpel 2016
    gate = gate * gate.sigmoid() if activation == "silu" else gate * (1 + tanh) / 2
    expected = (gate * (x @ mlp.up_proj.weight.T)) @ mlp.down_proj.weight.T
    torch.testing.assert_close(mlp(x), expected, **CLOSE)
