"""Captioned clips of a dataset folder, and batches of them with everything a loss draws.

Noise, the share of motion in it, and which captions are hidden are drawn here, row by row, from the batch's own
generator. So a loss is a function of its batch, a resumed training sees the batches of an uninterrupted one, and what a
row draws does not depend on how long the others are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from motiongpt.config import ContinuousConfig
from motiongpt.continuous.model import LEAST
from motiongpt.continuous.text import Reader
from motiongpt.data.batches import BucketedBatches, pad_motions
from motiongpt.data.motions import MotionDataset
from motiongpt.data.texts import by_time


@dataclass(frozen=True)
class Clip:
    """A clip, or the piece of one that captions with times are about: normalised features (F, D) and its captions."""

    name: str
    features: np.ndarray
    captions: tuple[str, ...]


def read_clips(data: MotionDataset, split: str, normalise: Callable, say: Callable[[str], None]) -> list[Clip]:
    """The clips of a split with a caption and at least `LEAST` frames; `say` is told what is dropped."""
    found, dropped = data.load_split(split)
    for name, reason in dropped.items():
        say(f"dropped {name}: {reason}")
    clips, short, mute = [], 0, 0
    for name, features in found.items():
        pieces = by_time(data.captions(name))
        mute += not pieces
        for captions in pieces.values():
            piece = captions[0].cut(features, data.fps)
            short += len(piece) < LEAST
            if len(piece) >= LEAST:
                clips.append(Clip(name, normalise(piece), tuple(caption.text for caption in captions)))
    if short or mute:
        say(f"{split}: dropped {short} pieces of fewer than {LEAST} frames, {mute} clips without a caption")
    return clips


class Collate:
    """Indices of clips -> a batch, a pure function of the indices and the generator.

    motion (B, F, D), lengths (B,), text and text_mask (see `text.py`), keep (B,) bool: which captions are shown, noise
    (B, F, D) and level (B,) in [0, 1): how much of the motion is mixed into the noise, or of the noise added to it.
    """

    def __init__(self, clips: Sequence[Clip], config: ContinuousConfig, reader: Reader, hide: float) -> None:
        self.clips, self.config, self.reader, self.hide = clips, config, reader, hide

    def __call__(self, indices: np.ndarray, rng: np.random.Generator) -> dict:
        motions, captions, noise, level, keep = [], [], [], [], []
        for clip in (self.clips[i] for i in indices):
            size = min(len(clip.features), self.config.max_frames)
            start = int(rng.integers(len(clip.features) - size + 1))
            motions.append(clip.features[start : start + size])
            captions.append(clip.captions[rng.integers(len(clip.captions))])
            keep.append(rng.random() >= self.hide)
            level.append(rng.random())
            if self.config.head != "regression":
                noise.append(rng.standard_normal(motions[-1].shape, np.float32))
        motion, lengths = pad_motions(motions)
        text, mask = self.reader(captions)
        batch = {"motion": motion, "lengths": lengths, "text": text, "text_mask": mask}
        batch |= {"keep": torch.tensor(keep), "level": torch.tensor(level, dtype=torch.float32)}
        batch |= {"noise": pad_motions(noise)[0]} if noise else {}
        return batch | {"count": int(lengths.sum())}


class ClipBatches(BucketedBatches):
    """Training batches of clips of similar length. The noise on the inputs of an autoregressive head grows with the
    steps: at first the model learns from clean frames."""

    def __init__(
        self,
        clips: Sequence[Clip],
        config: ContinuousConfig,
        batch_size: int,
        seed: int,
        reader: Reader,
        grad_accum: int = 1,
    ) -> None:
        # guidance asks what the model does without a text, and only a flow is guided
        hide = config.text_dropout if config.head == "flow" else 0.0
        collate = Collate(clips, config, reader, hide)
        super().__init__([len(clip.features) for clip in clips], batch_size, seed, collate)
        self.config, self.grad_accum = config, grad_accum

    def __call__(self, micro_step: int) -> dict:
        batch = super().__call__(micro_step)
        if self.config.head == "autoregressive":
            batch["level"] = batch["level"] * min(1.0, micro_step // self.grad_accum / max(1, self.config.noise_steps))
        return batch
