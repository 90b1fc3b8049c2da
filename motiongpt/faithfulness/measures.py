"""What a clip of joints measures: facing, travel, heights, angles, hands;
each computed once, when asked for.

`Measures(joints)` takes (F, 22, 3) metres at 20 fps, y up, any start and any facing; everything is
relative to the first frames. A sign that means a side is +1 for left and -1 for right; left is +x
of a body that faces +z. What it does not know: which action a clip should show (`conditions.py`).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, SIDES

FPS = HUMANML3D.fps
EDGE = 4  # frames averaged at the start and at the end of a clip: one motion code
UPRIGHT, CROUCH = 0.06, 0.17  # metres a body that stands is sunk: at most so far, and so much more if it crouches
STRAIGHT, STOOP = 8.0, 40.0  # degrees a trunk that stands leans: at most so far, and so much more if it stoops
NECK_BACK, FACING = 0.17, 0.15  # radians the neck leans back on an upright chest; least share of a skull that is ahead
OFF = 0.06  # metres: higher than this both feet are in the air
START, END = slice(0, EDGE), slice(-EDGE, None)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """The stretches [start, end) of True in a mask (F,), in order."""
    # a zero at both ends closes stretches there; edges alternate between start and end
    edges = np.flatnonzero(np.diff(np.concatenate(([0], np.asarray(mask, int), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def longest(mask: np.ndarray) -> int:
    """How many frames the longest stretch of True has."""
    return max((end - start for start, end in runs(mask)), default=0)


def strokes(curve: np.ndarray, size: float) -> list[tuple[int, int]]:
    """The ways of a curve (F,) from one turning point to the next that are at least `size` long.

    Each is (frame, frame) of its two ends. Smaller wiggles change nothing. A full wave is two strokes.
    """
    found: list[tuple[int, int]] = []
    way = 0  # 1 rising, -1 falling, 0 not known yet
    low = high = 0  # frames of the extremes since the last turn
    for frame, value in enumerate(curve):
        low = frame if value < curve[low] else low
        high = frame if value > curve[high] else high
        # a turn counts when the curve has come back from an extreme by `size`
        if way != 1 and value - curve[low] >= size:
            found.append((low, frame))
            way, high = 1, frame
        elif way != -1 and curve[high] - value >= size:
            found.append((high, frame))
            way, low = -1, frame
        elif found:  # the last stroke goes on to its extreme
            found[-1] = (found[-1][0], high if way == 1 else low)
    return found


def swings(curve: np.ndarray, size: float) -> int:
    """How often a curve (F,) goes from one turning point to the next by at least `size`.
    A full wave counts two."""
    return len(strokes(curve, size))


@dataclass(frozen=True)
class Measures:
    """Measures of one clip. Arrays are (F,) or, for a pair of limbs,
    (F, 2) with the left one first.

    Raises ValueError unless joints are (F, 22, 3) with F >= 2.
    """

    joints: np.ndarray  # (F, 22, 3) metres

    def __post_init__(self):
        joints = np.asarray(self.joints, np.float64)
        if joints.ndim != 3 or joints.shape[1:] != (HUMANML3D.num_joints, 3) or len(joints) < 2:
            raise ValueError(f"joints must be (F, {HUMANML3D.num_joints}, 3) with F >= 2, got {joints.shape}")
        # the dataclass is frozen
        object.__setattr__(self, "joints", joints)

    def joint(self, name: str) -> np.ndarray:
        """(F, 3) of one joint."""
        return self.joints[:, HUMANML3D.index(name)]

    def pair(self, name: str) -> np.ndarray:
        """(F, 2, 3) of a left and a right joint."""
        return np.stack([self.joint(f"{side}_{name}") for side in SIDES], axis=1)

    @cached_property
    def yaw(self) -> np.ndarray:
        """Where the hips face, radians to the left of +z, unwrapped."""
        across = self.joint("left_hip") - self.joint("right_hip")  # +x if it faces +z
        return np.unwrap(np.arctan2(-across[:, 2], across[:, 0]))

    @cached_property
    def turned(self) -> float:
        """Degrees turned to the left from the first frames to the last ones."""
        return float(np.degrees(self.yaw[END].mean() - self.yaw[START].mean()))

    def seen(self, points: np.ndarray, yaw: np.ndarray) -> np.ndarray:
        """Directions (F, ..., 3) of the room as (to the left, up, ahead) of a body with headings
        `yaw` (F,)."""
        # one heading per frame, for all points of the frame
        shape = (-1,) + (1,) * (points.ndim - 2)  # (F, 1, ...)
        sin, cos = np.sin(yaw).reshape(shape), np.cos(yaw).reshape(shape)
        x, y, z = np.moveaxis(points, -1, 0)
        return np.stack([cos * x - sin * z, y, sin * x + cos * z], axis=-1)

    @cached_property
    def travel(self) -> np.ndarray:
        """(3,) metres, the total displacement of the root:
        to the left, up, ahead, as seen from the first frames."""
        # means of several frames: one noisy frame moves the result little
        moved = self.joint("pelvis")[END].mean(0) - self.joint("pelvis")[START].mean(0)
        return self.seen(moved[None], self.yaw[START].mean(keepdims=True))[0]

    @cached_property
    def steps(self) -> np.ndarray:
        """(F - 1, 3) metres per frame of the root: to the left, up,
        ahead of the body at that moment."""
        return self.seen(np.diff(self.joint("pelvis"), axis=0), self.yaw[:-1])

    @cached_property
    def path(self) -> float:
        """Metres the root went over the ground, with its sway smoothed away."""
        # 10 frames are half a second, about one step
        ground = moving_mean(self.joint("pelvis")[:, [0, 2]], 10)
        return float(np.linalg.norm(np.diff(ground, axis=0), axis=-1).sum())

    @cached_property
    def ahead(self) -> float:
        """Metres gone in the direction faced at each moment. For a circle that is its length."""
        return float(self.steps[:, 2].sum())

    @cached_property
    def feet(self) -> np.ndarray:
        """(F, 2) metres the balls of the feet are above their height when they stand;
        never negative."""
        # a low percentile, not the minimum: one frame below the floor would lift all others
        balls = self.pair("foot")[..., 1]
        return np.maximum(balls - np.percentile(balls, 10), 0.0)

    @cached_property
    def flights(self) -> list[tuple[int, int]]:
        """The stretches [start, end) of frames in which both feet are higher than `OFF`."""
        return runs(self.feet.min(1) > OFF)

    @cached_property
    def floor(self) -> float:
        """Height of the floor: that of the balls of the feet when they stand."""
        return float(np.percentile(self.pair("foot")[..., 1], 10))

    @cached_property
    def upright(self) -> float:
        """Height of the pelvis over the floor, metres, when this body stands with straight legs."""
        leg = sum(np.linalg.norm(self.pair(a) - self.pair(b), axis=-1) for a, b in (("hip", "knee"), ("knee", "ankle")))
        hip = self.joint("pelvis")[:, 1] - self.pair("hip")[..., 1].mean(1)
        # percentiles and medians: single bad frames of a model should not move the stand
        ankle = np.percentile(self.pair("ankle")[..., 1], 20) - self.floor
        return float(np.median(leg) + np.median(hip) + ankle)

    @cached_property
    def sunk(self) -> np.ndarray:
        """(F,) metres the pelvis is below the upright stand on straight legs."""
        return self.upright - (self.joint("pelvis")[:, 1] - self.floor)

    @cached_property
    def drop(self) -> np.ndarray:
        """(F,) metres the pelvis is below this body's own stand.

        That is the upright one; a sneaky or tired body whose knees are never straight stands up to `CROUCH` lower.
        """
        # a body that takes off and lands stretches its legs, however it stands
        near_flight = np.convolve(self.feet.min(1) > OFF, np.ones(11), "same") > 0
        standing = self.sunk if near_flight.sum() > len(self.sunk) - 2 * EDGE else self.sunk[~near_flight]
        own = np.percentile(standing, 5) - UPRIGHT
        return self.sunk - np.clip(own, 0.0, CROUCH)

    @cached_property
    def lowest(self) -> int:
        """Frame in which the pelvis is lowest."""
        return int(self.drop.argmax())

    @cached_property
    def low_at_start(self) -> float:
        """`drop` in the first frames, metres."""
        return float(self.drop[START].mean())

    @cached_property
    def low_at_end(self) -> float:
        """`drop` in the last frames, metres."""
        return float(self.drop[END].mean())

    @cached_property
    def elbows(self) -> np.ndarray:
        """(F, 2) flexion of the elbows, degrees."""
        return bend(self.pair("shoulder"), self.pair("elbow"), self.pair("wrist"))

    @cached_property
    def bent_elbows(self) -> float:
        """Degrees by which both elbows are bent in at least a fifth of the frames."""
        return float(np.percentile(self.elbows.mean(1), 80))

    @cached_property
    def head(self) -> np.ndarray:
        """(F, 2) degrees: how far the head is turned to the left of the chest,
        and how far it is pitched forward."""
        # seen from the chest: a turned trunk is no turned head
        skull = self.joint("head") - self.joint("neck")
        left, up, ahead = self.seen(skull, self.chest_yaw).T  # (F,) each
        aside, high, along = self.seen(self.joint("neck") - self.joint("spine3"), self.chest_yaw).T
        tilt, roll = np.arctan2(along, high) + NECK_BACK, np.arctan2(aside, np.hypot(high, along))
        # Danger: over a trunk that leans back the skull points straight up, and its heading would be noise. The chest
        # sees it point ahead; a floor keeps the angle steady when the head itself goes back.
        front = np.maximum(ahead * np.cos(tilt) - up * np.sin(tilt), FACING * np.linalg.norm(skull, axis=-1))
        left = left * np.cos(roll) - (up * np.cos(tilt) + ahead * np.sin(tilt)) * np.sin(roll)
        return np.degrees(np.stack((np.arctan2(left, front), np.arctan2(ahead, up)), 1))

    @cached_property
    def chest_yaw(self) -> np.ndarray:
        """Where the shoulders face, radians to the left of +z."""
        across = self.joint("left_shoulder") - self.joint("right_shoulder")
        return np.arctan2(-across[:, 2], across[:, 0])

    @cached_property
    def twist(self) -> np.ndarray:
        """(F,) degrees the chest is turned to the left of the hips."""
        apart = self.chest_yaw - self.yaw
        return np.degrees(np.arctan2(np.sin(apart), np.cos(apart)))

    @cached_property
    def knee_height(self) -> np.ndarray:
        """(F, 2) knees over the floor, metres."""
        return self.pair("knee")[..., 1] - self.floor

    @cached_property
    def lean(self) -> np.ndarray:
        """(F,) degrees the trunk leans forward; negative is backward."""
        trunk = self.seen(self.joint("neck") - self.joint("pelvis"), self.yaw)
        return np.degrees(np.arctan2(trunk[:, 2], trunk[:, 1]))

    @cached_property
    def bent(self) -> np.ndarray:
        """(F,) degrees the trunk leans forward of this body's own stand, which stoops by up to `STOOP`."""
        own = np.percentile(self.lean, 10) - STRAIGHT
        return self.lean - np.clip(own, 0.0, STOOP)

    @cached_property
    def side_lean(self) -> np.ndarray:
        """(F,) degrees the trunk leans to the left."""
        trunk = self.seen(self.joint("neck") - self.joint("pelvis"), self.yaw)
        return np.degrees(np.arctan2(trunk[:, 0], np.hypot(trunk[:, 1], trunk[:, 2])))

    @cached_property
    def nod(self) -> np.ndarray:
        """(F,) degrees the head is pitched farther forward than the trunk."""
        return self.head[:, 1] - self.lean

    @cached_property
    def heels(self) -> np.ndarray:
        """(F, 2) metres the ankles are higher above the balls of the feet than on a flat foot."""
        high = self.pair("ankle")[..., 1] - self.pair("foot")[..., 1]
        return high - np.percentile(high, 5, axis=0)

    @cached_property
    def shoulders(self) -> np.ndarray:
        """(F, 2) metres the shoulders are over the neck, along the trunk."""
        trunk = self.joint("neck") - self.joint("spine1")
        trunk = trunk / np.maximum(np.linalg.norm(trunk, axis=-1, keepdims=True), 1e-9)
        return ((self.pair("shoulder") - self.joint("neck")[:, None]) * trunk[:, None]).sum(-1)

    @cached_property
    def hands_to_head(self) -> np.ndarray:
        """(F, 2) metres from each wrist to the head."""
        return np.linalg.norm(self.pair("wrist") - self.joint("head")[:, None], axis=-1)

    @cached_property
    def hands(self) -> np.ndarray:
        """(F, 2, 3) metres from each shoulder to its wrist: outward, up, ahead of the hips."""
        arm = self.seen(self.pair("wrist") - self.pair("shoulder"), self.yaw)
        # outward is to the left for the left arm, to the right for the right one
        return arm * np.array([[1, 1, 1], [-1, 1, 1]])

    @cached_property
    def hand_height(self) -> np.ndarray:
        """(F, 2) wrists over the floor, metres."""
        return self.pair("wrist")[..., 1] - self.floor

    @cached_property
    def hand_speed(self) -> np.ndarray:
        """(F - 1, 2, 3) speed of `hands`, m/s."""
        return np.diff(self.hands, axis=0) * FPS

    @cached_property
    def between_hands(self) -> np.ndarray:
        """(F,) metres between the wrists."""
        wrists = self.pair("wrist")
        return np.linalg.norm(wrists[:, 0] - wrists[:, 1], axis=-1)

    @cached_property
    def toes(self) -> np.ndarray:
        """(F, 2, 3) metres from the pelvis to the balls of the feet: to the left, up, ahead."""
        return self.seen(self.pair("foot") - self.joint("pelvis")[:, None], self.yaw)

    @cached_property
    def strides(self) -> np.ndarray:
        """(F,) metres one foot is ahead of the other."""
        return np.abs(self.toes[:, 0, 2] - self.toes[:, 1, 2])

    @cached_property
    def spread(self) -> np.ndarray:
        """(F,) metres the feet are apart sideways."""
        # sideways as the body faces in each frame, like `toes`
        return np.abs(self.toes[:, 0, 0] - self.toes[:, 1, 0])


def moving_mean(curve: np.ndarray, frames: int) -> np.ndarray:
    """Mean over `frames` neighbours of a curve (F, ...);
    the first and the last frame are repeated at the ends."""
    pad = [(frames // 2, frames - 1 - frames // 2)] + [(0, 0)] * (curve.ndim - 1)
    # a mean is the difference of two running sums; the zero in front is the empty sum
    total = np.cumsum(np.pad(np.pad(curve, pad, mode="edge"), [(1, 0)] + pad[1:]), axis=0)
    return (total[frames:] - total[:-frames]) / frames


def bend(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Degrees (...) by which the bone b-c is bent from the line of the bone a-b;
    joints (..., 3)."""
    u, v = b - a, c - b
    cosine = (u * v).sum(-1) / np.maximum(np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1), 1e-9)
    # rounding may take the cosine past 1, where arccos is NaN
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
