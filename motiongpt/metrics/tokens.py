"""Metrics on sequences of motion codes: edit distance, length, and how many codes are in use."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def edit_distances(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> np.ndarray:
    """Edit distance of each pair (a, b) of code sequences, (pairs,) int64.

    The fewest insertions, deletions and replacements that turn a into b (Levenshtein 1966), by the
    table of Wagner & Fischer 1974. All pairs advance together, one row of the table at a time.
    """
    P = len(pairs)
    lengths = np.array([[len(a), len(b)] for a, b in pairs], dtype=np.int64).reshape(P, 2)
    longest = lengths.max(0, initial=0)
    # padding -1 in a and -2 in b: it equals nothing
    padded = [np.full((P, size), -1 - side, dtype=np.int32) for side, size in enumerate(longest)]
    for i, pair in enumerate(pairs):
        for side, row in enumerate(pair):
            padded[side][i, : len(row)] = row
    a, b = padded
    # the table of prefix distances row by row, for all pairs at once
    steps = np.arange(longest[1] + 1, dtype=np.int32)  # half of int64's bytes, two thirds of its time
    row = np.tile(steps, (P, 1))  # (P, Sb + 1): distances of the empty prefix of a to every prefix of b
    # an empty a is as far away as b is long
    out = lengths[:, 1].copy()
    for i in range(longest[0]):
        # from diagonally above: equal codes cost nothing, a replacement 1
        replaced = row[:, :-1] + (b != a[:, i : i + 1])
        # from above: a code of a is deleted
        other = np.concatenate([np.full((P, 1), i + 1, np.int32), np.minimum(row[:, 1:] + 1, replaced)], axis=1)
        row = np.minimum.accumulate(other - steps, axis=1) + steps  # insertions: min over k <= j of other[k] + j - k
        ended = lengths[:, 0] == i + 1  # this row of the table was the last of these pairs
        out[ended] = row[ended, lengths[ended, 1]]
    return out


def token_distances(
    rows: Sequence[Sequence[int]], references: Sequence[Sequence[Sequence[int]]]
) -> dict[str, np.ndarray]:
    """Edit distance of each code sequence to the reference sequences of its caption, (N,) each.

    `mean` is over all references, `nearest` is the smallest, both in codes. `mean_share` and
    `nearest_share` are shares of the longer sequence of a pair: 0 is equal, 1 has nothing in
    common.
    """
    if len(rows) != len(references) or not all(references):
        raise ValueError("token_distances needs at least one reference for each sequence")
    # all pairs in one list, so that one call computes every distance
    pairs = [(row, reference) for row, several in zip(rows, references, strict=True) for reference in several]
    edits = edit_distances(pairs).astype(float)
    shares = edits / [max(len(a), len(b), 1) for a, b in pairs]
    counts = np.array([len(several) for several in references])
    first = np.concatenate([[0], counts[:-1].cumsum()]).astype(int)  # where the pairs of each sequence begin
    return {
        "mean": np.add.reduceat(edits, first) / counts,
        "nearest": np.minimum.reduceat(edits, first),
        "mean_share": np.add.reduceat(shares, first) / counts,
        "nearest_share": np.minimum.reduceat(shares, first),
    }


def length_accuracy(lengths: Sequence[int], medians: Sequence[float]) -> dict[str, float]:
    """How close lengths, in codes, are to the median length of their captions in training.

    `within_10_percent` is the share with |length - median| <= 0.1 median,
    `error` is the mean of |length - median|.
    """
    if len(lengths) != len(medians) or not len(lengths):
        raise ValueError(f"length_accuracy takes as many lengths as medians, got {len(lengths)} and {len(medians)}")
    wanted = np.asarray(medians, dtype=float)
    error = np.abs(np.asarray(lengths) - wanted)
    within = error <= 0.1 * wanted + 1e-9  # 1e-9: 11 of 10 is within 10 %, whatever 0.1 is in binary
    return {"within_10_percent": float(within.mean()), "error": float(error.mean())}


def code_counts(codes: Sequence[int] | Tensor, size: int) -> Tensor:
    """Histogram (size,) int64 of codes; -1 (no code) is left out.
    A code is active if its count is above 0."""
    codes = torch.as_tensor(codes, dtype=torch.int64).flatten()
    return torch.bincount(codes[codes >= 0], minlength=size)


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of a histogram (N,): the number of codes in use if all were used equally often;
    0 if it is empty.

    As the public code of VQ-VAE (van den Oord et al. 2017) and T2M-GPT reports it. A float32 tensor
    () on the device of `counts`, so that a training step need not wait for it.
    """
    total = counts.sum()
    p = counts.float() / total.clamp(min=1)
    entropy = -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum()  # 0 log 0 = 0
    return entropy.exp() * (total > 0)
