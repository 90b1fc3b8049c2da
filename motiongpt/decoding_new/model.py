"""A language model that writes: `LLM.hidden` again, for one token per row, in fewer and larger operations.

Writing is bound by two things. A large model waits for its weights, each of which is read once per token. A small one
waits for the next operation to begin: a few microseconds each, some hundred times per token. `LLM` is written to be
read and to be trained; this is the same function for the sampler, with

- one product for queries, keys and values, and one for gate and up. The fused matrix takes the place of its parts,
  which become views of it and take no memory of their own;
- the product in the order that reads weights fastest on a CPU, its sum with the residual in the same call. For several
  rows in fp32 that takes a second, packed copy of large matrices (`Matrix`);
- the norm of queries and keys folded into the rotary tables, which are computed once per motion;
- attention with the queries that share a key as rows of one product, so the cache is not copied for every query.

The prompt goes through `LLM.hidden` itself, as does everything under autocast. `tests/test_decoding.py` compares the
two. Results differ by rounding alone: sums of fp32 numbers in another order, about 1e-6 of a logit.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from motiongpt.layers import Block, KVCache, RMSNorm
from motiongpt.llm import LLM
from motiongpt.lora import lora_layers

LARGE = 1 << 19  # numbers in a matrix from which on reading it costs more than calling the kernel of a packed one
MAX_PACKED = 4 << 30  # bytes of a model's layers up to which packed copies, of the same size, are made
# PyTorch's compiler uses these two; without them F.linear does the work
CAN_PACK = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


class Matrix:
    """The weight (out, in) and bias (out,) of a linear layer, for products with few rows on a CPU.

    A few rows leave a product waiting for memory, and `F.linear` reads a large matrix at half its speed:

        bf16   weight x^T instead of x weight^T, or a matrix with a vector
        fp32   one row: a matrix with a vector; more: the matrix reordered once into the blocks of the kernel
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, pack: bool) -> None:
        """`pack` allows a reordered copy of a large fp32 matrix; it is made when there is more than one row."""
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()
        self.pack = pack and weight.dtype == torch.float32 and weight.numel() >= LARGE and CAN_PACK
        self.packed: Tensor | None = None

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """onto + x weight^T + bias: x (B, in), onto (B, out) -> (B, out)."""
        weight, bias = self.weight, self.bias
        if weight.device.type == "cpu":
            if len(x) == 1:
                out = torch.mv(weight, x[0]) if onto is None else torch.addmv(onto[0], weight, x[0])
                return (out if bias is None else out + bias)[None]
            if self.pack:
                if self.packed is None:
                    self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.clone(), len(x))
                if onto is None:
                    return torch.ops.mkldnn._linear_pointwise(x, self.packed, bias, "none", [], "")
                return torch.ops.mkldnn._linear_pointwise(x, onto, self.packed, bias, "add")
            if weight.dtype == torch.bfloat16:
                out = torch.mm(weight, x.t()) if onto is None else torch.addmm(onto.t(), weight, x.t())
                out = out.t().contiguous()  # attention has no fused kernel for columns
                return out if bias is None else out + bias
        out = F.linear(x, weight, bias)
        return out if onto is None else onto + out


@dataclass(frozen=True)
class Norm:
    """`layers.RMSNorm` in four operations: x / hypot(|x|, sqrt(n eps)) * sqrt(n) weight, |x| the length of n channels.

    PyTorch's own takes twice as many on a CPU. The quotient is fp32, and the product is rounded once, whatever x is.
    """

    weight: Tensor  # (n,) fp32, sqrt(n) times that of the norm
    root: Tensor  # (), sqrt(n eps)

    @classmethod
    def of(cls, norm: RMSNorm) -> "Norm":
        weight = norm.weight.detach().float() + (1.0 if norm.unit_offset else 0.0)
        n = len(weight)
        return cls(weight * n**0.5, weight.new_tensor((n * norm.eps) ** 0.5))

    def direction(self, x: Tensor) -> Tensor:
        """x (..., n) / (sqrt(n) root mean square), fp32."""
        return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32), self.root)

    def __call__(self, x: Tensor) -> Tensor:
        return self.direction(x).mul_(self.weight).to(x.dtype)


class FusedBlock:
    """The weights of one `layers.Block` as a step needs them."""

    def __init__(self, block: Block, pack: bool) -> None:
        attention, mlp = block.self_attn, block.mlp
        self.qkv = Matrix(*_fuse(attention.q_proj, attention.k_proj, attention.v_proj), pack)
        self.o = Matrix(attention.o_proj.weight, attention.o_proj.bias, pack)
        self.gate_up = Matrix(*_fuse(mlp.gate_proj, mlp.up_proj), pack)
        self.down = Matrix(mlp.down_proj.weight, mlp.down_proj.bias, pack)
        self.window, self.scale, self.activation = attention.window, attention.scale, mlp.activation
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


def _fuse(*layers: torch.nn.Linear) -> tuple[Tensor, Tensor | None]:
    """The weights (out, in) and biases of some linear layers as one; the layers' own weights become parts of it."""
    with torch.inference_mode(False), torch.no_grad():  # the sampler is in inference mode; a weight must be trainable
        fused = torch.cat([layer.weight.detach() for layer in layers])
        for layer, part in zip(layers, fused.split([len(layer.weight) for layer in layers]), strict=True):
            layer.weight.data = part
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    return fused, torch.cat(biases) if biases else None


def add(x: Tensor, inner: Tensor, matrix: Matrix, norm: Norm | None) -> Tensor:
    """The residual stream x (B, C) plus what half a block writes into it, which Gemma 3 normalises before the sum."""
    return matrix(inner, onto=x) if norm is None else x + norm(matrix(inner))


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


def _state(llm: LLM) -> tuple:
    """What changes when a weight does: where it lies in memory, and how often it was written to."""
    return tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in llm.parameters())


class DecodingLLM:
    """A `sampling.Model` made of an `LLM` that is done with training; see the module docstring.

    It shares the weights of `llm`, which stays usable. Fused matrices are made at the first step, and anew at the first
    of a motion after weights have changed or moved.
    """

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self._blocks: list[FusedBlock] = []
        self._fused: tuple = ()  # the weights that they were made of

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_blocks": []}  # packed matrices can be neither copied nor written

    def to(self, device: torch.device | str) -> "DecodingLLM":
        """Move the model to a device, without leaving fused matrices behind."""
        self._blocks = []
        self.llm.to(device)
        return self

    @property
    def training(self) -> bool:
        return self.llm.training

    def new_cache(self, B: int, T: int) -> DecodingCache:
        """An empty cache for B rows of up to T tokens with padding."""
        if self._blocks and self._fused != _state(self.llm):
            self._blocks = []
        return DecodingCache(self.llm.new_cache(B, T))

    def logits(self, hidden: Tensor, span: tuple[int, int] | None = None) -> Tensor:
        return self.llm.logits(hidden, span)

    @torch.no_grad()
    def hidden(self, ids: Tensor, cache: DecodingCache, start: Tensor | None = None) -> Tensor:
        """As `LLM.hidden`: ids (B, T) after the cache -> (B, T, C). With T = 1 after a prompt it is the fast step."""
        llm, plain = self.llm, cache.plain
        at = plain.length
        full = at >= min(plain.capacity, llm.config.max_positions)  # `LLM.hidden` says what is too short
        if ids.shape[1] > 1 or at == 0 or full or llm.casts:
            return llm.hidden(ids, plain, start)
        if not self._blocks:
            self._fuse()
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
        x = llm.embed(ids)[:, 0]  # (B, C)
        for i, block in enumerate(self._blocks):
            x = self._step(block, x, cos[i], sin[i], columns[i], seen[i], mask)
        plain.length += 1
        return self._last_norm(x)[:, None]

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
        qkv = block.qkv(block.before_attention(x)).view(B, -1, d)
        turned, v = qkv.split((qkv.shape[1] - K, K), 1)  # queries and keys (B, H + K, d), values (B, K, d)
        if block.query_norm is not None:
            turned = block.query_norm.direction(turned)  # its weight, and that of the keys, is in cos and sin
        turned = torch.addcmul(turned * cos, turned.roll(d // 2, -1), sin)  # `layers.rotate`, without its backward
        q, k = turned.split((turned.shape[1] - K, K), 1)
        column[0].copy_(k)
        column[1].copy_(v)
        keys, values = seen
        if block.window is not None:
            keys, values = keys[:, :, -block.window :], values[:, :, -block.window :]
            mask = None if mask is None else mask[..., -block.window :]
        # q (B, K, H / K, d): queries that share a key are rows of one product, and no key is copied for each of them
        q = q.reshape(B, K, -1, d).to(keys.dtype)
        out = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, scale=block.scale).reshape(B, -1)
        x = add(x, out, block.o, block.after_attention)  # out (B, H d)
        gate, up = block.gate_up(block.before_mlp(x)).chunk(2, -1)
        gate = F.silu(gate) if block.activation == "silu" else F.gelu(gate, approximate="tanh")
        return add(x, gate.mul_(up), block.down, block.after_mlp)

    def _fuse(self) -> None:
        """Fuse the matrices of every block. ValueError if the model has adapters that are not merged."""
        llm, layers = self.llm, self.llm.layers
        if any(not layer.merged for layer in lora_layers(llm).values()):
            raise ValueError("the model has adapters that are not merged: call lora.merge before it writes")
        body = sum(parameter.nbytes for parameter in layers.parameters())
        self._blocks = [FusedBlock(block, pack=body <= MAX_PACKED) for block in layers]
        self._last_norm = Norm.of(llm.norm)
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
