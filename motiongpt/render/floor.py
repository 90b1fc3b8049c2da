"""The floor of every picture: checkered tiles that fade out with distance, and the soft shadow of the figures on them.

Rays through the pixels meet the plane in closed form. As the camera keeps its direction and its height, that is done
once for a clip; a frame only moves the pattern. The edge of a tile is filtered over the width of a pixel, so distant
tiles neither flicker nor alias.

A shadow is that of capsules, seen from the light. A lamp of some size makes the shadow of a high limb wider and weaker
than that of a foot: over a thin strip the share of the lamp that is hidden is the overlap of two intervals.

What this module does not know: what casts the shadow.
"""

import numpy as np

from motiongpt.render.camera import Camera

TILES = (0.80, 0.93)  # how light the two kinds of tiles are, of 1
DARK = 0.58  # of the light that is lost where the whole lamp is hidden
LIGHT = np.array([-0.45, 1.0, 0.12])  # to the lamp: right, up, towards the camera, before `Camera.axes` turn it
_SHARP, _SPREAD = 0.02, 0.08  # half the width of a shadow's edge: body lengths, and per unit of height
_CELL = 0.03  # body lengths: the resolution of a shadow
_AT_ONCE = 1 << 18  # cells of all capsules' windows in memory together


class Floor:
    """Paints floor and shadows of one clip into pictures of H rows, W columns, from row `top` (0 is the upper) on."""

    def __init__(self, camera: Camera, W: int, H: int, top: int = 0):
        self.camera, self.ground, self.limb, self.height = camera, camera.ground, camera.limb, H
        flat = camera.axes[:, 2] * (1, 0, 1)  # towards the camera, over the ground; none for a camera straight above
        ahead = flat / max(np.linalg.norm(flat), 1e-9)
        light = LIGHT[0] * camera.axes[:, 0] + LIGHT[2] * ahead + (0, LIGHT[1], 0)
        self.slant = light[[0, 2]] / light[1]  # by how much a shadow moves away per unit of height, (2,) x and z

        eye, rays = camera.rays(H - np.arange(top, H) - 0.5, np.arange(W) + 0.5)
        down = self.ground - camera.target[0, 1] - eye[1]  # the same in every frame
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = down / rays[..., 1]
            spot = eye[[0, 2]] + depth[..., None] * rays[..., [0, 2]]  # (H - top, W, 2) x and z around the target
        reach = 2.0 * camera.radius
        fade = np.clip(1.6 * (1 - np.hypot(spot[..., 0], spot[..., 1]) / reach), 0, 1)
        fade = np.where((depth > 0) & np.isfinite(depth), fade * fade * (3 - 2 * fade), 0.0)
        rows = np.flatnonzero((fade > 0).any(axis=1))
        first, last = (rows[0], rows[-1] + 1) if len(rows) else (0, 0)
        self.rows = slice(top + first, top + last)
        self.fade = fade[first:last].astype(np.float32)
        spot = np.nan_to_num(spot[first:last], posinf=0, neginf=0).astype(np.float32)
        self.spot = np.ascontiguousarray(np.moveaxis(spot, -1, 0))  # (2, rows, W)
        self.step = nice(max(0.85 * self.limb, reach / 8))
        self._prepare_tiles()
        self.colours = _colours()

    def greys(self, count: int) -> np.ndarray:
        """`count` of the floor's colours (count, 3), from 0 to 1: the tiles, and from a dark shadow to nearly white."""
        levels = np.linspace(255 * TILES[0] * (1 - DARK), 250, count - len(TILES))
        levels = np.array([*levels, *(255 * tile for tile in TILES)]).astype(int)
        return self.colours[levels].view(np.uint8).reshape(-1, 4)[:, :3] / 255

    def _prepare_tiles(self) -> None:
        """For each axis the position in pairs of tiles, and how steep an edge is: 1 / the width of a pixel."""
        self.pairs, self.steepness = [], []
        for axis in range(2):
            pairs = self.spot[axis] / (2 * self.step) + 0.25  # + 0.25: see `_stripes`
            width = np.full_like(pairs, 1e-6)
            if min(pairs.shape) > 1:  # of a pixel, in pairs of tiles
                width += sum(np.abs(gradient) for gradient in np.gradient(pairs))
            self.pairs.append(pairs)
            self.steepness.append(2 / width)

    def _stripes(self, axis: int, target: float) -> np.ndarray:
        """-1 and 1 in turn along one axis, filtered: near an edge the distance from it, in pixels."""
        pairs = self.pairs[axis] + np.float32(target / (2 * self.step) % 1.0)
        pairs -= np.floor(pairs)
        pairs -= np.float32(0.5)
        np.abs(pairs, out=pairs)
        np.subtract(np.float32(0.25), pairs, out=pairs)  # 0 at both edges, 0.25 in the middle of a light stripe
        pairs *= self.steepness[axis]
        return np.clip(pairs, -1, 1, out=pairs)

    def paint(self, picture: np.ndarray, target: np.ndarray, capsules: tuple | None = None) -> None:
        """Draw into a picture (H, W, 4), around the camera's `target` (3,).

        `capsules` cast shadows: both ends (K, 3) and the radii there (K,), as (a, b, radius_a, radius_b).
        """
        light = self._stripes(0, target[0])
        light *= self._stripes(1, target[2])
        light *= np.float32((TILES[1] - TILES[0]) / 2)
        light += np.float32((TILES[1] + TILES[0]) / 2)
        if capsules is not None and light.size:
            self._shade(light, target, *capsules)
        light -= 1
        light *= self.fade
        light += 1
        light *= len(self.colours) - 1
        picture.view(np.uint32)[self.rows, :, 0] = self.colours[light.astype(np.uint8)]

    def _shade(self, light: np.ndarray, target: np.ndarray, a, b, radius_a, radius_b) -> None:
        """Multiply the light of the floor by the shadow of capsules."""
        (a, high_a), (b, high_b) = (self.fall(end, target) for end in (a, b))
        cell = np.float32(_CELL * self.limb)
        blur_a, blur_b = ((_SHARP * self.limb + _SPREAD * high).astype(np.float32) for high in (high_a, high_b))
        radius_a, radius_b = np.asarray(radius_a, dtype=np.float32), np.asarray(radius_b, dtype=np.float32)
        edge = np.maximum(radius_a + blur_a, radius_b + blur_b)[:, None] + 2 * cell
        low = np.minimum(a, b) - edge
        high = np.maximum(a, b) + edge
        corner, size = low.min(axis=0), np.ceil((high.max(axis=0) - low.min(axis=0)) / cell).astype(int) + 1
        if size.prod() > 250_000:  # a body that is torn apart
            return
        shadow = np.zeros(size, dtype=np.float32)  # x, z
        x, z = (corner[i] + cell * np.arange(size[i], dtype=np.float32) for i in range(2))
        starts = ((low - corner) / cell).astype(int)
        ends = np.minimum(np.ceil((high - corner) / cell).astype(int) + 1, size)
        # Windows of one size for all capsules, as a few large arrays are faster than many small ones. What a window has
        # beyond its capsule's own reach is not hidden.
        spans = (ends - starts).max(axis=0)
        for some in np.array_split(np.arange(len(a)), -(-len(a) * spans.prod() // _AT_ONCE)):
            i, j = (np.minimum(starts[some], size - spans)).T
            offsets = (
                (x[i[:, None] + np.arange(spans[0])] - a[some, :1])[:, :, None],
                (z[j[:, None] + np.arange(spans[1])] - a[some, 1:])[:, None, :],
            )
            widths = (radius_a[some], radius_b[some]), (blur_a[some], blur_b[some])
            for hidden, m, n in zip(_hidden(*offsets, (b - a)[some], *widths), i.tolist(), j.tolist(), strict=True):
                part = shadow[m : m + spans[0], n : n + spans[1]]
                np.maximum(part, hidden, out=part)
        self._multiply(light, shadow, corner, cell, target)

    def fall(self, points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points (K, 3) throw their shadow: x and z around the target (K, 2), and their heights (K,)."""
        height = np.maximum(points[:, 1] - self.ground, 0)
        return ((points - target)[:, [0, 2]] - height[:, None] * self.slant).astype(np.float32), height

    def _multiply(self, light: np.ndarray, shadow: np.ndarray, corner: np.ndarray, cell: float, target) -> None:
        """Darken the pixels that see a shadow (X, Z), by bilinear interpolation in it."""
        limits = np.array(shadow.shape) - 1
        part = self._window(corner, corner + cell * limits, target)
        (x, i), (z, j) = (self._cells((axis, *part), corner[axis], cell, limits[axis]) for axis in range(2))
        i *= shadow.shape[1]
        i += j
        index, flat, row = i.astype(np.intp), shadow.ravel(), shadow.shape[1]
        near, far = flat.take(index), flat[row:].take(index)
        near += z * (flat[1:].take(index) - near)
        far += z * (flat[row + 1 :].take(index) - far)
        near += x * (far - near)
        near *= np.float32(-DARK)
        near += 1
        light[part] *= near

    def _cells(self, part: tuple, corner: np.float32, cell: np.float32, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Where pixels of `part` lie in a shadow along one axis: what is left within a cell, and which cell it is."""
        place = self.spot[part] - corner
        place /= cell
        # the border of the shadow is zero: what is outside reads a zero there
        np.clip(place, 0, np.float32(limit - 1e-3), out=place)
        whole = np.floor(place)
        place -= whole
        return place, whole

    def _window(self, low: np.ndarray, high: np.ndarray, target: np.ndarray) -> tuple[slice, slice]:
        """The rows and columns of `fade` that see the rectangle from `low` to `high` (x, z), around the target."""
        corners = np.array([[x, 0.0, z] for x in (low[0], high[0]) for z in (low[1], high[1])])
        corners += (target[0], self.ground, target[2])
        pixels, _ = self.camera.project(corners, target)
        if np.isnan(pixels).any():  # it reaches behind the camera
            return slice(None), slice(None)
        left, right = pixels[:, 0].min(), pixels[:, 0].max()
        upper, lower = (self.height - self.rows.start - y for y in (pixels[:, 1].max(), pixels[:, 1].min()))
        return tuple(slice(max(0, int(a)), max(0, int(b) + 2)) for a, b in ((upper, lower), (left, right)))


def _hidden(x, z, along, radii, blurs) -> np.ndarray:
    """The share of the lamp (K, X, Z) that K capsules hide from places of the floor.

    The places x (K, X, 1), z (K, 1, Z) and the other end `along` (K, 2) are seen from a capsule's one end; `radii` and
    `blurs` are those at both ends, (K,) each.
    """
    length2 = np.maximum((along * along).sum(axis=1), 1e-12)
    (ax, az), (share_x, share_z) = along.T[..., None, None], (along / length2[:, None]).T[..., None, None]
    t = x * share_x + z * share_z
    np.clip(t, 0, 1, out=t)
    away = x - t * ax
    away *= away
    beside = z - t * az
    beside *= beside
    away += beside
    np.sqrt(away, out=away)
    radius, blur = (t * (end - start)[:, None, None] + start[:, None, None] for start, end in (radii, blurs))
    # the strip is [-radius, radius], the lamp [away - blur, away + blur]
    overlap = np.minimum(radius, away + blur)
    away -= blur
    np.negative(radius, out=radius)
    overlap -= np.maximum(radius, away, out=away)
    blur *= 2
    overlap /= blur
    return np.maximum(overlap, 0, out=overlap)


def nice(x: float) -> float:
    """The number nearest to x among 1, 2 and 5 times powers of ten."""
    power = 10.0 ** np.floor(np.log10(x))
    return float(min((power, 2 * power, 5 * power, 10 * power), key=lambda candidate: abs(np.log(candidate / x))))


def _colours() -> np.ndarray:
    """(256,) pixels as one number, opaque: white for the lightest, a bluish grey below."""
    light = np.linspace(0, 1, 256)[:, None]
    rgb = 255 * light ** np.array([1.06, 1.0, 0.90])  # shadows are a little blue, as under a sky
    rgba = np.concatenate([rgb.round(), np.full_like(light, 255)], axis=1).astype(np.uint8)
    return rgba.view(np.uint32)[:, 0]
