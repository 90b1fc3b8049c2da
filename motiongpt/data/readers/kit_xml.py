"""KIT Motion-Language release: NNNNN_mmm.xml (MMM joint angles), NNNNN_annotations.json (sentences), NNNNN_meta.json.

Joint angles become the 21 joints of `skeletons.KIT`, true and not mirrored, through the MMM body (`mmm.py`). The map
kit-mmm of `data/joint_maps.py` makes HumanML3D's joints from them. `mmm_xml.py` parses the XML.

Taken as known: RootPosition is in millimetres; RootRotation is roll, pitch, yaw in radians with R = Rz(yaw) Ry(pitch)
Rx(roll). The data do not document this; in a recorded walk, planted feet slide least with this order. The 251
features of KIT-ML came from MMM through an ASF/AMC conversion that is not repeated here, so its positions differ.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import torch

from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_multiply, quaternion_to_matrix
from motiongpt.body.skeletons import KIT
from motiongpt.data.raw import RawClip
from motiongpt.data.readers import mmm
from motiongpt.data.readers.mmm_xml import MAX_FRAMES, MmmMotion, parse
from motiongpt.data.resample import slerp
from motiongpt.files.listing import visible

DEFAULT_HEIGHT = 1.75  # metres
MAX_JSON = 10_000_000  # bytes


def find(folder: str | Path) -> list[Path]:
    """All *_mmm.xml files below a folder, sorted. Raises FileNotFoundError if there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    return [path for path in visible(folder.rglob("*_mmm.xml"), folder) if path.is_file()]


def read(path: str | Path, fps: float | None = None, height: float | None = None) -> RawClip:
    """One clip of KIT's 21 joints, with the sentences of the annotations file beside it.

    Args:
        fps: rate of the result; None keeps the file's mean rate. Between time stamps joint angles (unwrapped) and the
            root's position are linear, and its rotation goes by slerp.
        height: of the body in metres, if the file has none (default 1.75).

    Raises FileNotFoundError, or ValueError naming the file, line and element at fault.
    """
    return _to_clip(parse(path), Path(path), fps, height)


def explain(path: str | Path, fps: float | None = None, height: float | None = None) -> list[str]:
    """Lines for people: what the file holds and what `read` makes of it, or what is wrong with it and where."""
    path = Path(path)
    lines: list[str] = []
    try:
        motion = parse(path)
        F = len(motion.times)
        known = sum(name in mmm.JOINTS for name in motion.listed)
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


def _to_clip(motion: MmmMotion, path: Path, fps: float | None, height: float | None) -> RawClip:
    """The steps of `read` after parsing."""
    if fps is not None and not 1e-3 <= fps <= 1000:
        raise ValueError(f"fps must be 0.001 to 1000, got {fps}")
    if height is not None and not 0.3 <= height <= 2.6:
        raise ValueError(f"height must be 0.3 to 2.6 metres, got {height}")
    notes = _notes(motion, height)

    # 1) The times of the new frames.
    F = len(motion.times)
    duration = float(motion.times[-1] - motion.times[0])
    rate = fps or (round((F - 1) / duration, 6) if F > 1 else 100.0)
    if not 1e-3 <= rate <= 1000:
        raise ValueError(f"{path}: {F} frames in {duration:g} s are {rate:g} fps; give fps")
    if F == 1 and fps is None:
        notes.append("one frame: 100 fps assumed")
    length = math.floor(duration * rate + 1e-4) + 1
    if length > MAX_FRAMES:
        raise ValueError(f"{path}: {duration:g} s at {rate:g} fps are more than {MAX_FRAMES} frames")
    gap = float(np.diff(motion.times).max()) if F > 1 else 0.0
    if gap > 0.25:
        notes.append(f"a gap of {gap:.2f} s between two frames is bridged in a straight line")
    when = np.minimum(motion.times[0] + np.arange(length) / rate, motion.times[-1])

    # 2) Root and angles at these times, then the joints.
    turns = slerp(_quaternions(motion.rpy), np.interp(when, motion.times, np.arange(F)))
    joints = mmm.forward_kinematics(
        np.stack([np.interp(when, motion.times, axis) for axis in motion.root.T], axis=-1) / 1000,
        quaternion_to_matrix(torch.from_numpy(turns)).numpy(),
        {name: np.interp(when, motion.times, np.unwrap(angle)) for name, angle in motion.angles.items()},
        motion.height or height or DEFAULT_HEIGHT,
    )

    # 3) What lies beside the numbers.
    subject = re.fullmatch(r"subject_id_(\w{1,40})", motion.name)
    participant = subject.group(1) if subject else None
    captions = _captions(path, notes)
    return RawClip(joints.astype(np.float32), KIT.joints, rate, captions, participant, notes=tuple(notes))


def _notes(motion: MmmMotion, height: float | None) -> list[str]:
    """What is assumed or left out, whatever the frame rate."""
    notes = []
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
    return notes


def _quaternions(rpy: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw (F, 3) -> unit quaternions (F, 4) of Rz(yaw) Ry(pitch) Rx(roll)."""
    angles = torch.from_numpy(rpy[:, :, None]) * torch.eye(3, dtype=torch.float64)  # (F, 3 angles, 3 axes)
    x, y, z = axis_angle_to_quaternion(angles).unbind(1)  # one turn about each axis
    return quaternion_multiply(z, quaternion_multiply(y, x)).numpy()


def _beside(path: Path, kind: str) -> Path:
    """00001_mmm.xml -> 00001_KIND.json"""
    return path.with_name(f"{path.stem.removesuffix('_mmm')}_{kind}.json")


def _read_json(path: Path) -> object:
    """What a JSON file holds; None if there is no such file."""
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
    """The sentences of the annotations file beside a motion; none, and a note, if there is no such file."""
    file = _beside(path, "annotations")
    texts = _read_json(file)
    if texts is None:
        notes.append(f"no {file.name}: no captions")
        return ()
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{file}: expected a list of sentences")
    return tuple(" ".join(text.split()) for text in texts if text.strip())
