"""BVH (Biovision hierarchy) files: any hierarchy and channel order -> joint positions in metres, y up.

A rotation is the product of its channels from left to right, R = R(first) R(second) R(third), in degrees, and acts on
column vectors. Position channels replace the OFFSET, at the root and at any other joint, as motion capture software
writes them. The format says neither the unit nor the axis that points up. Both are guessed from the body and noted, and
both can be given. Clips are resampled before forward kinematics, so bones keep their lengths.

What exporters do wrong is repaired where it is certain, and noted: a rest pose before or after the motion, the thorax
bone that CMU's conversion lacks, a miscount of rows.

The grammar is `bvh_text.py`; joint names of other skeletons are `data/joint_maps.py`. Left-handed files are not
recognised.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from motiongpt.body.kinematics import forward_kinematics
from motiongpt.body.rotations import quaternion_multiply
from motiongpt.data.joint_maps import ankles_without_toes, match_map, missing_thorax
from motiongpt.data.jumps import without_rest_pose
from motiongpt.data.raw import RawClip, z_up_to_y_up
from motiongpt.data.readers.asf_text import parse_asf
from motiongpt.data.readers.bvh_text import Bvh, parse
from motiongpt.data.resample import cubic_spline, new_length, slerp
from motiongpt.files.listing import visible

MAX_POSITIONS = 10_000_000  # frames x joints, before and after resampling: 2 GB while they are worked on
UNITS = {
    "metres": 1.0,
    "CMU units": 0.0254 / 0.45,  # of the CMU motion capture database
    "inches": 0.0254,
    "centimetres": 0.01,
    "millimetres": 0.001,
}
SAME_BONE = 0.01  # of its length, by which a bone may differ between two files of one subject
REACH = 2.2  # metres from an adult's toes along the bones to the fingers: the same in any pose
_AXIS = {"X": 0, "Y": 1, "Z": 2}


def find(folder: str | Path) -> list[Path]:
    """All BVH files below a folder, sorted. Raises FileNotFoundError if there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    return [path for path in visible(folder.rglob("*"), folder) if path.suffix.lower() == ".bvh" and path.is_file()]


def read(
    path: str | Path,
    fps: float | None = None,
    unit: float | None = None,
    up: str | None = None,
    end_sites: bool = False,
) -> RawClip:
    """One clip of all joints of the file, under the file's names.

    Args:
        fps: rate to resample to (rotations by slerp, positions by a cubic spline); None keeps the file's.
        unit: metres per unit of the file; None guesses it from the lengths of the bones.
        up: "y" or "z", the axis that points up in the file; None guesses it from the poses.
        end_sites: keep the End Sites, too, as NAME_end.

    Raises FileNotFoundError, or ValueError naming the file and the line at fault.
    """
    return _to_clip(parse(path), path, fps, unit, up, end_sites)


def explain(
    path: str | Path,
    fps: float | None = None,
    unit: float | None = None,
    up: str | None = None,
    end_sites: bool = False,
) -> list[str]:
    """Lines for people: what the file holds and what `read` makes of it, or what is wrong with it and where."""
    try:
        bvh = parse(path)
    except (ValueError, OSError) as error:
        return [f"broken: {error}"]
    F, C = bvh.values.shape
    joints = [name for name, end in zip(bvh.names, bvh.end_sites, strict=True) if not end]
    lines = [
        f"{path}: BVH, {len(joints)} joints, {C} channels, {F} frames at {bvh.fps:g} fps, {F / bvh.fps:.2f} s",
        f"joints: {', '.join(joints)}",
    ]
    orders = Counter(order for order, end in zip(bvh.channels, bvh.end_sites, strict=True) if not end)
    lines += [f"channels of {n} joints: {' '.join(order) or 'none'}" for order, n in orders.most_common(5)]
    try:
        clip = _to_clip(bvh, path, fps, unit, up, end_sites)
    except ValueError as error:
        return [*lines, f"broken: {error}"]
    lines += explain_clip(clip)
    dropped = len(bvh.names) - len(clip.names)
    lines += [f"dropped: {dropped} End Sites (the tips of the last bones)"] if dropped else []
    return [*lines, explain_map(clip)]


def explain_clip(clip: RawClip) -> list[str]:
    """Lines for people: what was assumed of a clip, and what of it was kept."""
    low, high = clip.joints.min((0, 1)), clip.joints.max((0, 1))
    box = ", ".join(f"{axis} {a:.2f} to {b:.2f}" for axis, a, b in zip("xyz", low, high, strict=True))
    kept = f"kept: {len(clip.joints)} frames at {clip.fps:g} fps of {len(clip.names)} joints; metres: {box}"
    return [*clip.notes, kept]


def explain_map(clip: RawClip) -> str:
    """A line for people: the joint map that fits a clip, and the joints that it does not use."""
    try:
        map_name, joint_map = match_map(clip.names)
    except ValueError as error:
        return f"joint map: {error}"
    used = {source for parts in joint_map.values() for source in parts}
    unused = [name for name in clip.names if name not in used]
    return f"joint map: {map_name}; joints it does not use: {', '.join(unused) or 'none'}"


def _to_clip(
    bvh: Bvh, path: str | Path, fps: float | None, unit: float | None, up: str | None, end_sites: bool
) -> RawClip:
    """The steps of `read` after parsing."""
    for name, value in (("fps", fps), ("unit", unit)):
        if value is not None and not 1e-6 < value <= 1000:
            raise ValueError(f"{name} must be above 0 and at most 1000, got {value}")
    if up not in (None, "y", "z"):
        raise ValueError(f"up must be y or z, got {up!r}")
    rate = fps or bvh.fps
    largest = max(new_length(len(bvh.values), bvh.fps, rate), len(bvh.values))
    if largest * len(bvh.names) > MAX_POSITIONS:
        raise ValueError(f"{path}: {largest} frames of {len(bvh.names)} joints are too many to hold; split the clip")
    notes = [f"names: {name} (its name stood there before)" for name in bvh.renamed]
    if bvh.frames_said != len(bvh.values):
        notes.append(f"frames: {len(bvh.values)} rows, the file says {bvh.frames_said}; all rows are read")
    if any(channel.endswith("scale") for own in bvh.channels for channel in own):
        notes.append("scale channels: ignored")

    # 1) Local transforms, in the file's unit and at the new rate.
    quaternions, positions = local_transforms(bvh)
    rotates = [channel.endswith("rotation") for own in bvh.channels for channel in own]
    angles = np.radians(bvh.values[:, rotates])
    frames, rest_notes = without_rest_pose(angles, partial(forward_kinematics, quaternions, positions, bvh.parents))
    quaternions, positions = quaternions[frames], positions[frames]
    notes += rest_notes
    F = new_length(len(positions), bvh.fps, rate)
    body = _body(bvh.parents)
    if unit is None:
        unit, note = guess_unit(positions, bvh.parents, body)
        notes.append(note)
    else:
        notes.append(f"unit: {unit:g} metres (given)")
    thorax = missing_thorax(bvh.names, bvh.parents, positions[0])
    if thorax is not None:
        thorax, source = _thorax_of_subject(Path(path), bvh, thorax)
        positions = positions + thorax
        length = np.linalg.norm(thorax, axis=-1).max() * unit
        notes.append(f"thorax: {length:.4f} m put back {source} (this conversion of CMU files leaves it out)")
    if rate != bvh.fps:
        times = np.minimum(np.arange(F) * (bvh.fps / rate), len(positions) - 1)
        quaternions = slerp(quaternions, times)
        positions = cubic_spline(positions, times)
        notes.append(f"fps: {bvh.fps:g} resampled to {rate:g}")

    # 2) Joints in metres, y up.
    joints = forward_kinematics(quaternions, positions, bvh.parents)
    if up is None:
        identity = np.zeros((1, len(bvh.names), 4))
        identity[..., 0] = 1
        rest = forward_kinematics(identity, bvh.offsets[None], bvh.parents)
        up, note = guess_up(joints[:, body], rest[:, body])
        notes.append(note)
    else:
        notes.append(f"up: {up} (given)")
    if up == "z":
        joints = z_up_to_y_up(joints)
    ankles = ankles_without_toes(bvh.names)
    tips = {f"{ankle}_end" for ankle in ankles}  # they tell where the toes are
    keep = [j for j, end in enumerate(bvh.end_sites) if end_sites or not end or bvh.names[j] in tips]
    joints = (joints[:, keep] * unit).astype(np.float32)
    return RawClip(joints, tuple(bvh.names[j] for j in keep), rate, notes=tuple(notes))


def skeleton_places(path: Path) -> list[Path]:
    """Where the skeleton of a subject of CMU may lie: 02.asf for 02_01.bvh, beside it or in the folder above."""
    return [place / f"{path.stem.split('_')[0]}.asf" for place in (path.parent, path.parent.parent)]


def _thorax_of_subject(path: Path, bvh: Bvh, guess: np.ndarray) -> tuple[np.ndarray, str]:
    """The thorax (J, 3) by the skeleton of the subject, 02.asf for 02_01.bvh, if it is at hand; else `guess`."""
    file = next(filter(Path.is_file, skeleton_places(path)), None)
    if file is None:
        return guess, "by proportion"
    try:
        asf = parse_asf(file)
        bones = dict(zip(asf.names, asf.offsets, strict=True))
        upper, thorax = bones["upperback"], bones["thorax"]
    except (ValueError, OSError, KeyError):
        return guess, "by proportion"
    ours = bvh.offsets[bvh.parents[int(np.argmax(guess.any(axis=1)))]]  # of Spine1: the same bone in both files
    scale = np.linalg.norm(ours) / max(np.linalg.norm(upper), 1e-9)
    if np.linalg.norm(ours - scale * upper) > SAME_BONE * np.linalg.norm(ours):
        return guess, f"by proportion, since {file.name} is of another body"
    return np.where(guess.any(axis=1, keepdims=True), scale * thorax, 0.0), f"from {file.name}"


def local_transforms(bvh: Bvh) -> tuple[np.ndarray, np.ndarray]:
    """Unit quaternions (F, J, 4), w x y z, and positions (F, J, 3) of every joint in its parent's frame."""
    F, J = len(bvh.values), len(bvh.names)
    positions = np.repeat(bvh.offsets[None], F, axis=0)
    rotations: list[list[tuple[int, int]]] = [[] for _ in bvh.names]  # per joint: (column, axis), from left to right
    column = 0
    for j, own in enumerate(bvh.channels):
        for channel in own:
            if channel.endswith("position"):
                positions[:, j, _AXIS[channel[0]]] = bvh.values[:, column]
            elif channel.endswith("rotation"):
                rotations[j].append((column, _AXIS[channel[0]]))
            column += 1
    total = torch.zeros(F, J, 4, dtype=torch.float64)
    total[..., 0] = 1
    # joints share a multiplication: the k-th rotation of all joints that have one
    for k in range(max(map(len, rotations))):
        joints = [j for j in range(J) if len(rotations[j]) > k]
        columns, axes = zip(*(rotations[j][k] for j in joints), strict=True)
        half = np.radians(bvh.values[:, columns]) / 2
        turn = np.zeros((F, len(joints), 4))
        turn[..., 0] = np.cos(half)
        turn[:, range(len(joints)), [axis + 1 for axis in axes]] = np.sin(half)
        total[:, joints] = quaternion_multiply(total[:, joints], torch.from_numpy(turn))
    return total.numpy(), positions


def _body(parents: Sequence[int]) -> list[int]:
    """The joints from the first fork of the tree on. Joints above it only place the body and are no part of it."""
    children = Counter(parents)
    first = 0
    while first + 1 < len(parents) and children[-1] == 1 and children[first] == 1:
        first += 1
    return list(range(first, len(parents)))


def guess_unit(positions: np.ndarray, parents: Sequence[int], body: Sequence[int]) -> tuple[float, str]:
    """Metres per unit and a note, from local positions (F, J, 3).

    The longest way along the bones, which no pose changes, is compared with an adult's. The height of the rest pose is
    no help: in some files no body could take that pose.
    """
    bones = np.median(np.linalg.norm(positions, axis=-1), axis=0)
    longest = np.zeros(len(parents))  # from the joint down to the farthest tip
    reach = 0.0
    for j in reversed(body[1:]):
        parent = parents[j]
        if parent >= 0:
            way = longest[j] + bones[j]
            reach = max(reach, longest[parent] + way)
            longest[parent] = max(longest[parent], way)
    if not reach > 0:
        return 1.0, "unit: metres (assumed: without a fork the tree does not show the size of a body)"
    name = min(UNITS, key=lambda unit: abs(math.log(reach * UNITS[unit] / REACH)))
    doubt = "" if 1.0 < reach * UNITS[name] < 3.5 else ", not the size of an adult: check it"
    return UNITS[name], f"unit: {name} (guessed: the body reaches {reach * UNITS[name]:.2f} m along its bones{doubt})"


def guess_up(frames: np.ndarray, rest: np.ndarray) -> tuple[str, str]:
    """The axis "y" or "z" and a note, from body joints (F, J, 3) and the rest pose (1, J, 3).

    A body is taller than it is deep, and the frames decide. If they contradict the rest pose (a clip of someone lying,
    or a rest pose that the root turns upright), they must also stand on the floor, at height zero.
    """

    def tallest(joints: np.ndarray) -> str | None:
        size = np.median(np.ptp(joints, axis=1), axis=0)
        y, z = size[1], size[2]
        if y > 1.5 * z:
            return "y"
        return "z" if z > 1.5 * y else None

    by_frames, by_rest = tallest(frames), tallest(rest)
    if by_frames and by_rest and by_frames != by_rest:
        height = frames[..., "xyz".index(by_frames)]
        floor = abs(np.median(height.min(1))) < 0.15 * np.median(np.ptp(height, axis=1))
        up = by_frames if floor else by_rest
        return up, f"up: {up} (guessed; the frames look like {by_frames}, the rest pose like {by_rest}: check it)"
    up = by_frames or by_rest
    if up is None:
        return "y", "up: y (assumed: the poses do not tell)"
    return up, f"up: {up} (guessed from the poses)"
