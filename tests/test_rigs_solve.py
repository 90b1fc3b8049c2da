"""Rotations from joints: closed forms, the motion that they give back, twist, and nothing that jumps."""

import dataclasses

import numpy as np
import pytest
from cases import for_each

from motiongpt.body.limbs import unit
from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26
from motiongpt.procedural.clips import make_clip
from motiongpt.rigs.anatomy import of_skeleton
from motiongpt.rigs.rest_pose import HINGES
from motiongpt.rigs.rig import get_rig
from motiongpt.rigs.solve import NEAR, solve
from motiongpt.rigs.turns import about, best_fit, between, continuous, euler, partway, quaternions, twist_of, wrapped
from motiongpt.rigs.twist import aimed

FPS = 20.0
T_POSE = get_rig("own").rest  # (22, 3)
ROUNDING = 1e-6  # metres: float64 through about ten matrix products, and a limb's closed form at its stretch
PART = {name: j for j, name in enumerate(HUMANML3D.joints)}


def clip(*actions, seed=0):
    return make_clip(actions, np.random.default_rng(seed)).joints.astype(np.float64)


def turn_angles(turns):
    """Degrees (...) of rotations (..., 3, 3); from the sine too, since the cosine alone loses small angles."""
    q = quaternions(turns)
    return np.degrees(2 * np.arctan2(np.linalg.norm(q[..., 1:], axis=-1), np.abs(q[..., 0])))


def random_turns(rng, *shape):
    """Uniform rotations (*shape, 3, 3)."""
    return best_fit(rng.normal(size=(int(np.prod(shape)), 3, 3)), np.eye(3)).reshape(*shape, 3, 3)


def random_walk(rng, frames, joints, size):
    """Local axis-angles (F, J, 3) that wander smoothly, up to about `size` radians."""
    times = np.arange(frames)[:, None, None]
    phase, speed = rng.uniform(0, 6.28, (2, 1, joints, 3))
    return size * np.sin(phase + times * (0.05 + 0.02 * speed))


def posed(rest, parents, local):
    """Joints (F, J, 3) and rotations in the world (F, J, 3, 3) of local rotations: an oracle, written apart."""
    world, joints = local.copy(), np.zeros((*local.shape[:2], 3))
    joints[:, 0] = rest[0]
    for j, parent in enumerate(parents):
        if parent >= 0:
            world[:, j] = world[:, parent] @ local[:, j]
            joints[:, j] = joints[:, parent] + world[:, parent] @ (rest[j] - rest[parent])
    return joints, world


def a_motion(seed, frames=60, size=0.6):
    """A rigid body of HumanML3D's tree that moves at random, with elbows and knees that bend about their hinges."""
    rng = np.random.default_rng(seed)
    angles = random_walk(rng, frames, 22, size)
    local = about(unit(angles), np.linalg.norm(angles, axis=-1))
    for part, hinge in HINGES.items():
        middle = PART[part.replace("shoulder", "elbow").replace("hip", "knee")]
        local[:, middle] = about(np.array(hinge), 1.0 + angles[:, middle, 0])  # 23 to 92 degrees
    return posed(T_POSE, HUMANML3D.parents, local)


# 1) Closed forms.


def test_the_t_pose_is_no_rotation():
    solved = solve(np.repeat(T_POSE[None], 3, axis=0), HUMANML3D, FPS)
    assert turn_angles(solved.turns).max() < 1e-4  # degrees; cosine and sine of float64
    assert np.abs(solved.rest - T_POSE).max() < ROUNDING and solved.names == HUMANML3D.joints


def test_a_turned_body_turns_only_the_root():
    """However it lies: on its back, upside down, facing away; no joint but the pelvis has a rotation of its own."""
    turns = np.concatenate([about(np.eye(3)[[0, 0, 1, 2]], np.radians([-90, 180, 180, 90])), random_turns(
        np.random.default_rng(0), 30)])  # fmt: skip
    joints = np.einsum("fab,jb->fja", turns, T_POSE - T_POSE[0]) + [3, 1, -2]
    solved = solve(joints, HUMANML3D, FPS)
    assert turn_angles(np.swapaxes(turns, -1, -2) @ solved.turns[:, 0]).max() < 1e-4
    for j, parent in enumerate(solved.parents[1:], 1):
        assert turn_angles(np.swapaxes(solved.turns[:, parent], -1, -2) @ solved.turns[:, j]).max() < 1e-4


def test_a_bent_elbow_turns_the_elbow_alone():
    """A forearm that comes forward: the elbow has the whole angle, the shoulder none."""
    angles = np.radians(np.linspace(30, 120, 10))
    joints = np.repeat(T_POSE[None], 10, axis=0)
    elbow, wrist = PART["left_elbow"], PART["left_wrist"]
    length = np.linalg.norm(T_POSE[wrist] - T_POSE[elbow])
    joints[:, wrist] = joints[:, elbow] + length * np.stack((np.cos(angles), 0 * angles, np.sin(angles)), axis=-1)
    solved = solve(joints, HUMANML3D, FPS)
    assert turn_angles(solved.turns[:, PART["left_shoulder"]]).max() < 1e-4
    assert np.allclose(turn_angles(solved.turns[:, elbow]), np.degrees(angles), atol=1e-4)


# 2) The motion comes back.


@for_each("seed", range(4))
def test_a_rigid_body_comes_back_whole(seed):
    """Joints to rounding; rotations of pelvis, chest and upper limbs, twist included, as they were."""
    joints, turns = a_motion(seed)
    solved = solve(joints, HUMANML3D, FPS)
    assert solved.error.max() < ROUNDING and solved.names == HUMANML3D.joints
    for name in ("pelvis", "spine3"):
        assert turn_angles(np.swapaxes(turns[:, PART[name]], -1, -2) @ solved.turns[:, PART[name]]).max() < 0.01
    for name in HINGES:  # the twist follows the bend with a pause of 0.05 s, so it is a little behind
        off = turn_angles(np.swapaxes(turns[:, PART[name]], -1, -2) @ solved.turns[:, PART[name]])
        assert np.median(off) < 2 and off.max() < 20


def test_siblings_that_move_get_a_joint_of_no_length():
    """Where hips or collars move against each other, the result is still exact, and the tree says so."""
    joints = clip("wave_both")
    solved = solve(joints, HUMANML3D, FPS)
    assert solved.error.max() < 1e-5  # float32 joints a metre from the origin
    added = [name for name in solved.names if name not in HUMANML3D.joints]
    assert "left_collar_base" in added and all(name.removesuffix("_base") in HUMANML3D.joints for name in added)
    for name in added:
        k = solved.names.index(name)
        assert np.allclose(solved.rest[k], solved.rest[solved.parents[k]])
    assert [solved.names[k] for k in solved.at] == list(HUMANML3D.joints)


def test_bones_that_stretch_are_reported_and_hands_and_feet_stay():
    joints = clip("walk_forward")
    noisy = joints + np.random.default_rng(0).normal(0, 0.004, joints.shape)
    solved = solve(noisy, HUMANML3D, FPS)
    leg = solved.joints[:, [solved.at[j] for j in (2, 5, 8)]]
    lengths = np.linalg.norm(np.diff(leg, axis=1), axis=-1)
    assert np.ptp(lengths, axis=0).max() < ROUNDING  # rigid now
    ends = [PART[f"{side}_{part}"] for side in ("left", "right") for part in ("ankle", "wrist")]
    # half a millimetre is left on purpose; a limb that is nearly straight cannot reach farther
    assert np.median(solved.error[:, ends]) <= NEAR + ROUNDING
    assert 0.001 < solved.error.mean() < 0.008
    assert np.allclose(solved.error, np.linalg.norm(solved.joints[:, solved.at] - noisy, axis=-1))


def kit_clip():
    """A walk on KIT's 21 joints, in metres, mirrored as KIT is: joints named left lie on the right."""
    joints = clip("walk_forward")
    body = [0, 3, 9, 12, 15, 17, 19, 21, 16, 18, 20, 2, 5, 8, 8, 11, 1, 4, 7, 7, 10]
    x = joints[:, body]
    for middle, toe in ((14, 15), (19, 20)):
        x[:, middle] = (x[:, middle] + x[:, toe]) / 2
    return x


@for_each("name", ["kit", "28", "26"])
def test_other_skeletons(name):
    joints = clip("walk_forward")
    if name == "kit":
        skeleton, x = KIT, kit_clip()
    elif name == "28":
        skeleton = MYOSKELETON
        tips = [10, 11, 20, 21, 9, 15]
        x = np.concatenate((joints, joints[:, tips] + (joints[:, tips] - joints[:, [7, 8, 18, 19, 6, 12]]) / 2), axis=1)
    else:
        skeleton = MYOSKELETON_26
        x = joints[:, [0, 0, 3, 9, 12, 15, 14, 17, 19, 21, 13, 16, 18, 20, 21, 21, 20, 20, 2, 2, 5, 8, 1, 1, 4, 7]]
    solved = solve(x, skeleton, FPS)
    assert solved.error.max() < 0.001
    assert solved.error.shape == (len(x), skeleton.num_joints)


def test_left_is_where_the_body_has_it():
    """KIT-ML's files are mirrored: its joint LH is the right hip of a body that faces +z."""
    parts = of_skeleton(KIT).parts
    assert KIT.joints[parts["right_hip"]] == "LH" and KIT.joints[parts["left_wrist"]] == "RW"
    assert of_skeleton(HUMANML3D).parts["left_knee"] == PART["left_knee"]


# 3) Twist.


def test_a_straight_limb_keeps_its_twist_and_returns_to_neutral():
    """An arm that bends, straightens and bends again: nothing flips where the plane of the elbow is unknown."""
    F = 120
    bend = np.radians(60) * np.clip(np.cos(np.linspace(0, 4 * np.pi, F)), 0, None)
    hinge = np.array(HINGES["left_shoulder"])
    twist = about(np.array([1.0, 0, 0]), np.full(F, 0.8))
    upper = np.repeat([[1.0, 0, 0]], F, axis=0)
    noise = np.random.default_rng(0).normal(0, 1e-3, (F, 3))
    lower = (twist @ (about(hinge, bend) @ np.array([1.0, 0, 0]))[..., None])[..., 0] + noise
    local = aimed(np.array([1.0, 0, 0]), upper, FPS, hinge, lower)
    angle = twist_of(local, np.array([1.0, 0, 0]))
    bent = bend > np.radians(30)
    assert np.abs(angle[bent] - 0.8).max() < 0.1
    assert -0.05 < angle.min() and angle.max() < 0.9 and np.abs(np.diff(angle)).max() < 0.2
    assert angle[40:45].min() < 0.5  # in the middle of the straight second it is on its way to neutral


def test_a_knee_bent_the_wrong_way_does_not_turn_the_leg():
    down = np.repeat([[0.0, -1.0, 0.0]], 10, axis=0)
    forward = unit(np.repeat([[0.0, -1.0, 0.5]], 10, axis=0))
    local = aimed(np.array([0.0, -1, 0]), down, FPS, np.array(HINGES["left_hip"]), forward)
    assert turn_angles(local).max() < 1


@for_each("miss", [0.0, 0.02, -0.02])
def test_a_bone_that_passes_its_pole_does_not_spin(miss):
    """A leg that goes straight over the head and on: the shortest rotation alone turns by up to 360 degrees there."""
    angles = np.radians(np.linspace(120, 240, 60))
    direction = unit(np.stack((np.full(60, miss), -np.cos(angles), np.sin(angles)), axis=-1))
    local = aimed(np.array([0.0, -1, 0]), direction, FPS)
    step = turn_angles(np.swapaxes(local[:-1], -1, -2) @ local[1:])
    assert step.max() < 25  # the leg itself goes 2 degrees a frame
    assert np.allclose(local @ np.array([0.0, -1, 0]), direction, atol=1e-9)


# 4) What is refused.


@for_each("change, word", [
    (lambda x: x[:0], "F > 0"), (lambda x: x[:, :21], "21 joints"), (lambda x: x[..., :2], "shape"),
    (lambda x: np.where(np.arange(len(x))[:, None, None] == 3, np.nan, x), "frame 3"),
    (lambda x: x * 1e9, "too far"),
])  # fmt: skip
def test_bad_joints_are_named(change, word):
    with pytest.raises(ValueError, match=word):
        solve(change(np.repeat(T_POSE[None], 5, axis=0)), HUMANML3D, FPS)


def test_a_skeleton_without_knees_is_refused():
    chains = ((0, 1, 2), (0, 3, 4), (0, 5, 6, 7), (6, 8), (6, 9))
    stump = dataclasses.replace(
        HUMANML3D, name="stump", joints=tuple("abcdefghij"), parents=(-1, 0, 1, 0, 3, 0, 5, 6, 6, 6),
        offsets=((0, 0, 0),) + ((0, 1, 0),) * 9, chains=chains, feet_left=(1, 2), feet_right=(3, 4), face=(3, 1, 8, 9),
        leg=(1, 2),
    )  # fmt: skip
    with pytest.raises(ValueError, match="leg needs a hip, a knee and an ankle"):
        solve(np.random.default_rng(0).normal(size=(3, 10, 3)), stump, FPS)


# 5) Rotations.


@for_each("order", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"])
def test_euler_angles_multiply_to_the_rotation(order):
    rng = np.random.default_rng(0)
    axis = np.eye(3)["XYZ".index(order[1])]
    turns = np.concatenate((random_turns(rng, 40), about(axis, np.radians([90.0, -90.0, 90.0])), np.eye(3)[None]))
    angles = euler(turns, order)
    product = np.eye(3)
    for letter, angle in zip(order, angles.T, strict=True):
        product = product @ about(np.eye(3)["XYZ".index(letter)], angle)
    assert np.abs(product - turns).max() < 1e-6  # the root of float64's rounding, as at the pole the sine is flat


@for_each("order", ["ZXY", "XYZ"])
def test_euler_angles_run_on(order):
    """Three turns about each axis in turn, and a pitch through the pole: angles grow, no frame jumps."""
    angle = np.linspace(0, 6 * np.pi, 400)
    for axis in range(3):
        steps = np.abs(np.diff(euler(about(np.eye(3)[axis], angle), order), axis=0))
        assert steps.max() < 2 * (angle[1] - angle[0])
    alone = euler(about(np.eye(3)["XYZ".index(order[0])], angle), order)
    assert np.allclose(alone, np.stack((angle, 0 * angle, 0 * angle), -1), atol=1e-9)


def test_quaternions_are_those_of_the_matrix_and_do_not_change_sign():
    turns = about(unit(np.array([1.0, 2, -1])), np.linspace(0, 4 * np.pi, 100))
    q = continuous(quaternions(turns))
    assert (q[1:] * q[:-1]).sum(-1).min() > 0.9 and q[0, 0] > 0
    w, x, y, z = q.T
    assert np.allclose(1 - 2 * (y * y + z * z), turns[:, 0, 0]) and np.allclose(2 * (x * y + w * z), turns[:, 1, 0])
    half = about(np.eye(3), np.pi)  # where w is zero
    assert np.allclose(np.abs(quaternions(half)), np.eye(4)[1:], atol=1e-9)


def test_halfway_and_best_fit():
    rng = np.random.default_rng(0)
    a, b = random_turns(rng, 2, 20)
    half = partway(a, b, 0.5)
    assert np.allclose(half @ np.swapaxes(a, -1, -2) @ half, b, atol=1e-9)
    rest = rng.normal(size=(4, 3))
    assert np.allclose(best_fit(np.einsum("fab,nb->fna", a, rest), rest), a, atol=1e-9)
    mirrored = best_fit((rest * [-1, 1, 1])[None], rest)
    assert np.allclose(np.linalg.det(mirrored), 1)  # a mirror image is met by a rotation, not by a mirror
    there = np.roll(np.eye(3), 1, axis=0)
    assert np.allclose((between(np.eye(3), there) @ np.eye(3)[..., None])[..., 0], there)
    assert np.allclose(wrapped(np.array([7.0, -7.0])), [7 - 2 * np.pi, 2 * np.pi - 7])
