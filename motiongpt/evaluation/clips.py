"""Which clips and captions of a data set are measured.

The rules are those of the field's loaders (Guo et al. 2022, Text2MotionDatasetV2 of
text-to-motion): a range of lengths, a multiple of four frames, and a caption with times is a clip
of its own. Unlike those loaders, which cut a random piece at every reading, a clip is always
measured from its first frame.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from motiongpt.data.motions import SPLITS, MotionDataset
from motiongpt.data.texts import Caption, by_time
from motiongpt.evaluation.word_vectors import UNKNOWN, Vocabulary, caption_tokens
from motiongpt.files.hashes import short_hash

UNIT = 4  # frames per movement: the evaluators' two convolutions have stride 2
FEWEST = 2  # clips: one alone has neither a spread nor a pair (FID, Diversity)
CURVE = 10  # R-precision is plotted for top 1 ... top CURVE


@dataclass(frozen=True)
class Item:
    """A clip or a timed piece of one, (F, D) with F a multiple of 4, and its captions."""

    name: str
    features: np.ndarray
    captions: tuple[Caption, ...]


def usable_frames(frames: int, max_frames: int) -> int:
    """How many frames of a clip are measured: a multiple of 4, at most `max_frames`."""
    return min(frames, max_frames) // UNIT * UNIT


def shortest_clip(data: MotionDataset) -> int:
    """The field's least number of frames: 24 for KIT-ML, 40 at 20 fps,
    two seconds at other frame rates."""
    return 24 if data.skeleton.name.startswith("kit") else round(2 * data.fps)


def read_items(data: MotionDataset, split: str, min_frames: int, max_frames: int) -> tuple[list[Item], dict[str, str]]:
    """The clips of a split that count, and those that do not: name -> reason.

    A clip counts with min_frames to max_frames + 3 frames, all finite, and with a caption that has
    a letter or a digit. Frames beyond max_frames are cut off. A caption with times makes an item of
    its own, named ID@start-end.

    Raises ValueError when fewer than `FEWEST` clips are left, and see `check_tokens`.
    """
    usable, dropped = load_clips(data, split)
    items = []

    def fits(name: str, features: np.ndarray) -> bool:
        if min_frames <= len(features) < max_frames + UNIT:
            return True
        dropped[name] = f"{len(features)} frames, not {min_frames} to {max_frames + UNIT - 1}"
        return False

    for clip, features in usable.items():
        # captions by their times; (0, 0) is the whole clip
        pieces = by_time(data.captions(clip))
        if not pieces:
            dropped[clip] = "no caption"
        elif fits(clip, features):
            for (start, end), captions in pieces.items():
                whole = (start, end) == (0, 0)
                name = clip if whole else f"{clip}@{start:g}-{end:g}"
                # all captions of a piece share its times
                piece = captions[0].cut(features, data.fps)
                if whole or fits(name, piece):
                    # a malformed caption is an error: dropped quietly, it would change what is measured
                    check_tokens(data, clip, captions)
                    items.append(Item(name, piece[: usable_frames(len(piece), max_frames)], tuple(captions)))
    if len(items) < FEWEST:
        raise ValueError(
            f"{data.folder.name}/{split}.txt has {len(items)} clips of {min_frames} to {max_frames + UNIT - 1} frames "
            f"with a caption, at least {FEWEST} are needed ({len(dropped)} dropped; see --min-frames)"
            f"{other_lists(data, split, FEWEST, range(min_frames, max_frames + UNIT))}"
        )
    return items, dropped


def check_tokens(data: MotionDataset, clip: str, captions: Sequence[Caption]) -> None:
    """ValueError naming the caption file if a token in it is not word/POS."""
    any_words = Vocabulary([UNKNOWN])  # the form of a token does not depend on the words that are known
    for caption in captions:
        try:
            any_words.encode(caption_tokens(caption))
        except ValueError as error:
            raise ValueError(f"{data.folder / 'texts' / clip}.txt: {error}") from None


def items_in_train(data: MotionDataset, items: Sequence[Item]) -> int:
    """How many items are clips of the training split, or pieces of one (ID@start-end)."""
    train = set(data.ids("train"))
    return sum(item.name in train or item.name.rpartition("@")[0] in train for item in items)


def items_hash(items: Sequence[Item]) -> str:
    """`clips_hash` of items with their captions."""
    return clips_hash((item.name, item.features, item.captions) for item in items)


def clips_hash(clips: Iterable[tuple[str, np.ndarray, object]]) -> str:
    """16 hex digits of what is measured: (name, frames, captions).
    One changed frame or word changes the hash."""
    return short_hash(f"{name}{x.shape}{captions}".encode() + x.tobytes() for name, x, captions in clips)


def other_lists(data: MotionDataset, split: str, clips: int = 1, frames: range = range(1, sys.maxsize)) -> str:
    """The end of an error message: other lists with at least `clips` clips whose length is in
    `frames`.

    Never train: numbers on training clips say what was learnt by heart.
    """
    there = [name for name in reversed(SPLITS) if name != "train" and (data.folder / f"{name}.txt").is_file()]
    # all of them joined, in case each alone is too small
    together = "+".join(reversed(there))
    enough = []
    for name in dict.fromkeys([*there, together]):
        # the joined list is empty without any list, and the wanted one if there is one
        if name in ("", split):
            continue
        if sum(data.frames(clip) in frames for clip in data.ids(name)) >= clips:
            enough.append(name)
    return "; --split " + " or ".join(enough) + " measures others" if enough else ""


def load_clips(data: MotionDataset, split: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """`data.load_for_report`, with an error that names another list if this one is missing."""
    try:
        return data.load_for_report(split)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{other_lists(data, split)}") from error
