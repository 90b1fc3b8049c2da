"""The token dataset: a JSON list of captioned motions written as codes.

    [{"text_query": "a person walks forward", "motion_tokens": "42 18 91", "participant_id": "P001"}, ...]

`id` and `split` are optional too; the file may be compressed, as tokens.json.gz. `motion_tokens` may be a list of ints,
and any of the field's token spellings; `word` is read where there is no `text_query`. The forms of other projects are
read as well (`token_formats.py`). What cannot be trained on is a named error here, before training starts.
"""

import gzip
import hashlib
import heapq
import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from operator import itemgetter
from pathlib import Path

import numpy as np

from motiongpt.data.token_formats import (
    CODE_FOLDERS,
    META,
    folder_records,
    instruction_records,
    is_instructions,
    write_code_folder,
)
from motiongpt.data.words import content_words, stem, words
from motiongpt.files.store import file_hash, read_json, write_atomic, write_json
from motiongpt.sampling import global_median, median_length
from motiongpt.vocab import parse_motion

MAX_CAPTION = 2_000  # characters
MAX_CODES = 65_536  # a larger codebook is a typing error, and would be a table of so many rows
VALIDATION_SHARE, MAX_VALIDATION = 0.01, 1_000
LIKE = 5  # captions whose lengths stand for that of a new one


@dataclass(frozen=True)
class Entry:
    """One captioned motion. `split` is train, val or test."""

    text: str
    codes: tuple[int, ...]
    participant: str | None = None
    id: str = ""
    split: str = "train"


def load_tokens(path: Path | str, seed: int = 42, say: Callable[[str], None] = print) -> list[Entry]:
    """Read a token dataset: our JSON, a JSON of instructions, or a folder of code arrays with captions.

    Entries without a split get one: 1 % validation, spread by a hash with the seed. Those entries are motions that
    training does not see. Their captions it does see, wherever a caption has several motions: this validation says
    nothing about sentences that are new. For that, give the file its own splits.

    `say` gets a line where rows of another project's data are skipped. Raises FileNotFoundError, or ValueError naming
    the file, the entry and what is wrong with it.
    """
    path = Path(path)
    if path.is_dir():
        records = list(folder_records(path, say))
    else:
        content = _read(path)
        if not isinstance(content, list) or not content:
            raise ValueError(f"{path}: expected a non-empty JSON list of entries, got {type(content).__name__}")
        if is_instructions(content):
            records = list(instruction_records(content, path, say))
        else:
            records = [(item, f"{path}, entry {i}") for i, item in enumerate(content)]
    if not records:
        raise ValueError(f"{path} has no motion with a caption")
    entries = [_entry(item, where) for item, where in records]
    missing = [i for i, (item, _) in enumerate(records) if "split" not in item]
    if missing:
        wanted = min(MAX_VALIDATION, max(1, int(VALIDATION_SHARE * len(missing))))
        ranked = sorted(missing, key=lambda i: rank(entries[i], seed))
        for i in ranked[:wanted] if len(missing) > 1 else []:
            entries[i] = replace(entries[i], split="val")
    return entries


def rank(entry: Entry, seed: int) -> bytes:
    """Sorting by it shuffles entries by what they hold, not by where they stand: the first n are a fair sample."""
    return hashlib.sha256(f"{seed}/{entry.text}/{entry.codes}".encode()).digest()


def tokens_hash(path: Path, entries: Sequence[Entry]) -> str:
    """16 hex digits that tell data sets apart: of the file, or, where it is a folder, of what it holds."""
    if path.is_file():
        return file_hash(path)
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry}\n".encode())
    return digest.hexdigest()[:16]


def _read(path: Path) -> list:
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


def _entry(item: dict, where: str) -> Entry:
    if not isinstance(item, dict):
        raise ValueError(f"{where}: expected an object with text_query and motion_tokens, got {type(item).__name__}")
    text = item.get("text_query", item.get("word"))
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{where}: text_query is missing or empty")
    if len(text) > MAX_CAPTION:
        raise ValueError(f"{where}: text_query has {len(text)} characters, at most {MAX_CAPTION} are trained on")
    codes = item.get("motion_tokens")
    if isinstance(codes, str):
        try:
            codes = parse_motion(codes)
        except ValueError as error:
            raise ValueError(f"{where}: motion_tokens: {error}") from error
    if not isinstance(codes, list) or not all(type(code) is int for code in codes):
        raise ValueError(f"{where}: motion_tokens must be a string or a list of ints, got {str(codes)[:60]}")
    if not codes:
        raise ValueError(f"{where}: motion_tokens is empty")
    if min(codes) < 0:
        raise ValueError(f"{where}: motion_tokens holds {min(codes)}; codes start at 0")
    split = item.get("split", "train")
    if split not in ("train", "val", "test"):
        raise ValueError(f"{where}: split must be train, val or test, got {split!r}")
    participant = item.get("participant_id")
    if participant is not None and not isinstance(participant, str | int):
        raise ValueError(f"{where}: participant_id must be a string, got {str(participant)[:60]}")
    participant = None if participant is None else str(participant).strip() or None
    return Entry(text.strip(), tuple(codes), participant, str(item.get("id", "")), split)


def save_tokens(path: Path | str, entries: Sequence[Entry], meta: dict, form: str = "json") -> None:
    """Write the JSON list, and `meta` (tokenizer hash, codes, fps, ...) beside it as <name>.meta.json.

    A path that ends in .gz is compressed, to a thirteenth; the same entries give the same bytes. Form npy: a folder of
    code arrays instead, see `write_code_folder`.
    """
    records = []
    for entry in entries:
        record = {"text_query": entry.text, "motion_tokens": " ".join(map(str, entry.codes))}
        record |= {"participant_id": entry.participant} if entry.participant else {}
        records.append(record | {"id": entry.id, "split": entry.split})
    path = Path(path)
    if form == "npy":
        write_code_folder(path, records, meta)
        return
    lines = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    content = f"[\n{lines}\n]\n".encode()
    content = gzip.compress(content, mtime=0) if path.suffix == ".gz" else content

    def both(temporary: Path) -> None:  # a full disk leaves the former two: one of each would be read in wrong codes
        temporary.write_bytes(content)
        write_json(meta_path(path), meta)

    write_atomic(path, both)


def meta_path(path: Path) -> Path:
    if path.is_dir():
        return (path.parent if path.name in CODE_FOLDERS else path) / META
    return path.with_name(Path(path.name.removesuffix(".gz")).stem + ".meta.json")


def codebook_size(entries: Sequence[Entry], path: Path, given: int | None) -> tuple[int, str]:
    """How many codes there are, and who says so: --codes, else the meta file, else the largest code + 1.

    Raises ValueError where a code of the data lies outside, naming its entry.
    """
    largest = max(range(len(entries)), key=lambda i: max(entries[i].codes))
    top = max(entries[largest].codes)
    meta = meta_path(path)
    if given is not None:
        size, origin = given, "--codes"
    elif meta.is_file():
        size, origin = read_json(meta).get("codes"), meta.name
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
    """The first entry per caption and participant."""
    first: dict[tuple, Entry] = {}
    for entry in entries:
        first.setdefault((entry.text, entry.participant), entry)
    return list(first.values())


def fold(caption: str) -> str:
    """A caption as prompts are compared: lower case, single spaces."""
    return " ".join(caption.lower().split())


def prompt_table(entries: Sequence[Entry]) -> dict:
    """What sampling must know of the training split: per caption its lengths and codes, and the global median.

    {"global_median": 24, "captions": {"a person walks": {"median": 22, "min": 18, "max": 30, "codes": [3, 17, ...]}}}
    """
    training = [entry for entry in entries if entry.split == "train"]
    by_caption: dict[str, list[Entry]] = defaultdict(list)
    for entry in training:
        by_caption[entry.text].append(entry)
    captions = {}
    for text, group in by_caption.items():
        lengths = [len(entry.codes) for entry in group]
        codes = sorted({code for entry in group for code in entry.codes})
        captions[text] = {"median": median_length(lengths), "min": min(lengths), "max": max(lengths), "codes": codes}
    return {"global_median": global_median([len(entry.codes) for entry in training]), "captions": captions}


class Prompts:
    """prompts.json, looked up by caption: exactly, else with case and spaces folded, else by likeness."""

    def __init__(self, table: dict) -> None:
        if "global_median" not in table or not isinstance(table.get("captions"), dict):
            raise ValueError("prompts.json must have global_median and captions; training a stage writes it anew")
        self.global_median: int = table["global_median"]
        self.captions: dict[str, dict] = table["captions"]

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Folded caption -> the first one that folds to it; made when a caption is first asked for loosely."""
        return {fold(caption): caption for caption in reversed(self.captions)}

    def find(self, text: str) -> dict | None:
        """The record of a caption seen in training, None for any other."""
        return self.captions.get(text) or self.captions.get(self._folded.get(fold(text), ""))

    @cached_property
    def _index(self) -> tuple[dict[str, np.ndarray], dict[str, float], np.ndarray, np.ndarray]:
        """Made when a caption is asked for that is new: the captions (by number) that have a stem; how rare the stem
        is, log((captions + 1) / captions with it); each caption's norm, and its median length."""
        stem_of = cache(stem)
        captions = [frozenset(map(stem_of, words(text))) for text in self.captions]
        rows: dict[str, list[int]] = defaultdict(list)
        for number, caption in enumerate(captions):
            for word in caption:
                rows[word].append(number)
        rarity = {word: math.log((len(captions) + 1) / len(found)) for word, found in rows.items()}
        # fsum: the order of a set differs from run to run, and a rounding would decide between equals
        norms = np.sqrt([math.fsum(rarity[word] for word in caption) or 1.0 for caption in captions])
        medians = np.array([known["median"] for known in self.captions.values()])
        return {word: np.array(found) for word, found in rows.items()}, rarity, norms, medians

    def expected_length(self, text: str) -> int:
        """The median length in codes of a caption seen in training; of any other, that of the captions most like it.

        Like: cosine of the sets of word stems, each weighted by how rare it is. The median over the `LIKE` best, of
        equals the first; the global median where no word that says something about the motion was ever seen.
        """
        if known := self.find(text):
            return known["median"]
        rows, rarity, norms, medians = self._index
        if not any(stem(word) in rows for word in content_words(text)):
            return self.global_median
        scores = np.zeros(len(norms))
        for word in sorted({stem(word) for word in words(text)} & set(rows)):
            scores[rows[word]] += rarity[word]
        scores /= norms
        least = np.partition(scores, -LIKE)[-LIKE] if len(scores) > LIKE else 0.0
        (found,) = np.nonzero((scores >= least) & (scores > 0))
        best = heapq.nlargest(LIKE, zip(scores[found].tolist(), medians[found].tolist(), strict=True), itemgetter(0))
        return global_median([median for _, median in best])
