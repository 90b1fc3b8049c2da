"""What one row of a motion's features means: three representations behind one interface.

    humanml3d   12 J - 1 columns   the features of HumanML3D (`humanml3d.py`); one frame fewer than the joints
    positions    3 J columns       joint positions, placed once for the whole clip; no frame is lost
    smplx        182 columns       SMPL-X parameters as they are; joints need a body model

A name may include its width (`humanml3d-263`), and in files it does. `positions` has joint j in columns 3 j to 3 j + 2.
The clip is placed first: its first frame faces +z at x = z = 0, its lowest point is on the floor.

    root      x step, height, z step     metres from the frame before (0 in the first frame); height above the floor
    others    x - root x, y, z - root z  metres, still in the first frame's facing

Why not plain positions? The place in the room says nothing about how a walk looks, and a convolution would need a code
for every place. Steps, and positions about the root, repeat from one walk cycle to the next. Heights are absolute, so
that a planted foot is one number, whatever the root does. The heading stays in the positions, because 3 J columns leave
no room for a yaw; so turning costs codes. The sum of the steps is the trajectory.

A data set of SMPL-X parameters names the skeleton of its first 22 joints, `humanml3d-22`.
"""

from dataclasses import dataclass

import numpy as np
import torch

from motiongpt.body.skeletons import Skeleton
from motiongpt.features.humanml3d import Array, canonicalise, feature_groups, features_to_joints, joints_to_features
from motiongpt.features.smplx import SMPLX_COLUMNS


@dataclass(frozen=True)
class Representation:
    """`encode` joints (F, J, 3) to features (F - frames_lost, D) and `decode` them back.

    Arrays in, the same kind of array out. `groups` are columns by name. If `averaged`, the standard deviation is
    averaged within a group, as HumanML3D does; otherwise every column has its own. `biased` names the groups that a
    tokenizer's feature bias makes larger.
    """

    skeleton: Skeleton
    kind = ""
    frames_lost = 0
    averaged = True
    biased = ()
    contacts = None  # the slice of the columns that are 0 or 1, if there are any
    joint_dim = 0  # how many columns from index 4 on are joint positions, for VQVAEConfig
    has_joints = True  # False: `decode` always raises

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.dim}"

    @property
    def dim(self) -> int:
        return sum(columns.stop - columns.start for columns in self.groups.values())

    @property
    def groups(self) -> dict[str, slice]:
        raise NotImplementedError

    @property
    def metres_per_unit(self) -> float:
        """The factor from decoded joints to metres."""
        return 1.0

    def encode(self, joints: Array) -> Array:
        raise NotImplementedError

    def decode(self, features: Array) -> Array:
        raise NotImplementedError

    def _check(self, features: Array) -> None:
        if features.ndim < 2 or features.shape[-1] != self.dim:
            raise ValueError(f"features of {self.name} must be (..., F, {self.dim}), got {tuple(features.shape)}")


class HumanML3DFeatures(Representation):
    """263 columns for 22 joints, 251 for 21. Columns and errors are those of `humanml3d.py`."""

    kind = "humanml3d"
    frames_lost = 1
    biased = ("root_yaw_velocity", "root_linear_velocity", "root_height", "contacts")

    @property
    def groups(self) -> dict[str, slice]:
        return feature_groups(self.skeleton)

    @property
    def contacts(self) -> slice:
        return self.groups["contacts"]

    @property
    def joint_dim(self) -> int:
        return 3 * (self.skeleton.num_joints - 1)

    @property
    def metres_per_unit(self) -> float:
        return self.skeleton.metres_per_unit

    def encode(self, joints: Array) -> Array:
        return joints_to_features(joints, self.skeleton)

    def decode(self, features: Array) -> Array:
        return features_to_joints(features, self.skeleton)


class Positions(Representation):
    """3 J columns, described at the top of this file. Nothing is retargeted: bone lengths are the clip's own."""

    kind = "positions"
    biased = ("root_velocity", "root_height")

    @property
    def groups(self) -> dict[str, slice]:
        # a slice with a step: the x and z steps of the root are one group
        return {"root_velocity": slice(0, 3, 2), "root_height": slice(1, 2), "joints": slice(3, self.dim)}

    @property
    def dim(self) -> int:
        return 3 * self.skeleton.num_joints

    def encode(self, joints: Array) -> Array:
        """(F, J, 3) -> (F, 3 J). Inverse of `decode`, except for where the first frame stands and faces.

        Raises ValueError as `canonicalise` does.
        """
        x = torch.as_tensor(canonicalise(joints, self.skeleton, retargeted=True))  # (F, J, 3)
        ground = x[:, :1] * x.new_tensor([1, 0, 1])  # (F, 1, 3) the root on the floor
        step = torch.cat((torch.zeros_like(ground[:1]), ground[1:] - ground[:-1]))
        root = step + x[:, :1] * x.new_tensor([0, 1, 0])
        features = torch.cat((root, x[:, 1:] - ground), dim=1).flatten(1)
        return features.numpy() if isinstance(joints, np.ndarray) else features

    def decode(self, features: Array) -> Array:
        """(..., F, 3 J) -> (..., F, J, 3). Raises ValueError for a wrong width."""
        self._check(features)
        x = torch.as_tensor(features).unflatten(-1, (-1, 3))
        ground = x[..., :1, :].cumsum(-3) * x.new_tensor([1, 0, 1])  # (..., F, 1, 3), steps summed over the frames
        root = ground + x[..., :1, :] * x.new_tensor([0, 1, 0])
        joints = torch.cat((root, x[..., 1:, :] + ground), dim=-2)
        return joints.numpy() if isinstance(features, np.ndarray) else joints


class SMPLXParameters(Representation):
    """182 columns by the names of SMPLX_COLUMNS, taken as they are. `skeleton` is that of the first 22 joints."""

    kind = "smplx"
    averaged = False
    has_joints = False

    @property
    def groups(self) -> dict[str, slice]:
        return SMPLX_COLUMNS

    def encode(self, joints: Array) -> Array:
        """Parameters (F, 182) instead of joints; they pass through. Raises ValueError for a wrong width."""
        self._check(joints)
        return joints

    def decode(self, features: Array) -> Array:
        """Always raises ValueError: it takes a body model to get joints, and only the user can download one.

        `features.smplx.stand_in_joints` gives joints for pictures.
        """
        raise ValueError(
            "SMPL-X parameters become the body's joints only through the SMPL-X body model: give prepare.py its folder "
            "with --smplx-dir, or save the motion: .npz has the parameters, pictures a stand-in skeleton"
        )


KINDS = {kind.kind: kind for kind in (HumanML3DFeatures, Positions, SMPLXParameters)}


def get_representation(name: str, skeleton: Skeleton) -> Representation:
    """The representation `humanml3d`, `positions` or `smplx`, named with or without its width.

    Raises ValueError for an unknown name, and for a width that the skeleton does not have.
    """
    kind, _, width = str(name).partition("-")
    if kind not in KINDS or (width and not width.isdecimal()):
        raise ValueError(f"no representation named {name!r}; known: {', '.join(KINDS)}")
    representation = KINDS[kind](skeleton)
    if width and int(width) != representation.dim:
        raise ValueError(f"representation {name} does not fit skeleton {skeleton.name}, whose is {representation.name}")
    return representation
