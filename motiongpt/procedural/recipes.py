"""Recipes of embedded motions: what a clip is made of, so that one thing of it can be changed.

Every step of a recipe has a generator of its own, which does not depend on the other steps. So two
recipes that share a step show it with the same pauses, depths and swings, whatever comes before or
after it, and a step whose tempo, size, side or count is changed keeps everything else.

Unlike in `generate_clip`, a slow walk lasts longer and has as many steps: "slower" must not mean
farther or less far.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from motiongpt.procedural.clips import MAX_FRAMES, MIN_FRAMES, Clip, Performed, finish, perform
from motiongpt.procedural.kinematics import Track
from motiongpt.procedural.performer import FPS, STYLES, TEMPOS, Director, draw_stance
from motiongpt.procedural.sentences import family

PAIR_DRAWS = 0x70616972  # apart from the draws of `generate_clip`
STANCE_DRAWS = 0  # how somebody stands before, between and after the steps
CLIP_DRAWS = 1  # breath and captions; the steps of a recipe have the numbers after it


@dataclass(frozen=True)
class Step:
    """One action of a recipe: what is asked for (`count` None: it is drawn), and its own draws."""

    action: str
    draws: int
    tempo: str = "normal"
    size: str = "normal"
    count: int | None = None
    times: int = 1  # the whole action so many times; for actions that have no count

    @property
    def family(self) -> str:
        return family(self.action)

    @property
    def side(self) -> str:
        """left, right, or nothing for an action without a side."""
        end = self.action.rpartition("_")[2]
        return end if end in ("left", "right") else ""


@dataclass(frozen=True)
class Recipe:
    """All that a clip is made of. `index` is that of its pair."""

    id: str
    seed: int
    index: int
    style: int  # in STYLES
    split: str
    steps: tuple[Step, ...]

    def rng(self, draws: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.index, PAIR_DRAWS, draws])


@dataclass
class Rehearsed(Director):
    """A director that is told the count, and whose walks last as long as their steps need."""

    again: int | None = None  # the count; None: it is drawn
    options: tuple[int, ...] = ()  # the counts that the action may have

    def count(self, options: tuple[int, ...], cycle: int, rest: int) -> int:
        # drawn in any case, so that what is drawn afterwards stays the same
        drawn = super().count(options, cycle, rest)
        self.options = tuple(sorted(set(options)))
        self.facts["count"] = self.again or drawn
        return self.facts["count"]

    def span(self, seconds: tuple[float, float]) -> int:
        return round(FPS * self.uniform(*seconds) * TEMPOS[self.tempo])


@dataclass(frozen=True)
class Played:
    """A recipe performed: its track, and per step what was done and which counts were possible."""

    recipe: Recipe
    track: Track
    performed: tuple[Performed, ...]
    options: tuple[tuple[int, ...], ...]

    @property
    def fits(self) -> bool:
        """Whether the performance is as long as a clip may be."""
        return MIN_FRAMES <= len(self.track) <= MAX_FRAMES

    def counted(self) -> Recipe:
        """The recipe with the counts that were drawn: they stay, whatever else is changed."""
        steps = zip(self.recipe.steps, self.performed, strict=True)
        fixed = (replace(s, count=p.facts.get("count") if s.times == 1 else None) for s, p in steps)
        return replace(self.recipe, steps=tuple(fixed))


def play(recipe: Recipe) -> Played:
    """Perform a recipe, however long that takes."""
    steps = [step for step in recipe.steps for _ in range(step.times)]
    directors: list[Rehearsed] = []
    stance = draw_stance(recipe.rng(STANCE_DRAWS))

    def cast() -> Iterator[Rehearsed]:
        for step in steps:
            # each step may take the whole clip: what is drawn must not depend on how many there are
            where = recipe.rng(step.draws), STYLES[recipe.style], step.tempo, MAX_FRAMES / FPS, step.size
            directors.append(Rehearsed(*where, stance=stance, again=step.count))
            yield directors[-1]

    track, played = perform([step.action for step in steps], cast())
    performed, options = [], []
    first = 0
    for step in recipe.steps:
        parts = played[first : first + step.times]
        # an action done twice is one action with a count
        facts = parts[0].facts | ({"count": step.times} if step.times > 1 else {})
        performed.append(Performed(step.action, parts[0].start, parts[-1].end, facts))
        options.append(directors[first].options)
        first += step.times
    return Played(recipe, track, tuple(performed), tuple(options))


def make_recipe_clip(recipe: Recipe) -> Clip:
    """The clip of a recipe, as `generate_clip` makes its own."""
    played = play(recipe)
    known = {"id": recipe.id, "participant": STYLES[recipe.style].name, "split": recipe.split}
    return finish(played.track, played.performed, recipe.rng(CLIP_DRAWS), **known)
