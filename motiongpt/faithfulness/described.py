"""Does the model name what a motion shows that nobody trained on? The rows `described` and `described-real`.

    test clip -> its codes -> the plain caption that the model writes for them -> the first action it names
              -> the clip's own captions -> the actions that they name

A description is right if its main action, the first one it names, is among the actions of the captions. Actions are
compared as families, without a side: nobody says which hand of a clip counts. A wrong side is a number beside the row.
The clips are those of a token file. What names actions is handed in, since it builds on this package.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from motiongpt.faithfulness.report import MeasureRow
from motiongpt.files.store import write_json

Named = Callable[[str], list[tuple[str, str]]]  # a sentence -> (family, side) of the actions it names, in its order
MOST = {"described": 200, "described-real": 60}  # clips of a row, the first in order of name
EMBEDDED = re.compile(r"p\d+_\d+")  # ids of embedded clips, as `procedural.clips.clip_name` writes them
EDITED = re.compile(r"e\d+_\d+_(source|target)")  # both motions of an embedded edit


class Clip(NamedTuple):
    """A test clip with everything that is said of it."""

    id: str
    codes: tuple[int, ...]
    captions: tuple[str, ...]
    plain: str  # "" if nobody said it

    @property
    def said(self) -> tuple[str, ...]:
        """Its captions, the plain one first."""
        return (self.plain, *self.captions) if self.plain else self.captions


def clips_by_row(entries: Iterable) -> dict[str, list[Clip]]:
    """The test clips of each row, in order of name, from entries as those of `data.tokens.Entry`.

    Edits, clips without an id and mirror images (M before the id of another clip) are in no row.
    """
    entries = list(entries)
    names = {entry.id for entry in entries}
    found: dict[str, list] = {}
    for entry in entries:
        mirrored = entry.id.startswith("M") and entry.id[1:] in names
        if entry.split == "test" and entry.id and not entry.source and not mirrored and not EDITED.fullmatch(entry.id):
            found.setdefault(entry.id, []).append(entry)
    clips: dict[str, list[Clip]] = {name: [] for name in MOST}
    for name, several in sorted(found.items()):
        captions = tuple(dict.fromkeys(entry.text for entry in several))
        plain = next((entry.plain for entry in several if entry.plain), "")
        row = "described" if EMBEDDED.fullmatch(name) else "described-real"
        clips[row].append(Clip(name, several[0].codes, captions, plain))
    return clips


@dataclass
class Described:
    """What both rows are measured with, and what was found, clip by clip."""

    generator: Any  # a `MotionGenerator`
    clips: Mapping[str, Sequence[Clip]]  # row -> its clips
    named: Named
    records: list[dict] = field(default_factory=list)  # of all rows so far, to be read by eye

    def measure(self, name: str) -> MeasureRow:
        """A row, counted by the main action of each clip; without tries if there is no clip or no description.

        Its numbers are clips: those left out because no caption names an action, wrong sides, and how many would be
        right if the model always said the one action that fits most of them.
        """
        row = MeasureRow(name)
        chosen, unnamed = self._chosen(name)
        if not chosen:
            none = f"no caption of its {unnamed} test clips names an action" if unnamed else "it has no test clips"
            row.unmeasured = f"{none}; --data takes a token file with clips of the split test"
            return row
        try:
            run = self.generator.describing_run
            texts = self.generator.listener.describe(run, [clip.codes for clip, _ in chosen])
        except ValueError as error:  # the run knows no plain captions, or never learnt to describe
            row.unmeasured = str(error)
            return row
        wrong_sides = 0
        for (clip, actions), text in zip(chosen, texts, strict=True):
            main, side = next(iter(self.named(text)), ("", ""))
            right = main in {family for family, _ in actions}
            sides = {own for family, own in actions if family == main} - {""}
            wrong_side = bool(right and side and sides and side not in sides)
            wrong_sides += wrong_side
            row.add(actions[0][0], right, clip=clip.id, description=text, caption=clip.said[0])
            self.records.append(
                {
                    "id": clip.id,
                    "captions": list(clip.captions),
                    "plain": clip.plain,
                    "description": text,
                    "right": right,
                    "wrong_side": wrong_side,
                }
            )
        row.numbers["clips"] = {
            "left out, no action named": unnamed,
            "right, but with the wrong side": wrong_sides,
            "right if always the same action": _most_common(actions for _, actions in chosen),
        }
        return row

    def write(self, folder: Path) -> list[Path]:
        """Write described.json, if anything was described; one of an earlier report goes."""
        path = folder / "described.json"
        path.unlink(missing_ok=True)
        if not self.records:
            return []
        write_json(path, self.records)
        return [path]

    def _chosen(self, name: str) -> tuple[list[tuple[Clip, list[tuple[str, str]]]], int]:
        """The first clips whose captions name actions, with these, and how many clips before the last one name none."""
        chosen, unnamed = [], 0
        for clip in self.clips[name]:
            if len(chosen) == MOST[name]:
                break
            if actions := [action for text in clip.said for action in self.named(text)]:
                chosen.append((clip, actions))
            else:
                unnamed += 1
        return chosen, unnamed


def _most_common(clips: Iterable[Iterable[tuple[str, str]]]) -> int:
    """In how many clips the family is that most of them have."""
    counts: dict[str, int] = {}
    for actions in clips:
        for family in {family for family, _ in actions}:
            counts[family] = counts.get(family, 0) + 1
    return max(counts.values())
