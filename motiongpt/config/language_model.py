"""The shape of a language model, and of the adapters that train it."""

from dataclasses import dataclass

from motiongpt.config.json_config import JSONConfig, flag, require

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
    "demo": LLMConfig(vocab_size=2048, num_layers=5),
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
