"""The XML of an MMM motion -> joint angles and root poses as numbers, without any kinematics (that is `kit_xml.py`).

    <MMM> <Motion name="subject_id_3"> <ModelProcessorConfig> <Height>1.79</Height> ...
      <JointOrder> <Joint name="BLNx_joint"/> ... </JointOrder>
      <MotionFrames> <MotionFrame>
        <Timestep>, <RootPosition> x y z, <RootRotation> roll pitch yaw, <JointPosition> one angle a joint

One pass of expat, with constant memory per frame. A DTD or an entity is refused, so no file can blow up or reach
outside itself.
"""

from array import array
from bisect import bisect
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from xml.parsers import expat

import numpy as np

from motiongpt.data.readers import mmm

MAX_FRAMES = 200_000  # 33 minutes at 100 fps; at most 100 MB during reading
MAX_JOINTS = 1000  # in a JointOrder; KIT's have 44
_MAX_TEXT = 100_000  # characters within one element
_MAX_TOKEN = 1 << 20  # bytes of one tag or comment
_BLOCK = 1 << 20
_FIELDS = {"Timestep": 1, "RootPosition": 3, "RootRotation": 3, "JointPosition": None}


@dataclass(frozen=True)
class MmmMotion:
    """What the XML says, before forward kinematics."""

    name: str  # of the <Motion>
    height: float | None
    listed: tuple[str, ...]  # JointOrder
    times: np.ndarray  # (F,) seconds, rising
    root: np.ndarray  # (F, 3) millimetres, z up
    rpy: np.ndarray  # (F, 3) roll, pitch, yaw
    angles: dict[str, np.ndarray]  # (F,) radians, of joints that the MMM body has
    other_motions: tuple[str, ...]  # names of <Motion>s that are left out: objects, further subjects


def parse(path: str | Path) -> MmmMotion:
    """The first <Motion> with a JointOrder of MMM joints; errors like those of `read`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    reader = _Reader()
    try:
        with open(path, "rb") as file:
            fed = 0
            while block := file.read(_BLOCK):
                reader.expat.Parse(block, False)
                fed += len(block)
                if fed - reader.expat.CurrentByteIndex > _MAX_TOKEN + _BLOCK:  # expat would keep all of it in memory
                    reader.fail(f"a tag or comment of more than {_MAX_TOKEN >> 20} MB")
        reader.expat.Parse(b"", True)
        return reader.motion()
    except expat.ExpatError as error:
        place = f"inside <{reader.stack[-1]}>" if reader.stack else "outside any element"
        place += f" of frame {len(reader.lines)}" if "MotionFrame" in reader.stack else ""
        reason = expat.errors.messages[error.code]
        raise ValueError(f"{path}, line {error.lineno}: {place}: malformed XML ({reason})") from error
    except LookupError as error:
        raise ValueError(f"{path}, line 1: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error


class _Reader:
    """The handlers of one expat parser. Frames go into arrays of numbers; nothing else is kept."""

    def __init__(self) -> None:
        self.expat = expat.ParserCreate()
        self.expat.buffer_text = True
        self.expat.StartElementHandler = self.start
        self.expat.EndElementHandler = self.end
        self.expat.StartDoctypeDeclHandler = self.refuse
        self.expat.EntityDeclHandler = self.refuse
        # the elements that are open, and the text of the one that is collected
        self.stack: list[str] = []
        self.text: list[str] = []
        self.size = 0
        self.line = 0
        # <Motion>s: the one at hand, those left out, and the one that was chosen
        self.current = ""
        self.others: list[str] = []
        self.chosen = False  # the one at hand is the chosen one
        self.name: str | None = None
        self.height: float | None = None
        self.listed: list[str] = []  # JointOrder
        self.columns: list[int] = []  # of the joints that the MMM body has
        self.pick = itemgetter(slice(0))  # those columns of a row of angles
        # frames: 7 numbers and the angles of each, and the line each begins in
        self.numbers = array("d")
        self.lines = array("q")
        self.frame: dict[str, list[float]] = {}

    def fail(self, message: str, line: int | None = None) -> None:
        raise ValueError(f"line {line or self.expat.CurrentLineNumber}: {message}")

    def refuse(self, *_) -> None:
        self.fail("<!DOCTYPE> or <!ENTITY>: MMM files have none, and this reader takes none")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        stack = self.stack
        stack.append(tag)
        depth = len(stack)
        if depth == 1 and tag != "MMM":
            self.fail(f"the root element is <{tag[:80]}>, expected <MMM>")
        if depth > 100 or len(tag) > 1000:
            self.fail("elements nested more than 100 deep, or a name of more than 1000 characters")
        # the most frequent element first: MMM > Motion > MotionFrames > MotionFrame > field
        if depth == 5 and stack[2] == "MotionFrames":
            if self.chosen and tag in _FIELDS and stack[3] == "MotionFrame":
                if tag in self.frame:
                    self.fail(f"<{tag}> stands twice in frame {len(self.lines)}")
                self.collect()
        elif depth == 4 and tag == "MotionFrame" and self.chosen:
            if len(self.lines) == MAX_FRAMES:
                self.fail(f"more than {MAX_FRAMES} <MotionFrame>s")
            self.frame = {}
            self.lines.append(self.expat.CurrentLineNumber)
        elif depth == 4 and tag == "Joint" and stack[2] == "JointOrder" and self.name is None:
            name = attributes.get("name", "")
            if not 0 < len(name) <= 100 or name in self.listed:
                self.fail("<Joint> in <JointOrder> without a (short) name, or with one that stood there before")
            if len(self.listed) == MAX_JOINTS:
                self.fail(f"<JointOrder> with more than {MAX_JOINTS} joints")
            self.listed.append(name)
        elif depth == 3 and tag == "MotionFrames" and self.name is None:
            # chosen is the first <Motion> that lists a joint of the MMM body
            self.columns = [i for i, name in enumerate(self.listed) if name in mmm.JOINTS]
            if self.columns:
                self.chosen = True
                self.name = self.current
                # a slice is faster, and most files allow it
                first, last = self.columns[0], self.columns[-1] + 1
                whole = self.columns == list(range(first, last))
                self.pick = itemgetter(slice(first, last)) if whole else itemgetter(*self.columns)
        elif depth == 2 and tag == "Motion":
            self.current = " ".join(attributes.get("name", "").split())[:200]
            if self.name is None:
                self.listed = []
                self.height = None
        elif tag == "Height" and stack[1] == "Motion" and (self.chosen or self.name is None):
            self.collect()

    def collect(self) -> None:
        """Collect the text of the element that begins here; all other text is skipped."""
        self.text = []
        self.size = 0
        self.line = self.expat.CurrentLineNumber
        self.expat.CharacterDataHandler = self.data

    def data(self, text: str) -> None:
        self.size += len(text)
        if self.size > _MAX_TEXT:
            self.fail(f"<{self.stack[-1][:80]}> with more than {_MAX_TEXT} characters")
        self.text.append(text)

    def end(self, tag: str) -> None:
        self.stack.pop()
        if self.expat.CharacterDataHandler is not None and (tag in _FIELDS or tag == "Height"):
            self.expat.CharacterDataHandler = None
            words = "".join(self.text).split()
            if tag == "Height":
                self.end_height(words)
            else:
                self.frame[tag] = self.convert(tag, words)
        elif tag == "MotionFrame" and self.chosen and len(self.stack) == 3:
            self.end_frame()
        elif tag == "Motion" and len(self.stack) == 1:
            if not self.chosen:
                self.others.append(self.current)
                if len(self.others) > MAX_JOINTS:
                    self.fail(f"more than {MAX_JOINTS} <Motion>s")
            self.chosen = False

    def convert(self, tag: str, words: list[str]) -> list[float]:
        """The numbers of one field of a frame."""
        expected = _FIELDS.get(tag) or len(self.listed)
        place = f"<{tag}> of frame {len(self.lines) - 1}"
        if len(words) != expected:
            self.fail(f"{place} has {len(words)} numbers, expected {expected}", self.line)
        try:
            return [float(word) for word in words]
        except ValueError:
            self.fail(f"{place}: expected numbers, {_first_bad(words)[:80]!r} is none", self.line)

    def end_height(self, words: list[str]) -> None:
        if not words:
            return
        if len(words) > 1 or _first_bad(words) or not 0.3 <= float(words[0]) <= 2.6:
            self.fail(f"<Height> {' '.join(words)[:80]!r} is no body height in metres (0.3 to 2.6)", self.line)
        self.height = float(words[0])

    def end_frame(self) -> None:
        frame = self.frame
        for tag in _FIELDS:
            if tag not in frame:
                self.fail(f"<MotionFrame> {len(self.lines) - 1} has no <{tag}>", self.lines[-1])
        row = frame["Timestep"] + frame["RootPosition"] + frame["RootRotation"]
        row += self.pick(frame["JointPosition"])
        self.numbers.extend(row)

    def motion(self) -> MmmMotion:
        """What was read, after the checks that need all frames."""
        if self.name is None:
            self.fail("no <Motion> has a <JointOrder> of MMM joints (BPx_joint ...) before its <MotionFrames>")
        if not self.lines:
            self.fail("<MotionFrames> holds no <MotionFrame>")
        rows = np.frombuffer(self.numbers).reshape(len(self.lines), -1)
        limit = np.array([1e6] + [1e7] * 3 + [1e3] * (rows.shape[1] - 4))  # seconds, millimetres, radians
        bad = np.argwhere(~(np.abs(rows) < limit))  # NaN, too
        if len(bad):
            frame, column = bad[0].tolist()
            tag = list(_FIELDS)[bisect([1, 4, 7], column)]  # the columns where the next field begins
            self.fail(f"<{tag}> of frame {frame}: {rows[frame, column]:g} is out of range", self.lines[frame])
        late = np.flatnonzero(np.diff(rows[:, 0]) <= 0)
        if len(late):
            frame = int(late[0]) + 1
            stamps = f"{rows[frame, 0]:g} after {rows[frame - 1, 0]:g}"
            self.fail(f"<Timestep> of frame {frame}: {stamps}, expected a later one", self.lines[frame])
        angles = {self.listed[column]: rows[:, 7 + i] for i, column in enumerate(self.columns)}
        return MmmMotion(
            self.name,
            self.height,
            tuple(self.listed),
            times=rows[:, 0],
            root=rows[:, 1:4],
            rpy=rows[:, 4:7],
            angles=angles,
            other_motions=tuple(self.others),
        )


def _first_bad(words: list[str]) -> str:
    """The first word that is no number, else an empty text."""
    for word in words:
        try:
            float(word)
        except ValueError:
            return word
    return ""
