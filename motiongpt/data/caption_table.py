"""Captions that somebody wrote beside the motions: a CSV or JSON file with id, caption, participant and split.

CSV: a header line with `id` and `caption`, and `participant` and `split` where known; several lines of one id are
several captions. JSON: a list of such objects, or an object {id: caption, list of captions, or such an object}.
"""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motiongpt.data.motions import SPLITS, Caption
from motiongpt.files import read_json


@dataclass
class Row:
    """What the table says of one clip."""

    captions: list[Caption] = field(default_factory=list)
    participant: str | None = None
    split: str | None = None


def read_captions(path: Path) -> dict[str, Row]:
    """Clip id -> row. Raises FileNotFoundError, or ValueError naming the file and the line or entry at fault."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"--captions {path}: expected a .csv or .json file")
    if not path.is_file():
        raise FileNotFoundError(f"--captions {path} does not exist")
    table: dict[str, Row] = {}
    for place, entry in _entries(path):
        name = str(entry.get("id") or "").strip()
        if not name:
            raise ValueError(f"{path}, {place}: no id")
        row = table.setdefault(name, Row())
        texts = entry.get("caption", entry.get("captions", []))
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
    """(where, object with `id`) of every line or entry."""
    if path.suffix.lower() == ".csv":
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                if not {"id", "caption"} <= set(reader.fieldnames or ()):
                    found = ", ".join(reader.fieldnames or ()) or "nothing"
                    raise ValueError(f"the first line must name the columns id and caption, it has {found:.200}")
                return [(f"line {reader.line_num}", line) for line in reader]
        except (csv.Error, UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
    content = read_json(path, object)
    if isinstance(content, dict):
        content = [value | {"id": name} if isinstance(value, dict) else {"id": name, "caption": value}
                   for name, value in content.items()]  # fmt: skip
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"{path}: expected a list of objects with id and caption, or an object of ids")
    return [(f"entry {i}", entry) for i, entry in enumerate(content)]
