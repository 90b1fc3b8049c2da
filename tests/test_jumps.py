"""Frames that do not belong to their neighbours: a rest pose at the ends, and jumps in clips of any kind."""

import importlib.util
import json

import numpy as np
import pytest
import test_explain
import test_reader_amass
import test_reader_asfamc
from cases import for_each
from test_reader_bvh import person

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.jumps import SIZE, find_jump, jump_warnings, rest_ends, turned_points
from motiongpt.data.readers import amass, asfamc, bvh, smplx
from motiongpt.features.smplx import SMPLX_COLUMNS, SMPLX_WIDTH
from motiongpt.motion import Motion
from motiongpt.motion_files import Reading, read_joints
from motiongpt.procedural.clips import generate_clip

pytestmark = pytest.mark.slow  # many small cases: together they take long

F = 24


def moving_rows(seed=0):
    """Rows (F, 69) of `person`: everybody's angles are far from 0 and change slowly; the root moves on."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(20, 60, 66) * rng.choice([-1, 1], 66) + np.linspace(0, 20, F)[:, None]
    return np.concatenate([np.linspace([0, 0.9, 0], [0, 0.9, 1], F), angles], axis=1)


def a_person(path, rows):
    """`person` with rows of its own."""
    text = person(path, frames=1).read_text().split("Frames:")[0]
    lines = [" ".join(f"{x:.6f}" for x in row) for row in rows]
    path.write_text(text + f"Frames: {len(rows)}\nFrame Time: 0.05\n" + "\n".join(lines) + "\n")
    return path


def at_rest(row, turned=0):
    """The row's place with all rotations 0, but for some that an exporter turns."""
    return np.concatenate([row[:3], np.zeros(66 - turned), np.full(turned, 21.0)])


@for_each(
    "first, last, turned, note",
    [
        (1, 0, 0, "rest pose: the first row left out"),
        (1, 0, 7, "rest pose: the first row left out"),
        (3, 0, 0, "rest pose: the first 3 rows left out"),
        (0, 1, 0, "rest pose: the last row left out"),
        (1, 2, 0, "rest pose: the first row and the last 2 rows left out"),
    ],
)
def test_a_rest_pose_at_the_ends_of_a_bvh_is_left_out(tmp_path, first, last, turned, note):
    rows = moving_rows()
    want = bvh.read(a_person(tmp_path / "plain.bvh", rows), unit=1.0, up="y")
    with_rest = [at_rest(rows[0], turned)] * first + [*rows] + [at_rest(rows[-1], turned)] * last
    path = a_person(tmp_path / "rest.bvh", with_rest)
    clip = bvh.read(path, unit=1.0, up="y")
    np.testing.assert_array_equal(clip.joints, want.joints)
    assert [line.startswith(note) for line in clip.notes if "rest" in line] == [True]
    assert any(line.startswith(note) for line in bvh.explain(path))
    assert not any("rest pose" in line for line in want.notes)


def test_somebody_who_moves_out_of_the_rest_pose_keeps_all_frames(tmp_path):
    rows = moving_rows()
    rows[:, 3:] *= np.linspace(0, 1, F)[:, None]
    clip = bvh.read(a_person(tmp_path / "a.bvh", rows), unit=1.0, up="y")
    assert len(clip.joints) == F and not any("rest pose" in note for note in clip.notes)
    # a first frame apart from the others is no rest pose if its joints are turned
    rows = moving_rows()
    rows[0, 3:] += 90
    assert len(bvh.read(a_person(tmp_path / "b.bvh", rows), unit=1.0, up="y").joints) == F
    # one frame that moves after a long rest is not the whole motion
    still = np.repeat(at_rest(rows[0])[None], F, axis=0)
    assert len(bvh.read(a_person(tmp_path / "c.bvh", [*still, *rows[:3]]), unit=1.0, up="y").joints) == F + 3


def test_other_outliers_do_not_hide_a_rest_pose():
    joints = np.cumsum(np.full((60, 1, 3), 0.01), axis=0)
    joints[0] -= 1
    joints[30:] += 2  # a cut: the step is larger than that from the rest pose
    is_rest = np.arange(60) == 0
    keep, step, usual = rest_ends(is_rest, joints)
    assert keep == slice(1, 60) and step > 1 and usual < 0.1
    assert rest_ends(is_rest[:5], joints[:5])[0] == slice(0, 5)  # too short to tell


def test_a_still_clip_with_one_twitch_keeps_its_rows(tmp_path):
    """A small step is far above steps of nothing, and no rest pose's."""
    rows = np.repeat(at_rest(moving_rows()[0])[None], F, axis=0)
    rows[2:, 3:9] += 1.0  # degrees; above what counts as rest
    clip = bvh.read(a_person(tmp_path / "a.bvh", rows), unit=1.0, up="y")
    assert len(clip.joints) == F and not any("rest pose" in note for note in clip.notes)
    rows[2:, 3:] = moving_rows()[0, 3:]  # but a still pose of its own after the rest pose is one
    assert len(bvh.read(a_person(tmp_path / "b.bvh", rows), unit=1.0, up="y").joints) == F - 2


def with_rest(rows, at=0):
    """Rows (F, N) with two more of zeros before, those columns that are not rotations, up to `at`, as in the first."""
    rest = np.zeros((2, rows.shape[1]))
    rest[:, :at] = rows[0, :at]
    return np.concatenate([rest, rows])


def test_a_rest_pose_before_a_motion_of_cmu_is_left_out(tmp_path):
    """Not for an index, which counts frames from the file's first."""
    plain = test_reader_asfamc.write_walk(tmp_path / "plain" / "02_01.amc", frames=48)
    lines = plain.read_text().splitlines()
    words = [line.split() for line in lines[4 : lines.index("2")]]
    zeros = [" ".join([name, *(["0"] * len(rest) if name != "root" else rest)]) for name, *rest in words]
    rest = tmp_path / "rest" / "02_01.amc"
    test_reader_asfamc.write_walk(rest, frames=4)  # its skeleton
    later = [str(int(line) + 2) if line.isdigit() else line for line in lines[3:]]
    rest.write_text("\n".join([*lines[:3], "1", *zeros, "2", *zeros, *later]) + "\n")
    want, clip = (asfamc.read(path, recorded_fps=20) for path in (plain, rest))
    np.testing.assert_array_equal(clip.joints, want.joints)
    assert any(note.startswith("rest pose: the first 2 rows left out") for note in clip.notes)
    assert len(asfamc.read(rest, recorded_fps=20, whole=True).joints) == len(want.joints) + 2


def test_a_rest_pose_before_a_motion_of_amass_is_left_out(tmp_path):
    models = test_reader_amass.write_models(tmp_path / "models", ("smplh",))
    poses = 0.5 + test_reader_amass.smooth_poses(48, 156)
    trans = np.zeros((48, 3))
    plain = test_reader_amass.motion(frames=48, fps=20.0, poses=poses, trans=trans)
    rest = plain | {"poses": with_rest(poses, 3), "trans": with_rest(trans)}
    paths = [test_reader_amass.write(tmp_path / name / "a_poses.npz", x) for name, x in (("a", plain), ("b", rest))]
    want, clip = (amass.read(path, models) for path in paths)
    np.testing.assert_array_equal(clip.joints, want.joints)
    assert any(note.startswith("rest pose: the first 2 rows left out") for note in clip.notes)
    assert len(amass.read(paths[1], models, whole=True).joints) == 50


def test_a_rest_pose_before_frames_of_smplx_is_left_out(tmp_path):
    rows = np.zeros((48, SMPLX_WIDTH), np.float32)
    turns = SMPLX_COLUMNS["body_pose"]
    rows[:, turns] = 0.5 + test_reader_amass.smooth_poses(48, turns.stop - turns.start)
    for name, values in (("plain", rows), ("rest", with_rest(rows))):
        np.save(tmp_path / f"{name}.npy", values.astype(np.float32))
    want, clip = (smplx.read(tmp_path / f"{name}.npy", fps=25, layout="train") for name in ("plain", "rest"))
    np.testing.assert_array_equal(clip.parameters, want.parameters)
    assert any(note.startswith("rest pose: the first 2 rows left out") for note in clip.notes)


@pytest.fixture(scope="module")
def walk():
    return next(clip.joints for clip in map(generate_clip, range(20), [0] * 20) if len(clip.joints) > 40)


def spoil(joints, kind):
    joints = joints.copy()
    if kind == "first":  # arms out, as a T-pose
        wrists = [HUMANML3D.joints.index(f"{side}_{name}") for side in ("left", "right") for name in ("elbow", "wrist")]
        joints[0, wrists] += np.array([[0.3, 0.2, 0], [0.6, 0.4, 0], [-0.3, 0.2, 0], [-0.6, 0.4, 0]], np.float32)
    elif kind == "cut":
        joints[20:] += np.float32([0.4, 0, 0])
    elif kind == "spike":
        joints[20] += np.float32([0, 0.5, 0])
    else:
        joints[20, HUMANML3D.joints.index("left_knee")] += np.float32([0, 0.8, 0.2])
    return joints


@for_each("kind, frame", [("first", 1), ("cut", 20), ("spike", 20), ("marker", 20)])
@for_each("scale", [1.0, 100.0])
def test_jumps_are_found_in_any_unit(walk, kind, frame, scale):
    jump = find_jump(scale * spoil(walk, kind))
    assert jump.frame == frame and jump.metres > 3 * jump.usual
    assert find_jump(scale * walk) is None


def test_no_false_alarm_on_procedural_motion():
    assert [i for i in range(300) if find_jump(generate_clip(i, 1).joints)] == []
    assert find_jump(np.zeros((2, 22, 3))) is None and find_jump(np.zeros((30, 22, 3))) is None


def unpacked(folder):
    spec = importlib.util.spec_from_file_location(f"unpack_{folder.name}", folder / "unpack.py")
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    return unpack.clips()


@pytest.mark.slow
def test_alarms_on_real_motion_are_few_and_right(shared_data):
    """Each clip of CMU that is named has a joint that moves 0.5 m or more in one frame, and 0.2 m or less beside it."""
    assert [name for name, joints in unpacked(shared_data / "bandai") if find_jump(joints)] == []
    found = {name: jump for name, joints in unpacked(shared_data / "cmu") if (jump := find_jump(joints))}
    assert len(found) <= 8 and {"cmu_01_07_3", "cmu_03_02_0"} <= set(found)
    assert all(jump.metres > 0.5 and jump.usual < 0.2 for jump in found.values())


def test_rotations_without_joints_are_judged_too():
    rng = np.random.default_rng(0)
    parameters = np.cumsum(rng.normal(0, 0.01, (40, SMPLX_WIDTH)), axis=0).astype(np.float32)
    assert turned_points(parameters).shape == (40, 107, 3)
    assert find_jump(turned_points(parameters), SIZE) is None
    parameters[0, SMPLX_COLUMNS["body_pose"]] += 1.0
    assert find_jump(turned_points(parameters), SIZE).frame == 1


def test_one_line_says_how_many_clips_and_where():
    assert jump_warnings({}, 10, 20.0) == []
    (line,) = jump_warnings({"a": [1, 0.3, 0.1], "b": [40, 0.9, 0.1]}, 10, 20.0)
    assert (
        line.startswith("2 of 10 clips jump (jumps in report.json), most of all b: 0.90 m")
        and "frame 40 at 2.00 s" in line
    )
    assert jump_warnings({"a": [1, 0.3, 0.1]}, 1, 20.0)[0].startswith("the clip jumps 0.30 m")


@pytest.mark.parametrize("source", ["joints", "humanml3d", "smplx"])
def test_a_build_and_explain_name_the_clip_that_jumps(script, tmp_path, source):
    (tmp_path / "in").mkdir()
    file, folder, flags = test_explain.MADE[source](tmp_path / "in")
    if source == "smplx":
        frame = dict(np.load(file / "6.npz"))
        np.savez(file / "6.npz", **frame | {"body_pose": frame["body_pose"] + 1.5})
        clip = file.name
    else:
        array = np.load(file)
        if source == "joints":
            array[15] += np.float32([0, 0.6, 0])
        else:
            array[15, 3] += 0.6  # the height of the root; other joints are relative to the floor
            array[15, 5 : 4 + 63 : 3] += 0.6
        np.save(file, array)
        clip = "c"
    assert "the clip jumps" in script("prepare", "--from", source, "--explain", file, *flags).out
    done = script("prepare", "--from", source, "--input", folder, "--out", tmp_path / "d", *flags)
    assert done.code == 0 and "WARNING: the clip jumps" in done.out, done.err
    report = json.loads((tmp_path / "d" / "report.json").read_text())
    assert sum("the clip jumps" in line for line in report["warnings"]) == 1 and report["splits"]["train"] == 1
    assert (
        list(report["jumps"]) == [clip]
        and "jumps" not in json.loads((tmp_path / "d" / "dataset.json").read_text())["counts"]
    )
    assert (tmp_path / "d" / "new_joint_vecs" / f"{clip}.npy").is_file()  # it is named, not dropped


def test_a_motion_of_ones_own_is_warned_about(tmp_path, walk):
    lines = []
    Motion(walk, 20.0, skeleton=HUMANML3D).save(tmp_path / "good.npy")
    read_joints(tmp_path / "good.npy", Reading(say=lines.append))
    assert lines == []
    Motion(spoil(walk, "cut"), 20.0, skeleton=HUMANML3D).save(tmp_path / "bad.npy")
    read_joints(tmp_path / "bad.npy", Reading(say=lines.append))
    assert len(lines) == 1 and lines[0].startswith("warning: the clip jumps 0.4")
