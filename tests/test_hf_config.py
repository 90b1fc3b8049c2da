"""config.json of real models as ours: facts of published files, and a line for what is not computed."""

import math
from dataclasses import replace

import pytest
import torch
from cases import for_each

from motiongpt.config import LLMConfig
from motiongpt.layers import scale_frequencies
from motiongpt.weights.hf_config import FAMILIES, llm_config_from_hf, llm_config_to_hf

# What the published files say about the arithmetic, in the spelling that they have.
SMOLLM2_135M = dict(
    **dict(model_type="llama", vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30),
    **dict(num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-05),
    **dict(rope_theta=100000, rope_scaling=None, rope_interleaved=False, attention_bias=False, mlp_bias=False),
    **dict(hidden_act="silu", is_llama_config=True, pretraining_tp=1, tie_word_embeddings=True, torch_dtype="bfloat16"),
)
LLAMA_3_2_1B = dict(
    **dict(model_type="llama", vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16),
    **dict(num_attention_heads=32, num_key_value_heads=8, head_dim=64, max_position_embeddings=131072),
    **dict(rms_norm_eps=1e-05, rope_theta=500000.0, tie_word_embeddings=True, hidden_act="silu", mlp_bias=False),
    rope_scaling=dict(
        **dict(factor=32.0, high_freq_factor=4.0, low_freq_factor=1.0, original_max_position_embeddings=8192),
        rope_type="llama3",
    ),
)
LLAMA_2_7B = dict(
    **dict(model_type="llama", vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32),
    **dict(num_attention_heads=32, num_key_value_heads=32, max_position_embeddings=4096, rms_norm_eps=1e-05),
    **dict(rope_scaling=None, tie_word_embeddings=False, hidden_act="silu", torch_dtype="float16"),
)
GEMMA_3_270M = dict(
    **dict(model_type="gemma3_text", vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18),
    **dict(num_attention_heads=4, num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256, sliding_window=512),
    **dict(rope_theta=1000000.0, rope_local_base_freq=10000.0, rope_scaling=None, rms_norm_eps=1e-06),
    **dict(attn_logit_softcapping=None, final_logit_softcapping=None, use_bidirectional_attention=False),
    **dict(hidden_activation="gelu_pytorch_tanh", attention_bias=False, max_position_embeddings=32768),
    layer_types=[("full" if i % 6 == 5 else "sliding") + "_attention" for i in range(18)],
    _sliding_window_pattern=6,
)
GEMMA_3_1B = dict(
    **dict(model_type="gemma3_text", vocab_size=262144, hidden_size=1152, intermediate_size=6912, num_hidden_layers=26),
    **dict(num_attention_heads=4, num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256, sliding_window=512),
    **dict(rope_theta=1000000, rope_local_base_freq=10000, rope_scaling=None, sliding_window_pattern=6),
)
GEMMA_3_4B = dict(  # with pictures; its text part leaves out what is the default
    model_type="gemma3",
    text_config=dict(
        **dict(hidden_size=2560, intermediate_size=10240, model_type="gemma3_text", num_hidden_layers=34),
        **dict(rope_scaling={"factor": 8.0, "rope_type": "linear"}, sliding_window=1024),
    ),
    vision_config=dict(hidden_size=1152, model_type="siglip_vision_model"),
)


def test_llama():
    config = llm_config_from_hf(SMOLLM2_135M)
    assert (config.head_dim, config.num_heads, config.num_kv_heads, config.rope_theta) == (64, 9, 3, 100_000.0)
    assert config.tie_embeddings and not (config.qk_norm or config.qkv_bias or config.o_bias or config.mlp_bias)
    assert config.rope_scaling == "none" and config.layer_types == ()
    config = llm_config_from_hf(LLAMA_3_2_1B)
    scaling = (config.rope_scaling, config.rope_factor, config.rope_low_freq, config.rope_high_freq)
    assert scaling == ("llama3", 32.0, 1.0, 4.0) and config.rope_original_positions == 8192
    config = llm_config_from_hf(LLAMA_2_7B)
    assert (config.head_dim, config.rope_theta, config.max_positions) == (128, 10_000.0, 4096)


def test_gemma():
    config = llm_config_from_hf(GEMMA_3_270M)
    assert config.tie_embeddings and config.scale_embeddings and config.post_norms and config.unit_offset_norms
    assert (config.query_scalar, config.window, config.rope_theta, config.local_rope_theta) == (256, 512, 1e6, 1e4)
    assert [i for i in range(18) if not config.is_local(i)] == [5, 11, 17]
    config = llm_config_from_hf(GEMMA_3_1B)
    assert [i for i in range(26) if not config.is_local(i)] == [5, 11, 17, 23]
    config = llm_config_from_hf(GEMMA_3_4B)
    assert (config.vocab_size, config.num_heads, config.num_kv_heads, config.head_dim) == (262_208, 8, 4, 256)
    assert (config.rope_scaling, config.rope_factor, config.window) == ("linear", 8.0, 1024)
    assert config.tie_embeddings and config.max_positions == 131_072


@for_each("values", [SMOLLM2_135M, LLAMA_3_2_1B, LLAMA_2_7B, GEMMA_3_270M, GEMMA_3_1B, GEMMA_3_4B])
def test_a_written_config_means_the_same(values):
    config = llm_config_from_hf(values)
    written = llm_config_to_hf(config)
    assert llm_config_from_hf(written) == config
    # either place of the rotary fields alone is enough, for transformers 4 and for 5
    rope = written.pop("rope_parameters")
    assert llm_config_from_hf(written) == config
    for name in ("rope_theta", "rope_scaling", "rope_local_base_freq"):
        written.pop(name, None)
    assert llm_config_from_hf(written | {"rope_parameters": rope}) == config


@for_each("values", [SMOLLM2_135M, GEMMA_3_270M])
def test_unread_fields_do_not_matter(values):
    noise = dict(bos_token_id=0, eos_token_id=[1, 106], use_cache=True, transformers_version="4.55.0", head_dim=None)
    noise |= dict(initializer_range=0.02, attention_dropout=0.0, pad_token_id=0, cache_implementation="hybrid")
    without = {name: value for name, value in values.items() if name != "head_dim"}
    assert llm_config_from_hf(without | noise) == llm_config_from_hf(without)


LLAMA3 = LLAMA_3_2_1B["rope_scaling"]


@for_each(
    "values, changes, message",
    [
        (SMOLLM2_135M, dict(hidden_act="gelu"), "hidden_act 'gelu' is not supported for llama; supported: .'silu'"),
        (SMOLLM2_135M, dict(rope_interleaved=True), "rope_interleaved True"),
        (SMOLLM2_135M, dict(rope_scaling={"type": "dynamic", "factor": 2.0}), "dynamic.*default, linear, llama3"),
        (SMOLLM2_135M, dict(rope_scaling={"type": "linear"}), "factor is missing"),
        (SMOLLM2_135M, dict(rope_scaling={"type": "linear", "factor": 0}), "rope-factor must be positive"),
        (SMOLLM2_135M, dict(rope_scaling="linear"), "rope_scaling must be an object"),
        (SMOLLM2_135M, dict(rope_scaling={"full_attention": {"rope_type": "default"}}), "rope_scaling .*not supported"),
        (SMOLLM2_135M, dict(rope_scaling={"rope_type": ["linear"]}), "rope_scaling .*not supported"),
        (SMOLLM2_135M, dict(partial_rotary_factor=0.5), "partial_rotary_factor 0.5"),
        (SMOLLM2_135M, dict(layer_types=["sliding_attention"] * 30), "layer_types .*sliding_attention"),
        (SMOLLM2_135M, dict(attention_bias="yes"), "attention_bias must be true or false"),
        (SMOLLM2_135M, dict(rope_theta="high"), "rope_theta must be"),
        (SMOLLM2_135M, dict(num_attention_heads=0), "num-heads must be at least 1"),
        (SMOLLM2_135M, dict(num_hidden_layers=10**6), "num_hidden_layers is 1000000, which is not plausible"),
        (LLAMA_3_2_1B, dict(rope_scaling=LLAMA3 | {"high_freq_factor": None}), "high_freq_factor must be"),
        (LLAMA_3_2_1B, dict(rope_scaling=LLAMA3 | {"high_freq_factor": 1.0}), "rope-high-freq must be above"),
        (
            GEMMA_3_270M,
            dict(final_logit_softcapping=30.0),
            "final_logit_softcapping 30.0 .*gemma3_text; supported: none",
        ),
        (GEMMA_3_270M, dict(attn_logit_softcapping=50.0), "attn_logit_softcapping 50.0"),
        (GEMMA_3_270M, dict(use_bidirectional_attention=True), "use_bidirectional_attention True"),
        (GEMMA_3_270M, dict(hidden_activation="silu"), "hidden_activation 'silu'"),
        (GEMMA_3_270M, dict(layer_types=["full_attention"]), "layer-types must be 18 of full_attention, sliding"),
        (GEMMA_3_270M, dict(layer_types=["chunked_attention"] * 18), "layer_types .*chunked_attention"),
        (GEMMA_3_270M, dict(sliding_window=0), "window must be at least 1"),
        (GEMMA_3_270M, dict(rope_scaling=LLAMA3), "rope_scaling .*llama3.*supported: rope_type default, linear"),
        (
            GEMMA_3_270M,
            dict(rope_parameters={"sliding_attention": {"rope_type": "linear", "factor": 2.0}}),
            "rope_parameters .*supported: rope_type default$",
        ),
        (GEMMA_3_270M, dict(rope_parameters={"global": {"rope_type": "default"}}), "rope_parameters .*not supported"),
        (GEMMA_3_1B, dict(sliding_window_pattern=0), "sliding_window_pattern must be"),
        (GEMMA_3_4B, dict(text_config=None), "text_config must be an object"),
        (GEMMA_3_4B, dict(quantization_config={"bits": 4}), "quantization_config"),
        (SMOLLM2_135M, dict(model_type="gemma2"), "model_type 'gemma2' is not supported; supported: .*gemma3_text"),
    ],
)
def test_what_is_not_computed_is_named(values, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        llm_config_from_hf(values | changes)
    assert "\n" not in str(error.value)


@for_each(
    "changes",
    [
        dict(qk_norm=False, qkv_bias=True, o_bias=False, mlp_bias=True),
        dict(qk_norm=False, o_bias=True),
        dict(qk_norm=True, rope_scaling="linear", rope_factor=2.0),
        dict(qk_norm=True, post_norms=True),
        dict(qk_norm=False, activation="gelu_tanh"),
        dict(qk_norm=False, window=4, layer_types=("sliding_attention",) * 4),
    ],
)
def test_a_mixture_of_families_is_not_written(changes):
    """A flag that the family lacks would be lost on the way, and the written model another one."""
    with pytest.raises(ValueError, match="no Hugging Face family has"):
        llm_config_to_hf(replace(LLMConfig(head_dim=64, num_heads=4), **changes))


def test_every_family_goes_round():
    for family in FAMILIES.values():
        flags = dict(family.flags)
        if "window" in family.fields:
            flags |= dict(window=8, layer_types=("sliding_attention",) * 3 + ("full_attention",), query_scalar=16.0)
        config = LLMConfig(**flags)
        assert llm_config_from_hf(llm_config_to_hf(config)) == config


def test_llama3_frequencies():
    """Fast channels stay, slow ones are divided by the factor, those between blend: Llama 3.1's published rule."""
    config = llm_config_from_hf(LLAMA_3_2_1B)
    frequencies = 1.0 / config.rope_theta ** (torch.arange(0, 64, 2) / 64)
    scaled = scale_frequencies(frequencies, config)
    for plain, found in zip(frequencies.tolist(), scaled.tolist(), strict=True):
        wavelength = 2 * math.pi / plain
        if wavelength < 8192 / 4:
            expected = plain
        elif wavelength > 8192 / 1:
            expected = plain / 32
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            expected = (1 - smooth) * plain / 32 + smooth * plain
        assert found == pytest.approx(expected, rel=1e-5)
    assert (scaled == frequencies).any() and (scaled < frequencies / 31).any()
    assert torch.equal(scale_frequencies(frequencies, LLMConfig()), frequencies)
