"""A solved clip on a rig: the rotations of its bones, the place of its pelvis, and feet where the clip has them.

Every bone turns in the world as the part of the body that it is. Where the rest pose of the rig differs from the
T-pose, its arms and legs are first brought to it, so that an upper arm points where the clip's does. The trunk, the
head and the feet keep their own shape: a curved spine stays curved, a foot that is flat at rest is flat where the
clip's is. Bones of spine and neck turn as ours do at their height. Bones of no part (fingers, twist bones)
stay as they are on their parent.

The way is scaled by the length of the legs, and so are the places of ankles near the floor. Legs bend to get there: a
foot that stands in the clip stands on the rig, too. Toes do not go below the floor unless the clip's do.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from motiongpt.body.limbs import bend, unit
from motiongpt.body.skeletons import SIDES, Skeleton
from motiongpt.rigs.anatomy import Anatomy
from motiongpt.rigs.rig import RIGS, Rig, fitted
from motiongpt.rigs.rig_files import load_rig
from motiongpt.rigs.solve import SHORT, Solved, solve
from motiongpt.rigs.turns import between, partway, smooth_step

MIDDLE = 0.15  # of the way from the chest to a shoulder: a collar that begins closer begins in the chest
AIR = (0.04, 0.25)  # metres over the floor: a foot that is lower is put in its place, one that is higher only points
_UP = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True)
class Animation:
    """A clip on a rig, in the rig's unit and axes."""

    rig: Rig
    fps: float
    turns: np.ndarray  # (F, B, 3, 3) from the rest pose to the frame, in the world
    joints: np.ndarray  # (F, B, 3) where the bones begin
    error: np.ndarray  # (F, J) metres by which the solved joints are off the clip's, before they go on the rig

    def local(self, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bones seen from their parents, whose own axes (B, 3, 3) lie so at rest.

        Returns rotations (F, B, 3, 3) and places (F, B, 3). Places change with time at the root and the pelvis alone.
        """
        turns, places = self.turns @ axes, self.joints.copy()
        seen = turns.copy()
        for b, parent in enumerate(self.rig.parents):
            if parent >= 0:
                back = np.swapaxes(turns[:, parent], -1, -2)
                seen[:, b] = back @ turns[:, b]
                rest = axes[parent].T @ (self.rig.rest[b] - self.rig.rest[parent])
                moved = (back @ (self.joints[:, b] - self.joints[:, parent])[..., None])[..., 0]
                places[:, b] = moved if b == self.rig.anatomy.parts["pelvis"] else rest
        return seen, places

    def upright(self) -> "Animation":
        """The same in metres, y up, facing +z at rest, with the floor at y = 0."""
        rig, turn, unit = self.rig, self.rig.facing, self.rig.metres_per_unit
        floor = unit * np.array([0, rig.floor, 0])
        tips = {bone: unit * turn @ tip for bone, tip in rig.tips.items()}
        own = replace(
            rig, rest=unit * rig.rest @ turn.T - floor, axes=turn @ rig.axes, facing=np.eye(3), floor=0.0,
            metres_per_unit=1.0, tips=tips,
        )  # fmt: skip
        return replace(self, rig=own, turns=turn @ self.turns @ turn.T, joints=unit * self.joints @ turn.T - floor)


def animate(joints: np.ndarray, skeleton: Skeleton, fps: float, rig: str | Path | Rig = "own") -> Animation:
    """Joints (F, J, 3) in metres, y up, on a rig: a built-in name, a file, or a loaded one.

    Raises ValueError as `solve`, `fitted` and `load_rig` do.
    """
    solved = solve(joints, skeleton, fps)
    if solved.anatomy.leg(solved.rest) < SHORT:
        raise ValueError("the legs have no length in this clip, so it shows no body")
    if not isinstance(rig, Rig):
        is_name = str(rig) in RIGS or not Path(rig).suffix
        body = (solved.names, solved.parents, solved.rest, solved.anatomy)
        rig = fitted(str(rig), *body) if is_name else load_rig(rig)
    elif rig.name in RIGS:  # as `get_rig` gives it: the proportions are the clip's
        rig = fitted(rig.name, solved.names, solved.parents, solved.rest, solved.anatomy)
    if rig.name == "own":
        return Animation(rig, fps, solved.turns, solved.joints, solved.error)
    return retarget(solved, rig, fps)


def retarget(solved: Solved, rig: Rig, fps: float) -> Animation:
    """A solved clip on a rig of any proportions and rest pose."""
    ours, theirs = solved.anatomy, rig.anatomy
    unit_size = rig.metres_per_unit
    rest = unit_size * rig.rest @ rig.facing.T  # metres, y up, facing +z
    scale = theirs.leg(rest) / ours.leg(solved.rest)
    driven = _driven(solved, rest, theirs, _corrections(solved, rest, theirs))

    # the middle of the hips goes the scaled way, higher by what the ankles of a standing body are higher
    ankles = [f"{side}_ankle" for side in SIDES]
    lift = np.mean([rest[theirs.parts[ankle], 1] - scale * solved.rest[ours.parts[ankle], 1] for ankle in ankles])
    pelvis = theirs.parts["pelvis"]
    to_hips = driven[pelvis] @ (theirs.hips(rest) - rest[pelvis])
    place = scale * ours.hips(solved.joints) + lift * _UP - to_hips

    _, placed = _posed(rig, rest, driven, place)
    for side in SIDES:
        _reach(solved, theirs, unit_size * rig.floor, side, scale, lift, driven, placed)
    turns, placed = _posed(rig, rest, driven, place)
    return Animation(rig, fps, rig.facing.T @ turns @ rig.facing, placed @ rig.facing / unit_size, solved.error)


def _corrections(solved: Solved, rest: np.ndarray, theirs: Anatomy) -> dict[str, np.ndarray]:
    """Part -> rotation (3, 3) from the rig's rest pose to the T-pose: of arms and legs, and the heading of feet."""
    ours = solved.anatomy

    def bone(joints: np.ndarray, parts, start: str, end: str) -> np.ndarray | None:
        if start not in parts or end not in parts:
            return None
        vector = joints[parts[end]] - joints[parts[start]]
        return vector if np.linalg.norm(vector) > 0 else None

    turns: dict[str, np.ndarray] = {}
    for side in SIDES:
        for chain in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")):
            turn = np.eye(3)
            for start, end in pairwise(chain):
                start, end = f"{side}_{start}", f"{side}_{end}"
                own, wanted = bone(rest, theirs.parts, start, end), bone(solved.rest, ours.parts, start, end)
                if own is not None and wanted is not None:
                    turn = between(turn @ own, wanted) @ turn
                turns[start] = turn
            turns[f"{side}_{chain[2]}"] = turn  # a hand goes with its arm
        foot = f"{side}_ankle", f"{side}_foot"
        own, wanted = bone(rest, theirs.parts, *foot), bone(solved.rest, ours.parts, *foot)
        turn = np.eye(3)
        if own is not None and wanted is not None and min(np.abs(own[[0, 2]]).max(), np.abs(wanted[[0, 2]]).max()) > 0:
            turn = between(own * [1, 0, 1], wanted * [1, 0, 1])
        turns |= dict.fromkeys(foot, turn)
    return turns


def _driven(
    solved: Solved, rest: np.ndarray, theirs: Anatomy, corrections: dict[str, np.ndarray]
) -> dict[int, np.ndarray]:
    """Bone -> its rotation (F, 3, 3) from the rig's rest pose, in the world, for the bones that are a part."""
    ours, turns = solved.anatomy, solved.turns
    driven = {theirs.parts["pelvis"]: turns[:, ours.parts["pelvis"]]} | _trunk(solved, rest, theirs)
    for part, bone in theirs.parts.items():
        if part in ours.parts and bone not in driven:
            driven[bone] = turns[:, ours.parts[part]] @ corrections.get(part, np.eye(3))
    for side in SIDES:
        collar, shoulder = (theirs.parts.get(f"{side}_{part}") for part in ("collar", "shoulder"))
        if collar is None or shoulder is None or f"{side}_shoulder" not in ours.parts:
            continue
        middle = abs(rest[collar, 0] - rest[theirs.chest, 0]) < MIDDLE * abs(rest[shoulder, 0] - rest[theirs.chest, 0])
        if middle or f"{side}_collar" not in ours.parts:  # it begins in the chest: it points from there to the shoulder
            chest, end = ours.chest, ours.parts[f"{side}_shoulder"]
            seen = np.einsum("fab,fa->fb", turns[:, chest], solved.joints[:, end] - solved.joints[:, chest])
            driven[collar] = turns[:, chest] @ between(solved.rest[end] - solved.rest[chest], seen)
    return driven


def _trunk(solved: Solved, rest: np.ndarray, theirs: Anatomy) -> dict[int, np.ndarray]:
    """Bone of the rig's spine or neck -> our rotation at the height of its middle."""
    ours, turns = solved.anatomy, solved.turns
    own = _chain(ours)
    heights = _heights(solved.rest, ours, own)
    if len(own) < 2:
        return {}
    # the rotation of the bone from each joint of the trunk to the next
    bones = [turns[:, solved.parents[above]] for above in own[1:]]
    chest = own.index(ours.chest)
    bones[min(chest if ours.neck else chest - 1, len(bones) - 1)] = turns[:, ours.chest]  # the thorax carries arms, too
    at = (heights[1:] + heights[:-1]) / 2
    chain = _chain(theirs)
    their_heights = np.append(_heights(rest, theirs, chain), 1.0)
    driven = {}
    for i, bone in enumerate(chain):
        if bone in theirs.spine or bone in theirs.neck:
            height = (their_heights[i] + their_heights[i + 1]) / 2
            index = float(np.interp(height, at, np.arange(len(at))))
            low = min(int(index), len(bones) - 1)
            share = index - low
            driven[bone] = bones[low] if share < 1e-9 else partway(bones[low], bones[low + 1], share)
    return driven


def _chain(anatomy: Anatomy) -> tuple[int, ...]:
    """From the pelvis to the head."""
    head = (anatomy.parts["head"],) if "head" in anatomy.parts else ()
    return (anatomy.parts["pelvis"], *anatomy.spine, *anatomy.neck, *head)


def _heights(rest: np.ndarray, anatomy: Anatomy, chain: tuple[int, ...]) -> np.ndarray:
    """Heights of joints of the trunk: 0 at the pelvis, 1 at the shoulders, 2 at the head."""
    pelvis = rest[anatomy.parts["pelvis"], 1]
    shoulders = [rest[anatomy.parts[part], 1] for part in ("left_shoulder", "right_shoulder") if part in anatomy.parts]
    marks = [pelvis, np.mean(shoulders) if shoulders else rest[anatomy.chest, 1]]
    marks.append(rest[anatomy.parts["head"], 1] if "head" in anatomy.parts else 2 * marks[1] - pelvis)
    marks = np.maximum.accumulate(marks) + 1e-9 * np.arange(3)
    return np.interp(rest[list(chain), 1], marks, [0.0, 1.0, 2.0])


def _posed(
    rig: Rig, rest: np.ndarray, driven: dict[int, np.ndarray], place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (F, B, 3, 3) and places (F, B, 3) of all bones. What carries the pelvis stays at rest."""
    F, B = len(place), len(rig.names)
    pelvis = rig.anatomy.parts["pelvis"]
    turns = np.empty((F, B, 3, 3))
    placed = np.empty((F, B, 3))
    for b, parent in enumerate(rig.parents):
        if parent < 0:
            turns[:, b], placed[:, b] = np.eye(3), rest[b]
        else:
            turns[:, b] = turns[:, parent]
            placed[:, b] = placed[:, parent] + turns[:, parent] @ (rest[b] - rest[parent])
        if b in driven:
            turns[:, b] = driven[b]
        if b == pelvis:
            placed[:, b] = place
    return turns, placed


def _reach(
    solved: Solved, theirs: Anatomy, floor: float, side: str, scale: float, lift: float, driven, placed: np.ndarray
) -> None:
    """Bend a leg so that a foot near the floor is where the clip's is, and toes are not below the floor."""
    ours = solved.anatomy.parts
    hip, knee, ankle, toes = (theirs.parts.get(f"{side}_{part}") for part in ("hip", "knee", "ankle", "foot"))
    clip = solved.joints[:, ours[f"{side}_ankle"]]
    height = clip[:, 1] - solved.rest[ours[f"{side}_ankle"], 1]
    low = np.zeros(len(clip))
    if toes is not None and f"{side}_foot" in ours:
        height = np.minimum(height, solved.joints[:, ours[f"{side}_foot"], 1])
        low = np.minimum(scale * solved.joints[:, ours[f"{side}_foot"], 1], 0)
    near = 1 - smooth_step(height, *AIR)[:, None]
    start, middle, end = placed[:, hip], placed[:, knee], placed[:, ankle]
    target = end + near * (scale * clip + lift * _UP - end)
    if toes is not None:
        below = floor + low - (placed[:, toes, 1] + target[:, 1] - end[:, 1])
        target = target + np.maximum(below, 0)[:, None] * _UP
    forward = driven[ankle] @ np.array([0, 0, 1.0])
    new_middle, new_end = bend(start, middle, end, target, forward)
    for bone, old, new in ((hip, middle - start, new_middle - start), (knee, end - middle, new_end - new_middle)):
        driven[bone] = between(old, np.where(np.abs(new).max(-1, keepdims=True) > 0, unit(new), old)) @ driven[bone]
