"""Damaged copies of a good file, for the tests of everything that reads somebody else's."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np


def mutations(good: bytes, head: int | None = None, changes: int = 7) -> Iterator[bytes]:
    """A hundred copies: every fourth cut off, the others with 1 to `changes` bytes changed, in every second of them
    among the first `head` bytes."""
    rng = np.random.default_rng(0)
    for i in range(100):
        data = bytearray(good)
        if i % 4 == 0:
            data = data[: rng.integers(len(data))]
        else:
            for place in rng.integers(head if head and i % 2 else len(data), size=rng.integers(1, changes + 1)):
                data[place] = rng.integers(256)
        yield bytes(data)


def check_mutations(
    path: Path, read: Callable[[], object], also: Callable[[], object] = lambda: True, least: int = 25, **how
) -> None:
    """`read` takes the file as it is, and its mutations or refuses them: one line, within 5 seconds. What `also` does
    with each must work. `least` are refused; of text, fewer than every truncated one."""
    read()
    refused = 0
    for data in mutations(path.read_bytes(), **how):
        path.write_bytes(data)
        start = time.monotonic()
        try:
            read()
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
        assert also()
        assert time.monotonic() - start < 5
    assert refused >= least  # at least every truncated one
