"""Stick figures: joints -> frames, an animated GIF, or a contact sheet in one PNG.

Joints are projected to pixels in numpy, and matplotlib's Agg renderer strokes them over a background that already has
the text. That gives the picture of a 3D axes many times faster, without pyplot's global state. Right limbs, left limbs
and the spine have one colour each (`RIGHT`, `LEFT`, `SPINE`); the lowest point of the clip is the ground.

The camera looks at the front of a person who faces +z, a little from the side, so the person's left is on the right of
the picture. It follows the root along the ground, smoothed over about a second. On a contact sheet it stands still if
the way is short. The zoom is fixed, such that every joint of every frame is inside. No unit is assumed: all sizes come
from the body. A skeleton whose feet are an ankle and a toe gets a heel, or every foot would seem to be on tiptoe.

What this module does not know: tokens, features, file suffixes (`motion.py` picks the renderer).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.body.smoothing import smooth
from motiongpt.files.store import write_atomic
from motiongpt.render.gif import gif_frames, palette_frames, write_gif
from motiongpt.render.lettering import layout, text_canvas

RIGHT = "#e4572e"
LEFT = "#1f78b4"
SPINE = "#3a424d"
PAPER = "#ffffff"
GRID = "#c3ccd6"
SHADE = "#e4e9ef"
TRAIL = "#f2a73b"
INK = "#2b3038"

_AZIMUTH = np.radians(35.0)  # of the camera, from +z towards +x
_ELEVATION = np.radians(14.0)  # of the camera, upwards
_FADES = 5  # steps in which the grid fades into the paper
MAX_FRAMES = 100_000  # more than an hour; a longer clip would take hours and all memory


def draw_frames(
    joints: np.ndarray, skeleton: Skeleton, *, fps=20.0, title="", caption="", size=480, frames=None
) -> Iterator[np.ndarray]:
    """Yield one picture (H, W, 3) uint8 per frame.

    Args:
        joints: (F, J, 3) positions, y up, any unit.
        title, caption: any text; one bold line, and up to three plain ones. An ellipsis marks what was cut.
        size: side of the square picture in pixels, or (width, height); at least 64.
        frames: which frames, in which order; None for all. The camera is the whole clip's in any case.

    Raises ValueError for a wrong shape or joint count, and for NaN or infinite joints (naming the first such frame).
    """
    scene = _Scene(joints, skeleton, fps, size, title, caption)
    return (scene.draw(frame)[..., :3].copy() for frame in (range(scene.F) if frames is None else frames))


def render_gif(
    joints: np.ndarray, skeleton: Skeleton, path: str | Path, *, fps=20.0, title="", caption="", size=480
) -> Path:
    """Write an endless GIF of joints (F, J, 3) and return its path. Arguments and errors are those of `draw_frames`.

    Above 50 fps some frames are left out: see `gif.py`.
    """
    scene = _Scene(joints, skeleton, fps, size, title, caption)
    shown, ticks = gif_frames(scene.F, fps)
    return write_gif(path, map(scene.draw, shown), ticks, map(scene.draw, palette_frames(scene.F)), named_colours())


def named_colours() -> np.ndarray:
    """The colours (m, 3), from 0 to 1, that pictures are drawn in; all others are mixed from them."""
    return np.array([*_rgb(PAPER, SHADE, TRAIL, INK, RIGHT, LEFT, SPINE), *_fades()])


def render_png(
    joints: np.ndarray,
    skeleton: Skeleton,
    path: str | Path,
    *,
    fps=20.0,
    title="",
    caption="",
    size=320,
    panels=8,
    columns=4,
) -> Path:
    """Write a contact sheet: `panels` moments of joints (F, J, 3), first and last included, in rows of `columns`.

    Each panel shows the whole way, its future part in grey. `size` is the height of one panel in pixels. Errors are
    those of `draw_frames`.
    """
    from PIL import Image

    W = round(size * 0.75)
    H = size
    label = size // 10  # height of the line above each scene
    scene = _Scene(joints, skeleton, fps, (W, H - label), sheet=True)
    moments = np.unique(np.linspace(0, scene.F - 1, panels).round().astype(int))
    columns = min(columns, len(moments))
    rows = -(-len(moments) // columns)
    lines, banner = layout(title, caption, columns * W, size / 20)
    sheet = np.full((banner + rows * H, columns * W, 3), 255, dtype=np.uint8)
    for i, moment in enumerate(moments):
        top, left = banner + i // columns * H, i % columns * W
        sheet[top + label : top + H, left : left + W] = scene.draw(moment)[..., :3]
        lines.append((left + W / 2, top + 0.7 * label, f"{moment / fps:.2f} s", size / 25, "normal"))
    text = np.asarray(text_canvas(*sheet.shape[1::-1], lines, INK).buffer_rgba())
    picture = Image.fromarray(np.minimum(sheet, text[..., :3]))
    write_atomic(path, lambda temporary: picture.save(temporary, format="PNG"))
    return Path(path)


def _checked(joints: np.ndarray, skeleton: Skeleton, fps: float, size) -> tuple[np.ndarray, int, int]:
    """Joints (F, J, 3) float64, width and height in pixels. Raises ValueError for what cannot be drawn."""
    if len(joints) > MAX_FRAMES:
        raise ValueError(f"{len(joints)} frames are too many to draw, at most {MAX_FRAMES}; cut the motion")
    joints = np.asarray(joints, dtype=np.float64)
    if joints.ndim != 3 or joints.shape[2] != 3 or len(joints) == 0:
        raise ValueError(f"joints must have shape (F, J, 3) with F > 0, got {joints.shape}")
    if joints.shape[1] != skeleton.num_joints:
        raise ValueError(f"got {joints.shape[1]} joints, but skeleton {skeleton.name} has {skeleton.num_joints}")
    bad = ~np.isfinite(joints).all(axis=(1, 2))
    if bad.any():
        raise ValueError(f"joints are NaN or infinite in {bad.sum()} frames, the first is frame {bad.argmax()}")
    W, H = (size, size) if np.isscalar(size) else size
    if not 0 < fps < np.inf or min(W, H) < 64:
        raise ValueError(f"fps must be positive and a picture at least 64 x 64 pixels, got {fps} fps, {W} x {H}")
    return joints, W, H


class _Scene:
    """Everything about a clip that does not change from frame to frame; `draw` draws one frame."""

    def __init__(self, joints, skeleton, fps, size, title="", caption="", sheet=False):
        joints, W, H = _checked(joints, skeleton, fps, size)
        self.F = len(joints)
        self.width = W
        self.sheet = sheet
        self.ground = joints[..., 1].min()
        self.limbs = _limbs(skeleton)
        self.fades = _fades()

        # Sizes come from the body: `limb` is the length of its longest chain, about 1 m for an adult.
        bones = np.linalg.norm(joints - joints[:, np.maximum(skeleton.parents, 0)], axis=2).mean(axis=0)  # (J,)
        limb = max(bones[list(chain)].sum() for chain in skeleton.chains) or 1.0
        radius = self._aim(joints, fps, limb)

        lines, banner = layout(title, caption, W, W / 34)
        self.bar = max(2.0, H / 160)  # height of the progress bar
        ball = _head_ball(joints, skeleton, limb)
        drawn = np.concatenate([joints, _heels(joints, skeleton, self.ground), ball[:, None]], axis=1)  # (F, J + 3, 3)
        self._fit(drawn, limb, (0, self.bar, W, H - banner))

        pixels = self.focal / self.distance  # of one unit of length
        self.rim = max(1.5, 0.012 * limb * pixels)  # of paper around each limb, to separate limbs that cross
        for part in self.limbs:  # fingers and faces have short bones and get thin lines
            thin = bones[[j for j in part.joints[1:] if j < len(bones)]].mean() < 0.07 * limb
            part.line_width = max(1.5, (0.025 if thin else 0.055) * limb * pixels)
        self.head_radius = 0.09 * limb * pixels

        self._lay_grid(radius, limb)
        self._prepare_canvas(W, H, lines, banner)

    def _aim(self, joints: np.ndarray, fps: float, limb: float) -> float:
        """The camera: always as far from a target that follows the root. Returns the radius that it has to see."""
        root = joints[:, 0]
        self.target = smooth(root, 0.5 * fps)  # (F, 3)
        if self.sheet and np.ptp(root, axis=0).max() < 3 * limb:  # a short way: stand still
            self.target[:] = (root.min(axis=0) + root.max(axis=0)) / 2
        self.target[:, 1] = root[:, 1].mean()
        radius = np.linalg.norm(joints - self.target[:, None], axis=2).max() + 0.2 * limb
        self.distance = 4.5 * radius
        sin_a, cos_a = np.sin(_AZIMUTH), np.cos(_AZIMUTH)
        sin_e, cos_e = np.sin(_ELEVATION), np.cos(_ELEVATION)
        backward = np.array([sin_a * cos_e, sin_e, cos_a * cos_e])
        side = np.array([cos_a, 0.0, -sin_a])
        self.axes = np.stack([side, np.cross(backward, side), backward], axis=1)  # (3, 3): columns right, up, backward
        return radius

    def _fit(self, drawn: np.ndarray, limb: float, extents: tuple) -> None:
        """The zoom: points (F, P, 3) of every frame fit into the box, between the text and the progress bar."""
        from matplotlib.transforms import Bbox

        box = Bbox.from_extents(*extents)
        self.focal = 1.0  # project at unit size first, to see how large the figure is
        self.centre = np.zeros(2)
        body, depth = self.project(drawn, self.target[:, None])
        margin = 0.10 * limb / self.distance
        low, high = body.min(axis=(0, 1)) - margin, body.max(axis=(0, 1)) + margin  # (2,)
        self.focal = (0.94 * np.array([box.width, box.height]) / (high - low)).min()
        self.centre = np.array([box.x0 + box.width / 2, box.y0 + box.height / 2]) - self.focal * (low + high) / 2
        on_ground = drawn * (1, 0, 1) + (0, self.ground, 0)
        self.trail = on_ground[:, 0]  # (F, 3)
        self.body = self.focal * body + self.centre  # (F, P, 2) pixels
        self.depth = depth  # (F, P)
        self.shadow, _ = self.project(on_ground, self.target[:, None])

    def _lay_grid(self, radius: float, limb: float) -> None:
        """The ground: squares of 1, 2 or 5 times a power of ten, fading out at distance `reach`."""
        self.reach = 2.0 * radius
        self.step = _nice(max(0.45 * limb, self.reach / 12))
        n = int(np.ceil(self.reach / self.step)) + 1
        index = np.arange((2 * n + 1) ** 2).reshape(2 * n + 1, 2 * n + 1)
        self.nodes = np.stack(np.divmod(index.ravel(), 2 * n + 1), axis=1) - n  # (N, 2) squares away from the target
        along_x = np.stack([index[:-1], index[1:]], -1)
        along_z = np.stack([index[:, :-1], index[:, 1:]], -1)
        self.edges = np.concatenate([along_x.reshape(-1, 2), along_z.reshape(-1, 2)])  # (E, 2) into nodes

    def _prepare_canvas(self, W: int, H: int, lines: list[tuple], banner: int) -> None:
        """Draw the text and the empty progress bar once: every frame starts from this `background`."""
        from matplotlib.transforms import Bbox, IdentityTransform

        self.canvas = text_canvas(W, H, lines, INK)
        self.renderer = self.canvas.get_renderer()
        self.as_is = IdentityTransform()  # points are pixels already
        self.gc = self.renderer.new_gc()
        self.gc.set_joinstyle("round")
        self.gc.set_snap(False)
        self.gc.set_clip_rectangle(Bbox.from_extents(0, 0, W, H - banner))
        self._draw_bar(W, SHADE)
        self.background = self.canvas.copy_from_bbox(Bbox.from_bounds(0, 0, W, H))

    def project(self, points, target):
        """World points (..., 3) -> pixels (..., 2), y up, and depth (...). Points behind the camera become NaN."""
        right_up_back = (points - target) @ self.axes
        depth = self.distance - right_up_back[..., 2]
        depth = np.where(depth > 0.2 * self.distance, depth, np.nan)
        return self.centre + self.focal * right_up_back[..., :2] / depth[..., None], depth

    def draw(self, frame: int) -> np.ndarray:
        """The picture (H, W, 4) uint8 RGBA of a frame. It is a view of the canvas, so the next call paints over it."""
        self.canvas.restore_region(self.background)
        self._draw_ground(frame)
        for limb in self.limbs:
            self._stroke(self.shadow[frame, limb.joints], SHADE, limb.line_width, limb.pieces)
        for limb in sorted(self.limbs, key=lambda limb: -self.depth[frame, limb.joints].mean()):  # far to near
            points = self.body[frame, limb.joints]
            self._stroke(points, PAPER, limb.line_width + 2 * self.rim, limb.pieces)
            self._stroke(points, limb.colour, limb.line_width, limb.pieces)
            if limb.colour == SPINE:
                head = self.body[frame, -1] + np.array([[0.0, 0.0], [0.01, 0.0]])  # a dot: a round-capped line
                self._stroke(head, PAPER, 2 * (self.head_radius + self.rim))
                self._stroke(head, SPINE, 2 * self.head_radius)
        self._draw_bar(self.width * (frame + 1) / self.F, TRAIL)
        return np.asarray(self.canvas.buffer_rgba())

    def _draw_bar(self, end: float, colour: str) -> None:
        """The progress bar at the lower edge, from the left to pixel `end`."""
        self._stroke(np.array([[-self.bar, self.bar / 2], [end - self.bar / 2, self.bar / 2]]), colour, self.bar)

    def _draw_ground(self, frame: int) -> None:
        """The grid around the target, and the trail of the root on it."""
        target = self.target[frame]
        x, z = ((np.floor(target[[0, 2]] / self.step) + self.nodes) * self.step).T
        nodes = np.stack([x, np.full_like(x, self.ground), z], axis=-1)  # (N, 3)
        pixels, _ = self.project(nodes, target)
        nearness = 1 - np.hypot(x - target[0], z - target[2]) / self.reach
        level = (_FADES * nearness[self.edges].mean(axis=1)).astype(int)  # (E,), of an edge between two nodes
        for i, colour in enumerate(self.fades, 1):
            lines = pixels[self.edges[level == i]].reshape(-1, 2)
            self._stroke(lines, colour, max(0.8, self.width / 480), pieces=2)

        stride = max(1, self.F // 400)  # a long trail needs no more points than pixels
        past, way = np.append(np.arange(0, frame, stride), frame), np.arange(0, self.F, stride)
        for frames, colour in [(way, GRID)] * self.sheet + [(past, TRAIL)]:
            pixels, _ = self.project(self.trail[frames], target)
            pixels[np.hypot(*(self.trail[frames] - target).T[[0, 2]]) > self.reach] = np.nan
            self._stroke(pixels, colour, max(2.0, self.width / 240))

    def _stroke(self, points: np.ndarray, colour: str | tuple, line_width: float, pieces: int = 0) -> None:
        """Draw a line through points (N, 2), or one line per `pieces` points. NaN points are left out."""
        from matplotlib.path import Path as Outline

        codes = np.tile([Outline.MOVETO] + [Outline.LINETO] * (pieces - 1), len(points) // pieces) if pieces else None
        # there are many hairlines, and on them a round cap costs time but cannot be seen
        self.gc.set_capstyle("round" if line_width > 2 else "butt")
        self.gc.set_foreground(colour)
        self.gc.set_linewidth(line_width)
        self.renderer.draw_path(self.gc, Outline(points, codes), self.as_is)


@dataclass
class _Limb:
    """Joints that are drawn together: one line through all, or one line per `pieces` joints."""

    joints: list[int]
    colour: str
    pieces: int = 0
    line_width: float = 1.0  # pixels


def _limbs(skeleton: Skeleton) -> list[_Limb]:
    """The torso with collarbones and hips, then each chain from its shoulder or hip (else its first sided joint) on."""
    torso = []
    limbs = []
    J = skeleton.num_joints
    for chain in skeleton.chains:
        side = _side(chain, skeleton)
        sided = [i for i, j in enumerate(chain) if side and _side([j], skeleton) == side]
        start = next((i for i in sided if chain[i] in skeleton.face), sided[0] if sided else len(chain) - 1)
        # the part of the chain up to the hip or shoulder is torso, drawn as pairs of joints; the rest is a limb
        torso += list(np.repeat(chain[: start + 1], 2)[1:-1])  # a b c -> a b, b c
        if start < len(chain) - 1:
            limbs.append(_Limb(list(chain[start:]), LEFT if side > 0 else RIGHT))
            for heel, foot in enumerate((skeleton.feet_left, skeleton.feet_right), J):
                limbs[-1].joints += [heel, foot[0]] if chain[-2:] == foot else []
    return [_Limb(torso or [0, 0], SPINE, pieces=2), *limbs]


def _head_ball(joints: np.ndarray, skeleton: Skeleton, limb: float) -> np.ndarray:
    """(F, 3) the middle of the head: past the joint of that name, else past the tip of the first chain of the spine."""
    middle = [chain for chain in skeleton.chains if _side(chain, skeleton) == 0] or [skeleton.chains[0]]
    named = [j for j, name in enumerate(skeleton.joints) if "head" in name.lower()]
    head = (named or middle[0][-1:])[0]
    neck_to_head = joints[:, head] - joints[:, max(skeleton.parents[head], 0)]
    neck_to_head /= np.maximum(np.linalg.norm(neck_to_head, axis=1, keepdims=True), 1e-9)
    return joints[:, head] + 0.07 * limb * neck_to_head


def _heels(joints: np.ndarray, skeleton: Skeleton, ground: float) -> np.ndarray:
    """Left and right heel (F, 2, 3): below the ankle in the plane of shin and foot, never under the ground.

    Two joints do not say how a foot is turned about its length, so the shin has to. A skeleton with more than ankle and
    toe (KIT-ML's) needs no heel; it gets the ankle.
    """
    ankles, toes = np.array([skeleton.feet_left, skeleton.feet_right]).T  # (2,) each
    foot = joints[:, toes] - joints[:, ankles]  # (F, 2, 3)
    heels = joints[:, ankles]
    if skeleton.leg[1] in ankles:
        shin = joints[:, ankles] - joints[:, np.array(skeleton.parents)[ankles]]
        shin, along = (v / np.maximum(np.linalg.norm(v, axis=2, keepdims=True), 1e-9) for v in (shin, foot))
        length = np.linalg.norm(foot, axis=2, keepdims=True)
        heels = heels + 0.55 * length * (shin - (shin * along).sum(axis=2, keepdims=True) * along)
    heels[..., 1] = np.maximum(heels[..., 1], ground)
    return heels


def _side(chain: Iterable[int], skeleton: Skeleton) -> int:
    """1 for a chain of mostly left joints, -1 for right, 0 for the middle of the body."""
    left, right = {i for i, _ in skeleton.mirror_pairs}, {i for _, i in skeleton.mirror_pairs}
    return int(np.sign(sum((j in left) - (j in right) for j in chain)))


def _nice(x: float) -> float:
    """The number nearest to x among 1, 2 and 5 times powers of ten."""
    power = 10.0 ** np.floor(np.log10(x))
    return float(min((power, 2 * power, 5 * power, 10 * power), key=lambda candidate: abs(np.log(candidate / x))))


def _fades() -> np.ndarray:
    """Colours (_FADES, 3), from 0 to 1, from nearly `PAPER` to `GRID`."""
    return np.linspace(*_rgb(PAPER, GRID), _FADES + 1)[1:]


def _rgb(*colours: str) -> list[tuple[float, float, float]]:
    from matplotlib.colors import to_rgb

    return [to_rgb(colour) for colour in colours]
