"""Download one file over http or https.

The dangers are half a file, the wrong file, and a web page in place of a file (from a dead link or
a login). A download resumes where it stopped, its SHA-256 is checked, and nothing is put in place
before all of that is right.
"""

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 1 << 18  # read at a time
MAX_DOWNLOAD_BYTES = 1 << 36
TIMEOUT = 30  # seconds without a byte
PAGE_STARTS = (b"<!doctype html", b"<html", b"<head", b"<script", b"<?xml")

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far and the total, which is None if unknown."""


def fetch(url: str, to: Path, sha256: str | None, progress: Progress = lambda done, total: None) -> str:
    """Download to the file `to` and return its SHA-256.

    An unfinished download stays as <to>.part and resumes from there. Without a hash to check the
    result it starts over: the server's file may be another one by then.

    Raises FileExistsError, or ValueError in one line:
    the address, the server's answer, a web page, the hash.
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
        # an empty part is nothing to resume from
        if part.is_file() and not part.stat().st_size:
            part.unlink()
    if not part.is_file():
        raise ValueError(f"{url} gives nothing, a file of 0 bytes")
    # of the whole file, the resumed part included
    found = file_sha256(part)
    if sha256 is not None and found != sha256.lower():
        part.unlink()
        if resumed:  # the pieces may be from two versions of the file
            return fetch(url, to, sha256, progress)
        raise ValueError(f"{url} has SHA-256 {found}, expected {sha256.lower()}; nothing was kept")
    os.replace(part, to)
    return found


def _download(url: str, part: Path, progress: Progress) -> None:
    """Append to `part` what it lacks."""
    start = part.stat().st_size if part.is_file() else 0
    # identity: the bytes of a compressed answer cannot be continued or counted
    request = urllib.request.Request(url, headers={"User-Agent": "motiongpt", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = _opener().open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # we asked for what is past the end: the file is whole, or another one
            return
        raise ValueError(f"{url}: the server answers {error.code} {error.reason}") from error
    with response:
        continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if start and not continues:
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
    """Append the response to the `done` bytes already there; returns the new number of bytes."""
    # a resumed file had its first bytes checked when it began
    first = done == 0
    while block := response.read(BLOCK_BYTES):
        if first and _is_page(response, block):
            raise ValueError(f"{url} gives a web page, not a file: the link is dead or wants a login or a click")
        first = False
        done += len(block)
        if done > MAX_DOWNLOAD_BYTES:
            raise ValueError(f"{url} does not end within {MAX_DOWNLOAD_BYTES} bytes")
        file.write(block)
        progress(done, total)
    return done


def _is_page(response: HTTPResponse, block: bytes) -> bool:
    """Whether a response is a web page, by its type or by its first bytes:
    some servers lie about the type."""
    return "html" in response.headers.get_content_type() or block.lstrip()[:20].lower().startswith(PAGE_STARTS)


def _opener() -> urllib.request.OpenerDirector:
    """http and https alone: the standard opener would follow a redirect to ftp, and knows file:
    and data:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
