"""Pieces of trials by a captions file, joints with captions of a file, a finished folder that joins a source."""

import json

import numpy as np
import pytest
from cases import for_each
from test_reader_asfamc import write_walk

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.motions import MotionDataset
from motiongpt.data.prepare.caption_table import CaptionRow, read_captions, read_credit
from motiongpt.data.prepare.options import Options
from motiongpt.data.prepare.records import records
from motiongpt.data.readers import asfamc
from motiongpt.files.store import read_json
from motiongpt.procedural.clips import make_clip

CREDIT = "Recorded by somebody."
CLIPS = {
    "a": {"trial": "01_02", "start": 0.0, "end": 2.0, "captions": ["he lifts the left hand", "he waves"],
          "plain": "a person raises the left arm", "split": "train"},
    "b": {"trial": "1_02", "start": 1.0, "end": 2.5, "captions": ["he walks"], "split": "val"},
    "c": {"trial": "60_01", "start": 0.5, "end": 2.5, "captions": ["she walks"], "split": "test"},
    "d": {"trial": "99_01", "start": 0.0, "end": 2.0, "captions": ["nobody recorded this"]},
    "idle": {"captions": ["a person stands still"], "split": "train"},
}  # fmt: skip


def write_captions(path, clips=CLIPS):
    path.write_text(json.dumps({"about": "a test", "credit": CREDIT, "captions": clips}))
    return "--captions", path


@pytest.fixture
def trials(tmp_path):
    """The layout of CMU's download: subjects/NN/NN_TT.amc with NN.asf beside it."""
    write_walk(tmp_path / "CMU" / "subjects" / "01" / "01_02.amc", frames=300, seed=1)
    write_walk(tmp_path / "CMU" / "subjects" / "60" / "60_01.amc", frames=180, seed=3)
    return tmp_path / "CMU"


def plain_of(folder):
    return read_json(folder / "plain.json")


def test_a_captions_file_cuts_trials(script, tmp_path, trials):
    flags = ("--from", "asfamc", "--input", trials, *write_captions(tmp_path / "c.json"), "--workers", 1)
    done = script("prepare", *flags, "--mirror", "--out", tmp_path / "d")
    assert done.code == 0, done.err
    assert "captions: 1 rows of 1 trials are left out, whose .amc files are not there" in done.out
    data = MotionDataset(tmp_path / "d")
    assert [data.ids(split) for split in ("train", "val", "test")] == [["a", "Ma"], ["b", "Mb"], ["c", "Mc"]]
    assert [caption.text for caption in data.captions("Ma")] == ["he lifts the right hand", "he waves"]
    assert plain_of(tmp_path / "d") == {"a": "a person raises the left arm", "Ma": "a person raises the right arm"}
    assert data.info["licence"] == CREDIT
    # 1.0 to 2.5 s at 20 fps, one frame less for the velocities; subject 60 was recorded at 60 fps
    assert data.features("b").shape == (29, 263) and data.features("c").shape == (39, 263)
    # the piece is that of the trial: its hand moves as in the file from frame 20 on
    whole = asfamc.read(trials / "subjects" / "01" / "01_02.amc", fps=20)
    hand = np.load(tmp_path / "d" / "new_joints" / "b.npy")[:, HUMANML3D.index("left_wrist"), 1]
    of_file = whole.joints[:, whole.names.index("lwrist"), 1]
    assert np.corrcoef(hand, of_file[20:49])[0, 1] > 0.99 > 0.9 > np.corrcoef(hand, of_file[:29])[0, 1]


def test_a_source_that_cuts_nothing_takes_no_pieces(tmp_path):
    """It would give the whole recording the captions of a second of it."""
    (tmp_path / "a.bvh").write_text("never read")
    options = Options(
        HUMANML3D, captions_file=tmp_path / "c.json", captions={"a": CaptionRow(trial="1", start=0, end=1)}
    )
    with pytest.raises(ValueError, match="c.json: its rows are pieces of trials .* which --from bvh cannot cut"):
        records("bvh", tmp_path, options)


def test_other_seconds_make_a_stopped_build_anew(script, tmp_path, trials):
    flags = ("--from", "asfamc", "--input", trials, "--workers", 1, "--out", tmp_path / "d")
    bad = CLIPS | {"c": CLIPS["c"] | {"captions": []}}  # a third cannot be used: the build stops
    assert script("prepare", *flags, *write_captions(tmp_path / "c.json", bad)).code == 1
    longer = CLIPS | {"b": CLIPS["b"] | {"start": 0.5}}
    done = script("prepare", *flags, *write_captions(tmp_path / "c.json", longer))
    assert done.code == 0, done.err
    assert len(MotionDataset(tmp_path / "d").features("b")) == 39


@for_each(
    "clip, message",
    [
        ({"trial": "01_02", "end": 2}, "entry 0: the trial 01_02 needs start before end, got None and 2.0"),
        ({"trial": "01_02", "start": 2, "end": 2}, "needs start before end, got 2.0 and 2.0"),
        ({"trial": "01_02", "start": "soon", "end": 2}, "start must be seconds, from 0 and below 1e+06, got 'soon'"),
        ({"trial": "01_02", "start": -1, "end": 2}, "start must be seconds"),
        ({"trial": "01_02", "start": 0, "end": "nan"}, "end must be seconds"),
        ({"trial": "77_01", "start": 0, "end": 2}, "--captions: none of its 1 trials of CMU, such as 77_01, is among"),
        (
            {"trial": "01_02", "start": 0, "end": 9},
            "50 frames at 20 fps if it was recorded at 120, the captions file",
        ),
    ],
)
def test_pieces_that_cannot_be_cut(script, tmp_path, clip, message):
    write_walk(tmp_path / "in" / "01" / "01_02.amc", frames=300)
    captions = write_captions(tmp_path / "c.json", {"x": clip | {"captions": ["he walks"]}})
    done = script("prepare", "--from", "asfamc", "--input", tmp_path / "in", *captions, "--out", tmp_path / "d")
    assert done.code in (1, 2) and message in done.err, done.err


def test_credit_and_plain_captions_of_a_table(tmp_path):
    _, path = write_captions(tmp_path / "c.json")
    assert read_credit(path) == CREDIT
    table = read_captions(path)
    assert table["a"].plain == "a person raises the left arm" and table["a"].end == 2.0 and table["idle"].trial is None
    (tmp_path / "c.csv").write_text("id,caption,plain\nx,he jumps about,a person jumps\n")
    assert read_captions(tmp_path / "c.csv")["x"].plain == "a person jumps" and read_credit(tmp_path / "c.csv") == ""


def write_joints(folder, names, joints):
    (folder / "raw_joints").mkdir(parents=True)
    (folder / "texts").mkdir()
    for name in names:
        np.save(folder / "raw_joints" / f"{name}.npy", joints)
        (folder / "texts" / f"{name}.txt").write_text("of the text file#of/ADP#0.0#0.0\n")
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


@pytest.fixture(scope="module")
def joints():
    """A person waving the left hand, (F, 22, 3)."""
    return make_clip(("wave_left",), np.random.default_rng(0)).joints


def test_joints_take_captions_of_the_file(script, tmp_path, joints):
    source = write_joints(tmp_path / "in", ("a", "b", "c", "idle", "dropped"), joints)
    flags = ("--from", "joints", "--input", source, *write_captions(tmp_path / "c.json"), "--workers", 1)
    done = script("prepare", *flags, "--out", tmp_path / "d")
    assert done.code == 0, done.err
    data = MotionDataset(tmp_path / "d")
    # the file cuts trials, so it lists all clips; the splits are its own
    assert [data.ids(split) for split in ("train", "val", "test")] == [["a", "idle"], ["b"], ["c"]]
    assert [caption.text for caption in data.captions("a")] == ["he lifts the left hand", "he waves"]
    assert plain_of(tmp_path / "d") == {"a": "a person raises the left arm"}
    # a table of captions alone leaves the other clips as they are
    (tmp_path / "c.csv").write_text("id,caption\na,he sits\n")
    done = script("prepare", *flags[:4], "--captions", tmp_path / "c.csv", "--workers", 1, "--out", tmp_path / "e")
    assert done.code == 0, done.err
    data = MotionDataset(tmp_path / "e")
    assert data.captions("a")[0].text == "he sits" and data.captions("dropped")[0].text == "of the text file"


def test_a_finished_folder_joins(script, tmp_path, joints):
    source = write_joints(tmp_path / "in", ("a", "b", "c"), joints)
    clips = {name: CLIPS[name] for name in ("a", "b", "c")}
    done = script("prepare", "--from", "joints", "--input", source, *write_captions(tmp_path / "c.json", clips),
                  "--mirror", "--workers", 1, "--out", tmp_path / "real")  # fmt: skip
    assert done.code == 0, done.err
    args = ("--from", "procedural", "--count", 6, "--workers", 1)
    done = script("prepare", *args, "--add", tmp_path / "real", "--repeat", 3, "--out", tmp_path / "d")
    assert done.code == 0, done.err
    data, real = MotionDataset(tmp_path / "d"), MotionDataset(tmp_path / "real")
    train = data.ids("train")
    assert train.count("a") == train.count("Ma") == 3 and data.ids("val").count("b") == 1
    own = [name for name in train if name not in ("a", "Ma")]
    assert len(set(own)) == len(own)
    for name in ("a", "Ma", "b"):
        np.testing.assert_array_equal(data.features(name), real.features(name))
        assert data.captions(name) == real.captions(name)
    assert plain_of(tmp_path / "d")["Ma"] == "a person raises the right arm" and len(plain_of(tmp_path / "d")) > 2
    assert data.info["licence"] == CREDIT and data.info["source"].endswith("+ 3 x real")
    # statistics count a clip as often as it is listed
    rows = np.concatenate([data.features(name) for name in train])
    np.testing.assert_allclose(data.normalizer.mean, rows.mean(0), atol=1e-4)
    # the folder can be read as a source again, and joins as it is: what it lists three times, another listing doubles
    for name, flags, times in (
        ("e", ("--from", "humanml3d", "--input", tmp_path / "d"), 3),
        (
            "f",
            ("--from", "procedural", "--seed", 7, "--count", 6, "--workers", 1, "--add", tmp_path / "d", "--repeat", 2),
            6,
        ),
    ):
        again = script("prepare", *flags, "--out", tmp_path / name)
        assert again.code == 0, again.err
        assert MotionDataset(tmp_path / name).ids("train").count("a") == times


@for_each(
    "flags, message",
    [
        ("--repeat 2", "--repeat needs --add"),
        ("--add {tmp}/nothing", "no dataset folder at"),
        ("--add {tmp}/d", "--out {tmp}/d holds the --add {tmp}/d"),
        ("--add {tmp} --repeat 0", "--repeat must be at least 1, got 0"),
        ("--add {tmp} --representation positions", "--add joins features of the representation humanml3d"),
    ],
)
def test_what_cannot_be_added(script, tmp_path, flags, message):
    args = flags.format(tmp=tmp_path).split()
    done = script("prepare", "--from", "procedural", "--count", 4, *args, "--out", tmp_path / "d")
    assert done.code == 2 and message.format(tmp=tmp_path) in done.err, done.err
