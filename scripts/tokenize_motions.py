"""A dataset folder and a motion tokenizer -> the token dataset that finetune.py reads.

    python scripts/tokenize_motions.py --data data/demo --vqvae outputs/vqvae --out tokens.json

Writes one entry per caption (sub-clip captions get their own codes), and <out>.meta.json beside it. --format npy writes
a folder instead: codes/ID.npy (S,) int64, texts/ID.txt, train.txt, val.txt, test.txt.
"""

import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli.opening import TOKENIZER_FLAGS, add_tokenizer_flags, named_motion_tokenizer
from motiongpt.cli.parser import Parser, run
from motiongpt.config import flag_name


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    add_tokenizer_flags(parser, "tokenizer folder, from scripts/train_vqvae.py")
    parser.add_argument("--out", required=True, help="JSON file (or, with npy, folder) to write")
    parser.add_argument(
        "--format", choices=("json", "npy"), default="json", help="one JSON file, or a folder of arrays (default json)"
    )
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps (default: cuda where there is one)")
    return parser


def main(args) -> None:
    from motiongpt.data.motions import MotionDataset
    from motiongpt.files.folders import output_path
    from motiongpt.loops import pick_device
    from motiongpt.stages.tokenizer import tokenise_dataset

    out = output_path(args.out, "--out", folder=args.format == "npy")
    if (motion_tokenizer := named_motion_tokenizer(args, pick_device(args.device))) is None:
        raise ValueError("--vqvae is needed: a tokenizer folder, scripts/train_vqvae.py makes one")
    tokenise_dataset(MotionDataset(args.data), motion_tokenizer, out, form=args.format)
    named = [(flag_name(name), getattr(args, name)) for name in TOKENIZER_FLAGS]
    words = ["--stage", "1", "--data", str(out)]
    words += [str(part) for flag, value in named if value is not None for part in (flag, value)]
    print(f"next: python scripts/finetune.py {shlex.join(words)}")


if __name__ == "__main__":
    run(main, make_parser())
