"""One record becomes the files of one clip, or of two with its mirror image;
a worker process does this.

A clip is new_joint_vecs/ID.npy, texts/ID.txt and, unless it is SMPL-X parameters,
new_joints/ID.npy. A record is written whole or skipped whole, and a skipped one says why. Which
records there are and what becomes of the folder is `build.py`.
"""

import glob
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.data.joint_maps import JointMap, to_skeleton
from motiongpt.data.jumps import SIZE, Jump, find_jump, turned_points
from motiongpt.data.mirror import mirror_caption, mirror_joints
from motiongpt.data.motions import SPLITS, check_id
from motiongpt.data.posture import measure_posture
from motiongpt.data.raw import RawClip, Record
from motiongpt.data.resample import resample, resample_parameters
from motiongpt.data.texts import Caption, is_text
from motiongpt.data.tokens import MAX_CAPTION
from motiongpt.features.representations import Representation
from motiongpt.files.arrays import read_array
from motiongpt.files.store import naming

MIN_FRAMES = 5  # one code of four frames, and the frame that the velocities cost


@dataclass(frozen=True)
class Target:
    """What every clip becomes, and the folder that it is written to."""

    out: Path
    representation: Representation
    fps: float
    mirror: bool = False
    joint_map: JointMap | None = None

    @property
    def skeleton(self) -> Skeleton:
        return self.representation.skeleton

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of `out` that hold one file a clip."""
        return ("new_joint_vecs", "texts") + (("new_joints",) if self.representation.has_joints else ())

    def is_mirrored(self, record: Record) -> bool:
        """Whether a record becomes two clips. Features are taken as they are."""
        return self.mirror and not record.is_features


def make_clips(record: Record, target: Target) -> dict:
    """Write the clips of a record and say what was written, or why it is skipped.

    Returns a line of the build's journal: {"id", "skipped"}, or {"id", "clips": [[id, frames,
    captions], ...], "split", "participant", "guessed", "notes", "posture", "jump"}, and "plain", "style" and
    "repeat" if they say something.
    """
    notes: list[str] = []
    try:
        # 1) everything that may refuse the record, before the first file
        _check_name(record.id)
        record, array = _load(record, target, notes)
        guessed = not record.captions and bool(record.guess)
        if guessed:
            record = replace(record, captions=[Caption(record.guess)])
        record = _usable_captions(record, notes)
        _check(record, array, target)
        # (id, features, captions, joints) of the clip and, if wanted, its mirror image
        versions = [(*version, _joints(version[1], target)) for version in _versions(record, array, target)]
        # measured on the clip's own body, because retargeting would hide a wrong unit
        is_joints = target.representation.has_joints and not record.is_features
        posture = measure_posture(array, target.skeleton) if is_joints else []
        jump = _jump(record, array, versions[0][3], target)
        # what is stored must be finite too, not only what was read
        for _, features, _, _ in versions:
            _check_finite(features)
    except (ValueError, OSError) as error:
        return {"id": record.id, "skipped": " ".join(str(error).split())}
    # 2) the files
    for version in versions:
        with naming(target.out / "new_joint_vecs" / f"{version[0]}.npy"):
            _write(*version, target)
    return {
        "id": record.id,
        "clips": [[clip, len(features), len(captions)] for clip, features, captions, _ in versions],
        "split": record.split,
        "participant": record.participant,
        "guessed": guessed,
        "notes": notes,
        "posture": posture,
        "jump": jump,
        **{name: value for name in ("plain", "style") if (value := getattr(record, name))},
        **({"repeat": record.repeat} if record.repeat > 1 else {}),
    }


def is_whole(out: Path, clip: str, frames: int, _captions: int) -> bool:
    """Whether the arrays of a clip of the journal are on the disk in full;
    after a power cut they may not be."""
    try:
        # escaped, as an id may hold [ or *
        found = [read_array(path) for path in sorted(out.glob(f"new_joint*/{glob.escape(clip)}.npy"))]
        return bool(found) and all(len(array) == frames for array in found)
    except (ValueError, OSError):
        return False


def remove_clips(out: Path, clips: Iterable[str]) -> None:
    """Remove the files of clips, whichever of them are there."""
    for clip in clips:
        for name in (f"new_joint_vecs/{clip}.npy", f"new_joints/{clip}.npy", f"texts/{clip}.txt"):
            (out / name).unlink(missing_ok=True)


# The steps of `make_clips`.


def _check_name(name: str) -> None:
    check_id(name)
    if "/" in name:
        raise ValueError(f"the id {name!r} has a folder in it; here ids are file names")


def _load(record: Record, target: Target, notes: list[str]) -> tuple[Record, np.ndarray]:
    """The record's array at the target's rate. What the clip itself says (captions, split,
    participant) goes first."""
    loaded = record.load()
    if not isinstance(loaded, RawClip):
        return record, loaded
    notes += loaded.notes
    own = [Caption(" ".join(text.split())) for text in loaded.captions]
    record = replace(
        record,
        captions=own or record.captions,
        split=loaded.split or record.split,
        participant=loaded.participant or record.participant,
        plain=" ".join(loaded.plain.split()) or record.plain,
        style=loaded.style or record.style,
    )
    return record, _to_target(loaded, target, notes)


def _to_target(clip: RawClip, target: Target, notes: list[str]) -> np.ndarray:
    """Joints (F, J, 3) of the target's skeleton, or parameters (F, 182), at the target's rate."""
    if target.representation.has_joints:
        if clip.joints is None:
            raise ValueError(
                f"the clip has parameters and no joints; {target.representation.name} needs joints: give --smplx-dir"
            )
        joints = to_skeleton(clip, target.skeleton, target.joint_map, notes.append)
        return resample(joints, clip.fps, target.fps)
    if clip.parameters is None:
        raise ValueError(f"the clip has joints and no parameters; {target.representation.name} needs parameters")
    return resample_parameters(clip.parameters, target.representation.groups, clip.fps, target.fps)


def _usable_captions(record: Record, notes: list[str]) -> Record:
    """Leave out the captions that cannot be written or trained on, and note it.
    ValueError if none is left."""
    broken = [c for c in record.captions if not (is_text(c.text) and is_text(c.tokens))]
    long = [c for c in record.captions if len(c.text) > MAX_CAPTION and c not in broken]
    found = []
    if long:
        found.append(f"{len(long)} captions of more than {MAX_CAPTION} characters, which are not trained on")
    if broken:
        found.append(f"{len(broken)} captions with half a character (a lone surrogate): {ascii(broken[0].text[:60])}")
    kept = [caption for caption in record.captions if caption not in broken and caption not in long]
    if found and not kept:
        raise ValueError(f"no caption but {' and '.join(found)}")
    notes += [f"{record.id}: left out {what}" for what in found]
    return replace(record, captions=kept) if found else record


def _check(record: Record, array: np.ndarray, target: Target) -> None:
    if not record.captions:
        raise ValueError("no caption")
    if any(not caption.text for caption in record.captions):
        raise ValueError("an empty caption")
    if not is_text(record.participant or ""):
        raise ValueError(f"the participant {ascii(record.participant)} has half a character (a lone surrogate)")
    if record.split not in (None, *SPLITS):
        raise ValueError(f"unknown split {record.split!r}")
    # features are already one frame shorter than their joints, if the representation loses a frame to velocities
    needed = MIN_FRAMES - (1 if record.is_features else 1 - target.representation.frames_lost)
    if len(array) < needed:
        raise ValueError(f"{len(array)} frames; {needed} are needed for one code")
    _check_finite(array)


def _check_finite(array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"frame {int(np.argwhere(~np.isfinite(array))[0, 0])} is not finite")


def _versions(record: Record, array: np.ndarray, target: Target) -> list[tuple[str, np.ndarray, list[Caption]]]:
    """(id, features, captions) of each clip that a record becomes:
    itself and, if asked for, its mirror image."""
    if record.is_features:
        return [(record.id, array, record.captions)]
    versions = [(record.id, target.representation.encode(array), record.captions)]
    if target.is_mirrored(record):
        # The joints are mirrored before they are retargeted. The skeleton's two sides differ, and one leg gives the
        # scale, so it is not the retargeted clip mirrored: in 13 BVH samples up to 17 mm off around the root, and the
        # root up to 11 cm, at the end of a run.
        features = target.representation.encode(mirror_joints(array, target.skeleton))
        captions = [Caption(mirror_caption(c.text), c.start, c.end, mirror_caption(c.tokens)) for c in record.captions]
        versions.append((f"M{record.id}", features, captions))
    return versions


def _joints(features: np.ndarray, target: Target) -> np.ndarray | None:
    """The joints that the stored features stand for, if there are any."""
    return target.representation.decode(features.astype(np.float32)) if target.representation.has_joints else None


def _jump(record: Record, array: np.ndarray, decoded: np.ndarray | None, target: Target) -> Jump | None:
    """Whether the clip jumps from one frame to the next:
    its own joints, or those that its features stand for."""
    if decoded is None:
        return find_jump(turned_points(array), SIZE)
    return find_jump(decoded if record.is_features else array)


def _write(clip: str, features: np.ndarray, captions: list[Caption], joints: np.ndarray | None, target: Target) -> None:
    np.save(target.out / "new_joint_vecs" / f"{clip}.npy", features.astype(np.float32))
    if joints is not None:
        np.save(target.out / "new_joints" / f"{clip}.npy", joints)
    text = "".join(caption.line() + "\n" for caption in captions)
    (target.out / "texts" / f"{clip}.txt").write_text(text, encoding="utf-8")
