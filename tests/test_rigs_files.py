"""Exports re-read: by our own reader, by bvhio and pygltflib, and by a small glTF player written here."""

import csv
import json
import os
import re

import numpy as np
import pytest
from cases import for_each
from test_rigs_solve import FPS, T_POSE, clip, kit_clip, turn_angles

from motiongpt.body.skeletons import HUMANML3D, KIT, Skeleton
from motiongpt.data.readers import bvh
from motiongpt.rigs import RIGS, animate, get_rig, write_bvh, write_csv, write_glb, write_vrma
from motiongpt.rigs.bvh import bvh_text

WRITERS = {"bvh": write_bvh, "glb": write_glb, "csv": write_csv, "vrma": write_vrma}
MILLIMETRE = 0.001


def played(path):
    """What a .glb or .vrma file shows: names and parents of its nodes, their rest places (N, 3), places (F, N, 3) and
    rotations (F, N, 3, 3) in the world. A player of its own, by the specification, over pygltflib's structures.
    """
    pygltflib = pytest.importorskip("pygltflib", reason="the oracle for glTF files; pip install pygltflib")
    gltf = pygltflib.GLTF2.load_binary(str(path))
    blob = gltf.binary_blob()
    widths = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}

    def values(number):
        accessor = gltf.accessors[number]
        view = gltf.bufferViews[accessor.bufferView]
        width = widths[accessor.type]
        start = view.byteOffset + (accessor.byteOffset or 0)
        return np.frombuffer(blob, np.float32, accessor.count * width, start).reshape(-1, width).astype(np.float64)

    tracks = {}
    for channel in gltf.animations[0].channels:
        sampler = gltf.animations[0].samplers[channel.sampler]
        tracks[channel.target.node, channel.target.path] = values(sampler.output)
    F, N = max(map(len, tracks.values())), len(gltf.nodes)
    parents = [-1] * N
    for i, node in enumerate(gltf.nodes):
        for child in node.children or []:
            parents[child] = i

    def chain(moving):
        count = F if moving else 1
        world = {}

        def place(i):
            if i not in world:
                node = gltf.nodes[i]
                local = np.tile(np.eye(4), (count, 1, 1))
                if node.matrix:
                    local[:] = np.array(node.matrix).reshape(4, 4).T
                else:
                    track = tracks if moving else {}
                    x, y, z, w = track.get((i, "rotation"), np.array([node.rotation or [0, 0, 0, 1]], float)).T
                    local[:, :3, :3] = np.moveaxis(np.array([
                        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
                    ]), -1, 0) * np.array(node.scale or [1, 1, 1])  # fmt: skip
                    local[:, :3, 3] = track.get((i, "translation"), np.array([node.translation or [0, 0, 0]], float))
                world[i] = place(parents[i]) @ local if parents[i] >= 0 else local
            return world[i]

        return np.stack([place(i) for i in range(N)], axis=1)

    moved = chain(True)
    names = [node.name for node in gltf.nodes]
    return names, parents, chain(False)[0, :, :3, 3], moved[..., :3, 3], moved[..., :3, :3]


def picked(places, names, wanted):
    return places[:, [names.index(name) for name in wanted]]


# 1) Re-read joints.


@for_each("action", ["walk_forward", "wave_both", "kick_left"])
def test_own_joints_come_back(tmp_path, action):
    """BVH (six decimals) and GLB (float32): far below the millimetre that is promised."""
    joints = clip(action)[::2]
    file = bvh.read(write_bvh(tmp_path / "a.bvh", joints, HUMANML3D, FPS))
    assert file.fps == FPS
    assert np.abs(picked(file.joints, file.names, HUMANML3D.joints) - joints).max() < 0.02 * MILLIMETRE
    names, _, _, places, _ = played(write_glb(tmp_path / "a.glb", joints, HUMANML3D, FPS))
    assert np.abs(picked(places, names, HUMANML3D.joints) - joints).max() < 0.02 * MILLIMETRE


def test_bvhio_reads_the_same_joints(tmp_path):
    bvhio = pytest.importorskip("bvhio", reason="an independent BVH reader; pip install bvhio")
    joints = clip("wave_both")[:12]
    root = bvhio.readAsHierarchy(str(write_bvh(tmp_path / "a.bvh", joints, HUMANML3D, FPS)))
    for frame in range(len(joints)):
        root.loadPose(frame)
        for joint, _, _ in root.layout():
            if joint.Name in HUMANML3D.joints:
                place = np.array([*joint.PositionWorld])
                assert np.abs(place - joints[frame, HUMANML3D.index(joint.Name)]).max() < 0.1 * MILLIMETRE  # float32


@for_each("rig", RIGS)
def test_every_rig_says_the_same_in_every_format(tmp_path, rig):
    """BVH, GLB and CSV of a rig hold the places that `animate` has; BVH in the rig's unit."""
    joints = clip("walk_forward")[20:32]
    animation = animate(joints, HUMANML3D, FPS, rig)
    metres = animation.upright().joints
    names = animation.rig.names
    path = write_bvh(tmp_path / "a.bvh", joints, HUMANML3D, FPS, rig=rig)
    file = bvh.read(path, unit=animation.rig.metres_per_unit, up="y")
    assert np.abs(picked(file.joints, file.names, names) - metres).max() < 0.02 * MILLIMETRE
    shown, parents, _, places, _ = played(write_glb(tmp_path / "a.glb", joints, HUMANML3D, FPS, rig=rig))
    assert np.abs(picked(places, shown, names) - metres).max() < 0.02 * MILLIMETRE
    assert [shown[parents[shown.index(name)]] for name, above in zip(names, animation.rig.parents, strict=True)
            if above >= 0] == [names[above] for above in animation.rig.parents if above >= 0]  # fmt: skip
    if rig != "own":
        _, columns = read_csv(write_csv(tmp_path / "a.csv", joints, HUMANML3D, FPS, rig=rig))
        assert np.abs(columns - metres).max() < 1e-6


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    values = np.array(rows, dtype=np.float64)
    return header, values[:, 1:].reshape(len(rows), -1, 3)


def test_csv_comes_back_exactly(tmp_path):
    joints = clip("walk_forward").astype(np.float32)
    header, columns = read_csv(write_csv(tmp_path / "a.csv", joints, HUMANML3D, 12.5))
    assert header[:4] == ["time", "pelvis_x", "pelvis_y", "pelvis_z"] and len(header) == 67
    assert (columns.astype(np.float32) == joints).all()
    _, kit = read_csv(write_csv(tmp_path / "kit.csv", kit_clip(), KIT, 12.5))
    assert np.allclose(kit, kit_clip(), atol=1e-6)  # in metres


# 2) What a file looks like.


def test_the_hierarchy_of_a_bvh(tmp_path):
    joints = np.repeat(T_POSE[None], 2, axis=0)
    lines = write_bvh(tmp_path / "a.bvh", joints, HUMANML3D, FPS).read_text().splitlines()
    assert lines[:4] == ["HIERARCHY", "ROOT pelvis", "{", f"\tOFFSET 0.000000 {T_POSE[0, 1]:.6f} 0.000000"]
    assert lines[4] == "\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
    assert {line.strip() for line in lines if "CHANNELS 3" in line} == {"CHANNELS 3 Zrotation Xrotation Yrotation"}
    assert sum("End Site" in line for line in lines) == 5
    motion = lines.index("MOTION")
    assert lines[motion + 1 : motion + 3] == ["Frames: 2", "Frame Time: 0.05000000"]
    values = np.array(lines[motion + 3].split(), float)
    assert np.allclose(values, [0, T_POSE[0, 1], 0] + [0] * 66, atol=1e-5)  # a T-pose is no rotation


@for_each("rig, unit, name", [
    ("mixamo", 0.01, "mixamorig:LeftUpLeg"), ("unreal", 0.01, "thigh_l"), ("vrm", 1.0, "leftUpperLeg"),
    ("cmu", 0.0254 / 0.45, "LeftUpLeg"),
])  # fmt: skip
def test_named_rigs_have_their_names_units_and_rest_poses(rig, unit, name):
    own = get_rig(rig)
    assert own.metres_per_unit == unit and name in own.names
    thigh, calf = (own.rest[own.anatomy.parts[f"left_{part}"]] for part in ("hip", "knee"))
    hip, knee = (T_POSE[HUMANML3D.index(f"left_{part}")] for part in ("hip", "knee"))
    assert np.isclose(np.linalg.norm(calf - thigh) * unit, np.linalg.norm(knee - hip))
    arm = own.rest[own.anatomy.parts["left_elbow"]] - own.rest[own.anatomy.parts["left_shoulder"]]
    down = np.degrees(np.arctan2(-arm[1], arm[0]))
    apart = np.degrees(np.arctan2((calf - thigh)[0], -(calf - thigh)[1]))
    assert np.isclose(down, 45 if rig == "unreal" else 0, atol=1e-6)
    assert np.isclose(apart, 20 if rig == "cmu" else 0, atol=1e-6)
    assert np.isclose(own.rest[:, 1].min(), 0, atol=1e-9)


def test_angles_and_quaternions_do_not_jump(tmp_path):
    """A body that spins five times about itself and once over: no Euler angle jumps, no quaternion changes sign."""
    F = 200
    turn = np.linspace(0, 10 * np.pi, F)
    body = T_POSE - T_POSE[0]
    spun = np.stack((
        body[:, 0] * np.cos(turn)[:, None] + body[:, 2] * np.sin(turn)[:, None],
        np.repeat(body[None, :, 1], F, axis=0),
        body[:, 2] * np.cos(turn)[:, None] - body[:, 0] * np.sin(turn)[:, None],
    ), axis=-1)  # fmt: skip
    text = bvh_text(animate(spun, HUMANML3D, FPS))
    values = np.array([row.split() for row in text.split("Frame Time")[1].splitlines()[1:]], float)
    assert np.abs(np.diff(values[:, 3:], axis=0)).max() < 1.1 * np.degrees(turn[1])
    assert np.isclose(values[-1, 5] - values[0, 5], np.degrees(turn[-1]), atol=1e-3)  # five whole turns
    joints = clip("kick_left", "turn_left")
    for rig in ("own", "unreal"):
        pygltflib = pytest.importorskip("pygltflib")
        gltf = pygltflib.GLTF2.load_binary(str(write_glb(tmp_path / "a.glb", joints, HUMANML3D, FPS, rig=rig)))
        blob, dots, norms = gltf.binary_blob(), [], []
        for channel in gltf.animations[0].channels:
            if channel.target.path == "rotation":
                accessor = gltf.accessors[gltf.animations[0].samplers[channel.sampler].output]
                start = gltf.bufferViews[accessor.bufferView].byteOffset
                q = np.frombuffer(blob, np.float32, 4 * accessor.count, start).reshape(-1, 4)
                dots.append((q[1:] * q[:-1]).sum(-1).min())
                norms.append(np.abs(np.linalg.norm(q, axis=-1) - 1).max())
        assert min(dots) > 0.5 and max(norms) < 1e-6


def test_rotations_follow_the_clip(tmp_path):
    """Between frames no bone of a walking figure turns more than a limb can: no flips."""
    _, _, _, _, turns = played(write_glb(tmp_path / "a.glb", clip("walk_forward"), HUMANML3D, FPS))
    assert turn_angles(np.swapaxes(turns[:-1, :22], -1, -2) @ turns[1:, :22]).max() < 40


def test_the_text_names_the_animation(tmp_path):
    pygltflib = pytest.importorskip("pygltflib")
    text = 'a "person" <b>walks</b> \ud800 ' + "é" * 300
    gltf = pygltflib.GLTF2.load_binary(
        str(write_glb(tmp_path / "a.glb", clip("walk_forward"), HUMANML3D, FPS, text=text))
    )
    assert gltf.animations[0].name.startswith('a "person" <b>walks</b>') and len(gltf.animations[0].name) == 300
    assert gltf.asset.generator == "motiongpt" and gltf.asset.version == "2.0"


# 3) Hard inputs.


@for_each("suffix", WRITERS)
def test_one_frame(tmp_path, suffix):
    joints = clip("wave_both")[:1]
    path = WRITERS[suffix](tmp_path / f"a.{suffix}", joints, HUMANML3D, FPS)
    if suffix == "bvh":
        file = bvh.read(path, unit=1.0, up="y")
        assert np.abs(picked(file.joints, file.names, HUMANML3D.joints) - joints).max() < MILLIMETRE
    elif suffix in ("glb", "vrma"):
        assert played(path)[3].shape[0] == 1


@pytest.mark.slow
def test_ten_thousand_frames(tmp_path):
    """Eight minutes of motion, and still below a millimetre at the end."""
    joints = np.tile(clip("walk_forward"), (200, 1, 1))[:10_000]
    names, _, _, places, _ = played(write_glb(tmp_path / "a.glb", joints, HUMANML3D, FPS))
    assert np.abs(picked(places, names, HUMANML3D.joints) - joints).max() < MILLIMETRE


@for_each("suffix", WRITERS)
def test_nothing_is_written_of_a_bad_motion(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text("before")
    joints = clip("wave_both")
    joints[7, 3] = np.nan
    for bad, fps in ((joints, FPS), (joints[:0], FPS), (clip("wave_both"), 0.0), (clip("wave_both")[:, :5], FPS),
                     (clip("wave_both"), 1e9)):  # fmt: skip
        with pytest.raises(ValueError):
            WRITERS[suffix](path, bad, HUMANML3D, fps)
    with pytest.raises(OSError, match="no_folder"):
        (tmp_path / "no_folder").write_text("a file")
        WRITERS[suffix](tmp_path / "no_folder" / "a.x", clip("wave_both")[:3], HUMANML3D, FPS)
    assert path.read_text() == "before" and sorted(os.listdir(tmp_path)) == [path.name, "no_folder"]


@for_each("suffix", ["bvh", "glb", "vrma"])
def test_a_clip_without_a_body_is_refused(tmp_path, suffix):
    with pytest.raises(ValueError, match="no length"):
        WRITERS[suffix](tmp_path / "a", np.zeros((3, 22, 3)), HUMANML3D, FPS)
    # any other nonsense is written, and does not warn
    with np.errstate(all="raise"):
        WRITERS[suffix](tmp_path / "b", np.random.default_rng(0).normal(size=(6, 22, 3)), HUMANML3D, FPS)


def test_names_with_spaces_and_letters_of_any_script(tmp_path):
    names = list(HUMANML3D.joints)
    names[15], names[20], names[21] = "head { top }", "поле гора", "手 首"
    record = {"name": "my body", "joints": names, "parents": list(HUMANML3D.parents), "fps": 20}
    record |= {field: getattr(HUMANML3D, field) for field in ("feet_left", "feet_right", "face", "leg", "chains")}
    skeleton = Skeleton.from_json(json.dumps(record))
    joints = clip("wave_both")
    file = bvh.read(write_bvh(tmp_path / "a.bvh", joints, skeleton, FPS), unit=1.0, up="y")
    wanted = [re.sub(r"[\s{}]+", "_", name) for name in names]
    assert np.abs(picked(file.joints, file.names, wanted) - joints).max() < MILLIMETRE
    shown, _, _, places, _ = played(write_glb(tmp_path / "a.glb", joints, skeleton, FPS))
    assert np.abs(picked(places, shown, names) - joints).max() < MILLIMETRE
    header, _ = read_csv(write_csv(tmp_path / "a.csv", joints, skeleton, FPS))
    assert "手 首_x" in header


@for_each("rig", ["mixam", "Own", "", "rig.fbx"])
def test_an_unknown_rig_lists_the_known_ones(tmp_path, rig):
    with pytest.raises(ValueError, match=r"mixamo|\.bvh"):
        write_bvh(tmp_path / "a.bvh", clip("wave_both")[:3], HUMANML3D, FPS, rig=rig)


def test_a_vrma_takes_no_other_rig(tmp_path):
    for rig in ("own", "vrm"):
        write_vrma(tmp_path / "a.vrma", clip("wave_both")[:3], HUMANML3D, FPS, rig=rig)
    for rig in ("mixamo", get_rig("cmu"), "me.glb"):
        with pytest.raises(ValueError, match="every VRM avatar"):
            write_vrma(tmp_path / "b.vrma", clip("wave_both")[:3], HUMANML3D, FPS, rig=rig)


@for_each("rig", RIGS)
def test_kit_goes_on_every_rig(tmp_path, rig):
    """21 joints: what the skeleton lacks or the rig has no place for is said; ankles are where the clip has them."""
    x = kit_clip()[20:32]
    animation = animate(x, KIT, 12.5, rig)
    up = animation.upright()
    assert np.abs(up.joints[:, up.rig.anatomy.parts["left_ankle"]] - x[:, 18]).max() < 0.005
    assert rig == "own" or "LF, RF" in " ".join(animation.rig.notes)
    write_glb(tmp_path / "a.glb", x, KIT, 12.5, rig=rig)
