"""AMASS: joints equal smplx's, frames and axes equal those of HumanML3D's notebook, hostile files are refused."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from cases import for_each
from mutations import check_mutations
from tiny_body_models import body_arrays, smplx_forward, write_models

from motiongpt.body.body_model import MODEL_JOINTS, find_body_model, load_body_model
from motiongpt.body.kinematics import posed_joints
from motiongpt.body.rotations import axis_angle_to_quaternion
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.motions import MotionDataset
from motiongpt.data.readers import amass, amass_index
from motiongpt.files.arrays import read_npz


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


def motion(kind="smplh", frames=30, fps=120.0, seed=0, **changes) -> dict[str, np.ndarray]:
    """The arrays of an AMASS file."""
    rng = np.random.default_rng(seed)
    made = {
        "poses": rng.normal(size=(frames, 3 * MODEL_JOINTS[kind])) / 2,
        "trans": rng.normal(size=(frames, 3)),
        "betas": rng.normal(size=16),
        "gender": np.array("male"),
        "mocap_framerate": np.array(fps),
        "dmpls": rng.normal(size=(frames, 8)),
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **content)
    return path


def smooth_poses(frames: int, columns: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None] / 120
    return np.sin(2 * np.pi * t * rng.uniform(0.2, 0.8, columns) + rng.uniform(0, 6, columns)) / 2


# 1) The body.


@pytest.mark.parametrize("kind", MODEL_JOINTS)
def test_joints_equal_the_smplx_packages(kind, tmp_path, monkeypatch):
    arrays, content = body_arrays(kind), motion(kind)
    poses, betas, trans = content["poses"], content["betas"][:10], content["trans"]
    poses[0] = 0  # the T-pose, where the axis has no direction
    theirs = smplx_forward(kind, arrays, poses, betas, trans, monkeypatch, tmp_path)[1][:, :22]
    body = load_body_model(write(tmp_path / "model.npz", arrays), kind)
    turns = axis_angle_to_quaternion(torch.from_numpy(poses[:, :66].reshape(-1, 22, 3))).numpy()
    ours = posed_joints(body.rest_joints(betas), turns, trans)
    assert np.abs(theirs - theirs[:1]).max() > 0.1  # it moves
    # float64 on both sides; smplx adds 1e-8 to every angle, which is what is left
    assert np.abs(ours - theirs).max() < 1e-5


def test_the_reader_gives_smplx_joints_turned_upright(models, tmp_path, monkeypatch):
    content = motion("smplh")
    clip = amass.read(write(tmp_path / "CMU/01/01_01_poses.npz", content), models)
    with np.load(models / "smplh/male/model.npz") as file:
        arrays = {key: file[key] for key in file.files}
    posed = content["poses"], content["betas"][:10], content["trans"]
    theirs = smplx_forward("smplh", arrays, *posed, monkeypatch, tmp_path)[1][:, :22]
    # the notebook's own two steps: y and z swapped, later x negated
    expected = theirs[::6] @ np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    expected[..., 0] *= -1
    assert clip.joints.shape == (5, 22, 3) and clip.joints.dtype == np.float32
    assert np.abs(clip.joints - expected).max() < 1e-5  # float32 metres
    assert (clip.names, clip.fps, clip.participant) == (HUMANML3D.joints, 20.0, "CMU-01")


def test_axes_are_turned_not_mirrored(models, tmp_path):
    still = motion(frames=6, poses=np.zeros((6, 156)), trans=np.zeros((6, 3)))
    moved = still | {"trans": np.tile([1.0, 2.0, 3.0], (6, 1))}
    a = amass.read(write(tmp_path / "a.npz", still), models).joints
    b = amass.read(write(tmp_path / "b.npz", moved), models).joints
    assert np.allclose(b - a, [-1, 3, 2], atol=1e-5)


def test_the_gender_chooses_the_body_as_in_humanml3d(models, tmp_path):
    def of(kind, gender):
        clip = amass.read(write(tmp_path / "x.npz", motion(kind, gender=np.array(gender))), models)
        return clip.joints, " ".join(clip.notes)

    male, female, neutral = (of("smplh", gender) for gender in ("male", "female", "neutral"))
    assert np.abs(male[0] - female[0]).max() > 0.01
    assert (neutral[0] == female[0]).all() and "female SMPL-H body" in neutral[1]
    as_bytes = of("smplh", b"male")
    assert (as_bytes[0] == male[0]).all() and "bytes" in as_bytes[1]
    assert np.abs(of("smplx", "neutral")[0] - of("smplx", "female")[0]).max() > 0.01


def test_a_shape_has_ten_numbers_unless_more_are_asked_for(models, tmp_path):
    content = motion()
    more = content | {"betas": np.concatenate([content["betas"][:10], content["betas"][10:] + 1])}
    a, b = (write(tmp_path / f"{i}.npz", values) for i, values in enumerate((content, more)))
    assert (amass.read(a, models).joints == amass.read(b, models).joints).all()
    assert np.abs(amass.read(a, models, num_betas=16).joints - amass.read(b, models, num_betas=16).joints).max() > 1e-3
    short = content | {"betas": content["betas"][None, :10]}
    assert (amass.read(write(tmp_path / "2.npz", short), models).joints == amass.read(a, models).joints).all()


def test_the_face_of_a_short_smplx_file_is_no_shape(models):
    assert load_body_model(models / "smplx/SMPLX_MALE.npz", "smplx").directions.shape == (22, 3, 10)
    assert load_body_model(models / "smplh/male/model.npz", "smplh").directions.shape == (22, 3, 16)


def test_a_pickled_model_is_read_without_running_it(models, tmp_path):
    arrays = body_arrays("smpl", 6)  # SMPL, male in `models`
    (tmp_path / "SMPL_MALE.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    ours = load_body_model(find_body_model(tmp_path, "smpl", "male"), "smpl")
    same = load_body_model(models / "smpl/SMPL_MALE.npz", "smpl")
    assert (ours.template == same.template).all() and (ours.directions == same.directions).all()
    (tmp_path / "SMPL_FEMALE.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ValueError, match="refuses to load"):
        load_body_model(tmp_path / "SMPL_FEMALE.pkl", "smpl")


def test_missing_and_wrong_models_are_named(models, tmp_path):
    path = write(tmp_path / "x.npz", motion())
    with pytest.raises(ValueError, match=r"--smplx-dir DIR.*mano\.is\.tue\.mpg\.de"):
        amass.read(path)
    with pytest.raises(FileNotFoundError, match=r"smplh/male/model\.npz.*mano\.is\.tue\.mpg\.de") as caught:
        amass.read(path, tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"smplx/SMPLX_MALE\.npz.*smpl-x\.is\.tue\.mpg\.de"):
        amass.read(write(tmp_path / "y.npz", motion("smplx")), tmp_path)
    wrong = tmp_path / "smplh/male/model.npz"  # SMPL-X under the name of SMPL-H
    write(wrong, body_arrays("smplx"))
    with pytest.raises(ValueError, match=r"of SMPLH must be \(52, \d+\), got \(55, \d+\): it is a file of SMPLX"):
        amass.read(path, tmp_path)


@for_each("key", ["v_template", "shapedirs", "J_regressor", "kintree_table"])
def test_a_broken_model_names_its_key(key, tmp_path):
    arrays = body_arrays("smplh")
    values = (None, np.zeros(3), np.array("text"), np.full_like(arrays[key], 7)[:-1], np.zeros((0, 3)))
    for i, value in enumerate(values):
        changed = {name: array for name, array in (arrays | {key: value}).items() if array is not None}
        with pytest.raises(ValueError, match=key):
            load_body_model(write(tmp_path / f"{i}.npz", changed), "smplh")


# 2) Frames.


@for_each("fps, stride", [(120, 6), (100, 5), (60, 3), (59, 2), (150, 7), (250, 12), (20, 1)])
def test_frames_are_strided_as_in_humanml3d(fps, stride, models, tmp_path):
    content = motion(frames=50, fps=float(fps))
    clip = amass.read(write(tmp_path / "x.npz", content), models)
    every = motion(frames=50, fps=20.0)
    assert clip.fps == 20
    assert (clip.joints == amass.read(write(tmp_path / "y.npz", every), models).joints[::stride]).all()
    inexact = fps / stride != 20
    assert any(f"every {stride}. frame" in note for note in clip.notes) == inexact


def test_slow_files_need_exact_fps(models, tmp_path):
    path = write(tmp_path / "x.npz", motion(fps=15.0))
    with pytest.raises(ValueError, match="15 fps is below 20"):
        amass.read(path, models)
    assert len(amass.read(path, models, exact_fps=True).joints) == 39  # (30 - 1) * 20 / 15 = 38.7 -> 38 steps
    content = motion(frames=16_000, fps=1.0)
    with pytest.raises(ValueError, match="319981 frames"):  # nothing of that size is made
        amass.read(write(tmp_path / "y.npz", content), models, exact_fps=True)


def test_exact_fps_resamples(models, tmp_path):
    F = 241
    trans = smooth_poses(F, 3, seed=1)
    content = motion(frames=F, poses=smooth_poses(F, 156), trans=trans)
    at120 = write(tmp_path / "a.npz", content)
    strided, exact = amass.read(at120, models), amass.read(at120, models, exact_fps=True)
    # every time falls on a frame, so nothing is interpolated; the rest is slerp's rounding in float32 metres
    assert strided.joints.shape == exact.joints.shape and np.abs(strided.joints - exact.joints).max() < 1e-5
    # the same motion sampled at 60 fps and said to be so, resampled to 24: the 120 fps file's every fifth frame
    half = {key: value[::2] if key in ("poses", "trans") else value for key, value in content.items()}
    at60 = write(tmp_path / "b.npz", half | {"mocap_framerate": np.array(60.0)})
    truth = amass.read(at120, models, fps=24.0).joints
    ours = amass.read(at60, models, fps=24.0, exact_fps=True).joints
    # half of the frames lie between two of 60 fps: motions below 1 Hz are off by about (2 pi / 60)^2 / 8 of their size
    assert ours.shape == truth.shape and 0 < np.abs(ours - truth).max() < 5e-3
    bones = np.linalg.norm(ours[:, 1:] - ours[:, HUMANML3D.parents[1:]], axis=-1)
    assert np.ptp(bones, axis=0).max() < 1e-5  # rotations are resampled, not joints


@for_each(
    "folder, cut",
    [("Eyes_Japan_Dataset", 60), ("EyesJapanDataset", 60), ("MPI_HDM05", 60), ("HDM05", 60), ("TotalCapture", 20),
     ("MPI_Limits", 20), ("PosePrior", 20), ("Transitions_mocap", 10), ("Transitions", 10), ("KIT", 0), ("other", 0)],
)  # fmt: skip
def test_starts_are_trimmed_as_in_humanml3d(folder, cut, models, tmp_path):
    content = motion(frames=70, fps=20.0)
    whole = amass.read(write(tmp_path / "x.npz", content), models).joints
    clip = amass.read(write(tmp_path / folder / "3" / "x.npz", content), models)
    assert (clip.joints == whole[cut:]).all()
    assert any("T-pose" in note for note in clip.notes) == (cut > 0)
    if cut:
        short = write(tmp_path / folder / "4" / "x.npz", motion(frames=cut, fps=20.0))
        with pytest.raises(ValueError, match="nothing is left"):
            amass.read(short, models)


def test_stageii_files_of_smplx(models, tmp_path):
    content = motion("smplx")
    whole = amass.read(write(tmp_path / "a.npz", content), models)
    poses = content.pop("poses")
    rate = {"mocap_frame_rate": content.pop("mocap_framerate"), "surface_model_type": np.array("smplx")}
    objects = {"markers_latent_vids": np.array({"a": 1}), "labels": np.array([["x"], None], object)}
    parts = {"root_orient": poses[:, :3], "pose_body": poses[:, 3:66], "pose_hand": poses[:, 75:],
             "pose_jaw": poses[:, 66:69], "pose_eye": poses[:, 69:75]}  # fmt: skip
    both = amass.read(write(tmp_path / "b_stageii.npz", content | rate | objects | parts | {"poses": poses}), models)
    only = amass.read(write(tmp_path / "c_stageii.npz", content | rate | objects | parts), models)
    del rate["surface_model_type"]
    guessed = amass.read(write(tmp_path / "d_stageii.npz", content | rate | parts), models)
    assert all((clip.joints == whole.joints).all() for clip in (both, only, guessed))


def test_smpl_files_are_read(models, tmp_path):
    smpl = motion("smpl", gender=np.array("neutral"))
    assert amass.read(write(tmp_path / "x.npz", smpl), models).joints.shape == (5, 22, 3)


@for_each(
    "changes, match",
    [
        ({"poses": None}, "no poses"),
        ({"poses": np.zeros((30, 63))}, r"poses must be .*156 \(SMPLH\).*got \(30, 63\)"),
        ({"trans": None}, "no trans"),
        ({"betas": None, "gender": None}, "no betas, gender"),
        ({"mocap_framerate": None}, "no mocap_framerate or mocap_frame_rate"),
        ({"mocap_framerate": np.array(0.0)}, "mocap_framerate must be a number from 1 to 1000"),
        ({"mocap_framerate": np.array(np.nan)}, "mocap_framerate must be"),
        ({"mocap_framerate": np.array("120")}, "mocap_framerate must be"),
        ({"gender": np.array("unknown")}, "gender must be one of male, female, neutral, got 'unknown'"),
        ({"gender": np.array({"a": 1})}, "gender holds Python objects"),
        ({"trans": np.zeros((29, 3))}, r"trans must be \(30, 3\)"),
        ({"betas": np.zeros((30, 16))}, "betas must be one row"),
        ({"betas": np.full(16, np.inf)}, "betas: NaN or infinite"),
        ({"poses": np.full((30, 156), np.nan)}, "poses: NaN or infinite in 30 rows, the first is 0"),
        ({"surface_model_type": np.array("smplx")}, "says smplx, but poses has the columns of smplh"),
        ({"surface_model_type": np.array("mano")}, "surface_model_type must be one of"),
    ],
)
def test_what_is_wrong_is_named(changes, match, models, tmp_path):
    path = write(tmp_path / "x.npz", motion(**changes))
    with pytest.raises(ValueError, match=match) as caught:
        amass.read(path, models)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert any("broken" in line and str(path) in line for line in amass.explain(path, models))


def test_body_models_are_found_whatever_the_case_of_their_names(tmp_path):
    for name in ("SMPLH/Male/MODEL.NPZ", "SmplX/smplx_neutral.npz", "smpl_female.PKL", "smplx/SMPLX_MALE.npz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = [("smplh", "male"), ("smplx", "male"), ("smpl", "female")]
    names = [str(find_body_model(tmp_path, *what).relative_to(tmp_path)) for what in found]
    assert names == ["SMPLH/Male/MODEL.NPZ", "smplx/SMPLX_MALE.npz", "smpl_female.PKL"]
    assert find_body_model(tmp_path, "smplx", "neutral") == tmp_path / "SmplX/smplx_neutral.npz"
    with pytest.raises(FileNotFoundError, match="no SMPLX body model for female"):
        find_body_model(tmp_path, "smplx", "female")


def test_clips_are_found_and_explained(models, tmp_path):
    paths = [write(tmp_path / name, motion()) for name in ("KIT/3/b_poses.npz", "KIT/3/a_poses.npz", "KIT/4/c.npz")]
    for name in ("KIT/3/shape.npz", "KIT/3/male_stagei.npz", "smplh/male/model.npz", "SMPLX_NEUTRAL.npz"):
        write(tmp_path / name, {"betas": np.zeros(16)})
    # bodies of any name: other betas, and a body model
    write(tmp_path / "KIT/3/s3_betas.npz", {"betas": np.zeros(16), "gender": np.array("male")})
    write(tmp_path / "KIT/Neutral_StageI.npz", {"betas": np.zeros(16)})
    write(tmp_path / "KIT/smplx_neutral.npz", {"v_template": np.zeros((9, 3)), "shapedirs": np.zeros((9, 3, 10))})
    (tmp_path / "KIT/broken.npz").write_bytes(b"PK")  # reading it says what is wrong
    assert amass.find(tmp_path) == sorted([*paths, tmp_path / "KIT/broken.npz"])
    with pytest.raises(FileNotFoundError):
        amass.find(tmp_path / "nothing")
    text = "\n".join(amass.explain(paths[0], models))
    assert "poses: (30, 156) float64 -> read" in text and "dmpls: (30, 8) float64 -> not read" in text
    assert "SMPLH poses, model of gender male, 30 frames at 120 fps, 16 betas" in text
    assert "would keep 5 frames" in text and "participant KIT-3" in text and "first 10 of 16 betas" in text
    assert "--smplx-dir" in amass.explain(paths[0])[-1]
    assert "does not exist" in amass.explain(tmp_path / "nothing.npz", models)[-1]


# 3) The index.

HEADER = "source_path,start_frame,end_frame,new_name\n"


def test_the_index_cuts_the_clips_of_humanml3d(models, tmp_path):
    root, h12 = tmp_path / "amass", tmp_path / "humanact12"
    content = motion(frames=90, fps=20.0)
    whole = amass.read(write(tmp_path / "x.npz", content), models).joints
    write(root / "KIT/3/kick_poses.npz", content)
    write(root / "Eyes_Japan_Dataset/aita/turn-03-look at-aita_poses.npz", content)
    write(root / "PosePrior/03099/op3_poses.npz", content)  # later releases' names
    write(root / "HDM05/bk/HDM_bk_a_b_stageii.npz", content)
    joints = np.random.default_rng(1).normal(size=(7, 24, 3)).astype(np.float32)
    h12.mkdir()
    np.save(h12 / "P11G01R02F1812T1847A0402.npy", joints)
    index = tmp_path / "index.csv"
    index.write_text(
        HEADER + "./pose_data/KIT/3/kick_poses.npy,5,40,000000.npy\n"
        "./pose_data/humanact12/humanact12/P11G01R02F1812T1847A0402.npy,0,-1,000001.npy\n"
        "./pose_data/Eyes_Japan_Dataset/aita/turn-03-look at-aita_poses.npy,3,20,000002.npy\n"
        "./pose_data/MPI_Limits/03099/op3_poses.npy,0,200,000003.npy\n"
        "./pose_data/MPI_HDM05/bk/HDM bk a b_poses.npy,0,-1,000004.npy\n"
    )
    rows = amass_index.index_rows(index)
    clips = {row.id: amass_index.read_row(row, root, models, h12) for row in rows}
    expected = {"000000": whole[5:40], "000001": joints[:, :22], "000002": whole[60:][3:20], "000003": whole[20:],
                "000004": whole[60:-1]}  # fmt: skip
    assert list(clips) == list(expected)
    for name, clip in clips.items():
        assert clip.joints.shape == expected[name].shape and (clip.joints == expected[name]).all(), name
        assert clip.fps == 20 and clip.names == HUMANML3D.joints
    assert [any("SMPL-X release" in note for note in clip.notes) for clip in clips.values()] == [False] * 4 + [True]
    assert clips["000003"].participant == "MPI_Limits-03099" and clips["000001"].participant == "humanact12-P11"
    (root / "humanact12").mkdir()
    np.save(root / "humanact12/P11G01R02F1812T1847A0402.npy", joints)
    assert amass_index.read_row(rows[1], root, models).joints.shape == (7, 22, 3)  # beside AMASS without being told


def test_the_index_is_prepared_with_its_texts_and_splits(script, models, tmp_path):
    """The command, with several processes; texts and splits are in the folder HumanML3D beside the index."""
    for name in ("kick", "turn"):
        write(tmp_path / f"amass/KIT/3/{name}_poses.npz", motion(frames=354, fps=59.0))
    rows = [f"./pose_data/KIT/3/{name}_poses.npy,{i},{40 + i},{i:06}.npy\n"
            for i, name in enumerate(["kick", "turn", "kick", "kick"])]  # fmt: skip
    (tmp_path / "index.csv").write_text(HEADER + "".join(rows))
    texts = tmp_path / "HumanML3D" / "texts"
    texts.mkdir(parents=True)
    for i in range(3):
        (texts / f"{i:06}.txt").write_text(f"clip {i}#clip/NOUN#0.0#0.0\n")
    for split, ids in {"train": "000000\n000001\n", "val": "000002\n", "test": "000003\n"}.items():
        (tmp_path / "HumanML3D" / f"{split}.txt").write_text(ids)
    args = ("--from", "amass", "--input", tmp_path / "amass", "--smplx-dir", models, "--index", tmp_path / "index.csv")
    for out, flags in (("d", ()), ("e", ("--exact-fps",))):
        done = script("prepare", *args, *flags, "--out", tmp_path / out)
        assert done.code == 0, done.err
    data = MotionDataset(tmp_path / "d")
    assert {split: data.ids(split) for split in ("train", "val", "test")} == {
        "train": ["000000", "000001"], "val": ["000002"], "test": ["000003"]}  # fmt: skip
    assert data.captions("000001")[0].text == "clip 1" and data.captions("000003")[0].text == "kick"
    assert data.features("000000").shape == (39, 263)  # features are of steps between frames
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:  # goes before the folder
        archive.writestr("texts/000001.txt", "packed clip\n")
    done = script("prepare", *args, "--texts", tmp_path / "texts.zip", "--out", tmp_path / "f")
    assert done.code == 0 and MotionDataset(tmp_path / "f").captions("000001")[0].text == "packed clip"
    # 59 fps by every 2nd frame is not 59 fps resampled to 20
    exact = MotionDataset(tmp_path / "e").features("000000")
    assert exact.shape == (39, 263) and np.abs(exact - data.features("000000")).max() > 0.01


def test_rows_without_their_file_are_named(models, tmp_path):
    write(tmp_path / "KIT/3/kick_poses.npz", motion(frames=40, fps=20.0))
    (tmp_path / "humanact12").mkdir()
    (tmp_path / "humanact12/b.npy").write_bytes(b"no array")
    index = tmp_path / "index.csv"
    index.write_text(
        HEADER + "./pose_data/KIT/3/gone_poses.npy,0,10,000000.npy\n./pose_data/KIT/3/kick_poses.npy,40,50,000001.npy\n"
        "./pose_data/KIT/3/kick_poses.npy,0,10,000002.npy\n./pose_data/humanact12/a.npy,0,-1,000003.npy\n"
        "./pose_data/humanact12/b.npy,0,-1,000004.npy\n"
    )
    clips, bad = {}, {}
    for row in amass_index.index_rows(index):
        try:
            clips[row.id] = amass_index.read_row(row, tmp_path, models)
        except (ValueError, FileNotFoundError) as error:
            bad[row.id] = str(error)
    assert list(clips) == ["000002"] and list(bad) == ["000000", "000001", "000003", "000004"]
    assert "000000, line 2" in bad["000000"] and str(tmp_path / "KIT/3/gone_poses.npz") in bad["000000"]
    assert "frames 40 to 50" in bad["000001"] and "a.npy does not exist" in bad["000003"] and "b.npy" in bad["000004"]
    with pytest.raises(FileNotFoundError, match="000000, line 2"):
        amass_index.read_row(amass_index.index_rows(index)[0], tmp_path, models)


@for_each(
    "text, match",
    [
        ("a,b\n1,2\n", "first line must name source_path"),
        ("", "first line must name"),
        (HEADER + "./pose_data/KIT/3/a.npy,x,3,0.npy\n", "line 2: start_frame and end_frame"),
        (HEADER + "./pose_data/KIT/3/a.npy,0\n", "line 2"),
        (HEADER + "./pose_data/../../etc/a.npy,0,3,0.npy\n", "line 2: source_path"),
        (HEADER + "/etc/a/b.npy,0,3,0.npy\n", "line 2: source_path"),
        (HEADER + "./pose_data/KIT/3/a.npy,0,3,../../0.npy\n", "line 2: new_name"),
        (HEADER + "./pose_data/KIT/3/a.npy,0,3,0.npy\n" * 2, "line 3: new_name"),
        (HEADER + "./pose_data/KIT/3/" + "a" * 200_000 + ",0,3,0.npy\n", "index.csv"),
    ],
)
def test_a_broken_index_names_its_line(text, match, tmp_path):
    index = tmp_path / "index.csv"
    index.write_text(text)
    with pytest.raises(ValueError, match=match):
        amass_index.index_rows(index)


# 4) Hostile files.


def test_python_objects_are_not_unpickled_and_huge_counts_take_no_memory(tmp_path):
    path = write(tmp_path / "x.npz", {"a": np.array([print], object), "b": np.zeros(3)})
    headers, arrays = read_npz(path, ("b",))
    assert set(headers) == {"a", "b"} and set(arrays) == {"b"}
    with pytest.raises(ValueError, match="a holds Python objects"):
        read_npz(path, ("a",))
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 156), }"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("poses.npy", npy)
    with pytest.raises(ValueError, match="poses claims"):
        read_npz(tmp_path / "y.npz", ("poses",))


def mutated(kind: int, rng, content, path) -> bytes:
    """The bytes of a damaged file; some may still be readable."""
    keys = list(content)
    key = keys[rng.integers(len(keys))]
    if kind == 0:
        content.pop(key)
    elif kind == 1:
        content[key] = np.array(["text", None, {}, 3j, b"x"], object)[[rng.integers(5)]]
    elif kind == 2:
        numbers = [np.complex64, np.int8, "S5", bool, np.float16]
        kinds = ["S5", "U5", object] if content[key].dtype.kind == "U" else numbers
        content[key] = content[key].astype(kinds[rng.integers(len(kinds))])
    elif kind == 3:
        content[key] = np.zeros(tuple(rng.integers(0, 4, size=rng.integers(0, 4))))
    with np.errstate(all="ignore"):
        (np.savez if rng.random() < 0.5 else np.savez_compressed)(path, **content)
    data = bytearray(path.read_bytes())
    if kind == 4:
        data = data[: rng.integers(len(data))]
    elif kind == 5:
        for _ in range(rng.integers(1, 20)):
            data[rng.integers(len(data))] = rng.integers(256)
    elif kind == 6:  # within the headers, where counts are
        data[rng.integers(200)] = rng.integers(256)
    elif kind == 7:
        data = data.replace(b"(12, ", b"(%d, " % 10 ** rng.integers(1, 12))
    return bytes(data)


MISSING = (ValueError, FileNotFoundError)  # a damaged gender may ask for a body model that is not there


@pytest.mark.filterwarnings("ignore")  # numpy warns of odd casts while the files are made
def test_a_hundred_mutations_are_read_or_refused(models, tmp_path):
    path = tmp_path / "x.npz"
    copies = [mutated(seed % 8, np.random.default_rng(seed), motion(frames=12), path) for seed in range(100)]
    write(path, motion(frames=12))

    def sound(clip):
        return np.isfinite(clip.joints).all() and clip.joints.shape[1:] == (22, 3)

    def explained(refused):
        lines = amass.explain(path, models)
        return any("broken" in line for line in lines) == refused and "\n" not in "".join(lines)

    check_mutations(path, lambda: amass.read(path, models), explained, copies, sound, MISSING, least=50, most=95)


def test_mutations_of_body_models_are_read_or_refused(tmp_path):
    model, path = tmp_path / "smplh/male/model.npz", write(tmp_path / "x.npz", motion(frames=12))
    model.parent.mkdir(parents=True)
    content = {key: array for key, array in body_arrays("smplh").items() if key != "posedirs"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "savez_compressed", np.savez)
        copies = [mutated(seed % 7, np.random.default_rng(seed), dict(content), model) for seed in range(24)]
    np.savez(model, **content)

    def read():
        load_body_model.cache_clear()  # a model is read once per path
        return amass.read(path, tmp_path)

    def sound(clip):
        return np.isfinite(clip.joints).all()

    check_mutations(model, read, copies=copies, sound=sound, refusals=MISSING, names=tmp_path, least=8, most=23)
