"""Joints of the 22 that a file does not have, placed by proportion: toes, and a spine joint or two.

Many skeletons end at the ankle, and many spines have two joints or one. Such a file says nothing about these joints, so
they follow from the others: a spine joint lies on the line between its neighbours, at the fraction that HumanML3D's
skeleton has it; toes lie where the tip of the foot (its End Site) points, or straight ahead of the shin. The lengths
are those of an average body, which retargeting replaces.
"""

from collections.abc import Collection, Mapping

import numpy as np

from motiongpt.body.skeletons import HUMANML3D

SPINE = ("pelvis", "spine1", "spine2", "spine3", "neck")
FEET = ("left_foot", "right_foot")
FOOT = 0.28  # of the shin, from the ankle to the toes: the mean of CMU's and Bandai-Namco's actors
_DROP = 0.06  # of the shin, by which the toes are lower than the ankle

Parts = Mapping[str, float]


def can_be_placed(lacking: Collection[str]) -> bool:
    """Whether all `lacking` targets are toes, or spine joints of which the file has at least one."""
    spine = [target for target in lacking if target in SPINE[1:-1]]
    return len(spine) < 3 and all(target in FEET or target in spine for target in lacking)


def place_spine(joint_map: Mapping[str, Parts]) -> dict[str, dict[str, float]]:
    """The map with the spine joints that it lacks, each between the nearest two that it has."""
    offsets = np.array([HUMANML3D.offsets[HUMANML3D.joints.index(name)] for name in SPINE])
    heights = np.cumsum(np.linalg.norm(offsets, axis=-1))
    known = [i for i, target in enumerate(SPINE) if target in joint_map]
    filled = {target: dict(parts) for target, parts in joint_map.items()}
    for i, target in enumerate(SPINE):
        if i in known:
            continue
        low = max(k for k in known if k < i)
        high = min(k for k in known if k > i)
        share = float((heights[i] - heights[low]) / (heights[high] - heights[low]))
        parts = {source: (1 - share) * weight for source, weight in joint_map[SPINE[low]].items()}
        for source, weight in joint_map[SPINE[high]].items():
            parts[source] = parts.get(source, 0.0) + share * weight
        filled[target] = parts
    return filled


def place_toes(joints: np.ndarray, side: str, tip: np.ndarray | None = None) -> np.ndarray:
    """The toe joint (F, 3) of a side, from joints (F, 22, 3) whose others are known.

    `tip` (F, 3) is a point that the foot points to. Without one the foot is at a right angle to shin and hips.
    """

    def at(name: str) -> np.ndarray:
        return joints[:, HUMANML3D.joints.index(name)].astype(np.float64)

    ankle = at(f"{side}_ankle")
    shin = at(f"{side}_knee") - ankle
    shank = np.linalg.norm(shin, axis=-1, keepdims=True)
    up = shin / np.maximum(shank, 1e-9)
    if tip is not None and np.linalg.norm(tip - ankle, axis=-1).min() > 1e-3:
        way = tip - ankle
        length = np.linalg.norm(way, axis=-1, keepdims=True)
        return ankle + way * np.minimum(1, FOOT * shank / length)
    # somebody who faces +z has the left at +x, so left cross up is ahead
    ahead = np.cross(at("left_hip") - at("right_hip"), up)
    ahead /= np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-9)
    return ankle + shank * (np.sqrt(FOOT**2 - _DROP**2) * ahead - _DROP * up)
