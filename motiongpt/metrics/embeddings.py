"""Metrics on embeddings (N, D) of motions and texts:
FID, R-precision, MM-Dist, Diversity, MultiModality.

The field's protocol: Guo et al. 2022, "Generating Diverse and Natural 3D Human Motions from Text",
and utils/metrics.py of its code, text-to-motion. Random draws come from the numpy Generator that is
passed in.
"""

import numpy as np
import torch
from torch import Tensor

from motiongpt.metrics.joints import check_same_shape

GROUP = 32  # R-precision: a text looks for its own motion among so many
ROUNDING = 1e-15  # of an eigenvalue, relative to the largest one: a few units in the last place of float64
EXACT = 1e-11  # relative: a sum of roots of eigenvalues is good enough if their rounding adds no more


def spread(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and a root R of the covariance C of the rows of x (N, D):
    R^T R = C, divided by N - 1; float64.

    R is the smaller of two roots: the centred rows / sqrt(N - 1), (N, D),
    or for N > D the Cholesky factor, (D, D).

    It and all that follows is numpy's alone: with torch in between, two sets of threads would keep
    each other off the cores. And of a matrix with itself numpy computes half the products, torch all.

    Raises ValueError for NaN and infinite values.
    """
    N, D = x.shape
    x = x.detach().cpu()
    rows = (x.float() if x.dtype.itemsize < 4 else x).numpy()  # numpy has no bfloat16, nor any float of 8 bits
    centred = rows.astype(np.float64)  # always a copy: it is centred in place
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and refused below
        mean = centred.mean(0)
    if not np.isfinite(mean).all():  # one bad number spoils a mean
        raise ValueError("FID of embeddings with NaN or infinite values; drop those samples and report it")
    centred -= mean
    if N <= D:
        return mean, centred / (N - 1) ** 0.5
    covariance = centred.T @ centred / (N - 1)
    try:
        return mean, np.linalg.cholesky(covariance).T
    except np.linalg.LinAlgError:  # singular: rounding may make its zeros negative
        values, vectors = np.linalg.eigh(covariance)
        return mean, (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def frechet(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """Frechet distance of two Gaussians given by their `spread`:
    |mu_a - mu_b|^2 + Tr(A + B - 2 (A B)^(1/2)).

    Dowson & Landau 1982, "The Frechet distance between multivariate normal distributions". For any
    roots A = R^T R and B = S^T S, the trace of (A B)^(1/2) is the sum of the singular values of R
    S^T: their squares are the eigenvalues of R B R^T, and A B = R^T R B has the same ones except
    for zeros.
    """
    mean_a, root_a = a
    mean_b, root_b = b
    cross = nuclear_norm(root_a @ root_b.T)
    # the squared entries of a root sum up to the trace of its covariance
    return float(np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross)


def nuclear_norm(x: np.ndarray) -> float:
    """The sum of the singular values of x (n, m).

    They are roots of the eigenvalues of x^T x, which takes half the time, unless an eigenvalue is so small that its
    root is mostly rounding.
    """
    squares = np.linalg.eigvalsh(x.T @ x if x.shape[0] > x.shape[1] else x @ x.T)  # ascending
    if squares[0] > 0:  # rounding may make a zero negative
        values = np.sqrt(squares)
        noise = ROUNDING * squares[-1] / (2 * values)
        if noise.sum() < EXACT * values.sum():
            return float(values.sum())
    return float(np.linalg.svd(x, compute_uv=False).sum())


def fid(a: Tensor, b: Tensor, allow_few: bool = False) -> float:
    """Frechet distance of two sets of embeddings (N, D) and (M, D),
    taken as Gaussians (Heusel et al. 2017, eq. 6).

    In float64, without complex numbers or an offset on the diagonal. It equals the field's
    scipy.linalg.sqrtm whenever that is accurate. The two traces and the term in between nearly
    cancel for sets that are alike: with covariances far from singular, the error is a few 1e-16 of
    the traces, not of the distance.

    Raises ValueError for shapes that do not fit, for NaN, and for fewer than D + 1 rows: the
    covariance is then singular, and the number says more about N than about the sets. `allow_few`
    computes it anyway, from two rows on; never compare it with a number from another N.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"fid compares (N, D) and (M, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    D = a.shape[1]
    N = min(len(a), len(b))
    if N < 2 or (N <= D and not allow_few):
        raise ValueError(f"FID in {D} dimensions needs at least {D + 1} samples of each set, got {len(a)} and {len(b)}")
    return frechet(spread(a), spread(b))


def retrieval_ranks(text: Tensor, motion: Tensor, rng: np.random.Generator, group: int = GROUP) -> Tensor:
    """The rank of each text's own motion among the motions of its group, 1 is nearest:
    (N, D) twice -> (N,) int64.

    Row i of `text` belongs to row i of `motion`. As in Guo et al., pairs are shuffled and cut into
    groups of 32, and each text ranks the 32 motions of its group by Euclidean distance. Pairs left
    over get rank 0. A tie counts as the worse rank: embeddings that are all equal are all last.

    Raises ValueError for unequal shapes and for fewer than one group.
    """
    check_same_shape("r_precision", text, motion)
    if len(text) < group:
        raise ValueError(f"R-precision needs at least one group of {group} pairs, got {len(text)}")
    # pairs past the last full group keep rank 0
    order = torch.from_numpy(rng.permutation(len(text))[: len(text) // group * group])
    text = text.double()
    motion = motion.double()
    ranks = torch.zeros(len(text), dtype=torch.int64)
    for rows in order.split(64 * group):  # bounds the memory
        a, b = (x[rows].unflatten(0, (-1, group)) for x in (text, motion))  # (groups, 32, D)
        # computed through a matrix product, small distances would lose their digits
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        own = distance.diagonal(dim1=-2, dim2=-1)[..., None]  # (groups, 32, 1)
        # <= counts the own motion as 1, and every tie against it
        ranks[rows] = (distance <= own).sum(-1).flatten()
    return ranks


def r_precision(
    text: Tensor, motion: Tensor, rng: np.random.Generator, group: int = GROUP, top: int = 3
) -> tuple[float, ...]:
    """R-precision top 1 ... `top`: how often a text's own motion is among the k nearest,
    see `retrieval_ranks`."""
    return top_shares(retrieval_ranks(text, motion, rng, group), top)


def top_shares(ranks: Tensor, top: int) -> tuple[float, ...]:
    """The shares of `retrieval_ranks` that are at most 1, 2, ... `top`; rank 0 is left out."""
    ranks = ranks[ranks > 0]
    return tuple(float((ranks <= k).double().mean()) for k in range(1, top + 1))


def pair_distances(text: Tensor, motion: Tensor) -> Tensor:
    """Euclidean distance of each pair of text and motion, (N, D) twice -> (N,) float64."""
    check_same_shape("mm_dist", text, motion)
    return (text.double() - motion.double()).norm(dim=-1)


def mm_dist(text: Tensor, motion: Tensor) -> float:
    """MM-Dist, the matching score of Guo et al.: the mean Euclidean distance of pairs of text and
    motion (..., D)."""
    return float(pair_distances(text, motion).mean())


def diversity(motion: Tensor, rng: np.random.Generator, pairs: int | None = None) -> float:
    """Mean Euclidean distance of random pairs of motions (N, D):
    300 pairs, or N // 2 if that is fewer.

    calculate_diversity of Guo et al., after Action2Motion (Guo et al. 2020). Each side is drawn on
    its own, without repetition, so a motion may meet itself.
    """
    pairs = min(300, len(motion) // 2) if pairs is None else pairs
    if not 1 <= pairs <= len(motion):
        raise ValueError(f"diversity of {len(motion)} motions cannot take {pairs} pairs")
    first, second = (torch.from_numpy(rng.permutation(len(motion))[:pairs]) for _ in range(2))
    return mm_dist(motion[first], motion[second])


def multimodality(motion: Tensor, rng: np.random.Generator, pairs: int = 10) -> float:
    """Mean distance of motions of the same text, (texts, repeats, D),
    over `pairs` random pairs of its repeats.

    calculate_multimodality of Guo et al.: 100 texts, 30 repeats, 10 pairs. All texts share one
    draw, made as in `diversity`.
    """
    if motion.ndim != 3 or not 1 <= pairs <= motion.shape[1]:
        raise ValueError(f"multimodality takes (texts, repeats >= {pairs}, D), got {tuple(motion.shape)}")
    first, second = (torch.from_numpy(rng.permutation(motion.shape[1])[:pairs]) for _ in range(2))
    return mm_dist(motion[:, first], motion[:, second])
