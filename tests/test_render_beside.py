"""GIFs that another process draws are those that are drawn here, and no fault of it is one of the motion's."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from test_render import standing

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.render import beside
from motiongpt.render.gif import _changed_frame, _image, colour_bins
from motiongpt.render.pictures import draw
from motiongpt.render.view import Shown, View

ONE = [Shown(standing(F=6), HUMANML3D, 20.0, "a person stands")]


@pytest.fixture
def process(monkeypatch):
    """The other process, whatever the cores of this machine; it ends with the test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    yield beside
    beside.end()


@pytest.mark.slow
def test_another_process_draws_the_same_bytes(process, tmp_path, monkeypatch):
    here = draw(tmp_path / "here.gif", ONE, View(size=64)).read_bytes()
    process.begin()
    monkeypatch.setattr("motiongpt.render.pictures.film_gif", lambda *args: pytest.fail("drawn in this process"))
    monkeypatch.chdir(tmp_path)  # the other process has another current folder
    for name in ("there.gif", "again.gif"):
        assert draw(Path(name), ONE, View(size=64)).read_bytes() == here


@pytest.mark.slow
def test_an_error_of_the_other_process_is_met_here(process, tmp_path):
    process.begin()
    with pytest.raises(OSError, match="no-such-folder" if os.name != "nt" else ""):
        (tmp_path / "no-such-folder").write_text("a file")
        draw(tmp_path / "no-such-folder" / "x.gif", ONE, View(size=64))
    assert draw(tmp_path / "x.gif", ONE, View(size=64)).is_file()


def test_a_process_that_died_is_done_without(process, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    if Path(sys.executable).exists():
        process.begin()
        process._running.wait()
    assert draw(tmp_path / "x.gif", ONE, View(size=64)).is_file()
    assert process._running is None


def test_nothing_starts_by_itself_or_for_one_core(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    beside.begin()
    assert beside._running is None
    assert not beside.draw_beside(tmp_path / "x.gif", ONE, View())


def test_a_changed_frame_is_the_whole_picture_compared():
    """Only pixels that changed are looked up; the bytes are those of whole pictures, compared index by index."""
    rng = np.random.default_rng(0)
    lookup = rng.integers(0, 15, 32**3).astype(np.uint8)  # many colours share an index
    before = rng.integers(0, 256, (12, 9, 4)).astype(np.uint8)
    for changed in (0, 1, 7, 60):
        after = before.copy()
        places = np.sort(rng.choice(12 * 9, changed, replace=False))
        after.reshape(-1, 4)[places] = rng.integers(0, 256, (changed, 4))
        old, new = lookup[colour_bins(before)], lookup[colour_bins(after)]
        got = old.copy()
        frame = _changed_frame(got, places, new.reshape(-1)[places], 3, 15)
        np.testing.assert_array_equal(got, new)
        same = old == new
        same[0, 0] &= not same.all()
        rows, columns = np.flatnonzero(~same.all(axis=1)), np.flatnonzero(~same.all(axis=0))
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        whole = np.where(same[part], np.uint8(15), new[part])
        assert frame == _image(whole, (int(columns[0]), int(rows[0])), 3, transparency=15, disposal=1)
