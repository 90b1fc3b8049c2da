"""Words: text tokenizers behind one small interface, and the motion words that follow them.

    id   0 ... first_id - 1   text, and the backbone's own special tokens
         first_id             <MOT_BEGIN>
         + 1                  <MOT_END>
         + 2 ... + 1 + N      <motion_0> ... <motion_{N-1}>
         + 2 + N ...          <T2M> <M2T> <DENOISE> <MOTION_MASK> <PID_NULL> <PID_x> ...

first_id is the tokenizer's largest id + 1 (Qwen3: 151,669), not the rows of its padded embedding table.
`MotionVocab` is the only place that knows these ids, `format_motion` and `parse_motion` the only ones that
know how codes are written as text.

Danger: what a user types is text. `encode` therefore never matches special or added tokens: `<MOT_END>` or
`<|im_end|>` in a caption is spelled out in ordinary pieces. Special tokens are looked up by name, by us.
"""

import re
from collections.abc import Sequence

from motiongpt.text_tokenizer import TextTokenizer

BEGIN, END = "<MOT_BEGIN>", "<MOT_END>"
TASK_WORDS = ("<T2M>", "<M2T>", "<DENOISE>", "<MOTION_MASK>", "<PID_NULL>")
CODE_WORD = re.compile(r"<(?:motion_id_|motion_|M)(\d+)>")
MARKERS = re.compile(r"<(?:MOT_BEGIN|MOT_END|M_START|M_END)>")


def format_motion(codes: Sequence[int]) -> str:
    """[42, 18] -> "<MOT_BEGIN><motion_42><motion_18><MOT_END>"."""
    return BEGIN + "".join(f"<motion_{code}>" for code in codes) + END


def parse_motion(text: str) -> list[int]:
    """Codes of a token string: `<motion_42>`, `<motion_id_42>`, `<M42>` or bare numbers, markers or none.

    Raises ValueError naming the first piece that is none of these.
    """
    codes = []
    for piece in CODE_WORD.sub(r" \1 ", MARKERS.sub(" ", text)).replace(",", " ").split():
        if not piece.isascii() or not piece.isdigit():
            raise ValueError(f"not a motion token: {piece[:40]!r}; expected <motion_42>, <M42> or 42")
        codes.append(int(piece))
    return codes


class MotionVocab:
    """Ids of the motion words for one tokenizer, one codebook size and one list of participants."""

    def __init__(self, text_tokenizer: TextTokenizer, codes: int, participants: Sequence[str] = ()) -> None:
        if codes < 1:
            raise ValueError(f"a codebook needs at least one code, got {codes}")
        self.text_tokenizer, self.codes, self.participants = text_tokenizer, codes, tuple(sorted(set(participants)))
        self.first_id = self.begin_id = text_tokenizer.size
        self.end_id, self.first_motion = self.first_id + 1, self.first_id + 2
        tail = (*TASK_WORDS, *(f"<PID_{name}>" for name in self.participants))
        self.words = (BEGIN, END, *(f"<motion_{i}>" for i in range(codes)), *tail)
        taken = [word for word in tail if tail.count(word) > 1] + [
            word for word in self.words if text_tokenizer.token_id(word) is not None
        ]
        if taken:
            raise ValueError(
                f"the word {taken[0]} exists already: a participant has a reserved name, or the backbone is a stage "
                "that writes motion (give the one it was made from)"
            )
        self._tail = {word: self.first_motion + codes + i for i, word in enumerate(tail)}

    def __len__(self) -> int:
        """How many new words there are: V = first_id + len(vocab)."""
        return len(self.words)

    def id(self, word: str) -> int:
        """The id of a task or participant word, or of the backbone's special token of that name."""
        found = self._tail.get(word)
        found = self.text_tokenizer.token_id(word) if found is None else found
        if found is None:
            raise ValueError(f"neither the motion vocabulary nor the tokenizer has the word {word}")
        return found

    def motion_ids(self, codes: Sequence[int]) -> list[int]:
        """Codes -> their words' ids, between the two markers. Raises ValueError for a code outside the codebook."""
        for code in codes:
            if not 0 <= code < self.codes:
                raise ValueError(f"motion code {code} is outside the codebook of {self.codes} (0 to {self.codes - 1})")
        return [self.begin_id, *(self.first_motion + code for code in codes), self.end_id]

    def participant_id(self, name: str | None) -> int:
        """The word of a participant; None is <PID_NULL>. Raises ValueError naming the known ones."""
        if name is None:
            return self.id("<PID_NULL>")
        if name not in self.participants:
            known = ", ".join(self.participants[:12]) or "none"
            raise ValueError(f"unknown participant {name!r}; this model knows: {known}")
        return self.id(f"<PID_{name}>")
