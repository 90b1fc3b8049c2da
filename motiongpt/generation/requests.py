"""From what a caller wants to what the sampler gets: one `Row` for each motion.

sentence, task, seconds, given codes  ->  ids of the request, limits, codes that are kept, seed
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import torch

from motiongpt.config import SampleConfig
from motiongpt.data.spelling import says_something, visible_text
from motiongpt.lengths import (
    Limits,
    codes_for_seconds,
    limits_from_guess,
    limits_from_length,
    limits_from_median,
    limits_from_source,
)
from motiongpt.stages.model import TEMPLATES, LoadedRun
from motiongpt.stages.run_folder import stage_folder
from motiongpt.tasks.conditions import place_given
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.table import FROM_TEMPLATES, TABLE, TASKS, TEXT_OPTIONAL

MAX_PROMPT = 10_000  # characters
ROOM_FOR_PROMPT = 64  # tokens
REMEDY = "write what the person does, such as 'a person walks forward'"


@dataclass(frozen=True)
class Row:
    """One motion to write."""

    text: str  # the sentence as it was given, "" without one
    read: str  # the sentence as the model reads it
    ids: list[int]
    limits: Limits  # of what is written
    fixed: Mapping[int, int]  # position -> code, of what is written
    before: tuple[int, ...]  # codes of the motion that are given and not written again
    seed: int


@dataclass(frozen=True)
class Wanted:
    """What a caller wants of one motion."""

    prompt: str | None
    participant: str | None
    seconds: float | None  # None: as long as the sentence had it in training, and as the model stops by itself
    given: Mapping[int, int]
    seed: int


def request_room(run: LoadedRun, max_new_tokens: int) -> int:
    """How many codes one request has room for, beside a sentence of usual length."""
    return min(max_new_tokens, run.llm.config.max_positions - ROOM_FOR_PROMPT)


def plan_row(
    run: LoadedRun, task: str, wanted: Wanted, exact: bool, max_new_tokens: int, source: Sequence[int] = ()
) -> Row:
    """The row of one motion. `source` is the motion that edit changes.

    Raises ValueError for a length that cannot be kept, given codes that do not fit, and an unknown participant.
    """
    if bool(source) != TABLE[task].of_pairs:
        raise ValueError(f"task {task} {'changes a motion, and there is none' if not source else 'changes no motion'}")
    text = wanted.prompt or ""
    read = run.prompts.spelling(text) if text else ""
    limits = limits_of(run, read, wanted.seconds, exact)
    if wanted.seconds is not None and limits.target > max_new_tokens:
        raise ValueError(
            f"--seconds {wanted.seconds:g} is {limits.target} codes, --max-new-tokens allows {max_new_tokens}"
        )
    if wanted.seconds is None and source:
        room = run.llm.config.max_positions - 2 * ROOM_FOR_PROMPT - len(source)
        limits = limits_from_source(len(source)).capped(max(1, room))
    timed = wanted.seconds is not None
    codes = run.config.codes
    fixed, limits = place_given(task, wanted.given, limits, timed, codes=codes, max_new_tokens=max_new_tokens)
    # the length is told if it is wanted, or if the given codes fix it
    told = timed or task == "inbetween" or min(wanted.given, default=0) < 0
    before: tuple[int, ...] = ()
    templates = run.renderer.templates
    # a task that the stage never learnt, or not with a sentence, is asked as t2m: then only sampling knows the codes
    worded = not read or TABLE[task].of_pairs or templates.for_sampling(task, True, told) is not None
    if task == "t2m" or not learnt(run, task) or not worded:
        told = told and templates.tells_length("t2m")
        request = Request("t2m", run.renderer.read(read), length=limits.target if told else None,
                          participant=wanted.participant)  # fmt: skip
    else:
        length = limits.target if told else None
        request = Request(task, run.renderer.read(read), source, fixed, length, wanted.participant)
        if answers_rest(run, request):
            before = tuple(code for _, code in sorted(fixed.items()))
            rest = max(1, limits.hard_min - len(before)), max(1, limits.target - len(before))
            limits = Limits(*rest, max(1, limits.hard_max - len(before)))
            fixed = {}
    return Row(text, read, run.renderer.request(request), limits, fixed, before, wanted.seed)


def shortened(config: SampleConfig, first: int | None) -> SampleConfig:
    """`config` for the first so many tokens only; None for all of them."""
    return config if first is None else replace(config, max_new_tokens=min(first, config.max_new_tokens))


def learnt(run: LoadedRun, task: str) -> bool:
    """Whether the loaded stage was trained on this task, in words that it still has.

    An older stage without templates.json was asked for the newer tasks in words that are gone.
    """
    worded = (stage_folder(run.folder, run.stage) / TEMPLATES).is_file()
    return task in run.meta["tasks"] and (worded or task not in FROM_TEMPLATES)


def answers_rest(run: LoadedRun, request: Request) -> bool:
    """Whether the stage answers this request with the codes after the given ones only."""
    found = run.renderer.templates.for_sampling(request.task, bool(request.caption), request.length is not None)
    return found is not None and found[1].answers_rest


def limits_of(run: LoadedRun, text: str, seconds: float | None = None, exact: bool = False) -> Limits:
    """How many codes a prompt may get.

    Without `seconds` they come from the lengths this caption had in training. A new sentence gets looser limits,
    from the captions most like it. Raises ValueError for `seconds` that are not positive.
    """
    if seconds is not None:
        if not 0 < seconds < math.inf:
            raise ValueError(f"--seconds must be positive, got {seconds:g}")
        return limits_from_length(codes_for_seconds(seconds, run.config.fps, run.config.frames_per_code), exact)
    expected = run.prompts.expected_length(text)
    return limits_from_guess(expected) if run.prompts.find(text) is None else limits_from_median(expected)


def usual_length(run: LoadedRun, text: str) -> int:
    """The length in codes of the caption in training, or of the captions most like it."""
    return run.prompts.expected_length(run.prompts.spelling(text))


def allowed_codes(run: LoadedRun, rows: Sequence[Row]) -> torch.Tensor:
    """(B, N) bool: the codes that training showed with each caption, all codes for a new sentence."""
    allowed = torch.ones(len(rows), run.config.codes, dtype=torch.bool)
    for may, row in zip(allowed, rows, strict=True):
        known = run.prompts.find(row.read) if row.read else None
        if known:
            may[:] = False
            may[known["codes"]] = True
    return allowed


def check_room(run: LoadedRun, ids: Sequence[Sequence[int]], new: int) -> None:
    """ValueError if the longest prompt, <MOT_BEGIN> and `new` tokens exceed the model's positions."""
    room = run.llm.config.max_positions
    longest = max(map(len, ids))
    most = room - 1 - new  # 1 for <MOT_BEGIN>
    if longest > most:
        raise ValueError(
            f"prompt and motion need {longest + 1 + new} tokens, the model has {room} positions: shorten the "
            f"prompt of {longest} tokens to at most {max(0, most)}, or lower --seconds or --max-new-tokens"
        )


def check_prompts(run: LoadedRun, prompt: str | None | Sequence[str | None], task: str) -> list[str | None]:
    """One sentence or several as a list. ValueError if one says nothing, is too long or no text.

    None is for tasks without a sentence, if the stage learnt them. A task that changes a motion must have been learnt.
    """
    if task not in TABLE:
        raise ValueError(f"there is no task {task!r}; there are: {', '.join(TASKS)}")
    if TABLE[task].of_pairs and not learnt(run, task):
        raise ValueError(f"this stage never learnt {task}; to train it: finetune.py --tasks t2m {task}")
    prompts = [prompt] if isinstance(prompt, str) or not isinstance(prompt, Iterable) else list(prompt)
    if not prompts:
        raise ValueError("there is no prompt: give one sentence or a list of them")
    for text in prompts:
        if text is None and task in TEXT_OPTIONAL:
            if not learnt(run, task):
                raise ValueError(
                    f"this stage never learnt {task}, so it needs a sentence, --prompt; the given codes are kept. "
                    f"To train it: finetune.py --tasks t2m {task}"
                )
            continue
        if not isinstance(text, str):
            raise ValueError(f"a prompt is a sentence, a str, got {type(text).__name__}: {text!r:.60}")
        if len(text) > MAX_PROMPT:
            raise ValueError(f"the prompt has {len(text)} characters, at most {MAX_PROMPT} are read")
        if not visible_text(text).strip():
            raise ValueError(f"the prompt is empty{_shown(text)}: {REMEDY}")
        # a caption of training is a prompt whatever it consists of
        if not says_something(text) and run.prompts.find(text) is None:
            raise ValueError(f"the prompt has no letter, digit or emoji{_shown(text)}: {REMEDY}")
    return prompts


def _shown(text: str) -> str:
    """What was given, in ASCII, since it may be invisible; nothing for a text of plain spaces."""
    return f", {text[:20]!a}" if text.strip() else ""


def per_row(value, B: int, name: str) -> list:
    """A list with one value per row, from one value for all of them or from such a list."""
    if value is None or isinstance(value, str | Real):
        return [value] * B
    if len(value) != B:
        raise ValueError(f"{name}: {len(value)} values for {B} prompts")
    return list(value)
