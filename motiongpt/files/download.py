"""Files that are not ours to ship: whether they are there, and how they come safely.

`check` looks through a table of what recipes need. `fetch` downloads one file: it goes on where it stopped, checks the
SHA-256, refuses a web page in place of a file (what a dead link or a login gives), and puts nothing in place before
all of it is right. `unpack` takes nothing out of an archive that leads out of its folder, links, or swells.
"""

import hashlib
import os
import shutil
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from motiongpt.files.store import read_json

BLOCK = 1 << 18
MAX_DOWNLOAD_BYTES = 1 << 36  # of a download, and of what an archive unpacks to
MAX_SWELL, ROOM = 200, 1 << 30  # an archive unpacks to at most ROOM + MAX_SWELL times its size; text shrinks 5 times
MAX_MEMBERS = 1_000_000
TIMEOUT = 30  # seconds without a byte
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<script", b"<?xml")

Progress = Callable[[int, int | None], None]  # bytes there, bytes in all where known


@dataclass(frozen=True)
class Asset:
    """One thing a recipe needs. `paths`: where it may lie, relative to the root."""

    name: str
    kind: str
    paths: tuple[str, ...]
    purpose: str
    licence: str
    recipes: tuple[str, ...]

    def find(self, root: Path) -> Path | None:
        return next((root / path for path in self.paths if (root / path).exists()), None)


def load_assets(table: Path, recipe: str | None = None) -> list[Asset]:
    """The assets of a recipe, or all, from a JSON list. Raises ValueError naming a bad entry or the known recipes."""
    names = set(Asset.__dataclass_fields__)
    assets = []
    for i, item in enumerate(read_json(table, list)):
        if not isinstance(item, dict) or set(item) != names:
            raise ValueError(f"{table}, entry {i}: expected an object with {', '.join(sorted(names))}")
        assets.append(Asset(**item | {key: tuple(item[key]) for key in ("paths", "recipes")}))
    known = sorted({name for asset in assets for name in asset.recipes})
    if recipe is not None and recipe not in known:
        raise ValueError(f"unknown recipe {recipe!r}; there are: {', '.join(known)}")
    return [asset for asset in assets if recipe is None or recipe in asset.recipes]


def is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def fetch(url: str, to: Path, sha256: str | None, progress: Progress = lambda done, total: None) -> str:
    """Download to the file `to` and return its SHA-256. An unfinished download stays as <to>.part and goes on from
    there; without a hash to check the result by it starts over.

    Raises FileExistsError, or ValueError in one line: the address, the server's answer, a web page, the hash.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{url[:80]} is no http or https address")
    if sha256 is not None and (len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef")):
        raise ValueError(f"--sha256 must be 64 hex digits, got {sha256[:80]!r}")
    if to.exists():
        raise FileExistsError(f"{to} exists already; delete it to fetch it again")
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(to.name + ".part")
    resumed = sha256 is not None and part.is_file() and part.stat().st_size > 0
    if not resumed:
        part.unlink(missing_ok=True)
    try:
        _download(url, part, progress)
    except (OSError, HTTPException) as error:
        raise ValueError(f"{url}: {error}; run the same command again") from error
    finally:
        if part.is_file() and not part.stat().st_size:
            part.unlink()
    if not part.is_file():
        raise ValueError(f"{url} gives nothing, a file of 0 bytes")
    found = _sha256(part)
    if sha256 is not None and found != sha256.lower():
        part.unlink()
        if resumed:  # the pieces may be of two versions of the file
            return fetch(url, to, sha256, progress)
        raise ValueError(f"{url} has SHA-256 {found}, expected {sha256.lower()}; nothing was kept")
    os.replace(part, to)
    return found


def _download(url: str, part: Path, progress: Progress) -> None:
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "motiongpt", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = _opener().open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # asked for what is past the end: it is whole, or another file
            return
        raise ValueError(f"{url}: the server answers {error.code} {error.reason}") from error
    with response:
        if start and (
            response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        ):
            start = 0  # the server sends the whole file again
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        if (total or 0) > min(MAX_DOWNLOAD_BYTES, shutil.disk_usage(part.parent).free + start):
            raise ValueError(f"{url} has {total} bytes, more than there is room for")
        with open(part, "r+b" if start else "wb") as file:
            file.seek(start)
            done = _copy_response(response, url, file, start, total, progress)
        if total is not None and done != total:
            raise ValueError(f"{url}: the download stopped at {done} of {total} bytes; run the same command again")


def _copy_response(
    response: HTTPResponse, url: str, file: BinaryIO, done: int, total: int | None, progress: Progress
) -> int:
    first = done == 0
    while block := response.read(BLOCK):
        if first and ("html" in response.headers.get_content_type() or block.lstrip()[:20].lower().startswith(_PAGES)):
            raise ValueError(f"{url} gives a web page, not a file: the link is dead or wants a login or a click")
        first = False
        done += len(block)
        if done > MAX_DOWNLOAD_BYTES:
            raise ValueError(f"{url} does not end within {MAX_DOWNLOAD_BYTES} bytes")
        file.write(block)
        progress(done, total)
    return done


def _opener() -> urllib.request.OpenerDirector:
    """http and https alone: the standard one would follow a redirect to ftp, and knows file and data."""
    opener = urllib.request.OpenerDirector()
    handlers = (urllib.request.ProxyHandler, urllib.request.UnknownHandler, urllib.request.HTTPHandler,
                urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler,
                urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor)  # fmt: skip
    for handler in handlers:
        opener.add_handler(handler())
    return opener


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def unpack_archive(archive: Path, folder: Path) -> int:
    """Unpack .zip, .tar or .tar.gz into a new folder; returns how many files. Raises FileExistsError where the folder
    holds something, or ValueError naming the member that is refused: then nothing is left behind."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists already; delete it or name another")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    limit = min(MAX_DOWNLOAD_BYTES, ROOM + MAX_SWELL * archive.stat().st_size)
    count, total = 0, 0
    try:
        temporary.mkdir(parents=True)
        for name, size, source in _members(archive):
            count, total = count + 1, total + size
            if total > limit or count > MAX_MEMBERS:
                raise ValueError(f"{archive}: unpacks to more than {limit} bytes or {MAX_MEMBERS} files")
            path = temporary / _safe(name, archive)
            path.parent.mkdir(parents=True, exist_ok=True)
            with source() as stream, open(path, "xb") as file:
                left = size
                while left and (block := stream.read(min(BLOCK, left))):
                    file.write(block)
                    left -= len(block)
                if left or stream.read(1):
                    raise ValueError(f"{archive}: {name[:80]} is not as long as it says")
        if folder.is_dir():
            folder.rmdir()  # Windows replaces no folder, not even an empty one
        os.replace(temporary, folder)
    except (zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError, RuntimeError, OSError) as error:
        raise ValueError(f"{archive} cannot be unpacked ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _safe(name: str, archive: Path) -> PurePosixPath:
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or "\\" in name or ".." in path.parts or not path.parts:
        raise ValueError(f"{archive}: the member {name[:80]!r} leads out of the folder")
    return path


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], BinaryIO]]]:
    """(name, size, opener) of every file; folders come of themselves. ValueError for links and devices."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as content:
            for info in content.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(f"{archive}: the member {info.filename[:80]!r} is a link or a device")
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda info=info: content.open(info)
        return
    with tarfile.open(archive, "r:*") as content:
        for info in content:
            if not info.isreg() and not info.isdir():
                raise ValueError(f"{archive}: the member {info.name[:80]!r} is a link or a device")
            if info.isreg():
                yield info.name, info.size, lambda info=info: content.extractfile(info)
