"""Codes that a motion must contain: at which positions, how long that makes it, and how sampling keeps them.

    given {0: 315, 24: 406}    a first pose and a key pose
    given {-1: 406}            a last pose; counting from the end fixes the length

A given code replaces whatever else could be drawn at its position: the codes of training captions
and the ban on repeats give way to it. The codes around it are drawn as ever, so a motion without
given codes is the same with and without this module.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from motiongpt.lengths import Limits
from motiongpt.sampling import CODE_COLUMN


def place_codes(
    given: Mapping[int, int], limits: Limits, codes: int, fixed_length: bool = False
) -> tuple[dict[int, int], Limits]:
    """Positions counted from the start, and limits of a motion that has them all.

    A position before the start counts from the end, -1 for the last code; then the length is `limits.target`, and
    limits are exact. Otherwise limits grow to reach the last position, unless `fixed_length` forbids it.

    Raises ValueError for a code outside the codebook of `codes`, a position outside the motion, and two codes for one
    position.
    """
    if any(position < 0 for position in given):
        limits = Limits(limits.target, limits.target, limits.target)
        fixed_length = True
    placed: dict[int, int] = {}
    for position, code in given.items():
        if not 0 <= code < codes:
            raise ValueError(f"the given code {code} is outside the codebook of {codes} (0 to {codes - 1})")
        start = position if position >= 0 else limits.target + position
        if start < 0 or (fixed_length and start >= limits.hard_max):
            raise ValueError(f"a code is given at position {position}, the motion has {limits.hard_max} codes")
        if placed.setdefault(start, code) != code:
            raise ValueError(f"two codes are given at position {start}: {placed[start]} and {code}")
    return placed, _at_least(limits, 1 + max(placed, default=-1))


def _at_least(limits: Limits, codes: int) -> Limits:
    """The same limits, each raised to at least `codes` codes."""
    return Limits(max(limits.hard_min, codes), max(limits.target, codes), max(limits.hard_max, codes))


def place_given(
    task: str, given: Mapping[int, int], limits: Limits, timed: bool, *, codes: int, max_new_tokens: int
) -> tuple[dict[int, int], Limits]:
    """`place_codes` for a request of a task; `timed` says that the limits are a wanted length.

    Raises ValueError like `place_codes`, and for positions that the task does not have or `max_new_tokens` cuts off.
    """
    check_given(task, given)
    if task == "predict" and not timed:
        if 2 * len(given) > limits.target:  # then half of a usual motion comes on top
            bounds = (limits.hard_min, limits.target, limits.hard_max)
            limits = Limits(*(len(given) + max(1, bound // 2) for bound in bounds))
        limits = _at_least(limits, len(given) + 1)
    if task == "inbetween":  # its request tells the length
        limits = Limits(limits.target, limits.target, limits.target)
    placed, limits = place_codes(given, limits, codes, timed)
    from_end = min(given, default=0) < 0
    if max(placed, default=-1) >= max_new_tokens or (from_end and limits.target > max_new_tokens):
        raise ValueError(f"the given codes need {limits.hard_min} codes, --max-new-tokens is {max_new_tokens}")
    return placed, limits.capped(max_new_tokens)


def check_given(task: str, given: Mapping[int, int]) -> None:
    """ValueError unless a request for the task may have codes at these positions."""
    positions = sorted(given)
    wanted, fits = {
        "t2m": ("codes at any positions", True),
        "predict": ("the first codes", bool(given) and positions == list(range(len(given)))),
        "inbetween": ("codes at some positions", bool(given)),
        "init": ("the code at position 0", positions == [0]),
        "last": ("the code at position -1", positions == [-1]),
        "keys": ("codes at some positions", bool(given)),
        "random": ("no codes", not given),
        "edit": ("no codes", not given),
    }.get(task, ("", False))
    if not wanted:
        raise ValueError(f"task {task!r} writes no motion from given codes")
    if not fits:
        shown = ", ".join(map(str, positions[:8])) or "none"
        raise ValueError(f"task {task} needs {wanted}; codes are given at positions: {shown}")


class FixedCodes:
    """Keeps given codes while a motion is sampled: `constrain` of `sampling.generate`."""

    def __init__(self, rows: Sequence[Mapping[int, int]], device: torch.device | str = "cpu") -> None:
        """One mapping of positions from the start to codes for each row; `place_codes` makes them."""
        S = 1 + max((position for row in rows for position in row), default=-1)
        fixed = torch.full((len(rows), S + 1), -1)  # -1 is free; the last column stands for all later positions
        for b, row in enumerate(rows):
            for position, code in row.items():
                fixed[b, position] = code
        self.fixed = fixed.to(device)  # (B, S + 1)

    def __call__(self, mask: Tensor, written: Tensor) -> Tensor:
        """mask (B, N + 2), written (B,) -> the mask with nothing but the given code in rows that have one here."""
        last = self.fixed.shape[1] - 1
        code = self.fixed.gather(1, written.clamp(max=last)[:, None])  # (B, 1)
        writes = mask[:, CODE_COLUMN:].any(-1, keepdim=True)  # a row that has ended takes only the end
        only = torch.zeros_like(mask).scatter(1, code.clamp(min=0) + CODE_COLUMN, True)
        return torch.where(writes & (code >= 0), only, mask)
