"""What a training keeps in memory: frozen weights in fewer bytes, and steps of several small batches.

Activations are the other large part: `layers.run_block` computes them again instead of keeping them.
"""

from typing import Any, Protocol

import torch
from torch import nn

MEASURED = 32  # micro-batches that the mean number of tokens is taken of


def base_dtype(wanted: str, precision: str, device: torch.device) -> torch.dtype:
    """The number format that LoRA's frozen weights are kept in; `wanted` is --base-dtype, `precision` is resolved.

    `auto` is that of the precision on CUDA, where autocast would round every frozen matrix to it at every use, and fp32
    elsewhere. Raises ValueError for bf16 under another precision: a product needs both its sides in one format.
    """
    known = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if wanted == "auto":
        return known[precision] if device.type == "cuda" else torch.float32
    if wanted == "bf16" and precision != "bf16":
        raise ValueError(f"--base-dtype bf16 needs --precision bf16, got {precision}")
    return known[wanted]


@torch.no_grad()
def cast_frozen(model: nn.Module, dtype: torch.dtype) -> None:
    """Keep the matrices of linear layers and tables that are not trained in `dtype`.

    Under autocast to `dtype` a linear layer computes the same bits as before, as autocast would round its matrix at
    every use; so does all of the model, if its file was written in `dtype`. Else rows of a table are rounded once.
    Norms stay as they are: they are small, and autocast does not round them.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            for name in ("weight", "bias"):
                parameter = getattr(module, name, None)
                if parameter is not None and not parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)


def parameter_bytes(model: nn.Module) -> int:
    """The memory of a model's parameters; a tied table counts once."""
    return sum(p.numel() * p.element_size() for p in model.parameters())


class Measurable(Protocol):
    """What `accumulation` reads of `loops.Batches`."""

    per_epoch: int

    def __call__(self, micro_step: int) -> dict[str, Any]: ...


def accumulation(batches: Measurable, tokens_per_step: int) -> tuple[int, float]:
    """How many micro-batches come nearest to a step of so many tokens, at least one, and the mean tokens of each.

    The mean is over the first `MEASURED` micro-batches, which are a function of data and seed: it is the same on every
    machine.
    """
    count = min(batches.per_epoch, MEASURED)
    mean = sum(int(batches(step)["units"]) for step in range(count)) / count
    return max(1, round(tokens_per_step / mean)), mean
