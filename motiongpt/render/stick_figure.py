"""Stick figures, the look `skeleton`: limbs as thick lines on a checkered floor, with a shadow and the way behind them.

Joints are projected to pixels in numpy, and matplotlib's Agg renderer strokes them. That gives the picture of a 3D axes
many times faster, without pyplot's global state. Right limbs, left limbs and the spine have one colour each (`RIGHT`,
`LEFT`, `SPINE`); the lowest point of the clip is the ground. A skeleton whose feet are an ankle and a toe gets a heel,
or every foot would seem to be on tiptoe.

What this module does not know: tokens, features, files (`pictures.py` writes them).
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.body.smoothing import smooth
from motiongpt.render.figure_parts import chain_side, head_ball, heels
from motiongpt.render.scene import Scene

RIGHT = "#e4572e"
LEFT = "#1f78b4"
SPINE = "#3a424d"
PAPER = "#ffffff"
TRAIL = "#f2a73b"

_WAY = 0.35  # body lengths: a shorter way of the root gets no trail, which would be a scribble


class StickScene(Scene):
    """A clip in the look `skeleton`; see `Scene` for the arguments."""

    def outline(self, joints, shown, camera):
        self.joints = joints
        self.limbs = _limbs(shown.skeleton)
        bones = np.linalg.norm(joints - joints[:, np.maximum(shown.skeleton.parents, 0)], axis=2).mean(axis=0)  # (J,)
        for part in self.limbs:  # fingers and faces have short bones and get thin lines
            thin = bones[[j for j in part.joints[1:] if j < len(bones)]].mean() < 0.07 * camera.limb
            part.width = (0.025 if thin else 0.055) * camera.limb
        ball = head_ball(joints, shown.skeleton, camera.limb)
        added = [heels(joints, shown.skeleton, camera.ground), ball[:, None]]
        self.points = np.concatenate([joints, *added], axis=1)  # (F, J + 3, 3)
        self.way = smooth(joints[:, 0], 0.35 * shown.fps) * (1, 0, 1) + (0, camera.ground, 0)  # (F, 3) on the ground
        if np.ptp(self.way, axis=0).max() < _WAY * camera.limb:
            self.way[:] = np.nan
        return self.points

    def prepare(self):
        from matplotlib.transforms import Bbox, IdentityTransform

        camera = self.camera
        self.body, self.depth = camera.project(self.points, camera.target[:, None])  # (F, P, 2) pixels, y up; (F, P)
        self.rim = max(1.2, 0.011 * camera.zoom)  # of paper around each limb, to separate limbs that cross
        self.head = 0.09 * camera.limb
        pairs = [pair for part in self.limbs for pair in part.pairs()]
        widths = [part.width for part in self.limbs for _ in part.pairs()]
        ball = self.points.shape[1] - 1
        self.casting = np.array([*pairs, (ball, ball)])  # (K, 2) points
        self.radii = np.array([*(0.55 * width for width in widths), self.head])  # (K,) a little wider than the lines

        self.renderer = self.canvas.get_renderer()
        self.as_is = IdentityTransform()  # points are pixels already
        self.gc = self.renderer.new_gc()
        self.gc.set_joinstyle("round")
        self.gc.set_capstyle("round")
        self.gc.set_snap(False)
        self.gc.set_clip_rectangle(Bbox.from_extents(0, 0, self.width, self.height - self.banner))

    def named_colours(self):
        from matplotlib.colors import to_rgb

        return np.concatenate([super().named_colours(), [*map(to_rgb, (TRAIL, RIGHT, LEFT, SPINE))]])

    def capsules(self, frame):
        a, b = np.moveaxis(self.points[frame, self.casting], 1, 0)
        return a, b, self.radii, self.radii

    def underfoot(self, frame):
        """The way of the root so far, on the floor."""
        stride = max(1, self.F // 400)  # a long trail needs no more points than pixels
        past = np.append(np.arange(0, frame, stride), frame)
        pixels, _ = self.camera.project(self.way[past], self.camera.target[frame])
        away = np.hypot(*(self.way[past] - self.camera.target[frame]).T[[0, 2]])
        pixels[away > 2.0 * self.camera.radius] = np.nan
        self._stroke(pixels, _mixed(TRAIL, 1.0), max(2.0, self.scale / 140))

    def paint(self, frames, tints):
        size = self.camera.zoom / self.camera.limb  # pixels of one unit of length
        order = sorted(
            (
                (self.depth[frame, limb.joints].mean(), frame, number)
                for frame in frames
                for number, limb in enumerate(self.limbs)
            ),
            reverse=True,
        )  # far to near
        tint, paper = dict(zip(frames, tints, strict=True)), _mixed(PAPER, 1.0)
        for _, frame, number in order:
            limb, width = self.limbs[number], max(1.5, self.limbs[number].width * size)
            points, colour = self.body[frame, limb.joints], _mixed(limb.colour, tint[frame])
            self._stroke(points, paper, width + 2 * self.rim, limb.pieces)
            self._stroke(points, colour, width, limb.pieces)
            if limb.colour == SPINE:
                head = self.body[frame, -1] + np.array([[0.0, 0.0], [0.01, 0.0]])  # a dot: a round-capped line
                self._stroke(head, paper, 2 * (self.head * size + self.rim))
                self._stroke(head, colour, 2 * self.head * size)

    def _stroke(self, points: np.ndarray, colour: tuple[float, ...], width: float, pieces: int = 0) -> None:
        """Draw a line through points (N, 2), or one line per `pieces` points. NaN points are left out."""
        from matplotlib.path import Path as Outline

        codes = np.tile([Outline.MOVETO] + [Outline.LINETO] * (pieces - 1), len(points) // pieces) if pieces else None
        self.gc.set_foreground(colour, isRGBA=True)
        self.gc.set_linewidth(width)
        self.renderer.draw_path(self.gc, Outline(points, codes), self.as_is)


@dataclass
class _Limb:
    """Joints that are drawn together: one line through all, or one line per `pieces` joints."""

    joints: list[int]
    colour: str
    pieces: int = 0
    width: float = 1.0  # in the unit of the joints

    def pairs(self) -> list[tuple[int, int]]:
        """The joints at both ends of each line."""
        return list(zip(self.joints[::2], self.joints[1::2], strict=True) if self.pieces else pairwise(self.joints))


def _limbs(skeleton: Skeleton) -> list[_Limb]:
    """The torso with collarbones and hips, then each chain from its shoulder or hip (else its first sided joint) on."""
    torso = []
    limbs = []
    J = skeleton.num_joints
    for chain in skeleton.chains:
        side = chain_side(chain, skeleton)
        sided = [i for i, j in enumerate(chain) if side and chain_side([j], skeleton) == side]
        start = next((i for i in sided if chain[i] in skeleton.face), sided[0] if sided else len(chain) - 1)
        # the part of the chain up to the hip or shoulder is torso, drawn as pairs of joints; the rest is a limb
        torso += list(np.repeat(chain[: start + 1], 2)[1:-1])  # a b c -> a b, b c
        if start < len(chain) - 1:
            limbs.append(_Limb(list(chain[start:]), LEFT if side > 0 else RIGHT))
            for heel, foot in enumerate((skeleton.feet_left, skeleton.feet_right), J):
                limbs[-1].joints += [heel, foot[0]] if chain[-2:] == foot else []
    return [_Limb(torso or [0, 0], SPINE, pieces=2), *limbs]


@cache
def _mixed(colour: str, share: float) -> tuple[float, float, float, float]:
    """An opaque colour mixed with paper: all of it for 1, paper alone for 0."""
    from matplotlib.colors import to_rgb

    rgb = (share * x + (1 - share) * y for x, y in zip(to_rgb(colour), to_rgb(PAPER), strict=True))
    return *rgb, 1.0
