"""Pictures of an evaluation: how often each code is used, and a reconstruction beside its original."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from motiongpt.files import write_atomic
from motiongpt.render.skeleton import LEFT, RIGHT, draw_frames
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
    50 fps only every k-th frame is shown, because viewers slow down anything faster.
    """
    from PIL import Image

    shown = np.arange(0, len(original), int(np.ceil(fps / 50 - 1e-9)))
    ends = np.round(np.append(shown, len(original)) * 100 / fps).astype(int)  # in ticks of 10 ms
    look = {"fps": fps, "size": 320, "frames": shown, "caption": text.get("caption", "")}
    sides = (
        draw_frames(original, skeleton, title=text.get("title", "original"), **look),
        draw_frames(reconstruction, skeleton, title=text.get("other", "reconstruction"), **look),
    )
    pictures = [Image.fromarray(np.concatenate(pair, axis=1)) for pair in zip(*sides, strict=True)]
    palette = pictures[len(pictures) // 2].quantize(64)  # the body and all colours are in every frame
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    options = {"save_all": True, "append_images": rest, "duration": (10 * np.diff(ends)).tolist(), "loop": 0}
    write_atomic(Path(path), lambda temporary: first.save(temporary, format="GIF", **options))
    return Path(path)
