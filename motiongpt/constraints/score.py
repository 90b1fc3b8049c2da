"""How far a motion is from what is asked, in metres: the best of several motions needs the least change."""

import math

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.constraints.ground import ground
from motiongpt.constraints.loop import SHORTEST, best_cut
from motiongpt.constraints.path import path_errors
from motiongpt.constraints.reach import reach_errors
from motiongpt.constraints.spec import Constraints


def violation(joints: np.ndarray, fps: float, skeleton: Skeleton, constraints: Constraints) -> float:
    """Metres by which joints (F, J, 3) miss the constraints: 0 if they meet them all, infinite if they are too short.

    The sum of: the mean distance from the waypoints; that from the targets; the distance of the two poses that a loop
    would join (velocities counted, see `loop.best_cut`); the way from the first to the last place of a motion that
    should stay. Raises ValueError for a joint that cannot be moved to a target.
    """
    F = len(joints)
    constraints.check(skeleton, max(F, math.ceil(constraints.seconds * fps)), fps)  # everything but the length
    if constraints.seconds > F / fps or constraints.loop and F <= SHORTEST * fps:
        return math.inf
    total = 0.0
    if constraints.path:
        total += float(path_errors(joints, fps, constraints.path).mean())
    if constraints.reach:
        total += float(reach_errors(joints, fps, skeleton, constraints.reach).mean())
    if constraints.loop:
        total += best_cut(joints, fps, skeleton)[2]
    if constraints.in_place:
        total += float(np.abs(ground(joints[-1, 0]) - ground(joints[0, 0])))
    return total
