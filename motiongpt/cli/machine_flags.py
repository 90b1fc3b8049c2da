"""`--threads`, `--profile` and `--gpu-steps`: how a script uses the machine, and where its time goes."""

import argparse
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from motiongpt.cli.parser import Parser

if TYPE_CHECKING:
    import torch

GPU_STEPS = ("plain", "recorded", "compiled")
PROFILED_STEPS = 200  # of a training; a trace of more is too large for any viewer
TOP = 10


def add_machine_flags(parser: Parser) -> None:
    threads = "CPU threads of PyTorch (default: its own choice, one per core); a small model on a busy machine is "
    parser.add_argument("--threads", type=int, metavar="N", help=f"{threads}faster with 1")
    trace = "write a trace of PyTorch's profiler to this folder, for ui.perfetto.dev, and print the "
    parser.add_argument("--profile", type=Path, metavar="DIR", help=f"{trace}{TOP} operations that took longest")


def add_gpu_steps_flag(parser: Parser) -> None:
    ways = "recorded = as a CUDA graph; compiled = by torch.compile before, up to a minute when a shape is first used"
    text = f"how a language model's steps run on a CUDA GPU (default plain); {ways}"
    parser.add_argument("--gpu-steps", choices=GPU_STEPS, help=text)


def set_gpu_steps(args: argparse.Namespace, model: object, device: "torch.device") -> None:
    """Let --gpu-steps act on a model that has written nothing yet. ValueError if there is nothing that it could do."""
    steps = getattr(args, "gpu_steps", None)  # scripts that open a model need not have the flag
    if steps in (None, "plain"):
        return
    if device.type != "cuda":
        raise ValueError(f"--gpu-steps is for CUDA GPUs, and the model is on {device}: drop the flag")
    if not hasattr(model, "steps"):
        raise ValueError("--gpu-steps is for decoder-only language models, and this run's is a T5: drop the flag")
    model.steps = steps


def on_this_machine(main: Callable[[argparse.Namespace], int | None]) -> Callable[[argparse.Namespace], int | None]:
    """A script's `main` that heeds --threads and --profile. ValueError if they make no sense."""

    @functools.wraps(main)
    def run(args: argparse.Namespace) -> int | None:
        if args.profile and "max_steps" in args and not 1 <= (args.max_steps or 0) <= PROFILED_STEPS:
            raise ValueError(f"--profile keeps every operation: it needs --max-steps of at most {PROFILED_STEPS}")
        with _threads(args.threads), _profile(args.profile):
            return main(args)

    return run


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    if count is None:
        yield
        return
    if count < 1:
        raise ValueError(f"--threads must be at least 1, got {count}")
    from motiongpt.kernels.threads import threads  # it imports torch: not for --help

    with threads(count):
        yield


@contextmanager
def _profile(folder: Path | None) -> Iterator[None]:
    if folder is None or os.environ.get("RANK", "0") != "0":  # of several processes the first is looked at
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    import torch
    from torch.profiler import ProfilerActivity, profile

    devices, order = [ProfilerActivity.CPU], "self_cpu_time_total"
    if torch.cuda.is_available():
        devices, order = [*devices, ProfilerActivity.CUDA], "self_device_time_total"
    with profile(activities=devices) as found:
        yield
    path = folder / "trace.json"
    found.export_chrome_trace(str(path))
    print(found.key_averages().table(sort_by=order, row_limit=TOP, max_name_column_width=48))
    print(f"wrote {path}; open it in ui.perfetto.dev")
