"""Damaged copies of a good file, for the tests of everything that reads somebody else's."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from cases import at_most


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
    path: Path,
    read: Callable[[], object],
    also: Callable[[bool], object] = lambda refused: True,
    copies: Iterable[bytes] | None = None,
    sound: Callable[[object], object] = lambda result: True,
    refusals: tuple[type[Exception], ...] = (ValueError,),
    names: Path | None = None,
    least: int = 25,
    most: int = 100,
    **how,
) -> None:
    """`read` takes the good file. Every damaged copy must give a sound result, or be refused within 5 seconds of work:
    by a one-line error of the types `refusals` that names the file (or `names`). `also(refused)` must hold then.

    The damaged ones are `copies`, or the mutations of the good file, whose options are `how`. From `least` to `most`
    of them are refused: at least every truncated one, unless the file is text. Every failure is listed.
    """
    read()
    problems, refused = [], 0
    for i, data in enumerate(copies or mutations(path.read_bytes(), **how)):
        path.write_bytes(data)
        message = None
        try:
            with at_most(seconds=5):
                try:
                    assert sound(read()), "what was read is not sound"
                except refusals as error:
                    message = str(error)
                    refused += 1
                    assert "\n" not in message and len(message) < 1000, message
                    assert str(names or path) in message, f"the file is not named: {message}"
                assert also(message is not None), f"`also` does not hold; refused with: {message}"
        except Exception as error:
            problems.append(f"copy {i}: {type(error).__name__}: {error}")
    assert not problems, "\n" + "\n".join(problems)
    assert least <= refused <= most, f"{refused} were refused"
