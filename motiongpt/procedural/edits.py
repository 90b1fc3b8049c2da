"""Pairs of embedded motions, and a sentence that turns the first into the second: "but faster",
"with the other hand", "do that twice", "and then sit down".

Both motions of a pair are performed from the same random numbers (`recipes.py`), so they differ in
what the sentence asks for and in nothing else that was drawn: style, depth, pauses, the other
action. A pair is a function of (seed, index), and each of its motions is an ordinary clip with
captions of its own. Their random numbers are not those of `generate_clip`, whose clips stay as they
are.

    recipe of a source -> perform it -> change its steps -> perform it again -> both fit? -> sentences
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from motiongpt.files.hashes import split_by_hash
from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.clips import (
    FIRST_WEIGHTS,
    FIRSTS,
    LAST_WEIGHTS,
    LASTS,
    WEIGHTS,
    choose,
)
from motiongpt.procedural.edit_phrases import EDIT_PHRASES, PARTS, STANDS_ON
from motiongpt.procedural.performer import SIZES, STYLES, TEMPOS
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.recipes import CLIP_DRAWS, PAIR_DRAWS, Played, Recipe, Step, play
from motiongpt.procedural.sentences import NUMBERS, family, verb_phrase

SENTENCES = 3  # of a pair
NAMED = 0.5  # share of sentences that name the action or the side
SEQUENCES = 0.3  # share of pairs with two actions, where one is enough
ONE_OF_TWO = 0.5  # share of those whose change is about one of the two
LEAST_CHANGE = 0.9  # a faster motion lasts at most this share of the slower one
REPEATABLE = (
    "turn",
    "spin",
    "look",
    "point",
    "salute",
    "pick_up",
    "pick_up_both",
    "kneel_and_rise",
)  # done again as a whole
BOTH_HANDS = {
    "raise_arm": "raise_both_arms",
    "wave": "wave_both",
    "pick_up": "pick_up",
}  # family of one limb -> action of both
# sentences that are not said if another action stays in the clip
WHOLE = ("{do}", "now {do}", "{do} instead", "and {do} again at the end")


@dataclass(frozen=True)
class Pair:
    """Two recipes and the sentences that turn the first into the second; `kind` is one of `KINDS`."""

    source: Recipe
    target: Recipe
    texts: tuple[str, ...]
    kind: str


def make_pair(index: int, seed: int = 0) -> Pair:
    """Pair `index` of a seed. Its ids are e00_000042_source and e00_000042_target; both clips are of
    one split, by a hash of the index: about 90 % train, 5 % val, 5 % test.

    Danger: the order of the draws is part of the data, as in `generate_clip`.
    """
    rng = np.random.default_rng([seed, index, PAIR_DRAWS])
    kinds = list(KINDS)
    weights = np.array([KINDS[kind].weight for kind in kinds])
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    style = int(rng.integers(len(STYLES)))
    # not the hash of `generate_clip`'s index: the two need not fall together
    common = {"seed": seed, "index": index, "style": style, "split": split_by_hash(f"pair {index}")}
    name = f"e{seed:02d}_{index:06d}"
    while True:  # most drawn motions know no such change, or become too long by it
        source = Recipe(f"{name}_source", **common, steps=KINDS[kind].draw(rng))
        if not KINDS[kind].suits(source.steps):
            continue
        played = play(source)
        if not played.fits:
            continue
        # from here on the counts are fixed, whatever fits into a changed clip
        source = played.counted()
        change = KINDS[kind].change(source.steps, played, rng)
        if change is None:
            continue
        target = replace(source, id=f"{name}_target", steps=change.steps)
        changed = play(target)
        if changed.fits and _is_seen(kind, len(played.track), len(changed.track)):
            # the sentence may say how often the added action is done
            done = dict(zip(change.steps, changed.counted().steps, strict=True))
            return Pair(source, target, _write(replace(change, do=done.get(change.do, change.do)), rng), kind)


def _is_seen(kind: str, before: int, after: int) -> bool:
    """Whether a change of tempo changes the length, in frames; pauses do not shrink with the rest."""
    if kind == "faster":
        return after <= LEAST_CHANGE * before
    return kind != "slower" or before <= LEAST_CHANGE * after


# What is drawn before the change.


def _manners(count: int, rng: np.random.Generator, tempos=(0.1, 0.8, 0.1), sizes=(0.1, 0.8, 0.1)) -> list[dict]:
    """Tempo and size for `count` steps."""
    drawn_tempos = rng.choice(list(TEMPOS), count, p=tempos)
    drawn_sizes = rng.choice(list(SIZES), count, p=sizes)
    return [{"tempo": str(t), "size": str(s)} for t, s in zip(drawn_tempos, drawn_sizes, strict=True)]


def _steps(names: Sequence[str], manners: Sequence[dict]) -> tuple[Step, ...]:
    steps = (Step(name, CLIP_DRAWS + 1 + i, **m) for i, (name, m) in enumerate(zip(names, manners, strict=True)))
    return tuple(step if step.family in SIZED else replace(step, size="normal") for step in steps)


def _draw_one(rng: np.random.Generator, names: Sequence[str] = tuple(ACTIONS), **shares) -> tuple[Step, ...]:
    return _steps([choose(rng, names, WEIGHTS)], _manners(1, rng, **shares))


def _draw_two(rng: np.random.Generator, **shares) -> tuple[Step, ...]:
    first = choose(rng, FIRSTS, FIRST_WEIGHTS)
    last = choose(rng, [name for name in LASTS if family(name) != family(first)], LAST_WEIGHTS)
    return _steps([first, last], _manners(2, rng, **shares))


def _draw(rng: np.random.Generator, **shares) -> tuple[Step, ...]:
    return (_draw_two if rng.random() < SEQUENCES else _draw_one)(rng, **shares)


# The changes.


@dataclass(frozen=True)
class Change:
    """The steps of the target, and what its sentences are made of."""

    steps: tuple[Step, ...]
    phrases: str  # a key of EDIT_PHRASES
    do: Step | None = None  # fields of a sentence: the action that changes or is added,
    old: Step | None = None  # the one that goes,
    kept: Step | None = None  # the one that stays
    times: int | None = None
    named: float = NAMED  # share of sentences that name the action or the side
    told: bool = False  # the named action is said with tempo, size and count
    partial: bool = False  # another action stays in the clip


def _rung(ladder: tuple[str, ...], what: str, phrases: str, steps, _played, rng: np.random.Generator) -> Change | None:
    """One or two rungs up a ladder of tempos or sizes, for all steps or for one of two."""
    able = [i for i, s in enumerate(steps) if getattr(s, what) != ladder[-1] and (what == "tempo" or s.family in SIZED)]
    only = len(steps) > 1 and rng.random() < ONE_OF_TWO
    if not able or (not only and what == "tempo" and len(able) < len(steps)):
        return None
    chosen = [able[int(rng.integers(len(able)))]] if only else able
    changed = list(steps)
    for i in chosen:
        at = ladder.index(getattr(steps[i], what))
        by = 1 if at == 1 or rng.random() < 0.75 else 2
        changed[i] = replace(steps[i], **{what: ladder[at + by]})
    named = NAMED if len(steps) == 1 else float(only)
    return Change(tuple(changed), phrases, do=changed[chosen[0]], named=named, partial=len(steps) > 1)


def _other_side(steps, _played, _rng: np.random.Generator) -> Change | None:
    sided = [i for i, step in enumerate(steps) if step.side]
    if len(sided) != 1:
        return None
    (i,) = sided
    side = "right" if steps[i].side == "left" else "left"
    changed = replace(steps[i], action=f"{steps[i].family}_{side}")
    steps = (*steps[:i], changed, *steps[i + 1 :])
    phrases = "other limb" if changed.family in PARTS else "other way"
    return Change(steps, phrases, do=changed, partial=len(steps) > 1)


def _counted(more: bool, steps, played: Played, rng: np.random.Generator) -> Change | None:
    """Another count, or with `more` one more. Actions without a count are done twice."""
    able = [i for i, s in enumerate(steps) if len(played.options[i]) > 1 or s.family in REPEATABLE]
    if not able:
        return None
    i = able[int(rng.integers(len(able)))]
    step, options = steps[i], played.options[i]
    if len(options) > 1:
        others = [n for n in options if n != step.count and (not more or n == step.count + 1)]
        if not others:
            return None
        times = int(rng.choice(others))
        changed = replace(step, count=times)
    else:
        times = 2
        changed = replace(step, times=times)
    named = NAMED if len(steps) == 1 else 1.0
    phrases = "once more" if more else "count"
    steps = (*steps[:i], changed, *steps[i + 1 :])
    return Change(steps, phrases, do=changed, times=times, named=named, partial=len(steps) > 1)


def _added(at_end: bool, steps, _played, rng: np.random.Generator) -> Change | None:
    names, weights = (LASTS, LAST_WEIGHTS) if at_end else (FIRSTS, FIRST_WEIGHTS)
    names = [name for name in names if family(name) != steps[0].family]
    # numbers of its own: the steps that stay keep theirs
    new = replace(_steps([choose(rng, names, weights)], _manners(1, rng))[0], draws=CLIP_DRAWS + 1 + len(steps))
    both = (*steps, new) if at_end else (new, *steps)
    return Change(both, "then" if at_end else "first", do=new, kept=steps[0], told=True)


def _removed(steps, _played, rng: np.random.Generator) -> Change:
    i = int(rng.integers(2))
    phrases = ("without first", "without second")[i]
    return Change((steps[1 - i],), phrases, old=steps[i], kept=steps[1 - i], do=steps[1 - i])


def _replaced(steps, _played, rng: np.random.Generator) -> Change:
    """Another second action."""
    names = [name for name in LASTS if family(name) not in (steps[0].family, steps[1].family)]
    new = replace(_steps([choose(rng, names, LAST_WEIGHTS)], _manners(1, rng))[0], draws=CLIP_DRAWS + 1 + len(steps))
    return Change((steps[0], new), "instead second", do=new, old=steps[1], kept=steps[0], told=True)


def _hands(steps, _played, rng: np.random.Generator) -> Change | None:
    """One hand instead of both, or both instead of one."""
    (step,) = steps
    for one, both in BOTH_HANDS.items():
        if step.action == both:
            side = ("left", "right")[int(rng.integers(2))]
            changed = replace(step, action=f"{one}_{side}")
            return Change((changed,), "one", do=changed)
        if step.family == one:
            # the sentence names the side that was there already
            return Change((replace(step, action=both),), "both", do=replace(step, action=both), old=step)
    return None


@dataclass(frozen=True)
class Kind:
    """A kind of change: how often it is drawn, and its three parts.

    `draw` gives the steps of a source, `suits` says whether they are worth performing, `change`
    gives the target or None if there is none.
    """

    weight: float
    change: Callable[..., Change | None]
    draw: Callable[[np.random.Generator], tuple[Step, ...]] = _draw
    suits: Callable[[tuple[Step, ...]], bool] = lambda steps: True


def _has_side(steps: tuple[Step, ...]) -> bool:
    return any(step.side for step in steps)


def _has_size(steps: tuple[Step, ...]) -> bool:
    return any(step.family in SIZED for step in steps)


def _has_hands(steps: tuple[Step, ...]) -> bool:
    return any(step.action in BOTH_HANDS.values() or step.family in BOTH_HANDS for step in steps)


_UP, _DOWN = tuple(TEMPOS), tuple(TEMPOS)[::-1]
_GROW, _SHRINK = tuple(SIZES), tuple(SIZES)[::-1]
KINDS = {
    "faster": Kind(1.5, partial(_rung, _UP, "tempo", "faster"), partial(_draw, tempos=(0.35, 0.65, 0.0))),
    "slower": Kind(1.5, partial(_rung, _DOWN, "tempo", "slower"), partial(_draw, tempos=(0.0, 0.65, 0.35))),
    "bigger": Kind(1.0, partial(_rung, _GROW, "size", "bigger"), partial(_draw, sizes=(0.35, 0.65, 0.0)), _has_size),
    "smaller": Kind(
        1.0, partial(_rung, _SHRINK, "size", "smaller"), partial(_draw, sizes=(0.0, 0.65, 0.35)), _has_size
    ),
    "other side": Kind(3.0, _other_side, suits=_has_side),
    "count": Kind(1.5, partial(_counted, False)),
    "once more": Kind(0.8, partial(_counted, True)),
    "then": Kind(2.5, partial(_added, True), partial(_draw_one, names=FIRSTS)),
    "first": Kind(1.0, partial(_added, False), partial(_draw_one, names=LASTS)),
    "without": Kind(1.0, _removed, _draw_two),
    "instead": Kind(1.0, _replaced, _draw_two),
    "hands": Kind(0.5, _hands, _draw_one, _has_hands),
}
"""Kind of change -> how it is made."""


# The sentences.


def _write(change: Change, rng: np.random.Generator) -> tuple[str, ...]:
    """`SENTENCES` different sentences for a change."""
    plain, named = EDIT_PHRASES[change.phrases]
    if change.partial:
        named = [text for text in named if text not in WHOLE]
    texts: list[str] = []
    while len(texts) < SENTENCES:
        lists = named if rng.random() < change.named else plain
        text = str(rng.choice(lists)).format_map(_Fields(change, rng))
        if text not in texts:
            texts.append(text)
    return tuple(texts)


class _Fields(dict):
    """The fields of a sentence, each written when it is asked for."""

    def __init__(self, change: Change, rng: np.random.Generator):
        self.change = change
        self.rng = rng

    def __missing__(self, name: str) -> str:
        change = self.change
        if name == "times":
            return (
                "just once" if change.times == 1 else "twice" if change.times == 2 else f"{NUMBERS[change.times]} times"
            )
        if name == "side":  # of both hands: the one that moved before
            return change.do.side or change.old.side
        if name == "part":
            return PARTS[change.do.family]
        if name == "on":
            return "on" if change.do.family in STANDS_ON else "with"
        step, form = {
            "do": (change.do, "base"),
            "doing": (change.do, "ing"),
            "does": (change.do, "finite"),
            "kept": (change.kept, "base"),
            "kept_ing": (change.kept, "ing"),
            "old": (change.old, "base"),
            "old_ing": (change.old, "ing"),
        }[name]
        facts = {"side": step.side}
        if change.told and step is change.do:
            facts |= {"tempo": step.tempo, "size": step.size} | ({"count": step.count} if step.count else {})
        return verb_phrase(step.action, facts, self.rng, "your" if form == "base" else "the", form)
