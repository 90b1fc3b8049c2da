"""Figures of a run and of a report: losses, speed, bars, curves, lengths, code usage, a motion beside its rebuilt one.

Every function writes one file and returns its path. Colours say the same in all of them: one per row of a table.
What this module does not know: how the numbers were measured. matplotlib is imported when the first figure is drawn.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from motiongpt.files.store import write_atomic
from motiongpt.render.lettering import INK
from motiongpt.render.stick_figure import LEFT, RIGHT, SPINE

ROW_COLOURS = {"real": SPINE, "reconstruction": LEFT, "model": RIGHT, "chance": "#c3ccd6"}


def _figure(width: float, height: float):
    """An empty figure, sizes in inches, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure, path: str | Path) -> Path:
    write_atomic(Path(path), lambda temporary: figure.savefig(temporary, dpi=120, format="png"))
    return Path(path)


def plot_losses(metrics_file: Path, path: Path) -> None:
    """Draw a metrics.jsonl over the steps: `loss` and `val_loss`, and below them what goes with them.

    Panels below, where the file has their numbers: `lr`, `grad_norm`, and the speed, a name that ends in `_per_s`.
    Without a loss, write no file.
    """
    records = [json.loads(line) for line in Path(metrics_file).read_text().splitlines()]
    names = dict.fromkeys(name for record in records for name in record)
    curves = {name: [(r["step"], r[name]) for r in records if name in r] for name in names}
    losses = [name for name in ("loss", "val_loss") if name in curves]
    if not losses:
        return

    below = [name for name in ("lr", "grad_norm") if name in curves]
    below += [name for name in names if name.endswith("_per_s")][:1]
    figure = _figure(7, 4 + 1.4 * len(below))
    ratios = [4] + [1.4] * len(below)
    panels = figure.subplots(len(ratios), 1, squeeze=False, sharex=True, height_ratios=ratios)[:, 0]
    styles = {"loss": {"color": "#8aa9c8", "lw": 1}, "val_loss": {"color": "#c8553d", "marker": "o", "ms": 4}}
    for name in losses:
        panels[0].plot(*zip(*curves[name], strict=True), label=name, **styles[name])
    panels[0].set_ylabel("loss")
    panels[0].legend(frameon=False)
    for axes, name in zip(panels[1:], below, strict=True):
        axes.plot(*zip(*curves[name], strict=True), color=INK, lw=1)
        axes.set_ylabel(name.replace("_per_s", " / s").replace("_", " "), fontsize=9)
        axes.set_ylim(0, None)
        axes.tick_params(labelsize=8)
    for axes in panels:
        axes.grid(alpha=0.3)
    figure.align_ylabels(panels)
    panels[-1].set_xlabel("step")
    _save(figure, path)


def plot_bars(
    panels: Mapping[str, Mapping[str, tuple[float, float | None]]],
    path: str | Path,
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Write a PNG of bars: a panel per metric, in it a bar per row of the table.

    `panels` is title -> row -> (mean, half of the interval or None). `notes` go under the titles.
    """
    columns = min(4, len(panels))
    rows_of_panels = -(-len(panels) // columns)  # rounded up
    widest = max(2, *(len(rows) for rows in panels.values()))  # bars are equally wide in all panels
    figure = _figure(2.4 * columns, 2.5 * rows_of_panels)
    every = figure.subplots(rows_of_panels, columns, squeeze=False).flatten()
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    for axes, (title, rows) in zip(every[: len(panels)], panels.items(), strict=True):
        means, halves = zip(*rows.values(), strict=True)
        colours = [ROW_COLOURS.get(name, INK) for name in rows]
        axes.bar(range(len(rows)), means, yerr=None if None in halves else halves, color=colours, ecolor=INK, capsize=3)
        axes.set_xticks(range(len(rows)), list(rows), fontsize=7, rotation=25)
        # a panel with fewer bars gets the same span, with its bars in the middle
        axes.set_xlim((len(rows) - 1 - widest) / 2, (len(rows) - 1 + widest) / 2)
        axes.set_title(f"{title}\n", fontsize=9)
        axes.text(0.5, 1.02, (notes or {}).get(title, ""), fontsize=7, ha="center", transform=axes.transAxes)
        axes.tick_params(axis="y", labelsize=7)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    return _save(figure, path)


def plot_r_precision(curves: Mapping[str, Sequence[float]], path: str | Path, group: int) -> Path:
    """Write a PNG of R-precision over k = 1, 2, ...: row -> shares. The dashed line is chance in groups of `group`."""
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
    """Write a PNG of motion lengths in codes: row -> lengths, drawn as shares of the row."""
    figure = _figure(6, 3)
    axes = figure.subplots()
    longest = max(max(values) for values in lengths.values())
    edges = np.arange(longest + 2) - 0.5  # one bin per whole number of codes
    for name, values in lengths.items():
        counts, _ = np.histogram(values, edges)
        axes.stairs(100 * counts / len(values), edges, color=ROW_COLOURS.get(name, INK), lw=1.5, label=name)
    axes.set(xlabel="codes", ylabel="% of motions", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, path)


def plot_code_usage(histograms: Mapping[str, np.ndarray], path: str | Path) -> Path:
    """Write a PNG of how often each code is used, the most frequent first.

    `histograms` is name ("layer 1", "real") -> counts (N,); each gets a panel.
    """
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
