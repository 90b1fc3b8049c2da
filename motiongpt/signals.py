"""How a training hears that it should stop: SIGTERM and Ctrl-C, without losing a step.

A signal in the middle of a step only leaves a note, which the loop reads between steps. A validation takes long and
changes nothing, so a signal ends it at once. Nothing here knows what is trained.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """A signal came inside `StopSignals.at_once`."""


class StopSignals:
    """Whether a signal has come; `catch_signals` makes one."""

    def __init__(self) -> None:
        self._received = threading.Event()
        self._raises = False

    def __call__(self) -> bool:
        return self._received.is_set()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `Stopped` inside the block as soon as a signal comes, or at its start if one has come."""
        self._raises = True
        try:
            if self():
                raise Stopped
            yield
        finally:
            self._raises = False

    def _handle(self, number: int, _frame: object) -> None:
        if self() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received.set()
        if self._raises:
            raise Stopped


@contextmanager
def catch_signals() -> Iterator[StopSignals]:
    """SIGTERM and Ctrl-C ask the block to stop; a second Ctrl-C is an ordinary KeyboardInterrupt."""
    signals = StopSignals()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield signals
        return
    former = {number: signal.signal(number, signals._handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
