"""Steps: footsteps are planned first, in the world, and the legs follow; walking, running, turning, stepping in place.

A walk is a path of the pelvis plus a rhythm (`Gait`). Each foot is planted where the pelvis will be in the middle of
that foot's stance, so feet never slide, whatever the path. Each action goes from a `Director` to a `Track`.
"""

from dataclasses import dataclass

import numpy as np

from motiongpt.body.smoothing import smooth
from motiongpt.procedural.kinematics import TOE_AHEAD, Track, ease, flight, heading, pulse, sideways, through
from motiongpt.procedural.performer import FPS, SIDES, Director, hanging

FASTEST = 2.6  # m/s times swing / step: a walk this fast swings its feet at almost 11 m/s


@dataclass(frozen=True)
class Gait:
    """How feet alternate. `step` is the time from one lift to the next lift of the other foot."""

    step: int  # frames
    swing: int  # frames a foot is in the air; more than `step` is a run
    clearance: float = 0.09  # metres
    heel: float = 0.6  # heel-off at the end of a stance, radians
    toe: float = 0.25  # toes up before landing, radians
    bob: float = 0.015  # metres, pelvis up and down
    sway: float = 0.02  # metres, pelvis over the standing foot
    arms: float = 0.75  # arm swing, radians per metre of foot separation
    elbow: float = 0.12  # additional elbow flexion while moving, radians
    twist: float = 0.15  # pelvis yaw, radians per metre
    lean: float = 0.03  # radians
    width: float = 0.8  # distance between the feet, as a share of the stand's


def footsteps(d: Director, n: int, gait: Gait) -> tuple[list[tuple[int, int, int]], int]:
    """(side, lift frame, landing frame) of every step that fits into n frames, and the last landing."""
    first, side = d.pause(), int(d.rng.integers(2))
    steps = []
    while first + len(steps) * gait.step + gait.swing <= n - 6:
        lift = first + len(steps) * gait.step
        steps.append(((side + len(steps)) % 2, lift, lift + gait.swing))
    return steps, steps[-1][2]


def walk(d: Director, track: Track, steps: list[tuple[int, int, int]], gait: Gait) -> Track:
    """Put feet under a pelvis whose `root` and `yaw` are given: stances are planted, swings fly between them.

    A foot is planted where the pelvis is in the middle of its stance, to its side; the first and last stances are
    under the standing body. Arms and pelvis follow the feet: they are driven by how far the feet are apart.
    """
    n = len(track)
    ends = steps[-1][2]
    path = track.root.copy()
    beat = ease((np.arange(n) - steps[0][1]) / gait.step) - ease((np.arange(n) - ends + gait.step) / gait.step)
    for side in (0, 1):
        swings = [(lift, land) for s, lift, land in steps if s == side]
        spots = []  # toe x, z and yaw per stance
        for index in range(len(swings) + 1):
            begin = swings[index - 1][1] if index > 0 else 0
            end = swings[index][0] if index < len(swings) else n - 1
            at = 0 if index == 0 else n - 1 if index == len(swings) else (begin + end) / 2
            root = np.array([np.interp(at, np.arange(n), axis) for axis in path.T])
            yaw = np.interp(at, np.arange(n), track.yaw)
            width = (1 - 2 * side) * d.style.stance * (1.0 if index in (0, len(swings)) else gait.width)
            spot = root + width * sideways(yaw) + TOE_AHEAD * heading(yaw)
            spots.append((*spot, yaw + track.foot_yaw[0, side]))
        spots = np.array(spots)
        track.toes[:, side, [0, 2]], track.foot_yaw[:, side] = spots[0, :2], spots[0, 2]
        for index, (lift, land) in enumerate(swings):
            track.toes[land:, side, [0, 2]], track.foot_yaw[land:, side] = spots[index + 1, :2], spots[index + 1, 2]
            t = np.arange(lift, land + 1)
            s = (t - lift) / (land - lift)
            way, arc, airborne = flight(n, lift, land)
            way = way[t, None]
            spot = (1 - way) * spots[index] + way * spots[index + 1]
            track.toes[t, side, 0], track.toes[t, side, 2], track.foot_yaw[t, side] = spot.T
            stride = np.linalg.norm(spots[index + 1, :2] - spots[index, :2])
            forward = float((spots[index + 1, :2] - spots[index, :2]) @ heading(spots[index, 2]))
            high = gait.clearance * (0.75 + 0.25 * min(stride / 0.6, 1.0))
            track.toes[t, side, 1] = high * arc[t] * (1.15 - 0.3 * s)
            track.planted[airborne, side] = False
            # heel first up in the last frames of the stance, then toes up before landing
            share = np.clip(forward / 0.9, -0.25, 1.0) if abs(forward) > 0.02 else 0.3
            early = max(2, round(0.45 * gait.step))
            frames = [lift - early, lift, lift + 0.3 * (land - lift), lift + 0.8 * (land - lift), land + 1]
            share = abs(share)
            pitch = [0.0, 0.6 * gait.heel * share, gait.heel * share, -gait.toe * share, 0.0]
            window = np.arange(max(0, lift - early), min(n, land + 2))
            curve = through(land + 2 - (lift - early), np.array(frames) - (lift - early), pitch)
            track.foot_pitch[window, side] = curve[window - (lift - early)]
            # the pelvis leans over the other, standing foot
            track.root[t] -= (1 - 2 * side) * gait.sway * np.sin(np.pi * s)[:, None] ** 2 * sideways(track.yaw[t])
    apart = track.toes[:, 1] - track.toes[:, 0]  # right minus left
    ahead = smooth((apart[:, [0, 2]] * heading(track.yaw)).sum(-1), 1.2)
    amount = np.clip(ahead, -0.75, 0.75) * gait.arms * d.size
    for side in (0, 1):
        swing = amount * (1 - 2 * side)
        bent = d.style.elbow + gait.elbow * beat + 0.35 * np.maximum(swing, 0.0)
        track.arms[:, side] = hanging(d.style.abduction, bent, 0.85 * swing - 0.12 * beat * (gait.elbow > 0.5))
    track.pelvis[:, 1] += gait.twist * ahead
    track.spine[:, 1] -= 1.7 * gait.twist * ahead
    track.pelvis[:, 0] += 0.5 * gait.lean * beat
    track.spine[:, 0] += gait.lean * beat
    middle = steps[0][1] + 0.5 * gait.swing  # a foot is half-way: the other leg stands straight (or, in a run, pushes)
    sign = 1.0 if gait.swing <= gait.step * 1.02 else -1.0
    phase = 2 * np.pi * (np.arange(n) - middle) / gait.step
    track.lift += beat * gait.bob * d.style.bounce * (sign * np.cos(phase) - 1.0)
    return track


def travel(d: Director, seconds: tuple[float, float], gait: Gait, speed: float) -> tuple[Track, list, np.ndarray]:
    """A standing track, its footsteps, and the metres gone by every frame: in, steady, out."""
    n = min(round(FPS * d.uniform(*seconds)), d.limit())
    speed = min(speed, FASTEST * gait.swing / gait.step)
    track = d.stand(n)
    steps, end = footsteps(d, n, gait)
    begin, ramp = steps[0][1], max(2.0, min(1.6 * gait.step, 0.45 * (end - steps[0][1])))
    t = np.arange(n)
    pace = ease((t - begin) / ramp) - ease((t - end + ramp) / ramp)
    return track, steps, np.cumsum(pace) * speed / FPS


def walk_forward(d: Director) -> Track:
    gait = Gait(step=d.frames(0.52), swing=d.frames(0.42), bob=0.014)
    track, steps, gone = travel(d, (3.6, 8.5), gait, 1.2 * d.size / d.rate)
    track.root[:, 1] = gone
    return walk(d, track, steps, gait)


def walk_backward(d: Director) -> Track:
    gait = Gait(step=d.frames(0.55), swing=d.frames(0.45), heel=0.3, toe=-0.1, arms=0.6, lean=-0.01)
    track, steps, gone = travel(d, (3.2, 7.5), gait, 0.75 * d.size / d.rate)
    track.root[:, 1] = -gone
    return walk(d, track, steps, gait)


def walk_circle(d: Director, side: str) -> Track:
    turn = 1 - 2 * d.side(side)
    gait = Gait(step=d.frames(0.52), swing=d.frames(0.42))
    track, steps, gone = travel(d, (6.0, 9.6), gait, 1.05 * d.size / d.rate)
    angle = turn * gone / gone[-1] * min(2 * np.pi * d.uniform(0.92, 1.04), gone[-1] / 0.55)  # radius 0.55 m at least
    radius = gone[-1] / abs(angle[-1])
    track.root[:, 0], track.root[:, 1] = turn * radius * (1 - np.cos(angle)), radius * np.sin(np.abs(angle))
    n, begin, end = len(track), steps[0][1], steps[-1][2]
    into = turn * pulse(n, max(begin - 6, 0), 9, end - begin - 9, 9)  # from before the first step, nose into the circle
    track.yaw[:] = angle + 0.12 * into
    track.pelvis[:, 1] += 0.08 * into
    track.spine[:, 1] += 0.16 * into
    track.head[:, 1] += 0.3 * into
    track.spine[:, 2] -= 0.05 * turn * np.gradient(gone) * FPS
    return walk(d, track, steps, gait)


def walk_sideways(d: Director, side: str) -> Track:
    turn = 1 - 2 * d.side(side)
    gait = Gait(
        step=d.frames(0.46), swing=d.frames(0.4), clearance=0.09, heel=0.15, toe=0.0, sway=0.01, bob=0.008, width=1.35
    )
    track, steps, gone = travel(d, (3.6, 6.5), gait, 0.46 * d.size / d.rate)
    if steps[0][0] != SIDES.index(side):  # the leading foot opens first, or the legs would cross
        steps = [(1 - s, lift, land) for s, lift, land in steps]
    track.root[:, 0] = turn * gone
    return walk(d, track, steps, gait)


def run(d: Director) -> Track:
    step = max(5, d.frames(0.34))
    gait = Gait(step, swing=step + 2, clearance=0.2, heel=1.0, toe=0.1, bob=0.03, arms=0.75, elbow=1.15, lean=0.16)
    track, steps, gone = travel(d, (2.6, 5.0), gait, min(2.5 * d.size / d.rate, 3.6))
    track.root[:, 1] = gone
    return walk(d, track, steps, gait)


def _in_place(d: Director, gait: Gait, knee: float, elbow_swing: float, seconds: tuple[float, float]) -> Track:
    """Steps on the spot: there is no foot separation to drive the arms, so they follow the lifted foot."""
    track = d.stand(min(round(FPS * d.uniform(*seconds)), d.limit()))
    steps, _ = footsteps(d, len(track), gait)
    track = walk(d, track, steps, gait)
    for side, lift, land in steps:
        t = np.arange(lift, land + 1)
        up = np.sin(np.pi * (t - lift) / (land - lift)) ** 2
        track.toes[t, side, 2] += knee * up**2
    high = smooth(track.toes[:, :, 1], 1.2) / gait.clearance  # (F, 2)
    apart = high[:, 0] - high[:, 1]
    for side in (0, 1):
        swing = elbow_swing * d.size * apart * (2 * side - 1)
        beat = ease((np.arange(len(track)) - steps[0][1]) / gait.step)
        beat = beat - ease((np.arange(len(track)) - steps[-1][2] + gait.step) / gait.step)
        track.arms[:, side] = hanging(d.style.abduction, d.style.elbow + gait.elbow * beat, swing)
    track.spine[:, 1] += 0.08 * apart
    return track


def jog_in_place(d: Director) -> Track:
    step = max(5, d.frames(0.34))
    gait = Gait(
        step, swing=step, clearance=0.16 * d.size, heel=1.6, toe=0.0, bob=0.025, elbow=1.15, lean=0.06, sway=0.01
    )
    return _in_place(d, gait, -0.06, 0.45, (2.6, 6.0))


def march_in_place(d: Director) -> Track:
    gait = Gait(d.frames(0.5), d.frames(0.46), clearance=0.34 * d.size, heel=0.6, toe=0.0, bob=0.006, elbow=0.35)
    return _in_place(d, gait, 0.16, 0.55, (3.0, 6.5))


def turn(d: Director, side: str | None, degrees: float) -> Track:
    way = 1 - 2 * d.side(side)
    angle = np.radians(degrees + d.uniform(-8, 8))
    gait = Gait(d.frames(0.4), d.frames(0.36), clearance=0.09, heel=0.2, toe=0.0, sway=0.012, bob=0.006)
    count = max(4, 2 * round(angle / np.radians(60) + 0.6))
    n = 16 + (count - 1) * gait.step + gait.swing
    track = d.stand(max(n, 40))
    steps, end = footsteps(d, n, gait)
    s = (np.arange(len(track)) - steps[0][1]) / (end - steps[0][1])
    track.yaw[:] = way * angle * ease(s)
    track.head[:, 1] += way * 0.35 * pulse(len(track), steps[0][1] - 4, 7, 2, 0.6 * (end - steps[0][1]))
    return walk(d, track, steps, gait)
