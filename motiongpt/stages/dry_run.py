"""`--dry-run` of a training: does the data load, does the model run, what would be done. Nothing is written."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from motiongpt.checkpoint import saved_state
from motiongpt.config import TrainConfig
from motiongpt.loops import Batches, Result
from motiongpt.training.devices import autocast, seeded
from motiongpt.training.resume import planned_steps
from motiongpt.training.world import ALONE, World


def try_one_batch(
    module: torch.nn.Module,
    batches: Batches,
    loss: Callable,
    config: TrainConfig,
    folder: Path,
    *,
    device: torch.device,
    precision: str,
    fresh: bool,
    say: Callable[[str], None] = print,
    world: World = ALONE,
    by_rows: bool = False,
) -> Result:
    """Run the first batch of a training forward and backward, with no step, and say what the training would do.

    Arguments are those of `train`; the result is one of no step.
    """
    began = time.monotonic()
    batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batches(0).items()}
    module.train()
    with seeded(config.seed), autocast(precision, device):
        value, _ = loss(batch)
    mean = value / max(1, int(batch["count"]))
    mean.backward()
    module.zero_grad(set_to_none=True)
    seconds = time.monotonic() - began
    shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in batch.items() if isinstance(v, torch.Tensor))
    say(f"one batch: {shapes}; loss {float(mean.detach()):.4g}, forward and backward in {seconds:.1f} s")

    saved = saved_state(folder / "state")
    total = planned_steps(config, batches.per_epoch, 1 if by_rows else world.size, None if fresh else folder)
    start = "a new training"
    if saved:
        step = f"the unfinished one at step {saved.get('step')}"
        start = f"a new training, replacing {step}" if fresh else step
    say(f"--dry-run: would train {total} steps into {folder}/ ({start}); nothing was written")
    return Result(0, total, float("inf"), {})
