"""The shape of a model that writes motion as numbers, frame by frame, and how its flow is sampled."""

from dataclasses import dataclass

from motiongpt.config.json_config import JSONConfig, flag, require
from motiongpt.config.language_model import LLMConfig

HEADS = ("regression", "autoregressive", "flow")
CONDITIONS = ("cross", "add")
TEXT_ENCODERS = ("trainable", "clip", "smollm2")
FRAME_LOSSES = ("mse", "smooth_l1")


@dataclass(frozen=True)
class ContinuousConfig(JSONConfig):
    """A transformer over feature frames, conditioned on text: how it writes frames, how it reads text, its size."""

    feature_dim: int = 263
    text_dim: int = 128  # width of the text encoder's states
    words: int = 0  # rows of the word table of a trainable text encoder
    head: str = flag(
        "flow",
        "how frames are written: regression, all at once; autoregressive, one after the other; flow, from noise in "
        "some steps",
        choices=HEADS,
    )
    condition: str = flag(
        "cross", "how text reaches the frames: cross-attention to its words, or its sum added", choices=CONDITIONS
    )
    text_encoder: str = flag(
        "trainable",
        "what reads the text: a small encoder trained with the model, or a frozen one",
        choices=TEXT_ENCODERS,
    )
    loss: str = flag("mse", "error of a frame", choices=FRAME_LOSSES)
    hidden_size: int = flag(128, "width of the transformer")
    num_layers: int = flag(4, "layers of the transformer")
    num_heads: int = flag(4, "attention heads of a layer")
    text_layers: int = flag(2, "trainable text encoder: its layers")
    patch: int = flag(4, "frames that one position of the transformer stands for; 1 = frame by frame")
    max_frames: int = flag(196, "longest motion in frames; of a longer clip each step sees a piece")
    feature_bias: float = flag(1.0, "factor that enlarges normalised root motion, so that its errors weigh more")
    text_dropout: float = flag(0.1, "flow: share of training captions that are hidden from the model, 0 to below 1")
    length_weight: float = flag(20.0, "the error of a clip's length counts as that of so many frames")
    input_noise: float = flag(0.3, "autoregressive: largest noise added to the frames that training feeds in")
    noise_steps: int = flag(200, "autoregressive: optimiser steps over which that noise grows from 0")

    def __post_init__(self) -> None:
        chosen = {"head": HEADS, "condition": CONDITIONS, "text_encoder": TEXT_ENCODERS, "loss": FRAME_LOSSES}
        for name, known in chosen.items():
            require(getattr(self, name) in known, name, getattr(self, name), f"one of {', '.join(known)}")
        sizes = "feature_dim text_dim hidden_size num_layers num_heads text_layers patch max_frames"
        for name in sizes.split():
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("words", "length_weight", "input_noise", "noise_steps"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(self.patch <= self.max_frames, "patch", self.patch, f"at most --max-frames, {self.max_frames}")
        require(self.feature_bias > 0, "feature_bias", self.feature_bias, "positive")
        require(0 <= self.text_dropout < 1, "text_dropout", self.text_dropout, "in [0, 1)")
        pairs = self.hidden_size % (2 * self.num_heads) == 0  # rotary positions turn pairs of channels
        require(pairs, "hidden_size", self.hidden_size, f"a multiple of 2 x {self.num_heads} heads")

    def blocks(self, layers: int) -> LLMConfig:
        """The shape of so many layers of `layers.Block`."""
        C, H = self.hidden_size, self.num_heads
        shape = {"hidden_size": C, "intermediate_size": 3 * C, "head_dim": C // H}
        return LLMConfig(num_layers=layers, num_heads=H, num_kv_heads=H, **shape)


@dataclass(frozen=True)
class FlowConfig(JSONConfig):
    """How the flow head of a continuous model goes from noise to a motion."""

    flow_steps: int = flag(16, "Euler steps from noise to motion")
    guidance: float = flag(2.0, "how far the text pulls: 1 = as trained, above = more than that, 0 = not at all")

    def __post_init__(self) -> None:
        require(self.flow_steps >= 1, "flow_steps", self.flow_steps, "at least 1")
        require(self.guidance >= 0, "guidance", self.guidance, "0 or more")
