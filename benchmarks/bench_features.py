"""Time joints -> 263 features, ours beside the public code's way, and a whole build in one and in two processes.

    python benchmarks/bench_features.py                              # a stand-in for the public code, made-up clips
    python benchmarks/bench_features.py --reference HumanML3D        # the public code itself, from its repository
    python benchmarks/bench_features.py --joints data/raw_joints     # clips of your own, (F, 22, 3) .npy in metres

One thread, clip by clip. Nothing is timed before both have given the same features. The build is what prepare.py does,
including its files and the start of the processes.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from compare import in_turn, report

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.prepare.build import build
from motiongpt.data.raw import Record
from motiongpt.data.texts import Caption
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.files.listing import visible
from motiongpt.procedural.clips import generate_clips

Extract = Callable[[np.ndarray], np.ndarray]
OFFSETS = np.array(HUMANML3D.offsets)  # (22, 3) metres
LENGTHS = np.linalg.norm(OFFSETS, axis=1)  # (22,)
REST = OFFSETS / np.maximum(LENGTHS, 1e-9)[:, None]


# 1) The public code.


def public_code(folder: Path) -> Extract:
    """`process_file` of EricGuo5513/HumanML3D, unmodified: two cells of its notebook, common/ and paramUtil.py."""
    if not hasattr(np, "float"):
        np.float = float  # NumPy had this name when that code was written
    sys.path.insert(0, str(folder))
    cells = json.loads((folder / "motion_representation.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    # run the cells that define the functions, then set the globals that these functions read
    names: dict = {}
    for wanted in ("from common.skeleton import", "def uniform_skeleton", "def process_file"):
        exec(next(cell for cell in code if wanted in cell), names)
    names |= {
        "l_idx1": 5,
        "l_idx2": 8,
        "fid_r": [8, 11],
        "fid_l": [7, 10],
        "face_joint_indx": [2, 1, 17, 16],
        "n_raw_offsets": torch.from_numpy(names["t2m_raw_offsets"]),
        "kinematic_chain": names["t2m_kinematic_chain"],
        "tgt_offsets": torch.from_numpy(OFFSETS).float(),
    }
    return lambda joints: names["process_file"](joints.copy(), 0.002)[0]


# 2) A stand-in for whoever has no copy of it: the same steps in numpy, joint by joint along the chains.
# It is kept apart from the library on purpose, so that the two can be compared.


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product of quaternions (..., 4), w first."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    w = aw * bw - ax * bx - ay * by - az * bz
    x = aw * bx + ax * bw + ay * bz - az * by
    y = aw * by - ax * bz + ay * bw + az * bx
    z = aw * bz + ax * by - ay * bx + az * bw
    return np.stack((w, x, y, z), axis=-1)


def inverse(q: np.ndarray) -> np.ndarray:
    return q * np.array([1.0, -1.0, -1.0, -1.0])


def turn(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) turned by quaternions (..., 4)."""
    twice = 2 * np.cross(q[..., 1:], v)
    return v + q[..., :1] * twice + np.cross(q[..., 1:], twice)


def between(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The shortest turn from u to v; NaN for opposite directions, as in the public code."""
    w = np.sqrt((u**2).sum(-1, keepdims=True) * (v**2).sum(-1, keepdims=True)) + (u * v).sum(-1, keepdims=True)
    q = np.concatenate((w, np.cross(u, v)), axis=-1)
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def facing(x: np.ndarray, hip_sign: float = 1.0) -> np.ndarray:
    """(F, 3) where the body faces; hip_sign -1 is the sign of the public inverse kinematics."""
    right_hip, left_hip, right_shoulder, left_shoulder = HUMANML3D.face
    across = hip_sign * (x[:, right_hip] - x[:, left_hip]) + x[:, right_shoulder] - x[:, left_shoulder]
    return np.cross([[0.0, 1.0, 0.0]], across / np.linalg.norm(across, axis=-1, keepdims=True))


def inverse_kinematics(x: np.ndarray, smooth: bool) -> np.ndarray:
    """Joints (F, 22, 3) -> local quaternions (F, 22, 4). The first one turns the root back to +z."""
    forward = facing(x, hip_sign=-1.0)
    if smooth:
        from scipy.ndimage import gaussian_filter1d

        forward = gaussian_filter1d(forward, 20, axis=0, mode="nearest")
    q = np.zeros((*x.shape[:2], 4))
    q[:, 0] = between(forward, np.broadcast_to([0.0, 0.0, 1.0], forward.shape))
    q[0, 0] = 1, 0, 0, 0
    for chain in HUMANML3D.chains:
        world = q[:, 0]
        for parent, joint in zip(chain[:-1], chain[1:], strict=True):
            bone = between(np.broadcast_to(REST[joint], x[:, joint].shape), x[:, joint] - x[:, parent])
            q[:, joint] = multiply(inverse(world), bone)
            world = multiply(world, q[:, joint])
    return q


def stand_in(joints: np.ndarray) -> np.ndarray:
    """Joints (F, 22, 3) -> features (F - 1, 263)."""
    # retarget: inverse kinematics, then forward over the target skeleton
    x = np.asarray(joints, np.float64)
    legs = list(HUMANML3D.leg)
    own_leg = sum(np.linalg.norm(x[0, j] - x[0, HUMANML3D.parents[j]]) for j in legs)
    q = inverse_kinematics(x, smooth=False)
    moved = np.zeros_like(x)
    moved[:, 0] = x[:, 0] * LENGTHS[legs].sum() / own_leg
    for chain in HUMANML3D.chains:
        world = q[:, 0]
        for parent, joint in zip(chain[:-1], chain[1:], strict=True):
            world = multiply(world, q[:, joint])
            moved[:, joint] = moved[:, parent] + turn(world, np.broadcast_to(OFFSETS[joint], moved[:, joint].shape))
    # floor, origin, facing
    x = moved - [moved[0, 0, 0], moved[..., 1].min(), moved[0, 0, 2]]
    x = turn(np.ones((*x.shape[:2], 1)) * between(facing(x[:1]), np.array([[0.0, 0.0, 1.0]])), x)

    # the columns
    q = inverse_kinematics(x, smooth=True)
    step = x[1:] - x[:-1]
    root = q[:, 0]
    w, i, j, k = np.moveaxis(q[:, 1:], -1, 0)
    first = np.stack((1 - 2 * (j * j + k * k), 2 * (i * j + k * w), 2 * (i * k - j * w)), axis=-1)
    second = np.stack((2 * (i * j - k * w), 1 - 2 * (i * i + k * k), 2 * (j * k + i * w)), axis=-1)
    local = turn(np.repeat(root[:, None], 22, axis=1), x - x[:, :1] * [1, 0, 1])
    yaw = np.arcsin(multiply(root[1:], inverse(root[:-1]))[:, 2:3])
    feet = list(HUMANML3D.feet_left + HUMANML3D.feet_right)
    parts = (
        yaw,
        turn(root[1:], step[:, 0])[:, [0, 2]],
        x[:-1, 0, 1:2],
        local[:-1, 1:],
        np.concatenate((first, second), axis=-1)[:-1],
        turn(np.repeat(root[:-1, None], 22, axis=1), step),
        (step[:, feet] ** 2).sum(-1) < HUMANML3D.foot_threshold,
    )
    return np.concatenate([part.reshape(len(step), -1) for part in parts], axis=1)


# 3) Timing.


def check_same(clips: list[np.ndarray], theirs: Extract) -> None:
    """Raise RuntimeError unless both give the same features.

    A few frames of a few clips may differ: those in which the public code is wrong past +-180 degrees.
    """
    pairs = [(joints_to_features(clip, HUMANML3D), theirs(clip)) for clip in clips]
    same = [np.mean(np.abs(a - b) < 1e-3) for a, b in pairs]  # float32 metres, and contacts just at the threshold
    print(f"features: {100 * np.mean(same):.2f} % of the numbers equal within 1e-3, worst clip {100 * min(same):.1f} %")
    if np.mean(same) < 0.99:
        raise RuntimeError("the two give other features: it would not be the same work")


def timed_build(records: list[Record], workers: int) -> float:
    """Seconds of a build into a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        build(records, Path(folder) / "data", HUMANML3D, "benchmark", workers=workers)
        return time.perf_counter() - started


class Given:
    """The joints of a record, as something that can be sent to a worker process."""

    def __init__(self, joints: np.ndarray) -> None:
        self.joints = joints

    def __call__(self) -> np.ndarray:
        return self.joints


def main(args) -> None:
    torch.set_num_threads(1)
    if args.joints:
        every = (np.load(path, allow_pickle=False) for path in visible(args.joints.glob("*.npy"), args.joints))
        clips = [clip for clip in every if 40 <= len(clip) <= 196][: args.clips]
    else:
        clips = [clip.joints for clip in generate_clips(args.clips, 0)]
    theirs, name = (public_code(args.reference), "public code") if args.reference else (stand_in, "stand-in for it")
    check_same(clips, theirs)
    ours, others = in_turn(
        lambda: [joints_to_features(clip, HUMANML3D) for clip in clips],
        lambda: [theirs(clip) for clip in clips],
        args.rounds,
    )
    frames = sum(map(len, clips))
    count = len(clips)
    what = f"features per clip ({count} clips, {frames} frames, one thread)"
    report(what, [t / count for t in ours], [t / count for t in others], name, must=7, aim=15)
    if args.build:
        records = [Record(str(i), None, [Caption("a")], Given(clips[i % count])) for i in range(args.build)]
        times = {workers: [timed_build(records, workers) for _ in range(3)] for workers in (1, 2)}
        one, two = (statistics.median(times[workers]) for workers in (1, 2))
        print(
            f"build of {args.build} clips: 1 process {one:.1f} s, 2 processes {two:.1f} s, {one / two:.2f}x "
            "(medians of 3; other work on the machine counts)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="a copy of EricGuo5513/HumanML3D (default: a stand-in)")
    parser.add_argument("--joints", type=Path, help="folder of (F, 22, 3) .npy in metres (default: made-up clips)")
    parser.add_argument("--clips", type=int, default=64, help="at most this many clips of 40-196 frames (default 64)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds after a warm-up round (default 5)")
    parser.add_argument("--build", type=int, default=2000, help="clips of the build (default 2000; 0: no build)")
    main(parser.parse_args())
