"""How many steps a training has, the learning rate of each, and when it is saved: pure functions, without a state."""

import math

from motiongpt.config import TrainConfig

SAVE_SHARE = 0.05  # of the time at most is spent on saving
SHORT_SAVE = 3.0  # seconds; one that takes no longer comes every minute


def count_micro_batches(asked: int, shares: int, saved: int | None = None) -> int:
    """Micro-batches of a step: `asked`, rounded up until so many processes share them evenly, or as they were `saved`.

    A run that was begun on 2 processes then goes on with the same steps on 1 or on 4. Raises ValueError, naming the
    numbers of processes that fit, if `shares` do not.
    """
    if saved is None:
        return math.ceil(asked / shares) * shares
    if saved % shares:
        fitting = ", ".join(str(n) for n in range(1, saved + 1) if saved % n == 0)
        raise ValueError(
            f"a step of this training has {saved} micro-batches, which {shares} processes cannot share evenly; start "
            f"one of {fitting} processes, or --fresh starts over"
        )
    return saved


def total_steps(config: TrainConfig, per_epoch: int, micro: int | None = None) -> int:
    """Optimiser steps of a run: --max-steps, else --epochs over `per_epoch` micro-batches.

    A step has `micro` of them, by default --grad-accum.
    """
    return config.max_steps or max(1, math.ceil(config.epochs * per_epoch / (micro or config.grad_accum)))


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


def seconds_to_save(took: float, config: TrainConfig) -> float:
    """Seconds from a save that took `took` seconds to the next, beside those of --save-every.

    --save-minutes, or a minute where that is at most 5 % of the time; but never more than 5 % of the time. A kill then
    loses a minute at most where saving is quick.
    """
    asked = 60 * config.save_minutes
    return max(min(asked, 60.0) if took <= SHORT_SAVE else asked, took / SAVE_SHARE)
