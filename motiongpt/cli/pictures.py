"""What `scripts/render.py` draws: motions by `--prompt`, `--tokens` or `--input`, and where each picture goes.

Every output path is checked before anything is sampled or read, and no two motions share a picture. How a picture is
drawn is in `render/`.
"""

import argparse
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from motiongpt.cli.environment import outputs_folder
from motiongpt.cli.opening import named_motion_tokenizer, open_generator, reading_of_flags, run_or_demo
from motiongpt.cli.prompts import folder_name
from motiongpt.cli.run_info import prompt_notes
from motiongpt.files.arrays import read_array
from motiongpt.files.folders import output_path
from motiongpt.files.listing import visible
from motiongpt.motion import Motion
from motiongpt.motion_files import (
    H5_SUFFIXES,
    SUFFIXES,
    decode_motions,
    read_joints,
    read_motion,
)
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.vocab import parse_motion


def pictures(args: argparse.Namespace, demo: Path) -> list[tuple[Motion, Path]]:
    """The motions that the flags name, each with the file of its picture; `demo` is the run if nothing names one.

    Raises ValueError if a motion cannot be read or two would get one picture, OSError if a place is not writable.
    """
    if args.prompt is not None:
        return [_sample(args, demo)]
    if args.tokens is not None:
        target = _place(args.output, outputs_folder() / "tokens.gif")
        return [(_decode(args.tokens, _open_tokenizer(args, demo), args.raw), target)]
    return _read_files(args, demo)


def _sample(args: argparse.Namespace, demo: Path) -> tuple[Motion, Path]:
    target = _place(args.output, outputs_folder() / folder_name(args.prompt) / "motion.gif")
    generator = open_generator(args, demo)
    generator.check_output(target)  # before anything is sampled
    motion = generator.generate(args.prompt, args.pid, seed=args.seed or 0)
    for note in filter(None, prompt_notes(generator, [args.prompt])):
        print(note)
    return motion, target


def _read_files(args: argparse.Namespace, demo: Path) -> list[tuple[Motion, Path]]:
    how = reading_of_flags(args)
    motion_tokenizer = cache(partial(_open_tokenizer, args, demo))  # opened once, if any file needs it

    def read(file: Path) -> Motion:
        if file.suffix.lower() == ".txt":
            return _decode(file.read_text(encoding="utf-8-sig"), motion_tokenizer(), args.raw)
        if args.reconstruct or needs_tokenizer(file):
            return read_motion(file, motion_tokenizer(), how, args.reconstruct, args.raw)
        return read_joints(file, how)

    # a file that is named twice, directly and by its folder, is drawn once
    files = list({file.resolve(): file for path in args.input for file in _motion_files_of(path)}.values())
    if _is_file(args.output) and len(files) > 1:
        raise ValueError(f"--output {args.output} is one file for {len(files)} motions; give a folder")
    many = [file for file in files if file.suffix.lower() in H5_SUFFIXES]
    if args.index is not None and len(many) < len(files):
        raise ValueError(f"--index is for a .h5, which has many clips; got {next(f for f in files if f not in many)}")
    clip = "" if args.index is None else f"-{args.index}"  # part of the picture's name
    file_of: dict[Path, Path] = {}
    for file, name in zip(files, distinct_names(files), strict=True):
        other = file_of.setdefault(_place(args.output, file.with_name(f"{file.stem}{clip}.gif"), name + clip), file)
        if other != file:
            raise ValueError(f"--input {other} and {file} have the same picture's name; draw them one by one")
    return [(read(file), target) for target, file in file_of.items()]


def _motion_files_of(path: Path) -> list[Path]:
    """The motion files of --input: a file itself, or those in a folder. ValueError or FileNotFoundError for others."""
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise ValueError(f"--input {path}: can read {' '.join(SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"--input {path} does not exist")
    for suffix in SUFFIXES:  # a sampled folder holds one motion in several forms: take it once
        if found := visible(path.glob(f"*{suffix}"), path):
            return found
    raise FileNotFoundError(f"--input {path} holds no {', '.join(SUFFIXES)} file")


def _open_tokenizer(args: argparse.Namespace, demo: Path) -> MotionTokenizer:
    """The tokenizer of --vqvae or the environment, else of --run, else of the default run, else of the demo."""
    if named := named_motion_tokenizer(args):
        return named
    if args.run:
        return MotionTokenizer.load(args.run)
    own = run_or_demo(demo)
    return MotionTokenizer.load(own if (own / "vqvae").is_dir() else demo)


def _decode(text: str, motion_tokenizer: MotionTokenizer, raw: bool) -> Motion:
    codes = parse_motion(text)
    if not codes:
        raise ValueError("no motion tokens to draw; expected such as <motion_42><motion_18>")
    return decode_motions(motion_tokenizer, [codes], [""], raw)[0]


def _place(output: Path | None, usual: Path, name: str = "") -> Path:
    """--output, if it is a file; NAME.gif in it, if it is a folder; else the usual place. OSError if not writable."""
    if output is None:
        return output_path(usual)
    return output_path(output if _is_file(output) else output / f"{name or usual.stem}.gif")


def _is_file(output: Path | None) -> bool:
    """Whether --output names a file, there or not, and not a folder."""
    return output is not None and bool(output.suffix) and not output.is_dir()


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A name for what is made from each file: its stem, after the name of its folder if stems repeat."""
    stems = [path.stem for path in paths]
    return [s if stems.count(s) == 1 else f"{p.resolve().parent.name}-{s}" for s, p in zip(stems, paths, strict=True)]


def needs_tokenizer(path: Path) -> bool:
    """Whether only a tokenizer can tell what a file's numbers mean: for a .bvh, and a .npy of features or codes."""
    if path.suffix.lower() != ".npy":
        return path.suffix.lower() == ".bvh"
    return read_array(path).ndim < 3
