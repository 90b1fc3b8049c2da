"""Joint positions as CSV: a row per frame, `time` in seconds and `joint_x, joint_y, joint_z` in metres, y up.

Numbers have as many digits as their float32 needs, so they come back exactly.
"""

import csv
import io
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.files.store import write_text
from motiongpt.rigs.retarget import animate
from motiongpt.rigs.rig import Rig
from motiongpt.rigs.solve import checked


def write_csv(
    path: Path,
    joints: np.ndarray,
    skeleton: Skeleton,
    fps: float,
    *,
    rig: str | Path | Rig = "own",
    text: str = "",
) -> Path:
    """Write joints (F, J, 3), in metres, y up, and return the path. `text` has no place in this format.

    With rig "own" the joints stay as they are; with another rig they are those of its bones. Raises ValueError as
    `retarget.animate` does, OSError naming the path.
    """
    names, positions = skeleton.joints, checked(joints, skeleton, fps)
    if getattr(rig, "name", rig) != "own":
        animation = animate(joints, skeleton, fps, rig).upright()
        names, positions = animation.rig.names, animation.joints
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["time", *(f"{name}_{axis}" for name in names for axis in "xyz")])
    for frame, row in enumerate(positions.astype(np.float32).reshape(len(positions), -1)):
        writer.writerow([f"{frame / fps:.9g}", *map(str, row)])
    write_text(Path(path), stream.getvalue())
    return Path(path)
