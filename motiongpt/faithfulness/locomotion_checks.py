"""Conditions of walking, running, turning and stepping in place;
`conditions.py` says what a condition is."""

import numpy as np

from motiongpt.faithfulness.measures import Measures, swings
from motiongpt.faithfulness.shared_conditions import flies, in_place, sways, travels

DEGREES = {45: (25, 67), 90: (67, 130), 180: (135, 230), 360: (300, 420)}
"""Degrees in words -> the least and the most that the hips may turn."""


def steps(m: Measures) -> bool:
    """Each foot is more than 0.04 m above the other one at some time: no gliding."""
    left_minus_right = m.feet[:, 0] - m.feet[:, 1]
    return bool(left_minus_right.max() > 0.04 and left_minus_right.min() < -0.04)


def walks(m: Measures) -> bool:
    """Steps, pelvis at most 0.25 m below the upright stand, and no run.

    No run: both feet are off the floor at most once,
    or the elbows are bent by less than 45 degrees.
    """
    return steps(m) and (flies(m) < 2 or m.bent_elbows < 45) and m.drop.max() < 0.25


def walk_forward(m: Measures) -> bool:
    """More than 0.4 m ahead on stepping feet, and no run."""
    # axis 2 is ahead, sign 1 forward
    return travels(m, 2, 1, 0.4) and walks(m)


def walk_backward(m: Measures) -> bool:
    """More than 0.3 m backward without turning."""
    # sign -1: against the way it faces
    return travels(m, 2, -1, 0.3) and walks(m)


def walk_sideways(m: Measures, side: int) -> bool:
    """More than 0.3 m to the side without turning."""
    # axis 0 is to the left, so the right side has sign -1
    return travels(m, 0, 1 - 2 * side, 0.3) and walks(m)


def walk_circle(m: Measures, side: int) -> bool:
    """More than 1.5 m of path, nearly all of it ahead,
    while the hips turn by more than 230 degrees to the side."""
    return (1 - 2 * side) * m.turned > 230 and m.path > 1.5 and m.ahead > 0.8 * m.path and walks(m)


def legs_walk_forward(m: Measures) -> bool:
    """More than 0.4 m ahead on stepping feet, off the floor both at once at most once."""
    return travels(m, 2, 1, 0.4) and steps(m) and flies(m) < 2 and m.drop.max() < 0.25


def march_forward(m: Measures) -> bool:
    """More than 0.4 m ahead; each foot is lifted by more than 0.17 m, and the body stays upright."""
    return walk_forward(m) and bool(m.feet.max(0).min() > 0.17 and m.drop.max() < 0.16)


def tiptoe(m: Measures) -> bool:
    """More than 0.4 m ahead, and half of the time the lower heel is up by 0.04 m."""
    return walk_forward(m) and bool(np.median(m.heels.min(1)) > 0.04)


def sneak(m: Measures) -> bool:
    """More than 0.4 m ahead on stepping feet; half of the time bent by 20 degrees, the pelvis 0.13 m down."""
    return travels(m, 2, 1, 0.4) and steps(m) and bool(np.median(m.sunk) > 0.13 and np.median(m.lean) > 20)


def legs_run(m: Measures) -> bool:
    """More than 1 m ahead in long strides, both feet off the floor at least twice."""
    return travels(m, 2, 1, 1.0) and flies(m) >= 2 and bool(m.strides.max() > 0.4)


def run(m: Measures) -> bool:
    """More than 1 m ahead in long strides, both feet off the floor at least twice,
    elbows bent by 55 degrees."""
    return legs_run(m) and m.bent_elbows > 55


def legs_jog_in_place(m: Measures) -> bool:
    """In place; the feet rise in turn, knees not lifted (balls within 0.195 m ahead)."""
    return _steps_in_place(m) and bool(m.toes[..., 2].max() < 0.195)


def jog_in_place(m: Measures) -> bool:
    """In place; the feet rise in turn, knees not lifted, elbows bent by 60 degrees; hips and shoulders do not sway."""
    swaying = max(sways(m), swings(m.twist, 25)) >= 4  # else it would dance
    return legs_jog_in_place(m) and m.bent_elbows > 60 and not swaying


def march_in_place(m: Measures) -> bool:
    """In place; the feet rise in turn by more than 0.13 m,
    knees lifted (balls more than 0.195 m ahead)."""
    return _steps_in_place(m) and m.feet.max() > 0.13 and m.toes[..., 2].max() > 0.195


def _steps_in_place(m: Measures) -> bool:
    """The feet rise in turn, each by more than 0.07 m; the pelvis keeps its place and height."""
    left_minus_right = m.feet[:, 0] - m.feet[:, 1]  # its sign says which foot is up
    return bool(
        in_place(m)
        and swings(left_minus_right, 0.1) >= 3
        and m.drop.max() < 0.16
        and left_minus_right.max() > 0.07
        and left_minus_right.min() < -0.07
    )


def turn(m: Measures, side: int) -> bool:
    """Hips end 25 to 135 degrees to the side, within 0.4 m of the start, on feet that step."""
    return _on_spot(m) and 25 < (1 - 2 * side) * m.turned < 135


def turn_around(m: Measures) -> bool:
    """Hips end 135 to 230 degrees away, either way, within 0.4 m of the start."""
    return _on_spot(m) and 135 < abs(m.turned) < 230


def spin(m: Measures, side: int) -> bool:
    """Hips turn by 300 to 420 degrees to the side, within 0.4 m of the start, on feet that step."""
    return _on_spot(m) and 300 < (1 - 2 * side) * m.turned < 420


def turned_by(m: Measures, degrees: int, side: int | None) -> bool:
    """Hips turn by about 45, 90, 180 or 360 degrees on the spot, see `DEGREES`; without a side, either way."""
    least, most = DEGREES[degrees]
    return _on_spot(m) and least < (abs(m.turned) if side is None else (1 - 2 * side) * m.turned) < most


def _on_spot(m: Measures) -> bool:
    """Pelvis upright and within 0.4 m of the start, on feet that move under it by more than 0.02 m
    each.

    So a statue on a turntable does not pass. More than 0.02 m is not asked for,
    because codes flatten small steps.
    """
    # toes are seen from the pelvis: feet that turn along with it do not move
    if np.ptp(m.toes[..., [0, 2]], axis=0).max(-1).min() < 0.02:
        return False
    return float(np.hypot(m.travel[0], m.travel[2])) < 0.4 and m.path < 0.8 and m.drop.max() < 0.16
