"""How fast a GIF of a motion is written, against matplotlib's FuncAnimation with its PillowWriter.

Both draw the same 196 frames of a walking figure at 480 x 480 pixels: a line per limb on 3D axes, the way behind it,
and a caption. matplotlib's artists are updated in place, as its manual advises. They take turns in one process. Then
the seconds per frame of both looks, without the file.

    python benchmarks/bench_render.py
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from compare import in_turn, report

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.procedural.clips import make_clip
from motiongpt.render.pictures import SCENES, draw
from motiongpt.render.view import Shown, View

FPS, SIDE, CAPTION = 20.0, 480, "a person walks forward"
COLOURS = ("#1f78b4", "#e4572e", "#3a424d", "#1f78b4", "#e4572e")


def with_matplotlib(joints: np.ndarray, path: Path) -> None:
    """The same GIF on 3D axes of matplotlib."""
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIDE / 100, SIDE / 100), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(projection="3d", xlim=(-1, 1), ylim=(-1, 1), zlim=(0, 2), title=CAPTION)
    axes.view_init(elev=15, azim=-40)
    limbs = [axes.plot([], [], [], lw=5, color=colour)[0] for colour in COLOURS]
    (way,) = axes.plot([], [], [], lw=2, color="#f2a73b")
    chains = [list(chain) for chain in HUMANML3D.chains]

    def update(frame: int):
        around = joints[frame, 0] * (1, 0, 1)
        x, y, z = (joints[frame] - around).T
        for line, chain in zip(limbs, chains, strict=True):
            line.set_data_3d(x[chain], z[chain], y[chain])
        past = joints[: frame + 1, 0] - around
        way.set_data_3d(past[:, 0], past[:, 2], np.zeros(frame + 1))
        return [*limbs, way]

    FuncAnimation(figure, update, frames=len(joints), blit=False).save(path, writer=PillowWriter(fps=FPS))


def main(args: argparse.Namespace) -> None:
    joints = _walk(args.frames)
    shown = [Shown(joints, HUMANML3D, FPS, CAPTION)]
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = in_turn(
            lambda: draw(Path(folder) / "ours.gif", shown, View(size=SIDE, fps=FPS)),
            lambda: with_matplotlib(joints, Path(folder) / "theirs.gif"),
            args.rounds,
        )
    report(
        f"GIF of {len(joints)} frames at {SIDE} pixels", ours, theirs, "FuncAnimation + PillowWriter", must=8, aim=12
    )
    for look, scene in SCENES.items():
        drawn = scene(shown[0], View(), (SIDE, SIDE))
        times = []
        for frame in range(0, drawn.F, 4):
            started = time.process_time()  # of this one thread: other load on the machine does not count
            drawn.draw(frame)
            times.append(time.process_time() - started)
        low, middle, high = np.quantile(times, (0.1, 0.5, 0.9))
        print(f"look {look}: {middle:.4f} s of CPU a frame ({low:.4f} to {high:.4f} for 8 frames in 10)")


def _walk(frames: int) -> np.ndarray:
    """(F, 22, 3): a walk of the built-in grammar, back and forth in time until it is long enough."""
    joints = make_clip(("walk_forward",), np.random.default_rng(0)).joints
    return np.concatenate([joints, joints[::-1]] * (1 + frames // (2 * len(joints))))[:frames]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=196, help="frames of the motion (default 196)")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds, after one round of warm-up (default 3)")
    main(parser.parse_args())
