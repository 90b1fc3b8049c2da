"""What a build kept, dropped and assumed: report.json, one screen of text, and lengths.png."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from motiongpt.data.motions import SPLITS
from motiongpt.files.store import write_atomic, write_json

BIN = 20  # frames per bar of the length histogram
MAX_SKIPPED = 0.05  # share of the records
MAX_NOTES = 12  # on the screen; all are in report.json


class TooManySkipped(ValueError):
    """Too many records were unusable: the data set would not represent its source."""


def check_skipped(skipped: dict[str, str], count: int, total: int, listed: Path | None = None) -> None:
    """Raise TooManySkipped if `count` of `total` records is more than 5 %.

    `skipped` is id -> reason; `listed` is the report that lists them, for the message.
    """
    if count > MAX_SKIPPED * total:
        first, reason = next(iter(skipped.items()))
        place = f"; all are listed in {listed}" if listed else ""
        raise TooManySkipped(
            f"{count} of {total} records cannot be used (limit {100 * MAX_SKIPPED:g} %), "
            f"first {first}: {reason}{place}; repair or remove them (--explain FILE says more), then run this again"
        )


@dataclass
class Report:
    """What a build counted; `to_dict` is report.json."""

    source: str
    kept: Counter = field(default_factory=Counter)  # by split
    frames: int = 0
    captions: int = 0
    guessed: int = 0  # clips whose caption is the words of a file name
    skipped: dict[str, str] = field(default_factory=dict)  # record id -> reason
    notes: dict[str, list] = field(default_factory=dict)  # note without its numbers -> [first wording, clips]
    lengths: Counter = field(default_factory=Counter)  # first length of a bar, in frames -> clips
    fps: float = 20.0
    warnings: list[str] = field(default_factory=list)  # what is likely wrong with all clips
    jumps: dict[str, list] = field(default_factory=dict)  # record id -> frame, metres, usual metres (`jumps.py`)
    unused_captions: int = 0  # ids of --captions that no clip has

    def add_clip(self, split: str, frames: int, captions: int, guessed: bool) -> None:
        self.kept[split] += 1
        self.frames += frames
        self.captions += captions
        self.guessed += guessed
        self.lengths[frames // BIN * BIN] += 1

    def add_notes(self, notes: list[str]) -> None:
        """Count notes. Those that differ only in their numbers count as one,
        and the first wording is kept."""
        for note in notes:
            entry = self.notes.setdefault(re.sub(r"\d+(\.\d+)?", "#", note), [note, 0])
            entry[1] += 1

    def to_dict(self) -> dict:
        return {
            "source": self.source,
            "clips": sum(self.kept.values()),
            "splits": {split: self.kept[split] for split in SPLITS},
            "hours": round(self.frames / self.fps / 3600, 3),
            "captions": self.captions,
            "guessed_captions": self.guessed,
            "unused_captions": self.unused_captions,
            "warnings": self.warnings,
            "jumps": self.jumps,
            "skipped": len(self.skipped),
            "reasons": self.skipped,
            "notes": [{"note": note, "clips": clips} for note, clips in self.notes.values()],
            "lengths": {str(first): self.lengths[first] for first in sorted(self.lengths)},
        }

    def summary(self) -> str:
        """One screen: what was kept, what was assumed, what was dropped and why."""
        facts = self.to_dict()
        splits = ", ".join(f"{n} {split}" for split, n in facts["splits"].items())
        lines = [f"{facts['clips']} clips ({splits}), {facts['hours']} h, {facts['captions']} captions"]
        if self.skipped:
            first, reason = next(iter(self.skipped.items()))
            lines[0] += f"; {len(self.skipped)} skipped, first {first}: {reason}"
        lines += [f"WARNING: {warning}" for warning in self.warnings]
        if self.guessed:
            lines.append(f"captions guessed from names: {self.guessed} clips; give --captions, or a .txt beside each")
        common = sorted(self.notes.values(), key=lambda entry: -entry[1])
        lines += [f"assumed for {clips} clips: {note}" for note, clips in common[:MAX_NOTES]]
        if len(common) > MAX_NOTES:
            lines.append(f"... and {len(common) - MAX_NOTES} more notes in report.json")
        return "\n".join(lines)

    def next_step(self, folder: str) -> str:
        """What to do with the data set, as a command or a sentence."""
        if self.kept["val"]:
            return f"python scripts/train_vqvae.py --data {folder} --out outputs/vqvae"
        return (
            "add clips: the validation split is empty, and training a tokenizer needs one "
            "(one motion alone: sample.py --task m2t --input FILE)"
        )

    def save(self, folder: Path) -> None:
        write_json(folder / "report.json", self.to_dict())

    def save_histogram(self, path: Path) -> None:
        """The length of the clips in seconds, as a picture."""
        # without pyplot: no display is needed and no global state touched
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.add_subplot()
        starts = sorted(self.lengths)
        width = BIN / self.fps
        axes.bar([first / self.fps for first in starts], [self.lengths[first] for first in starts], width, align="edge")
        axes.set_xlabel("length (seconds)")
        axes.set_ylabel("clips")
        canvas = FigureCanvasAgg(figure)
        write_atomic(path, lambda temporary: canvas.print_png(temporary))
