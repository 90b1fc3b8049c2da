"""Motions as BVH: a HIERARCHY of OFFSETs, and a row of positions and Euler angles per frame.

The root has six channels, Xposition Yposition Zposition Zrotation Xrotation Yrotation, every other bone the three
rotations in that order, so R = Rz Rx Ry in degrees. A rig from a BVH file keeps the order of its own rotations. A
pelvis below another root (Unreal) has six channels, too. Angles run on past 180 degrees and do not jump.

The unit is the rig's (own and vrm metres, mixamo and unreal centimetres), y is up.
"""

import re
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.files.store import write_text
from motiongpt.rigs.anatomy import way_up
from motiongpt.rigs.retarget import Animation, animate
from motiongpt.rigs.rig import Rig
from motiongpt.rigs.turns import euler


def write_bvh(
    path: Path,
    joints: np.ndarray,
    skeleton: Skeleton,
    fps: float,
    *,
    rig: str | Path | Rig = "own",
    text: str = "",
) -> Path:
    """Write joints (F, J, 3), in metres, y up, on a rig, and return the path.

    `text` has no place in this format. Raises ValueError as `retarget.animate` does, OSError naming the path.
    """
    write_text(Path(path), bvh_text(animate(joints, skeleton, fps, rig)))
    return Path(path)


def bvh_text(animation: Animation) -> str:
    """The whole file as text."""
    rig = animation.rig
    # offsets lie along the axes of the world where the rig is no BVH file, so the rest pose is that of zero angles
    axes = np.repeat(np.eye(3)[None], len(rig.names), axis=0) if rig.document else rig.axes
    turns, places = animation.local(axes)
    order = _depth_first(rig)
    names = _names(rig)
    pelvis = rig.anatomy.parts["pelvis"]

    lines = ["HIERARCHY"]
    columns = []
    open_bones: list[int] = []
    for bone in order:
        while open_bones and open_bones[-1] != rig.parents[bone]:
            lines.append("\t" * (len(open_bones) - 1) + "}")
            open_bones.pop()
        tab = "\t" * len(open_bones)
        moves = not open_bones or bone == pelvis
        letters = rig.order(bone)
        parent = rig.parents[bone]
        offset = axes[parent].T @ (rig.rest[bone] - rig.rest[parent]) if parent >= 0 else rig.rest[bone]
        channels = [f"{axis}position" for axis in "XYZ"] * moves + [f"{letter}rotation" for letter in letters]
        lines += [
            f"{tab}{'JOINT' if open_bones else 'ROOT'} {names[bone]}",
            f"{tab}{{",
            f"{tab}\tOFFSET {_row(offset)}",
        ]
        lines.append(f"{tab}\tCHANNELS {len(channels)} {' '.join(channels)}")
        columns += [places[:, bone]] if moves else []
        columns.append(np.degrees(euler(turns[:, bone], letters)))
        if bone not in rig.parents:
            tip = rig.tips.get(bone, np.zeros(3))
            lines += [f"{tab}\tEnd Site", f"{tab}\t{{", f"{tab}\t\tOFFSET {_row(tip)}", f"{tab}\t}}"]
        open_bones.append(bone)
    lines += ["\t" * i + "}" for i in range(len(open_bones) - 1, -1, -1)]
    values = np.concatenate(columns, axis=1)
    lines += ["MOTION", f"Frames: {len(values)}", f"Frame Time: {1 / animation.fps:.8f}", *map(_row, values.tolist())]
    return "\n".join(lines) + "\n"


def _row(values) -> str:
    """Numbers with six decimals, a micrometre of a metre; no minus before zero."""
    return " ".join(["%.6f" % (value + 0.0 if abs(value) >= 5e-7 else 0.0) for value in values])


def _depth_first(rig: Rig) -> list[int]:
    """The bones of the tree that has the pelvis, each followed by all that hangs on it."""
    children: dict[int, list[int]] = {}
    for bone, parent in enumerate(rig.parents):
        children.setdefault(parent, []).append(bone)
    order = []
    waiting = [way_up(rig.parents, rig.anatomy.parts["pelvis"])[-1]]
    while waiting:
        order.append(waiting.pop())
        waiting += reversed(children.get(order[-1], []))
    return order


def _names(rig: Rig) -> list[str]:
    """Names of bones as one word each, since most readers split at spaces. A BVH file's own names stay as they are."""
    if rig.orders:
        return list(rig.names)
    names: list[str] = []
    for name in rig.names:
        word = re.sub(r"[\s{}]+", "_", name.strip())
        word = "".join(filter(str.isprintable, word))[:100] or "joint"
        while word in names:
            word += "_"
        names.append(word)
    return names
