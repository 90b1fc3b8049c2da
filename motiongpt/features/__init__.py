"""Motion features: joints to the numbers a network reads, and back; their normalisation."""

from motiongpt.features.humanml3d import features_to_joints, joints_to_features

__all__ = ["features_to_joints", "joints_to_features"]
