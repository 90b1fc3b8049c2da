"""Motions as files: written one at a time by a thread of their own, the last ones kept in memory.

files = SavedFiles(waiting=8)
content = files.get(motion, "name of the motion", "gif")  # waits until it is written
"""

import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

from motiongpt.motion import Motion
from motiongpt.studio.jobs import CANCELLED, FAILED, Fault, Job, Missing, Queue
from motiongpt.studio.wish import Refused

KEPT_BYTES = 128_000_000
Key = tuple[str, str]  # name of the motion, suffix


class SavedFiles:
    """Files of motions, written when they are first asked for."""

    def __init__(self, waiting: int, most_bytes: int = KEPT_BYTES) -> None:
        """At most `waiting` files wait to be written, and `most_bytes` are kept."""
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._coming: dict[Key, tuple[Job, list[bytes]]] = {}
        self._lock = threading.Lock()
        self._queue = Queue("files", waiting)

    def get(self, motion: Motion, name: str, suffix: str) -> bytes:
        """The file of a motion, whose `name` no other motion has. Several who ask for the same one share its work.

        Raises Refused for what `Motion.save` refuses, Full, Fault, and Missing at the end of the program.
        """
        key = (name, suffix)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if key not in self._coming:
                content: list[bytes] = []  # filled by the worker
                self._coming[key] = self._queue.add(lambda job: self._write(motion, key, content)), content
            job, content = self._coming[key]
        job.over.wait()
        if job.state == CANCELLED:
            raise Missing("the studio is ending")
        if job.state == FAILED:
            raise Fault(job.error) if job.is_fault else Refused(job.error)
        return content[0]

    def forget(self, name: str) -> None:
        """Drop the files of a motion."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == name]:
                del self._kept[key]

    def stop(self, seconds: float) -> None:
        """Write nothing more, and wait at most so long for the file that is being written."""
        self._queue.stop(seconds)

    def _write(self, motion: Motion, key: Key, content: list[bytes]) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="studio-") as folder:
                (path,) = motion.save(Path(folder) / f"motion.{key[1]}")
                content.append(path.read_bytes())
        except ValueError as error:  # it names the file, whose folder is nobody's business
            raise ValueError(str(error).replace(f"{folder}{os.sep}", "")) from error
        finally:
            with self._lock:
                del self._coming[key]  # one that failed may be asked for again
                if content:
                    self._kept[key] = content[0]
                    while sum(map(len, self._kept.values())) > self.most_bytes and len(self._kept) > 1:
                        self._kept.popitem(last=False)
