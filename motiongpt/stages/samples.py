"""Motions that a model in training has made, as files to look at: STAGE/samples/step_000200/1.gif, 1.npy, 1.txt ..."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from motiongpt.files.store import new_folder
from motiongpt.motion import Motion, show
from motiongpt.render.view import View

SAMPLED = 4  # motions at a time
PICTURE = View(size=240)


def samples_folder(stage: Path, step: int) -> Path:
    """Where the samples of a step lie; those of later steps sort after it."""
    return stage / "samples" / f"step_{step:06d}"


def save_samples(
    stage: Path,
    step: int,
    motions: Sequence[Motion],
    beside: Sequence[Motion] = (),
    say: Callable[[str], object] = print,
) -> Path:
    """Write the motions and return their folder. With `beside`, a picture shows its motion to the right of that one.

    The folder appears whole or not at all: a signal or the time may end this at any moment. One of the same step,
    which a training that goes on writes again, is replaced.

    A motion without joints has tokens only, and one of a continuous model has none. One that cannot be drawn, as early
    ones may be, gives a line to `say` instead: it must not end a training.
    """
    folder = samples_folder(stage, step)
    shutil.rmtree(folder, ignore_errors=True)
    with new_folder(folder) as place:
        for i, motion in enumerate(motions):
            start = place / str(i + 1)
            frames = ".npy" if motion.parameters is None else ".npz"
            drawn = motion.joints is not None or motion.parameters is not None
            try:
                if motion.tokens or not drawn:
                    motion.save(start.with_suffix(".txt"))
                if drawn:
                    motion.save(start.with_suffix(frames))
                    shown = [other.shown() for other in (*beside[i : i + 1], motion)]
                    show(start.with_suffix(".gif"), shown, PICTURE)
            except ValueError as error:
                say(f"no picture of a sample: {error}")
    return folder
