"""Short hashes that tell files, arrays and data sets apart: the same on every machine and in every run.

They guard against mixing: tokens of one tokenizer with the weights of another, an adapter with the wrong base. They
are no protection against a file made to collide.
"""

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

READ_BYTES = 1 << 20


def short_hash(parts: Iterable[bytes]) -> str:
    """First 16 hex digits of the SHA-256 of all parts in a row."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def file_hash(path: Path | str) -> str:
    """`short_hash` of a file's bytes."""
    with open(path, "rb") as file:
        return short_hash(iter(lambda: file.read(READ_BYTES), b""))


def split_by_hash(key: str) -> str:
    """train, val or test, 90/5/5 by the hash of a clip's key: a clip keeps its split if others come or go."""
    bucket = zlib.crc32(f"split {key}".encode()) % 20
    return {18: "val", 19: "test"}.get(bucket, "train")
