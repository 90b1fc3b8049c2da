"""How many codes a motion gets: the three limits of one row, and where they come from.

    hard_min    until then only codes are written
    target      from then on ending is made more likely with every code (`SampleConfig.end_logit_slope`)
    hard_max    then the motion ends

They come from the lengths that a caption had in training, from a guess, or from a wanted length.
`sampling.py` keeps them; the idea of the three is SignMotionGPT's.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How many codes one row may write: at least `hard_min`, at most `hard_max`, pushed to end after `target`."""

    hard_min: int
    target: int
    hard_max: int

    def __post_init__(self) -> None:
        if not 1 <= self.hard_min <= self.target <= self.hard_max:
            raise ValueError(f"limits must satisfy 1 <= hard_min <= target <= hard_max, got {self}")

    def capped(self, most: int) -> "Limits":
        """The same limits, each lowered to at most `most` codes."""
        return Limits(min(self.hard_min, most), min(self.target, most), min(self.hard_max, most))


def limits_from_median(median: int) -> Limits:
    """Limits around a median length: 0.6, 1 and 1.4 of it, SignMotionGPT's window. 10 -> Limits(6, 10, 14)."""
    if median < 1:
        raise ValueError(f"a median length must be at least 1 code, got {median}")
    hard_min = max(1, int(0.6 * median))
    return Limits(hard_min, median, max(hard_min + 4, int(1.4 * median)))


def limits_from_guess(codes: int) -> Limits:
    """Limits around a guessed length, 0.6, 1.5 and 2 of it: the model mostly decides. 10 -> Limits(6, 15, 20)."""
    around = limits_from_median(codes)
    return Limits(around.hard_min, codes * 3 // 2, max(around.hard_max, 2 * codes))


def limits_from_length(codes: int, exact: bool = False) -> Limits:
    """Limits for a wanted length: one code either way, or none with `exact`. 100 -> Limits(99, 100, 101)."""
    if codes < 1:
        raise ValueError(f"a wanted length must be at least 1 code, got {codes}")
    slack = 0 if exact else 1
    return Limits(max(1, codes - slack), codes, codes + slack)


def codes_for_seconds(seconds: float, fps: float, frames_per_code: int) -> int:
    """Seconds of motion as the nearest number of codes, at least 1. 4 s, 20 fps, 4 frames per code -> 20."""
    if not (0 < seconds < math.inf and 0 < fps < math.inf and frames_per_code >= 1):
        raise ValueError(f"seconds, fps and frames per code must be positive, got {seconds}, {fps}, {frames_per_code}")
    return max(1, int(seconds * fps / frames_per_code + 0.5))


def limits_from_source(codes: int) -> Limits:
    """Limits of a motion that a sentence makes of one of so many codes: "twice" and "then sit down" need room.

    10 -> Limits(3, 20, 50).
    """
    return Limits(max(1, codes // 3), max(1, 2 * codes), max(1, 3 * codes) + 20)
