"""Turn any source of motion into one dataset folder (HumanML3D's layout), and report what was dropped and why.

    python scripts/prepare.py --from procedural --out data/demo
    python scripts/prepare.py --from joints --input my_joints --fps 30 --out data/mine
    python scripts/prepare.py --from asfamc --input CMU/subjects --captions data/cmu_captions.json --out data/cmu
    python scripts/prepare.py --from bvh --input my_bvh --captions captions.csv --out data/bvh
    python scripts/prepare.py --from bvh --explain my_bvh/walk.bvh     # exit code 0 if it is whole, 1 if it is broken
    python scripts/prepare.py --from humanml3d --input HumanML3D        # checks it, writes outputs/humanml3d.json

--from joints reads ID.npy (F, J, 3) in raw_joints/, joints/ or new_joints/, in metres and y up unless --unit and --up
say otherwise, with texts/ID.txt and train.txt, val.txt, test.txt. humanml3d and kit-ml are the downloads, kit-xml is
NNNNN_mmm.xml, asfamc is NN_MM.amc with NN.asf, myoskeleton is .h5, smplx is .npz or folders of frames. Bodies are
retargeted to the skeleton, except for --representation positions. After a kill, the same command continues.

Environment variable: WORK_DIR (the folder that outputs/ is in).
"""

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while modules are imported shows no traceback
import os
import shlex
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# everything else is imported inside functions: --help and a mistyped flag must not wait for NumPy or torch
from motiongpt.cli.parser import Parser, run_script
from motiongpt.cli.prepare_flags import (
    DOWNLOADS,
    Inputs,
    check_in_place,
    check_source_flags,
    print_plan,
    source_options,
)
from motiongpt.data.prepare.sources import SOURCES


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.set_defaults(more_input=None)
    add = parser.add_argument
    add("--from", dest="source", required=True, choices=SOURCES, help="what --input is")
    what = "source folder, or one file of it (procedural: none; myoskeleton: several .h5 or folders become one dataset)"
    add("--input", type=Path, nargs="+", action=Inputs, help=what)
    add("--out", type=Path, help="dataset folder to write; must be empty, absent, or an unfinished one")
    add("--explain", type=Path, metavar="FILE", help="print what a file holds and what would be dropped, and stop")
    add("--dry-run", action="store_true", help="read the first clip, say what would be done, write nothing")
    add("--captions", type=Path, help=".csv or .json with id, caption, participant, split; may cut trials (asfamc)")
    add("--fps", type=float, help="frames per second of files that do not say (default: 20 for .h5, 120 for .amc)")
    add("--unit", help="m, cm, mm, inch, or metres as a number (default: as the file says, or guessed)")
    add("--up", choices=("y", "z"), help="the axis that points up (default: as the file says, or guessed)")
    add("--joint-map", type=Path, help="JSON file {joint of the skeleton: joint of the file}")
    add("--skeleton", help="skeleton name or JSON file (default: the source's, else humanml3d)")
    add("--representation", choices=("humanml3d", "positions"), help="features of a frame (default: the source's)")
    add("--allow-no-text", action="store_true", help="myoskeleton: give clips without text a placeholder caption")
    add("--smplx-layout", choices=("train", "visualize"), help="smplx: order of 182 numbers without names")
    add("--smplx-dir", type=Path, help="amass, smplx: folder of body models (smplx: for joints)")
    add("--exact-fps", action="store_true", help="amass: resample, instead of dropping frames as HumanML3D does")
    add("--index", type=Path, help="amass, asfamc: HumanML3D's index.csv, to rebuild its clips from --input")
    add("--texts", type=Path, help="with --index: HumanML3D's texts.zip (default: texts/ beside the index)")
    add("--plain", type=Path, metavar="DIR", help="kit-xml: also write plain .npy and .json files into DIR")
    add("--workers", type=int, help="processes (default: one per core)")
    add("--mirror", action="store_true", help="add each clip with left and right exchanged")
    add("--add", type=Path, metavar="FOLDER", help="a finished dataset folder whose clips join, as they are")
    add("--repeat", type=int, help="with --add: list its training clips so often (default: 1)")
    add("--count", type=int, help="procedural: number of clips (default: 4000)")
    add("--edits", type=int, help="procedural: add pairs of clips, one changed by a sentence (default: 0)")
    add("--seed", type=int, help="procedural: seed (default: 0)")
    add("--licence", help="licence of the data, kept in dataset.json (default: none)")
    return parser


def main(args) -> int | None:
    check_source_flags(args)
    from motiongpt.data.prepare.explain import explain
    from motiongpt.data.prepare.records import records
    from motiongpt.data.prepare.report import TooManySkipped

    options = source_options(args)
    if args.explain:
        lines, code = explain(args.source, args.explain, options)
        print("\n".join(lines))
        return code
    found = records(args.source, args.input, options)  # finds a wrong --input before anything is written
    if args.dry_run:
        return print_plan(args, options, *found)
    if args.out is None and args.source in DOWNLOADS:
        return check_in_place(args, options, progress)
    try:
        if args.out:
            build_dataset(args, options, *found)
        if args.plain:  # after the build, which may find that the source is broken
            write_plain_files(args, options)
    except TooManySkipped as error:  # the command was right, the data is not: 1, since 2 means a wrong command
        print(f"prepare.py: error: {error}", file=sys.stderr)
        return 1
    return None


def progress(clips, total: int | None = None):
    """A bar on a terminal; nothing if the output is a file."""
    from tqdm import tqdm

    return tqdm(clips, total=total, unit="clip", disable=None)


def build_dataset(args, options, clips, total: int | None, fps: float | None) -> None:
    from motiongpt.data.prepare.build import build
    from motiongpt.data.prepare.records import choose_representation

    # what the folder remembers: an unfinished build continues only with the same flags
    free = ("out", "workers", "plain", "debug", "dry_run", "began")
    said = {flag: str(value) for flag, value in vars(args).items() if value is not None and flag not in free}
    report = build(
        progress(clips, total),
        args.out,
        options.skeleton,
        f"{args.source} {options.name(args.input)}",
        options.licence,
        args.mirror,
        choose_representation(args.source, args.representation, options),
        fps,
        options.joint_map,
        args.workers or os.cpu_count() or 1,
        said,
        options.captions or (),
        SOURCES[args.source].flags,
    )
    print(f"{report.summary()}\nwrote {args.out}/ (report.json says what was dropped and why; lengths.png)")
    print(f"next: {report.next_step(shlex.quote(str(args.out)))}")


def write_plain_files(args, options) -> None:
    from tqdm import tqdm

    from motiongpt.data.prepare.kit_plain import write_plain
    from motiongpt.data.prepare.records import records

    clips, total, _ = records(args.source, args.input, options)
    write_plain(progress(clips, total), args.plain, tqdm.write)
    print(f"wrote {args.plain}/kit_motion_data.npy and {args.plain}/kit_text_data.json")


if __name__ == "__main__":
    run_script(main, make_parser())
