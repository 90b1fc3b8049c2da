"""Feet on the ground while the root goes another way: footprints are moved as a whole, and legs follow by bending.

A path that turns and stretches a walk drags the planted feet along. Here each footprint keeps its shape: a foot that
stood still stands still, one that slid by a centimetre slides by a centimetre. Between footprints the change runs
smoothly from one to the next.
"""

from typing import NamedTuple

import numpy as np

from motiongpt.body.limbs import Limb, bend, limbs, moved_with
from motiongpt.body.skeletons import Skeleton
from motiongpt.constraints.ground import ground, headings, put_on_ground
from motiongpt.metrics.joints import SKATE_HEIGHT, SKATE_SPEED
from motiongpt.procedural.kinematics import through


class Leg(NamedTuple):
    """A leg and its foot, as joint indices."""

    limb: Limb
    toe: int
    foot: tuple[int, ...]  # the ankle and all joints that hang on it


def legs(skeleton: Skeleton) -> list[Leg]:
    """The legs of a skeleton that have two bones: two, or none for a skeleton without knees."""
    found = []
    for limb in limbs(skeleton).values():
        foot = moved_with(skeleton, limb.end)
        toes = [toe for _, toe in (skeleton.feet_left, skeleton.feet_right) if toe in foot]
        if toes:
            found.append(Leg(limb, toes[0], tuple(foot)))
    return found


def contacts(toe: np.ndarray, fps: float) -> np.ndarray:
    """Which footprint each frame of a toe (F, 3) belongs to: 1, 2, ..., and 0 in the air; (F,) whole numbers.

    A toe is on the ground if it is within 5 cm of its usual lowest height and slower than 0.5 m/s.
    """
    low = toe[:, 1] < np.percentile(toe[:, 1], 5) + SKATE_HEIGHT
    speed = np.abs(np.diff(ground(toe))) * fps
    speed = np.minimum(np.append(speed, np.inf), np.insert(speed, 0, np.inf))  # the slower side of each frame
    stands = low & (speed < SKATE_SPEED)
    begins = stands & ~np.insert(stands[:-1], 0, False)
    return np.cumsum(begins) * stands


def slide(joints: np.ndarray, on_ground: list[np.ndarray], skeleton: Skeleton, fps: float) -> float:
    """How fast the toes move over the ground within footprints, metres per second, the mean over all such steps.

    `on_ground` has the `contacts` of each of the `legs`.
    """
    speeds = []
    for leg, prints in zip(legs(skeleton), on_ground, strict=True):
        within = (prints[1:] == prints[:-1]) & (prints[1:] > 0)
        speeds.append(np.abs(np.diff(ground(joints[:, leg.toe])))[within] * fps)
    steps = np.concatenate([*speeds, np.zeros(0)])
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
