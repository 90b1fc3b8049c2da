"""Training curves as a PNG: every loss a run logged, training and validation, over the steps."""

import json
from pathlib import Path


def plot_metrics(metrics_file: Path, path: Path) -> None:
    """Draw the `loss` and `val_loss` columns of a metrics.jsonl; a file without either draws nothing."""
    records = [json.loads(line) for line in Path(metrics_file).read_text().splitlines()]
    curves = {name: [(r["step"], r[name]) for r in records if name in r] for name in ("loss", "val_loss")}
    if not any(curves.values()):
        return

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel="loss")
    styles = {"loss": {"color": "#8aa9c8", "lw": 1}, "val_loss": {"color": "#c8553d", "marker": "o"}}
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), label=name, **styles[name])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
