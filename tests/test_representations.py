"""Representations: columns computed by hand, there and back, and names that do not fit."""

import numpy as np
import pytest
import torch

from motiongpt.body.rotations import rotate_y
from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON
from motiongpt.features.humanml3d import canonicalise, feature_groups, features_to_joints, joints_to_features
from motiongpt.features.representations import SMPLXParameters, get_representation
from motiongpt.features.smplx import SMPLX_COLUMNS
from motiongpt.procedural.clips import make_clip


@pytest.fixture(scope="module")
def joints():
    """A person walking in a circle, (F, 22, 3): heading and place change."""
    return make_clip(("walk_circle_left",), np.random.default_rng(0)).joints


def test_humanml3d_is_features_py(joints):
    representation = get_representation("humanml3d-263", HUMANML3D)
    assert (representation.name, representation.dim, representation.frames_lost) == ("humanml3d-263", 263, 1)
    features = representation.encode(joints)
    np.testing.assert_array_equal(features, joints_to_features(joints, HUMANML3D))
    np.testing.assert_array_equal(representation.decode(features), features_to_joints(features, HUMANML3D))
    assert representation.groups == feature_groups(HUMANML3D) and representation.joint_dim == 63
    kit = get_representation("humanml3d", KIT)
    assert kit.name == "humanml3d-251" and kit.metres_per_unit == KIT.metres_per_unit


def test_positions_there_and_back(joints):
    representation = get_representation("positions", HUMANML3D)
    features = representation.encode(joints)
    assert features.shape == (len(joints), 66) and features.dtype == np.float32
    placed = canonicalise(joints, HUMANML3D, retargeted=True)
    np.testing.assert_allclose(representation.decode(features), placed, atol=1e-5)  # float32 sums of 200 steps
    assert np.ptp(placed[:, 0, 0]) > 0.5  # the trajectory is kept
    again = representation.encode(representation.decode(features))
    np.testing.assert_allclose(again, features, atol=1e-5)
    # bones are the clip's own: nothing is retargeted
    bones = [np.linalg.norm(x[:, 5] - x[:, 8], axis=-1) for x in (joints, placed)]
    np.testing.assert_allclose(*bones, atol=1e-5)


def test_positions_columns_by_hand(joints):
    features = get_representation("positions", HUMANML3D).encode(joints)
    placed = canonicalise(joints, HUMANML3D, retargeted=True)
    np.testing.assert_array_equal(features[0, [0, 2]], 0)
    np.testing.assert_allclose(features[1:, [0, 2]], np.diff(placed[:, 0, [0, 2]], axis=0), atol=1e-6)
    np.testing.assert_allclose(features[:, 1], placed[:, 0, 1], atol=1e-6)
    wanted = placed[:, 20] - placed[:, 0] * [1, 0, 1]  # x and z from the root, y from the floor
    np.testing.assert_allclose(features[:, 60:63], wanted, atol=1e-6)


def test_positions_do_not_depend_on_where_and_whither(joints):
    representation = get_representation("positions", HUMANML3D)
    moved = rotate_y(torch.from_numpy(joints), torch.tensor(1.0)).numpy() + np.float32([3, 0.5, -7])
    np.testing.assert_allclose(representation.encode(moved), representation.encode(joints), atol=1e-5)  # float32 at 7 m


def test_positions_of_tensors_and_batches(joints):
    representation = get_representation("positions", HUMANML3D)
    features = representation.encode(joints)
    tensor = torch.from_numpy(features)
    assert torch.equal(torch.from_numpy(representation.decode(features)), representation.decode(tensor))
    batch = representation.decode(torch.stack((tensor, 2 * tensor)))
    assert torch.equal(batch[0], representation.decode(tensor)) and batch.shape == (2, len(joints), 22, 3)
    assert isinstance(representation.encode(torch.from_numpy(joints)), torch.Tensor)


def test_myoskeleton_has_84_columns(joints):
    x = np.concatenate((joints, joints[:, :6] + 0.1), axis=1)
    representation = get_representation("positions-84", MYOSKELETON)
    np.testing.assert_allclose(
        representation.decode(representation.encode(x)), canonicalise(x, MYOSKELETON, retargeted=True), atol=1e-5
    )
    covered = np.concatenate([np.arange(84)[columns] for columns in representation.groups.values()])
    assert sorted(covered) == list(range(84))  # every column in one group


def test_smplx_parameters_pass_through():
    representation = get_representation("smplx", HUMANML3D)
    parameters = np.random.default_rng(0).normal(size=(9, 182))
    assert representation.encode(parameters) is parameters and representation.name == "smplx-182"
    assert representation.groups == SMPLX_COLUMNS
    with pytest.raises(ValueError, match="--smplx-dir"):
        representation.decode(parameters)
    with pytest.raises(ValueError, match=r"\(..., F, 182\), got \(9, 181\)"):
        SMPLXParameters(HUMANML3D).encode(parameters[:, 1:])


def test_names_that_do_not_fit(joints):
    for name in ("h263", "humanml3d-x", ""):
        with pytest.raises(ValueError, match="no representation named"):
            get_representation(name, HUMANML3D)
    with pytest.raises(ValueError, match="humanml3d-263 does not fit skeleton kit-21, whose is humanml3d-251"):
        get_representation("humanml3d-263", KIT)
    with pytest.raises(ValueError, match=r"\(..., F, 66\), got \(4, 84\)"):
        get_representation("positions", HUMANML3D).decode(np.zeros((4, 84)))
    with pytest.raises(ValueError, match="22"):
        get_representation("positions", HUMANML3D).encode(joints[:, :21])
