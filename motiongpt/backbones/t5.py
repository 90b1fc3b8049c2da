"""T5 (Raffel et al. 2020): v1.0, v1.1 and Flan-T5. An encoder reads the instruction, a decoder writes the answer.

Positions are a learnt bias on the attention scores, one value per head and distance, shared by all layers of a stack;
scores are not divided by sqrt(d). Families are flags of `T5Config`: v1.0 has a plain ReLU MLP and a tied head, v1.1
and Flan a gated GELU and a head of its own.

    instruction (B, U) -- shared -- encoder: N x [self-attention, MLP] -- norm --.
                                                                                 | keys and values, computed once
    answer (B, T) ------- shared -- decoder: M x [self-attention, cross-attention, MLP] -- norm -- hidden (B, T, C)

Module names are those of the public checkpoints, so keys map one to one. For the sampler a T5 looks like a decoder:
`hidden` takes instruction and answer as one row of ids and splits it after the end marker. Unlike the public code it
has no dropout of its own. Nothing here knows files, text, motion or sampling.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motiongpt.config import JSONConfig, require
from motiongpt.layers import KVCache, RMSNorm, run_block
from motiongpt.word_tables import WordTables


@dataclass(frozen=True)
class T5Config(JSONConfig):
    """The shape of a T5. The defaults are t5-base; H * d (`num_heads * head_dim`) need not be `hidden_size`."""

    vocab_size: int = 32_128
    """Rows of the embedding table; the text tokenizer has 32,100 tokens."""
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_layers: int = 12
    num_decoder_layers: int = 12
    num_heads: int = 12
    head_dim: int = 64
    num_buckets: int = 32
    max_distance: int = 128
    """Distances from here on share one bucket of the position bias."""
    norm_eps: float = 1e-6
    gated: bool = False
    """v1.1 and Flan: gelu(wi_0 x) * wi_1 x instead of relu(wi x)."""
    tie_embeddings: bool = True
    scale_logits: bool = True
    """v1.0: the decoder's output is multiplied by hidden_size ** -0.5 before the head."""
    start_id: int = 0
    """The id that the decoder starts from, T5's <pad>."""
    end_id: int = 1
    """The id of </s>, which ends instruction and answer."""
    trained_positions: int = 512

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_decoder_layers", "num_heads")
        for name in (*sizes, "head_dim", "trained_positions"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        # half of the buckets, per direction in the encoder, stand for one distance each
        require(self.num_buckets >= 4, "num_buckets", self.num_buckets, "at least 4")
        least = self.num_buckets // 2 + 1
        require(self.max_distance >= least, "max_distance", self.max_distance, f"at least {least}")
        for name in ("start_id", "end_id"):
            require(0 <= getattr(self, name) < self.vocab_size, name, getattr(self, name), f"below {self.vocab_size}")

    @property
    def max_positions(self) -> int:
        """The most tokens of instruction and answer together.

        The architecture has no limit; this is twice the length that either side had in T5's pre-training.
        """
        return 2 * self.trained_positions


def distance_bucket(distance: Tensor, both_ways: bool, num_buckets: int, max_distance: int) -> Tensor:
    """Buckets of key position minus query position, any shape -> the same shape.

    The first half of the buckets hold one distance each, the second half grow logarithmically up to `max_distance`.
    Looking both ways, distances to the right have buckets of their own; else they count as 0, as they are masked.
    """
    bucket = torch.zeros_like(distance)
    if both_ways:
        num_buckets //= 2
        bucket = (distance > 0).long() * num_buckets
        distance = distance.abs()
    else:
        distance = -distance.clamp(max=0)
    exact = num_buckets // 2
    growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (growth * (num_buckets - exact)).long()).clamp(max=num_buckets - 1)
    return bucket + torch.where(distance < exact, distance, far)


class Attention(nn.Module):
    """Multi-head attention without scaling or biases, over x itself or over the keys and values of another text."""

    def __init__(self, config: T5Config, has_bias: bool = False) -> None:
        super().__init__()
        C, width = config.hidden_size, config.num_heads * config.head_dim
        self.head_dim = config.head_dim
        self.q = nn.Linear(C, width, bias=False)
        self.k = nn.Linear(C, width, bias=False)
        self.v = nn.Linear(C, width, bias=False)
        self.o = nn.Linear(width, C, bias=False)
        if has_bias:  # the first layer of a stack keeps the table for all of them
            self.relative_attention_bias = nn.Embedding(config.num_buckets, config.num_heads)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, H d) -> (B, H, T, d)."""
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, U, C) -> keys and values, (B, H, U, d) each."""
        return self._heads(self.k(x)), self._heads(self.v(x))

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        memory: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """x (B, T, C), bias (B or 1, H or 1, T, U), added to the scores, -inf where nothing is seen -> (B, T, C)."""
        B, T, _ = x.shape
        k, v = self.keys_values(x) if memory is None else memory
        if cache is not None:
            k, v = cache.append(layer, k, v)
        q = self._heads(self.q(x))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=1.0)  # (B, H, T, d)
        return self.o(out.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    """wo(relu(wi x)), or gated wo(gelu(wi_0 x) * wi_1 x) (Shazeer 2020)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        C, width = config.hidden_size, config.intermediate_size
        self.gated = config.gated
        if config.gated:
            self.wi_0 = nn.Linear(C, width, bias=False)
            self.wi_1 = nn.Linear(C, width, bias=False)
        else:
            self.wi = nn.Linear(C, width, bias=False)
        self.wo = nn.Linear(width, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))
        return self.wo(F.relu(self.wi(x)))


class Sublayer(nn.Module):
    """x + inner(norm(x)); `inner` goes by the name that the checkpoints give it."""

    def __init__(self, config: T5Config, name: str, inner: nn.Module) -> None:
        super().__init__()
        self.layer_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.add_module(name, inner)
        self.name = name

    @property
    def inner(self) -> nn.Module:
        return getattr(self, self.name)

    def forward(self, x: Tensor, *args) -> Tensor:
        return x + self.inner(self.layer_norm(x), *args)


class Block(nn.Module):
    """Self-attention, in the decoder cross-attention, and an MLP: (B, T, C) -> (B, T, C)."""

    def __init__(self, config: T5Config, decoder: bool, first: bool) -> None:
        super().__init__()
        parts = {"SelfAttention": Attention(config, has_bias=first)}
        if decoder:
            parts["EncDecAttention"] = Attention(config)
        parts["DenseReluDense"] = MLP(config)  # so called whatever the activation is
        self.layer = nn.ModuleList(Sublayer(config, name, inner) for name, inner in parts.items())

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        memory: tuple[Tensor, Tensor] | None = None,
        memory_bias: Tensor | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """Biases as `Attention` takes them; memory: keys and values of the instruction, for a block of the decoder."""
        attention, *cross_attention, mlp = self.layer
        x = attention(x, bias, None, cache, layer)
        for cross in cross_attention:  # one or none
            x = cross(x, memory_bias, memory)
        return mlp(x)


class Stack(nn.Module):
    """The blocks of the encoder or the decoder, and the norm after them."""

    def __init__(self, config: T5Config, layers: int, decoder: bool) -> None:
        super().__init__()
        self.config, self.decoder = config, decoder
        self.block = nn.ModuleList(Block(config, decoder, first=i == 0) for i in range(layers))
        self.final_layer_norm = RMSNorm(config.hidden_size, config.norm_eps)

    def position_bias(self, length: int, T: int) -> Tensor:
        """Biases of the last T of length + T positions towards all of them: (1, H, T, length + T), fp32.

        The decoder's are -inf towards later positions.
        """
        table = self.block[0].layer[0].inner.relative_attention_bias.weight  # (buckets, H)
        keys = torch.arange(length + T, device=table.device)
        distance = keys - keys[length:, None]  # (T, length + T)
        buckets = distance_bucket(distance, not self.decoder, self.config.num_buckets, self.config.max_distance)
        bias = F.embedding(buckets, table).float().permute(2, 0, 1)[None]
        return bias.masked_fill(distance > 0, -math.inf) if self.decoder else bias


class T5Cache(KVCache):
    """What the decoder keeps of a batch: its own keys and values, and those of the instruction."""

    memory: list[tuple[Tensor, Tensor]] | None = None  # per layer, (B, H, U, d) each; None: nothing encoded yet
    memory_bias: Tensor  # (B, 1, 1, U), -inf at padding

    def take(self, rows: Tensor) -> None:
        super().take(rows)
        if self.memory is not None:
            self.memory = [(keys[rows], values[rows]) for keys, values in self.memory]
            self.memory_bias = self.memory_bias[rows]


class T5(WordTables):
    """Encoder-decoder transformer. V is `vocab_size`; one table holds the words of encoder and decoder."""

    INPUT = "shared"
    PROJECTIONS = {
        "q_proj": ("q",),
        "k_proj": ("k",),
        "v_proj": ("v",),
        "o_proj": ("o",),
        "gate_proj": ("wi_0",),
        "up_proj": ("wi_1", "wi"),
        "down_proj": ("wo",),
    }
    """What a decoder calls its layers -> the names here, so that recipes and defaults fit both."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config.vocab_size)
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.hidden_size)
        self.encoder = Stack(config, config.num_layers, decoder=False)
        self.decoder = Stack(config, config.num_decoder_layers, decoder=True)
        self.lm_head = None if config.tie_embeddings else nn.Embedding(config.vocab_size, config.hidden_size)

    def logits(self, hidden: Tensor, span: tuple[int, int] | None = None) -> Tensor:
        if self.config.scale_logits:
            hidden = hidden * self.config.hidden_size**-0.5
        return super().logits(hidden, span)

    def encode(self, ids: Tensor, real: Tensor) -> Tensor:
        """ids (B, U), real (B, U) bool: False is padding, which no token sees -> states (B, U, C)."""
        bias = self.encoder.position_bias(0, ids.shape[1]) + padding_bias(real)  # (B, H, U, U)
        bias = bias.to(self.compute_dtype())  # once for all layers
        x = self.embed(ids)
        for block in self.encoder.block:
            x = run_block(block, self.recomputes(None), x, bias)
        return self.encoder.final_layer_norm(x)

    def memory(self, encoded: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The keys and values of the instruction for every cross-attention."""
        return [block.layer[1].inner.keys_values(encoded) for block in self.decoder.block]

    def decode(
        self, ids: Tensor, memory: list[tuple[Tensor, Tensor]], memory_bias: Tensor, cache: KVCache | None = None
    ) -> Tensor:
        """ids (B, T) of the answer, which follow those in the cache -> final hidden states (B, T, C)."""
        length, T = 0 if cache is None else cache.length, ids.shape[1]
        if cache is not None and length + T > cache.capacity:
            raise ValueError(f"{length + T} tokens exceed the cache's capacity of {cache.capacity}")
        bias = self.decoder.position_bias(length, T).to(self.compute_dtype())
        x = self.embed(ids)
        for layer, block in enumerate(self.decoder.block):
            x = run_block(block, self.recomputes(cache), x, bias, memory[layer], memory_bias, cache, layer)
        if cache is not None:
            cache.length += T
        return self.decoder.final_layer_norm(x)

    def started(self, answer: Tensor) -> Tensor:
        """The decoder's input for answer ids (B, T): the start id before them, (B, T + 1)."""
        return F.pad(answer, (1, 0), value=self.config.start_id)

    def states(self, batch: dict[str, Tensor]) -> Tensor:
        """The states that predict a training batch's targets (B, T), (B, T, C).

        `instruction` (B, U) is right-padded after its `instruction_lengths` (B,); `ids` (B, T - 1) are the answers
        without their last ids, right-padded too.
        """
        ids = batch["instruction"]
        real = torch.arange(ids.shape[1], device=ids.device) < batch["instruction_lengths"][:, None]
        memory = self.memory(self.encode(ids, real))
        return self.decode(self.started(batch["ids"]), memory, padding_bias(real))

    # What the sampler needs.

    def new_cache(self, B: int, T: int) -> T5Cache:
        """An empty cache for B rows; T, of instruction and answer together, is more than the answer can need."""
        config = self.config
        shape = (B, config.num_heads, T + 1, config.head_dim)  # + 1 for the start id
        return T5Cache(config.num_decoder_layers, shape, self.compute_dtype(), self.shared.weight.device)

    def hidden(self, ids: Tensor, cache: T5Cache | None = None, start: Tensor | None = None) -> Tensor:
        """ids (B, T) -> the decoder's states of the answer's ids and of the start id before them, (B, .., C).

        Without a cache, or with an empty one, a row is its instruction up to </s>, then the answer so far. The
        instruction is encoded, and the decoder starts. In a left-padded batch, start (B,) is the index of
        each row's first real token. With a filled cache, ids follow the tokens in it, and start is not read.

        Raises ValueError if the rows do not have their </s> at the same place, or if the cache is too short.
        """
        if cache is not None and cache.memory is not None:
            return self.decode(ids, cache.memory, cache.memory_bias, cache)
        instruction, answer = self._split(ids)
        columns = torch.arange(instruction.shape[1], device=ids.device)
        real = (columns >= (0 if start is None else start[:, None])).expand(instruction.shape)
        memory, bias = self.memory(self.encode(instruction, real)), padding_bias(real)
        if cache is not None:
            cache.memory, cache.memory_bias = memory, bias
        return self.decode(self.started(answer), memory, bias, cache)

    def _split(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Instruction and answer: they part after the last column in which every row has </s>."""
        ends = (ids == self.config.end_id).all(0).nonzero()
        if not len(ends):
            raise ValueError(f"every prompt of a T5 must end with </s> (id {self.config.end_id}) where the others do")
        column = int(ends[-1]) + 1
        return ids[:, :column], ids[:, column:]


def padding_bias(real: Tensor) -> Tensor:
    """real (B, U) bool -> (B, 1, 1, U) fp32: 0, and -inf at padding."""
    return torch.zeros(real.shape, device=real.device).masked_fill(~real, -math.inf)[:, None, None]
