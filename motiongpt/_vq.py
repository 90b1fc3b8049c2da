from pathlib import Path

import torch

from motiongpt.config import VQVAEConfig
from motiongpt.files import read_json, read_tensors, write_tensors
from motiongpt.vqvae import VQVAE


def load_vqvae(folder: Path | str) -> VQVAE:
    """The VQ-VAE of a tokenizer folder (config.json + model.safetensors), fp32, in eval mode.

    Raises FileNotFoundError, or ValueError naming the file for damaged, missing, unexpected or misshapen tensors.
    """
    folder = Path(folder)
    vqvae = VQVAE(VQVAEConfig.from_dict(read_json(folder / "config.json")["VQVAEConfig"]))
    copy_tensors(vqvae.state_dict(), read_tensors(folder / "model.safetensors"), folder / "model.safetensors")
    return vqvae.eval()


def save_vqvae(vqvae: VQVAE, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write model.safetensors; floating tensors as `dtype`. The caller writes config.json beside it."""
    state = vqvae.state_dict()
    write_tensors(
        folder / "model.safetensors", {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    )


def copy_tensors(targets, tensors, file) -> None:
    """Copy every tensor of `file` into its target of the same name, total in both directions."""
    missing, unexpected = sorted(set(targets) - set(tensors)), sorted(set(tensors) - set(targets))
    if missing or unexpected:
        raise ValueError(
            f"{file} does not fit: {len(missing)} tensors missing ({', '.join(missing[:3])}), "
            f"{len(unexpected)} unexpected ({', '.join(unexpected[:3])})"
        )
    for name, target in targets.items():
        if tensors[name].shape != target.shape:
            raise ValueError(f"{file}: {name} has shape {tuple(tensors[name].shape)}, expected {tuple(target.shape)}")
        target.copy_(tensors[name])
