"""Conditions of jumping, sitting, kneeling, bending, kicking and balancing, of poses and dances;
`conditions.py` says what a condition is."""

import numpy as np

from motiongpt.faithfulness import gesture_checks as arms
from motiongpt.faithfulness.measures import END, FPS, START, Measures, longest, moving_mean, runs, swings
from motiongpt.faithfulness.shared_conditions import arms_level, ends_upright, in_place, stands, sways, travels


def _leaps(m: Measures) -> bool:
    """A crouch of more than 0.12 m, and a flight with both feet more than 0.1 m up, side by side,
    for 1 s at most.

    Side by side: neither spread nor in stride. The clip neither starts nor ends in the air.
    """
    both = m.feet.min(1)  # (F,) height of the lower foot
    # three frames to one second in the air, with floor before and after
    flights = [slice(a, b) for a, b in m.flights if a > 0 and b < len(both) and 3 <= b - a <= FPS]
    leap = any(
        both[air].max() > 0.1
        and np.ptp(m.feet[air], axis=1).max() < 0.12  # both feet at one height, as no hop has them
        and m.strides[air].max() < 0.3
        and m.spread[air].max() < m.spread[0] + 0.15
        for air in flights
    )
    return bool(ends_upright(m) and m.drop.max() > 0.12 and leap)


def jump(m: Measures) -> bool:
    """Leaps and lands within 0.25 m of where it started."""
    return _leaps(m) and in_place(m) and abs(m.travel[2]) < 0.25


def jump_forward(m: Measures) -> bool:
    """Leaps and lands more than 0.25 m ahead."""
    return _leaps(m) and travels(m, 2, 1, 0.25)


def hop(m: Measures, side: int) -> bool:
    """While the other foot stays more than 0.08 m up,
    this one rises and comes down by 0.03 m at least twice."""
    held = runs(m.feet[:, 1 - side] > 0.08)  # each up and down of this foot is two swings
    return in_place(m) and any(swings(m.feet[a:b, side], 0.03) >= 4 for a, b in held)


def squat(m: Measures) -> bool:
    """Down by more than 0.22 m and up again, over feet that stay on the floor side by side;
    no hand or knee gets there.

    The hips are not as far back as on a chair: the balls of the feet are less than 0.39 m ahead.
    """
    k = m.lowest
    return bool(
        m.drop[k] > 0.22
        and ends_upright(m)
        and in_place(m)
        and m.feet.max() < 0.06
        and m.toes[k, :, 2].mean() < 0.39  # else it would sit
        and m.strides[k] < 0.25
        and m.hand_height.min() > 0.42
        and m.knee_height.min() > 0.3
        and m.bent.max() < 53  # whoever picks something up leans further
    )


def _seated(m: Measures, at: slice) -> bool:
    """Pelvis more than 0.3 m down and 0.39 m behind the balls of the feet;
    feet side by side, knees up."""
    return bool(
        m.drop[at].mean() > 0.3
        and m.toes[at, :, 2].mean() > 0.39
        and m.strides[at].mean() < 0.25
        and m.knee_height[at].min() > 0.3
    )


def sit_down(m: Measures) -> bool:
    """Upright at first, seated at the end."""
    return m.low_at_start < 0.15 and _seated(m, END)


def stand_up(m: Measures) -> bool:
    """Seated at first, upright at the end."""
    return _seated(m, START) and m.low_at_end < 0.15


def sit_and_stand(m: Measures) -> bool:
    """Upright at both ends, seated at the lowest point."""
    # three frames about the lowest point
    return ends_upright(m) and _seated(m, slice(max(0, m.lowest - 1), m.lowest + 2))


def bow(m: Measures) -> bool:
    """Trunk more than 23 degrees forward and back up, on straight legs, feet on the floor,
    hands above 0.45 m."""
    return bool(
        m.bent.max() > 23
        and max(m.bent[START].mean(), m.bent[END].mean()) < 15
        and stands(m)
        and m.hand_height.min() > 0.45
    )


def _kneels(m: Measures, side: int, at: slice) -> bool:
    """This knee within 0.16 m of the floor, the other one above 0.3 m, and the pelvis low.

    Low: it is down by 0.285 m more than this knee is up, which no lunge reaches.
    """
    knees = m.knee_height[at].mean(0)  # (2,)
    return bool(knees[side] < 0.16 and knees[1 - side] > 0.3 and m.drop[at].mean() - knees[side] > 0.285)


def kneel(m: Measures, side: int) -> bool:
    """Upright at first, on this knee at the end."""
    return m.low_at_start < 0.15 and _kneels(m, side, END)


def kneel_and_rise(m: Measures, side: int) -> bool:
    """Upright at both ends, on this knee in between."""
    return ends_upright(m) and _kneels(m, side, slice(max(0, m.lowest - 1), m.lowest + 2))


def pick_up(m: Measures, side: int | None = None) -> bool:
    """A hand within 0.3 m of the floor, the trunk more than 45 degrees forward, then upright again.

    With a side: that hand, and the other one stays more than 0.1 m higher. Without: any hand.
    """
    low = m.hand_height.min(0)  # (2,) the lowest point of each hand
    hand = low.min() if side is None else low[side]
    return bool(
        hand < 0.3
        and m.bent.max() > 45
        and m.drop.max() > 0.2
        and ends_upright(m)
        and in_place(m)
        and (side is None or low[1 - side] > hand + 0.1)
    )


def kick(m: Measures, side: int) -> bool:
    """This foot more than 0.28 m up and 0.45 m ahead of the pelvis, while the other one stands."""
    out = (m.feet[:, side] > 0.28) & (m.toes[:, side, 2] > 0.45)
    # two frames on end: one alone may be noise
    return bool(longest(out) >= 2 and m.feet[out, 1 - side].max() < 0.06 and in_place(m) and m.drop.max() < 0.16)


def lunge(m: Measures, side: int) -> bool:
    """At the lowest point this foot is more than 0.28 m ahead of the other one,
    and the pelvis 0.13 m down at least.

    It ends where it began. If the pelvis is down by 0.285 m more than the rear knee is up,
    it is kneeling instead.
    """
    k, rear = m.lowest, 1 - side
    return bool(
        m.toes[k, side, 2] - m.toes[k, rear, 2] > 0.28  # metres between the feet
        and m.drop[k] > 0.13
        and m.drop[k] - m.knee_height[k, rear] < 0.285
        and m.hands[k, :, 1].max() < -0.1  # else it is a warrior or a boxer
        and ends_upright(m)
        and in_place(m)
    )


def balance(m: Measures, side: int) -> bool:
    """The other foot stays more than 0.18 m up for 0.6 s, less than 0.42 m ahead,
    while this one is on the floor.

    Meanwhile the pelvis keeps its height within 0.08 m.
    """
    up = m.feet[:, 1 - side] > 0.18
    return bool(
        longest(up) >= 12  # frames, 0.6 s
        and m.toes[up, 1 - side, 2].max() < 0.42  # farther ahead it kicks
        and m.feet[:, side].max() < 0.06
        and np.ptp(m.drop[up]) < 0.08
        and np.median(m.between_hands[up]) > 0.4  # else it is a tree
        and in_place(m)
    )


def jumping_jacks(m: Measures) -> bool:
    """The feet go apart and together by 0.2 m at least once each, hardly off the floor,
    and both hands go above the head along with them."""
    lower = m.hands[..., 1].min(1)  # (F,) of both hands
    return bool(
        in_place(m)
        and swings(m.spread, 0.2) >= 2
        and lower.max() > 0.33
        and m.feet.max() < 0.2
        and np.corrcoef(m.spread, lower)[0, 1] > 0.5
        and m.drop.max() < 0.2
    )


# Poses, dancing, and standing still.


def stand_still(m: Measures) -> bool:
    """Upright, no joint is ever more than 0.06 m from its middle place, and the head turns and pitches by less than 12
    degrees."""
    away = np.linalg.norm(m.joints - np.median(m.joints, axis=0), axis=-1)
    return bool(stands(m) and away.max() < 0.06 and np.ptp(m.head, axis=0).max() < 12)


def tree_pose(m: Measures, side: int) -> bool:
    """On this foot; the other one is more than 0.18 m up for 0.4 s, while the hands are together, at the chest or
    overhead."""
    up = (m.feet[:, 1 - side] > 0.18) & (m.between_hands < 0.25)
    return bool(longest(up) >= 8 and m.feet[:, side].max() < 0.06 and in_place(m) and m.drop.max() < 0.16)


def warrior_pose(m: Measures, side: int) -> bool:
    """This foot is more than 0.33 m ahead of the other one and the pelvis 0.1 m down for 0.5 s, both arms level.

    Upright at both ends."""
    ahead = m.toes[:, side, 2] - m.toes[:, 1 - side, 2]
    there = (ahead > 0.33) & (m.drop > 0.1) & arms_level(m)
    return bool(longest(there) >= 10 and ends_upright(m) and in_place(m))


def touch_toes(m: Measures) -> bool:
    """The trunk folds by more than 80 degrees on legs that stay straight, both hands come within 0.35 m of the floor;
    upright at both ends."""
    return bool(
        m.lean.max() > 80
        and m.hand_height.max(1).min() < 0.35
        and m.drop.max() < 0.2
        and ends_upright(m)
        and in_place(m)
    )


def side_bend(m: Measures, side: int) -> bool:
    """The trunk leans by more than 18 degrees to this side, less than 12 to the other one; both feet stand."""
    lean = (1 - 2 * side) * m.side_lean
    return bool(stands(m) and lean.max() > 18 and lean.min() > -12 and m.bent.max() < 30)


def _folds_after_reaching(m: Measures) -> bool:
    """Both hands go above the head, then the toes are touched."""
    up = m.hands[..., 1].min(1) > 0.33
    low = int(m.bent.argmax())
    return touch_toes(m) and bool(up[:low].any())


def yoga(m: Measures) -> bool:
    """A tree, a warrior, or a reach up that ends in a fold."""
    poses = [check(m, side) for check in (tree_pose, warrior_pose) for side in (0, 1)]
    return any(poses) or _folds_after_reaching(m)


def dance(m: Measures) -> bool:
    """The body goes up and down with a beat and sways or twists at least five times, the hands move most of the time.

    A beat: 2.4 to 6.5 strokes a second. Sways: the pelvis by 0.05 m to a side. Twists: the shoulders by 25 degrees
    against the hips. No foot is more than 0.15 m up, no hand hits, throws or claps.
    """
    beats = swings(moving_mean(m.drop, 3), 0.012) / len(m.joints) * FPS  # strokes a second
    speed = np.linalg.norm(m.hand_speed, axis=-1).max(1)  # (F - 1,) m/s of the faster hand
    smooth = np.linalg.norm(np.diff(moving_mean(m.hands, 4), axis=0), axis=-1).max(1) * FPS
    return bool(
        in_place(m)
        and m.drop.max() < 0.25
        and 2.4 <= beats <= 6.5
        and max(sways(m), swings(m.twist, 25)) >= 5
        and np.mean(speed > 0.4) > 0.5
        and np.median(speed) < 2 * np.median(smooth)  # jitter is no movement
        and m.feet.max() < 0.15
        and not any(arms.fist_hits(m, side).any() or arms.throw(m, side) for side in (0, 1))
        and not arms.hands_clap(m)
    )
