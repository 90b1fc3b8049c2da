"""Which joint of a tree is what part of a body: of our skeletons, and of the bones of a rig.

Parts have the names of HumanML3D's joints: pelvis, left_hip, left_knee, left_ankle, left_foot (the toes), left_collar,
left_shoulder, left_elbow, left_wrist, head, and so on. Left is where the body's left is, whatever a file calls it
(KIT-ML is stored mirrored). The trunk follows from the tree: the pelvis is where the legs meet, the chest where the
arms meet, the spine is what lies between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from motiongpt.body.limbs import limbs
from motiongpt.body.skeletons import SIDES, Skeleton

LEG = ("hip", "knee", "ankle", "foot")
ARM = ("collar", "shoulder", "elbow", "wrist")
LIMB_PARTS = tuple(f"{side}_{part}" for side in SIDES for part in LEG + ARM)
PARTS = ("pelvis", "head", *LIMB_PARTS)


@dataclass(frozen=True)
class Anatomy:
    """Parts of a body as indices of joints or bones."""

    parts: Mapping[str, int]  # of PARTS, those that are there; pelvis, hips, knees and ankles always
    spine: tuple[int, ...] = ()  # above the pelvis, up to and with the chest
    neck: tuple[int, ...] = ()  # between chest and head

    @property
    def chest(self) -> int:
        """The joint that carries the arms; the pelvis if there are none."""
        return self.spine[-1] if self.spine else self.parts["pelvis"]

    def leg(self, rest: np.ndarray) -> float:
        """Length of a leg, hip to ankle along its bones, the mean of both, in rest positions (J, 3)."""
        ways = [[rest[self.parts[f"{side}_{part}"]] for part in LEG[:3]] for side in SIDES]
        return float(np.mean([np.linalg.norm(np.diff(way, axis=0), axis=-1).sum() for way in ways]))

    def hips(self, joints: np.ndarray) -> np.ndarray:
        """The middle of both hips (..., 3) of joints (..., J, 3)."""
        return joints[..., [self.parts[f"{side}_hip"] for side in SIDES], :].mean(-2)


def way_up(parents: Sequence[int], joint: int) -> list[int]:
    """The joint, its parent, and so on to the root."""
    way = [joint]
    while parents[way[-1]] >= 0:
        way.append(parents[way[-1]])
    return way


def meeting(parents: Sequence[int], joints: Sequence[int]) -> int | None:
    """The joint farthest from the root that is above all of `joints` or one of them; None if they have no such one."""
    ways = [way_up(parents, joint) for joint in joints]
    return next((joint for joint in ways[0] if all(joint in way for way in ways)), None)


def with_trunk(parents: Sequence[int], parts: Mapping[str, int]) -> Anatomy:
    """Pelvis, spine and neck of a tree whose limbs (and head) are known. Raises ValueError if the legs never meet."""
    parts = dict(parts)
    legs = meeting(parents, [parts["left_hip"], parts["right_hip"]])
    if legs is None:
        raise ValueError("the legs do not hang on one tree")
    above = way_up(parents, legs)
    parts["pelvis"] = parts["pelvis"] if parts.get("pelvis") in above else legs
    starts = [parts.get(f"{side}_collar", parts.get(f"{side}_shoulder", -1)) for side in SIDES]
    chest = meeting(parents, [parents[joint] for joint in starts]) if min(starts) > 0 else None
    chest = parts["pelvis"] if chest is None else chest
    if parts["pelvis"] not in way_up(parents, chest):  # a bone of the legs alone beside the spine
        both = meeting(parents, [parts["pelvis"], chest])
        parts["pelvis"] = legs if both is None else both
    way = way_up(parents, chest)
    spine = way[: way.index(parts["pelvis"])][::-1] if parts["pelvis"] in way else []
    neck = []
    if "head" in parts and chest in way_up(parents, parts["head"]):
        way = way_up(parents, parts["head"])
        neck = way[1 : way.index(chest)][::-1]
    spine = [joint for joint in spine if joint not in way_up(parents, legs)]
    return Anatomy(parts, tuple(spine), tuple(neck))


def of_skeleton(skeleton: Skeleton) -> Anatomy:
    """The parts of one of our skeletons, by `face`, its chains and its tree.

    Raises ValueError for a skeleton whose legs have less than two bones.
    """
    right_hip, left_hip, right_shoulder, left_shoulder = skeleton.face
    found = {limb.start: limb for limb in limbs(skeleton).values()}
    parts = {}
    for side, hip, shoulder in (("left", left_hip, left_shoulder), ("right", right_hip, right_shoulder)):
        for names, start in ((LEG[:3], hip), (ARM[1:], shoulder)):
            if start in found:
                parts |= dict(zip((f"{side}_{name}" for name in names), found[start], strict=True))
        if f"{side}_ankle" not in parts:
            raise ValueError(f"skeleton {skeleton.name}: the {side} leg needs a hip, a knee and an ankle")
        toes = [j for j, parent in enumerate(skeleton.parents) if parent == parts[f"{side}_ankle"]]
        parts |= {f"{side}_foot": toes[0]} if toes else {}
    chest = meeting(skeleton.parents, [left_shoulder, right_shoulder])
    arms = set()
    for side, shoulder in (("left", left_shoulder), ("right", right_shoulder)):
        way = way_up(skeleton.parents, shoulder)
        between = way[1 : way.index(chest)]
        parts |= {f"{side}_collar": between[-1]} if between else {}
        arms.add(way[way.index(chest) - 1])
    head = _head(skeleton, chest, arms)
    return with_trunk(skeleton.parents, parts | ({} if head is None else {"head": head}))


def _head(skeleton: Skeleton, chest: int, arms: set[int]) -> int | None:
    """The head: by its name, else the second joint of the longest chain above the chest that is no arm."""
    chains = []
    for first in range(len(skeleton.parents)):
        if skeleton.parents[first] == chest and first not in arms:
            below = [j for j in range(first, len(skeleton.parents)) if first in way_up(skeleton.parents, j)]
            chains.append(way_up(skeleton.parents, max(below, key=lambda j: len(way_up(skeleton.parents, j))))[::-1])
    if not chains or chest == 0:
        return None
    chain = max(chains, key=len)
    chain = chain[chain.index(chest) + 1 :]
    return next((j for j in chain if skeleton.joints[j].lower() in ("head", "skull")), chain[min(1, len(chain) - 1)])
