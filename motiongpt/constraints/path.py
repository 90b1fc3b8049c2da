"""A motion that goes along a path: its root passes waypoints at their times, and the body turns to follow.

The steps of the root over the ground are multiplied by one smooth complex curve, e^c(t): its angle turns a step and the
body with it, its length stretches the step. So a walk stays a walk, a pause stays a pause, and nobody is pushed over
the ground. c is a smooth curve that meets the waypoints with little change, found by Gauss-Newton. What no turning and
stretching can meet, for instance because the person stands where the path moves, is added as a glide, and reported.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from motiongpt.body.feet import legs
from motiongpt.body.skeletons import Skeleton
from motiongpt.body.smoothing import smooth
from motiongpt.constraints.feet import contacts, keep_footprints, slide
from motiongpt.constraints.ground import ground, headings, put_on_ground
from motiongpt.constraints.spec import Waypoint, frame_at
from motiongpt.procedural.kinematics import through

TOLERANCE = 0.02  # metres between the root and a waypoint
STRIDES = (0.2, 3.0)  # how much a step may be shortened and stretched
KNOT_SECONDS = 0.4  # between changes of the curve; waypoints that follow more closely shape one change
CORNER_SECONDS = 0.15  # a change is rounded by a Gaussian of this width
CLOSE = 0.05  # metres: a shorter way has no direction
MEETS, BENDS, KEEPS = 30.0, 1.0, 0.3  # weights: per metre off a waypoint, of changes along the curve, of its values
FAR = 0.1  # metres off a waypoint, from which on it pulls no harder
ROUNDS = 30  # of Gauss-Newton; it changes by less than a millimetre after about ten


class Followed(NamedTuple):
    """What following a path came to."""

    joints: np.ndarray  # (F, J, 3) float64
    error: float  # metres, the largest distance from a waypoint
    glide: float  # metres, the farthest that the root was pushed without a step
    stride: float  # the largest factor of a step
    turn: float  # radians, the largest turn of the body
    slide: tuple[float, float, float]  # m/s of feet on the ground: before, with the feet left alone, now


def path_errors(joints: np.ndarray, fps: float, path: Sequence[Waypoint]) -> np.ndarray:
    """How far the root of joints (F, J, 3) is from each of W waypoints at its time, (W,) metres over the ground."""
    at, places = _frames(path, len(joints), fps), _places(path)
    root = ground(np.asarray(joints[:, 0], np.float64))
    return np.abs(np.interp(at, np.arange(len(root)), root) - places)


def follow_path(joints: np.ndarray, fps: float, skeleton: Skeleton, path: Sequence[Waypoint]) -> Followed:
    """Bend the way of joints (F, J, 3) so that the root passes the waypoints within `TOLERANCE`.

    Heights, and the pose above the hips relative to the root, stay as they are; legs bend to keep footprints whole.
    Without a waypoint in the first frame the motion starts where it did.
    """
    before = np.asarray(joints, np.float64)
    root = ground(before[:, 0])
    at, first = np.unique(_frames(path, len(before), fps), return_index=True)  # several may be after the last frame
    places = _places(path)[first]
    start = places[0] if at[0] < 1 else root[0]  # no step leads to a waypoint before the second frame
    later = at > 0
    curve = _bend_way(root, at[later], places[later] - start, fps)
    steps = np.exp((curve[1:] + curve[:-1]) / 2) * np.diff(root)
    way = start + np.insert(np.cumsum(steps), 0, 0)
    stepped, ahead = way, np.exp(1j * headings(before[:1], skeleton)[0])
    for _ in range(3):  # a curve through a time between two frames is not quite the line between them
        way = way + _glide(way, at, places, ahead)

    turn = curve.imag
    place = way[:, None] + (ground(before) - root[:, None]) * np.exp(1j * turn)[:, None]
    carried = put_on_ground(before, place)
    on_ground = [contacts(before[:, leg.toe], fps) for leg in legs(skeleton)]
    after = keep_footprints(carried, before, turn, on_ground, skeleton)
    return Followed(
        joints=after,
        error=float(path_errors(after, fps, path).max()),
        glide=float(np.abs(way - stepped).max()),
        stride=float(np.exp(curve.real.max())),
        turn=float(np.abs(turn).max()),
        slide=tuple(slide(motion, on_ground, skeleton, fps) for motion in (before, carried, after)),
    )


def _frames(path: Sequence[Waypoint], frames: int, fps: float) -> np.ndarray:
    return np.array([frame_at(point.time, frames, fps) for point in path])


def _places(path: Sequence[Waypoint]) -> np.ndarray:
    return np.array([point.z + 1j * point.x for point in path])


def _bend_way(root: np.ndarray, at: np.ndarray, wanted: np.ndarray, fps: float) -> np.ndarray:
    """The curve c (F,) of a root (F,) that should be at `wanted` (W,), from its start, at frames `at` (W,) above 0."""
    F = len(root)
    if len(at) == 0:
        return np.zeros(F, complex)
    # c is a sum of K bumps; their heights are the unknowns, first all log strides, then all turns
    K = max(1, round(at[-1] / fps / KNOT_SECONDS) + 1)
    knots = np.linspace(0.0, at[-1], K) if K > 1 else at[-1:]
    basis = np.stack([np.interp(np.arange(F), knots, row) for row in np.eye(K)], axis=-1)  # (F, K)
    basis = smooth(basis, CORNER_SECONDS * fps)
    straight = _straight_ways(root, at, wanted, knots, fps)
    unknown = np.concatenate([straight.real, straight.imag])
    goal = np.concatenate([np.zeros(K), straight.imag])  # strides as they were, turns along the straight ways
    both = np.eye(2 * K)
    bends = np.concatenate([np.diff(both[:K], axis=0), np.diff(both[K:], axis=0)])

    steps = np.diff(root)
    middle = (basis[1:] + basis[:-1]) / 2  # (F - 1, K)
    until = np.clip(at[:, None] - np.arange(F - 1), 0.0, 1.0)  # (W, F - 1) how much of each step lies before a waypoint
    for _ in range(ROUNDS):
        bent = np.exp(middle @ (unknown[:K] + 1j * unknown[K:])) * steps
        slopes = until @ (bent[:, None] * middle)  # d way / d heights: the exponential is its own derivative
        meets = np.block([[slopes.real, -slopes.imag], [slopes.imag, slopes.real]])
        off = wanted - until @ bent
        # a waypoint that is out of reach pulls no harder the farther it is: it must not spoil the others
        pull = MEETS / np.maximum(1.0, np.abs(off) / FAR)
        rows = np.concatenate([np.tile(pull, 2)[:, None] * meets, BENDS * bends, KEEPS * both])
        target = [pull * off.real, pull * off.imag, -BENDS * bends @ unknown, KEEPS * (goal - unknown)]
        change = np.linalg.lstsq(rows, np.concatenate(target), rcond=None)[0]
        unknown = unknown + change * min(1.0, 0.5 / max(np.abs(change).max(), 1e-12))  # linear over a short way only
        unknown[:K] = np.clip(unknown[:K], *np.log(STRIDES))
    return basis @ (unknown[:K] + 1j * unknown[K:])


def _straight_ways(root: np.ndarray, at: np.ndarray, wanted: np.ndarray, knots: np.ndarray, fps: float) -> np.ndarray:
    """c at the knots (K,) if the motion went straight from waypoint to waypoint: log of wanted by present way.

    Waypoints that follow closely are taken together, and ways too short to have a direction take their neighbours'.
    """
    chosen = [-1]  # indices of waypoints; -1 is the start
    for i, frame in enumerate(at):
        if frame - (at[chosen[-1]] if len(chosen) > 1 else 0.0) >= KNOT_SECONDS * fps:
            chosen.append(i)
    if len(chosen) == 1 or chosen[-1] != len(at) - 1:  # the last one ends the last way
        chosen = [*(chosen[:-1] if len(chosen) > 2 else chosen[:1]), len(at) - 1]
    frames = np.array([0.0, *at[chosen[1:]]])
    has = np.diff(np.interp(frames, np.arange(len(root)), root))
    wants = np.diff([0, *wanted[chosen[1:]]])
    told = (np.abs(has) > CLOSE) & (np.abs(wants) > CLOSE)
    if not told.any():
        return np.zeros(len(knots), complex)
    quotient = wants[told] / has[told]
    stride = np.clip(np.log(np.abs(quotient)), *np.log(STRIDES))
    ways, index = np.arange(len(told)), np.flatnonzero(told)
    c = np.interp(ways, index, stride + 1j * np.unwrap(np.angle(quotient)))
    return c[np.clip(np.searchsorted(frames, knots, side="right") - 1, 0, len(c) - 1)]


def _glide(way: np.ndarray, at: np.ndarray, places: np.ndarray, ahead: complex) -> np.ndarray:
    """What is left between a way (F,) and the waypoints, as a smooth curve (F,). `ahead` is where the body faces at
    first: the curve has its two parts along it and across, so it does not depend on the room."""
    rest = (places - np.interp(at, np.arange(len(way)), way)) / ahead
    if at[0] > 0:  # the start stays
        at, rest = np.insert(at, 0, 0.0), np.insert(rest, 0, 0)
    if len(at) == 1:
        return np.full(len(way), rest[0] * ahead)
    z, x = through(len(way), at, np.stack([rest.real, rest.imag], axis=-1)).T
    return (z + 1j * x) * ahead
