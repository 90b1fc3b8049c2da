"""A GGUF file of the Llama architecture (llama.cpp's format) to a Hugging Face folder.

The folder gets config.json, model.safetensors, generation_config.json, tokenizer.json and tokenizer_config.json. The
`gguf` package reads the file and dequantises it. The text tokenizer is rebuilt from its vocabulary and its merges.

The default dtype is fp16, half the size of fp32: the scales of a quantised file are fp16 themselves. On SmolLM2-135M
(Q4_1), fp16 changes the perplexity of a text by 0.003 % and none of the 1,500 most likely next words; bf16 changes it
by 0.02 %, and 0.6 % of those words.

The danger: llama.cpp stores the rows of q and k in another order. Its rotary embedding turns neighbouring rows of a
head, ours turns row i with row i + d / 2. Without `half_split` every shape fits and the model writes nonsense.

Every field that changes the arithmetic is read or refused, and every tensor is used exactly once. Nothing here knows
where the file comes from.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from motiongpt.files.fields import get_field, is_kind
from motiongpt.files.limits import check_declared
from motiongpt.files.store import write_atomic, write_json, write_tensors
from motiongpt.weights.checks import check_total, half_split

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NEEDS = "reading a GGUF file needs the package gguf: python -m pip install gguf"

TABLE_KEYS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_KEYS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Name of a weight in a GGUF file -> in a Llama of Hugging Face."""

REFUSED = ("llama.expert_count", "llama.rope.scaling.type", "llama.attention.sliding_window")
"""Fields for arithmetic that is not converted. Their neutral values are 0, "none" and absence."""

LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
"""Kinds of tokens: a piece of text, a special token, an added token that is part of a text."""


def gguf_to_hf(path: Path, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write the model and the text tokenizer of a GGUF file as a Hugging Face folder.

    Raises FileNotFoundError, or ValueError in one line: for a file that is damaged, of another architecture, or with
    fields or tensors that are not converted, and without the `gguf` package.
    """
    fields, tensors = _read(path)
    try:
        config = _config(fields, tensors)
        text_tokenizer = _text_tokenizer(fields)
        state = dict(_weights(config, tensors, dtype))
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"{path}: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "model.safetensors", state)
    content = text_tokenizer.to_str(pretty=True)
    write_atomic(folder / "tokenizer.json", lambda temporary: temporary.write_text(content, encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", _text_tokenizer_config(fields))
    write_json(folder / "config.json", config | {"dtype": str(dtype).removeprefix("torch.")})
    ids = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in config}
    write_json(folder / "generation_config.json", ids)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a GGUF file as Python values, and its tensors by name, still packed and on the disk."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ValueError(NEEDS) from error
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    check_declared(path.stat().st_size, str(path))
    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        tensors = {tensor.name: tensor for tensor in reader.tensors}
    # what the package raises for a file of another kind, or one that was cut or damaged
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, struct.error) as error:
        raise ValueError(f"{path} is no GGUF file, or damaged or cut short ({error}); copy it again") from error
    return fields, tensors


def _short_float(value: float) -> float:
    """A float32 as people wrote it: 1e-05 instead of 9.999999747378752e-06."""
    return float(f"{value:.7g}")


def _config(fields: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    """config.json of a LlamaForCausalLM. ValueError for a model that is something else."""
    family = fields.get("general.architecture")
    if family != "llama":
        raise ValueError(f"its architecture is {str(family)[:40]!r}, only llama is converted")
    for name in REFUSED:
        if fields.get(name) not in (None, 0, "none"):
            raise ValueError(f"{name} {str(fields[name])[:40]!r} is not converted")
    if "rope_freqs.weight" in tensors:
        raise ValueError("rope_freqs.weight: the scaled rotary embedding of Llama 3 is not converted")
    sizes = {
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "max_position_embeddings": "context_length",
    }
    config = {ours: get_field(fields, f"llama.{name}", int, "", least=1) for ours, name in sizes.items()}
    if "token_embd.weight" not in tensors:
        raise ValueError("it has no tensor token_embd.weight")
    heads = config["num_attention_heads"]
    kv_heads = get_field(fields, "llama.attention.head_count_kv", int, "", heads, least=1)
    head_dim = get_field(fields, "llama.attention.key_length", int, "", config["hidden_size"] // heads, least=2)
    if heads % kv_heads or head_dim % 2:
        raise ValueError(f"{heads} heads over {kv_heads} of keys, {head_dim} wide, are no grouped-query attention")
    if get_field(fields, "llama.rope.dimension_count", int, "", head_dim) != head_dim:
        raise ValueError("llama.rope.dimension_count: a rotary embedding of part of a head is not converted")
    theta = _short_float(get_field(fields, "llama.rope.freq_base", float, "", 10_000.0, least=1))
    ids = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **config,
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),  # GGUF lists the innermost dimension first
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rms_norm_eps": _short_float(get_field(fields, "llama.attention.layer_norm_rms_epsilon", float, "")),
        # in both places, for transformers 5 and for older ones
        "rope_theta": theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "tie_word_embeddings": "output.weight" not in tensors,
        **{hf: fields[f"tokenizer.ggml.{name}"] for hf, name in ids.items() if f"tokenizer.ggml.{name}" in fields},
    }


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors that the file must have, by their GGUF names, with their shapes in our order."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    layer = {
        "attn_norm": (width,),
        "attn_q": (queries, width),
        "attn_k": (keys, width),
        "attn_v": (keys, width),
        "attn_output": (width, queries),
        "ffn_norm": (width,),
        "ffn_gate": (inner, width),
        "ffn_up": (inner, width),
        "ffn_down": (width, inner),
    }
    shapes = {"token_embd.weight": (config["vocab_size"], width), "output_norm.weight": (width,)}
    if not config["tie_word_embeddings"]:
        shapes["output.weight"] = (config["vocab_size"], width)
    for i in range(config["num_hidden_layers"]):
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in layer.items()}
    return shapes


def _weights(config: dict[str, Any], tensors: dict[str, Any], dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """(name, weight) in Hugging Face's names and order of rows, one after another: fp32 is needed for one at a time."""
    from gguf import dequantize

    found = {name: tuple(int(n) for n in reversed(tensor.shape)) for name, tensor in tensors.items()}
    check_total(_shapes(config), found, "the GGUF file")
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for name, tensor in tensors.items():
        try:
            values = dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as error:
            raise ValueError(f"{name}: the quantisation {tensor.tensor_type.name} cannot be read") from error
        weight = torch.tensor(values).reshape(found[name])
        key = TABLE_KEYS.get(name)
        if key is None:
            _, layer, part, _ = name.split(".")
            key = f"model.layers.{layer}.{LAYER_KEYS[part]}.weight"
            if part in heads:
                weight = half_split(weight, heads[part])
        weight = weight.to(dtype)
        if not weight.isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite in {str(dtype).removeprefix('torch.')}")
        yield key, weight


def _text_tokenizer(fields: dict[str, Any]) -> "Tokenizer":
    """The byte-level BPE tokenizer of a GGUF file. ValueError for another kind, or for words cut in an unknown way."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    kind, cut = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2":
        raise ValueError(
            f"its text tokenizer is of the kind {str(kind)[:40]!r}, only gpt2 (byte-level BPE) is converted"
        )
    tokens = get_field(fields, "tokenizer.ggml.tokens", list, "")
    kinds = fields.get("tokenizer.ggml.token_type", [NORMAL] * len(tokens))
    merges = [tuple(merge.split(" ")) for merge in get_field(fields, "tokenizer.ggml.merges", list, "")]
    if len(set(tokens)) != len(tokens) or len(kinds) != len(tokens) or any(len(merge) != 2 for merge in merges):
        raise ValueError("its tokens are not distinct, or not as many as their kinds, or a merge is not a pair")

    # 1) How a text is cut into words, before anything is merged.
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut != "llama-bpe")
    if cut == "smollm":  # every digit alone
        words = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    elif cut == "llama-bpe":
        from tokenizers import Regex

        words = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"), words])
    elif cut not in ("default", "gpt-2"):
        raise ValueError(f"tokenizer.ggml.pre is {str(cut)[:40]!r}; known are smollm, llama-bpe, gpt-2 and default")

    # 2) The tokens. Special and added ones are matched whole, before the text is cut.
    vocab = {token: i for i, token in enumerate(tokens)}
    try:
        built = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=cut == "llama-bpe"))
    except Exception as error:  # `tokenizers` raises nothing narrower
        raise ValueError(f"its merges do not fit its tokens ({error})") from error
    built.pre_tokenizer = words
    built.decoder = decoders.ByteLevel()
    for token, sort in zip(tokens, kinds, strict=True):
        if sort in (CONTROL, USER_DEFINED):
            built.add_tokens([AddedToken(token, special=sort == CONTROL, normalized=False)])

    # 3) A text begins with the start token only if the file asks for it.
    if fields.get("tokenizer.ggml.add_bos_token"):
        start = _token(fields, "bos")
        if start is None:
            raise ValueError("tokenizer.ggml.add_bos_token asks for a start token, but none of its tokens is one")
        built.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", pair=f"{start} $A {start}:1 $B:1", special_tokens=[(start, vocab[start])]
        )
    return built


def _token(fields: dict[str, Any], role: str) -> str | None:
    """The special token of a role such as `eos`, None if the file names none."""
    tokens, token_id = fields["tokenizer.ggml.tokens"], fields.get(f"tokenizer.ggml.{role}_token_id")
    return tokens[token_id] if is_kind(token_id, int) and 0 <= token_id < len(tokens) else None


def _text_tokenizer_config(fields: dict[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json: the roles of the special tokens and the chat template, as the file has them."""
    roles = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    words = {hf: _token(fields, role) for hf, role in roles.items()}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": fields["llama.context_length"],
        **{hf: word for hf, word in words.items() if word is not None},
    }
    if "tokenizer.chat_template" in fields:
        config["chat_template"] = fields["tokenizer.chat_template"]
    return config
