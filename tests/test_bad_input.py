"""Wrong commands and broken files give exit code 2 and one line on stderr that names the fault, no traceback.

The wrong commands are in tests/invocations.py.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from invocations import WRONG

pytestmark = pytest.mark.slow  # many small cases: together they take long


def check(done, message: str) -> None:
    assert done.code == 2, (done.code, done.out, done.err)
    assert done.err.count("\n") == 1 and done.err.endswith("\n"), done.err
    assert "Traceback" not in done.out + done.err
    assert message in done.err, done.err


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working directory: without an outputs/run there is no default run."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("command, message", WRONG, ids=[f"{i:03} {command}" for i, (command, _) in enumerate(WRONG)])
def test_a_wrong_command_is_one_line(script, tiny, here, command, message):
    name, *args = command.split()
    done = script(name, *(arg.format(world=tiny.folder, here=here) for arg in args))
    check(done, message.format(world=tiny.folder, here=here))
    assert not (here / "out").exists() and not (here / "x").exists(), "a refused command left something behind"


def test_there_are_enough_of_them():
    assert len(WRONG) >= 60 and len({command for command, _ in WRONG}) == len(WRONG)


# 1) Broken files. Each test breaks one thing in a copy.


@pytest.fixture
def copy(tiny, here) -> Path:
    """A copy of the tiny world in the working directory."""
    for name in ("backbone", "run", "vqvae"):
        shutil.copytree(tiny.folder / name, here / name)
    for name in ("tokens.json", "tokens.meta.json"):
        shutil.copyfile(tiny.folder / name, here / name)
    return here


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 100)


@pytest.mark.parametrize("damage", [cut, scramble, Path.unlink])
@pytest.mark.parametrize(
    "name",
    [
        "run/config.json",
        "run/prompts.json",
        "run/stage1/adapter_model.safetensors",
        "run/stage1/adapter_config.json",
        "run/stage1/meta.json",
        "run/vqvae/model.safetensors",
        "run/vqvae/config.json",
        "run/vqvae/Mean.npy",
        "backbone/model.safetensors",
        "backbone/config.json",
    ],
)
def test_sampling_from_a_damaged_run_names_the_file(script, copy, name, damage):
    damage(copy / name)
    done = script("sample", "--prompt", "walk", "--run", "run", "--output", "x.npy")
    if damage is Path.unlink and name in ("run/stage1/adapter_model.safetensors", "run/stage1/meta.json"):
        check(done, "no finished stage")
    elif damage is Path.unlink and name == "run/stage1/adapter_config.json":
        check(done, "config.json")  # without an adapter it can only be a full stage
    else:
        check(done, Path(name).name)


@pytest.mark.parametrize("damage", [cut, scramble])
@pytest.mark.parametrize("place", ["run", "backbone"])
def test_a_damaged_text_tokenizer_is_named(script, copy, place, damage):
    """The run's own is read first; older runs use the backbone's."""
    if place == "backbone":
        (copy / "run" / "tokenizer.json").unlink()
    damage(copy / place / "tokenizer.json")
    check(script("sample", "--prompt", "walk", "--run", "run", "--output", "x.npy"), f"{place}/tokenizer.json")


@pytest.mark.parametrize("damage", [cut, scramble])
@pytest.mark.parametrize(
    "name", ["tokens.json", "tokens.meta.json", "backbone/model.safetensors", "backbone/tokenizer.json"]
)
def test_training_on_damaged_files_names_the_file(script, copy, name, damage):
    damage(copy / name)
    stage = ("finetune", "--stage", 1, "--data", "tokens.json", "--backbone", "backbone", "--out", "new")
    done = script(*stage, "--max-steps", 1, "--eval-every", 1)
    check(done, Path(name).name)
    assert not (copy / "new").exists()


def test_weights_of_another_shape_name_the_tensor(script, copy):
    config = json.loads((copy / "backbone/config.json").read_text())
    (copy / "backbone/config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    check(script("sample", "--prompt", "walk", "--run", "run"), "the model has")
    (copy / "backbone/config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    check(script("sample", "--prompt", "walk", "--run", "run"), "model_type 'bert' is not supported")


def test_a_run_that_moved_without_its_backbone(script, copy):
    shutil.rmtree(copy / "backbone")
    check(
        script("sample", "--prompt", "walk", "--run", "run"), "run/stage1 was trained on backbone, which is not there"
    )


def test_a_stage_that_is_not_finished(script, copy):
    meta = json.loads((copy / "run/stage1/meta.json").read_text())
    (copy / "run/stage1/meta.json").write_text(json.dumps(meta | {"finished": False}))
    check(script("sample", "--prompt", "walk", "--run", "run"), "has no finished stage; scripts/finetune.py --out run")


@pytest.mark.parametrize(
    "content, message",
    [
        ("[]", "non-empty JSON list"),
        ('[{"text_query": "a", "motion_tokens": "1"}]', "needs train and val entries, has 1 and 0"),
        ('[{"text_query": "a", "motion_tokens": "1"},\n{"text_query": "b"}]', "entry 1: motion_tokens"),
        ('[{"text_query": "a", "motion_tokens": "1"},\n// two\n{"text_query": "b"}]', "JSON has no comments, line 2"),
        ('[{"text_query": "", "motion_tokens": "1"}]', "entry 0: text_query is missing or empty"),
        (json.dumps([{"text_query": "a" * 10_000, "motion_tokens": "1"}]), "10000 characters"),
        ('[{"text_query": "a", "motion_tokens": "32"}, {"text_query": "b", "motion_tokens": "1"}]', "motion code 32"),
    ],
)
def test_token_data_that_cannot_be_trained_on(script, copy, content, message):
    (copy / "tokens.json").write_text(content)
    meta = json.loads((copy / "tokens.meta.json").read_text())
    del meta["tokens"]  # the hash of the file as it was
    (copy / "tokens.meta.json").write_text(json.dumps(meta))
    done = script("finetune", "--stage", 1, "--data", "tokens.json", "--backbone", "backbone", "--out", "new")
    check(done, message)
    assert not (copy / "new").exists()


@pytest.mark.parametrize(
    "prompt, message",
    [("", "the prompt is empty"), ("  ", "the prompt is empty"), ("walk \udcff", "not Unicode at character 5"),
     ("a" * 10_001, "10001 characters, at most 10000"), ("a" * 10_000, "the model has 1024 positions")],
)  # fmt: skip
def test_prompts_that_cannot_be_read(script, tiny, here, prompt, message):
    check(script("sample", "--run", tiny.run, "--prompt", prompt), message)
    assert not (here / "outputs").exists()


# 2) Broken motions.


def write_npy(path: Path, array) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((10, 5, 3), np.float32), "not a motion"),
        (np.zeros((10, 264), np.float32), "or features (F, 263) of this tokenizer, got float32 (10, 264)"),
        (np.zeros((0, 22, 3), np.float32), "not a motion"),
        (np.full((10, 22, 3), np.nan, np.float32), ""),
        (np.array(["a"]), "or features (F, 263) of this tokenizer, got <U1 (1,)"),
    ],
)
def test_render_refuses_what_is_no_motion(script, here, array, message):
    write_npy(here / "m.npy", array)
    check(script("render", "--input", "m.npy", "--size", 64), message)
    assert not (here / "m.gif").exists()


@pytest.mark.parametrize("name, content", [("m.npy", b"not an array"), ("m.npz", b"PK\x03\x04broken"), ("m.npy", b"")])
def test_render_refuses_files_that_are_broken(script, here, name, content):
    (here / name).write_bytes(content)
    check(script("render", "--input", name), name)


def test_an_array_of_objects_is_never_unpickled(script, here):
    np.save(here / "m.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    check(script("render", "--input", "m.npy"), "m.npy")


@pytest.mark.parametrize("content", ["", "<MOT_BEGIN><MOT_END>", "hello there", "99 1"])
def test_describe_refuses_what_is_no_motion(script, tiny, here, content):
    (here / "t.txt").write_text(content)
    done = script("sample", "--run", tiny.run, "--input", "t.txt")
    assert done.code == 2 and "which is --task m2t" in done.err
    done = script("sample", "--task", "m2t", "--run", tiny.run, "--input", "t.txt")
    check(done, {"hello there": "not a motion token", "99 1": "code 99 is outside"}.get(content, "nothing to describe"))


def test_describe_names_a_npy_of_other_joints(script, tiny, here):
    write_npy(here / "m.npy", np.zeros((8, 17, 3), np.float32))
    done = script("sample", "--task", "m2t", "--run", tiny.run, "--input", "m.npy")
    check(done, "expected joints (F, 22, 3) or features (F, 263) of this tokenizer, got float32 (8, 17, 3)")


# 3) Broken datasets.


@pytest.fixture
def joints(here) -> Path:
    """A folder of 20 sound clips, as `--from joints` reads it."""
    from motiongpt.procedural.clips import generate_clips

    (here / "in/joints").mkdir(parents=True)
    (here / "in/texts").mkdir()
    clip = next(generate_clips(1)).joints
    for i in range(20):
        np.save(here / f"in/joints/{i}.npy", clip)
        (here / f"in/texts/{i}.txt").write_text("a person moves\n")
    (here / "in/train.txt").write_text("\n".join(map(str, range(18))))
    (here / "in/val.txt").write_text("18\n19\n")
    return here / "in"


@pytest.mark.parametrize(
    "array",
    [np.full((50, 22, 3), np.nan, np.float32), np.zeros((50, 21, 3), np.float32), np.zeros((3, 22, 3), np.float32)],
    ids=["NaN frames", "wrong joint count", "too short"],
)
def test_prepare_skips_counts_and_lists_a_bad_clip(script, joints, here, array):
    write_npy(joints / "joints/3.npy", array)
    done = script("prepare", "--from", "joints", "--input", joints, "--out", "data")
    assert done.code == 0, done.err
    assert "3" in json.dumps(json.loads((here / "data/report.json").read_text()))
    assert "3" not in (here / "data/train.txt").read_text().split()
    assert np.isfinite(np.load(here / "data/Mean.npy")).all()


def test_prepare_stops_where_more_than_five_percent_are_bad(script, joints, here):
    for i in range(2):
        write_npy(joints / f"joints/{i}.npy", np.zeros((50, 21, 3), np.float32))
    done = script("prepare", "--from", "joints", "--input", joints, "--out", "data")
    assert done.code == 1 and done.err.count("\n") == 1 and "2 of 20 records cannot be used" in done.err


@pytest.fixture
def dataset(script, joints, here) -> Path:
    done = script("prepare", "--from", "joints", "--input", joints, "--out", "data")
    assert done.code == 0, done.err
    return here / "data"


@pytest.mark.parametrize("name", ["Mean.npy", "Std.npy", "dataset.json", "train.txt"])
def test_a_dataset_that_lacks_or_breaks_a_file_names_it(script, dataset, tiny, name):
    args = ("tokenize_motions", "--data", dataset, "--vqvae", tiny.vqvae, "--out", "t.json")
    if name != "train.txt":
        scramble(dataset / name)
        check(script(*args), name)
    (dataset / name).unlink()
    if name != "dataset.json":  # a plain HumanML3D download has none
        check(script(*args), name)
    assert not Path("t.json").exists()


def test_statistics_of_another_width(script, dataset, tiny):
    for name in ("Mean.npy", "Std.npy"):
        np.save(dataset / name, np.ones(100, np.float32))
    done = script("tokenize_motions", "--data", dataset, "--vqvae", tiny.vqvae, "--out", "t.json")
    check(done, "100")


def test_clips_with_nan_are_dropped_and_listed_never_averaged_in(script, dataset, tiny):
    path = dataset / "new_joint_vecs/4.npy"
    features = np.load(path)
    features[7, 3] = np.nan
    np.save(path, features)
    done = script("tokenize_motions", "--data", dataset, "--vqvae", tiny.vqvae, "--out", "t.json")
    assert done.code == 0 and "dropped 1: not finite or malformed" in done.out
    assert "4" not in {entry["id"] for entry in json.loads(Path("t.json").read_text())}


def test_a_tokenizer_without_validation_clips_is_not_trained(script, dataset):
    (dataset / "val.txt").write_text("")
    done = script("train_vqvae", "--data", dataset, "--out", "vq", "--width", 8, "--code-dim", 8, "--codes", 4)
    check(done, "val")


def test_a_shipped_tokenizer_is_not_overwritten(script, dataset, copy):
    before = (copy / "vqvae/model.safetensors").read_bytes()
    done = script("train_vqvae", "--data", dataset, "--out", "vqvae", "--max-steps", 1, "--width", 8, "--codes", 4)
    check(done, "--fresh replaces it")
    assert (copy / "vqvae/model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "args, message", [(["--grad-accum", 2], "--grad-accum must be 1, got 2"), (["--codes", 0], "--codes must be at")]
)
def test_the_tokenizer_stage_of_a_recipe_refuses_values(script, dataset, args, message):
    stage = ("finetune", "--recipe", "myoskeleton", "--stage", 1, "--data", dataset, "--out", "new")
    check(script(*stage, *args), message)
    assert not Path("new").exists()


def test_a_tokenizer_trained_in_a_run_is_not_replaced(script, dataset, tiny):
    """Not by training it again under finished stages, not by tokens of another tokenizer, not by another recipe."""
    small = "--max-steps 1 --eval-every 1 --width 8 --code-dim 8 --codes 8 --depth 1".split()
    out = ("--out", "new", "--recipe", "myoskeleton")
    done = script("finetune", "--stage", "all", "--data", dataset, "--backbone", tiny.backbone, *out, *small)
    assert done.code == 0, done.err
    before = Path("new/vqvae/model.safetensors").read_bytes()
    again = ("finetune", "--stage", 1, "--data", dataset, *out, *small)
    check(script(*again), "new/vqvae is finished; --fresh trains it again")
    check(script(*again, "--fresh"), "stage2, stage3 of new learnt the codes of another tokenizer")
    other = ("--vqvae", tiny.vqvae, "--data", tiny.data)
    check(script("finetune", "--stage", 2, "--fresh", *other, *out), "new/vqvae was trained in this run")
    shutil.rmtree("new/stage2")
    shutil.rmtree("new/stage3")
    for name in ("config.json", "prompts.json", "tokenizer.json"):
        Path("new", name).unlink()
    check(script("finetune", "--stage", 2, "--backbone", tiny.backbone, *other, *out), "was trained in this run")
    check(script("finetune", "--stage", 1, *other, "--out", "new"), "is a run of recipe myoskeleton")
    assert Path("new/vqvae/model.safetensors").read_bytes() == before


def test_sentences_in_another_encoding_are_named(script, tiny, here):
    (here / "p.txt").write_bytes("he sits\n".encode("utf-16"))
    check(script("sample", "--run", tiny.run, "--prompt", "p.txt"), "--prompt p.txt is not UTF-8 text")


def test_a_window_shorter_than_a_code(script, dataset):
    check(script("train_vqvae", "--data", dataset, "--out", "vq", "--window", 3), "--window must be at least 4 frames")
