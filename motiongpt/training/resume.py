"""What a training that goes on must find again: its settings, and the micro-batches of its steps.

Whether two steps are the same is asked of what they are, not of what was typed: `--grad-accum 3` on two processes and
`--grad-accum 4` are the same steps.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motiongpt.checkpoint import differences, saved_state
from motiongpt.config import (
    ContinuousConfig,
    EvaluatorConfig,
    LoRAConfig,
    RewardConfig,
    TrainConfig,
    VQVAEConfig,
    flag_name,
)
from motiongpt.training.schedule import count_micro_batches, total_steps

FLAGS = {
    name: field.default
    for config in (EvaluatorConfig, ContinuousConfig, VQVAEConfig, RewardConfig, LoRAConfig, TrainConfig)
    for name, field in config.__dataclass_fields__.items()
    if "help" in field.metadata and name not in ("feature_dim", "joint_dim")  # which the data decides
}
"""Setting that has a flag -> its default."""


def changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`--lr 0.001 there, 0.002 here` for every value that differs between two fingerprints.

    A setting that one of them does not name has its default there: see `without_unused` of the configs.
    """
    return differences(_by_flags(saved, now), _by_flags(now, saved))


def _by_flags(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with settings by the names of their flags, and with the defaults of those that `other` alone names."""
    unnamed = [name for name in other if name in FLAGS and name not in own and other[name] != FLAGS[name]]
    values = {}
    for name, value in [*own.items(), *((name, FLAGS[name]) for name in unnamed)]:
        if isinstance(value, Mapping) and isinstance(other.get(name), Mapping):
            value = _by_flags(value, other[name])
        values[flag_name(name) if name in FLAGS else name] = value
    return values


def resumed_micro_batches(
    folder: Path, saved: Mapping[str, Any], now: Mapping[str, Any], asked: int, shares: int
) -> int:
    """Micro-batches of a step of the training in `folder`, with this state.json, that goes on with fingerprint `now`.

    `asked` and `shares` are those of `count_micro_batches`. Raises ValueError that names what has changed, or if so
    many processes cannot share a step.
    """
    there, here = dict(saved["fingerprint"]), dict(now)
    began = there.pop("grad_accum", asked)  # what was asked for then
    here.pop("grad_accum", None)
    lines = changes(there, here)
    known = saved.get("micro_batches", began)  # an older state is one process's
    wanted = count_micro_batches(asked, shares)
    if asked != began and wanted != known:
        lines.append(f"--grad-accum: a step has {known} micro-batches there, {wanted} here")
    if lines:
        raise ValueError(f"{folder} holds a run with other settings ({', '.join(lines)}); --fresh starts over")
    return count_micro_batches(asked, shares, known)


def known_micro_batches(folder: Path | None) -> int | None:
    """The micro-batches of a step of the training whose state is in `folder`; None if there is none to be read."""
    known = None if folder is None else saved_state(folder / "state").get("micro_batches")
    return known if type(known) is int and known > 0 else None  # whoever resumes from it says what is wrong with it


def planned_steps(config: TrainConfig, per_epoch: int, shares: int, folder: Path | None = None) -> int:
    """How many steps a training by so many processes will have: a new one, or the one whose state is in `folder`."""
    return total_steps(config, per_epoch, count_micro_batches(config.grad_accum, shares, known_micro_batches(folder)))
