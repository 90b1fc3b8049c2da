"""Text tokenizers of every family, small enough to be made in a test: markers and conventions are the real ones."""

import io
import json
from functools import cache

from motiongpt.text_tokenizer import JSONTokenizer, train_text_tokenizer

CAPTIONS = ("a person walks forward", "a person walks backward and waves", "someone jumps over the fence")
SENTENCES = (
    *CAPTIONS,
    "the man lifts both arms, turns left and sits down on a chair",
    "she runs 3.5 metres in a circle",
    "He kicks (twice) with the right foot!",
    "line one\nline two\r\n\ttabbed",
    "  two  spaces  ",
    "пешеход идёт вперёд",
    "日本語のテキスト",
    "naïve café",
)

LLAMA = {
    "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False, "split_digits": True, "allow_whitespace_only_pieces": True,
}  # fmt: skip
BLANKS = ["\n" * n for n in range(1, 9)] + ["▁" * n for n in range(2, 9)] + ["\t" * n for n in range(1, 5)]
GEMMA = LLAMA | {
    "add_dummy_prefix": False, "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>",
    "eos_piece": "<eos>", "bos_piece": "<bos>",
    "user_defined_symbols": ["<mask>", "<start_of_turn>", "<end_of_turn>", *BLANKS, "<h1>", "<s>", "</s>"],
}  # fmt: skip
T5 = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
UNIGRAM_BYTES = LLAMA | {"model_type": "unigram"}
SETTINGS = {"llama": LLAMA, "gemma": GEMMA, "t5": T5, "unigram-bytes": UNIGRAM_BYTES}

LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


@cache
def sentencepiece_model(kind: str) -> bytes:
    """A `.model` file of about 400 pieces, as sentencepiece trains it."""
    import sentencepiece

    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(SENTENCES) * 3),
        model_writer=file,
        vocab_size=430,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **SETTINGS[kind],
    )
    return file.getvalue()


def byte_level(*markers: str, chat_template: str | None = None) -> JSONTokenizer:
    """A byte-level BPE with these special tokens behind its pieces, like Llama 3."""
    content = json.loads(train_text_tokenizer(CAPTIONS, 300).full.to_str())
    vocab = content["model"]["vocab"]
    for old in [token["content"] for token in content["added_tokens"]]:  # the trained ones are Qwen's
        vocab[f"unused {old}"] = vocab.pop(old)
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content["added_tokens"] = [{"id": len(vocab) + i, "content": word} | plain for i, word in enumerate(markers)]
    return JSONTokenizer(json.dumps(content), chat_template)
