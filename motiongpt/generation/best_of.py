"""Many motions from one model: in batches of similar length, several samples of each prompt, or the best of several.

    write(prompts, seeds)    the caller's own: one motion for each number of a prompt and its seed, as one batch

Candidate k of a prompt is the motion of the seed `seed + k * SEED_STEP`, so candidate 0 is the motion of the seed
itself and every other one can be written again by its own seed. A motion depends on its prompt and seed and not on its
batch (exactly so in fp32 on a CPU): batches change how long it takes, never what comes out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from motiongpt.data.batches import by_length

Motion = TypeVar("Motion")  # whatever `write` returns
Write = Callable[[list[int], list[int]], Sequence[Motion]]

SEED_STEP = 1_000_000  # between candidates; more than the prompts of any file, whose seeds are consecutive
# Rows of a batch. 96 captions of the demo on one CPU core: 3.3 s in batches of 8, 1.9 s of 32, 2.3 s as one batch.
# 32 rows of 300 positions are 2.2 GB of cache for a model of 0.6b in float32.
ROWS = 32


def candidate_seeds(seed: int, samples: int) -> list[int]:
    """The seeds of a prompt's candidates. seed 7, 3 samples -> [7, 1000007, 2000007]."""
    return [seed + k * SEED_STEP for k in range(samples)]


def write_samples(
    write: Write[Motion], seeds: Sequence[int], lengths: Sequence[int], *, samples: int = 1, rows: int = ROWS
) -> list[list[Motion]]:
    """`samples` motions of every prompt, in the order of the prompts and of `candidate_seeds`.

    Args:
        write: called as write(prompts, seeds) with at most `rows` numbers of prompts, which may repeat, and as many
            seeds.
        seeds: one per prompt.
        lengths: about how many codes each prompt gets, such as `Limits.target`: a batch takes as long as its longest
            row, so rows of similar length go together.

    Raises ValueError for counts below 1, and if seeds and lengths, or a batch and its motions, differ in number.
    """
    written: list[list[Motion]] = [[] for _ in seeds]
    for prompt, motion in _candidates(write, seeds, lengths, samples, rows):
        written[prompt].append(motion)
    return written


def write_best(
    write: Write[Motion],
    seeds: Sequence[int],
    lengths: Sequence[int],
    score: Callable[[Motion], float],
    *,
    samples: int,
    rows: int = ROWS,
) -> list[Motion]:
    """The motion with the largest score among `samples` of every prompt, in the order of the prompts.

    Of equal scores the first wins. NaN loses to every number, minus infinity too; if all are NaN it is the first.
    Only the best motion so far is kept of each prompt. Arguments and errors are those of `write_samples`.
    """
    best: dict[int, tuple[tuple[bool, float], Motion]] = {}
    for prompt, motion in _candidates(write, seeds, lengths, samples, rows):
        value = float(score(motion))
        rank = (False, 0.0) if math.isnan(value) else (True, value)
        if prompt not in best or rank > best[prompt][0]:
            best[prompt] = (rank, motion)
    return [best[prompt][1] for prompt in range(len(seeds))]


def _candidates(
    write: Write[Motion], seeds: Sequence[int], lengths: Sequence[int], samples: int, rows: int
) -> Iterator[tuple[int, Motion]]:
    """(number of the prompt, motion) for every candidate, batch by batch; those of one prompt in their order."""
    if samples < 1 or rows < 1:
        raise ValueError(f"samples and rows of a batch must be at least 1, got {samples} and {rows}")
    if len(seeds) != len(lengths):
        raise ValueError(f"every prompt needs a seed and a length, got {len(seeds)} seeds and {len(lengths)} lengths")
    jobs = [
        (prompt, length, own)
        for prompt, (seed, length) in enumerate(zip(seeds, lengths, strict=True))
        for own in candidate_seeds(seed, samples)
    ]
    for batch in by_length([length for _, length, _ in jobs], rows):  # stable: equal lengths keep their order
        prompts = [jobs[j][0] for j in batch]
        motions = write(prompts, [jobs[j][2] for j in batch])
        yield from zip(prompts, motions, strict=True)
