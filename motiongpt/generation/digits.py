"""Motions that a model writes as decimal text, "42,18,91": sampling, and reading what was written.

Only digits, commas and the end may be written. Nothing else is sure: a number may be no code of the codebook, and the
text may stop in the middle of one. Such numbers are left out and reported; none of it is an error. Lengths have an
upper bound only. Given codes are told to the model and not forced on it, since a position of the text is no position
of the motion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from motiongpt.config import SampleConfig
from motiongpt.generation.text import generate_text
from motiongpt.lengths import Limits
from motiongpt.stages.model import LoadedRun
from motiongpt.tasks.digits import ids_made_of, parse_digits, tokens_per_code

DIGITS = "0123456789,"
START_TOKENS = 2  # a space before the first number, and the end


@dataclass(frozen=True)
class DigitMotion:
    """A motion that was written as text. `faults` has a line for each thing that is wrong; `codes` may be empty."""

    codes: list[int]
    text: str
    faults: tuple[str, ...] = ()


def write_digits(
    run: LoadedRun,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[Limits],
    seeds: Sequence[int],
    config: SampleConfig,
    given: Sequence[Mapping[int, int]] | None = None,
    device: torch.device | str = "cpu",
) -> list[DigitMotion]:
    """Write one motion for each request (ids) of a run that writes motions as digits.

    Repetition penalty and n-gram ban are off: they would take the digits away. `config.max_new_tokens` counts codes.

    Args:
        limits: of the length in codes. What is longer than `hard_max` is cut, what is shorter than `hard_min` reported.
        given: for each request, position -> code that the motion should have; a line says where it has not.

    Raises ValueError for a prompt that leaves the model no position to write to, and like `text.generate_text`.
    """
    text_tokenizer = run.vocab.text_tokenizer
    limits = [row.capped(config.max_new_tokens) for row in limits]
    per_code = tokens_per_code(text_tokenizer, run.config.codes)
    room = run.llm.config.max_positions
    budgets = [
        min(START_TOKENS + per_code * row.hard_max, room - len(ids)) for row, ids in zip(limits, prompts, strict=True)
    ]
    if min(budgets, default=1) < 1:
        raise ValueError(f"the prompt has {max(map(len, prompts))} tokens, the model {room} positions: shorten it")
    # rows of a batch take the positions of the longest prompt and of the longest motion; then each is written alone
    together = max(map(len, prompts)) + max(budgets) <= room
    allowed = ids_made_of(text_tokenizer, DIGITS)
    written: list[list[int]] = []
    for rows in [slice(None)] if together else [slice(b, b + 1) for b in range(len(prompts))]:
        written += generate_text(
            run.model,
            prompts[rows],
            first_id=run.vocab.first_id,
            stop_ids=[run.renderer.frame.stop_id],
            seeds=seeds[rows],
            config=replace(config, repetition_penalty=1.0, no_repeat_ngram=0),
            max_new_tokens=max(budgets[rows]),
            allowed=allowed,
            min_new_tokens=1,
            device=device,
        )
    wanted = given or [{}] * len(prompts)
    rows = zip(written, budgets, limits, wanted, strict=True)
    return [read_digits(run, ids[:budget], len(ids) >= budget, row, kept) for ids, budget, row, kept in rows]


def read_digits(
    run: LoadedRun, ids: Sequence[int], is_cut: bool, limits: Limits, given: Mapping[int, int]
) -> DigitMotion:
    """The motion of some ids. `is_cut`: no end was written, so the last number may be unfinished and is left out."""
    text = run.vocab.text_tokenizer.decode(ids)
    finished = text[: text.rfind(",") + 1] if is_cut else text
    codes, faults = parse_digits(finished, run.config.codes)
    if len(codes) > limits.hard_max:
        faults.append(f"{len(codes)} codes were written, the first {limits.hard_max} are kept")
        codes = codes[: limits.hard_max]
    elif is_cut:
        faults.append(f"the text was cut off after {len(ids)} tokens, its last number is left out")
    if len(codes) < limits.hard_min:
        faults.append(f"{len(codes)} codes were written, at least {limits.hard_min} were wanted")
    lost = [position for position, code in sorted(given.items()) if codes[position : position + 1] != [code]]
    if lost:
        faults.append(f"given codes are not at their positions: {', '.join(map(str, lost[:8]))}")
    return DigitMotion(codes, text, tuple(faults))
