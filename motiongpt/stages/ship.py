"""Turns a finished run into a small folder that needs nothing outside it, such as checkpoints/demo.

    OUT/  config.json  prompts.json  tokenizer.json ...  tokens.json.gz (+ tokens.meta.json)
          backbone/    the one base of all adapters
          vqvae/       the motion tokenizer
          stage1/ ...  adapters

Weights are rounded to fp16, so the hashes that adapters and tokens remember are written anew. Everything is read and
checked before the first write, and OUT appears when it is whole.

A run on a backbone that everybody can get elsewhere is shipped without it (`ship_adapters`): config.json, the captions
it reads, the text tokenizer and the adapters.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from motiongpt.data.spelling import fold
from motiongpt.data.tokens import Entry, load_tokens, meta_path, read_tokens_meta, save_tokens
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import HASHES, file_hash, file_hashes
from motiongpt.files.listing import is_free, visible
from motiongpt.files.store import new_folder, read_json, read_tensors, write_json, write_tensors
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.model import TEMPLATES, WEIGHT_FILES, load_run, motion_words, run_text_tokenizer
from motiongpt.stages.run_folder import (
    HASHED_FILES,
    RunConfig,
    find_base,
    finished_stages,
    relative_path,
    split_seed,
    stage_folder,
)
from motiongpt.text_tokenizer import TextTokenizer
from motiongpt.vocab import MotionVocab
from motiongpt.weights.checks import first_not_finite
from motiongpt.weights.shards import weight_files, weights_hash

WORD_TABLES = ("embed_tokens.weight", "shared.weight")
"""How the key of the word table ends, of a decoder or a T5."""


@dataclass(frozen=True)
class Cargo:
    """All that is shipped, as it was read."""

    run: Path
    stages: dict[int, dict]  # number -> meta.json
    base: Path
    weights: dict[str, Tensor]  # of the base
    config: RunConfig
    prompts: dict  # prompts.json
    entries: list[Entry]
    data_meta: dict  # tokens.meta.json
    text_tokenizer: TextTokenizer
    motion_tokenizer: MotionTokenizer


def ship_run(
    run: Path,
    data: Path,
    out: Path,
    clips: int = 0,
    name: Path | None = None,
    reader: str | None = None,
    best_of: int | None = None,
) -> None:
    """Write the finished stages of `run` into the folder `out`, which must be empty or absent.

    Args:
        run: a run folder whose stages are adapters on one base.
        data: the token dataset it was trained on.
        clips: keep only the tokens and the captions of so many clips; 0 keeps all.
        name: where the folder will lie, such as checkpoints/demo; adapters name their base by it. Default `out`.
        reader: the run that reads sentences for it, relative to the folder. Default the run's own.
        best_of: how many motions it writes of a sentence, to keep the best. Default the run's own.

    Raises:
        FileExistsError: `out` is not empty.
        FileNotFoundError: no stage is finished, or a file is missing.
        ValueError: a stage is no adapter, stages have different bases, or weights do not fit into fp16.
    """
    if clips < 0:
        raise ValueError(f"--clips must be 0 or more, got {clips}")
    _check_free(out)
    cargo = _read(run, data, clips)
    if (best_of or 1) > 1 and not any("m2t" in meta["tasks"] for meta in cargo.stages.values()):
        raise ValueError(f"--best-of {best_of}: no stage of {run} learnt m2t, to describe what it wrote and choose")
    named_base = ((name or out) / "backbone").as_posix()

    with new_folder(out.resolve()) as place:
        base_hash = _write_backbone(cargo, place / "backbone")
        cargo.text_tokenizer.save(place)
        for number in cargo.stages:
            meta = cargo.stages[number] | {"base": "../backbone", "base_hash": base_hash}
            _write_stage(stage_folder(run, number), stage_folder(place, number), meta, named_base)
        _write_tokenizer_and_data(cargo, place)
        own = {"backbone": "backbone", "base_hash": base_hash}
        own |= {name: value for name, value in (("reader", reader), ("best_of", best_of)) if value is not None}
        _write_config(run, place, replace(cargo.config, **own))


def ship_adapters(run: Path, out: Path, base: str, name: Path | None = None) -> None:
    """Write the finished stages of `run` into the folder `out`, for people who have the base themselves.

    Adapters do not remember the base's hash: two sources of one model round its weights in two ways.

    Args:
        base: the folder of the base, relative to `out`, such as ../smollm2.
        name: where the folder will lie; PEFT's file names the base from there. Default `out`.

    Raises what `ship_run` raises.
    """
    _check_free(out)
    if Path(base).is_absolute():
        raise ValueError(f"--base {base} must be relative to --out, such as ../smollm2")
    stages = finished_stages(run)
    _common_base(run, stages)
    config = RunConfig.read(run)
    prompts = read_json(run / "prompts.json") | {"captions": {}}  # what it writes comes from the table for reading
    text_tokenizer = run_text_tokenizer(run, config)
    for number in stages:
        load_run(run, number)
    with new_folder(out.resolve()) as place:
        text_tokenizer.save(place)
        write_json(place / "prompts.json", prompts, indent=None)
        for number, meta in stages.items():
            known = {key: value for key, value in meta.items() if key != "base_hash"} | {"base": f"../{base}"}
            named_base = relative_path((name or out) / base, Path())
            _write_stage(stage_folder(run, number), stage_folder(place, number), known, named_base)
        _write_config(run, place, replace(config, backbone=base, base_hash="", reader=""))


def _check_free(out: Path) -> None:
    if not is_free(out):
        raise FileExistsError(f"{out} is not empty; choose another --out, or remove it")


def _read(run: Path, data: Path, clips: int) -> Cargo:
    stages = finished_stages(run)
    base = _common_base(run, stages)
    config = RunConfig.read(run)
    entries = load_tokens(data, split_seed(run))
    data_meta = read_tokens_meta(data) or read_json(meta_path(data))  # the second names a file that is missing
    prompts = read_json(run / "prompts.json")
    text_tokenizer = run_text_tokenizer(run, config)
    motion_tokenizer = MotionTokenizer.load(run)
    for number in stages:
        load_run(run, number)  # refuses damaged files: rounding would give the damage a new hash
    weights = {key: tensor for path in weight_files(base) for key, tensor in read_tensors(path).items()}
    if clips:
        entries = _entries_of_clips(entries, clips, data)
        texts = {fold(entry.text) for entry in entries}  # the run may list its captions folded
        prompts["captions"] = {text: known for text, known in prompts["captions"].items() if fold(text) in texts}
    return Cargo(run, stages, base, weights, config, prompts, entries, data_meta, text_tokenizer, motion_tokenizer)


def _common_base(run: Path, stages: Mapping[int, dict]) -> Path:
    """The folder of the weights that all stages are adapters on."""
    if not stages:
        raise FileNotFoundError(f"{run} has no finished stage")
    for number, meta in stages.items():
        if meta["train"] != "lora":
            source = stage_folder(run, number)
            raise ValueError(
                f"{source} was trained in full; ship an adapter on it: finetune.py --from {source} --train lora"
            )
    bases = {_base_of(meta, stage_folder(run, number)) for number, meta in stages.items()}
    if len(bases) > 1:
        raise ValueError(f"the stages of {run} sit on different bases: {', '.join(map(str, sorted(bases)))}")
    return bases.pop()


def _base_of(meta: dict, folder: Path) -> Path:
    return find_base(get_field(meta, "base", str, folder / "meta.json"), folder).resolve()


def _entries_of_clips(entries: list[Entry], clips: int, data: Path) -> list[Entry]:
    """Those of so many clips, drawn evenly from their names in order, so that every kind and split is among them."""
    if not all(entry.id for entry in entries):
        raise ValueError(f"--clips needs an id in every entry of {data}, to know which are of one clip")
    names = sorted({entry.id for entry in entries})
    kept = {names[i * len(names) // clips] for i in range(clips)}
    return [entry for entry in entries if entry.id in kept]


def _write_backbone(cargo: Cargo, folder: Path) -> str:
    """The base in fp16 with its text tokenizer; returns the `weights_hash` of what was written."""
    _write_halved(folder / "model.safetensors", cargo.weights)
    write_json(folder / "config.json", read_json(cargo.base / "config.json") | {"dtype": "float16"})
    cargo.text_tokenizer.save(folder)
    return weights_hash(folder)


def _write_stage(source: Path, folder: Path, meta: dict, named_base: str) -> None:
    """A stage's adapter in fp16.

    Two files name the base: `meta` relative to the stage, PEFT's file, by `named_base`, relative to the working
    directory.
    """
    _write_halved(folder / "adapter_model.safetensors", read_tensors(source / "adapter_model.safetensors"))
    for path in visible(source.glob("*.json"), source):
        shutil.copyfile(path, folder / path.name)
    write_json(folder / "meta.json", meta | {HASHES: file_hashes(folder, (*WEIGHT_FILES, TEMPLATES))})
    adapter = read_json(folder / "adapter_config.json")
    write_json(folder / "adapter_config.json", adapter | {"base_model_name_or_path": named_base})


def _write_config(run: Path, folder: Path, config: RunConfig) -> None:
    """The config.json of `run` with another `RunConfig`, and with hashes of what was written."""
    values = {"RunConfig": config.to_dict(), HASHES: config.hashes(folder, HASHED_FILES)}
    write_json(folder / "config.json", read_json(run / "config.json") | values)


def _write_tokenizer_and_data(cargo: Cargo, folder: Path) -> None:
    """vqvae/, prompts.json and the tokens, which remember the hash of the rounded tokenizer."""
    cargo.motion_tokenizer.save(folder / "vqvae", torch.float16)
    write_json(folder / "prompts.json", cargo.prompts, indent=None)
    rounded = file_hash(folder / "vqvae" / "model.safetensors")
    vocab = MotionVocab(cargo.text_tokenizer, cargo.config.codes, cargo.config.participants)
    # a base that was trained on motion has rows for the motion words: say what they mean
    rows = {len(table) for key, table in cargo.weights.items() if key.endswith(WORD_TABLES)}
    if rows == {vocab.first_id + len(vocab)}:
        backbone = folder / "backbone"
        values = {"motion_words": motion_words(vocab, rounded), HASHES: file_hashes(backbone, WEIGHT_FILES)}
        write_json(backbone / "meta.json", values)
    save_tokens(folder / "tokens.json.gz", cargo.entries, cargo.data_meta | {"vqvae": rounded})


def _write_halved(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file in fp16; ValueError if a number does not fit."""
    rounded = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    if first_not_finite(rounded) is not None:
        raise ValueError(f"{path.name} does not fit into fp16")
    write_tensors(path, rounded)
