"""A motion on the spot, as game engines want it: the engine moves the character, the clip only moves its limbs."""

import numpy as np

from motiongpt.constraints.ground import ground, put_on_ground


def stay_in_place(joints: np.ndarray) -> np.ndarray:
    """Joints (F, J, 3) with the root above the origin in every frame, float64.

    Heights and turns stay. Feet slide by design: it is the ground that moves.
    """
    joints = np.asarray(joints, np.float64)
    return put_on_ground(joints, ground(joints) - ground(joints[:, :1]))
