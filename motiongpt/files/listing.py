"""Which files of a folder are somebody's data, and which an operating system put there.

An archive made on a Mac unpacks into `._walk.bvh` beside `walk.bvh`, and a folder `__MACOSX/` with more of them; a file
browser leaves `.DS_Store`. They have the suffixes of clips and hold none. Whatever lists a folder of somebody's files
lists it through `visible`.
"""

from collections.abc import Iterable
from pathlib import Path

ARCHIVE_FOLDER = "__MACOSX"


def visible(paths: Iterable[Path], root: Path) -> list[Path]:
    """The paths below `root`, sorted, without names that begin with a dot and without what lies in `__MACOSX/`.

    Only names below `root` count: the folder itself may lie in `~/.cache`.
    """
    return sorted(path for path in paths if not any(map(_is_hidden, path.relative_to(root).parts)))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == ARCHIVE_FOLDER
