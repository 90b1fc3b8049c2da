"""`--config FILE.json`: flags and settings from one file, in our names and in those of earlier projects."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from cases import for_each

from motiongpt.cli.config_file import (
    ANCESTOR_FOLDERS,
    ANCESTOR_NAMES,
    CONFIGS,
    FLAGS,
    NO_EFFECT,
    STAGE_NAMES,
    read_config_file,
)
from motiongpt.files.store import read_json
from motiongpt.stages.recipes import RECIPES, REWARD

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("finetune", "sample", "train_vqvae", "train_evaluator", "train_continuous")
FIELDS = {name for config in CONFIGS for name in config.__dataclass_fields__}
STEPS = ("--max-steps", 2, "--batch-size", 8, "--eval-every", 1000)


def one_line(done, *pieces: object) -> bool:
    return done.code == 2 and done.err.count("\n") == 1 and all(str(piece) in done.err for piece in pieces)


def parser_of(script: str):
    spec = importlib.util.spec_from_file_location(f"script_{script}", ROOT / "scripts" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module.make_parser()


def write(folder: Path, **values) -> Path:
    path = folder / "settings.json"
    path.write_text(json.dumps(values))
    return path


# 1) The table.


def test_the_table_knows_the_flags_of_all_scripts_with_config():
    plain = {name for script in SCRIPTS for name in parser_of(script).plain_flags()}
    assert plain - {"config"} == FLAGS
    others = {path.stem for path in (ROOT / "scripts").glob("*.py")} - set(SCRIPTS)
    assert not any('"--config"' in (ROOT / "scripts" / f"{name}.py").read_text() for name in others)
    names = {stage.name for stages in RECIPES.values() for stage in stages} | {REWARD.name}
    assert set(STAGE_NAMES) == {name.replace("-", "_") for name in names}


def test_every_ancestor_name_becomes_a_flag_that_exists():
    for name, flag in ANCESTOR_NAMES.items():
        stage, _, inside = flag.rpartition(".")
        assert inside in FIELDS | FLAGS and stage in ("", "stage1", "stage2", "stage3"), name
        assert not stage or inside in FIELDS, name
    assert not NO_EFFECT & (set(ANCESTOR_NAMES) | set(ANCESTOR_FOLDERS) | FIELDS | FLAGS)


def test_names_of_the_ancestors(tmp_path):
    """config.py of SignMotionGPT, with its values, as JSON."""
    path = write(
        tmp_path, MODEL_NAME="unsloth/Qwen3-1.7B", MAX_SEQ_LEN=512, BATCH_TRAIN=8, LR=1e-5, EPOCHS_S1=3, EPOCHS_S2=2,
        LORA_R=16, LORA_ALPHA=32, GEN_TEMPERATURE=0.7, DATA_DIR="/there", WORK_DIR="work", DTYPE="bf16",
    )  # fmt: skip
    file = read_config_file(str(path))
    assert file.settings == {
        **{"max_seq_len": 512, "batch_size": 8, "lr": 1e-5, "lora_r": 16, "lora_alpha": 32, "temperature": 0.7}
    }
    assert file.stages == {"1": {"epochs": 3}, "2": {"epochs": 2}}
    places = {name: file.flags[name] for name in ("backbone", "data", "out")}
    assert places == {
        "backbone": "unsloth/Qwen3-1.7B",
        "data": str(Path("/there/motion_llm_dataset.json")),
        "out": str(Path("work/outputs/run")),
    }
    assert file.no_effect == ("DTYPE",)
    # the file itself is more than the folder it usually lies in, wherever it stands
    path = write(tmp_path, DATA_DIR="/there", DATA_JSON_PATH="mine.json")
    assert read_config_file(str(path)).flags["data"] == "mine.json"


@for_each("key", ["stage2", "2", "stage 2", "multitask"])
def test_an_object_of_a_stage(tmp_path, key):
    file = read_config_file(str(write(tmp_path, **{key: {"epochs": 3, "LR": 0.1, "batch-size": 2}})))
    assert list(file.stages.values()) == [{"epochs": 3, "lr": 0.1, "batch_size": 2}] and not file.settings


@for_each(
    "values, message",
    [({"learning_rate": 1}, "called learning_rate (closest: LEARNING_RATE, which is lr)"),
     ({"lora_rank": 1, "bakbone": "x"}, "called bakbone (closest: backbone), lora_rank"),
     ({"stage1": {"epoch": 1}}, "called stage1.epoch (closest: epochs)"),
     ({"stage1": {"data": "x"}}, "called stage1.data"), ({"stage1.epochz": 1}, "called stage1.epochz"),
     ({"EPOCHS_S4": 1}, "called EPOCHS_S4 (closest: EPOCHS_S"), ({"sftt": {}}, "called sftt"), ({"zzzz": 1}, "zzzz;")],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_the_closest(tmp_path, values, message):
    path = write(tmp_path, **values)
    with pytest.raises(ValueError) as error:
        read_config_file(str(path))
    assert message in str(error.value) and str(path) in str(error.value)


# 2) The scripts.


def test_one_file_for_a_training_and_its_sampling(script, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(
        tmp_path, data=str(tiny.data), MODEL_NAME=str(tiny.backbone), out="mine", max_steps=2, BATCH_TRAIN=8,
        eval_every=1000, stage1={"lora_r": 3}, sft={"lr": 0.003}, EPOCHS_S2=1, lr=0.002, run="mine",
        GEN_TEMPERATURE=0.5, stage=1, prompt="a person walks", HF_TOKEN="secret", recipe="signmotiongpt",
    )  # fmt: skip
    done = script("finetune", "--config", path)
    assert done.code == 0, done.err
    first = done.out.splitlines()[0]
    assert f"data {tiny.data}" in first and f"backbone {tiny.backbone} (MODEL_NAME)" in first and "out mine" in first
    assert first.endswith("no effect here: run, GEN_TEMPERATURE, prompt, HF_TOKEN") and "secret" not in done.out
    assert f"lr 0.002 (--config {path})" in done.out and f"lora_r 3 (--config {path}, stage 1)" in done.out
    meta = read_json(Path("mine/stage1/meta.json"))
    assert meta["steps"] == 2
    # a flag wins over the file, and a stage's name is as good as its number; stage 2 gave epochs, not steps
    done = script("finetune", "--config", path, "--stage", "sft", "--lr", 0.004, "--from", "mine/stage1", "--out", "b")
    assert done.code == 0, done.err
    assert "lr 0.004 (flag)" in done.out and "out mine" not in done.out and Path("b/stage3/meta.json").is_file()
    sampled = script("sample", "--config", path, "--run", "b", "--stage", 3, "--output", "x.txt")
    assert sampled.code == 0, sampled.err
    assert f"temperature 0.5 (--config {path})" in sampled.out and Path("x.txt").is_file()


@for_each(
    "values, message",
    [({"data": 3.5, "fresh": "yes"}, "fresh must be true or false, got 'yes'"),
     ({"train": "half"}, "train must be one of lora, full, got 'half'"), ({"data": ["a"]}, "data must be a text"),
     ({"DATA_DIR": 3}, "DATA_DIR must be a text, got 3"),
     ({"tasks": []}, "tasks must not be empty"), ({"fresh": True, "resume": True}, "exclude each other"),
     ({"vqvae_fps": "fast"}, "vqvae_fps must be a number, got 'fast'"), ({"lr": "x"}, "--lr must be a finite number"),
     ({"stage9": {"lr": 1}}, "recipe signmotiongpt has no stage '9'"), ({"codes": "many"}, "codes must be a whole")],
)  # fmt: skip
def test_a_bad_value_is_named_with_the_file(script, tiny, tmp_path, values, message):
    path = write(tmp_path, **{"data": str(tiny.data)} | values)
    done = script("finetune", "--stage", 1, "--config", path, "--out", tmp_path / "run")
    assert one_line(done, message, str(path)), done.err


def test_required_flags_may_come_from_the_file(script, tiny, tmp_path):
    path = write(tmp_path, data=str(tmp_path / "nowhere"), out=str(tmp_path / "out"))
    ask = ("--data", tmp_path / "nowhere", "--out", tmp_path / "out")
    done = script("train_vqvae", "--config", path)
    assert done.code == 2 and "nowhere" in done.err and "are required" not in done.err
    assert "no effect here: stage 1" in script("train_vqvae", "--config", write(tmp_path, stage1={"lr": 1}), *ask).out
    assert "required: --data" in script("train_vqvae", "--config", write(tmp_path, out="x")).err


def test_a_flag_of_the_command_line_turns_its_rival_in_the_file_off(script, tiny, tmp_path):
    path = write(tmp_path, data=str(tiny.data), backbone=str(tiny.backbone), fresh=True)
    done = script("finetune", "--stage", 1, "--config", path, "--out", tmp_path / "run", "--resume", *STEPS)
    assert one_line(done, "nothing unfinished"), done.err


def test_flags_of_the_file_that_a_stage_cannot_use_are_left_out(script, tmp_path):
    """One file serves all stages: --backbone on the command line of a tokenizer stage is an error, in the file not."""
    path = write(tmp_path, backbone="tiny", data=str(tmp_path / "nowhere"))
    ask = ("finetune", "--recipe", "myoskeleton", "--stage", 1, "--config", path, "--out", tmp_path / "run")
    assert "has no meaning" in script(*ask, "--backbone", "tiny").err
    done = script(*ask)
    assert done.code == 2 and "nowhere" in done.err and "has no meaning" not in done.err


def test_the_ancestors_data_set_is_found_where_it_lies(script, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/motion_llm_dataset.json").write_bytes(Path(tiny.data).read_bytes())
    train = ("finetune", "--stage", 1, "--backbone", tiny.backbone, *STEPS)
    done = script(*train)
    assert done.code == 0, done.err
    assert f"--data {Path('data/motion_llm_dataset.json')} (found there" in done.out
    # a named one wins
    assert "motion_llm_dataset" not in script(*train, "--data", tiny.data, "--out", "other").out
