"""Interactive pages: motions in one HTML file to turn, zoom, play and step through, offline and from any folder.

    write_html("walk.html", [Shown(joints, HUMANML3D, 20.0, "a person walks")], View())

The page holds the viewer of `web/` (`viewer.js` documents the data and what can be called), three.js, and the motions
as packed numbers. It asks for nothing outside itself: its own security policy forbids it.

A page of joints is 0.6 MB, and every 1,000 frames of 22 joints add up to 0.4 MB; joints are exact to float32. Vertices
are rounded to 1/10,000 of the longest chain of bones, which is 0.1 mm; see `moving` for their size.

What this module does not know: where joints and vertices come from.
"""

import base64
import dataclasses
import hashlib
import html
import json
import re
import string
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from motiongpt.body.limbs import moved_with
from motiongpt.body.skeletons import Skeleton
from motiongpt.files.store import write_atomic
from motiongpt.render.camera import AZIMUTH, ELEVATION, front, limb_length
from motiongpt.render.figure_parts import chain_side, head_ball, heels
from motiongpt.render.film import at_rate
from motiongpt.render.mannequin import mannequin
from motiongpt.render.scene import checked_joints, checked_mesh
from motiongpt.render.view import Shown, View

WEB = Path(__file__).parent / "web"
MODULES = ("three.min.js", "packed.js", "figure.js", "stage.js", "viewer.js")  # a module comes after what it imports
START = 'window.viewer = new Viewer(document.getElementById("viewer"));\n' \
        'window.viewer.show(JSON.parse(document.getElementById("scene").textContent));\n'  # fmt: skip
PAGE_STYLE = "html { color-scheme: light dark; } body { margin: 0; } #viewer { height: 100vh; height: 100dvh; }\n"
MAX_PAGE_BYTES = 200_000_000  # browsers refuse text of more than about 500 MB, and slow down long before
STICK, THIN, HEAD = 0.022, 0.011, 0.09  # radii of the look `skeleton`, of the longest chain of bones
STEPS = 10_000  # how finely vertices are rounded: the longest chain of bones is so many steps
_BLOCK = 64  # frames that are rounded at a time
FARTHEST = 1e6  # from the origin, in units of the joints: there float32 is exact to 6 cm only


def write_html(path: str | Path, shown: Sequence[Shown], view: View) -> Path:
    """Write one page that shows all motions, in sync, beside each other; return its path.

    The first look is a mesh if a motion has vertices, else `view.look`; the reader can change it. `view.azim` and
    `view.elev` aim the first view, from the front of the first motion. With `view.fps` all motions have that rate, as
    in a film. `size` and `dpi` do not matter here.

    Raises ValueError, naming the file and the motion, for shapes that do not fit, for NaN or infinite joints and
    vertices (with the first such frame), and for a page above `MAX_PAGE_BYTES`.
    """
    path = Path(path)
    try:
        text = page(scene(shown, view))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    write_atomic(path, lambda temporary: temporary.write_bytes(text.encode("utf-8", "xmlcharrefreplace")))
    return path


def scene(shown: Sequence[Shown], view: View) -> dict:
    """What `Viewer.show` takes, as plain JSON values; `web/viewer.js` says what they mean. Errors: see `write_html`."""
    if not shown:
        raise ValueError("there is no motion to show")
    motions = []
    for number, one in enumerate(shown, 1):
        try:
            motions.append(_motion(one, view.fps))
        except ValueError as error:
            raise ValueError(f"motion {number} of {len(shown)}: {error}" if len(shown) > 1 else str(error)) from error
    azimuth = AZIMUTH if view.azim is None else view.azim
    return {
        "title": view.title,
        "look": "mesh" if any(one.vertices is not None for one in shown) else view.look,
        "elevation": ELEVATION if view.elev is None else view.elev,
        "azimuth": azimuth + float(np.degrees(front(np.asarray(shown[0].joints[0], np.float64), shown[0].skeleton))),
        "motions": motions,
    }


def page(scene: dict) -> str:
    """The whole page of a scene. Every text of it is data in the page, never markup."""
    style, script = PAGE_STYLE + (WEB / "viewer.css").read_text("utf-8"), _script()
    policy = {
        "default-src": "'none'",
        "script-src": _source_hash(script),
        "style-src": _source_hash(style),
        "img-src": "data:",  # the empty icon, or a browser would ask a server for one
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # a "<" could end the script element or begin a comment in it; the escapes are JSON's own
    data = json.dumps(scene, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace(">", "\\u003e")
    if len(data) > MAX_PAGE_BYTES:
        limit = f"{MAX_PAGE_BYTES // 10**6} MB"
        raise ValueError(
            f"the page would have {len(data) / 1e6:.0f} MB, at most {limit}; cut the motion or lower its fps"
        )
    return string.Template((WEB / "page.html").read_text("utf-8")).substitute(
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        title=html.escape(scene["title"] or scene["motions"][0]["text"] or "Motion"),
        style=style,
        scene=data,
        script=script,
    )


def packed(values: np.ndarray, kind: str) -> dict:
    """An array as text: {"type": kind, "shape", "data"}. `web/packed.js` reads it; kind is float32, int16 or uint32."""
    values = np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<"))
    content = values.tobytes()
    if kind == "int16":  # all low bytes, then all high bytes: a third smaller
        content = content[::2] + content[1::2]
    data = base64.b64encode(zlib.compress(content, 6)).decode("ascii")
    return {"type": kind, "shape": list(values.shape), "data": data}


def moving(points: np.ndarray, step: float) -> dict:
    """Points (F, P, 3) as differences from frame to frame, rounded: each point is off by `step` / 2 at most.

    Where a point is farther than 32,767 steps from the middle of its frame, the step grows until it fits. 60 frames of
    10,475 vertices, as SMPL-X has, are about 1.7 MB of text.
    """
    F = len(points)
    parts = [slice(first, first + _BLOCK) for first in range(0, F, _BLOCK)]
    centres = points.mean(axis=1, dtype=np.float64).astype(np.float32)
    largest = max(float(np.abs(points[part] - centres[part, None]).max()) for part in parts)
    step = max(step, largest / np.iinfo(np.int16).max)
    grid = np.empty((F, 3, points.shape[1]), np.int16)
    for part in parts:  # few frames of a mesh in float64 at a time
        grid[part] = np.rint((points[part] - centres[part, None].astype(np.float64)) / step).transpose(0, 2, 1)
    steps = np.diff(grid, axis=0, prepend=np.int16(0))  # a difference may wrap: adding them up undoes it
    return {"centres": packed(centres, "float32"), "step": step, "steps": packed(steps, "int16")}


def _motion(shown: Shown, fps: float | None) -> dict:
    joints = checked_joints(shown, (64, 64))
    if shown.vertices is not None:
        shown = dataclasses.replace(shown, vertices=checked_mesh(shown)[0])
    if fps is not None:
        shown = at_rate(shown, fps)
        joints = np.asarray(shown.joints, dtype=np.float64)
    if np.abs(joints).max() > FARTHEST:
        raise ValueError(
            f"a joint is {np.abs(joints).max():.3g} from the origin, at most {FARTHEST:.0f}; move the motion"
        )
    skeleton, J = shown.skeleton, shown.skeleton.num_joints
    size = limb_length(joints, skeleton)
    points, sticks = _sticks(joints, skeleton, size)
    body = mannequin(joints, skeleton)
    more = points.shape[1] - J  # the body's own points come after those of the sticks
    ends = np.where(body.ends < J, body.ends, body.ends + more)
    points = np.concatenate([points, body.points[:, J:]], axis=1)
    capsules = [[*end, *radius, side] for end, radius, side in zip(ends, body.radii, body.sides, strict=True)]
    mesh = None
    if shown.vertices is not None:
        mesh = {"ground": float(shown.vertices[..., 1].min()), "vertices": moving(shown.vertices, size / STEPS)}
        mesh["faces"] = packed(np.asarray(shown.faces), "uint32")
    return {
        "text": shown.text,
        "fps": float(shown.fps),
        "names": list(skeleton.joints),
        "joints": packed(joints, "float32"),
        "drawn": moving(points[:, J:], size / STEPS),
        "size": size,
        "looks": {"skeleton": _look(points, sticks), "body": _look(points, capsules)},
        "mesh": mesh,
    }


def _sticks(joints: np.ndarray, skeleton: Skeleton, size: float) -> tuple[np.ndarray, list]:
    """Joints with heels and the middle of the head (F, J + 3, 3), and the parts of the look `skeleton`."""
    J = skeleton.num_joints
    points = np.concatenate(
        [joints, heels(joints, skeleton, joints[..., 1].min()), head_ball(joints, skeleton, size)[:, None]], axis=1
    )
    sides = np.zeros(J, int)  # of the bone that ends in a joint: those below a hip or a shoulder have one
    for start in skeleton.face:
        sides[moved_with(skeleton, start)[1:]] = chain_side([start], skeleton)
    bones = [(parent, joint, sides[joint]) for joint, parent in enumerate(skeleton.parents) if parent >= 0]
    for heel, (ankle, toe) in enumerate((skeleton.feet_left, skeleton.feet_right), J):
        bones += [(end, heel, sides[toe]) for end in (ankle, toe)]
    lengths = np.linalg.norm(joints - joints[:, np.maximum(skeleton.parents, 0)], axis=2).mean(axis=0)  # (J,)
    parts = []
    for a, b, side in bones:
        is_thin = b < J and lengths[moved_with(skeleton, b)].max() < 0.07 * size  # a finger or a face, to its tips
        radius = size * (THIN if is_thin else STICK)
        parts.append([a, b, radius, radius, side])
    return points, [*parts, [J + 2, J + 2, HEAD * size, HEAD * size, 0]]


def _look(points: np.ndarray, parts: list) -> dict:
    """Parts as JSON values, and the height of the floor that they stand on."""
    ends = np.array([part[:2] for part in parts])
    radii = np.array([part[2:4] for part in parts])
    rows = [[int(a), int(b), round(float(r), 6), round(float(s), 6), int(side)] for a, b, r, s, side in parts]
    return {"ground": float((points[:, ends, 1] - radii).min()), "parts": rows}


def _script() -> str:
    """All modules of `web/` as one: a page that is opened as a file may not import others."""
    text = "\n".join(_inlined((WEB / name).read_text("utf-8"), name) for name in MODULES) + "\n" + START
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError(f"a module of {WEB} contains markup that would end the script of the page")
    return text


def _inlined(source: str, name: str) -> str:
    """A module without its imports and exports. three.js keeps its thousand short names to itself, as `THREE`."""
    if name != "three.min.js":
        return re.sub(r"(?m)^(import .*;\n|export (?=\w))", "", source)
    body, _, exports = source.rpartition("export{")
    pairs = (pair.split(" as ") for pair in exports.strip().removesuffix("};").split(","))
    return (
        f"const THREE = (() => {{\n{body}return {{ {', '.join(f'{public}: {own}' for own, public in pairs)} }};\n}})();"
    )


def _source_hash(text: str) -> str:
    """How a page's security policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
