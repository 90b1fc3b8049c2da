"""Captions that somebody wrote beside the motions: a CSV or JSON file with id, caption, participant and split.

CSV: a header line with `id` and `caption`, and `participant` and `split` where known; several lines of one id are
several captions; `,`, `;` or tabs between them. JSON: a list of such objects, or an object {id: caption, list of
captions, or such an object}, or {"captions": either}. Names of columns and keys in any case; a caption may be called
`captions`, `text` or `text_query`, too.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motiongpt.data.motions import SPLITS
from motiongpt.data.texts import Caption
from motiongpt.files.store import read_json

CAPTION = ("caption", "captions", "text", "text_query")


@dataclass
class CaptionRow:
    """What the table says of one clip."""

    captions: list[Caption] = field(default_factory=list)
    participant: str | None = None
    split: str | None = None


def read_captions(path: Path) -> dict[str, CaptionRow]:
    """Clip id -> row. Raises FileNotFoundError, or ValueError naming the file and the line or entry at fault."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"--captions {path}: expected a .csv or .json file")
    if not path.is_file():
        raise FileNotFoundError(f"--captions {path} does not exist")
    table: dict[str, CaptionRow] = {}
    for place, entry in _entries(path):
        name = str(entry.get("id") or "").strip()
        if not name:
            raise ValueError(f"{path}, {place}: no id")
        row = table.setdefault(name, CaptionRow())
        texts = next((entry[key] for key in CAPTION if key in entry), [])
        unknown = sorted(entry.keys() - {"id", "participant", "split"})
        if unknown and not entry.keys() & set(CAPTION):
            raise ValueError(f"{path}, {place}: no caption, but {', '.join(unknown):.200}; call the text caption")
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str):
                raise ValueError(f"{path}, {place}: a caption is a text, got {text!r:.60}")
            row.captions += [Caption(" ".join(text.split()))] if text.strip() else []
        for key in ("participant", "split"):
            value = str(entry.get(key) or "").strip() or None
            if value and getattr(row, key) not in (None, value):
                raise ValueError(f"{path}, {place}: {name} has {key} {value} here and {getattr(row, key)} before")
            setattr(row, key, value or getattr(row, key))
        if row.split not in (None, *SPLITS):
            raise ValueError(f"{path}, {place}: split must be one of {', '.join(SPLITS)}, got {row.split!r:.40}")
    if not table:
        raise ValueError(f"{path} holds no captions")
    return table


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(where, object with `id`) of every line or entry; keys in lower case."""
    is_csv, content = path.suffix.lower() == ".csv", path.read_bytes()
    is_utf16 = is_csv and content[:2] in (b"\xff\xfe", b"\xfe\xff")  # what Excel calls Unicode text
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8; save it as UTF-8") from error
    try:
        rows = list(_lines(path, text)) if is_csv else [(f"entry {i}", row) for i, row in enumerate(_objects(path))]
    except csv.Error as error:
        raise ValueError(f"{path}: {error}") from error
    return [(place, {str(key).strip().lower(): value for key, value in row.items()}) for place, row in rows]


def _lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    header = next(iter(text.splitlines()), "")
    mark, name = max(((",", "comma"), (";", "semicolon"), ("\t", "tab")), key=lambda pair: header.count(pair[0]))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
    found = [column.strip().lower() for column in reader.fieldnames or ()]
    if "id" not in found or not set(CAPTION) & set(found):
        raise ValueError(f"{path}: the first line must name the columns id and caption, it has "
                         f"{', '.join(found) or 'nothing':.200}")  # fmt: skip
    for line in reader:
        if None in line:
            raise ValueError(f"{path}, line {reader.line_num}: more than {len(found)} columns; quote captions that "
                             f"hold a {name}")  # fmt: skip
        yield f"line {reader.line_num}", line


def _objects(path: Path) -> list[dict[str, Any]]:
    content = read_json(path, object)
    inner = content.get("captions") if isinstance(content, dict) and len(content) == 1 else None
    if isinstance(inner, dict) or (isinstance(inner, list) and all(isinstance(entry, dict) for entry in inner)):
        content = inner
    if isinstance(content, dict):
        content = [value | {"id": name} if isinstance(value, dict) else {"id": name, "caption": value}
                   for name, value in content.items()]  # fmt: skip
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"{path}: expected a list of objects with id and caption, or an object of ids")
    return content
