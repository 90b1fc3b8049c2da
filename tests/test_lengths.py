"""Limits of a motion's length: worked examples, and their order for every length."""

import math

import pytest

from motiongpt.lengths import Limits, codes_for_seconds, limits_from_guess, limits_from_length, limits_from_median


def test_limits_worked_examples():
    assert limits_from_median(10) == Limits(6, 10, 14)
    assert limits_from_median(49) == Limits(29, 49, 68)
    assert limits_from_median(1) == Limits(1, 1, 5)
    assert limits_from_median(3) == Limits(1, 3, 5)
    assert limits_from_length(100) == Limits(99, 100, 101)
    assert limits_from_length(10) == Limits(9, 10, 11)
    assert limits_from_length(1) == Limits(1, 1, 2)
    assert limits_from_length(30, exact=True) == Limits(30, 30, 30)
    assert Limits(6, 10, 14).capped(8) == Limits(6, 8, 8)
    assert Limits(6, 10, 14).capped(2) == Limits(2, 2, 2)
    assert codes_for_seconds(4.0, 20, 4) == 20
    assert codes_for_seconds(2.0, 12.5, 4) == 6  # 6.25
    assert codes_for_seconds(0.01, 20, 4) == 1


def test_a_guessed_length_leaves_the_end_to_the_model():
    assert limits_from_guess(10) == Limits(6, 15, 20)
    for n in range(1, 600):
        guessed, known = limits_from_guess(n), limits_from_median(n)
        assert guessed.hard_min == known.hard_min and guessed.hard_max >= max(known.hard_max, guessed.target)


def test_limits_are_ordered_for_every_length():
    for n in range(1, 600):  # Limits itself raises if they are not
        slack = limits_from_length(n)
        assert slack.hard_max > n and (slack.hard_min < n or n == 1)
        assert slack.hard_max == n + 1
        assert limits_from_median(n).hard_max >= n


def test_bad_lengths():
    for call in (
        lambda: Limits(0, 1, 2),
        lambda: Limits(3, 2, 4),
        lambda: limits_from_median(0),
        lambda: limits_from_length(0),
        lambda: codes_for_seconds(-1.0, 20, 4),
        lambda: codes_for_seconds(math.nan, 20, 4),
    ):
        with pytest.raises(ValueError):
            call()
