"""Some of the entries of a token data set, whether they are a list in memory or shards on the disk.

Entries of shards are made one by one (`token_shards.py`), so that a corpus of any size can be trained on. A function
that goes through all entries and keeps something of each would undo that. What training needs of all of them at once is
here: those of a split or for a task, their lengths, who they name, and a bounded part for tables of captions.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from motiongpt.data.token_shards import EntryLike, Kind, TokenShards

E = TypeVar("E", bound=EntryLike)
LengthFormula = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
BOUND = 100_000  # entries of shards from which a table of captions is made; all of HumanML3D has 87,384


def select(entries: Sequence[E], keep: Callable[[EntryLike | Kind], bool]) -> Sequence[E]:
    """The entries that `keep` says yes to, in their order.

    It may ask for the split, and whether there are source codes or a plain caption: of shards, kinds are asked about.
    """
    if isinstance(entries, TokenShards):
        return entries.select(keep)
    return [entry for entry in entries if keep(entry)]


def of_split(entries: Sequence[E], split: str) -> Sequence[E]:
    """The entries of train, val or test."""
    return select(entries, lambda entry: entry.split == split)


def bounded(entries: Sequence[E], most: int = BOUND) -> Sequence[E]:
    """All entries of a list; of shards at most `most`, spread evenly over them, as a list."""
    if not isinstance(entries, TokenShards):
        return entries
    if len(entries) <= most:
        return list(entries)
    return [entries[i * len(entries) // most] for i in range(most)]


def participants_of(entries: Sequence[E]) -> set[str]:
    """Everybody whom an entry names; of shards, everybody in the folder."""
    if isinstance(entries, TokenShards):
        return set(entries.participants)
    return {entry.participant for entry in entries if entry.participant}


class Measured:
    """The lengths of entries of shards, computed for those that are asked for (`batches.Lengths`)."""

    def __init__(self, entries: TokenShards, formula: LengthFormula) -> None:
        self.entries, self.formula = entries, formula

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """The lengths (n,) of entries (n,)."""
        rows = self.entries.rows(indices)
        return self.formula(*(rows[name].astype(np.int64) for name in ("codes", "text_chars", "plain_chars")))


def measured(entries: Sequence[E], formula: LengthFormula) -> np.ndarray | Measured:
    """A length for each entry, by a formula of three arrays (n,): its codes, and the characters of its text and its
    plain caption."""
    if isinstance(entries, TokenShards):
        return Measured(entries, formula)
    sizes = [(len(entry.codes), len(entry.text), len(entry.plain)) for entry in entries]
    return formula(*np.array(sizes, np.int64).reshape(-1, 3).T)


def may_reach(entries: Sequence[E], tokens: int, per_code: int) -> Iterator[E]:
    """All entries of a list; of shards those that may have so many tokens, judged by their sizes alone.

    A text tokenizer makes at most one token of a byte, and a code becomes at most `per_code`.
    """
    if not isinstance(entries, TokenShards):
        return iter(entries)

    def is_long(rows: np.ndarray) -> np.ndarray:
        codes = rows["codes"].astype(np.int64) + rows["source"]
        return per_code * codes + rows["text"] + rows["plain"] >= tokens

    return entries.where(is_long)
