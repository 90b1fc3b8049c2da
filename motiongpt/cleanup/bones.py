"""Bones that keep their length, and joints without jitter.

A decoder writes joint positions without knowing of bones, so bones stretch from frame to frame, and the jitter of both
their ends is most of the jerk. NumPy, float64, metres.
"""

import numpy as np

from motiongpt.body.limbs import unit
from motiongpt.body.skeletons import Skeleton

WINDOW, MARGIN = 512, 32  # frames solved at once, and frames more on both sides, whose weight is below 1e-6
ORDER = 3  # differences that are penalised: quadratic curves, and so all steady movements, stay as they are


def bones_of(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Bone vectors (F, J - 1, 3), parent to joint, of joints (F, J, 3)."""
    return joints[:, 1:] - joints[:, list(skeleton.parents[1:])]


def own_lengths(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The usual length of every bone, (J - 1,) metres: the median over frames of joints (F, J, 3)."""
    return np.median(np.linalg.norm(bones_of(joints, skeleton), axis=-1), axis=0)


def skeleton_lengths(skeleton: Skeleton) -> np.ndarray:
    """Bone lengths (J - 1,) in metres of a skeleton that has lengths."""
    return np.linalg.norm(np.array(skeleton.offsets[1:]), axis=-1) * skeleton.metres_per_unit


def stretch(joints: np.ndarray, lengths: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """How far each bone is from its length, (F, J - 1) metres, never negative."""
    return np.abs(np.linalg.norm(bones_of(joints, skeleton), axis=-1) - lengths)


def rigid(joints: np.ndarray, lengths: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Joints (F, J, 3) with the same root and bone directions, and bones (J - 1,) metres long.

    A bone without a direction points as in the rest pose.
    """
    bones = bones_of(joints, skeleton)
    pointless = np.linalg.norm(bones, axis=-1, keepdims=True) < 1e-9
    directions = np.where(pointless, unit(np.array(skeleton.offsets[1:])), unit(bones))
    # a joint is the root plus the bones on the way to it
    return joints[:, :1] + np.array(skeleton.paths) @ (directions * lengths[:, None])


def without_jitter(values: np.ndarray, strength: float) -> np.ndarray:
    """Curves (F, ...) that minimise |x - values|^2 + strength |third differences of x|^2 along frames.

    Whittaker 1923, "On a new method of graduation"; Eilers 2003, "A perfect smoother". A frequency of w radians per
    frame is multiplied by 1 / (1 + strength (2 - 2 cos w)^3). At 20 fps and strength 0.05 a nod of 2 Hz keeps
    99.7 %, 5 Hz keep 71 %, the fastest jitter 24 %. A Gaussian that damps 5 Hz as much takes 5 % off the nod.
    """
    F = len(values)
    out = np.empty(values.shape)
    for start in range(0, F, WINDOW):
        first, last = max(0, start - MARGIN), min(F, start + WINDOW + MARGIN)
        n = last - first
        difference = np.diff(np.eye(n), n=ORDER, axis=0)  # (n - 3, n), or empty for a short clip
        flat = values[first:last].reshape(n, -1)
        solved = np.linalg.solve(np.eye(n) + strength * difference.T @ difference, flat)
        end = min(F, start + WINDOW)
        out[start:end] = solved.reshape(n, *values.shape[1:])[start - first : end - first]
    return out
