"""How many threads an operation feeds."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

ONE_THREAD = 2 << 20  # floating-point operations of a product up to which a second thread costs more than it does


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads of PyTorch inside; then as many as before."""
    former = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(former)


def threads_for(operations: int) -> AbstractContextManager[None]:
    """One thread inside, if no call there has more floating-point operations than these few; else as many as before.

    Work of some microseconds is done before a second thread has begun, and on a busy machine the first one then waits
    for it until the scheduler lets it run: some milliseconds for each call.
    """
    return nullcontext() if operations > ONE_THREAD or torch.get_num_threads() == 1 else threads(1)
