"""`draw_all` of render.py: frame rates of files, whose bodies are named, and files named in messages."""

import numpy as np
import pytest
from test_html import Page
from tiny_body_models import write_models

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.cli.pictures import draw_all
from motiongpt.features.body_meshes import BodyMeshes
from motiongpt.motion import Motion
from motiongpt.procedural.clips import make_clip
from motiongpt.render.view import View

WALK = make_clip(("walk_forward",), np.random.default_rng(0)).joints[:11]


def walk() -> Motion:
    return Motion(WALK, 20.0, text="a person walks", skeleton=HUMANML3D)


def posed(F=6) -> Motion:
    return Motion(None, 20.0, parameters=np.full((F, 182), 0.1, np.float32))


def test_files_for_other_programs_get_the_rate_of_the_view(tmp_path, capsys):
    """11 frames at 20 fps are 0.5 s: 21 frames at 40."""
    for name in ("a.csv", "a.bvh"):
        draw_all([([walk()], tmp_path / name)], View(fps=40.0), "own", None)
    rows = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1)
    assert rows.shape == (21, 67) and rows[-1, 0] == 0.5
    # a spline goes through its points: every second row is a frame, up to float32 of a metre
    np.testing.assert_allclose(rows[::2, 1:], WALK.reshape(11, -1), rtol=0, atol=1e-6)
    assert "Frames: 21\nFrame Time: 0.02500000\n" in (tmp_path / "a.bvh").read_text()
    draw_all([([posed()], tmp_path / "b.csv")], View(fps=40.0), "own", None)
    assert len((tmp_path / "b.csv").read_text().splitlines()) == 1 + 11
    draw_all([([walk()], tmp_path / "c.csv")], View(), "own", None)
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 1 + 11


def test_a_stand_in_is_named_wherever_it_stands(tmp_path, capsys):
    for name, motions in (("first", [posed(), walk()]), ("second", [walk(), posed()]), ("none", [walk(), walk()])):
        draw_all([(motions, tmp_path / f"{name}.html")], View(title="two"), "own", None)
        said = capsys.readouterr().out
        title = Page(tmp_path / f"{name}.html").scene["title"]
        assert title == ("two" if name == "none" else "stand-in skeleton: two")
        assert ("stand-in" in said) == (name != "none")


def test_what_a_body_model_cannot_show_is_said_of_the_file(tmp_path):
    meshes = BodyMeshes("smpl", write_models(tmp_path / "models", kinds=("smpl",)))
    kit = Motion(np.zeros((3, KIT.num_joints, 3)), 20.0, skeleton=KIT)
    for motion, words in ((kit, "fitted to the 22 joints"), (posed(), "the 182 parameters are SMPL-X's")):
        with pytest.raises(ValueError, match=rf"a\.gif: .*{words}"):
            draw_all([([motion], tmp_path / "a.gif")], View(size=64), "own", meshes)
    with pytest.raises(ValueError, match=r"a\.npz: .*fitted to the 22 joints"):
        draw_all([([kit], tmp_path / "a.npz")], View(), "own", meshes)
    broken = Motion(np.where(np.arange(11)[:, None, None] == 4, np.nan, WALK), 20.0, skeleton=HUMANML3D)
    with pytest.raises(ValueError, match=r"a\.npz is not written: frame 4"):
        draw_all([([broken], tmp_path / "a.npz")], View(), "own", meshes)


@pytest.mark.parametrize("folder, message", [(None, "give the folder of body models"), ("empty", "looked for smpl/")])
def test_a_missing_body_model_is_found_without_a_motion(tmp_path, folder, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        BodyMeshes("smpl", folder and tmp_path / folder).check()
    BodyMeshes("smpl", write_models(tmp_path / "models", kinds=("smpl",))).check()
