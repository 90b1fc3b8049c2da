"""Our decoder against `transformers`, on tiny random weights that pass through the real loader and writer."""

import json

import pytest
import torch
from cases import for_each, seeded

from motiongpt.config import LLMConfig
from motiongpt.layers import rotary, rotate
from motiongpt.llm import LLM
from motiongpt.weights.llm import load_llm, save_llm

transformers = pytest.importorskip("transformers")

V, C, T = 90, 32, 11
SHAPE = dict(vocab_size=V, hidden_size=C, intermediate_size=48, num_hidden_layers=2, max_position_embeddings=64)
CASES = {
    "qwen2-tied-gqa": ("qwen2", dict(tie_word_embeddings=True, num_attention_heads=4, num_key_value_heads=2)),
    "qwen2-untied-mha": ("qwen2", dict(tie_word_embeddings=False, num_attention_heads=4, num_key_value_heads=4)),
    "qwen3-tied-gqa": ("qwen3", dict(tie_word_embeddings=True, num_attention_heads=4, num_key_value_heads=2)),
    "qwen3-untied-mqa": ("qwen3", dict(tie_word_embeddings=False, num_attention_heads=4, num_key_value_heads=1)),
}
# fp32 on both sides, with sums in another order. Logits are of order 1, so this allows some tens of roundings.
CLOSE = dict(atol=1e-5, rtol=1e-5)


def reference(case: str, theta: float = 10_000.0):
    """A tiny transformers model. Its biases and norm weights are random, so that a forgotten one shows."""
    family, shape = CASES[case]
    if family == "qwen3":
        shape = shape | dict(head_dim=16)  # head_dim * heads != hidden_size, as in Qwen3-0.6B
    config = {"qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config}[family](
        **SHAPE, **shape, rope_parameters={"rope_type": "default", "rope_theta": theta}
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    generator = seeded(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + (parameter.dim() == 1))
    return model


@pytest.fixture
def ids():
    return torch.randint(0, V, (3, T), generator=seeded(2))


@for_each("shards", ["one file", "20KB"])
@for_each("case", CASES)
def test_logits_of_a_loaded_folder(case, shards, ids, tmp_path):
    theirs = reference(case)
    theirs.save_pretrained(tmp_path, **({} if shards == "one file" else dict(max_shard_size=shards)))
    assert (tmp_path / "model.safetensors.index.json").exists() == (shards != "one file")
    ours = load_llm(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, **CLOSE)


@pytest.mark.parametrize("case", ["qwen2-tied-gqa", "qwen3-tied-gqa"])
def test_gradients_of_full_training(case, ids, tmp_path):
    theirs = reference(case)
    theirs.save_pretrained(tmp_path)
    ours = load_llm(tmp_path)
    for model in (theirs, ours):
        logits = model(ids) if model is ours else model(ids).logits
        torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, V), ids[:, 1:].reshape(-1)).backward()
    grads = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert len(grads) == len(list(ours.parameters()))
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[f"model.{name}"], **CLOSE)


@pytest.mark.parametrize("case", ["qwen2-untied-mha", "qwen3-tied-gqa"])
def test_components(case, tmp_path):
    """Norm, rotary embedding, attention and block one by one, so that a failure points at a brick."""
    theirs = reference(case)
    theirs.save_pretrained(tmp_path)
    ours = load_llm(tmp_path)
    x = torch.randn(2, T, C)
    their_block, our_block = theirs.model.layers[1], ours.layers[1]
    positions = torch.arange(T)[None]
    cos, sin = theirs.model.rotary_emb(x, positions)
    d = ours.config.head_dim
    our_cos, our_sin = rotary(torch.arange(T), d, ours.config.rope_theta, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(our_block.input_layernorm(x), their_block.input_layernorm(x), **CLOSE)
        torch.testing.assert_close(our_cos, cos[0], **CLOSE)
        q = torch.randn(2, 4, T, d)
        apply = pytest.importorskip("transformers.models.qwen3.modeling_qwen3").apply_rotary_pos_emb
        torch.testing.assert_close(rotate(q, our_cos, our_sin), apply(q, q, cos, sin)[0], **CLOSE)
        # without a mask transformers' own fused attention is causal
        their_out = their_block.self_attn(x, position_embeddings=(cos, sin), attention_mask=None)[0]
        torch.testing.assert_close(our_block.self_attn(x, our_cos, our_sin), their_out, **CLOSE)
        torch.testing.assert_close(our_block.mlp(x), their_block.mlp(x), **CLOSE)
        their_out = their_block(x, position_embeddings=(cos, sin), attention_mask=None)
        torch.testing.assert_close(our_block(x, our_cos, our_sin), their_out, **CLOSE)


def test_bf16_norm_reduces_in_fp32(tmp_path):
    """In bf16 the norm may differ by one rounding of the result (2^-8), not by a bf16 sum over the width."""
    theirs = reference("qwen3-tied-gqa").bfloat16()
    theirs.save_pretrained(tmp_path)
    ours = load_llm(tmp_path, dtype=torch.bfloat16)
    x = torch.randn(64, C).bfloat16()
    torch.testing.assert_close(ours.norm(x), theirs.model.norm(x), atol=0, rtol=2**-7)


def test_left_padding_and_cache(ids, tmp_path):
    """A left-padded batch decoded step by step gives what transformers gives with mask and position ids."""
    theirs = reference("qwen3-tied-gqa")
    theirs.save_pretrained(tmp_path)
    ours = load_llm(tmp_path)
    start = torch.tensor([0, 3, 6])
    real = torch.arange(T) >= start[:, None]
    positions = (torch.arange(T) - start[:, None]).clamp(min=0)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=real.long(), position_ids=positions).logits
        cache = ours.new_cache(3, T)
        hidden = [ours.hidden(ids[:, :8], cache, start)]
        hidden += [ours.hidden(ids[:, t : t + 1], cache, start) for t in range(8, T)]
        logits = ours.logits(torch.cat(hidden, 1))
    torch.testing.assert_close(logits[real], expected[real], **CLOSE)


def test_old_style_config_and_redundant_head(ids, tmp_path):
    """config.json as transformers 4 wrote it: rope_theta beside the other fields, torch_dtype, rope_scaling null."""
    theirs = reference("qwen3-tied-gqa", theta=1_000_000.0)
    theirs.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["rope_theta"] = values.pop("rope_parameters")["rope_theta"]
    values |= {"rope_scaling": None, "torch_dtype": values.pop("dtype"), "sliding_window": 32768}
    (tmp_path / "config.json").write_text(json.dumps(values))
    ours = load_llm(tmp_path)
    assert ours.config.rope_theta == 1_000_000.0
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, **CLOSE)


@for_each("family", ["qwen2", "qwen3"])
@for_each("tied", [True, False])
@for_each("extended", [True, False])
def test_transformers_loads_what_we_write(family, tied, extended, tmp_path):
    config = LLMConfig(
        **dict(vocab_size=V, hidden_size=C, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2),
        **dict(head_dim=8, rope_theta=5000.0, norm_eps=1e-5, tie_embeddings=tied, max_positions=64),
        **dict(qkv_bias=family == "qwen2", qk_norm=family == "qwen3"),
    )
    ours = LLM(config, seeded(3))
    if extended:
        ours.extend(80, 15, seeded(4))
    save_llm(ours, tmp_path)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    ids = torch.randint(0, ours.vocab_size, (2, T))
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids), **CLOSE)
    again = load_llm(tmp_path)
    assert again.vocab_size == (95 if extended else V)
    with torch.no_grad():
        torch.testing.assert_close(again(ids), ours(ids), **CLOSE)
