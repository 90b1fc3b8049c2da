"""The text side of the evaluators: captions as words with parts of speech,
and the word vectors of the field (GloVe).

    our_vab_data.npy     (V, 300) vectors
    our_vab_words.pkl    list of V words
    our_vab_idx.pkl      dict word -> row of the vectors

The rules are those of Guo et al. 2022 (WordVectorizer and Text2MotionDatasetV2 of text-to-motion).
A caption has at most 20 words, between sos and eos. A word without a vector is `unk` with part of
speech OTHER. Some words about motion have parts of speech of their own (`VIP`), whatever the tagger
said.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from motiongpt.data.texts import Caption
from motiongpt.data.words import words as split_words
from motiongpt.files.arrays import load_array
from motiongpt.files.hashes import file_hash, short_hash
from motiongpt.files.unpickle import load_pickle

MAX_WORDS = 20
START = "sos"
END = "eos"
UNKNOWN = "unk"
POS = (
    "VERB", "NOUN", "DET", "ADP", "NUM", "AUX", "PRON", "ADJ", "ADV",
    "Loc_VIP", "Body_VIP", "Obj_VIP", "Act_VIP", "Desc_VIP", "OTHER",
)  # fmt: skip
"""Parts of speech in the order of the one-hot columns; every other tag is OTHER."""
OTHER = POS.index("OTHER")
VIP = {
    "Loc_VIP": "left right clockwise counterclockwise anticlockwise forward back backward up down straight curve",
    "Body_VIP": "arm chin foot feet face hand mouth leg waist eye knee shoulder thigh",
    "Obj_VIP": "stair dumbbell chair window floor car ball handrail baseball basketball",
    "Act_VIP": "walk run swing pick bring kick put squat throw hop dance jump turn stumble stop sit lift lower raise "
    "wash stand kneel stroll rub bend balance flap jog shuffle lean rotate spin spread climb",
    "Desc_VIP": "slowly carefully fast careful slow quickly happy angry sad happily angrily sadly",
}
_POS_OF = {name: i for i, name in enumerate(POS)}
_VIP_OF = {word: _POS_OF[name] for name, line in VIP.items() for word in line.split()}
GLOVE_FILES = ("our_vab_data.npy", "our_vab_words.pkl", "our_vab_idx.pkl")


def plain_tokens(text: str) -> list[str]:
    """A sentence as tokens: its words in lower case, each with part of speech OTHER.
    `walks` stays, not its lemma."""
    return [f"{word}/OTHER" for word in split_words(text)]


def caption_tokens(caption: Caption) -> list[str]:
    """The tokens `word/POS` of a caption as its line in texts/ gives them;
    without any, `plain_tokens`."""
    return caption.tokens.split() or plain_tokens(caption.text)


class Vocabulary:
    """The words of an evaluator in the order of their rows;
    `unk` must be among them, and no word twice."""

    def __init__(self, words: Sequence[str]) -> None:
        if not all(isinstance(word, str) for word in words):
            raise ValueError("a vocabulary (words.json) is a list of words")
        self.words = list(words)
        self.rows = {word: i for i, word in enumerate(self.words)}
        if len(self.rows) != len(self.words) or UNKNOWN not in self.rows:
            raise ValueError(f"a vocabulary has every word once and {UNKNOWN!r} among them")

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]]) -> "Vocabulary":
        """The words of captions given as tokens (`word/POS`):
        sos, eos and unk, then in order of first use."""
        # from the right, because a word may have a slash in it
        used = (token.rpartition("/")[0] for tokens in captions for token in tokens)
        return cls(list(dict.fromkeys((START, END, UNKNOWN, *used))))

    def encode(self, caption: str | Sequence[str]) -> tuple[list[int], list[int]]:
        """A sentence, or its tokens `word/POS`, as rows of the word table and of `POS`,
        both with sos and eos.

        Raises ValueError for a token without its `/POS`.
        """
        tokens = plain_tokens(caption) if isinstance(caption, str) else list(caption)
        words = []
        parts = []
        # cut before eos, so that a long caption has both ends too
        for token in (f"{START}/OTHER", *tokens[:MAX_WORDS], f"{END}/OTHER"):
            word, slash, part = token.rpartition("/")
            if not slash:
                raise ValueError(f"a token is word/POS, such as walk/VERB; got {token!r} (a sentence is a str)")
            known = word in self.rows
            words.append(self.rows[word if known else UNKNOWN])
            parts.append(_VIP_OF.get(word, _POS_OF.get(part, OTHER)) if known else OTHER)
        return words, parts


def read_glove(folder: Path | str) -> tuple[Vocabulary, np.ndarray]:
    """Words and vectors (V, D) float32 of a published GloVe folder; row i of the vectors is word i.

    Raises FileNotFoundError, or ValueError naming a file that is damaged or does not fit the
    others.
    """
    data, words, rows = (Path(folder) / name for name in GLOVE_FILES)
    for path in (data, words, rows):
        if not path.is_file():
            raise FileNotFoundError(f"no {path.name} in {folder}; the GloVe folder holds {', '.join(GLOVE_FILES)}")
    vectors = load_array(data, 2)
    names = load_pickle(words)
    row_of = load_pickle(rows)
    if not isinstance(names, list) or not isinstance(row_of, dict) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{folder}: expected a list of words in {words.name} and a dict word -> row in {rows.name}")
    bad = next((name for name in names if not 0 <= int(row_of.get(name, -1)) < len(vectors)), None)
    if bad is not None:
        raise ValueError(f"{rows} has no row in {data.name} ({len(vectors)} rows) for the word {bad!r}")
    # in the order of the words: the dict says which row is whose
    return Vocabulary(names), vectors[[int(row_of[name]) for name in names]]


def glove_hash(folder: Path | str) -> str:
    """16 hex digits over the three files."""
    return short_hash(file_hash(Path(folder) / name).encode() for name in GLOVE_FILES)
