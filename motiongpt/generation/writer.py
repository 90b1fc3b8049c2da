"""The language model of a run at work: rows to codes, in one batch or step by step.

What a `Row` is, `requests.py` says. Nothing here knows joints.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from motiongpt.config import SampleConfig
from motiongpt.generation.digits import write_digits
from motiongpt.generation.requests import (
    Row,
    Wanted,
    allowed_codes,
    check_room,
    learnt,
    limits_of,
    plan_row,
    request_room,
    usual_length,
)
from motiongpt.generation.sequence import CONTEXT, Part, write_sequence
from motiongpt.sampling import generate, generate_steps
from motiongpt.stages.model import LoadedRun
from motiongpt.tasks.conditions import FixedCodes

ENDING = 2  # codes at the end that a planned motion comes to; with one of them, twice as many are cut in mid-stride
INSTRUCTION = 64  # tokens at most of what a request says beside the sentence and the motion
PLANNED_FROM = ENDING + 2  # codes; a shorter motion has no room for a way between its ends
Trace = Callable[[int, dict], None]


@dataclass(frozen=True)
class Written:
    """The codes of a motion, given ones included, and what is wrong with them."""

    codes: list[int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Writer:
    """A run and how to sample from it; `exact` is that of `requests.plan_row`."""

    run: LoadedRun
    device: torch.device
    config: SampleConfig
    per_prompt_vocab: bool = True
    exact: bool = False
    trace: Trace | None = None

    def plan(self, task: str, wanted: Wanted, source: Sequence[int] = ()) -> Row:
        """The row of one motion, with room for it in the model. Raises ValueError like `plan_row` and `check_room`."""
        row = plan_row(self.run, task, wanted, self.exact, self.config.max_new_tokens, source)
        check_room(self.run, [row.ids], row.limits.capped(self.config.max_new_tokens).hard_max)
        return row

    def rows(self, wanted: Sequence[Wanted], task: str, source: Sequence[int] = (), whole: bool = True) -> list[Row]:
        """The rows of a batch. Unless the motions are `whole`, they are cut anyway, and no end of one is planned.

        A motion of a wanted length would be cut in the middle of a step. So a stage that learnt inbetween first writes
        it as long as it likes, and then fills in the time between the pose where that begins and those where it ends.
        """
        rows = [self.plan(task, row, source) for row in wanted]
        planned = [i for i, row in enumerate(rows) if whole and self._plans_its_end(task, wanted[i], row)]
        for i, ends in self._ends([(i, wanted[i]) for i in planned], rows).items():
            rows[i] = self.plan("inbetween", replace(wanted[i], given=ends))
        return rows

    def _plans_its_end(self, task: str, wanted: Wanted, row: Row) -> bool:
        """Whether a row has a wanted length that `inbetween` can fill, and the model the positions for that."""
        templates = self.run.renderer.templates
        asks = templates.for_sampling("inbetween", caption=True, length=True)  # None: with no sentence only
        if task != "t2m" or wanted.seconds is None or wanted.given or asks is None or templates.motion_as != "words":
            return False
        # such a request shows the whole motion, hidden, so it stands there twice
        needed = len(row.ids) + 2 * row.limits.hard_max + INSTRUCTION
        room = needed <= self.run.llm.config.max_positions
        return learnt(self.run, "inbetween") and room and row.limits.target >= PLANNED_FROM

    def _ends(self, wanted: Sequence[tuple[int, Wanted]], rows: Sequence[Row]) -> dict[int, Mapping[int, int]]:
        """Row -> the first code and the last `ENDING` of a motion without a wanted length."""
        if not wanted:
            return {}
        room = self.run.llm.config.max_positions - max(len(rows[i].ids) for i, _ in wanted) - 1
        config = replace(self.config, max_new_tokens=min(self.config.max_new_tokens, room))
        free = replace(self, exact=False, trace=None, config=config)
        motions = free.write([free.plan("t2m", replace(row, seconds=None)) for _, row in wanted])
        return {
            i: {0: motion.codes[0]} | {place: motion.codes[place] for place in range(-ENDING, 0)}
            for (i, _), motion in zip(wanted, motions, strict=True)
            if len(motion.codes) > ENDING
        }

    def write(self, rows: Sequence[Row]) -> list[Written]:
        """The motions of some rows, as one batch."""
        if self.run.renderer.templates.motion_as == "digits":
            ids, limits, seeds = ([getattr(row, name) for row in rows] for name in ("ids", "limits", "seed"))
            fixed = [row.fixed for row in rows]
            found = write_digits(self.run, ids, limits, seeds, self.config, fixed, self.device)
            return [Written([*row.before, *own.codes], own.faults) for row, own in zip(rows, found, strict=True)]
        written = generate(**self._arguments(rows))
        return [Written([*row.before, *codes]) for row, codes in zip(rows, written, strict=True)]

    def sequence(
        self, texts: Sequence[str], seconds: Sequence[float | None], participant: str | None, seed: int
    ) -> tuple[list[int], list[int]]:
        """The codes of one motion of several sentences, and where each begins; see `generation/sequence.py`."""
        run, each = self.run, self.run.config.seconds_per_code
        seeds = itertools.count(seed)  # one seed for all requests would repeat the same draws

        def write(prompt: str, given: list[int], length: int | None) -> list[int]:
            own = None if length is None else length * each
            writer = replace(self, exact=length is not None)
            wanted = Wanted(prompt, participant, own, dict(enumerate(given)), next(seeds))
            (written,) = writer.write([writer.plan("predict" if given else "t2m", wanted)])
            return written.codes

        most = request_room(run, self.config.max_new_tokens)
        parts = [
            Part(
                text,
                None if s is None else limits_of(run, text, s).target,
                min(usual_length(run, text) + CONTEXT, most),
            )
            for text, s in zip(texts, seconds, strict=True)
        ]
        return write_sequence(write, parts)

    def steps(self, row: Row) -> Iterator[int]:
        """The codes of one row, each as soon as it is drawn. ValueError for a run that writes digits."""
        if self.run.renderer.templates.motion_as == "digits":
            raise ValueError("this run writes motions as digits, which cannot be streamed")
        yield from row.before
        for (code,) in generate_steps(**self._arguments([row])):
            if code >= 0:
                yield code

    def _arguments(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The arguments of `sampling.generate`."""
        run = self.run
        fixed = FixedCodes([row.fixed for row in rows], self.device) if any(row.fixed for row in rows) else None
        return {
            "model": run.model,
            "prompts": [row.ids for row in rows],
            "begin_id": run.vocab.begin_id,
            "codes": run.config.codes,
            "limits": [row.limits for row in rows],
            "seeds": [row.seed for row in rows],
            "config": self.config,
            "allowed": allowed_codes(run, rows) if self.per_prompt_vocab else None,
            "constrain": fixed,
            "trace": self.trace,
            "device": self.device,
        }
