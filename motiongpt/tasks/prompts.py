"""Requests and answers as ids: what the model reads, and what it then writes.

A request is the family's chat turn around what is asked, and with what (`frames.py`):

    t2m, m2t, denoise    user(<TASK><PID>\\n\\n content)     asked for by a word of the vocabulary
    the other tasks      user(<PID>\\n\\n template)          asked for in plain words (`templates.py`)
    read                 user(template)                     the same without a participant

The second kind needs no word of its own, so the vocabulary, and with it every id of an older checkpoint, stays as it
is. A file of templates may word t2m and m2t too. With the setting "frame": "none" a request is the template alone.

Training and sampling call the same functions, so both see the same ids.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from motiongpt.data.spelling import fold
from motiongpt.tasks.frames import Frame, blank_before_text
from motiongpt.tasks.templates import (
    CAPTION,
    FRAMES,
    KEYS,
    KEYS_AT,
    MASKED,
    MOTIONS,
    REST,
    SECONDS,
    START,
    WHOLE,
    Templates,
    built_in,
    pieces,
)
from motiongpt.vocab import MotionVocab


@dataclass(frozen=True)
class Clock:
    """How codes become frames and seconds."""

    fps: float = 20.0
    frames_per_code: int = 4

    def seconds(self, codes: int) -> str:
        """A length in codes as people write it: 16 -> "3.2"."""
        return f"{codes * self.frames_per_code / self.fps:.1f}"


ALL_DIGITS = "0,1,2,3,4,5,6,7,8,9"
WORDS_ALONE = ("read",)
"""Tasks of sentences, not of motions: they name no participant, so a backbone does them without any new word. Their
sentences are folded, whatever the run folds: a reader must not care for capitals."""
CLOCK = Clock()  # HumanML3D's
KEPT_TEXTS = 1 << 17  # captions whose ids are kept, at about 700 bytes each; HumanML3D has 87,384


@dataclass(frozen=True)
class Request:
    """What is asked for, and with what. `length` is that of the motion in codes, None if nobody has told it."""

    task: str
    caption: str = ""
    motion: Sequence[int] = ()  # what is described, measured or changed
    given: Mapping[int, int] = field(default_factory=dict)  # position -> code, of the motion that is asked for
    length: int | None = None
    participant: str | None = None


def digits_of(piece: str, request: Request) -> str:
    """What stands for a motion placeholder of a template in decimal text: the whole motion unless it names a part."""
    given = sorted(request.given.items())
    if piece == MASKED:
        return ",".join(str(request.given.get(position, "_")) for position in range(request.length or 0))
    if piece == KEYS_AT:
        return "".join(f" {position}:{code}" for position, code in given)
    if piece in (KEYS, START):
        return ",".join(str(code) for _, code in given)
    return ",".join(map(str, request.motion[len(given) :] if piece == REST else request.motion))


class PromptWriter:
    """Requests for one vocabulary.

    `fold_captions` is the run's own (`RunConfig`): without it, as in older runs, a sentence that asks for a motion is
    read as it is. `encoder`: the model is an encoder-decoder. `templates` are those of the stage; tasks that they do
    not word have the words of plain.json.
    """

    def __init__(
        self,
        vocab: MotionVocab,
        think: str = "auto",
        fold_captions: bool = False,
        encoder: bool = False,
        templates: Templates | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self.vocab, self.encoder, self.clock = vocab, encoder, clock
        self.fold_captions = fold_captions
        self.templates = (templates or Templates()).over(built_in("plain"))
        if encoder and self.templates.loss_on_prompt:
            raise ValueError(
                "loss_on_prompt is for decoders: an encoder-decoder writes no prompt, so it cannot learn one"
            )
        if self.templates.motion_as == "digits":
            self._check_digits()
        self.frame = Frame(vocab, think, encoder)
        self._blank = vocab.text_tokenizer.encode("\n\n")  # before a motion
        self._blank_before_text = blank_before_text(vocab.text_tokenizer)
        self._texts: dict[str, list[int]] = {}  # a cache: every epoch asks for the same captions

    def request(self, request: Request) -> list[int]:
        """The ids of a request at sampling: the first template that fits what is there.

        Raises ValueError if the templates have none that does, as for a task that needs a sentence.
        """
        task = request.task
        if task in self.templates.groups:
            told = request.length is not None
            found = self.templates.for_sampling(task, bool(request.caption), told)
            if found is None and request.motion:  # a motion has its length, whether or not anybody tells it
                found = self.templates.for_sampling(task, bool(request.caption), length=True)
            if found is None:
                needs = "no sentence" if request.caption else "a sentence"
                raise ValueError(f"the templates of this stage ask for {task} with {needs} only")
            return self.framed(found[0], request)
        if task == "t2m":
            told = request.length if self.templates.tell_length else None
            return self.text_prompt(request.caption, request.participant, told)
        return self.motion_prompt(request.motion, request.participant)

    def _check_digits(self) -> None:
        """ValueError unless motions can be decimal text for this vocabulary and these settings."""
        text_tokenizer = self.vocab.text_tokenizer
        if text_tokenizer.decode(text_tokenizer.encode(ALL_DIGITS)).strip() != ALL_DIGITS:
            raise ValueError("--motion-as digits: the backbone's tokenizer cannot write digits and commas")
        if self.templates.loss_on_prompt and self.templates.frame == "chat":
            raise ValueError(
                'motion_as "digits" learns no new word, and a chat frame has the participant\'s: loss_on_prompt needs '
                '"frame": "none"'
            )

    # 1) Requests by a word of the vocabulary.

    def prompt(self, task: str, content: Sequence[int], participant: str | None = None) -> list[int]:
        """The request of t2m, m2t or denoise around its content."""
        blank = self._blank_before_text if task == "t2m" else self._blank
        asked = [self.vocab.id(f"<{task.upper()}>"), self.vocab.participant_id(participant), *blank, *content]
        return [*self.frame.before, *asked, *self.frame.after]

    def text_prompt(self, text: str, participant: str | None = None, length: int | None = None) -> list[int]:
        """The prompt of text to motion, which tells a length that is given."""
        caption = self.vocab.text_tokenizer.encode(self.read(text))
        return self.prompt("t2m", [*caption, *self.length_words(length)], participant)

    def motion_prompt(self, codes: Sequence[int], participant: str | None = None) -> list[int]:
        """The prompt of motion to text."""
        return self.prompt("m2t", self.vocab.motion_ids(codes), participant)

    def length_words(self, length: int | None) -> list[int]:
        """How a sentence of t2m goes on if the length is told; nothing for None."""
        return [] if length is None else self.encode(f"\nfor {self.clock.seconds(length)} seconds")

    # 2) Requests and answers by a template.

    def framed(self, template: str, request: Request) -> list[int]:
        """A filled template in its turn."""
        if self.templates.frame == "none":
            in_words = self.templates.motion_as == "words" and template.startswith(MOTIONS)
            asked = self.fill(template if in_words else self.frame.lead + template, request)
            return [*self.frame.start, *asked, *([self.frame.stop_id] if self.encoder else [])]
        asked = self.fill(template, request)
        if request.task in WORDS_ALONE:
            return [*self.frame.before, *asked, *self.frame.after]
        who = [self.vocab.participant_id(request.participant), *self._blank_before_text]
        return [*self.frame.before, *who, *asked, *self.frame.after]

    def answer(self, template: str, request: Request) -> list[int]:
        """The filled template of an answer; <MOT_END> ends a motion, the family's own token all else."""
        ids = self.fill(template, request)
        ends_itself = template in (WHOLE, REST) and self.templates.motion_as == "words"
        return ids if ends_itself else [*ids, self.frame.stop_id]

    def fill(self, template: str, request: Request) -> list[int]:
        """A template as ids. Text that no motion interrupts is encoded as one."""
        ids: list[int] = []
        said = ""
        for piece in pieces(template):
            if piece in MOTIONS and self.templates.motion_as == "words":
                ids += [*self.vocab.text_tokenizer.encode(said), *self._motion(piece, request)]
                said = ""
            else:
                said += digits_of(piece, request) if piece in MOTIONS else self._text(piece, request)
        return [*ids, *self.vocab.text_tokenizer.encode(said)]

    def _text(self, piece: str, request: Request) -> str:
        """What stands for a piece of a template that is no motion."""
        if piece == CAPTION:
            return fold(request.caption) if request.task in WORDS_ALONE else request.caption
        if piece in (FRAMES, SECONDS):
            length = len(request.motion) if request.length is None else request.length
            return str(length * self.clock.frames_per_code) if piece == FRAMES else self.clock.seconds(length)
        return piece

    def _motion(self, piece: str, request: Request) -> list[int]:
        """What stands for a motion placeholder of a template, in the words of motion."""
        word = self.vocab.first_motion
        positions = sorted(request.given)
        if piece == WHOLE:
            return self.vocab.motion_ids(request.motion)
        if piece == START:
            return self.vocab.motion_ids([request.given[position] for position in positions])
        if piece == REST:
            return self.vocab.motion_ids(request.motion[len(positions) :])
        begin, *codes, end = self.vocab.motion_ids([request.given[position] for position in positions])
        if piece == MASKED:
            hidden = self.vocab.id("<MOTION_MASK>")
            shown = {position: word + request.given[position] for position in positions}
            return [begin, *(shown.get(position, hidden) for position in range(request.length or 0)), end]
        if piece == KEYS:
            return codes
        keys = zip(positions, codes, strict=True)
        return [i for position, code in keys for i in (*self.encode(f" {position}:"), code)]

    # 3) Text.

    def read(self, text: str) -> str:
        """A sentence that asks for a motion, as the model reads it."""
        return fold(text) if self.fold_captions else text

    def encode(self, text: str) -> list[int]:
        """The ids of a text, looked up once if it is among the first `KEPT_TEXTS`."""
        if (known := self._texts.get(text)) is not None:
            return known
        ids = self.vocab.text_tokenizer.encode(text)
        if len(self._texts) < KEPT_TEXTS:  # a corpus has more captions than memory holds
            self._texts[text] = ids
        return ids
