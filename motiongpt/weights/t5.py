"""T5 on disk to our `T5` and back, in the layout of Hugging Face: config.json and safetensors.

Module names are those of the files, so keys need no table. A file may hold the word table again as
`encoder.embed_tokens` and `decoder.embed_tokens`, and a tied one as `lm_head` too: each copy must
equal it, else the file is refused.

transformers 5 writes `tie_word_embeddings` as true even for T5 v1.1, whose head is a matrix of its
own; there `scale_decoder_outputs` false tells it from v1.0. Both spellings are read.
"""

from dataclasses import replace
from pathlib import Path

import torch

from motiongpt.backbones.t5 import T5, T5Config
from motiongpt.files.fields import get_field
from motiongpt.files.store import read_json, write_json
from motiongpt.weights.checks import Unfilled
from motiongpt.weights.hf_config import MAX_LAYERS
from motiongpt.weights.llm import whole_state
from motiongpt.weights.shards import check_stored, equal_on_disk, read_state, stored_tensors, weight_files, write_model

T5_FIELDS = {
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "num_layers": "num_layers",
    "num_decoder_layers": "num_decoder_layers",
    "num_heads": "num_heads",
    "head_dim": "d_kv",
    "num_buckets": "relative_attention_num_buckets",
    "max_distance": "relative_attention_max_distance",
    "norm_eps": "layer_norm_epsilon",
    "start_id": "decoder_start_token_id",
    "end_id": "eos_token_id",
    "trained_positions": "n_positions",
}
"""Our config field -> theirs. The MLP, the head and its scale are read separately."""

T5_DEFAULTS = {
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "eos_token_id": 1,
    "n_positions": 512,
}
"""What `transformers` assumes if config.json says nothing."""

MLPS = {"relu": False, "gated-gelu": True}
"""feed_forward_proj -> our flag `gated`."""

TABLE, HEAD = "shared.weight", "lm_head.weight"
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
"""Where a file may hold the word table again."""

UNUSED = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)
"""What old files of T5 v1.0 hold and no version of the model reads: cross-attention has no positions."""


def t5_config_from_hf(values: dict, has_head: bool) -> T5Config:
    """The config.json of a T5 as ours; `has_head` says whether the files hold an `lm_head`.

    Raises ValueError naming a field that this T5 cannot compute.
    """
    where = "the model's config"
    if values.get("model_type") != "t5":
        raise ValueError(f"model_type {values.get('model_type')!r} is not supported; supported: t5")
    if values.get("is_encoder_decoder", True) is not True or values.get("quantization_config") is not None:
        raise ValueError("only a whole, unquantised T5 is supported: is_encoder_decoder, no quantization_config")
    mlp = values.get("feed_forward_proj", "relu")
    if not isinstance(mlp, str) or mlp not in MLPS:
        raise ValueError(f"feed_forward_proj {mlp!r:.60} is not supported; supported: {', '.join(MLPS)}")
    given = T5_DEFAULTS | {name: value for name, value in values.items() if value is not None}
    given.setdefault("num_decoder_layers", given.get("num_layers"))
    given.setdefault("decoder_start_token_id", given.get("pad_token_id", 0))
    fields: dict = {}
    for ours, hf in T5_FIELDS.items():
        fields[ours] = get_field(given, hf, type(getattr(T5Config, ours)), where, least=0)
    if max(fields["num_layers"], fields["num_decoder_layers"]) > MAX_LAYERS:
        raise ValueError(f"num_layers is {fields['num_layers']}, which is not plausible")
    tied = get_field(given, "tie_word_embeddings", bool, where, True)
    scaled = get_field(given, "scale_decoder_outputs", bool, where, tied)
    # not scaled is v1.1: transformers 5 calls it tied too, but its files hold a head
    untied = not tied or (not scaled and has_head)
    flags = {"gated": MLPS[mlp], "tie_embeddings": not untied, "scale_logits": scaled}
    return T5Config.from_dict(fields | flags, "its values")


def t5_config_to_hf(config: T5Config) -> dict:
    """The inverse of `t5_config_from_hf`."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "feed_forward_proj": next(name for name, gated in MLPS.items() if gated == config.gated),
        **{hf: getattr(config, ours) for ours, hf in T5_FIELDS.items()},
        "pad_token_id": config.start_id,
        "tie_word_embeddings": config.tie_embeddings,
        "scale_decoder_outputs": config.scale_logits,
    }


def load_t5(folder: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> T5:
    """The T5 of a Hugging Face folder, in `dtype` on `device` and in eval mode.

    Raises FileNotFoundError or ValueError, in one line, for files that are missing, truncated or
    contradict each other, and for unsupported configs.
    """
    folder = Path(folder)
    path = folder / "config.json"
    values = read_json(path)
    stored = stored_tensors(weight_files(folder))
    try:
        config = t5_config_from_hf(values, HEAD in stored)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    copies = (*COPIES, HEAD) if config.tie_embeddings else COPIES
    for key in copies:
        if key in stored and TABLE in stored and not equal_on_disk(stored[key], stored[TABLE]):
            raise ValueError(f"{stored[key].path}: {key} must equal {TABLE}, but is another matrix")
    stored = {key: tensor for key, tensor in stored.items() if key not in (*copies, *UNUSED)}
    with Unfilled():
        t5 = T5(config)
    own = t5.state_dict()
    check_stored({key: tensor.shape for key, tensor in own.items()}, stored, folder)
    t5.load_state_dict(read_state(stored, {key: key for key in own}, dtype, device, folder), assign=True)
    return t5.eval()


def save_t5(
    t5: T5,
    folder: Path | str,
    dtype: torch.dtype = torch.float32,
    merge_rows: bool = True,
    max_shard_bytes: int | None = None,
) -> None:
    """Write a Hugging Face folder that `transformers` loads, as `save_llm` does."""
    state, vocab_size = whole_state(t5, merge_rows)
    folder = Path(folder)
    write_model(folder, {name: tensor.to(dtype) for name, tensor in state.items()}, max_shard_bytes)
    values = t5_config_to_hf(replace(t5.config, vocab_size=vocab_size)) | {"dtype": str(dtype).removeprefix("torch.")}
    write_json(folder / "config.json", values)
