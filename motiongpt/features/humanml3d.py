"""Joint positions <-> the HumanML3D motion features.

Arrays in, arrays out: every function takes a numpy array or a torch tensor and returns the same
kind. Nothing here reads a file or normalises (that is `normalizer.py`). The features are those of
Guo et al. 2022, "Generating Diverse and Natural 3D Human Motions from Text", and match the public
HumanML3D code within 1e-4 (tests). With J joints a frame has D = 12 J - 1 numbers, 263 for 22
joints and 251 for 21:

    0      1          3      4             3J+1              9J-5          12J-5    12J-1
    | yaw  | root xz  | root | joint       | bone            | joint       | contact |
    | step | step     | y    | positions   | rotations 6D    | steps       | 2L, 2R  |
    |   1  |    2     |  1   |  3 (J - 1)  |    6 (J - 1)    |     3 J     |    4    |
      vel     vel      height      ric           rot6d        local velocity

- Heading: the horizontal direction the body faces, smoothed in time (Gaussian, 20 frames). "Yaw
  step" is MINUS HALF the change of heading to the next frame, because the field stores the
  half-angle of a quaternion that turns the body back to +z. All steps are per frame, not per
  second.
- Positions are relative to the root in x and z, absolute in height, and turned so that the body
  faces +z. Joint steps are turned by the heading of frame t, but the root's xz step by the heading
  of frame t + 1.
- F frames of joints give F - 1 frames of features: the last frame has no step to the next.

Three oddities stay, because published files and checkpoints have them. The heading takes the hips
with the wrong sign (the shoulders outweigh them). The first heading is set to zero. Every kinematic
chain starts at the root rotation, even the arms, which hang on the chest. Bone rotations are the
shortest from the rest pose, without twist: trust positions.

Three things differ on purpose, because the public code cannot be inverted there. The heading is
continuous past +-180 degrees, where the public code has one wrong yaw step. Facing exactly -z, and
a bone opposite to its rest pose, give finite numbers instead of NaN. A bone of zero length counts
as pointing along its rest pose.
"""

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.rotations import (
    axis_angle_to_quaternion,
    matrix_to_rotation_6d,
    quaternion_between,
    quaternion_conjugate,
    quaternion_multiply,
    quaternion_to_matrix,
    rotate_y,
)
from motiongpt.body.skeletons import Skeleton, guess_skeleton
from motiongpt.body.smoothing import gaussian_kernel
from motiongpt.features.columns import named_columns

Array = np.ndarray | Tensor

SMOOTHING_FRAMES = 20  # standard deviation of the heading's Gaussian, whatever the frame rate


def retarget(joints: Array, skeleton: Skeleton) -> Array:
    """Put a motion on the skeleton's own body: keep bone directions, replace lengths,
    scale the root by the leg ratio.

    joints (F, J, 3) in any unit -> (F, J, 3) in the skeleton's unit. The leg is measured in frame
    0. Equal to the public code's `uniform_skeleton`, whose inverse and forward kinematics come to
    bone direction times target length. Raises ValueError for a wrong shape, NaN or infinite frames,
    a leg of zero length, or a skeleton without lengths.
    """
    return same_kind(_retarget(_checked_joints(joints, skeleton), skeleton), joints)


def canonicalise(joints: Array, skeleton: Skeleton, retargeted: bool = False) -> Array:
    """Retarget, then place the clip: lowest joint on the floor, first root at x = z = 0,
    first frame facing +z.

    joints (F, J, 3) -> (F, J, 3). `retargeted=True` skips the retargeting. All frames but the last
    are what `features_to_joints(joints_to_features(joints))` returns. Raises ValueError as
    `retarget` does.
    """
    return same_kind(_canonicalise(_checked_joints(joints, skeleton), skeleton, retargeted), joints)


def skeleton_of_width(width: int) -> Skeleton | None:
    """The built-in skeleton whose features have `width` = 12 J - 1 columns: 263 or 251;
    None for any other number."""
    return guess_skeleton((width + 1) / 12)


def feature_groups(skeleton: Skeleton) -> dict[str, slice]:
    """Columns of the features by name, in the order of the drawing at the top of this file."""
    J = skeleton.num_joints
    widths = {
        "root_yaw_velocity": 1,
        "root_linear_velocity": 2,
        "root_height": 1,
        "ric": 3 * (J - 1),
        "rot6d": 6 * (J - 1),
        "local_velocity": 3 * J,
        "contacts": 4,
    }
    return named_columns(widths)


def joints_to_features(joints: Array, skeleton: Skeleton, retargeted: bool = False) -> Array:
    """One clip of joint positions (F, J, 3), y up, to HumanML3D features (F - 1, D).

    Does all that the public code's `process_file` does: retarget (skipped with `retargeted=True`),
    floor, origin, facing, contacts, local positions, rotations, velocities. Raises ValueError for a
    wrong shape, fewer than 2 frames, NaN or infinite frames (named), a leg of zero length, or a
    skeleton without lengths.
    """
    J = skeleton.num_joints
    x = _canonicalise(_checked_joints(joints, skeleton), skeleton, retargeted)  # (F, J, 3) float64
    F = len(x)
    root = x[:, 0]  # (F, 3)
    step = x[1:] - x[:-1]  # (F - 1, J, 3) to the next frame

    # 1) heading (F,) radians, continuous from 0: sum the wrapped turns, so that it never jumps by a whole turn
    heading = _smooth(facing(x, skeleton, hip_sign=-1.0))  # (F, 2)
    heading = torch.atan2(heading[:, 0], heading[:, 1])  # (F,)
    # a turn is the difference of two angles, so it may be off by a whole turn
    turn = torch.cat((heading[1:2], heading[2:] - heading[1:-1]))  # the first heading counts as zero
    turn = turn - 2 * torch.pi * torch.round(turn / (2 * torch.pi))  # (F - 1,) in [-pi, pi]
    heading = torch.cat((turn.new_zeros(1), turn.cumsum(0)))

    # 2) bone rotations: global ones from the rest pose, then relative to the one before in the chain
    bones = x[:, 1:] - x[:, list(skeleton.parents[1:])]  # (F, J - 1, 3)
    rest = x.new_tensor(skeleton.offsets[1:])
    rotation = torch.cat((_yaw_quaternion(-heading)[:, None], quaternion_between(rest, bones)), dim=1)  # (F, J, 4)
    before = quaternion_conjugate(rotation[:, list(skeleton.chain_predecessors)])  # (F, J - 1, 4)
    rot6d = matrix_to_rotation_6d(quaternion_to_matrix(quaternion_multiply(before, rotation[:, 1:])))

    # 3) everything else, seen from the root
    local = torch.stack((x[..., 0] - root[:, None, 0], x[..., 1], x[..., 2] - root[:, None, 2]), dim=-1)
    ric = rotate_y(local, -heading[:, None])[:, 1:]  # (F, J - 1, 3)
    root_velocity = rotate_y(step[:, 0], -heading[1:])[:, [0, 2]]  # (F - 1, 2)
    local_velocity = rotate_y(step, -heading[:-1, None])  # (F - 1, J, 3)
    feet = list(skeleton.feet_left + skeleton.feet_right)
    contacts = step[:, feet].square().sum(-1) < skeleton.foot_threshold  # (F - 1, 4) bool

    # 4) side by side, in the order of `feature_groups`; what has F frames loses its last one
    groups = (
        -turn[:, None] / 2,
        root_velocity,
        root[:-1, 1:2],
        ric[:-1].reshape(F - 1, 3 * (J - 1)),
        rot6d[:-1].reshape(F - 1, 6 * (J - 1)),
        local_velocity.reshape(F - 1, 3 * J),
        contacts.to(x.dtype),
    )
    return same_kind(torch.cat(groups, dim=-1), joints)


def recover_root(features: Array) -> tuple[Array, Array]:
    """Where the body faces and where its root is: features (..., F, D)
    -> heading (..., F), root (..., F, 3).

    Heading is in radians about y, 0 for +z, positive towards +x, not wrapped. The public code's
    `recover_root_rot_pos` returns a quaternion instead, which turns the body back to +z: (cos, 0,
    -sin, 0) of half the heading.
    """
    x = float_tensor(features)
    yaw_step = -2 * x[..., :-1, 0]  # (..., F - 1)
    heading = torch.cat((torch.zeros_like(x[..., :1, 0]), yaw_step), dim=-1).cumsum(dim=-1)
    step = torch.stack((x[..., 1], torch.zeros_like(x[..., 1]), x[..., 2]), dim=-1)
    # the step from t to t + 1 is stored at t, turned by the heading of t + 1
    travelled = torch.cat((torch.zeros_like(step[..., :1, :]), rotate_y(step[..., :-1, :], heading[..., 1:])), dim=-2)
    # an error in one step moves all later frames
    travelled = travelled.cumsum(dim=-2)
    root = torch.stack((travelled[..., 0], x[..., 3], travelled[..., 2]), dim=-1)
    return same_kind(heading, features), same_kind(root, features)


def features_to_joints(features: Array, skeleton: Skeleton) -> Array:
    """Inverse of `joints_to_features`: (..., F, D) -> joint positions (..., F, J, 3),
    from the position columns.

    Batched; for tensors differentiable, on their device. The first frame stands at x = z = 0 and
    faces +z. Equal to the public code's `recover_from_ric`. Raises ValueError when D does not fit
    the skeleton.
    """
    x = _checked_features(features, skeleton)
    heading, root = recover_root(x)
    local = x[..., feature_groups(skeleton)["ric"]].unflatten(-1, (-1, 3))  # (..., F, J - 1, 3)
    ground = torch.stack((root[..., 0], torch.zeros_like(root[..., 0]), root[..., 2]), dim=-1)  # (..., F, 3)
    joints = rotate_y(local, heading[..., None]) + ground[..., None, :]  # (..., F, J - 1, 3)
    return same_kind(torch.cat((root[..., None, :], joints), dim=-2), features)


def _retarget(x: Tensor, skeleton: Skeleton) -> Tensor:
    _need_lengths(skeleton)
    parents = list(skeleton.parents[1:])
    lengths = torch.linalg.vector_norm(x.new_tensor(skeleton.offsets[1:]), dim=-1, keepdim=True)  # (J - 1, 1)
    # unit vectors, for bones without a direction of their own
    rest = x.new_tensor(skeleton.offsets[1:]) / lengths
    bones = x[:, 1:] - x[:, parents]
    own_lengths = torch.linalg.vector_norm(bones, dim=-1, keepdim=True)
    # bone j - 1 ends in joint j, as the root has no bone
    leg = [joint - 1 for joint in skeleton.leg]
    own_leg = own_lengths[0, leg].sum()
    if own_leg == 0:
        names = " and ".join(skeleton.joints[joint] for joint in skeleton.leg)
        raise ValueError(f"the leg ({names}) has zero length in frame 0, so the body's size is unknown")
    scale = lengths[leg].sum() / own_leg
    directions = torch.where(own_lengths > 0, bones / own_lengths, rest)  # (F, J - 1, 3)
    # a joint is the root plus the bones on the way to it: one product with a 0/1 matrix walks all chains
    return x[:, :1] * scale + torch.einsum("kj,fjc->fkc", x.new_tensor(skeleton.paths), directions * lengths)


def _canonicalise(x: Tensor, skeleton: Skeleton, retargeted: bool) -> Tensor:
    if not retargeted:
        x = _retarget(x, skeleton)
    # the floor is the lowest joint of the whole clip, the origin the first root
    x = x - torch.stack((x[0, 0, 0], x[..., 1].min(), x[0, 0, 2]))
    forward = facing(x[:1], skeleton)[0]
    return rotate_y(x, -torch.atan2(forward[0], forward[1]))


def facing(x: Tensor, skeleton: Skeleton, hip_sign: float = 1.0) -> Tensor:
    """Horizontal direction (x, z) that the body faces, (F, 2).
    Not a unit vector: shorter when the body leans sideways.

    hip_sign -1 is what the public code's inverse kinematics does:
    it subtracts the hips instead of adding them.
    """
    right_hip, left_hip, right_shoulder, left_shoulder = skeleton.face
    across = hip_sign * (x[:, right_hip] - x[:, left_hip]) + (x[:, right_shoulder] - x[:, left_shoulder])
    across = torch.nn.functional.normalize(across, dim=-1)  # (F, 3)
    return torch.stack((across[:, 2], -across[:, 0]), dim=-1)  # up x across


def _smooth(x: Tensor) -> Tensor:
    """Gaussian over time of (F, C), cut at four standard deviations, ends repeated:
    scipy's gaussian_filter1d.

    The tensor counterpart of `body.smoothing.smooth`, with the same kernel but cut farther out,
    as the field cuts it.
    """
    kernel = torch.from_numpy(gaussian_kernel(SMOOTHING_FRAMES, truncate=4)).to(x)
    radius = len(kernel) // 2
    padded = torch.cat((x[:1].expand(radius, -1), x, x[-1:].expand(radius, -1)))
    return padded.unfold(0, len(kernel), 1) @ kernel  # (F, C, 161) @ (161,)


def _yaw_quaternion(angle: Tensor) -> Tensor:
    """Turns about y by angle (...) -> (..., 4)."""
    zero = torch.zeros_like(angle)
    return axis_angle_to_quaternion(torch.stack((zero, angle, zero), dim=-1))


def _need_lengths(skeleton: Skeleton) -> None:
    if not skeleton.has_lengths:
        raise ValueError(
            f"skeleton {skeleton.name} has no bone lengths; give it some with skeleton.with_offsets(...), or pass "
            "retargeted=True to joints_to_features if the joints already have the target body"
        )


def _checked_joints(joints: Array, skeleton: Skeleton) -> Tensor:
    J = skeleton.num_joints
    if joints.ndim != 3 or joints.shape[1:] != (J, 3):
        raise ValueError(f"joints must be (F, {J}, 3) for {skeleton.name}, got {tuple(joints.shape)}")
    if len(joints) < 2:
        raise ValueError(f"a clip needs at least 2 frames (velocities), got {len(joints)}")
    x = _tensor(joints).to(torch.float64)
    bad = (~torch.isfinite(x)).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"NaN or infinite joints in frame {bad[0]} ({len(bad)} of {len(joints)} frames); drop the clip"
        )
    return x


def _checked_features(features: Array, skeleton: Skeleton) -> Tensor:
    if features.ndim < 2 or features.shape[-1] != skeleton.feature_dim:
        D = skeleton.feature_dim
        raise ValueError(f"features must be (..., F, {D}) for {skeleton.name}, got {tuple(features.shape)}")
    return float_tensor(features)


def _tensor(array: Array) -> Tensor:
    """Tensors as they are; numpy arrays copied, as torch refuses negative strides and warns about
    read-only memory."""
    return torch.from_numpy(np.array(array, order="C")) if isinstance(array, np.ndarray) else array


def float_tensor(array: Array) -> Tensor:
    """A tensor of at least float32: half precision would lose centimetres in the sums over time."""
    x = _tensor(array)
    return x if x.dtype == torch.float64 else x.float()


def same_kind(x: Tensor, example: Array) -> Array:
    """x as numpy or torch, whichever `example` is; float64 if `example` is, else float32."""
    x = x.to(torch.float64 if str(example.dtype).endswith("float64") else torch.float32)
    return x.numpy() if isinstance(example, np.ndarray) else x
