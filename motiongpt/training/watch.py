"""Who is told what a training does: its numbers, its saves, its end."""

from pathlib import Path
from typing import Protocol


class Watcher(Protocol):
    """Follows one call of `loops.train`, and must not change it. Only the first process calls it.

    An exception of a watcher ends the training, so one that talks to a network or a disk of its own catches what can
    go wrong there.
    """

    def on_record(self, step: int, values: dict[str, float]) -> None:
        """A line of metrics.jsonl: numbers of training, or of validation, whose names begin with `val_`."""

    def on_save(self, step: int, folder: Path, total_steps: int) -> None:
        """`folder/state/last` is whole. The next save moves it away, so whoever needs it later copies or links it."""

    def on_end(self, finished: bool) -> None:
        """Nothing more will come: all steps are done, or time or a signal ended this call."""
