"""Meshes of bodies in a scene: smooth shading under the scene's lamp, and the soft shadow of capsules that fill them.

The mesh is drawn at twice the resolution and averaged, so its outline is smooth. Its colour is one, times the light:
from the sky, back from the floor, from the lamp, and a little from the camera, so that what turns away gets darker.

What this module does not know: where a mesh comes from (`body/smpl_mesh.py` makes those of SMPL and SMPL-X).
"""

import numpy as np

from motiongpt.render.camera import Camera
from motiongpt.render.rasterizer import rasterize, vertex_normals
from motiongpt.render.scene import Scene, checked_mesh
from motiongpt.render.view import Shown

SKIN = np.array([0.62, 0.72, 0.86], dtype=np.float32)
SKY, BOUNCE, LAMP, EYE = 0.46, 0.26, 0.56, 0.30  # light from above, from below, from the lamp, from the camera
FINE = 2  # pixels of the mesh per pixel of the picture, along each side
SHADES = 24  # of the skin, in the palette of a GIF
_OUTLINE = 24  # directions in which the farthest vertex of a frame is looked for


class MeshScene(Scene):
    """A `Scene` of a motion with a mesh: `vertices` (F, V, 3) and `faces` (N, 3) of `Shown`.

    Raises ValueError for what `Scene` refuses, for wrong shapes and indices, and for NaN or infinite vertices (naming
    the first such frame).
    """

    def outline(self, joints: np.ndarray, shown: Shown, camera: Camera) -> np.ndarray:
        self.vertices, self.faces = checked_mesh(shown)
        self.joints = joints
        camera.ground = float(self.vertices[..., 1].min())
        self._measure(shown)
        angle = 2 * np.pi * np.arange(_OUTLINE) / _OUTLINE
        ways = camera.axes[:, :2] @ (np.cos(angle), np.sin(angle))  # over the picture
        ways = np.column_stack((ways, camera.axes[:, 2])).astype(np.float32)  # (3, D), and towards the camera
        extremes = np.stack([points[(points @ ways).argmax(axis=0)] for points in self.vertices]).astype(np.float64)
        behind = ~np.isfinite(camera.project(extremes, camera.target[:, None])[1]).all(axis=1)
        if behind.any():
            raise ValueError(
                f"vertices are far from the joints in frame {behind.argmax()}: both need the same coordinates"
            )
        return extremes

    def _measure(self, shown: Shown) -> None:
        """How thick the mesh of the first frame is around each bone, and how far it goes beyond the last joints."""
        parents = np.array(shown.skeleton.parents)
        bones = np.flatnonzero(parents >= 0)  # each from a joint's parent to the joint
        self.bones = parents[bones], bones
        start, end = self.joints[0, parents[bones]], self.joints[0, bones]
        points = self.vertices[0].astype(np.float64)
        along = end - start  # (B, 3)
        length = np.maximum(np.linalg.norm(along, axis=1), 1e-9)
        share = ((points @ along.T) - (start * along).sum(1)) / length**2  # (V, B): 0 at the start, 1 at the end
        away2 = (points**2).sum(1)[:, None] - 2 * points @ start.T + (start**2).sum(1)
        inside = np.clip(share, 0, 1)
        away2 += (inside**2 - 2 * inside * share) * length**2
        nearest = away2.argmin(axis=1)
        away = np.sqrt(np.maximum(away2[np.arange(len(points)), nearest], 0))
        is_last = ~np.isin(bones, parents)
        self.radius, self.beyond = np.zeros(len(bones)), np.zeros(len(bones))  # the latter in bone lengths
        for k in range(len(bones)):
            mine = nearest == k
            aside = mine & (share[:, k] <= 1)
            self.radius[k] = np.median(away[aside]) if aside.any() else 0.0
            if is_last[k] and mine.any():
                past = np.percentile((share[mine, k] - 1) * length[k], 95) - self.radius[k]
                self.beyond[k] = max(past, 0) / length[k]

    def named_colours(self) -> np.ndarray:
        shades = np.linspace(BOUNCE, 1.15, SHADES)[:, None] * SKIN  # what light there is, nearly
        return np.concatenate([super().named_colours(), np.minimum(shades, 1)])

    def capsules(self, frame: int) -> tuple:
        start, end = (self.joints[frame, ends] for ends in self.bones)
        return start, end + self.beyond[:, None] * (end - start), self.radius, self.radius

    def prepare(self) -> None:
        slant = self.floor.slant
        self.lamp = np.array([slant[0], 1.0, slant[1]]) / np.sqrt(1 + slant @ slant)

    def paint(self, frames: list[int], tints: list[float]) -> None:
        # far ones first: each frame has a z-buffer of its own
        depths = [
            -(self.joints[frame].mean(axis=0) - self.camera.target[frame]) @ self.camera.axes[:, 2] for frame in frames
        ]
        for i in np.argsort(depths)[::-1]:
            self._paint_one(frames[i], tints[i])

    def _paint_one(self, frame: int, tint: float) -> None:
        vertices = self.vertices[frame].astype(np.float64)
        target = self.camera.target[frame]
        places, depth = self.camera.project(vertices, target)
        # the part of the picture that the mesh may cover, in whole pixels: columns, and rows from below
        most = self.width, self.height - self.banner
        low = np.clip(np.floor(places.min(axis=0)), 0, most).astype(int)
        high = np.clip(np.ceil(places.max(axis=0)), 0, most).astype(int)
        W, H = high - low
        if min(W, H) <= 0:
            return
        seen = rasterize(FINE * (places - low), depth, self.faces, FINE * W, FINE * H)
        normals = vertex_normals(vertices, self.faces)
        toward = self.camera.distance * self.camera.axes[:, 2] + target - vertices
        values = np.concatenate((normals, toward), axis=1).astype(np.float32)
        colour = 1 + tint * (self._light(seen.blend(values, self.faces)) - 1)  # towards white paper

        fine = np.zeros((FINE * H * FINE * W, 4), dtype=np.float32)
        fine[seen.pixels, :3] = colour
        fine[seen.pixels, 3] = 1
        blocks = fine.reshape(H, FINE, W, FINE, 4)
        coarse = sum(blocks[:, i, :, j] for i in range(FINE) for j in range(FINE)) / FINE**2  # faster than a mean
        part = self.picture[self.height - high[1] : self.height - low[1], low[0] : high[0], :3]
        part[:] = np.clip(part * (1 - coarse[..., 3:]) + 255 * coarse[..., :3] + 0.5, 0, 255)

    def _light(self, values: np.ndarray) -> np.ndarray:
        """Normals and ways to the eye (n, 6), blended from vertices and so not of unit length -> colours (n, 3)."""
        normals, toward = (
            part / np.linalg.norm(part, axis=1, keepdims=True) for part in (values[:, :3], values[:, 3:])
        )
        up = 0.5 + 0.5 * normals[:, 1]
        lamp = np.clip(normals @ self.lamp.astype(np.float32), 0, 1)
        facing = np.clip((normals * toward).sum(axis=1), 0, 1)
        light = BOUNCE + (SKY - BOUNCE) * up + LAMP * lamp + EYE * facing
        return np.minimum(SKIN * light[:, None], 1)
