"""Joint positions <-> the HumanML3D motion features.

Arrays in, arrays out: every function takes a numpy array or a torch tensor and returns the same
kind. The way to features is computed in numpy, whose calls cost a quarter of torch's on arrays as
small as a clip; the way back in torch, batched and with gradients. Nothing here reads a file or
normalises (that is `normalizer.py`). The features are those of Guo et al. 2022, "Generating Diverse
and Natural 3D Human Motions from Text", and match the public HumanML3D code within 1e-4 (tests).
With J joints a frame has D = 12 J - 1 numbers, 263 for 22 joints and 251 for 21:

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

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.rotations import rotate_y
from motiongpt.body.skeletons import Skeleton, guess_skeleton
from motiongpt.body.smoothing import gaussian_kernel
from motiongpt.features.columns import named_columns

Array = np.ndarray | Tensor

SMOOTHING_FRAMES = 20  # standard deviation of the heading's Gaussian, whatever the frame rate
ON_FLOOR = np.array([[1.0], [0.0], [1.0]])  # what makes a position one on the floor


def retarget(joints: Array, skeleton: Skeleton) -> Array:
    """Put a motion on the skeleton's own body: keep bone directions, replace lengths,
    scale the root by the leg ratio.

    joints (F, J, 3) in any unit -> (F, J, 3) in the skeleton's unit. The leg is measured in frame
    0. Equal to the public code's `uniform_skeleton`, whose inverse and forward kinematics come to
    bone direction times target length. Raises ValueError for a wrong shape, NaN or infinite frames,
    a leg of zero length, or a skeleton without lengths.
    """
    x, _ = _retarget(_checked_joints(joints, skeleton), skeleton)
    return _as_given(x.transpose(2, 0, 1), joints)


def canonicalise(joints: Array, skeleton: Skeleton, retargeted: bool = False) -> Array:
    """Retarget, then place the clip: lowest joint on the floor, first root at x = z = 0,
    first frame facing +z.

    joints (F, J, 3) -> (F, J, 3). `retargeted=True` skips the retargeting. All frames but the last
    are what `features_to_joints(joints_to_features(joints))` returns. Raises ValueError as
    `retarget` does.
    """
    x, _ = _canonicalise(_checked_joints(joints, skeleton), skeleton, retargeted)
    return _as_given(x.transpose(2, 0, 1), joints)


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
    x, directions = _canonicalise(_checked_joints(joints, skeleton), skeleton, retargeted)  # (J, 3, F), (J - 1, 3, F)
    step = x[..., 1:] - x[..., :-1]  # (J, 3, n) to the next frame, n = F - 1
    n = step.shape[-1]

    # 1) heading (F,) radians, continuous from 0: sum the wrapped turns, so that it never jumps by a whole turn
    heading = np.arctan2(*_smooth(_facing(x, skeleton, hip_sign=-1.0)))  # (F,)
    heading[0] = 0.0  # the first heading counts as zero
    turn = heading[1:] - heading[:-1]
    # a turn is the difference of two angles, so it may be off by a whole turn
    turn = turn - 2 * np.pi * np.round(turn / (2 * np.pi))  # (n,) in [-pi, pi]
    heading[1:] = turn.cumsum()
    cos, sin = np.cos(heading), -np.sin(heading)  # of -heading, which turns the body back to +z

    # 2) bone rotations: global ones from the rest pose, then relative to the one before in the chain, R_before^T R
    body = _target_body(skeleton)
    rotation = np.empty((J, 3, 3, n))  # joint, column, row, frame
    rotation[0] = _turned(np.eye(3)[..., None], cos[:-1], sin[:-1])
    rotation[1:] = _rotation_from_rest(body.rest, directions[..., :-1])
    before = rotation[body.predecessors][:, None]  # (J - 1, 1, 3, 3, n)
    columns = rotation[1:, :2, None]  # (J - 1, 2, 1, 3, n)
    # (J - 1, 2, 3, n): dot products of columns, row by row
    rot6d = sum(before[..., row, :] * columns[..., row, :] for row in range(3))

    # 3) everything else, seen from the root, and one below the other in the order of `feature_groups`
    feet = list(skeleton.feet_left + skeleton.feet_right)
    local = x[1:, :, :-1] - x[0, :, :-1] * ON_FLOOR
    groups = (
        -turn[None] / 2,
        _turned(step[0], cos[1:], sin[1:])[::2],
        x[0, 1:2, :-1],
        _turned(local, cos[:-1], sin[:-1]).reshape(-1, n),
        rot6d.reshape(-1, n),
        _turned(step, cos[:-1], sin[:-1]).reshape(-1, n),
        (step[feet] ** 2).sum(1) < skeleton.foot_threshold,
    )
    return _as_given(np.concatenate(groups).T, joints)


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


# Below, motion is (J, 3, F) in numpy, the frames of a number side by side. A clip is small, so what counts is how few
# operations it takes, how little each costs beside its arithmetic, and that each runs through memory in order.


class _Body(NamedTuple):
    """A skeleton's arrays, which would otherwise be built anew for every clip."""

    lengths: np.ndarray  # (J - 1, 1) of its bones
    rest: np.ndarray  # (J - 1, 3, 1) unit vectors
    paths: np.ndarray  # (J, J - 1) of 0 and 1
    parents: list[int]  # of joints 1 .. J - 1
    predecessors: list[int]  # of joints 1 .. J - 1, in the chain


@lru_cache(maxsize=8)
def _target_body(skeleton: Skeleton) -> _Body:
    offsets = np.array(skeleton.offsets[1:])  # (J - 1, 3)
    lengths = np.linalg.norm(offsets, axis=-1, keepdims=True)
    rest = (offsets / lengths)[..., None]
    return _Body(lengths, rest, np.array(skeleton.paths), list(skeleton.parents[1:]), list(skeleton.chain_predecessors))


def _bones(x: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Joints (J, 3, F) -> unit vectors along the bones (J - 1, 3, F), and their lengths (J - 1, 1, F).

    A bone of zero length counts as pointing along its rest pose.
    """
    body = _target_body(skeleton)
    bones = x[1:] - x[body.parents]
    lengths = _length(bones)
    if lengths.all():
        return bones / lengths, lengths
    return np.where(lengths > 0, bones / np.where(lengths > 0, lengths, 1.0), body.rest), lengths


def _retarget(x: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Joints (J, 3, F) -> the same on the skeleton's body, and the directions of its bones (J - 1, 3, F)."""
    _need_lengths(skeleton)
    body = _target_body(skeleton)
    directions, own_lengths = _bones(x, skeleton)
    # bone j - 1 ends in joint j, as the root has no bone
    leg = [joint - 1 for joint in skeleton.leg]
    own_leg = own_lengths[leg, 0, 0].sum()
    if own_leg == 0:
        names = " and ".join(skeleton.joints[joint] for joint in skeleton.leg)
        raise ValueError(f"the leg ({names}) has zero length in frame 0, so the body's size is unknown")
    root = x[:1] * (body.lengths[leg].sum() / own_leg)
    # a joint is the root plus the bones on the way to it: one product with a 0/1 matrix walks all chains
    bones = directions * body.lengths[..., None]
    return root + (body.paths @ bones.reshape(len(bones), -1)).reshape(x.shape), directions


def _canonicalise(x: np.ndarray, skeleton: Skeleton, retargeted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Joints (J, 3, F) as `canonicalise` places them, and the directions of their bones (J - 1, 3, F)."""
    x, directions = (x, None) if retargeted else _retarget(x, skeleton)
    # the floor is the lowest joint of the whole clip, the origin the first root
    x = x - np.array([x[0, 0, 0], x[:, 1].min(), x[0, 2, 0]])[:, None]
    angle = -np.arctan2(*_facing(x[..., :1], skeleton))  # (1,)
    cos, sin = np.cos(angle), np.sin(angle)
    x = _turned(x, cos, sin)
    # a bone without a length points where it rests, however the body is turned
    return x, _bones(x, skeleton)[0] if directions is None else _turned(directions, cos, sin)


def facing(x: Array, skeleton: Skeleton, hip_sign: float = 1.0) -> Array:
    """Horizontal direction (x, z) that the body faces, joints (F, J, 3) -> (F, 2).
    Not a unit vector: shorter when the body leans sideways.

    hip_sign -1 is what the public code's inverse kinematics does:
    it subtracts the hips instead of adding them.
    """
    return _as_given(_facing(float64_array(x).transpose(1, 2, 0), skeleton, hip_sign).T, x)


def _facing(x: np.ndarray, skeleton: Skeleton, hip_sign: float = 1.0) -> np.ndarray:
    """`facing` of joints (J, 3, F): (2, F)."""
    right_hip, left_hip, right_shoulder, left_shoulder = skeleton.face
    across = hip_sign * (x[right_hip] - x[left_hip]) + (x[right_shoulder] - x[left_shoulder])
    across = across / np.maximum(_length(across), 1e-12)  # (3, F)
    return np.stack((across[2], -across[0]))  # up x across


def _smooth(x: np.ndarray) -> np.ndarray:
    """Gaussian over time of (C, F), cut at four standard deviations, ends repeated:
    scipy's gaussian_filter1d.

    The counterpart of `body.smoothing.smooth`, with the same kernel but cut farther out,
    as the field cuts it.
    """
    kernel = gaussian_kernel(SMOOTHING_FRAMES, truncate=4)
    padded = np.pad(x, ((0, 0), (len(kernel) // 2,) * 2), mode="edge")
    return np.stack([np.correlate(row, kernel) for row in padded])


def _length(v: np.ndarray) -> np.ndarray:
    """The lengths (..., 1, F) of vectors (..., 3, F)."""
    x, y, z = v[..., :1, :], v[..., 1:2, :], v[..., 2:, :]
    return np.sqrt(x * x + y * y + z * z)


def _turned(v: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Vectors (..., 3, F) turned about the vertical, each frame by its own angle (F,): `rotations.rotate_y`."""
    out = np.empty((*v.shape[:-1], max(v.shape[-1], len(cos))))
    x, y, z = v[..., 0, :], v[..., 1, :], v[..., 2, :]
    out[..., 0, :] = x * cos + z * sin
    out[..., 1, :] = y
    out[..., 2, :] = z * cos - x * sin
    return out


def _rotation_from_rest(rest: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The shortest rotations from unit vectors `rest` (J - 1, 3, 1) to `directions` (J - 1, 3, F).

    (J - 1, 3, 3, F), column before row. Half a turn about u, then half a turn about the direction h half-way between
    u and v: a half turn about h is 2 h h^T - 1, so the product is 2 h (2 (h.u) u - h)^T - (2 u u^T - 1). For opposite
    directions h is any vector perpendicular to u, as in `rotations.quaternion_between`.
    """
    half = rest + directions
    length = _length(half)
    opposite = length < 4 * np.finfo(half.dtype).eps
    if opposite.any():
        # along the coordinate axis farthest from u, less what it has of u
        axis = np.eye(3)[np.abs(rest[..., 0]).argmin(1)][..., None]  # (J - 1, 3, 1)
        half = np.where(opposite, axis - (axis * rest).sum(1, keepdims=True) * rest, half)
        length = _length(half)
    half = half / length
    twice = 2 * half
    turned = (twice * rest).sum(1, keepdims=True) * rest - half
    about_rest = 2 * rest[:, None] * rest[:, :, None] - np.eye(3)[..., None]
    return twice[:, None] * turned[:, :, None] - about_rest


def _need_lengths(skeleton: Skeleton) -> None:
    if not skeleton.has_lengths:
        raise ValueError(
            f"skeleton {skeleton.name} has no bone lengths; give it some with skeleton.with_offsets(...), or pass "
            "retargeted=True to joints_to_features if the joints already have the target body"
        )


def _checked_joints(joints: Array, skeleton: Skeleton) -> np.ndarray:
    """(F, J, 3) -> (J, 3, F) float64."""
    J = skeleton.num_joints
    if joints.ndim != 3 or joints.shape[1:] != (J, 3):
        raise ValueError(f"joints must be (F, {J}, 3) for {skeleton.name}, got {tuple(joints.shape)}")
    if len(joints) < 2:
        raise ValueError(f"a clip needs at least 2 frames (velocities), got {len(joints)}")
    x = float64_array(joints)
    if not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x).all((1, 2)))
        raise ValueError(
            f"NaN or infinite joints in frame {bad[0]} ({len(bad)} of {len(joints)} frames); drop the clip"
        )
    return np.ascontiguousarray(x.transpose(1, 2, 0))


def float64_array(array: Array) -> np.ndarray:
    """Any array as numpy float64, from whatever device and precision; it may share memory with `array`."""
    return array.detach().double().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array, np.float64)


def _as_given(x: np.ndarray, example: Array) -> Array:
    """x as numpy, or as a tensor on the device of `example`; float64 if `example` is, else float32."""
    x = np.ascontiguousarray(x, np.float64 if str(example.dtype).endswith("float64") else np.float32)
    return torch.from_numpy(x).to(example.device) if isinstance(example, Tensor) else x


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
