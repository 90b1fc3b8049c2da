"""MyoSkeleton H5: clips are cut, named, in metres and y up; what is missing is reported."""

import json

import numpy as np
import pytest
from mutations import check_mutations

from motiongpt.body.skeletons import HUMANML3D, MYOSKELETON, MYOSKELETON_26, get_skeleton
from motiongpt.data.prepare.build import build
from motiongpt.data.prepare.options import Options
from motiongpt.data.prepare.records import records
from motiongpt.data.readers import myoskeleton
from motiongpt.features.representations import get_representation

h5py = pytest.importorskip("h5py")
OFFSETS = np.array(MYOSKELETON.offsets)


def body(clips=3, frames=12, seed=0) -> np.ndarray:
    """(n, F, 28, 3) float32: a rest pose of about 1.7 m that walks along z, with a little noise."""
    pose = np.zeros((28, 3))
    pose[0] = 0, 0.95, 0
    for j in range(1, 28):
        pose[j] = pose[MYOSKELETON.parents[j]] + OFFSETS[j]
    noise = np.random.default_rng(seed).normal(scale=0.01, size=(clips, frames, 28, 3))
    walk = np.arange(frames)[None, :, None, None] * np.array([0, 0, 0.05])
    return (pose + walk + noise).astype(np.float32)


SIDE = {  # left, metres; right is its mirror image
    "clavicle": (0.03, 1.42, 0), "humerus": (0.18, 1.42, 0), "ulna": (0.18, 1.12, 0), "lunate": (0.18, 0.87, 0),
    "proximal_phalanx_1": (0.16, 0.82, 0.03), "proximal_phalanx_2": (0.18, 0.78, 0), "hip": (0.02, 0.95, 0),
    "femur": (0.1, 0.9, 0), "tibia": (0.1, 0.5, 0), "foot": (0.1, 0.08, 0),
}  # fmt: skip
MIDDLE = {"myoskeleton_root": 0.95, "pelvis": 1, "lumbar_spine_3": 1.1, "thoracic_spine": 1.3, "cervical_spine_4": 1.5}


def body_26(clips=6, frames=24) -> np.ndarray:
    """(n, F, 26, 3) float32 in the public order: a body that walks along z."""
    pose = [
        np.array(SIDE[name[:-2]]) * (1 if name.endswith("_l") else -1, 1, 1) if name[:-2] in SIDE
        else (0, MIDDLE.get(name, 1.65), 0)
        for name in MYOSKELETON_26.joints
    ]  # fmt: skip
    walk = np.arange(frames)[:, None, None] * np.array([0, 0, 0.05])
    noise = np.random.default_rng(0).normal(scale=0.01, size=(clips, frames, 26, 3))
    return (np.array(pose) + walk + noise).astype(np.float32)


def make(path, motion=None, attributes=None, drop=(), **keys):
    """Write a valid file of three clips; `drop` leaves keys out, `keys` replaces them."""
    motion = body() if motion is None else motion
    values = {
        "motion": motion.reshape(*motion.shape[:2], -1) if motion.ndim == 4 else motion,
        "text": ["a person walks", "someone  turns\n", "he sits"][: len(motion)],
        "lengths": np.array([12, 5, 8])[: len(motion)],
    } | keys
    default = {"joint_names": list(MYOSKELETON.joints), "fps": 20, "unit": "m", "up": "y"}
    with h5py.File(path, "w") as file:
        for key, value in values.items():
            if key not in drop:
                file[key] = value
        for key, value in (default if attributes is None else attributes).items():
            file.attrs[key] = value
    return path


def test_clips_are_cut_named_and_keep_their_path(tmp_path):
    motion = body()
    clips = dict(myoskeleton.read_all(make(tmp_path / "myo_train.h5", motion)))
    assert list(clips) == ["myo_train_00000", "myo_train_00001", "myo_train_00002"]
    for clip, length, text, full in zip(
        clips.values(), (12, 5, 8), ("a person walks", "someone turns", "he sits"), motion, strict=True
    ):
        np.testing.assert_array_equal(clip.joints, full[:length])  # float32 in, float32 out, not centred
        assert (clip.names, clip.fps, clip.captions, clip.split) == (MYOSKELETON.joints, 20.0, (text,), "train")
        assert clip.notes == ("no parents in the file: those of the built-in myoskeleton-28 (same joint names)",)


@pytest.mark.parametrize(
    "name, split",
    [("train_motions", "train"), ("myo_val", "val"), ("test", "test"), ("valid-1", "val"), ("latest", None)],
)
def test_split_is_a_word_of_the_name(tmp_path, name, split):
    assert next(myoskeleton.read_all(make(tmp_path / f"{name}.h5")))[1].split == split


def test_other_keys_and_four_dimensions(tmp_path):
    path = make(tmp_path / "a.h5", drop=("motion", "text"), poses=body(), captions=[["one", "two"]] * 3)
    clip = next(myoskeleton.read_all(path))[1]
    np.testing.assert_array_equal(clip.joints, body()[0])
    assert clip.captions == ("one", "two")


def test_without_attributes_everything_assumed_is_noted(tmp_path):
    schema = myoskeleton.read_schema(make(tmp_path / "a.h5", attributes={}))
    assert (schema.names, schema.parents) == (MYOSKELETON.joints, MYOSKELETON.parents)
    assert (schema.fps, schema.unit, schema.up) == (20.0, "m", "y")
    notes = " | ".join(schema.notes)
    for words in ("built-in myoskeleton-28 is assumed", "no fps in the file: 20", "unit: m (guessed", "y (guessed"):
        assert words in notes
    assert next(myoskeleton.read_all(tmp_path / "a.h5", fps=30))[1].fps == 30


def test_the_files_fps_goes_before_the_given(tmp_path):
    clip = next(myoskeleton.read_all(make(tmp_path / "a.h5"), fps=60))[1]
    assert clip.fps == 20 and any("60 given are ignored" in note for note in clip.notes)


@pytest.mark.parametrize("scale, unit", [(100, "cm"), (1000, "mm")])
@pytest.mark.parametrize("said", [True, False])
def test_unit_and_up_axis_said_or_guessed(tmp_path, scale, unit, said):
    motion = body()
    turned = np.stack([motion[..., 0], -motion[..., 2], motion[..., 1]], -1) * scale  # y up to z up
    attributes = {"joint_names": list(MYOSKELETON.joints), "fps": 20}
    attributes |= {"layout": f"joint-major, {unit}, z up"} if said else {}
    clip = next(myoskeleton.read_all(make(tmp_path / "a.h5", turned, attributes)))[1]
    np.testing.assert_allclose(clip.joints, motion[0], rtol=0, atol=1e-6)  # one float32 product of numbers below 2
    assert any("guessed" in note for note in clip.notes) is not said
    other = next(myoskeleton.read_all(tmp_path / "a.h5", unit="m", up="y"))[1]
    np.testing.assert_array_equal(other.joints, turned[0])  # the caller is always right


def test_a_body_of_no_size_asks_for_the_unit(tmp_path):
    with pytest.raises(ValueError, match="give unit"):
        list(myoskeleton.read_all(make(tmp_path / "a.h5", body() * 1e6, {})))


def test_26_joints_have_the_public_names_and_others_need_a_skeleton(tmp_path):
    clip = next(myoskeleton.read_all(make(tmp_path / "a.h5", body_26(3), {})))[1]
    assert clip.names == MYOSKELETON_26.joints
    assert "no joint names in the file: the built-in myoskeleton-26 is assumed" in clip.notes
    path = make(tmp_path / "b.h5", body()[:, :, :5], {})
    with pytest.raises(ValueError, match="b.h5: 5 joints without names; give a skeleton JSON"):
        list(myoskeleton.read_all(path, unit="m"))
    own = tmp_path / "own.json"
    record = {"joints": list("abcde"), "parents": [-1, "a", 1, "c", 0], "limits": {"elbow": [0, 150]}}
    own.write_text(json.dumps(record))
    schema = myoskeleton.read_schema(path, skeleton=own, unit="m")
    assert (schema.names, schema.parents) == (tuple("abcde"), (-1, 0, 1, 2, 0))
    assert schema.limits == {"elbow": [0, 150]}
    own.write_text(json.dumps(json.loads(HUMANML3D.to_json()) | {"limits": {}}))
    with pytest.raises(ValueError, match="motion has 5 joints a frame, the names are 22"):
        myoskeleton.read_schema(path, skeleton=own)
    for text in ("[1]", '{"joints": ["a", "a"]}', '{"joints": ["a", "b"], "parents": [0, 1]}', "{"):
        own.write_text(text)
        with pytest.raises(ValueError, match="own.json: no skeleton JSON"):
            myoskeleton.read_schema(path, skeleton=own)


def test_missing_text_and_lengths_are_said(tmp_path):
    motion = body()
    motion[1, 7:] = 0
    path = make(tmp_path / "a.h5", motion, drop=("text", "lengths"))
    with pytest.raises(ValueError, match="no key text or captions; with --allow-no-text"):
        list(myoskeleton.read_all(path))
    clips = [clip for _, clip in myoskeleton.read_all(path, allow_no_text=True)]
    assert [len(clip.joints) for clip in clips] == [12, 7, 12]
    assert clips[0].captions == (myoskeleton.PLACEHOLDER,)
    assert any("placeholder" in note for note in clips[0].notes) and any("no lengths" in n for n in clips[0].notes)


def test_a_bad_clip_is_named_and_the_rest_goes_on(tmp_path):
    motion = body()
    motion[1, 3, 7, 2] = np.nan
    path = make(tmp_path / "a.h5", motion, lengths=np.array([12, 5, 13]))
    with pytest.raises(ValueError, match=r"a.h5, clip 1 \(a_00001\): frame 3, joint left_ankle: NaN"):
        list(myoskeleton.read_all(path))
    bad = []
    assert [i for i, _ in myoskeleton.read_all(path, on_bad=lambda i, message: bad.append(message))] == ["a_00000"]
    assert len(bad) == 2 and "length 13 is not between 1 and the 12 frames" in bad[1]
    motion[1, 3, 7, 2] = 0
    motion[1, 5:] = np.nan  # frames after its length are not read
    assert len(list(myoskeleton.read_all(make(tmp_path / "b.h5", motion)))) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, message",
    [
        ({"drop": ("motion",)}, "no key motion or poses; it has lengths, text"),
        ({"motion": np.zeros((3, 12, 85))}, "must be numbers"),
        ({"motion": np.zeros((3, 0, 84))}, "must be numbers"),
        ({"lengths": np.array([1, 2])}, "lengths must be 3 numbers"),
        ({"text": ["one"]}, "text has 1 entries for 3 clips"),
        ({"attributes": {"joint_names": ["a", "b"]}}, "motion has 28 joints a frame, the names are 2"),
        ({"attributes": {"fps": 0, "unit": "m"}}, "fps must be above 0"),
        ({"attributes": {"unit": "furlong"}}, "furlong"),
        ({"attributes": {"up": "x", "unit": "m"}}, "up y or z"),
    ],
)
def test_refusals_name_file_and_key(tmp_path, change, message):
    path = make(tmp_path / "bad.h5", **change)
    with pytest.raises(ValueError, match=f"bad.h5: .*{message}"):
        list(myoskeleton.read_all(path))
    assert any("broken" in line and message in line for line in myoskeleton.explain(path))


def test_no_h5_and_no_file(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"<html>")
    with pytest.raises(ValueError, match="a.h5 is damaged or no H5"):
        list(myoskeleton.read_all(tmp_path / "a.h5"))
    with pytest.raises(FileNotFoundError, match="b.h5"):
        list(myoskeleton.read_all(tmp_path / "b.h5"))
    assert "broken" in myoskeleton.explain(tmp_path / "b.h5")[-1]
    assert myoskeleton.find(tmp_path) == [tmp_path / "a.h5"]
    (tmp_path / "a.h5").unlink()
    with pytest.raises(FileNotFoundError, match="no .h5 file"):
        myoskeleton.find(tmp_path)


def test_claims_and_links_are_refused(tmp_path):
    with h5py.File(make(tmp_path / "a.h5", drop=("motion",)), "a") as file:
        file.create_dataset("motion", (10**9, 196, 84), "f4", chunks=(1, 196, 84))  # 65 TB of nothing
    with pytest.raises(ValueError, match="motion claims"):
        list(myoskeleton.read_all(tmp_path / "a.h5"))
    make(tmp_path / "c.h5")
    with h5py.File(make(tmp_path / "b.h5", drop=("motion",)), "a") as file:
        file["motion"] = h5py.ExternalLink("c.h5", "motion")
    with pytest.raises(ValueError, match="no data set of this file"):
        list(myoskeleton.read_all(tmp_path / "b.h5"))


def test_own_ids_only_where_they_may_name_a_file(tmp_path):
    good = myoskeleton.read_all(make(tmp_path / "a.h5", ids=["x1", "x2", "x3"]))
    assert [i for i, _ in good] == ["x1", "x2", "x3"]
    for ids in (["x", "x", "y"], ["../x", "y", "z"]):
        assert next(myoskeleton.read_all(make(tmp_path / "a.h5", ids=ids)))[0] == "a_00000"


def public_78(path, clips=6):
    texts = [f"a person walks {i}" for i in range(clips)]
    return make(path, body_26(clips), {}, text=texts, lengths=np.full(clips, 24))


def test_the_built_in_skeleton_of_a_file(tmp_path):
    path = public_78(tmp_path / "public78.h5")
    assert myoskeleton.built_in_skeleton(path) == myoskeleton.built_in_skeleton(tmp_path) == "myoskeleton-26"
    assert myoskeleton.built_in_skeleton(make(tmp_path / "b.h5", attributes={})) == "myoskeleton-28"
    assert myoskeleton.built_in_skeleton(make(tmp_path / "c.h5", body()[:, :, :5], {})) is None
    assert myoskeleton.built_in_skeleton(tmp_path / "none.h5") is None


def test_78_columns_become_motion_again(script, tiny, tmp_path):
    from test_chains import Chain, train_and_sample

    path = public_78(tmp_path / "public78.h5")
    skeleton = get_skeleton(myoskeleton.built_in_skeleton(path))
    found, total, fps = records("myoskeleton", path, Options(skeleton))
    report = build(
        found, tmp_path / "d", skeleton, "t", representation=get_representation("positions", skeleton), fps=fps
    )
    assert report.skipped == {} and total == 6 and report.warnings == []
    train_and_sample(script, tiny, tmp_path, tmp_path / "d", Chain(26, 20.0, 78))


def test_explain_says_what_is_there(tmp_path):
    motion = body()
    motion[2, 0] = np.inf
    lines = "\n".join(myoskeleton.explain(make(tmp_path / "val.h5", motion)))
    said = ["motion: (3, 12, 84) float32", "joints: 28 (pelvis,", "20 fps, unit m, y up, split val"]
    said += ["3 clips of up to 12 frames"]
    for words in said:
        assert words in lines


def test_the_real_files(shared_data):
    counts = {}
    for path in myoskeleton.find(shared_data / "myoskeleton"):
        with h5py.File(path) as file:
            lengths, names = file["lengths"][()], tuple(file.attrs["joint_names"])
        clips = [clip for _, clip in myoskeleton.read_all(path)]
        assert [len(clip.joints) for clip in clips] == lengths.tolist()
        assert all(clip.names == names == MYOSKELETON.joints and clip.fps == 20 for clip in clips)
        assert not any("guessed" in note for note in clips[0].notes)
        counts[clips[0].split] = len(clips)
    assert counts == {"train": 60, "val": 20, "test": 20}


@pytest.mark.slow  # a process per file: the H5 library crashes on some
def test_a_hundred_mutations_are_read_or_refused(tmp_path):
    path = make(tmp_path / "a.h5")

    def explained(refused):
        lines = myoskeleton.explain(path)
        broken = any("broken" in line for line in lines)  # a file may be sound and one of its clips not
        return lines and (refused or not broken) and "\n" not in "".join(lines)

    # the headers come first
    check_mutations(path, lambda: list(myoskeleton.read_all(path)), explained, head=4000, changes=11)
