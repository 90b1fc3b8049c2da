"""The words of motion: their ids, and how codes are written as text.

    id   0 ... first_id - 1   text, and the backbone's own special tokens
         first_id             <MOT_BEGIN>
         + 1                  <MOT_END>
         + 2 ... + 1 + N      <motion_0> ... <motion_{N-1}>
         + 2 + N ...          <T2M> <M2T> <DENOISE> <MOTION_MASK> <PID_NULL> <PID_x> ...

first_id is the text tokenizer's largest id + 1 (Qwen3: 151,669; Gemma 3: 262,145; T5: 32,100), not the number of rows
of the embedding table, which is often padded.
Only `MotionVocab` knows these ids, and only `format_motion` and `parse_motion` know how codes are written as text.
Text itself is the business of `text_tokenizer.py`.
"""

import re
from collections.abc import Sequence

from motiongpt.text_tokenizer import TextTokenizer

BEGIN, END = "<MOT_BEGIN>", "<MOT_END>"
TASK_WORDS = ("<T2M>", "<M2T>", "<DENOISE>", "<MOTION_MASK>", "<PID_NULL>")
# what other projects write is read too: <motion_id_42>, <M42>, <M_START>
CODE_WORD = re.compile(r"<(?:motion_id_|motion_|M)(\d+)>")
MARKERS = re.compile(r"<(?:MOT_BEGIN|MOT_END|M_START|M_END)>")


def words_of(codes: int, participants: Sequence[str]) -> tuple[str, ...]:
    """The words of motion in the order of their ids; `participants` in order too."""
    people = (f"<PID_{name}>" for name in participants)
    return (BEGIN, END, *(f"<motion_{i}>" for i in range(codes)), *TASK_WORDS, *people)


def format_motion(codes: Sequence[int]) -> str:
    """[42, 18] -> "<MOT_BEGIN><motion_42><motion_18><MOT_END>"."""
    return BEGIN + "".join(f"<motion_{code}>" for code in codes) + END


def parse_motion(text: str) -> list[int]:
    """Codes of a token string: `<motion_42>`, `<motion_id_42>`, `<M42>` or bare numbers, with or without markers.

    Raises ValueError naming the first piece that is none of these.
    """
    numbers = CODE_WORD.sub(r" \1 ", MARKERS.sub(" ", text)).replace(",", " ")
    codes = []
    for piece in numbers.split():
        if not piece.isascii() or not piece.isdigit():
            raise ValueError(f"not a motion token: {piece[:40]!r}; expected <motion_42>, <M42> or 42")
        codes.append(int(piece))
    return codes


class MotionVocab:
    """Ids of the motion words for one text tokenizer, one codebook size and one list of participants."""

    def __init__(self, text_tokenizer: TextTokenizer, codes: int, participants: Sequence[str] = ()) -> None:
        if codes < 1:
            raise ValueError(f"a codebook needs at least one code, got {codes}")
        self.text_tokenizer, self.codes = text_tokenizer, codes
        self.participants = tuple(sorted(set(participants)))
        # the layout of the module docstring
        self.first_id = self.begin_id = text_tokenizer.size
        self.end_id = self.first_id + 1
        self.first_motion = self.first_id + 2
        self.words = words_of(codes, self.participants)
        tail = self.words[2 + codes :]
        # a word with two meanings: two participants or a task of one name, or a word the text tokenizer has
        taken = [word for word in tail if tail.count(word) > 1]
        taken += [word for word in self.words if text_tokenizer.token_id(word) is not None]
        if taken:
            raise ValueError(
                f"the word {taken[0]} exists already: a participant has a reserved name, or the backbone is a stage "
                "that writes motion (give the backbone it was made from, or what scripts/export.py --format hf makes "
                "of the stage, with its meta.json)"
            )
        self._tail = {word: self.first_motion + codes + i for i, word in enumerate(tail)}

    def __len__(self) -> int:
        """The number of new words: V = first_id + len(vocab)."""
        return len(self.words)

    @property
    def motion_span(self) -> tuple[int, int]:
        """The ids that a motion is written with: <MOT_BEGIN>, <MOT_END> and the codes, first to last + 1."""
        return self.begin_id, self.first_motion + self.codes

    def id(self, word: str) -> int:
        """The id of a task word, a participant word, or a special token of the backbone. ValueError for any other."""
        found = self._tail.get(word)
        found = self.text_tokenizer.token_id(word) if found is None else found
        if found is None:
            raise ValueError(f"neither the motion vocabulary nor the tokenizer has the word {word}")
        return found

    def motion_ids(self, codes: Sequence[int]) -> list[int]:
        """Codes -> the ids of their words between the two markers. ValueError for a code outside the codebook."""
        for code in codes:
            if not 0 <= code < self.codes:
                raise ValueError(f"motion code {code} is outside the codebook of {self.codes} (0 to {self.codes - 1})")
        return [self.begin_id, *(self.first_motion + code for code in codes), self.end_id]

    def participant_id(self, name: str | None) -> int:
        """The id of a participant's word, for None that of <PID_NULL>. ValueError for a participant not known."""
        if name is None:
            return self.id("<PID_NULL>")
        if name not in self.participants:
            known = ", ".join(self.participants) or "none"
            raise ValueError(f"unknown participant {name!r}; this model knows: {known}")
        return self.id(f"<PID_{name}>")
