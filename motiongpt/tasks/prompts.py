"""Requests as ids: what the model reads before it writes an answer.

A request is the family's chat turn around who, what and with what (`frames.py`):

    t2m, m2t, denoise    user(<TASK><PID>\\n\\n content)             asked for by a word of the vocabulary
    the tasks of `INSTRUCTIONS`
                         user(<PID>\\n\\n sentence [caption] codes)   asked for by a sentence

The newer tasks are asked for in plain words, so the vocabulary, and with it every id of an older
checkpoint, stays as it is. The given codes stand in the request as the words of motion:

    predict      <MOT_BEGIN> given codes <MOT_END>
    inbetween    <MOT_BEGIN> given codes, <MOTION_MASK> for each of the others <MOT_END>
    init, last   the code
    keys         " position:" and the code, for each key

Training and sampling call the same functions, so both see the same ids.
"""

from collections.abc import Mapping, Sequence

from motiongpt.data.spelling import fold
from motiongpt.tasks.frames import Frame, blank_before_text
from motiongpt.vocab import MotionVocab

INSTRUCTIONS = {
    "predict": "continue the motion",
    "inbetween": "fill in the middle of the motion",
    "init": "write a motion that starts from the given pose",
    "last": "write a motion that ends in the given pose",
    "keys": "write a motion through the given poses",
    "random": "write any motion",
}
"""Task -> the sentence that asks for it. A run has learnt exactly these words: changing one breaks its prompts."""


class PromptWriter:
    """Requests for one vocabulary.

    `fold_captions` is the run's own (`RunConfig`):
    without it, as in older runs, the sentence of t2m is read as it is. `encoder`: the model is an
    encoder-decoder.
    """

    def __init__(
        self, vocab: MotionVocab, think: str = "auto", fold_captions: bool = False, encoder: bool = False
    ) -> None:
        self.vocab, self.frame = vocab, Frame(vocab, think, encoder)
        self.encoder = encoder
        self.fold_captions = fold_captions
        self._blank = vocab.text_tokenizer.encode("\n\n")  # before a motion
        self._blank_before_text = blank_before_text(vocab.text_tokenizer)
        self._texts: dict[str, list[int]] = {}  # a cache: every epoch asks for the same captions

    def prompt(self, task: str, content: Sequence[int], participant: str | None = None) -> list[int]:
        """A framed request: sampling starts from these ids,
        and a training example has them without labels."""
        who = self.vocab.participant_id(participant)
        if task in INSTRUCTIONS:
            asked = [who, *self._blank_before_text, *self.encode(INSTRUCTIONS[task]), *content]
        else:
            blank = self._blank_before_text if task == "t2m" else self._blank
            asked = [self.vocab.id(f"<{task.upper()}>"), who, *blank, *content]
        return [*self.frame.before, *asked, *self.frame.after]

    def text_prompt(self, text: str, participant: str | None = None) -> list[int]:
        """The prompt of text to motion."""
        return self.prompt("t2m", self.vocab.text_tokenizer.encode(self.read(text)), participant)

    def motion_prompt(self, codes: Sequence[int], participant: str | None = None) -> list[int]:
        """The prompt of motion to text."""
        return self.prompt("m2t", self.vocab.motion_ids(codes), participant)

    def given_prompt(
        self,
        task: str,
        caption: Sequence[int],
        given: Mapping[int, int],
        length: int,
        participant: str | None = None,
    ) -> list[int]:
        """The prompt of a task in `INSTRUCTIONS`.

        `caption` has the ids of the sentence, or none; `given` maps positions of the motion, which has
        `length` codes, to codes. Only inbetween tells the model the length.
        """
        said = [*self.encode("\n"), *caption] if caption else []
        return self.prompt(task, [*said, *self._given_ids(task, given, length)], participant)

    def _given_ids(self, task: str, given: Mapping[int, int], length: int) -> list[int]:
        """The given codes as they stand in the request."""
        if not given:
            return []
        positions = sorted(given)
        begin, *codes, end = self.vocab.motion_ids([given[position] for position in positions])
        if task == "predict":
            return [begin, *codes, end]
        if task == "inbetween":
            shown = dict(zip(positions, codes, strict=True))
            hidden = self.vocab.id("<MOTION_MASK>")
            return [begin, *(shown.get(position, hidden) for position in range(length)), end]
        if task == "keys":
            keys = zip(positions, codes, strict=True)
            return [i for position, code in keys for i in (*self.encode(f" {position}:"), code)]
        return codes

    def read(self, text: str) -> str:
        """A sentence that asks for a motion, as the model reads it."""
        return fold(text) if self.fold_captions else text

    def encode(self, text: str) -> list[int]:
        """The ids of a text, looked up once."""
        if text not in self._texts:
            self._texts[text] = self.vocab.text_tokenizer.encode(text)
        return self._texts[text]
