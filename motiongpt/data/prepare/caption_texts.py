"""HumanML3D's captions as they are published: texts.zip, or the folder it unpacks to, with one ID.txt for each clip."""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from motiongpt.data.texts import Caption, parse_caption_lines
from motiongpt.files.limits import Capped, check_declared, check_packing
from motiongpt.files.listing import visible

MAX_TEXTS = 1_000_000
MAX_TEXT_BYTES = 1 << 20  # of one clip


@dataclass(frozen=True)
class CaptionTexts:
    """The text files of many clips, by clip id."""

    path: Path
    texts: dict[str, bytes]

    def captions(self, clip: str) -> list[Caption]:
        """The captions of a clip, none if it has no text. Raises ValueError naming archive, clip and line."""
        place = f"{self.path}: {clip}.txt"
        try:
            text = self.texts.get(clip, b"").decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{place} is not UTF-8 text ({error})") from error
        return parse_caption_lines(text, place)


def read_caption_texts(path: Path) -> CaptionTexts:
    """All ID.txt files of a .zip archive, or of a folder (of its texts/, if it has that), wherever in it they are.

    Hidden files, and those that a Mac adds, are passed over. Raises FileNotFoundError, or ValueError naming the archive
    and the member at fault.
    """
    if not path.exists():
        raise FileNotFoundError(f"--texts {path} does not exist")
    texts: dict[str, bytes] = {}
    try:
        for name, content in _folder(path) if path.is_dir() else _archive(path):
            if name.stem in texts:
                raise ValueError(f"--texts {path}: two files of the name {name.name[:80]}")
            texts[name.stem] = content
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ValueError(f"--texts {path} cannot be read ({error}); expected texts.zip or a folder") from error
    if not texts:
        raise ValueError(f"--texts {path} holds no .txt file; expected HumanML3D's texts.zip, or its folder texts/")
    return CaptionTexts(path, texts)


def _folder(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    path = path / "texts" if (path / "texts").is_dir() else path  # of a whole download, whose splits are .txt, too
    for file in visible(path.rglob("*"), path):
        if file.suffix.lower() == ".txt" and file.is_file():
            with open(file, "rb") as stream:
                yield PurePosixPath(file.name), bytes(Capped(stream, f"--texts {file}", MAX_TEXT_BYTES).read_all())


def _archive(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(path) as archive:
        infos = {PurePosixPath(info.filename): info for info in archive.infolist() if not info.is_dir()}
        if len(infos) > MAX_TEXTS:
            raise ValueError(f"--texts {path}: {len(infos)} files, at most {MAX_TEXTS} are read")
        names = [name for name in visible(infos, PurePosixPath()) if name.suffix.lower() == ".txt"]
        check_declared(sum(infos[name].file_size for name in names), f"--texts {path}")
        for name in names:
            info = infos[name]
            check_packing(info, f"--texts {path}")
            with archive.open(info) as stream:
                content = Capped(stream, f"--texts {path}: {name.name[:80]}", MAX_TEXT_BYTES).read_all()
            yield name, bytes(content)
