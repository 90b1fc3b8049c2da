"""From flags to stages: fresh folders, a recipe with a tokenizer stage, --debug runs, and what is said about them."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import random_dataset
from conftest import ROOT

from motiongpt.config import TrainConfig
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, read_tensors, write_json
from motiongpt.stages.recipes import RECIPES
from motiongpt.stages.run_folder import finished_stages

pytestmark = pytest.mark.slow  # many small cases and processes: together they take long

FEW = ("--max-steps", 2, "--eval-every", 2, "--batch-size", 8, "--lora-r", 4, "--lora-alpha", 4)


def one_line(done, *pieces: object) -> bool:
    return done.code == 2 and done.err.count("\n") == 1 and all(str(piece) in done.err for piece in pieces)


@pytest.fixture
def data(tmp_path) -> Path:
    """A dataset folder of six random clips."""
    return random_dataset(tmp_path / "data", ["walks"] * 6, training=4)


def test_a_recipe_with_its_own_tokenizer_is_not_trained_on_the_embedded_tokens(script, tiny, tmp_path, data):
    """Their codes are those of the demo's tokenizer, for 22 joints."""
    run = tmp_path / "run"
    command = ("finetune", "--recipe", "myoskeleton", "--stage", 2, "--backbone", tiny.backbone, "--out", run)
    done = script(*command, *FEW)
    assert one_line(done, "recipe myoskeleton", "--stage 1 --data DATASET", "tokenize_motions.py", "--data"), done.err
    assert not run.exists()
    # once the tokenizer is trained, only its tokens are missing
    shutil.copytree(tiny.vqvae, run / "vqvae")
    write_json(run / "vqvae" / "meta.json", {"stage": 1, "name": "tokenizer", "recipe": "myoskeleton"})
    done = script(*command, *FEW)
    assert one_line(done, f"--vqvae {run}/vqvae --out {run}/tokens.json") and "--stage 1" not in done.err, done.err
    # and the command that writes them names the stage that comes next, in the same run
    for vqvae in (run / "vqvae", run):
        done = script("tokenize_motions", "--data", data, "--vqvae", vqvae, "--out", run / "tokens.json")
        expected = f"--recipe myoskeleton --stage 2 --data {run}/tokens.json --out {run}"
        assert done.code == 0 and done.out.splitlines()[-1] == f"next: python scripts/finetune.py {expected}", done.err
    done = script(*command, *FEW)
    assert done.code == 0, done.err
    assert "stage 2 of 3: pretrain" in done.out and f"{run}/tokens.json: 6 entries" in done.out
    done = script("tokenize_motions", "--data", data, "--vqvae", tiny.vqvae, "--out", tmp_path / "t.json")
    assert done.out.splitlines()[-1].endswith(f"--stage 1 --data {tmp_path}/t.json --vqvae {tiny.vqvae}")


def test_a_debug_run_is_no_default(script, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = ("--data", tiny.data, "--backbone", tiny.backbone, "--vqvae", tiny.vqvae, *FEW)
    assert script("finetune", "--stage", 1, "--debug", *train).code == 0
    assert script("finetune", "--stage", 2, "--debug", *train).code == 0
    assert read_json(Path("outputs/run/stage2/meta.json"))["debug"] is True
    # a caption of both, so that neither has to read it
    ask = ("sample", "--prompt", "a person walks forward", "--output", "w.txt", "--max-new-tokens", 4)
    done = script(*ask)
    lines = done.out.splitlines()
    assert done.code == 0 and "note: outputs/run is a --debug run, so this is the demo" in lines[0], done.err
    demo = read_json(ROOT / "checkpoints" / "demo" / "stage3" / "meta.json")
    trained = f"{demo['steps']} steps on tokens.json, validation loss {demo['losses']['best_val_loss']:.2f}"
    assert f"checkpoints/demo, stage 3 (sft), {trained}" in lines[1]
    named = script(*ask, "--run", "outputs/run").out.splitlines()[0]
    assert named.startswith("run outputs/run, stage 2 (multitask), 2 steps") and "a --debug run" in named
    assert "--debug run" in script("render", "--tokens", "1 2 3", "--output", "w.png", "--size", 64).out
    # a stage in full is the default, and what it went on from is said
    done = script("finetune", "--stage", "all", *train)
    skipped = "is finished in outputs/run/stage1 by a --debug run; skipped (--fresh trains it in full)"
    assert f"stage 1 (motion-lm) {skipped}" in done.out
    assert "outputs/run/stage2 is of a --debug run; --stage 2 --fresh trains it in full" in done.err
    assert "debug" not in read_json(Path("outputs/run/stage3/meta.json"))
    assert script(*ask).out.startswith("run outputs/run, stage 3 (sft), 2 steps on tokens.json")
    # stage 1 in full writes no motion, and the only one that does is of --debug
    shutil.rmtree("outputs/run/stage3")
    assert script("finetune", "--stage", 1, "--fresh", *train).code == 0
    assert "outputs/run is a --debug run, so this is the demo" in script(*ask).out
    # stages 2 in full and 3 of --debug
    assert script("finetune", "--stage", 2, "--fresh", *train).code == 0
    assert script("finetune", "--stage", 3, "--debug", *train).code == 0
    assert script(*ask).out.startswith("run outputs/run, stage 2 (multitask), 2 steps on tokens.json")


def test_a_debug_run_shows_every_setting_others_only_what_was_chosen(script, tiny, tmp_path):
    train = ("finetune", "--stage", 1, "--data", tiny.data, "--backbone", tiny.backbone, *FEW)
    short = script(*train, "--out", tmp_path / "a").out
    assert "batch_size 8 (flag)" in short and "default: " not in short and "beta1" not in short
    assert max(map(len, short.splitlines())) < 400
    assert "beta1 0.9" in script(*train, "--out", tmp_path / "b", "--debug").out
    known = read_json(tmp_path / "a" / "config.json")
    assert known["TrainConfig"]["beta1"] == 0.9  # nothing is lost


def test_a_bad_value_in_somebodys_file_names_the_file(script, tiny, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"lora_r": 0}))
    done = script("finetune", "--stage", 1, "--data", tiny.data, "--config", path, "--out", tmp_path / "run")
    assert one_line(done, "--lora-r must be at least 1, got 0", f"(--config {path})"), done.err
    assert one_line(script("sample", "--prompt", "x", "--run", tiny.run, "--pid", "P9"), "P0, P1, P2")
    for slope in ("inf", "nan", "1e300", "-1"):
        done = script("sample", "--prompt", "x", "--run", tiny.run, "--end-logit-slope", slope)
        assert one_line(done, "--end-logit-slope must be ", f"{float(slope)}"), done.err


def test_a_stage_that_stays_worse_than_chance_says_so(script, tiny, tmp_path):
    """Chance is known for motion only: ln(codes). One that learns, one that writes text, and --debug are silent."""
    train = ("finetune", "--data", tiny.data, "--backbone", tiny.backbone, "--batch-size", 8, "--grad-accum", 1)
    still = (*train, "--lr", 1e-7, "--max-steps", 2)
    done = script(*still, "--stage", 2, "--out", tmp_path / "still")
    assert done.code == 0 and "a uniform guess over the 32 codes costs 3.47 nats per code" in done.out, done.err
    warning = done.err.splitlines()[-1]
    assert warning.startswith("warning: stage 2 has not learnt to write motion: validation ") and "m2t" not in warning
    assert "over 32 codes costs 3.47" in warning and "a higher --lr" in warning
    losses = read_json(tmp_path / "still" / "stage2" / "meta.json")["losses"]
    named = [task for task in ("t2m", "denoise") if f"{task} {losses.get(f'val_{task}', 0):.2f}" in warning]
    assert named and all(losses[f"val_{task}"] > math.log(32) for task in named)

    silent = {
        "learns": (*train, "--stage", 3, "--lr", 0.03, "--max-steps", 30, "--eval-every", 10),
        "text": (*still, "--stage", 2, "--tasks", "m2t"),
        "debug": (*still, "--stage", 1, "--debug"),
    }
    for name, command in silent.items():
        done = script(*command, "--out", tmp_path / name)
        assert done.code == 0 and "has not learnt" not in done.err, (name, done.err)
        assert ("uniform guess" in done.out) == (name != "text")


def test_a_stage_begun_with_former_defaults_is_resumed_with_them(script, tiny, tmp_path):
    """The command that began it, without the values that the recipe has changed since; a flag of today still wins."""
    run, published = tmp_path / "run", RECIPES["signmotiongpt-paper"][0].values
    short = {"max_steps": 3, "save_every": 1, "eval_every": 1}
    with pytest.raises(KeyboardInterrupt):
        tiny.finetune(run, killed_after=9, config=TrainConfig(**published | short))
    again = ("finetune", "--stage", 1, "--data", tiny.data, "--backbone", tiny.backbone, "--out", run,
             "--max-steps", 3, "--lora-r", 4, "--lora-alpha", 4)  # fmt: skip
    done = script(*again, "--lr", 0.5)
    assert one_line(done, "other settings (--lr 1e-05 there, 0.5 here)"), done.err
    done = script(*again, "--resume")
    assert done.code == 0, done.err
    assert f"lr 1e-05 (begun so in {run / 'stage1'})" in done.out and "resumed at step 1 of 3" in done.out
    assert read_json(run / "config.json")["TrainConfig"]["lr"] == published["lr"]
    done = script(*again, "--fresh", "--max-steps", 1)
    assert done.code == 0 and "begun so" not in done.out, done.err
    assert read_json(run / "config.json")["TrainConfig"]["lr"] == RECIPES["signmotiongpt"][0].values["lr"]


SMALL = ("--width", 8, "--code-dim", 8, "--codes", 8, "--depth", 1, "--window", 16)


def tokens_of(run: Path) -> tuple[int, str]:
    """The codebook of the run's tokens, and the tokenizer that wrote them."""
    meta = read_json(run / "tokens.meta.json")
    return meta["codes"], meta["vqvae"]


def test_all_stages_on_a_dataset_folder_train_the_tokenizer_first(script, tiny, tmp_path, data):
    """A recipe without a stage for it too; its settings may be in --config, under its name."""
    run = tmp_path / "run"
    write_json(tmp_path / "c.json", {"epochs": 1, "tokenizer": {"max_steps": 2}, "sft": {"max_steps": 3}})
    command = ("finetune", "--stage", "all", "--data", data, "--backbone", tiny.backbone, "--out", run)
    few = ("--eval-every", 2, "--batch-size", 4, "--config", tmp_path / "c.json")
    first = (*command, *SMALL, *few)
    done = script(*first, "--dry-run")
    assert done.code == 0 and not run.exists(), done.err
    assert "then: stage 1 (motion-lm), 2 (multitask), 3 (sft)" in done.out
    done = script(*first)
    assert done.code == 0, done.err
    assert "recipe signmotiongpt, before stage 1 of 3: tokenizer (VQ-VAE), into" in done.out
    assert f"{run}/tokens.json: 6 entries, codebook of 8" in done.out
    # one step a stage is too little to write motion, and nothing else is wrong
    warnings = [line for line in done.err.splitlines() if "warning" in line]
    assert all(" has not learnt to write motion: " in line for line in warnings), done.err
    meta = read_json(run / "vqvae" / "meta.json")
    assert (meta["recipe"], meta["name"], meta["stage"], meta["steps"]) == ("signmotiongpt", "tokenizer", 0, 2)
    assert tokens_of(run) == (8, file_hash(run / "vqvae" / "model.safetensors"))
    stages = finished_stages(run)
    assert [stage["steps"] for stage in stages.values()] == [1, 1, 3]
    assert [stage["name"] for stage in stages.values()] == ["motion-lm", "multitask", "sft"]
    assert all(stage["data"]["file"] == "tokens.json" for stage in stages.values())
    assert script("sample", "--run", run, "--prompt", "walks", "--output", tmp_path / "m.npy").code == 0
    assert np.load(tmp_path / "m.npy").shape[1:] == (22, 3)

    # again: all is skipped; what was removed is made again, from the same tokenizer
    shutil.rmtree(run / "stage3")
    before = (run / "vqvae" / "model.safetensors").read_bytes(), (run / "stage2" / "meta.json").read_bytes()
    done = script(*first)
    assert done.code == 0, done.err
    for line in ("the tokenizer is finished in", "tokens.json holds", "stage 2 (multitask) is finished in"):
        assert line in done.out
    assert before == ((run / "vqvae" / "model.safetensors").read_bytes(), (run / "stage2" / "meta.json").read_bytes())
    assert set(finished_stages(run)) == {1, 2, 3}
    # a stage that was removed is trained from the run's own tokens too
    shutil.rmtree(run / "stage3")
    done = script("finetune", "--stage", 3, "--out", run, *FEW[:6])
    assert done.code == 0 and f"{run}/tokens.json: 6 entries, codebook of 8" in done.out, done.err
    assert one_line(script(*first, "--resume"), "nothing unfinished; every stage is finished")
    # other sizes, or another tokenizer, contradict it; --fresh trains everything again
    assert one_line(script(*command, *few, "--codes", 16), "was trained with --codes 8; --fresh trains it again")
    assert one_line(script(*command, *FEW, "--vqvae", tiny.vqvae), "was trained in this run", "another --out")
    assert tokens_of(run)[0] == 8
    done = script(*command, *SMALL, *few, "--max-steps", 1, "--codes", 16, "--fresh")
    assert done.code == 0 and "skipped" not in done.out, done.err
    assert tokens_of(run)[0] == 16 and {s["codes"] for s in finished_stages(run).values()} == {16}


def test_it_is_the_tokenizer_that_train_vqvae_would_make(script, tiny, tmp_path, data):
    few = ("--data", data, *SMALL, "--max-steps", 2, "--eval-every", 2)
    assert script("train_vqvae", *few, "--out", tmp_path / "vq").code == 0
    done = script("finetune", "--stage", "all", *few, "--backbone", tiny.backbone, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert file_hash(tmp_path / "run" / "vqvae" / "model.safetensors") == file_hash(tmp_path / "vq/model.safetensors")


def test_a_tokenizer_goes_on_from_another_one(script, tiny, tmp_path, data):
    """With its weights, shape and statistics; --lr so small that a step changes next to nothing."""
    first, second = tmp_path / "first", tmp_path / "second"
    few = ("--data", data, "--max-steps", 1, "--eval-every", 1)
    assert script("train_vqvae", *few, *SMALL, "--out", first).code == 0
    mean = np.load(first / "Mean.npy") + 1  # not that of the data
    np.save(first / "Mean.npy", mean)
    config = read_json(first / "config.json")
    config["hashes"].pop("Mean.npy")
    write_json(first / "config.json", config)
    done = script("train_vqvae", *few, "--from", first, "--part-weights", "head=1", "--lr", 1e-12, "--out", second)
    assert done.code == 0 and f"(tokenizer in {first})" in done.out, done.err
    before, after = (read_tensors(folder / "model.safetensors") for folder in (first, second))
    assert before.keys() == after.keys()
    for name in before:
        if "coder" in name:  # the codebook follows the batches, whatever the rate
            torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-9)
    assert np.array_equal(np.load(second / "Mean.npy"), mean)
    assert read_json(second / "config.json")["VQVAEConfig"]["part_weights"] == "head=1"
    done = script("train_vqvae", *few, "--from", first, "--width", 24, "--out", tmp_path / "third")
    assert one_line(done, f"{first} has another shape (width ", "leave these flags out"), done.err


def test_a_killed_tokenizer_of_all_stages_continues(script, tiny, tmp_path, data):
    run = tmp_path / "run"
    few = ("--max-steps", 1, "--eval-every", 1, "--batch-size", 4)
    first = ("finetune", "--stage", "all", "--data", data, "--backbone", tiny.backbone, "--out", run, *SMALL, *few)
    done = script(*first, "--max-minutes", 1e-7)
    assert done.code == 0 and "time is up" in done.out and not (run / "tokens.json").exists()
    assert (run / "vqvae" / "metrics.jsonl").exists()
    done = script(*first)
    assert done.code == 0 and set(finished_stages(run)) == {1, 2, 3}, done.err


def test_all_stages_on_a_dataset_folder_with_a_tokenizer(script, tiny, tmp_path, data):
    """It is only used: the data is written in its codes, and the run keeps it."""
    run = tmp_path / "run"
    command = ("finetune", "--data", data, "--backbone", tiny.backbone, "--out", run, "--vqvae", tiny.vqvae, *FEW)
    whole = (*command, "--stage", "all")
    assert one_line(script(*whole, "--width", 8), "--width has no meaning here: no tokenizer is trained")
    done = script(*whole, "--dry-run")
    assert done.code == 0 and "would write" in done.out and not run.exists(), done.err
    for line in (f"wrote {run}/tokens.json", f"{run}/tokens.json holds {data} in the tokens of"):
        done = script(*whole)
        assert done.code == 0 and line in done.out, done.err
    assert "VQ-VAE" not in done.out and "stage 3 (sft) is finished" in done.out
    kept = file_hash(run / "vqvae" / "model.safetensors")
    assert tokens_of(run) == (32, kept) and kept == file_hash(tiny.vqvae / "model.safetensors")
    assert set(finished_stages(run)) == {1, 2, 3}
    done = script(*(word for word in whole if word not in ("--vqvae", tiny.vqvae)))
    assert one_line(done, "learnt the codes of another tokenizer; use that one with --vqvae, or --stage all --fresh")
    # a single stage reads tokens only, and says which command makes them
    done = script(*command, "--stage", 1, "--fresh")
    assert one_line(done, "is a folder", f"--recipe signmotiongpt --stage all --data {data}"), done.err


@pytest.mark.parametrize("name", ["__init__.py", ".git", "dataset.json", "new_joint_vecs"])
def test_a_folder_that_is_something_else_is_no_run(script, tiny, tmp_path, data, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).mkdir() if name in (".git", "new_joint_vecs") else (out / name).write_text("{}")
    train = ("--backbone", tiny.backbone, "--out", out, *FEW)
    for command in (
        ("--stage", 1, "--data", tiny.data),
        ("--stage", "all", "--data", data),
        ("--stage", "all", "--data", data, "--vqvae", tiny.vqvae),
    ):
        done = script("finetune", *command, *train)
        assert one_line(done, f"--out {out} is no run (no config.json) and holds {name}; give another"), done.err
    done = script("finetune", "--recipe", "myoskeleton", "--stage", 1, "--data", data, "--out", out)
    assert one_line(done, f"holds {name}")
    if name != ".git":  # a repository may well hold one tokenizer
        assert one_line(script("train_vqvae", "--data", data, "--out", out), f"--out {out} is a ")
    assert [path.name for path in out.iterdir()] == [name]
