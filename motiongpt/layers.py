"""The bricks of the decoder: RMSNorm, rotary positions, grouped-query attention, the gated MLP, the key/value cache.

Rotary embedding is half-split (channel i turns with channel i + d/2), so Hugging Face weights copy without a
permutation. Norms reduce in fp32 whatever dtype the weights have. No brick keeps state outside its parameters: rotary
angles are computed once per forward pass and handed down, so neither a meta-device build nor `.to(bfloat16)` can
spoil them. This file knows no vocabulary and no files. How a batch was padded reaches it only as a mask.

    (B, T, C) -- q_proj -> (B, H, T, d) -- norm, rotary --.
              -- k_proj -> (B, K, T, d) -- norm, rotary --+-- softmax(q k / sqrt(d)) v -- o_proj -> (B, T, C)
              -- v_proj -> (B, K, T, d) ------------------'   H / K queries share one key
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motiongpt.config import LLMConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang and Sennrich 2019, eq. 4)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == self.weight.dtype:
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)  # one kernel; it reduces in fp32
        return F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps).to(x.dtype)  # under autocast


def rotary(positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of every position: positions (..., T) -> two tables (..., T, d).

    Channel pair (i, i + d/2) at position t turns by t * theta^(-2i/d) radians (Su et al. 2021, eq. 15). The first
    half of the sine carries the minus sign of the rotation, so that `rotate` needs only two products and a roll.
    """
    steps = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim  # (d/2,)
    angles = positions[..., None].float() * (1.0 / theta**steps)  # (..., T, d/2), fp32: bf16 loses whole turns
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1).to(dtype), torch.cat((-sin, sin), -1).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the channel pairs of x (B, H, T, d) by the tables of `rotary`, (T, d) or (B, 1, T, d)."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class KVCache:
    """Keys and values of the tokens seen so far, preallocated: (B, K, T, d) of each per layer.

    Every layer has `length` positions filled. `LLM.hidden` advances `length` once per call, after the last layer.
    """

    def __init__(
        self, layers: int, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.capacity = shape[2]
        self.length = 0

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v (B, K, T, d) after the first `length` positions and return all so far, (B, K, length + T, d)."""
        end = self.length + k.shape[2]
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.length : end] = k
        values[:, :, self.length : end] = v
        return keys[:, :, :end], values[:, :, :end]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Softmax attention: q (B, H, T, d), k and v (B, K, U, d), mask (B or 1, 1, T, U) bool or None -> (B, H, T, d)."""
    B, H, T, d = q.shape
    K = k.shape[1]
    if H == K:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    if q.is_cuda and (mask is not None or q.dtype == torch.float32):
        # CUDA's one fused kernel for shared keys takes neither a mask nor fp32, and the fallback builds all scores,
        # (B, H, T, U). Without sharing, other fused kernels apply.
        if T == 1:  # queries that share a key become rows of one product: the cache is not copied for every head
            return F.scaled_dot_product_attention(q.reshape(B, K, H // K, d), k, v, attn_mask=mask).reshape(B, H, 1, d)
        k, v = k.repeat_interleave(H // K, 1), v.repeat_interleave(H // K, 1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)


class Attention(nn.Module):
    """Grouped-query attention (Ainslie et al. 2023) with optional q/k/v biases (Qwen2) or per-head norms (Qwen3)."""

    def __init__(self, config: LLMConfig, layer: int) -> None:
        super().__init__()
        C, d = config.hidden_size, config.head_dim
        H, K = config.num_heads, config.num_kv_heads
        self.layer, self.head_dim = layer, d
        self.q_proj = nn.Linear(C, H * d, bias=config.qkv_bias)
        self.k_proj = nn.Linear(C, K * d, bias=config.qkv_bias)
        self.v_proj = nn.Linear(C, K * d, bias=config.qkv_bias)
        self.o_proj = nn.Linear(H * d, C, bias=False)
        self.q_norm = RMSNorm(d, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(d, config.norm_eps) if config.qk_norm else None

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        causal: bool = True,
    ) -> Tensor:
        """x (B, T, C) -> (B, T, C). With a cache, these T tokens also see the keys that are in it."""
        B, T, _ = x.shape
        q = self.q_proj(x).view(B, T, -1, self.head_dim)  # (B, T, H, d)
        k = self.k_proj(x).view(B, T, -1, self.head_dim)  # (B, T, K, d)
        v = self.v_proj(x).view(B, T, -1, self.head_dim).transpose(1, 2)  # (B, K, T, d)
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q = rotate(q.transpose(1, 2), cos, sin)  # (B, H, T, d)
        k = rotate(k.transpose(1, 2), cos, sin)  # (B, K, T, d)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        out = attend(q, k, v, mask, causal)  # (B, H, T, d)
        return self.o_proj(out.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    """down(silu(gate(x)) * up(x)), the SwiGLU of Shazeer 2020."""

    def __init__(self, config: LLMConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One decoder layer, (B, T, C) -> (B, T, C). A norm precedes each half; the residual stream is never normalised.

    x --+-- norm -- attention --(+)--+-- norm -- MLP --(+)-->
        '------------------------'   '------------------'
    """

    def __init__(self, config: LLMConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = MLP(config)

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None = None,
        cache: KVCache | None = None,
        causal: bool = True,
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask, cache, causal)
        return x + self.mlp(self.post_attention_layernorm(x))
