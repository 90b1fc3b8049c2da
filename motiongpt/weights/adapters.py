"""LoRA adapters and the rows of new words on disk, in the layout and with the key names of PEFT.

A folder holds adapter_config.json and adapter_model.safetensors. PEFT loads what we write. We load
its LoRA adapters of linear layers, with ranks and scales of their own for some layers too; anything
it can do beyond that is refused by name. A load changes the model only after everything has been
checked.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from motiongpt import lora
from motiongpt.backbones.t5 import T5
from motiongpt.config import LoRAConfig
from motiongpt.files.fields import get_field, is_kind
from motiongpt.files.store import read_json, read_tensors, write_json, write_tensors
from motiongpt.llm import LLM
from motiongpt.weights.checks import check_total, rename
from motiongpt.weights.hf_config import LLM_KEYS
from motiongpt.weights.shards import Stored, stored_tensors

PEFT_KEYS = {start: "base_model.model." + other for start, other in LLM_KEYS.items()}
"""Start of our parameter names -> start of PEFT's."""

PEFT_KEYS_T5 = {start: "base_model.model." + start for start in ("encoder.", "decoder.")}

PEFT_ROWS = "token_adapter.trainable_tokens_delta"
"""What PEFT calls the trained rows of a table.
Despite "delta" they are the rows themselves, not differences."""

PEFT_PLAIN = {"peft_type": "LORA", "bias": "none"}
"""Fields of adapter_config.json that must have this value if they are there."""

PEFT_UNUSED = (
    *("use_dora", "fan_in_fan_out", "modules_to_save", "lora_bias", "layer_replication", "target_parameters"),
    *("alora_invocation_tokens", "megatron_config", "use_qalora", "use_bdlora", "monteclora_config", "arrow_config"),
    "kasa_config",
)
"""Fields of adapter_config.json that must be absent or empty:
each makes another kind of adapter."""

PEFT_INITS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of init_lora_weights that leave the base as it is. PiSSA, OLoRA, LoftQ and others change it."""

MERGE = "merge it into its base with PEFT (merge_and_unload, save_pretrained) and give that folder as --backbone"


def peft_key(llm: LLM | T5, name: str) -> str:
    """The key in a PEFT file of one of our parameters: new rows, or a matrix of an adapter."""
    if name in ("new_in", "new_out"):
        module = "lm_head" if name == "new_out" else "shared" if isinstance(llm, T5) else "model.embed_tokens"
        return f"base_model.model.{module}.{PEFT_ROWS}"
    return rename(name, PEFT_KEYS_T5 if isinstance(llm, T5) else PEFT_KEYS) + ".weight"


def row_tables(llm: LLM | T5) -> dict[str, str]:
    """Our tables of new rows -> the modules in which PEFT trains them."""
    return {"new_in": llm.INPUT} if llm.config.tie_embeddings else {"new_in": llm.INPUT, "new_out": "lm_head"}


def save_adapter(llm: LLM | T5, folder: Path | str, config: LoRAConfig, base_name: str) -> None:
    """Write adapters and new rows as PEFT does. `base_name` is the repo id or folder of the
    unchanged base.

    PEFT's `PeftModel.from_pretrained` loads the folder onto the base after
    `base.resize_token_embeddings(V)`.
    """
    tensors = {peft_key(llm, name): tensor for name, tensor in lora.adapter_state(llm).items()}
    indices: list[int] | dict[str, list[int]] | None = None
    if llm.new_in is not None:
        tables = row_tables(llm)
        tensors |= {peft_key(llm, name): getattr(llm, name) for name in tables}
        ids = list(range(llm.first_id, llm.vocab_size))
        # PEFT takes a plain list if there is one table
        indices = ids if len(tables) == 1 else {module: ids for module in tables.values()}
    values = {
        **PEFT_PLAIN,
        "task_type": "SEQ_2_SEQ_LM" if isinstance(llm, T5) else "CAUSAL_LM",
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


@dataclass(frozen=True)
class AdapterFile:
    """An adapter on disk, checked as far as possible without its base.

    PEFT may give every layer a rank and a scale of its own. Ours have one of each: `config` has the largest rank, and
    `factors` bring every scale to that of `config`. That is the same function, as a rank may have unused rows.
    """

    folder: Path
    values: dict  # adapter_config.json
    stored: dict[str, Stored]  # adapter_model.safetensors
    config: LoRAConfig
    ids: list[int]  # of the new rows, in every table

    @property
    def source(self) -> Path:
        return self.folder / "adapter_config.json"

    @property
    def path(self) -> Path:
        return self.folder / "adapter_model.safetensors"

    def rank(self, module: str) -> int:
        return _of_pattern(self.values.get("rank_pattern"), module, self.values["r"])

    def factor(self, module: str) -> float:
        """The scale of a layer over that of `config`; exactly 1 for a plain adapter."""
        alpha = _of_pattern(self.values.get("alpha_pattern"), module, self.values["lora_alpha"])
        return self._scale(alpha, self.rank(module)) / self._scale(self.values["lora_alpha"], self.values["r"])

    def _scale(self, alpha: float, rank: int) -> float:
        return alpha / (rank**0.5 if self.values.get("use_rslora") else rank)

    def is_target(self, module: str) -> bool:
        """Whether PEFT adapts a linear layer of this name, by its rules for target_modules and what goes with it."""
        values = self.values
        excluded, targets = values.get("exclude_modules"), values["target_modules"]
        if excluded and _matches(excluded, module):
            return False
        if isinstance(targets, str):
            return targets.lower() == "all-linear" or _matches(targets, module)
        if not _matches(targets, module) or module in targets:
            return module in targets
        layers = values.get("layers_to_transform")
        if layers is None or layers == []:
            return True
        patterns = values.get("layers_pattern") or "[^.]*"
        starts = [patterns] if isinstance(patterns, str) else patterns
        found = next(filter(None, (re.match(rf"(?:^|.*?\.){start}\.(\d+)\.", module) for start in starts)), None)
        return found is not None and int(found[1]) in (layers if isinstance(layers, list) else [layers])


def _matches(targets: str | list[str], module: str) -> bool:
    """A regular expression for the whole name, or a list of names or of their ends."""
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    return any(module == target or module.endswith(f".{target}") for target in targets)


def _of_pattern(pattern: dict | None, module: str, default: float) -> float:
    """rank_pattern or alpha_pattern: regular expressions of the ends of names -> a value."""
    return next((value for end, value in (pattern or {}).items() if re.match(rf"(.*\.)?({end})$", module)), default)


def read_adapter(folder: Path | str) -> AdapterFile:
    """An adapter in PEFT's layout, ours or made elsewhere; only the header of its weights is read.

    Raises FileNotFoundError, or ValueError for one that is no LoRA of linear layers, or that comes with trained words
    that are not one unbroken range.
    """
    folder = Path(folder)
    path, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    values = read_json(path)
    _check_plain(values, path)
    indices = values.get("trainable_token_indices") or {}
    # PEFT writes a list, or a dict from module to list
    tables = list(indices.values()) if isinstance(indices, dict) else [indices]
    if not all(_is_range(ids) and ids == tables[0] for ids in tables):
        raise ValueError(f"{path}: trainable_token_indices must be one unbroken range of ids, the same in every table")

    stored = stored_tensors([weights])
    strangers = [key for key in stored if not key.endswith((*MATRICES, PEFT_ROWS))]
    if strangers:
        raise ValueError(f"{weights} holds {strangers[0]}, which belongs to no LoRA of a linear layer; {MERGE}")
    modules = sorted({_module_of(key) for key in stored if key.endswith(MATRICES)})
    targets = values["target_modules"]
    by_last_name = isinstance(targets, list) and not any("." in target for target in targets)
    fields = {"lora_targets": targets if by_last_name else sorted({name.rpartition(".")[2] for name in modules})}
    # every version of PEFT writes alpha: where it is missing, a guess would scale the adapter by another factor
    alpha = get_field(values, "lora_alpha", float, path)
    fields["lora_dropout"] = get_field(values, "lora_dropout", float, path, 0.0)
    r = values["r"]
    ranks = [_of_pattern(values.get("rank_pattern"), module, r) for module in modules] or [r]
    fields["lora_r"] = max(ranks)
    # the ratio first: it is exactly 1 for a plain adapter, whose alpha then stays as it is written
    fields["lora_alpha"] = alpha * (max(ranks) / (r**0.5 if values.get("use_rslora") else r))
    return AdapterFile(folder, values, stored, LoRAConfig.from_dict(fields, path), tables[0] if tables else [])


MATRICES = (".lora_A.weight", ".lora_B.weight")


def _module_of(key: str) -> str:
    """base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight -> model.layers.0.self_attn.q_proj"""
    return key.removeprefix("base_model.model.").rpartition(".lora_")[0]


def _check_plain(values: dict, path: Path) -> None:
    """ValueError for settings that we do not compute: ignoring them would give another model."""
    for name, value in PEFT_PLAIN.items():
        if values.get(name, value) != value:
            raise ValueError(f"{path}: {name} {values[name]!r} is not supported; supported: {value!r}; or {MERGE}")
    used = [name for name in PEFT_UNUSED if values.get(name)]
    if values.get("init_lora_weights", True) not in PEFT_INITS:
        used.append(f"init_lora_weights {values['init_lora_weights']!r:.40}, which changes the base")
    targets, r = values.get("target_modules"), values.get("r")
    names = [targets] if isinstance(targets, str) else targets
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not is_kind(r, int) or r < 1:
        raise ValueError(f"{path}: not a plain LoRA with target_modules and a rank r of at least 1")
    if used:
        raise ValueError(f"{path}: not a plain LoRA (in use: {', '.join(used)}); {MERGE}")
    patterns = [pattern for pattern in (targets, values.get("exclude_modules")) if isinstance(pattern, str)]
    for name, kind in (("rank_pattern", int), ("alpha_pattern", float)):
        known = get_field(values, name, dict, path, {}) if values.get(name) is not None else {}
        for end in known:
            get_field(known, end, kind, f"{path}: {name}", least=1 if kind is int else None)
        patterns += known
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{path}: {pattern!r:.60} is no regular expression ({error})") from error


def _is_range(ids: object) -> bool:
    """Whether `ids` is a list of one unbroken range, with at least one id."""
    first = ids[0] if isinstance(ids, list) and ids else None
    return is_kind(first, int) and first >= 0 and ids == list(range(first, first + len(ids)))


def load_adapter(llm: LLM | T5, folder: Path | str, with_rows: bool = True) -> LoRAConfig:
    """Load a PEFT folder into a model and return its settings, with one rank and one alpha for all layers.

    A model without adapters or new rows gets them first. Layers that the adapter leaves out, though another layer of
    their name has one, get an adapter that does nothing yet. With with_rows=False the adapter must have no rows of new
    words, and the model keeps its own.

    Raises ValueError, before anything changes, if rank, targets, layers or the range of new rows do not fit the model.
    The message names the file.
    """
    adapter = read_adapter(folder)
    config, ids = adapter.config, adapter.ids
    if ids and not with_rows:
        raise ValueError(
            f"{adapter.source}: trainable_token_indices: the adapter has words of its own, {ids[0]} to {ids[-1]}, and "
            f"nothing says what they mean; {MERGE}"
        )

    # 1) The tensors of the file against the model's layers.
    linear = {name: module for name, module in llm.named_modules() if isinstance(module, nn.Linear)}
    linear = {name: module for name, module in linear.items() if name.rpartition(".")[2] in config.lora_targets}
    theirs = {name: _module_of(peft_key(llm, f"{name}.lora_A")) for name in linear}
    adapted = [name for name in linear if adapter.is_target(theirs[name])]
    expected = {}
    for name in adapted:
        rank = adapter.rank(theirs[name])
        expected[peft_key(llm, f"{name}.lora_A")] = (rank, linear[name].in_features)
        expected[peft_key(llm, f"{name}.lora_B")] = (linear[name].out_features, rank)
    if ids:
        expected |= {peft_key(llm, name): (len(ids), llm.config.hidden_size) for name in row_tables(llm)}
    check_total(expected, {key: tensor.shape for key, tensor in adapter.stored.items()}, adapter.path)

    # 2) The settings against adapters and new rows the model has already.
    own = lora.lora_layers(llm)
    scales = {(layer.r, layer.alpha) for layer in own.values()}
    if own and (set(own) != set(linear) or scales != {(config.lora_r, config.lora_alpha)}):
        raise ValueError(
            f"{adapter.source}: r, lora_alpha or target_modules are not those of the adapters the model has"
        )
    if with_rows and llm.new_in is not None and ids != list(range(llm.first_id, llm.vocab_size)):
        there = f"{ids[0]} to {ids[-1]}" if ids else "none"
        raise ValueError(f"{adapter.source}: new rows {there}, the model has {llm.first_id} to {llm.vocab_size - 1}")
    tensors = read_tensors(adapter.path)
    tensors = {key: tensors[stored.key] for key, stored in adapter.stored.items()}

    # 3) Everything fits: change the model. Draws are overwritten, so they must not move the global generator.
    if ids and llm.new_in is None:
        llm.extend(ids[0], len(ids), torch.Generator())
    if not own:
        lora.inject(llm, config, torch.Generator())
    state = {name: tensor.clone() for name, tensor in lora.adapter_state(llm).items()}
    for name in linear:
        A, B = state[f"{name}.lora_A"], state[f"{name}.lora_B"]
        B.zero_()  # what the file has no numbers for adds nothing
        if name in adapted:
            rank, factor = adapter.rank(theirs[name]), adapter.factor(theirs[name])
            A[:rank] = tensors[peft_key(llm, f"{name}.lora_A")]
            B[:, :rank] = tensors[peft_key(llm, f"{name}.lora_B")].float() * factor
    lora.load_adapter_state(llm, state)
    with torch.no_grad():
        for name in row_tables(llm) if ids else ():
            getattr(llm, name).copy_(tensors[peft_key(llm, name)])
    return config
