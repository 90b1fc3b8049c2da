"""Pages of motions, without a browser: what is in the file, read back by independent means."""

import base64
import dataclasses
import hashlib
import json
import re
import tracemalloc
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON
from motiongpt.render import body_look, html, stick_figure
from motiongpt.render.html import WEB, write_html
from motiongpt.render.view import Shown, View

MEAN = "</script><script>alert(1)</script><!--<b>\"q\" 'a' & &lt; 😀 \u2028 \x00 ${x} $title ]]>"


def walk(frames: int = 12, skeleton=HUMANML3D, seed: int = 0) -> Shown:
    """Joints on a straight way, each swaying about its place at rest."""
    rest = np.array(skeleton.paths) @ np.array(skeleton.offsets)[1:]
    sway = np.random.default_rng(seed).normal(scale=0.004, size=(frames, *rest.shape)).cumsum(axis=0)
    return Shown(rest + sway + np.arange(frames)[:, None, None] * (0.0, 0.0, 0.05), skeleton, 20.0, "a person walks")


def with_mesh(shown: Shown, count: int = 60) -> Shown:
    vertices = shown.joints[:, :1] + np.random.default_rng(1).normal(scale=0.4, size=(len(shown.joints), count, 3))
    faces = np.arange(count).reshape(-1, 3)
    return dataclasses.replace(shown, vertices=vertices, faces=faces)


class Page(HTMLParser):
    """Elements of a page as (tag, attributes, text)."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.is_open = [], False
        self.feed(path.read_text("utf-8"))
        self.scene = json.loads(next(text for _, attrs, text in self.elements if attrs.get("id") == "scene"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), ""))
        self.is_open = True

    def handle_endtag(self, tag):
        self.is_open = False

    def handle_data(self, data):
        if self.is_open:
            tag, attrs, text = self.elements[-1]
            self.elements[-1] = tag, attrs, text + data

    def texts(self, tag):
        return [text for name, _, text in self.elements if name == tag]


def unpack(packed):
    """An array, read as viewer.js documents it."""
    content = zlib.decompress(base64.b64decode(packed["data"]))
    if packed["type"] == "int16":
        half = len(content) // 2
        values = [low | high << 8 for low, high in zip(content[:half], content[half:], strict=True)]
        return np.array(values, np.uint16).view(np.int16).reshape(packed["shape"])
    return np.frombuffer(content, {"float32": "<f4", "uint32": "<u4"}[packed["type"]]).reshape(packed["shape"])


def unpack_moving(moving):
    steps = unpack(moving["steps"]).astype(np.int64).cumsum(axis=0).astype(np.int16)
    return unpack(moving["centres"])[:, None] + moving["step"] * steps.transpose(0, 2, 1)


@pytest.mark.parametrize("skeleton", [HUMANML3D, KIT, MYOSKELETON], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("frames", [1, 7])
def test_joints_are_read_back_exactly(tmp_path, skeleton, frames):
    shown = walk(frames, skeleton)
    (motion,) = Page(write_html(tmp_path / "a.html", [shown], View())).scene["motions"]
    assert np.array_equal(unpack(motion["joints"]), shown.joints.astype(np.float32))
    assert motion["names"] == list(skeleton.joints) and motion["fps"] == 20.0 and motion["mesh"] is None
    points = skeleton.num_joints + motion["drawn"]["steps"]["shape"][2]
    for look in motion["looks"].values():
        for start, end, radius, other, side in look["parts"]:
            assert 0 <= start < points and 0 <= end < points and radius > 0 and other > 0 and side in (-1, 0, 1)


def test_bones_of_both_looks_join_their_joints_and_stand_on_the_ground(tmp_path):
    shown = walk()
    (motion,) = Page(write_html(tmp_path / "a.html", [shown], View())).scene["motions"]
    points = np.concatenate([shown.joints, unpack_moving(motion["drawn"])], axis=1)
    left, right = (HUMANML3D.index(f"{side}_knee") for side in ("left", "right"))
    for look in motion["looks"].values():
        parts = np.array(look["parts"])
        sides = {frozenset(map(int, part[:2])): part[4] for part in parts}
        assert sides[frozenset((left, left + 3))] == 1 and sides[frozenset((right, right + 3))] == -1
        lowest = min((points[:, int(part[i]), 1] - part[2 + i]).min() for part in parts for i in (0, 1))
        assert abs(look["ground"] - lowest) < 1e-4  # drawn points are rounded to 0.1 mm
    bones = {frozenset((a, b)) for a, b, *_ in motion["looks"]["skeleton"]["parts"]}
    assert bones >= {frozenset((j, parent)) for j, parent in enumerate(HUMANML3D.parents) if parent >= 0}


def test_vertices_are_within_half_a_step(tmp_path):
    shown = with_mesh(walk(9))
    (motion,) = (page := Page(write_html(tmp_path / "a.html", [shown], View())).scene)["motions"]
    mesh = motion["mesh"]
    step = mesh["vertices"]["step"]
    assert 0.00005 < step < 0.00015 and page["look"] == "mesh"  # a body of about 1 m in 10,000 steps
    # centres are float32: 1e-7 of about a metre
    assert np.abs(unpack_moving(mesh["vertices"]) - shown.vertices).max() <= step / 2 + 1e-6
    assert np.array_equal(unpack(mesh["faces"]), shown.faces)
    assert mesh["ground"] == np.float32(shown.vertices[..., 1].min())  # as meshes are kept


def test_a_point_far_away_makes_the_steps_coarser(tmp_path):
    shown = with_mesh(walk(3))
    shown.vertices[1, 5] = (400.0, -300.0, 5.0)
    (motion,) = Page(write_html(tmp_path / "a.html", [shown], View())).scene["motions"]
    moved = motion["mesh"]["vertices"]
    assert 0.01 < moved["step"] < 0.02  # about 400 m in 32,767 steps
    assert np.abs(unpack_moving(moved) - shown.vertices).max() <= moved["step"] / 2 + 1e-4


def test_texts_are_never_markup(tmp_path):
    def elements(text):
        page = Page(write_html(tmp_path / "a.html", [dataclasses.replace(walk(2), text=text)] * 2, View(title=text)))
        return page, [(tag, sorted(attrs)) for tag, attrs, _ in page.elements]

    page, found = elements(MEAN)
    assert found == elements("plain")[1]
    assert [motion["text"] for motion in page.scene["motions"]] == [MEAN, MEAN] and page.scene["title"] == MEAN
    assert page.texts("title") == [MEAN]
    assert "</script><script>" not in (tmp_path / "a.html").read_text("utf-8")


def test_half_a_character_in_a_text_is_written(tmp_path):
    shown = dataclasses.replace(walk(2), text="broken \ud83d name")
    page = Page(write_html(tmp_path / "a.html", [shown], View(title="\udcff")))
    assert page.scene["motions"][0]["text"] == "broken \ud83d name"


def test_the_page_needs_nothing_else_and_says_so_to_the_browser(tmp_path):
    page = Page(write_html(tmp_path / "a.html", [walk()], View()))
    links = [attrs[name] for _, attrs, _ in page.elements for name in ("src", "href", "action") if name in attrs]
    assert links == ["data:,"]
    (policy,) = [attrs["content"] for _, attrs, _ in page.elements if attrs.get("http-equiv")]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and "unsafe" not in policy and "http" not in policy
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        digest = base64.b64encode(hashlib.sha256(page.texts(tag)[-1].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert "\r" not in page.texts("script")[-1]  # browsers would change it before they hash


def test_size_and_determinism(tmp_path):
    ten_seconds = [write_html(tmp_path / name, [walk(200)], View()) for name in ("a.html", "b.html")]
    assert ten_seconds[0].read_bytes() == ten_seconds[1].read_bytes()
    assert ten_seconds[0].stat().st_size < 1_000_000


def test_fps_of_a_page(tmp_path):
    """Every second frame at twice the rate is one of the motion's own; meshes and joints stay together."""
    shown = with_mesh(walk(9))
    (motion,) = Page(write_html(tmp_path / "a.html", [shown], View(fps=40.0))).scene["motions"]
    joints, vertices = unpack(motion["joints"]), unpack_moving(motion["mesh"]["vertices"])
    assert motion["fps"] == 40.0 and len(joints) == len(vertices) == 18
    assert np.array_equal(joints[::2], shown.joints.astype(np.float32))
    assert np.abs(vertices[::2] - shown.vertices).max() <= motion["mesh"]["vertices"]["step"] / 2 + 1e-6


def test_a_long_mesh_needs_little_memory():
    """A few blocks in float64, beside the 16-bit numbers, their differences and the text: 8 times as much once."""
    points = np.random.default_rng(0).normal(size=(640, 500, 3)).astype(np.float32)
    tracemalloc.start()
    html.moving(points, 1e-3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * points.nbytes


def test_ten_thousand_frames(tmp_path):
    path = write_html(tmp_path / "a.html", [walk(10_000)], View())
    assert path.stat().st_size < 10_000_000  # of noise, which packs worse than a motion
    assert len(unpack(Page(path).scene["motions"][0]["joints"])) == 10_000


def broken(values, at, value):
    values = values.copy()
    values[at] = value
    return values


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda s: {"joints": broken(s.joints, (4, 3, 1), np.nan)},
            "NaN or infinite in 1 frames, the first is frame 4",
        ),
        (lambda s: {"joints": broken(s.joints, (2, 0, 0), 1e30)}, "1e[+]30 from the origin"),
        (lambda s: {"joints": s.joints[:0]}, "F > 0"),
        (lambda s: {"joints": s.joints[:, :21]}, "got 21 joints, but skeleton humanml3d-22 has 22"),
        (lambda s: {"fps": 0.0}, "fps must be positive"),
        (lambda s: {"vertices": broken(s.vertices, (5, 1), np.inf)}, "vertices are NaN or .* frame 5"),
        (lambda s: {"vertices": s.vertices[:3]}, r"vertices must be numbers \(6, V, 3\), one mesh per frame"),
        (lambda s: {"faces": s.faces + 3}, "faces name vertices from 3 to 62, the mesh has 60"),
        (lambda s: {"faces": s.faces[:0]}, "faces must be whole numbers"),
        (lambda s: {"faces": None}, "a mesh needs vertices and faces"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_the_former_file_stays(tmp_path, change, message):
    path = tmp_path / "a.html"
    path.write_text("before")
    good = with_mesh(walk(6))
    with pytest.raises(ValueError, match=re.escape(f"{path}: motion 2 of 2: ") + f".*{message}"):
        write_html(path, [good, dataclasses.replace(good, **change(good))], View())
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_no_motion_and_too_large_a_page_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no motion to show"):
        write_html(tmp_path / "a.html", [], View())
    monkeypatch.setattr(html, "MAX_PAGE_BYTES", 10_000)
    with pytest.raises(ValueError, match="a.html: the page would have .* MB, at most .* cut the motion"):
        write_html(tmp_path / "a.html", [walk(500)], View())
    assert not list(tmp_path.iterdir())


def test_the_view_turns_with_the_person(tmp_path):
    """A motion turned about the vertical is seen from the same side of the person."""
    shown = walk()
    c, s = np.cos(0.7), np.sin(0.7)
    turned = dataclasses.replace(shown, joints=shown.joints @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]))
    first, second = (Page(write_html(tmp_path / "a.html", [one], View())).scene for one in (shown, turned))
    assert abs(second["azimuth"] - first["azimuth"] - np.degrees(0.7)) < 1e-6
    given = Page(write_html(tmp_path / "a.html", [shown], View(azim=10.0, elev=5.0, look="body"))).scene
    assert (given["elevation"], given["look"]) == (5.0, "body")
    assert abs(first["azimuth"] - given["azimuth"] - 40.0) < 1e-9  # the default is 50 degrees from the front


def test_colours_are_those_of_the_pictures():
    light = (WEB / "viewer.css").read_text("utf-8").split("@media")[0]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light))
    body = ["#" + bytes(map(int, rgb)).hex() for rgb in body_look.COLOURS]
    names = ("left", "right", "middle", "paper", "trail", "body-middle", "body-left", "body-right")
    pictures = stick_figure.LEFT, stick_figure.RIGHT, stick_figure.SPINE, stick_figure.PAPER, stick_figure.TRAIL
    assert [colours[name] for name in names] == [*pictures, *body]


def test_three_js_keeps_its_licence_and_our_modules_are_short():
    three = (WEB / "three.min.js").read_text("utf-8")
    assert three.startswith(
        "/**\n * @license\n * Copyright 2010-2026 Three.js Authors\n * SPDX-License-Identifier: MIT"
    )
    assert "The MIT License" in (WEB / "THREE_LICENSE.txt").read_text("utf-8")
    assert {path.name for path in WEB.glob("*.js")} == set(html.MODULES)
    for name in html.MODULES[1:]:
        lines = (WEB / name).read_text("utf-8").splitlines()
        assert len(lines) <= 400 and max(map(len, lines)) <= 120, name
