"""Joints of a file -> the joints of a skeleton, by a map that is given, by name, or by a built-in map.

A map says for every target joint which joints of the file it is made of: {target: {source: weight}}, with weights that
sum to 1. Usually there is one source. If the file has fewer spine joints, a target is a point between two.

The built-in maps lead from common skeletons to the 22 joints of `humanml3d-22`. They compare names without a namespace:
"mixamorig:Hips", "Character1:Hips" and "Hips" are the same joint. What a file lacks is in `missing_joints.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, Skeleton
from motiongpt.data.missing_joints import FEET, can_be_placed, place_spine, place_toes
from motiongpt.data.raw import RawClip
from motiongpt.files.store import read_json

JointMap = dict[str, dict[str, float]]

_SIDES = (("left", "Left", "L", "l"), ("right", "Right", "R", "r"))


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

# Some targets are not where SMPL has its joint of that name. bandai-namco has fewer spine joints. cmu's Neck,
# LeftShoulder and RightShoulder are one point, the upper end of the thorax: that is spine3, the neck is Neck1, and a
# collar joint lies 35 % along its clavicle. asf has the same places, as the ends of its bones. kit-mmm
# has two spine joints and no collar joints; points between them come near SMPL's heights.
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
        _BIPED_CENTRE | {"spine1": "Spine", "spine2": "Spine1", "spine3": "Neck", "neck": "Neck1"}, _BIPED_LIMBS, 1
    )
    | {f"{side}_collar": {f"{Side}Shoulder": 0.65, f"{Side}Arm": 0.35} for side, Side, *_ in _SIDES},
    "asf": _both_sides(
        {
            "pelvis": "root", "spine1": "lowerback", "spine2": "upperback", "spine3": "thorax", "neck": "lowerneck",
            "head": "upperneck",
        },
        {
            "hip": "*hipjoint", "knee": "*femur", "ankle": "*tibia", "foot": "*foot", "collar": "thorax",
            "shoulder": "*clavicle", "elbow": "*humerus", "wrist": "*radius",
        },
        3,
    )
    | {f"{sides[0]}_collar": {"thorax": 0.65, f"{sides[3]}clavicle": 0.35} for sides in _SIDES},
    "bandai-namco": _both_sides(
        _BIPED_CENTRE | {"spine1": "Hips+Spine", "spine2": "Spine", "spine3": "Chest"},
        {
            "hip": "UpperLeg_*", "knee": "LowerLeg_*", "ankle": "Foot_*", "foot": "Toes_*", "collar": "Shoulder_*",
            "shoulder": "UpperArm_*", "elbow": "LowerArm_*", "wrist": "Hand_*",
        },
        2,
    ),
    "chest": _both_sides(
        _BIPED_CENTRE | {"spine1": "Chest", "spine2": "Chest2", "spine3": "Chest3"},
        {
            "hip": "*Hip", "knee": "*Knee", "ankle": "*Ankle", "foot": "*Toe", "collar": "*Collar",
            "shoulder": "*Shoulder", "elbow": "*Elbow", "wrist": "*Wrist",
        },
        1,
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


# The thorax by the two bones below it, U from Spine to Spine1 and L from LowerBack to Spine, because a spine bends
# evenly: T = 1.425 U - 0.417 L. Fitted on the ASF files of 21 subjects: 2.1 mm off in the mean, 5.1 mm at most.
_THORAX_OF = (1.425, -0.417)
_ON_THORAX = ("Neck", "LeftShoulder", "RightShoulder")


def missing_thorax(names: Sequence[str], parents: Sequence[int], positions: np.ndarray) -> np.ndarray | None:
    """What to add to the local positions (J, 3) of a CMU skeleton so that its thorax is back, or None if it is whole.

    In the CMU database's own ASF files Neck, LeftShoulder and RightShoulder (the beginnings of lowerneck, lclavicle and
    rclavicle) hang at the upper end of the thorax bone. cgspeed's BVH conversion leaves that bone out: the three lie in
    Spine1, which is its lower end, and the torso is about 11 cm short. The result is (J, 3), in the unit of
    `positions`: the bone for the three joints, zero for the others. Its length and direction follow from the two bones
    below it, to 2 mm in the mean; only an ASF has the true one. A skeleton whose thorax is there gets None, and the map
    `cmu` fits it as it is.
    """
    index = {_plain(name): i for i, name in reversed(list(enumerate(names)))}
    if not {"LowerBack", "Spine", "Spine1", *_ON_THORAX} <= set(index):
        return None
    spine, chest = index["Spine"], index["Spine1"]
    on_thorax = [index[name] for name in _ON_THORAX]
    upper, lower = positions[chest], positions[spine]
    is_chain = parents[spine] == index["LowerBack"] and parents[chest] == spine
    hang_low = all(parents[j] == chest for j in on_thorax)
    size = np.linalg.norm(upper)
    if not (is_chain and hang_low and size > 0) or np.abs(positions[on_thorax]).max() > 1e-3 * size:
        return None
    added = np.zeros_like(positions)
    added[on_thorax] = _THORAX_OF[0] * upper + _THORAX_OF[1] * lower
    return added


def _plain(name: str) -> str:
    """A name without its namespace (up to the last colon) and without the prefix in SMPL's own FBX files."""
    return name.rsplit(":", 1)[-1].removeprefix("m_avg_").removeprefix("f_avg_")


def to_skeleton(
    clip: RawClip, skeleton: Skeleton, joint_map: JointMap | None = None, say: Callable[[str], None] = lambda line: None
) -> np.ndarray:
    """The joints (F, J, 3) of a clip in the skeleton's order: by the map, else by name, else by a built-in map.

    `say` is called with what was placed by proportion because the clip lacks it. Raises ValueError naming the joints
    that are there if none of these fits.
    """
    if joint_map:
        return apply_map(clip.joints, clip.names, joint_map, skeleton.joints)
    if set(skeleton.joints) <= set(clip.names):
        return clip.joints[:, [clip.names.index(name) for name in skeleton.joints]]
    if skeleton.joints == HUMANML3D.joints:
        return _by_built_in_map(clip, say)
    lacking = [name for name in skeleton.joints if name not in clip.names]
    raise ValueError(
        f"the clip has no joint {', '.join(lacking[:5])} of skeleton {skeleton.name}; it has {', '.join(clip.names)}; "
        "give --joint-map FILE.json, or another --skeleton"
    )


def _by_built_in_map(clip: RawClip, say: Callable[[str], None]) -> np.ndarray:
    """The 22 joints of a clip that a built-in map fits, the missing ones by proportion."""
    map_name, partial_map = match_map(clip.names)
    joint_map = place_spine(partial_map)
    placed = [target for target in HUMANML3D.joints if target not in partial_map]
    if placed:
        say(f"joint map: {map_name}; placed by proportion, for the file lacks them: {', '.join(placed)}")
    known = [target for target in HUMANML3D.joints if target in joint_map]
    joints = np.zeros((len(clip.joints), len(HUMANML3D.joints), 3), clip.joints.dtype)
    joints[:, [HUMANML3D.joints.index(target) for target in known]] = apply_map(
        clip.joints, clip.names, joint_map, known
    )
    for foot in FEET:
        if foot not in joint_map:
            side = foot.removesuffix("_foot")
            tip = f"{next(iter(joint_map[f'{side}_ankle']))}_end"
            at = clip.joints[:, clip.names.index(tip)] if tip in clip.names else None
            joints[:, HUMANML3D.joints.index(foot)] = place_toes(joints, side, at)
    return joints


def ankles_without_toes(names: Sequence[str]) -> list[str]:
    """Those of `names` that are ankles of a skeleton without toes, whose tips (NAME_end) say where the toes are."""
    try:
        _, joint_map = match_map(names)
    except ValueError:
        return []
    return [next(iter(joint_map[foot.replace("foot", "ankle")])) for foot in FEET if foot not in joint_map]


def match_map(names: Sequence[str]) -> tuple[str, JointMap]:
    """The first built-in map whose sources are all among `names`: its name, and the map in the spelling of `names`.

    If none fits, case and a prefix that the joints share are ignored (mixamorig1_Hips is Hips). If still none fits, a
    map may lack toes and spine joints (`missing_joints.py`): its entries for them are left out.

    Raises ValueError naming the joints that are there, and those that the closest map misses.
    """
    exact = {_plain(name): name for name in reversed(names)}  # if two are equal, the first counts
    tries = [(map_name, _sources_in(exact, joint_map)) for map_name, joint_map in MAPS.items()]
    tries += [(map_name, _sources_like(names, joint_map)) for map_name, joint_map in MAPS.items()]
    closest: tuple[str, list[str]] | None = None
    for map_name, spelling in sorted(tries, key=lambda t: len(_missing(MAPS[t[0]], t[1]))):  # stable: the first counts
        missing = _missing(MAPS[map_name], spelling)
        closest = closest or (map_name, missing)
        found = {
            target: {spelling[source]: weight for source, weight in parts.items()}
            for target, parts in MAPS[map_name].items()
            if not any(source in missing for source in parts)
        }
        if can_be_placed([target for target in MAPS[map_name] if target not in found]):
            return map_name, found
    raise ValueError(
        f"no built-in joint map ({', '.join(MAPS)}) fits these joints: {_listed(names)}; the closest, {closest[0]}, "
        f"misses {_listed(closest[1])}; write one and give it with --joint-map FILE.json"
    )


def _sources(joint_map: JointMap) -> list[str]:
    return list(dict.fromkeys(source for parts in joint_map.values() for source in parts))


def _missing(joint_map: JointMap, spelling: Mapping[str, str]) -> list[str]:
    return [source for source in _sources(joint_map) if source not in spelling]


def _sources_in(spelling: Mapping[str, str], joint_map: JointMap) -> dict[str, str]:
    """Source -> name of the file, for the sources that are there."""
    return {source: spelling[source] for source in _sources(joint_map) if source in spelling}


def _sources_like(names: Sequence[str], joint_map: JointMap) -> dict[str, str]:
    """As `_sources_in`, without case, and with the prefix under which most sources are there.

    A prefix is what stands before the name of the pelvis: "mixamorig" of "mixamorigHips".
    """
    folded = {_plain(name).casefold(): name for name in reversed(names)}
    pelvis = next(iter(joint_map["pelvis"])).casefold()
    prefixes = [name.removesuffix(pelvis) for name in folded if name.endswith(pelvis)]
    found = [
        {source: folded[prefix + source.casefold()] for source in _sources(joint_map)
         if prefix + source.casefold() in folded}
        for prefix in prefixes
    ]  # fmt: skip
    return max(found, key=len, default={})


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
