"""Does a motion show a mood? By posture and tempo, against the same action of a person in no mood.

A mood is told from where trunk, shoulders and pelvis are held, how much the body bounces and rocks, and how fast the
action is; faces and fingers are not among the joints. What cannot be told apart honestly shares its looks: sad, tired
and old stoop, happy and energetic are quick and lively. So a sad walk passes as a tired one, but not as a proud one.
"""

from functools import cache
from itertools import islice

import numpy as np

from motiongpt.faithfulness.fresh import performances
from motiongpt.faithfulness.manners import USUAL_CLIPS, USUAL_SEED, has_curve, seconds_and_size
from motiongpt.faithfulness.measures import FPS, Measures, moving_mean

ANY = np.inf
LANDED = 0.03  # metres a foot on the floor may be up
HIGH = 0.06  # metres the pelvis may be below its highest place in the frames that show the posture
UNBENT = 15.0  # degrees the trunk may lean farther forward than at its most upright in those frames
LOW_HANDS = 25  # percent of them: those with the lowest hands

Look = dict[str, tuple[float, float]]
"""Feature -> the least and the most that it may differ from that of no mood; `tempo` is a factor of durations."""

_STOOPS: Look = {"lean": (6.0, ANY), "shoulders": (-ANY, 0.012), "sunk": (-ANY, 0.1)}
_DROOPS: Look = {"lean": (0.5, ANY), "shoulders": (-ANY, -0.015), "sunk": (-ANY, 0.1)}
_ROCKS: Look = {"lean": (-11.0, 3.0), "shoulders": (-0.007, 0.007), "rocking": (1.2, ANY), "tempo": (0.0, 1.02)}
_PUMPS: Look = {"lean": (-9.5, 6.0), "shoulders": (-0.007, 0.007), "tempo": (0.0, 1.0), "elbows": (10.0, ANY)}
_SPRINGS: Look = {"lean": (-9.5, 6.0), "shoulders": (-0.007, 0.007), "tempo": (0.0, 0.97), "bounce": (0.004, ANY)}
LOOKS: dict[str, tuple[Look, ...]] = {
    **dict.fromkeys(("sad", "tired", "old"), (_STOOPS, _DROOPS)),
    **dict.fromkeys(("happy", "energetic"), (_ROCKS, _PUMPS, _SPRINGS)),
    "proud": ({"lean": (-ANY, -11.0), "shoulders": (0.007, 0.022)},),
    "relaxed": ({"lean": (-18.0, -4.5), "shoulders": (-0.007, 0.007), "tempo": (0.94, ANY)},),
    "angry": ({"lean": (1.5, ANY), "shoulders": (0.022, 0.045)},),
    "nervous": ({"shoulders": (0.045, ANY)},),
    "sneaky": ({"lean": (10.0, ANY), "sunk": (0.08, ANY)},),
}
"""Mood -> its looks, one of which must show with all that belongs to it. Limits lie about half-way between no mood and
the mood. Raised shoulders tell most: proud by 1.5 cm, angry by 3 cm, nervous by 6 cm."""


def _posture(m: Measures) -> np.ndarray:
    """(F,) bool: the frames that show how the body is held. A foot is down, the pelvis high, the trunk as little bent
    as it ever is, and the hands are lower than in most such frames."""
    down = m.feet.min(1) < LANDED
    high = down & (m.drop < m.drop[down].min() + HIGH)
    high &= m.lean < np.percentile(m.lean[high], 15) + UNBENT
    hands = m.hands[..., 1].sum(1)
    return high & (hands <= np.percentile(hands[high], LOW_HANDS))


def features(action: str, m: Measures) -> dict[str, float]:
    """What a look is made of, posture in the frames of `_posture`.

    lean            degrees the trunk leans forward
    shoulders       metres over the neck
    sunk            metres the pelvis is below straight legs
    rocking         degrees, standard deviation of how far the trunk leans to a side
    elbows          degrees both are bent
    bounce          metres, standard deviation of the height of the pelvis, without what is slower than a second
    tempo           seconds of a stroke, see `manners.py`; NaN for an action that has none
    """
    at = _posture(m)
    return {
        "lean": float(np.median(m.lean[at])),
        "shoulders": float(np.percentile(m.shoulders[at], 15)),  # a raised arm takes its shoulder along
        "sunk": float(np.median(m.sunk[at])),
        "rocking": float(np.std(m.side_lean)),
        "elbows": float(np.median(m.elbows)),
        "bounce": float(np.std(m.sunk - moving_mean(m.sunk, int(FPS)))),
        "tempo": seconds_and_size(action, m)[0] if has_curve(action) else float("nan"),
    }


@cache
def no_mood(action: str) -> dict[str, float]:
    """The median of each feature over fresh motions of this action without a mood, in all styles."""
    clips = islice(performances((action,), USUAL_SEED, varied=False), USUAL_CLIPS)
    found = [features(action, Measures(clip.joints)) for clip in clips]
    return {name: float(np.nanmedian([f[name] for f in found])) for name in found[0]}


def has_mood(action: str, mood: str, m: Measures, any_tempo: bool = False) -> bool:
    """Whether a motion of this action has the look of a mood (a key of `LOOKS`).

    With `any_tempo` the tempo is no part of it, as when a sentence asks for another one.
    """
    found, plain = features(action, m), no_mood(action)
    off = {k: found[k] / plain[k] if k == "tempo" else found[k] - plain[k] for k in found}

    def within(name: str, least: float, most: float) -> bool:
        # NaN, the tempo of an action that has none, is allowed
        return (name == "tempo" and any_tempo) or not (off[name] < least or off[name] > most)

    return any(all(within(name, *limits) for name, limits in look.items()) for look in LOOKS[mood])
