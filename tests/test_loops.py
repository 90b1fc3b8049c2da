"""The loop: ten steps equal five, a stop and five; accumulation equals a large batch; it survives NaNs and signals."""

import json
import math
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import for_each, seeded
from torch import nn

from motiongpt import loops, lora
from motiongpt.config import LLM_PRESETS, LoRAConfig, TrainConfig, VQVAEConfig
from motiongpt.data.batches import BucketedBatches, WindowBatches
from motiongpt.files.store import read_json, read_tensors
from motiongpt.llm import LLM
from motiongpt.loops import make_optimizer, train
from motiongpt.training import engines
from motiongpt.training.devices import pick_device, resolve_precision
from motiongpt.training.schedule import get_lr, total_steps
from motiongpt.training.state import LoopState
from motiongpt.training.watch import Watcher
from motiongpt.vqvae import VQVAE

CPU = torch.device("cpu")
CONFIG = TrainConfig(lr=1e-2, max_steps=10, warmup=2, batch_size=4, eval_every=1000, save_every=1000, log_every=1)


class Points:
    """A least-squares problem; `counts` gives the number of rows of each micro-batch, in turn."""

    def __init__(self, counts=(8,), seed: int = 0) -> None:
        self.counts, self.seed, self.per_epoch = counts, seed, len(counts)

    def __call__(self, micro_step: int) -> dict:
        rng = np.random.default_rng((self.seed, micro_step))
        count = self.counts[micro_step % len(self.counts)]
        x = torch.from_numpy(rng.standard_normal((count, 3)).astype(np.float32))
        return {"x": x, "y": x.sum(-1, keepdim=True), "count": count}


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def squares(model: nn.Module):
    """Summed squared error, and one number to log."""

    def loss(batch):
        value = (model(batch["x"]) - batch["y"]).square().sum()
        return value, {"rows": len(batch["x"])}

    return loss


def run(model, folder, batches=None, loss=None, config=CONFIG, **kwargs):
    kwargs = {"device": CPU, "log": lambda line: None} | kwargs
    return train(model, batches or Points(), loss or squares(model), config, folder, **kwargs)


def records(folder: Path) -> list[dict]:
    """metrics.jsonl without the speeds, which depend on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.endswith("_per_s")} for line in lines]


def stop_at(loss, call: int):
    """The loss, which sends this process a SIGTERM, as `kill` does, in its `call`-th call."""
    calls = 0

    def wrapped(batch):
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(batch)

    return wrapped


# ---- ten steps == five, a stop, a resume and five -------------------------------------------------------------


def vqvae_job():
    torch.manual_seed(1)
    config = VQVAEConfig(feature_dim=23, joint_dim=6, codes=16, code_dim=8, width=12, dead_below=0.3)
    model = VQVAE(config)
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal((F, 23)).astype(np.float32) for F in (6, 19, 40, 33, 70)]
    batches = WindowBatches(clips, window=16, batch_size=4, seed=3)

    def loss(batch):
        total, _, out = model.loss(batch["motion"], batch["lengths"])
        return total, {"resets": out["resets"]}

    return model, batches, loss


def llm_job():
    generator = seeded(1)
    llm = LLM(LLM_PRESETS["tiny"], generator)
    llm.extend(290, 20, generator)
    lora.inject(llm, LoRAConfig(lora_r=4, lora_dropout=0.3), generator)

    def collate(indices, rng):
        ids = torch.from_numpy(rng.integers(310, size=(len(indices), 12)))
        labels = ids[:, 1:].masked_fill(torch.from_numpy(rng.random((len(indices), 11)) < 0.3), -100)
        return {"ids": ids, "labels": labels, "count": int((labels >= 0).sum())}

    def loss(batch):
        logits = llm(batch["ids"])[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum"), {}

    return llm, BucketedBatches(list(range(11)), 4, 5, collate), loss


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("job", [vqvae_job, llm_job])
def test_ten_steps_equal_five_a_stop_and_five(tmp_path, job, precision):
    """Bit for bit: parameters, codebook, moments, random state and metrics, with a log line that spans the stop."""
    config = replace(CONFIG, log_every=3, grad_accum=2)
    model, batches, loss = job()
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    whole = run(model, tmp_path / "whole", batches, loss, config, precision=precision)
    assert whole.finished and whole.step == 10

    stopped, batches, loss = job()
    torch.randn(17)  # random numbers used before do not matter
    result = run(stopped, tmp_path / "two", batches, stop_at(loss, 9), config, precision=precision)  # in step 5
    assert not result.finished and result.step == 5
    resumed, batches, loss = job()
    torch.randn(5)
    lines = []
    result = run(resumed, tmp_path / "two", batches, loss, config, precision=precision, log=lines.append)
    assert result.finished and "resumed at step 5 of 10" in lines

    moved = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, start[name])]
    assert moved
    for (name, a), b in zip(model.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    saved = [read_tensors(tmp_path / name / "state" / "last" / "tensors.safetensors") for name in ("whole", "two")]
    assert saved[0].keys() == saved[1].keys() and any(name.endswith("exp_avg_sq") for name in saved[0])
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])
    assert records(tmp_path / "whole") == records(tmp_path / "two")
    assert [line["step"] for line in records(tmp_path / "two")] == [3, 6, 9, 10]
    if job is llm_job:  # frozen weights are neither moved nor saved
        assert all(name == "new_in" or "lora_" in name for name in moved)
        assert not any("embed_tokens" in name for name in saved[0])


def test_killed_between_saves_goes_back_to_the_last_one(tmp_path):
    """After a kill -9 at step 7 and a save at step 4, the metrics of steps 5 to 7 are dropped; the end is the same."""
    config = replace(CONFIG, save_every=4)
    model = linear()
    run(model, tmp_path / "whole", config=config)
    killed, calls = linear(), 0

    def loss(batch):
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt  # nothing is saved on the way out, as after a kill
        return squares(killed)(batch)

    with pytest.raises(KeyboardInterrupt):
        run(killed, tmp_path / "two", loss=loss, config=config)
    with open(tmp_path / "two" / "metrics.jsonl", "a") as file:
        file.write('{"step": 8, "lo')  # a write that the kill cut off
    assert len((tmp_path / "two" / "metrics.jsonl").read_text().splitlines()) == 8
    resumed = linear()
    run(resumed, tmp_path / "two", config=config)
    assert torch.equal(model.weight, resumed.weight)
    assert records(tmp_path / "whole") == records(tmp_path / "two")


def test_a_second_run_of_the_same_folder_is_refused(tmp_path):
    """Before it reads or writes anything: a damaged state, which it would set aside, stays where it is."""
    config = replace(CONFIG, save_every=2)
    model = linear()
    run(model, tmp_path / "whole", config=config)
    model, calls = linear(), []

    def tree() -> dict:
        return {p: p.read_bytes() for p in (tmp_path / "two").rglob("*") if p.is_file()}

    def loss(batch):
        calls.append(len(calls))
        if len(calls) == 6:
            state = tmp_path / "two" / "state" / "last" / "state.json"
            content = state.read_text()
            state.write_text("{")
            before = tree()
            with pytest.raises(BlockingIOError, match=f"two is being trained by another process .PID {os.getpid()}."):
                run(linear(), tmp_path / "two", config=config)
            assert tree() == before
            state.write_text(content)
        return squares(model)(batch)

    assert run(model, tmp_path / "two", loss=loss, config=config).finished and len(calls) == 10
    assert records(tmp_path / "two") == records(tmp_path / "whole")
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == ["loss.png", "metrics.jsonl", "state"]


def test_a_new_run_starts_new_metrics(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "loss": 1.0}\n')
    run(linear(), tmp_path)
    assert [line["step"] for line in records(tmp_path)] == list(range(1, 11))


def test_a_finished_run_is_left_alone(tmp_path):
    first = linear()
    run(first, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    again = linear()
    result = run(again, tmp_path, loss=lambda batch: pytest.fail("trained a finished run"))
    assert result.finished and torch.equal(first.weight, again.weight)
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_other_settings_do_not_resume(tmp_path):
    run(linear(), tmp_path, fingerprint={"data": "abc", "size": (3, 1)})
    run(linear(), tmp_path, fingerprint={"data": "abc", "size": (3, 1)})  # a tuple is a list in the file
    for other in ({"data": "xyz", "size": (3, 1)}, {"data": "abc"}, {"data": "abc", "size": (3, 1), "new": 1}):
        with pytest.raises(ValueError, match="other settings.* there, .* here.*--fresh starts over"):
            run(linear(), tmp_path, fingerprint=other)


def test_only_nested_settings_that_differ_are_named(tmp_path):
    run(linear(), tmp_path, fingerprint={"data": "abc", "model": {"width": 32, "depth": 3}})
    with pytest.raises(ValueError, match=r"settings \(--width 32 there, 64 here\)"):
        run(linear(), tmp_path, fingerprint={"data": "abc", "model": {"width": 64, "depth": 3}})


# ---- accumulation and learning rate -----------------------------------------------------------------------------


class Joined(Points):
    """Two consecutive micro-batches of Points joined into one."""

    def __call__(self, micro_step: int) -> dict:
        parts = [Points(self.counts)(2 * micro_step + i) for i in range(2)]
        return {k: torch.cat([p[k] for p in parts]) for k in "xy"} | {"count": sum(p["count"] for p in parts)}


def test_accumulation_with_uneven_counts_is_the_large_batch(tmp_path):
    def double(model):
        def loss(batch):
            return (model(batch["x"].double()) - batch["y"]).square().sum(), {}

        return loss

    small, large, naive = (linear().double() for _ in range(3))
    config = replace(CONFIG, max_steps=3, clip=0.5)
    run(small, tmp_path / "small", Points((1, 7)), double(small), replace(config, grad_accum=2))
    run(large, tmp_path / "large", Joined((1, 7)), double(large), config)
    # float64: one order of summation against another
    torch.testing.assert_close(small.weight, large.weight, atol=1e-12, rtol=0)
    for a, b in zip(records(tmp_path / "small"), records(tmp_path / "large"), strict=True):
        assert a == pytest.approx(b, abs=1e-12)

    def mean_of_means(batch):  # the usual mistake
        value, _ = double(naive)(batch)
        return value / batch["count"] * 4, {}

    run(naive, tmp_path / "naive", Points((1, 7)), mean_of_means, replace(config, grad_accum=2))
    assert (naive.weight - large.weight).abs().max() > 1e-4


def test_get_lr_is_these_numbers():
    config = TrainConfig(lr=1.0, warmup=4, min_lr=0.1)
    assert [get_lr(step, 12, config) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert get_lr(8, 12, config) == pytest.approx(0.1 + 0.9 * 0.5)  # half way down the cosine
    assert get_lr(11, 12, config) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 7 / 8)))
    constant = replace(config, schedule="constant")
    assert [get_lr(step, 12, constant) for step in (0, 3, 11)] == [0.25, 1.0, 1.0]


@for_each("warmup", [0.0, 0.01, 0.1, 0.3, 1, 7, 500])
@for_each("total", [1, 3, 100])
def test_get_lr_never_wastes_a_step(warmup, total):
    config = TrainConfig(lr=2e-4, warmup=warmup)
    rates = [get_lr(step, total, config) for step in range(total)]
    assert all(0 < rate <= 2e-4 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates == [get_lr(step, total, config) for step in range(total)]


def test_total_steps():
    assert total_steps(TrainConfig(max_steps=7), 100) == 7
    assert total_steps(TrainConfig(epochs=2.5, grad_accum=2), 7) == 9  # 17.5 micro-batches
    assert total_steps(TrainConfig(epochs=0.001), 7) == 1


# ---- steps that go wrong ----------------------------------------------------------------------------------------


def nan_at(model, *steps):
    """The loss, NaN in the given calls; a negative number means all calls after it."""
    calls = 0

    def loss(batch):
        nonlocal calls
        calls += 1
        value, extra = squares(model)(batch)
        bad = calls in steps or (min(steps) < 0 and calls > -min(steps))
        return value * (float("nan") if bad else 1.0), extra

    return loss


def test_a_nan_step_is_skipped_and_counted(tmp_path):
    model, clean = linear(), linear()
    lines = []
    result = run(model, tmp_path, loss=nan_at(model, 4, 5), log=lines.append)
    assert result.finished and read_json(tmp_path / "state" / "last" / "state.json")["skipped"] == 2
    assert torch.isfinite(model.weight).all() and "skipped 2" in lines[-1]
    bad = [line for line in records(tmp_path) if "loss" not in line]
    assert [line["step"] for line in bad] == [4, 5]
    # a skipped step moves nothing, as if the optimizer had not been called
    optimizer = make_optimizer(clean, CONFIG)
    for step in range(10):
        if step in (3, 4):
            continue
        for group in optimizer.param_groups:
            group["lr"] = get_lr(step, 10, CONFIG)
        batch = Points()(step)
        (squares(clean)(batch)[0] / batch["count"]).backward()
        nn.utils.clip_grad_norm_(clean.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(model.weight, clean.weight)


@pytest.mark.parametrize("save_every", [3, 1000])
def test_ten_nan_steps_in_a_row_stop_the_run(tmp_path, save_every):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    model = linear()
    config = replace(CONFIG, max_steps=40, save_every=save_every)
    told = "the last good checkpoint is .*state/last" if save_every == 3 else "nothing was saved yet"
    with pytest.raises(FloatingPointError, match=f"10 steps in a row, step 14; {told}"):
        run(model, tmp_path, loss=nan_at(model, -4), config=config)
    assert torch.isfinite(model.weight).all() and all(p.grad is None for p in model.parameters())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    if save_every == 3:
        saved = read_tensors(tmp_path / "state" / "last" / "tensors.safetensors")
        assert all(torch.isfinite(t).all() for name, t in saved.items() if name.startswith(("model/", "optimizer/")))
        again = linear()
        result = run(again, tmp_path, config=config)  # with a good loss it resumes from there
        assert result.finished and torch.isfinite(again.weight).all()


def test_bad_steps_in_a_row_are_counted_across_a_resume(tmp_path):
    """Otherwise a run that is stopped every five minutes would never give up."""
    model, config = linear(), replace(CONFIG, max_steps=40)
    result = run(model, tmp_path, loss=stop_at(nan_at(model, -4), 10), config=config)
    assert result.step == 10
    model = linear()
    with pytest.raises(FloatingPointError, match="step 14"):
        run(model, tmp_path, loss=nan_at(model, -1e-9), config=config)


def test_infinite_gradients_are_bad_steps_too(tmp_path):
    model = linear()

    def loss(batch):  # finite itself, d/dx sqrt(x) at 0 is not
        return (model.weight * 0).abs().sum().sqrt(), {}

    with pytest.raises(FloatingPointError):
        run(model, tmp_path, loss=loss, config=replace(CONFIG, max_steps=40))
    assert torch.isfinite(model.weight).all()


def fp16_works() -> bool:
    try:
        with torch.autocast("cpu", torch.float16):
            nn.functional.linear(torch.ones(2, 3), torch.ones(1, 3))
        return torch.amp.GradScaler("cpu").is_enabled()
    except RuntimeError:
        return False


needs_fp16 = pytest.mark.skipif(not fp16_works(), reason="this PyTorch has no fp16 autocast on the CPU")


@needs_fp16
def test_fp16_with_gradient_scaling(tmp_path):
    """It learns what fp32 learns, survives a NaN loss, and resumes with its loss scale."""

    def gentle(loss):  # small enough for fp16 gradients at the first scale, 2 ** 16
        return lambda batch: (0.05 * loss(batch)[0], {})

    exact, half, model, resumed = (linear() for _ in range(4))
    run(exact, tmp_path / "fp32", loss=gentle(squares(exact)))
    run(half, tmp_path / "fp16", loss=gentle(squares(half)), precision="fp16")
    # fp16 has 11 bits, so gradients are right to 1e-3; ten Adam steps of 1e-2 each
    torch.testing.assert_close(half.weight, exact.weight, atol=1e-3, rtol=0)

    loss = gentle(stop_at(nan_at(model, 2), 5))
    assert run(model, tmp_path / "two", loss=loss, precision="fp16").step == 5
    state = read_json(tmp_path / "two" / "state" / "last" / "state.json")
    assert state["skipped"] == 1 and state["scaler"]["scale"] == 2.0**15  # halved once, by the NaN
    assert run(resumed, tmp_path / "two", loss=gentle(squares(resumed)), precision="fp16").finished
    assert read_json(tmp_path / "two" / "state" / "last" / "state.json")["scaler"]["scale"] == 2.0**15


@needs_fp16
def test_fp16_overflow_is_the_scalers_but_not_for_ever(tmp_path):
    """A gradient that is infinite at any scale ends the run when the scale is 1: after 16 halvings and 10 steps."""
    model = linear()
    with pytest.raises(FloatingPointError, match="step 26"):
        run(
            model,
            tmp_path,
            loss=lambda batch: ((model.weight * 0).abs().sum().sqrt(), {}),
            config=replace(CONFIG, max_steps=100),
            precision="fp16",
        )


# ---- stopping ---------------------------------------------------------------------------------------------------


def test_ctrl_c_saves_and_a_second_one_interrupts(tmp_path):
    model, former = linear(), signal.getsignal(signal.SIGINT)  # a command in the background ignores it

    def once(batch):
        os.kill(os.getpid(), signal.SIGINT)
        return squares(model)(batch)

    result = run(model, tmp_path, loss=once)
    assert result.step == 1 and read_json(tmp_path / "state" / "last" / "state.json")["step"] == 1

    def twice(batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return squares(model)(batch)

    with pytest.raises(KeyboardInterrupt):
        run(model, tmp_path, loss=twice)
    assert signal.getsignal(signal.SIGINT) is former


@pytest.mark.parametrize("step", [4, 10])
@pytest.mark.parametrize("moment", ["in the validation", "in the step before it"])
def test_sigterm_ends_a_validation_at_once_and_a_resume_makes_up_for_it(tmp_path, step, moment):
    """Also the closing one: the run is not finished without it. Bit for bit as if no signal had come."""
    config = replace(CONFIG, eval_every=4, log_every=3)
    batches_seen = []

    def validation(model, signal_at=None):
        def validate():
            for i in range(3):
                if signal_at == (model.steps, i):
                    os.kill(os.getpid(), signal.SIGTERM)
                batches_seen.append((model.steps, i))
            return {"loss": 10.0 - model.steps}

        return validate

    def counted(model, signal_at=0):
        model.steps = 0

        def loss(batch):
            model.steps += 1
            if model.steps == signal_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return squares(model)(batch)

        return loss

    whole = linear()
    run(whole, tmp_path / "whole", loss=counted(whole), validate=validation(whole), config=config)
    batches_seen.clear()
    model, inside = linear(), moment == "in the validation"
    loss = counted(model, 0 if inside else step)
    validate = validation(model, (step, 1) if inside else None)
    result = run(model, tmp_path / "two", loss=loss, validate=validate, config=config)
    assert not result.finished and result.step == step
    assert [batch for batch in batches_seen if batch[0] == step] == ([(step, 0)] if inside else [])
    resumed = linear()
    loss = counted(resumed)
    resumed.steps = step
    result = run(resumed, tmp_path / "two", loss=loss, validate=validation(resumed), config=config)
    assert result.finished and torch.equal(whole.weight, resumed.weight)
    assert records(tmp_path / "two") == records(tmp_path / "whole")
    states = [read_json(tmp_path / name / "state" / "last" / "state.json") for name in ("whole", "two")]
    assert states[0] == states[1]


def test_how_often_it_saves_by_the_time_that_takes(tmp_path, monkeypatch):
    """A step takes 25 s. If a save takes none, every third step is saved; if it takes 10 s, one in five minutes; if it
    takes 25 s, one in 500 s, 5 % of the time. --save-minutes says otherwise, but for the 5 %."""
    clock = [0.0]
    monkeypatch.setattr(loops.time, "monotonic", lambda: clock[0])
    model = linear()
    saved, save_state = [], engines.save_state

    def loss(batch):
        clock[0] += 25.0
        return squares(model)(batch)

    def save(folder, tensors, state):
        clock[0] += seconds
        saved.append(state["step"])
        save_state(folder, tensors, state)

    monkeypatch.setattr(engines, "save_state", save)
    for seconds, minutes, expected in (
        (0.0, 5.0, [3, 6, 9, 12, 15, 18, 20]),
        (10.0, 5.0, [3, 15, 20]),
        (25.0, 5.0, [3, 20]),
        (10.0, 1.0, [3, 11, 19, 20]),
        (0.0, 0.5, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
    ):
        saved.clear()
        config = replace(CONFIG, max_steps=20, save_every=1000, save_minutes=minutes)
        run(model, tmp_path / f"{seconds} {minutes}", loss=loss, config=config)
        assert saved == expected


def test_a_finished_run_still_knows_its_last_numbers(tmp_path):
    """A kill may come after the last save and before anybody has written them down."""
    model = linear()
    config = replace(CONFIG, eval_every=4)
    first = run(model, tmp_path, validate=lambda: {"loss": float(model.weight.detach().sum())}, config=config)
    again = run(linear(), tmp_path, validate=lambda: {"loss": math.nan}, config=config)
    assert again == first and {"loss", "lr", "val_loss"} <= set(again.metrics)


def test_max_minutes(tmp_path, monkeypatch):
    """Every reading of the clock is half a minute after the one before."""
    clock = iter(range(0, 10**6, 30))
    monkeypatch.setattr(loops.time, "monotonic", lambda: next(clock))
    config = replace(CONFIG, max_minutes=3)
    result = run(linear(), tmp_path, config=config)
    assert not result.finished and 0 < result.step < 10
    assert read_json(tmp_path / "state" / "last" / "state.json")["step"] == result.step
    assert run(linear(), tmp_path, config=replace(config, max_minutes=0)).finished


def test_trains_outside_the_main_thread(tmp_path):
    """Only the main thread can handle signals; a loop in another thread does without."""
    results = []
    thread = threading.Thread(target=lambda: results.append(run(linear(), tmp_path)))
    thread.start()
    thread.join()
    assert results[0].finished


# ---- validation, export, pictures ----------------------------------------------------------------------------------


def test_the_best_model_is_exported_on_improvement_only(tmp_path):
    model = linear()
    scores = iter([3.0, float("nan"), 2.0, 2.5, 2.0])
    exported = []

    def validate():
        assert not model.training and not torch.is_grad_enabled()
        return {"loss": next(scores), "other": 1.0}

    def export(folder):
        assert folder == tmp_path
        exported.append(model.weight.detach().clone())

    config = replace(CONFIG, eval_every=2, save_every=2)
    result = run(model, tmp_path, config=config, validate=validate, export=export)
    assert len(exported) == 2 and model.training  # after steps 2 and 6
    assert result.best == 2.0 and result.metrics["val_loss"] == 2.0
    assert read_json(tmp_path / "state" / "last" / "state.json")["best"] == 2.0
    assert [line["step"] for line in records(tmp_path) if "val_loss" in line] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("value", [float("nan"), math.inf])
def test_a_validation_that_was_never_finite_ends_the_run(tmp_path, value):
    """There is no model to export. After a finite validation there is one, and the run goes on (the test above)."""
    with pytest.raises(FloatingPointError, match=f"validation loss is {value} at step 5"):
        run(linear(), tmp_path, config=replace(CONFIG, eval_every=5), validate=lambda: {"loss": value})


def test_the_logged_speed_is_that_of_the_steps_alone(tmp_path, monkeypatch):
    """A step with 8 labels takes 1 s, a validation an hour: 8 labels/s."""
    clock = [0.0]
    monkeypatch.setattr(loops.time, "monotonic", lambda: clock[0])
    model = linear()

    def loss(batch):
        clock[0] += 1.0
        return squares(model)(batch)

    def validate():
        clock[0] += 3600.0
        return {"loss": 1.0}

    run(model, tmp_path, loss=loss, validate=validate, config=replace(CONFIG, eval_every=2, log_every=4))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["tokens_per_s"] for line in lines if "tokens_per_s" in line] == [8, 8, 8]


def test_every_fifth_validation_and_the_last_decode(tmp_path):
    """A resumed run logs what an uninterrupted one does; a model whose loss is NaN is not asked to write."""
    losses = iter([1.0] * 4 + [math.nan] + [1.0] * 40)
    config = replace(CONFIG, max_steps=22, eval_every=2, save_every=2)

    def decoded(folder):
        return [r["step"] for r in records(folder) if "val_edit" in r]

    run(linear(), tmp_path / "whole", validate=lambda: {"loss": 1.0}, decode=lambda: {"edit": 3.0}, config=config)
    assert decoded(tmp_path / "whole") == [10, 20, 22]
    model, seen = linear(), 0

    def loss(batch):
        nonlocal seen
        seen += 1
        if seen == 14:
            raise KeyboardInterrupt
        return squares(model)(batch)

    numbers = {"validate": lambda: {"loss": 1.0}, "decode": lambda: {"edit": 3.0}, "config": config}
    with pytest.raises(KeyboardInterrupt):
        run(model, tmp_path / "two", loss=loss, **numbers)
    run(linear(), tmp_path / "two", **numbers)
    assert records(tmp_path / "two") == records(tmp_path / "whole")
    numbers["validate"] = lambda: {"loss": next(losses)}
    run(linear(), tmp_path / "nan", **numbers)
    assert decoded(tmp_path / "nan") == [20, 22]


def test_numbers_to_log_may_be_tensors(tmp_path):
    """They are read when they are logged or saved; a step does not wait for them."""
    model, plain = linear(), linear()

    def loss(batch):
        value, _ = squares(model)(batch)
        return value, {"value": value, "rows": torch.tensor(len(batch["x"]))}

    def numbers(batch):
        value, _ = squares(plain)(batch)
        return value, {"value": value.item(), "rows": len(batch["x"])}

    config = replace(CONFIG, log_every=4, save_every=2)
    run(model, tmp_path / "tensors", loss=loss, config=config)
    run(plain, tmp_path / "numbers", loss=numbers, config=config)
    assert records(tmp_path / "tensors") == records(tmp_path / "numbers")


def test_the_best_score_survives_a_resume(tmp_path):
    exported = []

    def keywords(*scores):
        values = iter(scores)
        return {"validate": lambda: {"loss": next(values)}, "export": lambda folder: exported.append(folder)}

    config = replace(CONFIG, eval_every=5)
    model = linear()
    run(model, tmp_path, loss=stop_at(squares(model), 6), config=config, **keywords(1.0))
    assert len(exported) == 1
    result = run(linear(), tmp_path, config=config, **keywords(1.5))
    assert result.best == 1.0 and len(exported) == 1


def test_without_validation_the_end_is_exported(tmp_path):
    exported = []
    model = linear()
    run(model, tmp_path, loss=stop_at(squares(model), 5), export=exported.append)
    assert not exported  # not finished
    run(linear(), tmp_path, export=exported.append)
    assert exported == [tmp_path]


def test_curves_and_log_line(tmp_path):
    lines = []
    run(linear(), tmp_path, config=replace(CONFIG, log_every=4), log=lines.append, unit="frames")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert lines[0].startswith("step      4/10  loss ") and "  rows 8  grad_norm " in lines[0]
    assert "  lr 9.62e-03  " in lines[0] and "frames/s" in lines[0]
    assert [line["step"] for line in records(tmp_path)] == [4, 8, 10]


# ---- parts ------------------------------------------------------------------------------------------------------


def test_the_state_survives_json():
    """Bit for bit, with an infinite best score and with tensors among the numbers to log."""
    begun = LoopState(step=3, worse=2, skipped=1, bad_in_a_row=1, sums={"loss": [0.1, torch.tensor(0.25)]})
    begun = replace(begun, recent={"loss": [0.1 + 0.2]}, spikes=2, spikes_in_a_row=1)
    values = json.loads(json.dumps(begun.to_dict(), allow_nan=False))
    assert values == {
        "step": 3, "best": None, "worse": 2, "skipped": 1, "bad_in_a_row": 1, "sums": {"loss": [0.1, 0.25]},
        "unvalidated": False, "recent": {"loss": [0.1 + 0.2]}, "spikes": 2, "spikes_in_a_row": 1,
    }  # fmt: skip
    assert LoopState.from_dict(values) == replace(begun, sums={"loss": [0.1, 0.25]})
    validated = replace(begun, best=0.1 + 0.2, sums={})
    assert LoopState.from_dict(json.loads(json.dumps(validated.to_dict()))) == validated


def test_older_states_resume(tmp_path):
    """They lack keys, which have a default; all other keys are required."""
    former = {"step": 7, "total_steps": 10, "best": 0.5, "skipped": 2, "scaler": {}, "fingerprint": {}}
    assert LoopState.from_dict(former) == LoopState(step=7, best=0.5, skipped=2)
    for name in ("step", "best", "skipped"):
        with pytest.raises(ValueError, match=f"the key {name} is missing"):
            LoopState.from_dict({key: value for key, value in former.items() if key != name})

    config = replace(CONFIG, save_every=1)
    model = linear()
    run(model, tmp_path / "whole", config=config)
    model = linear()
    run(model, tmp_path / "two", loss=stop_at(squares(model), 5), config=config)
    path = tmp_path / "two" / "state" / "last" / "state.json"
    saved = read_json(path)
    new = "bad_in_a_row finished hashes micro_batches recent spikes spikes_in_a_row sums unvalidated worse".split()
    assert sorted(saved) == sorted([*former, *new])
    path.write_text(json.dumps({key: saved[key] for key in former}))
    assert run(linear(), tmp_path / "two", config=config).finished
    assert records(tmp_path / "two") == records(tmp_path / "whole")


@pytest.mark.parametrize("hashes", [True, False])
def test_an_implausible_state_gives_way_to_the_one_before(tmp_path, hashes):
    """A step that would count as finished: refused by its hash, and in an older state by its own total_steps."""
    config = replace(CONFIG, save_every=1)
    run(linear(), tmp_path / "whole", config=config)
    model = linear()
    run(model, tmp_path / "two", loss=stop_at(squares(model), 5), config=config)
    path = tmp_path / "two" / "state" / "last" / "state.json"
    values = read_json(path)
    kept = {key: value for key, value in values.items() if hashes or key != "hashes"}
    path.write_text(json.dumps(kept | {"step": 10**9}))
    lines = []
    assert run(linear(), tmp_path / "two", config=config, log=lines.append).step == 10
    reason = "is not what was written there" if hashes else "step 1000000000 is beyond its own total_steps 10"
    assert reason in lines[0] and str(path) in lines[0] and f"step {values['step'] - 1}" in lines[0]
    assert lines[1] == f"resumed at step {values['step'] - 1} of 10"
    assert records(tmp_path / "two") == records(tmp_path / "whole")


def test_weight_decay_is_for_matrices():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    model[0].weight.requires_grad_(False)
    matrices, vectors = make_optimizer(model, TrainConfig(weight_decay=0.1)).param_groups
    assert matrices["params"] == [] and len(vectors["params"]) == 3 and vectors["weight_decay"] == 0.0
    matrices, _ = make_optimizer(nn.Linear(3, 2), TrainConfig(weight_decay=0.1, beta2=0.95)).param_groups
    assert matrices["weight_decay"] == 0.1 and matrices["betas"] == (0.9, 0.95)
    with pytest.raises(ValueError, match="nothing to train"):
        make_optimizer(model.requires_grad_(False), TrainConfig())


def test_precision_and_device():
    assert resolve_precision("fp16", CPU) == "fp16"
    assert resolve_precision("auto", CPU, bf16_pays=False) == "fp32"
    assert resolve_precision("auto", CPU) in ("fp32", "bf16")
    assert resolve_precision("auto", torch.device("mps")) == "fp32"
    assert pick_device("cpu") == CPU
    for name in ("cuda:99", "abacus"):
        with pytest.raises(ValueError, match=f"--device {name} cannot be used"):
            pick_device(name)


class Notes(Watcher):
    """One that writes down what it is told."""

    def __init__(self) -> None:
        self.told = []

    def on_start(self, step):
        self.told.append(("start", step))

    def on_record(self, step, values):
        self.told.append(("record", step, sorted(values)))

    def on_save(self, step, folder, total_steps):
        assert read_json(folder / "state" / "last" / "state.json")["step"] == step  # it is whole by then
        self.told.append(("save", step, total_steps))

    def on_end(self, finished):
        self.told.append(("end", finished))


def test_watchers_are_told_what_is_recorded_and_saved(tmp_path):
    notes = Notes()
    config = replace(CONFIG, max_steps=3, log_every=2, eval_every=3, save_every=2)
    run(linear(), tmp_path, config=config, validate=lambda: {"loss": 1.0}, watchers=[notes])
    training = ["grad_norm", "loss", "lr", "rows", "tokens_per_s"]
    assert notes.told == [
        ("start", 0), ("record", 2, training), ("save", 2, 3), ("record", 3, training), ("record", 3, ["val_loss"]),
        ("save", 3, 3), ("end", True),
    ]  # fmt: skip
    stopped = Notes()
    run(linear(), tmp_path / "short", config=replace(config, max_minutes=1e-9), watchers=[stopped])
    assert stopped.told == [("start", 0), ("end", False)]
