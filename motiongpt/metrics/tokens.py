"""Metrics on sequences of motion codes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def edit_distances(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> np.ndarray:
    """Levenshtein 1966 of many pairs (a, b) of codes: the fewest insertions, deletions and replacements that make b
    of a, (pairs,) int64. One table row of all pairs at a time."""
    P = len(pairs)
    lengths = np.array([[len(a), len(b)] for a, b in pairs], dtype=np.int64).reshape(P, 2)
    longest = lengths.max(0, initial=0)
    padded = [np.full((P, size), -1 - side, dtype=np.int64) for side, size in enumerate(longest)]
    for i, pair in enumerate(pairs):
        for side, row in enumerate(pair):
            padded[side][i, : len(row)] = row
    a, b = padded
    steps = np.arange(longest[1] + 1)
    row = np.tile(steps, (P, 1))  # (P, Sb + 1): distances of the empty prefix of a to every prefix of b
    out = lengths[:, 1].copy()
    for i in range(longest[0]):
        replaced = row[:, :-1] + (b != a[:, i : i + 1])
        other = np.concatenate([np.full((P, 1), i + 1), np.minimum(row[:, 1:] + 1, replaced)], axis=1)
        row = np.minimum.accumulate(other - steps, axis=1) + steps  # insertions: min over k <= j of other[k] + j - k
        ended = lengths[:, 0] == i + 1
        out[ended] = row[ended, lengths[ended, 1]]
    return out


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """`edit_distances` of one pair."""
    return int(edit_distances([(a, b)])[0])


def token_distances(
    rows: Sequence[Sequence[int]], references: Sequence[Sequence[Sequence[int]]]
) -> dict[str, np.ndarray]:
    """Edit distance of each sequence of codes to the reference sequences of its caption, (N,) each.

    `mean` over all references and that of the `nearest`, in codes; the same as shares of the longer sequence of each
    pair (`mean_share`, `nearest_share`: 0 equal, 1 nothing in common).
    """
    if len(rows) != len(references) or not all(references):
        raise ValueError("token_distance needs at least one reference for each sequence")
    pairs = [(row, reference) for row, several in zip(rows, references, strict=True) for reference in several]
    edits = edit_distances(pairs).astype(float)
    shares = edits / [max(len(a), len(b), 1) for a, b in pairs]
    counts = np.array([len(several) for several in references])
    first = np.concatenate([[0], counts[:-1].cumsum()]).astype(int)
    sums, least = (lambda x: np.add.reduceat(x, first) / counts), (lambda x: np.minimum.reduceat(x, first))
    return {"mean": sums(edits), "nearest": least(edits), "mean_share": sums(shares), "nearest_share": least(shares)}


def token_distance(tokens: Sequence[int], references: Sequence[Sequence[int]]) -> dict[str, float]:
    """`token_distances` of one sequence."""
    return {name: float(value[0]) for name, value in token_distances([tokens], [references]).items()}


def length_accuracy(lengths: Sequence[int], medians: Sequence[float]) -> dict[str, float]:
    """How well lengths, in codes, meet the median length of their captions in training.

    `within_10_percent` is the share with |length - median| <= 0.1 median, `error` the mean of |length - median|.
    """
    if len(lengths) != len(medians) or not len(lengths):
        raise ValueError(f"length_accuracy takes as many lengths as medians, got {len(lengths)} and {len(medians)}")
    wanted = np.asarray(medians, dtype=float)
    error = np.abs(np.asarray(lengths) - wanted)
    within = error <= 0.1 * wanted + 1e-9  # 1e-9: 11 of 10 is within 10 %, whatever 0.1 is in binary
    return {"within_10_percent": float(within.mean()), "error": float(error.mean())}


def code_counts(codes: Sequence[int] | Tensor, size: int) -> Tensor:
    """Histogram (size,) int64 of codes; -1 (no code) is left out. Active codes are those with a count above 0."""
    codes = torch.as_tensor(codes, dtype=torch.int64).flatten()
    return torch.bincount(codes[codes >= 0], minlength=size)


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of a histogram (N,): how many codes are in use, were all used equally often. 0 when empty.

    A float32 number () on the device of `counts`: a training step does not wait for it.
    """
    total = counts.sum()
    p = counts.float() / total.clamp(min=1)
    entropy = -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum()  # 0 log 0 = 0
    return entropy.exp() * (total > 0)
