"""Feet on the ground: the legs of a skeleton, the footprints of a toe, and how fast toes slide within them. NumPy."""

from typing import NamedTuple

import numpy as np

from motiongpt.body.limbs import Limb, limbs, moved_with
from motiongpt.body.skeletons import Skeleton


class Leg(NamedTuple):
    """A leg and its foot, as joint indices."""

    limb: Limb
    toe: int
    foot: tuple[int, ...]  # the ankle and all joints that hang on it


def legs(skeleton: Skeleton) -> list[Leg]:
    """The legs of a skeleton that have two bones and a toe: two, or none."""
    found = []
    for limb in limbs(skeleton).values():
        foot = moved_with(skeleton, limb.end)
        found += [Leg(limb, toe, tuple(foot)) for _, toe in (skeleton.feet_left, skeleton.feet_right) if toe in foot]
    return found


def footprints(toe: np.ndarray, fps: float, low: float, slow: float) -> np.ndarray:
    """Which footprint each frame of a toe (F, 3) belongs to: 1, 2, ..., and 0 in the air; (F,) whole numbers.

    A toe stands if it is within `low` metres of its usual lowest height and slower over the ground than `slow` m/s.
    """
    is_low = toe[:, 1] < np.percentile(toe[:, 1], 5) + low
    speed = ground_steps(toe) * fps
    speed = np.minimum(np.append(speed, np.inf), np.insert(speed, 0, np.inf))  # the slower side of each frame
    stands = is_low & (speed < slow)
    begins = stands & ~np.insert(stands[:-1], 0, False)
    return np.cumsum(begins) * stands


def slide_speeds(joints: np.ndarray, prints: list[np.ndarray], skeleton: Skeleton, fps: float) -> np.ndarray:
    """Speeds of the toes over the ground, m/s, at all steps within the `footprints` of each leg, one after another."""
    speeds = [np.zeros(0)]
    for leg, numbers in zip(legs(skeleton), prints, strict=True):
        within = (numbers[1:] == numbers[:-1]) & (numbers[1:] > 0)
        speeds.append(ground_steps(joints[:, leg.toe])[within] * fps)
    return np.concatenate(speeds)


def ground_steps(points: np.ndarray) -> np.ndarray:
    """How far a point (F, 3) goes over the ground from frame to frame, (F - 1,) metres."""
    return np.linalg.norm(np.diff(points[:, [0, 2]], axis=0), axis=-1)
