"""Pictures of an evaluation: bars, curves, lengths, how often codes are used, a reconstruction beside its original."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.files.store import write_atomic
from motiongpt.render.gif import gif_frames, palette_frames, write_gif
from motiongpt.render.skeleton import GRID, INK, LEFT, RIGHT, SPINE, draw_frames, named_colours

ROW_COLOURS = {"real": SPINE, "reconstruction": LEFT, "model": RIGHT, "chance": GRID}


def _figure(width: float, height: float):
    """A figure of inches, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path: str | Path) -> Path:
    write_atomic(Path(path), lambda temporary: figure.savefig(temporary, dpi=120, format="png"))
    return Path(path)


def plot_bars(
    panels: Mapping[str, Mapping[str, tuple[float, float | None]]],
    path: str | Path,
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Writes a PNG with a panel per metric (title) of bars per row of a table: row -> (mean, half interval or
    None); `notes` go under the titles, by metric."""
    columns = min(4, len(panels))
    widest = max(2, *(len(rows) for rows in panels.values()))  # bars are equally wide in all panels
    figure = _figure(2.4 * columns, 2.5 * -(-len(panels) // columns))
    every = figure.subplots(-(-len(panels) // columns), columns, squeeze=False).flatten()
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, rows) in zip(every[: len(panels)], panels.items(), strict=True):
        means, halves = zip(*rows.values(), strict=True)
        colours = [ROW_COLOURS.get(name, INK) for name in rows]
        axes.bar(range(len(rows)), means, yerr=None if None in halves else halves, color=colours, ecolor=INK, capsize=3)
        axes.set_xticks(range(len(rows)), list(rows), fontsize=7, rotation=25)
        axes.set_xlim((len(rows) - 1 - widest) / 2, (len(rows) - 1 + widest) / 2)
        axes.set_title(f"{title}\n", fontsize=9)
        axes.text(0.5, 1.02, (notes or {}).get(title, ""), fontsize=7, ha="center", transform=axes.transAxes)
        axes.tick_params(axis="y", labelsize=7)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    return _save(figure, path)


def plot_curves(curves: Mapping[str, Sequence[float]], path: str | Path, group: int = 32) -> Path:
    """Writes a PNG of R-precision over k = 1, 2, ...: row -> shares; dashed what chance would be."""
    figure = _figure(5, 3.6)
    axes = figure.subplots()
    k = np.arange(1, 1 + max(map(len, curves.values())))
    for name, shares in curves.items():
        axes.plot(k, shares, marker="o", ms=3, color=ROW_COLOURS.get(name, INK), label=name)
    axes.plot(k, k / group, color=INK, lw=1, ls="--", label=f"k / {group}")
    axes.set(xlabel="k", ylabel=f"own one among the k nearest of {group}", ylim=(0, 1.02), xticks=k)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def plot_lengths(lengths: Mapping[str, Sequence[int]], path: str | Path) -> Path:
    """Writes a PNG of how long motions are, in codes: row -> lengths, as shares of the row."""
    figure = _figure(6, 3)
    axes = figure.subplots()
    longest = max(max(values) for values in lengths.values())
    edges = np.arange(longest + 2) - 0.5
    for name, values in lengths.items():
        counts, _ = np.histogram(values, edges)
        axes.stairs(100 * counts / len(values), edges, color=ROW_COLOURS.get(name, INK), lw=1.5, label=name)
    axes.set(xlabel="codes", ylabel="% of motions", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def plot_code_usage(histograms: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Writes a PNG of how often codes are used, most frequent first: a panel per name, "layer 1" or "real", of (N,)."""
    figure = _figure(7, 0.9 + 2.1 * len(histograms))
    panels = figure.subplots(len(histograms), 1, squeeze=False, sharex=True)[:, 0]
    for axes, (label, counts) in zip(panels, histograms.items(), strict=True):
        shares = np.sort(np.asarray(counts, dtype=float))[::-1] / max(1, np.sum(counts)) * 100
        axes.stairs(shares, np.arange(len(shares) + 1) + 0.5, fill=True, color=LEFT)
        axes.axhline(100 / len(shares), color=RIGHT, lw=1, ls="--", label="all used equally")
        name = f"{label}: " if len(histograms) > 1 else ""
        axes.set_title(f"{name}{int((shares > 0).sum())} of {len(shares)} codes in use", fontsize=10, loc="left")
        axes.set(ylabel="% of codes written", xlim=(0.5, len(shares) + 0.5), ylim=(0, None))
        axes.grid(alpha=0.3)
    panels[0].legend(frameon=False)
    panels[-1].set_xlabel("codes, the most frequent first")
    return _save(figure, path)


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
