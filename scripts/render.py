"""Pictures of motions: from a sentence, from tokens, or from .npy, .npz, .txt, .bvh and .h5 files.

    python scripts/render.py --input outputs/walk/motion.npy --output walk.gif
    python scripts/render.py --input train.h5 --index 3
    python scripts/render.py --tokens "<MOT_BEGIN><motion_42><motion_18><MOT_END>" --output walk.png
    python scripts/render.py --prompt "a person walks forward" --seed 1

Without --output, the picture of a file lies beside it, that of tokens is outputs/tokens.gif, and that of a sentence is
outputs/<words of the sentence>/motion.gif. If --output is a folder and several files have one name, their pictures are
named after their folders too: a-motion.gif, b-motion.gif.

Environment variables, which flags override: VQVAE_CHECKPOINT (--vqvae), VQVAE_STATS_PATH (--stats), WORK_DIR (the
folder that outputs/ is in), HF_TOKEN or HUGGINGFACE_HUB_TOKEN (to download a run from the Hub).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# everything else is imported inside functions: --help and a mistyped flag must not wait for torch
from motiongpt.cli.environment import fill_tokenizer_from_environment, say_unread_environment
from motiongpt.cli.opening import INPUT_FLAGS, add_input_flags, add_tokenizer_flags, foreign_flags
from motiongpt.cli.parser import Parser, refuse_flags, run_script

DEMO = ROOT / "checkpoints" / "demo"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tokens", help="motion tokens: <motion_42><motion_18>, <M42> or bare numbers")
    what.add_argument(
        "--input", type=Path, nargs="+", help="files, or folders: their .npy, else .npz, .txt, .bvh, .h5 files"
    )
    what.add_argument("--prompt", help="a sentence: its motion is sampled first, as scripts/sample.py does")
    add = parser.add_argument
    add("--output", help="picture to write, .gif or .png, or a folder (default: see above)")
    add(
        "--run", help="run that samples (folder or Hub repo id) or decodes tokens (default: outputs/run, else the demo)"
    )
    add("--stage", type=int, help="--prompt: stage to sample from (default: the highest finished one)")
    add("--pid", help="--prompt: participant whose style to take; sample.py --info lists them (default: none)")
    add("--seed", type=int, help="--prompt: same seed, same motion (default: 0)")
    add_tokenizer_flags(parser, "tokenizer folder, instead of the run's", "--vqvae-ckpt")
    add("--title", default="", help="text above the picture (default: none)")
    add_input_flags(parser)
    add("--reconstruct", action="store_true", help="--input: draw the motion as the tokenizer reconstructs it")
    add("--raw", action="store_true", help="draw decoded joints as they are: no rigid bones, no held feet")
    add("--size", type=int, help="width and height in pixels, 64 to 4096 (default: 480; .png: 320 per panel)")
    return parser


def main(args) -> None:
    check(args)
    from motiongpt.cli.pictures import pictures
    from motiongpt.motion import STAND_IN_NOTE

    say_unread_environment()
    motions = pictures(args, DEMO)
    for motion, target in motions:
        for written in motion.save(target, title=args.title, size=args.size):
            print(f"wrote {written}")
    if any(motion.parameters is not None for motion, _ in motions):
        print(STAND_IN_NOTE)


def check(args) -> None:
    """Refuse flags that have no effect, values that make no sense, and outputs that cannot be written."""
    from motiongpt.files.folders import output_path
    from motiongpt.motion import PICTURES, check_size

    if args.prompt is None:
        refuse_flags(args, ("stage", "pid", "seed"), "without --prompt")
    if args.input is None:
        refuse_flags(args, (*INPUT_FLAGS, "reconstruct"), "without --input")
    check_size(args.size)
    if (args.seed or 0) < 0:
        raise ValueError(f"--seed must be 0 or more, got {args.seed}")
    args.output = None if args.output is None else output_path(args.output)
    to_file = args.output is not None and args.output.suffix and not args.output.is_dir()
    if to_file and args.output.suffix.lower() not in PICTURES:
        supported = f"{' '.join(PICTURES)}, or no suffix for a folder"
        raise ValueError(f"cannot save {args.output.name}: supported are {supported}")
    fill_tokenizer_from_environment(args)
    foreign_flags(args)


if __name__ == "__main__":
    run_script(main, make_parser())
