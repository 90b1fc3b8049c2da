"""Tasks rendered to token ids and labels: what the language model is asked to do.

A task is rendered by adding pieces, each with its label bit,
so a label can never drift from its token:

    t2m      user(<T2M><PID>\n\ncaption)                            -> [<MOT_BEGIN> codes <MOT_END>]
    m2t      user(<M2T><PID>\n\n<MOT_BEGIN> codes <MOT_END>)        -> [caption <|im_end|>]
    denoise  user(<DENOISE><PID>\n\n<MOT_BEGIN> masked <MOT_END>)   -> [<MOT_BEGIN> codes <MOT_END>]
    motion   [<MOT_BEGIN> codes <MOT_END>]                          without text
    caption  [caption <|im_end|>]                                   without motion

The loss is on what stands in [...]. The frame user(...) is SignMotionGPT's text inside the chat
turn of the backbone's family, and <|im_end|> is Qwen's end of it (`frames.py`). With a Qwen3
tokenizer the assistant's turn opens with the empty think block, which Qwen3's own template writes
if thinking is off. A backbone without chat markers gets the same pieces with a newline between
them. A sequence that does not fit is an error before training; its end marker is never silently
cut.

For an encoder-decoder user(...) is the instruction with </s> after it, which the encoder reads, and
[...] is what the decoder writes. The tasks motion and caption ask for nothing, so there it fills in
hidden spans.

<PID> is the participant's word, or <PID_NULL> if the entry names none. 30 % of the examples that
name one (`NULL_SHARE`) are rendered with <PID_NULL> anyway: most prompts at sampling name no
participant, so <PID_NULL> must be a trained word.

The sentence of t2m is read in one spelling (`data/spelling.py`), in training and at sampling:
captions in capitals or with a full stop are the same ids. Sentences that the model has to write
keep their own spelling.
"""

from collections.abc import Sequence

import numpy as np

from motiongpt.data.spelling import fold
from motiongpt.data.tokens import Entry
from motiongpt.tasks.frames import Frame, blank_before_text
from motiongpt.tasks.spans import corrupt_spans
from motiongpt.vocab import MotionVocab

TASKS = ("t2m", "m2t", "denoise", "motion", "caption")  # for a recipe's stages and --tasks
WRITE_TEXT = ("m2t", "caption")  # those whose answer is a sentence; the others write a motion
MASKED_SHARE = 0.15  # share of the codes that denoising hides
NULL_SHARE = 0.3  # share of the examples with a participant that are shown without one


def sentinel_ids(vocab: MotionVocab) -> list[int]:
    """T5's sentinels <extra_id_0>, <extra_id_1>, ... of the text tokenizer; it has 100."""
    found = (vocab.text_tokenizer.token_id(f"<extra_id_{i}>") for i in range(100))
    return [i for i in found if i is not None]


class Renderer:
    """Entries to (ids, labels), and requests to prompts, for one vocabulary.

    `fold_captions` is the run's own (`RunConfig`):
    without it, as in older runs, the sentence of t2m is read as it is. `encoder`: the model is an
    encoder-decoder, which learns `motion` and `caption` by filling in hidden spans (`spans.py`).
    """

    def __init__(
        self,
        vocab: MotionVocab,
        think: str = "auto",
        max_seq_len: int = 512,
        caption_dropout: float = 0.0,
        fold_captions: bool = False,
        encoder: bool = False,
    ) -> None:
        self.vocab, self.frame = vocab, Frame(vocab, think, encoder)
        self.encoder = encoder
        self._sentinels = sentinel_ids(vocab) if encoder else []
        self.fold_captions = fold_captions
        self.max_seq_len, self.caption_dropout = max_seq_len, caption_dropout
        self._blank = vocab.text_tokenizer.encode("\n\n")  # before a motion
        self._blank_before_text = blank_before_text(vocab.text_tokenizer)
        self._captions: dict[str, list[int]] = {}  # a cache: every epoch asks for the same captions

    def prompt(self, task: str, content: Sequence[int], participant: str | None = None) -> list[int]:
        """A framed request: sampling starts from these ids,
        and a training example has them without labels."""
        head = [self.vocab.id(f"<{task.upper()}>"), self.vocab.participant_id(participant)]
        blank = self._blank_before_text if task == "t2m" else self._blank
        return [*self.frame.before, *head, *blank, *content, *self.frame.after]

    def text_prompt(self, text: str, participant: str | None = None) -> list[int]:
        """The prompt of text to motion."""
        return self.prompt("t2m", self.vocab.text_tokenizer.encode(self._read(text)), participant)

    def motion_prompt(self, codes: Sequence[int], participant: str | None = None) -> list[int]:
        """The prompt of motion to text."""
        return self.prompt("m2t", self.vocab.motion_ids(codes), participant)

    def render(self, task: str, entry: Entry, rng: np.random.Generator) -> tuple[list[int], list[bool]]:
        """One training example: ids, and for each id whether the model must predict it.

        Raises ValueError for an unknown task, and for a sequence longer than max_seq_len.
        """
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; there are: {', '.join(TASKS)}")
        ids: list[int] = []
        labels: list[bool] = []

        def add(piece: Sequence[int], label: bool) -> None:
            ids.extend(piece)
            labels.extend([label] * len(piece))

        # 1) the pieces: who, the sentence, the motion
        who = None if entry.participant is not None and rng.random() < NULL_SHARE else entry.participant
        caption: list[int] = []
        if task in ("t2m", "m2t", "caption"):
            caption = self._caption(self._read(entry.text) if task == "t2m" else entry.text)
        motion = self.vocab.motion_ids(entry.codes) if task != "caption" else []
        answer = [*caption, self.frame.stop_id] if task in WRITE_TEXT else motion
        # 2) the prompt, which is read and not learnt
        if task == "t2m":
            if self.caption_dropout:  # so that no single word of a caption carries the answer
                # if every word is dropped, all of them stay: an empty prompt asks for nothing
                kept = rng.random(len(caption)) >= self.caption_dropout
                caption = [token for token, keep in zip(caption, kept, strict=True) if keep] or caption
            add(self.prompt(task, caption, who), False)
        elif task == "m2t":
            add(self.prompt(task, motion, who), False)
        elif task == "denoise":
            add(self.prompt(task, self.corrupt(motion, rng), who), False)
        elif self.encoder:  # nothing asks for the whole: what is shown has gaps, and the answer fills them
            shown, hidden = corrupt_spans(motion or caption, self._sentinels, rng)
            add([*shown, self.frame.stop_id], False)
            answer = [*hidden, self.frame.stop_id]
        else:
            add(self.frame.start, False)
        # 3) the answer, which is learnt
        add(answer, True)
        if len(ids) > self.max_seq_len:
            raise ValueError(
                f"entry {entry.id or entry.text[:40]!r} needs {len(ids)} tokens for task {task}, "
                f"--max-seq-len is {self.max_seq_len}"
            )
        return ids, labels

    def _read(self, text: str) -> str:
        """A sentence that asks for a motion, as the model reads it."""
        return fold(text) if self.fold_captions else text

    def _caption(self, text: str) -> list[int]:
        if text not in self._captions:
            self._captions[text] = self.vocab.text_tokenizer.encode(text)
        return self._captions[text]

    def corrupt(self, motion: Sequence[int], rng: np.random.Generator) -> list[int]:
        """<MOT_BEGIN> codes <MOT_END> with 15 % of the codes, at least one,
        replaced by <MOTION_MASK>."""
        S = len(motion) - 2  # without the two markers
        hidden = rng.choice(S, size=max(1, round(MASKED_SHARE * S)), replace=False) + 1  # + 1 for <MOT_BEGIN>
        masked = list(motion)
        for position in hidden:
            masked[position] = self.vocab.id("<MOTION_MASK>")
        return masked
