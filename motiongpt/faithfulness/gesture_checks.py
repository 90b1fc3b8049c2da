"""Conditions of the arms and the head, while the body stands;
`conditions.py` says what a condition is.

Heights of hands are over their shoulders, unless a docstring says otherwise.
"""

import numpy as np

from motiongpt.faithfulness.measures import FPS, START, Measures, longest, runs, swings
from motiongpt.faithfulness.shared_conditions import stands


def wave(m: Measures, side: int) -> bool:
    """This hand is above its shoulder and swings sideways by 0.06 m at least four times,
    the other hangs."""
    up = runs(m.hands[:, side, 1] > 0.0)  # two full waves are four swings
    waved = any(swings(m.hands[a:b, side, 0], 0.06) >= 4 for a, b in up)
    return bool(stands(m) and waved and m.hands[:, 1 - side, 1].max() < -0.2)


def raise_arm(m: Measures, side: int) -> bool:
    """This hand more than 0.42 m up, for 0.2 s, without waving; the other hangs."""
    return bool(
        stands(m)
        and longest(m.hands[:, side, 1] > 0.42) >= 4  # frames, 0.2 s
        and not wave(m, side)
        and m.hands[:, 1 - side, 1].max() < -0.2
    )


def raise_both_arms(m: Measures) -> bool:
    """Both hands more than 0.33 m up at once, for 0.2 s, the feet side by side on the floor."""
    return bool(
        stands(m)
        and longest(m.hands[..., 1].min(1) > 0.33) >= 4  # the lower hand, 0.2 s
        and m.feet.min(1).max() < 0.05
        and np.ptp(m.spread) < 0.2  # else it would do jumping jacks
    )


def stretch(m: Measures) -> bool:
    """Both arms raised and the body pulled long, by at least two of three signs.

    The signs, while the hands are more than 0.42 m up: heels 0.02 m up; trunk leaning back by 5
    degrees; hands closer together than 0.48 m.
    """
    if not raise_both_arms(m):
        return False
    top = m.hands[..., 1].min(1) > 0.42  # (F,) both hands
    if not top.any():
        return False
    ankles = m.pair("ankle")[..., 1].mean(1)  # they rise with the heels
    signs = (
        ankles[top].max() - np.percentile(ankles, 5) > 0.02,
        m.lean[top].min() - np.median(m.lean[START]) < -5.0,
        m.between_hands[top].min() < 0.48,
    )
    return sum(map(bool, signs)) >= 2


def clap(m: Measures) -> bool:
    """Both hands ahead, between belly and chin; their distance swings by 0.1 m at least twice and
    goes under 0.17 m."""
    front = ((m.hands[..., 2] > 0.12) & (m.hands[..., 1] > -0.38)).all(1)  # (F,) both hands
    apart = [m.between_hands[a:b] for a, b in runs(front)]
    clapped = any(swings(distance, 0.1) >= 2 and distance.min() < 0.17 for distance in apart)
    return bool(stands(m) and m.hands[..., 1].max() < 0.2 and clapped)


def punch(m: Measures, side: int) -> bool:
    """From a guard, this fist goes out to more than 0.37 m ahead,
    0.12 m farther than the other one, above 0.8 m/s.

    The other fist stays up at the chest with its elbow bent, and no hand goes above the head.
    """
    ahead, other = m.hands[:, side, 2], 1 - side
    # (F,) the frames of a hit
    out = (ahead > 0.37) & (ahead - m.hands[:, other, 2] > 0.12) & (np.abs(m.hands[:, side, 1]) < 0.25)
    guard = (m.elbows[:, other] > 80) & (m.hands[:, other, 1] > -0.25)
    out &= guard
    return bool(stands(m) and out.any() and m.hand_speed[:, side, 2].max() > 0.8 and m.hands[..., 1].max() < 0.18)


def point(m: Measures, side: int) -> bool:
    """This arm is straight ahead, 0.4 m at the height of the shoulder, for 0.4 s;
    the other hangs."""
    out = (m.hands[:, side, 2] > 0.4) & (np.abs(m.hands[:, side, 1]) < 0.2) & (m.elbows[:, side] < 40)
    return bool(
        stands(m) and longest(out) >= 8 and m.hands[:, 1 - side, 1].max() < -0.3 and m.hands[:, side, 1].max() < 0.18
    )


def throw(m: Measures, side: int) -> bool:
    """This hand is cocked, and within 0.9 s it is more than 0.28 m ahead and was faster than 1.8
    m/s.

    Cocked: more than 0.1 m up, not ahead, the elbow bent by more than 40 degrees.
    """
    hand = m.hands[:, side]
    cocked = (hand[:, 1] > 0.1) & (hand[:, 2] < 0.06) & (m.elbows[:, side] > 40)
    if not cocked.any() or not stands(m):
        return False
    # the 0.9 s that follow each cocked frame
    after = [slice(k, k + round(0.9 * FPS)) for k in np.flatnonzero(cocked)]
    return any(hand[s, 2].max() > 0.28 and m.hand_speed[s, side, 2].max(initial=0) > 1.8 for s in after)


def hands_on_hips(m: Measures) -> bool:
    """Both elbows bent by more than 60 degrees for 0.6 s, with the wrists at the hips.

    At the hips: within 0.15 m of the pelvis in height, and within 0.1 m of it ahead or behind.
    """
    wrists = m.seen(m.pair("wrist") - m.joint("pelvis")[:, None], m.yaw)  # (F, 2, 3)
    there = (m.elbows > 60) & (np.abs(wrists[..., 1]) < 0.15) & (np.abs(wrists[..., 2]) < 0.1)  # (F, 2)
    return stands(m) and longest(there.all(1)) >= 12


def _rests(m: Measures) -> bool:
    """The lean of the trunk changes by less than 12 degrees, and the hands hang."""
    return bool(np.ptp(m.lean) < 12 and m.hands[..., 1].max() < -0.3)


def nod(m: Measures) -> bool:
    """The head pitches by 12 degrees at least three times, more than it turns,
    while trunk and hands rest."""
    return bool(
        # a head that turns more than it pitches is shaken
        stands(m) and swings(m.head[:, 1], 12) >= 3 and _rests(m) and np.ptp(m.head[:, 1]) > np.ptp(m.head[:, 0])
    )


def shake_head(m: Measures) -> bool:
    """The head turns by 15 degrees at least three times while trunk and hands rest."""
    return bool(stands(m) and swings(m.head[:, 0], 15) >= 3 and _rests(m))
