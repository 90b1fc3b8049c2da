"""Clips at another frame rate: slerp for rotations, a cubic spline for positions.

Times are in frames of the old clip. The spline is written out here, so that SciPy is no dependency.
"""

import math

import numpy as np
import torch

from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_to_axis_angle
from motiongpt.features.smplx import SMPLX_ROTATIONS


def new_length(F: int, fps: float, new_fps: float) -> int:
    """Frames at the new rate within the time of F old ones;
    nothing after the last frame is made up."""
    # the small number keeps a frame that a rounding error would lose
    return math.floor((F - 1) * new_fps / fps + 1e-6) + 1


def slerp(quaternions: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Unit quaternions (F, ..., 4) at `times` (n,) in frames, along the shorter arc (Shoemake 1985)
    -> (n, ..., 4)."""
    before = np.minimum(times.astype(int), max(len(quaternions) - 2, 0))  # (n,) the frame at or before each time
    after = np.minimum(before + 1, len(quaternions) - 1)
    a, b = quaternions[before], quaternions[after]
    share = (times - before).reshape(-1, *[1] * (a.ndim - 1))
    cos = (a * b).sum(-1, keepdims=True)
    b = np.where(cos < 0, -b, b)  # q and -q are one rotation; this is the one nearer to a
    angle = np.arccos(np.clip(np.abs(cos), 0, 1))
    # sin(s x) / sin(x); below 1e-6 rad it is s to 12 digits
    small = angle < 1e-6
    sin = np.where(small, 1, np.sin(angle))
    mixed = np.where(small, 1 - share, np.sin((1 - share) * angle) / sin) * a
    mixed += np.where(small, share, np.sin(share * angle) / sin) * b
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def cubic_spline(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Values (F, ...) at `times` (n,) in frames by the cubic spline with not-a-knot ends
    -> (n, ...).

    The second derivatives M solve M[i-1] + 4 M[i] + M[i+1] = 6 (y[i-1] - 2 y[i] + y[i+1]).
    Not-a-knot: the third derivative is continuous at the second frame and at the last but one (de
    Boor, "A Practical Guide to Splines", chapter IV), so on even spacing M[1] and M[-2] are the
    second differences themselves. Two frames give a line, three a parabola.
    """
    F = len(values)
    M = np.zeros_like(values)
    if F >= 3:
        M[1:-1] = values[:-2] - 2 * values[1:-1] + values[2:]
        M[2:-2] *= 6
        # the tridiagonal system: forward elimination, then back substitution
        factors = np.zeros(F)
        for i in range(2, F - 2):
            factors[i] = 1 / (4 - factors[i - 1])
            M[i] = (M[i] - M[i - 1]) * factors[i]
        for i in range(F - 3, 1, -1):
            M[i] -= factors[i] * M[i + 1]
        # the ends continue in a straight line
        M[0] = 2 * M[1] - M[2] if F > 3 else M[1]
        M[-1] = 2 * M[-2] - M[-3] if F > 3 else M[1]
    before = np.minimum(times.astype(int), max(F - 2, 0))
    after = np.minimum(before + 1, F - 1)
    b = (times - before).reshape(-1, *[1] * (values.ndim - 1))
    a = 1 - b
    # between two frames: the straight line, bent by the second derivatives
    line = a * values[before] + b * values[after]
    return line + ((a**3 - a) * M[before] + (b**3 - b) * M[after]) / 6


def resample(joints: np.ndarray, fps_in: float, fps_out: float) -> np.ndarray:
    """Joints (F, J, 3) at `fps_in` -> the same seconds at `fps_out`, by a cubic spline."""
    if fps_in == fps_out or len(joints) < 2:
        return joints
    return cubic_spline(joints.astype(np.float64), _times(len(joints), fps_in, fps_out)).astype(np.float32)


def resample_parameters(parameters: np.ndarray, groups: dict[str, slice], fps_in: float, fps_out: float) -> np.ndarray:
    """SMPL-X parameters (F, 182) at another rate: rotations by slerp, the rest by a cubic spline.

    `groups` are the columns by name.
    """
    if fps_in == fps_out or len(parameters) < 2:
        return parameters
    times = _times(len(parameters), fps_in, fps_out)
    # the columns of rotations are overwritten below
    out = cubic_spline(parameters.astype(np.float64), times)
    for name in SMPLX_ROTATIONS:
        # (F, joints, 3) axis-angle, which cannot be interpolated itself
        turns = torch.from_numpy(parameters[:, groups[name]].astype(np.float64)).unflatten(1, (-1, 3))
        turns = torch.from_numpy(slerp(axis_angle_to_quaternion(turns).numpy(), times))
        out[:, groups[name]] = quaternion_to_axis_angle(turns).flatten(1).numpy()
    return out.astype(np.float32)


def _times(F: int, fps_in: float, fps_out: float) -> np.ndarray:
    """The new frames' times in frames of the old clip, none after its last frame."""
    return np.minimum(np.arange(new_length(F, fps_in, fps_out)) * (fps_in / fps_out), F - 1)
