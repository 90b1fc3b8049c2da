"""The config.json of Hugging Face as an `LLMConfig` and back: one row per family of decoders.

A row says which flags a family means, what its files may leave out, and which fields change the arithmetic in a way
that this decoder does not compute: those are refused by name, because ignoring them would give another model. Files of
transformers 4 and 5 are read alike (`rope_theta` and `rope_parameters`, `sliding_window_pattern` and `layer_types`).
To add a family, add a row; docs/FAMILIES.md tells how.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from motiongpt.config import LAYER_TYPES, LLMConfig
from motiongpt.files.fields import get_field, is_kind

LLM_KEYS = {start: f"model.{start}" for start in ("embed_tokens.", "layers.", "norm.")} | {"lm_head.": "lm_head."}
"""Start of our parameter names -> start of theirs, for all families. Inside a layer the names are the same."""

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
"""Our config field -> theirs, for all families. Rotary fields have several places, so they are read separately."""

LLAMA3_FIELDS = {
    "rope_low_freq": "low_freq_factor",
    "rope_high_freq": "high_freq_factor",
    "rope_original_positions": "original_max_position_embeddings",
}
"""Our config field -> theirs, inside the rope parameters of type llama3."""

MAX_LAYERS = 1_000  # a larger number is damage; without this check such a model would be built first


@dataclass(frozen=True)
class Family:
    """What one `model_type` means. Names of fields are ours in `flags` and `fields`, theirs in the rest."""

    architecture: str
    flags: Mapping[str, object]  # our fields with one value in this family
    fields: Mapping[str, str] = field(default_factory=dict)  # further fields of ours -> theirs
    defaults: Mapping[str, object] = field(default_factory=dict)  # for fields that a file may lack, as in transformers
    only: Mapping[str, tuple] = field(default_factory=dict)  # fields that change the arithmetic -> what is computed
    rope_types: tuple[str, ...] = ("default",)
    written: Mapping[str, object] = field(default_factory=dict)  # further fields of the config.json that we write


QWEN_ONLY = {"hidden_act": ("silu",), "attention_bias": (False,), "use_sliding_window": (False,)}
GEMMA_ONLY = {
    "hidden_activation": ("gelu_pytorch_tanh",),
    "attention_bias": (False,),
    "final_logit_softcapping": (),
    "attn_logit_softcapping": (),
    "use_bidirectional_attention": (False,),
}
ANY_ONLY = {"quantization_config": (), "partial_rotary_factor": (1,)}

FAMILIES = {
    "qwen2": Family(  # Qwen2.5 calls itself qwen2
        "Qwen2ForCausalLM",
        {"qkv_bias": True, "qk_norm": False, "o_bias": False},
        only=QWEN_ONLY,
        written={"hidden_act": "silu", "use_sliding_window": False},
    ),
    "qwen3": Family(
        "Qwen3ForCausalLM",
        {"qkv_bias": False, "qk_norm": True},
        defaults={"head_dim": 128},
        only=QWEN_ONLY,
        written={"hidden_act": "silu", "use_sliding_window": False},
    ),
    "llama": Family(  # Llama 1, 2, 3.x, SmolLM2, and others that say so
        "LlamaForCausalLM",
        {"qk_norm": False},
        fields={"qkv_bias": "attention_bias", "o_bias": "attention_bias", "mlp_bias": "mlp_bias"},
        defaults={"max_position_embeddings": 2048, "attention_bias": False, "mlp_bias": False},
        only={"hidden_act": ("silu",), "rope_interleaved": (False,)},
        rope_types=("default", "linear", "llama3"),
        written={"hidden_act": "silu"},
    ),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        {
            **{"qk_norm": True, "post_norms": True, "unit_offset_norms": True, "scale_embeddings": True},
            "activation": "gelu_tanh",
        },
        fields={"query_scalar": "query_pre_attn_scalar", "window": "sliding_window"},
        defaults={
            **{"vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26},
            **{"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "rope_theta": 1_000_000.0},
            **{"max_position_embeddings": 131_072, "query_pre_attn_scalar": 256, "sliding_window": 4096},
            "tie_word_embeddings": True,
        },
        only=GEMMA_ONLY,
        rope_types=("default", "linear"),
        written={"hidden_activation": "gelu_pytorch_tanh"},
    ),
}
"""model_type -> its row."""

TEXT_PART = {"gemma3": "gemma3_text"}
"""model_type of a model that also reads pictures -> that of its text part, which we load."""

TEXT_PART_KEYS = {
    "language_model.model.": "model.",
    "language_model.lm_head.": "lm_head.",
    "model.language_model.": "model.",
    "lm_head.": "lm_head.",
}
"""Start of a key in such a model -> in a text model, for transformers 4 and 5."""

PICTURE_KEYS = (
    *("vision_tower.", "multi_modal_projector."),
    *("model.vision_tower.", "model.multi_modal_projector."),
)
"""Starts of the keys that belong to pictures."""


# 1) Theirs to ours.


def llm_config_from_hf(values: dict) -> LLMConfig:
    """The config.json of a decoder as ours. ValueError names a field that this decoder cannot compute."""
    model_type, values = text_part(values)
    family = FAMILIES[model_type]
    for name, allowed in (ANY_ONLY | family.only).items():
        if values.get(name) is not None and values[name] not in allowed:
            raise ValueError(
                f"{name} {values[name]!r} is not supported for {model_type}; supported: {allowed or 'none'}"
            )
    # sizes, with defaults for the fields that a file may lack
    given = family.defaults | {name: value for name, value in values.items() if value is not None}
    required = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    missing = [name for name in required if not is_kind(given.get(name), int)]
    if missing:
        raise ValueError(f"config.json has no integer {', '.join(missing)}: it does not describe a {model_type} model")
    heads = given["num_attention_heads"]
    given = {
        "num_key_value_heads": heads,
        "head_dim": given["hidden_size"] // heads if heads else 0,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        **given,
    }
    fields = {}
    for ours, theirs in (LLM_FIELDS | family.fields).items():
        kind = type(getattr(LLMConfig, ours))
        fields[ours] = get_field(given, theirs, kind, "the model's config", least=None if kind is bool else 0)
    if fields["num_layers"] > MAX_LAYERS:
        raise ValueError(f"num_hidden_layers is {fields['num_layers']}, which is not plausible")
    fields["layer_types"] = layer_types(given, family, fields["num_layers"])
    return LLMConfig.from_dict(fields | dict(family.flags) | rope_fields(given, family))


def text_part(values: dict) -> tuple[str, dict]:
    """(model_type of a row of `FAMILIES`, its fields), out of `text_config` for a model with pictures."""
    model_type = values.get("model_type")
    if isinstance(model_type, str) and model_type in TEXT_PART:
        # the outer file decides on the head, about which the inner one may say nothing, and on quantisation
        outer = ("tie_word_embeddings", "quantization_config")
        outer = {name: values[name] for name in outer if values.get(name) is not None}
        return TEXT_PART[model_type], get_field(values, "text_config", dict, "") | outer
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        supported = ", ".join((*FAMILIES, *TEXT_PART))
        raise ValueError(f"model_type {model_type!r} is not supported; supported: {supported}")
    return model_type, values


def layer_types(given: dict, family: Family, layers: int) -> tuple[str, ...]:
    """full_attention or sliding_attention per layer; () for a family without windows. ValueError for other kinds."""
    known = LAYER_TYPES if "window" in family.fields else LAYER_TYPES[:1]
    types = get_field(given, "layer_types", list, "the model's config", [])
    others = [kind for kind in types if kind not in known]
    if others:
        raise ValueError(f"layer_types {str(others)[:60]} are not supported; supported: {', '.join(known)}")
    if "window" not in family.fields:
        return ()
    if types:
        return tuple(types)
    # older files give a period: every so many layers, the last of them is global
    names = ("sliding_window_pattern", "_sliding_window_pattern")
    period = next((get_field(given, name, int, "the model's config", least=1) for name in names if name in given), 6)
    return tuple(LAYER_TYPES[layer % period != period - 1] for layer in range(layers))


def rope_fields(given: dict, family: Family) -> dict:
    """Our rotary fields, out of `rope_parameters` (transformers 5, per layer type or not) or of the older fields."""
    found: dict[str, dict] = {kind: {} for kind in LAYER_TYPES}
    for name in ("rope_scaling", "rope_parameters"):
        rope = get_field(given, name, dict, "", {})
        nested = any(isinstance(value, dict) for value in rope.values())
        for kind, part in rope.items() if nested else [("full_attention", rope)]:
            allowed = family.rope_types if kind == "full_attention" else ("default",)
            bad = nested and ("window" not in family.fields or kind not in LAYER_TYPES or not isinstance(part, dict))
            # older files call the type `type`
            if bad or _rope_type(part) not in allowed or part.get("partial_rotary_factor", 1) != 1:
                raise ValueError(f"{name} {rope} is not supported; supported: rope_type {', '.join(allowed)}")
            found[kind] |= part
    rope = found["full_attention"]
    theta = get_field(given | rope, "rope_theta", float, "the model's config", 10_000.0, least=1)
    fields = {"rope_theta": float(theta)}
    if _rope_type(rope) != "default":
        fields |= {"rope_scaling": _rope_type(rope)}
        fields |= {"rope_factor": get_field(rope, "factor", float, "rope_parameters")}
    if _rope_type(rope) == "llama3":
        rope = {"original_max_position_embeddings": given["max_position_embeddings"]} | rope
        for ours, theirs in LLAMA3_FIELDS.items():
            fields[ours] = get_field(rope, theirs, type(getattr(LLMConfig, ours)), "rope_parameters")
    if "window" in family.fields:
        local = found["sliding_attention"].get("rope_theta", given.get("rope_local_base_freq", 10_000.0))
        fields["local_rope_theta"] = get_field({"rope_theta": local}, "rope_theta", float, "sliding_attention", least=1)
    return fields


def _rope_type(rope: dict) -> str:
    return rope.get("rope_type", rope.get("type", "default"))


# 2) Ours to theirs.


def llm_config_to_hf(config: LLMConfig) -> dict:
    """The inverse of `llm_config_from_hf`. ValueError if no public family has these flags."""
    for model_type, family in FAMILIES.items():
        if any(getattr(config, name) != value for name, value in family.flags.items()):
            continue
        if model_type == "qwen2" and config.head_dim * config.num_heads != config.hidden_size:
            raise ValueError(f"qwen2 wants head_dim = hidden_size / num_heads, got {config.head_dim}")
        values = {
            "architectures": [family.architecture],
            "model_type": model_type,
            **{theirs: getattr(config, ours) for ours, theirs in (LLM_FIELDS | family.fields).items()},
            **rope_to_hf(config, family),
            **family.written,
        }
        if "window" in family.fields:
            values["layer_types"] = list(config.layer_types)
        try:  # a flag that this family lacks would be lost: then it is another family, or none
            if llm_config_from_hf(values) == config:
                return values
        except ValueError:
            continue
    flags = {name: getattr(config, name) for name in ("qkv_bias", "qk_norm", "o_bias", "mlp_bias", "rope_scaling")}
    raise ValueError(f"no Hugging Face family has {flags}; exportable: {', '.join(FAMILIES)}")


def rope_to_hf(config: LLMConfig, family: Family) -> dict:
    """The rotary fields in both places, for transformers 5 and for older ones."""
    scaling = {}
    if config.rope_scaling != "none":
        scaling = {"rope_type": config.rope_scaling, "factor": config.rope_factor}
    if config.rope_scaling == "llama3":
        scaling |= {theirs: getattr(config, ours) for ours, theirs in LLAMA3_FIELDS.items()}
    rope = {"rope_type": "default", "rope_theta": config.rope_theta} | scaling
    values = {"rope_theta": config.rope_theta, **({"rope_scaling": scaling} if scaling else {})}
    if "window" not in family.fields:
        return values | {"rope_parameters": rope}
    local = {"rope_type": "default", "rope_theta": config.local_rope_theta}
    parameters = {"full_attention": rope, "sliding_attention": local}
    return values | {"rope_local_base_freq": config.local_rope_theta, "rope_parameters": parameters}
