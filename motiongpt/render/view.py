"""What a picture shows, and how: the inputs that every writer of `render/` takes.

What this module does not know: how anything is drawn, and which format it becomes.
"""

from dataclasses import dataclass

import numpy as np

from motiongpt.body.skeletons import Skeleton

LOOKS = ("skeleton", "body")
STILLS = ("sheet", "timelapse")


@dataclass(frozen=True)
class Shown:
    """One motion to be shown. With a mesh, `vertices` move and the joints only aim the camera."""

    joints: np.ndarray  # (F, J, 3) metres, y up
    skeleton: Skeleton
    fps: float
    text: str = ""  # its caption
    vertices: np.ndarray | None = None  # (F, V, 3) metres, in the joints' own coordinates
    faces: np.ndarray | None = None  # (N, 3) indices of vertices, counter-clockwise seen from outside


@dataclass(frozen=True)
class View:
    """How motions are shown. None leaves a value to the format."""

    title: str = ""
    look: str = "skeleton"  # in LOOKS
    size: int | None = None  # pixels of a picture's side
    fps: float | None = None  # of the picture; the motion is interpolated, and lasts as long
    elev: float | None = None  # degrees above the horizon
    azim: float | None = None  # degrees around the vertical from the person's front towards its left
    dpi: int | None = None  # dots per inch, written into the file and a factor of lettering and lines (100 is 1)
    still: str = "sheet"  # in STILLS: a .png of moments in panels, or of several poses in one scene
