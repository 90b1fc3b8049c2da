"""Language models on disk to our `LLM` and back, in the layout of Hugging Face:
config.json and safetensors.

Every load is total and loud. Each key of the file is used exactly once, each shape is checked, and
an error names the file, what is missing and what is left over. Key tables go from our names to
theirs; the way back is the inverted table. A tied model may carry a redundant `lm_head.weight`: it
is accepted if it equals the embedding, else refused.

Files may be fp16 or bf16. Tensors are copied into the requested dtype, so a file may be replaced
while its model is in use. This file knows no text tokenizer, no training and no sampling.
"""

from dataclasses import replace
from pathlib import Path, PureWindowsPath

import torch
from torch import Tensor

from motiongpt import lora
from motiongpt.config import LLMConfig
from motiongpt.files.fields import get_field, is_kind
from motiongpt.files.hashes import known_hash, short_hash
from motiongpt.files.store import read_json, read_tensors, write_json, write_tensors
from motiongpt.llm import LLM
from motiongpt.weights.checks import Unfilled, check_total, rename

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
"""Our config field -> theirs. The rotary base is in one of two places, so it is read separately."""

MAX_LAYERS = 1_000  # a larger number is damage, and would be built before the weights show that

ONLY = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "use_sliding_window": (False,),
    "quantization_config": (),
    "partial_rotary_factor": (1,),
}
"""Fields of config.json that change the arithmetic -> the values this decoder computes.
Absent or null is fine."""

LLM_KEYS = {start: f"model.{start}" for start in ("embed_tokens.", "layers.", "norm.")} | {"lm_head.": "lm_head."}
"""Start of our parameter names -> start of theirs, for Qwen2 and Qwen3.
Inside a layer the names are the same."""


def llm_config_from_hf(values: dict) -> LLMConfig:
    """The config.json of a Qwen2, Qwen2.5 or Qwen3 model as ours.
    ValueError names a field this decoder cannot compute.

    Both `rope_parameters` (transformers 5) and plain `rope_theta` are read.
    """
    # 1) whether this decoder computes such a model
    family = values.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(f"model_type {family!r} is not supported; supported: {', '.join(FAMILIES)}")
    for name, allowed in ONLY.items():
        if values.get(name) is not None and values[name] not in allowed:
            raise ValueError(f"{name} {values[name]!r} is not supported for {family}; supported: {allowed or 'none'}")
    others = [kind for kind in values.get("layer_types") or () if kind != "full_attention"]
    if others:
        raise ValueError(f"layer_types {str(others)[:60]} are not supported; supported: full_attention")
    rope = {}
    for name in ("rope_scaling", "rope_parameters"):
        if not isinstance(values.get(name) or {}, dict):
            raise ValueError(f"{name} must be an object, got {str(values[name])[:60]}")
        rope |= values.get(name) or {}
        # older files call the kind `type`
        kind = rope.get("rope_type", rope.get("type", "default"))
        partial = rope.get("partial_rotary_factor", 1) != 1
        per_layer_type = any(isinstance(value, dict) for value in rope.values())
        if kind != "default" or partial or per_layer_type:
            raise ValueError(f"{name} {values[name]} is not supported; supported: the default rotary embedding")

    # 2) sizes, with defaults for the fields that a file may lack
    required = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    missing = [name for name in required if not is_kind(values.get(name), int)]
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
    fields = {}
    for ours, hf in LLM_FIELDS.items():
        kind = type(getattr(LLMConfig, ours))
        fields[ours] = get_field(given, hf, kind, "the model's config", least=None if kind is bool else 0)
    if fields["num_layers"] > MAX_LAYERS:
        raise ValueError(f"num_hidden_layers is {fields['num_layers']}, which is not plausible")
    theta = float(get_field(given | rope, "rope_theta", float, "the model's config", 10_000.0, least=1))
    return LLMConfig.from_dict(fields | {"rope_theta": theta} | FAMILIES[family])


def llm_config_to_hf(config: LLMConfig) -> dict:
    """The inverse of `llm_config_from_hf`. ValueError if no public family has these flags."""
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
        # in both places, for transformers 5 and for older ones
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "use_sliding_window": False,
    }


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors of a Hugging Face folder, or without it the shards of its index.

    The order is that of `transformers`: a save in one file leaves an older index, and its shards,
    beside it. Raises FileNotFoundError if a file is absent, ValueError if the index names one
    outside its folder.
    """
    single = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise FileNotFoundError(f"no model.safetensors and no {index.name} in {folder}")
    shards = list(get_field(read_json(index), "weight_map", dict, index).values())
    for name in shards:
        if not isinstance(name, str) or not name or PureWindowsPath(name).name != name:  # also no drive and no \
            raise ValueError(f"{index}: weight_map must name files of its own folder, got {str(name)[:60]!r}")
    absent = sorted({name for name in shards if not (folder / name).is_file()})
    if absent or not shards:
        raise FileNotFoundError(f"{index} names shards that are not there: {', '.join(absent) or '(none named)'}")
    return [folder / name for name in sorted(set(shards))]


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter: adapter_config.json says so, as for `transformers`,
    or nothing else does."""
    has = {name: (folder / name).is_file() for name in ("adapter_config.json", "adapter_model.safetensors")}
    return has["adapter_config.json"] or (has["adapter_model.safetensors"] and not (folder / "config.json").is_file())


def weights_hash(folder: Path | str) -> str:
    """16 hex digits that identify the weights in a folder:
    its adapter, or else its model in one or more files.

    Raises FileNotFoundError if it has neither.
    """
    folder = Path(folder)
    paths = [folder / "adapter_model.safetensors"] if is_adapter(folder) else weight_files(folder)
    return short_hash([" ".join(map(known_hash, paths)).encode()])


def load_llm(folder: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> LLM:
    """The language model of a Hugging Face folder, in `dtype` on `device` and in eval mode.

    Raises FileNotFoundError or ValueError, in one line, for files that are missing, truncated or
    contradict each other, and for unsupported configs.
    """
    folder = Path(folder)
    values = read_json(folder / "config.json")
    try:
        config = llm_config_from_hf(values)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error
    with Unfilled():
        llm = LLM(config)
    own = llm.state_dict()
    ours = {rename(name, LLM_KEYS): name for name in own}  # their key -> ours

    # 1) Gather the tensors of all shards; each key may come once.
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        for key, tensor in read_tensors(path).items():
            if key in tensors:
                raise ValueError(f"{path} holds {key}, which an earlier shard holds too")
            tensors[key] = tensor
    # a tied table may be in the file twice, if both are equal
    if config.tie_embeddings and "lm_head.weight" in tensors:
        head, table = tensors.pop("lm_head.weight"), tensors.get("model.embed_tokens.weight")
        if table is not None and not torch.equal(head, table):
            raise ValueError(f"{folder}: config.json ties the embeddings, but lm_head.weight is another matrix")

    # 2) Nothing missing, nothing left over, every shape as expected; only then fill the model.
    check_total({key: own[ours[key]].shape for key in ours}, {key: t.shape for key, t in tensors.items()}, folder)
    state = {ours[key]: tensor.to(device, dtype, copy=True) for key, tensor in tensors.items()}
    llm.load_state_dict(state, assign=True)
    return llm.eval()


def save_llm(llm: LLM, folder: Path | str, dtype: torch.dtype = torch.float32, merge_rows: bool = True) -> None:
    """Write a Hugging Face folder (config.json, model.safetensors) that `transformers` loads.

    New rows become rows first_id .. V - 1 of one table. With merge_rows=False they are left out and
    the base table keeps its size. Raises ValueError if adapters are not merged (`lora.merge`), as
    the file would lack them.
    """
    if any(not layer.merged for layer in lora.lora_layers(llm).values()):
        raise ValueError("the adapters are not merged into the weights: call lora.merge first, or use save_adapter")
    # adapters are merged, and new rows become rows of the tables
    extra = {"new_in", "new_out", *lora.adapter_state(llm)}
    state = {name: tensor for name, tensor in llm.state_dict().items() if name not in extra}
    vocab_size = llm.config.vocab_size
    # base rows past first_id are padding: the new rows take their place
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
