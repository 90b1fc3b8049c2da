"""What a training says of itself: metrics.jsonl, one line of numbers at a time, and the lines that people read."""

import json
from collections.abc import Sequence
from pathlib import Path

from motiongpt.files.store import naming, write_atomic
from motiongpt.training.watch import Watcher


class Journal:
    """FOLDER/metrics.jsonl and the watchers of a training, which are told what is written there.

    A resumed training does the steps after its last save again, so their lines go.
    """

    def __init__(self, folder: Path, step: int, watchers: Sequence[Watcher], writes: bool) -> None:
        """Without `writes` there is no file to write, and nobody is told: one process of several speaks."""
        self.path, self.writes = folder / "metrics.jsonl", writes
        self.watchers = watchers if writes else ()
        self.last: dict[str, float] = {}
        """The last value of every number."""
        kept = records_until(self.path, step)
        for line in kept.splitlines():
            self.last |= json.loads(line)
        self.last.pop("step", None)
        if writes:
            write_atomic(self.path, lambda temporary: temporary.write_text(kept))
        for watcher in self.watchers:
            watcher.on_start(step)

    def record(self, step: int, values: dict[str, float]) -> None:
        self.last |= values
        if self.writes:
            with naming(self.path), open(self.path, "a") as file:
                file.write(json.dumps({"step": step} | values) + "\n")
        for watcher in self.watchers:
            watcher.on_record(step, values)


def records_until(path: Path, step: int) -> str:
    """The lines of a metrics.jsonl up to `step`, without a line that is torn or damaged and what follows it."""
    kept = ""
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
            if record["step"] > step or not all(isinstance(value, int | float) for value in record.values()):
                break
        except (ValueError, TypeError, LookupError, RecursionError):
            break
        kept += line + "\n"
    return kept


def numbers(values: dict[str, float]) -> str:
    """`loss 0.5  lr 0.001`."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def clock(seconds: float) -> str:
    """`0:42`, `1:00:07`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
