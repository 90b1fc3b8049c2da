"""Turn a dataset folder into the token dataset that finetune.py reads, with a motion tokenizer.

    python scripts/tokenize_motions.py --data data/demo --vqvae outputs/vqvae --out tokens.json

Writes one entry per caption, and <out>.meta.json beside it. A caption of a part of a clip gets the codes of that part.
--format npy writes a folder instead: codes/ID.npy (S,) int64, texts/ID.txt, train.txt, val.txt, test.txt.
--format shards writes a folder of memory-mapped files, for data that does not fit into memory (docs/SCALING.md).

Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH (--stats).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
import shlex
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.environment import fill_tokenizer_from_environment
from motiongpt.cli.opening import TOKENIZER_FLAGS, add_tokenizer_flags, foreign_flags, named_motion_tokenizer
from motiongpt.cli.parser import Parser, run_script
from motiongpt.cli.processes import always
from motiongpt.config import flag_name


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="dataset folder, from scripts/prepare.py")
    add_tokenizer_flags(parser, "tokenizer folder, from scripts/train_vqvae.py")
    add("--out", required=True, help="JSON file to write, or folder with --format npy or shards")
    forms = "one JSON file, a folder of an array per clip, or a folder of memory-mapped shards (default: json)"
    add("--format", choices=("json", "npy", "shards"), default="json", help=forms)
    add("--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    return parser


def main(args) -> None:
    fill_tokenizer_from_environment(args)
    foreign_flags(args)
    if args.vqvae is None:
        raise ValueError("--vqvae is needed: a tokenizer folder, scripts/train_vqvae.py makes one")
    from motiongpt.data.motions import MotionDataset
    from motiongpt.files.fields import get_field
    from motiongpt.files.folders import output_path
    from motiongpt.motion_tokenizer import own_folder
    from motiongpt.stages.recipes import first_language_stage
    from motiongpt.stages.run_folder import tokenizer_meta
    from motiongpt.stages.tokenizer import tokenise_dataset
    from motiongpt.training.devices import pick_device

    out = output_path(args.out, "--out", folder=args.format != "json")
    motion_tokenizer = named_motion_tokenizer(args, pick_device(args.device))
    tokenise_dataset(MotionDataset(args.data), motion_tokenizer, out, form=args.format)
    words = ["--stage", "1", "--data", str(out)]
    run = own_folder(args.vqvae).parent if args.vqvae.is_dir() else None
    if run is not None and (meta := tokenizer_meta(run)):  # the tokenizer is a stage of a run: the next one follows it
        recipe = get_field(meta, "recipe", str, run / "vqvae" / "meta.json")
        words = ["--recipe", recipe, "--stage", str(first_language_stage(recipe)), *words[2:], "--out", str(run)]
    else:
        for name in TOKENIZER_FLAGS:
            if (value := getattr(args, name)) is not None:
                words += [flag_name(name), str(value)]
    print(f"next: python scripts/finetune.py {shlex.join(words)}")


if __name__ == "__main__":
    run_script(main, make_parser(), shared=always)
