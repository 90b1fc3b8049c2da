"""The numbers that a training carries from step to step, as they are saved beside its tensors."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from motiongpt.files.fields import REQUIRED, get_field, is_kind


@dataclass
class LoopState:
    """The numbers that a run carries from step to step. With the tensors they are all that a resume needs.

    Nothing here belongs to one process or one call: no clock, no device, no rank.
    """

    step: int = 0
    best: float = math.inf  # lowest validation loss
    worse: int = 0  # validations in a row that were no better
    skipped: int = 0  # steps whose loss or gradient was not finite
    bad_in_a_row: int = 0  # how many of them came last, without a good step in between
    sums: dict[str, list[float | Tensor]] = field(default_factory=dict)  # numbers since the last log line
    unvalidated: bool = False  # a signal ended the validation of this step, a resume does it first
    recent: dict[str, list[float]] = field(default_factory=dict)  # loss and gradient norm of the last steps taken
    spikes: int = 0  # steps that were skipped for these, see guard.py
    spikes_in_a_row: int = 0

    def count(self, values: dict[str, float | Tensor]) -> None:
        """Remember the numbers of a step for `take_means`."""
        for name, value in values.items():
            number = value.detach() if isinstance(value, Tensor) else float(value)  # reading a tensor would wait
            self.sums.setdefault(name, []).append(number)

    def take_means(self) -> dict[str, float]:
        """The means of what was counted since the last call."""
        means = {name: sum(map(float, values)) / len(values) for name, values in self.sums.items()}
        self.sums = {}
        return means

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: no tensors; numbers that JSON lacks as None (the best score) or as text ("nan", "inf")."""
        best = None if self.best == math.inf else self.best
        sums = {name: [_json_number(float(value)) for value in seen] for name, seen in self.sums.items()}
        return vars(self) | {"best": best, "sums": sums}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LoopState":
        """Inverse of `to_dict`; older states lack some of the keys. ValueError for values that no run can have."""
        counts = {name: get_field(values, name, int, "", least=0) for name in ("step", "skipped")}
        later = ("worse", "bad_in_a_row", "spikes", "spikes_in_a_row")
        counts |= {name: get_field(values, name, int, "", 0, least=0) for name in later}
        best = get_field(values, "best", float, "", None if "best" in values else REQUIRED)
        lists = {name: get_field(values, name, dict, "", {}) for name in ("sums", "recent")}
        for name, found in lists.items():
            if not all(isinstance(seen, list) and all(map(_is_number, seen)) for seen in found.values()):
                raise ValueError(f"{name} must be lists of numbers")
            lists[name] = {key: [float(x) if isinstance(x, str) else x for x in seen] for key, seen in found.items()}
        unvalidated = get_field(values, "unvalidated", bool, "", False)
        return cls(best=math.inf if best is None else best, unvalidated=unvalidated, **lists, **counts)


NOT_FINITE = ("nan", "inf", "-inf")  # as Python writes and reads them


def _json_number(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)


def _is_number(value: Any) -> bool:
    return is_kind(value, float) or value in NOT_FINITE


def check_saved(values: dict[str, Any]) -> None:
    """ValueError for a state.json that no run can have written, such as a step beyond the last one."""
    for name in ("fingerprint", "scaler"):
        get_field(values, name, dict, "")
    get_field(values, "micro_batches", int, "", 1, least=1)  # older states have no such key
    total = get_field(values, "total_steps", int, "", least=1)
    if LoopState.from_dict(values).step > total:
        raise ValueError(f"step {values['step']} is beyond its own total_steps {total}")
