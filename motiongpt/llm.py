"""One decoder language model for Qwen2, Qwen2.5 and Qwen3, with the new motion words in a small table of their own.

Families are flags of `LLMConfig`, never names. Module names are those of the public checkpoints without the leading
`model.`, so keys map one to one. New words are not appended to the base table, they lie beside it:

    id   0 ............ first_id - 1 | first_id ........ first_id + count - 1        V = first_id + count
         embed_tokens (base)         | new_in (count, C)                             inputs
         embed_tokens or lm_head     | new_in or new_out (count, C)                  outputs, tied or untied

A padded base table has rows past the tokenizer's last token. Base rows from first_id on are never read. Right-padded
training batches need no mask: causality already keeps real tokens from seeing what follows them. Left-padded batches,
as used for generation, say where each row starts. Nothing here knows files, text, motion or sampling.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motiongpt.config import LLMConfig
from motiongpt.layers import Block, KVCache, RMSNorm, rotary


def attention_mask(length: int, T: int, start: Tensor | None, device: torch.device) -> Tensor:
    """Which of the length + T keys each of the last T positions may see: (B or 1, 1, T, length + T), True = visible.

    length 0, T 3, start [0, 1]:   row 0  1 0 0    row 1  1 0 0   <- padding sees itself, so that its softmax is
                                          1 1 0           0 1 0      finite; no real token ever sees padding
                                          1 1 1           0 1 1
    """
    keys = torch.arange(length + T, device=device)
    queries = keys[length:, None]  # (T, 1)
    if start is None:
        return (keys <= queries)[None, None]
    real = keys >= start[:, None, None]  # (B, 1, length + T)
    return ((keys <= queries) & real | (keys == queries))[:, None]


class LLM(nn.Module):
    """Decoder-only transformer: ids (B, T) -> logits (B, T, V). V is `vocab_size`, which `extend` changes.

    Weights are drawn from `generator`, or from the global one if it is None: normal, std 0.02. Matrices that write
    into the residual stream get a std smaller by sqrt(2 layers) (Radford et al. 2019).
    """

    def __init__(self, config: LLMConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        # An untied head is a table, not a Linear: `logits` multiplies spans of its rows, which an adapter would miss.
        self.lm_head = None if config.tie_embeddings else nn.Embedding(config.vocab_size, config.hidden_size)
        self.first_id = config.vocab_size
        self.register_parameter("new_in", None)
        self.register_parameter("new_out", None)
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

    # 1) The vocabulary: base rows, and the new rows beside them.

    @property
    def vocab_size(self) -> int:
        """V, the number of ids: they run from 0 to V - 1."""
        return self.first_id + (0 if self.new_in is None else len(self.new_in))

    @torch.no_grad()
    def extend(
        self, first_id: int, count: int, generator: torch.Generator | None = None, from_base: bool = False
    ) -> None:
        """Add trainable fp32 rows for ids first_id .. first_id + count - 1; base rows from first_id on go unused.

        Each new row is the mean of the base rows before first_id plus normal noise of 0.02 times their standard
        deviation, per channel. With `from_base` the new rows are copied from the base table at those ids, which
        inverts writing base and new rows as one table. Raises ValueError for an impossible range, or if the model
        has new rows already.
        """
        if self.new_in is not None:
            raise ValueError(
                f"the model already has {len(self.new_in)} new rows from id {self.first_id}; extend it once"
            )
        if not 0 < first_id <= self.config.vocab_size or count < 1:
            raise ValueError(
                f"new rows need 1 <= first id <= {self.config.vocab_size} (the base rows) and a count of at least 1, "
                f"got first id {first_id}, count {count}"
            )
        if from_base and first_id + count > self.config.vocab_size:
            raise ValueError(
                f"ids {first_id} to {first_id + count - 1} are not all in a base table of {self.config.vocab_size} rows"
            )

        def rows(table: nn.Embedding) -> nn.Parameter:
            if from_base:
                return nn.Parameter(table.weight[first_id : first_id + count].float().clone())
            base = table.weight[:first_id].float()  # (first_id, C)
            noise = torch.randn(count, base.shape[1], generator=generator).to(base.device)
            return nn.Parameter(base.mean(0) + 0.02 * base.std(0, correction=0) * noise)

        self.new_in = rows(self.embed_tokens)
        self.new_out = None if self.lm_head is None else rows(self.lm_head)
        self.first_id = first_id

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, C). Both tables are indexed, neither is copied."""
        base = self.embed_tokens.weight
        if self.new_in is None:
            return F.embedding(ids, base)
        new = ids - self.first_id  # (B, T), negative for ids of the base table
        is_new = new >= 0
        x = F.embedding(ids.masked_fill(is_new, 0), base)
        return torch.where(is_new[..., None], F.embedding(new.clamp(min=0), self.new_in).to(x.dtype), x)

    def logits(self, hidden: Tensor, span: tuple[int, int] | None = None) -> Tensor:
        """Hidden states (..., C) -> logits (..., V), or with `span` = (first, last) those of ids first .. last - 1.

        Only rows of the span are read. Inside a motion they are a few hundred of 152,000.
        """
        first, last = (0, self.vocab_size) if span is None else span
        if not 0 <= first < last <= self.vocab_size:
            raise ValueError(f"span must be inside ids 0 to {self.vocab_size}, got {first} to {last}")
        base = (self.embed_tokens if self.lm_head is None else self.lm_head).weight
        new = self.new_in if self.lm_head is None else self.new_out
        N = self.first_id
        # the span may lie in the base table, among the new rows, or across both
        if last <= N:
            return F.linear(hidden, base[first:last])
        new_logits = F.linear(hidden, new[max(first - N, 0) : last - N].to(hidden.dtype))
        if first >= N:
            return new_logits
        return torch.cat((F.linear(hidden, base[first:N]), new_logits), -1)

    # 2) The transformer.

    def compute_dtype(self) -> torch.dtype:
        """The dtype of the matrix products: autocast's if it is on, else the weights'."""
        kind = self.embed_tokens.weight.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.embed_tokens.weight.dtype

    def new_cache(self, B: int, T: int) -> KVCache:
        """An empty cache for B rows of up to T tokens with padding. Call it under the autocast the cache is used in."""
        config = self.config
        shape = (B, config.num_kv_heads, T, config.head_dim)
        return KVCache(config.num_layers, shape, self.compute_dtype(), self.embed_tokens.weight.device)

    def hidden(self, ids: Tensor, cache: KVCache | None = None, start: Tensor | None = None) -> Tensor:
        """ids (B, T) -> final hidden states (B, T, C).

        With a cache, ids are the tokens that follow the `cache.length` tokens in it, and they are added to it.

        In a left-padded batch, start (B,) is the index of each row's first real token, counted from the first cached
        position. Nothing before it is seen, and positions count from it, so that a row's roundings do not depend on
        its padding (rotary scores depend only on distances). States of padding are finite and mean nothing.

        Raises ValueError if the cache or the model's positions are too short.
        """
        B, T = ids.shape
        length = 0 if cache is None else cache.length
        if length + T > self.config.max_positions:
            raise ValueError(f"{length + T} tokens exceed the model's {self.config.max_positions} positions")
        if cache is not None and length + T > cache.capacity:
            raise ValueError(f"{length + T} tokens exceed the cache's capacity of {cache.capacity}")

        positions = torch.arange(length, length + T, device=ids.device)  # (T,)
        if start is not None:
            positions = (positions - start[:, None]).clamp(min=0)[:, None]  # (B, 1, T)
        cos, sin = rotary(positions, self.config.head_dim, self.config.rope_theta, self.compute_dtype())
        causal = start is None and length == 0  # the fused kernel's own mask
        sees_all = start is None and T == 1  # one new token and no padding: no key is hidden from it
        mask = None if causal or sees_all else attention_mask(length, T, start, ids.device)

        x = self.embed(ids)
        for block in self.layers:
            x = block(x, cos, sin, mask, cache, causal)
        if cache is not None:
            cache.length += T
        return self.norm(x)

    def forward(self, ids: Tensor) -> Tensor:
        return self.logits(self.hidden(ids))
