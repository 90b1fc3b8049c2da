"""Do the protocol's metrics notice what they should? Real motions, spoilt in known ways, against the same captions.

    python benchmarks/protocol_sanity.py --data data/mine --evaluator outputs/evaluator

Prints a table: a row per way to spoil, and in bold the metric that has to notice it: worse than the real row by more
than three of both intervals, and by more than a tenth (FID: above 0.1).
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from motiongpt.data.motions import MotionDataset
from motiongpt.evaluators import Evaluator
from motiongpt.features import mirror_joints
from motiongpt.metrics import fid
from motiongpt.protocol import Row, Texts, qualities, read_items, shortest_clip

COLUMNS = {"r_precision_1": "R@1", "r_precision_3": "R@3", "fid": "FID", "mm_dist": "MM-Dist", "diversity": "Diversity",
           "foot_skate": "foot skate", "floor_penetration_mm": "penetration (mm)",
           "jerk_m_s3": "jerk (m/s^3)"}  # fmt: skip
LESS_IS_WORSE = ("r_precision_1", "r_precision_3", "diversity")


def on_joints(change):
    """Features spoilt as joints. One frame more is held at the end: features have one frame less than joints."""

    def spoil(features, representation):
        joints = change(representation.decode(features), representation)
        joints = np.concatenate((joints, joints[-1:])) if representation.frames_lost else joints
        return representation.encode(joints).astype(np.float32)

    return spoil


def lifted(metres: float):
    """Features of the body so much higher: as joints it would be put back on the floor."""

    def spoil(features, representation):
        out, groups = features.copy(), representation.groups
        size = metres / representation.metres_per_unit
        out[:, groups["root_height"]] += size
        out[:, groups["joints" if "joints" in groups else "ric"]][:, 1::3] += size
        return out

    return spoil


def noise(metres: float):
    rng = np.random.default_rng(0)
    return on_joints(lambda x, r: x + rng.normal(size=x.shape).astype(np.float32) * metres / r.metres_per_unit)


def sliding(joints, representation, fps: float = 20.0):
    """1 m/s to the side, whatever the legs do."""
    way = np.arange(len(joints)) / fps / representation.metres_per_unit
    return joints + (way[:, None, None] * [1.0, 0.0, 0.0]).astype(np.float32)


SPOILT = {
    "real": (None, None),
    "as joints and back": (on_joints(lambda x, r: x), None),
    "captions shuffled": (None, "r_precision_3"),
    "backwards in time": (on_joints(lambda x, r: x[::-1].copy()), "mm_dist"),
    "left and right exchanged": (on_joints(lambda x, r: mirror_joints(x, r.skeleton)), "r_precision_1"),
    "frozen in the first pose": (on_joints(lambda x, r: np.repeat(x[:1], len(x), 0)), "fid"),
    "at half speed": (on_joints(lambda x, r: np.repeat(x, 2, 0)[: len(x)]), "fid"),
    "noise of 1 cm": (noise(0.01), "jerk_m_s3"),
    "noise of 5 cm": (noise(0.05), "fid"),
    "10 cm above the floor": (lifted(0.1), "fid"),
    "10 cm in the floor": (lifted(-0.1), "floor_penetration_mm"),
    "sliding at 1 m/s": (on_joints(sliding), "foot_skate"),
}


def noticed(name: str, row: dict, real: dict) -> bool:
    (a, da), (b, db) = ((x[name]["mean"], x[name]["interval"]) for x in (row, real))
    worse = b - a if name in LESS_IS_WORSE else a - b
    return worse > 3 * (da + db) and worse > (0.1 if name == "fid" else 0.1 * abs(b))


def measure(data: MotionDataset, evaluator: Evaluator, split: str, repeats: int, seed: int) -> tuple[dict, int]:
    """Row -> metric -> mean and interval; and how many clips."""
    items, _ = read_items(data, split, shortest_clip(data), evaluator.config.max_frames)
    texts, representation = Texts(evaluator, items, seed), data.representation
    real = evaluator.embed_motion([item.features for item in items])
    rows = {}
    for name, (spoil, _) in SPOILT.items():
        clips = [spoil(item.features, representation) if spoil else item.features for item in items]
        embedded = evaluator.embed_motion(clips) if spoil else real
        quality, distance = qualities(clips, representation, data.fps), fid(real, embedded, allow_few=True)
        row = Row()
        for repeat in range(repeats):
            _, text = texts.draw(repeat)
            motion = embedded[texts.deal(repeat)] if name == "captions shuffled" else embedded
            row.match(text, motion, texts.shuffle(repeat))
            row.add(quality, fid=max(0.0, round(distance, 6)))
        rows[name] = row.summary()
    return rows, len(items)


def main(args) -> None:
    data, evaluator = MotionDataset(args.data), Evaluator.load(args.evaluator)
    rows, N = measure(data, evaluator, args.split, args.repeats, args.seed)
    print(f"| | {' | '.join(COLUMNS.values())} | noticed |\n|{'---|' * (len(COLUMNS) + 2)}")
    for name, row in rows.items():
        metric = SPOILT[name][1]
        cells = [f"{row[c]['mean']:.3g}" if row.get(c) else "-" for c in COLUMNS]
        cells = [f"**{cell}**" if c == metric else cell for c, cell in zip(COLUMNS, cells, strict=True)]
        said = "" if metric is None else "yes" if noticed(metric, row, rows["real"]) else "**no**"
        print(f"| {name} | {' | '.join(cells)} | {said} |")
    print(f"\n{evaluator.describe()}; data {data.hash()}, split {args.split}, N = {N}, {args.repeats} repeats, seed "
          f"{args.seed}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--evaluator", type=Path, required=True, help="evaluator folder")
    parser.add_argument("--split", default="test", help="split, or several with + (default test)")
    parser.add_argument("--repeats", type=int, default=20, help="repeats (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    main(parser.parse_args())
