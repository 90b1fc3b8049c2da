"""BVH files: grammar, kinematics against scipy and by hand, guesses, resampling, joint maps, real files, fuzzing."""

import importlib.util
import json
import re

import numpy as np
import pytest
from cases import for_each
from mutations import check_mutations

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.data.joint_maps import MAPS, apply_map, match_map, read_map
from motiongpt.data.prepare.options import Options
from motiongpt.data.prepare.records import records
from motiongpt.data.raw import RawClip
from motiongpt.data.readers import bvh
from motiongpt.data.resample import cubic_spline, new_length, slerp

ROOT6 = "Xposition Yposition Zposition Zrotation Yrotation Xrotation".split()
ROT3 = "Zrotation Yrotation Xrotation".split()


def write(path, names, parents, offsets, channels, rows, step="0.0333333", ends=()):
    """Write a BVH file; `ends` are (joint, offset) of End Sites, rows are numbers or text."""
    lines = ["HIERARCHY"]

    def joint(j, depth):
        pad = "  " * depth
        lines.extend([f"{pad}{'ROOT' if parents[j] < 0 else 'JOINT'} {names[j]}", pad + "{"])
        lines.append(f"{pad}  OFFSET {' '.join(repr(float(x)) for x in offsets[j])}")
        lines.append(f"{pad}  CHANNELS {len(channels[j])} {' '.join(channels[j])}")
        for k, parent in enumerate(parents):
            if parent == j:
                joint(k, depth + 1)
        for k, offset in ends:
            if k == j:
                numbers = " ".join(repr(float(x)) for x in offset)
                lines.extend([f"{pad}  End Site", pad + "  {", f"{pad}    OFFSET {numbers}", pad + "  }"])
        lines.append(pad + "}")

    for j, parent in enumerate(parents):
        if parent < 0:
            joint(j, 0)
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {step}"]
    lines += [" ".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def depth_first(parents):
    """The order in which `write` puts the joints."""
    order = []

    def visit(j):
        order.append(j)
        for k, parent in enumerate(parents):
            if parent == j:
                visit(k)

    visit(0)
    return order


def person(path, scale=1.0, turn=None, frames=4, rest_turn=None, root=(0.0, 0.95, 0.0), root_angles=(0, 0, 0)):
    """A standing adult with HUMANML3D's bones, facing +z; `turn` turns root and bones, `rest_turn` only the bones."""
    order = depth_first(HUMANML3D.parents)
    turn = np.eye(3) if turn is None else turn
    offsets = np.array(HUMANML3D.offsets)[order] @ (turn if rest_turn is None else rest_turn).T * scale
    parents = [-1 if HUMANML3D.parents[j] < 0 else order.index(HUMANML3D.parents[j]) for j in order]
    row = [*(turn @ np.array(root) * scale), *root_angles, *[0] * 63]
    return write(path, [HUMANML3D.joints[j] for j in order], parents, offsets, [ROOT6] + [ROT3] * 21, [row] * frames)


Y_TO_Z = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # y up to z up, right-handed: (x, y, z) -> (x, -z, y)


# 1) Kinematics.

EXOTIC = dict(
    names=["Root", "Hips Main", "leg", "shin", "arm", "hand", "tail"],
    parents=[-1, 0, 1, 2, 1, 4, 0],
    offsets=[[1, 2, 3], [0, 1, 0], [0.3, -1, 0.2], [0, -2, 0.1], [0.5, 1, 0], [2, 0, -0.4], [0, 0, -3]],
    channels=[
        "Zposition Xrotation Xposition Yrotation Yposition Zrotation".split(),
        "Yrotation Xrotation Yrotation Xposition Zposition Yposition".split(),  # proper Euler angles
        "Xrotation Zrotation Yrotation".split(),
        ["Zrotation"],
        "Yposition Zrotation Xrotation".split(),  # Y replaces that part of the offset only
        [],
        "Yrotation Zrotation Xrotation Zrotation".split(),
    ],
)


def slow_joints(rows, names, parents, offsets, channels, ends=()):
    """Positions (F, J, 3) by scipy, frame by frame and joint by joint."""
    Rotation = pytest.importorskip("scipy.spatial.transform", reason="scipy is the oracle").Rotation
    out = []
    for row in rows:
        world, place, column = [], [], 0
        for j, own in enumerate(channels):
            position, rotation = np.array(offsets[j], float), Rotation.identity()
            for channel in own:
                if channel.endswith("position"):
                    position["XYZ".index(channel[0])] = row[column]
                else:
                    rotation = rotation * Rotation.from_euler(channel[0].lower(), row[column], degrees=True)
                column += 1
            if parents[j] < 0:
                world.append(rotation)
                place.append(position)
            else:
                place.append(place[parents[j]] + world[parents[j]].apply(position))
                world.append(world[parents[j]] * rotation)
        out.append(place + [place[j] + world[j].apply(offset) for j, offset in ends])
    return np.array(out)


def test_any_channel_order_equals_a_slow_oracle(tmp_path):
    rng = np.random.default_rng(1)
    rows = rng.uniform(-400, 400, (6, sum(map(len, EXOTIC["channels"]))))
    ends = [(5, [1, 1, 1])]
    path = write(tmp_path / "a.bvh", **EXOTIC, rows=rows, ends=ends)
    want = slow_joints(rows, **EXOTIC, ends=ends)
    clip = bvh.read(path, unit=1.0, up="y")
    assert clip.names == tuple(EXOTIC["names"])
    np.testing.assert_allclose(clip.joints, want[:, :7], rtol=0, atol=2e-4)  # float32 of numbers up to 1000
    with_ends = bvh.read(path, unit=1.0, up="y", end_sites=True)
    assert with_ends.names == (*EXOTIC["names"][:6], "hand_end", "tail")
    np.testing.assert_allclose(with_ends.joints[:, 6], want[:, 7], rtol=0, atol=2e-4)


def test_rotations_apply_from_left_to_right(tmp_path):
    """By hand: Z 90 then X 90 is R = Rz Rx, so the bone +y goes to +z under Rx and stays there under Rz."""
    names, parents, offsets = ["a", "b"], [-1, 0], [[0, 0, 0], [0, 1, 0]]
    path = write(tmp_path / "a.bvh", names, parents, offsets, [["Zrotation", "Xrotation"], []], [[90, 90], [90, 0]])
    joints = bvh.read(path, unit=1.0, up="y").joints
    np.testing.assert_allclose(joints[:, 1], [[0, 0, 1], [-1, 0, 0]], atol=1e-6)  # float32


def test_position_channels_replace_the_offset_and_the_root_moves_too(tmp_path):
    channels = [ROOT6, ROOT6]
    rows = [[1, 2, 3, 0, 90, 0, 10, 20, 30, 0, 0, 0]]  # turned left: +x goes to -z, +z to +x
    path = write(tmp_path / "a.bvh", ["Root", "Hips"], [-1, 0], [[9, 9, 9], [7, 7, 7]], channels, rows)
    joints = bvh.read(path, unit=1.0, up="y").joints
    np.testing.assert_allclose(joints[0], [[1, 2, 3], [31, 22, -7]], atol=1e-5)  # float32 of 31


# 2) The text.


def test_layout_of_the_text_does_not_matter(tmp_path):
    rows = np.random.default_rng(2).uniform(-90, 90, (3, sum(map(len, EXOTIC["channels"]))))
    path = write(tmp_path / "a.bvh", **EXOTIC, rows=rows)
    want = bvh.read(path)
    text = path.read_text()
    other = re.sub(r"\n *\{", " {", text).replace("  ", "\t").replace("Frames: ", "FRAMES:\t").replace("JOINT", "Joint")
    other = other.replace("HIERARCHY\n", "\n# a comment\nHierarchy // another\n\n").replace("MOTION\n", "MOTION\n\n")
    path.write_bytes(b"\xef\xbb\xbf" + other.replace("\n", "\r\n").encode() + b"\r\n\t\r\n")
    clip = bvh.read(path)
    assert clip.names == want.names
    np.testing.assert_array_equal(clip.joints, want.joints)


def test_equal_names_are_told_apart(tmp_path):
    names = ["a", "b", "b#2", "b"]
    path = write(tmp_path / "a.bvh", names, [-1, 0, 0, 0], [[0, 0, 0]] * 4, [ROOT6, [], [], []], [[0] * 6])
    clip = bvh.read(path)
    assert clip.names == ("a", "b", "b#2", "b#3") and any("b#3" in note for note in clip.notes)


@for_each(
    "step, fps",
    [("0.0333333", 30), ("0.0333", 30), (".008333", 120), ("0.016666", 60), ("0.05", 20), ("8.3333e-3", 120),
     ("0.0333667", 1 / 0.0333667), ("0.01668335", 1 / 0.01668335), ("0.03", 1 / 0.03)],
)  # fmt: skip
def test_frame_rate_is_the_whole_number_that_the_digits_allow(tmp_path, step, fps):
    path = write(tmp_path / "a.bvh", ["a"], [-1], [[0, 0, 0]], [ROOT6], [[0] * 6], step=step)
    assert bvh.read(path).fps == pytest.approx(fps, rel=1e-12)


SMALL = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 3 Zrotation Yrotation Xrotation
  JOINT Leg
  {
    OFFSET 0 -1 0
    CHANNELS 1 Xrotation
    End Site
    {
      OFFSET 0 -1 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.05
0 0 0 1
0 0 0 2
"""


@for_each(
    "old, new, line, words",
    [
        ("HIERARCHY", "SKELETON", 1, "SKELETON"),
        ("ROOT Hips", "JOINT Hips", 2, "ROOT"),
        ("OFFSET 0 0 0", "OFFSET 0 x 0", 4, "OFFSET Y"),
        ("  OFFSET 0 0 0\n", "", 14, "Hips has no OFFSET"),
        ("CHANNELS 3", "CHANNELS 4", 5, "'JOINT'"),
        ("CHANNELS 3", "CHANNELS 99999999999", 5, "count"),
        ("Zrotation", "Wrotation", 5, "Wrotation"),
        ("    }\n  }\n}\nMOTION", "    }\n  }\nMOTION", 15, "Hips is not closed"),
        ("MOTION\n", "", 19, "MOTION"),
        ("Frames: 2", "Frames: 5", 20, "5"),
        ("0 0 0 2\n", "0 0 0 2\n" * 4, 23, "Frames: 2 (line 17)"),
        ("Frames: 2", "Frames: -2", 17, "-2"),
        ("Frames: 2\n", "", 18, "Frames: N"),
        ("0.05", "0", 18, "Frame Time"),
        ("0.05", "nan", 18, "Frame Time"),
        ("0 0 0 1", "0 0 0", 19, "3 numbers, expected 4"),
        ("0 0 0 1", "0 0 0 1 1", 19, "5 numbers, expected 4"),
        ("0 0 0 1", "0 0 0,5 1", 19, "Hips Xrotation"),
        ("0 0 0 2", "0 0 0 inf", 20, "Leg Xrotation"),
        ("0 0 0 2", "nan 0 0 2", 20, "Hips Zrotation"),
    ],
)
def test_errors_name_the_line(tmp_path, old, new, line, words):
    path = tmp_path / "a.bvh"
    path.write_text(SMALL)
    assert bvh.read(path).joints.shape == (2, 2, 3)
    assert old in SMALL
    path.write_text(SMALL.replace(old, new, 1))
    with pytest.raises(ValueError) as error:
        bvh.read(path)
    message = str(error.value)
    assert f"{path}, line {line}: " in message and words in message and "\n" not in message
    assert any(message in text for text in bvh.explain(path))


@for_each("said, rows", [(40, 41), (40, 39), (40, 42), (400, 404), (400, 396), (40, 40)])
def test_an_exporters_miscount_of_rows_is_noted(tmp_path, said, rows):
    """Rokoko writes Frames: 2311 above 2312 rows. All whole rows are read; trailing blank lines are none."""
    path = tmp_path / "a.bvh"
    head = SMALL.split("0 0 0 1")[0].replace("Frames: 2", f"Frames: {said}")
    path.write_text(head + "".join(f"0 0 0 {i}\n" for i in range(rows)) + "\n \n\t\n")
    clip = bvh.read(path)
    assert len(clip.joints) == rows
    note = f"frames: {rows} rows, the file says {said}; all rows are read"
    assert (note in clip.notes) == (note in bvh.explain(path)) == (said != rows)
    # a row that was cut short is an error whatever Frames: says
    path.write_text(path.read_text().rstrip() + "\n0 0\n")
    with pytest.raises(ValueError, match="2 numbers, expected 4"):
        bvh.read(path)


@for_each("said, rows", [(40, 43), (40, 37), (400, 405), (400, 395), (1, 0)])
def test_a_file_that_was_cut_short_is_no_miscount(tmp_path, said, rows):
    path = tmp_path / "a.bvh"
    head = SMALL.split("0 0 0 1")[0].replace("Frames: 2", f"Frames: {said}")
    path.write_text(head + "0 0 0 1\n" * rows)
    with pytest.raises(ValueError, match=f"Frames.*{said}"):
        bvh.read(path)


def test_what_the_caller_gets_wrong(tmp_path):
    path = tmp_path / "a.bvh"
    with pytest.raises(FileNotFoundError, match="a.bvh"):
        bvh.read(path)
    assert "a.bvh" in bvh.explain(path)[0]
    path.write_text(SMALL)
    for wrong in ({"fps": 0}, {"fps": float("nan")}, {"unit": -1}, {"up": "x"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            bvh.read(path, **wrong)
    path.write_text(SMALL.replace("0.05", "1").replace("Frames: 2", "Frames: 30000") + "0 0 0 3\n" * 29998)
    with pytest.raises(ValueError, match="too many to hold"):
        bvh.read(path, fps=1000)


@pytest.mark.slow
def test_hostile_files_are_refused_early(tmp_path):
    path = tmp_path / "a.bvh"
    for text, words in (
        ("HIERARCHY\n" + "{\n" * 70_000, "words before MOTION"),
        ("HIERARCHY " + "x" * (1 << 21), "longer than"),
        (SMALL.replace("JOINT Leg", "JOINT Leg\0"), "unprintable"),
        (SMALL.replace("JOINT Leg", "JOINT " + "L" * 201), "too long"),
        ("HIERARCHY\nROOT a {\nOFFSET 0 0 0\n" + "JOINT b {\nOFFSET 0 0 0\n" * 2000, "MOTION"),
        ("HIERARCHY\nROOT a {\nOFFSET 0 0 0\n" + "JOINT b {\nOFFSET 0 0 0\n" * 2000 + "MOTION\n", "1024 joints"),
        ("", "found 'nothing'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words) as error:
            bvh.read(path)
        assert len(str(error.value)) < 400
    with open(path, "wb") as file:
        file.truncate((256 << 20) + 1)  # sparse
    with pytest.raises(ValueError, match="larger than 256 MB"):
        bvh.read(path)


def test_names_in_an_old_encoding_are_kept_apart(tmp_path):
    path = tmp_path / "a.bvh"
    path.write_bytes(SMALL.replace("Hips", "H\u00fcfte").encode("latin-1"))
    assert bvh.read(path).names == ("H\\xfcfte", "Leg")
    path.write_text(SMALL.replace("Hips", "H\u00fcfte"), encoding="utf-8")
    assert bvh.read(path).names == ("H\u00fcfte", "Leg")


def test_find_is_sorted_and_sees_any_case(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.bvh", "a.BVH", "b/c.bvh", "d.txt"):
        (tmp_path / name).write_text(SMALL)
    assert [path.relative_to(tmp_path).as_posix() for path in bvh.find(tmp_path)] == ["a.BVH", "b/c.bvh", "z.bvh"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        bvh.find(tmp_path / "nowhere")


def test_explain_says_what_is_there_kept_and_dropped(tmp_path):
    path = person(tmp_path / "a.bvh", scale=100)
    text = "\n".join(bvh.explain(path, fps=20))
    for words in ("22 joints", "69 channels", "4 frames at 30 fps", "centimetres", "up: y", "joint map: smpl"):
        assert words in text
    path.write_text(SMALL)
    text = "\n".join(bvh.explain(path))
    assert "dropped: 1 End Sites" in text and "--joint-map" in text


# 3) Guesses.


@for_each("name", bvh.UNITS)
@for_each("size", [0.75, 1.0, 1.15])  # of a child, an adult of 1.65 m and a tall one
def test_unit_is_guessed_from_the_bones(tmp_path, name, size):
    clip = bvh.read(person(tmp_path / "a.bvh", scale=size / bvh.UNITS[name]))
    assert any(f"unit: {name} (guessed" in note for note in clip.notes)
    assert np.ptp(clip.joints[..., 1]) == pytest.approx(size * 1.4, abs=size * 0.1)  # toes to neck of this skeleton


def test_given_unit_counts(tmp_path):
    path = person(tmp_path / "a.bvh", scale=100)
    clip, other = bvh.read(path, unit=0.02), bvh.read(path)
    np.testing.assert_allclose(clip.joints, other.joints * 2, rtol=1e-6)  # float32
    assert "unit: 0.02 metres (given)" in clip.notes


def test_up_axis_is_guessed_and_turned(tmp_path):
    want = bvh.read(person(tmp_path / "y.bvh"))
    left = want.names.index("left_hip")
    assert want.joints[0, left, 0] > 0.05 and "up: y (guessed from the poses)" in want.notes  # left at +x, facing +z
    clip = bvh.read(person(tmp_path / "z.bvh", turn=Y_TO_Z))
    assert "up: z (guessed from the poses)" in clip.notes
    np.testing.assert_allclose(clip.joints, want.joints, atol=1e-6)  # float32


def test_frames_win_over_the_rest_pose_on_the_floor_only(tmp_path):
    """A root that turns a y-up rest pose upright in a z-up world, against a clip of someone who lies on the floor."""
    root = (0.0, 0.95, 0.0)
    upright = person(tmp_path / "a.bvh", turn=Y_TO_Z, rest_turn=np.eye(3), root=root, root_angles=(0, 0, 90))
    clip = bvh.read(upright)
    assert any(note.startswith("up: z (guessed; the frames look like z") for note in clip.notes)
    np.testing.assert_allclose(clip.joints, bvh.read(person(tmp_path / "y.bvh")).joints, atol=1e-6)  # float32
    lying = person(tmp_path / "b.bvh", root=(0.0, 0.1, 2.0), root_angles=(0, 0, 90))
    assert any(note.startswith("up: y (guessed; the frames look like z") for note in bvh.read(lying).notes)
    assert "up: z (given)" in bvh.read(lying, up="z").notes


def test_guesses_without_a_body_are_called_assumed(tmp_path):
    path = tmp_path / "a.bvh"
    path.write_text(SMALL)
    notes = " ".join(bvh.read(path).notes)
    assert "unit: metres (assumed" in notes


# 4) Resampling.


def test_spline_equals_scipy_and_slerp_too():
    interpolate = pytest.importorskip("scipy.interpolate", reason="scipy is the oracle")
    from scipy.spatial.transform import Rotation, Slerp

    rng = np.random.default_rng(3)
    for F in range(2, 12):
        values = rng.normal(size=(F, 2, 3))
        times = np.linspace(0, F - 1, 37)
        want = interpolate.CubicSpline(np.arange(F), values)(times)  # its default: not-a-knot
        np.testing.assert_allclose(cubic_spline(values, times), want, atol=1e-11)
        turns = Rotation.random(F, random_state=F)
        signs = rng.choice([-1, 1], (F, 1))  # the same rotations
        got = slerp(turns.as_quat(scalar_first=True) * signs, times)
        np.testing.assert_allclose(Rotation.from_quat(got, scalar_first=True).as_matrix(),
                                   Slerp(np.arange(F), turns)(times).as_matrix(), atol=1e-7)  # fmt: skip
    assert cubic_spline(np.ones((1, 3)), np.zeros(1)).tolist() == [[1, 1, 1]]
    same = np.array([[1.0, 0, 0, 0], [1, 1e-9, 0, 0]])
    assert np.isfinite(slerp(same, np.array([0, 0.5, 1]))).all()


@for_each("F, fps, want", [(135, 20, 90), (59, 20, 39), (74, 20, 49), (70, 20, 47), (1, 20, 1),
                                                (70, 60, 139), (91, 30, 91)])  # fmt: skip
def test_new_length_stays_within_the_clip(F, fps, want):
    assert new_length(F, 30.0, fps) == want


def test_resampled_bones_keep_their_lengths_and_frames_in_common_stay(tmp_path):
    rng = np.random.default_rng(4)
    rows = rng.uniform(-60, 60, (31, sum(map(len, EXOTIC["channels"]))))
    rows[:, 9:12] = rows[:, 16] = 1.0  # positions of the inner joints stand still, or their bones change
    rows[:, [0, 2, 4]] = np.cumsum(rows[:, [0, 2, 4]] / 100, axis=0)
    path = write(tmp_path / "a.bvh", **EXOTIC, rows=rows)
    before, after = bvh.read(path, unit=1.0, up="y"), bvh.read(path, fps=20, unit=1.0, up="y")
    assert (after.fps, len(after.joints)) == (20, 21) and "fps: 30 resampled to 20" in after.notes
    np.testing.assert_allclose(after.joints[::2], before.joints[::3], atol=1e-5)  # float32
    for j, parent in enumerate(EXOTIC["parents"][1:], 1):
        length = np.linalg.norm(after.joints[:, j] - after.joints[:, parent], axis=-1)
        assert np.ptp(length) < 1e-5


# 5) Joint maps.

SIDES = ("Left", "Right")
BIPED = "Hips Spine Spine1 Spine2 Neck Head".split()
LIMBS = "UpLeg Leg Foot Shoulder Arm ForeArm Hand".split()
NAMES = {
    "smpl": list(HUMANML3D.joints),
    "smpl-short": "Pelvis L_Hip R_Hip Spine1 L_Knee R_Knee Spine2 L_Ankle R_Ankle Spine3 L_Foot R_Foot Neck L_Collar "
    "R_Collar Head L_Shoulder R_Shoulder L_Elbow R_Elbow L_Wrist R_Wrist L_Hand R_Hand".split(),
    "mixamo": BIPED + [side + limb for side in SIDES for limb in [*LIMBS, "ToeBase", "HandIndex1"]],
    "lafan1": BIPED + [side + limb for side in SIDES for limb in [*LIMBS, "Toe"]],
    "cmu": "Hips LHipJoint RHipJoint LowerBack Spine Spine1 Neck Neck1 Head LThumb RThumb".split()
    + [side + limb for side in SIDES for limb in [*LIMBS, "ToeBase", "FingerBase", "HandIndex1"]],
    "asf": "root lowerback upperback thorax lowerneck upperneck head".split()
    + [side + bone for side in "lr" for bone in
       "hipjoint femur tibia foot toes clavicle humerus radius wrist hand fingers thumb".split()],
    "bandai-namco": "joint_Root Hips Spine Chest Neck Head".split()
    + [f"{limb}_{side}" for side in "LR" for limb in
       "Shoulder UpperArm LowerArm Hand UpperLeg LowerLeg Foot Toes".split()],
    "chest": "Hips Chest Chest2 Chest3 Chest4 Neck Head".split()
    + [side + limb for side in SIDES for limb in
       "Hip Knee Ankle Toe Collar Shoulder Elbow Wrist".split()],
    "kit-mmm": list(KIT.joints),
}  # fmt: skip


@for_each("name", MAPS)
@for_each("prefix", ["", "mixamorig:", "Bip:01:"])
def test_built_in_maps_are_found_and_whole(name, prefix):
    names = [prefix + joint for joint in NAMES[name]]
    found, joint_map = match_map(names)
    assert found == name and tuple(joint_map) == HUMANML3D.joints
    assert all(source in names for parts in joint_map.values() for source in parts)
    joints = np.random.default_rng(5).normal(size=(2, len(names), 3)).astype(np.float32)
    mapped = apply_map(joints, names, joint_map, HUMANML3D.joints)
    assert mapped.shape == (2, 22, 3) and mapped.dtype == np.float32
    for j, target in enumerate(HUMANML3D.joints):
        assert sum(joint_map[target].values()) == pytest.approx(1)
        for side, letter in (("left", "L"), ("right", "R")):
            sources = [source.removeprefix(prefix) for source in joint_map[target]]
            assert not target.startswith(side) or all(
                source.lower().startswith(side)
                or source.startswith(f"{letter}_")
                or source.endswith(f"_{letter}")
                or (name == "asf" and (source[0] == letter.lower() or source == "thorax"))  # a collar has both
                or (name == "kit-mmm" and source[0] in f"{letter}B")  # LS, and BLN of the neck, for a collar
                for source in sources
            )
        if len(joint_map[target]) == 1:
            np.testing.assert_array_equal(mapped[:, j], joints[:, names.index(next(iter(joint_map[target])))])


def test_bandai_spine1_is_the_midpoint_and_limbs_are_the_documented_ones():
    joint_map = MAPS["bandai-namco"]
    assert joint_map["spine1"] == {"Hips": 0.5, "Spine": 0.5}
    want = {"pelvis": "Hips", "left_hip": "UpperLeg_L", "right_knee": "LowerLeg_R", "spine3": "Chest",
            "left_wrist": "Hand_L", "right_collar": "Shoulder_R", "left_foot": "Toes_L"}  # fmt: skip
    assert {target: next(iter(joint_map[target])) for target in want} == want


def test_no_map_fits():
    with pytest.raises(ValueError, match=r"Hips, Tail.*closest.*misses.*LeftUpLeg.*--joint-map FILE.json"):
        match_map(["Hips", "Tail", "Spine", "Spine1", "Spine2", "Neck", "Head"])


def test_map_from_json(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"a": "x", "b": ["x", "y"], "c": {"x": 0.25, "y": 0.75}}))
    joints = np.array([[[0, 0, 0], [4, 8, 0]]], np.float32)
    mapped = apply_map(joints, ["x", "y"], read_map(path), ["c", "a", "b"])
    np.testing.assert_array_equal(mapped, [[[3, 6, 0], [0, 0, 0], [2, 4, 0]]])
    with pytest.raises(ValueError, match="no entry for d"):
        apply_map(joints, ["x", "y"], read_map(path), ["a", "d"])
    with pytest.raises(ValueError, match=r"uses y, which the clip lacks; it has x, z"):
        apply_map(joints, ["x", "z"], read_map(path), ["a", "b"])


@for_each(
    "text, words",
    [("[]", "JSON object"), ("{}", "JSON object"), ('{"a": 3}', "a: expected"), ('{"a": []}', "a: expected"),
     ('{"a": {"x": 0.5}}', "sum to 1"), ('{"a": {"x": "1"}}', "a: expected"), ('{"a": ["x", "x"]}', "twice"),
     ('{"a": {"x": NaN}}', "sum to 1"), ('{"a": ', "not valid JSON")],
)  # fmt: skip
def test_wrong_maps(tmp_path, text, words):
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        read_map(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


# 6) Real files.


def test_real_files_equal_the_prepared_clips(shared_data):
    """The prepared clips start with the pelvis at x = z = 0; nothing else is aligned. 11 of 13 files are there."""
    spec = importlib.util.spec_from_file_location("unpack", shared_data / "bandai" / "unpack.py")
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    clips = dict(unpack.clips())
    records = json.loads((shared_data / "bandai" / "meta.json").read_text())
    ids = {record["source"]: record["id"] for record in records}
    errors = []
    for path in bvh.find(shared_data / "bvh_samples"):
        clip = bvh.read(path, fps=20)
        name, joint_map = match_map(clip.names)
        assert name == "bandai-namco" and any("centimetres" in note for note in clip.notes)
        assert any(note.startswith("up: y") for note in clip.notes)
        if path.name in ids:
            joints = apply_map(clip.joints, clip.names, joint_map, HUMANML3D.joints).astype(np.float64)
            want = clips[ids[path.name]]
            assert joints.shape == want.shape, path.name
            joints -= joints[0, 0] * (1, 0, 1)
            errors.append(np.linalg.norm(joints - want, axis=-1).max())
    assert len(errors) == 11
    # metres: half of their grid of 0.025 mm along three axes, and float32; a natural spline is 0.8 mm off at the ends
    assert max(errors) < 2.5e-5


def test_real_files_equal_the_slow_oracle(shared_data):
    from motiongpt.data.readers.bvh_text import parse

    for path in bvh.find(shared_data / "bvh_samples"):
        file = parse(path)
        want = slow_joints(file.values[::40], file.names, file.parents, file.offsets, file.channels)
        got = bvh.read(path, unit=0.01, up="y", end_sites=True).joints[::40]
        np.testing.assert_allclose(got, want / 100, atol=2e-6)  # float32 of some metres


# 7) Broken files.


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """BVH is text, so lines and numbers are damaged, too, not only bytes."""
    kind = rng.integers(6)
    if kind == 0:
        return data[: rng.integers(len(data))]
    if kind == 1:
        broken = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 9)):
            broken[place] ^= 1 << rng.integers(8)
        return bytes(broken)
    lines = data.split(b"\n")
    i = rng.integers(len(lines))
    if kind == 2:
        return b"\n".join(lines[:i] + lines[i + 1 :])
    if kind == 3:
        return b"\n".join(lines[:i] + [lines[i]] * int(rng.integers(2, 50)) + lines[i:])
    numbers = list(re.finditer(rb"-?[0-9.]+", data))
    spot = numbers[rng.integers(len(numbers))]
    huge = [b"1e308", b"-1e999", b"nan", b"99999999999999999999", b"-1", b"0", b"", b"0x10", b"1e-300", b"\xff"]
    if kind == 4:
        return data[: spot.start()] + huge[rng.integers(len(huge))] + data[spot.end() :]
    return bytes(rng.permutation(np.frombuffer(data, np.uint8))) if rng.random() < 0.3 else data[::-1]


def damaged_files(path):
    """A hundred files of random angles, each damaged once."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        rows = rng.uniform(-90, 90, (5, sum(map(len, EXOTIC["channels"]))))
        yield mutated(write(path, **EXOTIC, rows=rows, ends=[(5, [1, 1, 1])]).read_bytes(), rng)


def test_a_hundred_mutations_are_read_or_refused(tmp_path):
    path = tmp_path / "a.bvh"
    copies = list(damaged_files(path))

    def sound(clip):
        return isinstance(clip, RawClip) and np.isfinite(clip.joints).all()

    def explained(refused):
        return any("broken" in line for line in bvh.explain(path, fps=20)) == refused

    check_mutations(path, lambda: bvh.read(path, fps=20), explained, copies, sound, least=50, most=95)


def test_the_skeleton_of_the_subject_is_part_of_a_records_fingerprint(tmp_path):
    """02.asf gives 02_01.bvh its thorax: a build that goes on must see that it came or changed."""
    person(tmp_path / "02_01.bvh")

    def fingerprint() -> str:
        clips, *_ = records("bvh", tmp_path, Options(skeleton=HUMANML3D))
        return next(iter(clips)).fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    (tmp_path / "02.asf").write_text(":version 1.10")
    second = fingerprint()
    (tmp_path / "02.asf").write_text(":version 1.10\n:name VICON")
    assert len({first, second, fingerprint()}) == 3
