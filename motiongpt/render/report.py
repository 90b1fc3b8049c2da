"""Pictures of an evaluation: how often each code is used, and a reconstruction beside its original."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from motiongpt.files import write_atomic
from motiongpt.render.gif import gif_frames, palette_frames, write_gif
from motiongpt.render.skeleton import LEFT, RIGHT, draw_frames, named_colours
from motiongpt.skeletons import Skeleton


def plot_code_usage(histograms: Sequence[np.ndarray], path: str | Path) -> Path:
    """Writes a PNG of how often codes are used, most frequent first, one panel per layer of codes (N,)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.9 + 2.1 * len(histograms)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(histograms), 1, squeeze=False, sharex=True)[:, 0]
    for layer, (axes, counts) in enumerate(zip(panels, histograms, strict=True), 1):
        shares = np.sort(np.asarray(counts, dtype=float))[::-1] / max(1, np.sum(counts)) * 100
        axes.stairs(shares, np.arange(len(shares) + 1) + 0.5, fill=True, color=LEFT)
        axes.axhline(100 / len(shares), color=RIGHT, lw=1, ls="--", label="all used equally")
        name = f"layer {layer}: " if len(histograms) > 1 else ""
        axes.set_title(f"{name}{int((shares > 0).sum())} of {len(shares)} codes in use", fontsize=10, loc="left")
        axes.set(ylabel="% of codes written", xlim=(0.5, len(shares) + 0.5), ylim=(0, None))
        axes.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    panels[-1].set_xlabel("codes, the most frequent first")
    write_atomic(Path(path), lambda temporary: figure.savefig(temporary, dpi=120, format="png"))
    return Path(path)


def render_pair(
    original: np.ndarray, reconstruction: np.ndarray, skeleton: Skeleton, path: str | Path, *, fps: float, **text: str
) -> Path:
    """Writes a GIF of two motions (F, J, 3) of equal length, the original on the left; each has a camera of its own.

    `text` has `title` for the left one's headline, `other` for the right one's, and `caption` under the left. Above
    50 fps frames are left out: see `gif.py`.
    """
    titles = {"title": text.get("title", "original")}, {"title": text.get("other", "reconstruction")}

    def pictures(frames: np.ndarray) -> Iterator[np.ndarray]:  # (H, 2 W, 4)
        look = {"fps": fps, "size": 320, "frames": frames, "caption": text.get("caption", "")}
        left, right = (
            draw_frames(joints, skeleton, **title, **look)
            for joints, title in zip((original, reconstruction), titles, strict=True)
        )
        for pair in zip(left, right, strict=True):
            picture = np.concatenate(pair, axis=1)
            yield np.dstack([picture, np.full_like(picture[..., :1], 255)])

    shown, ticks = gif_frames(len(original), fps)
    return write_gif(path, pictures(shown), ticks, pictures(palette_frames(len(original))), named_colours())
