"""A step whose tensors keep their shapes and their places, so that a GPU can be given all of its kernels at once.

On a GPU a step of `DecodingLLM` waits for Python to name the next kernel, some hundred times per token. A CUDA graph
names them all at once, but it runs the very same kernels on the very same memory again. So nothing here may depend on
how much has been written: the column of the new token is a number in the device's memory, attention goes over all
columns of the cache with a mask, and rotary tables are there for all of them.

`StaticSteps` makes the steps and keeps the last few. Few shapes exist, as capacities are multiples of `CHUNK`. A step
holds its cache, which belongs to one motion at a time: `DecodingLLM` reads the prompt into it as into any other. With
`compiled` it goes through `torch.compile` before it is recorded: fewer kernels for the same operations, for some
seconds, or a minute for a large model, when a shape is first used. `tests/test_static_decoding.py` compares all of this
with the plain step. Results differ by rounding alone.

A CPU has none of this. A demo model's step, compiled, took 0.7, 0.9 and 1.0 of the time for 1, 8 and 32 rows, of which
whole motions showed nothing: their times were 1.0, 0.95 and 1.1 of the plain ones.
"""

import weakref
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from motiongpt.llm import LLM

CHUNK = 128  # columns: capacities are multiples of it
KEPT, KEPT_BYTES = 4, 2 << 30  # so many steps are kept, and fewer if their caches together would be larger than that
WARM_UP = 3  # runs before, in which libraries make what must not be made during a recording
BACKEND = "inductor"  # of torch.compile
COMPILED = 64  # steps at most in one process at a time; PyTorch's own limit, 8, is to find what is compiled in vain


def can_record(device: torch.device) -> bool:
    """Whether PyTorch can record the kernels of a step there."""
    return device.type == "cuda"


class Block(Protocol):
    """What a step needs of a layer: a part of `model.FusedBlock`, which says what the functions take and give."""

    is_local: bool
    scale: float | None

    def queries_keys_values(
        self, x: Tensor, cos: Tensor, sin: Tensor, lead: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def after(self, x: Tensor, attended: Tensor) -> Tensor: ...


class Layers:
    """What a step reads and never writes, for caches of T columns: weights, and what depends on columns alone."""

    def __init__(self, llm: LLM, blocks: Sequence[Block], norms: tuple[Tensor, Tensor] | None, T: int) -> None:
        """`norms`, if queries and keys have norms: their weights (layers, 1, H + K, d), and these rolled by d / 2."""
        self.llm, self.blocks, self.norms = llm, blocks, norms
        self.columns = torch.arange(T, device=llm.norm.weight.device)
        kinds = sorted({block.is_local for block in blocks})
        self.windows = [llm.config.window if local else 0 for local in kinds]
        self.kinds = [kinds.index(block.is_local) for block in blocks]
        self.index = torch.tensor(self.kinds, device=self.columns.device)
        dtype = llm.compute_dtype()
        if norms is not None:  # they are folded into the tables, in no less than fp32
            dtype = torch.promote_types(dtype, torch.float32)
        turns = [llm.turns(self.columns, local, dtype) for local in kinds]
        self.cos, self.sin = (torch.stack(tables) for tables in zip(*turns, strict=True))  # (kinds, T, d)


def run_layers(
    layers: Layers, ids: Tensor, at: Tensor, start: Tensor, keys: list[Tensor], values: list[Tensor]
) -> Tensor:
    """Tokens ids (B, 1) in column at (1,) of rows that begin at start (B,) -> (B, C).

    Every layer's keys and values, (B, K, T, d), take those of the tokens.
    """
    B, K, _, d = keys[0].shape
    seen = (layers.columns <= at) & (layers.columns >= start[:, None])  # (B, T)
    masks = []  # for layers of each kind, (B, 1, 1, T): what is added to scores
    for window in layers.windows:
        hidden = ~(seen & (layers.columns > at - window) if window else seen)
        mask = torch.zeros_like(hidden, dtype=keys[0].dtype).masked_fill_(hidden, -torch.inf)
        masks.append(mask[:, None, None])

    cos, sin = (table.index_select(1, at - start)[:, :, None] for table in (layers.cos, layers.sin))  # (kinds, B, 1, d)
    if len(masks) > 1:
        cos, sin = cos[layers.index], sin[layers.index]
    if layers.norms is not None:
        cos, sin = cos * layers.norms[0], sin * layers.norms[1]  # (layers, B, H + K, d)
    cos, sin = (table.expand(len(layers.blocks), *table.shape[1:]).unbind() for table in (cos, sin))

    x = layers.llm.embed(ids)[:, 0]  # (B, C)
    for i, block in enumerate(layers.blocks):
        q, k, v = block.queries_keys_values(x, cos[i], sin[i], (B,))
        for cache, new in ((keys[i], k), (values[i], v)):
            cache.index_copy_(2, at, new[:, :, None].to(cache.dtype))
        # queries that share a key are rows of one product, as in `DecodingLLM`
        q, mask = q.reshape(B, K, -1, d).to(keys[i].dtype), masks[layers.kinds[i]]
        out = F.scaled_dot_product_attention(q, keys[i], values[i], attn_mask=mask, scale=block.scale)
        x = block.after(x, out.reshape(B, -1))
    return x


class StaticStep:
    """One token after another for B rows in T columns: `DecodingLLM._write` on buffers of its own."""

    def __init__(self, layers: Layers, B: int, compiled: bool) -> None:
        self.layers, self.shape = layers, (B, len(layers.columns))
        self.cache = layers.llm.new_cache(*self.shape)
        self.ids = self.cache.keys[0].new_zeros(B, 1, dtype=torch.long)
        self.at, self.start = self.ids.new_zeros(1), self.ids.new_zeros(B)
        self.user: weakref.ref[StaticCache] | None = None
        self.run_layers = run_layers
        self.lend(0)
        if compiled:
            self._compile()
        self.graph, self.out = self._record()

    def lend(self, T: int) -> None:
        """Make room for a motion of T tokens. Hidden columns count nothing only if they are finite: they become 0."""
        for table in (*self.cache.keys, *self.cache.values):
            table.zero_()
        self.cache.length, self.cache.capacity = 0, T
        self.begun = False

    @torch.inference_mode(False)  # buffers are written to inside and outside of it, and a compiler asks which it is
    @torch.no_grad()
    def __call__(self, ids: Tensor, start: Tensor | None) -> Tensor:
        """The token after those in the cache: ids (B, 1) -> (B, C), which the next call may write over."""
        if not self.begun:
            self.start.copy_(start) if start is not None else self.start.zero_()
            self.begun = True
        self.ids.copy_(ids)
        self.at.fill_(self.cache.length)
        self.graph.replay()
        return self.out

    def _run(self) -> Tensor:
        return self.run_layers(self.layers, self.ids, self.at, self.start, self.cache.keys, self.cache.values)

    def _compile(self) -> None:
        """ValueError if PyTorch cannot compile here."""
        # one row: products of a vector become kernels that take in what stands around them
        options = {"coordinate_descent_tuning": True} if self.ids.is_cuda and self.shape[0] == 1 else None
        self.run_layers = torch.compile(run_layers, backend=BACKEND, fullgraph=True, dynamic=False, options=options)
        try:
            with torch._dynamo.config.patch(recompile_limit=COMPILED):
                self._run()
        except torch._dynamo.exc.TorchDynamoException as error:
            raise ValueError(
                "torch.compile failed. It needs Triton and a C++ compiler (g++ or clang++, or the one that the "
                "environment variable CXX names). Install them, or write without compiling. It said: "
                f"{str(error).strip() or type(error).__name__}"
            ) from error

    def _record(self) -> "tuple[torch.cuda.CUDAGraph, Tensor]":
        """A CUDA graph of a run, and what it writes its result to; in the way of PyTorch's manual ("CUDA Graphs")."""
        with torch.cuda.device(self.ids.device):
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    self._run()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # in this mode other threads may work meanwhile
            with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                out = self._run()
        return graph, out


class StaticCache:
    """A motion's part in a step: its cache, `plain`, which it has for itself as long as it lives."""

    def __init__(self, step: StaticStep, T: int) -> None:
        step.lend(T)
        step.user = weakref.ref(self)
        self.step, self.plain = step, step.cache


class StaticSteps:
    """The steps of a model, by their shapes. The least recently used goes first; a motion in it is not disturbed.

    Threads that write with one model take turns.
    """

    def __init__(self, llm: LLM, blocks: Sequence[Block], norms: tuple[Tensor, Tensor] | None, compiled: bool) -> None:
        """See `Layers`."""
        self.llm, self.blocks, self.norms, self.compiled = llm, blocks, norms, compiled
        self.kept: list[StaticStep] = []  # the one used last is the last
        config = llm.config
        numbers = 2 * config.num_layers * config.num_kv_heads * config.head_dim
        self.column = numbers * llm.compute_dtype().itemsize  # bytes of a column of one row

    @torch.inference_mode(False)
    @torch.no_grad()
    def new_cache(self, B: int, T: int) -> StaticCache:
        """An empty cache for B rows of up to T tokens, in a step that nobody else uses."""
        shape = (B, -(-T // CHUNK) * CHUNK)
        free = [step for step in self.kept if step.shape == shape and (step.user is None or step.user() is None)]
        if free:
            step = free[-1]
            self.kept.remove(step)
        else:
            size = self.column * shape[0] * shape[1]
            while self.kept and (len(self.kept) >= KEPT or self.nbytes + size > KEPT_BYTES):
                del self.kept[0]  # before memory for another is taken
            step = StaticStep(Layers(self.llm, self.blocks, self.norms, shape[1]), B, self.compiled)
        self.kept.append(step)
        return StaticCache(step, T)

    @property
    def nbytes(self) -> int:
        """Of all caches that are kept."""
        return sum(self.column * B * T for B, T in (step.shape for step in self.kept))
