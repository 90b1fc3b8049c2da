"""Who performs: body styles (the `participant` of a clip),
and the `Director` that gives an action what it needs.

A style changes how one and the same action looks: tempo, size, posture. The director draws the
clip's own variation on top, keeps durations inside their limit, and writes down the facts (`side`,
`count`, ...) that captions may mention.
"""

from dataclasses import dataclass, field

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, SIDES
from motiongpt.procedural.kinematics import TOE_AHEAD, Track, arm_pose, pulse, resting

FPS = HUMANML3D.fps
TEMPOS = {"slow": 1.4, "normal": 1.0, "quick": 0.74}  # factors of durations
SIZES = {"small": 0.7, "normal": 1.0, "large": 1.3}  # factors of amplitudes


@dataclass(frozen=True)
class Style:
    """A body style, the `participant` of a clip: how one and the same action differs between
    people."""

    name: str
    tempo: float = 1.0  # factor of durations
    size: float = 1.0  # factor of amplitudes
    stoop: float = 0.03  # spine pitch of the stand, radians
    stance: float = 0.105  # half the distance between the toes, metres
    abduction: float = 0.16  # arms away from the body, radians
    elbow: float = 0.3  # elbow flexion of the hanging arm, radians
    bounce: float = 1.0  # vertical play of steps
    head: float = 0.0  # head pitch, radians


STYLES = (
    Style("P001"),
    Style("P002", tempo=0.93, size=1.08, stoop=-0.01, bounce=1.25),
    Style("P003", tempo=1.09, size=0.92, stoop=0.13, elbow=0.38, head=-0.08),
    Style("P004", stance=0.135, abduction=0.26, elbow=0.36),
    Style("P005", tempo=0.96, stance=0.085, abduction=0.11, elbow=0.2),
    Style("P006", tempo=1.06, size=1.1, stance=0.12, bounce=0.8),
    Style("P007", tempo=0.9, size=0.94, abduction=0.2, elbow=0.5, bounce=1.3),
    Style("P008", tempo=1.03, stoop=0.07, elbow=0.24, head=0.1, bounce=0.9),
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
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        # `rate` multiplies durations and `size` amplitudes; each clip varies a little
        self.rate = TEMPOS[self.tempo] * self.style.tempo
        self.rate *= self.uniform(0.96, 1.04)
        self.size = SIZES[self.extent] * self.style.size * self.uniform(0.94, 1.06)
        self.facts |= {"tempo": self.tempo, "size": self.extent}

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def frames(self, seconds: float) -> int:
        """How many frames something takes at this tempo that normally takes `seconds`;
        at least two."""
        return max(2, round(FPS * seconds * self.rate))

    def span(self, seconds: tuple[float, float]) -> int:
        """Draw how many frames something lasts that has no end of its own, such as a walk; the
        tempo is that of its steps."""
        return min(round(FPS * self.uniform(*seconds)), self.limit())

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
        return int(self.rng.integers(4, 9))

    def stand(self, n: int) -> Track:
        """`n` frames of this style's relaxed stand, for an action to move."""
        s = self.style
        toes = np.array([[s.stance, 0.0, TOE_AHEAD], [-s.stance, 0.0, TOE_AHEAD]])
        one = Track(
            root=np.zeros((1, 2)),
            yaw=np.zeros(1),
            lift=np.zeros(1),
            pelvis=np.zeros((1, 3)),
            spine=np.array([[s.stoop, 0.0, 0.0]]),
            head=np.array([[s.head, 0.0, 0.0]]),
            arms=np.repeat(hanging(s.abduction, s.elbow)[None, None], 2, axis=1),
            hang=np.zeros((1, 2)),
            toes=toes[None],
            foot_yaw=np.array([[0.12, -0.12]]),  # toes a little outwards
            foot_pitch=np.zeros((1, 2)),
            knee_out=np.zeros((1, 2)),
            planted=np.ones((1, 2), bool),
        )
        return resting(n, one)


def repeated(
    d: Director, options: tuple[int, ...], rise: float, hold: float, fall: float, gap: float = 0.15
) -> tuple[Track, np.ndarray]:
    """A standing track and the weight (F,) in 0..1 of a movement made several times;
    durations in seconds.

    `options` are the possible counts; an option listed twice is twice as likely.
    """
    rise = d.frames(rise)
    hold = max(1, d.frames(hold))
    fall = d.frames(fall)
    gap = d.frames(gap)
    cycle = rise + hold + fall + gap
    # drawn before the count, which has to fit into what they leave
    before, after = d.pause(), d.pause()
    count = d.count(options, cycle, before + after)
    n = max(40, before + after + count * cycle)
    weight = sum(pulse(n, before + i * cycle, rise, hold, fall) for i in range(count))
    return d.stand(n), weight
