"""The text of a BVH file -> its tree and its numbers, without any interpretation (that is `readers/bvh.py`).

HIERARCHY                          a tree of joints, each with an OFFSET from its parent and the CHANNELS that move
  ROOT Hips { OFFSET ... CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation  JOINT ... }
MOTION
  Frames: 70   Frame Time: 0.0333333   then one row per frame, one number per channel, in the order of the joints
"""

import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np

MAX_FILE_BYTES = 256 << 20  # an hour of 60 joints at 120 fps
MAX_JOINTS, MAX_CHANNELS = 1024, 12  # in the file; per joint
MAX_LINE, MAX_NAME = 1 << 20, 200  # characters of one line, of one name
MAX_WORDS = 1 << 16  # before MOTION
LIMIT = 1e9  # no length or angle is larger; keeps float32 finite
_CHANNEL = re.compile(r"([XYZ])(position|rotation|scale)", re.IGNORECASE)

Fail = Callable[[int, str], NoReturn]  # raises ValueError with the line it is given


@dataclass(frozen=True)
class Bvh:
    """A file as it stands: J joints (End Sites among them), C channels, F frames; the file's unit, degrees."""

    names: tuple[str, ...]
    parents: tuple[int, ...]  # -1 for a root; a parent comes before its children
    offsets: np.ndarray  # (J, 3)
    channels: tuple[tuple[str, ...], ...]  # per joint, as "Xposition"; the columns of values follow this order
    end_sites: tuple[bool, ...]
    fps: float
    values: np.ndarray  # (F, C)
    renamed: tuple[str, ...]  # names that stood there twice


def parse(path: str | Path) -> Bvh:
    """The file without any interpretation. Raises FileNotFoundError, or ValueError naming the file and the line."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MB; split it into clips")

    def fail(line: int, message: str) -> NoReturn:
        raise ValueError(f"{path}, line {line}: {message}")

    # a name in an old encoding keeps its bytes as \xfc; line by line, for a hostile file may hold nothing but words
    with open(path, encoding="utf-8-sig", errors="backslashreplace") as file:
        rows = _rows(file, fail)
        number, words = next(rows, (1, ["nothing"]))
        if words[0].upper() != "HIERARCHY":
            fail(number, f"a BVH file begins with HIERARCHY, found {words[0][:60]!r}")
        tokens = []
        for number, words in rows:
            if [word.upper() for word in words] == ["MOTION"]:
                break
            tokens += [(word, number) for word in words]
            if len(tokens) > MAX_WORDS:
                fail(number, f"more than {MAX_WORDS} words before MOTION")
        else:
            fail(number, "no line MOTION: the file was cut short, or is no BVH file")
        names, parents, offsets, channels, ends, renamed = _hierarchy(tokens, number, fail)
        labels = [f"{name} {channel}" for name, own in zip(names, channels, strict=True) for channel in own]
        fps, values = _motion(rows, number, labels, fail)
        return Bvh(names, parents, offsets, channels, ends, fps, values, renamed)


def _rows(file: TextIO, fail: Fail) -> Iterator[tuple[int, list[str]]]:
    """Line number and words of every line that has any."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            fail(number, f"longer than {MAX_LINE} characters")
        words = _words(line)
        if words:
            yield number, words


def _words(line: str) -> list[str]:
    """The words of a line; braces are words of their own, a comment (# or //) ends the line."""
    if "#" in line or "//" in line:
        line = re.split(r"(?:^|\s)(?:#|//)", line, maxsplit=1)[0]
    return line.replace("{", " { ").replace("}", " } ").split()


def _hierarchy(tokens: list[tuple[str, int]], last_line: int, fail: Fail) -> tuple:
    """The tree: names, parents, offsets (J, 3), channels, which are End Sites, names that stood there twice."""
    names, parents, offsets, channels, ends, renamed = [], [], [], [], [], []
    stack = []
    i = 0

    def take(count: int, what: str, line: int) -> list[str]:
        nonlocal i
        words = [word for word, _ in tokens[i : i + count]]
        i += count
        if len(words) < count:
            fail(line, f"{what}: expected {count} words, the file ends")
        return words

    while i < len(tokens):
        (word, line), key = tokens[i], tokens[i][0].upper()
        i += 1
        if key in ("ROOT", "JOINT", "END"):
            name = []
            while i < len(tokens) and tokens[i][0] != "{" and tokens[i][1] == line:
                name += take(1, key, line)
            if take(1, f"{{ after {key}", line) != ["{"] or not name:
                fail(line, f"expected {key} NAME and then {{")
            if not "".join(name).isprintable() or len(" ".join(name)) > MAX_NAME:
                fail(line, f"a joint name that is too long or unprintable: {' '.join(name)[:60]!r}")
            if (key == "ROOT") != (not stack) or (stack and ends[stack[-1]]):
                fail(line, f"{key} {' '.join(name)[:60]} cannot stand here: a ROOT holds JOINTs and End Sites")
            if len(names) == MAX_JOINTS:
                fail(line, f"more than {MAX_JOINTS} joints")
            full = f"{names[stack[-1]]}_end" if key == "END" else " ".join(name)
            if full in names:
                full = next(f"{full}#{n}" for n in range(2, MAX_JOINTS + 2) if f"{full}#{n}" not in names)
                renamed.append(full)
            parents.append(stack[-1] if stack else -1)
            stack.append(len(names))
            names.append(full)
            offsets.append(None)
            channels.append(())
            ends.append(key == "END")
        elif key == "}" and stack:
            if offsets[stack[-1]] is None:
                fail(line, f"joint {names[stack[-1]]} has no OFFSET")
            stack.pop()
        elif key == "OFFSET" and stack:
            offsets[stack[-1]] = _numbers(take(3, key, line), [f"OFFSET {axis}" for axis in "XYZ"], line, fail)
        elif key == "CHANNELS" and stack and not ends[stack[-1]]:
            (count,) = take(1, key, line)
            if not re.fullmatch("[0-9]{1,2}", count) or int(count) > MAX_CHANNELS:
                fail(line, f"CHANNELS needs a count up to {MAX_CHANNELS}, got {count[:60]!r}")
            own = take(int(count), key, line)
            wrong = next((channel for channel in own if not _CHANNEL.fullmatch(channel)), None)
            if wrong is not None:
                fail(line, f"expected {count} channels such as Xposition or Zrotation, found {wrong[:60]!r}")
            own = tuple(channel[0].upper() + channel[1:].lower() for channel in own)
            positions = [channel for channel in own if channel.endswith("position")]
            if len(set(positions)) < len(positions):
                fail(line, f"a position channel stands twice in {' '.join(own)}")
            channels[stack[-1]] = own
        else:
            fail(line, f"expected ROOT, JOINT, End Site, OFFSET, CHANNELS or }}, found {word[:60]!r}")
    if stack or not names:
        fail(last_line, f"MOTION begins, but joint {names[stack[-1]]} is not closed" if stack else "there is no ROOT")
    return tuple(names), tuple(parents), np.array(offsets), tuple(channels), tuple(ends), tuple(renamed)


def _motion(
    rows: Iterator[tuple[int, list[str]]], line: int, labels: list[str], fail: Fail
) -> tuple[float, np.ndarray]:
    """Frames per second and the values (F, C) of the channels in `labels`."""
    head = {}
    for number, words in islice(rows, 2):
        match = re.fullmatch(r"(frames|frame time)\s*:\s*(\S+)", " ".join(words), re.IGNORECASE)
        if not match or match[1].lower() in head:
            fail(number, f"expected 'Frames: N' and 'Frame Time: SECONDS' after MOTION, found {' '.join(words)[:60]!r}")
        head[match[1].lower()] = (match[2], number)
    if len(head) < 2:
        fail(line, "after MOTION come 'Frames: N' and 'Frame Time: SECONDS', the file ends")
    (count, count_line), (step, step_line) = head["frames"], head["frame time"]
    if not re.fullmatch("[0-9]{1,12}", count) or int(count) < 1:
        fail(count_line, f"Frames must be a whole number above 0, got {count[:60]!r}")
    if not labels:
        fail(line, "no joint has CHANNELS, so nothing moves")
    (seconds,) = _numbers([step], ["Frame Time"], step_line, fail)
    if not 1e-4 <= seconds <= 1:
        fail(step_line, f"Frame Time must be 0.0001 to 1 second, got {step[:60]}")
    values, F = array("d"), 0
    number = max(count_line, step_line)
    for number, words in rows:
        if F == int(count):
            fail(number, f"more motion rows than Frames: {count} (line {count_line}) says")
        if len(words) != len(labels):
            fail(number, f"a motion row of {len(words)} numbers, expected {len(labels)}, one per channel")
        values.extend(_numbers(words, labels, number, fail))
        F += 1
    if F < int(count):
        fail(number, f"the file ends after {F} motion rows, Frames (line {count_line}) says {count}")
    return _rate(seconds, step), np.frombuffer(values).reshape(F, len(labels))


def _numbers(words: Sequence[str], labels: Sequence[str], line: int, fail: Fail) -> list[float]:
    try:
        numbers = [float(word) for word in words]
        if max(map(abs, numbers)) < LIMIT and not math.isnan(sum(numbers)):
            return numbers
    except ValueError:
        numbers = []  # found again below, with its place
    for word, label in zip(words, labels, strict=True):
        try:
            wrong = not abs(float(word)) < LIMIT  # true for NaN
        except ValueError:
            wrong = True
        if wrong:
            fail(line, f"{label}: expected a number below {LIMIT:g}, found {word[:60]!r}")
    return numbers


def _rate(seconds: float, text: str) -> float:
    """Frames per second: the whole number that the printed digits allow, since 0.0333 s means 30 and not 30.03."""
    nearest = round(1 / seconds)
    digit = float(Decimal(text).as_tuple().exponent)  # of the last printed place
    close = abs(1 / nearest - seconds) <= min(10.0**digit, 0.005 * seconds)
    return float(nearest) if close else 1 / seconds
