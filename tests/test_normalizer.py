"""Normalisation: the statistics are those of all frames together, there and back is the identity, NaN is refused."""

import numpy as np
import pytest
import torch

from motiongpt.features import feature_groups
from motiongpt.normalizer import Normalizer
from motiongpt.skeletons import HUMANML3D


def test_fit_is_the_concatenated_statistics_with_one_deviation_per_group():
    rng = np.random.default_rng(0)
    clips = [rng.normal(loc=3.0, scale=rng.uniform(1, 2, 263), size=(F, 263)) for F in (5, 40, 1, 17)]
    normalizer = Normalizer.fit(iter(clips), HUMANML3D)
    frames = np.concatenate(clips)
    np.testing.assert_allclose(normalizer.mean, frames.mean(0), rtol=1e-6)  # stored as float32
    for columns in feature_groups(HUMANML3D).values():
        np.testing.assert_allclose(normalizer.std[columns], frames.std(0)[columns].mean(), rtol=1e-6)
    np.testing.assert_allclose(Normalizer.fit(clips).std, frames.std(0), rtol=1e-6)


def test_normalise_and_back(tmp_path):
    rng = np.random.default_rng(0)
    clip = rng.normal(loc=2.0, scale=3.0, size=(50, 263)).astype(np.float32)
    clip[:, 7] = 5.0
    clip[:, -4:] = 0.0  # no contact at all: the deviation of the group is zero
    normalizer = Normalizer.fit([clip], HUMANML3D)
    x = normalizer.normalise(clip)
    assert np.isfinite(x).all() and x.dtype == np.float32 and (x[:, -4:] == 0).all()
    np.testing.assert_allclose(normalizer.denormalise(x), clip, rtol=0, atol=1e-5)  # float32 at size 10
    batch = torch.from_numpy(clip)[None]
    np.testing.assert_allclose(normalizer.normalise(batch)[0], x, rtol=0, atol=1e-6)
    normalizer.save(tmp_path)
    loaded = Normalizer.load(tmp_path)
    assert np.array_equal(loaded.mean, normalizer.mean) and np.array_equal(loaded.std, normalizer.std)


def test_normalise_first_used_in_inference_mode_can_still_be_trained_through():
    normalizer = Normalizer(np.zeros(3), np.ones(3))
    with torch.inference_mode():
        normalizer.denormalise(torch.zeros(2, 3))
    x = torch.zeros(2, 3, requires_grad=True)
    normalizer.denormalise(x).sum().backward()
    assert x.grad.tolist() == [[1.0] * 3] * 2


def test_normalizer_refusals(tmp_path):
    good, bad = np.ones((4, 263)), np.ones((4, 263))
    bad[2, 5] = np.nan
    with pytest.raises(ValueError, match="clip 1: NaN"):
        Normalizer.fit([good, bad], HUMANML3D)
    with pytest.raises(ValueError, match="clip 0.*263.*251"):
        Normalizer.fit([np.ones((4, 251))], HUMANML3D)
    with pytest.raises(ValueError, match="no frames"):
        Normalizer.fit([], HUMANML3D)
    with pytest.raises(ValueError, match="width 251.*263"):
        Normalizer(np.zeros(263), np.ones(263)).normalise(np.ones((4, 251)))
    with pytest.raises(ValueError, match="finite"):
        Normalizer(np.zeros(3), np.array([1.0, np.nan, 1.0]))
    with pytest.raises(FileNotFoundError, match="Mean.npy"):
        Normalizer.load(tmp_path)
