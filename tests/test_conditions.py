"""Given codes: kept exactly under random models and settings, and everything else of the sampler with them."""

import random

import pytest
import torch
from cases import for_each
from test_sampling import BEGIN_ID, CODES, HashModel, plain, write

from motiongpt.lengths import Limits
from motiongpt.tasks.conditions import FixedCodes, place_codes, place_given

# 1) Where the codes go.


@for_each(
    "given, limits, placed, grown",
    [
        ({}, Limits(6, 10, 14), {}, Limits(6, 10, 14)),
        ({0: 5}, Limits(6, 10, 14), {0: 5}, Limits(6, 10, 14)),
        ({8: 5}, Limits(6, 10, 14), {8: 5}, Limits(9, 10, 14)),
        ({20: 5, 3: 1}, Limits(6, 10, 14), {20: 5, 3: 1}, Limits(21, 21, 21)),
        ({-1: 5}, Limits(6, 10, 14), {9: 5}, Limits(10, 10, 10)),
        ({-10: 5, 9: 3}, Limits(6, 10, 14), {0: 5, 9: 3}, Limits(10, 10, 10)),
        ({-1: 5, 9: 5}, Limits(6, 10, 14), {9: 5}, Limits(10, 10, 10)),
    ],
)
def test_positions_and_limits(given, limits, placed, grown):
    assert place_codes(given, limits, CODES) == (placed, grown)


@for_each(
    "given, fixed_length, message",
    [
        ({0: CODES}, False, "the given code 12 is outside the codebook of 12"),
        ({0: -1}, False, "the given code -1 is outside the codebook of 12"),
        ({-11: 3}, False, "a code is given at position -11, the motion has 10 codes"),
        ({-1: 3, 10: 3}, False, "a code is given at position 10, the motion has 10 codes"),
        ({14: 3}, True, "a code is given at position 14, the motion has 14 codes"),
        ({-1: 3, 9: 4}, False, "two codes are given at position 9: 3 and 4"),
    ],
)
def test_codes_that_have_no_place(given, fixed_length, message):
    with pytest.raises(ValueError, match=message):
        place_codes(given, Limits(6, 10, 14), CODES, fixed_length)


@for_each(
    "task, given, timed, grown",
    [
        ("predict", {0: 1, 1: 2}, False, Limits(6, 10, 14)),
        ("predict", dict.fromkeys(range(5), 1), False, Limits(6, 10, 14)),
        ("predict", dict.fromkeys(range(8), 1), False, Limits(11, 13, 15)),
        ("predict", dict.fromkeys(range(10), 1), False, Limits(13, 15, 17)),
        ("predict", dict.fromkeys(range(14), 1), True, Limits(14, 14, 14)),
        ("inbetween", {0: 1}, False, Limits(10, 10, 10)),
        ("keys", {2: 1}, False, Limits(6, 10, 14)),
        ("keys", {40: 1}, False, Limits(41, 41, 41)),
        ("last", {-1: 1}, False, Limits(10, 10, 10)),
    ],
)
def test_limits_of_a_request(task, given, timed, grown):
    assert place_given(task, given, Limits(6, 10, 14), timed, codes=CODES, max_new_tokens=41)[1] == grown


@for_each("task, given", [("keys", {41: 1}), ("last", {-1: 1})])
def test_given_codes_that_max_new_tokens_would_cut_off(task, given):
    limits = Limits(42, 42, 42) if task == "last" else Limits(6, 10, 14)
    with pytest.raises(ValueError, match="the given codes need 42 codes, --max-new-tokens is 41"):
        place_given(task, given, limits, False, codes=CODES, max_new_tokens=41)


# 2) Sampling with them.


def random_case(draw: random.Random) -> dict:
    """Rows with limits, allowed codes and given codes, and settings, all at random."""
    B = draw.randint(1, 5)
    limits, given = [], []
    for _ in range(B):
        least, more, most = draw.randint(1, 8), draw.randint(0, 5), draw.randint(0, 5)
        row = {draw.randint(-least, 15): draw.randrange(CODES) for _ in range(draw.choice((0, 1, 2, 4)))}
        if min(row, default=0) < 0:  # positions from the end fix the length: leave those that fit, once each
            row = {p: c for p, c in row.items() if p < 0}
        placed, grown = place_codes(row, Limits(least, least + more, least + more + most), CODES)
        limits.append(grown)
        given.append(placed)
    allowed = torch.rand(B, CODES, generator=torch.Generator().manual_seed(draw.randrange(2**31))) < 0.5
    allowed[:, draw.randrange(CODES)] = True
    config = plain(
        temperature=draw.choice((0.0, 0.5, 1.0, 2.0)),
        top_k=draw.choice((0, 1, 3)),
        top_p=draw.choice((0.3, 0.9, 1.0)),
        repetition_penalty=draw.choice((1.0, 1.3)),
        no_repeat_ngram=draw.choice((0, 1, 2, 3)),
        end_logit_slope=draw.choice((0.0, 0.5)),
    )
    seeds = [draw.randrange(2**40) for _ in range(B)]
    prompts = [[draw.randrange(BEGIN_ID) for _ in range(draw.randint(0, 6))] for _ in range(B)]
    return {
        "limits": limits, "given": given, "allowed": allowed, "config": config, "seeds": seeds, "prompts": prompts,
    }  # fmt: skip


def sample(model, case: dict, rows: list[int]) -> list[list[int]]:
    """The rows of a case, in this order and in one batch."""
    pick = {name: [case[name][b] for b in rows] for name in ("limits", "seeds", "prompts")}
    constrain = FixedCodes([case["given"][b] for b in rows])
    return write(model, config=case["config"], allowed=case["allowed"][rows], constrain=constrain, **pick)


@pytest.mark.slow
def test_given_codes_are_kept_in_any_setting():
    """2,000 random cases: given codes exactly, other codes allowed ones, lengths within limits, and a row is the same
    alone and in any order."""
    draw = random.Random(0)
    for number in range(2000):
        case = random_case(draw)
        model = HashModel(scale=draw.choice((0.5, 2.0, 8.0)))
        B = len(case["seeds"])
        written = sample(model, case, list(range(B)))
        for b, codes in enumerate(written):
            limits, given = case["limits"][b], case["given"][b]
            assert limits.hard_min <= len(codes) <= limits.hard_max, number
            assert all(codes[position] == code for position, code in given.items()), number
            free = [code for position, code in enumerate(codes) if position not in given]
            assert all(0 <= code < CODES and case["allowed"][b, code] for code in free), number
        order = draw.sample(range(B), B)
        assert sample(model, case, order) == [written[b] for b in order], number
        b = draw.randrange(B)
        assert sample(model, case, [b]) == [written[b]], number


def test_without_given_codes_nothing_changes():
    draw = random.Random(1)
    for _ in range(200):
        case = random_case(draw)
        pick = {name: case[name] for name in ("limits", "seeds", "prompts", "config", "allowed")}
        assert write(HashModel(), **pick, constrain=FixedCodes([{}] * len(case["seeds"]))) == write(HashModel(), **pick)


def test_the_codes_before_a_given_one_are_those_without_it():
    """A draw depends on what is written before it and on its own random number."""
    free = write(HashModel(), B=1, limits=Limits(10, 10, 10))[0]
    other = (free[6] + 1) % CODES
    held = write(HashModel(), B=1, limits=Limits(10, 10, 10), constrain=FixedCodes([{6: other}]))[0]
    assert held[:6] == free[:6] and held[6] == other and held[7:] != free[7:]


def test_exact_length_with_a_prefix_and_a_suffix():
    given = {0: 1, 1: 2, -2: 3, -1: 4}
    placed, limits = place_codes(given, Limits(20, 20, 20), CODES)
    for codes in write(HashModel(), B=6, limits=limits, constrain=FixedCodes([placed] * 6)):
        assert len(codes) == 20 and codes[:2] == [1, 2] and codes[-2:] == [3, 4]
