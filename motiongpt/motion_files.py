"""A user's own file to features, codes or a motion, in the terms of one motion tokenizer; and codes to motions.

    .bvh   any hierarchy that a joint map fits; unit and up axis are guessed, or given
    .npy   joints (F, J, 3), in metres and y up unless given otherwise; features (F, D) of the tokenizer; codes (S,)
    .h5    one clip of a MyoSkeleton file, the first unless given
    .npz   a saved motion; with a tokenizer of SMPL-X also parameters by name (or a folder of frames)
    .txt   tokens

Joints are mapped by name, resampled and turned into features exactly as `scripts/prepare.py` does it, so a file and
the data set made from it give the same codes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from motiongpt.body.skeletons import HUMANML3D, Skeleton
from motiongpt.cleanup.joints import clean_joints
from motiongpt.data.joint_maps import JointMap, read_map, to_skeleton
from motiongpt.data.jumps import SIZE, Jump, find_jump, jump_warnings, turned_points
from motiongpt.data.posture import measure_posture, warnings
from motiongpt.data.raw import RawClip, to_metres
from motiongpt.data.readers import bvh, myoskeleton, smplx
from motiongpt.data.resample import resample, resample_parameters
from motiongpt.data.units import UNITS
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.files.arrays import read_array, read_npz
from motiongpt.motion import Motion
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.vocab import parse_motion

H5_SUFFIXES = (".h5", ".hdf5")
SUFFIXES = (".npy", ".npz", ".txt", ".bvh", *H5_SUFFIXES)
TOKENS_FPS = 20.0  # of tokens without a motion tokenizer, which would know their rate
NO_TOKENIZER = "has no tokens, and this run no motion tokenizer to make them; give --vqvae FOLDER"


@dataclass(frozen=True)
class Reading:
    """Settings that a file does not contain, or that replace a guess. None means the default."""

    fps: float | None = None  # of joints in a .npy and of SMPL-X parameters; default the tokenizer's
    joint_map: Path | None = None  # a file for `joint_maps.read_map`, if no built-in map fits a .bvh
    unit: float | None = None  # in metres, of joints in a .npy (default 1) and of a .bvh (default guessed)
    up: str | None = None  # y or z, of joints in a .npy (default y) and of a .bvh (default guessed)
    index: int | None = None  # of the clip in a .h5; default 0
    say: Callable[[str], None] = lambda line: None  # is called with every guess, and with every warning

    @property
    def placed(self) -> bool:
        """Whether a unit or an axis is given."""
        return (self.unit, self.up) != (None, None)


def read_codes(path: Path, motion_tokenizer: MotionTokenizer | None, how: Reading = Reading()) -> list[int]:
    """The motion codes of a file: those it holds, else those the tokenizer gives its motion.

    Raises FileNotFoundError, or ValueError naming the file, what was found and what was expected.
    """
    content = _read(Path(path), motion_tokenizer, how)
    if isinstance(content, Motion):
        return motion_codes(content, motion_tokenizer)
    return motion_tokenizer.encode([content])[0]


def read_given(
    path: Path, motion_tokenizer: MotionTokenizer | None, how: Reading = Reading()
) -> tuple[list[int], np.ndarray | None]:
    """`read_codes` of a file, and its motion as features (F, D) at the tokenizer's rate; None if it holds only codes.

    Code i stands for the features from frame 4 i on. Raises what `read_codes` raises.
    """
    path = Path(path)
    content = _read(path, motion_tokenizer, how)
    if not isinstance(content, Motion):
        return motion_tokenizer.encode([content])[0], content
    if motion_tokenizer is None:
        return motion_codes(content, None), None
    with naming_file(path):
        features = own_features(content, motion_tokenizer)
    known = content.tokens or features is None
    return list(content.tokens) if known else motion_tokenizer.encode([features])[0], features


def own_features(motion: Motion, motion_tokenizer: MotionTokenizer) -> np.ndarray | None:
    """`motion_features`; of a motion that this tokenizer has decoded, the very features it came from.

    Joints to features and back would turn the body and let it drift, by 45 mm in a walk of 6 s.
    """
    tokens, joints = motion.tokens, motion.joints
    if tokens and joints is not None and max(tokens) < motion_tokenizer.config.codes:
        decoded = motion_tokenizer.decode_features([tokens])[0]
        again = motion_of_features(motion_tokenizer, decoded)
        for other in (again, cleaned(again)) if again.joints is not None else ():
            if other.joints.shape == joints.shape and np.allclose(other.joints, joints, atol=1e-3):  # a millimetre
                return decoded.numpy()
    return motion_features(motion, motion_tokenizer)


def read_joints(path: Path, how: Reading = Reading()) -> Motion:
    """The motion of a .npy of joints, a saved .npz or a clip of a .h5, to be drawn as it is.

    Raises what `Motion.load` raises.
    """
    if path.suffix.lower() in H5_SUFFIXES:
        return _h5_motion(path, how)
    motion = Motion.load(path, fps=how.fps)
    if how.placed:
        _check_placed(path)
        motion.joints = to_metres(motion.joints, how.unit, how.up)
    if motion.joints is not None:
        _warn(motion.joints, motion.skeleton, motion.fps, how.say)
    return motion


def read_motion(
    path: Path,
    motion_tokenizer: MotionTokenizer,
    how: Reading = Reading(),
    reconstruct: bool = False,
    raw: bool = False,
) -> Motion:
    """The motion of a file, to be drawn. With `reconstruct` it goes through the tokenizer's codes and back.

    What is decoded is cleaned unless `raw`: see `decode_motions`.

    Raises what `read_codes` raises.
    """
    path = Path(path)
    content = _read(path, motion_tokenizer, how)
    if isinstance(content, Motion):
        if not reconstruct and (content.joints is not None or not content.tokens):
            return content
        codes = motion_codes(content, motion_tokenizer)
        text = content.text
    else:
        if not reconstruct:
            return motion_of_features(motion_tokenizer, torch.from_numpy(content))
        codes = motion_tokenizer.encode([content])[0]
        text = ""
    if not codes:
        raise ValueError(f"{path}: no motion tokens; expected such as <motion_42><motion_18>, or a motion of one code")
    return decode_motions(motion_tokenizer, [codes], [text], raw)[0]


def motion_codes(motion: Motion, motion_tokenizer: MotionTokenizer | None) -> list[int]:
    """A motion's own tokens, else the codes of its joints or parameters, else none.

    Raises ValueError if a tokenizer is needed and there is none, or if the joints do not fit its skeleton.
    """
    if motion.tokens or (motion.joints is None and motion.parameters is None):
        return list(motion.tokens)
    if motion_tokenizer is None:
        raise ValueError(f"the motion {NO_TOKENIZER}")
    return motion_tokenizer.encode([motion_features(motion, motion_tokenizer)])[0]


def motion_features(motion: Motion, motion_tokenizer: MotionTokenizer) -> np.ndarray | None:
    """A motion's joints or parameters as features (F, D) at the tokenizer's rate; None if it has only tokens.

    Raises ValueError if they are not what the tokenizer needs.
    """
    clip = motion_clip(motion)
    return None if clip is None else clip_features(clip, motion_tokenizer)


def motion_clip(motion: Motion) -> RawClip | None:
    """A motion's joints or parameters as a clip; None if it has neither."""
    if motion.joints is None and motion.parameters is None:
        return None
    names = motion.skeleton.joints if motion.joints is not None else ()
    return RawClip(motion.joints, names, motion.fps, parameters=motion.parameters)


def decode_motions(
    motion_tokenizer: MotionTokenizer, codes: Sequence[Sequence[int]], texts: Sequence[str], raw: bool = False
) -> list[Motion]:
    """Codes -> motions with joints, or with SMPL-X parameters if these are the tokenizer's features.

    Joints are cleaned (`cleanup/joints.py`): rigid bones, no jitter, feet that stand. `raw` leaves them as decoded.
    """
    decoded = motion_tokenizer.decode_features(codes)
    rows = zip(decoded, codes, texts, strict=True)
    motions = [motion_of_features(motion_tokenizer, features, row, text) for features, row, text in rows]
    return motions if raw else list(map(cleaned, motions))


def cleaned(motion: Motion) -> Motion:
    """A decoded motion with clean joints; one without joints as it is."""
    if motion.joints is None:
        return motion
    joints, _ = clean_joints(motion.joints, motion.fps, motion.skeleton, decoded=True)
    return replace(motion, joints=joints)


def cleaning_line(motion_tokenizer: MotionTokenizer, codes: Sequence[int]) -> str:
    """What cleaning does to the motion of these codes, for people: its faults before and after. "" without joints."""
    (motion,) = decode_motions(motion_tokenizer, [codes], [""], raw=True)
    if motion.joints is None:
        return ""
    return clean_joints(motion.joints, motion.fps, motion.skeleton, decoded=True)[1].line()


def clip_features(
    clip: RawClip,
    motion_tokenizer: MotionTokenizer,
    joint_map: JointMap | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> np.ndarray:
    """A clip -> features (F, D) in their own units, at the tokenizer's frame rate.

    `say` is called with the clip's notes, and with a warning if it does not look like a person in metres, y up. Raises
    ValueError for joints or parameters that are not what the tokenizer needs.
    """
    representation, skeleton = motion_tokenizer.representation, motion_tokenizer.skeleton
    if not representation.has_joints:
        if clip.parameters is None:
            raise ValueError(f"joints, but the tokenizer is of {representation.name}: SMPL-X parameters are needed")
        if not np.isfinite(clip.parameters).all():
            raise ValueError(f"frame {int(np.argwhere(~np.isfinite(clip.parameters))[0, 0])} is not finite")
        _warn_of_jump(find_jump(turned_points(clip.parameters), SIZE), clip.fps, say)
        return resample_parameters(clip.parameters, representation.groups, clip.fps, motion_tokenizer.fps)
    if clip.joints is None:
        raise ValueError(f"SMPL-X parameters, but the tokenizer is of {representation.name}: joints are needed")
    joints = to_skeleton(clip, skeleton, joint_map, say)
    for note in clip.notes:
        say(note)
    _warn(joints, skeleton, clip.fps, say)
    joints = resample(joints, clip.fps, motion_tokenizer.fps)
    if representation.kind == "humanml3d" and not skeleton.has_lengths:
        # KIT-ML's skeleton has no bone lengths to retarget to: joints must be of its body already, as sampled ones are
        features = joints_to_features(joints / representation.metres_per_unit, skeleton, retargeted=True)
    else:
        features = representation.encode(joints)
    return features.astype(np.float32)


def _warn(joints: np.ndarray, skeleton: Skeleton, fps: float, say: Callable[[str], None]) -> None:
    """Warn about joints that do not look like a person in metres, y up, and about jumps from frame to frame."""
    for line in warnings([measure_posture(joints, skeleton)]):
        say(f"warning: {line}")
    _warn_of_jump(find_jump(joints), fps, say)


def _warn_of_jump(jump: Jump | None, fps: float, say: Callable[[str], None]) -> None:
    for line in jump_warnings({"": jump} if jump else {}, 1, fps):
        say(f"warning: {line}")


def motion_of_features(
    motion_tokenizer: MotionTokenizer, features: torch.Tensor, codes: Sequence[int] = (), text: str = ""
) -> Motion:
    """Features (F, D) in their own units -> a motion."""
    if not motion_tokenizer.representation.has_joints:
        return Motion(None, motion_tokenizer.fps, codes, text, parameters=features.numpy())
    joints = motion_tokenizer.joints(features).numpy()
    return Motion(joints, motion_tokenizer.fps, codes, text, motion_tokenizer.skeleton)


def _check_placed(path: Path) -> None:
    """ValueError if a unit or an axis is given for a file whose joints are known to be in metres, y up."""
    if path.suffix.lower() not in (".npy", ".bvh", *H5_SUFFIXES):
        raise ValueError(f"--unit and --up are for a .bvh, and for joints in a .npy; {path} is in metres, y up")


def _read(path: Path, motion_tokenizer: MotionTokenizer | None, how: Reading) -> Motion | np.ndarray:
    """A file as a motion if it is one already, else as features (F, D) of the tokenizer."""
    content = read_source(path, motion_tokenizer, how)
    if not isinstance(content, RawClip):
        return content
    with naming_file(path):
        return clip_features(content, motion_tokenizer, given_map(how), how.say)


def given_map(how: Reading) -> JointMap | None:
    """The joint map that `how` names."""
    return read_map(how.joint_map) if how.joint_map else None


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """A ValueError inside the block begins with the file it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def read_source(
    path: Path, motion_tokenizer: MotionTokenizer | None, how: Reading, lone_pose: bool = False
) -> Motion | RawClip | np.ndarray:
    """A file as it is: a saved motion or tokens, a clip of joints or SMPL-X parameters, or features (F, D).

    A .bvh comes at the tokenizer's frame rate, other clips at their own. With `lone_pose` a .npy may also hold a single
    pose without an axis of frames, joints (J, 3) or features (D,). Raises what `read_codes` raises.
    """
    suffix = path.suffix.lower()
    is_smplx = motion_tokenizer is not None and not motion_tokenizer.representation.has_joints
    _check_readable(path, is_smplx, how)

    # 1) Tokens and saved motions need no tokenizer.
    tokens_fps = motion_tokenizer.fps if motion_tokenizer else TOKENS_FPS
    if suffix == ".txt":
        return Motion(None, tokens_fps, parse_motion(path.read_text(encoding="utf-8-sig")))
    if suffix == ".npz" and not (is_smplx and "tokens" not in read_npz(path, ())[0]):
        return Motion.load(path)
    if suffix == ".npy":
        codes = read_array(path)
        if codes.ndim == 1 and codes.dtype.kind in "iu":
            if how.fps is not None or how.placed:
                raise ValueError(f"{path} holds codes: --fps, --unit and --up are for joints")
            return Motion(None, tokens_fps, codes.tolist())

    # 2) All else is read in the tokenizer's terms.
    if motion_tokenizer is None:
        raise ValueError(f"{path} {NO_TOKENIZER}")
    if suffix == ".npy":
        return _from_array(path, motion_tokenizer, how, lone_pose)
    with naming_file(path):
        if suffix == ".bvh":
            return bvh.read(path, motion_tokenizer.fps, how.unit, how.up)
        if suffix in H5_SUFFIXES:
            return _h5_clip(path, how)
        return smplx.read(path, how.fps or motion_tokenizer.fps)


def _check_readable(path: Path, is_smplx: bool, how: Reading) -> None:
    """Refuse a path of no known kind, and settings that would have no effect on it."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not (suffix in SUFFIXES or (is_smplx and path.is_dir())):
        raise ValueError(f"{path}: a motion is read from {' '.join(SUFFIXES)}")
    if how.placed:
        _check_placed(path)
    if how.index is not None and suffix not in H5_SUFFIXES:
        raise ValueError(f"--index is for a .h5, which has many clips; got {path}")
    if how.joint_map is not None and suffix not in (".bvh", *H5_SUFFIXES):
        raise ValueError(f"--joint-map is for a .bvh, whose joints have names; got {path}")
    if how.fps is not None and suffix not in (".npy", *H5_SUFFIXES) and not (is_smplx and suffix != ".txt"):
        raise ValueError(f"--fps is for joints in a .npy, which has no frame rate of its own; got {path}")


def _h5_clip(path: Path, how: Reading) -> RawClip:
    """One clip of a .h5; `how.say` gets which one. Raises what `myoskeleton.read_one` raises."""
    unit = next((word for word, size in UNITS.items() if size == how.unit), None)
    if how.unit is not None and unit is None:
        raise ValueError(f"{path}: the unit of a .h5 is one of {', '.join(UNITS)}, got {how.unit:g} metres")
    options = {"fps": how.fps, "unit": unit, "up": how.up, "allow_no_text": True}
    name, clip, count = myoskeleton.read_one(path, how.index or 0, **options)
    other = "; --index takes another" if how.index is None and count > 1 else ""
    how.say(f"{path}: clip {how.index or 0} of {count}, {name}{other}")
    return clip


def _h5_motion(path: Path, how: Reading) -> Motion:
    """A clip of a .h5 with its own joints if a built-in skeleton has them, else on HumanML3D's."""
    clip = _h5_clip(path, how)
    skeleton = next((known for known in myoskeleton.BUILT_IN if known.joints == clip.names), None)
    joints = clip.joints
    if skeleton is None:
        skeleton = HUMANML3D
        with naming_file(path):
            joints = to_skeleton(clip, skeleton, given_map(how))
    for note in clip.notes:
        how.say(note)
    _warn(joints, skeleton, clip.fps, how.say)
    return Motion(joints, clip.fps, (), next(iter(clip.captions), ""), skeleton)


def _from_array(path: Path, motion_tokenizer: MotionTokenizer, how: Reading, lone_pose: bool) -> RawClip | np.ndarray:
    """The clip of a .npy of joints, or its features; the two differ in their number of axes."""
    array = read_array(path)
    representation, rate = motion_tokenizer.representation, motion_tokenizer.fps
    D, J = representation.dim, motion_tokenizer.skeleton.num_joints
    has_joints = representation.has_joints
    wanted = (f"joints (F, {J}, 3) or " if has_joints else "") + f"features (F, {D})"
    if lone_pose:
        wanted += f", or one pose, {f'({J}, 3) or ' if has_joints else ''}({D},),"
        if array.shape == (D,) or (has_joints and array.shape == (J, 3)):
            array = array[None]
    is_features = array.ndim == 2 and array.shape[1] == D
    is_joints = has_joints and array.ndim == 3 and array.shape[1:] == (J, 3)
    if not (is_features or is_joints) or array.dtype.kind not in "fiu" or not len(array):
        raise ValueError(f"{path}: expected {wanted} of this tokenizer, got {array.dtype} {array.shape}")
    array = np.array(array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: frame {int(np.argwhere(~np.isfinite(array))[0, 0])} is not finite")
    if is_joints:
        return RawClip(to_metres(array, how.unit, how.up), motion_tokenizer.skeleton.joints, how.fps or rate)
    if how.placed:
        raise ValueError(f"{path}: --unit and --up are for joints (F, {J}, 3); these are features, got {array.shape}")
    if how.fps not in (None, rate):
        raise ValueError(f"{path}: features are not resampled: they must have {rate:g} fps, got --fps {how.fps:g}")
    return array
