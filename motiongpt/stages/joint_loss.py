"""Losses of a motion tokenizer that know joints: heads and hands, steps between frames, lengths of bones.

The loss of `vqvae.py` counts every column alike. A nod moves one joint of 22 by a few centimetres, and squared it costs
that loss next to nothing; nor does it see jitter, or a bone that stretches. All parts here are in the unit of the
normalised positions, the one deviation of all their columns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from motiongpt.body.skeletons import SIDES, Skeleton
from motiongpt.config import VQVAEConfig
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation
from motiongpt.vqvae import frame_mask

EXTRA_PARTS = ("emphasis", "velocity", "acceleration", "bones")


class JointLoss:
    """The extra losses that `config` asks for, as `VQVAE.loss` wants them.

    emphasis        L1 on the bones, as vectors, that end in the joints of `config.part_weights`, summed over these.
                    Seen from its parent, a joint's own movement is all there is; L1 does not forgive small errors
    velocity        on first differences along frames of the joint positions
    acceleration    on second differences
    bones           on the lengths of bones against those of the true motion

    The last three are smooth-L1 losses and means, so that their weights compare with `joint_weight`.

    Raises ValueError if the representation has no joint positions for them, or a joint is unknown.
    """

    def __init__(self, config: VQVAEConfig, normalizer: Normalizer, representation: Representation) -> None:
        if not config.joint_dim:
            raise ValueError(
                f"features of {representation.name} have no joint positions: leave out --part-weights, "
                "--velocity-weight, --acceleration-weight and --bone-weight"
            )
        self.config = config
        skeleton = representation.skeleton
        self.positions = slice(4, 4 + config.joint_dim)
        self.parents = list(skeleton.parents[1:])
        self.weights = part_weights(config.parts, skeleton)[1:]  # of bones
        self.mean, self.std = (torch.from_numpy(x[3 : 4 + config.joint_dim]) for x in (normalizer.mean, normalizer.std))

    def __call__(self, decoded: Tensor, motion: Tensor, coded: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        size = motion.shape[1]
        mask = None if coded is None else frame_mask(coded, size)
        error = decoded[..., self.positions] - motion[..., self.positions]
        unit = self.std[1:].mean().to(motion.device)
        total, parts = 0.0, {}

        def add(name: str, weight: float, values: Tensor) -> None:
            """Losses per frame (B, F - k): of frames k and later, to which the k in front belong."""
            nonlocal total
            parts[name] = (values if mask is None else values * mask[:, size - values.shape[1] :]).sum()
            total = total + weight * parts[name]

        if config.parts:
            distance = (self.bones(decoded) - self.bones(motion)).abs().mean(-1) / unit
            # no matrix product, which autocast would round to bf16
            add("emphasis", 1.0, (distance * self.weights.to(distance.device)).sum(-1))
        if config.velocity_weight:
            add("velocity", config.velocity_weight, _smooth_l1(error.diff(dim=1)))
        if config.acceleration_weight:
            add("acceleration", config.acceleration_weight, _smooth_l1(error.diff(n=2, dim=1)))
        if config.bone_weight:
            # 1e-8: the square root has no gradient at 0
            long, true = ((self.bones(x).square().sum(-1) + 1e-8).sqrt() for x in (decoded, motion))
            add("bones", config.bone_weight, _smooth_l1((long - true) / unit))
        return total, parts

    def bones(self, motion: Tensor) -> Tensor:
        """Normalised features (B, F, D) -> bones, parent to joint, (B, F, J - 1, 3), in the unit of the features."""
        x = motion[..., 3 : self.positions.stop] * self.std.to(motion.device) + self.mean.to(motion.device)
        root = torch.zeros_like(x[..., :3])
        root[..., 1] = x[..., 0]  # positions are relative to the root in x and z, absolute in height
        joints = torch.cat((root, x[..., 1:]), -1).unflatten(-1, (-1, 3))
        return joints[..., 1:, :] - joints[..., self.parents, :]


def _smooth_l1(error: Tensor) -> Tensor:
    """(B, F, n) -> (B, F)."""
    return F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none").mean(-1)


def part_weights(parts: dict[str, float], skeleton: Skeleton) -> Tensor:
    """Names of joints, or of pairs without their side (wrist: left_wrist and right_wrist) -> weights (J,), 0 elsewhere.

    Raises ValueError for a name that the skeleton does not have.
    """
    weights = torch.zeros(skeleton.num_joints)
    for name, weight in parts.items():
        names = (name, *(f"{side}_{name}" for side in SIDES))
        found = [j for j, joint in enumerate(skeleton.joints) if joint in names]
        if not found:
            raise ValueError(
                f"--part-weights: {skeleton.name} has no joint {name!r}; it has {', '.join(skeleton.joints)}"
            )
        weights[found] = weight
    return weights


def joint_loss(config: VQVAEConfig, normalizer: Normalizer, representation: Representation) -> JointLoss | None:
    """The extra losses that `config` asks for; None for none. Raises what `JointLoss` raises."""
    asked = config.parts or config.velocity_weight or config.acceleration_weight or config.bone_weight
    return JointLoss(config, normalizer, representation) if asked else None
