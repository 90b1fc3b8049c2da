"""A studio without a model for tests: a stub that makes poses at rest, a server, and a client that sends requests."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.motion import Motion
from motiongpt.studio.maker import Made
from motiongpt.studio.server import StudioServer
from motiongpt.studio.studio import Studio
from motiongpt.studio.wish import Refused

JSON = {"Content-Type": "application/json"}
WAIT = 20.0  # seconds for anything; the machine may be busy
REST = np.array(HUMANML3D.paths) @ np.array(HUMANML3D.offsets)[1:]


class StubMaker:
    """A run whose motions are a pose at rest, and which works only as far as a test lets it."""

    tasks, participants, wordless = ("t2m", "edit", "predict", "m2t"), ("P001", "P002"), True

    def __init__(self):
        self.go, self.calls = threading.Event(), []
        self.go.set()

    def facts(self):
        return {"name": "stub", "tasks": list(self.tasks)}

    def check(self, wish):
        if "!!!" in wish.sentences:
            raise Refused("the prompt has no letter", "text")

    def understood(self, wish):
        return tuple(f"understood: {text}" for text in wish.sentences)

    def make(self, wish, source, tell):
        self.calls.append(wish)
        tell(0.5)
        while not self.go.wait(0.01):
            tell(0.5)
        text = ", then ".join(wish.sentences)
        if text == "fault":
            raise KeyError("secret")
        if text == "refused":
            raise Refused("--seconds 15 is too much", "seconds")
        if wish.task == "m2t":
            return Made(said=f"it is {source.text}")
        seeds = tuple(range(wish.seed, wish.seed + wish.samples))
        joints = [None if text == "tokens" else np.repeat(REST[None], 5 + seed, axis=0) for seed in seeds]
        skeleton = None if text == "tokens" else HUMANML3D
        return Made(tuple(Motion(one, 20.0, (1, 2), text, skeleton) for one in joints), seeds)


class Client:
    """Requests to one server, as its own page sends them."""

    def __init__(self, url: str):
        self.address = url.removeprefix("http://").removesuffix("/")

    def ask(self, method, path, body=None, headers=(), to=None):
        """-> status, answer (JSON if it is), headers; over a connection of its own unless `to` is one."""
        connection = to or http.client.HTTPConnection(self.address, timeout=WAIT)
        content = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
        connection.request(method, path, content, {**(JSON if body is not None else {}), **dict(headers)})
        response = connection.getresponse()
        content = response.read()
        is_json = content and response.headers["Content-Type"] == "application/json"
        if to is None:
            connection.close()
        return response.status, json.loads(content) if is_json else content, response.headers

    def raw(self, data: bytes) -> bytes:
        """All that comes back for some bytes, until the server closes the connection."""
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=WAIT) as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def make(self, text="walk", **wish):
        status, job, _ = self.ask("POST", "/api/jobs", {"text": text, **wish})
        assert status == 202, job
        return job["id"]

    def until(self, job, *states):
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            record = self.ask("GET", f"/api/jobs/{job}")[1]
            if record["state"] in (states or ("done", "failed", "cancelled")):
                return record
            time.sleep(0.01)
        raise AssertionError(f"waited for {states}, got {record}")

    def motion(self, text="walk", **wish):
        """The id of a new motion."""
        return self.until(self.make(text, **wish), "done")["motions"][0]["id"]


@contextmanager
def served(maker, **bounds):
    with StudioServer("127.0.0.1", 0) as server:
        server.studio = Studio(maker, **bounds)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Client(server.url), server
        finally:
            maker.go.set()
            server.shutdown()
            thread.join()
            server.studio.stop()
