"""The guard against spikes: what it skips and what it lets pass, on made-up sequences and in a training."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import for_each
from test_loops import CONFIG, Points, linear, records, run, squares, stop_at, vqvae_job
from torch import nn

from motiongpt.config import TrainConfig
from motiongpt.files.store import read_json
from motiongpt.loops import make_optimizer
from motiongpt.stages.recipes import REWARD
from motiongpt.training.guard import MOST_IN_A_ROW, WINDOW, judge_step
from motiongpt.training.schedule import get_lr
from motiongpt.training.state import LoopState


def skipped(losses, times: float = 2.0, state: LoopState | None = None, norms=None, floors=None) -> list[int]:
    """The places of the steps that are skipped."""
    state = state or LoopState()
    norms = [1.0] * len(losses) if norms is None else norms
    pairs = enumerate(zip(losses, norms, strict=True))
    return [i for i, (loss, norm) in pairs if judge_step(state, {"loss": loss, "gradient norm": norm}, times, floors)]


def test_a_spike_is_skipped_and_not_remembered():
    """So the next one, just as large, is one too."""
    losses = [1.0] * 70 + [2.5] + [1.0] * 10 + [2.5, 2.5, 1.9, 1.0]
    state = LoopState()
    assert skipped(losses, state=state) == [70, 81, 82]
    assert state.spikes == 3 and state.spikes_in_a_row == 0 and max(state.recent["loss"]) == 1.9
    assert skipped([1.0] * len(losses), norms=losses) == [70, 81, 82]  # of the gradient norm
    assert skipped(losses, times=0) == [] and skipped(losses, times=3.0) == []


def test_it_waits_until_something_is_known_and_forgets_what_is_long_ago():
    assert skipped([1.0] * (WINDOW - 1) + [9.0]) == [] and skipped([1.0] * WINDOW + [9.0]) == [WINDOW]
    losses = [5.0] * 3 + [1.0] * WINDOW + [4.0]
    assert skipped(losses) == [len(losses) - 1]
    assert skipped(losses[:-2] + [4.0]) == []  # one 5 is still among the last


STEEP = (1.0 + 40.0 * np.exp(-np.arange(400) / 4)) * np.random.default_rng(1).lognormal(0, 0.25, 400)
HARD = {11: 3.7, 24: 2.9, 37: 8.7, 50: 5.3, 69: 14.2, 73: 5.7} | {i: 6.0 + i % 9 for i in range(100, 400, 13)}


@for_each(
    "name, losses",
    [
        ("a training that falls", [7.0 * math.exp(-i / 100) + 1 for i in range(400)]),
        # a small batch is of one task; one costs seven times what the other does, and comes once in ten steps
        ("two tasks", [0.3 if i % 10 else 2.1 for i in range(400)]),
        ("a slow rise", [1.0 + i / 100 for i in range(400)]),
        ("noise of a factor of two", np.random.default_rng(0).lognormal(0, 0.25, 400).tolist()),
        ("losses that are not positive", [-0.01 if i % 2 else -1.0 for i in range(400)]),
        ("rewards around zero", [0.0] * 70 + [1e-3]),
        ("a steep fall to a noisy plateau", STEEP.tolist()),
        # as of a flow on clips of which few are hard: the first of these say little of how hard they can be
        ("a hard example now and then", [HARD.get(i, 1.0) for i in range(400)]),
    ],
)
def test_what_an_ordinary_training_does_passes(name, losses):
    assert skipped(losses) == [] and skipped([1.0] * len(losses), norms=losses) == []


def test_a_spike_after_a_steep_fall_is_found():
    """The first losses, which were larger, are forgotten by then."""
    losses = STEEP.tolist()
    losses[200] = 12.0
    assert skipped(losses) == [200]


def test_gradients_that_grow_below_the_clip_pass():
    norms = [0.02 * 1.3 ** min(i, 13) for i in range(60)] + [0.02] * 70 + [0.9] + [0.02] * 10 + [2.0]
    assert skipped([1.0] * len(norms), norms=norms, floors={"gradient norm": 1.0}) == [len(norms) - 1]
    assert skipped([1.0] * len(norms), norms=norms) == [130, len(norms) - 1]


def test_a_training_that_has_changed_is_let_go_on():
    """After five in a row it begins anew, and then knows what is new."""
    losses = [1.0] * 70 + [8.0] * (MOST_IN_A_ROW + WINDOW) + [30.0]
    assert skipped(losses) == [*range(70, 70 + MOST_IN_A_ROW), len(losses) - 1]


@for_each("stop", range(1, 180, 13))
def test_what_it_remembers_survives_json(stop):
    rng = np.random.default_rng(0)
    losses = rng.lognormal(0, 0.2, 180).tolist()
    for i in (70, 90, 91, *range(140, 147)):
        losses[i] *= 9
    whole, first = LoopState(), LoopState()
    expected = skipped(losses, state=whole)
    found = skipped(losses[:stop], state=first)
    second = LoopState.from_dict(json.loads(json.dumps(first.to_dict())))
    found += [stop + i for i in skipped(losses[stop:], state=second)]
    assert found == expected and len(expected) == 3 + MOST_IN_A_ROW and second == whole


def test_a_state_with_impossible_values_is_refused():
    good = LoopState().to_dict()
    for bad in ({"recent": {"loss": [None]}}, {"recent": {"loss": 1.0}}, {"recent": []}, {"spikes": -1}):
        with pytest.raises(ValueError):
            LoopState.from_dict(good | bad)


# ---- in a training --------------------------------------------------------------------------------------------------

LONG = replace(CONFIG, max_steps=85)


class Bad(Points):
    """Targets of two steps are a hundred times too large."""

    STEPS = (70, 78)

    def __call__(self, micro_step: int) -> dict:
        batch = super().__call__(micro_step)
        return batch | {"y": batch["y"] * (100 if micro_step in self.STEPS else 1)}


def test_a_bad_batch_moves_nothing_and_is_told(tmp_path):
    """As if the optimizer had not been called in these steps."""
    model, clean, lines = linear(), linear(), []
    result = run(model, tmp_path, Bad(), config=LONG, log=lines.append)
    assert result.finished and read_json(tmp_path / "state" / "last" / "state.json")["spikes"] == 2
    told = [line for line in lines if "times the largest of the last" in line]
    assert [line.split()[:2] for line in told] == [["step", "71"], ["step", "79"]] and lines[-1].endswith("skipped 2")
    assert [line["step"] for line in records(tmp_path) if line.get("skipped") == 2] == list(range(79, 86))
    optimizer = make_optimizer(clean, LONG)
    for step in set(range(85)) - set(Bad.STEPS):
        for group in optimizer.param_groups:
            group["lr"] = get_lr(step, 85, LONG)
        batch = Points()(step)
        (squares(clean)(batch)[0] / batch["count"]).backward()
        nn.utils.clip_grad_norm_(clean.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(model.weight, clean.weight)
    hurt = linear()
    run(hurt, tmp_path / "without", Bad(), config=replace(LONG, guard=0.0))
    assert not torch.equal(model.weight, hurt.weight)


def test_a_codebook_is_put_back(tmp_path):
    """It learns in the forward pass. After a training of two bad steps it is that of one without these steps."""
    model, batches, loss = vqvae_job()
    buffers = []

    class Skewed:
        per_epoch = batches.per_epoch

        def __call__(self, micro_step):
            batch = batches(micro_step)
            return batch | {"motion": batch["motion"] * (100 if micro_step in Bad.STEPS else 1)}

    def watched(batch):
        buffers.append(copies(model))
        return loss(batch)

    run(model, tmp_path, Skewed(), watched, LONG)
    assert read_json(tmp_path / "state" / "last" / "state.json")["spikes"] == 2
    buffers.append(copies(model))
    for step in Bad.STEPS:
        assert all(torch.equal(a, b) for a, b in zip(buffers[step], buffers[step + 1], strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(buffers[step - 1], buffers[step], strict=True))


def copies(model) -> list[torch.Tensor]:
    return [buffer.clone() for buffer in model.buffers()]


@pytest.mark.parametrize("stop", [69, 71, 75])
def test_a_resumed_training_skips_what_an_uninterrupted_one_does(tmp_path, stop):
    model = linear()
    run(model, tmp_path / "whole", Bad(), config=LONG)
    stopped = linear()
    assert run(stopped, tmp_path / "two", Bad(), stop_at(squares(stopped), stop), LONG).step == stop
    resumed = linear()
    assert run(resumed, tmp_path / "two", Bad(), config=LONG).finished
    assert torch.equal(model.weight, resumed.weight) and records(tmp_path / "whole") == records(tmp_path / "two")
    states = [read_json(tmp_path / name / "state" / "last" / "state.json") for name in ("whole", "two")]
    assert states[0] == states[1] and states[0]["spikes"] == 2


def test_a_resume_may_turn_it_off(tmp_path):
    """Somebody whose training it stops must not have to start over."""
    assert "guard" not in TrainConfig().run_identity() and TrainConfig(guard=0.0) != TrainConfig()
    with pytest.raises(ValueError, match="--guard must be 0, or more than 1"):
        TrainConfig(guard=1.0)
    assert REWARD.values["guard"] == 0.0  # losses of rewards are about zero
