"""The text tower of CLIP (Radford et al. 2021): ViT-B/32, ViT-L/14 and models of the same design.

A causal transformer with learnt positions and pre-norm blocks. It shares only the attention kernel with the decoder of
`llm.py`. The hidden state at the end-of-text token, which has seen every word, sums up the sentence. Module names are
those of Hugging Face's checkpoints without `text_model.` and `encoder.`. This file knows no text and no files;
`motiongpt.weights.clip` joins it with a tokenizer.

    ids (B, T) -- embedding + position -- N x [norm, attention, norm, MLP] -- norm -- hidden (B, T, C)
                                                              state at end of text -- projection -- pooled (B, P)
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motiongpt.config import JSONConfig, require
from motiongpt.layers import attend

LEGACY_EOS = 2
"""The eos_token_id that OpenAI's models carry on the Hub by mistake. With it, the end is the largest id of a row."""


@dataclass(frozen=True)
class ClipConfig(JSONConfig):
    """The shape of CLIP's text tower. The defaults are ViT-B/32; ViT-L/14 is 768 wide, with 3072, 12 heads and 768."""

    vocab_size: int = 49_408
    hidden_size: int = 512
    intermediate_size: int = 2048
    num_layers: int = 12
    num_heads: int = 8
    max_positions: int = 77
    norm_eps: float = 1e-5
    projection_dim: int = 512
    """Width of the embedding that text and images share; 0 = the checkpoint has no projection."""
    quick_gelu: bool = True
    eos_id: int = 49_407
    """The id that ends a text; `LEGACY_EOS` means the largest id of a row."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "max_positions"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.hidden_size % self.num_heads == 0, "num_heads", self.num_heads, f"a divisor of {self.hidden_size}")
        require(self.projection_dim >= 0, "projection_dim", self.projection_dim, "0 or more")
        require(self.norm_eps > 0, "norm_eps", self.norm_eps, "positive")


class ClipAttention(nn.Module):
    """Causal multi-head attention, all four projections with bias."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        C = config.hidden_size
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(C, C)
        self.k_proj = nn.Linear(C, C)
        self.v_proj = nn.Linear(C, C)
        self.out_proj = nn.Linear(C, C)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        B, T, C = x.shape
        shape = (B, T, self.num_heads, C // self.num_heads)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj))
        out = attend(q, k, v, None, causal=True)  # (B, H, T, d)
        return self.out_proj(out.transpose(1, 2).reshape(B, T, C))


class ClipMLP(nn.Module):
    """fc2(act(fc1(x))). OpenAI's models use x sigmoid(1.702 x), a cheap approximation of GELU; others use GELU."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.quick_gelu = config.quick_gelu
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x) if self.quick_gelu else F.gelu(x))


class ClipBlock(nn.Module):
    """One encoder layer, (B, T, C) -> (B, T, C); a norm precedes each half."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.self_attn = ClipAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.mlp = ClipMLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class ClipTextEncoder(nn.Module):
    """ids (B, T) -> hidden states (B, T, C) and the pooled sentence (B, P).

    P is `projection_dim`, the width that sentences and images share. A config with projection_dim 0 has no projection
    (Hugging Face's CLIPTextModel); the pooled sentence is then the hidden state itself, (B, C).
    """

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        C = config.hidden_size
        self.token_embedding = nn.Embedding(config.vocab_size, C)
        self.position_embedding = nn.Embedding(config.max_positions, C)
        self.layers = nn.ModuleList(ClipBlock(config) for _ in range(config.num_layers))
        self.final_layer_norm = nn.LayerNorm(C, eps=config.norm_eps)
        self.text_projection = nn.Linear(C, config.projection_dim, bias=False) if config.projection_dim else None

    def ends(self, ids: Tensor) -> Tensor:
        """The index (B,) of the end-of-text token in each row of ids (B, T): the first one, as padding repeats it.

        A row without such a token gives 0, as in `transformers`.
        """
        if self.config.eos_id == LEGACY_EOS:
            return ids.argmax(-1)  # argmax gives the first of equals
        return (ids == self.config.eos_id).int().argmax(-1)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, T) -> hidden (B, T, C) after the final norm, pooled (B, P). ValueError if T is too long.

        Padding follows the text, so causality hides it and no mask is needed. States after a row's end-of-text token
        depend on the padding's id.
        """
        T = ids.shape[1]
        if T > self.config.max_positions:
            raise ValueError(f"{T} tokens exceed CLIP's {self.config.max_positions} positions")
        x = self.token_embedding(ids) + self.position_embedding.weight[:T]
        for block in self.layers:
            x = block(x)
        hidden = self.final_layer_norm(x)
        pooled = hidden[torch.arange(len(ids), device=ids.device), self.ends(ids)]  # (B, C)
        return hidden, pooled if self.text_projection is None else self.text_projection(pooled)
