"""Unpack .zip and .tar archives from the web.

The dangers are a member that leads out of the folder, a link that does so later, and a small
archive that fills the disk or the memory. Such an archive is refused, and nothing of it stays; a
good one appears as a whole folder.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from motiongpt.files.limits import BLOCK_BYTES, TooLarge, check_packing, growth_limit
from motiongpt.files.listing import is_free
from motiongpt.files.store import new_folder

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_DISK_BYTES = 1 << 36  # whatever the archive's size
MAX_MEMBERS = 1_000_000
MAX_NAME_BYTES = 1 << 16  # of a name or of the other facts about a member, which tarfile reads into memory whole
_NAME_TYPES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
               tarfile.SOLARIS_XHDTYPE)  # fmt: skip


def is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def unpack_archive(archive: Path, folder: Path) -> int:
    """Unpack .zip, .tar or .tar.gz into a new folder; returns how many files.

    Raises FileExistsError if the folder holds something, ValueError naming the member that is
    refused. Then nothing is left behind.
    """
    if not is_free(folder):
        raise FileExistsError(f"{folder} exists already; delete it or name another")
    # a small archive that fills the disk is refused before it does
    limit = min(MAX_DISK_BYTES, growth_limit(archive.stat().st_size))
    count = 0
    total = 0
    try:
        with new_folder(folder) as temporary:
            for name, size, source in _members(archive):
                count += 1
                total += size
                if total > limit or count > MAX_MEMBERS:
                    raise ValueError(f"{archive}: unpacks to more than {limit} bytes or {MAX_MEMBERS} files")
                path = temporary / _inner_path(name, archive)
                path.parent.mkdir(parents=True, exist_ok=True)
                # x: a second member of one name is an error and overwrites nothing
                with source() as stream, open(path, "xb") as file:
                    _copy_exactly(stream, file, size, f"{archive}: {name[:80]}")
    except TooLarge as error:
        raise TooLarge(f"{archive}: {error}") from error
    except (zipfile.BadZipFile, zlib.error, tarfile.TarError, EOFError, RuntimeError, OSError) as error:
        raise ValueError(f"{archive} cannot be unpacked ({error})") from error
    return count


def _copy_exactly(stream: BinaryIO, file: BinaryIO, size: int, what: str) -> None:
    """Copy a member that claims `size` bytes; ValueError if it has fewer or more:
    the limit counted what it claims."""
    left = size
    while left and (block := stream.read(min(BLOCK_BYTES, left))):
        file.write(block)
        left -= len(block)
    if left or stream.read(1):
        raise ValueError(f"{what} is not as long as it says")


def _inner_path(name: str, archive: Path) -> PurePosixPath:
    """A member's path below the folder; ValueError for one that leads out, on any system."""
    # both readings, because the archive may come from another system
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    absolute = path.is_absolute() or windows.drive or windows.root
    if absolute or "\\" in name or ".." in path.parts or not path.parts:
        raise ValueError(f"{archive}: the member {name[:80]!r} leads out of the folder")
    return path


class _Member(tarfile.TarInfo):
    """A member whose name is of a plausible size."""

    @classmethod
    def frombuf(cls, *args, **kwargs):
        info = super().frombuf(*args, **kwargs)
        if info.type in _NAME_TYPES and info.size > MAX_NAME_BYTES:
            raise TooLarge(f"a member's name claims {info.size:,} bytes, at most {MAX_NAME_BYTES:,} are read")
        return info


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], BinaryIO]]]:
    """(name, size, opener) of every file; folders are made for the files in them.
    ValueError for links and devices."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as content:
            for info in content.infolist():
                # the upper 16 bits are the Unix mode, 0 if the archive comes from another system
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ValueError(f"{archive}: the member {info.filename[:80]!r} is a link or a device")
                check_packing(info, str(archive))
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda info=info: content.open(info)
        return
    with tarfile.open(archive, "r:*", tarinfo=_Member) as content:
        for info in content:
            if not info.isreg() and not info.isdir():
                raise ValueError(f"{archive}: the member {info.name[:80]!r} is a link or a device")
            content.members.clear()  # tarfile would keep all that it has seen
            if info.isreg():
                yield info.name, info.size, lambda info=info: content.extractfile(info)
