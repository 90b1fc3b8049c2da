"""Does a motion do what the sentence says?

    performs("wave_left", joints)                      (F, 22, 3) metres, y up, 20 fps, any facing -> bool
    in_order("walk_forward", "turn_left", joints)      two actions, one after the other

Conditions are those of `action_checks.py`: joints in, yes or no out. No model ever sees them.
`pass_matrix` proves them on motions of known actions: its diagonal is what a condition recognises, the rest is what
fools it. Motions come in as arrays or from a `generate` callable; this module loads nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from motiongpt.action_checks import CHECKS, INCLUDED
from motiongpt.kinematic_measures import Measures

CUT = 4  # frames between two cuts that `in_order` tries: one motion code
SHORTEST = 12  # frames a part needs at least


def performs(action: str, joints: np.ndarray) -> bool:
    """Whether joints (F, 22, 3) show this action. ValueError for an action without a condition, or another shape."""
    if action not in CHECKS:
        raise ValueError(f"no condition for {action!r}; there are {', '.join(CHECKS)}")
    return len(joints) >= SHORTEST and bool(CHECKS[action](Measures(joints)))


def in_order(first: str, second: str, joints: np.ndarray) -> bool:
    """Whether one cut has `first` before it and `second` after it. Each part is measured from its own start."""
    return any(
        performs(second, joints[cut:]) and performs(first, joints[:cut])
        for cut in range(SHORTEST, len(joints) - SHORTEST + 1, CUT)
    )


def does(actions: Sequence[str], joints: np.ndarray) -> bool:
    """One action, or two in order."""
    return performs(actions[0], joints) if len(actions) == 1 else in_order(*actions, joints)


def pass_matrix(clips: Mapping[str, Sequence[np.ndarray]]) -> dict[str, dict[str, float]]:
    """Clips of known actions -> share of them that passes: matrix[condition][action], in [0, 1]."""
    seen = {action: [Measures(joints) for joints in several] for action, several in clips.items()}
    return {
        name: {action: float(np.mean([bool(check(m)) for m in several])) for action, several in seen.items()}
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
