"""The constraints of a motion, as flags and as one JSON file:

    {"path": [[0, 0, 0], [2, 0, 1.5]], "reach": [{"joint": "left_wrist", "time": 2.0, "target": [0.3, 1.4, 0.4]}],
     "loop": true, "in_place": false}

Every key may be left out. Times are seconds, places are metres in the motion's own frame: y up, the first frame at
x = z = 0, facing +z, left is +x. A waypoint is [time, x, z]: where the root is above the ground.
"""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from motiongpt.body.limbs import limbs
from motiongpt.body.skeletons import Skeleton
from motiongpt.files.arrays import load_array
from motiongpt.files.fields import get_field, is_kind
from motiongpt.files.store import read_json

KEYS = ("path", "reach", "loop", "in_place")
REACH_KEYS = ("joint", "time", "target")
REACH_FORM = "JOINT@SECONDS=X,Y,Z, such as left_wrist@2.0=0.3,1.4,0.4"
FARTHEST = 1000.0  # metres; nobody walks that far in a clip


@dataclass(frozen=True)
class Waypoint:
    """Where the root is above the ground at a time."""

    time: float  # seconds
    x: float  # metres
    z: float


@dataclass(frozen=True)
class Reach:
    """Where a wrist or an ankle is at a time."""

    joint: str  # its name in the skeleton
    time: float  # seconds; the nearest frame counts
    target: tuple[float, float, float]  # metres


@dataclass(frozen=True)
class Constraints:
    """Everything that is asked of one motion. Raises ValueError for numbers and wishes that contradict each other."""

    path: tuple[Waypoint, ...] = ()
    reach: tuple[Reach, ...] = ()
    loop: bool = False
    in_place: bool = False

    def __post_init__(self):
        for point in self.path:
            _check_numbers(f"the waypoint at {point.time} s", point.time, (point.x, point.z))
        for reach in self.reach:
            _check_numbers(f"reach {reach.joint}", reach.time, reach.target)
        for before, after in pairwise(self.path):
            if not before.time < after.time:
                raise ValueError(
                    f"path: times must increase, got {after.time:g} s after {before.time:g} s; sort the waypoints"
                )
        asked = [(reach.joint, reach.time) for reach in self.reach]
        twice = next((pair for pair in asked if asked.count(pair) > 1), None)
        if twice:
            raise ValueError(f"reach: {twice[0]} has two targets at {twice[1]:g} s; leave one out")
        if self.path and self.in_place:
            raise ValueError("path and in_place contradict each other: one moves the root, the other stops it")

    def __bool__(self) -> bool:
        """Whether anything is asked."""
        return bool(self.path or self.reach or self.loop or self.in_place)

    @property
    def seconds(self) -> float:
        """The last time that something is asked for: the motion must be so long. 0 if no time is named."""
        return max((event.time for event in (*self.path, *self.reach)), default=0.0)

    def check(self, skeleton: Skeleton, frames: int, fps: float) -> None:
        """ValueError for a joint that cannot be moved to a target, and for a time after the end of the motion."""
        movable = limbs(skeleton)
        for reach in self.reach:
            if reach.joint not in movable:
                skeleton.index(reach.joint)  # an unknown joint
                raise ValueError(
                    f"reach: {reach.joint} cannot be moved to a target, only the ends of arms and legs can: "
                    f"{', '.join(movable)}"
                )
        if self.seconds > frames / fps:
            raise ValueError(
                f"constraints ask for {self.seconds:g} s, the motion has {frames / fps:g} s; "
                f"ask for a longer motion (--seconds {math.ceil(self.seconds * 10) / 10:g}) or an earlier time"
            )


def frame_at(time: float, frames: int, fps: float) -> float:
    """The frame of a time, with its fraction. The last frame stands for the rest of its duration."""
    return min(time * fps, frames - 1.0)


def nearest_frame(time: float, frames: int, fps: float) -> int:
    """The frame that a reach at this time is about."""
    return round(frame_at(time, frames, fps))


def read_constraints(path: Path | str) -> Constraints:
    """The constraints of a JSON file. Raises FileNotFoundError, or ValueError with the file, the key and the remedy."""
    values = read_json(path)
    try:
        _check_keys(values, KEYS, "")
        reaches = get_field(values, "reach", list, "", [])
        return Constraints(
            path=_waypoints(get_field(values, "path", list, "", [])),
            reach=tuple(_reach(entry, i) for i, entry in enumerate(reaches)),
            loop=get_field(values, "loop", bool, "", False),
            in_place=get_field(values, "in_place", bool, "", False),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def gather_constraints(
    file: Path | str | None = None,
    path: Path | str | None = None,
    reach: Sequence[str] = (),
    loop: bool = False,
    in_place: bool = False,
) -> Constraints:
    """The constraints of --constraints FILE, with what the other flags add. Errors are those of the readers.

    A path from --path takes the place of the one in the file; targets from --reach come on top.
    """
    known = read_constraints(file) if file is not None else Constraints()
    return replace(
        known,
        path=read_path(path) if path is not None else known.path,
        reach=known.reach + tuple(map(parse_reach, reach)),
        loop=known.loop or loop,
        in_place=known.in_place or in_place,
    )


def parse_reach(text: str) -> Reach:
    """The reach in a text like "left_wrist@2.0=0.3,1.4,0.4". ValueError if it has another form."""
    match = re.fullmatch(r"\s*([^@=]*[^@=\s])\s*@([^@=]+)=([^@=]+)", text)
    try:
        joint, time, target = match.groups() if match else ("", "", "")
        x, y, z = map(float, target.split(","))
        reach = Reach(joint, float(time), (x, y, z))
    except ValueError:
        raise ValueError(f"--reach {text!r:.80}: expected {REACH_FORM}") from None
    _check_numbers(f"--reach {text}", reach.time, reach.target)
    return reach


def read_path(path: Path | str) -> tuple[Waypoint, ...]:
    """Waypoints from a file: .json, a list of [time, x, z]; .csv with the columns t, x, z; .npy (W, 3).

    Raises FileNotFoundError, or ValueError with the file, what was found and what is expected.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; a path is a .json, .csv or .npy of waypoints: time, x, z")
    if suffix == ".json":
        rows = read_json(path, list)
    elif suffix == ".npy":
        rows = load_array(path, 2, 3).astype(float).tolist()
    elif suffix == ".csv":
        rows = _csv_rows(path)
    else:
        raise ValueError(f"{path}: a path of waypoints is a .json, .csv or .npy file, got {suffix or 'no suffix'}")
    try:
        if not rows:
            raise ValueError("it has no waypoint; expected rows of time, x, z")
        return Constraints(path=_waypoints(rows)).path
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _csv_rows(path: Path) -> list[list[float]]:
    """Rows [t, x, z] of a .csv whose first line names the columns, in any order."""
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no .csv text ({error})") from error
    names = [name.strip().lower() for name in lines[0]] if lines else []
    if not {"t", "x", "z"} <= set(names):
        raise ValueError(f"{path}: the first line must name the columns t, x and z, got {', '.join(names)[:60]!r}")
    columns = [names.index(name) for name in "txz"]
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not "".join(line).strip():  # an empty line
            continue
        try:
            rows.append([float(line[column]) for column in columns])
        except (ValueError, IndexError):
            raise ValueError(
                f"{path}, line {number}: expected numbers for t, x, z, got {','.join(line)[:60]!r}"
            ) from None
    return rows


def _waypoints(rows: Iterable) -> tuple[Waypoint, ...]:
    points = []
    for number, row in enumerate(rows):
        if not is_kind(row, list) or len(row) != 3 or not all(is_kind(value, float) for value in row):
            raise ValueError(f"path[{number}]: expected three numbers [time, x, z], got {str(row)[:60]}")
        points.append(Waypoint(*map(float, row)))
    return tuple(points)


def _reach(entry: object, number: int) -> Reach:
    where = f"reach[{number}]"
    if not is_kind(entry, dict):
        raise ValueError(f"{where}: expected an object with {', '.join(REACH_KEYS)}, got {str(entry)[:60]}")
    _check_keys(entry, REACH_KEYS, f"{where}: ")
    target = get_field(entry, "target", list, where)
    if len(target) != 3 or not all(is_kind(value, float) for value in target):
        raise ValueError(f"{where}: target must be three numbers [x, y, z], got {str(target)[:60]}")
    time = get_field(entry, "time", float, where)
    return Reach(get_field(entry, "joint", str, where), float(time), tuple(map(float, target)))


def _check_keys(values: dict, known: Sequence[str], where: str) -> None:
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(f"{where}unknown key {unknown[0]!r:.60}; known: {', '.join(known)}")


def _check_numbers(what: str, time: float, place: Sequence[float]) -> None:
    if not 0 <= time < math.inf:
        raise ValueError(f"{what}: a time is a number of seconds from 0 on, got {time}")
    if not all(abs(value) <= FARTHEST for value in place):  # not true of NaN
        got = ", ".join(f"{value:g}" for value in place)
        raise ValueError(f"{what}: places are metres within {FARTHEST:g} of the origin, got {got}")
