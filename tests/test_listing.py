"""What an archive made on a Mac leaves beside the files is no clip, whatever lists the folder."""

import shutil

import numpy as np
import pytest
import test_explain
import test_reader_amass
from cases import for_each

from motiongpt.cli.pictures import _motion_files_of
from motiongpt.data.prepare.sources import SOURCES, reader
from motiongpt.data.raw import Record
from motiongpt.data.token_formats import folder_records, is_token_folder
from motiongpt.files.listing import visible

APPLE_DOUBLE = bytes.fromhex("00051607000200004d6163204f53205820202020") + bytes(160)


def as_from_a_mac(folder):
    """Put a ._twin beside every file, all of them again into __MACOSX/, and .DS_Store into every folder."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)
        twin = folder / "__MACOSX" / path.relative_to(folder).with_name(f"._{path.name}")
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_bytes(APPLE_DOUBLE)
        shutil.copy(path, twin.with_name(path.name))  # an archive of such a folder has whole files there, too
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    return folder


@for_each(
    "names, kept",
    [
        ("a.npy ._a.npy .DS_Store", "a.npy"),
        ("b/a.npy __MACOSX/a.npy b/__MACOSX/c.npy b/.hidden/c.npy", "b/a.npy"),
        ("c.npy a.npy _b.npy", "_b.npy a.npy c.npy"),
    ],
)
def test_hidden_names_are_left_out_below_the_folder_only(tmp_path, names, kept):
    root = tmp_path / ".cache" / "__MACOSX"  # the folder itself may have such a name
    for name in names.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    files = [path for path in visible(root.rglob("*"), root) if path.is_file()]
    assert [path.relative_to(root).as_posix() for path in files] == kept.split()


def an_amass(place):
    test_reader_amass.write(place / "walk_poses.npz", test_reader_amass.motion())


READERS = {
    "bvh": test_explain.a_bvh,
    "kit-xml": test_explain.a_kit_xml,
    "myoskeleton": test_explain.an_h5,
    "smplx": test_explain.a_smplx,
    "amass": an_amass,
    "asfamc": lambda place: (place / "02_01.amc").touch(),
}


@pytest.mark.parametrize("source", [name for name, row in SOURCES.items() if row.reader])
def test_a_reader_finds_the_clips_only(tmp_path, source):
    READERS[source](tmp_path)
    clips = reader(source).find(tmp_path)
    assert clips and reader(source).find(as_from_a_mac(tmp_path)) == clips


@pytest.mark.parametrize("source", test_explain.MADE)
def test_a_build_is_the_same_with_and_without(script, tmp_path, source):
    (tmp_path / "in").mkdir()
    _, folder, flags = test_explain.MADE[source](tmp_path / "in")
    shutil.copytree(folder, tmp_path / "mac")
    as_from_a_mac(tmp_path / "mac")
    made = []
    for name in ("in", "mac"):
        done = script("prepare", "--from", source, "--input", tmp_path / name, "--out", tmp_path / f"d_{name}", *flags)
        assert done.code == 0 and "skipped" not in done.out, done.err
        files = sorted((tmp_path / f"d_{name}").rglob("*.npy"))
        made.append([(path.relative_to(tmp_path / f"d_{name}"), path.read_bytes()) for path in files])
    assert made[0] == made[1]


def test_a_twin_is_no_change_of_a_folder_of_frames(tmp_path):
    clip, *_ = test_explain.a_smplx(tmp_path)
    before = Record("a", None, [], list, files=(clip,)).fingerprint()
    as_from_a_mac(tmp_path)
    assert Record("a", None, [], list, files=(clip,)).fingerprint() == before


def test_a_folder_of_codes_without_splits(tmp_path):
    (tmp_path / "codes").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("he walks\n")
    (tmp_path / "codes" / "._a.npy").write_bytes(APPLE_DOUBLE)
    assert not is_token_folder(tmp_path)  # nothing but a twin
    np.save(tmp_path / "codes" / "a.npy", np.arange(5))
    as_from_a_mac(tmp_path)
    lines = []
    (record, _), *others = folder_records(tmp_path, lines.append)
    assert record["id"] == "a" and record["motion_tokens"] == [0, 1, 2, 3, 4] and not others and not lines


def test_a_folder_to_draw(tmp_path):
    (tmp_path / "._motion.npy").write_bytes(APPLE_DOUBLE)
    (tmp_path / "motion.txt").write_text("<motion_1>")
    as_from_a_mac(tmp_path)
    assert _motion_files_of(tmp_path) == [tmp_path / "motion.txt"]  # the twin of a .npy is no .npy
