"""Walking, running, turning and stepping in place:
footsteps are planned first, in the world, and the legs follow.

A walk is a path of the pelvis plus a rhythm (`Gait`). A stance is the time a foot stands, a swing
its way through the air. Each foot is planted beside the place where the pelvis is in the middle of
the stance, so feet never slide, whatever the path. Each action goes from a `Director` to a `Track`.
"""

from dataclasses import dataclass, replace

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.body.smoothing import smooth
from motiongpt.procedural.kinematics import TOE_AHEAD, Track, ease, flight, heading, pulse, reach, sideways, through
from motiongpt.procedural.performer import FPS, Director, hanging

MOST_BOB = 20.0  # m/s^2 of the pelvis: quick steps of a happy person do not throw it up and down
FASTEST_GAIT = 2.6  # m/s at swing = step: at this speed the feet swing at almost 11 m/s


@dataclass(frozen=True)
class Gait:
    """How the feet alternate. `step` is the time from the lift of one foot to the lift of the
    other."""

    step: int  # frames
    swing: int  # frames a foot is in the air; more than `step` is a run
    clearance: float = 0.09  # metres
    heel: float = 0.6  # heel-off at the end of a stance, radians
    toe: float = 0.18  # toes up before landing, radians
    bob: float = 0.018  # metres, pelvis up and down
    sway: float = 0.024  # metres, pelvis over the standing foot
    roll: float = 0.055  # radians the hip of the swinging leg drops
    arms: float = 0.95  # arm swing, radians per metre of foot separation
    elbow: float = 0.12  # additional elbow flexion while moving, radians
    twist: float = 0.26  # pelvis yaw, radians per metre
    lean: float = 0.03  # radians
    width: float = 0.8  # distance between the feet, as a share of the stand's


def footsteps(d: Director, n: int, gait: Gait) -> tuple[list[tuple[int, int, int]], int]:
    """(side, lift frame, landing frame) of every step that fits into n frames,
    and the frame of the last landing."""
    first = d.pause()
    side = int(d.rng.integers(2))  # the foot that starts
    steps = []
    # the last three frames are left for standing still
    while first + len(steps) * gait.step + gait.swing <= n - 3:
        lift = first + len(steps) * gait.step
        steps.append(((side + len(steps)) % 2, lift, lift + gait.swing))
    return steps, steps[-1][2]


def walk(d: Director, track: Track, steps: list[tuple[int, int, int]], gait: Gait) -> Track:
    """Put feet under a pelvis whose `root` and `yaw` are given:
    stances are planted, swings fly between them.

    A foot is planted beside the place of the pelvis in the middle of the stance; the first and the
    last stances are under the standing body. The distance of the feet drives arms and pelvis.
    Changes `track` and returns it.
    """
    n = len(track)
    path = track.root.copy()  # (n, 2): where the pelvis goes before it sways
    beat = _beat(n, steps, gait)

    # 1) feet
    for side in (0, 1):
        swings = [(lift, land) for s, lift, land in steps if s == side]
        spots = _stances(track, side, swings, path, d.style.stance * gait.width)
        track.toes[:, side, [0, 2]] = spots[0, :2]
        track.foot_yaw[:, side] = spots[0, 2]
        for index, (lift, land) in enumerate(swings):
            _swing(track, side, lift, land, spots[index], spots[index + 1], gait, d.style.sway)

    # 2) arms and trunk follow the feet: each arm swings with the opposite leg, and the shoulders against the pelvis
    apart = track.toes[:, 1] - track.toes[:, 0]  # (n, 3) from the left foot to the right one
    ahead = (apart[:, [0, 2]] * heading(track.yaw)).sum(-1)  # (n,) metres the right foot is ahead,
    ahead = smooth(ahead - ahead[0], 1.2)  # more than in the stand
    amount = np.clip(ahead, -0.75, 0.75) * gait.arms * d.size * d.style.swing
    for side in (0, 1):
        swing = amount * (1 - 2 * side)
        swing_arm(d, track, side, gait.elbow * beat + 0.35 * np.maximum(swing, 0.0), 0.85 * swing, beat, gait)
    track.pelvis[:, 1] += gait.twist * ahead
    track.spine[:, 1] -= 1.8 * gait.twist * ahead
    track.head[:, 1] += 0.7 * gait.twist * ahead  # the head looks where it goes
    track.pelvis[:, 0] += 0.5 * gait.lean * beat
    track.spine[:, 0] += gait.lean * beat
    for side, lift, land in steps:  # the hip of the leg in the air drops, and the trunk leans over the other one
        drop = (2 * side - 1) * gait.roll * d.style.sway * _hump(n, lift, land)
        track.pelvis[:, 2] += drop
        track.spine[:, 2] -= 1.4 * drop
        track.head[:, 2] += 0.5 * drop

    # 3) the pelvis bobs once per step. In mid-swing the standing leg of a walk is straight, so the pelvis is highest;
    #    the standing leg of a run is bent to push, so the pelvis is lowest.
    middle = steps[0][1] + 0.5 * gait.swing
    sign, bounce = (1.0, d.style.bounce) if gait.swing <= gait.step * 1.02 else (-1.0, min(d.style.bounce, 1.3))
    bounce = min(bounce, MOST_BOB / (gait.bob * (2 * np.pi * FPS / gait.step) ** 2))
    phase = 2 * np.pi * (np.arange(n) - middle) / gait.step
    track.lift += beat * gait.bob * bounce * (sign * np.cos(phase) - 1.0)
    nod = 0.6 * beat * gait.bob * bounce * np.sin(phase)  # the trunk follows each step, the head evens it out
    track.spine[:, 0] += 2.0 * nod
    track.head[:, 0] -= 1.5 * nod
    return track


def swing_arm(d: Director, track: Track, side: int, bent, swing, beat: np.ndarray, gait: Gait) -> None:
    """Move an arm away from how it hangs: bent more at the elbow, swung forward; radians, each (n,)."""
    s = d.style
    pumping = 0.12 * beat * (gait.elbow > 0.5)  # the elbows of a runner stay behind the body
    moved = hanging(s.abduction, s.elbow + bent, swing - pumping)
    track.arms[:, side] += moved - hanging(s.abduction, s.elbow)


def _hump(n: int, lift: int, land: int) -> np.ndarray:
    """(n,) 0 but between two frames, 1 half-way."""
    return np.sin(np.pi * np.clip((np.arange(n) - lift) / (land - lift), 0.0, 1.0)) ** 2


def _beat(n: int, steps: list[tuple[int, int, int]], gait: Gait) -> np.ndarray:
    """(n,) 0 while standing, 1 while walking: up over the first step, down over the last one."""
    t = np.arange(n)
    return ease((t - steps[0][1]) / gait.step) - ease((t - steps[-1][2] + gait.step) / gait.step)


def _stances(track: Track, side: int, swings: list[tuple[int, int]], path: np.ndarray, half: float) -> np.ndarray:
    """Where a foot stands before each of its swings and after the last:
    (stances, 3) toe x, toe z, foot yaw.

    `path` (n, 2) is the way of the pelvis, `half` half the distance of the toes while walking. The
    first and the last stance are those of the stand, under the body of the first and the last frame.
    """
    n = len(track)
    stand = track.toes[0, side, 0], track.toes[0, side, 2]  # metres to the left of the pelvis, and ahead of it
    walking = (1 - 2 * side) * half, TOE_AHEAD
    spots = []
    for index in range(len(swings) + 1):
        # the frame whose pelvis decides: the middle of the stance, but the very first and last frame at the ends
        out, ahead = walking
        if index == 0:
            at, (out, ahead) = 0, stand
        elif index == len(swings):
            at, (out, ahead) = n - 1, stand
        else:
            at = (swings[index - 1][1] + swings[index][0]) / 2
        root = np.array([np.interp(at, np.arange(n), axis) for axis in path.T])
        yaw = np.interp(at, np.arange(n), track.yaw)
        spot = root + out * sideways(yaw) + ahead * heading(yaw)
        spots.append((*spot, yaw + track.foot_yaw[0, side]))
    return np.array(spots)


def _swing(
    track: Track, side: int, lift: int, land: int, start: np.ndarray, goal: np.ndarray, gait: Gait, sway: float
) -> None:
    """Fly a foot from one stance to the next, `start` and `goal` being rows of `_stances`;
    it then stays there. `sway` is the style's."""
    n = len(track)
    track.toes[land:, side, [0, 2]] = goal[:2]
    track.foot_yaw[land:, side] = goal[2]
    t = np.arange(lift, land + 1)  # the frames of the swing
    s = (t - lift) / (land - lift)  # their progress, 0..1
    way, arc, airborne = flight(n, lift, land)
    way = way[t, None]
    spot = (1 - way) * start + way * goal
    track.toes[t, side, 0], track.toes[t, side, 2], track.foot_yaw[t, side] = spot.T
    stride = np.linalg.norm(goal[:2] - start[:2])
    high = gait.clearance * (0.75 + 0.25 * min(stride / 0.6, 1.0))  # short steps are lower
    track.toes[t, side, 1] = high * arc[t] * (1.15 - 0.3 * s)  # highest early in the swing
    track.planted[airborne, side] = False

    # the foot rolls: the heel comes up in the last frames of the stance, and the toes before landing; the longer the
    # step, the more, and a step on the spot gets a fixed share
    forward = float((goal[:2] - start[:2]) @ heading(start[2]))
    share = abs(np.clip(forward / 0.9, -0.25, 1.0)) if abs(forward) > 0.02 else 0.3
    early = max(2, round(0.45 * gait.step))
    frames = [lift - early, lift, lift + 0.3 * (land - lift), lift + 0.8 * (land - lift), land + 1]
    pitch = [0.0, 0.6 * gait.heel * share, gait.heel * share, -gait.toe * share, 0.0]
    window = np.arange(max(0, lift - early), min(n, land + 2))
    curve = through(land + 2 - (lift - early), np.array(frames) - (lift - early), pitch)
    track.foot_pitch[window, side] = curve[window - (lift - early)]

    # the pelvis sways over the other foot, which stands
    way = (1 - 2 * side) * gait.sway * sway * np.sin(np.pi * s)[:, None] ** 2
    track.root[t] -= way * sideways(track.yaw[t])


def travel(d: Director, seconds: tuple[float, float], gait: Gait, speed: float) -> tuple[Track, list, np.ndarray]:
    """A standing track (n frames), its footsteps, and the metres gone by every frame (n,).

    The speed (m/s) rises over the first steps, is steady, and falls over the last ones. `seconds`
    is the range that the duration is drawn from.
    """
    n = d.span(seconds)
    speed = min(speed, FASTEST_GAIT * gait.swing / gait.step)
    track = d.stand(n)
    steps, end = footsteps(d, n, gait)
    begin = steps[0][1]
    ramp = max(2.0, min(1.6 * gait.step, 0.45 * (end - begin)))  # frames; the two ramps may not overlap
    t = np.arange(n)
    # the share of the speed, (n,) 0..1; its running sum is the distance
    pace = ease((t - begin) / ramp) - ease((t - end + ramp) / ramp)
    return track, steps, np.cumsum(pace) * speed / FPS


def straight(d: Director, seconds: tuple[float, float], gait: Gait, speed: float) -> Track:
    """A walk straight ahead; the arguments are those of `travel`."""
    track, steps, gone = travel(d, seconds, gait, speed)
    track.root[:, 1] = gone
    return walk(d, track, steps, gait)


def walk_forward(d: Director) -> Track:
    gait = Gait(step=d.frames(0.52), swing=d.frames(0.42))
    return straight(d, (3.6, 8.5), gait, 1.2 * d.size / d.rate)


def walk_backward(d: Director) -> Track:
    gait = Gait(step=d.frames(0.55), swing=d.frames(0.45), heel=0.3, toe=-0.1, arms=0.8, lean=-0.01)
    track, steps, gone = travel(d, (3.2, 7.5), gait, 0.75 * d.size / d.rate)
    track.root[:, 1] = -gone
    return walk(d, track, steps, gait)


def walk_circle(d: Director, side: str) -> Track:
    turn = 1 - 2 * d.side(side)
    gait = Gait(step=d.frames(0.52), swing=d.frames(0.42))
    track, steps, gone = travel(d, (6.0, 9.6), gait, 1.05 * d.size / d.rate)
    # about one full turn, but no circle of a radius below 0.55 m
    angle = turn * gone / gone[-1] * min(2 * np.pi * d.uniform(0.92, 1.04), gone[-1] / 0.55)  # (n,) radians
    radius = gone[-1] / abs(angle[-1])
    track.root[:, 0] = turn * radius * (1 - np.cos(angle))
    track.root[:, 1] = radius * np.sin(np.abs(angle))
    n = len(track)
    begin, end = steps[0][1], steps[-1][2]
    # the body turns into the circle already before the first step, the head most
    into = turn * pulse(n, max(begin - 6, 0), 9, end - begin - 9, 9)
    track.yaw[:] = angle + 0.12 * into
    track.pelvis[:, 1] += 0.08 * into
    track.spine[:, 1] += 0.16 * into
    track.head[:, 1] += 0.3 * into
    track.spine[:, 2] -= 0.05 * turn * np.gradient(gone) * FPS  # leans into the circle, the faster the more
    return walk(d, track, steps, gait)


def walk_sideways(d: Director, side: str) -> Track:
    turn = 1 - 2 * d.side(side)
    gait = Gait(
        step=d.frames(0.46), swing=d.frames(0.4), clearance=0.09, heel=0.15, toe=0.0, sway=0.015, bob=0.01, width=1.35
    )
    track, steps, gone = travel(d, (3.6, 6.5), gait, 0.46 * d.size / d.rate)
    if steps[0][0] != SIDES.index(side):  # the foot on that side goes first, or the legs would cross
        steps = [(1 - s, lift, land) for s, lift, land in steps]
    track.root[:, 0] = turn * gone
    return walk(d, track, steps, gait)


def run(d: Director) -> Track:
    step = max(5, d.frames(0.34))
    # a swing longer than a step: for two frames both feet are in the air
    gait = Gait(step, swing=step + 2, clearance=0.2, heel=1.0, toe=0.1, bob=0.03, arms=0.8, elbow=1.15, lean=0.16)
    gait = replace(gait, roll=0.03, twist=0.18, sway=0.02)
    return straight(d, (2.6, 5.0), gait, min(2.5 * d.size / d.rate, 3.6))


def _in_place(d: Director, gait: Gait, knee: float, elbow_swing: float, seconds: tuple[float, float]) -> Track:
    """Steps on the spot. No foot is ahead of the other to drive the arms,
    so the height of the lifted foot does.

    `knee` is how far in metres the lifted foot goes ahead, `elbow_swing` the arm swing in radians.
    """
    track = d.stand(d.span(seconds))
    steps, _ = footsteps(d, len(track), gait)
    track = walk(d, track, steps, gait)
    # a lifted foot goes a little ahead in a march, a little back in a jog
    for side, lift, land in steps:
        t = np.arange(lift, land + 1)
        up = np.sin(np.pi * (t - lift) / (land - lift)) ** 2
        track.toes[t, side, 2] += knee * up**2
    high = smooth(track.toes[:, :, 1], 1.2) / gait.clearance  # (n, 2), about 1 at the top
    apart = high[:, 0] - high[:, 1]
    beat = _beat(len(track), steps, gait)
    track.arms[:] = track.arms[0]  # instead of the swing of `walk`
    for side in (0, 1):
        swing = elbow_swing * d.size * d.style.swing * apart * (2 * side - 1)
        swing_arm(d, track, side, gait.elbow * beat, swing, 0 * beat, gait)
    track.pelvis[:, 1] -= 0.06 * apart
    track.spine[:, 1] += 0.16 * apart
    return track


def jog_in_place(d: Director) -> Track:
    step = max(5, d.frames(0.34))
    gait = Gait(
        step,
        swing=step,
        clearance=0.16 * d.size,
        heel=1.6,
        toe=0.0,
        bob=0.025,
        elbow=1.15,
        lean=0.06,
        sway=0.01,
        roll=0.03,
    )
    return _in_place(d, gait, -0.06, 0.5, (2.6, 6.0))


def march_in_place(d: Director) -> Track:
    gait = Gait(d.frames(0.5), d.frames(0.46), clearance=0.34 * d.size, heel=0.6, toe=0.0, bob=0.006, elbow=0.35)
    return _in_place(d, gait, 0.16, 0.65, (3.0, 6.5))


def march_forward(d: Director) -> Track:
    """A walk with high knees, straight trunk and bent arms that swing far."""
    high = min(0.32 * d.size, 0.35)  # metres; a knee that goes any higher goes too fast
    gait = Gait(d.frames(0.58), d.frames(0.53), clearance=high, heel=0.6, toe=0.0, elbow=0.5, arms=1.6)
    gait = replace(gait, lean=-0.04, bob=0.012)
    track, steps, gone = travel(d, (3.4, 7.5), gait, 0.9 * min(d.size, 1.2) / d.rate)
    track.root[:, 1] = gone
    track = walk(d, track, steps, gait)
    for side, lift, land in steps:  # the thigh comes up to the front before the foot goes down
        track.toes[:, side, 2] += 0.08 * _hump(len(track), lift, land) ** 2
    return track


def tiptoe(d: Director) -> Track:
    """A walk on the toes in short steps, the arms a little away from the body for balance."""
    gait = Gait(d.frames(0.46), d.frames(0.38), clearance=0.1, heel=0.2, toe=0.0, arms=0.3, lean=0.0, width=0.6)
    track = straight(d, (3.4, 7.0), gait, 0.62 * d.size / d.rate)
    n = len(track)
    w = pulse(n, 1, 9, n - 20, 9)
    track.foot_pitch += 0.75 * w[:, None]
    track.lift += 0.07 * w
    track.head[:, 0] += 0.1 * w
    for side in (0, 1):
        track.blend("arms", 0.8 * w, reach((0.3, -0.3, 0.12), (0.4, -1.0, -0.5)), side)
    return track


def sneak(d: Director) -> Track:
    """A slow walk with bent knees and bent trunk, high careful steps, the hands raised, the head looking about."""
    gait = Gait(d.frames(0.78), d.frames(0.62), clearance=0.2, heel=0.4, toe=0.1, arms=0.25, lean=0.0, bob=0.03)
    track, steps, gone = travel(d, (4.0, 8.0), gait, 0.5 * d.size / d.rate)
    track.root[:, 1] = gone
    track = walk(d, track, steps, gait)
    n = len(track)
    w = pulse(n, 0, 12, n - 25, 12)
    track.lift -= 0.2 * w
    track.root += -0.08 * w[:, None] * heading(track.yaw)
    track.pelvis[:, 0] += 0.4 * w
    track.spine[:, 0] += 0.4 * w
    t = np.arange(n)
    look = np.tanh(2 * np.sin(2 * np.pi * (t - steps[0][1]) / (4 * gait.step)))
    track.head[:, 0] -= 0.55 * w
    track.head[:, 1] += 0.45 * w * look
    track.spine[:, 1] += 0.15 * w * look
    for side in (0, 1):
        beat = 0.05 * np.sin(2 * np.pi * (t - steps[0][1]) / (2 * gait.step) + np.pi * side)
        hand = np.stack([np.full(n, -0.02), beat - 0.06, beat + 0.3], axis=-1)
        track.blend("arms", w, reach(hand, (0.9, -0.6, -0.3)), side)
    return track


def turn(d: Director, side: str | None, degrees: int | None = None) -> Track:
    """Turn on the spot by about `degrees`, the director's if none are given, in small steps;
    without a side, either way."""
    way = 1 - 2 * d.side(side)
    if degrees is None:
        degrees = d.degrees
        if degrees != 90:
            d.facts["degrees"] = degrees
    angle = np.radians(degrees * d.uniform(0.93, 1.07))
    brisk = 0.34 if degrees == 360 else 0.4  # seconds a step
    gait = Gait(d.frames(brisk), d.frames(0.9 * brisk), clearance=0.09, heel=0.2, toe=0.0, sway=0.018, bob=0.008)
    # an even number of steps: each foot turns as far
    count = 2 * max(1, round(degrees / (75 if degrees == 360 else 60) + (0.6 if degrees < 360 else 0)))
    n = 9 + (count - 1) * gait.step + gait.swing
    track = d.stand(max(n, 40))
    steps, end = footsteps(d, n, gait)
    s = (np.arange(len(track)) - steps[0][1]) / (end - steps[0][1])
    track.yaw[:] = way * angle * ease(s)
    # the head turns first and waits for the body; the arms swing out with the trunk and come after it
    w = pulse(len(track), steps[0][1] - 4, 7, 2, 0.6 * (end - steps[0][1]))
    track.head[:, 1] += way * 0.4 * w
    track.spine[:, 1] += way * 0.18 * w
    out = pulse(len(track), steps[0][1], 0.4 * (end - steps[0][1]), 0, 0.6 * (end - steps[0][1]))
    walk(d, track, steps, gait)
    for arm in (0, 1):
        swing = 0.25 * way * (2 * arm - 1)  # the outer arm goes ahead
        wide = hanging(d.style.abduction + 0.25, d.style.elbow, swing) - hanging(d.style.abduction, d.style.elbow)
        track.arms[:, arm] += out[:, None] * wide
    return track
