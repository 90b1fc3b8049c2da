"""Short hashes that tell files, arrays and data sets apart: the same on every machine and in every run.

They guard against mixing: tokens of one tokenizer with the weights of another, an adapter with the wrong base. They
are no protection against a file made to collide.
"""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from motiongpt.files.fields import get_field

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


# What a JSON file remembers about the files beside it, so that damage shows: {"hashes": {NAME: HASH}}.

HASHES = "hashes"
SETTLED_SECONDS = 2.0
PLACES = ("base_model_name_or_path",)  # keys that people change when they move a folder
_PLAIN = {int, str, bool}  # what is as it is

Version = tuple[Path, int, int]  # path, bytes, time of the last change in nanoseconds
_NOTED: dict[Version, str] = {}  # hashes of files that were hashed while they were read
_STAMPED: set[int] = set()  # times of change that `stamp` gave


@lru_cache(maxsize=256)
def _hash_of_version(path: Path, size: int, changed: int) -> str:
    if path.suffix != ".json":
        return file_hash(path)
    try:
        return values_hash(json.loads(path.read_bytes()))
    except (ValueError, RecursionError):  # not JSON: its reader says so
        return file_hash(path)


def known_hash(path: Path) -> str:
    """The hash of a file, computed once per version of it: gigabytes are asked for several times.

    Size and modification time reveal a replaced file, unless it was written a moment ago by others than
    `write_tensors`: clocks of files are coarse. JSON is hashed by `values_hash`: other line ends or indentation
    change nothing.
    """
    version = file_version(path)
    if version in _NOTED:
        return _NOTED[version]
    return _hash_of_version(*version) if _is_settled(version) else _hash_of_version.__wrapped__(*version)


def file_version(path: Path) -> Version:
    """What changes if a file is replaced: its size and the time of its last change, beside the path."""
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


def note_hash(version: Version, value: str) -> None:
    """Remember the `file_hash` of a file that was read as this version, unless the file has changed since."""
    if _is_settled(version) and file_version(version[0]) == version:
        _NOTED[version] = value


def stamp(path: Path) -> None:
    """Give a file that was just written a time of change that no later write can have.

    The clock of files ticks every few milliseconds, so a change within the same tick would not show. This time lies a
    random number of microseconds before now, between the ticks. A file system that rounds it gets none.
    """
    ticks = time.time_ns() // 100 - int.from_bytes(os.urandom(2), "little")  # of 100 nanoseconds, as NTFS has them
    changed = ticks * 100
    with suppress(OSError):
        os.utime(path, ns=(changed, changed))
        if path.stat().st_mtime_ns == changed:
            _STAMPED.add(changed)


def _is_settled(version: Version) -> bool:
    """Whether a later change of the file would show in its version."""
    return version[2] in _STAMPED or time.time() - version[2] / 1e9 >= SETTLED_SECONDS


def values_hash(values: Any) -> str:
    """The hash of JSON values, whatever the order of keys and the spelling of whole numbers, without `PLACES`."""
    return short_hash([json.dumps(_canonical(values), sort_keys=True).encode()])


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items() if key not in PLACES}
    if isinstance(value, list | tuple):
        # prompts.json is 100,000 numbers in lists: one look at all types is ten times faster than a call for each
        return value if set(map(type, value)) <= _PLAIN else [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value  # 20.0 and 20 are one number


def file_hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Name -> hash of those `names` that are in `folder`: what `check_hashes` compares with."""
    return {name: known_hash(folder / name) for name in names if (folder / name).is_file()}


def hashes_in(content: dict, source: Path) -> dict[str, str]:
    """The hashes that a JSON file remembers; none in files of older versions. ValueError if they are malformed."""
    known = get_field(content, HASHES, dict, source, {})
    for name in known:
        get_field(known, name, str, f"{source}: {HASHES}")
    return known


def check_hashes(folder: Path, content: dict, names: Iterable[str], source: Path) -> None:
    """ValueError for the first of `names` whose bytes are not those that `source`, with this content, remembers."""
    known = hashes_in(content, source)
    for name in names:
        if name in known and known_hash(folder / name) != known[name]:
            raise ValueError(
                f"{folder / name} is damaged or replaced: {source.name} knows it as {known[name]}, it is "
                f"{known_hash(folder / name)}; copy it again (or, if it was replaced on purpose, remove its line from "
                f"{HASHES} in {source})"
            )


def check_values(values: dict, content: dict, name: str, source: Path) -> None:
    """ValueError if the object `values` is not the one whose hash `source` remembers under `name`."""
    known = hashes_in(content, source)
    if name in known and values_hash(values) != known[name]:
        raise ValueError(
            f"{source}: {name} is not what was written there; undo the change (or, if it was made on purpose, remove "
            f"{name} from {HASHES} in that file)"
        )
