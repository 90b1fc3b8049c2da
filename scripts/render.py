"""Pictures of motions that exist already: tokens, or .npy / .npz / .txt files.

python scripts/render.py --input outputs/walk/motion.npy --output walk.gif
python scripts/render.py --tokens "<MOT_BEGIN><motion_42><motion_18><MOT_END>" --output walk.png
"""

import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motiongpt.cli import Parser, default_run, run

READABLE = (".npy", ".npz", ".txt")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tokens", help="motion tokens: <motion_42><motion_18>, <M42> or bare numbers")
    what.add_argument("--input", type=Path, nargs="+", help="files, or folders: of a folder its .npy files, "
                      "where it has none its .npz, else its .txt")  # fmt: skip
    parser.add_argument("--output", type=Path, help="file to write; the suffix is the format "
                        "(default: a .gif beside the input, outputs/tokens.gif for --tokens)")  # fmt: skip
    parser.add_argument(
        "--run", type=Path, help="run whose tokenizer decodes tokens (default: outputs/run, else the demo)"
    )
    parser.add_argument("--vqvae", "--vqvae-ckpt", type=Path, help="tokenizer folder, instead of the run's")
    parser.add_argument("--title", default="", help="written above the picture")
    parser.add_argument("--fps", type=float, help="frames per second of a .npy (default: the skeleton's)")
    parser.add_argument("--size", type=int, help="pixels, both ways (default 480)")
    return parser


def main(args) -> None:
    from motiongpt.motion import Motion
    from motiongpt.tokenizer import MotionTokenizer
    from motiongpt.vocab import parse_motion

    @cache
    def tokenizer() -> MotionTokenizer:
        if folder := args.vqvae or args.run:
            return MotionTokenizer.load(folder)
        own = default_run()
        return MotionTokenizer.load(own if (own / "vqvae").is_dir() else ROOT / "checkpoints" / "demo")

    def decode(text: str) -> Motion:
        codes = parse_motion(text)
        if not codes:
            raise ValueError("no motion tokens to draw; expected such as <motion_42><motion_18>")
        return Motion(tokenizer().decode([codes])[0], tokenizer().fps, codes, "", tokenizer().skeleton)

    if args.tokens is not None:
        jobs = [(decode(args.tokens), args.output or Path("outputs/tokens.gif"))]
    else:
        files = [file for path in args.input for file in expand(path)]
        if args.output and args.output.suffix and len(files) > 1:
            raise ValueError(f"--output {args.output} is one file for {len(files)} motions; give a folder")
        jobs = []
        for file in files:
            if file.suffix == ".txt":
                motion = decode(file.read_text(encoding="utf-8-sig"))
            else:
                motion = Motion.load(file, fps=args.fps)
            target = args.output or file.with_suffix(".gif")
            jobs.append((motion, target if target.suffix else target / f"{file.stem}.gif"))
    for motion, target in jobs:
        for written in motion.save(target, title=args.title, size=args.size):
            print(f"wrote {written}")


def expand(path: Path) -> list[Path]:
    """A file as it is, a folder as the motions in it."""
    if path.is_file():
        if path.suffix not in READABLE:
            raise ValueError(f"--input {path}: can read {' '.join(READABLE)}")
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"--input {path} does not exist")
    for suffix in READABLE:  # a sampled folder holds one motion in several forms: draw it once
        if found := sorted(path.glob(f"*{suffix}")):
            return found
    raise FileNotFoundError(f"--input {path} holds no {', '.join(READABLE)} file")


if __name__ == "__main__":
    run(main, make_parser())
