import json

import numpy as np
import pytest
from cases import for_each
from PIL import Image

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.data.readers import smplx
from motiongpt.features.smplx import stand_in_joints
from motiongpt.files.folders import output_path
from motiongpt.motion import Codes, Motion
from motiongpt.procedural.clips import make_clip
from motiongpt.render.view import View


def random_joints(F=9, J=22):
    return np.random.default_rng(0).normal(size=(F, J, 3)).astype(np.float32)


def standing(F=9):
    """A body at rest, which has legs: random joints have none that a rig could take."""
    return make_clip(("stand_still",), np.random.default_rng(0)).joints[:F]


def motion(**changes):
    given = dict(joints=random_joints(), fps=20, tokens=[42, 18, 91], text="a person 💃 walks", skeleton=HUMANML3D)
    return Motion(**(given | changes))


def test_tokens_print_as_the_field_writes_them(capsys):
    print(motion().tokens)
    assert capsys.readouterr().out == "42 18 91\n"
    assert motion().tokens_text == "42 18 91"
    assert motion(tokens=np.array([3, 4])).tokens == (3, 4)
    assert Codes([1, 2])[0] == 1 and str(Codes()) == ""


def test_seconds():
    assert motion().seconds == 0.45
    assert motion(joints=None).seconds == 0.0


def test_npy_is_float32_joints(tmp_path):
    (path,) = motion(joints=random_joints().astype(np.float64)).save(tmp_path / "deep" / "er" / "walk.npy")
    joints = np.load(path)
    assert joints.dtype == np.float32
    np.testing.assert_array_equal(joints, random_joints())
    back = Motion.load(path)
    assert back.skeleton is HUMANML3D and back.fps == 20.0 and back.tokens == ()
    assert Motion.load(path, fps=30).fps == 30.0


def test_npz_keeps_everything(tmp_path):
    (path,) = motion().save(tmp_path / "walk.npz")
    back = Motion.load(path)
    np.testing.assert_array_equal(back.joints, random_joints())
    assert (back.fps, back.tokens, back.text, back.skeleton) == (20.0, (42, 18, 91), "a person 💃 walks", HUMANML3D)


def test_npz_of_tokens_only(tmp_path):
    (path,) = motion(joints=None, skeleton=None).save(tmp_path / "walk.npz")
    back = Motion.load(path)
    assert back.joints is None and back.tokens == (42, 18, 91)


def test_json(tmp_path):
    (path,) = motion().save(tmp_path / "walk.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["tokens"] == [42, 18, 91] and record["skeleton"] == "humanml3d-22" and record["fps"] == 20.0
    np.testing.assert_allclose(
        record["joints"], random_joints(), atol=6e-7
    )  # rounded to 1e-6, so off by half of that, plus float32 rounding


def test_txt(tmp_path):
    (path,) = motion().save(tmp_path / "walk.txt")
    assert path.read_text() == "<MOT_BEGIN><motion_42><motion_18><motion_91><MOT_END>\n"


def test_folder(tmp_path):
    paths = motion().save(tmp_path / "walk")
    assert [p.name for p in paths] == ["motion.npy", "motion.gif", "motion.txt"]
    assert sorted(p.name for p in (tmp_path / "walk").iterdir()) == sorted(p.name for p in paths)  # no temporary files
    (tmp_path / "a.folder").mkdir()
    assert len(motion().save(tmp_path / "a.folder")) == 3
    assert [p.name for p in motion(joints=None).save(tmp_path / "tokens")] == ["motion.txt"]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".GIF"])
def test_pictures(tmp_path, suffix):
    (path,) = motion().save(tmp_path / f"walk{suffix}", view=View(size=128))
    with Image.open(path) as image:
        assert image.format == suffix[1:].upper()


@pytest.mark.parametrize("suffix", [".html", ".bvh", ".glb", ".vrma", ".csv"])
def test_pages_and_files_of_other_programs(tmp_path, suffix):
    (path,) = motion(joints=standing()).save(tmp_path / f"walk{suffix}")
    head = {".html": b"<!DOCTYPE html>", ".bvh": b"HIERARCHY", ".glb": b"glTF", ".vrma": b"glTF", ".csv": b"time,"}
    assert path.read_bytes()[: len(head[suffix])].lower() == head[suffix].lower()
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_other_programs_are_in_metres_whatever_the_skeletons_unit(tmp_path):
    """KIT-ML's features are in millimetres of a body of one metre; the joints of a motion are not."""
    rest = np.zeros((21, 3))
    for j, parent in enumerate(KIT.parents[1:], 1):
        rest[j] = rest[parent] + np.array(KIT.offsets[j]) * KIT.metres_per_unit
    (path,) = motion(joints=np.repeat(rest[None], 4, axis=0), skeleton=KIT).save(tmp_path / "kit.csv")
    read = np.loadtxt(path, delimiter=",", skiprows=1)[:, 1:].reshape(4, 21, 3)
    np.testing.assert_allclose(read, np.repeat(rest[None], 4, axis=0), atol=1e-6)  # float32


@pytest.mark.parametrize("suffix", [".npy", ".gif", ".png", ".html", ".bvh"])
def test_without_joints_the_missing_tokenizer_is_named(tmp_path, suffix):
    with pytest.raises(ValueError, match="--vqvae"):
        motion(joints=None).save(tmp_path / f"walk{suffix}")


def test_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"walk\.xyz.*\.npy.*\.gif"):
        motion().save(tmp_path / "walk.xyz")


def test_a_page_refuses_the_views_that_pictures_refuse(tmp_path):
    for view in (View(look="ghost"), View(elev=100.0), View(fps=1000.0)):
        with pytest.raises(ValueError, match=r"\(--(look|elev|fps)\) must be"):
            Motion(standing(), 20, skeleton=HUMANML3D).save(tmp_path / "m.html", view=view)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_former_file(tmp_path):
    path = tmp_path / "walk.gif"
    path.write_bytes(b"former")
    broken = random_joints()
    broken[4] = np.nan
    with pytest.raises(ValueError, match="walk.gif is not written: frame 4 has a joint at nan"):
        motion(joints=broken).save(path)
    assert path.read_bytes() == b"former" and len(list(tmp_path.iterdir())) == 1


@for_each(
    "changes, message",
    [
        (dict(joints=np.zeros((4, 66))), "shape"),
        (dict(joints=np.zeros((0, 22, 3))), "F > 0"),
        (dict(skeleton=KIT), "kit-21"),
        (dict(skeleton=None), "needs its skeleton"),
        (dict(fps=0), "fps"),
        (dict(fps=float("nan")), "fps"),
    ],
)
def test_contradictions(changes, message):
    with pytest.raises(ValueError, match=message):
        motion(**changes)


def test_load_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.npy"):
        Motion.load(tmp_path / "gone.npy")
    for name, content in (("cut.npy", b"\x93NUMPY\x01"), ("bad.npz", b"PK\x03\x04 nonsense"), ("text.npy", b"hello")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            Motion.load(tmp_path / name)
    np.save(tmp_path / "five.npy", np.zeros((3, 5, 3)))
    with pytest.raises(ValueError, match="five.npy.*skeleton"):
        Motion.load(tmp_path / "five.npy")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="objects.npy"):
        Motion.load(tmp_path / "objects.npy")
    np.savez(tmp_path / "fit.npz", betas=np.zeros(16), trans=np.zeros((3, 3)), poses=np.zeros((3, 156)))
    with pytest.raises(ValueError, match="fit.npz: .*AMASS.* prepare.py --from amass"):
        Motion.load(tmp_path / "fit.npz")
    (tmp_path / "walk.bvh").write_text("HIERARCHY")
    with pytest.raises(ValueError, match="walk.bvh"):
        Motion.load(tmp_path / "walk.bvh")


def test_smplx_parameters_are_saved_by_name(tmp_path):
    parameters = np.random.default_rng(0).normal(size=(8, 182)).astype(np.float32)
    clip = Motion(None, 25.0, (1, 2), "hello", parameters=parameters)
    assert clip.seconds == 8 / 25
    assert [path.name for path in clip.save(tmp_path / "out")] == ["motion.npz", "motion.gif", "motion.txt"]
    np.testing.assert_array_equal(smplx.read(tmp_path / "out" / "motion.npz").parameters[:, 10:], parameters[:, 10:])
    back = Motion.load(tmp_path / "out" / "motion.npz")
    np.testing.assert_array_equal(back.parameters, parameters)
    assert (back.fps, back.tokens, back.text, back.joints) == (25.0, (1, 2), "hello", None)
    with pytest.raises(ValueError, match=r"must be \(F, 182\)"):
        Motion(None, 25.0, parameters=parameters[:, :100])


def test_smplx_parameters_are_drawn_on_a_stand_in(tmp_path, monkeypatch):
    """The joints of a .npy are those of a picture, and every picture says whose they are not."""
    parameters = np.random.default_rng(0).normal(0, 0.1, size=(8, 182)).astype(np.float32)
    clip = Motion(None, 25.0, (1, 2), "hello", parameters=parameters)
    (path,) = clip.save(tmp_path / "m.npy")
    np.testing.assert_array_equal(np.load(path), stand_in_joints(parameters))
    seen = {}

    def note(path, shown, view):
        seen[path.suffix] = (view.title, shown[0].text, shown[0].fps)
        np.testing.assert_array_equal(shown[0].joints, stand_in_joints(parameters))
        return path

    monkeypatch.setattr("motiongpt.motion.draw", note)
    monkeypatch.setattr("motiongpt.motion.write_html", note)
    for suffix, title in ((".gif", ""), (".png", "mine"), (".html", "")):
        clip.save(tmp_path / f"m{suffix}", view=View(title=title))
    stand_in = ("stand-in skeleton", "hello", 25.0)
    assert seen == {".gif": stand_in, ".png": ("stand-in skeleton: mine", "hello", 25.0), ".html": stand_in}
    far = Motion(None, 25.0, parameters=parameters + 1e6)
    with pytest.raises(ValueError, match="m.gif is not written"):
        far.save(tmp_path / "m.gif")


def test_size_has_bounds(tmp_path):
    for size in (0, -5, 63, 4097, 100_000):
        with pytest.raises(ValueError, match=rf"size.* must be 64 to 4096.*got {size}"):
            motion().save(tmp_path / "m.gif", view=View(size=size))
    assert not list(tmp_path.iterdir())
    for size in (None, 64):
        motion().save(tmp_path / "m.png", view=View(size=size))


def test_where_output_cannot_go_is_said_before_it_is_made(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "a.folder").mkdir()
    for name in ("m.npy", "deep/er/m.npy", "new", "a.folder", "a.folder/m.gif", "file"):
        if name == "file":  # without a suffix it would be a folder
            with pytest.raises(NotADirectoryError, match="--out .*file is a file, not a folder"):
                output_path(tmp_path / name, "--out")
        else:
            assert output_path(str(tmp_path / name)) == tmp_path / name
    for name in ("file/m.npy", "file/deep/m.npy"):
        with pytest.raises(NotADirectoryError, match=f"--output .*{name}: .*file is a file"):
            output_path(tmp_path / name)
    (tmp_path / "m.npy").write_text("mine")
    output_path(tmp_path / "m.npy")  # replaced
    with pytest.raises(NotADirectoryError, match="m.npy is a file"):
        output_path(tmp_path / "m.npy", folder=True)
    for empty in ("", "  "):
        with pytest.raises(ValueError, match="--output is empty"):
            output_path(empty)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.folder", "file", "m.npy"]


def test_a_closed_folder_is_said(tmp_path, monkeypatch):
    def closed(dir):
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", closed)  # a folder's mode does not stop root
    with pytest.raises(PermissionError, match=r"m.npy: nothing can be written in .* \(Permission denied\)"):
        output_path(tmp_path / "new" / "m.npy")


def test_a_motion_at_a_prompt_is_one_line():
    walk = Motion(np.zeros((8, 22, 3)), 20.0, (1, 2), "he walks", HUMANML3D)
    assert repr(walk) == "Motion(8 frames, 20 fps, 'he walks')"
    assert repr(Motion(None, 20.0, (1, 2), "he walks")) == "Motion(2 codes, 20 fps, 'he walks')"


def test_joints_of_28_are_the_myoskeleton(tmp_path):
    np.save(tmp_path / "m.npy", np.random.default_rng(0).normal(size=(5, 28, 3)).astype(np.float32))
    assert Motion.load(tmp_path / "m.npy").skeleton.name == "myoskeleton-28"
