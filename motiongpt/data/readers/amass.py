"""AMASS: .npz files of SMPL-H, SMPL-X or SMPL poses -> the 22 joints of HumanML3D (its index.csv: `amass_index.py`).

This does what HumanML3D's public notebook (raw_pose_processing.ipynb) does, for all frames at once:

- the body of the file's gender (SMPL-H: female unless male) with the first 10 betas, without soft tissue (dmpls);
- every int(fps / 20)-th frame, called 20 fps;
- z up to y up. The notebook swaps y and z, which mirrors, and later negates x, which mirrors back: together
  (x, y, z) -> (-x, z, y), a rotation;
- the seconds of T-pose at the start of five data sets are cut.

Danger: int(59 / 20) is 2, so a clip of 59 fps plays at 29.5 and is called 20. `exact_fps` resamples instead: rotations
by slerp, the translation by a cubic spline, so bones keep their lengths.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from motiongpt.body.body_model import (
    GENDERS,
    LICENCE,
    MODEL_JOINTS,
    find_body_model,
    is_body_file,
    load_body_model,
)
from motiongpt.body.kinematics import posed_joints
from motiongpt.body.rotations import axis_angle_to_quaternion
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.jumps import without_rest_pose
from motiongpt.data.raw import RawClip
from motiongpt.data.resample import cubic_spline, new_length, slerp
from motiongpt.files.arrays import read_npz
from motiongpt.files.listing import visible

FPS = HUMANML3D.fps
NUM_BETAS = 10
MAX_FRAMES = 300_000  # 40 minutes at 120 fps, 1 GB while they are posed
RENAMED = {
    "BioMotionLab_NTroje": "BMLrub", "DFaust_67": "DFaust", "Eyes_Japan_Dataset": "EyesJapanDataset",
    "MPI_HDM05": "HDM05", "MPI_Limits": "PosePrior", "MPI_mosh": "MoSh", "SSM_synced": "SSM",
    "TCD_handMocap": "TCDHands", "Transitions_mocap": "Transitions",
}  # fmt: skip
"""Folders of AMASS's data sets: name in index.csv -> name in today's archives."""
_SAME = "ACCAD BMLhandball BMLmovi CMU EKUT HumanEva KIT SFU TotalCapture".split()
_DATASETS = {name: name for name in [*RENAMED, *_SAME]} | {new: old for old, new in RENAMED.items()}
TRIM = {"Eyes_Japan_Dataset": 3.0, "MPI_HDM05": 3.0, "TotalCapture": 1.0, "MPI_Limits": 1.0, "Transitions_mocap": 0.5}
"""Seconds of T-pose that are cut from the start of every clip of a data set."""
_FPS = ("mocap_framerate", "mocap_frame_rate")
_KEYS = {"poses", "root_orient", "pose_body", "trans", "betas", "gender", "surface_model_type", *_FPS}
_KINDS = {3 * joints: kind for kind, joints in MODEL_JOINTS.items()}  # columns of poses -> model


@dataclass(frozen=True)
class AmassMotion:
    """What a file says, before any body model is posed."""

    kind: str  # smpl, smplh or smplx
    gender: str  # of the model to use
    fps: float
    poses: np.ndarray  # (F, 22, 3) axis-angle, pelvis first, z up
    trans: np.ndarray  # (F, 3) metres, z up
    betas: np.ndarray  # (N,)
    notes: tuple[str, ...]


def find(folder: Path | str) -> list[Path]:
    """All .npz files below a folder, sorted, without the shapes and body models that lie among them.

    Raises FileNotFoundError if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    return [path for path in visible(folder.rglob("*.npz"), folder) if path.is_file() and not _is_no_clip(path)]


def _is_no_clip(path: Path) -> bool:
    """Whether a file is a body's shape or a body model. Its name says so, or its keys."""
    name = path.name.lower()
    named = name in ("shape.npz", "model.npz") or name.endswith("_stagei.npz") or path.name.startswith("SMPL")
    return named or is_body_file(path)


def read(
    path: Path | str,
    body_models: Path | str | None = None,
    fps: float = FPS,
    exact_fps: bool = False,
    num_betas: int = NUM_BETAS,
    whole: bool = False,
) -> RawClip:
    """One clip of HumanML3D's 22 joints in metres, y up. A folder of its path names the data set, hence the trimming.

    Args:
        body_models: folder of the files as published: smplh/male/model.npz, smplx/SMPLX_NEUTRAL.npz, ...
        fps: rate of the result. Every int(file's fps / fps)-th frame is taken and called `fps`.
        exact_fps: resample to `fps` instead.
        num_betas: how many shape numbers count; HumanML3D has 10 of AMASS's 16.
        whole: keep a rest pose at the ends too, for an index that counts frames from the file's own first.

    Raises FileNotFoundError for the file or its body model, ValueError naming the file and the key at fault.
    """
    path = Path(path)
    return _to_clip(parse(path), path, body_models, fps, exact_fps, num_betas, whole)


def explain(
    path: Path | str,
    body_models: Path | str | None = None,
    fps: float = FPS,
    exact_fps: bool = False,
    num_betas: int = NUM_BETAS,
) -> list[str]:
    """Lines for people: keys, model, gender, frame rate, what is kept and dropped, or what is wrong with the file."""
    path = Path(path)
    lines = [f"{path}:"]
    try:
        headers, _ = read_npz(path, ())
        for name, (shape, dtype) in headers.items():
            lines.append(f"  {name[:80]}: {shape} {dtype} -> {'read' if name in _KEYS else 'not read'}")
        motion = parse(path)
        lines.append(
            f"{motion.kind.upper()} poses, model of gender {motion.gender}, {len(motion.poses)} frames at "
            f"{motion.fps:g} fps, {len(motion.betas)} betas"
        )
        clip = _to_clip(motion, path, body_models, fps, exact_fps, num_betas)
        low, high = clip.joints.min((0, 1)), clip.joints.max((0, 1))
        box = ", ".join(f"{axis} {a:.2f} to {b:.2f}" for axis, a, b in zip("xyz", low, high, strict=True))
        lines += [f"note: {note}" for note in clip.notes]
        lines += [
            f"would keep {len(clip.joints)} frames at {clip.fps:g} fps of {len(clip.names)} joints; metres: {box}"
        ]
        lines += [f"participant {clip.participant or 'not said'}; captions: none in AMASS"]
    except (ValueError, OSError) as error:
        lines.append(f"broken: {error}")
    return lines


# 1) What a file says.


def parse(path: Path) -> AmassMotion:
    """What a file says, checked. Raises FileNotFoundError, or ValueError naming the file and the key."""
    headers, arrays = read_npz(path, _KEYS)
    kind, poses = _poses(headers, arrays, path)
    missing = [key for key in ("trans", "betas", "gender") if key not in arrays]
    rates = [key for key in _FPS if key in arrays]
    if missing or not rates:
        raise ValueError(f"{path}: no {', '.join(missing + ([] if rates else [' or '.join(_FPS)]))}")
    trans = _matrix(arrays["trans"], f"{path}: trans")
    if trans.shape != (len(poses), 3):
        raise ValueError(f"{path}: trans must be ({len(poses)}, 3) as poses has {len(poses)} frames, got {trans.shape}")
    betas = arrays["betas"]
    betas = _matrix(betas[None] if betas.ndim == 1 else betas, f"{path}: betas")
    if len(betas) != 1:
        raise ValueError(f"{path}: betas must be one row, one body, got {betas.shape}")
    fps = arrays[rates[0]]
    if fps.size != 1 or fps.dtype.kind not in "fiu" or not 1 <= fps.item() <= 1000:
        raise ValueError(f"{path}: {rates[0]} must be a number from 1 to 1000, got {' '.join(str(fps).split())[:40]}")
    notes: list[str] = []
    kind = _stated_kind(arrays, kind, path)
    gender = _gender(arrays["gender"], kind, path, notes)
    return AmassMotion(kind, gender, float(fps.item()), poses.reshape(-1, 22, 3), trans, betas[0], tuple(notes))


def _poses(headers: dict, arrays: dict[str, np.ndarray], path: Path) -> tuple[str, np.ndarray]:
    """The kind of model that the keys imply, and its poses (F, 66): the pelvis and 21 joints."""
    if "poses" in arrays:
        shape = arrays["poses"].shape
        if len(shape) != 2 or shape[1] not in _KINDS:
            known = ", ".join(f"{width} ({kind.upper()})" for width, kind in _KINDS.items())
            raise ValueError(f"{path}: poses must be (F, width) with width {known}, got {shape}")
        return _KINDS[shape[1]], _matrix(arrays["poses"][:, :66], f"{path}: poses")
    if not {"root_orient", "pose_body"} <= set(arrays):
        few = ", ".join(name[:40] for name in list(headers)[:12]) or "no keys"
        raise ValueError(f"{path}: no poses, and no root_orient with pose_body: not a motion of AMASS; it has {few}")
    root, body = (_matrix(arrays[key], f"{path}: {key}") for key in ("root_orient", "pose_body"))
    if (root.shape, body.shape) != ((len(root), 3), (len(root), 63)):
        raise ValueError(
            f"{path}: expected root_orient (F, 3) and pose_body (F, 63), got {root.shape} and {body.shape}"
        )
    kind = "smplx" if {"pose_jaw", "pose_eye"} & set(headers) else "smplh"  # only SMPL-X has a face
    return kind, np.concatenate((root, body), axis=1)


def _matrix(array: np.ndarray, place: str) -> np.ndarray:
    """(F, width) float64, checked: finite, not empty, not too long."""
    if array.dtype.kind not in "fiu" or array.ndim != 2 or not array.size:
        raise ValueError(f"{place} must be numbers in rows, got {array.shape} {array.dtype}")
    if len(array) > MAX_FRAMES:
        raise ValueError(f"{place} has {len(array)} frames, more than {MAX_FRAMES}: no clip of AMASS is that long")
    bad = np.flatnonzero(~np.isfinite(array).all(1))
    if len(bad):
        raise ValueError(f"{place}: NaN or infinite in {len(bad)} rows, the first is {bad[0]}")
    return array.astype(np.float64)


def _word(value: np.ndarray) -> str:
    """The text of a scalar, or of a one-element array, of text or bytes."""
    item = value.reshape(-1)[0] if value.size == 1 else ""
    return (item.decode("latin1") if isinstance(item, bytes) else str(item)).strip().lower()


def _stated_kind(arrays: dict[str, np.ndarray], kind: str, path: Path) -> str:
    """The body model that the file names, else `kind`, which follows from its columns."""
    stated = _word(arrays["surface_model_type"]) if "surface_model_type" in arrays else kind
    stated = stated.removesuffix("_locked_head")
    if stated not in MODEL_JOINTS:
        raise ValueError(f"{path}: surface_model_type must be one of {', '.join(MODEL_JOINTS)}, got {stated[:40]!r}")
    if "poses" in arrays and stated != kind:
        raise ValueError(f"{path}: surface_model_type says {stated}, but poses has the columns of {kind}")
    return stated


def _gender(value: np.ndarray, kind: str, path: Path, notes: list[str]) -> str:
    """The gender of the body model to use."""
    gender = _word(value)
    if gender not in GENDERS:
        raise ValueError(f"{path}: gender must be one of {', '.join(GENDERS)}, got {gender[:40]!r}")
    if value.dtype.kind == "S" and gender == "male":
        notes.append("gender is stored as bytes: male; HumanML3D's notebook takes such a file for female")
    if kind == "smplh" and gender == "neutral":
        notes.append("gender neutral: the female SMPL-H body, as HumanML3D takes it")
        return "female"
    return gender


# 2) From poses to joints.


def _to_clip(
    motion: AmassMotion,
    path: Path,
    body_models: Path | str | None,
    fps: float,
    exact_fps: bool,
    num_betas: int,
    whole: bool = False,
) -> RawClip:
    """The steps of `read` after parsing."""
    if not 0 < fps < math.inf:
        raise ValueError(f"fps must be positive, got {fps}")
    if body_models is None:
        raise ValueError(
            f"{path} has poses of {motion.kind.upper()}: give the folder of its body models, --smplx-dir DIR; "
            f"they come from {LICENCE[motion.kind]}"
        )
    body = load_body_model(find_body_model(body_models, motion.kind, motion.gender), motion.kind)
    notes = list(motion.notes)
    betas = motion.betas[: min(num_betas, body.directions.shape[-1])]
    if len(betas) < len(motion.betas):
        notes.append(f"shape: the first {len(betas)} of {len(motion.betas)} betas")

    # a rest pose at the ends; then the new rate, then the T-pose: HumanML3D counts its seconds at 20 fps
    turns = axis_angle_to_quaternion(torch.from_numpy(motion.poses)).numpy()
    angles = motion.poses[:, 1:].reshape(len(turns), -1)  # without the pelvis, which turns the whole body
    rest = body.rest_joints(betas)
    trans = motion.trans
    if not whole:
        keep, found = without_rest_pose(angles, lambda: posed_joints(rest, turns, trans))
        turns, trans, notes = turns[keep], trans[keep], [*notes, *found]
    turns, trans = _at_rate(turns, trans, motion.fps, fps, exact_fps, path, notes)
    dataset = next((_DATASETS[part] for part in reversed(path.parts[:-1]) if part in _DATASETS), None)
    cut = int(TRIM.get(dataset, 0) * fps)
    if cut:
        notes.append(f"the first {cut} frames are cut, a T-pose in {dataset}")
    if len(turns) <= cut:
        raise ValueError(f"{path}: {len(turns)} frames at {fps:g} fps, and the first {cut} are cut: nothing is left")

    x, y, z = np.moveaxis(posed_joints(rest, turns[cut:], trans[cut:]), -1, 0)
    joints = np.stack([-x, z, y], axis=-1).astype(np.float32)  # z up to y up
    if not np.isfinite(joints).all():
        raise ValueError(f"{path}: joints too large for numbers")
    participant = path.parent.name or None
    if dataset is not None:
        # person 3 of KIT is not person 3 of EKUT; a clip directly in its data set's folder has no person
        participant = None if participant in _DATASETS else f"{dataset}-{participant}"
    return RawClip(joints, HUMANML3D.joints, fps, participant=participant, notes=tuple(notes))


def _at_rate(
    turns: np.ndarray, trans: np.ndarray, had: float, fps: float, exact: bool, path: Path, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Quaternions (F, 22, 4) and translations (F, 3) from `had` fps to `fps`, or to the rate that a whole stride
    gives."""
    if exact:
        frames = new_length(len(turns), had, fps)
        if frames > MAX_FRAMES:
            raise ValueError(f"{path}: {frames} frames at {fps:g} fps, more than {MAX_FRAMES}")
        times = np.minimum(np.arange(frames) * (had / fps), len(turns) - 1)
        return slerp(turns, times), cubic_spline(trans, times)
    stride = int(had / fps)
    if stride < 1:
        raise ValueError(f"{path}: {had:g} fps is below {fps:g}: taking whole frames cannot reach it, use exact_fps")
    if abs(had / stride - fps) > 0.01:
        notes.append(
            f"every {stride}. frame of {had:g} fps is {had / stride:.4g} fps, called {fps:g} as in HumanML3D; "
            "exact_fps resamples"
        )
    return turns[::stride], trans[::stride]
