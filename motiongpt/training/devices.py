"""What a training runs on: the device, the number format of its matrix products, and its random numbers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from `seed`; the global generator is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        yield


def seed_draws(device: torch.device, seed: int, micro_step: int, rank: int = 0) -> None:
    """Seed what is drawn on `device` and the CPU while the loss of a micro-batch is computed, such as dropout.

    A resumed run then draws the same, and so do other numbers of processes, as long as each has whole micro-batches;
    `rank` tells those apart that have rows of one.
    """
    # 3: the order of the data and the contents of batches draw from streams 0 and 1, rewarded motions from 2
    value = int(np.random.SeedSequence((seed, 3, micro_step, rank)).generate_state(1, np.uint64)[0])
    # torch.manual_seed would do the same in ten times the time, and seed the devices of other processes
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


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


@contextmanager
def evaluating(module: nn.Module, precision: str, device: torch.device) -> Iterator[None]:
    """Within it, the module is in eval mode and computes no gradient, in the precision of its training."""
    module.eval()
    try:
        with torch.no_grad(), autocast(precision, device):
            yield
    finally:
        module.train()


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within it, every operation gives the same bits on every run; one that cannot raises RuntimeError with its name.

    On the CPU that is so anyway, with the same number of threads. On CUDA sums are otherwise taken in the order in
    which threads come. cuBLAS reads its variable when it is first used, so nothing may have multiplied before.
    """
    if not wanted:
        yield
        return
    former = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # as torch.use_deterministic_algorithms does, which would also load torch's compiler for seconds
    torch.set_deterministic_debug_mode("error")
    torch.backends.cudnn.benchmark = False  # it would choose the algorithm that happens to be the fastest
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(former[0])
        torch.backends.cudnn.benchmark = former[1]
