"""What the scripts share that train one model on a dataset folder: flags for its place, and what they say at the end.

`scripts/finetune.py` trains stages of a run, and has flags of its own for that.
"""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.parser import Parser, say_stopped

if TYPE_CHECKING:
    from motiongpt.loops import Result


def add_place_flags(parser: Parser, out: str) -> None:
    """--data, --out (`out` says what kind of folder), --config, --fresh, --dry-run, --device."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    add("--out", type=Path, required=True, help=f"{out} to write")
    add("--config", help="JSON file of any of these flags by name, or a run's config.json; flags override it")
    add("--fresh", action="store_true", help="start over instead of resuming an unfinished training in --out")
    add("--dry-run", action="store_true", help="check everything, run one batch, say what would be done, write nothing")
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")


def say_trained(result: "Result", args: argparse.Namespace, script: str, *words: str) -> int | None:
    """Say how the training in --out ended, and at its end what `script` does next with it; returns the exit code."""
    if args.dry_run:
        return None
    if not result.finished:
        return say_stopped(result, args)
    print(f"wrote {args.out}/ (model.safetensors, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    print(f"next: python scripts/{script} {shlex.join(words)}")
    return None
