"""T5's own pre-training: hide spans of a text and ask for them (Raffel et al. 2020, section 3.1.4).

    text     a b c d e f g h         instruction   a b <0> e f g <1>
    hidden       c d       h         answer        <0> c d <1> h

<0>, <1>, ... are the tokenizer's sentinels. A motion is such a text too. End markers are added by the caller.
"""

from collections.abc import Sequence

import numpy as np

HIDDEN_SHARE = 0.15  # share of the tokens that are hidden, at least one
MEAN_SPAN = 3.0  # tokens of a hidden span, on average


def corrupt_spans(
    ids: Sequence[int], sentinels: Sequence[int], rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """(instruction, answer) of a text with random spans hidden, without end markers.

    Kept and hidden spans take turns, the first is kept, and their lengths are random. A single token is hidden.
    Raises ValueError for an empty text or without sentinels.
    """
    if not ids or not sentinels:
        raise ValueError(f"there is nothing to hide, or no sentinel to stand for it: {len(ids)}, {len(sentinels)}")
    hidden = min(max(1, round(HIDDEN_SHARE * len(ids))), max(1, len(ids) - 1))
    kept = len(ids) - hidden
    spans = max(1, min(round(hidden / MEAN_SPAN), hidden, kept, len(sentinels)))
    instruction: list[int] = []
    answer: list[int] = []
    position = 0
    lengths = zip(_split(kept, spans, rng), _split(hidden, spans, rng), strict=True)
    for sentinel, (keep, hide) in zip(sentinels[:spans], lengths, strict=True):
        instruction += [*ids[position : position + keep], sentinel]
        answer += [sentinel, *ids[position + keep : position + keep + hide]]
        position += keep + hide
    return instruction, answer


def _split(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """`total` as a sum of so many random numbers of at least 1; [total] for one part."""
    if parts == 1:
        return [total]
    cuts = sorted((rng.choice(total - 1, size=parts - 1, replace=False) + 1).tolist())
    return [last - first for first, last in zip([0, *cuts], [*cuts, total], strict=True)]
