"""The matching networks of text and motion, their losses, their batches.

Guo et al. 2022, "Generating Diverse and Natural 3D Human Motions from Text" (networks/modules.py of
text-to-motion):

    features (F, D - contacts)   two convolutions, 4 frames -> 1, linear, bidirectional GRU   -> (512,)
    words (T, 300)               vector + projected part of speech, linear, bidirectional GRU -> (512,)

Tensors have the names of the published files, which `evaluators` reads.

The published code pads every clip to 196 frames, and the second convolution sees the first padded
frames behind a clip. (Behind a clip of 196 frames there are none.) Four frames of padding give the
same numbers, so here an embedding depends on its clip alone.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from motiongpt.config import EvaluatorConfig
from motiongpt.data.batches import pad, pad_motions
from motiongpt.evaluation.clips import UNIT
from motiongpt.evaluation.word_vectors import POS

# 1) The networks.


class MovementConvEncoder(nn.Module):
    """(B, F, inputs) -> (B, F // 4, outputs)."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv1d(inputs, width, 4, 2, 1), nn.Dropout(0.2), nn.LeakyReLU(0.2),
            nn.Conv1d(width, outputs, 4, 2, 1), nn.Dropout(0.2), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.out_net = nn.Linear(outputs, outputs)

    def forward(self, motion: Tensor) -> Tensor:
        return self.out_net(self.main(motion.mT).mT)  # a Conv1d takes (B, channels, F)


class _BiGRU(nn.Module):
    """(B, T, inputs) and lengths (B,) -> (B, outputs):
    the last states of both directions, then two linear layers."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.input_emb = nn.Linear(inputs, width)
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.output_net = nn.Sequential(
            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.LeakyReLU(0.2), nn.Linear(width, outputs)
        )
        self.hidden = nn.Parameter(torch.randn(2, 1, width))

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Without `lengths` every row counts as T long, padding included."""
        x = self.input_emb(x)  # (B, T, width)
        start = self.hidden.repeat(1, len(x), 1)  # (2, B, width)
        if lengths is not None:
            x = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        last = self.gru(x, start)[1]  # (2, B, width), in the order of the rows
        return self.output_net(last.transpose(0, 1).flatten(1))


class MotionEncoderBiGRUCo(_BiGRU):
    """Movements (B, S, movement_dim) and how many each row has (B,) -> (B, embedding_dim)."""


class TextEncoderBiGRUCo(_BiGRU):
    """Word vectors (B, T, word_dim), one-hot parts of speech (B, T, 15), lengths (B,)
    -> (B, embedding_dim)."""

    def __init__(self, word_dim: int, pos_dim: int, width: int, outputs: int) -> None:
        super().__init__(word_dim, width, outputs)
        self.pos_emb = nn.Linear(pos_dim, word_dim)

    def forward(self, words: Tensor, parts: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(words + self.pos_emb(parts), lengths)


class MatchingNetwork(nn.Module):
    """The three encoders and the word table; `words.weight` is frozen if it comes from GloVe."""

    def __init__(self, config: EvaluatorConfig, num_words: int) -> None:
        super().__init__()
        self.config = config
        # movements are encoded without the foot contacts
        inputs = config.feature_dim - config.contacts
        self.movement_encoder = MovementConvEncoder(inputs, config.movement_width, config.movement_dim)
        self.motion_encoder = MotionEncoderBiGRUCo(config.movement_dim, config.motion_width, config.embedding_dim)
        self.text_encoder = TextEncoderBiGRUCo(config.word_dim, len(POS), config.text_width, config.embedding_dim)
        self.words = nn.Embedding(num_words, config.word_dim)

    def motion(self, motion: Tensor, lengths: Tensor, packing: str = "guo") -> Tensor:
        """Normalised features (B, F, D), zero-padded, and lengths in frames
        -> (B, embedding_dim)."""
        # the contacts, which are the last columns, are left out
        movements = self.movement_encoder(motion[..., : motion.shape[-1] - self.config.contacts])
        return self.motion_encoder(movements, lengths // UNIT if packing == "guo" else None)

    def text(self, words: Tensor, parts: Tensor, lengths: Tensor) -> Tensor:
        """Rows of the word table and of POS (B, T), and lengths (B,) -> (B, embedding_dim)."""
        vectors = self.words(words)  # (B, T, word_dim)
        return self.text_encoder(vectors, F.one_hot(parts, len(POS)).to(vectors.dtype), lengths)

    def train(self, mode: bool = True) -> "MatchingNetwork":
        """Set the mode; a frozen movement encoder stays in eval mode, without dropout,
        as in Guo et al."""
        super().train(mode)
        self.movement_encoder.train(mode and self.movement_encoder.out_net.weight.requires_grad)
        return self


# 2) Losses: rows i of text and motion (B, D) belong together; one value per row.


def contrastive_loss(text: Tensor, motion: Tensor, shift: int, margin: float = 10.0) -> Tensor:
    """d(t_i, m_i)^2 + max(0, margin - d(t_i, m_{i + shift}))^2 with Euclidean d, (B, D) twice
    -> (B,).

    ContrastiveLoss of Guo et al. 2022, after Hadsell et al. 2006, equation 4. Their code draws
    `shift` from 0 on, and 0 pushes right pairs apart: draw it from 1 to B - 1.
    """
    wrong = F.pairwise_distance(text, motion.roll(-shift, 0))  # (B,) text i, motion i + shift
    return F.pairwise_distance(text, motion).square() + (margin - wrong).clamp(min=0).square()


def info_nce(text: Tensor, motion: Tensor, same: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    """Which motion belongs to the text, and which text to the motion:
    the mean of two cross-entropies, -> (B,).

    InfoNCE (van den Oord et al. 2018, equation 4) in both directions as TMR does (Petrovich et al.
    2023), with logits -d(t_i, m_j) / temperature. TMR takes cosines; distances are what R-precision
    ranks by.

    `same` (B, B) bool marks pairs that are no mistake, such as two clips with one caption;
    they are left out.
    """
    logits = -torch.cdist(text, motion, compute_mode="donot_use_mm_for_euclid_dist") / temperature
    if same is not None:
        own = torch.eye(len(text), dtype=torch.bool, device=text.device)
        # -inf takes them out of both cross-entropies
        logits = logits.masked_fill(same & ~own, -torch.inf)
    target = torch.arange(len(text), device=text.device)
    return (F.cross_entropy(logits, target, reduction="none") + F.cross_entropy(logits.T, target, reduction="none")) / 2


# 3) Batches.


def pad_clips(clips: Sequence[np.ndarray], max_frames: int) -> tuple[Tensor, Tensor]:
    """Normalised clips (F_i, D) -> (B, T, D) and lengths (B,),
    with four frames of padding behind the longest.

    More padding changes nothing, see the top of the file; clips of max_frames get none.
    """
    motion, lengths = pad_motions(clips)
    return F.pad(motion, (0, 0, 0, min(UNIT, max_frames - motion.shape[1]))), lengths


def pad_captions(captions: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Captions from `Vocabulary.encode` -> words (B, T), parts of speech (B, T), lengths (B,)."""
    words, parts = zip(*captions, strict=True)
    return pad(words, 0), pad(parts, 0), torch.tensor([len(row) for row in words])
