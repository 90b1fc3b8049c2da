"""LoRA adapters and the rows of new words on disk, in the layout and with the key names of PEFT.

A folder holds adapter_config.json and adapter_model.safetensors. PEFT loads what we write, and we
load plain LoRA adapters of PEFT; anything it can do beyond that is refused by name. A load changes
the model only after everything has been checked.
"""

from pathlib import Path

import torch
from torch import nn

from motiongpt import lora
from motiongpt.config import LoRAConfig
from motiongpt.files.fields import get_field, is_kind
from motiongpt.files.store import read_json, read_tensors, write_json, write_tensors
from motiongpt.llm import LLM
from motiongpt.weights.checks import check_total, rename
from motiongpt.weights.llm import LLM_KEYS

PEFT_KEYS = {start: "base_model.model." + other for start, other in LLM_KEYS.items()}
"""Start of our parameter names -> start of PEFT's."""

PEFT_ROWS = {
    "new_in": "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
    "new_out": "base_model.model.lm_head.token_adapter.trainable_tokens_delta",
}
"""Where PEFT keeps trained rows of the two tables.
Despite "delta" they are the rows themselves, not differences."""

PEFT_PLAIN = {"peft_type": "LORA", "bias": "none"}
"""Fields of adapter_config.json that must have this value if they are there."""

PEFT_UNUSED = (
    *("use_rslora", "use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias"),
    *("exclude_modules", "layers_to_transform", "layer_replication", "target_parameters", "alora_invocation_tokens"),
)
"""Fields of adapter_config.json that must be absent or empty:
each makes another kind of adapter."""


def row_tables(llm: LLM) -> dict[str, str]:
    """Our tables of new rows -> the modules in which PEFT trains them."""
    return {"new_in": "embed_tokens"} if llm.config.tie_embeddings else {"new_in": "embed_tokens", "new_out": "lm_head"}


def save_adapter(llm: LLM, folder: Path | str, config: LoRAConfig, base_name: str) -> None:
    """Write adapters and new rows as PEFT does. `base_name` is the repo id or folder of the
    unchanged base.

    PEFT's `PeftModel.from_pretrained` loads the folder onto the base after
    `base.resize_token_embeddings(V)`.
    """
    tensors = {rename(name, PEFT_KEYS) + ".weight": tensor for name, tensor in lora.adapter_state(llm).items()}
    indices: list[int] | dict[str, list[int]] | None = None
    if llm.new_in is not None:
        tables = row_tables(llm)
        tensors |= {PEFT_ROWS[name]: getattr(llm, name) for name in tables}
        ids = list(range(llm.first_id, llm.vocab_size))
        # PEFT takes a plain list if there is one table
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
    """Our settings and the ids of the new rows, once per table, from an adapter_config.json.

    Raises ValueError for a file that does not describe a plain LoRA with one unbroken range of new
    rows.
    """
    values = read_json(path)
    for name, value in PEFT_PLAIN.items():
        if values.get(name, value) != value:
            raise ValueError(f"{path}: {name} {values[name]!r} is not supported; supported: {value!r}")
    # what changes the arithmetic is refused: ignored, it would give another model
    used = [name for name in PEFT_UNUSED if values.get(name)]
    targets = values.get("target_modules")
    if used or not isinstance(targets, list) or not is_kind(values.get("r"), int):
        raise ValueError(
            f"{path}: not a plain LoRA with a list of target_modules and a rank r (in use: {used or 'none'})"
        )
    indices = values.get("trainable_token_indices") or {}
    # PEFT writes a list, or a dict from module to list
    tables = list(indices.values()) if isinstance(indices, dict) else [indices]
    if not all(_is_range(ids) and ids == tables[0] for ids in tables):
        raise ValueError(f"{path}: trainable_token_indices must be one unbroken range of ids, the same in every table")
    fields = {"lora_r": values["r"], "lora_targets": targets}
    # every version of PEFT writes alpha: where it is missing, a guess would scale the adapter by another factor
    fields["lora_alpha"] = get_field(values, "lora_alpha", float, path)
    fields["lora_dropout"] = get_field(values, "lora_dropout", float, path, 0.0)
    return LoRAConfig.from_dict(fields, path), tables


def _is_range(ids: object) -> bool:
    """Whether `ids` is a list of one unbroken range, with at least one id."""
    first = ids[0] if isinstance(ids, list) and ids else None
    return is_kind(first, int) and first >= 0 and ids == list(range(first, first + len(ids)))


def load_adapter(llm: LLM, folder: Path | str) -> LoRAConfig:
    """Load a PEFT folder into a model and return its settings.
    A model without adapters or new rows gets them first.

    Raises ValueError, before anything changes, if rank, targets, layers or the range of new rows do
    not fit the model. The message names the file.
    """
    folder = Path(folder)
    source, path = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    config, tables = adapter_config(source)
    tensors = read_tensors(path)

    # 1) The tensors of the file against the model's layers.
    linear = {name: module for name, module in llm.named_modules() if isinstance(module, nn.Linear)}
    # every layer has all targets; an adapter of some layers is refused by `check_total`
    linear = {name: module for name, module in linear.items() if name.rpartition(".")[2] in config.lora_targets}
    shapes = {f"{name}.lora_A": (config.lora_r, module.in_features) for name, module in linear.items()}
    shapes |= {f"{name}.lora_B": (module.out_features, config.lora_r) for name, module in linear.items()}
    ours = {rename(name, PEFT_KEYS) + ".weight": name for name in shapes}
    expected = {key: shapes[name] for key, name in ours.items()}
    ids = tables[0] if tables else []
    if ids:
        expected |= {PEFT_ROWS[name]: (len(ids), llm.config.hidden_size) for name in row_tables(llm)}
    check_total(expected, {key: tensor.shape for key, tensor in tensors.items()}, path)

    # 2) The settings against adapters and new rows the model has already.
    own = lora.lora_layers(llm)
    scales = {(layer.r, layer.alpha) for layer in own.values()}
    if own and (set(own) != set(linear) or scales != {(config.lora_r, config.lora_alpha)}):
        raise ValueError(f"{source}: r, lora_alpha or target_modules are not those of the adapters the model has")
    if llm.new_in is not None and ids != list(range(llm.first_id, llm.vocab_size)):
        there = f"{ids[0]} to {ids[-1]}" if ids else "none"
        raise ValueError(f"{source}: new rows {there}, the model has {llm.first_id} to {llm.vocab_size - 1}")

    # 3) Everything fits: change the model. Draws are overwritten, so they must not move the global generator.
    if ids and llm.new_in is None:
        llm.extend(ids[0], len(ids), torch.Generator())
    if not own:
        lora.inject(llm, config, torch.Generator())
    lora.load_adapter_state(llm, {name: tensors[key] for key, name in ours.items()})
    with torch.no_grad():
        for name in row_tables(llm) if ids else ():
            getattr(llm, name).copy_(tensors[PEFT_ROWS[name]])
    return config
