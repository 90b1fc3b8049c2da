"""The motion tokenizer's folder: round trips, codes that do not depend on the batch, and what a bad folder is told."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON
from motiongpt.config import TrainConfig, VQVAEConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.features.humanml3d import features_to_joints, joints_to_features
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.features.smplx import SMPLX_COLUMNS, SMPLX_LAYOUTS
from motiongpt.files.hashes import file_hash
from motiongpt.files.lock import hold
from motiongpt.files.store import read_json, write_json
from motiongpt.motion_tokenizer import ENCODE_BATCH, MotionTokenizer, tokenizer_files
from motiongpt.procedural.clips import generate_clips
from motiongpt.stages.tokenizer import reconstruction_errors, train_motion_tokenizer
from motiongpt.vqvae import VQVAE
from motiongpt.weights.vqvae import save_t2m_gpt

CONFIG = VQVAEConfig(codes=32, code_dim=8, width=16, depth=2, feature_bias=1.0)


@pytest.fixture(scope="module")
def clips():
    """Real features of 12 clips of 40 to 196 frames."""
    return [joints_to_features(clip.joints, HUMANML3D) for clip in generate_clips(12, seed=1)]


@pytest.fixture
def tokenizer(clips):
    torch.manual_seed(0)
    vqvae = VQVAE(CONFIG).train()
    normalizer = Normalizer.fit(clips, get_representation("humanml3d", HUMANML3D))
    batch = torch.from_numpy(np.stack([normalizer.normalise(clip[:36]) for clip in clips]))
    vqvae(batch)  # the first batch fills the codebook
    return MotionTokenizer(vqvae, normalizer, HUMANML3D, 20.0)


def test_save_and_load(tokenizer, clips, tmp_path):
    tokenizer.save(tmp_path / "t")
    back = MotionTokenizer.load(tmp_path / "t")
    assert sorted(p.name for p in (tmp_path / "t").iterdir()) == [
        "Mean.npy",
        "Std.npy",
        "config.json",
        "model.safetensors",
    ]
    assert (back.fps, back.skeleton, back.config) == (20.0, HUMANML3D, CONFIG)
    assert back.hash == file_hash(tmp_path / "t" / "model.safetensors") and not back.vqvae.training
    for (name, a), b in zip(tokenizer.vqvae.state_dict().items(), back.vqvae.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    codes = tokenizer.encode(clips)
    assert back.encode(clips) == codes
    for a, b in zip(tokenizer.decode(codes), back.decode(codes), strict=True):
        assert np.array_equal(a, b)


def test_half_precision_file(tokenizer, clips, tmp_path):
    """The file has half the size. It loads as fp32 with rounded values, and stays the same from then on."""
    tokenizer.save(tmp_path / "full")
    tokenizer.save(tmp_path / "half", torch.float16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    half = MotionTokenizer.load(tmp_path / "half")
    for (name, a), b in zip(tokenizer.vqvae.state_dict().items(), half.vqvae.state_dict().values(), strict=True):
        assert b.dtype == a.dtype and torch.equal(b, a.half().float() if a.is_floating_point() else a), name
    half.save(tmp_path / "again", torch.float16)
    assert file_hash(tmp_path / "again" / "model.safetensors") == half.hash
    a, b = (np.concatenate(t.encode(clips)) for t in (tokenizer, half))
    assert (a == b).mean() > 0.9  # random weights: fp16 (5e-4) flips few codes


def test_a_run_folder_holds_its_tokenizer(tokenizer, tmp_path):
    write_json(tmp_path / "config.json", {"RunConfig": {}})  # a run has a config.json of its own
    tokenizer.save(tmp_path / "vqvae")
    assert MotionTokenizer.load(tmp_path).config == CONFIG


def test_codes_do_not_depend_on_the_company(tokenizer, clips):
    cut = [clip[: 5 + 3 * i] for i, clip in enumerate(clips)] + [clip[i : i + 17 + i] for i, clip in enumerate(clips)]
    cut = cut * 2  # more than one batch
    assert len(cut) > ENCODE_BATCH
    together = tokenizer.encode(cut)
    assert [len(codes) for codes in together] == [len(clip) // 4 for clip in cut]
    for clip, codes in zip(cut, together, strict=True):
        assert tokenizer.encode([clip])[0] == codes
    assert tokenizer.encode(cut[::-1]) == together[::-1]


def test_decoding_does_not_depend_on_the_company(tokenizer):
    rows = [[1], [2, 3, 4], [], [5, 6, 7, 8, 9, 10, 11]]
    together = tokenizer.decode_features(rows)
    assert [tuple(f.shape) for f in together] == [(4, 263), (12, 263), (0, 263), (28, 263)]
    for row, features in zip(rows, together, strict=True):
        # normalised values differ by fp32 rounding (1e-5); times Std of at most a few
        torch.testing.assert_close(features, tokenizer.decode_features([row])[0], atol=1e-4, rtol=0)
    for joints, row in zip(tokenizer.decode(rows), rows, strict=True):
        assert joints.shape == (4 * len(row), 22, 3) and joints.dtype == np.float32


def test_short_clips_and_no_clips(tokenizer, clips):
    assert tokenizer.encode([clips[0][:3], clips[0][:0], clips[0][:4]])[:2] == [[], []]
    assert tokenizer.encode([]) == [] and tokenizer.decode([]) == []
    errors = reconstruction_errors(tokenizer, [clips[0][:3]])
    assert errors == {"mpjpe_mm": 0.0, "global_mpjpe_mm": 0.0, "active_codes": 0, "perplexity": 0.0}


def test_reconstruction_errors_by_hand(tokenizer, clips):
    pair = [clips[0][:43], clips[1][:8]]  # 40 and 8 coded frames
    aligned, absolute, counts = [], [], np.zeros(32)
    for clip in pair:
        codes = tokenizer.encode([clip])[0]
        joints = tokenizer.decode([codes])[0]
        target = features_to_joints(clip[: 4 * len(codes)], HUMANML3D)
        absolute += np.linalg.norm(joints - target, axis=-1).mean(-1).tolist()
        error = (joints - joints[:, :1]) - (target - target[:, :1])
        aligned += np.linalg.norm(error, axis=-1).mean(-1).tolist()
        np.add.at(counts, codes, 1)
    assert len(aligned) == 48
    p = counts[counts > 0] / counts.sum()
    errors = reconstruction_errors(tokenizer, pair)
    assert errors["mpjpe_mm"] == pytest.approx(1000 * np.mean(aligned), rel=1e-4)  # every frame counts once; fp32
    assert errors["global_mpjpe_mm"] == pytest.approx(1000 * np.mean(absolute), rel=1e-4)
    assert errors["active_codes"] == len(p)
    assert errors["perplexity"] == pytest.approx(np.exp(-(p * np.log(p)).sum()))


def test_a_wrong_folder_is_named(tokenizer, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no tokenizer.*train_vqvae.py"):
        MotionTokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        MotionTokenizer.load(tmp_path)
    write_json(tmp_path / "config.json", {"VQVAEConfig": CONFIG.to_dict()})
    with pytest.raises(ValueError, match="config.json is not a tokenizer's: it has no skeleton, fps"):
        MotionTokenizer.load(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no model.safetensors"):
        MotionTokenizer.load(tmp_path)


def test_weights_and_config_must_agree(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    content = read_json(tmp_path / "config.json")
    content["VQVAEConfig"]["codes"] = 64
    write_json(tmp_path / "config.json", content)
    with pytest.raises(ValueError, match="config.json: VQVAEConfig is not what was written there"):
        MotionTokenizer.load(tmp_path)
    del content["hashes"]  # a file of an older version
    write_json(tmp_path / "config.json", content)
    with pytest.raises(ValueError, match="model.safetensors.*codebook"):
        MotionTokenizer.load(tmp_path)


def test_widths_must_agree(tokenizer, clips):
    kit = Normalizer(np.zeros(251), np.ones(251))
    with pytest.raises(ValueError, match="Mean.npy has width 251, the tokenizer 263"):
        MotionTokenizer(VQVAE(CONFIG), kit, KIT, 12.5)
    with pytest.raises(ValueError, match="width 251"):
        tokenizer.encode([np.zeros((8, 251), np.float32)])
    with pytest.raises(ValueError, match="motion code 32 is outside"):
        tokenizer.decode([[0, 32]])


def test_kit_comes_out_in_metres():
    """KIT-ML's features are in units of 1 / 567 of a metre."""
    torch.manual_seed(0)
    vqvae = VQVAE(dataclasses.replace(CONFIG, feature_dim=251, joint_dim=60))
    vqvae.quantizer.codebook.normal_()
    tokenizer = MotionTokenizer(vqvae, Normalizer(np.zeros(251), np.full(251, 100.0)), KIT, 12.5)
    codes = [[3, 1, 4, 1, 5]]
    (features,) = tokenizer.decode_features(codes)
    (joints,) = tokenizer.decode(codes)
    np.testing.assert_allclose(joints[:, 0, 1], features[:, 3] / 567, rtol=1e-6)  # the root's height; float32
    np.testing.assert_allclose(joints, features_to_joints(features, KIT) / 567, rtol=1e-6)

    clip = features.numpy().copy()
    found = tokenizer.decode_features(tokenizer.encode([clip]))[0]
    error = (features_to_joints(found, KIT) - features_to_joints(features, KIT)).norm(dim=-1).mean() / 567
    assert error > 0.001  # in metres: these codes are not the clip's own
    errors = reconstruction_errors(tokenizer, [clip])
    assert errors["global_mpjpe_mm"] == pytest.approx(1000 * float(error), rel=1e-4)  # float32 sums


def test_a_skeleton_that_is_not_built_in_goes_with_the_tokenizer(tokenizer, tmp_path):
    assert tokenizer.skeleton is HUMANML3D
    tokenizer.save(tmp_path / "plain")
    assert [p.name for p in tokenizer_files(tmp_path / "plain")] == [
        "config.json",
        "model.safetensors",
        "Mean.npy",
        "Std.npy",
    ]
    own = dataclasses.replace(HUMANML3D, name="mine", foot_threshold=0.01)
    MotionTokenizer(tokenizer.vqvae, tokenizer.normalizer, own, 20.0).save(tmp_path / "own")
    (tmp_path / "copy").mkdir()
    for path in tokenizer_files(tmp_path / "own"):
        shutil.copyfile(path, tmp_path / "copy" / path.name)
    assert MotionTokenizer.load(tmp_path / "copy").skeleton == own
    (tmp_path / "copy" / "skeleton.json").unlink()
    with pytest.raises(ValueError, match="skeleton.json is missing"):
        MotionTokenizer.load(tmp_path / "copy")
    (tmp_path / "copy" / "Std.npy").unlink()
    with pytest.raises(FileNotFoundError, match="holds no Std.npy"):
        tokenizer_files(tmp_path / "copy")


# ---- representations and pairs ----------------------------------------------------------------------------------


def test_a_wrong_pair_is_refused_on_load(tokenizer, clips, tmp_path):
    """The network was trained with the data set's own pair (feature_bias 1), but another pair lies beside it."""
    tokenizer.save(tmp_path)
    MotionTokenizer.load(tmp_path)
    features = get_representation("humanml3d", HUMANML3D)
    tokenizer.normalizer.with_feature_bias(25.0, features).save(tmp_path)
    with pytest.raises(ValueError, match="Std.npy is the evaluators' pair .*; expected the data set's own pair"):
        MotionTokenizer.load(tmp_path)


def test_a_foreign_file_needs_its_own_pair(tokenizer, clips, tmp_path):
    save_t2m_gpt(tokenizer.vqvae, tmp_path / "net.pth")
    with pytest.raises(ValueError, match="net.pth has no mean and deviation.*--stats"):
        MotionTokenizer.load(tmp_path / "net.pth")
    tokenizer.normalizer.save(tmp_path)
    with pytest.raises(ValueError, match="Std.npy is the data set's own pair .*; expected the evaluators' pair"):
        MotionTokenizer.load(tmp_path / "net.pth", stats=tmp_path)
    features = get_representation("humanml3d", HUMANML3D)
    tokenizer.normalizer.with_feature_bias(25.0, features).save(tmp_path)
    foreign = MotionTokenizer.load(tmp_path / "net.pth", stats=tmp_path)
    assert foreign.skeleton is HUMANML3D and foreign.config.feature_bias == 25.0
    with pytest.raises(ValueError, match="Mean.npy is one of two: give the folder"):
        MotionTokenizer.load(tmp_path / "net.pth", stats=tmp_path / "Mean.npy")
    foreign.save(tmp_path / "ours")
    with pytest.raises(ValueError, match="part of a tokenizer folder; give the folder"):
        MotionTokenizer.load(tmp_path / "ours" / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="nothing.pth does not exist"):
        MotionTokenizer.load(tmp_path / "nothing.pth")
    ours = MotionTokenizer.load(tmp_path / "ours")
    assert ours.encode(clips) == foreign.encode(clips) and ours.hash == foreign.hash != ""
    with pytest.raises(ValueError, match="--stats is for the file of another project, .* is a folder"):
        MotionTokenizer.load(tmp_path / "ours", stats=tmp_path)


@pytest.mark.parametrize("bias", [1.0, 5.0])
def test_an_exported_file_comes_back_with_the_folder_it_was_made_from(tokenizer, clips, tmp_path, bias):
    """Its pair is the folder's, not the published one."""
    tokenizer.vqvae.config = dataclasses.replace(CONFIG, feature_bias=bias)
    tokenizer.normalizer = tokenizer.normalizer.with_feature_bias(bias, tokenizer.representation)
    tokenizer.save(tmp_path)
    save_t2m_gpt(tokenizer.vqvae, tmp_path / "net.pth")
    back = MotionTokenizer.load(tmp_path / "net.pth", stats=tmp_path)
    assert back.encode(clips) == tokenizer.encode(clips) and back.config.feature_bias == bias
    assert back.has_codes_of(tokenizer)
    other = MotionTokenizer(VQVAE(tokenizer.config), tokenizer.normalizer, HUMANML3D, 20.0)
    other.save(tmp_path / "other")  # an equal pair, but of another network than the file's
    with pytest.raises(ValueError, match="expected the evaluators' pair"):
        MotionTokenizer.load(tmp_path / "net.pth", stats=tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="gone.pth does not exist"):
        MotionTokenizer.load(tmp_path / "gone.pth", stats=tmp_path)
    back.vqvae.quantizer.codebook[3] += 1
    assert not back.has_codes_of(tokenizer)


@pytest.mark.parametrize("layout", ["train", "visualize"])
def test_a_foreign_smplx_file_is_brought_into_our_order(layout, tmp_path):
    """The oracle is the same network, given columns in its own order by hand."""
    torch.manual_seed(0)
    vqvae = VQVAE(dataclasses.replace(CONFIG, feature_dim=182, joint_dim=0, feature_bias=1.0))
    vqvae.train()(torch.randn(8, 36, 182))  # the first batch fills the codebook
    vqvae.eval()
    save_t2m_gpt(vqvae, tmp_path / "net.pth")
    rng = np.random.default_rng(0)
    theirs = Normalizer(rng.normal(size=182), rng.uniform(0.5, 2, 182))
    theirs.save(tmp_path)
    named = {"stats": tmp_path, "smplx_layout": layout, "fps": 24.0}
    tokenizer = MotionTokenizer.load(tmp_path / "net.pth", **named)
    assert tokenizer.fps == 24.0 and tokenizer.representation.name == "smplx-182"

    clip = rng.normal(size=(32, 182)).astype(np.float32)
    moved = np.zeros_like(clip)
    for name, columns in SMPLX_LAYOUTS[layout].items():  # columns that only they have are at their mean
        moved[:, columns] = clip[:, SMPLX_COLUMNS[name]] if name in SMPLX_COLUMNS else theirs.mean[columns]
    codes = vqvae.encode_all(torch.from_numpy(theirs.normalise(moved))[None])[0]
    assert torch.equal(tokenizer.encode_all([clip])[0], codes) and len(codes.unique()) > 2
    expected = theirs.denormalise(vqvae.decode(codes[None])[0])
    found = tokenizer.decode_features([codes])[0]
    for name, columns in SMPLX_COLUMNS.items():
        there = SMPLX_LAYOUTS[layout].get(name)
        wanted = expected[:, there] if there is not None else torch.zeros(32, columns.stop - columns.start)
        torch.testing.assert_close(found[:, columns], wanted, rtol=1e-5, atol=1e-5)  # float32, sums in another order

    tokenizer.save(tmp_path / "ours")
    assert read_json(tmp_path / "ours" / "config.json")["smplx_layout"] == layout
    ours = MotionTokenizer.load(tmp_path / "ours")
    assert torch.equal(ours.encode_all([clip])[0], codes) and ours.smplx_layout == layout
    for left_out, line in (("smplx_layout", "182 numbers without names.*--smplx-layout"), ("fps", "--vqvae-fps")):
        with pytest.raises(ValueError, match=line):
            MotionTokenizer.load(tmp_path / "net.pth", **named | {left_out: None})


def other(kind, skeleton, bias=5.0):
    representation = get_representation(kind, skeleton)
    D = representation.dim
    vqvae = VQVAE(dataclasses.replace(CONFIG, feature_dim=D, joint_dim=representation.joint_dim, feature_bias=bias))
    vqvae.quantizer.codebook.normal_()
    return MotionTokenizer(vqvae, Normalizer(np.zeros(D), np.full(D, 0.1)), skeleton, 20.0, representation)


def test_positions_come_out_as_joints(tmp_path):
    other("positions", MYOSKELETON).save(tmp_path)
    tokenizer = MotionTokenizer.load(tmp_path)
    assert read_json(tmp_path / "config.json")["representation"] == "positions-84"
    (features,), (joints,) = tokenizer.decode_features([[1, 2, 3]]), tokenizer.decode([[1, 2, 3]])
    assert joints.shape == (12, 28, 3)
    np.testing.assert_array_equal(joints, tokenizer.representation.decode(features.numpy()))
    assert reconstruction_errors(tokenizer, [features.numpy()])["mpjpe_mm"] > 0


def test_parameters_come_out_as_parameters(tmp_path):
    other("smplx", HUMANML3D, 1.0).save(tmp_path)
    tokenizer = MotionTokenizer.load(tmp_path)
    (features,) = tokenizer.decode_features([[1, 2, 3]])
    assert features.shape == (12, 182)
    with pytest.raises(ValueError, match="--smplx-dir"):
        tokenizer.decode([[1, 2, 3]])
    errors = reconstruction_errors(tokenizer, [features.numpy()])
    decoded = tokenizer.decode_features(tokenizer.encode([features.numpy()]))[0]
    wanted = (((decoded - features) / 0.1) ** 2).mean() ** 0.5
    assert errors["feature_rmse"] == pytest.approx(float(wanted), rel=1e-4) and "mpjpe_mm" not in errors


def test_a_config_without_representation_is_humanml3d(tokenizer, tmp_path):
    """Checkpoints of the first version name no representation."""
    tokenizer.save(tmp_path)
    content = read_json(tmp_path / "config.json")
    assert content.pop("representation") == "humanml3d-263"
    write_json(tmp_path / "config.json", content)
    assert MotionTokenizer.load(tmp_path).representation.name == "humanml3d-263"
    write_json(tmp_path / "config.json", content | {"representation": "positions-66"})
    with pytest.raises(ValueError, match="width 263, its representation positions-66 .* has 66"):
        MotionTokenizer.load(tmp_path)


def test_a_data_set_is_tokenised_a_few_clips_at_a_time(script, tiny, tmp_path, monkeypatch):
    """The file is the same, entry for entry, however many clips are in memory at once."""
    from motiongpt.data.motions import MotionDataset
    from motiongpt.stages import tokenizer as tokenizer_training

    assert script("prepare", "--from", "procedural", "--count", 14, "--out", tmp_path / "data").code == 0
    data, load, loaded = MotionDataset(tmp_path / "data"), MotionDataset.load, []
    assert data.frames("none") == 0
    monkeypatch.setattr(MotionDataset, "load", lambda self, ids: loaded.append(list(ids)) or load(self, loaded[-1]))
    written = []
    for at_once in (512, 3):
        monkeypatch.setattr(tokenizer_training, "CLIPS_AT_ONCE", at_once)
        loaded.clear()
        tokenizer_training.tokenise_dataset(data, MotionTokenizer.load(tiny.vqvae), tmp_path / f"{at_once}.json")
        written.append((tmp_path / f"{at_once}.json").read_bytes())
        lengths = [data.frames(clip) for clips in loaded for clip in clips if clip in data.ids("train")]
        assert max(map(len, loaded)) <= at_once and lengths == sorted(lengths) and len(lengths) > 3
    assert written[0] == written[1]
    assert sorted(clip for clips in loaded for clip in clips) == sorted(
        clip for split in ("train", "val", "test") for clip in data.ids(split)
    )


# ---- training ---------------------------------------------------------------------------------------------------


@pytest.fixture
def train(clips, tmp_path):
    """`train(out)` trains one step on the data set in tmp_path / "data"."""
    data = tmp_path / "data"
    (data / "new_joint_vecs").mkdir(parents=True)
    for i, clip in enumerate(clips):
        np.save(data / "new_joint_vecs" / f"{i}.npy", clip)
    for split, ids in {"train": range(10), "val": (10, 11)}.items():
        (data / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids))
    Normalizer.fit(clips, get_representation("humanml3d", HUMANML3D)).save(data)
    config = TrainConfig(max_steps=1, batch_size=4, window=16, eval_every=1, save_every=1)

    def call(out, **how):
        return train_motion_tokenizer(MotionDataset(data), CONFIG, config, out, device=torch.device("cpu"),
                               precision="fp32", say=lambda line: None, **how)  # fmt: skip

    return call


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_clip_in_two_splits_is_refused(train, tmp_path, split):
    with open(tmp_path / "data" / f"{split}.txt", "a") as file:
        file.write("3\n7\n")
    with pytest.raises(ValueError, match=f"train.txt and {split}.txt share 2 clips, such as 3; a clip belongs to one"):
        train(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def bytes_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("what", ["its own", "another, as prepare.py writes it", "another, downloaded"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_tokenizer_is_not_trained_into_a_data_set(train, tmp_path, what, fresh):
    """A tokenizer would replace the Mean.npy and Std.npy of the data set."""
    out = tmp_path / "data" if what == "its own" else tmp_path / "other"
    if what == "another, as prepare.py writes it":
        write_json(out / "dataset.json", {})
    elif what == "another, downloaded":
        shutil.copytree(tmp_path / "data", out)
    before = bytes_of(tmp_path)
    with pytest.raises(ValueError, match=f"--out {out} is a data set; give a tokenizer a folder of its own"):
        train(out, fresh=fresh)
    assert bytes_of(tmp_path) == before


def test_fresh_takes_nothing_from_under_a_running_training(train, tmp_path):
    """`fresh` refuses to clear a folder that is in use: its own, or one of the later stages."""
    out, later = tmp_path / "vq", tmp_path / "stage2"
    train(out)
    write_json(later / "meta.json", {})
    before = bytes_of(tmp_path)
    for held in (out, later):
        with hold(held, "trained"), pytest.raises(BlockingIOError, match=f"{held} is being trained"):
            train(out, fresh=True, clears=(later, tmp_path / "stage3"))
        assert held is later or bytes_of(tmp_path) == before
    assert train(out, fresh=True, clears=(later, tmp_path / "stage3")).finished
    assert not (later / "meta.json").exists() and not (tmp_path / "stage3").exists()
