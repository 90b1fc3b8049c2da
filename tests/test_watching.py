"""Watching a training: TensorBoard's own reader finds every number once, samples lie where they should and change
nothing, curves are drawn, and time or a signal ends it with a save."""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import at_most, for_each, random_dataset
from conftest import ROOT
from test_loops import CONFIG, linear, records, run, squares, stop_at

from motiongpt import loops
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.cli.parser import say_stopped, within_budget
from motiongpt.cli.stage_samples import language_sampler
from motiongpt.cli.watch_flags import log_name
from motiongpt.config import TrainConfig
from motiongpt.files.store import read_json, read_tensors, write_text
from motiongpt.motion import Motion
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.render.figures import plot_losses
from motiongpt.signals import Stopped, StopSignals, catch_signals
from motiongpt.stages import samples
from motiongpt.stages.held_out import motion_errors
from motiongpt.stages.samples import save_samples
from motiongpt.training.tensorboard import TOKENIZER_TAGS, TensorBoard, language_tags

needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="tensorboard is an extra: motiongpt[log]"
)


def read_log(folder: Path):
    """TensorBoard's own reader, over the files of all calls."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    log = read_log(folder)
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in log.Tags()["scalars"]}


# ---- TensorBoard ----------------------------------------------------------------------------------------------------


@needs_tensorboard
def test_tensorboard_has_the_numbers_of_metrics_jsonl(tmp_path):
    config = replace(CONFIG, eval_every=5, log_every=2)
    board = TensorBoard(tmp_path / "log", {"loss": "language_model_loss", "val_loss": "val/loss"})
    run(linear(), tmp_path / "run", config=config, validate=lambda: {"loss": 0.5}, watchers=[board])
    written: dict[str, list] = {}
    for line in records(tmp_path / "run"):
        step = line.pop("step")
        for name, value in line.items():
            written.setdefault({"loss": "language_model_loss", "val_loss": "val/loss"}.get(name, name), []).append(
                (step, pytest.approx(value, rel=1e-6))  # TensorBoard keeps fp32
            )
    found = scalars(tmp_path / "log")
    found.pop("tokens_per_s")
    assert found == written and [step for step, _ in found["language_model_loss"]] == [2, 4, 6, 8, 10]


@needs_tensorboard
@pytest.mark.parametrize("killed_at", [6, 8])
def test_tensorboard_shows_no_step_twice_after_a_kill(tmp_path, killed_at):
    """Steps after the last save are done and told again, as in metrics.jsonl."""
    config = replace(CONFIG, save_every=4)
    model, calls = linear(), 0

    def loss(batch):
        nonlocal calls
        calls += 1
        if calls == killed_at:
            raise KeyboardInterrupt
        return squares(model)(batch)

    with pytest.raises(KeyboardInterrupt):
        run(model, tmp_path / "run", loss=loss, config=config, watchers=[board := TensorBoard(tmp_path / "log")])
    board.on_end(False)  # what a kill loses in memory is not the point here: it is read as if nothing were lost
    assert [step for step, _ in scalars(tmp_path / "log")["loss"]] == list(range(1, killed_at))
    run(linear(), tmp_path / "run", config=config, watchers=[TensorBoard(tmp_path / "log")])
    run(linear(), tmp_path / "run", config=config, watchers=[TensorBoard(tmp_path / "log")])  # finished: tells nothing
    assert [step for step, _ in scalars(tmp_path / "log")["loss"]] == list(range(1, 11))
    assert len(list((tmp_path / "log").iterdir())) == 2


@needs_tensorboard
def test_a_full_disk_ends_the_log_and_not_the_training(tmp_path):
    (tmp_path / "log").write_text("a file is in the way")
    lines = []
    board = TensorBoard(tmp_path / "log", say=lines.append)
    assert run(linear(), tmp_path / "run", watchers=[board]).finished
    assert len(lines) == 1 and "cannot be written any more" in lines[0]


def test_without_the_package_the_flag_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("motiongpt.training.tensorboard.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="--log-dir needs tensorboard, which is not installed: pip install"):
        TensorBoard(tmp_path)


def test_the_name_of_a_run_is_its_path_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        log_name(Path("outputs/run/stage2")) == log_name(tmp_path / "outputs/run/stage2") == Path("outputs/run/stage2")
    )
    elsewhere = tmp_path.parent / "other"
    assert log_name(elsewhere) == Path(*elsewhere.parts[1:])


def test_a_log_that_cannot_be_written_is_a_mistake_before_anything_is_trained_or_removed(script, tiny, tmp_path):
    (tmp_path / "file").write_text("in the way")
    train = ("finetune", "--stage", 2, "--data", tiny.data, "--backbone", tiny.backbone, "--vqvae", tiny.vqvae, *FEW)
    stage = tmp_path / "run" / "stage2"
    write_text(stage / "metrics.jsonl", "")
    write_text(stage / "state" / "last" / "state.json", "{}")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        for more in (("--fresh",), ("--fresh", "--dry-run")):
            done = script(*train, "--out", tmp_path / "run", "--log-dir", place, *more)
            assert done.code == 2 and "file is a file, not a folder to write in" in done.err, done.err
            assert f"error: --log-dir {place}: " in done.err and len(done.err.splitlines()) == 1, done.err
    assert (stage / "metrics.jsonl").is_file() and (stage / "state" / "last" / "state.json").is_file()


# ---- samples --------------------------------------------------------------------------------------------------------


def test_samples_change_nothing_and_a_resumed_training_has_the_same(tmp_path):
    """Also if they draw random numbers of their own, as a careless sampler might: dropout does not notice."""
    config = replace(CONFIG, sample_every=4, save_every=4)

    def dropping(model):
        def loss(batch):
            x = torch.nn.functional.dropout(batch["x"], 0.5, training=model.training)
            return (model(x) - batch["y"]).square().sum(), {}

        return loss

    told = []

    def sampler(model):
        def sample(step):
            assert not model.training and not torch.is_grad_enabled()
            torch.randn(step)
            told.append(step)
            return tmp_path

        return sample

    plain, sampled, stopped, resumed = (linear() for _ in range(4))
    run(plain, tmp_path / "plain", loss=dropping(plain), config=replace(config, sample_every=0), sample=sampler(plain))
    assert told == []
    run(sampled, tmp_path / "sampled", loss=dropping(sampled), config=config, sample=sampler(sampled))
    assert told == [4, 8]
    loss = stop_at(dropping(stopped), 5)
    assert run(stopped, tmp_path / "two", loss=loss, config=config, sample=sampler(stopped)).step == 5
    assert run(resumed, tmp_path / "two", loss=dropping(resumed), config=config, sample=sampler(resumed)).finished
    assert told == [4, 8, 4, 8]
    assert torch.equal(plain.weight, sampled.weight) and torch.equal(plain.weight, resumed.weight)
    assert records(tmp_path / "plain") == records(tmp_path / "sampled") == records(tmp_path / "two")


def test_a_signal_ends_the_samples_and_saves(tmp_path):
    model = linear()

    def sample(step):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    config = replace(CONFIG, sample_every=4)
    with at_most(20):
        result = run(model, tmp_path, config=config, sample=sample)
    assert (result.step, result.signal, result.finished) == (4, signal.SIGTERM, False)
    assert read_json(tmp_path / "state" / "last" / "state.json")["step"] == 4


def test_samples_have_the_time_that_validation_leaves(tmp_path, monkeypatch):
    """A minute, of which validation takes 50 s. One that takes it all is made up for, and so are its samples."""
    clock, allowed, told = [0.0], [], []
    monkeypatch.setattr(loops.time, "monotonic", lambda: clock[0])

    @contextmanager
    def at_once(self, seconds=math.inf):
        allowed.append(seconds)
        yield
        if clock[0] > 60 and math.isfinite(seconds):
            raise Stopped

    monkeypatch.setattr(StopSignals, "at_once", at_once)

    def trained(folder: str, takes: float):
        def validate():
            clock[0] += takes
            return {"loss": 1.0}

        config = replace(CONFIG, max_steps=4, max_minutes=1, eval_every=4, sample_every=4)
        kwargs = {"validate": validate, "sample": lambda step: told.append(step) or tmp_path}
        return run(linear(), tmp_path / folder, config=config, **kwargs)

    assert trained("quick", 50.0).finished and allowed == [60.0, 10.0] and told == [4]
    clock[0] = 0.0
    assert not trained("slow", 70.0).finished and allowed[2:] == [60.0] and told == [4]
    assert trained("slow", 70.0).finished and allowed[3:] == [math.inf, math.inf] and told == [4, 4]


def test_samples_that_are_cut_off_leave_nothing(tmp_path, monkeypatch):
    """And those of a step that is done again replace the former ones."""
    motions = [Motion(np.random.default_rng(i).normal(size=(8, 22, 3)), 20.0, (1, 2), "", HUMANML3D) for i in range(2)]
    with monkeypatch.context() as patch:
        drawn = []

        def show(path, *_):
            if drawn:
                raise Stopped
            drawn.append(path)

        patch.setattr(samples, "show", show)
        with pytest.raises(Stopped):
            save_samples(tmp_path, 200, motions)
    assert drawn and list((tmp_path / "samples").iterdir()) == []
    folder = save_samples(tmp_path, 200, motions)
    assert save_samples(tmp_path, 200, motions[:1]) == folder
    assert {path.name for path in folder.iterdir()} == {"1.npy", "1.gif", "1.txt"}
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step_000200"]


def test_files_of_samples(tmp_path):
    joints = np.random.default_rng(0).normal(size=(8, 22, 3))
    motions = [Motion(joints + i, 20.0, (1, 2), "walks", HUMANML3D) for i in range(2)]
    far = Motion(joints + 1e6, 20.0, (3, 4), "far away", HUMANML3D)
    lines = []
    folder = save_samples(tmp_path, 200, [*motions, Motion(None, 20.0, (5, 6), "tokens")], say=lines.append)
    assert folder == tmp_path / "samples" / "step_000200" and not lines
    names = {f"{i}.{end}" for i in (1, 2) for end in ("npy", "gif", "txt")} | {"3.txt"}
    assert {path.name for path in folder.iterdir()} == names
    assert np.array_equal(np.load(folder / "1.npy"), motions[0].joints)
    assert (folder / "1.gif").read_bytes()[:6] == b"GIF89a"
    untold = save_samples(tmp_path, 300, [replace(motions[0], tokens=())])  # as of a continuous model
    assert {path.name for path in untold.iterdir()} == {"1.npy", "1.gif"}
    save_samples(tmp_path, 400, [far], say=lines.append)  # a model that has learnt nothing may write anything
    assert len(lines) == 1 and "where nobody is" in lines[0]


def test_a_stage_that_writes_no_samples_says_so(script, tiny, tmp_path):
    train = ("finetune", "--stage", 3, "--data", tiny.data, "--backbone", tiny.backbone, "--vqvae", tiny.vqvae, *FEW)
    done = script(*train, "--out", tmp_path / "run", "--tasks", "m2t=1", "--sample-every", 2, "--dry-run")
    assert done.code == 0, done.err
    assert done.out.count("no samples are written: stage 3 learns m2t, and not t2m") == 1
    for asked in ((), ("--sample-every", 2)):
        done = script(*train, "--out", tmp_path / "run", "--tasks", "t2m=1", *asked, "--dry-run")
        assert done.code == 0 and "no samples" not in done.out, done.err
    lines = []
    sharded = SimpleNamespace(shard=True, plan=SimpleNamespace(job=SimpleNamespace(number=1, tasks={"t2m": 1.0})))
    assert language_sampler(sharded, lines.append) is None
    assert lines == ["no samples are written: with --shard no process has the whole model"]


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_motion_errors_are_those_of_the_decoded_codes(tiny):
    """By hand: each pair decoded alone, over the frames that both have; zero for the same codes."""
    motion_tokenizer = MotionTokenizer.load(tiny.vqvae)
    written, real = [[1, 2, 3, 4], [5, 6]], [[9, 8, 7], [5, 6]]
    found = motion_errors(written, real, motion_tokenizer)["mpjpe_mm"]
    a, b = (motion_tokenizer.decode([codes])[0][:12] for codes in (written[0], real[0]))
    a, b = a - a[:, :1], b - b[:, :1]  # the pelvis in its place in each frame
    by_hand = 1000 * np.linalg.norm(a - b, axis=-1).mean() / 2
    assert found == pytest.approx(by_hand, rel=1e-4)  # batched against alone: fp32 convolutions
    assert motion_errors(real, real, motion_tokenizer)["mpjpe_mm"] == 0


@for_each(
    "record, panels",
    [
        ({"loss": 1.0}, 1),
        ({"val_loss": 1.0}, 1),
        ({"loss": 1.0, "lr": 1e-3, "grad_norm": 2.0, "tokens_per_s": 900}, 4),
        ({"loss": 1.0, "lr": 1e-3, "frames_per_s": 900}, 3),
        ({"lr": 1e-3}, 0),
    ],
)
def test_curves_have_a_panel_for_what_was_measured(tmp_path, monkeypatch, record, panels):
    from motiongpt.render import figures

    seen = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: seen.append(figure) or path)
    (tmp_path / "m.jsonl").write_text("".join(json.dumps({"step": i, **record}) + "\n" for i in (10, 20)))
    plot_losses(tmp_path / "m.jsonl", tmp_path / "loss.png")
    assert len(seen) == (panels > 0)
    if panels:
        axes = seen[0].axes
        assert len(axes) == panels and axes[-1].get_xlabel() == "step"
        assert all(line.get_xdata().tolist() == [10, 20] for panel in axes for line in panel.lines)


# ---- the flags ------------------------------------------------------------------------------------------------------

FEW = ("--max-steps", 4, "--eval-every", 2, "--batch-size", 8, "--lora-r", 4, "--lora-alpha", 4, "--log-every", 1)


@pytest.mark.slow
@needs_tensorboard
def test_a_language_stage_is_watched(script, tiny, tmp_path, monkeypatch):
    """Every tag, samples as moving images, files of samples, and the weights of a training that nobody watches."""
    monkeypatch.chdir(tmp_path)
    train = ("finetune", "--stage", 2, "--data", tiny.data, "--backbone", tiny.backbone, "--vqvae", tiny.vqvae, *FEW)
    done = script(*train, "--out", "watched", "--log-dir", "--sample-every", 2)
    assert done.code == 0, done.err
    log = read_log(Path("logs/watched/stage2"))
    tags = log.Tags()
    wanted = {"language_model_loss", "val_language_model_loss", "motion_reconstruction", "lr", "tokens_per_s"}
    wanted |= {f"{start}loss/{task}" for start in ("", "val_") for task in ("t2m", "m2t", "denoise")}
    assert wanted | {"grad_norm", "val_edit_distance", "val_edit_share"} == set(tags["scalars"])
    assert set(tags["images"]) == {f"samples/{i}" for i in range(1, 5)}
    folder = Path("watched/stage2/samples")
    assert [path.name for path in sorted(folder.iterdir())] == ["step_000002", "step_000004"]
    for i in range(1, 5):
        image = log.Images(f"samples/{i}")
        assert [event.step for event in image] == [2, 4] and image[0].width == image[0].height == 240
        assert image[1].encoded_image_string == (folder / "step_000004" / f"{i}.gif").read_bytes()
        codes = (folder / "step_000004" / f"{i}.txt").read_text().count("<motion_")
        assert np.load(folder / "step_000004" / f"{i}.npy").shape == (4 * codes, 22, 3)
    assert script(*train, "--out", "plain").code == 0
    pair = [read_tensors(Path(run) / "stage2" / "adapter_model.safetensors") for run in ("watched", "plain")]
    assert all(torch.equal(tensor, pair[1][name]) for name, tensor in pair[0].items())


@pytest.mark.slow
def test_samples_are_what_sample_py_writes(script, tiny, tmp_path, monkeypatch):
    """Those of the last step, if that is also the best model: the same sentence, person and seed."""
    from motiongpt.generator import MotionGenerator

    train = ("finetune", "--stage", 3, "--data", tiny.data, "--backbone", tiny.backbone, "--vqvae", tiny.vqvae)
    few = (
        "--max-steps",
        4,
        "--eval-every",
        4,
        "--lora-r",
        4,
        "--lora-alpha",
        4,
        "--batch-size",
        8,
        "--sample-every",
        4,
    )
    done = script(*train, *few, "--out", tmp_path / "run", "--precision", "fp32")
    assert done.code == 0, done.err
    folder = tmp_path / "run" / "stage3" / "samples" / "step_000004"
    generator = MotionGenerator.load(tmp_path / "run")
    meta = read_json(tmp_path / "run" / "config.json")
    assert meta["TrainConfig"]["sample_every"] == 4
    held_out = [entry for entry in json.loads(tiny.data.read_text()) if entry.get("split") == "val"]
    asked = {(entry["text_query"], entry["participant_id"]) for entry in held_out}
    written = {(folder / f"{i}.txt").read_text() for i in range(1, 5)}
    answers = set()
    for text, person in asked:
        for seed in range(4):
            motion = generator.generate(text, person, seed=seed)
            motion.save(tmp_path / "one.txt")
            answers.add((tmp_path / "one.txt").read_text())
    assert written <= answers


@pytest.mark.slow
@needs_tensorboard
def test_a_tokenizer_is_watched(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_dataset(tmp_path / "data", ["walks"] * 6, training=4)
    small = ("--codes", 8, "--code-dim", 4, "--width", 8, "--depth", 1, "--window", 32, "--batch-size", 4)
    few = ("--max-steps", 2, "--eval-every", 2, "--log-every", 1, "--sample-every", 2, "--log-dir", "board")
    done = script("train_vqvae", "--data", "data", "--out", "vq", *small, *few)
    assert done.code == 0, done.err
    log = read_log(Path("board/vq"))
    wanted = {"loss", "reconstruction_loss", "commit_loss", "perplexity", "motion_reconstruction", "val_loss", "lr",
              "frames_per_s", "val_perplexity", "val_reconstruction_loss", "grad_norm"}  # fmt: skip
    assert wanted <= set(log.Tags()["scalars"]) and not set(TOKENIZER_TAGS) & set(log.Tags()["scalars"])
    assert set(log.Tags()["images"]) == {"samples/1", "samples/2"}  # of the two validation clips
    image = log.Images("samples/1")[0]
    assert image.width == 2 * image.height  # the clip, and what the tokenizer makes of it


@pytest.mark.slow
@needs_tensorboard
def test_debug_runs_every_path_of_a_stage(script, tiny, tmp_path, monkeypatch):
    """Training, validation, decoding, samples, a save, an export, curves and TensorBoard, in less than a minute."""
    monkeypatch.chdir(tmp_path)
    train = (
        "finetune",
        "--stage",
        3,
        "--debug",
        "--data",
        tiny.data,
        "--backbone",
        tiny.backbone,
        "--vqvae",
        tiny.vqvae,
    )
    with at_most(60):
        done = script(*train, "--out", "run", "--log-dir", "--lora-r", 4, "--lora-alpha", 4)
    assert done.code == 0, done.err
    stage = tmp_path / "run" / "stage3"
    for name in ("loss.png", "state/last/state.json", "adapter_model.safetensors", "samples/step_000005/1.gif"):
        assert (stage / name).is_file(), name
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 5] and lines[-1]["val_mpjpe_mm"] > 0
    assert {"motion_reconstruction", "loss/t2m"} <= set(scalars(tmp_path / "logs" / "run" / "stage3"))


def test_tags_of_tasks():
    assert language_tags({"t2m": 0.5})["val_t2m"] == "val_loss/t2m"


# ---- time and signals -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_time_that_runs_out_ends_a_validation_and_a_resume_makes_up_for_it(tmp_path):
    """It would take ten minutes. The next call finishes it first, whatever its time, or nobody ever would."""
    config = replace(CONFIG, eval_every=4, save_every=1000, max_minutes=2 / 60)
    model = linear()
    seen = []

    def slow():
        seen.append("begun")
        time.sleep(600)

    result = run(model, tmp_path / "two", config=config, validate=slow)
    assert (result.step, result.signal, result.finished) == (4, None, False) and seen == ["begun"]
    state = read_json(tmp_path / "two" / "state" / "last" / "state.json")
    assert (state["step"], state["unvalidated"], state["finished"]) == (4, True, False)

    def brief():
        time.sleep(0.2)
        return {"loss": 1.0}

    again = linear()
    result = run(again, tmp_path / "two", config=replace(config, max_minutes=0.1 / 60), validate=brief)
    assert result.step < 10 and not result.unvalidated and records(tmp_path / "two")[4]["val_loss"] == 1.0
    assert run(again := linear(), tmp_path / "two", config=replace(config, max_minutes=0), validate=brief).finished
    whole = linear()
    run(whole, tmp_path / "whole", config=replace(config, max_minutes=0), validate=brief)
    assert torch.equal(again.weight, whole.weight) and records(tmp_path / "two") == records(tmp_path / "whole")


def test_the_clock_of_a_block_that_ends_in_time_stops_nothing():
    with catch_signals() as asked:
        for _ in range(50):  # many a time the clock rings just as the block ends
            try:
                with asked.at_once(0.002):
                    time.sleep(0.0019)
            except Stopped:
                pass
        time.sleep(0.05)
        assert not asked() and asked.received is None
        began = time.monotonic()
        with pytest.raises(Stopped), asked.at_once(0.01):
            time.sleep(60)  # interrupted, not waited for
        assert time.monotonic() - began < 50
        with pytest.raises(Stopped), asked.at_once(0.0):
            time.sleep(5)
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked() and asked.received == signal.SIGTERM


def test_outside_the_main_thread_the_clock_rings_nobody():
    """Whoever has the handlers of the program keeps them."""
    former, ended = signal.getsignal(signal.SIGTERM), []

    def work():
        with catch_signals() as asked, asked.at_once(0.01):
            time.sleep(0.1)
        ended.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [False] and signal.getsignal(signal.SIGTERM) is former


def test_hours_and_minutes_are_added_and_are_for_the_whole_command(monkeypatch):
    assert TrainConfig().budget_seconds == math.inf
    assert TrainConfig(max_hours=1.5, max_minutes=30).budget_seconds == 2 * 3600
    args = type("Args", (), {"began": time.monotonic() - 600})
    left = within_budget(TrainConfig(max_hours=1.0), args).budget_seconds
    assert left == pytest.approx(3000, abs=5)
    assert 0 < within_budget(TrainConfig(max_minutes=5), args).budget_seconds < 1  # the time is over: no step is taken
    assert within_budget(TrainConfig(), args) == TrainConfig()


@for_each("number, code", [(None, 0), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_says_what_ended_it(tmp_path, capsys, number, code):
    model = linear()

    def loss(batch):
        if number is not None:
            os.kill(os.getpid(), number)
        return squares(model)(batch)

    config = CONFIG if number else replace(CONFIG, max_minutes=1e-9)
    result = run(model, tmp_path, loss=loss, config=config)
    assert say_stopped(result, argparse.Namespace(fresh=False)) == code
    said = capsys.readouterr().out
    assert "stopped at step" in said and said.startswith("time is up: ") == (number is None)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_a_signal_saves_and_ends_the_script(tiny, tmp_path):
    script = str(ROOT / "scripts" / "finetune.py")
    train = ["--stage", "3", "--data", tiny.data, "--backbone", tiny.backbone, "--out", tmp_path / "run", "--max-steps",
             "100000", "--lora-r", "4", "--lora-alpha", "4", "--batch-size", "4", "--log-every", "1"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, script, *map(str, train)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout:
        if line.startswith("step      3/"):
            process.terminate()
            break
    out, err = process.communicate(timeout=250)
    assert process.returncode == 143 and "stopped at step" in out and "Traceback" not in err, err
    state = read_json(tmp_path / "run" / "stage3" / "state" / "last" / "state.json")
    assert state["step"] >= 3 and not state["finished"]


@for_each("asked", [True, False])
def test_deterministic_is_for_the_training_alone(tmp_path, monkeypatch, asked):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    model, seen = linear(), []

    def loss(batch):
        seen.append((torch.are_deterministic_algorithms_enabled(), os.environ.get("CUBLAS_WORKSPACE_CONFIG")))
        return squares(model)(batch)

    run(model, tmp_path, loss=loss, config=replace(CONFIG, deterministic=asked, max_steps=1))
    assert seen == [(True, ":4096:8") if asked else (False, None)]
    assert not torch.are_deterministic_algorithms_enabled()
    again = linear()
    run(again, tmp_path / "plain", config=replace(CONFIG, max_steps=1))
    assert torch.equal(model.weight, again.weight)  # on the CPU nothing changes
