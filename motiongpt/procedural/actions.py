"""Sitting, kneeling, bending, kicking and balancing, and `ACTIONS`:
every action of the embedded dataset by name.

Every action starts in the style's relaxed stand and returns to it, so that any two can be joined.
There are three exceptions: sitting down and kneeling stay where they end, and standing up starts on
the chair. Durations come from `Director.frames`, which applies the tempo of the clip and of the
body style.

The usual shape of an action: draw its durations (frames) and its count, take `d.stand(n)`, and add
weights in 0..1 (`w`, one number per frame) times a pose to the channels of that track. Every name
in `ACTIONS` has a condition of the same name in `faithfulness/conditions.py`, which says whether
joints show it.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.procedural import gestures, jumping, locomotion, poses
from motiongpt.procedural.kinematics import Track, arm_pose, ease, flight, pulse, reach, through
from motiongpt.procedural.performer import FPS, Director, hanging, repeated, shift

BRUSHING = 0.03  # metres: a foot lower than this must hardly move over the floor


def squat(d: Director) -> Track:
    track, w = repeated(d, (1, 1, 2, 3, 4), 0.8, 0.15, 0.8)
    deep = min(d.uniform(0.37, 0.43) * d.size, 0.56)  # any deeper and the thighs would touch the calves
    track.lift -= deep * w
    track.root[:, 1] -= 0.4 * deep * w
    track.pelvis[:, 0] += 1.25 * deep * w
    track.spine[:, 0] += 0.5 * deep * w
    track.head[:, 0] -= deep * w
    track.knee_out += 0.25 * w[:, None]
    for side in (0, 1):
        # arms ahead, against the weight of the hips behind
        track.blend("arms", w, reach((-0.05, 0.05, 0.47)), side)
        track.blend("hang", w, 1.0, side)
    return track


def _sit(d: Director, track: Track, w: np.ndarray, lean: np.ndarray) -> Track:
    """Put the body on a chair by weight `w` (n,), the trunk forward by `lean` (n,) on the way down
    or up."""
    track.lift -= 0.43 * w
    track.root[:, 1] -= 0.4 * w
    track.pelvis[:, 0] += 0.55 * lean - 0.08 * w
    track.spine[:, 0] += 0.4 * lean + 0.05 * w
    track.head[:, 0] -= 0.35 * lean
    track.pelvis[:, 2] *= 1 - w  # both hips are on the seat
    for side in (0, 1):
        track.blend("arms", w, reach((-0.02, -0.4, 0.26), (1.0, -0.1, -0.6)), side)
    return track


def sit_down(d: Director) -> Track:
    before, move = d.pause(), d.frames(1.3)
    track = d.stand(max(40, before + move + d.hold((0.3, 0.9))))
    n = len(track)
    return _sit(d, track, ease((np.arange(n) - before) / move), pulse(n, before, 0.55 * move, 0, 0.6 * move))


def stand_up(d: Director) -> Track:
    before, move = d.frames(d.uniform(0.2, 0.5)), d.frames(1.2)
    track = d.stand(max(40, before + move + d.pause() + 3))
    n = len(track)
    # the pelvis rises after the trunk has begun to lean, as in `sit_and_stand`
    w = 1.0 - ease((np.arange(n) - before - 0.15 * move) / (0.85 * move))
    return _sit(d, track, w, pulse(n, before, 0.5 * move, 0, 0.6 * move))


def sit_and_stand(d: Director) -> Track:
    before = d.pause()
    down = d.frames(1.2)
    hold = d.hold((0.3, 0.9))
    up = d.frames(1.15)
    track = d.stand(before + down + hold + up + d.pause())
    n = len(track)
    # the pelvis starts to rise later than the trunk leans forward: weight has to come over the feet first
    w = ease((np.arange(n) - before) / down) - ease((np.arange(n) - before - down - hold - 0.15 * up) / (0.85 * up))
    lean = pulse(n, before, 0.55 * down, 0, 0.6 * down) + pulse(n, before + down + hold, 0.5 * up, 0, 0.5 * up)
    return _sit(d, track, w, lean)


def bow(d: Director) -> Track:
    track, w = repeated(d, (1, 1, 1, 2, 3), 0.8, 0.35, 0.8)
    deep = min(d.uniform(0.85, 1.0) * d.size, 1.35)  # at 1.35 the trunk is level
    track.pelvis[:, 0] += 0.55 * deep * w
    track.spine[:, 0] += 0.55 * deep * w
    track.head[:, 0] += 0.15 * w
    track.root[:, 1] -= 0.1 * deep * w
    for side in (0, 1):
        track.blend("hang", w, 0.6, side)
    return track


def kneel(d: Director, side: str, back_up: bool) -> Track:
    knee = d.side(side)
    before = d.pause()
    down = d.frames(1.5)
    hold = d.hold((0.3, 0.8))
    up = d.frames(1.4)
    n = max(40, before + down + hold + (up + d.pause() if back_up else 3))
    track = d.stand(n)
    t = np.arange(n)
    rise = before + down + hold
    w = ease((t - before) / down) - (ease((t - rise) / up) if back_up else 0.0)
    # the foot of the kneeling leg steps back first and forward again last; (lift, land, from, to) with 1 for behind
    flights = [(before, before + round(0.5 * down), 0.0, 1.0)]
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
    # the pelvis goes down and back, over the knee on the floor
    track.root[:, 1] -= 0.3 * w
    track.lift -= 0.42 * w
    track.pelvis[:, 0] += 0.25 * np.sin(np.pi * w)
    track.spine[:, 0] += 0.15 * np.sin(np.pi * w)
    track.blend("arms", w, reach((-0.03, -0.36, 0.28), (1.0, -0.2, -0.5)), 1 - knee)
    return track


def pick_up(d: Director, side: str | None) -> Track:
    hands = (0, 1) if side is None else (d.side(side),)
    before = d.pause()
    down = d.frames(0.95)
    hold = d.frames(0.2)
    up = d.frames(0.95)
    show = 6  # frames the thing is held up
    back = d.frames(0.6)
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
    # the hand takes the thing along as the body rises, and lets the arm sink afterwards
    carry = ease((t - before - down - hold) / up) - ease((t - before - down - hold - up - show) / back)
    for hand in hands:
        # the arm hangs straight down while the trunk leans
        track.blend("hang", ease((t - before) / (0.6 * down)) - ease((t - before - down - hold) / up), 1.0, hand)
        out = -0.1 if side is None else -0.06
        track.blend("arms", w, reach((out, -0.49, 0.14)), hand)
        track.blend("arms", carry, reach((out, -0.2, 0.32)), hand)
    if side is not None:
        # the free hand rests in front of the body
        track.blend("arms", w, reach((0.0, -0.32, 0.3), (1.0, -0.2, -0.5)), 1 - hands[0])
    return track


def kick(d: Director, side: str) -> Track:
    foot = d.side(side)
    load = d.frames(0.42)
    strike = max(5, d.frames(0.28))
    # below the knee of a small kick, at the hip of a normal one, at the chest of a large one, which takes longer
    high = float(np.clip(0.68 * d.size**1.6 + d.uniform(-0.03, 0.03), 0.3, 1.0))
    strike = round(strike * max(1.0, high / 0.66))
    back = round(d.frames(0.5) * max(1.0, high / 0.66))
    gap = d.frames(0.35)
    hold = 2  # frames the leg stays out
    cycle = load + strike + hold + back + gap
    before = d.pause() + 3
    after = d.pause()
    count = d.count((1, 1, 2, 3, 4), cycle, before + after)
    n = max(40, before + after + count * cycle)
    track = d.stand(n)
    ahead = 0.6 + 0.06 * high
    for index in range(count):
        # the foot goes back (load), out to the front (strike), stays (hold) and comes home (back)
        start = before + index * cycle
        loaded = start + load
        out = loaded + strike
        end = out + hold + back
        near = end - 0.35 * back
        up = through(n, [start, loaded, out, out + hold, near, end], [0, 0.22, high, high, 0.09, 0])
        low = out + int(np.argmax(up[out:] < BRUSHING))  # first frame near the floor, on the way back
        home = min(end - 0.15 * back, low)  # by then the foot is back in its place: it must not brush the floor
        along = through(n, [start + 0.3 * load, loaded, out, out + hold, home], [0, -0.36, ahead, ahead, 0])
        pitch = through(n, [start, loaded, out, out + hold, end - 0.5 * back, end], [0, 0.8, -0.35, -0.35, 0.3, 0])
        track.toes[:, foot, 1] += up
        track.toes[:, foot, 2] += along
        track.foot_pitch[:, foot] += pitch
        track.planted[start + 1 : end, foot] = False
        # the pelvis is over the standing foot before the kick begins; trunk and arms swing against the leg
        w = pulse(n, start - 6, load, strike + hold + 2, back)
        shift(track, 1 - foot, w)
        hit = pulse(n, loaded - 1, strike, hold + 1, back)
        track.pelvis[:, 0] -= 0.36 * high * hit  # the higher the leg, the more the trunk leans back
        track.root[:, 1] -= 0.05 * high * hit
        track.pelvis[:, 1] -= (1 - 2 * foot) * 0.25 * hit
        track.spine[:, 1] += (1 - 2 * foot) * 0.35 * hit
        track.spine[:, 0] += 0.2 * hit
        track.head[:, 0] += 0.14 * hit
        for arm in (0, 1):
            forward = 1.0 if arm != foot else -0.7
            track.blend("arms", hit, hanging(d.style.abduction + 0.3, 0.6, 0.8 * forward), arm)
    return track


def lunge(d: Director, side: str) -> Track:
    foot = d.side(side)
    out = d.frames(0.7)
    hold = d.frames(0.4)
    back = d.frames(0.7)
    gap = d.frames(0.3)
    cycle = out + hold + back + gap
    before = d.pause()
    after = d.pause()
    count = d.count((1, 1, 2, 3, 4), cycle, before + after)
    track = d.stand(max(40, before + after + count * cycle))
    n = len(track)
    for index in range(count):
        start = before + index * cycle
        for begin, frames, way in ((start, out, 1), (start + out + hold, back, -1)):  # forward, and home again
            go, arc, airborne = flight(n, begin, begin + frames)
            track.toes[:, foot, 2] += way * 0.62 * d.size * go
            track.toes[:, foot, 1] += 0.1 * arc
            track.planted[airborne, foot] = False
        w = pulse(n, start + 2, out + 2, hold - 2, back - 2)
        track.root[:, 1] += 0.3 * d.size * w
        track.lift -= 0.24 * d.size * w
        track.pelvis[:, 1] -= (1 - 2 * foot) * 0.12 * w  # the hip of the leg in front comes along
        track.spine[:, 0] += 0.1 * w
        track.foot_pitch[:, 1 - foot] += 0.6 * w  # the rear heel comes up
        for arm in (0, 1):
            track.blend("arms", w, reach((0.16, -0.38, 0.05), (0.8, 0.0, -1.0)), arm)
    return track


def balance(d: Director, side: str) -> Track:
    foot = d.side(side)
    track, w = repeated(d, (1,), 0.9, (0.8, 2.0), 0.9)
    del d.facts["count"]  # nobody says that somebody balances once
    other = 1 - foot
    track.toes[:, other, 1] += 0.36 * d.size * w
    track.toes[:, other, 2] += 0.2 * ease(1.3 * w - 0.3)
    track.foot_pitch[:, other] += 0.45 * w
    track.planted[w > 0, other] = False
    shift(track, foot, ease(1.6 * w), 0.85)  # over the standing foot, before the other one is up
    t = np.arange(len(track)) / FPS
    wobble = w * np.sin(2 * np.pi * (0.9 * t + d.rng.random()))
    track.spine[:, 2] += 0.05 * wobble
    track.root[:, 0] += 0.008 * wobble
    for arm in (0, 1):
        level = np.stack([1 + 0 * w, 0.02 + 0.12 * wobble * (1 - 2 * arm), 0.15 + 0 * w], axis=-1)
        track.blend("arms", w, arm_pose(level, level + np.array([0.0, 0.03, 0.1])), arm)
    return track


Action = Callable[[Director], Track]

_PLAIN_ACTIONS = (
    locomotion.walk_forward,
    locomotion.walk_backward,
    locomotion.run,
    locomotion.jog_in_place,
    locomotion.march_in_place,
    jumping.jump,
    jumping.jump_forward,
    squat,
    sit_down,
    stand_up,
    sit_and_stand,
    bow,
    jumping.jumping_jacks,
    gestures.clap,
    gestures.stretch,
    gestures.hands_on_hips,
    gestures.nod,
    gestures.shake_head,
    locomotion.march_forward,
    locomotion.tiptoe,
    locomotion.sneak,
    poses.stand_still,
    poses.dance,
    poses.yoga,
    poses.touch_toes,
    gestures.boxing,
    gestures.shrug,
    gestures.wave_both,
)
_SIDED_ACTIONS = {
    "walk_circle": locomotion.walk_circle,
    "walk_sideways": locomotion.walk_sideways,
    "turn": locomotion.turn,
    "hop": jumping.hop,
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
    "spin": partial(locomotion.turn, degrees=360),
    "tree_pose": poses.tree_pose,
    "warrior_pose": poses.warrior_pose,
    "side_bend": poses.side_bend,
    "look": gestures.look,
    "salute": gestures.salute,
    "drink": gestures.drink,
}
# The order is part of the dataset: clips are drawn by position.
ACTIONS: dict[str, Action] = {
    **{function.__name__: function for function in _PLAIN_ACTIONS},
    "turn_around": partial(locomotion.turn, side=None, degrees=180),
    "raise_both_arms": partial(gestures.raise_arms, side=None),
    "pick_up": partial(pick_up, side=None),
    **{f"{name}_{side}": partial(function, side=side) for name, function in _SIDED_ACTIONS.items() for side in SIDES},
}
"""Name -> function from a `Director` to a `Track`.
The names of one-sided actions end in `_left` or `_right`."""
