"""How often does a motion do its action? `COUNTERS` has a function per family of actions that can be counted.

A counter takes `Measures` (and a side, 0 left, 1 right) of a motion that shows the action and says how often. It
counts the strokes of one curve, such as the depth of a squat: larger than half of the curve's own range, so that a
slight squat counts as much as a deep one. `right_count` says how far off a count may be.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.faithfulness.gesture_checks import fist_hits, hands_in_front
from motiongpt.faithfulness.measures import FPS, Measures, runs, strokes

MERGED = 3  # frames: two hits that are not farther apart are one
FREELY = 4  # from this count on, repeated gestures of hands and head may be one off
FREE = ("clap", "nod", "shake_head", "wave", "wave_both", "walk_forward", "walk_backward", "walk_sideways")


def rises(curve: np.ndarray, least: float, share: float = 0.5) -> int:
    """How often a curve (F,) rises by at least `least` and by `share` of its whole range."""
    size = max(least, share * float(np.ptp(curve)))
    return sum(curve[end] > curve[start] for start, end in strokes(curve, size))


def hits(mask: np.ndarray) -> int:
    """How many stretches of True a mask (F,) has, those within `MERGED` frames of each other being one."""
    found = runs(mask)
    return len(found) - sum(b - a <= MERGED for (_, a), (b, _) in pairwise(found))


def jumps(m: Measures) -> int:
    """Flights of three frames to one second."""
    return sum(3 <= b - a <= FPS for a, b in m.flights)


def hops(m: Measures, side: int) -> int:
    """Rises of this foot while the other one is held up."""
    held = runs(m.feet[:, 1 - side] > 0.08)
    return max((rises(m.feet[a:b, side], 0.03) for a, b in held), default=0)


def depths(m: Measures) -> int:
    """How often the pelvis goes down."""
    return rises(m.drop, 0.08)


def bows(m: Measures) -> int:
    """How often the trunk leans forward."""
    return rises(m.lean, 12)


def side_bends(m: Measures, side: int) -> int:
    """How often the trunk leans to this side."""
    return rises((1 - 2 * side) * m.side_lean, 10)


def shrugs(m: Measures) -> int:
    """How often the shoulders go up."""
    return rises(m.shoulders.mean(1), 0.02)


def kicks(m: Measures, side: int) -> int:
    """How often this foot comes to the height and distance of a kick."""
    return hits((m.feet[:, side] > 0.24) & (m.toes[:, side, 2] > 0.4))


def lunges(m: Measures, side: int) -> int:
    """How often this foot goes ahead of the other one."""
    return rises(m.toes[:, side, 2] - m.toes[:, 1 - side, 2], 0.25)


def punches(m: Measures, side: int) -> int:
    """How often this fist hits from the guard."""
    return hits(fist_hits(m, side))


def throws(m: Measures, side: int) -> int:
    """How often this hand flies ahead faster than 1.8 m/s."""
    return hits(m.hand_speed[:, side, 2] > 1.8)


def lifts(m: Measures, side: int | None = None) -> int:
    """How often the hand goes up; without a side, the lower one of both."""
    return rises(m.hands[..., 1].min(1) if side is None else m.hands[:, side, 1], 0.3)


def claps(m: Measures) -> int:
    """How often the hands come together in front of the body."""
    return max((rises(-m.between_hands[a:b], 0.1) for a, b in runs(hands_in_front(m))), default=0)


def nods(m: Measures) -> int:
    """How often the head pitches forward."""
    return rises(m.head[:, 1], 8)


def shakes(m: Measures) -> int:
    """How often the head turns to one side and the other; the half strokes at both ends do not count."""
    turns = m.head[:, 0]
    return (len(strokes(turns, max(10, 0.4 * float(np.ptp(turns))))) + 1) // 2


def waves(m: Measures, side: int) -> int:
    """How often the raised hand swings outward and back."""
    up = runs(m.hands[:, side, 1] > 0.0)
    return max((rises(m.hands[a:b, side, 0], 0.06) for a, b in up), default=0)


def waves_of_both(m: Measures) -> int:
    """The mean of `waves` of both hands, rounded."""
    return round((waves(m, 0) + waves(m, 1)) / 2)


def jacks(m: Measures) -> int:
    """How often the feet go apart."""
    return rises(m.spread, 0.15)


def steps(m: Measures) -> int:
    """How often a foot is lifted, either one."""
    return sum(rises(m.feet[:, side], 0.03, 0.35) for side in (0, 1))


COUNTERS: dict[str, Callable[..., int]] = {
    "jump": jumps,
    "jump_forward": jumps,
    "hop": hops,
    "squat": depths,
    "sit_and_stand": depths,
    "kneel_and_rise": depths,
    "pick_up": depths,
    "bow": bows,
    "touch_toes": bows,
    "side_bend": side_bends,
    "shrug": shrugs,
    "drink": lifts,
    "kick": kicks,
    "lunge": lunges,
    "punch": punches,
    "throw": throws,
    "raise_arm": lifts,
    "raise_both_arms": lifts,
    "clap": claps,
    "nod": nods,
    "shake_head": shakes,
    "wave": waves,
    "wave_both": waves_of_both,
    "jumping_jacks": jacks,
    "walk_forward": steps,
    "walk_backward": steps,
    "walk_sideways": steps,
}
"""Family -> its counter. Sided families get the side; walks count steps."""

UNSAID = (  # families whose count no caption of the embedded data says
    "walk_forward walk_backward walk_sideways wave wave_both sit_and_stand kneel_and_rise pick_up".split()
)
SIDELESS = ("sit_and_stand", "kneel_and_rise", "pick_up", "walk_sideways")  # counted without their side


def family_and_side(action: str) -> tuple[str, int | None]:
    """ "kick_left" -> ("kick", 0); "jump" -> ("jump", None)."""
    name, _, side = action.rpartition("_")
    return (name, SIDES.index(side)) if side in SIDES else (action, None)


def count_of(action: str, m: Measures) -> int:
    """How often a motion does this action. Raises ValueError for one that has no counter."""
    name, side = family_and_side(action)
    if name not in COUNTERS:
        raise ValueError(f"{action} is not counted; these are: {', '.join(COUNTERS)}")
    return COUNTERS[name](m) if side is None or name in SIDELESS else COUNTERS[name](m, side)


def right_count(action: str, found: int, wanted: int) -> bool:
    """Whether `found` is what was `wanted`; from four on, gestures of hands and head, and steps, may be one off."""
    free = family_and_side(action)[0] in FREE and wanted >= FREELY
    return abs(found - wanted) <= free
