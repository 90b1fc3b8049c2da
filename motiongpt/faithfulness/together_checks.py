"""Two actions at once: what the legs do (`BASES`), and what the arms or the head do meanwhile (`OVERLAYS`).

A base is judged by the legs alone, as raised arms say nothing about a walk. An overlay is judged by arms and head
alone, in the frames in which the feet step: whoever waves and then walks does not wave while walking.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.faithfulness import gesture_checks as arms
from motiongpt.faithfulness import locomotion_checks as legs
from motiongpt.faithfulness.measures import Measures

SHORTEST = 16  # frames of steps
NODDING, SHAKING = 18, 40  # degrees: the head of somebody who walks and waves turns by up to 20


def _one_arm(m: Measures, side: int, does: Callable[[Measures, int], bool]) -> bool:
    """This arm does it, and the other one does not."""
    return does(m, side) and not does(m, 1 - side)


def _by_side(name: str, check: Callable[..., bool]) -> dict[str, Callable[[Measures], bool]]:
    return {f"{name}_{side}": partial(check, side=k) for k, side in enumerate(SIDES)}


BASES: dict[str, Callable[[Measures], bool]] = {
    "walk_forward": legs.legs_walk_forward,
    "walk_backward": legs.walk_backward,
    "run": legs.legs_run,
    "jog_in_place": legs.legs_jog_in_place,
    "march_in_place": legs.march_in_place,
    **_by_side("walk_circle", legs.walk_circle),
}
"""Action -> whether the legs do it."""

OVERLAYS: dict[str, Callable[[Measures], bool]] = {
    "wave_both": arms.arms_wave,
    "raise_both_arms": arms.arms_are_up,
    "clap": arms.hands_clap,
    "hands_on_hips": arms.hands_are_on_hips,
    "nod": partial(arms.head_nods, least=NODDING),
    "shake_head": partial(arms.head_shakes, least=SHAKING),
    **_by_side("wave", partial(_one_arm, does=arms.arm_waves)),
    **_by_side("raise_arm", partial(_one_arm, does=arms.arm_is_up)),
    **_by_side("point", partial(_one_arm, does=arms.arm_points)),
}
"""Action -> whether arms or head do it."""


def while_stepping(m: Measures) -> Measures | None:
    """The part of a motion from the first lift of a foot to the last landing; None if that is too short."""
    up = np.flatnonzero(m.feet.max(1) > 0.03)
    if len(up) < 2 or up[-1] + 1 - up[0] < SHORTEST:
        return None
    return Measures(m.joints[up[0] : up[-1] + 1])


def both(base: str, overlay: str, m: Measures) -> bool:
    """Whether the legs do `base` while arms or head do `overlay`: names in `BASES` and `OVERLAYS`."""
    part = while_stepping(m)
    return part is not None and bool(BASES[base](m)) and bool(OVERLAYS[overlay](part))
