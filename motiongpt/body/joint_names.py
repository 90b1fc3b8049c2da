"""What the names of a skeleton's joints say: the side they are on, and the role they have in the features.

Names are English and spelt in many ways: left_hip, LeftUpLeg, hip_l, L_Thigh, LH.
"""

import re

LEFT_RIGHT = (  # patterns for left_hip, LeftHip, LH, hip_l, Thigh.L, and what each becomes on the right
    ("left", "right"), ("Left", "Right"), ("^L", "R"), (r"(^|[_.])l($|[_.])", r"\1r\2"), (r"([_.])L$", r"\1R"),
)  # fmt: skip

# part of the body -> words that name it in a joint, the best first; all lower case, without underscores
WORDS = {
    "hip": ("hip", "thigh", "upleg", "upperleg", "femur"),
    "knee": ("knee", "shin", "calf", "lowerleg", "tibia"),
    "ankle": ("ankle", "foot"),
    "foot": ("toebase", "toe", "ball", "foot", "ankle"),
    "shoulder": ("shoulder", "upperarm", "humerus", "arm"),
}
ROLES = {
    "feet_left": ("left ankle", "left foot"), "feet_right": ("right ankle", "right foot"),
    "face": ("right hip", "left hip", "right shoulder", "left shoulder"), "leg": ("right knee", "right ankle"),
}  # fmt: skip


def joint_with_role(joints: tuple[str, ...], role: str, field: str) -> str:
    """The joint with a role, "left hip", found by its name: left_hip, hip_l, LeftUpLeg, L_Thigh, ...

    Raises ValueError, which says which field to give instead.
    """
    side, part = role.split()
    for word in WORDS[part]:
        for joint in joints:
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", joint).lower().replace(" ", "_")  # LeftUpLeg -> left_up_leg
            sided = side in name or re.search(rf"(^|_){side[0]}(_|$)", name)
            if sided and word in name.replace("_", ""):
                return joint
    raise ValueError(f"skeleton JSON: no joint is named like a {role}; give {field}: {len(ROLES[field])} joints")


def mirror_pairs(joints: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """(left, right) indices of the joints whose names differ by side only: left_hip / right_hip, LH / RH."""
    pairs = []
    for i, name in enumerate(joints):
        for left, right in LEFT_RIGHT:
            twin = re.sub(left, right, name, count=1)
            if twin != name and twin in joints:
                pairs.append((i, joints.index(twin)))
                break
    return tuple(pairs)
