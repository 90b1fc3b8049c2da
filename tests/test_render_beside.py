"""GIFs that another process draws are those that are drawn here, and no fault of it is one of the motion's."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_render import standing

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.render import beside, forks
from motiongpt.render.gif import _changed_frame, _image, colour_bins
from motiongpt.render.pictures import draw
from motiongpt.render.view import Shown, View

FORKS = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux forks safely")
ROOT = Path(__file__).resolve().parents[1]
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


def test_what_cannot_be_sent_is_drawn_here(process, tmp_path):
    """Nothing of it reaches the other process, which draws the next picture."""
    if not Path(sys.executable).exists():
        pytest.skip("no program to start")

    class Caption(str):  # of a local class, so pickle refuses it
        pass

    process.begin()
    assert not process.draw_beside(tmp_path / "a.gif", [replace(ONE[0], text=Caption("x"))], View(size=64))
    assert not process.draw_beside(tmp_path / "a.gif", [replace(ONE[0], text=lambda: 0)], View(size=64))
    assert process.draw_beside(tmp_path / "b.gif", ONE, View(size=64))


@pytest.mark.slow
def test_it_ends_with_the_program_without_a_warning(tmp_path):
    program = (
        "import os\nos.sched_getaffinity = lambda pid: {0, 1}\nfrom motiongpt.render import beside\nbeside.begin()\n"
        "print(beside._running.pid)"
    )
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Warning" not in done.stderr, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@FORKS
@pytest.mark.parametrize("count", (1, 15, 16, 17, 40, 101))
def test_parts_are_put_together_in_their_order(tmp_path, count):
    here = os.getpid()
    others = []

    def write(file, first, end):
        file.writelines(b"%d\n" % i for i in range(first, end))
        if os.getpid() == here:
            others.append((first, end))

    for processes in (1, 2, 4):
        others.clear()
        path = tmp_path / f"{processes}.txt"
        with open(path, "wb") as file:
            file.write(b"first\n")  # not flushed yet: no fork may write it again
            forks.write_parts(file, write, count, processes)
            file.write(b"last\n")
        assert path.read_text().split() == ["first", *map(str, range(count)), "last"]
        parts = max(1, min(processes, count // forks.FEWEST))
        assert others == [(0, count // parts)]  # the rest is other processes' work
    assert len(list(tmp_path.iterdir())) == 3


@FORKS
def test_a_part_that_fails_ends_all(tmp_path):
    def write(file, first, end):
        if first:
            raise ValueError("in the fork")
        file.write(b"fine")

    with open(tmp_path / "x", "wb") as file, pytest.raises(ChildProcessError, match="ValueError.'in the fork'"):
        forks.write_parts(file, write, 20, 2)

    def is_killed(file, first, end):
        if first:
            os.kill(os.getpid(), signal.SIGKILL)

    with open(tmp_path / "x", "wb") as file, pytest.raises(ChildProcessError, match="signal 9"):
        forks.write_parts(file, is_killed, 20, 2)

    def fails_here(file, first, end):
        if not first:
            raise ValueError("in this process")
        while True:  # a fork is not waited for
            pass

    with open(tmp_path / "x", "wb") as file, pytest.raises(ValueError, match="in this process"):
        forks.write_parts(file, fails_here, 40, 4)
    with pytest.raises(ChildProcessError):  # there is none left
        os.waitpid(-1, os.WNOHANG)


@FORKS
def test_an_interrupt_just_after_a_fork_reaches_one_process_and_ends_the_other(tmp_path, monkeypatch):
    here, fork, ids = os.getpid(), os.fork, []

    def interrupted():
        number = fork()
        # to this thread: the drawing process has no other, but pytest may have some, and one would take it
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        ids.append(number)
        return number

    monkeypatch.setattr(os, "fork", interrupted)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with open(tmp_path / "x", "wb") as file, pytest.raises(KeyboardInterrupt):
            forks.write_parts(file, lambda file, first, end: signal.pause() if first else None, 40, 2)
    finally:
        signal.signal(signal.SIGINT, former)
        if os.getpid() != here:  # a second run of the rest of this program
            os._exit(1)
    with pytest.raises(ChildProcessError):
        os.waitpid(ids[0], os.WNOHANG)


@FORKS
def test_somebody_else_may_wait_for_a_fork(tmp_path):
    former = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system does
    try:
        with open(tmp_path / "x", "wb") as file, pytest.raises(ChildProcessError, match="No child processes"):
            forks.write_parts(file, lambda file, first, end: None, 40, 3)
    finally:
        signal.signal(signal.SIGCHLD, former)


@FORKS
@pytest.mark.slow
@pytest.mark.parametrize("killed", ("program", "drawing process"))
def test_whoever_is_killed_nobody_goes_on_drawing(killed, tmp_path):
    """The program's drawing process, and its fork, end within a second or two, and no file comes after the kill."""
    program = """
import os, sys
os.sched_getaffinity = lambda pid: {0, 1}
sys.path.append("tests")
from test_render_beside import HUMANML3D, Shown, View, beside, draw, standing
beside.begin()
print(beside._running.pid, flush=True)
draw(sys.argv[1], [Shown(standing(F=12000), HUMANML3D, 20.0, "a person stands")], View(size=480))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "x.gif")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        drawing = int(process.stdout.readline())
        try:
            fork = wait_for(lambda: children(drawing), 60)[0]
            os.kill({"program": process.pid, "drawing process": drawing}[killed], signal.SIGKILL)
            assert wait_for(lambda: not alive(fork), 30)
            assert killed != "program" or wait_for(lambda: not alive(drawing), 30)
            assert not (tmp_path / "x.gif").exists()
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(what, seconds):
    """What `what` returns once that is true, or at last."""
    end = time.monotonic() + seconds
    while not (value := what()) and time.monotonic() < end:
        time.sleep(0.05)
    return value


def _stat(pid) -> list[str]:
    """State and parent of a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return ["Z", "0"]


def alive(pid: int) -> bool:
    return _stat(pid)[0] != "Z"


def children(pid: int) -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _stat(path.name)[1] == str(pid)]


@FORKS
def test_several_processes_draw_the_same_bytes(tmp_path):
    walk = standing(F=40)
    walk[..., 2] += np.linspace(0, 3, 40)[:, None]
    for look in ("skeleton", "body"):
        for fps in (20.0, 50.0):
            shown, view = [Shown(walk, HUMANML3D, 20.0, "a person walks")], View(size=64, look=look, fps=fps)
            alone = draw(tmp_path / "alone.gif", shown, view).read_bytes()
            assert draw(tmp_path / "three.gif", shown, view, processes=3).read_bytes() == alone


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
