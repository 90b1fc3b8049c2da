"""The commands people type: the whole chain at tiny size, and what each one prints."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import for_each

from motiongpt.data.spelling import fold
from motiongpt.data.tokens import load_tokens
from motiongpt.stages.model import load_run

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
TINY_VQVAE = (
    "--width 16 --code-dim 16 --codes 24 --depth 1 --window 32 --batch-size 8 --max-steps 4 --eval-every 2".split()
)
SHORT = "--max-steps 2 --eval-every 2 --batch-size 8 --lora-r 4 --lora-alpha 4".split()


# 1) Help.


@for_each("name", NAMES)
def test_help_says_what_it_is_and_its_defaults(script, name):
    done = script(name, "--help")
    assert done.code == 0 and done.err == ""
    assert "python scripts/" in done.out and "--debug" in done.out
    if name != "ship":
        assert "default" in done.out


def test_help_shows_the_defaults_of_the_script(script):
    from motiongpt.config import VQVAEConfig
    from motiongpt.stages.recipes import DEMO_VALUES, RECIPES

    text = " ".join(script("train_vqvae", "--help").out.split())
    assert "forward pass (default: 128)" in text and "peak learning rate (default: 0.0002)" in text
    text = " ".join(script("finetune", "--help").out.split()).split(" options: ")[1]
    assert (
        "forward pass (default: the recipe's, else 8)" in text and "AdamW beta 1, 0 to below 1 (default: 0.9)" in text
    )
    layers = [DEMO_VALUES, *(values for stages in RECIPES.values() for s in stages for values in (s.values, s.demo))]
    for name in {name for layer in layers for name in layer}:
        flag = "--" + name.replace("_", "-")
        if name in VQVAEConfig.__dataclass_fields__:
            continue  # the recipe's are the dataclass's own
        assert text.split(f" {flag} ")[1].split("(default: ")[1].startswith("the recipe's, else "), flag


def test_every_setting_of_training_is_a_flag(script):
    from motiongpt.config import LoRAConfig, SampleConfig, TrainConfig, VQVAEConfig, flag_name

    derived = {"feature_dim", "joint_dim"}  # read off the data
    for name, configs in (("finetune", (TrainConfig, LoRAConfig, VQVAEConfig)), ("sample", (SampleConfig,)),
                          ("train_vqvae", (VQVAEConfig,))):  # fmt: skip
        text = script(name, "--help").out
        for config in configs:
            for field in set(config.__dataclass_fields__) - derived:
                assert flag_name(field) + " " in text, f"{name} has no {flag_name(field)}"


@pytest.mark.slow
def test_a_script_runs_from_anywhere_as_a_program(tmp_path):
    """In a subprocess: scripts put their checkout on the path, whatever the working directory."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "finetune.py", "--list"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines()[1].split() == "signmotiongpt 2 multitask t2m 50 %, m2t 30 %, denoise 20 %".split()


# 2) The chain, once per worker; then what each step said and wrote.


@pytest.fixture(scope="module")
def chain(script, tmp_path_factory) -> dict:
    """Every command from nothing to three trained stages, by name; they run in a folder of their own, `place`."""
    place, home, done = tmp_path_factory.mktemp("chain"), os.getcwd(), {}
    data, backbone = ("--data", "tokens.json"), ("--backbone", "bb/stage1")
    steps = {
        "prepare": ("prepare", "--from", "procedural", "--count", 40, "--out", "data"),
        "vqvae": ("train_vqvae", "--data", "data", "--out", "vq", *TINY_VQVAE),
        "tokenize": ("tokenize_motions", "--data", "data", "--vqvae", "vq", "--out", "tokens.json"),
        "captions": ("finetune", "--recipe", "captions", "--stage", "captions", "--train", "full", "--backbone", "tiny",
                     *data, "--out", "bb", "--max-steps", 2, "--eval-every", 2),
        "stage 1": ("finetune", "--stage", 1, *data, *backbone, "--vqvae", "vq", *SHORT),
        "the rest": ("finetune", "--stage", "all", *data, *SHORT),
        "alone": ("finetune", "--stage", "sft", *data, *backbone, "--out", "alone", "--tasks", "t2m=1", "m2t=3",
                  *SHORT),
        "sample": ("sample", "--prompt", "a", "person", "walks", "--max-new-tokens", 6, "--seed", 1),
        "files": ("sample", "--prompt", "a person walks", "--seconds", 1, "--exact-length", "--stage", 2, "--seed", 4,
                  "--output", "w.npz", "w.txt", "w.json"),
    }  # fmt: skip
    os.chdir(place)
    try:
        for name, command in steps.items():
            done[name] = script(*command)
            assert done[name].code == 0, f"{name}: {done[name].err}"
    finally:
        os.chdir(home)
    return done | {"place": place}


@pytest.fixture
def here(chain, monkeypatch) -> Path:
    """The chain's folder as working directory: the default run is its outputs/run."""
    monkeypatch.chdir(chain["place"])
    return chain["place"]


def test_prepare(chain, here):
    assert "wrote data/" in chain["prepare"].out
    info = json.loads((here / "data" / "dataset.json").read_text())
    assert (info["skeleton"], info["fps"]) == ("humanml3d-22", 20.0)
    assert np.load(here / "data" / "Mean.npy").shape == (263,)


def test_train_vqvae(script, chain, here):
    out = chain["vqvae"].out
    assert {"config.json", "model.safetensors", "Mean.npy", "Std.npy", "loss.png", "metrics.jsonl"} <= {
        p.name for p in (here / "vq").iterdir()
    }
    assert "next: python scripts/tokenize_motions.py" in out
    assert "width 16 (flag)" in out and "lr 0.0002 (script)" in out
    again = script("train_vqvae", "--data", "data", "--out", "vq", *TINY_VQVAE)
    assert again.code == 0 and "resumed at step 4 of 4" in again.out


def test_train_vqvae_takes_a_config_file_and_flags_win(script, here, tmp_path):
    (tmp_path / "c.json").write_text(
        '{"width": 8, "max_steps": 1, "eval_every": 1, "lr": 0.001, "codes": 8, "code_dim": 8, "depth": 1}'
    )
    args = ("train_vqvae", "--data", "data", "--batch-size", 4, "--width", 16)
    done = script(*args, "--out", tmp_path / "a", "--config", tmp_path / "c.json")
    assert done.code == 0, done.err
    assert "width 16 (flag)" in done.out and f"lr 0.001 (--config {tmp_path / 'c.json'})" in done.out
    done = script(*args[:5], "--out", tmp_path / "b", "--config", tmp_path / "a" / "config.json", "--max-steps", 1,
                  "--eval-every", 1)  # fmt: skip
    assert done.code == 0, done.err
    assert "width 16 (--config" in done.out


def test_tokenize(here):
    meta = json.loads((here / "tokens.meta.json").read_text())
    assert (meta["codes"], meta["fps"], meta["frames_per_code"]) == (24, 20.0, 4)
    entries = json.loads((here / "tokens.json").read_text())
    texts = [here / "data" / "texts" / f"{clip}.txt" for clip in {e["id"] for e in entries}]
    assert len(entries) == sum(len(path.read_text().splitlines()) for path in texts) > 40
    for e in entries:
        assert len(e["motion_tokens"].split()) == len(np.load(here / f"data/new_joint_vecs/{e['id']}.npy")) // 4


def test_finetune_a_backbone_on_captions(chain, here):
    assert "random weights (preset tiny)" in chain["captions"].out
    assert (here / "bb" / "stage1" / "model.safetensors").is_file()


def test_finetune_stage_one_says_what_it_does(chain):
    lines = chain["stage 1"].out.splitlines()
    assert lines[0] == "recipe signmotiongpt, stage 1 of 3: motion-lm (motion 100 %), from backbone bb/stage1"
    assert any("lr 0.001 (recipe signmotiongpt)" in line and "batch_size 8 (flag)" in line for line in lines)
    assert any("lora_r 4 (flag)" in line for line in lines)
    assert any(line.startswith("wrote outputs/run/stage1/") for line in lines)


def test_finetune_all_skips_what_is_finished_and_goes_on(script, chain, here):
    """Stages 2 and 3 find backbone and tokenizer in the run."""
    out = chain["the rest"].out
    assert "stage 1 (motion-lm) is finished in outputs/run/stage1; skipped" in out
    assert "stage 2 of 3: multitask (t2m 50, m2t 30, denoise 20 %), from outputs/run/stage1" in out
    assert "stage 3 of 3: sft (t2m 100 %), from outputs/run/stage2" in out
    assert "sample it: python scripts/sample.py --run outputs/run --stage 3 --prompt '" in out
    assert json.loads((here / "outputs/run/stage3/meta.json").read_text())["finished"] is True
    before = sorted((p, p.stat().st_mtime_ns) for p in (here / "outputs/run").rglob("*"))
    assert script("finetune", "--stage", 3, "--data", "tokens.json", *SHORT).code == 2  # finished
    assert before == sorted((p, p.stat().st_mtime_ns) for p in (here / "outputs/run").rglob("*"))


def test_finetune_warns_where_the_stage_before_is_missing(chain):
    done = chain["alone"]
    assert done.out.splitlines()[0].endswith("sft (t2m 25, m2t 75 %), from backbone bb/stage1")
    warnings = done.err.splitlines()
    assert warnings[0] == "warning: there is no alone/stage2; this stage starts from the backbone without it"
    assert len(warnings) == 2 and "stage 3 has not learnt to write motion" in warnings[1]  # in two steps
    for name in ("stage 1", "the rest"):
        assert all("has not learnt to write motion" in line for line in chain[name].err.splitlines()), name


def test_finetune_reads_the_ancestors_environment_below_the_flags(script, here, monkeypatch):
    monkeypatch.setenv("DATA_JSON_PATH", "tokens.json")
    monkeypatch.setenv("VQVAE_CHECKPOINT", "nothing")
    monkeypatch.setenv("WORK_DIR", "work dir")
    done = script("finetune", "--stage", 1, "--backbone", "bb/stage1", "--vqvae", "vq", *SHORT)
    assert done.code == 0, done.err
    assert "--data tokens.json (environment: DATA_JSON_PATH)" in done.out and "VQVAE_CHECKPOINT" not in done.out
    assert (here / "work dir" / "outputs" / "run" / "stage1" / "meta.json").is_file()
    monkeypatch.delenv("VQVAE_CHECKPOINT")
    done = script("sample", "--info")
    assert "run work dir/outputs/run, stage 1 (motion-lm), 2 steps on tokens.json" in done.out, done.err


def test_finetune_stops_in_time_and_goes_on(script, here, tmp_path):
    args = ["finetune", "--stage", 1, "--data", "tokens.json", "--backbone", "bb/stage1", "--out", tmp_path / "slow"]
    done = script(*args, *SHORT, "--max-minutes", 1e-9)
    assert done.code == 0 and "time is up: stopped at step" in done.out
    assert "the same command continues from there" in done.out
    assert script("sample", "--prompt", "a person walks", "--run", tmp_path / "slow").code == 2
    done = script(*args, *SHORT)
    assert done.code == 0 and f"wrote {tmp_path}/slow/stage1/" in done.out


def test_sample_by_default_writes_a_folder_of_the_default_run(chain, here):
    lines = chain["sample"].out.splitlines()
    assert re.fullmatch(
        r"run outputs/run, stage 3 \(sft\), 2 steps on tokens.json, validation loss \d+\.\d\d", lines[0]
    )
    folder = Path("outputs/a-person-walks")
    assert [line for line in lines if line.startswith("wrote")] == [
        f"wrote {folder}/motion.{end}" for end in ("npy", "gif", "txt")
    ]
    tokens = next(line for line in lines if line.replace(" ", "").isdigit()).split()
    joints = np.load(folder / "motion.npy")
    assert joints.shape == (4 * len(tokens), 22, 3) and joints.dtype == np.float32
    assert (folder / "motion.gif").read_bytes()[:6] == b"GIF89a"
    assert (folder / "motion.txt").read_text() == f"<MOT_BEGIN>{''.join(f'<motion_{t}>' for t in tokens)}<MOT_END>\n"


def test_sample_formats_seeds_stages_and_lengths(script, chain, here, tmp_path):
    assert chain["files"].out.startswith("run outputs/run, stage 2 (multitask), 2 steps on tokens.json")
    first = (here / "w.txt").read_text()
    assert first.count("<motion_") == 5
    assert json.loads((here / "w.json").read_text())["text"] == "a person walks"

    def again(seed: int) -> str:
        script("sample", "--prompt", "a person walks", "--run", "outputs/run", "--seconds", 1, "--exact-length",
               "--stage", 2, "--seed", seed, "--output", tmp_path / "v.txt")  # fmt: skip
        return (tmp_path / "v.txt").read_text()

    assert again(4) == first != again(5)


def test_sample_a_file_of_sentences(script, here):
    (here / "many.txt").write_text("a person walks\n\nsomeone jumps 🤸\n", encoding="utf-8")
    done = script("sample", "--prompt", "many.txt", "--output", "m.txt", "deep/dir", "--max-new-tokens", 4)
    assert done.code == 0, done.err
    assert (here / "m-000.txt").is_file() and (here / "m-001.txt").is_file()
    assert (here / "deep/dir/000-a-person-walks/motion.npy").is_file()
    assert (here / "deep/dir/001-someone-jumps/motion.npy").is_file()


@pytest.mark.parametrize("prompt", ["🤸🤸", "../../etc passwd", "a" * 300, "الشخص يمشي", "7."])
def test_sample_makes_a_plain_folder_name_of_any_prompt(script, here, prompt):
    done = script("sample", "--prompt", prompt, "--max-new-tokens", 2)
    assert done.code == 0, done.err
    written = [Path(line.removeprefix("wrote ")) for line in done.out.splitlines() if line.startswith("wrote")]
    assert len(written) == 3 and all(path.parts[0] == "outputs" and len(path.parts) == 3 for path in written)
    assert "is not among the captions this run lists" in done.out


def test_sample_to_text(script, here):
    for file in ("w.txt", "w.npz"):
        done = script("sample", "--task", "m2t", "--input", file, "--max-new-tokens", 8)
        assert done.code == 0, done.err
        assert len(done.out.splitlines()) >= 1 and "<motion" not in done.out


def test_sample_to_text_takes_sampling_values_and_writes_the_sentence(script, here, tmp_path):
    def sentence(*args: object) -> str:
        done = script("sample", "--task", "m2t", "--input", "w.txt", "--output", tmp_path / "new" / "s.txt", *args)
        assert done.code == 0 and f"wrote {tmp_path}/new/s.txt" in done.out, done.err
        text = (tmp_path / "new" / "s.txt").read_bytes().decode()  # untrained words, line ends among them
        assert text in done.out
        return text

    greedy = sentence()
    assert sentence("--seed", 1) == greedy
    hot = ("--temperature", 5, "--top-p", 1)
    assert sentence(*hot) == sentence(*hot) != greedy
    assert len({sentence(*hot, "--seed", seed) for seed in range(4)}) > 1
    assert sentence(*hot, "--top-k", 1) == greedy
    (tmp_path / "c.json").write_text('{"temperature": 5.0, "top_p": 1.0}')
    assert sentence("--config", tmp_path / "c.json") == sentence(*hot)
    assert len(sentence(*hot, "--max-new-tokens", 1)) < len(sentence(*hot))


def test_sample_info_and_trace(script, here):
    done = script("sample", "--info")
    assert done.code == 0, done.err
    names = [line.split()[0] for line in done.out.splitlines()[:11]]
    assert names == "run recipe stages data actions participants codes lengths joints limits captions".split()
    assert "1 motion-lm (motion), 2 multitask (t2m, m2t, denoise), 3 sft (t2m) finished; this is 3" in done.out
    done = script("sample", "--prompt", "a person walks", "--seconds", 1, "--exact-length", "--trace", "--precision",
                  "bf16", "--output", "traced.txt")  # fmt: skip
    assert done.code == 0, done.err
    steps = [line for line in done.out.splitlines() if line.startswith("step ")]
    assert len(steps) == 5 and all("ids allowed" in line and "drew code" in line for line in steps)


def test_sample_without_a_tokenizer_writes_tokens(script, here):
    done = script("sample", "--run", "alone", "--prompt", "someone", "--max-new-tokens", 4, "--output", "only")
    assert done.code == 0, done.err
    assert [p.name for p in (here / "only").iterdir()] == ["motion.txt"]
    assert "--vqvae FOLDER" in done.out
    done = script("sample", "--run", "alone", "--prompt", "someone", "--max-new-tokens", 4, "--vqvae", "outputs/run",
                  "--output", "x.npy")  # fmt: skip
    assert done.code == 0 and (here / "x.npy").is_file(), done.err


def test_render(script, here):
    done = script("render", "--input", "outputs/a-person-walks", "--output", "r.gif", "--size", 64)
    assert done.code == 0 and (here / "r.gif").read_bytes()[:4] == b"GIF8", done.err
    done = script("render", "--tokens", "1 2 3", "--size", 128, "--output", "t.png")  # the default run's tokenizer
    assert done.code == 0 and (here / "t.png").read_bytes()[1:4] == b"PNG", done.err
    done = script("render", "--input", "w.txt", "--vqvae-ckpt", "vq", "--size", 64, "--output", "pictures")
    assert done.code == 0 and (here / "pictures" / "w.gif").is_file(), done.err


def test_render_takes_the_tokenizer_of_the_default_run(script, chain, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORK_DIR", str(here))
    done = script("render", "--tokens", "500", "--size", 64, "--output", "t.png")
    assert done.code == 2 and "outside this tokenizer's codebook of 24" in done.err  # the demo's has a code 500


def test_without_output_files_go_where_the_environment_says(script, chain, here, tmp_path, monkeypatch):
    monkeypatch.setenv("WORK_DIR", str(tmp_path / "w"))
    done = script("render", "--tokens", "1 2 3", "--size", 64, "--run", here / "outputs" / "run")
    assert done.code == 0 and (tmp_path / "w" / "outputs" / "motion_animation.html").is_file(), done.err
    done = script("sample", "--prompt", "a person", "--run", here / "outputs" / "run", "--max-new-tokens", 2)
    assert done.code == 0 and (tmp_path / "w" / "outputs" / "a-person" / "motion.npy").is_file(), done.err


def test_reports_without_output_go_where_the_environment_says(script, chain, here, tmp_path, monkeypatch):
    monkeypatch.setenv("WORK_DIR", str(tmp_path / "w"))
    outputs = tmp_path / "w" / "outputs"
    done = script("prepare", "--from", "humanml3d", "--input", "data")
    assert (outputs / "humanml3d.json").is_file() and f"wrote {outputs / 'humanml3d.json'}" in done.out, done.err
    assert f"outputs/humanml3d.json is in {tmp_path / 'w'} (environment: WORK_DIR)" in done.out
    done = script("evaluate", "--what", "vqvae", "--data", "data", "--vqvae", "vq", "--split", "train", "--clips", 2)
    assert done.code == 0 and (outputs / "evaluation" / "report.json").is_file(), done.err
    assert f"outputs/evaluation is in {tmp_path / 'w'} (environment: WORK_DIR)" in done.out


def test_the_tokenizer_of_the_environment_is_below_the_flag(script, here, monkeypatch):
    monkeypatch.setenv("VQVAE_CHECKPOINT", "vq")
    monkeypatch.setenv("HF_USER", "somebody")
    for command in (("render", "--tokens", "1 2", "--size", 64), ("sample", "--prompt", "a", "--max-new-tokens", 2)):
        done = script(*command, "--output", "e.gif")
        assert done.code == 0 and "--vqvae vq (environment: VQVAE_CHECKPOINT)" in done.out, done.err
        assert "HF_USER set in the environment, not used here" in done.out
        done = script(*command, "--output", "e.gif", "--vqvae", "outputs/run")
        assert done.code == 0 and "VQVAE_CHECKPOINT" not in done.out, done.err


def test_the_statistics_of_the_environment_are_for_a_file(script, here, tmp_path, monkeypatch):
    net = tmp_path / "net.pth"
    assert script("export", "--format", "t2m-gpt", "--vqvae", "outputs/run", "--out", net).code == 0
    monkeypatch.setenv("VQVAE_STATS_PATH", str(tmp_path / "none.pt"))
    draw = ("render", "--tokens", "1 2", "--size", 64, "--output", "e.gif")
    done = script(*draw, "--vqvae", "outputs/run")
    assert done.code == 0 and "VQVAE_STATS_PATH" not in done.out, done.err  # a folder has its own
    done = script(*draw, "--vqvae", net)
    assert f"--stats {tmp_path / 'none.pt'} (environment: VQVAE_STATS_PATH)" in done.out
    assert done.code == 2 and "no Mean.npy in" in done.err


def test_ship_makes_a_run_that_samples_alone(script, here, tmp_path, monkeypatch):
    done = script("ship", "--run", "outputs/run", "--data", "tokens.json", "--out", tmp_path / "demo")
    assert done.code == 0, done.err
    monkeypatch.chdir(tmp_path)
    done = script("sample", "--run", "demo", "--prompt", "a person walks", "--max-new-tokens", 4, "--output", "x.npy")
    assert done.code == 0 and (tmp_path / "x.npy").is_file(), done.err
    shipped, meta = (json.loads((tmp_path / "demo" / name).read_text()) for name in ("config.json", "stage3/meta.json"))
    was = json.loads((here / "outputs" / "run" / "stage3" / "meta.json").read_text())["base_hash"]
    assert shipped["RunConfig"]["base_hash"] == meta["base_hash"] != was  # the backbone was rounded
    assert shipped["TrainConfig"]["seed"] == 42 and (tmp_path / "demo" / "tokenizer.json").is_file()


def test_a_shipped_folder_names_the_base_that_it_will_have(script, here, tmp_path):
    """Adapters name their base for other readers (PEFT), as a path with forward slashes."""
    for out, name, base in (("a", (), f"{tmp_path.as_posix()}/a/backbone"), ("b", ("--name", "checkpoints/demo"),
                                                                            "checkpoints/demo/backbone")):  # fmt: skip
        done = script("ship", "--run", "outputs/run", "--data", "tokens.json", "--out", tmp_path / out, *name)
        assert done.code == 0, done.err
        adapters = sorted((tmp_path / out).glob("stage*/adapter_config.json"))
        assert [json.loads(path.read_text())["base_model_name_or_path"] for path in adapters] == [base] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_ship_keeps_the_clips_it_was_told(script, here, tmp_path):
    (tmp_path / "demo").mkdir()  # empty: it may be there
    (tmp_path / "demo" / ".DS_Store").write_text("of an operating system")
    (tmp_path / ".demo.4194303.tmp").mkdir()
    (tmp_path / ".demo.4194303.tmp" / "half").write_text("of a killed run")
    done = script("ship", "--run", "outputs/run", "--data", "tokens.json", "--out", tmp_path / "demo", "--clips", 5)
    assert done.code == 0, done.err
    entries, every = load_tokens(tmp_path / "demo" / "tokens.json.gz"), load_tokens(here / "tokens.json")
    listed = json.loads((tmp_path / "demo" / "prompts.json").read_text())["captions"]
    names = sorted({entry.id for entry in every})
    kept = names[:: len(names) // 5][:5]  # one of every fifth of them
    assert len(names) % 5 == 0 and entries == [entry for entry in every if entry.id in kept] and listed
    of_clips = {fold(entry.text) for entry in entries}
    assert set(listed) == of_clips & {fold(entry.text) for entry in every if entry.split == "train"}
    assert [path.name for path in tmp_path.iterdir()] == ["demo"] and not (tmp_path / "demo" / "half").exists()


def test_a_shipped_run_names_its_reader(script, here, tmp_path):
    flags = ("--run", "outputs/run", "--data", "tokens.json", "--out", tmp_path / "demo", "--reader", "../reader")
    done = script("ship", *flags)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "demo" / "config.json").read_text())["RunConfig"]["reader"] == "../reader"


def test_adapters_are_shipped_without_a_base_that_everybody_has(script, here, tmp_path, monkeypatch):
    """The base may be rounded in another way, so its hash is not kept; without it, nothing loads."""
    done = script("ship", "--run", "outputs/run", "--out", tmp_path / "reader", "--base", "../base")
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "reader").iterdir()} >= {"config.json", "prompts.json", "stage3"}
    assert not list((tmp_path / "reader").rglob("model.safetensors"))
    config, meta, adapter = (
        json.loads((tmp_path / "reader" / name).read_text())
        for name in ("config.json", "stage3/meta.json", "stage3/adapter_config.json")
    )
    assert (config["RunConfig"]["backbone"], meta["base"]) == ("../base", "../../base")
    assert Path(adapter["base_model_name_or_path"]).resolve() == tmp_path / "base" and "base_hash" not in meta
    source = here / "outputs" / "run"
    base = (source / "stage3" / json.loads((source / "stage3" / "meta.json").read_text())["base"]).resolve()
    with pytest.raises(FileNotFoundError, match="trained on .*base, which is not there"):
        load_run(tmp_path / "reader")
    shutil.copytree(base, tmp_path / "base")
    ours, theirs = (load_run(folder) for folder in (tmp_path / "reader", source))
    ids = torch.tensor([[1, 2, 3]])
    # fp16 has 11 bits, and the adapter's part of a logit is small
    assert torch.allclose(ours.llm(ids), theirs.llm(ids), atol=2e-3)
    done = script("ship", "--run", "outputs/run", "--out", tmp_path / "x", "--base", "../base", "--clips", 5)
    assert done.code == 2 and "--clips has no meaning with --base, which ships adapters alone" in done.err
    done = script("ship", "--run", "outputs/run", "--out", tmp_path / "x")
    assert done.code == 2 and "--data is needed" in done.err


@pytest.mark.parametrize(
    "data, clips, message",
    [("nothing.json", 0, "nothing.json"), ("tokens.json", -5, "--clips must be 0 or more, got -5"),
     ("nameless.json", 5, "--clips needs an id in every entry of nameless.json")],
)  # fmt: skip
def test_ship_writes_nothing_where_it_cannot_go_on(script, here, tmp_path, data, clips, message):
    every = json.loads((here / "tokens.json").read_text())
    (here / "nameless.json").write_text(json.dumps([entry | {"id": ""} for entry in every]))
    meta = json.loads((here / "tokens.meta.json").read_text())
    del meta["tokens"]  # the hash of the former file
    (here / "nameless.meta.json").write_text(json.dumps(meta))
    done = script("ship", "--run", "outputs/run", "--data", data, "--out", tmp_path / "demo", "--clips", clips)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_stage_says_which_variables_it_does_not_use(script, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_JSON_PATH", "tokens.json")
    monkeypatch.setenv("VQVAE_CHECKPOINT", "vq")
    done = script("finetune", "--recipe", "myoskeleton", "--stage", 1, "--out", tmp_path / "out")
    assert done.code == 2 and "DATA_JSON_PATH, VQVAE_CHECKPOINT set in the environment, not used here" in done.out


def test_next_commands_can_be_copied_where_a_path_has_spaces(script, here, tmp_path):
    data, vqvae, tokens = (tmp_path / name for name in ("my data", "my vq", "my tokens.json"))
    shutil.copytree(here / "data", data)
    shutil.copytree(here / "vq", vqvae)
    for done, script_name, paths in (
        (script("train_vqvae", "--data", data, "--out", vqvae, *TINY_VQVAE), "tokenize_motions", (data, vqvae)),
        (script("tokenize_motions", "--data", data, "--vqvae", vqvae, "--out", tokens), "finetune", (tokens, vqvae)),
    ):
        assert done.code == 0, done.err
        (line,) = (line for line in done.out.splitlines() if line.startswith("next: "))
        words = shlex.split(line)
        assert words[1:3] == ["python", f"scripts/{script_name}.py"] and {str(path) for path in paths} <= set(words)


def one_line(done, *pieces: object) -> bool:
    """Whether a script refused in one line of stderr that contains these pieces."""
    return done.code == 2 and done.err.count("\n") == 1 and all(str(piece) in done.err for piece in pieces)


@pytest.fixture
def copy(tiny, tmp_path, monkeypatch) -> Path:
    """A copy of the tiny world in the working directory."""
    shutil.copytree(tiny.folder, tmp_path / "w", ignore=shutil.ignore_patterns("state", "data"))
    monkeypatch.chdir(tmp_path / "w")
    return tmp_path / "w"


READ = {"run/config.json", "run/prompts.json", "run/tokenizer.json", "run/stage1/meta.json", "run/vqvae/config.json",
        "run/stage1/adapter_config.json", "backbone/config.json"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("content", ["[]", "3", '"x"', "{}"])
def test_a_run_whose_json_holds_something_else_is_one_line(script, copy, content):
    refused = set()
    for path in [*copy.glob("run/**/*.json"), *copy.glob("backbone/*.json")]:
        name, former = path.relative_to(copy).as_posix(), path.read_bytes()
        path.write_text(content)
        for command in (("sample", "--max-new-tokens", 2, "--output", "o/m.txt"), ("render", "--size", 64)):
            done = script(*command, "--run", "run", "--prompt", "a person walks forward")
            assert done.code == 0 or one_line(done, path.name, "" if content == "{}" else "JSON object"), (
                name,
                done.err,
            )
            refused |= {name} if done.code else set()
        path.write_bytes(former)
    # an empty tokenizer_config.json is one without a chat template
    assert refused == READ | ({"run/tokenizer_config.json"} if content != "{}" else set())


@pytest.mark.parametrize("content", ["[]", "3", '"x"'])
def test_data_whose_json_holds_something_else_is_one_line(script, chain, here, tmp_path, content):
    shutil.copytree(here / "data", tmp_path / "data")
    for name in ("tokens.json", "tokens.meta.json"):
        shutil.copyfile(here / name, tmp_path / name)
    for name in ("tokens.meta.json", "data/dataset.json", "data/participants.json"):
        former = (tmp_path / name).read_bytes() if (tmp_path / name).is_file() else b"{}"
        (tmp_path / name).write_text(content)
        command = ("tokenize_motions", "--data", tmp_path / "data", "--vqvae", "vq", "--out", tmp_path / "t.json")
        if name.startswith("tokens"):
            command = ("finetune", "--stage", 1, "--data", tmp_path / "tokens.json", "--backbone", "bb/stage1", "--out",
                       tmp_path / "new", *SHORT)  # fmt: skip
        done = script(*command)
        assert one_line(done, tmp_path / name, "expected a JSON object, got "), (name, done.err)
        (tmp_path / name).write_bytes(former)


@pytest.mark.parametrize(
    "command, flag",
    [(("sample", "--prompt", "walk"), "--output"), (("render", "--prompt", "walk"), "--output"),
     (("evaluate", "--data", "d", "--vqvae", "v"), "--out"),
     (("tokenize_motions", "--data", "data", "--vqvae", "v"), "--out")],
)  # fmt: skip
def test_an_output_that_cannot_be_written_is_found_before_the_model(script, here, command, flag):
    assert one_line(script(*command, flag, ""), f"{flag} is empty")
    if Path("/proc/self").is_dir():  # nobody makes a file there, not even root
        assert one_line(script(*command, flag, "/proc/self/new.npy"), f"{flag} /proc/self/new.npy", "in /proc/self")


def test_the_chain_leaves_no_temporary_files(here):
    assert not [path for path in here.rglob(".*") if path.name != ".pytest_cache"]


def test_weights_of_the_chain_are_finite(here):
    from motiongpt.files.store import read_tensors

    for path in here.rglob("*.safetensors"):
        assert all(torch.isfinite(t.float()).all() for t in read_tensors(path).values()), path
