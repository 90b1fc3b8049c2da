"""Twist of a bone about its own line: from the plane of a bent limb, from its neighbours in time, or neutral.

Where a bone points says nothing about its twist. A bent elbow or knee does: the hinge is perpendicular to both bones.
Neutral is the shortest rotation from the rest pose, seen from the parent. It has one flaw: where a bone points against
its rest direction, it turns about the bone at once. So the twist phi of each frame minimises

    sum w (phi - bent)^2 + CALM m (phi - neutral)^2 + speed (phi - phi of the frame before)^2

with w the weight of the bend, and m the weight of the neutral twist, which fades near the pole.
"""

import numpy as np

from motiongpt.body.limbs import unit
from motiongpt.rigs.turns import about, between, smooth_step, wrapped

BEND = (np.sin(np.radians(6)), np.sin(np.radians(20)))  # a limb bent by less says nothing, by more all
RANGE = np.radians((100, 140))  # a twist from neutral beyond this is a knee that bends the wrong way, and counts less
CALM = 0.1  # weight of the neutral twist
PAUSE = 0.05  # seconds in which a twist follows
POLE = -0.5  # cosine of the angle to the rest direction below which the shortest rotation is not trusted


def aimed(
    rest: np.ndarray,
    direction: np.ndarray,
    fps: float,
    hinge: np.ndarray | None = None,
    lower: np.ndarray | None = None,
) -> np.ndarray:
    """Local rotations (F, 3, 3) that turn a bone from `rest` (3,) to `direction` (F, 3), both in the parent's frame.

    For the upper bone of a limb, `lower` (F, 3) is where the lower bone points and `hinge` (3,) the axis about which it
    bends in the rest pose: upper x lower.
    """
    neutral = between(np.broadcast_to(rest, direction.shape), direction)
    cosine = direction @ unit(rest)
    if lower is None and cosine.min() > POLE:
        return neutral
    twist = np.zeros(len(direction))
    bent = np.zeros(len(direction))
    if lower is not None:
        normal = np.cross(direction, lower)
        axis = neutral @ hinge
        twist = np.arctan2((np.cross(axis, normal) * direction).sum(-1), (axis * normal).sum(-1))
        bent = smooth_step(np.linalg.norm(normal, axis=-1), *BEND) * (1 - smooth_step(np.abs(twist), *RANGE))
    # what the neutral twist gains from frame to frame on a frame that is carried along without twist
    carried = between(direction[:-1], direction[1:]) @ neutral[:-1]
    across = unit(np.cross(rest, np.eye(3)[np.abs(rest).argmin()]))
    a, b = carried @ across, neutral[1:] @ across
    gain = np.arctan2((np.cross(a, b) * direction[1:]).sum(-1), (a * b).sum(-1))
    base = np.concatenate(([0.0], np.cumsum(gain)))
    trust = CALM * (1 - bent) * smooth_step(cosine, -0.95, POLE) + 1e-6
    phi = _smooth(base + wrapped(twist), bent, base, trust, (PAUSE * fps) ** 2)
    return about(unit(direction), phi - base) @ neutral


def _smooth(a: np.ndarray, wa: np.ndarray, b: np.ndarray, wb: np.ndarray, speed: float) -> np.ndarray:
    """The x (F,) that minimises sum wa (x - a)^2 + wb (x - b)^2 + speed (steps of x)^2: a tridiagonal system."""
    F = len(a)
    ends = np.full(F, 2.0)
    ends[[0, -1]] -= 1.0
    diagonal = (wa + wb + speed * (ends if F > 1 else 0)).tolist()
    right = (wa * a + wb * b).tolist()
    for t in range(1, F):  # elimination, then back (Thomas 1949); plain numbers are faster here than arrays
        share = -speed / diagonal[t - 1]
        diagonal[t] += share * speed
        right[t] -= share * right[t - 1]
    x = [0.0] * F
    x[-1] = right[-1] / diagonal[-1]
    for t in range(F - 2, -1, -1):
        x[t] = (right[t] + speed * x[t + 1]) / diagonal[t]
    return np.array(x)
