"""Batches as a pure function of the micro-step: no iterator, no state, nothing to save but an integer.

Micro-step m belongs to epoch m // per_epoch; the order of an epoch is drawn from (seed, epoch), and what is
random inside a batch (windows, masks, captions) from (seed, m). A resumed run therefore sees what an
uninterrupted one would have.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Generator = np.random.Generator


def by_length(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Indices in batches of similar length, shortest first; of equal lengths in their own order."""
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def epoch_batches(lengths: Sequence[int], batch_size: int, rng: Generator, pool: int = 50) -> list[np.ndarray]:
    """Index batches of one epoch: shuffled, then sorted by length within pools of `pool` batches.

    Rows of a batch get similar lengths (little padding) while the order of the batches stays random.
    The last batch may be smaller; every index appears once.
    """
    order = rng.permutation(len(lengths))
    span = batch_size * pool
    batches = []
    for first in range(0, len(order), span):
        chunk = order[first : first + span]
        batches += [chunk[rows] for rows in by_length(np.asarray(lengths)[chunk], batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


class BucketedBatches:
    """`Batches` for the loop: indices bucketed by length, turned into tensors by `collate(indices, rng)`."""

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, collate: Callable[[np.ndarray, Generator], dict]
    ) -> None:
        if not len(lengths):
            raise ValueError("no training examples: the training split is empty")
        self.lengths, self.batch_size, self.seed, self.collate = lengths, batch_size, seed, collate
        self.per_epoch = -(-len(lengths) // batch_size)
        self._epoch, self._order = -1, []

    def __call__(self, micro_step: int) -> dict[str, Any]:
        epoch, index = divmod(micro_step, self.per_epoch)
        if epoch != self._epoch:  # a cache, not a state: it is recomputed from (seed, epoch)
            rng = np.random.default_rng((self.seed, 0, epoch))
            self._epoch, self._order = epoch, epoch_batches(self.lengths, self.batch_size, rng)
        return self.collate(self._order[index], np.random.default_rng((self.seed, 1, micro_step)))


class WindowBatches:
    """Random windows of `window` frames from clips held in memory; shorter clips are zero-padded and masked.

    A clip is drawn in proportion to the windows it holds (long clips more often), as MoMask indexes every
    window. Windows start anywhere. One epoch is one window per `window` frames of data.
    """

    def __init__(self, clips: Iterable[np.ndarray], window: int, batch_size: int, seed: int, unit: int = 4) -> None:
        if window < unit or window % unit:
            raise ValueError(f"--window must be a multiple of {unit} frames (one code), got {window}")
        clips = [clip for clip in clips if len(clip) >= unit]
        if not clips:
            raise ValueError(f"no training clip has {unit} frames or more")
        self.frames = torch.from_numpy(np.concatenate(clips))  # (sum F, D)
        lengths = np.array([len(clip) for clip in clips])
        self.first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.lengths = lengths
        self.starts = np.maximum(lengths - window, 0) + 1  # how many windows each clip holds
        self.cumulative = np.cumsum(self.starts)
        self.window, self.batch_size, self.seed, self.unit = window, batch_size, seed, unit
        self.per_epoch = max(1, int(lengths.sum()) // (window * batch_size))

    def __call__(self, micro_step: int) -> dict[str, Tensor | int | None]:
        rng = np.random.default_rng((self.seed, micro_step))
        drawn = rng.integers(self.cumulative[-1], size=self.batch_size)
        clip = np.searchsorted(self.cumulative, drawn, side="right")
        offset = drawn - (self.cumulative[clip] - self.starts[clip])
        lengths = np.minimum(self.lengths[clip], self.window)
        steps = np.arange(self.window)
        index = (self.first[clip] + offset)[:, None] + np.minimum(steps, lengths[:, None] - 1)
        motion = self.frames[torch.from_numpy(index)]  # (B, window, D)
        full = bool((lengths == self.window).all())
        if not full:
            motion = motion * torch.from_numpy(steps < lengths[:, None])[..., None]
        count = int((lengths // self.unit * self.unit).sum())
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
