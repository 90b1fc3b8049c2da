"""A user's own file -> features -> codes or a motion, in the terms of one tokenizer; and codes -> motions.

    .bvh              any hierarchy that a joint map fits; unit and up axis are guessed, or given
    .npy              joints (F, J, 3) in metres, y up, unless given otherwise; features (F, D) as the tokenizer's
    .npz              a saved motion; with a tokenizer of SMPL-X also parameters by name (or a folder of frames)
    .txt              tokens, as a .npy of codes (S,), such as `tokenize_motions.py --format npy` writes, holds them too

Joints are mapped by name, resampled and turned into features as `scripts/prepare.py` does it, so a file and the data
set made of it give the same codes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from motiongpt.body.skeletons import Skeleton
from motiongpt.data.joint_maps import JointMap, read_map, to_skeleton
from motiongpt.data.posture import measure_posture, warnings
from motiongpt.data.raw import RawClip, to_metres
from motiongpt.data.readers import bvh, smplx
from motiongpt.data.resample import resample, resample_parameters
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.files.arrays import array_fault, read_array
from motiongpt.motion import Motion
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.vocab import parse_motion

SUFFIXES = (".npy", ".npz", ".txt", ".bvh")
NO_TOKENIZER = "has no tokens, and this run no motion tokenizer to make them; give --vqvae FOLDER"


@dataclass(frozen=True)
class Reading:
    """What a file does not say of itself, or what is to hold instead of what is guessed."""

    fps: float | None = None  # of joints in a .npy, and of SMPL-X parameters; default the tokenizer's
    joint_map: Path | None = None  # file as of `joint_maps.read_map`, where no built-in map fits a .bvh
    unit: float | None = None  # metres, of joints in a .npy (default 1) and of a .bvh (default guessed)
    up: str | None = None  # y or z, of the same (default y, and guessed)
    say: Callable[[str], None] = lambda line: None  # gets what was guessed, and what looks wrong

    @property
    def placed(self) -> bool:
        """Whether a unit or an axis is given."""
        return (self.unit, self.up) != (None, None)


def read_codes(path: Path, motion_tokenizer: MotionTokenizer | None, how: Reading = Reading()) -> list[int]:
    """The motion codes of a file: those it holds (.txt, .npz), else what the tokenizer makes of its motion.

    Raises FileNotFoundError, and ValueError naming the file, what was found and what was expected.
    """
    content = _read(Path(path), motion_tokenizer, how)
    if isinstance(content, Motion):
        return motion_codes(content, motion_tokenizer)
    return motion_tokenizer.encode([content])[0]


def read_joints(path: Path, how: Reading = Reading()) -> Motion:
    """The motion of a .npy of joints or a saved .npz, to be drawn as it is. Errors as of `Motion.load`."""
    motion = Motion.load(path, fps=how.fps)
    if how.placed:
        _check_placed(path)
        motion.joints = to_metres(motion.joints, how.unit, how.up)
    if motion.joints is not None:
        _warn(motion.joints, motion.skeleton, how.say)
    return motion


def read_motion(
    path: Path, motion_tokenizer: MotionTokenizer, how: Reading = Reading(), reconstruct: bool = False
) -> Motion:
    """The motion of a file, to be drawn; with `reconstruct` what the tokenizer gives back of it. Errors as above."""
    path = Path(path)
    content = _read(path, motion_tokenizer, how)
    if isinstance(content, Motion) and not reconstruct and (content.joints is not None or not content.tokens):
        return content
    if not isinstance(content, Motion) and not reconstruct:
        return _motion(motion_tokenizer, torch.from_numpy(content))
    codes = (
        motion_codes(content, motion_tokenizer)
        if isinstance(content, Motion)
        else motion_tokenizer.encode([content])[0]
    )
    if not codes:
        raise ValueError(f"{path}: no motion tokens; expected such as <motion_42><motion_18>, or a motion of one code")
    return decode_motions(motion_tokenizer, [codes], [content.text if isinstance(content, Motion) else ""])[0]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Names for what is made of files: their stems, and where several files have one, their folder before it."""
    stems = [path.stem for path in paths]
    return [s if stems.count(s) == 1 else f"{p.resolve().parent.name}-{s}" for s, p in zip(stems, paths, strict=True)]


def needs_tokenizer(path: Path) -> bool:
    """Whether only a tokenizer can tell what a file's numbers mean: a .bvh, and a .npy of features or codes."""
    if path.suffix.lower() != ".npy":
        return path.suffix.lower() == ".bvh"
    return read_array(path).ndim < 3


def motion_codes(motion: Motion, motion_tokenizer: MotionTokenizer | None) -> list[int]:
    """A motion's own tokens, else those of its joints or parameters; none where it has none of these.

    Raises ValueError where the joints do not fit the tokenizer's skeleton, and where a tokenizer is needed.
    """
    if motion.tokens or (motion.joints is None and motion.parameters is None):
        return list(motion.tokens)
    if motion_tokenizer is None:
        raise ValueError(f"the motion {NO_TOKENIZER}")
    names = motion.skeleton.joints if motion.joints is not None else ()
    clip = RawClip(motion.joints, names, motion.fps, parameters=motion.parameters)
    return motion_tokenizer.encode([clip_features(clip, motion_tokenizer)])[0]


def decode_motions(
    motion_tokenizer: MotionTokenizer, codes: Sequence[Sequence[int]], texts: Sequence[str]
) -> list[Motion]:
    """Codes -> motions with joints, or with parameters where the tokenizer's features are SMPL-X's."""
    return [
        _motion(motion_tokenizer, features, row, text)
        for features, row, text in zip(motion_tokenizer.decode_features(codes), codes, texts, strict=True)
    ]


def clip_features(
    clip: RawClip, motion_tokenizer: MotionTokenizer, joint_map: JointMap | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> np.ndarray:  # fmt: skip
    """A clip -> features (F, D) in their own units, at the tokenizer's rate. Raises ValueError where it does not fit.

    `say` gets the clip's notes, and a line where it does not look like a person in metres, y up.

    A skeleton without lengths (KIT-ML's) has nothing to retarget to: joints must be of its body, as sampled ones are.
    """
    representation, skeleton = motion_tokenizer.representation, motion_tokenizer.skeleton
    if not representation.has_joints:
        if clip.parameters is None:
            raise ValueError(f"joints, but the tokenizer is of {representation.name}: SMPL-X parameters are needed")
        return resample_parameters(clip.parameters, representation.groups, clip.fps, motion_tokenizer.fps)
    if clip.joints is None:
        raise ValueError(f"SMPL-X parameters, but the tokenizer is of {representation.name}: joints are needed")
    joints = to_skeleton(clip, skeleton, joint_map)
    for note in clip.notes:
        say(note)
    _warn(joints, skeleton, say)
    joints = resample(joints, clip.fps, motion_tokenizer.fps)
    if representation.kind == "humanml3d" and not skeleton.has_lengths:
        features = joints_to_features(joints / representation.metres_per_unit, skeleton, retargeted=True)
    else:
        features = representation.encode(joints)
    return features.astype(np.float32)


def _warn(joints: np.ndarray, skeleton: Skeleton, say: Callable[[str], None]) -> None:
    """A line for what does not look like a person in metres, y up."""
    for line in warnings([measure_posture(joints, skeleton)]):
        say(f"warning: {line}")


def _motion(
    motion_tokenizer: MotionTokenizer, features: torch.Tensor, codes: Sequence[int] = (), text: str = ""
) -> Motion:
    """Features (F, D) in their own units -> a motion."""
    if not motion_tokenizer.representation.has_joints:
        return Motion(None, motion_tokenizer.fps, codes, text, parameters=features.numpy())
    return Motion(
        motion_tokenizer.joints(features).numpy(), motion_tokenizer.fps, codes, text, motion_tokenizer.skeleton
    )


def _check_placed(path: Path) -> None:
    """ValueError for a unit or an axis given for a file whose joints have both."""
    if path.suffix.lower() not in (".npy", ".bvh"):
        raise ValueError(f"--unit and --up are for a .bvh, and for joints in a .npy; {path} is in metres, y up")


def _read(path: Path, motion_tokenizer: MotionTokenizer | None, how: Reading) -> Motion | np.ndarray:
    """A file as a motion, where it is one already, else as features (F, D) of the tokenizer."""
    suffix, fps = path.suffix.lower(), how.fps
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    is_smplx = motion_tokenizer is not None and not motion_tokenizer.representation.has_joints
    if not (suffix in SUFFIXES or (is_smplx and path.is_dir())):
        raise ValueError(f"{path}: a motion is read from {' '.join(SUFFIXES)}")
    if how.placed:
        _check_placed(path)
    if how.joint_map is not None and suffix != ".bvh":
        raise ValueError(f"--joint-map is for a .bvh, whose joints have names; got {path}")
    if fps is not None and suffix != ".npy" and not (is_smplx and suffix != ".txt"):
        raise ValueError(f"--fps is for joints in a .npy, which does not say; {path} does")
    if suffix == ".txt":
        return Motion(
            None, motion_tokenizer.fps if motion_tokenizer else 20.0, parse_motion(path.read_text(encoding="utf-8-sig"))
        )
    if suffix == ".npz" and not (is_smplx and not _is_saved(path)):
        return Motion.load(path)
    if suffix == ".npy" and (codes := read_array(path)).ndim == 1 and codes.dtype.kind in "iu":
        if fps is not None or how.placed:
            raise ValueError(f"{path} holds codes: --fps, --unit and --up are for joints")
        return Motion(None, motion_tokenizer.fps if motion_tokenizer else 20.0, codes.tolist())
    if motion_tokenizer is None:
        raise ValueError(f"{path} {NO_TOKENIZER}")
    if suffix == ".npy":
        return _from_array(path, motion_tokenizer, how)
    try:
        if suffix == ".bvh":
            names = read_map(how.joint_map) if how.joint_map else None
            return clip_features(
                bvh.read(path, motion_tokenizer.fps, how.unit, how.up), motion_tokenizer, names, how.say
            )
        return clip_features(smplx.read(path, fps or motion_tokenizer.fps), motion_tokenizer, say=how.say)
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _is_saved(path: Path) -> bool:
    """Whether a .npz was written by `Motion.save`: it has tokens, maybe none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return "tokens" in file.files
    except (ValueError, EOFError, OSError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a readable .npz ({array_fault(error)})") from error


def _from_array(path: Path, motion_tokenizer: MotionTokenizer, how: Reading) -> np.ndarray:
    """Joints or features of a .npy, told apart by their number of axes."""
    array, fps = read_array(path), how.fps
    D, J, rate = motion_tokenizer.representation.dim, motion_tokenizer.skeleton.num_joints, motion_tokenizer.fps
    has_joints = motion_tokenizer.representation.has_joints
    wanted = (f"joints (F, {J}, 3) or " if has_joints else "") + f"features (F, {D})"
    is_features = array.ndim == 2 and array.shape[1] == D
    is_joints = has_joints and array.ndim == 3 and array.shape[1:] == (J, 3)
    if not (is_features or is_joints) or array.dtype.kind not in "fiu" or not len(array):
        raise ValueError(f"{path}: expected {wanted} of this tokenizer, got {array.dtype} {array.shape}")
    array = np.array(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: frame {int(np.argwhere(~np.isfinite(array))[0, 0])} is not finite")
    if is_joints:
        clip = RawClip(to_metres(array, how.unit, how.up), motion_tokenizer.skeleton.joints, fps or rate)
        return clip_features(clip, motion_tokenizer, say=how.say)
    if how.placed:
        raise ValueError(f"{path}: --unit and --up are for joints (F, {J}, 3); these are features, got {array.shape}")
    if fps not in (None, rate):
        raise ValueError(f"{path}: features are not resampled: they must be of {rate:g} fps, got --fps {fps:g}")
    return array
