"""Every number that defines a run: six frozen dataclasses, their presets, and JSON in both directions.

A config is only data: no paths, no devices, no repo ids. `motiongpt.cli.parser` makes a flag of every field with a help
text, and adds the default to that text. A bad value is refused here, at construction, in a message that names the flag.
"""

import dataclasses
import itertools
import math
import sys
from dataclasses import dataclass, field
from typing import Any


def flag(default: Any, text: str, **extra: Any) -> Any:
    """A dataclass field with the help text of its command-line flag."""
    return field(default=default, metadata={"help": text, **extra})


def flag_name(field_name: str) -> str:
    """`batch_size` -> `--batch-size`."""
    return "--" + field_name.replace("_", "-")


class BadField(ValueError):
    """A bad value of a field; the message names its flag. Where the value came from a file, `from_dict` names that."""

    def __init__(self, name: str, value: Any, expected: str) -> None:
        super().__init__(f"{flag_name(name)} must be {expected}, got {value!r:.200}")
        self.name = name
        self.rule = f"must be {expected}, got {value!r:.60}"


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raise ValueError for a bad field value, naming the flag that sets it."""
    if not condition:
        raise BadField(name, value, expected)


def fits(value: Any, default: Any) -> bool:
    """Whether a JSON value has the type of a field's default. A float must be finite and may be written as an int."""
    if isinstance(default, float):
        return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max  # not true of NaN
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    # `type` and not isinstance: True is an int, and must not pass for one
    return default is dataclasses.MISSING or type(value) is type(default)


JSON_KINDS = {
    **{float: "a finite number", int: "a whole number", str: "a text", bool: "true or false"},
    tuple: "a list of texts",
}
"""Type of a field's default -> what its value in a JSON file must be."""


class JSONConfig:
    """`to_dict` and `from_dict` for the frozen dataclasses below.

    `from_dict` raises ValueError for an unknown, missing or bad value. It names the flag, or, if the values come from
    the file `where`, that file and the field.
    """

    def to_dict(self) -> dict:
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict, where: object = None) -> "JSONConfig":
        start = "" if where is None else f"{where}: "
        if not isinstance(values, dict):
            raise ValueError(f"{start}{cls.__name__} must be an object of its fields, got {str(values)[:60]}")
        # a field without a default is judged by its type: str() and int() stand for one
        required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING]
        examples = {f.name: f.type() if f.name in required else f.default for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(examples))
        if unknown:
            raise ValueError(
                f"{start}{cls.__name__} has no field {', '.join(unknown)[:200]}; known fields: {', '.join(examples)}"
            )
        missing = [name for name in required if name not in values]
        if missing:
            raise ValueError(f"{start}{cls.__name__} is incomplete: {', '.join(missing)} missing")
        try:
            for name, value in values.items():
                require(fits(value, examples[name]), name, value, JSON_KINDS[type(examples[name])])
            return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
        except BadField as error:
            if where is None:
                raise
            raise ValueError(f"{start}{cls.__name__}.{error.name} {error.rule}") from error


# 1) The language model and its adapters.


LAYER_TYPES = ("full_attention", "sliding_attention")


@dataclass(frozen=True)
class LLMConfig(JSONConfig):
    """The shape of a decoder language model. Families are flags, never names: Qwen2 = qkv_bias, Qwen3 = qk_norm.

    queries  | | | | | | | |        num_heads    = 8
    keys     |   |   |   |          num_kv_heads = 4: grouped-query attention; 8 is multi-head, 1 multi-query
    """

    vocab_size: int = 1024  # rows of the base table; a padded one has more than the text tokenizer has tokens
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
    qkv_bias: bool = False  # Qwen2, some Llamas: a bias on the query, key and value projections
    o_bias: bool = False  # some Llamas: a bias on the output projection
    mlp_bias: bool = False  # some Llamas: biases in the MLP
    qk_norm: bool = True  # Qwen3, Gemma 3: queries and keys are normalised per head, before the rotary embedding
    activation: str = "silu"  # of the gated MLP; Gemma has gelu_tanh
    rope_scaling: str = "none"  # or linear (large Gemma 3), llama3 (Llama 3.1): see `layers.scale_frequencies`
    rope_factor: float = 1.0
    rope_low_freq: float = 1.0
    rope_high_freq: float = 4.0
    rope_original_positions: int = 8192
    post_norms: bool = False  # Gemma 3, like all below: norms after attention and MLP too, before the sums
    unit_offset_norms: bool = False  # norms multiply by 1 + weight
    scale_embeddings: bool = False  # embeddings are multiplied by sqrt(hidden_size), new rows too
    query_scalar: float = 0.0  # attention scores are divided by its square root; 0 means head_dim
    layer_types: tuple[str, ...] = ()  # one of LAYER_TYPES per layer; empty = full_attention everywhere
    window: int = 0  # how many positions a sliding_attention layer sees, its own included
    local_rope_theta: float = 10_000.0  # the rotary base of those layers; rope_scaling does not apply to them

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        divides = self.num_heads % self.num_kv_heads == 0
        require(divides, "num_kv_heads", self.num_kv_heads, f"a divisor of {self.num_heads}")
        require(self.head_dim % 2 == 0, "head_dim", self.head_dim, "even, for the rotary embedding")
        for name, known in (("rope_scaling", ("none", "linear", "llama3")), ("activation", ("silu", "gelu_tanh"))):
            require(getattr(self, name) in known, name, getattr(self, name), f"one of {', '.join(known)}")
        for name in ("rope_factor", "rope_low_freq", "rope_original_positions"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        require(self.rope_high_freq > self.rope_low_freq, "rope_high_freq", self.rope_high_freq, "above rope_low_freq")
        given = len(self.layer_types) in (0, self.num_layers) and set(self.layer_types) <= set(LAYER_TYPES)
        require(given, "layer_types", self.layer_types, f"{self.num_layers} of {', '.join(LAYER_TYPES)}, or none")
        require(self.window >= 1 or "sliding_attention" not in self.layer_types, "window", self.window, "at least 1")

    def is_local(self, layer: int) -> bool:
        """Whether a layer sees only the last `window` positions."""
        return bool(self.layer_types) and self.layer_types[layer] == "sliding_attention"


LLM_PRESETS = {
    "demo": LLMConfig(),
    "tiny": LLMConfig(vocab_size=300, hidden_size=32, intermediate_size=64, num_layers=2, num_heads=4, head_dim=8),
}

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoRAConfig(JSONConfig):
    """Low-rank adaptation (Hu et al. 2021): W + (alpha / r) B A on the named linear layers."""

    lora_r: int = flag(16, "rank r of the adapter matrices A and B")
    lora_alpha: float = flag(16.0, "scale of the adapters: they add (alpha / r) B A x to a layer's output")
    lora_dropout: float = flag(0.0, "dropout rate of the adapters' input, 0 to below 1")
    lora_targets: tuple[str, ...] = flag(PROJECTIONS, "linear layers with an adapter (in a T5: q k v o wi_0 wi_1 wo)")

    def __post_init__(self) -> None:
        require(self.lora_r >= 1, "lora_r", self.lora_r, "at least 1")
        require(self.lora_alpha > 0, "lora_alpha", self.lora_alpha, "positive")
        require(0 <= self.lora_dropout < 1, "lora_dropout", self.lora_dropout, "in [0, 1)")
        require(len(self.lora_targets) > 0, "lora_targets", self.lora_targets, "at least one layer name")


# 2) The motion tokenizer.


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
    commit_weight: float = flag(0.02, "weight of the commitment loss")
    joint_weight: float = flag(0.5, "weight of the additional smooth-L1 loss on joint positions")
    feature_bias: float = flag(5.0, "factor that enlarges normalised root and contact features (MoMask: 5)")
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
        for name in ("dead_below", "commit_weight", "joint_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        most = self.feature_dim - 4
        require(0 <= self.joint_dim <= most, "joint_dim", self.joint_dim, f"0 to {most}")

    @property
    def frames_per_code(self) -> int:
        return 2**self.down

    @property
    def levels(self) -> tuple[int, ...]:
        """FSQ's levels per dimension; () for the other quantisers, unless given."""
        return tuple(map(int, self.fsq_levels.replace(",", " ").split()))

    def run_identity(self) -> dict:
        """The fields that must match a saved state for a run to resume from it.

        A field added later counts only if it differs from its default, so that older states still fit.
        """
        young = ("quantizer", "fsq_levels", "rvq_layers", "rvq_dropout", "rvq_codebooks", "activation", "dropout")
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return {name: v for name, v in self.to_dict().items() if name not in young or v != defaults[name]}


# 3) Training: of the motion tokenizer and the language model, and of an evaluator.

PRECISIONS = ("auto", "bf16", "fp16", "fp32")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class TrainConfig(JSONConfig):
    """One training run: optimiser, schedule, batch, precision, and how often to validate and save."""

    lr: float = flag(2e-4, "peak learning rate")
    min_lr: float = flag(0.0, "learning rate at the end of the cosine, as a share of --lr, 0 to 1")
    schedule: str = flag("cosine", "learning rate after the warm-up", choices=SCHEDULES)
    warmup: float = flag(0.1, "length of the warm-up: a share of all steps if below 1, else a number of steps")
    epochs: float = flag(1.0, "passes over the training data; ignored if --max-steps is given")
    max_steps: int = flag(0, "optimiser steps; 0 = as many as --epochs needs")
    batch_size: int = flag(8, "examples per forward pass")
    grad_accum: int = flag(1, "forward passes per optimiser step; they count as one large batch")
    max_seq_len: int = flag(512, "longest training example in tokens; a longer one is an error")
    weight_decay: float = flag(0.0, "AdamW weight decay, on matrices only")
    beta1: float = flag(0.9, "AdamW beta 1, 0 to below 1")
    beta2: float = flag(0.999, "AdamW beta 2, 0 to below 1")
    clip: float = flag(1.0, "largest gradient norm; larger ones are scaled down to it; 0 = no limit")
    label_smoothing: float = flag(0.0, "label smoothing of the language model's loss, 0 to below 1")
    caption_dropout: float = flag(0.0, "share of caption tokens dropped at random in text to motion, 0 to below 1")
    window: int = flag(64, "VQ-VAE: frames per training window; a shorter clip is padded and masked")
    seed: int = flag(42, "seed of data order, masks and dropout")
    precision: str = flag("auto", "number format of matrix products; auto = what suits the device", choices=PRECISIONS)
    eval_every: int = flag(200, "optimiser steps between validations")
    save_every: int = flag(200, "optimiser steps between saves to resume from; there is also one every minute")
    log_every: int = flag(10, "optimiser steps between log lines")
    max_minutes: float = flag(0.0, "stop after this many minutes with a save to resume from; 0 = no limit")

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
        for name in ("beta1", "beta2", "label_smoothing", "caption_dropout"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        require(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        require(self.max_minutes >= 0, "max_minutes", self.max_minutes, "0 or more")

    def run_identity(self) -> dict:
        """The fields that must match a saved state to resume: all but how often to report and when to stop."""
        free = ("eval_every", "save_every", "log_every", "max_minutes")
        return {name: value for name, value in self.to_dict().items() if name not in free}


VQVAE_TRAINING = {"lr": 2e-4, "beta2": 0.99, "batch_size": 128, "epochs": 100.0, "warmup": 0.03, "seed": 123,
                  "clip": 1.0}  # fmt: skip
"""Values of TrainConfig for a motion tokenizer, unless a recipe has its own."""

OBJECTIVES = ("info_nce", "contrastive")


@dataclass(frozen=True)
class EvaluatorConfig(JSONConfig):
    """An evaluator: the matching networks of text and motion, and the loss they are trained with."""

    feature_dim: int = 263
    contacts: int = 4  # columns at the end that the networks do not see: HumanML3D's foot contacts
    movement_width: int = flag(512, "channels of the movement convolutions")
    movement_dim: int = flag(512, "width of a movement, which is 4 frames")
    motion_width: int = flag(1024, "width of the motion GRU")
    text_width: int = flag(512, "width of the text GRU")
    embedding_dim: int = flag(512, "width of the embeddings that text and motion share")
    word_dim: int = flag(300, "width of a word vector; with --glove, the width in that file")
    max_frames: int = flag(196, "frames used from the start of a clip, a multiple of 4")
    feature_bias: float = flag(1.0, "factor that enlarges normalised root motion (published evaluators: 25)")
    objective: str = flag("info_nce", "training loss: info_nce, or contrastive (Guo et al. 2022)", choices=OBJECTIVES)
    margin: float = flag(10.0, "contrastive: distance beyond which a wrong pair costs nothing")
    temperature: float = flag(1.0, "info_nce: divisor of the distances")
    plain_captions: float = flag(0.25, "share of training captions shown without lemmas and parts of speech, 0 to 1")

    def __post_init__(self) -> None:
        for name in ("movement_width", "movement_dim", "motion_width", "text_width", "embedding_dim", "word_dim"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("feature_bias", "margin", "temperature"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        require(0 <= self.contacts < self.feature_dim, "contacts", self.contacts, "fewer than feature_dim")
        require(self.max_frames >= 4 and self.max_frames % 4 == 0, "max_frames", self.max_frames, "a multiple of 4")
        require(self.objective in OBJECTIVES, "objective", self.objective, f"one of {', '.join(OBJECTIVES)}")
        require(0 <= self.plain_captions <= 1, "plain_captions", self.plain_captions, "in [0, 1]")


# 4) Sampling.

PENALTY_SCOPES = ("all", "motion")


@dataclass(frozen=True)
class SampleConfig(JSONConfig):
    """How the next code is drawn. `sampling.py` states the order of the filters."""

    temperature: float = flag(0.7, "0 = always the most likely code; 1 = the model's own distribution")
    top_k: int = flag(0, "keep only the k most likely codes; 0 = all")
    top_p: float = flag(0.9, "keep the fewest codes with this much probability together, above 0 to 1")
    repetition_penalty: float = flag(1.0, "above 1: codes already written become less likely; 1 = off")
    penalty_scope: str = flag(
        "all", "what counts as written: prompt and output (all), or only the output (motion)", choices=PENALTY_SCOPES
    )
    no_repeat_ngram: int = flag(0, "never write the same n codes in a row twice; 0 = off (a walk cycle repeats)")
    end_logit_slope: float = flag(0.25, "added to the end's logit for every code past the target length")
    max_new_tokens: int = flag(256, "most new tokens per motion or sentence, without the two markers")

    def __post_init__(self) -> None:
        require(self.temperature >= 0, "temperature", self.temperature, "0 or more")
        require(self.top_k >= 0, "top_k", self.top_k, "0 or more")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "in (0, 1]")
        require(self.repetition_penalty > 0, "repetition_penalty", self.repetition_penalty, "positive")
        scopes = ", ".join(PENALTY_SCOPES)
        require(self.penalty_scope in PENALTY_SCOPES, "penalty_scope", self.penalty_scope, f"one of {scopes}")
        require(self.no_repeat_ngram >= 0, "no_repeat_ngram", self.no_repeat_ngram, "0 or more")
        # beyond that a long motion overflows to NaN
        require(0 <= self.end_logit_slope <= 1e6, "end_logit_slope", self.end_logit_slope, "0 to 1000000")
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "at least 1")
