"""A Hub on this machine: the HTTP endpoints that huggingface_hub uses to keep a model repository, with faults on order.

Repositories are lists of commits, a commit is a complete tree. Large files go to a second host name, as they do in
reality, which must not get the token. What it does not do: Xet, pull requests, branches, users beyond their tokens.

    with FakeHub() as hub:
        hub.fault("POST .*/commit/", 500, times=2)      # the next two commits fail
        ... HF_ENDPOINT=hub.url HF_HUB_DISABLE_XET=1 ...
        hub.repos["me/run"].files                       # path -> bytes
"""

import base64
import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from motiongpt.cli.environment import HUB_VARIABLES

LARGE = (".safetensors", ".npy", ".png", ".bin")
LARGE_BYTES = 10 << 20  # of any file
PART_BYTES = 1 << 20  # larger files come in parts
PAGE = 10  # entries of a tree per answer
TOKEN = "hf_" + "secretsecretsecretsecretsecretsecr"  # made up; of the user "me", may write


@dataclass(frozen=True)
class Blob:
    """A file in a commit: its bytes, or of a large one the SHA-256 and the size that were promised."""

    size: int
    content: bytes = b""
    sha256: str = ""

    @property
    def oid(self) -> str:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()
        content = pointer if self.sha256 else self.content
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """A repository: commits, newest last."""

    private: bool
    store: dict[str, bytes]
    commits: list[tuple[str, str, dict[str, Blob]]] = field(default_factory=list)  # id, message, tree

    @property
    def head(self) -> str:
        return self.commits[-1][0]

    @property
    def messages(self) -> list[str]:
        return [message for _, message, _ in self.commits]

    @property
    def files(self) -> dict[str, bytes]:
        """Path -> bytes of the newest commit, those of large files from the store."""
        return {path: self.content(blob) for path, blob in self.commits[-1][2].items()}

    def content(self, blob: Blob) -> bytes:
        return self.store.get(blob.sha256, b"") if blob.sha256 else blob.content

    def tree(self, revision: str) -> tuple[str, dict[str, Blob]] | None:
        if revision == "main":
            return self.commits[-1][0], self.commits[-1][2]
        return next(((oid, tree) for oid, _, tree in self.commits if oid == revision), None)

    def add(self, tree: dict[str, Blob], message: str) -> str:
        oid = hashlib.sha1(f"{message} {secrets.token_hex(8)}".encode()).hexdigest()
        self.commits.append((oid, message, tree))
        return oid


@dataclass
class Fault:
    """What happens to requests that match, after `skip` of them, `times` times: an HTTP status, or one of

    drop: the connection ends before anything is done     lost: everything is done, and the answer does not come
    half: half of the body is taken or sent               hang: it sleeps so long that a client gives up
    """

    pattern: str
    how: int | str
    times: int
    skip: int

    def strikes(self, line: str) -> bool:
        if self.times <= 0 or not re.search(self.pattern, line):
            return False
        self.skip -= 1
        if self.skip >= 0:
            return False
        self.times -= 1
        return True


class FakeHub:
    """The server; a context manager. `users` maps a token to (user, may it write)."""

    def __init__(self) -> None:
        self.users = {TOKEN: ("me", True)}
        self.repos: dict[str, Repo] = {}
        self.store: dict[str, bytes] = {}  # SHA-256 -> what was uploaded under it
        self.parts: dict[str, dict[int, bytes]] = {}
        self.requests: list[str] = []
        self.asked: list[str] = []  # SHA-256 of large files that somebody wanted to upload
        self.leaks: list[str] = []  # requests to the storage that carried a token
        self.checks_uploads = True  # whether an upload is verified, as the real storage does
        self.hang_seconds = 1.5
        self.lock = threading.RLock()
        self.before_commit = lambda repo: None  # a test's own event between two writers
        self._faults: list[Fault] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.url, self.storage = f"http://127.0.0.1:{port}", f"http://localhost:{port}"

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, pattern: str, how: int | str, times: int = 1, skip: int = 0) -> None:
        """Order a fault for requests whose line, such as `POST /api/models/me/run/commit/main`, matches."""
        self._faults.append(Fault(pattern, how, times, skip))

    def next_fault(self, line: str) -> int | str | None:
        with self.lock:
            return next((fault.how for fault in self._faults if fault.strikes(line)), None)

    def make(self, name: str, private: bool = True) -> Repo:
        repo = Repo(private, self.store)
        attributes = b"".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n".encode() for suffix in LARGE)
        repo.add({".gitattributes": Blob(len(attributes), attributes)}, "initial commit")
        self.repos[name] = repo
        return repo

    def count(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, line)) for line in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two would wait 40 ms for each other
    hub: FakeHub

    def log_message(self, *args: object) -> None:
        pass

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        path = unquote(url.path)
        line = f"{self.command} {path}"
        fault = self.hub.next_fault(line)
        with self.hub.lock:
            self.hub.requests.append(line)
        self.quiet = fault == "lost"
        if fault == "hang":
            time.sleep(self.hub.hang_seconds)
        if fault in ("drop", "hang"):
            self.close_connection = True
            return
        self.half = fault == "half"
        body = self._body()
        if isinstance(fault, int):
            self._send(fault, {"error": "on order"})
            return
        for pattern, name in ROUTES:
            if match := re.fullmatch(pattern, line):
                return getattr(self, name)(*match.groups(), body)
        self._send(404, {"error": "no such page"})

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, content: object = None, headers: dict[str, str] | None = None) -> None:
        if self.quiet:  # everything was done, and the answer gets lost
            self.close_connection = True
            return
        body = content if isinstance(content, bytes) else json.dumps(content).encode() if content is not None else b""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if self.half else body)
            if self.half:
                self.close_connection = True

    def _user(self) -> tuple[str, bool] | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return self.hub.users.get(token)

    def _allowed(self, name: str, write: bool = False) -> Repo | None:
        """The repository, or None after the answer that the Hub gives somebody who may not see or write it."""
        token, user, repo = self.headers.get("Authorization"), self._user(), self.hub.repos.get(name)
        owner = name.partition("/")[0]
        if token and user is None:
            message = "Invalid credentials in Authorization header"
            self._send(401, {"error": message}, {"X-Error-Message": message})
        elif repo is None or (repo.private and (user is None or user[0] != owner)):
            code, message = (401, "Invalid username or password.") if user is None else (404, "Repository not found")
            self._send(code, {"error": message}, {"X-Error-Code": "RepoNotFound", "X-Error-Message": message})
        elif write and (user is None or user[0] != owner or not user[1]):
            message = "You don't have the rights to write to it"
            self._send(403, {"error": message}, {"X-Error-Message": message})
        else:
            return repo
        return None

    def create(self, body: bytes) -> None:
        asked, user = json.loads(body), self._user()
        owner = asked.get("organization") or (user and user[0])
        name = f"{owner}/{asked['name']}"
        if user is None:
            self._send(401, {"error": "Invalid username or password."})
        elif user != (owner, True):
            message = f"You don't have the rights to create a model under the namespace {owner!r}."
            self._send(403, {"error": message}, {"X-Error-Message": message})
        elif name in self.hub.repos:
            self._send(409, {"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"})
        else:
            self.hub.make(name, asked.get("visibility") == "private" or asked.get("private", False))
            self._send(200, {"url": f"{self.hub.url}/{name}"})

    def info(self, name: str, revision: str | None, body: bytes) -> None:
        if (repo := self._allowed(name)) is None:
            return
        found = repo.tree(revision or "main")
        if found is None:
            self._send(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings = []
        for path, blob in found[1].items():
            entry = {"rfilename": path}
            if "blobs" in self.query:
                entry |= {"size": blob.size, "blobId": blob.oid}
                entry |= {"lfs": {"sha256": blob.sha256, "size": blob.size, "pointerSize": 1}} if blob.sha256 else {}
            siblings.append(entry)
        self._send(200, {"id": name, "sha": found[0], "private": repo.private, "siblings": siblings, "tags": []})

    def tree(self, name: str, revision: str, body: bytes) -> None:
        if (repo := self._allowed(name)) is None or (found := repo.tree(revision)) is None:
            return
        entries = []
        for path, blob in found[1].items():
            lfs = {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": 1}} if blob.sha256 else {}
            entries.append({"type": "file", "path": path, "size": blob.size, "oid": blob.oid, **lfs})
        first = int(self.query.get("cursor", ["0"])[0])
        after = f"{self.hub.url}{urlsplit(self.path).path}?recursive=True&cursor={first + PAGE}"
        headers = {"Link": f'<{after}>; rel="next"'} if first + PAGE < len(entries) else {}
        self._send(200, entries[first : first + PAGE], headers)

    def preupload(self, name: str, revision: str, body: bytes) -> None:
        if (repo := self._allowed(name, write=True)) is None:
            return
        answers = []
        for file in json.loads(body)["files"]:
            large = file["path"].endswith(LARGE) or file["size"] > LARGE_BYTES
            there = repo.commits[-1][2].get(file["path"])
            oid = (there.sha256 or there.oid) if there else None
            mode = "lfs" if large else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._send(200, {"files": answers})

    def batch(self, name: str, body: bytes) -> None:
        if self._allowed(name, write=True) is None:
            return
        objects = []
        for asked in json.loads(body)["objects"]:
            oid, size = asked["oid"], asked["size"]
            self.hub.asked.append(oid)
            upload: dict = {"href": f"{self.hub.storage}/storage/{oid}"}
            if size > PART_BYTES:
                parts = range(1, -(-size // PART_BYTES) + 1)
                upload = {"href": f"{self.hub.storage}/complete/{oid}"}
                upload["header"] = {"chunk_size": str(PART_BYTES)}
                upload["header"] |= {str(part): f"{self.hub.storage}/storage/{oid}/{part}" for part in parts}
            verify = {"href": f"{self.hub.url}/{name}.git/info/lfs/objects/verify"}
            actions = {} if len(self.hub.store.get(oid, b"")) == size else {"actions": {"upload": upload}}
            if actions and self.hub.checks_uploads:
                actions["actions"]["verify"] = verify
            objects.append({"oid": oid, "size": size, **actions})
        self._send(200, {"transfer": "basic", "objects": objects})

    def upload(self, oid: str, part: str | None, body: bytes) -> None:
        self._note_leak()
        body = body[: len(body) // 2] if self.half else body
        self.half = False
        if part is None:
            self.hub.store[oid] = body
        else:
            self.hub.parts.setdefault(oid, {})[int(part)] = body
        self._send(200, b"", {"ETag": hashlib.md5(body).hexdigest()})

    def complete(self, oid: str, body: bytes) -> None:
        parts = self.hub.parts.pop(oid, {})
        asked = json.loads(body)["parts"]
        if [part["etag"] for part in asked] != [hashlib.md5(parts.get(n, b"")).hexdigest() for n in sorted(parts)]:
            self._send(400, {"error": "parts do not match"})
            return
        self.hub.store[oid] = b"".join(parts[number] for number in sorted(parts))
        self._send(200, {})

    def verify(self, name: str, body: bytes) -> None:
        asked = json.loads(body)
        content = self.hub.store.get(asked["oid"], b"")
        good = len(content) == asked["size"] and hashlib.sha256(content).hexdigest() == asked["oid"]
        if not good:
            self.hub.store.pop(asked["oid"], None)
        self._send(200 if good else 500, {} if good else {"error": "the upload is not what was promised"})

    def commit(self, name: str, revision: str, body: bytes) -> None:
        if (repo := self._allowed(name, write=True)) is None:
            return
        self.hub.before_commit(repo)
        with self.hub.lock:
            lines = [json.loads(line) for line in body.splitlines()]
            header = lines[0]["value"]
            if header.get("parentCommit", repo.head) != repo.head:
                self._send(412, {"error": "A commit has happened since. Please refresh and try again."})
                return
            tree = dict(repo.commits[-1][2])
            for line in lines[1:]:
                kind, value = line["key"], line["value"]
                path = value["path"]
                if kind == "file":
                    content = base64.b64decode(value["content"])
                    tree[path] = Blob(len(content), content)
                elif kind == "lfsFile":
                    if value["oid"] not in self.hub.store:
                        self._send(400, {"error": f"LFS object {value['oid']} does not exist"})
                        return
                    tree[path] = Blob(value["size"], sha256=value["oid"])
                else:
                    inside = path.rstrip("/") + "/"
                    gone = [known for known in tree if known == path or known.startswith(inside)]
                    if not gone:
                        message = "A file with this name doesn't exist"
                        self._send(404, {"error": message}, {"X-Error-Code": "EntryNotFound"})
                        return
                    for known in gone:
                        del tree[known]
            oid = repo.add(tree, header["summary"])
        self._send(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "commitOid": oid})

    def resolve(self, name: str, revision: str, path: str, body: bytes) -> None:
        if (repo := self._allowed(name)) is None:
            return
        oid, tree = repo.tree(revision) or ("", {})
        if (blob := tree.get(path)) is None:
            self._send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid})
            return
        headers = {"X-Repo-Commit": oid, "ETag": f'"{blob.oid}"'}
        if not blob.sha256:
            self._send(200, blob.content, headers)
            return
        headers |= {"X-Linked-Size": str(blob.size), "X-Linked-ETag": f'"{blob.sha256}"'}
        self._send(302, b"", headers | {"Location": f"{self.hub.storage}/storage/{blob.sha256}"})

    def fetch(self, oid: str, body: bytes) -> None:
        self._note_leak()
        content, status, headers = self.hub.store.get(oid, b""), 200, {}
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            first, status = int(asked[1]), 206
            headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
            content = content[first:]
        self._send(status, content, headers)

    def _note_leak(self) -> None:
        if self.headers.get("Authorization"):
            self.hub.leaks.append(self.path)


_NAME = r"([\w.-]+/[\w.-]+?)"
ROUTES = [
    (r"POST /api/repos/create", "create"),
    (rf"GET /api/models/{_NAME}(?:/revision/([\w]+))?", "info"),
    (rf"GET /api/models/{_NAME}/tree/(\w+)", "tree"),
    (rf"POST /api/models/{_NAME}/preupload/(\w+)", "preupload"),
    (rf"POST /api/models/{_NAME}/commit/(\w+)", "commit"),
    (rf"POST /{_NAME}\.git/info/lfs/objects/batch", "batch"),
    (rf"POST /{_NAME}\.git/info/lfs/objects/verify", "verify"),
    (r"PUT /storage/(\w+)(?:/(\d+))?", "upload"),
    (r"POST /complete/(\w+)", "complete"),
    (r"(?:GET|HEAD) /storage/(\w+)", "fetch"),
    (rf"(?:GET|HEAD) /{_NAME}/resolve/(\w+)/(.+)", "resolve"),
]


class _NoSleep:
    """The module time for one that should not sleep."""

    def __getattr__(self, name: str) -> object:
        return (lambda seconds: None) if name == "sleep" else getattr(time, name)


@contextmanager
def fake_hub(monkeypatch, home: Path, silent_seconds: float = 20.0) -> Iterator[FakeHub]:
    """A Hub that this process talks to, as user "me" by HF_TOKEN; waits between tries take no time."""
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils import _http

    from motiongpt import hub as library
    from motiongpt.training import hub_pull, hub_upload

    with FakeHub() as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        values = {"ENDPOINT": hub.url, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_DISABLE_XET": True}
        values |= {"HF_HUB_OFFLINE": False}  # as it is while the other tests run
        values |= {"HF_HUB_CACHE": str(home / "cache"), "HF_TOKEN_PATH": str(home / "token")}
        for name, value in values.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(_http, "time", _NoSleep())
        monkeypatch.setattr(hub_upload, "PUSH_WAITS", (0.0, 0.0))
        monkeypatch.setattr(hub_upload, "SHORT_SECONDS", 20.0)  # a busy machine says no more than an idle one
        monkeypatch.setattr(hub_pull, "PULL_WAITS", (0.0, 0.0))
        monkeypatch.setattr(library, "SILENT_SECONDS", silent_seconds)
        for name in (*HUB_VARIABLES, "HUGGINGFACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        library._limit_waiting.cache_clear()
        try:
            yield hub
        finally:
            set_client_factory(_http.default_client_factory)
            library._limit_waiting.cache_clear()
