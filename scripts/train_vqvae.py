"""Train the motion tokenizer (VQ-VAE) on a dataset folder.

    python scripts/train_vqvae.py --data data/demo --out outputs/vqvae
    python scripts/train_vqvae.py --data data/demo --out outputs/vqvae --max-minutes 40     # again: goes on

Writes OUT/{config.json, model.safetensors, Mean.npy, Std.npy}: the model of the best validation loss so far.
"""

import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli.parser import VQVAE_FLAGS, VQVAE_TRAIN_FLAGS, Parser, add_config_flags, run, stopped
from motiongpt.config import TrainConfig, VQVAEConfig

DEFAULTS = {"lr": 2e-4, "beta2": 0.99, "batch_size": 128, "epochs": 100.0, "warmup": 0.03, "seed": 123, "clip": 1.0}


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    parser.add_argument("--out", type=Path, required=True, help="tokenizer folder to write")
    parser.add_argument("--config", help="JSON file of values; flags win over it")
    parser.add_argument(
        "--fresh", action="store_true", help="start over instead of resuming an unfinished run in --out"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    add_config_flags(parser, VQVAEConfig, VQVAE_FLAGS)
    add_config_flags(parser, TrainConfig, VQVAE_TRAIN_FLAGS, DEFAULTS)
    return parser


def main(args) -> int | None:
    from motiongpt.cli.stages import train_tokenizer_here
    from motiongpt.files.folders import output_path

    output_path(args.out, "--out", folder=True)
    result = train_tokenizer_here(args, args.out, ("script", DEFAULTS))
    if not result.finished:
        return stopped(result, args)
    print(f"wrote {args.out}/ (model.safetensors, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    words = ["--data", str(args.data), "--vqvae", str(args.out), "--out", "tokens.json"]
    print(f"next: python scripts/tokenize_motions.py {shlex.join(words)}")


if __name__ == "__main__":
    run(main, make_parser())
