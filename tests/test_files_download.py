"""Downloads from a web server of our own: whole, resumed or refused; hostile archives; the table of assets."""

import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from cases import for_each
from mutations import mutations

from motiongpt.cli.assets import load_assets
from motiongpt.files.archives import unpack_archive
from motiongpt.files.download import fetch
from motiongpt.files.limits import MAX_GROWTH
from motiongpt.stages.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[1]
DATA = np.random.default_rng(0).bytes(1_000_000)
HASH = hashlib.sha256(DATA).hexdigest()
PAGE = b"  <!DOCTYPE html><html><body>Google Drive - Virus scan warning</body></html>"


class Server(ThreadingHTTPServer):
    """Answers by path; `asked` are the Range headers seen."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.files = [], {}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_args):
        return

    def answer(self, code: int, body: bytes, length: int | None = None, kind="application/octet-stream", **headers):
        self.send_response(code)
        headers |= {"Content-Type": kind} | ({} if length == -1 else {"Content-Length": str(length or len(body))})
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path, wanted = self.path.lstrip("/"), self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted else 0
        if path == "good" and start >= len(DATA):
            self.answer(416, b"")
        elif path == "good" and wanted:
            self.answer(206, DATA[start:], Content_Range=f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        elif path in ("good", "norange"):
            self.answer(200, DATA)
        elif path == "short":
            self.answer(200, DATA[:500_000], len(DATA))
        elif path == "nolength":
            self.answer(200, DATA, -1)
        elif path == "page":
            self.answer(200, PAGE, kind="text/html; charset=utf-8")
        elif path == "liar":
            self.answer(200, PAGE)
        elif path == "empty":
            self.answer(200, b"", -1)
        elif path == "moved":
            self.answer(302, b"", Location=self.server.url("good"))
        elif path == "local":
            self.answer(302, b"", Location="file:///etc/hostname")
        elif path == "ftp":
            self.answer(302, b"", Location="ftp://127.0.0.1/x")
        elif path == "loop":
            self.answer(302, b"", Location="/loop")
        elif path == "huge":
            self.answer(200, b"x", 1 << 50)
        elif path in self.server.files:
            self.answer(200, self.server.files[path])
        else:
            self.answer(404, b"gone")


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


# 1) Downloads.


@pytest.mark.parametrize("path", ["good", "nolength", "moved"])
@pytest.mark.parametrize("sha256", [HASH, HASH.upper(), None])
def test_a_file_comes_whole(tmp_path, server, path, sha256):
    seen = []
    found = fetch(server.url(path), tmp_path / "deep" / "x.bin", sha256, lambda *at: seen.append(at))
    assert found == HASH and (tmp_path / "deep" / "x.bin").read_bytes() == DATA
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.bin"]
    assert seen[-1] == (len(DATA), None if path == "nolength" else len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen) and len(seen) > 1


def test_it_goes_on_where_it_stopped(tmp_path, server):
    to = tmp_path / "x.bin"
    with pytest.raises(ValueError, match="stopped at 500000 of 1000000 bytes|same command again"):
        fetch(server.url("short"), to, HASH)
    assert not to.exists() and (tmp_path / "x.bin.part").stat().st_size == 500_000
    fetch(server.url("good"), to, HASH)
    assert to.read_bytes() == DATA and server.asked == [None, "bytes=500000-"]


def test_a_whole_part_is_taken(tmp_path, server):
    (tmp_path / "x.bin.part").write_bytes(DATA)
    fetch(server.url("good"), tmp_path / "x.bin", HASH)
    assert (tmp_path / "x.bin").read_bytes() == DATA


def test_a_server_without_ranges_sends_it_anew(tmp_path, server):
    (tmp_path / "x.bin.part").write_bytes(b"something else" * 100_000)  # longer than the file: must be cut
    fetch(server.url("norange"), tmp_path / "x.bin", HASH)
    assert (tmp_path / "x.bin").read_bytes() == DATA


def test_a_part_of_another_file_starts_over(tmp_path, server):
    (tmp_path / "x.bin.part").write_bytes(b"z" * 1000)
    fetch(server.url("good"), tmp_path / "x.bin", HASH)
    assert (tmp_path / "x.bin").read_bytes() == DATA and server.asked == ["bytes=1000-", None]


def test_without_a_hash_nothing_is_pieced_together(tmp_path, server):
    (tmp_path / "x.bin.part").write_bytes(b"z" * 1000)
    assert fetch(server.url("good"), tmp_path / "x.bin", None) == HASH and server.asked == [None]


@pytest.mark.parametrize(
    "path, message",
    [
        ("page", "gives a web page"), ("liar", "gives a web page"), ("gone", "answers 404"), ("empty", "0 bytes"),
        ("local", "not allowed|unknown|http"), ("ftp", "unknown|ftp"), ("loop", "infinite loop|redirect"),
        ("huge", "more than there is room"),
    ],
)  # fmt: skip
def test_what_is_no_file_is_refused(tmp_path, server, path, message):
    with pytest.raises(ValueError, match=message) as error:
        fetch(server.url(path), tmp_path / "x.bin", HASH)
    assert "\n" not in str(error.value).splitlines()[0]
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_hash_keeps_nothing(tmp_path, server):
    with pytest.raises(ValueError, match=f"has SHA-256 {HASH}, expected 0000"):
        fetch(server.url("good"), tmp_path / "x.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments(tmp_path, server):
    for url in ("file:///etc/hostname", "ftp://x/y", "/etc/hostname", "data:,x"):
        with pytest.raises(ValueError, match="no http or https address"):
            fetch(url, tmp_path / "x", None)
    with pytest.raises(ValueError, match="64 hex digits"):
        fetch(server.url("good"), tmp_path / "x", "abc")
    (tmp_path / "x").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="exists already"):
        fetch(server.url("good"), tmp_path / "x", None)
    with pytest.raises(ValueError, match="same command again"):
        fetch("http://127.0.0.1:9/x", tmp_path / "y", None)
    assert (tmp_path / "x").read_bytes() == b"mine" and server.asked == []


# 2) Archives.


def make_zip(path: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        if link:
            info = zipfile.ZipInfo("link")
            info.external_attr = 0o120777 << 16
            archive.writestr(info, link)
    return path


def make_tar(path: Path, members: dict[str, bytes], **extra) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        if extra:
            info = tarfile.TarInfo("link")
            for key, value in extra.items():
                setattr(info, key, value)
            archive.addfile(info)
    return path


MAKERS = [("a.zip", make_zip), ("a.tar", make_tar), ("a.tar.gz", make_tar), ("a.tgz", make_tar)]


@for_each("name, make", MAKERS)
def test_archives_unpack(tmp_path, name, make):
    archive = make(tmp_path / name, {"a.txt": b"one", "deep/b.npy": DATA, "empty": b""})
    assert unpack_archive(archive, tmp_path / "out") == 3
    assert (tmp_path / "out" / "deep" / "b.npy").read_bytes() == DATA
    with pytest.raises(FileExistsError):
        unpack_archive(archive, tmp_path / "out")


@for_each("name, make", MAKERS)
@for_each("member", ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "C:/out.txt", "a\\..\\out.txt"])
def test_members_that_lead_out_are_refused(tmp_path, name, make, member):
    archive = make(tmp_path / name, {"fine.txt": b"x", member: b"HACKED"})
    with pytest.raises(ValueError, match="leads out of the folder"):
        unpack_archive(archive, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == [name]


@for_each("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = make_tar(tmp_path / "a.tar", {"a": b"x"}, type=kind, linkname="/etc/passwd")
    with pytest.raises(ValueError, match="link or a device"):
        unpack_archive(archive, tmp_path / "out")
    with pytest.raises(ValueError, match="link or a device"):
        unpack_archive(make_zip(tmp_path / "a.zip", {"a": b"x"}, link="/etc/passwd"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("motiongpt.files.limits.MAX_UNPACKED_BYTES", 1000)
    for name, make in MAKERS[:1] + MAKERS[2:]:
        archive = make(tmp_path / name, {f"{i}": bytes(10**6) for i in range(20)})
        assert archive.stat().st_size * MAX_GROWTH + 1000 < 20 * 10**6 < 1 << 30  # the case is one
        with pytest.raises(ValueError, match="unpacks to more than"):
            unpack_archive(archive, tmp_path / "out")
    monkeypatch.setattr("motiongpt.files.archives.MAX_MEMBERS", 3)
    with pytest.raises(ValueError, match="or 3 files"):
        unpack_archive(make_tar(tmp_path / "b.tar", {str(i): b"" for i in range(4)}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name, make", MAKERS)
def test_mutated_archives_are_unpacked_or_refused(tmp_path, name, make):
    archive = make(tmp_path / name, {"a.txt": b"one" * 50, "deep/b": DATA[:300]})
    for i, data in enumerate(mutations(archive.read_bytes())):
        archive.write_bytes(data)
        try:
            unpack_archive(archive, tmp_path / f"out{i}")
        except ValueError:
            assert not (tmp_path / f"out{i}").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


# 3) The table and the command.


def test_the_table_has_every_recipe_and_leads_nowhere_else():
    assets = load_assets(ROOT / "scripts" / "assets.json")
    assert set(RECIPES) <= {name for asset in assets for name in asset.recipes}
    assert {a.kind for a in load_assets(ROOT / "scripts" / "assets.json", "humanml3d")} == {
        "dataset", "mean/std", "VQ-VAE", "evaluator", "GloVe", "body model"
    }  # fmt: skip
    for asset in assets:
        assert asset.paths and asset.purpose and asset.licence
        assert not any(Path(path).is_absolute() or ".." in Path(path).parts for path in asset.paths)
    with pytest.raises(ValueError, match="unknown recipe 'x'; there are: captions, demo"):
        load_assets(ROOT / "scripts" / "assets.json", "x")


def test_the_table_names_the_places_of_the_pages():
    """What the commands of docs/DATA.md and docs/EVALUATION.md read from elsewhere lies where the table says."""
    assets = load_assets(ROOT / "scripts" / "assets.json")
    places = [path for asset in assets for path in asset.paths]
    text = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("DATA.md", "EVALUATION.md"))
    flags = "evaluator|glove|movement|smplx-dir|index|evaluator-stats"
    named = set(re.findall(rf"--(?:{flags}) ([\w./-]+)", "\n".join(re.findall(r"^python .*|^    --.*", text, re.M))))
    ours = {name for name in named if name.startswith("outputs/")}
    assert {"checkpoints/t2m", "glove", "body_models", "index.csv"} <= named
    for name in named - ours:
        assert any(path == name or path.startswith(f"{name}/") for path in places), name


def test_every_recipe_of_published_data_has_all_it_is_measured_with():
    for recipe in ("humanml3d", "kit-ml", "zhang"):
        assets = load_assets(ROOT / "scripts" / "assets.json", recipe)
        kinds = [asset.kind for asset in assets]
        assert {"evaluator", "GloVe", "VQ-VAE", "dataset"} <= set(kinds)
        evaluators = [asset.name for asset in assets if asset.name.startswith("evaluator, ")]
        pairs = {asset.name for asset in assets if asset.kind == "mean/std"}
        for name in evaluators:  # each has a pair of its own, not that of the data
            assert f"evaluator mean and deviation, {name.partition(', ')[2]}" in pairs
    flags = {"evaluator": "--", "GloVe": "--glove", "body model": None}
    for asset in load_assets(ROOT / "scripts" / "assets.json"):
        assert flags.get(asset.kind) is None or flags[asset.kind] in asset.purpose, asset.name


def test_a_bad_table_is_named(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps([{"name": "x"}]))
    with pytest.raises(ValueError, match="t.json, entry 0: expected an object with kind"):
        load_assets(tmp_path / "t.json")


def test_the_command_says_what_is_there(script, tmp_path):
    done = script("assets", "--recipe", "demo", "--root", ROOT)
    assert done.code == 0 and done.out.count("found  ") == 2 and "all there" in done.out
    (tmp_path / "HumanML3D").mkdir()
    done = script("assets", "--recipe", "humanml3d", "--root", tmp_path)
    assert (
        f"found    dataset     HumanML3D: 14,616 captioned motions, 263 features, 20 fps\n         {tmp_path}"
        in done.out
    )
    assert "missing  body model  SMPL-H" in done.out and "https://mano.is.tue.mpg.de/license.html" in done.out


def test_the_command_fetches_and_unpacks(script, server, tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"m/x.txt": b"x"})
    server.files["a.zip"] = archive.read_bytes()
    sha256 = hashlib.sha256(server.files["a.zip"]).hexdigest()
    done = script("assets", "--fetch", server.url("a.zip"), "--to", tmp_path / "model", "--sha256", sha256)
    assert done.code == 0 and "1 files" in done.out and (tmp_path / "model" / "m" / "x.txt").read_bytes() == b"x"
    done = script("assets", "--fetch", server.url("a.zip"), "--to", tmp_path / "kept.zip", "--sha256", sha256)
    assert done.code == 0 and (tmp_path / "kept.zip").read_bytes() == server.files["a.zip"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "kept.zip", "model"]
    done = script("assets", "--fetch", server.url("page"), "--to", tmp_path / "x.pth")
    assert done.code == 2 and done.err.count("\n") == 1 and "web page" in done.err
    for arguments in (["--fetch", server.url("good")], ["--to", "x"], ["--sha256", HASH]):
        done = script("assets", *arguments)
        assert done.code == 2 and done.err.count("\n") == 1
