"""Text tokenizers behind one small interface."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from motiongpt.files.store import write_atomic


class TextTokenizer(Protocol):
    """What the rest of the package asks of a tokenizer. `size` is the largest id + 1."""

    size: int
    added_ids: tuple[int, ...]  # ids of its special and added tokens, which no plain text encodes to

    def encode(self, text: str) -> list[int]:
        """Plain text to ids; never a special token."""

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text; special tokens are left out."""

    def token_id(self, word: str) -> int | None:
        """The id of a special token, None where the tokenizer has none of that name."""

    def save(self, folder: Path, words: Sequence[str] = ()) -> None:
        """Write tokenizer files into `folder`, with `words` added as special tokens at `size`, size + 1, ..."""


class JSONTokenizer:
    """A Hugging Face `tokenizer.json` (Qwen, Llama 3, the demo's own), through the `tokenizers` library."""

    def __init__(self, content: str) -> None:
        from tokenizers import Tokenizer

        plain = json.loads(content)
        if not isinstance(plain, dict) or not isinstance(plain.get("model"), dict):
            raise ValueError("expected a JSON object with the key model")
        self.added_ids = tuple(token["id"] for token in plain.get("added_tokens") or ())
        # The tokenizer that reads users' text knows no added tokens at all: nothing to inject. Nor does it cut or
        # pad, which a file may ask for.
        bare = {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        try:
            self.full = Tokenizer.from_str(content)
            self.plain = Tokenizer.from_str(json.dumps(plain | bare))
        except Exception as error:  # `tokenizers` raises nothing narrower
            raise ValueError(str(error)) from error
        vocab = self.full.get_vocab()
        self.size = max(vocab.values()) + 1
        if len(vocab) != self.size:
            raise ValueError(f"{len(vocab)} tokens, but the largest id is {self.size - 1}: ids have gaps")

    def encode(self, text: str) -> list[int]:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:  # half a character: bytes of another encoding on the command line
            raise ValueError(f"the text is not Unicode at character {error.start}: {text[:40]!a}") from error
        return self.plain.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.full.decode(list(ids), skip_special_tokens=True)

    def token_id(self, word: str) -> int | None:
        return self.full.token_to_id(word)

    def save(self, folder: Path, words: Sequence[str] = ()) -> None:
        from tokenizers import AddedToken, Tokenizer

        extended = Tokenizer.from_str(self.full.to_str())
        extended.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in words])
        _write_if_new(folder / "tokenizer.json", extended.to_str(pretty=True))
        config = {"tokenizer_class": "PreTrainedTokenizerFast"}
        for name, word in (("eos_token", "<|im_end|>"), ("pad_token", "<|endoftext|>")):
            config |= {name: word} if self.token_id(word) is not None else {}
        _write_if_new(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")


def _write_if_new(path: Path, text: str) -> None:
    """A stage is exported many times and its words stay: an equal file is left alone."""
    content = text.encode("utf-8")
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, lambda temporary: temporary.write_bytes(content))


def load_text_tokenizer(folder: Path | str) -> TextTokenizer:
    """The tokenizer of a backbone folder. Raises FileNotFoundError where there is none we read."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no tokenizer.json; a backbone folder needs one beside config.json")
    try:
        return JSONTokenizer(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a tokenizer we read ({error})") from error


SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def train_text_tokenizer(texts: Sequence[str], size: int) -> JSONTokenizer:
    """A byte-level BPE tokenizer of at most `size` words learnt from captions, with Qwen's chat markers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    text_tokenizer = Tokenizer(models.BPE())
    text_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text_tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    text_tokenizer.train_from_iterator(texts, trainer)
    return JSONTokenizer(text_tokenizer.to_str())
