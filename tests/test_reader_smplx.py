"""SMPL-X clips: every key has its columns, frames follow their numbers, foreign orders are read only by name."""

import pickle

import numpy as np
import pytest
import torch
from cases import for_each
from mutations import check_mutations
from tiny_body_models import write_models

from motiongpt.body.body_model import BodyModel
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.readers import smplx
from motiongpt.data.readers.smplx import KEYS
from motiongpt.features.smplx import SMPLX_COLUMNS, SMPLX_WIDTHS, from_layout


def numbers(frames=4, seed=0) -> dict[str, np.ndarray]:
    """Our name -> (F, width) float32."""
    rng = np.random.default_rng(seed)
    made = {name: rng.normal(size=(frames, width)).astype(np.float32) for name, width in SMPLX_WIDTHS.items()}
    made["betas"][:] = made["betas"][0]
    return made


def together(values) -> np.ndarray:
    return np.concatenate([values[name] for name in SMPLX_COLUMNS], axis=1)


def frame(values, i: int, which: int = 0, **changes) -> dict:
    """The dict of one frame, under the first or the last of the keys that are read."""
    made = {keys[0 if which == 0 else -1]: values[name][i] for name, keys in KEYS.items()} | changes
    return {key: value for key, value in made.items() if value is not None}


def write(folder, frames, suffix=".pkl", name="frame_{}"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, content in enumerate(frames):
        path = folder / (name.format(i) + suffix)
        if suffix == ".pkl":
            path.write_bytes(pickle.dumps(content, protocol=2))
        else:
            np.savez(path, **content)
    return folder


def test_the_layout_is_the_one_of_the_ancestors_training():
    # widths and order of train_mgpt_vqvae.py in SignMotionGPT: shape body lhand rhand jaw expression root translation
    assert list(SMPLX_WIDTHS) == (
        "betas body_pose left_hand_pose right_hand_pose jaw_pose expression global_orient transl".split()
    )
    assert list(SMPLX_WIDTHS.values()) == [10, 63, 45, 45, 3, 10, 3, 3]
    assert [SMPLX_COLUMNS["jaw_pose"], SMPLX_COLUMNS["transl"]] == [slice(163, 166), slice(179, 182)]


@for_each("which", [0, 1])
@for_each("suffix", [".pkl", ".npz"])
def test_a_folder_of_frames_in_natural_order(tmp_path, which, suffix):
    values = numbers(12)  # frame_10 comes after frame_9, not after frame_1
    folder = write(tmp_path / "clip", [frame(values, i, which) for i in range(12)], suffix)
    assert smplx.find(tmp_path) == [folder]
    clip = smplx.read(folder, fps=25)
    # 1e-6: averaging twelve equal float32 betas and rounding back
    np.testing.assert_allclose(clip.parameters, together(values), rtol=0, atol=1e-6)
    assert (clip.parameters.dtype, clip.joints, clip.names, clip.fps) == (np.float32, None, (), 25.0)
    assert (clip.captions, clip.participant, clip.notes) == ((), None, ())


def test_video_data_in_an_id_word_folder(tmp_path):
    values = numbers()
    frames = [frame(values, i, eye_pose=np.zeros(6)) for i in range(4)]
    folder = write(tmp_path / "P12_00431-thank_you", [frames], name="video_data")
    for path in (folder, folder / "video_data.pkl"):
        clip = smplx.read(path, fps=30)
        np.testing.assert_allclose(clip.parameters, together(values), rtol=0, atol=1e-6)  # as above
        assert (clip.captions, clip.participant) == (("thank you",), "P12")
        assert clip.notes == ("eye_pose ignored: not among the 182", "the caption is the word of the folder's name")
    assert smplx.find(tmp_path) == [folder]


@for_each("name, caption", [("00431-hello", ("hello",)), ("well-being", ()), ("00431", ()), ("7-x-ray", ("x-ray",))])
def test_only_an_id_and_a_word_give_a_caption(tmp_path, name, caption):
    assert smplx.read(write(tmp_path / name, [frame(numbers(), 0)]), fps=30).captions == caption


def test_one_npz_per_clip(tmp_path):
    values = numbers()
    stored = {keys[-1]: values[name] for name, keys in KEYS.items()} | {"fps": 60}
    stored["betas"] = values["betas"][0]
    stored["body_pose"] = values["body_pose"].reshape(4, 21, 3)
    for i in range(2):
        np.savez(tmp_path / f"{i}.npz", **stored)
    np.savez(tmp_path / "0_shape.npz", betas=np.zeros(10))  # a body is no clip
    assert smplx.find(tmp_path) == [tmp_path / "0.npz", tmp_path / "1.npz"]
    clip = smplx.read(tmp_path / "0.npz", fps=25)
    np.testing.assert_allclose(clip.parameters, together(values), rtol=0, atol=1e-6)
    assert clip.fps == 60


def test_tensors_and_rows_of_one(tmp_path):
    values = numbers(2)
    frames = [{key: torch.tensor(value[None]) for key, value in frame(values, i).items()} for i in range(2)]
    clip = smplx.read(write(tmp_path / "clip", frames), fps=25)
    np.testing.assert_allclose(clip.parameters, together(values), rtol=0, atol=1e-6)


def test_shape_is_averaged_over_the_clip(tmp_path):
    values = numbers()
    values["betas"] = np.arange(40, dtype=np.float32).reshape(4, 10)
    clip = smplx.read(write(tmp_path / "clip", [frame(values, i) for i in range(4)]), fps=25)
    assert (clip.parameters[:, :10] == np.arange(10) + 15).all()
    assert clip.notes == ("betas vary by up to 30 in the clip: averaged",)


@pytest.mark.parametrize("own_root", [True, False])
def test_a_body_pose_of_66_starts_with_the_root(tmp_path, own_root):
    values = numbers()
    body = np.concatenate([values["global_orient"] + own_root, values["body_pose"]], axis=1)
    root = {} if own_root else {"root_pose": None}
    frames = [frame(values, i, body_pose=body[i], **root) for i in range(4)]
    clip = smplx.read(write(tmp_path / "clip", frames), fps=25)
    np.testing.assert_allclose(clip.parameters, together(values), rtol=0, atol=1e-6)
    assert "first three are the root's" in clip.notes[0]


def test_more_betas_and_expressions_are_cut_and_said(tmp_path):
    values = numbers(1)
    wide = {"shape": np.append(values["betas"][0], 9), "expression": np.append(values["expression"][0], [9] * 40)}
    clip = smplx.read(write(tmp_path / "clip", [frame(values, 0, **wide)]), fps=25)
    np.testing.assert_array_equal(clip.parameters, together(values))
    assert clip.notes == ("betas has 11 numbers: the first 10 are kept",
                          "expression has 50 numbers: the first 10 are kept")  # fmt: skip


@for_each(
    "gone, note",
    [
        ((3,), "clip: frame_0003.pkl is missing, the motion jumps there"),
        ((4, 5, 7), "clip: frame_0004.pkl and 2 more frames are missing, the motion jumps there"),
        ((0, 11), None),  # where a clip starts and ends is not known
        ((1, 3, 5, 7, 9, 11), None),  # every second frame: a steady step
    ],
)
def test_a_missing_frame_is_named(tmp_path, gone, note):
    values = numbers(12)
    folder = write(tmp_path / "clip", [frame(values, i) for i in range(12)])
    for i in range(12):
        path = folder / f"frame_{i}.pkl"
        path.unlink() if i in gone else path.rename(folder / f"frame_{i:04}.pkl")
    clip = smplx.read(folder, fps=25)
    assert clip.notes == ((note,) if note else ()) and len(clip.parameters) == 12 - len(gone)


@for_each("axes, angle", [("y", 0), ("-y", np.pi), ("z", np.pi / 2), ("-z", -np.pi / 2)])
def test_joints_come_from_a_body_model_heads_up(tmp_path, monkeypatch, axes, angle):
    """The rest pose of a standing body, turned about x like files with another up axis, comes back upright."""
    rest = np.array(HUMANML3D.paths) @ np.array(HUMANML3D.offsets)[1:]
    rest[:, 2] += np.linspace(0, 0.1, 22)  # with a front and a back
    monkeypatch.setattr(smplx, "load_body_model", lambda *_: BodyModel("smplx", rest, np.zeros((22, 3, 10))))
    values = numbers(3)
    for name in ("body_pose", "global_orient", "transl"):
        values[name][:] = 0
    values["global_orient"][:, 0] = angle
    folder = write(tmp_path / "clip", [frame(values, i) for i in range(3)])
    with pytest.raises(FileNotFoundError, match="no SMPLX body model for neutral"):
        smplx.read(folder, 25, body_models=tmp_path)
    clip = smplx.read(folder, 25, body_models=write_models(tmp_path / "models", ("smplx",)))
    assert clip.names == HUMANML3D.joints and clip.parameters.shape == (3, 182) and clip.joints.dtype == np.float32
    # 1e-5: float32 angles and metres; the pelvis turns about itself, so the others are compared with it
    wanted = np.tile(rest - rest[0], (3, 1, 1))
    np.testing.assert_allclose(clip.joints - clip.joints[:, :1], wanted, rtol=0, atol=1e-5)
    assert clip.notes == ((f"up axis: {axes} (guessed from the heads)",) if angle else ())


@for_each("name", list(KEYS))
def test_a_missing_key_is_named_with_its_frame(tmp_path, name):
    values = numbers()
    frames = [frame(values, i) for i in range(4)]
    del frames[2][KEYS[name][0]]
    with pytest.raises(ValueError, match=f"frame_2.pkl: no key {' or '.join(KEYS[name])}; it has "):
        smplx.read(write(tmp_path / "clip", frames), fps=25)
    with pytest.raises(ValueError, match=f"video_data.pkl, frame 2: no key {' or '.join(KEYS[name])}"):
        smplx.read(write(tmp_path / "list", [frames], name="video_data"), fps=25)


@for_each(
    "change, message",
    [
        ({"lhand_pose": np.zeros(12)}, "frame_0.pkl: lhand_pose must have 45 numbers a frame, got 12"),
        ({"body_pose": np.zeros(69)}, "body_pose must have 63 numbers a frame, got 69"),
        ({"shape": np.zeros(9)}, "shape must have 10 numbers a frame, got 9"),
        ({"jaw_pose": ["a", "b", "c"]}, "frame_0.pkl: jaw_pose: <U1 instead of numbers"),
        ({"jaw_pose": [[1], [2, 3]]}, "frame_0.pkl: jaw_pose: "),
        ({"expression": np.full(10, np.nan)}, "frame 0, expression: NaN"),
        ({"fps": "fast"}, "fps must be a number, got 'fast'"),
        ({"fps": -1}, "fps must be positive"),
    ],
)
def test_refusals_name_file_and_key(tmp_path, change, message):
    folder = write(tmp_path / "clip", [frame(numbers(), 0, **change)])
    with pytest.raises(ValueError, match=message):
        smplx.read(folder, fps=25)
    assert any("broken" in line for line in smplx.explain(folder, fps=25))


def test_no_frame_rate_names_the_flag(tmp_path):
    with pytest.raises(ValueError, match="clip: no frame rate in it; give --fps"):
        smplx.read(write(tmp_path / "clip", [frame(numbers(), 0)]))


def test_nothing_to_read(tmp_path):
    for name in ("nowhere", "nowhere.npz"):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            smplx.read(tmp_path / name)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            smplx.find(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no folder of .pkl"):
        smplx.find(tmp_path)
    with pytest.raises(ValueError, match="no .pkl and no .npz"):
        smplx.read(tmp_path)
    (tmp_path / "video_data.pkl").write_bytes(pickle.dumps([]))
    with pytest.raises(ValueError, match="no frames"):
        smplx.read(tmp_path, fps=25)
    np.savez(tmp_path / "a.npz", x=1)
    with pytest.raises(ValueError, match="both .pkl and .npz"):
        smplx.read(tmp_path)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    (tmp_path / "0.pkl").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    with pytest.raises(ValueError, match="0.pkl: refuses to load os.system"):
        smplx.read(tmp_path, fps=25)
    np.savez(tmp_path / "o.npz", x=np.array([{}], object))
    with pytest.raises(ValueError, match="o.npz is damaged"):
        smplx.read(tmp_path / "o.npz", fps=25)


def test_from_layout():
    values = numbers() | {"eye_pose": np.ones((4, 3), np.float32)}
    np.testing.assert_array_equal(from_layout(together(values), "train"), together(values))
    # the order that visualize.py of SignMotionGPT cuts: body hands translation expression jaw eyes
    order = "betas body_pose left_hand_pose right_hand_pose transl expression jaw_pose eye_pose".split()
    drawn = np.concatenate([values[name] for name in order], axis=1)
    expected = together(values | {"global_orient": np.zeros((4, 3), np.float32)})
    np.testing.assert_array_equal(from_layout(drawn, "visualize"), expected)
    for layout in (None, "draw"):
        with pytest.raises(ValueError, match=r"--smplx-layout \{train,visualize\}"):
            from_layout(drawn, layout)
    with pytest.raises(ValueError, match=r"expected numbers \(F, 182\), got \(4, 181\)"):
        from_layout(drawn[:, 1:], "train")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pkl"])
def test_an_array_without_names_needs_the_layout(tmp_path, suffix):
    array, path = together(numbers()), tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, motion=array, fps=20)
    else:
        path.write_bytes(pickle.dumps(array))
    with pytest.raises(ValueError, match=f"a{suffix}: 182 numbers without names: say which order, --smplx-layout"):
        smplx.read(path, fps=25)
    clip = smplx.read(path, fps=25, layout="visualize")
    assert not clip.parameters[:, SMPLX_COLUMNS["global_orient"]].any() and clip.fps == (20 if suffix == ".npz" else 25)
    assert clip.notes == ("an array without names, read in the order visualize",
                          "global_orient is not in the order visualize: zero")  # fmt: skip


def test_explain(tmp_path):
    folder = write(tmp_path / "9-hi", [frame(numbers(), i, extra=1) for i in range(4)])
    lines = "\n".join(smplx.explain(folder, fps=25))
    said = ["4 files, the first is frame_0.pkl", "lhand_pose: (45,) float32 -> left_hand_pose", "extra: int -> dropped"]
    said += ["would keep 4 frames at 25 fps, captions: hi, participant not said", "note: keys not read: extra"]
    for words in said:
        assert words in lines
    assert "broken" in smplx.explain(tmp_path / "nowhere")[-1]


@pytest.mark.parametrize("suffix", [".pkl", ".npz", ".npy"])
def test_a_hundred_mutations_are_read_or_refused(tmp_path, suffix):
    values, path = numbers(), tmp_path / f"a{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps([frame(values, i) for i in range(4)]))
    elif suffix == ".npz":
        np.savez_compressed(path, **{keys[0]: values[name] for name, keys in KEYS.items()}, fps=20)
    else:
        np.save(path, together(values))

    def explained(refused):
        lines = smplx.explain(path, fps=25, layout="train")
        return any("broken" in line for line in lines) == refused and smplx.find(tmp_path)

    check_mutations(path, lambda: smplx.read(path, fps=25, layout="train"), explained, head=200)
