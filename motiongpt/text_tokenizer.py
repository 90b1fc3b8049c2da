"""Text tokenizers behind one small interface, `TextTokenizer`: captions to ids and back.

Danger: whatever a user types is text. `encode` therefore never matches special or added tokens. If a caption holds
`<MOT_END>` or `<|im_end|>`, it is spelled out in ordinary pieces, so no caption can end a motion or open a chat turn.
The package looks special tokens up by name, with `token_id`.

The words of motion are no part of a text tokenizer; `vocab.py` puts them behind its last id. `save` adds them to the
exported files, for other programs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from motiongpt.files.store import write_atomic


class TextTokenizer(Protocol):
    """What the rest of the package needs from a text tokenizer."""

    size: int  # the largest id + 1
    added_ids: tuple[int, ...]  # ids of its special and added tokens; no text encodes to them

    def encode(self, text: str) -> list[int]:
        """Text to ids, never the id of a special token."""

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, without special tokens."""

    def token_id(self, word: str) -> int | None:
        """The id of a token by its name, None if there is no such token."""

    def save(self, folder: Path, words: Sequence[str] = ()) -> None:
        """Write tokenizer files into `folder`, with `words` added as special tokens at `size`, size + 1, ..."""


class JSONTokenizer:
    """A Hugging Face `tokenizer.json` (Qwen, Llama 3, the demo's own), read with the `tokenizers` library.

    Raises ValueError if the content is no such file, or if its ids have gaps.
    """

    def __init__(self, content: str) -> None:
        from tokenizers import Tokenizer

        try:
            plain = json.loads(content)
        except RecursionError as error:
            raise ValueError("its JSON is nested too deeply to be read") from error
        if not isinstance(plain, dict) or not isinstance(plain.get("model"), dict):
            raise ValueError("expected a JSON object with the key model")
        added = plain.get("added_tokens") or []
        if not isinstance(added, list) or not all(isinstance(t, dict) and type(t.get("id")) is int for t in added):
            raise ValueError("added_tokens must be a list of objects with an id")
        self.added_ids = tuple(token["id"] for token in added)
        # The tokenizer that reads users' text knows no added tokens at all, so there is nothing to inject. A file may
        # also ask for cutting and padding; text is never cut or padded here.
        bare = {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
        try:
            self.full = Tokenizer.from_str(content)
            self.plain = Tokenizer.from_str(json.dumps(plain | bare))
        except Exception as error:  # `tokenizers` raises nothing narrower
            raise ValueError(" ".join(str(error).split())[:200]) from error
        vocab = self.full.get_vocab()
        if not vocab:
            raise ValueError("it has no tokens")
        self.size = max(vocab.values()) + 1
        if len(vocab) != self.size:
            raise ValueError(f"{len(vocab)} tokens, but the largest id is {self.size - 1}: ids have gaps")

    def encode(self, text: str) -> list[int]:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:  # a lone surrogate: the command line had bytes of another encoding
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
    """Write a file unless it has this content already: every save of a stage writes the same tokenizer."""
    content = text.encode("utf-8")
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, lambda temporary: temporary.write_bytes(content))


def load_text_tokenizer(folder: Path | str) -> TextTokenizer:
    """The text tokenizer of a backbone folder. FileNotFoundError if it has none, ValueError if it is unreadable."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no tokenizer.json; a backbone folder needs one beside config.json")
    try:
        return JSONTokenizer(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a tokenizer we read ({error})") from error


SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")  # Qwen's


def train_text_tokenizer(texts: Sequence[str], size: int) -> JSONTokenizer:
    """Learn a byte-level BPE tokenizer of at most `size` tokens from captions, with Qwen's chat markers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    learnt.train_from_iterator(texts, trainer)
    return JSONTokenizer(learnt.to_str())
