"""What a training runs on: the device, the number format of its matrix products, and its random numbers."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from `seed`; the global generator is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        yield


def pick_device(name: str | None) -> torch.device:
    """The named device, else CUDA, else Apple's, else the CPU. Raises ValueError for one that cannot be used."""
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

    bf16 on CUDA of compute capability 8.0 or newer, and on CPUs with AMX or AVX512-bf16 if the model is large enough
    to gain from it (`bf16_pays`); fp16 on older CUDA; fp32 elsewhere.
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
    """The context that every forward pass of a run is under."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)
