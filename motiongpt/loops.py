"""The training loop: one, for the VQ-VAE, the language model and whatever comes next.

It gets a module, batches and a loss, and knows no task. Three choices decide its shape:

- The loss of a step is a sum divided by the number of labels of the whole step, counted over all its
  micro-batches: `--batch-size 4 --grad-accum 2` equals `--batch-size 8`. (A mean of means does not.)
- A batch and its dropout are pure functions of the micro-step, and the learning rate one of the step. So the data
  cursor is an integer, and ten steps equal five, a kill, a resume and five, bit for bit on the CPU.
- The processes of a `World` deal the micro-batches of a step out. A step is the same however many they are.
- Validation, export and pictures come in as callables.

A run folder gets `metrics.jsonl`, `loss.png`, `state/{last,previous}` and whatever `export` writes.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from motiongpt.checkpoint import find_state, restore
from motiongpt.config import TrainConfig
from motiongpt.files.lock import hold
from motiongpt.render.figures import plot_losses
from motiongpt.signals import Stopped, catch_signals
from motiongpt.training.devices import autocast, deterministic, evaluating, seed_draws
from motiongpt.training.engines import make_engine
from motiongpt.training.guard import buffers_of, check_alive, judge_step, put_back
from motiongpt.training.journal import Journal, clock, numbers
from motiongpt.training.resume import resumed_micro_batches
from motiongpt.training.schedule import count_micro_batches, get_lr, seconds_to_save, total_steps
from motiongpt.training.state import LoopState, check_saved
from motiongpt.training.watch import Watcher
from motiongpt.training.world import ALONE, World

DECODE_EVERY = 5  # validations


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
    unvalidated: bool = False  # a signal or the end of the time cut off the last validation
    signal: int | None = None  # the one that ended this call

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
    sample: Callable[[int], Path] | None = None,
    export: Callable[[Path], None] | None = None,
    fingerprint: dict[str, Any] | None = None,
    unit: str = "tokens",
    patience: int = 0,
    watchers: Sequence[Watcher] = (),
    log: Callable[[str], None] = tqdm.write,
    world: World = ALONE,
    by_rows: bool = False,
    blocks: Sequence[nn.Module] | None = None,
) -> Result:
    """Train `module` in `folder` until its steps, its minutes or a signal end it; resume a state that is there.

    All processes of `world` call it with the same arguments. The first alone writes, logs, samples and exports.

    Args:
        loss: batch -> (sum over its labels, numbers to log), called under autocast. `batch["count"]` is the number
            of labels. Numbers may be tensors (): they are read only when they are logged or saved. With several
            micro-batches those of the last one are logged.
        validate: -> numbers to log; their "loss" decides which model is best. Called in eval mode, without grad.
        decode: like `validate`, but slower: its numbers are added at every `DECODE_EVERY`th validation and the last.
        sample: step -> a folder with what the model of this step writes; called every `config.sample_every` steps.
        export: called with `folder` whenever the validation loss improves; without validation, at the end.
        fingerprint: JSON values that the run was started with; a state with others is not resumed.
        unit: what `batch["units"]` (default: its count) counts, for the speed in the log line.
        patience: stop after this many validations in a row without a better loss; 0 = never.
        watchers: are told of every record, save and sample, and of start and end.
        by_rows: `batches` gives each process its rows of every batch, and no micro-batches are dealt out: for a module
            that learns from whole batches, as a codebook does.
        blocks: parts of `module` that are gathered one at a time. Weights, gradients and moments are then shared out
            over the processes; without, each has them all. `decode` and `sample`, which need them all, are left out.

    Raises:
        ValueError: the saved state belongs to another run, or its steps cannot be shared by these processes.
            BlockingIOError: another training writes to `folder`.
        FloatingPointError: ten non-finite losses in a row, the message names the last good checkpoint; or a
            non-finite validation loss with no finite one before it, as there is no best model to export.
    """
    folder = Path(folder)
    fingerprint = json.loads(json.dumps(fingerprint or {}))  # tuples become lists, as in the saved one
    log = log if world.is_first else lambda line: None
    if blocks is not None and world.size > 1:
        decode = sample = None
    progress = partial(tqdm, unit="step", disable=None if world.is_first else True, dynamic_ncols=True)
    lock = hold(folder, "trained") if world.is_first else nullcontext()
    exact = deterministic(config.deterministic)

    world.check_same(fingerprint)  # nothing is written before all have come here, and looked at what is there
    with lock, progress() as bar, catch_signals() as stop_asked, exact:
        # ---- who computes what, and what is there to resume: tensors, and the loop's own numbers -------
        engine = make_engine(module, loss, world, blocks, precision, device)
        optimizer = make_optimizer(module, config)
        scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        trainable = [p for group in optimizer.param_groups for p in group["params"]]
        state = LoopState()
        shares = 1 if by_rows else world.size
        K = count_micro_batches(config.grad_accum, shares)  # micro-batches of a step
        saved = world.from_first(lambda: find_state(folder / "state", log, check_saved))
        if saved is not None:
            place, values = saved
            K = resumed_micro_batches(folder, values, fingerprint, config.grad_accum, shares)
            try:
                restore(place, module, optimizer)
            except ValueError as error:
                raise ValueError(f"{folder / 'state'}: {error}; --fresh starts over") from error
            if values["scaler"]:
                scaler.load_state_dict(values["scaler"])
            state = LoopState.from_dict(values)
        # of K this process computes `own`; the last one, whose numbers are logged, is the first's
        own = range(K) if by_rows else range(world.size - 1 - world.rank, K, world.size)
        total = total_steps(config, batches.per_epoch, K)
        if K != config.grad_accum:
            why = f"{world.size} processes" if saved is None else "as when it began"
            log(f"{why}, {K} micro-batches a step: --grad-accum {config.grad_accum} becomes {K}")
        if saved is not None:
            log(f"resumed at step {state.step} of {total}")
        journal = Journal(folder, state.step, watchers, world.is_first)

        def save(finished: bool) -> None:
            others = {"total_steps": total, "finished": finished, "micro_batches": K, "scaler": scaler.state_dict()}
            engine.save(folder / "state", optimizer, state.to_dict() | others | {"fingerprint": fingerprint})
            for watcher in journal.watchers:
                watcher.on_save(state.step, folder, total)

        def write_weights() -> None:
            with engine.whole() as writes:
                if writes:
                    # tells a training killed before its first save from weights that nothing can resume
                    (folder / "state").mkdir(exist_ok=True)
                    export(folder)

        def validated(deadline: float) -> dict[str, float] | None:
            """What validation finds; None if a signal or the time has cut it off."""
            seconds = deadline - time.monotonic()
            interrupted = stop_asked.at_once(seconds) if world.size == 1 else stop_asked.in_turns(seconds)
            try:
                with interrupted, evaluating(module, precision, device):
                    found = engine.evaluate(validate)
                    every = state.step // config.eval_every % DECODE_EVERY == 0 or state.step >= total
                    # a model whose loss is NaN cannot write
                    if decode is not None and every and math.isfinite(found["loss"]):
                        found |= decode()
                    return world.of_first(found)
            except Stopped:
                return None

        def write_samples(deadline: float) -> bool:
            """Let the model write; whether a signal or the time has cut it off."""
            try:
                with stop_asked.at_once(deadline - time.monotonic()), evaluating(module, precision, device):
                    written = sample(state.step)
            except Stopped:
                return True
            for watcher in journal.watchers:
                watcher.on_samples(state.step, written)
            return False

        # the clock and the speed are those of this call
        first_step = state.step
        started = last_log = time.monotonic()
        time_up = started + config.budget_seconds
        next_save = started + seconds_to_save(0.0, config)
        units = 0
        bar.total = total
        bar.initial = bar.n = bar.last_print_n = first_step
        module.train()

        # one more turn than there are steps: the last validation and the last save need no code of their own
        while True:
            # ---- what comes next, agreed on: clocks differ, and a signal may reach one process alone --
            now = time.monotonic()
            micro = {m: batches(m) for m in (state.step * K + i for i in own)} if state.step < total else {}
            labels = sum(int(batch["count"]) for batch in micro.values())
            size = sum(int(batch.get("units", batch["count"])) for batch in micro.values())
            flags = stop_asked() or now > time_up, world.is_first and now >= next_save
            stop, late, labels, size = world.total(*flags, labels, size)
            stopping = state.step >= total or bool(stop)

            # ---- once in a while: validate and export the best, save, stop ------------------------
            began = time.monotonic()
            # a state just resumed was saved by the call before, and validated unless a signal came
            moved = state.step > first_step or state.unvalidated
            scores = None
            due = state.step % config.eval_every == 0 or state.step >= total or state.unvalidated
            # one that the former call did not finish is finished, or a short call would never get past it
            deadline = math.inf if state.step == first_step else time_up
            if validate is not None and moved and due:
                scores = validated(deadline)
                state.unvalidated = scores is None
                stopping = stopping or scores is None
            # a step whose validation was cut off comes again, and its samples with it
            due = config.sample_every and state.step % config.sample_every == 0 and not state.unvalidated
            if sample is not None and moved and due:
                stopping = world.from_first(partial(write_samples, deadline)) or stopping
            if scores is not None:
                log(f"step {state.step:>6}  validation  " + numbers(scores))
                if not math.isfinite(scores["loss"]) and state.best == math.inf:
                    raise FloatingPointError(
                        f"the validation loss is {scores['loss']} at step {state.step}, and none before was finite: "
                        "there is no model to keep; try a lower --lr or --precision fp32"
                    )
                improved = math.isfinite(scores["loss"]) and scores["loss"] < state.best
                state.best = scores["loss"] if improved else state.best
                state.worse = 0 if improved else state.worse + 1
                journal.record(state.step, {f"val_{name}": value for name, value in scores.items()})
                if export is not None and improved:
                    write_weights()
            early = 0 < patience <= state.worse
            stopping = stopping or early
            if moved and (stopping or state.step % config.save_every == 0 or late):
                saving = time.monotonic()
                save(early or (state.step >= total and not state.unvalidated))
                next_save = time.monotonic() + seconds_to_save(time.monotonic() - saving, config)
            last_log += time.monotonic() - began  # the logged speed is that of the steps alone
            if stopping:
                break

            # ---- one step: forward, backward, clip, update ----------------------------------------
            lr = get_lr(state.step, total, config)
            for group in optimizer.param_groups:
                group["lr"] = lr
            summed, extra = 0.0, {}
            kept = buffers_of(module) if config.guard else []
            for m, batch in micro.items():
                batch = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
                seed_draws(device, config.seed, m, world.rank if by_rows else 0)  # of dropout
                with autocast(precision, device):
                    value, extra = engine.loss(batch)
                # the engine takes the mean over the processes
                share = value * world.size / max(1, labels)
                engine.backward(scaler.scale(share), last=m == max(micro))
                summed = summed + value.detach()
            scaler.unscale_(optimizer)
            norm = engine.clip(trainable, config.clip)
            # the only place where the loop itself waits for the device
            mean, norm = torch.stack((world.add_up(summed) / max(1, labels), norm)).tolist()
            # the scaler handles an fp16 gradient that overflows, as long as it has a scale to lower;
            # everything else that is not finite is skipped and counted
            overflow = precision == "fp16" and scaler.get_scale() > 1
            finite = math.isfinite(mean) and (overflow or math.isfinite(norm))
            watched, floors = {"loss": mean, "gradient norm": norm}, {"gradient norm": config.clip}
            unusual = judge_step(state, watched, config.guard, floors) if finite and math.isfinite(norm) else None
            if unusual:
                log(f"step {state.step + 1:>6}  {unusual}")
                put_back(module, kept)
                state.bad_in_a_row = 0
            elif finite:
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
            check_alive(state, folder)
            bar.update()
            units += size
            if finite and not unusual:
                state.count({"loss": mean} | extra | ({"grad_norm": norm} if math.isfinite(norm) else {}))
            if state.step % config.log_every == 0 or state.step >= total:
                now = time.monotonic()
                means = state.take_means()
                speed = units / max(1e-9, now - last_log)
                eta = (total - state.step) * (now - started) / (state.step - first_step)
                skipped = {"skipped": state.skipped + state.spikes} if state.skipped + state.spikes else {}
                words = numbers(means), f"lr {lr:.2e}", f"{speed:,.0f} {unit}/s", f"eta {clock(eta)}", numbers(skipped)
                log(f"step {state.step:>6}/{total}  {'  '.join(filter(None, words))}")
                journal.record(state.step, means | {"lr": lr, f"{unit}_per_s": round(speed)} | skipped)
                units = 0
                last_log = now

        if export is not None and validate is None and state.step >= total:
            write_weights()
        if world.is_first:
            plot_losses(journal.path, folder / "loss.png")
        # all wait here: what comes next may read what the first has written
        received = next(filter(None, world.gather(stop_asked.received)), None)
    result = Result(state.step, total, state.best, journal.last, early, state.unvalidated, received)
    for watcher in journal.watchers:
        watcher.on_end(result.finished)
    return result
