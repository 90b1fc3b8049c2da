"""The dataset folder: what can be read, what is refused in which words, and how `build` writes one."""

import dataclasses
import json
import pickle
import shutil

import numpy as np
import pytest
from cases import for_each

from motiongpt.body.skeletons import HUMANML3D, KIT
from motiongpt.data.mirror import mirror_joints
from motiongpt.data.motions import MotionDataset, read_ids
from motiongpt.data.prepare.array_folders import feature_records, joint_records, read_splits
from motiongpt.data.prepare.build import build
from motiongpt.data.prepare.clip_files import is_whole
from motiongpt.data.raw import Record
from motiongpt.data.resample import resample
from motiongpt.data.texts import Caption, parse_captions
from motiongpt.features.humanml3d import feature_groups, features_to_joints
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.files.arrays import load_array
from motiongpt.files.store import read_json
from motiongpt.procedural.clips import make_clip


@pytest.fixture(scope="module")
def joints():
    """A person waving the left hand, (F, 22, 3)."""
    return make_clip(("wave_left",), np.random.default_rng(0)).joints


def plain_folder(folder, skeleton=HUMANML3D, lengths=(40, 12, 25)):
    """A folder laid out like a HumanML3D download: random features, no dataset.json."""
    rng, D = np.random.default_rng(0), skeleton.feature_dim
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir(parents=True)
    for i, F in enumerate(lengths):
        np.save(folder / "new_joint_vecs" / f"{i:06}.npy", rng.standard_normal((F, D)).astype(np.float32))
        (folder / "texts" / f"{i:06}.txt").write_text("a man walks#a/DET man/NOUN walk/VERB#0.0#0.0\n")
    for split, ids in (("train", ["000000", "000001"]), ("val", ["000002"])):
        (folder / f"{split}.txt").write_text("\n".join(ids) + "\n")
    Normalizer(np.zeros(D), np.ones(D)).save(folder)
    return folder


# ---- captions ---------------------------------------------------------------------------------------------------


def test_captions(tmp_path):
    path = tmp_path / "1.txt"
    path.write_text(
        "a man walks#a/DET man/NOUN walk/VERB#0.0#0.0\n\n"
        "he is #1 here#he/PRON#1.5#3.0\n"  # a caption with a '#' of its own
        "größer 🕺##nan#nan\n"
        "only words\n",
        encoding="utf-8",
    )
    assert parse_captions(path) == [
        Caption("a man walks", 0.0, 0.0, "a/DET man/NOUN walk/VERB"),
        Caption("he is #1 here", 1.5, 3.0, "he/PRON"),
        Caption("größer 🕺"),
        Caption("only words"),
    ]
    path.write_text("".join(caption.line() + "\n" for caption in parse_captions(path)), encoding="utf-8")
    assert [caption.text for caption in parse_captions(path)][1] == "he is #1 here"


@for_each("line", ["a man#walks", "a man#tok#1.0", "a man#tok#one#two", "a man#tok#0.0#inf"])
def test_malformed_caption_lines_are_named(tmp_path, line):
    path = tmp_path / "7.txt"
    path.write_text("fine#tok#0.0#0.0\n" + line + "\n")
    with pytest.raises(ValueError, match=r"7.txt, line 2: expected caption#token/POS .*, got 'a man#"):
        parse_captions(path)


def test_captions_in_another_encoding_are_named(tmp_path):
    (tmp_path / "7.txt").write_bytes("größer#tok#0.0#0.0".encode("latin-1"))
    with pytest.raises(ValueError, match="7.txt is not UTF-8"):
        parse_captions(tmp_path / "7.txt")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("a person walks\n", encoding="utf-8-sig")
    assert parse_captions(path) == [Caption("a person walks")] and read_ids(path) == ["a person walks"]
    path.write_text('{"fps": 20}', encoding="utf-8-sig")
    assert read_json(path) == {"fps": 20}


def test_a_caption_may_be_about_a_part():
    features = np.arange(100)[:, None]
    assert Caption("x").cut(features, 20.0) is features
    assert Caption("x", 1.0, 2.5).cut(features, 20.0)[:, 0].tolist() == list(range(20, 50))
    assert len(Caption("x", 1.0, 9.0).cut(features, 20.0)) == 80  # past the end: what there is


# ---- arrays -----------------------------------------------------------------------------------------------------


def write_bad(path, kind):
    array = np.zeros((9, 263), dtype=np.float32)
    if kind == "pickled":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif kind == "raw pickle":
        path.write_bytes(pickle.dumps(array))
    elif kind == "zip":
        path.write_bytes(b"PK\x03\x04 not really")
    elif kind == "archive":
        with open(path, "wb") as file:
            np.savez(file, array)
    elif kind == "text array":
        np.save(path, np.array([["a", "b"]]))
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        np.save(path, {"wide": np.zeros((9, 251)), "flat": array[0]}.get(kind, array))
        if kind == "truncated":
            path.write_bytes(path.read_bytes()[:-100])


BAD = {
    "truncated": "not a readable .npy array",
    "empty": "not a readable .npy array",
    "pickled": "not a readable .npy array",
    "raw pickle": "not a readable .npy array",
    "zip": "not a readable .npy array",
    "archive": "not a .npy array, but an NpzFile",
    "text array": "expected a numeric array of 2 dimensions, got <U1",
    "flat": r"expected a numeric array of 2 dimensions, got float32 \(263,\)",
    "wide": r"expected width 263, got 251 \(shape \(9, 251\)\)",
}


@for_each("kind", BAD)
def test_malformed_arrays_are_named(tmp_path, kind):
    path = tmp_path / "000007.npy"
    write_bad(path, kind)
    with pytest.raises(ValueError, match=f"000007.npy.*{BAD[kind]}"):
        load_array(path, 2, 263)


def test_arrays_come_as_float32(tmp_path):
    for dtype in (np.float16, np.float64, np.int32):
        np.save(tmp_path / "a.npy", np.ones((3, 2), dtype))
        assert load_array(tmp_path / "a.npy", 2).dtype == np.float32


# ---- the folder -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("skeleton", "fps"), [(HUMANML3D, 20.0), (KIT, 12.5)])
def test_a_plain_download_is_read_as_it_is(tmp_path, skeleton, fps):
    data = MotionDataset(plain_folder(tmp_path / "d", skeleton))
    assert (data.skeleton.name, data.fps, data.feature_dim) == (skeleton.name, fps, skeleton.feature_dim)
    assert data.ids("train") == ["000000", "000001"] and data.captions("000000")[0].text == "a man walks"
    clips, dropped = data.load_split("train")
    assert [len(clip) for clip in clips.values()] == [40, 12] and not dropped
    with pytest.raises(FileNotFoundError, match="test.txt is missing"):
        data.ids("test")


def test_real_folder_without_dataset_json(shared_data):
    data = MotionDataset(shared_data / "humanml3d_folder")
    assert not data.info and data.skeleton is HUMANML3D and data.fps == 20.0
    for split, count in (("train", 121), ("val", 28), ("test", 31)):
        clips, dropped = data.load_split(split)
        assert len(clips) == count and not dropped
        assert all(data.captions(clip) for clip in clips)
    clip = data.ids("val")[0]
    published = np.load(data.folder / "new_joints" / f"{clip}.npy")
    # metres; float32 sums over a few hundred frames
    np.testing.assert_allclose(features_to_joints(data.features(clip), data.skeleton), published, atol=1e-5)


def test_unsound_clips_are_dropped_and_listed(tmp_path):
    folder = plain_folder(tmp_path / "d")
    names = [f"bad{i}" for i in range(len(BAD))]
    for name, kind in zip(names, BAD, strict=True):
        write_bad(folder / "new_joint_vecs" / f"{name}.npy", kind)
    nan = np.zeros((9, 263), np.float32)
    nan[5, 100] = np.inf
    np.save(folder / "new_joint_vecs" / "007975.npy", nan)
    (folder / "train.txt").write_text("\n".join(["000000", *names, "007975", "gone"]))
    clips, dropped = MotionDataset(folder).load_split("train")
    assert list(clips) == ["000000"] and list(dropped) == [*names, "007975", "gone"]
    assert dropped["007975"].endswith("007975.npy: frame 5 is not finite")
    assert "gone.npy is missing" in dropped["gone"]


@pytest.mark.parametrize("name", ["Mean.npy", "Std.npy", "train.txt"])
def test_a_missing_part_is_named(tmp_path, name):
    folder = plain_folder(tmp_path / "d")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing; scripts/prepare.py writes it"):
        MotionDataset(folder)


def test_a_wrong_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no dataset folder at .*prepare.py"):
        MotionDataset(tmp_path / "gone")
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no new_joint_vecs/ \(it holds: photos\)"):
        MotionDataset(tmp_path)


def test_statistics_must_fit_the_skeleton(tmp_path):
    folder = plain_folder(tmp_path / "d")
    (folder / "dataset.json").write_text(json.dumps({"skeleton": "kit-21", "fps": 12.5}))
    with pytest.raises(ValueError, match="Mean.npy has width 263, skeleton kit-21 needs 251"):
        MotionDataset(folder)
    (folder / "dataset.json").write_text(json.dumps({"skeleton": "octopus"}))
    with pytest.raises(ValueError, match="octopus"):
        MotionDataset(folder)
    (folder / "dataset.json").write_text(json.dumps({"fps": 30}))  # the width still says which skeleton
    assert MotionDataset(folder).fps == 30.0
    (folder / "dataset.json").unlink()
    Normalizer(np.zeros(84), np.ones(84)).save(folder)
    with pytest.raises(ValueError, match="width 84: neither HumanML3D .* nor KIT-ML .* no dataset.json"):
        MotionDataset(folder)


def test_hash_tells_data_sets_apart(tmp_path):
    a, b = plain_folder(tmp_path / "a"), plain_folder(tmp_path / "b")
    assert MotionDataset(a).hash() == MotionDataset(b).hash()
    (b / "val.txt").write_text("000001\n")
    assert MotionDataset(a).hash() != MotionDataset(b).hash()


# ---- building ---------------------------------------------------------------------------------------------------


def record(joints, id="a", split="train", text="he waves his left hand", **kwargs):
    return Record(id, split, [Caption(text, 0.0, 0.0, "left/ADJ")], lambda: joints, **kwargs)


def test_build_writes_a_folder_that_opens(tmp_path, joints):
    out = tmp_path / "made"
    records = [record(joints, participant="P1"), record(joints[:30], "b", "val"), record(joints[5:], "c", "test")]
    report = build(records, out, HUMANML3D, "a test", "CC0")
    data = MotionDataset(out)
    assert data.info["source"] == "a test" and data.info["licence"] == "CC0" and data.skeleton is HUMANML3D
    assert [data.ids(split) for split in ("train", "val", "test")] == [["a"], ["b"], ["c"]]
    assert data.ids("val+test") == ["b", "c"]
    assert data.features("a").shape == (len(joints) - 1, 263)
    assert data.captions("a") == [Caption("he waves his left hand", tokens="left/ADJ")]
    assert read_json(out / "participants.json") == {"a": "P1"}
    assert report.to_dict() == read_json(out / "report.json")
    assert data.info["counts"]["clips"] == 3 and data.info["counts"]["splits"] == {"train": 1, "val": 1, "test": 1}
    fitted = Normalizer.fit(
        [data.features("a")], get_representation("humanml3d", HUMANML3D)
    )  # statistics are those of the training split alone
    np.testing.assert_array_equal(data.normalizer.mean, fitted.mean)
    np.testing.assert_array_equal(
        np.load(out / "new_joints" / "b.npy"), features_to_joints(data.features("b"), HUMANML3D)
    )


def test_a_skeleton_that_is_not_built_in_goes_with_the_folder(tmp_path, joints):
    own = dataclasses.replace(HUMANML3D, name="mine", joints=tuple(f"j{i}" for i in range(22)))
    build([record(joints)], tmp_path / "own", own, "t")
    assert MotionDataset(tmp_path / "own").skeleton == own
    build([record(joints)], tmp_path / "plain", HUMANML3D, "t")
    assert not (tmp_path / "plain" / "skeleton.json").exists()


def test_mirror_doubles_clips_and_swaps_words(tmp_path, joints):
    report = build([record(joints), record(joints, "b", "val")], tmp_path / "m", HUMANML3D, "t", mirror=True)
    data = MotionDataset(tmp_path / "m")
    assert data.ids("train") == ["a", "Ma"] and data.ids("val") == ["b", "Mb"] and sum(report.kept.values()) == 4
    assert data.captions("Ma") == [Caption("he waves his right hand", tokens="right/ADJ")]
    plain, mirrored = data.features("a"), data.features("Ma")
    wanted = mirror_joints(features_to_joints(plain, HUMANML3D), HUMANML3D)
    # metres; both are put on one body, whose left and right bones differ by up to 5 mm each
    np.testing.assert_allclose(features_to_joints(mirrored, HUMANML3D), wanted, atol=0.02)
    assert np.abs(features_to_joints(plain, HUMANML3D) - wanted).max() > 0.3  # the other hand waves
    contacts = feature_groups(HUMANML3D)["contacts"]
    np.testing.assert_array_equal(mirrored[:, contacts], plain[:, contacts][:, [2, 3, 0, 1]])


def many(joints, bad, count=100):
    """`count` good records and the bad ones."""
    return [record(joints, f"g{i}") for i in range(count)] + bad


def test_unusable_records_are_skipped_and_reported(tmp_path, joints):
    nan = joints.copy()
    nan[7, 3] = np.nan
    bad = [
        record(nan, "nan"),
        record(joints[:4], "short"),
        record(joints, "mute", text=""),
        record(joints, "lost", split="dev"),
        record(joints[:, :21], "joints"),
        record(joints, "g3"),
    ]
    short = joints[:24]
    report = build(many(short, bad, 120), tmp_path / "d", HUMANML3D, "t")
    reasons = read_json(tmp_path / "d" / "report.json")["reasons"]
    assert reasons == report.skipped and set(reasons) == {"nan", "short", "mute", "lost", "joints", "g3"}
    assert reasons["nan"] == "frame 7 is not finite" and "4 frames; 5 are needed" in reasons["short"]
    assert "empty caption" in reasons["mute"] and "'dev'" in reasons["lost"] and "22" in reasons["joints"]
    assert "second clip of the name g3" in reasons["g3"]
    assert MotionDataset(tmp_path / "d").ids("train") == [f"g{i}" for i in range(120)]
    assert "6 skipped, first nan" in report.summary()


def test_more_than_five_percent_fails(tmp_path, joints):
    with pytest.raises(ValueError, match=r"2 of 22 records cannot be used \(limit 5 %\), first x: .*report.json"):
        build(many(joints[:24], [record(joints[:2], "x"), record(joints[:2], "y")], 20), tmp_path / "d", HUMANML3D, "t")
    assert set(read_json(tmp_path / "d" / "report.json")["reasons"]) == {"x", "y"}
    with pytest.raises(ValueError, match="no usable training clip among 1 records"):
        build([record(joints, split="val")], tmp_path / "e", HUMANML3D, "t")


def test_a_folder_with_something_in_it_is_refused(tmp_path, joints):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty; choose another --out"):
        build([record(joints)], tmp_path, HUMANML3D, "t")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    many_records = many(joints[:24], [], 20)
    build(many_records, tmp_path / "d", HUMANML3D, "t")
    with pytest.raises(FileExistsError, match=f"{tmp_path}/d is finished already, a whole data set; choose another"):
        build(many_records, tmp_path / "d", HUMANML3D, "t")


def test_joint_records(tmp_path, joints):
    source = tmp_path / "in"
    (source / "joints").mkdir(parents=True)
    (source / "texts").mkdir()
    for i in range(41):
        np.save(source / "joints" / f"{i}.npy", joints[:30])
        (source / "texts" / f"{i}.txt").write_text("he waves#wave/VERB#0.0#0.0\n")
    (source / "texts" / "40.txt").write_text("he waves#broken\n")
    (source / "train.txt").write_text("".join(f"{i}\n" for i in range(41)))
    report = build(joint_records(source, HUMANML3D, 30.0), tmp_path / "out", HUMANML3D, "t")
    # an unreadable text file loses its record, not the build
    assert set(report.skipped) == {"40"} and "40.txt, line 1" in report.skipped["40"]
    assert MotionDataset(tmp_path / "out").features("0").shape == (20 - 1, 263)  # 29 / 30 s, 20 fps, one less
    np.save(source / "joints" / "3.npy", joints[:, :21])
    records = {r.id: r for r in joint_records(source, HUMANML3D, 20.0)}
    with pytest.raises(ValueError, match="3.npy: 21 joints, skeleton humanml3d-22 has 22"):
        records["3"].load()
    shutil.rmtree(source / "joints")
    with pytest.raises(FileNotFoundError, match="has none of raw_joints/, joints/, new_joints/"):
        next(joint_records(source, HUMANML3D, 20.0))


def test_feature_records(tmp_path):
    folder = plain_folder(tmp_path / "in")
    build(feature_records(folder, HUMANML3D), tmp_path / "out", HUMANML3D, "t", mirror=True)
    data, source = MotionDataset(tmp_path / "out"), MotionDataset(folder)
    assert data.ids("train") == source.ids("train")  # features are taken as they are, without a mirror image
    assert np.array_equal(data.features("000001"), source.features("000001"))
    with pytest.raises(FileNotFoundError, match="no new_joint_vecs/"):
        next(feature_records(tmp_path, HUMANML3D))


def test_a_clip_in_two_splits_is_an_error(tmp_path):
    (tmp_path / "train.txt").write_text("a\nb\n")
    assert read_splits(tmp_path) == {"a": "train", "b": "train"}
    (tmp_path / "test.txt").write_text("b\n")
    with pytest.raises(ValueError, match="test.txt: clip b is in train.txt too"):
        read_splits(tmp_path)
    (tmp_path / "train.txt").unlink()
    with pytest.raises(FileNotFoundError, match="train.txt is missing"):
        read_splits(tmp_path)


def test_resample_keeps_the_seconds():
    t = np.arange(31)[:, None, None] / 30.0 * np.ones((1, 2, 3))  # 1 s at 30 fps, positions = time
    out = resample(t, 30.0, 20.0)
    np.testing.assert_allclose(out[:, 0, 0], np.arange(21) / 20.0, atol=1e-6)  # linear stays linear, float32
    np.testing.assert_allclose(resample(t, 30.0, 120.0)[:, 0, 0], np.arange(121) / 120.0, atol=1e-6)
    assert resample(t, 30.0, 30.0) is t
    for F in (0, 1):
        assert len(resample(t[:F], 30.0, 20.0)) == F


def test_a_header_that_does_not_parse_is_a_clip_without_frames(tmp_path):
    """NumPy raises tokenize.TokenError for it, which is no ValueError; a resumed build meets such files, too."""
    vectors = tmp_path / "new_joint_vecs"
    vectors.mkdir()
    np.save(vectors / "a.npy", np.zeros((3, 4), np.float32))
    assert is_whole(tmp_path, "a", 3, 1)
    damaged = (vectors / "a.npy").read_bytes().replace(b"(3, 4), }", b"(3, 4(, }")
    (vectors / "a.npy").write_bytes(damaged)
    data = object.__new__(MotionDataset)  # a folder of one file, which is all that `frames` looks at
    data.folder = tmp_path
    assert data.frames("a") == 0 and not is_whole(tmp_path, "a", 3, 1)
