"""Characters from files: bones found by their names, and motions that fit their proportions, axes and units."""

import json
import struct

import numpy as np
import pytest
from cases import for_each
from test_rigs_files import MILLIMETRE, played
from test_rigs_solve import FPS, clip, turn_angles

from motiongpt.body.limbs import unit
from motiongpt.body.skeletons import HUMANML3D, SIDES
from motiongpt.data.readers import bvh
from motiongpt.rigs import animate, get_rig, load_rig, write_bvh, write_glb
from motiongpt.rigs.bone_names import sided
from motiongpt.rigs.gltf import Document, read_document
from motiongpt.rigs.turns import about

PARTS = "hip knee ankle foot collar shoulder elbow wrist".split()
TRUNK = "pelvis spine1 spine2 spine3 neck head".split()
# a family: bones of the trunk, bones of a limb with * for the side, both sides
FAMILIES = {
    "mixamo": (" ".join(f"mixamorig:{part}" for part in "Hips Spine Spine1 Spine2 Neck Head".split()), " ".join(
        f"mixamorig:*{part}" for part in "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand".split()), "Left Right"),
    "mixamo in fbx": ("mixamorig1_Hips mixamorig1_Spine a b mixamorig1_Neck mixamorig1_Head", " ".join(
        f"mixamorig1_*{part}" for part in "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand".split()), "Left Right"),
    "unreal": ("pelvis spine_01 spine_02 spine_03 neck_01 head",
               "thigh_* calf_* foot_* ball_* clavicle_* upperarm_* lowerarm_* hand_*", "l r"),
    "vroid": ("J_Bip_C_Hips J_Bip_C_Spine J_Bip_C_Chest J_Bip_C_UpperChest J_Bip_C_Neck J_Bip_C_Head", " ".join(
        f"J_Bip_*_{p}" for p in "UpperLeg LowerLeg Foot ToeBase Shoulder UpperArm LowerArm Hand".split()), "L R"),
    "vrm": ("hips spine chest upperChest neck head",
            "*UpperLeg *LowerLeg *Foot *Toes *Shoulder *UpperArm *LowerArm *Hand", "left right"),
    "asf": ("root lowerback upperback thorax lowerneck head",
            "*femur *tibia *foot *toes *clavicle *humerus *radius *hand", "l r"),
    "rigify": ("DEF-spine DEF-spine.001 DEF-spine.002 DEF-spine.003 DEF-spine.004 DEF-spine.006", " ".join(
        f"DEF-{p}.*" for p in "thigh shin foot toe shoulder upper_arm forearm hand".split()), "L R"),
    "biped": ("Bip01_Pelvis Bip01_Spine Bip01_Spine1 Bip01_Spine2 Bip01_Neck Bip01_Head", " ".join(
        f"Bip01_*_{p}" for p in "Thigh Calf Foot Toe0 Clavicle UpperArm Forearm Hand".split()), "L R"),
    "smpl": ("Pelvis Spine1 Spine2 Spine3 Neck Head", "*_Hip *_Knee *_Ankle *_Foot *_Collar *_Shoulder *_Elbow *_Wrist",
             "L R"),
    "ours": ("pelvis spine1 spine2 spine3 neck head",
             "*_hip *_knee *_ankle *_foot *_collar *_shoulder *_elbow *_wrist", "left right"),
    "vrchat": ("Hips Spine Chest UpperChest Neck Head",
               "*_leg *_knee *_ankle *_toe *_shoulder *_arm *_elbow *_wrist", "Left Right"),
    "character creator": ("CC_Base_Hip CC_Base_Waist CC_Base_Spine01 CC_Base_Spine02 CC_Base_NeckTwist01 CC_Base_Head",
        " ".join(f"CC_Base_*_{p}" for p in "Thigh Calf Foot ToeBase Clavicle Upperarm Forearm Hand".split()), "L R"),
    "bandai": ("Hips Spine Chest Chest1 Neck Head",
               "UpperLeg_* LowerLeg_* Foot_* Toes_* Shoulder_* UpperArm_* LowerArm_* Hand_*", "L R"),
}  # fmt: skip


def body(family="mixamo", shape=None, fingers=False):
    """Names, parents and a T-pose (B, 3) in metres of a character; `shape` scales the bones of parts."""
    trunk, limbs, sides = (words.split() for words in FAMILIES[family])
    names = dict(zip(TRUNK, trunk, strict=True))
    for side, theirs in zip(SIDES, sides, strict=True):
        names |= {f"{side}_{part}": name.replace("*", theirs) for part, name in zip(PARTS, limbs, strict=True)}
    own = get_rig("own")
    parents, rest = list(HUMANML3D.parents), own.rest.copy()
    for j, parent in enumerate(parents[1:], 1):
        part = HUMANML3D.joints[j].split("_")[-1]
        rest[j] = rest[parent] + (shape or {}).get(part, 1.0) * (own.rest[j] - own.rest[parent])
    names = [names[joint] for joint in HUMANML3D.joints]
    if fingers:
        names += ["LeftHandIndex1", "Prop"]
        parents += [20, -1]
        rest = np.concatenate((rest, rest[[20]] + [0.1, 0, 0], [[1.0, 0, 0]]))
    rest[:, 1] -= rest[:, 1].min() - 0.02  # soles of 2 cm
    return names, parents, rest


def bvh_file(path, names, parents, rest, motion="MOTION\nFrames: 1\nFrame Time: 0.05\n", channels=None, axes=None):
    """A BVH of a rest pose, written here; `axes` (B, 3, 3) are rotations that its first frame undoes."""

    def block(b, depth):
        tab = "  " * depth
        parent = parents[b]
        turn = axes[parent].T if axes is not None and parent >= 0 else np.eye(3)
        offset = turn @ (rest[b] - (rest[parent] if parent >= 0 else 0))
        numbers = " ".join(repr(float(x)) for x in offset)
        count = "3" if depth else "6 Xposition Yposition Zposition"
        text = f"{tab}{'JOINT' if depth else 'ROOT'} {names[b]}\n{tab}{{\n{tab}OFFSET {numbers}\n"
        text += f"{tab}CHANNELS {count} {channels or 'Zrotation Yrotation Xrotation'}\n"
        order.append(b)
        below = [c for c, other in enumerate(parents) if other == b]
        text += "".join(block(c, depth + 1) for c in below)
        text += "" if below else f"{tab}End Site\n{tab}{{\n{tab}OFFSET 0 0.01 0\n{tab}}}\n"
        return f"{text}{tab}}}\n"

    order = []
    text = "HIERARCHY\n" + block(0, 0)
    path.write_text(text + motion + " ".join(["0"] * (3 + 3 * len(order))) + "\n", encoding="utf-8")
    return path


def glb_file(path, names, parents, rest, axes, scale=1.0, turn=None, extensions=None, rename=None):
    """A GLB with an armature node above all bones, bone axes of their own, a skin and an animation named old."""
    turn = np.eye(3) if turn is None else turn
    document = Document()
    world = [np.linalg.inv(turn) @ axes[b] for b in range(len(names))]  # seen from the armature
    places = (rest @ turn) / scale
    for b, name in enumerate(names):
        above = world[parents[b]] if parents[b] >= 0 else np.eye(3)
        local = np.eye(4)
        local[:3, :3] = above.T @ world[b]
        local[:3, 3] = above.T @ (places[b] - (places[parents[b]] if parents[b] >= 0 else 0))
        children = [c for c, other in enumerate(parents) if other == b]
        node = {"name": (rename or {}).get(name, name), "matrix": local.T.ravel().tolist()}
        document.add("nodes", node | ({"children": children} if children else {}))
    roots = [b for b, parent in enumerate(parents) if parent < 0]
    armature = np.eye(4)
    armature[:3, :3] = scale * turn
    top = document.add("nodes", {"name": "Armature", "matrix": armature.T.ravel().tolist(), "children": roots})
    document.json |= {"scene": 0, "scenes": [{"nodes": [top]}]}
    document.add("skins", {"joints": list(range(len(names)))})
    times = document.accessor(np.zeros(1, np.float32), bounds=True)
    still = document.accessor(np.array([[0, 0, 0, 1]], np.float32))
    document.add("animations", {"name": "old", "samplers": [{"input": times, "output": still}],
                                "channels": [{"sampler": 0, "target": {"node": top, "path": "rotation"}}]})  # fmt: skip
    document.json |= extensions or {}
    return document.write(path)


# 1) Names.


@for_each("family", FAMILIES)
def test_bones_are_found_by_the_names_of(tmp_path, family):
    names, parents, rest = body(family)
    rig = load_rig(bvh_file(tmp_path / "a.bvh", names, parents, rest))
    found = {part: rig.names[bone] for part, bone in rig.anatomy.parts.items()}
    wanted = dict(zip(HUMANML3D.joints, names, strict=True))
    assert found == {part: name for part, name in wanted.items() if part not in TRUNK[1:5]}
    assert [rig.names[b] for b in (*rig.anatomy.spine, *rig.anatomy.neck)] == [wanted[part] for part in TRUNK[1:5]]
    assert rig.notes == ()


@for_each("name, side, word", [
    ("mixamorig:LeftUpLeg", "left", "upleg"), ("Bip01 L Thigh", "left", "thigh"), ("thigh_r", "right", "thigh"),
    ("DEF-upper_arm.L", "left", "upperarm"), ("lfemur", "left", "femur"), ("J_Bip_R_LowerLeg", "right", "lowerleg"),
    ("LeftHandIndex1", "left", "handindex1"), ("Root|Hips", "", "hips"), ("rightUpperLeg", "right", "upperleg"),
    ("Leg", "", "leg"), ("左足", "", ""),
])  # fmt: skip
def test_a_name_says_its_side(name, side, word):
    assert sided(name) == (side, word)


def test_what_is_not_matched_is_listed(tmp_path):
    names, parents, rest = body(fingers=True)
    names[7] = "LeftFlipper"  # an ankle under another name
    with pytest.raises(ValueError, match=r"a\.bvh: no bones named like a left and a right ankle.*LeftFlipper"):
        load_rig(bvh_file(tmp_path / "a.bvh", names[:-1], parents[:-1], rest[:-1]))
    names, parents, rest = body(fingers=True)
    names[13] = "LeftFin"  # a collar
    notes = " ".join(load_rig(bvh_file(tmp_path / "a.bvh", names[:-1], parents[:-1], rest[:-1])).notes)
    assert "no bone found for left_collar, right_collar" in notes and "LeftHandIndex1" in notes


# 2) Motions on other proportions.

SHAPE = {"knee": 0.8, "ankle": 1.1, "foot": 1.4, "hip": 1.6, "elbow": 1.3, "wrist": 0.9, "spine2": 1.5, "collar": 1.2}


@for_each("action", ["walk_forward", "kick_left", "wave_both", "squat"])
def test_a_body_of_other_proportions(tmp_path, action):
    """Arms point as the clip's exactly. Legs do within 20 degrees: thighs are shorter, shins longer, hips wider, and
    feet on the floor keep their place. Toes of feet that are 40 % longer do not go through the floor."""
    joints = clip(action)
    names, parents, rest = body("unreal", SHAPE)
    rig = load_rig(bvh_file(tmp_path / "a.bvh", names, parents, 100 * rest))
    animation = animate(joints, HUMANML3D, FPS, rig).upright()
    places, parts = animation.joints, animation.rig.anatomy.parts

    def angle(start, end):
        ours = joints[:, HUMANML3D.index(end)] - joints[:, HUMANML3D.index(start)]
        cosine = (unit(ours) * unit(places[:, parts[end]] - places[:, parts[start]])).sum(-1)
        return np.degrees(np.arccos(np.clip(cosine, -1, 1))).max()

    scale = rig.anatomy.leg(rig.rest) / 100 / get_rig("own").anatomy.leg(get_rig("own").rest)
    for side in SIDES:
        assert angle(f"{side}_shoulder", f"{side}_elbow") < 0.01 and angle(f"{side}_elbow", f"{side}_wrist") < 0.01
        assert angle(f"{side}_hip", f"{side}_knee") < 20 and angle(f"{side}_knee", f"{side}_ankle") < 20
        ankle = joints[:, HUMANML3D.index(f"{side}_ankle")]
        off = (places[:, parts[f"{side}_ankle"]] - scale * ankle)[ankle[:, 1] < 0.09]
        assert np.abs(off[:, [0, 2]]).max() < 5 * MILLIMETRE
        assert places[:, parts[f"{side}_foot"], 1].min() > -MILLIMETRE
    sizes = np.linalg.norm(places[:, 1:] - places[:, list(animation.rig.parents[1:])], axis=-1)
    assert np.ptp(sizes, axis=0).max() < 1e-6  # no bone stretches


def test_a_foot_that_stands_in_the_clip_stands_on_the_rig(tmp_path):
    joints = clip("walk_forward")
    names, parents, rest = body("mixamo", {"knee": 0.7, "hip": 1.3})
    animation = animate(joints, HUMANML3D, FPS, load_rig(bvh_file(tmp_path / "a.bvh", names, parents, rest)))
    for side in SIDES:
        ankle = joints[:, HUMANML3D.index(f"{side}_ankle")]
        stands = np.linalg.norm(np.diff(ankle, axis=0), axis=-1) < MILLIMETRE
        step = np.linalg.norm(
            np.diff(animation.joints[:, animation.rig.anatomy.parts[f"{side}_ankle"]], axis=0), axis=-1
        )
        assert stands.sum() > 5 and step[stands].max() < 2 * MILLIMETRE


def test_the_clips_own_body_gets_the_clip(tmp_path):
    """A character with the clip's proportions: legs are where they were; the trunk, whose joints move a little
    against each other in this clip, is within 2 cm."""
    joints = clip("walk_forward")
    names, parents, rest = body()
    rest[:, 1] -= 0.02  # no soles
    animation = animate(joints, HUMANML3D, FPS, load_rig(bvh_file(tmp_path / "a.bvh", names, parents, rest)))
    order = [animation.rig.names.index(name) for name in names]
    off = np.linalg.norm(animation.joints[:, order] - joints, axis=-1).max(0)
    assert off[[7, 8, 10, 11]].max() < 5 * MILLIMETRE and off.max() < 0.02


def test_an_a_pose_and_a_t_pose_get_the_same_arms(tmp_path):
    joints = clip("wave_both")
    names, parents, rest = body("unreal")
    low = rest.copy()
    for i, side in enumerate(SIDES):
        start, *arm = (HUMANML3D.index(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist"))
        turn = about(np.array([0, 0, 1.0]), np.radians(-50 if i == 0 else 50))
        low[arm] = low[start] + (rest[arm] - rest[start]) @ turn.T
    shown = []
    for number, pose in enumerate((rest, low)):
        rig = load_rig(bvh_file(tmp_path / f"{number}.bvh", names, parents, pose))
        shown.append(animate(joints, HUMANML3D, FPS, rig).joints)
    assert np.abs(shown[0] - shown[1]).max() < 1e-6


# 3) Axes, units and what a file is made of.

TURNS = {
    "z up": about(np.array([1.0, 0, 0]), np.pi / 2), "facing -z": about(np.array([0, 1.0, 0]), np.pi),
    "facing x, z up": about(np.array([0, 1.0, 0]), np.pi / 2) @ about(np.array([0, 0, 1.0]), np.pi / 2),
}  # fmt: skip


@for_each("turn", TURNS.values())
def test_a_file_with_other_axes_is_the_same_turned(tmp_path, turn):
    joints = clip("kick_left")
    names, parents, rest = body("bandai")
    straight = animate(joints, HUMANML3D, FPS, load_rig(bvh_file(tmp_path / "a.bvh", names, parents, rest)))
    turned = load_rig(bvh_file(tmp_path / "b.bvh", names, parents, 100 * rest @ turn.T))
    assert np.allclose(turned.facing @ turn, np.eye(3), atol=1e-6) and turned.metres_per_unit == 0.01
    animation = animate(joints, HUMANML3D, FPS, turned)
    assert np.abs(animation.joints @ turn / 100 - straight.joints).max() < 1e-6
    assert np.abs(animation.upright().joints - straight.upright().joints).max() < 1e-6


@for_each(
    "channels", ["Zrotation Yrotation Xrotation", "Yrotation Xrotation Zrotation", "Xrotation Zrotation Yrotation"]
)
def test_a_bvh_on_a_bvh_keeps_names_offsets_and_order(tmp_path, channels):
    names, parents, rest = body("biped", SHAPE)
    names = [name.replace("_", " ") for name in names]  # as 3ds Max writes them
    source = bvh_file(tmp_path / "rig.bvh", names, parents, 100 * rest, channels=channels)
    path = write_bvh(tmp_path / "a.bvh", clip("kick_left"), HUMANML3D, FPS, rig=source)
    was, now = bvh.parse(source), bvh.parse(path)
    assert now.names == was.names and now.channels == was.channels and now.parents == was.parents
    assert np.abs(now.offsets - was.offsets).max() < 1e-5
    file, animation = bvh.read(path, unit=0.01, up="y"), animate(clip("kick_left"), HUMANML3D, FPS, source)
    order = [file.names.index(name) for name in animation.rig.names]
    assert np.abs(file.joints[:, order] - 0.01 * animation.joints).max() < 0.02 * MILLIMETRE


def test_a_bvh_whose_zero_pose_is_no_pose_uses_its_first_frame(tmp_path):
    """Some files have all offsets along one axis, and only their frames stand."""
    names, parents, rest = body("mixamo")
    order, axes, lines = [], np.empty((22, 3, 3)), []
    rng = np.random.default_rng(0)
    angles = rng.uniform(-60, 60, (22, 3))
    angles[0] = 90, 0, 0
    for b in range(22):
        z, y, x = np.radians(angles[b])
        own = about(np.eye(3)[2], z) @ about(np.eye(3)[1], y) @ about(np.eye(3)[0], x)
        axes[b] = own if parents[b] < 0 else axes[parents[b]] @ own
    path = bvh_file(tmp_path / "a.bvh", names, parents, rest, axes=axes)
    for line in path.read_text().splitlines():
        order += [names.index(line.split()[1])] if line.split()[0] in ("ROOT", "JOINT") else []
        lines.append(line)
    lines[-1] = " ".join(map(str, [0, 0, 0, *angles[order].ravel()]))
    path.write_text("\n".join(lines) + "\n")
    rig = load_rig(path)
    by_name = [rig.names.index(name) for name in names]
    assert np.abs(rig.rest[by_name] - rest).max() < 1e-6
    out = write_bvh(tmp_path / "b.bvh", clip("kick_left"), HUMANML3D, FPS, rig=path)
    assert np.abs(bvh.parse(out).offsets - bvh.parse(path).offsets).max() < 1e-5
    animation, file = animate(clip("kick_left"), HUMANML3D, FPS, rig), bvh.read(out, unit=1.0, up="y")
    order = [file.names.index(name) for name in rig.names]
    assert np.abs(file.joints[:, order] - animation.joints).max() < 0.02 * MILLIMETRE


@for_each("scale, turn", [(1.0, np.eye(3)), (0.01, TURNS["z up"].T), (0.01, TURNS["facing -z"])])
def test_a_motion_on_a_characters_glb(tmp_path, scale, turn):
    """Armature of another scale and axes, bone axes at random, matrices for nodes: the file plays what `animate` says,
    with skin and former animation in place; fingers stay on the hand, and a prop beside the body does not move."""
    names, parents, rest = body("mixamo", SHAPE, fingers=True)
    rng = np.random.default_rng(0)
    axes = about(unit(rng.normal(size=(len(names), 3))), rng.uniform(0, 3, len(names)))
    source = glb_file(tmp_path / "rig.glb", names, parents, rest, axes, scale, turn)
    joints = clip("kick_left")
    animation = animate(joints, HUMANML3D, FPS, source)
    path = write_glb(tmp_path / "a.glb", joints, HUMANML3D, FPS, rig=source, text="kick")
    shown, above, still, places, turns = played(path)
    before, after = read_document(source).json, read_document(path).json
    assert after["skins"] == before["skins"] and [a["name"] for a in after["animations"]] == ["kick", "old"]
    for name, place in zip(animation.rig.names, np.moveaxis(animation.joints, 1, 0), strict=True):
        assert np.abs(places[:, shown.index(name)] - place).max() < 0.02 * MILLIMETRE
    assert np.abs(still[:24] - rest).max() < 0.02 * MILLIMETRE  # its rest pose is as it was
    finger, hand, prop = shown.index("LeftHandIndex1"), shown.index("mixamorig:LeftHand"), shown.index("Prop")
    assert np.ptp(places[:, prop], axis=0).max() < 1e-6
    turn = [turns[:, b] / np.cbrt(np.linalg.det(turns[:, b]))[:, None, None] for b in (hand, finger)]
    held = np.swapaxes(turn[0], -1, -2) @ turn[1]
    assert turn_angles(held[:1].swapaxes(-1, -2) @ held).max() < 0.1


@for_each("version", ["1.0", "0.x"])
def test_a_vrm_says_itself_what_its_bones_are(tmp_path, version):
    names, parents, rest = body("vrm")
    rename = {name: f"bone{number}" for number, name in enumerate(names)}
    human = {name: number for number, name in enumerate(names)}
    if version == "1.0":
        value = {"VRMC_vrm": {"humanoid": {"humanBones": {name: {"node": node} for name, node in human.items()}}}}
    else:
        value = {"VRM": {"humanoid": {"humanBones": [{"bone": name, "node": node} for name, node in human.items()]}}}
    axes = np.repeat(np.eye(3)[None], 22, axis=0)
    path = tmp_path / "me.vrm"
    glb_file(path, names, parents, rest, axes, rename=rename, extensions={"extensions": value})
    rig = load_rig(path)
    found = {part: rig.names[bone] for part, bone in rig.anatomy.parts.items()}
    wanted = dict(zip(HUMANML3D.joints, rename.values(), strict=True))
    assert found == {part: name for part, name in wanted.items() if part not in TRUNK[1:5]}
    # a BVH of it: bones in a tree, zero angles are its rest pose
    file = bvh.read(write_bvh(tmp_path / "a.bvh", clip("kick_left"), HUMANML3D, FPS, rig=path), unit=1.0, up="y")
    animation = animate(clip("kick_left"), HUMANML3D, FPS, rig)
    order = [file.names.index(name) for name in animation.rig.names if name in file.names]
    kept = [b for b, name in enumerate(animation.rig.names) if name in file.names]
    assert len(kept) >= 22 and np.abs(file.joints[:, order] - animation.joints[:, kept]).max() < 0.02 * MILLIMETRE


# 4) Files that are broken.


def test_broken_files_get_a_message(tmp_path):
    names, parents, rest = body()
    axes = np.repeat(np.eye(3)[None], 22, axis=0)
    good = {
        ".bvh": bvh_file(tmp_path / "good.bvh", names, parents, rest).read_bytes(),
        ".glb": glb_file(tmp_path / "good.glb", names, parents, rest, axes).read_bytes(),
    }
    rng = np.random.default_rng(0)
    for suffix, content in good.items():
        path = tmp_path / f"bad{suffix}"
        cuts = [content[:n] for n in (0, 3, 11, 19, 60, len(content) // 2)]
        for _ in range(60):
            spoilt = bytearray(content)
            for at in rng.integers(0, len(content), 6):
                spoilt[at] = rng.integers(256)
            cuts.append(bytes(spoilt))
        for cut in cuts:
            path.write_bytes(cut)
            try:
                rig = load_rig(path)
                write_glb(tmp_path / "out.glb", clip("kick_left")[:1], HUMANML3D, FPS, rig=rig)
            except ValueError as error:
                assert path.name in str(error) and len(str(error)) < 2000
    with pytest.raises(FileNotFoundError, match="none"):
        load_rig(tmp_path / "none.glb")
    with pytest.raises(ValueError, match="export the character as one of them"):
        load_rig(tmp_path / "me.fbx")


@for_each("change, word", [
    (lambda d: d.update(nodes=[]), "nodes"), (lambda d: d["nodes"][5].update(children=[0]), "ancestor|two parents"),
    (lambda d: d["nodes"][3].update(matrix=[0.0] * 16), "node 3"),
    (lambda d: d["nodes"][3].update(children="x"), "node 3"), (lambda d: d.update(skins=[{"joints": [99]}]), "skins"),
    (lambda d: d.update(skins=[{"joints": [-1, 3]}]), "skins"), (lambda d: d.update(animations={}), "animations"),
    (lambda d: d.update(accessors=[3]), "accessors"), (lambda d: d.update(buffers=[{"uri": "a.bin"}]), "other files"),
    (lambda d: d["nodes"][4].update(matrix=np.diag([-1.0, 1, 1, 1]).ravel().tolist()), "mirrored"),
])  # fmt: skip
def test_a_broken_document_is_named(tmp_path, change, word):
    names, parents, rest = body()
    path = glb_file(tmp_path / "me.glb", names, parents, rest, np.repeat(np.eye(3)[None], 22, axis=0))
    content = path.read_bytes()
    size = struct.unpack_from("<I", content, 12)[0]
    document = json.loads(content[20 : 20 + size])
    change(document)
    Document(document, content[28 + size :]).write(path)
    if word == "other files":  # `write` gives the buffer its length and keeps its uri
        assert "uri" in read_document(path).json["buffers"][0]
    with pytest.raises(ValueError, match=rf"me\.glb.*({word})"):
        write_glb(tmp_path / "a.glb", clip("kick_left")[:1], HUMANML3D, FPS, rig=load_rig(path))


def test_a_rest_pose_that_does_not_stand_is_refused(tmp_path):
    names, parents, rest = body()
    rest[[4, 7, 10]] = rest[1] + np.array([[0, 0.4, 0], [0, 0.8, 0], [0, 0.8, 0.1]])  # one leg up
    with pytest.raises(ValueError, match="does not stand upright"):
        load_rig(bvh_file(tmp_path / "a.bvh", names, parents, rest))
