"""The text of ASF and AMC files -> a tree of bones and its numbers, without any kinematics (`readers/asfamc.py`).

An ASF file is a skeleton, for all motions of one person:
  :units      mass 1.0, length 0.45, angle deg
  :root       order TX TY TZ RX RY RZ, axis XYZ, position 0 0 0, orientation 0 0 0
  :bonedata   begin, id 2, name lfemur, direction 0.34 -0.94 0, length 7.6, axis 0 0 20 XYZ, dof rx ry rz, end ...
  :hierarchy  begin, root lhipjoint rhipjoint lowerback, lhipjoint lfemur, ..., end
An AMC file is a motion: per frame its number, then one row per bone that moves, such as `lfemur 3.2 2.9 28.8`.
"""

import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motiongpt.data.readers.bvh_text import MAX_FILE_BYTES, MAX_JOINTS, MAX_NAME, Fail, opened_text, read_numbers

MAX_SKELETON_BYTES = 4 << 20
ROOT = "root"
FULL_TURN = ("rx", "ry", "rz")
_ROOT_CHANNELS = ("tx", "ty", "tz", *FULL_TURN)
_UNIT_VECTOR = 0.01  # how far from 1 the length of a direction may be
_SECTIONS = (":units", ":root", ":bonedata", ":hierarchy")

Rows = Iterator[tuple[int, list[str]]]  # line number and words


@dataclass(frozen=True)
class Asf:
    """A skeleton as it is: J bones, the first is the root, in the file's unit and in radians."""

    path: Path
    names: tuple[str, ...]
    parents: tuple[int, ...]  # -1 for the root; a parent comes before its children
    offsets: np.ndarray  # (J, 3) from a bone's beginning to its end, direction * length; the root's is its position
    axes: np.ndarray  # (J, 3) the angles of a bone's own axes
    orders: tuple[str, ...]  # "XYZ": which turn comes first, of the axes and of the motion alike
    channels: tuple[tuple[str, ...], ...]  # per bone, as "rx"
    unit_length: float  # `length` of :units
    in_degrees: bool  # the angles of a motion, unless its file says otherwise


@dataclass(frozen=True)
class Amc:
    """The F frames of a motion: C channels, in the file's unit and in radians."""

    channels: tuple[tuple[str, ...], ...]  # per bone of the skeleton; the columns of values follow this order
    values: np.ndarray  # (F, C)


# 1) The skeleton.


def parse_asf(path: str | Path) -> Asf:
    """Read a skeleton. Raises FileNotFoundError, or ValueError naming file and line."""
    path = Path(path)
    with opened_text(path, MAX_SKELETON_BYTES) as (rows, fail):
        sections = _sections(rows, fail)
        units = _fields(sections[":units"], ("mass", "length", "angle"), fail)
        unit_length, in_degrees = _units(units, sections[":units"][0][0], fail)
        angle = math.pi / 180 if in_degrees else 1.0
        tree = [_root(sections[":root"], angle, fail), *_bones(sections[":bonedata"], angle, fail)]
        order, parents = _hierarchy(sections[":hierarchy"], [bone.name for bone in tree], fail)
    bones = [tree[j] for j in order]
    return Asf(
        path,
        tuple(bone.name for bone in bones),
        tuple(parents),
        np.array([bone.offset for bone in bones]),
        np.array([bone.axis for bone in bones]),
        tuple(bone.order for bone in bones),
        tuple(bone.channels for bone in bones),
        unit_length,
        in_degrees,
    )


@dataclass(frozen=True)
class _Bone:
    name: str
    offset: np.ndarray  # (3,)
    axis: np.ndarray  # (3,)
    order: str
    channels: tuple[str, ...]


def _sections(rows: Rows, fail: Fail) -> dict[str, list[tuple[int, list[str]]]]:
    """The rows of every section, its headline first. Sections that say nothing about motion are passed over."""
    sections: dict[str, list[tuple[int, list[str]]]] = {}
    rows_of = None
    number = 1
    for number, words in rows:
        if words[0].startswith(":"):
            name = words[0].lower()
            if name in sections:
                fail(number, f"a second section {name}; the first is in line {sections[name][0][0]}")
            rows_of = sections[name] = []
        elif rows_of is None:
            fail(number, f"an ASF file begins with a section such as :version, found {words[0][:60]!r}")
        rows_of.append((number, words))
    missing = [name for name in _SECTIONS if name not in sections]
    if missing:
        fail(number, f"the file ends without a section {', '.join(missing)}: it was cut short, or is no ASF file")
    return sections


def _fields(rows: list[tuple[int, list[str]]], known: tuple[str, ...], fail: Fail) -> dict[str, tuple[int, list[str]]]:
    """Keyword -> line and values, of the rows after the first. `limits` go on over rows that begin with a bracket."""
    fields: dict[str, tuple[int, list[str]]] = {}
    for number, words in rows[1:]:
        key = words[0].lower()
        if key.startswith("(") and "limits" in fields:
            continue
        if key not in known or key in fields:
            fail(number, f"expected one of {', '.join(k for k in known if k not in fields)}, found {words[0][:60]!r}")
        fields[key] = (number, words[1:])
    return fields


def _needed(
    fields: dict[str, tuple[int, list[str]]], key: str, count: int, line: int, what: str, fail: Fail
) -> tuple[int, list[str]]:
    """Line and values of a keyword that must have `count` of them."""
    if key not in fields:
        fail(line, f"{what} has no {key}")
    number, words = fields[key]
    if len(words) != count:
        fail(number, f"{key} of {what}: expected {count} values, found {len(words)}")
    return number, words


def _vector(words: list[str], label: str, line: int, fail: Fail) -> np.ndarray:
    return np.array(read_numbers(words, [f"{label} {axis}" for axis in "XYZ"], line, fail))


def _units(fields: dict[str, tuple[int, list[str]]], line: int, fail: Fail) -> tuple[float, bool]:
    """`length`, and whether angles are degrees."""
    number, words = _needed(fields, "length", 1, line, ":units", fail)
    (length,) = read_numbers(words, ["length"], number, fail)
    if not 1e-6 < length <= 1e6:
        fail(number, f"length of :units must be above 0, found {words[0][:60]}")
    number, words = _needed(fields, "angle", 1, line, ":units", fail)
    angle = words[0].lower()
    if angle not in ("deg", "rad"):
        fail(number, f"angle of :units must be deg or rad, found {words[0][:60]!r}")
    return length, angle == "deg"


def _order(word: str, line: int, what: str, fail: Fail) -> str:
    if sorted(word.upper()) != ["X", "Y", "Z"]:
        fail(line, f"axis of {what}: expected an order such as XYZ, found {word[:60]!r}")
    return word.upper()


def _root(rows: list[tuple[int, list[str]]], angle: float, fail: Fail) -> _Bone:
    line = rows[0][0]
    fields = _fields(rows, ("order", "axis", "position", "orientation"), fail)
    number, words = fields.get("order") or fail(line, ":root has no order")
    channels = _channels(words, _ROOT_CHANNELS, number, "order of :root", fail)
    number, words = _needed(fields, "axis", 1, line, ":root", fail)
    order = _order(words[0], number, ":root", fail)
    number, words = _needed(fields, "position", 3, line, ":root", fail)
    position = _vector(words, "position", number, fail)
    number, words = _needed(fields, "orientation", 3, line, ":root", fail)
    return _Bone(ROOT, position, angle * _vector(words, "orientation", number, fail), order, channels)


def _channels(words: list[str], known: tuple[str, ...], line: int, what: str, fail: Fail) -> tuple[str, ...]:
    channels = tuple(word.lower() for word in words)
    if not channels or not set(channels) <= set(known) or len(set(channels)) < len(channels):
        fail(line, f"{what}: expected some of {' '.join(known)}, each once, found {' '.join(words)[:60]!r}")
    return channels


def _bones(rows: list[tuple[int, list[str]]], angle: float, fail: Fail) -> list[_Bone]:
    """The bones of :bonedata, each between `begin` and `end`."""
    bones: list[_Bone] = []
    names = {ROOT}
    block: list[tuple[int, list[str]]] = []  # the rows of the bone that is open
    for number, words in rows[1:]:
        key = words[0].lower()
        if not block and key != "begin":
            fail(number, f"expected begin of a bone, found {words[0][:60]!r}")
        if key != "end":
            block.append((number, words))
            continue
        bone = _bone(block, angle, fail)
        if bone.name in names or len(names) == MAX_JOINTS:
            fail(block[0][0], f"more than {MAX_JOINTS} bones, or a second one of the name {bone.name[:60]}")
        names.add(bone.name)
        bones.append(bone)
        block = []
    if block:
        fail(block[0][0], "this bone has no end")
    return bones


def _bone(rows: list[tuple[int, list[str]]], angle: float, fail: Fail) -> _Bone:
    line = rows[0][0]
    known = ("id", "name", "direction", "length", "axis", "dof", "limits", "bodymass", "cofmass")
    fields = _fields(rows, known, fail)
    number, (name,) = _needed(fields, "name", 1, line, "the bone", fail)
    if not name.isprintable() or len(name) > MAX_NAME:
        fail(number, f"a bone name that is too long or unprintable: {name[:60]!r}")
    what = f"bone {name[:60]}"
    number, words = _needed(fields, "direction", 3, line, what, fail)
    direction = _vector(words, "direction", number, fail)
    number, words = _needed(fields, "length", 1, line, what, fail)
    (length,) = read_numbers(words, ["length"], number, fail)
    size = float(np.linalg.norm(direction))
    if length < 0 or (length > 0 and abs(size - 1) > _UNIT_VECTOR):
        fail(number, f"{what}: expected a direction of length 1 and a length above 0, found {size:.4g} and {length:g}")
    number, words = _needed(fields, "axis", 4, line, what, fail)
    axis = angle * _vector(words[:3], "axis", number, fail)
    order = _order(words[3], number, what, fail)
    channels: tuple[str, ...] = ()
    if "dof" in fields:  # a bone that moves or stretches would need tx, ty, tz or l, which no known file has
        number, words = fields["dof"]
        channels = _channels(words, FULL_TURN, number, f"dof of {what}", fail)
    return _Bone(name, direction * length, axis, order, channels)


def _hierarchy(rows: list[tuple[int, list[str]]], names: list[str], fail: Fail) -> tuple[list[int], list[int]]:
    """The order of bones in which a parent comes before its children, and every bone's parent in that order."""
    index = {name: j for j, name in enumerate(names)}
    children: dict[int, list[int]] = {j: [] for j in range(len(names))}
    placed = {0}  # bones that have a place in the tree; the root has one
    for number, words in rows[1:]:
        if len(words) == 1 and words[0].lower() in ("begin", "end"):
            continue
        for word in words:
            if word not in index:
                fail(number, f"no bone {word[:60]!r} in :bonedata")
        parent, *rest = (index[word] for word in words)
        for child in rest:
            if child in placed:
                fail(number, f"bone {names[child][:60]} has a parent already, or is the root")
            placed.add(child)
            children[parent].append(child)
    order: list[int] = [0]
    parents = [-1]
    for place, bone in enumerate(order):  # the list grows while it is read
        order += children[bone]
        parents += [place] * len(children[bone])
    if len(order) < len(names):
        lost = next(name for name, j in index.items() if j not in order)
        fail(rows[-1][0], f"bone {lost[:60]} does not hang at the root")
    return order, parents


# 2) The motion.


def parse_amc(path: str | Path, asf: Asf) -> Amc:
    """Read the motion of a skeleton. Raises FileNotFoundError, or ValueError naming file and line."""
    path = Path(path)
    with opened_text(path, MAX_FILE_BYTES) as (rows, fail):
        # 1) Headlines up to the first frame.
        is_full = False  # every bone that moves has three angles, whatever the skeleton says
        in_degrees = asf.in_degrees
        first = None
        for number, words in rows:
            headline = words[0].upper()
            if not headline.startswith(":"):
                first = number, words
                break
            is_full |= headline == ":FORCE-ALL-JOINTS-BE-3DOF"
            in_degrees = {":DEGREES": True, ":RADIANS": False}.get(headline, in_degrees)
        line, words = first or (1, ["nothing"])
        if len(words) != 1 or not re.fullmatch("[0-9]{1,9}", words[0]):
            fail(line, f"an AMC file has headlines and then frame numbers, found {' '.join(words)[:60]!r}")
        channels = [FULL_TURN if is_full and own and j else own for j, own in enumerate(asf.channels)]
        # 2) The frames.
        values = _frames(line, int(words[0]), rows, asf, channels, fail)
    if in_degrees:
        turns = [channel in FULL_TURN for own in channels for channel in own]
        values[:, turns] *= math.pi / 180
    return Amc(tuple(channels), values)


def _frames(number: int, count: int, rows: Rows, asf: Asf, channels: list[tuple[str, ...]], fail: Fail) -> np.ndarray:
    """The values (F, C) of all frames. The first one's number `count`, in line `number`, is read already."""
    columns: dict[str, tuple[int, int, list[str]]] = {}  # bone -> first and last column, labels for errors
    width = 0
    for name, own in zip(asf.names, channels, strict=True):
        if own:
            columns[name] = (width, width + len(own), [f"{name} {channel}" for channel in own])
        width += len(own)
    values = array("d")
    frame: dict[str, list[float]] = {}

    def close(line: int) -> None:
        if len(frame) < len(columns):
            lost = [name for name in columns if name not in frame]
            fail(line, f"frame {count} has no row of {', '.join(lost[:5])}, which {asf.path} says move")
        for name in columns:
            values.extend(frame[name])
        frame.clear()

    for number, words in rows:
        name, *rest = words
        if not rest:
            if not re.fullmatch("[0-9]{1,9}", name) or int(name) != count + 1:
                fail(number, f"expected a bone with its numbers or frame {count + 1}, found {name[:60]!r}")
            close(number)
            count += 1
            continue
        if name not in columns or name in frame:
            why = "stands twice in its frame" if name in frame else f"is no bone that moves in {asf.path}"
            fail(number, f"{name[:60]!r} {why}")
        start, stop, labels = columns[name]
        if len(rest) != stop - start:
            fail(number, f"{name}: expected {stop - start} numbers, as {asf.path} says, found {len(rest)}")
        frame[name] = read_numbers(rest, labels, number, fail)
    close(number)
    return np.frombuffer(values).reshape(-1, width).copy()
