"""Does a motion do what the sentence says?

    performs("wave_left", joints)                             one action
    performs_in_order("walk_forward", "turn_left", joints)    two actions, one after the other

Joints are (F, 22, 3) in metres at 20 fps, y up, the floor at y = 0, any facing and place.
Conditions are those of `conditions.py`: joints in, yes or no out. No model ever sees them. Most
conditions look at a few joints only, so `is_body` asks first whether the joints are a body at all.
`pass_matrix` tests the conditions themselves on motions of known actions: its diagonal shows what a
condition recognises, the rest what fools it. This module loads nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.measures import FPS, Measures, longest

CUT = 4  # frames between two cuts that `performs_in_order` tries: one motion code
SHORTEST = 12  # frames a part needs at least

# The limits of `is_body`. True motions and their tokenizer round trips reach 11.8 and 3.9 m/s, 0.143 m, 14 %, 8 frames.
# A body that is less than 20 % too wide, or stretched along one axis of the room while it walks a circle, passes too.
MAX_SPEED, MAX_ROOT_SPEED = 12.0, 6.0  # m/s: any joint; the pelvis
MAX_BONE_CHANGE, MAX_LENGTH_ERROR = 0.16, 0.2  # metres off a bone's median; share of the skeleton's own length off it
OFF_FLOOR, MAX_AIRBORNE = 0.15, FPS  # metres between lowest joint and floor; frames on end it may be higher
OWN_SIDE = ("hip", "knee", "ankle", "foot", "shoulder", "elbow")  # wrists may cross


def is_body(m: Measures) -> bool:
    """Whether the joints are one body on the floor, whatever it does.

    All of these must hold. Joints are finite. No joint is faster than 12 m/s, and the pelvis not
    faster than 6. Every bone stays within 0.16 m of its median length, which is within 20 % of the
    skeleton's. Left joints are left of right ones in the median frame. The lowest joint is within
    0.15 m of y = 0 at some time, never lower, and never higher for more than 1 s.
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
        and all(np.median(m.seen(pair[:, 0] - pair[:, 1], m.yaw)[:, 0]) > 0 for pair in pairs)
        and np.abs(lowest).min() <= OFF_FLOOR
        and lowest.min() >= -OFF_FLOOR
        and longest(lowest > OFF_FLOOR) <= MAX_AIRBORNE
    )


def performs(action: str, joints: np.ndarray) -> bool:
    """Whether joints (F, 22, 3) show this action. Raises ValueError for an unknown action or a
    wrong shape."""
    if action not in CHECKS:
        raise ValueError(f"no condition for {action!r}; there are {', '.join(CHECKS)}")
    m = Measures(joints)
    return len(joints) >= SHORTEST and is_body(m) and bool(CHECKS[action](m))


def performs_in_order(first: str, second: str, joints: np.ndarray) -> bool:
    """Whether some cut has `first` before it and `second` after it.
    Each part is measured from its own start."""
    # the whole clip too: neither part shows a leap at the cut
    return is_body(Measures(joints)) and any(
        performs(second, joints[cut:]) and performs(first, joints[:cut])
        for cut in range(SHORTEST, len(joints) - SHORTEST + 1, CUT)
    )


def does(actions: Sequence[str], joints: np.ndarray) -> bool:
    """One action, or two in order."""
    return performs(actions[0], joints) if len(actions) == 1 else performs_in_order(*actions, joints)


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


def check_requests(records: object, where: object) -> list[tuple[str, tuple[str, ...]]]:
    """[{"sentence": str, "actions": [one or two names]}, ...] -> [(sentence, actions)].

    Raises ValueError naming `where` (the file) and the first entry that is anything else.
    """
    if not isinstance(records, list):
        raise ValueError(f"{where}: expected a list of sentences, got {type(records).__name__}")
    requests = []
    for number, record in enumerate(records):
        # records come from a file that somebody typed, so nothing about them is sure
        known = isinstance(record, dict) and isinstance(record.get("sentence"), str)
        actions = record.get("actions") if known else None
        if not isinstance(actions, list) or len(actions) not in (1, 2) or not set(actions) <= set(CHECKS):
            raise ValueError(
                f'{where}, entry {number}: expected "sentence" and one or two known "actions", got {record}'
            )
        requests.append((record["sentence"], tuple(actions)))
    return requests
