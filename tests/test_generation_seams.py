"""Given parts stay the user's own frames, and every seam is an ordinary step of the motion."""

import importlib.util
from functools import cache

import numpy as np
import pytest
import torch
from cases import for_each
from conftest import ROOT

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.config import VQVAEConfig
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.generation import seams
from motiongpt.generation.seams import RAMP, find_seams, keep_given, kept_frames, seam_report
from motiongpt.motion import Motion
from motiongpt.motion_files import read_given
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.procedural.clips import generate_clips
from motiongpt.vqvae import VQVAE


@cache
def demo() -> MotionTokenizer:
    return MotionTokenizer.load(ROOT / "checkpoints/demo/vqvae")


@cache
def walks() -> list[np.ndarray]:
    """Features (F, 263) of ten procedural clips."""
    clips = (clip.joints for clip in generate_clips(14, seed=7))
    return [joints_to_features(joints, HUMANML3D).astype(np.float32) for joints in clips if len(joints) > 40][:10]


def random_tokenizer(kind: str) -> MotionTokenizer:
    rep = get_representation(kind, HUMANML3D)
    torch.manual_seed(3)
    vqvae = VQVAE(VQVAEConfig(feature_dim=rep.dim, joint_dim=rep.joint_dim, codes=32, code_dim=8, width=16))
    return MotionTokenizer(vqvae, Normalizer(np.zeros(rep.dim), 0.1 * np.ones(rep.dim)), HUMANML3D, 20.0, rep)


def generated(task: str, codes: list[int], rng: np.random.Generator, N: int, new: int) -> tuple[Motion, list[int]]:
    """A motion of given codes and `new` random ones, and the positions of the given ones, as sampling has them."""
    middle = rng.integers(0, N, new).tolist()
    if task == "predict":
        return Motion(None, 20.0, [*codes, *middle]), list(range(len(codes)))
    h = max(1, len(codes) // 4)
    return Motion(None, 20.0, [*codes[:h], *middle, *codes[-h:]]), [*range(h), *range(-h, 0)]


# 1) Which frames are kept.


def test_kept_frames_by_hand():
    # the first code and the last of 3, in a motion of 4: frames 0, 1 of the user's, 4 generated, frames 4, 5
    assert kept_frames([0, -1], 4, 3, 6, 2).tolist() == [0, 1, -1, -1, -1, -1, 4, 5]
    assert kept_frames([0, -1], 4, 3, 5, 2).tolist() == [0, 1, -1, -1, -1, -1, 4, -1]  # the last frame is missing
    assert kept_frames([1], 2, 3, 6, 2).tolist() == [-1, -1, 2, 3]
    assert kept_frames([], 1, 3, 6, 2).tolist() == [-1, -1]


def test_seams_by_hand():
    assert find_seams(torch.tensor([0, 1, -1, -1, 4, 5])) == [2, 4]
    assert find_seams(torch.tensor([0, 1, 4, 5, -1])) == [2, 4]  # two kept parts side by side
    assert find_seams(torch.tensor([-1, -1])) == find_seams(torch.tensor([3, 4, 5])) == []
    assert find_seams(torch.tensor([-1, 3])) == [1]


def test_report_of_a_jump_by_hand():
    """One joint of 22 moves 1 cm a frame, and 50 cm into frame 30."""
    joints = np.zeros((60, 22, 3))
    joints[:, 5, 0] = 0.01 * np.arange(60)
    joints[30:, 5, 0] += 0.49
    found, still = seam_report(joints, [30, 31])
    assert (found.frame, found.jumps, still.jumps) == (30, True, False)
    np.testing.assert_allclose([found.step, found.usual, still.step], [0.5, 0.01, 0.01])
    assert seam_report(joints, []) == []


@for_each("task", ["predict", "inbetween"])
@pytest.mark.parametrize("kind", ["humanml3d", "positions"])
def test_kept_frames_are_the_users_own(kind, task):
    """In their pose and in their place, whatever the codes between them are; the float32 path sums lose 2 um."""
    rng = np.random.default_rng(0)
    tokenizer = demo() if kind == "humanml3d" else random_tokenizer(kind)
    for own in walks()[:3]:
        if kind == "positions":
            own = tokenizer.representation.encode(demo().joints(torch.from_numpy(own)).numpy())
        codes = tokenizer.encode([own])[0]
        for new in (len(codes) // 2, 3 * len(codes)):  # as long as the user's, and much longer
            motion, positions = generated(task, codes, rng, tokenizer.config.codes, new)
            out = keep_given(motion, own, codes, positions, tokenizer)
            source = kept_frames(positions, len(motion.tokens), len(codes), len(own), 4).numpy()
            wanted = tokenizer.joints(torch.from_numpy(own)).numpy()
            np.testing.assert_allclose(out.joints[source >= 0], wanted[source[source >= 0]], atol=1e-4)
            assert out.tokens == motion.tokens and len(out.joints) == 4 * len(motion.tokens)


def test_only_generated_frames_are_cleaned_unless_all_are_ours():
    """A user's capture stays as it is, up to the ramp; what this tokenizer wrote is cleaned from end to end."""
    codes = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    longer = Motion(None, 20.0, [*codes, 1, 2, 3, 1, 2, 3])
    own = demo().decode_features([codes])[0].numpy()
    # the same motion, 1 cm higher: nothing that the decoder wrote
    users = own.copy()
    users[:, 3] += 0.01
    for features, ours in ((own, True), (users, False)):
        raw, clean = (
            keep_given(longer, features, codes, range(len(codes)), demo(), raw=raw).joints for raw in (True, False)
        )
        moved = np.abs(clean - raw).max((1, 2))
        n = 4 * len(codes)
        assert (moved[:n].max() > 1e-3) == ours
        assert moved[n + RAMP :].max() > 1e-3


def test_generated_frames_far_from_a_seam_are_the_decoded_ones():
    own = walks()[0]
    codes = demo().encode([own])[0]
    motion, positions = generated("predict", codes, np.random.default_rng(0), demo().config.codes, 12)
    out = keep_given(motion, own, codes, positions, demo(), raw=True)
    decoded = demo().decode([motion.tokens])[0]
    n = 4 * len(codes) + 11  # 0.5 s, and the frame it ends before
    # the path starts elsewhere, so compare heights and the sizes of steps, which no place or heading changes
    np.testing.assert_allclose(out.joints[n:, :, 1], decoded[n:, :, 1], atol=1e-4)
    sizes = [np.linalg.norm(np.diff(x[n:], axis=0), axis=-1) for x in (out.joints, decoded)]
    np.testing.assert_allclose(*sizes, atol=1e-4)


def test_all_given_is_the_motion_itself():
    own = walks()[0]
    codes = demo().encode([own])[0]
    motion = Motion(None, 20.0, codes, "walks", notes=("a note",))
    out = keep_given(motion, own, codes, range(len(codes)), demo())
    wanted = demo().joints(torch.from_numpy(own[: 4 * len(codes)])).numpy()
    np.testing.assert_allclose(out.joints, wanted, atol=1e-5)
    assert (out.text, out.tokens, out.notes) == ("walks", motion.tokens, ("a note",))


# 2) Seams.


def all_seams(motions: list[np.ndarray], tokenizer: MotionTokenizer) -> list:
    """The seams of predict and inbetween for each clip, whose new codes are a stretch of another clip."""
    rng = np.random.default_rng(1)
    rows = tokenizer.encode(motions)
    found = []
    for own, codes in zip(motions, rows, strict=True):
        for task in ("predict", "inbetween"):
            other = rows[rng.integers(len(rows))][: len(codes) // 2]
            motion, positions = generated(task, codes, rng, 1, 0)
            head = sum(position >= 0 for position in positions)
            motion.tokens = type(motion.tokens)([*motion.tokens[:head], *other, *motion.tokens[head:]])
            out = keep_given(motion, own, codes, positions, tokenizer)
            source = kept_frames(positions, len(motion.tokens), len(codes), len(own), 4)
            found += seam_report(out.joints, find_seams(source))
    return found


def test_no_seam_jumps():
    """30 seams of procedural clips; without blending, half of them would (see the next test)."""
    found = all_seams(walks(), demo())
    assert len(found) == 30 and not any(seam.jumps for seam in found), [seam for seam in found if seam.jumps]


def test_seams_would_jump_without_blending(monkeypatch):
    monkeypatch.setattr(seams, "_offset", lambda mixed, decoded, edge, inward, speed, fade, rep: 0 * fade[0][:, None])
    jumps = [seam.jumps for seam in all_seams(walks(), demo())]
    assert np.mean(jumps) > 0.25


def test_no_seam_jumps_in_motion_capture(shared_data):
    """54 seams of CMU's clips, which are real motion: the tokenizer decodes it less well than computed motion."""
    # by its path: other data has a module of the same name
    spec = importlib.util.spec_from_file_location("cmu_unpack", shared_data / "cmu" / "unpack.py")
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    joints = [joints for name, joints in unpack.clips() if len(joints) > 60][::35][:20]
    motions = [joints_to_features(x, HUMANML3D).astype(np.float32) for x in joints]
    found = all_seams(motions, demo())
    assert len(found) == 54 and not any(seam.jumps for seam in found), [seam for seam in found if seam.jumps]


def test_a_seam_in_the_fastest_moment_slows_down():
    """The user's clip ends in its fastest step by far: going on at that speed would be a jump."""
    own = walks()[0][:40].copy()
    still = np.repeat(own[:1], 40, axis=0)
    still[:, [0, 1, 2]] = 0
    ric = slice(4, 67)
    still[38, ric] += 0.05
    still[39, ric] += 0.35  # metres in one frame
    codes = demo().encode([still])[0]
    said = []
    out = keep_given(Motion(None, 20.0, [*codes, *codes]), still, codes, range(10), demo(), said.append)
    (seam,) = seam_report(out.joints, [40])
    assert not seam.jumps and said == [] and seam.step < 0.3


def test_what_cannot_be_joined_is_said():
    """Nothing between two parts that do not fit, and a middle that leads elsewhere."""
    own = walks()[0]
    codes = demo().encode([own])[0]
    said = []
    keep_given(Motion(None, 20.0, [*codes[:2], *codes[-2:]]), own, codes, [0, 1, -2, -1], demo(), said.append)
    assert len(said) == 1 and said[0].startswith("warning: at 0.40 s") and "cm in a frame" in said[0]
    far = own.copy()
    far[len(far) // 2, 2] += 3.0  # metres forward, in the part that is generated anew
    said.clear()
    rng = np.random.default_rng(0)
    motion, positions = generated("inbetween", codes, rng, demo().config.codes, len(codes) // 2)
    keep_given(motion, far, codes, positions, demo(), said.append)
    assert len(said) == 1 and said[0].startswith("note: the new part ended") and "m and" in said[0]


# 3) Other kinds of motions.


def test_smplx_parameters_near_a_half_turn():
    """pi and -pi about x are one rotation: the offset between them is none, and the body does not spin."""
    tokenizer = random_tokenizer("smplx")
    columns = tokenizer.representation.groups["global_orient"]
    codes = [3, 5, 7, 9, 11]
    decoded = tokenizer.decode_features([codes])[0].numpy()
    own = decoded.copy()
    own[:, columns] = [np.pi - 0.01, 0, 0]
    theirs = decoded.copy()
    theirs[:, columns] = [-np.pi + 0.01, 0, 0]
    tokenizer.decode_features = lambda rows: [torch.from_numpy(theirs)]
    out = keep_given(Motion(None, 20.0, codes), own, codes, [0, 1], tokenizer)
    assert out.joints is None
    np.testing.assert_array_equal(out.parameters[:8], own[:8])
    assert np.abs(np.abs(out.parameters[8:, columns.start]) - np.pi).max() < 0.04


def test_saved_motions_and_features(tmp_path):
    """A saved motion that this tokenizer decoded gives its codes, and the very features that it came from."""
    codes = demo().encode(walks()[:1])[0][:8]
    joints = demo().decode([codes])[0]
    Motion(joints, 20.0, codes, skeleton=HUMANML3D).save(tmp_path / "m.npz")
    found, features = read_given(tmp_path / "m.npz", demo())
    assert found == codes and features.shape == (32, 263)
    out = keep_given(Motion(None, 20.0, [*codes, 1, 2, 3]), features, found, range(8), demo(), raw=True)
    np.testing.assert_allclose(out.joints[:32], demo().joints(torch.from_numpy(features)).numpy(), atol=1e-4)
    np.save(tmp_path / "f.npy", walks()[0])
    found, features = read_given(tmp_path / "f.npy", demo())
    assert found == demo().encode(walks()[:1])[0] and np.array_equal(features, walks()[0])
    (tmp_path / "t.txt").write_text("5 6 7")
    assert read_given(tmp_path / "t.txt", demo()) == ([5, 6, 7], None)
    assert read_given(tmp_path / "m.npz", None) == (codes, None)


@for_each(
    "make, codes, positions, message",
    [
        (lambda x: x[:, :10], 3, [0], "expected finite features .F, 263. of this tokenizer, got .50, 10."),
        (lambda x: x[0], 3, [0], "got .263,."),
        (lambda x: np.where(np.arange(263) == 7, np.nan, x), 3, [0], "expected finite features"),
        (lambda x: x, 3, [3], "no code to keep at position 3: 3 codes were given, 5 written"),
        (lambda x: x, 9, [5], "no code to keep at position 5: 9 codes were given, 5 written"),
        (lambda x: x, 3, [-4], "no code to keep at position -4"),
    ],
)
def test_what_does_not_fit(make, codes, positions, message):
    with pytest.raises(ValueError, match=message):
        keep_given(Motion(None, 20.0, [1, 2, 3, 4, 5]), make(walks()[0][:50]), [1] * codes, positions, demo())
