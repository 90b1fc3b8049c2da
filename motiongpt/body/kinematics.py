"""Forward kinematics: local rotations on a tree of joints -> positions in the world, in NumPy, float64.

One function for every tree (BVH, ASF/AMC), and one for the 22 joints that SMPL, SMPL-H and SMPL-X share. The rest pose
comes from a body model or from `body_model.stand_in_body`.
"""

from collections.abc import Sequence

import numpy as np
import torch

from motiongpt.body.rotations import quaternion_to_matrix
from motiongpt.body.skeletons import HUMANML3D


def forward_kinematics(quaternions: np.ndarray, positions: np.ndarray, parents: Sequence[int]) -> np.ndarray:
    """Local quaternions (F, J, 4) and positions (F, J, 3) -> positions in the world (F, J, 3)."""
    turns = quaternion_to_matrix(torch.from_numpy(quaternions)).numpy()
    world = positions.copy()
    for j, parent in enumerate(parents):  # a parent comes before its children
        if parent >= 0:
            world[:, j] = world[:, parent] + np.einsum("fab,fb->fa", turns[:, parent], positions[:, j])
            turns[:, j] = turns[:, parent] @ turns[:, j]
    return world


def posed_joints(rest: np.ndarray, turns: np.ndarray, trans: np.ndarray) -> np.ndarray:
    """Joints (F, 22, 3) float64 of quaternions (F, 22, 4), rest joints (22, 3) or (F, 22, 3), translations (F, 3).

    The axes are the translations'. Equals the joints of smplx's `lbs`: the pelvis turns about itself, not about the
    origin.
    """
    bones = rest - rest[..., list(HUMANML3D.parents), :]
    local = np.broadcast_to(bones, (len(turns), *bones.shape[-2:])).copy()
    local[:, 0] = rest[..., 0, :] + trans
    return forward_kinematics(turns, local, HUMANML3D.parents)


def turned_upright(joints: np.ndarray) -> tuple[np.ndarray, str]:
    """Joints (F, 22, 3) turned about x so that heads are up, and the axis that was up: y, -y, z or -z.

    Nothing in a file of SMPL-X says which axis is up. It is taken to be the one along which spines are longest.
    """
    x, y, z = np.moveaxis(joints, -1, 0)
    head, pelvis = HUMANML3D.index("head"), HUMANML3D.index("pelvis")
    spine = np.array([np.median(axis[:, head] - axis[:, pelvis]) for axis in (y, z)])
    axis = int(np.abs(spine).argmax())
    up, to_z = ((y, z), (z, -y))[axis]  # quarter and half turns about x
    if spine[axis] < 0:
        up, to_z = -up, -to_z
    return np.stack((x, up, to_z), axis=-1), f"{'-' if spine[axis] < 0 else ''}{'yz'[axis]}"
