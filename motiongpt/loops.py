"""The training loop: one, for the VQ-VAE, the language model and whatever comes next.

It is given a module, a source of batches and a loss, and knows no task. Three choices decide its shape:

- The loss of a step is a sum divided by the number of labels in the whole step, counted over all its
  micro-batches: `--batch-size 4 --grad-accum 2` is `--batch-size 8`. (A mean of means is not.)
- A batch is a pure function of the micro-step, and the learning rate of the step. So the data cursor is an
  integer, and ten steps equal five, a kill, a resume and five, bit for bit on the CPU.
- Validation, export and pictures come in as callables.

A run folder gets `metrics.jsonl`, `loss.png`, `state/{last,previous}` and whatever `export` writes.
"""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from motiongpt.checkpoint import load_state, pack_state, save_state, unpack_state
from motiongpt.config import TrainConfig
from motiongpt.files.lock import hold
from motiongpt.files.store import write_atomic
from motiongpt.render.curves import plot_metrics

MAX_BAD_STEPS = 10  # non-finite losses in a row before the run gives up


class Batches(Protocol):
    """Where training data comes from. `batch["count"]` is the number of labels the loss is summed over."""

    per_epoch: int  # micro-batches in one pass over the data

    def __call__(self, micro_step: int) -> dict[str, Any]: ...


@dataclass
class Result:
    """How a call to `train` ended."""

    step: int
    total_steps: int
    best: float  # lowest validation loss; inf where there was no validation
    metrics: dict[str, float]  # the last log record and the last validation
    early: bool = False  # the validations of `patience` in a row were no better

    @property
    def finished(self) -> bool:
        return self.early or self.step >= self.total_steps


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


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """First weights by the seed: what is drawn inside starts from it, and the caller's generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        yield


def pick_device(name: str | None) -> torch.device:
    """The named device, else CUDA, else Apple's, else the CPU. Raises ValueError for one that is not there."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def resolve_precision(precision: str, device: torch.device, bf16_pays: bool = True) -> str:
    """`auto` -> bf16, fp16 or fp32 for this device; anything else is returned as it is.

    bf16 on CUDA >= 8.0 and on CPUs with AMX or AVX512-bf16 where the model is large enough to gain from it
    (`bf16_pays`), fp16 on older CUDA, fp32 elsewhere.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    if device.type == "cpu" and bf16_pays:
        probes = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
        return "bf16" if any(probe() for probe in probes if probe) else "fp32"
    return "fp32"


def autocast(precision: str, device: torch.device) -> Any:
    """The context every forward pass of a run is under."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def make_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over what requires a gradient; weight decay on matrices, none on biases, norms and vectors."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("nothing to train: no parameter of the model requires a gradient")
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C ask the loop to save and stop; a second Ctrl-C is an ordinary KeyboardInterrupt."""
    received = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if received.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.set()

    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield received.is_set
        return
    former = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received.is_set
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


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
    export: Callable[[Path], None] | None = None,
    fingerprint: dict[str, Any] | None = None,
    unit: str = "tokens",
    patience: int = 0,
    log: Callable[[str], None] = tqdm.write,
) -> Result:
    """Train `module` in `folder` until its steps, its minutes or a signal end it; resume what is there.

    Args:
        loss: batch -> (sum over labels, numbers to log). Runs under autocast. `batch["count"]` labels. Of several
            micro-batches the last one's numbers are logged; tensors () among them are not read before that.
        validate: -> numbers to log, of which "loss" decides the best model; runs in eval mode, without grad.
        export: called with `folder` whenever the validation loss improves (at the end, without validation).
        fingerprint: JSON values the run was started with; resuming with others is a ValueError.
        unit: what `batch["units"]` (default: its count) counts, for the speed in the log line.
        patience: end after so many validations in a row without a better loss; 0 = never.

    Raises:
        ValueError: the saved state belongs to another run. BlockingIOError: another process trains in `folder`.
        FloatingPointError: ten non-finite losses in a row; the message names the last good checkpoint. Or a
            validation loss that is not finite while none was before: there is no best model to export.
    """
    folder = Path(folder)
    fingerprint = json.loads(json.dumps(fingerprint or {}))  # tuples become lists, as in the saved one
    total = total_steps(config, batches.per_epoch)
    optimizer = make_optimizer(module, config)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    trainable = [p for group in optimizer.param_groups for p in group["params"]]
    step, best, worse, skipped, bad_in_a_row = 0, math.inf, 0, 0, 0
    sums: dict[str, list[float | Tensor]] = {}  # numbers since the last log line

    # disable=None: off where there is no terminal
    progress = partial(tqdm, total=total, unit="step", disable=None, dynamic_ncols=True)
    with hold(folder, "trained"), progress() as bar, stop_signals() as stop_asked:
        torch.manual_seed(config.seed)
        saved = load_state(folder / "state", warn=log)
        if saved is not None:
            tensors, state = saved
            if changes := ", ".join(_differences(state["fingerprint"], fingerprint)):
                raise ValueError(f"{folder} holds a run with other settings ({changes}); --fresh starts over")
            unpack_state(tensors, module, optimizer, device)
            if state["scaler"]:
                scaler.load_state_dict(state["scaler"])
            step, skipped = state["step"], state["skipped"]
            bad_in_a_row, sums, worse = state.get("bad_in_a_row", 0), state.get("sums", {}), state.get("worse", 0)
            best = math.inf if state["best"] is None else state["best"]
            log(f"resumed at step {step} of {total}")
            del saved, tensors  # a file that is still mapped cannot be renamed on Windows
        metrics_file = folder / "metrics.jsonl"
        kept = _records_until(metrics_file, step)
        write_atomic(metrics_file, lambda temporary: temporary.write_text(kept))

        def save() -> None:
            state = {"step": step, "total_steps": total, "best": best if best < math.inf else None, "skipped": skipped}
            numbers = {name: [float(value) for value in seen] for name, seen in sums.items()}
            state |= {"bad_in_a_row": bad_in_a_row, "sums": numbers, "worse": worse}
            state |= {"scaler": scaler.state_dict(), "fingerprint": fingerprint}
            save_state(folder / "state", pack_state(module, optimizer, device), state)

        def record(values: dict[str, float]) -> None:
            last_metrics.update(values)
            with open(metrics_file, "a") as file:
                file.write(json.dumps({"step": step} | values) + "\n")

        last_metrics: dict[str, float] = {}
        started = last_log = time.monotonic()
        first_step, units = step, 0
        bar.initial = bar.n = bar.last_print_n = step
        module.train()
        # one more turn than there are steps: the last validation and save are the loop's own
        while True:
            # ---- once in a while: validate, save, stop ------------------------------------------------
            now = time.monotonic()
            out_of_time = config.max_minutes > 0 and now - started > 60 * config.max_minutes
            stopping = step >= total or out_of_time or stop_asked()
            moved = step > first_step
            if validate is not None and moved and (step % config.eval_every == 0 or step >= total):
                module.eval()
                with torch.no_grad(), autocast(precision, device):
                    scores = validate()
                module.train()
                log(f"step {step:>6}  validation  " + _numbers(scores))
                if not math.isfinite(scores["loss"]) and best == math.inf:
                    raise FloatingPointError(
                        f"the validation loss is {scores['loss']} at step {step}, and no validation before was finite: "
                        "there is no model to keep; try a lower --lr or --precision fp32"
                    )
                improved = scores["loss"] < best
                best, worse = min(best, scores["loss"]), 0 if improved else worse + 1
                record({f"val_{name}": value for name, value in scores.items()})
                if export is not None and improved:
                    export(folder)
            stopping = stopping or 0 < patience <= worse
            if moved and (stopping or step % config.save_every == 0):
                save()
            last_log += time.monotonic() - now  # the speed in the log line is that of the steps
            if stopping:
                break

            # ---- one step -----------------------------------------------------------------------------
            micro = [batches(step * config.grad_accum + i) for i in range(config.grad_accum)]
            labels = sum(int(batch["count"]) for batch in micro)
            lr = get_lr(step, total, config)
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
            # the one moment at which the loop itself waits for the device
            mean, norm = torch.stack((summed / max(1, labels), norm)).tolist()
            # an fp16 gradient that overflows is the scaler's to handle, as long as it has a scale to lower;
            # everything else that is not finite is skipped and counted
            overflow = precision == "fp16" and scaler.get_scale() > 1
            finite = math.isfinite(mean) and (overflow or math.isfinite(norm))
            if finite:
                scaler.step(optimizer)
                bad_in_a_row = 0
            else:
                skipped, bad_in_a_row = skipped + 1, bad_in_a_row + 1
            scaler.update()  # also after a skipped step: gradients are unscaled once between two updates
            optimizer.zero_grad(set_to_none=True)
            step += 1
            # -------------------------------------------------------------------------------------------

            if bad_in_a_row >= MAX_BAD_STEPS:
                kept_at = folder / "state" / "last"
                good = f"the last good checkpoint is {kept_at}" if kept_at.is_dir() else "nothing was saved yet"
                raise FloatingPointError(
                    f"the loss was not finite for {MAX_BAD_STEPS} steps in a row, step {step}; {good}; try a lower --lr"
                )
            bar.update()
            units += sum(int(batch.get("units", batch["count"])) for batch in micro)
            for name, value in ({"loss": mean} | extra if finite else {}).items():
                sums.setdefault(name, []).append(value.detach() if isinstance(value, Tensor) else float(value))
            if step % config.log_every == 0 or step >= total:
                now = time.monotonic()
                values = {name: sum(map(float, seen)) / len(seen) for name, seen in sums.items()}
                eta = (total - step) * (now - started) / (step - first_step)
                speed = units / max(1e-9, now - last_log)
                log(
                    f"step {step:>6}/{total}  {_numbers(values)}  lr {lr:.2e}  {speed:,.0f} {unit}/s  eta {_clock(eta)}"
                    + (f"  skipped {skipped}" if skipped else "")
                )
                record(values | {"lr": lr, f"{unit}_per_s": round(speed)})
                sums, units, last_log = {}, 0, now

        if export is not None and validate is None and step >= total:
            export(folder)
        plot_metrics(metrics_file, folder / "loss.png")
    return Result(step, total, best, last_metrics, early=0 < patience <= worse)


def _records_until(path: Path, step: int) -> str:
    """The lines of a metrics.jsonl up to a step; a line torn by a kill and what follows it are left out."""
    kept = ""
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] > step:
                break
        except json.JSONDecodeError:
            break
        kept += line + "\n"
    return kept


def _differences(there: dict, here: dict) -> list[str]:
    """`width 32 there, 64 here` for every value that differs; of dicts, only what differs inside."""
    lines = []
    for key in there | here:
        a, b = there.get(key), here.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += _differences(a, b)
        elif a != b:
            lines.append(f"{key} {a!r} there, {b!r} here")
    return lines


def _numbers(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
