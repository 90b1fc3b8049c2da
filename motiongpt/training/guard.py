"""A guard against steps that would undo training: one bad batch must not cost a day.

A step is a spike if its loss or its gradient norm is more than `times` the largest of the last steps that were taken.
It is not taken, whatever clipping would make of it: clipped, it still points wherever the bad batch does. A codebook is
put back too. Why the largest and not the median: where small batches of several tasks take turns, one task may cost
seven times what another does, and a guard that compares with the median never lets it learn (LOG.md has the numbers).

It begins after a whole window of steps. The largest of fewer says too little where one batch in ten is a hard one: a
flow on motion capture had three of its first 75 steps skipped when the guard began after 20, and none that began later.

What the guard remembers is in `LoopState`, so a resumed training skips what an uninterrupted one does. It says nothing
of losses that are not finite: the loop skips those itself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from motiongpt.training.state import LoopState

MAX_BAD_STEPS = 10  # steps in a row whose loss or gradient is not finite before the run gives up
WINDOW = 64  # steps that are looked back at
MOST_IN_A_ROW = 5  # then it is no bad batch: the training has changed, and the guard begins anew


def judge_step(
    state: LoopState, values: Mapping[str, float], times: float, floors: Mapping[str, float] | None = None
) -> str | None:
    """Judge a step by its values ("loss", "gradient norm"), and note in `state` what it was.

    Returns None for a step to take, whose values are remembered. Of a spike it returns a line for people: it is
    counted, its values are not remembered, and the caller must not take it. `times` 0 turns all of that off.

    Args:
        floors: values up to which a number is no spike, such as the norm to which gradients are clipped. A training
            whose gradients grow from nearly nothing, as a tokenizer's do, is left alone below it.
    """
    if not times:
        return None
    floors = floors or {}
    for name, value in values.items():
        known = state.recent.get(name, [])
        # a loss that is not positive, as that of rewards may be, has no multiples
        if len(known) == WINDOW and value > max(times * max(known), floors.get(name, 0.0)) and max(known) > 0:
            state.spikes += 1
            state.spikes_in_a_row += 1
            if state.spikes_in_a_row >= MOST_IN_A_ROW:
                state.recent, state.spikes_in_a_row = {}, 0
            largest = f"the largest of the last {len(known)} steps, {max(known):.3g}"
            return f"{name} {value:.3g} is {value / max(known):.1f} times {largest}: the step is skipped"
    state.spikes_in_a_row = 0
    for name, value in values.items():
        state.recent[name] = [*state.recent.get(name, []), value][-WINDOW:]
    return None


def check_alive(state: LoopState, folder: Path) -> None:
    """FloatingPointError after too many steps in a row that were not finite; it names the last good checkpoint."""
    if state.bad_in_a_row < MAX_BAD_STEPS:
        return
    last = folder / "state" / "last"
    good = f"the last good checkpoint is {last}" if last.is_dir() else "nothing was saved yet"
    raise FloatingPointError(
        f"the loss was not finite for {MAX_BAD_STEPS} steps in a row, step {state.step}; {good}; try a lower --lr"
    )


def buffers_of(module: nn.Module) -> list[Tensor]:
    """Copies of the buffers: a codebook learns in the forward pass, before anybody knows that the step is a spike."""
    return [buffer.clone() for buffer in module.buffers()]


@torch.no_grad()
def put_back(module: nn.Module, kept: Sequence[Tensor]) -> None:
    """Undo what a step has changed in the buffers; `kept` is from `buffers_of`."""
    for buffer, former in zip(module.buffers(), kept, strict=True):
        buffer.copy_(former)
