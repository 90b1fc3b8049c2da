"""Values of one clip: reconstruction errors, physical qualities, SMPL-X parameter errors,
codes in use.

The formulas are in `metrics/`. Here they get their units (millimetres, m/s), and clips are
averaged. `labels` says what each name means.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.rotations import angle_between
from motiongpt.body.skeletons import Skeleton
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation
from motiongpt.features.smplx import SMPLX_ROTATIONS
from motiongpt.metrics.joints import (
    acceleration_error,
    bone_lengths,
    floor_penetration,
    foot_skate,
    jerk,
    length_drift,
    limit_violation,
    mpjpe,
    pa_mpjpe,
    velocity_error,
)
from motiongpt.metrics.tokens import perplexity

BONE_LIMIT = 0.2  # a bone may differ from the skeleton's length by this share
AT_ONCE = 32  # clips measured together; a batch that fits the processor's cache is several times faster


def frame_errors(joints: Tensor, target: Tensor, fps: float) -> dict[str, Tensor]:
    """`ERRORS` of one clip (F, J, 3) in metres: a value per frame, or per step between frames."""
    acceleration = acceleration_error(joints, target)
    return {
        "mpjpe_mm": 1000 * mpjpe(joints, target),
        "global_mpjpe_mm": 1000 * mpjpe(joints, target, root=None),
        "pa_mpjpe_mm": 1000 * pa_mpjpe(joints, target),
        "velocity_error_m_s": fps * velocity_error(joints, target),
        "acceleration_error_mm_frame2": 1000 * acceleration,
        "acceleration_error_m_s2": fps**2 * acceleration,
    }


def frame_qualities(joints: Tensor, skeleton: Skeleton, fps: float, floor: float) -> dict[str, Tensor]:
    """`QUALITIES` of clips (..., F, J, 3) in metres: a value per frame or step;
    bone drift has one per clip.

    A skeleton whose offsets are directions only has no bone limits.
    """
    toes = (skeleton.feet_left[1], skeleton.feet_right[1])
    lengths = bone_lengths(joints, skeleton.parents)
    # no limits: no values, so no mean either
    outside = torch.empty(0, dtype=torch.bool)
    if skeleton.has_lengths:
        own = torch.tensor(skeleton.offsets[1:], dtype=lengths.dtype).norm(dim=-1) * skeleton.metres_per_unit
        outside = limit_violation(lengths, (1 - BONE_LIMIT) * own, (1 + BONE_LIMIT) * own)
    return {
        "foot_skate": foot_skate(joints, toes, fps, floor),
        "floor_penetration_mm": 1000 * floor_penetration(joints, floor),
        "jerk_m_s3": jerk(joints, fps),
        "bone_length_drift": length_drift(lengths)[..., None],
        "bone_limits": outside,
    }


def clip_qualities(
    features: Sequence[np.ndarray | Tensor], representation: Representation, fps: float
) -> dict[str, np.ndarray]:
    """`QUALITIES` of clips (F_i, D): the mean of each clip, (N,), NaN where it is too short.
    The floor is y = 0.

    Empty for features without joints (SMPL-X).
    """
    if not representation.has_joints:
        return {}
    means = defaultdict(lambda: np.full(len(features), np.nan))
    by_length = defaultdict(list)
    # clips of one length stack without padding, which would count in the means
    for i, clip in enumerate(features):
        by_length[len(clip)].append(i)
    for same_length in by_length.values():
        for first in range(0, len(same_length), AT_ONCE):
            rows = same_length[first : first + AT_ONCE]
            stacked = torch.stack([torch.as_tensor(features[i]) for i in rows])  # (B, F, D)
            joints = representation.decode(stacked) * representation.metres_per_unit  # (B, F, J, 3)
            for name, value in frame_qualities(joints, representation.skeleton, fps, 0.0).items():
                means[name][rows] = value.double().mean(-1).numpy()
    return dict(means)


def parameter_errors(
    features: Tensor, target: Tensor, representation: Representation, normalizer: Normalizer
) -> dict[str, Tensor]:
    """`PARAMETERS` of one clip (F, D), a value per frame.

    `*_rmse` are still squares: `average` takes the root of their mean.
    An angle is the mean over the group's joints.
    """
    features, target = features.double(), target.double()
    normalised = normalizer.normalise(features) - normalizer.normalise(target)
    errors = {"feature_rmse": normalised.square().mean(-1)}
    for name, columns in representation.groups.items():
        ours, theirs = features[:, columns], target[:, columns]
        errors[f"{name}_rmse"] = (ours - theirs).square().mean(-1)
        if name in SMPLX_ROTATIONS:
            angles = angle_between(ours.unflatten(-1, (-1, 3)), theirs.unflatten(-1, (-1, 3)))
            errors[f"{name}_degrees"] = angles.rad2deg().mean(-1)
    return errors


def average(clips: list[dict[str, Tensor]]) -> dict[str, float | None]:
    """The mean over all frames of all clips, by name;
    for `*_rmse`, which arrive as squares, its root.

    None for a name without any value: clips of one or two frames have no acceleration.
    """
    averages = {}
    for name in clips[0]:
        values = torch.cat([clip[name].double() for clip in clips])
        mean = float(values.mean()) if len(values) else None
        averages[name] = mean**0.5 if mean is not None and name.endswith("_rmse") else mean
    return averages


def code_usage(counts: Tensor) -> dict:
    """A report's entry on how often each code was written, counts (N,)."""
    return {
        "codes": len(counts),
        "active": int((counts > 0).sum()),
        "perplexity": float(perplexity(counts)),
        "histogram": counts.tolist(),
    }
