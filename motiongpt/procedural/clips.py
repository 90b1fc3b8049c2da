"""The embedded dataset: captioned motions computed from kinematics,
so that everything runs without a download.

`generate_clips(4000, seed=0)` yields clips of a 22-joint HumanML3D body at 20 fps. About 45 % show
one action (`ACTIONS`), 26 % two in a row (sitting down and a gesture on the seat among them), 12 %
three, 17 % a gesture on top of a walk (`layers.py`), in eight body styles, slowly, normally or
quickly, with small, normal or large movements, and 22 % in a mood (`moods.py`). Clip i depends on
(seed, i) alone. Motions are made of planted footsteps, pelvis and arm curves and inverse
kinematics; nothing is captured and nothing is learned.

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
from motiongpt.procedural.kinematics import Track, ease, join, rotation, solve
from motiongpt.procedural.layers import BASES, LEAST, OVERLAYS, SEATED, on_seat, overlay
from motiongpt.procedural.moods import MOODS, colour
from motiongpt.procedural.performer import EVEN, FPS, SIZES, STYLES, TEMPOS, Director, Stance, Style, draw_stance
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.sentences import family, write_captions

MIN_FRAMES, MAX_FRAMES = 40, 196

# How often a family of actions is drawn, 1 if it is not listed. Both sides of a family are equally likely.
WEIGHTS = {"walk_forward": 4.5, "wave": 2.0, "walk_circle": 3.6, "run": 1.5, "jump": 1.4, "turn": 2.4, "dance": 1.6}
WEIGHTS |= {"tree_pose": 1.9, "balance": 1.9, "sit_and_stand": 1.7, "kneel_and_rise": 1.9, "yoga": 1.8, "sneak": 1.8}
WEIGHTS |= {"spin": 1.4, "turn_around": 1.2, "hop": 1.3, "boxing": 1.2}
FIRST_WEIGHTS = WEIGHTS | {"walk_forward": 9.0, "stand_up": 3.0, "dance": 0.8}  # all but the last of several actions
LAST_WEIGHTS = WEIGHTS | {"walk_forward": 5.0, "wave": 4.0, "turn": 4.0, "sit_down": 2.5, "kneel": 2.0, "dance": 0.8}
# what does not start or end in the relaxed stand, and what takes too long to share a clip
ONLY_FIRST = ("stand_up",)
ONLY_LAST = ("sit_down", "kneel")
ONLY_ALONE = ("walk_circle", "sit_and_stand", "kneel_and_rise", "balance", "tree_pose", "yoga", "sneak")
LONG = ("warrior_pose", "pick_up", "pick_up_both", "stretch", "spin", "turn_around", "throw", "hop", "dance", "boxing")
SEQUENCES, TRIPLES, LAYERED = 0.26, 0.12, 0.17  # shares of clips with two actions, with three, and with two at once
ON_SEATS = 0.025  # share of clips in which somebody sits down and then does a gesture, some of those with two actions
MOODY = 0.22  # share of clips in a mood
DEGREES = (45, 90, 180, 360)  # of a turn,
DEGREE_SHARES = (0.18, 0.5, 0.18, 0.14)
FIRSTS = tuple(name for name in ACTIONS if family(name) not in ONLY_LAST + ONLY_ALONE)
MIDDLES = tuple(name for name in FIRSTS if family(name) not in (*ONLY_FIRST, *LONG))  # of three
LASTS = tuple(name for name in ACTIONS if family(name) not in ONLY_FIRST + ONLY_ALONE)
IDLE = ("stand_still",)  # actions without a movement of their own


@dataclass(frozen=True)
class Performed:
    """One action of a clip: its name in `ACTIONS`, its frames [start, end),
    and the facts the captions rely on."""

    name: str
    start: int
    end: int
    facts: dict  # always tempo and size; side, count, degrees, mood and while_ (a gesture on top) if there are any


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


@dataclass(frozen=True)
class Plan:
    """What a clip should show: a tempo and a size for each action, degrees for each turn; a gesture on
    top of each action, or nothing; one mood, one stance."""

    actions: tuple[str, ...]
    tempos: tuple[str, ...]
    sizes: tuple[str, ...]
    degrees: tuple[int, ...]
    over: tuple[str, ...]
    mood: str = ""
    stance: Stance = EVEN

    def perform(self, rng: np.random.Generator, style: Style) -> tuple[Track, tuple[Performed, ...]]:
        """The actions one after another. The time of a clip is shared evenly, but the result may still be too
        long."""
        several = len(self.actions)
        seconds = MAX_FRAMES / FPS * (0.995 if several == 1 else 0.9 / several)

        def cast() -> Iterator[Director]:
            for tempo, size, degrees, over in zip(self.tempos, self.sizes, self.degrees, self.over, strict=True):
                known = {"mood": self.mood, "degrees": degrees, "stance": self.stance, "least": LEAST * bool(over)}
                yield Director(rng, style, tempo, seconds, size, **known)

        return perform(self.actions, cast(), self.over)


def perform(
    actions: Sequence[str], directors: Iterable[Director], over: Sequence[str] = ()
) -> tuple[Track, tuple[Performed, ...]]:
    """The actions one after another, each with its director, of any length. `over` has a gesture on
    top of each action, or "". After sitting down, gestures are performed on the seat.

    Danger: a director draws when it is made. A generator makes each after the draws of the action
    before it.
    """
    tracks = []
    performed = []
    start = 0
    sits = False
    for name, director, gesture in zip(actions, directors, over or ("",) * len(actions), strict=True):
        action = ACTIONS[name]
        sits = sits and name in SEATED
        tracks.append(on_seat(tracks[-1], action, director) if sits else action(director))
        sits = sits or name == "sit_down"
        if gesture:
            overlay(tracks[-1], gesture, ACTIONS[gesture], director)
        end = start + len(tracks[-1])
        performed.append(Performed(name, start, end, director.facts))
        start = end
    return join(tracks), tuple(performed)


def finish(track: Track, performed: tuple[Performed, ...], rng: np.random.Generator, **known) -> Clip:
    """From a performance to a clip: breath, mood, joints, captions. `known` are id, participant and split."""
    idle = all(p.name in IDLE for p in performed)
    colour(track, performed[0].facts.get("mood", ""), rng, 0.1 if idle else 1.0)
    _enliven(track, 0.3 if idle else 1.0, rng)
    track.arms = smooth(track.arms, 0.7)  # rounds the corners where two movements of an arm meet
    joints = solve(track)
    # every clip starts at the origin facing +z, whatever the pelvis did in the first frame
    joints[..., [0, 2]] -= joints[0, 0, [0, 2]]
    left, right = joints[0, 1], joints[0, 2]  # hips: a pelvis that leans to two sides at once is turned a little
    yaw = np.arctan2(left[2] - right[2], left[0] - right[0])
    joints = joints @ rotation(*np.array([[0.0], [yaw], [0.0]]))[0].T.astype(np.float32)
    captions = write_captions([(p.name, p.facts) for p in performed], rng)
    actions = tuple(p.name for p in performed)
    return Clip(joints=joints, captions=captions, actions=actions, performed=performed, planted=track.planted, **known)


def _enliven(track: Track, much: float, rng: np.random.Generator) -> None:
    """A body that breathes is never quite still: its weight, head, trunk and arms wander, in place."""
    n = len(track)
    t = np.arange(n) / FPS
    breath = np.sin(2 * np.pi * (t / rng.uniform(3.2, 4.5) + rng.random()))
    track.spine[:, 0] += 0.008 * breath
    # ten slow waves of two frequencies each, 0 in the first frame and rising, in 0.15 to 0.8 Hz
    speeds = rng.uniform((0.15, 0.4), (0.4, 0.8), (10, 2))
    phases = rng.random((10, 2))
    waves = np.sin(2 * np.pi * (t[:, None, None] * speeds + phases)) @ (0.7, 0.3) * ease(t / 0.8)[:, None]  # (n, 10)
    waves *= much
    track.root += 0.009 * waves[:, :2]
    track.spine[:, 1:] += 0.03 * waves[:, 2:4]
    track.head += (0.04, 0.06, 0.03) * waves[:, 4:7]
    track.arms[:, :, 1] += 0.03 * waves[:, 7:9]
    track.arms[:, :, 3] += 0.05 * waves[:, 8:10]
    track.arms[:, :, 0] += 0.006 * breath[:, None]


def make_clip(
    actions: tuple[str, ...],
    rng: np.random.Generator,
    style: Style = STYLES[0],
    tempos: tuple[str, ...] | None = None,
    sizes: tuple[str, ...] | None = None,
    id: str = "clip",
    split: str = "train",
    degrees: tuple[int, ...] | None = None,
    over: tuple[str, ...] | None = None,
    mood: str = "",
    stance: Stance = EVEN,
) -> Clip:
    """Perform `actions` (names in `ACTIONS`) one after another.

    `tempos` has "slow", "normal" or "quick" for each action, `sizes` has "small", "normal" or
    "large". Some actions, such as sitting down, have one size only. `degrees` says how far each turn
    goes (90), `over` names a gesture (in `OVERLAYS`) on top of each action (in `BASES`), or "". The
    mood is a name in `MOODS`. Raises ValueError for an unknown action, tempo, size, gesture or mood,
    and for actions that do not fit into 196 frames.
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
    degrees = degrees or (90,) * len(actions)
    if len(degrees) != len(actions) or not set(degrees) <= set(DEGREES):
        raise ValueError(f"degrees must be one of {DEGREES} for each of {len(actions)} actions, got {degrees}")
    over = over or ("",) * len(actions)
    if len(over) != len(actions) or not set(over) <= {"", *OVERLAYS}:
        raise ValueError(f"over must be '' or one of {', '.join(OVERLAYS)} for each action, got {over}")
    for name, gesture in zip(actions, over, strict=True):
        if gesture and name not in BASES:
            raise ValueError(f"no gesture goes on top of {name}; use one of {', '.join(BASES)}")
    # the length is known only after the performance, as durations are drawn
    track, performed = Plan(actions, tempos, sizes, degrees, over, mood, stance).perform(rng, style)
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
    mood = str(rng.choice(list(MOODS))) if rng.random() < MOODY else ""
    stance = draw_stance(rng)
    kind = float(rng.random())
    while True:  # slow actions may be too long: draw again
        plan = draw_plan(rng, kind, mood, stance)
        track, performed = plan.perform(rng, style)
        if len(track) <= MAX_FRAMES:
            break
    return finish(track, performed, rng, id=clip_name(index, seed), participant=style.name, split=split)


def draw_plan(rng: np.random.Generator, kind: float, mood: str, stance: Stance) -> Plan:
    """What a clip shows; `kind` in 0..1 decides how many actions."""
    over: tuple[str, ...] = ()
    if kind < ON_SEATS:
        actions = ("sit_down", choose(rng, SEATED, {"wave": 1.8, "clap": 1.5, "nod": 1.3}))
    elif kind < SEQUENCES + TRIPLES:
        first = choose(rng, FIRSTS if kind < SEQUENCES else MIDDLES, FIRST_WEIGHTS)
        actions = (first,)
        if kind >= SEQUENCES:
            actions += (choose(rng, [name for name in MIDDLES if name not in actions], FIRST_WEIGHTS),)
        names = LASTS if kind < SEQUENCES else [name for name in LASTS if family(name) not in LONG]
        actions += (choose(rng, [name for name in names if name not in actions], LAST_WEIGHTS),)
    elif kind < SEQUENCES + TRIPLES + LAYERED:
        actions = (choose(rng, BASES, WEIGHTS),)
        over = (choose(rng, OVERLAYS, {"wave": 1.8, "raise_arm": 1.5, "point": 1.5}),)
    else:
        actions = (choose(rng, list(ACTIONS), WEIGHTS),)
    # several actions in one clip, and those in a mood, are seldom unusual in other ways
    plain = len(actions) > 1 or bool(over) or bool(mood)
    several = len(actions)
    shares = (0.06, 0.84, 0.1) if plain else (0.17, 0.66, 0.17)
    if several > 2:
        shares = (0.0, 0.8, 0.2)
    tempos = tuple(str(tempo) for tempo in rng.choice(list(TEMPOS), several, p=shares))
    shares = (0.07, 0.86, 0.07) if plain else (0.16, 0.68, 0.16)
    sizes = tuple(str(size) for size in rng.choice(list(SIZES), several, p=shares))
    sizes = tuple(s if family(name) in SIZED else "normal" for name, s in zip(actions, sizes, strict=True))
    degrees = tuple(int(k) for k in rng.choice(DEGREES, several, p=DEGREE_SHARES))
    return Plan(actions, tempos, sizes, degrees, over or ("",) * several, mood, stance)


def generate_clips(count: int, seed: int = 0) -> Iterator[Clip]:
    """Yield `count` clips. Clip i is a function of (seed, i), whatever `count` is.

    A hash of the index decides the split: about 90 % train, 5 % val, 5 % test.
    Raises ValueError for a negative count.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    for index in range(count):
        yield generate_clip(index, seed)
