"""What the pictures of all looks share: checks, the text, the floor, a bar that shows the time, and one or many poses.

A look is a subclass that says which points it draws (`outline`), what casts a shadow, and paints a figure.

What this module does not know: what a figure looks like, and which file a picture goes into.
"""

import numpy as np

from motiongpt.render.camera import STAYS, Camera
from motiongpt.render.floor import Floor
from motiongpt.render.lettering import INK, layout, text_canvas
from motiongpt.render.view import Shown, View

MAX_FRAMES = 100_000  # more than an hour; a longer clip would take hours and all memory
SMALLEST = 40  # pixels: a panel of a sheet of size 64, the smallest that `check_view` allows, has 48
GREYS = 14  # of the floor, in a palette
BAR = (228, 233, 239), (242, 167, 59)  # colours of the empty and of the full part of the bar


class Scene:
    """One motion to be drawn: `F` frames, and `draw(frame)` gives a picture (H, W, 4) uint8.

    Args:
        size: (width, height) in pixels.
        banner, footer: pixels at the top and at the bottom that are left for text, at least; so several can be aligned.
        stays: see `Camera`. zoom: the camera's largest one, so that several scenes can have one scale.

    Raises ValueError for a wrong shape or joint count, and for NaN or infinite joints (naming the first such frame).
    """

    def __init__(
        self, shown: Shown, view: View, size: tuple[int, int], *, banner=0, footer=0, stays=STAYS, zoom=np.inf
    ):
        joints = checked_joints(shown, size)
        self.width, self.height = size
        self.F = len(joints)
        self.scale = (view.dpi or 100) / 100 * min(size)  # what lettering and lines are measured by
        self.bar = max(2, round(self.scale / 120))
        camera = Camera(joints, shown.skeleton, shown.fps, azim=view.azim, elev=view.elev, stays=stays)
        points = self.outline(joints, shown, camera)  # may lower the ground, and so comes before the floor
        lines, used = layout(view.title, shown.text, size[0], self.scale)
        self.banner = max(banner, used)
        camera.fit(points, (0, max(self.bar, footer), size[0], self.height - self.banner), at_most=zoom)
        self.camera = camera
        self.floor = Floor(camera, *size, top=self.banner)
        self.canvas = text_canvas(*size, lines, INK)
        self.picture = np.asarray(self.canvas.buffer_rgba())  # (H, W, 4), a view of the canvas
        self.picture[self.height - self.bar :, :, :3] = BAR[0]
        self.background = self.picture.copy()
        self.prepare()

    def outline(self, joints: np.ndarray, shown: Shown, camera: Camera) -> np.ndarray:
        """All points (F, P, 3) that must be in the picture."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What needs the zoomed camera, once for a clip."""

    def capsules(self, frame: int) -> tuple:
        """What casts a shadow; see `Floor.paint`."""
        raise NotImplementedError

    def paint(self, frames: list[int], tints: list[float]) -> None:
        """Draw the figures of some frames into `picture`. A tint of 1 is a figure's own colours, 0 is paper."""
        raise NotImplementedError

    def draw(self, frame: int) -> np.ndarray:
        """The picture (H, W, 4) uint8 RGBA of a frame. The next call paints over it."""
        self.picture[:] = self.background
        self.floor.paint(self.picture, self.camera.target[frame], self.capsules(frame))
        self.underfoot(frame)
        self.paint([frame], [1.0])
        end = round(self.width * (frame + 1) / self.F)
        self.picture[self.height - self.bar :, :end, :3] = BAR[1]
        return self.picture

    def named_colours(self) -> np.ndarray:
        """Colours (m, 3), from 0 to 1, that a palette must have; others are mixed from them."""
        from matplotlib.colors import to_rgb

        greys = self.floor.greys(GREYS)
        return np.concatenate([np.array([(255, 255, 255), *BAR]) / 255, [to_rgb(INK)], greys])

    def underfoot(self, frame: int) -> None:
        """What lies on the floor, under the figure."""

    def draw_together(self, tints: list[float]) -> np.ndarray:
        """One picture of all frames, for a camera that stands still (`stays=np.inf`), each with its tint."""
        self.picture[:] = self.background
        frames = list(range(self.F))
        casting = [np.concatenate(parts) for parts in zip(*map(self.capsules, frames), strict=True)]
        self.floor.paint(self.picture, self.camera.target[0], casting)
        self.paint(frames, tints)
        self.picture[self.height - self.bar :, :, :3] = 255  # no time passes
        return self.picture


def checked_joints(shown: Shown, size: tuple[int, int]) -> np.ndarray:
    """Joints (F, J, 3) float64. Raises ValueError for what cannot be drawn."""
    if len(shown.joints) > MAX_FRAMES:
        raise ValueError(f"{len(shown.joints)} frames are too many to draw, at most {MAX_FRAMES}; cut the motion")
    joints = np.asarray(shown.joints, dtype=np.float64)
    if joints.ndim != 3 or joints.shape[2] != 3 or len(joints) == 0:
        raise ValueError(f"joints must have shape (F, J, 3) with F > 0, got {joints.shape}")
    if joints.shape[1] != shown.skeleton.num_joints:
        name, J = shown.skeleton.name, shown.skeleton.num_joints
        raise ValueError(f"got {joints.shape[1]} joints, but skeleton {name} has {J}")
    bad = ~np.isfinite(joints).all(axis=(1, 2))
    if bad.any():
        raise ValueError(f"joints are NaN or infinite in {bad.sum()} frames, the first is frame {bad.argmax()}")
    if not 0 < shown.fps < np.inf or min(size) < SMALLEST:
        raise ValueError(
            f"fps must be positive and a picture at least {SMALLEST} x {SMALLEST} pixels, "
            f"got {shown.fps} fps, {size[0]} x {size[1]}"
        )
    return joints


def checked_mesh(shown: Shown) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (F, V, 3) float32 and faces (N, 3) int64 of a motion. Raises ValueError for what is no mesh of it."""
    if shown.vertices is None or shown.faces is None:
        raise ValueError("this motion has no mesh: a mesh needs vertices and faces")
    vertices, faces = np.asarray(shown.vertices), np.asarray(shown.faces)
    F = len(shown.joints)
    if vertices.ndim != 3 or vertices.shape[::2] != (F, 3) or not vertices.size or vertices.dtype.kind not in "fiu":
        raise ValueError(
            f"vertices must be numbers ({F}, V, 3), one mesh per frame, got {vertices.dtype} {vertices.shape}"
        )
    if faces.ndim != 2 or faces.shape[1] != 3 or not faces.size or faces.dtype.kind not in "iu":
        raise ValueError(f"faces must be whole numbers (N, 3), got {faces.dtype} {faces.shape}")
    V = vertices.shape[1]
    if faces.min() < 0 or faces.max() >= V:
        raise ValueError(f"faces name vertices from {faces.min()} to {faces.max()}, the mesh has {V}: 0 to {V - 1}")
    bad = ~np.isfinite(vertices).all(axis=(1, 2))
    if bad.any():
        raise ValueError(f"vertices are NaN or infinite in {bad.sum()} frames, the first is frame {bad.argmax()}")
    return vertices.astype(np.float32, copy=False), faces.astype(np.int64)
