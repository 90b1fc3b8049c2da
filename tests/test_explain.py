"""`--explain` says what a build does with a file: both are run and must agree."""

import shutil

import numpy as np
import pytest
import test_reader_asfamc
import test_reader_kit_xml
import test_reader_myoskeleton
import test_sources

from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26
from motiongpt.data.prepare.explain import explain
from motiongpt.data.prepare.options import Options
from motiongpt.data.readers.kit_xml import find
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.procedural.clips import generate_clip


def a_bvh(place, frames=30):
    test_sources.write_bvh(place / "walk_1.bvh", frames=frames)
    return place / "walk_1.bvh", place, ()


def an_amc(place, frames=30):
    path = test_reader_asfamc.write_walk(place / "bob_walks.amc", 6 * frames)
    return path, place, ()


def a_kit_xml(place, frames=30):
    test_reader_kit_xml.make(place, frames, dt=0.05)
    return find(place)[0], place, ()


def an_h5(place, frames=12):
    path = test_reader_myoskeleton.make(place / "a.h5", lengths=np.full(3, frames))
    return path, place, ()


def a_smplx(place, frames=12):
    test_sources.write_smplx(place, ["P1_000-hello"])
    for i in range(frames, 12):
        (place / "P1_000-hello" / f"{i}.npz").unlink()
    return place / "P1_000-hello", place, ("--fps", 25)


def an_array(name, width, place, frames=30):
    clip = generate_clip(3, 0)
    array = (clip.joints if width == 3 else joints_to_features(clip.joints, HUMANML3D))[:frames]
    for folder in (name, "texts"):
        (place / folder).mkdir()
    np.save(place / name / "c.npy", array)
    (place / "texts" / "c.txt").write_text("he moves\n")
    (place / "train.txt").write_text("c\n")
    return place / name / "c.npy", place, ()


MADE = {
    "bvh": a_bvh,
    "asfamc": an_amc,
    "kit-xml": a_kit_xml,
    "myoskeleton": an_h5,
    "smplx": a_smplx,
    "joints": lambda place, *frames: an_array("raw_joints", 3, place, *frames),
    "humanml3d": lambda place, *frames: an_array("new_joint_vecs", 263, place, *frames),
}


@pytest.mark.slow
@pytest.mark.parametrize("good", [True, False], ids=["whole", "three frames"])
@pytest.mark.parametrize("source", MADE)
def test_explain_and_build_agree(script, tmp_path, source, good):
    (tmp_path / "in").mkdir()
    file, folder, flags = MADE[source](tmp_path / "in", *([] if good else [3]))
    said = script("prepare", "--from", source, "--explain", file, *flags)
    built = script("prepare", "--from", source, "--input", folder, "--out", tmp_path / "d", *flags)
    assert (said.code, built.code) == ((0, 0) if good else (1, 1)), said.out + built.err
    if good:
        frames = sum(len(np.load(path)) for path in (tmp_path / "d" / "new_joint_vecs").iterdir())
        assert f", {frames} frames (" in said.out and "drop 0" in said.out
    else:
        assert "would keep 0 clips" in said.out and "3 frames; " in said.out and "3 frames; " in built.err
        assert "kept:" not in said.out


def test_an_h5_of_another_skeleton_is_dropped_and_of_its_own_kept(tmp_path):
    path = test_reader_myoskeleton.public_78(tmp_path / "public78.h5")
    lines, code = explain("myoskeleton", path, Options(MYOSKELETON))
    assert code == 1 and "would keep 0 clips" in "\n".join(lines)
    assert any("no joint left_hip" in line and "another --skeleton" in line for line in lines)
    lines, code = explain("myoskeleton", path, Options(MYOSKELETON_26))
    assert code == 0 and "would keep 6 clips, 144 frames (7.2 s) of positions-78 at 20 fps; drop 0" in lines


def test_a_part_that_a_build_bears_is_no_reason(tmp_path):
    motion = test_reader_myoskeleton.body(40, 12)
    motion[7, 0] = np.inf
    texts, lengths = ["he walks"] * 40, np.full(40, 12)
    path = test_reader_myoskeleton.make(tmp_path / "a.h5", motion, text=texts, lengths=lengths)
    lines, code = explain("myoskeleton", path, Options(MYOSKELETON))
    assert code == 0 and "  dropped: a_00007: " in "\n".join(lines) and any("drop 1" in line for line in lines)
    motion[8:11, 0] = np.inf
    path = test_reader_myoskeleton.make(tmp_path / "b.h5", motion, text=texts, lengths=lengths)
    lines, code = explain("myoskeleton", path, Options(MYOSKELETON))
    assert code == 1 and lines[-1] == "broken: 4 of 40 clips cannot be used, a build stops above 5%"


def test_captions_are_there_guessed_or_missing(tmp_path):
    path, *_ = a_bvh(tmp_path)
    lines, code = explain("bvh", path, Options(HUMANML3D))
    assert code == 0 and any("guessed from the name: 'walk'" in line for line in lines)
    path.with_suffix(".txt").write_text("he walks\n")
    lines, code = explain("bvh", path, Options(HUMANML3D))
    assert code == 0 and not any("guessed from the name" in line for line in lines)
    path, folder, _ = MADE["joints"](tmp_path)
    lines, code = explain("joints", path, Options(HUMANML3D))
    assert code == 0 and "captions: 1" in lines and "  he moves##0.0#0.0" in lines
    (folder / "texts" / "c.txt").unlink()
    lines, code = explain("joints", path, Options(HUMANML3D))
    assert code == 1 and "  dropped: c: no caption" in lines
    (folder / "train.txt").write_text("other\n")
    lines, code = explain("joints", path, Options(HUMANML3D))
    assert code == 1 and "a build would not read" in lines[-1]
    shutil.move(path, tmp_path / "c.npy")  # by itself an array needs no captions
    lines, code = explain("joints", tmp_path / "c.npy", Options(HUMANML3D))
    assert code == 0 and any("not in a data set" in line for line in lines)


@pytest.mark.parametrize(("scale", "words"), [(1, None), (100, "m tall, expected 0.4 to 2.5: check --unit")])
def test_the_builds_warnings_are_there(tmp_path, scale, words):
    np.save(tmp_path / "a.npy", scale * generate_clip(0, 0).joints)
    lines, code = explain("joints", tmp_path / "a.npy", Options(HUMANML3D))
    assert code == 0  # a warning stops no build
    assert [line for line in lines if line.startswith("warning: ") and (words or "") in line] == [
        line for line in lines if line.startswith("warning: ")
    ]
    assert any(line.startswith("warning: ") for line in lines) == bool(words)


def test_a_flag_that_is_missing_breaks_no_file(tmp_path):
    path, *_ = a_smplx(tmp_path)
    lines, code = explain("smplx", path, Options(HUMANML3D))
    assert code == 0 and any("needs --fps" in line for line in lines)
    assert "broken" not in "\n".join(lines) and any(line.startswith("would keep 1 clip, 12 frames") for line in lines)
    path, *_ = a_kit_xml(tmp_path)
    lines, code = explain("kit-xml", path, Options(KIT))  # no lengths to retarget to
    assert code == 0 and any("needs --representation" in line and "positions" in line for line in lines)
