"""In what manner does a motion do its action: slowly, quickly, small, large, far, by how many degrees?

Tempo and size are relative: a slow bow takes longer than a normal bow, not longer than a normal punch. What is usual
is measured on fresh motions of the embedded data, in all body styles (`usual`). The limit between two manners lies
`LIMIT` of the way from the usual normal one to the usual other one.

A function of `CURVES` takes `Measures` and a side (0 left, 1 right; 0 for actions without) and returns the curve (F,)
that goes to and fro as the action does. Its strokes say how fast, their range says how large; for some actions
`TIMED_BY` and `SIZED_BY` know better.
"""

from collections.abc import Callable
from functools import cache
from itertools import islice, pairwise

import numpy as np

from motiongpt.faithfulness.counts import family_and_side, jumps, steps
from motiongpt.faithfulness.fresh import performances
from motiongpt.faithfulness.locomotion_checks import turned_by
from motiongpt.faithfulness.measures import FPS, Measures, moving_mean, runs, strokes, swings

USUAL_SEED, USUAL_CLIPS = 20261122, 8  # of the motions that say what is usual: one of each style
GUARD = -0.1  # metres a fist in the guard is above its shoulder, at least
LIMIT = 0.36  # not half-way: bodies differ by 10 %, and a manner that is asked for should count
WAY = (0.15, 0.85)  # the part of a stroke that is timed: its ends are slow, and a hold is no part of it
FAR, NEAR = 5.0, 3.0  # metres over the ground: at least so far is "far", at most so far is "a bit"


def _while(mask: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """The part of a curve (F,) in the longest stretch of True; all of it if there is none."""
    start, end = max(runs(mask), key=lambda run: run[1] - run[0], default=(0, len(curve)))
    return curve[start:end]


TURNS = ("turn", "turn_around", "spin")
_WALKS = "walk_forward walk_backward walk_circle walk_sideways run march_forward tiptoe sneak"
_STEPS = f"{_WALKS} jog_in_place march_in_place {' '.join(TURNS)}"
_DEPTHS = "jump jump_forward squat sit_down stand_up sit_and_stand kneel kneel_and_rise pick_up"
CURVES: dict[str, Callable[[Measures, int], np.ndarray]] = {
    **dict.fromkeys(_STEPS.split(), lambda m, side: m.feet[:, 0] - m.feet[:, 1]),
    **dict.fromkeys(_DEPTHS.split(), lambda m, side: m.drop),
    "hop": lambda m, side: m.feet[:, side],
    "dance": lambda m, side: moving_mean(m.drop, 3),
    **dict.fromkeys(("bow", "touch_toes"), lambda m, side: m.lean),
    "side_bend": lambda m, side: m.side_lean,
    "kick": lambda m, side: m.feet[:, side],
    **dict.fromkeys(("balance", "tree_pose"), lambda m, side: m.feet[:, 1 - side]),
    **dict.fromkeys(("lunge", "warrior_pose"), lambda m, side: m.toes[:, side, 2] - m.toes[:, 1 - side, 2]),
    "jumping_jacks": lambda m, side: m.spread,
    "clap": lambda m, side: _while((m.hands[..., 2] > 0.12).all(1), m.between_hands),
    **dict.fromkeys(("stretch", "raise_both_arms"), lambda m, side: m.hands[..., 1].mean(1)),
    **dict.fromkeys(("raise_arm", "salute", "drink"), lambda m, side: m.hands[:, side, 1]),
    "hands_on_hips": lambda m, side: m.elbows.mean(1),
    "nod": lambda m, side: m.head[:, 1],
    **dict.fromkeys(("shake_head", "look"), lambda m, side: m.head[:, 0]),
    "shrug": lambda m, side: m.shoulders.mean(1),
    **dict.fromkeys(("wave", "wave_both"), lambda m, side: _while(m.hands[:, side, 1] > 0.0, m.hands[:, side, 0])),
    **dict.fromkeys(("punch", "boxing"), lambda m, side: m.hands[:, side, 2] - m.hands[:, 1 - side, 2]),
    **dict.fromkeys(("throw", "point"), lambda m, side: m.hands[:, side, 2]),
}
"""Family -> its curve: metres or degrees."""

BEATS = f"{_STEPS} hop jumping_jacks nod shake_head wave wave_both boxing".split()
"""Families that repeat evenly: the time from stroke to stroke says how fast, and not that of a single one."""


def stroke_seconds(curve: np.ndarray, beats: bool = False) -> float:
    """Median seconds that a stroke of at least 0.4 of the curve's range takes for the middle of its way.

    With `beats`, median seconds from the middle of a stroke to that of the next of the same way. NaN for a curve (F,)
    that does not move, or that has too few strokes for a beat.
    """
    firsts, lasts = [], []
    for start, end in strokes(curve, max(1e-6, 0.4 * float(np.ptp(curve)))):
        way = (curve[start : end + 1] - curve[start]) / (curve[end] - curve[start])  # 0..1
        for times, share in zip((firsts, lasts), WAY, strict=True):
            times.append(start + _reached(way, share))
    middles = np.add(firsts, lasts) / 2
    times = middles[2:] - middles[:-2] if beats else np.subtract(lasts, firsts)
    return float(np.median(times)) / FPS if len(times) else float("nan")


def _reached(way: np.ndarray, share: float) -> float:
    """The frame, with its fraction, at which a curve from 0 to 1 first reaches a share of its way."""
    k = int(np.argmax(way >= share))
    return k if k == 0 else k - 1 + (share - way[k - 1]) / (way[k] - way[k - 1])


def _crouch_seconds(m: Measures, side: int) -> float:
    """From the beginning of the first crouch to the take-off; NaN without a flight."""
    off = m.flights[0][0] if m.flights else 0
    deep = m.drop[:off].max(initial=0)
    before = np.flatnonzero(m.drop[:off] > m.drop[0] + 0.2 * (deep - m.drop[0]))  # the frames of the crouch
    return (off - before[0]) / FPS if len(before) else float("nan")


def _stroke_size(m: Measures, side: int, family: str) -> float:
    """Median range of the strokes of the family's curve."""
    curve = CURVES[family](m, side)
    found = strokes(curve, max(1e-6, 0.4 * float(np.ptp(curve))))
    return float(np.median([abs(curve[end] - curve[start]) for start, end in found])) if found else 0.0


def _claps(m: Measures) -> list[tuple[int, int, float]]:
    """From each time the hands are together to the next: the two frames, and how far apart the hands go between."""
    apart = CURVES["clap"](m, 0)
    dips = [end for start, end in strokes(apart, 0.4 * float(np.ptp(apart)) + 1e-6) if apart[end] < apart[start]]
    return [(a, b, float(apart[a:b].max())) for a, b in pairwise(dips)]


def _clap_seconds(m: Measures, side: int) -> float:
    """Mean seconds from clap to clap; NaN for a single one."""
    claps = _claps(m)
    return (claps[-1][1] - claps[0][0]) / len(claps) / FPS if claps else float("nan")


def _beat_seconds(m: Measures, side: int) -> float:
    """Seconds of a beat: once down and up. NaN for a body that does not bounce."""
    beats = swings(moving_mean(m.drop, 3), 0.012) / 2
    return len(m.joints) / FPS / beats if beats else float("nan")


TIMED_BY: dict[str, Callable[[Measures, int], float]] = {
    **dict.fromkeys(("jump", "jump_forward"), _crouch_seconds),
    "clap": _clap_seconds,
    "dance": _beat_seconds,
    # into the guard and out of it: a hit takes four frames only
    "punch": lambda m, side: stroke_seconds(np.minimum(m.hands[..., 1].mean(1), GUARD)),
}
"""Family -> seconds that say how fast it is, where that is not a stroke of its curve."""
SIZED_BY: dict[str, Callable[[Measures, int], float]] = {
    **dict.fromkeys("walk_forward walk_backward walk_circle".split(), lambda m, side: np.percentile(m.strides, 90)),
    "walk_sideways": lambda m, side: abs(m.travel[0]) / max(1, steps(m)),
    "jump": lambda m, side: m.feet.min(1).max(),  # the height of the flight
    "jump_forward": lambda m, side: m.travel[2] / max(1, jumps(m)),
    "clap": lambda m, side: np.median([wide for _, _, wide in _claps(m)] or [float("nan")]),
    **dict.fromkeys(("punch", "throw"), lambda m, side: np.ptp(m.twist)),  # the arm is as long as it is
}
"""Family -> metres or degrees that say how large it is, where that is not a stroke of its curve."""


def has_curve(action: str) -> bool:
    """Whether `seconds_and_size` knows this action."""
    return family_and_side(action)[0] in CURVES


def seconds_and_size(action: str, m: Measures) -> tuple[float, float]:
    """How long a stroke of this action takes, and how large the action is (metres or degrees).

    Raises ValueError for an action without a curve.
    """
    name, side = family_and_side(action)
    if not has_curve(action):
        raise ValueError(f"{action} has no tempo and no size; these have: {', '.join(CURVES)}")
    side = side or 0
    seconds = TIMED_BY[name](m, side) if name in TIMED_BY else stroke_seconds(CURVES[name](m, side), name in BEATS)
    size = SIZED_BY[name](m, side) if name in SIZED_BY else _stroke_size(m, side, name)
    return seconds, float(size)


@cache
def usual(action: str, tempo: str = "normal", size: str = "normal") -> tuple[float, float]:
    """Median seconds and size of fresh motions of this action in this manner, in all styles."""
    clips = islice(performances((action,), USUAL_SEED, tempos=(tempo,), sizes=(size,)), USUAL_CLIPS)
    found = [seconds_and_size(action, Measures(clip.joints)) for clip in clips]
    seconds, metres = np.nanmedian(found, axis=0)  # or degrees
    return float(seconds), float(metres)


def _between(normal: float, other: float) -> float:
    """The limit between two usual values: `LIMIT` of the way from normal to the other one, on a logarithmic scale."""
    return normal * (other / normal) ** LIMIT


def has_tempo(action: str, tempo: str, m: Measures) -> bool:
    """Whether a motion of this action is "slow" or "quick": farther from normal ones than the limit."""
    seconds = seconds_and_size(action, m)[0]
    limit = _between(usual(action)[0], usual(action, tempo=tempo)[0])
    return seconds > limit if tempo == "slow" else seconds < limit


def has_size(action: str, size: str, m: Measures) -> bool:
    """Whether a motion of this action is "small" or "large": farther from normal ones than the limit.

    Raises ValueError for an action that the embedded data knows in one size only.
    """
    found = seconds_and_size(action, m)[1]
    limit = _between(usual(action)[1], usual(action, size=size)[1])
    return found > limit if size == "large" else found < limit


def has_degrees(action: str, degrees: int, m: Measures) -> bool:
    """Whether the hips turn by 45, 90, 180 or 360 degrees on the spot, to the side of the action if it has one."""
    return turned_by(m, degrees, family_and_side(action)[1])


def has_distance(distance: str, m: Measures) -> bool:
    """Whether the way over the ground is "short" or "far"; see `NEAR` and `FAR`."""
    return m.path >= FAR if distance == "far" else m.path <= NEAR
