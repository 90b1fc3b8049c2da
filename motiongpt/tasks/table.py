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
    edit                 a motion and a sentence that changes it
    t2d, m2d             a sentence, or a motion, to its duration in seconds
    read                 a sentence to the plain caption of the same motion

The tasks below the second line are worded by templates (`templates.py`), which also say what the answer is: with
plain.json it is the whole motion, given codes included.

The shares of predict and inbetween are MyoSkeleton's, the number of keys is that of Zhang et al.
(MotionGPT, AAAI 2024), whose keys have no positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from motiongpt.data.tokens import Entry
from motiongpt.tasks.prompts import PromptWriter, Request
from motiongpt.tasks.spans import corrupt_spans
from motiongpt.tasks.templates import CAPTION, Group

MASKED_SHARE = 0.15  # share of the codes that denoising hides
PREDICT_SHARE = 0.2  # share of the codes that predict is given
BETWEEN_SHARE = 0.25  # share of the codes that inbetween is given at either end
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
    """A row of the table. `writes` is what the answer is, motion or text.

    `of_pairs`: it needs entries that have a motion to change, and no other task takes those. `of_plain`: it needs
    entries that have a plain caption. `of_text`: its examples show no codes.
    """

    name: str
    build: Build
    writes: str = "motion"
    of_pairs: bool = False
    of_plain: bool = False
    of_text: bool = False

    @property
    def is_asked(self) -> bool:
        """Whether a sentence about the whole motion may ask for it."""
        return self.writes == "motion" and not self.of_pairs

    def takes(self, entry: Entry) -> bool:
        """Whether an entry has what the task needs."""
        return self.of_pairs == bool(entry.source) and (not self.of_plain or bool(entry.plain))


# 1) The tasks that a word of the vocabulary asks for.


def text_to_motion(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
    """t2m."""
    codes = sample.entry.codes
    caption = read_caption(writer, sample, rng)
    share = writer.templates.tell_length
    told = len(codes) if share and rng.random() < share else None  # without a share nothing is drawn
    return writer.prompt("t2m", [*caption, *writer.length_words(told)], sample.who), writer.vocab.motion_ids(codes)


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


# 3) The tasks that a template asks for, most of them with given codes.


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


def by_template(task: str, positions: Callable[[int, np.random.Generator], list[int]] = no_codes) -> Build:
    """A task that is given the codes at `positions(S, rng)`; one of its templates says with what else."""

    def build(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
        entry = sample.entry
        codes = entry.codes
        given = {position: codes[position] for position in positions(len(codes), rng)}
        asked, answer = draw_template(writer.templates.groups[task], rng)
        caption = quoted(kept_words(writer.read(entry.text), sample, rng), writer, rng) if CAPTION in asked else ""
        request = Request(task, caption, entry.source or codes, given, len(codes), sample.who)
        answered = Request(task, entry.text, codes, given, len(codes))
        return writer.framed(asked, request), writer.answer(answer, answered)

    return build


def read_sentence(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> Example:
    """read. No word is dropped and nothing is quoted: a dropped "left" would teach the model to invent a side.

    Without a plain caption the sentence stands for itself.
    """
    entry = sample.entry
    asked, answer = draw_template(writer.templates.groups["read"], rng)
    learnt = writer.answer(answer, Request("read", entry.plain or entry.text))
    return writer.framed(asked, Request("read", entry.text)), learnt


def draw_template(groups: Sequence[Group], rng: np.random.Generator) -> tuple[str, str]:
    """An input and an output of a group, all three drawn."""
    group = groups[int(rng.integers(len(groups)))]
    asked = group.inputs[int(rng.integers(len(group.inputs)))]
    return asked, group.outputs[int(rng.integers(len(group.outputs)))]


# 4) Captions.


def read_caption(writer: PromptWriter, sample: Sample, rng: np.random.Generator) -> list[int]:
    """The sentence that asks for a motion, some words dropped so that no single word carries the answer."""
    caption = writer.encode(writer.read(sample.entry.text))
    if not sample.caption_dropout:
        return caption
    # if every word is dropped, all of them stay: an empty prompt asks for nothing
    kept = rng.random(len(caption)) >= sample.caption_dropout
    return [token for token, keep in zip(caption, kept, strict=True) if keep] or caption


def kept_words(text: str, sample: Sample, rng: np.random.Generator) -> str:
    """The sentence of a template without the words that are dropped; all of them stay if none would."""
    if not sample.caption_dropout:
        return text
    words = text.split(" ")
    kept = rng.random(len(words)) >= sample.caption_dropout
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep) or text


def quoted(text: str, writer: PromptWriter, rng: np.random.Generator) -> str:
    """The sentence of a template, in quotes for the share of the examples that the templates want so."""
    share = writer.templates.quote_share
    return f'"{text}"' if share and rng.random() < share else text


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
        Task("caption", whole_caption, writes="text", of_text=True),
        Task("predict", by_template("predict", first_codes)),
        Task("inbetween", by_template("inbetween", end_codes)),
        Task("init", by_template("init", first_code)),
        Task("last", by_template("last", last_code)),
        Task("keys", by_template("keys", key_codes)),
        Task("random", by_template("random")),
        Task("edit", by_template("edit"), of_pairs=True),
        Task("t2d", by_template("t2d"), writes="text", of_text=True),
        Task("m2d", by_template("m2d"), writes="text"),
        Task("read", read_sentence, writes="text", of_plain=True, of_text=True),
    )
}
TASKS = tuple(TABLE)  # for a recipe's stages and --tasks
WRITE_TEXT = tuple(task.name for task in TABLE.values() if task.writes == "text")
TEXT_OPTIONAL = ("predict", "inbetween", "random")  # a request for one of these may do without a sentence
FORMER = ("t2m", "m2t", "denoise", "motion", "caption")  # worded by no template unless a file does
FROM_TEMPLATES = tuple(name for name in TASKS if name not in FORMER)


def build(writer: PromptWriter, task: str, sample: Sample, rng: np.random.Generator) -> Example:
    """An example of a task: by its row, or by the stage's templates where they word t2m, m2t or caption too."""
    worded = task in FORMER and task in writer.templates.groups
    return (by_template(task) if worded else TABLE[task].build)(writer, sample, rng)
