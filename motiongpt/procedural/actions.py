"""Actions of the whole body, and `ACTIONS`: every action of the embedded dataset by name.

Every action starts in the style's relaxed stand and comes back to it (sitting down and kneeling stay where they end,
standing up starts on the chair), so that any two of them can be joined. Durations come from `Director.frames`, which
applies the tempo of the clip and of the body style.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from motiongpt.procedural import gestures, locomotion
from motiongpt.procedural.kinematics import Track, arm_pose, ease, flight, pulse, reach, through
from motiongpt.procedural.performer import FPS, SIDES, Director, hanging, repeated

GRAVITY = 9.81
BRUSHING = 0.03  # metres: a foot lower than this must hardly move over the floor
UPTURN = 45.0  # m/s^2, the sharpest change from sinking to rising at the bottom of a crouch


def jumps(
    d: Director, count: int, height: float, crouch: float, distance: float = 0.0, foot: int | None = None
) -> Track:
    """Crouch, take-off, ballistic air, landing, `count` times; on one `foot` the other one is held up."""
    air = max(4, round(FPS * np.sqrt(8 * height / GRAVITY)))
    height = GRAVITY * (air / FPS) ** 2 / 8
    down, push, absorb = d.frames(0.34), d.frames(0.2), d.frames(0.26)
    ready = d.frames(0.5) if foot is not None else 0  # to lift the other foot
    cycle = down + push + air + absorb
    begin = d.pause() + ready
    n = max(40, begin + count * cycle + d.frames(0.45) + ready + d.pause())
    track = d.stand(n)
    tip = 0.5 if distance >= 0 else 0.3
    rise, speed = 0.05, 4 * height / air
    # the mean acceleration before and after the lowest point grows with the depth: a few frames allow no deep crouch
    most = (UPTURN / FPS**2 + speed / push - 3 * rise / push**2) / (3 / down**2 + 3 / push**2)
    crouch = min(crouch, most)
    frames, lifts, slopes = [begin], [0.0], [np.nan]
    heel = np.zeros(n)
    feet = (0, 1) if foot is None else (foot,)
    for index in range(count):
        start = begin + index * cycle
        off, land = start + down + push, start + down + push + air
        frames += [start + down, off, land, land + absorb]
        lifts += [-crouch, rise, rise, -0.75 * crouch]
        slopes += [np.nan, speed, -speed, np.nan]
        t = np.arange(off, land + 1)
        s = (t - off) / air
        for side in feet:
            track.toes[t, side, 1] = height * 4 * s * (1 - s)
            track.toes[t, side, 2] += distance * ease(s)
            track.toes[land + 1 :, side, 2] += distance
            track.planted[off + 1 : land, side] = False
        track.root[:, 1] += distance * ease((np.arange(n) - off + 4) / (air + 9))
        heel += tip * pulse(n, off - 4, 4, air - 4, 5)
        for side in (0, 1):
            back = pulse(n, start, 0.8 * down, 0, push)
            track.blend("arms", back, hanging(d.style.abduction + 0.05, 0.3, -0.7 * d.size), side)
            track.blend("arms", pulse(n, start + down - 2, push + 5, air - 5, absorb), reach((0.1, 0.02, 0.4)), side)
        bend = pulse(n, start, down, 0, push) + pulse(n, land - 2, absorb, 0, 0.5 * FPS)
        track.spine[:, 0] += 0.9 * crouch * bend
        track.pelvis[:, 0] += 0.9 * crouch * bend
        track.root[:, 1] -= 0.2 * crouch * bend
    frames, lifts, slopes = frames + [frames[-1] + d.frames(0.45)], lifts + [0.0], slopes + [np.nan]
    track.lift += through(n, frames, lifts, np.array(slopes))
    for index in range(count):
        off = begin + index * cycle + down + push
        t = np.arange(off, off + air + 1)
        s = (t - off) / air
        track.lift[t] = rise + height * 4 * s * (1 - s)
    for side in feet:
        track.foot_pitch[:, side] += heel
    if foot is not None:
        other = 1 - foot
        up = pulse(n, begin - ready, ready, n - begin - 2 * ready - 8, ready)
        track.toes[:, other, 1] += 0.2 * up + (track.toes[:, foot, 1]) * (up > 0)
        track.toes[:, other, 2] -= 0.22 * ease(1.3 * up - 0.3)
        track.foot_pitch[:, other] += 0.9 * up
        track.planted[up > 0, other] = False
        track.root[:, 0] += (1 - 2 * foot) * 0.07 * up
        for side in (0, 1):
            track.blend("arms", 0.5 * up, reach((0.25, -0.25, 0.1)), side)
    return track


def jump(d: Director) -> Track:
    cycle = d.frames(0.8) + 9
    return jumps(d, d.count((1, 1, 1, 2, 3), cycle, 30), d.uniform(0.22, 0.25) * d.size**1.4, 0.26 * d.size)


def jump_forward(d: Director) -> Track:
    cycle = d.frames(0.8) + 9
    count = d.count((1, 1, 2, 3), cycle, 30)
    return jumps(d, count, d.uniform(0.16, 0.22) * d.size, 0.28 * d.size, d.uniform(0.4, 0.5) * d.size)


def hop(d: Director, side: str) -> Track:
    cycle = d.frames(0.8) + 6
    foot = d.side(side)
    return jumps(d, d.count((2, 3, 4, 5), cycle, 42), 0.075 * d.size, 0.09, 0.0, foot)


def squat(d: Director) -> Track:
    track, w, *_ = repeated(d, (1, 1, 2, 3), 0.8, 0.15, 0.8)
    deep = min(d.uniform(0.37, 0.43) * d.size, 0.56)  # lower, and the thighs would touch the calves
    track.lift -= deep * w
    track.root[:, 1] -= 0.4 * deep * w
    track.pelvis[:, 0] += 1.25 * deep * w
    track.spine[:, 0] += 0.5 * deep * w
    track.head[:, 0] -= deep * w
    track.knee_out += 0.25 * w[:, None]
    for side in (0, 1):
        track.blend("arms", w, reach((-0.05, 0.05, 0.47)), side)
        track.blend("hang", w, 1.0, side)
    return track


def _sit(d: Director, track: Track, w: np.ndarray, lean: np.ndarray) -> Track:
    track.lift -= 0.43 * w
    track.root[:, 1] -= 0.4 * w
    track.pelvis[:, 0] += 0.55 * lean - 0.08 * w
    track.spine[:, 0] += 0.4 * lean + 0.05 * w
    track.head[:, 0] -= 0.35 * lean
    for side in (0, 1):
        track.blend("arms", w, reach((-0.02, -0.4, 0.26), (1.0, -0.1, -0.6)), side)
    return track


def sit_down(d: Director) -> Track:
    before, move = d.pause(), d.frames(1.3)
    track = d.stand(before + move + d.frames(d.uniform(0.6, 1.6)) + 8)
    n = len(track)
    return _sit(d, track, ease((np.arange(n) - before) / move), pulse(n, before, 0.55 * move, 0, 0.6 * move))


def stand_up(d: Director) -> Track:
    before, move = d.frames(d.uniform(0.4, 1.0)), d.frames(1.2)
    track = d.stand(max(40, before + move + d.pause() + 6))
    n = len(track)
    w = 1.0 - ease((np.arange(n) - before - 0.15 * move) / (0.85 * move))
    track = _sit(d, track, w, pulse(n, before, 0.5 * move, 0, 0.6 * move))
    return track


def sit_and_stand(d: Director) -> Track:
    before, down, hold, up = d.pause(), d.frames(1.2), d.frames(d.uniform(0.5, 1.4)), d.frames(1.15)
    track = d.stand(before + down + hold + up + d.pause())
    n = len(track)
    w = ease((np.arange(n) - before) / down) - ease((np.arange(n) - before - down - hold - 0.15 * up) / (0.85 * up))
    lean = pulse(n, before, 0.55 * down, 0, 0.6 * down) + pulse(n, before + down + hold, 0.5 * up, 0, 0.5 * up)
    return _sit(d, track, w, lean)


def bow(d: Director) -> Track:
    track, w, *_ = repeated(d, (1, 1, 1, 2), 0.8, 0.35, 0.8)
    deep = min(d.uniform(0.85, 1.0) * d.size, 1.35)  # the trunk is level then
    track.pelvis[:, 0] += 0.55 * deep * w
    track.spine[:, 0] += 0.55 * deep * w
    track.head[:, 0] += 0.15 * w
    track.root[:, 1] -= 0.1 * deep * w
    for side in (0, 1):
        track.blend("hang", w, 0.6, side)
    return track


def kneel(d: Director, side: str, back_up: bool) -> Track:
    knee = d.side(side)
    before, down, hold, up = d.pause(), d.frames(1.5), d.frames(d.uniform(0.5, 1.2)), d.frames(1.4)
    n = before + down + hold + (up + d.pause() if back_up else 8)
    track = d.stand(n)
    t = np.arange(n)
    rise = before + down + hold
    w = ease((t - before) / down) - (ease((t - rise) / up) if back_up else 0.0)
    lift, land = before, before + round(0.5 * down)
    flights = [(lift, land, 0.0, 1.0)]
    if back_up:
        flights.append((rise + round(0.5 * up), rise + up, 1.0, 0.0))
    away = np.zeros(n)
    for lift, land, start, end in flights:
        way, arc, airborne = flight(n, lift, land)
        away += (end - start) * way
        track.toes[:, knee, 1] += 0.08 * arc
        track.planted[airborne, knee] = False
    track.toes[:, knee, 2] -= 0.72 * away
    track.foot_pitch[:, knee] += 0.3 * away + 0.12 * w
    track.root[:, 1] -= 0.3 * w
    track.lift -= 0.42 * w
    track.pelvis[:, 0] += 0.25 * np.sin(np.pi * w)
    track.spine[:, 0] += 0.15 * np.sin(np.pi * w)
    track.blend("arms", w, reach((-0.03, -0.36, 0.28), (1.0, -0.2, -0.5)), 1 - knee)
    return track


def pick_up(d: Director, side: str | None) -> Track:
    hands = (0, 1) if side is None else (d.side(side),)
    before, down, hold, up, show, back = d.pause(), d.frames(0.95), d.frames(0.2), d.frames(0.95), 6, d.frames(0.6)
    n = before + down + hold + up + show + back + d.pause()
    track = d.stand(n)
    w = pulse(n, before, down, hold, up)
    track.lift -= 0.42 * w
    track.root[:, 1] -= 0.14 * w
    track.pelvis[:, 0] += 0.8 * w
    track.spine[:, 0] += 0.65 * w
    track.head[:, 0] -= 0.3 * w
    if side is not None:
        track.spine[:, 2] += 0.2 * w * (2 * hands[0] - 1)
    t = np.arange(n)
    carry = ease((t - before - down - hold) / up) - ease((t - before - down - hold - up - show) / back)
    for hand in hands:
        track.blend("hang", ease((t - before) / (0.6 * down)) - ease((t - before - down - hold) / up), 1.0, hand)
        out = -0.1 if side is None else -0.06
        track.blend("arms", w, reach((out, -0.49, 0.14)), hand)
        track.blend("arms", carry, reach((out, -0.2, 0.32)), hand)
    if side is not None:
        track.blend("arms", w, reach((0.0, -0.32, 0.3), (1.0, -0.2, -0.5)), 1 - hands[0])
    return track


def kick(d: Director, side: str) -> Track:
    foot = d.side(side)
    load, strike, back, gap = d.frames(0.42), max(4, d.frames(0.26)), d.frames(0.5), d.frames(0.35)
    hold = 2  # frames the leg stays out
    cycle, before, after = load + strike + hold + back + gap, d.pause() + 4, d.pause()
    count = d.count((1, 1, 1, 2, 3), cycle, before + after)
    n = max(40, before + after + count * cycle)
    track = d.stand(n)
    high = min(d.uniform(0.5, 0.62) * d.size, 0.74)
    for index in range(count):
        start = before + index * cycle
        loaded, out, end = start + load, start + load + strike, start + load + strike + hold + back
        near = end - 0.35 * back
        up = through(n, [start, loaded, out, out + hold, near, end], [0, 0.22, high, high, 0.09, 0])
        low = out + int(np.argmax(up[out:] < BRUSHING))  # first frame near the floor, on the way back
        home = min(end - 0.15 * back, low)  # the foot is back in its place by then
        along = through(n, [start + 0.3 * load, loaded, out, out + hold, home], [0, -0.42, 0.66, 0.66, 0])
        pitch = through(n, [start, loaded, out, out + hold, end - 0.5 * back, end], [0, 0.8, -0.35, -0.35, 0.3, 0])
        track.toes[:, foot, 1] += up
        track.toes[:, foot, 2] += along
        track.foot_pitch[:, foot] += pitch
        track.planted[start + 1 : end, foot] = False
        w = pulse(n, start - 6, load, strike + hold + 2, back)
        track.root[:, 0] += (1 - 2 * foot) * -0.07 * w
        hit = pulse(n, loaded - 1, strike, hold + 1, back)
        track.pelvis[:, 0] -= 0.22 * hit
        track.pelvis[:, 1] -= (1 - 2 * foot) * 0.25 * hit
        track.spine[:, 1] += (1 - 2 * foot) * 0.35 * hit
        track.spine[:, 0] += 0.12 * hit
        for arm in (0, 1):
            forward = 1.0 if arm != foot else -0.7
            track.blend("arms", hit, hanging(d.style.abduction + 0.3, 0.6, 0.8 * forward), arm)
    return track


def jumping_jacks(d: Director) -> Track:
    out, hold = max(6, d.frames(0.36)), max(2, d.frames(0.1))
    cycle, before = 2 * (out + hold), d.pause()
    count = d.count((2, 3, 4, 5), cycle, before + 10)
    n = max(40, before + count * cycle + 10)
    track = d.stand(n)
    for index in range(count):
        for half in (0, 1):
            start = before + index * cycle + half * (out + hold)
            way, arc, airborne = flight(n, start, start + out)
            wide = way * (1 - 2 * half)
            for side in (0, 1):
                track.toes[:, side, 0] += 0.24 * d.size * wide * (1 - 2 * side)
                track.toes[:, side, 1] += 0.08 * arc
                track.planted[airborne, side] = False
            track.lift += 0.05 * arc**3 - 0.03 * wide
            s = (np.arange(n) - start) / out
            high = hanging(d.style.abduction, d.style.elbow) if half else arm_pose((0.45, 0.9, 0.05), (0.1, 1.0, 0.1))
            for side in (0, 1):
                track.arms[:, side] += ease(s)[:, None] * (high - track.arms[:, side])
    return track


def lunge(d: Director, side: str) -> Track:
    foot = d.side(side)
    out, hold, back, gap = d.frames(0.7), d.frames(0.4), d.frames(0.7), d.frames(0.3)
    cycle, before, after = out + hold + back + gap, d.pause(), d.pause()
    count = d.count((1, 1, 2, 3), cycle, before + after)
    track = d.stand(max(40, before + after + count * cycle))
    n = len(track)
    for index in range(count):
        start = before + index * cycle
        for begin, frames, way in ((start, out, 1), (start + out + hold, back, -1)):
            go, arc, airborne = flight(n, begin, begin + frames)
            track.toes[:, foot, 2] += way * 0.62 * d.size * go
            track.toes[:, foot, 1] += 0.1 * arc
            track.planted[airborne, foot] = False
        w = pulse(n, start + 2, out + 2, hold - 2, back - 2)
        track.root[:, 1] += 0.3 * d.size * w
        track.lift -= 0.24 * d.size * w
        track.foot_pitch[:, 1 - foot] += 0.6 * w
        for arm in (0, 1):
            track.blend("arms", w, reach((0.16, -0.38, 0.05), (0.8, 0.0, -1.0)), arm)
    return track


def balance(d: Director, side: str) -> Track:
    foot = d.side(side)
    track, w, *_ = repeated(d, (1,), 0.9, d.uniform(0.8, 2.0), 0.9)
    del d.facts["count"]
    other = 1 - foot
    track.toes[:, other, 1] += 0.36 * d.size * w
    track.toes[:, other, 2] += 0.2 * ease(1.3 * w - 0.3)
    track.foot_pitch[:, other] += 0.45 * w
    track.planted[w > 0, other] = False
    track.root[:, 0] += (1 - 2 * foot) * 0.085 * ease(1.6 * w)
    for arm in (0, 1):
        track.blend("arms", w, arm_pose((1.0, 0.02, 0.15), (1.0, 0.05, 0.25)), arm)
    return track


Action = Callable[[Director], Track]

_PLAIN = (
    *(locomotion.walk_forward, locomotion.walk_backward, locomotion.run),
    *(locomotion.jog_in_place, locomotion.march_in_place),
    *(jump, jump_forward, squat, sit_down, stand_up, sit_and_stand, bow, jumping_jacks),
    *(gestures.clap, gestures.stretch, gestures.hands_on_hips, gestures.nod, gestures.shake_head),
)
_SIDED = {
    "walk_circle": locomotion.walk_circle,
    "walk_sideways": locomotion.walk_sideways,
    "turn": partial(locomotion.turn, degrees=90),
    "hop": hop,
    "kneel": partial(kneel, back_up=False),
    "kneel_and_rise": partial(kneel, back_up=True),
    "kick": kick,
    "lunge": lunge,
    "balance": balance,
    "pick_up": pick_up,
    "wave": gestures.wave,
    "punch": gestures.punch,
    "raise_arm": gestures.raise_arms,
    "throw": gestures.throw,
    "point": gestures.point,
}
ACTIONS: dict[str, Action] = {
    **{function.__name__: function for function in _PLAIN},
    "turn_around": partial(locomotion.turn, side=None, degrees=180),
    "raise_both_arms": partial(gestures.raise_arms, side=None),
    "pick_up": partial(pick_up, side=None),
    **{f"{name}_{side}": partial(function, side=side) for name, function in _SIDED.items() for side in SIDES},
}
"""Name -> function from a `Director` to a `Track`; the names of one-sided actions end in `_left` or `_right`."""
