"""Actions of the arms and the head; the feet stay where they are.
Each goes from a `Director` to a `Track`.

A side is 0 for left and 1 for right, so `2 * arm - 1` is the sign of a yaw that takes that arm's
shoulder forward (turning left, positive, brings the right shoulder forward) and `1 - 2 * arm` the
sign of one towards that arm.
"""

import numpy as np

from motiongpt.procedural.kinematics import Track, arm_pose, ease, pulse, reach, through
from motiongpt.procedural.performer import Director, repeated


def wave(d: Director, side: str) -> Track:
    arm = d.side(side)
    up = d.frames(0.6)
    period = max(6, d.frames(0.42))
    down = d.frames(0.6)
    before, after = d.pause(), d.pause()
    most = (d.limit() - before - after - up - down) // period
    # three to eight waves, no more than there is time for
    cycles = int(d.rng.integers(3, max(4, min(most, 8) + 1)))
    n = before + up + cycles * period + down + after
    track = d.stand(max(40, n))
    n = len(track)
    t = np.arange(n)
    w = pulse(n, before, up, cycles * period, down)
    # the forearm swings about the raised elbow, a full wave per period
    swing = 0.5 * d.size**1.5 * np.sin(2 * np.pi * (t - before - up) / period)
    lift = d.uniform(-0.1, 0.2) + 0.8 * (d.size - 1)  # a large wave is a high one
    upper = np.stack([np.full(n, 0.85), np.full(n, lift), np.full(n, 0.45)], axis=-1)  # (n, 3) out, up, forward
    fore = np.stack([0.15 + np.sin(swing), np.cos(swing), np.full(n, 0.25)], axis=-1)  # (n, 3)
    track.blend("arms", w, arm_pose(upper, fore), arm)
    track.head[:, 1] += (1 - 2 * arm) * 0.12 * w
    track.spine[:, 2] += (2 * arm - 1) * -0.04 * w
    return track


def punch(d: Director, side: str) -> Track:
    arm = d.side(side)
    guard = d.frames(0.5)
    out = max(4, d.frames(0.2))
    back = d.frames(0.3)
    gap = d.frames(0.15)
    cycle = out + back + gap
    before = d.pause()
    after = d.pause()
    count = d.count((1, 1, 2, 3), cycle, before + after + 2 * guard)
    n = max(40, before + after + 2 * guard + count * cycle)
    track = d.stand(n)
    ready = pulse(n, before, guard, count * cycle, guard)
    # the guard is up all the time, and each hit goes out from it
    hit = sum(pulse(n, before + guard + i * cycle, out, 1, back) for i in range(count))
    for side_index in (0, 1):
        track.blend("arms", ready, reach((-0.05, 0.03, 0.24), (0.5, -1.0, -0.2)), side_index)
    fist = (-0.1, d.uniform(-0.05, 0.1), min(0.24 + 0.27 * d.size, 0.51))  # at most as far as the arm is long
    track.blend("arms", hit, reach(fist, (0.6, -0.8, 0.0)), arm)
    track.spine[:, 1] += (2 * arm - 1) * 0.42 * d.size * hit - (2 * arm - 1) * 0.1 * ready
    track.pelvis[:, 1] += (2 * arm - 1) * 0.14 * d.size * hit
    # the head turns against the trunk, so that it keeps facing the target
    track.head[:, 1] -= (2 * arm - 1) * 0.35 * d.size * hit
    track.lift -= 0.05 * ready
    track.root[:, 1] += 0.05 * d.size**2 * hit
    return track


def raise_arms(d: Director, side: str | None) -> Track:
    arms = (0, 1) if side is None else (d.side(side),)
    track, w = repeated(d, (1, 1, 1, 2), 0.8, d.uniform(0.3, 0.9), 0.8)
    if side is None:
        track.spine[:, 0] -= 0.08 * w
    for arm in arms:
        track.blend("arms", w, arm_pose((0.2, 1.0, 0.12), (0.05, 1.0, 0.1)), arm)
    return track


def clap(d: Director) -> Track:
    up = d.frames(0.5)
    period = max(6, d.frames(0.4))
    down = d.frames(0.55)
    before, after = d.pause(), d.pause()
    count = d.count((2, 3, 4, 5, 6), period, before + after + up + down)
    n = max(40, before + up + count * period + down + after)
    track = d.stand(n)
    w = pulse(n, before, up, count * period, down)
    phase = np.clip((np.arange(n) - before - up) / period, 0, count)  # claps so far
    apart = 0.5 + 0.5 * np.cos(2 * np.pi * phase)  # (n,) 1 apart, 0 together: `count` times together
    high = d.uniform(-0.16, -0.02)
    for side in (0, 1):
        hand = np.stack([-0.185 + 0.2 * d.size * apart, np.full(n, high), np.full(n, 0.33)], axis=-1)
        track.blend("arms", w, reach(hand, (0.8, -0.9, -0.1)), side)
    track.head[:, 0] += 0.08 * w
    return track


def stretch(d: Director) -> Track:
    up = d.frames(1.0)
    hold = d.frames(d.uniform(0.6, 1.6))
    down = d.frames(0.9)
    before = d.pause()
    n = before + up + hold + down + d.pause() + 4
    track = d.stand(n)
    w = pulse(n, before, up, hold, down)
    tall = pulse(n, before + 0.4 * up, 0.7 * up, hold - 0.1 * up, 0.6 * down)
    for side in (0, 1):
        track.blend("arms", w, arm_pose((0.1, 1.0, -0.02), (-0.22, 1.0, 0.0)), side)
    track.spine[:, 0] -= 0.22 * w
    track.head[:, 0] -= 0.2 * w
    track.foot_pitch += 0.5 * tall[:, None]  # on tiptoe, later than the arms
    track.lift += 0.05 * tall
    return track


def throw(d: Director, side: str) -> Track:
    arm = d.side(side)
    load = d.frames(0.6)
    fling = max(4, d.frames(0.24))
    follow = d.frames(0.22)
    back = d.frames(0.6)
    cycle = load + fling + follow + back
    before = d.pause()
    after = d.pause()
    count = d.count((1, 1, 1, 2), cycle + 4, before + after)
    n = max(40, before + after + count * (cycle + 4))
    track = d.stand(n)
    away = 2 * arm - 1  # yaw sign that takes this shoulder forward
    size = min(d.size, 0.355 * fling)  # any wider in four frames and the hand would be faster than 11 m/s
    rest = track.arms[0, arm].copy()
    poses = [
        rest,
        arm_pose((0.9, 0.25, -0.25), (0.25, 1.0, -0.15)),  # cocked: elbow out, hand up behind
        arm_pose((0.35, 0.45, 0.8), (-0.05, 0.35, 1.0)),  # released: hand ahead
        arm_pose((-0.1, -0.45, 0.85), (-0.45, -0.6, 0.65)),  # followed through: across the body
        rest,
    ]
    for index in range(count):
        start = before + index * (cycle + 4)
        keys = np.cumsum([start, load, fling, follow, back])  # the frame of each pose
        track.arms[:, arm] += through(n, keys, poses) - rest
        twist = through(n, keys, [0.0, -0.6, 0.25, 0.45, 0.0]) * away * size
        track.spine[:, 1] += 0.8 * twist
        track.pelvis[:, 1] += 0.3 * twist
        # the head stays on the target while the trunk turns under it
        track.head[:, 1] -= 0.7 * twist
        track.spine[:, 0] += size * through(n, keys, [0.0, -0.12, 0.15, 0.32, 0.0])
        track.root[:, 1] += size * through(n, keys, [0.0, -0.06, 0.04, 0.08, 0.0])
        track.lift -= through(n, keys, [0.0, 0.05, 0.02, 0.05, 0.0])
        w = pulse(n, start, load, fling, follow + back)
        track.blend("arms", w, reach((0.1, -0.05, 0.42)), 1 - arm)  # the other arm points ahead, for balance
    return track


def point(d: Director, side: str) -> Track:
    arm = d.side(side)
    track, w = repeated(d, (1,), 0.6, d.uniform(0.7, 1.8), 0.7)
    del d.facts["count"]  # nobody says that somebody points once
    track.blend("arms", w, arm_pose((-0.05, d.uniform(-0.1, 0.12), 1.0), (-0.1, 0.02, 1.0)), arm)
    track.spine[:, 1] += (2 * arm - 1) * 0.15 * w
    track.head[:, 1] -= (2 * arm - 1) * 0.12 * w
    return track


def hands_on_hips(d: Director) -> Track:
    track, w = repeated(d, (1,), 0.7, d.uniform(0.9, 2.4), 0.7)
    del d.facts["count"]  # nor that the hands are there once
    for side in (0, 1):
        track.blend("arms", w, reach((-0.03, -0.4, 0.07), (1.0, 0.1, -0.45)), side)
    return track


def nod(d: Director) -> Track:
    track, w = repeated(d, (2, 3, 4), 0.26, 0.02, 0.26, 0.04)
    track.head[:, 0] += 0.5 * d.size * w
    track.spine[:, 0] += 0.06 * w
    return track


def shake_head(d: Director) -> Track:
    before, period = d.pause() + 2, max(8, d.frames(0.62))
    count = d.count((2, 3, 4), period, before + 14)
    n = max(40, before + count * period + d.pause() + 4)
    track = d.stand(n)
    t = np.clip((np.arange(n) - before) / period, 0, count)  # shakes so far
    edge = ease(2 * t) * ease(2 * (count - t))
    track.head[:, 1] += 0.65 * d.size * np.sin(2 * np.pi * t) * edge
    return track
