"""Several samples and the best of them, with a `write` that notes its calls, and with the sampler itself."""

import math
import random

import pytest
from cases import for_each
from test_sampling import BEGIN_ID, CODES, HashModel, plain

from motiongpt.generation.best_of import SEED_STEP, candidate_seeds, write_best, write_samples
from motiongpt.lengths import limits_from_median
from motiongpt.sampling import generate


class Calls:
    """A motion is its prompt and seed; `batches` has the prompts of every call."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, prompts, seeds):
        self.batches.append(list(prompts))
        return list(zip(prompts, seeds, strict=True))


def test_candidates_worked_example():
    assert candidate_seeds(7, 3) == [7, 1_000_007, 2_000_007]
    write = Calls()
    assert write_samples(write, [5, 6], [20, 10], samples=2) == [
        [(0, 5), (0, 5 + SEED_STEP)],
        [(1, 6), (1, 6 + SEED_STEP)],
    ]
    assert write.batches == [[1, 1, 0, 0]]  # the short ones first
    assert write_samples(write, [5, 6], [20, 10]) == [[(0, 5)], [(1, 6)]]
    assert write_samples(write, [], []) == [] == write_best(write, [], [], score=len, samples=3)
    assert len(write.batches) == 2


def test_batches_are_small_alike_in_length_and_in_no_order_that_shows():
    rng = random.Random(0)
    for _ in range(200):
        n, samples, rows = rng.randint(1, 40), rng.randint(1, 5), rng.randint(1, 9)
        lengths, seeds = [rng.randint(1, 60) for _ in range(n)], [rng.randrange(1000) for _ in range(n)]
        write = Calls()
        written = write_samples(write, seeds, lengths, samples=samples, rows=rows)
        assert written == [[(i, s) for s in candidate_seeds(seed, samples)] for i, seed in enumerate(seeds)]
        assert [len(batch) for batch in write.batches[:-1]] == [rows] * (-(-n * samples // rows) - 1)
        assert [lengths[i] for batch in write.batches for i in batch] == sorted(lengths * samples)
        value = {motion: rng.randint(0, 3) for row in written for motion in row}  # few values, so that many are equal
        best = write_best(write, seeds, lengths, value.get, samples=samples, rows=rows)
        assert best == [max(row, key=value.get) for row in written]  # max takes the first of equals


@for_each(
    "scores, best",
    [
        ([1.0, 3.0, 2.0], 1),
        ([2.0, 2.0, 1.0], 0),
        ([math.nan, -5.0, -6.0], 1),
        ([-5.0, math.nan, -4.0], 2),
        ([math.nan, -math.inf, math.nan], 1),
        ([math.nan, math.nan, math.nan], 0),
        ([-math.inf, -math.inf, math.nan], 0),
        ([1.0, math.inf, math.inf], 1),
    ],
)
def test_the_largest_number_wins(scores, best):
    def score(motion):
        return scores[motion[1] // SEED_STEP]

    for rows in (1, 2, 32):
        assert write_best(Calls(), [0], [9], score, samples=3, rows=rows) == [(0, best * SEED_STEP)]


def test_a_motion_that_lost_is_not_kept():
    """Of 50 candidates no more than the best, the newest and those of one batch are alive at once."""
    alive, most = 0, 0

    class Heavy:
        def __init__(self, seed):
            nonlocal alive, most
            self.seed, alive = seed, alive + 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    best = write_best(lambda _, seeds: list(map(Heavy, seeds)), [0], [9], lambda m: -m.seed, samples=50, rows=2)
    assert [motion.seed for motion in best] == [0] and most <= 6


def test_samples_in_batches_are_those_of_one_batch_and_of_one_prompt():
    """Through the sampler: candidate 0 is today's motion of the seed, and each other one that of its own seed."""
    model, rng = HashModel(), random.Random(2)
    prompts = [[rng.randrange(BEGIN_ID) for _ in range(rng.randint(1, 9))] for _ in range(30)]
    limits = [limits_from_median(rng.randint(1, 30)) for _ in prompts]

    def write(rows, seeds):
        return generate(
            model, [prompts[i] for i in rows], begin_id=BEGIN_ID, codes=CODES, limits=[limits[i] for i in rows],
            seeds=seeds, config=plain(end_logit_slope=0.25, top_p=0.9),
        )  # fmt: skip

    seeds, lengths = range(100, 130), [row.target for row in limits]
    whole = write(range(30), seeds)
    assert [row[0] for row in write_samples(write, seeds, lengths, rows=4)] == whole
    several = write_samples(write, seeds, lengths, samples=3, rows=7)
    assert [row[0] for row in several] == whole
    assert several[4][2] == write([4], [104 + 2 * SEED_STEP])[0]
    longest = write_best(write, seeds, lengths, len, samples=3, rows=7)
    assert longest == [max(row, key=len) for row in several] != whole


@for_each(
    "changes, words",
    [
        ({"samples": 0}, "at least 1, got 0 and 32"),
        ({"rows": 0}, "at least 1, got 1 and 0"),
        ({"lengths": [1]}, "2 seeds and 1 lengths"),
        ({"write": lambda prompts, seeds: [1]}, "shorter"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        write_samples(**{"write": Calls(), "seeds": [1, 2], "lengths": [3, 4], **changes})
