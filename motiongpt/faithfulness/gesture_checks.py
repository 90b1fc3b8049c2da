"""Conditions of the arms and the head, while the body stands or sits;
`conditions.py` says what a condition is.

Heights of hands are over their shoulders, unless a docstring says otherwise.
"""

import numpy as np

from motiongpt.faithfulness.measures import FPS, START, Measures, longest, runs, swings
from motiongpt.faithfulness.shared_conditions import in_place, stays, sways

HANGING = -0.15  # metres a hand that hangs is above its shoulder, at most, on an elbow that may be bent


# 1) What the arms do, whatever the legs do meanwhile: `together_checks.py` asks for these while somebody walks.


def arm_waves(m: Measures, side: int) -> bool:
    """This hand is above its shoulder on an elbow bent by 30 degrees, and swings sideways by 0.06 m at least four
    times."""
    up = runs(m.hands[:, side, 1] > 0.0)  # two full waves are four swings
    bent = m.elbows[:, side]
    # a straight arm that goes along with a walk sways, too
    return any(swings(m.hands[a:b, side, 0], 0.06) >= 4 and bent[a:b].mean() > 30 for a, b in up)


def arms_wave(m: Measures) -> bool:
    """Both hands wave, at some time both more than 0.1 m above the shoulders."""
    return arm_waves(m, 0) and arm_waves(m, 1) and bool(m.hands[..., 1].min(1).max() > 0.1)


def arm_is_up(m: Measures, side: int) -> bool:
    """This hand is more than 0.42 m up for 0.2 s, without waving."""
    return longest(m.hands[:, side, 1] > 0.42) >= 4 and not arm_waves(m, side)


def arms_are_up(m: Measures) -> bool:
    """Both hands are more than 0.33 m up at once, for 0.2 s, and do not both wave."""
    return longest(m.hands[..., 1].min(1) > 0.33) >= 4 and not arms_wave(m)  # the lower hand


def hands_in_front(m: Measures) -> np.ndarray:
    """(F,) bool: both hands are more than 0.12 m ahead, and no lower than the belly, 0.38 m below the shoulders."""
    return ((m.hands[..., 2] > 0.12) & (m.hands[..., 1] > -0.38)).all(1)


def hands_clap(m: Measures) -> bool:
    """Both hands are in front; their distance swings by 0.1 m at least twice and goes under 0.14 m, as
    fists of a guard do not."""
    apart = [m.between_hands[a:b] for a, b in runs(hands_in_front(m))]
    return any(swings(distance, 0.1) >= 2 and distance.min() < 0.14 for distance in apart)


def arm_points(m: Measures, side: int) -> bool:
    """This arm is straight ahead, 0.4 m at the height of the shoulder, for 0.4 s."""
    out = (m.hands[:, side, 2] > 0.4) & (np.abs(m.hands[:, side, 1]) < 0.23) & (m.elbows[:, side] < 40)
    return longest(out) >= 8


def hands_are_on_hips(m: Measures) -> bool:
    """Both elbows bent by more than 60 degrees for 0.6 s, with the wrists at the hips.

    At the hips: within 0.15 m of the pelvis in height, and within 0.1 m of it ahead or behind.
    """
    wrists = m.seen(m.pair("wrist") - m.joint("pelvis")[:, None], m.yaw)  # (F, 2, 3)
    there = (m.elbows > 60) & (np.abs(wrists[..., 1]) < 0.15) & (np.abs(wrists[..., 2]) < 0.1)  # (F, 2)
    return longest(there.all(1)) >= 12


def head_nods(m: Measures, least: float = 10) -> bool:
    """The head pitches by `least` degrees, seen from the trunk, at least three times, more than it turns."""
    return swings(m.nod, least) >= 3 and np.ptp(m.nod) > np.ptp(m.head[:, 0])


def head_shakes(m: Measures, least: float = 15) -> bool:
    """The head turns by `least` degrees at least three times."""
    return swings(m.head[:, 0], least) >= 3


# 2) The same, and other gestures, of a body that stands.


def wave(m: Measures, side: int) -> bool:
    """This hand waves, the other one hangs."""
    return bool(stays(m) and arm_waves(m, side) and m.hands[:, 1 - side, 1].max() < HANGING)


def wave_both(m: Measures) -> bool:
    """Both hands wave, above the shoulders, while the body stands."""
    return bool(stays(m) and arms_wave(m))


def raise_arm(m: Measures, side: int) -> bool:
    """This hand is up for 0.2 s, without waving; the other hangs."""
    return bool(stays(m) and arm_is_up(m, side) and m.hands[:, 1 - side, 1].max() < HANGING)


def raise_both_arms(m: Measures) -> bool:
    """Both hands are up at once, without waving, the feet side by side on the floor."""
    return bool(
        stays(m)
        and arms_are_up(m)
        and m.feet.min(1).max() < 0.05
        and np.ptp(m.spread) < 0.2  # else it would do jumping jacks
        and m.bent.max() < 30  # else it would fold afterwards, as in yoga
        and sways(m) < 4  # else it would dance
    )


def stretch(m: Measures) -> bool:
    """Both arms raised and the body pulled long, by at least two of three signs.

    The signs, while the hands are more than 0.42 m up: heels 0.02 m up; trunk leaning back by 9
    degrees more than at first; hands closer together than 0.34 m.
    """
    if not raise_both_arms(m):
        return False
    top = m.hands[..., 1].min(1) > 0.42  # (F,) both hands
    if not top.any():
        return False
    ankles = m.pair("ankle")[..., 1].mean(1)  # they rise with the heels
    signs = (
        ankles[top].max() - np.percentile(ankles, 5) > 0.02,
        m.lean[top].min() - np.median(m.lean[START]) < -9.0,
        m.between_hands[top].min() < 0.34,
    )
    return sum(map(bool, signs)) >= 2


def clap(m: Measures) -> bool:
    """The hands clap, and stay below the chin."""
    return bool(stays(m) and m.hands[..., 1].max() < 0.2 and hands_clap(m))


def fist_hits(m: Measures, side: int) -> np.ndarray:
    """(F,) this fist is more than 0.37 m ahead, 0.12 m farther than the other one, which is up at the chest with its
    elbow bent."""
    ahead, other = m.hands[:, side, 2], 1 - side
    out = (ahead > 0.37) & (ahead - m.hands[:, other, 2] > 0.12) & (np.abs(m.hands[:, side, 1]) < 0.25)
    return out & (m.elbows[:, other] > 80) & (m.hands[:, other, 1] > -0.25)


def punch(m: Measures, side: int) -> bool:
    """From a guard, this fist goes out to more than 0.37 m ahead above 0.8 m/s, and the other one does not.

    The other fist stays up at the chest with its elbow bent, and no hand goes above the head.
    """
    hit = fist_hits(m, side).any() and not fist_hits(m, 1 - side).any()
    return bool(stays(m) and hit and m.hand_speed[:, side, 2].max() > 0.8 and m.hands[..., 1].max() < 0.18)


def boxing(m: Measures) -> bool:
    """Each fist hits at least once from a guard above 0.8 m/s, three hits in all, and no hand goes above the head."""
    hits = [len(runs(fist_hits(m, side))) for side in (0, 1)]
    fast = m.hand_speed[..., 2].max(0).min() > 0.8
    return bool(
        in_place(m) and m.drop.max() < 0.2 and min(hits) and sum(hits) >= 3 and fast and m.hands[..., 1].max() < 0.3
    )


def point(m: Measures, side: int) -> bool:
    """This arm points ahead; the other hangs."""
    return bool(
        stays(m) and arm_points(m, side) and m.hands[:, 1 - side, 1].max() < -0.2 and m.hands[:, side, 1].max() < 0.18
    )


def throw(m: Measures, side: int) -> bool:
    """This hand is cocked, and within 0.9 s it is more than 0.28 m ahead and was faster than 1.8
    m/s.

    Cocked: more than 0.1 m up, not ahead, the elbow bent by more than 40 degrees.
    """
    hand = m.hands[:, side]
    cocked = (hand[:, 1] > 0.1) & (hand[:, 2] < 0.06) & (m.elbows[:, side] > 40)
    if not cocked.any() or not stays(m):
        return False
    # the 0.9 s that follow each cocked frame
    after = [slice(k, k + round(0.9 * FPS)) for k in np.flatnonzero(cocked)]
    return any(hand[s, 2].max() > 0.28 and m.hand_speed[s, side, 2].max(initial=0) > 1.8 for s in after)


def hands_on_hips(m: Measures) -> bool:
    """Both hands are on the hips, with bent elbows, while the body stands."""
    return stays(m) and hands_are_on_hips(m)


def _hands_hang(m: Measures) -> bool:
    """Both hands stay more than 0.2 m below their shoulders; elbows may be bent, as those of the nervous are."""
    return bool(m.hands[..., 1].max() < -0.2)


def nod(m: Measures) -> bool:
    """The head nods while the hands hang and the trunk leans by less than 24 degrees."""
    return bool(stays(m) and head_nods(m) and _hands_hang(m) and np.ptp(m.lean) < 24)


def shake_head(m: Measures) -> bool:
    """The head shakes while the hands hang and the trunk rests."""
    return bool(stays(m) and head_shakes(m) and _hands_hang(m) and np.ptp(m.lean) < 12)


def look(m: Measures, side: int) -> bool:
    """The head turns by more than 35 degrees to this side for 0.4 s, and less than 15 to the other one."""
    turned = (1 - 2 * side) * m.head[:, 0]
    return bool(
        stays(m) and longest(turned > 35) >= 8 and turned.min() > -15 and _hands_hang(m) and np.ptp(m.lean) < 12
    )


def _hand_at_head(m: Measures, side: int) -> tuple[int, float]:
    """How many frames this hand is within 0.25 m of the head, and by how many degrees the head goes back meanwhile."""
    there = m.hands_to_head[:, side] < 0.25
    if not there.any() or there.all():
        return 0, 0.0
    return longest(there), float(np.median(m.nod[~there]) - m.nod[there].min())


def salute(m: Measures, side: int) -> bool:
    """This hand is at the head for 0.4 s, more than 0.13 m above its shoulder; the head stays level, the other hand
    hangs."""
    frames, back = _hand_at_head(m, side)
    high = m.hands[:, side, 1].max() > 0.13
    return bool(stays(m) and frames >= 8 and high and back < 20 and m.hands[:, 1 - side, 1].max() < HANGING)


def drink(m: Measures, side: int) -> bool:
    """This hand is at the head for 0.3 s, and the head goes back by 20 degrees; the other hand hangs."""
    frames, back = _hand_at_head(m, side)
    return bool(stays(m) and frames >= 6 and back > 20 and m.hands[:, 1 - side, 1].max() < HANGING)


def shrug(m: Measures) -> bool:
    """Both shoulders go up by more than 0.05 m towards the head, the hands stay below them."""
    rise = m.shoulders - np.percentile(m.shoulders, 5, axis=0)
    return bool(stays(m) and rise.min(1).max() > 0.05 and m.hands[..., 1].max() < 0.0)
