"""Pictures of motions: of a sentence, of tokens, or of .npy / .npz / .txt / .bvh files that exist already.

    python scripts/render.py --input outputs/walk/motion.npy --output walk.gif
    python scripts/render.py --tokens "<MOT_BEGIN><motion_42><motion_18><MOT_END>" --output walk.png
    python scripts/render.py --prompt "a person walks forward" --seed 1

Without --output a file's picture lies beside it, that of tokens is outputs/tokens.gif, that of a sentence
outputs/<words of the sentence>/motion.gif. In a folder of --output, pictures of files of one name have the names of
their folders before it: a-motion.gif, b-motion.gif. Environment, below the flags: VQVAE_CHECKPOINT (--vqvae),
VQVAE_STATS_PATH (--stats), WORK_DIR (the folder that outputs/ is in).
"""

import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from motiongpt.cli.environment import (
    default_run,
    fill_tokenizer_from_environment,
    outputs_folder,
    say_unread_environment,
)
from motiongpt.cli.opening import (
    INPUT_FLAGS,
    add_input_flags,
    add_tokenizer_flags,
    foreign_flags,
    named_motion_tokenizer,
    open_generator,
    reading,
)
from motiongpt.cli.parser import Parser, refuse, run, slug

READABLE = (".npy", ".npz", ".txt", ".bvh")
DEMO = ROOT / "checkpoints" / "demo"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tokens", help="motion tokens: <motion_42><motion_18>, <M42> or bare numbers")
    what.add_argument("--input", type=Path, nargs="+", help="files, or folders: of a folder its .npy files, "
                      "where it has none its .npz, else its .txt")  # fmt: skip
    what.add_argument("--prompt", help="a sentence: its motion is sampled first, as scripts/sample.py does")
    parser.add_argument("--output", help="picture to write, .gif or .png, or a folder (default: see above)")
    parser.add_argument("--run", help="run folder (--prompt: or Hub repo id) to sample from, or whose tokenizer "
                        "decodes tokens (default: outputs/run, else the demo)")  # fmt: skip
    parser.add_argument("--stage", type=int, help="--prompt: stage to sample from (default: the highest finished one)")
    parser.add_argument("--pid", help="--prompt: participant whose style to take; sample.py --info lists them")
    parser.add_argument("--seed", type=int, help="--prompt: same seed, same motion (default 0)")
    add_tokenizer_flags(parser, "tokenizer folder, instead of the run's", "--vqvae-ckpt")
    parser.add_argument("--title", default="", help="written above the picture (default: nothing)")
    add_input_flags(parser)
    parser.add_argument("--reconstruct", action="store_true", help="--input: draw what the tokenizer gives back of it")
    parser.add_argument("--size", type=int, help="pixels, both ways, 64 to 4096 (default 480; .png: 320 a panel)")
    return parser


def main(args) -> None:
    from motiongpt.files.folders import output_path
    from motiongpt.motion import PICTURES, Motion, check_size
    from motiongpt.motion_files import decode_motions, distinct_names, needs_tokenizer, read_joints, read_motion
    from motiongpt.motion_tokenizer import MotionTokenizer
    from motiongpt.vocab import parse_motion

    if args.prompt is None:
        refuse(args, ("stage", "pid", "seed"), "without --prompt")
    if args.input is None:
        refuse(args, (*INPUT_FLAGS, "reconstruct"), "without --input")
    check_size(args.size)
    if (args.seed or 0) < 0:
        raise ValueError(f"--seed must be 0 or more, got {args.seed}")
    output = None if args.output is None else output_path(args.output)
    to_file = output is not None and output.suffix and not output.is_dir()
    if to_file and output.suffix.lower() not in PICTURES:
        raise ValueError(f"cannot save {output.name}: supported are {' '.join(PICTURES)}, or no suffix for a folder")
    fill_tokenizer_from_environment(args)
    foreign_flags(args)
    how = reading(args)
    say_unread_environment()

    @cache
    def motion_tokenizer() -> MotionTokenizer:
        own = default_run()
        place = args.run or (own if (own / "vqvae").is_dir() else DEMO)
        return named_motion_tokenizer(args) or MotionTokenizer.load(place)

    def decode(text: str) -> Motion:
        codes = parse_motion(text)
        if not codes:
            raise ValueError("no motion tokens to draw; expected such as <motion_42><motion_18>")
        return decode_motions(motion_tokenizer(), [codes], [""])[0]

    def read(file: Path) -> Motion:
        if file.suffix.lower() == ".txt":
            return decode(file.read_text(encoding="utf-8-sig"))
        if args.reconstruct or needs_tokenizer(file):
            return read_motion(file, motion_tokenizer(), how, args.reconstruct)
        return read_joints(file, how)

    def place(usual: Path, name: str = "") -> Path:
        target = usual if output is None else output if to_file else output / f"{name or usual.stem}.gif"
        return output_path(target)  # before anything is sampled or read

    if args.prompt is not None:
        target = place(outputs_folder() / slug(args.prompt) / "motion.gif")
        generator = open_generator(args, DEMO)
        generator.check_output(target)
        motion = generator.generate(args.prompt, args.pid, seed=args.seed or 0)
        if note := generator.advice(args.prompt):
            print(note)
        jobs = [(motion, target)]
    elif args.tokens is not None:
        target = place(outputs_folder() / "tokens.gif")
        jobs = [(decode(args.tokens), target)]
    else:
        files = list({file.resolve(): file for path in args.input for file in expand(path)}.values())
        if to_file and len(files) > 1:
            raise ValueError(f"--output {output} is one file for {len(files)} motions; give a folder")
        file_of: dict[Path, Path] = {}
        for file, name in zip(files, distinct_names(files), strict=True):
            other = file_of.setdefault(place(file.with_suffix(".gif"), name), file)
            if other != file:
                raise ValueError(f"--input {other} and {file} have the same picture's name; draw them one by one")
        jobs = [(read(file), target) for target, file in file_of.items()]
    for motion, target in jobs:
        for written in motion.save(target, title=args.title, size=args.size):
            print(f"wrote {written}")


def expand(path: Path) -> list[Path]:
    """A file as it is, a folder as the motions in it."""
    if path.is_file():
        if path.suffix.lower() not in READABLE:
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
