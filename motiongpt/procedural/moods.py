"""Moods: the same person, happy or sad, tired or angry.

A mood works on two levels. `dressed` changes the body style before the actions are performed: tempo,
size, how far the arms swing and hang from the body. `colour` changes the finished track: how the
trunk and the head are held, how deep the knees are bent, and the small movements of somebody who
cannot keep still. So any action can be done in any mood, and its facts stay what they are.

What this does not know: faces and hands, which show moods better than any trunk.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.body.smoothing import smooth
from motiongpt.procedural.kinematics import Track, aim_arms, chest_turn, ease

LOWEST = 0.42  # metres: a body that has already sunk so far does not crouch any deeper
HEAD_ACTS = 0.35  # radians off its place: from there on a head moves for a reason
FARTHEST_NOD = 1.05  # radians: the chin does not go into the chest, nor the head into the neck


@dataclass(frozen=True)
class Mood:
    """How a mood changes a body style (factors), and how it is held and moves (radians, metres, Hz)."""

    tempo: float = 1.0  # factors: of durations,
    size: float = 1.0  # of amplitudes,
    swing: float = 1.0  # of the arm swing,
    bounce: float = 1.0  # of the bob of steps,
    sway: float = 1.0  # of the pelvis from foot to foot
    abduction: float = 0.0  # arms farther from the body, radians
    elbow: float = 0.0  # elbows more bent
    stoop: float = 0.0  # spine forward
    lean: float = 0.0  # pelvis forward
    head: float = 0.0  # head down
    crouch: float = 0.0  # metres the pelvis is lower
    shoulders: float = 0.0  # raised
    spring: float = 0.0  # metres of bouncing in the knees,
    beat: float = 1.0  # so many times a second
    rock: float = 0.0  # trunk from side to side, half as fast
    glance: float = 0.0  # head left and right
    tremble: float = 0.0  # arms and head, a few times a second


# fmt: off
MOODS = {  # tempo, size, swing, bounce, sway, and what is held
    "happy": Mood(
        0.83, 1.08, 1.7, 2.4, 1.5, stoop=-0.1, head=-0.16, abduction=0.1, elbow=0.3, spring=0.03, beat=1.5,
        rock=0.11
    ),
    "sad": Mood(1.26, 0.8, 0.3, 0.5, 0.8, stoop=0.32, head=0.55, abduction=-0.06, elbow=-0.1, shoulders=-0.2),
    "tired": Mood(
        1.3, 0.8, 0.6, 0.6, 2.6, stoop=0.3, lean=0.12, head=0.34, crouch=0.05, shoulders=-0.25, rock=0.1,
        beat=0.5
    ),
    "old": Mood(
        1.4, 0.62, 0.5, 0.5, 1.4, stoop=0.62, lean=0.2, head=-0.3, crouch=0.07, elbow=0.75, tremble=0.022,
        abduction=0.06
    ),
    "angry": Mood(
        0.8, 1.1, 1.3, 1.5, 0.8, stoop=0.16, lean=0.12, head=0.22, abduction=0.24, elbow=0.8,
        shoulders=0.22, crouch=0.03
    ),
    "proud": Mood(1.08, 1.1, 1.4, 0.8, 1.2, stoop=-0.36, lean=-0.04, head=-0.16, abduction=0.22, shoulders=0.1),
    "sneaky": Mood(
        1.22, 0.85, 0.3, 0.6, 1.2, stoop=0.42, lean=0.2, head=-0.25, crouch=0.15, elbow=1.1, abduction=0.05,
        glance=0.45
    ),
    "relaxed": Mood(1.16, 0.95, 1.2, 0.9, 2.4, stoop=-0.1, lean=-0.1, head=-0.08, abduction=0.12, rock=0.13, beat=0.8),
    "nervous": Mood(
        0.92, 0.78, 0.3, 0.8, 0.8, stoop=0.14, head=0.1, abduction=-0.1, elbow=1.1, shoulders=0.4,
        glance=0.4, tremble=0.03
    ),
    "energetic": Mood(
        0.8, 1.1, 1.7, 1.7, 1.2, stoop=-0.04, head=-0.1, elbow=0.55, abduction=0.12, crouch=0.02,
        spring=0.05, beat=2.0
    ),
}
# fmt: on
"""Word -> mood. A caption says it as an adjective of the person."""


def dressed(style, mood: str):
    """The body style (a `performer.Style`) of a person in a mood; the style itself without a mood.

    Raises ValueError for an unknown mood.
    """
    if not mood:
        return style
    if mood not in MOODS:
        raise ValueError(f"unknown mood {mood}; known: {', '.join(MOODS)}")
    m = MOODS[mood]
    return replace(
        style,
        tempo=style.tempo * m.tempo,
        size=style.size * m.size,
        swing=style.swing * m.swing,
        bounce=style.bounce * m.bounce,
        sway=style.sway * m.sway,
        abduction=max(style.abduction + m.abduction, 0.05),
        elbow=max(style.elbow + m.elbow, 0.1),
    )


def _busy(track: Track) -> np.ndarray:
    """(F,) 0..1: how much the action itself moves the head, now or within 0.7 s."""
    moved = np.abs(track.head - track.head[0])[:, :2].max(axis=1)
    near = sliding_window_view(np.pad(moved, 14, mode="edge"), 29).max(axis=1)
    return smooth(np.clip(near / HEAD_ACTS, 0.0, 1.0), 2.0)


def colour(track: Track, mood: str, rng: np.random.Generator, much: float = 1.0) -> None:
    """Hold and move the body of a whole clip as a mood does, in place. Nothing is drawn without a mood.

    The action stays readable: raised arms keep the direction they have in the room however the trunk stoops, and a
    head that nods or looks somewhere does not glance about as well. `much` in 0..1 scales what moves; a body that
    stands still only holds itself as the mood does.
    """
    if not mood:
        return
    m = MOODS[mood]
    n = len(track)
    t = np.arange(n) / HUMANML3D.fps
    phases = 2 * np.pi * rng.random(6)
    begin = much * ease(t / 0.6)  # a clip begins facing ahead, and moves from there
    # a sitting or kneeling body has no knees left to bend, one in the air none to spring with, and one that bends
    # forward is bent enough
    tall = np.clip(1 + track.lift / LOWEST, 0.0, 1.0)
    grounded = smooth(track.planted.all(axis=1).astype(float), 2.0)
    track.lift -= m.crouch * tall
    track.lift -= 0.5 * much * m.spring * grounded * tall * (1 - np.cos(2 * np.pi * m.beat * t))
    aimed = chest_turn(track)
    track.pelvis[:, 0] += m.lean * tall * np.clip(1 - track.pelvis[:, 0], 0.0, 1.0)
    track.spine[:, 0] += m.stoop * np.clip(1 - track.pelvis[:, 0], 0.0, 1.0)
    aim_arms(track, aimed)
    free = 1.0 - _busy(track)
    rock = begin * (0.7 + 0.3 * free) * np.sin(np.pi * m.beat * t + phases[0])
    track.spine[:, 2] += m.rock * rock
    track.root[:, 0] += 0.12 * m.rock * rock * np.cos(track.yaw)
    track.root[:, 1] -= 0.12 * m.rock * rock * np.sin(track.yaw)
    track.head[:, 2] += 0.8 * m.rock * rock * free
    # two slow waves that do not repeat soon, sharpened: the head looks one way, stays, looks the other way
    look = np.tanh(2.2 * (np.sin(2 * np.pi * 0.42 * t + phases[1]) + 0.5 * np.sin(2 * np.pi * 0.67 * t + phases[2])))
    look *= m.glance * begin * free
    track.head[:, 1] += look
    track.spine[:, 1] += 0.25 * look
    track.shoulders += m.shoulders
    shiver = much * m.tremble * np.sin(2 * np.pi * np.array([2.7, 3.3, 3.0]) * t[:, None] + phases[3:])
    track.head[:, 0] += shiver[:, 0]
    track.arms[:, :, 2] += 2 * shiver[:, 1:]
    # the head follows the mood softly at the limits of the neck
    pitch = track.head[:, 0] + m.head
    track.head[:, 0] = FARTHEST_NOD * np.tanh(pitch / FARTHEST_NOD)
