"""Poses of the stand-in body: closed forms, so a mirrored, mirrored-back or hanging figure cannot pass."""

import numpy as np
import pytest
import torch

from motiongpt.body.body_model import stand_in_body
from motiongpt.body.kinematics import posed_joints, turned_upright
from motiongpt.body.rotations import axis_angle_to_quaternion
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.features.smplx import SMPLX_COLUMNS, body_turns, stand_in_joints

INDEX = {name: j for j, name in enumerate(HUMANML3D.joints)}
LENGTHS = np.linalg.norm(HUMANML3D.offsets, axis=1)


def still(frames=3) -> np.ndarray:
    return np.zeros((frames, 182), np.float32)


def turn(parameters: np.ndarray, joint: str, axis_angle) -> None:
    """Set the local rotation of a body joint."""
    first = SMPLX_COLUMNS["body_pose"].start + 3 * (INDEX[joint] - 1)
    parameters[:, first : first + 3] = axis_angle


def lengths(joints: np.ndarray) -> np.ndarray:
    return np.linalg.norm(joints[:, 1:] - joints[:, list(HUMANML3D.parents[1:])], axis=-1)


def test_the_zero_pose_is_a_t_pose_of_the_skeletons_lengths():
    joints = stand_in_joints(still())
    assert joints.shape == (3, 22, 3) and joints.dtype == np.float32
    np.testing.assert_allclose(lengths(joints), np.tile(LENGTHS[1:], (3, 1)), atol=1e-6)
    at = {name: joints[0, j] for name, j in INDEX.items()}
    assert joints[..., 1].min() == 0  # the toes are on the floor
    toe = max(at["left_foot"][1], at["right_foot"][1])
    assert toe < 0.02 and 0.7 < at["pelvis"][1] < 1.1 and 1.3 < at["head"][1] < 1.7
    for side, sign in (("left", 1), ("right", -1)):  # left is +x of a body that faces +z
        assert sign * at[f"{side}_hip"][0] > 0.05 and at[f"{side}_foot"][2] - at[f"{side}_ankle"][2] > 0.1
        arm = at[f"{side}_wrist"] - at[f"{side}_shoulder"]
        length = LENGTHS[INDEX[f"{side}_elbow"]] + LENGTHS[INDEX[f"{side}_wrist"]]
        np.testing.assert_allclose(arm, (sign * length, 0, 0), atol=1e-6)
        assert at[f"{side}_knee"][1] < at[f"{side}_hip"][1] and at[f"{side}_ankle"][1] < at[f"{side}_knee"][1]


@pytest.mark.parametrize(
    ("joint", "wrist", "axis_angle", "points"),
    [
        ("left_shoulder", "left_wrist", (0, 0, np.pi / 2), (0, 1, 0)),  # raised
        ("left_shoulder", "left_wrist", (0, 0, -np.pi / 2), (0, -1, 0)),  # hanging
        ("right_shoulder", "right_wrist", (0, 0, -np.pi / 3), (-0.5, 3**0.5 / 2, 0)),
        ("left_shoulder", "left_wrist", (0, -np.pi / 2, 0), (0, 0, 1)),  # forward
    ],
)
def test_an_arm_turns_by_a_known_rotation(joint, wrist, axis_angle, points):
    parameters = still()
    turn(parameters, joint, axis_angle)
    joints = stand_in_joints(parameters)
    arm = joints[0, INDEX[wrist]] - joints[0, INDEX[joint]]
    np.testing.assert_allclose(arm / np.linalg.norm(arm), points, atol=1e-6)
    rest = stand_in_joints(still())
    others = [j for name, j in INDEX.items() if name.split("_")[-1] not in ("elbow", "wrist")]
    np.testing.assert_allclose(joints[:, others], rest[:, others], atol=1e-6)


def test_the_pelvis_moves_by_transl_and_turns_by_global_orient():
    parameters = still()
    parameters[:, SMPLX_COLUMNS["transl"]] = [(0, 5, 0), (0.5, 5, 0), (1, 5.25, -2)]
    parameters[:, SMPLX_COLUMNS["global_orient"]] = (0, np.pi / 2, 0)  # to the left, from +z to +x
    joints = stand_in_joints(parameters)
    pelvis = joints[:, 0]
    np.testing.assert_allclose(pelvis - pelvis[:1], [(0, 0, 0), (0.5, 0, 0), (1, 0.25, -2)], atol=1e-6)
    foot = joints[:, INDEX["left_foot"]] - joints[:, INDEX["left_ankle"]]
    assert (foot[:, 0] > 0.1).all() and np.abs(foot[:, 2]).max() < 1e-6
    assert joints[:2, :, 1].min() == 0 and joints[2, :, 1].min() == pytest.approx(0.25, abs=1e-6)


def test_joints_are_those_of_a_body_model_stood_on_the_floor():
    parameters = np.random.default_rng(0).normal(0, 0.3, (20, 182)).astype(np.float32)
    parameters[:, SMPLX_COLUMNS["global_orient"]] *= 0.3
    turns = np.concatenate([parameters[:, SMPLX_COLUMNS[name]] for name in ("global_orient", "body_pose")], axis=1)
    turns = axis_angle_to_quaternion(torch.from_numpy(turns.astype(np.float64).reshape(-1, 22, 3))).numpy()
    np.testing.assert_array_equal(turns, body_turns(parameters))
    trans = parameters[:, SMPLX_COLUMNS["transl"]].astype(np.float64)
    rest = stand_in_body().rest_joints(np.zeros(0))
    model = posed_joints(rest, turns, trans)
    np.testing.assert_array_equal(posed_joints(np.tile(rest, (20, 1, 1)), turns, trans), model)  # a rest per frame
    model[..., 1] -= model[..., 1].min()
    np.testing.assert_allclose(stand_in_joints(parameters), model, atol=1e-6)
    changed = parameters.copy()
    for name in ("betas", "left_hand_pose", "right_hand_pose", "jaw_pose", "expression"):
        changed[:, SMPLX_COLUMNS[name]] = 1
    np.testing.assert_array_equal(stand_in_joints(changed), stand_in_joints(parameters))


@pytest.mark.parametrize(("angle", "axis"), [(0, "y"), (np.pi, "-y"), (np.pi / 2, "z"), (-np.pi / 2, "-z")])
def test_other_up_axes_come_out_upright(angle, axis):
    """The same person in the axes of a camera (y down) or of a file with z up is drawn the same."""
    parameters = still()
    turn(parameters, "left_shoulder", (0, 0, 1.0))
    expected = stand_in_joints(parameters)
    parameters[:, SMPLX_COLUMNS["global_orient"]] = (angle, 0, 0)
    np.testing.assert_allclose(stand_in_joints(parameters), expected, atol=1e-5)
    rest = stand_in_body().rest_joints(np.zeros(0))
    assert turned_upright(posed_joints(rest, body_turns(parameters), np.zeros((3, 3))))[1] == axis
