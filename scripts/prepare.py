"""Any source of motion -> one dataset folder (HumanML3D's layout), with a report of what was dropped and why.

    python scripts/prepare.py --from procedural --out data/demo
    python scripts/prepare.py --from joints --input my_joints --fps 30 --out data/mine
    python scripts/prepare.py --from bvh --input my_bvh --captions captions.csv --out data/bvh
    python scripts/prepare.py --from bvh --explain my_bvh/walk.bvh     # 0 if it is whole, 1 if it is broken
    python scripts/prepare.py --from humanml3d --input HumanML3D        # checks it, writes outputs/humanml3d.json

joints: {raw_joints,joints,new_joints}/ID.npy (F, J, 3) in metres, y up (else --unit, --up), with texts/ID.txt and
train.txt, val.txt, test.txt. humanml3d, kit-ml: downloads. kit-xml: NNNNN_mmm.xml. myoskeleton: .h5. smplx: folders of
frames or .npz. Bodies are retargeted to the skeleton, but for positions. After a kill the same command goes on.
"""

import math
import os
import shlex
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli.parser import Parser, refuse, run

SOURCES = ("joints", "humanml3d", "kit-ml", "kit-xml", "bvh", "amass", "myoskeleton", "smplx", "procedural")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--from", dest="source", required=True, choices=SOURCES, help="what --input is")
    parser.add_argument("--input", type=Path, help="source folder, or one file of it (procedural: none)")
    parser.add_argument("--out", type=Path, help="dataset folder to write; must be empty, absent, or an unfinished one")
    parser.add_argument("--explain", type=Path, metavar="FILE", help="say what a file holds and what would be dropped")
    parser.add_argument("--captions", type=Path, help=".csv or .json with id, caption, participant, split")
    parser.add_argument("--fps", type=float, help="frames per second of files that do not say (H5 default 20)")
    parser.add_argument("--unit", help="m, cm, mm, inch, or metres as a number (default: as the file says, or guessed)")
    parser.add_argument("--up", choices=("y", "z"), help="the axis that points up (default: the file's, or guessed)")
    parser.add_argument("--joint-map", type=Path, help="JSON {joint of the skeleton: joint of the file}")
    parser.add_argument("--skeleton", help="skeleton name or JSON file (default humanml3d, or the source's)")
    parser.add_argument("--representation", choices=("humanml3d", "positions"), help="default the source's")
    parser.add_argument("--allow-no-text", action="store_true", help="myoskeleton: placeholder captions")
    parser.add_argument("--smplx-layout", choices=("train", "visualize"), help="order of 182 numbers without names")
    parser.add_argument("--smplx-dir", type=Path, help="amass, smplx: folder of body models (smplx: joints)")
    parser.add_argument("--exact-fps", action="store_true", help="amass: resample, where HumanML3D takes whole frames")
    parser.add_argument("--index", type=Path, help="amass: HumanML3D's index.csv, to rebuild its clips from --input")
    parser.add_argument("--plain", type=Path, metavar="DIR", help="kit-xml: also plain .npy and .json, into DIR")
    parser.add_argument("--workers", type=int, help="processes (default: as many as there are cores)")
    parser.add_argument("--mirror", action="store_true", help="add each clip with sides exchanged before retargeting")
    parser.add_argument("--count", type=int, help="procedural: how many clips (default 4000)")
    parser.add_argument("--seed", type=int, help="procedural: seed (default 0)")
    parser.add_argument("--licence", help="licence of the data, kept in dataset.json")
    return parser


def read_options(args):
    """The flags, checked against the source."""
    from motiongpt.body.skeletons import get_skeleton
    from motiongpt.data.joint_maps import read_map
    from motiongpt.data.prepare.caption_table import read_captions
    from motiongpt.data.prepare.sources import Options, check_flags, default_skeleton

    check_flags(args.source, vars(args))
    check_use(args)
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise ValueError(f"--fps must be positive, got {args.fps}")
    for name, least, words in (("workers", 1, "at least 1"), ("count", 1, "at least 1"), ("seed", 0, "0 or more")):
        if (value := getattr(args, name)) is not None and value < least:
            raise ValueError(f"--{name} must be {words}, got {value}")
    return Options(
        get_skeleton(args.skeleton or default_skeleton(args.source, args.explain or args.input)),
        Path(args.skeleton) if str(args.skeleton).endswith(".json") else None,
        args.fps, args.unit, args.up, read_captions(args.captions) if args.captions else None,
        read_map(args.joint_map) if args.joint_map else None, args.allow_no_text, args.smplx_layout, args.smplx_dir,
        args.exact_fps, args.index, args.count or 4000, args.seed or 0,
    )  # fmt: skip


def check_use(args) -> None:
    """ValueError for flags that would be without effect, and for folders that are in each other's way."""
    built = ("captions", "joint_map", "representation", "workers", "mirror", "licence")
    if args.explain:
        refuse(args, ("input", "out", "index", "plain", *built), "with --explain, which looks at one file")
    if args.out is None:
        refuse(args, built if args.plain or args.source in ("humanml3d", "kit-ml") else (), "without --out")
        return
    out, source = args.out.resolve(), args.input and args.input.resolve()
    if source and out in (source, *source.parents):
        raise ValueError(f"--out {args.out} holds the --input {args.input}; give a folder of its own")
    inside = out.relative_to(source).parts if source and source in out.parents else ()
    if inside and (args.source == "smplx" or (args.source == "joints" and inside[0].endswith("joints"))):
        raise ValueError(f"--out {args.out} lies where --input {args.input} is read; give a folder outside of it")
    if args.plain and out in (plain := args.plain.resolve(), *plain.parents):
        raise ValueError(f"--plain {args.plain} lies in --out {args.out}, which must be empty; give another folder")


def check_in_place(args, options) -> int:
    """An existing download, looked through where it is."""
    from motiongpt.data.prepare.downloads import check, lines
    from motiongpt.files.store import write_json

    facts = check(args.input, options.skeleton, lambda clips: tqdm(clips, unit="clip", disable=None))
    print("\n".join(lines(facts)))
    report = Path("outputs") / f"{args.source}.json"
    write_json(report, facts)
    print(f"wrote {report}")
    return 1 if facts["problems"] else 0


def main(args) -> int | None:
    from motiongpt.data.prepare import sources
    from motiongpt.data.prepare.build import build
    from motiongpt.data.prepare.explain import explain
    from motiongpt.data.prepare.kit_plain import write_plain
    from motiongpt.data.prepare.report import TooManySkipped
    from motiongpt.data.prepare.sources import choose_representation, records

    options = read_options(args)
    if args.explain:
        said, code = explain(args.source, args.explain, options)
        print("\n".join(said))
        return code
    found, total, fps = records(args.source, args.input, options)
    if args.out is None and args.source in ("humanml3d", "kit-ml"):
        return check_in_place(args, options)
    if args.out is None and args.plain is None:
        raise ValueError("--out is needed: the dataset folder to write")
    what = args.input.name if args.input else f"{options.count} clips, seed {options.seed}"
    said = {n: str(v) for n, v in vars(args).items() if v is not None and n not in ("out", "workers", "plain", "debug")}
    try:
        if args.out:
            representation = choose_representation(args.source, args.representation, options)
            report = build(tqdm(found, total=total, unit="clip", disable=None), args.out, options.skeleton,
                           f"{args.source} {what}", args.licence or "", args.mirror, representation, fps,
                           options.joint_map, args.workers or os.cpu_count() or 1, said,
                           options.captions or (), sources.SOURCES[args.source].flags)  # fmt: skip
            print(f"{report.summary()}\nwrote {args.out}/ (report.json says what was dropped and why; lengths.png)")
            print(f"next: {report.next_step(shlex.quote(str(args.out)))}")
        if args.plain:  # after the build, which may find that the source is broken
            found, total, _ = records(args.source, args.input, options)
            write_plain(tqdm(found, total=total, unit="clip", disable=None), args.plain, tqdm.write)
            print(f"wrote {args.plain}/kit_motion_data.npy and {args.plain}/kit_text_data.json")
    except TooManySkipped as error:  # the command was right, the data is not: 1, where 2 means a wrong command
        print(f"prepare.py: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    run(main, make_parser())
