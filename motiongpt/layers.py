"""The bricks of the decoder: RMSNorm, rotary positions, grouped-query attention, the gated MLP, the key/value cache.

Rotary embedding is half-split (channel i turns with channel i + d/2), so Hugging Face weights copy without a
permutation. Norms reduce in fp32 whatever dtype the weights have. No brick keeps state outside its parameters: rotary
angles are computed once per forward pass and handed down, so neither a meta-device build nor `.to(bfloat16)` can
spoil them. This file knows no vocabulary and no files. How a batch was padded reaches it only as a mask.

    (B, T, C) -- q_proj -> (B, H, T, d) -- norm, rotary --.
              -- k_proj -> (B, K, T, d) -- norm, rotary --+-- softmax(q k / sqrt(d)) v -- o_proj -> (B, T, C)
              -- v_proj -> (B, K, T, d) ------------------'   H / K queries share one key
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from motiongpt.config import LLMConfig
from motiongpt.kernels import attention_backward
from motiongpt.kernels.norm_backward import NormFunction
from motiongpt.kernels.packed_attention import Samples, by_sample
from motiongpt.kernels.rotation_backward import RotationFunction
from motiongpt.lora import project


def run_block(block: nn.Module, recompute: bool, *inputs: Any) -> Tensor:
    """block(*inputs). With `recompute` only the inputs are kept for the backward pass, which computes the rest again
    (Chen et al. 2016). Dropout draws the same numbers both times, so gradients are those without it."""
    return checkpoint(block, *inputs, use_reentrant=False) if recompute else block(*inputs)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich 2019, eq. 4).

    With `unit_offset` it multiplies by 1 + weight, as Gemma does; the sum is taken in fp32.
    """

    def __init__(self, width: int, eps: float, unit_offset: bool = False) -> None:
        super().__init__()
        self.eps, self.unit_offset = eps, unit_offset
        self.weight = nn.Parameter(torch.zeros(width) if unit_offset else torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        weight = 1.0 + self.weight.float() if self.unit_offset else self.weight
        if torch.is_grad_enabled():  # the same; its backward pass goes over x a third as often as torch's
            return NormFunction.apply(norm, x, weight, self.eps)
        return norm(x, weight, self.eps)


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (..., D) over its root mean square, times weight (D,), in the dtype of x."""
    if x.dtype == weight.dtype:
        return F.rms_norm(x, weight.shape, weight, eps)  # one kernel; it reduces in fp32
    return F.rms_norm(x.float(), weight.shape, weight.float(), eps).to(x.dtype)  # under autocast


def scale_frequencies(frequencies: Tensor, config: LLMConfig) -> Tensor:
    """Slow the rotary frequencies (d/2,), in radians per position, so that a model reads longer texts.

    linear   every frequency / factor (Chen et al. 2023): position t turns as t / factor did
    llama3   by the number of turns that a channel makes within the original length, as Llama 3.1 defines it:
             fewer than low_freq turns: / factor;  more than high_freq: unchanged;  between: a blend, linear in turns
    """
    if config.rope_scaling == "none":
        return frequencies
    slow = frequencies / config.rope_factor
    if config.rope_scaling == "linear":
        return slow
    turns = config.rope_original_positions * frequencies / (2 * math.pi)
    share = ((turns - config.rope_low_freq) / (config.rope_high_freq - config.rope_low_freq)).clamp(0, 1)
    return torch.lerp(slow, frequencies, share)


def rotary(
    positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype, scaling: LLMConfig | None = None
) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of every position: positions (..., T) -> two tables (..., T, d).

    Channel pair (i, i + d/2) at position t turns by t * theta^(-2i/d) radians (Su et al. 2021, eq. 15), or more slowly
    with the rope scaling of a config. The first half of the sine carries the minus sign of the rotation, so that
    `rotate` needs only two products and a roll.
    """
    steps = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim  # (d/2,)
    frequencies = 1.0 / theta**steps
    if scaling is not None:
        frequencies = scale_frequencies(frequencies, scaling)
    angles = positions[..., None].float() * frequencies  # (..., T, d/2), fp32: bf16 loses whole turns
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the channel pairs of x (B, H, T, d) by the tables of `rotary`, (T, d) or (B, 1, T, d)."""
    if torch.is_grad_enabled():  # the same, with a backward pass that turns back and keeps nothing of x
        return RotationFunction.apply(rotate, x, cos, sin)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class KVCache:
    """Keys and values of the tokens seen so far, preallocated: (B, K, T, d) of each per layer.

    Every layer has `length` positions filled. `LLM.hidden` advances `length` once per call, after the last layer.
    """

    def __init__(
        self, layers: int, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device | str
    ) -> None:
        # not filled, as nothing past `length` is read
        self.keys = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.empty(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.capacity = shape[2]
        self.length = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v (B, K, T, d) after the first `length` positions and return all so far, (B, K, length + T, d)."""
        end = self.length + k.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.length : end] = k
        values[:, :, self.length : end] = v
        return keys[:, :, :end], values[:, :, :end]

    def take(self, rows: Tensor) -> None:
        """Keep these rows (n,) alone, in this order; a row may be taken twice."""
        self.keys, self.values = ([each[rows] for each in layers] for layers in (self.keys, self.values))


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | Samples | None, causal: bool, scale: float | None = None
) -> Tensor:
    """Softmax attention: q (B, H, T, d), k and v (B, K, U, d), mask (B or 1, 1, T, U) bool or None -> (B, H, T, d).

    Scores are multiplied by `scale`, 1 / sqrt(d) if it is None. `Samples` stand for their mask.
    """
    if isinstance(mask, Samples):
        return by_sample(attend, q, k, v, mask, scale)
    B, H, T, d = q.shape
    K = k.shape[1]
    if attention_backward.is_for(q, k):  # the same on a CPU in bf16, and back in a third of the time
        return attention_backward.AttentionFunction.apply(attend, q, k, v, mask, causal, scale)
    if H == K:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
    if q.is_cuda and (mask is not None or q.dtype == torch.float32):
        # CUDA's one fused kernel for shared keys takes neither a mask nor fp32, and the fallback builds all scores,
        # (B, H, T, U). Without sharing, other fused kernels apply.
        if T == 1:  # queries that share a key become rows of one product: the cache is not copied for every head
            rows = q.reshape(B, K, H // K, d)
            return F.scaled_dot_product_attention(rows, k, v, attn_mask=mask, scale=scale).reshape(B, H, 1, d)
        k, v = k.repeat_interleave(H // K, 1), v.repeat_interleave(H // K, 1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=True)


class Attention(nn.Module):
    """Grouped-query attention (Ainslie et al. 2023). Flags add biases (Qwen2), norms of queries and keys per head
    (Qwen3, Gemma 3), and a window of the last positions (Gemma 3's local layers)."""

    def __init__(self, config: LLMConfig, layer: int) -> None:
        super().__init__()
        C, d = config.hidden_size, config.head_dim
        H, K = config.num_heads, config.num_kv_heads
        self.layer, self.head_dim = layer, d
        self.window = config.window if config.is_local(layer) else None
        self.scale = config.query_scalar**-0.5 if config.query_scalar else None
        self.q_proj = nn.Linear(C, H * d, bias=config.qkv_bias)
        self.k_proj = nn.Linear(C, K * d, bias=config.qkv_bias)
        self.v_proj = nn.Linear(C, K * d, bias=config.qkv_bias)
        self.o_proj = nn.Linear(H * d, C, bias=config.o_bias)
        self.q_norm = RMSNorm(d, config.norm_eps, config.unit_offset_norms) if config.qk_norm else None
        self.k_norm = RMSNorm(d, config.norm_eps, config.unit_offset_norms) if config.qk_norm else None

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | Samples | None = None,
        cache: KVCache | None = None,
        causal: bool = True,
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C). With a cache, these T tokens also see the keys that are in it."""
        B, T, _ = x.shape
        q, k, v = (y.view(B, T, -1, self.head_dim) for y in project(x, self.q_proj, self.k_proj, self.v_proj))
        v = v.transpose(1, 2)  # (B, K, T, d); q is (B, T, H, d), k (B, T, K, d)
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q = rotate(q.transpose(1, 2), cos, sin)  # (B, H, T, d)
        k = rotate(k.transpose(1, 2), cos, sin)  # (B, K, T, d)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        if self.window is not None:  # drop keys that none of the T queries sees, as `attention_mask` does
            k, v = k[:, :, -(self.window + T - 1) :], v[:, :, -(self.window + T - 1) :]
        out = attend(q, k, v, mask, causal, self.scale)  # (B, H, T, d)
        return self.o_proj(out.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    """down(act(gate(x)) * up(x)), Shazeer 2020: SwiGLU with silu, GeGLU with gelu_tanh."""

    def __init__(self, config: LLMConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = project(x, self.gate_proj, self.up_proj)
        gate = F.silu(gate) if self.activation == "silu" else F.gelu(gate, approximate="tanh")
        return self.down_proj(gate * up)


class Block(nn.Module):
    """One decoder layer, (B, T, C) -> (B, T, C). A norm precedes each half; the residual stream is never normalised.

    x --+-- norm -- attention --(+)--+-- norm -- MLP --(+)-->
        '------------------------'   '------------------'

    With `post_norms` another norm follows attention and MLP. The names of the norms are those of the public
    checkpoints, in which `post_attention_layernorm` then comes right after attention instead of before the MLP.
    """

    def __init__(self, config: LLMConfig, layer: int) -> None:
        super().__init__()

        def norm() -> RMSNorm:
            return RMSNorm(config.hidden_size, config.norm_eps, config.unit_offset_norms)

        self.is_local, self.post_norms = config.is_local(layer), config.post_norms
        self.input_layernorm = norm()
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = norm()
        self.mlp = MLP(config)
        if config.post_norms:
            self.pre_feedforward_layernorm = norm()
            self.post_feedforward_layernorm = norm()

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | Samples | None = None,
        cache: KVCache | None = None,
        causal: bool = True,
    ) -> Tensor:
        attended = self.self_attn(self.input_layernorm(x), cos, sin, mask, cache, causal)
        if not self.post_norms:
            x = x + attended
            return x + self.mlp(self.post_attention_layernorm(x))
        x = x + self.post_attention_layernorm(attended)
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
