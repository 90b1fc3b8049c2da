"""The given part of a motion stays as the user made it, and what was generated joins it without a jump.

Codes only approximate a motion: decoded, the given part has moved by centimetres. Here it is put back frame by frame,
as features, where root steps are relative and the path stays in one piece.

    features of the output   | the user's own | decoded, moved to meet both ends | the user's own |
                                         seam ^                             seam ^

1) At a seam the decoded pose is off by a known error, and so is its speed. The generated frames beside the seam get
   that offset too, fading out along a cubic: "inertialization" (D. Bollo, "Inertialization: High-Performance Animation
   Transitions in Gears of War", GDC 2018). A cross-fade of two clips would need frames of both in the same place.
2) What was generated between two given parts leads elsewhere than the user's motion did. The difference in heading and
   place is spread over its frames, so that the second part is where the user had it.

A motion that was given as codes alone has nothing to put back. Its decoded frames depend on the codes that follow, as
far as the decoder reaches. Between the demo's continuation and the true one of 30 procedural clips, that is 13 mm in
the last given code, 6 mm in the one before and 2 mm in the fourth from the end (mean over joints about the root).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.rotations import rotate_y
from motiongpt.constraints.ground import largest_steps
from motiongpt.features.humanml3d import recover_root
from motiongpt.features.representations import Representation
from motiongpt.features.smplx import SMPLX_ROTATIONS, stand_in_joints
from motiongpt.motion import Motion
from motiongpt.motion_files import cleaned, motion_of_features
from motiongpt.motion_tokenizer import MotionTokenizer

FADE = 0.5  # seconds after which an offset is gone
USUAL = 99  # a seam must stay below this percentile of the motion's steps
SPEEDS = (1.0, 0.5, 0.0)  # shares of the user's speed at the seams, tried in this order until no seam jumps
RAMP = 4  # frames beside a kept part over which cleaning sets in
FAR, TURNED = 0.5, math.radians(45)  # metres and radians that the end of a generated part is moved without a word


class Seam(NamedTuple):
    """The step into one frame, of the joint that moves farthest."""

    frame: int  # the first after the seam
    step: float  # metres
    usual: float  # metres: the 99th percentile of the motion's steps that are no seams

    @property
    def jumps(self) -> bool:
        return self.step > self.usual


def seam_report(joints: np.ndarray, seams: Sequence[int]) -> list[Seam]:
    """How far the farthest joint moves into each of the frames `seams`, beside all other steps of joints (F, J, 3)."""
    steps = largest_steps(joints)  # (F - 1,); step i leads into frame i + 1
    others = np.delete(steps, [frame - 1 for frame in seams])
    usual = float(np.percentile(others, USUAL)) if len(others) else 0.0
    return [Seam(frame, float(steps[frame - 1]), usual) for frame in seams]


def keep_given(
    motion: Motion,
    features: np.ndarray,
    codes: Sequence[int],
    positions: Iterable[int],
    motion_tokenizer: MotionTokenizer,
    say: Callable[[str], None] = lambda line: None,
    raw: bool = False,
) -> Motion:
    """The motion, with the user's own frames where their codes were given.

    Args:
        motion: what was generated; its codes, text and notes count.
        features: the user's motion (F, D) in the tokenizer's features, and `codes`, all of its codes: see
            `motion_files.read_given`.
        positions: where codes of it were given, as in `given` of `MotionGenerator.generate`. Position p is the user's
            code p, and -p the p-th from the end of both motions.
        say: is called with a line for a seam that still jumps, and for a generated part that had to be moved far.
        raw: leave the generated joints as they are decoded; else they are cleaned, and so are kept frames that this
            tokenizer wrote itself.

    Kept frames are the user's features, so their joints equal those of the features alone, up to float32 sums and to
    where the first kept frame stands. The last frame of joints has no features and is not kept. Raises ValueError for
    features or positions that do not fit.
    """
    decoded = motion_tokenizer.decode_features([motion.tokens])[0].double()  # (F, D)
    own = torch.from_numpy(np.asarray(features, dtype=np.float64))
    if own.ndim != 2 or own.shape[1] != motion_tokenizer.config.feature_dim or not own.isfinite().all():
        D = motion_tokenizer.config.feature_dim
        raise ValueError(f"expected finite features (F, {D}) of this tokenizer, got {tuple(own.shape)}")
    source = kept_frames(positions, len(motion.tokens), len(codes), len(own), motion_tokenizer.config.frames_per_code)
    seams = find_seams(source)
    for speed in SPEEDS:
        mixed, moved = _join(decoded, own, source, speed, motion_tokenizer)
        out = motion_of_features(motion_tokenizer, mixed.float(), motion.tokens, motion.text)
        report = seam_report(stand_in_joints(out.parameters) if out.joints is None else out.joints, seams)
        if not any(seam.jumps for seam in report):
            break
    fps = motion_tokenizer.fps
    for seam in report:
        if seam.jumps:
            say(
                f"warning: at {seam.frame / fps:.2f} s, where a given part ends or begins, a joint moves "
                f"{100 * seam.step:.1f} cm in a frame; 99 % of the other steps are below {100 * seam.usual:.1f} cm"
            )
    for stop, metres, radians in moved:
        if metres > FAR or abs(radians) > TURNED:
            say(
                f"note: the new part ended {metres:.2f} m and {abs(math.degrees(radians)):.0f} degrees away from the "
                f"part given from {stop / fps:.2f} s on; it was moved to meet it"
            )
    if not raw and out.joints is not None:
        again = motion_tokenizer.decode_features([codes])[0].double()
        ours = again.shape == own.shape and torch.allclose(again, own, atol=1e-4)  # beside rounding
        share = torch.ones(len(source)) if ours else _clean_share(source >= 0)
        # joints have a frame more than features
        share = np.append(share.numpy(), share[-1])[: len(out.joints), None, None]
        out.joints = (out.joints + share * (cleaned(out).joints - out.joints)).astype(np.float32)
    return replace(out, notes=motion.notes)


def _clean_share(kept: Tensor) -> Tensor:
    """(F,) how much of cleaning a frame gets: 0 if it is kept, 1 if it is `RAMP` frames away from the kept ones."""
    frames = torch.arange(len(kept))
    apart = (frames[:, None] - frames[kept]).abs().amin(1) if kept.any() else torch.full_like(frames, RAMP)
    return (apart / RAMP).clamp(max=1)


def kept_frames(positions: Iterable[int], S: int, codes: int, frames: int, per_code: int) -> Tensor:
    """Which of the user's frames each frame of a motion of S codes keeps: (S per_code,), -1 for a generated one.

    The user's motion has `codes` codes and `frames` frames of features, of which the last may be missing. ValueError
    for a position that either motion does not have.
    """
    source = torch.full((S * per_code,), -1)
    for position in positions:
        if not -min(S, codes) <= position < min(S, codes):
            raise ValueError(f"no code to keep at position {position}: {codes} codes were given, {S} written")
        start, own = (per_code * (position % size) for size in (S, codes))
        source[start : start + per_code] = torch.arange(own, own + per_code)
    return source.where(source < frames, -1)


def find_seams(source: Tensor) -> list[int]:
    """The frames before which a kept part ends or begins, by `kept_frames`."""
    before, after = source[:-1], source[1:]
    together = torch.where(after >= 0, after == before + 1, before < 0) & ((before >= 0) | (after < 0))
    return (1 + (~together).nonzero().flatten()).tolist()


def _join(
    decoded: Tensor, own: Tensor, source: Tensor, speed: float, motion_tokenizer: MotionTokenizer
) -> tuple[Tensor, list[tuple[int, float, float]]]:
    """Features (F, D) of the whole, and (first frame, metres, radians) of given parts that others were moved to meet.

    `speed` is the share of the user's speed that the generated frames take over at a seam.
    """
    kept = source >= 0
    F, representation = len(decoded), motion_tokenizer.representation
    mixed = torch.where(kept[:, None], own[source], decoded)
    moved = []
    edges = torch.diff(torch.nn.functional.pad(~kept, (1, 1)).int())
    runs = zip((edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist(), strict=True)
    for start, stop in runs:  # of generated frames
        fade = _fade(stop - start, FADE * motion_tokenizer.fps)
        offset = torch.zeros_like(decoded[start:stop])
        if start > 0:
            offset += _offset(mixed, decoded, start - 1, -1, speed, fade, representation)
        if stop < F:
            offset += _offset(mixed, decoded, stop, 1, speed, fade, representation).flip(0)
        mixed[start:stop] += offset
        if start > 0 and stop < F and representation.has_joints:  # SMPL-X has no relative steps
            moved.append((stop, *_land(mixed, own, source, start, stop, representation)))
    return mixed, moved


def _fade(n: int, width: float) -> Tensor:
    """(2, n): the cubics that carry an offset of 1, and a speed of 1 a frame, from a seam to nothing.

    Hermite's: value and slope (1, 0) or (0, 1) at 0, and (0, 0) after `width` frames, or n if there are fewer.
    """
    width = min(n, round(width)) + 1
    u = (torch.arange(1, n + 1, dtype=torch.float64) / width).clamp(max=1)
    return torch.stack(((1 - u).square() * (1 + 2 * u), width * u * (1 - u).square()))


def _offset(
    mixed: Tensor,
    decoded: Tensor,
    edge: int,
    inward: int,
    speed: float,
    fade: Tensor,
    representation: Representation,
) -> Tensor:
    """What is added to the generated frames, (n, D) counted from the kept frame `edge`.

    `inward` points from the edge into the kept part: -1 or 1. Speeds are steps away from it.
    """
    error = _difference(mixed[edge], decoded[edge], representation)
    inner = min(max(edge + inward, 0), len(mixed) - 1)  # a motion may begin with its only kept frame
    own_step = _difference(mixed[edge], mixed[inner], representation)
    decoded_step = _difference(decoded[edge - inward], decoded[edge], representation)
    return fade[0][:, None] * error + fade[1][:, None] * (speed * own_step - decoded_step)


def _difference(a: Tensor, b: Tensor, representation: Representation) -> Tensor:
    """a - b, rows of features (D,). Of SMPL-X rotations, the numbers nearest to b that mean the rotation a.

    v and v (1 - 2 pi / |v|) are one rotation as axis-angle. A person upside down, as cameras see one, is near pi.
    """
    out = a - b
    for name in SMPLX_ROTATIONS if not representation.has_joints else ():
        columns = representation.groups[name]
        turns, base = a[columns].unflatten(0, (-1, 3)), b[columns].unflatten(0, (-1, 3))
        angle = turns.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        other = turns * (1 - 2 * math.pi / angle)
        nearer = (other - base).norm(dim=-1, keepdim=True) < (turns - base).norm(dim=-1, keepdim=True)
        out[columns] = (torch.where(nearer, other, turns) - base).flatten()
    return out


def _land(
    mixed: Tensor, own: Tensor, source: Tensor, start: int, stop: int, representation: Representation
) -> tuple[float, float]:
    """Change the root steps of the generated rows start .. stop - 1, in place, so that frame `stop` is where it was.

    Where it was: seen from the kept frame before, in the user's motion. Returns how far off it was, metres and radians.
    """
    n = stop - start
    u = torch.arange(n + 1, dtype=torch.float64) / n
    shares = torch.diff(u.square() * (3 - 2 * u))[:, None]  # (n, 1) sum to 1; no jerk at either end
    before, after = source[start - 1], source[stop]
    if representation.kind == "positions":  # steps in the first frame's facing, which all of the motion shares
        columns = representation.groups["root_velocity"]
        path, own_path = mixed[:, columns].cumsum(0), own[:, columns].cumsum(0)
        missed = (own_path[after] - own_path[before]) - (path[stop] - path[start - 1])
        mixed[start:stop, columns] += shares * missed
        return float(missed.norm()), 0.0

    # 1) The heading: a turn is the difference of two angles, so whole turns do not count.
    own_heading, own_root = recover_root(own)
    heading, _ = recover_root(mixed)
    turn = (own_heading[after] - own_heading[before]) - (heading[stop] - heading[start - 1])
    turn = turn - 2 * math.pi * torch.round(turn / (2 * math.pi))
    groups = representation.groups
    mixed[start:stop, groups["root_yaw_velocity"]] -= shares * turn / 2  # minus half the turn, see `humanml3d.py`
    # 2) The place, with the steps turned already.
    heading, root = recover_root(mixed)
    wanted = rotate_y(own_root[after] - own_root[before], heading[start - 1] - own_heading[before])
    missed = (wanted - (root[stop] - root[start - 1])) * wanted.new_tensor([1, 0, 1])
    steps = rotate_y(shares * missed, -heading[start + 1 : stop + 1])  # row t is seen from the heading of t + 1
    mixed[start:stop, groups["root_linear_velocity"]] += steps[:, [0, 2]]
    return float(missed.norm()) * representation.metres_per_unit, float(turn)
