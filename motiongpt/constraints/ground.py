"""Places on the ground as complex numbers, z + i x: a turn to the left by an angle is a product with e^(i angle)."""

import numpy as np
import torch

from motiongpt.body.skeletons import Skeleton
from motiongpt.features.humanml3d import facing


def ground(points: np.ndarray) -> np.ndarray:
    """Where points (..., 3) are above the ground: (...) complex metres, whose angle is a heading, 0 for +z."""
    return points[..., 2] + 1j * points[..., 0]


def put_on_ground(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A copy of points (..., 3), at the same heights above other places (...)."""
    return np.stack(np.broadcast_arrays(place.imag, points[..., 1], place.real), axis=-1)


def turned(vectors: np.ndarray, angle: np.ndarray | float) -> np.ndarray:
    """Vectors (..., 3) turned to the left about the vertical by angles (...) in radians."""
    return put_on_ground(vectors, ground(vectors) * np.exp(1j * np.asarray(angle)))


def headings(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Where the body faces in each frame of joints (F, J, 3), radians (F,), without jumps by a whole turn."""
    direction = facing(torch.from_numpy(np.array(joints, np.float64)), skeleton).numpy()
    return np.unwrap(np.arctan2(direction[:, 0], direction[:, 1]))


def largest_steps(joints: np.ndarray) -> np.ndarray:
    """How far the fastest joint goes from each frame to the next: (F, J, 3) -> (F - 1,) metres."""
    return np.linalg.norm(np.diff(joints, axis=0), axis=-1).max(axis=-1)
