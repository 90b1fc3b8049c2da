"""HumanML3D's index.csv over CMU's own ASF/AMC files: the rows of CMU name a trial and a piece of it.

AMASS posed a body model to the same recordings, and HumanML3D cut that at 20 fps. So its captions fit the same seconds
of a trial here, and the joints are those of the actor's own skeleton. Rows of other data sets are passed over, and rows
of trials that are not there.
"""

import filecmp
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.raw import RawClip
from motiongpt.data.readers import asfamc
from motiongpt.data.readers.amass_index import IndexRow, index_rows

SLACK = 2  # frames at 20 fps by which the index may reach past the end of a trial


@dataclass(frozen=True)
class TrialRow:
    """A row of the index with the file of its trial."""

    row: IndexRow
    file: Path
    last: int  # frame at 20 fps that the rows of this trial reach to


def trial_rows(index: Path | str, files: Iterable[Path]) -> tuple[list[TrialRow], str]:
    """The rows whose trial is among some .amc files, in the order of the index, and a note about the others.

    Raises FileNotFoundError, or ValueError naming the index: malformed, without a row of these files, or with two
    different files for one trial.
    """
    by_trial: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_trial[trial_name(path.stem)].append(path)
    rows = [row for row in index_rows(index) if row.source.parts[0] == "CMU"]
    if not rows:
        raise ValueError(f"{index}: no row of CMU; --from asfamc needs rows such as ./pose_data/CMU/01/01_01_poses.npy")
    trials = [trial_name(row.source.stem.removesuffix("_poses")) for row in rows]
    last: dict[str, int] = {}
    for row, trial in zip(rows, trials, strict=True):
        last[trial] = max(row.end, last.get(trial, 0))
    file_of = {trial: _one_file(trial, by_trial[trial]) for trial in last.keys() & by_trial.keys()}
    pairs = zip(rows, trials, strict=True)
    found = [TrialRow(row, file_of[trial], last[trial]) for row, trial in pairs if trial in file_of]
    if not found:
        raise ValueError(
            f"{index}: none of its {len(last)} trials of CMU, such as {trials[0]}, is among the {len(by_trial)} "
            f"trials of --input, such as {next(iter(by_trial), 'none')}"
        )
    note = ""
    if len(found) < len(rows):
        lost = len(last.keys() - file_of.keys())
        note = f"index: {len(rows) - len(found)} rows of {lost} trials are left out, whose .amc files are not there"
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
            f"{row.id}, line {row.line} of the index: {trial.file} has {len(clip.joints)} frames at 20 fps if it was "
            f"recorded at {rate:g}, the index reaches {trial.last}: the file was cut, or give its --fps"
        )
    joints = clip.joints[row.start : row.end]
    if not len(joints):
        raise ValueError(f"{row.id}, line {row.line} of the index: frames {row.start} to {row.end} are none")
    return replace(clip, joints=joints, notes=clip.notes + ((note,) if note else ()))
