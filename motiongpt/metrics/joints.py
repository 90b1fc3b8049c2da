"""Metrics: arrays in, numbers out. No networks, no files, no global randomness.

Three kinds: joints against joints (tensors (..., F, J, 3), metres, y up; one number per frame comes back, so that
clips of different lengths are averaged over frames), sets of embeddings (N, D) against each other (the field's
protocol of Guo et al. 2022, "Generating Diverse and Natural 3D Human Motions from Text"), and token sequences.
What is drawn is drawn from the numpy Generator that is passed in. Millimetres are for the reader, metres are returned.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

SKATE_HEIGHT, SKATE_SPEED, SKATE_WINDOW = 0.05, 0.5, 5  # metres, metres per second, frames: those of GMD


def _same_shape(name: str, predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape:
        raise ValueError(f"{name} compares equal shapes, got {tuple(predicted.shape)} and {tuple(target.shape)}")


# 1) Joints against joints.


def mpjpe(predicted: Tensor, target: Tensor, root: int | None = 0) -> Tensor:
    """Mean per-joint position error, metres, per frame: mean_j |p_j - t_j|.

    Args:
        predicted, target: (..., J, 3).
        root: joint both are moved to before comparing (root-aligned, MoMask's and MotionGPT's MPJPE);
            None compares global positions.

    Returns: (...,) errors.
    """
    _same_shape("mpjpe", predicted, target)
    if root is not None:
        predicted = predicted - predicted[..., root : root + 1, :]
        target = target - target[..., root : root + 1, :]
    return (predicted - target).norm(dim=-1).mean(-1)


def procrustes_align(predicted: Tensor, target: Tensor) -> Tensor:
    """Each pose of `predicted` (..., J, 3) moved, turned and scaled to be nearest to `target` in squared distance.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns": with both centred
    and P^T T = U S V^T, the rotation is U diag(1, 1, d) V^T, where d = det(U V^T) keeps mirror images out, and the
    scale is trace(S diag(1, 1, d)) / |P|^2. A pose whose joints all coincide goes to the target's centre.
    """
    _same_shape("procrustes_align", predicted, target)
    centre = target.mean(-2, keepdim=True)
    p, t = predicted - predicted.mean(-2, keepdim=True), target - centre
    u, s, vt = torch.linalg.svd(p.transpose(-1, -2) @ t)
    flip = torch.ones_like(s)
    flip[..., -1] = torch.linalg.det(u @ vt).sign()
    size = p.square().sum((-1, -2)).clamp(min=torch.finfo(p.dtype).tiny)
    scale = (s * flip).sum(-1) / size
    return scale[..., None, None] * (p @ (u * flip[..., None, :]) @ vt) + centre


def pa_mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """MPJPE after `procrustes_align`, metres, per frame: (..., J, 3) -> (...,). As MotionGPT's PAMPJPE.

    It sees the pose only: where the body is, where it faces and how tall it is do not count.
    """
    return mpjpe(procrustes_align(predicted, target), target, root=None)


def velocity_error(predicted: Tensor, target: Tensor) -> Tensor:
    """mean_j |dp_j - dt_j| of first differences in time, metres per frame: (..., F, J, 3) -> (..., F - 1).

    Times fps it is m/s. The first difference of `acceleration_error`.
    """
    _same_shape("velocity_error", predicted, target)
    return (predicted - target).diff(dim=-3).norm(dim=-1).mean(-1)


def acceleration_error(predicted: Tensor, target: Tensor) -> Tensor:
    """mean_j |ddp_j - ddt_j| of second differences x[t] - 2 x[t+1] + x[t+2], metres per frame^2, global positions.

    (..., F, J, 3) -> (..., F - 2); empty below three frames. The field prints this in mm per frame^2 and calls it ACCL
    (MotionGPT's calc_accel; Kanazawa et al. 2019, "Learning 3D Human Dynamics from Video"); times fps^2 it is m/s^2,
    which compares across frame rates.
    """
    _same_shape("acceleration_error", predicted, target)
    return (predicted - target).diff(n=2, dim=-3).norm(dim=-1).mean(-1)


def displacement_errors(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """ADE and FDE of (..., F, J, 3): the distance between whole poses, sqrt(sum_j |p_j - t_j|^2), over time and at the
    last frame; metres, (...,) each.

    As MotionGPT's PredMetrics and DLow (Yuan & Kitani 2020): one pose is one vector of 3 J numbers, so this is
    up to sqrt(J) times a mean joint error. Cut what was given (the prefix) off first.
    """
    _same_shape("displacement_errors", predicted, target)
    if predicted.shape[-3] == 0:
        raise ValueError("displacement_errors needs at least one frame")
    distance = (predicted - target).flatten(-2).norm(dim=-1)  # (..., F)
    return distance.mean(-1), distance[..., -1]


# 2) Joints alone.


def foot_skate(
    joints: Tensor,
    feet: Sequence[int],
    fps: float,
    floor: float = 0.0,
    height: float = SKATE_HEIGHT,
    speed: float = SKATE_SPEED,
) -> Tensor:
    """In which steps a foot that stands on the floor slides: (..., F, J, 3), metres -> (..., F - 1) bool.

    Its mean is the foot-skate ratio, GMD's calculate_skating_ratio (Karunratanakul et al. 2023, "Guided Motion
    Diffusion for Controllable Human Motion Synthesis"), whose feet are the two toe joints: a step counts where one of
    `feet` is below `height` above the floor before and after it, and slides faster than `speed` in x and z, both in
    this step and in the mean of the five steps around it, in which steps outside the clip count as zero.
    """
    foot = joints[..., list(feet), :]
    low = foot[..., 1] - floor < height  # (..., F, feet)
    slide = foot[..., [0, 2]].diff(dim=-3).norm(dim=-1) * fps  # (..., F - 1, feet), m/s
    edge = SKATE_WINDOW // 2
    around = torch.nn.functional.pad(slide, (0, 0, edge, edge)).unfold(-2, SKATE_WINDOW, 1).mean(-1)
    skating = low[..., :-1, :] & low[..., 1:, :] & (slide > speed) & (around > speed)
    return skating.any(-1)


def floor_penetration(joints: Tensor, floor: float = 0.0) -> Tensor:
    """How deep the lowest joint is below the floor, metres, 0 above it: (..., F, J, 3) -> (..., F).

    PhysDiff's Penetrate (Yuan et al. 2023), with joints in place of mesh vertices: soles are below their joints.
    """
    return (floor - joints[..., 1].amin(-1)).clamp(min=0)


def jerk(joints: Tensor, fps: float) -> Tensor:
    """Mean over joints of |third derivative of position|, m/s^3: (..., F, J, 3) -> (..., F - 3).

    Third differences times fps^3 (Flash & Hogan 1985, "The coordination of arm movements", whose people minimise it).
    It grows fast with the frame rate where there is noise: compare at one frame rate only.
    """
    return joints.diff(n=3, dim=-3).norm(dim=-1).mean(-1) * fps**3


def bone_lengths(joints: Tensor, parents: Sequence[int]) -> Tensor:
    """Distance of each joint from its parent, metres, float64: (..., F, J, 3) -> (..., F, bones); parents as below."""
    bones = [(j, parent) for j, parent in enumerate(parents) if parent >= 0]
    child, parent = torch.tensor(bones, device=joints.device).T
    return (joints.index_select(-2, child) - joints.index_select(-2, parent)).norm(dim=-1).double()


def bone_length_drift(joints: Tensor, parents: Sequence[int]) -> Tensor:
    """How much bones stretch: mean over bones of standard deviation over time / mean length. A share; 0 is rigid.

    joints (..., F, J, 3) -> (...,); parents (J,), -1 for the root. Of our own making: a body has rigid bones, features
    do not know it.
    """
    return length_drift(bone_lengths(joints, parents))


def length_drift(lengths: Tensor) -> Tensor:
    """`bone_length_drift` of lengths (..., F, bones) -> (...,)."""
    return (lengths.std(-2, correction=0) / lengths.mean(-2).clamp(min=1e-12)).mean(-1)


def limit_violation(values: Tensor, lower: Tensor | float, upper: Tensor | float) -> Tensor:
    """In which frames something is outside its limits: (..., F, n) -> (..., F) bool; its mean is a share of frames.

    Limits are anything of n numbers: joint angles in radians, bone lengths in metres. NaN is outside.
    """
    return ~((values >= lower) & (values <= upper)).all(-1)


# 3) Sets of embeddings.


# 4) Token sequences.
