"""The motions of --sample-every: a language model's for held-out captions, and a tokenizer's of held-out clips.

They are made as `scripts/sample.py` and `scripts/render.py` make them, with the same limits, codes, seeds and cleaning,
so what one sees while a model is trained is what it will do. A sample draws from its own seed: training does not
notice it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from motiongpt.config import SampleConfig
from motiongpt.data.tokens import plain_entries
from motiongpt.data.training_captions import Prompts, prompt_table
from motiongpt.generation.requests import Wanted, plan_row
from motiongpt.generation.writer import Writer
from motiongpt.motion import Motion
from motiongpt.motion_files import decode_motions, motion_of_features
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.stages.language import Prepared
from motiongpt.stages.model import LoadedRun
from motiongpt.stages.samples import SAMPLED, save_samples

Sampler = Callable[[int], Path]
"""Step -> the folder with what the model of this step has written."""


def run_in_training(prepared: Prepared) -> LoadedRun:
    """The stage in training, as the sampler knows a finished one."""
    start, plan = prepared.start, prepared.plan
    return LoadedRun(
        folder=plan.job.out,
        stage=plan.job.number,
        meta={"tasks": plan.job.tasks},
        config=start.run_config,
        llm=start.stage_model.llm,
        model=start.stage_model.llm,  # its weights still change
        vocab=start.stage_model.vocab,
        renderer=prepared.data.held_out.renderer,
        prompts=Prompts(prompt_table(plan.entries, start.run_config.fold_captions)),
    )


def language_sampler(prepared: Prepared, say: Callable[[str], object] = print) -> Sampler | None:
    """Writes motions for the first held-out captions, cut where the model has no more positions.

    None, and a line to `say`, for a stage that learns no t2m, and for one whose weights are sharded. Without a motion
    tokenizer there are tokens only.
    """
    job = prepared.plan.job
    if prepared.shard or "t2m" not in job.tasks:
        learns = f"stage {job.number} learns {', '.join(job.tasks)}, and not t2m, to write motions"
        why = "with --shard no process has the whole model" if prepared.shard else learns
        say(f"no samples are written: {why}")
        return None
    run = run_in_training(prepared)
    writer = Writer(run, prepared.device, SampleConfig())
    entries = plain_entries(prepared.plan.held_out)[:SAMPLED]
    most = writer.config.max_new_tokens
    wanted = [Wanted(entry.text, entry.participant, None, {}, seed) for seed, entry in enumerate(entries)]
    rows = [plan_row(run, "t2m", one, exact=False, max_new_tokens=most) for one in wanted]
    room = run.llm.config.max_positions - max(len(row.ids) for row in rows) - 1  # 1 for <MOT_BEGIN>
    rows = [replace(row, limits=row.limits.capped(room)) for row in rows]
    motion_tokenizer = prepared.motion_tokenizer

    def sample(step: int) -> Path:
        codes = [written.codes for written in writer.write(rows)]
        if motion_tokenizer is None or not all(codes):  # digits may be no motion at all
            motions = [Motion(None, run.config.fps, row, entry.text) for row, entry in zip(codes, entries, strict=True)]
        else:
            with torch.autocast(prepared.device.type, enabled=False):  # as without a training
                motions = decode_motions(motion_tokenizer, codes, [entry.text for entry in entries])
        return save_samples(prepared.plan.folder, step, motions, say=say)

    return sample


def tokenizer_sampler(
    motion_tokenizer: MotionTokenizer,
    clips: Mapping[str, np.ndarray],
    folder: Path,
    say: Callable[[str], object] = print,
) -> Sampler:
    """Draws the first held-out clips, and to the right of each what the tokenizer makes of it.

    `clips` are id -> features (F, D) in their own units; `folder` is the tokenizer's.
    """
    names = list(clips)[:SAMPLED]
    chosen = [clips[name] for name in names]
    real = [motion_of_features(motion_tokenizer, torch.from_numpy(clips[name]), text=name) for name in names]

    def sample(step: int) -> Path:
        with torch.autocast(motion_tokenizer.device.type, enabled=False):
            codes = motion_tokenizer.encode_all(chosen)
            decoded = motion_tokenizer.decode_features(codes)
        made = zip(decoded, codes, strict=True)
        motions = [motion_of_features(motion_tokenizer, own, row[:, 0].tolist(), "decoded") for own, row in made]
        return save_samples(folder, step, motions, real, say)

    return sample
