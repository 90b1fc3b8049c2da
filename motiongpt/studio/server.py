"""The studio as a web server for the computer that it runs on: a page, its scripts, and a small JSON interface.

    GET    /                              the page; also /studio.js, /studio.css, /viewer/...: a fixed table of files
    GET    /api/state                     the run, the motions so far, and the jobs on their way
    POST   /api/jobs                      a wish (`wish.py`) -> 202 and the job
    GET    /api/jobs/ID                   state, position in the queue, progress; then what was made, or the error
    DELETE /api/jobs/ID                   cancel
    GET    /api/motions/ID                what the viewer shows (`render/web/viewer.js`), null for tokens alone
    GET    /api/motions/ID/motion.SUFFIX  the motion as a file

An answer that is no success is {"error": message, "field": where on the page it belongs}.

Other web pages that the user has open are the danger here: a browser lets each of them send requests to this one. So a
request must name this server as its host (a foreign name that resolves to 127.0.0.1 is refused), anything under /api
must not come from another site, and a POST must be JSON, which another site may not send unasked. See
https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html.
"""

import errno
import json
import os
import re
import socket
import socketserver
import sys
import threading
import traceback
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from motiongpt.render.html import MODULES
from motiongpt.render.html import WEB as VIEWER
from motiongpt.studio.jobs import FAULT, Fault, Full, Missing
from motiongpt.studio.studio import Studio
from motiongpt.studio.wish import Refused

WEB = Path(__file__).parent / "web"
HOSTS = ("127.0.0.1", "localhost", "::1")
LARGEST_BODY = 16 * 1024  # bytes
DRAINED = 2**20  # bytes of a larger body that are read and dropped
MOST_CONNECTIONS = 64
IDLE = 30  # seconds that a connection may be silent
TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "txt": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "glb": "model/gltf-binary",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
JOB = re.compile(r"/api/jobs/([\w-]{1,64})", re.ASCII)
MOTION = re.compile(r"/api/motions/([\w-]{1,64})", re.ASCII)
FILE = re.compile(r"/api/motions/([\w-]{1,64})/motion\.([a-z0-9]{1,8})", re.ASCII)


class Rejected(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, message: str):
        super().__init__(message)
        self.status = status


class StudioServer(ThreadingHTTPServer):
    """A server for one `Studio`, which may be set after the port is taken."""

    daemon_threads = True  # an open connection does not hold up the end
    # on Windows this option would let a second server take the same port
    allow_reuse_address = os.name == "posix"

    def __init__(self, host: str, port: int) -> None:
        """Take the port, 0 for any free one. Raises ValueError for a host other than `HOSTS`, or a port in use."""
        if host not in HOSTS:
            raise ValueError(
                f"--host must be one of {', '.join(HOSTS)}, got {host!r:.60}: the studio asks nobody for a password, "
                f"so it is for this computer alone; from another one, ssh -L {port}:127.0.0.1:{port} THIS_COMPUTER"
            )
        if not 0 <= port <= 65535:
            raise ValueError(f"--port must be 0 to 65535, got {port}")
        self.studio: Studio | None = None
        self.address_family = socket.AF_INET6 if host == "::1" else socket.AF_INET
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = "perhaps by another studio; stop that, or take another port, --port 0 for any free one"
                raise ValueError(f"port {port} is in use, {remedy}") from error
            if error.errno == errno.EACCES:
                raise ValueError(f"port {port} is not allowed here; take one from 1024 on, or --port 0") from error
            raise
        port = self.server_address[1]
        names = ("127.0.0.1", "localhost", "[::1]")
        self.names = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())
        self.url = f"http://{'[::1]' if host == '::1' else host}:{port}/"

    def server_bind(self) -> None:
        """Without the look-up of a host name that HTTPServer makes, which may ask the network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request, client_address) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # somebody opens connections without end
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request, client_address) -> None:
        """A browser that goes away is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc(file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: StudioServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "studio", ""
    timeout = IDLE

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, format: str, *args) -> None:
        """The terminal is for what concerns the user."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, such as a request line without end."""
        self.close_connection = True
        self._send_json(HTTPStatus(code), {"error": message or HTTPStatus(code).phrase, "field": ""})

    # 1) One request.

    def _answer(self, method: str) -> None:
        field = ""
        try:
            body = self._read_body()  # first: what stays unread would be taken for the next request
            self._check_origin()
            self._route(method, self.path.partition("?")[0], body)
            return
        except Rejected as error:
            status, message = error.status, str(error)
        except Refused as error:
            status, message, field = HTTPStatus.BAD_REQUEST, str(error), error.field
        except Missing as error:
            status, message = HTTPStatus.NOT_FOUND, str(error)
        except Full as error:
            status, message = HTTPStatus.TOO_MANY_REQUESTS, str(error)
        except Fault as error:
            status, message = HTTPStatus.INTERNAL_SERVER_ERROR, str(error)
        except OSError:
            raise  # the connection
        except Exception:  # a fault of this program must not end the connection without a word
            traceback.print_exc(file=sys.stderr)
            status, message = HTTPStatus.INTERNAL_SERVER_ERROR, FAULT
        self._send_json(status, {"error": message, "field": field})

    def _route(self, method: str, path: str, body: bytes) -> None:
        studio = self.server.studio
        static = static_files().get(path)
        if static is not None:
            self._only(method, "GET")
            self._send(HTTPStatus.OK, *static)
        elif path == "/api/state":
            self._only(method, "GET")
            self._send_json(HTTPStatus.OK, studio.state())
        elif path == "/api/jobs":
            self._only(method, "POST")
            self._send_json(HTTPStatus.ACCEPTED, studio.record(studio.ask(self._from_json(body))))
        elif match := JOB.fullmatch(path):
            self._only(method, "GET", "DELETE")
            order = studio.cancel(match[1]) if method == "DELETE" else studio.order(match[1])
            self._send_json(HTTPStatus.OK, studio.record(order))
        elif match := MOTION.fullmatch(path):
            self._only(method, "GET")
            self._send_json(HTTPStatus.OK, studio.scene(match[1]))
        elif match := FILE.fullmatch(path):
            self._only(method, "GET")
            content, suffix = studio.file(*match.groups()), match[2]
            kind = TYPES.get(suffix, "application/octet-stream")
            self._send(HTTPStatus.OK, content, kind, {"Content-Disposition": f'attachment; filename="motion.{suffix}"'})
        else:
            raise Rejected(HTTPStatus.NOT_FOUND, "there is nothing here")

    # 2) What is let in.

    def _check_origin(self) -> None:
        """Rejected for a request that another web site may have sent."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.names:
            raise Rejected(HTTPStatus.FORBIDDEN, f"this is {self.server.url}, open it under that name")
        if not self.path.startswith("/api/"):
            return
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        same = origin is None or (origin.startswith("http://") and origin[7:].lower() == hosts[0].lower())
        if not same or site not in (None, "same-origin", "none"):
            raise Rejected(HTTPStatus.FORBIDDEN, "requests of other web sites are refused")

    def _only(self, method: str, *methods: str) -> None:
        if method not in methods:
            raise Rejected(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not for this address, {methods[0]} is")

    def _read_body(self) -> bytes:
        """The body of a request. Rejected for one that is too long, or whose length nobody knows."""
        lengths = self.headers.get_all("Content-Length", [])
        fault = None
        if "Transfer-Encoding" in self.headers or len(lengths) > 1:
            fault = Rejected(HTTPStatus.LENGTH_REQUIRED, "a request must say the length of its body, once")
        elif lengths and not re.fullmatch(r"\d{1,18}", lengths[0].strip(), re.ASCII):
            fault = Rejected(HTTPStatus.BAD_REQUEST, "Content-Length must be a number")
        elif lengths and (length := int(lengths[0])) > LARGEST_BODY:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            fault = Rejected(status, f"the request has {length} bytes, at most {LARGEST_BODY} are read; shorten it")
            self.rfile.read(min(length, DRAINED))  # a browser reads no answer before it has sent everything
        if fault is not None:
            self.close_connection = True
            raise fault
        body = self.rfile.read(int(lengths[0]) if lengths else 0)
        if lengths and len(body) < int(lengths[0]):
            self.close_connection = True
            raise Rejected(HTTPStatus.BAD_REQUEST, "the body is shorter than its Content-Length")
        return body

    def _from_json(self, body: bytes) -> object:
        """The value of a body. Raises Rejected and Refused."""
        if self.headers.get_content_type() != "application/json":
            raise Rejected(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
        try:
            return json.loads(body.decode(), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise Refused(f"the request is not JSON: {error}") from error

    # 3) What goes out.

    def _send_json(self, status: HTTPStatus, record: object) -> None:
        self._send(status, json.dumps(record, separators=(",", ":")).encode(), TYPES["json"])

    def _send(self, status: HTTPStatus, content: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        more = {"Connection": "close"} if self.close_connection else {}
        own = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in (ALWAYS | own | (headers or {}) | more).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Path -> content and its type, of all files that are served. No path of a request is opened."""
    files = {"/": WEB / "index.html"} | {f"/{name}": WEB / name for name in ("studio.js", "studio.css")}
    files |= {f"/viewer/{name}": VIEWER / name for name in (*MODULES, "viewer.css")}
    return {path: (file.read_bytes(), TYPES[file.suffix[1:]]) for path, file in files.items()}


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
