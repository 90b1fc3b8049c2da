"""What is measured of a clip by itself: errors, physical qualities, codes."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.rotations import angle_between
from motiongpt.body.skeletons import Skeleton
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation
from motiongpt.features.smplx import SMPLX_ROTATIONS, SMPLX_WIDTHS
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


def qualities(
    features: Sequence[np.ndarray | Tensor], representation: Representation, fps: float
) -> dict[str, np.ndarray]:
    """`evaluation.QUALITIES` of clips (F_i, D), a value per clip each, (N,); the floor is y = 0.

    Nothing where features are no joints (SMPL-X).
    """
    if not representation.has_joints:
        return {}
    skeleton, out = representation.skeleton, defaultdict(lambda: np.full(len(features), np.nan))
    by_length = defaultdict(list)
    for i, clip in enumerate(features):
        by_length[len(clip)].append(i)
    for everyone in by_length.values():
        # few at a time: what fits the processor's cache is several times as fast
        for rows in (everyone[first : first + 32] for first in range(0, len(everyone), 32)):
            stacked = torch.stack([torch.as_tensor(features[i]) for i in rows])
            joints = representation.decode(stacked) * representation.metres_per_unit  # (B, F, J, 3)
            for name, value in frame_qualities(joints, skeleton, fps, 0.0).items():
                out[name][rows] = value.double().mean(-1).numpy()
    return dict(out)


ERRORS = {
    "mpjpe_mm": "MPJPE, root-aligned (mm)",
    "global_mpjpe_mm": "MPJPE, global (mm)",
    "pa_mpjpe_mm": "PA-MPJPE (mm)",
    "velocity_error_m_s": "velocity error (m/s)",
    "acceleration_error_mm_frame2": "acceleration error (mm per frame^2)",
    "acceleration_error_m_s2": "acceleration error (m/s^2)",
}
"""Of a reconstruction against its original: key in report.json -> name and unit."""


QUALITIES = {
    "foot_skate": "foot-skate ratio",
    "floor_penetration_mm": "floor penetration (mm)",
    "jerk_m_s3": "jerk (m/s^3)",
    "bone_length_drift": "bone-length drift (share)",
    "bone_limits": "bone limits violated (share)",
}
"""Of one motion alone, so measured on the original too."""


PARAMETERS = {
    "feature_rmse": "all parameters, normalised, RMSE",
    **{f"{name}_degrees": f"{name}, mean angle (degrees)" for name in SMPLX_ROTATIONS},
    **{f"{name}_rmse": f"{name}, RMSE" + (" (rad)" if name in SMPLX_ROTATIONS else " (m)" if name == "transl" else "")
       for name in SMPLX_WIDTHS},
}  # fmt: skip
"""Of reconstructed SMPL-X parameters against their originals; shape and expression have no unit."""


LABELS = ERRORS | QUALITIES | PARAMETERS


BONE_LIMIT = 0.2  # share a bone may be off the skeleton's length


SHOWN = ("best", "median", "worst")


def frame_errors(joints: Tensor, target: Tensor, fps: float) -> dict[str, Tensor]:
    """`ERRORS` of one clip (F, J, 3) in metres, a value per frame (or step between frames) each."""
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
    """`QUALITIES` of clips (..., F, J, 3) in metres; a value per frame or step, of bone drift one per clip.

    No bone limits where the skeleton's offsets are directions only.
    """
    toes = (skeleton.feet_left[1], skeleton.feet_right[1])
    lengths, limits = bone_lengths(joints, skeleton.parents), torch.empty(0, dtype=torch.bool)
    if skeleton.has_lengths:
        own = torch.tensor(skeleton.offsets[1:], dtype=lengths.dtype).norm(dim=-1) * skeleton.metres_per_unit
        limits = limit_violation(lengths, (1 - BONE_LIMIT) * own, (1 + BONE_LIMIT) * own)
    return {
        "foot_skate": foot_skate(joints, toes, fps, floor),
        "floor_penetration_mm": 1000 * floor_penetration(joints, floor),
        "jerk_m_s3": jerk(joints, fps),
        "bone_length_drift": length_drift(lengths)[..., None],
        "bone_limits": limits,
    }


def parameter_errors(
    features: Tensor, target: Tensor, representation: Representation, normalizer: Normalizer
) -> dict[str, Tensor]:
    """`PARAMETERS` of one clip (F, D), a value per frame each, of `*_rmse` its square; an angle is the joints' mean."""
    features, target = features.double(), target.double()
    normalised = normalizer.normalise(features) - normalizer.normalise(target)
    errors = {"feature_rmse": normalised.square().mean(-1)}
    for name, columns in representation.groups.items():
        ours, theirs = features[:, columns], target[:, columns]
        errors[f"{name}_rmse"] = (ours - theirs).square().mean(-1)
        if name in SMPLX_ROTATIONS:
            angles = angle_between(*(x.unflatten(-1, (-1, 3)) for x in (ours, theirs)))
            errors[f"{name}_degrees"] = angles.rad2deg().mean(-1)
    return errors


def average(clips: list[dict[str, Tensor]]) -> dict[str, float | None]:
    """The mean over all frames of all clips, per name, and of `*_rmse`, which come as squares, its root; None where
    there is no value (clips of one or two frames)."""
    values = {name: torch.cat([clip[name].double() for clip in clips]) for name in clips[0]}
    means = {name: float(value.mean()) if len(value) else None for name, value in values.items()}
    return {name: x**0.5 if x is not None and name.endswith("_rmse") else x for name, x in means.items()}


def code_usage(counts: Tensor) -> dict:
    """What a report says of how often each code (N,) was written."""
    return {"codes": len(counts), "active": int((counts > 0).sum()), "perplexity": float(perplexity(counts)),
            "histogram": counts.tolist()}  # fmt: skip
