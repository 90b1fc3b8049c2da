"""Jumps, hops and jumping jacks: crouch, take-off, ballistic flight, landing.
From a `Director` to a `Track`.

The only physics of the dataset is in `jumps`: in the air, pelvis and feet follow a parabola.
"""

import numpy as np

from motiongpt.procedural.kinematics import Track, arm_pose, ease, flight, pulse, reach, through
from motiongpt.procedural.performer import FPS, Director, hanging

GRAVITY = 9.81  # m/s^2
UPTURN = 45.0  # m/s^2, the sharpest change from sinking to rising at the bottom of a crouch


def jumps(
    d: Director, count: int, height: float, crouch: float, distance: float = 0.0, foot: int | None = None
) -> Track:
    """`count` jumps: crouch, take-off, free flight, landing.
    With a `foot`, hops on it, the other one held up.

    `height` is how far the feet rise, `crouch` how far the pelvis sinks, `distance` the way ahead;
    metres per jump.
    """
    # 1) timing: a flight of T seconds rises g T^2 / 8; whole frames for T decide the height that is really reached
    air = max(4, round(FPS * np.sqrt(8 * height / GRAVITY)))
    height = GRAVITY * (air / FPS) ** 2 / 8
    down = d.frames(0.34)
    push = d.frames(0.2)
    absorb = d.frames(0.26)
    ready = d.frames(0.5) if foot is not None else 0  # to lift the other foot
    cycle = down + push + air + absorb
    begin = d.pause() + ready
    n = max(40, begin + count * cycle + d.frames(0.45) + ready + d.pause())
    track = d.stand(n)
    tip = 0.5  # radians the heels are up in the air
    rise = 0.05  # metres the pelvis is above the stand at take-off, on tiptoe
    speed = 4 * height / air  # metres per frame at take-off and landing
    # Before and after the lowest point the mean acceleration grows with the depth: few frames allow no deep crouch.
    most = (UPTURN / FPS**2 + speed / push - 3 * rise / push**2) / (3 / down**2 + 3 / push**2)
    crouch = min(crouch, most)

    # 2) the jumps one by one; keys of the pelvis height (frame, metres, metres per frame) are collected on the way
    frames = [begin]
    lifts = [0.0]
    slopes = [np.nan]
    heel = np.zeros(n)
    feet = (0, 1) if foot is None else (foot,)
    for index in range(count):
        start = begin + index * cycle
        off = start + down + push  # the last frame on the floor
        land = off + air  # the first frame back on it
        frames += [start + down, off, land, land + absorb]
        lifts += [-crouch, rise, rise, -0.75 * crouch]
        slopes += [np.nan, speed, -speed, np.nan]
        t = np.arange(off, land + 1)
        s = (t - off) / air  # progress of the flight; 4 s (1 - s) is its parabola
        for side in feet:
            track.toes[t, side, 1] = height * 4 * s * (1 - s)
            track.toes[t, side, 2] += distance * ease(s)
            track.toes[land + 1 :, side, 2] += distance
            track.planted[off + 1 : land, side] = False
        track.root[:, 1] += distance * ease((np.arange(n) - off + 4) / (air + 9))
        heel += tip * pulse(n, off - 4, 4, air - 4, 5)
        for side in (0, 1):  # arms back in the crouch, forward in the air
            back = pulse(n, start, 0.8 * down, 0, push)
            track.blend("arms", back, hanging(d.style.abduction + 0.05, 0.3, -0.7 * d.size), side)
            track.blend("arms", pulse(n, start + down - 2, push + 5, air - 5, absorb), reach((0.1, 0.02, 0.4)), side)
        bend = pulse(n, start, down, 0, push) + pulse(n, land - 2, absorb, 0, 0.5 * FPS)
        track.spine[:, 0] += 0.9 * crouch * bend
        track.pelvis[:, 0] += 0.9 * crouch * bend
        track.root[:, 1] -= 0.2 * crouch * bend

    # 3) the pelvis: a smooth curve through the keys, and the parabola itself while in the air
    frames.append(frames[-1] + d.frames(0.45))
    lifts.append(0.0)
    slopes.append(np.nan)
    track.lift += through(n, frames, lifts, np.array(slopes))
    for index in range(count):
        off = begin + index * cycle + down + push
        t = np.arange(off, off + air + 1)
        s = (t - off) / air
        track.lift[t] = rise + height * 4 * s * (1 - s)
    for side in feet:
        track.foot_pitch[:, side] += heel

    # 4) a hop: the other foot is up behind for the whole time, the pelvis over the hopping one
    if foot is not None:
        other = 1 - foot
        up = pulse(n, begin - ready, ready, n - begin - 2 * ready - 8, ready)
        track.toes[:, other, 1] += 0.2 * up + (track.toes[:, foot, 1]) * (up > 0)
        track.toes[:, other, 2] -= 0.22 * ease(1.3 * up - 0.3)
        track.foot_pitch[:, other] += 0.9 * up
        track.planted[up > 0, other] = False
        track.root[:, 0] += 0.7 * track.toes[0, foot, 0] * up
        for side in (0, 1):
            track.blend("arms", 0.5 * up, reach((0.25, -0.25, 0.1)), side)
    return track


def jump(d: Director) -> Track:
    cycle = d.frames(0.8) + 9
    return jumps(d, d.count((1, 1, 1, 2, 3, 4), cycle, 30), d.uniform(0.22, 0.25) * d.size**1.4, 0.26 * d.size)


def jump_forward(d: Director) -> Track:
    cycle = d.frames(0.8) + 9
    count = d.count((1, 1, 2, 3), cycle, 30)
    return jumps(d, count, d.uniform(0.16, 0.22) * d.size, 0.28 * d.size, d.uniform(0.4, 0.5) * d.size)


def hop(d: Director, side: str) -> Track:
    cycle = d.frames(0.8) + 6
    foot = d.side(side)
    return jumps(d, d.count((2, 3, 4, 5), cycle, 42), 0.075 * d.size, 0.09, 0.0, foot)


def jumping_jacks(d: Director) -> Track:
    out, hold = max(6, d.frames(0.36)), max(3, d.frames(0.15))
    cycle, before = 2 * (out + hold), d.pause()
    count = d.count((2, 3, 4, 5), cycle, before + 5)
    n = max(40, before + count * cycle + 5)
    track = d.stand(n)
    stand = track.arms[0].copy()
    for index in range(count):
        for half in (0, 1):  # apart, together
            start = before + index * cycle + half * (out + hold)
            way, arc, airborne = flight(n, start, start + out)
            # out in the first half, and the same way back in the second
            wide = way * (1 - 2 * half)
            for side in (0, 1):
                track.toes[:, side, 0] += 0.24 * d.size * wide * (1 - 2 * side)
                track.toes[:, side, 1] += 0.08 * arc
                track.planted[airborne, side] = False
            track.lift += 0.05 * arc**3 - 0.03 * wide
            s = (np.arange(n) - start) / out
            for side in (0, 1):  # each half moves the arms on from where the half before left them
                high = stand[side] if half else arm_pose((0.45, 0.9, 0.05), (0.1, 1.0, 0.1))
                track.arms[:, side] += ease(s)[:, None] * (high - track.arms[:, side])
    return track
