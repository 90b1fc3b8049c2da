"""The end of a script without the tidying up of an interpreter.

Once torch is imported, taking half a million objects apart takes a tenth of a second or more, and the system takes back
their memory anyway. Everything that has asked to be called at the end is called, threads are waited for, and output is
written; only then the process goes.

Like parser.py, this file imports no torch.
"""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WATCHED = ("LD_PRELOAD", "CUDA_INJECTION64_PATH")  # profilers in a library, which may write their results at the end


@contextmanager
def quick_exit() -> Iterator[None]:
    """A `sys.exit` inside ends the process quickly. Another error inside ends it as usual.

    So does everything that could lose something: what is called at the end is called in reverse order, so there must be
    nothing yet that would come after this, such as the report of a coverage measurement; and nothing may have called
    the script, as a profiler does: a caller has an exit code of its own.
    """
    asked_before = getattr(atexit, "_ncallbacks", lambda: 1)()  # not documented: where it is missing, nothing is quick
    called = sys._getframe(2).f_back  # frames: 0 is this one, 1 is contextlib's, 2 is the script's
    if called or asked_before or any(map(os.environ.get, WATCHED)):
        yield
        return
    codes = []

    def leave() -> None:
        if not codes:
            return
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
        except (OSError, ValueError):  # a closed pipe: the usual end says so
            return
        os._exit(codes[0])

    atexit.register(leave)
    try:
        yield
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            codes.append(end.code or 0)
        raise
