"""The program that `beside.py` starts: what is to be drawn comes by standard input, whether it was goes by output.

It reads and writes with pickle, from and to the process that started it alone. Drawing prints nothing.
"""

import gc
import os
import pickle
import signal
import sys
from typing import BinaryIO

from motiongpt.render.forks import end_with, usual_processes
from motiongpt.render.lettering import INK, text_canvas
from motiongpt.render.pictures import draw


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Draw every (path, shown, view) of `jobs`, and answer whether it was drawn, until they end."""
    text_canvas(64, 64, [(32, 32, "a", 12, "normal")], INK)  # what all pictures need: libraries and a font
    gc.freeze()  # it stays to the end: neither a fork nor the exit, which is waited for, needs to look through it
    while True:
        try:
            job = pickle.load(jobs)
        except EOFError:
            return
        try:
            draw(*job, processes=usual_processes())
            drawn = True
        except Exception:  # of any kind: the other process draws it again, and says what is wrong
            drawn = False
        pickle.dump(drawn, answers)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the other process, which ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # an exception, so that no temporary file stays
    end_with(os.getppid())  # `jobs` end then too, but between two pictures; nobody waits for this one
    serve(sys.stdin.buffer, sys.stdout.buffer)
