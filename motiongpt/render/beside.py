"""A process beside this one that draws GIFs: its imports, and the pictures, take no time from what goes on here.

A script that will want a GIF calls `begin` first: matplotlib is imported there while torch is imported here.
`draw_beside` hands it a motion. Whatever goes wrong there, the caller draws here instead, and meets the error itself.
It ends when this process does.

What this module does not know: how anything is drawn, and what the other process does (`drawing_process.py`).
"""

import atexit
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.render.forks import usable_cores

if TYPE_CHECKING:  # for a start before numpy is imported
    from motiongpt.render.view import Shown, View

_ROOT = Path(__file__).resolve().parents[2]  # the folder that the package is in
_running: subprocess.Popen | None = None
PATIENCE = 2.0  # seconds until a process that does not end is killed


def begin() -> None:
    """Start the process, where there is a second core for it."""
    global _running
    if _running is not None or usable_cores() < 2 or not sys.executable:
        return
    command = [sys.executable, "-m", "motiongpt.render.drawing_process"]  # found in `cwd`, the package's own folder
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    # NumPy's threads, whatever it is built with: that process forks, see `forks.py`
    alone = os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        _running = subprocess.Popen(command, cwd=_ROOT, env=alone, **pipes)
    except OSError:  # no more processes, or no memory: pictures are drawn here
        return
    atexit.register(end)


def draw_beside(path: Path, shown: Sequence["Shown"], view: "View") -> bool:
    """Have the other process draw a file and wait for it. False if it did not: it is not running, or met an error."""
    global _running
    if _running is None:
        return False
    try:
        job = pickle.dumps((path.absolute(), list(shown), view))  # whole, before anything of it is sent
    except (pickle.PicklingError, AttributeError, TypeError):  # a skeleton of a local class, say
        return False
    try:
        _running.stdin.write(job)
        _running.stdin.flush()
        return pickle.load(_running.stdout)
    except (OSError, EOFError, pickle.PickleError):  # it has died
        end()
        return False
    except KeyboardInterrupt:  # its answer would be taken for that of the next picture
        end()
        raise


def end() -> None:
    """End the process, if it runs."""
    global _running
    atexit.unregister(end)
    if _running is not None:
        process, _running = _running, None
        process.terminate()  # it removes its temporary file
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
