"""A hand or foot at a given place at a given time: the limb bends (inverse kinematics), the root helps if it must.

The end of the limb is moved by what it lacks at that frame, less and less so before and after. Other limbs, and frames
outside this window, keep their very bits. A target that the limb cannot reach moves the root, at most `LEAN`, as far as
the legs allow with the feet where they are. What is still missing is reported.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from motiongpt.body.feet import legs
from motiongpt.body.limbs import STRETCH, bend, limbs, longest, moved_with
from motiongpt.body.skeletons import Skeleton
from motiongpt.constraints.ground import headings, put_on_ground
from motiongpt.constraints.spec import Reach, nearest_frame
from motiongpt.procedural.kinematics import ease

TOLERANCE = 0.01  # metres between a joint and its target, if it can be reached
WINDOW = 0.5  # seconds before and after in which the limb goes there and comes back
LEAN = 0.3  # metres that the root may move for a target that is out of reach
ROUNDS = 200  # of projections onto balls; they agree within 0.1 mm


class Reached(NamedTuple):
    """What one target came to."""

    reach: Reach
    frame: int
    distance: float  # metres left
    lean: float  # metres that the root moved for all targets of this frame
    dragged: float  # metres: the farthest that a standing foot was moved because its leg is too short


def reach_errors(joints: np.ndarray, fps: float, skeleton: Skeleton, reaches: Sequence[Reach]) -> np.ndarray:
    """How far the joints (F, J, 3) are from each of R targets at the nearest frame, (R,) metres."""
    found = [joints[nearest_frame(r.time, len(joints), fps), skeleton.index(r.joint)] for r in reaches]
    return np.array([np.linalg.norm(at - r.target) for at, r in zip(found, reaches, strict=True)])


def reach_targets(
    joints: np.ndarray,
    fps: float,
    skeleton: Skeleton,
    reaches: Sequence[Reach],
    window: float = WINDOW,
    is_loop: bool = False,
    hold_root: bool = False,
) -> tuple[np.ndarray, list[Reached]]:
    """Move wrists and ankles of joints (F, J, 3) to their targets: (F, J, 3) float64, and what each came to.

    Bone lengths stay as they are. What hangs on the end of a limb keeps its direction. `window` is in seconds; between
    two targets that follow more closely, one movement leads from the first to the second. The ends of a loop stay as
    they are, unless a target is in them. With `hold_root` the root leans up and down only. Raises ValueError for two
    targets of one joint in the same frame.
    """
    before = np.asarray(joints, np.float64)
    F = len(before)
    frames = [nearest_frame(r.time, F, fps) for r in reaches]
    width = max(1.0, window * fps)
    standing = {skeleton.joints[leg.limb.end] for leg in legs(skeleton)}

    # 1) The root: one way for each frame with targets.
    leans = {}
    for frame in sorted(set(frames)):
        wanted = {r.joint: np.array(r.target) for r, at in zip(reaches, frames, strict=True) if at == frame}
        leans[frame] = _lean(before[frame], skeleton, wanted, standing, hold_root)
    lean = _blend(leans, F, width, is_loop)  # (F, 3)

    # 2) The ends of the limbs: where the body takes them, and feet where they were, plus what each target lacks.
    ends = {}  # joint name -> (F, 3)
    for name, limb in limbs(skeleton).items():
        carried = before[:, limb.end] + (0.0 if name in standing else lean)
        own = [(at, np.array(r.target)) for r, at in zip(reaches, frames, strict=True) if r.joint == name]
        if len({at for at, _ in own}) < len(own):
            raise ValueError(f"reach: {name} has two targets in one frame of {1 / fps:g} s; leave one out")
        ends[name] = carried + _blend({at: target - carried[at] for at, target in own}, F, width, is_loop)

    after = _bent(before, lean, ends, skeleton)
    left = reach_errors(after, fps, skeleton, reaches)
    asked = {r.joint for r in reaches}
    feet = [limbs(skeleton)[name].end for name in sorted(standing - asked)]
    drag = np.linalg.norm(after[:, feet] - before[:, feet], axis=-1).max() if feet else 0.0
    made = zip(reaches, frames, left, strict=True)
    return after, [Reached(r, at, float(d), float(np.linalg.norm(leans[at])), float(drag)) for r, at, d in made]


def _lean(
    pose: np.ndarray, skeleton: Skeleton, wanted: Mapping[str, np.ndarray], standing: set[str], hold_root: bool
) -> np.ndarray:
    """The way (3,) of the root, about the shortest, after which every limb can reach: zero if they all can already.

    Each limb allows a ball of ways, about the one that would put its start onto its target, and `LEAN` is a ball as
    well. Projections onto the balls in turn end in all of them; if they have no point in common, the legs' count last.
    """
    balls = []
    for name, limb in limbs(skeleton).items():
        start, middle, end = pose[list(limb)]
        if name in wanted:
            bones = np.linalg.norm(middle - start) + np.linalg.norm(end - middle)
            balls.insert(0, (wanted[name] - start, STRETCH * bones - 1e-4))
        elif name in standing:
            balls.append((end - start, longest(start, middle, end)))
    balls.insert(0, (np.zeros(3), LEAN))
    way = np.zeros(3)
    for _ in range(ROUNDS):
        last = way
        for centre, radius in balls:
            off = way - centre
            way = centre + off * min(1.0, radius / max(np.linalg.norm(off), 1e-12))
        way = way * [0.0, 1.0, 0.0] if hold_root else way
        if np.abs(way - last).max() < 1e-7:
            break
    length = np.linalg.norm(way)
    # shorter ways are in the legs' balls too: no way at all is in them
    return way * min(1.0, LEAN / length) if length > 1e-9 else np.zeros(3)


def _blend(at: Mapping[int, np.ndarray], F: int, width: float, is_loop: bool) -> np.ndarray:
    """A smooth curve (F, 3) that has the given values (3,) at some frames and is zero `width` frames away from them,
    and for a loop at frames 0 and F."""
    curve = np.zeros((F, 3))
    order = sorted(at)
    first, last = (0.0, float(F)) if is_loop else (-np.inf, np.inf)
    around = [first, *order, last]
    for before, frame, after in zip(around[:-2], order, around[2:], strict=True):
        rise, fall = min(width, max(frame - before, 1.0)), min(width, after - frame)
        t = np.arange(F) - frame
        weight = np.where(t < 0, ease(1 + t / rise), ease(1 - t / fall))
        curve += weight[:, None] * at[frame]
    return curve


def _bent(before: np.ndarray, lean: np.ndarray, ends: Mapping[str, np.ndarray], skeleton: Skeleton) -> np.ndarray:
    """The body moved by `lean` (F, 3), with limbs bent so that they end at `ends` (F, 3) each."""
    out = before.copy()
    leaning = lean.any(axis=-1)
    out[leaning] += lean[leaning, None]
    ahead = np.exp(1j * headings(before, skeleton))
    forward = put_on_ground(np.zeros((len(before), 3)), ahead)
    knees = {leg.limb for leg in legs(skeleton)}
    for name, limb in limbs(skeleton).items():
        here = (ends[name] != out[:, limb.end]).any(axis=-1)
        if not here.any():
            continue
        hint = forward if limb in knees else -forward - [0.0, 1.0, 0.0]  # elbows point back and down
        was = out[here][:, list(limb)]
        middle, end = bend(was[:, 0], was[:, 1], was[:, 2], ends[name][here], hint[here])
        rest = np.ix_(here, moved_with(skeleton, limb.end))
        out[rest] += (end - was[:, 2])[:, None]
        out[here, limb.middle], out[here, limb.end] = middle, end
    return out
