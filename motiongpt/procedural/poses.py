"""Dance, yoga and standing still: from a `Director` to a `Track`.

The poses are held like `gestures`, but with the whole body: a leg bent to the side, a long step,
a trunk that folds. A dance is made of figures of four beats, drawn one after another.
"""

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.procedural.kinematics import Track, arm_pose, ease, flight, pulse, reach
from motiongpt.procedural.performer import FPS, Director, hanging, repeated, shift

PALMS_OVERHEAD = ((-0.14, 1.0, 0.08), (-0.62, 0.8, 0.05))  # upper arm and forearm: the hands meet above the head
PALMS_AT_CHEST = (-0.185, -0.17, 0.24)  # metres from the shoulder


def stand_still(d: Director) -> Track:
    """Nothing but breath and, now and then, weight that goes from foot to foot."""
    track = d.stand(d.span((2.2, 6.0)))
    n = len(track)
    middle = d.uniform(0.35, 0.65) * n
    w = pulse(n, middle - 14, 14, d.uniform(4, 20), 14) * ease((n - 1 - np.arange(n)) / 16)
    shift(track, int(d.rng.integers(2)), 0.12 * w)
    return track


# ---- dance ------------------------------------------------------------------------------------------------------


def _side_steps(d: Director, track: Track, t: np.ndarray, beat: int, way: int) -> None:
    """Step to a side and bring the other foot along, and back again: four beats from frame 0 of `t`."""
    first = 0 if way > 0 else 1
    far = 0.3 * min(d.size, 1.2)
    n = len(track)
    for k, (side, sign) in enumerate(((first, 1), (1 - first, 1), (1 - first, -1), (first, -1))):
        lift = int(t) + k * beat
        go, arc, airborne = flight(n, lift, lift + beat)
        track.toes[:, side, 0] += way * sign * far * go
        track.toes[:, side, 1] += 0.09 * arc
        track.planted[airborne, side] = False
        track.foot_pitch[:, side] += 0.35 * np.sin(np.pi * np.clip((np.arange(n) - lift) / beat, 0, 1))
    t0 = np.arange(n) - t
    track.root[:, 0] += way * far * (ease(t0 / (1.7 * beat)) - ease((t0 - 2 * beat) / (1.7 * beat)))


def dance(d: Director) -> Track:
    """Figures of four beats: side steps with pumping arms, hips and raised arms swaying, a twist."""
    beat = min(max(7, d.frames(0.45)), 14)
    before, after = d.pause(), d.pause()
    most = max(1, (d.limit() - before - after) // (4 * beat))
    figures = int(d.rng.integers(min(2, most), min(4, most) + 1))
    track = d.stand(before + figures * 4 * beat + after)
    n = len(track)
    t = np.arange(n) - before
    on = pulse(n, before, beat, figures * 4 * beat - 2 * beat, beat)
    phase = np.pi * t / beat  # half a turn per beat: one foot, the other foot
    # through the whole dance: down on every beat, shoulders and head in it
    bob = 0.022 * max(d.size * d.style.bounce**0.5, 0.75)  # any less and nobody sees the beat
    track.lift -= bob * on * (1 - np.cos(2 * phase))
    track.head[:, 0] += 0.14 * on * np.sin(2 * phase)
    last = -1
    for index in range(figures):
        figure = int(d.rng.choice([k for k in range(4) if k != last]))
        last = figure
        start = before + index * 4 * beat
        w = pulse(n, start, 0.8 * beat, 2.4 * beat, 0.8 * beat)
        way = int(d.rng.choice((-1, 1)))
        sway = np.sin(phase) * way
        if figure == 0:  # side steps, elbows bent, fists up and down in turn
            _side_steps(d, track, start, beat, way)
            for side in (0, 1):
                high = 0.16 * np.sin(2 * phase + np.pi * side)
                hand = np.stack([0.02 + 0 * high, high - 0.02, 0.3 + 0 * high], axis=-1)
                track.blend("arms", w, reach(hand, (0.9, -0.8, -0.3)), side)
            track.spine[:, 1] += 0.25 * w * sway
        elif figure == 1:  # both arms overhead, swaying with the hips
            for side in (0, 1):
                lean = 0.5 * sway * (1 - 2 * side)
                upper = np.stack([0.3 + lean, 1.0 + 0 * lean, 0.15 + 0 * lean], axis=-1)
                track.blend("arms", w, arm_pose(upper, upper + np.array([-0.15, 0.2, 0.0])), side)
            track.shoulders += 0.3 * w[:, None]
            _hips(track, w, sway)
        elif figure == 2:  # the twist: shoulders against hips, low knees
            track.pelvis[:, 1] += 0.4 * w * sway
            track.spine[:, 1] -= 0.85 * w * sway
            track.lift -= 0.09 * w
            for side in (0, 1):
                swing = 0.5 * sway * (1 - 2 * side)
                track.blend("arms", w, hanging(0.5, 1.5, swing), side)
            track.foot_pitch += 0.2 * w[:, None]
        else:  # one arm up after the other, the hip out on the other side
            for side in (0, 1):
                up = w * ease(0.5 + 0.9 * sway * (1 - 2 * side))
                track.blend("arms", w, reach((0.08, -0.3, 0.16), (1.0, -0.3, -0.5)), side)
                track.blend("arms", up, arm_pose((0.55, 1.0, 0.2), (0.35, 1.0, 0.1)), side)
                track.shoulders[:, side] += 0.3 * up
            _hips(track, w, -sway)
            track.head[:, 1] += 0.3 * w * sway
    return track


def _hips(track: Track, w: np.ndarray, sway: np.ndarray) -> None:
    """The hips from side to side by `sway` (n,), +1 is left; the free knee bends, the trunk leans back."""
    track.root[:, 0] += 0.07 * w * sway
    track.pelvis[:, 2] += 0.16 * w * sway
    track.spine[:, 2] -= 0.34 * w * sway
    track.head[:, 2] += 0.15 * w * sway
    for side in (0, 1):
        track.foot_pitch[:, side] += 0.4 * w * np.maximum(-sway * (1 - 2 * side), 0.0)


# ---- yoga -------------------------------------------------------------------------------------------------------


def tree_pose(d: Director, side: str) -> Track:
    """On one leg, the sole of the other foot at its knee, that knee out to the side, the palms together
    overhead or at the chest."""
    foot = d.side(side)
    other = 1 - foot
    track, w = repeated(d, (1,), 1.1, (0.9, 2.6), 1.0)
    del d.facts["count"]  # a pose is held, not counted
    out = 1 - 2 * other
    leg = ease(1.25 * w - 0.25)  # first the weight, then the leg
    shift(track, foot, ease(1.6 * w), 0.95)
    stand = track.toes[0, other].copy()
    knee = np.array([track.toes[0, foot, 0] + 0.075 * out, 0.36, 0.06])
    # out and up beside the leg, and then in to the knee
    track.toes[:, other, 1] += leg * knee[1]
    aside = leg**2  # later than up: a foot near the floor hardly moves over it
    track.toes[:, other, 0] += aside * (knee[0] - stand[0]) + out * 0.1 * np.sin(np.pi * aside)
    track.toes[:, other, 2] += aside * (knee[2] - stand[2])
    track.foot_pitch[:, other] += 0.75 * leg
    track.foot_yaw[:, other] += out * 0.9 * leg
    track.knee_out[:, other] += 1.05 * leg
    track.planted[w > 0, other] = False
    track.lift += 0.01 * w
    if d.rng.random() < 0.65:
        pose = arm_pose(*PALMS_OVERHEAD)
        track.shoulders += 0.35 * w[:, None]
    else:
        pose = reach(PALMS_AT_CHEST, (1.0, -0.35, -0.1))
    for arm in (0, 1):
        track.blend("arms", w, pose, arm)
    track.blend("head", 0.8 * w, np.zeros(3))
    return track


def warrior_pose(d: Director, side: str) -> Track:
    """A long step forward with one leg, its knee bent, the trunk turned away from it,
    the arms level to the front and to the back."""
    foot = d.side(side)
    other = 1 - foot
    step = d.frames(0.8)
    hold = d.hold((0.9, 2.4))
    back = d.frames(0.8)
    before = d.pause()
    track = d.stand(before + step + hold + back + d.pause())
    n = len(track)
    far = float(np.clip(0.72 * d.size, 0.58, 0.85))  # whoever is sad or old takes a long step, too
    for lift, frames, way in ((before, step, 1), (before + step + hold, back, -1)):
        go, arc, airborne = flight(n, lift, lift + frames)
        track.toes[:, foot, 2] += way * far * go
        track.toes[:, foot, 1] += 0.1 * arc
        track.planted[airborne, foot] = False
    w = pulse(n, before + 2, step, hold - 2, back)
    out = 1 - 2 * other
    track.root[:, 1] += 0.44 * far * w
    track.lift -= 0.22 * w
    # hips and chest open to the side of the rear leg, so that level arms point ahead and behind
    track.pelvis[:, 1] += out * 0.55 * w
    track.spine[:, 1] += out * 0.8 * w
    track.head[:, 1] -= out * 1.2 * w
    track.foot_pitch[:, other] += 0.3 * w
    track.knee_out[:, other] += 0.2 * w
    for arm in (0, 1):
        track.blend("arms", w, arm_pose((1.0, 0.02, 0.02), (1.0, 0.02, 0.1)), arm)
    return track


def _fold(track: Track, w: np.ndarray, deep: float = 1.0) -> None:
    """Fold at the hips with straight legs; the hips go back, the arms hang down to the toes."""
    track.pelvis[:, 0] += 1.25 * deep * w
    track.spine[:, 0] += 1.35 * deep * w
    track.head[:, 0] += 0.2 * w
    track.root[:, 1] -= 0.15 * w
    for side in (0, 1):
        track.blend("hang", ease(1.5 * w), 1.0, side)
        track.blend("arms", w, arm_pose((-0.12, -1.0, -0.1), (-0.08, -1.0, -0.08)), side)


def touch_toes(d: Director) -> Track:
    track, w = repeated(d, (1, 1, 2, 3, 4), 0.85, (0.15, 0.7), 0.85)
    _fold(track, w, min(0.8 + 0.2 * d.size, 1.05))
    return track


def side_bend(d: Director, side: str) -> Track:
    """The trunk bends to a side, the other arm over the head, the near hand on its hip."""
    near = d.side(side)
    track, w = repeated(d, (1, 1, 2, 3), 0.8, (0.3, 0.9), 0.8)
    lean = -(1 - 2 * near) * min(0.65 * d.size, 0.85)  # roll to the left is negative
    track.spine[:, 2] += lean * w
    track.pelvis[:, 2] += 0.12 * lean * w
    track.head[:, 2] += 0.25 * lean * w
    track.root[:, 0] += 0.09 * lean * w  # the hips go the other way
    track.blend("arms", w, arm_pose((-0.12, 1.0, 0.1), (-0.6, 0.85, 0.1)), 1 - near)
    track.shoulders[:, 1 - near] += 0.4 * w
    track.blend("arms", w, reach((-0.02, -0.4, 0.08), (1.0, 0.1, -0.45)), near)
    return track


def yoga(d: Director) -> Track:
    """One of the poses: a tree, a warrior, or a stretch up and a fold down."""
    pose = int(d.rng.integers(3))
    if pose < 2:
        side = SIDES[int(d.rng.integers(2))]
        track = (tree_pose, warrior_pose)[pose](d, side)
        del d.facts["side"]  # nobody asked for one
        return track
    up, hold, down, rest = d.frames(0.9), d.frames(0.3), d.frames(1.1), d.hold((0.4, 1.2))
    before = d.pause()
    track = d.stand(before + 2 * (up + hold) + 2 * down + rest + d.pause())
    n = len(track)
    reaching = pulse(n, before, up, hold, down)
    folded = pulse(n, before + up + hold + 0.15 * FPS, down, rest, down)
    again = pulse(n, before + up + hold + down + rest + 0.3 * down, down, hold, up)
    both = np.maximum(reaching, again)
    for side in (0, 1):
        track.blend("arms", both, arm_pose(*PALMS_OVERHEAD), side)
    track.shoulders += 0.35 * both[:, None]
    track.spine[:, 0] -= 0.15 * both
    track.head[:, 0] -= 0.25 * both
    _fold(track, folded)
    return track
