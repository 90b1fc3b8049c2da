"""The tasks, one row each: what the model reads, and what it must then write.

Each row has a pure function (prompt writer, sample, rng) -> (read, learnt), both lists of ids. Only
the second one is learnt, so a label can never drift from its token. Every random choice comes from
`rng`; a row that is changed draws in the same order, or a resumed training differs.

    t2m, m2t, denoise    a sentence to a motion, a motion to a sentence, hidden codes to all codes
    motion, caption      without a request: a decoder writes all, an encoder-decoder fills in gaps
    predict              the first 20 % of the codes, in half of the examples a sentence too
    inbetween            the first and last 25 %, in half of the examples a sentence too
    init, last, keys     a sentence and the first code, the last one, or 3 to 5 codes with positions
    random               nothing

The answer of a task with given codes is the whole motion, these codes included.

The shares of predict and inbetween are MyoSkeleton's, the number of keys is that of Zhang et al.
(MotionGPT, AAAI 2024), whose keys have no positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from motiongpt.data.tokens import Entry
from motiongpt.tasks.prompts import PromptWriter
from motiongpt.tasks.spans import corrupt_spans

MASKED_SHARE = 0.15  # share of the codes that denoising hides
PREDICT_SHARE = 0.2  # share of the codes that predict is given
BETWEEN_SHARE = 0.25  # share of the codes that inbetween is given at either end
TEXT_SHARE = 0.5  # share of the examples of predict and inbetween that have a sentence
KEYS = (3, 5)  # fewest and most key codes


@dataclass(frozen=True)
class Sample:
    """One entry as a task sees it. `who` is None if the participant is missing or hidden."""

    entry: Entry
    who: str | None
    caption_dropout: float = 0.0
    sentinels: Sequence[int] = ()  # of an encoder-decoder


Example = tuple[list[int], list[int]]  # what is read, what is learnt
Build = Callable[[PromptWriter, Sample, np.random.Generator], Example]


@dataclass(frozen=True)
class Task:
    """A row of the table. `writes` is what the answer is, motion or text."""

    name: str
    build: Build
    writes: str = "motion"


# 1) The tasks that a word of the vocabulary asks for.


def text_to_motion(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
    """t2m."""
    motion = writer.vocab.motion_ids(sample.entry.codes)
    return writer.prompt("t2m", read_caption(writer, sample, rng), sample.who), motion


def motion_to_text(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
    """m2t."""
    return writer.motion_prompt(sample.entry.codes, sample.who), written_caption(writer, sample)


def denoise(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
    """denoise."""
    motion = writer.vocab.motion_ids(sample.entry.codes)
    return writer.prompt("denoise", corrupt(motion, writer.vocab.id("<MOTION_MASK>"), rng), sample.who), motion


def corrupt(motion: Sequence[int], mask: int, rng: np.random.Generator) -> list[int]:
    """<MOT_BEGIN> codes <MOT_END> with 15 % of the codes, at least one, replaced by `mask`."""
    S = len(motion) - 2  # without the two markers
    hidden = rng.choice(S, size=max(1, round(MASKED_SHARE * S)), replace=False) + 1  # + 1 for <MOT_BEGIN>
    masked = list(motion)
    for position in hidden:
        masked[position] = mask
    return masked


# 2) The tasks without a request.


def whole_motion(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
    """motion."""
    motion = writer.vocab.motion_ids(sample.entry.codes)
    return fill_gaps(writer, sample, motion, rng) if writer.encoder else (writer.frame.start, motion)


def whole_caption(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
    """caption."""
    if writer.encoder:
        return fill_gaps(writer, sample, writer.encode(sample.entry.text), rng)
    return writer.frame.start, written_caption(writer, sample)


def fill_gaps(writer: PromptWriter, sample: Sample, ids: Sequence[int], rng: np.random.Generator) -> Example:
    """An encoder-decoder is shown the ids with gaps, and its answer fills them (`spans.py`)."""
    stop = writer.frame.stop_id
    shown, hidden = corrupt_spans(ids, sample.sentinels, rng)
    return [*shown, stop], [*hidden, stop]


# 3) The tasks that a sentence asks for, most of them with given codes.


def no_codes(S: int, rng: np.random.Generator) -> list[int]:
    return []


def first_codes(S: int, rng: np.random.Generator) -> list[int]:
    """The first fifth of S positions, at least one."""
    return list(range(max(1, int(PREDICT_SHARE * S))))


def end_codes(S: int, rng: np.random.Generator) -> list[int]:
    """The first and the last quarter of S positions, at least one each."""
    head = max(1, int(BETWEEN_SHARE * S))
    tail = min(S - 1, int((1 - BETWEEN_SHARE) * S))
    return [*range(head), *range(max(head, tail), S)]


def first_code(S: int, rng: np.random.Generator) -> list[int]:
    return [0]


def last_code(S: int, rng: np.random.Generator) -> list[int]:
    return [S - 1]


def key_codes(S: int, rng: np.random.Generator) -> list[int]:
    """3 to 5 of S positions in order, all of them if S is smaller."""
    count = min(S, int(rng.integers(KEYS[0], KEYS[1] + 1)))
    return sorted(rng.choice(S, size=count, replace=False).tolist())


def with_given_codes(name: str, positions: Callable[[int, np.random.Generator], list[int]], text_share: float) -> Build:
    """A task that is given the codes at `positions(S, rng)`, and a sentence in `text_share` of the examples."""

    def build(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
        codes = sample.entry.codes
        given = {position: codes[position] for position in positions(len(codes), rng)}
        caption = read_caption(writer, sample, rng) if rng.random() < text_share else []
        prompt = writer.given_prompt(name, caption, given, len(codes), sample.who)
        return prompt, writer.vocab.motion_ids(codes)

    return build


# 4) Captions.


def read_caption(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> list[int]:
    """The sentence that asks for a motion, some words dropped so that no single word carries the answer."""
    caption = writer.encode(writer.read(sample.entry.text))
    if not sample.caption_dropout:
        return caption
    # if every word is dropped, all of them stay: an empty prompt asks for nothing
    kept = rng.random(len(caption)) >= sample.caption_dropout
    return [token for token, keep in zip(caption, kept, strict=True) if keep] or caption


def written_caption(writer: PromptWriter, sample: Sample) -> list[int]:
    """The sentence that the model has to write, in its own spelling."""
    return [*writer.encode(sample.entry.text), writer.frame.stop_id]


# 5) The table.

TABLE = {
    task.name: task
    for task in (
        Task("t2m", text_to_motion),
        Task("m2t", motion_to_text, writes="text"),
        Task("denoise", denoise),
        Task("motion", whole_motion),
        Task("caption", whole_caption, writes="text"),
        Task("predict", with_given_codes("predict", first_codes, TEXT_SHARE)),
        Task("inbetween", with_given_codes("inbetween", end_codes, TEXT_SHARE)),
        Task("init", with_given_codes("init", first_code, 1.0)),
        Task("last", with_given_codes("last", last_code, 1.0)),
        Task("keys", with_given_codes("keys", key_codes, 1.0)),
        Task("random", with_given_codes("random", no_codes, 0.0)),
    )
}
TASKS = tuple(TABLE)  # for a recipe's stages and --tasks
WRITE_TEXT = tuple(task.name for task in TABLE.values() if task.writes == "text")
TEXT_OPTIONAL = ("predict", "inbetween", "random")  # a request for one of these may do without a sentence
