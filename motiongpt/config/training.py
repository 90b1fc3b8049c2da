"""Training: of the motion tokenizer, of the language model and of an evaluator."""

import math
from dataclasses import dataclass

from motiongpt.config.json_config import JSONConfig, flag, require

PRECISIONS = ("auto", "bf16", "fp16", "fp32")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class TrainConfig(JSONConfig):
    """One training run: optimiser, schedule, batch, precision, and how often to validate and save."""

    lr: float = flag(2e-4, "peak learning rate")
    min_lr: float = flag(0.0, "learning rate at the end of the cosine, as a share of --lr, 0 to 1")
    schedule: str = flag("cosine", "learning rate after the warm-up", choices=SCHEDULES)
    warmup: float = flag(0.1, "length of the warm-up: a share of all steps if below 1, else a number of steps")
    epochs: float = flag(1.0, "passes over the training data; ignored if --max-steps is given")
    max_steps: int = flag(0, "optimiser steps; 0 = as many as --epochs needs")
    batch_size: int = flag(8, "examples per forward pass")
    grad_accum: int = flag(1, "forward passes per optimiser step; they count as one large batch")
    max_seq_len: int = flag(512, "longest training example in tokens; a longer one is an error")
    weight_decay: float = flag(0.0, "AdamW weight decay, on matrices only")
    beta1: float = flag(0.9, "AdamW beta 1, 0 to below 1")
    beta2: float = flag(0.999, "AdamW beta 2, 0 to below 1")
    clip: float = flag(1.0, "largest gradient norm; larger ones are scaled down to it; 0 = no limit")
    label_smoothing: float = flag(0.0, "label smoothing of the language model's loss, 0 to below 1")
    caption_dropout: float = flag(0.0, "share of caption tokens dropped at random in text to motion, 0 to below 1")
    plain_share: float = flag(0.0, "share of the requests for a motion in the words of its plain caption, 0 to 1")
    tell_length: float = flag(0.0, "share of the examples of t2m whose request tells the length of the motion, 0 to 1")
    window: int = flag(64, "VQ-VAE: frames per training window; a shorter clip is padded and masked")
    seed: int = flag(42, "seed of data order, masks and dropout")
    precision: str = flag("auto", "number format of matrix products; auto = what suits the device", choices=PRECISIONS)
    eval_every: int = flag(200, "optimiser steps between validations")
    save_every: int = flag(200, "optimiser steps between saves to resume from; there is also one every minute")
    log_every: int = flag(10, "optimiser steps between log lines")
    max_minutes: float = flag(0.0, "stop after this many minutes with a save to resume from; 0 = no limit")

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "positive")
        require(0 <= self.min_lr <= 1, "min_lr", self.min_lr, "a share of --lr in [0, 1]")
        require(self.schedule in SCHEDULES, "schedule", self.schedule, f"one of {', '.join(SCHEDULES)}")
        require(self.warmup >= 0, "warmup", self.warmup, "0 or more")
        require(0 < self.epochs < math.inf, "epochs", self.epochs, "positive and finite")
        require(self.max_steps >= 0, "max_steps", self.max_steps, "0 or more")
        for name in ("batch_size", "grad_accum", "max_seq_len", "window", "eval_every", "save_every", "log_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("clip", "weight_decay", "seed"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("beta1", "beta2", "label_smoothing", "caption_dropout"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        for name in ("tell_length", "plain_share"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "in [0, 1]")
        require(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        require(self.max_minutes >= 0, "max_minutes", self.max_minutes, "0 or more")

    def run_identity(self) -> dict:
        """The fields that must match a saved state to resume: all but how often to report and when to stop."""
        free = ("eval_every", "save_every", "log_every", "max_minutes")
        values = self.without_unused(("tell_length", "plain_share"))
        return {name: value for name, value in values.items() if name not in free}


VQVAE_TRAINING = {"lr": 2e-4, "beta2": 0.99, "batch_size": 128, "epochs": 100.0, "warmup": 0.03, "seed": 123,
                  "clip": 1.0}  # fmt: skip
"""Values of TrainConfig for a motion tokenizer, unless a recipe has its own."""
