"""KIT Motion-Language release: NNNNN_mmm.xml (MMM joint angles), NNNNN_annotations.json (sentences), NNNNN_meta.json.

Joint angles become the 21 joints of `skeletons.KIT`, true and not mirrored, through the MMM body (`mmm.py`, which
says what is known of that body); the map kit-mmm of `joint_maps.py` makes HumanML3D's of them. The XML is read in one
pass of expat in constant memory per frame; a DTD or an entity is refused, so no file can blow up or reach outside
itself.

Taken as known: RootPosition is millimetres, RootRotation is roll, pitch, yaw in radians, R = Rz(yaw) Ry(pitch)
Rx(roll). The data come without a word on it; of all orders this one keeps planted feet as still as any in a recorded
walk. KIT-ML's own 251 features came from MMM through an ASF/AMC conversion that is not repeated here, so its positions
differ from these.
"""

import json
import math
import re
from array import array
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from xml.parsers import expat

import numpy as np
import torch

from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_multiply, quaternion_to_matrix
from motiongpt.body.skeletons import KIT
from motiongpt.data.raw import RawClip
from motiongpt.data.readers import mmm
from motiongpt.data.resample import slerp

DEFAULT_HEIGHT = 1.75  # metres
MAX_FRAMES = 200_000  # 33 minutes at 100 fps; at most 100 MB while they are read
MAX_JOINTS = 1000  # in a JointOrder; KIT's have 44
MAX_JSON = 10_000_000  # bytes
_MAX_TEXT = 100_000  # characters within one element
_MAX_TOKEN = 1 << 20  # bytes of one tag or comment
_BLOCK = 1 << 20
_FIELDS = {"Timestep": 1, "RootPosition": 3, "RootRotation": 3, "JointPosition": None}


@dataclass(frozen=True)
class MmmMotion:
    """What the XML says, before any kinematics."""

    name: str  # of the <Motion>
    height: float | None
    listed: tuple[str, ...]  # JointOrder
    times: np.ndarray  # (F,) seconds, rising
    root: np.ndarray  # (F, 3) millimetres, z up
    rpy: np.ndarray  # (F, 3) roll, pitch, yaw
    angles: dict[str, np.ndarray]  # (F,) radians, of the joints the MMM body has
    other_motions: tuple[str, ...]  # names of <Motion>s left out: objects, further subjects


def find(folder: str | Path) -> list[Path]:
    """All *_mmm.xml files below a folder, sorted. Raises FileNotFoundError where there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    return sorted(path for path in folder.rglob("*_mmm.xml") if path.is_file())


def read(path: str | Path, fps: float | None = None, height: float | None = None) -> RawClip:
    """One clip of KIT's 21 joints, with the sentences of the annotations file beside it.

    Args:
        fps: frames per second out; None keeps the file's mean rate. Frames are made between the time stamps: joint
            angles unwrapped and linear, the root's rotation by slerp, its position linear.
        height: of the body in metres, where the file has none (else 1.75); the file's own goes first.

    Raises FileNotFoundError, or ValueError naming the file, line and element at fault.
    """
    return _to_clip(parse(path), Path(path), fps, height)


def explain(path: str | Path, fps: float | None = None, height: float | None = None) -> list[str]:
    """What the file holds and what `read` would make of it, for people; for a broken file what is wrong and where."""
    path, lines = Path(path), []
    try:
        motion = parse(path)
        F, known = len(motion.times), sum(name in mmm.JOINTS for name in motion.listed)
        lines += [
            f"{path}: MMM motion {motion.name!r}, {F} frames from {motion.times[0]:g} to {motion.times[-1]:g} s",
            f"joint angles: {len(motion.listed)} listed, {known} of the body: {', '.join(motion.listed)}",
            f"body height: {'not given' if motion.height is None else f'{motion.height:g} m'}",
        ]
        clip = _to_clip(motion, path, fps, height)
        low, high = clip.joints.min((0, 1)), clip.joints.max((0, 1))
        box = ", ".join(f"{axis} {a:.2f} to {b:.2f}" for axis, a, b in zip("xyz", low, high, strict=True))
        lines += [f"note: {note}" for note in clip.notes]
        lines += [f"captions: {len(clip.captions)}", *(f"  {caption}" for caption in clip.captions[:20])]
        lines += [f"kept: {len(clip.joints)} frames at {clip.fps:g} fps of {len(clip.names)} joints; metres: {box}"]
        there = "there" if _beside(path, "meta").is_file() else "not there"
        lines += [f"{_beside(path, 'meta').name}: {there}; nothing in it is needed"]
    except (ValueError, OSError) as error:
        lines.append(f"broken: {error}")
    return lines


def parse(path: str | Path) -> MmmMotion:
    """The first <Motion> with a JointOrder of MMM joints. Errors as of `read`."""
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
                if fed - reader.expat.CurrentByteIndex > _MAX_TOKEN + _BLOCK:  # expat would hold all of it
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
    """Handlers of one expat parser. Frames go into arrays of numbers; nothing else is kept."""

    def __init__(self) -> None:
        self.expat = expat.ParserCreate()
        self.expat.buffer_text = True
        self.expat.StartElementHandler, self.expat.EndElementHandler = self.start, self.end
        self.expat.StartDoctypeDeclHandler = self.expat.EntityDeclHandler = self.refuse
        self.stack: list[str] = []
        self.text: list[str] = []
        self.size = self.line = 0
        self.current, self.others = "", []  # names of the <Motion> at hand and of those left out
        self.chosen = False  # the <Motion> at hand is the one to read
        self.name = None  # of the <Motion> chosen
        self.height, self.listed, self.columns = None, [], []
        self.pick = itemgetter(slice(0))  # the columns of a row of angles; set with them
        self.numbers, self.lines = array("d"), array("q")  # 7 + joints numbers and one line number per frame
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
            self.columns = [i for i, name in enumerate(self.listed) if name in mmm.JOINTS]
            if self.columns:
                self.chosen, self.name = True, self.current
                first, last = self.columns[0], self.columns[-1] + 1
                whole = self.columns == list(range(first, last))
                self.pick = itemgetter(slice(first, last)) if whole else itemgetter(*self.columns)
        elif depth == 2 and tag == "Motion":
            self.current = " ".join(attributes.get("name", "").split())[:200]
            if self.name is None:
                self.listed, self.height = [], None
        elif tag == "Height" and stack[1] == "Motion" and (self.chosen or self.name is None):
            self.collect()

    def collect(self) -> None:
        self.text, self.size, self.line = [], 0, self.expat.CurrentLineNumber
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
        number, line, frame = len(self.lines) - 1, self.lines[-1], self.frame
        for tag in _FIELDS:
            if tag not in frame:
                self.fail(f"<MotionFrame> {number} has no <{tag}>", line)
        row = frame["Timestep"] + frame["RootPosition"] + frame["RootRotation"]
        row += self.pick(frame["JointPosition"])
        self.numbers.extend(row)

    def motion(self) -> MmmMotion:
        """What was read; the checks that need all frames."""
        if self.name is None:
            self.fail("no <Motion> has a <JointOrder> of MMM joints (BPx_joint ...) before its <MotionFrames>")
        if not self.lines:
            self.fail("<MotionFrames> holds no <MotionFrame>")
        rows = np.frombuffer(self.numbers).reshape(len(self.lines), -1)
        limit = np.array([1e6] + [1e7] * 3 + [1e3] * (rows.shape[1] - 4))  # seconds, millimetres, radians
        bad = np.argwhere(~(np.abs(rows) < limit))  # NaN, too
        if len(bad):
            frame, column = bad[0].tolist()
            tag = list(_FIELDS)[0 if column < 1 else 1 if column < 4 else 2 if column < 7 else 3]
            self.fail(f"<{tag}> of frame {frame}: {rows[frame, column]:g} is out of range", self.lines[frame])
        late = np.flatnonzero(np.diff(rows[:, 0]) <= 0)
        if len(late):
            frame = int(late[0]) + 1
            stamps = f"{rows[frame, 0]:g} after {rows[frame - 1, 0]:g}"
            self.fail(f"<Timestep> of frame {frame}: {stamps}, expected a later one", self.lines[frame])
        angles = {self.listed[column]: rows[:, 7 + i] for i, column in enumerate(self.columns)}
        return MmmMotion(
            self.name, self.height, tuple(self.listed), rows[:, 0], rows[:, 1:4], rows[:, 4:7], angles,
            tuple(self.others),
        )  # fmt: skip


def _first_bad(words: list[str]) -> str:
    """The first word that is no number, else an empty one."""
    for word in words:
        try:
            float(word)
        except ValueError:
            return word
    return ""


def _to_clip(motion: MmmMotion, path: Path, fps: float | None, height: float | None) -> RawClip:
    """`read` after parsing."""
    if fps is not None and not 1e-3 <= fps <= 1000:
        raise ValueError(f"fps must be 0.001 to 1000, got {fps}")
    if height is not None and not 0.3 <= height <= 2.6:
        raise ValueError(f"height must be 0.3 to 2.6 metres, got {height}")
    notes, F = [], len(motion.times)
    if motion.height is None:
        notes.append(f"body height: {height or DEFAULT_HEIGHT:g} m ({'given' if height else 'assumed'})")
    missing = [name for name in mmm.JOINTS if name not in motion.listed and "SC" not in name]
    if missing:
        notes.append(f"joints without angles, left at zero: {', '.join(missing)}")
    other = [name for name in motion.listed if name not in mmm.JOINTS]
    if other:
        notes.append(f"{len(other)} angles ignored, of no joint of this body: {', '.join(other[:10])}")
    if motion.other_motions:
        notes.append(f"{len(motion.other_motions)} other motions ignored: {', '.join(motion.other_motions[:5])}")
    duration = float(motion.times[-1] - motion.times[0])
    rate = fps or (round((F - 1) / duration, 6) if F > 1 else 100.0)
    if not 1e-3 <= rate <= 1000:
        raise ValueError(f"{path}: {F} frames in {duration:g} s are {rate:g} fps; give fps")
    if F == 1 and fps is None:
        notes.append("one frame: 100 fps assumed")
    length = math.floor(duration * rate + 1e-4) + 1
    if length > MAX_FRAMES:
        raise ValueError(f"{path}: {duration:g} s at {rate:g} fps are more than {MAX_FRAMES} frames")
    if F > 1 and (gap := float(np.diff(motion.times).max())) > 0.25:
        notes.append(f"a gap of {gap:.2f} s between two frames is bridged in a straight line")
    when = np.minimum(motion.times[0] + np.arange(length) / rate, motion.times[-1])
    turns = slerp(_quaternions(motion.rpy), np.interp(when, motion.times, np.arange(F)))
    joints = mmm.forward_kinematics(
        np.stack([np.interp(when, motion.times, axis) for axis in motion.root.T], axis=-1) / 1000,
        quaternion_to_matrix(torch.from_numpy(turns)).numpy(),
        {name: np.interp(when, motion.times, np.unwrap(angle)) for name, angle in motion.angles.items()},
        motion.height or height or DEFAULT_HEIGHT,
    )
    subject = re.fullmatch(r"subject_id_(\w{1,40})", motion.name)
    captions = _captions(path, notes)
    return RawClip(
        joints.astype(np.float32), KIT.joints, rate, captions, subject and subject.group(1), notes=tuple(notes)
    )


def _quaternions(rpy: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw (F, 3) -> unit quaternions (F, 4) of Rz(yaw) Ry(pitch) Rx(roll)."""
    angles = torch.from_numpy(rpy[:, :, None]) * torch.eye(3, dtype=torch.float64)  # (F, 3 angles, 3 axes)
    x, y, z = axis_angle_to_quaternion(angles).unbind(1)
    return quaternion_multiply(z, quaternion_multiply(y, x)).numpy()


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.stem.removesuffix('_mmm')}_{kind}.json")


def _read_json(path: Path) -> object:
    """What a JSON file holds; None where there is none."""
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_JSON:
        raise ValueError(f"{path}: {path.stat().st_size} bytes are too many (at most {MAX_JSON})")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: malformed JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or nested without end
        raise ValueError(f"{path}: not readable as JSON ({' '.join(str(error).split())[:100]})") from error


def _captions(path: Path, notes: list[str]) -> tuple[str, ...]:
    file = _beside(path, "annotations")
    texts = _read_json(file)
    if texts is None:
        notes.append(f"no {file.name}: no captions")
        return ()
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{file}: expected a list of sentences")
    return tuple(" ".join(text.split()) for text in texts if text.strip())
