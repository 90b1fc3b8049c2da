"""A sentencepiece `.model` as the content of a Hugging Face `tokenizer.json`, so that one tokenizer reads both.

The file is a protocol buffer, and a few of its fields are enough: the pieces with their scores, the kind of model
(unigram or BPE), byte fallback, and how text is normalised. The fields are listed in sentencepiece_model.proto of
google/sentencepiece. T5 has 100 sentinels, <extra_id_99> ... <extra_id_0>, after the pieces of its file.
"""

import base64
import struct
from collections.abc import Iterator
from typing import Any

SPACE = "▁"  # how pieces write a space
UNIGRAM, BPE = 1, 2  # trainer_spec.model_type
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # the type of a piece


def tokenizer_json(content: bytes, sentinels: int = 0) -> dict[str, Any]:
    """The `tokenizer.json` of a sentencepiece model. Its control and user-defined pieces are added tokens.

    Args:
        content: the bytes of the `.model` file.
        sentinels: how many <extra_id_i> follow the pieces; the last one is <extra_id_0>.

    Raises ValueError for a file that is no sentencepiece model, or one of an unsupported kind.
    """
    pieces, trainer, normalizer = _read(content)
    kind = trainer.get(3, UNIGRAM)
    if kind not in (UNIGRAM, BPE):
        raise ValueError("a sentencepiece model of words or characters; only unigram and BPE are read")
    if not normalizer.get(5, 1) or trainer.get(24, 0):
        raise ValueError("a sentencepiece model with spaces as they are, or behind a word, is not read")
    pieces += [(f"<extra_id_{i}>", 0.0, CONTROL) for i in reversed(range(sentinels))]
    names = [name for name, _, _ in pieces]
    known = set(names)
    if len(known) != len(names):
        raise ValueError("a piece occurs twice")
    unknown = next((i for i, piece in enumerate(pieces) if piece[2] == UNKNOWN), None)
    if unknown is None:
        raise ValueError("it has no piece for unknown text")
    falls_back = bool(trainer.get(35, 0))
    if falls_back and any(f"<0x{byte:02X}>" not in known for byte in range(256)):
        raise ValueError("it spells unknown text in bytes, but lacks a piece for some byte")

    # 1) The model. A piece of BPE is merged from any two others that make it, best scores first.
    if kind == UNIGRAM:
        model = {"type": "Unigram", "unk_id": unknown, "vocab": [[name, score] for name, score, _ in pieces]}
    else:
        vocab = {name: i for i, name in enumerate(names)}
        model = {
            "type": "BPE",
            "unk_token": names[unknown],
            "fuse_unk": True,
            "vocab": vocab,
            "merges": _merges(pieces),
        }
    model["byte_fallback"] = falls_back

    # 2) How text is normalised, and how pieces become text again.
    prefix, collapses = bool(normalizer.get(3, 1)), bool(normalizer.get(4, 1))
    steps: list[dict[str, Any]] = []
    if normalizer.get(2):  # the table of an NFKC-like normalisation
        _check_table(normalizer[2])
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(normalizer[2]).decode()})
    if collapses:
        steps += [_replace("^ +| +$", ""), _replace(" {2,}", " ")]
    space = {"type": "Metaspace", "replacement": SPACE, "split": False}
    # a prefix only at the start of a text, not after a marker, unless every word has one anyway
    space["prepend_scheme"] = "never" if not prefix else "always" if collapses else "first"
    decoders = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "Fuse"}]
    if falls_back:
        decoders.insert(1, {"type": "ByteFallback"})
    if prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})

    # 3) Markers, which text never becomes. As in transformers, a start token precedes a text, or T5's end follows it.
    added = [_added(i, name, sort != USER_DEFINED) for i, (name, _, sort) in enumerate(pieces) if sort in _MARKERS]
    if sentinels:
        processor = _template(names, after="</s>")
    else:
        processor = _template(names, before="<bos>" if "<bos>" in names else "<s>")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": steps} if steps else None,
        "pre_tokenizer": space,
        "post_processor": processor,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model,
    }


_MARKERS = (UNKNOWN, CONTROL, USER_DEFINED)


def _check_table(table: bytes) -> None:
    """ValueError for a damaged normalisation table (a trie, then texts), on which `tokenizers` would panic."""
    size = int.from_bytes(table[:4], "little")
    try:
        table[4 + size :].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("its table of normalisation is damaged") from error
    if size % 4 or 4 + size > len(table):
        raise ValueError("its table of normalisation is damaged")


def _replace(pattern: str, by: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}


def _added(token_id: int, name: str, special: bool) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": name, "special": special} | plain


def _template(names: list[str], before: str = "", after: str = "") -> dict[str, Any] | None:
    """What transformers puts around a text: the token `before` or `after` it, None if the model has no such token."""
    word = before or after
    if word not in names:
        return None
    token = {"SpecialToken": {"id": word, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    other = {"Sequence": {"id": "B", "type_id": 0}}
    single = [token, text] if before else [text, token]
    pair = [*single, *([token, other] if before else [other, token])]
    special = {word: {"id": word, "ids": [names.index(word)], "tokens": [word]}}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def _merges(pieces: list[tuple[str, float, int]]) -> list[list[str]]:
    """Pairs of pieces that BPE merges, in order: by the score of the result, then the longest first, like Gemma's."""
    # whitespace is text, even if the model lists it as user-defined
    words = {name: score for name, score, sort in pieces if sort == NORMAL or is_blank(name)}
    found = []
    for word, score in words.items():
        for i in range(1, len(word)):
            left, right = word[:i], word[i:]
            if left in words and right in words:
                found.append((-score, -len(left), -len(right), left, right))
    found.sort(key=lambda merge: merge[:3])
    return [[left, right] for *_, left, right in found]


def is_blank(name: str) -> bool:
    """Whether a piece is nothing but whitespace, which is text and no marker, even if a file lists it as added."""
    return not name.replace(SPACE, " ").strip()


# The protocol buffer.


def _read(content: bytes) -> tuple[list[tuple[str, float, int]], dict[int, Any], dict[int, Any]]:
    """(name, score, type) of each piece, and the last value of each field of trainer_spec and normalizer_spec."""
    if content[:1].isalnum() and content.split(b"\n", 1)[0].endswith(b" 0"):
        raise ValueError("this is a tiktoken file, not sentencepiece: take the tokenizer.json of the same model")
    pieces: list[tuple[str, float, int]] = []
    specs: dict[int, dict[int, Any]] = {2: {}, 3: {}}
    try:
        for number, value in _fields(content):
            if number == 1:
                piece = dict(_fields(value))
                pieces.append(
                    (piece[1].decode("utf-8"), struct.unpack("<f", piece.get(2, bytes(4)))[0], piece.get(3, 1))
                )
            elif number in specs:
                specs[number] |= dict(_fields(value))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error) as error:
        raise ValueError("not a sentencepiece model, or a damaged one") from error
    if not pieces:
        raise ValueError("not a sentencepiece model: it has no pieces")
    return pieces, specs[2], specs[3]


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a message: whole numbers, or bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = content[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    while place < len(content):
        key = varint()
        number, wire = key >> 3, key & 7
        if wire == 0:
            yield number, varint()
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"wire type {wire}")
        size = varint() if wire == 2 else 8 if wire == 1 else 4
        if place + size > len(content):
            raise ValueError("the file ends within a field")
        yield number, content[place : place + size]
        place += size
