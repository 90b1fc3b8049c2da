"""The sampler against worked examples and transformers' filters; `test_sampling_reference.py` has random settings."""

import copy
import math
import random

import pytest
import torch
from cases import for_each, seeded

from motiongpt import sampling
from motiongpt.config import LLM_PRESETS, SampleConfig
from motiongpt.generation.text import generate_text
from motiongpt.kernels import likeliest
from motiongpt.lengths import Limits, limits_from_length
from motiongpt.llm import LLM
from motiongpt.sampling import generate, generate_steps, sample_next

BEGIN_ID, CODES = 40, 12
PLAIN = SampleConfig(temperature=1.0, top_p=1.0, end_logit_slope=0.0)


def plain(**changes) -> SampleConfig:
    return SampleConfig(**{**PLAIN.to_dict(), **changes})


class HashCache:
    """The hash of every row's history."""

    def __init__(self, B: int, T: int) -> None:
        self.state, self.length, self.capacity = torch.ones(B, dtype=torch.long), 0, T

    def take(self, rows: torch.Tensor) -> None:
        self.state = self.state[rows]


class HashModel:
    """A model without weights: each row's integer hash of its own history picks a row of a fixed table of logits.

    The arithmetic is in integers, so a row is exactly the same in any batch and with any padding.
    """

    training = False

    def __init__(self, vocab: int = BEGIN_ID + 2 + CODES, states: int = 997, scale: float = 2.0, table=None) -> None:
        generator = seeded(1)
        self.table = torch.randn(states, vocab, generator=generator) * scale if table is None else table

    def new_cache(self, B, T):
        return HashCache(B, T)

    def hidden(self, ids, cache, start):
        assert cache.length + ids.shape[1] <= cache.capacity, "the cache is smaller than what is fed"
        states = []
        for column in ids.T:
            real = torch.ones(len(ids), dtype=torch.bool) if start is None else cache.length >= start
            cache.state = torch.where(real, (cache.state * 31 + column + 7) % len(self.table), cache.state)
            cache.length += 1
            states.append(cache.state)
        return torch.stack(states, 1)[..., None]  # (B, T, 1)

    def logits(self, hidden, span):
        return self.table[hidden[:, 0], span[0] : span[1]]


def constant_model(logits: list[float]) -> HashModel:
    """The same logits for [begin, end, codes ...] after any history."""
    return HashModel(table=torch.tensor([[0.0] * BEGIN_ID + logits]))


def write(model, B=4, seeds=None, limits=Limits(3, 5, 8), config=PLAIN, prompts=None, **more):  # noqa: B008
    prompts = prompts or [list(range(1, 2 + b)) for b in range(B)]
    seeds = list(range(len(prompts))) if seeds is None else seeds
    limits = [limits] * len(prompts) if isinstance(limits, Limits) else limits
    more = {"begin_id": BEGIN_ID, "codes": CODES, **more}
    return generate(model, prompts, limits=limits, seeds=seeds, config=config, **more)


# filters


def test_length_mask_worked_example():
    codes = torch.tensor([[True, False, True]] * 4)
    written, done = torch.tensor([1, 2, 4, 1]), torch.tensor([False, False, False, True])
    mask = sampling.length_mask(codes, written, torch.tensor([[2, 3, 4]] * 4), done)
    assert mask.int().tolist() == [
        [0, 0, 1, 0, 1],  # below hard_min: only codes, never the begin marker
        [0, 1, 1, 0, 1],
        [0, 1, 0, 0, 0],  # at hard_max: the end
        [0, 1, 0, 0, 0],  # ended earlier: the end again
    ]


def test_left_pad_worked_example():
    ids, start = sampling.left_pad([[7], [8, 9, 10], []])
    assert ids.tolist() == [[0, 0, 7], [8, 9, 10], [0, 0, 0]]
    assert start.tolist() == [2, 0, 3]


def test_sample_next_worked_example():
    logits = torch.tensor([[0.25, 9.0, 0.75]]).log().expand(6, 3)
    allowed = torch.tensor([[True, False, True]]).expand(6, 3)
    uniform = torch.tensor([0.0, 0.24, 0.26, 0.5, 0.99, 1 - 2**-53], dtype=torch.float64)
    assert sample_next(logits, uniform, allowed, PLAIN).tolist() == [0, 0, 2, 2, 2, 2]


def test_the_ends_of_the_uniform_never_leave_the_allowed_ids():
    """0 takes the first allowed id; the largest float64 below 1, and a 1 rounded up from it, take the last."""
    logits = torch.randn(500, 30)
    allowed = torch.rand(500, 30) < 0.3
    allowed[:, 3] = True
    ids = torch.arange(30)
    for uniform, expected in (
        (0.0, torch.where(allowed, ids, 30).amin(1)),
        (1 - 2**-53, torch.where(allowed, ids, -1).amax(1)),
        (1.0, torch.where(allowed, ids, -1).amax(1)),
    ):
        index = sample_next(logits, torch.full((500,), uniform, dtype=torch.float64), allowed, PLAIN)
        assert torch.equal(index, expected)


def test_temperature_top_k_and_top_p_in_that_order_match_transformers():
    """Draws from 4,001 evenly spaced uniforms have the frequencies of transformers' three warpers and a softmax."""
    transformers = pytest.importorskip("transformers")
    uniform = (torch.arange(4001, dtype=torch.float64) + 0.5) / 4001
    for temperature, k, top_p in ((0.7, 0, 0.9), (1.5, 6, 1.0), (0.5, 10, 0.6), (2.0, 8, 0.8)):
        logits = torch.randn(1, 40) * 2
        scores = transformers.TemperatureLogitsWarper(temperature)(None, logits)
        scores = transformers.TopKLogitsWarper(k)(None, scores) if k else scores
        p = transformers.TopPLogitsWarper(top_p)(None, scores).softmax(-1)[0]
        config = SampleConfig(temperature=temperature, top_k=k, top_p=top_p)
        everything = torch.ones(4001, 40, dtype=torch.bool)
        drawn = torch.bincount(sample_next(logits.expand(4001, 40), uniform, everything, config), minlength=40) / 4001
        # an interval holds its share of the even points, give or take one, and float32 rounds
        assert (drawn - p).abs().max() < 1.1 / 4001


def test_ngram_ban_worked_example():
    tokens = torch.tensor([[5, 6, 7, 5, 6], [-1, -1, 5, -1, -1], [6, 6, 6, 6, 6]])
    banned = sampling.ngram_ban(tokens, 3, (5, 9))
    assert banned.int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert not sampling.ngram_ban(tokens[:, :2], 3, (5, 9)).any()


@for_each("k", [1, 3, 20, 100])
def test_top_k_matches_transformers(k):
    process = pytest.importorskip("transformers").TopKLogitsWarper(k)
    scores = torch.randn(64, 50).mul(3).round(decimals=1)  # rounded, so that ties with the k-th happen; they stay
    assert torch.equal(sampling.top_k_keep(scores, k), process(None, scores).isfinite())


def test_a_draw_among_few_ids_is_that_among_all(monkeypatch):
    """The quick way through the k likeliest, and ties with the k-th, where it gives way."""
    logits, uniform = torch.randn(2000, 300).mul(3), torch.rand(2000, dtype=torch.float64)
    allowed = torch.rand(2000, 300) < 0.5
    allowed[:100] = torch.arange(300) < 3  # fewer than k
    rounded = logits.round(decimals=1)
    for k, top_p in ((1, 1.0), (20, 0.9), (50, 1.0), (299, 0.5)):
        config = SampleConfig(temperature=0.8, top_k=k, top_p=top_p)
        ties = likeliest.top_k(rounded, k) is None
        assert likeliest.top_k(logits, k) is not None and ties
        found = [sample_next(each, uniform, allowed, config) for each in (logits, rounded)]
        with monkeypatch.context() as patch:
            patch.setattr(likeliest, "top_k", lambda scores, k: None)
            expected = [sample_next(each, uniform, allowed, config) for each in (logits, rounded)]
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@for_each("top_p", [1e-20, 0.01, 0.3, 0.9, 0.999])
def test_top_p_matches_transformers(top_p):
    process = pytest.importorskip("transformers").TopPLogitsWarper(top_p)
    scores = torch.randn(64, 200) * 3
    scores[:, 150:] = -math.inf
    keep = sampling.top_p_keep(scores.double().softmax(-1), top_p)
    # float64 on both sides: in float32 a tail within 1e-7 of 1 - top_p may fall on the other side
    assert torch.equal(keep, process(None, scores.double()).isfinite())
    assert keep.any(-1).all()


def test_top_p_worked_example():
    p = torch.tensor([[0.25, 0.5, 0.25, 0.0], [0.125, 0.125, 0.25, 0.5]], dtype=torch.float64)
    assert sampling.top_p_keep(p, 0.5).int().tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]  # exactly half is enough
    assert sampling.top_p_keep(p, 0.75).int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]  # the later of two equals


@pytest.mark.parametrize("penalty", [0.7, 1.0, 1.3])
def test_repetition_penalty_matches_transformers(penalty):
    process = pytest.importorskip("transformers").RepetitionPenaltyLogitsProcessor(penalty)
    tokens, scores = torch.randint(0, 30, (16, 12)), torch.randn(16, 30)
    factors = torch.where(sampling.ngram_ban(tokens, 1, (0, 30)), penalty, 1.0)
    assert torch.equal(sampling.repetition_penalty(scores, factors), process(tokens, scores))


@for_each("n", [1, 2, 3, 5])
def test_no_repeat_ngram_matches_transformers(n):
    process = pytest.importorskip("transformers").NoRepeatNGramLogitsProcessor(n)
    tokens = torch.randint(0, 4, (200, 25))  # four ids, so that n-grams repeat
    banned = process(tokens, torch.zeros(200, 6)).isinf()
    assert banned.any()
    assert torch.equal(sampling.ngram_ban(tokens, n, (0, 6)), banned)
    assert torch.equal(sampling.ngram_ban(tokens, n, (2, 4)), banned[:, 2:4])


def test_a_whole_greedy_run_matches_transformers_filters():
    """With neutral masks, our loop draws step by step what transformers' processors pick in the same order."""
    transformers = pytest.importorskip("transformers")
    model, prompts = HashModel(), [[3, BEGIN_ID + 4, BEGIN_ID + 5], [BEGIN_ID + 2, 7, BEGIN_ID + 9]]
    config = plain(temperature=0.0, repetition_penalty=1.7, no_repeat_ngram=2)
    ours = write(model, prompts=prompts, limits=Limits(20, 20, 20), config=config)
    processors = [transformers.RepetitionPenaltyLogitsProcessor(1.7), transformers.NoRepeatNGramLogitsProcessor(2)]
    for prompt, written in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt + [BEGIN_ID]])
        for code in written:
            hidden = model.hidden(ids, model.new_cache(1, ids.shape[1]), None)
            scores = model.table[hidden[:, -1, 0]]
            for process in processors:
                scores = process(ids, scores)
            best = int(scores[0, BEGIN_ID + 2 :].argmax())
            assert best == code
            ids = torch.cat([ids, torch.tensor([[BEGIN_ID + 2 + best]])], 1)


# promises of generate


def random_setting(rng: random.Random) -> tuple[SampleConfig, list[Limits], torch.Tensor | None]:
    B = rng.randint(1, 5)
    config = SampleConfig(
        temperature=rng.choice([0.0, 1e-3, 0.5, 1.0, 3.0]),
        top_k=rng.choice([0, 1, 3, 100]),
        top_p=rng.choice([1e-6, 0.5, 0.9, 1.0]),
        repetition_penalty=rng.choice([0.5, 1.0, 1.5]),
        penalty_scope=rng.choice(["all", "motion"]),
        no_repeat_ngram=rng.choice([0, 0, 1, 2, 3]),
        end_logit_slope=rng.choice([0.0, 0.25, 5.0]),
        max_new_tokens=rng.choice([1, 4, 256]),
    )
    limits = []
    for _ in range(B):
        hard_min = rng.randint(1, 10)
        target = hard_min + rng.randint(0, 4)
        limits.append(Limits(hard_min, target, target + rng.randint(0, 4)))
    allowed = None
    if rng.random() < 0.6:
        allowed = torch.tensor([[rng.random() < 0.3 for _ in range(CODES)] for _ in range(B)])
        allowed[:, rng.randrange(CODES)] = True
    return config, limits, allowed


def test_a_row_alone_is_the_row_in_a_batch():
    """Prompt lengths, limits, vocabularies and finished neighbours differ. The mock does not round: this is exact."""
    rng, model = random.Random(1), HashModel()
    for _ in range(100):
        config, limits, allowed = random_setting(rng)
        prompts = [[rng.randrange(BEGIN_ID + 2 + CODES) for _ in range(rng.randint(0, 6))] for _ in limits]
        seeds = [rng.randrange(1000) for _ in limits]
        batch = write(model, prompts=prompts, limits=limits, config=config, allowed=allowed, seeds=seeds)
        for b, motion in enumerate(batch):
            row = None if allowed is None else allowed[b : b + 1]
            alone = write(model, prompts=[prompts[b]], limits=[limits[b]], config=config, allowed=row, seeds=[seeds[b]])
            assert alone == [motion]


def test_seeds():
    model, long = HashModel(), Limits(20, 20, 20)
    assert write(model, limits=long) == write(model, limits=long)
    motions = write(model, prompts=[[1]] * 16, limits=long)
    assert len(set(map(tuple, motions))) == 16  # of 12^20 possible motions: equal ones would mean equal draws
    greedy = write(model, prompts=[[1]] * 16, limits=long, config=plain(temperature=0.0))
    assert len(set(map(tuple, greedy))) == 1


def test_a_longer_limit_continues_the_same_motion():
    """A row's draws do not depend on how many were reserved."""
    model = HashModel()
    short = write(model, limits=Limits(8, 8, 8))
    long = write(model, limits=Limits(30, 30, 30))
    assert [row[:8] for row in long] == short


def test_global_random_state_is_untouched():
    before = torch.get_rng_state()
    write(HashModel())
    assert torch.equal(torch.get_rng_state(), before)


def chi_square(drawn: list[int], p: torch.Tensor) -> float:
    expected = p.double() * len(drawn)
    return float(((torch.bincount(torch.tensor(drawn), minlength=len(p)) - expected) ** 2 / expected).sum())


def test_draws_follow_the_models_distribution():
    """4,000 seeds, one code each: 11 degrees of freedom, chi-square above 31.3 has odds of 1 in 1,000.

    Seeds are consecutive, as users give them, so this also tests that neighbouring seeds are independent enough.
    """
    logits = torch.linspace(-1.5, 1.5, CODES)
    model = constant_model([0.0, 0.0, *logits.tolist()])
    n = 4000
    motions = write(model, prompts=[[1]] * n, limits=Limits(1, 1, 1))
    assert chi_square([motion[0] for motion in motions], logits.softmax(0)) < 31.3
    warm = write(model, prompts=[[1]] * n, limits=Limits(1, 1, 1), config=plain(temperature=2.0))
    assert chi_square([motion[0] for motion in warm], (logits / 2).softmax(0)) < 31.3
    assert chi_square([motion[0] for motion in warm], logits.softmax(0)) > 31.3  # the test can fail


def test_filters_renormalise_what_is_left():
    """top-k 3 of equal steps: 2 degrees of freedom, above 13.8 has odds of 1 in 1,000."""
    logits = torch.linspace(-3, 3, CODES)
    motions = write(
        constant_model([0.0, 0.0, *logits.tolist()]),
        prompts=[[1]] * 4000,
        limits=Limits(1, 1, 1),
        config=plain(top_k=3),
    )
    drawn = [motion[0] - (CODES - 3) for motion in motions]
    assert min(drawn) >= 0 and chi_square(drawn, logits[-3:].softmax(0)) < 13.8


def test_end_follows_its_probability_and_the_slope_ends_near_the_target():
    flat = constant_model([0.0] * (2 + CODES))  # the end has odds of 1 in 13
    wide = Limits(1, 20, 200)
    free = write(flat, prompts=[[1]] * 1000, limits=wide)
    # geometric: mean length 1 + 12 = 13 codes, sd of the mean sqrt(12 * 13) / sqrt(1000) = 0.39; five of them
    assert abs(sum(map(len, free)) / 1000 - 13) < 2.0

    shy = constant_model([0.0, -8.0] + [0.0] * CODES)  # the end is 36,000 times less likely than all codes
    free = write(shy, prompts=[[1]] * 200, limits=wide)
    pushed = write(shy, prompts=[[1]] * 200, limits=wide, config=plain(end_logit_slope=1.0))
    assert sum(map(len, free)) / 200 > 190
    # the end overtakes the codes 8 + ln 12 = 10.5 codes past the target; each code after makes it e times likelier
    lengths = list(map(len, pushed))
    assert 27 < sum(lengths) / 200 < 32 and max(lengths) <= 40


def test_slope_acts_only_past_the_target():
    model, records = HashModel(), []
    config = plain(end_logit_slope=0.5)
    motions = write(model, B=3, limits=Limits(4, 6, 12), config=config, trace=lambda step, r: records.append(r))
    for n, record in enumerate(records):
        for b in range(3):
            if record["active"][b]:
                assert record["written"][b] == n
                added = record["end_logit_sloped"][b] - record["end_logit"][b]
                assert added == pytest.approx(0.5 * max(0, n - 6), abs=1e-5)  # float32 logits of size 10
                assert record["allowed"][b] == CODES + (n >= 4)
    traced = [[r["code"][b] for r in records if r["active"][b] and r["code"][b] >= 0] for b in range(3)]
    assert traced == motions


def test_exact_length_is_exact():
    eager = constant_model([0.0, 50.0] + [0.0] * CODES)  # would end at once
    limits = [limits_from_length(n, exact=True) for n in (1, 7, 30)]
    motions = write(eager, prompts=[[1], [2, 3], [4]], limits=limits)
    assert list(map(len, motions)) == [1, 7, 30]


def test_max_new_tokens_caps_every_row():
    motions = write(HashModel(), limits=Limits(10, 12, 14), config=plain(max_new_tokens=5))
    assert list(map(len, motions)) == [5] * 4


def test_the_forced_markers_cost_no_model_step():
    model, fed = HashModel(), []
    hidden = model.hidden
    model.hidden = lambda ids, cache, start: fed.append(ids.tolist()) or hidden(ids, cache, start)
    motions = write(model, prompts=[[1, 2]], limits=Limits(3, 3, 3))
    codes = [[[code + BEGIN_ID + 2]] for code in motions[0]]
    assert fed == [[[1, 2, BEGIN_ID]], *codes[:2]]


def test_the_steps_of_a_motion_come_one_by_one():
    """The rows of `generate`, a code per row and step as soon as it is drawn, -1 once a row has ended."""
    model, fed = HashModel(), []
    hidden = model.hidden
    model.hidden = lambda ids, cache, start: fed.append(ids.shape[1]) or hidden(ids, cache, start)
    options = {"begin_id": BEGIN_ID, "codes": CODES, "config": PLAIN, "seeds": range(8)}
    prompts, limits = [[1]] * 8, [Limits(3, 5, 8 + 2 * (b > 5)) for b in range(8)]
    steps = []
    for n, codes in enumerate(generate_steps(model, prompts, limits=limits, **options), 1):
        assert len(fed) == n and not torch.is_inference_mode_enabled()  # nothing is written ahead or leaks out
        steps.append(codes)
    motions = generate(model, prompts, limits=limits, **options)
    assert [[code for code in row if code >= 0] for row in zip(*steps, strict=True)] == motions
    assert len({len(motion) for motion in motions}) > 2
    for row, motion in zip(zip(*steps, strict=True), motions, strict=True):
        assert list(row) == motion + [-1] * (len(steps) - len(motion))


def test_a_ban_that_leaves_nothing_is_lifted():
    """One code is allowed, no bigram twice, five codes are due: the length is a promise, the ban a wish."""
    allowed = torch.zeros(1, CODES, dtype=torch.bool)
    allowed[0, 3] = True
    motions = write(
        HashModel(), prompts=[[1]], limits=Limits(5, 5, 5), config=plain(no_repeat_ngram=2), allowed=allowed
    )
    assert motions == [[3] * 5]


def test_no_repeat_ngram_holds_where_it_can():
    motions = write(HashModel(), B=8, limits=Limits(40, 40, 40), config=plain(no_repeat_ngram=2, temperature=0.3))
    for motion in motions:
        pairs = list(zip(motion, motion[1:], strict=False))
        assert len(set(pairs)) == len(pairs)


def test_penalty_scope():
    """Codes of the prompt count as written with "all", but not with "motion"."""
    model = constant_model([0.0, 0.0, 2.0, 1.5] + [0.0] * (CODES - 2))
    runs = {
        scope: write(
            model,
            prompts=[[BEGIN_ID + 2]],
            limits=Limits(2, 2, 2),
            config=plain(temperature=0.0, repetition_penalty=2.0, penalty_scope=scope),
        )
        for scope in ("all", "motion")
    }
    assert runs == {"all": [[1, 0]], "motion": [[0, 1]]}


def test_random_numbers_of_a_row_are_its_own():
    uniform = sampling.row_uniforms([5, 6, 5], [3, 4, 2])
    apple = sampling.row_uniforms([5, 6, 5], [3, 4, 2], "mps")  # no float64 there: they stay on the CPU
    assert apple.device.type == "cpu" and torch.equal(apple, uniform)
    assert uniform.dtype == torch.float64 and uniform.shape == (3, 4)
    assert uniform[0, :2].tolist() == uniform[2, :2].tolist()
    assert uniform[2, 2:].tolist() == [0.0, 0.0]
    assert torch.equal(uniform[1], torch.rand(4, generator=seeded(6), dtype=torch.float64))


@for_each("padded", [False, True])
def test_rows_that_have_ended_leave(padded, monkeypatch):
    """Fewer and fewer rows go through the model, and all write what they write when nobody leaves."""
    model, widths = HashModel(), []
    hidden = HashModel.hidden
    watched = lambda ids, **rest: widths.append(len(ids)) or hidden(model, ids, **rest)  # noqa: E731
    monkeypatch.setattr(model, "hidden", watched, raising=False)
    prompts = [[1] * (1 + b % 3 if padded else 2) for b in range(16)]
    limits = [limits_from_length(1 + b // 2, exact=True) for b in range(16)]
    config = plain(repetition_penalty=1.3, no_repeat_ngram=2)
    found = write(model, prompts=prompts, limits=limits, config=config)
    assert widths == sorted(widths, reverse=True) and widths[0] == 16 and widths[-1] == 4
    assert sum(widths) < 0.75 * 16 * len(widths)
    texts = write_text(model, prompts, config=config)
    monkeypatch.delattr(HashCache, "take")
    widths.clear()
    assert found == write(model, prompts=prompts, limits=limits, config=config)
    assert texts == write_text(model, prompts, config=config)
    assert set(widths) == {16}
    assert [len(row) for row in found] == [1 + b // 2 for b in range(16)]
    assert len(set(map(len, texts))) > 2


# text


def write_text(model, prompts, **more):
    settings = {"first_id": BEGIN_ID, "stop_ids": [0], "max_new_tokens": 12, "config": PLAIN, **more}
    return generate_text(model, prompts, **{"seeds": list(range(len(prompts))), **settings})


def test_text_stays_text_and_stops():
    model, prompts = HashModel(), [[1, 2], [BEGIN_ID + 3, 4, 5], [6]] * 20
    banned = list(range(20, BEGIN_ID))
    texts = write_text(model, prompts, stop_ids=[0, 1], banned=banned)
    assert all(2 <= i < 20 for text in texts for i in text)
    lengths = list(map(len, texts))
    assert max(lengths) == 12 and min(lengths) < 12  # some were cut, some stopped
    for b in (0, 1, 2):
        assert write_text(model, [prompts[b]], stop_ids=[0, 1], banned=banned, seeds=[b]) == [texts[b]]


def test_greedy_text_worked_example():
    table = torch.full((1, BEGIN_ID + 2 + CODES), -5.0)
    table[0, [7, 9, 0]] = torch.tensor([3.0, 2.0, 1.0])
    table[0, BEGIN_ID:] = 50.0  # motion words and markers cannot be written, however likely
    model, greedy = HashModel(table=table), plain(temperature=0.0)
    assert write_text(model, [[3]], config=greedy, max_new_tokens=3) == [[7, 7, 7]]
    assert write_text(model, [[3]], config=greedy, banned=[7, 9]) == [[]]
    assert write_text(model, [[3]], config=plain(temperature=0.0, no_repeat_ngram=1)) == [[7, 9]]


def test_text_of_allowed_ids_only():
    """Digits and the stop id; a banned one is not written even if it is allowed."""
    model, prompts = HashModel(), [[b, 2] for b in range(40)]
    texts = write_text(model, prompts, allowed=[7, 8, 9, 11], banned=[11])
    assert {i for text in texts for i in text} == {7, 8, 9}
    assert min(map(len, texts)) == 0  # the stop id may come at once, though it is not in the list
    assert write_text(model, prompts, allowed=range(BEGIN_ID)) == write_text(model, prompts)
    assert write_text(model, prompts[:2], allowed=[0]) == [[], []]


def test_text_of_a_least_length():
    """No row stops before; the cut at `max_new_tokens` comes first."""
    eager = HashModel(table=torch.tensor([[9.0] + [0.0] * (BEGIN_ID + 1 + CODES)]))
    assert write_text(eager, [[1]] * 3, config=plain(temperature=0.0)) == [[]] * 3
    assert write_text(eager, [[1]], config=plain(temperature=0.0), min_new_tokens=4, allowed=[5]) == [[5] * 4]
    assert [len(text) for text in write_text(eager, [[1]] * 50, min_new_tokens=5)].count(5) > 45
    assert write_text(eager, [[1]], min_new_tokens=20, allowed=[5]) == [[5] * 12]
    # no id twice, but only one is allowed: the ban gives way to the length
    once = {"config": plain(no_repeat_ngram=1), "allowed": [5]}
    assert write_text(eager, [[1]], min_new_tokens=3, **once) == [[5] * 3]
    model, prompts = HashModel(), [[b, 2] for b in range(40)]
    texts = write_text(model, prompts, allowed=[7, 8])
    longer = write_text(model, prompts, allowed=[7, 8], min_new_tokens=4)
    assert min(map(len, texts)) < 4 == min(map(len, longer))


# the real model


@pytest.fixture
def tiny():
    torch.manual_seed(3)
    model = LLM(LLM_PRESETS["tiny"])
    model.extend(260, 2 + CODES)
    for parameter in model.parameters():
        parameter.data.mul_(4.0 if parameter.dim() == 2 else 1.0)  # so that logits differ
    return model.eval()


REAL_PROMPTS = [[5], [9, 8, 7, 6, 5, 4], [100, 101, 102], [50] * 9]


def write_tiny(model, rows=range(4), config=plain(end_logit_slope=0.5), **more):  # noqa: B008
    limits = [Limits(3, 5, 12), Limits(10, 14, 20), Limits(2, 3, 6), Limits(7, 7, 7)]
    return generate(
        model, [REAL_PROMPTS[b] for b in rows], begin_id=260, codes=CODES, limits=[limits[b] for b in rows],
        seeds=list(rows), config=config, **more,
    )  # fmt: skip


def test_real_model_row_alone_is_the_row_in_a_batch(tiny):
    """In fp32 on the CPU logits differ by about 1e-6 between batch sizes, too little to change one of 45 draws."""
    batch = write_tiny(tiny)
    assert len(set(map(tuple, batch))) == 4
    for b in range(4):
        assert write_tiny(tiny, [b]) == [batch[b]]


def test_real_model_cache_equals_no_cache(tiny):
    class Uncached:
        training = False
        logits = tiny.logits

        def new_cache(self, B, T):
            return []

        def hidden(self, ids, cache, start):
            cache.append(ids)
            return tiny.hidden(torch.cat(cache, 1), start=start)

    assert write_tiny(Uncached()) == write_tiny(tiny)


def test_real_model_text_and_autocast(tiny):
    texts = write_text(tiny, REAL_PROMPTS, first_id=260, stop_ids=[1])
    assert texts == write_text(tiny, REAL_PROMPTS, first_id=260, stop_ids=[1])
    assert all(0 <= i < 260 and i != 1 for text in texts for i in text)
    for motion, hard_min, hard_max in zip(
        write_tiny(tiny, autocast=torch.bfloat16), (3, 10, 2, 7), (12, 20, 6, 7), strict=True
    ):
        assert hard_min <= len(motion) <= hard_max


# bad input


@for_each(
    "changes, words",
    [
        ({"prompts": []}, "at least one prompt"),
        ({"seeds": [1]}, "seeds"),
        ({"seeds": [1, 2**70]}, "64 bits"),
        ({"limits": [Limits(1, 1, 1)]}, "limits"),
        ({"prompts": [[1], [-2]]}, "0 or more"),
        ({"begin_id": -1}, "begin_id"),
        ({"codes": 0}, "codes"),
        ({"allowed": torch.ones(2, 3, dtype=torch.bool)}, "allowed"),
        ({"allowed": torch.ones(2, CODES)}, "bool"),
        ({"allowed": torch.tensor([[True] * CODES, [False] * CODES])}, "row 1"),
    ],
)
def test_bad_arguments_of_generate(changes, words):
    good = dict(prompts=[[1], [2]], begin_id=BEGIN_ID, codes=CODES, limits=[Limits(1, 2, 3)] * 2, seeds=[0, 1])
    given = {**good, **changes}
    with pytest.raises(ValueError, match=words):
        generate(HashModel(), given.pop("prompts"), config=PLAIN, **given)


@for_each(
    "changes, words",
    [
        ({"stop_ids": []}, "stop_ids"),
        ({"stop_ids": [BEGIN_ID]}, "stop_ids"),
        ({"banned": [0]}, "banned"),
        ({"banned": [-1]}, "banned"),
        ({"allowed": [BEGIN_ID]}, "allowed"),
        ({"allowed": [0], "min_new_tokens": 1}, "only stop ids"),
        ({"banned": range(1, BEGIN_ID), "min_new_tokens": 1}, "only stop ids"),
        ({"prompts": [[]]}, "non-empty"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_bad_arguments_of_generate_text(changes, words):
    with pytest.raises(ValueError, match=words):
        write_text(HashModel(), **{"prompts": [[1]], **changes})


def test_broken_models_are_refused():
    nan = constant_model([0.0, 0.0, math.nan] + [0.0] * (CODES - 1))
    with pytest.raises(ValueError, match="NaN"):
        write(nan)
    training = copy.copy(HashModel())
    training.training = True
    with pytest.raises(ValueError, match="eval"):
        write(training)
    with pytest.raises(ValueError, match="nothing is allowed"):
        sample_next(torch.zeros(1, 3), torch.zeros(1), torch.zeros(1, 3, dtype=torch.bool), PLAIN)


def test_a_constraint_may_write_to_its_mask():
    """What it bans at one step is there again at the next, also before the first row may end."""

    def bans(own: bool):
        def constrain(mask: torch.Tensor, written: torch.Tensor) -> torch.Tensor:
            mask = mask if own else mask.clone()
            mask[torch.arange(len(mask)), sampling.CODE_COLUMN + written % CODES] = False
            return mask

        return constrain

    pick = {"B": 3, "limits": Limits(CODES + 2, CODES + 3, CODES + 4), "config": PLAIN}
    written = write(HashModel(), **pick, constrain=bans(own=True))
    assert written == write(HashModel(), **pick, constrain=bans(own=False)) != write(HashModel(), **pick)
    assert all(code != place % CODES for codes in written for place, code in enumerate(codes))
