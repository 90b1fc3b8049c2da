"""The studio as a server, over real connections: what it answers, and what it does not let in. No model is loaded."""

import http.client
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
from cases import for_each
from studio_stub import REST, WAIT, StubMaker, served

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.motion import Motion
from motiongpt.studio import server as server_module
from motiongpt.studio.saved_files import SavedFiles
from motiongpt.studio.server import ALWAYS, LARGEST_BODY, StudioServer, static_files


@pytest.fixture
def maker():
    return StubMaker()


@pytest.fixture
def client(maker):
    with served(maker, waiting=2, motions=3) as (client, _):
        yield client


# 1) The page, and what is not there.


class Links(HTMLParser):
    """What a page loads, and what it has inline."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.inline, self.tag = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tag = tag
        self.loads += [value for name, value in attrs if name in ("src", "href") and not value.startswith("data:")]
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data):
        if self.tag in ("script", "style") and data.strip():
            self.inline.append(data)


def test_the_page_and_all_that_it_loads(client):
    status, page, headers = client.ask("GET", "/")
    links = Links(page.decode())
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8" and links.inline == []
    assert set(links.loads) <= set(static_files()) and "/studio.js" in links.loads
    for path, (content, kind) in static_files().items():
        status, answer, headers = client.ask("GET", path)
        assert (status, answer, headers["Content-Type"]) == (200, content, kind), path
        for name, value in ALWAYS.items():
            assert headers[name] == value, (path, name)
        folder = path.rpartition("/")[0]
        for module in re.findall(r'^import .* from "(.+)";', content.decode() if "min" not in path else "", re.M):
            assert (module if module[0] == "/" else f"{folder}/{module[2:]}") in static_files(), (path, module)
    assert "unsafe" not in ALWAYS["Content-Security-Policy"] and "http" not in ALWAYS["Content-Security-Policy"]


@for_each("path", """/../server.py /viewer/../studio.py /viewer/../../studio/server.py /%2e%2e/server.py /viewer/
    /viewer/%2e%2e%2fhtml.py //etc/passwd /etc/passwd /studio.js/ /studio.js%00 /viewer/page.html /index.html
    /api /api/ /api/jobs/.. /api/jobs/none /api/motions/none /api/motions/none/motion.gif
    /api/motions/..%2f..%2f/motion.npy /api/motions/none/../../../motion.npy /favicon.ico""".split())  # fmt: skip
def test_no_other_path_is_served(client, path):
    status, answer, headers = client.ask("GET", path)
    assert status == 404 and set(answer) == {"error", "field"} and headers["X-Content-Type-Options"] == "nosniff"


def test_a_path_with_a_host_is_none(client):
    request = f"GET http://{client.address}/ HTTP/1.1\r\nHost: {client.address}\r\nConnection: close\r\n\r\n"
    assert client.raw(request.encode()).split()[1] == b"404"


def test_other_methods_are_refused(client):
    for method, path, status in [("POST", "/", 405), ("GET", "/api/jobs", 405), ("DELETE", "/api/state", 405),
                                 ("POST", "/api/motions/x", 405), ("PUT", "/api/jobs", 501), ("HEAD", "/", 501),
                                 ("OPTIONS", "/api/jobs", 501)]:  # fmt: skip
        assert client.ask(method, path, b"" if method == "POST" else None)[0] == status, (method, path)


@for_each("request, reason", [(b"GET /" + b"a" * 70_000, "Long"), (b"walk", "syntax"), (b"\xff / HTTP/1.1", "method"),
                              (b"GET / HTTP/9.9", "version"), (b"GET / HTTP/x", "version")])  # fmt: skip
def test_what_is_no_request_is_said_and_the_connection_closed(client, request, reason):
    answer = client.raw(request + b"\r\n" * (len(request) < 1000) + b"\r\n")
    head, _, body = answer.rpartition(b"\r\n\r\n")  # without a version that it knows, http.server sends no head
    assert reason in json.loads(body)["error"] and (not head or b"nosniff" in head)


# 2) Other web sites.


def test_only_its_own_names_are_answered(client):
    port = client.address.rsplit(":", 1)[1]
    good = [f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"]
    bad = ["evil.example", f"evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", f"127.0.0.1:{port}.evil.example",
           f"127.0.0.1.evil.example:{port}", f"evil@127.0.0.1:{port}"]  # fmt: skip
    for names, expected in ((good, 200), (bad, 403)):
        for name in names:
            for path in ("/", "/studio.js", "/api/state"):
                assert client.ask("GET", path, headers={"Host": name})[0] == expected, (name, path)
    both = f"GET / HTTP/1.1\r\nHost: {client.address}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    for request in (both, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"):
        assert client.raw(request.encode()).split()[1] == b"403", request


FOREIGN = [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": ""},
           {"Origin": "https://{own}"}, {"Origin": "http://{own}.evil.example"}, {"Sec-Fetch-Site": "cross-site"},
           {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://{own}", "Sec-Fetch-Site": "cross-site"}]  # fmt: skip


def test_other_sites_change_nothing_and_read_nothing(client, maker):
    maker.go.clear()
    job = client.make()
    for headers in FOREIGN:
        headers = {name: value.replace("{own}", client.address) for name, value in headers.items()}
        for method, path, body in [("POST", "/api/jobs", {"text": "evil"}), ("DELETE", f"/api/jobs/{job}", None),
                                   ("GET", "/api/state", None), ("GET", f"/api/jobs/{job}", None)]:  # fmt: skip
            status, answer, _ = client.ask(method, path, body, headers)
            assert status == 403 and "other web sites" in answer["error"], (headers, method, path)
    maker.go.set()
    assert client.until(job)["state"] == "done" and len(maker.calls) == 1
    own = {"Origin": f"http://{client.address}", "Sec-Fetch-Site": "same-origin"}
    assert client.ask("POST", "/api/jobs", {"text": "mine"}, own)[0] == 202
    assert client.ask("GET", "/", headers={"Sec-Fetch-Site": "cross-site"})[0] == 200  # a link to the page


@for_each("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""])
def test_a_body_that_a_foreign_form_could_send_is_refused(client, maker, kind):
    assert client.ask("POST", "/api/jobs", b'{"text": "walk"}', {"Content-Type": kind})[0] == 415
    assert maker.calls == []


# 3) Bodies.


def test_a_body_has_a_bound_and_the_connection_ends(client):
    fits = json.dumps({"text": "walk"}).encode()
    assert client.ask("POST", "/api/jobs", fits + b" " * (LARGEST_BODY - len(fits)))[0] == 202
    for size in (LARGEST_BODY + 1, 300_000):
        status, answer, headers = client.ask("POST", "/api/jobs", b" " * size)
        assert status == 413 and str(LARGEST_BODY) in answer["error"] and headers["Connection"] == "close"


@for_each("head, status", [("Content-Length: -1", 400), ("Content-Length: x", 400), ("Content-Length: 1_0", 400),
                           ("Content-Length: 2\r\nContent-Length: 3", 411), ("Transfer-Encoding: chunked", 411),
                           ("Content-Length: 99999999999999999999", 400), ("Content-Length: 999999999", 413),
                           ("Content-Length: 2\r\nTransfer-Encoding: chunked", 411)])  # fmt: skip
def test_what_follows_a_body_of_unknown_length_is_no_request(client, maker, head, status):
    smuggled = f"POST /api/jobs HTTP/1.1\r\nHost: {client.address}\r\nContent-Type: application/json\r\n"
    hidden = f"{smuggled}Content-Length: 15\r\n\r\n" + '{"text":"evil"}'
    host, port = client.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=WAIT) as connection:
        connection.sendall(f"{smuggled}{head}\r\n\r\n{hidden}".encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split()[1] == str(status).encode() and answer.count(b"HTTP/1.1 ") == 1 and maker.calls == []


@for_each("body", [b"", b"{", b"\xff\xfe", b"walk", b'{"text": NaN}', b'{"seconds": Infinity}', b"[" * 16_000,
                   b'{"seed": ' + b"1" * 5000 + b"}"])  # fmt: skip
def test_what_is_no_json_is_said(client, maker, body):
    status, answer, _ = client.ask("POST", "/api/jobs", body)
    assert status == 400 and "not JSON" in answer["error"] and maker.calls == []


@for_each("record, field", [
    ([], ""), ("walk", ""), (None, ""), ({}, "text"), ({"text": ""}, "text"), ({"text": " \n\t"}, "text"),
    ({"text": 3}, "text"), ({"text": ["walk"]}, "text"), ({"text": "\ud800"}, "text"), ({"text": "!!!"}, "text"),
    ({"text": "x" * 10_001}, "text"), ({"text": "a\n" * 9}, "text"), ({"text": "a", "seconds": "2"}, "seconds"),
    ({"text": "a", "seconds": 0.9}, "seconds"), ({"text": "a", "seconds": 15.1}, "seconds"),
    ({"text": "a", "seconds": True}, "seconds"), ({"text": "a", "seconds": 1e400}, ""),
    ({"text": "a", "seed": -1}, "seed"), ({"text": "a", "seed": 1.5}, "seed"), ({"text": "a", "seed": 2**31}, "seed"),
    ({"text": "a", "seed": False}, "seed"), ({"text": "a", "samples": 5}, "samples"),
    ({"text": "a", "samples": 0}, "samples"), ({"text": "a", "participant": "P003"}, "participant"),
    ({"text": "a", "participant": ["P001"]}, "participant"), ({"text": "a", "as_written": 1}, "as_written"),
    ({"text": "a", "task": "fly"}, "task"), ({"text": "a", "task": None}, "task"), ({"text": "a", "task": {}}, "task"),
    ({"text": "a", "task": "edit"}, "task"), ({"text": "a", "motion": "x"}, "task"),
    ({"text": "a", "path": "/etc/passwd"}, ""), ({"text": "a\nb", "task": "edit", "motion": "x"}, "text"),
    ({"text": "a", "task": "m2t", "motion": "x"}, "text"), ({"task": "m2t", "motion": "x", "samples": 2}, "samples"),
])  # fmt: skip
def test_a_bad_wish_names_its_field(client, maker, record, field):
    status, answer, _ = client.ask("POST", "/api/jobs", record if record is not None else b"null")
    assert status == 400 and answer["field"] == field and 10 < len(answer["error"]) < 200 and maker.calls == []


def test_a_refusal_leaves_the_connection_usable(client):
    connection = http.client.HTTPConnection(client.address, timeout=WAIT)
    for headers, status in [({"Origin": "null"}, 403), ({"Content-Type": "text/plain"}, 415), ({}, 202)]:
        assert client.ask("POST", "/api/jobs", {"text": "walk"}, headers, to=connection)[0] == status
    assert client.ask("GET", "/api/state", to=connection)[0] == 200
    connection.close()


# 4) Jobs.


def test_a_motion_comes_about(client):
    record = client.until(client.make("walk", seed=3, samples=2, participant="P002", seconds=2))
    first, second = record["motions"]
    assert (record["state"], record["progress"], record["understood"]) == ("done", 1, ["understood: walk"])
    assert [one["seed"] for one in (first, second)] == [3, 4] and [first["number"], second["number"]] == [1, 2]
    assert first["codes"] == "1 2" and first["seconds"] == 8 / 20 and first["participant"] == "P002"
    scene = client.ask("GET", f"/api/motions/{first['id']}")[1]
    assert scene["motions"][0]["joints"]["shape"] == [8, 22, 3]
    said = client.until(client.make("", task="m2t", motion=second["id"]))
    changed = client.until(client.make("faster", task="edit", motion=first["id"]))["motions"][0]
    assert said["said"] == "it is walk" and changed["source"] == 1
    motions = client.ask("GET", "/api/state")[1]["motions"]
    assert [one["described"] for one in motions] == [[], ["it is walk"], []] and motions[2] == changed
    assert all(re.fullmatch(r"[\w-]{22}", one["id"]) for one in motions)


def test_the_queue_is_bounded_and_moves_up(client, maker):
    maker.go.clear()
    first = client.make("first")
    assert client.until(first, "running")["progress"] == 0.5
    second, third = client.make("second"), client.make("third")
    assert [client.ask("GET", f"/api/jobs/{job}")[1]["position"] for job in (first, second, third)] == [0, 1, 2]
    status, answer, _ = client.ask("POST", "/api/jobs", {"text": "fourth"})
    assert status == 429 and "2 requests are waiting" in answer["error"]
    assert [job["id"] for job in client.ask("GET", "/api/state")[1]["jobs"]] == [first, second, third]
    assert client.ask("DELETE", f"/api/jobs/{second}")[1]["state"] == "cancelled"
    assert client.ask("GET", f"/api/jobs/{third}")[1]["position"] == 1
    client.ask("DELETE", f"/api/jobs/{first}")  # it runs: it stops at its next code
    assert client.until(first)["state"] == "cancelled"
    maker.go.set()
    assert client.until(third)["state"] == "done"
    assert client.ask("DELETE", f"/api/jobs/{third}")[1]["state"] == "done"  # too late changes nothing
    assert [wish.sentences for wish in maker.calls] == [("first",), ("third",)]
    assert [one["text"] for one in client.ask("GET", "/api/state")[1]["motions"]] == ["third"]


def test_a_refusal_of_the_model_and_a_fault_of_the_program(client, capsys):
    refused = client.until(client.make("refused"))
    assert (refused["state"], refused["field"], refused["fault"]) == ("failed", "seconds", False)
    assert refused["error"] == "--seconds 15 is too much" and "Traceback" not in capsys.readouterr().err
    fault = client.until(client.make("fault"))
    assert (fault["state"], fault["fault"]) == ("failed", True) and "secret" not in json.dumps(fault)
    assert "KeyError: 'secret'" in capsys.readouterr().err
    assert client.until(client.make("walk"))["state"] == "done"  # the worker goes on


def test_a_fault_of_the_server_is_answered(client, maker, capsys):
    maker.facts = lambda: {}["secret"]
    status, answer, _ = client.ask("GET", "/api/state")
    assert status == 500 and "secret" not in answer["error"] and "KeyError" in capsys.readouterr().err


def test_the_oldest_motion_goes(client):
    ids = [client.motion(f"walk {number}") for number in range(4)]
    state = client.ask("GET", "/api/state")[1]
    assert [one["id"] for one in state["motions"]] == ids[1:]
    for path in (f"/api/motions/{ids[0]}", f"/api/motions/{ids[0]}/motion.npy"):
        status, answer, _ = client.ask("GET", path)
        assert status == 404 and "no longer kept" in answer["error"]
    assert client.ask("POST", "/api/jobs", {"text": "on", "task": "predict", "motion": ids[0]})[0] == 404


def test_eight_people_at_once(maker):
    with served(maker, waiting=8, motions=8) as (client, _), ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda i: client.until(client.make(f"walk {i}", seed=i)), range(8)))
        for i, record in enumerate(records):
            (motion,) = record["motions"]
            scene = client.ask("GET", f"/api/motions/{motion['id']}")[1]
            assert (motion["text"], scene["motions"][0]["joints"]["shape"][0]) == (f"walk {i}", 5 + i)
        assert {record["motions"][0]["number"] for record in records} == set(range(1, 9))


def test_finished_jobs_are_forgotten_in_time(client, monkeypatch):
    monkeypatch.setattr("motiongpt.studio.studio.KEPT_ORDERS", 2)
    jobs = []
    for _ in range(4):
        jobs.append(client.make())
        client.until(jobs[-1])
    assert [client.ask("GET", f"/api/jobs/{job}")[0] for job in jobs] == [404, 404, 200, 200]


# 5) Files.


def test_files_are_those_of_motion_save(client, tmp_path):
    name = client.motion("walk <b>", seed=2)
    expected = Motion(np.repeat(REST[None], 7, axis=0), 20.0, (1, 2), "walk <b>", HUMANML3D)
    for suffix in ("npy", "txt", "html"):
        status, content, headers = client.ask("GET", f"/api/motions/{name}/motion.{suffix}")
        (path,) = expected.save(tmp_path / f"motion.{suffix}")
        assert status == 200 and content == path.read_bytes()
        assert headers["Content-Disposition"] == f'attachment; filename="motion.{suffix}"'  # never shown in its place
    for suffix in ("exe", "json", "h5"):
        assert client.ask("GET", f"/api/motions/{name}/motion.{suffix}")[0] == 404


def test_a_motion_of_tokens_alone(client):
    name = client.motion("tokens")
    (record,) = client.ask("GET", "/api/state")[1]["motions"]
    assert record["formats"] == ["npz", "txt"] and client.ask("GET", f"/api/motions/{name}")[:2] == (200, None)
    assert client.ask("GET", f"/api/motions/{name}/motion.gif")[0] == 404


def test_a_file_is_written_once_and_its_refusal_said(client, monkeypatch):
    name, saved, go = client.motion(), [], threading.Event()
    save = Motion.save

    def slow_save(motion, path, **options):
        saved.append(path)
        go.wait(WAIT)
        if path.suffix == ".gif":
            raise ValueError(f"{path} is not written: no ink")
        return save(motion, path, **options)

    monkeypatch.setattr(Motion, "save", slow_save)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(client.ask, "GET", f"/api/motions/{name}/motion.npy") for _ in range(4)]
        while not saved:
            time.sleep(0.01)
        go.set()
        assert len({one.result()[1] for one in asked}) == 1
    assert client.ask("GET", f"/api/motions/{name}/motion.npy")[0] == 200 and len(saved) == 1
    for _ in range(2):  # asked for again, it is tried again
        status, answer, _ = client.ask("GET", f"/api/motions/{name}/motion.gif")
        assert status == 400 and answer["error"] == "motion.gif is not written: no ink"
    assert len(saved) == 3 and not any(path.parent.exists() for path in saved)


def test_files_in_memory_have_a_bound():
    motion = Motion(np.repeat(REST[None], 5, axis=0), 20.0, (1, 2), "walk", HUMANML3D)
    files = SavedFiles(waiting=2, most_bytes=3000)  # a file has 1448 bytes
    first = files.get(motion, "a", "npy")
    for name in ("b", "a", "c"):
        files.get(motion, name, "npy")
    assert list(files._kept) == [("a", "npy"), ("c", "npy")] and files.get(motion, "a", "npy") is first
    files.forget("a")
    assert list(files._kept) == [("c", "npy")]
    files.stop(WAIT)


# 6) Start and end.


def test_the_port_and_the_host():
    with StudioServer("localhost", 0) as server:
        port = server.server_address[1]
        with pytest.raises(ValueError, match=f"port {port} is in use.*--port 0"):
            StudioServer("127.0.0.1", port)
    for host in ("0.0.0.0", "", "192.168.0.7", "example.org", "::"):
        with pytest.raises(ValueError, match="no other|for this computer alone; .* ssh -L"):
            StudioServer(host, 0)
    for port in (-1, 65536):
        with pytest.raises(ValueError, match="0 to 65535"):
            StudioServer("127.0.0.1", port)


def test_it_ends_quickly_with_work_and_connections_open(maker):
    maker.go.clear()
    with served(maker) as (client, server):
        job = client.make()
        client.until(job, "running")
        waiting = client.make()
        idle = socket.create_connection(server.server_address[:2])
        start = time.monotonic()
        server.shutdown()
        server.studio.stop()
        server.server_close()
        assert time.monotonic() - start < 2  # the stub looks every 10 ms whether it is still wanted
        states = [server.studio.order(name).job.state for name in (job, waiting)]
        assert states == ["cancelled", "cancelled"]
        idle.close()


def test_connections_have_a_bound(maker, monkeypatch):
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 2)
    with served(maker) as (client, server):
        idle = [socket.create_connection(server.server_address[:2], timeout=WAIT) for _ in range(3)]
        assert idle[2].recv(1) == b""  # closed at once
        for connection in idle:
            connection.close()
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            try:
                assert client.ask("GET", "/api/state")[0] == 200
                break
            except (ConnectionError, http.client.RemoteDisconnected):
                time.sleep(0.01)  # the two places are not free yet
        else:
            raise AssertionError("closed connections keep their places")
