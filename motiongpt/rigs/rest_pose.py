"""The T-pose of a skeleton: which way every bone points when nothing is turned.

Arms point sideways with palms down, legs down, toes forward, the body faces +z, left is +x. Directions are SMPL's
(`body/body_model.py`), found by the part that a joint is; a skeleton whose own offsets are a T-pose keeps them. Of
bones that no part names, those beyond a wrist go on as the arm, beyond an ankle forward, beyond the head up.
"""

import numpy as np

from motiongpt.body.body_model import stand_in_body
from motiongpt.body.limbs import unit
from motiongpt.body.skeletons import HUMANML3D, SIDES, Skeleton
from motiongpt.rigs.anatomy import PARTS, Anatomy, way_up

HINGES = {
    "left_hip": (1.0, 0.0, 0.0), "right_hip": (1.0, 0.0, 0.0),
    "left_shoulder": (0.0, -1.0, 0.0), "right_shoulder": (0.0, 1.0, 0.0),
}  # fmt: skip
"""The axis about which knee and elbow bend in the T-pose: upper bone x lower bone. Shins go back, forearms forward."""

ON_AXIS = np.cos(np.radians(25))  # how closely arms and legs follow the axes in a T-pose
STEP = 0.1  # metres between joints of which only the direction counts


def t_pose(skeleton: Skeleton, anatomy: Anatomy) -> np.ndarray:
    """Joints (J, 3) in a T-pose. Only directions count, lengths come from the clip."""
    own = _own(skeleton)
    if own is not None and is_t_pose(own, anatomy):
        return own
    body = stand_in_body().rest_joints(np.zeros(0))
    model = {name: body[j] for j, name in enumerate(HUMANML3D.joints)}
    parents, J = skeleton.parents, skeleton.num_joints
    known = {anatomy.parts[part]: model[part] for part in PARTS if part in anatomy.parts}
    # a chest that carries the head itself is at the height of the neck's root
    trunk = [model[name] for name in ("pelvis", "spine1", "spine2", "spine3")] + [model["neck"]] * (not anatomy.neck)
    known |= _spread(anatomy.spine, np.array(trunk))
    if "head" in anatomy.parts:
        known |= _spread((*anatomy.neck, anatomy.parts["head"]), np.array([trunk[-1], model["neck"], model["head"]]))
    towards = {
        anatomy.parts[f"{side}_wrist"]: (1.0 - 2 * i, 0, 0) for i, side in enumerate(SIDES) if _has(anatomy, side)
    }
    towards |= {anatomy.parts[f"{side}_ankle"]: (0, 0, 1.0) for side in SIDES}
    towards |= {anatomy.parts["head"]: (0, 1.0, 0)} if "head" in anatomy.parts else {}
    pose = np.zeros((J, 3))
    for j in range(J):
        if j in known:
            pose[j] = known[j]
            continue
        above = way_up(parents, j)[1:]
        below = [k for k in known if j in way_up(parents, k)]
        if below and above and above[0] in known:  # between two parts
            pose[j] = (pose[above[0]] + known[min(below)]) / 2
        elif above:
            default = skeleton.offsets[j] if skeleton.has_lengths else (0, 1, 0)
            direction = next((towards[k] for k in above if k in towards), default)
            pose[j] = pose[above[0]] + STEP * unit(np.array(direction, np.float64))
        else:
            pose[j] = model["pelvis"]
    return pose


def is_t_pose(joints: np.ndarray, anatomy: Anatomy) -> bool:
    """Whether joints (J, 3) stand upright, facing +z, with arms to the sides."""
    parts = anatomy.parts
    for i, side in enumerate(SIDES):
        if not _has(anatomy, side):
            return False
        ways = {("hip", "knee", "ankle"): (0, -1, 0), ("shoulder", "elbow", "wrist"): (1 - 2 * i, 0, 0)}
        for way, axis in ways.items():
            bones = np.diff([joints[parts[f"{side}_{part}"]] for part in way], axis=0)
            if (unit(bones) @ np.array(axis, np.float64)).min() < ON_AXIS:
                return False
    return True


def _own(skeleton: Skeleton) -> np.ndarray | None:
    """The joints (J, 3) that a skeleton's offsets make, if they have lengths."""
    if not skeleton.has_lengths:
        return None
    joints = np.array(skeleton.offsets, np.float64)
    joints[0] = 0
    for j, parent in enumerate(skeleton.parents[1:], 1):
        joints[j] += joints[parent]
    return joints


def _spread(joints: tuple[int, ...], line: np.ndarray) -> dict[int, np.ndarray]:
    """Joints at even steps along a broken line (m, 3): not at its start, the last one at its end."""
    if not joints:
        return {}
    at = np.arange(1, len(joints) + 1) * (len(line) - 1) / len(joints)
    places = np.stack([np.interp(at, np.arange(len(line)), line[:, axis]) for axis in range(3)], axis=-1)
    return dict(zip(joints, places, strict=True))


def _has(anatomy: Anatomy, side: str) -> bool:
    return all(f"{side}_{part}" in anatomy.parts for part in ("shoulder", "elbow", "wrist"))
