"""A language model that writes: `LLM.hidden` again, for one token per row, in fewer and larger operations.

Writing is bound by two things. A large model waits for its weights, each of which is read once per token. A small one
waits for the next operation to begin: a few microseconds each, some hundred times per token. `LLM` is written to be
read and to be trained; this is the same function for the sampler, with

- one product for queries, keys and values, and one for gate and up. The fused matrix takes the place of its parts,
  which become views of it and take no memory of their own;
- products in the order that reads weights fastest on a CPU, their sum with the residual in the same call, and on one
  thread if they are small (`products.py`);
- the norm of queries and keys folded into the rotary tables, which are computed once per motion;
- attention with the queries that share a key as rows of one product, so the cache is not copied for every query.

A prompt goes through the same products, and in the last layer through those alone that its last token needs. Under
autocast everything goes through `LLM.hidden` itself. `tests/test_decoding.py` compares the two. Results differ by
rounding alone: sums of fp32 numbers in another order, about 1e-6 of a logit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from motiongpt.decoding.products import Matrix, Norm
from motiongpt.decoding.static import StaticCache, StaticSteps, can_record
from motiongpt.kernels.threads import threads_for
from motiongpt.layers import Block, KVCache, attend
from motiongpt.llm import LLM
from motiongpt.lora import lora_layers

MAX_COPIED = 4 << 30  # bytes of a model's layers up to which copies in another order, of the same size, are made
SMALL_HEAD = 1 << 22  # numbers in the output rows of a span up to which they are kept in another order


class FusedBlock:
    """The weights of one `layers.Block` as a step needs them."""

    def __init__(self, block: Block, copies: bool) -> None:
        attention, mlp = block.self_attn, block.mlp
        self.qkv = Matrix(*_fuse(attention.q_proj, attention.k_proj, attention.v_proj), copies)
        self.o = Matrix(attention.o_proj.weight, attention.o_proj.bias, copies)
        self.gate_up = Matrix(*_fuse(mlp.gate_proj, mlp.up_proj), copies)
        self.down = Matrix(mlp.down_proj.weight, mlp.down_proj.bias, copies)
        self.is_local, self.window, self.scale = block.is_local, attention.window, attention.scale
        self.activation, self.head_dim = mlp.activation, attention.head_dim
        self.kv_heads = attention.k_proj.out_features // self.head_dim
        self.query_norm = None if attention.q_norm is None else Norm.of(attention.q_norm)
        self.key_norm = None if attention.k_norm is None else Norm.of(attention.k_norm)
        self.before_attention = Norm.of(block.input_layernorm)
        if block.post_norms:
            self.after_attention = Norm.of(block.post_attention_layernorm)
            self.before_mlp = Norm.of(block.pre_feedforward_layernorm)
            self.after_mlp = Norm.of(block.post_feedforward_layernorm)
        else:
            self.after_attention = self.after_mlp = None
            self.before_mlp = Norm.of(block.post_attention_layernorm)

    def queries_keys_values(
        self, x: Tensor, cos: Tensor, sin: Tensor, lead: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The residual stream x (R, C) of `lead` tokens, R in all -> queries (*lead, H, d), keys, values (*lead, K, d).

        cos and sin, broadcast to (*lead, H + K, d), are those of `layers.rotary`, times the weight of the norm if
        queries and keys have one.
        """
        qkv = self.qkv(self.before_attention(x)).view(*lead, -1, self.head_dim)
        K = self.kv_heads
        turned, v = qkv.split((qkv.shape[-2] - K, K), -2)
        if self.query_norm is not None:
            turned = self.query_norm.direction(turned)
        turned = torch.addcmul(turned * cos, turned.roll(self.head_dim // 2, -1), sin)  # `layers.rotate`, not to train
        q, k = turned.split((turned.shape[-2] - K, K), -2)
        return q, k, v

    def after(self, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of the layer: x (R, C) and what its tokens have gathered, (R, H d) -> (R, C)."""
        x = add(x, attended, self.o, self.after_attention)
        gate, up = self.gate_up(self.before_mlp(x)).chunk(2, -1)
        gate = F.silu(gate) if self.activation == "silu" else F.gelu(gate, approximate="tanh")
        return add(x, gate.mul_(up), self.down, self.after_mlp)


def _fuse(*layers: torch.nn.Linear) -> tuple[Tensor, Tensor | None]:
    """The weights (out, in) and biases of some linear layers as one; the layers' own weights become parts of it."""
    # the sampler is in inference mode; a weight that was made outside of it must stay trainable
    with torch.inference_mode(layers[0].weight.is_inference()), torch.no_grad():
        fused = torch.cat([layer.weight.detach() for layer in layers])
        for layer, part in zip(layers, fused.split([len(layer.weight) for layer in layers]), strict=True):
            layer.weight.data = part
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    return fused, torch.cat(biases) if biases else None


def add(x: Tensor, inner: Tensor, matrix: Matrix, norm: Norm | None) -> Tensor:
    """The residual stream x (B, C) plus what half a block writes into it, which Gemma 3 normalises before the sum."""
    return matrix(inner, onto=x) if norm is None else x + norm(matrix(inner))


def _distinct(ids: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The distinct ones of prompts (B, T), of their starts (B,), and the place (B,) of each prompt among them.

    Several motions of one sentence have one prompt. Without any that are equal, what was given and None.
    """
    rows = ids if start is None else torch.cat((ids, start[:, None]), 1)
    rows, place = rows.cpu().unique(dim=0, return_inverse=True)  # Apple's devices cannot do it
    if len(rows) == len(ids):
        return ids, start, None
    rows, place = rows.to(ids.device), place.to(ids.device)
    return rows[:, : ids.shape[1]], None if start is None else rows[:, -1], place


class DecodingCache:
    """A `KVCache` in one piece, and what depends on the positions alone, computed once for all steps of a run."""

    def __init__(self, plain: KVCache) -> None:
        first, layers = plain.keys[0], len(plain.keys)
        plain.keys = plain.values = []  # memory that nothing was written to: given back before the piece is taken
        self.plain = plain
        # (layers, B, K, T, d) of each: a step takes its views of all layers at once
        self.keys, self.values = first.new_empty(2, layers, *first.shape)
        plain.keys, plain.values = list(self.keys.unbind()), list(self.values.unbind())
        self.cos: Tensor | None = None  # (kinds, T, B or 1, 1, d), kinds of layers by their rotary base
        self.sin: Tensor | None = None
        self.mask: Tensor | None = None  # (B, 1, 1, T) of the weights' dtype, -inf in the padding

    def take(self, rows: Tensor) -> None:
        """Keep these rows (n,) alone, in this order; a row may be taken twice."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.plain.keys, self.plain.values = list(self.keys.unbind()), list(self.values.unbind())
        if self.mask is not None:
            self.cos, self.sin, self.mask = self.cos[:, :, rows], self.sin[:, :, rows], self.mask[rows]


def _state(llm: LLM) -> tuple:
    """What changes when a weight does: where it lies in memory, and how often it was written to."""
    return tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in llm.parameters())


class DecodingLLM:
    """A `sampling.Model` made of an `LLM` that is done with training; see the module docstring.

    It shares the weights of `llm`, which stays usable. Fused matrices are made at the first step, and anew at the first
    of a motion after weights have changed or moved. `steps`, set before the first of them, says how they run on a CUDA
    GPU: "plain", or as those of `static.py`, "recorded" or also "compiled".
    """

    def __init__(self, llm: LLM, steps: str = "plain") -> None:
        self.llm, self.steps = llm, steps
        self._blocks: list[FusedBlock] = []
        self._heads: dict[tuple[int, int], Matrix] = {}  # output rows by span
        self._fused: tuple = ()  # the weights that they were made of
        self._steps: StaticSteps | None = None

    def __getstate__(self) -> dict:
        # packed matrices can be neither copied nor written, and neither can CUDA graphs
        return self.__dict__ | {"_blocks": [], "_heads": {}, "_steps": None}

    def to(self, device: torch.device | str) -> "DecodingLLM":
        """Move the model to a device, without leaving fused matrices behind."""
        self._forget()
        self.llm.to(device)
        return self

    def _forget(self) -> None:
        self._blocks, self._heads, self._steps = [], {}, None

    @property
    def training(self) -> bool:
        return self.llm.training

    def new_cache(self, B: int, T: int) -> DecodingCache | StaticCache:
        """An empty cache for B rows of up to T tokens with padding."""
        if self._blocks and self._fused != _state(self.llm):
            self._forget()
        if self.steps == "plain" or self.llm.casts or not can_record(self.llm.norm.weight.device):
            return DecodingCache(self.llm.new_cache(B, T))
        if self._steps is None:
            if not self._blocks:
                self._fuse()
            norms = None if self._weight is None else (self._weight, self._rolled)
            self._steps = StaticSteps(self.llm, self._blocks, norms, self.steps == "compiled")
        return self._steps.new_cache(B, T)

    def logits(self, hidden: Tensor, span: tuple[int, int]) -> Tensor:
        """As `LLM.logits`: hidden (B, C) -> (B, last - first)."""
        (first, last), llm, border = span, self.llm, self.llm.first_id
        in_one_table = 0 <= first < last <= (border if first < border else llm.vocab_size)
        if llm.casts or not self._blocks or not in_one_table or (last - first) * hidden.shape[-1] > SMALL_HEAD:
            return llm.logits(hidden, span)  # which says what is wrong with a span
        if span not in self._heads:
            base, new = llm.head
            rows = base[first:last] if last <= border else new[first - border : last - border]
            self._heads[span] = Matrix(rows.to(hidden.dtype), None, copies=True)
        with threads_for(2 * len(hidden) * self._heads[span].weight.numel()):
            return self._heads[span](hidden)

    @torch.no_grad()
    def hidden(self, ids: Tensor, cache: DecodingCache | StaticCache, start: Tensor | None = None) -> Tensor:
        """As `LLM.hidden`, but of the last token alone: ids (B, T) after the cache -> (B, 1, C)."""
        llm, plain = self.llm, cache.plain
        at, T = plain.length, ids.shape[1]
        if llm.casts or at + T > min(plain.capacity, llm.config.max_positions):  # `LLM.hidden` says what is too short
            return llm.hidden(ids, plain, start)[:, -1:]
        if not self._blocks:
            self._fuse()
        x = self._read(ids, cache, start) if T > 1 else self._write(ids, cache, start)
        plain.length += T
        return self._last_norm(x)[:, None]

    def _read(self, ids: Tensor, cache: DecodingCache | StaticCache, start: Tensor | None) -> Tensor:
        """A prompt: ids (B, T) -> (B, C), the state of each row's last token."""
        (B, T), at = ids.shape, cache.plain.length
        ids, start, place = _distinct(ids, start) if at == 0 < B - 1 else (ids, start, None)
        views = self.llm.views(at, T, start)
        x = self.llm.embed(ids).flatten(0, 1)  # (B T, C)
        for i, block in enumerate(self._blocks):
            cos, sin, mask, causal = views[block.is_local]  # the tables are (T, d), or (B, 1, T, d) with padding
            cos, sin = cos[..., None, :], sin[..., None, :]
            if start is not None:
                cos, sin = cos[:, 0], sin[:, 0]  # (B, T, 1, d)
            if self._weight is not None:
                cos, sin = cos * self._weight[i], sin * self._rolled[i]  # (B or 1, T, H + K, d)
            q, k, v = block.queries_keys_values(x, cos, sin, tuple(ids.shape))
            k, v = (y.transpose(1, 2).to(cache.plain.keys[i].dtype) for y in (k, v))  # (B, K, T, d)
            if place is None:
                k, v = cache.plain.append(i, k, v)  # (B, K, at + T, d)
            else:
                cache.plain.append(i, k[place], v[place])
            if block.window is not None:
                k, v = k[:, :, -(block.window + T - 1) :], v[:, :, -(block.window + T - 1) :]
            if i == len(self._blocks) - 1:  # of the last layer, keys and values are all that other tokens are for
                q, x = q[:, -1:], x.view(*ids.shape, -1)[:, -1]
                mask, causal = None if mask is None else mask[..., -1:, :], False
            out = attend(q.transpose(1, 2).to(k.dtype), k, v, mask, causal, block.scale)  # (B, H, T or 1, d)
            x = block.after(x, out.transpose(1, 2).reshape(len(x), -1))
        return x if place is None else x[place]

    def _write(self, ids: Tensor, cache: DecodingCache | StaticCache, start: Tensor | None) -> Tensor:
        """The token after: ids (B, 1) -> (B, C)."""
        if isinstance(cache, StaticCache):
            return cache.step(ids, start)
        at = cache.plain.length
        if cache.cos is None:
            self._prepare(cache, start)
        cos, sin = cache.cos[:, at], cache.sin[:, at]  # (kinds, B or 1, 1, d)
        if len(cos) > 1:
            cos, sin = cos[self._kinds], sin[self._kinds]
        if self._weight is not None:
            cos, sin = cos * self._weight, sin * self._rolled  # (layers, B or 1, H + K, d)
        cos, sin = (table.expand(len(self._blocks), *table.shape[1:]).unbind() for table in (cos, sin))
        columns, seen = (
            list(zip(cache.keys[..., part, :].unbind(), cache.values[..., part, :].unbind(), strict=True))
            for part in (at, slice(at + 1))  # (B, K, d) and (B, K, at + 1, d), of keys and of values, by layers
        )
        mask = None if cache.mask is None else cache.mask[..., : at + 1]
        x = self.llm.embed(ids)[:, 0]  # (B, C)
        with threads_for(2 * len(x) * self._largest):
            for i, block in enumerate(self._blocks):
                x = self._step(block, x, cos[i], sin[i], columns[i], seen[i], mask)
        return x

    def _step(
        self,
        block: FusedBlock,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        column: tuple[Tensor, Tensor],
        seen: tuple[Tensor, Tensor],
        mask: Tensor | None,
    ) -> Tensor:
        """One layer for one token of each row, (B, C) -> (B, C). `column`, the last one `seen`, takes key and value."""
        B, K, d = column[0].shape
        q, k, v = block.queries_keys_values(x, cos, sin, (B,))
        column[0].copy_(k)
        column[1].copy_(v)
        keys, values = seen
        if block.window is not None:
            keys, values = keys[:, :, -block.window :], values[:, :, -block.window :]
            mask = None if mask is None else mask[..., -block.window :]
        # q (B, K, H / K, d): queries that share a key are rows of one product, and no key is copied for each of them
        q = q.reshape(B, K, -1, d).to(keys.dtype)
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=block.scale)
        return block.after(x, out.reshape(B, -1))

    def _fuse(self) -> None:
        """Fuse the matrices of every block. ValueError if the model has adapters that are not merged."""
        llm, layers = self.llm, self.llm.layers
        if any(not layer.merged for layer in lora_layers(llm).values()):
            raise ValueError("the model has adapters that are not merged: call lora.merge before it writes")
        body = sum(parameter.nbytes for parameter in layers.parameters())
        self._blocks = [FusedBlock(block, copies=body <= MAX_COPIED) for block in layers]
        self._last_norm = Norm.of(llm.norm)
        self._largest = max(block.gate_up.weight.numel() for block in self._blocks)
        self._kinds = torch.tensor([int(block.is_local) for block in layers], device=llm.norm.weight.device)
        self._weight = self._rolled = None
        if llm.config.qk_norm:
            H, K = llm.config.num_heads, llm.config.num_kv_heads
            norms = [
                torch.cat((fused.query_norm.weight.expand(H, -1), fused.key_norm.weight.expand(K, -1)))
                for fused in self._blocks
            ]
            self._weight = torch.stack(norms)[:, None]  # (layers, 1, H + K, d)
            self._rolled = self._weight.roll(llm.config.head_dim // 2, -1)
        self._fused = _state(llm)

    def _prepare(self, cache: DecodingCache, start: Tensor | None) -> None:
        """Compute what depends on the positions alone, for all columns of the cache."""
        llm, config = self.llm, self.llm.config
        columns = torch.arange(cache.plain.capacity, device=llm.norm.weight.device)
        positions = columns[:, None] if start is None else (columns[:, None] - start).clamp(min=0)  # (T, B or 1)
        # the folded weights are fp32, and so is what they are folded into
        dtype = torch.float32 if config.qk_norm else llm.compute_dtype()
        kinds = [llm.turns(positions, local, dtype) for local in ((False, True) if config.layer_types else (False,))]
        cache.cos, cache.sin = (torch.stack(tables)[..., None, :] for tables in zip(*kinds, strict=True))
        if start is not None:
            padding = (columns < start[:, None])[:, None, None]
            cache.mask = torch.zeros(padding.shape, dtype=llm.compute_dtype(), device=columns.device)
            cache.mask.masked_fill_(padding, -torch.inf)
