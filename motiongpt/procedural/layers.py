"""Two actions at once: a gesture on top of a walk, or on a seat.

The gesture is performed as ever, by a director whose stand is not a standing body but the walking
one: the gesture then moves arms, shoulders, trunk and head of the walk, which goes on below. What it
does to pelvis and feet is thrown away. It lasts about as long as the walk.

    track = walk_forward(director)
    overlay(track, "wave_right", director)

`on_seat` does the same for somebody who has sat down and stays there: pelvis and feet rest, and the
gesture lasts as long as it does for a standing body.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

from motiongpt.procedural.kinematics import Track, resting
from motiongpt.procedural.performer import FPS, Director

BASES = (
    "walk_forward",
    "walk_backward",
    "walk_circle_left",
    "walk_circle_right",
    "run",
    "march_in_place",
    "jog_in_place",
)
OVERLAYS = (
    "wave_left",
    "wave_right",
    "wave_both",
    "raise_arm_left",
    "raise_arm_right",
    "raise_both_arms",
    "clap",
    "hands_on_hips",
    "nod",
    "shake_head",
    "point_left",
    "point_right",
)
SEATED = (
    *(name for name in OVERLAYS if name != "hands_on_hips"),
    "look_left",
    "look_right",
    "drink_left",
    "drink_right",
)
UPPER_BODY = ("spine", "head", "arms", "hang", "shoulders")  # channels of a `Track`
LEAST = 3.4  # seconds of a walk that a gesture is put on
SLOWEST = 1.05  # factor of a gesture's durations; a slower one would not fit into the shortest walk
EDGES = 46  # frames that a gesture needs for going up and down


@dataclass
class Layered(Director):
    """A director whose stand is the middle of another track: whatever is changed there is changed in it."""

    base: Track | None = None

    def __post_init__(self):
        super().__post_init__()
        self.rate = min(self.rate, SLOWEST)

    def stand(self, n: int) -> Track:
        if n > len(self.base):
            raise ValueError(f"a gesture of {n} frames does not fit on {len(self.base)} frames; ask for a longer walk")
        first = (len(self.base) - n) // 2
        parts = {f.name: getattr(self.base, f.name)[first : first + n] for f in fields(Track)}
        # slices of the upper body are views, so that the base moves; all others are copies nobody looks at
        return Track(**{name: part if name in UPPER_BODY else part.copy() for name, part in parts.items()})

    def hold(self, seconds: tuple[float, float]) -> int:
        """What the walk leaves."""
        return len(self.base) - EDGES - int(self.uniform(0, 0.15) * len(self.base))

    def cycles(self, low: int, high: int, most: int) -> int:
        return max(low, most - int(self.rng.integers(2)))

    def count(self, options: tuple[int, ...], cycle: int, rest: int) -> int:
        """As often as there is time for."""
        self.facts["count"] = max(1, (len(self.base) - rest) // cycle)
        return self.facts["count"]


def overlay(base: Track, name: str, action: Callable[[Director], Track], director: Director) -> None:
    """Perform the gesture `action` on top of a track, in place, and note its `name` in the facts of the track's
    director."""
    seconds = len(base) / FPS
    gesture = Layered(director.rng, director.style, "normal", seconds, "normal", stance=director.stance, base=base)
    action(gesture)
    director.facts["while_"] = name


def on_seat(base: Track, action: Callable[[Director], Track], director: Director) -> Track:
    """Perform a gesture, one of `SEATED`, on the seat that the track `base` ends on; the track starts at its own
    origin, as `kinematics.join` expects."""
    last = Track(**{f.name: getattr(base, f.name)[-1:].copy() for f in fields(Track)})
    last.toes[..., [0, 2]] -= last.root[:, None]
    last.root[:] = 0.0
    director.seat = last
    track = action(director)
    rest = resting(len(track), last)
    for f in fields(Track):
        if f.name not in UPPER_BODY:
            setattr(track, f.name, getattr(rest, f.name))
    return track
