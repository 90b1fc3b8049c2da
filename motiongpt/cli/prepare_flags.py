"""The flags of `scripts/prepare.py`: checked against the source and each other, and as options of the readers.

Which source takes which flag is the table `data/prepare/sources.py`. The checks need no NumPy, so a wrong command is
answered at once; the options do, since they read the files that flags name.
"""

import argparse
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.environment import default_output
from motiongpt.cli.parser import refuse_flags
from motiongpt.data.prepare.sources import check_flags
from motiongpt.data.units import metres

if TYPE_CHECKING:
    from motiongpt.data.prepare.options import Options
    from motiongpt.data.raw import Record

DOWNLOADS = ("humanml3d", "kit-ml")
"""Sources that are datasets already: without --out they are checked where they are."""

SAME_IN_OPTIONS = ("fps", "unit", "up", "allow_no_text", "smplx_layout", "smplx_dir", "exact_fps", "index", "add")
"""Flags that `Options` takes as they are."""


class Inputs(argparse.Action):
    """--input A B, or --input A --input B: the first is `input`, the others are `more_input`."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        before = [] if namespace.input is None else [namespace.input, *(namespace.more_input or ())]
        first, *more = [*before, *values]
        namespace.input = first
        namespace.more_input = tuple(more) or None


def check_source_flags(args: argparse.Namespace) -> None:
    """Raise ValueError for flags without effect, values that make no sense, and folders that overlap."""
    check_flags(args.source, vars(args))
    built = ("captions", "joint_map", "representation", "workers", "mirror", "licence", "add", "repeat")
    if args.explain:
        unused = ("input", "out", "index", "texts", "plain", *built)
        refuse_flags(args, unused, "with --explain, which looks at one file")
    if args.out is None and (args.plain or args.source in DOWNLOADS):
        refuse_flags(args, built, "without --out")
    if args.out:
        _check_folders(args, args.out.resolve())
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise ValueError(f"--fps must be positive, got {args.fps}")
    if args.more_input and args.source != "myoskeleton":
        raise ValueError(f"--input takes several files or folders for --from myoskeleton; one for {args.source}")
    if args.repeat and not args.add:
        raise ValueError("--repeat needs --add: it says how often the training clips of that folder are listed")
    if args.add and args.representation == "positions":
        raise ValueError("--add joins features of the representation humanml3d; not --representation positions")
    if args.texts and not args.index:
        raise ValueError("--texts needs --index, which says what piece of which file its captions are about")
    metres(args.unit)  # refuses a word that is no unit
    for name, least, words in (
        ("workers", 1, "at least 1"),
        ("count", 1, "at least 1"),
        ("repeat", 1, "at least 1"),
        ("edits", 0, "0 or more"),
        ("seed", 0, "0 or more"),
    ):
        if (value := getattr(args, name)) is not None and value < least:
            raise ValueError(f"--{name} must be {words}, got {value}")
    if not (args.out or args.plain or args.explain or args.source in DOWNLOADS):
        raise ValueError("--out is needed: the dataset folder to write")


def _check_folders(args: argparse.Namespace, out: Path) -> None:
    """Refuse an --out where --input is read, since its files would be read again, and a --plain inside --out."""
    source = args.input and args.input.resolve()
    for flag, place in (("input", args.input), *(("input", more) for more in args.more_input or ()), ("add", args.add)):
        if place and out in (place.resolve(), *place.resolve().parents):
            raise ValueError(f"--out {args.out} holds the --{flag} {place}; give a folder of its own")
    inside = out.relative_to(source).parts if source and source in out.parents else ()
    if inside and (args.source == "smplx" or (args.source == "joints" and inside[0].endswith("joints"))):
        raise ValueError(f"--out {args.out} lies where --input {args.input} is read; give a folder outside of it")
    if args.plain and out in (args.plain.resolve(), *args.plain.resolve().parents):
        raise ValueError(f"--plain {args.plain} lies in --out {args.out}, which must be empty; give another folder")


def source_options(args: argparse.Namespace) -> "Options":
    """The flags as the readers take them, with the files that they name read."""
    from motiongpt.body.skeletons import get_skeleton
    from motiongpt.data.joint_maps import read_map
    from motiongpt.data.prepare.caption_table import read_captions
    from motiongpt.data.prepare.caption_texts import read_caption_texts
    from motiongpt.data.prepare.options import Options
    from motiongpt.data.prepare.records import default_skeleton

    return Options(
        skeleton=get_skeleton(args.skeleton or default_skeleton(args.source, args.explain or args.input)),
        skeleton_file=Path(args.skeleton) if str(args.skeleton).endswith(".json") else None,
        captions=read_captions(args.captions) if args.captions else None,
        captions_file=args.captions,
        texts=read_caption_texts(args.texts) if args.texts else None,
        joint_map=read_map(args.joint_map) if args.joint_map else None,
        more_input=args.more_input or (),
        count=args.count or 4000,
        seed=args.seed or 0,
        edits=args.edits or 0,
        repeat=args.repeat or 1,
        licence=_known_licence(args),
        **{name: getattr(args, name) for name in SAME_IN_OPTIONS},
    )


def _known_licence(args: argparse.Namespace) -> str:
    """--licence, else the credit of the captions file and the licence of --add."""
    from motiongpt.data.motions import MotionDataset
    from motiongpt.data.prepare.caption_table import read_credit

    if args.licence:
        return args.licence
    found = [read_credit(args.captions)] if args.captions else []
    found += [str(MotionDataset(args.add).info.get("licence", ""))] if args.add else []
    return " ".join(text for text in found if text)


def print_plan(
    args: argparse.Namespace, options: "Options", clips: Iterable["Record"], total: int | None, fps: float | None
) -> None:
    """Say what a build or a check would do, for --dry-run. It reads the first clip, and the folder must be free."""
    from motiongpt.data.motions import JOURNAL
    from motiongpt.data.prepare.records import choose_representation
    from motiongpt.files.listing import visible

    representation = choose_representation(args.source, args.representation, options)
    first = next(iter(clips), None)
    if first is None:
        raise ValueError(f"--input {args.input} has no clip")
    clip = first.load()
    shape = getattr(clip, "joints", clip)
    shape = tuple(shape.shape) if shape is not None else "no joints"
    name = representation.name if representation else "humanml3d"
    count = f"{total} clips" if total is not None else "clips, how many shows while they are read"
    lines = [
        f"{args.source}: {count}, such as {first.id} {shape}, split {first.split or 'by hash'}, "
        f"{len(first.captions)} captions",
        f"features {name} of skeleton {options.skeleton.name} at {fps or options.skeleton.fps:g} fps"
        + (", each clip mirrored too" if args.mirror else ""),
    ]
    if args.out is None:
        print("\n".join(lines), "--dry-run: would check the files where they are; nothing was written", sep="\n")
        return
    state = "a new folder"
    if (args.out / JOURNAL).exists():
        state = "going on with what is there, if its flags were the same"
    elif args.out.is_dir() and visible(args.out.iterdir(), args.out):
        raise FileExistsError(f"{args.out} is not empty; choose another --out, or remove it")
    print("\n".join(lines), f"--dry-run: would build {args.out}/ ({state}); nothing was written", sep="\n")


def check_in_place(args: argparse.Namespace, options: "Options", progress: Callable) -> int:
    """Look through a download where it is, under the bar `progress`; returns the exit code, 1 if it has problems."""
    from motiongpt.data.prepare.check_download import check_download, summary_lines
    from motiongpt.files.store import write_json

    facts = check_download(args.input, options.skeleton, progress)
    print("\n".join(summary_lines(facts)))
    report = default_output(f"{args.source}.json")
    write_json(report, facts)
    print(f"wrote {report}")
    return 1 if facts["problems"] else 0
