"""Low-rank adapters for the linear layers of any module: LoRA (Hu et al. 2021), written out.

    x (..., in) --+-- weight (out, in), frozen ------------------(+)--> (..., out)
                  '-- dropout -- lora_A (r, in) -- lora_B (out, r) * alpha / r --'

The frozen matrix keeps its key (`weight`), so base checkpoints load with and without adapters and need no remap.
lora_B starts at zero, so a freshly injected model computes exactly what the base computes. This file knows nn.Linear,
and of the package only a faster form of the formula; `weights/adapters.py` reads and writes adapter files.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motiongpt.kernels import adapter_products


class LoRASettings(Protocol):
    """What `inject` reads; `motiongpt.config.LoRAConfig` is one."""

    lora_r: int
    lora_alpha: float
    lora_dropout: float
    lora_targets: tuple[str, ...]


class LoRALinear(nn.Linear):
    """An nn.Linear plus (alpha / r) B A; takes over the weight and bias of `linear` (no copy) and freezes them.

    A and B stay fp32 even on a bf16 base, because bf16 would round small updates away; `forward` casts them.
    `merged` says that the update is inside `weight`.
    """

    def __init__(
        self, linear: nn.Linear, r: int, alpha: float, dropout: float, generator: torch.Generator | None = None
    ) -> None:
        nn.Module.__init__(self)  # not nn.Linear's: it would allocate and draw a matrix only to be dropped
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = linear.weight.requires_grad_(False)
        self.register_parameter("bias", None if linear.bias is None else linear.bias.requires_grad_(False))
        device = self.weight.device
        bound = linear.in_features**-0.5  # nn.Linear's own initial range
        uniform = torch.rand(r, self.in_features, generator=generator) * 2 - 1  # on the generator's device, the CPU
        self.lora_A = nn.Parameter((bound * uniform).to(device))
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, r, device=device))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.r, self.alpha = r, alpha
        self.scale = alpha / r
        self.merged = False
        self.register_buffer("unmerged_weight", None, persistent=False)  # a buffer, so `.to(device)` moves it too

    def forward(self, x: Tensor) -> Tensor:
        if adapter_products.is_for(self):  # the same in training, with x kept once and every sum in place
            return adapter_products.products(x, [self])[0]
        out = F.linear(x, self.weight, self.bias)
        if self.merged:
            return out
        low = F.linear(self.dropout(x), self.lora_A.to(x.dtype))  # (..., r)
        return out + F.linear(low * self.scale, self.lora_B.to(x.dtype))

    @torch.no_grad()
    def merge(self, keep: bool = True) -> None:
        """weight <- weight + (alpha / r) B A, once. The old matrix is kept: subtracting would not restore its bits."""
        if self.merged:
            return
        update = self.scale * (self.lora_B.float() @ self.lora_A.float())
        self.unmerged_weight = self.weight.data if keep else None
        self.weight.data = (self.weight.float() + update).to(self.weight.dtype)  # a bf16 base rounds only the sum
        self.merged = True

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the frozen matrix back, bit for bit. ValueError if `merge` did not keep it."""
        if not self.merged:
            return
        if self.unmerged_weight is None:
            raise ValueError("the adapter was merged with keep=False, so the frozen weights are gone: load them again")
        self.weight.data = self.unmerged_weight
        self.unmerged_weight, self.merged = None, False


def project(x: Tensor, *layers: nn.Module) -> Sequence[Tensor]:
    """The outputs (..., out_i) of layers that all read x (..., in). Adapters in training keep one x for all of them."""
    if all(isinstance(layer, LoRALinear) and adapter_products.is_for(layer) for layer in layers):
        return adapter_products.products(x, layers)
    return [layer(x) for layer in layers]


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapted layers of a model by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def inject(
    model: nn.Module,
    config: LoRASettings,
    generator: torch.Generator | None = None,
    keep: tuple[str, ...] = ("new_in", "new_out"),
) -> list[str]:
    """Replace every nn.Linear whose last name is in `lora_targets` and freeze the rest; returns the replaced names.

    Parameters whose last name is in `keep` (the tables of new words) stay as trainable as they were. Raises ValueError
    if a target matches no layer, or if the model has adapters already.
    """
    if lora_layers(model):
        raise ValueError("the model already has adapters: load the base again to inject others")
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    last_names = {name.rpartition(".")[2] for name in linear}
    unmatched = [target for target in config.lora_targets if target not in last_names]
    if unmatched or not config.lora_targets:
        raise ValueError(
            f"--lora-targets {', '.join(unmatched) or '(empty)'} names no linear layer; "
            f"there are: {', '.join(sorted(last_names))}"
        )
    for name, parameter in model.named_parameters():
        if name.rpartition(".")[2] not in keep:
            parameter.requires_grad_(False)
    # Named before the first replacement: walking a model while changing it would visit the new layers too.
    replaced = [name for name in linear if name.rpartition(".")[2] in config.lora_targets]
    for name in replaced:
        parent, _, child = name.rpartition(".")
        layer = LoRALinear(linear[name], config.lora_r, config.lora_alpha, config.lora_dropout, generator)
        setattr(model.get_submodule(parent), child, layer.train(linear[name].training))
    return replaced


def merge(model: nn.Module, keep: bool = True) -> None:
    """Fold every adapter into its frozen matrix, which saves a product per token. keep=False saves memory too, but
    then `unmerge` is impossible."""
    for layer in lora_layers(model).values():
        layer.merge(keep)


def unmerge(model: nn.Module) -> None:
    """Undo `merge` exactly; a model that is not merged stays as it is."""
    for layer in lora_layers(model).values():
        layer.unmerge()


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The adapter matrices by name: `layers.0.self_attn.q_proj.lora_A` (r, in), `...lora_B` (out, r)."""
    layers = lora_layers(model)
    parts = ("lora_A", "lora_B")
    return {f"{name}.{part}": getattr(layer, part).detach() for name, layer in layers.items() for part in parts}


@torch.no_grad()
def load_adapter_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy adapter matrices in. ValueError, before anything is copied, unless names and shapes agree both ways."""
    own = adapter_state(model)
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    if missing or unexpected:
        raise ValueError(
            f"adapter and model disagree: {len(missing)} matrices missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}; inject the same layers as in training"
        )
    for key, value in state.items():
        if value.shape != own[key].shape:
            raise ValueError(f"{key} is {tuple(value.shape)} in the adapter and {tuple(own[key].shape)} in the model")
    merged = [layer for layer in lora_layers(model).values() if layer.merged]
    if merged:
        raise ValueError("the model's adapters are merged: call lora.unmerge before loading others")
    for key, value in state.items():
        own[key].copy_(value)
