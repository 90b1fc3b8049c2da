"""A motion on a character: rotations with twist, rigs, and files that Blender, Unreal and avatars open.

joints (F, J, 3) --solve--> rotations of a T-pose --retarget--> bones of a rig --> .bvh .glb .vrma, and .csv
"""

from motiongpt.rigs.bvh import write_bvh
from motiongpt.rigs.glb import write_glb, write_vrma
from motiongpt.rigs.retarget import animate
from motiongpt.rigs.rig import RIGS, get_rig
from motiongpt.rigs.rig_files import load_rig
from motiongpt.rigs.table import write_csv

__all__ = ["RIGS", "animate", "get_rig", "load_rig", "write_bvh", "write_csv", "write_glb", "write_vrma"]
