"""A second sampler for tests: one row, plain Python numbers, no batch. Its filters are a list that can be reordered.

It is written from the description of `sampling.py` and shares no line with it. Columns are those of the motion span:
0 begin, 1 end, 2 + code.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from motiongpt.config import SampleConfig
from motiongpt.lengths import Limits

NEVER = -math.inf


@dataclass
class Row:
    """What one row knows when it draws. `counted`: columns that penalty and ban count, outside the span too."""

    config: SampleConfig
    limits: Limits
    allowed: set[int]
    fixed: Mapping[int, int] = field(default_factory=dict)
    counted: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)


def penalty(scores: list[float], row: Row) -> list[float]:
    factor = row.config.repetition_penalty
    seen = set(row.counted)
    return [
        (score * factor if score < 0 else score / factor) if column in seen else score
        for column, score in enumerate(scores)
    ]


def slope(scores: list[float], row: Row) -> list[float]:
    past = max(0, len(row.codes) - row.limits.target)
    return [scores[0], scores[1] + row.config.end_logit_slope * past, *scores[2:]]


def mask(scores: list[float], row: Row) -> list[float]:
    written = len(row.codes)
    end = scores[1] if written >= row.limits.hard_min else NEVER
    room = written < row.limits.hard_max
    return [NEVER, end, *(score if room and code in row.allowed else NEVER for code, score in enumerate(scores[2:]))]


def ban(scores: list[float], row: Row) -> list[float]:
    n, told = row.config.no_repeat_ngram, row.counted
    if not n or len(told) < n:
        return scores
    before = told[len(told) - n + 1 :]
    repeats = {told[i + n - 1] for i in range(len(told) - n + 1) if told[i : i + n - 1] == before}
    left = [NEVER if column in repeats else score for column, score in enumerate(scores)]
    return scores if max(left) == NEVER else left  # a ban that leaves nothing is lifted


def fixed(scores: list[float], row: Row) -> list[float]:
    code = row.fixed.get(len(row.codes))
    return scores if code is None else [0.0 if column == code + 2 else NEVER for column in range(len(scores))]


def temperature(scores: list[float], row: Row) -> list[float]:
    if row.config.temperature == 0:
        best = scores.index(max(scores))
        return [0.0 if column == best else NEVER for column in range(len(scores))]
    return [score / row.config.temperature for score in scores]


def top_k(scores: list[float], row: Row) -> list[float]:
    k = row.config.top_k
    least = sorted(scores, reverse=True)[min(k, len(scores)) - 1] if k else NEVER
    return [score if score >= least else NEVER for score in scores]


def top_p(scores: list[float], row: Row) -> list[float]:
    if row.config.top_p == 1:
        return scores
    p, kept, total = softmax(scores), set(), 0.0
    for column in sorted(range(len(p)), key=lambda column: -p[column]):
        kept.add(column)
        total += p[column]
        if total >= row.config.top_p:
            break
    return [score if column in kept else NEVER for column, score in enumerate(scores)]


FILTERS = (penalty, slope, mask, ban, fixed, temperature, top_k, top_p)


def softmax(scores: Sequence[float]) -> list[float]:
    best = max(scores)
    powers = [math.exp(score - best) for score in scores]
    return [power / sum(powers) for power in powers]


def probabilities(logits: Sequence[float], row: Row, filters: Sequence[Callable] = FILTERS) -> list[float]:
    """The closed form: the probability of every column."""
    scores = list(logits)
    for step in filters:
        scores = step(scores, row)
    return softmax(scores)


def motions(
    logits_of: Callable[[list[int]], Sequence[float]], row: Row, filters: Sequence[Callable] = FILTERS
) -> dict[tuple[int, ...], float]:
    """Every motion that a row may write, with its probability. `logits_of` gets the codes so far."""
    if len(row.codes) == row.limits.hard_max:
        return {tuple(row.codes): 1.0}
    found: dict[tuple[int, ...], float] = {}
    for column, p in enumerate(probabilities(logits_of(row.codes), row, filters)):
        if p == 0:
            continue
        if column == 1:
            found[tuple(row.codes)] = p
            continue
        longer = Row(
            row.config, row.limits, row.allowed, row.fixed, [*row.counted, column], [*row.codes, column - 2]
        )  # fmt: skip
        found |= {motion: p * rest for motion, rest in motions(logits_of, longer, filters).items()}
    return found


def write_motion(logits_of: Callable[[list[int]], Sequence[float]], row: Row, seed: int) -> list[int]:
    """One motion, by inverse CDF from the numbers of a seed. `row` is used up."""
    generator = torch.Generator().manual_seed(seed)
    for u in torch.rand(row.limits.hard_max, generator=generator, dtype=torch.float64).tolist():
        p = probabilities(logits_of(row.codes), row)
        possible = [column for column, share in enumerate(p) if share > 0]
        column = next((column for column in possible if sum(p[: column + 1]) > u), possible[-1])
        if column == 1:
            break
        row.codes.append(column - 2)
        row.counted.append(column)
    return row.codes
