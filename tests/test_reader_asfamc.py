"""ASF/AMC: kinematics against a slow oracle, BVH and by hand; rates; errors and damage; HumanML3D's index and texts."""

import json
import re
import zipfile

import numpy as np
import pytest
import test_reader_bvh
from cases import for_each
from mutations import check_mutations

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.joint_maps import apply_map, match_map
from motiongpt.data.motions import MotionDataset
from motiongpt.data.prepare.caption_texts import read_caption_texts
from motiongpt.data.readers import asfamc, bvh
from motiongpt.data.readers.asf_text import parse_asf
from motiongpt.data.readers.asfamc_index import trial_rows
from motiongpt.files.store import read_json

UNIT = 0.0254 / 0.45  # metres per unit of CMU's files

# An adult in the layout of CMU's files: name, parent, direction, length, axis, dof.
_TRUNK = [
    ("lowerback", "root", (0, 1, 0.05), 2.0, (0, 0, 0), "rx ry rz"),
    ("upperback", "lowerback", (0, 1, 0), 2.1, (0, 0, 0), "rx ry rz"),
    ("thorax", "upperback", (0, 1, -0.02), 2.1, (0, 0, 0), "rx ry rz"),
    ("lowerneck", "thorax", (0, 1, 0.1), 1.6, (0, 0, 0), "rx ry rz"),
    ("upperneck", "lowerneck", (0, 1, 0.2), 1.6, (0, 0, 0), "rx ry rz"),
    ("head", "upperneck", (0, 1, 0.1), 1.7, (0, 0, 0), "rx ry rz"),
]
_SIDE = [
    ("hipjoint", "root", (0.65, -0.7, 0.25), 2.4, (0, 0, 0), ""),
    ("femur", "hipjoint", (0.34, -0.94, 0), 7.3, (0, 0, 20), "rx ry rz"),
    ("tibia", "femur", (0.34, -0.94, 0), 7.4, (0, 0, 20), "rx"),
    ("foot", "tibia", (0.09, -0.25, 0.97), 2.2, (-90, 0, 20), "rx rz"),
    ("toes", "foot", (0, 0, 1), 1.1, (-90, 0, 20), "rx"),
    ("clavicle", "thorax", (0.9, 0.4, 0), 3.6, (0, 0, 0), "ry rz"),
    ("humerus", "clavicle", (1, 0, 0), 5.0, (180, 30, 90), "rx ry rz"),
    ("radius", "humerus", (1, 0, 0), 3.3, (180, 30, 90), "rx"),
    ("wrist", "radius", (1, 0, 0), 1.7, (180, 30, 90), "ry"),
    ("hand", "wrist", (1, 0, 0), 0.7, (180, 30, 90), "rx rz"),
]


def adult():
    """Bones of both sides as (name, parent, direction, length, axis, dof); directions have length 1."""
    bones = list(_TRUNK)
    for letter, mirror in (("l", 1), ("r", -1)):
        for name, parent, (x, y, z), length, (a, b, c), dof in _SIDE:
            parent = parent if parent in ("root", "thorax") else letter + parent
            bones.append((letter + name, parent, (mirror * x, y, z), length, (a, mirror * b, mirror * c), dof))
    return [
        (name, parent, np.array(direction) / np.linalg.norm(direction), length, axis, dof)
        for name, parent, direction, length, axis, dof in bones
    ]


def write_asf(path, bones, order="XYZ", unit_length=0.45, angle="deg", orientation=(0, 0, 0), root_order=None):
    """Write a skeleton; `order` may be one for all bones or one per bone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    orders = [order] * len(bones) if isinstance(order, str) else order
    numbers = lambda values: " ".join(repr(float(x)) for x in values)  # noqa: E731
    lines = ["# made by a test", ":version 1.10", ":name VICON", ":units", "  mass 1.0", f"  length {unit_length}"]
    lines += [f"  angle {angle}", ":documentation", "   begin and end mean nothing here", ":root"]
    lines += [f"   order {root_order or 'TX TY TZ RX RY RZ'}", "   axis XYZ", "   position 0 0 0  "]
    lines += [f"   orientation {numbers(orientation)} ", ":bonedata"]
    for i, (name, _, direction, length, axis, dof) in enumerate(bones):
        lines += ["  begin", f"     id {i + 1} ", f"     name {name}", f"     direction {numbers(direction)}"]
        lines += [f"     length {length!r} ", f"     axis {numbers(axis)}  {orders[i]}"]
        if dof:
            lines += [f"    dof {dof}", "    limits (-160.0 20.0)"]
            lines += ["           (-70.0 70.0)"] * (len(dof.split()) - 1)
        lines.append("  end")
    parents = dict.fromkeys(bone[1] for bone in bones)
    children = [" ".join([parent, *(bone[0] for bone in bones if bone[1] == parent)]) for parent in parents]
    lines += [":hierarchy", "  begin", *(f"    {line}" for line in children), "  end"]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_amc(path, bones, root, angles, header=":FULLY-SPECIFIED\n:DEGREES"):
    """Write a motion: root (F, 6), angles {bone: (F, number of its dof)}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["#!OML:ASF F:\\somewhere\\else.ASF", header]
    for f in range(len(root)):
        lines += [str(f + 1), " ".join(["root", *map(repr, map(float, root[f]))])]
        for name, *_, dof in bones:
            if dof:
                lines.append(" ".join([name, *map(repr, map(float, angles[name][f]))]))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_walk(path, frames=180, seed=0, bones=None):
    """A swaying adult, NN/NN_MM.amc with its skeleton beside it; the root moves ahead."""
    bones = adult() if bones is None else bones
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / 40
    angles = {
        name: 8 * np.sin(time + rng.uniform(0, 6, (1, len(dof.split())))) for name, *_, dof in bones if dof
    }  # fmt: skip
    for side, sign in (("l", -1), ("r", 1)):  # legs that stand side by side, arms that hang
        angles[f"{side}femur"][:, 2] += 20 * sign
        angles[f"{side}humerus"][:, 2] += 60
    root = np.concatenate((0 * time, 17 + 0 * time, 5 * time, 0 * time, 5 * np.sin(time), 0 * time), axis=1)
    skeleton = path.parent / f"{path.stem.split('_')[0]}.asf"
    if not skeleton.exists():
        write_asf(skeleton, bones)
    return write_amc(path, bones, root, angles)


def random_motion(bones, frames=5, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.uniform(-10, 10, (frames, 6)) * [1, 1, 1, 15, 15, 15]
    return root, {name: rng.uniform(-170, 170, (frames, len(dof.split()))) for name, *_, dof in bones if dof}


# 1) Kinematics.


def slow_turns(bones, angles, order="XYZ"):
    """C M C^-1 of every bone in every frame by scipy: {bone: [Rotation]}."""
    Rotation = pytest.importorskip("scipy.spatial.transform", reason="scipy is the oracle").Rotation
    sequences = [order] * len(bones) if isinstance(order, str) else order
    orders = {bone[0]: own for bone, own in zip(bones, sequences, strict=True)}
    frames = len(next(iter(angles.values())))
    turns = {}
    for name, _, _, _, axis, dof in bones:
        sequence = orders[name].lower()  # small letters: about fixed axes, one after the other
        C = Rotation.from_euler(sequence, [axis["xyz".index(letter)] for letter in sequence], degrees=True)
        turns[name] = []
        for f in range(frames):
            given = dict(zip(dof.split(), angles[name][f], strict=True)) if dof else {}
            M = Rotation.from_euler(sequence, [given.get(f"r{letter}", 0) for letter in sequence], degrees=True)
            turns[name].append(C * M * C.inv())
    return turns


def slow_joints(bones, root, angles, order="XYZ"):
    """Ends of the bones (F, 1 + bones, 3) in the file's unit, the root first, bone by bone as the text book has it."""
    from scipy.spatial.transform import Rotation

    turns, out = slow_turns(bones, angles, order), []
    for f, row in enumerate(root):
        place = {"root": row[:3]}
        world = {"root": Rotation.from_euler("xyz", row[3:], degrees=True)}
        for name, parent, direction, length, *_ in bones:
            world[name] = world[parent] * turns[name][f]
            place[name] = place[parent] + world[name].apply(np.array(direction) * length)
        out.append([place[name] for name in ("root", *(bone[0] for bone in bones))])
    return np.array(out)


@for_each("order", ["XYZ", "ZYX", "YXZ", "mixed"])
def test_any_motion_equals_a_slow_oracle(tmp_path, order):
    """Axes, orders and degrees of freedom at random; bones in the file in another order than in the tree."""
    rng = np.random.default_rng(1)
    bones = [(*bone[:4], rng.uniform(-180, 180, 3), bone[5]) for bone in adult()]
    orders = [("XYZ", "YZX", "ZXY")[i % 3] for i in range(len(bones))] if order == "mixed" else order
    root, angles = random_motion(bones)
    shuffled = rng.permutation(len(bones))
    write_asf(tmp_path / "01.asf", [bones[i] for i in shuffled],
              [orders[i] for i in shuffled] if order == "mixed" else order)  # fmt: skip
    write_amc(tmp_path / "01_02.amc", bones, root, angles)
    want = slow_joints(bones, root, angles, orders) * UNIT
    clip = asfamc.read(tmp_path / "01_02.amc")
    assert clip.fps == 120 and set(clip.names) == {"root", *(bone[0] for bone in bones)}
    places = [clip.names.index(name) for name in ("root", *(bone[0] for bone in bones))]
    np.testing.assert_allclose(clip.joints[:, places], want, rtol=0, atol=1e-6)  # float32 of 2 m


BONE = ("leg", "root", (0.0, -1.0, 0.0), 0.45 / 0.0254, (0.0, 0.0, 0.0), "rx ry rz")  # one metre, down


@for_each(
    "axis, order, angles, end",
    [
        ((0, 0, 0), "XYZ", (0, 0, 0), (0, -1, 0)),
        ((0, 0, 0), "XYZ", (90, 0, 0), (0, 0, -1)),  # about x: y goes to z
        ((0, 0, 0), "XYZ", (0, 0, 90), (1, 0, 0)),
        ((0, 0, 0), "XYZ", (90, 0, 90), (0, 0, -1)),  # x first, then nothing along z to turn
        ((0, 0, 0), "ZYX", (90, 0, 90), (1, 0, 0)),  # z first, then nothing along x to turn
        ((0, 0, 90), "XYZ", (90, 0, 0), (0, -1, 0)),  # the bone's own x is y, along which it lies
        ((0, 0, 90), "XYZ", (0, 90, 0), (0, 0, 1)),  # its own y is -x
    ],
)
def test_by_hand(tmp_path, axis, order, angles, end):
    bones = [(*BONE[:4], axis, BONE[5])]
    write_asf(tmp_path / "a.asf", bones, order)
    write_amc(tmp_path / "a.amc", bones, [[0, 0, 0, 0, 0, 0]], {"leg": [angles]})
    clip = asfamc.read(tmp_path / "a.amc")
    np.testing.assert_allclose(clip.joints, [[[0, 0, 0], end]], atol=1e-7)
    assert clip.names == ("root", "leg")


def test_root_units_and_channel_order_by_hand(tmp_path):
    """The root's columns are named, its turn moves all, its orientation is its axes, lengths are inches / length."""
    write_asf(tmp_path / "a.asf", [BONE], root_order="RZ RY RX TZ TY TX", unit_length=0.9, orientation=(0, 90, 0))
    write_amc(tmp_path / "a.amc", [BONE], [[0, 0, 90, 3, 2, 1]], {"leg": [(0, 0, 0)]})
    clip = asfamc.read(tmp_path / "a.amc")
    unit = 0.0254 / 0.9
    # its own x is -z: (0, -1, 0) turned about -z by 90 degrees is (-1, 0, 0)
    root = unit * np.array([1, 2, 3])
    np.testing.assert_allclose(clip.joints[0], [root, root - [0.5, 0, 0]], atol=1e-7)
    np.testing.assert_allclose(asfamc.read(tmp_path / "a.amc", unit=2 * unit).joints, clip.joints * 2, rtol=1e-6)
    turned = asfamc.read(tmp_path / "a.amc", up="z").joints
    np.testing.assert_array_equal(turned, clip.joints[..., [0, 2, 1]] * np.float32([1, 1, -1]))


def test_radians_and_joints_with_three_angles(tmp_path):
    bones = adult()
    root, angles = random_motion(bones)
    write_asf(tmp_path / "a.asf", bones)
    want = asfamc.read(write_amc(tmp_path / "a.amc", bones, root, angles)).joints
    radians = {name: np.radians(values) for name, values in angles.items()}
    root_radians = root * [1, 1, 1, *[np.pi / 180] * 3]
    in_radians = [(*bone[:4], np.radians(bone[4]), bone[5]) for bone in bones]
    write_asf(tmp_path / "b.asf", in_radians, angle="rad")
    clip = asfamc.read(write_amc(tmp_path / "b.amc", bones, root_radians, radians, ":FULLY-SPECIFIED"))
    np.testing.assert_allclose(clip.joints, want, atol=1e-6)
    clip = asfamc.read(write_amc(tmp_path / "a_2.amc", bones, root_radians, radians, ":RADIANS"))
    np.testing.assert_allclose(clip.joints, want, atol=1e-6)
    # some programs write three angles for every bone that moves
    full = {}
    for name, *_, dof in bones:
        if dof:
            full[name] = np.zeros((len(root), 3))
            full[name][:, ["rx ry rz".split().index(channel) for channel in dof.split()]] = angles[name]
    header = ":FULLY-SPECIFIED\n:FORCE-ALL-JOINTS-BE-3DOF\n:DEGREES"
    clip = asfamc.read(write_amc(tmp_path / "a_3.amc", bones, root, full, header))
    np.testing.assert_array_equal(clip.joints, want)


def test_bvh_of_the_same_motion_and_bones_is_the_same(tmp_path):
    """A BVH joint is where a bone begins, and its End Site where the bone ends."""
    bones = adult()
    root, angles = random_motion(bones, frames=7, seed=3)
    write_asf(tmp_path / "a.asf", bones)
    clip = asfamc.read(write_amc(tmp_path / "a.amc", bones, root, angles))
    turns = slow_turns(bones, angles)
    names = ["root", *(bone[0] for bone in bones)]
    parents = [-1, *(names.index(bone[1]) for bone in bones)]
    ends = {j + 1: np.array(bone[2]) * bone[3] for j, bone in enumerate(bones)}
    offsets = [ends.get(parent, np.zeros(3)) for parent in parents]
    order = test_reader_bvh.depth_first(parents)
    rows = []
    for f, row in enumerate(root):
        rows.append([*row[:3], *row[:2:-1]])
        for j in order[1:]:
            rows[-1] += list(turns[names[j]][f].as_euler("ZYX", degrees=True))
    path = test_reader_bvh.write(
        tmp_path / "a.bvh",
        [names[j] for j in order],
        [-1 if parents[j] < 0 else order.index(parents[j]) for j in order],
        [offsets[j] for j in order],
        [test_reader_bvh.ROOT6] + [test_reader_bvh.ROT3] * len(bones),
        rows,
        ends=[(order.index(j), end) for j, end in ends.items()],
    )
    other = bvh.read(path, unit=UNIT, up="y", end_sites=True)
    places = [other.names.index(name if name == "root" else f"{name}_end") for name in clip.names]
    np.testing.assert_allclose(other.joints[:, places], clip.joints, rtol=0, atol=1e-6)


def test_round_trip_of_real_joints(tmp_path, shared_data):
    """Bones as long as an actor's, turned to where the joints of a real clip are, and read back: the same 22 joints."""
    Rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    packed = np.load(shared_data / "cmu" / "positions.npz")
    start = int(packed["lengths"][:3].sum())
    steps = packed["second_differences"][:, start : start + packed["lengths"][3]].T.astype(np.int64)
    grid = packed["first"][3] + np.cumsum(np.cumsum(steps, axis=0), axis=0)
    joints = (grid * float(packed["unit"])).reshape(-1, 22, 3)[:40]
    at = {name: joints[:, j] / UNIT for j, name in enumerate(HUMANML3D.joints)}
    maps = match_map(["root", *(bone[0] for bone in adult())])[1]
    place = {next(iter(parts)): at[target] for target, parts in maps.items() if len(parts) == 1}
    bones, angles, world = [], {}, {"root": [Rotation.identity()] * 40}
    for name, parent, direction, *_, axis, _ in adult():
        if name in place:
            way = place[name] - place[parent]
            C = Rotation.from_euler("xyz", axis, degrees=True)
            angles[name], world[name] = [], []
            for f in range(40):
                goal = world[parent][f].inv().apply(way[f])
                cross = np.cross(direction, goal)
                angle = np.arctan2(np.linalg.norm(cross), np.dot(direction, goal))
                turn = Rotation.from_rotvec(angle * cross / np.linalg.norm(cross))
                world[name].append(world[parent][f] * turn)
                angles[name].append((C.inv() * turn * C).as_euler("xyz", degrees=True))
            bones.append((name, parent, direction, float(np.linalg.norm(way, axis=-1).mean()), axis, "rx ry rz"))
    write_asf(tmp_path / "a.asf", bones)
    clip = asfamc.read(write_amc(tmp_path / "a.amc", bones, np.hstack((place["root"], np.zeros((40, 3)))), angles))
    map_name, joint_map = match_map(clip.names)
    assert map_name == "asf"
    mapped = apply_map(clip.joints, clip.names, joint_map, HUMANML3D.joints)
    np.testing.assert_allclose(mapped, joints, rtol=0, atol=2e-4)  # the joints are kept in steps of 0.05 mm


# 2) Frame rates.


def test_rates(tmp_path):
    path = write_walk(tmp_path / "01" / "01_02.amc")
    clip = asfamc.read(path)
    assert clip.fps == 120 and len(clip.joints) == 180 and "recorded at 120 fps (assumed" in clip.notes[0]
    at20 = asfamc.read(path, fps=20)
    np.testing.assert_allclose(at20.joints, clip.joints[::6], atol=1e-6)
    assert at20.fps == 20 and "fps: 120 resampled to 20" in at20.notes
    given = asfamc.read(path, fps=20, recorded_fps=60)
    np.testing.assert_allclose(given.joints, clip.joints[::3], atol=1e-6)
    assert not any("assumed" in note for note in given.notes)
    # subjects of CMU that were recorded at 60
    for name in ("60/60_01.amc", "61/061_15.amc"):
        slow = asfamc.read(write_walk(tmp_path / name), fps=20)
        assert len(slow.joints) == 60 and "recorded at 60 fps (assumed: CMU's subjects 60 and 61" in slow.notes[0]
    # rates that are no whole part: slerp of the turns, a spline of the way
    fine = asfamc.read(path, fps=240)
    assert len(fine.joints) == 359
    np.testing.assert_allclose(fine.joints[::2], clip.joints, atol=1e-6)
    between = asfamc.read(path, fps=50)
    lengths = np.linalg.norm(np.diff(between.joints[:, [between.names.index(n) for n in ("lfemur", "ltibia")]], axis=1),
                             axis=-1)  # fmt: skip
    np.testing.assert_allclose(lengths, 7.4 * UNIT, atol=1e-6)  # bones keep their lengths
    for wrong in ({"fps": 0}, {"recorded_fps": float("nan")}, {"unit": -1}, {"up": "x"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            asfamc.read(path, **wrong)


# 3) Files.


def test_find_and_find_skeleton(tmp_path):
    bones = [BONE]
    root, angles = [[0] * 6], {"leg": [(0, 0, 0)]}
    for name in ("subjects/07/07_01.amc", "subjects/07/07_02.AMC", "flat_2_a.amc", "._x.amc", "__MACOSX/y.amc",
                 "other/walk.amc", "two/z.amc"):  # fmt: skip
        write_amc(tmp_path / name, bones, root, angles)
    for name in ("subjects/07/07.asf", "subjects/07/7.asf", "FLAT.ASF", "flat_2.asf", "other/bob.asf", "two/a.asf",
                 "two/b.asf", "two/._z.asf"):  # fmt: skip
        write_asf(tmp_path / name, bones)
    found = [path.relative_to(tmp_path).as_posix() for path in asfamc.find(tmp_path)]
    assert found == ["flat_2_a.amc", "other/walk.amc", "subjects/07/07_01.amc", "subjects/07/07_02.AMC", "two/z.amc"]
    for name, skeleton in zip(found, ("flat_2.asf", "bob.asf", "07.asf", "07.asf"), strict=False):
        assert asfamc.find_skeleton(tmp_path / name).name == skeleton
        assert asfamc.read(tmp_path / name).joints.shape == (1, 2, 3)
    with pytest.raises(FileNotFoundError, match=r"z.amc: no skeleton .* expected z.asf, .* found a.asf, b.asf"):
        asfamc.read(tmp_path / "two" / "z.amc")
    (tmp_path / "subjects" / "07.asf").write_bytes((tmp_path / "subjects" / "07" / "07.asf").read_bytes())
    for file in (tmp_path / "subjects" / "07").glob("*.asf"):
        file.unlink()
    assert asfamc.find_skeleton(tmp_path / "subjects" / "07" / "07_01.amc") == tmp_path / "subjects" / "07.asf"
    for call in (asfamc.find, asfamc.read):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            call(tmp_path / "nowhere")


ASF = """# a comment
:version 1.10
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
  anything
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name leg
    direction 0 -1 0
    length 7
    axis 0 0 20 XYZ
    dof rx rz
    limits (-160 20)
           (-inf inf)
  end
  begin
    id 2
    name foot
    direction 0 0 1
    length 2
    axis 0 0 0 XYZ
  end
:hierarchy
  begin
    root leg
    leg foot
  end
"""
AMC = """#!OML:ASF F:\\a.asf
:FULLY-SPECIFIED
:DEGREES
1
root 0 17 0 0 0 0
leg 10 -5
2
root 0 17 1e-3 0 0 2.0e-014
leg 11 -5
"""


@for_each(
    "old, new, line, words",
    [
        (":version 1.10", "version 1.10", 2, "'version'"),
        (":units", ":unitz", 36, ":units"),
        ("length 0.45", "length 0", 5, "above 0"),
        ("length 0.45\n", "\n", 3, ":units has no length"),
        ("angle deg", "angle grad", 6, "deg or rad, found 'grad'"),
        ("mass 1.0", "mess 1.0", 4, "expected one of mass"),
        ("order TX TY", "order TX TX", 10, "each once"),
        ("axis XYZ\n  pos", "axis XYY\n  pos", 11, "'XYY'"),
        ("position 0 0 0", "position 0 0", 12, "expected 3 values, found 2"),
        ("  begin\n    id 1", "    id 1", 15, "expected begin"),
        ("direction 0 -1 0", "direction 0 -9 0", 19, "length 1"),
        ("direction 0 -1 0", "direction 0 x 0", 18, "direction Y: expected a number below 1e+09, found 'x'"),
        ("length 7", "length -7", 19, "above 0"),
        ("length 7\n", "length nan\n", 19, "'nan'"),
        ("    length 7\n", "", 15, "bone leg has no length"),
        ("axis 0 0 20 XYZ", "axis 0 0 20", 20, "expected 4 values, found 3"),
        ("dof rx rz", "dof rx tz", 21, "rx ry rz"),
        ("name foot", "name leg", 25, "second one of the name leg"),
        ("name foot", "name root", 25, "second one of the name root"),
        ("    axis 0 0 0 XYZ\n  end", "    axis 0 0 0 XYZ", 25, "no end"),
        ("leg foot", "leg feet", 35, "no bone 'feet'"),
        ("leg foot", "leg root", 35, "is the root"),
        ("leg foot", "foot foot", 36, "foot does not hang"),
        ("    leg foot\n", "", 35, "foot does not hang"),
        (":hierarchy", ":root", 32, "second section :root"),
    ],
)
def test_errors_of_a_skeleton_name_the_line(tmp_path, old, new, line, words):
    check_error(tmp_path, "a.asf", ASF, old, new, line, words)


@for_each(
    "old, new, line, words",
    [
        (":DEGREES\n1\n", ":DEGREES\nroot\n", 4, "frame numbers, found 'root'"),
        (":DEGREES\n1\n", ":DEGREES\n", 4, "frame numbers, found 'root 0 17"),
        ("leg 10 -5", "leg 10", 6, "leg: expected 2 numbers"),
        ("leg 10 -5", "leg 10 -5 3", 6, "leg: expected 2 numbers"),
        ("leg 10 -5", "leg 10 -1.#IND", 6, "leg rz: expected a number"),
        ("leg 10 -5", "leg 10 nan", 6, "leg rz: expected a number"),
        ("leg 10 -5", "lag 10 -5", 6, "'lag' is no bone that moves in"),
        ("leg 10 -5", "foot 10", 6, "'foot' is no bone that moves in"),
        ("leg 10 -5\n", "", 6, "frame 1 has no row of leg"),
        ("leg 11 -5\n", "", 8, "frame 2 has no row of leg"),
        ("leg 10 -5", "root 0 0 0 0 0 0", 6, "'root' stands twice"),
        ("\n2\n", "\n3\n", 7, "frame 2, found '3'"),
        ("\n2\n", "\nleg\n", 7, "frame 2, found 'leg'"),
    ],
)
def test_errors_of_a_motion_name_the_line(tmp_path, old, new, line, words):
    check_error(tmp_path, "a.amc", AMC, old, new, line, words)


def check_error(folder, name, text, old, new, line, words):
    (folder / "a.asf").write_text(ASF)
    (folder / "a.amc").write_text(AMC)
    assert asfamc.read(folder / "a.amc").joints.shape == (2, 3, 3)
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError) as error:
        asfamc.read(folder / "a.amc")
    message = str(error.value)
    assert f"{folder / name}, line {line}: " in message and words in message and "\n" not in message, message
    assert asfamc.explain(folder / "a.amc") == [f"broken: {message}"]


def test_layout_of_the_text_does_not_matter(tmp_path):
    (tmp_path / "a.asf").write_text(ASF)
    (tmp_path / "a.amc").write_text(AMC)
    want = asfamc.read(tmp_path / "a.amc")
    (tmp_path / "a.asf").write_bytes(b"\xef\xbb\xbf" + ASF.replace("\n", "\r\n").replace("  ", "\t").upper().replace(
        "LEG", "leg").replace("FOOT", "foot").replace("\tROOT", "\troot").encode())  # fmt: skip
    (tmp_path / "a.amc").write_bytes(AMC.replace("\n", " \r\n\r\n").replace(" 17", "\t17").encode())
    clip = asfamc.read(tmp_path / "a.amc")
    np.testing.assert_array_equal(clip.joints, want.joints)
    bare = re.sub("    (id|dof|limits|       ).*\n", "", ASF)  # without these only the root moves
    (tmp_path / "a.asf").write_text(bare)
    (tmp_path / "a.amc").write_text(re.sub("leg.*\n", "", AMC))
    assert asfamc.read(tmp_path / "a.amc").names == ("root", "leg", "foot")


@pytest.mark.slow
def test_hostile_files_are_refused_early(tmp_path):
    (tmp_path / "a.asf").write_text(ASF)
    path = tmp_path / "a.amc"
    for text, words in (
        ("", "found 'nothing'"),
        (":DEGREES\n" * 70_000, "found 'nothing'"),
        ("x" * (1 << 21), "longer than"),
        (":DEGREES\n" + "9" * 5000, "frame numbers"),
        (":DEGREES\n1\n" + "leg 1 2\n" * 3, "twice"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words) as error:
            asfamc.read(path)
        assert len(str(error.value)) < 400
    with open(path, "wb") as file:
        file.truncate((256 << 20) + 1)  # sparse
    with pytest.raises(ValueError, match="larger than 256 MB"):
        asfamc.read(path)
    many = "".join(f"  begin\n name b{i}\n direction 0 1 0\n length 1\n axis 0 0 0 XYZ\n end\n" for i in range(2000))
    (tmp_path / "a.asf").write_text(ASF.replace(":hierarchy", f"{many}:hierarchy"))
    with pytest.raises(ValueError, match="1024 bones"):
        asfamc.read(path)


@for_each("name, least", [("01.asf", 30), ("01_02.amc", 20)])
def test_damaged_files_are_refused_or_read(tmp_path, name, least):
    bones = adult()
    root, angles = random_motion(bones, frames=4)
    write_asf(tmp_path / "01.asf", bones)
    path = write_amc(tmp_path / "01_02.amc", bones, root, angles)

    def explained(refused):
        lines = asfamc.explain(path)
        return "\n" not in "".join(lines) and any(line.startswith("broken: ") for line in lines) == refused

    def sound(clip):
        return np.isfinite(clip.joints).all() and clip.joints.shape[1:] == (len(clip.names), 3)

    check_mutations(tmp_path / name, lambda: asfamc.read(path, fps=20), explained, sound=sound, least=least)


def test_explain_says_what_is_there(script, tmp_path):
    path = write_walk(tmp_path / "01" / "01_02.amc")
    done = script("prepare", "--from", "asfamc", "--explain", path)
    assert done.code == 0, done.err
    for words in ("26 bones, 24 of them move", "180 frames of", "map: asf; joints it does not use: ltoes, rtoes, head",
                  "read: 30 frames at 20 fps", "would keep 1 clip", "recorded at 120 fps (assumed",
                  "needs --captions: no caption"):  # fmt: skip
        assert words in done.out, done.out
    done = script("prepare", "--from", "asfamc", "--explain", tmp_path / "01" / "01.asf")
    assert done.code == 0 and "no motion" in done.out and "bones: lowerback" in done.out
    (tmp_path / "01" / "01.asf").write_text("nothing")
    for name in ("01.asf", "01_02.amc"):
        done = script("prepare", "--from", "asfamc", "--explain", tmp_path / "01" / name)
        assert done.code == 1 and f"broken: {tmp_path}/01/01.asf, line 1" in done.out


# 4) A data set, and HumanML3D's captions.


def test_a_folder_becomes_a_data_set(script, tmp_path):
    source = tmp_path / "subjects"
    for i in range(4):
        write_walk(source / "01" / f"01_{i:02}.amc", frames=240, seed=i)
    (tmp_path / "c.csv").write_text("id,caption,participant,split\n" + "".join(
        f"01_{i:02},walks {i},P1,{split}\n" for i, split in enumerate(("train", "train", "val", "test"))))  # fmt: skip
    args = ("--from", "asfamc", "--input", source, "--captions", tmp_path / "c.csv")
    done = script("prepare", *args, "--out", tmp_path / "d")
    assert done.code == 0, done.err
    assert "recorded at 120 fps (assumed" in done.out and "WARNING" not in done.out
    data = MotionDataset(tmp_path / "d")
    assert data.ids("train") == ["01_01_00", "01_01_01"] and data.captions("01_01_01")[0].text == "walks 1"
    assert data.features("01_01_00").shape == (39, 263)  # 240 / 6 frames, one for the velocities
    done = script("prepare", *args, "--out", tmp_path / "e", "--fps", 60)
    assert done.code == 0 and MotionDataset(tmp_path / "e").features("01_01_00").shape == (79, 263)


HEADER = "source_path,start_frame,end_frame,new_name\n"


def write_humanml3d(place, rows, texts):
    """index.csv and texts.zip as HumanML3D has them, with what a Mac adds to an archive."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "index.csv").write_text(HEADER + "".join(f"{','.join(map(str, row))}\n" for row in rows))
    with zipfile.ZipFile(place / "texts.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("texts/", "")
        for name, text in texts.items():
            archive.writestr(f"texts/{name}.txt", text)
            archive.writestr(f"__MACOSX/texts/._{name}.txt", b"\x00\x05\x16\x07\xff")
    return "--index", place / "index.csv", "--texts", place / "texts.zip"


def test_index_and_texts_join_by_trial_and_time(script, tmp_path):
    source = tmp_path / "CMU" / "subjects"
    write_walk(source / "01" / "01_02.amc", frames=300, seed=1)
    write_walk(source / "01" / "01_03.amc", frames=120, seed=2)
    write_walk(source / "60" / "60_01.amc", frames=180, seed=3)
    rows = [
        ("./pose_data/CMU/01/01_02_poses.npy", 0, 30, "000001.npy"),
        ("./pose_data/KIT/3/kick_high_left02_poses.npy", 0, 30, "000002.npy"),
        ("./pose_data/CMU/01/01_02_poses.npy", 20, 50, "000003.npy"),
        ("./pose_data/humanact12/humanact12/P01G01R01.npy", 0, 30, "000004.npy"),
        ("./pose_data/CMU/CMU/60/60_01_poses.npy", 10, 60, "000005.npy"),  # another depth, recorded at 60 fps
        ("./pose_data/CMU/01/01_03_poses.npy", 0, 20, "000006.npy"),
        ("./pose_data/CMU/99/99_01_poses.npy", 0, 20, "000007.npy"),  # not there
    ]
    line = "a person {}#a/DET person/NOUN#0.0#0.0\n"
    texts = {f"{i:06}": line.format(f"walks {i}") for i in range(1, 8)} | {"M000001": line.format("never")}
    texts["000003"] += "he turns#he/PRON turn/VERB#0.5#1.0\n"
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "train.txt").write_text("000001\n000005\nM000001\n000002\n")
    (tmp_path / "h" / "val.txt").write_text("000003\n")
    (tmp_path / "h" / "test.txt").write_text("000006\n")
    flags = write_humanml3d(tmp_path / "h", rows, texts)
    done = script("prepare", "--from", "asfamc", "--input", source, *flags, "--out", tmp_path / "d")
    assert done.code == 0, done.err
    data = MotionDataset(tmp_path / "d")
    assert [sorted(data.ids(split)) for split in ("train", "val", "test")] == [["000001", "000005"], ["000003"],
                                                                              ["000006"]]  # fmt: skip
    assert data.captions("000001")[0].text == "a person walks 1"
    pieces = [(caption.text, caption.start, caption.end) for caption in data.captions("000003")]
    assert pieces == [("a person walks 3", 0, 0), ("he turns", 0.5, 1.0)]
    assert {name: len(np.load(tmp_path / "d" / "new_joints" / f"{name}.npy")) for name in ("000001", "000003", "000005",
            "000006")} == {"000001": 29, "000003": 29, "000005": 49, "000006": 19}  # fmt: skip
    assert "index: 1 rows of 1 trials are left out, whose .amc files are not there" in done.out
    # the piece is that of the trial: frame 20 at 20 fps is frame 120 of the file
    whole = asfamc.read(source / "01" / "01_02.amc", fps=20)
    files = asfamc.find(source)
    trial = trial_rows(tmp_path / "h" / "index.csv", files)[0][1]
    from motiongpt.data.readers.asfamc_index import read_row

    np.testing.assert_array_equal(read_row(trial).joints, whole.joints[20:50])
    # texts/ beside the index do without --texts, and a folder does for the archive
    with zipfile.ZipFile(tmp_path / "h" / "texts.zip") as archive:
        archive.extractall(tmp_path / "h")
    for i, more in enumerate(((), ("--texts", tmp_path / "h" / "texts"), ("--texts", tmp_path / "h"))):
        out = tmp_path / f"e{i}"
        done = script("prepare", "--from", "asfamc", "--input", source, *flags[:2], *more, "--out", out)
        assert done.code == 0, done.err
        for name in ("texts/000003.txt", "new_joint_vecs/000005.npy", "train.txt"):
            assert (out / name).read_bytes() == (tmp_path / "d" / name).read_bytes()


def test_a_resumed_build_sees_another_index_and_other_texts(script, tmp_path):
    """A clip that was cut or captioned otherwise before the build was stopped is made again."""
    source = tmp_path / "in"
    write_walk(source / "01" / "01_02.amc", frames=240)
    rows = [("./pose_data/CMU/01/01_02_poses.npy", 0, 30, f"{i:06}.npy") for i in range(4)]
    texts = {f"{i:06}": "he walks\n" for i in range(3)}  # the fourth has none: 25 % cannot be used, the build stops
    args = ("--from", "asfamc", "--input", source, "--out", tmp_path / "d", "--workers", 1)
    assert script("prepare", *args, *write_humanml3d(tmp_path / "h", rows, texts)).code == 1
    rows[1] = (rows[1][0], 5, 25, rows[1][3])
    texts |= {"000002": "he runs\n", "000003": "he hops\n"}
    flags = write_humanml3d(tmp_path / "h", rows, texts)
    assert script("prepare", *args, *flags).code == 0
    frames = [len(np.load(tmp_path / "d" / "new_joints" / f"{i:06}.npy")) for i in range(4)]
    assert frames == [29, 19, 29, 29] and "he runs" in (tmp_path / "d" / "texts" / "000002.txt").read_text()


def test_an_index_that_does_not_fit_says_so(script, tmp_path):
    source = tmp_path / "in"
    write_walk(source / "01" / "01_02.amc", frames=120)
    texts = {"000001": "he walks\n"}
    args = ("--from", "asfamc", "--input", source, "--out", tmp_path / "d")

    def refused(*row, code=2, **changes):
        flags = write_humanml3d(tmp_path / "h", [row], changes.get("texts", texts))
        done = script("prepare", *args, *flags)
        assert done.code == code and done.err.count("\n") == 1 and not (tmp_path / "d").exists(), done.err
        return done.err

    assert "no row of CMU" in refused("./pose_data/KIT/3/a_poses.npy", 0, 9, "000001.npy")
    assert "none of its 1 trials of CMU, such as 09_09" in refused("./pose_data/CMU/9/09_09_poses.npy", 0, 9, "000001")
    assert "no text of the clips of the index, such as 000008" in refused(
        "./pose_data/CMU/01/01_02_poses.npy", 0, 9, "000008.npy"
    )
    # as long as the trial would be at 60 fps: reading it at 120 would double its speed in silence
    row = ("./pose_data/CMU/01/01_02_poses.npy", 0, 40, "000001.npy")
    assert "has 20 frames at 20 fps if it was recorded at 120, the index reaches 40" in refused(*row, code=1)
    done = script("prepare", *args, *write_humanml3d(tmp_path / "h", [row], texts), "--fps", 60)
    assert done.code == 0 and MotionDataset(tmp_path / "d").features("000001").shape == (39, 263)
    write_walk(source / "copy" / "1_2.amc", seed=5)
    done = script("prepare", *args[:-1], tmp_path / "e", *write_humanml3d(tmp_path / "h", [row], texts))
    assert done.code == 2 and "are both trial 01_02, and differ" in done.err
    (source / "copy" / "1_2.amc").write_bytes((source / "01" / "01_02.amc").read_bytes())
    flags = write_humanml3d(tmp_path / "h", [row], texts)
    assert script("prepare", *args[:-1], tmp_path / "e", *flags, "--fps", 60).code == 0


def test_a_malformed_text_skips_its_clip(script, tmp_path):
    source = tmp_path / "in"
    write_walk(source / "01" / "01_02.amc", frames=240)
    rows = [("./pose_data/CMU/01/01_02_poses.npy", 0, 20 + i, f"{i:06}.npy") for i in range(20)]
    texts = {f"{i:06}": "he walks\n" for i in range(20)} | {"000003": "he walks#a/DET#0.0\n"}
    flags = write_humanml3d(tmp_path / "h", rows, texts)
    done = script("prepare", "--from", "asfamc", "--input", source, *flags, "--out", tmp_path / "d", "--workers", 1)
    assert done.code == 0, done.err
    reasons = read_json(tmp_path / "d" / "report.json")["reasons"]
    assert list(reasons) == ["000003"] and "texts.zip: 000003.txt, line 1: expected caption#" in reasons["000003"]
    (tmp_path / "h" / "texts.zip").unlink()
    texts["000003"] = b"\xff"
    flags = write_humanml3d(tmp_path / "h", rows, texts)
    done = script("prepare", "--from", "asfamc", "--input", source, *flags, "--out", tmp_path / "e", "--workers", 1)
    assert done.code == 0 and "000003.txt is not UTF-8" in json.dumps(read_json(tmp_path / "e" / "report.json"))


def test_archives_of_texts(tmp_path):
    path = tmp_path / "texts.zip"

    def refused(words):
        with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
            read_caption_texts(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)

    refused("does not exist")
    path.write_text("he walks")
    refused("cannot be read")
    for names, words in ((("texts/._a.txt", "a.csv"), "no .txt"), (("x/a.txt", "y/a.txt"), "two files of the name a")):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "he walks")
        refused(words)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # 2 MB that take 2 kB
        archive.writestr("a.txt", bytes(2 << 20))
    refused("a.txt unpacks to more than")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(5):
            archive.writestr(f"texts/{i}.txt", "he walks ahead\n" * 20)
    assert read_caption_texts(path).captions("3")[0].text == "he walks ahead"
    assert read_caption_texts(path).captions("7") == []
    check_mutations(path, lambda: read_caption_texts(path))


def test_a_skeleton_is_read_as_it_is(tmp_path):
    asf = parse_asf(write_asf(tmp_path / "a.asf", adult()))
    assert asf.names[0] == "root" and asf.parents[0] == -1 and asf.unit_length == 0.45 and asf.in_degrees
    assert all(parent < j for j, parent in enumerate(asf.parents))
    bones = {bone[0]: bone for bone in adult()}
    for j, name in list(enumerate(asf.names))[1:]:
        _, parent, direction, length, axis, dof = bones[name]
        assert asf.names[asf.parents[j]] == parent and " ".join(asf.channels[j]) == dof and asf.orders[j] == "XYZ"
        np.testing.assert_allclose(asf.offsets[j], direction * length)
        np.testing.assert_allclose(asf.axes[j], np.radians(axis))
