"""A training step with packed rows (--pack) beside batches of similar lengths, and beside batches as they come.

    python benchmarks/bench_packing.py                                     # demo size, LoRA
    python benchmarks/bench_packing.py --size smollm2 --examples 48 --rounds 3
    python benchmarks/bench_packing.py --device cuda --size 0.6b --batch 64 --examples 512 --pack 2048 --precision bf16

All three go over the same examples once, in as many forward and backward passes of --batch examples. Two sets of
lengths: "motions" are those of text to motion on the embedded data, "mixed" are spread evenly on a logarithmic scale
from 24 to 384 tokens. A peer's share of padding is in its name. Losses must agree before anything is timed.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from compare import DTYPES, SIZES, in_turn, make_parser, report

from motiongpt.config import LoRAConfig
from motiongpt.data.batches import POOL, BucketedBatches, pack
from motiongpt.llm import LLM
from motiongpt.lora import inject
from motiongpt.tasks.collate import collate, collate_packed, lm_loss
from motiongpt.training.devices import autocast

CAPTION = 30  # tokens around the codes of an example of the embedded data, nearly


def lengths_of(kind: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "mixed":
        return np.exp(rng.uniform(np.log(24), np.log(384), count)).astype(np.int64)
    from motiongpt.data.selection import of_split
    from motiongpt.data.tokens import load_tokens

    entries = of_split(load_tokens(ROOT / "checkpoints" / "demo" / "tokens.json.gz"), "train")
    return np.array([len(entries[i].codes) + CAPTION for i in rng.integers(len(entries), size=count)])


def all_batches(args: argparse.Namespace, lengths: np.ndarray, most: int, pool: int) -> list[dict]:
    """The batches of an epoch, on the device."""
    words = SIZES[args.size].vocab_size + args.codes
    rng = np.random.default_rng(1)
    ids = [rng.integers(words, size=length + 1).tolist() for length in lengths]
    examples = [(row, [i > len(row) // 2 for i in range(len(row))]) for row in ids]

    def build(indices: Sequence[int], _: np.random.Generator) -> dict:
        if not most:
            return collate([examples[i] for i in indices])
        rows = pack([int(lengths[i]) for i in indices], most)
        return collate_packed([[examples[indices[i]] for i in row] for row in rows])

    made = BucketedBatches(lengths, args.batch, 0, build, pool)
    found = [made(step) for step in range(made.per_epoch)]
    return [{k: v.to(args.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()} for batch in found]


def epoch(args: argparse.Namespace, llm: LLM, batches: list[dict]) -> Callable[[], float]:
    """Forward and backward passes of all batches -> their summed loss."""

    def go() -> float:
        total = 0.0
        for batch in batches:
            with autocast(args.precision, torch.device(args.device)):
                loss = lm_loss(llm, batch)
            loss.backward()
            total += float(loss.detach())
        llm.zero_grad(set_to_none=True)
        return total

    return go


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads or torch.get_num_threads())
    generator = torch.Generator().manual_seed(0)
    llm = LLM(SIZES[args.size], generator)
    llm.extend(llm.vocab_size, args.codes, generator)
    inject(llm, LoRAConfig(), generator)
    llm.train().to(args.device)
    tolerance = 1e-5 if args.precision == "fp32" else 0.01
    for kind in ("motions", "mixed"):
        lengths = lengths_of(kind, args.examples)
        ways = {"packed": (args.pack, 1), "similar lengths": (0, POOL), "as they come": (0, 1)}
        batches = {name: all_batches(args, lengths, *way) for name, way in ways.items()}
        padding = {
            name: 1 - sum(b["units"] for b in found) / sum(b["ids"].numel() for b in found)
            for name, found in batches.items()
        }
        run = {name: epoch(args, llm, found) for name, found in batches.items()}
        losses = [go() for go in run.values()]
        if max(losses) - min(losses) > tolerance * losses[0]:
            raise RuntimeError(f"the losses differ, {losses}: the work would differ")
        what = f"LoRA on {kind} of {lengths.min()} to {lengths.max()} tokens, {args.size}, {args.precision}"
        what += f", --pack {args.pack} ({padding['packed']:.1%} padding)"
        for peer in list(ways)[1:]:
            times = in_turn(run["packed"], run[peer], args.rounds)
            per_example = ([s / args.examples for s in seconds] for seconds in times)
            report(what, *per_example, f"{peer} ({padding[peer]:.1%} padding)")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--pack", type=int, default=512, help="tokens of a row (default 512)")
    parser.add_argument("--examples", type=int, default=192, help="examples of the epoch (default 192)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's own choice)")
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp32", help="of the products (default fp32)")
    main(parser.parse_args())
