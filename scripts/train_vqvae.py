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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.parser import VQVAE_FLAGS, VQVAE_TRAIN_FLAGS, Parser, add_config_flags, run_script
from motiongpt.cli.processes import always
from motiongpt.cli.training_scripts import add_place_flags, say_trained
from motiongpt.cli.watch_flags import add_watch_flags
from motiongpt.config import VQVAE_TRAINING, TrainConfig, VQVAEConfig


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add_place_flags(parser, "tokenizer folder")
    start = "tokenizer folder to go on from: its weights, shape and statistics, new losses"
    parser.add_argument("--from", type=Path, help=start)
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
    words = ["--data", str(args.data), "--vqvae", str(args.out), "--out", "tokens.json"]
    return say_trained(result, args, "tokenize_motions.py", *words)


if __name__ == "__main__":
    run_script(main, make_parser(), shared=always)
