"""What --loss-vocab motion does to quality and to the time of a step: a table.

    python benchmarks/loss_vocab_table.py                          # two trainings of 200 steps for each of two seeds
    python benchmarks/loss_vocab_table.py --steps 20 --seeds 0     # quick, and too short to learn anything

A backbone of demo size first learns captions, so that no motion word is known. From there text to motion is trained
twice on the embedded data in full, once with each loss: same weights, same batches, same steps. Both are then measured
alike on held-out captions, in nats per label:

    over motion words    the cross-entropy among the motion words, from which sampling draws
    over all words       the one among all words, which --loss-vocab motion does not teach
    mass on motion       share of the probability that is on motion words, where the next word is one
    edit share           how much of a greedily written motion is not the true one

The time is that of forward and backward passes on the same held-out batch, both losses in turn, in training mode; also
for the shape of SmolLM2-135M (--shape), whose vocabulary is 24 times as large.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from compare import SIZES, in_turn

from motiongpt.config import LoRAConfig
from motiongpt.data.batches import by_length
from motiongpt.data.selection import of_split
from motiongpt.data.tokens import load_tokens
from motiongpt.evaluation.markdown import table
from motiongpt.llm import LLM
from motiongpt.lora import inject
from motiongpt.stages.model import LoadedRun, load_run
from motiongpt.tasks.collate import TaskCollate, lm_losses

DATA = ROOT / "checkpoints" / "demo" / "tokens.json.gz"
LOSSES = ("all", "motion")
MEASURED = 128  # held-out entries


def finetune(out: Path, *flags: object) -> None:
    command = [sys.executable, ROOT / "scripts" / "finetune.py", "--data", DATA, "--out", out, *flags]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def held_out_batches(run: LoadedRun, alone: bool) -> list[dict]:
    """Batches of text to motion whose losses are over motion words, or over all."""
    entries = of_split(load_tokens(DATA), "val")[:MEASURED]
    collate = TaskCollate(entries, {"t2m": 1.0}, run.renderer, alone)
    rows = by_length(collate.lengths(), 32)
    return [collate(indices, np.random.default_rng(i)) for i, indices in enumerate(rows)]


@torch.inference_mode()
def nats(run: LoadedRun, alone: bool) -> torch.Tensor:
    """The loss of each held-out label (n,)."""
    return torch.cat([lm_losses(run.llm.eval(), batch)[1] for batch in held_out_batches(run, alone)])


def quality(out: Path) -> list[float]:
    """The columns of the table, of one training."""
    run = load_run(out)
    over_motion, over_all = nats(run, True), nats(run, False)
    mass = (over_motion - over_all).exp().mean()  # p of all words / p among motion words
    edit_share = run.meta["losses"]["val_edit_share"]
    return [float(over_motion.mean()), float(over_all.mean()), float(mass), edit_share]


def step_seconds(llm: LLM, batches: list[dict], rounds: int) -> list[list[float]]:
    """Seconds of forward and backward passes of every round, for each of the batches."""

    def step(batch: dict) -> None:
        (lm_losses(llm, batch)[0] / batch["count"]).backward()
        llm.zero_grad(set_to_none=True)

    return list(in_turn(*(lambda batch=batch: step(batch) for batch in batches), rounds))


def shape_seconds(size: str, rounds: int) -> list[list[float]]:
    """The same for LoRA on random weights of a shape: 4 rows of 128 tokens, half of them labels."""
    config, codes, generator = SIZES[size], 512, torch.Generator().manual_seed(0)
    llm = LLM(config, generator)
    llm.extend(config.vocab_size, codes + 2, generator)
    inject(llm, LoRAConfig(), generator)
    span = config.vocab_size, config.vocab_size + codes + 2
    ids = torch.randint(*span, (4, 128), generator=generator)
    targets = ids.roll(-1, 1).masked_fill(torch.arange(128) < 64, -1)
    batch = {"ids": ids, "targets": targets, "count": 4 * 64, "labels": torch.full((4,), 64)}
    return step_seconds(llm.train(), [batch, batch | {"motion_span": span, "motion_alone": torch.ones(4) > 0}], rounds)


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    rows, times = {loss: [] for loss in LOSSES}, []
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words"
        finetune(
            words,
            "--recipe",
            "captions",
            "--stage",
            1,
            "--train",
            "full",
            "--backbone",
            "demo",
            "--max-steps",
            args.steps,
        )
        for seed in args.seeds:
            for loss in LOSSES:
                out = Path(folder) / f"{loss}{seed}"
                how = ["--loss-vocab", loss, "--seed", seed, "--lr", 1e-3, "--batch-size", 16, "--caption-dropout", 0]
                length = ["--max-steps", args.steps, "--eval-every", args.steps, "--tell-length", 0]
                stage = ["--stage", 3, "--backbone", words / "stage1", "--train", "full"]
                finetune(out, *stage, *how, *length, "--threads", args.threads)
                rows[loss].append(quality(out))
                print(loss, seed, json.dumps(rows[loss][-1]), flush=True)
        run = load_run(out)
        run.llm.requires_grad_(True)
        times.append(
            (
                "demo, in full",
                step_seconds(run.llm.train(), [held_out_batches(run, a)[1] for a in (False, True)], args.rounds),
            )
        )
    times += [(f"{size}, LoRA", shape_seconds(size, args.rounds)) for size in args.shape]
    head = ["--loss-vocab", "over motion words", "over all words", "mass on motion", "edit share"]
    body = []
    for loss, found in rows.items():
        columns = [f"{statistics.mean(column):.3f}" for column in zip(*found, strict=True)]
        body.append([loss, *columns])
    print(f"\n{args.steps} steps of 16 examples, mean of {len(args.seeds)} seeds; {MEASURED} held-out captions\n")
    print("\n".join(table(head, body)))
    head = ["a step of", *(f"--loss-vocab {loss}, ms" for loss in LOSSES), "ratio", "spread"]
    body = []
    for what, (every, motion) in times:
        ratios = sorted(a / b for a, b in zip(every, motion, strict=True))
        medians = [statistics.median(every), statistics.median(motion)]
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        body.append([what, *(f"{1e3 * m:.0f}" for m in medians), f"{medians[0] / medians[1]:.2f}", spread])
    print("\n" + "\n".join(table(head, body)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="of each training (default 200)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="one pair of trainings each (default 1 2)")
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds (default 9)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument(
        "--shape", nargs="*", choices=tuple(SIZES), default=["smollm2"], help="shapes that are timed too"
    )
    main(parser.parse_args())
