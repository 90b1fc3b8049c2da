"""prompts.json: what sampling must know of the captions in training."""

import heapq
import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, cached_property
from operator import itemgetter

import numpy as np

from motiongpt.data.tokens import Entry
from motiongpt.data.words import content_words, stem, words
from motiongpt.sampling import global_median, median_length

LIKE = 5  # captions whose lengths stand for that of a new one


def fold(caption: str) -> str:
    """A caption as prompts are compared: lower case, single spaces."""
    return " ".join(caption.lower().split())


def prompt_table(entries: Sequence[Entry]) -> dict:
    """What sampling must know of the training split: per caption its lengths and codes, and the global median.

    {"global_median": 24, "captions": {"a person walks": {"median": 22, "min": 18, "max": 30, "codes": [3, 17, ...]}}}
    """
    training = [entry for entry in entries if entry.split == "train"]
    by_caption: dict[str, list[Entry]] = defaultdict(list)
    for entry in training:
        by_caption[entry.text].append(entry)
    captions = {}
    for text, group in by_caption.items():
        lengths = [len(entry.codes) for entry in group]
        codes = sorted({code for entry in group for code in entry.codes})
        captions[text] = {"median": median_length(lengths), "min": min(lengths), "max": max(lengths), "codes": codes}
    return {"global_median": global_median([len(entry.codes) for entry in training]), "captions": captions}


class Prompts:
    """prompts.json, looked up by caption: exactly, else with case and spaces folded, else by likeness."""

    def __init__(self, table: dict) -> None:
        if "global_median" not in table or not isinstance(table.get("captions"), dict):
            raise ValueError("prompts.json must have global_median and captions; training a stage writes it anew")
        self.global_median: int = table["global_median"]
        self.captions: dict[str, dict] = table["captions"]

    @cached_property
    def _folded(self) -> dict[str, str]:
        """Folded caption -> the first one that folds to it; made when a caption is first asked for loosely."""
        return {fold(caption): caption for caption in reversed(self.captions)}

    def find(self, text: str) -> dict | None:
        """The record of a caption seen in training, None for any other."""
        return self.captions.get(text) or self.captions.get(self._folded.get(fold(text), ""))

    @cached_property
    def _index(self) -> tuple[dict[str, np.ndarray], dict[str, float], np.ndarray, np.ndarray]:
        """Made when a caption is asked for that is new: the captions (by number) that have a stem; how rare the stem
        is, log((captions + 1) / captions with it); each caption's norm, and its median length."""
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
        """The median length in codes of a caption seen in training; of any other, that of the captions most like it.

        Like: cosine of the sets of word stems, each weighted by how rare it is. The median over the `LIKE` best, of
        equals the first; the global median where no word that says something about the motion was ever seen.
        """
        if known := self.find(text):
            return known["median"]
        rows, rarity, norms, medians = self._index
        if not any(stem(word) in rows for word in content_words(text)):
            return self.global_median
        scores = np.zeros(len(norms))
        for word in sorted({stem(word) for word in words(text)} & set(rows)):
            scores[rows[word]] += rarity[word]
        scores /= norms
        least = np.partition(scores, -LIKE)[-LIKE] if len(scores) > LIKE else 0.0
        (found,) = np.nonzero((scores >= least) & (scores > 0))
        best = heapq.nlargest(LIKE, zip(scores[found].tolist(), medians[found].tolist(), strict=True), itemgetter(0))
        return global_median([median for _, median in best])
