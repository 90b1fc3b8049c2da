"""One pose as a condition: a frame of a clip, or a pose alone, in every kind of file."""

import numpy as np
import pytest
import test_sources
import torch
from cases import for_each
from conftest import ROOT

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.config import VQVAEConfig
from motiongpt.features.humanml3d import features_to_joints, joints_to_features
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.generation.poses import read_pose_code
from motiongpt.metrics.joints import pa_mpjpe
from motiongpt.motion import Motion
from motiongpt.motion_files import Reading, read_codes
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.procedural.clips import generate_clips
from motiongpt.vqvae import VQVAE

HOW = Reading()


@pytest.fixture(scope="module")
def joints() -> np.ndarray:
    return next(generate_clips(1, seed=2)).joints


@pytest.fixture(scope="module")
def tokenizer(joints) -> MotionTokenizer:
    return random_tokenizer("humanml3d", joints)


def random_tokenizer(kind: str, example: np.ndarray, **config) -> MotionTokenizer:
    """Random weights, and 32 codes that lie where the latents of `example` do, so that its motions get many of them."""
    torch.manual_seed(3)
    rep = get_representation(kind, HUMANML3D)
    vqvae = VQVAE(VQVAEConfig(feature_dim=rep.dim, joint_dim=rep.joint_dim, codes=32, code_dim=8, width=16, **config))
    features = torch.as_tensor(rep.encode(example)).float()
    normalizer = Normalizer(features.mean(0).numpy(), (features.std(0) + 0.01).numpy())
    with torch.no_grad():
        latents = vqvae.latents(normalizer.normalise(features)[None], None)[0]
        vqvae.quantizer.codebook.copy_(latents[torch.arange(32) % len(latents)] + 1e-3 * torch.randn(32, 8))
    return MotionTokenizer(vqvae, normalizer, HUMANML3D, 20.0, rep)


def test_a_frame_gets_the_code_that_it_belongs_to(joints, tokenizer, tmp_path):
    path = tmp_path / "clip.npy"
    F = 4 * ((len(joints) - 3) // 4) + 1  # joints; one frame fewer of features, so all are in whole codes
    np.save(path, joints[:F])
    codes = read_codes(path, tokenizer)
    assert len(set(codes)) > 1
    for frame in (0, 1, 3, 4, 18, F - 6, F - 2):
        assert read_pose_code(path, tokenizer, HOW, frame=frame) == codes[frame // 4]
        assert read_pose_code(path, tokenizer, HOW, frame=frame - F) == codes[frame // 4]
        assert read_pose_code(path, tokenizer, HOW, at=frame / 20) == codes[frame // 4]
    assert read_pose_code(path, tokenizer, HOW, frame=-1) == codes[-1]
    assert read_pose_code(path, tokenizer, HOW) == codes[0]
    assert read_pose_code(path, tokenizer, HOW, last=True) == codes[-1]
    # a frame beyond the last whole code gets a code that does contain it: those of the clip's last 4 n frames
    np.save(path, joints[: F + 2])
    features = joints_to_features(joints[: F + 2], HUMANML3D).astype(np.float32)
    assert read_pose_code(path, tokenizer, HOW, frame=F + 1) == tokenizer.encode([features[2:]])[0][-1]
    assert read_pose_code(path, tokenizer, HOW, frame=F - 4) == tokenizer.encode([features])[0][-1]


def test_frames_are_counted_at_the_rate_of_the_file(joints, tokenizer, tmp_path):
    """60 fps in both files: 1 s is frame 60, and there are as many frames as rows."""
    test_sources.write_bvh(tmp_path / "walk.bvh", frames=90)
    text = (tmp_path / "walk.bvh").read_text()
    (tmp_path / "walk.bvh").write_text(text.replace("Frame Time: 0.05", f"Frame Time: {1 / 60:.8f}"))
    np.save(tmp_path / "fast.npy", joints[:66])
    for name, how, F in (("walk.bvh", HOW, 90), ("fast.npy", Reading(fps=60.0), 66)):
        path = tmp_path / name
        codes = read_codes(path, tokenizer, how)
        for i, code in enumerate(codes):
            assert read_pose_code(path, tokenizer, how, frame=12 * i) == code
            assert read_pose_code(path, tokenizer, how, at=0.2 * i) == code
        with pytest.raises(ValueError, match=f"has {F} frames at 60 fps, 0 to {F - 1}, or -1 to -{F} from the end"):
            read_pose_code(path, tokenizer, how, frame=F)


def test_codes_are_their_own_poses(tokenizer, tmp_path):
    (tmp_path / "t.txt").write_text("5 6 7")
    np.save(tmp_path / "c.npy", np.array([5, 6, 7]))
    Motion(None, 20.0, (5, 6, 7)).save(tmp_path / "m.npz")
    for name in ("t.txt", "c.npy", "m.npz"):
        path = tmp_path / name
        found = [read_pose_code(path, tokenizer, HOW, frame=frame) for frame in (0, 3, 4, 11, -1)]
        assert found == [5, 5, 6, 7, 7] and read_pose_code(path, tokenizer, HOW, at=0.6) == 7
        assert (read_pose_code(path, None, HOW), read_pose_code(path, None, HOW, last=True)) == (5, 7)
        with pytest.raises(ValueError, match="has 12 frames at 20 fps, 0 to 11"):
            read_pose_code(path, tokenizer, HOW, frame=12)


def test_a_lone_pose_in_all_its_shapes(joints, tokenizer, tmp_path):
    """(J, 3), (1, J, 3), a saved motion of one frame, and a clip too short for a code that starts with it."""
    pose = joints[20]
    Motion(pose[None], 20.0, skeleton=HUMANML3D).save(tmp_path / "m.npz")
    for name, array in (("a", pose), ("b", pose[None]), ("c", joints[20:23])):
        np.save(tmp_path / f"{name}.npy", array)
    found = [read_pose_code(tmp_path / name, tokenizer, HOW) for name in ("a.npy", "b.npy", "c.npy", "m.npz")]
    assert len(set(found)) == 1
    np.save(tmp_path / "d.npy", joints[21])
    second = read_pose_code(tmp_path / "c.npy", tokenizer, HOW, frame=1)
    assert second == read_pose_code(tmp_path / "d.npy", tokenizer, HOW)
    rows = joints_to_features(joints, HUMANML3D).astype(np.float32)
    for name, array in (("e", rows[20]), ("f", rows[20:21])):
        np.save(tmp_path / f"{name}.npy", array)
    assert read_pose_code(tmp_path / "e.npy", tokenizer, HOW) == read_pose_code(tmp_path / "f.npy", tokenizer, HOW)


@for_each(
    "kind, config",
    [
        ("humanml3d", {}),
        ("positions", {}),
        ("humanml3d", {"depth": 2, "dilation_growth": 2}),
        ("humanml3d", {"causal": True}),
    ],
)
def test_a_still_pose_sees_no_end_of_its_clip(kind, config, joints, tmp_path):
    """Held four times as long, the middle code's latent is the same, so nothing of it comes from the ends."""
    tokenizer = random_tokenizer(kind, joints, **config)
    np.save(tmp_path / "pose.npy", joints[20])
    code = read_pose_code(tmp_path / "pose.npy", tokenizer, HOW)
    long = tokenizer.representation.encode(np.repeat(joints[20:21], 801, axis=0)).astype(np.float32)
    assert code == tokenizer.encode([long])[0][100]
    # and the codes within reach of an end differ from it, or the test would pass for any length
    latents = tokenizer.vqvae.latents(torch.from_numpy(long[None]), None)[0]
    assert (latents[2] - latents[100]).abs().max() > 1e-3


def test_the_demo_finds_a_pose_again(joints, tmp_path):
    """Mean distance of the joints after decoding: 12 mm for codes in motion, 32 mm for a code held still."""
    tokenizer = MotionTokenizer.load(ROOT / "checkpoints/demo/vqvae")
    poses = torch.from_numpy(features_to_joints(joints_to_features(joints, HUMANML3D), HUMANML3D)).float()
    np.save(tmp_path / "clip.npy", joints)
    decoded = torch.from_numpy(tokenizer.decode([read_codes(tmp_path / "clip.npy", tokenizer)])[0])
    moving = pa_mpjpe(decoded, poses[: len(decoded)]).mean()
    still = []
    for frame in range(0, len(decoded), 12):
        np.save(tmp_path / "pose.npy", poses[frame].numpy())
        code = read_pose_code(tmp_path / "pose.npy", tokenizer, HOW)
        still.append(pa_mpjpe(torch.from_numpy(tokenizer.decode([[code] * 45])[0][90]), poses[frame]))
    # twice the mean of 120 poses
    assert moving < 0.024 and np.mean(still) < 0.064, (moving, np.mean(still))


def test_smplx_poses(tmp_path):
    frames = 0.1 * np.random.default_rng(0).standard_normal((9, 182)).astype(np.float32)
    tokenizer = random_tokenizer("smplx", frames)
    Motion(None, 20.0, parameters=frames).save(tmp_path / "m.npz")
    np.save(tmp_path / "f.npy", frames)
    codes = read_codes(tmp_path / "m.npz", tokenizer)
    assert [read_pose_code(tmp_path / "m.npz", tokenizer, HOW, frame=frame) for frame in (0, 5)] == codes
    np.save(tmp_path / "p.npy", frames[3])
    Motion(None, 20.0, parameters=frames[3:4]).save(tmp_path / "p.npz")
    assert read_pose_code(tmp_path / "p.npy", tokenizer, HOW) == read_pose_code(tmp_path / "p.npz", tokenizer, HOW)
    bad = frames[3:4].copy()
    bad[0, 7] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    with pytest.raises(ValueError, match="bad.npy: frame 0 is not finite"):
        read_pose_code(tmp_path / "bad.npy", tokenizer, HOW)


@for_each(
    "make, flags, message",
    [
        (lambda x: x, {"frame": 10**9}, "--frame 1000000000: .*has 40 frames at 20 fps, 0 to 39, or -1 to -40"),
        (lambda x: x, {"frame": -41}, "--frame -41: "),
        (lambda x: x, {"at": 2.1}, "--at 2.1: .* lasts 2 seconds, 40 frames at 20 fps"),
        (lambda x: x, {"at": -0.1}, "--at -0.1: "),
        (lambda x: x, {"at": float("nan")}, "--at nan: "),
        (lambda x: x, {"at": 1.0, "frame": 3}, "give one of them"),
        (lambda x: x[0], {"frame": 1}, "has 1 frames"),
        (lambda x: np.full((22, 3), np.nan), {}, "p.npy: frame 0 is not finite"),
        (lambda x: x[0, :21], {}, "p.npy: expected joints .*22, 3.* or one pose, .*got float32 .21, 3."),
        (lambda x: x[0].ravel(), {}, "got float32 .66,."),
        (lambda x: x[:0], {}, "got float32 .0, 22, 3."),
        (lambda x: np.zeros(0), {}, "got float64 .0,."),
        (lambda x: np.zeros(0, int), {}, "p.npy: no motion tokens"),
        (lambda x: np.zeros((22, 3)), {}, "p.npy: the leg .* has zero length"),
        (lambda x: x[0].astype(str), {}, "p.npy"),
    ],
)
def test_hostile_poses(make, flags, message, joints, tokenizer, tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, make(joints[:40].astype(np.float32)))
    with pytest.raises(ValueError, match=message) as error:
        read_pose_code(path, tokenizer, HOW, **flags)
    assert "\n" not in str(error.value)


def test_hostile_files(tokenizer, tmp_path):
    test_sources.write_bvh(tmp_path / "walk.bvh")
    text = (tmp_path / "walk.bvh").read_text()
    head, rows = text.split("MOTION")
    lines = rows.strip().splitlines()
    one = "\n".join(["Frames: 1", *(line for line in lines[1:2]), lines[2]])
    (tmp_path / "one.bvh").write_text(f"{head}MOTION\n{one}\n")
    assert 0 <= read_pose_code(tmp_path / "one.bvh", tokenizer, HOW) < 32
    assert read_pose_code(tmp_path / "one.bvh", tokenizer, HOW, frame=0) == read_pose_code(
        tmp_path / "one.bvh", tokenizer, HOW, frame=-1
    )
    with pytest.raises(ValueError, match=r"one.bvh has 1 frames"):
        read_pose_code(tmp_path / "one.bvh", tokenizer, HOW, frame=1)
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ValueError, match=r"empty.txt: no motion tokens"):
        read_pose_code(tmp_path / "empty.txt", tokenizer, HOW)
    with pytest.raises(FileNotFoundError, match=r"gone.npy"):
        read_pose_code(tmp_path / "gone.npy", tokenizer, HOW)
    np.save(tmp_path / "pose.npy", np.zeros((22, 3)))
    with pytest.raises(ValueError, match="no motion tokenizer"):
        read_pose_code(tmp_path / "pose.npy", None, HOW)
