"""Plain captions and what they want: of one action, of several, of counts, and of every manner.

A plain caption is the first one of an embedded clip ("a sad person kicks with the left leg twice"). It is written by
the grammar from the same facts that the want is read from, so `want_of` also says what a fresh motion has to show.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.counts import COUNTERS, UNSAID, family_and_side
from motiongpt.faithfulness.fresh import performances
from motiongpt.faithfulness.locomotion_checks import DEGREES
from motiongpt.faithfulness.manners import has_curve
from motiongpt.faithfulness.mood_checks import LOOKS
from motiongpt.faithfulness.together_checks import BASES, OVERLAYS
from motiongpt.faithfulness.wants import Step, Want
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.sentences import family, write_captions

Part = tuple[str, dict]  # an action and its facts, as `Performed` has them
MOODY = ("walk_forward", "run", "wave_right", "jump", "punch_left")  # actions that moods are asked of
COUNTS = (2, 3)


def part_of(action: str, **facts) -> Part:
    """An action with its side and these facts; tempo and size are normal if nothing else is said."""
    side = family_and_side(action)[1]
    return action, {"tempo": "normal", "size": "normal"} | ({} if side is None else {"side": SIDES[side]}) | facts


def caption_of(parts: Sequence[Part]) -> str:
    """The plainest caption of these actions, "a person waves the left hand then sits down"."""
    return write_captions(list(parts), np.random.default_rng(0), 1)[0]


def plain_caption(names: Sequence[str]) -> str:
    """The plain caption of actions about which nothing else is said."""
    return caption_of([part_of(name) for name in names])


def want_of(parts: Sequence[Part]) -> Want:
    """What a motion of these actions and facts has to show: everything that can be judged."""
    steps = []
    for action, facts in parts:
        kind = family_and_side(action)[0]
        step = Step(
            (action,),
            count=facts.get("count") if kind in COUNTERS and kind not in UNSAID else None,
            degrees=facts.get("degrees"),
            tempo=facts["tempo"] if facts["tempo"] != "normal" and has_curve(action) else None,
            size=facts["size"] if facts["size"] != "normal" else None,
        )
        steps.append(step)
    facts = parts[0][1]
    if over := facts.get("while_"):
        steps.append(Step((over,)))
    return Want(tuple(steps), together=bool(over), mood=facts.get("mood"))


def count_parts() -> Iterator[tuple[str, Part]]:
    """(group, part): every action that captions count, twice and three times."""
    for action in CHECKS:
        kind = family_and_side(action)[0]
        if kind in COUNTERS and kind not in UNSAID:
            for count in COUNTS:
                yield f"{kind} x{count}", part_of(action, count=count)


def manner_parts() -> Iterator[tuple[str, Part]]:
    """(group, part): every manner of every action that has it; one-sided families on one side each, left and right in
    turn."""
    turn = {kind: k % 2 for k, kind in enumerate(dict.fromkeys(map(family, CHECKS)))}
    one_each = [name for name in CHECKS if family_and_side(name)[1] in (None, turn[family(name)])]
    for action in one_each:
        for tempo in ("slow", "quick") if has_curve(action) else ():
            yield tempo, part_of(action, tempo=tempo)
        for size in ("small", "large") if family(action) in SIZED else ():
            yield size, part_of(action, size=size)
    for side in SIDES:
        for degrees in DEGREES:
            yield f"{degrees} degrees", part_of(f"turn_{side}", degrees=degrees)
    for mood in LOOKS:
        for action in MOODY:
            yield mood, part_of(action, mood=mood)
    for base in BASES:
        for over in OVERLAYS:
            yield f"while {family_and_side(over)[0]}", part_of(base, while_=over)


def fresh_parts(part: Part, seed: int) -> Iterator[tuple[list[Part], np.ndarray]]:
    """Endless fresh motions of a part: what each really performs, and its joints (F, 22, 3)."""
    action, facts = part
    asked = {"mood": facts.get("mood", ""), "over": (facts.get("while_", ""),), "degrees": (facts.get("degrees", 90),)}
    tempos, sizes = (facts["tempo"],), (facts["size"],)
    for clip in performances((action,), seed, tempos=tempos, sizes=sizes, **asked):
        yield [(done.name, done.facts) for done in clip.performed], clip.joints
