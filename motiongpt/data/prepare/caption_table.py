"""Captions that somebody wrote beside the motions: a CSV or JSON file with id, caption, participant and split.

CSV: the first line names the columns `id` and `caption`, and `participant` and `split` if they are known. Columns are
separated by `,`, `;` or tabs. Several lines with one id are several captions, and so is a list as JSON writes it.

JSON: a list of objects with these keys, or an object with the ids as keys and a caption, a list of captions or such an
object as values, or either of them inside {"captions": ...}, beside which "about" and "credit" may stand.

Further columns or keys: `plain`, the plain caption of the clip; and `trial`, `start` and `end`, for clips that are
pieces of longer recordings, in seconds of the trial (`data/cmu_captions.json` has all of them).

Upper and lower case do not matter in names of columns and keys. `captions`, `text` and `text_query` mean `caption`.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motiongpt.data.motions import SPLITS
from motiongpt.data.texts import Caption, captions_in
from motiongpt.files.store import read_json

CAPTION_KEYS = ("caption", "captions", "text", "text_query")
MAX_SECONDS = 1e6  # of a trial
BESIDE_CAPTIONS = {"about", "credit"}  # keys of a JSON file that say something of the whole of it


@dataclass
class CaptionRow:
    """What the table says about one clip."""

    captions: list[Caption] = field(default_factory=list)
    participant: str | None = None
    split: str | None = None
    plain: str | None = None
    trial: str | None = None  # the recording that the clip is a piece of
    start: float | None = None  # seconds of the trial
    end: float | None = None


def read_captions(path: Path) -> dict[str, CaptionRow]:
    """Clip id -> row of a .csv or .json file.

    Raises FileNotFoundError, or ValueError naming the file and the line or entry at fault.
    """
    if path.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"--captions {path}: expected a .csv or .json file")
    if not path.is_file():
        raise FileNotFoundError(f"--captions {path} does not exist")
    table: dict[str, CaptionRow] = {}
    for place, entry in _entries(path):
        name = str(entry.get("id") or "").strip()
        if not name:
            raise ValueError(f"{path}, {place}: no id")
        _add(entry, table.setdefault(name, CaptionRow()), name, f"{path}, {place}")
    if not table:
        raise ValueError(f"{path} holds no captions")
    return table


def read_credit(path: Path) -> str:
    """The line of credit that a captions file asks for, "" if it has none."""
    content = read_json(path, object) if path.suffix.lower() == ".json" else None
    return str(content.get("credit", "")) if isinstance(content, dict) and "captions" in content else ""


def find_row(table: Mapping[str, CaptionRow] | None, *names: str) -> tuple[str | None, CaptionRow]:
    """The first of these ids that the table has, and its row; else None and an empty row."""
    key = next((name for name in names if name in (table or {})), None)
    return key, CaptionRow() if key is None else table[key]


def _add(entry: dict[str, Any], row: CaptionRow, name: str, where: str) -> None:
    """Add what an entry says about the clip `name` to its row; the clip may have had entries before."""
    texts = next((entry[key] for key in CAPTION_KEYS if key in entry), [])
    unknown = sorted(entry.keys() - {"id", "participant", "split", "plain", "trial", "start", "end"})
    if unknown and not entry.keys() & set(CAPTION_KEYS):
        raise ValueError(f"{where}: no caption, but {', '.join(unknown):.200}; call the text caption")
    for text in texts if isinstance(texts, list) else [texts]:
        if not isinstance(text, str):
            raise ValueError(f"{where}: a caption is a text, got {text!r:.60}")
        row.captions += [Caption(" ".join(caption.split())) for caption in captions_in(text) if caption.strip()]
    for key in ("participant", "split", "plain", "trial", "start", "end"):
        value = " ".join(str("" if entry.get(key) is None else entry[key]).split()) or None
        if value and key in ("start", "end"):
            value = _seconds(value, f"{where}: {key}")
        before = getattr(row, key)
        if value is not None and before not in (None, value):
            raise ValueError(f"{where}: {name} has {key} {value} here and {before} before")
        setattr(row, key, before if value is None else value)
    if row.split not in (None, *SPLITS):
        raise ValueError(f"{where}: split must be one of {', '.join(SPLITS)}, got {row.split!r:.40}")
    if row.trial and not (row.start is not None and row.end is not None and row.start < row.end):
        raise ValueError(f"{where}: the trial {row.trial} needs start before end, got {row.start} and {row.end}")


def _seconds(value: str, where: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < MAX_SECONDS:  # nan is refused, too
        raise ValueError(f"{where} must be seconds, from 0 and below {MAX_SECONDS:g}, got {value!r:.40}")
    return seconds


def _entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(place, object with `id`) of every line or entry; keys in lower case."""
    is_csv = path.suffix.lower() == ".csv"
    content = path.read_bytes()
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
    """(place, row) of every line of a CSV. The separator is the one most frequent in the first line."""
    header = next(iter(text.splitlines()), "")
    mark, name = max(((",", "comma"), (";", "semicolon"), ("\t", "tab")), key=lambda pair: header.count(pair[0]))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
    found = [column.strip().lower() for column in reader.fieldnames or ()]
    if "id" not in found or not set(CAPTION_KEYS) & set(found):
        raise ValueError(
            f"{path}: the first line must name the columns id and caption, it has {', '.join(found) or 'nothing':.200}"
        )
    for line in reader:
        if None in line:  # csv collects surplus fields under None
            raise ValueError(
                f"{path}, line {reader.line_num}: more than {len(found)} columns; quote captions that hold a {name}"
            )
        yield f"line {reader.line_num}", line


def _objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON file, whichever of its forms it has."""
    content = read_json(path, object)
    # {"captions": ...} may be a wrapper, or a clip of that id with its captions
    is_wrapper = isinstance(content, dict) and content.keys() - BESIDE_CAPTIONS == {"captions"}
    inner = content["captions"] if is_wrapper else None
    if isinstance(inner, dict) or (isinstance(inner, list) and all(isinstance(entry, dict) for entry in inner)):
        content = inner
    if isinstance(content, dict):
        content = [
            value | {"id": name} if isinstance(value, dict) else {"id": name, "caption": value}
            for name, value in content.items()
        ]
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"{path}: expected a list of objects with id and caption, or an object of ids")
    return content
