"""Clips before they are a data set: `RawClip`, what a reader returns, and `Record`, a clip that is still to be loaded.

Readers (`data/readers/`) know file formats, and nothing about skeletons, features or data sets. `data/prepare/` knows
those, and no file formats. A `RawClip` is in metres, y up, with the file's own joints and their names. A `Record` adds
what is known without opening the file (id, split, captions) and how to load it, perhaps in another process.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motiongpt.data.edits import Edit
from motiongpt.data.texts import Caption
from motiongpt.files.hashes import short_hash
from motiongpt.files.listing import visible


def z_up_to_y_up(joints: np.ndarray) -> np.ndarray:
    """(..., 3) with z up -> y up, by a quarter turn about x: (x, y, z) -> (x, z, -y)."""
    return joints[..., [0, 2, 1]] * np.array([1, 1, -1], joints.dtype)


def to_metres(joints: np.ndarray, unit: float | None = None, up: str | None = None) -> np.ndarray:
    """(..., 3) in `unit` metres (default 1) with `up` (y, the default, or z) up -> metres, y up."""
    joints = z_up_to_y_up(joints) if up == "z" else joints
    return joints * np.float32(unit) if unit not in (None, 1) else joints


@dataclass(frozen=True)
class RawClip:
    """One clip as it was read. Raises ValueError if joints and names contradict each other."""

    joints: np.ndarray | None  # (F, J, 3) float32 metres, y up, right-handed, the file's heading; None: `parameters`
    names: tuple[str, ...]  # of the joints, as the file or its format calls them
    fps: float
    captions: tuple[str, ...] = ()
    participant: str | None = None
    split: str | None = None  # train, val or test, if the source says so
    notes: tuple[str, ...] = ()  # what was assumed or guessed, one line each: "unit: centimetres (guessed)"
    parameters: np.ndarray | None = None  # (F, 182) float32 of SMPL-X, instead of joints or beside them
    plain: str = ""  # the plainest of the captions, if the source has one for every clip
    style: str = ""  # how the participant moves, in words

    def __post_init__(self) -> None:
        if self.joints is not None and self.joints.shape[1:] != (len(self.names), 3):
            raise ValueError(f"joints must be (F, {len(self.names)}, 3), got {self.joints.shape}")
        if not 0 < self.fps < np.inf:
            raise ValueError(f"fps must be positive, got {self.fps}")


@dataclass
class Record:
    """One clip that is to become part of a data set.

    `load` returns a RawClip, whose joints are then mapped and resampled, or joints (F, J, 3) in metres that need
    neither, or, with `is_features`, features (F, D). With several workers `load` must pickle.
    """

    id: str
    split: str | None  # None: what the clip says, else 90/5/5 by hash of the id
    captions: list[Caption]  # used if the loaded clip has none of its own
    load: Callable[[], np.ndarray | RawClip]
    participant: str | None = None
    is_features: bool = False
    guess: str = ""  # the caption of last resort: the words of a name
    row: str | None = None  # id in the captions file
    files: tuple[Path, ...] = ()  # files, or folders of them, that `load` and the captions are read from
    edit: Edit | None = None  # how another clip of the source becomes this one
    plain: str = ""  # the plain caption, that of what is loaded goes first
    style: str = ""  # how the participant moves; the same
    repeat: int = 1  # how often its clips are listed, if they are for training

    def fingerprint(self) -> str:
        """A hash of captions, split, participant, plain caption, repeats, and of each file's size and time, to see
        whether a source changed.

        No file is read.
        """
        stats = []
        for path in self.files:
            with suppress(OSError):  # a missing file changes the hash, too
                files = visible(path.iterdir(), path) if path.is_dir() else [path]
                found = [(file, file.stat()) for file in files]
                stats += [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found]
        facts = self.captions, self.split, self.participant, self.guess, self.plain, self.repeat, stats
        return short_hash([repr(facts).encode()])
