"""Token data as memory-mapped shards, for data that does not fit into memory: read entry by entry, written in passing.

    tokens/  shards.json            how many entries, codes and bytes each shard has; participants; hashes of all files
             tokens.meta.json       the tokenizer that wrote the codes (`tokens.py`)
             00000.codes.npy        (n,) uint16  the codes of all entries in a row; an edit's own, then its source's
             00000.texts.npy        (n,) uint8   UTF-8 in a row: caption, plain caption and id of each entry
             00000.entries.npy      (n,) ROW     where the codes and texts of each entry begin, how many there are
             00001.codes.npy ...

An entry is a row of 29 bytes and the two places it points to. Nothing is made of it before it is asked for, so what
memory holds does not depend on the number of entries, but for a few counts per `BLOCK` of them. The pages of the maps
are the operating system's, which drops them as it likes.

This module knows no `Entry`: `open_shards` gets a function that makes one of its fields.
"""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from motiongpt.data.motions import SPLITS
from motiongpt.files.arrays import read_array
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import HASHES, check_hashes, check_values, file_hash, known_hash, values_hash
from motiongpt.files.store import naming, new_folder, read_json, write_json

MANIFEST, META = "shards.json", "tokens.meta.json"
FORMAT = 1
SHARD_CODES = 1 << 26  # a shard is full with so many codes, 128 MB ...
SHARD_BYTES = 1 << 30  # ... or so many bytes of texts
MOST = (1 << 16) - 1  # the largest code, the longest text in bytes, the number of participants
FLUSH = 4096  # entries in memory before they are written
BLOCK = 1024  # entries that are counted together, by kind
ROW = np.dtype(
    [
        ("codes_at", "<u4"), ("codes", "<u4"), ("source", "<u4"),  # first code in the shard, own codes, the source's
        ("texts_at", "<u4"), ("text", "<u2"), ("plain", "<u2"), ("id", "<u2"),  # first byte, bytes of each text
        ("text_chars", "<u2"), ("plain_chars", "<u2"),
        ("participant", "<u2"),  # 0: nobody, else the number in the manifest's list, from 1
        ("kind", "u1"),  # the number of its `Kind`
    ]
)  # fmt: skip
DTYPES = {"codes": np.dtype("<u2"), "texts": np.dtype("u1"), "entries": ROW}


class Kind(NamedTuple):
    """What `TokenShards.select` may ask of an entry. Its fields are named as an entry's: one question fits both."""

    split: str
    source: bool  # whether it has a motion to change
    plain: bool  # whether it has a plain caption


KINDS = [Kind(split, source, plain) for split in SPLITS for source in (False, True) for plain in (False, True)]


class EntryLike(Protocol):
    """What is written. `tokens.Entry` is one."""

    text: str
    codes: Sequence[int]
    participant: str | None
    id: str
    split: str
    source: Sequence[int]
    plain: str


def is_shards(path: Path) -> bool:
    """Whether `path` is a folder of shards."""
    return (path / MANIFEST).is_file()


def _names(number: int) -> dict[str, str]:
    return {part: f"{number:05}.{part}.npy" for part in DTYPES}


# 1) Writing.


def write_shards(folder: Path, entries: Iterable[EntryLike], meta: dict, shard_codes: int = SHARD_CODES) -> None:
    """Write a folder of shards, all or nothing. Entries are taken one by one, and at most `FLUSH` are in memory.

    Raises FileExistsError if `folder` has something in it, ValueError for an entry that the form has no room for.
    """
    shards: list[dict] = []
    participants: dict[str, int] = {}  # numbers from 1
    hashes: dict[str, str] = {}
    with new_folder(folder) as temporary:
        with naming(folder):
            rest = iter(entries)
            while shard := _write_shard(temporary, len(shards), rest, participants, shard_codes):
                hashes |= {name: file_hash(temporary / name) for name in _names(len(shards)).values()}
                shards.append(shard)
        if not shards:
            raise ValueError(f"{folder}: there is no entry to write")
        write_json(temporary / META, meta)
        content = {"format": FORMAT, "participants": list(participants), "shards": shards}
        hashes |= {META: known_hash(temporary / META)} | {name: values_hash(content[name]) for name in content}
        write_json(temporary / MANIFEST, content | {HASHES: hashes})


class _Column:
    """A one-dimensional .npy that grows: its header is written again when its length is known."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.file: BinaryIO = open(path, "w+b")
        self.dtype, self.length = dtype, 0
        self._write_header()
        self.begin = self.file.tell()

    def _write_header(self) -> None:
        facts = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self.file, facts)

    def append(self, values: Sequence) -> None:
        self.file.write(np.array(values, self.dtype).tobytes())
        self.length += len(values)

    def __enter__(self) -> "_Column":
        return self

    def __exit__(self, *fault: object) -> None:
        with self.file:
            if fault[0] is None:
                self.file.seek(0)
                self._write_header()
                if self.file.tell() != self.begin:  # NumPy leaves room for a length of 21 digits
                    raise RuntimeError(f"{self.file.name}: the header has grown beyond its {self.begin} bytes")
                self.file.flush()
                os.fsync(self.file.fileno())  # before the folder gets its name: a power cut must leave no holes


def _write_shard(
    folder: Path, number: int, entries: Iterator[EntryLike], participants: dict[str, int], shard_codes: int
) -> dict | None:
    """Write entries until the shard is full, and return its part of the manifest; None if no entry is left.

    `participants` gets those that it lacks.
    """
    entry = next(entries, None)
    if entry is None:
        return None
    names, largest = _names(number), 0
    with ExitStack() as stack:
        columns = {part: stack.enter_context(_Column(folder / name, DTYPES[part])) for part, name in names.items()}
        waiting: dict[str, Any] = {"codes": [], "texts": bytearray(), "entries": []}
        codes_at = texts_at = 0
        while entry is not None:
            row, codes, texts = _packed(entry, codes_at, texts_at, participants)
            largest = max(largest, *codes)
            for part, values in (("codes", codes), ("texts", texts), ("entries", [row])):
                waiting[part] += values
            codes_at += len(codes)
            texts_at += len(texts)
            full = codes_at >= shard_codes or texts_at >= SHARD_BYTES
            entry = None if full else next(entries, None)
            if entry is None or len(waiting["entries"]) == FLUSH:
                for part, values in waiting.items():
                    columns[part].append(values)
                    values.clear()
    return {part: column.length for part, column in columns.items()} | {"largest": largest}


def _packed(
    entry: EntryLike, codes_at: int, texts_at: int, participants: dict[str, int]
) -> tuple[tuple, list[int], bytes]:
    """An entry as its row, its codes and its texts. ValueError if the form has no room for it."""
    where = f"entry {entry.id or entry.text[:40]!a}"
    codes = [*entry.codes, *entry.source]
    if not entry.codes or not 0 <= min(codes) <= max(codes) <= MOST:
        raise ValueError(f"{where}: shards hold motions of one code or more, each 0 to {MOST}, got {codes[:8]}")
    try:
        texts = [text.encode() for text in (entry.text, entry.plain, entry.id)]
        (entry.participant or "").encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: half a character (a lone surrogate) in a text") from error
    sizes = [len(text) for text in texts]
    if max(sizes) > MOST:
        raise ValueError(f"{where}: shards hold texts of at most {MOST} bytes, got {max(sizes)}")
    who = participants.setdefault(entry.participant, len(participants) + 1) if entry.participant else 0
    if who > MOST:
        raise ValueError(f"{where}: shards hold {MOST} participants, each of whom becomes a word of the vocabulary")
    kind = KINDS.index(Kind(entry.split, bool(entry.source), bool(entry.plain)))
    chars = len(entry.text), len(entry.plain)
    row = (codes_at, len(entry.codes), len(entry.source), texts_at, *sizes, *chars, who, kind)
    return row, codes, b"".join(texts)


# 2) Reading.


class _Shard(NamedTuple):
    """The maps of a shard, and what the manifest says of it."""

    first: int  # the number of its first entry among those of all shards
    largest: int  # code
    codes: np.ndarray
    texts: np.ndarray
    entries: np.ndarray


class _Opened(NamedTuple):
    """An opened folder, with the entries of each kind counted by blocks; a block is of one shard."""

    folder: Path
    shards: list[_Shard]
    firsts: np.ndarray  # (shards,) numbers of their first entries
    participants: list[str]
    starts: np.ndarray  # (blocks + 1,) number of the first entry of each block, and of all entries
    counts: np.ndarray  # (blocks, kinds)


def open_shards(folder: Path, make: Callable[..., Any]) -> "TokenShards":
    """The entries of a folder, each as `make(text, codes, participant, id, split, source, plain)` returns it.

    All files are read once, to compare their hashes. Raises FileNotFoundError or ValueError naming the file that is
    missing, cut short, damaged or of another format.
    """
    source = folder / MANIFEST
    content = read_json(source)
    if (version := get_field(content, "format", int, source)) != FORMAT:
        raise ValueError(f"{source} has format {version}, this version of the program reads {FORMAT}; update it")
    known = get_field(content, "shards", list, source)
    participants = get_field(content, "participants", list, source)
    if not known:
        raise ValueError(f"{source} names no shard; write the folder again with tokenize_motions.py --format shards")
    for name, values in (("shards", known), ("participants", participants)):
        check_values(values, content, name, source)
    names = [name for number in range(len(known)) for name in _names(number).values()]
    for name in (*names, META):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing, {source.name} names it; copy the folder again")
    check_hashes(folder, content, (*names, META), source)
    shards, starts, counts = [], [np.zeros(1, np.int64)], []
    for number, facts in enumerate(known):
        where = f"{source}, shard {number}"
        first = int(starts[-1][-1])
        maps = {part: _map(folder / name, get_field(facts, part, int, where)) for part, name in _names(number).items()}
        shards.append(_Shard(first, get_field(facts, "largest", int, where), **maps))
        kinds = np.ascontiguousarray(maps["entries"]["kind"])
        blocks = np.arange(0, len(kinds), BLOCK)
        starts.append(first + np.minimum(blocks + BLOCK, len(kinds)))
        counts.append(np.stack([np.add.reduceat(kinds == k, blocks, dtype=np.int32) for k in range(len(KINDS))], 1))
    firsts = np.array([shard.first for shard in shards])
    opened = _Opened(folder, shards, firsts, participants, np.concatenate(starts), np.concatenate(counts))
    return TokenShards(opened, make)


def _map(path: Path, length: int) -> np.ndarray:
    array = read_array(path)
    dtype = DTYPES[path.suffixes[-2][1:]]
    if array.shape != (length,) or array.dtype != dtype:
        raise ValueError(f"{path}: expected {length} of {dtype}, got {array.shape} {array.dtype}; copy it again")
    return np.asarray(array)  # without NumPy's own subclass for maps, whose slices take longer


class TokenShards(Sequence):
    """The entries of an opened folder, or those of some kinds, made where they are asked for."""

    def __init__(self, opened: _Opened, make: Callable[..., Any], kinds: Sequence[int] = range(len(KINDS))) -> None:
        self._opened, self._make = opened, make
        self._kept = np.zeros(len(KINDS), bool)
        self._kept[list(kinds)] = True
        counts = opened.counts[:, self._kept].sum(1)
        self._before = np.concatenate([[0], np.cumsum(counts)])  # (blocks + 1,) kept entries before each block
        self._whole = counts == np.diff(opened.starts)  # (blocks,) whether all its entries are kept

    @property
    def participants(self) -> list[str]:
        """Everybody in the folder, whatever is selected."""
        return self._opened.participants

    def largest_code(self) -> tuple[int, int]:
        """The largest code of the folder, and the number of an entry that has it, whatever is selected."""
        shard = max(self._opened.shards, key=lambda shard: shard.largest)
        place = int((shard.codes == shard.largest).argmax())
        return shard.largest, shard.first + bisect_right(shard.entries["codes_at"], place) - 1

    def select(self, keep: Callable[[Any], bool]) -> "TokenShards":
        """Those of the kinds that `keep` says yes to, in the same order. It is asked about a `Kind`, not an entry."""
        kinds = [number for number in np.flatnonzero(self._kept).tolist() if keep(KINDS[number])]
        return TokenShards(self._opened, self._make, kinds)

    def __len__(self) -> int:
        return int(self._before[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = range(len(self))[index]  # counts from the end if negative, and raises IndexError
        block = bisect_right(self._before, number) - 1
        within = number - int(self._before[block])
        if not self._whole[block]:
            within = int(self._kept_in(block)[within])
        shard, first, _ = self._block(block)
        return self._entry(shard, shard.entries[first + within].item())

    def __iter__(self) -> Iterator:
        return self.where(lambda rows: np.ones(len(rows), bool))

    def where(self, keep: Callable[[np.ndarray], np.ndarray]) -> Iterator:
        """The entries for whose rows (n,) `keep` is true (n,), block by block."""
        for block in np.flatnonzero(np.diff(self._before)).tolist():
            shard, first, end = self._block(block)
            rows = shard.entries[first:end]
            for row in rows[self._kept[rows["kind"]] & keep(rows)].tolist():
                yield self._entry(shard, row)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The rows (n,) of entries (n,): their sizes without the entries themselves."""
        block = np.searchsorted(self._before, indices, side="right") - 1
        within = indices - self._before[block]  # how many kept entries of the block come before
        for number in np.unique(block[~self._whole[block]]).tolist():
            own = block == number
            within[own] = self._kept_in(number)[within[own]]
        places = self._opened.starts[block] + within
        shard_of = np.searchsorted(self._opened.firsts, places, side="right") - 1
        out = np.empty(len(places), ROW)
        for number in np.unique(shard_of).tolist():
            own = shard_of == number
            out[own] = self._opened.shards[number].entries[places[own] - self._opened.firsts[number]]
        return out

    def _block(self, number: int) -> tuple[_Shard, int, int]:
        """The shard of a block, and where in it the block begins and ends."""
        first, end = self._opened.starts[number : number + 2].tolist()
        shard = self._opened.shards[bisect_right(self._opened.firsts, first) - 1]
        return shard, first - shard.first, end - shard.first

    def _kept_in(self, number: int) -> np.ndarray:
        """The places in a block of the entries that are kept."""
        shard, first, end = self._block(number)
        return self._kept[shard.entries["kind"][first:end]].nonzero()[0]

    def _entry(self, shard: _Shard, row: tuple) -> Any:
        codes_at, codes, source, texts_at, text, plain, name, _, _, who, kind = row
        numbers = shard.codes[codes_at : codes_at + codes + source].tolist()
        texts = shard.texts[texts_at : texts_at + text + plain + name].tobytes()
        return self._make(
            texts[:text].decode(),
            tuple(numbers[:codes]),
            self._opened.participants[who - 1] if who else None,
            texts[text + plain :].decode(),
            KINDS[kind].split,
            tuple(numbers[codes:]),
            texts[text : text + plain].decode() if plain else "",
        )
