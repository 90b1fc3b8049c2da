"""A script that torchrun has started once for each device: the first process speaks, and one message ends them all.

Like parser.py, this file imports no torch, unless there are several processes.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

Shared = Callable[[argparse.Namespace], bool]
"""Whether a script may be run by several processes with these arguments."""


def never(args: argparse.Namespace) -> bool:
    return False


def always(args: argparse.Namespace) -> bool:
    return True


def process_of_environment() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun says it in the environment; 0 and 1 without it."""
    if any(name not in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


@contextmanager
def first_speaks() -> Iterator[None]:
    """Within it, a process that is not the first prints nothing. What its errors say is printed outside."""
    if process_of_environment()[0] == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@contextmanager
def joined(parser: argparse.ArgumentParser, args: argparse.Namespace, shared: Shared) -> Iterator[None]:
    """Work with the other processes within the block; `args.device` becomes this one's. Alone, nothing happens.

    Raises ValueError for arguments that are not `shared`, and what `join_world` raises.
    """
    rank, size = process_of_environment()
    if size == 1:
        yield
        return
    if not shared(args) and rank:
        raise SystemExit(2)
    if not shared(args):
        raise ValueError("this runs in one process: start it with python, not with torchrun")
    from motiongpt.training.world import join_world

    parser.prog = f"process {rank + 1} of {size}: {parser.prog}"  # errors begin with it
    with first_speaks(), join_world(args.device) as (_, args.device):
        print(f"{size} processes, the first on {args.device}")
        yield
