"""How large a file may become in memory: one cap for every reader of packed files.

The danger: a few MB that unpack to gigabytes. So a reader first asks `check_declared` whether what the file declares
fits, before it takes memory. A declaration may lie, so the bytes themselves are then read through `Capped`.

`MAX_UNPACKED_BYTES` bounds the memory that reading one file takes. Readers that turn the bytes into something larger,
such as JSON text into Python objects, say how many times the bytes count.
"""

import zipfile
from typing import BinaryIO

MAX_UNPACKED_BYTES = 1 << 30
MAX_GROWTH = 200  # what is unpacked piece by piece may grow so many times, on top of the cap
BLOCK_BYTES = 1 << 18  # read at a time


class TooLarge(ValueError):
    """A file claims or holds more bytes than are read."""


def largest(copies: int = 1) -> int:
    """The most bytes that may be unpacked, if each counts `copies` times."""
    return MAX_UNPACKED_BYTES // copies


def check_declared(size: int, what: str, copies: int = 1) -> None:
    """Raise TooLarge if `what` declares more bytes than may be unpacked. Sizes are Python ints, which do not overflow.

    `copies` says how many times the bytes are in memory at once.
    """
    if not 0 <= size <= largest(copies):
        raise TooLarge(f"{what} claims {size:,} bytes unpacked, at most {largest(copies):,} are read")


def check_packing(info: zipfile.ZipInfo, what: str) -> None:
    """Raise ValueError for a member of a zip that is packed with bzip2 or lzma: they unpack a block whole."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{what}: {info.filename[:80]!r} is not packed with deflate; zip it again")


class Capped:
    """A stream that raises TooLarge instead of giving more than `limit` bytes, the cap unless given."""

    def __init__(self, stream: BinaryIO, what: str, limit: int | None = None):
        self.stream = stream
        self.what = what
        self.limit = largest() if limit is None else limit
        self.left = self.limit

    def read(self, size: int = -1) -> bytes:
        # one byte more than is left shows that there is more; a larger request is never passed on
        wanted = self.left + 1 if size is None or size < 0 else min(size, self.left + 1)
        block = self.stream.read(wanted)
        self.left -= len(block)
        if self.left < 0:
            raise TooLarge(f"{self.what} unpacks to more than {self.limit:,} bytes, which is all that is read")
        return block

    def read_all(self) -> bytearray:
        """Everything, block by block: the stream never allocates for what it claims."""
        content = bytearray()
        while block := self.read(BLOCK_BYTES):
            content += block
        return content


def growth_limit(packed: int) -> int:
    """How many bytes `packed` bytes may become if they are unpacked piece by piece, such as an archive on the disk."""
    return MAX_UNPACKED_BYTES + MAX_GROWTH * packed
