"""Several sentences in sequence, and motions longer than those in training: each request continues the one before.

A request gets the last codes of the motion so far as its first ones, and writes on from there:

    "walk forward"   a a a a a a a a a r r
    "walk forward"             [a a a] a a a a a a r r      [..] given again as context, kept exactly
    "sit down"                                  [a a a] s s s s s

Models learn whole motions, which come to rest at their end. So the last codes `r` of a request that is continued with
the same sentence are dropped, and the next request writes them anew.

What writes is a callable. This module knows neither models nor seconds, only codes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

CONTEXT = 10
"""Codes that are carried over: 2 s at 20 fps, a walk cycle and more."""
REDONE = 8
"""Codes at the end of a request that the next one writes anew: 1.6 s at 20 fps, in which a person comes to rest."""


class Write(Protocol):
    """What a language model does here."""

    def __call__(self, prompt: str, given: list[int], length: int | None) -> list[int]:
        """The codes of a motion that begins with `given`, which may be empty, and has at least one code more.

        It has `length` codes in all; None leaves the length to the model. One that misses `length` is cut or continued.
        """


@dataclass(frozen=True)
class Part:
    """A sentence, and how many codes of the motion are its own; None: as many as the model writes."""

    prompt: str
    codes: int | None = None
    most: int = 50
    """Codes of its longest request, the context included: those of a usual motion of this sentence in training. A
    longer part takes several requests. Each has room for a code that stays, even if `most` has not."""

    def __post_init__(self) -> None:
        if self.codes is not None and self.codes < 1:
            raise ValueError(f"a part of a motion has at least 1 code, got {self.codes} for {self.prompt!r:.60}")


def continued(
    write: Write, parts: Iterable[Part], *, context: int = CONTEXT, redone: int = REDONE, start: Sequence[int] = ()
) -> Iterator[tuple[int, list[int]]]:
    """Write a motion part by part, and yield (number of the part, its next codes) as soon as they are final.

    Args:
        context, redone: see `CONTEXT` and `REDONE`.
        start: codes of a motion that is continued; they are not yielded.

    Raises ValueError for a context below 1 or `redone` below 0, and if `write` does not keep what it was given.
    """
    if context < 1 or redone < 0:
        raise ValueError(f"at least 1 code is carried over and 0 are written anew, got {context} and {redone}")
    newest = list(start)[-context:]
    for number, part in enumerate(parts):
        left = part.codes
        while left is None or left > 0:
            room = max(part.most - len(newest), redone + 1)
            whole = write(part.prompt, list(newest), None if left is None else len(newest) + min(left, room))
            codes = whole[len(newest) :]
            if whole[: len(newest)] != newest or not codes:
                raise ValueError(f"{part.prompt!r:.60}: the given {len(newest)} codes were not continued")
            if left is not None and left > room:  # the next request goes on with the same sentence
                codes = codes[: max(1, len(codes) - redone)]
            codes = codes if left is None else codes[:left]
            newest = [*newest, *codes][-context:]
            yield number, codes
            left = 0 if left is None else left - len(codes)


def write_sequence(write: Write, parts: Sequence[Part], **options) -> tuple[list[int], list[int]]:
    """A motion of several parts: its codes, without those of `start`, and the position at which each part begins.

    Options and errors are those of `continued`. A part with a number of codes gets exactly as many.
    """
    codes: list[int] = []
    starts: list[int] = []
    for number, more in continued(write, parts, **options):
        if number == len(starts):
            starts.append(len(codes))
        codes += more
    return codes, starts
