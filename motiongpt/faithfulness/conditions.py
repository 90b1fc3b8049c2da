"""One kinematic condition per action: what makes a clip of joints that action and not another one.

A condition takes `Measures` (and a side, 0 left, 1 right) and says yes or no. Its docstring states it in words and
units. It never looks at a sentence, at codes or at a probability. `CHECKS` names them as `data/actions.py` does.

Thresholds lie about half-way to the neighbouring actions, so that a motion that went through a tokenizer still passes.
They were set by hand, on motions of the same generator that makes the training data and on what a tokenizer makes of
such motions; other data may need others.

What it does not know: style, naturalness, how often, how slowly (`faithfulness.py` says what is measured with them).
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from motiongpt.faithfulness.measures import EDGE, FPS, SIDES, Measures, longest, runs, swings

START, END = slice(0, EDGE), slice(-EDGE, None)


def _in_place(m: Measures) -> bool:
    """Ends within 0.35 m of the start and turned by less than 45 degrees."""
    return float(np.hypot(m.travel[0], m.travel[2])) < 0.35 and abs(m.turned) < 45


def _stands(m: Measures) -> bool:
    """In place, pelvis never more than 0.16 m below the upright stand, no foot higher than 0.15 m."""
    return _in_place(m) and m.drop.max() < 0.16 and m.feet.max() < 0.15


def _ends_upright(m: Measures) -> bool:
    """Pelvis at most 0.15 m below the upright stand in the first and in the last frames."""
    return m.low_at_start < 0.15 and m.low_at_end < 0.15


def _flies(m: Measures) -> int:
    """How often both feet are more than 0.03 m off the floor at once."""
    return len(runs(m.feet.min(1) > 0.03))


def _travels(m: Measures, axis: int, sign: int, least: float) -> bool:
    """At least `least` metres along `sign` times axis (0 left, 2 ahead), half as far across at most, < 45 degrees."""
    along, across = sign * m.travel[axis], abs(m.travel[2 - axis])
    return along > least and across < 0.5 * along and abs(m.turned) < 45


def _steps(m: Measures) -> bool:
    """Each foot is more than 0.04 m above the other one at some time: nothing that glides."""
    left_minus_right = m.feet[:, 0] - m.feet[:, 1]
    return bool(left_minus_right.max() > 0.04 and left_minus_right.min() < -0.04)


def _walks(m: Measures) -> bool:
    """Steps; both feet off the floor at most once, or arms as straight as no runner's (45 degrees); pelvis within
    0.25 m of its upright height."""
    return _steps(m) and (_flies(m) < 2 or m.bent_elbows < 45) and m.drop.max() < 0.25


# 1) Steps.


def walk_forward(m: Measures) -> bool:
    """More than 0.4 m ahead on stepping feet, and no run."""
    return _travels(m, 2, 1, 0.4) and _walks(m)


def walk_backward(m: Measures) -> bool:
    """More than 0.3 m backward without turning."""
    return _travels(m, 2, -1, 0.3) and _walks(m)


def walk_sideways(m: Measures, side: int) -> bool:
    """More than 0.3 m to the side without turning."""
    return _travels(m, 0, 1 - 2 * side, 0.3) and _walks(m)


def walk_circle(m: Measures, side: int) -> bool:
    """More than 1.5 m of path, nearly all of it ahead, while the hips turn by more than 230 degrees to the side."""
    return (1 - 2 * side) * m.turned > 230 and m.path > 1.5 and m.ahead > 0.8 * m.path and _walks(m)


def run(m: Measures) -> bool:
    """More than 1 m ahead, both feet off the floor at least twice, elbows bent by 55 degrees or more while at it."""
    return _travels(m, 2, 1, 1.0) and _flies(m) >= 2 and m.bent_elbows > 55 and m.strides.max() > 0.4


def jog_in_place(m: Measures) -> bool:
    """In place; the feet rise in turn, elbows bent by 60 degrees, knees not lifted: balls within 0.195 m ahead."""
    return _steps_in_place(m) and m.bent_elbows > 60 and m.toes[..., 2].max() < 0.195


def march_in_place(m: Measures) -> bool:
    """In place; the feet rise in turn by more than 0.13 m, knees lifted: balls more than 0.195 m ahead."""
    return _steps_in_place(m) and m.feet.max() > 0.13 and m.toes[..., 2].max() > 0.195


def _steps_in_place(m: Measures) -> bool:
    """The feet rise in turn, each by more than 0.07 m; the pelvis stays where and as high as it is."""
    left_minus_right = m.feet[:, 0] - m.feet[:, 1]
    return bool(_in_place(m) and swings(left_minus_right, 0.1) >= 3 and m.drop.max() < 0.16
                and left_minus_right.max() > 0.07 and left_minus_right.min() < -0.07)  # fmt: skip


def turn(m: Measures, side: int) -> bool:
    """Hips end 45 to 135 degrees to the side, within 0.4 m of the start, on feet that step."""
    return _on_spot(m) and 45 < (1 - 2 * side) * m.turned < 135


def turn_around(m: Measures) -> bool:
    """Hips end 135 to 230 degrees away, either way, within 0.4 m of the start."""
    return _on_spot(m) and 135 < abs(m.turned) < 230


def _on_spot(m: Measures) -> bool:
    """Pelvis within 0.4 m of the start and upright. Each foot moves by more than 0.02 m under the pelvis, seen from the
    hips: no statue on a turntable. Steps higher than that are not asked for, codes flatten them."""
    if np.ptp(m.toes[..., [0, 2]], axis=0).max(-1).min() < 0.02:
        return False
    return float(np.hypot(m.travel[0], m.travel[2])) < 0.4 and m.path < 0.8 and m.drop.max() < 0.16


# 2) The whole body.


def _leaps(m: Measures) -> bool:
    """A crouch of 0.12 m, then both feet more than 0.1 m up for 1 s at most, side by side (neither spread nor in
    stride), then back on the floor."""
    both = m.feet.min(1)
    flights = [slice(a, b) for a, b in runs(both > 0.06) if a > 0 and b < len(both) and 3 <= b - a <= FPS]
    return bool(_ends_upright(m) and m.drop.max() > 0.12 and any(
        both[air].max() > 0.1 and m.strides[air].max() < 0.3 and m.spread[air].max() < m.spread[0] + 0.15
        for air in flights))  # fmt: skip


def jump(m: Measures) -> bool:
    """Leaps and lands within 0.25 m of where it started."""
    return _leaps(m) and _in_place(m) and abs(m.travel[2]) < 0.25


def jump_forward(m: Measures) -> bool:
    """Leaps and lands more than 0.25 m ahead."""
    return _leaps(m) and _travels(m, 2, 1, 0.25)


def hop(m: Measures, side: int) -> bool:
    """While the other foot stays more than 0.08 m up, this one rises and comes down by 0.03 m at least twice."""
    held = runs(m.feet[:, 1 - side] > 0.08)
    return _in_place(m) and any(swings(m.feet[a:b, side], 0.03) >= 4 for a, b in held)


def squat(m: Measures) -> bool:
    """Down by more than 0.22 m over side-by-side feet and up again; hips not back as on a chair, no hand at the
    floor, no knee at the floor, feet never off it."""
    k = m.lowest
    return bool(m.drop[k] > 0.22 and _ends_upright(m) and _in_place(m) and m.feet.max() < 0.06
                and m.toes[k, :, 2].mean() < 0.39 and m.strides[k] < 0.25 and m.hand_height.min() > 0.42
                and m.knee_height.min() > 0.3 and m.lean.max() < 53)  # fmt: skip


def _seated(m: Measures, at: slice) -> bool:
    """Pelvis more than 0.3 m down and 0.39 m behind the balls of the feet, which are side by side; knees up."""
    return bool(m.drop[at].mean() > 0.3 and m.toes[at, :, 2].mean() > 0.39 and m.strides[at].mean() < 0.25
                and m.knee_height[at].min() > 0.3)  # fmt: skip


def sit_down(m: Measures) -> bool:
    """Upright at first, seated at the end."""
    return m.low_at_start < 0.15 and _seated(m, END)


def stand_up(m: Measures) -> bool:
    """Seated at first, upright at the end."""
    return _seated(m, START) and m.low_at_end < 0.15


def sit_and_stand(m: Measures) -> bool:
    """Upright at both ends, seated at the lowest point."""
    return _ends_upright(m) and _seated(m, slice(max(0, m.lowest - 1), m.lowest + 2))


def bow(m: Measures) -> bool:
    """Trunk more than 23 degrees forward and back up, on straight legs, feet on the floor, hands above 0.45 m."""
    return bool(m.lean.max() > 23 and max(m.lean[START].mean(), m.lean[END].mean()) < 15 and _stands(m)
                and m.hand_height.min() > 0.45)  # fmt: skip


def _kneels(m: Measures, side: int, at: slice) -> bool:
    """This knee within 0.16 m of the floor, the other one above 0.3 m, and the pelvis down by 0.285 m more than that
    knee is up: a lunge ends before."""
    knees = m.knee_height[at].mean(0)
    return bool(knees[side] < 0.16 and knees[1 - side] > 0.3 and m.drop[at].mean() - knees[side] > 0.285)


def kneel(m: Measures, side: int) -> bool:
    """Upright at first, on this knee at the end."""
    return m.low_at_start < 0.15 and _kneels(m, side, END)


def kneel_and_rise(m: Measures, side: int) -> bool:
    """Upright at both ends, on this knee in between."""
    return _ends_upright(m) and _kneels(m, side, slice(max(0, m.lowest - 1), m.lowest + 2))


def pick_up(m: Measures, side: int | None = None) -> bool:
    """A hand within 0.3 m of the floor with the trunk more than 45 degrees forward, then upright again. With a side:
    that hand, and the other one at least 0.1 m higher; without: any."""
    low = m.hand_height.min(0)
    hand = low.min() if side is None else low[side]
    return bool(hand < 0.3 and m.lean.max() > 45 and m.drop.max() > 0.2 and _ends_upright(m) and _in_place(m)
                and (side is None or low[1 - side] > hand + 0.1))  # fmt: skip


def kick(m: Measures, side: int) -> bool:
    """This foot more than 0.28 m up and 0.45 m ahead of the pelvis, while the other one stands."""
    out = (m.feet[:, side] > 0.28) & (m.toes[:, side, 2] > 0.45)
    return bool(longest(out) >= 2 and m.feet[out, 1 - side].max() < 0.06 and _in_place(m) and m.drop.max() < 0.16)


def lunge(m: Measures, side: int) -> bool:
    """This foot more than 0.33 m ahead of the other one where the pelvis is lowest, 0.13 m down at least, and not by
    0.285 m more than the rear knee is up: that is kneeling; ends where it began."""
    k, rear = m.lowest, 1 - side
    return bool(m.toes[k, side, 2] - m.toes[k, rear, 2] > 0.33 and m.drop[k] > 0.13
                and m.drop[k] - m.knee_height[k, rear] < 0.285 and _ends_upright(m) and _in_place(m))  # fmt: skip


def balance(m: Measures, side: int) -> bool:
    """The other foot stays more than 0.18 m up for 0.6 s, less than 0.42 m ahead; meanwhile this one is on the floor
    and the pelvis keeps its height within 0.08 m."""
    up = m.feet[:, 1 - side] > 0.18
    return bool(longest(up) >= 12 and m.toes[up, 1 - side, 2].max() < 0.42 and m.feet[:, side].max() < 0.06
                and np.ptp(m.drop[up]) < 0.08 and _in_place(m))  # fmt: skip


def jumping_jacks(m: Measures) -> bool:
    """The feet go apart and together by 0.2 m at least once each, and both hands go above the head."""
    return bool(_in_place(m) and swings(m.spread, 0.2) >= 2 and m.hands[..., 1].min(1).max() > 0.33
                and m.drop.max() < 0.2)  # fmt: skip


# 3) Arms and head, while the body stands. Heights of hands are over the shoulders unless said otherwise.


def wave(m: Measures, side: int) -> bool:
    """This hand is above its shoulder and swings sideways by 0.06 m at least four times, the other hangs."""
    up = runs(m.hands[:, side, 1] > 0.0)
    return bool(_stands(m) and any(swings(m.hands[a:b, side, 0], 0.06) >= 4 for a, b in up)
                and m.hands[:, 1 - side, 1].max() < -0.2)  # fmt: skip


def raise_arm(m: Measures, side: int) -> bool:
    """This hand more than 0.42 m up, for 0.2 s, without waving; the other hangs."""
    return bool(_stands(m) and longest(m.hands[:, side, 1] > 0.42) >= 4 and not wave(m, side)
                and m.hands[:, 1 - side, 1].max() < -0.2)  # fmt: skip


def raise_both_arms(m: Measures) -> bool:
    """Both hands more than 0.33 m up at once, for 0.2 s, the feet side by side on the floor."""
    return bool(_stands(m) and longest(m.hands[..., 1].min(1) > 0.33) >= 4 and m.feet.min(1).max() < 0.05
                and np.ptp(m.spread) < 0.2)  # fmt: skip


def stretch(m: Measures) -> bool:
    """As raising both arms, but the body is pulled long: heels 0.02 m up and the trunk leaning back by 5 degrees, or
    the hands brought together to 0.48 m, two of these three at least."""
    if not raise_both_arms(m):
        return False
    top = m.hands[..., 1].min(1) > 0.42
    if not top.any():
        return False
    ankles = m.pair("ankle")[..., 1].mean(1)
    signs = (
        ankles[top].max() - np.percentile(ankles, 5) > 0.02,
        m.lean[top].min() - np.median(m.lean[START]) < -5.0,
        m.between_hands[top].min() < 0.48,
    )
    return sum(map(bool, signs)) >= 2


def clap(m: Measures) -> bool:
    """Both hands ahead between belly and chin, their distance goes under 0.17 m and swings by 0.1 m at least
    twice: together, apart."""
    front = ((m.hands[..., 2] > 0.12) & (m.hands[..., 1] > -0.38)).all(1)
    return bool(_stands(m) and m.hands[..., 1].max() < 0.2
                and any(swings(m.between_hands[a:b], 0.1) >= 2 and m.between_hands[a:b].min() < 0.17
                        for a, b in runs(front)))  # fmt: skip


def punch(m: Measures, side: int) -> bool:
    """From a guard, this fist goes out to more than 0.37 m ahead, 0.12 m farther than the other one, which stays up at
    the chest with its elbow bent; it comes out at more than 0.8 m/s and no hand goes above the head."""
    ahead, other = m.hands[:, side, 2], 1 - side
    out = ((ahead > 0.37) & (ahead - m.hands[:, other, 2] > 0.12) & (np.abs(m.hands[:, side, 1]) < 0.25)
           & (m.elbows[:, other] > 80) & (m.hands[:, other, 1] > -0.25))  # fmt: skip
    return bool(_stands(m) and out.any() and m.hand_speed[:, side, 2].max() > 0.8 and m.hands[..., 1].max() < 0.18)


def point(m: Measures, side: int) -> bool:
    """This arm is straight ahead (0.4 m, height of the shoulder) for 0.4 s, the other hangs."""
    out = (m.hands[:, side, 2] > 0.4) & (np.abs(m.hands[:, side, 1]) < 0.2) & (m.elbows[:, side] < 40)
    return bool(_stands(m) and longest(out) >= 8 and m.hands[:, 1 - side, 1].max() < -0.3
                and m.hands[:, side, 1].max() < 0.18)  # fmt: skip


def throw(m: Measures, side: int) -> bool:
    """This hand is cocked (0.1 m up, not ahead, elbow bent by 40 degrees) and within 0.9 s more than 0.28 m ahead,
    faster than 1.8 m/s."""
    hand = m.hands[:, side]
    cocked = (hand[:, 1] > 0.1) & (hand[:, 2] < 0.06) & (m.elbows[:, side] > 40)
    if not cocked.any() or not _stands(m):
        return False
    after = [slice(k, k + round(0.9 * FPS)) for k in np.flatnonzero(cocked)]
    return any(hand[s, 2].max() > 0.28 and m.hand_speed[s, side, 2].max(initial=0) > 1.8 for s in after)


def hands_on_hips(m: Measures) -> bool:
    """Both elbows bent by more than 60 degrees for 0.6 s with the wrists at the hips: 0.08 m ahead at most, within
    0.15 m of the pelvis in height, the hands still."""
    wrists = m.seen(m.pair("wrist") - m.joint("pelvis")[:, None], m.yaw)
    there = (m.elbows > 60) & (np.abs(wrists[..., 1]) < 0.15) & (np.abs(wrists[..., 2]) < 0.1)
    return _stands(m) and longest(there.all(1)) >= 12


def _rests(m: Measures) -> bool:
    """The trunk leans by less than 12 degrees of change, the hands hang."""
    return bool(np.ptp(m.lean) < 12 and m.hands[..., 1].max() < -0.3)


def nod(m: Measures) -> bool:
    """The head pitches by 12 degrees at least three times, more than it turns, while trunk and hands rest."""
    return bool(
        _stands(m) and swings(m.head[:, 1], 12) >= 3 and _rests(m) and np.ptp(m.head[:, 1]) > np.ptp(m.head[:, 0])
    )


def shake_head(m: Measures) -> bool:
    """The head turns by 15 degrees at least three times while trunk and hands rest."""
    return bool(_stands(m) and swings(m.head[:, 0], 15) >= 3 and _rests(m))


_PLAIN = (walk_forward, walk_backward, run, jog_in_place, march_in_place, turn_around, jump, jump_forward, squat)
_PLAIN += (sit_down, stand_up, sit_and_stand, bow, jumping_jacks, clap, stretch, raise_both_arms, pick_up)
_PLAIN += (hands_on_hips, nod, shake_head)
_SIDED = (walk_circle, walk_sideways, turn, hop, kneel, kneel_and_rise, kick, lunge, balance, pick_up)
_SIDED += (wave, punch, raise_arm, throw, point)

CHECKS: dict[str, Callable[[Measures], bool]] = {check.__name__: check for check in _PLAIN}
CHECKS |= {f"{check.__name__}_{name}": partial(check, side=k) for check in _SIDED for k, name in enumerate(SIDES)}
"""Name of an action -> its condition."""

INCLUDED = {
    ("raise_both_arms", "stretch"): "a stretch holds both arms over the head",
    ("pick_up", "pick_up_left"): "picking something up does not say with which hand",
    ("pick_up", "pick_up_right"): "picking something up does not say with which hand",
}
"""(condition, action): motions of the action satisfy the condition, and the reason why that is right."""
