"""Short hashes that tell files, arrays and data sets apart: the same on every machine and in every run."""

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path


def short_hash(parts: Iterable[bytes]) -> str:
    """First 16 hex digits of the SHA-256 of all parts in a row: enough to tell two tokenizers or data sets apart."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def file_hash(path: Path | str) -> str:
    """`short_hash` of a file's bytes."""
    with open(path, "rb") as file:
        return short_hash(iter(lambda: file.read(1 << 20), b""))


def split_by_hash(key: str) -> str:
    """train, val or test, 90/5/5 by the hash of a clip's key: a clip keeps its split when others come or go."""
    bucket = zlib.crc32(f"split {key}".encode()) % 20
    return "val" if bucket == 18 else "test" if bucket == 19 else "train"
