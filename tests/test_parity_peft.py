"""Our adapters against `peft`: outputs, gradients, and files in both directions."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from cases import seeded

from motiongpt import lora
from motiongpt.config import LLM_PRESETS, LoRAConfig
from motiongpt.llm import LLM
from motiongpt.weights.adapters import load_adapter, save_adapter
from motiongpt.weights.llm import load_llm, save_llm

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

FIRST, COUNT = 290, 20  # the base table has 300 rows: ten of padding, as Qwen3's has
V = FIRST + COUNT
CONFIG = LoRAConfig(lora_r=3, lora_alpha=12.0, lora_targets=("q_proj", "v_proj", "o_proj", "down_proj"))
CLOSE = dict(atol=1e-5, rtol=1e-5)  # fp32, the same sums in another order; logits are of order 1


@pytest.fixture(scope="module")
def peft():
    """The library, imported by the tests that use it: that takes some seconds."""
    return pytest.importorskip("peft")


def base_folder(folder, tied: bool):
    """A base model on disk, with weights large enough for logits of order 1."""
    llm = LLM(replace(LLM_PRESETS["tiny"], tie_embeddings=tied), seeded(0))
    with torch.no_grad():
        for parameter in llm.parameters():
            parameter.copy_(5 * parameter if parameter.dim() == 2 else parameter)
    save_llm(llm, folder)
    return folder


def ours_adapted(base) -> LLM:
    llm = load_llm(base)
    llm.extend(FIRST, COUNT, seeded(1))
    lora.inject(llm, CONFIG, seeded(2))
    with torch.no_grad():
        for layer in lora.lora_layers(llm).values():
            layer.lora_B.normal_(0, 0.1, generator=seeded(3))
    return llm


def peft_base(base):
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(V)
    return model


@pytest.fixture
def ids():
    return torch.randint(0, V, (2, 9), generator=seeded(4))


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_peft_loads_ours_with_equal_outputs_and_gradients(tied, ids, peft, tmp_path):
    base = base_folder(tmp_path / "base", tied)
    ours = ours_adapted(base)
    save_adapter(ours, tmp_path / "adapter", CONFIG, str(base))
    theirs = peft.PeftModel.from_pretrained(peft_base(base), tmp_path / "adapter", is_trainable=True)
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids), **CLOSE)

    for model in (ours, theirs):
        logits = ours(ids) if model is ours else theirs(ids).logits
        F.cross_entropy(logits[:, :-1].reshape(-1, V), ids[:, 1:].reshape(-1)).backward()
    grads = {name.replace(".default", ""): p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    trained = {name: parameter for name, parameter in ours.named_parameters() if parameter.requires_grad}
    assert len(grads) == len(trained)
    for name, parameter in trained.items():
        key = f"base_model.model.model.{name}.weight"
        if name in ("new_in", "new_out"):
            table = {"new_in": "model.embed_tokens", "new_out": "lm_head"}[name]
            key = f"base_model.model.{table}.token_adapter.trainable_tokens_delta"
        torch.testing.assert_close(parameter.grad, grads[key], **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_we_load_what_peft_wrote(tied, ids, peft, tmp_path):
    base = base_folder(tmp_path / "base", tied)
    rows = list(range(FIRST, V))
    indices = rows if tied else {"embed_tokens": rows, "lm_head": rows}
    config = peft.LoraConfig(
        **dict(r=3, lora_alpha=12, target_modules=list(CONFIG.lora_targets), task_type="CAUSAL_LM"),
        trainable_token_indices=indices,
    )
    theirs = peft.get_peft_model(peft_base(base), config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=seeded(len(name))) * 0.1)
    # False: by default peft adds the whole resized base table to the file
    theirs.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    ours = load_llm(base)
    loaded = load_adapter(ours, tmp_path / "adapter")
    assert (loaded.lora_r, loaded.lora_alpha, set(loaded.lora_targets)) == (3, 12.0, set(CONFIG.lora_targets))
    assert (ours.first_id, ours.vocab_size) == (FIRST, V)
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, **CLOSE)


@pytest.mark.slow
def test_auto_class_finds_the_base(ids, peft, tmp_path):
    """AutoPeftModelForCausalLM resizes by the tokenizer beside the adapter. Without one the base must be resized."""
    base = base_folder(tmp_path / "base", tied=True)
    ours = ours_adapted(base)
    save_adapter(ours, tmp_path / "adapter", CONFIG, str(base))
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(V)}, unk_token="w0"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path / "adapter")
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids), **CLOSE)


def test_merged_export_loads_in_transformers(ids, tmp_path):
    base = base_folder(tmp_path / "base", tied=False)
    ours = ours_adapted(base)
    expected = ours(ids)
    lora.merge(ours)
    save_llm(ours, tmp_path / "merged")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, expected, **CLOSE)
