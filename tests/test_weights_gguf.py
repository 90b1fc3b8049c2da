"""GGUF files to Hugging Face folders: tiny files, written here as llama.cpp's converter writes them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import for_each, seeded

from motiongpt.text_tokenizer import load_text_tokenizer
from motiongpt.weights import gguf as reader
from motiongpt.weights.gguf import gguf_to_hf
from motiongpt.weights.llm import load_llm

gguf = pytest.importorskip("gguf", reason="needs the package gguf")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ["one two three four 1 22 333", "a person walks, turns and waves\n\n7 times", "naïve café 漢字 x = 12;"] * 4
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SENTENCES = [
    *WORDS[:3], "", " ", "a  b\t\tc\r\n d\n\n 12345 ", "2024's 3.14 ½ ² ٣", "😀 👩‍👩‍👧",
    "<|im_start|>user\nhi<|im_end|>", "AB<tool>C", "it's WE'LL I'd",
]  # fmt: skip
SHAPES = {
    "grouped": dict(num_attention_heads=4, num_key_value_heads=2),
    "one key head": dict(num_attention_heads=2, num_key_value_heads=1, head_dim=48),  # heads * head_dim != hidden_size
    "untied": dict(num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False),
}
# fp32 on both sides from equal weights, with sums in another order; logits are of order 1
CLOSE = dict(atol=1e-5, rtol=1e-5)


def byte_level(words: str) -> tokenizers.Tokenizer:
    """A text tokenizer trained here, which cuts words as the value of tokenizer.ggml.pre says."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

    made = tokenizers.Tokenizer(models.BPE(ignore_merges=words == "llama-bpe"))
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if words == "smollm":
        cut = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), cut])
    elif words == "llama-bpe":
        pattern = tokenizers.Regex(reader.LLAMA3_WORDS)
        rest = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        cut = pre_tokenizers.Sequence([pre_tokenizers.Split(pattern, "isolated"), rest])
    made.pre_tokenizer = cut
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    made.add_tokens([AddedToken("<tool>", special=False, normalized=False)])
    return made


def llama(shape: str, vocab_size: int):
    """A tiny Llama of transformers; its norm weights are random too, so that a forgotten one shows."""
    config = transformers.LlamaConfig(
        **dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, tie_word_embeddings=True) | SHAPES[shape],
        vocab_size=vocab_size, max_position_embeddings=128, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    generator = seeded(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + (parameter.dim() == 1))
    return model


def for_llama_cpp(weight: np.ndarray, heads: int) -> np.ndarray:
    """The rows of q or k as llama.cpp wants them, with a loop: row i of a head to 2 i, row d / 2 + i to 2 i + 1."""
    moved = np.empty_like(weight)
    d = len(weight) // heads
    for head in range(heads):
        for i in range(d // 2):
            moved[head * d + 2 * i] = weight[head * d + i]
            moved[head * d + 2 * i + 1] = weight[head * d + d // 2 + i]
    return moved


def write_gguf(path: Path, model, text_tokenizer, kind: str = "F32", words: str = "smollm", **changes) -> None:
    """Write a model as a GGUF file, and round its own weights to what the file holds.

    `changes`: fields to add or to change (None: leave out), and under `tensors` arrays to add or to leave out.
    """
    config = model.config
    vocab = sorted(text_tokenizer.get_vocab().items(), key=lambda item: item[1])
    merges = json.loads(text_tokenizer.to_str())["model"]["merges"]
    added = {"<tool>": 4} | dict.fromkeys(SPECIAL, 3)
    fields = {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.key_length": config.head_dim,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 50_000.0,
        "llama.rope.dimension_count": config.head_dim,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": words,
        "tokenizer.ggml.tokens": [token for token, _ in vocab],
        "tokenizer.ggml.token_type": [added.get(token, 1) for token, _ in vocab],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": "{{ messages[0]['content'] }}",
    }
    extra = changes.pop("tensors", {})
    family = changes.pop("architecture", "llama")
    writer = gguf.GGUFWriter(path, family)
    adders = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, bool: writer.add_bool,
              list: writer.add_array}  # fmt: skip
    for name, value in (fields | changes).items():
        if value is not None:
            adders[type(value)](name, value)
    # GGUF's names, from its own table: it is independent of ours
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    tensors = {}
    for key, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        quantisation = gguf.GGMLQuantizationType["F32" if parameter.dim() == 1 else kind]
        with torch.no_grad():
            parameter.copy_(torch.tensor(gguf.dequantize(gguf.quantize(values, quantisation), quantisation)))
        part = key.split(".")[-2]
        values = for_llama_cpp(values, heads[part]) if part in heads else values
        tensors[names.get_name(key, (".weight",))] = (gguf.quantize(values, quantisation), quantisation)
    tensors |= {name: (array, None) for name, array in extra.items()}
    for name, (array, quantisation) in tensors.items():
        if array is not None:
            writer.add_tensor(name, array, raw_dtype=quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@for_each("shape", SHAPES)
@for_each("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_1"])
def test_logits_equal_the_model_it_was_written_from(kind, shape, tmp_path, monkeypatch):
    """The weights are equal bit for bit, so the rows of q and k are in the right order; without that step, far off."""
    words = byte_level("smollm")
    model = llama(shape, words.get_vocab_size())
    write_gguf(tmp_path / "m.gguf", model, words, kind)
    gguf_to_hf(tmp_path / "m.gguf", tmp_path / "hf", torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    for (name, left), right in zip(model.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(left, right), name
    ids = torch.randint(0, words.get_vocab_size(), (2, 20), generator=seeded(2))
    with torch.no_grad():
        want = model(ids).logits
        torch.testing.assert_close(load_llm(tmp_path / "hf")(ids), want, **CLOSE)
        monkeypatch.setattr(reader, "half_split", lambda weight, heads: weight)
        gguf_to_hf(tmp_path / "m.gguf", tmp_path / "raw", torch.float32)
        assert (load_llm(tmp_path / "raw")(ids) - want).abs().max() > 0.1


@for_each("words", ["smollm", "llama-bpe", "gpt-2", "default"])
def test_text_tokenizer_is_rebuilt(words, tmp_path):
    """The ids of every sentence, added tokens included, by the tokenizer it was written from."""
    made = byte_level(words)
    write_gguf(tmp_path / "m.gguf", llama("grouped", made.get_vocab_size()), made, words=words)
    gguf_to_hf(tmp_path / "m.gguf", tmp_path / "hf")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    ours = load_text_tokenizer(tmp_path / "hf")
    for sentence in SENTENCES:
        want = made.encode(sentence).ids
        assert theirs.encode(sentence) == want, sentence
        assert theirs.decode(want) == sentence
        if not any(word in sentence for word in (*SPECIAL, "<tool>")):  # ours takes those for text
            assert ours.encode(sentence) == want, sentence
    assert ours.size == made.get_vocab_size() and ours.token_id("<|im_end|>") == 2
    assert (theirs.bos_token, theirs.eos_token, theirs.model_max_length) == ("<|im_start|>", "<|im_end|>", 128)
    assert theirs.apply_chat_template([{"role": "user", "content": "so"}], tokenize=False) == "so"


def test_files_of_the_folder(tmp_path):
    """fp16 by default; numbers as people write them; a start token only if the file asks for it."""
    made = byte_level("smollm")
    write_gguf(tmp_path / "m.gguf", llama("grouped", made.get_vocab_size()), made, **{
        "tokenizer.ggml.add_bos_token": True, "llama.attention.key_length": None, "llama.rope.dimension_count": None,
    })  # fmt: skip
    gguf_to_hf(tmp_path / "m.gguf", tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    want = {"model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 50_000.0, "head_dim": 16, "dtype": "float16",
            "tie_word_embeddings": True, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
    assert {name: config[name] for name in want} == want
    assert json.loads((tmp_path / "hf" / "generation_config.json").read_text()) == {
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    assert (tmp_path / "hf" / "model.safetensors").stat().st_size < 2.2 * sum(
        p.numel() for p in llama("grouped", made.get_vocab_size()).parameters()
    )
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf").encode("one", "two")
    assert ids == [1, *made.encode("one").ids, 1, *made.encode("two").ids]


ROW = np.ones(64, np.float32)


@for_each("changes, message", [
    ({"architecture": "qwen2"}, "its architecture is 'qwen2', only llama is converted"),
    ({"llama.expert_count": 8}, "llama.expert_count '8' is not converted"),
    ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type 'yarn' is not converted"),
    ({"llama.rope.dimension_count": 8}, "a rotary embedding of part of a head is not converted"),
    ({"llama.block_count": None}, "the key llama.block_count is missing"),
    ({"llama.block_count": 3}, "missing 9 (blk.2.attn_norm.weight"),
    ({"llama.embedding_length": 32}, "token_embd.weight is "),
    ({"llama.attention.head_count": 0}, "llama.attention.head_count must be a whole number of at least 1"),
    ({"llama.attention.head_count_kv": 3}, "4 heads over 3 of keys"),
    ({"llama.attention.layer_norm_rms_epsilon": "small"}, "layer_norm_rms_epsilon must be a finite number"),
    ({"tensors": {"rope_freqs.weight": ROW}}, "the scaled rotary embedding of Llama 3 is not converted"),
    ({"tensors": {"blk.0.attn_q.bias": ROW}}, "unexpected 1 (blk.0.attn_q.bias)"),
    ({"tensors": {"blk.1.ffn_up.weight": None}}, "missing 1 (blk.1.ffn_up.weight)"),
    ({"tensors": {"token_embd.weight": None}}, "it has no tensor token_embd.weight"),
    ({"tensors": {"output_norm.weight": ROW[:32]}}, "output_norm.weight is (32,), the model has (64,)"),
    ({"tensors": {"output_norm.weight": ROW * 1e6}}, "output_norm.weight holds numbers that are not finite in float16"),
    ({"tokenizer.ggml.model": "llama"}, "its text tokenizer is of the kind 'llama'"),
    ({"tokenizer.ggml.pre": "tekken"}, "tokenizer.ggml.pre is 'tekken'; known are smollm"),
    ({"tokenizer.ggml.merges": ["a b c"]}, "a merge is not a pair"),
    ({"tokenizer.ggml.merges": ["漢 字"]}, "its merges do not fit its tokens"),
    ({"tokenizer.ggml.tokens": ["a", "a"]}, "its tokens are not distinct"),
    ({"tokenizer.ggml.tokens": None}, "the key tokenizer.ggml.tokens is missing"),
    ({"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 9999}, "asks for a start token"),
])  # fmt: skip
def test_what_is_not_converted_is_named(changes, message, tmp_path):
    made = byte_level("smollm")
    write_gguf(tmp_path / "m.gguf", llama("grouped", made.get_vocab_size()), made, **changes)
    with pytest.raises(ValueError) as error:
        gguf_to_hf(tmp_path / "m.gguf", tmp_path / "hf")
    assert message in str(error.value) and str(tmp_path / "m.gguf") in str(error.value)
    assert "\n" not in str(error.value) and not (tmp_path / "hf").exists()


def test_damaged_files_are_named(tmp_path):
    """Cut anywhere, with bytes changed, or something else altogether: one line, and nothing is written."""
    path = tmp_path / "m.gguf"
    with pytest.raises(FileNotFoundError, match="m.gguf does not exist"):
        gguf_to_hf(path, tmp_path / "hf")
    made = byte_level("smollm")
    write_gguf(path, llama("grouped", made.get_vocab_size()), made)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    damaged = [b"", b"GGUF", b"<html>" * 99, *(whole[:n] for n in (30, 500, 4_000, len(whole) // 2, len(whole) - 100))]
    for at in generator.integers(4, 3_000, 40):  # the header: sizes, types and names
        damaged.append(whole[:at] + bytes(generator.integers(0, 256, 4).tolist()) + whole[at + 4 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            gguf_to_hf(path, tmp_path / "hf")
        except ValueError as error:
            refused += 1
            assert "m.gguf" in str(error) and "\n" not in str(error)
    assert refused >= 30  # some bytes are those of a token, and make it only another word


def test_without_the_package_the_command_is_named(tmp_path, monkeypatch):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ValueError, match="needs the package gguf: python -m pip install gguf"):
        gguf_to_hf(tmp_path / "m.gguf", tmp_path / "hf")
