"""How good is a motion, whatever it shows? Jerk, sliding feet, bones that stretch, rests, and how it ends.

`qualities` measures one motion by itself, without a true one beside it. Fresh motions beside those of a model say
what is usual. `ends_at_rest` and `restarts` tell a motion that was planned from one that was only cut.
"""

import numpy as np
import torch

from motiongpt.body.feet import footprints, legs, slide_speeds
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.faithfulness.measures import FPS, moving_mean, runs
from motiongpt.metrics.joints import bone_lengths, floor_penetration, foot_skate, jerk

TOES = (HUMANML3D.feet_left[1], HUMANML3D.feet_right[1])
LOW, SLOW = 0.05, 0.8  # metres over the toe's usual lowest height, m/s over the ground: a toe that may stand
END = 0.25  # seconds at the end whose speed counts
GOING, STANDING, REST = 0.5, 0.15, 0.3  # m/s, m/s, seconds
SMOOTHED = 5  # frames: footfalls and codes make the speed of the pelvis uneven
STILL = 0.25  # m/s: a frame in which no joint is faster is at rest


def qualities(joints: np.ndarray) -> dict[str, float]:
    """Name with its unit -> value, of joints (F, 22, 3) in metres at 20 fps, F >= 4."""
    points = torch.as_tensor(np.asarray(joints, np.float64))
    lengths = bone_lengths(points, HUMANML3D.parents)  # (F, bones)
    prints = [footprints(joints[:, leg.toe], FPS, LOW, SLOW) for leg in legs(HUMANML3D)]
    slides = slide_speeds(joints, prints, HUMANML3D, FPS)
    still = np.linalg.norm(np.diff(joints, axis=0), axis=-1).max(1) * FPS < STILL  # (F - 1,)
    moving = np.flatnonzero(~still)
    first, last = (moving[0], moving[-1] + 1) if len(moving) else (len(still), 0)
    return {
        "jerk (m/s^3)": float(jerk(points, FPS).mean()),
        "slide (cm/s)": 100 * float(slides.mean()) if len(slides) else 0.0,
        "skate (%)": 100 * float(foot_skate(points, TOES, FPS).float().mean()),
        "stretch (cm)": 100 * float((lengths - lengths.median(0).values).abs().max()),
        "below floor (mm)": 1000 * float(floor_penetration(points).mean()),
        "rest at the start (%)": 100 * float(first) / len(still),
        "rest at the end (%)": 100 * float(len(still) - last) / len(still),
        "end speed (m/s)": end_speed(joints),
    }


def end_speed(joints: np.ndarray) -> float:
    """Speed of the pelvis in the last quarter of a second, m/s."""
    last = round(END * FPS)
    return float(np.linalg.norm(np.diff(joints[-last - 1 :, 0], axis=0), axis=-1).mean() * FPS)


def ends_at_rest(joints: np.ndarray) -> bool:
    """Whether the pelvis is slower than `GOING` at the end: no end in mid-stride."""
    return end_speed(joints) <= GOING


def ground_speed(pelvis: np.ndarray) -> np.ndarray:
    """(F, 3) metres -> (F - 1,) m/s in x and z."""
    return np.linalg.norm(np.diff(moving_mean(pelvis[:, [0, 2]], SMOOTHED), axis=0), axis=-1) * FPS


def restarts(speed: np.ndarray) -> int:
    """How often a speed (F,) in m/s goes, stands for more than `REST` seconds, and goes again."""
    goes = np.flatnonzero(speed > GOING)
    if not len(goes):
        return 0
    between = speed[goes[0] : goes[-1]]  # before the first and after the last step nobody restarts
    return sum(end - start > REST * FPS for start, end in runs(between < STANDING))
