"""The training loop: one, for the VQ-VAE, the language model and whatever comes next.

It gets a module, batches and a loss, and knows no task. Three choices decide its shape:

- The loss of a step is a sum divided by the number of labels of the whole step, counted over all its
  micro-batches: `--batch-size 4 --grad-accum 2` equals `--batch-size 8`. (A mean of means does not.)
- A batch is a pure function of the micro-step, and the learning rate one of the step. So the data cursor is an
  integer, and ten steps equal five, a kill, a resume and five, bit for bit on the CPU.
- Validation, export and pictures come in as callables.

A run folder gets `metrics.jsonl`, `loss.png`, `state/{last,previous}` and whatever `export` writes.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from motiongpt.checkpoint import differences, load_state, pack_state, records_until, save_state, unpack_state
from motiongpt.config import TrainConfig
from motiongpt.files.lock import hold
from motiongpt.files.store import naming, write_atomic
from motiongpt.render.figures import plot_losses
from motiongpt.signals import Stopped, catch_signals
from motiongpt.training.devices import autocast
from motiongpt.training.schedule import get_lr, total_steps
from motiongpt.training.state import LoopState, check_saved
from motiongpt.training.watch import Watcher

MAX_BAD_STEPS = 10  # non-finite losses in a row before the run gives up
DECODE_EVERY = 5  # validations
SAVE_SECONDS = 60  # a kill loses at most a minute, whatever --save-every says ...
SAVE_SHARE = 0.05  # ... unless saving would then take more than this share of the time


class Batches(Protocol):
    """Where training data comes from. `batch["count"]` is the number of labels that the loss sums over."""

    per_epoch: int  # micro-batches in one pass over the data

    def __call__(self, micro_step: int) -> dict[str, Any]: ...


@dataclass
class Result:
    """How a call to `train` ended."""

    step: int
    total_steps: int
    best: float  # lowest validation loss; inf without validation
    metrics: dict[str, float]  # the last log record and the last validation
    early: bool = False  # `patience` validations in a row were no better
    unvalidated: bool = False  # a signal ended the last validation

    @property
    def finished(self) -> bool:
        return self.early or (self.step >= self.total_steps and not self.unvalidated)


def make_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that require a gradient; weight decay on matrices only, not on biases and norms."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("nothing to train: no parameter of the model requires a gradient")
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def train(
    module: nn.Module,
    batches: Batches,
    loss: Callable[[dict[str, Any]], tuple[Tensor, dict[str, Any]]],
    config: TrainConfig,
    folder: Path,
    *,
    device: torch.device,
    precision: str = "fp32",
    validate: Callable[[], dict[str, float]] | None = None,
    decode: Callable[[], dict[str, float]] | None = None,
    export: Callable[[Path], None] | None = None,
    fingerprint: dict[str, Any] | None = None,
    unit: str = "tokens",
    patience: int = 0,
    watchers: Sequence[Watcher] = (),
    log: Callable[[str], None] = tqdm.write,
) -> Result:
    """Train `module` in `folder` until its steps, its minutes or a signal end it; resume a state that is there.

    Args:
        loss: batch -> (sum over its labels, numbers to log), called under autocast. `batch["count"]` is the number
            of labels. Numbers may be tensors (): they are read only when they are logged or saved. With several
            micro-batches those of the last one are logged.
        validate: -> numbers to log; their "loss" decides which model is best. Called in eval mode, without grad.
        decode: like `validate`, but slower: its numbers are added at every `DECODE_EVERY`th validation and the last.
        export: called with `folder` whenever the validation loss improves; without validation, at the end.
        fingerprint: JSON values that the run was started with; a state with others is not resumed.
        unit: what `batch["units"]` (default: its count) counts, for the speed in the log line.
        patience: stop after this many validations in a row without a better loss; 0 = never.
        watchers: are told of every record and every save, and of the end.

    Raises:
        ValueError: the saved state belongs to another run. BlockingIOError: another process trains in `folder`.
        FloatingPointError: ten non-finite losses in a row, the message names the last good checkpoint; or a
            non-finite validation loss with no finite one before it, as there is no best model to export.
    """
    folder = Path(folder)
    fingerprint = json.loads(json.dumps(fingerprint or {}))  # tuples become lists, as in the saved one
    metrics_file = folder / "metrics.jsonl"
    total = total_steps(config, batches.per_epoch)
    optimizer = make_optimizer(module, config)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    trainable = [p for group in optimizer.param_groups for p in group["params"]]
    progress = partial(tqdm, total=total, unit="step", disable=None, dynamic_ncols=True)  # None: off without a terminal

    with hold(folder, "trained"), progress() as bar, catch_signals() as stop_asked:
        # ---- resume what is there: tensors, generators, and the loop's own numbers ----------------
        torch.manual_seed(config.seed)
        state = LoopState()
        saved = load_state(folder / "state", log, check_saved)
        if saved is not None:
            tensors, values = saved
            if changes := ", ".join(differences(values["fingerprint"], fingerprint)):
                raise ValueError(f"{folder} holds a run with other settings ({changes}); --fresh starts over")
            try:
                unpack_state(tensors, module, optimizer, device)
            except ValueError as error:
                raise ValueError(f"{folder / 'state'}: {error}; --fresh starts over") from error
            if values["scaler"]:
                scaler.load_state_dict(values["scaler"])
            state = LoopState.from_dict(values)
            log(f"resumed at step {state.step} of {total}")
            del saved, tensors  # a file that is still mapped cannot be renamed on Windows
        # steps after the last save are done again, so their records go
        kept = records_until(metrics_file, state.step)
        write_atomic(metrics_file, lambda temporary: temporary.write_text(kept))

        last_metrics: dict[str, float] = {}
        for line in kept.splitlines():
            last_metrics.update(json.loads(line))
        last_metrics.pop("step", None)

        def record(values: dict[str, float]) -> None:
            last_metrics.update(values)
            with naming(metrics_file), open(metrics_file, "a") as file:
                file.write(json.dumps({"step": state.step} | values) + "\n")
            for watcher in watchers:
                watcher.on_record(state.step, values)

        def save() -> None:
            others = {"total_steps": total, "scaler": scaler.state_dict(), "fingerprint": fingerprint}
            save_state(folder / "state", pack_state(module, optimizer, device), state.to_dict() | others)
            for watcher in watchers:
                watcher.on_save(state.step, folder, total)

        # the clock and the speed are those of this call
        first_step = state.step
        started = last_log = time.monotonic()
        next_save = started + SAVE_SECONDS
        units = 0
        bar.initial = bar.n = bar.last_print_n = first_step
        module.train()

        # one more turn than there are steps: the last validation and the last save need no code of their own
        while True:
            # ---- once in a while: validate and export the best, save, stop ------------------------
            now = time.monotonic()
            out_of_time = config.max_minutes > 0 and now - started > 60 * config.max_minutes
            stopping = state.step >= total or out_of_time or stop_asked()
            # a state just resumed was saved by the call before, and validated unless a signal came
            moved = state.step > first_step or state.unvalidated
            scores = None
            due = state.step % config.eval_every == 0 or state.step >= total or state.unvalidated
            if validate is not None and moved and due:
                module.eval()
                try:
                    with stop_asked.at_once(), torch.no_grad(), autocast(precision, device):
                        found = validate()
                        every = state.step // config.eval_every % DECODE_EVERY == 0 or state.step >= total
                        # a model whose loss is NaN cannot write
                        if decode is not None and every and math.isfinite(found["loss"]):
                            found |= decode()
                        scores = found
                except Stopped:
                    stopping = True
                state.unvalidated = scores is None
                module.train()
            if scores is not None:
                log(f"step {state.step:>6}  validation  " + _numbers(scores))
                if not math.isfinite(scores["loss"]) and state.best == math.inf:
                    raise FloatingPointError(
                        f"the validation loss is {scores['loss']} at step {state.step}, and none before was finite: "
                        "there is no model to keep; try a lower --lr or --precision fp32"
                    )
                improved = scores["loss"] < state.best
                state.best = scores["loss"] if improved else state.best
                state.worse = 0 if improved else state.worse + 1
                record({f"val_{name}": value for name, value in scores.items()})
                if export is not None and improved:
                    # tells a training killed before its first save from weights that nothing can resume
                    (folder / "state").mkdir(exist_ok=True)
                    export(folder)
            early = 0 < patience <= state.worse
            stopping = stopping or early
            if moved and (stopping or state.step % config.save_every == 0 or now >= next_save):
                began = time.monotonic()
                save()
                ended = time.monotonic()
                next_save = ended + max(SAVE_SECONDS, (ended - began) / SAVE_SHARE)
            last_log += time.monotonic() - now  # the logged speed is that of the steps alone
            if stopping:
                break

            # ---- one step: forward, backward, clip, update ----------------------------------------
            micro = [batches(state.step * config.grad_accum + i) for i in range(config.grad_accum)]
            labels = sum(int(batch["count"]) for batch in micro)
            lr = get_lr(state.step, total, config)
            for group in optimizer.param_groups:
                group["lr"] = lr
            summed, extra = 0.0, {}
            for batch in micro:
                batch = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
                with autocast(precision, device):
                    value, extra = loss(batch)
                scaler.scale(value / max(1, labels)).backward()
                summed = summed + value.detach()
            scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(trainable, config.clip if config.clip else math.inf)
            # the only place where the loop itself waits for the device
            mean, norm = torch.stack((summed / max(1, labels), norm)).tolist()
            # the scaler handles an fp16 gradient that overflows, as long as it has a scale to lower;
            # everything else that is not finite is skipped and counted
            overflow = precision == "fp16" and scaler.get_scale() > 1
            finite = math.isfinite(mean) and (overflow or math.isfinite(norm))
            if finite:
                scaler.step(optimizer)
                state.bad_in_a_row = 0
            else:
                state.skipped += 1
                state.bad_in_a_row += 1
            scaler.update()  # also after a skipped step: gradients are unscaled once between two updates
            optimizer.zero_grad(set_to_none=True)
            state.step += 1
            # ---------------------------------------------------------------------------------------

            # ---- after it: give up on a run that diverged, count, log -----------------------------
            if state.bad_in_a_row >= MAX_BAD_STEPS:
                last = folder / "state" / "last"
                good = f"the last good checkpoint is {last}" if last.is_dir() else "nothing was saved yet"
                raise FloatingPointError(
                    f"the loss was not finite for {MAX_BAD_STEPS} steps in a row, step {state.step}; {good}; "
                    "try a lower --lr"
                )
            bar.update()
            units += sum(int(batch.get("units", batch["count"])) for batch in micro)
            for name, value in ({"loss": mean} | extra if finite else {}).items():
                number = value.detach() if isinstance(value, Tensor) else float(value)  # reading a tensor would wait
                state.sums.setdefault(name, []).append(number)
            if state.step % config.log_every == 0 or state.step >= total:
                now = time.monotonic()
                means = {name: sum(map(float, seen)) / len(seen) for name, seen in state.sums.items()}
                speed = units / max(1e-9, now - last_log)
                eta = (total - state.step) * (now - started) / (state.step - first_step)
                log(
                    f"step {state.step:>6}/{total}  {_numbers(means)}  lr {lr:.2e}  {speed:,.0f} {unit}/s"
                    f"  eta {_clock(eta)}" + (f"  skipped {state.skipped}" if state.skipped else "")
                )
                record(means | {"lr": lr, f"{unit}_per_s": round(speed)})
                state.sums = {}
                units = 0
                last_log = now

        if export is not None and validate is None and state.step >= total:
            export(folder)
        plot_losses(metrics_file, folder / "loss.png")
    result = Result(state.step, total, state.best, last_metrics, early, state.unvalidated)
    for watcher in watchers:
        watcher.on_end(result.finished)
    return result


def _numbers(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
