"""The flags of `scripts/prepare.py`: checked against the source and each other, and as options of the readers.

Which source takes which flag is the table `data/prepare/sources.py`. The checks need no NumPy, so a wrong command is
answered at once; the options do, since they read the files that flags name.
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.parser import refuse_flags
from motiongpt.data.prepare.sources import check_flags
from motiongpt.data.units import metres

if TYPE_CHECKING:
    from motiongpt.data.prepare.records import Options

DOWNLOADS = ("humanml3d", "kit-ml")
"""Sources that are datasets already: without --out they are checked where they are."""

SAME_IN_OPTIONS = ("fps", "unit", "up", "allow_no_text", "smplx_layout", "smplx_dir", "exact_fps", "index")
"""Flags that `Options` takes as they are."""


def check_source_flags(args: argparse.Namespace) -> None:
    """ValueError for flags without effect, values that make no sense, and folders that are in each other's way."""
    check_flags(args.source, vars(args))
    built = ("captions", "joint_map", "representation", "workers", "mirror", "licence")
    if args.explain:
        refuse_flags(args, ("input", "out", "index", "plain", *built), "with --explain, which looks at one file")
    if args.out is None and (args.plain or args.source in DOWNLOADS):
        refuse_flags(args, built, "without --out")
    if args.out:
        _check_folders(args, args.out.resolve())
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise ValueError(f"--fps must be positive, got {args.fps}")
    metres(args.unit)  # refuses a word that is no unit
    for name, least, words in (("workers", 1, "at least 1"), ("count", 1, "at least 1"), ("seed", 0, "0 or more")):
        if (value := getattr(args, name)) is not None and value < least:
            raise ValueError(f"--{name} must be {words}, got {value}")
    if not (args.out or args.plain or args.explain or args.source in DOWNLOADS):
        raise ValueError("--out is needed: the dataset folder to write")


def _check_folders(args: argparse.Namespace, out: Path) -> None:
    """Nothing is written into --input, whose files would be read again, and nothing of --plain into --out."""
    source = args.input and args.input.resolve()
    if source and out in (source, *source.parents):
        raise ValueError(f"--out {args.out} holds the --input {args.input}; give a folder of its own")
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
    from motiongpt.data.prepare.records import Options, default_skeleton

    return Options(
        skeleton=get_skeleton(args.skeleton or default_skeleton(args.source, args.explain or args.input)),
        skeleton_file=Path(args.skeleton) if str(args.skeleton).endswith(".json") else None,
        captions=read_captions(args.captions) if args.captions else None,
        joint_map=read_map(args.joint_map) if args.joint_map else None,
        count=args.count or 4000,
        seed=args.seed or 0,
        **{name: getattr(args, name) for name in SAME_IN_OPTIONS},
    )
