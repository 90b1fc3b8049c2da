"""A motion that can be played without end: cut at two near-equal poses, the end blended into the start.

Poses are compared as seen from the root and the facing, with their velocities, so a walk that goes on and a turn that
turns on are loops as well: one cycle leads to the next by a turn about the vertical and a step over the ground. After
L. Kovar, M. Gleicher and F. Pighin 2002, "Motion Graphs" (transitions between similar windows, up to a motion on the
ground), with the distance taken at one frame and its velocity.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.constraints.ground import ground, headings, largest_steps, put_on_ground, turned

SHORTEST = 1.0  # seconds of a cycle: a shorter one is a tremor
CUT_COST = 0.05  # metres: what leaving out the whole motion would add to the distance of two poses
MEMORY = 0.1  # seconds: a velocity counts as the way it goes in this time
BLEND = 0.5  # seconds before the end that bend towards the start; at most half the cycle
BLEND_SPEED = 1.0  # m/s: a joint that is far from where it starts bends for longer, at this speed
PERCENTILE = 99  # of the motion's own steps, which the step over the seam should not exceed


class Move(NamedTuple):
    """From one cycle to the next: a turn about the origin, then a step."""

    turn: float = 0.0  # radians to the left
    step: complex = 0j  # metres over the ground, z + i x

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of one cycle, as they are in the next."""
        points = turned(points, self.turn)
        return put_on_ground(points, ground(points) + self.step)


class Loop(NamedTuple):
    """One cycle of a motion."""

    joints: np.ndarray  # (N, J, 3) float64
    move: Move
    start: int  # the frames [start, start + N) that were kept
    distance: float  # metres between the two poses that were joined, velocities counted
    limit: float  # metres: the `PERCENTILE` of the motion's largest steps, of one joint each

    @property
    def seam(self) -> float:
        """The largest step of a joint from the last frame to the first one of the next cycle, metres."""
        return float(largest_steps(np.stack([self.joints[-1], self.move.apply(self.joints[0])]))[0])


def best_cut(joints: np.ndarray, fps: float, skeleton: Skeleton, keep: Iterable[int] = ()) -> tuple[int, int, float]:
    """The frames (start, end) with the most equal poses, and their distance in metres; `end` is the start once more.

    A longer cycle may be a little less equal, see `CUT_COST`. Frames in `keep` stay in the cycle. Raises ValueError for
    a motion that is shorter than `SHORTEST`, or too short after them.
    """
    F = len(joints)
    start, end = np.arange(F)[:, None], np.arange(F)[None]
    allowed = end - start >= SHORTEST * fps
    keep = list(keep)
    if keep:
        allowed &= (start <= min(keep)) & (end > max(keep))
    if not allowed.any():
        what = f" after {max(keep) / fps:g} s, the last time asked for" if keep else ""
        raise ValueError(
            f"loop: a cycle has at least {SHORTEST:g} s, and one pose more{what}; the motion has {F / fps:g} s: "
            "ask for a longer one (--seconds)"
        )
    poses = _poses(joints, fps, skeleton)  # (F, 6 J)
    squares = (poses**2).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * poses @ poses.T, 0.0))  # (F, F)
    cost = np.where(allowed, distance + CUT_COST * (F - (end - start)) / F, np.inf)
    i, j = np.unravel_index(cost.argmin(), cost.shape)
    return int(i), int(j), float(distance[i, j])


def close_loop(
    joints: np.ndarray, fps: float, skeleton: Skeleton, keep: Iterable[int] = (), hold_root: bool = False
) -> Loop:
    """Cut joints (F, J, 3) to one cycle and bend its end so that the first pose follows. Errors: see `best_cut`.

    Only the last frames are changed (`BLEND`), and nothing is moved to the origin. Bones keep their lengths. With
    `hold_root` the root stays above its place in the changed frames too.
    """
    before = np.asarray(joints, np.float64)
    start, end, distance = best_cut(before, fps, skeleton, keep)
    facing = headings(before, skeleton)
    turn = float(facing[end] - facing[start])
    root = ground(before[:, 0])
    move = Move(turn, complex(root[end] - root[start] * np.exp(1j * turn)))

    # What the pose at the end lacks of the first one, and its velocity of the first velocity, as a cubic over the last
    # frames: it begins with nothing, and at the end value and slope are met.
    lacks = move.apply(before[start]) - before[end]  # (J, 3)
    slope = turned(before[start + 1] - before[start], turn) - (before[end] - before[end - 1])
    if hold_root:
        slope = put_on_ground(slope, ground(slope) - ground(slope[0]))
    seconds = BLEND + np.linalg.norm(lacks, axis=-1).max() / BLEND_SPEED
    n = max(1, min(round(seconds * fps), (end - start) // 2))
    s = np.arange(1, n)[:, None, None] / n  # of the frames end - n + 1 ... end - 1
    tail = before[end - n + 1 : end]
    bent = tail + s * s * (3 - 2 * s) * lacks + s * s * (s - 1) * n * slope
    cycle = np.concatenate([before[start : end - n + 1], _with_bones_of(bent, tail, skeleton)])
    limit = float(np.percentile(largest_steps(before), PERCENTILE))
    return Loop(cycle, move, start, distance, limit)


def play(joints: np.ndarray, move: Move, times: int) -> np.ndarray:
    """A cycle (N, J, 3) played several times: (times N, J, 3), each where the one before leads to."""
    cycles = [joints]
    for _ in range(times - 1):
        cycles.append(move.apply(cycles[-1]))
    return np.concatenate(cycles)


def without_turn(loop: Loop) -> Loop:
    """A loop in place whose cycles follow each other unmoved: what it turns too much or too little, up to half a turn,
    is spread over its frames."""
    rest = float(np.angle(np.exp(1j * loop.move.turn)))
    share = np.arange(len(loop.joints)) / len(loop.joints)
    return loop._replace(joints=turned(loop.joints, -rest * share[:, None]), move=Move())


def _poses(joints: np.ndarray, fps: float, skeleton: Skeleton) -> np.ndarray:
    """Poses and velocities as seen from the root and the facing, (F, 6 J), such that the distance of two rows is the
    root mean square over joints, in metres."""
    joints = np.asarray(joints, np.float64)
    facing = headings(joints, skeleton)[:, None]
    local = put_on_ground(joints, ground(joints) - ground(joints[:, :1]))
    velocity = np.gradient(joints, axis=0) * fps * MEMORY
    both = np.concatenate([turned(local, -facing), turned(velocity, -facing)], axis=1)
    return both.reshape(len(joints), -1) / np.sqrt(joints.shape[1])


def _with_bones_of(joints: np.ndarray, like: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Joints (F, J, 3) with the bone lengths of others (F, J, 3), from the root outwards; bones keep directions."""
    out = joints.copy()
    for joint, parent in enumerate(skeleton.parents[1:], 1):  # a parent comes before its children
        bone = joints[:, joint] - joints[:, parent]
        length = np.linalg.norm(like[:, joint] - like[:, parent], axis=-1, keepdims=True)
        out[:, joint] = out[:, parent] + length * bone / np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-9)
    return out
