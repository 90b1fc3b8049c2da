"""The sampler against `naive_sampler.py`: the same motions from the same seeds, and the distribution of all motions.

The naive one writes a row at a time in plain Python, so whatever both agree on is no matter of batches, padding,
finished neighbours or the order of tensors.
"""

import math
import random
from collections import Counter
from types import SimpleNamespace

import naive_sampler
import pytest
import torch
from cases import for_each, seeded
from naive_sampler import FILTERS, Row, write_motion
from test_sampling import BEGIN_ID, CODES, HashModel, plain

from motiongpt.config import SampleConfig
from motiongpt.lengths import Limits, limits_from_length
from motiongpt.sampling import generate
from motiongpt.tasks.conditions import FixedCodes, place_codes

# 1) The same motions.


def random_case(rng: random.Random) -> dict:
    """A random model and, for one to five rows, prompts, limits, vocabularies, given codes, seeds; settings for all."""
    B = rng.randint(1, 5)
    config = SampleConfig(
        temperature=rng.choice([0.0, 0.0, 1e-3, 0.5, 1.0, 3.0]),
        top_k=rng.choice([0, 1, 3, 100]),
        top_p=rng.choice([1e-6, 0.5, 0.9, 1.0]),
        repetition_penalty=rng.choice([0.5, 1.0, 1.5]),
        penalty_scope=rng.choice(["all", "motion"]),
        no_repeat_ngram=rng.choice([0, 0, 1, 2, 3]),
        end_logit_slope=rng.choice([0.0, 0.25, 5.0]),
        max_new_tokens=rng.choice([1, 4, 256, 256]),
    )
    rows = []
    for _ in range(B):
        hard_min = rng.randint(1, 8)
        target = hard_min + rng.randint(0, 4)
        limits = Limits(hard_min, target, target + rng.randint(0, 4))
        if rng.random() < 0.3:
            limits = limits_from_length(hard_min, exact=True)
        limits = limits.capped(config.max_new_tokens)
        places = rng.sample(range(limits.hard_max), min(limits.hard_max, rng.choice([0, 0, 1, 3])))
        given, limits = place_codes({place: rng.randrange(CODES) for place in places}, limits, CODES)
        allowed = {code for code in range(CODES) if rng.random() < 0.3} | {rng.randrange(CODES)}
        allowed = allowed if rng.random() < 0.6 else set(range(CODES))
        prompt = [rng.randrange(BEGIN_ID + 2 + CODES) for _ in range(rng.randint(0, 6))]
        rows.append(
            SimpleNamespace(prompt=prompt, limits=limits, given=given, allowed=allowed, seed=rng.getrandbits(63))
        )
    model = HashModel(scale=rng.choice([0.3, 2.0, 8.0]), states=rng.choice([5, 101, 997]))
    return {"model": model, "config": config, "rows": rows}


def write(model: HashModel, config: SampleConfig, rows: list) -> list[list[int]]:
    """The rows in one batch."""
    given = [row.given for row in rows]
    return generate(
        model,
        [row.prompt for row in rows],
        begin_id=BEGIN_ID,
        codes=CODES,
        limits=[row.limits for row in rows],
        seeds=[row.seed for row in rows],
        config=config,
        allowed=torch.tensor([[code in row.allowed for code in range(CODES)] for row in rows]),
        constrain=FixedCodes(given) if any(given) else None,
    )


def write_naively(model: HashModel, config: SampleConfig, row: SimpleNamespace) -> list[int]:
    prompt = [*row.prompt, BEGIN_ID]

    def logits_of(codes: list[int]) -> list[float]:
        state = 1
        for i in [*prompt, *(BEGIN_ID + 2 + code for code in codes)]:
            state = (state * 31 + i + 7) % len(model.table)
        return model.table[state, BEGIN_ID:].tolist()

    counted = [i - BEGIN_ID for i in prompt] if config.penalty_scope == "all" else []
    return write_motion(logits_of, Row(config, row.limits, row.allowed, row.given, counted), row.seed)


def check_case(case: dict, rng: random.Random) -> list[list[int]]:
    """All promises of the sampler for one case."""
    model, config, rows = case["model"], case["config"], case["rows"]
    written = write(model, config, rows)
    for row, codes in zip(rows, written, strict=True):
        assert row.limits.hard_min <= len(codes) <= row.limits.hard_max
        assert all(codes[place] == code for place, code in row.given.items())
        assert all(code in row.allowed for place, code in enumerate(codes) if place not in row.given)
        assert codes == write_naively(model, config, row)
    order = rng.sample(range(len(rows)), rng.randint(1, len(rows)))  # some of the rows, in another order
    assert write(model, config, [rows[b] for b in order]) == [written[b] for b in order]
    return written


@pytest.mark.slow
def test_2000_random_cases_keep_every_promise_and_equal_the_naive_sampler():
    """Lengths within limits and exact ones exactly, allowed codes only, given codes kept, a row the same in any batch
    and order, and every code the one that the naive sampler draws: at temperature 0 the argmax of what is allowed.

    The two round differently, by 1e-7 of the float32 logits; among some 10,000 draws none lies that near to an edge.
    """
    rng = random.Random(0)
    seen = Counter()
    for number in range(2000):
        case = random_case(rng)
        try:
            written = check_case(case, rng)
        except AssertionError as error:
            raise AssertionError(f"case {number}: {case['config']}, {case['rows']}") from error
        for row, codes in zip(case["rows"], written, strict=True):
            limits = row.limits
            seen["exact"] += limits.hard_min == limits.hard_max
            seen["ended by itself"] += limits.hard_min <= len(codes) < limits.hard_max
            seen["ended at the limit"] += limits.hard_min < len(codes) == limits.hard_max
            seen["given"] += bool(row.given)
            seen["greedy"] += case["config"].temperature == 0
    assert min(seen.values()) > 300 and len(seen) == 5, seen  # every way to end and every kind of row occurred


def test_some_random_cases():
    """The same for 60 cases, for the quick tests."""
    rng = random.Random(1)
    for _ in range(60):
        check_case(random_case(rng), rng)


# 2) The distribution of whole motions.

N, DRAWS = 5, 100_000


class TableModel:
    """Logits are a table over the position and the last column: (positions, N + 2, N + 2)."""

    training = False

    def __init__(self, positions: int = 8) -> None:
        self.table = torch.randn(positions, N + 2, N + 2, generator=seeded(3)) * 0.5  # so that no motion takes it all

    def new_cache(self, B, T):
        return SimpleNamespace(position=-1)

    def hidden(self, ids, cache, start):
        cache.position += 1
        last = ids[:, -1] - BEGIN_ID
        return torch.stack([torch.full_like(last, cache.position), last], -1)[:, None]  # (B, 1, 2)

    def logits(self, hidden, span):
        assert span == (BEGIN_ID, BEGIN_ID + 2 + N)
        return self.table[hidden[:, 0], hidden[:, 1]]

    def after(self, codes: list[int]) -> list[float]:
        """The same logits for the naive sampler."""
        return self.table[len(codes), codes[-1] + 2 if codes else 0].tolist()


def draw_motions(model: TableModel, row: Row, draws: int = DRAWS) -> Counter:
    """As many motions, each from a seed of its own, 20,000 to a batch."""
    drawn: Counter = Counter()
    allowed = torch.tensor([[code in row.allowed for code in range(N)]])
    B = 20_000
    for first in range(0, draws, B):
        batch = generate(
            model, [[1]] * B, begin_id=BEGIN_ID, codes=N, limits=[row.limits] * B, seeds=range(first, first + B),
            config=row.config, allowed=allowed.expand(B, N),
        )  # fmt: skip
        drawn.update(map(tuple, batch))
    return drawn


def excess(drawn: Counter, p: dict[tuple[int, ...], float]) -> float:
    """How many standard deviations the chi-square of the motions lies above what their closed form allows.

    Motions expected less than 5 times count as one kind. A motion that cannot be drawn, but was, is infinitely far.
    Wilson and Hilferty (1931): the cube root of chi-square / df is nearly normal, mean 1 - 2 / (9 df), variance
    2 / (9 df).
    """
    if not drawn.keys() <= p.keys():
        return math.inf
    draws = drawn.total()
    kinds = [(drawn[motion], draws * share) for motion, share in p.items() if draws * share >= 5]
    rare = (draws - sum(seen for seen, _ in kinds), draws - sum(expected for _, expected in kinds))
    kinds += [rare] if rare[1] >= 5 else []
    chi_square = sum((seen - expected) ** 2 / expected for seen, expected in kinds)
    df = len(kinds) - 1
    return ((chi_square / df) ** (1 / 3) - (1 - 2 / (9 * df))) / math.sqrt(2 / (9 * df))


ALL_TOGETHER = plain(
    temperature=0.7, top_k=4, top_p=0.9, repetition_penalty=1.6, penalty_scope="motion", no_repeat_ngram=2,
    end_logit_slope=0.8,
)  # fmt: skip
WHOLE = Row(ALL_TOGETHER, Limits(2, 3, 5), allowed={0, 1, 3, 4})


@pytest.fixture(scope="module")
def whole() -> tuple[TableModel, Counter]:
    model = TableModel()
    return model, draw_motions(model, WHOLE)


@pytest.mark.slow
def test_100000_motions_follow_the_closed_form_with_all_filters_together(whole):
    """Penalty, ban, mask, slope, temperature, top-k and top-p at once; above 3.1 deviations has odds of 1 in 1,000."""
    model, drawn = whole
    closed = naive_sampler.motions(model.after, WHOLE)
    assert sum(closed.values()) == pytest.approx(1, abs=1e-9) and len(closed) > 400
    assert {len(motion) for motion in drawn} == {2, 3, 4, 5}
    assert excess(drawn, closed) < 3.1


@pytest.mark.slow
@for_each("left_out", [step for step in FILTERS if step.__name__ != "fixed"])
def test_every_filter_shows_in_the_distribution(left_out, whole):
    """Without any one of them the closed form is another one, which the draws do not follow."""
    model, drawn = whole
    assert excess(drawn, naive_sampler.motions(model.after, WHOLE, [f for f in FILTERS if f != left_out])) > 20


@pytest.mark.slow
@for_each(
    "first, second",
    [
        ("penalty", "top_k"), ("slope", "temperature"), ("slope", "top_p"), ("mask", "top_k"), ("mask", "top_p"),
        ("ban", "top_k"), ("ban", "top_p"), ("temperature", "top_p"), ("top_k", "top_p"),
    ],
)  # fmt: skip
def test_the_order_of_the_filters_shows_in_the_distribution(first, second, whole):
    """With `first` moved behind `second` the closed form is another one."""
    model, drawn = whole
    moved = next(step for step in FILTERS if step.__name__ == first)
    order = [step for step in FILTERS if step != moved]
    order.insert(1 + [step.__name__ for step in order].index(second), moved)
    assert excess(drawn, naive_sampler.motions(model.after, WHOLE, order)) > 20


@pytest.mark.slow
@for_each(
    "changes, limits, allowed",
    [
        ({"top_k": 2, "top_p": 1.0}, Limits(1, 1, 5), {0, 1, 2, 3, 4}),
        ({"temperature": 2.5, "top_k": 0, "top_p": 0.6, "repetition_penalty": 0.5}, Limits(1, 2, 4), {0, 1, 2, 3, 4}),
        ({"temperature": 1.0, "top_k": 0, "top_p": 1.0, "no_repeat_ngram": 1}, Limits(3, 3, 5), {0, 2, 3, 4}),
        # two codes and five to write: after 1, 1, 4, 1 the ban would leave nothing and is lifted
        ({"temperature": 1.5, "no_repeat_ngram": 2, "top_k": 0}, Limits(5, 5, 7), {1, 4}),
        ({"penalty_scope": "all", "no_repeat_ngram": 3, "end_logit_slope": 3.0}, Limits(2, 2, 6), {0, 1, 2}),
    ],
)
def test_other_settings_follow_their_closed_forms(changes, limits, allowed):
    model = TableModel()
    row = Row(plain(**{**ALL_TOGETHER.to_dict(), **changes}), limits, allowed)
    # scope "all" counts the prompt too, id 1 and <MOT_BEGIN>
    row.counted = [1 - BEGIN_ID, 0] if row.config.penalty_scope == "all" else []
    assert excess(draw_motions(model, row, 40_000), naive_sampler.motions(model.after, row)) < 3.1
