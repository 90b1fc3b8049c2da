"""Metrics: arrays in, numbers out. No networks, no files, no global randomness.

Three kinds: joints against joints (tensors (..., F, J, 3), metres, y up; one number per frame comes back, so that
clips of different lengths are averaged over frames), sets of embeddings (N, D) against each other (the field's
protocol of Guo et al. 2022, "Generating Diverse and Natural 3D Human Motions from Text"), and token sequences.
What is drawn is drawn from the numpy Generator that is passed in. Millimetres are for the reader, metres are returned.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SKATE_HEIGHT, SKATE_SPEED, SKATE_WINDOW = 0.05, 0.5, 5  # metres, metres per second, frames: those of GMD


def _same_shape(name: str, predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape:
        raise ValueError(f"{name} compares equal shapes, got {tuple(predicted.shape)} and {tuple(target.shape)}")


# 1) Joints against joints.


def mpjpe(predicted: Tensor, target: Tensor, root: int | None = 0) -> Tensor:
    """Mean per-joint position error, metres, per frame: mean_j |p_j - t_j|.

    Args:
        predicted, target: (..., J, 3).
        root: joint both are moved to before comparing (root-aligned, MoMask's and MotionGPT's MPJPE);
            None compares global positions.

    Returns: (...,) errors.
    """
    _same_shape("mpjpe", predicted, target)
    if root is not None:
        predicted = predicted - predicted[..., root : root + 1, :]
        target = target - target[..., root : root + 1, :]
    return (predicted - target).norm(dim=-1).mean(-1)


def procrustes_align(predicted: Tensor, target: Tensor) -> Tensor:
    """Each pose of `predicted` (..., J, 3) moved, turned and scaled to be nearest to `target` in squared distance.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns": with both centred
    and P^T T = U S V^T, the rotation is U diag(1, 1, d) V^T, where d = det(U V^T) keeps mirror images out, and the
    scale is trace(S diag(1, 1, d)) / |P|^2. A pose whose joints all coincide goes to the target's centre.
    """
    _same_shape("procrustes_align", predicted, target)
    centre = target.mean(-2, keepdim=True)
    p, t = predicted - predicted.mean(-2, keepdim=True), target - centre
    u, s, vt = torch.linalg.svd(p.transpose(-1, -2) @ t)
    flip = torch.ones_like(s)
    flip[..., -1] = torch.linalg.det(u @ vt).sign()
    size = p.square().sum((-1, -2)).clamp(min=torch.finfo(p.dtype).tiny)
    scale = (s * flip).sum(-1) / size
    return scale[..., None, None] * (p @ (u * flip[..., None, :]) @ vt) + centre


def pa_mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """MPJPE after `procrustes_align`, metres, per frame: (..., J, 3) -> (...,). As MotionGPT's PAMPJPE.

    It sees the pose only: where the body is, where it faces and how tall it is do not count.
    """
    return mpjpe(procrustes_align(predicted, target), target, root=None)


def velocity_error(predicted: Tensor, target: Tensor) -> Tensor:
    """mean_j |dp_j - dt_j| of first differences in time, metres per frame: (..., F, J, 3) -> (..., F - 1).

    Times fps it is m/s. The first difference of `acceleration_error`.
    """
    _same_shape("velocity_error", predicted, target)
    return (predicted - target).diff(dim=-3).norm(dim=-1).mean(-1)


def acceleration_error(predicted: Tensor, target: Tensor) -> Tensor:
    """mean_j |ddp_j - ddt_j| of second differences x[t] - 2 x[t+1] + x[t+2], metres per frame^2, global positions.

    (..., F, J, 3) -> (..., F - 2); empty below three frames. The field prints this in mm per frame^2 and calls it ACCL
    (MotionGPT's calc_accel; Kanazawa et al. 2019, "Learning 3D Human Dynamics from Video"); times fps^2 it is m/s^2,
    which compares across frame rates.
    """
    _same_shape("acceleration_error", predicted, target)
    return (predicted - target).diff(n=2, dim=-3).norm(dim=-1).mean(-1)


def displacement_errors(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """ADE and FDE of (..., F, J, 3): the distance between whole poses, sqrt(sum_j |p_j - t_j|^2), over time and at the
    last frame; metres, (...,) each.

    As MotionGPT's PredMetrics and DLow (Yuan & Kitani 2020): one pose is one vector of 3 J numbers, so this is
    up to sqrt(J) times a mean joint error. Cut what was given (the prefix) off first.
    """
    _same_shape("displacement_errors", predicted, target)
    if predicted.shape[-3] == 0:
        raise ValueError("displacement_errors needs at least one frame")
    distance = (predicted - target).flatten(-2).norm(dim=-1)  # (..., F)
    return distance.mean(-1), distance[..., -1]


# 2) Joints alone.


def foot_skate(
    joints: Tensor,
    feet: Sequence[int],
    fps: float,
    floor: float = 0.0,
    height: float = SKATE_HEIGHT,
    speed: float = SKATE_SPEED,
) -> Tensor:
    """In which steps a foot that stands on the floor slides: (..., F, J, 3), metres -> (..., F - 1) bool.

    Its mean is the foot-skate ratio, GMD's calculate_skating_ratio (Karunratanakul et al. 2023, "Guided Motion
    Diffusion for Controllable Human Motion Synthesis"), whose feet are the two toe joints: a step counts where one of
    `feet` is below `height` above the floor before and after it, and slides faster than `speed` in x and z, both in
    this step and in the mean of the five steps around it, in which steps outside the clip count as zero.
    """
    foot = joints[..., list(feet), :]
    low = foot[..., 1] - floor < height  # (..., F, feet)
    slide = foot[..., [0, 2]].diff(dim=-3).norm(dim=-1) * fps  # (..., F - 1, feet), m/s
    edge = SKATE_WINDOW // 2
    around = torch.nn.functional.pad(slide, (0, 0, edge, edge)).unfold(-2, SKATE_WINDOW, 1).mean(-1)
    skating = low[..., :-1, :] & low[..., 1:, :] & (slide > speed) & (around > speed)
    return skating.any(-1)


def floor_penetration(joints: Tensor, floor: float = 0.0) -> Tensor:
    """How deep the lowest joint is below the floor, metres, 0 above it: (..., F, J, 3) -> (..., F).

    PhysDiff's Penetrate (Yuan et al. 2023), with joints in place of mesh vertices: soles are below their joints.
    """
    return (floor - joints[..., 1].amin(-1)).clamp(min=0)


def jerk(joints: Tensor, fps: float) -> Tensor:
    """Mean over joints of |third derivative of position|, m/s^3: (..., F, J, 3) -> (..., F - 3).

    Third differences times fps^3 (Flash & Hogan 1985, "The coordination of arm movements", whose people minimise it).
    It grows fast with the frame rate where there is noise: compare at one frame rate only.
    """
    return joints.diff(n=3, dim=-3).norm(dim=-1).mean(-1) * fps**3


def bone_lengths(joints: Tensor, parents: Sequence[int]) -> Tensor:
    """Distance of each joint from its parent, metres, float64: (..., F, J, 3) -> (..., F, bones); parents as below."""
    bones = [(j, parent) for j, parent in enumerate(parents) if parent >= 0]
    child, parent = torch.tensor(bones, device=joints.device).T
    return (joints.index_select(-2, child) - joints.index_select(-2, parent)).norm(dim=-1).double()


def bone_length_drift(joints: Tensor, parents: Sequence[int]) -> Tensor:
    """How much bones stretch: mean over bones of standard deviation over time / mean length. A share; 0 is rigid.

    joints (..., F, J, 3) -> (...,); parents (J,), -1 for the root. Of our own making: a body has rigid bones, features
    do not know it.
    """
    return length_drift(bone_lengths(joints, parents))


def length_drift(lengths: Tensor) -> Tensor:
    """`bone_length_drift` of lengths (..., F, bones) -> (...,)."""
    return (lengths.std(-2, correction=0) / lengths.mean(-2).clamp(min=1e-12)).mean(-1)


def limit_violation(values: Tensor, lower: Tensor | float, upper: Tensor | float) -> Tensor:
    """In which frames something is outside its limits: (..., F, n) -> (..., F) bool; its mean is a share of frames.

    Limits are anything of n numbers: joint angles in radians, bone lengths in metres. NaN is outside.
    """
    return ~((values >= lower) & (values <= upper)).all(-1)


# 3) Sets of embeddings.


def spread(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and a root R of the covariance, R^T R = C with N - 1 below, of the rows of x (N, D); float64.

    R is the smaller of two: the centred rows / sqrt(N - 1) themselves, (N, D), or from N = D + 1 on the symmetric root
    by eigenvalues, (D, D).
    """
    x = x.double()
    mean = x.mean(0)
    centred = (x - mean) / (len(x) - 1) ** 0.5
    if len(x) <= x.shape[1]:
        return mean, centred
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    return mean, (vectors * values.clamp(min=0).sqrt()) @ vectors.T


def frechet(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """Frechet distance of two Gaussians given by their `spread`: |mu_a - mu_b|^2 + Tr(A + B - 2 (A B)^(1/2)).

    With any roots A = R^T R and B = S^T S the trace of (A B)^(1/2) is the sum of the singular values of R S^T: their
    squares are the eigenvalues of R B R^T, and those of A B = R^T R B are the same but for zeros.
    """
    (mean_a, root_a), (mean_b, root_b) = a, b
    cross = torch.linalg.svdvals(root_a @ root_b.T).sum()
    return float((mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * cross)


def fid(a: Tensor, b: Tensor, allow_few: bool = False) -> float:
    """Frechet distance of two sets of embeddings (N, D) and (M, D), taken as Gaussians (Heusel et al. 2017, eq. 6).

    `frechet` of their `spread`: float64, nothing complex, no offset on the diagonal, and equal to scipy's sqrtm form
    where that one is sound.

    Raises ValueError for shapes that do not fit, NaN, and fewer than D + 1 rows: the covariance is then singular and
    the number says more about N than about the sets. `allow_few` computes it all the same, from two rows on; never
    compare it with one from another N.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"fid compares (N, D) and (M, D), got {tuple(a.shape)} and {tuple(b.shape)}")
    D, N = a.shape[1], min(len(a), len(b))
    if N < 2 or (N <= D and not allow_few):
        raise ValueError(f"FID in {D} dimensions needs at least {D + 1} samples of each set, got {len(a)} and {len(b)}")
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ValueError("FID of embeddings that are NaN or infinite; drop those samples and say so")
    return frechet(spread(a), spread(b))


def retrieval_ranks(text: Tensor, motion: Tensor, rng: np.random.Generator, group: int = 32) -> Tensor:
    """The place of each text's own motion among the motions of its group, 1 the nearest: (N, D) twice -> (N,) int64.

    Row i of one belongs to row i of the other. Guo et al.: pairs are shuffled, cut into groups of 32 (the rest is
    dropped, here with rank 0), and each text ranks the 32 motions of its group by Euclidean distance. Ties count
    against us: embeddings that are all equal are all last.

    Raises ValueError for unequal shapes and for fewer than one group.
    """
    _same_shape("r_precision", text, motion)
    if len(text) < group:
        raise ValueError(f"R-precision needs at least one group of {group} pairs, got {len(text)}")
    order = torch.from_numpy(rng.permutation(len(text))[: len(text) // group * group])
    text, motion, ranks = text.double(), motion.double(), torch.zeros(len(text), dtype=torch.int64)
    for rows in order.split(64 * group):  # a bounded piece of memory at a time
        a, b = (x[rows].unflatten(0, (-1, group)) for x in (text, motion))  # (groups, 32, D)
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        own = distance.diagonal(dim1=-2, dim2=-1)[..., None]
        ranks[rows] = (distance <= own).sum(-1).flatten()
    return ranks


def r_precision(
    text: Tensor, motion: Tensor, rng: np.random.Generator, group: int = 32, top: int = 3
) -> tuple[float, ...]:
    """R-precision top 1 ... top k: how often a text's own motion is among the k nearest, see `retrieval_ranks`."""
    return top_shares(retrieval_ranks(text, motion, rng, group), top)


def top_shares(ranks: Tensor, top: int) -> tuple[float, ...]:
    """Shares of `retrieval_ranks` of at most 1, 2, ... top; those of rank 0 are left out."""
    ranks = ranks[ranks > 0]
    return tuple(float((ranks <= k).double().mean()) for k in range(1, top + 1))


def pair_distances(text: Tensor, motion: Tensor) -> Tensor:
    """Euclidean distance of each pair of text and motion, (N, D) twice -> (N,) float64."""
    _same_shape("mm_dist", text, motion)
    return (text.double() - motion.double()).norm(dim=-1)


def mm_dist(text: Tensor, motion: Tensor) -> float:
    """MM-Dist: mean Euclidean distance of the pairs of text and motion (..., D). Guo et al.'s matching score."""
    return float(pair_distances(text, motion).mean())


def diversity(motion: Tensor, rng: np.random.Generator, pairs: int | None = None) -> float:
    """Mean Euclidean distance of random pairs of motions (N, D): 300 pairs, N // 2 where there are fewer.

    Guo et al.: both sides are drawn without repetition, each for itself, so a motion may meet itself.
    """
    pairs = min(300, len(motion) // 2) if pairs is None else pairs
    if not 1 <= pairs <= len(motion):
        raise ValueError(f"diversity of {len(motion)} motions cannot take {pairs} pairs")
    first, second = (torch.from_numpy(rng.permutation(len(motion))[:pairs]) for _ in range(2))
    return mm_dist(motion[first], motion[second])


def multimodality(motion: Tensor, rng: np.random.Generator, pairs: int = 10) -> float:
    """Mean distance of motions of one text: (texts, repeats, D), `pairs` random pairs of its repeats each.

    Guo et al.: 100 texts, 30 repeats, 10 pairs, the same draw for all texts, sides as in `diversity`.
    """
    if motion.ndim != 3 or not 1 <= pairs <= motion.shape[1]:
        raise ValueError(f"multimodality takes (texts, repeats >= {pairs}, D), got {tuple(motion.shape)}")
    first, second = (torch.from_numpy(rng.permutation(motion.shape[1])[:pairs]) for _ in range(2))
    return mm_dist(motion[:, first], motion[:, second])


# 4) Token sequences.


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
