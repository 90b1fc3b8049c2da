"""scripts/evaluate.py --what vqvae: the report has the numbers of the metrics, and is always the same."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt import evaluation
from motiongpt.body.skeletons import HUMANML3D, KIT, Skeleton
from motiongpt.config import VQVAEConfig
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.reconstruction import evaluate_vqvae, reconstruct
from motiongpt.evaluation.report_markdown import reconstruction_markdown
from motiongpt.features.humanml3d import joints_to_features
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.files.folders import TAKEN, check_report_folder
from motiongpt.metrics.joints import mpjpe
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.tokenizer import reconstruction_errors
from motiongpt.vqvae import VQVAE

LENGTHS = (30, 47, 12, 22)  # frames of features; c2 is a multiple of 4, the others are cut
FILES = {"report.json", "report.md", "codes.png", "best.gif", "median.gif", "worst.gif"}


def rest_pose(skeleton: Skeleton) -> np.ndarray:
    pose = np.zeros((skeleton.num_joints, 3))
    for joint, parent in enumerate(skeleton.parents[1:], 1):
        pose[joint] = pose[parent] + skeleton.offsets[joint]
    return pose


def make_folder(folder: Path, skeleton: Skeleton = HUMANML3D) -> Path:
    """Four usable clips, one with a NaN, one of three frames and one without a file; `test` lists them all."""
    rng = np.random.default_rng(0)
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir(parents=True)
    clips = []
    for i, length in enumerate((*LENGTHS, 20, 3)):
        walk = np.linspace(0, 1, length + 1)[:, None, None] * [0, 0, 1.0] * (i + 1)
        joints = rest_pose(skeleton) + walk + 0.05 * rng.normal(size=(length + 1, skeleton.num_joints, 3)).cumsum(0)
        clips.append(joints_to_features(joints, skeleton, retargeted=True).astype(np.float32))
        if i == 4:
            clips[4][7, 5] = np.nan
        np.save(folder / "new_joint_vecs" / f"c{i}.npy", clips[-1])
    D = skeleton.feature_dim
    std = np.full(D, 0.2, np.float32)
    np.save(folder / "Mean.npy", np.zeros(D, np.float32))  # contacts of mean 0: the pair cannot be told, and is not
    np.save(folder / "Std.npy", std)
    for split, names in (("train", "c0 c1"), ("test", "c0 c1 c2 c3 c4 c5 gone")):
        (folder / f"{split}.txt").write_text(names.replace(" ", "\n") + "\n")
    return folder


def make_tokenizer(skeleton: Skeleton = HUMANML3D, **changes) -> MotionTokenizer:
    D = skeleton.feature_dim
    config = VQVAEConfig(feature_dim=D, joint_dim=3 * (skeleton.num_joints - 1),
                         **{"codes": 32, "code_dim": 16, "width": 16, "depth": 1} | changes)  # fmt: skip
    vqvae = VQVAE(config)
    for layer in getattr(vqvae.quantizer, "layers", [vqvae.quantizer]):
        layer.codebook.normal_(std=0.1)  # about the size of the latents: many codes are used
    normalizer = Normalizer(np.zeros(D, np.float32), np.full(D, 0.1, np.float32))
    return MotionTokenizer(vqvae, normalizer, skeleton, skeleton.fps)


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path / "data")


def test_report_against_the_metrics_alone(folder):
    """Each clip is encoded and decoded alone with the tokenizer's own calls: a batch must not change a clip."""
    tokenizer, data = make_tokenizer(), MotionDataset(folder)
    report = evaluate_vqvae(tokenizer, data, "test", batch_size=3)
    total, count = 0.0, 0
    for i, length in enumerate(LENGTHS):
        features = data.features(f"c{i}")
        (joints,) = tokenizer.decode(tokenizer.encode([features]))
        target = tokenizer.joints(torch.from_numpy(features))[: length // 4 * 4]
        errors = 1000 * mpjpe(torch.from_numpy(joints), target)
        row = report["clips"][f"c{i}"]
        assert row["frames"] == len(errors) == length // 4 * 4
        # float32 convolutions of a padded batch and of a clip alone, in mm of about 100
        assert row["mpjpe_mm"] == pytest.approx(float(errors.mean()), rel=1e-4)
        total, count = total + float(errors.sum()), count + len(errors)
    assert report["metrics"]["mpjpe_mm"] == pytest.approx(total / count, rel=1e-4)
    assert report["protocol"]["frames"] == count
    theirs = reconstruction_errors(tokenizer, [data.features(f"c{i}") for i in range(4)])
    for name in ("mpjpe_mm", "global_mpjpe_mm"):
        assert report["metrics"][name] == pytest.approx(theirs[name], rel=1e-4)
    (book,) = report["codebook"]
    assert (book["active"], sum(book["histogram"])) == (theirs["active_codes"], count // 4)
    assert book["active"] > 4
    assert book["perplexity"] == pytest.approx(theirs["perplexity"])
    metrics = report["metrics"]
    assert metrics["pa_mpjpe_mm"] < metrics["mpjpe_mm"]
    in_seconds = metrics["acceleration_error_mm_frame2"] * 20**2 / 1000
    assert metrics["acceleration_error_m_s2"] == pytest.approx(in_seconds)
    assert report["original"]["floor_penetration_mm"] == pytest.approx(0, abs=1e-3)  # its own lowest joint is the floor


def test_best_median_worst_and_dropped(folder):
    report = evaluate_vqvae(make_tokenizer(), MotionDataset(folder))
    ranked = sorted(report["clips"], key=lambda name: report["clips"][name]["mpjpe_mm"])
    assert report["shown"] == {"best": ranked[0], "median": ranked[2], "worst": ranked[3]}
    dropped = report["dropped"]
    assert set(dropped) == {"c4", "c5", "gone"}
    assert dropped["c5"] == "3 frames, shorter than one code" and "frame 7 is not finite" in dropped["c4"]
    assert str(folder.parent) not in json.dumps(report)  # no path: the bytes do not depend on where the data is
    assert all(name in reconstruction_markdown(report) for name in dropped)


def test_a_perfect_tokenizer_has_no_error(folder, monkeypatch):
    """If decoding returns the truth, every error is 0, and the qualities are those of the original."""
    tokenizer, data = make_tokenizer(), MotionDataset(folder)

    def truth(tokenizer, clips, batch_size, world=None):
        for name, features in clips.items():
            S = len(features) // 4
            yield name, torch.zeros(S, 1, dtype=torch.int64), [torch.from_numpy(features[: 4 * S])]

    monkeypatch.setattr("motiongpt.evaluation.reconstruction.reconstruct", truth)
    report = evaluate_vqvae(tokenizer, data)
    metrics, original = report["metrics"], report["original"]
    for name in metrics:  # float32 SVDs of Procrustes leave a thousandth of a millimetre
        assert metrics[name] == pytest.approx(original.get(name, 0), abs=1e-3), name


def test_layers_of_a_residual_tokenizer(folder):
    tokenizer, data = make_tokenizer(quantizer="residual", rvq_layers=3), MotionDataset(folder)
    report = evaluate_vqvae(tokenizer, data)
    assert len(report["layers"]) == len(report["codebook"]) == 3
    assert report["layers"][-1] == report["metrics"]
    assert report["layers"][0]["mpjpe_mm"] != report["layers"][1]["mpjpe_mm"]
    clips = {f"c{i}": data.features(f"c{i}") for i in range(4)}
    errors = reconstruction_errors(tokenizer, list(clips.values()))  # a tokenizer is chosen on all its layers
    assert errors["mpjpe_mm"] == pytest.approx(report["layers"][-1]["mpjpe_mm"], rel=1e-5)  # float32 sums
    assert errors["active_codes"] == report["codebook"][0]["active"]  # of the first layer
    for name, codes, decoded in reconstruct(tokenizer, clips, 2):
        motion = torch.from_numpy(tokenizer.normalizer.normalise(clips[name]))[None]
        alone = tokenizer.vqvae.encode_all(motion)
        assert torch.equal(alone[0], codes)
        for q, got in enumerate(decoded, 1):
            features = tokenizer.normalizer.denormalise(tokenizer.vqvae.decode(alone[..., :q]))[0]
            ours, theirs = tokenizer.joints(got), tokenizer.joints(features)
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)  # batch against alone
    text = reconstruction_markdown(report)
    assert "## Layers used" in text and "## Layers used" not in reconstruction_markdown(
        report | {"layers": report["layers"][:1]}
    )


def test_another_representation(tmp_path):
    """Joint positions, 66 numbers per frame: the report only needs joints."""
    representation = get_representation("positions", HUMANML3D)
    folder = make_folder(tmp_path / "data")
    rng = np.random.default_rng(2)
    for i, length in enumerate(LENGTHS):
        joints = rest_pose(HUMANML3D) + 0.05 * rng.normal(size=(length, 22, 3)).cumsum(0)
        np.save(folder / "new_joint_vecs" / f"c{i}.npy", representation.encode(joints).astype(np.float32))
    np.save(folder / "Mean.npy", np.zeros(66, np.float32))
    np.save(folder / "Std.npy", np.ones(66, np.float32))
    info = {"representation": "positions-66", "skeleton": HUMANML3D.name, "fps": 20.0}
    (folder / "dataset.json").write_text(json.dumps(info))
    vqvae = VQVAE(VQVAEConfig(feature_dim=66, joint_dim=0, codes=32, code_dim=16, width=16, depth=1))
    normalizer = Normalizer(np.zeros(66, np.float32), np.ones(66, np.float32))
    data, tokenizer = MotionDataset(folder), MotionTokenizer(vqvae, normalizer, HUMANML3D, 20.0, representation)
    report = evaluate_vqvae(tokenizer, data)
    assert report["protocol"]["representation"] == "positions-66" and len(report["clips"]) == 4
    with pytest.raises(ValueError, match="the tokenizer has representation humanml3d-263, .* has positions-66"):
        evaluate_vqvae(make_tokenizer(), data)


def make_smplx(folder: Path, frames: list[int]) -> tuple[Path, MotionTokenizer]:
    """Clips c0, c1, ... of 182 SMPL-X parameters with a caption each, in val and train; and a tokenizer for them."""
    rng = np.random.default_rng(0)
    for name in ("new_joint_vecs", "texts"):
        (folder / name).mkdir(parents=True)
    for i, length in enumerate(frames):
        np.save(folder / "new_joint_vecs" / f"c{i}.npy", (0.3 * rng.normal(size=(length, 182))).astype(np.float32))
        (folder / "texts" / f"c{i}.txt").write_text(f"sign {i}#sign/NOUN#0.0#0.0\n")
    for split in ("train", "val"):
        (folder / f"{split}.txt").write_text("\n".join(f"c{i}" for i in range(len(frames))) + "\n")
    representation = get_representation("smplx", HUMANML3D)
    normalizer = Normalizer(np.zeros(182, np.float32), np.full(182, 0.3, np.float32))
    normalizer.save(folder)
    info = {"representation": "smplx-182", "skeleton": HUMANML3D.name, "fps": 20.0}
    (folder / "dataset.json").write_text(json.dumps(info))
    vqvae = VQVAE(VQVAEConfig(feature_dim=182, joint_dim=0, codes=32, code_dim=16, width=16, depth=1))
    vqvae.quantizer.codebook.normal_(std=0.1)
    return folder, MotionTokenizer(vqvae, normalizer, HUMANML3D, 20.0, representation)


def links_of(report: Path) -> set[str]:
    return set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", report.read_text()))


def test_smplx_parameters_by_hand(tmp_path, monkeypatch):
    """Two clips of 12 and 4 frames, 30 and 60 degrees wrong in one of 21 joints, 10 and 30 cm wrong in place."""
    folder, tokenizer = make_smplx(tmp_path / "data", [12, 4])
    columns = tokenizer.representation.groups

    def planted(tokenizer, clips, batch_size, world=None):
        for name, features in clips.items():
            made = torch.from_numpy(features).clone()
            size = {"c0": 1, "c1": 2}[name]
            made[:, columns["transl"]] += {1: 0.1, 2: 0.3}[size]
            turn = made[:, columns["body_pose"]][:, :3]
            turn[:, :] = turn + size * math.pi / 6 * turn / turn.norm(dim=-1, keepdim=True)  # about its own axis
            jaw = made[:, columns["jaw_pose"]]
            jaw[:, :] = jaw * (1 - 2 * math.pi / jaw.norm(dim=-1, keepdim=True))  # the same turn, the other way round
            yield name, torch.zeros(len(features) // 4, 1, dtype=torch.int64), [made]

    monkeypatch.setattr("motiongpt.evaluation.reconstruction.reconstruct", planted)
    report = evaluate_vqvae(tokenizer, MotionDataset(folder), "val")
    metrics = report["metrics"]
    place, angle = (12 * 0.1**2 + 4 * 0.3**2) / 16, (12 * 30 + 4 * 60) / 16
    radians = (12 * (math.pi / 6) ** 2 + 4 * (math.pi / 3) ** 2) / 16
    # float32 features of about 1
    assert metrics["transl_rmse"] == pytest.approx(math.sqrt(place), rel=1e-5)
    assert metrics["body_pose_degrees"] == pytest.approx(angle / 21, rel=1e-4)
    assert metrics["body_pose_rmse"] == pytest.approx(math.sqrt(radians / 63), rel=1e-4)
    assert metrics["jaw_pose_degrees"] == pytest.approx(0, abs=1e-3)
    assert metrics["jaw_pose_rmse"] == pytest.approx(2 * math.pi / math.sqrt(3), rel=1e-4)
    assert metrics["betas_rmse"] == 0 and metrics["left_hand_pose_degrees"] == pytest.approx(0, abs=1e-9)
    whole = (3 * place + radians + 3 * metrics["jaw_pose_rmse"] ** 2) / 182 / 0.3**2
    assert metrics["feature_rmse"] == pytest.approx(math.sqrt(whole), rel=1e-4)
    assert report["shown"]["best"] == "c0" and report["clips"]["c1"]["transl_rmse"] == pytest.approx(0.3, rel=1e-5)


def test_smplx_through_the_script(script, tmp_path):
    """The errors of training agree. Clips are drawn on a stand-in skeleton; all pictures are linked."""
    folder, tokenizer = make_smplx(tmp_path / "data", [40, 33, 21])
    tokenizer.save(tmp_path / "vqvae")
    done = script(
        "evaluate", "--data", folder, "--vqvae", tmp_path / "vqvae", "--split", "val", "--out", tmp_path / "o"
    )
    assert done.code == 0 and "| transl, RMSE (m) |" in done.out, done.err
    pictures = {"codes.png", "best.gif", "median.gif", "worst.gif"}
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"report.json", "report.md"} | pictures
    assert links_of(tmp_path / "o" / "report.md") == pictures
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert "skeleton" not in done.out and report["protocol"]["skeleton"] is None  # parameters of a body, no joints
    theirs = reconstruction_errors(tokenizer, [MotionDataset(folder).features(f"c{i}") for i in range(3)])
    assert report["metrics"]["feature_rmse"] == pytest.approx(theirs["feature_rmse"], rel=1e-4)  # float32 sums
    assert report["codebook"][0]["active"] == theirs["active_codes"] and report["original"] == {}


def test_kit_is_in_metres(tmp_path):
    """251 numbers at 12.5 fps, with joints in millimetres: errors must not come out a thousand times too large."""
    kit = KIT.with_offsets(200 * np.array(KIT.offsets))
    folder = make_folder(tmp_path / "kit", kit)
    (folder / "skeleton.json").write_text(kit.to_json())
    data, tokenizer = MotionDataset(folder), make_tokenizer(kit)
    data.skeleton = kit  # a plain KIT download has no lengths; this one does
    report = evaluate_vqvae(tokenizer, data)
    assert report["protocol"]["fps"] == 12.5
    features = torch.from_numpy(data.features("c0"))[:28]
    assert tokenizer.joints(features).abs().max() < 10  # metres
    assert report["metrics"]["mpjpe_mm"] < 5000


@pytest.mark.slow
def test_script_writes_the_same_bytes_twice(script, folder, tmp_path):
    tokenizer = tmp_path / "vqvae"
    make_tokenizer().save(tokenizer)
    for out in ("one", "two"):
        done = script("evaluate", "--what", "vqvae", "--data", folder, "--vqvae", tokenizer, "--out", tmp_path / out)
        assert done.code == 0, done.err
    assert "N = 4 (all usable clips, 3 dropped)" in done.out and "report.md" in done.out
    assert "dropped c5: 3 frames, shorter than one code" in done.out
    assert {path.name for path in (tmp_path / "one").iterdir()} == FILES
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert report["protocol"]["tokenizer_hash"] == MotionTokenizer.load(tokenizer).hash
    assert all(math.isfinite(value) for value in report["metrics"].values())

    from PIL import Image

    picture = Image.open(tmp_path / "one" / "worst.gif")
    frames = report["clips"][report["shown"]["worst"]]["frames"]
    assert picture.size == (640, 320)
    duration = 0
    for i in range(picture.n_frames):
        picture.seek(i)
        duration += picture.info["duration"]
    assert duration == frames * 50  # 20 fps


@pytest.mark.slow
def test_script_clips(script, folder, tmp_path):
    tokenizer = tmp_path / "vqvae"
    make_tokenizer().save(tokenizer)
    base = ("evaluate", "--data", folder, "--vqvae", tokenizer, "--out", tmp_path / "out")
    done = script(*base, "--clips", 1, "--split", "train")
    assert done.code == 0 and "N = 1 (the first 1 of 2 usable clips, 0 dropped)" in done.out
    assert "skeleton humanml3d-22, representation humanml3d-263" in done.out


def test_the_default_folder_is_inside_work_dir(script, folder, tmp_path, monkeypatch):
    make_tokenizer().save(tmp_path / "vqvae")
    monkeypatch.setenv("WORK_DIR", str(tmp_path / "work"))
    done = script("evaluate", "--data", folder, "--vqvae", tmp_path / "vqvae", "--clips", 1)
    out = tmp_path / "work" / "outputs" / "evaluation"
    assert done.code == 0 and (out / "report.json").is_file() and "(environment: WORK_DIR)" in done.out, done.err


def test_the_hash_is_of_what_was_measured(folder):
    """A changed frame, a NaN and fewer clips change the hash, though statistics and lists are the same."""
    data, seen, path = MotionDataset(folder), [], folder / "new_joint_vecs" / "c1.npy"
    features, whole = np.load(path), data.hash()
    for add in (0, 1, math.nan):
        changed = features.copy()
        changed[9] += add
        np.save(path, changed)
        seen.append(evaluate_vqvae(make_tokenizer(), data)["protocol"]["data_hash"])
    np.save(path, features)
    seen.append(evaluate_vqvae(make_tokenizer(), data, clips=3)["protocol"]["data_hash"])
    assert len(set(seen)) == 4 and data.hash() == whole


def test_training_clips_are_reported_whatever_the_list_is_called(folder):
    (folder / "all.txt").write_text("c1\nc2\nc3\n")
    report = evaluate_vqvae(make_tokenizer(), MotionDataset(folder), "all")
    assert "**Warning: 1 of 3 measured clips are in the training split" in reconstruction_markdown(report)
    (folder / "train.txt").write_text("c0\n")
    assert "Warning" not in reconstruction_markdown(evaluate_vqvae(make_tokenizer(), MotionDataset(folder), "all"))


@for_each("name", TAKEN)
def test_a_folder_of_something_else_is_no_place_for_a_report(name, tmp_path):
    check_report_folder(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"is {TAKEN[name]}; give the evaluation a folder of its own"):
        check_report_folder(tmp_path)


def test_mistakes_end_in_one_line(script, folder, tmp_path):
    tokenizer = tmp_path / "vqvae"
    make_tokenizer().save(tokenizer)
    other = make_tokenizer()
    other.fps = 30.0
    other.save(tmp_path / "other")
    (folder / "empty.txt").write_text("c5\n")
    (folder / "test.txt").rename(folder / "val.txt")
    (tmp_path / "file").write_text("mine")
    base = ("--data", folder, "--vqvae", tokenizer, "--out", tmp_path / "out")
    for args, message in [
        (base[:2], "--what vqvae needs --vqvae"),
        ((*base, "--clips", 0), "--clips must be at least 1, got 0"),
        ((*base, "--batch-size", -1), "--batch-size must be at least 1, got -1"),
        (base, "test.txt is missing: the test split lists one clip id a line; --split val measures others"),
        ((*base, "--split", "empty"), "has no usable clip of at least 4 frames; --split val measures others"),
        ((*base[:4], "--out", folder), "is a data set; give the evaluation a folder of its own"),
        ((*base[:4], "--out", tokenizer), "is a run or a tokenizer; give the evaluation"),
        ((*base, "--repeats", 3, "--glove", folder), "--glove, --repeats have no meaning without an evaluator"),
        ((*base, "--multimodality", 3), "--multimodality has no meaning for --what vqvae"),
        ((*base, "--evaluator", tmp_path, "--perplexity", "all"), "--perplexity has no meaning for --what vqvae"),
        ((*base[:4], "--out", tmp_path / "file"), "is a file, not a folder to write in"),
        ((*base, "--split", "val", "--vqvae", tmp_path / "other"), "the tokenizer has frame rate 30.0"),
        ((*base, "--vqvae", folder), "holds no tokenizer"),
        ((*base, "--data", tmp_path / "no"), "no dataset folder"),
        ((*base, "--stats", folder), "--stats is for the file of another project"),
    ]:
        done = script("evaluate", *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "out").exists() and (tmp_path / "file").read_text() == "mine"


def test_real_motion_capture(shared_data):
    """A folder like a download of HumanML3D, without dataset.json; real clips, an untrained tokenizer."""
    data = MotionDataset(shared_data / "humanml3d_folder")
    report = evaluate_vqvae(make_tokenizer(), data, "test", clips=4)
    assert report["protocol"]["clips"] == 4 and report["protocol"]["usable_clips"] == 31
    assert report["original"]["bone_length_drift"] < 1e-5  # captured with rigid bones; float32
    assert 0 <= report["original"]["foot_skate"] <= 1


def test_files_of_evaluation_build_on_each_other_in_one_direction():
    """Each file imports only from files that the package's docstring lists before it."""
    package = Path(evaluation.__file__).parent
    modules = {path.stem: path for path in package.glob("*.py") if path.stem != "__init__"}
    lines = re.findall(r"^    (\w+(?:, \w+)*)  ", evaluation.__doc__, re.M)
    order = [name for line in lines for name in line.split(", ")]
    assert sorted(order) == sorted(modules)
    for i, name in enumerate(order):
        used = re.findall(r"^ *from motiongpt\.evaluation\.(\w+) import", modules[name].read_text(), re.M)
        assert set(used) <= set(order[:i]), f"{name} imports {sorted(set(used) - set(order[:i]))}"
