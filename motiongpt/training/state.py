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

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: no tensors, and no infinity, which JSON lacks."""
        best = None if self.best == math.inf else self.best
        sums = {name: [float(value) for value in seen] for name, seen in self.sums.items()}
        return vars(self) | {"best": best, "sums": sums}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LoopState":
        """Inverse of `to_dict`; older states lack four of the keys. ValueError for values that no run can have."""
        counts = {name: get_field(values, name, int, "", least=0) for name in ("step", "skipped")}
        counts |= {name: get_field(values, name, int, "", 0, least=0) for name in ("worse", "bad_in_a_row")}
        best = get_field(values, "best", float, "", None if "best" in values else REQUIRED)
        sums = get_field(values, "sums", dict, "", {})
        if not all(isinstance(seen, list) and all(is_kind(x, float) for x in seen) for seen in sums.values()):
            raise ValueError("sums must be lists of finite numbers")
        unvalidated = get_field(values, "unvalidated", bool, "", False)
        return cls(best=math.inf if best is None else best, sums=sums, unvalidated=unvalidated, **counts)


def check_saved(values: dict[str, Any]) -> None:
    """ValueError for a state.json that no run can have written, such as a step beyond the last one."""
    for name in ("fingerprint", "scaler"):
        get_field(values, name, dict, "")
    total = get_field(values, "total_steps", int, "", least=1)
    if LoopState.from_dict(values).step > total:
        raise ValueError(f"step {values['step']} is beyond its own total_steps {total}")
