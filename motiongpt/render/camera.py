"""The camera of every picture: three quarters ahead of a person, following it over the ground, zoomed to fit.

Its azimuth is measured from where the person faces in the first frame, so a reach ahead is seen from the side however
the motion lies in the world. It stands still while the person stays about where it is; otherwise it follows the root,
smoothed over about a second. No unit is assumed: all sizes come from the body.

What this module does not know: what is drawn, and with what.
"""

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.body.smoothing import smooth

AZIMUTH = 50.0  # degrees from the front: both sides of the body are seen, and what it does ahead of itself
ELEVATION = 15.0
STAYS = 0.7  # body lengths: on a shorter way the camera of a moving picture stands still


class Camera:
    """Where the camera is in each frame of joints (F, J, 3), and how points become pixels; call `fit` before `project`.

    Attributes: `limb`, the length of the longest chain of bones (about 1 m for an adult); `target` (F, 3), what it
    looks at; `axes` (3, 3), columns right, up, backward; `ground`, the height of the floor; `radius`, what it has to
    see around the target; `distance` from the target; `focal` and `centre` in pixels, y up.
    """

    def __init__(self, joints, skeleton: Skeleton, fps: float, *, azim=None, elev=None, stays: float = STAYS):
        self.limb = limb_length(joints, skeleton)
        self.ground = float(joints[..., 1].min())
        root = joints[:, 0]
        self.target = smooth(root, 0.5 * fps)
        if np.ptp(root[:, [0, 2]], axis=0).max() <= stays * self.limb:
            self.target[:] = (root.min(axis=0) + root.max(axis=0)) / 2
        self.target[:, 1] = root[:, 1].mean()
        self.radius = np.linalg.norm(joints - self.target[:, None], axis=2).max() + 0.2 * self.limb
        self.distance = 4.5 * self.radius
        turn = front(joints[0], skeleton) + np.radians(AZIMUTH if azim is None else azim)
        rise = np.radians(ELEVATION if elev is None else elev)
        backward = np.array([np.sin(turn) * np.cos(rise), np.sin(rise), np.cos(turn) * np.cos(rise)])
        side = np.array([np.cos(turn), 0.0, -np.sin(turn)])
        self.axes = np.stack([side, np.cross(backward, side), backward], axis=1)
        self.focal, self.centre = 1.0, np.zeros(2)

    @property
    def zoom(self) -> float:
        """Pixels of one body length (`limb`) at the target."""
        return self.focal * self.limb / self.distance

    def fit(self, points: np.ndarray, box: tuple[float, float, float, float], *, at_most: float = np.inf) -> None:
        """Zoom such that points (F, P, 3) of all frames lie in a box (left, bottom, right, top) of pixels, y up.

        `at_most` is the largest `zoom`, so that people beside each other can have one scale.
        """
        self.focal, self.centre = 1.0, np.zeros(2)  # at unit size first, to see how large the figure is
        flat, _ = self.project(points, self.target[:, None])
        margin = 0.10 * self.limb / self.distance
        low, high = flat.min(axis=(0, 1)) - margin, flat.max(axis=(0, 1)) + margin
        corner, opposite = np.array(box[:2], dtype=float), np.array(box[2:], dtype=float)
        self.focal = (0.94 * (opposite - corner) / (high - low)).min()
        self.focal *= min(1.0, at_most / self.zoom)
        self.centre = (corner + opposite) / 2 - self.focal * (low + high) / 2

    def project(self, points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) -> pixels (..., 2), y up, and depth (...). Points behind the camera become NaN."""
        right_up_back = (points - target) @ self.axes
        depth = self.distance - right_up_back[..., 2]
        depth = np.where(depth > 0.2 * self.distance, depth, np.nan)
        return self.centre + self.focal * right_up_back[..., :2] / depth[..., None], depth

    def rays(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The eye (3,), seen from the target, and the directions (n, m, 3) through pixels of rows (n,), y up, and
        columns (m,). The inverse of `project`: a point of depth z is the eye plus z times the direction."""
        x, y = np.meshgrid((columns - self.centre[0]) / self.focal, (rows - self.centre[1]) / self.focal)
        return self.distance * self.axes[:, 2], np.stack([x, y, np.full_like(x, -1.0)], axis=-1) @ self.axes.T


def limb_length(joints: np.ndarray, skeleton: Skeleton) -> float:
    """The mean length of the longest chain of bones, or 1 if all joints are in one point."""
    bones = np.linalg.norm(joints - joints[:, np.maximum(skeleton.parents, 0)], axis=2).mean(axis=0)  # (J,)
    return float(max(bones[list(chain)].sum() for chain in skeleton.chains)) or 1.0


def front(joints: np.ndarray, skeleton: Skeleton) -> float:
    """Radians from +z towards +x that a pose (J, 3) faces, by its hips and shoulders; 0 if they do not say."""
    right_hip, left_hip, right_shoulder, left_shoulder = skeleton.face
    x, _, z = joints[left_hip] - joints[right_hip] + joints[left_shoulder] - joints[right_shoulder]
    return float(np.arctan2(-z, x)) if np.hypot(x, z) > 1e-9 else 0.0
