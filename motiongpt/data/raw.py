"""What a reader of somebody's motion files gives: one clip, in metres, y up, with the names of its joints.

Readers (`data/readers/`) know file formats and nothing of skeletons, features or data sets; `data/build.py` knows those
and no file formats. `RawClip` is all that passes between them.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motiongpt.data.texts import Caption
from motiongpt.files.hashes import short_hash


def z_up_to_y_up(joints: np.ndarray) -> np.ndarray:
    """(..., 3) with z up -> y up, by a quarter turn about x: (x, y, z) -> (x, z, -y)."""
    return joints[..., [0, 2, 1]] * np.array([1, 1, -1], joints.dtype)


def to_metres(joints: np.ndarray, unit: float | None = None, up: str | None = None) -> np.ndarray:
    """(..., 3) in `unit` metres (default 1) with `up` (y, the default, or z) up -> metres, y up."""
    joints = z_up_to_y_up(joints) if up == "z" else joints
    return joints * np.float32(unit) if unit not in (None, 1) else joints


@dataclass(frozen=True)
class RawClip:
    """One clip as it was read. Raises ValueError where joints and names contradict each other."""

    joints: np.ndarray | None  # (F, J, 3) float32 metres, y up, right-handed, the file's own heading; None: parameters
    names: tuple[str, ...]  # of the joints, as the file calls them (or as the format documents them)
    fps: float
    captions: tuple[str, ...] = ()
    participant: str | None = None
    split: str | None = None  # train, val or test where the source says
    notes: tuple[str, ...] = ()  # what was assumed or guessed, one line each: "unit: centimetres (guessed)"
    parameters: np.ndarray | None = None  # (F, 182) float32 for SMPL-X, instead of joints

    def __post_init__(self) -> None:
        if self.joints is not None and self.joints.shape[1:] != (len(self.names), 3):
            raise ValueError(f"joints must be (F, {len(self.names)}, 3), got {self.joints.shape}")
        if not 0 < self.fps < np.inf:
            raise ValueError(f"fps must be positive, got {self.fps}")


@dataclass
class Record:
    """One clip to be. `load` returns joints (F, J, 3) in metres at the target's fps, with `is_features` features
    (F, D), or a RawClip, whose joints are mapped and resampled. For several workers `load` must pickle."""

    id: str
    split: str | None  # None: what the clip says, else 90/5/5 by hash of the id
    captions: list[Caption]  # where the clip has none of its own
    load: Callable[[], np.ndarray | RawClip]
    participant: str | None = None
    is_features: bool = False
    guess: str = ""  # the caption of last resort: the words of a name
    row: str | None = None  # id in the captions file
    files: tuple[Path, ...] = ()  # what `load` and the captions read; folders of files, too

    def fingerprint(self) -> str:
        """Differs where a caption, the split, the participant, or the size or time of a file does. Nothing is read."""
        stats = []
        for path in self.files:
            with suppress(OSError):  # no such file, which tells as well
                inside = sorted(path.iterdir()) if path.is_dir() else [path]
                stats += [(str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in inside]
        facts = self.captions, self.split, self.participant, self.guess, stats
        return short_hash([repr(facts).encode()])
