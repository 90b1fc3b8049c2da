"""A finished stage for the tools of Hugging Face: a whole model for `transformers`, or an adapter for PEFT.

    hf     config.json, model.safetensors (or shards), generation_config.json: adapters and motion rows merged
    peft   adapter_config.json, adapter_model.safetensors: to be loaded onto the unchanged base
    both   text tokenizer with the motion words, chat template of the base, vqvae/, README.md

A folder of the first kind is a --backbone again: its meta.json says what its motion words mean. It is no run, as it
has no captions, so `scripts/sample.py` does not open it. Everything is read and checked before the first write, and a
folder appears when it is whole.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from motiongpt.files.fields import get_field
from motiongpt.files.hashes import HASHES, file_hash, file_hashes
from motiongpt.files.listing import is_free
from motiongpt.files.store import new_folder, read_json, read_tensors, write_json, write_tensors
from motiongpt.motion_tokenizer import tokenizer_files
from motiongpt.stages.model import WEIGHT_FILES, LoadedRun, load_run, motion_words
from motiongpt.stages.model_card import model_card
from motiongpt.stages.run_folder import find_base, path_from_here, stage_folder
from motiongpt.weights.backbone import save_backbone
from motiongpt.weights.checks import first_not_finite
from motiongpt.weights.shards import is_adapter, is_lit_llama, weights_hash

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Values of --dtype."""

MAX_SHARD_BYTES = 5_000_000_000
"""Of one file: larger models come in several, as transformers writes them."""

TEMPLATES = ("chat_template.jinja", "chat_template.json", "special_tokens_map.json")
"""Files beside a tokenizer that are copied as they are."""


@dataclass(frozen=True)
class Exported:
    """What was written, for people."""

    folder: Path
    stage: int
    base: str  # a repo id or an absolute path
    megabytes: float  # of the weights, without the motion tokenizer


def export_hf(run: Path, out: Path, stage: int | None = None, dtype: torch.dtype = torch.float32) -> Exported:
    """Write a stage as one Hugging Face model into the folder `out`, which must be absent or empty.

    `AutoModelForCausalLM` and `AutoTokenizer` load it. Adapters are merged in fp32 and then rounded to `dtype`.

    Raises FileExistsError, ValueError if a weight does not fit into `dtype`, and what `load_run` raises.
    """
    _check_free(out)
    loaded = load_run(run, stage, dtype=dtype)
    state = loaded.llm.state_dict()
    _check_finite({name: tensor.to(dtype) for name, tensor in state.items()}, dtype)
    base, base_folder = _base_of(loaded)
    with new_folder(out) as folder:
        save_backbone(loaded.llm, folder, dtype, max_shard_bytes=MAX_SHARD_BYTES)
        _write_tokenizer(loaded, folder, base_folder)
        _write_generation(loaded, folder, base_folder)
        vqvae = _copy_motion_tokenizer(loaded, folder)
        values = {"motion_words": motion_words(loaded.vocab, vqvae), **_facts(loaded, base)}
        write_json(folder / "meta.json", values | {HASHES: file_hashes(folder, WEIGHT_FILES)})
        _write_card(loaded, folder, base, "hf")
    return Exported(out, loaded.stage, base, _megabytes(out))


def export_peft(
    run: Path,
    out: Path,
    stage: int | None = None,
    dtype: torch.dtype = torch.float32,
    base_name: str | None = None,
) -> Exported:
    """Write the adapter of a stage, with its motion rows, as PEFT does, into the absent or empty folder `out`.

    `AutoPeftModelForCausalLM` loads it from any working directory: the base is named by `base_name`, else by its repo
    id or its absolute path.

    Raises FileExistsError, ValueError for a stage that was trained in full, for a base that PEFT cannot load, or for a
    `base_name` with other weights, and what `load_run` raises.
    """
    _check_free(out)
    loaded = load_run(run, stage)
    source = stage_folder(loaded.folder, loaded.stage)
    if not is_adapter(source):
        raise ValueError(f"{source} was trained in full, so there is no adapter in it: --format hf exports it whole")
    _check_head(loaded, source)
    base, base_folder = _base_of(loaded)
    if base_name is not None:
        base = _named_base(base_name, loaded)
    elif base_folder is not None and is_lit_llama(base_folder):
        raise ValueError(
            f"{base_folder} is in the layout of Lit-LLaMA, which PEFT cannot load: name the same model in that of "
            "Hugging Face with --base-name, or export the whole model with --format hf"
        )
    tensors = {name: tensor.to(dtype) for name, tensor in read_tensors(source / "adapter_model.safetensors").items()}
    _check_finite(tensors, dtype)
    values = read_json(source / "adapter_config.json") | {"base_model_name_or_path": base}
    with new_folder(out) as folder:
        write_tensors(folder / "adapter_model.safetensors", tensors)
        write_json(folder / "adapter_config.json", values)
        _write_tokenizer(loaded, folder, base_folder)
        _copy_motion_tokenizer(loaded, folder)
        known = {"base": base, HASHES: file_hashes(folder, WEIGHT_FILES)}  # a stage without its run: --from takes it
        write_json(folder / "meta.json", loaded.meta | known)
        _write_card(loaded, folder, base, "peft")
    return Exported(out, loaded.stage, base, _megabytes(out))


# 1) What is read.


def _check_free(out: Path) -> None:
    if not is_free(out):
        raise FileExistsError(f"{out} is there already; choose another --out, or remove it")


def _check_finite(tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    """ValueError names a tensor that has become infinite in `dtype`."""
    name = first_not_finite(tensors)
    if name is not None:
        raise ValueError(f"{name} does not fit into {str(dtype).removeprefix('torch.')}; take --dtype bf16 or fp32")


def _check_head(loaded: LoadedRun, source: Path) -> None:
    """ValueError for T5 v1.1 and Flan: transformers 5 takes their head for the word table when words are added."""
    if loaded.renderer.encoder and loaded.llm.lm_head is not None:
        raise ValueError(
            f"{source}: its T5 has a head of its own, which transformers 5 ties to the word table if words are added, "
            "so the adapter would compute something else there; export the whole model with --format hf"
        )


def _base_of(loaded: LoadedRun) -> tuple[str, Path | None]:
    """What the stage's adapter sits on, else the run's backbone: a repo id or an absolute path, and its folder if it
    is there."""
    source = stage_folder(loaded.folder, loaded.stage)
    is_own = is_adapter(source)
    owner = source if is_own else loaded.folder
    name = get_field(loaded.meta, "base", str, source / "meta.json") if is_own else loaded.config.backbone
    try:
        folder = find_base(name, owner)
    except (FileNotFoundError, ValueError):
        if is_own:  # load_run has just read it
            raise
        return path_from_here(name, owner), None
    seen = path_from_here(name, owner)
    return (str(folder.resolve()) if Path(seen).is_dir() else seen), folder


def _named_base(name: str, loaded: LoadedRun) -> str:
    """--base-name as adapter_config.json has it. ValueError for a folder with other weights than the adapter's."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return name  # a repo id, which need not exist yet
    known = loaded.meta.get("base_hash")
    if known and weights_hash(folder) != known:
        raise ValueError(f"--base-name {name} holds other weights than the adapter was trained on")
    return str(folder.resolve())


# 2) What is written beside the weights.


def _write_tokenizer(loaded: LoadedRun, folder: Path, base: Path | None) -> None:
    """The text tokenizer with the motion words, and what the base says of its special tokens and its chat template."""
    loaded.vocab.text_tokenizer.save(folder, loaded.vocab.words)
    if base is None:
        return
    path = folder / "tokenizer_config.json"
    theirs = base / "tokenizer_config.json"
    if theirs.is_file() and path.is_file():
        own = read_json(path)
        # the list of added tokens is in tokenizer.json; the one of the base lacks the motion words
        kept = {key: value for key, value in read_json(theirs).items() if key != "added_tokens_decoder"}
        # a class of one family builds its tokenizer anew; this one takes tokenizer.json as it is
        write_json(path, own | kept | {"tokenizer_class": own["tokenizer_class"]})
    for name in TEMPLATES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)


def _write_generation(loaded: LoadedRun, folder: Path, base: Path | None) -> None:
    """generation_config.json: a motion or a text ends at its own end word, or where texts of the base end."""
    known: dict = {}
    for name in ("config.json", "generation_config.json"):
        if base is not None and (base / name).is_file():
            known |= read_json(base / name)
    ends = known.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends] * (ends is not None)
    stop = loaded.renderer.frame.stop_id
    eos = list(dict.fromkeys([loaded.vocab.end_id, stop, *ends]))
    pad = known.get("pad_token_id")
    values = {"eos_token_id": eos, "pad_token_id": stop if pad is None else pad}
    values |= {name: known[name] for name in ("bos_token_id", "decoder_start_token_id") if known.get(name) is not None}
    write_json(folder / "generation_config.json", values)


def _copy_motion_tokenizer(loaded: LoadedRun, folder: Path) -> str | None:
    """vqvae/ of the run, which turns motion words into motion, and its hash; None if the run has none."""
    source = loaded.folder / "vqvae"
    if not (source / "model.safetensors").is_file():
        return None
    (folder / "vqvae").mkdir()
    for path in tokenizer_files(source):
        shutil.copyfile(path, folder / "vqvae" / path.name)
    return file_hash(source / "model.safetensors")


def _facts(loaded: LoadedRun, base: str) -> dict:
    """What meta.json says of where the weights come from. Neither `stage` nor `base` are keys here: it is no stage."""
    kept = ("recipe", "name", "tasks", "data", "versions", "steps", "losses", "loss_vocab", "base_hash")
    return {"exported": {"base": base, "stage": loaded.stage} | {k: loaded.meta[k] for k in kept if k in loaded.meta}}


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6


def _write_card(loaded: LoadedRun, folder: Path, base: str, kind: str) -> None:
    (folder / "README.md").write_text(model_card(loaded, folder, base, kind), encoding="utf-8")
