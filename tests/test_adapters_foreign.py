"""Adapters that PEFT made elsewhere, with its own settings: the same function here, or refused by name."""

from pathlib import Path

import pytest
import torch
from cases import for_each, seeded

from motiongpt import lora
from motiongpt.config import LLM_PRESETS
from motiongpt.files.store import read_json, write_json
from motiongpt.llm import LLM
from motiongpt.stages.model import load_run
from motiongpt.weights.adapters import load_adapter
from motiongpt.weights.llm import load_llm, save_llm

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]

CLOSE = dict(atol=1e-5, rtol=1e-5)  # fp32, the same sums in another order; logits are of order 1


def trained_elsewhere(base: Path, folder: Path, **settings) -> tuple[Path, torch.nn.Module]:
    """An adapter of PEFT on `base` with random weights, as its `save_pretrained` writes it, and the model it is in."""
    peft = pytest.importorskip("peft")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(**({"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"} | settings))
    torch.manual_seed(3)
    model = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded(len(name))))
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    llm = LLM(LLM_PRESETS["tiny"], seeded(0))
    with torch.no_grad():
        for parameter in llm.parameters():
            parameter.mul_(5 if parameter.dim() == 2 else 1)
    save_llm(llm, folder)
    return folder


ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


@for_each(
    "settings",
    [
        dict(target_modules=ATTENTION),
        dict(target_modules="all-linear"),
        dict(target_modules=r".*layers\.\d+\.self_attn\.(q|v)_proj"),
        dict(target_modules=r"model\.layers\.1\..*(up|down)_proj"),
        dict(target_modules=["self_attn.q_proj", "model.layers.1.mlp.up_proj"]),
        dict(target_modules=ATTENTION, use_rslora=True),
        dict(target_modules=ATTENTION, rank_pattern={"q_proj": 2, r"layers\.1\.self_attn\.v_proj": 7}),
        dict(target_modules=ATTENTION, alpha_pattern={"k_proj": 32}, rank_pattern={"k_proj": 3}, use_rslora=True),
        dict(target_modules=ATTENTION, layers_to_transform=[1]),
        dict(target_modules=ATTENTION, layers_to_transform=0, layers_pattern="layers"),
        dict(target_modules=ATTENTION, exclude_modules=["layers.0.self_attn.o_proj"]),
        dict(target_modules="all-linear", exclude_modules=r".*mlp.*"),
        dict(target_modules=ATTENTION, init_lora_weights="gaussian"),
    ],
)
def test_it_is_the_same_function(settings, base, tmp_path):
    folder, theirs = trained_elsewhere(base, tmp_path / "adapter", **settings)
    ours = load_llm(base)
    config = load_adapter(ours, folder)
    ids = torch.randint(0, 300, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(input_ids=ids).logits, **CLOSE)
        changed = (ours(ids) - load_llm(base)(ids)).abs().max()
    assert changed > 0.1
    layers = lora.lora_layers(ours).values()
    assert {(layer.r, layer.alpha) for layer in layers} == {(config.lora_r, config.lora_alpha)}
    # what PEFT left out can learn here: its A is drawn, its B is zero
    assert all(layer.lora_A.abs().sum() > 0 for layer in layers)


@for_each(
    "settings, message",
    [
        (dict(target_modules=ATTENTION, use_dora=True), "adapter_config.json: not a plain LoRA .in use: use_dora"),
        (dict(target_modules=ATTENTION, modules_to_save=["embed_tokens"]), "in use: modules_to_save"),
        (dict(target_modules=ATTENTION, bias="all"), "adapter_config.json: bias 'all' is not supported"),
        (dict(target_modules=ATTENTION, lora_bias=True), "in use: lora_bias"),
        (dict(target_modules=ATTENTION, init_lora_weights="pissa"), "init_lora_weights 'pissa', which changes the"),
        (dict(target_modules=ATTENTION, layer_replication=[[0, 2], [1, 2]]), "in use: layer_replication"),
        (dict(target_modules=[*ATTENTION, "embed_tokens"]), "adapter_model.safetensors holds .*embed_tokens"),
        (dict(target_modules=[*ATTENTION, "lm_head"]), "adapter_model.safetensors .*lm_head"),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_name(settings, message, base, tmp_path):
    folder, _ = trained_elsewhere(base, tmp_path / "adapter", **settings)
    llm = load_llm(base)
    with pytest.raises(ValueError, match=message) as error:
        load_adapter(llm, folder)
    assert "merge_and_unload" in str(error.value) and "\n" not in str(error.value)
    assert not lora.lora_layers(llm)


def test_an_adapter_for_another_base_names_file_and_tensor(base, tmp_path):
    gpt = transformers.AutoModelForCausalLM.from_config(
        transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4)
    )
    gpt.save_pretrained(tmp_path / "gpt")
    other, _ = trained_elsewhere(tmp_path / "gpt", tmp_path / "other", target_modules=["c_attn"])
    # PEFT sets fan_in_fan_out for GPT-2; without it the names of the layers still say that it is another model
    values = read_json(other / "adapter_config.json")
    write_json(other / "adapter_config.json", values | {"fan_in_fan_out": False})
    with pytest.raises(ValueError, match=r"other/adapter_model.safetensors does not fit .*transformer.h.0.attn.c_attn"):
        load_adapter(load_llm(base), other)
    wide = LLM(LLM_PRESETS["demo"], seeded(0))
    folder, _ = trained_elsewhere(base, tmp_path / "small", target_modules=["q_proj"], layers_to_transform=[0])
    with pytest.raises(ValueError, match=r"small/adapter_model.safetensors: base_model.model.model.layers.0.self_attn"):
        load_adapter(wide, folder)


# 2) As the start of a stage.


def test_a_stage_starts_from_it(script, tiny, tmp_path):
    """The stage keeps it as its own adapter on the same base, with motion words beside it; PEFT's numbers move on."""
    folder, theirs = trained_elsewhere(
        tiny.backbone, tmp_path / "adapter", target_modules="all-linear", rank_pattern={"q_proj": 2}
    )
    few = ("--max-steps", 1, "--eval-every", 1, "--lr", 1e-12, "--warmup", 0, "--batch-size", 8)
    out = tmp_path / "run"
    done = script("finetune", "--stage", 1, "--from", folder, "--data", tiny.data, "--out", out, *few)
    assert done.code == 0, done.err
    assert f"lora_r 4 (adapter in {folder})" in done.out
    ours = load_run(out)
    ids = torch.randint(3, ours.vocab.first_id, (2, 9))
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits[..., : ours.vocab.first_id]
        torch.testing.assert_close(ours.llm(ids)[..., : ours.vocab.first_id], expected, atol=1e-4, rtol=1e-4)
    values = read_json(out / "stage1" / "adapter_config.json")
    assert len(values["trainable_token_indices"]) == len(ours.vocab) and values["r"] == 4
    assert Path(values["base_model_name_or_path"]).resolve() == tiny.backbone.resolve()
    assert script("finetune", "--stage", 2, "--data", tiny.data, "--out", out, *few).code == 0


def test_as_a_start_it_may_be_refused_in_one_line(script, tiny, base, tmp_path):
    folder, _ = trained_elsewhere(tiny.backbone, tmp_path / "adapter", target_modules=ATTENTION)

    def refused(*args, **changes) -> str:
        write_json(folder / "adapter_config.json", read_json(folder / "adapter_config.json") | changes)
        done = script("finetune", "--stage", 1, "--data", tiny.data, "--out", tmp_path / "run", *args)
        assert done.code == 2 and done.err.count("\n") == 1 and not (tmp_path / "run").exists(), done.err
        return done.err

    said = refused("--backbone", folder)
    assert f"{folder} is an adapter" in said and f"--from {folder}" in said
    assert "adapter of r 4" in refused("--from", folder, "--lora-r", 8)
    assert "train full cannot start from the adapter" in refused("--from", folder, "--train", "full")
    said = refused("--from", folder, base_model_name_or_path="/nowhere")
    assert "was trained on /nowhere, which is not there; say where it is with --backbone" in said
    assert "does not name its base" in refused("--from", folder, base_model_name_or_path=None)
    words = list(range(300, 303))
    assert "words of its own, 300 to 302" in refused(
        "--from", folder, base_model_name_or_path=str(tiny.backbone), trainable_token_indices=words
    )
