"""The report of `scripts/demo_report.py`: rows of tries that passed or not, as text, as JSON and as pictures.

A `MeasureRow` counts, lists its failures, and may carry mean numbers. `rows.py` measures. The report files are
`markdown` and `MeasureRow.record`; `Sheets` collects motions to look at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.faithfulness.conditions import INCLUDED
from motiongpt.faithfulness.measures import FPS
from motiongpt.render.sheets import write_sheet
from motiongpt.render.stick_figure import StickScene
from motiongpt.render.view import Shown, View

TARGETS = {"truth": 0.99, "roundtrip": 0.97, "model": 0.9, "sentences": 0.7, "sequences": 0.85, "lengths": 1.0}
TARGETS |= {"spellings": 0.98, "free": 0.8, "counts": 0.75, "manners": 0.75, "quality": 0.95}
TARGETS |= {"described": 0.8, "described-real": 0.5}
TARGETS |= {f"{name}-more": TARGETS[name] for name in ("truth", "roundtrip", "model")}
TARGETS |= {f"{name}-manners": TARGETS[name] for name in ("truth", "roundtrip")}
ACTION_ROWS = ("truth", "roundtrip", "model", "sentences")  # rows, and their "-more", that count by single actions


@dataclass
class MeasureRow:
    """One row of the report: tries per group (an action, a pair, a category), what failed, and mean numbers of
    several sets of motions."""

    name: str
    tries: dict[str, list[bool]] = field(default_factory=dict)
    failures: list[dict] = field(default_factory=list)
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    unmeasured: str = ""  # why there are no tries

    def add(self, group: str, passed: bool, **what) -> None:
        """Count one try. If it failed, keep `what` (sentence, seed, ...)."""
        self.tries.setdefault(group, []).append(bool(passed))
        if not passed:
            self.failures.append({"wanted": group, **what})

    @property
    def passed(self) -> int:
        return sum(map(sum, self.tries.values()))

    @property
    def total(self) -> int:
        return sum(map(len, self.tries.values()))

    def record(self) -> dict:
        """The row as JSON: counts, share, target, and [passed, total] per group. No tries: neither share nor `met`."""
        groups = {group: [sum(tries), len(tries)] for group, tries in self.tries.items()}
        share = self.passed / self.total if self.total else None
        record = {
            "passed": self.passed,
            "total": self.total,
            "share": share if share is None else round(share, 4),
            "target": TARGETS[self.name],
            "met": share if share is None else share >= TARGETS[self.name],
            "groups": groups,
            "failures": self.failures,
        }
        record |= {"numbers": self.numbers} if self.numbers else {}
        return record | ({"unmeasured": self.unmeasured} if self.unmeasured else {})


def markdown(title: str, rows: Sequence[MeasureRow], matrix: dict[str, dict[str, float]] | None = None) -> str:
    """The report as Markdown: a summary, a table per action or pair, the failures,
    and the matrix if there is one."""
    about = "A model gets the sentence and the seed, nothing else; what it is to describe, as codes. "
    about += "Only a reward stage trains on conditions."
    text = [f"# {title}", "", about, ""]
    text += summary(rows)

    # a table with a line per action and a column per row of the report
    columns: dict[str, dict[str, str]] = {}  # row -> action -> count; a "-more" row continues its column
    for row in rows:
        if row.name.removesuffix("-more") in ACTION_ROWS:
            counts = {group: _count(row, group) for group in row.tries if " then " not in group}
            columns.setdefault(row.name.removesuffix("-more"), {}).update(counts)
    if names := list(dict.fromkeys(name for counts in columns.values() for name in counts)):
        text += ["", "## Per action", "", f"| action | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        text += [f"| {name} | {' | '.join(c.get(name, '') for c in columns.values())} |" for name in names]
    # pairs, lengths, categories and the like have a table of their own
    for row in rows:
        by_action = row.name.removesuffix("-more") in ACTION_ROWS
        others = [g for g in row.tries if " then " in g] if by_action else row.tries
        if others:
            text += ["", f"## {row.name.capitalize()}", "", "| asked for | passed |", "|---|---|"]
            text += [f"| {name} | {_count(row, name)} |" for name in others]
        text += ["", f"{row.name.capitalize()} was not measured: {row.unmeasured}"] if row.unmeasured else []
        text += number_lines(row)
    for row in rows:
        if row.failures:
            text += ["", f"## What failed: {row.name}", ""]
            text += ["- " + ", ".join(f"{key} {value}" for key, value in what.items()) for what in row.failures]
    return "\n".join(text + (["", *matrix_lines(matrix)] if matrix else [])) + "\n"


def summary(rows: Sequence[MeasureRow]) -> list[str]:
    """The lines of a Markdown table, one for each row of the report; "-" for what was not measured."""
    lines = ["| measure | passed | share | target | met |", "|---|---|---|---|---|"]
    for row in rows:
        r = row.record()
        counts = f"{r['passed']} / {r['total']} | {100 * r['share']:.1f} %" if r["total"] else "- | -"
        met = {True: "yes", False: "no", None: "-"}[r["met"]]
        lines.append(f"| {row.name} | {counts} | {100 * r['target']:g} % | {met} |")
    return lines


def number_lines(row: MeasureRow) -> list[str]:
    """The lines of a Markdown table of a row's numbers: a line per number, a column per set of motions."""
    if not row.numbers:
        return []
    lines = ["", f"| {row.name} | {' | '.join(row.numbers)} |", "|---" * (len(row.numbers) + 1) + "|"]
    for name in next(iter(row.numbers.values())):
        lines.append(f"| {name} | {' | '.join(f'{values[name]:.3g}' for values in row.numbers.values())} |")
    return lines


def group_lines(row: MeasureRow) -> list[str]:
    """A line per group of a row that counts by anything but single actions: "free: count 12/20"."""
    if row.name.removesuffix("-more") in ACTION_ROWS:
        return []
    if row.unmeasured:
        return [f"  not measured: {row.unmeasured}"]
    return [f"  {name} {_count(row, name)}" for name in row.tries]


def matrix_lines(matrix: dict[str, dict[str, float]]) -> list[str]:
    """The lines of a Markdown table: per condition the share of its own action that passes,
    and of every other one."""
    lines = ["## Which condition passes on motions of which action", ""]
    lines += ["| condition | own action | other actions that pass |", "|---|---|---|"]
    for name, row in matrix.items():
        others = [
            f"{action} {100 * share:.0f} %" + (" (included)" if (name, action) in INCLUDED else "")
            for action, share in row.items()
            if action != name and share > 0
        ]
        lines.append(f"| {name} | {100 * row[name]:.0f} % | {', '.join(others) or 'none'} |")
    return lines


def _count(row: MeasureRow, group: str) -> str:
    tries = row.tries.get(group)
    return f"{sum(tries)}/{len(tries)}" if tries else ""


@dataclass
class Sheets:
    """Contact sheets of some of the motions of a row, evenly drawn, one PNG with one row of pictures each."""

    folder: Path
    most: int = 20
    panels: int = 8
    motions: list[tuple[str, str, list[str], np.ndarray]] = field(default_factory=list)

    def see(self, asked, motion, lacks: list[str]) -> None:
        """Keep a motion (F, J, 3) with its sentence, the first one of each; what `rows.ask` calls."""
        if motion is not None and asked.sentence not in {sentence for _, sentence, _, _ in self.motions}:
            self.motions.append((asked.group, asked.sentence, lacks, motion.joints))

    def write(self) -> list[Path]:
        """Write the sheets; a name says the place, the group, and what the motion lacks."""
        motions = sorted(self.motions, key=lambda one: one[:2])
        picked = np.linspace(0, len(motions) - 1, min(self.most, len(motions))).round().astype(int)
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, index in enumerate(picked, 1):
            group, sentence, lacks, joints = motions[index]
            name = "-".join([f"{number:02d}", group.replace(" ", "_"), *(lacks and ["lacks", *lacks] or ["passes"])])
            said = f"{group}: lacks {', '.join(lacks)}" if lacks else f"{group}: passes"
            path = self.folder / f"{name}.png"
            shown, row = [Shown(joints, HUMANML3D, FPS, said)], {"panels": self.panels, "columns": self.panels}
            paths.append(write_sheet(path, shown, View(sentence, size=240), StickScene, **row))
        return paths
