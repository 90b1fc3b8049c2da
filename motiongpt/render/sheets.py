"""Still pictures: a contact sheet of moments in panels, and a time-lapse picture of several poses in one scene.

What this module does not know: how a figure is drawn. It gets the class of the scenes.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from motiongpt.files.store import write_atomic
from motiongpt.render.camera import Camera
from motiongpt.render.lettering import INK, layout, text_canvas
from motiongpt.render.scene import Scene, checked_joints
from motiongpt.render.view import Shown, View

PANEL, LAPSE = 320, 480  # pixels by default: the height of a panel, and of a time-lapse picture
STAYS = 3.0  # body lengths: on a shorter way the camera of a contact sheet stands still
POSES = 7  # of a time-lapse picture
GAP = 0.85  # body lengths between two of them
SIDEWAYS = 65.0  # degrees: a time-lapse picture looks at a way more from the side
FAINTEST = 0.30  # the first pose; the last has its full colours


def write_sheet(
    path: str | Path, shown: Sequence[Shown], view: View, scene: Callable[..., Scene], *, panels=8, columns=4
) -> Path:
    """Write a contact sheet as PNG: `panels` moments of a motion, first and last included, in rows of `columns`.

    Several motions are below each other, each with its caption. Errors are those of `Scene`.
    """
    return _write(path, [_sheet(one, view, scene, panels, columns) for one in shown], view)


def write_timelapse(path: str | Path, shown: Sequence[Shown], view: View, scene: Callable[..., Scene]) -> Path:
    """Write a time-lapse PNG: poses along the way of the root, the earlier the fainter, with their times.

    Who stays in one place is drawn once for each pose, from left to right, as if it had moved aside. Several motions
    are below each other. Errors are those of `Scene`.
    """
    return _write(path, [_timelapse(one, view, scene) for one in shown], view)


def _sheet(one: Shown, view: View, scene: Callable[..., Scene], panels: int, columns: int) -> np.ndarray:
    H = view.size or PANEL
    W = round(0.75 * H)
    label = H // 9  # height of the line above each panel's scene
    checked_joints(one, (W, H - label))
    panel = scene(dataclasses.replace(one, text=""), dataclasses.replace(view, title=""), (W, H - label), stays=STAYS)
    moments = np.unique(np.linspace(0, panel.F - 1, panels).round().astype(int))
    columns = min(columns, len(moments))
    rows = -(-len(moments) // columns)
    scale = (view.dpi or 100) / 100 * H
    lines, banner = layout(view.title, one.text, columns * W, 1.3 * scale)
    sheet = np.full((banner + rows * H, columns * W, 3), 255, dtype=np.uint8)
    for i, moment in enumerate(moments):
        top, left = banner + i // columns * H, i % columns * W
        sheet[top + label : top + H, left : left + W] = panel.draw(moment)[..., :3]
        lines.append((left + W / 2, top + 0.6 * label, f"{moment / one.fps:.2f} s", scale / 20, "normal"))
    return _lettered(sheet, lines)


def _timelapse(one: Shown, view: View, scene: Callable[..., Scene]) -> np.ndarray:
    H = view.size or LAPSE
    W = round(1.8 * H)
    joints = checked_joints(one, (W, H))
    frames = np.unique(np.linspace(0, len(joints) - 1, POSES).round().astype(int))
    view = dataclasses.replace(view, azim=SIDEWAYS if view.azim is None else view.azim)
    poses = joints[frames] + _aside(joints[frames], one, view)[:, None]
    letters = (view.dpi or 100) / 100 * H / 26
    vertices = None if one.vertices is None else one.vertices[frames] + (poses - joints[frames])[:, :1]
    still = dataclasses.replace(one, joints=poses, vertices=vertices)
    lapse = scene(still, view, (W, H), footer=round(1.8 * letters), stays=np.inf)
    tints = list(np.linspace(FAINTEST, 1.0, len(frames))) if len(frames) > 1 else [1.0]
    picture = lapse.draw_together(tints)[..., :3]
    columns, _ = lapse.camera.project(poses[:, 0], lapse.camera.target)
    lines, taken = [], []
    for frame, x in sorted(zip(frames, columns[:, 0], strict=True), key=lambda pair: pair[0] not in (0, frames[-1])):
        if all(abs(x - other) > 3.5 * letters for other in taken):  # first and last before those between
            taken.append(x)
            lines.append((x, H - 0.9 * letters, f"{frame / one.fps:.1f} s", letters, "normal"))
    return _lettered(picture, lines)


def _aside(poses: np.ndarray, one: Shown, view: View) -> np.ndarray:
    """How far to move each pose (n, J, 3) sideways, (n, 3): not at all if the way itself keeps them apart."""
    camera = Camera(poses, one.skeleton, one.fps, azim=view.azim, elev=view.elev, stays=np.inf)
    across = camera.axes[:, 0]
    place = (poses[:, 0] - poses[0, 0]) @ across  # (n,) to the right in the picture
    gap = GAP * camera.limb
    if abs(place[-1]) > 0.55 * gap * (len(poses) - 1):
        return np.zeros((len(poses), 3))
    return (gap * np.arange(len(poses)) - place)[:, None] * across


def _lettered(picture: np.ndarray, lines: list[tuple]) -> np.ndarray:
    """The picture (H, W, 3) with lines of text, dark on what is lighter."""
    text = np.asarray(text_canvas(*picture.shape[1::-1], lines, INK).buffer_rgba())
    return np.minimum(picture, text[..., :3])


def _write(path: str | Path, pictures: list[np.ndarray], view: View) -> Path:
    """Pictures (H, W, 3) below each other as one PNG."""
    from PIL import Image

    W = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(p, ((0, 0), (0, W - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    image = Image.fromarray(np.concatenate(padded))
    dots = {} if view.dpi is None else {"dpi": (view.dpi, view.dpi)}
    write_atomic(Path(path), lambda temporary: image.save(temporary, format="PNG", **dots))
    return Path(path)
