"""Who performs: body styles (the `participant` of a clip), how somebody stands,
and the `Director` that gives an action what it needs.

A style changes how one and the same action looks: tempo, size, posture; a mood (`moods.py`) changes
the style. The director draws the clip's own variation on top, keeps durations inside their limit,
and writes down the facts (`side`, `count`, ...) that captions may mention.
"""

from dataclasses import dataclass, field

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, SIDES
from motiongpt.procedural.kinematics import TOE_AHEAD, Track, arm_pose, pulse, resting
from motiongpt.procedural.moods import dressed

FPS = HUMANML3D.fps
TEMPOS = {"slow": 1.4, "normal": 1.0, "quick": 0.74}  # factors of durations
SIZES = {"small": 0.7, "normal": 1.0, "large": 1.3}  # factors of amplitudes
LARGEST = 1.48  # factor: a larger style in a livelier mood would throw its body about


@dataclass(frozen=True)
class Style:
    """A body style, the `participant` of a clip: how one and the same action differs between
    people."""

    name: str
    words: str = ""  # the style for people
    tempo: float = 1.0  # factor of durations
    size: float = 1.0  # factor of amplitudes
    stoop: float = 0.03  # spine pitch of the stand, radians
    stance: float = 0.105  # half the distance between the toes, metres
    abduction: float = 0.16  # arms away from the body, radians
    elbow: float = 0.3  # elbow flexion of the hanging arm, radians
    bounce: float = 1.0  # vertical play of steps
    head: float = 0.0  # head pitch, radians
    swing: float = 1.0  # factor of the arm swing
    sway: float = 1.0  # factor of the pelvis's way from foot to foot


STYLES = (
    Style("P001", "upright and even"),
    Style("P002", "brisk, with wide, springy movements", tempo=0.93, size=1.08, stoop=-0.01, bounce=1.25, swing=1.2),
    Style("P003", "slow, stooped and small", tempo=1.09, size=0.92, stoop=0.13, elbow=0.38, head=-0.08, swing=0.8),
    Style("P004", "broad, with arms away from the body", stance=0.135, abduction=0.26, elbow=0.36, sway=1.5),
    Style("P005", "narrow and swinging", tempo=0.96, stance=0.085, abduction=0.11, elbow=0.2, sway=0.8, swing=1.15),
    Style("P006", "slow and large, with a flat gait", tempo=1.06, size=1.1, stance=0.12, bounce=0.8, sway=1.25),
    Style("P007", "quick and bouncy, with bent arms", tempo=0.9, size=0.94, abduction=0.2, elbow=0.5, bounce=1.3),
    Style("P008", "leaning forward, head up", tempo=1.03, stoop=0.07, elbow=0.24, head=0.1, bounce=0.9),
)


def hanging(abduction: float, elbow: float, swing=0.0) -> np.ndarray:
    """The `arm_pose` (..., 4) of a hanging arm: away from the body, bent at the elbow,
    swung forward; radians."""
    swing = np.asarray(swing, float)
    out = np.sin(abduction) * np.ones_like(swing)
    bent = swing + elbow
    upper = np.stack([out, -np.cos(swing), np.sin(swing)], axis=-1)  # (..., 3) out, up, forward
    # the more the elbow bends, the further the hand comes in front of the body
    fore = np.stack([0.4 * out - 0.25 * np.sin(elbow), -np.cos(bent), np.sin(bent)], axis=-1)
    return arm_pose(upper, fore)


@dataclass(frozen=True)
class Stance:
    """How somebody stands in a clip, before, between and after its actions. All zero: evenly on both
    feet, looking ahead."""

    weight: float = 0.0  # metres the pelvis is to the left of the middle of the feet
    stagger: float = 0.0  # metres the left foot is ahead of the right one
    splay: tuple[float, float] = (0.0, 0.0)  # each foot turned farther to the left, radians
    chest: tuple[float, float, float] = (0.0, 0.0, 0.0)  # spine pitch, yaw, roll
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    abduction: tuple[float, float] = (0.0, 0.0)  # each arm: farther from the body,
    elbow: tuple[float, float] = (0.0, 0.0)  # more bent,
    swing: tuple[float, float] = (0.0, 0.0)  # ahead of the body


EVEN = Stance()


def draw_stance(rng: np.random.Generator) -> Stance:
    """Draw how somebody stands: two thirds have their weight on one leg or one foot ahead."""

    def both(spread: float) -> tuple[float, float]:
        left, right = rng.normal(0.0, spread, 2).clip(-2 * spread, 2 * spread)
        return float(left), float(right)

    leaning, stepping = rng.random(2) < 0.45
    weight = float(rng.choice((-1, 1)) * rng.uniform(0.02, 0.045)) * leaning
    stagger = float(rng.choice((-1, 1)) * rng.uniform(0.03, 0.1)) * stepping
    pitch, yaw = both(0.04)
    roll = -1.6 * weight  # the shoulders stay level above a hip that is higher
    nod, look = both(0.07)
    abduction = both(0.05)
    elbow = tuple(abs(x) for x in both(0.16))
    return Stance(
        weight, stagger, both(0.07), (pitch, 1.2 * yaw, roll), (nod, look, -0.5 * roll), abduction, elbow, both(0.1)
    )


@dataclass
class Director:
    """What an action needs to know: random numbers, the body style, the tempo, the size,
    how long it may take.

    Danger: clips of a seed stay the same only if every action draws its random numbers in the same
    order.
    """

    rng: np.random.Generator
    style: Style
    tempo: str = "normal"  # "slow", "normal", "quick"
    seconds: float = 9.6  # the longest duration
    extent: str = "normal"  # "small", "normal", "large"
    mood: str = ""  # a name in MOODS, or nothing
    degrees: int = 90  # how far a turn goes
    stance: Stance = EVEN  # one for all actions of a clip, or they could not be joined
    least: float = 0.0  # the shortest duration of something that has no end of its own
    seat: Track | None = None  # one frame: the body sits like this instead of standing
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        self.style = dressed(self.style, self.mood)
        # `rate` multiplies durations and `size` amplitudes; each clip varies a little
        self.rate = TEMPOS[self.tempo] * self.style.tempo
        self.rate *= self.uniform(0.96, 1.04)
        self.size = min(SIZES[self.extent] * self.style.size * self.uniform(0.94, 1.06), LARGEST)
        self.facts |= {"tempo": self.tempo, "size": self.extent}
        if self.mood:
            self.facts["mood"] = self.mood

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def frames(self, seconds: float) -> int:
        """How many frames something takes at this tempo that normally takes `seconds`;
        at least two."""
        return max(2, round(FPS * seconds * self.rate))

    def span(self, seconds: tuple[float, float]) -> int:
        """Draw how many frames something lasts that has no end of its own, such as a walk; the
        tempo is that of its steps."""
        return min(round(FPS * max(self.uniform(*seconds), self.least)), self.limit())

    def hold(self, seconds: tuple[float, float]) -> int:
        """Draw how many frames a pose is held."""
        return self.frames(self.uniform(*seconds))

    def cycles(self, low: int, high: int, most: int) -> int:
        """Draw how often something goes to and fro that nobody counts: `low` to `high` times,
        and no more than `most` if that is possible."""
        return int(self.rng.integers(low, max(low + 1, min(most, high) + 1)))

    def limit(self) -> int:
        """The longest duration in frames."""
        return round(FPS * self.seconds)

    def count(self, options: tuple[int, ...], cycle: int, rest: int) -> int:
        """Draw how often to repeat a `cycle` (frames) with `rest` frames around it,
        from the options that fit."""
        # the smallest count if none fits; the clip may then be too long, which the caller checks
        fitting = [c for c in options if c * cycle + rest <= self.limit()] or [min(options)]
        self.facts["count"] = int(self.rng.choice(fitting))
        return self.facts["count"]

    def side(self, side: str | None = None) -> int:
        """0 for left, 1 for right; drawn evenly if the action does not name a side."""
        index = SIDES.index(side) if side else int(self.rng.integers(2))
        self.facts["side"] = SIDES[index]
        return index

    def pause(self) -> int:
        """Draw how many frames to stand before or after the action."""
        return int(self.rng.integers(2, 5))

    def stand(self, n: int) -> Track:
        """`n` frames of this style's relaxed stand, or of the seat, for an action to move."""
        if self.seat is not None:
            return resting(n, self.seat)
        s, on = self.style, self.stance
        toes = [[(1 - 2 * k) * s.stance - on.weight, 0.0, TOE_AHEAD + (0.5 - k) * on.stagger] for k in (0, 1)]
        arms = [hanging(max(s.abduction + on.abduction[k], 0.05), s.elbow + on.elbow[k], on.swing[k]) for k in (0, 1)]
        one = Track(
            root=np.zeros((1, 2)),
            yaw=np.zeros(1),
            lift=np.array([-0.2 * abs(on.weight)]),
            pelvis=np.array([[0.0, 0.0, 1.3 * on.weight]]),  # the hip above the straight leg is the higher one
            spine=np.array([[s.stoop, 0.0, 0.0]]) + on.chest,
            head=np.array([[s.head, 0.0, 0.0]]) + on.head,
            arms=np.array(arms)[None],
            hang=np.zeros((1, 2)),
            shoulders=np.zeros((1, 2)),
            toes=np.array(toes)[None],
            foot_yaw=np.array([[0.12, -0.12]]) + on.splay,  # toes a little outwards
            foot_pitch=np.zeros((1, 2)),
            knee_out=np.zeros((1, 2)),
            planted=np.ones((1, 2), bool),
        )
        return resting(n, one)


def shift(track: Track, side: int, w: np.ndarray, share: float = 0.75) -> None:
    """Bring the pelvis over the foot of a side by `w` (n,), in place; at 1, by `share` of the way.

    The hip above the other foot drops, and the trunk bends back to the middle. The body of somebody
    who moves an arm does this before the arm is there.
    """
    way = share * track.toes[0, side, 0]  # metres to the left, in the coordinates that a track starts in
    track.root[:, 0] += way * w
    track.pelvis[:, 2] += 0.9 * way * w
    track.spine[:, 2] -= 1.1 * way * w


def repeated(
    d: Director,
    options: tuple[int, ...],
    rise: float,
    hold: float | tuple[float, float],
    fall: float,
    gap: float = 0.15,
) -> tuple[Track, np.ndarray]:
    """A standing track and the weight (F,) in 0..1 of a movement made several times;
    durations in seconds, those of a pose that is held as a range to draw from.

    `options` are the possible counts; an option listed twice is twice as likely.
    """
    rise = d.frames(rise)
    hold = d.hold(hold) if isinstance(hold, tuple) else d.frames(hold)
    fall = d.frames(fall)
    gap = d.frames(gap)
    cycle = rise + hold + fall + gap
    # drawn before the count, which has to fit into what they leave
    before, after = d.pause(), d.pause()
    count = d.count(options, cycle, before + after)
    n = max(40, before + after + count * cycle)
    weight = sum(pulse(n, before + i * cycle, rise, hold, fall) for i in range(count))
    return d.stand(n), weight
