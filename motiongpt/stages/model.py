"""The model of a stage and of a finished run: opened, saved, and loaded to sample from.

A stage with an adapter remembers its base and a hash of the base's weights, so the adapter is never put on others.
Rows of motion words are taken over only if they mean the same: the codes of the same tokenizer, the same participants.

It neither trains (`loops.py`) nor samples (`sampling.py`); what the files contain is the business of
`motiongpt/weights/`.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from motiongpt.backbones.t5 import T5
from motiongpt.config import LLM_PRESETS, LoRAConfig
from motiongpt.data.training_captions import Prompts
from motiongpt.decoding import DecodingLLM
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import HASHES, check_hashes, file_hashes, hashes_in
from motiongpt.files.store import read_json, write_json
from motiongpt.llm import LLM
from motiongpt.lora import inject, lora_layers, merge
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.sampling import Model
from motiongpt.stages.run_folder import (
    RunConfig,
    backbone_tokenizer,
    default_stage,
    find_base,
    finished_stages,
    has_weights,
    read_meta,
    relative_backbone,
    relative_path,
    stage_folder,
)
from motiongpt.tasks.prompts import Clock
from motiongpt.tasks.sequences import Renderer
from motiongpt.tasks.templates import Templates, read_templates
from motiongpt.text_tokenizer import TextTokenizer, load_text_tokenizer, train_text_tokenizer
from motiongpt.vocab import MotionVocab, words_of
from motiongpt.weights.adapters import load_adapter, save_adapter
from motiongpt.weights.backbone import Backbone, load_backbone, save_backbone
from motiongpt.weights.shards import hashed_files, is_adapter, weights_hash
from motiongpt.word_tables import MAX_GAP

TRAIN_MODES = ("lora", "full")
TEMPLATES = "templates.json"
"""In a stage folder: how the stage words what it asks for."""

WEIGHT_FILES = ("adapter_model.safetensors", "adapter_config.json", "model.safetensors", "config.json")
"""What meta.json remembers by a hash, so that a damaged or replaced file shows when it is loaded."""


def new_backbone(preset: str, captions: list[str], seed: int) -> tuple[LLM, TextTokenizer]:
    """A preset's model with random weights, and a text tokenizer of its size learnt from `captions`."""
    config = LLM_PRESETS[preset]
    text_tokenizer = train_text_tokenizer(captions, config.vocab_size)
    llm = LLM(replace(config, vocab_size=text_tokenizer.size), torch.Generator().manual_seed(seed))
    return llm, text_tokenizer


@dataclass
class StageModel:
    """A language model ready for a stage: the weights, their vocabulary, and where they came from."""

    llm: Backbone
    text_tokenizer: TextTokenizer
    vocab: MotionVocab
    base: Path | None  # folder of the weights that an adapter sits on; None if they were drawn at random
    mode: str
    lora: LoRAConfig | None
    repo_id: str | None = None  # of a base from the Hub, whose folder is this machine's cache
    base_hash: str | None = None  # of the weights that an adapter sits on

    def save(self, folder: Path, meta: dict, dtype: torch.dtype = torch.float32) -> None:
        """Write the stage: weights, text tokenizer with the new words, meta.json.

        meta.json names a local base relative to `folder`. adapter_config.json names it relative to the working
        directory, because that is how PEFT reads it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        words = self.vocab.words if self.llm.new_in is not None else ()
        if self.mode == "lora":
            save_adapter(self.llm, folder, self.lora, self.repo_id or relative_path(self.base, Path()))
        else:
            save_backbone(self.llm, folder, dtype)
        self.text_tokenizer.save(folder, words)
        base = None if self.base is None else self.repo_id or relative_backbone(self.base, folder)
        known = {"base_hash": self.base_hash} if self.base_hash else {}
        values = {"train": self.mode, "base": base, **known, "vocab_size": self.llm.vocab_size}
        values |= {HASHES: file_hashes(folder, (*WEIGHT_FILES, TEMPLATES))}
        write_json(folder / "meta.json", meta | values)


def motion_words(vocab: MotionVocab, vqvae: str | None) -> dict:
    """What the rows of motion words stand for: the number of codes, their tokenizer's hash, the participants."""
    return {"vqvae": vqvae, "codes": vocab.codes, "participants": list(vocab.participants)}


def load_weights(
    folder: Path,
    vocab: MotionVocab,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    vqvae: str | None = None,
    backbone: Path | None = None,
) -> tuple[Backbone, LoRAConfig | None, Path]:
    """(model with its new rows, adapter settings or None, folder of the base) of a backbone or stage folder.

    A backbone's new rows are drawn from `seed`, unless its meta.json says that it has learnt these `motion_words`;
    `vqvae` is the hash of this run's motion tokenizer. With other participants, words of both keep their rows.
    `backbone` is the base of an adapter that PEFT made elsewhere, or of one of ours whose own base has moved.

    Raises ValueError if an adapter was trained on other weights than its base holds now, or if the words differ.
    """
    # an adapter: its base first, then the adapter on it
    path = folder / "meta.json"
    if is_adapter(folder):
        if not path.is_file():
            # made elsewhere, without words of motion: they are added to its base as to any backbone
            if backbone is None or is_adapter(backbone):
                raise FileNotFoundError(
                    f"{path} does not exist, and it alone says which weights the adapter belongs to"
                )
            llm, _, _ = load_weights(backbone, vocab, seed, dtype, vqvae)
            return llm, load_adapter(llm, folder, with_rows=False), backbone
        meta = read_meta(folder)
        base = _base_of(folder, meta, backbone)
        llm, _, _ = load_weights(base, vocab, seed, dtype)  # before the hash: a damaged file is reported as damaged
        if "base_hash" in meta and meta["base_hash"] != weights_hash(base):  # older stages lack it
            names = ", ".join(file.name for file in hashed_files(base))
            raise ValueError(
                f"{folder} was trained on other weights than {base} holds now ({names} is damaged or replaced); bring "
                "those back, or train it again"
            )
        config = load_adapter(llm, folder)
        check_hashes(folder, meta, WEIGHT_FILES, path)
        return llm, config, base
    # a backbone or a full stage: does it have rows for these words already?
    llm = load_backbone(folder, dtype)
    rows = llm.config.vocab_size
    count = len(vocab)
    if vocab.first_id > rows + MAX_GAP:
        raise ValueError(
            f"{folder}: the text tokenizer has {vocab.first_id} tokens, the model only {rows} rows: they do not belong "
            "together"
        )
    meta = read_meta(folder)
    check_hashes(folder, meta, WEIGHT_FILES, path)
    if "motion_words" in meta:  # it has learnt motion in one tokenizer's codes; in another's, its rows would be noise
        learnt = meta["motion_words"]
        known = learnt == motion_words(vocab, vqvae)
        same_codes = (learnt.get("codes"), learnt.get("vqvae")) == (vocab.codes, vqvae)
    else:  # a full stage wrote base and new rows as one table
        known = bool(meta) and rows > vocab.first_id
        if known and rows != vocab.first_id + count:
            raise ValueError(
                f"{folder} has {rows - vocab.first_id} motion words, this run {count}: other codes or participants"
            )
    llm.extend(vocab.first_id, count, None if known else torch.Generator().manual_seed(seed), from_base=known)
    if "motion_words" in meta and same_codes and not known:
        take_over_rows(llm, vocab, get_field(learnt, "participants", list, path))
    return llm, None, folder


def _base_of(folder: Path, meta: dict, backbone: Path | None) -> Path:
    """The folder that an adapter's meta.json names; if it is gone, `backbone`, if that holds the same weights."""
    try:
        return find_base(get_field(meta, "base", str, folder / "meta.json"), folder)
    except FileNotFoundError:
        if backbone is None or weights_hash(backbone) != meta.get("base_hash"):
            raise
        return backbone


@torch.no_grad()
def take_over_rows(llm: Backbone, vocab: MotionVocab, participants: list[str]) -> None:
    """Copy the rows of words that a backbone has learnt with other `participants`; the others stay as drawn."""
    places = {word: vocab.first_id + i for i, word in enumerate(words_of(vocab.codes, participants))}
    shared = [word for word in vocab.words if word in places]
    new = [vocab.words.index(word) for word in shared]
    old = [places[word] for word in shared]
    llm.new_in[new] = llm.input_table.weight[old].float()
    if llm.new_out is not None:
        llm.new_out[new] = llm.lm_head.weight[old].float()


def open_stage(
    source: Path,
    text_tokenizer: TextTokenizer,
    run_config: RunConfig,
    mode: str,
    lora: LoRAConfig,
    seed: int,
    vqvae: str | None = None,
    backbone: Path | None = None,
) -> StageModel:
    """The model that a stage trains, from `source`, a backbone or the folder of a stage; see `load_weights`.

    Raises ValueError if the adapter in `source` has other settings, or if a full stage would start from an adapter.
    """
    if mode not in TRAIN_MODES:
        raise ValueError(f"--train must be one of {', '.join(TRAIN_MODES)}, got {mode!r}")
    vocab = MotionVocab(text_tokenizer, run_config.codes, run_config.participants)
    llm, adapter, base = load_weights(source, vocab, seed, vqvae=vqvae, backbone=backbone)
    lora = lora_for(llm, lora)
    if mode == "full":
        if adapter is not None:
            raise ValueError(
                f"--train full cannot start from the adapter in {source}; use --train lora, or --from a backbone"
            )
        llm.requires_grad_(True)
        return StageModel(llm, text_tokenizer, vocab, base, mode, None)
    if adapter is None:
        inject(llm, lora, torch.Generator().manual_seed(seed))
    elif _shape_of(adapter) != _shape_of(lora):
        raise ValueError(
            f"{source} has an adapter of r {adapter.lora_r}, alpha {adapter.lora_alpha}; --lora-r {lora.lora_r} "
            f"--lora-alpha {lora.lora_alpha} would be another one: drop them, or start from a backbone in another --out"
        )
    # dropout has no weights, so each stage chooses its own
    for layer in lora_layers(llm).values():
        layer.dropout = torch.nn.Dropout(lora.lora_dropout) if lora.lora_dropout else torch.nn.Identity()
    return StageModel(llm, text_tokenizer, vocab, base, mode, lora, base_hash=weights_hash(base))


def lora_for(llm: Backbone, lora: LoRAConfig) -> LoRAConfig:
    """`lora` with the model's own names of its targets: defaults and recipes name those of a decoder, q_proj, ..."""
    if not isinstance(llm, T5):
        return lora
    names = {name.rpartition(".")[2] for name, module in llm.named_modules() if isinstance(module, torch.nn.Linear)}
    own: dict[str, None] = {}  # a set in order: "q_proj q" is one layer
    for target in lora.lora_targets:
        # a plain MLP has no counterpart of gate_proj; any other name that the model lacks is refused by `inject`
        found = [name for name in llm.PROJECTIONS[target] if name in names] if target in llm.PROJECTIONS else [target]
        own |= dict.fromkeys(found)
    return replace(lora, lora_targets=tuple(own))


def open_renderer(
    llm: Backbone, vocab: MotionVocab, config: RunConfig, templates: Templates, max_seq_len: int
) -> Renderer:
    """The renderer of a run's prompts and examples. ValueError if model and text tokenizer end texts differently."""
    encoder = isinstance(llm, T5)
    if encoder:  # it writes no prompt, so it cannot learn one
        templates = replace(templates, loss_on_prompt=False)
    renderer = Renderer(
        vocab,
        config.think,
        max_seq_len,
        fold_captions=config.fold_captions,
        encoder=encoder,
        templates=templates,
        clock=Clock(config.fps, config.frames_per_code),
    )
    if encoder and renderer.frame.stop_id != llm.config.end_id:
        raise ValueError(
            f"</s> has the id {renderer.frame.stop_id} in the text tokenizer, and {llm.config.end_id} in the model's "
            "config.json (eos_token_id): they are not of one model"
        )
    return renderer


def stage_templates(folder: Path) -> Templates:
    """How a stage words its requests; the defaults for an older one.

    Raises ValueError if the file has been changed, and FileNotFoundError if it is gone.
    """
    path, meta = folder / TEMPLATES, read_meta(folder)
    if not path.is_file():
        if TEMPLATES in hashes_in(meta, folder / "meta.json"):
            raise FileNotFoundError(f"{path} is missing: it says how the stage words its requests; copy it again")
        return Templates()
    check_hashes(folder, meta, [TEMPLATES], folder / "meta.json")
    return read_templates(path)


def _shape_of(lora: LoRAConfig) -> tuple:
    """What decides the shape and scale of an adapter's matrices."""
    return lora.lora_r, lora.lora_alpha, set(lora.lora_targets)


@dataclass
class LoadedRun:
    """A finished run, ready to sample from."""

    folder: Path
    stage: int
    meta: dict  # meta.json of the stage
    config: RunConfig
    llm: Backbone
    model: Model  # `llm` as the sampler runs it
    vocab: MotionVocab
    renderer: Renderer
    prompts: Prompts


def run_text_tokenizer(run: Path, config: RunConfig) -> TextTokenizer:
    """The text tokenizer of a run: its own copy, or the backbone's for an older run without one.

    Raises ValueError if the copy is not the one that the run's config.json remembers.
    """
    if not (run / "tokenizer.json").is_file():
        return backbone_tokenizer(config.backbone_path(run))
    text_tokenizer = load_text_tokenizer(run)
    check_hashes(run, read_json(run / "config.json"), ["tokenizer.json"], run / "config.json")
    return text_tokenizer


def read_prompts(run: Path) -> Prompts:
    """prompts.json of a run. ValueError names the record that is not as `prompt_table` makes it."""
    path = run / "prompts.json"
    table = read_json(path)
    check_hashes(run, read_json(run / "config.json"), [path.name], run / "config.json")
    get_field(table, "global_median", int, path, least=1)
    for caption, known in get_field(table, "captions", dict, path).items():
        where = f"{path}: captions: {caption[:60]!r}"
        if not isinstance(known, dict):
            raise ValueError(f"{where} must be an object, got {str(known)[:60]}")
        for key in ("median", "min", "max"):
            get_field(known, key, int, where, least=1)
        seen = get_field(known, "codes", list, where)
        if set(map(type, seen)) != {int} or min(seen) < 0:
            raise ValueError(f"{where}: codes must be a list of whole numbers of at least 0, got {str(seen)[:60]}")
    return Prompts(table)


def load_run(
    run: Path,
    stage: int | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    task: str = "t2m",
) -> LoadedRun:
    """Load a stage of a run to sample from, with adapters merged.

    Without `stage` it is the `default_stage` for `task`.

    Args:
        run: a run folder, or one of its stage folders.
        dtype: of the base weights; new rows stay fp32.

    Raises FileNotFoundError or ValueError saying what was found instead.
    """
    # a stage folder names the run it is in
    run = Path(run)
    if run.name.startswith("stage") and (run.parent / "config.json").is_file() and has_weights(run):
        if stage is None and run.name.removeprefix("stage").isdigit():
            stage = int(run.name.removeprefix("stage"))
        run = run.parent
    config = RunConfig.read(run)
    if config.backbone in LLM_PRESETS:
        raise ValueError(f"{run} was trained on captions only and writes no motion; it is a --backbone: {run}/stage1")
    # which of its stages
    stages = finished_stages(run)
    if not stages:
        raise FileNotFoundError(f"{run} has no finished stage; scripts/finetune.py --out {run} continues training it")
    stage = default_stage(stages, task) if stage is None else stage
    if stage not in stages:
        raise ValueError(f"{run} has no finished stage {stage}; finished: {', '.join(map(str, sorted(stages)))}")
    vocab = MotionVocab(run_text_tokenizer(run, config), config.codes, config.participants)
    llm, _, _ = load_weights(stage_folder(run, stage), vocab, dtype=dtype)
    if lora_layers(llm):
        merge(llm, keep=False)
    llm = llm.to(device).eval()
    return LoadedRun(
        folder=run,
        stage=stage,
        meta=stages[stage],
        config=config,
        llm=llm,
        model=DecodingLLM(llm) if isinstance(llm, LLM) else llm,
        vocab=vocab,
        renderer=open_renderer(llm, vocab, config, stage_templates(stage_folder(run, stage)), llm.config.max_positions),
        prompts=read_prompts(run),
    )


def open_motion_tokenizer(
    run: LoadedRun, given: Path | str | MotionTokenizer | None, device: torch.device
) -> MotionTokenizer | None:
    """The given tokenizer, else the run's own. ValueError if it would decode the run's codes to other motions."""
    folder = run.folder / "vqvae"
    if given is None:
        return MotionTokenizer.load(folder, device) if folder.is_dir() else None
    motion_tokenizer = given if isinstance(given, MotionTokenizer) else MotionTokenizer.load(given, device)
    name = motion_tokenizer.source or "the tokenizer"
    has, writes = motion_tokenizer.config.codes, run.config.codes
    if has < writes:  # more codes than the run writes are fine: it never writes the others
        raise ValueError(f"{name} has {has} codes, the run writes {writes}: it is another tokenizer")
    # the same number of codes does not make them the same latents
    if folder.is_dir() and not motion_tokenizer.has_codes_of(MotionTokenizer.load(folder)):
        raise ValueError(
            f"{name} is another tokenizer than the one whose codes this run writes, {folder}: they would decode to "
            "other motions"
        )
    return motion_tokenizer
