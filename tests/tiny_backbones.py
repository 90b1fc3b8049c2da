"""Backbones of every family, random and tiny: models that `transformers` writes, and text tokenizers of each kind."""

from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from tiny_tokenizers import CAPTIONS, sentencepiece_model

from motiongpt.files.store import write_json
from motiongpt.text_tokenizer import load_text_tokenizer, train_text_tokenizer

SIZES = dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
PADDING = 11  # rows of the word table behind the text tokenizer's last token


def write(folder: Path, make: Callable, **sizes) -> Path:
    """A random model beside the text tokenizer that lies in `folder`."""
    torch.manual_seed(0)
    rows = load_text_tokenizer(folder).size + PADDING
    make(vocab_size=rows, **sizes).save_pretrained(folder)
    return folder


def decoder(kind: type) -> Callable:
    return lambda **sizes: transformers.AutoModelForCausalLM.from_config(kind(**sizes))


def t5(**sizes):
    """v1.1: gated, with a head of its own."""
    config = transformers.T5Config(feed_forward_proj="gated-gelu", tie_word_embeddings=False, **sizes)
    model = transformers.T5ForConditionalGeneration(config)
    model.lm_head.weight = torch.nn.Parameter(0.05 * torch.randn_like(model.lm_head.weight))
    return model


def backbone(family: str, folder: Path) -> Path:
    """A Hugging Face folder of qwen2, qwen3, llama, gemma3 or t5."""
    folder.mkdir(parents=True)
    if family in ("qwen2", "qwen3"):
        train_text_tokenizer(CAPTIONS, 300).save(folder)
    else:
        name = "spiece.model" if family == "t5" else "tokenizer.model"
        (folder / name).write_bytes(sentencepiece_model({"gemma3": "gemma"}.get(family, family)))
    if family == "qwen2":
        return write(folder, decoder(transformers.Qwen2Config), **SIZES)
    if family == "qwen3":
        return write(folder, decoder(transformers.Qwen3Config), head_dim=8, tie_word_embeddings=True, **SIZES)
    if family == "llama":
        return write(folder, decoder(transformers.LlamaConfig), **SIZES)
    if family == "gemma3":
        return write(folder, decoder(transformers.Gemma3TextConfig), head_dim=8, sliding_window=6, **SIZES)
    write_json(folder / "tokenizer_config.json", {"extra_ids": 100})
    shape = dict(d_model=24, d_kv=8, num_heads=3, d_ff=32, num_layers=2, decoder_start_token_id=0)
    return write(folder, t5, **shape)
