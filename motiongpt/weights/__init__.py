"""Weights on disk to our modules and back: language models, adapters,
and VQ-VAEs of ours and of other projects."""

from motiongpt.weights.adapters import load_adapter, save_adapter
from motiongpt.weights.llm import load_llm, save_llm
from motiongpt.weights.vqvae import load_vqvae, save_vqvae

__all__ = ["load_adapter", "load_llm", "load_vqvae", "save_adapter", "save_llm", "save_vqvae"]
