"""Builds: the same bytes with any number of workers and kills, reported assumptions, joints mapped to the skeleton."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cases import for_each

from motiongpt.body.skeletons import HUMANML3D, MYOSKELETON
from motiongpt.data.joint_maps import to_skeleton
from motiongpt.data.motions import JOURNAL, MotionDataset, read_ids
from motiongpt.data.prepare import build as module
from motiongpt.data.prepare.build import build
from motiongpt.data.prepare.caption_table import read_captions
from motiongpt.data.prepare.options import Options
from motiongpt.data.prepare.records import loaded, records
from motiongpt.data.raw import RawClip, Record
from motiongpt.data.resample import resample_parameters
from motiongpt.data.texts import Caption
from motiongpt.data.tokens import MAX_CAPTION
from motiongpt.features.representations import get_representation
from motiongpt.files.hashes import split_by_hash
from motiongpt.files.store import read_json
from motiongpt.procedural.clips import generate_clips


@pytest.fixture(scope="module")
def clips():
    return list(generate_clips(40, seed=3))


def given(clips):
    for clip in clips:
        raw = RawClip(clip.joints, HUMANML3D.joints, 20.0, tuple(clip.captions), clip.participant, clip.split)
        yield Record(clip.id, None, [], partial(loaded, raw))


def tree(folder):
    """The bytes of every file, without the folder's own name."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return files | {"dataset.json": files["dataset.json"].replace(folder.name.encode(), b"NAME")}


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_workers(tmp_path, clips):
    for workers in (1, 2):
        build(given(clips), tmp_path / f"w{workers}", HUMANML3D, "t", mirror=True, workers=workers)
    assert tree(tmp_path / "w1") == tree(tmp_path / "w2")
    assert len(list((tmp_path / "w1" / "new_joints").iterdir())) == 80


def test_a_killed_build_goes_on_where_it_was(tmp_path, clips):
    build(given(clips), tmp_path / "whole", HUMANML3D, "t")
    out, loaded = tmp_path / "killed", []

    def counted(kill_at):
        for i, record in enumerate(given(clips)):
            if i == kill_at:
                raise KeyboardInterrupt
            load = record.load
            record.load = lambda load=load, name=record.id: loaded.append(name) or load()
            yield record

    with pytest.raises(KeyboardInterrupt):
        build(counted(36), out, HUMANML3D, "t")
    assert not (out / "dataset.json").exists() and not (out / "train.txt").exists()
    done = len((out / JOURNAL).read_text().splitlines()) - 1
    assert 0 < done <= 36
    with pytest.raises(ValueError, match="unfinished build .*the same prepare.py command continues"):
        MotionDataset(out)
    with pytest.raises(FileExistsError, match="unfinished build of other settings"):
        build(given(clips), out, HUMANML3D, "t", mirror=True)
    with pytest.raises(FileExistsError, match="unfinished build of other settings"):
        build(given(clips), out, HUMANML3D, "t", given={"fps": "30"})

    with open(out / JOURNAL, "a") as journal:  # killed in the middle of a line, and of a file
        journal.write('{"id": "p03_0000')
    path = out / "new_joint_vecs" / f"{clips[0].id}.npy"
    path.write_bytes(path.read_bytes()[:-40])
    loaded.clear()
    build(counted(None), out, HUMANML3D, "t")
    assert loaded == [clips[0].id, *(clip.id for clip in clips[done:])]
    assert tree(out) == tree(tmp_path / "whole") and not (out / JOURNAL).exists()


@pytest.mark.parametrize("moment", range(1, 6))
def test_a_build_killed_in_its_first_moments_goes_on(tmp_path, clips, monkeypatch, moment):
    """Killed after `moment` files and folders, with the lock and a half-written journal left behind."""
    out, left = tmp_path / "d", iter(range(moment))

    def dying(function):
        def wrapped(*args, **kwargs):
            if next(left, None) is None:
                (out / ".lock").write_text("1")
                (out / f".{JOURNAL}.1.tmp").write_text("{")
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomic", dying(module.write_atomic))
        patch.setattr(module.Path, "mkdir", dying(Path.mkdir))
        with pytest.raises(KeyboardInterrupt):
            build(given(clips[:3]), out, HUMANML3D, "t")
    build(given(clips[:3]), out, HUMANML3D, "t")
    assert len(list((out / "new_joints").iterdir())) == 3


def test_a_folder_is_built_by_one_process(tmp_path, clips):
    def nested():
        with pytest.raises(BlockingIOError, match=rf"d is being written by another process \(PID {os.getpid()}\)"):
            build(given(clips), tmp_path / "d", HUMANML3D, "t")
        yield from given(clips[:3])

    build(nested(), tmp_path / "d", HUMANML3D, "t")
    assert len(list((tmp_path / "d" / "new_joints").iterdir())) == 3 and not (tmp_path / "d" / ".lock").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path, number):
    """Workers write to the pipe of that process, so the pipe stays open as long as one of them lives."""
    script = Path(__file__).resolve().parents[1] / "scripts" / "prepare.py"
    out, args = tmp_path / "d", ("--from", "procedural", "--count", "100000", "--workers", "2")
    with subprocess.Popen([sys.executable, script, *args, "--out", out], stdout=subprocess.PIPE) as process:
        until, journal = time.monotonic() + 60, out / JOURNAL
        while (not journal.is_file() or journal.read_bytes().count(b"\n") < 40) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == -number and len((out / JOURNAL).read_text().splitlines()) > 1


def test_skipped_clips_get_another_chance(tmp_path, clips):
    def some(joints):
        yield from given(clips[:3])
        yield Record("late", "train", [Caption("x")], partial(loaded, joints))

    with pytest.raises(ValueError, match="1 of 4 records cannot be used"):
        build(some(clips[4].joints[:2]), tmp_path / "d", HUMANML3D, "t")
    build(some(clips[4].joints), tmp_path / "d", HUMANML3D, "t")
    assert "late" in MotionDataset(tmp_path / "d").ids("train")


def test_what_was_assumed_is_reported(tmp_path, clips):
    def noted():
        for i, clip in enumerate(clips[:20]):
            notes = (f"unit: centimetres (guessed: {1.5 + i} m)",)
            raw = RawClip(clip.joints[:, :, :], HUMANML3D.joints, 20.0, notes=notes)
            yield Record(clip.id, None, [], partial(loaded, raw), guess="walk left" if i < 3 else "")

    with pytest.raises(ValueError, match="17 of 20 .*: no caption"):
        build(noted(), tmp_path / "none", HUMANML3D, "t")
    report = build(list(noted())[:3], tmp_path / "d", HUMANML3D, "t")
    facts = read_json(tmp_path / "d" / "report.json")
    assert facts == report.to_dict() and facts["guessed_captions"] == 3
    assert {"note": "unit: centimetres (guessed: 1.5 m)", "clips": 3} in facts["notes"]
    assert sum(facts["lengths"].values()) == 3 and "captions guessed from names: 3 clips" in report.summary()
    assert MotionDataset(tmp_path / "d").captions(clips[0].id) == [Caption("walk left")]
    assert (tmp_path / "d" / "lengths.png").read_bytes()[:4] == b"\x89PNG"


def test_clips_without_a_split_are_split_by_hash(tmp_path, clips):
    names = [f"clip{i}" for i in range(4000)]
    shares = {split: sum(split_by_hash(name) == split for name in names) / 4000 for split in ("train", "val", "test")}
    assert shares["train"] == pytest.approx(0.9, abs=0.02) and shares["val"] == pytest.approx(0.05, abs=0.015)

    def unsplit(count):
        return [Record(c.id, None, [Caption("x")], partial(loaded, c.joints), c.participant) for c in clips[:count]]

    build(unsplit(5), tmp_path / "d", HUMANML3D, "t")  # too few for the hash: a validation clip is taken
    data = MotionDataset(tmp_path / "d")
    assert len(data.ids("val")) >= 1 and len(data.ids("test")) >= 1
    assert sorted(clip for split in shares for clip in data.ids(split)) == sorted(c.id for c in clips[:5])
    assert read_json(tmp_path / "d" / "participants.json")[clips[0].id] == clips[0].participant


def test_positions_and_parameters_have_folders_too(tmp_path, clips):
    positions = get_representation("positions", HUMANML3D)
    build(given(clips[:8]), tmp_path / "p", HUMANML3D, "t", representation=positions)
    data = MotionDataset(tmp_path / "p")
    assert data.representation == positions and data.info["representation"] == "positions-66"
    clip = data.ids("train")[0]
    joints = next(c.joints for c in clips if c.id == clip)
    np.testing.assert_array_equal(data.features(clip), positions.encode(joints))
    np.testing.assert_allclose(
        np.load(tmp_path / "p" / "new_joints" / f"{clip}.npy"), positions.decode(positions.encode(joints)), atol=1e-6
    )

    smplx, rng = get_representation("smplx", HUMANML3D), np.random.default_rng(0)
    raws = [RawClip(None, (), 25.0, ("hello",), parameters=rng.random((9, 182), np.float32)) for _ in range(3)]
    found = [Record(f"s{i}", "train", [], partial(loaded, raw)) for i, raw in enumerate(raws)]
    build(found, tmp_path / "s", HUMANML3D, "t", representation=smplx, fps=25.0)
    data = MotionDataset(tmp_path / "s")
    assert data.fps == 25.0 and not (tmp_path / "s" / "new_joints").exists()
    np.testing.assert_array_equal(data.features("s1"), raws[1].parameters)
    with pytest.raises(ValueError, match="the clip has parameters and no joints"):
        build(found, tmp_path / "wrong", HUMANML3D, "t")


def test_joints_find_their_skeleton(clips):
    joints = clips[0].joints
    order = np.random.default_rng(0).permutation(22)
    names = tuple(HUMANML3D.joints[i] for i in order)
    np.testing.assert_array_equal(to_skeleton(RawClip(joints[:, order], names, 20.0), HUMANML3D), joints)
    spoken = tuple(f"j{i}" for i in range(22))
    own_map = {name: {f"j{i}": 1.0} for i, name in enumerate(HUMANML3D.joints)}
    np.testing.assert_array_equal(to_skeleton(RawClip(joints, spoken, 20.0), HUMANML3D, own_map), joints)
    with pytest.raises(ValueError, match="no built-in joint map"):
        to_skeleton(RawClip(joints, spoken, 20.0), HUMANML3D)
    with pytest.raises(ValueError, match="no joint left_toe_tip.* of skeleton myoskeleton-28"):
        to_skeleton(RawClip(joints, HUMANML3D.joints, 20.0), MYOSKELETON)


def test_parameters_are_resampled_as_rotations():
    """A joint that turns at a constant rate past 180 degrees, and a root that moves straight ahead."""
    groups = get_representation("smplx", HUMANML3D).groups
    parameters = np.zeros((31, 182), np.float32)
    parameters[:, groups["body_pose"].start] = angle = np.linspace(0, 3, 31)
    parameters[:, groups["transl"]] = np.linspace(0, 3, 31)[:, None]
    out = resample_parameters(parameters, groups, 30.0, 20.0)
    assert len(out) == 21 and out.dtype == np.float32
    np.testing.assert_allclose(out[:, groups["body_pose"].start], np.linspace(0, 3, 21), atol=1e-5)  # float32
    np.testing.assert_allclose(out[:, groups["transl"]], np.linspace(0, 3, 21)[:, None] * [1, 1, 1], atol=1e-5)
    assert (np.delete(out, [groups["body_pose"].start, 179, 180, 181], axis=1) == 0).all()
    # across the wrap of axis-angle numbers, 3.1 to -3.1 the rotation hardly moves; averaging numbers would give 0
    parameters[:, groups["body_pose"].start] = np.where(np.arange(31) % 2, 3.1, -3.1)
    out = resample_parameters(parameters, groups, 30.0, 60.0)
    assert np.abs(out[:, groups["body_pose"].start]).min() > 3.0
    assert angle[-1] == 3 and resample_parameters(parameters, groups, 30.0, 30.0) is parameters


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_caption_tables(tmp_path):
    table = read_captions(write(tmp_path / "a.csv", "id,caption,participant,split\nx,he walks,P1,val\nx,a  walk,,\n"))
    assert [c.text for c in table["x"].captions] == ["he walks", "a walk"]
    assert (table["x"].participant, table["x"].split) == ("P1", "val")
    entries = {"x": "he walks", "y": ["a", "b"], "z": {"caption": "c", "participant": "P2"}}
    table = read_captions(write(tmp_path / "a.json", json.dumps(entries)))
    assert [len(row.captions) for row in table.values()] == [1, 2, 1] and table["z"].participant == "P2"
    assert list(read_captions(write(tmp_path / "b.json", '[{"id": 7, "caption": "x"}]'))) == ["7"]


@for_each(
    "name, text, message",
    [
        ("a.csv", "name,caption\nx,y\n", "must name the columns id and caption, it has name, caption"),
        ("a.csv", "id,caption\n,y\n", "a.csv, line 2: no id"),
        ("a.csv", "id,caption,split\nx,y,dev\n", "line 2: split must be one of train, val, test, got 'dev'"),
        ("a.csv", "id,caption,split\nx,y,val\nx,y,test\n", "line 3: x has split test here and val before"),
        ("a.csv", "id,caption\n", "holds no captions"),
        ("a.json", "[1]", "expected a list of objects"),
        ("a.json", '[{"id": "x", "caption": 5}]', "entry 0: a caption is a text, got 5"),
        ("a.json", "{", "line 1: not valid JSON"),
        ("a.txt", "", "expected a .csv or .json file"),
    ],
)
def test_wrong_caption_tables(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_captions(write(tmp_path / name, text))


def test_procedural_records_pickle(tmp_path):
    import pickle

    found, total, fps = records("procedural", None, Options(HUMANML3D, count=2))
    assert total == 2 and fps == 20.0
    for record in pickle.loads(pickle.dumps(list(found))):
        assert len(pickle.dumps(record)) < 1000  # made by the worker, not sent to it
        clip = record.load()
        assert clip.joints.shape[1:] == (22, 3) and clip.captions and clip.split and clip.participant


def test_captions_that_are_too_long_to_train_on_are_left_out(tmp_path, clips):
    def captioned(texts):
        raw = RawClip(clips[0].joints, HUMANML3D.joints, 20.0, tuple(texts), split="train")
        return Record("long", None, [], partial(loaded, raw), guess="walk")

    kept = "x" * MAX_CAPTION
    build([captioned([kept, kept + "x"])], tmp_path / "d", HUMANML3D, "t")
    assert [caption.text for caption in MotionDataset(tmp_path / "d").captions("long")] == [kept]
    note = "long: left out 1 captions of more than 2000 characters, which are not trained on"
    assert {"note": note, "clips": 1} in read_json(tmp_path / "d" / "report.json")["notes"]
    report = build([*given(clips), captioned([kept + "x"])], tmp_path / "e", HUMANML3D, "t")
    assert report.skipped["long"].startswith("no caption but 1 captions of more than 2000")


def test_one_caption_with_half_a_character_stops_no_build(tmp_path, clips):
    """As a JSON table of captions may hold it (\\ud83d alone), or a folder's name that is not UTF-8."""
    two, one, person, *rest = given(clips)
    two = replace(two, load=partial(loaded, replace(two.load(), captions=("a man walks", "he \ud83d waves"))))
    one = replace(one, load=partial(loaded, replace(one.load(), captions=("he \ud83d waves",))))
    person = replace(person, load=partial(loaded, replace(person.load(), participant="caf\udce9")))
    report = build([two, one, person, *rest, *given_again(rest)], tmp_path / "d", HUMANML3D, "folder caf\udce9")
    assert report.skipped == {
        one.id: "no caption but 1 captions with half a character (a lone surrogate): 'he \\ud83d waves'",
        person.id: "the participant 'caf\\udce9' has half a character (a lone surrogate)",
    }
    assert read_json(tmp_path / "d" / "report.json")["reasons"] == report.skipped
    note = f"{two.id}: left out 1 captions with half a character (a lone surrogate): 'he \\ud83d waves'"
    assert [note, 1] in report.notes.values()
    assert (tmp_path / "d" / "texts" / f"{two.id}.txt").read_text().startswith("a man walks#")
    assert read_json(tmp_path / "d" / "dataset.json")["source"] == "folder caf\udce9"  # JSON can say it


def given_again(records):
    """The same clips under other names: two bad ones of 77 are below the 5 % that stop a build."""
    return [replace(record, id=f"again-{record.id}") for record in records]


def test_a_list_of_captions_in_one_cell_is_several(tmp_path):
    table = write(tmp_path / "a.csv", 'id,caption\na,"[""he walks"", ""she  runs""]"\nb,[sic] he sits\n')
    rows = read_captions(table)
    assert [caption.text for caption in rows["a"].captions] == ["he walks", "she runs"]
    assert [caption.text for caption in rows["b"].captions] == ["[sic] he sits"]


@pytest.mark.parametrize("there", [False, True])
def test_a_build_of_nothing_leaves_the_folder_as_it_was(tmp_path, clips, there):
    out, bad = tmp_path / "d", [replace(record, captions=[]) for record in given(clips[:3])]
    if there:
        out.mkdir()
    for record in bad:
        record.load = partial(loaded, clips[0].joints[:2])
    with pytest.raises(ValueError, match="3 of 3 records cannot be used .*: no caption; repair"):
        build(bad, out, HUMANML3D, "t")
    assert list(tmp_path.rglob("*")) == [out] * there
    build(given(clips[:3]), out, HUMANML3D, "t", mirror=True)  # other settings


@pytest.mark.parametrize("name", ["../../esc", "a/b", "/tmp/esc", "..", "a\\b"])
def test_an_id_that_leaves_the_folder_is_skipped(tmp_path, clips, name):
    """Ids come from other people's files: nothing is written outside of the data set."""
    records = [*given(clips), replace(next(iter(given(clips))), id=name)]
    report = build(records, tmp_path / "deep" / "out", HUMANML3D, "t")
    assert list(report.skipped) == [name] and report.skipped[name].startswith("the id")
    assert {path.name for path in tmp_path.iterdir()} == {"deep"} and [*(tmp_path / "deep").iterdir()] == [
        tmp_path / "deep" / "out"
    ]


@for_each("name", ["../esc", "a/../../b", "..", "/etc/x"])
def test_a_split_names_no_path(tmp_path, name):
    (tmp_path / "train.txt").write_text(f"c1\n{name}\n")
    with pytest.raises(ValueError, match="train.txt: the id .* leads out of the folder"):
        read_ids(tmp_path / "train.txt")
