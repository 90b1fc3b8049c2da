"""What a sentence wants, as somebody wrote it down beside the sentence: a JSON list of records.

    {"id": "count-02", "sentence": "Do three squats, please!", "category": "count",
     "want": {"actions": ["squat"], "count": 3}}

    actions    [[alternatives], ...]: steps in order; any alternative of a step will do
    together   [[alternatives], [alternatives]]: a walk, and what the arms or the head do meanwhile
    count      a number, or a list with one or null per step; so are degrees, tempo and size
    degrees    45, 90, 180 or 360
    tempo      "slow" or "quick";   size   "small" or "large";   distance   "short" or "far"
    mood       a name in `procedural.moods.MOODS`
    not        [actions that must not show]
    refused    true: nobody knows how to do that, and a refusal is right; with actions, so is a motion of them

A step of one name may be a plain string, and "kick_*" means either side. The old form {"sentence", "actions"} with
one name per step stays readable. This module knows no joints; `judge.py` does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from motiongpt.body.skeletons import SIDES
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.counts import COUNTERS, family_and_side
from motiongpt.faithfulness.locomotion_checks import DEGREES
from motiongpt.faithfulness.manners import CURVES, TURNS
from motiongpt.faithfulness.mood_checks import LOOKS
from motiongpt.faithfulness.together_checks import BASES, OVERLAYS
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.sentences import family

PER_STEP = {
    "count": range(1, 13),
    "degrees": tuple(DEGREES),
    "tempo": ("slow", "quick"),
    "size": ("small", "large"),
}
"""Key -> its values; one for all steps, or a list with one or null per step."""
WHOLE = {"distance": ("short", "far"), "mood": tuple(LOOKS), "refused": (True,)}
KEYS = {"actions", "together", "not", *PER_STEP, *WHOLE}


@dataclass(frozen=True)
class Step:
    """One action of a sentence: any of these names, in this manner. None asks for nothing."""

    actions: tuple[str, ...]
    count: int | None = None
    degrees: int | None = None
    tempo: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Want:
    """What one sentence wants; see the top of the file."""

    steps: tuple[Step, ...] = ()  # of `together` the first one is what the legs do, the second what goes on above
    together: bool = False
    distance: str | None = None
    mood: str | None = None
    absent: tuple[str, ...] = ()
    refused: bool = False

    def name(self) -> str:
        """The actions in words: "jump|jump_forward then clap", "walk_forward while wave_left"."""
        parts = ["|".join(step.actions) for step in self.steps]
        return (" while " if self.together else " then ").join(parts) or "refused"


@dataclass(frozen=True)
class FreeSentence:
    """One record of the file."""

    id: str
    sentence: str
    category: str
    want: Want


def plain_want(actions: Sequence[str]) -> Want:
    """The want of a plain caption of these actions, each exactly the one named."""
    return Want(tuple(Step((name,)) for name in actions))


def leave_out(sentences: dict[str, list[FreeSentence]], is_caption: Callable[[str], bool], where: object) -> list[str]:
    """Take from each list what is a caption of the data; returns what was taken.

    A grammar that writes 100,000 captions writes one of somebody's 200 sentences now and then. Raises ValueError if
    none of a list is left.
    """
    read = [one.sentence for some in sentences.values() for one in some if is_caption(one.sentence)]
    for name, some in sentences.items():
        sentences[name] = [one for one in some if one.sentence not in read]
        if not sentences[name]:
            raise ValueError(f"--{name}: all of its sentences are captions of {where}; take new ones")
    return read


def read_sentences(records: object, where: object) -> list[FreeSentence]:
    """The records of a file `where`, in the form above or in the old one, checked.

    Raises ValueError naming the file and the first entry that is anything else.
    """
    if not isinstance(records, list):
        raise ValueError(f"{where}: expected a list of sentences, got {type(records).__name__}")
    found = []
    for number, record in enumerate(records):
        try:
            found.append(_read(record, number))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{where}, entry {number}: {error}, in {record}") from None
    if twice := {s.id for k, s in enumerate(found) if s.id in {other.id for other in found[:k]}}:
        raise ValueError(f"{where}: every id once, but {', '.join(sorted(twice))} came again")
    return found


def _read(record: object, number: int) -> FreeSentence:
    if not isinstance(record, Mapping) or not isinstance(record.get("sentence"), str):
        raise ValueError('expected a "sentence"')
    if set(record) == {"sentence", "actions"}:  # the old form
        names = record["actions"]
        if not isinstance(names, list) or len(names) not in (1, 2):
            raise ValueError('expected one or two "actions"')
        return FreeSentence(str(number), record["sentence"], " then ".join(names), read_want({"actions": names}))
    if set(record) != {"id", "sentence", "category", "want"}:
        raise ValueError("expected id, sentence, category and want")
    return FreeSentence(record["id"], record["sentence"], record["category"], read_want(record["want"]))


def read_want(want: Mapping) -> Want:
    """A `Want` from its JSON. Raises ValueError for an unknown key, action or value, or one that nobody can judge."""
    if unknown := set(want) - KEYS:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; there are {', '.join(sorted(KEYS))}")
    together = "together" in want
    if together and ("actions" in want or len(want["together"]) != 2):
        raise ValueError("together has two steps, and no actions beside it")
    names = [_expand(step) for step in want.get("together" if together else "actions", ())]
    if not names and not want.get("refused"):
        raise ValueError("a want needs actions, together or refused")
    # one value per step; a single one is meant for all of them
    values = {}
    for key, allowed in PER_STEP.items():
        value = want.get(key)
        values[key] = value if isinstance(value, list) else [value] * len(names)
        if len(values[key]) != len(names) or any(v is not None and v not in allowed for v in values[key]):
            raise ValueError(f"{key} is one of {', '.join(map(str, allowed))}, or a list of them, one per step")
    for key, allowed in WHOLE.items():
        if key in want and want[key] not in allowed:
            raise ValueError(f"{key} is one of {', '.join(map(str, allowed))}, got {want[key]!r}")
    steps = tuple(Step(actions, **{key: values[key][k] for key in PER_STEP}) for k, actions in enumerate(names))
    for k, step in enumerate(steps):
        _check_judgeable(step, (BASES, OVERLAYS)[k] if together else CHECKS)
    absent = _expand(want.get("not", []))
    return Want(steps, together, want.get("distance"), want.get("mood"), absent, want.get("refused", False))


def _check_judgeable(step: Step, known: Mapping) -> None:
    """ValueError if one alternative has no condition, or none for the manner that is asked for."""
    for name in step.actions:
        kind = family_and_side(name)[0]
        manners = {
            "condition here": name in known,
            "count": step.count is None or kind in COUNTERS,
            "degrees": step.degrees is None or kind in TURNS,
            "tempo": step.tempo is None or kind in CURVES,
            "size": step.size is None or family(name) in SIZED,
        }
        if missing := [what for what, there in manners.items() if not there]:
            raise ValueError(f"{name} has no {missing[0]}")


def _expand(names: str | Sequence[str]) -> tuple[str, ...]:
    """["kick_*", "jump"] -> kick_left, kick_right, jump. Raises ValueError for a name without a condition."""
    found: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        found += [name[:-1] + side for side in SIDES] if name.endswith("_*") else [name]
    if unknown := [name for name in found if name not in CHECKS]:
        raise ValueError(f"no condition for {', '.join(unknown)}")
    return tuple(dict.fromkeys(found))
