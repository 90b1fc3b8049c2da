"""Captions to what a continuous model reads: numbers of words for its own encoder, or states of a frozen one.

Every reader is called with captions and gives (text, mask), right-padded: words (B, U) int64 or states (B, U, W), and
mask (B, U) bool. The states of a frozen encoder never change, so they are computed once for each caption and kept:

    RUN/text_states.safetensors      hash of encoder and caption -> states (U, W) float16, without padding

A run whose captions are all there never loads the encoder.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from motiongpt.data.batches import pad
from motiongpt.files.hashes import short_hash
from motiongpt.files.store import read_tensors, write_tensors
from motiongpt.text_tokenizer import load_text_tokenizer
from motiongpt.vqvae import frame_mask
from motiongpt.weights.clip import ClipText
from motiongpt.weights.llm import load_llm
from motiongpt.weights.shards import weights_hash

STATES_FILE = "text_states.safetensors"
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
UNKNOWN, END = "<unknown>", "<end>"
ENCODE_BATCH = 32
MOST_WORDS = 77  # as many tokens as CLIP reads

Encode = Callable[[list[str]], list[Tensor]]
"""Texts -> the states (U_i, W) of each."""


def words_of(caption: str) -> list[str]:
    """The words of a caption, in lower case: "Someone's waving!" -> ["someone's", "waving"]."""
    return WORD.findall(caption.lower())


class WordReader:
    """Captions to rows of a word table: the words of training, and one row for all others."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.row = {word: i for i, word in enumerate(self.words)}
        if self.words[:2] != [UNKNOWN, END] or len(self.row) != len(self.words):
            raise ValueError(f"a word list begins with {UNKNOWN} and {END}, and has every word once")

    @classmethod
    def of(cls, captions: Iterable[str]) -> "WordReader":
        """A reader that knows the words of these captions."""
        return cls([UNKNOWN, END, *sorted({word for caption in captions for word in words_of(caption)})])

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = [[*(self.row.get(word, 0) for word in words_of(text)[: MOST_WORDS - 1]), 1] for text in captions]
        sizes = torch.tensor([len(row) for row in rows])
        ids = pad(rows, 0)
        return ids, frame_mask(sizes, ids.shape[1])


class StateReader:
    """Captions to the states of a frozen encoder, read from `cache` or computed and added to it.

    `encode` is made by `load` when the first unknown caption comes. Two processes may share a cache file: it is written
    whole, and the worst that can happen is that a caption is computed twice.

    Raises ValueError for a cache file that is damaged.
    """

    def __init__(self, identity: str, load: Callable[[], Encode], cache: Path | None = None) -> None:
        self.identity, self.load, self.cache = identity, load, cache
        self._encode: Encode | None = None
        try:
            self.known: dict[str, Tensor] = read_tensors(cache) if cache is not None and cache.is_file() else {}
        except ValueError as error:
            raise ValueError(f"{error}, or remove it: its captions are then read again") from error
        self.computed = 0
        """How many captions this reader did not find in the cache."""

    def key(self, caption: str) -> str:
        return short_hash([self.identity.encode(), b"\0", caption.encode()])

    def prepare(self, captions: Iterable[str], keep: bool = True) -> None:
        """Compute the states of captions that have none yet; with `keep` also write them to the cache file."""
        missing = {key: text for text in captions if (key := self.key(text)) not in self.known}
        if not missing:
            return
        self._encode = self._encode or self.load()
        keys = sorted(missing, key=lambda key: len(missing[key]))  # texts of similar length share a batch
        before = len(self.known)
        batches = [keys[first : first + ENCODE_BATCH] for first in range(0, len(keys), ENCODE_BATCH)]
        try:
            for batch in tqdm(batches, unit="batch", desc="captions", disable=None, leave=False):
                for key, states in zip(batch, self._encode([missing[key] for key in batch]), strict=True):
                    self.known[key] = states.to("cpu", torch.float16)
                self.computed += len(batch)
        finally:  # a large encoder takes hours for a large data set: Ctrl-C keeps what it has read
            if keep and self.cache is not None and len(self.known) > before:
                write_tensors(self.cache, self.known)

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        self.prepare(captions, keep=False)
        rows = [self.known[self.key(text)].float() for text in captions]
        sizes = torch.tensor([len(row) for row in rows])
        states = pad_sequence(rows, batch_first=True)  # (B, U, W)
        return states, frame_mask(sizes, states.shape[1])


Reader = WordReader | StateReader


def clip_encoder(folder: Path, device: torch.device | str = "cpu") -> Encode:
    """CLIP's text tower: its states from the start of the text to its end."""
    clip = ClipText.load(folder, device=device)

    def encode(texts: list[str]) -> list[Tensor]:
        hidden, _, mask = clip.encode(texts)
        return [row[real] for row, real in zip(hidden, mask, strict=True)]

    return encode


def language_model_encoder(folder: Path, device: torch.device | str = "cpu") -> Encode:
    """A decoder's last states of each token. It reads from left to right, so padding on the right changes nothing."""
    tokenizer = load_text_tokenizer(folder)
    llm = load_llm(folder, device=device)

    @torch.no_grad()
    def encode(texts: list[str]) -> list[Tensor]:
        rows = [tokenizer.encode(f" {text}")[:MOST_WORDS] for text in texts]  # a word has a blank before it
        hidden = llm.hidden(pad(rows, 0).to(device))
        return [states[: len(row)] for states, row in zip(hidden, rows, strict=True)]

    return encode


ENCODERS: dict[str, Callable[..., Encode]] = {"clip": clip_encoder, "smollm2": language_model_encoder}


def state_reader(
    kind: str,
    find: Callable[[], Path],
    cache: Path | None,
    device: torch.device | str = "cpu",
    identity: str = "",
) -> StateReader:
    """The reader of a frozen encoder, a key of `ENCODERS`, in the folder that `find` returns.

    `identity` is the hash of its weights that a run remembers; the folder is then looked for when a caption comes that
    is not in the cache, and ValueError is raised if its weights are others.
    """

    def load() -> Encode:
        folder = find()
        if (found := weights_hash(folder)) != identity:
            raise ValueError(f"{folder} is not the text encoder of this run: its weights are {found}, not {identity}")
        return ENCODERS[kind](folder, device)

    identity = identity or weights_hash(find())
    return StateReader(identity, load, cache)
