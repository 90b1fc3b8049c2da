"""Batches: a pure function of the micro-step, every example once an epoch, windows that stay inside their clip."""

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt.data.batches import BucketedBatches, WindowBatches, epoch_batches, pad, pad_motions


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
    spread = [np.ptp(lengths[b]) for b in epoch_batches(lengths, 8, np.random.default_rng(0))]
    assert np.mean(spread) < 10  # a random batch of 8 spreads over 150
    first = [lengths[b].mean() for b in epoch_batches(lengths, 8, np.random.default_rng(0))]
    assert np.abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.3  # but batches come in no order of length


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
