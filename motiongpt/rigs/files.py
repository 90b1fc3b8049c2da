"""The files of other programs by suffix: which writer each has, and which rigs it takes.

.bvh   Blender, MotionBuilder, Maya and most motion capture tools
.glb   Blender, Unreal, Unity, Godot and browsers: a skinned figure, or a character's own mesh
.vrma  VRM avatars
.csv   spreadsheets: the joints by name, a row per frame
"""

from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.rigs.bvh import write_bvh
from motiongpt.rigs.glb import write_glb, write_vrma
from motiongpt.rigs.rig import RIGS, get_rig
from motiongpt.rigs.rig_files import load_rig
from motiongpt.rigs.table import write_csv

RIGGED = {".bvh": write_bvh, ".glb": write_glb, ".vrma": write_vrma, ".csv": write_csv}
ONLY = {".vrma": ("own", "vrm")}  # it plays on every avatar


def write_rigged(path: Path, joints: np.ndarray, skeleton: Skeleton, fps: float, *, rig: str, text: str = "") -> Path:
    """Write joints (F, J, 3), in metres, y up, on a rig, as the file of the suffix. Returns the path.

    `rig` is a name in `RIGS` or a character's file. Raises what the writer raises.
    """
    return RIGGED[path.suffix.lower()](path, joints, skeleton, fps, rig=rig, text=text)


def check_rig(path: Path, rig: str) -> None:
    """ValueError or FileNotFoundError for a rig that the file at `path` cannot have, before there is a motion."""
    suffix = path.suffix.lower()
    if rig not in ONLY.get(suffix, (rig,)):
        raise ValueError(f"{path}: a {suffix} file plays on every VRM avatar, so it takes no rig, got {rig}")
    if not Path(rig).suffix:
        get_rig(rig)
    elif rig not in RIGS:
        load_rig(rig)


def rig_notes(skeleton: Skeleton, rig: str) -> tuple[str, ...]:
    """What to know of a rig: parts of the skeleton that it has no bones for, bones that stay as they are."""
    return (load_rig(rig) if Path(rig).suffix else get_rig(rig, skeleton)).notes
