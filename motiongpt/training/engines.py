"""Who computes the gradients of a step: one process, several with whole weights, or several with a part of them each.

    Alone       the loss and its gradients as they are
    Replicas    DistributedDataParallel: gradients are averaged over the processes while they are computed
    Shards      fully_shard (FSDP2): a process keeps its part of weights, gradients and moments, and gathers the
                weights of one block at a time

Replicas and shards average. A loss that is multiplied by the number of processes and divided by the labels of all of
them therefore gives the gradient of the large batch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from motiongpt.checkpoint import pack_state, save_shards, save_state, state_tensors
from motiongpt.signals import Stopped
from motiongpt.training.world import World

Loss = Callable[[dict[str, Any]], tuple[Tensor, dict[str, Any]]]


class Alone:
    """One process."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        self.module, self.loss = module, loss

    def backward(self, value: Tensor, last: bool) -> None:
        """Add the gradients of `value` (); with those of the `last` micro-batch, the step's are whole everywhere."""
        value.backward()

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
        """Scale the gradients down to a norm of `limit`, if it is not 0; returns the norm before, ()."""
        return torch.nn.utils.clip_grad_norm_(parameters, limit or math.inf)

    def evaluate(self, measure: Callable[[], Any]) -> Any:
        """What `measure` returns; it may call the module directly."""
        return measure()

    @contextmanager
    def whole(self) -> Iterator[bool]:
        """Whether this process may read and write the whole weights within the block."""
        yield True

    def save(self, folder: Path, optimizer: torch.optim.Optimizer, state: dict) -> None:
        """Save module, optimizer and `state` to resume from."""
        save_state(folder, pack_state(self.module, optimizer), state)


class Replicas(Alone):
    """Every process has the whole module. Only what is trained is synchronised: no frozen weight, no buffer."""

    def __init__(self, module: nn.Module, loss: Loss, world: World) -> None:
        super().__init__(module, loss)
        self.is_first = world.is_first
        self.ddp = DistributedDataParallel(_LossEnd(module), gradient_as_bucket_view=True)

    def backward(self, value: Tensor, last: bool) -> None:
        with nullcontext() if last else self.ddp.no_sync():
            self.ddp(value).backward()

    @contextmanager
    def whole(self) -> Iterator[bool]:
        yield self.is_first

    def save(self, folder: Path, optimizer: torch.optim.Optimizer, state: dict) -> None:
        if self.is_first:
            super().save(folder, optimizer, state)


class _LossEnd(nn.Module):
    """The end of a forward pass, which is all of it that DDP has to see: from there it waits for the gradients.

    DDP would wait for ever for a parameter that a batch does not use, or search the whole graph for it in every pass.
    Here every parameter belongs to the loss; the gradient of an unused one is zero.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.trained = nn.ParameterList(p for p in module.parameters() if p.requires_grad)

    def forward(self, value: Tensor) -> Tensor:
        return _Uses.apply(value, *self.trained)


class _Uses(torch.autograd.Function):
    """The value (), which from now on depends on all parameters, though with no gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *parameters: Tensor) -> Tensor:
        ctx.count = len(parameters)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, *[None] * ctx.count


class Shards(Alone):
    """Every process has a part of each parameter. Whatever calls the module runs inside `loss` or `evaluate`."""

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        world: World,
        blocks: Sequence[nn.Module],
        precision: str,
        device: torch.device,
    ) -> None:
        """`blocks` are gathered one at a time. Raises ValueError for fp16: its scaler looks at one process's part."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        if precision == "fp16":
            raise ValueError("--shard cannot scale fp16 gradients; use --precision bf16 or fp32")
        super().__init__(module, self._run_loss)
        self._loss, self.is_first = loss, world.is_first
        self.root = _Root(module)
        mesh = init_device_mesh(device.type, (world.size,))
        # weights travel in bf16, gradients are added up in fp32
        low = torch.bfloat16 if precision == "bf16" else None
        policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32)
        for part in (*blocks, self.root):
            fully_shard(part, mesh=mesh, mp_policy=policy)

    def _run_loss(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        return self.root(self._loss, batch)

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
        return super().clip(parameters, limit).full_tensor()

    def evaluate(self, measure: Callable[[], Any]) -> Any:
        def attempt() -> tuple[Any, Stopped | None]:
            try:
                return measure(), None
            except Stopped as stopped:  # a forward pass that an exception leaves keeps its weights gathered
                return None, stopped

        found, stopped = self.root(attempt)
        self.root.reshard()  # the root does not do it by itself
        if stopped is not None:
            raise stopped
        return found

    @contextmanager
    def whole(self) -> Iterator[bool]:
        """The first process gets whole weights on the CPU in place of its parts."""
        places = [
            (owner, name, p)
            for owner in self.module.modules()
            for name, p in owner._parameters.items()
            if p is not None
        ]
        try:
            for owner, name, part in places:
                full = part.detach().full_tensor()  # all processes have to ask for it
                if self.is_first:
                    owner._parameters[name] = nn.Parameter(full.cpu(), part.requires_grad)
            yield self.is_first
        finally:
            for owner, name, part in places:
                owner._parameters[name] = part

    def save(self, folder: Path, optimizer: torch.optim.Optimizer, state: dict) -> None:
        save_shards(folder, state_tensors(self.module, optimizer), state, self.is_first)


class _Root(nn.Module):
    """Runs a function as a forward pass, before which FSDP gathers the weights outside of the blocks."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *inputs: Any) -> Any:
        return function(*inputs)


def make_engine(
    module: nn.Module,
    loss: Loss,
    world: World,
    blocks: Sequence[nn.Module] | None,
    precision: str,
    device: torch.device,
) -> Alone:
    """The engine for a world; with `blocks`, one that shards, which makes new parameters: the optimizer comes after."""
    if world.size == 1:
        return Alone(module, loss)
    if blocks is None:
        return Replicas(module, loss, world)
    return Shards(module, loss, world, blocks, precision, device)
