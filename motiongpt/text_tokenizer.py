"""Text tokenizers behind one small interface, `TextTokenizer`: captions to ids and back.

Danger: whatever a user types is text. `encode` therefore never matches special or added tokens. If a caption holds
`<MOT_END>` or `<|im_end|>`, it is spelled out in ordinary pieces, so no caption can end a motion or open a chat turn.
The package looks special tokens up by name, with `token_id`. Only added tokens that are nothing but whitespace are
text (Gemma lists "\\n\\n" and tabs).

Text is encoded as if it stood inside a line. Llama's tokenizers put a space before the first word of a text. Here they
do not, so text may follow a marker or a line break, and `decode` returns exactly that text. transformers does the same
for a text behind a marker. T5 puts a space before every word, also at the start of a line, and that stays. Its `decode`
returns each run of whitespace as one space and drops characters that T5 does not know.

The words of motion are not part of a text tokenizer; `vocab.py` puts them behind its last id. `save` adds them to the
exported files, for other programs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from motiongpt.files.sentencepiece_model import is_blank, tokenizer_json
from motiongpt.files.store import read_json, write_atomic

MODEL_FILES = ("spiece.model", "tokenizer.model")  # sentencepiece: T5; Llama and Gemma
T5_SENTINELS = 100
ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "</s>", "<eos>")
"""What ends an answer, for other programs: the first one that a tokenizer has."""


class TextTokenizer(Protocol):
    """What the rest of the package needs from a text tokenizer."""

    size: int  # the largest id + 1
    added_ids: tuple[int, ...]  # of special and added tokens; text encodes to none of them but the unknown token
    chat_template: str | None  # the Jinja text of its Hugging Face folder, if there is one; never run

    def encode(self, text: str) -> list[int]:
        """Text to ids, never the id of a special token."""

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, without special tokens."""

    def token_id(self, word: str) -> int | None:
        """The id of a token by its name, None if there is no such token."""

    def save(self, folder: Path, words: Sequence[str] = ()) -> None:
        """Write tokenizer files into `folder`, with `words` added as special tokens at `size`, size + 1, ..."""


class JSONTokenizer:
    """A Hugging Face `tokenizer.json` (Qwen, Llama, Gemma, T5, the demo's own), read with the `tokenizers` library.

    Raises ValueError if the content is no such file, or if its ids have gaps.
    """

    def __init__(self, content: str, chat_template: str | None = None) -> None:
        from tokenizers import Tokenizer

        try:
            source = json.loads(content)
        except RecursionError as error:
            raise ValueError("its JSON is nested too deeply to be read") from error
        if not isinstance(source, dict) or not isinstance(source.get("model"), dict):
            raise ValueError("expected a JSON object with the key model")
        added = source.get("added_tokens") or []
        if not isinstance(added, list) or not all(isinstance(t, dict) and type(t.get("id")) is int for t in added):
            raise ValueError("added_tokens must be a list of objects with an id")
        markers = [token for token in added if not is_blank(str(token.get("content")))]
        self.added_ids = tuple(token["id"] for token in markers)
        self._dropped = frozenset(self.added_ids)
        self.chat_template = chat_template
        # `full` has the names of special tokens, `plain` reads and writes users' text
        try:
            modern = _after_markers(source)
            self.full = Tokenizer.from_str(content if modern is source else json.dumps(modern))
            self.plain = Tokenizer.from_str(json.dumps(_plain(source, {str(token["content"]) for token in markers})))
        except Exception as error:  # `tokenizers` raises nothing narrower
            raise ValueError(" ".join(str(error).split())[:200]) from error
        vocab = self.full.get_vocab()
        if not vocab:
            raise ValueError("it has no tokens")
        self.size = max(vocab.values()) + 1
        if len(vocab) != self.size:
            raise ValueError(f"{len(vocab)} tokens, but the largest id is {self.size - 1}: ids have gaps")
        self._bytes = _unigram_bytes(source["model"], vocab)

    def encode(self, text: str) -> list[int]:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:  # a lone surrogate: the command line had bytes of another encoding
            raise ValueError(f"the text is not Unicode at character {error.start}: {text[:40]!a}") from error
        encoding = self.plain.encode(text, add_special_tokens=False)
        if not self._bytes:
            return encoding.ids
        ids = []
        for token_id, piece in zip(encoding.ids, encoding.tokens, strict=True):
            is_unknown = self.plain.token_to_id(piece) is None
            ids += [self._bytes[byte] for byte in piece.encode("utf-8")] if is_unknown else [token_id]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        pieces = [self.full.id_to_token(i) for i in ids if i not in self._dropped]
        pieces = [piece for piece in pieces if piece is not None]  # no words of motion here
        return self.plain.decoder.decode(pieces) if self.plain.decoder is not None else " ".join(pieces)

    def token_id(self, word: str) -> int | None:
        return self.full.token_to_id(word)

    def save(self, folder: Path, words: Sequence[str] = ()) -> None:
        from tokenizers import AddedToken, Tokenizer

        extended = Tokenizer.from_str(self.full.to_str())
        extended.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in words])
        _write_if_new(folder / "tokenizer.json", extended.to_str(pretty=True))
        # PreTrainedTokenizerFast takes tokenizer.json as it is; the class of a family may build its own
        config = {"tokenizer_class": "PreTrainedTokenizerFast"}
        roles = {
            "eos_token": ENDS,
            "pad_token": ("<|endoftext|>", "<pad>", "<|finetune_right_pad_id|>"),
            "bos_token": ("<|begin_of_text|>", "<bos>", "<s>"),
            "unk_token": ("<unk>",),
        }
        for name, candidates in roles.items():
            word = next((word for word in candidates if self.token_id(word) in self.added_ids), None)
            config |= {name: word} if word is not None else {}
        config |= {"chat_template": self.chat_template} if self.chat_template is not None else {}
        _write_if_new(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")


def _after_markers(source: dict[str, Any]) -> dict[str, Any]:
    """An older Llama file as newer ones are: a space only before the first word of a text, not behind each marker."""
    steps = (source.get("normalizer") or {}).get("normalizers") or []
    if [step.get("type") for step in steps] != ["Prepend", "Replace"] or source.get("pre_tokenizer") is not None:
        return source
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    return source | {"normalizer": None, "pre_tokenizer": space}


def _plain(source: dict[str, Any], markers: set[str]) -> dict[str, Any]:
    """The tokenizer.json that reads users' text: it knows no marker, so there is nothing to inject.

    A file may also ask for truncation and padding; here text is never truncated or padded.
    """
    model = dict(source["model"])
    hidden = {word: f" {i} " for i, word in enumerate(sorted(markers))}  # no piece of text has spaces at both ends
    vocab = model.get("vocab")
    if isinstance(vocab, list):  # unigram: [piece, score] by id. The model itself would match a marker, at score 0
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in vocab]
        if model.get("byte_fallback"):  # it would match a text such as <0x0A> too; `encode` writes the bytes instead
            model["vocab"] = [[f" {p} " if _is_byte(p) else p, score] for p, score in model["vocab"]]
            model["byte_fallback"] = False
    elif isinstance(vocab, dict):
        model["vocab"] = {hidden.get(piece, piece): i for piece, i in vocab.items()}
    if model.get("unk_token") in hidden:
        model["unk_token"] = hidden[model["unk_token"]]
    if isinstance(model.get("merges"), list):
        model["merges"] = [merge for merge in model["merges"] if _merges_text(merge, markers)]
    parts = {name: source.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")}
    if not _collapses(source):
        parts = {name: _without_prefix(part) for name, part in parts.items()}
    bare = {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    return source | bare | parts | {"model": model}


def _merges_text(merge: str | list[str], markers: set[str]) -> bool:
    left, right = merge if isinstance(merge, list) else merge.split(" ", 1)
    return not markers & {left, right, left + right}


def _collapses(source: dict[str, Any]) -> bool:
    """Whether runs of whitespace become one space, as in T5: then every word has a space in front, wherever it is."""
    steps = json.dumps([source.get("normalizer"), source.get("pre_tokenizer")])
    return '"WhitespaceSplit"' in steps or '" {2,}"' in steps


def _without_prefix(part: Any) -> Any:
    """A normaliser, pre-tokenizer or decoder without the space before the first word of a text."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind == "Prepend" or (kind == "Strip" and "start" in part):  # the second is the decoder of that name
        return None
    if kind == "Metaspace":
        return {key: value for key, value in part.items() if key != "add_prefix_space"} | {"prepend_scheme": "never"}
    for name in ("normalizers", "pretokenizers", "decoders"):
        if name in part:
            inner = [_without_prefix(step) for step in part[name]]
            part = part | {name: [step for step in inner if step is not None]}
    return part


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def _unigram_bytes(model: dict[str, Any], vocab: dict[str, int]) -> list[int]:
    """The ids of the 256 bytes, for a unigram model that spells unknown characters with them; else none."""
    if model.get("type") != "Unigram" or not model.get("byte_fallback"):
        return []
    ids = [vocab.get(f"<0x{byte:02X}>") for byte in range(256)]
    if None in ids:
        raise ValueError(f"it spells unknown text in bytes, but has no piece <0x{ids.index(None):02X}>")
    return ids


def _write_if_new(path: Path, text: str) -> None:
    """Write a file unless it has this content already: every save of a stage writes the same tokenizer."""
    content = text.encode("utf-8")
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, lambda temporary: temporary.write_bytes(content))


def load_text_tokenizer(folder: Path | str, without: Sequence[str] = ()) -> TextTokenizer:
    """The text tokenizer of a backbone folder: tokenizer.json, else a sentencepiece model.

    The latter is spiece.model or tokenizer.model in the folder, or ../tokenizer.model for a folder of lit-llama.
    `without` are words that `save` added to the file, if it has them: the tokenizer is then the one before that.

    Raises FileNotFoundError if there is none, ValueError if it is unreadable.
    """
    folder = Path(folder)
    path = folder / "tokenizer.json"
    if not path.is_file():
        path = _sentencepiece_file(folder)
    settings = _settings(folder)
    try:
        if path.suffix == ".json":
            content = path.read_text(encoding="utf-8")
        else:
            content = json.dumps(tokenizer_json(path.read_bytes(), _sentinels(folder, settings)))
        found = JSONTokenizer(content, settings.get("chat_template"))
        if not any(found.token_id(word) is not None for word in without):
            return found
        source = json.loads(content)
        kept = [token for token in source["added_tokens"] if token.get("content") not in set(without)]
        return JSONTokenizer(json.dumps(source | {"added_tokens": kept}), found.chat_template)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a tokenizer we read ({error})") from error


def _sentencepiece_file(folder: Path) -> Path:
    candidates = [folder / name for name in MODEL_FILES]
    if any(folder.glob("*.pth")):  # checkpoints/lit-llama/7B/lit-llama.pth beside checkpoints/lit-llama/tokenizer.model
        candidates.append(folder.resolve().parent / "tokenizer.model")
    found = next((path for path in candidates if path.is_file()), None)
    if found is not None:
        return found
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        raise FileNotFoundError(
            f"{folder} has vocab.json and merges.txt, which do not say how text is cut, but no tokenizer.json; write "
            f"one: python -c \"from transformers import AutoTokenizer as T; T.from_pretrained('{folder}')"
            f".save_pretrained('{folder}')\""
        )
    names = ", ".join(MODEL_FILES)
    raise FileNotFoundError(
        f"{folder} has no tokenizer.json (nor {names}); a backbone folder needs one beside config.json"
    )


def _settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, {} without one, with the chat template as one text, wherever the folder has it."""
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must be a JSON object")
    template = settings.get("chat_template")
    if isinstance(template, list):  # several by name
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    own = folder / "chat_template.jinja"
    if own.is_file():
        template = own.read_text(encoding="utf-8")
    return settings | {"chat_template": template if isinstance(template, str) else None}


def _sentinels(folder: Path, settings: dict[str, Any]) -> int:
    """How many <extra_id_i> a sentencepiece model gets: as tokenizer_config.json says, else 100 for a T5."""
    count = settings.get("extra_ids")
    if type(count) is int and 0 <= count <= 1000:
        return count
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    return T5_SENTINELS if isinstance(config, dict) and config.get("model_type") == "t5" else 0


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
