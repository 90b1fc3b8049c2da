"""Which files of a folder are somebody's data, and which an operating system put there.

An archive made on a Mac unpacks into `._walk.bvh` beside `walk.bvh`, and a folder `__MACOSX/` with more of them; a file
browser leaves `.DS_Store`. They have the suffixes of clips and hold none. Whatever lists a folder of somebody's files
lists it through `visible`.
"""

from collections.abc import Iterable
from pathlib import Path

ARCHIVE_FOLDER = "__MACOSX"
SYSTEM_NAMES = (".DS_Store", ".localized", "Thumbs.db", "desktop.ini", ARCHIVE_FOLDER)


def visible(paths: Iterable[Path], root: Path) -> list[Path]:
    """The paths below `root`, sorted, without names that begin with a dot and without what lies in `__MACOSX/`.

    Only names below `root` count: the folder itself may lie in `~/.cache`.
    """
    return sorted(path for path in paths if not any(map(_is_hidden, path.relative_to(root).parts)))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == ARCHIVE_FOLDER


def is_free(folder: Path) -> bool:
    """Whether `folder` is absent, or a folder with nothing in it but what an operating system puts there.

    Then a new folder may take its place. Other hidden files, such as .git, are somebody's.
    """
    return not folder.exists() or (folder.is_dir() and all(map(_is_of_system, folder.iterdir())))


def _is_of_system(path: Path) -> bool:
    return path.name in SYSTEM_NAMES or path.name.startswith("._")
