"""What the clean-up of decoded joints gains, and that it loses nothing: one table, before and after.

    python benchmarks/cleanup_table.py                                          # 200 round trips of the demo
    python benchmarks/cleanup_table.py --real outputs/cmu                       # and 200 clips of motion capture
    python benchmarks/cleanup_table.py --real outputs/cmu --real-vqvae FOLDER   # and their round trips

    passed        clips that show what they should; of motion capture, conditions of `faithfulness` that hold before,
                  and how many of them are lost
    MPJPE         mm from the true motion, root at the origin; "global" without that
    jerk          m/s^3
    slide         cm/s of toes where the true motion's toes stand
    below floor   mm, mean of the lowest joint
    skate         % of steps, GMD's measure
    stretch       cm, the largest distance of a bone from its length
    moved         mm, the largest way of any joint by the clean-up

Motion capture is cleaned twice: as it is, which should change nothing, and as if a decoder had written it, which shows
what smoothing and held feet take from a true motion.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from motiongpt.body.feet import legs, slide_speeds
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.cleanup.bones import own_lengths, stretch
from motiongpt.cleanup.feet import footprints
from motiongpt.cleanup.joints import clean_joints
from motiongpt.evaluation.markdown import table
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.judge import does, is_body
from motiongpt.faithfulness.measures import FPS, Measures
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.metrics.joints import floor_penetration, foot_skate, jerk, mpjpe
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.procedural.clips import generate_clips

SEED = 20261121  # of motions that no training uses
HEAD = ["motions", "passed", "lost", "MPJPE", "global", "jerk", "slide", "below floor", "skate", "stretch", "moved"]
TOES = [HUMANML3D.feet_left[1], HUMANML3D.feet_right[1]]
Clips = list[np.ndarray]


def round_trips(motion_tokenizer: MotionTokenizer, clips: Clips) -> tuple[Clips, Clips]:
    """Joints (F, 22, 3) -> decoded ones, and the true ones placed and cut as the features hold them."""
    features = [joints_to_features(x, HUMANML3D, retargeted=True).astype(np.float32) for x in clips]
    decoded = motion_tokenizer.decode(motion_tokenizer.encode(features))
    true = [motion_tokenizer.joints(torch.from_numpy(f)).numpy() for f in features]
    return decoded, [x[: len(d)] for x, d in zip(true, decoded, strict=True)]


def own_conditions(clips: Clips) -> np.ndarray:
    """Which conditions each motion meets, (clips, conditions) bool."""
    measured = [Measures(x) for x in clips]
    return np.array([[is_body(m) and bool(check(m)) for check in CHECKS.values()] for m in measured])


def row(name: str, clips: Clips, true: Clips, met: np.ndarray, before: np.ndarray, given: Clips) -> list[str]:
    """A line of the table. `met` and `before` say which conditions hold now and held for `given`, uncleaned."""
    pairs = list(zip(clips, true, strict=True))
    tensors = [[torch.from_numpy(np.asarray(x, np.float64)) for x in pair] for pair in pairs]

    def mean(measure: Callable) -> float:
        return float(torch.cat([measure(*pair).double() for pair in tensors]).mean())

    prints = [[footprints(x[:, leg.toe], FPS) for leg in legs(HUMANML3D)] for x in true]
    slide = np.concatenate([slide_speeds(x, p, HUMANML3D, FPS) for x, p in zip(clips, prints, strict=True)]).mean()
    longest = max(stretch(x, own_lengths(t, HUMANML3D), HUMANML3D).max() for x, t in pairs)
    moved = max(np.linalg.norm(x - g, axis=-1).max() for x, g in zip(clips, given, strict=True))
    values = [
        f"{1000 * mean(mpjpe):.1f}",
        f"{1000 * mean(lambda x, t: mpjpe(x, t, root=None)):.1f}",
        f"{mean(lambda x, t: jerk(x, FPS)):.1f}",
        f"{100 * slide:.2f}",
        f"{1000 * mean(lambda x, t: floor_penetration(x)):.2f}",
        f"{100 * mean(lambda x, t: foot_skate(x, TOES, FPS)):.2f}",
        f"{100 * longest:.1f}",
        f"{1000 * moved:.1f}",
    ]
    return [name, str(met.sum()), str((before & ~met).sum()), *values]


def rows(name: str, given: Clips, true: Clips, conditions: Callable, decoded: bool | None = None) -> list[list[str]]:
    """The lines of one set of motions: the true ones, the given ones and the cleaned ones."""
    began = time.process_time()
    clean = [
        clean_joints(x, FPS, HUMANML3D, own_lengths(t, HUMANML3D), decoded=decoded)[0]
        for x, t in zip(given, true, strict=True)
    ]
    seconds = time.process_time() - began
    before = conditions(given)
    lines = [] if given is true else [row(f"{name}: true", true, true, conditions(true), before, true)]
    lines.append(row(f"{name}: before", given, true, before, before, given))
    lines.append(row(f"{name}: after ({seconds:.1f} s)", clean, true, conditions(clean), before, given))
    return lines


def read_clips(folder: Path, count: int) -> Clips:
    """`count` motions of a data set's new_joints/, or of a folder of .npy files, evenly drawn from its list."""
    inside = folder / "new_joints"
    paths = sorted((inside if inside.is_dir() else folder).glob("*.npy"))
    paths = [path for path in paths if not path.name.startswith("M")]  # mirrored ones
    if not paths:
        raise FileNotFoundError(f"{folder} holds no .npy, and no new_joints/ with some; scripts/prepare.py makes it")
    picked = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [np.load(paths[i]) for i in picked]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    demo = ROOT / "checkpoints" / "demo" / "vqvae"
    parser.add_argument("--vqvae", type=Path, default=demo, help="tokenizer of embedded motion (default the demo's)")
    parser.add_argument("--real", type=Path, help="data set of motion capture, 22 joints at 20 fps")
    parser.add_argument("--real-vqvae", type=Path, help="tokenizer for its round trips (default none)")
    parser.add_argument("--count", type=int, default=200, help="motions of each kind (default 200)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the embedded motions")
    args = parser.parse_args(argv)
    try:
        clips = list(generate_clips(args.count, args.seed))
        decoded, true = round_trips(MotionTokenizer.load(args.vqvae), [clip.joints for clip in clips])

        def shown(motions: Clips) -> np.ndarray:
            return np.array([does(clip.actions, x) for clip, x in zip(clips, motions, strict=True)])

        lines = rows("embedded", decoded, true, shown)
        if args.real:
            real = read_clips(args.real, args.count)
            lines += rows("real", real, real, own_conditions)
            lines += rows("real, as if decoded", real, real, own_conditions, decoded=True)
        if args.real and args.real_vqvae:
            decoded, true = round_trips(MotionTokenizer.load(args.real_vqvae), real)
            lines += rows("real, round trip", decoded, true, own_conditions)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    print("\n".join(table(HEAD, lines)))


if __name__ == "__main__":
    main()
