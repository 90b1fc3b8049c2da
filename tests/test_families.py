"""Every family of backbones through the commands: the stages of a recipe, then a motion and a sentence.

`tiny_backbones.py` makes the backbones.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from cases import random_dataset

from motiongpt.config import LoRAConfig, TrainConfig
from motiongpt.files.store import read_json, read_tensors, write_json
from motiongpt.generator import MotionGenerator
from motiongpt.stages.model import load_run
from motiongpt.stages.run_folder import finished_stages
from motiongpt.text_tokenizer import load_text_tokenizer, train_text_tokenizer
from motiongpt.vocab import parse_motion
from motiongpt.weights.llm import load_llm

pytest.importorskip("transformers")
import test_lit_llama  # noqa: E402
from tiny_backbones import backbone  # noqa: E402
from tiny_tokenizers import CAPTIONS, sentencepiece_model  # noqa: E402

pytestmark = pytest.mark.slow  # several runs of commands per family

FEW = ("--max-steps", 2, "--eval-every", 2, "--batch-size", 8)
SMALL = ("--lora-r", 4, "--lora-alpha", 4)


def unchanged(folder: Path, before: dict[str, torch.Tensor]) -> bool:
    after = read_tensors(folder / "model.safetensors")
    return before.keys() == after.keys() and all(torch.equal(after[name], before[name]) for name in before)


def check_samples(script, run: Path, out: Path, describes: bool) -> None:
    """A motion by the command, the same one from Python beside another prompt, and a sentence for it."""
    prompt = "a person walks forward"
    done = script("sample", "--run", run, "--prompt", prompt, "--seed", 3, "--output", out / "m.txt")
    assert done.code == 0, done.err
    generator = MotionGenerator.load(run)
    motions = generator.generate([prompt, "he sits down, then he stands up again"], seed=[3, 4])
    assert parse_motion((out / "m.txt").read_text()) == list(motions[0].tokens)
    assert motions[0].joints.shape[1:] == (22, 3)
    if describes:
        done = script("sample", "--run", run, "--task", "m2t", "--input", out / "m.txt")
        assert done.code == 0, done.err
        assert isinstance(generator.describe(motions[0]), str)


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "gemma3", "t5"])
def test_three_stages_and_samples(script, tiny, tmp_path, family):
    """The default recipe with LoRA. The base stays as it is, bit for bit; a stage goes on from the one before."""
    base = backbone(family, tmp_path / "backbone")
    before = read_tensors(base / "model.safetensors")
    run = tmp_path / "run"
    train = ("--data", tiny.data, "--backbone", base, "--vqvae", tiny.vqvae, "--out", run)
    done = script("finetune", "--stage", "all", *train, *FEW, *SMALL)
    assert done.code == 0, done.err
    assert sorted(finished_stages(run)) == [1, 2, 3] and f"stage 3 of 3: sft (t2m 100 %), from {run}/stage2" in done.out
    assert unchanged(base, before)
    wanted = {"q", "k", "v", "o", "wi_0", "wi_1", "wo"} if family == "t5" else {"q_proj", "down_proj"}
    assert wanted <= set(read_json(run / "stage3" / "adapter_config.json")["target_modules"])
    check_samples(script, run, tmp_path, describes=True)
    # given away in fp16, with its backbone
    done = script("ship", "--run", run, "--data", tiny.data, "--out", tmp_path / "shipped")
    assert done.code == 0, done.err
    shutil.rmtree(base)
    check_samples(script, tmp_path / "shipped", tmp_path, describes=True)


def test_llama_with_the_recipe_of_zhang(script, tiny, tmp_path):
    base = backbone("llama", tmp_path / "backbone")
    before = read_tensors(base / "model.safetensors")
    run = tmp_path / "run"
    train = ("--data", tiny.data, "--backbone", base, "--vqvae", tiny.vqvae, "--out", run)
    done = script("finetune", "--recipe", "zhang", "--stage", 1, *train, *FEW)
    assert done.code == 0 and "stage 1 of 1: finetune" in done.out, done.err
    assert unchanged(base, before)
    adapter = read_json(run / "stage1" / "adapter_config.json")
    assert (adapter["r"], sorted(adapter["target_modules"])) == (64, ["q_proj", "v_proj"])
    check_samples(script, run, tmp_path, describes=False)


def test_lit_llama_with_the_recipe_of_zhang(script, tiny, tmp_path, monkeypatch):
    """From its own layout, with the tokenizer in the folder above, to a motion and a folder of Hugging Face."""
    base, run = tmp_path / "lit-llama" / "7B", tmp_path / "run"
    base.mkdir(parents=True)
    (base.parent / "tokenizer.model").write_bytes(sentencepiece_model("llama"))
    (base / "lit-llama.pth").touch()
    monkeypatch.setattr(test_lit_llama, "V", load_text_tokenizer(base).size)
    weights = test_lit_llama.Reference().base()
    torch.save(weights, base / "lit-llama.pth")
    train = ("--data", tiny.data, "--backbone", base, "--vqvae", tiny.vqvae, "--out", run)
    done = script("finetune", "--recipe", "zhang", "--stage", 1, *train, *FEW, "--grad-accum", 1)
    assert done.code == 0, done.err
    check_samples(script, run, tmp_path, describes=False)
    done = script("export", "--format", "peft", "--run", run, "--out", tmp_path / "peft")
    assert done.code == 2 and "is in the layout of Lit-LLaMA, which PEFT cannot load" in done.err, done.err
    done = script("export", "--format", "peft", "--run", run, "--base-name", "some/llama", "--out", tmp_path / "peft")
    assert done.code == 0, done.err
    done = script("export", "--format", "hf", "--run", run, "--out", tmp_path / "hf")
    assert done.code == 0, done.err
    ids = torch.arange(9)[None]
    torch.testing.assert_close(load_llm(tmp_path / "hf")(ids), load_run(run).llm(ids), atol=1e-4, rtol=1e-4)
    # other weights in the same place
    torch.save(weights | {"lm_head.weight": torch.zeros_like(weights["lm_head.weight"])}, base / "lit-llama.pth")
    done = script("sample", "--run", run, "--prompt", "a person walks", "--output", tmp_path / "m.txt")
    assert done.code == 2 and "(lit-llama.pth is damaged or replaced)" in done.err, done.err


def test_t5_with_the_recipe_of_zhang_adapts_its_own_layers(script, tiny, tmp_path):
    base = backbone("t5", tmp_path / "backbone")
    train = ("--data", tiny.data, "--backbone", base, "--vqvae", tiny.vqvae, "--out", tmp_path / "run")
    done = script("finetune", "--recipe", "zhang", "--stage", 1, *train, *FEW)
    assert done.code == 0, done.err
    assert read_json(tmp_path / "run" / "stage1" / "adapter_config.json")["target_modules"] == ["q", "v"]


@pytest.fixture
def data(tmp_path) -> Path:
    """A dataset folder of eight random clips."""
    return random_dataset(tmp_path / "data", [CAPTIONS[i % 3] for i in range(8)], training=6)


def test_t5_with_the_recipe_of_myoskeleton(script, tmp_path, data):
    """Its three stages in full: the tokenizer, pre-training, instructions. Hidden spans are two tasks more."""
    base, run = backbone("t5", tmp_path / "backbone"), tmp_path / "run"
    recipe = ("--recipe", "myoskeleton", "--out", run)
    small = ("--codes", 16, "--width", 16, "--code-dim", 8, "--depth", 1, "--window", 16)
    done = script("finetune", "--stage", 1, "--data", data, *recipe, *FEW, *small)
    assert done.code == 0 and (run / "vqvae" / "model.safetensors").is_file(), done.err
    done = script("tokenize_motions", "--data", data, "--vqvae", run, "--out", run / "tokens.json")
    assert done.code == 0, done.err
    train = ("--data", run / "tokens.json", "--backbone", base, "--train", "full", *FEW)
    spans = ("--tasks", "t2m=0.3", "m2t=0.3", "motion=0.2", "caption=0.2")
    done = script("finetune", "--stage", 2, *recipe, *train, *spans)
    assert done.code == 0, done.err
    done = script("finetune", "--stage", 3, *recipe, *train)
    assert (
        done.code == 0
        and f"stage 3 of 3: instruct (t2m 25, m2t 25, predict 25, inbetween 25 %), from {run}/stage2" in done.out
    ), done.err
    check_samples(script, run, tmp_path, describes=True)
    # a stage in full is a backbone of its own: nothing else is needed to sample
    shutil.rmtree(base)
    assert MotionGenerator.load(run).generate("a person walks forward", seed=3).tokens


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_killed_t5_stage_resumes_bit_for_bit(tiny, tmp_path, mode):
    """Spans are drawn from the step, so the batches after a kill are those of the uninterrupted run."""
    base = backbone("t5", tmp_path / "backbone")
    config = TrainConfig(lr=1e-2, max_steps=4, batch_size=8, eval_every=2, save_every=1, warmup=0.0)
    tasks = {"motion": 1.0, "caption": 1.0, "t2m": 1.0, "m2t": 1.0, "denoise": 1.0}
    given = dict(backbone=str(base), train_mode=mode, config=config, tasks=tasks, lora=LoRAConfig(lora_r=2))
    whole = tiny.finetune(tmp_path / "whole", **given)
    with pytest.raises(KeyboardInterrupt):
        tiny.finetune(tmp_path / "killed", killed_after=2, **given)
    resumed = tiny.finetune(tmp_path / "killed", **given)
    name = "adapter_model.safetensors" if mode == "lora" else "model.safetensors"
    assert (whole / name).read_bytes() == (resumed / name).read_bytes()
    steps = [json.loads(line)["step"] for line in (resumed / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 4


def test_model_and_text_tokenizer_must_be_of_one_family(tiny, tmp_path):
    """A T5 whose config ends texts with another id, and one with the text tokenizer of a Qwen."""
    base = backbone("t5", tmp_path / "backbone")
    values = read_json(base / "config.json")
    write_json(base / "config.json", values | {"eos_token_id": 2})
    with pytest.raises(ValueError, match="</s> has the id 1 in the text tokenizer, and 2 in the model"):
        tiny.finetune(tmp_path / "a", backbone=str(base))
    write_json(base / "config.json", values)
    for path in base.glob("*token*"):
        path.unlink()
    (base / "spiece.model").unlink()
    train_text_tokenizer(["a b"], 180).save(base)
    with pytest.raises(ValueError, match="tokenizer of an encoder-decoder needs the token </s>"):
        tiny.finetune(tmp_path / "b", backbone=str(base))
