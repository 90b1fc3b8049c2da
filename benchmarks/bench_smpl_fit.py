"""Fit SMPL bodies to joints: frames a second and error, beside a plain Adam loop over frames.

    python benchmarks/bench_smpl_fit.py                            # made-up bodies and motions, and the peer
    python benchmarks/bench_smpl_fit.py --joints data/raw_joints   # and clips of your own, (F, 22, 3) .npy in metres

The set: bodies in T-pose with random proportions (10 betas from a normal distribution), each in a random smooth motion
at 20 fps with joint angles up to 60 degrees. Licensed body models are not needed. The peer does what scripts for this
do: for each frame, Adam on the pose and translation from the last frame's, with the shape known. One thread; frames are
counted per second of processor time, which other programs on the machine change little.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from compare import in_turn, report

from motiongpt.body.body_model import BodyModel, stand_in_body
from motiongpt.body.kinematics import posed_joints
from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_to_matrix
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.body.smpl_fit import BodyFit, fit_body
from motiongpt.files.listing import visible

FPS = 20.0
PARENTS = HUMANML3D.parents
MIRRORED = [
    HUMANML3D.index(name.replace("left", "?").replace("right", "left").replace("?", "right"))
    for name in HUMANML3D.joints
]


def synthetic_body(seed: int, kind: str = "smplh") -> BodyModel:
    """A body with 10 betas: the first is the size, 4 % each; all change the lengths of bones by about 3 %, alike on
    both sides, and move each joint by about 2 mm."""
    rng = np.random.default_rng(seed)
    rest = stand_in_body().template
    bones = rest - rest[list(PARENTS)]
    longer = 0.03 * rng.normal(size=(22, 10))
    longer = (longer + longer[MIRRORED]) / 2
    longer[:, 0] += 0.04
    template = bones + 0.005 * rng.normal(size=bones.shape)
    directions = bones[..., None] * longer[:, None] + 0.002 * rng.normal(size=(22, 3, 10))
    for j in range(1, 22):
        template[j] += template[PARENTS[j]]
        directions[j] += directions[PARENTS[j]]
    return BodyModel(kind, template + np.array([0, -0.25, 0.03]), directions)  # the origin of SMPL is at the chest


def synthetic_motion(frames: int, seed: int, radians: float = np.pi / 3) -> tuple[np.ndarray, np.ndarray]:
    """Poses (F, 22, 3) axis-angle, each a sine of 0.1 to 0.6 Hz, and translations (F, 3)."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None] / FPS
    poses = np.sin(2 * np.pi * t * rng.uniform(0.1, 0.6, 66) + rng.uniform(0, 6, 66)).reshape(frames, 22, 3)
    return radians / np.sqrt(3) * poses, np.cumsum(0.01 * rng.normal(size=(frames, 3)), axis=0)


def synthetic_joints(body: BodyModel, betas: np.ndarray, poses: np.ndarray, trans: np.ndarray) -> np.ndarray:
    turns = axis_angle_to_quaternion(torch.from_numpy(poses)).numpy()
    return posed_joints(body.rest_joints(betas), turns, trans)


def adam_loop(joints: np.ndarray, rest: np.ndarray, steps: int) -> float:
    """The peer. Returns its mean error in metres."""
    wanted, rest = torch.from_numpy(joints).float(), torch.from_numpy(rest).float()
    pose, trans = torch.zeros(22, 3, requires_grad=True), torch.zeros(3, requires_grad=True)
    errors = []
    for frame in wanted:
        adam = torch.optim.Adam([pose, trans], lr=0.05)
        for _ in range(steps):
            local = quaternion_to_matrix(axis_angle_to_quaternion(pose))
            places, turns = [rest[0] + trans], [local[0]]
            for j in range(1, 22):
                parent = PARENTS[j]
                places.append(places[parent] + turns[parent] @ (rest[j] - rest[parent]))
                turns.append(turns[parent] @ local[j])
            apart = torch.stack(places) - frame
            adam.zero_grad()
            (apart.square().sum() + 1e-4 * pose.square().sum()).backward()
            adam.step()
        errors.append(float(apart.detach().norm(dim=-1).mean()))
    return float(np.mean(errors))


def show(what: str, fits: list[BodyFit], seconds: float) -> None:
    means = 1000 * np.array([fit.errors.mean() for fit in fits])
    frames = sum(len(fit.pose) for fit in fits)
    print(
        f"{what}: {frames} frames of {len(fits)} clips, {frames / seconds:.0f} frames per second of processor time; "
        f"joint error in mm: mean {means.mean():.3f}, median {np.median(means):.3f}, worst clip {means.max():.3f}, "
        f"worst joint {1000 * max(fit.errors.max() for fit in fits):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=20, help="made-up bodies, one clip each (default 20)")
    parser.add_argument("--frames", type=int, default=196, help="frames of a clip (default 196)")
    parser.add_argument("--joints", type=Path, help="folder of (F, 22, 3) .npy clips, for the stand-in body")
    parser.add_argument("--steps", type=int, default=100, help="of the peer's Adam for a frame (default 100)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="timed rounds beside the peer; 0 leaves it out (default 3)"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)

    clips = []
    for seed in range(args.bodies):
        body, betas = synthetic_body(seed), np.random.default_rng(seed).normal(size=10)
        clips.append((synthetic_joints(body, betas, *synthetic_motion(args.frames, seed)), body, betas))
    started = time.process_time()
    fits = [fit_body(joints, FPS, body) for joints, body, _ in clips]
    show("made-up bodies", fits, time.process_time() - started)
    if args.joints:
        body, own = stand_in_body(), [np.load(path) for path in visible(args.joints.glob("*.npy"), args.joints)]
        started = time.process_time()
        fits = [fit_body(joints, FPS, body) for joints in own]
        show(f"{args.joints} on the stand-in body", fits, time.process_time() - started)
    if args.rounds:
        joints, body, betas = clips[0][0][:40], *clips[0][1:]
        error = adam_loop(joints, body.rest_joints(betas), args.steps)
        times = in_turn(
            lambda: fit_body(joints, FPS, body),
            lambda: adam_loop(joints, body.rest_joints(betas), args.steps),
            args.rounds,
        )
        report(f"{len(joints)} frames", *times, f"Adam, {args.steps} steps a frame, error {1000 * error:.1f} mm,")


if __name__ == "__main__":
    main()
