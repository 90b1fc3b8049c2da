"""Tasks rendered to token ids and labels: what the language model is asked to do.

The rows of `table.py` say what is read and what is learnt; `prompts.py` writes the requests:

    t2m      user(<T2M><PID>\n\ncaption)                            -> [<MOT_BEGIN> codes <MOT_END>]
    m2t      user(<M2T><PID>\n\n<MOT_BEGIN> codes <MOT_END>)        -> [caption <|im_end|>]
    denoise  user(<DENOISE><PID>\n\n<MOT_BEGIN> masked <MOT_END>)   -> [<MOT_BEGIN> codes <MOT_END>]
    motion   [<MOT_BEGIN> codes <MOT_END>]                          without text
    caption  [caption <|im_end|>]                                   without motion
    others   user(<PID>\n\nsentence given codes)                    -> [<MOT_BEGIN> codes <MOT_END>]

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

import numpy as np

from motiongpt.data.tokens import Entry
from motiongpt.tasks.prompts import PromptWriter
from motiongpt.tasks.table import TABLE, TASKS, Sample
from motiongpt.vocab import MotionVocab

NULL_SHARE = 0.3  # share of the examples with a participant that are shown without one


def sentinel_ids(vocab: MotionVocab) -> list[int]:
    """T5's sentinels <extra_id_0>, <extra_id_1>, ... of the text tokenizer; it has 100."""
    found = (vocab.text_tokenizer.token_id(f"<extra_id_{i}>") for i in range(100))
    return [i for i in found if i is not None]


class Renderer(PromptWriter):
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
        super().__init__(vocab, think, fold_captions, encoder)
        self.max_seq_len, self.caption_dropout = max_seq_len, caption_dropout
        self._sentinels = sentinel_ids(vocab) if encoder else []

    def render(self, task: str, entry: Entry, rng: np.random.Generator) -> tuple[list[int], list[bool]]:
        """One training example: ids, and for each id whether the model must predict it.

        Raises ValueError for an unknown task, and for a sequence longer than max_seq_len.
        """
        if task not in TABLE:
            raise ValueError(f"unknown task {task!r}; there are: {', '.join(TASKS)}")
        who = None if entry.participant is not None and rng.random() < NULL_SHARE else entry.participant
        sample = Sample(entry, who, self.caption_dropout, self._sentinels)
        read, learnt = TABLE[task].build(self, sample, rng)
        if len(read) + len(learnt) > self.max_seq_len:
            raise ValueError(
                f"entry {entry.id or entry.text[:40]!r} needs {len(read) + len(learnt)} tokens for task {task}, "
                f"--max-seq-len is {self.max_seq_len}"
            )
        return [*read, *learnt], [False] * len(read) + [True] * len(learnt)
