"""Feet on the ground while the root goes another way: footprints are moved as a whole, and legs follow by bending.

A path that turns and stretches a walk drags the planted feet along. Here each footprint keeps its shape: a foot that
stood still stands still, one that slid by a centimetre slides by a centimetre. Between footprints the change runs
smoothly from one to the next.
"""

import numpy as np

from motiongpt.body.feet import footprints, legs, slide_speeds
from motiongpt.body.limbs import bend
from motiongpt.body.skeletons import Skeleton
from motiongpt.constraints.ground import ground, headings, put_on_ground
from motiongpt.metrics.joints import SKATE_HEIGHT, SKATE_SPEED
from motiongpt.procedural.kinematics import through


def contacts(toe: np.ndarray, fps: float) -> np.ndarray:
    """`body.feet.footprints` of a toe within 5 cm of its usual lowest height and slower than 0.5 m/s."""
    return footprints(toe, fps, SKATE_HEIGHT, SKATE_SPEED)


def slide(joints: np.ndarray, on_ground: list[np.ndarray], skeleton: Skeleton, fps: float) -> float:
    """How fast the toes move over the ground within footprints, metres per second, the mean over all such steps.

    `on_ground` has the `contacts` of each of the legs.
    """
    steps = slide_speeds(joints, on_ground, skeleton, fps)
    return float(steps.mean()) if len(steps) else 0.0


def keep_footprints(
    joints: np.ndarray, before: np.ndarray, turn: np.ndarray, on_ground: list[np.ndarray], skeleton: Skeleton
) -> np.ndarray:
    """Put the feet of a moved motion back onto whole footprints; only the legs below the hips change.

    Args:
        joints: (F, J, 3) float64, after the root was moved and turned; a copy is returned.
        before: (F, J, 3) before.
        turn: (F,) radians that each frame was turned to the left.
        on_ground: the `contacts` of each of the `legs`, before.
    """
    F = len(joints)
    out = joints.copy()
    ahead = headings(joints, skeleton)
    hint = put_on_ground(np.zeros((F, 3)), np.exp(1j * ahead))  # knees point where the body faces
    for leg, prints in zip(legs(skeleton), on_ground, strict=True):
        frames = np.flatnonzero(prints)
        if len(frames) == 0:  # never on the ground: it stays as the root carries it
            continue
        # 1) In every frame on the ground: where the toe belongs, and how far the foot is turned back.
        old, new = ground(before[:, leg.toe]), ground(joints[:, leg.toe])
        shift, twist = np.zeros(F, complex), np.zeros(F)
        for number in range(1, prints.max() + 1):
            here = prints == number
            angle = turn[here].mean()
            shape = (old[here] - old[here].mean()) * np.exp(1j * angle)
            shift[here] = new[here].mean() + shape - new[here]
            twist[here] = angle - turn[here]
        # 2) In the air: from one footprint to the next, as the body sees it.
        if len(frames) > 1:
            seen = shift * np.exp(-1j * ahead)
            curves = np.stack([seen.real, seen.imag, twist], axis=-1)
            z, x, twist = through(F, frames, curves[frames]).T
            shift = (z + 1j * x) * np.exp(1j * ahead)
        else:
            shift, twist = np.full(F, shift[frames[0]]), np.full(F, twist[frames[0]])
        # 3) The foot as one piece about its toe, then the leg between hip and ankle.
        foot = list(leg.foot)
        pivot = new[:, None]
        place = pivot + (ground(joints[:, foot]) - pivot) * np.exp(1j * twist)[:, None] + shift[:, None]
        out[:, foot] = put_on_ground(joints[:, foot], place)
        start, middle, end = leg.limb
        wanted = out[:, end].copy()
        out[:, middle], out[:, end] = bend(joints[:, start], joints[:, middle], joints[:, end], wanted, hint)
        short = out[:, end] - wanted  # zero if the leg is long enough
        others = [joint for joint in foot if joint != end]
        out[:, others] += short[:, None]
    return out
