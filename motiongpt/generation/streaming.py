"""Motion while its codes are still being written: codes come one by one, frames go out as soon as they can.

The frames of a code depend on `decoder_reach` codes before it and after it, on 22 and 22 in T2M-GPT's shape. So there
is a choice:

    look-ahead 22      the frames of a code wait for 22 more codes, 4.4 s of motion, and are exact
    look-ahead k < 22  they wait for k codes; the ones that are missing are taken to repeat the last one
    causal tokenizer   they wait for none, and are exact

Each step decodes a window of codes, never the whole motion. Where the body stands and faces is a sum of steps over all
frames before; it is carried along.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from motiongpt.body.rotations import rotate_y
from motiongpt.features.humanml3d import recover_root
from motiongpt.metrics.joints import mpjpe
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.vqvae import decoder_reach


class FeatureStream:
    """Codes of one motion, a few at a time -> the features of all codes that have `look_ahead` codes after them.

    look_ahead: how many codes to wait for; None, or more than the decoder reaches, waits for as many as it reaches.
    Then the chunks together are `decode_features` of the whole. Raises ValueError for a negative one.
    """

    def __init__(self, motion_tokenizer: MotionTokenizer, look_ahead: int | None = None) -> None:
        if look_ahead is not None and look_ahead < 0:
            raise ValueError(f"--look-ahead must be 0 or more codes, got {look_ahead}")
        self.motion_tokenizer = motion_tokenizer
        self.past, self.future = decoder_reach(motion_tokenizer.config)
        self.look_ahead = self.future if look_ahead is None else min(look_ahead, self.future)
        self._codes: list[int] = []  # the newest ones, as many as a window needs
        self._waiting = 0  # how many of them have not been decoded yet

    def push(self, codes: Sequence[int]) -> Tensor:
        """The next codes -> features (f, D) in their own units, the next f frames; f may be 0."""
        self._codes += codes
        self._waiting += len(codes)
        return self._decode(self._waiting - self.look_ahead)

    def finish(self) -> Tensor:
        """The motion ends here -> the features (f, D) of the codes that still waited."""
        return self._decode(self._waiting, ended=True)

    def _decode(self, count: int, ended: bool = False) -> Tensor:
        """The next `count` codes to frames."""
        if count <= 0:
            return torch.zeros(0, self.motion_tokenizer.config.feature_dim)
        start = len(self._codes) - self._waiting
        missing = 0 if ended else self.future - self.look_ahead
        window = self._codes + self._codes[-1:] * missing
        features = self.motion_tokenizer.decode_features([window])[0]
        per_code = self.motion_tokenizer.config.frames_per_code
        self._waiting -= count
        # the window starts at the clip's start, or `past` codes before the next one to be decoded
        self._codes = self._codes[max(0, start + count - self.past) :]
        return features[per_code * start : per_code * (start + count)]


class JointStream:
    """Features chunk by chunk -> joints in metres, placed as if all features were decoded at once.

    The sums over frames are carried in float64, so they are at least as exact as those of a whole clip in float32.
    """

    def __init__(self, motion_tokenizer: MotionTokenizer) -> None:
        self.motion_tokenizer = motion_tokenizer
        self._last: Tensor | None = None  # (1, D) features of the frame before
        self._place = torch.zeros(3, dtype=torch.float64)  # of its root, on the ground
        self._heading = torch.zeros((), dtype=torch.float64)  # radians about y

    def push(self, features: Tensor) -> Tensor:
        """The next features (f, D) in their own units -> joints (f, J, 3) in metres."""
        if self._last is None:
            chunk, known = features, 0
        else:  # a step is stored with one of its two frames: the frame before belongs to both chunks
            chunk, known = torch.cat((self._last, features)), 1
        if len(chunk) == known:
            return torch.zeros(0, self.motion_tokenizer.skeleton.num_joints, 3)
        joints = self.motion_tokenizer.joints(chunk).double()  # placed as if the chunk were a clip of its own
        ground = joints.new_tensor([1, 0, 1])
        if known:
            joints = rotate_y(joints - joints[0, 0] * ground, self._heading) + self._place
        if self.motion_tokenizer.representation.kind == "humanml3d":  # the other kind never turns
            self._heading = self._heading + recover_root(chunk.double())[0][-1]
        self._last, self._place = chunk[-1:], joints[-1, 0] * ground
        return joints[known:].float()


@dataclass
class StreamTiming:
    """How fast a motion was written and decoded. Time that the receiver takes between two chunks does not count."""

    first: float = 0.0
    """Seconds from the start to the first frames."""
    seconds: float = 0.0
    """Seconds from the start to the last frames."""
    frames: int = 0

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    def line(self, fps: float) -> str:
        """For people: `first frames after 0.31 s, then 118 frames/s (5.9 x as fast as it plays)`."""
        speed = self.frames_per_second
        return (
            f"first frames after {self.first:.2f} s; {self.frames} frames in {self.seconds:.2f} s, {speed:.0f} "
            f"frames/s ({speed / fps:.1f} times as fast as they play)"
        )


def stream(
    codes: Iterable[int],
    motion_tokenizer: MotionTokenizer,
    look_ahead: int | None = None,
    timing: StreamTiming | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Tensor]:
    """Decode a motion while its codes are written.

    Args:
        codes: of one motion, such as a row of `sampling.generate_steps`; the next one is asked for when all frames that
            could be decoded are out.
        look_ahead: see `FeatureStream`.
        timing: is filled in as the frames go out.
        clock: seconds, for `timing`.

    Yields: the next frames, joints (f, J, 3) in metres, or SMPL-X parameters (f, D) of a tokenizer of those.
    """
    features_of = FeatureStream(motion_tokenizer, look_ahead)
    joints_of = JointStream(motion_tokenizer) if motion_tokenizer.representation.has_joints else None
    timing = StreamTiming() if timing is None else timing
    started = clock()

    def chunks() -> Iterator[Tensor]:
        for code in codes:
            yield features_of.push([code])
        yield features_of.finish()

    for features in chunks():
        if not len(features):
            continue
        frames = features if joints_of is None else joints_of.push(features)
        now = clock()
        timing.seconds = now - started
        timing.first = timing.first if timing.frames else timing.seconds
        timing.frames += len(frames)
        yield frames
        started += clock() - now  # the receiver's time


def look_ahead_error(
    motion_tokenizer: MotionTokenizer, rows: Sequence[Sequence[int]], look_ahead: int
) -> tuple[float, float]:
    """What a look-ahead costs over these codes: the mean distance of a joint from where the whole motion has it, in mm.

    The first number counts where the body stands, the second only the pose, seen from the root. Steps add up, so the
    first grows with the length of a motion. Raises ValueError without codes, and for a tokenizer without joints.
    """
    rows = [list(row) for row in rows if len(row)]
    if not rows:
        raise ValueError("a look-ahead is measured over codes, and there are none")
    errors = []
    for row, whole in zip(rows, motion_tokenizer.decode(rows), strict=True):
        streamed = torch.cat(list(stream(row, motion_tokenizer, look_ahead)))
        errors.append([1000 * mpjpe(streamed, torch.from_numpy(whole), root=root).mean() for root in (None, 0)])
    placed, pose = torch.tensor(errors).mean(0).tolist()
    return placed, pose
