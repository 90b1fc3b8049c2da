"""Words: text tokenizers behind one small interface, and the motion words that follow them.

    id   0 ... first_id - 1   text, and the backbone's own special tokens
         first_id             <MOT_BEGIN>
         + 1                  <MOT_END>
         + 2 ... + 1 + N      <motion_0> ... <motion_{N-1}>
         + 2 + N ...          <T2M> <M2T> <DENOISE> <MOTION_MASK> <PID_NULL> <PID_x> ...

first_id is the tokenizer's largest id + 1 (Qwen3: 151,669), not the rows of its padded embedding table.
`MotionVocab` is the only place that knows these ids, `format_motion` and `parse_motion` the only ones that
know how codes are written as text.

Danger: what a user types is text. `encode` therefore never matches special or added tokens: `<MOT_END>` or
`<|im_end|>` in a caption is spelled out in ordinary pieces. Special tokens are looked up by name, by us.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from motiongpt.files.store import write_atomic

BEGIN, END = "<MOT_BEGIN>", "<MOT_END>"
TASK_WORDS = ("<T2M>", "<M2T>", "<DENOISE>", "<MOTION_MASK>", "<PID_NULL>")
CODE_WORD = re.compile(r"<(?:motion_id_|motion_|M)(\d+)>")
MARKERS = re.compile(r"<(?:MOT_BEGIN|MOT_END|M_START|M_END)>")


def format_motion(codes: Sequence[int]) -> str:
    """[42, 18] -> "<MOT_BEGIN><motion_42><motion_18><MOT_END>"."""
    return BEGIN + "".join(f"<motion_{code}>" for code in codes) + END


def parse_motion(text: str) -> list[int]:
    """Codes of a token string: `<motion_42>`, `<motion_id_42>`, `<M42>` or bare numbers, markers or none.

    Raises ValueError naming the first piece that is none of these.
    """
    codes = []
    for piece in CODE_WORD.sub(r" \1 ", MARKERS.sub(" ", text)).replace(",", " ").split():
        if not piece.isascii() or not piece.isdigit():
            raise ValueError(f"not a motion token: {piece[:40]!r}; expected <motion_42>, <M42> or 42")
        codes.append(int(piece))
    return codes


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


def load_tokenizer(folder: Path | str) -> TextTokenizer:
    """The tokenizer of a backbone folder. Raises FileNotFoundError where there is none we read."""
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no tokenizer.json; a backbone folder needs one beside config.json")
    try:
        return JSONTokenizer(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a tokenizer we read ({error})") from error


SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def train_tokenizer(texts: Sequence[str], size: int) -> JSONTokenizer:
    """A byte-level BPE tokenizer of at most `size` words learnt from captions, with Qwen's chat markers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return JSONTokenizer(tokenizer.to_str())


class MotionVocab:
    """Ids of the motion words for one tokenizer, one codebook size and one list of participants."""

    def __init__(self, tokenizer: TextTokenizer, codes: int, participants: Sequence[str] = ()) -> None:
        if codes < 1:
            raise ValueError(f"a codebook needs at least one code, got {codes}")
        self.tokenizer, self.codes, self.participants = tokenizer, codes, tuple(sorted(set(participants)))
        self.first_id = self.begin_id = tokenizer.size
        self.end_id, self.first_motion = self.first_id + 1, self.first_id + 2
        tail = (*TASK_WORDS, *(f"<PID_{name}>" for name in self.participants))
        self.words = (BEGIN, END, *(f"<motion_{i}>" for i in range(codes)), *tail)
        taken = [word for word in tail if tail.count(word) > 1] + [
            word for word in self.words if tokenizer.token_id(word) is not None
        ]
        if taken:
            raise ValueError(
                f"the word {taken[0]} exists already: a participant has a reserved name, or the backbone is a stage "
                "that writes motion (give the one it was made from)"
            )
        self._tail = {word: self.first_motion + codes + i for i, word in enumerate(tail)}

    def __len__(self) -> int:
        """How many new words there are: V = first_id + len(vocab)."""
        return len(self.words)

    def id(self, word: str) -> int:
        """The id of a task or participant word, or of the backbone's special token of that name."""
        found = self._tail.get(word)
        found = self.tokenizer.token_id(word) if found is None else found
        if found is None:
            raise ValueError(f"neither the motion vocabulary nor the tokenizer has the word {word}")
        return found

    def motion_ids(self, codes: Sequence[int]) -> list[int]:
        """Codes -> their words' ids, between the two markers. Raises ValueError for a code outside the codebook."""
        for code in codes:
            if not 0 <= code < self.codes:
                raise ValueError(f"motion code {code} is outside the codebook of {self.codes} (0 to {self.codes - 1})")
        return [self.begin_id, *(self.first_motion + code for code in codes), self.end_id]

    def participant_id(self, name: str | None) -> int:
        """The word of a participant; None is <PID_NULL>. Raises ValueError naming the known ones."""
        if name is None:
            return self.id("<PID_NULL>")
        if name not in self.participants:
            known = ", ".join(self.participants[:12]) or "none"
            raise ValueError(f"unknown participant {name!r}; this model knows: {known}")
        return self.id(f"<PID_{name}>")
