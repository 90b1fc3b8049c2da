"""Frames that do not belong to their neighbours: a rest pose before or after the motion, and jumps within it.

Exporters put the rest pose of a skeleton before a clip; markers are lost and come back; two takes are joined. One step
from frame to frame is then many times longer than the steps beside it, which no body can do. Training would learn it,
and a rest pose in the first frame decides the heading of the whole clip.

Measured at 20 fps: no jump in 2,875 clips of Bandai-Namco and in 1,500 procedural ones; in 8 of 772 windows of CMU,
where a joint does move 0.5 to 0.7 m in one frame.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_to_matrix
from motiongpt.features.smplx import SMPLX_COLUMNS, SMPLX_ROTATIONS

# One step is a jump if it exceeds both of its neighbours by so much of the body's size, and by this factor. The size is
# the mean distance of the joints from their centre, 0.42 m for an adult.
JOINT_JUMP = (0.9, 3.0)  # of a single joint: 8 m/s more at 20 fps
BODY_JUMP = (0.13, 2.2)  # of all joints in the mean: a change of pose
# A step out of a rest pose exceeds 95 % of the clip's steps by this factor, and the share in BODY_JUMP: in a still clip
# any twitch is many times the others.
REST_STEP = 2.0
ZERO = np.radians(0.01)
AT_REST = 0.8  # share of the rotations in use that are 0 in a rest pose: CMU's conversion turns the feet and thumbs
SIZE, LEVER = 0.42, 0.3  # metres: of an adult; of the points that stand for rotations
MIN_STEPS = 4  # that a clip has besides


class Jump(NamedTuple):
    """One frame of a clip that does not follow from its neighbours."""

    frame: int  # the first after the jump
    metres: float  # in one frame
    usual: float  # metres of the larger neighbouring step


def without_rest_pose(angles: np.ndarray, joints: Callable[[], np.ndarray]) -> tuple[slice, list[str]]:
    """Which frames to keep, without a rest pose before or after the motion, and a note about those left out.

    `angles` (F, N) are all rotations of a file, in radians: the rest pose is where they are 0. `joints` gives (F, J, 3)
    and is called only if an end may be at rest.
    """
    F = len(angles)
    turned = np.abs(angles) > ZERO
    turned = turned[:, turned.any(axis=0)]  # of joints that turn in this clip
    if not turned.shape[1]:
        return slice(0, F), []
    is_rest = (~turned).mean(axis=1) >= AT_REST
    if not (is_rest[0] or is_rest[-1]):
        return slice(0, F), []
    keep, step, usual = rest_ends(is_rest, joints())
    ends = ("first", keep.start), ("last", F - keep.stop)
    rows = " and ".join(f"the {end} {f'{n} rows' if n > 1 else 'row'}" for end, n in ends if n)
    if not rows:
        return keep, []
    times = step / max(usual, 1e-9)
    return keep, [f"rest pose: {rows} left out (hardly any rotation, and a step {times:.0f} times the others)"]


def rest_ends(is_rest: np.ndarray, joints: np.ndarray) -> tuple[slice, float, float]:
    """Which frames to keep if a clip begins or ends with the rest pose: a slice, and two sizes of steps.

    Frames are left out if they are at rest, `is_rest` (F,), and the one step between them and the motion is far above
    the others and not small for the body. Somebody who begins in the rest pose and moves out of it keeps all
    frames, and so does a still clip with a twitch beside its rest pose. `joints` are (F, J, 3), in any unit. The
    sizes are means over joints: of the step that was cut (0 if none), and what 95 % of the others do not exceed.
    """
    F = len(joints)
    if not (is_rest[0] or is_rest[-1]) or F < MIN_STEPS + 2:
        return slice(0, F), 0.0, 0.0
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1).mean(axis=-1)
    start, stop = 0, F
    before = int(np.argmin(is_rest)) if not is_rest.all() else 0  # frames at rest before the first that is not
    after = int(np.argmin(is_rest[::-1])) if not is_rest.all() else 0
    inner = steps[before : F - 1 - after]
    if before + after > F // 2 or len(inner) < MIN_STEPS:
        return slice(0, F), 0.0, 0.0
    usual = float(np.quantile(inner, 0.95))
    least = max(REST_STEP * usual, BODY_JUMP[0] * body_size(joints))
    cut = []
    if before and steps[before - 1] > least:
        start = before
        cut.append(steps[before - 1])
    if after and steps[F - 1 - after] > least:
        stop = F - after
        cut.append(steps[F - 1 - after])
    return slice(start, stop), float(max(cut, default=0.0)), usual


def body_size(joints: np.ndarray) -> float:
    """The mean distance of the joints (F, J, 3) from their centre, the median over frames."""
    centred = joints - joints.mean(axis=1, keepdims=True)
    return float(np.median(np.linalg.norm(centred, axis=-1).mean(axis=1)))


def find_jump(joints: np.ndarray, size: float | None = None) -> Jump | None:
    """The largest jump in joints (F, J, 3), in metres: a step, or a frame that leaves and comes back. None if none.

    `size` is the body's (see above), measured unless given.
    """
    if len(joints) < MIN_STEPS:
        return None
    if size is None:
        size = body_size(joints)
    steps = _with_mean(joints[1:] - joints[:-1])
    # 1) A step beside smaller ones. Before the first and after the last frame there is none.
    padded = np.pad(steps, ((1, 1), (0, 0)))
    beside = np.maximum(padded[:-2], padded[2:])
    found = _above(steps, beside, size)
    # 2) A frame that is far from both neighbours, which are near each other.
    there_and_back = np.minimum(steps[:-1], steps[1:])
    around = np.maximum(padded[:-3], padded[3:])
    around = np.maximum(around, _with_mean(joints[2:] - joints[:-2]))
    found += _above(there_and_back, around, size)
    return max(found, key=lambda jump: jump.metres - jump.usual, default=None)


def turned_points(parameters: np.ndarray) -> np.ndarray:
    """SMPL-X parameters (F, 182) -> points (F, 107, 3) of size `SIZE`, which stand for joints: those need a body model.

    Every rotation moves two points at the length of a forearm; the last point is where the body is.
    """
    columns = [np.arange(SMPLX_COLUMNS[name].start, SMPLX_COLUMNS[name].stop) for name in SMPLX_ROTATIONS]
    turns = parameters[:, np.concatenate(columns)].reshape(len(parameters), -1, 3)
    matrices = quaternion_to_matrix(axis_angle_to_quaternion(torch.from_numpy(turns))).numpy()
    points = LEVER * np.concatenate([matrices[..., 0], matrices[..., 1]], axis=1)
    return np.concatenate([points, parameters[:, None, SMPLX_COLUMNS["transl"]]], axis=1)


def _with_mean(ways: np.ndarray) -> np.ndarray:
    """Lengths (N, J + 1) of ways (N, J, 3); the last column is their mean over joints."""
    lengths = np.linalg.norm(ways, axis=-1)
    return np.concatenate([lengths, lengths.mean(axis=1, keepdims=True)], axis=1)


def _above(steps: np.ndarray, beside: np.ndarray, size: float) -> list[Jump]:
    sizes, factor = np.array([*[JOINT_JUMP] * (steps.shape[1] - 1), BODY_JUMP]).T
    rows, columns = np.nonzero((steps - beside > sizes * size) & (steps > factor * beside))
    return [
        Jump(int(t) + 1, round(float(steps[t, j]), 3), round(float(beside[t, j]), 3))
        for t, j in zip(rows, columns, strict=True)
    ]


def jump_warnings(jumps: Mapping[str, Jump], clips: int, fps: float) -> list[str]:
    """A line about those of `clips` clips that have a jump, by id; none if there are none."""
    if not jumps:
        return []
    clip, (frame, metres, usual) = max(jumps.items(), key=lambda item: item[1][1] - item[1][2])
    who = f"{len(jumps)} of {clips} clips jump (jumps in report.json), most of all {clip}:"
    who = "the clip jumps" if clips == 1 else who
    return [
        f"{who} {metres:.2f} m from one frame to the next ({usual:.2f} m beside it), into frame {frame} at "
        f"{frame / fps:.2f} s: a rest pose, a cut or a lost marker? Look at it, and cut the file there"
    ]
