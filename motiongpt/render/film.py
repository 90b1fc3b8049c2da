"""Moving pictures: motions beside each other, in step, as a sequence of frames for a GIF or an MP4.

Frames are shown at a rate of the picture, and a motion is interpolated to the moments between its own frames.
Several motions have one scale, each its own camera and caption, and a common title; a shorter one holds its last frame.

What this module does not know: how a figure is drawn. It gets the class of the scenes.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from motiongpt.render.gif import write_gif
from motiongpt.render.lettering import INK, layout, text_canvas
from motiongpt.render.scene import Scene, checked_joints
from motiongpt.render.view import Shown, View

SIZE, SMALLER = 480, 320  # pixels of a side by default: of one motion, of each of several
LARGEST = 8192  # pixels of a side of the whole picture; more exhausts memory, and players refuse it
SMOOTH, FLUENT = 40.0, 60.0  # frames per second that a moving picture has by itself: at least, at most
LONG = 1200  # pictures; beyond, the rate of the motion is kept, or the file would be large and slow to write

_BLOCK = 64  # frames that are interpolated at a time


class Film:
    """Motions as pictures (H, W, 4) uint8, `F` of them, `rate` per second.

    `scene` is a class such as `StickScene`, or a function with its arguments. `fastest` caps the rate; `usual` is the
    one without `view.fps`, 0 for that of `own_rate`. Raises ValueError for what `checked_joints` refuses, and for
    pictures that together are too large.
    """

    def __init__(self, shown: Sequence[Shown], view: View, scene: Callable[..., Scene], fastest=np.inf, usual=0.0):
        side = view.size or (SIZE if len(shown) == 1 else SMALLER)
        self.columns = len(shown) if len(shown) <= 3 else int(np.ceil(len(shown) ** 0.5))
        self.rows = -(-len(shown) // self.columns)
        if max(self.columns, self.rows) * side > LARGEST:
            raise ValueError(
                f"{len(shown)} motions of {side} pixels make a picture of {self.columns * side} x {self.rows * side}, "
                f"at most {LARGEST} x {LARGEST}; show fewer, or give a smaller size"
            )
        for one in shown:
            checked_joints(one, (side, side))
        self.rate = min(view.fps or _usual_rate(shown, usual), fastest)
        shown = [at_rate(one, self.rate) for one in shown]
        self.F = max(len(one.joints) for one in shown)
        self.scenes = _aligned(shown, view, scene, side) if len(shown) > 1 else [scene(shown[0], view, (side, side))]
        self.wall = _wall(view, self.columns, self.rows, side) if len(shown) > 1 else None  # (H, W, 4)
        self.side = side

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.draw, range(self.F))

    def draw(self, frame: int) -> np.ndarray:
        """One picture. The next call paints over it."""
        if self.wall is None:
            return self.scenes[0].draw(frame)
        top = len(self.wall) - self.rows * self.side
        for number, scene in enumerate(self.scenes):
            y, x = top + number // self.columns * self.side, number % self.columns * self.side
            self.wall[y : y + self.side, x : x + self.side] = scene.draw(min(frame, scene.F - 1))
        return self.wall


def film_gif(path: str | Path, film: Film, processes: int = 1) -> Path:
    """Write a film as an endless GIF; see `write_gif` for `processes`."""
    edges = np.floor(np.arange(film.F + 1) * (100.0 / film.rate) + 0.5).astype(int)  # when each frame begins, in ticks
    ticks = np.clip(np.diff(edges), 2, 65535)
    colours = np.unique(np.concatenate([scene.named_colours() for scene in film.scenes]), axis=0)
    return write_gif(path, film.draw, ticks, colours, processes=processes)


def _usual_rate(shown: Sequence[Shown], usual: float) -> float:
    fps = max(one.fps for one in shown)
    rate = usual or own_rate(fps)
    seconds = max(len(one.joints) / one.fps for one in shown)
    return min(rate, fps) if seconds * rate > LONG else rate


def at_rate(one: Shown, rate: float) -> Shown:
    """A motion at another rate, on a smooth curve. It lasts as long, so its last frame is held for a moment.

    Check it before: see `checked_joints` and `checked_mesh`.
    """
    if rate == one.fps:
        return one
    times = moments(len(one.joints), one.fps, rate)
    vertices = None if one.vertices is None else at_times(one.vertices, times)
    return dataclasses.replace(one, joints=at_times(one.joints, times), vertices=vertices, fps=rate)


def _aligned(shown: Sequence[Shown], view: View, scene: Callable[..., Scene], side: int) -> list[Scene]:
    """Scenes of one scale, with floors at one height: made once to see what each needs, then again."""
    view = dataclasses.replace(view, title="")
    alone = [scene(one, view, (side, side)) for one in shown]
    common = {"zoom": min(one.camera.zoom for one in alone), "banner": max(one.banner for one in alone)}
    return [scene(one, view, (side, side), **common) for one in shown]


def _wall(view: View, columns: int, rows: int, side: int) -> np.ndarray:
    """An empty picture for all scenes, below the title."""
    lines, banner = layout(view.title, "", columns * side, (view.dpi or 100) / 100 * side)
    return np.array(text_canvas(columns * side, banner + rows * side, lines, INK).buffer_rgba())


def own_rate(fps: float) -> float:
    """The rate of a picture of a motion at `fps`: 40 to 60, and a multiple or a whole part of its own.

    So all frames of the motion, or every k-th one, are shown as they are. Where there is no such rate it is 50.
    """
    rate = fps * np.ceil(SMOOTH / fps) if fps < SMOOTH else fps / np.ceil(fps / FLUENT)
    return float(rate) if SMOOTH <= rate <= FLUENT else 50.0


def moments(F: int, fps: float, rate: float) -> np.ndarray:
    """The times (n,) of pictures at `rate`, in frames of a motion of F frames at `fps`, which lasts F / fps."""
    count = max(1, round(F * rate / fps))
    return np.minimum(np.arange(count) * (fps / rate), F - 1)


def at_times(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Values (F, ...) at `times` (n,) in frames, on a curve through all frames -> (n, ...) of the same kind of float.

    Catmull and Rom, "A class of local interpolating splines" (1974): between two frames a cubic whose slopes at both
    are half the step from the frame before to the frame after. It only looks at four frames, so a motion that stops
    does not swing. A whole time gives the frame itself, bit for bit.
    """
    out = np.empty((len(times), *values.shape[1:]), dtype=np.result_type(values.dtype, np.float32))
    for first in range(0, len(times), _BLOCK):  # the vertices of a mesh are many: few temporary copies at a time
        part = times[first : first + _BLOCK]
        start = np.minimum(part.astype(int), len(values) - 1)  # (m,)
        share = (part - start).reshape(-1, *[1] * (values.ndim - 1)).astype(out.dtype)
        before, a, b, after = (values[np.clip(start + step, 0, len(values) - 1)] for step in (-1, 0, 1, 2))
        slope_a, slope_b = (b - before) / 2, (after - a) / 2
        square, cube = 3 * (b - a) - 2 * slope_a - slope_b, 2 * (a - b) + slope_a + slope_b
        out[first : first + _BLOCK] = a + share * (slope_a + share * (square + share * cube))
    return out
