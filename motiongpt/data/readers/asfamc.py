"""ASF/AMC (Acclaim) files, as the CMU motion capture database has them -> joint positions in metres, y up.

A motion (.amc) has a skeleton (.asf) beside it, which many motions share. A joint is the END of a bone, under the
bone's name, and `root` is the pelvis. With M the turn of a bone's row and C the turn of its axes, as in the skeleton,

    turn = parent's turn * C * M * C^-1        end = parent's end + turn * direction * length

Both turns apply the axes of their order from left to right: XYZ is R = Rz Ry Rx. Lengths are inches times `length` of
:units, so 1 is 0.0254 / length metres (CMU: 0.45, 1 is 5.64 cm). The file does not say its frame rate: CMU recorded at
120 fps, and subjects 60 and 61 at 60. Clips are resampled before the kinematics, so bones keep their lengths.

The grammar is `asf_text.py`; HumanML3D's index over these trials is `asfamc_index.py`.
"""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from motiongpt.body.kinematics import forward_kinematics
from motiongpt.body.rotations import quaternion_conjugate, quaternion_multiply, quaternion_to_matrix
from motiongpt.data.jumps import without_rest_pose
from motiongpt.data.raw import RawClip, z_up_to_y_up
from motiongpt.data.readers.asf_text import Amc, Asf, parse_amc, parse_asf
from motiongpt.data.readers.bvh import MAX_POSITIONS, explain_clip, explain_map
from motiongpt.data.resample import cubic_spline, new_length, slerp
from motiongpt.files.listing import visible

RECORDED_FPS = 120.0
SLOW_FPS = 60.0
SLOW_SUBJECTS = (60, 61)  # of CMU, as far as is known
INCH = 0.0254  # metres


def find(folder: str | Path) -> list[Path]:
    """All .amc files below a folder, sorted. Raises FileNotFoundError if there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    return [path for path in visible(folder.rglob("*"), folder) if path.suffix.lower() == ".amc" and path.is_file()]


def find_skeleton(path: str | Path) -> Path:
    """The .asf file of a motion, in its folder or the one above.

    The longest name that begins the motion's name counts (02.asf for 02_01.amc), else the only .asf file beside it.
    Raises FileNotFoundError naming the motion.
    """
    path = Path(path)
    stem = path.stem.lower()
    beside, above = (_skeletons(folder) for folder in (path.parent, path.parent.parent))
    for found in (beside, above):
        fitting = [file for file in found if f"{stem}_".startswith(f"{file.stem.lower()}_")]
        if fitting:
            return max(fitting, key=lambda file: len(file.stem))
    if len(beside) == 1:
        return beside[0]
    there = ", ".join(file.name for file in beside[:5]) or "none"
    raise FileNotFoundError(
        f"{path}: no skeleton of this motion; expected {path.stem.split('_')[0]}.asf, or a single .asf file, "
        f"in {path.parent}, found {there}"
    )


def _skeletons(folder: Path) -> list[Path]:
    return [path for path in visible(folder.glob("*"), folder) if path.suffix.lower() == ".asf" and path.is_file()]


def read(
    path: str | Path,
    fps: float | None = None,
    recorded_fps: float | None = None,
    unit: float | None = None,
    up: str | None = None,
    whole: bool = False,
) -> RawClip:
    """One clip of a .amc file: the root and the end of every bone, under the file's names.

    Args:
        fps: rate to resample to (rotations by slerp, positions by a cubic spline); None keeps `recorded_fps`.
        recorded_fps: rate of the file, which does not say it; None is `recorded_rate`.
        unit: metres per unit of the files; None is 0.0254 / `length` of the skeleton's :units.
        up: "y" (the default) or "z", the axis that points up.
        whole: keep a rest pose at the ends too, for an index that counts frames from the file's own first.

    Raises FileNotFoundError, or ValueError naming the file and the line at fault.
    """
    asf = parse_asf(find_skeleton(path))
    return _to_clip(asf, parse_amc(path, asf), path, fps, recorded_fps, unit, up, whole)


def explain(
    path: str | Path,
    fps: float | None = None,
    recorded_fps: float | None = None,
    unit: float | None = None,
    up: str | None = None,
) -> list[str]:
    """Lines for people: what a .amc file holds and what `read` makes of it, or what is wrong with it and where."""
    try:
        asf = parse_asf(find_skeleton(path))
        lines = explain_skeleton(asf)
        amc = parse_amc(path, asf)
        lines.append(f"{path}: AMC, {len(amc.values)} frames of {sum(map(len, amc.channels))} numbers")
        clip = _to_clip(asf, amc, path, fps, recorded_fps, unit, up)
    except (ValueError, OSError) as error:
        return [f"broken: {error}"]
    return [*lines, *explain_clip(clip), explain_map(clip)]


def explain_skeleton(asf: Asf) -> list[str]:
    """Lines for people about a .asf file, which is no motion."""
    moving = sum(bool(own) for own in asf.channels[1:])
    return [
        f"{asf.path}: ASF, a root and {len(asf.names) - 1} bones, {moving} of them move; lengths in inches times "
        f"{asf.unit_length:g}",
        f"bones: {', '.join(asf.names[1:])}",
    ]


def recorded_rate(path: str | Path) -> float:
    """The rate at which CMU recorded a trial, by its name NN_MM.amc: 120 fps, or 60 for two subjects."""
    match = re.fullmatch("0*([0-9]{1,4})_[0-9]+", Path(path).stem)
    return SLOW_FPS if match and int(match[1]) in SLOW_SUBJECTS else RECORDED_FPS


def _to_clip(
    asf: Asf,
    amc: Amc,
    path: str | Path,
    fps: float | None,
    recorded_fps: float | None,
    unit: float | None,
    up: str | None,
    whole: bool = False,
) -> RawClip:
    """The steps of `read` after parsing."""
    for name, value in (("fps", fps), ("recorded_fps", recorded_fps), ("unit", unit)):
        if value is not None and not 1e-6 < value <= 1000:
            raise ValueError(f"{name} must be above 0 and at most 1000, got {value}")
    if up not in (None, "y", "z"):
        raise ValueError(f"up must be y or z, got {up!r}")
    had = recorded_fps or recorded_rate(path)
    rate = fps or had
    F = new_length(len(amc.values), had, rate)
    if max(F, len(amc.values)) * len(asf.names) > MAX_POSITIONS:
        raise ValueError(f"{path}: {max(F, len(amc.values))} frames are too many to hold; split the clip")
    notes = []
    if not whole:
        turning = [channel[0] == "r" for own in amc.channels for channel in own]
        keep, notes = without_rest_pose(amc.values[:, turning], lambda: joint_positions(asf, *local_turns(asf, amc)))
        if notes:
            amc = replace(amc, values=amc.values[keep])
            F = new_length(len(amc.values), had, rate)
    if recorded_fps is None:
        why = "CMU's subjects 60 and 61 were" if had == SLOW_FPS else "most of CMU was; the format does not say"
        notes.append(f"recorded at {had:g} fps (assumed: {why}; --fps changes it)")

    # 1) Turns of the bones in their parents' frames, and the root's way, at the new rate.
    stride = round(had / rate)
    if stride >= 1 and math.isclose(stride * rate, had):  # whole frames are taken as they are, which is all of CMU
        turns, way = local_turns(asf, replace(amc, values=amc.values[::stride]))
    else:
        times = np.minimum(np.arange(F) * (had / rate), len(amc.values) - 1)
        turns, way = local_turns(asf, amc)
        turns = slerp(turns, times)
        way = cubic_spline(way, times)
    if rate != had:
        notes.append(f"fps: {had:g} resampled to {rate:g}")

    # 2) Joints in metres, y up.
    joints = joint_positions(asf, turns, way)
    if up == "z":
        joints = z_up_to_y_up(joints)
    unit = unit or INCH / asf.unit_length
    joints = (joints * unit).astype(np.float32)
    if not np.isfinite(joints).all():
        raise ValueError(f"{path}: joints too far away for numbers")
    return RawClip(joints, asf.names, rate, notes=tuple(notes))


def local_turns(asf: Asf, amc: Amc) -> tuple[np.ndarray, np.ndarray]:
    """C M C^-1 of every bone as quaternions (F, J, 4), w x y z, and the root's positions (F, 3), in the file's unit."""
    F = len(amc.values)
    turns = np.empty((F, len(asf.names), 4))
    way = np.repeat(asf.offsets[:1], F, axis=0)
    column = 0
    for j, own in enumerate(amc.channels):
        angles = np.zeros((F, 3))
        for channel in own:
            axis = "xyz".index(channel[1])
            (angles if channel[0] == "r" else way)[:, axis] = amc.values[:, column]
            column += 1
        axes = _turn(asf.axes[j], asf.orders[j])
        turn = quaternion_multiply(axes, _turn(angles, asf.orders[j]))
        turns[:, j] = quaternion_multiply(turn, quaternion_conjugate(axes).expand_as(turn)).numpy()
    return turns, way


def _turn(angles: np.ndarray, order: str) -> torch.Tensor:
    """Quaternions (..., 4) of angles (..., 3) about x, y, z in radians; the first axis of `order` turns first."""
    total = torch.zeros(*angles.shape[:-1], 4, dtype=torch.float64)
    total[..., 0] = 1
    for letter in order:
        axis = "XYZ".index(letter)
        half = torch.from_numpy(np.asarray(angles[..., axis] / 2))
        turn = torch.zeros_like(total)
        turn[..., 0] = torch.cos(half)
        turn[..., axis + 1] = torch.sin(half)
        total = quaternion_multiply(turn, total)
    return total


def joint_positions(asf: Asf, turns: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Ends of the bones (F, J, 3) from local quaternions (F, J, 4) and the root's positions (F, 3)."""
    matrices = quaternion_to_matrix(torch.from_numpy(turns)).numpy()
    # a bone's own turn moves its end, unlike in BVH, where it moves the children
    offsets = np.einsum("fjab,jb->fja", matrices, asf.offsets)
    offsets[:, 0] = way
    return forward_kinematics(turns, offsets, asf.parents)
