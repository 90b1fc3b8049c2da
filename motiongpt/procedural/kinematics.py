"""From a choreography to joints: a `Track` says what the body parts do,
`solve` finds the 22 joints that do it.

A track holds the quantities a choreographer thinks in, one row per frame: where the pelvis is,
where the toes are and whether they are planted, how the trunk leans, where the arms point. Legs are
solved by analytic two-bone inverse kinematics from the toes upwards, so a planted toe cannot slide.
The pelvis sinks when a planted leg would otherwise have to be longer than its bones. Arms are two
directions (upper arm, forearm), stored in the tangent plane of the direction "out and forward". So
the way between any two poses passes in front of the body, never through it.

All lengths are those of HUMANML3D; the rest directions below (SMPL's, rounded) only shape the
trunk. Sides are 0 = left, 1 = right; `out` is away from the body's middle; y is up, and yaw turns
+z (0) towards +x (left). What this does not know: balance, muscles, collisions between body parts.
"""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from motiongpt.body.limbs import triangle, unit
from motiongpt.body.skeletons import HUMANML3D, SIDES
from motiongpt.body.smoothing import smooth

JOINT = {name: index for index, name in enumerate(HUMANML3D.joints)}
LENGTH = np.linalg.norm(np.array(HUMANML3D.offsets), axis=1)  # (J,) bone from the parent to the joint
THIGH, SHIN, FOOT, UPPER, FORE = (
    LENGTH[[JOINT[f"{side}_{name}"] for side in SIDES]] for name in ("knee", "ankle", "foot", "elbow", "wrist")
)  # each (2,): left, right

# Rest directions, x = out. The offsets are a straight T; these give the trunk SMPL's curve and sloping collars.
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
MAX_LEG_REACH = 0.99  # longest planted leg, as a share of its bones: knees are never locked
STANDING = ANKLE_HEIGHT + 0.984 * float((THIGH + SHIN).min()) + 0.0669  # pelvis height of a relaxed stand, metres
LOW_HAND = -0.32  # metres over the shoulder: a hand that is any lower aims at nothing
TOE_AHEAD = 0.11  # metres from the pelvis forward to the toes in a relaxed stand


def ease(x: np.ndarray) -> np.ndarray:
    """Minimum-jerk step: 0 below 0, 1 above 1, flat to second order at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


def pulse(n: int, start: float, rise: float, hold: float, fall: float) -> np.ndarray:
    """(n,) weights: 0, up to 1 over `rise` frames from `start`, held, and back to 0.
    An infinite `fall` stays up."""
    t = np.arange(n)
    up = ease((t - start) / max(rise, 1e-6))
    return up if np.isinf(fall) else up - ease((t - start - rise - hold) / max(fall, 1e-6))


def flight(n: int, lift: int, land: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A foot's way through the air between two frames:
    progress (n,) 0..1, height (n,) 0..1, off the floor (n,) bool.

    The foot rises before it goes forward, and stops going forward before it sinks:
    a low foot hardly moves.
    """
    # 0.06 + 0.88 + 0.06 = 1: forward motion starts late and ends early; the power 0.7 makes the arc rise steeply
    s = np.clip((np.arange(n) - lift) / (land - lift), 0.0, 1.0)
    return ease((s - 0.06) / 0.88), np.sin(np.pi * s) ** 0.7, (s > 0) & (s < 1)


def through(n: int, frames, values, slopes=None) -> np.ndarray:
    """A smooth curve (n, ...) through `values` at `frames`:
    cubic Hermite, no overshoot, at rest at both ends.

    `slopes` pins derivatives, in units per frame, for take-off and landing speeds: same shape as
    `values`, NaN where the curve chooses by itself.
    """
    x, y = np.asarray(frames, float), np.asarray(values, float)
    width = np.diff(x).reshape((-1,) + (1,) * (y.ndim - 1))
    secant = np.diff(y, axis=0) / width
    # Slopes m at the keys: the harmonic mean of both secants, as in pchip, and 0 at a turning point. A mean that is
    # never above twice the smaller secant is what rules out overshoot.
    m = np.zeros_like(y)
    a, b = secant[:-1], secant[1:]
    m[1:-1] = np.where(a * b > 0, 2 * a * b / np.where(a + b == 0, 1.0, a + b), 0.0)
    if slopes is not None:
        m = np.where(np.isnan(slopes), m, slopes)
    # Every frame t lies in interval k, at share s of its width h: the four Hermite basis polynomials of s.
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
    """(F, 3, 3) Ry(yaw) Rx(pitch) Rz(roll): positive pitch leans forward, yaw turns left,
    roll tips to the right."""
    cp, sp = np.cos(pitch), np.sin(pitch)
    cy, sy = np.cos(yaw), np.sin(yaw)
    cr, sr = np.cos(roll), np.sin(roll)
    # the product of the three matrices, multiplied out
    rows = [
        [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [-sy * cr + cy * sp * sr, sy * sr + cy * sp * cr, cy * cp],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


# The directions in the middle of all arm poses, (out, up, forward): blends between poses go past them, in front.
_ARM_REST = {"upper": unit(np.array([1.0, 0.0, 1.0])), "fore": unit(np.array([0.37, 0.0, 1.0]))}
_UP = np.array([0.0, 1.0, 0.0])
# (2, 3) unit vectors each, which span the plane perpendicular to the level reference
_ARM_BASIS = {name: np.stack([_UP, np.cross(_UP, reference)]) for name, reference in _ARM_REST.items()}


def arm_pose(upper, fore) -> np.ndarray:
    """Two directions (..., 3), (out, up, forward) of the chest,
    as tangent coordinates (..., 4) that can be blended.

    Each direction becomes the way to it on the sphere: its angle from the reference times its
    direction there (the logarithm map). `arm_directions` is the inverse.
    """
    parts = []
    for name, direction in (("upper", upper), ("fore", fore)):
        # the part of d across the reference says which way, the angle says how far
        reference, d = _ARM_REST[name], unit(np.asarray(direction, float))
        cosine = np.clip(d @ reference, -1.0, 1.0)
        tangent = d - cosine[..., None] * reference
        parts.append(np.arccos(cosine)[..., None] * (unit(tangent) @ _ARM_BASIS[name].T))  # (..., 2)
    return np.concatenate(parts, axis=-1)


def arm_directions(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `arm_pose`: (..., 4) -> upper arm and forearm directions, each (..., 3)."""
    directions = []
    for name, part in (("upper", pose[..., :2]), ("fore", pose[..., 2:])):
        reference = _ARM_REST[name]
        angle = np.linalg.norm(part, axis=-1, keepdims=True)
        tangent = (part / np.maximum(angle, 1e-9)) @ _ARM_BASIS[name]
        directions.append(np.cos(angle) * reference + np.sin(angle) * tangent)
    return directions[0], directions[1]


def reach(hand, elbow=(0.5, -1.0, -0.3)) -> np.ndarray:
    """The arm pose (..., 4) whose hand is at `hand` (..., 3) = (out, up, forward) metres from the
    shoulder.

    `elbow` is the direction in which the elbow leaves the line from shoulder to hand. A hand too
    near or too far to reach is put at the nearest distance that can be reached.
    """
    hand = np.asarray(hand, float)
    a, b = UPPER.mean(), FORE.mean()  # metres; one pose serves both arms
    distance = np.linalg.norm(hand, axis=-1, keepdims=True)
    aim = hand / np.maximum(distance, 1e-9)
    d = np.clip(distance, 0.12, 0.99 * (a + b))
    pole = np.asarray(elbow, float)
    pole = unit(pole - (pole * aim).sum(-1, keepdims=True) * aim)  # its part perpendicular to the aim
    along, across = triangle(a, b, d)
    bend = along * aim + across * pole  # shoulder to elbow
    return arm_pose(bend, d * aim - bend)


@dataclass
class Track:
    """What the body does in F frames, in coordinates that start at the origin facing +z.
    Radians and metres."""

    root: np.ndarray  # (F, 2) pelvis x, z on the floor
    yaw: np.ndarray  # (F,) heading
    lift: np.ndarray  # (F,) pelvis height above a relaxed stand
    pelvis: np.ndarray  # (F, 3) pitch, yaw, roll on top of the heading
    spine: np.ndarray  # (F, 3) pitch, yaw, roll from pelvis to chest, shared by the three spine joints
    head: np.ndarray  # (F, 3) pitch, yaw, roll on top of the chest
    arms: np.ndarray  # (F, 2, 4) `arm_pose` of each side, in the chest's frame
    hang: np.ndarray  # (F, 2) 0: the arm moves with the chest; 1: it keeps its direction in space, as a hanging one
    shoulders: np.ndarray  # (F, 2) shoulder raised, radians of the collar-shoulder bone
    toes: np.ndarray  # (F, 2, 3) toe positions
    foot_yaw: np.ndarray  # (F, 2)
    foot_pitch: np.ndarray  # (F, 2) heel up (+) or toes up (-), relative to the flat foot
    knee_out: np.ndarray  # (F, 2) knees turned outwards
    planted: np.ndarray  # (F, 2) bool: the toe carries weight and must not move

    def __len__(self) -> int:
        return len(self.yaw)

    def blend(self, channel: str, weight: np.ndarray, target, side: int | None = None) -> None:
        """Move the channel of that name towards `target` by `weight` (F,) in 0..1, in place;
        `side` picks one limb."""
        values = getattr(self, channel)
        values = values if side is None else values[:, side]
        weight = np.asarray(weight).reshape((-1,) + (1,) * (values.ndim - 1))
        values += weight * (target - values)


def resting(n: int, stand: Track) -> Track:
    """A track of `n` frames that holds the one-frame pose `stand`."""
    return Track(*(np.repeat(getattr(stand, f.name)[:1], n, axis=0) for f in dataclasses.fields(Track)))


def join(tracks: list[Track]) -> Track:
    """Put tracks one after another: each starts at the place and with the heading at which the one
    before ended."""
    placed = []
    position = np.zeros(2)  # x, z
    turn = 0.0
    for track in tracks:
        cosine, sine = np.cos(turn), np.sin(turn)
        spin = np.array([[cosine, sine], [-sine, cosine]])  # acts on (x, z)
        toes = track.toes.copy()
        toes[..., [0, 2]] = toes[..., [0, 2]] @ spin.T + position
        # only what has a place or a heading in the room is moved
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


def _bone(name: str, side: int | None = None) -> np.ndarray:
    """(3,) rest vector of the bone that ends in a joint, metres;
    the right one is the left one mirrored."""
    direction = unit(np.array(REST[name]))
    if side is None:
        return direction * LENGTH[JOINT[name]]
    return direction * [1 - 2 * side, 1, 1] * LENGTH[JOINT[f"{SIDES[side]}_{name}"]]


def _turns(track: Track) -> list[np.ndarray]:
    """Rotations (F, 3, 3) of the pelvis and of the three spine joints, each of which turns by a third."""
    third = rotation(*(track.spine / 3).T)
    turns = [rotation(track.pelvis[:, 0], track.yaw + track.pelvis[:, 1], track.pelvis[:, 2])]
    for _ in range(3):
        turns.append(turns[-1] @ third)
    return turns


def chest_turn(track: Track) -> np.ndarray:
    """(F, 3, 3) rotation of the chest, which carries arms and head."""
    return _turns(track)[-1]


def aim_arms(track: Track, turn: np.ndarray) -> None:
    """Raised arms point in the room where a chest turned by `turn` (F, 3, 3) would point them, in place.

    Arms that hang, or whose hands are on hips or knees, stay with the chest.
    """
    upper, fore = arm_directions(track.arms)
    high = UPPER.mean() * upper[..., 1] + FORE.mean() * fore[..., 1]  # (F, 2) metres, of the hand over the shoulder
    w = ease((high - LOW_HAND) / 0.2) * (1 - track.hang)
    back = np.swapaxes(chest_turn(track), 1, 2) @ turn
    mirror = np.array([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])  # from out to left
    aimed = arm_pose(*(np.einsum("fij,fkj->fki", back, part * mirror) * mirror for part in (upper, fore)))
    track.arms += w[..., None] * (aimed - track.arms)


def solve(track: Track) -> np.ndarray:
    """Joints (F, 22, 3) float32 metres of a track; bone lengths are HUMANML3D's,
    first frame at x = z = 0."""
    F = len(track)
    at = {}  # joint -> (F, 3), from the inside outwards
    pelvis_turn, *spine_turns = _turns(track)
    hips = [pelvis_turn @ _bone("hip", side) for side in (0, 1)]  # (F, 3) each, from the pelvis

    # 1) Feet, from the toe back to the ankle.
    pitch = FLAT + track.foot_pitch  # (F, 2) of the ankle-toe bone below the horizon
    facing = heading(track.foot_yaw)  # (F, 2, 2)
    level = np.cos(pitch)
    foot = np.stack([level * facing[..., 0], -np.sin(pitch), level * facing[..., 1]], axis=-1)  # (F, 2, 3) ankle to toe
    ankles = track.toes - FOOT[:, None] * foot

    # 2) The pelvis, and the legs between hips and ankles.
    height = _pelvis_height(track, ankles, hips)
    at["pelvis"] = np.stack([track.root[:, 0], height, track.root[:, 1]], axis=-1)
    for side, name in enumerate(SIDES):
        hip = at[f"{name}_hip"] = at["pelvis"] + hips[side]
        knee, ankle = _leg(track, side, hip, ankles[:, side])
        at[f"{name}_knee"] = knee
        at[f"{name}_ankle"] = ankle
        at[f"{name}_foot"] = ankle + FOOT[side] * foot[:, side]

    # 3) Trunk and head: each of the three spine joints turns by a third.
    chain = ("pelvis", "spine1", "spine2", "spine3")
    for (parent, name), turn in zip(pairwise(chain), spine_turns, strict=True):
        at[name] = at[parent] + turn @ _bone(name)
    at["neck"] = at["spine3"] + turn @ _bone("neck")
    at["head"] = at["neck"] + turn @ rotation(*track.head.T) @ _bone("head")

    # 4) Arms: the chest carries collars and shoulders; `hang` blends the bone directions between chest and space.
    upright = rotation(np.zeros(F), track.yaw, np.zeros(F))
    upper, fore = arm_directions(track.arms)  # (F, 2, 3) each: (out, up, forward)
    for side, name in enumerate(SIDES):
        raised = track.shoulders[:, side] * (1 - 2 * side)
        half, full = (turn @ rotation(np.zeros(F), np.zeros(F), share * raised) for share in (0.5, 1.0))
        at[f"{name}_collar"] = at["spine3"] + half @ _bone("collar", side)
        point = at[f"{name}_shoulder"] = at[f"{name}_collar"] + full @ _bone("shoulder", side)
        for joint, direction, length in (("elbow", upper, UPPER[side]), ("wrist", fore, FORE[side])):
            local = direction[:, side] * [1 - 2 * side, 1, 1]
            with_chest = (turn @ local[..., None])[..., 0]
            in_space = (upright @ local[..., None])[..., 0]
            w = track.hang[:, side, None]
            point = at[f"{name}_{joint}"] = point + length * unit((1 - w) * with_chest + w * in_space)
    return np.stack([at[name] for name in HUMANML3D.joints], axis=1).astype(np.float32)


def _pelvis_height(track: Track, ankles: np.ndarray, hips: list[np.ndarray]) -> np.ndarray:
    """(F,) height of the pelvis: the track's, but no higher than the planted legs can reach.

    `ankles` (F, 2, 3) are places, `hips` (F, 3) the ways from the pelvis to each hip.
    """
    height = STANDING + track.lift
    excess = np.zeros(len(track))
    for side in (0, 1):
        # the hip lies on a ball of radius `limit` about the ankle: the farther away on the ground, the lower
        gap = ankles[:, side, [0, 2]] - track.root - hips[side][:, [0, 2]]
        limit = MAX_LEG_REACH * (THIGH + SHIN)[side]
        ceiling = ankles[:, side, 1] + np.sqrt(np.maximum(limit**2 - (gap**2).sum(-1), 0.01)) - hips[side][:, 1]
        excess = np.maximum(excess, np.where(track.planted[:, side], height - ceiling, 0.0))
    # The maximum over seven frames before smoothing makes it sink in time: a mean alone would leave it too high.
    padded = np.pad(excess, 3, mode="edge")
    return height - smooth(np.max([padded[i : i + len(track)] for i in range(7)], axis=0), 1.0)


def _leg(track: Track, side: int, hip: np.ndarray, ankle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knee and ankle (F, 3) of a leg that starts at `hip` and wants to end at `ankle`.

    Two bones between two places leave one freedom: the direction in which the knee points.
    """
    a, b = THIGH[side], SHIN[side]
    longest = (THIGH + SHIN)[side]
    leg = ankle - hip
    distance = np.linalg.norm(leg, axis=-1, keepdims=True)
    aim = leg / distance
    # a leg in the air saturates softly below its full length; the tanh keeps its speed continuous
    bound, top = 0.985 * longest, 0.998 * longest
    soft = bound + (top - bound) * np.tanh((distance - bound) / (top - bound))
    distance = np.maximum(np.where(distance > bound, soft, distance), 0.3 * longest)
    # the knee points half-way between the directions of pelvis and foot
    pelvis_yaw = track.yaw + track.pelvis[:, 1]
    out = track.knee_out[:, side] * (1 - 2 * side)
    gap = track.foot_yaw[:, side] - track.yaw - track.pelvis[:, 1]
    hinge = sideways(pelvis_yaw + 0.5 * np.sin(gap) + out)  # (F, 2) the knee's axis, pointing left
    forward = unit(np.cross(aim, np.stack([hinge[:, 0], np.zeros(len(track)), hinge[:, 1]], axis=-1)))
    along, across = triangle(a, b, distance)
    knee = hip + along * aim + across * forward
    return knee, hip + distance * aim
