"""Any source of motion -> one dataset folder (HumanML3D's layout), with a report of what was dropped and why.

    python scripts/prepare.py --from procedural --out data/demo
    python scripts/prepare.py --from joints --input my_joints --fps 30 --out data/mine
    python scripts/prepare.py --from humanml3d --input HumanML3D --out data/humanml3d

`joints` reads {raw_joints,joints,new_joints}/ID.npy (F, J, 3) in metres, y up, with texts/ID.txt and
train.txt / val.txt / test.txt, and retargets the bodies to the skeleton's own proportions.
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from motiongpt.cli import Parser, run

SOURCES = ("joints", "humanml3d", "procedural")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--from", dest="source", required=True, choices=SOURCES, help="what --input is")
    parser.add_argument("--input", type=Path, help="source folder (procedural needs none)")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write; must be empty or absent")
    parser.add_argument("--fps", type=float, help="joints: frames per second of the input (default: the skeleton's)")
    parser.add_argument("--skeleton", default="humanml3d", help="skeleton name or JSON file (default humanml3d)")
    parser.add_argument("--mirror", action="store_true", help="add every clip with left and right exchanged, as M + id")
    parser.add_argument("--count", type=int, default=4000, help="procedural: how many clips (default 4000)")
    parser.add_argument("--seed", type=int, default=0, help="procedural: seed (default 0)")
    parser.add_argument("--licence", default="", help="licence of the data, kept in dataset.json")
    return parser


def main(args) -> int | None:
    from tqdm import tqdm

    from motiongpt.data.build import Record, TooManySkipped, build, feature_records, joint_records
    from motiongpt.data.motions import Caption
    from motiongpt.skeletons import get_skeleton

    skeleton = get_skeleton(args.skeleton)
    if args.fps is not None and args.source != "joints":
        raise ValueError(f"--fps is for --from joints, which are resampled; --from {args.source} has its own rate")
    if args.mirror and args.source == "humanml3d":
        raise ValueError("--mirror needs joints; --from humanml3d takes the features as they are, mirrored clips too")
    total = None
    if args.source == "procedural":
        from motiongpt.data.procedural import generate_clips

        if args.count < 1:
            raise ValueError(f"--count must be at least 1, got {args.count}")
        if args.seed < 0:
            raise ValueError(f"--seed must be 0 or more, got {args.seed}")
        total = args.count
        records = (
            Record(c.id, c.split, [Caption(text) for text in c.captions], lambda c=c: c.joints, c.participant)
            for c in generate_clips(args.count, args.seed)
        )
        source = f"procedural, {args.count} clips, seed {args.seed}"
    else:
        if args.input is None or not args.input.is_dir():
            raise FileNotFoundError(f"--input must be a folder for --from {args.source}, got {args.input}")
        if args.fps is not None and not 0 < args.fps < math.inf:
            raise ValueError(f"--fps must be positive, got {args.fps}")
        source = f"{args.source} {args.input.name}"
        if args.source == "joints":
            records = joint_records(args.input, skeleton, args.fps or skeleton.fps)
        else:
            records = feature_records(args.input, skeleton)
        records = list(records)  # arrays are loaded later; a folder that is none is found before --out is made
        total = len(records)
    bar = tqdm(records, total=total, unit="clip", disable=None)
    try:
        report = build(bar, args.out, skeleton, source, args.licence, args.mirror)
    except TooManySkipped as error:  # the command was right, the data is not: 1, where 2 means a wrong command
        print(f"prepare.py: error: {error}", file=sys.stderr)
        return 1
    print(report.summary())
    print(f"wrote {args.out}/ (report.json says what was dropped and why)")


if __name__ == "__main__":
    run(main, make_parser())
