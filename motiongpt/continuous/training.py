"""Training a continuous model on a dataset folder: the loop, checkpoints and splits are those of every other model."""

import collections
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from motiongpt.config import ContinuousConfig, TrainConfig
from motiongpt.continuous.batches import Clip, ClipBatches, Collate, read_clips
from motiongpt.continuous.generator import ContinuousGenerator
from motiongpt.continuous.heads import batch_loss
from motiongpt.continuous.model import ContinuousModel
from motiongpt.continuous.run_folder import ContinuousRun
from motiongpt.continuous.text import STATES_FILE, Reader, StateReader, WordReader, state_reader
from motiongpt.data.batches import by_length
from motiongpt.data.motions import MotionDataset
from motiongpt.files.folders import check_training_folder
from motiongpt.hub import named_backbone, resolve_backbone
from motiongpt.loops import Result, train
from motiongpt.stages.dry_run import try_one_batch
from motiongpt.stages.run_folder import clear_stage
from motiongpt.stages.samples import SAMPLED, save_samples
from motiongpt.training.devices import seeded
from motiongpt.training.schedule import total_steps
from motiongpt.training.watch import Watcher

VALIDATION_BATCH = 32


def open_reader(
    config: ContinuousConfig, text_model: str, clips: Sequence[Clip], out: Path | None, device: torch.device
) -> Reader:
    """The reader of the captions of `clips`; the states of a frozen encoder are kept in `out`, if it is given."""
    captions = [caption for clip in clips for caption in clip.captions]
    if config.text_encoder == "trainable":
        return WordReader.of(captions)
    cache = None if out is None else out / STATES_FILE
    return state_reader(config.text_encoder, lambda: resolve_backbone(text_model), cache, device)


def train_continuous(
    data: MotionDataset,
    model_config: ContinuousConfig,
    config: TrainConfig,
    out: Path,
    *,
    text_model: str = "",
    device: torch.device,
    precision: str = "fp32",
    fresh: bool = False,
    dry_run: bool = False,
    watchers: Sequence[Watcher] = (),
    say: Callable[[str], None] = print,
) -> Result:
    """Train on the train split, into `out`; an unfinished training is resumed, `fresh` starts over.

    `out` gets the run folder with the best validation loss so far, or without a validation split the last one.
    `text_model` is the folder, repo id or name of a frozen text encoder. With `dry_run` one batch is run, and nothing
    is written.

    Raises:
        ValueError: there is no clip with a caption, a clip is in two splits, or `out` is a dataset.
        FileExistsError: `out` holds a model without a state to resume, and `fresh` was not given.
    """
    # what can be wrong
    check_training_folder(out, "a continuous model", fresh)
    data.check_apart()
    data.normalizer.check_pair(data.representation, 1.0, data.folder / "Std.npy")
    biased = bool(data.representation.biased)
    model_config = replace(
        model_config,
        feature_dim=data.feature_dim,
        feature_bias=model_config.feature_bias if biased else 1.0,
    )
    normalizer = data.normalizer.with_feature_bias(model_config.feature_bias, data.representation)
    clips = read_clips(data, "train", normalizer.normalise, say)
    if not clips:
        raise ValueError(f"{data.folder}/train.txt has no clip with a caption")
    has_val = (data.folder / "val.txt").is_file() and bool(data.ids("val"))
    val = read_clips(data, "val", normalizer.normalise, say) if has_val else []

    # text: its encoder runs once for each caption, now
    reader = open_reader(model_config, text_model, clips, None if dry_run else out, device)
    if isinstance(reader, StateReader):
        asked = [caption for clip in (*clips, *val) for caption in clip.captions]
        reader.prepare(asked[:1] if dry_run else asked)
        if not dry_run:
            say(f"{len(set(asked))} captions, {reader.computed} of them read by {text_model} now, the others before")
        model_config = replace(model_config, text_dim=reader([asked[0]])[0].shape[-1])
    else:
        model_config = replace(model_config, words=len(reader.words), text_dim=model_config.hidden_size)

    # model and batches
    with seeded(config.seed):
        model = ContinuousModel(model_config)
    model.to(device)
    facts = {"data": data.hash(), "clips": len(clips)}
    run = ContinuousRun(
        model,
        reader,
        normalizer,
        data.skeleton,
        data.representation,
        data.fps,
        text_folder=named_backbone(text_model) if text_model else "",
        facts=facts,
    )
    batches = ClipBatches(clips, model_config, config.batch_size, config.seed, reader, config.grad_accum)
    size = sum(p.numel() for p in model.parameters()) / 1e6
    say(
        f"{model_config.head} model, {size:.1f} M parameters, {len(clips)} training and {len(val)} validation clips of "
        f"{data.folder}"
    )
    say(f"{total_steps(config, batches.per_epoch)} steps on {device}, {precision}")

    def loss(batch: dict) -> tuple[torch.Tensor, dict]:
        return batch_loss(model, batch)

    def validate() -> dict[str, float]:
        sums = collections.Counter()
        collate = Collate(val, model_config, reader, hide=0.0)
        for number, indices in enumerate(by_length([len(clip.features) for clip in val], VALIDATION_BATCH)):
            batch = collate(indices, np.random.default_rng((config.seed, number)))  # the same draws every time
            batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
            value, parts = batch_loss(model, batch)
            sums.update({"frames": batch["count"], "clips": len(indices), "loss": float(value)})
            sums.update({"frame_loss": float(parts["frame_loss"]) * batch["count"]})
            sums.update({"length_error": float(parts["length_error"]) * len(indices)})
        means = {name: sums[name] / sums["frames"] for name in ("loss", "frame_loss")}
        return means | {"length_error": sums["length_error"] / sums["clips"]}

    def sample(step: int) -> Path:
        shown = (val or clips)[:SAMPLED]
        with torch.autocast(device.type, enabled=False):
            motions = ContinuousGenerator(run).generate([clip.captions[0] for clip in shown])
        return save_samples(out, step, motions, say=say)

    if dry_run:
        here = {"device": device, "precision": precision, "fresh": fresh, "say": say}
        return try_one_batch(model, batches, loss, config, out, **here)
    if fresh:  # not before: until here something may be wrong with data or encoder, and the former model stays
        clear_stage(out)  # what a frozen encoder made of captions stays: it is the same again
    text = reader.identity if isinstance(reader, StateReader) else None
    return train(
        model,
        batches,
        loss,
        config,
        out,
        device=device,
        precision=precision,
        validate=validate if val else None,
        sample=sample if config.sample_every else None,
        export=run.save,
        fingerprint={"model": model_config.to_dict(), "text": text, **facts, **config.run_identity()},
        unit="frames",
        watchers=watchers,
    )
