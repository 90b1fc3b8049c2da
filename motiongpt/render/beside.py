"""A process beside this one that draws GIFs: its imports, and the pictures, take no time from what goes on here.

A script that will want a GIF calls `begin` first: matplotlib is imported there while torch is imported here.
`draw_beside` hands it a motion. Whatever goes wrong there, the caller draws here instead, and meets the error itself.
It ends when this process does, as its standard input ends then.

What this module does not know: how anything is drawn, and what the other process does (`drawing_process.py`).
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for a start before numpy is imported
    from motiongpt.render.view import Shown, View

_ROOT = Path(__file__).resolve().parents[2]  # the folder that the package is in
_running: subprocess.Popen | None = None
PATIENCE = 2.0  # seconds until a process that does not end is killed


def begin() -> None:
    """Start the process, where there is a second core for it."""
    global _running
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if _running is not None or cores < 2 or not sys.executable:
        return
    command = [sys.executable, "-m", "motiongpt.render.drawing_process"]  # found in `cwd`, the package's own folder
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        _running = subprocess.Popen(command, cwd=_ROOT, **pipes)
    except OSError:  # no more processes, or no memory: pictures are drawn here
        _running = None


def draw_beside(path: Path, shown: Sequence["Shown"], view: "View") -> bool:
    """Have the other process draw a file and wait for it. False if it did not: it is not running, or met an error."""
    global _running
    if _running is None:
        return False
    try:
        pickle.dump((path.absolute(), list(shown), view), _running.stdin)
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
    if _running is not None:
        process, _running = _running, None
        process.terminate()  # it removes its temporary file
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
