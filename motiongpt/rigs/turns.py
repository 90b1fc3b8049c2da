"""Rotation matrices: shortest, about an axis, best fit, halfway, and out into quaternions and Euler angles. NumPy.

Matrices (..., 3, 3) act on column vectors from the left, float64. The formulas that the project has already are those
of `body/rotations.py`, which works on tensors.
"""

import numpy as np
import torch

from motiongpt.body.limbs import unit
from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_between, quaternion_to_matrix

AXES = "XYZ"
POLE = 1e-6  # cosine of the middle Euler angle below which the other two are one


def between(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The shortest rotation (..., 3, 3) from the direction of u (..., 3) to that of v (..., 3); u must not be zero."""
    u, v = (torch.from_numpy(np.array(x, np.float64)) for x in (u, v))
    return quaternion_to_matrix(quaternion_between(u, v)).numpy()


def about(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) by angle (...) radians about unit axes (..., 3)."""
    axis_angle = np.asarray(axis, np.float64) * np.asarray(angle, np.float64)[..., None]
    return quaternion_to_matrix(axis_angle_to_quaternion(torch.from_numpy(axis_angle))).numpy()


def best_fit(found: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The rotations R (F, 3, 3) that bring vectors `rest` (n, 3) closest to `found` (F, n, 3): least squares.

    Kabsch 1976, "A solution for the best rotation to relate two sets of vectors". With vectors on one line, any
    rotation about that line is as good, and one of them is returned.
    """
    u, _, vt = np.linalg.svd(np.einsum("fna,nb->fab", found, rest))
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[:, None]  # a rotation, no mirror
    return u @ vt


def quaternions(matrices: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) -> unit quaternions (..., 4), w x y z.

    Shepperd 1978, "Quaternion from rotation matrix": the largest of the four is found first, so no digits are lost.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.moveaxis(matrices, (-2, -1), (0, 1))
    a, b, c, d = 1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz
    candidates = np.stack(
        [
            np.stack((a, zy - yz, xz - zx, yx - xy), -1),
            np.stack((zy - yz, b, yx + xy, xz + zx), -1),
            np.stack((xz - zx, yx + xy, c, zy + yz), -1),
            np.stack((yx - xy, xz + zx, zy + yz, d), -1),
        ],
        axis=-2,
    )
    largest = np.stack((a, b, c, d), -1).argmax(-1)[..., None, None]
    q = np.take_along_axis(candidates, largest, axis=-2)[..., 0, :]
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def continuous(q: np.ndarray) -> np.ndarray:
    """Quaternions (F, ..., 4) with signs such that neighbours in time are close; the first has w >= 0."""
    sign = np.where((q[1:] * q[:-1]).sum(-1) < 0, -1.0, 1.0)
    first = np.where(q[:1, ..., 0] < 0, -1.0, 1.0)
    return q * np.cumprod(np.concatenate((first, sign)), axis=0)[..., None]


def twist_of(matrices: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """How far (...) rotations (..., 3, 3) turn about a unit axis (3,): radians from -pi to pi (swing-twist)."""
    q = quaternions(matrices)
    angle = 2 * np.arctan2(q[..., 1:] @ axis, q[..., 0])
    return wrapped(angle)


def wrapped(angle: np.ndarray) -> np.ndarray:
    """Angles in radians, brought to -pi ... pi by whole turns."""
    return angle - 2 * np.pi * np.round(angle / (2 * np.pi))


def smooth_step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    x = np.clip((x - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def partway(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """The rotation at `share` of the shortest way from a (..., 3, 3) to b (..., 3, 3)."""
    q = quaternions(np.swapaxes(a, -1, -2) @ b)
    q = q * np.where(q[..., :1] < 0, -1.0, 1.0)
    angle = 2 * np.arctan2(np.linalg.norm(q[..., 1:], axis=-1), q[..., 0])
    return a @ about(unit(q[..., 1:]), share * angle)


def euler(matrices: np.ndarray, order: str) -> np.ndarray:
    """Rotations (F, ..., 3, 3) -> angles (F, ..., 3) in radians with R = R(first) R(second) R(third) of `order`.

    The angles run on past half turns, and of the two triples that give a rotation the one nearer to the frame before is
    taken, so nothing jumps between frames. At the pole, where only the sum of two angles counts, the last one stays.
    """
    i, j, k = (AXES.index(letter) for letter in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0  # of the permutation
    sine = np.clip(sign * matrices[..., i, k], -1, 1)
    cosine = np.hypot(matrices[..., i, i], matrices[..., i, j])
    third = np.arctan2(-sign * matrices[..., i, j], matrices[..., i, i])
    second = np.arctan2(sine, cosine)
    # at the pole: the last angle of the frame before, and what is left for the first
    at = np.where(cosine > POLE, np.arange(len(matrices)).reshape(-1, *[1] * (third.ndim - 1)), 0)
    third = np.take_along_axis(third, np.maximum.accumulate(at, axis=0), axis=0)
    eye = np.eye(3)
    rest = matrices @ np.swapaxes(about(eye[j], second) @ about(eye[k], third), -1, -2)
    first = np.arctan2(sign * rest[..., k, j], rest[..., j, j])
    angles = np.stack((first, second, third), axis=-1)

    # the other triple is as far from the other triple of the next frame, so only changes between the two count
    other = np.stack((first + np.pi, np.pi - second, third + np.pi), axis=-1)
    stays = np.square(wrapped(angles[1:] - angles[:-1])).sum(-1)
    leaves = np.square(wrapped(other[1:] - angles[:-1])).sum(-1)
    swapped = np.cumsum(leaves < stays, axis=0) % 2 == 1
    swapped = np.concatenate((np.zeros_like(first[:1], dtype=bool), swapped))
    return np.unwrap(np.where(swapped[..., None], other, angles), axis=0)
