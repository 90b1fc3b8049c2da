"""prompts.json: what sampling needs to know about the training captions,
and how a prompt is looked up in them.

A prompt is found exactly, or by its folded spelling (`spelling.py`); the model then reads the
caption as training had it. The length of any other prompt is that of the training captions most
like it, by a cosine over rare word stems: no model is involved, and the same words give the same
length.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, cached_property
from operator import itemgetter

import numpy as np

from motiongpt.data.plain_captions import ReadingTable, check_reading_table, plain_length, reading_table
from motiongpt.data.selection import bounded, of_split
from motiongpt.data.spelling import fold, visible_text
from motiongpt.data.tokens import Entry, plain_entries
from motiongpt.data.words import content_words, stem, words

SIMILAR = 5  # how many training captions a new caption's length is guessed from
FOLDED_SHARE = 0.95  # of the training captions must be spelt as `fold` spells for new sentences to be spelt so


def median_length(lengths: Sequence[int]) -> int:
    """The median in whole codes: the mean of the two middle values, rounded down. [4, 7] -> 5."""
    upper = global_median(lengths)
    return (sorted(lengths)[(len(lengths) - 1) // 2] + upper) // 2


def global_median(lengths: Sequence[int]) -> int:
    """The upper median, for prompts that training never showed. [4, 7] -> 7."""
    if not lengths:
        raise ValueError("the median of no lengths is undefined: give at least one")
    return sorted(lengths)[len(lengths) // 2]


def prompt_table(entries: Sequence[Entry], folded: bool = False) -> dict:
    """prompts.json of a data set: per caption of the training split its lengths and codes,
    and the global median. Edits are no captions.

    `folded`: captions that differ in spelling only are one caption,
    because the model reads them as one.

    {"global_median": 24, "captions": {"a person walks": {"median": 22, "min": 18, "max": 30, "codes": [3, 17, ...]}}}

    Where entries have plain captions, "reading" holds their `reading_table`. Of shards it is the table of
    a bounded part of them.
    """
    training = bounded(of_split(plain_entries(entries), "train"))
    by_caption: dict[str, list[Entry]] = defaultdict(list)
    for entry in training:
        by_caption[fold(entry.text) if folded else entry.text].append(entry)
    captions = {}
    for text, group in by_caption.items():
        lengths = [len(entry.codes) for entry in group]
        # the sampler can keep to the codes that training had with a caption
        codes = sorted({code for entry in group for code in entry.codes})
        captions[text] = {"median": median_length(lengths), "min": min(lengths), "max": max(lengths), "codes": codes}
    table = {"global_median": global_median([len(entry.codes) for entry in training]), "captions": captions}
    reading = reading_table(training)
    return table if reading is None else table | {"reading": reading}


class Prompts:
    """prompts.json, looked up by caption: exactly, else by its folded spelling,
    else by similarity."""

    def __init__(self, table: dict) -> None:
        if "global_median" not in table or not isinstance(table.get("captions"), dict):
            raise ValueError("prompts.json must have global_median and captions; training a stage writes it anew")
        self.global_median: int = table["global_median"]
        self.captions: dict[str, dict] = table["captions"]
        self.styles: dict[str, str] = table.get("styles") or {}  # participant -> how they move, in words
        self.reading: ReadingTable | None = table.get("reading")
        if self.reading is not None:
            check_reading_table(self.reading)

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Folded caption -> the first one that folds to it;
        made when a caption is first asked for loosely."""
        # reversed, so that the first of several captions wins
        return {fold(caption): caption for caption in reversed(self.captions)}

    def caption(self, text: str) -> str | None:
        """The caption of training that a prompt stands for, as it is spelt there;
        None for a new sentence."""
        exact = text.strip()
        return exact if exact in self.captions else self._folded.get(fold(text))

    def find(self, text: str) -> dict | None:
        """The record of a caption seen in training; None for any other."""
        caption = self.caption(text)
        return None if caption is None else self.captions[caption]

    @cached_property
    def are_folded(self) -> bool:
        """Whether training has read almost only captions that `fold` leaves as they are,
        so knows no other spelling."""
        same = sum(fold(caption) == caption for caption in self.captions)
        return bool(self.captions) and same >= FOLDED_SHARE * len(self.captions)

    def spelling(self, text: str) -> str:
        """A prompt as the model should read it: a caption as training had it,
        a new sentence in training's style.

        The style is that of `fold` if the captions `are_folded`;
        else only invisible characters and outer spaces go.
        """
        caption = self.caption(text)
        if caption is not None:
            return caption
        return fold(text) if self.are_folded else visible_text(text).strip()

    @cached_property
    def _index(self) -> tuple[dict[str, np.ndarray], dict[str, float], np.ndarray, np.ndarray]:
        """The index for new captions, built when the first one comes.

        Stem -> the numbers of the captions that have it; stem -> how rare it is, log((captions + 1)
        / captions with it); the norm of each caption; the median length of each.
        """
        stem_of = cache(stem)
        captions = [frozenset(map(stem_of, words(text))) for text in self.captions]
        rows: dict[str, list[int]] = defaultdict(list)
        for number, caption in enumerate(captions):
            for word in caption:
                rows[word].append(number)
        rarity = {word: math.log((len(captions) + 1) / len(found)) for word, found in rows.items()}
        # fsum: the order of a set differs from run to run, and a rounding would decide between equals
        norms = np.sqrt([math.fsum(rarity[word] for word in caption) or 1.0 for caption in captions])
        medians = np.array([known["median"] for known in self.captions.values()])
        return {word: np.array(found) for word, found in rows.items()}, rarity, norms, medians

    def expected_length(self, text: str) -> int:
        """The median length of a caption in codes; for a new plain one what its clauses take (`plain_length`), and for
        any other the median over the `SIMILAR` captions most like it.

        Similarity is the cosine between sets of word stems, each weighted by how rare it is; among
        equals the first counts. If training has seen no word that says something about the motion,
        the global median is returned.
        """
        if known := self.find(text):
            return known["median"]
        if self.reading is not None and (length := plain_length(self.reading, text)) is not None:
            return length
        rows, rarity, norms, medians = self._index
        if not any(stem(word) in rows for word in content_words(text)):
            return self.global_median
        # cosines but for the norm of the prompt, which changes no order
        scores = np.zeros(len(norms))
        # sorted: a sum of floats depends on its order, and a set has a random one
        for word in sorted({stem(word) for word in words(text)} & set(rows)):
            scores[rows[word]] += rarity[word]
        scores /= norms
        # only captions that may be among the best are ranked: nlargest over all of them would be slow
        least = np.partition(scores, -SIMILAR)[-SIMILAR] if len(scores) > SIMILAR else 0.0
        (found,) = np.nonzero((scores >= least) & (scores > 0))
        ranked = zip(scores[found].tolist(), medians[found].tolist(), strict=True)
        best = heapq.nlargest(SIMILAR, ranked, itemgetter(0))
        return global_median([median for _, median in best])
