"""Who is told what a training does: its numbers, its saves, its samples, its end."""

from pathlib import Path


class Watcher:
    """Follows one call of `loops.train`, and must not change it. Only the first process calls it.

    A subclass overrides what it wants to hear. An exception of a watcher ends the training, so one that talks to a
    network or a disk of its own catches what can go wrong there.
    """

    def on_start(self, step: int) -> None:
        """Steps up to `step` are done; whatever a former call told of later ones is void, and is done again."""

    def on_record(self, step: int, values: dict[str, float]) -> None:
        """A line of metrics.jsonl: numbers of training, or of validation, whose names begin with `val_`."""

    def on_save(self, step: int, folder: Path, total_steps: int) -> None:
        """`folder/state/last` is whole. The next save moves it away, so whoever needs it later copies or links it."""

    def on_samples(self, step: int, folder: Path) -> None:
        """`folder` has the motions that the model of this step has written."""

    def on_end(self, finished: bool) -> None:
        """Nothing more will come: all steps are done, or time or a signal ended this call."""
