"""From every kind of source to a sampled motion, through the scripts people type, at tiny size.

prepare -> train_vqvae -> tokenize_motions -> finetune --stage 3 --debug -> sample. Weights are barely trained. The
tests check that each step takes what the one before wrote, and that widths, skeletons and frame rates come out right.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import test_reader_amass
import test_reader_asfamc
import test_reader_kit_xml
import test_sources
import torch
from PIL import Image

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.data.raw import RawClip
from motiongpt.data.token_formats import is_token_folder
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.features.smplx import SMPLX_WIDTHS, stand_in_joints
from motiongpt.motion import Motion
from motiongpt.motion_files import clip_features, read_codes
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.procedural.clips import generate_clips
from motiongpt.weights.vqvae import load_vqvae, save_t2m_gpt

TINY = "--width 16 --code-dim 8 --codes 16 --depth 1 --window 16 --max-steps 3 --eval-every 3 --batch-size 4".split()
LORA = "--lora-r 2 --batch-size 4".split()


@dataclass(frozen=True)
class Chain:
    """What must come out of a source."""

    joints: int | None  # None: SMPL-X parameters
    fps: float
    width: int


def caption_folder(place: Path, ids: list[str]) -> None:
    """texts/ and splits: the last two clips are val and test."""
    (place / "texts").mkdir(parents=True)
    for name in ids:
        (place / "texts" / f"{name}.txt").write_text(f"a person does {name}#a/DET#0.0#0.0\n")
    for split, some in (("train", ids[:-2]), ("val", ids[-2:-1]), ("test", ids[-1:])):
        (place / f"{split}.txt").write_text("\n".join(some) + "\n")


def moving_joints(count=5, frames=44) -> list[np.ndarray]:
    return [clip.joints[:frames] for clip in generate_clips(count, seed=3)]


def make_joints(place: Path) -> list:
    (place / "raw_joints").mkdir(parents=True)
    clips = moving_joints()
    for i, joints in enumerate(clips):
        np.save(place / "raw_joints" / f"{i}.npy", joints)
    caption_folder(place, [str(i) for i in range(len(clips))])
    return []


def make_features(place: Path, width: int) -> list:
    """The layout of a download. KIT's 251 features are random: they are read as they are."""
    (place / "new_joint_vecs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, joints in enumerate(moving_joints()):
        features = joints_to_features(joints, HUMANML3D) if width == 263 else rng.normal(size=(44, width)) / 10
        features[:, -4:] = features[:, -4:] > 0  # contacts are 0 or 1, and the check of the deviations relies on it
        np.save(place / "new_joint_vecs" / f"{i}.npy", features.astype(np.float32))
    caption_folder(place, [str(i) for i in range(5)])
    return []


def make_bvh(place: Path) -> list:
    place.mkdir()
    for i in range(5):
        test_sources.write_bvh(place / f"walk_{i}.bvh", frames=30 + i)
    return ["--captions", write_captions(place, [f"walk_{i}" for i in range(5)])]


def write_captions(place: Path, ids: list[str]) -> Path:
    rows = [f"{name},he does {name},,{split}" for name, split in zip(ids, [*["train"] * 3, "val", "test"], strict=True)]
    (place / "captions.csv").write_text("id,caption,participant,split\n" + "\n".join(rows) + "\n")
    return place / "captions.csv"


def make_kit_xml(place: Path) -> list:
    """Walks from the maker of the reader's tests, each under its own number."""
    place.mkdir()
    ids = [f"{i:05}" for i in range(11, 16)]
    for i, name in enumerate(ids):
        root = np.stack((np.zeros(60), 10.0 * np.arange(60), np.full(60, 848.0 + i)), axis=1)
        swing = np.sin(np.arange(60) / 5)
        test_reader_kit_xml.make(place, 60, {"LHx_joint": swing / 3, "RHx_joint": -swing / 3}, root=root, dt=0.05)
        for end in ("mmm.xml", "annotations.json"):
            (place / f"00007_{end}").rename(place / f"{name}_{end}")
    return ["--captions", write_captions(place, ids)]


def make_myoskeleton(place: Path) -> list:
    import test_reader_myoskeleton  # skips where there is no h5py

    place.mkdir()
    for i, split in enumerate(("train", "val", "test")):
        motion = test_reader_myoskeleton.body(frames=24, seed=i)
        test_reader_myoskeleton.make(place / f"{split}.h5", motion, lengths=np.array([24, 20, 22]))
    return []


def make_smplx(place: Path) -> list:
    place.mkdir()
    ids = [f"P{i}_00{i}-word{i}" for i in range(5)]
    test_sources.write_smplx(place, ids)
    return ["--fps", 25, "--captions", write_captions(place, ids)]


def make_amass(place: Path) -> list:
    models = test_reader_amass.write_models(place / "models", ("smplh",))
    ids = [f"walk{i}" for i in range(5)]
    for i, name in enumerate(ids):
        poses = test_reader_amass.smooth_poses(120, 156, i)
        content = test_reader_amass.motion(frames=120, fps=60.0, seed=i, poses=poses)
        test_reader_amass.write(place / "amass" / f"{name}_poses.npz", content)
    captions = write_captions(place, [f"{name}_poses" for name in ids])
    return ["--input", place / "amass", "--smplx-dir", models, "--captions", captions]


def make_asfamc(place: Path) -> list:
    """Trials of CMU's layout, cut and captioned by HumanML3D's index and texts."""
    source = place / "CMU" / "subjects"
    for i in range(1, 4):
        test_reader_asfamc.write_walk(source / "07" / f"07_{i:02}.amc", frames=600, seed=i)
    rows = [(f"./pose_data/CMU/07/07_{i % 3 + 1:02}_poses.npy", 10 * i, 50 + 10 * i, f"{i:06}.npy") for i in range(5)]
    ids = [f"{i:06}" for i in range(5)]
    texts = {name: f"a person does {name}#a/DET#0.0#0.0\n" for name in ids}
    flags = test_reader_asfamc.write_humanml3d(place / "HumanML3D", rows, texts)
    for split, some in (("train", ids[:3]), ("val", ids[3:4]), ("test", ids[4:])):
        (place / "HumanML3D" / f"{split}.txt").write_text("\n".join(some) + "\n")
    return ["--input", source, *flags]


CHAINS = {
    "humanml3d": (lambda place: make_features(place, 263), Chain(22, 20.0, 263)),
    "kit-ml": (lambda place: make_features(place, 251), Chain(21, 12.5, 251)),
    "joints": (make_joints, Chain(22, 20.0, 263)),
    "bvh": (make_bvh, Chain(22, 20.0, 263)),
    "asfamc": (make_asfamc, Chain(22, 20.0, 263)),
    "kit-xml": (make_kit_xml, Chain(22, 20.0, 263)),
    "myoskeleton": (make_myoskeleton, Chain(28, 20.0, 84)),
    "smplx": (make_smplx, Chain(None, 25.0, 182)),
    "amass": (make_amass, Chain(22, 20.0, 263)),
    "procedural": (lambda place: ["--count", 12], Chain(22, 20.0, 263)),
}


def call(script, name, *args):
    done = script(name, *args)
    assert done.code == 0, f"{name}: {done.err}"
    return done


def train_and_sample(script, tiny, here: Path, data: Path, want: Chain) -> None:
    """From a dataset folder to a motion; each step reads what the one before wrote."""
    call(script, "train_vqvae", "--data", data, "--out", here / "vqvae", *TINY)
    settings = json.loads((here / "vqvae" / "config.json").read_text())
    assert settings["VQVAEConfig"]["feature_dim"] == want.width and settings["fps"] == want.fps
    call(script, "tokenize_motions", "--data", data, "--vqvae", here / "vqvae", "--out", here / "tokens.json")
    finetune(script, tiny, here, here / "tokens.json", "--vqvae", here / "vqvae")
    sample = ("sample", "--run", here / "run", "--prompt", "a person walks", "--max-new-tokens", 6)
    if want.joints is None:
        parameters_come_out(script, here, sample, want)
    else:
        call(script, *sample, "--output", here / "out")
        joints = np.load(here / "out" / "motion.npy", allow_pickle=False)
        assert joints.shape[1:] == (want.joints, 3) and len(joints) % 4 == 0 and np.isfinite(joints).all()
        with Image.open(here / "out" / "motion.gif") as image:
            assert image.format == "GIF"


def finetune(script, tiny, here, data, *args):
    """Stage 3 without the stages before it; five steps."""
    stage = ("--stage", 3, "--debug", "--data", data, "--backbone", tiny.backbone)
    done = call(script, "finetune", *stage, "--out", here / "run", *LORA, *args)
    assert "--debug: at most 5 steps" in done.out and "; 5 steps on" in done.out
    assert json.loads((here / "run" / "stage3" / "meta.json").read_text())["steps"] == 5


def parameters_come_out(script, here, sample, want) -> None:
    note = "drawn on a stand-in skeleton"
    done = call(script, *sample, "--output", here / "m.npz")
    assert note not in done.out  # nothing is drawn
    with np.load(here / "m.npz", allow_pickle=False) as file:
        frames = len(file["betas"])
        assert frames and {name: file[name].shape for name in SMPLX_WIDTHS} == {
            name: (frames, width) for name, width in SMPLX_WIDTHS.items()
        }
        assert float(file["fps"]) == want.fps
    done = call(script, *sample, "--output", here / "out")
    assert done.out.count(note) == 1 and "--smplx-dir" in done.out
    assert sorted(path.name for path in (here / "out").iterdir()) == ["motion.gif", "motion.npz", "motion.txt"]
    back = Motion.load(here / "m.npz")
    done = call(script, *sample, "--output", here / "m.npy", here / "m.gif", here / "m.png")
    assert done.out.count(note) == 1
    joints = np.load(here / "m.npy", allow_pickle=False)
    np.testing.assert_array_equal(joints, stand_in_joints(back.parameters))
    for name in ("m.gif", "m.png"):
        with Image.open(here / name) as image:
            assert image.format == name[2:].upper()
    done = call(script, "sample", "--run", here / "run", "--info")
    assert "joints       none: smplx-182 parameters, drawn on a stand-in skeleton" in done.out
    again = Motion(None, back.fps, parameters=back.parameters)  # no tokens: it is encoded anew
    again.save(here / "again.npz")
    text = ("sample", "--run", here / "run", "--task", "m2t", "--max-new-tokens", 3)
    call(script, *text, "--input", here / "again.npz")
    raw = {name: np.zeros((12, width)) for name, width in SMPLX_WIDTHS.items()}
    np.savez(here / "raw.npz", **raw, fps=25.0)
    call(script, *text, "--input", here / "raw.npz")
    done = call(script, "render", "--run", here / "run", "--input", here / "again.npz")
    assert done.out.count(note) == 1 and (here / "again.gif").is_file()
    done = call(script, "render", "--run", here / "run", "--tokens", "1 2 3", "--output", here / "tokens.png")
    assert done.out.count(note) == 1 and (here / "tokens.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("source", CHAINS)
def test_a_made_source_becomes_a_motion(source, script, tiny, tmp_path):
    if source == "myoskeleton":
        pytest.importorskip("h5py")
    make, want = CHAINS[source]
    args = make(tmp_path / "in")
    if source != "procedural" and "--input" not in args:
        args = ["--input", tmp_path / "in", *args]
    call(script, "prepare", "--from", source, "--out", tmp_path / "data", "--workers", 1, *args)
    train_and_sample(script, tiny, tmp_path, tmp_path / "data", want)


def real_humanml3d(shared: Path, place: Path) -> list:
    """Ten clips of the HumanML3D download, in its layout."""
    download = shared / "humanml3d_folder"
    for name in ("new_joint_vecs", "texts"):
        (place / name).mkdir(parents=True)
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        ids = (download / f"{split}.txt").read_text().split()[:count]
        (place / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for clip in ids:
            shutil.copy(download / "new_joint_vecs" / f"{clip}.npy", place / "new_joint_vecs")
            shutil.copy(download / "texts" / f"{clip}.txt", place / "texts")
    return ["--input", place]


REAL = {
    "humanml3d": real_humanml3d,
    "bvh": lambda shared, place: ["--input", shared / "bvh_samples"],
    "kit-xml": lambda shared, place: ["--input", shared / "kit_mmm_samples", "--captions", kit_splits(place)],
    "myoskeleton": lambda shared, place: ["--input", shared / "myoskeleton"],
}


def kit_splits(place: Path) -> Path:
    place.mkdir()
    (place / "c.csv").write_text(
        "id,caption,participant,split\n00001,he walks,,train\n00002,he runs,,train\n00004,he goes,,val\n"
    )
    return place / "c.csv"


@pytest.mark.slow
@pytest.mark.parametrize("source", REAL)
def test_a_real_sample_becomes_a_motion(source, script, tiny, tmp_path, shared_data):
    args = REAL[source](shared_data, tmp_path / "in")
    call(script, "prepare", "--from", source, "--out", tmp_path / "data", "--workers", 1, *args)
    train_and_sample(script, tiny, tmp_path, tmp_path / "data", CHAINS[source][1])


def test_token_json_starts_at_finetune(script, tiny, tmp_path):
    """Without a motion tokenizer tokens come out, and no joints are made up."""
    entries = [
        {"text_query": f"sign {i % 4}", "motion_tokens": f"{i % 7} {i % 5} 3 2", "participant_id": f"P{i % 2}"}
        for i in range(60)
    ]
    (tmp_path / "t.json").write_text(json.dumps(entries))
    tokens_come_out(script, tiny, tmp_path, tmp_path / "t.json")


def test_the_real_token_json_starts_at_finetune(script, tiny, tmp_path, shared_data):
    tokens_come_out(script, tiny, tmp_path, shared_data / "signmotion" / "signmotion_1000.json")


def tokens_come_out(script, tiny, here, data):
    assert not is_token_folder(data)
    finetune(script, tiny, here, data)
    sample = ("sample", "--run", here / "run", "--prompt", "sign 1", "--max-new-tokens", 5)
    done = call(script, *sample, "--output", here / "out")
    assert [path.name for path in (here / "out").iterdir()] == ["motion.txt"] and "tokens only" in done.out
    done = script(*sample, "--output", here / "m.npy")
    assert done.code == 2 and "--vqvae" in done.err


@pytest.mark.slow
def test_debug_keeps_fewer_steps_and_shortens_a_tokenizer_stage(script, tiny, tmp_path):
    call(script, "prepare", "--from", "procedural", "--count", 12, "--workers", 1, "--out", tmp_path / "data")
    small = [word for word in TINY if word not in ("--max-steps", "3", "--eval-every")]
    stage = ("--recipe", "myoskeleton", "--stage", 1, "--debug", "--data", tmp_path / "data")
    done = call(script, "finetune", *stage, "--out", tmp_path / "run", *small)
    assert json.loads((tmp_path / "run" / "vqvae" / "meta.json").read_text())["steps"] == 5
    stage = ("--stage", 3, "--debug", "--data", tiny.data, "--backbone", tiny.backbone)
    done = call(script, "finetune", *stage, "--out", tmp_path / "b", *LORA, "--max-steps", 2)
    assert "; 2 steps on" in done.out


FOREIGN = {"humanml3d": [], "smplx": ["--smplx-layout", "train", "--vqvae-fps", 25]}


@pytest.mark.slow
@pytest.mark.parametrize(("source", "named"), FOREIGN.items())
def test_a_published_tokenizer_goes_the_whole_way(source, named, script, tiny, tmp_path):
    """A file of another project makes tokens, goes into the run, which then owns it, and becomes our folder."""
    make, want = CHAINS[source]
    args, data, net = make(tmp_path / "in"), tmp_path / "data", tmp_path / "net.pth"
    prepare = ("prepare", "--from", source, "--input", tmp_path / "in", "--workers", 1, *args)
    call(script, *prepare, "--out", data)
    bias = ["--feature-bias", 25] if source == "humanml3d" else []  # the pair that T2M-GPT's files were trained with
    call(script, "train_vqvae", "--data", data, "--out", tmp_path / "vqvae", *TINY, *bias)
    save_t2m_gpt(load_vqvae(tmp_path / "vqvae"), net)  # as theirs: it says nothing about itself
    foreign = ["--vqvae", net, "--stats", tmp_path / "vqvae", *named]

    done = call(script, "tokenize_motions", "--data", data, *foreign, "--out", tmp_path / "tokens.json")
    assert " ".join(map(str, foreign)) in done.out.splitlines()[-1]  # the next command is one to copy
    call(script, "tokenize_motions", "--data", data, "--vqvae", tmp_path / "vqvae", "--out", tmp_path / "ours.json")
    assert (tmp_path / "tokens.json").read_bytes() == (tmp_path / "ours.json").read_bytes()
    finetune(script, tiny, tmp_path, tmp_path / "tokens.json", *foreign)
    stage = ("--stage", 3, "--debug", "--fresh", "--data", tmp_path / "tokens.json", "--backbone", tiny.backbone)
    again = ("finetune", *stage, "--out", tmp_path / "run", *LORA)
    call(script, *again)  # the run has its tokenizer
    done = script(*again, "--vqvae", tmp_path / "vqvae")
    assert done.code == 2 and "is not the tokenizer that wrote" in done.err  # its moving averages differ

    call(script, "export", "--format", "motiongpt", "--out", tmp_path / "own", *foreign)
    assert MotionTokenizer.load(tmp_path / "own").hash == MotionTokenizer.load(tmp_path / "run").hash
    call(script, *again, "--vqvae", tmp_path / "own")
    sample = ("--run", tmp_path / "run", "--prompt", "a person walks", "--max-new-tokens", 6)
    call(script, "sample", *sample, "--output", tmp_path / "m.npz")
    motion = Motion.load(tmp_path / "m.npz")
    assert motion.fps == want.fps and (motion.joints is None) == (want.joints is None)


def test_kit_joints_come_back_in(script, tiny, tmp_path):
    """KIT's skeleton has no bone lengths to retarget to: sampled joints have its body and are taken as they are."""
    make_features(tmp_path / "in", 251)
    call(script, "prepare", "--from", "kit-ml", "--input", tmp_path / "in", "--out", tmp_path / "data", "--workers", 1)
    call(script, "train_vqvae", "--data", tmp_path / "data", "--out", tmp_path / "vqvae", *TINY)

    tokenizer = MotionTokenizer.load(tmp_path / "vqvae")
    rng = np.random.default_rng(0)
    joints = tokenizer.decode([[3, 5, 2, 7, 1, 4]])[0] + rng.normal(size=(24, 21, 3)).astype(np.float32) * 1e-3
    features = clip_features(RawClip(joints, KIT.joints, 12.5), tokenizer)
    back = tokenizer.joints(torch.from_numpy(features)).numpy()
    height = (joints[:-1, :, 1] - joints[..., 1].min()) - back[..., 1]
    assert features.shape == (23, 251) and np.abs(height).max() < 1e-3  # metres stay metres; 1 mm of float32 units
    np.save(tmp_path / "k.npy", joints)
    assert read_codes(tmp_path / "k.npy", tokenizer) == tokenizer.encode([features])[0]
