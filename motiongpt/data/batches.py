"""Batches as a pure function of the micro-step: no iterator, no state,
nothing to save but an integer.

Micro-step m belongs to epoch m // per_epoch. The order of an epoch is drawn from (seed, epoch), and
the random choices inside a batch (windows, masks, captions) from (seed, m). A resumed run therefore
sees the batches of an uninterrupted one. Captions and tasks are unknown here: a `collate` function
makes the tensors.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Generator = np.random.Generator


def by_length(lengths: Sequence[int], batch_size: int) -> list[np.ndarray]:
    """Indices in batches of similar length, shortest first; equal lengths keep their order."""
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def epoch_batches(lengths: Sequence[int], batch_size: int, rng: Generator, pool: int = 50) -> list[np.ndarray]:
    """Index batches of one epoch: shuffled, then sorted by length within pools of `pool` batches.

    The rows of a batch have similar lengths, so there is little padding, and the order of the
    batches stays random. Every index appears once; the last batch of a pool may be smaller.
    """
    order = rng.permutation(len(lengths))
    span = batch_size * pool
    batches = []
    for first in range(0, len(order), span):
        chunk = order[first : first + span]
        batches += [chunk[rows] for rows in by_length(np.asarray(lengths)[chunk], batch_size)]
    # shuffled again: sorted, each pool would end with its longest clips
    return [batches[i] for i in rng.permutation(len(batches))]


class BucketedBatches:
    """`Batches` for the loop: indices bucketed by length,
    turned into tensors by `collate(indices, rng)`."""

    def __init__(
        self, lengths: Sequence[int], batch_size: int, seed: int, collate: Callable[[np.ndarray, Generator], dict]
    ) -> None:
        if not len(lengths):
            raise ValueError("no training examples: the training split is empty")
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.collate = collate
        # rounded up: the last batch may be smaller
        self.per_epoch = -(-len(lengths) // batch_size)
        self._epoch = -1
        self._order: list[np.ndarray] = []

    def __call__(self, micro_step: int) -> dict[str, Any]:
        epoch, index = divmod(micro_step, self.per_epoch)
        if epoch != self._epoch:  # a cache, not a state: it is recomputed from (seed, epoch)
            # 0 here and 1 below: the order and the contents draw from different streams
            rng = np.random.default_rng((self.seed, 0, epoch))
            self._epoch = epoch
            self._order = epoch_batches(self.lengths, self.batch_size, rng)
        return self.collate(self._order[index], np.random.default_rng((self.seed, 1, micro_step)))


class WindowBatches:
    """Random windows of `window` frames from clips in memory;
    shorter clips are zero-padded, with their lengths.

    A clip is drawn in proportion to the windows it holds, so long clips come more often, as in
    MoMask, which indexes every window. Windows start at any frame. One epoch is one window per
    `window` frames of data.
    """

    def __init__(self, clips: Iterable[np.ndarray], window: int, batch_size: int, seed: int, unit: int = 4) -> None:
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
        self.per_epoch = max(1, int(lengths.sum()) // (window * batch_size))

    def __call__(self, micro_step: int) -> dict[str, Tensor | int | None]:
        # a window among all windows of all clips -> its clip and its first frame there
        rng = np.random.default_rng((self.seed, micro_step))
        drawn = rng.integers(self.cumulative[-1], size=self.batch_size)
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
