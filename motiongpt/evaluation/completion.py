"""A motion of which a part was given: how far the rest is from what the person did, and what needs no model.

Everything here is on joints (F, J, 3) in metres, y up, and a mask (F,) of the frames that were
given. Only the other frames count.

    fit_ground          moves and turns a written motion on the ground onto the given frames
    hold_last_pose      the baseline of predict: the last given pose stays
    interpolate_poses   the baseline of inbetween: from the last given pose to the next one
    completion_errors   ADE, FDE and MPJPE of the frames that were not given
"""

from itertools import pairwise

import torch
from torch import Tensor

from motiongpt.body.rotations import rotate_y
from motiongpt.metrics.joints import displacement_errors, mpjpe


def given_frames(positions: list[int], codes: int, frames_per_code: int) -> Tensor:
    """(F,) bool, F = codes * frames_per_code: the frames of the codes at `positions`."""
    mask = torch.zeros(codes, dtype=torch.bool)
    mask[positions] = True
    return mask.repeat_interleave(frames_per_code)


# 1) The same place and direction.


def ground_turn(points: Tensor, target: Tensor) -> Tensor:
    """The turn about the vertical, radians in (-pi, pi], that brings points (N, 3) closest to `target`.

    Least squares without scale: with both seen from above as centred complex numbers p, t (z + i x),
    it is the angle of sum_n conj(p_n) t_n. 0 if all points lie on one vertical.
    """
    p, t = (torch.complex(x[:, 2], x[:, 0]) for x in (points.double(), target.double()))
    return ((p - p.mean()).conj() * (t - t.mean())).sum().angle()


def fit_ground(joints: Tensor, target: Tensor, given: Tensor) -> Tensor:
    """Turn joints (F, J, 3) about the vertical and move them in x and z, so that their `given` (F,) frames lie closest
    to those of `target`.

    A motion decoded from codes starts at the origin, and its path is a sum of many steps. This is the
    rigid motion of least squares over all joints of the given frames; heights stay.
    """
    own, theirs = joints[given].flatten(0, 1), target[given].flatten(0, 1)  # (given F * J, 3)
    angle = ground_turn(own, theirs).to(joints)
    ground = joints.new_tensor([1.0, 0.0, 1.0])
    shift = (theirs.mean(0) - rotate_y(own.mean(0), angle)) * ground
    return rotate_y(joints, angle) + shift


def as_long_as(joints: Tensor, frames: int) -> Tensor:
    """(F, J, 3) -> (frames, J, 3): cut, or with the last pose held."""
    missing = max(0, frames - len(joints))
    return torch.cat([joints[:frames], joints[-1:].expand(missing, -1, -1)])


# 2) Without a model.


def hold_last_pose(target: Tensor, given: Tensor) -> Tensor:
    """Every frame that is not given shows the given pose before it; the first frame must be given."""
    frames = torch.arange(len(given), device=given.device)
    last = torch.where(given, frames, 0).cummax(0).values  # (F,) the last given frame so far
    return target[last]


def interpolate_poses(target: Tensor, given: Tensor, root: int = 0) -> Tensor:
    """Every gap between given frames is crossed in equal steps from the pose before it to the pose after it.

    The root goes in a straight line, the direction of the body turns evenly, by the shorter way, and
    every joint goes in a straight line as seen from root and direction. Without the direction, a body
    that turns around would shrink to its axis half-way. Raises ValueError if the first or the last
    frame is not given.
    """
    if not (given[0] and given[-1]):
        raise ValueError("interpolate_poses needs the first and the last frame")
    out = target.clone()
    known = given.nonzero().flatten().tolist()
    for before, after in pairwise(known):
        steps = after - before
        if steps == 1:
            continue
        w = torch.arange(1, steps).to(target) / steps  # (n,) share of the way, n frames in the gap
        start, end = target[before], target[after]  # (J, 3)
        angle = ground_turn(start, end).to(target)
        place = torch.lerp(start[root], end[root], w[:, None])  # (n, 3)
        # both poses with the root at the origin, in the direction of the first
        first, last = start - start[root], rotate_y(end - end[root], -angle)
        poses = torch.lerp(first, last, w[:, None, None])  # (n, J, 3)
        out[before + 1 : after] = rotate_y(poses, (w * angle)[:, None]) + place[:, None]
    return out


# 3) Errors.


def completion_errors(joints: Tensor, target: Tensor, given: Tensor, root: int = 0) -> dict[str, float]:
    """`labels.COMPLETION` of joints (F, J, 3) against `target` over the frames that are not `given` (F,)."""
    ours, theirs = joints[~given], target[~given]
    ade, fde = displacement_errors(ours, theirs)
    ade_root, fde_root = displacement_errors(ours, theirs, root)
    values = {
        "ade": ade,
        "fde": fde,
        "ade_root": ade_root,
        "fde_root": fde_root,
        "mpjpe_mm": 1000 * mpjpe(ours, theirs, root).mean(),
        "global_mpjpe_mm": 1000 * mpjpe(ours, theirs, root=None).mean(),
    }
    return {name: float(value) for name, value in values.items()}
