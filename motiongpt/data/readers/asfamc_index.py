"""Pieces of CMU's own ASF/AMC files: the rows of HumanML3D's index.csv that name a trial of CMU, or those of a captions
file that does.

AMASS posed a body model to the same recordings, and HumanML3D cut that at 20 fps. So its captions fit the same seconds
of a trial here, and the joints are those of the actor's own skeleton. Rows of other data sets are passed over, and rows
of trials that are not there.
"""

import filecmp
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.raw import RawClip
from motiongpt.data.readers import asfamc
from motiongpt.data.readers.amass_index import IndexRow, index_rows

SLACK = 2  # frames at 20 fps by which the index may reach past the end of a trial


@dataclass(frozen=True)
class TrialRow:
    """A row of the index, or of a captions file (its line is 0), with the file of its trial."""

    row: IndexRow
    file: Path
    last: int  # frame at 20 fps that the rows of this trial reach to

    @property
    def place(self) -> str:
        """Where the row comes from, for messages."""
        return f"{self.row.id}, line {self.row.line} of the index" if self.row.line else f"{self.row.id} of --captions"


def trial_rows(index: Path | str, files: Iterable[Path]) -> tuple[list[TrialRow], str]:
    """The rows whose trial is among some .amc files, in the order of the index, and a note about the others.

    Raises FileNotFoundError, or ValueError naming the index: malformed, without a row of these files, or with two
    different files for one trial.
    """
    rows = [row for row in index_rows(index) if row.source.parts[0] == "CMU"]
    if not rows:
        raise ValueError(f"{index}: no row of CMU; --from asfamc needs rows such as ./pose_data/CMU/01/01_01_poses.npy")
    return _with_files(rows, files, f"{index}", "index")


def captioned_trials(
    pieces: Iterable[tuple[str, str, float, float]], files: Iterable[Path]
) -> tuple[list[TrialRow], str]:
    """The same for pieces (id, trial, start and end in seconds) of a captions file."""
    fps = HUMANML3D.fps
    rows = [
        IndexRow(0, PurePosixPath("CMU", trial), round(start * fps), round(end * fps), name)
        for name, trial, start, end in pieces
    ]
    return _with_files(rows, files, "--captions", "captions")


def _with_files(rows: list[IndexRow], files: Iterable[Path], where: str, kind: str) -> tuple[list[TrialRow], str]:
    by_trial: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_trial[trial_name(path.stem)].append(path)
    trials = [trial_name(row.source.stem.removesuffix("_poses")) for row in rows]
    last: dict[str, int] = {}
    for row, trial in zip(rows, trials, strict=True):
        last[trial] = max(row.end, last.get(trial, 0))
    file_of = {trial: _one_file(trial, by_trial[trial]) for trial in last.keys() & by_trial.keys()}
    pairs = zip(rows, trials, strict=True)
    found = [TrialRow(row, file_of[trial], last[trial]) for row, trial in pairs if trial in file_of]
    if not found:
        raise ValueError(
            f"{where}: none of its {len(last)} trials of CMU, such as {trials[0]}, is among the {len(by_trial)} "
            f"trials of --input, such as {next(iter(by_trial), 'none')}"
        )
    note = ""
    if len(found) < len(rows):
        lost = len(last.keys() - file_of.keys())
        note = f"{kind}: {len(rows) - len(found)} rows of {lost} trials are left out, whose .amc files are not there"
    return found, note


def _one_file(trial: str, files: list[Path]) -> Path:
    """The file of a trial; copies count once. Raises ValueError if two differ."""
    first = files[0]
    for other in files[1:]:
        if not filecmp.cmp(first, other, shallow=False):
            raise ValueError(f"{other} and {first} are both trial {trial}, and differ; keep one of them in --input")
    return first


def trial_name(stem: str) -> str:
    """The name by which trials are compared: 1_02 and 01_02 are the same, case does not matter."""
    match = re.fullmatch(r"([0-9]{1,6})_([0-9]{1,6})", stem)
    return f"{int(match[1]):02}_{int(match[2]):02}" if match else stem.lower()


def read_row(
    trial: TrialRow,
    recorded_fps: float | None = None,
    unit: float | None = None,
    up: str | None = None,
    note: str = "",
) -> RawClip:
    """The clip of one row at 20 fps: frames start to end as Python slices them.

    `recorded_fps`, `unit` and `up` are those of `asfamc.read`, whose errors it raises. ValueError, too, if the rows
    reach past the end of the trial: it was cut, or recorded at another rate.
    """
    row = trial.row
    clip = asfamc.read(trial.file, HUMANML3D.fps, recorded_fps, unit, up, whole=True)
    if len(clip.joints) < trial.last - SLACK or row.start >= len(clip.joints):
        rate = recorded_fps or asfamc.recorded_rate(trial.file)
        raise ValueError(
            f"{trial.place}: {trial.file} has {len(clip.joints)} frames at 20 fps if it was recorded at {rate:g}, the "
            f"{'index' if row.line else 'captions file'} reaches {trial.last}: the file was cut, or give its --fps"
        )
    joints = clip.joints[row.start : row.end]
    if not len(joints):
        raise ValueError(f"{trial.place}: frames {row.start} to {row.end} are none")
    return replace(clip, joints=joints, notes=clip.notes + ((note,) if note else ()))
