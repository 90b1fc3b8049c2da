"""The token dataset: a JSON list of captioned motions written as codes.

    [{"text_query": "a person walks forward", "motion_tokens": "42 18 91", "participant_id": "P001"}, ...]

`participant_id`, `id`, `split` and `plain` (the plain caption of the clip, for the task `read`) are
optional, and the file may be compressed (tokens.json.gz).
`motion_tokens` may be a list of ints or any of the field's spellings; `word` may stand for
`text_query`. An entry with `source_tokens` is an edit: its sentence says how the motion of those
codes becomes that of `motion_tokens` ("but faster"). It is for the task `edit` alone, and no
caption. The forms of other projects are read, too (`token_formats.py`). What cannot be trained
on is an error here that names the entry, before training starts.

Data that does not fit into memory is a folder of shards (`token_shards.py`). Its entries are a
sequence, too, each made when it is asked for. What would walk over all of them is in `selection.py`.

This module knows no tokenizer: <name>.meta.json beside the file says which one wrote the codes. It
also holds a hash of ids and codes, so that a killed write is noticed: new codes beside the old meta
file would be decoded by the wrong tokenizer. Captions may be edited.
"""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from motiongpt.data.motions import SPLITS
from motiongpt.data.selection import select
from motiongpt.data.spelling import visible_text
from motiongpt.data.texts import is_text
from motiongpt.data.token_formats import (
    CODE_FOLDERS,
    folder_records,
    instruction_records,
    is_instructions,
    write_code_folder,
)
from motiongpt.data.token_shards import MANIFEST, META, TokenShards, is_shards, open_shards, write_shards
from motiongpt.files.hashes import READ_BYTES, file_hash, short_hash
from motiongpt.files.store import read_json, write_atomic, write_json
from motiongpt.vocab import parse_motion

MAX_CAPTION = 2_000  # characters
MAX_CODES = 65_536  # a larger codebook is a typing error, and the model would get a row for each of its codes
VALIDATION_SHARE = 0.01  # of entries without a split
MAX_VALIDATION = 1_000  # entries


@dataclass(frozen=True)
class Entry:
    """One captioned motion, or one edit. `split` is train, val or test."""

    text: str
    codes: tuple[int, ...]
    participant: str | None = None
    id: str = ""
    split: str = "train"
    # The codes of the motion that the sentence changes; empty for all tasks but edit. They are not in the repr, since
    # hashes of older data are made of it.
    source: tuple[int, ...] = field(default=(), repr=False)
    plain: str = field(default="", repr=False)  # the plain caption of the motion, "" if nobody said it


def plain_entries(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries whose text describes their motion: all but edits."""
    return select(entries, lambda entry: not entry.source)


def load_tokens(path: Path | str, seed: int = 42, say: Callable[[str], None] = print) -> Sequence[Entry]:
    """Read a token dataset: our JSON, a JSON of instructions,
    a folder of code arrays with captions, or a folder of shards.

    Entries without a split get one: 1 % become validation, chosen by a hash with the seed. Training
    does not see these motions, but it sees their captions whenever a caption has several motions.
    So this validation says nothing about new sentences; for that, give the file its own splits.

    `say` gets a line if rows of another project's data are skipped. Raises FileNotFoundError, or
    ValueError naming the file, the entry and what is wrong with it.
    """
    path = Path(path)
    if is_shards(path):
        return open_shards(path, Entry)
    if path.is_dir():
        records = list(folder_records(path, say))
    else:
        content = _read_json(path)
        if not isinstance(content, list) or not content:
            raise ValueError(f"{path}: expected a non-empty JSON list of entries, got {type(content).__name__}")
        if is_instructions(content):
            records = list(instruction_records(content, path, say))
        else:
            records = [(item, f"{path}, entry {i}") for i, item in enumerate(content)]
    if not records:
        raise ValueError(f"{path} has no motion with a caption")
    entries = [_to_entry(item, where) for item, where in records]
    # validation entries, from those that name no split
    missing = [i for i, (item, _) in enumerate(records) if "split" not in item]
    if len(missing) > 1:  # a single entry is for training
        wanted = min(MAX_VALIDATION, max(1, int(VALIDATION_SHARE * len(missing))))
        # by a hash of their content, so that their order does not matter
        ranked = sorted(missing, key=lambda i: rank(entries[i], seed))
        for i in ranked[:wanted]:
            entries[i] = replace(entries[i], split="val")
    return entries


def rank(entry: Entry, seed: int) -> bytes:
    """A sort key that shuffles entries by content, not by position:
    the first n are a fair sample."""
    source = f"/{entry.source}" if entry.source else ""
    return hashlib.sha256(f"{seed}/{entry.text}/{entry.codes}{source}".encode()).digest()


def tokens_hash(path: Path, entries: Sequence[Entry]) -> str:
    """16 hex digits that tell data sets apart: a hash of the file, of what shards know of theirs,
    or of all entries if `path` is another folder."""
    if path.is_file() or is_shards(path):
        return file_hash(path / MANIFEST if path.is_dir() else path)
    return short_hash(f"{entry}\n".encode() for entry in entries)


def _read_json(path: Path) -> object:
    """The JSON of a file. JSON has no comments, but people write them,
    so a comment gets its own message."""
    try:
        return read_json(path, object)
    except ValueError as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError):
            # the parser stops at the comment or, since Python 3.13, at a comma before it
            rest = cause.doc[cause.pos :].lstrip(", \t\r\n")
            if rest.startswith(("//", "/*")):
                line = cause.doc.count("\n", 0, len(cause.doc) - len(rest)) + 1
                raise ValueError(f"{path}: JSON has no comments, line {line}") from error
        raise


def _to_entry(item: dict, where: str) -> Entry:
    """The entry of a record, checked. Raises ValueError that begins with `where`."""
    if not isinstance(item, dict):
        raise ValueError(f"{where}: expected an object with text_query and motion_tokens, got {type(item).__name__}")
    # 1) the sentence
    text = item.get("text_query", item.get("word"))
    if not isinstance(text, str) or not visible_text(text).strip():
        raise ValueError(f"{where}: text_query is missing or empty")
    for key in ("text_query", "word", "participant_id", "id", "plain"):
        if not is_text(str(item.get(key, ""))):
            raise ValueError(f"{where}: {key} has half a character (a lone surrogate): {ascii(item[key])[:60]}")
    if len(text) > MAX_CAPTION:
        raise ValueError(f"{where}: text_query has {len(text)} characters, at most {MAX_CAPTION} are trained on")
    # 2) the codes, and those that an edit starts from
    codes = _to_codes(item.get("motion_tokens"), f"{where}: motion_tokens")
    source = _to_codes(item["source_tokens"], f"{where}: source_tokens") if "source_tokens" in item else ()
    # 3) where it belongs, and who moves
    split = item.get("split", "train")
    if split not in SPLITS:
        raise ValueError(f"{where}: split must be train, val or test, got {split!r}")
    participant = item.get("participant_id")
    if participant is not None:
        if not isinstance(participant, str | int):
            raise ValueError(f"{where}: participant_id must be a string, got {str(participant)[:60]}")
        participant = str(participant).strip() or None
    plain = item.get("plain", "")
    if not isinstance(plain, str) or len(plain) > MAX_CAPTION:
        raise ValueError(f"{where}: plain must be a sentence of at most {MAX_CAPTION} characters, got {plain!r:.60}")
    return Entry(text.strip(), codes, participant, str(item.get("id", "")), split, source, plain.strip())


def _to_codes(codes: object, where: str) -> tuple[int, ...]:
    """Codes as text or as a list, checked. Raises ValueError that begins with `where`."""
    if isinstance(codes, str):
        try:
            codes = parse_motion(codes)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    # type, not isinstance: true and false of JSON are ints too
    if not isinstance(codes, list) or not all(type(code) is int for code in codes):
        raise ValueError(f"{where} must be a string or a list of ints, got {str(codes)[:60]}")
    if not codes:
        raise ValueError(f"{where} is empty")
    if min(codes) < 0:
        raise ValueError(f"{where} holds {min(codes)}; codes start at 0")
    return tuple(codes)


def to_records(entries: Sequence[Entry], path: Path | str) -> list[dict]:
    """The entries as the objects of a token file; errors name it, `path`."""
    records = []
    for entry in entries:
        if not is_text(f"{entry.text}{entry.participant}{entry.id}{entry.plain}"):
            raise ValueError(f"{path}: half a character (a lone surrogate) in the clip {ascii(entry)[:200]}")
        record = {"text_query": entry.text, "motion_tokens": " ".join(map(str, entry.codes))}
        if entry.source:
            record["source_tokens"] = " ".join(map(str, entry.source))
        if entry.participant:
            record["participant_id"] = entry.participant
        if entry.plain:
            record["plain"] = entry.plain
        records.append(record | {"id": entry.id, "split": entry.split})
    return records


def save_tokens(path: Path | str, entries: Iterable[Entry], meta: dict, form: str = "json") -> None:
    """Write the JSON list, and `meta` (tokenizer hash, codes, fps, ...) beside it as
    <name>.meta.json.

    A path that ends in .gz is compressed, to a thirteenth of the size. The same entries give the
    same bytes. The form npy is a folder of code arrays instead, see `write_code_folder`. It has no
    place for edits: ValueError if there are some; nor for plain captions, which are left out. The
    form shards takes entries one by one, see `write_shards`; the others need all in memory.
    """
    path = Path(path)
    if form == "shards":
        write_shards(path, entries, meta)
        return
    entries = list(entries)
    records = to_records(entries, path)
    if form == "npy":
        if len(plain_entries(entries)) < len(entries):
            raise ValueError(f"{path}: a folder of code arrays has no place for edits; write a .json file")
        write_code_folder(path, records, meta)
        return
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    content = f"[\n{lines}\n]\n".encode()
    proof = {"tokens": _codes_hash(records)}
    if path.suffix == ".gz":
        # mtime 0: the same entries give the same bytes at any time
        content = gzip.compress(content, mtime=0)

    # Both or none: if the disk is full, the two earlier files stay. A kill between the two leaves a pair that
    # `read_tokens_meta` refuses, by the hash.
    def both(temporary: Path) -> None:
        temporary.write_bytes(content)
        write_json(meta_path(path), meta | proof)

    write_atomic(path, both)


def meta_path(path: Path) -> Path:
    """The meta file of a token file: tokens.meta.json beside tokens.json(.gz),
    or inside a folder of shards or code arrays."""
    if is_shards(path):
        return path / META
    if path.is_dir():
        return (path.parent if path.name in CODE_FOLDERS else path) / META
    return path.with_name(Path(path.name.removesuffix(".gz")).stem + ".meta.json")


def read_tokens_meta(path: Path) -> dict:
    """The meta file of a token file or folder; empty if there is none.
    Older ones without a hash are taken as they are.

    Raises ValueError if the meta file was written with other codes than the file now holds.
    """
    meta_file = meta_path(path)
    if not meta_file.is_file():
        return {}
    meta = read_json(meta_file)
    # older versions remember the hash of the whole file
    if "tokens" in meta and path.is_file():
        if meta["tokens"] not in (_codes_hash(_read_json(path)), _content_hash(path)):
            raise ValueError(
                f"{meta_file} was not written with the {path.name} beside it: a killed run, or an edit of ids or "
                'codes; run scripts/tokenize_motions.py again, or delete "tokens" from it if its tokenizer did write '
                "these codes"
            )
    return meta


def _codes_hash(records: object) -> str:
    """A hash of which clips have which codes, so that captions, participants and splits may be edited."""
    items = records if isinstance(records, list) else []
    clips = set()
    for item in items:
        if isinstance(item, dict):
            source = f"\t{item['source_tokens']}" if "source_tokens" in item else ""
            clips.add(f"{item.get('id', '')}\t{item.get('motion_tokens')}{source}\n")
    return short_hash(clip.encode(errors="backslashreplace") for clip in sorted(clips))


def _content_hash(path: Path) -> str:
    """`file_hash` of what a file holds unpacked, so that packing it changes nothing."""
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        return short_hash(iter(lambda: file.read(READ_BYTES), b""))


def codebook_size(
    entries: Sequence[Entry], path: Path, given: int | None, giver: str = "--codes", known: dict | None = None
) -> tuple[int, str]:
    """How many codes there are, and who says so: `given` by `giver`, else the meta file,
    else the largest code + 1. `known` is the content of the meta file, if it has been read already.

    Raises ValueError naming the entry if a code of the data lies outside.
    """
    if isinstance(entries, TokenShards):
        top, largest = entries.largest_code()
    else:
        tops = [max(entry.codes + entry.source) for entry in entries]
        top = max(tops)
        largest = tops.index(top)
    meta = meta_path(path)
    if given is not None:
        size, origin = given, giver
    elif meta.is_file():
        known = read_tokens_meta(path) if known is None else known
        size, origin = known.get("codes"), meta.name
        if not isinstance(size, int):
            raise ValueError(f"{meta}: codes must be the size of the codebook, got {size!r}; or say it with --codes")
    else:
        size, origin = top + 1, "largest code + 1"
    if size > MAX_CODES:
        raise ValueError(
            f"{path}, entry {largest}: a codebook of {size} ({origin}) is not plausible, at most {MAX_CODES}"
        )
    if top >= size:
        raise ValueError(f"{path}, entry {largest}: motion code {top} is outside the codebook of {size} ({origin})")
    return size, origin


def dedup(entries: Sequence[Entry]) -> list[Entry]:
    """The first entry per caption and participant; edits also differ by what they change.

    ValueError for shards, as all captions would have to be in memory.
    """
    if isinstance(entries, TokenShards):
        raise ValueError(
            f"--dedup would hold all {len(entries):,} captions of the shards in memory: drop the flag, or tokenise "
            "with --format json"
        )
    first: dict[tuple, Entry] = {}
    for entry in entries:
        first.setdefault((entry.text, entry.participant, entry.source), entry)
    return list(first.values())
