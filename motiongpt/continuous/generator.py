"""Sentences to motions with a continuous model.

    generator = ContinuousGenerator.load("outputs/kit/run")
    motion = generator.generate(["a person walks forward"], seed=0)[0]      # Motion: joints (F, J, 3) metres, no tokens

A motion depends on its sentence, length and seed, and not on who shared its batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motiongpt.config import FlowConfig
from motiongpt.continuous.heads import write
from motiongpt.continuous.run_folder import ContinuousRun
from motiongpt.data.batches import by_length, pad_motions
from motiongpt.motion import Motion
from motiongpt.motion_files import cleaned

WRITE_BATCH = 32


@dataclass
class ContinuousGenerator:
    """A run, and how it is asked: `how` is the flow's way, `raw` leaves decoded joints as they are."""

    run: ContinuousRun
    how: FlowConfig = field(default_factory=FlowConfig)
    raw: bool = False

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        how: FlowConfig | None = None,
        raw: bool = False,
    ) -> "ContinuousGenerator":
        """The run of a folder. Raises what `ContinuousRun.load` raises."""
        return cls(ContinuousRun.load(folder, device), how or FlowConfig(), raw)

    @property
    def device(self) -> torch.device:
        return self.run.model.frame_out.weight.device

    @torch.no_grad()
    def lengths(self, texts: Sequence[str]) -> list[int]:
        """How many frames each text asks for, by the model."""
        frames: list[int] = []
        for first in range(0, len(texts), WRITE_BATCH):
            text, mask = self.run.reader(texts[first : first + WRITE_BATCH])
            condition = self.run.model.condition(text.to(self.device), mask.to(self.device))
            frames += self.run.model.predicted_lengths(condition).tolist()
        return frames

    def features(
        self, texts: Sequence[str], seeds: Sequence[int], lengths: Sequence[int | None] | None = None
    ) -> list[Tensor]:
        """Features (F_i, D) in their own units, on the CPU. A length of None is the model's.

        Raises ValueError for a length that the model has not, for an empty text, and for a motion that is not finite.
        """
        for text in texts:
            if not text.strip():
                raise ValueError("a text is empty; say what the person does")
        most = self.run.config.max_frames
        wanted = list(lengths or [None] * len(texts))
        for length in wanted:
            if length is not None and not 1 <= length <= most:
                seconds = most / self.run.fps
                raise ValueError(f"this model writes 1 to {most} frames ({seconds:.1f} s), asked for {length}")
        if None in wanted:
            own = self.lengths(texts)
            wanted = [mine if length is None else length for length, mine in zip(wanted, own, strict=True)]
        made: list[Tensor | None] = [None] * len(texts)
        for batch in by_length(wanted, WRITE_BATCH):
            rows = batch.tolist()
            sizes = torch.tensor([wanted[i] for i in rows])
            noise = None
            if self.run.config.head == "flow":
                # each row draws alone, so its noise does not depend on the others
                draws = [np.random.default_rng(seeds[i]) for i in rows]
                shapes = [(wanted[i], self.run.config.feature_dim) for i in rows]
                noise, _ = pad_motions(
                    [rng.standard_normal(shape, np.float32) for rng, shape in zip(draws, shapes, strict=True)]
                )
                noise = noise.to(self.device)
            text, mask = (x.to(self.device) for x in self.run.reader([texts[i] for i in rows]))
            out = write(self.run.model, text, mask, sizes.to(self.device), noise, self.how)
            out = self.run.normalizer.denormalise(out.float()).cpu()
            for i, motion in zip(rows, out, strict=True):
                made[i] = motion[: wanted[i]]
                if not torch.isfinite(made[i]).all():
                    raise ValueError(
                        f"what the model wrote for {texts[i]!r:.60} is not finite: lower the guidance (it is "
                        f"{self.how.guidance:g}), or train the model again with a lower --lr"
                    )
        return made

    def motion(self, features: Tensor, text: str = "") -> Motion:
        """Features (F, D) in their own units -> a motion, with clean joints unless `raw`."""
        run = self.run
        if not run.representation.has_joints:
            return Motion(None, run.fps, (), text, parameters=features.numpy())
        joints = run.representation.decode(features) * run.representation.metres_per_unit
        motion = Motion(joints.numpy(), run.fps, (), text, run.skeleton)
        return motion if self.raw else cleaned(motion)

    def generate(
        self, texts: Sequence[str], seed: int = 0, seconds: Sequence[float | None] | None = None
    ) -> list[Motion]:
        """A motion for each text; all have the same seed. `seconds` of None is the model's own length.

        Raises ValueError as `features` does.
        """
        lengths = None
        if seconds is not None:
            for value in seconds:
                if value is not None and not 0 < value < math.inf:
                    raise ValueError(f"--seconds must be positive, got {value:g}")
            lengths = [None if value is None else max(1, round(value * self.run.fps)) for value in seconds]
        made = self.features(texts, [seed] * len(texts), lengths)
        return [self.motion(features, text) for features, text in zip(made, texts, strict=True)]
