"""Stick figures: joints -> frames, an animated GIF, or a contact sheet in one PNG.

Joints are projected to pixels in numpy and stroked straight with matplotlib's Agg renderer over a background that
already carries the text: the picture of a 3D axes, many times faster, without pyplot's global state. Right limbs, left
limbs and the spine have one colour each (`RIGHT`, `LEFT`, `SPINE`); the lowest point of the clip is the ground. The
camera looks at the front of a person who faces +z, from a little beside, so the person's left is on the right of the
picture. It follows the root along the ground, smoothed over about a second, or, on a contact sheet, stands still where
the way is short. The zoom is fixed, such that every joint of every frame is inside. No unit is assumed: all sizes come
from the body. Skeletons with ankles and toes only get a heel, without which every foot looks as if on tiptoe.

What this module does not know: tokens, features, file suffixes (`motion.py` picks the renderer).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.body.smoothing import smooth
from motiongpt.files.store import write_atomic
from motiongpt.render.gif import gif_frames, palette_frames, write_gif

RIGHT, LEFT, SPINE = "#e4572e", "#1f78b4", "#3a424d"
PAPER, GRID, SHADE, TRAIL, INK = "#ffffff", "#c3ccd6", "#e4e9ef", "#f2a73b", "#2b3038"

_AZIMUTH, _ELEVATION = np.radians(35.0), np.radians(14.0)  # of the camera, from +z towards +x and upwards
_FADES = 5  # steps in which the grid fades into the paper
_MAX_TEXT = 400  # characters looked at of a title or caption; an ellipsis marks the cut
MAX_FRAMES = 100_000  # more than an hour; a picture of it would take hours and all memory
_DPI = 64  # of the text's figure: a power of two, so that pixels / _DPI * _DPI is exact
# Tried in this order for each letter, where installed; the first one comes with matplotlib.
_FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "PingFang SC", "Microsoft YaHei", "Noto Sans Devanagari", "Noto Emoji")


def draw_frames(
    joints: np.ndarray, skeleton: Skeleton, *, fps=20.0, title="", caption="", size=480, frames=None
) -> Iterator[np.ndarray]:
    """Yields one (H, W, 3) uint8 picture per frame (or per index in `frames`, seen by the whole clip's camera).

    Args:
        joints: (F, J, 3) positions, y up, any unit.
        title, caption: any text; one bold line, and up to three plain ones with an ellipsis where more was cut.
        size: side of the square picture in pixels, or (width, height); at least 64.
        frames: which frames, in which order; all of them when None.

    Raises ValueError for a wrong shape or joint count, and for NaN or infinite joints (naming the first such frame).
    """
    scene = _Scene(joints, skeleton, fps, size, title, caption)
    return (scene.draw(frame)[..., :3].copy() for frame in (range(scene.F) if frames is None else frames))


def render_gif(
    joints: np.ndarray, skeleton: Skeleton, path: str | Path, *, fps=20.0, title="", caption="", size=480
) -> Path:
    """Writes an endless GIF of joints (F, J, 3) and returns its path; arguments and errors as `draw_frames`.

    Time is in ticks of 10 ms, and above 50 fps frames are left out: see `gif.py`.
    """
    scene = _Scene(joints, skeleton, fps, size, title, caption)
    shown, ticks = gif_frames(scene.F, fps)
    return write_gif(path, map(scene.draw, shown), ticks, map(scene.draw, palette_frames(scene.F)), named_colours())


def named_colours() -> np.ndarray:
    """(m, 3) the colours that pictures are drawn in, from 0 to 1; all others are mixed from them."""
    return np.array([*_rgb(PAPER, SHADE, TRAIL, INK, RIGHT, LEFT, SPINE), *_fades()])


def render_png(
    joints: np.ndarray, skeleton: Skeleton, path: str | Path, *, fps=20.0, title="", caption="", size=320, panels=8
) -> Path:
    """Writes a contact sheet: `panels` moments of joints (F, J, 3), first and last included, in rows of four.

    Each panel shows the whole way, what is still to come in grey; a camera that stands still has a short way
    all in the picture. `size` is the height of one panel in pixels. Errors as `draw_frames`.
    """
    from PIL import Image

    W, H, label = round(size * 0.75), size, size // 10  # the label of a panel stands above its scene
    scene = _Scene(joints, skeleton, fps, (W, H - label), sheet=True)
    moments = np.unique(np.linspace(0, scene.F - 1, panels).round().astype(int))
    columns = min(4, len(moments))
    rows = -(-len(moments) // columns)
    lines, banner = _layout(title, caption, columns * W, size / 20)
    sheet = np.full((banner + rows * H, columns * W, 3), 255, dtype=np.uint8)
    for i, moment in enumerate(moments):
        top, left = banner + i // columns * H, i % columns * W
        sheet[top + label : top + H, left : left + W] = scene.draw(moment)[..., :3]
        lines.append((left + W / 2, top + 0.7 * label, f"{moment / fps:.2f} s", size / 25, "normal"))
    text = np.asarray(_text_canvas(*sheet.shape[1::-1], lines).buffer_rgba())
    picture = Image.fromarray(np.minimum(sheet, text[..., :3]))
    write_atomic(path, lambda temporary: picture.save(temporary, format="PNG"))
    return Path(path)


class _Scene:
    """Everything about a clip that does not change from frame to frame; `draw` makes one picture of it."""

    def __init__(self, joints, skeleton, fps, size, title="", caption="", sheet=False):
        from matplotlib.transforms import Bbox, IdentityTransform

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
        self.F, self.width, self.sheet = len(joints), W, sheet
        parents = np.maximum(skeleton.parents, 0)

        # Sizes come from the body: `limb` is the length of its longest chain, about 1 m for an adult.
        bones = np.linalg.norm(joints - joints[:, parents], axis=2).mean(axis=0)  # (J,)
        limb = max(bones[list(chain)].sum() for chain in skeleton.chains) or 1.0
        self.ground = joints[..., 1].min()
        self.limbs = _limbs(skeleton)

        # The head is a ball: at a joint of that name, else at the end of the first chain in the middle of the body.
        middle = [chain for chain in skeleton.chains if _side(chain, skeleton) == 0] or [skeleton.chains[0]]
        named = [j for j, name in enumerate(skeleton.joints) if "head" in name.lower()]
        head = (named or middle[0][-1:])[0]
        neck_to_head = joints[:, head] - joints[:, parents[head]]
        neck_to_head /= np.maximum(np.linalg.norm(neck_to_head, axis=1, keepdims=True), 1e-9)
        ball = joints[:, head] + 0.07 * limb * neck_to_head  # (F, 3)
        drawn = np.concatenate([joints, _heels(joints, skeleton, self.ground), ball[:, None]], axis=1)  # (F, J + 3, 3)

        # Camera: always the same direction and distance from a target that follows the root along the ground.
        root = joints[:, 0]
        self.target = smooth(root, 0.5 * fps)  # (F, 3), under a Gaussian of half a second
        if sheet and np.ptp(root, axis=0).max() < 3 * limb:
            self.target[:] = (root.min(axis=0) + root.max(axis=0)) / 2
        self.target[:, 1] = root[:, 1].mean()
        radius = np.linalg.norm(joints - self.target[:, None], axis=2).max() + 0.2 * limb
        self.distance = 4.5 * radius
        sin_a, cos_a, sin_e, cos_e = np.sin(_AZIMUTH), np.cos(_AZIMUTH), np.sin(_ELEVATION), np.cos(_ELEVATION)
        backward, side = np.array([sin_a * cos_e, sin_e, cos_a * cos_e]), np.array([cos_a, 0.0, -sin_a])
        self.axes = np.stack([side, np.cross(backward, side), backward], axis=1)  # (3, 3): columns right, up, backward

        # Zoom: every joint of every frame fits between the text above and the progress bar below.
        lines, banner = _layout(title, caption, W, W / 34)
        self.bar = max(2.0, H / 160)
        box = Bbox.from_extents(0, self.bar, W, H - banner)
        self.focal, self.centre = 1.0, np.zeros(2)
        body, depth = self.project(drawn, self.target[:, None])
        margin = 0.10 * limb / self.distance
        low, high = body.min(axis=(0, 1)) - margin, body.max(axis=(0, 1)) + margin  # (2,)
        self.focal = (0.94 * np.array([box.width, box.height]) / (high - low)).min()
        self.centre = np.array([box.x0 + box.width / 2, box.y0 + box.height / 2]) - self.focal * (low + high) / 2
        on_ground = drawn * (1, 0, 1) + (0, self.ground, 0)
        self.trail = on_ground[:, 0]  # (F, 3)
        self.body, self.depth = self.focal * body + self.centre, depth
        self.shadow, _ = self.project(on_ground, self.target[:, None])

        pixels = self.focal / self.distance  # of one unit of length
        self.rim = max(1.5, 0.012 * limb * pixels)  # of paper around each limb: it parts limbs that cross
        for part in self.limbs:  # fingers and faces have short bones and get thin lines
            thin = bones[[j for j in part.joints[1:] if j < len(bones)]].mean() < 0.07 * limb
            part.line_width = max(1.5, (0.025 if thin else 0.055) * limb * pixels)
        self.head_radius = 0.09 * limb * pixels

        # Ground: squares of 1, 2 or 5 times a power of ten, fading out at distance `reach`.
        self.reach = 2.0 * radius
        self.step = _nice(max(0.45 * limb, self.reach / 12))
        n = int(np.ceil(self.reach / self.step)) + 1
        index = np.arange((2 * n + 1) ** 2).reshape(2 * n + 1, 2 * n + 1)
        self.nodes = np.stack(np.divmod(index.ravel(), 2 * n + 1), axis=1) - n  # (N, 2) squares from the target
        along_x, along_z = np.stack([index[:-1], index[1:]], -1), np.stack([index[:, :-1], index[:, 1:]], -1)
        self.edges = np.concatenate([along_x.reshape(-1, 2), along_z.reshape(-1, 2)])  # (E, 2) into nodes

        self.fades = _fades()

        self.canvas = _text_canvas(W, H, lines)
        self.renderer, self.as_is = self.canvas.get_renderer(), IdentityTransform()
        self.gc = self.renderer.new_gc()
        self.gc.set_joinstyle("round")
        self.gc.set_snap(False)
        self.gc.set_clip_rectangle(Bbox.from_extents(0, 0, W, H - banner))
        self._draw_bar(W, SHADE)
        self.background = self.canvas.copy_from_bbox(Bbox.from_bounds(0, 0, W, H))

    def project(self, points, target):
        """World points (..., 3) -> pixels (..., 2), y up, and depth (...); NaN where a point is behind the camera."""
        right_up_back = (points - target) @ self.axes
        depth = self.distance - right_up_back[..., 2]
        depth = np.where(depth > 0.2 * self.distance, depth, np.nan)
        return self.centre + self.focal * right_up_back[..., :2] / depth[..., None], depth

    def draw(self, frame: int) -> np.ndarray:
        """Frame index -> (H, W, 4) uint8 RGBA, a view of the canvas: the next call paints over it."""
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
        self._stroke(np.array([[-self.bar, self.bar / 2], [end - self.bar / 2, self.bar / 2]]), colour, self.bar)

    def _draw_ground(self, frame: int) -> None:
        target = self.target[frame]
        x, z = ((np.floor(target[[0, 2]] / self.step) + self.nodes) * self.step).T
        nodes = np.stack([x, np.full_like(x, self.ground), z], axis=-1)  # (N, 3)
        pixels, _ = self.project(nodes, target)
        nearness = 1 - np.hypot(x - target[0], z - target[2]) / self.reach
        level = (_FADES * nearness[self.edges].mean(axis=1)).astype(int)  # (E,), of an edge between two nodes
        for i, colour in enumerate(self.fades, 1):
            lines = pixels[self.edges[level == i]].reshape(-1, 2)
            self._stroke(lines, colour, max(0.8, self.width / 480), pieces=2)

        stride = max(1, self.F // 400)
        past, way = np.append(np.arange(0, frame, stride), frame), np.arange(0, self.F, stride)
        for frames, colour in [(way, GRID)] * self.sheet + [(past, TRAIL)]:
            pixels, _ = self.project(self.trail[frames], target)
            pixels[np.hypot(*(self.trail[frames] - target).T[[0, 2]]) > self.reach] = np.nan
            self._stroke(pixels, colour, max(2.0, self.width / 240))

    def _stroke(self, points: np.ndarray, colour: str | tuple, line_width: float, pieces: int = 0) -> None:
        """Draws a polyline (N, 2), or one line per `pieces` points. NaN points are left out."""
        from matplotlib.path import Path as Outline

        codes = np.tile([Outline.MOVETO] + [Outline.LINETO] * (pieces - 1), len(points) // pieces) if pieces else None
        # hairlines are many, and caps cost more than they show
        self.gc.set_capstyle("round" if line_width > 2 else "butt")
        self.gc.set_foreground(colour)
        self.gc.set_linewidth(line_width)
        self.renderer.draw_path(self.gc, Outline(points, codes), self.as_is)


@dataclass
class _Limb:
    """Joints drawn in one go: one line through all, or one line per `pieces` joints."""

    joints: list[int]
    colour: str
    pieces: int = 0
    line_width: float = 1.0  # pixels


def _limbs(skeleton: Skeleton) -> list[_Limb]:
    """The torso with the collarbones and hips, then each chain from its shoulder or hip (else first sided joint) on."""
    torso, limbs, J = [], [], skeleton.num_joints
    for chain in skeleton.chains:
        side = _side(chain, skeleton)
        sided = [i for i, j in enumerate(chain) if side and _side([j], skeleton) == side]
        start = next((i for i in sided if chain[i] in skeleton.face), sided[0] if sided else len(chain) - 1)
        torso += list(np.repeat(chain[: start + 1], 2)[1:-1])  # a b c -> a b, b c
        if start < len(chain) - 1:
            limbs.append(_Limb(list(chain[start:]), LEFT if side > 0 else RIGHT))
            for heel, foot in enumerate((skeleton.feet_left, skeleton.feet_right), J):
                limbs[-1].joints += [heel, foot[0]] if chain[-2:] == foot else []
    return [_Limb(torso or [0, 0], SPINE, pieces=2), *limbs]


def _heels(joints: np.ndarray, skeleton: Skeleton, ground: float) -> np.ndarray:
    """(F, 2, 3): left and right heel, below the ankle in the plane of shin and foot, never under the ground.

    A foot's own turn about its length is not known from two joints. Where a skeleton says more of its feet than ankle
    and toe (KIT-ML's), the heel is the ankle.
    """
    ankles, toes = np.array([skeleton.feet_left, skeleton.feet_right]).T
    foot, heels = joints[:, toes] - joints[:, ankles], joints[:, ankles]
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
    """The nearest of 1, 2, 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(x))
    return float(min((power, 2 * power, 5 * power, 10 * power), key=lambda candidate: abs(np.log(candidate / x))))


def _fades() -> np.ndarray:
    """(_FADES, 3) colours from nearly paper to `GRID`."""
    return np.linspace(*_rgb(PAPER, GRID), _FADES + 1)[1:]


def _rgb(*colours: str) -> list[tuple[float, float, float]]:
    from matplotlib.colors import to_rgb

    return [to_rgb(colour) for colour in colours]


def _layout(title: str, caption: str, width: int, pixels: float) -> tuple[list[tuple], int]:
    """Centred lines (x, y from the top, text, height in pixels, weight) and the height they take together."""
    lines, y = [], 0.6 * pixels
    for text, height, weight, at_most in ((title, 1.2 * pixels, "bold", 1), (caption, pixels, "normal", 3)):
        for line in _wrap(text, 0.92 * width, height, weight, at_most):
            lines.append((width / 2, y + 0.7 * height, line, height, weight))
            y += 1.4 * height
    return lines, int(y + 0.4 * pixels) if lines else 0


def _wrap(text: str, width: float, pixels: float, weight: str, at_most: int) -> list[str]:
    """Breaks any text into at most so many lines no wider than `width` pixels; the last one says if more was cut."""
    from matplotlib.backends.backend_agg import RendererAgg

    renderer, font = RendererAgg(8, 8, _DPI), _font(pixels, weight)

    def longest(text: str, ending: str) -> int:  # how many characters fit, at least one
        def too_wide(n: int) -> bool:
            return renderer.get_text_width_height_descent(text[:n] + ending, font, ismath=False)[0] > width

        return max(1, bisect_left(range(1, len(text) + 1), True, key=too_wide))

    text = " ".join(_drawable(text[: 2 * _MAX_TEXT], font).split())
    rest, lines = text[:_MAX_TEXT], []
    while rest and len(lines) < at_most:
        end = longest(rest, "")
        if end < len(rest):  # back to a space, where there is one
            end = max(rest.rfind(" ", 0, end + 1), 0) or end
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    if rest or len(text) > _MAX_TEXT:
        lines[-1] = lines[-1][: longest(lines[-1], "…")].rstrip() + "…"
    return lines


def _font(pixels: float, weight: str):
    from matplotlib.font_manager import FontProperties, get_font_names

    families = set(get_font_names()).intersection(_FONTS)
    return FontProperties(family=sorted(families, key=_FONTS.index), size=pixels * 72 / _DPI, weight=weight)


def _drawable(text: str, font) -> str:
    """What the fonts have: control characters become spaces, unknown letters a box, unknown emoji nothing."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    weight = font.get_weight()
    faces = [get_font(findfont(FontProperties(family=name, weight=weight))) for name in font.get_family()]
    known = {c for c in text if c.isprintable() and any(face.get_char_index(ord(c)) for face in faces)}
    return "".join(c if c in known else "□" * c.isalpha() if c.isprintable() else " " for c in text)


def _text_canvas(W: int, H: int, lines: list[tuple]):
    """A drawn Agg canvas of exactly W x H pixels: the lines of `_layout` on white paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = FigureCanvasAgg(Figure(figsize=(W / _DPI, H / _DPI), dpi=_DPI))
    for x, y, text, pixels, weight in lines:
        look = dict(color=INK, ha="center", va="center", fontproperties=_font(pixels, weight), parse_math=False)
        canvas.figure.text(x / W, 1 - y / H, text, **look)
    canvas.draw()
    return canvas
