"""From a stage's settings to what the loop needs: model, batches, loss, validation, export.

`scripts/finetune.py` fills a `Job`, `prepare_stage` checks everything that can be wrong before the first step
(data, codes, captions that do not fit, weights that belong to another run) and returns a `Prepared` stage.
"""

import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig
from motiongpt.data.batches import BucketedBatches, by_length
from motiongpt.data.prompts import prompt_table
from motiongpt.data.token_formats import is_token_folder
from motiongpt.data.tokens import Entry, codebook_size, dedup, load_tokens, meta_path, rank, tokens_hash
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, write_atomic, write_json
from motiongpt.hub import resolve_backbone
from motiongpt.loops import Result
from motiongpt.motion_tokenizer import MotionTokenizer, own_folder, tokenizer_files
from motiongpt.stages.model import StageModel, new_backbone, open_stage
from motiongpt.stages.recipes import RECIPES, first_language_stage
from motiongpt.stages.run import (
    RunConfig,
    check_recipe,
    clear_stage,
    data_identity,
    finished_stages,
    has_weights,
    participants_of,
    relative_backbone,
    stage_folder,
    versions,
)
from motiongpt.tasks.batches import TaskCollate, lm_loss
from motiongpt.tasks.render import Renderer
from motiongpt.text_tokenizer import TextTokenizer, load_text_tokenizer
from motiongpt.vocab import MotionVocab
from motiongpt.weights.llm import weights_hash

MAX_VALIDATION_ENTRIES = 512  # validation looks at this many entries, drawn by a hash with the run's seed


@dataclass(frozen=True)
class Job:
    """Everything a user can say about one stage."""

    number: int
    name: str
    tasks: dict[str, float]
    recipe: str
    out: Path
    train_mode: str
    data: Path
    backbone: str
    vqvae: Path | None
    foreign: dict  # what `MotionTokenizer.load` takes where `vqvae` is the file of another project
    source: Path | None
    codes: int | None
    dedup: bool
    think: str
    fresh: bool
    resume: bool
    config: TrainConfig
    lora: LoRAConfig
    clears: tuple[Path, ...] = ()  # folders of later stages that `fresh` empties too
    validation: int | None = None  # entries looked at; None: MAX_VALIDATION_ENTRIES


@dataclass
class Prepared:
    """A stage ready for `loops.train`."""

    model: torch.nn.Module
    batches: BucketedBatches
    loss: Callable
    validate: Callable[[], dict[str, float]]
    export: Callable[[Path], None]
    finish: Callable[[Result], None]
    fingerprint: dict
    warning: str | None  # the stage before is missing
    summary: str
    wide: bool  # wide enough for bf16 to pay on a CPU
    example: str  # a caption of the training data


def prepare_stage(job: Job, device: torch.device, say: Callable[[str], None]) -> Prepared:
    """Check and build one stage; `say` gets lines for people, the first of them what is trained from where.

    Raises:
        FileNotFoundError, ValueError: data, backbone, codes, captions or the run folder do not fit; one line.
        FileExistsError: the stage is finished already and --fresh was not given.
    """
    folder = stage_folder(job.out, job.number)
    _check_folder(job, folder)
    source, start, warning = _source(job)
    shares = ", ".join(f"{task} {100 * share / sum(job.tasks.values()):.0f}" for task, share in job.tasks.items())
    stages = len(RECIPES[job.recipe])
    say(f"recipe {job.recipe}, stage {job.number} of {stages}: {job.name} ({shares} %), from {start}")
    if job.data.is_dir() and not is_token_folder(job.data):
        raise ValueError(f"--data {job.data} is a folder: this stage reads a JSON file of tokens, or a folder of "
                         "codes, such as scripts/tokenize_motions.py writes")  # fmt: skip
    entries = load_tokens(job.data, job.config.seed, say)
    if job.dedup:
        kept = dedup(entries)
        say(f"--dedup keeps {len(kept)} of {len(entries)} entries")
        entries = kept
    codes, origin = codebook_size(entries, job.data, job.codes)
    say(f"{job.data}: {len(entries)} entries, codebook of {codes} ({origin})")
    run = _run_config(job, entries, codes)
    vqvae = _tokenizer(job)
    training = [entry for entry in entries if entry.split == "train"]
    held_out = sorted((e for e in entries if e.split == "val"), key=lambda e: rank(e, job.config.seed))
    held_out = held_out[: job.validation or MAX_VALIDATION_ENTRIES]
    if not training or not held_out:
        raise ValueError(f"{job.data} needs train and val entries, has {len(training)} and {len(held_out)}")
    if source is None:
        model, start_id = _random_model(job, entries, run), {"start": job.backbone}
    else:
        model, run = _model(job, source, run)
        start_id = {"start": relative_backbone(source, job.out), "start_hash": weights_hash(source)}
    model.llm.to(device)
    renderer = Renderer(model.vocab, job.think, job.config.max_seq_len)
    longest = _check_fits(training + held_out, job.tasks, renderer)
    if longest > model.llm.config.max_positions:
        raise ValueError(
            f"the longest example has {longest} tokens, the backbone {model.llm.config.max_positions} positions"
        )

    dropping = Renderer(model.vocab, job.think, job.config.max_seq_len, job.config.caption_dropout)
    collate = TaskCollate(training, job.tasks, dropping)  # validation and the check above see whole captions
    batches = BucketedBatches(collate.lengths(), job.config.batch_size, job.config.seed, collate)
    checks = TaskCollate(held_out, job.tasks, renderer)
    check_batches = by_length(checks.lengths(), job.config.batch_size)

    def loss(batch: dict) -> tuple[torch.Tensor, dict]:
        return lm_loss(model.llm, batch, job.config.label_smoothing), {}

    def validate() -> dict[str, float]:
        total, count = 0.0, 0
        rng = np.random.default_rng(job.config.seed)  # the same tasks and masks every time
        for rows in check_batches:
            batch = checks(rows, rng)
            batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
            total += float(lm_loss(model.llm, batch))
            count += batch["count"]
        return {"loss": total / count}

    meta = {
        "stage": job.number,
        "name": job.name,
        "recipe": job.recipe,
        "tasks": job.tasks,
        "first_id": model.vocab.first_id,
        "codes": codes,
        "data": data_identity(job.data, entries),
        "versions": versions(),
    }

    begun = False

    def export(target: Path) -> None:
        nonlocal begun
        if not begun:  # not before the loop has found that this stage is the one it may go on with
            _write_run(job, run, model.text_tokenizer, vqvae, entries)
            begun = True
        model.save(target, meta | {"finished": False})

    def finish(result: Result) -> None:
        saved = read_json(folder / "meta.json")
        losses = {"best_val_loss": result.best, **result.metrics}
        write_json(folder / "meta.json", saved | {"finished": True, "steps": result.step, "losses": losses})

    fingerprint = {"data": tokens_hash(job.data, entries), "tasks": job.tasks, "train": job.train_mode}
    fingerprint |= {"recipe": job.recipe, "codes": codes, "think": job.think, **start_id, **job.config.run_identity()}
    fingerprint |= job.lora.to_dict() if job.train_mode == "lora" else {}
    trainable = sum(p.numel() for p in model.llm.parameters() if p.requires_grad)
    everything = sum(p.numel() for p in model.llm.parameters())
    test = sum(entry.split == "test" for entry in entries)
    summary = (
        f"{everything / 1e6:.1f} M parameters, {trainable / 1e6:.1f} M trained ({job.train_mode}), "
        f"{len(training)} training and {len(held_out)} validation entries"
        + (f", {test} test entries left out" if test else "")
    )
    if job.fresh:  # only now that nothing can be wrong any more
        for stale in (folder, *job.clears):
            clear_stage(stale)
        if later := [f"stage{n}" for n in sorted(finished_stages(job.out)) if n > job.number]:
            say(f"warning: {', '.join(later)} went on from the former stage {job.number}; train them again too")
    wide = model.llm.config.hidden_size >= 256  # 1.45x a step at 256, batch 32 (AVX512-bf16); nothing below
    return Prepared(
        model=model.llm, batches=batches, loss=loss, validate=validate, export=export, finish=finish,
        fingerprint=fingerprint, warning=warning, summary=summary, wide=wide, example=training[0].text,
    )  # fmt: skip


def run_backbone(out: Path) -> str | None:
    """The backbone that a run was begun with, by path or repo id: the default of its later stages."""
    if not (out / "config.json").is_file():
        return None
    name = RunConfig.read(out).backbone
    return os.path.normpath(out / name) if (out / name).is_dir() else name


def what_next(job: Job, example: str, again: Callable[[int], str]) -> str:
    """The command that uses what a stage has learnt, for people; `again` gives this one with another --stage."""
    words = ["--run", str(job.out), "--stage", str(job.number)]
    if "t2m" in job.tasks:
        return f"sample it: python scripts/sample.py {shlex.join([*words, '--prompt', example])}"
    if "m2t" in job.tasks:
        return f"describe a motion: python scripts/sample.py {shlex.join([*words, '--task', 'm2t'])} --input MOTION.txt"
    if set(job.tasks) == {"caption"}:
        place = shlex.quote(str(stage_folder(job.out, job.number)))
        return f"it is a backbone: python scripts/finetune.py --stage 1 --backbone {place} --data TOKENS.json --out RUN"
    if job.number < len(RECIPES[job.recipe]):
        return f"it takes no sentences yet; next: {again(job.number + 1)}"
    return "it takes no sentences; sampling needs a stage with the task t2m or m2t"


def _check_folder(job: Job, folder: Path) -> None:
    """Nothing is overwritten silently, and nothing of another recipe is mixed in."""
    check_recipe(job.out, job.recipe)
    others = [name for name in ("prompts.json", "tokenizer.json") if (job.out / name).exists()]
    if others and not (job.out / "config.json").is_file():
        raise FileExistsError(f"--out {job.out} is no run (no config.json) and holds {', '.join(others)}; give another")
    if job.number in finished_stages(job.out) and not job.fresh:
        raise FileExistsError(f"{folder} is finished; --fresh trains it again, --out starts another run")
    if job.resume and not (folder / "state").is_dir():
        raise FileNotFoundError(f"--resume: {folder} has nothing unfinished; leave the flag away to start")


def _source(job: Job) -> tuple[Path | None, str, str | None]:
    """Folder of the weights to start from (None: drawn at random), the same in words, and a warning if one is due."""
    if job.backbone in LLM_PRESETS:
        return None, f"random weights (preset {job.backbone})", None
    backbone = resolve_backbone(job.backbone)
    if job.source is not None:
        if not has_weights(job.source):
            raise FileNotFoundError(f"--from {job.source} holds no weights (adapter_model or model.safetensors)")
        return job.source, str(job.source), None
    start = f"backbone {job.backbone}"
    if job.number == first_language_stage(job.recipe):
        return backbone, start, None
    before = stage_folder(job.out, job.number - 1)
    if job.number - 1 in finished_stages(job.out):
        return before, str(before), None
    return backbone, start, f"warning: {before} is not finished; this stage starts from the backbone without it"


def _random_model(job: Job, entries: list[Entry], run: RunConfig) -> StageModel:
    if job.recipe != "captions":
        raise ValueError(f"--backbone {job.backbone} has no weights yet; train it first with --recipe captions")
    if job.train_mode != "full":
        raise ValueError("random weights have nothing to adapt: --recipe captions needs --train full")
    if set(job.tasks) != {"caption"}:
        raise ValueError(f"random weights learn captions first, got --tasks {' '.join(job.tasks)}; motion comes next")
    captions = sorted({entry.text for entry in entries if entry.split == "train"})
    llm, text_tokenizer = new_backbone(job.backbone, captions, job.config.seed)
    return StageModel(llm, text_tokenizer, MotionVocab(text_tokenizer, run.codes, run.participants), None, "full", None)


def _model(job: Job, source: Path, run: RunConfig) -> tuple[StageModel, RunConfig]:
    """The stage's model from `source`, and the run's config with the hash of its backbone."""
    backbone = resolve_backbone(job.backbone)
    text_tokenizer = load_text_tokenizer(backbone)
    vqvae = _data_meta(job).get("vqvae")
    model = open_stage(source, text_tokenizer, run, job.train_mode, job.lora, job.config.seed, vqvae)
    base_hash = weights_hash(backbone)
    if run.base_hash not in ("", base_hash):
        raise ValueError(f"{job.out} was begun on other weights than {backbone} holds now; begin another --out")
    if model.base == backbone and not Path(job.backbone).expanduser().is_dir():
        model.repo_id = job.backbone
    return model, replace(run, base_hash=base_hash)


def _check_fits(entries: list[Entry], tasks: dict[str, float], renderer: Renderer) -> int:
    """The longest example in tokens. Raises ValueError for one past --max-seq-len or a code out of range."""
    rng = np.random.default_rng(0)
    return max(len(renderer.render(task, entry, rng)[0]) for entry in entries for task in tasks)


def _data_meta(job: Job) -> dict:
    """What stands beside the token dataset about the tokenizer that wrote it; empty where nothing does."""
    path = meta_path(job.data)
    return read_json(path) if path.is_file() else {}


def _run_config(job: Job, entries: list[Entry], codes: int) -> RunConfig:
    meta = _data_meta(job)
    timing = {key: meta[key] for key in ("fps", "frames_per_code") if key in meta}
    backbone = relative_backbone(job.backbone, job.out)
    run = RunConfig(job.recipe, backbone, codes, participants_of(entries), job.think, **timing)
    others = [folder for folder in job.out.glob("stage*") if folder != stage_folder(job.out, job.number)]
    if not any(has_weights(folder) for folder in others):
        return run
    # the words of a run are those of its first stage: its rows would be read under other names
    first = RunConfig.read(job.out)
    for name in ("backbone", "codes", "think"):
        given, known = getattr(run, name), getattr(first, name)
        if given != known:
            raise ValueError(f"{job.out} was begun with --{name} {known}, got {given}; another one needs another --out")
    strangers = sorted(set(run.participants) - set(first.participants))
    if strangers:
        known = ", ".join(first.participants[:8]) or "none"
        raise ValueError(f"{job.out} knows participants {known}; {job.data} has {', '.join(strangers[:8])} too")
    return replace(run, participants=first.participants, base_hash=first.base_hash)


def _tokenizer(job: Job) -> Path | MotionTokenizer | None:
    """The tokenizer the run gets, a folder to copy or the loaded file of another project; None where it keeps its own.
    It must be the one that wrote the codes."""
    meta, own = _data_meta(job), job.out / "vqvae"
    trained = (own / "metrics.jsonl").is_file()  # here, by a tokenizer stage
    if trained and not (own / "model.safetensors").is_file():
        raise ValueError(f"the tokenizer in {own} stopped before its first save; train it on, or give another --out")
    if job.vqvae is None:
        file = own / "model.safetensors"
        if "vqvae" in meta and file.is_file() and file_hash(file) != meta["vqvae"]:
            raise ValueError(
                f"{job.out} was made with another tokenizer than {job.data}; give --vqvae or another --out"
            )
        return None
    try:
        text_tokenizer = MotionTokenizer.load(job.vqvae, **job.foreign)
        source, found = text_tokenizer if job.vqvae.is_file() else own_folder(job.vqvae), text_tokenizer.hash
    except FileNotFoundError as error:
        raise FileNotFoundError(f"--vqvae {error}") from error
    if meta.get("vqvae", found) != found:
        raise ValueError(f"--vqvae {job.vqvae} is not the tokenizer that wrote {job.data} ({meta_path(job.data).name})")
    if trained and file_hash(own / "model.safetensors") != found:
        raise ValueError(f"{own} was trained in this run and {job.data} is in other tokens; give --data of its tokens")
    return source


def _write_run(
    job: Job, run: RunConfig, text_tokenizer: TextTokenizer, vqvae: Path | MotionTokenizer | None, entries: list[Entry]
) -> None:
    """config.json, prompts.json and both tokenizers of the run, of text and of motion."""
    job.out.mkdir(parents=True, exist_ok=True)
    run.write(job.out, job.config, job.lora)
    write_json(job.out / "prompts.json", prompt_table(entries), indent=None)
    text_tokenizer.save(job.out)
    target = job.out / "vqvae"
    if isinstance(vqvae, MotionTokenizer):
        vqvae.save(target)
        return
    if vqvae is None or os.path.abspath(vqvae) == os.path.abspath(target):
        return
    for path in tokenizer_files(vqvae):
        write_atomic(target / path.name, partial(shutil.copyfile, path))
