"""Batches: a pure function of the micro-step, every example once an epoch, windows that stay inside their clip."""

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt.data.batches import BucketedBatches, EpochOrder, WindowBatches, by_length, pad, pad_motions
from motiongpt.data.permutation import draw_keys, permuted


def bucketed(lengths, batch_size=4, seed=0):
    return BucketedBatches(
        lengths, batch_size, seed, lambda indices, rng: {"indices": indices.tolist(), "drawn": rng.random(3).tolist()}
    )


def ramps(lengths, D=5):
    """Clips with c * 1000 + f + 1 in every column of frame f of clip c: a frame says where it comes from."""
    return [
        np.repeat(1000.0 * c + np.arange(1, F + 1), D).reshape(F, D).astype(np.float32) for c, F in enumerate(lengths)
    ]


def test_buckets_are_a_pure_function_of_the_micro_step():
    lengths = np.random.default_rng(0).integers(1, 50, 43)
    forward = [bucketed(lengths)(step) for step in range(30)]
    one = bucketed(lengths)
    for step in np.random.default_rng(1).permutation(30):
        assert one(int(step)) == forward[step]  # in any order, over three epochs
    assert bucketed(lengths, seed=1)(0) != forward[0]
    assert len({tuple(batch["drawn"]) for batch in forward}) == 30


@for_each("count, batch_size", [(1, 4), (4, 4), (43, 4), (500, 3)])
def test_every_index_once_an_epoch(count, batch_size):
    batches = bucketed(np.random.default_rng(0).integers(1, 50, count), batch_size)
    epochs = []
    for epoch in range(2):
        drawn = [batches(epoch * batches.per_epoch + i)["indices"] for i in range(batches.per_epoch)]
        assert sorted(i for batch in drawn for i in batch) == list(range(count))
        assert sum(len(batch) < batch_size for batch in drawn) <= 1
        epochs.append(drawn)
    assert count < 10 or epochs[0] != epochs[1]


def test_a_batch_holds_similar_lengths():
    lengths = np.random.default_rng(0).integers(1, 200, 1000)
    order = EpochOrder(lengths, 8, np.random.default_rng(0))
    drawn = [order(number) for number in range(125)]
    assert np.mean([np.ptp(lengths[b]) for b in drawn]) < 10  # a random batch of 8 spreads over 150
    first = [lengths[b].mean() for b in drawn]
    assert np.abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.3  # but batches come in no order of length


@for_each("count, batch_size, pool", [(1, 4, 50), (43, 4, 3), (1000, 8, 50), (999, 7, 5)])
def test_the_listed_order_is_the_one_that_runs_were_begun_with(count, batch_size, pool):
    """A run that resumes sees the batches it would have seen, so this order may not change: it is written out here."""
    lengths = np.random.default_rng(1).integers(1, 60, count)
    rng = np.random.default_rng((3, 0, 2))
    shuffled, batches = rng.permutation(count), []
    for first in range(0, count, batch_size * pool):
        chunk = shuffled[first : first + batch_size * pool]
        batches += [chunk[rows] for rows in by_length(lengths[chunk], batch_size)]
    wanted = [batches[i].tolist() for i in rng.permutation(len(batches))]
    order = EpochOrder(lengths, batch_size, np.random.default_rng((3, 0, 2)), pool)
    assert [order(i).tolist() for i in range(len(wanted))] == wanted


@for_each("count, batch_size", [(1, 4), (43, 4), (1000, 8), (4097, 3)])
def test_an_order_that_is_not_listed_has_every_example_once_and_similar_lengths(monkeypatch, count, batch_size):
    """Beyond `LISTED` examples. Two epochs differ, and any batch may be asked for first."""
    monkeypatch.setattr("motiongpt.data.batches.LISTED", 0)
    lengths = np.random.default_rng(0).integers(1, 200, count)
    batches = bucketed(lengths, batch_size)
    drawn = [batches(i)["indices"] for i in range(2 * batches.per_epoch)]
    for epoch in (drawn[: batches.per_epoch], drawn[batches.per_epoch :]):
        assert sorted(i for batch in epoch for i in batch) == list(range(count))
        assert sum(len(batch) < batch_size for batch in epoch) <= 1
    assert count < 10 or drawn[: batches.per_epoch] != drawn[batches.per_epoch :]
    for step in np.random.default_rng(1).permutation(len(drawn))[:40]:
        assert bucketed(lengths, batch_size)(int(step))["indices"] == drawn[step]
    if count >= 1000:
        assert np.mean([np.ptp(lengths[batch]) for batch in drawn]) < 12  # a random batch of 3 spreads over 100
        first = drawn[: batches.per_epoch]
        means, places = [np.mean(lengths[b]) for b in first], [np.mean(b) for b in first]
        # neither short clips nor neighbours come first; three standard deviations of 125 batches
        for values in (means, places):
            assert abs(np.corrcoef(values, np.arange(len(values)))[0, 1]) < 0.3


@for_each("n", [1, 2, 3, 4, 5, 100, 4096, 4097, 10_001])
def test_a_permutation_has_every_number_once(n):
    one, other = (permuted(np.arange(n), n, draw_keys(np.random.default_rng(seed))) for seed in (0, 1))
    assert sorted(one.tolist()) == sorted(other.tolist()) == list(range(n))
    assert n < 100 or (one != other).mean() > 0.9


def test_a_permutation_of_many_is_random():
    """Of the first 100,000 places among 30 million: evenly spread, and neighbours are strangers."""
    n = 30_000_000
    drawn = permuted(np.arange(100_000), n, draw_keys(np.random.default_rng(0)))
    assert len(set(drawn.tolist())) == 100_000
    counts = np.histogram(drawn, 100, (0, n))[0]
    assert 50 < ((counts - 1000) ** 2 / 1000).sum() < 160  # chi-square of 99 degrees of freedom: 4 standard deviations
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.013  # 4 standard deviations
    assert abs(np.corrcoef(drawn, np.arange(100_000))[0, 1]) < 0.013


def test_windows_lie_inside_their_clip():
    lengths = [4, 7, 16, 17, 50, 3]
    batches = WindowBatches(ramps(lengths), window=16, batch_size=8, seed=2)
    starts = {c: set() for c in range(6)}
    for step in range(200):
        batch = batches(step)
        assert batch["motion"].shape == (8, 16, 5) and batch["motion"].dtype == torch.float32
        real = [16] * 8 if batch["lengths"] is None else batch["lengths"].tolist()
        assert batch["count"] == sum(length // 4 * 4 for length in real)
        for row, length in zip(batch["motion"][..., 0], real, strict=True):
            clip, start = divmod(int(row[0]) - 1, 1000)
            assert length == min(16, lengths[clip]) and start + length <= lengths[clip]
            assert row[:length].tolist() == [1000.0 * clip + start + 1 + f for f in range(length)]
            assert (row[length:] == 0).all()  # a short clip is zero-padded, and masked by its length
            starts[clip].add(start)
    assert starts == {0: {0}, 1: {0}, 2: {0}, 3: {0, 1}, 4: set(range(35)), 5: set()}  # 3 frames make no code


def test_windows_are_drawn_evenly():
    """Clips are drawn in proportion to their windows, 35 in 50 frames and 1 in 16; over 1,600 draws."""
    batches = WindowBatches(ramps([50, 16]), window=16, batch_size=8, seed=0)
    drawn = torch.cat([batches(step)["motion"][:, 0, 0] for step in range(200)])
    assert abs(float((drawn > 1000).float().mean()) - 1 / 36) < 0.013  # three standard deviations


def test_windows_are_a_pure_function_of_the_micro_step():
    make = lambda seed=0: WindowBatches(ramps([50, 9, 30]), window=16, batch_size=4, seed=seed)  # noqa: E731
    forward = [make()(step)["motion"] for step in range(12)]
    one = make()
    for step in np.random.default_rng(1).permutation(12):
        assert torch.equal(one(int(step))["motion"], forward[step])
    assert not torch.equal(make(seed=1)(0)["motion"], forward[0])
    assert one.per_epoch == 89 // (16 * 4)


def test_full_windows_need_no_lengths():
    assert WindowBatches(ramps([40]), window=16, batch_size=2, seed=0)(0)["lengths"] is None


def test_errors():
    with pytest.raises(ValueError, match="training split is empty"):
        bucketed([])
    with pytest.raises(ValueError, match="no training clip has 4 frames"):
        WindowBatches(ramps([3, 2]), 16, 4, 0)
    for window in (18, 2, 0):
        with pytest.raises(ValueError, match=f"--window must be a multiple of 4 frames .*, got {window}"):
            WindowBatches(ramps([40]), window, 4, 0)


def test_pad():
    assert pad([[1, 2], [], np.array([3]), torch.tensor([4, 5, 6])], -1).tolist() == [
        [1, 2, -1],
        [-1, -1, -1],
        [3, -1, -1],
        [4, 5, 6],
    ]
    assert pad([[7]], 0).dtype == torch.int64


def test_pad_motions():
    motion, lengths = pad_motions(ramps([2, 3], D=1))
    assert motion[..., 0].tolist() == [[1, 2, 0], [1001, 1002, 1003]] and lengths.tolist() == [2, 3]
