"""What several conditions ask: does the body stay in place, stand, end upright, fly, travel?"""

import numpy as np

from motiongpt.faithfulness.measures import Measures, runs, swings


def in_place(m: Measures) -> bool:
    """Ends within 0.35 m of the start and turned by less than 45 degrees."""
    return float(np.hypot(m.travel[0], m.travel[2])) < 0.35 and abs(m.turned) < 45


def stands(m: Measures) -> bool:
    """In place, pelvis never more than 0.16 m below the upright stand,
    no foot higher than 0.15 m."""
    return in_place(m) and m.drop.max() < 0.16 and m.feet.max() < 0.15


def stays(m: Measures) -> bool:
    """Stands, or sits all the while: the pelvis at least 0.2 m down, and level within 0.15 m."""
    sits = m.drop.min() > 0.2 and np.ptp(m.drop) < 0.15 and m.feet.max() < 0.15
    return stands(m) or bool(sits and in_place(m))


def ends_upright(m: Measures) -> bool:
    """Pelvis at most 0.15 m below the upright stand in the first and in the last frames."""
    return m.low_at_start < 0.15 and m.low_at_end < 0.15


def flies(m: Measures) -> int:
    """How often both feet are more than 0.03 m off the floor at once."""
    return len(runs(m.feet.min(1) > 0.03))


def travels(m: Measures, axis: int, sign: int, least: float) -> bool:
    """More than `least` metres along an axis (0 left, 2 ahead; `sign` -1 the other way),
    hardly across or turned.

    Hardly: less than half as far across, and less than 45 degrees.
    """
    along, across = sign * m.travel[axis], abs(m.travel[2 - axis])
    return along > least and across < 0.5 * along and abs(m.turned) < 45


def arms_level(m: Measures) -> np.ndarray:
    """(F,) bool: both arms are straight, and both hands within 0.2 m of the height of their shoulders."""
    return ((np.abs(m.hands[..., 1]) < 0.2) & (m.elbows < 45)).all(1)


def sways(m: Measures) -> int:
    """How often the pelvis goes to a side by more than 0.05 m, as the body faces at first."""
    across = m.seen(m.joint("pelvis"), np.broadcast_to(m.yaw[:1], m.yaw.shape))[:, 0]
    return swings(across, 0.05)
