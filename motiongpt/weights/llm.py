"""Weights on disk to our modules and back: Hugging Face language models, PEFT adapters.

Every load is total and loud: each key of the file is used exactly once, each shape is checked, and the error names
the file, what is missing and what is left over. Key tables go from our names to theirs; the way back is the table
inverted. A tied model may carry a redundant `lm_head.weight`; it is accepted where it equals the embedding and
refused where it does not. Files may be fp16 or bf16; tensors are copied into the asked dtype, so a file may be
replaced while its model is in use. This file knows no tokenizer, no training and no sampling.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motiongpt import lora
from motiongpt.config import LLMConfig, LoRAConfig
from motiongpt.files.store import (
    Unfilled,
    file_hash,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from motiongpt.llm import LLM
from motiongpt.vqvae import VQVAE
from motiongpt.weights.vqvae import read_vqvae


def check_total(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]], source: Path | str) -> None:
    """ValueError unless both name the same tensors with the same shapes; it lists the first few that disagree."""

    def few(keys: list[str]) -> str:
        return f"{len(keys)} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else "none"

    missing, unexpected = [k for k in expected if k not in found], [k for k in found if k not in expected]
    if missing or unexpected:
        raise ValueError(f"{source} does not fit the model: missing {few(missing)}, unexpected {few(unexpected)}")
    for key, shape in expected.items():
        if tuple(found[key]) != tuple(shape):
            raise ValueError(f"{source}: {key} is {tuple(found[key])}, the model has {tuple(shape)}")


# 1) Language models: a Hugging Face folder (config.json, one safetensors file or an index of shards).

FAMILIES = {"qwen2": {"qkv_bias": True, "qk_norm": False}, "qwen3": {"qkv_bias": False, "qk_norm": True}}
"""model_type -> our flags. Qwen2.5 calls itself qwen2."""

LLM_FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "max_positions": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "tie_embeddings": "tie_word_embeddings",
}
"""Our config field -> theirs; the rotary base is in one of two places and is read apart."""

ONLY = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "use_sliding_window": (False,),
    "quantization_config": (),
    "partial_rotary_factor": (1,),
}
"""Fields of config.json that change the arithmetic, with the values this decoder computes (absent or null is fine)."""

LLM_KEYS = {start: f"model.{start}" for start in ("embed_tokens.", "layers.", "norm.")} | {"lm_head.": "lm_head."}
"""Start of our parameter names -> start of theirs, for Qwen2 and Qwen3; inside a layer the names are the same."""


def rename(key: str, table: Mapping[str, str]) -> str:
    """Replace the start of a key by a table; KeyError where no entry fits."""
    for start, other in table.items():
        if key.startswith(start):
            return other + key[len(start) :]
    raise KeyError(key)


def llm_config_from_hf(values: dict) -> LLMConfig:
    """config.json of a Qwen2, Qwen2.5 or Qwen3 model; ValueError names any field this decoder does not compute.

    `rope_parameters` (transformers 5) and plain `rope_theta` are both read.
    """
    family = values.get("model_type")
    if family not in FAMILIES:
        raise ValueError(f"model_type {family!r} is not supported; supported: {', '.join(FAMILIES)}")
    for name, allowed in ONLY.items():
        if values.get(name) is not None and values[name] not in allowed:
            raise ValueError(f"{name} {values[name]!r} is not supported for {family}; supported: {allowed or 'none'}")
    others = sorted(set(values.get("layer_types") or ()) - {"full_attention"})
    if others:
        raise ValueError(f"layer_types {others} are not supported; supported: full_attention")
    rope = {}
    for name in ("rope_scaling", "rope_parameters"):
        rope |= values.get(name) or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if (
            kind != "default"
            or rope.get("partial_rotary_factor", 1) != 1
            or any(isinstance(v, dict) for v in rope.values())
        ):
            raise ValueError(f"{name} {values[name]} is not supported; supported: the default rotary embedding")

    required = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    missing = [name for name in required if not isinstance(values.get(name), int)]
    if missing:
        raise ValueError(f"config.json has no integer {', '.join(missing)}: it does not describe a {family} model")
    defaults = {
        "num_key_value_heads": values["num_attention_heads"],
        "head_dim": 128 if family == "qwen3" else values["hidden_size"] // values["num_attention_heads"],
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    }
    given = defaults | {name: value for name, value in values.items() if value is not None}
    theta = float(rope.get("rope_theta", given.get("rope_theta", 10_000.0)))
    return LLMConfig(**{ours: given[hf] for ours, hf in LLM_FIELDS.items()}, rope_theta=theta, **FAMILIES[family])


def llm_config_to_hf(config: LLMConfig) -> dict:
    """The inverse of `llm_config_from_hf`; ValueError where no public family has these flags."""
    flags = {"qkv_bias": config.qkv_bias, "qk_norm": config.qk_norm}
    family = next((name for name, value in FAMILIES.items() if value == flags), None)
    if family is None:
        raise ValueError(f"no Hugging Face family has {flags}; exportable: {FAMILIES}")
    if family == "qwen2" and config.head_dim * config.num_heads != config.hidden_size:
        raise ValueError(f"qwen2 wants head_dim = hidden_size / num_heads, got {config.head_dim}")
    return {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "hidden_act": "silu",
        **{hf: getattr(config, ours) for ours, hf in LLM_FIELDS.items()},
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "use_sliding_window": False,
    }


def weight_files(folder: Path) -> list[Path]:
    """The safetensors file of an HF folder, or the shards of its index; errors name what is not there."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        if not (folder / "model.safetensors").is_file():
            raise FileNotFoundError(f"no model.safetensors and no {index.name} in {folder}")
        return [folder / "model.safetensors"]
    shard_of = read_json(index).get("weight_map")
    shards = [folder / name for name in sorted(set(shard_of.values()))] if isinstance(shard_of, dict) else []
    absent = [shard.name for shard in shards if not shard.is_file()]
    if absent or not shards:
        raise FileNotFoundError(f"{index} names shards that are not there: {', '.join(absent) or '(none named)'}")
    return shards


def weights_hash(folder: Path | str) -> str:
    """16 hex digits that stand for the weights in a folder: its adapter, else its model in however many files.

    FileNotFoundError where it has neither.
    """
    adapter = Path(folder) / "adapter_model.safetensors"
    paths = [adapter] if adapter.is_file() else weight_files(Path(folder))
    parts = [_known_hash(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _known_hash(path: Path, size: int, changed: int) -> str:
    """A stage asks several times for the same gigabytes; size and time of change tell a replaced file."""
    return file_hash(path)


def load_llm(folder: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> LLM:
    """The language model of a Hugging Face folder, in `dtype` on `device`.

    FileNotFoundError / ValueError in one line for missing, truncated or contradicting files and unsupported configs.
    """
    folder = Path(folder)
    values = read_json(folder / "config.json")
    try:
        config = llm_config_from_hf(values)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error
    with Unfilled():
        llm = LLM(config)
    ours = {rename(name, LLM_KEYS): name for name in llm.state_dict()}
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        for key, tensor in read_tensors(path).items():
            if key in tensors:
                raise ValueError(f"{path} holds {key}, which an earlier shard holds too")
            tensors[key] = tensor
    if config.tie_embeddings and "lm_head.weight" in tensors:
        head, table = tensors.pop("lm_head.weight"), tensors.get("model.embed_tokens.weight")
        if table is not None and not torch.equal(head, table):
            raise ValueError(f"{folder}: config.json ties the embeddings, but lm_head.weight is another matrix")
    own = llm.state_dict()
    check_total({key: own[ours[key]].shape for key in ours}, {key: t.shape for key, t in tensors.items()}, folder)
    state = {ours[key]: tensor.to(device, dtype, copy=True) for key, tensor in tensors.items()}
    llm.load_state_dict(state, assign=True)
    return llm.eval()


def save_llm(llm: LLM, folder: Path | str, dtype: torch.dtype = torch.float32, merge_rows: bool = True) -> None:
    """Write a Hugging Face folder (config.json, model.safetensors) that `transformers` loads.

    New rows become rows first_id .. V - 1 of one table, or are left out with merge_rows=False, where the base table
    keeps its own size. Adapters must be merged (`lora.merge`) or the export would miss them: ValueError otherwise.
    """
    if any(not layer.merged for layer in lora.lora_layers(llm).values()):
        raise ValueError("the adapters are not merged into the weights: call lora.merge first, or use save_adapter")
    extra = {"new_in", "new_out", *lora.adapter_state(llm)}
    state = {name: tensor for name, tensor in llm.state_dict().items() if name not in extra}
    vocab_size = llm.config.vocab_size
    if merge_rows and llm.new_in is not None:
        vocab_size = llm.vocab_size
        for name, rows in (("embed_tokens.weight", llm.new_in), ("lm_head.weight", llm.new_out)):
            if name in state:
                state[name] = torch.cat((state[name][: llm.first_id].to(rows.dtype), rows.detach()))
    folder = Path(folder)
    tensors = {rename(name, LLM_KEYS): tensor.to(dtype) for name, tensor in state.items()}
    write_tensors(folder / "model.safetensors", tensors)
    values = llm_config_to_hf(replace(llm.config, vocab_size=vocab_size)) | {"dtype": str(dtype).removeprefix("torch.")}
    write_json(folder / "config.json", values)


BACKBONE_FILES = (
    *("config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "*.model", "vocab.json", "merges.txt", "special_tokens_map.json"),
)
"""What is fetched of a backbone on the Hub; many repositories hold the same weights in other formats too."""


def resolve_folder(
    name_or_path: str | Path, kind: str, advice: str, allow: Sequence[str] = ("*",), ignore: Sequence[str] = ()
) -> Path:
    """A local folder as it is; USER/NAME is fetched from the Hub or its cache: files matching `allow`, not `ignore`.

    Where there is a folder USER here, a missing USER/NAME is a path misspelt and the Hub is not asked.
    FileNotFoundError (saying `kind` and `advice`) for a path that is no folder, ValueError where the Hub gives none.
    """
    path, name = Path(name_or_path).expanduser(), str(name_or_path)
    if path.is_dir():
        return path
    if name.count("/") != 1 or path.is_absolute() or name.startswith((".", "~")) or path.parent.is_dir():
        raise FileNotFoundError(f"no {kind} folder at {name}; {advice}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(allow), ignore_patterns=list(ignore)))
    except (HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{name} is neither a local folder nor a {kind} that could be fetched from the Hub ({reason}); "
            "check the name and the network, or give a folder"
        ) from error


def resolve_backbone(name_or_path: str | Path) -> Path:
    """The folder of a backbone, by path or repo id; raises as `resolve_folder`."""
    advice = "expected one with config.json and model.safetensors, or a Hub repo id"
    return resolve_folder(name_or_path, "backbone", advice, allow=BACKBONE_FILES)


# 2) Adapters: PEFT's layout (adapter_config.json, adapter_model.safetensors).

PEFT_KEYS = {start: "base_model.model." + other for start, other in LLM_KEYS.items()}
PEFT_ROWS = {
    "new_in": "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
    "new_out": "base_model.model.lm_head.token_adapter.trainable_tokens_delta",
}
"""Where PEFT keeps trained rows of the two tables. Despite the name they are the rows themselves, not differences."""

PEFT_PLAIN = {"peft_type": "LORA", "bias": "none"}
PEFT_UNUSED = (
    *("use_rslora", "use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias"),
    *("exclude_modules", "layers_to_transform", "layer_replication", "target_parameters", "alora_invocation_tokens"),
)
"""Fields of adapter_config.json that must have this value, or be empty: anything else is another adapter."""


def row_tables(llm: LLM) -> dict[str, str]:
    """Our tables of new rows -> the modules PEFT trains them in."""
    return {"new_in": "embed_tokens"} if llm.config.tie_embeddings else {"new_in": "embed_tokens", "new_out": "lm_head"}


def save_adapter(llm: LLM, folder: Path | str, config: LoRAConfig, base_name: str) -> None:
    """Write adapters and new rows as PEFT does; `base_name` is the repo id or folder of the untouched base.

    PEFT's `PeftModel.from_pretrained` loads it onto the base after `base.resize_token_embeddings(V)`.
    """
    tensors = {rename(name, PEFT_KEYS) + ".weight": tensor for name, tensor in lora.adapter_state(llm).items()}
    indices: list[int] | dict[str, list[int]] | None = None
    if llm.new_in is not None:
        tables = row_tables(llm)
        tensors |= {PEFT_ROWS[name]: getattr(llm, name) for name in tables}
        ids = list(range(llm.first_id, llm.vocab_size))
        indices = ids if len(tables) == 1 else {module: ids for module in tables.values()}
    values = {
        **PEFT_PLAIN,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": config.lora_r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "target_modules": sorted(config.lora_targets),
        "trainable_token_indices": indices,
        "inference_mode": True,
    }
    write_tensors(Path(folder) / "adapter_model.safetensors", tensors)
    write_json(Path(folder) / "adapter_config.json", values)


def adapter_config(path: Path) -> tuple[LoRAConfig, list[list[int]]]:
    """Our settings, and the ids of the new rows once per table, from an adapter_config.json; ValueError as it fits."""
    values = read_json(path)
    for name, value in PEFT_PLAIN.items():
        if values.get(name, value) != value:
            raise ValueError(f"{path}: {name} {values[name]!r} is not supported; supported: {value!r}")
    used = [name for name in PEFT_UNUSED if values.get(name)]
    targets = values.get("target_modules")
    if used or not isinstance(targets, list) or not isinstance(values.get("r"), int):
        raise ValueError(
            f"{path}: not a plain LoRA with a list of target_modules and a rank r (in use: {used or 'none'})"
        )
    indices = values.get("trainable_token_indices") or {}
    tables = list(indices.values()) if isinstance(indices, dict) else [indices]
    if any(not ids or ids != tables[0] or ids != list(range(ids[0], ids[0] + len(ids))) for ids in tables):
        raise ValueError(f"{path}: trainable_token_indices must be one unbroken range of ids, the same in every table")
    alpha, dropout = float(values.get("lora_alpha", 8)), float(values.get("lora_dropout", 0.0))
    return LoRAConfig(values["r"], alpha, dropout, tuple(targets)), tables


def load_adapter(llm: LLM, folder: Path | str) -> LoRAConfig:
    """Load a PEFT folder and return its settings; injects adapters and new rows where the model has none yet.

    Nothing is touched before everything agrees. ValueError names the file that disagrees: rank, targets, layers,
    number or first id of the new rows.
    """
    folder = Path(folder)
    source, path = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    config, tables = adapter_config(source)
    tensors = read_tensors(path)

    linear = {name: module for name, module in llm.named_modules() if isinstance(module, nn.Linear)}
    linear = {name: module for name, module in linear.items() if name.rpartition(".")[2] in config.lora_targets}
    shapes = {f"{name}.lora_A": (config.lora_r, module.in_features) for name, module in linear.items()}
    shapes |= {f"{name}.lora_B": (module.out_features, config.lora_r) for name, module in linear.items()}
    ours = {rename(name, PEFT_KEYS) + ".weight": name for name in shapes}
    expected = {key: shapes[name] for key, name in ours.items()}
    if ids := tables[0] if tables else []:
        expected |= {PEFT_ROWS[name]: (len(ids), llm.config.hidden_size) for name in row_tables(llm)}
    check_total(expected, {key: tensor.shape for key, tensor in tensors.items()}, path)
    own = lora.lora_layers(llm)
    if own and (
        set(own) != set(linear)
        or any((layer.r, layer.alpha) != (config.lora_r, config.lora_alpha) for layer in own.values())
    ):
        raise ValueError(f"{source}: r, lora_alpha or target_modules are not those of the adapters the model has")
    if llm.new_in is not None and ids != list(range(llm.first_id, llm.vocab_size)):
        there = f"{ids[0]} to {ids[-1]}" if ids else "none"
        raise ValueError(f"{source}: new rows {there}, the model has {llm.first_id} to {llm.vocab_size - 1}")

    if ids and llm.new_in is None:
        llm.extend(ids[0], len(ids), torch.Generator())  # its own generator: the rows are replaced below
    if not own:
        lora.inject(llm, config, torch.Generator())
    lora.load_adapter_state(llm, {name: tensors[key] for key, name in ours.items()})
    with torch.no_grad():
        for name in row_tables(llm) if ids else ():
            getattr(llm, name).copy_(tensors[PEFT_ROWS[name]])
    return config


# 3) The motion tokenizer: our own folder, its config.json written by `tokenizer.py`, or the field's files.


def load_vqvae(path: Path | str, **settings: Any) -> VQVAE:
    """The VQ-VAE of a tokenizer folder (config.json + model.safetensors), or of a file of `foreign_vqvae.py`.

    fp32, in eval mode. `settings` are fields of VQVAEConfig that such a file does not tell. FileNotFoundError, or
    ValueError naming the file for damaged, missing, unexpected or misshapen tensors.
    """
    config, tensors, names, source = read_vqvae(Path(path), settings)
    with Unfilled():
        vqvae = VQVAE(config)
    own = vqvae.state_dict()
    expected, found = ({names.get(k, k): t.shape for k, t in state.items()} for state in (own, tensors))
    check_total(expected, found, source)
    vqvae.load_state_dict({k: t.to(own[k].dtype, copy=True) for k, t in tensors.items()}, assign=True)
    return vqvae.eval()


def save_vqvae(vqvae: VQVAE, folder: Path | str, dtype: torch.dtype = torch.float32) -> None:
    """Write model.safetensors, floating tensors as `dtype`."""
    tensors = {k: t.to(dtype) if t.is_floating_point() else t for k, t in vqvae.state_dict().items()}
    write_tensors(Path(folder) / "model.safetensors", tensors)
