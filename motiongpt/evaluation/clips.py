"""Which clips and captions of a data set are measured."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from motiongpt.data.motions import SPLITS, MotionDataset
from motiongpt.data.texts import Caption, by_time
from motiongpt.evaluation.networks import UNIT, usable_frames
from motiongpt.evaluation.word_vectors import UNKNOWN, Vocabulary, caption_tokens
from motiongpt.files.hashes import short_hash

GROUP, CURVE = 32, 10  # R-precision: motions a text is asked to find its own among; the longest list it may name


@dataclass(frozen=True)
class Item:
    """A piece of a clip, (F, D) with F a multiple of 4, and what is said about it."""

    name: str
    features: np.ndarray
    captions: tuple[Caption, ...]


def shortest_clip(data: MotionDataset) -> int:
    """The field's least number of frames: 24 of KIT-ML's, 40 at 20 fps; two seconds elsewhere."""
    return 24 if data.skeleton.name.startswith("kit") else round(2 * data.fps)


def read_items(data: MotionDataset, split: str, min_frames: int, max_frames: int) -> tuple[list[Item], dict[str, str]]:
    """The pieces of a split that the field's loaders keep; and the others, name -> reason.

    A clip has from min_frames to max_frames + 3 frames and finite features; the frames over max_frames are cut off. A
    caption has a letter or a digit; one with times makes an item of its own, ID@start-end. Raises ValueError where
    fewer than 32 are left, and as of `check_tokens`.
    """
    usable, dropped = load_clips(data, split)
    items = []

    def fits(name: str, features: np.ndarray) -> bool:
        if min_frames <= len(features) < max_frames + UNIT:
            return True
        dropped[name] = f"{len(features)} frames, not {min_frames} to {max_frames + UNIT - 1}"
        return False

    for clip, features in usable.items():
        pieces = by_time(data.captions(clip))
        if not pieces:
            dropped[clip] = "no caption"
        elif fits(clip, features):
            for (start, end), captions in pieces.items():
                name = clip if (start, end) == (0, 0) else f"{clip}@{start:g}-{end:g}"
                piece = captions[0].cut(features, data.fps)
                if name == clip or fits(name, piece):
                    check_tokens(data, clip, captions)
                    items.append(Item(name, piece[: usable_frames(len(piece), max_frames)], tuple(captions)))
    if len(items) < GROUP:
        raise ValueError(
            f"{data.folder.name}/{split}.txt has {len(items)} clips of {min_frames} to {max_frames + UNIT - 1} frames "
            f"with a caption; R-precision needs {GROUP} ({len(dropped)} dropped; see --min-frames)"
            f"{other_lists(data, split, GROUP, range(min_frames, max_frames + UNIT))}"
        )
    return items, dropped


def check_tokens(data: MotionDataset, clip: str, captions: Sequence[Caption]) -> None:
    """ValueError naming the file whose tokens are not word/POS."""
    for caption in captions:
        try:
            Vocabulary([UNKNOWN]).encode(caption_tokens(caption))
        except ValueError as error:
            raise ValueError(f"{data.folder / 'texts' / clip}.txt: {error}") from None


def items_hash(items: Sequence[Item]) -> str:
    """16 hex digits of the frames and captions that are measured: a changed clip or word is another data set."""
    return clips_hash((item.name, item.features, item.captions) for item in items)


def clips_hash(clips: Iterable[tuple[str, np.ndarray, object]]) -> str:
    """16 hex digits of what is measured, (name, frames, what is said of them): a changed one is another data set."""
    return short_hash(f"{name}{x.shape}{said}".encode() + x.tobytes() for name, x, said in clips)


def other_lists(data: MotionDataset, split: str, clips: int = 1, frames: range = range(1, sys.maxsize)) -> str:
    """Which other lists have at least `clips` clips of so many `frames`, as the end of an error message; never train,
    which says what was learnt by heart."""
    there = [name for name in reversed(SPLITS) if name != "train" and (data.folder / f"{name}.txt").is_file()]
    lists = [name for name in dict.fromkeys([*there, "+".join(reversed(there))]) if name not in ("", split)]
    others = [name for name in lists if sum(data.frames(clip) in frames for clip in data.ids(name)) >= clips]
    return "; --split " + " or ".join(others) + " measures others" if others else ""


def load_clips(data: MotionDataset, split: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """`data.load_for_report`, with an error that names another list where this one is missing."""
    try:
        return data.load_for_report(split)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{other_lists(data, split)}") from error
