"""A mannequin around any skeleton: tapered capsules for torso, head, limbs, hands and feet.

All radii are those of an adult in metres, scaled by the length of the legs. No limb is thicker than its bone allows.
The torso hangs between hips and shoulders, which every skeleton names (`Skeleton.face`), and bends with the spine.

What this module does not know: how a capsule is drawn.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from motiongpt.body.limbs import moved_with, unit
from motiongpt.body.skeletons import Skeleton
from motiongpt.render.figure_parts import chain_side, head_joint, heels

ADULT_LEG = 0.83  # metres from hip to ankle: the size of a body that the radii below belong to
ARM = ((0.050, 0.041), (0.040, 0.029))  # radii at both ends of the upper arm and of the forearm
LEG = ((0.084, 0.056), (0.054, 0.036))  # of thigh and shin
HAND, FOOT, FINGER = (0.030, 0.028), (0.036, 0.030), (0.013, 0.010)
THICKEST = 0.45  # of its bone's length


class Mannequin(NamedTuple):
    """Capsules that move. `points` (F, P, 3) are joints and places derived from them, the rest does not change."""

    points: np.ndarray
    ends: np.ndarray  # (K, 2) indices of points
    radii: np.ndarray  # (K, 2) at both ends, in the unit of the joints
    sides: np.ndarray  # (K,) 1 on the left, -1 on the right, 0 in the middle


class _Builder:
    """Collects points and capsules."""

    def __init__(self, joints: np.ndarray, scale: float):
        self.points = list(np.moveaxis(joints, 1, 0))
        self.scale = scale
        self.capsules: list[tuple] = []  # end, end, radius, radius, side

    def point(self, place: np.ndarray) -> int:
        self.points.append(place)
        return len(self.points) - 1

    def capsule(self, a: int, b: int, radii: tuple[float, float], side: int = 0, thickest=0.0) -> None:
        length = np.linalg.norm(self.points[a] - self.points[b], axis=-1).mean()
        limit = thickest * length if thickest else np.inf
        self.capsules.append((a, b, *(min(self.scale * radius, limit) for radius in radii), side))


def mannequin(joints: np.ndarray, skeleton: Skeleton) -> Mannequin:
    """The capsules around joints (F, J, 3), y up, in any unit."""
    knee, ankle = skeleton.leg
    hip = max(skeleton.parents[knee], 0)
    leg = sum(np.linalg.norm(joints[:, b] - joints[:, a], axis=-1).mean() for a, b in ((hip, knee), (knee, ankle)))
    body = _Builder(joints, (leg or 1.0) / ADULT_LEG)
    _add_torso_and_head(body, joints, skeleton)
    for number, start in enumerate(skeleton.face):
        if start:
            _add_limb(body, skeleton, start, LEG if number < 2 else ARM)
    _add_soles(body, joints, skeleton)
    a, b, radius_a, radius_b, sides = map(np.array, zip(*body.capsules, strict=True))
    points = np.stack(body.points, axis=1)
    return Mannequin(points, np.stack([a, b], axis=1), np.stack([radius_a, radius_b], axis=1), sides)


def _add_torso_and_head(body: _Builder, joints: np.ndarray, skeleton: Skeleton) -> None:
    right_hip, left_hip, right_shoulder, left_shoulder = (joints[:, j] for j in skeleton.face)
    scale = body.scale
    hips, shoulders = (right_hip + left_hip) / 2, (right_shoulder + left_shoulder) / 2
    across_hips, across_shoulders = unit(left_hip - right_hip), unit(left_shoulder - right_shoulder)

    # the line of the spine, from the hips over the joints below both shoulders to the middle of the shoulders
    under_both = [j for j in range(1, skeleton.num_joints) if {*skeleton.face[2:]} <= {*moved_with(skeleton, j)}]
    line = [hips, *(joints[:, j] for j in under_both), shoulders]
    reach = np.cumsum([0.0, *(np.linalg.norm(b - a, axis=-1).mean() for a, b in pairwise(line))])
    reach /= max(reach[-1], 1e-9)

    def spine(share: float) -> np.ndarray:
        after = int(np.clip(np.searchsorted(reach, share), 1, len(line) - 1))
        part = (share - reach[after - 1]) / max(reach[after] - reach[after - 1], 1e-9)
        return line[after - 1] + min(max(part, 0.0), 1.0) * (line[after] - line[after - 1])

    # three columns, left and right of the spine and in the middle, through levels: share, away, radius, middle's radius
    levels = ((0.04, 0.078, 0.098, 0.104), (0.42, 0.050, 0.088, 0.098), (0.66, 0.066, 0.094, 0.108))
    levels += ((0.86, 0.080, 0.084, 0.096),)
    below = None
    for share, away, radius, middle_radius in levels:
        aside = scale * away * unit((1 - share) * across_hips + share * across_shoulders)
        middle = spine(share)
        places = [body.point(middle + sign * aside) for sign in (-1, 1)] + [body.point(middle)]
        columns = list(zip(places, (radius, radius, middle_radius), strict=True))
        for (lower, lower_radius), (upper, upper_radius) in zip(below or columns, columns, strict=True):
            body.capsule(lower, upper, (lower_radius, upper_radius))
        below = columns
    nape = body.point(spine(1.0))
    for chest, shoulder in zip(places[:2], skeleton.face[2:], strict=True):
        body.capsule(chest, shoulder, (0.080, 0.052))
        body.capsule(nape, shoulder, (0.056, 0.050))

    head = head_joint(skeleton)
    up = unit(joints[:, head] - joints[:, max(skeleton.parents[head], 0)])
    ahead = np.cross(across_shoulders, up)  # left cross up is forward
    throat = body.point(shoulders + 0.6 * (joints[:, head] - shoulders))
    crown = body.point(joints[:, head] + scale * (0.080 * up + 0.004 * ahead))
    chin = body.point(joints[:, head] + scale * (0.006 * up + 0.044 * ahead))
    body.capsule(nape, throat, (0.074, 0.052))
    body.capsule(throat, head, (0.052, 0.056))
    body.capsule(head, crown, (0.068, 0.102))
    body.capsule(chin, crown, (0.052, 0.102))


def _add_limb(body: _Builder, skeleton: Skeleton, start: int, table: tuple) -> None:
    """Capsules on all bones from a hip or a shoulder outwards, and a hand at the end of an arm that has none."""
    side = chain_side([start], skeleton)
    order = {start: 0}  # joint -> bones away from the start
    for joint in moved_with(skeleton, start)[1:]:
        parent = skeleton.parents[joint]
        bone = order[parent]
        order[joint] = bone + 1
        if bone < 2:
            body.capsule(parent, joint, table[bone], side, THICKEST)
        elif table is LEG:
            body.capsule(parent, joint, FOOT, side, THICKEST)
        else:
            siblings = skeleton.parents.count(parent)
            body.capsule(parent, joint, HAND if bone == 2 and siblings == 1 else FINGER, side, THICKEST)
    tips = [joint for joint, bones in order.items() if bones == 2 and joint not in skeleton.parents]
    for wrist in tips if table is ARM else ():
        forearm = body.points[wrist] - body.points[skeleton.parents[wrist]]
        knuckles = body.point(body.points[wrist] + 0.30 * forearm)
        body.capsule(wrist, knuckles, HAND, side, 2 * THICKEST)


def _add_soles(body: _Builder, joints: np.ndarray, skeleton: Skeleton) -> None:
    """From heel to toe, and the toes in front of the last joint of a foot."""
    for heel, (ankle, toe) in zip(
        np.moveaxis(heels(joints, skeleton, joints[..., 1].min()), 1, 0), (skeleton.feet_left, skeleton.feet_right),
        strict=True,
    ):  # fmt: skip
        side = chain_side([toe], skeleton)
        back = body.point(heel)
        body.capsule(back, toe, FOOT, side)
        body.capsule(ankle, back, (LEG[1][1], FOOT[0]), side)
        if toe not in skeleton.parents:
            foot = unit(joints[:, toe] - heel)
            body.capsule(toe, body.point(joints[:, toe] + 0.05 * body.scale * foot), (FOOT[1], 0.8 * FOOT[1]), side)
