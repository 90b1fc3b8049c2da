"""One LoRA training step (forward, loss, backward, clipping, AdamW): ours, and peft's on transformers' model.

    python benchmarks/bench_lora_step.py                      # demo size, 8 rows of 256 tokens
    python benchmarks/bench_lora_step.py --size 0.6b --batch 2 --rounds 3

All have the same weights, adapters on all seven projections, the same new words to train, and labels on the second half
of every row. Their first losses must agree before anything is timed. The peer comes in two settings:

    best      trainable_token_indices, frozen weights in the number format of the products
    usual     modules_to_save for the input and output tables, frozen weights in fp32

and is met twice: at equal padding, and per sample, where ours makes batches of similar lengths (`--sample` tokens, 5
rows for every 2 of the peer) and the peer pads every sample to `--tokens`. The last rows are the peak memory of two
steps beyond what the libraries take, each in a process of its own. 0.6b takes 16 GiB.
"""

import argparse
import gc
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from compare import DTYPES, SIZES, in_turn, make_parser, report

from motiongpt.config import PROJECTIONS, LoRAConfig, TrainConfig
from motiongpt.llm import LLM
from motiongpt.loops import make_optimizer
from motiongpt.lora import inject
from motiongpt.tasks.collate import collate, lm_loss
from motiongpt.training.devices import autocast, resolve_precision
from motiongpt.weights.llm import load_llm, save_llm

PEERS = {"best": "peft, trainable_token_indices", "usual": "peft, modules_to_save, fp32 base"}
GOALS = {"best": (1.6, 2.0), "usual": (3.5, 4.5)}
PER_SAMPLE = {"best": (4.0, 5.0), "usual": (9.0, 11.0)}
MEMORY = {"best": 1 / 0.85, "usual": 1 / 0.35}
CLIP = TrainConfig().clip


def batch_of(args: argparse.Namespace, rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and labelled, (rows, tokens) each."""
    last = SIZES[args.size].vocab_size + args.codes
    ids = torch.randint(0, last, (rows, tokens), generator=torch.Generator().manual_seed(1))
    return ids, (torch.arange(tokens) >= tokens // 2).expand(rows, -1)


def our_step(args: argparse.Namespace, folder: Path) -> Callable[[int, int], float]:
    """A step on a batch of so many rows and tokens -> its loss per label."""
    device = torch.device(args.device)
    llm = load_llm(folder, DTYPES[args.precision], device)
    llm.extend(SIZES[args.size].vocab_size, args.codes, from_base=True)
    inject(llm, LoRAConfig(lora_r=args.r, lora_alpha=args.r), torch.Generator().manual_seed(0))
    llm.train()
    optimizer = make_optimizer(llm, TrainConfig())

    def step(rows: int, tokens: int) -> float:
        ids, labelled = batch_of(args, rows, tokens)
        batch = collate(list(zip(ids.tolist(), labelled.tolist(), strict=True)))
        batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        with autocast(args.precision, device):
            loss = lm_loss(llm, batch) / batch["count"]
        return finish(loss, optimizer)

    return step


def peers_step(args: argparse.Namespace, folder: Path, setting: str) -> Callable[[int, int], float]:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    first_id = SIZES[args.size].vocab_size
    dtype = torch.float32 if setting == "usual" else DTYPES[args.precision]
    words = {"trainable_token_indices": {"embed_tokens": list(range(first_id, first_id + args.codes))}}
    if setting == "usual":
        words = {"modules_to_save": ["embed_tokens", "lm_head"]}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(args.device)
    model = get_peft_model(model, LoraConfig(r=args.r, lora_alpha=args.r, target_modules=list(PROJECTIONS), **words))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=TrainConfig().lr, weight_decay=0.0, fused=True)

    def step(rows: int, tokens: int) -> float:
        ids, labelled = batch_of(args, rows, tokens)
        labels = ids.masked_fill(~labelled, -100).to(args.device)
        with autocast(args.precision, torch.device(args.device)):
            loss = model(input_ids=ids.to(args.device), labels=labels, use_cache=False).loss
        return finish(loss, optimizer)

    return step


def finish(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> float:
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def peak_memory(args: argparse.Namespace, folder: Path, who: str) -> int:
    """Bytes that two steps hold at most, weights and moments included, in this process and beyond its libraries."""

    def of_status(field: str) -> int:
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
        return 1024 * int(line.split()[1])

    if who != "ours":
        import peft  # noqa: F401 - a library that is not counted

    before = of_status("VmRSS")
    step = our_step(args, folder) if who == "ours" else peers_step(args, folder, who)
    gc.collect()
    if args.device == "cpu":
        Path("/proc/self/clear_refs").write_text("5")  # the peak of loading does not count
    else:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        step(args.batch, args.tokens)
    return of_status("VmHWM") - before if args.device == "cpu" else torch.cuda.max_memory_allocated()


def compare_with(
    args: argparse.Namespace, folder: Path, ours: Callable[[int, int], float], first: float, setting: str
) -> None:
    """Both rows of one setting; `first` is the loss of our first step."""
    theirs = peers_step(args, folder, setting)
    peers_first = theirs(args.batch, args.tokens)
    tolerance = 1e-4 if args.precision == "fp32" else 0.01  # of about 12 nats
    if abs(first - peers_first) > tolerance * abs(peers_first):
        raise RuntimeError(f"the first losses differ, {first} and {peers_first}: the work would differ")
    what = f"LoRA step {args.size}, r {args.r}, {args.precision}, {args.batch} x {args.tokens} tokens"
    padded = lambda: theirs(args.batch, args.tokens)  # noqa: E731
    must, aim = GOALS[setting] if args.size == "0.6b" else (None, None)
    report(
        what, *in_turn(lambda: ours(args.batch, args.tokens), padded, args.rounds), PEERS[setting], must=must, aim=aim
    )

    rows = args.batch * 5 // 2
    mine, other = in_turn(lambda: ours(rows, args.sample), padded, args.rounds)
    must, aim = PER_SAMPLE[setting] if args.size == "0.6b" else (None, None)
    what = f"the same per sample of {args.sample} tokens, {rows} in a batch, the peer's padded to {args.tokens}"
    per_sample = [s / rows for s in mine], [s / args.batch for s in other]
    report(what, *per_sample, PEERS[setting], must=must, aim=aim)


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads or torch.get_num_threads())
    args.precision = resolve_precision(args.precision, torch.device(args.device))
    if args.measure:
        print(peak_memory(args, Path(args.measure[0]), args.measure[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        generator = torch.Generator().manual_seed(0)
        llm = LLM(SIZES[args.size], generator)
        llm.extend(llm.vocab_size, args.codes, generator)
        save_llm(llm, folder)
        del llm
        ours = our_step(args, Path(folder))
        first = ours(args.batch, args.tokens)
        for setting in (setting for setting in PEERS if setting in args.rows):
            compare_with(args, Path(folder), ours, first, setting)
            gc.collect()
        del ours
        gc.collect()

        def measured(who: str) -> float:
            command = [sys.executable, *sys.argv, "--measure", folder, who]
            return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])

        if "memory" not in args.rows:
            return
        mine = measured("ours")
        for setting, peer in PEERS.items():
            other = measured(setting)
            must = MEMORY[setting] if args.size == "0.6b" else None
            what = f"memory of the step, {args.size}, {args.batch} x {args.tokens} tokens"
            report(what, [mine / 2**30], [other / 2**30], peer, must=must, unit=(1, "GiB"))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--tokens", type=int, default=256, help="tokens per padded row (default 256)")
    parser.add_argument("--sample", type=int, default=96, help="tokens of a sample without padding (default 96)")
    parser.add_argument("--r", type=int, default=16, help="rank of the adapters (default 16)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of both (default: PyTorch's own choice)")
    parser.add_argument(
        "--precision", choices=("auto", *DTYPES), default="auto",
        help="number format of the matrix products (default: what suits the device)",
    )  # fmt: skip
    parser.add_argument(
        "--rows", nargs="+", choices=(*PEERS, "memory"), default=[*PEERS, "memory"], help="which rows (default: all)"
    )
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    main(parser.parse_args())
