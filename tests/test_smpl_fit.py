"""Joints to SMPL: motions of made-up bodies are recovered, twists are those of hinges, files are those of AMASS."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import at_most, for_each

from motiongpt.body import bone_fit, smpl_fit, twists
from motiongpt.body.amass_npz import amass_arrays, write_amass
from motiongpt.body.body_model import MODEL_JOINTS, BodyModel, load_body_model, stand_in_body
from motiongpt.body.feet import footprints, legs, slide_speeds
from motiongpt.body.rotations import angle_between, axis_angle_to_quaternion, quaternion_to_matrix
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.body.smpl_fit import fit_body
from motiongpt.data.readers import amass
from motiongpt.procedural.clips import generate_clip

FPS = 20.0
at = HUMANML3D.index


def load(name: str):
    path = Path(__file__).resolve().parents[1] / "benchmarks" / f"{name}.py"
    spec, before = importlib.util.spec_from_file_location(name, path), sys.path[:]
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


made = load("bench_smpl_fit")  # its bodies and motions


def posed(rest: np.ndarray, poses: np.ndarray, trans: np.ndarray) -> np.ndarray:
    """Forward kinematics once more, frame by frame with Rodrigues' formula: the oracle of these tests."""
    joints = np.zeros(poses.shape)
    for f, pose in enumerate(poses):
        turns = []
        for j, parent in enumerate(HUMANML3D.parents):
            angle = np.linalg.norm(pose[j])
            x, y, z = pose[j] / angle if angle > 0 else pose[j]
            K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            turn = np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
            turns.append(turns[parent] @ turn if parent >= 0 else turn)
            start = joints[f, parent] + turns[parent] @ (rest[j] - rest[parent]) if parent >= 0 else rest[0] + trans[f]
            joints[f, j] = start
    return joints


def motion(seed: int, frames: int = 60, **options) -> tuple[BodyModel, np.ndarray, np.ndarray]:
    """A made-up body, its betas, and joints of a motion of it."""
    body, betas = made.synthetic_body(seed), np.random.default_rng(seed).normal(size=10)
    poses, trans = made.synthetic_motion(frames, seed, **options)
    return body, betas, posed(body.rest_joints(betas), poses, trans)


def walker(frames: int = 60, seed: int = 0) -> np.ndarray:
    """Poses of somebody whose knees and elbows are hinges, bent by 23 to 80 degrees, and who twists all limbs."""
    rng, t = np.random.default_rng(seed), np.arange(frames)[:, None] / FPS

    def wave(n: int, size: float) -> np.ndarray:
        return size * np.sin(2 * np.pi * t * rng.uniform(0.1, 0.5, n) + rng.uniform(0, 6, n))

    poses = np.zeros((frames, 22, 3))
    poses[:, 0] = wave(3, 0.6)
    for side, bend in (("left", -1), ("right", 1)):
        poses[:, at(f"{side}_hip")], poses[:, at(f"{side}_shoulder")] = wave(3, 0.4), wave(3, 0.5)
        poses[:, at(f"{side}_knee"), 0] = 0.9 + wave(1, 0.5)[:, 0]
        poses[:, at(f"{side}_elbow"), 1] = bend * (0.9 + wave(1, 0.5)[:, 0])
        poses[:, at(f"{side}_ankle"), 0] = wave(1, 0.2)[:, 0]
    return poses


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles between rotations (..., 3)."""
    return np.degrees(angle_between(torch.from_numpy(a), torch.from_numpy(b)).numpy())


def turn_about(axis, angle: float) -> np.ndarray:
    vector = torch.tensor(axis, dtype=torch.float64) * angle
    return quaternion_to_matrix(axis_angle_to_quaternion(vector)).numpy()


# 1) Bodies come back.


@for_each("seed", range(4))
def test_a_made_up_motion_is_recovered(seed):
    body, betas, joints = motion(seed)
    fit = fit_body(joints.astype(np.float32), FPS, body)
    # the prior on betas costs 0.1 mm in the mean; the contract is 5 mm
    assert fit.errors.mean() < 5e-4 and fit.errors.max() < 2e-3
    assert np.abs(fit.betas - betas).max() < 0.2 and fit.scale == 1
    # what it says of itself is true
    again = posed(body.rest_joints(fit.betas), fit.pose, fit.trans)
    assert np.abs(again - fit.joints()).max() < 1e-9
    assert np.abs(fit.errors - np.linalg.norm(again - joints, axis=-1)).max() < 1e-6  # the input is float32


def test_the_pelvis_and_the_chest_turn_as_they_did():
    body, betas, joints = motion(5)
    poses, _ = made.synthetic_motion(60, 5)
    fit = fit_body(joints, FPS, body, betas)
    assert degrees(fit.pose[:, 0], poses[:, 0]).max() < 0.01
    # the chest against the world, as the spine between has twists that nobody sees
    ours, theirs = (np.eye(3)[None].repeat(60, 0) for _ in range(2))
    for j in (0, 3, 6, 9):
        ours = ours @ quaternion_to_matrix(axis_angle_to_quaternion(torch.from_numpy(fit.pose[:, j]))).numpy()
        theirs = theirs @ quaternion_to_matrix(axis_angle_to_quaternion(torch.from_numpy(poses[:, j]))).numpy()
    assert np.abs(ours - theirs).max() < 1e-4


@for_each("body", [stand_in_body(), made.synthetic_body(0)])
def test_the_rest_pose_is_zero(body):
    fit = fit_body(body.template[None].repeat(3, 0), FPS, body)
    for array in (fit.pose, fit.trans, fit.betas, fit.errors):
        assert np.abs(array).max() < 1e-6


@for_each(
    "axis, angle",
    [((0, 1, 0), np.pi), ((1, 0, 0), np.pi / 2), ((1, 0, 0), -np.pi / 2), ((0, 0, 1), np.pi), ((0.6, 0, 0.8), 3.0)],
)
def test_a_turned_body_turns_its_root_only(axis, angle):
    """Backwards, on the back, face down, upside down."""
    body = made.synthetic_body(1)
    turn, place = turn_about(axis, angle), np.array([1.0, 2.0, 3.0])
    fit = fit_body((body.template @ turn.T + place)[None], FPS, body)
    root = quaternion_to_matrix(axis_angle_to_quaternion(torch.from_numpy(fit.pose[0, 0]))).numpy()
    assert np.abs(root - turn).max() < 1e-6
    assert np.abs(fit.pose[:, 1:]).max() < 1e-6
    assert np.abs(fit.trans[0] - (turn @ body.template[0] + place - body.template[0])).max() < 1e-6


def test_moving_and_turning_a_motion_changes_root_and_place_only():
    body, _, joints = motion(2)
    turn, place = turn_about((0, 1, 0), 2.0), np.array([3.0, 0.5, -8.0])
    before, after = fit_body(joints, FPS, body), fit_body(joints @ turn.T + place, FPS, body)
    assert np.abs(after.betas - before.betas).max() < 1e-6
    assert degrees(after.pose[:, 1:], before.pose[:, 1:]).max() < 1e-4
    assert np.abs(after.joints() - (before.joints() @ turn.T + place)).max() < 1e-6


@for_each("size", [0.5, 0.75, 1.5, 1000.0])
def test_a_size_that_betas_do_not_reach_becomes_a_scale(size):
    body, _, joints = motion(3, 40)
    fit = fit_body(size * joints, FPS, body)
    # a size and a body of other proportions can stand for each other a little
    assert fit.scale * size == pytest.approx(1, abs=0.01)
    assert fit.errors.mean() < 1e-3
    assert np.abs(fit.betas).max() <= 5
    known = fit_body(size * joints, FPS, body, np.random.default_rng(3).normal(size=10))
    assert known.scale * size == pytest.approx(1, abs=1e-6) and known.errors.mean() < 1e-6


def test_a_body_without_shapes_keeps_the_size_of_its_own_motions():
    body = stand_in_body()
    joints = posed(body.template, *made.synthetic_motion(30, 0))
    fit = fit_body(joints, FPS, body)
    assert fit.scale == 1 and fit.errors.max() < 1e-6 and not fit.betas.any()
    assert fit_body(0.5 * joints, FPS, body).scale == pytest.approx(2)


def test_another_skeleton_is_met_as_well_as_the_body_can(monkeypatch):
    """HumanML3D's own offsets have collars and toes that no SMPL has: the error is told, and the scale stays."""
    joints = generate_clip(0, 0).joints
    fit = fit_body(joints, FPS, stand_in_body())
    assert fit.scale == 1 and 1e-3 < fit.errors.mean() < 0.02
    monkeypatch.setattr(bone_fit, "STEPS", 0)  # each joint for itself
    assert fit.errors.mean() < 0.8 * fit_body(joints, FPS, stand_in_body()).errors.mean()


# 2) What joints do not show.


def test_bent_elbows_and_knees_tell_the_twists_of_upper_arms_and_thighs():
    body, poses = made.synthetic_body(0), walker()
    joints = posed(body.template, poses, np.zeros((60, 3)))
    fit = fit_body(joints, FPS, body, np.zeros(10))
    limbs = [at(f"{side}_{name}") for side in ("left", "right") for name in ("hip", "knee", "shoulder", "elbow")]
    # 0.9 degrees in the mean, 4 at most, where an arm is stretched most: the prior of little twist
    apart = degrees(fit.pose[:, limbs], poses[:, limbs])
    assert apart.mean() < 2 and apart.max() < 8


def test_a_straight_arm_keeps_its_twist():
    body, poses = made.synthetic_body(0), np.zeros((60, 22, 3))
    poses[:, at("left_shoulder")] = (0.7, 0, 0)  # twisted about the arm
    poses[:, at("left_elbow"), 1] = (
        -1.2 * np.abs(np.cos(np.linspace(0, np.pi, 60))).clip(0.2) + 0.24
    )  # straight between
    joints = posed(body.template, poses, np.zeros((60, 3)))
    straight = np.abs(poses[:, at("left_elbow"), 1]) < 1e-9
    assert straight.sum() > 5
    fit = fit_body(joints, FPS, body, np.zeros(10))
    assert degrees(fit.pose[:, at("left_shoulder")], poses[:, at("left_shoulder")])[straight].max() < 6
    assert degrees(fit.pose[1:], fit.pose[:-1]).max() < 1.5 * degrees(poses[1:], poses[:-1]).max()


def test_hinges_do_not_bend_backwards():
    body, poses = made.synthetic_body(0), walker(40, 7)
    poses[:, [at("left_shoulder"), at("right_hip")]] = (2.6, 0, 0), (0, 2.2, 0)  # twisted far about arm and leg
    fit = fit_body(posed(body.template, poses, np.zeros((40, 3))), FPS, body, np.zeros(10))
    for joint, sign, axis in (("left_knee", 1, 0), ("right_knee", 1, 0), ("left_elbow", -1, 1), ("right_elbow", 1, 1)):
        assert (sign * fit.pose[:, at(joint), axis] > 0).all(), joint


def test_angles_are_at_most_pi_and_rotations_continuous():
    body, poses = made.synthetic_body(0), walker(80)
    poses[:, 0] = np.array([0, 1.0, 0]) * np.linspace(0, 4 * np.pi, 80)[:, None]  # two whole turns
    fit = fit_body(posed(body.template, poses, np.zeros((80, 3))), FPS, body, np.zeros(10))
    assert np.linalg.norm(fit.pose, axis=-1).max() <= np.pi + 1e-12
    assert degrees(fit.pose[1:], fit.pose[:-1]).max() < 1.5 * degrees(poses[1:], poses[:-1]).max()


def test_the_chain_solver_solves_what_a_dense_one_does():
    generator = torch.Generator().manual_seed(0)
    for F in (1, 2, 3, 4, 7, 8, 16, 21):
        N = 3
        whole = 0.1 * torch.eye(F * N, dtype=torch.float64)
        for f in range(F):  # squares of differences of neighbours
            J = torch.zeros(N, F * N, dtype=torch.float64)
            width = min(2, F - f) * N
            J[:, f * N : f * N + width] = torch.randn(N, width, generator=generator, dtype=torch.float64)
            whole += J.T @ J
        blocks = whole.view(F, N, F, N).transpose(1, 2)
        b = torch.randn(F, N, generator=generator, dtype=torch.float64)
        x = twists.solve_chain(blocks[range(F), range(F)], blocks[range(F - 1), range(1, F)], b)
        assert torch.allclose(x.flatten(), torch.linalg.solve(whole, b.flatten()), atol=1e-9)


# 3) Feet, pieces, long and short clips.


def slide(joints: np.ndarray, like: np.ndarray) -> float:
    """Metres a second of the toes where those of `like` stand."""
    prints = [footprints(like[:, leg.toe], FPS, smpl_fit.LOW, smpl_fit.SLOW) for leg in legs(HUMANML3D)]
    return slide_speeds(joints, prints, HUMANML3D, FPS).mean()


def test_feet_that_stand_in_the_motion_stand_in_the_fit(monkeypatch):
    body = made.synthetic_body(4)  # of other proportions
    clips = [np.asarray(generate_clip(0, i).joints[:60], np.float64) for i in range(3)]

    def added() -> float:
        """How much more the feet slide than those of the motions."""
        fits = [fit_body(joints, FPS, body, np.zeros(10)).joints() for joints in clips]
        return sum(slide(fit, joints) - slide(joints, joints) for fit, joints in zip(fits, clips, strict=True))

    held = added()
    monkeypatch.setattr(smpl_fit, "STANDING", 0.0)
    assert held < 0.6 * added() and held < 3 * 0.003  # m/s


def test_pieces_of_a_clip_give_what_the_whole_gives():
    body = made.synthetic_body(6)
    joints = posed(body.template, walker(90), np.zeros((90, 3)))
    whole = fit_body(joints, FPS, body, np.zeros(10))
    parts = [fit_body(joints[:50], FPS, body, np.zeros(10)), fit_body(joints[50:], FPS, body, np.zeros(10))]
    assert np.abs(np.concatenate([part.joints() for part in parts]) - whole.joints()).max() < 1e-9
    apart = degrees(np.concatenate([part.pose for part in parts]), whole.pose)
    assert apart[:, 0].max() < 1e-3 and apart[:, at("spine3")].max() < 3
    # what bent limbs tell is forgotten soon; 2 degrees at the cut itself
    assert apart[:40].max() < 0.5 and apart[60:].max() < 0.5 and apart.max() < 6


def test_chunks_have_no_seams(monkeypatch):
    body, poses = made.synthetic_body(7), walker(400)
    joints = posed(body.template, poses, np.zeros((400, 3)))
    whole = fit_body(joints, FPS, body, np.zeros(10))
    monkeypatch.setattr(smpl_fit, "CHUNK", 100)
    monkeypatch.setattr(smpl_fit, "PIECE", 70)
    sizes = []
    natural = smpl_fit.natural_twists

    def watched(turns, rest, fps):
        sizes.append(len(turns))
        return natural(turns, rest, fps)

    monkeypatch.setattr(smpl_fit, "natural_twists", watched)
    chunked = fit_body(joints, FPS, body, np.zeros(10))
    assert sizes == [220, 320, 320, 220]  # no chunk holds more than its margins, 120 frames on either side
    assert degrees(chunked.pose, whole.pose).max() < 0.01
    assert np.abs(chunked.joints() - whole.joints()).max() < 1e-9


@pytest.mark.slow
def test_ten_thousand_frames_take_seconds():
    body, betas, joints = motion(8, 1000)
    there_and_back = np.concatenate([joints, joints[::-1]] * 5)
    with at_most(90, "a fit of 10,000 frames"):  # 12 on an idle machine
        fit = fit_body(there_and_back, FPS, body)
    assert fit.pose.shape == (10_000, 22, 3) and fit.errors.mean() < 5e-4
    assert np.abs(fit.betas - betas).max() < 0.2
    # the same motion in another chunk is the same
    assert degrees(fit.pose[2100:2900], fit.pose[6100:6900]).max() < 0.1


@for_each("frames", [1, 2, 3])
def test_short_clips(frames):
    body, _, joints = motion(9, frames)
    fit = fit_body(joints, FPS, body)
    assert fit.pose.shape == (frames, 22, 3) and fit.errors.mean() < 1e-3


def test_standing_still_is_still():
    body, _, joints = motion(10, 1)
    fit = fit_body(joints.repeat(30, 0), FPS, body)
    assert np.abs(fit.pose - fit.pose[:1]).max() < 1e-9 and np.abs(fit.trans - fit.trans[:1]).max() < 1e-12


def test_left_and_right_swapped_is_some_body():
    body, _, joints = motion(11)
    fit = fit_body(joints[:, made.MIRRORED], FPS, body)
    assert np.isfinite(fit.pose).all() and fit.errors.mean() < 0.06  # a body that walks backwards, knees and toes back
    mirrored = fit_body(joints[:, made.MIRRORED] * (-1, 1, 1), FPS, body)  # a body again
    assert mirrored.errors.mean() < 0.02


def test_frames_without_a_body_do_no_harm_to_others():
    body, betas, joints = motion(12)
    holes = joints.copy()
    holes[20] = 0  # all joints in one place, as some trackers write for a lost frame
    fit = fit_body(holes, FPS, body, betas)
    assert np.isfinite(fit.pose).all() and fit.errors[np.arange(60) != 20].max() < 1e-6


def spoilt(value: float) -> np.ndarray:
    joints = stand_in_body().template[None].repeat(5, 0)
    joints[3, at("left_knee"), 1] = value
    return joints


GOOD = spoilt(0.0)


@for_each(
    "joints, fps, betas, said",
    [
        (spoilt(np.nan), FPS, None, "frame 3: left_knee is at y = nan.*1 of 5 frames"),
        (spoilt(np.inf), FPS, None, "frame 3: left_knee is at y = inf"),
        (spoilt(1e30), FPS, None, r"frame 3: left_knee is at y = 1e\+30, not a place in metres"),
        (GOOD[:0], FPS, None, r"\(F, 22, 3\), F at least 1, got float64 \(0, 22, 3\)"),
        (GOOD[:, :21], FPS, None, r"\(5, 21, 3\)"),
        (GOOD[0], FPS, None, r"got float64 \(22, 3\)"),
        (GOOD.astype(str), FPS, None, "must be numbers"),
        (GOOD.astype(complex), FPS, None, "must be numbers"),
        (GOOD, 0.0, None, "fps must be from 1 to 1000, got 0"),
        (GOOD, np.nan, None, "fps must be from 1 to 1000, got nan"),
        (GOOD, FPS, np.ones(3), "betas must be"),
        (GOOD, FPS, np.zeros((1, 10)), "betas must be"),
        (GOOD, FPS, np.zeros(11), "betas must be"),
        (0 * GOOD, FPS, None, "no body to fit"),
    ],
)
def test_bad_input_is_named(joints, fps, betas, said):
    with pytest.raises(ValueError, match=said):
        fit_body(joints, fps, stand_in_body(), betas)


def test_betas_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="betas must be finite"):
        fit_body(GOOD, FPS, made.synthetic_body(0), np.array([0.0, np.nan]))


# 4) Files of AMASS.


def model_file(path: Path, body: BodyModel) -> BodyModel:
    """A valid model file whose vertices are its joints, and the body that is read from it."""
    J = MODEL_JOINTS[body.kind]
    vertices, shapes = np.zeros((J, 3)), np.zeros((J, 3, 10))
    vertices[:22], shapes[:22] = body.template, body.directions
    tree = np.array([[2**32 - 1, *HUMANML3D.parents[1:], *[21] * (J - 22)], range(J)], np.uint32)
    path.parent.mkdir(parents=True)
    np.savez(path, J_regressor=np.eye(J), v_template=vertices, shapedirs=shapes, kintree_table=tree)
    return load_body_model(path, body.kind)


@for_each(
    "kind, place",
    [("smplh", "smplh/male/model.npz"), ("smplx", "smplx/SMPLX_MALE.npz"), ("smpl", "smpl/SMPL_MALE.npz")],
)
def test_our_reader_reads_what_was_written(kind, place, tmp_path):
    body = model_file(tmp_path / place, made.synthetic_body(0, kind))
    joints = posed(body.rest_joints(np.ones(10)), *made.synthetic_motion(40, 0))
    fit = fit_body(joints, 30.0, body)
    write_amass(tmp_path / "clip", fit, "male")
    (tmp_path / "clip").rename(tmp_path / "clip.npz")  # the name was taken as it is
    clip = amass.read(tmp_path / "clip.npz", tmp_path, fps=30, whole=True)
    assert clip.fps == 30 and np.abs(clip.joints - fit.joints()).max() < 1e-5  # float32


# shapes of the public archives: SMPL-H 2019, SMPL-X "stageii" 2023; F frames
ARCHIVES = {
    "smplh": {"poses": (7, 156), "trans": (7, 3), "betas": (16,), "dmpls": (7, 8), "gender": (), "mocap_framerate": ()},
    "smplx": {
        "poses": (7, 165), "trans": (7, 3), "betas": (16,), "gender": (), "surface_model_type": (), "num_betas": (),
        "mocap_frame_rate": (), "mocap_time_length": (), "root_orient": (7, 3), "pose_body": (7, 63),
        "pose_hand": (7, 90), "pose_jaw": (7, 3), "pose_eye": (7, 6),
    },
}  # fmt: skip
GMR = ("gender", "pose_body", "root_orient", "trans", "betas", "mocap_frame_rate")  # load_smplx_file
PHC = ("mocap_framerate", "trans", "poses", "betas", "gender")  # convert_amass_data.py


@for_each("kind", ARCHIVES)
def test_files_have_the_layout_that_retargeters_read(kind, tmp_path):
    body = made.synthetic_body(0, kind)
    fit = fit_body(posed(body.template, *made.synthetic_motion(7, 0)), 30.0, body)
    write_amass(tmp_path / "clip.npz", fit)
    with np.load(tmp_path / "clip.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert {key: arrays[key].shape for key in ARCHIVES[kind]} == ARCHIVES[kind]
    assert {*GMR, *PHC} <= set(arrays)
    assert "left_hand_pose" not in arrays  # GMR takes such a file for another layout
    assert str(arrays["gender"]) == "neutral" and arrays["mocap_frame_rate"].item() == 30
    assert int(arrays["mocap_framerate"] / 30) == 1 and int(arrays["num_betas"]) == 16
    assert arrays["betas"][10:].tolist() == [0] * 6 and (arrays["betas"][:10] == fit.betas).all()
    whole = np.concatenate((arrays["root_orient"], arrays["pose_body"]), axis=1)
    assert (arrays["poses"][:, :66] == whole).all() and not arrays["poses"][:, 66:].any()
    # z up: the same body, turned about itself as a whole
    turned = posed(body.rest_joints(fit.betas), whole.reshape(-1, 22, 3), arrays["trans"])
    x, y, z = np.moveaxis(fit.joints(), -1, 0)
    assert np.abs(turned - np.stack((-x, z, y), axis=-1)).max() < 1e-9


def test_a_fit_of_the_stand_in_body_needs_a_kind(tmp_path):
    fit = fit_body(GOOD, FPS, stand_in_body())
    with pytest.raises(ValueError, match="'stand-in' has no layout in AMASS: give one of smpl, smplh, smplx"):
        write_amass(tmp_path / "clip.npz", fit)
    assert not list(tmp_path.iterdir())
    assert amass_arrays(fit, kind="smplx")["poses"].shape == (5, 165)


@for_each(
    "gender, kind, said",
    [
        ("other", None, "gender must be"),
        ("male", "smplx", "smplh, so it cannot be .* smplx"),
        ("male", "mano", "no layout"),
    ],
)
def test_other_names_are_refused(gender, kind, said):
    body = made.synthetic_body(0)
    fit = fit_body(body.template[None], FPS, body)
    with pytest.raises(ValueError, match=said):
        amass_arrays(fit, gender, kind)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    body = made.synthetic_body(0)
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_amass(tmp_path / "taken", fit_body(body.template[None], FPS, body))
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]
