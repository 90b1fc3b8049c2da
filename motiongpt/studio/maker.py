"""A wish and a loaded run -> motions, or words; and what a page must know of the run.

    maker = Maker(MotionGenerator.load("checkpoints/demo"), "demo")
    made = maker.make(wish, source, tell)

`tell(share)` is called after every code that is drawn, so what it raises ends the work. This module knows no threads
and no web.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from motiongpt.data.plain_captions import ReadingTable, action_of
from motiongpt.data.training_captions import Prompts
from motiongpt.generation.conversation import Talker
from motiongpt.generation.requests import check_prompts, usual_length
from motiongpt.generation.understanding import AS_WRITTEN, Heard, Listener
from motiongpt.motion import Motion, check_suffix
from motiongpt.stages.run_folder import finished_stages
from motiongpt.studio.wish import LARGEST_SEED, MOST_SAMPLES, MOST_SENTENCES, SECONDS, TASKS, Refused, Wish

SUFFIXES = ("npy", "gif", "mp4", "bvh", "glb", "csv", "vrma", "html", "npz", "txt")  # in the order of the buttons
CHANGES = ("do it faster", "make it bigger", "do it twice", "then sit down")  # examples of what edit learns
EXAMPLES = 6
AMONG = 24  # actions that examples are taken from, the most frequent ones of training
LONGEST_EXAMPLE = 60  # characters
WHILE = " while "  # in a plain caption: two actions at once
# in refusals: what is a flag of scripts is a box on the page
BOX, INFO = "tick the box below to have it taken as it is written", "--info lists all, "
DECODING = 0.05  # share of the time that comes after the last code


class Model(Talker, Protocol):
    """What the studio needs of a MotionGenerator."""

    listener: Listener

    def sequence(self, prompts: Sequence[str], participant_id: str | None = None, **options) -> Motion: ...


@dataclass(frozen=True)
class Made:
    """What came of a wish."""

    motions: tuple[Motion, ...] = ()
    seeds: tuple[int, ...] = ()  # one per motion
    said: str = ""  # the answer of m2t


class Maker:
    """A run and what can be asked of it."""

    def __init__(self, model: Model, name: str) -> None:
        """`name` is what the page calls the run."""
        self.model, self.run, self.name = model, model.run, name
        able = {task for meta in finished_stages(self.run.folder).values() for task in meta["tasks"]}
        # t2m and predict go without having been learnt, and describing may take another stage
        learnt = {"edit": model.learnt("edit"), "m2t": "m2t" in able}
        self.tasks = tuple(task for task in TASKS if learnt.get(task, True))
        self.participants = tuple(self.run.config.participants)
        self.wordless = model.learnt("predict")  # a motion can be continued without a sentence
        self._examples = example_sentences(self.run.prompts)

    def facts(self) -> dict:
        """What a page shows of the run, and what it may send, as plain JSON values."""
        styles = self.run.prompts.styles
        return {
            "name": self.name,
            "tasks": list(self.tasks),
            "participants": [{"id": who, "style": styles.get(who, "")} for who in self.participants],
            "reads": self.model.listener.reads,
            "wordless": self.wordless,
            "seconds": list(SECONDS),
            "sentences": MOST_SENTENCES,
            "samples": MOST_SAMPLES,
            "largest_seed": LARGEST_SEED,
            "examples": {"t2m": self._examples, "edit": CHANGES, "predict": self._examples, "m2t": ()},
        }

    def check(self, wish: Wish) -> None:
        """Raise Refused, in the words of the library, for sentences that say nothing."""
        if wish.sentences:
            try:
                check_prompts(self.run, wish.sentences, wish.task)
            except ValueError as error:
                raise Refused(str(error), "text") from error

    def understood(self, wish: Wish) -> tuple[str, ...]:
        """A line for each sentence that is read, which says as what. Raises Refused for one that is not understood."""
        return tuple(note for _, notes in self._heard(wish) for note in notes)

    def make(self, wish: Wish, source: Motion | None, tell: Callable[[float], None]) -> Made:
        """Carry out a wish; `source` is the motion that it is about. Raises Refused for what the model refuses."""
        if wish.task == "m2t":
            try:
                return Made(said=self.model.describe(source, wish.participant))
            except ValueError as error:
                raise Refused(str(error), "task") from error
        seeds = tuple(range(wish.seed, wish.seed + wish.samples))
        codes = self._codes(wish, source)
        motions = []
        for number, seed in enumerate(seeds):
            drawn = 0

            def trace(step: int, record: dict, number: int = number) -> None:
                nonlocal drawn
                drawn += 1
                tell((number + min(drawn / codes, 1.0) * (1.0 - DECODING)) / len(seeds))

            try:
                motion = self._motion(wish, source, seed, trace)
            except ValueError as error:
                raise Refused(str(error), "seconds" if str(error).startswith("--seconds") else "text") from error
            if not motion.tokens:
                raise Refused("the model wrote no code, so there is no motion; try another seed", "seed")
            motions.append(motion)
        return Made(tuple(motions), seeds)

    def _motion(self, wish: Wish, source: Motion | None, seed: int, trace: Callable[[int, dict], None]) -> Motion:
        """One motion. Raises what the generator raises."""
        options = {"seed": seed, "seconds": wish.seconds, "read": _read(wish), "trace": trace}
        if wish.task == "edit":
            return self.model.edit(source, wish.sentences[0], participant_id=wish.participant, **options)
        if wish.task == "predict":
            codes = len(source.tokens) + self._codes(wish, source)
            options |= {"seconds": codes * self._each, "participant_id": wish.participant}
            return self.model.continue_(source, next(iter(wish.sentences), None), **options)
        if len(wish.sentences) > 1:
            return self.model.sequence(wish.sentences, wish.participant, **options)
        return self.model.generate(wish.sentences[0], participant_id=wish.participant, **options)

    @property
    def _each(self) -> float:
        """Seconds of a code."""
        return self.run.config.seconds_per_code

    def _codes(self, wish: Wish, source: Motion | None) -> int:
        """About how many codes are written: as many as the sentences usually get if no length is wanted."""
        if wish.task == "edit" and wish.seconds is None:
            return len(source.tokens)
        texts = [text for text, _ in self._heard(wish)]
        if wish.seconds is not None:
            return max(1, round(len(texts) * wish.seconds / self._each))
        return sum(usual_length(self.run, text) if text else self.run.prompts.global_median for text in texts)

    def _heard(self, wish: Wish) -> list[Heard]:
        """What the motion model is asked for; the listener remembers it. Raises Refused."""
        if wish.task == "m2t":
            return []
        try:
            return self.model.listener.heard(wish.sentences or (None,), wish.task, _read(wish))
        except ValueError as error:
            message = str(error).replace(AS_WRITTEN, BOX).replace(INFO, "")
            raise Refused(message, "text") from error


def formats(motion: Motion) -> list[str]:
    """The suffixes of the files that a motion can become, without their dots."""
    return [suffix for suffix in SUFFIXES if _can_become(motion, suffix)]


def _can_become(motion: Motion, suffix: str) -> bool:
    try:
        check_suffix(Path(f"motion.{suffix}"), motion.joints is not None, motion.parameters is not None)
    except ValueError:
        return False
    return True


def example_sentences(prompts: Prompts) -> list[str]:
    """A few sentences that the run knows, of different actions."""
    table = prompts.reading
    if table is None:
        short = sorted(text for text in prompts.captions if len(text) <= LONGEST_EXAMPLE)
        return _spread(short, EXAMPLES)
    return _of_table(table)


def _of_table(table: ReadingTable) -> list[str]:
    """Plain captions of frequent actions; the last two show a mood, and two actions in a row."""
    first: dict[tuple[str, ...], str] = {}
    for clause in table["clauses"]:  # the most frequent ones come first
        if WHILE not in clause:
            first.setdefault(action_of(clause), clause)
    clauses = _spread(list(first.values())[:AMONG], EXAMPLES)
    usual, *moods = table["subjects"] or [""]
    if len(clauses) < 4 or not usual:
        return [f"{usual} {clause}".strip() for clause in clauses] or table["wholes"][:EXAMPLES]
    examples = [f"{usual} {clause}" for clause in clauses[:-2]]
    examples += [f"{moods[-1]} {clauses[0]}"] if moods else []
    return [*examples, f"{usual} {clauses[-2]} then {clauses[-1]}"]


def _spread(texts: Sequence[str], count: int) -> list[str]:
    """At most `count` of the texts, from all over them."""
    return list(texts[:: max(1, -(-len(texts) // count))])


def _read(wish: Wish) -> bool | None:
    """`read` of `MotionGenerator.generate`."""
    return False if wish.as_written else None
