"""Files of language models and adapters: round trips, and errors for wrong or broken files."""

import json
import sys
import types
from dataclasses import replace

import pytest
import torch
from cases import for_each, seeded
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from motiongpt import lora
from motiongpt.config import LLM_PRESETS, LoRAConfig
from motiongpt.hub import resolve_backbone, resolve_folder
from motiongpt.llm import LLM
from motiongpt.weights import llm as weights
from motiongpt.weights.adapters import load_adapter, save_adapter
from motiongpt.weights.hf_config import llm_config_from_hf, llm_config_to_hf
from motiongpt.weights.shards import weights_hash
from motiongpt.weights.vqvae import load_vqvae

TINY = LLM_PRESETS["tiny"]
CONFIG = LoRAConfig(lora_r=3, lora_alpha=6.0)


def make(**changes) -> LLM:
    return LLM(replace(TINY, **changes), seeded(0)).eval()


def adapted(config: LoRAConfig = CONFIG, **changes) -> LLM:
    llm = make(**changes)
    llm.extend(290, 20, seeded(1))
    lora.inject(llm, config, seeded(2))
    with torch.no_grad():
        for layer in lora.lora_layers(llm).values():
            layer.lora_B.normal_(0, 0.1, generator=seeded(3))
    return llm


def edit(path, **changes):
    """Change fields of a JSON file; None removes one."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}))


@pytest.fixture
def ids():
    return torch.randint(0, 290, (2, 9), generator=seeded(4))


# Language models


@for_each("tied", [True, False])
@for_each("family", ["qwen2", "qwen3"])
def test_round_trip(tied, family, tmp_path):
    llm = make(tie_embeddings=tied, qkv_bias=family == "qwen2", qk_norm=family == "qwen3")
    weights.save_llm(llm, tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}  # some versions of transformers refuse a file without it
    again = weights.load_llm(tmp_path)
    assert again.config == llm.config
    assert list(again.state_dict()) == list(llm.state_dict())
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in llm.state_dict().items())
    assert all(parameter.requires_grad for parameter in again.parameters()) and not again.training


def test_merged_rows_can_be_taken_apart_again(ids, tmp_path):
    llm = make()
    llm.extend(290, 20, seeded(1))
    weights.save_llm(llm, tmp_path / "merged")
    again = weights.load_llm(tmp_path / "merged")
    assert again.config.vocab_size == 310
    again.extend(290, 20, from_base=True)
    assert torch.equal(again.new_in, llm.new_in) and torch.equal(again(ids), llm(ids))
    weights.save_llm(llm, tmp_path / "base", merge_rows=False)
    assert torch.equal(weights.load_llm(tmp_path / "base").embed_tokens.weight, llm.embed_tokens.weight)


def test_merged_adapter_is_exported(ids, tmp_path):
    llm = adapted()
    expected = llm(ids)
    with pytest.raises(ValueError, match="lora.merge first"):
        weights.save_llm(llm, tmp_path)
    assert not list(tmp_path.iterdir())
    lora.merge(llm)
    weights.save_llm(llm, tmp_path)
    # fp32: W x + B A x against (W + B A) x
    torch.testing.assert_close(weights.load_llm(tmp_path)(ids), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_files_are_upcast(dtype, tmp_path):
    llm = make()
    weights.save_llm(llm, tmp_path, dtype)
    assert load_file(tmp_path / "model.safetensors")["model.norm.weight"].dtype == dtype
    again = weights.load_llm(tmp_path)
    for name, tensor in llm.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.to(dtype).float()), name
    assert weights.load_llm(tmp_path, dtype=dtype).norm.weight.dtype == dtype


def test_loading_draws_no_random_numbers_and_survives_the_file(tmp_path):
    weights.save_llm(make(), tmp_path)
    state = torch.get_rng_state()
    llm = weights.load_llm(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    path = tmp_path / "model.safetensors"
    with open(path, "r+b") as file:  # in place, as a memory-mapped tensor would change with the file
        file.seek(path.stat().st_size // 2)
        file.write(bytes(path.stat().st_size // 2))
    assert all(torch.equal(tensor, make().state_dict()[name]) for name, tensor in llm.state_dict().items())


def shard(folder):
    """Split model.safetensors in two, with an index."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, folder / file)
    index = {"weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


def test_shards(ids, tmp_path):
    weights.save_llm(make(), tmp_path)
    shard(tmp_path)
    assert torch.equal(weights.load_llm(tmp_path)(ids), make()(ids))
    save_file(load_file(tmp_path / "a.safetensors") | {"model.norm.weight": torch.ones(32)}, tmp_path / "a.safetensors")
    save_file(load_file(tmp_path / "b.safetensors") | {"model.norm.weight": torch.ones(32)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="b.safetensors holds model.norm.weight, which an earlier shard holds too"):
        weights.load_llm(tmp_path)
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="index.json names shards that are not there: b.safetensors"):
        weights.load_llm(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json"):
        weights.load_llm(tmp_path)
    weights.save_llm(make(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no model.safetensors and no model.safetensors.index.json in"):
        weights.load_llm(tmp_path)


@for_each("keep", [0, 5, 1000, -1])
def test_truncated_weights_are_named(keep, tmp_path):
    weights.save_llm(make(), tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="model.safetensors"):
        weights.load_llm(tmp_path)


def test_every_key_and_shape_counts(tmp_path):
    weights.save_llm(make(), tmp_path)
    path, tensors = tmp_path / "model.safetensors", load_file(tmp_path / "model.safetensors")
    save_file({key: tensor for key, tensor in tensors.items() if "k_norm" not in key}, path)
    with pytest.raises(ValueError, match=r"missing 2 \(model.layers.0.self_attn.k_norm.weight.*unexpected none"):
        weights.load_llm(tmp_path)
    save_file(tensors | {"model.layers.0.self_attn.q_proj.bias": torch.zeros(32)}, path)
    with pytest.raises(ValueError, match=r"missing none, unexpected 1 \(model.layers.0.self_attn.q_proj.bias\)"):
        weights.load_llm(tmp_path)
    save_file(tensors | {"model.norm.weight": torch.zeros(31)}, path)
    with pytest.raises(ValueError, match=r"model.norm.weight is \(31,\), the model has \(32,\)"):
        weights.load_llm(tmp_path)


def test_redundant_head_of_a_tied_model(ids, tmp_path):
    weights.save_llm(make(), tmp_path)
    path, tensors = tmp_path / "model.safetensors", load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, path)
    assert torch.equal(weights.load_llm(tmp_path)(ids), make()(ids))
    save_file(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}, path)
    with pytest.raises(ValueError, match="lm_head.weight is another matrix"):
        weights.load_llm(tmp_path)


def test_rotary_frequencies_of_older_files_are_left_out(ids, tmp_path):
    """Llama files of 2023 hold those of every layer. They are computed; any other key too many is still an error."""
    weights.save_llm(make(), tmp_path)
    path, tensors = tmp_path / "model.safetensors", load_file(tmp_path / "model.safetensors")
    frequencies = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in range(2)}
    save_file(tensors | frequencies, path)
    assert torch.equal(weights.load_llm(tmp_path)(ids), make()(ids))
    save_file(tensors | {"model.layers.0.self_attn.rotary_emb.cos": torch.ones(4)}, path)
    with pytest.raises(ValueError, match="unexpected 1 .model.layers.0.self_attn.rotary_emb.cos"):
        weights.load_llm(tmp_path)


# config.json


def test_config_goes_round():
    for config in (TINY, replace(TINY, qkv_bias=True, qk_norm=False, rope_theta=123.0, norm_eps=1e-5)):
        assert llm_config_from_hf(llm_config_to_hf(config)) == config


def test_config_of_qwen3_0_6b():
    """The fields of Qwen3-0.6B's config.json that concern the arithmetic; head_dim is not C / H."""
    values = dict(model_type="qwen3", vocab_size=151936, hidden_size=1024, intermediate_size=3072)
    values |= dict(num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128)
    values |= dict(max_position_embeddings=40960, rms_norm_eps=1e-06, rope_theta=1000000, rope_scaling=None)
    values |= dict(attention_bias=False, hidden_act="silu", sliding_window=None, use_sliding_window=False)
    values |= dict(tie_word_embeddings=True, max_window_layers=28, torch_dtype="bfloat16")
    config = llm_config_from_hf(values)
    assert (config.head_dim, config.num_kv_heads, config.rope_theta, config.qk_norm) == (128, 8, 1e6, True)
    assert config.tie_embeddings and not config.qkv_bias


def test_config_defaults():
    values = dict(model_type="qwen2", vocab_size=10, hidden_size=32, intermediate_size=8)
    values |= dict(num_hidden_layers=1, num_attention_heads=4)
    config = llm_config_from_hf(values)
    assert (config.head_dim, config.num_kv_heads, config.rope_theta, config.tie_embeddings) == (8, 4, 10_000.0, False)
    assert llm_config_from_hf(values | {"model_type": "qwen3"}).head_dim == 128


@for_each(
    "changes, message",
    [
        (dict(model_type="mamba"), "model_type 'mamba' is not supported; supported: qwen2, qwen3"),
        (dict(model_type=None), "model_type None"),
        (dict(rope_parameters=None, rope_scaling={"rope_type": "yarn", "factor": 4.0}), "rope_scaling .*yarn"),
        (dict(rope_parameters=None, rope_scaling={"type": "linear", "factor": 4.0}), "rope_scaling .*linear"),
        (dict(rope_parameters={"rope_type": "llama3", "rope_theta": 1.0}), "rope_parameters .*llama3"),
        (dict(use_sliding_window=True), "use_sliding_window True"),
        (dict(layer_types=["full_attention", "sliding_attention"]), "layer_types .*sliding_attention"),
        (dict(hidden_act="gelu"), "hidden_act 'gelu'"),
        (dict(attention_bias=True), "attention_bias True"),
        (dict(quantization_config={"bits": 4}), "quantization_config"),
        (dict(num_hidden_layers=None), "no integer num_hidden_layers"),
        (dict(hidden_size="32"), "no integer hidden_size"),
        (dict(num_key_value_heads=3), "num-kv-heads"),
    ],
)
def test_unsupported_configs_name_the_field(changes, message, tmp_path):
    weights.save_llm(make(), tmp_path)
    edit(tmp_path / "config.json", **changes)
    with pytest.raises(ValueError, match=message):
        weights.load_llm(tmp_path)


def test_no_family_for_these_flags():
    with pytest.raises(ValueError, match="no Hugging Face family has"):
        llm_config_to_hf(replace(TINY, qkv_bias=True, qk_norm=True))
    with pytest.raises(ValueError, match="qwen2 wants head_dim"):
        llm_config_to_hf(replace(TINY, qkv_bias=True, qk_norm=False, head_dim=16))


# Backbones by name


def test_local_folder_as_it_is(tmp_path):
    assert resolve_backbone(tmp_path) == tmp_path
    for name in (str(tmp_path / "no"), "./no", "a/b/c"):
        with pytest.raises(FileNotFoundError, match="no backbone folder at"):
            resolve_backbone(name)


def test_hub_names(monkeypatch, tmp_path):
    """The Hub is asked only for files we read, and a failure is one line that says what to do."""
    asked = {}

    def snapshot_download(name, allow_patterns, ignore_patterns):
        asked.update(name=name, patterns=allow_patterns, ignored=ignore_patterns)
        if name == "user/gone":
            raise OSError("404 Client Error\nwith a long page")
        return str(tmp_path)

    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = snapshot_download
    errors = types.ModuleType("huggingface_hub.errors")
    errors.HFValidationError = type("HFValidationError", (ValueError,), {})
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    assert resolve_backbone("user/name") == tmp_path
    assert asked["name"] == "user/name" and "*.safetensors" in asked["patterns"] and asked["ignored"] == []
    assert resolve_folder("user/run", "run", "", ignore=["*/state/*"]) == tmp_path
    assert asked == {"name": "user/run", "patterns": ["*"], "ignored": ["*/state/*"]}
    with pytest.raises(
        ValueError, match="user/gone is neither a local folder nor .*404 Client Error.*check the name"
    ) as e:
        resolve_backbone("user/gone")
    assert "\n" not in str(e.value)


def test_a_path_misspelt_is_not_looked_for_on_the_hub(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    for name in ("outputs/rum", "rum", "~nobody/rum"):
        with pytest.raises(FileNotFoundError, match=f"no run folder at {name}; do this"):
            resolve_folder(name, "run", "do this")


def test_hash_of_weights(tmp_path):
    """The hash changes with any file of the model. If there is an adapter, only its weights count."""
    with pytest.raises(FileNotFoundError, match="no model.safetensors"):
        weights_hash(tmp_path)
    for shard in "ab":
        (tmp_path / shard).write_bytes(shard.encode())
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "a", "y": "b"}}')
    seen = [weights_hash(tmp_path)]
    assert weights_hash(str(tmp_path)) == seen[0] and len(seen[0]) == 16
    (tmp_path / "b").write_bytes(b"other")
    seen.append(weights_hash(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"adapter")
    seen.append(weights_hash(tmp_path))
    assert len(set(seen)) == 3


def test_a_vqvae_config_of_another_kind_is_named(tmp_path):
    for content in ("{}", "[]", '{"VQVAEConfig": 3}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match="config.json is not a tokenizer's: it has no VQVAEConfig"):
            load_vqvae(tmp_path)


def test_hub_name_offline(monkeypatch, tmp_path):
    """The real client, offline and with an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="user/name is neither a local folder"):
        resolve_backbone("user/name")


# Adapters


@for_each("tied", [True, False])
@for_each("prepared", [False, True])
def test_adapter_round_trip(tied, prepared, tmp_path):
    """Onto a bare base, and onto a model that has other adapters and rows of the same shape."""
    llm = adapted(tie_embeddings=tied)
    save_adapter(llm, tmp_path, CONFIG, "user/base")
    again = make(tie_embeddings=tied)
    if prepared:
        again.extend(290, 20, seeded(8))
        lora.inject(again, CONFIG, seeded(9))
    state = torch.get_rng_state()
    assert load_adapter(again, tmp_path) == replace(CONFIG, lora_targets=tuple(sorted(CONFIG.lora_targets)))
    assert torch.equal(torch.get_rng_state(), state)
    ids = torch.randint(0, 310, (2, 9))
    assert torch.equal(again(ids), llm(ids))
    trained = [{name for name, p in model.named_parameters() if p.requires_grad} for model in (again, llm)]
    assert trained[0] == trained[1]


def test_adapter_without_new_rows(ids, tmp_path):
    llm = make()
    lora.inject(llm, CONFIG, seeded(2))
    save_adapter(llm, tmp_path, CONFIG, "user/base")
    again = make()
    load_adapter(again, tmp_path)
    assert again.new_in is None and torch.equal(again(ids), llm(ids))


def test_adapter_layout(tmp_path):
    save_adapter(adapted(tie_embeddings=False), tmp_path, CONFIG, "user/base")
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    assert values["base_model_name_or_path"] == "user/base" and values["r"] == 3
    rows = list(range(290, 310))
    assert values["trainable_token_indices"] == {"embed_tokens": rows, "lm_head": rows}
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"].shape == (3, 32)
    assert tensors["base_model.model.lm_head.token_adapter.trainable_tokens_delta"].shape == (20, 32)


@for_each(
    "changes, message",
    [
        (dict(r=4), r"adapter_model.safetensors: .*lora_A.weight is \(3, 32\), the model has \(4, 32\)"),
        (dict(target_modules=["q_proj"]), "adapter_model.safetensors does not fit.*unexpected 24"),
        (dict(trainable_token_indices=list(range(290, 309))), r"trainable_tokens_delta is \(20, 32\)"),
        (dict(trainable_token_indices=[1, 2, 5]), "adapter_config.json: trainable_token_indices must be one unbroken"),
        (dict(trainable_token_indices=None), "adapter_model.safetensors does not fit.*unexpected 1"),
        (dict(use_dora=True), "adapter_config.json: not a plain LoRA .*use_dora"),
        (dict(rank_pattern={"q_proj": 8}), r"q_proj.lora_A.weight is \(3, 32\), the model has \(8, 32\)"),
        (dict(rank_pattern={"q_proj": "8"}), "adapter_config.json: rank_pattern: q_proj must be"),
        (dict(alpha_pattern={"q_(": 8}), "adapter_config.json: 'q_.' is no regular expression"),
        (dict(peft_type="LOHA"), "peft_type 'LOHA'"),
        (dict(target_modules=".*q_proj"), "adapter_model.safetensors does not fit.*unexpected 24"),
        (dict(target_modules="("), "adapter_config.json: '.' is no regular expression"),
        (dict(target_modules=[3]), "adapter_config.json: not a plain LoRA with target_modules"),
        (dict(modules_to_save=["lm_head"]), "modules_to_save.*merge it into its base"),
        (dict(init_lora_weights="pissa"), "init_lora_weights 'pissa', which changes the base"),
        (dict(r=None), "not a plain LoRA"),
    ],
)
def test_disagreeing_adapters_name_the_file_and_touch_nothing(changes, message, tmp_path):
    save_adapter(adapted(), tmp_path, CONFIG, "user/base")
    edit(tmp_path / "adapter_config.json", **changes)
    llm = make()
    with pytest.raises(ValueError, match=message):
        load_adapter(llm, tmp_path)
    assert llm.new_in is None and not lora.lora_layers(llm)


def test_the_settings_of_an_adapter_come_back_exactly(tmp_path):
    """0.1 x 3 / 3 is another number: a stage could not be resumed with the alpha that it was begun with."""
    config = replace(CONFIG, lora_alpha=0.1)
    save_adapter(adapted(config), tmp_path, config, "user/base")
    llm = adapted(config)
    loaded = load_adapter(llm, tmp_path)
    assert (loaded.lora_r, loaded.lora_alpha) == (3, 0.1)


@pytest.mark.parametrize(
    "other, message",
    [
        (dict(num_layers=3), "adapter_model.safetensors does not fit the model: missing 14"),
        (dict(hidden_size=48), r"lora_A.weight is \(3, 32\), the model has \(3, 48\)"),
        (dict(tie_embeddings=False), "missing 1 .base_model.model.lm_head.token_adapter"),
    ],
)
def test_another_base_is_refused(other, message, tmp_path):
    save_adapter(adapted(), tmp_path, CONFIG, "user/base")
    with pytest.raises(ValueError, match=message):
        load_adapter(make(**other), tmp_path)


def test_prepared_model_must_agree(tmp_path):
    save_adapter(adapted(), tmp_path, CONFIG, "user/base")
    llm = make()
    llm.extend(280, 20)
    with pytest.raises(ValueError, match="adapter_config.json: new rows 290 to 309, the model has 280 to 299"):
        load_adapter(llm, tmp_path)
    llm = make()
    lora.inject(llm, replace(CONFIG, lora_alpha=3.0))
    with pytest.raises(ValueError, match="adapter_config.json: r, lora_alpha or target_modules"):
        load_adapter(llm, tmp_path)


def test_truncated_adapter_is_named(tmp_path):
    save_adapter(adapted(), tmp_path, CONFIG, "user/base")
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="adapter_model.safetensors"):
        load_adapter(make(), tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="adapter_model.safetensors"):
        load_adapter(make(), tmp_path)


# ---- which weights count ------------------------------------------------------------------------------------------


def sharded(folder, names: dict[str, str]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def test_one_file_counts_before_an_older_index(tmp_path):
    """As in transformers: `save_pretrained` in one file leaves the index of an earlier save, and maybe its shards."""
    tiny = LLM_PRESETS["tiny"]
    old, new = (LLM(tiny, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    weights.save_llm(old, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-00001-of-00001.safetensors")
    sharded(tmp_path, {"model.norm.weight": "model-00001-of-00001.safetensors"})
    before = weights_hash(tmp_path)
    assert torch.equal(weights.load_llm(tmp_path).embed_tokens.weight, old.embed_tokens.weight)  # the index alone
    weights.save_llm(new, tmp_path)
    for _ in range(2):  # the old shards still there, then gone
        assert torch.equal(weights.load_llm(tmp_path).embed_tokens.weight, new.embed_tokens.weight)
        after = weights_hash(tmp_path)
        assert after != before
        (tmp_path / "model-00001-of-00001.safetensors").unlink(missing_ok=True)
    (tmp_path / "model.safetensors.index.json").unlink()
    assert weights_hash(tmp_path) == after


def test_an_index_stays_in_its_folder(tmp_path):
    folder = tmp_path / "model"
    weights.save_llm(LLM(LLM_PRESETS["tiny"]), folder)
    outside = tmp_path / "other.safetensors"
    (folder / "model.safetensors").rename(outside)
    (folder / "sub").mkdir()
    up = ("../other.safetensors", "sub/../../other.safetensors", "..\\other", str(outside), "C:other")
    for name in (*up, "", 3, None):
        sharded(folder, {"model.norm.weight": name})
        for read in (weights.load_llm, weights_hash):
            with pytest.raises(ValueError, match="index.json: weight_map must name files of its own folder, got"):
                read(folder)
    for content, message in (("{}", "the key weight_map is missing"), ('{"weight_map": []}', "weight_map must be")):
        (folder / "model.safetensors.index.json").write_text(content)
        with pytest.raises(ValueError, match=f"index.json: {message}"):
            weights.load_llm(folder)


def test_what_makes_a_folder_an_adapter(tmp_path):
    """Its config, as for transformers: weights of an adapter beside a whole model are not its weights."""
    weights.save_llm(LLM(LLM_PRESETS["tiny"]), tmp_path)
    whole = weights_hash(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"left over")
    assert weights_hash(tmp_path) == whole
    (tmp_path / "adapter_config.json").write_text("{}")
    assert weights_hash(tmp_path) != whole
