"""The look `body`: a shaded mannequin of tapered capsules, drawn by plain numpy. No mesh, and no licence.

A tapered capsule is the union of balls whose centre and radius change in a straight line from end to end. The camera
stands far away, so each ball is drawn as a ball in a space of pixels: x and y in the picture, and as height towards
the viewer -focal log(depth), which has the scale of x and y at any depth. There the foremost ball under a pixel has a
closed form. With d from the one end to the pixel, u and w the bone in the picture and towards the viewer, and radii
r + k t, the height of a ball at t is w t + sqrt(g), g(t) = (r + k t)^2 - |d - t u|^2 = A t^2 + 2 B t + C. Where its
slope is zero, A t + B = -w sqrt((B^2 - A C) / (w^2 - A)).

A depth buffer keeps the foremost capsule of each sample, 2 x 2 samples a pixel, within the box around the figure.

What this module does not know: where the capsules come from (`mannequin.py`).
"""

import numpy as np

from motiongpt.render.mannequin import mannequin
from motiongpt.render.scene import Scene

SAMPLES = 2  # a pixel has this many in each direction
COLOURS = np.array([(226, 218, 208), (128, 171, 207), (228, 152, 120)], dtype=np.float32)  # middle, left, right (-1)
LAMP = np.array([-0.48, 0.68, 0.56])  # where the light comes from: right, up, towards the viewer
SKY, GROUND = 0.60, 0.30  # light from above and from below, beside the lamp's
LAMP_LIGHT, GLOSS, EDGE = 0.52, 0.10, 0.42
RAMP = 15  # shades of a colour in a palette
SEAM = 0.035  # body lengths over which creases are rounded off


class BodyScene(Scene):
    """A clip in the look `body`; see `Scene` for the arguments."""

    def outline(self, joints, shown, camera):
        self.figure = mannequin(joints, shown.skeleton)
        points, ends, radii, _ = self.figure
        thickness = np.zeros(points.shape[1])
        np.maximum.at(thickness, ends, radii)
        used = thickness > 0
        bare, thickness = points[:, used], thickness[used, None]
        camera.ground = float((bare[..., 1] - thickness[:, 0]).min())  # soles stand on it, not joints
        return np.concatenate([bare + sign * thickness * axis for axis in camera.axes.T for sign in (-1, 1)], axis=1)

    def named_colours(self):
        """Also shades of each colour: a palette that mixes them would turn a shadow on one limb into another's."""
        shades = np.linspace(0.30, 1.12, RAMP)[:, None, None] * COLOURS / 255  # (RAMP, 3, 3)
        return np.concatenate([super().named_colours(), np.minimum(shades, 1).reshape(-1, 3)])

    def capsules(self, frame):
        a, b = np.moveaxis(self.figure.points[frame, self.figure.ends], 1, 0)
        return a, b, *self.figure.radii.T

    def paint(self, frames, tints):
        points, ends, radii, sides = self.figure
        target = self.camera.target[frames[0]]
        pixels, depth = self.camera.project(points[frames][:, ends], target)  # (n, K, 2, 2), (n, K, 2)
        scale = self.camera.focal / depth
        x, y = pixels[..., 0], self.height - pixels[..., 1]
        towards = -self.camera.focal * np.log(depth / self.camera.distance)
        capsules = np.stack([x, y, towards, scale * radii], axis=-1).reshape(-1, 2, 4)  # x y height radius of both ends
        colours = np.concatenate([255 + tint * (COLOURS[sides] - 255) for tint in tints])
        capsules, colours = (array[np.isfinite(capsules).all(axis=(1, 2))] for array in (capsules, colours))
        if len(capsules):
            top = self.camera.axes.T @ (0.0, 1.0, 0.0)  # where up is: right, up, backward
            window = self.picture[self.banner : self.height - self.bar]
            draw_capsules(window, capsules - (0, self.banner, 0, 0), colours, top, SEAM * self.camera.zoom)


def draw_capsules(picture: np.ndarray, capsules: np.ndarray, colours: np.ndarray, up: np.ndarray, seam: float) -> None:
    """Draw capsules (K, 2, 4) with colours (K, 3) from 0 to 255 into a picture (H, W, 4) uint8.

    Each has two ends: x and y in pixels, y down, height towards the viewer, and radius, also in pixels. `up` (3,) is
    the world's vertical, as right, up, towards the viewer. `seam` is how far in pixels a crease between two capsules is
    rounded off.
    """
    low = (capsules[..., :2] - capsules[..., 3:]).min(axis=(0, 1))
    high = (capsules[..., :2] + capsules[..., 3:]).max(axis=(0, 1))
    left, upper = np.maximum(np.floor(low).astype(int) - 1, 0)
    right, lower = np.minimum(np.ceil(high).astype(int) + 1, picture.shape[1::-1])
    if left >= right or upper >= lower:
        return
    window = picture[upper:lower, left:right]
    scaled = SAMPLES * (capsules - (left, upper, 0, 0))
    normals, owner = _foremost(scaled, window.shape[0] * SAMPLES, window.shape[1] * SAMPLES, SAMPLES * seam)
    covered = owner >= 0
    light = np.zeros((*owner.shape, 4), dtype=np.float32)  # colour, and how much of the pixel is covered
    light[covered] = _shaded(normals[covered], colours[owner[covered]], up)
    light = light.reshape(window.shape[0], SAMPLES, window.shape[1], SAMPLES, 4).mean(axis=(1, 3))
    mixed = window[..., :3] * (1 - light[..., 3:]) + light[..., :3]
    window[..., :3] = np.minimum(mixed + 0.5, 255)


def _foremost(capsules: np.ndarray, H: int, W: int, seam: float) -> tuple[np.ndarray, np.ndarray]:
    """Normals (H, W, 2), right and up, and which capsule is seen (H, W), -1 for none, at samples of one unit."""
    heights = np.full((H, W), -np.inf, dtype=np.float32)
    normals = np.zeros((H, W, 2), dtype=np.float32)
    owner = np.full((H, W), -1, dtype=np.int16)
    reach = capsules[..., 3:]
    lows = np.floor((capsules[..., :2] - reach).min(axis=1) - 0.5).astype(int).clip(0, (W, H))
    highs = np.ceil((capsules[..., :2] + reach).max(axis=1) + 0.5).astype(int).clip(0, (W, H))
    for k, (a, b) in enumerate(capsules.astype(np.float32)):
        (left, upper), (right, lower) = lows[k], highs[k]
        if left >= right or upper >= lower:
            continue
        x = np.arange(left, right, dtype=np.float32) + np.float32(0.5) - a[0]
        y = np.arange(upper, lower, dtype=np.float32)[:, None] + np.float32(0.5) - a[1]
        t, g = foremost_ball(x, y, b - a, a[3])
        box = slice(upper, lower), slice(left, right)
        height = a[2] + t * (b[2] - a[2]) + np.sqrt(np.maximum(g, 0))
        nearer = np.where(g >= 0, height - heights[box], np.float32(-np.inf))
        radius = np.maximum(a[3] + t * (b[3] - a[3]), np.float32(1e-6))  # joints may lie in one point
        share = np.minimum(np.maximum(nearer * np.float32(0.5 / seam) + np.float32(0.5), 0), 1)
        for axis, normal in enumerate(((x - t * (b[0] - a[0])) / radius, (t * (b[1] - a[1]) - y) / radius)):
            before = normals[(*box, axis)]
            before += share * (normal - before)
        seen = nearer > 0
        np.copyto(heights[box], height, where=seen)
        owner[box][seen] = k
    return normals, owner


def foremost_ball(x: np.ndarray, y: np.ndarray, along: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Of a tapered capsule, the ball that is seen at x (n,), y (m, 1) from its one end: t (m, n) from 0 to 1, and g.

    The capsule is hit where g >= 0; its surface is sqrt(g) nearer than the ball's middle. `along` (4,) is the way to
    the other end: x, y, height, and change of radius.
    """
    w, k = along[2], along[3]
    A = k * k - along[0] ** 2 - along[1] ** 2
    B = x * along[0] + (y * along[1] + radius * k)
    C = radius * radius - y * y - x * x
    if A < -1e-4 * (w * w - A):
        root = np.sqrt(np.maximum(B * B - A * C, 0)) * np.float32(w / np.sqrt(w * w - A))
        t = np.minimum(np.maximum((B + root) / -A, 0), 1)
        return t, (A * t + 2 * B) * t + C
    # one end covers the other in the picture: the nearer one of both is seen, and the wall between them hardly
    g0, g1 = C, A + 2 * B + C
    second = (g1 >= 0) & ((g0 < 0) | (w + np.sqrt(np.maximum(g1, 0)) > np.sqrt(np.maximum(g0, 0))))
    return second.astype(np.float32), np.where(second, g1, np.broadcast_to(g0, second.shape))


def _shaded(normals: np.ndarray, colours: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Colours (n, 4) of samples, the last 1, from normals (n, 2) and their own colours (n, 3)."""
    nx, ny = normals.T
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
    lamp = (LAMP / np.linalg.norm(LAMP)).astype(np.float32)
    half = lamp + (0, 0, 1)  # between the lamp and the viewer
    half = (half / np.linalg.norm(half)).astype(np.float32)
    facing_lamp = np.maximum(nx * lamp[0] + ny * lamp[1] + nz * lamp[2], 0)
    facing_sky = nx * np.float32(up[0]) + ny * np.float32(up[1]) + nz * np.float32(up[2])
    gloss = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0) ** 24
    edge = (1 - nz) ** 3  # darker where the surface turns away, so that limbs part from each other
    light = (SKY + GROUND) / 2 + (SKY - GROUND) / 2 * facing_sky + LAMP_LIGHT * facing_lamp
    light *= 1 - np.float32(EDGE) * edge
    out = np.ones((len(colours), 4), dtype=np.float32)
    out[:, :3] = np.minimum(colours * light[:, None] + (255 * GLOSS) * gloss[:, None], 255)
    return out
