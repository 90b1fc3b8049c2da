"""A tiny input of every source becomes a dataset folder, and flags that do not apply are refused."""

import json
import shutil

import numpy as np
import pytest
from cases import for_each
from test_build import tree

from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON
from motiongpt.data.motions import MotionDataset
from motiongpt.data.prepare.check_download import check_download, summary_lines
from motiongpt.data.prepare.names import clip_id, guess_caption
from motiongpt.data.prepare.sources import SOURCES, check_flags
from motiongpt.data.units import metres
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.features.smplx import SMPLX_LAYOUTS, SMPLX_WIDTHS
from motiongpt.files.store import read_json
from motiongpt.procedural.clips import generate_clips


@pytest.fixture(scope="module")
def clips():
    return list(generate_clips(4, seed=3))


def write_smplx(folder, names):
    rng = np.random.default_rng(0)
    for name in names:
        clip = folder / name
        clip.mkdir(parents=True)
        betas = rng.normal(size=10)
        for i in range(12):
            frame = {key: rng.normal(0, 0.1, width) for key, width in SMPLX_WIDTHS.items()}
            np.savez(clip / f"{i}.npz", **frame | {"betas": betas})


BVH = """HIERARCHY
ROOT pelvis
{{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
{joints}
}}
MOTION
Frames: {frames}
Frame Time: 0.05
{values}
"""


def write_bvh(path, frames=30):
    """HumanML3D's 22 joints, standing and swaying, in centimetres."""

    def joint(j):
        x, y, z = (100 * a for a in HUMANML3D.offsets[j])
        inside = "".join(joint(k) for k, parent in enumerate(HUMANML3D.parents) if parent == j) or (
            "End Site\n{\nOFFSET 0 1 0\n}\n"
        )
        head = f"JOINT {HUMANML3D.joints[j]}\n{{\nOFFSET {x} {y} {z}\n"
        return f"{head}CHANNELS 3 Zrotation Xrotation Yrotation\n{inside}}}\n"

    joints = "".join(joint(j) for j, parent in enumerate(HUMANML3D.parents) if parent == 0)
    rows = [[i, 90, 0, 0, 0, 0] + [3 * np.sin(i / 5)] * 63 for i in range(frames)]
    values = "\n".join(" ".join(f"{v:.4f}" for v in row) for row in rows)
    path.write_text(BVH.format(joints=joints, frames=frames, values=values))


def build_with(script, *args):
    done = script("prepare", *args)
    assert done.code == 0, done.err
    return done


def test_bvh(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in"
    (source / "Turn").mkdir(parents=True)
    for name in ("walk_left_01", "walk_right_02", "Turn/03", "jump_04"):
        write_bvh(source / f"{name}.bvh")
    (source / "jump_04.txt").write_text("a person jumps#a/DET#0.0#0.0\n")
    (tmp_path / "captions.csv").write_text("id,caption,participant,split\nwalk_left_01,he walks,P1,test\n")
    done = build_with(script, "--from", "bvh", "--input", source, "--captions", "captions.csv", "--out", "d")
    data = MotionDataset(tmp_path / "d")
    texts = {name: data.captions(name)[0].text for split in ("train", "val", "test") for name in data.ids(split)}
    assert texts == {"walk_left_01": "he walks", "walk_right_02": "walk right", "Turn_03": "turn",
                     "jump_04": "a person jumps"}  # fmt: skip
    assert data.ids("test")[0] == "walk_left_01" and data.feature_dim == 263
    assert json.loads((tmp_path / "d" / "participants.json").read_text()) == {"walk_left_01": "P1"}
    assert "captions guessed from names: 2 clips" in done.out and "unit: centimetres (guessed" in done.out
    done = build_with(script, "--from", "bvh", "--explain", source / "jump_04.bvh")
    assert "joint map: smpl" in done.out
    (source / "broken.bvh").write_text("HIERARCHY\nROOT")
    done = script("prepare", "--from", "bvh", "--input", source, "--out", "e")
    assert done.code == 1 and "1 of 5 records cannot be used" in done.err and "broken" in done.err


def test_smplx(script, tmp_path):
    write_smplx(tmp_path / "in", [f"P{i}_00{i}-word{i}" for i in range(4)])
    args = ("--from", "smplx", "--input", tmp_path / "in", "--out", tmp_path / "d")
    done = script("prepare", *args)
    assert done.code == 2 and "give --fps" in done.err
    build_with(script, *args, "--fps", 30)
    data = MotionDataset(tmp_path / "d")
    assert data.representation.name == "smplx-182" and data.fps == 30.0
    clip = data.ids("train")[0]
    assert data.captions(clip)[0].text.startswith("word") and data.features(clip).shape == (12, 182)
    assert json.loads((tmp_path / "d" / "participants.json").read_text())[clip] == clip[:2]


def test_smplx_joints_with_a_body_model(script, tmp_path):
    """The result has HumanML3D's features and rate, and the report names a lost frame file."""
    import test_reader_amass

    models = test_reader_amass.write_models(tmp_path / "models", ("smplx",))
    write_smplx(tmp_path / "in", [f"P{i}_00{i}-word{i}" for i in range(4)])
    frames = sorted((tmp_path / "in" / "P1_001-word1").iterdir())
    frames[2].unlink()
    args = ("--from", "smplx", "--input", tmp_path / "in", "--fps", 25, "--smplx-dir", models)
    done = build_with(script, *args, "--out", tmp_path / "d")
    data = MotionDataset(tmp_path / "d")
    assert data.representation.name == "humanml3d-263" and data.fps == 20.0
    assert {data.features(name).shape[1] for name in data.ids("train")} == {263}
    note = f"P1_001-word1: {frames[2].name} is missing, the motion jumps there"
    assert note in done.out and note in [row["note"] for row in read_json(tmp_path / "d" / "report.json")["notes"]]
    build_with(script, *args, "--out", tmp_path / "p", "--representation", "positions")
    assert MotionDataset(tmp_path / "p").representation.name == "positions-66"
    done = script("prepare", *args[:-2], "--out", tmp_path / "e", "--representation", "positions")
    assert done.code == 2 and "positions-66 needs joints: give --smplx-dir" in done.err
    assert not (tmp_path / "e").exists()


def test_a_skeleton_of_names_and_parents(script, tmp_path, clips):
    """That is enough for positions, without offsets, chains or feet. Its limits are kept."""
    h5py = pytest.importorskip("h5py")
    limits = {"bone_lengths": {"left_knee": 0.4}, "joint_angles": {"left_knee": [0, 150]}}
    parents = [None, *(HUMANML3D.joints[p] for p in HUMANML3D.parents[1:])]
    record = {"joints": HUMANML3D.joints, "parents": parents, "limits": limits}
    (tmp_path / "mine.json").write_text(json.dumps(record))
    for split, count in (("train", 3), ("val", 1)):
        with h5py.File(tmp_path / f"{split}.h5", "w") as file:
            file["motion"] = np.stack([clip.joints[:40].reshape(40, 66) for clip in clips[:count]])
            file["text"] = [f"clip {i}" for i in range(count)]
    args = ("--from", "myoskeleton", "--input", tmp_path, "--skeleton", tmp_path / "mine.json", "--unit", "m")
    build_with(script, *args, "--out", tmp_path / "d")
    data = MotionDataset(tmp_path / "d")
    assert data.representation.name == "positions-66" and data.skeleton.name == "mine"
    assert data.skeleton.limits == limits and not data.skeleton.has_lengths
    wanted = get_representation("positions", HUMANML3D).encode(clips[0].joints[:40])
    np.testing.assert_array_equal(data.features("val_00000"), wanted)
    done = script("prepare", *args, "--out", tmp_path / "e", "--representation", "humanml3d")
    assert done.code == 2 and "mine has no bone lengths to retarget to" in done.err


def test_myoskeleton(script, tmp_path, clips):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "in").mkdir()
    for split, count in (("train", 3), ("val", 1)):
        motion = np.zeros((count, 60, 28, 3), np.float32)
        for row, clip in zip(motion, clips, strict=False):
            part = clip.joints[:40] + [3, 0, 0]
            row[:40] = np.concatenate((part, part[:, :6] + 0.05), axis=1)
        with h5py.File(tmp_path / "in" / f"{split}.h5", "w") as file:
            file["motion"], file["lengths"] = motion.reshape(count, 60, 84), np.full(count, 40)
            file["text"] = [f"clip {i}" for i in range(count)]
    done = build_with(script, "--from", "myoskeleton", "--input", tmp_path / "in", "--out", tmp_path / "d")
    assert "the built-in myoskeleton-28 is assumed" in done.out
    data = MotionDataset(tmp_path / "d")
    assert data.skeleton == MYOSKELETON and data.representation.name == "positions-84"
    assert data.ids("train") == ["train_00000", "train_00001", "train_00002"] and data.ids("val") == ["val_00000"]
    assert data.features("val_00000").shape == (40, 84)
    wanted = get_representation("positions", HUMANML3D).encode(clips[0].joints[:40])
    np.testing.assert_allclose(data.features("val_00000")[:, :66], wanted, atol=1e-5)  # float32 at 3 m


def test_kit_xml(script, tmp_path, shared_data):
    args = ("--from", "kit-xml", "--input", shared_data / "kit_mmm_samples")
    build_with(script, *args, "--out", tmp_path / "d", "--plain", tmp_path / "plain")
    data = MotionDataset(tmp_path / "d")
    assert data.feature_dim == 263 and data.captions("00004")[1].text == "human slowly goes forward"
    texts = json.loads((tmp_path / "plain" / "kit_text_data.json").read_text())
    assert [entry["id"] for entry in texts] == ["00001", "00002", "00004"]
    frames = np.load(tmp_path / "plain" / "kit_motion_data.npy", allow_pickle=False)
    assert frames.shape == (sum(entry["length"] for entry in texts), 21, 3)


@pytest.mark.parametrize("flags", [(), ("--out", "d")])
def test_plain_says_what_it_cannot_read_and_stops_above_five_percent(script, tmp_path, monkeypatch, flags):
    import test_reader_kit_xml

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    path = test_reader_kit_xml.make(tmp_path / "in", 60)
    (tmp_path / "in" / "00008_mmm.xml").write_text(path.read_text()[:3000])
    done = script("prepare", "--from", "kit-xml", "--input", "in", "--plain", "p", *flags)
    assert done.code == 1 and "1 of 2 records cannot be used" in done.err and not (tmp_path / "p").exists()
    assert flags or ("skipped 00008: " in done.out and "malformed XML" in done.out)
    (tmp_path / "in" / "00008_mmm.xml").unlink()
    build_with(script, "--from", "kit-xml", "--input", "in", "--plain", "p", *flags)
    assert len(json.loads((tmp_path / "p" / "kit_text_data.json").read_text())) == 1


@pytest.mark.slow
def test_real_samples(script, tmp_path, shared_data):
    build_with(script, "--from", "bvh", "--input", shared_data / "bvh_samples", "--out", tmp_path / "b")
    assert len(list((tmp_path / "b" / "texts").iterdir())) == 13
    build_with(script, "--from", "myoskeleton", "--input", shared_data / "myoskeleton", "--out", tmp_path / "m")
    data = MotionDataset(tmp_path / "m")
    assert [len(data.ids(split)) for split in ("train", "val", "test")] == [60, 20, 20]


@for_each(
    "args, message",
    [
        ("--from bvh --fps 30", "--fps is for --from joints, asfamc, myoskeleton, smplx; not for bvh"),
        ("--from humanml3d --captions x.csv",
         "--captions is for --from joints, kit-xml, bvh, asfamc, amass, smplx; not for humanml3d"),
        ("--from smplx --mirror", "--mirror needs joints"),
        ("--from bvh --smplx-layout train", "--smplx-layout is for --from smplx; not for bvh"),
        ("--from joints --plain x", "--plain is for --from kit-xml; not for joints"),
        ("--from kit-ml --skeleton kit", "--skeleton is for"),
        ("--from procedural --input {tmp}", "--input is for --from"),
        ("--from bvh --input {tmp} --unit -1 --out {tmp}/d", "or metres as a number above 0, got '-1'"),
        ("--from bvh --input {tmp} --unit nan --out {tmp}/d", "or metres as a number above 0, got 'nan'"),
        ("--from bvh --input {tmp} --unit parsec", "--unit must be one of m, cm, mm, inch, or metres as a number"),
        ("--from bvh --input {tmp} --out {tmp}/d", "holds nothing that --from bvh reads"),
        ("--from procedural --workers 0 --out {tmp}/d", "--workers must be at least 1, got 0"),
        ("--from procedural --count 3", "--out is needed"),
        ("--from procedural --explain x", "--explain needs files"),
        ("--from bvh --input {tmp} --captions {tmp}/none.csv --out {tmp}/d", "none.csv does not exist"),
        ("--from bvh --input {tmp} --seed 0 --out {tmp}/d", "--seed is for --from procedural; not for bvh"),
        ("--from bvh --input {tmp} --count 0 --out {tmp}/d", "--count is for --from procedural; not for bvh"),
        ("--from procedural --fps 0 --out {tmp}/d", "--fps is for --from joints"),
        ("--from bvh --explain x --input {tmp} --out {tmp}/d", "--input, --out have no meaning with --explain"),
        ("--from bvh --explain x --captions y.csv --joint-map z.json --representation positions --workers 1 --mirror "
         "--licence CC0", "--captions, --joint-map, --representation, --workers, --mirror, --licence have no meaning"),
        ("--from humanml3d --input {tmp} --workers 1 --licence CC0",
         "--workers, --licence have no meaning without --out"),
        ("--from kit-xml --input {tmp} --plain {tmp}/p --mirror --captions x.csv",
         "--captions, --mirror have no meaning without --out"),
        ("--from kit-xml --input {tmp} --plain {tmp}/d/p --out {tmp}/d", "/d/p lies in --out {tmp}/d, which must be"),
        ("--from bvh --input {tmp} --out {tmp}", "--out {tmp} holds the --input {tmp}; give a folder of its own"),
        ("--from humanml3d --input {tmp}/a --out {tmp}", "--out {tmp} holds the --input {tmp}/a; give a folder"),
        ("--from smplx --input {tmp} --out {tmp}/d", "--out {tmp}/d lies where --input {tmp} is read"),
        ("--from amass --input {tmp} --out {tmp}/d", "--from amass needs --smplx-dir DIR"),
        ("--from bvh --input {tmp} --unit m --skeleton kit --out {tmp}/d",
         "kit-21 has no bone lengths to retarget to: add --representation positions"),
        ("--from asfamc --input {tmp} --texts x.zip --out {tmp}/d", "--texts needs --index"),
        ("--from bvh --input {tmp} --texts x.zip --out {tmp}/d", "--texts is for --from asfamc, amass; not for bvh"),
        ("--from asfamc --input {tmp} --index i.csv --texts {tmp}/x.zip --out {tmp}/d", "x.zip does not exist"),
        ("--from asfamc --explain x --texts x.zip --index i.csv", "--index, --texts have no meaning with --explain"),
        ("--from joints --input {tmp} --out {tmp}/raw_joints/d", "/raw_joints/d lies where --input {tmp} is read"),
    ],
)  # fmt: skip
def test_wrong_flags_are_one_line(script, tmp_path, args, message):
    if "--unit" in args:
        write_bvh(tmp_path / "a.bvh")
    before = sorted(tmp_path.rglob("*"))
    done = script("prepare", *args.format(tmp=tmp_path).split())
    assert done.code == 2 and message.format(tmp=tmp_path) in done.err and done.err.count("\n") == 1, done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_data_set_may_lie_in_its_source_where_nobody_reads_it_back(script, tmp_path):
    for i in range(4):
        write_bvh(tmp_path / f"walk_{i}.bvh")
    for name in ("a", "b"):
        build_with(script, "--from", "bvh", "--input", tmp_path, "--out", tmp_path / "made" / name)
        assert len(list((tmp_path / "made" / name / "new_joints").iterdir())) == 4


def test_flags_of_the_table_are_flags_of_the_script():
    from test_readme import load_script

    parser = load_script("scripts/prepare.py").make_parser()
    known = {action.dest for action in parser._actions}
    assert set().union(*(source.flags for source in SOURCES.values())) <= known
    choices = {action.dest: list(action.choices or ()) for action in parser._actions}
    assert choices["source"] == list(SOURCES) and choices["smplx_layout"] == list(SMPLX_LAYOUTS)


def test_names(tmp_path):
    check_flags("bvh", {"up": "y", "fps": None, "mirror": False, "licence": "CC0"})
    assert guess_caption("dataset-1_walk-turn-left_elderly_004") == "dataset walk turn left elderly"
    assert guess_caption("003", "TurnLeft") == "turn left" and guess_caption("003", "7") == ""
    assert clip_id(tmp_path / "a b" / "c.d.bvh", tmp_path) == "a_b_c.d"
    assert clip_id(tmp_path / "00001_mmm.xml", tmp_path) == "00001"
    assert (metres("cm"), metres("0.3"), metres(None)) == (0.01, 0.3, None)


# ---- downloads that exist ---------------------------------------------------------------------------------------


@pytest.fixture
def download(tmp_path, clips):
    """A HumanML3D folder of four clips and their mirror images (here mere copies)."""
    folder = tmp_path / "HumanML3D"
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir(parents=True)
    features = [joints_to_features(clip.joints, HUMANML3D) for clip in clips]
    for i, array in enumerate(features):
        for name in (f"{i:06}", f"M{i:06}"):
            np.save(folder / "new_joint_vecs" / f"{name}.npy", array)
            (folder / "texts" / f"{name}.txt").write_text("he walks##0.0#0.0\nhe turns##1.0#1.5\n")
    names = [f"{m}{i:06}" for i in range(4) for m in ("", "M")]
    (folder / "train.txt").write_text("\n".join(names[:6]))
    (folder / "test.txt").write_text("\n".join(names[6:]))
    Normalizer.fit(features, get_representation("humanml3d", HUMANML3D)).save(folder)
    return folder


def test_a_sound_download(script, download, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = check_download(download, HUMANML3D)
    assert facts["problems"] == [] and facts["splits"] == {"train": 6, "val": 0, "test": 2} and facts["mirrored"] == 4
    assert facts["captions"] == 16 and facts["captions_with_time_tags"] == 8
    assert facts["lengths"]["sub-clips below 40"] == 8 and facts["lengths"]["used"] == 8
    done = script("prepare", "--from", "humanml3d", "--input", download)
    assert done.code == 0 and "no problems found" in done.out, done.err
    assert json.loads((tmp_path / "outputs" / "humanml3d.json").read_text())["clips"] == 8
    assert not (download / "dataset.json").exists()


@pytest.mark.parametrize("flags", [(), ("--out", "d")])
def test_a_download_of_another_width_is_one_line(script, download, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    done = script("prepare", "--from", "kit-ml", "--input", download, *flags)
    assert done.code == 2 and done.err.count("\n") == 1 and list(tmp_path.iterdir()) == [download]
    assert "the features are 263 wide, expected 251: --from humanml3d" in done.err


def test_an_unsound_download(script, download, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.load(download / "new_joint_vecs" / "000000.npy")
    array[3, 5] = np.nan
    np.save(download / "new_joint_vecs" / "000000.npy", array)
    shutil.move(download / "new_joint_vecs" / "M000001.npy", tmp_path)
    np.save(download / "new_joint_vecs" / "000002.npy", array[:, :251])
    (download / "texts" / "000003.txt").write_text("he#walks\n")
    (download / "test.txt").write_text("000003\n")
    raw = Normalizer.load(download)
    raw.with_feature_bias(25.0, get_representation("humanml3d", HUMANML3D)).save(download)
    facts = check_download(download, HUMANML3D)
    text = "\n".join(summary_lines(facts))
    for part in ("1 clips with NaN or infinite frames: 000000", "1 clips features missing: M000001",
                 "1 clips malformed: 000002", "1 clips with malformed captions: 000003",
                 "1 clips without their mirror image M + id, such as 000003",
                 "Std.npy is the evaluators' pair"):  # fmt: skip
        assert part in text, part
    done = script("prepare", "--from", "humanml3d", "--input", download)
    assert done.code == 1 and "6 problems" in done.out


def test_the_whole_data_set_is_counted(tmp_path, monkeypatch):
    """A clip of test.txt is missing, which is a problem; the two NaN clips of the publication are none."""
    folder = tmp_path / "H"
    (folder / "new_joint_vecs").mkdir(parents=True)
    names = [f"{i:06}" for i in range(14_616) if i not in (9_707, 11_059)]
    mirrored = [m + name for name in names for m in ("", "M")]
    cuts = {"train": mirrored[:23_384], "val": mirrored[23_384:24_844], "test": mirrored[24_844:-1]}
    for split, part in cuts.items():
        (folder / f"{split}.txt").write_text("\n".join(part))
    good, bad = np.zeros((60, 263), np.float32), np.full((60, 263), np.nan, np.float32)
    monkeypatch.setattr(
        "motiongpt.data.prepare.check_download.load_array",
        lambda path, *_: bad if path.stem in ("007975", "M007975") else good,
    )
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: path.suffix == ".npy" or path.parent == folder)
    facts = check_download(folder, HUMANML3D)
    text = "\n".join(summary_lines(facts))
    assert "test.txt lists 4,383 clips, the whole HumanML3D 4,384" in text and "train.txt lists" not in text
    assert "2 clips with NaN or infinite frames (known, and left out): 007975, M007975" in text


def test_the_whole_kit_ml_is_counted(tmp_path, monkeypatch):
    """The published splits are 2,444 + 150 + 415 motions and their mirror images; here val.txt lacks one."""
    folder = tmp_path / "K"
    (folder / "new_joint_vecs").mkdir(parents=True)
    mirrored = [m + f"{i:05}" for i in range(3_009) for m in ("", "M")]
    for split, part in {"train": mirrored[:4_888], "val": mirrored[4_888:5_187], "test": mirrored[5_188:]}.items():
        (folder / f"{split}.txt").write_text("\n".join(part))
    monkeypatch.setattr("motiongpt.data.prepare.check_download.load_array", lambda *_: np.zeros((60, 251), np.float32))
    monkeypatch.setattr("pathlib.Path.is_file", lambda path: path.suffix == ".npy" or path.parent == folder)
    problems = check_download(folder, KIT)["problems"]
    assert [problem for problem in problems if "lists" in problem] == ["val.txt lists 299 clips, the whole KIT-ML 300"]


def test_kit_ml_is_251_at_12_fps(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "KIT-ML"
    (folder / "new_joint_vecs").mkdir(parents=True)
    (folder / "texts").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        np.save(folder / "new_joint_vecs" / f"{i:05}.npy", rng.random((30, 251), np.float32))
        (folder / "texts" / f"{i:05}.txt").write_text("he walks##0.0#0.0\n")
    (folder / "train.txt").write_text("00000\n00001\n00002\n")
    (folder / "val.txt").write_text("00003\n")
    done = build_with(script, "--from", "kit-ml", "--input", folder, "--out", "d")
    data = MotionDataset("d")
    assert (data.skeleton, data.fps, data.feature_dim) == (KIT, 12.5, 251) and "4 clips" in done.out
    assert data.representation.name == "humanml3d-251"
    done = script("prepare", "--from", "humanml3d", "--input", folder)
    assert done.code == 2 and "the features are 251 wide, expected 263: --from kit-ml" in done.err


# ---- what people get wrong --------------------------------------------------------------------------------------


def write_joints(place, clips, change=lambda joints: joints):
    for name in ("raw_joints", "texts"):
        (place / name).mkdir(parents=True)
    for clip in clips:
        np.save(place / "raw_joints" / f"{clip.id}.npy", change(clip.joints).astype(np.float32))
        (place / "texts" / f"{clip.id}.txt").write_text("he moves\n")
    (place / "train.txt").write_text("".join(f"{clip.id}\n" for clip in clips))
    return "--from", "joints", "--input", place


def z_up(joints):
    """y up, z to the front -> z up: the inverse of what the reader does."""
    return np.stack((joints[..., 0], -joints[..., 2], joints[..., 1]), axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "flags", "warning"),
    [
        (lambda x: 100 * x, ("--unit", "cm"), "m tall, expected 0.4 to 2.5: check --unit"),
        (lambda x: 1000 * x, ("--unit", "0.001"), "m tall, expected 0.4 to 2.5: check --unit"),
        (z_up, ("--up", "z"), "unless most people lie, give --up z"),
        (lambda x: 100 * z_up(x), ("--up", "z", "--unit", "cm"), "unless most people lie, give --up z"),
        (lambda x: x, (), ""),
    ],
    ids=["cm", "mm", "z", "z-cm", "metres"],
)
def test_joints_of_another_unit_or_axis_are_named_and_mended(script, tmp_path, clips, change, flags, warning):
    args = write_joints(tmp_path / "in", clips, change)
    done = build_with(script, *args, "--out", tmp_path / "as_is")
    said = read_json(tmp_path / "as_is" / "report.json")["warnings"]
    assert ("WARNING: " in done.out) == bool(said) == bool(warning)
    assert not warning or (warning in done.out and warning in " ".join(said))
    build_with(script, *args, *flags, "--out", tmp_path / "mended")
    assert read_json(tmp_path / "mended" / "report.json")["warnings"] == []
    wanted = joints_to_features(clips[0].joints, HUMANML3D)
    # float32 of thousands of millimetres
    np.testing.assert_allclose(MotionDataset(tmp_path / "mended").features(clips[0].id), wanted, atol=2e-3)


@pytest.mark.parametrize(
    ("flags", "warning"), [(("--up", "z"), "give --up y"), (("--unit", "m"), "check --unit"), ((), "")]
)
def test_wrong_flags_for_bvh_are_named(script, tmp_path, flags, warning):
    write_bvh(tmp_path / "a.bvh")
    done = build_with(script, "--from", "bvh", "--input", tmp_path, *flags, "--out", tmp_path / "d")
    assert warning in done.out and ("WARNING" in done.out) == bool(warning)


@pytest.mark.slow
def test_real_samples_look_like_people(script, tmp_path, shared_data):
    for source, folder in (("bvh", "bvh_samples"), ("kit-xml", "kit_mmm_samples"), ("myoskeleton", "myoskeleton")):
        out = tmp_path / source
        build_with(script, "--from", source, "--input", shared_data / folder, "--out", out)
        assert read_json(out / "report.json")["warnings"] == []


def test_captions_that_fit_no_clip(script, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("walk_1", "walk_2"):
        write_bvh(tmp_path / "in" / f"{name}.bvh")
    args = ("--from", "bvh", "--input", tmp_path / "in", "--captions", tmp_path / "c.csv", "--out", tmp_path / "d")
    (tmp_path / "c.csv").write_text("id,caption\nWALK-1,x\nWALK-2,y\n")
    done = script("prepare", *args)
    assert done.code == 2 and done.err.count("\n") == 1 and not (tmp_path / "d").exists()
    assert "'WALK-1'" in done.err and "'walk_1'" in done.err
    (tmp_path / "c.csv").write_text("id,caption\nwalk_1,x\nWALK-2,y\nWALK-3,y\n")
    done = build_with(script, *args)
    assert "2 ids of --captions match no clip, such as 'WALK-2'" in done.out
    assert read_json(tmp_path / "d" / "report.json")["unused_captions"] == 2


@pytest.mark.parametrize("count", [3, 100])
def test_one_bad_file_is_named(script, tmp_path, count):
    """One of three is too many and the build fails; one of a hundred is left out."""
    write_bvh(tmp_path / "c0.bvh", frames=8)
    for i in range(1, count):
        shutil.copy(tmp_path / "c0.bvh", tmp_path / f"c{i}.bvh")
    (tmp_path / "c1.bvh").write_text("HIERARCHY\nROOT")
    done = script("prepare", "--from", "bvh", "--input", tmp_path, "--out", tmp_path / "d", "--workers", 1)
    said = done.err if count == 3 else done.out
    assert done.code == (1 if count == 3 else 0) and f"{tmp_path}/c1.bvh, line 2" in said
    if count == 3:
        assert "repair or remove them (--explain FILE says more), then run this again" in said
        (tmp_path / "c1.bvh").unlink()
        build_with(script, "--from", "bvh", "--input", tmp_path, "--out", tmp_path / "d", "--workers", 1)


def test_a_build_goes_on_with_what_was_mended_since(script, tmp_path, monkeypatch):
    """A resumed build has the same bytes as a fresh one, and does not make clips again that did not change."""
    monkeypatch.chdir(tmp_path)
    source, table = tmp_path / "in", tmp_path / "c.csv"
    source.mkdir()
    for i in range(7):
        write_bvh(source / f"walk_{i}.bvh")
    (source / "walk_6.bvh").write_text("HIERARCHY\nROOT")
    table.write_text("id,caption,participant,split\nwalk_0,old words,P1,test\nwalk_5,five,P5,val\n")
    args = ("--from", "bvh", "--input", "in", "--captions", "c.csv", "--mirror")
    assert script("prepare", *args, "--out", "resumed").code == 1
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "resumed").rglob("*walk_[45].npy")}
    table.write_text("id,caption,participant,split\nwalk_0,new words,,train\nwalk_5,five,P5,val\n")
    (source / "walk_1.txt").write_text("a person sways\n")
    write_bvh(source / "walk_2.bvh", frames=20)
    (source / "walk_3.bvh").unlink()
    write_bvh(source / "walk_6.bvh", frames=25)
    for out in ("resumed", "afresh"):
        build_with(script, *args, "--out", out)
    assert tree(tmp_path / "resumed") == tree(tmp_path / "afresh")
    assert len(made) == 8 and made == {path: path.stat().st_mtime_ns for path in made}


def test_a_clip_that_was_broken_since_leaves_nothing_behind(script, tmp_path, clips):
    args = write_joints(tmp_path / "in", clips)
    last, out = tmp_path / "in" / "raw_joints" / f"{clips[3].id}.npy", tmp_path / "resumed"
    whole = last.read_bytes()
    last.write_bytes(b"")
    assert script("prepare", *args, "--out", out).code == 1
    (tmp_path / "in" / "texts" / f"{clips[0].id}.txt").write_text("he waves\n")
    np.save(tmp_path / "in" / "raw_joints" / f"{clips[1].id}.npy", clips[1].joints[:2])
    assert script("prepare", *args, "--out", out).code == 1
    assert "he waves" in (out / "texts" / f"{clips[0].id}.txt").read_text()
    assert not list(out.rglob(f"{clips[1].id}.*"))
    np.save(tmp_path / "in" / "raw_joints" / f"{clips[1].id}.npy", clips[1].joints)
    last.write_bytes(whole)
    for place in (out, tmp_path / "afresh"):
        build_with(script, *args, "--out", place)
    assert tree(out) == tree(tmp_path / "afresh")


def test_one_file_is_a_data_set_of_one_clip(script, tmp_path, shared_data):
    write_bvh(tmp_path / "walk.bvh")
    done = build_with(script, "--from", "bvh", "--input", tmp_path / "walk.bvh", "--out", tmp_path / "b")
    assert "next: add clips: the validation split is empty" in done.out and "train_vqvae" not in done.out
    assert MotionDataset(tmp_path / "b").ids("train") == ["walk"]
    path = shared_data / "kit_mmm_samples" / "00001_mmm.xml"
    build_with(script, "--from", "kit-xml", "--input", path, "--out", tmp_path / "k")
    assert MotionDataset(tmp_path / "k").captions("00001")[0].text == "A person is walking forwards."


@pytest.mark.parametrize("out", ["file/d", "file"])
def test_a_folder_that_cannot_be_made_is_named(script, tmp_path, out):
    (tmp_path / "file").write_text("")
    done = script("prepare", "--from", "procedural", "--count", 3, "--out", tmp_path / out)
    assert done.code == 2 and f"{tmp_path / out} cannot be written (" in done.err and "[Errno" not in done.err


def explained(script, source, path):
    done = script("prepare", "--from", source, "--explain", path)
    assert "allow_pickle" not in done.out + done.err
    return done.code, done.out + done.err


def test_explain_says_by_its_code_whether_a_file_is_whole(script, tmp_path, clips, shared_data):
    write_bvh(tmp_path / "a.bvh")
    (tmp_path / "b.bvh").write_text("HIERARCHY\nROOT")
    np.save(tmp_path / "j.npy", clips[0].joints)
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (tmp_path / "n.npy").write_text("no array at all")
    for source in SOURCES.keys() - {"procedural"}:
        code, said = explained(script, source, tmp_path / "none.x")
        assert code == 2 and "none.x does not exist" in said and said.count("\n") == 1, source
        code, said = explained(script, source, tmp_path)
        assert (code == 1 and "broken: " in said) if source == "smplx" else (code == 2 and "is a folder" in said), (
            source
        )
        assert explained(script, source, tmp_path / "b.bvh")[0] == 1, source
    assert explained(script, "bvh", tmp_path / "a.bvh")[0] == explained(script, "joints", tmp_path / "j.npy")[0] == 0
    for name, words in (("o.npy", "holds Python objects; only plain"), ("n.npy", "is not a NumPy file")):
        for source in ("joints", "humanml3d", "smplx"):
            code, said = explained(script, source, tmp_path / name)
            assert code == 1 and words in said, (source, said)


@for_each(
    "source, path, words",
    [
        ("kit-xml", "kit_mmm_samples/00004_annotations.json", "2 captions of the motion 00004_mmm.xml; no motion"),
        ("kit-xml", "kit_mmm_samples/00004_meta.json", "of the motion 00004_mmm.xml; no motion"),
        ("humanml3d", "humanml3d_folder/texts/000002.txt", "3 captions of the clip 000002; no motion"),
        ("humanml3d", "humanml3d_folder/Mean.npy", "the mean of 263 feature columns"),
        ("joints", "humanml3d_folder/Std.npy", "the deviation of 263 feature columns"),
        ("humanml3d", "humanml3d_folder/train.txt", "a split, a list of 121 clip ids"),
    ],
)
def test_explain_knows_the_files_beside_motions(script, shared_data, source, path, words):
    code, said = explained(script, source, shared_data / path)
    assert code == 0 and words in said and "broken" not in said


@pytest.mark.parametrize("layout", ["train", "visualize"])
def test_the_order_of_numbers_without_names_is_kept_with_the_data(script, tmp_path, layout):
    (tmp_path / "in").mkdir()
    for i in range(3):
        np.save(tmp_path / "in" / f"wave_{i}.npy", np.random.default_rng(i).normal(size=(8, 182)).astype(np.float32))
    build_with(script, "--from", "smplx", "--input", tmp_path / "in", "--fps", 25, "--smplx-layout", layout,
               "--out", tmp_path / "d")  # fmt: skip
    assert read_json(tmp_path / "d" / "dataset.json")["smplx_layout"] == layout
