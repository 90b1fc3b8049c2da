"""A transformer over feature frames, conditioned on text: the trunk that the heads of `heads.py` share.

    text (B, U) or (B, U, W) -- encoder or linear -- states (B, U, C) --+-- pooled (B, C) -- length head -- log frames
                                                                       |
    patches (B, P, C) + their places -- N x [cross-attention to the states, self-attention, MLP] -- norm -- (B, F, D)

A position of the transformer is a patch of p frames, so P = F / p rounded up. Blocks, norms, rotary positions and the
key/value cache are those of `layers.py`. A place is known from both ends: how many frames came before, and how many are
left, so the model knows how long the motion will be.

With `condition` add, there is no cross-attention: the pooled text is added to every patch.

What the numbers of a frame mean is unknown here, and so is what a sentence is (`text.py`).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motiongpt.config import ContinuousConfig, LLMConfig
from motiongpt.layers import Block, KVCache, RMSNorm, attend, rotary

THETA = 10_000.0
"""Base of the rotary positions (Su et al. 2021)."""

LEAST = 4
"""Frames of the shortest clip to learn from, and of the shortest motion that a text alone asks for."""

Memory = tuple[Tensor, Tensor]
"""Keys and values of the text in one layer, (B, H, U, d) each."""


@dataclass(frozen=True)
class Condition:
    """The text of a batch, as the patches see it."""

    memory: list[Memory]  # of each layer; empty with `condition` add
    mask: Tensor  # (B, 1, 1, U) bool
    pooled: Tensor  # (B, C)


class CrossAttention(nn.Module):
    """Patches look at words: queries of x, keys and values of the text."""

    def __init__(self, config: LLMConfig) -> None:
        super().__init__()
        C = config.hidden_size
        self.num_heads = config.num_heads
        self.norm = RMSNorm(C, config.norm_eps)
        self.q_proj = nn.Linear(C, C, bias=False)
        self.k_proj = nn.Linear(C, C, bias=False)
        self.v_proj = nn.Linear(C, C, bias=False)
        self.o_proj = nn.Linear(C, C, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, H, T, d)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def read(self, states: Tensor) -> Memory:
        """Text states (B, U, C) -> their keys and values, which do not change while a motion is written."""
        return self.split(self.k_proj(states)), self.split(self.v_proj(states))

    def forward(self, x: Tensor, memory: Memory, mask: Tensor) -> Tensor:
        """x (B, T, C) -> what the words add to it, (B, T, C)."""
        out = attend(self.split(self.q_proj(self.norm(x))), *memory, mask, causal=False)  # (B, H, T, d)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class WordEncoder(nn.Module):
    """A small bidirectional transformer over words: ids (B, U) -> states (B, U, C)."""

    def __init__(self, config: ContinuousConfig) -> None:
        super().__init__()
        shape = config.blocks(config.text_layers)
        self.head_dim = shape.head_dim
        self.embed = nn.Embedding(config.words, config.hidden_size)
        self.layers = nn.ModuleList(Block(shape, layer) for layer in range(shape.num_layers))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(ids)
        cos, sin = rotary(torch.arange(ids.shape[1], device=ids.device), self.head_dim, THETA, x.dtype)
        for block in self.layers:
            x = block(x, cos, sin, mask[:, None, None], causal=False)
        return x


class ContinuousModel(nn.Module):
    """The trunk. `heads.py` says what goes into it and what its output means."""

    def __init__(self, config: ContinuousConfig) -> None:
        super().__init__()
        self.config = config
        C, D, shape = config.hidden_size, config.patch * config.feature_dim, config.blocks(config.num_layers)
        # text: states of one width, their sum, and how long a motion it asks for
        self.encoder = WordEncoder(config) if config.text_encoder == "trainable" else None
        self.text_in = nn.Linear(C if self.encoder else config.text_dim, C)
        self.text_norm = RMSNorm(C, shape.norm_eps)
        self.pool = nn.Linear(C, 1)
        self.no_text = nn.Parameter(torch.zeros(C))
        self.length_head = nn.Sequential(nn.Linear(C, C), nn.SiLU(), nn.Linear(C, 1))
        # patches: the numbers of one, and its place from both ends
        self.frame_in = nn.Linear(D, C) if config.head != "regression" else None
        self.from_start = nn.Embedding(config.max_frames, C)
        self.to_end = nn.Embedding(config.max_frames, C)
        self.first = nn.Parameter(torch.zeros(C)) if config.head == "autoregressive" else None
        self.time = nn.Sequential(nn.Linear(C, C), nn.SiLU(), nn.Linear(C, C)) if config.head == "flow" else None
        self.text_added = nn.Linear(C, C) if config.condition == "add" else None
        # the trunk
        layers = range(shape.num_layers)
        self.cross = nn.ModuleList(CrossAttention(shape) for _ in layers if config.condition == "cross")
        self.layers = nn.ModuleList(Block(shape, layer) for layer in layers)
        self.norm = RMSNorm(C, shape.norm_eps)
        self.frame_out = nn.Linear(C, D)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Normal weights, smaller where they write into the residual stream; lengths begin at half the longest."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                is_table = name.startswith(("encoder.embed", "from_start", "to_end"))
                std = 0.5 if is_table else parameter.shape[1] ** -0.5
                parameter.normal_(0.0, std / (2 * self.config.num_layers) ** 0.5 if residual else std)
        nn.init.zeros_(self.length_head[-1].weight)
        nn.init.constant_(self.length_head[-1].bias, math.log(self.config.max_frames / 2))
        nn.init.zeros_(self.frame_out.weight)
        nn.init.zeros_(self.frame_out.bias)  # the first guess is the mean of the data, which is 0

    def text_states(self, text: Tensor, mask: Tensor) -> Tensor:
        """What a reader of `text.py` gave, words (B, U) or states (B, U, W), as states (B, U, C)."""
        states = text if self.encoder is None else self.encoder(text, mask)
        return self.text_norm(self.text_in(states))

    def condition(self, text: Tensor, mask: Tensor, keep: Tensor | None = None) -> Condition:
        """Text and its mask (B, U) -> what the patches see of it; nothing where `keep` (B,) is False."""
        states = self.text_states(text, mask)
        if keep is not None:
            alone = torch.arange(mask.shape[1], device=mask.device) == 0  # a hidden text is one empty word
            states = torch.where(keep[:, None, None], states, self.no_text)
            mask = torch.where(keep[:, None], mask, alone)
        weights = self.pool(states).squeeze(-1).masked_fill(~mask, -torch.inf).softmax(-1)  # (B, U)
        pooled = (weights[:, None] @ states).squeeze(1)
        return Condition([layer.read(states) for layer in self.cross], mask[:, None, None], pooled)

    def log_length(self, pooled: Tensor) -> Tensor:
        """Pooled text (B, C) -> the natural logarithm of the motion's length in frames, (B,)."""
        return self.length_head(pooled).squeeze(-1)

    def predicted_lengths(self, condition: Condition) -> Tensor:
        """How many frames each text asks for, (B,) int64, from `LEAST` to max_frames."""
        most = self.config.max_frames
        return self.log_length(condition.pooled).exp().clamp(min(LEAST, most), most).round().long()

    def fold(self, motion: Tensor) -> Tensor:
        """Frames (B, F, D) -> patches (B, P, p D); a last patch that is not full is filled with zeros."""
        p = self.config.patch
        motion = F.pad(motion, (0, 0, 0, -motion.shape[1] % p))
        return motion.unflatten(1, (-1, p)).flatten(2)

    def patches(self, frames: int) -> int:
        """P of so many frames."""
        return -(-frames // self.config.patch)

    def places(self, lengths: Tensor, start: int, stop: int) -> Tensor:
        """Embeddings (B, stop - start, C) of the patches start ... stop - 1 of motions of so many frames, (B,)."""
        at = torch.arange(start, stop, device=lengths.device) * self.config.patch
        left = (lengths[:, None] - 1 - at).clamp(min=0)  # 0 past the end
        return self.from_start(at) + self.to_end(left)

    def frames(
        self,
        x: Tensor,
        condition: Condition,
        lengths: Tensor | None = None,
        cache: KVCache | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Embedded patches (B, P, C) -> the head's frames (B, P p, D).

        `lengths` (B,) in frames say which patches are real; causal ones need none, as padding comes last. With a cache
        these are the patches that follow those in it, one at a time, and they are added to it.
        """
        shape = self.layers[0].self_attn
        done = 0 if cache is None else cache.length
        at = torch.arange(done, done + x.shape[1], device=x.device)
        cos, sin = rotary(at, shape.head_dim, THETA, x.dtype)
        if self.text_added is not None:
            x = x + self.text_added(condition.pooled)[:, None]
        seen = None  # or (B, 1, 1, P)
        if lengths is not None:
            seen = (at * self.config.patch < lengths[:, None])[:, None, None]
        for i, block in enumerate(self.layers):
            if self.cross:
                x = x + self.cross[i](x, condition.memory[i], condition.mask)
            x = block(x, cos, sin, seen, cache, causal and cache is None)
        if cache is not None:
            cache.length += x.shape[1]
        return self.frame_out(self.norm(x)).unflatten(2, (self.config.patch, -1)).flatten(1, 2)

    def new_cache(self, B: int, F: int) -> KVCache:
        """An empty cache for B motions of up to F frames."""
        P = self.patches(F)
        shape = self.config.blocks(self.config.num_layers)
        weight = self.frame_out.weight
        return KVCache(shape.num_layers, (B, shape.num_kv_heads, P, shape.head_dim), weight.dtype, weight.device)


def frame_errors(made: Tensor, target: Tensor, mask: Tensor, kind: str) -> Tensor:
    """The error of each frame, a mean over its D numbers; (B, F, D) twice -> (B, F), 0 where `mask` (B, F) is False."""
    measure = {"mse": F.mse_loss, "smooth_l1": F.smooth_l1_loss}[kind]
    return measure(made.float(), target.float(), reduction="none").mean(-1) * mask
