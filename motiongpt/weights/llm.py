"""Decoders on disk to our `LLM` and back, in the layout of Hugging Face: config.json and safetensors.

Every load is total and loud. Each key of the file is used exactly once, each shape is checked, and an error names the
file, what is missing and what is left over. The few keys that may be left out are named here: a head that repeats a
tied table, rotary frequencies, which are computed, and the vision part of a model that reads pictures too.

Files may be fp16 or bf16. Tensors are copied into the requested dtype, so a file may be replaced while its model is in
use. This file knows no text tokenizer, no training and no sampling; `hf_config.py` knows the families.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from motiongpt import lora
from motiongpt.files.store import read_json, write_json
from motiongpt.llm import LLM
from motiongpt.weights.checks import Unfilled, rename
from motiongpt.weights.hf_config import (
    LLM_KEYS,
    PICTURE_KEYS,
    TEXT_PART,
    TEXT_PART_KEYS,
    llm_config_from_hf,
    llm_config_to_hf,
)
from motiongpt.weights.lit_llama import load_lit_llama
from motiongpt.weights.shards import (
    Stored,
    check_stored,
    equal_on_disk,
    is_lit_llama,
    read_state,
    stored_tensors,
    weight_files,
    write_model,
)
from motiongpt.word_tables import WordTables

TABLE, HEAD = "model.embed_tokens.weight", "lm_head.weight"
COMPUTED = ".rotary_emb.inv_freq"  # rotary frequencies of a layer, in older Llama files; computed here


def load_llm(folder: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> LLM:
    """The decoder of a Hugging Face folder, or of one of Lit-LLaMA, in `dtype` on `device` and in eval mode.

    Raises FileNotFoundError or ValueError, in one line, for files that are missing, truncated or
    contradict each other, and for unsupported configs.
    """
    folder = Path(folder)
    if is_lit_llama(folder):
        return load_lit_llama(folder, dtype, device)
    values = read_json(folder / "config.json")
    try:
        config = llm_config_from_hf(values)
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error
    with Unfilled():
        llm = LLM(config)
    stored = stored_tensors(weight_files(folder))
    if values["model_type"] in TEXT_PART:
        stored = text_part_only(stored, folder)
    stored = {key: tensor for key, tensor in stored.items() if not key.endswith(COMPUTED)}
    # a tied table may be in the file twice, if both are equal
    if config.tie_embeddings and HEAD in stored and TABLE in stored:
        head = stored.pop(HEAD)
        if not equal_on_disk(head, stored[TABLE]):
            raise ValueError(f"{head.path}: config.json ties the embeddings, but {HEAD} is another matrix")

    # nothing missing, nothing left over, every shape as expected; only then read
    own = llm.state_dict()
    names = {rename(name, LLM_KEYS): name for name in own}  # their key -> ours
    check_stored({key: own[name].shape for key, name in names.items()}, stored, folder)
    llm.load_state_dict(read_state(stored, names, dtype, device, folder), assign=True)
    return llm.eval()


def text_part_only(stored: dict[str, Stored], folder: Path) -> dict[str, Stored]:
    """The tensors of a model with pictures that belong to its text part, under the keys of a text model.

    Says on stderr how many tensors are left out. Any other key stays, and is then refused as unexpected.
    """
    ours = {}
    for key, tensor in stored.items():
        if not key.startswith(PICTURE_KEYS):
            start = next((start for start in TEXT_PART_KEYS if key.startswith(start)), "")
            ours[TEXT_PART_KEYS.get(start, "") + key.removeprefix(start)] = tensor
    left = len(stored) - len(ours)
    print(f"note: {folder} also reads pictures: {left} tensors for them are not loaded", file=sys.stderr)
    return ours


def whole_state(model: WordTables, merge_rows: bool) -> tuple[dict[str, Tensor], int]:
    """The weights of a model without adapters or new rows of its own, and the rows of its tables; see `save_llm`."""
    if any(not layer.merged for layer in lora.lora_layers(model).values()):
        raise ValueError("the adapters are not merged into the weights: call lora.merge first, or use save_adapter")
    # adapters are merged, and new rows become rows of the tables
    extra = {"new_in", "new_out", *lora.adapter_state(model)}
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in extra}
    if not merge_rows or model.new_in is None:
        return state, len(model.input_table.weight)
    # base rows past first_id are padding: the new rows take their place
    for name, rows in ((f"{model.INPUT}.weight", model.new_in), ("lm_head.weight", model.new_out)):
        if name in state:
            state[name] = torch.cat((state[name][: model.first_id].to(rows.dtype), rows.detach()))
    return state, model.vocab_size


def save_llm(
    llm: LLM,
    folder: Path | str,
    dtype: torch.dtype = torch.float32,
    merge_rows: bool = True,
    max_shard_bytes: int | None = None,
) -> None:
    """Write a Hugging Face folder (config.json, model.safetensors) that `transformers` loads.

    New rows become rows first_id .. V - 1 of one table. With merge_rows=False they are left out and
    the base table keeps its size. `max_shard_bytes` is that of `write_model`. Raises ValueError if
    adapters are not merged (`lora.merge`), as the file would lack them.
    """
    state, vocab_size = whole_state(llm, merge_rows)
    folder = Path(folder)
    tensors = {rename(name, LLM_KEYS): tensor.to(dtype) for name, tensor in state.items()}
    write_model(folder, tensors, max_shard_bytes)
    values = llm_config_to_hf(replace(llm.config, vocab_size=vocab_size)) | {"dtype": str(dtype).removeprefix("torch.")}
    write_json(folder / "config.json", values)
