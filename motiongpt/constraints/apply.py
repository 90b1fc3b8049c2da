"""All constraints of a motion, one after another, and a report in plain lines.

First the root (path, or in place), then the cut (loop), then the limbs (reach). Times and places are those of the
motion as it was written; a loop keeps every frame that is asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from motiongpt.body.feet import legs
from motiongpt.body.skeletons import Skeleton
from motiongpt.constraints import loop as loops
from motiongpt.constraints import path as paths
from motiongpt.constraints import reach as reaches
from motiongpt.constraints.ground import ground, headings, put_on_ground, turned
from motiongpt.constraints.in_place import stay_in_place
from motiongpt.constraints.spec import Constraints, frame_at

SMALL_GLIDE = 0.05  # metres; the feet follow without a slide to be seen
SMALL_TURN = 0.5  # degrees


def apply_constraints(
    joints: np.ndarray, fps: float, skeleton: Skeleton, constraints: Constraints
) -> tuple[np.ndarray, list[str]]:
    """Joints (F, J, 3) that meet the constraints, as (F', J, 3) float32 metres, and a line on each constraint.

    F' is smaller than F if a loop cuts the motion; such a motion starts at the origin and faces +z again, unless a path
    or a target names places. What is not asked for keeps its very bits. Raises ValueError for joints of another
    skeleton, for a joint that cannot be moved to a target, and for a time after the end.
    """
    joints = np.asarray(joints, np.float32)
    if joints.ndim != 3 or joints.shape[1:] != (skeleton.num_joints, 3) or not np.isfinite(joints).all():
        raise ValueError(
            f"joints must be finite and (F, {skeleton.num_joints}, 3) for {skeleton.name}, got {joints.shape}"
        )
    F = len(joints)
    constraints.check(skeleton, F, fps)
    out, lines, start = joints.astype(np.float64), [], 0
    followed = loop = None
    if constraints.path:
        followed = paths.follow_path(out, fps, skeleton, constraints.path)
        out = followed.joints
    if constraints.in_place:
        out = stay_in_place(out)
        lines.append("in place: the root stays above one point, so feet slide by design")
    if constraints.loop:
        events = [frame_at(event.time, F, fps) for event in (*constraints.path, *constraints.reach)]
        keep = [math.floor(min(events)), math.ceil(max(events))] if events else []
        loop = loops.close_loop(out, fps, skeleton, keep, hold_root=bool(constraints.path))
        loop = loops.without_turn(loop) if constraints.in_place else loop
        out, start = loop.joints, loop.start
    if constraints.reach:
        targets, held = _earlier(constraints.reach, start / fps), bool(constraints.path) or constraints.in_place
        out, reached = reaches.reach_targets(out, fps, skeleton, targets, is_loop=loop is not None, hold_root=held)
        lines += _reach_lines(reached, start / fps)
    if followed:
        error = paths.path_errors(out, fps, _earlier(constraints.path, start / fps)).max()
        lines = _path_lines(followed, error, len(constraints.path), bool(legs(skeleton))) + lines
    if loop:
        loop = loop._replace(joints=out)
        lines += _loop_lines(loop, F)
        if not events:
            out = turned(out, -headings(out[:1], skeleton)[0])
            out = put_on_ground(out, ground(out) - ground(out[0, 0]))
    return out.astype(np.float32), lines


def _earlier(events: Sequence, seconds: float) -> list:
    """Waypoints or targets at the times of a motion whose first seconds are cut off."""
    return [replace(event, time=max(0.0, event.time - seconds)) for event in events]


def _path_lines(followed: "paths.Followed", error: float, points: int, has_legs: bool) -> list[str]:
    lines = [
        f"path: within {100 * error:.1f} cm of {points} {'waypoint' if points == 1 else 'waypoints'}; turned by up to "
        f"{np.degrees(followed.turn):.0f} degrees, steps up to {followed.stride:.2f} times as long"
    ]
    if has_legs:
        was, alone, now = (100 * speed for speed in followed.slide)
        lines.append(
            f"path: feet on the ground slide at {now:.1f} cm/s (before: {was:.1f}; with legs left alone: {alone:.1f})"
        )
    if followed.glide > SMALL_GLIDE:
        lines.append(
            f"path: no step reaches the waypoints in time, so the root glides by up to {100 * followed.glide:.0f} cm; "
            "give the waypoints other times, or ask for another motion"
        )
    return lines


def _reach_lines(reached: "Sequence[reaches.Reached]", cut: float) -> list[str]:
    """A line for each target; `cut` are the seconds that a loop left out before."""
    lines = []
    for one in reached:
        line = f"reach {one.reach.joint} at {one.reach.time + cut:g} s: {100 * one.distance:.1f} cm away"
        if one.lean:
            line += f", the root moved by {100 * one.lean:.0f} cm"
        if one.distance > reaches.TOLERANCE:
            line += "; out of reach, this is the nearest point"
        lines.append(line)
    dragged = max(one.dragged for one in reached)
    if dragged > reaches.TOLERANCE:
        lines.append(f"reach: a leg is too short to stand where it did, its foot moved by up to {100 * dragged:.1f} cm")
    return lines


def _loop_lines(loop: "loops.Loop", F: int) -> list[str]:
    N = len(loop.joints)
    lines = [
        f"loop: {F - N} of {F} frames cut, seam {100 * loop.seam:.1f} cm, {loops.PERCENTILE}th percentile step "
        f"{100 * loop.limit:.1f} cm"
    ]
    if loop.start:
        lines[0] += f"; it starts at frame {loop.start}"
    if loop.seam > loop.limit:
        lines.append(
            "loop: the seam is larger than the motion's own steps; no two poses are alike, take another motion"
        )
    turn, way = np.degrees(loop.move.turn), np.hypot(*(loop.joints[-1, 0] - loop.joints[0, 0])[[0, 2]])
    if abs(turn) > SMALL_TURN or way > reaches.TOLERANCE:
        turns = f", turned by {abs(turn):.0f} degrees to the {'left' if turn > 0 else 'right'}"
        lines.append(
            f"loop: the next cycle starts where this one ends{turns if abs(turn) > SMALL_TURN else ''}; --in-place "
            "closes it on one spot"
        )
    return lines
