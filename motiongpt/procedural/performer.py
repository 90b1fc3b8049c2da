"""Who performs: body styles (the `participant` of a clip) and the `Director` that gives an action what it needs.

A style changes how one and the same action looks (tempo, size, posture). The director draws the clip's own variation
on top, keeps durations inside their limit, and writes down the facts (`side`, `count`, ...) that captions may speak of.
"""

from dataclasses import dataclass, field

import numpy as np

from motiongpt.procedural.kinematics import TOE_AHEAD, Track, arm_pose, pulse, resting

FPS = 20
SIDES = ("left", "right")
TEMPOS = {"slow": 1.4, "normal": 1.0, "quick": 0.74}  # durations are multiplied by it
SIZES = {"small": 0.7, "normal": 1.0, "large": 1.3}  # amplitudes are multiplied by it


@dataclass(frozen=True)
class Style:
    """A body style, the `participant` of a clip: how one and the same action differs between people."""

    name: str
    tempo: float = 1.0  # durations are multiplied by it
    size: float = 1.0  # amplitudes
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
    """(..., 4) a hanging arm: away from the body, bent at the elbow, swung forward; radians."""
    swing = np.asarray(swing, float)
    out = np.sin(abduction) * np.ones_like(swing)
    bent = swing + elbow
    upper = np.stack([out, -np.cos(swing), np.sin(swing)], axis=-1)
    fore = np.stack([0.4 * out - 0.25 * np.sin(elbow), -np.cos(bent), np.sin(bent)], axis=-1)
    return arm_pose(upper, fore)


@dataclass
class Director:
    """What an action needs to know: random numbers, the body style, the tempo, how long it may take."""

    rng: np.random.Generator
    style: Style
    tempo: str = "normal"  # "slow", "normal", "quick"
    seconds: float = 9.6  # longest duration
    extent: str = "normal"  # "small", "normal", "large"
    facts: dict = field(default_factory=dict)

    def __post_init__(self):
        self.rate = TEMPOS[self.tempo] * self.style.tempo
        self.rate *= self.uniform(0.96, 1.04)
        self.size = SIZES[self.extent] * self.style.size * self.uniform(0.94, 1.06)
        self.facts |= {"tempo": self.tempo, "size": self.extent}

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def frames(self, seconds: float) -> int:
        """Frames that something of normally `seconds` takes at this tempo."""
        return max(2, round(FPS * seconds * self.rate))

    def limit(self) -> int:
        return round(FPS * self.seconds)

    def count(self, options: tuple[int, ...], cycle: int, rest: int) -> int:
        """How often to repeat a `cycle` (frames) beside `rest` frames; what does not fit is not offered."""
        fitting = [c for c in options if c * cycle + rest <= self.limit()] or [min(options)]
        self.facts["count"] = int(self.rng.choice(fitting))
        return self.facts["count"]

    def side(self, side: str | None = None) -> int:
        """0 left, 1 right; drawn evenly where the action does not say."""
        index = SIDES.index(side) if side else int(self.rng.integers(2))
        self.facts["side"] = SIDES[index]
        return index

    def pause(self) -> int:
        """Frames of standing before or after."""
        return int(self.rng.integers(4, 9))

    def stand(self, n: int) -> Track:
        """`n` frames of the relaxed stand of this style."""
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
            foot_yaw=np.array([[0.12, -0.12]]),
            foot_pitch=np.zeros((1, 2)),
            knee_out=np.zeros((1, 2)),
            planted=np.ones((1, 2), bool),
        )
        return resting(n, one)


def repeated(d: Director, options: tuple[int, ...], rise: float, hold: float, fall: float, gap: float = 0.15):
    """A standing track and the (F,) weight of a movement repeated `count` times; times in seconds."""
    rise, hold, fall, gap = d.frames(rise), max(1, d.frames(hold)), d.frames(fall), d.frames(gap)
    cycle = rise + hold + fall + gap
    before, after = d.pause(), d.pause()
    count = d.count(options, cycle, before + after)
    n = max(40, before + after + count * cycle)
    weight = sum(pulse(n, before + i * cycle, rise, hold, fall) for i in range(count))
    return d.stand(n), weight, before, cycle, count
