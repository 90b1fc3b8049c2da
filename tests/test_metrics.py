"""Metrics against numbers worked out by hand, and against scipy if it has them."""

import math
import warnings

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt.metrics.embeddings import (
    diversity,
    fid,
    mm_dist,
    multimodality,
    nuclear_norm,
    r_precision,
    retrieval_ranks,
    spread,
    top_shares,
)
from motiongpt.metrics.joints import (
    acceleration_error,
    bone_lengths,
    displacement_errors,
    floor_penetration,
    foot_skate,
    jerk,
    length_drift,
    limit_violation,
    mpjpe,
    pa_mpjpe,
    procrustes_align,
    velocity_error,
)
from motiongpt.metrics.tokens import code_counts, edit_distances, length_accuracy, perplexity, token_distances


def test_mpjpe_by_hand():
    target = torch.zeros(2, 3, 3)
    predicted = target.clone()
    predicted[0, 1] = torch.tensor([3.0, 0.0, 4.0])  # 5 m in one of three joints
    predicted[1] += torch.tensor([0.0, 2.0, 0.0])  # the whole body 2 m too high
    assert mpjpe(predicted, target).tolist() == pytest.approx([5 / 3, 0.0])
    assert mpjpe(predicted, target, root=None).tolist() == pytest.approx([5 / 3, 2.0])
    # aligned at joint 1, the joint that is off moves the two others instead
    assert mpjpe(predicted, target, root=1).tolist() == pytest.approx([10 / 3, 0.0])


def test_mpjpe_properties():
    a, b = torch.randn(4, 7, 22, 3), torch.randn(4, 7, 22, 3)
    assert mpjpe(a, b).shape == (4, 7) and (mpjpe(a, a) == 0).all()
    torch.testing.assert_close(mpjpe(a, b), mpjpe(b, a))
    torch.testing.assert_close(mpjpe(a + 3.0, b), mpjpe(a, b))  # root-aligned: the place of the body does not matter
    with pytest.raises(ValueError, match=r"equal shapes, got \(4, 7, 22, 3\) and \(4, 7, 21, 3\)"):
        mpjpe(a, b[:, :, :21])


def test_displacement_errors_by_hand():
    target = torch.zeros(3, 4, 3)
    predicted = target.clone()
    predicted[0] += torch.tensor([3.0, 0.0, 4.0])  # the whole body 5 m off: four joints, 2 * 5 m
    predicted[2, 1] = torch.tensor([0.0, 6.0, 0.0])  # one joint 6 m off
    ade, fde = displacement_errors(predicted, target)
    assert (float(ade), float(fde)) == pytest.approx(((10 + 0 + 6) / 3, 6.0))
    ade, fde = displacement_errors(predicted, target, root=0)  # the place of the body does not matter
    assert (float(ade), float(fde)) == pytest.approx((6 / 3, 6.0))
    ade, fde = displacement_errors(predicted, target, root=1)  # the joint that is off moves the three others
    assert (float(ade), float(fde)) == pytest.approx((6 * math.sqrt(3) / 3,) + (6 * math.sqrt(3),))
    a, b = torch.randn(5, 6, 22, 3), torch.randn(5, 6, 22, 3)
    assert displacement_errors(a, b)[0].shape == (5,)
    assert (displacement_errors(a, b)[0] >= mpjpe(a, b, root=None).mean(-1)).all()  # a norm of norms over their mean
    with pytest.raises(ValueError, match="at least one frame"):
        displacement_errors(a[:, :0], b[:, :0])


def test_perplexity_by_hand():
    assert perplexity(torch.tensor([5, 5, 5, 5])) == pytest.approx(4.0)
    assert perplexity(torch.tensor([9, 0, 0])) == pytest.approx(1.0)
    assert perplexity(torch.arange(4)).shape == ()  # a tensor: a training step logs it without waiting for it
    wanted = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert perplexity(torch.tensor([3, 1, 0])) == pytest.approx(wanted)
    assert perplexity(torch.zeros(4, dtype=torch.long)) == 0.0


def poses(*shape: int) -> torch.Tensor:
    """Random poses in float64: oracles are then good to rounding."""
    return torch.randn(*shape, 22, 3, dtype=torch.float64)


# Joints against joints.


def test_pa_mpjpe_ignores_rotation_scale_and_place():
    target = poses(5)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    turn = turn * torch.linalg.det(turn)  # a rotation, not a mirror image
    moved = 1.7 * target @ turn + torch.tensor([3.0, -1.0, 2.0], dtype=torch.float64)
    assert pa_mpjpe(moved, target).max() < 1e-12  # float64 rounding
    assert mpjpe(moved, target).min() > 0.1


def test_pa_mpjpe_does_not_mirror():
    target = poses(4)
    mirrored = target * target.new_tensor([-1.0, 1.0, 1.0])
    assert pa_mpjpe(mirrored, target).min() > 0.1
    moved = procrustes_align(mirrored, target)
    # a mirror image stays one: the signed volume of three joints about the fourth keeps its sign
    a, b = (torch.linalg.det(x[:, :3] - x[:, 3:4]) for x in (mirrored, moved))
    assert (a.sign() == b.sign()).all()


def test_procrustes_against_scipy():
    """scipy's procrustes may mirror, so only its rotation is the oracle; the scale is least squares by hand."""
    Rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    predicted, target = poses(6), poses(6)
    aligned = procrustes_align(predicted, target)
    for p, t, ours in zip(predicted, target, aligned, strict=True):
        p0, t0 = (p - p.mean(0)).numpy(), (t - t.mean(0)).numpy()
        rotation, _ = Rotation.align_vectors(t0, p0)
        turned = rotation.apply(p0)
        scale = (turned * t0).sum() / (p0**2).sum()
        wanted = np.linalg.norm(scale * turned - t0, axis=-1).mean()  # the roots are not aligned
        assert float(pa_mpjpe(p, t)) == pytest.approx(wanted, abs=1e-9)
        np.testing.assert_allclose(ours.numpy(), scale * turned + t.mean(0).numpy(), atol=1e-9)  # float64 SVDs


def test_procrustes_of_a_point_is_finite():
    target = poses(2)
    aligned = procrustes_align(torch.ones_like(target), target)
    torch.testing.assert_close(aligned, target.mean(-2, keepdim=True).expand_as(target))


def test_velocity_and_acceleration_by_hand():
    """One of two joints moves as t^2 along x: steps 1, 3, 5, second differences 2, 2."""
    target = torch.zeros(4, 2, 3)
    predicted = target.clone()
    predicted[:, 1, 0] = torch.arange(4.0) ** 2
    assert velocity_error(predicted, target).tolist() == [0.5, 1.5, 2.5]
    assert acceleration_error(predicted, target).tolist() == [1.0, 1.0]
    assert (acceleration_error(predicted + 3 * torch.arange(4.0)[:, None, None], predicted) == 0).all()  # steady drift
    around = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0]])[:, None]  # always 1 m off, but elsewhere
    assert velocity_error(around, torch.zeros(3, 1, 3)).tolist() == pytest.approx([2**0.5] * 2)
    assert acceleration_error(around, around.roll(1, -1)).tolist() == pytest.approx([8**0.5])  # (0, -2, 0), (0, 0, -2)
    assert acceleration_error(predicted[:2], target[:2]).shape == (0,)
    assert acceleration_error(predicted.expand(5, 4, 2, 3), target.expand(5, 4, 2, 3)).shape == (5, 2)


# Joints alone.


def test_foot_skate_by_hand():
    """Two joints, the first is the foot. 10 fps, so 0.1 m a step is 1 m/s."""
    joints = torch.zeros(12, 2, 3)
    joints[:, 0, 0] = 0.1 * torch.arange(12.0)
    # the mean over five steps counts steps outside the clip as zero: 3 of 5 steps at 1 m/s are above 0.5 already
    assert foot_skate(joints, [0], 10.0).tolist() == [True] * 11
    assert not foot_skate(joints, [1], 10.0).any()
    assert foot_skate(joints, [1, 0], 10.0).all()  # one foot is enough
    assert not foot_skate(joints, [0], 4.0).any()  # 0.4 m/s
    lifted = joints.clone()
    lifted[6:, 0, 1] = 0.06  # both ends of a step must be low
    assert foot_skate(lifted, [0], 10.0).tolist() == [True] * 5 + [False] * 6
    assert foot_skate(lifted, [0], 10.0, floor=0.02).all()
    up = torch.zeros(12, 1, 3)
    up[:, 0, 1] = -0.1 * torch.arange(12.0)  # below the floor, but sinking is not sliding
    assert not foot_skate(up, [0], 10.0).any()


def test_a_single_fast_step_is_not_skating():
    """GMD's mean over five steps: one step of 2 m/s among still ones averages 0.4 m/s, one of 3 m/s 0.6 m/s."""
    for size, wanted in ((0.2, 0), (0.3, 1)):
        joints = torch.zeros(12, 1, 3)
        joints[6:, 0, 2] = size
        assert int(foot_skate(joints, [0], 10.0).sum()) == wanted


def test_foot_skate_against_scipy_filter():
    uniform_filter1d = pytest.importorskip("scipy.ndimage").uniform_filter1d
    rng = np.random.default_rng(0)
    joints = rng.normal(size=(60, 2, 3)).cumsum(0) * 0.02
    joints[..., 1] = rng.uniform(0, 0.08, size=(60, 2))
    speed = np.linalg.norm(np.diff(joints[..., [0, 2]], axis=0), axis=-1) * 20
    mean = uniform_filter1d(speed, 5, axis=0, mode="constant")
    low = joints[..., 1] < 0.05
    wanted = (low[1:] & low[:-1] & (speed > 0.5) & (mean > 0.5)).any(-1)
    assert 0 < wanted.mean() < 1
    assert foot_skate(torch.from_numpy(joints), [0, 1], 20.0).tolist() == wanted.tolist()


def test_floor_penetration_by_hand():
    joints = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.1, 0.0]], [[0.0, 1.0, 0.0], [0.0, -0.3, 0.0]]])
    assert floor_penetration(joints).tolist() == pytest.approx([0.0, 0.3])
    assert floor_penetration(joints, floor=0.2).tolist() == pytest.approx([0.1, 0.5])


def test_jerk_by_hand():
    """x = t^3 has the third derivative 6, at any frame rate, exactly also in differences."""
    for fps in (10.0, 20.0):
        joints = torch.zeros(9, 2, 3, dtype=torch.float64)
        joints[:, 0, 1] = (torch.arange(9, dtype=torch.float64) / fps) ** 3
        assert jerk(joints, fps).tolist() == pytest.approx([3.0] * 6)  # the mean of 6 and of a joint at rest


def test_length_drift_by_hand():
    joints = torch.zeros(2, 3, 3)
    joints[:, 1, 0] = torch.tensor([1.0, 3.0])  # lengths 1 and 3: deviation 1, mean 2
    joints[:, 2] = joints[:, 1] + torch.tensor([0.0, 2.0, 0.0])  # rigid
    assert length_drift(bone_lengths(joints, (-1, 0, 1))) == pytest.approx(0.25)
    assert length_drift(bone_lengths(joints + torch.randn(2, 1, 3), (-1, 0, 1))) == pytest.approx(0.25)


def test_bones_of_several_clips_at_once():
    clips = torch.randn(3, 5, 4, 3)
    parents = (-1, 0, 1, 0)
    lengths = bone_lengths(clips, parents)
    alone = [float(length_drift(bone_lengths(clip, parents))) for clip in clips]
    assert length_drift(lengths).tolist() == pytest.approx(alone)
    assert lengths.shape == (3, 5, 3)
    assert lengths[1, 2, 1] == pytest.approx(math.dist(clips[1, 2, 2].tolist(), clips[1, 2, 1].tolist()), rel=1e-6)


def test_limit_violation_by_hand():
    angles = torch.tensor([[0.0, 1.0], [2.1, 1.0], [0.0, -0.1], [math.nan, 0.0]])
    assert limit_violation(angles, torch.tensor([-1.0, 0.0]), 2.0).tolist() == [False, True, True, True]
    assert limit_violation(angles[None].expand(2, 4, 2), -1.0, 3.0).tolist() == [[False, False, False, True]] * 2


# Sets of embeddings.


def embeddings(N: int, D: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) * scale + rng.normal(size=D))


def test_fid_against_scipy():
    linalg = pytest.importorskip("scipy.linalg")
    for D, N, M in ((3, 40, 60), (32, 200, 100), (128, 400, 300)):
        a, b = embeddings(N, D, 0), embeddings(M, D, 1, 1.5)
        A, B = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
        difference = (a.mean(0) - b.mean(0)).numpy()
        wanted = difference @ difference + np.trace(A + B - 2 * linalg.sqrtm(A @ B).real)
        assert fid(a, b) == pytest.approx(wanted, rel=1e-6)
        assert fid(a.float(), b.float()) == pytest.approx(wanted, rel=1e-5)  # the inputs were rounded to float32


def test_fid_by_hand():
    """In one dimension it is (difference of means)^2 + (difference of deviations)^2."""
    a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [5.0]])  # deviations sqrt 2, sqrt 8
    assert fid(a, b) == pytest.approx(2.0**2 + (math.sqrt(8) - math.sqrt(2)) ** 2)
    x = embeddings(50, 8, 2)
    assert abs(fid(x, x)) < 1e-9  # float64, of covariances of about 10
    assert fid(x, x + 2.0) == pytest.approx(4.0 * 8)


def test_fid_of_few_samples():
    a, b = embeddings(20, 32, 0), embeddings(50, 32, 1)
    with pytest.raises(ValueError, match="FID in 32 dimensions needs at least 33 samples of each set, got 20 and 50"):
        fid(a, b)
    with pytest.raises(ValueError, match="at least 33 samples of each set, got 50 and 32"):
        fid(b, b[:32])
    assert fid(b, b[:33]) > 0
    assert abs(fid(a, a, allow_few=True)) < 1e-9  # float64, of traces of about 1,000
    for bad in (a[:1], a[:, :5], a[0]):
        with pytest.raises(ValueError):
            fid(bad, b, allow_few=True)


@for_each("bad", [(math.nan,), (math.inf,), (math.inf, -math.inf)])
def test_fid_refuses_bad_numbers_without_a_warning(bad):
    for dtype in (torch.float32, torch.float64):
        a, b = embeddings(40, 8, 0).to(dtype), embeddings(50, 8, 1).to(dtype)
        a[: len(bad), 3] = torch.tensor(bad)
        for pair in ((a, b), (b, a)):
            with warnings.catch_warnings(), pytest.raises(ValueError, match="NaN or infinite values"):
                warnings.simplefilter("error")
                fid(*pair)


def by_eigenvalues(a: torch.Tensor, b: torch.Tensor) -> float:
    """FID with both roots D x D, by eigenvalues of the covariances."""
    roots = []
    for x in (a, b):
        values, vectors = torch.linalg.eigh(torch.cov(x.double().T))
        roots.append(vectors * values.clamp(min=0).sqrt() @ vectors.T)
    traces = sum(root.square().sum() for root in roots)
    return float((a.mean(0) - b.mean(0)).square().sum() + traces - 2 * torch.linalg.svdvals(roots[0] @ roots[1]).sum())


@for_each("N, M, rel", [(20, 50, 2e-8), (50, 20, 2e-8), (20, 30, 2e-8), (32, 33, 1e-11), (60, 50, 1e-12)])
def test_fid_is_the_same_from_rows_and_from_eigenvalues(N, M, rel):
    """32 dimensions, with the root of rows on one side, on both or on none.

    For N <= D, eigenvalues that should be 0 come out as 1e-16 of the largest. Their roots are 1e-8 in each of up to 31
    dimensions. For N > D there are none.
    """
    a, b = embeddings(N, 32, 0), embeddings(M, 32, 1)
    assert fid(a, b, allow_few=True) == pytest.approx(by_eigenvalues(a, b), rel=rel)


def test_fid_of_few_samples_against_scipy():
    """sqrtm of the singular product, as the field computes it; each such root has an error of 1e-8."""
    linalg = pytest.importorskip("scipy.linalg")
    a, b = embeddings(20, 32, 0), embeddings(25, 32, 1)
    A, B = (np.cov(x.numpy(), rowvar=False) for x in (a, b))
    wanted = float((a.mean(0) - b.mean(0)).square().sum()) + np.trace(A + B - 2 * linalg.sqrtm(A @ B).real)
    assert fid(a, b, allow_few=True) == pytest.approx(wanted, rel=1e-7)


def hadamard(n: int) -> torch.Tensor:
    """(n, n) of 1 and -1 with orthogonal columns; all but the first have mean 0."""
    rows = torch.ones(1, 1, dtype=torch.float64)
    while len(rows) < n:
        rows = torch.cat((torch.cat((rows, rows), 1), torch.cat((rows, -rows), 1)))
    return rows


def test_fid_where_it_is_known():
    """Integers H diag(d) G of two Hadamard matrices: the covariance is 256/255 G diag(d^2) G, whose root is known."""
    rng = np.random.default_rng(0)
    scales = torch.from_numpy(rng.integers(1, 1000, (2, 64))).double()
    a, b = (hadamard(256)[:, 1:65] * scale @ hadamard(64) for scale in scales)
    exact = 64 * 256 / 255 * float((scales[0] - scales[1]).square().sum())
    assert fid(a, b + 3.0) == pytest.approx(exact + 9.0 * 64, rel=1e-12)  # float64, deviations of up to 8,000
    assert fid(a.float(), b.float()) == pytest.approx(exact, rel=1e-12)  # integers below 2^24 are exact in float32
    for dtype in (torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int8):
        short = a[:, :4].div(a.abs().max()).mul(100).to(dtype)
        assert fid(short, b[:, :4]) == fid(short.to(torch.float64), b[:, :4])


@for_each("apart", [(1000,), (100,), (10,), (3,)])
def test_fid_of_sets_that_are_alike(apart):
    """As above, and the nearer the two, the more digits cancel: the error is a few 1e-16 of the traces."""
    rng = np.random.default_rng(0)
    first = torch.from_numpy(rng.integers(100, 1000, 64)).double()
    second = first + torch.from_numpy(rng.integers(1, apart, 64))
    a, b = (hadamard(256)[:, 1:65] * scale @ hadamard(64) for scale in (first, second))
    unit = 64 * 256 / 255
    exact, traces = (unit * float(x.sum()) for x in ((first - second).square(), first.square() + second.square()))
    assert abs(fid(a, b) - exact) < 4e-15 * traces


def test_fid_of_singular_covariances():
    """A constant number in the embeddings changes nothing; each number twice doubles the distance."""
    a, b = embeddings(60, 8, 0), embeddings(50, 8, 1)
    exact = fid(a, b)
    assert fid(*(torch.cat((x, torch.full((len(x), 1), 5.0)), 1) for x in (a, b))) == pytest.approx(exact, rel=1e-12)
    # rounding makes 8 eigenvalues up to 1e-16 of the largest, and their roots 1e-8
    assert fid(*(torch.cat((x, x), 1) for x in (a, b))) == pytest.approx(2 * exact, rel=1e-6)


@pytest.mark.filterwarnings("error")  # of roots of negative numbers
@for_each("smallest, rel", [(1.0, 1e-13), (1e-3, 1e-11), (1e-9, 1e-12), (0.0, 1e-12)])
def test_nuclear_norm_by_eigenvalues_and_by_singular_values(smallest, rel):
    """Singular values from 1 down to `smallest`: the two last are too small for eigenvalues, whose noise is 1e-15."""
    values = torch.linspace(1.0, smallest, 24, dtype=torch.float64)
    left, right = (torch.linalg.qr(embeddings(n, 24, n))[0] for n in (40, 24))
    x = left * values @ right.T
    for matrix in (x.numpy(), x.T.numpy()):
        assert nuclear_norm(matrix) == pytest.approx(float(values.sum()), rel=rel)


@pytest.mark.parametrize("D", [5, 40])
def test_spread_is_mean_and_root_of_the_covariance(D):
    x = embeddings(20, D, 0)
    before = x.clone()
    mean, root = map(torch.from_numpy, spread(x))
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(root.T @ root, torch.cov(x.T))
    assert root.shape == (min(20, D), D)
    assert x.equal(before)  # what is centred in place is a copy


def test_r_precision_by_hand():
    """Two groups of three on a line: ranks are counted by hand and do not depend on the order within a group."""
    text = torch.tensor([[0.0], [1.0], [5.0]])
    motion = torch.tensor([[0.0], [4.0], [3.9]])  # ranks: 1; |1 - .| = 1, 3, 2.9 -> 3; |5 - .| = 5, 1, 1.1 -> 2
    for seed in range(3):
        got = r_precision(text, motion, np.random.default_rng(seed), group=3)
        assert got == pytest.approx((1 / 3, 2 / 3, 1.0))
    assert mm_dist(text, motion) == pytest.approx((0 + 3 + 1.1) / 3)


def test_retrieval_ranks_by_hand():
    """The points of the test above have ranks 1, 3, 2; a group of three leaves one of ten pairs over."""
    text, motion = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.0], [4.0], [3.9]])
    assert retrieval_ranks(text, motion, np.random.default_rng(0), group=3).tolist() == [1, 3, 2]
    assert top_shares(torch.tensor([1, 3, 2, 0]), 3) == pytest.approx((1 / 3, 2 / 3, 1.0))
    ranks = retrieval_ranks(torch.randn(10, 2), torch.randn(10, 2), np.random.default_rng(0), group=3)
    assert int((ranks == 0).sum()) == 1 and int(ranks.max()) <= 3
    draws = [retrieval_ranks(torch.zeros(10, 1), torch.zeros(10, 1), np.random.default_rng(i), 3) for i in range(8)]
    assert len({int((ranks == 0).nonzero()) for ranks in draws}) > 1  # shuffled: not always the last is left over


def test_r_precision_protocol():
    rng = np.random.default_rng(0)
    x = torch.randn(100, 16)
    assert r_precision(x, x, rng) == (1.0, 1.0, 1.0)
    assert r_precision(torch.zeros(64, 4), torch.zeros(64, 4), rng) == (0.0, 0.0, 0.0)  # a collapse is no success
    text, motion = torch.randn(32 * 400, 8), torch.randn(32 * 400, 8)
    got = r_precision(text, motion, rng)
    assert got == pytest.approx((1 / 32, 2 / 32, 3 / 32), abs=0.006)  # chance; 12,800 draws: three deviations
    assert r_precision(text, motion, np.random.default_rng(5)) == r_precision(text, motion, np.random.default_rng(5))
    # the last 4 of 100 pairs of the shuffled order are dropped: a share of 96
    noisy = x + 2 * torch.randn(100, 16)
    share = r_precision(noisy, x, rng)[0]
    assert share * 96 == pytest.approx(round(share * 96))
    with pytest.raises(ValueError, match="at least one group of 32 pairs, got 31"):
        r_precision(x[:31], x[:31], rng)


def test_diversity_and_multimodality():
    rng = np.random.default_rng(0)
    line = torch.arange(4000.0)[:, None] / 4000  # two uniform draws are 1/3 apart on average
    assert diversity(line, rng) == pytest.approx(1 / 3, abs=0.042)  # deviation sqrt(1/18) / sqrt(300) = 0.0136, times 3
    assert diversity(torch.ones(10, 3), rng) == 0.0
    two = torch.tensor([[0.0], [1.0]])
    assert {diversity(two, np.random.default_rng(seed)) for seed in range(8)} == {0.0, 1.0}  # N // 2 = 1 pair
    three = torch.tensor([[0.0], [1.0], [3.0]])  # one pair of three, no mean over several
    assert {diversity(three, np.random.default_rng(seed)) for seed in range(20)} == {0.0, 1.0, 2.0, 3.0}
    texts = torch.stack([line[:30], 3 * line[:30]])
    apart = multimodality(texts, np.random.default_rng(1))
    assert apart == pytest.approx(2 * multimodality(texts[:1], np.random.default_rng(1)))  # same draw for all texts
    # 10 of 30 steps of 1 / 4000, two draws of which are (30^2 - 1) / 90 steps apart; deviation 7 / sqrt(10), times 3
    assert apart / 2 == pytest.approx(899 / 90 / 4000, abs=6.7 / 4000)
    assert multimodality(torch.ones(5, 30, 4), rng) == 0.0
    with pytest.raises(ValueError, match="cannot take 5 pairs"):
        diversity(two, rng, pairs=5)
    with pytest.raises(ValueError, match="repeats >= 10"):
        multimodality(torch.zeros(5, 9, 4), rng)


# Token sequences.


def edit_distance(a, b) -> int:
    return int(edit_distances([(a, b)])[0])


def token_distance(tokens, references) -> dict[str, float]:
    return {name: float(value[0]) for name, value in token_distances([tokens], [references]).items()}


def test_edit_distance_by_hand():
    words = [
        ("kitten", "sitting", 3),
        ("flaw", "lawn", 2),
        ("", "abc", 3),
        ("abc", "", 3),
        ("", "", 0),
        ("ab", "ab", 0),
    ]
    for a, b, wanted in words:
        assert edit_distance(list(map(ord, a)), list(map(ord, b))) == wanted


def test_edit_distance_against_the_recursion():
    def slow(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    rng = np.random.default_rng(0)
    for _ in range(40):
        a, b = (rng.integers(3, size=rng.integers(7)).tolist() for _ in range(2))
        assert edit_distance(a, b) == slow(a, b) == edit_distance(b, a)


def test_token_distance_by_hand():
    got = token_distance([1, 2, 3], [[1, 2, 3, 4], [9, 9, 9, 9, 9, 9]])
    assert got == pytest.approx({"mean": 3.5, "nearest": 1, "mean_share": 0.625, "nearest_share": 0.25})
    assert token_distance([], [[]])["nearest_share"] == 0.0
    with pytest.raises(ValueError, match="at least one reference"):
        token_distance([1], [])


def test_many_distances_at_once_are_those_alone():
    rng = np.random.default_rng(1)
    rows = [rng.integers(4, size=size).tolist() for size in (0, 5, 9, 1)]
    references = [[rng.integers(4, size=size).tolist() for size in sizes] for sizes in ((3,), (0, 7), (9, 2, 4), (1,))]
    pairs = [(row, reference) for row, several in zip(rows, references, strict=True) for reference in several]
    assert edit_distances(pairs).tolist() == [edit_distance(*pair) for pair in pairs]
    together = token_distances(rows, references)
    for i, (row, several) in enumerate(zip(rows, references, strict=True)):
        assert {name: value[i] for name, value in together.items()} == pytest.approx(token_distance(row, several))
    assert edit_distances([]).tolist() == []


def test_length_accuracy_by_hand():
    got = length_accuracy([11, 12, 9, 20], [10, 10, 10, 20])
    assert got == pytest.approx({"within_10_percent": 0.75, "error": 1.0})
    with pytest.raises(ValueError, match="got 1 and 2"):
        length_accuracy([1], [1, 2])


def test_code_counts():
    assert code_counts([0, 2, 2, -1], 4).tolist() == [1, 0, 2, 0]
    assert code_counts(torch.tensor([[3, 3], [3, -1]]), 4).tolist() == [0, 0, 0, 3]
    assert code_counts([], 3).tolist() == [0, 0, 0]
