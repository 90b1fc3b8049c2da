"""Normalisation: statistics of all frames together, there and back without loss, and which published pair it is."""

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.features.humanml3d import feature_groups, joints_to_features
from motiongpt.features.normalizer import Normalizer, pair_name
from motiongpt.features.representations import get_representation
from motiongpt.procedural.clips import generate_clips


def test_fit_is_the_concatenated_statistics_with_one_deviation_per_group():
    rng = np.random.default_rng(0)
    clips = [rng.normal(loc=3.0, scale=rng.uniform(1, 2, 263), size=(F, 263)) for F in (5, 40, 1, 17)]
    normalizer = Normalizer.fit(iter(clips), get_representation("humanml3d", HUMANML3D))
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
    normalizer = Normalizer.fit([clip], get_representation("humanml3d", HUMANML3D))
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


def test_one_file_of_both(tmp_path):
    """SignMotionGPT's vqvae_stats.pt; its arrays may have a leading axis of one."""
    mean, std = np.arange(4.0), np.arange(1.0, 5.0)
    for content in ({"mean": torch.tensor(mean), "std": torch.tensor(std)}, {"mean": mean[None], "std": std[None]}):
        torch.save(content, tmp_path / "stats.pt")
        pair = Normalizer.load(tmp_path / "stats.pt")
        assert np.array_equal(pair.mean, mean) and np.array_equal(pair.std, std)
    for content in ({"mean": mean}, [1, 2], {"mean": "a", "std": std}, {"mean": mean, "std": std[:2]}):
        torch.save(content, tmp_path / "stats.pt")
        with pytest.raises(ValueError, match="stats.pt"):
            Normalizer.load(tmp_path / "stats.pt")


def test_names_in_lower_case(tmp_path):
    """Published evaluators and tokenizers have lower-case names in their meta folders."""
    Normalizer(np.zeros(3), np.full(3, 2.0)).save(tmp_path)
    for name in ("Mean.npy", "Std.npy"):
        (tmp_path / name).rename(tmp_path / name.lower())
    np.testing.assert_array_equal(Normalizer.load(tmp_path).std, 2)
    np.save(tmp_path / "Std.npy", np.full(3, 2.0, np.float32))  # both names, the same numbers
    np.testing.assert_array_equal(Normalizer.load(tmp_path).std, 2)
    np.save(tmp_path / "Std.npy", np.full(3, 3.0, np.float32))
    with pytest.raises(ValueError, match="Std.npy and std.npy are there and differ"):
        Normalizer.load(tmp_path)


@pytest.mark.parametrize("content", [np.array([{}], object), b"no array", {}])
def test_nobody_is_told_to_unpickle(tmp_path, content):
    Normalizer(np.zeros(3), np.ones(3)).save(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / "Std.npy").write_bytes(content)
    else:
        np.save(tmp_path / "Std.npy", content, allow_pickle=True)
    with pytest.raises(ValueError, match="holds Python objects; only plain arrays are read") as caught:
        Normalizer.load(tmp_path)
    assert "allow_pickle" not in str(caught.value)


def test_normalizer_refusals(tmp_path):
    good, bad = np.ones((4, 263)), np.ones((4, 263))
    bad[2, 5] = np.nan
    with pytest.raises(ValueError, match="clip 1: NaN"):
        Normalizer.fit([good, bad], get_representation("humanml3d", HUMANML3D))
    with pytest.raises(ValueError, match="clip 0.*263.*251"):
        Normalizer.fit([np.ones((4, 251))], get_representation("humanml3d", HUMANML3D))
    with pytest.raises(ValueError, match="no frames"):
        Normalizer.fit([], get_representation("humanml3d", HUMANML3D))
    with pytest.raises(ValueError, match="width 251.*263"):
        Normalizer(np.zeros(263), np.ones(263)).normalise(np.ones((4, 251)))
    with pytest.raises(ValueError, match="finite"):
        Normalizer(np.zeros(3), np.array([1.0, np.nan, 1.0]))
    with pytest.raises(FileNotFoundError, match="Mean.npy"):
        Normalizer.load(tmp_path)


# Which pair it is.


@pytest.fixture(scope="module")
def clips():
    return [joints_to_features(clip.joints, HUMANML3D) for clip in generate_clips(6, seed=1)]


FEATURES = get_representation("humanml3d", HUMANML3D)


@for_each("bias", [1.0, 5.0, 25.0, 2.0])
def test_the_feature_bias_is_read_off_the_contacts(clips, bias):
    normalizer = Normalizer.fit(clips, FEATURES).with_feature_bias(bias, FEATURES)
    assert normalizer.feature_bias(FEATURES) == pytest.approx(bias, rel=1e-3)  # float32 files
    normalizer.check_pair(FEATURES, bias, "here")


def test_published_statistics_are_recognised(shared_data):
    """HumanML3D's own pair, and the evaluators', which is the same / 25 in root and contact columns."""
    folder = shared_data / "golden"
    raw = Normalizer(np.load(folder / "hml_Mean.npy"), np.load(folder / "hml_Std.npy"))
    assert raw.feature_bias(FEATURES) == pytest.approx(1.0, rel=0.05)  # the contacts of four feet are averaged
    raw.check_pair(FEATURES, 1.0, "Std.npy")
    with pytest.raises(ValueError, match="Std.npy is the data set's own pair .*; expected the evaluators' pair"):
        raw.check_pair(FEATURES, 25.0, "Std.npy")
    evaluators = raw.with_feature_bias(25.0, FEATURES)
    with pytest.raises(ValueError, match="Std.npy is the evaluators' pair .*expected the data set's own.*25 times off"):
        evaluators.check_pair(FEATURES, 1.0, "Std.npy")
    assert pair_name(5.0).startswith("a VQ-VAE's") and pair_name(2.3).endswith("/ 2.3")


def test_where_the_contacts_do_not_tell_nothing_is_refused():
    silent = Normalizer(np.zeros(263), np.ones(263))
    assert silent.feature_bias(FEATURES) is None
    silent.check_pair(FEATURES, 25.0, "x")
    positions = get_representation("positions", HUMANML3D)
    assert Normalizer(np.zeros(66), np.ones(66)).feature_bias(positions) is None


def test_columns_of_other_representations():
    rng = np.random.default_rng(0)
    clip = rng.normal(scale=rng.uniform(0.1, 2, 182), size=(60, 182)).astype(np.float32)
    clip[:, :10] = rng.normal(size=10)  # one body: its shape never changes
    parameters = get_representation("smplx", HUMANML3D)
    normalizer = Normalizer.fit([clip[:30], clip[30:]], parameters)
    np.testing.assert_allclose(normalizer.std[10:], clip.std(0)[10:], rtol=1e-5)  # each column its own
    np.testing.assert_array_equal(normalizer.std[:10], 1)
    assert np.abs(normalizer.normalise(clip)[:, :10]).max() < 1e-5  # float32 means
    assert np.array_equal(normalizer.with_feature_bias(5, parameters).std, normalizer.std)

    positions = get_representation("positions", HUMANML3D)
    clip = clip[:, 20:86]
    normalizer = Normalizer.fit([clip], positions)
    std = clip.std(0)
    np.testing.assert_allclose(normalizer.std[[0, 2]], std[[0, 2]].mean(), rtol=1e-5)
    np.testing.assert_allclose(normalizer.std[3:], std[3:].mean(), rtol=1e-5)
    biased = normalizer.with_feature_bias(5, positions)
    np.testing.assert_allclose(normalizer.std / biased.std, [5] * 3 + [1] * 63, rtol=1e-6)
