"""Features: equal to the public HumanML3D code where it is sound, finite and invertible where it is not."""

import sys

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt.body.rotations import (
    axis_angle_to_quaternion,
    matrix_to_rotation_6d,
    quaternion_between,
    quaternion_conjugate,
    quaternion_multiply,
    quaternion_to_matrix,
    rotate_y,
)
from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.data.mirror import mirror_caption, mirror_joints
from motiongpt.features import humanml3d as M

GROUPS = M.feature_groups(HUMANML3D)
BANDAI = ("000057", "000086", "002020")


def load(shared_data, name):
    return dict(np.load(shared_data / "golden" / f"{name}.npz"))


def kit(shared_data):
    return KIT.with_offsets(np.load(shared_data / "golden" / "tgt_offsets_kit_bandai.npy"))


def rest_pose(skeleton=HUMANML3D):
    """Feet apart, arms and legs bent a little, facing +z: (J, 3)."""
    bones = np.array(skeleton.offsets)
    for name, tilt in (("left_knee", 0.2), ("right_knee", -0.1), ("left_elbow", 0.5), ("right_elbow", 0.9)):
        bones[skeleton.index(name), 2] += tilt * 0.2
    joints = np.zeros_like(bones)
    for joint, parent in enumerate(skeleton.parents[1:], 1):
        joints[joint] = joints[parent] + bones[joint]
    return joints


def walk_turning(headings, noise=0.01):
    """The rest pose with noise (metres), walking where it faces: headings (F,) radians -> joints (F, J, 3) float64."""
    rng = np.random.default_rng(0)
    pose = torch.from_numpy(rest_pose() + rng.normal(scale=noise, size=(len(headings), 22, 3)))
    angle = torch.as_tensor(headings, dtype=torch.float64)
    joints = rotate_y(pose, angle[:, None])
    steps = rotate_y(torch.tensor([0.0, 0.0, 0.05], dtype=torch.float64).expand(len(angle), 3), angle)
    return (joints + steps.cumsum(0)[:, None]).numpy()


def joints_from_rotations(features, skeleton):
    """The public code's `recover_from_rot`: features (F, D) -> joints (F, J, 3) by forward kinematics.

    The oracle for the rotation columns, which nothing else reads. Bone lengths are the skeleton's.
    """
    heading, root = map(torch.as_tensor, M.recover_root(features))
    x = torch.as_tensor(features)
    columns = x[:, M.feature_groups(skeleton)["rot6d"]].unflatten(-1, (-1, 2, 3))  # (F, J - 1, 2, 3)
    first, second = columns.unbind(-2)
    local = torch.stack((first, second, torch.linalg.cross(first, second)), dim=-1)  # (F, J - 1, 3, 3)
    turns = torch.stack((torch.zeros_like(heading), -heading, torch.zeros_like(heading)), dim=-1)
    start = quaternion_to_matrix(axis_angle_to_quaternion(turns))  # (F, 3, 3), the root's
    offsets = x.new_tensor(skeleton.offsets)
    joints = [root] * skeleton.num_joints
    for chain in skeleton.chains:
        rotation = start  # every chain starts at the root, even the arms
        for parent, joint in zip(chain[:-1], chain[1:], strict=True):
            rotation = rotation @ local[:, joint - 1]
            joints[joint] = joints[parent] + rotation @ offsets[joint]
    return torch.stack(joints, dim=1).numpy()


def assert_groups_equal(ours, reference, skeleton, atol, skip_yaw_frames=()):
    assert ours.shape == reference.shape
    for name, columns in M.feature_groups(skeleton).items():
        error = np.abs(ours[:, columns].astype(np.float64) - reference[:, columns]).max(axis=1)
        if name == "root_yaw_velocity":
            error = np.delete(error, list(skip_yaw_frames))
        assert error.max() < atol, f"{name}: {error.max()} in frame {error.argmax()}"


# Against the public code.


@pytest.mark.parametrize("clip, frames", [("hml_012314", 170), ("hml_000612", 61)])
def test_published_humanml3d_files(shared_data, clip, frames):
    golden = load(shared_data, clip)
    ours = M.joints_to_features(golden["joints_in"], HUMANML3D)
    assert ours.dtype == np.float32 and ours.shape == golden["features_dataset"].shape
    # 1e-4: the public code turns vectors in float32 and reproduces its own files to 8e-6
    assert_groups_equal(ours[:frames], golden["features_dataset"][:frames], HUMANML3D, 1e-4)


@for_each("prefix", ["", "mirror_", "kit_"])
@for_each("clip", BANDAI)
def test_features_equal_the_reference(shared_data, clip, prefix):
    golden = load(shared_data, f"bandai_{clip}")
    skeleton = kit(shared_data) if prefix == "kit_" else HUMANML3D
    ours = M.joints_to_features(golden[prefix + "raw_joints"], skeleton)
    reference = golden[prefix + "features"]
    # the public quaternion flips its sign where the heading passes +-180 degrees: its yaw step is wrong there
    flips = []
    if clip == "002020" and prefix != "kit_":
        flips = np.nonzero(np.abs(ours[:, 0] - reference[:, 0]) > 0.1)[0].tolist()
        assert len(flips) == 1 and abs(reference[flips[0], 0] + ours[flips[0], 0]) < 1e-5  # exactly the other sign
    # KIT is in millimetres, up to 1e3: 5e-3 is the float32 rounding of the public code, 1e-4 m would be 0.1
    assert_groups_equal(ours, reference, skeleton, 5e-3 if prefix == "kit_" else 1e-4, flips)


@for_each("prefix", ["", "kit_"])
@for_each("clip", BANDAI)
def test_every_stage_equals_the_reference(shared_data, clip, prefix):
    golden = load(shared_data, f"bandai_{clip}")
    skeleton = kit(shared_data) if prefix == "kit_" else HUMANML3D
    atol = 5e-3 if prefix == "kit_" else 2e-5  # float32 rounding of the public code, at 1e3 mm and at 1 m
    features = golden[prefix + "features"]
    ours = {
        "uniform_joints": M.retarget(golden[prefix + "raw_joints"], skeleton),
        "global_positions": M.canonicalise(golden[prefix + "raw_joints"], skeleton),
        "ric_joints": M.features_to_joints(features, skeleton),
        "rot_joints": joints_from_rotations(features, skeleton),
        "root_pos": M.recover_root(features)[1],
    }
    for name, value in ours.items():
        np.testing.assert_allclose(value, golden[prefix + name], rtol=0, atol=atol, err_msg=name)
    half = M.recover_root(features)[0] / 2
    quaternion = np.stack([np.cos(half), 0 * half, -np.sin(half), 0 * half], axis=-1)
    np.testing.assert_allclose(quaternion, golden[prefix + "root_rot_quat"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("clip", ["hml_012314", "hml_000612"])
def test_recovery_of_published_files(shared_data, clip):
    golden = load(shared_data, clip)
    joints = M.features_to_joints(golden["features_dataset"], HUMANML3D)
    np.testing.assert_allclose(joints, golden["ric_joints"], rtol=0, atol=1e-6)  # float32 sums over 200 frames


def test_published_folder_there_and_back(shared_data):
    """Every ninth file of a folder that the public code wrote: features -> joints -> the same features."""
    folder = shared_data / "humanml3d_folder"
    for path in sorted((folder / "new_joint_vecs").glob("*.npy"))[::9]:
        reference = np.load(path).astype(np.float64)
        joints = M.features_to_joints(reference, HUMANML3D)
        np.testing.assert_allclose(joints, np.load(folder / "new_joints" / path.name), rtol=0, atol=1e-6)
        # the clip's last frame is not in the file, but the last step that leads to it is
        step = torch.from_numpy(reference[-1, GROUPS["local_velocity"]].reshape(22, 3))
        last = joints[-1] + rotate_y(step, torch.tensor(M.recover_root(reference)[0][-1])).numpy()
        ours = M.joints_to_features(np.concatenate([joints, last[None]]), HUMANML3D, retargeted=True)
        assert_groups_equal(ours, reference, HUMANML3D, 1e-4)  # worst of all 180 files: 8.2e-5, in the rotations


def test_folder_from_raw_joints(shared_data, monkeypatch):
    monkeypatch.syspath_prepend(str(shared_data / "bandai"))
    import unpack

    monkeypatch.delitem(sys.modules, "unpack")
    files = sorted((shared_data / "humanml3d_folder" / "new_joint_vecs").glob("*.npy"))[::9]
    references = {path.stem: np.load(path) for path in files}
    for clip, joints in unpack.clips():
        if clip not in references:
            continue
        ours = M.joints_to_features(joints, HUMANML3D)
        # the raw joints are stored on a grid of 0.025 mm, which tilts a bone of 6 cm by up to 7e-4 rad and may move a
        # foot over the contact threshold; the rotations amplify it where a bone is nearly opposite to its rest pose
        error = np.abs(ours - references[clip])
        assert error[:, : GROUPS["rot6d"].start].max() < 5e-4
        assert error[:, GROUPS["local_velocity"]].max() < 5e-4
        assert error[:, GROUPS["rot6d"]].max() < 2e-2
        assert error[:, GROUPS["contacts"]].sum() <= 1


# Where the public code breaks.


def assert_round_trip(joints, skeleton=HUMANML3D, atol=1e-3):
    """There and back the clip moves by less than `atol` metres, and nothing is NaN. Returns the features."""
    features = M.joints_to_features(joints, skeleton)
    assert np.isfinite(features).all()
    back = M.features_to_joints(features, skeleton)
    np.testing.assert_allclose(back, M.canonicalise(joints, skeleton)[:-1], rtol=0, atol=atol)
    return features


@for_each("prefix", ["", "mirror_"])
@for_each("clip", BANDAI)
def test_round_trip_of_real_clips(shared_data, clip, prefix):
    assert_round_trip(load(shared_data, f"bandai_{clip}")[prefix + "raw_joints"], atol=1e-5)


def test_heading_past_half_a_turn():
    headings = np.linspace(0, 5 * np.pi, 300)
    assert_round_trip(walk_turning(headings), atol=1e-6)
    features = assert_round_trip(walk_turning(headings, noise=0), atol=1e-6)
    turned, _ = M.recover_root(features)
    # the smoothing repeats the ends for 80 frames, so compare the middle; a symmetric filter keeps a steady turn
    np.testing.assert_allclose(np.diff(turned[100:200]), 5 * np.pi / 299, rtol=1e-9)
    assert turned[-1] > 3 * np.pi  # not wrapped


@pytest.mark.parametrize("start", [np.pi, -np.pi, np.pi / 2])
def test_facing_backwards_at_the_start(start):
    joints = walk_turning(np.full(30, start))
    assert_round_trip(joints, atol=1e-6)
    canonical = M.canonicalise(joints, HUMANML3D)
    np.testing.assert_allclose(canonical, M.canonicalise(walk_turning(np.zeros(30)), HUMANML3D), rtol=0, atol=1e-9)


def test_exactly_backwards_is_not_nan():
    still = np.repeat(rest_pose()[None], 5, axis=0)
    backwards = still * np.array([-1.0, 1.0, -1.0])  # an exact half turn: the public code divides 0 by 0
    features = assert_round_trip(backwards, atol=1e-6)
    np.testing.assert_allclose(features, M.joints_to_features(still, HUMANML3D), rtol=0, atol=1e-12)


def test_reference_nan_clip(shared_data):
    golden = load(shared_data, "edge_nan_heading_001519")
    assert np.isnan(golden["reference_features"]).any()
    features = assert_round_trip(golden["raw_joints"], atol=1e-5)
    # the same clip before it was put on a grid of 0.025 mm, which kept it off the exact half turn
    assert_groups_equal(features, golden["features_of_unquantised"], HUMANML3D, 1e-2)


def test_bone_opposite_to_rest_and_bone_without_length():
    joints = np.repeat(rest_pose()[None], 6, axis=0)
    wrist, elbow, head, neck = (HUMANML3D.index(n) for n in ("left_wrist", "left_elbow", "head", "neck"))
    joints[:, wrist] = joints[:, elbow] + [0.0, 0.3, 0.0]  # the forearm points up, its rest pose points down
    joints[:, head] = joints[:, neck]
    features = assert_round_trip(joints, atol=1e-6)
    by_rotation = joints_from_rotations(features, HUMANML3D)
    np.testing.assert_allclose(by_rotation, M.canonicalise(joints, HUMANML3D)[:-1], rtol=0, atol=1e-6)


# Against a plain way to the rotations.


def plain_rotations(x, headings, skeleton):
    """The rotation columns by quaternions, joint by joint: placed joints (F, J, 3), headings (F,) -> (F, 6 (J - 1))."""
    x, headings = torch.from_numpy(x), torch.as_tensor(headings)
    turns = torch.stack((torch.zeros_like(headings), -headings, torch.zeros_like(headings)), dim=-1)
    world = [axis_angle_to_quaternion(turns)]
    for joint, parent in enumerate(skeleton.parents[1:], 1):
        world.append(quaternion_between(x.new_tensor(skeleton.offsets[joint]), x[:, joint] - x[:, parent]))
    local = [
        quaternion_multiply(quaternion_conjugate(world[before]), world[joint])
        for joint, before in enumerate(skeleton.chain_predecessors, 1)
    ]
    return torch.cat([matrix_to_rotation_6d(quaternion_to_matrix(q)) for q in local], dim=-1).numpy()


@for_each("broken", [None, "opposite", "no length", "nearly opposite"])
def test_rotations_equal_those_by_quaternions(broken):
    joints = walk_turning(np.linspace(0, 2, 30))
    hand, arm = HUMANML3D.index("left_wrist"), HUMANML3D.index("left_elbow")
    bone = {
        "opposite": (0, 0.25, 0),
        "no length": (0, 0, 0),
        "nearly opposite": (1e-9, 0.25, 0),
    }  # at rest it points down
    if broken:
        joints[10:12, hand] = joints[10:12, arm] + bone[broken]
    placed = M.canonicalise(joints, HUMANML3D, retargeted=True)
    if broken == "opposite":  # exactly so, after the placing as well
        placed[10:12, hand] = placed[10:12, arm] + bone[broken]
    features = M.joints_to_features(placed, HUMANML3D, retargeted=True)
    headings = M.recover_root(np.concatenate([features, features[-1:]]))[0][:-1]
    expected = plain_rotations(M.canonicalise(placed, HUMANML3D, retargeted=True)[:-1], headings, HUMANML3D)
    # float64; a bone 1e-9 of a turn from opposite has lost nine of sixteen digits
    atol = 1e-6 if broken == "nearly opposite" else 1e-12
    np.testing.assert_allclose(features[:, GROUPS["rot6d"]], expected, rtol=0, atol=atol)


# What the columns mean.


def test_root_columns_mean_what_they_say():
    """Four frames, no noise: a quarter turn to the left and one step forward."""
    pose = torch.from_numpy(rest_pose())
    angle = torch.tensor([0.0, 0.0, np.pi / 4, np.pi / 2])
    joints = rotate_y(pose, angle.double()[:, None]).numpy()
    joints[1:, :, 2] += 0.1
    x = M.joints_to_features(joints, HUMANML3D, retargeted=True)
    assert x.shape == (3, 263)
    heading, root = M.recover_root(x)
    assert (x[1:, GROUPS["root_yaw_velocity"]] <= 0).all()  # turning left: heading grows, minus half of it is stored
    np.testing.assert_allclose(heading[1:] - heading[:-1], -2 * x[:-1, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(root[:, [0, 2]], [[0, 0], [0, 0.1], [0, 0.1]], rtol=0, atol=1e-12)
    np.testing.assert_allclose(x[:, GROUPS["root_height"]][:, 0], root[:, 1], rtol=0, atol=0)
    assert x[0, GROUPS["contacts"]].tolist() == [0, 0, 0, 0]  # 0.1 m in one frame, squared 0.01 > 0.002
    assert M.canonicalise(joints, HUMANML3D, retargeted=True)[..., 1].min() == 0


def test_left_of_someone_facing_z_is_positive_x():
    x = M.canonicalise(walk_turning(np.full(4, 2.0)), HUMANML3D)
    assert x[0, HUMANML3D.index("left_hip"), 0] > 0 > x[0, HUMANML3D.index("right_hip"), 0]
    assert x[-1, 0, 2] > 0.1  # it walks forward


def test_features_ignore_where_and_which_way_the_clip_starts():
    joints = walk_turning(np.linspace(0, 1, 40))
    turn = axis_angle_to_quaternion(torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64))
    moved = joints @ quaternion_to_matrix(turn).squeeze().numpy().T + [3.0, -1.0, 7.0]
    # 1e-9: float64, a few hundred operations
    ours, other = (M.joints_to_features(j, HUMANML3D) for j in (joints, moved))
    np.testing.assert_allclose(ours, other, rtol=0, atol=1e-9)


def test_retarget_gives_the_skeletons_body():
    joints = walk_turning(np.linspace(0, 1, 12)) * 1.7
    bones = M.retarget(joints, HUMANML3D)[:, 1:] - M.retarget(joints, HUMANML3D)[:, list(HUMANML3D.parents[1:])]
    lengths = np.linalg.norm(HUMANML3D.offsets, axis=-1)[1:]
    np.testing.assert_allclose(np.linalg.norm(bones, axis=-1), np.tile(lengths, (12, 1)), rtol=0, atol=1e-12)
    own = joints[:, 1:] - joints[:, list(HUMANML3D.parents[1:])]
    cosine = (own * bones).sum(-1) / np.linalg.norm(own, axis=-1) / lengths
    np.testing.assert_allclose(cosine, 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(M.retarget(joints / 1.7, HUMANML3D), M.retarget(joints, HUMANML3D), rtol=0, atol=1e-12)


def test_mirror_is_its_own_inverse_and_equals_the_reference(shared_data):
    golden = load(shared_data, "bandai_000057")
    mirrored = mirror_joints(golden["raw_joints"], HUMANML3D)
    assert np.array_equal(mirrored, golden["mirror_raw_joints"])
    assert np.array_equal(mirror_joints(mirrored, HUMANML3D), golden["raw_joints"])
    assert torch.equal(mirror_joints(torch.from_numpy(golden["raw_joints"]), HUMANML3D), torch.from_numpy(mirrored))


@for_each(
    "text, mirrored",
    [
        ("a person raises the left arm", "a person raises the right arm"),
        ("Left, then right. RIGHT!", "Right, then left. LEFT!"),
        ("turns clockwise", "turns counterclockwise"),
        ("turns counter-clockwise to the left", "turns clockwise to the right"),
        ("an anti clockwise circle", "an clockwise circle"),
        ("steps leftward with a right-handed wave", "steps rightward with a left-handed wave"),
        ("standing upright, bright leftover", "standing upright, bright leftover"),
        ("left/ADJ hand/NOUN", "right/ADJ hand/NOUN"),
    ],
)
def test_mirror_caption(text, mirrored):
    assert mirror_caption(text) == mirrored


# Kinds of arrays, batches, gradients.


def test_numpy_in_numpy_out_torch_in_torch_out():
    joints = walk_turning(np.linspace(0, 1, 20)).astype(np.float32)
    ours = M.joints_to_features(joints, HUMANML3D)
    tensor = M.joints_to_features(torch.from_numpy(joints), HUMANML3D)
    assert isinstance(ours, np.ndarray) and ours.dtype == np.float32 and tensor.dtype == torch.float32
    assert np.array_equal(ours, tensor.numpy())
    assert M.joints_to_features(joints.astype(np.float64), HUMANML3D).dtype == np.float64
    backwards = M.joints_to_features(joints[::-1], HUMANML3D)  # negative strides
    assert np.array_equal(backwards, M.joints_to_features(joints[::-1].copy(), HUMANML3D))
    assert M.features_to_joints(tensor.bfloat16(), HUMANML3D).dtype == torch.float32


def test_recovery_is_batched_and_differentiable():
    one, two = (M.joints_to_features(walk_turning(np.linspace(0, s, 20)), HUMANML3D) for s in (1, 2))
    batch = torch.from_numpy(np.stack([one, two]))[None].requires_grad_()  # (1, 2, F, D)
    joints = M.features_to_joints(batch, HUMANML3D)
    assert joints.shape == (1, 2, 19, 22, 3)
    np.testing.assert_allclose(joints[0, 1].detach(), M.features_to_joints(two, HUMANML3D), rtol=0, atol=1e-12)
    joints.square().sum().backward()
    assert torch.isfinite(batch.grad).all()
    assert (batch.grad[..., :-1, :4] != 0).all()  # the root columns move every later frame


# Bad input.


def test_bad_joints_are_named():
    joints = walk_turning(np.zeros(10))
    with pytest.raises(ValueError, match=r"\(F, 22, 3\) for humanml3d-22, got \(10, 21, 3\)"):
        M.joints_to_features(joints[:, :21], HUMANML3D)
    with pytest.raises(ValueError, match=r"got \(1, 10, 22, 3\)"):
        M.joints_to_features(joints[None], HUMANML3D)
    with pytest.raises(ValueError, match="at least 2 frames.*got 1"):
        M.joints_to_features(joints[:1], HUMANML3D)
    for value in (np.nan, np.inf):
        broken = joints.copy()
        broken[4, 3, 1] = broken[7, 0, 0] = value
        with pytest.raises(ValueError, match=r"frame 4 \(2 of 10 frames\)"):
            M.joints_to_features(torch.from_numpy(broken), HUMANML3D)
    with pytest.raises(ValueError, match="right_knee and right_ankle.*zero length"):
        M.joints_to_features(np.zeros((5, 22, 3)), HUMANML3D)
    with pytest.raises(ValueError, match="kit-21 has no bone lengths"):
        M.joints_to_features(np.ones((5, 21, 3)), KIT)
    with pytest.raises(ValueError, match=r"\(..., F, 263\)"):
        M.features_to_joints(np.zeros((5, 251), np.float32), HUMANML3D)
