"""Joints of a file -> the joints of a skeleton, by a map that is given, by name, or by a built-in map.

A map says for every target joint which joints of the file it is made of: {target: {source: weight}}, with weights that
sum to 1. Mostly that is one source. If the file has fewer spine joints, a target is a point between two.

The built-in maps lead from common skeletons to the 22 joints of `humanml3d-22`. They compare names without a namespace:
"mixamorig:Hips", "Character1:Hips" and "Hips" are the same joint.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, Skeleton
from motiongpt.data.raw import RawClip
from motiongpt.files.store import read_json

JointMap = dict[str, dict[str, float]]

_SIDES = (("left", "Left", "L"), ("right", "Right", "R"))


def _both_sides(centre: dict[str, str], limbs: dict[str, str], side: int) -> JointMap:
    """A map from {target: source}, where a source may be two joints with + between.

    `*` in a limb's source stands for the side, in the spelling that column `side` of `_SIDES` has.
    """
    pairs = dict(centre)
    for sides in _SIDES:
        ours, theirs = sides[0], sides[side]
        pairs |= {f"{ours}_{target}": source.replace("*", theirs) for target, source in limbs.items()}
    return {target: _parts(pairs[target].split("+")) for target in HUMANML3D.joints}


def _parts(sources: Sequence[str]) -> dict[str, float]:
    """The mean of some joints."""
    return {source: 1 / len(sources) for source in sources}


_BIPED_LIMBS = {
    "hip": "*UpLeg", "knee": "*Leg", "ankle": "*Foot", "foot": "*ToeBase", "collar": "*Shoulder", "shoulder": "*Arm",
    "elbow": "*ForeArm", "wrist": "*Hand",
}  # fmt: skip
_BIPED_CENTRE = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
}  # fmt: skip

# Some targets are not where SMPL has its joint of that name. bandai-namco and cmu have fewer spine joints. cmu's Neck,
# LeftShoulder and RightShoulder lie in Spine1, so its neck is Neck1, and spine3 is half way up the chest. kit-mmm has
# two spine joints and no collar joints; points between them come near SMPL's heights.
MAPS: dict[str, JointMap] = {
    "smpl": {joint: {joint: 1.0} for joint in HUMANML3D.joints},
    "smpl-short": _both_sides(
        {joint: joint.capitalize() for joint in _BIPED_CENTRE},
        {joint: f"*_{joint.capitalize()}" for joint in _BIPED_LIMBS},
        2,
    ),
    "mixamo": _both_sides(_BIPED_CENTRE, _BIPED_LIMBS, 1),
    "lafan1": _both_sides(_BIPED_CENTRE, _BIPED_LIMBS | {"foot": "*Toe"}, 1),
    "cmu": _both_sides(
        _BIPED_CENTRE | {"spine1": "Hips+Spine", "spine2": "Spine", "spine3": "Spine+Spine1", "neck": "Neck1"},
        _BIPED_LIMBS,
        1,
    ),
    "bandai-namco": _both_sides(
        _BIPED_CENTRE | {"spine1": "Hips+Spine", "spine2": "Spine", "spine3": "Chest"},
        {
            "hip": "UpperLeg_*", "knee": "LowerLeg_*", "ankle": "Foot_*", "foot": "Toes_*", "collar": "Shoulder_*",
            "shoulder": "UpperArm_*", "elbow": "LowerArm_*", "wrist": "Hand_*",
        },
        2,
    ),
    "kit-mmm": _both_sides(
        {"pelvis": "root", "spine1": "BP+BT", "spine2": "BT", "spine3": "BT+BLN", "neck": "BLN", "head": "BUN"},
        {
            "hip": "*H", "knee": "*K", "ankle": "*A", "foot": "*F", "collar": "BLN+*S", "shoulder": "*S",
            "elbow": "*E", "wrist": "*W",
        },
        2,
    ),
}  # fmt: skip


def _plain(name: str) -> str:
    """A name without its namespace (up to the last colon) and without the prefix in SMPL's own FBX files."""
    return name.rsplit(":", 1)[-1].removeprefix("m_avg_").removeprefix("f_avg_")


def to_skeleton(clip: RawClip, skeleton: Skeleton, joint_map: JointMap | None = None) -> np.ndarray:
    """The joints (F, J, 3) of a clip in the skeleton's order: by the map, else by name, else by a built-in map.

    Raises ValueError naming the joints that are there if none of these fits.
    """
    if joint_map:
        return apply_map(clip.joints, clip.names, joint_map, skeleton.joints)
    if set(skeleton.joints) <= set(clip.names):
        return clip.joints[:, [clip.names.index(name) for name in skeleton.joints]]
    if skeleton.joints == HUMANML3D.joints:
        return apply_map(clip.joints, clip.names, match_map(clip.names)[1], skeleton.joints)
    lacking = [name for name in skeleton.joints if name not in clip.names]
    raise ValueError(
        f"the clip has no joint {', '.join(lacking[:5])} of skeleton {skeleton.name}; it has {', '.join(clip.names)}; "
        "give --joint-map FILE.json, or another --skeleton"
    )


def match_map(names: Sequence[str]) -> tuple[str, JointMap]:
    """The first built-in map whose sources are all among `names`: its name, and the map in the spelling of `names`.

    Raises ValueError naming the joints that are there, and those that the closest map misses.
    """
    spelling = {_plain(name): name for name in reversed(names)}  # if two are equal, the first counts
    missing: dict[str, list[str]] = {}
    for map_name, joint_map in MAPS.items():
        sources = dict.fromkeys(source for parts in joint_map.values() for source in parts)
        missing[map_name] = [source for source in sources if source not in spelling]
        if not missing[map_name]:
            return map_name, {
                target: {spelling[source]: weight for source, weight in parts.items()}
                for target, parts in joint_map.items()
            }
    closest = min(missing, key=lambda map_name: len(missing[map_name]))
    raise ValueError(
        f"no built-in joint map ({', '.join(MAPS)}) fits these joints: {_listed(names)}; the closest, {closest}, "
        f"misses {_listed(missing[closest])}; write one and give it with --joint-map FILE.json"
    )


def read_map(path: str | Path) -> JointMap:
    """A map from a JSON object {target: source}; a source may be a list (the mean) or {source: weight}.

    Weights must sum to 1. Raises FileNotFoundError, or ValueError naming the file and the key at fault.
    """
    record = read_json(path, object)
    if not isinstance(record, dict) or not record:
        raise ValueError(f'{path}: a joint map is a JSON object {{"target": "source"}}, got {_shown(record)}')
    joint_map = {}
    for target, value in record.items():
        parts = value
        if isinstance(value, str):
            parts = {value: 1.0}
        elif isinstance(value, list) and value and all(isinstance(source, str) for source in value):
            parts = _parts(value)
            if len(parts) != len(value):
                raise ValueError(f"{path}: {target}: a source stands twice in {_shown(value)}; use weights")
        elif not isinstance(value, dict) or not all(type(weight) in (int, float) for weight in value.values()):
            raise ValueError(
                f"{path}: {target}: expected a joint name, a list of names or {{name: weight}}, got {_shown(value)}"
            )
        total = sum(parts.values())
        if not abs(total - 1) < 1e-3:  # thirds are written with a few digits
            raise ValueError(f"{path}: {target}: weights must sum to 1, got {total:g}")
        joint_map[target] = {source: weight / total for source, weight in parts.items()}
    return joint_map


def apply_map(
    joints: np.ndarray, names: Sequence[str], joint_map: Mapping[str, Mapping[str, float]], target_names: Sequence[str]
) -> np.ndarray:
    """Joints (F, K, 3) with K `names` -> (F, J, 3) in the order of `target_names`, same dtype and unit.

    Raises ValueError if the map lacks a target or names a source that is not among `names`.
    """
    if joints.shape[1:] != (len(names), 3):
        raise ValueError(f"joints must be (F, {len(names)}, 3), got {joints.shape}")
    lacking = [target for target in target_names if target not in joint_map]
    if lacking:
        raise ValueError(f"the joint map has no entry for {_listed(lacking)}; it has {_listed(list(joint_map))}")
    index = {name: i for i, name in reversed(list(enumerate(names)))}
    unknown = sorted({source for target in target_names for source in joint_map[target] if source not in index})
    if unknown:
        raise ValueError(f"the joint map uses {_listed(unknown)}, which the clip lacks; it has {_listed(names)}")
    weights = np.zeros((len(target_names), len(names)))  # (J, K)
    for row, target in zip(weights, target_names, strict=True):
        for source, weight in joint_map[target].items():
            row[index[source]] = weight
    return np.einsum("jk,fkc->fjc", weights, joints).astype(joints.dtype)


def _listed(names: Sequence[str]) -> str:
    """The first 80 names with commas: an error stays one readable line."""
    return ", ".join(names[:80]) + (f" and {len(names) - 80} more" if len(names) > 80 else "")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
