"""The entry of pictures: motions into a `.gif`, `.mp4` or `.png`. The suffix picks the format.

What this module does not know: how a figure is drawn (`stick_figure.py`, `body_look.py`), and how a file is laid out.
"""

from collections.abc import Sequence
from pathlib import Path

from motiongpt.render.beside import draw_beside
from motiongpt.render.body_look import BodyScene
from motiongpt.render.film import Film, film_gif
from motiongpt.render.gif import GIF_FASTEST
from motiongpt.render.mesh_scene import MeshScene
from motiongpt.render.mp4 import check_mp4, write_mp4
from motiongpt.render.scene import checked_joints
from motiongpt.render.sheets import write_sheet, write_timelapse
from motiongpt.render.stick_figure import StickScene
from motiongpt.render.view import LOOKS, STILLS, Shown, View

SUFFIXES = (".gif", ".mp4", ".png")
SCENES = {"skeleton": StickScene, "body": BodyScene}
# Frames per second of a GIF by itself. At 480 pixels a walk of 3.4 s must stay below 1.5 MB, and shading takes more
# bytes a frame than flat colours.
GIF_RATES = {StickScene: 40.0, BodyScene: 100 / 3, MeshScene: 100 / 3}
MANY, MANY_RATE = 3, 25.0  # motions in one GIF, and the rate of more than that


def draw(path: str | Path, shown: Sequence[Shown], view: View, processes: int = 1) -> Path:
    """Write one or several motions as `.gif`, `.mp4` or `.png`, whole or not at all, and return the path.

    A moving picture is `view.size` pixels a side and motion, and has `view.fps` frames per second, between those of the
    motion on a smooth curve: by default 40 to 60 in an `.mp4`, 40 in a `.gif` (33 in look `body`, 25 for more than
    three motions); over 1200 frames the motion's own. A `.gif` has at most 50. A `.png` is a contact sheet or a
    time-lapse picture (`view.still`); `view.size` is then the height of a panel or of the picture. Motions
    that all have `vertices` are drawn as meshes, whatever `view.look` says. A process without threads may have a GIF
    drawn by several `processes`, see `forks.py`.

    Raises ValueError for another suffix, for no motion, for joints that are NaN or do not fit their skeleton, for a
    `view` out of range, and for `.mp4` without PyAV.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"cannot draw {path.name}: supported are {' '.join(SUFFIXES)}")
    if not shown:
        raise ValueError(f"{path}: there is no motion to draw")
    check_view(view)
    for one in shown:
        checked_joints(one, (view.size or 64,) * 2)
    scene = MeshScene if all(one.vertices is not None for one in shown) else SCENES[view.look]
    if suffix == ".png":
        return (write_sheet if view.still == "sheet" else write_timelapse)(path, shown, view, scene)
    if suffix == ".mp4":
        check_mp4()
        film = Film(shown, view, scene)
        return write_mp4(path, film, film.rate)
    if draw_beside(path, shown, view):
        return path
    usual = GIF_RATES[scene] if len(shown) <= MANY else MANY_RATE
    return film_gif(path, Film(shown, view, scene, GIF_FASTEST, usual), processes)


def check_view(view: View) -> None:
    """ValueError, which names the value and the range, for a view that cannot be drawn."""
    for name, value, known in (("look", view.look, LOOKS), ("still", view.still, STILLS)):
        if value not in known:
            raise ValueError(f"{name} (--{name}) must be one of {', '.join(known)}, got {value!r:.60}")
    ranges = {"size": (64, 4096), "fps": (1, 120), "elev": (-90, 90), "azim": (-360, 360), "dpi": (20, 1200)}
    for name, (low, high) in ranges.items():
        value = getattr(view, name)
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} (--{name}) must be {low} to {high}, got {value}")
