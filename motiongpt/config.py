"""Every number a run is made of: six frozen dataclasses, their presets, and JSON in both directions.

A config is data and nothing else: no paths, no devices, no repo ids. Fields become command-line flags in
`motiongpt.cli.parser`, so a field's `help` metadata is the flag's help text, with units. A bad value is refused
here, at construction, with the flag's name in the message.
"""

import dataclasses
import itertools
import math
from dataclasses import dataclass, field
from typing import Any


def flag(default: Any, text: str, **extra: Any) -> Any:
    """A dataclass field whose `text` is also the help of its command-line flag."""
    return field(default=default, metadata={"help": text, **extra})


def flag_name(field_name: str) -> str:
    """`batch_size` -> `--batch-size`."""
    return "--" + field_name.replace("_", "-")


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Refuse a bad field value in the words of the flag that sets it."""
    if not condition:
        raise ValueError(f"{flag_name(name)} must be {expected}, got {value!r}")


def fits(value: Any, default: Any) -> bool:
    """Whether a JSON value is of the kind of a field's default; a float is finite, a whole number may stand for it."""
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    return default is dataclasses.MISSING or type(value) is type(default)


class JSONConfig:
    """`to_dict` / `from_dict` for the frozen dataclasses below.

    An unknown key or a value of the wrong kind is a ValueError.
    """

    def to_dict(self) -> dict:
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict) -> "JSONConfig":
        if not isinstance(values, dict):
            raise ValueError(f"{cls.__name__} must be an object of its fields, got {str(values)[:60]}")
        known = {f.name: f for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"{cls.__name__} has no field {', '.join(unknown)}; known fields: {', '.join(known)}")
        for name, value in values.items():
            default = known[name].default
            wanted = "a finite number" if isinstance(default, float) else f"of the kind of {default!r}"
            require(fits(value, default), name, value, wanted)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


@dataclass(frozen=True)
class LLMConfig(JSONConfig):
    """A decoder language model. Families are flags, never names: Qwen2 = qkv_bias, Qwen3 = qk_norm.

    queries  | | | | | | | |        num_heads    = 8
    keys     |   |   |   |          num_kv_heads = 4: grouped-query attention; 8 is multi-head, 1 multi-query
    """

    vocab_size: int = 1024
    """Rows of the base embedding table (padded tables have more rows than the tokenizer has tokens)."""
    hidden_size: int = 256
    intermediate_size: int = 768
    num_layers: int = 4
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 64
    max_positions: int = 1024
    rope_theta: float = 1_000_000.0
    norm_eps: float = 1e-6
    tie_embeddings: bool = True
    qkv_bias: bool = False
    """Qwen2 and Qwen2.5 add a bias to the query, key and value projections."""
    qk_norm: bool = True
    """Qwen3 normalises queries and keys per head, before the rotary embedding."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(
            self.num_heads % self.num_kv_heads == 0, "num_kv_heads", self.num_kv_heads, f"a divisor of {self.num_heads}"
        )
        require(self.head_dim % 2 == 0, "head_dim", self.head_dim, "even, for the rotary embedding")


LLM_PRESETS = {
    "demo": LLMConfig(),
    "tiny": LLMConfig(vocab_size=300, hidden_size=32, intermediate_size=64, num_layers=2, num_heads=4, head_dim=8),
}

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoRAConfig(JSONConfig):
    """Low-rank adaptation (Hu et al. 2021): W + (alpha / r) B A on the named linear layers."""

    lora_r: int = flag(16, "rank of the adapter matrices")
    lora_alpha: float = flag(16.0, "scale numerator: the update is (alpha / r) B A x")
    lora_dropout: float = flag(0.0, "dropout on the adapter's input, 0 to 1")
    lora_targets: tuple[str, ...] = flag(PROJECTIONS, "names of the linear layers that get an adapter")

    def __post_init__(self) -> None:
        require(self.lora_r >= 1, "lora_r", self.lora_r, "at least 1")
        require(self.lora_alpha > 0, "lora_alpha", self.lora_alpha, "positive")
        require(0 <= self.lora_dropout < 1, "lora_dropout", self.lora_dropout, "in [0, 1)")
        require(len(self.lora_targets) > 0, "lora_targets", self.lora_targets, "at least one layer name")


def fsq_levels(codes: int) -> tuple[int, ...]:
    """Levels of 5 to 8 each, falling, with the largest product <= codes; of equals the fewest (Mentzer et al. 2023)."""
    counts = range(1, int(math.log(codes, 5) + 1e-9) + 1)
    every = (levels for d in counts for levels in itertools.combinations_with_replacement((8, 7, 6, 5), d))
    return max((levels for levels in every if math.prod(levels) <= codes), key=lambda x: (math.prod(x), -len(x)))


QUANTIZERS = ("ema_reset", "fsq", "residual")
ACTIVATIONS = ("relu", "silu", "gelu")
CODEBOOKS = ("separate", "shared")


@dataclass(frozen=True)
class VQVAEConfig(JSONConfig):
    """The motion tokenizer of T2M-GPT (Zhang et al. 2023): convolutions, 4x shorter in time, EMA codebook.

    With quantizer fsq, `fsq_levels` decides and `codes` is their product. Without levels they are chosen: the
    largest product of 5 to 8 levels each that is not above `codes` (512 = 8 x 8 x 8; 1024 gives 8 x 5 x 5 x 5 =
    1000). Both fields are replaced by what holds, so that a written config says the truth.
    """

    feature_dim: int = flag(263, "width of a motion feature frame (263 HumanML3D, 251 KIT-ML)")
    joint_dim: int = flag(63, "how many of the features, from index 4, are joint positions: 3 (J - 1)")
    codes: int = flag(512, "codebook entries N")
    code_dim: int = flag(512, "width of a codebook entry")
    width: int = flag(512, "channels of the convolutions")
    depth: int = flag(3, "residual blocks per stage")
    dilation_growth: int = flag(3, "dilation of the i-th residual block is growth ** i")
    down: int = flag(2, "halvings of the frame rate: 2 makes a code of 4 frames")
    ema_decay: float = flag(0.99, "decay of the codebook's moving averages")
    dead_below: float = flag(1.0, "a code whose moving count per batch falls below this is drawn anew")
    commit_weight: float = flag(0.02, "weight of the commitment loss")
    joint_weight: float = flag(0.5, "weight of the extra smooth-L1 on the joint-position features")
    feature_bias: float = flag(5.0, "how much larger root and contact features are once normalised (MoMask: 5)")
    quantizer: str = flag("ema_reset", "ema_reset, fsq (no codebook) or residual (layers)", choices=QUANTIZERS)
    fsq_levels: str = flag("", "fsq: levels per dimension, as 8,5,5,5; empty = chosen from --codes")
    rvq_layers: int = flag(6, "residual: layers, each for what the ones before it left over")
    rvq_dropout: float = flag(0.2, "residual: share of training steps that use only the first few layers")
    rvq_codebooks: str = flag("separate", "residual: a codebook per layer, or one shared by all", choices=CODEBOOKS)
    activation: str = flag("relu", "activation inside the residual blocks", choices=ACTIVATIONS)
    dropout: float = flag(0.0, "dropout at the end of the residual blocks (MoMask: 0.2)")

    def __post_init__(self) -> None:
        sizes = ("feature_dim", "codes", "code_dim", "width", "depth", "dilation_growth", "down", "rvq_layers")
        for name in sizes:
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        named = {"quantizer": QUANTIZERS, "rvq_codebooks": CODEBOOKS, "activation": ACTIVATIONS}
        for name, known in named.items():
            require(getattr(self, name) in known, name, getattr(self, name), f"one of {', '.join(known)}")
        require(0 <= self.rvq_dropout <= 1, "rvq_dropout", self.rvq_dropout, "in [0, 1]")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        parts = self.fsq_levels.replace(",", " ").split()
        whole = all(part.isascii() and part.isdigit() and 2 <= int(part) <= 65_536 for part in parts)
        require(whole, "fsq_levels", self.fsq_levels, "whole numbers from 2, as 8,5,5,5")
        if self.quantizer == "fsq":
            require(bool(parts) or 5 <= self.codes <= 65_536, "codes", self.codes, "5 to 65536 for fsq")
            levels = tuple(map(int, parts)) or fsq_levels(self.codes)
            require(math.prod(levels) <= 65_536, "fsq_levels", self.fsq_levels, "at most 65536 codes in all")
            object.__setattr__(self, "fsq_levels", ",".join(map(str, levels)))
            object.__setattr__(self, "codes", math.prod(levels))
        require(self.feature_bias > 0, "feature_bias", self.feature_bias, "positive")
        require(0 < self.ema_decay < 1, "ema_decay", self.ema_decay, "in (0, 1)")
        for name in ("dead_below", "commit_weight", "joint_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        require(
            0 <= self.joint_dim <= self.feature_dim - 4, "joint_dim", self.joint_dim, f"0 to {self.feature_dim - 4}"
        )

    @property
    def frames_per_code(self) -> int:
        return 2**self.down

    @property
    def levels(self) -> tuple[int, ...]:
        """FSQ's levels per dimension; () of the other quantisers unless given."""
        return tuple(map(int, self.fsq_levels.replace(",", " ").split()))

    def run_identity(self) -> dict:
        """What must be equal for one run to go on from another's state; younger fields count once they are changed."""
        young = ("quantizer", "fsq_levels", "rvq_layers", "rvq_dropout", "rvq_codebooks", "activation", "dropout")
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return {name: v for name, v in self.to_dict().items() if name not in young or v != defaults[name]}


PRECISIONS = ("auto", "bf16", "fp16", "fp32")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class TrainConfig(JSONConfig):
    """One training run: optimiser, schedule, batch, precision, and how often to look and to save."""

    lr: float = flag(2e-4, "peak learning rate")
    min_lr: float = flag(0.0, "learning rate at the end of the cosine, as a share of --lr")
    schedule: str = flag("cosine", "cosine or constant, after the warm-up", choices=SCHEDULES)
    warmup: float = flag(0.1, "warm-up: below 1 a share of all steps, from 1 a number of steps")
    epochs: float = flag(1.0, "passes over the training data (ignored where --max-steps is given)")
    max_steps: int = flag(0, "optimiser steps; 0 = --epochs decides")
    batch_size: int = flag(8, "examples per forward pass")
    grad_accum: int = flag(1, "forward passes per optimiser step; equal to one batch of their union")
    max_seq_len: int = flag(512, "longest sequence in tokens; a longer example is an error")
    weight_decay: float = flag(0.0, "AdamW weight decay, on matrices only")
    beta1: float = flag(0.9, "AdamW beta 1")
    beta2: float = flag(0.999, "AdamW beta 2")
    clip: float = flag(1.0, "gradient norm limit; 0 = none")
    label_smoothing: float = flag(0.0, "label smoothing of the language-model loss, 0 to 1")
    caption_dropout: float = flag(0.0, "share of a caption's tokens left out at random in text to motion, 0 to 1")
    window: int = flag(64, "VQ-VAE: training window in frames; shorter clips are masked")
    seed: int = flag(42, "seed of data order, masks and dropout")
    precision: str = flag("auto", "auto, bf16, fp16 or fp32", choices=PRECISIONS)
    eval_every: int = flag(200, "optimiser steps between validations")
    save_every: int = flag(200, "optimiser steps between resumable saves")
    log_every: int = flag(10, "optimiser steps between log lines")
    max_minutes: float = flag(0.0, "save and stop after this many minutes, to be resumed; 0 = no limit")

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "positive")
        require(0 <= self.min_lr <= 1, "min_lr", self.min_lr, "a share of --lr in [0, 1]")
        require(self.schedule in SCHEDULES, "schedule", self.schedule, f"one of {', '.join(SCHEDULES)}")
        require(self.warmup >= 0, "warmup", self.warmup, "0 or more")
        require(0 < self.epochs < math.inf, "epochs", self.epochs, "positive and finite")
        require(self.max_steps >= 0, "max_steps", self.max_steps, "0 or more")
        for name in ("batch_size", "grad_accum", "max_seq_len", "window", "eval_every", "save_every", "log_every"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("clip", "weight_decay", "seed"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("beta1", "beta2"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        require(0 <= self.caption_dropout < 1, "caption_dropout", self.caption_dropout, "in [0, 1)")
        require(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        require(self.max_minutes >= 0, "max_minutes", self.max_minutes, "0 or more")

    def run_identity(self) -> dict:
        """What must be equal for one run to go on from another's state: all but how often to look and when to stop."""
        free = ("eval_every", "save_every", "log_every", "max_minutes")
        return {name: value for name, value in self.to_dict().items() if name not in free}


OBJECTIVES = ("info_nce", "contrastive")


@dataclass(frozen=True)
class EvaluatorConfig(JSONConfig):
    """The matching networks and what they are trained for."""

    feature_dim: int = 263
    contacts: int = 4
    """Trailing columns that are left out: HumanML3D's foot contacts."""
    movement_width: int = flag(512, "channels of the movement convolutions")
    movement_dim: int = flag(512, "width of a movement, 4 frames")
    motion_width: int = flag(1024, "width of the motion GRU")
    text_width: int = flag(512, "width of the text GRU")
    embedding_dim: int = flag(512, "width of the shared space")
    word_dim: int = flag(300, "width of a word vector; that of --glove where it is given")
    max_frames: int = flag(196, "frames of a clip that are looked at, from its start")
    feature_bias: float = flag(1.0, "how much larger root motion is once normalised; the published ones have 25")
    objective: str = flag("info_nce", "info_nce or contrastive (Guo et al.)", choices=OBJECTIVES)
    margin: float = flag(10.0, "contrastive: distance beyond which a wrong pair costs nothing")
    temperature: float = flag(1.0, "info_nce: distances are divided by it")
    plain_captions: float = flag(0.25, "share of training captions given without lemmas and parts of speech, 0 to 1")

    def __post_init__(self) -> None:
        for name in ("movement_width", "movement_dim", "motion_width", "text_width", "embedding_dim", "word_dim"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("feature_bias", "margin", "temperature"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        require(0 <= self.contacts < self.feature_dim, "contacts", self.contacts, "fewer than feature_dim")
        frames = self.max_frames
        require(frames >= 4 and frames % 4 == 0, "max_frames", frames, "a multiple of 4")
        require(self.objective in OBJECTIVES, "objective", self.objective, f"one of {', '.join(OBJECTIVES)}")
        require(0 <= self.plain_captions <= 1, "plain_captions", self.plain_captions, "in [0, 1]")


PENALTY_SCOPES = ("all", "motion")


@dataclass(frozen=True)
class SampleConfig(JSONConfig):
    """How the next code is drawn. The order of the filters is stated and kept in `sampling.py`."""

    temperature: float = flag(0.7, "0 = always the most likely code; 1 = the model's own distribution")
    top_k: int = flag(0, "keep the k most likely codes; 0 = all")
    top_p: float = flag(0.9, "keep the smallest set of codes with this much probability, in (0, 1]")
    repetition_penalty: float = flag(1.0, "above 1 makes codes already written less likely")
    penalty_scope: str = flag(
        "all", "all: prompt and output count as written; motion: only the output", choices=PENALTY_SCOPES
    )
    no_repeat_ngram: int = flag(0, "forbid repeating n codes in a row; 0 = off (a walk cycle repeats)")
    end_logit_slope: float = flag(0.25, "added to the end's logit for every code past the target length")
    max_new_tokens: int = flag(256, "hard limit on new tokens, the two markers not counted")

    def __post_init__(self) -> None:
        require(self.temperature >= 0, "temperature", self.temperature, "0 or more")
        require(self.top_k >= 0, "top_k", self.top_k, "0 or more")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "in (0, 1]")
        require(self.repetition_penalty > 0, "repetition_penalty", self.repetition_penalty, "positive")
        require(
            self.penalty_scope in PENALTY_SCOPES,
            "penalty_scope",
            self.penalty_scope,
            f"one of {', '.join(PENALTY_SCOPES)}",
        )
        require(self.no_repeat_ngram >= 0, "no_repeat_ngram", self.no_repeat_ngram, "0 or more")
        require(self.end_logit_slope >= 0, "end_logit_slope", self.end_logit_slope, "0 or more")
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "at least 1")
