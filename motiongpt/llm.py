"""One decoder language model for Llama, Qwen2, Qwen3 and Gemma 3, with the new motion words in a table of their own.

Families are flags of `LLMConfig`, never names. Module names are those of the public checkpoints without the leading
`model.`, so keys map one to one. The new words lie in a table beside the base table (`word_tables.py`).

Right-padded training batches need no mask: causality already keeps real tokens from seeing what follows them.
Left-padded batches, as used for generation, say where each row starts. Nothing here knows files, text, motion or
sampling.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from motiongpt.config import LLMConfig
from motiongpt.kernels.packed_attention import Samples
from motiongpt.layers import Block, KVCache, RMSNorm, rotary, run_block
from motiongpt.word_tables import WordTables

View = tuple[Tensor, Tensor, Tensor | Samples | None, bool]
"""Cosine, sine, mask and causality: the inputs of a `layers.Block` beside x, the same in all layers of a kind."""


def attention_mask(length: int, T: int, start: Tensor | None, device: torch.device, window: int = 0) -> Tensor:
    """Which of the length + T keys each of the last T positions may see: (B or 1, 1, T, length + T), True = visible.

    length 0, T 3, start [0, 1]:   row 0  1 0 0    row 1  1 0 0   <- padding sees itself, so that its softmax is
                                          1 1 0           0 1 0      finite; no real token ever sees padding
                                          1 1 1           0 1 1

    With a window, a position sees that many keys at most, the last of them its own. Keys that no position sees have
    no column: `Attention` cuts them off.
    """
    first = max(0, length + 1 - window) if window else 0
    keys = torch.arange(first, length + T, device=device)
    queries = keys[-T:, None]  # (T, 1)
    visible = keys <= queries
    if window:
        visible &= keys > queries - window
    if start is None:
        return visible[None, None]
    real = keys >= start[:, None, None]  # (B, 1, columns)
    return (visible & real | (keys == queries))[:, None]


class LLM(WordTables):
    """Decoder-only transformer: ids (B, T) -> logits (B, T, V). V is `vocab_size`, which `extend` changes.

    Weights are drawn from `generator`, or from the global one if it is None: normal, std 0.02. Matrices that write
    into the residual stream get a std smaller by sqrt(2 layers) (Radford et al. 2019).
    """

    def __init__(self, config: LLMConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(config.vocab_size)
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps, config.unit_offset_norms)
        self.lm_head = None if config.tie_embeddings else nn.Embedding(config.vocab_size, config.hidden_size)
        self.init_weights(generator)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator | None = None) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = 0.02 / (2 * self.config.num_layers) ** 0.5 if residual else 0.02
                parameter.normal_(0.0, std, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, C)."""
        x = super().embed(ids)
        if not self.config.scale_embeddings:
            return x
        return x * torch.tensor(self.config.hidden_size**0.5, dtype=x.dtype).item()  # rounded as the weights are

    def new_cache(self, B: int, T: int) -> KVCache:
        """An empty cache for B rows of up to T tokens with padding. Call it under the autocast the cache is used in."""
        config = self.config
        shape = (B, config.num_kv_heads, T, config.head_dim)
        return KVCache(config.num_layers, shape, self.compute_dtype(), self.embed_tokens.weight.device)

    def hidden(
        self,
        ids: Tensor,
        cache: KVCache | None = None,
        start: Tensor | None = None,
        packed: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """ids (B, T) -> final hidden states (B, T, C).

        With a cache, ids are the tokens that follow the `cache.length` tokens in it, and they are added to it.

        In a left-padded batch, start (B,) is the index of each row's first real token, counted from the first cached
        position. Nothing before it is seen, and positions count from it, so that a row's roundings do not depend on
        its padding (rotary scores depend only on distances). States of padding are finite and mean nothing.

        `packed` rows hold samples of these lengths one after another, then padding. A sample sees itself alone, and its
        positions begin at 0.

        Raises ValueError if the cache or the model's positions are too short.
        """
        B, T = ids.shape
        length = 0 if cache is None else cache.length
        longest = length + T if packed is None else max(map(max, packed))
        if longest > self.config.max_positions:
            raise ValueError(f"{longest} tokens exceed the model's {self.config.max_positions} positions")
        if cache is not None and length + T > cache.capacity:
            raise ValueError(f"{length + T} tokens exceed the cache's capacity of {cache.capacity}")

        views = self.views(length, T, start) if packed is None else self.packed_views(Samples.of(packed, T))
        x = self.embed(ids)
        for block in self.layers:
            cos, sin, mask, causal = views[block.is_local]
            x = run_block(block, self.recomputes(cache), x, cos, sin, mask, cache, causal)
        if cache is not None:
            cache.length += T
        return self.norm(x)

    def views(self, length: int, T: int, start: Tensor | None) -> dict[bool, View]:
        """How the T tokens after the first `length` see, in layers that are local or not (Gemma 3 has some)."""
        device = self.embed_tokens.weight.device
        positions = torch.arange(length, length + T, device=device)  # (T,)
        if start is not None:
            positions = (positions - start[:, None]).clamp(min=0)[:, None]  # (B, 1, T)
        views = {}
        for local in {block.is_local for block in self.layers}:
            cos, sin = self.turns(positions, local, self.compute_dtype())
            window = self.config.window if local else 0
            # the fused kernel's own mask, if no key is hidden by padding or by a window
            causal = start is None and length == 0 and not 0 < window < T
            sees_all = start is None and T == 1  # one new token and no padding: it sees every key that is not cut off
            mask = None if causal or sees_all else attention_mask(length, T, start, device, window)
            views[local] = cos, sin, mask, causal
        return views

    def packed_views(self, samples: Samples) -> dict[bool, View]:
        """`views` of packed rows."""
        device = self.embed_tokens.weight.device
        positions = samples.positions(device)[:, None]  # (B, 1, T)
        views = {}
        for local in {block.is_local for block in self.layers}:
            seen = samples.within(self.config.window if local else 0)
            mask = seen if device.type == "cpu" else seen.mask(device)
            views[local] = *self.turns(positions, local, self.compute_dtype()), mask, False
        return views

    def turns(self, positions: Tensor, local: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """`layers.rotary` at positions (..., T), with the base and scaling of one kind of layers."""
        config = self.config
        theta, scaling = (config.local_rope_theta, None) if local else (config.rope_theta, config)
        return rotary(positions, config.head_dim, theta, dtype, scaling)

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """The states (B, T, C) that predict a training batch's targets."""
        return self.hidden(batch["ids"], packed=batch.get("packed"))

    def forward(self, ids: Tensor) -> Tensor:
        return self.logits(self.hidden(ids))
