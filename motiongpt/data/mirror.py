"""The mirror image of a motion, and of what is said about it."""

import re

from motiongpt.body.skeletons import Skeleton
from motiongpt.features.humanml3d import Array, float_tensor, same_kind

_SIDES = re.compile(
    r"\b(?:(?:counter|anti)[ -]?clockwise|clockwise|(?:left|right)(?=s?\b|wards?\b|most\b|side|hand|foot))",
    re.IGNORECASE,
)
_OTHER_SIDE = {"left": "right", "right": "left", "clockwise": "counterclockwise"}


def mirror_joints(joints: Array, skeleton: Skeleton) -> Array:
    """Exchange left and right: negate x and swap the joints of each left / right pair. joints (..., J, 3), same shape.

    Raises ValueError for a wrong shape, or when the skeleton's joint names have no left and right.
    """
    J = skeleton.num_joints
    if joints.shape[-2:] != (J, 3):
        raise ValueError(f"joints must be (..., {J}, 3) for {skeleton.name}, got {tuple(joints.shape)}")
    if not skeleton.mirror_pairs:
        raise ValueError(f"skeleton {skeleton.name} has no joints named left/right or L/R, so it cannot be mirrored")
    order = list(range(J))
    for left, right in skeleton.mirror_pairs:
        order[left], order[right] = right, left
    swapped = float_tensor(joints)[..., order, :]
    return same_kind(swapped * swapped.new_tensor([-1.0, 1.0, 1.0]), joints)


def mirror_caption(text: str) -> str:
    """The caption of a mirrored clip: left <-> right, clockwise <-> counterclockwise, case kept.

    Whole words and their compounds change (leftward, right-handed, lefthand); upright, bright and leftover stay. Words
    are replaced without any grammar: "he left the room" becomes "he right the room", as in HumanML3D's own mirroring.
    """

    def swap(match: re.Match) -> str:
        word = match.group()
        other = _OTHER_SIDE.get(word.lower(), "clockwise")  # however counterclockwise is spelt
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return _SIDES.sub(swap, text)
