"""Feet that stand where they stand: footprints held in place, no foot below the floor, legs that follow by bending.

A footprint is a stretch of frames in which a toe is low and slow. Within one the toe is held above its middle; between
two the correction goes on while the toe is high, so that a foot never catches up while it is low. NumPy, float64.
"""

import numpy as np
import torch

from motiongpt.body import feet
from motiongpt.body.limbs import bend
from motiongpt.body.skeletons import Skeleton
from motiongpt.features.humanml3d import facing

LOW, SLOW = 0.05, 0.8  # metres over the toe's usual lowest height, m/s over the ground: a toe that may stand
PRINT = 0.08  # metres from the middle of a footprint: where the toe goes farther, it does not stand
HELD = 0.7  # share of a footprint's frames within that: with fewer it is a slow step, and is left alone
ON_FLOOR = 75  # per cent of a footprint's frames that are lifted as a whole to the floor; the last ones one by one
PACE = 0.002  # metres of height that every frame in the air counts for at least
STILL = 1e-6  # metres: a foot that is moved by less stays; bending a straight leg by 1e-9 m takes its knee 3e-5 m away
OTHER_FLOOR = 0.15  # metres: a foot that is usually deeper stands on another floor, and is not lifted


def footprints(toe: np.ndarray, fps: float) -> np.ndarray:
    """`body.feet.footprints` within `LOW` and slower than `SLOW`."""
    return feet.footprints(toe, fps, LOW, SLOW)


def hold(toe: np.ndarray, prints: np.ndarray, floor: float) -> np.ndarray:
    """How far (F, 3) a toe (F, 3) is to be moved in each frame so that it stays in place within its `footprints`.

    A footprint is lifted as a whole if it is below the floor. Its rise at the end is no slide and stays.
    """
    shift, held = np.zeros(toe.shape), np.zeros(len(toe), bool)
    for number in range(1, prints.max(initial=0) + 1):
        here = np.flatnonzero(prints == number)
        away = np.median(toe[here], axis=0) - toe[here]  # (n, 3)
        near = np.hypot(away[:, 0], away[:, 2]) <= PRINT
        if near.mean() >= HELD:
            held[here] = near
            shift[here] = away
            shift[here, 1] = max(0.0, np.percentile(floor - toe[here, 1], ON_FLOOR))
    frames = np.flatnonzero(held)
    if len(frames) == 0:
        return shift
    # from one footprint to the next by the height that the toe has gone through: most where it is high, where a foot
    # moves anyway, least where it is low; beyond the first and the last footprint it stays
    height = toe[:, 1] - np.percentile(toe[:, 1], 5)
    progress = np.cumsum(np.maximum(height - LOW, 0) + PACE)  # (F,)
    return np.stack([np.interp(progress, progress[frames], curve) for curve in shift[frames].T], axis=-1)


def place_feet(
    joints: np.ndarray, toes: list[np.ndarray], prints: list[np.ndarray] | None, skeleton: Skeleton, floor: float
) -> np.ndarray:
    """Joints (F, J, 3) of a rigid body whose feet stand; only the legs below the hips change, bone lengths stay.

    Args:
        toes: where the toe of each of `legs_of` should be, (F, 3) each, as far as nothing else is said here.
        prints: their `footprints`, in which they are held; None holds nothing.
        floor: height that no joint of a foot is below.
    """
    out = joints.copy()
    ahead = facing(torch.from_numpy(joints), skeleton).numpy()  # (F, 2)
    hint = np.stack([ahead[:, 0], np.zeros(len(joints)), ahead[:, 1]], axis=-1)  # knees point where the body faces
    for number, (leg, toe) in enumerate(zip(feet.legs(skeleton), toes, strict=True)):
        foot, (_, middle, end) = list(leg.foot), leg.limb
        shift = toe - joints[:, leg.toe]
        if prints is not None:
            shift = shift + hold(toe, prints[number], floor)
        deep = floor - (joints[:, foot, 1] + shift[:, None, 1]).min(axis=1)
        if np.median(deep) < OTHER_FLOOR:
            shift[:, 1] += np.maximum(deep, 0)
        # the foot as one piece; where the leg is too short for it, the foot comes back
        moves = np.flatnonzero(np.abs(shift).max(axis=1) > STILL)
        leg_joints = (joints[moves, joint] for joint in leg.limb)
        wanted = joints[moves, end] + shift[moves]
        out[moves, middle], out[moves, end] = bend(*leg_joints, wanted, hint[moves])
        for joint in set(foot) - {end}:
            out[moves, joint] += out[moves, end] - joints[moves, end]
    return out
