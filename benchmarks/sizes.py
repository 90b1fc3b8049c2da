"""Memory and time of training, by formula, for four backbones; and one step measured against it.

    python benchmarks/sizes.py                                    # the tables of docs/SIZES.md and docs/SCALING.md
    python benchmarks/sizes.py --measure SmolLM2-135M             # one LoRA step on the CPU, its memory and its seconds
    python benchmarks/sizes.py --measure SmolLM2-135M --train full --rows 4 --tokens 64 --checkpoint-activations

The formulas count the tensors that `llm.py`, `layers.py`, `lora.py`, `tasks/collate.py` and `kernels/` keep.
`tests/test_sizes.py` holds them against PyTorch's own list of saved tensors, and the pages against the formulas.
Weights are random, as no number here depends on them. GB are 10^9 bytes.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.config import LLMConfig
from motiongpt.data.token_shards import BLOCK, KINDS, ROW, SHARD_CODES
from motiongpt.kernels.vocabulary_loss import CACHED, CHUNK

_LLAMA = {"rope_theta": 10_000.0, "qk_norm": False}
SHAPES = {
    "SmolLM2-135M": LLMConfig(49_152, 576, 1536, 30, 9, 3, 64, 8192, **_LLAMA),
    "Qwen3-0.6B": LLMConfig(151_936, 1024, 3072, 28, 16, 8, 128, 40_960),
    "Qwen3-1.7B": LLMConfig(151_936, 2048, 6144, 28, 16, 8, 128, 40_960),
    "Qwen3-8B": LLMConfig(151_936, 4096, 12_288, 36, 32, 8, 128, 40_960, tie_embeddings=False),
}
WORDS = 519  # 512 codes, two markers, five words for tasks and people
RANK = 16
MICRO = 4096  # tokens of a micro-batch in the tables: 64 examples of 64, which is HumanML3D's 36 codes and a caption
LABELLED = 0.5  # of its tokens: the codes of t2m, the caption of m2t
LENGTH = 64  # tokens of an example
MFU = 0.35  # assumed share of a device's peak
PEAK = {"T4": 65e12, "A100": 312e12, "H100, H200": 989e12}  # FLOP/s of dense fp16 or bf16 products, by the data sheets
GPUS = (1, 8, 64)
M_MMAP_THRESHOLD = -3  # <malloc.h>
NVLINK, NETWORK = 300e9, 50e9  # bytes/s that a GPU sends, assumed: within a machine of 8, between machines (400 Gbit/s)
CODES, CAPTION, NAME = 36, 60, 14  # codes, and bytes of caption and id, of an entry of the corpora in the table
JSON_ENTRY = 1500  # bytes of an entry of JSON in memory, measured
HASHED = 2e9  # bytes/s of SHA-256 on one core, measured
SELECTIONS = 8  # of split and tasks, each with its own count of entries before a block


@dataclass(frozen=True)
class Setting:
    """How a backbone is trained. `base` is the number of bytes of a frozen weight."""

    train: str = "lora"
    precision: str = "bf16"
    base: int = 2
    recompute: bool = False  # --checkpoint-activations
    gpu: bool = False

    @property
    def low(self) -> int:
        """Bytes of a number that a matrix product takes."""
        return 2 if self.precision == "bf16" else 4

    @property
    def full(self) -> bool:
        return self.train == "full"


# 1) Numbers of parameters.


def block_matrices(c: LLMConfig) -> list[tuple[int, int]]:
    """(in, out) of the seven linear layers of a block."""
    C, queries, keys = c.hidden_size, c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    attention = [(C, queries), (C, keys), (C, keys), (queries, C)]
    return [*attention, (C, c.intermediate_size), (C, c.intermediate_size), (c.intermediate_size, C)]


def table_parameters(c: LLMConfig) -> int:
    """Of the input table, and of the head if it is another one."""
    return c.vocab_size * c.hidden_size * (1 if c.tie_embeddings else 2)


def matrix_parameters(c: LLMConfig) -> int:
    """Of all linear layers."""
    return c.num_layers * sum(a * b for a, b in block_matrices(c))


def base_parameters(c: LLMConfig) -> int:
    norms = c.num_layers * (2 * c.hidden_size + 2 * c.head_dim * c.qk_norm) + c.hidden_size
    return table_parameters(c) + matrix_parameters(c) + norms


def word_parameters(c: LLMConfig) -> int:
    return WORDS * c.hidden_size * (1 if c.tie_embeddings else 2)


def adapter_parameters(c: LLMConfig, rank: int = RANK) -> int:
    return c.num_layers * rank * sum(a + b for a, b in block_matrices(c))


def trained_parameters(c: LLMConfig, setting: Setting, rank: int = RANK) -> int:
    return word_parameters(c) + (base_parameters(c) if setting.full else adapter_parameters(c, rank))


# 2) Bytes.


def block_activations(c: LLMConfig, setting: Setting, rank: int = RANK) -> int:
    """Bytes per token that a block keeps for its backward pass.

    Under autocast what flows from block to block is fp32. A norm keeps its input alone (`norm_backward.py`), a rotation
    nothing (`rotation_backward.py`).
    """
    C, H, K, d, low = c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, setting.low
    norms = 2 * C * 4  # the residual stream before attention and before the MLP
    # of q, k, v, and of gate and up: adapters keep one for all of them, so do layers of fp32; autocast rounds for each
    inputs = (5 if setting.full and low == 2 else 2) * C * low
    heads = (H + K) * d * low * c.qk_norm  # queries and keys before their norms
    attention = 2 * (H + K) * d * low  # queries, keys, values, and the result, which is the input of o
    # a softmax's logarithm for each head, which torch's kernel keeps and `attention_backward.py` does not
    scalars = 4 * H * (setting.gpu or low == 4)
    mlp = 4 * c.intermediate_size * low  # gate, its activation, up, and the product, which is the input of down
    adapters = 0 if setting.full else 7 * rank * low  # x A^T of the seven layers
    return norms + inputs + heads + attention + scalars + mlp + adapters


def activations(c: LLMConfig, setting: Setting, tokens: int) -> int:
    """Bytes kept when the backward pass begins: those of all blocks, with `recompute` the input of each, and that of
    the last norm."""
    block = 4 * c.hidden_size if setting.recompute else block_activations(c, setting)
    return tokens * (c.num_layers * block + 4 * c.hidden_size)


def rounded_weights(c: LLMConfig, setting: Setting) -> int:
    """Bytes of bf16 copies of the blocks' fp32 matrices when the loss is computed.

    Each is kept until the backward pass has used it. With `recompute` the copies of frozen ones go with their block;
    those of trained ones are in autocast's cache until it ends, with the loss.
    """
    if setting.precision == "fp32" or (not setting.full and (setting.base == 2 or setting.recompute)):
        return 0
    return 2 * matrix_parameters(c)


def head_trained(c: LLMConfig, setting: Setting) -> int:
    """Numbers of the output tables that the loss computes a gradient of: the new words' one, in full the base's too."""
    return (WORDS + c.vocab_size * setting.full) * c.hidden_size


def loss_bytes(c: LLMConfig, setting: Setting, labels: int, sharded: bool = False) -> float:
    """The most that `vocabulary_loss.py` holds at one time, beside activations and the blocks' copies.

    That is when it turns a slice of logits into log-probabilities; or, if the head is trained, when it gets its
    gradient. `sharded` tables, and their gradients, are bf16.
    """
    V, C, low = c.vocab_size + WORDS, c.hidden_size, setting.low
    chunks = max(1, -(-labels // max(1, CHUNK // V)))
    rows = -(-labels // chunks)  # of a chunk
    slices = 1 if setting.gpu else -(-rows // max(1, CACHED // V))
    size = 2 if sharded else 4
    table = size * head_trained(c, setting)
    states = 2 * 4 * labels * C  # gathered, and their gradient
    # autocast's copies of the tables; frozen ones that are bf16 already need none
    as_is = 0 if setting.full or setting.base == 4 else c.vocab_size
    copies = 2 * (V - as_is) * C if low == 2 and not sharded else 0
    logits, values = low * rows * V, 4 * -(-rows // slices) * V
    forward = copies + logits + 2 * values  # fp32 logits of a slice, and their log-probabilities
    # a gradient of a table in fp32, and as one of all its rows, of which the logits read a span
    backward = 2 * table + logits
    return states + table + max(forward, backward)


def memory(c: LLMConfig, setting: Setting, tokens: int = MICRO, labelled: float = LABELLED) -> dict[str, float]:
    """Bytes by what they hold, and at the moment when they are most, which is one of four:

    loss    all activations, and what the loss needs
    scale   the backward pass begins: it multiplies the loss's gradients of tables by that of the mean, into new ones
    block   the last block's backward pass, with `recompute` after its activations have been computed again
    end     all gradients, no activations; a tied table's two gradients are added to a third
    """
    trained = trained_parameters(c, setting)
    parts = {
        "weights": 4 * trained + (0 if setting.full else setting.base * base_parameters(c)),
        "moments": 8 * trained,
        "gradients": 4 * trained,
        "rounded": rounded_weights(c, setting),
        "activations": activations(c, setting, tokens),
        "loss": loss_bytes(c, setting, int(labelled * tokens)),
    }
    table = 4 * head_trained(c, setting)
    begun = parts["activations"] + (0 if setting.recompute else parts["rounded"])
    moments = {
        "loss": parts["rounded"] + parts["activations"] + parts["loss"],
        "scale": begun + 2 * table,
        "block": begun + table + block_backward(c, setting, tokens),
        "end": parts["gradients"] + (8 * c.vocab_size * c.hidden_size if setting.full and c.tie_embeddings else 0),
    }
    return parts | {"peak": parts["weights"] + parts["moments"] + max(moments.values())}


def block_backward(c: LLMConfig, setting: Setting, tokens: int) -> int:
    """Bytes that the backward pass of the last block needs beside what was kept."""
    flowing = tokens * 3 * c.intermediate_size * setting.low  # gradients of the MLP's product and its two factors
    if not setting.recompute:
        return flowing
    copies = 2 * matrix_parameters(c) // c.num_layers if setting.low == 2 and (setting.full or setting.base == 4) else 0
    return flowing + tokens * block_activations(c, setting) + copies


def sharded_memory(c: LLMConfig, setting: Setting, gpus: int, tokens: int = MICRO, labelled: float = LABELLED) -> float:
    """The peak of full training on one of `gpus` with --shard: its part of all state; whole, in bf16, the tables and
    two blocks; and what the loss needs, or the backward pass: in fp32 the gradients of the tables, or of a block, while
    they are added up."""
    parts = memory(c, setting, tokens, labelled)
    if gpus == 1:
        return parts["peak"]
    own = (parts["weights"] + parts["moments"] + parts["gradients"]) / gpus
    block = matrix_parameters(c) // c.num_layers
    gathered = 2 * (table_parameters(c) + 2 * block)
    loss = loss_bytes(c, setting, int(labelled * tokens), sharded=True)
    backward = 4 * max(block, table_parameters(c)) + block_backward(c, replace(setting, base=2), tokens)
    return own + gathered + parts["activations"] + max(loss, backward)


# 3) Time.


def flops(c: LLMConfig, setting: Setting, labelled: float = LABELLED, length: int = LENGTH) -> float:
    """Of a step, per token: two for each weight forward, four backward; two less where no weight is trained.

    The vocabulary is multiplied at labelled positions only. Scores of attention see half the length on average.
    """
    blocks = matrix_parameters(c)
    head = labelled * (c.vocab_size + WORDS) * c.hidden_size
    scores = 2 * c.num_layers * c.num_heads * c.head_dim * length / 2  # queries with keys, then weights with values
    if setting.full:
        # PyTorch stops to compute a block again as soon as it has what the backward pass needs: before its last product
        last = c.num_layers * c.hidden_size * c.intermediate_size
        return 6 * (blocks + head + scores) + 2 * (blocks + scores - last) * setting.recompute
    adapters, words = adapter_parameters(c), labelled * WORDS * c.hidden_size
    again = blocks + scores + adapters  # a function of one's own, such as `adapter_products.py`, ends before it keeps
    return 4 * (blocks + head) + 6 * (scores + adapters) + 2 * words + 2 * again * setting.recompute


def speed(c: LLMConfig, setting: Setting, gpu: str) -> float:
    """Tokens per second of one device at the assumed share of its peak. What is computed again counts as work."""
    return MFU * PEAK[gpu] / flops(c, setting)


def sent(c: LLMConfig, setting: Setting, gpus: int, micro_batches: int = 1) -> float:
    """Bytes that each GPU sends in a step.

    LoRA, DDP: a ring all-reduce of fp32 gradients, once. Full, FSDP2, for every micro-batch: all-gathers of bf16
    weights, of blocks for the forward pass and again for the backward, of tables once; and a reduce-scatter of fp32
    gradients.
    """
    share = (gpus - 1) / gpus
    trained = trained_parameters(c, setting)
    if not setting.full:
        return 2 * share * 4 * trained
    tables = table_parameters(c) + word_parameters(c)
    return micro_batches * share * (2 * (2 * (trained - tables) + tables) + 4 * trained)


def seconds_sent(c: LLMConfig, setting: Setting, gpus: int) -> float:
    """How long that takes by the slowest link, if nothing hides it."""
    return sent(c, setting, gpus) / (NVLINK if gpus <= 8 else NETWORK)


# 4) The tables of the pages.

LORA, LORA_FP32, FULL = Setting(gpu=True), Setting(base=4, gpu=True), Setting("full", base=4, gpu=True)


def table(header: str, rows: list[list[str]]) -> str:
    names = header.split("|")
    return "\n".join("| " + " | ".join(row) + " |" for row in [names, ["---"] * len(names), *rows])


def gb(size: float) -> str:
    return f"{size / 1e9:.1f}" if size >= 1e8 else f"{size / 1e9:.2f}"


def parameter_table() -> str:
    rows = []
    for name, c in SHAPES.items():
        trained = trained_parameters(c, LORA)
        counts = [f"{base_parameters(c) / 1e6:,.0f} M", f"{table_parameters(c) / 1e6:,.0f} M", f"{trained / 1e6:.1f} M"]
        work = [f"{flops(c, setting) / 1e9:.2f}" for setting in (LORA, FULL, replace(FULL, recompute=True))]
        rows.append([name, *counts, *work])
    return table("backbone|parameters|of them tables|trained by LoRA|GFLOP a token, LoRA|full|full, recomputed", rows)


def memory_table() -> str:
    rows = []
    for name, c in SHAPES.items():
        for kind, setting in (("LoRA, bf16 base", LORA), ("LoRA, fp32 base", LORA_FP32), ("full", FULL)):
            parts, less = memory(c, setting), memory(c, replace(setting, recompute=True))
            state = parts["weights"] + parts["moments"] + parts["gradients"]
            numbers = [state, parts["rounded"], parts["activations"], less["activations"], parts["loss"]]
            rows.append([name, kind, *map(gb, numbers), gb(parts["peak"]), gb(less["peak"])])
    header = "backbone|training|weights, gradients, moments|rounded|activations|recomputed|loss|peak|peak, recomputed"
    return table(header, rows)


def speed_table() -> str:
    rows = []
    for name, c in SHAPES.items():
        for kind, setting in (("LoRA", LORA), ("full", FULL)):
            rows.append([name, kind, *(f"{speed(c, setting, gpu):,.0f}" for gpu in PEAK)])
    return table("backbone|training|" + "|".join(PEAK), rows)


def scaling_table() -> str:
    rows = []
    for name, c in SHAPES.items():
        for kind, setting in (("LoRA, DDP", LORA), ("full, FSDP2", replace(FULL, recompute=True))):
            work = MICRO / speed(c, setting, "H100, H200")
            for gpus in GPUS:
                size = memory(c, setting)["peak"] if setting.train == "lora" else sharded_memory(c, setting, gpus)
                wait = seconds_sent(c, setting, gpus)
                hidden = MICRO * gpus / max(work, wait)
                times = [f"{1e3 * work:,.0f}", gb(sent(c, setting, gpus)), f"{1e3 * wait:,.1f}", f"{hidden:,.0f}"]
                rows.append([name, kind, str(gpus), gb(size), *times])
    return table("backbone|training|GPUs|GB each|ms of work|GB sent by each|ms of that|tokens/s", rows)


def shard_table() -> str:
    """Token shards for corpora of so many codes (`motiongpt/data/token_shards.py`)."""
    rows = []
    for codes in (10**6, 10**9, 10**10):
        entries = codes // CODES
        sizes = [2 * codes, entries * (CAPTION + NAME), entries * ROW.itemsize]
        own = entries // BLOCK * (8 + 4 * len(KINDS) + 9 * SELECTIONS)
        shards = -(-codes // SHARD_CODES)
        facts = [f"{codes:,}", f"{entries:,}", f"{shards:,}", *map(gb, sizes), gb(sum(sizes))]
        rows.append([*facts, f"{own / 1e6:.1f} MB", gb(entries * JSON_ENTRY), f"{sum(sizes) / HASHED:.1f}"])
    return table("codes|entries|shards|codes, GB|texts|rows|all|own memory|as JSON in memory, GB|s to open", rows)


TABLES = {
    "parameters": parameter_table,
    "memory": memory_table,
    "speed": speed_table,
    "scaling": scaling_table,
    "shards": shard_table,
}


# 5) One step, measured.


def measure(args) -> None:
    """A step on one core: the peak of the process less what it had before the model, beside the formula."""
    import ctypes

    import torch

    from motiongpt.config import LoRAConfig, TrainConfig
    from motiongpt.llm import LLM
    from motiongpt.loops import make_optimizer
    from motiongpt.lora import inject
    from motiongpt.tasks.collate import collate, lm_loss
    from motiongpt.training.devices import autocast
    from motiongpt.training.memory import cast_frozen

    torch.set_num_threads(1)
    if args.tight:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 18)
    c, device = SHAPES[args.measure], torch.device("cpu")
    base = 2 if args.base_dtype == "bf16" else 4
    setting = Setting(args.train, args.precision, base, args.checkpoint_activations)
    before = resident()
    llm = LLM(replace(c, max_positions=max(1024, args.tokens)), torch.Generator().manual_seed(0))
    llm.extend(c.vocab_size, WORDS, torch.Generator().manual_seed(0))
    if args.train == "lora":
        inject(llm, LoRAConfig(lora_r=RANK, lora_alpha=RANK), torch.Generator().manual_seed(0))
        cast_frozen(llm, torch.bfloat16 if base == 2 else torch.float32)
    llm.checkpoint_activations = args.checkpoint_activations
    llm.train()
    optimizer = make_optimizer(llm, TrainConfig())
    ids = torch.randint(0, c.vocab_size, (args.rows, args.tokens + 1), generator=torch.Generator().manual_seed(1))
    labelled = [i > args.tokens * (1 - LABELLED) for i in range(args.tokens + 1)]
    batch = collate([(row, labelled) for row in ids.tolist()])
    for step in range(args.steps):
        began = time.process_time()  # of this process, whatever else the machine does
        with autocast(args.precision, device):
            loss = lm_loss(llm, batch) / batch["count"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in llm.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.process_time() - began
        if step == 0:  # drawing the weights took more; moments are there from now on
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM becomes VmRSS
    tokens = args.rows * args.tokens
    found, wanted = resident("VmHWM") - before, memory(c, setting, tokens)["peak"]
    how = f"{args.train}, {args.precision}, base {args.base_dtype}" + ", recomputed" * args.checkpoint_activations
    print(
        f"{args.measure}, {how}, {args.rows} x {args.tokens} tokens: peak {found / 1e9:.2f} GB, by the formula "
        f"{wanted / 1e9:.2f} GB; the last step took {seconds:.1f} s, {tokens / seconds:.0f} tokens/s, "
        f"{tokens / seconds * flops(c, setting, length=args.tokens) / 1e9:.0f} GFLOP/s"
    )


def resident(name: str = "VmRSS") -> int:
    """Bytes of memory that the process has now, or with VmHWM had at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def main(args) -> None:
    if args.measure:
        measure(args)
        return
    for name, make in TABLES.items():
        print(f"{name}\n\n{make()}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--measure", choices=tuple(SHAPES), help="run a step of this shape on the CPU (Linux only)")
    add("--train", choices=("lora", "full"), default="lora", help="adapters or all weights (default lora)")
    add("--precision", choices=("fp32", "bf16"), default="bf16", help="of the matrix products (default bf16)")
    add("--base-dtype", choices=("fp32", "bf16"), default="fp32", help="of frozen weights (default fp32)")
    add("--checkpoint-activations", action="store_true", help="compute activations again")
    add("--rows", type=int, default=8, help="examples of the batch (default 8)")
    add("--tokens", type=int, default=64, help="tokens of each (default 64)")
    add("--tight", action="store_true", help="freed blocks of 256 KB or more leave the process at once")
    add("--steps", type=int, default=3, help="steps, the last of which is timed (default 3)")
    main(parser.parse_args())
