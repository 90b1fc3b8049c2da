"""Every family of language models against `transformers`, on tiny random weights that pass through real files.

`python tests/test_parity.py` prints the table: family x configuration x largest difference of a logit (or of a hidden
state). As a test, every number of it must be within 1e-4 in fp32.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from cases import for_each, seeded
from safetensors.torch import load_file, save_file
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import test_clip
import test_t5

from motiongpt import lora
from motiongpt.config import LoRAConfig
from motiongpt.llm import LLM
from motiongpt.weights.llm import load_llm, save_llm

transformers = pytest.importorskip("transformers")

LARGEST_ERROR = 1e-4
# Logits are of order 5, so fp32 sums in another order differ by some 1e-6; a forgotten bias or norm by more than 0.1.

V, T, STEPS = 90, 26, 5
SHAPE = {"vocab_size": V, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3}
SHAPE |= {"max_position_embeddings": 64}


@dataclass(frozen=True)
class Row:
    """One line of the table: `measure` gets an empty folder and returns what was compared -> largest difference."""

    family: str
    name: str
    measure: Callable[[Path], dict[str, float]]


# 1) Decoders: a reference model of `transformers`, written, loaded by us, compared in several ways, and written back.


def heads(queries: int, keys: int, **more) -> dict:
    return {"num_attention_heads": queries, "num_key_value_heads": keys, **more}


def rope(kind: str, theta: float = 500.0, **more) -> dict:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


SCALED = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8)
GEMMA = {"head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 20}
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
LOCAL_ROPE = {"rope_type": "default", "rope_theta": 100.0}
GLOBAL_ROPE = {"rope_type": "default", "rope_theta": 5_000.0}
TWO_ROPES = {"full_attention": GLOBAL_ROPE, "sliding_attention": LOCAL_ROPE}
LINEAR_ROPE = {"full_attention": GLOBAL_ROPE | {"rope_type": "linear", "factor": 4.0}, "sliding_attention": LOCAL_ROPE}

DECODERS = {
    "llama": {
        "3 query heads, 1 key head, tied": heads(3, 1, tie_word_embeddings=True),
        "untied, heads not grouped": heads(4, 4, **rope("default", 10_000.0)),
        "head_dim not hidden / heads": heads(4, 2, head_dim=16),
        "attention and MLP biases": heads(6, 2, attention_bias=True, mlp_bias=True),
        "positions scaled: llama3": heads(4, 2, tie_word_embeddings=True, **SCALED),
        "positions scaled: linear": heads(4, 1, **rope("linear", factor=4.0)),
    },
    "qwen2": {
        "tied, grouped": heads(4, 2, tie_word_embeddings=True),
        "untied, heads not grouped": heads(3, 3, tie_word_embeddings=False),
    },
    "qwen3": {
        "tied, grouped": heads(4, 2, head_dim=16, tie_word_embeddings=True),
        "untied, 3 query heads, 1 key head": heads(3, 1, head_dim=16, tie_word_embeddings=False),
    },
    "gemma3_text": {
        "window 5, 3 query heads, 1 key head": heads(3, 1, layer_types=MIXED, rope_parameters=TWO_ROPES, **GEMMA),
        "two rope bases, global one linear": heads(4, 2, layer_types=MIXED, rope_parameters=LINEAR_ROPE, **GEMMA),
        "untied, every layer local": heads(4, 4, tie_word_embeddings=False, **GEMMA),
        "8 layers in the period of 6": heads(2, 1, num_hidden_layers=8, **GEMMA),
    },
}
"""model_type -> what the configuration tries -> fields of the config of `transformers` beside SHAPE."""

CONFIGS = {
    "llama": transformers.LlamaConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "gemma3_text": transformers.Gemma3TextConfig,
}


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Weights far from their initial values, so that a forgotten one shows: norms near what leaves a state as it is."""
    generator = seeded(1)
    is_gemma = "Gemma" in type(model).__name__  # norms multiply by 1 + weight
    with torch.no_grad():
        for parameter in model.parameters():
            centre = 1.0 if parameter.dim() == 1 and not is_gemma else 0.0
            parameter.copy_(centre + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def reference(family: str, name: str) -> torch.nn.Module:
    config = CONFIGS[family](**(SHAPE | DECODERS[family][name]))
    return randomise(transformers.AutoModelForCausalLM.from_config(config))


def as_version_4(folder: Path) -> None:
    """Rewrite config.json as transformers 4 wrote it: rotary fields at the top, a period instead of layer types."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["torch_dtype"] = values.pop("dtype")
    parameters = values.pop("rope_parameters")
    if "sliding_attention" in parameters:
        values["rope_local_base_freq"] = parameters["sliding_attention"]["rope_theta"]
        parameters = parameters["full_attention"]
        types = values.pop("layer_types")
        values["sliding_window_pattern"] = types.index("full_attention") + 1 if "full_attention" in types else 6
    values["rope_theta"] = parameters.pop("rope_theta")
    values["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    path.write_text(json.dumps(values))


@torch.inference_mode()
def compare(ours: LLM, theirs: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Largest differences to `theirs` (ids (B, T) -> logits), of one pass, cached steps, and a left-padded batch."""
    ids = torch.randint(0, V, (3, T), generator=seeded(2))
    expected = theirs(ids)
    errors = {"one pass": ours(ids) - expected}
    # a prompt, then pieces of two tokens and of one; the cache has room to spare
    cache = ours.new_cache(3, T + 3)
    pieces = ids.split((T - STEPS - 2, 2, *[1] * STEPS), dim=1)
    errors["cached"] = torch.cat([ours.logits(ours.hidden(piece, cache=cache)) for piece in pieces], 1) - expected
    # rows of unequal length against each row alone, cached too
    start = torch.tensor([0, 4, T - STEPS - 1])
    cache = ours.new_cache(3, T)
    pieces = ids.split((T - STEPS, *[1] * STEPS), dim=1)
    padded = torch.cat([ours.logits(ours.hidden(piece, cache=cache, start=start)) for piece in pieces], 1)
    rows = [(padded[b, first:] - theirs(ids[b : b + 1, first:])[0]).flatten() for b, first in enumerate(start.tolist())]
    errors["left-padded"] = torch.cat(rows)
    return {name: difference.abs().max().item() for name, difference in errors.items()}


def measure_decoder(theirs: torch.nn.Module, folder: Path) -> dict[str, float]:
    """Sharded files of `transformers` 5 into ours, a config.json of version 4 too, and ours back into theirs."""
    theirs.save_pretrained(folder / "theirs", max_shard_size="40KB")
    assert (folder / "theirs" / "model.safetensors.index.json").is_file()
    ours = load_llm(folder / "theirs")
    errors = compare(ours, lambda ids: theirs(ids).logits)

    ids = torch.randint(0, V, (2, T), generator=seeded(3))
    save_llm(ours, folder / "ours")
    again = transformers.AutoModelForCausalLM.from_pretrained(folder / "ours").eval()
    as_version_4(folder / "theirs")
    with torch.inference_mode():
        errors["written back"] = (again(ids).logits - theirs(ids).logits).abs().max().item()
        errors["v4 config"] = (load_llm(folder / "theirs")(ids) - theirs(ids).logits).abs().max().item()
    return errors


def decoder_row(family: str, name: str) -> Row:
    return Row(family, name, lambda folder: measure_decoder(reference(family, name), folder))


# 2) The text part of Gemma 3 with pictures.


def picture_model() -> torch.nn.Module:
    text = SHAPE | heads(4, 2, **GEMMA) | {"layer_types": MIXED, "rope_parameters": LINEAR_ROPE}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 16, "patch_size": 8}
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return randomise(transformers.Gemma3ForConditionalGeneration(config))


def measure_picture_model(folder: Path, keys_of_5: bool) -> dict[str, float]:
    theirs = picture_model()
    theirs.save_pretrained(folder)
    if keys_of_5:  # `transformers` writes those of version 4; its own modules are named otherwise
        path = folder / "model.safetensors"
        tensors = load_file(path)
        moved = {key.replace("language_model.model.", "model.language_model."): t for key, t in tensors.items()}
        moved = {f"model.{key}" if key.startswith(("vision_", "multi_")) else key: t for key, t in moved.items()}
        assert set(moved) != set(tensors)
        save_file(moved, path)
    return compare(load_llm(folder), lambda ids: theirs(input_ids=ids).logits)


CLIPS = [(case, "CLIPModel") for case in test_clip.CASES] + [("b32-like", kind) for kind in test_clip.KINDS[1:]]

ROWS = [
    *(decoder_row(family, name) for family, names in DECODERS.items() for name in names),
    Row("gemma3", "text part, keys of transformers 4", lambda folder: measure_picture_model(folder, keys_of_5=False)),
    Row("gemma3", "text part, keys of transformers 5", lambda folder: measure_picture_model(folder, keys_of_5=True)),
    *(Row("t5", case, partial(test_t5.measure_t5, case)) for case in test_t5.CASES),
    *(Row("clip", f"{case}, {kind}", partial(test_clip.measure_clip, case, kind)) for case, kind in CLIPS),
]
"""The table. Another family adds its rows here."""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.family}: {row.name}")
def test_parity(row, tmp_path):
    errors = row.measure(tmp_path)
    assert max(errors.values()) < LARGEST_ERROR, errors


def test_what_is_left_out_of_a_model_with_pictures(tmp_path, capsys):
    """A line says how much; a key that belongs neither to the text nor to pictures is refused."""
    picture_model().save_pretrained(tmp_path)
    load_llm(tmp_path)
    assert "also reads pictures: 34 tensors for them are not loaded" in capsys.readouterr().err
    path = tmp_path / "model.safetensors"
    save_file(load_file(path) | {"audio_tower.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="unexpected 1 .audio_tower.weight"):
        load_llm(tmp_path)


# 3) New words beside the tables of every family.

WORDS = [("llama", "3 query heads, 1 key head, tied"), ("llama", "untied, heads not grouped")]
WORDS += [("qwen2", "tied, grouped"), ("qwen3", "untied, 3 query heads, 1 key head")]
WORDS += [("gemma3_text", "two rope bases, global one linear"), ("gemma3_text", "untied, every layer local")]


@pytest.mark.slow  # 18 models, each trained, merged and read by transformers
@for_each("family, name", WORDS)
@for_each("first_id", [V - 7, V, V + 1])  # a padded table, a full one, a tokenizer with a token more
def test_new_words(family, name, first_id, tmp_path):
    """Old rows do not move by a bit while adapters and new rows train; the merged model is one of `transformers`."""
    reference(family, name).save_pretrained(tmp_path)
    ours = load_llm(tmp_path)
    ours.extend(first_id, 12, seeded(4))
    lora.inject(ours, LoRAConfig(lora_r=2), seeded(5))
    before = {key: tensor.clone() for key, tensor in ours.state_dict().items()}
    trained = [parameter for parameter in ours.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1)
    ids = torch.randint(0, ours.vocab_size, (4, T), generator=seeded(6))
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(ours(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = {key for key, tensor in ours.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved == {key for key in before if "lora_" in key or key in ("new_in", "new_out")}

    lora.merge(ours)
    save_llm(ours, tmp_path / "merged")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert len(theirs.get_input_embeddings().weight) == first_id + 12
    with torch.inference_mode():
        assert (theirs(ids).logits - ours(ids)).abs().max() < LARGEST_ERROR


def print_table() -> bool:
    """The table on stdout; whether every row is close enough."""
    print(f"{'family':12} {'configuration':38} {'largest':>8}   {'of each comparison'}")
    good = True
    for row in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            errors = row.measure(Path(folder))
        good = good and max(errors.values()) < LARGEST_ERROR
        parts = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
        print(f"{row.family:12} {row.name:38} {max(errors.values()):8.1e}   {parts}", flush=True)
    return good


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    sys.exit(0 if print_table() else 1)
