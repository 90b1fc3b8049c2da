"""A plain body for a skeleton: one capsule per bone, bound to it, left and right in colours of their own. NumPy."""

from dataclasses import dataclass

import numpy as np

from motiongpt.body.limbs import unit
from motiongpt.rigs.rig import Rig

SEGMENTS = 10  # around a capsule
CAP = (-60.0, -30.0, 0.0)  # degrees of the rings of a cap, after its pole
RADII = {  # metres, of a body with legs of LEG
    "pelvis": 0.1, "spine": 0.11, "shoulders": 0.075, "neck": 0.05, "head": 0.095, "hip": 0.07, "knee": 0.05,
    "ankle": 0.035, "foot": 0.03, "collar": 0.055, "shoulder": 0.045, "elbow": 0.038, "wrist": 0.03,
}  # fmt: skip
LEG = 0.82
HEAD = 0.12  # metres from the head's joint to the middle of the crown
STOUT = ("pelvis", "spine", "shoulders", "head")  # parts that may be thicker than their bones are long
SLIM = 0.5  # of its length that any other bone may be thick
LEFT, RIGHT, MIDDLE = (72, 137, 220), (226, 120, 60), (176, 180, 188)  # RGB

Kinds = dict[int, tuple[str, tuple[int, int, int]]]


@dataclass(frozen=True)
class Mesh:
    """N vertices, each bound to one bone, and triangles."""

    positions: np.ndarray  # (N, 3) float32 metres, in the rest pose
    normals: np.ndarray  # (N, 3) float32
    colours: np.ndarray  # (N, 4) uint8
    bones: np.ndarray  # (N,) int
    triangles: np.ndarray  # (T, 3) uint32


def figure(rig: Rig) -> Mesh:
    """Capsules along all bones of a rig that is in metres."""
    kinds = _kinds(rig)
    scale = rig.anatomy.leg(rig.rest) / LEG
    parts = []
    start = 0
    for bone, a, b, kind in _pieces(rig, kinds, scale):
        length = float(np.linalg.norm(b - a))
        if length < 1e-4:
            continue
        radius = min(RADII.get(kind, RADII["foot"]) * scale, (1.2 if kind in STOUT else SLIM) * length)
        colour = kinds.get(bone, ("", MIDDLE))[1]
        positions, normals, triangles = _capsule(a, b, radius)
        parts.append(
            (positions, normals, np.full(len(positions), bone), [(*colour, 255)] * len(positions), triangles + start)
        )
        start += len(positions)
    positions, normals, bones, colours, triangles = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Mesh(
        positions.astype(np.float32), normals.astype(np.float32), colours.astype(np.uint8), bones,
        triangles.astype(np.uint32),
    )  # fmt: skip


def _pieces(rig: Rig, kinds: Kinds, scale: float) -> list[tuple[int, np.ndarray, np.ndarray, str]]:
    """Capsules as the bone that moves them, both ends, and a key of RADII."""
    rest, parts = rig.rest, rig.anatomy.parts
    pieces = []
    for bone, parent in enumerate(rig.parents):
        if bone not in rig.parents and bone in rig.tips and bone != parts.get("head"):
            pieces.append((bone, rest[bone], rest[bone] + rig.tips[bone], kinds.get(bone, ("",))[0]))
        if parent >= 0 and (parent in kinds or rig.parents[parent] >= 0):  # no bone from the ground to the pelvis
            pieces.append((parent, rest[parent], rest[bone], kinds.get(parent, ("",))[0]))
    for bone, part, kind in ((parts["pelvis"], "hip", "pelvis"), (rig.anatomy.chest, "shoulder", "shoulders")):
        if f"left_{part}" in parts:  # hips and shoulders across
            pieces.append((bone, rest[parts[f"left_{part}"]], rest[parts[f"right_{part}"]], kind))
    if "head" in parts:
        above = rest[parts["head"]] + scale * np.array([0, HEAD, 0])
        pieces.append((parts["head"], rest[parts["head"]], above, "head"))
    return pieces


def _kinds(rig: Rig) -> Kinds:
    """Bone -> its key in RADII, and its colour. A joint of no length is what the bone before it is."""
    anatomy = rig.anatomy
    kinds = {bone: ("spine", MIDDLE) for bone in anatomy.spine} | {bone: ("neck", MIDDLE) for bone in anatomy.neck}
    for part, bone in anatomy.parts.items():
        side, _, kind = part.rpartition("_")
        kinds[bone] = (kind, {"left": LEFT, "right": RIGHT}.get(side, MIDDLE))
    for bone, parent in enumerate(rig.parents):
        if bone not in kinds and parent in kinds and np.allclose(rig.rest[bone], rig.rest[parent], atol=1e-6):
            kinds[bone] = kinds[parent]
    return kinds


def _capsule(a: np.ndarray, b: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (n, 3), normals (n, 3) and triangles (m, 3) of a capsule whose caps' tips are at a and b."""
    axis = unit(b - a)
    radius = min(radius, float(np.linalg.norm(b - a)) / 2 + radius / 2)
    across = unit(np.cross(axis, np.eye(3)[np.abs(axis).argmin()]))
    around = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    ring = np.cos(around)[:, None] * across + np.sin(around)[:, None] * np.cross(axis, across)  # (S, 3)
    normals, centres = [-axis[None]], [a[None]]
    for end, angles in ((a, CAP), (b, tuple(-angle for angle in reversed(CAP)))):
        for angle in np.radians(angles):
            normals.append(np.cos(angle) * ring + np.sin(angle) * axis)
            centres.append(np.repeat(end[None], SEGMENTS, axis=0))
    normals.append(axis[None])
    centres.append(b[None])
    normal = np.concatenate(normals)
    rings = 2 * len(CAP)
    here = np.arange(SEGMENTS)
    after = (here + 1) % SEGMENTS
    triangles = [np.stack((np.zeros(SEGMENTS, int), 1 + after, 1 + here), -1)]
    for r in range(rings - 1):
        low, high = 1 + r * SEGMENTS, 1 + (r + 1) * SEGMENTS
        triangles.append(np.stack((low + here, low + after, high + after), -1))
        triangles.append(np.stack((low + here, high + after, high + here), -1))
    last = 1 + rings * SEGMENTS
    triangles.append(np.stack((np.full(SEGMENTS, last), last - SEGMENTS + here, last - SEGMENTS + after), -1))
    return np.concatenate(centres) + radius * normal, normal, np.concatenate(triangles)
