"""A conversation about motions: each sentence makes a new one, changes the last one, goes on from it, or asks about it.

    conversation = Conversation(generator)
    conversation.say("a person walks forward").motion       # new: a person walks forward
    conversation.say("but faster")                          # changed: but faster
    conversation.say("then sit down")                       # went on: sit down
    conversation.say("what is the person doing?").text      # a sentence that the model writes for the motion

`turns.py` says how a sentence is told from another. Every reply says what was understood, and a
sentence that cannot be followed leaves everything as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from motiongpt.data.spelling import visible_text
from motiongpt.generation.requests import MAX_PROMPT
from motiongpt.generation.turns import (
    AGAIN,
    CHANGE,
    CONTINUATION,
    HELP,
    LENGTH_QUESTION,
    NEW,
    QUESTION,
    UNDO,
    read_turn,
)
from motiongpt.motion import Motion
from motiongpt.stages.model import LoadedRun

REFUSED = "refused"
UNDERSTOOD = {NEW: "new", CHANGE: "changed", CONTINUATION: "went on"}
SHOWN = 80  # characters of a sentence that a reply repeats
HELP_TEXT = """\
a person walks forward     a new motion: whatever names a person, or is an order of its own
but faster                 changes the last motion: but, now, do it, with the other hand, twice, bigger, instead ...
then sit down              goes on from its end: then, and, after that, finally; go on
what is the person doing?  what the model sees in the last motion; how long is it?
again                      the last sentence once more, with the next seed
undo                       back to the motion before
new: change: then:         before a sentence, say what it is, if it was misread"""


class Talker(Protocol):
    """What a conversation needs of a MotionGenerator."""

    run: LoadedRun

    def generate(self, prompt: str, *, seed: int, **options) -> Motion: ...

    def edit(self, motion: Motion | Sequence[int] | str, prompt: str, *, seed: int, **options) -> Motion: ...

    def continue_(
        self, motion: Motion | Sequence[int] | str, prompt: str | None = None, *, seed: int, **options
    ) -> Motion: ...

    def describe(self, motion: Motion | Sequence[int] | str) -> str: ...

    def learnt(self, task: str) -> bool: ...

    def knows(self, text: str) -> bool: ...


class Reply(NamedTuple):
    """The answer to one sentence."""

    kind: str  # of `turns.py`, or "refused"
    text: str  # what was understood, the answer to a question, or why not
    motion: Motion | None = None  # the new one; None if none was made


@dataclass(frozen=True)
class Made:
    """A motion of the conversation and how it was made, so that it can be made again."""

    kind: str
    sentence: str | None  # None: to go on without one
    told: str  # the last sentence that told a whole motion, for a stage that cannot go on without one
    seed: int
    source: Motion | None  # the motion that was changed or continued
    motion: Motion | None = None


class Conversation:
    """The state: the motions made so far, the last of which is what the next sentence is about."""

    def __init__(self, talker: Talker, seed: int = 0, **options) -> None:
        """`seed` is that of every new sentence. `options` go to every motion, see `MotionGenerator.generate`.

        With `seconds` a continuation is so much longer than the motion that it goes on from.
        """
        self.talker, self.seed, self.options = talker, seed, options
        self._made: list[Made] = []

    @property
    def motion(self) -> Motion | None:
        """The last motion, None before the first."""
        return self._made[-1].motion if self._made else None

    @property
    def seconds_per_code(self) -> float:
        """How long one code of this run lasts."""
        return self.talker.run.config.seconds_per_code

    def say(self, text: str) -> Reply:
        """Follow one sentence. It never raises for what it says: a ValueError of the talker becomes the reply."""
        if len(text) > MAX_PROMPT:
            return Reply(REFUSED, f"the sentence has {len(text)} characters, at most {MAX_PROMPT} are read")
        kind, sentence = read_turn(text, self.talker.knows)
        if kind == HELP:
            return Reply(HELP, HELP_TEXT)
        if kind != NEW and not self._made:
            return Reply(
                REFUSED,
                f'{_shown(text)!r} is about the motion before, and there is none yet: say first what the person does, '
                'or begin with "new:"',
            )  # fmt: skip
        try:
            if kind == UNDO:
                return self._undo()
            if kind == QUESTION:
                return self._answer(text)
            return self._make(self._again() if kind == AGAIN else self._plan(kind, sentence), kind)
        except (ValueError, OSError) as error:
            return Reply(REFUSED, str(error))

    def _plan(self, kind: str, sentence: str | None) -> Made:
        """What is to be made. ValueError for a change that the stage never learnt."""
        if kind == NEW:
            return Made(NEW, sentence, sentence, self.seed, None)
        last = self._made[-1]
        if kind == CHANGE:
            if not self.talker.learnt("edit"):
                raise ValueError(
                    f"{_shown(sentence)!r} changes the last motion, which this stage never learnt (finetune.py --tasks "
                    'edit trains it): tell the whole motion, or begin with "new:"'
                )
            return Made(CHANGE, sentence, last.told, self.seed, last.motion)
        if sentence is None and not self.talker.learnt("predict"):
            sentence = last.told
        return Made(CONTINUATION, sentence, sentence or last.told, self.seed, last.motion)

    def _again(self) -> Made:
        """The last motion with the next seed."""
        return replace(self._made[-1], seed=self._made[-1].seed + 1)

    def _make(self, plan: Made, kind: str) -> Reply:
        """Have it written, and remember it."""
        options = {**self.options, "seed": plan.seed}
        if plan.kind == NEW:
            motion = self.talker.generate(plan.sentence, **options)
        elif plan.kind == CHANGE:
            motion = self.talker.edit(plan.source, plan.sentence, **options)
        else:
            if (more := options.get("seconds")) is not None:
                options["seconds"] = more + self.seconds(plan.source)
            motion = self.talker.continue_(plan.source, plan.sentence, **options)
        self._made.append(replace(plan, motion=motion))
        what = f"{UNDERSTOOD[plan.kind]}: {_shown(plan.sentence) or 'without a sentence'}"
        return Reply(kind, f"again with seed {plan.seed}, {what}" if kind == AGAIN else what, motion)

    def _undo(self) -> Reply:
        """Forget the last motion."""
        self._made.pop()
        if not self._made:
            return Reply(UNDO, "undone: there is no motion now")
        last = self._made[-1]
        return Reply(UNDO, f"undone: back to {_shown(last.sentence or last.told)!r}, seed {last.seed}")

    def _answer(self, text: str) -> Reply:
        """A length comes from the codes; all else is what the model says of the motion."""
        motion = self.motion
        if LENGTH_QUESTION.search(text):
            frames = len(motion.tokens) * self.talker.run.config.frames_per_code
            return Reply(QUESTION, f"{self.seconds(motion):.1f} s: {len(motion.tokens)} codes, {frames} frames")
        return Reply(QUESTION, f"the last motion reads as: {_shown(self.talker.describe(motion)) or 'nothing'}")

    def seconds(self, motion: Motion) -> float:
        """How long a motion is by its codes, also without a motion tokenizer."""
        return len(motion.tokens) * self.seconds_per_code


def _shown(text: str | None) -> str:
    """A sentence on one line, without what nobody sees, cut if it is long."""
    line = " ".join(visible_text(text or "").split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}..."
