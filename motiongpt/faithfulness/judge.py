"""Does a motion do what the sentence says?

    performs("wave_left", joints)                             one action
    does(("walk_forward", "turn_left"), joints)               several, one after the other
    does_together("walk_forward", "wave_left", joints)        two at once
    failings(want, joints)                                    a whole sentence: actions, counts, manners, mood

Joints are (F, 22, 3) in metres at 20 fps, y up, the floor at y = 0, any facing and place.
Conditions are those of `conditions.py`: joints in, yes or no out. No training sees them but the reward
stage (`rewards.py`). Most conditions look at a few joints only, so `is_body` asks first whether the
joints are a body at all.
`pass_matrix` tests the conditions themselves on motions of known actions: its diagonal shows what a
condition recognises, the rest what fools it. This module loads nothing.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.counts import count_of, right_count
from motiongpt.faithfulness.manners import has_degrees, has_distance, has_size, has_tempo
from motiongpt.faithfulness.measures import FPS, Measures, longest
from motiongpt.faithfulness.mood_checks import has_mood
from motiongpt.faithfulness.together_checks import OVERLAYS, both, while_stepping
from motiongpt.faithfulness.wants import Step, Want, plain_want

CUT = 4  # frames between two cuts between parts that are tried: one motion code
SHORTEST = 12  # frames a part needs at least
WINDOWS = tuple(round(seconds * FPS) for seconds in (2, 3, 4))  # frames of parts in which nothing unwanted may show

# The limits of `is_body`. True motions and their tokenizer round trips reach 12.1 and 3.9 m/s, 0.143 m, 14 %, 8 frames.
# A body that is less than 20 % too wide, or stretched along one axis of the room while it walks a circle, passes too.
MAX_SPEED, MAX_ROOT_SPEED = 13.0, 6.0  # m/s: any joint; the pelvis
MAX_BONE_CHANGE, MAX_LENGTH_ERROR = 0.16, 0.2  # metres off a bone's median; share of the skeleton's own length off it
OFF_FLOOR, MAX_AIRBORNE = 0.15, FPS  # metres between lowest joint and floor; frames on end it may be higher
CROSSED = 0.05  # metres a left joint may be right of the right one, as the ankle of a leg bent to the side
OWN_SIDE = ("hip", "knee", "ankle", "foot", "shoulder", "elbow")  # wrists may cross


def is_body(m: Measures) -> bool:
    """Whether the joints are one body on the floor, whatever it does.

    All of these must hold. Joints are finite. No joint is faster than 13 m/s, and the pelvis not
    faster than 6. Every bone stays within 0.16 m of its median length, which is within 20 % of the
    skeleton's. Left joints are left of right ones in the median frame, or hardly across. The lowest joint
    is within 0.15 m of y = 0 at some time, never lower, and never higher for more than 1 s.
    """
    joints = m.joints
    if not np.isfinite(joints).all():
        return False
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * FPS  # (F - 1, J) m/s
    bones = np.linalg.norm(joints[:, 1:] - joints[:, list(HUMANML3D.parents[1:])], axis=-1)  # (F, J - 1) metres
    lengths = np.linalg.norm(HUMANML3D.offsets[1:], axis=-1)  # (J - 1,) of the skeleton
    median = np.median(bones, axis=0)
    pairs = [m.pair(name) for name in OWN_SIDE]  # (F, 2, 3) each
    lowest = joints[..., 1].min(1)  # (F,)
    # plausible speeds, rigid bones, left on the left, near the floor
    return bool(
        speed.max() <= MAX_SPEED
        and speed[:, 0].max() <= MAX_ROOT_SPEED
        and np.abs(bones - median).max() <= MAX_BONE_CHANGE
        and np.abs(median / lengths - 1).max() <= MAX_LENGTH_ERROR
        and all(np.median(m.seen(pair[:, 0] - pair[:, 1], m.yaw)[:, 0]) > -CROSSED for pair in pairs)
        and np.abs(lowest).min() <= OFF_FLOOR
        and lowest.min() >= -OFF_FLOOR
        and longest(lowest > OFF_FLOOR) <= MAX_AIRBORNE
    )


def shows(action: str, m: Measures) -> bool:
    """Whether a measured motion shows this action; `performs` checks what it is given."""
    return len(m.joints) >= SHORTEST and is_body(m) and bool(CHECKS[action](m))


def performs(action: str, joints: np.ndarray) -> bool:
    """Whether joints (F, 22, 3) show this action. Raises ValueError for an unknown action or a
    wrong shape."""
    if action not in CHECKS:
        raise ValueError(f"no condition for {action!r}; there are {', '.join(CHECKS)}")
    return shows(action, Measures(joints))


def does_together(base: str, overlay: str, joints: np.ndarray) -> bool:
    """Whether the legs do `base` while the arms or the head do `overlay`, names in `together_checks.py`."""
    m = Measures(joints)
    return is_body(m) and both(base, overlay, m)


def does(actions: Sequence[str], joints: np.ndarray) -> bool:
    """One action, or several in order."""
    for action in actions:
        if action not in CHECKS:
            raise ValueError(f"no condition for {action!r}; there are {', '.join(CHECKS)}")
    return not failings(plain_want(actions), joints)


def failings(want: Want, joints: np.ndarray | None) -> list[str]:
    """What a motion lacks of a want, nothing if it does all that is wanted; None for joints is a refusal.

    "body", "actions", or else "count", "degrees", "tempo", "size", "mood", "distance", "not": if the actions come but
    not in their manner, only the manner is named. "answer" if a wanted motion was refused, "refusal" if a motion came
    of what nobody can do.
    """
    if joints is None:
        return [] if want.refused else ["answer"]
    if not want.steps:
        return ["refusal"]
    whole = Measures(joints)
    if not is_body(whole):
        return ["body"]
    if want.together:
        found = _together(want, whole)
    else:
        found = _in_order(want, whole)
    if found is None:
        return ["actions"]
    found += ["distance"] * bool(want.distance and not has_distance(want.distance, whole))
    found += ["not"] * any(appears(action, whole) for action in want.absent)
    return found


def _lacks(step: Step, mood: str | None, action: str, m: Measures) -> list[str]:
    """What a motion that shows `action` lacks of its manner."""
    asked = {
        "count": step.count is None or right_count(action, count_of(action, m), step.count),
        "degrees": step.degrees is None or has_degrees(action, step.degrees, m),
        "tempo": step.tempo is None or has_tempo(action, step.tempo, m),
        "size": step.size is None or has_size(action, step.size, m),
        "mood": mood is None or has_mood(action, mood, m, any_tempo=step.tempo is not None),
    }
    return [name for name, there in asked.items() if not there]


def _least(found: Iterable[list[str] | None]) -> list[str] | None:
    """The shortest of several lists of failings; None if there is none."""
    return min((some for some in found if some is not None), key=len, default=None)


def _one(step: Step, mood: str | None, m: Measures) -> list[str] | None:
    """What a part of a motion lacks of a step; None if it shows none of its actions."""
    # a turn by so many degrees is judged by its degrees; the whole motion is known to be a body
    shown = [a for a in step.actions if (has_degrees(a, step.degrees, m) if step.degrees else CHECKS[a](m))]
    return _least(_lacks(step, mood, action, m) for action in shown)


def _together(want: Want, m: Measures) -> list[str] | None:
    """The same for a walk and a gesture on top; count and manner are those of the walk."""
    step, gesture = want.steps
    shown = [base for base in step.actions if any(both(base, over, m) for over in gesture.actions)]
    return _least(_lacks(step, want.mood, base, m) for base in shown)


def _in_order(want: Want, m: Measures) -> list[str] | None:
    """What a motion lacks of steps in order, in the best of all ways to cut it into parts; None if they do not come.

    Each part is measured from its own start. Parts begin at every `CUT` frames.
    """
    F = len(m.joints)
    if len(want.steps) == 1:
        return _one(want.steps[0], want.mood, m)
    cuts = list(range(SHORTEST, F - SHORTEST + 1, CUT))
    # best[end]: what the steps so far lack if they fill the frames [0, end)
    best: dict[int, list[str]] = {0: []}
    for number, step in enumerate(want.steps):
        ends = [F] if number == len(want.steps) - 1 else cuts
        reached: dict[int, list[str]] = {}
        for end in ends:
            ways = [
                done + lack
                for start, done in best.items()
                if end - start >= SHORTEST
                and (lack := _one(step, want.mood, Measures(m.joints[start:end]))) is not None
            ]
            if ways:
                reached[end] = min(ways, key=len)
        best = reached
    return sorted(set(best[F])) if F in best else None


def appears(action: str, m: Measures) -> bool:
    """Whether an action shows anywhere in a motion: in the whole, in parts of 2 to 4 s, or on top of steps."""
    if shows(action, m):
        return True
    part = while_stepping(m)
    if action in OVERLAYS and part is not None and OVERLAYS[action](part):
        return True
    F = len(m.joints)
    windows = [(start, start + n) for n in WINDOWS for start in range(0, F - n + 1, WINDOWS[0] // 4)]
    return any(shows(action, Measures(m.joints[start:end])) for start, end in windows)


def pass_matrix(clips: Mapping[str, Sequence[np.ndarray]]) -> dict[str, dict[str, float]]:
    """Clips by the action they show -> matrix[condition][action]:
    the share of them, in [0, 1], that passes."""
    # a clip is measured once and meets all conditions
    seen = {action: [(m, is_body(m)) for m in map(Measures, several)] for action, several in clips.items()}
    return {
        name: {
            action: float(np.mean([sound and bool(check(m)) for m, sound in several]))
            for action, several in seen.items()
        }
        for name, check in CHECKS.items()
    }
