"""Train the motion tokenizer (VQ-VAE) on a dataset folder.

    python scripts/train_vqvae.py --data data/demo --out outputs/vqvae
    python scripts/train_vqvae.py --data data/demo --out outputs/vqvae --max-minutes 40     # run it again to continue

Writes OUT/{config.json, model.safetensors, Mean.npy, Std.npy}: the model with the best validation loss so far. An
unfinished training resumes by itself; --fresh starts it over.
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
import shlex
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.parser import VQVAE_FLAGS, VQVAE_TRAIN_FLAGS, Parser, add_config_flags, run_script, say_stopped
from motiongpt.cli.processes import always
from motiongpt.cli.watch_flags import add_watch_flags
from motiongpt.config import VQVAE_TRAINING, TrainConfig, VQVAEConfig


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    add("--out", type=Path, required=True, help="tokenizer folder to write")
    add("--from", type=Path, help="tokenizer folder to go on from: its weights, shape and statistics, new losses")
    add("--config", help="JSON file of any of these flags by name, or a run's config.json; flags override it")
    add("--fresh", action="store_true", help="start over instead of resuming an unfinished training in --out")
    add("--dry-run", action="store_true", help="check everything, run one batch, say what would be done, write nothing")
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    add_config_flags(parser, VQVAEConfig, VQVAE_FLAGS)
    add_config_flags(parser, TrainConfig, VQVAE_TRAIN_FLAGS, VQVAE_TRAINING)
    add_watch_flags(parser)
    return parser


def main(args) -> int | None:
    from motiongpt.cli.config_file import read_config_file
    from motiongpt.cli.tokenizer_stage import train_tokenizer_from_flags
    from motiongpt.files.folders import output_path

    output_path(args.out, "--out", folder=True)
    layers = [("script", VQVAE_TRAINING), *read_config_file(args.config).layers()]
    result = train_tokenizer_from_flags(args, args.out, *layers)
    if args.dry_run:
        return None
    if not result.finished:
        return say_stopped(result, args)
    print(f"wrote {args.out}/ (model.safetensors, loss.png, metrics.jsonl); best validation loss {result.best:.4f}")
    words = ["--data", str(args.data), "--vqvae", str(args.out), "--out", "tokens.json"]
    print(f"next: python scripts/tokenize_motions.py {shlex.join(words)}")
    return None


if __name__ == "__main__":
    run_script(main, make_parser(), shared=always)
