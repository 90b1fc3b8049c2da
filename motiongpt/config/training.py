"""Training: of the motion tokenizer, of the language model and of an evaluator."""

import math
from dataclasses import dataclass

from motiongpt.config.json_config import JSONConfig, flag, require

PRECISIONS = ("auto", "bf16", "fp16", "fp32")
SCHEDULES = ("cosine", "constant")
BASE_DTYPES = ("auto", "fp32", "bf16")
LOSS_VOCABS = ("all", "motion")


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
    pack: int = flag(0, "put examples of a forward pass one after another in rows of at most so many tokens; 0 = off")
    grad_accum: int = flag(1, "forward passes per optimiser step; they count as one large batch")
    tokens_per_step: int = flag(0, "tokens per optimiser step, from which --grad-accum is chosen; 0 = it is not")
    max_seq_len: int = flag(512, "longest training example in tokens; a longer one is an error")
    weight_decay: float = flag(0.0, "AdamW weight decay, on matrices only")
    beta1: float = flag(0.9, "AdamW beta 1, 0 to below 1")
    beta2: float = flag(0.999, "AdamW beta 2, 0 to below 1")
    clip: float = flag(1.0, "largest gradient norm; larger ones are scaled down to it; 0 = no limit")
    guard: float = flag(
        2.0, "skip a step whose loss or gradient norm is more than so many times that of any recent one; 0 = never"
    )
    label_smoothing: float = flag(0.0, "label smoothing of the language model's loss, 0 to below 1")
    loss_vocab: str = flag(
        "all",
        "softmax of the loss: over all words; or, for an answer in motion words, over these alone",
        choices=LOSS_VOCABS,
    )
    caption_dropout: float = flag(0.0, "share of caption tokens dropped at random in text to motion, 0 to below 1")
    plain_share: float = flag(0.0, "share of the requests for a motion in the words of its plain caption, 0 to 1")
    tell_length: float = flag(0.0, "share of the examples of t2m whose request tells the length of the motion, 0 to 1")
    window: int = flag(64, "VQ-VAE: frames per training window; a shorter clip is padded and masked")
    seed: int = flag(42, "seed of data order, masks and dropout")
    precision: str = flag("auto", "number format of matrix products; auto = what suits the device", choices=PRECISIONS)
    base_dtype: str = flag(
        "auto",
        "number format in which LoRA keeps the frozen weights; auto = that of --precision on CUDA, else fp32",
        choices=BASE_DTYPES,
    )
    checkpoint_activations: bool = flag(
        False, "compute activations again in the backward pass: far less memory, steps take about a third longer"
    )
    deterministic: bool = flag(False, "the same bits on every run, also on CUDA, where it is slower")
    eval_every: int = flag(200, "optimiser steps between validations")
    save_every: int = flag(200, "optimiser steps between saves to resume from; see also --save-minutes")
    save_minutes: float = flag(
        5.0, "minutes between saves to resume from; there is one every minute where it takes less than 3 seconds"
    )
    log_every: int = flag(10, "optimiser steps between log lines")
    sample_every: int = flag(0, "optimiser steps between motions that are written to look at; 0 = none")
    max_minutes: float = flag(0.0, "stop after this many minutes with a save to resume from; 0 = no limit")
    max_hours: float = flag(0.0, "the same in hours; --max-minutes is added to it")

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "positive")
        require(0 <= self.min_lr <= 1, "min_lr", self.min_lr, "a share of --lr in [0, 1]")
        require(self.schedule in SCHEDULES, "schedule", self.schedule, f"one of {', '.join(SCHEDULES)}")
        require(self.warmup >= 0, "warmup", self.warmup, "0 or more")
        require(0 < self.epochs < math.inf, "epochs", self.epochs, "positive and finite")
        require(self.max_steps >= 0, "max_steps", self.max_steps, "0 or more")
        for name in ("batch_size", "grad_accum", "max_seq_len", "window", "eval_every", "save_every", "log_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("clip", "weight_decay", "seed", "tokens_per_step", "sample_every", "max_minutes", "max_hours"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(self.guard == 0 or self.guard > 1, "guard", self.guard, "0, or more than 1")
        require(self.save_minutes > 0, "save_minutes", self.save_minutes, "positive")
        for name in ("beta1", "beta2", "label_smoothing", "caption_dropout"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        for name in ("tell_length", "plain_share"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "in [0, 1]")
        require(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        require(self.base_dtype in BASE_DTYPES, "base_dtype", self.base_dtype, f"one of {', '.join(BASE_DTYPES)}")
        require(self.loss_vocab in LOSS_VOCABS, "loss_vocab", self.loss_vocab, f"one of {', '.join(LOSS_VOCABS)}")
        whole = f"0, or at least --max-seq-len {self.max_seq_len}, as no example is cut"
        require(self.pack == 0 or self.pack >= self.max_seq_len, "pack", self.pack, whole)
        if self.tokens_per_step:
            require(
                self.grad_accum == 1, "grad_accum", self.grad_accum, "left out with --tokens-per-step, which chooses it"
            )

    @property
    def budget_seconds(self) -> float:
        """How long a training may take; infinite without a limit."""
        return 60 * self.max_minutes + 3600 * self.max_hours or math.inf

    def run_identity(self) -> dict:
        """The fields that must match a saved state to resume: all but how often to report, when to stop, what changes
        how a step is computed but not what it is, and the guard, which somebody may want to turn off."""
        free = "eval_every save_every save_minutes log_every sample_every max_minutes max_hours checkpoint_activations"
        free += " deterministic guard tokens_per_step"  # the last has become a grad_accum
        values = self.without_unused(("tell_length", "plain_share", "base_dtype", "loss_vocab", "pack"))
        return {name: value for name, value in values.items() if name not in free.split()}


VQVAE_TRAINING = {"lr": 2e-4, "beta2": 0.99, "batch_size": 128, "epochs": 100.0, "warmup": 0.03, "seed": 123,
                  "clip": 1.0}  # fmt: skip
"""Values of TrainConfig for a motion tokenizer, unless a recipe has its own."""
