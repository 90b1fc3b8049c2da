"""The shape of the motion tokenizer, and the weights of its loss."""

import itertools
import math
from dataclasses import dataclass

from motiongpt.config.json_config import JSONConfig, flag, require


def fsq_levels(codes: int) -> tuple[int, ...]:
    """The levels of 5 to 8, largest first, whose product is largest without exceeding `codes`.

    If several choices have that product, the shortest wins. 512 -> (8, 8, 8). Levels of at least 5 follow Mentzer et
    al. 2023.
    """
    longest = int(math.log(codes, 5) + 1e-9)  # more dimensions would exceed `codes` even with 5 levels each
    choices = []
    for dimensions in range(1, longest + 1):
        choices += itertools.combinations_with_replacement((8, 7, 6, 5), dimensions)
    fitting = [levels for levels in choices if math.prod(levels) <= codes]
    return max(fitting, key=lambda levels: (math.prod(levels), -len(levels)))


QUANTIZERS = ("ema_reset", "fsq", "residual")
ACTIVATIONS = ("relu", "silu", "gelu")
CODEBOOKS = ("separate", "shared")
EXTRA_WEIGHTS = ("velocity_weight", "acceleration_weight", "bone_weight")


def _parse_weights(text: str) -> dict[str, float]:
    """The text head=3,wrist=1 -> {"head": 3.0, "wrist": 1.0}. Raises ValueError naming the flag."""
    weights = {}
    for part in text.replace(",", " ").split():
        name, _, number = part.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = math.nan
        require(bool(name) and 0 <= weights[name] <= 1000, "part_weights", text, "name=weight, as head=3,wrist=1")
    return weights


@dataclass(frozen=True)
class VQVAEConfig(JSONConfig):
    """The motion tokenizer of T2M-GPT (Zhang et al. 2023): convolutions, 4x shorter in time, EMA codebook.

    With the quantizer fsq, `fsq_levels` decides and `codes` becomes the product of the levels. Without levels they are
    chosen: the largest product of levels of 5 to 8 that does not exceed `codes` (512 = 8 x 8 x 8; 1024 gives
    8 x 5 x 5 x 5 = 1000). Both fields are set to the values in use, so a written config never says anything else.
    """

    feature_dim: int = flag(263, "numbers per frame of motion features (HumanML3D 263, KIT-ML 251)")
    joint_dim: int = flag(63, "how many features, from index 4 on, are joint positions: 3 (J - 1)")
    codes: int = flag(512, "entries of the codebook, N")
    code_dim: int = flag(512, "width of a codebook entry")
    width: int = flag(512, "channels of the convolutions")
    depth: int = flag(3, "residual blocks per halving of the frame rate")
    dilation_growth: int = flag(3, "residual block i has dilation growth ** i")
    down: int = flag(2, "how often the frame rate is halved: with 2, a code is 4 frames")
    ema_decay: float = flag(0.99, "decay of the codebook's moving averages, between 0 and 1")
    dead_below: float = flag(1.0, "draw a codebook entry anew when its moving count per batch falls below this")
    dead_share: float = flag(
        0.0, "the same below this share of the usage that all entries have on average; 0 = --dead-below decides"
    )
    commit_weight: float = flag(0.02, "weight of the commitment loss")
    joint_weight: float = flag(0.5, "weight of the additional smooth-L1 loss on joint positions")
    part_weights: str = flag(
        "", "weights of losses on joints as seen from their parents, such as head=3,wrist=1 (wrist: both)"
    )
    velocity_weight: float = flag(0.0, "weight of the loss on the steps of joint positions from frame to frame")
    acceleration_weight: float = flag(0.0, "weight of the loss on how those steps change: against jitter")
    bone_weight: float = flag(0.0, "weight of the loss on the lengths of bones")
    feature_bias: float = flag(5.0, "factor that enlarges normalised root and contact features (MoMask: 5)")
    causal: bool = flag(False, "see only the past, so that frames can be streamed")
    quantizer: str = flag(
        "ema_reset", "ema_reset: one codebook; fsq: no codebook; residual: layers", choices=QUANTIZERS
    )
    fsq_levels: str = flag("", "fsq: levels per dimension, such as 8,5,5,5; empty = chosen to fit --codes")
    rvq_layers: int = flag(6, "residual: number of layers; each codes what the layers before it left over")
    rvq_dropout: float = flag(0.2, "residual: share of training steps that use only the first few layers, 0 to 1")
    rvq_codebooks: str = flag("separate", "residual: a codebook per layer, or one that all share", choices=CODEBOOKS)
    activation: str = flag("relu", "activation inside the residual blocks", choices=ACTIVATIONS)
    dropout: float = flag(0.0, "dropout rate at the end of the residual blocks, 0 to below 1 (MoMask: 0.2)")

    def __post_init__(self) -> None:
        for name in ("feature_dim", "codes", "code_dim", "width", "depth", "dilation_growth", "down", "rvq_layers"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name, known in (("quantizer", QUANTIZERS), ("rvq_codebooks", CODEBOOKS), ("activation", ACTIVATIONS)):
            require(getattr(self, name) in known, name, getattr(self, name), f"one of {', '.join(known)}")
        require(0 <= self.rvq_dropout <= 1, "rvq_dropout", self.rvq_dropout, "in [0, 1]")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        # text from a flag or from JSON: checked whatever the quantizer is
        parts = self.fsq_levels.replace(",", " ").split()
        whole = all(part.isascii() and part.isdigit() and 2 <= int(part) <= 65_536 for part in parts)
        require(whole, "fsq_levels", self.fsq_levels, "whole numbers from 2, as 8,5,5,5")
        if self.quantizer == "fsq":  # write the levels and codes in use into the frozen fields
            require(bool(parts) or 5 <= self.codes <= 65_536, "codes", self.codes, "5 to 65536 for fsq")
            levels = tuple(map(int, parts)) or fsq_levels(self.codes)
            require(math.prod(levels) <= 65_536, "fsq_levels", self.fsq_levels, "at most 65536 codes in all")
            object.__setattr__(self, "fsq_levels", ",".join(map(str, levels)))
            object.__setattr__(self, "codes", math.prod(levels))
        require(self.feature_bias > 0, "feature_bias", self.feature_bias, "positive")
        require(0 < self.ema_decay < 1, "ema_decay", self.ema_decay, "in (0, 1)")
        for name in ("dead_below", "commit_weight", "joint_weight", *EXTRA_WEIGHTS):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(0 <= self.dead_share < 1, "dead_share", self.dead_share, "in [0, 1)")
        _parse_weights(self.part_weights)
        most = self.feature_dim - 4
        require(0 <= self.joint_dim <= most, "joint_dim", self.joint_dim, f"0 to {most}")

    @property
    def frames_per_code(self) -> int:
        return 2**self.down

    @property
    def parts(self) -> dict[str, float]:
        """`part_weights` as numbers: name of a joint, or of a pair without its side -> weight."""
        return _parse_weights(self.part_weights)

    @property
    def levels(self) -> tuple[int, ...]:
        """FSQ's levels per dimension; () for the other quantisers, unless given."""
        return tuple(map(int, self.fsq_levels.replace(",", " ").split()))

    def run_identity(self) -> dict:
        """The fields that must match a saved state for a run to resume from it.

        A field added later counts only if it differs from its default, so that older states still fit.
        """
        young = "quantizer fsq_levels rvq_layers rvq_dropout rvq_codebooks activation dropout causal "
        young += "dead_share part_weights velocity_weight acceleration_weight bone_weight"
        return self.without_unused(tuple(young.split()))
