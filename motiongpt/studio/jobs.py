"""A queue with one worker: jobs wait in a row, can be cancelled, and say where they are.

    queue = Queue("motions", waiting=8)
    job = queue.add(lambda job: slow_work(job.tell))  # raises Full
    queue.place(job), job.state, job.share
    queue.cancel(job)

What a job does is a callable. A ValueError or an OSError of it is a message for the user; any other error is a fault
of the program, whose traceback goes to the terminal alone.
"""

import secrets
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
FAULT = "something went wrong inside the studio; the terminal that it was started from says what"


class Full(Exception):
    """There are as many waiting jobs as there may be. The message is for people."""


class Cancelled(Exception):
    """The job is no longer wanted."""


class Fault(Exception):
    """A job failed by a fault of the program, which the terminal has the traceback of."""


class Missing(LookupError):
    """There is no such thing, or no longer. The message is for people."""


def new_id() -> str:
    """A name that nobody can guess, 22 letters, digits, - and _."""
    return secrets.token_urlsafe(16)


@dataclass(eq=False)
class Job:
    """Something to be done. Only its worker writes to it while it runs."""

    work: Callable[["Job"], None]
    id: str = field(default_factory=new_id)
    state: str = WAITING
    share: float = 0.0  # of the work that is done, 0 to 1
    error: str = ""  # of a job that failed
    error_field: str = ""  # where on the page the error belongs
    is_fault: bool = False  # the error is the program's, not the user's
    unwanted: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def tell(self, share: float) -> None:
        """Note how far the work is. Raises Cancelled if nobody wants it any more."""
        if self.unwanted.is_set():
            raise Cancelled
        self.share = min(max(share, self.share), 1.0)


class Queue:
    """Jobs in a row before one worker, a thread that is started here."""

    def __init__(self, name: str, waiting: int):
        self.most = waiting
        self._row: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def add(self, work: Callable[[Job], None]) -> Job:
        """Put a job at the end of the row. Raises Full."""
        with self._changed:
            if len(self._row) >= self.most or self._stopped:
                raise Full(f"{len(self._row)} requests are waiting already; wait for one of them, or cancel one")
            job = Job(work)
            self._row.append(job)
            self._changed.notify()
        return job

    def place(self, job: Job) -> int:
        """How many jobs come before this one; 0 also if it runs or is over."""
        with self._changed:
            return self._row.index(job) + (self._running is not None) if job in self._row else 0

    def cancel(self, job: Job) -> None:
        """Take a job out of the row, or have it stop at its next `tell`. Nothing happens to one that is over."""
        with self._changed:
            job.unwanted.set()
            if job in self._row:
                self._row.remove(job)
                _end(job, CANCELLED)

    def stop(self, seconds: float) -> None:
        """Cancel everything, and wait at most so long for the running job."""
        with self._changed:
            self._stopped = True
            running = [] if self._running is None else [self._running]
            jobs = [*self._row, *running]
            self._changed.notify()
        for job in jobs:
            self.cancel(job)
        self._thread.join(seconds)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._running = None
                while not self._row and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                self._running = job = self._row.popleft()
                job.state = RUNNING
            self._do(job)

    def _do(self, job: Job) -> None:
        try:
            job.tell(0.0)
            job.work(job)
            job.share = 1.0
            _end(job, DONE)
        except Cancelled:
            _end(job, CANCELLED)
        except (ValueError, OSError, FloatingPointError) as error:
            job.error_field = getattr(error, "field", "")
            _end(job, FAILED, str(error).split("\n")[0] or type(error).__name__)
        except Exception:  # the worker must outlive any job
            traceback.print_exc(file=sys.stderr)
            job.is_fault = True
            _end(job, FAILED, FAULT)


def _end(job: Job, state: str, error: str = "") -> None:
    job.error = error
    job.state = state  # after the error: who sees "failed" reads why
    job.over.set()
