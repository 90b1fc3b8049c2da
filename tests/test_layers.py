"""The bricks alone: norm, rotary embedding, grouped attention, cache."""

from dataclasses import replace

import pytest
import torch
from cases import for_each

from motiongpt.config import LLM_PRESETS
from motiongpt.kernels import attention_backward
from motiongpt.kernels.attention_backward import AttentionFunction
from motiongpt.kernels.norm_backward import NormFunction
from motiongpt.layers import MLP, Attention, KVCache, RMSNorm, attend, norm, rotary, rotate

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
    cache.keys[0].zero_()
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


# ---- backward passes that are written out: the gradients that torch finds for the plain formula ----------------------


def gradients(function, inputs, weight) -> list[torch.Tensor]:
    inputs = [t.detach().clone().requires_grad_() for t in inputs]
    out = function(*inputs)
    return [out.detach(), *torch.autograd.grad((out.float() * weight).sum(), inputs)]


@for_each("x_dtype, weight_dtype", [(torch.float32,) * 2, (torch.bfloat16,) * 2, (torch.bfloat16, torch.float32)])
def test_gradient_of_the_norm(x_dtype, weight_dtype):
    """In fp32 the sums of 16 terms are in another order. In bf16 both reduce in fp32 and round once: 2 ** -8 of the
    largest, and of sums over 15 rows 2 ** -6."""
    x = (3 * torch.randn(3, 5, 16)).to(x_dtype)
    weight, of_out = torch.randn(16).to(weight_dtype), torch.randn(3, 5, 16)
    wanted = gradients(lambda x, w: norm(x, w, 0.1), (x, weight), of_out)
    found = gradients(lambda x, w: NormFunction.apply(norm, x, w, 0.1), (x, weight), of_out)
    assert torch.equal(found[0], wanted[0])
    for a, b, share in zip(found[1:], wanted[1:], (2**-8, 2**-6), strict=True):
        assert a.dtype == b.dtype
        low = b.dtype == torch.bfloat16
        torch.testing.assert_close(a, b, rtol=0, atol=float(b.abs().max()) * share if low else 1e-5)


def test_norm_in_training_is_the_written_one(monkeypatch):
    monkeypatch.setattr(NormFunction, "apply", lambda *inputs: "written")
    assert RMSNorm(4, 1e-6)(torch.ones(4)) == "written"
    with torch.no_grad():
        assert isinstance(RMSNorm(4, 1e-6)(torch.ones(4)), torch.Tensor)


def test_gradient_of_the_rotation():
    cos, sin = rotary(torch.arange(5), 8, 1e4, torch.float32)
    x, of_out = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 5, 8)

    def plain(x):
        half = torch.cat((x[..., 4:], x[..., :4]), -1)
        return x * cos + half * sin

    for a, b in zip(
        gradients(lambda x: rotate(x, cos, sin), (x,), of_out), gradients(plain, (x,), of_out), strict=True
    ):
        torch.testing.assert_close(a, b, **CLOSE)


def window_mask(T: int, U: int) -> torch.Tensor:
    keys = torch.arange(U)
    queries = keys[-T:, None]
    return ((keys <= queries) & (keys > queries - 3))[None, None]


@for_each(
    "H, K, masked, scale",
    [(4, 2, "causal", None), (4, 4, "causal", 0.3), (4, 1, "window", None), (2, 2, "rows", None), (2, 1, None, None)],
)
def test_gradient_of_attention_on_a_cpu(H, K, masked, scale):
    """bf16 against the formula in fp32: probabilities and their gradients are rounded to 8 bits, as in torch's own."""
    B, T, d = 2, 7, 8
    q, k, v = (torch.randn(B, heads, T, d).bfloat16() for heads in (H, K, K))
    rows = torch.ones(B, 1, T, T, dtype=torch.bool).tril()
    rows[1, :, 2:, :2] = False  # as a row that begins later
    mask = {"window": window_mask(T, T), "rows": rows}.get(masked)
    causal, of_out = masked == "causal", torch.randn(B, H, T, d)

    def plain(q, k, v):
        k, v = (t.repeat_interleave(H // K, 1) for t in (k, v))
        scores = q @ k.mT * (d**-0.5 if scale is None else scale)
        visible = torch.ones(T, T, dtype=torch.bool).tril() if causal else mask
        return (scores if visible is None else scores.masked_fill(~visible, -1e30)).softmax(-1) @ v

    wanted = gradients(plain, [t.float() for t in (q, k, v)], of_out)
    calls = []
    apply = AttentionFunction.apply
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AttentionFunction, "apply", lambda *a: calls.append(a) or apply(*a))
        found = gradients(lambda *a: attend(*a, mask, causal, scale), (q, k, v), of_out)
        assert len(calls) == 1
        patch.setattr(attention_backward, "MAX_SCORES", 0)  # longer ones: torch's backward pass
        own = gradients(lambda *a: attend(*a, mask, causal, scale), (q, k, v), of_out)
        assert len(calls) == 1
    assert torch.equal(found[0], own[0])
    for a, b, c in zip(found, wanted, own, strict=True):
        limit = float(b.abs().max()) * 2**-6
        torch.testing.assert_close(a.float(), b, rtol=0, atol=limit)
        torch.testing.assert_close(c.float(), b, rtol=0, atol=limit)
