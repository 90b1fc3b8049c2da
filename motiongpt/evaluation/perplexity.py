"""Perplexity of a language model on the tasks its stages were trained on."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from motiongpt.data.tokens import Entry
from motiongpt.evaluation.clips import Item
from motiongpt.generator import MotionGenerator
from motiongpt.stages.model import LoadedRun, load_run
from motiongpt.stages.run_folder import finished_stages
from motiongpt.tasks.collate import collate, learns_motion_alone, lm_loss


@torch.inference_mode()
def language_perplexity(run: LoadedRun, entries: Sequence[Entry], task: str, batch_size: int) -> float:
    """exp(mean cross-entropy in nats per token) of the right answers to a task,
    given everything before them; over the words that the stage's own loss is over."""
    rng = np.random.default_rng(0)  # the task denoise draws masks: the same ones every time
    device = next(run.llm.parameters()).device
    examples = [run.renderer.render(task, entry, rng) for entry in entries]
    alone = over_motion_words(run, task)
    total, count = 0.0, 0
    for first in range(0, len(examples), batch_size):
        batch = collate(examples[first : first + batch_size], run.renderer.encoder)
        count += batch["count"]
        batch |= {name: x.to(device) for name, x in batch.items() if isinstance(x, Tensor)}
        if alone:
            batch["motion_span"] = run.vocab.motion_span
            batch["motion_alone"] = torch.ones(len(batch["labels"]), dtype=torch.bool, device=device)
        # sums, because batches have different numbers of tokens
        total += float(lm_loss(run.llm, batch))
    return math.exp(total / count)


def over_motion_words(run: LoadedRun, task: str) -> bool:
    """Whether the stage was trained with a loss over motion words alone, as far as this task goes."""
    return run.meta.get("loss_vocab") == "motion" and learns_motion_alone(task, run.renderer)


def perplexities(
    generator: MotionGenerator, items: Sequence[Item], codes: Sequence[list[int]], batch_size: int, which: str
) -> dict[str, dict[str, float]]:
    """`stage_perplexities` on each clip's first caption."""
    entries = [Entry(item.captions[0].text, tuple(row)) for item, row in zip(items, codes, strict=True)]
    return stage_perplexities(generator, entries, batch_size, which)


def stage_perplexities(
    generator: MotionGenerator, entries: Sequence[Entry], batch_size: int, which: str
) -> dict[str, dict[str, float]]:
    """Stage -> task -> `language_perplexity` for each task the stage was trained on.

    One over motion words alone says so in its name: it does not compare with those over all words.
    `which` is "all" finished stages of the run, the generator's own "stage", or "none". Other
    stages are loaded one after the other; the generator's own waits on the CPU meanwhile.
    """
    own = generator.run
    stages = {"all": finished_stages(own.folder), "stage": {own.stage: own.meta}, "none": {}}[which]
    dtype = own.llm.input_table.weight.dtype
    found = {}
    for stage, meta in stages.items():
        # two models at once may not fit on the device
        own.model.to(generator.device if stage == own.stage else "cpu")
        run = own if stage == own.stage else load_run(own.folder, stage, generator.device, dtype)
        names = {task: f"{task} over motion words" if over_motion_words(run, task) else task for task in meta["tasks"]}
        found[str(stage)] = {name: language_perplexity(run, entries, task, batch_size) for task, name in names.items()}
        del run  # its memory must be free before the next stage is loaded
    own.model.to(generator.device)
    return found
