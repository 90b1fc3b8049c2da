"""Batches as a pure function of the micro-step: no iterator, no state,
nothing to save but an integer.

Micro-step m belongs to epoch m // per_epoch. The order of an epoch is drawn from (seed, epoch), and
the random choices inside a batch (windows, masks, captions) from (seed, m). A resumed run therefore
sees the batches of an uninterrupted one. Captions and tasks are unknown here: a `collate` function
makes the tensors.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from motiongpt.data.permutation import draw_keys, permuted

Generator = np.random.Generator
POOL = 50  # batches that are sorted by length together
LISTED = 1 << 22  # examples whose order is listed, in 32 MB; as JSON so many entries take over 6 GB of memory


def by_length(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Indices in batches of similar length, shortest first; equal lengths keep their order."""
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def pack(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Which examples share a row: indices in as few rows of at most `most` tokens as this finds, of similar length.

    The longest come first, each into the row that is shortest so far (Graham 1969):
    [5, 4, 3, 3], 8 -> [[0, 3], [1, 2]].

    Raises ValueError for a longer example.
    """
    if max(lengths) > most:
        raise ValueError(f"an example has {max(lengths)} tokens, and a row of --pack {most} holds whole examples")
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    for count in range(-(-sum(lengths) // most), len(lengths) + 1):
        rows: list[list[int]] = [[] for _ in range(count)]
        sizes = [0] * count
        for i in order:
            shortest = sizes.index(min(sizes))
            rows[shortest].append(i)
            sizes[shortest] += lengths[i]
        if max(sizes) <= most:
            break
    return rows


class Lengths(Protocol):
    """The lengths of n examples, read where they are asked for: an array is one, and so is `selection.Measured`."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: np.ndarray) -> np.ndarray: ...


class EpochOrder:
    """The batches of one epoch, by their number: shuffled, and of similar lengths.

    The examples are shuffled and cut into pools of `pool` batches. Within a pool they are sorted by length, so the rows
    of a batch have similar lengths, and there is little padding. Then the batches are shuffled again: sorted, each pool
    would end with its longest clips. Every example appears once; the last batch of the last pool may be smaller.

    Up to `LISTED` examples the order is two arrays, and batches are shuffled over the whole epoch. Beyond, nothing is
    listed: pools come one after the other, each a random draw from all examples, and batches are shuffled within one.
    """

    def __init__(self, lengths: Lengths, batch_size: int, rng: Generator, pool: int = POOL) -> None:
        self.lengths, self.batch_size, self.pool = lengths, batch_size, pool
        self.count = len(lengths)
        self._keys = None if self.count <= LISTED else draw_keys(rng)
        self._current: tuple[int, np.ndarray, np.ndarray] | None = None  # a pool, its examples, its batches
        if self._keys is None:
            self._examples = rng.permutation(self.count)
            span = batch_size * pool
            for first in range(0, self.count, span):
                self._examples[first : first + span] = self._sorted(self._examples[first : first + span])
            self._batches = rng.permutation(-(-self.count // batch_size))

    def __call__(self, number: int) -> np.ndarray:
        """The examples (B,) of batch `number` of the epoch."""
        if self._keys is None:
            return self._batch(self._examples, self._batches[number])
        pool, place = divmod(number, self.pool)
        if self._current is None or self._current[0] != pool:
            span = self.batch_size * self.pool
            positions = np.arange(pool * span, min((pool + 1) * span, self.count))
            examples = self._sorted(permuted(positions, self.count, self._keys))
            batches = np.random.default_rng((*self._keys, pool)).permutation(-(-len(examples) // self.batch_size))
            self._current = pool, examples, batches
        _, examples, batches = self._current
        return self._batch(examples, batches[place])

    def _batch(self, examples: np.ndarray, number: int) -> np.ndarray:
        return examples[number * self.batch_size : (number + 1) * self.batch_size]

    def _sorted(self, examples: np.ndarray) -> np.ndarray:
        """Shortest first; equal lengths keep their order."""
        return examples[np.argsort(self.lengths[examples], kind="stable")]


class BucketedBatches:
    """`Batches` for the loop: indices bucketed by length,
    turned into tensors by `collate(indices, rng)`. A `pool` of 1 leaves every batch a random draw of all lengths."""

    def __init__(
        self,
        lengths: Sequence[int] | Lengths,
        batch_size: int,
        seed: int,
        collate: Callable[[np.ndarray, Generator], dict],
        pool: int = POOL,
    ) -> None:
        if not len(lengths):
            raise ValueError("no training examples: the training split is empty")
        self.lengths = np.asarray(lengths) if isinstance(lengths, Sequence) else lengths
        self.batch_size = batch_size
        self.seed = seed
        self.collate = collate
        self.pool = pool
        # rounded up: the last batch may be smaller
        self.per_epoch = -(-len(lengths) // batch_size)
        self._epoch = -1
        self._order: EpochOrder | None = None

    def __call__(self, micro_step: int) -> dict[str, Any]:
        epoch, index = divmod(micro_step, self.per_epoch)
        if epoch != self._epoch:  # a cache, not a state: it is recomputed from (seed, epoch)
            # 0 here and 1 below: the order and the contents draw from different streams
            rng = np.random.default_rng((self.seed, 0, epoch))
            self._order = EpochOrder(self.lengths, self.batch_size, rng, self.pool)
            self._epoch = epoch
        return self.collate(self._order(index), np.random.default_rng((self.seed, 1, micro_step)))


class WindowBatches:
    """Random windows of `window` frames from clips in memory;
    shorter clips are zero-padded, with their lengths.

    A clip is drawn in proportion to the windows it holds, so long clips come more often, as in
    MoMask, which indexes every window. Windows start at any frame. One epoch is one window per
    `window` frames of data.

    Of several processes each takes its `rows` of every batch, a slice of range(batch_size).
    """

    def __init__(
        self,
        clips: Iterable[np.ndarray],
        window: int,
        batch_size: int,
        seed: int,
        unit: int = 4,
        rows: slice = slice(None),
    ) -> None:
        if window < unit or window % unit:
            raise ValueError(f"--window must be a multiple of {unit} frames (one code), got {window}")
        # a clip shorter than one code has nothing to learn from
        clips = [clip for clip in clips if len(clip) >= unit]
        if not clips:
            raise ValueError(f"no training clip has {unit} frames or more")
        lengths = np.array([len(clip) for clip in clips])
        self.frames = torch.from_numpy(np.concatenate(clips))  # (sum F, D)
        self.lengths = lengths
        self.first = np.concatenate([[0], np.cumsum(lengths)[:-1]])  # of each clip, among all frames
        self.starts = np.maximum(lengths - window, 0) + 1  # how many windows each clip holds
        self.cumulative = np.cumsum(self.starts)
        self.window = window
        self.batch_size = batch_size
        self.seed = seed
        self.unit = unit
        self.rows = rows
        self.per_epoch = max(1, int(lengths.sum()) // (window * batch_size))

    def __call__(self, micro_step: int) -> dict[str, Tensor | int | None]:
        # a window among all windows of all clips -> its clip and its first frame there
        rng = np.random.default_rng((self.seed, micro_step))
        drawn = rng.integers(self.cumulative[-1], size=self.batch_size)[self.rows]
        clip = np.searchsorted(self.cumulative, drawn, side="right")
        offset = drawn - (self.cumulative[clip] - self.starts[clip])
        lengths = np.minimum(self.lengths[clip], self.window)
        steps = np.arange(self.window)
        # past the end of a clip its last frame is repeated, and zeroed below
        index = (self.first[clip] + offset)[:, None] + np.minimum(steps, lengths[:, None] - 1)
        motion = self.frames[torch.from_numpy(index)]  # (B, window, D)
        full = bool((lengths == self.window).all())
        if not full:
            motion = motion * torch.from_numpy(steps < lengths[:, None])[..., None]
        count = int((lengths // self.unit * self.unit).sum())  # frames that become codes
        return {"motion": motion, "lengths": None if full else torch.from_numpy(lengths), "count": count}


def pad(rows: Sequence[Sequence[int] | np.ndarray | Tensor], value: int) -> Tensor:
    """Right-padded (B, T) int64 from lists of ids."""
    T = max(len(row) for row in rows)
    out = torch.full((len(rows), T), value, dtype=torch.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.as_tensor(row, dtype=torch.int64)
    return out


def pad_motions(clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Clips (F_i, D) -> zero-padded (B, F, D) and lengths (B,) in frames."""
    lengths = torch.tensor([len(clip) for clip in clips])
    out = torch.zeros(len(clips), int(lengths.max()), clips[0].shape[-1])
    for i, clip in enumerate(clips):
        out[i, : len(clip)] = torch.as_tensor(clip)
    return out, lengths
