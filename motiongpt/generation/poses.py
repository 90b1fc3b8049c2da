"""A pose as a condition: the code of one frame of a clip, or of a pose that belongs to no clip.

A code stands for four frames in motion. A frame of a clip therefore gets the code of the frames around it. A lone pose
has no frames around it, so a clip is made in which nothing changes, long enough that its middle code sees no end. What
that costs, with the tokenizer of the demo on procedural clips (120 poses, mean distance of the joints from the pose
after decoding): 12 mm with the code of the clip, 16 mm with the code of the lone pose in its place, 32 mm if the code
is decoded in a still clip.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from motiongpt.data.raw import RawClip
from motiongpt.data.readers import bvh
from motiongpt.motion import Motion
from motiongpt.motion_files import (
    NO_TOKENIZER,
    Reading,
    clip_features,
    given_map,
    motion_clip,
    naming_file,
    read_source,
)
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.vqvae import decoder_reach


def read_pose_code(
    path: Path,
    motion_tokenizer: MotionTokenizer | None,
    how: Reading,
    *,
    frame: int | None = None,
    at: float | None = None,
    last: bool = False,
) -> int:
    """The code of one pose of a file: of motion, of codes, or of a lone pose, (J, 3) or (D,) in a .npy.

    Args:
        frame: frame of the file at its own rate, from 0, or from the end if negative. A rest pose that the reader of
            a .bvh leaves out does not count.
        at: seconds, instead of `frame`.
        last: without `frame` and `at`, the last whole code of a clip instead of its first.

    A clip too short for a code counts as the lone pose of that frame. Raises FileNotFoundError, or ValueError naming
    the file, what was found and what was expected.
    """
    path = Path(path)
    source = read_source(path, motion_tokenizer, how, lone_pose=True)
    tokens = source.tokens if isinstance(source, Motion) else ()
    if isinstance(source, Motion) and not tokens:
        source = motion_clip(source)
        if source is None:
            raise ValueError(f"{path}: no motion tokens; expected such as <motion_42><motion_18>")
    if motion_tokenizer is None and not (tokens and frame is None and at is None):
        raise ValueError(f"{path} {NO_TOKENIZER}")  # a tokenizer knows how long a code lasts, too

    if tokens:
        return _code_of_tokens(path, tokens, motion_tokenizer, frame, at, last)

    # 1) When the pose is, in seconds. `rate` is the source's, `fps` that of the frames that `frame` counts.
    rate = source.fps if isinstance(source, RawClip) else motion_tokenizer.fps
    F, fps = _num_frames(source), rate
    if path.suffix.lower() == ".bvh" and frame is not None:  # the source was resampled
        clip = bvh.read(path, None, how.unit, how.up)
        F, fps = _num_frames(clip), clip.fps
    seconds = _seconds(path, F, fps, frame, at)

    # 2) The code of a frame in motion, or of a pose that stands still.
    with naming_file(path):
        features = source if isinstance(source, np.ndarray) else None
        if features is None and _num_frames(source) > 1:
            features = clip_features(source, motion_tokenizer, given_map(how), how.say)
        if features is not None and len(features) >= motion_tokenizer.config.frames_per_code:
            return _code_in_motion(features, seconds, last, motion_tokenizer)
        end = _num_frames(source) - 1
        pose = (end if last else 0) if seconds is None else min(round(seconds * rate), end)
        return _still_code(source, pose, motion_tokenizer, how)


def _code_of_tokens(
    path: Path,
    tokens: Sequence[int],
    motion_tokenizer: MotionTokenizer | None,
    frame: int | None,
    at: float | None,
    last: bool,
) -> int:
    """The one of a file's codes that stands for a frame; frames are the tokenizer's."""
    if frame is None and at is None:
        return tokens[-1 if last else 0]
    per_code, fps = motion_tokenizer.config.frames_per_code, motion_tokenizer.fps
    seconds = _seconds(path, per_code * len(tokens), fps, frame, at)
    return tokens[min(round(seconds * fps) // per_code, len(tokens) - 1)]


def _num_frames(source: RawClip | np.ndarray) -> int:
    if isinstance(source, np.ndarray):
        return len(source)
    return len(source.parameters if source.joints is None else source.joints)


def _seconds(path: Path, F: int, fps: float, frame: int | None, at: float | None) -> float | None:
    """The time of a frame, or `at`, within F frames; None if neither is given. ValueError if it is outside."""
    if frame is not None and at is not None:
        raise ValueError("--frame and --at both choose a frame: give one of them")
    if frame is not None:
        if not -F <= frame < F:
            raise ValueError(
                f"--frame {frame}: {path} has {F} frames at {fps:g} fps, 0 to {F - 1}, or -1 to -{F} from the end"
            )
        return frame % F / fps
    if at is not None and not 0 <= at <= F / fps:  # true of NaN
        raise ValueError(f"--at {at:g}: {path} lasts {F / fps:g} seconds, {F} frames at {fps:g} fps")
    return at


def _code_in_motion(features: np.ndarray, seconds: float | None, last: bool, motion_tokenizer: MotionTokenizer) -> int:
    """The code whose frames contain the one at `seconds`; without it the clip's first code, or its last whole one."""
    per_code = motion_tokenizer.config.frames_per_code
    if seconds is None:
        return motion_tokenizer.encode([features])[0][-1 if last else 0]
    t = min(round(seconds * motion_tokenizer.fps), len(features) - 1)  # joints may have a frame more than features
    # frames after the last whole code belong to none, unless the codes are counted from the end
    start = 0 if t < len(features) // per_code * per_code else len(features) % per_code
    return motion_tokenizer.encode([features[start:]])[0][(t - start) // per_code]


def _still_code(source: RawClip | np.ndarray, pose: int, motion_tokenizer: MotionTokenizer, how: Reading) -> int:
    """The code of one pose of the source, held still for so long that the encoder sees no end of the clip.

    Features are repeated as they are, with the velocities that belong to the pose: decoded in a clip, that is 2 mm
    nearer to the pose than without them.
    """
    past, future = decoder_reach(motion_tokenizer.config)  # the encoder is its mirror image
    frames = (past + 1 + future) * motion_tokenizer.config.frames_per_code

    def held(rows: np.ndarray | None, count: int) -> np.ndarray | None:
        return None if rows is None else np.repeat(rows[pose : pose + 1], count, axis=0)

    if isinstance(source, np.ndarray):
        features = held(source, frames)
    else:
        count = frames + motion_tokenizer.representation.frames_lost
        joints, parameters = held(source.joints, count), held(source.parameters, count)
        still = replace(source, joints=joints, parameters=parameters, fps=motion_tokenizer.fps)
        features = clip_features(still, motion_tokenizer, given_map(how), how.say)
    return motion_tokenizer.encode([features])[0][past]
