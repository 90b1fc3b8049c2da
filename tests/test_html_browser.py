"""Pages of motions in a real browser: they draw, play, scrub, and ask for nothing. Skipped without a Chromium."""

import dataclasses
import io
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from browser import Browser, find_chromium
from PIL import Image
from test_html import MEAN, walk, with_mesh

from motiongpt.body.skeletons import KIT
from motiongpt.render.html import WEB, scene, write_html
from motiongpt.render.view import View

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium: none is on the path, nor named by CHROMIUM"),
]

READY = "document.querySelector('.viewer').dataset.state === 'ready'"
# time that the test moves: 40 pictures a second, however slow the machine is
HAND_CLOCK = """
  let now = 0, waiting = [];
  performance.now = () => now;
  window.requestAnimationFrame = (call) => waiting.push(call);
  window.ticks = (count) => { for (let i = 0; i < count; i++) {
    now += 25;
    const calls = waiting;
    waiting = [];
    for (const call of calls) call(now);
  } return viewer.position; };"""
# pixels of all joints of all motions
PROJECTED = """(viewer.stage.camera.updateMatrixWorld(), viewer.figures.flatMap(({ joints, group }, motion) =>
    viewer.positions(motion).map(([x, y, z]) =>
      viewer.stage.project(x + group.position.x, y + group.position.y, z + group.position.z))))"""

RESIZED = "Math.abs(viewer.canvas.clientHeight * viewer.stage.camera.aspect - viewer.canvas.clientWidth) < 1"
USE_MODULES = """async (scene) => {
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/viewer.css" });
  await new Promise((done) => { style.onload = done; document.head.append(style); });
  const { Viewer } = await import("/viewer.js");
  const viewer = new Viewer(document.body);
  await viewer.show(scene);
  viewer.pause();
  viewer.seek(3);
  return viewer.positions(0);
}"""


@pytest.fixture(scope="module")
def browser():
    with Browser(size=(360, 400)) as browser:  # small, because a software renderer draws it
        yield browser


@pytest.fixture
def open_page(browser, tmp_path):
    """Write a page and open it, paused at its first frame."""

    def open_page(*shown, **view):
        path = write_html(tmp_path / "page.html", shown, View(**view))
        browser.open(path.as_uri())
        browser.wait_for(READY)
        browser.evaluate("viewer.pause(), viewer.seek(0)")
        return path.as_uri()

    yield open_page
    check(browser)


@pytest.fixture
def show(browser, tmp_path_factory):
    """Give other motions to the viewer of a page that stays open, which is faster. It is paused at the first frame."""

    def show(*shown, **view):
        if not browser.evaluate("Boolean(window.viewer) && !window.ticks"):
            path = write_html(tmp_path_factory.mktemp("page") / "page.html", [walk(1)], View())
            browser.open(path.as_uri())
            browser.wait_for(READY)
        browser.evaluate(f"viewer.show({json.dumps(scene(shown, View(**view)))})")
        browser.evaluate("viewer.pause(), viewer.seek(0), viewer.setSpeed(1)")
        browser.evaluate("document.querySelectorAll('[type=checkbox]:not(:checked)').forEach((box) => box.click())")

    yield show
    check(browser)


def check(browser):
    """Nothing went wrong in the page, and it asked for nothing but itself."""
    browser.evaluate("new Promise((done) => setTimeout(done))")  # what was logged last has arrived then
    assert browser.problems == [] and browser.requests == [browser.evaluate("location.href")]


def test_it_plays_by_itself_and_pauses(browser, open_page):
    browser.open(open_page(walk(400)))
    browser.wait_for("Number(document.querySelector('.slider').value) > 2")
    assert browser.evaluate("document.querySelector('.viewer').dataset.playing") == "true"
    browser.evaluate("viewer.pause()")
    before = browser.evaluate("viewer.position")
    browser.evaluate("new Promise((done) => setTimeout(done, 100))")
    assert browser.evaluate("viewer.position") == before


def test_scrubbing_moves_the_joints_to_those_of_the_file(browser, show):
    shown = walk(30)
    show(shown)
    for frame in (0, 17, 29):
        browser.evaluate(
            "(() => { const slider = document.querySelector('.slider');"
            f"slider.value = {frame}; slider.dispatchEvent(new Event('input')); }})()"
        )
        assert np.array_equal(browser.evaluate("viewer.positions(0)"), shown.joints[frame].astype(np.float32))
        assert browser.evaluate("document.querySelector('.viewer').dataset.frame") == str(frame)
        assert f"{frame / 20:.2f} s · {frame + 1} / 30" == browser.evaluate("viewer.clock.textContent")
    browser.evaluate("viewer.seek(12.25)")
    low, high = shown.joints[12:14].astype(np.float32).astype(np.float64)
    assert np.allclose(browser.evaluate("viewer.positions(0)"), low + 0.25 * (high - low), rtol=0, atol=1e-12)
    browser.evaluate("viewer.seek(1e9)")
    assert browser.evaluate("viewer.position") == 29


def test_speed_loop_and_end(browser, show):
    show(walk(40))
    browser.evaluate(HAND_CLOCK)
    browser.evaluate("viewer.play()")
    for speed in (0.25, 1, 2):
        browser.evaluate(f"(viewer.speedInput.value = '{speed}', viewer.speedInput.dispatchEvent(new Event('change')))")
        start = browser.evaluate("ticks(1)")
        assert abs(browser.evaluate("ticks(8)") - start - 8 * 0.025 * 20 * speed) < 1e-9
    browser.evaluate("viewer.setSpeed(1), viewer.seek(38.75)")
    assert abs(browser.evaluate("ticks(4)") - 0.75) < 1e-9  # 40 frames last 40 / 20 s, then the first one comes again
    browser.click(".loop")
    browser.evaluate("viewer.seek(38.75)")
    assert browser.evaluate("ticks(4)") == 39 and browser.evaluate("viewer.playing") is False
    browser.evaluate("viewer.play()")
    assert browser.evaluate("ticks(2)") == 1.0  # from the start again


def test_keys_and_buttons(browser, show):
    show(walk(30))
    for key, frame in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 29), ("Home", 0)]:
        browser.press(key)
        assert browser.evaluate("viewer.position") == frame
    browser.press("ArrowRight", shift=True)
    assert browser.evaluate("viewer.position") == 10
    for playing in (True, False):
        browser.press(" ")
        assert browser.evaluate("viewer.playing") is playing
        assert browser.evaluate("viewer.playButton.getAttribute('aria-label')") == ("Pause" if playing else "Play")
    browser.click(".play")
    assert browser.evaluate("viewer.playing") is True
    browser.press(" ")  # the button has the focus now: pressed once, not twice
    assert browser.evaluate("viewer.playing") is False
    names = browser.evaluate(
        "[...document.querySelectorAll('button, input, select, canvas')]"
        ".map((e) => (e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent).trim())"
    )
    assert all(names), names


def test_texts_of_any_kind_are_shown_as_they_are(browser, open_page):
    open_page(dataclasses.replace(walk(1), text=MEAN), title=MEAN)
    text = MEAN.replace("\x00", "\ufffd")  # HTML has no NUL; JSON has
    assert browser.evaluate("document.title").replace("\ufffd", "") == " ".join(text.replace("\ufffd", "").split(" "))
    assert browser.evaluate("document.querySelector('h1').textContent") == MEAN
    assert browser.evaluate("document.querySelector('.caption').textContent") == MEAN
    assert browser.evaluate("document.querySelectorAll('script, b').length") == 2
    assert browser.evaluate("viewer.slider.disabled && viewer.playButton.disabled") is True  # of one frame


def test_several_motions_run_by_one_clock(browser, show):
    fast, slow = walk(30), dataclasses.replace(walk(9, KIT, seed=1), fps=10.0, text="slow")
    show(fast, slow, dataclasses.replace(walk(5), text="short"))
    browser.evaluate("viewer.seek(7)")
    assert np.array_equal(browser.evaluate("viewer.positions(0)"), fast.joints[7].astype(np.float32))
    halfway = slow.joints[3:5].astype(np.float32).mean(axis=0, dtype=np.float64)
    assert np.allclose(browser.evaluate("viewer.positions(1)"), halfway, rtol=0, atol=1e-12)
    assert browser.evaluate("viewer.positions(2)[3]") == browser.evaluate("(viewer.seek(4), viewer.positions(2)[3])")
    places = "viewer.figures.map(({ group }) => group.position.toArray())"
    apart = np.array(browser.evaluate(places))
    assert np.linalg.norm(np.diff(apart[:, [0, 2]], axis=0), axis=1).min() > 0.4  # body lengths, at least
    browser.click(".caption:nth-child(2)")
    assert browser.evaluate("viewer.figures.map(({ group }) => group.visible)") == [True, False, True]
    browser.wait_for("document.querySelectorAll('.badges .badge[hidden]').length === 1")
    browser.click(".side-by-side")
    assert np.ptp(np.array(browser.evaluate(places))[:, [0, 2]], axis=0).max() == 0


def test_a_mesh_moves_as_its_vertices(browser, show):
    shown = with_mesh(walk(12))
    show(shown)
    assert browser.evaluate("viewer.lookInput.value") == "mesh"
    browser.evaluate("viewer.seek(7)")
    drawn = browser.evaluate("[...viewer.figures[0].looks.mesh.group.geometry.attributes.position.array]")
    assert np.abs(np.reshape(drawn, (-1, 3)) - shown.vertices[7]).max() < 0.0001  # half a step of about 0.1 mm
    browser.evaluate("viewer.setLook('body')")
    assert browser.evaluate("viewer.figures[0].looks.mesh.group.visible") is False


def picture(browser):
    """What is seen, (H, W, 3), after the next picture is drawn."""
    browser.evaluate("(viewer.stage.draw(), new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50))))")
    return np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("RGB")).astype(int)


def near(pixels, colour, tolerance=45):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(pixels - rgb).max(axis=-1) < tolerance).sum()


def test_figures_floor_and_both_themes_are_seen(browser, show):
    show(walk(2), look="skeleton")
    box = browser.evaluate(
        "(({ x, y, right, bottom }) => [x, y, right, bottom])(viewer.canvas.getBoundingClientRect())"
    )
    left, top, right, bottom = map(int, box)
    light = picture(browser)[top:bottom, left:right]
    assert near(light, "#1f78b4") > 100 and near(light, "#e4572e") > 100 and near(light, "#ffffff", 3) > 1000
    floor = light[-20:]
    assert len(np.unique(floor.reshape(-1, 3), axis=0)) > 3  # tiles and lines
    browser.prefer(prefers_color_scheme="dark")
    dark = picture(browser)[top:bottom, left:right]
    assert near(dark, "#14171c", 3) > 1000 and near(dark, "#ffffff", 3) == 0
    browser.prefer()
    browser.evaluate("viewer.setLook('body')")
    assert near(picture(browser)[top:bottom, left:right], "#e2dad0", 60) > 200


def test_dragging_turns_the_camera_and_reset_brings_it_back(browser, show):
    show(walk(60))
    camera = "[...viewer.stage.camera.position]"
    before = np.array(browser.evaluate(camera))
    x, y = browser.evaluate("(({ x, y }) => [x + 100, y + 80])(viewer.canvas.getBoundingClientRect())")
    browser.drag([x, y], [x + 80, y + 10])
    turned = np.array(browser.evaluate(camera))
    assert np.linalg.norm(turned - before) > 0.5
    browser.evaluate("viewer.seek(50)")  # followed, from the side that was chosen
    moved = np.array(browser.evaluate(camera)) - turned
    assert moved[2] > 1.5 and abs(moved[1]) < 1e-6  # the walk goes 2.5 m along z
    browser.click(".follow")
    still = browser.evaluate(camera)
    browser.evaluate("viewer.seek(10)")
    assert browser.evaluate(camera) == still
    browser.click(".follow")
    browser.click(".reset")
    browser.evaluate("viewer.seek(0)")
    assert np.allclose(browser.evaluate(camera), before, atol=1e-6)


def test_the_whole_body_stays_in_the_picture(browser, show):
    second = dataclasses.replace(walk(50, seed=2), text="second")
    for size, shown in (((360, 400), (walk(50), second)), ((700, 300), (walk(50),))):  # too narrow, and too flat
        browser.resize(*size)
        show(*shown)
        browser.wait_for(RESIZED)
        width, height = browser.evaluate("[viewer.canvas.clientWidth, viewer.canvas.clientHeight]")
        for frame in (0, 25, 49):
            places = np.array(browser.evaluate(f"(viewer.seek({frame}), {PROJECTED})"))
            assert (places > 0).all() and (places < (width, height)).all()
    browser.resize(360, 400)


def test_it_starts_by_itself_unless_less_motion_is_asked_for(browser, show):
    show(walk(40))
    for wish, playing in (("no-preference", True), ("reduce", False)):
        browser.prefer(prefers_reduced_motion=wish)
        assert browser.evaluate("viewer.show(viewer.scene).then(() => viewer.playing)") is playing
    browser.prefer()


def test_ten_thousand_frames_are_shown(browser, open_page):
    shown = walk(10_000)
    open_page(shown)
    browser.evaluate("viewer.seek(9999)")
    assert np.array_equal(browser.evaluate("viewer.positions(0)"), shown.joints[-1].astype(np.float32))


def test_without_webgl_the_page_says_so(tmp_path):
    path = write_html(tmp_path / "page.html", [walk(3)], View())
    with Browser(webgl=False, size=(360, 400)) as browser:
        browser.open(path.as_uri())
        browser.wait_for("document.querySelector('.viewer').dataset.state === 'failed'")
        assert "no WebGL 2" in browser.evaluate("document.querySelector('[role=alert]').innerText")
        assert browser.errors == []


def test_the_modules_work_from_a_server_too(browser):
    """As the studio uses them: each file by itself, not inlined."""
    handler = partial(QuietHandler, directory=WEB)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = walk(5)
        browser.open(f"http://127.0.0.1:{server.server_port}/viewer.css")
        data = json.dumps(scene([shown], View()))
        positions = browser.evaluate(f"({USE_MODULES})({data})")
        server.shutdown()
    assert np.array_equal(positions, shown.joints[3].astype(np.float32)) and browser.errors == []


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """A test prints nothing."""
