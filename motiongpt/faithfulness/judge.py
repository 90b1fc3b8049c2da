"""Does a motion do what the sentence says?

    performs("wave_left", joints)    (F, 22, 3) metres, y up, the floor at y = 0, 20 fps, any facing and place -> bool
    in_order("walk_forward", "turn_left", joints)    two actions, one after the other

Conditions are those of `action_checks.py`: joints in, yes or no out. No model ever sees them.
Before any of them, `whole` asks whether the joints are a body at all: most conditions look at a few joints only.
`pass_matrix` proves them on motions of known actions: its diagonal is what a condition recognises, the rest is what
fools it. Motions come in as arrays or from a `generate` callable; this module loads nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.faithfulness.conditions import CHECKS, INCLUDED
from motiongpt.faithfulness.measures import FPS, Measures, longest

CUT = 4  # frames between two cuts that `in_order` tries: one motion code
SHORTEST = 12  # frames a part needs at least

# The limits of `whole`. Truth and its tokenizer round trip stay inside: 11.8 and 3.9 m/s, 0.143 m, 14 %, 8 frames.
# A body stretched sideways by less than 20 %, or along one axis of the room while it walks a circle, stays inside too.
FASTEST, FASTEST_ROOT = 12.0, 6.0  # m/s: any joint; the pelvis
STRETCH, OFF_LENGTH = 0.16, 0.2  # metres off a bone's median; share of the skeleton's own length off it
OFF_FLOOR, AIRBORNE = 0.15, FPS  # metres between lowest joint and floor; frames on end it may be higher
OWN_SIDE = ("hip", "knee", "ankle", "foot", "shoulder", "elbow")  # wrists may cross


def whole(m: Measures) -> bool:
    """Whether the joints are one body on the floor, whatever it does.

    Finite; no joint faster than 12 m/s and no pelvis faster than 6; every bone within 0.16 m of its median length and
    that within 20 % of the skeleton's; left joints left of right ones in the median frame; the lowest joint within
    0.15 m of y = 0 at some time and never above that for more than 1 s, never below -0.15 m.
    """
    joints = m.joints
    if not np.isfinite(joints).all():
        return False
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * FPS
    bones = np.linalg.norm(joints[:, 1:] - joints[:, list(HUMANML3D.parents[1:])], axis=-1)
    lengths, median = np.linalg.norm(HUMANML3D.offsets[1:], axis=-1), np.median(bones, axis=0)
    pairs = [m.pair(name) for name in OWN_SIDE]
    lowest = joints[..., 1].min(1)
    return bool(
        speed.max() <= FASTEST and speed[:, 0].max() <= FASTEST_ROOT
        and np.abs(bones - median).max() <= STRETCH and np.abs(median / lengths - 1).max() <= OFF_LENGTH
        and all(np.median(m.seen(pair[:, 0] - pair[:, 1], m.yaw)[:, 0]) > 0 for pair in pairs)
        and np.abs(lowest).min() <= OFF_FLOOR and lowest.min() >= -OFF_FLOOR and longest(lowest > OFF_FLOOR) <= AIRBORNE
    )  # fmt: skip


def performs(action: str, joints: np.ndarray) -> bool:
    """Whether joints (F, 22, 3) show this action. ValueError for an action without a condition, or another shape."""
    if action not in CHECKS:
        raise ValueError(f"no condition for {action!r}; there are {', '.join(CHECKS)}")
    m = Measures(joints)
    return len(joints) >= SHORTEST and whole(m) and bool(CHECKS[action](m))


def performs_in_order(first: str, second: str, joints: np.ndarray) -> bool:
    """Whether one cut has `first` before it and `second` after it. Each part is measured from its own start."""
    return whole(Measures(joints)) and any(
        performs(second, joints[cut:]) and performs(first, joints[:cut])
        for cut in range(SHORTEST, len(joints) - SHORTEST + 1, CUT)
    )


def does(actions: Sequence[str], joints: np.ndarray) -> bool:
    """One action, or two in order."""
    return performs(actions[0], joints) if len(actions) == 1 else performs_in_order(*actions, joints)


def pass_matrix(clips: Mapping[str, Sequence[np.ndarray]]) -> dict[str, dict[str, float]]:
    """Clips of known actions -> share of them that passes: matrix[condition][action], in [0, 1]."""
    seen = {action: [(m, whole(m)) for m in map(Measures, several)] for action, several in clips.items()}
    return {
        name: {
            action: float(np.mean([sound and bool(check(m)) for m, sound in several]))
            for action, several in seen.items()
        }
        for name, check in CHECKS.items()
    }


def confusions(matrix: Mapping[str, Mapping[str, float]], least: float = 0.05) -> list[tuple[str, str, float]]:
    """(condition, action, share) where another action passes in more than `least` and `INCLUDED` does not say so."""
    return [
        (name, action, share)
        for name, row in matrix.items()
        for action, share in row.items()
        if action != name and share > least and (name, action) not in INCLUDED
    ]


def check_tasks(records: object, where: object) -> list[tuple[str, tuple[str, ...]]]:
    """[{"sentence": str, "actions": [one or two names]}, ...] -> [(sentence, actions)].

    Raises ValueError naming `where` and the entry that is otherwise.
    """
    if not isinstance(records, list):
        raise ValueError(f"{where}: expected a list of sentences, got {type(records).__name__}")
    tasks = []
    for number, record in enumerate(records):
        known = isinstance(record, dict) and isinstance(record.get("sentence"), str)
        actions = record.get("actions") if known else None
        if not isinstance(actions, list) or len(actions) not in (1, 2) or not set(actions) <= set(CHECKS):
            raise ValueError(
                f'{where}, entry {number}: expected "sentence" and one or two known "actions", got {record}'
            )
        tasks.append((record["sentence"], tuple(actions)))
    return tasks
