"""One function over many items, in several processes, with the results in order.

A worker computes with one thread. The way a sum is split over threads changes its last bits, and workers with several
threads would compete for cores. An item travels between processes, so it should name its data, not hold it.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import TypeVar

import torch

from motiongpt.kernels.threads import threads

Item, Result = TypeVar("Item"), TypeVar("Result")
FEW = 32  # fewer items are not worth starting processes
CHUNK = 8  # items that a worker gets at once: a message costs more than its bytes


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`function` of every item, in the order of the items. With several workers both must pickle.

    Raises OSError if a worker died.
    """
    items = iter(items)
    head = list(islice(items, FEW))
    if workers <= 1 or len(head) < FEW:
        for item in chain(head, items):
            with threads(1):  # the same bits as in a worker
                result = function(item)
            yield result
        return
    pool = ProcessPoolExecutor(workers, _context(), initializer=_start_worker)
    items = chain(head, items)
    pending = deque()
    try:
        # only a few chunks are under way: items may hold their arrays after all
        while chunk := list(islice(items, CHUNK)):
            pending.append(pool.submit(_each, function, chunk))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process died (out of memory?); the same command goes on from here, fewer --workers need less"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _each(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]


def _context() -> multiprocessing.context.BaseContext:
    """How workers start: on Linux as forks of one clean process that has imported PyTorch.

    Elsewhere each worker imports it for itself, which costs a second or two and 150 MB.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "motiongpt.data.prepare.build"])
    return context


def _start_worker() -> None:
    """Use one thread, leave Ctrl-C to the process that started this one, and end when that one ends."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
