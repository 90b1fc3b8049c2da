"""Triangle meshes -> the pixels that see them: a z-buffer in numpy, without a display or a graphics driver.

A face covers the pixels whose centres it contains. Every face is cut into rows, every row into pixels, all faces at
once, and the nearest face of a pixel wins. Two things make a closed mesh free of cracks: places are rounded to 1/256
pixel, so that edges are exact, and the crossing of an edge with a row is computed from the edge's lower end, so that
both faces beside it get the same number. Of two faces with a common edge exactly one has a pixel on it.

    V vertices   N faces   W, H pixels   places: x to the right, y up, (0, 0) is the lower left corner of the picture

What this module does not know: cameras and colours.
"""

from dataclasses import dataclass

import numpy as np

SUBPIXELS = 256  # places per pixel
_AT_ONCE = 1 << 20  # pixels of faces in memory at once; large faces behind each other have many


@dataclass(frozen=True)
class Seen:
    """What is seen in the n pixels that a mesh covers."""

    pixels: np.ndarray  # (n,) row * W + column, rows from the top
    faces: np.ndarray  # (n,) which face
    weights: np.ndarray  # (n, 3) float32: how much of each of its corners, in perspective; they sum to 1

    def blend(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Values of vertices (V, k) -> values in the pixels (n, k), for the faces (N, 3) of the mesh."""
        corners = faces[self.faces]  # (n, 3)
        return sum(self.weights[:, i : i + 1] * values[corners[:, i]] for i in range(3))


def rasterize(points: np.ndarray, depth: np.ndarray, faces: np.ndarray, W: int, H: int) -> Seen:
    """Which face of a mesh every pixel sees.

    Args:
        points: (V, 2) places of the vertices in pixels.
        depth: (V,) their distances from the camera's plane, above 0. Faces with a NaN among their corners, such as of
            vertices behind the camera, are left out.
        faces: (N, 3) indices of vertices. Only faces whose corners run counter-clockwise are seen; others show their
            back.
    """
    points = np.round(np.asarray(points, dtype=np.float64) * SUBPIXELS) / SUBPIXELS
    near = 1 / np.asarray(depth, dtype=np.float64)  # linear over the picture, as depth is not
    a, b, c = (points[faces[:, i]] for i in range(3))  # (N, 2)
    area = _cross(b - a, c - a)  # twice a face's; NaN compares as False
    with np.errstate(invalid="ignore"):
        low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        shown = (area > 0) & (high > 0).all(axis=1) & (low < (W, H)).all(axis=1) & np.isfinite(area)
        shown &= np.isfinite(near[faces]).all(axis=1)
    which = np.flatnonzero(shown)
    corners = np.stack((a[which], b[which], c[which]), axis=1)  # (n, 3, 2)
    area = area[which]

    # 1 / depth over the picture: its value at the first corner, and its slopes
    at = near[faces[which]]  # (n, 3)
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    rise = at[:, 1:] - at[:, :1]
    slope_x = (rise[:, 0] * ac[:, 1] - rise[:, 1] * ab[:, 1]) / area
    slope_y = (rise[:, 1] * ab[:, 0] - rise[:, 0] * ac[:, 0]) / area

    face, row, left, right = _rows(corners, low[which, 1], high[which, 1], W, H)
    start = at[face, 0] + slope_y[face] * (row + 0.5 - corners[face, 0, 1]) - slope_x[face] * corners[face, 0, 0]

    # the nearest wins: one number has 1 / depth before the face, as positive floats sort like their bits
    best = np.zeros(W * H, dtype=np.uint64)
    counts = right - left
    ends = np.cumsum(counts)
    cuts = np.searchsorted(ends, np.arange(_AT_ONCE, ends[-1] if len(ends) else 0, _AT_ONCE))
    for part in np.split(np.arange(len(face)), cuts):
        which_row = np.repeat(part, counts[part])
        first = np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        column = left[which_row] + np.arange(len(which_row)) - first
        value = (start[which_row] + slope_x[face[which_row]] * (column + 0.5)).astype(np.float32)
        key = np.maximum(value, np.finfo(np.float32).tiny).view(np.uint32).astype(np.uint64) << np.uint64(32)
        np.maximum.at(best, row[which_row] * W + column, key | face[which_row].astype(np.uint64))

    pixels = np.flatnonzero(best)
    seen = (best[pixels] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    places = np.stack((pixels % W, pixels // W), axis=1) + 0.5  # (n, 2)
    corner = corners[seen]
    parts = np.stack([_cross(corner[:, i - 1] - corner[:, i - 2], places - corner[:, i - 2]) for i in range(3)], axis=1)
    parts *= at[seen]
    weights = (parts / parts.sum(axis=1, keepdims=True)).astype(np.float32)
    return Seen((H - 1 - pixels // W) * W + pixels % W, which[seen], weights)


def _rows(corners: np.ndarray, low: np.ndarray, high: np.ndarray, W: int, H: int) -> tuple[np.ndarray, ...]:
    """The rows of pixels of each face: (m,) face, row from the bottom, first column, and the one after the last.

    A pixel belongs to a face if its centre is inside, or on a left or lower edge.
    """
    first = np.clip(np.ceil(low - 0.5), 0, H).astype(np.int64)
    count = np.maximum(np.clip(np.ceil(high - 0.5), 0, H).astype(np.int64) - first, 0)
    face = np.repeat(np.arange(len(corners)), count)
    row = first[face] + np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    left, right = np.zeros(len(face)), np.full(len(face), float(W))
    for i in range(3):
        p, q = corners[:, i], corners[:, (i + 1) % 3]
        upward = q[:, 1] > p[:, 1]  # corners run counter-clockwise, so the face is to the left of this edge
        lower, upper = np.where(upward[:, None], p, q), np.where(upward[:, None], q, p)
        span = upper - lower
        level = span[:, 1] == 0  # bounds no row from the side
        slope = span[:, 0] / np.where(level, 1, span[:, 1])
        cross = lower[face, 0] + slope[face] * (row + 0.5 - lower[face, 1])
        cross = np.ceil(cross - 0.5)
        bounds_right, bounds_left = (upward & ~level)[face], (~upward & ~level)[face]
        np.minimum(right, cross, out=right, where=bounds_right)
        np.maximum(left, cross, out=left, where=bounds_left)
    some = right > left
    return face[some], row[some], left[some].astype(np.int64), right[some].astype(np.int64)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) float32 of vertices (V, 3): of the faces (N, 3), weighted by area. Zero without a face."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    of_faces = np.cross(b - a, c - a)  # as long as twice the area
    corners = faces.ravel()
    sums = [np.bincount(corners, np.repeat(of_faces[:, i], 3), minlength=len(vertices)) for i in range(3)]
    normals = np.stack(sums, axis=1)
    return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
