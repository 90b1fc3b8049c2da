"""What `scripts/render.py` draws: motions by `--prompt`, `--tokens`, `--input` or `--compare`, and where each goes.

Every output path is checked before anything is sampled or read, and no two motions share a picture, unless they are
compared in one. How a picture is drawn is in `render/`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from motiongpt.cli.environment import outputs_folder
from motiongpt.cli.opening import named_motion_tokenizer, open_generator, reading_of_flags, run_or_demo
from motiongpt.cli.parser import refuse_flags
from motiongpt.cli.prompts import folder_name
from motiongpt.cli.run_info import prompt_notes
from motiongpt.data.resample import resample, resample_parameters
from motiongpt.features.body_meshes import BodyMeshes
from motiongpt.features.smplx import SMPLX_COLUMNS
from motiongpt.files.arrays import read_array
from motiongpt.files.folders import output_path
from motiongpt.files.listing import visible
from motiongpt.motion import PICTURES, STAND_IN_NOTE, Motion, show
from motiongpt.motion_files import (
    H5_SUFFIXES,
    SUFFIXES,
    decode_motions,
    naming_file,
    read_joints,
    read_motion,
)
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.render.mp4 import check_mp4
from motiongpt.render.pictures import check_view
from motiongpt.render.view import View
from motiongpt.rigs.files import RIGGED, check_rig, rig_notes
from motiongpt.vocab import parse_motion

PAGE = "motion_animation.html"  # of tokens and sentences, without --output
VIEW_FLAGS = ("look", "title", "size", "elev", "azim", "dpi")


def pictures(args: argparse.Namespace, demo: Path) -> list[tuple[list[Motion], Path]]:
    """The motions that the flags name, and the file they go into; `demo` is the run if nothing names one.

    Raises ValueError if a motion cannot be read or two would get one picture, OSError if a place is not writable.
    """
    if args.prompt is not None:
        return [_sample(args, demo)]
    if args.tokens is not None:
        target = _place(args.output, outputs_folder() / PAGE, "tokens")
        return [([_decode(args.tokens, _open_tokenizer(args, demo), args.raw)], target)]
    return _read_files(args, demo)


def check_flags(args: argparse.Namespace, view: View) -> None:
    """Refuse what no picture can have, and outputs that cannot be written. Settles `args.output`."""
    check_view(view)
    args.output = None if args.output is None else output_path(args.output)
    known = (*PICTURES, *RIGGED, *((".npz",) if args.mesh else ()))
    if _is_file(args.output) and args.output.suffix.lower() not in known:
        supported = f"{' '.join(known)}, or no suffix for a folder"
        raise ValueError(f"cannot save {args.output.name}: supported are {supported}")
    suffix = args.output.suffix.lower() if _is_file(args.output) else ".gif"
    if args.rig is not None and suffix not in RIGGED:
        raise ValueError(f"--rig is for {' '.join(RIGGED)}; give --output such a name")
    if suffix not in PICTURES:
        refuse_flags(args, VIEW_FLAGS, f"for {args.output.name}, which is no picture")
        check_rig(args.output, args.rig or "own")
        if args.compare or args.mesh and suffix in RIGGED:
            raise ValueError(
                f"{args.output.name} holds the bones of one motion; {' '.join(PICTURES)} compare and have --mesh"
            )
    if suffix == ".png":
        no_file = not args.input and not args.compare
        refuse_flags(args, ("fps",) if no_file else (), "for a .png of --tokens or --prompt, which does not move")
    elif suffix == ".mp4":
        check_mp4()
    if args.mesh:
        refuse_flags(args, ("look",), "with --mesh")
    if args.still and suffix != ".png":
        raise ValueError("--still is for .png; give --output such a name")


def draw_all(pictured: Sequence[tuple[list[Motion], Path]], view: View, rig: str, meshes: BodyMeshes | None) -> None:
    """Write every picture, with a line for each; `meshes` draws people, not skeletons."""
    notes: list[str] = []
    for motions, target in pictured:
        stand_in = next((motion for motion in motions if meshes is None and motion.parameters is not None), None)
        if meshes and target.suffix.lower() == ".npz":
            written = [_write_amass(meshes, _at_rate(motions[0], view.fps), target)]
        elif target.suffix.lower() not in PICTURES:
            written = _at_rate(motions[0], view.fps).save(target, rig=rig)
            notes += rig_notes(motions[0].shown().skeleton, rig)
        else:
            for motion in motions:
                motion.check_plausible(target)
            with naming_file(target):
                shown = [motion.shown(meshes) for motion in motions]
            title = stand_in.title(view.title) if stand_in else view.title
            written = [show(target, shown, replace(view, title=title))]
        if stand_in:
            notes.append(STAND_IN_NOTE)
        for path in written:
            print(f"wrote {path}")
    print(*dict.fromkeys(notes), sep="\n", end="\n" if notes else "")


def _write_amass(meshes: BodyMeshes, motion: Motion, target: Path) -> Path:
    if motion.joints is None:
        raise ValueError(f"{target}: AMASS's layout is made from joints, and this motion has SMPL-X parameters already")
    motion.check_plausible(target)
    with naming_file(target):
        meshes.write_amass(target, motion.joints, motion.skeleton, motion.fps)
    return target


def _at_rate(motion: Motion, fps: float | None) -> Motion:
    """The motion at another rate, as other programs get it frame by frame; pictures take the rate from the view."""
    if fps is None or motion.joints is None and motion.parameters is None:
        return motion
    if motion.joints is not None:
        return replace(motion, joints=resample(motion.joints, motion.fps, fps), fps=fps)
    parameters = resample_parameters(motion.parameters, SMPLX_COLUMNS, motion.fps, fps)
    return replace(motion, parameters=parameters, fps=fps)


def _sample(args: argparse.Namespace, demo: Path) -> tuple[list[Motion], Path]:
    target = _place(args.output, outputs_folder() / folder_name(args.prompt) / PAGE, "motion")
    generator = open_generator(args, demo)
    generator.check_output(target)  # before anything is sampled
    motion = generator.generate(args.prompt, args.pid, seed=args.seed or 0)
    for note in filter(None, prompt_notes(generator, [args.prompt])):
        print(note)
    return [motion], target


def _read_files(args: argparse.Namespace, demo: Path) -> list[tuple[list[Motion], Path]]:
    how = reading_of_flags(args)
    given = args.compare or args.input
    motion_tokenizer = cache(partial(_open_tokenizer, args, demo))  # opened once, if any file needs it

    def read(file: Path) -> Motion:
        if file.suffix.lower() == ".txt":
            return _decode(file.read_text(encoding="utf-8-sig"), motion_tokenizer(), args.raw)
        if args.reconstruct or needs_tokenizer(file):
            return read_motion(file, motion_tokenizer(), how, args.reconstruct, args.raw)
        return read_joints(file, how)

    # a file that is named twice, directly and by its folder, is drawn once
    files = list({file.resolve(): file for path in given for file in _motion_files_of(path)}.values())
    if args.only:
        files = _only(files, args.only)
    if args.compare:
        names = "-".join(distinct_names(files))[:100]
        target = _place(args.output, outputs_folder() / f"{names}.gif", names)
        return [([_named(read(file), file.stem) for file in files], target)]
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
    return [([read(file)], target) for target, file in file_of.items()]


def _named(motion: Motion, name: str) -> Motion:
    """A motion that is shown beside others needs a caption: its own, else the name of its file."""
    return motion if motion.text else replace(motion, text=name)


def _only(files: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """The files of --only, by name or stem, in its order."""
    by_name = {key: file for file in files for key in (file.stem, file.name)}
    if missing := [name for name in names if name not in by_name]:
        there = ", ".join(sorted(file.name for file in files)[:8])
        raise ValueError(f"--only {' '.join(missing)}: --input has no such file; it has {there}")
    return [by_name[name] for name in names]


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
    """--output, if it is a file; NAME in it with the usual suffix, if it is a folder; else the usual place.

    OSError if it is not writable.
    """
    if output is None:
        return output_path(usual)
    return output_path(output if _is_file(output) else output / f"{name or usual.stem}{usual.suffix}")


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
