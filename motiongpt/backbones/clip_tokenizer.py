"""CLIP's text tokenizer: lower-cased byte-pair encoding, framed by start and end, always 77 ids long.

The merges run in the `tokenizers` library. A folder has a tokenizer.json, or the older pair vocab.json and merges.txt;
from the pair the same pipeline is built as in `transformers`: Unicode NFC, one space for any white space, lower case,
OpenAI's pattern, bytes, and `</w>` at the end of a word. OpenAI's own code also repairs broken Unicode and HTML
entities first; like `transformers` this does not, so such texts get other ids there.

Danger: a caption may hold `<|endoftext|>`. It is spelled out in ordinary pieces, so that no caption can end itself.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from motiongpt.files.store import read_json
from motiongpt.text_tokenizer import JSONTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
PATTERN = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
"""The words of CLIP: letters, single digits, runs of other signs, and English endings after an apostrophe."""


class ClipTokenizer:
    """Texts to ids (B, length): start, the text, end, padding. A text that is too long loses its end."""

    def __init__(self, words: JSONTokenizer, length: int, pad: str = END) -> None:
        ids = {name: words.token_id(name) for name in (START, END, pad)}
        absent = [name for name, number in ids.items() if number is None]
        if absent:
            raise ValueError(f"it has no token {' and no '.join(absent)}, so it is not CLIP's")
        self.words = words
        self.length = length
        self.start, self.end, self.pad = ids[START], ids[END], ids[pad]
        self.size = words.size

    def encode(self, text: str) -> list[int]:
        """All ids of a text, without start and end. ValueError for a text that is not Unicode."""
        return self.words.encode(text)

    def batch(self, texts: Sequence[str], truncate: bool = True) -> tuple[Tensor, Tensor]:
        """ids (B, length) and mask (B, length), True on start, text and end.

        A text of more than length - 2 ids is cut after them. With `truncate` False it is a ValueError that names it.
        """
        room = self.length - 2
        ids = torch.full((len(texts), self.length), self.pad)
        mask = torch.zeros((len(texts), self.length), dtype=torch.bool)
        for row, text in enumerate(texts):
            words = self.encode(text)
            if len(words) > room and not truncate:
                raise ValueError(f"the text has {len(words)} tokens, CLIP reads {room}: {text[:40]!r}; shorten it")
            framed = [self.start, *words[:room], self.end]
            ids[row, : len(framed)] = torch.tensor(framed)
            mask[row, : len(framed)] = True
        return ids, mask


def load_clip_tokenizer(folder: Path | str, length: int = 77) -> ClipTokenizer:
    """The tokenizer of a CLIP folder: tokenizer.json, or vocab.json and merges.txt. `length` is that of the model.

    Raises FileNotFoundError or ValueError, in one line that names the file.
    """
    folder = Path(folder)
    path = folder / "tokenizer.json"
    if not path.is_file():
        path = folder / "vocab.json"
    try:
        if path.name == "tokenizer.json":
            words = JSONTokenizer(path.read_text(encoding="utf-8"))
        else:
            words = read_merges(path, folder / "merges.txt")
        return ClipTokenizer(words, length, _pad_token(folder))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{folder} has no tokenizer of CLIP: no tokenizer.json, and {error}") from error
    except (ValueError, KeyError) as error:
        name = "" if str(error).startswith(str(folder)) else f"{path}: "
        raise ValueError(f"{name}{error}") from error


def read_merges(vocabulary: Path, merges: Path) -> JSONTokenizer:
    """CLIP's tokenizer from vocab.json (token to id) and merges.txt (a pair per line, the most frequent first).

    Raises FileNotFoundError or ValueError naming the file.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocab = read_json(vocabulary)
    if not merges.is_file():
        raise FileNotFoundError(f"{merges} does not exist")
    lines = merges.read_text(encoding="utf-8").splitlines()
    pairs = [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#version")]
    wrong = next((pair for pair in pairs if len(pair) != 2), None)
    if wrong is not None:
        raise ValueError(f"{merges}: a line must be two tokens, got {' '.join(wrong)[:60]!r}")
    try:
        learnt = Tokenizer(models.BPE(vocab=vocab, merges=pairs, end_of_word_suffix="</w>", unk_token=END))
    except Exception as error:  # `tokenizers` raises nothing narrower
        raise ValueError(f"{vocabulary} and {merges.name} do not fit together ({error})") from error
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    learnt.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True)
    learnt.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    learnt.decoder = decoders.ByteLevel()
    return JSONTokenizer(learnt.to_str())


def _pad_token(folder: Path) -> str:
    """The token that fills a row, from special_tokens_map.json or tokenizer_config.json; the end token if neither says.

    It decides the states after the end of a text, which some image models read: OpenCLIP's models pad with "!".
    """
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            pad = read_json(folder / name).get("pad_token")
            pad = pad.get("content") if isinstance(pad, dict) else pad  # older files store it with its flags
            if isinstance(pad, str):
                return pad
    return END
