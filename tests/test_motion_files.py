"""A user's own file comes in without a data set: the same codes as by way of one, a sentence, a picture."""

import numpy as np
import pytest
import test_sources

from motiongpt.data.motions import MotionDataset
from motiongpt.motion import Motion
from motiongpt.motion_files import motion_codes, read_codes, read_motion
from motiongpt.skeletons import HUMANML3D
from motiongpt.tokenizer import MotionTokenizer


@pytest.fixture
def tokenizer(tiny):
    return MotionTokenizer.load(tiny.vqvae)


@pytest.fixture
def walk(tmp_path):
    (tmp_path / "in").mkdir()
    test_sources.write_bvh(tmp_path / "in" / "walk.bvh")
    return tmp_path / "in" / "walk.bvh"


def test_a_file_gives_the_codes_of_the_data_set_made_of_it(script, walk, tokenizer, tmp_path):
    assert script("prepare", "--from", "bvh", "--input", walk.parent, "--out", tmp_path / "d", "--workers", 1).code == 0
    wanted = tokenizer.encode([MotionDataset(tmp_path / "d").features("walk")])[0]
    assert len(wanted) == 7 and read_codes(walk, tokenizer) == wanted
    np.save(tmp_path / "f.npy", MotionDataset(tmp_path / "d").features("walk"))
    assert read_codes(tmp_path / "f.npy", tokenizer) == wanted
    (tmp_path / "t.txt").write_text(" ".join(map(str, wanted)))
    assert read_codes(tmp_path / "t.txt", None) == wanted


def test_rate_of_joints(tokenizer, tmp_path):
    joints = np.tile(np.cumsum(HUMANML3D.offsets, 0, dtype=np.float32), (60, 1, 1))
    joints[:, :, 2] += np.linspace(0, 1, 60)[:, None]
    np.save(tmp_path / "j.npy", joints)
    assert len(read_codes(tmp_path / "j.npy", tokenizer)) == 14  # 59 features
    assert len(read_codes(tmp_path / "j.npy", tokenizer, fps=60.0)) == 4  # 20 frames, 19 features
    assert motion_codes(Motion(joints, 60.0, skeleton=HUMANML3D), tokenizer) == read_codes(
        tmp_path / "j.npy", tokenizer, fps=60.0
    )
    Motion(joints, 60.0, skeleton=HUMANML3D).save(tmp_path / "j.npz")
    assert len(read_codes(tmp_path / "j.npz", tokenizer)) == 4


def test_drawn_as_it_is_or_as_the_tokenizer_gives_it_back(walk, tokenizer):
    assert read_motion(walk, tokenizer).joints.shape == (29, 22, 3)
    assert read_motion(walk, tokenizer, reconstruct=True).joints.shape == (28, 22, 3)


def test_scripts_take_the_file(script, tiny, walk, tmp_path):
    text = ("sample", "--run", tiny.run, "--task", "m2t", "--max-new-tokens", 3, "--input")
    assert script(*text, walk).code == 0
    for extra in ([], ["--reconstruct"]):
        done = script(
            "render", "--run", tiny.run, "--input", walk, "--size", 64, "--output", tmp_path / "w.gif", *extra
        )
        assert done.code == 0 and (tmp_path / "w.gif").stat().st_size, done.err
    for args, message in (
        (["--fps", 30], "--fps is for joints in a .npy"),
        (["--fps", -1], "--fps must be positive"),
        (["--stats", tmp_path], "--stats needs --vqvae FILE"),
        (["--vqvae", tiny.vqvae, "--stats", tmp_path], "has its own Mean.npy"),
    ):
        done = script(*text, walk, *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1


def test_damaged_files_are_one_line(tokenizer, tmp_path):
    for name in ("a.npy", "a.npz", "a.bvh"):
        (tmp_path / name).write_bytes(b"broken")
        with pytest.raises(ValueError, match=name):
            read_codes(tmp_path / name, tokenizer)
    with pytest.raises(FileNotFoundError, match="gone.bvh"):
        read_codes(tmp_path / "gone.bvh", tokenizer)
