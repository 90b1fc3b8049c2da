"""Limbs of two bones: which joints they are in a skeleton, and inverse kinematics in closed form.

Two bones between two given places leave one freedom, the direction in which the elbow or knee points. `bend` keeps the
direction that the limb had. NumPy; any leading dimensions.
"""

from typing import NamedTuple

import numpy as np

from motiongpt.body.skeletons import Skeleton

STRETCH = 0.995  # longest limb that `bend` makes, as a share of its bones: a straight elbow or knee would snap
FOLD = 0.05  # metres: the shortest one is so much longer than the difference of its bones
FIRM = 0.01  # metres: a limb that is bent by less does not say well where its elbow or knee points


class Limb(NamedTuple):
    """Joint indices of a limb."""

    start: int  # shoulder or hip
    middle: int  # elbow or knee
    end: int  # wrist or ankle


def limbs(skeleton: Skeleton) -> dict[str, Limb]:
    """The legs, then the arms of a skeleton, by the name of their end: {"right_ankle": Limb(2, 5, 8), ...}.

    A limb starts at one of the hips and shoulders that `skeleton.face` names. One without two bones is left out.
    """
    found = {}
    for start in skeleton.face:
        chain = next((chain for chain in skeleton.chains if start in chain[:-2]), None)
        if chain:
            at = chain.index(start)
            found[skeleton.joints[chain[at + 2]]] = Limb(*chain[at : at + 3])
    return found


def moved_with(skeleton: Skeleton, joint: int) -> list[int]:
    """The joint and all joints that hang on it: of an ankle, the whole foot."""
    return [k for k, row in enumerate(skeleton.paths) if row[joint - 1]]


def unit(v: np.ndarray) -> np.ndarray:
    """Unit vectors along the last axis; a zero vector stays zero."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def triangle(upper: np.ndarray, lower: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the middle joint is: metres along the line from start to end, and metres away from it (law of cosines)."""
    along = (upper * upper - lower * lower + distance * distance) / (2 * distance)
    return along, np.sqrt(np.maximum(upper * upper - along * along, 0.0))


def longest(start: np.ndarray, middle: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far (...) the end of a limb may be from its start: `STRETCH` of its bones, or farther if it already is."""
    bones = np.linalg.norm(middle - start, axis=-1) + np.linalg.norm(end - middle, axis=-1)
    return np.maximum(STRETCH * bones, np.linalg.norm(end - start, axis=-1))


def bend(
    start: np.ndarray, middle: np.ndarray, end: np.ndarray, target: np.ndarray, hint: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """New middle and end joints (..., 3) of limbs whose end should be at `target`. Bone lengths stay as they are.

    The end goes to the nearest point that the limb can reach. The plane of the limb turns with the line from start to
    end, without twist. `hint` (..., 3) is where the middle joint points if the limb is too straight to tell.
    """
    upper, lower = np.linalg.norm(middle - start, axis=-1), np.linalg.norm(end - middle, axis=-1)
    old, way = end - start, target - start
    before, wanted = np.linalg.norm(old, axis=-1), np.linalg.norm(way, axis=-1)
    shortest = np.minimum(np.abs(upper - lower) + FOLD, before)
    distance = np.maximum(np.clip(wanted, shortest, longest(start, middle, end)), 1e-9)[..., None]  # bones may be 0
    old_aim = unit(old)
    aim = np.where(wanted[..., None] > 1e-9, unit(way), old_aim)

    # the bend: from the line to the middle joint, carried from the old line to the new one by the shortest rotation,
    # v - (v . b) / (1 + a . b) (a + b) for a vector v across a
    bent = _across(middle - start, old_aim)
    cosine = np.maximum(1 + _dot(old_aim, aim), 1e-9)
    bent = bent - _dot(bent, aim) / cosine * (old_aim + aim)
    # the hint counts for more the farther the end is moved, so that a limb that stays is not turned about its line
    moved = np.minimum(np.linalg.norm(target - end, axis=-1, keepdims=True), FIRM)
    last = np.eye(3)[np.abs(aim).argmin(axis=-1)]  # the last word, for a straight limb along its hint: any other axis
    pole = unit(_across(bent + moved * unit(hint) + 1e-6 * np.cross(aim, last), aim))
    along, across = triangle(upper[..., None], lower[..., None], distance)
    return start + along * aim + across * pole, start + distance * aim


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=-1, keepdims=True)


def _across(v: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """The part of v that is perpendicular to a unit vector."""
    return v - _dot(v, aim) * aim
