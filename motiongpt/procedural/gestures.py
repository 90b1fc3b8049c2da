"""Actions of the arms and the head, and how the body takes part in them; the feet stay where they are.
Each goes from a `Director` to a `Track`.

Nobody moves only an arm: the weight goes over one foot, the shoulder comes up, trunk and head turn.
So every gesture moves the whole body a little.

A side is 0 for left and 1 for right, so `2 * arm - 1` is the sign of a yaw that takes that arm's
shoulder forward (turning left, positive, brings the right shoulder forward) and `1 - 2 * arm` the
sign of one towards that arm.
"""

import numpy as np

from motiongpt.procedural.kinematics import Track, arm_pose, ease, flight, pulse, reach, through
from motiongpt.procedural.performer import Director, repeated, shift

WIDEST_WAVE = 1.15  # radians the forearm leans to either side


def _wave(d: Director, arms: tuple[int, ...]) -> Track:
    up = d.frames(0.55)
    period = max(7, d.frames(0.46))
    down = d.frames(0.6)
    before, after = d.pause(), d.pause()
    # three to eight waves, no more than there is time for
    cycles = d.cycles(3, 8, (d.limit() - before - after - up - down) // period)
    track = d.stand(max(40, before + up + cycles * period + down + after))
    n = len(track)
    w = pulse(n, before, up, cycles * period, down)
    # the forearm swings about the raised elbow, a full wave per period, and the elbow follows a little later
    phase = 2 * np.pi * (np.arange(n) - before - up) / period
    wide = min(0.72 * d.size**1.5, WIDEST_WAVE)
    swing = wide * np.sin(phase)
    lift = d.uniform(-0.1, 0.2) + 0.8 * (d.size - 1)  # a large wave is a high one
    upper = np.stack([0.85 + 0 * phase, lift - 0.22 * wide * np.sin(phase - 0.6), 0.45 + 0 * phase], axis=-1)
    fore = np.stack([0.15 + np.sin(swing), np.cos(swing), np.full(n, 0.25)], axis=-1)  # (n, 3) out, up, forward
    for arm in arms:
        track.blend("arms", w, arm_pose(upper, fore), arm)
        track.shoulders[:, arm] += 0.2 * w
    lean = 0.0 if len(arms) == 2 else 1 - 2 * arms[0]
    track.head[:, 1] += lean * 0.15 * w
    track.head[:, 2] -= 0.1 * w * np.sin(phase / 2) if lean else 0.0
    track.spine[:, 2] += lean * (0.07 * w + 0.05 * w * np.sin(phase - 0.8))
    track.spine[:, 1] += lean * 0.12 * w
    shift(track, 1 - arms[0], w if lean else 0.6 * w * np.sin(phase / 2))
    return track


def wave(d: Director, side: str) -> Track:
    return _wave(d, (d.side(side),))


def wave_both(d: Director) -> Track:
    return _wave(d, (0, 1))


def punch(d: Director, side: str) -> Track:
    arm = d.side(side)
    guard = d.frames(0.45)
    out = max(4, d.frames(0.2))
    back = d.frames(0.3)
    gap = d.frames(0.15)
    cycle = out + back + gap
    before = d.pause()
    after = d.pause()
    count = d.count((1, 1, 2, 3, 4, 5), cycle, before + after + 2 * guard)
    n = max(40, before + after + 2 * guard + count * cycle)
    track = d.stand(n)
    ready = pulse(n, before, guard, count * cycle, guard)
    # the guard is up all the time, and each hit goes out from it
    hits = [pulse(n, before + guard + i * cycle, out, 1, back) for i in range(count)]
    _guard(d, track, ready)
    _hit(d, track, arm, sum(hits), d.uniform(-0.05, 0.1))
    track.spine[:, 1] -= (2 * arm - 1) * 0.14 * ready  # wound up
    shift(track, arm, 0.5 * ready)
    return track


def _guard(d: Director, track: Track, w: np.ndarray) -> None:
    """Both fists in front of the chin, knees bent."""
    for side in (0, 1):
        track.blend("arms", w, reach((-0.09, 0.05, 0.23), (0.5, -1.0, -0.2)), side)
    track.shoulders += 0.2 * w[:, None]
    track.lift -= 0.05 * w
    track.spine[:, 0] += 0.08 * w
    track.head[:, 0] += 0.1 * w


def _hit(d: Director, track: Track, arm: int, w: np.ndarray, height: float) -> None:
    """A fist goes out to the front; the trunk turns behind it, the rear heel comes up."""
    away = 2 * arm - 1
    fist = (0.03, height, min(0.24 + 0.27 * d.size, 0.51))  # at most as far as the arm is long
    track.blend("arms", w, reach(fist, (0.6, -0.8, 0.0)), arm)
    track.spine[:, 1] += away * 0.46 * d.size * w
    track.pelvis[:, 1] += away * 0.18 * d.size * w
    # the head turns against the trunk, so that it keeps facing the target
    track.head[:, 1] -= away * 0.45 * d.size * w
    track.root[:, 1] += 0.05 * d.size**2 * w
    track.foot_pitch[:, arm] += 0.35 * w


def boxing(d: Director) -> Track:
    """A boxer's stance, one foot ahead, and quick punches with one hand after the other."""
    lead = int(d.rng.integers(2))
    step = d.frames(0.4)
    out = max(4, d.frames(0.19))
    back = max(4, d.frames(0.24))
    cycle = out + 2 + back
    before, after = d.pause(), d.pause()
    hits = d.cycles(4, 12, (d.limit() - before - after - 2 * step) // cycle)
    track = d.stand(before + 2 * step + hits * cycle + after)
    n = len(track)
    end = before + step + hits * cycle
    ready = pulse(n, before, step, hits * cycle, step)
    for lift, way in ((before, 1), (end, -1)):  # into the stance, and out of it
        go, arc, airborne = flight(n, lift, lift + step)
        track.toes[:, lead, 2] += way * 0.26 * go
        track.toes[:, lead, 1] += 0.07 * arc
        track.planted[airborne, lead] = False
    _guard(d, track, ready)
    track.root[:, 1] += 0.1 * ready
    track.lift -= 0.04 * ready
    # a boxer is never still: up and down in the knees, and from foot to foot
    beat = np.sin(2 * np.pi * (np.arange(n) - before) / cycle)
    track.lift -= 0.012 * ready * (1 + beat)
    shift(track, 0, 0.3 * ready * np.sin(np.pi * (np.arange(n) - before) / cycle))
    for index in range(hits):
        hand = lead if index % 2 == 0 else 1 - lead
        _hit(d, track, hand, pulse(n, before + step + index * cycle, out, 2, back), d.uniform(-0.04, 0.12))
    return track


def raise_arms(d: Director, side: str | None) -> Track:
    arms = (0, 1) if side is None else (d.side(side),)
    track, w = repeated(d, (1, 1, 2, 3), 0.8, (0.3, 0.9), 0.8)
    for arm in arms:
        track.blend("arms", w, arm_pose((0.2, 1.0, 0.12), (0.05, 1.0, 0.1)), arm)
        track.shoulders[:, arm] += 0.35 * w
    if side is None:
        track.spine[:, 0] -= 0.14 * w
        track.head[:, 0] -= 0.18 * w
        track.lift += 0.015 * w
    else:
        track.spine[:, 2] += (1 - 2 * arms[0]) * 0.1 * w
        track.spine[:, 1] += (2 * arms[0] - 1) * 0.08 * w
        track.head[:, 1] += (1 - 2 * arms[0]) * 0.12 * w
        shift(track, 1 - arms[0], w)
    return track


def clap(d: Director) -> Track:
    up = d.frames(0.45)
    period = max(7, d.frames(0.55))
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
        hand = np.stack([-0.185 + 0.24 * d.size * apart, high + 0.06 * apart, 0.34 - 0.03 * apart], axis=-1)
        track.blend("arms", w, reach(hand, (0.8, -0.9, -0.1)), side)
    track.head[:, 0] += 0.08 * w
    # trunk and knees go along with each clap
    track.spine[:, 0] += w * (0.02 - 0.05 * apart)
    track.lift -= 0.016 * w * (1 - apart)
    shift(track, 0, 0.35 * w * np.sin(np.pi * phase))
    return track


def stretch(d: Director) -> Track:
    up = d.frames(1.0)
    hold = d.hold((0.6, 1.6))
    down = d.frames(0.9)
    before = d.pause()
    n = before + up + hold + down + d.pause()
    track = d.stand(n)
    w = pulse(n, before, up, hold, down)
    tall = pulse(n, before + 0.4 * up, 0.7 * up, hold - 0.1 * up, 0.6 * down)
    for side in (0, 1):
        track.blend("arms", w, arm_pose((0.1, 1.0, -0.02), (-0.22, 1.0, 0.0)), side)
    track.shoulders += 0.45 * w[:, None]
    track.spine[:, 0] -= 0.28 * w
    track.head[:, 0] -= 0.3 * w
    # to one side and to the other one while it lasts
    lean = d.rng.choice((-1, 1)) * np.sin(2 * np.pi * np.clip((np.arange(n) - before - up) / max(hold, 1), 0, 1))
    track.spine[:, 2] += 0.12 * w * lean
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
    count = d.count((1, 1, 1, 2, 3), cycle + 4, before + after)
    n = max(40, before + after + count * (cycle + 4))
    track = d.stand(n)
    away = 2 * arm - 1  # yaw sign that takes this shoulder forward
    size = min(d.size, 0.31 * fling)  # any wider in four frames and the hand would be faster than 11 m/s
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
        twist = through(n, keys, [0.0, -0.65, 0.25, 0.45, 0.0]) * away * size
        track.spine[:, 1] += 0.75 * twist
        track.pelvis[:, 1] += 0.35 * twist
        # the head stays on the target while the trunk turns under it
        track.head[:, 1] -= 0.7 * twist
        track.spine[:, 0] += size * through(n, keys, [0.0, -0.12, 0.15, 0.36, 0.0])
        track.root[:, 1] += size * through(n, keys, [0.0, -0.07, 0.06, 0.11, 0.0])
        track.lift -= through(n, keys, [0.0, 0.06, 0.02, 0.06, 0.0])
        track.foot_pitch[:, arm] += through(n, keys, [0.0, 0.0, 0.35, 0.6, 0.0])  # the rear heel comes up
        shift(track, arm, through(n, keys, [0.0, 0.9, -0.2, -0.6, 0.0]))
        w = pulse(n, start, load, fling, follow + back)
        track.blend("arms", w, reach((0.1, -0.05, 0.42)), 1 - arm)  # the other arm points ahead, for balance
    return track


def point(d: Director, side: str) -> Track:
    arm = d.side(side)
    track, w = repeated(d, (1,), 0.6, (0.7, 1.8), 0.7)
    del d.facts["count"]  # nobody says that somebody points once
    track.blend("arms", w, arm_pose((-0.05, d.uniform(-0.1, 0.12), 1.0), (-0.1, 0.02, 1.0)), arm)
    track.shoulders[:, arm] += 0.12 * w
    track.spine[:, 1] += (2 * arm - 1) * 0.22 * w
    track.pelvis[:, 1] += (2 * arm - 1) * 0.06 * w
    track.spine[:, 0] += 0.06 * w
    track.head[:, 1] -= (2 * arm - 1) * 0.22 * w
    track.root[:, 1] += 0.03 * w
    shift(track, 1 - arm, 0.7 * w)
    return track


def hands_on_hips(d: Director) -> Track:
    track, w = repeated(d, (1,), 0.7, (0.9, 2.4), 0.7)
    del d.facts["count"]  # nor that the hands are there once
    for side in (0, 1):
        track.blend("arms", w, reach((-0.03, -0.4, 0.07), (1.0, 0.1, -0.45)), side)
    shift(track, int(d.rng.integers(2)), 0.8 * w)
    track.spine[:, 0] -= 0.08 * w
    track.head[:, 1] += d.uniform(-0.3, 0.3) * w
    return track


def nod(d: Director) -> Track:
    track, w = repeated(d, (2, 3, 4, 5), 0.28, 0.05, 0.26, 0.05)
    track.head[:, 0] += 0.85 * d.size * w
    track.spine[:, 0] += 0.24 * d.size * w
    track.pelvis[:, 0] += 0.05 * w
    track.root[:, 1] -= 0.015 * w
    return track


def shake_head(d: Director) -> Track:
    before, period = d.pause() + 1, max(9, d.frames(0.66))
    count = d.count((2, 3, 4, 5), period, before + 8)
    n = max(40, before + count * period + d.pause() + 2)
    track = d.stand(n)
    t = np.clip((np.arange(n) - before) / period, 0, count)  # shakes so far
    turn = d.size * np.sin(2 * np.pi * t) * ease(2 * t) * ease(2 * (count - t))
    track.head[:, 1] += 0.95 * turn
    track.head[:, 0] += 0.1 * pulse(n, before, 6, count * period - 12, 6)
    # the shoulders turn along and lean against it
    track.spine[:, 1] += 0.24 * turn
    track.spine[:, 2] += 0.05 * turn
    return track


def look(d: Director, side: str) -> Track:
    """The head turns to a side as far as it goes, the shoulders follow a little."""
    way = 1 - 2 * d.side(side)
    track, w = repeated(d, (1,), 0.5, (0.6, 1.8), 0.55)
    del d.facts["count"]
    late = np.concatenate([[w[0]] * 3, w[:-3]])  # the eyes lead, the trunk comes after
    track.head[:, 1] += way * 1.0 * w
    track.head[:, 0] += 0.12 * w
    track.spine[:, 1] += way * 0.6 * late
    track.pelvis[:, 1] += way * 0.18 * late
    track.spine[:, 2] -= way * 0.08 * late
    shift(track, 0 if way > 0 else 1, 0.5 * late)
    return track


def salute(d: Director, side: str) -> Track:
    """The hand goes to the brow, elbow out, the body upright."""
    arm = d.side(side)
    track, w = repeated(d, (1,), 0.45, (0.6, 1.6), 0.5)
    del d.facts["count"]
    track.blend("arms", w, reach((-0.07, 0.2, 0.13), (1.0, -0.05, 0.25)), arm)
    track.shoulders[:, arm] += 0.12 * w
    other = 1 - arm
    track.blend("arms", w, arm_pose((0.1, -1.0, 0.0), (0.0, -1.0, 0.05)), other)
    for part, share in (("spine", 1.0), ("head", 0.8)):  # at attention
        track.blend(part, share * w, np.array([-0.06, 0.0, 0.0]))
    track.lift += 0.012 * w
    return track


def shrug(d: Director) -> Track:
    """The shoulders come up, the forearms go out with open hands, the head tilts."""
    track, w = repeated(d, (1, 1, 2, 3), 0.4, (0.15, 0.5), 0.45)
    for side in (0, 1):
        track.blend("arms", w, arm_pose((0.4, -0.85, 0.05), (0.95, 0.2, 0.45)), side)
    track.shoulders += 0.75 * d.size * w[:, None]
    tilt = d.rng.choice((-1, 1))
    track.head[:, 2] += tilt * 0.25 * w
    track.head[:, 0] -= 0.1 * w
    track.spine[:, 0] -= 0.08 * w
    track.lift -= 0.02 * w
    return track


def drink(d: Director, side: str) -> Track:
    """The hand brings a cup to the mouth, the head goes back to drink, and the hand sinks again."""
    arm = d.side(side)
    track, w = repeated(d, (1, 1, 2, 3), 0.7, (0.5, 1.1), 0.7, 0.2)
    track.blend("arms", w, reach((-0.16, 0.1, 0.19), (0.9, -0.75, 0.1)), arm)
    late = ease((w - 0.55) / 0.45)  # the cup has to be there first
    track.head[:, 0] -= 0.5 * late
    track.spine[:, 0] -= 0.14 * late
    track.shoulders[:, arm] += 0.2 * late
    shift(track, 1 - arm, 0.6 * w)
    return track
