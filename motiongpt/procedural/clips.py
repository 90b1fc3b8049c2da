"""The embedded dataset: captioned motions computed from kinematics,
so that everything runs without a download.

`generate_clips(4000, seed=0)` yields clips of a 22-joint HumanML3D body at 20 fps. About 72 % show
one action (`ACTIONS`), 28 % two in a row, in eight body styles, slowly, normally or quickly, with
small, normal or large movements. Clip i depends on (seed, i) alone. Motions are made of planted
footsteps, pelvis and arm curves and inverse kinematics; nothing is captured and nothing is learned.

What it does not know: physics beyond ballistic jumps, hands and faces, objects, other people. It
teaches a model the difference between actions, sides, counts and speeds, not the richness of
captured motion. Captions come from a small grammar (`sentences.py`), so scores on this dataset say
nothing about free language.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from motiongpt.body.smoothing import smooth
from motiongpt.files.hashes import split_by_hash
from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.kinematics import Track, join, solve
from motiongpt.procedural.performer import FPS, SIZES, STYLES, TEMPOS, Director, Style
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.sentences import family, write_captions

MIN_FRAMES, MAX_FRAMES = 40, 196

# How often a family of actions is drawn, 1 if it is not listed. Both sides of a family are equally likely.
WEIGHTS = {"walk_forward": 4.0, "wave": 2.0, "walk_circle": 3.0, "run": 1.5, "jump": 1.5, "turn": 1.5, "kneel": 0.6}
WEIGHTS |= {"kneel_and_rise": 0.6, "pick_up": 0.6, "pick_up_both": 0.6, "sit_and_stand": 0.6, "turn_around": 0.8}
FIRST_WEIGHTS = WEIGHTS | {"walk_forward": 11.0, "stand_up": 3.0}  # the first of two actions
LAST_WEIGHTS = WEIGHTS | {"walk_forward": 5.0, "wave": 4.0, "turn": 4.0, "sit_down": 2.0}
# what does not start or end in the relaxed stand, and what takes too long to share a clip
ONLY_FIRST = ("stand_up",)
ONLY_LAST = ("sit_down", "kneel")
ONLY_ALONE = ("walk_circle", "sit_and_stand", "kneel_and_rise", "balance")
SEQUENCES = 0.28  # share of clips with two actions
FIRSTS = tuple(name for name in ACTIONS if family(name) not in ONLY_LAST + ONLY_ALONE)
LASTS = tuple(name for name in ACTIONS if family(name) not in ONLY_FIRST + ONLY_ALONE)


@dataclass(frozen=True)
class Performed:
    """One action of a clip: its name in `ACTIONS`, its frames [start, end),
    and the facts the captions rely on."""

    name: str
    start: int
    end: int
    facts: dict  # always tempo and size; side and count if the action has them


@dataclass(frozen=True)
class Clip:
    """A captioned motion: joints (F, 22, 3) float32 metres at 20 fps, 40 <= F <= 196,
    facing +z at the first frame."""

    id: str
    joints: np.ndarray
    captions: list[str]
    participant: str  # name of the body style
    split: str  # train, val or test
    actions: tuple[str, ...]
    performed: tuple[Performed, ...]
    planted: np.ndarray  # (F, 2) bool: the left or right toe carries weight and does not move


def choose(rng: np.random.Generator, names: Sequence[str], by_family: dict[str, float]) -> str:
    """Draw an action by the weight of its family, divided evenly among its sides."""
    # both sides share the weight of their family
    families = [family(name) for name in names]
    weights = np.array([by_family.get(f, 1.0) / families.count(f) for f in families])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def _perform(actions, tempos, sizes, rng: np.random.Generator, style: Style) -> tuple[Track, tuple[Performed, ...]]:
    """The actions one after another. The time of a clip is shared evenly,
    but the result may still be too long."""
    seconds = MAX_FRAMES / FPS * (0.995 if len(actions) == 1 else 0.9 / len(actions))
    manners = zip(tempos, sizes, strict=True)
    return perform(actions, (Director(rng, style, tempo, seconds, size) for tempo, size in manners))


def perform(actions: Iterable[str], directors: Iterable[Director]) -> tuple[Track, tuple[Performed, ...]]:
    """The actions one after another, each with its director, of any length.

    Danger: a director draws when it is made. A generator makes each after the draws of the action
    before it.
    """
    tracks = []
    performed = []
    start = 0
    for name, director in zip(actions, directors, strict=True):
        tracks.append(ACTIONS[name](director))
        end = start + len(tracks[-1])
        performed.append(Performed(name, start, end, director.facts))
        start = end
    return join(tracks), tuple(performed)


def finish(track: Track, performed: tuple[Performed, ...], rng: np.random.Generator, **known) -> Clip:
    """From a performance to a clip: breath, joints, captions. `known` are id, participant and split."""
    t = np.arange(len(track)) / FPS
    breath = np.sin(2 * np.pi * (t / rng.uniform(3.2, 4.5) + rng.random()))
    # a body that breathes is never quite still: chest and arms move by less than a degree
    track.spine[:, 0] += 0.008 * breath
    track.arms[:, :, 0] += 0.006 * breath[:, None]
    track.arms = smooth(track.arms, 0.7)  # rounds the corners where two movements of an arm meet
    joints = solve(track)
    # every clip starts at the origin, whatever the pelvis did in the first frame
    joints[..., [0, 2]] -= joints[0, 0, [0, 2]]
    captions = write_captions([(p.name, p.facts) for p in performed], rng)
    actions = tuple(p.name for p in performed)
    return Clip(joints=joints, captions=captions, actions=actions, performed=performed, planted=track.planted, **known)


def make_clip(
    actions: tuple[str, ...],
    rng: np.random.Generator,
    style: Style = STYLES[0],
    tempos: tuple[str, ...] | None = None,
    sizes: tuple[str, ...] | None = None,
    id: str = "clip",
    split: str = "train",
) -> Clip:
    """Perform `actions` (names in `ACTIONS`) one after another.

    `tempos` has "slow", "normal" or "quick" for each action, `sizes` has "small", "normal" or
    "large". Some actions, such as sitting down, have one size only. Raises ValueError for an
    unknown action, tempo or size, and for actions that do not fit into 196 frames.
    """
    unknown = [name for name in actions if name not in ACTIONS]
    if unknown or not actions:
        raise ValueError(f"unknown action {', '.join(unknown) or '(none given)'}; known: {', '.join(ACTIONS)}")
    tempos = tempos or ("normal",) * len(actions)
    if len(tempos) != len(actions) or not set(tempos) <= set(TEMPOS):
        raise ValueError(f"tempos must be one of {', '.join(TEMPOS)} for each of {len(actions)} actions, got {tempos}")
    sizes = sizes or ("normal",) * len(actions)
    if len(sizes) != len(actions) or not set(sizes) <= set(SIZES):
        raise ValueError(f"sizes must be one of {', '.join(SIZES)} for each of {len(actions)} actions, got {sizes}")
    for name, size in zip(actions, sizes, strict=True):
        if size != "normal" and family(name) not in SIZED:
            raise ValueError(f"{name} has one size only, got {size}; use normal")
    # the length is known only after the performance, as durations are drawn
    track, performed = _perform(actions, tempos, sizes, rng, style)
    if len(track) > MAX_FRAMES:
        raise ValueError(f"{' + '.join(actions)} took {len(track)} frames, a clip has at most {MAX_FRAMES}")
    return finish(track, performed, rng, id=id, participant=style.name, split=split)


def clip_name(index: int, seed: int = 0) -> str:
    """The id of clip `index`: "p00_000042"."""
    return f"p{seed:02d}_{index:06d}"


def generate_clip(index: int, seed: int = 0) -> Clip:
    """Clip `index` of `generate_clips(..., seed)`.

    Danger: the order of the draws is part of the dataset.
    A draw more, or one earlier, changes every clip.
    """
    rng = np.random.default_rng([seed, index])
    split = split_by_hash(str(index))
    style = STYLES[int(rng.integers(len(STYLES)))]
    pair = rng.random() < SEQUENCES
    while True:  # a slow pair may be too long: draw again
        if pair:
            first = choose(rng, FIRSTS, FIRST_WEIGHTS)
            actions = (first, choose(rng, [name for name in LASTS if name != first], LAST_WEIGHTS))
        else:
            actions = (choose(rng, list(ACTIONS), WEIGHTS),)
        # tempos and sizes; two actions in one clip are seldom both unusual
        shares = (0.06, 0.84, 0.1) if pair else (0.17, 0.66, 0.17)
        tempos = tuple(str(tempo) for tempo in rng.choice(list(TEMPOS), len(actions), p=shares))
        shares = (0.07, 0.86, 0.07) if pair else (0.16, 0.68, 0.16)
        sizes = tuple(str(size) for size in rng.choice(list(SIZES), len(actions), p=shares))
        sizes = tuple(s if family(name) in SIZED else "normal" for name, s in zip(actions, sizes, strict=True))
        track, performed = _perform(actions, tempos, sizes, rng, style)
        if len(track) <= MAX_FRAMES:
            break
    return finish(track, performed, rng, id=clip_name(index, seed), participant=style.name, split=split)


def generate_clips(count: int, seed: int = 0) -> Iterator[Clip]:
    """Yield `count` clips. Clip i is a function of (seed, i), whatever `count` is.

    A hash of the index decides the split: about 90 % train, 5 % val, 5 % test.
    Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    for index in range(count):
        yield generate_clip(index, seed)
