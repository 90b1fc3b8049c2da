"""How many steps a training has, and the learning rate of each: pure functions, so that a resume needs no state."""

import math

from motiongpt.config import TrainConfig


def total_steps(config: TrainConfig, per_epoch: int) -> int:
    """Optimiser steps of a run: --max-steps, else --epochs over `per_epoch` micro-batches."""
    return config.max_steps or max(1, math.ceil(config.epochs * per_epoch / config.grad_accum))


def get_lr(step: int, total: int, config: TrainConfig) -> float:
    """Learning rate of step 0 <= step < total: linear warm-up, then cosine to min_lr * lr, or constant.

    The first step already learns (its rate is lr / warm-up steps, not 0) and the last one is not wasted.
    """
    warmup = config.warmup * total if config.warmup < 1 else config.warmup
    if step < warmup:
        return config.lr * (step + 1) / math.ceil(warmup)
    if config.schedule == "constant":
        return config.lr
    done = (step - warmup) / max(1.0, total - warmup)
    return config.lr * (config.min_lr + (1 - config.min_lr) * 0.5 * (1 + math.cos(math.pi * done)))
