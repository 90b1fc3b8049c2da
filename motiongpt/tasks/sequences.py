"""Tasks rendered to token ids and labels: what the language model is asked to do.

The rows of `table.py` say what is read and what is learnt; `prompts.py` writes the requests:

    t2m      user(<T2M><PID>\n\ncaption)                            -> [<MOT_BEGIN> codes <MOT_END>]
    m2t      user(<M2T><PID>\n\n<MOT_BEGIN> codes <MOT_END>)        -> [caption <|im_end|>]
    denoise  user(<DENOISE><PID>\n\n<MOT_BEGIN> masked <MOT_END>)   -> [<MOT_BEGIN> codes <MOT_END>]
    motion   [<MOT_BEGIN> codes <MOT_END>]                          without text
    caption  [caption <|im_end|>]                                   without motion
    others   user(<PID>\n\ntemplate)                                -> [template]
    read     user(template)                                         -> [plain caption <|im_end|>]

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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from motiongpt.data.selection import may_reach, select
from motiongpt.data.tokens import Entry
from motiongpt.tasks.prompts import CLOCK, Clock, PromptWriter
from motiongpt.tasks.table import KEYS, TABLE, TASKS, Sample, build
from motiongpt.tasks.templates import CAPTION, FRAMES, MOTIONS, PLACEHOLDERS, SECONDS, Templates, pieces
from motiongpt.vocab import MotionVocab

SEAM = 2  # tokens by which text may be shorter or longer where something is put in: letters may join over the seam
NULL_SHARE = 0.3  # share of the examples with a participant that are shown without one

Shapes = dict[tuple[str, ...], tuple[int, int, int]]
"""What is put into templates -> how many there are, fewest and most tokens of their own text."""


def sentinel_ids(vocab: MotionVocab) -> list[int]:
    """T5's sentinels <extra_id_0>, <extra_id_1>, ... of the text tokenizer; it has 100."""
    found = (vocab.text_tokenizer.token_id(f"<extra_id_{i}>") for i in range(100))
    return [i for i in found if i is not None]


class Renderer(PromptWriter):
    """Entries to (ids, labels), and requests to prompts, for one vocabulary.

    `fold_captions` is the run's own (`RunConfig`): without it, as in older runs, the sentence of t2m is read as it is.
    `plain_share` of the sentences that ask for a motion become the plain caption, where there is one: what a reader
    will make of any sentence. `encoder`: the model is an encoder-decoder, which learns `motion` and `caption` by
    filling in hidden spans (`spans.py`).
    """

    def __init__(
        self,
        vocab: MotionVocab,
        think: str = "auto",
        max_seq_len: int = 512,
        caption_dropout: float = 0.0,
        plain_share: float = 0.0,
        fold_captions: bool = False,
        encoder: bool = False,
        templates: Templates | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        super().__init__(vocab, think, fold_captions, encoder, templates, clock)
        self.max_seq_len, self.caption_dropout, self.plain_share = max_seq_len, caption_dropout, plain_share
        self._sentinels = sentinel_ids(vocab) if encoder else []
        self._shapes: dict[str, tuple[Shapes, Shapes]] = {}  # by task: of requests, of answers

    def render(self, task: str, entry: Entry, rng: np.random.Generator) -> tuple[list[int], list[bool]]:
        """One training example: ids, and for each id whether the model must predict it.

        Raises ValueError for an unknown task, and for a sequence longer than max_seq_len.
        """
        if task not in TABLE:
            raise ValueError(f"unknown task {task!r}; there are: {', '.join(TASKS)}")
        if entry.plain and TABLE[task].is_asked and self.plain_share and rng.random() < self.plain_share:
            entry = replace(entry, text=entry.plain)
        who = None if entry.participant is not None and rng.random() < NULL_SHARE else entry.participant
        sample = Sample(entry, who, self.caption_dropout, self._sentinels)
        read, learnt = build(self, task, sample, rng)
        if len(read) + len(learnt) > self.max_seq_len:
            raise ValueError(
                f"entry {entry.id or entry.text[:40]!r} needs {len(read) + len(learnt)} tokens for task {task}, "
                f"--max-seq-len is {self.max_seq_len}"
            )
        return [*read, *learnt], [self.templates.loss_on_prompt] * len(read) + [True] * len(learnt)

    def longest(self, entries: Iterable[Entry]) -> list[Entry]:
        """The few entries that have the longest examples: no other entry has more motion and more sentence than one.

        An example grows with both, whatever its task, so nothing is gained by rendering 100,000 others.
        """
        found: dict[bool, list[tuple[int, int, Entry]]] = {True: [], False: []}  # of pairs, and of all others
        # `read` shows two sentences and no motion, so its longest example may be of another entry
        readable: list[Entry] = []
        most = 0
        for entry in entries:
            motion, sentence = self._motion_tokens(entry), self._sentence_tokens(entry)
            known = found[bool(entry.source)]
            if not any(one >= motion and other >= sentence for one, other, _ in known):
                known[:] = [one for one in known if one[0] > motion or one[1] > sentence]
                known.append((motion, sentence, entry))
            if entry.plain and (both := sentence + len(self.encode(entry.plain))) >= most:
                most, readable = both, [entry]
        ordered = [sorted(found[pair], key=lambda one: -one[0]) for pair in (True, False)]
        return [entry for known in ordered for _, _, entry in known] + readable

    def may_be_long(self, entries: Sequence[Entry], tasks: Iterable[str], limit: int, plain: bool) -> Iterator[Entry]:
        """All entries of a list; of shards those that may have an example of more than `limit` tokens. With `plain`
        each also in the words of its plain caption.

        To encode a corpus of captions takes minutes, and most are far too short to matter. An example of a first entry
        is more than enough for what surrounds the motion, shown twice at most, and the sentences of any other.
        """
        rng = np.random.default_rng(0)
        firsts = [(task, entry) for task in tasks for entry in select(entries, TABLE[task].takes)[:1]]
        around = [len(self.render(task, entry, rng)[0]) + self.margin(task, entry) for task, entry in firsts]
        digits = len(str(self.vocab.codes)) + 1 if self.templates.motion_as == "digits" else 1
        for entry in may_reach(entries, limit - max(around, default=0), 2 * digits):
            yield entry
            if plain and entry.plain:
                yield replace(entry, text=entry.plain)

    def _motion_tokens(self, entry: Entry) -> int:
        """Tokens of the motions of an entry."""
        if self.templates.motion_as == "digits":
            return len(self.vocab.text_tokenizer.encode(",".join(map(str, entry.source + entry.codes))))
        return len(entry.source) + len(entry.codes)

    def _sentence_tokens(self, entry: Entry) -> int:
        """Tokens of the sentence of an entry, in the longer of its spellings."""
        return max(len(self.encode(self.read(entry.text))), len(self.encode(entry.text)))

    def margin(self, task: str, entry: Entry) -> int:
        """By how many tokens another draw of the task may be longer than any example of this entry, at most.

        Wordings differ in length, some have no sentence, some tell the length, sentences may be in quotes, and the
        number of keys is drawn. Dropped words of captions do not count.
        """
        groups = self.templates.groups.get(task, ())
        if not groups:
            return len(self.length_words(len(entry.codes))) if task == "t2m" and self.templates.tell_length else 0
        if task not in self._shapes:
            texts = [text for group in groups for text in group.inputs]
            self._shapes[task] = self._shapes_of(texts), self._shapes_of([t for group in groups for t in group.outputs])
        asked, answered = self._shapes[task]
        margin = self._spread(asked, entry) + self._spread(answered, entry)
        if self.templates.quote_share and any(CAPTION in placed for placed in asked):
            margin += 2 * len(self.encode('"')) + SEAM
        if task == "keys":
            key = self.encode(f" {len(entry.codes)}:{self.vocab.codes},")  # its code may be decimal text
            margin += KEYS[1] * len(key)
        return margin

    def _shapes_of(self, texts: Sequence[str]) -> Shapes:
        """Templates by what is put into them."""
        shapes: Shapes = {}
        for text in texts:
            placed = tuple(sorted(piece for piece in pieces(text) if piece in PLACEHOLDERS))
            plain = len(self.encode("".join(piece for piece in pieces(text) if piece not in PLACEHOLDERS)))
            texts_so_far, least, most = shapes.get(placed, (0, plain, plain))
            shapes[placed] = texts_so_far + 1, min(least, plain), max(most, plain)
        return shapes

    def _spread(self, shapes: Shapes, entry: Entry) -> int:
        """The tokens of the longest of some templates less those of the shortest, filled for an entry."""
        if sum(texts for texts, _, _ in shapes.values()) == 1:
            return 0
        S = len(entry.codes)
        frames = str(S * self.clock.frames_per_code)
        sizes = {
            CAPTION: self._sentence_tokens(entry),
            FRAMES: len(self.encode(frames)),
            SECONDS: len(self.encode(self.clock.seconds(S))),
        }
        in_all = set.intersection(*map(set, shapes))
        if any(piece in MOTIONS and piece not in in_all for placed in shapes for piece in placed):
            digits = self.templates.motion_as == "digits"
            motion = max(len(self.encode(f",{code}")) for code in entry.codes) * S if digits else S + 2
            sizes |= dict.fromkeys(MOTIONS, motion)
        longest, shortest = (
            [
                bounds[i] + sum(sizes.get(piece, 0) for piece in placed if piece not in in_all)
                for placed, bounds in shapes.items()
            ]
            for i in (2, 1)
        )
        return max(longest) - min(shortest) + SEAM * max(map(len, shapes))
