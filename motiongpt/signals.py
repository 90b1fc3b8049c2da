"""How a training hears that it should stop: SIGTERM and Ctrl-C, without losing a step, and a clock.

A signal in the middle of a step only leaves a note, which the loop reads between steps. A validation takes long and
changes nothing, so a signal ends it at once, and so does its time running out. Nothing here knows what is trained.
"""

import _thread
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """A signal came inside `StopSignals.at_once`, or its time ran out."""


class StopSignals:
    """Whether a signal has come; `catch_signals` makes one."""

    def __init__(self) -> None:
        self.received: int | None = None  # the number of the first signal
        self._raises = False
        self._late = False  # the clock has rung, and its signal is on its way
        self._rings = threading.Lock()  # while it does: a block that ends waits for it
        self._until = math.inf  # of `in_turns`

    def __call__(self) -> bool:
        return self.received is not None

    @contextmanager
    def at_once(self, seconds: float = math.inf) -> Iterator[None]:
        """Raise `Stopped` inside the block as soon as a signal comes or so many seconds have passed, or at its start if
        one has come. Only the main thread hears the clock."""
        # a thread cannot stop another, but it can send it a signal
        timer = threading.Timer(seconds, self._ring) if seconds < threading.TIMEOUT_MAX else None
        self._raises = True
        try:
            if self():
                raise Stopped
            if timer is not None:
                timer.daemon = True
                timer.start()
            yield
        finally:
            self._raises = False
            if timer is not None:
                with self._rings:
                    timer.cancel()

    @contextmanager
    def in_turns(self, seconds: float = math.inf) -> Iterator[None]:
        """In the block, `asked_to_stop` also says whether so many seconds have passed: for several processes, none of
        which may leave it without the others."""
        self._until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until = math.inf

    def _ring(self) -> None:
        with self._rings:
            if not self._raises or signal.getsignal(signal.SIGTERM) != self._handle:
                return
            self._late = True
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
            else:  # on Windows, where it waits until the main thread is back in Python
                _thread.interrupt_main(signal.SIGTERM)

    def _handle(self, number: int, _frame: object) -> None:
        if self._late and number == signal.SIGTERM:
            self._late = False
        elif self() and number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            self.received = self.received or number
        if self._raises:
            self._raises = False  # once: another signal must not interrupt the way out
            raise Stopped


_caught: list[StopSignals] = []  # of the blocks that run now


def asked_to_stop() -> bool:
    """Whether a signal has come in a block of `catch_signals` that runs now, or the time of its `in_turns` is over."""
    return any(signals() or time.monotonic() > signals._until for signals in _caught)


@contextmanager
def catch_signals() -> Iterator[StopSignals]:
    """SIGTERM and Ctrl-C ask the block to stop; a second Ctrl-C is an ordinary KeyboardInterrupt."""
    signals = StopSignals()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield signals
        return
    former = {number: signal.signal(number, signals._handle) for number in (signal.SIGINT, signal.SIGTERM)}
    _caught.append(signals)
    try:
        yield signals
    finally:
        _caught.remove(signals)
        for number, handler in former.items():
            signal.signal(number, handler)
