"""Weights on disk to our modules and back: language models, adapters, CLIP's text tower,
and VQ-VAEs of ours and of other projects."""

from motiongpt.weights.adapters import load_adapter, save_adapter
from motiongpt.weights.backbone import load_backbone, save_backbone
from motiongpt.weights.clip import ClipText
from motiongpt.weights.llm import load_llm, save_llm
from motiongpt.weights.vqvae import load_vqvae, save_vqvae

__all__ = [
    "ClipText",
    "load_adapter",
    "load_backbone",
    "load_llm",
    "load_vqvae",
    "save_adapter",
    "save_backbone",
    "save_llm",
    "save_vqvae",
]
