"""A rig: the bones of a character, their rest pose, and which part of a body each of them is.

`get_rig` has the built-in ones. They have the naming and the rest pose of a kind of character, and the proportions of
a clip:

    own      the joints of the clip's skeleton        T-pose, metres
    mixamo   mixamorig:Hips, mixamorig:LeftUpLeg ...  T-pose, centimetres
    cmu      Hips, LHipJoint, LeftUpLeg ... as in the BVH conversions of the CMU database
                                                      arms to the sides, legs 20 degrees apart, units of 1/0.45 inch
    unreal   root, pelvis, thigh_l ... (mannequin)    A-pose, arms 45 degrees down, centimetres
    vrm      hips, spine, leftUpperLeg ... (VRM 1.0)  T-pose, metres

All are y up and face +z. Files of characters are read by `rig_files.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, SIDES, Skeleton
from motiongpt.rigs.anatomy import ARM, LEG, Anatomy, of_skeleton, with_trunk
from motiongpt.rigs.rest_pose import t_pose
from motiongpt.rigs.turns import about

if TYPE_CHECKING:
    from motiongpt.rigs.gltf import Document

ORDER = "ZXY"  # of rotations in BVH files; the most common one


@dataclass(frozen=True)
class Rig:
    """B bones. Arrays are in the rig's own unit and axes."""

    name: str
    names: tuple[str, ...]
    parents: tuple[int, ...]  # -1 for a root; a parent comes before its children
    rest: np.ndarray  # (B, 3) where the bones begin at rest
    anatomy: Anatomy  # which bone is which part
    axes: np.ndarray  # (B, 3, 3) how the bones' own axes lie at rest; the identity where a file has none
    facing: np.ndarray = field(default_factory=lambda: np.eye(3))  # (3, 3) turns the rig: y up, facing +z
    floor: float = 0.0  # height of the floor at rest, after that turn
    metres_per_unit: float = 1.0
    orders: tuple[str, ...] = ()  # of the rotations in a BVH file, per bone; empty for ORDER
    tips: Mapping[int, np.ndarray] = field(default_factory=dict)  # bone without children -> (3,) to its End Site
    notes: tuple[str, ...] = ()  # what to know: parts without a bone
    document: "Document | None" = None  # the GLB file that the rig is from, and the node of each bone in it
    nodes: tuple[int, ...] = ()

    def order(self, bone: int) -> str:
        """The order of a bone's rotations in a BVH file."""
        return self.orders[bone] if self.orders else ORDER


# name, parent, part (or a place in the trunk) where the bone begins; * stands for a side
_CENTRE = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
_LIMBS = ("collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot")


def _body(
    centre: str, limbs: str, sides: tuple[str, str], root: str | None = None
) -> list[tuple[str, str | None, str]]:
    """Bones of a body with a spine of three, from their names in the order of _CENTRE and _LIMBS."""
    names = dict(zip(_CENTRE, centre.split(), strict=True))
    bones: list[tuple[str, str | None, str]] = []
    for above, part in zip((None, *_CENTRE[:-1]), _CENTRE, strict=True):
        bones.append((names[part], names[above] if above else root, part))
    for side, theirs in zip(SIDES, sides, strict=True):
        own = {part: name.replace("*", theirs) for part, name in zip(_LIMBS, limbs.split(), strict=True)}
        for chain, root in ((ARM, "spine3"), (LEG, "pelvis")):
            above = names[root]
            for part in chain:
                bones.append((own[part], above, f"{side}_{part}"))
                above = own[part]
    return bones


def _cmu() -> list[tuple[str, str | None, str]]:
    """Both legs, the neck and the clavicles begin in joints of no length, as the ASF files have it."""
    bones: list[tuple[str, str | None, str]] = [("Hips", None, "pelvis")]
    for side, name in zip(SIDES, ("Left", "Right"), strict=True):
        bones += [(f"{name[0]}HipJoint", "Hips", "pelvis"), (f"{name}UpLeg", f"{name[0]}HipJoint", f"{side}_hip")]
        bones += [(f"{name}Leg", f"{name}UpLeg", f"{side}_knee"), (f"{name}Foot", f"{name}Leg", f"{side}_ankle")]
        bones += [(f"{name}ToeBase", f"{name}Foot", f"{side}_foot")]
    bones += [("LowerBack", "Hips", "pelvis"), ("Spine", "LowerBack", "spine1"), ("Spine1", "Spine", "spine2")]
    bones += [("Neck", "Spine1", "spine3"), ("Neck1", "Neck", "neck"), ("Head", "Neck1", "head")]
    for side, name in zip(SIDES, ("Left", "Right"), strict=True):
        bones += [(f"{name}Shoulder", "Spine1", "spine3"), (f"{name}Arm", f"{name}Shoulder", f"{side}_shoulder")]
        bones += [(f"{name}ForeArm", f"{name}Arm", f"{side}_elbow"), (f"{name}Hand", f"{name}ForeArm", f"{side}_wrist")]
    return bones


@dataclass(frozen=True)
class _Kind:
    """A built-in rig before it has proportions."""

    bones: list[tuple[str, str | None, str]]
    metres_per_unit: float
    arms_down: float = 0.0  # degrees of the rest pose
    legs_apart: float = 0.0
    collars: tuple[str, str] | None = None  # bones that are the collars although they begin elsewhere


_MIXAMO = ("Hips Spine Spine1 Spine2 Neck Head", "*Shoulder *Arm *ForeArm *Hand *UpLeg *Leg *Foot *ToeBase")
KINDS = {
    "mixamo": _Kind(
        _body(*(" ".join(f"mixamorig:{name}" for name in names.split()) for names in _MIXAMO), ("Left", "Right")), 0.01
    ),
    "cmu": _Kind(_cmu(), 0.0254 / 0.45, legs_apart=20.0, collars=("LeftShoulder", "RightShoulder")),
    "unreal": _Kind(
        [("root", None, "")]
        + _body(
            "pelvis spine_01 spine_02 spine_03 neck_01 head",
            "clavicle_* upperarm_* lowerarm_* hand_* thigh_* calf_* foot_* ball_*",
            ("l", "r"),
            "root",
        ),
        0.01,
        arms_down=45.0,
    ),
    "vrm": _Kind(
        _body(
            "hips spine chest upperChest neck head",
            "*Shoulder *UpperArm *LowerArm *Hand *UpperLeg *LowerLeg *Foot *Toes",
            ("left", "right"),
        ),
        1.0,
    ),
}
RIGS = ("own", *KINDS)


def get_rig(name: str, skeleton: Skeleton = HUMANML3D) -> Rig:
    """A built-in rig with the bone lengths of a skeleton, or of an adult if it has none.

    Writers give it those of the clip instead. Raises ValueError for an unknown name, listing the known ones.
    """
    anatomy = of_skeleton(skeleton)
    pose = t_pose(skeleton, anatomy)
    if skeleton.has_lengths:
        bones = pose - pose[np.maximum(skeleton.parents, 0)]
        sizes = np.linalg.norm(skeleton.offsets, axis=-1) * skeleton.metres_per_unit
        pose = bones * (sizes / np.maximum(np.linalg.norm(bones, axis=-1), 1e-9))[:, None]
        for j, parent in enumerate(skeleton.parents[1:], 1):
            pose[j] += pose[parent]
    pose[:, 1] -= pose[:, 1].min()
    return fitted(name, skeleton.joints, skeleton.parents, pose, anatomy)


def fitted(name: str, joints: tuple[str, ...], parents: tuple[int, ...], pose: np.ndarray, anatomy: Anatomy) -> Rig:
    """A built-in rig on a body: joints (K,), their parents and T-pose (K, 3) in metres.

    Raises ValueError for an unknown name.
    """
    if name == "own":
        return Rig("own", joints, parents, pose, anatomy, _eyes(len(joints)), tips=_tips(parents, pose, anatomy))
    if name not in KINDS:
        raise ValueError(f"no rig named {name!r}; known: {', '.join(RIGS)}, or the path of a .bvh, .glb or .vrm file")
    kind = KINDS[name]
    places = _places(pose, anatomy)
    bones = [bone for bone in kind.bones if bone[2] in places]
    names = tuple(bone[0] for bone in bones)
    parent_of = {name: parent for name, parent, _ in kind.bones}
    above = tuple(_index(names, parent, parent_of) for _, parent, _ in bones)
    parts = {part: names.index(bone) for bone, _, part in reversed(bones) if part and part not in _CENTRE[1:5]}
    parts["pelvis"] = next(i for i, bone in enumerate(bones) if bone[2] == "pelvis")
    if kind.collars and set(kind.collars) <= set(names):
        parts |= {f"{side}_collar": names.index(bone) for side, bone in zip(SIDES, kind.collars, strict=True)}
    rest = np.array([places[part] for _, _, part in bones]) / kind.metres_per_unit
    own = with_trunk(above, parts)
    rest = _posed(rest, above, own, kind)
    rest[:, 1] -= min(rest[:, 1].min(), 0.0) if names[0] == "root" else rest[:, 1].min()
    lacking = [part for _, _, part in kind.bones if part not in places]
    notes = [f"rig {name}: the skeleton has no {', '.join(lacking)}; those bones are left out"] if lacking else []
    used = {anatomy.parts[part] for part in own.parts if part in anatomy.parts} | {*anatomy.spine, *anatomy.neck}
    spare = [joint for k, joint in enumerate(joints) if k not in used and not joint.endswith("_base")]
    notes += [f"rig {name}: no bone for {', '.join(spare)}"] if spare else []
    return Rig(
        name, names, above, rest, own, _eyes(len(names)), metres_per_unit=kind.metres_per_unit,
        tips=_tips(above, rest, own), notes=tuple(notes),
    )  # fmt: skip


def _index(names: tuple[str, ...], name: str | None, parent_of: Mapping[str, str | None]) -> int:
    """Where a bone is, or the nearest one above it that is there."""
    while name and name not in names:
        name = parent_of[name]
    return names.index(name) if name else -1


def _places(pose: np.ndarray, anatomy: Anatomy) -> dict[str, np.ndarray]:
    """Where the parts of a body and three joints of its spine are in a T-pose (K, 3)."""
    places = {"": np.zeros(3)} | {part: pose[k] for part, k in anatomy.parts.items()}
    spine = pose[[anatomy.parts["pelvis"], *anatomy.spine]]
    neck = pose[list(anatomy.neck)]
    if not len(neck) and len(spine) > 1:  # a chest at the height of the neck's root
        neck = spine[-1:]
        spine = np.concatenate((spine[:-1], [(spine[-2] + spine[-1]) / 2]))
    if len(spine) > 1:
        at = np.linspace(0, len(spine) - 1, 4)
        line = np.stack([np.interp(at, np.arange(len(spine)), spine[:, axis]) for axis in range(3)], axis=-1)
        places |= dict(zip(("spine1", "spine2", "spine3"), line[1:], strict=True))
        for side in SIDES:
            if f"{side}_shoulder" in places:
                middle = 0.65 * places["spine3"] + 0.35 * places[f"{side}_shoulder"]
                places.setdefault(f"{side}_collar", middle)
    if len(neck):
        places["neck"] = neck[0]
    return places


def _posed(rest: np.ndarray, parents: tuple[int, ...], anatomy: Anatomy, kind: _Kind) -> np.ndarray:
    """The T-pose (B, 3) with arms down and legs apart as the kind has them."""
    turns = np.repeat(np.eye(3)[None], len(rest), axis=0)
    for i, side in enumerate(SIDES):
        for part, degrees in (("shoulder", -kind.arms_down), ("hip", kind.legs_apart)):
            if f"{side}_{part}" in anatomy.parts:
                turns[anatomy.parts[f"{side}_{part}"]] = about(np.array([0, 0, 1.0 - 2 * i]), np.radians(degrees))
    posed = rest.copy()
    for b, parent in enumerate(parents):
        if parent >= 0:
            posed[b] = posed[parent] + turns[parent] @ (rest[b] - rest[parent])
            turns[b] = turns[parent] @ turns[b]
    return posed


def _tips(parents: tuple[int, ...], rest: np.ndarray, anatomy: Anatomy) -> dict[int, np.ndarray]:
    """A tip for every bone without children: as long as half the bone before it, and in its direction."""
    tips = {}
    for b in range(len(parents)):
        if b not in parents:
            above = parents[b]
            while above >= 0 and np.allclose(rest[above], rest[b]):
                above = parents[above]
            tips[b] = (rest[b] - rest[above]) / 2 if above >= 0 else np.array([0, 0.1, 0])
    return tips


def _eyes(count: int) -> np.ndarray:
    return np.repeat(np.eye(3)[None], count, axis=0)
