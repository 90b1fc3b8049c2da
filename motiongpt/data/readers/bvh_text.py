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
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np

MAX_FILE_BYTES = 256 << 20  # an hour of 60 joints at 120 fps
MAX_JOINTS = 1024
MAX_CHANNELS = 12  # of a joint
MAX_LINE = 1 << 20  # characters
MAX_NAME = 200  # characters
MAX_WORDS = 1 << 16  # before MOTION
MISCOUNT_ROWS, MISCOUNT_SHARE = 2, 0.01  # by which `Frames:` may differ from the rows: the larger counts
LIMIT = 1e9  # no length or angle is larger; keeps float32 finite
_CHANNEL = re.compile(r"([XYZ])(position|rotation|scale)", re.IGNORECASE)

Fail = Callable[[int, str], NoReturn]  # raises ValueError with the line it is given


@dataclass(frozen=True)
class Bvh:
    """A file as it is: J joints (End Sites among them), C channels, F frames, in the file's unit and in degrees."""

    names: tuple[str, ...]
    parents: tuple[int, ...]  # -1 for a root; a parent comes before its children
    offsets: np.ndarray  # (J, 3)
    channels: tuple[tuple[str, ...], ...]  # per joint, as "Xposition"; the columns of values follow this order
    end_sites: tuple[bool, ...]
    fps: float
    values: np.ndarray  # (F, C)
    renamed: tuple[str, ...]  # new names of joints whose name another joint had before
    frames_said: int  # by `Frames:`; F is the number of rows


def parse(path: str | Path) -> Bvh:
    """Read a file without any interpretation. Raises FileNotFoundError, or ValueError naming file and line."""
    with opened_text(Path(path), MAX_FILE_BYTES) as (rows, fail):
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
        tree = _Tree(tokens, fail)
        tree.read(number)
        labels = [f"{name} {channel}" for name, own in zip(tree.names, tree.channels, strict=True) for channel in own]
        fps, values, frames = _motion(rows, number, labels, fail)
    return Bvh(
        tuple(tree.names),
        tuple(tree.parents),
        np.array(tree.offsets),
        tuple(tree.channels),
        tuple(tree.ends),
        fps,
        values,
        tuple(tree.renamed),
        frames,
    )


@contextmanager
def opened_text(path: Path, most: int) -> Iterator[tuple[Iterator[tuple[int, list[str]]], Fail]]:
    """The rows of a text file of at most `most` bytes, and what refuses one of them.

    Raises FileNotFoundError, or ValueError naming a file that is too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.stat().st_size > most:
        raise ValueError(f"{path}: larger than {most >> 20} MB; split it into clips")

    def fail(line: int, message: str) -> NoReturn:
        raise ValueError(f"{path}, line {line}: {message}")

    # A name in an old encoding keeps its bytes as \xfc. Line by line, because a hostile file may be words without end.
    with open(path, encoding="utf-8-sig", errors="backslashreplace") as file:
        yield text_rows(file, fail), fail


def text_rows(file: TextIO, fail: Fail) -> Iterator[tuple[int, list[str]]]:
    """Line number and words of every line that has words."""
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


class _Tree:
    """The tree of a file, filled word by word. J joints, End Sites among them; a parent comes before its children."""

    def __init__(self, tokens: list[tuple[str, int]], fail: Fail) -> None:
        self.tokens, self.fail = tokens, fail  # a token is a word and its line
        self.next = 0  # token
        self.stack: list[int] = []  # joints that are open
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[list[float] | None] = []
        self.channels: list[tuple[str, ...]] = []
        self.ends: list[bool] = []  # whether it is an End Site
        self.renamed: list[str] = []

    def read(self, last_line: int) -> None:
        while self.next < len(self.tokens):
            word, line = self.tokens[self.next]
            self.next += 1
            key = word.upper()
            if key in ("ROOT", "JOINT", "END"):
                self.open_joint(key, line)
            elif key == "}" and self.stack:
                self.close_joint(line)
            elif key == "OFFSET" and self.stack:
                words = self.take(3, key, line)
                labels = [f"OFFSET {axis}" for axis in "XYZ"]
                self.offsets[self.stack[-1]] = read_numbers(words, labels, line, self.fail)
            elif key == "CHANNELS" and self.stack and not self.ends[self.stack[-1]]:
                self.channels[self.stack[-1]] = self.read_channels(key, line)
            else:
                self.fail(line, f"expected ROOT, JOINT, End Site, OFFSET, CHANNELS or }}, found {word[:60]!r}")
        if self.stack:
            self.fail(last_line, f"MOTION begins, but joint {self.names[self.stack[-1]]} is not closed")
        if not self.names:
            self.fail(last_line, "there is no ROOT")

    def take(self, count: int, what: str, line: int) -> list[str]:
        words = [word for word, _ in self.tokens[self.next : self.next + count]]
        self.next += count
        if len(words) < count:
            self.fail(line, f"{what}: expected {count} words, the file ends")
        return words

    def open_joint(self, key: str, line: int) -> None:
        # a name may have spaces: it is the rest of the line
        words = []
        while self.next < len(self.tokens) and self.tokens[self.next][0] != "{" and self.tokens[self.next][1] == line:
            words += self.take(1, key, line)
        name = " ".join(words)
        if self.take(1, f"{{ after {key}", line) != ["{"] or not words:
            self.fail(line, f"expected {key} NAME and then {{")
        if not "".join(words).isprintable() or len(name) > MAX_NAME:
            self.fail(line, f"a joint name that is too long or unprintable: {name[:60]!r}")
        if (key == "ROOT") != (not self.stack) or (self.stack and self.ends[self.stack[-1]]):
            self.fail(line, f"{key} {name[:60]} cannot stand here: a ROOT holds JOINTs and End Sites")
        if len(self.names) == MAX_JOINTS:
            self.fail(line, f"more than {MAX_JOINTS} joints")
        if key == "END":
            name = f"{self.names[self.stack[-1]]}_end"
        if name in self.names:
            name = next(f"{name}#{n}" for n in range(2, MAX_JOINTS + 2) if f"{name}#{n}" not in self.names)
            self.renamed.append(name)
        self.parents.append(self.stack[-1] if self.stack else -1)
        self.stack.append(len(self.names))
        self.names.append(name)
        self.offsets.append(None)
        self.channels.append(())
        self.ends.append(key == "END")

    def close_joint(self, line: int) -> None:
        joint = self.stack.pop()
        if self.offsets[joint] is None:
            self.fail(line, f"joint {self.names[joint]} has no OFFSET")

    def read_channels(self, key: str, line: int) -> tuple[str, ...]:
        (count,) = self.take(1, key, line)
        if not re.fullmatch("[0-9]{1,2}", count) or int(count) > MAX_CHANNELS:
            self.fail(line, f"CHANNELS needs a count up to {MAX_CHANNELS}, got {count[:60]!r}")
        words = self.take(int(count), key, line)
        wrong = next((channel for channel in words if not _CHANNEL.fullmatch(channel)), None)
        if wrong is not None:
            self.fail(line, f"expected {count} channels such as Xposition or Zrotation, found {wrong[:60]!r}")
        own = tuple(channel[0].upper() + channel[1:].lower() for channel in words)
        positions = [channel for channel in own if channel.endswith("position")]
        if len(set(positions)) < len(positions):
            self.fail(line, f"a position channel stands twice in {' '.join(own)}")
        return own


def _motion(
    rows: Iterator[tuple[int, list[str]]], line: int, labels: list[str], fail: Fail
) -> tuple[float, np.ndarray, int]:
    """Frames per second, the values (F, C) of the channels in `labels`, and what `Frames:` says F is.

    Exporters miscount by a row or two (Rokoko: 2312 rows, Frames: 2311), so all rows are read. A larger difference is
    an error: the file was cut short, or is two in one.
    """
    # 1) Frames and Frame Time, in either order.
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
    (seconds,) = read_numbers([step], ["Frame Time"], step_line, fail)
    if not 1e-4 <= seconds <= 1:
        fail(step_line, f"Frame Time must be 0.0001 to 1 second, got {step[:60]}")
    # 2) One row per frame.
    values = array("d")
    F = 0
    number = max(count_line, step_line)
    for number, words in rows:
        if len(words) != len(labels):
            fail(number, f"a motion row of {len(words)} numbers, expected {len(labels)}, one per channel")
        if F - int(count) >= _miscount(int(count)):
            fail(number, f"more motion rows than Frames: {count} (line {count_line}) says")
        values.extend(read_numbers(words, labels, number, fail))
        F += 1
    if not F or int(count) - F > _miscount(int(count)):
        fail(number, f"the file ends after {F} motion rows, Frames (line {count_line}) says {count}")
    return _rate(seconds, step), np.frombuffer(values).reshape(F, len(labels)), int(count)


def _miscount(frames: int) -> int:
    """How many rows more or fewer than `Frames:` says are an exporter's miscount."""
    return max(MISCOUNT_ROWS, int(MISCOUNT_SHARE * frames))


def read_numbers(words: Sequence[str], labels: Sequence[str], line: int, fail: Fail) -> list[float]:
    """The numbers of some words; `labels` name them for errors. The fast way first, since a file has millions."""
    try:
        numbers = [float(word) for word in words]
        if max(map(abs, numbers)) < LIMIT and not math.isnan(sum(numbers)):
            return numbers
    except ValueError:
        numbers = []  # the loop below finds the word and names it
    for word, label in zip(words, labels, strict=True):
        try:
            wrong = not abs(float(word)) < LIMIT  # true for NaN
        except ValueError:
            wrong = True
        if wrong:
            fail(line, f"{label}: expected a number below {LIMIT:g}, found {word[:60]!r}")
    return numbers


def _rate(seconds: float, text: str) -> float:
    """Frames per second: a whole number if the printed digits allow it, since 0.0333 s means 30 and not 30.03."""
    nearest = round(1 / seconds)
    digit = float(Decimal(text).as_tuple().exponent)  # of the last printed place
    close = abs(1 / nearest - seconds) <= min(10.0**digit, 0.005 * seconds)
    return float(nearest) if close else 1 / seconds
