"""One spelling for the many ways to write a sentence: what training and sampling compare and read.

    fold("A person walks forward.")  ==  fold(' “a person  WALKS forward” ')  ==  "a person walks forward"

A small model that has read one spelling does not know another: a capital and a full stop are other tokens. So `fold` is
the only place that says which differences mean nothing. It leaves marks inside a sentence alone, and it invents no
letters: ß stays ß. Nothing here knows captions or models.
"""

import re
import unicodedata

JOINERS = "\u200c\u200d"  # zero-width, but words of Persian and emoji of several parts are spelt with them
# blanks that Unicode counts among letters and symbols, and the two marks for what could not be read
UNWRITTEN = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\ufffd")
END_MARKS = ".!?…,;:‼⁇⁈⁉。．！？、，；：،؛؟۔।॥"
START_MARKS = "¿¡"
STRAIGHT = str.maketrans(
    dict.fromkeys("‘’‚‛‹›′`´ʼ＇", "'") | dict.fromkeys("“”„‟«»″「」『』＂", '"') | dict.fromkeys("‐‑", "-")
)
"""Quotes and hyphens as a typewriter has them."""


def visible_text(text: str) -> str:
    """The text without characters that nobody sees: NUL and other controls, zero-width spaces, marks of direction.

    White space and `JOINERS` stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c.isspace() or c in JOINERS or unicodedata.category(c) not in ("Cc", "Cf"))


def says_something(text: str) -> bool:
    """Whether a text has a letter, a digit or an emoji. Punctuation and invisible characters say nothing."""
    for c in text:
        category = unicodedata.category(c)
        if (category[0] in "LN" or category == "So") and c not in UNWRITTEN:
            return True
    return False


def fold(text: str) -> str:
    """A sentence without what does not change its meaning, so that equal sentences are equal texts.

    Lower case, single spaces, straight quotes, no invisible characters, no quotes around the whole, no punctuation at
    its end. A text of nothing but punctuation keeps it. `fold(fold(text)) == fold(text)`.
    """
    # composed letters first and last: some marks compose to one of STRAIGHT's, and lower case may take a letter apart
    straight = unicodedata.normalize("NFC", visible_text(text)).translate(STRAIGHT)
    plain = " ".join(unicodedata.normalize("NFC", straight.lower()).split())
    bare = plain
    while True:  # quotes and full stops may be in any order: "she walks." or "she walks".
        shorter = _unquoted(bare.rstrip(END_MARKS + " ").lstrip(START_MARKS + " "))
        if shorter == bare:
            return bare or plain
        bare = shorter


def _unquoted(text: str) -> str:
    """The text without a pair of quotes around all of it. An apostrophe inside a word is no quote."""
    mark = text[:1]
    if len(text) < 2 or mark not in ("'", '"') or text[-1] != mark:
        return text
    inside = text[1:-1]
    return text if re.search(rf"(?<!\w){mark}|{mark}(?!\w)", inside) else inside
