"""Metrics on joints: errors of a motion against another,
and physical qualities of a motion by itself.

Joints are tensors (..., F, J, 3) in metres, y up. Every metric returns metres and one number per
frame (or step), so that clips of different lengths can be averaged over frames; callers print
millimetres.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# GMD's thresholds
SKATE_HEIGHT = 0.05  # metres
SKATE_SPEED = 0.5  # metres per second
SKATE_WINDOW = 5  # steps


def check_same_shape(name: str, predicted: Tensor, target: Tensor) -> None:
    """ValueError naming the metric if two tensors differ in shape."""
    if predicted.shape != target.shape:
        raise ValueError(f"{name} compares equal shapes, got {tuple(predicted.shape)} and {tuple(target.shape)}")


# 1) Joints against joints.


def mpjpe(predicted: Tensor, target: Tensor, root: int | None = 0) -> Tensor:
    """Mean per-joint position error, mean_j |p_j - t_j| (Ionescu et al. 2014, Human3.6M):
    (..., J, 3) -> (...,).

    Both poses are first moved so that joint `root` is at the origin, as in the MPJPE of MoMask and
    MotionGPT; None compares global positions.
    """
    check_same_shape("mpjpe", predicted, target)
    if root is not None:
        predicted = predicted - predicted[..., root : root + 1, :]
        target = target - target[..., root : root + 1, :]
    return (predicted - target).norm(dim=-1).mean(-1)


def procrustes_align(predicted: Tensor, target: Tensor) -> Tensor:
    """Move, turn and scale each pose of `predicted` (..., J, 3) to the least squared distance from
    `target`.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point
    patterns", equations 40 to 42. With both poses centred and P^T T = U S V^T, the rotation is
    U diag(1, 1, d) V^T with d = det(U V^T), which excludes mirror images, and the scale is
    trace(S diag(1, 1, d)) / |P|^2. A pose whose joints all coincide goes to the target's centre.
    """
    check_same_shape("procrustes_align", predicted, target)
    centre = target.mean(-2, keepdim=True)
    p, t = predicted - predicted.mean(-2, keepdim=True), target - centre
    u, s, vt = torch.linalg.svd(p.transpose(-1, -2) @ t)  # (..., 3, 3), (..., 3), (..., 3, 3)
    # without mirroring: the axis of the smallest singular value is the cheapest to turn over
    flip = torch.ones_like(s)
    flip[..., -1] = torch.linalg.det(u @ vt).sign()
    # tiny: a pose in one point has scale 0, not NaN
    size = p.square().sum((-1, -2)).clamp(min=torch.finfo(p.dtype).tiny)
    scale = (s * flip).sum(-1) / size
    return scale[..., None, None] * (p @ (u * flip[..., None, :]) @ vt) + centre


def pa_mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """MPJPE after `procrustes_align`: (..., J, 3) -> (...,). It is MotionGPT's PAMPJPE.

    Only the pose counts, not the place, facing direction or size of the body.
    """
    return mpjpe(procrustes_align(predicted, target), target, root=None)


def velocity_error(predicted: Tensor, target: Tensor) -> Tensor:
    """mean_j |dp_j - dt_j| of first differences in time, metres per frame:
    (..., F, J, 3) -> (..., F - 1).

    Times fps it is m/s. Like `acceleration_error`, one difference earlier.
    """
    check_same_shape("velocity_error", predicted, target)
    return (predicted - target).diff(dim=-3).norm(dim=-1).mean(-1)


def acceleration_error(predicted: Tensor, target: Tensor) -> Tensor:
    """mean_j |ddp_j - ddt_j| of second differences x[t] - 2 x[t+1] + x[t+2], metres per frame^2,
    global positions.

    (..., F, J, 3) -> (..., F - 2); empty below three frames. The field prints it in mm per frame^2
    and calls it ACCL (calc_accel of MotionGPT; Kanazawa et al. 2019, "Learning 3D Human Dynamics
    from Video"). Times fps^2 it is m/s^2, which is comparable across frame rates.
    """
    check_same_shape("acceleration_error", predicted, target)
    # differences are linear: one of the deviation is enough
    return (predicted - target).diff(n=2, dim=-3).norm(dim=-1).mean(-1)


def displacement_errors(predicted: Tensor, target: Tensor, root: int | None = None) -> tuple[Tensor, Tensor]:
    """ADE and FDE, average and final displacement error: (..., F, J, 3) -> (...,) and (...,), metres.

    A pose is one vector of 3 J numbers, and its error the distance sqrt(sum_j |p_j - t_j|^2): up to
    sqrt(J) times `mpjpe`. ADE is its mean over frames, FDE its value in the last one. So count
    MotionGPT's PredMetrics and DLow (Yuan & Kitani 2020, "DLow: Diversifying latent flows for
    diverse human motion prediction"). Frames that were given must be cut off before.

    With `root`, both poses are first moved so that this joint is at the origin, as in `mpjpe`; None
    compares global positions, as the field does. Raises ValueError for unequal shapes, or no frame.
    """
    check_same_shape("displacement_errors", predicted, target)
    if predicted.shape[-3] == 0:
        raise ValueError("displacement_errors needs at least one frame")
    difference = predicted - target
    if root is not None:
        difference = difference - difference[..., root : root + 1, :]
    distance = difference.flatten(-2).norm(dim=-1)  # (..., F)
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
    """Steps in which a foot on the floor slides: (..., F, J, 3) -> (..., F - 1) bool;
    the mean is the foot-skate ratio.

    calculate_skating_ratio of GMD (Karunratanakul et al. 2023, "Guided Motion Diffusion for
    Controllable Human Motion Synthesis"), where `feet` are the two toe joints. A step counts if one
    of the feet is less than `height` above the floor before and after it and slides faster than
    `speed` in x and z. The speed is required of this step and of the mean of the five steps around
    it; steps outside the clip count as zero.
    """
    foot = joints[..., list(feet), :]
    low = foot[..., 1] - floor < height  # (..., F, feet)
    slide = foot[..., [0, 2]].diff(dim=-3).norm(dim=-1) * fps  # (..., F - 1, feet), m/s
    edge = SKATE_WINDOW // 2
    around = torch.nn.functional.pad(slide, (0, 0, edge, edge)).unfold(-2, SKATE_WINDOW, 1).mean(-1)
    skating = low[..., :-1, :] & low[..., 1:, :] & (slide > speed) & (around > speed)  # (..., F - 1, feet)
    return skating.any(-1)


def floor_penetration(joints: Tensor, floor: float = 0.0) -> Tensor:
    """How deep the lowest joint is below the floor, 0 above it: (..., F, J, 3) -> (..., F).

    Penetrate of PhysDiff (Yuan et al. 2023), with joints instead of mesh vertices;
    soles are lower than their joints.
    """
    return (floor - joints[..., 1].amin(-1)).clamp(min=0)


def jerk(joints: Tensor, fps: float) -> Tensor:
    """Mean over joints of |third derivative of position|, m/s^3: (..., F, J, 3) -> (..., F - 3).

    Third differences times fps^3; human arms move so that it stays small (Flash & Hogan 1985, "The
    coordination of arm movements"). Noise makes it grow fast with the frame rate: compare at one
    frame rate only.
    """
    return joints.diff(n=3, dim=-3).norm(dim=-1).mean(-1) * fps**3


def bone_lengths(joints: Tensor, parents: Sequence[int]) -> Tensor:
    """Distance of each joint from its parent, float64: (..., F, J, 3) -> (..., F, bones).
    A root has parent -1."""
    bones = [(j, parent) for j, parent in enumerate(parents) if parent >= 0]
    child, parent = torch.tensor(bones, device=joints.device).T  # (bones,) each
    return (joints.index_select(-2, child) - joints.index_select(-2, parent)).norm(dim=-1).double()


def length_drift(lengths: Tensor) -> Tensor:
    """How much bones stretch, from `bone_lengths` (..., F, bones) -> (...,): 0 is rigid.

    The mean over bones of standard deviation over time / mean length. Our own metric: bodies have
    rigid bones, and features of motion do not know it.
    """
    mean = lengths.mean(-2, keepdim=True)
    deviation = (lengths - mean).square().mean(-2).sqrt()  # as `std`, which takes six times as long
    return (deviation / mean.squeeze(-2).clamp(min=1e-12)).mean(-1)


def limit_violation(values: Tensor, lower: Tensor | float, upper: Tensor | float) -> Tensor:
    """Frames in which one of n values is outside its limits: (..., F, n) -> (..., F) bool;
    the mean is a share.

    Values and limits have any unit: radians, metres. NaN is outside.
    """
    # negated, because every comparison with NaN is False
    return ~((values >= lower) & (values <= upper)).all(-1)
