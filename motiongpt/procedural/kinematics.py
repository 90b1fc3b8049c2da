"""From a choreography to joints: a `Track` says what the body parts do, `solve` finds the 22 joints that do it.

A track holds the quantities a choreographer thinks in, one row per frame: where the pelvis is, where the toes are and
whether they are planted, how the trunk leans, where the arms point. Legs are solved by analytic two-bone inverse
kinematics from the toes upwards, so a planted toe cannot slide; the pelvis sinks where a planted leg would otherwise
be longer than its bones. Arms are two directions (upper arm, forearm) stored in the tangent plane of the direction
"out and forward", so that interpolating between any two poses passes in front of the body, never through it.

All lengths are those of HUMANML3D; the rest directions below (SMPL's, rounded) only shape the trunk. What this does
not know: balance, muscles, collisions between body parts. Sides are 0 = left, 1 = right; `out` is away from the
body's middle; y is up and yaw turns +z (0) towards +x (left).
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.body.smoothing import smooth

J = {name: index for index, name in enumerate(HUMANML3D.joints)}
LENGTH = np.linalg.norm(np.array(HUMANML3D.offsets), axis=1)  # (J,) bone from the parent to the joint
THIGH, SHIN, FOOT, UPPER, FORE = (
    LENGTH[[J[f"left_{name}"], J[f"right_{name}"]]] for name in ("knee", "ankle", "foot", "elbow", "wrist")
)  # each (2,): left, right

# rest directions for x = out: the trunk is not the straight T of the offsets, it has SMPL's curve and sloping collars
REST = {
    "hip": (0.76, -0.65, 0.0),
    "spine1": (0.0, 0.97, -0.22),
    "spine2": (0.0, 1.0, 0.0),
    "spine3": (0.0, 0.92, 0.38),
    "neck": (0.0, 0.985, -0.17),
    "head": (0.0, 0.85, 0.52),
    "collar": (0.55, 0.82, -0.16),
    "shoulder": (0.95, 0.24, -0.2),
}
ANKLE_HEIGHT = 0.055  # of a flat foot; its toe is on the floor
FLAT = np.arcsin(ANKLE_HEIGHT / FOOT)  # (2,) how far the ankle-toe bone points below the horizon in a flat foot
REACH = 0.99  # a planted leg is at most this share of its bones' length: knees are never locked
STANDING = ANKLE_HEIGHT + 0.984 * float((THIGH + SHIN).min()) + 0.0669  # pelvis height of a relaxed stand, metres
TOE_AHEAD = 0.11  # the toe of a relaxed stand is this far in front of the pelvis


def normalise(v: np.ndarray) -> np.ndarray:
    """Unit vectors along the last axis; a zero vector stays zero."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def ease(x: np.ndarray) -> np.ndarray:
    """Minimum-jerk step: 0 below 0, 1 above 1, flat to second order at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


def pulse(n: int, start: float, rise: float, hold: float, fall: float) -> np.ndarray:
    """(n,) 0, eased up to 1 over `rise` frames from `start`, held, eased back; fall = inf stays up."""
    t = np.arange(n)
    up = ease((t - start) / max(rise, 1e-6))
    return up if np.isinf(fall) else up - ease((t - start - rise - hold) / max(fall, 1e-6))


def flight(n: int, lift: int, land: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A foot's way through the air: progress (n,) 0..1, height (n,) 0..1 and whether it is off the floor (n,) bool.

    It goes up first and forward only then, and the other way round at the end, so that a low foot hardly moves.
    """
    s = np.clip((np.arange(n) - lift) / (land - lift), 0.0, 1.0)
    return ease((s - 0.06) / 0.88), np.sin(np.pi * s) ** 0.7, (s > 0) & (s < 1)


def through(n: int, frames, values, slopes=None) -> np.ndarray:
    """(n, ...) smooth curve through `values` at `frames`: cubic Hermite, no overshoot, at rest at both ends.

    `slopes` (per frame, same shape as values, nan = choose) pins derivatives, for take-off and landing speeds.
    """
    x, y = np.asarray(frames, float), np.asarray(values, float)
    width = np.diff(x).reshape((-1,) + (1,) * (y.ndim - 1))
    secant = np.diff(y, axis=0) / width
    m = np.zeros_like(y)
    a, b = secant[:-1], secant[1:]
    m[1:-1] = np.where(a * b > 0, 2 * a * b / np.where(a + b == 0, 1.0, a + b), 0.0)  # harmonic mean, as pchip
    if slopes is not None:
        m = np.where(np.isnan(slopes), m, slopes)
    t = np.clip(np.arange(n), x[0], x[-1])
    k = np.clip(np.searchsorted(x, t, side="right") - 1, 0, len(x) - 2)
    s = ((t - x[k]) / np.diff(x)[k]).reshape((-1,) + (1,) * (y.ndim - 1))
    h = width[k]
    return (
        (1 + 2 * s) * (1 - s) ** 2 * y[k]
        + s * (1 - s) ** 2 * h * m[k]
        + s * s * (3 - 2 * s) * y[k + 1]
        + s * s * (s - 1) * h * m[k + 1]
    )


def heading(yaw: np.ndarray) -> np.ndarray:
    """(..., 2) unit (x, z) of a yaw in radians."""
    return np.stack([np.sin(yaw), np.cos(yaw)], axis=-1)


def sideways(yaw: np.ndarray) -> np.ndarray:
    """(..., 2) unit (x, z) to the left of a yaw."""
    return np.stack([np.cos(yaw), -np.sin(yaw)], axis=-1)


def rotation(pitch: np.ndarray, yaw: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """(F, 3, 3) Ry(yaw) Rx(pitch) Rz(roll): positive pitch leans forward, yaw turns left, roll tips to the right."""
    cp, sp, cy, sy, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    rows = [
        [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


# the poses every arm interpolation goes around: (out, up, forward)
_ARM_REST = {"upper": normalise(np.array([1.0, 0.0, 1.0])), "fore": normalise(np.array([0.37, 0.0, 1.0]))}


def _tangent_basis(reference: np.ndarray) -> np.ndarray:
    up = np.array([0.0, 1.0, 0.0])
    return np.stack([up, np.cross(up, reference)])  # (2, 3)


def arm_pose(upper, fore) -> np.ndarray:
    """(..., 4) tangent coordinates of two directions (..., 3) given as (out, up, forward) in the chest's frame."""
    parts = []
    for name, direction in (("upper", upper), ("fore", fore)):
        reference, d = _ARM_REST[name], normalise(np.asarray(direction, float))
        cosine = np.clip(d @ reference, -1.0, 1.0)
        tangent = d - cosine[..., None] * reference
        parts.append(np.arccos(cosine)[..., None] * (normalise(tangent) @ _tangent_basis(reference).T))
    return np.concatenate(parts, axis=-1)


def arm_directions(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `arm_pose`: (..., 4) -> upper arm and forearm directions, each (..., 3)."""
    directions = []
    for name, part in (("upper", pose[..., :2]), ("fore", pose[..., 2:])):
        reference = _ARM_REST[name]
        angle = np.linalg.norm(part, axis=-1, keepdims=True)
        tangent = (part / np.maximum(angle, 1e-9)) @ _tangent_basis(reference)
        directions.append(np.cos(angle) * reference + np.sin(angle) * tangent)
    return directions[0], directions[1]


def reach(hand, elbow=(0.5, -1.0, -0.3)) -> np.ndarray:
    """(..., 4) arm pose whose hand is at `hand` (..., 3) = (out, up, forward) metres from the shoulder.

    `elbow` is the direction in which the elbow leaves the line from shoulder to hand.
    """
    hand = np.asarray(hand, float)
    a, b = UPPER.mean(), FORE.mean()
    distance = np.linalg.norm(hand, axis=-1, keepdims=True)
    aim = hand / np.maximum(distance, 1e-9)
    d = np.clip(distance, 0.12, 0.99 * (a + b))
    pole = np.asarray(elbow, float)
    pole = normalise(pole - (pole * aim).sum(-1, keepdims=True) * aim)
    along = (a * a - b * b + d * d) / (2 * d)
    bend = along * aim + np.sqrt(np.maximum(a * a - along * along, 0.0)) * pole
    return arm_pose(bend, d * aim - bend)


@dataclass
class Track:
    """What the body does in F frames, in coordinates that start at the origin facing +z. Radians and metres."""

    root: np.ndarray  # (F, 2) pelvis x, z on the floor
    yaw: np.ndarray  # (F,) heading
    lift: np.ndarray  # (F,) pelvis height above a relaxed stand
    pelvis: np.ndarray  # (F, 3) pitch, yaw, roll on top of the heading
    spine: np.ndarray  # (F, 3) pitch, yaw, roll from pelvis to chest, shared by the three spine joints
    head: np.ndarray  # (F, 3) pitch, yaw, roll on top of the chest
    arms: np.ndarray  # (F, 2, 4) `arm_pose` of each side
    hang: np.ndarray  # (F, 2) 0: the arm moves with the chest; 1: it keeps its direction in space, as a hanging arm
    toes: np.ndarray  # (F, 2, 3) toe positions
    foot_yaw: np.ndarray  # (F, 2)
    foot_pitch: np.ndarray  # (F, 2) heel up (+) or toes up (-), relative to the flat foot
    knee_out: np.ndarray  # (F, 2) knees turned outwards
    planted: np.ndarray  # (F, 2) bool: the toe carries weight and must not move

    def __len__(self) -> int:
        return len(self.yaw)

    def blend(self, channel: str, weight: np.ndarray, target, side: int | None = None) -> None:
        """Move a channel towards `target` by `weight` (F,) in 0..1; `side` picks one arm or foot."""
        values = getattr(self, channel)
        values = values if side is None else values[:, side]
        weight = np.asarray(weight).reshape((-1,) + (1,) * (values.ndim - 1))
        values += weight * (target - values)


def resting(n: int, stand: Track) -> Track:
    """A track of `n` frames that holds the one-frame pose `stand`."""
    return Track(*(np.repeat(getattr(stand, f.name)[:1], n, axis=0) for f in dataclasses.fields(Track)))


def join(tracks: list[Track]) -> Track:
    """One after another, each starting where and facing as the one before it ended."""
    placed, position, turn = [], np.zeros(2), 0.0
    for track in tracks:
        cosine, sine = np.cos(turn), np.sin(turn)
        spin = np.array([[cosine, sine], [-sine, cosine]])  # acts on (x, z)
        toes = track.toes.copy()
        toes[..., [0, 2]] = toes[..., [0, 2]] @ spin.T + position
        placed.append(
            dataclasses.replace(
                track,
                root=track.root @ spin.T + position,
                yaw=track.yaw + turn,
                toes=toes,
                foot_yaw=track.foot_yaw + turn,
            )
        )
        position, turn = placed[-1].root[-1], float(placed[-1].yaw[-1])
    return Track(*(np.concatenate([getattr(t, f.name) for t in placed]) for f in dataclasses.fields(Track)))


def _direction(name: str, side: int = 0) -> np.ndarray:
    direction = normalise(np.array(REST[name]))
    return direction * [1 - 2 * side, 1, 1]


def solve(track: Track) -> np.ndarray:
    """Joints (F, 22, 3) float32 metres of a track; bone lengths are HUMANML3D's, first frame at x = z = 0."""
    F = len(track)
    joints = np.zeros((F, 22, 3))
    pelvis_turn = rotation(track.pelvis[:, 0], track.yaw + track.pelvis[:, 1], track.pelvis[:, 2])  # (F, 3, 3)
    hips = [
        pelvis_turn @ (_direction("hip", side) * LENGTH[J["left_hip"] + side]) for side in (0, 1)
    ]  # from the pelvis

    # feet: from the toe back to the ankle
    pitch, facing = FLAT + track.foot_pitch, heading(track.foot_yaw)  # (F, 2), (F, 2, 2)
    foot = np.stack(
        [np.cos(pitch) * facing[..., 0], -np.sin(pitch), np.cos(pitch) * facing[..., 1]], axis=-1
    )  # (F, 2, 3) ankle to toe
    ankles = track.toes - FOOT[:, None] * foot

    # the pelvis sinks, smoothly and ahead of time, where a planted leg would be too short
    height = STANDING + track.lift
    excess = np.zeros(F)
    for side in (0, 1):
        gap = ankles[:, side, [0, 2]] - track.root - hips[side][:, [0, 2]]
        limit = REACH * (THIGH + SHIN)[side]
        ceiling = ankles[:, side, 1] + np.sqrt(np.maximum(limit**2 - (gap**2).sum(-1), 0.01)) - hips[side][:, 1]
        excess = np.maximum(excess, np.where(track.planted[:, side], height - ceiling, 0.0))
    padded = np.pad(excess, 3, mode="edge")
    height = height - smooth(np.max([padded[i : i + F] for i in range(7)], axis=0), 1.0)
    joints[:, 0] = np.stack([track.root[:, 0], height, track.root[:, 1]], axis=-1)

    for side in (0, 1):
        hip = joints[:, 0] + hips[side]
        a, b, longest = THIGH[side], SHIN[side], (THIGH + SHIN)[side]
        leg = ankles[:, side] - hip
        distance = np.linalg.norm(leg, axis=-1, keepdims=True)
        aim = leg / distance
        bound, top = 0.985 * longest, 0.998 * longest  # a free leg saturates softly below its full length
        distance = np.where(
            distance > bound, bound + (top - bound) * np.tanh((distance - bound) / (top - bound)), distance
        )
        distance = np.maximum(distance, 0.3 * longest)
        out = track.knee_out[:, side] * (1 - 2 * side)
        gap = track.foot_yaw[:, side] - track.yaw - track.pelvis[:, 1]
        hinge = sideways(track.yaw + track.pelvis[:, 1] + 0.5 * np.sin(gap) + out)  # the knee's axis, pointing left
        forward = normalise(np.cross(aim, np.stack([hinge[:, 0], np.zeros(F), hinge[:, 1]], axis=-1)))
        along = (a * a - b * b + distance**2) / (2 * distance)
        knee = hip + along * aim + np.sqrt(np.maximum(a * a - along**2, 0.0)) * forward
        ankle = hip + distance * aim
        joints[:, J["left_hip"] + side] = hip
        joints[:, J["left_knee"] + side] = knee
        joints[:, J["left_ankle"] + side] = ankle
        joints[:, J["left_foot"] + side] = ankle + FOOT[side] * foot[:, side]

    third = rotation(*(track.spine / 3).T)
    turn = pelvis_turn
    for name, parent in (("spine1", "pelvis"), ("spine2", "spine1"), ("spine3", "spine2")):
        turn = turn @ third
        joints[:, J[name]] = joints[:, J[parent]] + turn @ (_direction(name) * LENGTH[J[name]])
    chest = joints[:, J["spine3"]]
    joints[:, J["neck"]] = chest + turn @ (_direction("neck") * LENGTH[J["neck"]])
    nod = turn @ rotation(*track.head.T)
    joints[:, J["head"]] = joints[:, J["neck"]] + nod @ (_direction("head") * LENGTH[J["head"]])

    upright = rotation(np.zeros(F), track.yaw, np.zeros(F))
    upper, fore = arm_directions(track.arms)  # (F, 2, 3) each
    for side in (0, 1):
        collar = chest + turn @ (_direction("collar", side) * LENGTH[J["left_collar"] + side])
        shoulder = collar + turn @ (_direction("shoulder", side) * LENGTH[J["left_shoulder"] + side])
        point, lengths = shoulder, (UPPER[side], FORE[side])
        joints[:, J["left_collar"] + side], joints[:, J["left_shoulder"] + side] = collar, shoulder
        for name, direction, length in zip(("left_elbow", "left_wrist"), (upper, fore), lengths, strict=True):
            local = direction[:, side] * [1 - 2 * side, 1, 1]
            with_chest = (turn @ local[..., None])[..., 0]
            in_space = (upright @ local[..., None])[..., 0]
            w = track.hang[:, side, None]
            point = point + length * normalise((1 - w) * with_chest + w * in_space)
            joints[:, J[name] + side] = point
    return joints.astype(np.float32)
