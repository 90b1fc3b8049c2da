"""A language-model stage made ready for the loop: its model, batches, loss, validation, export.

`prepare_stage` reads the plan (`plan.py`), builds the model, checks that every example fits, builds the batches, and
returns a `Prepared`, whose methods are what `loops.train` calls. The run's own files are written with the first export,
so a stage that is refused leaves the run as it was.

Flags become a `Job` in `cli/stages.py`; the loop itself is `loops.py`.
"""

import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from motiongpt.data.batches import POOL, BucketedBatches, by_length
from motiongpt.data.selection import bounded, of_split
from motiongpt.data.spelling import fold
from motiongpt.data.training_captions import Prompts, prompt_table
from motiongpt.files.hashes import values_hash
from motiongpt.files.store import read_json, write_atomic, write_json
from motiongpt.llm import LLM
from motiongpt.loops import Result
from motiongpt.motion_tokenizer import MotionTokenizer, tokenizer_files
from motiongpt.stages.fitting import fit_model, fit_step, fitting_precision
from motiongpt.stages.held_out import written_errors
from motiongpt.stages.model import TEMPLATES, StageModel, new_backbone, open_renderer, open_stage
from motiongpt.stages.plan import Job, Plan, read_plan
from motiongpt.stages.run_folder import (
    HASHED_FILES,
    RunConfig,
    begun_with,
    clear_stage,
    relative_backbone,
    stage_folder,
    versions,
)
from motiongpt.tasks.collate import TaskCollate, lm_losses
from motiongpt.tasks.sequences import Renderer
from motiongpt.tasks.table import TABLE, WRITE_TEXT
from motiongpt.tasks.templates import Templates
from motiongpt.training.world import ALONE, World
from motiongpt.vocab import MotionVocab
from motiongpt.weights.shards import weights_hash


def prepare_stage(
    job: Job, device: torch.device, say: Callable[[str], None], world: World = ALONE, shard: bool = False
) -> "Prepared":
    """Check and build one stage; `say` gets lines for people, first what is trained and from where.

    Everything that can be wrong is found here, before the first step. With `shard` the model stays on the CPU, from
    where `train` puts a part of it on the device of each process.

    Raises as `read_plan` does, and ValueError for weights that belong to another run or an example that does not fit.
    """
    plan = read_plan(job, say)
    start = open_model(plan)
    stage_model = start.stage_model
    fit_model(stage_model, job.config, torch.device("cpu") if shard else device)
    run_config = replace(plan.run_config, think=job.think)
    renderer = open_renderer(stage_model.llm, stage_model.vocab, run_config, job.templates, job.config.max_seq_len)
    check_lengths(plan, renderer, start.stage_model.llm.config.max_positions)
    data = build_data(plan, renderer)
    plan = fit_step(plan, data.batches, world.size, say)
    if job.fresh and not job.dry_run:  # only now that nothing can be wrong any more
        world.from_first(lambda: clear_former(plan, say))
    return Prepared(plan, start, data, device, world, shard)


# 1) The model.


@dataclass(frozen=True)
class Start:
    """The model of a stage before its first step, and where its weights came from."""

    stage_model: StageModel
    run_config: RunConfig  # the plan's, with the hash of the backbone
    identity: dict[str, str]  # what a resumed run must find again


def open_model(plan: Plan) -> Start:
    """Load the weights a stage starts from, or draw them. Raises ValueError or FileNotFoundError if they do not fit."""
    if plan.source is None:
        return Start(_random_model(plan), plan.run_config, {"start": plan.job.backbone})
    job = plan.job
    stage_model = open_stage(
        plan.source,
        plan.text_tokenizer,
        plan.run_config,
        job.train_mode,
        job.lora,
        job.config.seed,
        vqvae=plan.vqvae_hash,
        backbone=plan.backbone,
    )
    # hashed once they have loaded: a damaged file should be reported as damaged, not as other weights
    base_hash = weights_hash(plan.backbone)
    if plan.run_config.base_hash not in ("", base_hash):
        if job.source is not None and plan.run_config.base_hash != base_hash:
            raise ValueError(f"--from {job.source} was trained on other weights than {plan.backbone}; drop --backbone")
        raise ValueError(f"{job.out} was begun on other weights than {plan.backbone} holds now; begin another --out")
    if stage_model.base == plan.backbone and not Path(job.backbone).expanduser().is_dir():
        stage_model.repo_id = job.backbone  # the folder is this machine's cache of the Hub
    source_hash = base_hash if plan.source == plan.backbone else weights_hash(plan.source)
    identity = {"start": relative_backbone(plan.source, job.out), "start_hash": source_hash}
    begun = begun_with(plan.folder)
    if begun.get("start_hash") == source_hash:
        identity["start"] = begun.get("start")  # the same weights, wherever they lie now
    return Start(stage_model, replace(plan.run_config, base_hash=base_hash), identity)


def _random_model(plan: Plan) -> StageModel:
    """A preset with random weights and a text tokenizer learnt from the training captions."""
    job = plan.job
    if job.recipe != "captions":
        raise ValueError(f"--backbone {job.backbone} has no weights yet; train it first with --recipe captions")
    if job.train_mode != "full":
        raise ValueError("random weights have nothing to adapt: --recipe captions needs --train full")
    if not {"caption"} <= set(job.tasks) <= {"caption", "read"}:
        got = " ".join(job.tasks)
        raise ValueError(f"random weights learn captions first, caption or caption and read, got --tasks {got}")
    # in both spellings: a folded one begins with a small letter that "A person walks." does not have
    captions = sorted({text for entry in bounded(plan.training) for text in (entry.text, fold(entry.text))})
    llm, text_tokenizer = new_backbone(job.backbone, captions, job.config.seed)
    vocab = MotionVocab(text_tokenizer, plan.run_config.codes, plan.run_config.participants)
    return StageModel(llm, text_tokenizer, vocab, None, "full", None)


# 2) The checks that need its vocabulary.


def check_lengths(plan: Plan, renderer: Renderer, max_positions: int) -> None:
    """ValueError for an example that --max-seq-len or the backbone cannot hold."""
    rng = np.random.default_rng(0)
    longest = 0
    limit = min(plan.job.config.max_seq_len, max_positions)
    long = renderer.may_be_long(plan.training, plan.job.tasks, limit, plan.job.config.plain_share > 0)
    for entry in renderer.longest(long) + renderer.longest(plan.held_out):
        for task in plan.job.tasks:
            if not TABLE[task].takes(entry):
                continue
            ids, _ = renderer.render(task, entry, rng)
            most = len(ids) + renderer.margin(task, entry)
            if most > plan.job.config.max_seq_len:
                raise ValueError(
                    f"entry {entry.id or entry.text[:40]!r} may need {most} tokens for task {task}, in its longest "
                    f"wording; --max-seq-len is {plan.job.config.max_seq_len}"
                )
            longest = max(longest, most)
    if longest > max_positions:
        raise ValueError(f"the longest example has {longest} tokens, the backbone {max_positions} positions")


# 3) The data.


@dataclass(frozen=True)
class StageData:
    """What a stage learns from, and what it is validated on."""

    batches: BucketedBatches
    held_out: TaskCollate
    held_out_rows: list[np.ndarray]  # indices of the held-out entries, in batches of similar length


def build_data(plan: Plan, renderer: Renderer) -> StageData:
    """Training and held-out entries as batches, with a task drawn for each entry by its share."""
    config = plan.job.config
    tasks = plan.job.tasks
    # caption words are dropped, and captions worded plainly, in training only: validation sees what the data says
    dropping = copy(renderer)
    dropping.caption_dropout, dropping.plain_share = config.caption_dropout, config.plain_share
    alone = config.loss_vocab == "motion"
    training = TaskCollate(plan.training, tasks, dropping, alone, config.pack)
    # packed rows have no padding that similar lengths would save, and batches of all lengths are of nearly one size
    pool = 1 if config.pack else POOL
    batches = BucketedBatches(training.lengths(), config.batch_size, config.seed, training, pool)
    held_out = TaskCollate(plan.held_out, tasks, renderer, alone)
    return StageData(batches, held_out, by_length(held_out.lengths(), config.batch_size))


# 4) Room for it, if --fresh was given.


def clear_former(plan: Plan, say: Callable[[str], None]) -> None:
    """Empty the stage's folder and those that --fresh empties too; warn about stages that started from the old one."""
    job = plan.job
    for stale in (plan.folder, *job.clears):
        clear_stage(stale)
    kept = [n for n in sorted(plan.finished) if n > job.number and stage_folder(job.out, n) not in job.clears]
    if kept:
        later = ", ".join(f"stage{n}" for n in kept)
        say(f"warning: {later} started from the former stage {job.number}; train them again too")


# 5) All of it, as the loop sees it.


@dataclass
class Prepared:
    """A stage ready for `loops.train`, which gets `loss`, `validate` and `export`; `finish` is for its end."""

    plan: Plan
    start: Start
    data: StageData
    device: torch.device
    world: World = ALONE
    shard: bool = False
    begun: bool = False  # whether the run's own files have been written

    @property
    def model(self) -> torch.nn.Module:
        return self.start.stage_model.llm

    @property
    def batches(self) -> BucketedBatches:
        return self.data.batches

    def loss(self, batch: dict) -> tuple[torch.Tensor, dict]:
        """The summed loss of a batch, and for the log the loss per label of each task in it, without smoothing."""
        total, single = lm_losses(self.model, batch, self.plan.job.config.label_smoothing)
        parts = self.data.held_out.split_by_task(single, batch)  # it knows the same tasks as the training's
        return total, {name: value / batch["task_labels"][name] for name, value in parts.items()}

    def validate(self) -> dict[str, float]:
        """Mean loss per label over the held-out entries, and over those of each task, without label smoothing."""
        sums: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        for i, own in self.world.turns(len(self.data.held_out_rows)):
            rng = np.random.default_rng((self.plan.job.config.seed, i))  # the same tasks and masks every time
            batch = self.data.held_out(self.data.held_out_rows[i], rng)
            batch = {k: v.to(self.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
            value, single = lm_losses(self.model, batch)
            if own:
                parts = self.data.held_out.split_by_task(single, batch)
                sums.update({"loss": float(value)} | {name: float(part) for name, part in parts.items()})
                labels.update({"loss": batch["count"]} | batch["task_labels"])
        sums, labels = self.world.merge(sums), self.world.merge(labels)
        return {name: sums[name] / labels[name] for name in ("loss", *self.data.held_out.names) if labels[name]}

    def decode(self) -> dict[str, float]:
        """How far the motions written for some held-out captions are from the real ones, see `written_errors`."""
        renderer = self.data.held_out.renderer
        motion_tokenizer = self.motion_tokenizer
        return written_errors(self.model, self.plan, renderer, self.captions, motion_tokenizer, self.device, self.world)

    @property
    def blocks(self) -> list[torch.nn.Module] | None:
        """With --shard, what `train` shards: the layers of a decoder. A T5 is gathered as a whole."""
        if not self.shard:
            return None
        return list(self.model.layers) if isinstance(self.model, LLM) else []

    @cached_property
    def captions(self) -> Prompts:
        """Those of training, with their lengths."""
        return Prompts(prompt_table(self.plan.training, self.plan.run_config.fold_captions))

    @cached_property
    def motion_tokenizer(self) -> MotionTokenizer | None:
        """The one the run keeps, to see what is written; None if it has none."""
        given = self.plan.motion_tokenizer or self.plan.job.out / "vqvae"
        if isinstance(given, MotionTokenizer):
            return given
        return MotionTokenizer.load(given, self.device) if given.is_dir() else None

    def export(self, folder: Path) -> None:
        """Write the stage's weights and meta.json; the first time, the run's own files too."""
        # not earlier: by now the loop has found that the state on disk, if any, belongs to this stage
        if not self.begun:
            self._write_run()
            self.begun = True
        if self.templates_hash:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / TEMPLATES, self.data.held_out.renderer.templates.to_json())
        self.start.stage_model.save(folder, self._meta() | {"finished": False})

    def finish(self, result: Result) -> None:
        """Mark the stage as finished, with its steps and losses."""
        path = self.plan.folder / "meta.json"
        losses = {"best_val_loss": result.best, **result.metrics}
        write_json(path, read_json(path) | {"finished": True, "steps": result.step, "losses": losses})

    @property
    def chance(self) -> float:
        """What a uniform guess over the codes costs, in nats per label of a task that writes motion."""
        return math.log(self.plan.codes)

    def chance_warning(self, result: Result) -> str | None:
        """A line if the model that was kept writes held-out motions no better than by chance; else None.

        Tasks that write text are left out, as a guess costs something else there. So are --debug runs, which train
        too little.
        """
        records = map(json.loads, (self.plan.folder / "metrics.jsonl").read_text().splitlines())
        kept = next((record for record in records if record.get("val_loss") == result.best), {})
        values = {task: kept.get(f"val_{task}", -math.inf) for task in self.plan.job.tasks if task not in WRITE_TEXT}
        worse = ", ".join(f"{task} {value:.2f}" for task, value in values.items() if value >= self.chance)
        if self.plan.job.debug or not worse:
            return None
        return (
            f"warning: stage {self.plan.job.number} has not learnt to write motion: validation {worse} nats per code, "
            f"and a uniform guess over {self.plan.codes} codes costs {self.chance:.2f}; --fresh with a higher --lr, "
            "or with more --epochs"
        )

    @property
    def fingerprint(self) -> dict:
        """The facts that must match a saved state for the stage to resume from it."""
        plan, job = self.plan, self.plan.job
        values = {"data": plan.data_hash, "tasks": job.tasks, "train": job.train_mode, "recipe": job.recipe}
        values |= {"codes": plan.codes, "think": job.think, **self.start.identity, **job.config.run_identity()}
        values |= {"fold_captions": True} if plan.run_config.fold_captions else {}  # older states have no such key
        values |= {"templates": self.templates_hash} if self.templates_hash else {}  # nor this one
        return values | (job.lora.to_dict() if job.train_mode == "lora" else {})

    @property
    def templates_hash(self) -> str:
        """A hash of how the stage words its requests; empty if no template words any of them."""
        templates = self.data.held_out.renderer.templates
        content = templates.to_json()
        worded = {task: content[task] for task in self.plan.job.tasks if task in templates.groups}
        changed = templates.settings != Templates().settings
        return values_hash({"settings": templates.settings, **worded}) if worded or changed else ""

    @property
    def summary(self) -> str:
        """Parameters and entries, for people."""
        trainable = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        everything = sum(p.numel() for p in self.model.parameters())
        test = len(of_split(self.plan.entries, "test"))
        return (
            f"{everything / 1e6:.1f} M parameters, {trainable / 1e6:.1f} M trained ({self.plan.job.train_mode}), "
            f"{len(self.plan.training)} training and {len(self.plan.held_out)} validation entries"
            + (f", {test} test entries left out" if test else "")
        )

    def precision(self, wanted: str) -> str:
        """`wanted`; for auto, what suits device and model."""
        return fitting_precision(self.model, wanted, self.device)

    def _meta(self) -> dict:
        plan, job = self.plan, self.plan.job
        return {
            "stage": job.number,
            "name": job.name,
            "recipe": job.recipe,
            "tasks": job.tasks,
            "first_id": self.start.stage_model.vocab.first_id,
            "codes": plan.codes,
            "data": plan.data_identity,
            "versions": versions(),
            **({"loss_vocab": job.config.loss_vocab} if job.config.loss_vocab != "all" else {}),
            **({"debug": True} if job.debug else {}),
        }

    def _write_run(self) -> None:
        """config.json, prompts.json and both tokenizers of the run, for text and for motion."""
        job, out = self.plan.job, self.plan.job.out
        out.mkdir(parents=True, exist_ok=True)
        lora = self.start.stage_model.lora or job.lora
        self.start.run_config.write(out, job.config, lora)
        prompts = prompt_table(self.plan.entries, self.start.run_config.fold_captions)
        prompts |= {"styles": self.plan.styles} if self.plan.styles else {}
        write_json(out / "prompts.json", prompts, indent=None)
        self.start.stage_model.text_tokenizer.save(out)
        # only now with their hashes: a kill before this line leaves files that can be read, whichever were written
        self.start.run_config.write(out, job.config, lora, files=HASHED_FILES)
        keep_motion_tokenizer(self.plan.motion_tokenizer, out / "vqvae")


def keep_motion_tokenizer(given: Path | MotionTokenizer | None, target: Path) -> None:
    """Save or copy the run's tokenizer to `target`; None, or `target` itself, is there already."""
    if isinstance(given, MotionTokenizer):
        given.save(target)
    elif given is not None and os.path.abspath(given) != os.path.abspath(target):
        for path in tokenizer_files(given):
            write_atomic(target / path.name, partial(shutil.copyfile, path))
