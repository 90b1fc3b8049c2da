"""Motions in several requests: exact lengths, the codes before a seam, and what each request is told."""

import itertools

import pytest
from cases import for_each

from motiongpt.generation.sequence import Part, continued, write_sequence


class Counter:
    """Writes 0, 1, 2, ... after what it is given; a request that is not given a length writes `own` codes."""

    def __init__(self, own: int = 7, misses: int = 0) -> None:
        self.own, self.misses = own, misses
        self.requests: list[tuple[str, int, int | None]] = []

    def __call__(self, prompt: str, given: list[int], length: int | None) -> list[int]:
        self.requests.append((prompt, len(given), length))
        total = len(given) + self.own if length is None else max(len(given) + 1, length + self.misses)
        first = given[-1] + 1 if given else 0
        return [*given, *range(first, first + total - len(given))]


def test_two_sentences():
    write = Counter()
    codes, starts = write_sequence(write, [Part("walk", 20), Part("sit")], context=4)
    assert codes == list(range(27)) and starts == [0, 20]  # nothing twice, nothing left out
    assert write.requests == [("walk", 0, 20), ("sit", 4, None)]


def test_a_long_motion_is_asked_for_in_pieces():
    """50 codes at once: 42 kept, then 10 carried over and 32 kept, and the last request writes what is missing."""
    write = Counter()
    codes, starts = write_sequence(write, [Part("walk", 100)])
    assert codes == list(range(100)) and starts == [0]
    assert write.requests == [("walk", 0, 50), ("walk", 10, 50), ("walk", 10, 36)]


@for_each("n", [1, 2, 49, 50, 51, 300])
@for_each("misses", [-3, 0, 1, 9])
@for_each("context, redone", [(10, 5), (1, 0), (30, 19)])
def test_a_length_is_exact_whatever_a_request_returns(n, misses, context, redone):
    write = Counter(misses=misses)
    parts = [Part("walk", n), Part("turn", 3), Part("walk", n)]
    codes, starts = write_sequence(write, parts, context=context, redone=redone, start=[5, 6, 7])
    assert codes == list(range(8, 8 + 2 * n + 3)) and starts == [0, n, n + 3]
    assert all(length <= 50 and given <= context for _, given, length in write.requests)


def test_the_end_of_a_request_is_written_anew_only_before_the_same_sentence():
    """A model that comes to rest, -1, at the end of every request: only the ends of parts keep it."""

    def write(prompt, given, length):
        return [*given, *[int(prompt)] * (length - len(given) - 5), *[-1] * 5]

    codes, _ = write_sequence(write, [Part("1", 80), Part("2", 30)], redone=5)
    assert codes == [1] * 75 + [-1] * 5 + [2] * 25 + [-1] * 5


def test_codes_are_final_when_they_are_yielded():
    """An endless motion is written as it is asked for."""
    write = Counter()
    pieces = continued(write, itertools.repeat(Part("walk", 60)))
    seen = [code for _, codes in itertools.islice(pieces, 9) for code in codes]
    assert seen == list(range(len(seen))) and len(write.requests) == 9


def test_every_sentence_has_its_own_longest_request():
    """A short one still has room for a code that stays, beside 10 carried over and 8 that are written anew."""
    write = Counter()
    write_sequence(write, [Part("walk", 30, most=30), Part("jump", 12, most=7)])
    assert write.requests == [("walk", 0, 30), *[("jump", 10, 19)] * 3, ("jump", 10, 19)]


def test_settings_without_room_are_refused():
    for options in ({"context": 0}, {"redone": -1}):
        with pytest.raises(ValueError, match="at least 1 code is carried over and 0 are written anew"):
            write_sequence(Counter(), [Part("walk", 9)], **options)


def test_a_writer_that_changes_the_past_is_refused():
    for write in (lambda prompt, given, length: [99] * length, lambda prompt, given, length: given):
        with pytest.raises(ValueError, match="'walk': the given 2 codes were not continued"):
            write_sequence(write, [Part("walk", 9)], start=[1, 2])
    with pytest.raises(ValueError, match="at least 1 code, got 0 for 'walk'"):
        Part("walk", 0)
