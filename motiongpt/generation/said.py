"""What a sentence says outright, its sides and numbers, held against what it was read as.

    "five star jumps, and you are done"   read as "does jumping jacks three times"   1 contradiction

A model that learnt a language from examples knows what is done long before it copies numbers well. What a sentence says
in so many words needs no guess, so of the readings that a search found the one with fewer contradictions is believed,
unless the model finds it far less likely. Which number is a count is left to the model: "two hands" has a number too,
but no likely reading counts to it.
"""

import re

from motiongpt.data.words import words

CLOCKWISE = {"clockwise": "right", "counterclockwise": "left", "anticlockwise": "left"}  # seen from above
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
COUNTS = {word: number for number, word in enumerate(NUMBERS)} | {"once": 1, "twice": 2, "thrice": 3, "couple": 2}
TIMES = re.compile(r"\b(once|twice|(\w+) times)\b")  # of a plain caption
# Numbers that count nothing: angles, durations, and words of which a number is a part.
MEASURES = re.compile(
    r"\d+\s*-?\s*(?:°|degrees?\b)|\b(?:[\w-]+ hundred(?: and)? )?[\w-]+ degrees?\b"
    r"|\b[\w.]+[\s-]*(?:seconds?|secs?|minutes?|hours?)\b|\b\w+-(?:sixty|eighty|quarters?)\b"
    r"|\b(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)[\s-]\w+"
)
NO_SIDE = re.compile(r"\b(?:all right|right (?:now|away|up|there|here|after|before|behind))\b")
WISE = re.compile(r"\b(counter|anti)[\s-]+clockwise")
CONTRADICTED = 4.0  # nats: a reading that contradicts is believed if it is exp(4) = 55 times as likely


def sides(text: str) -> frozenset[str]:
    """The sides that a folded sentence names: left, right, or both."""
    found = set()
    for word in words(NO_SIDE.sub(" ", WISE.sub(r"\1clockwise", text))):
        found |= {side for side in ("left", "right") if word in (side, f"{side}s", f"{side}ward", f"{side}wards")}
        found |= {CLOCKWISE[word]} if word in CLOCKWISE else set()
    return frozenset(found)


def numbers(text: str) -> frozenset[int]:
    """The numbers from 2 on that a folded sentence names, but for angles and durations: {3} of "3x", "thrice"."""
    text = MEASURES.sub(" ", text).replace("half a dozen", "six")
    found = {int(digits) for digits in re.findall(r"(?<![\w.])(\d{1,2})(?=x?\b)(?!\.\d)", text)}
    found |= {COUNTS[word] for word in words(text) if word in COUNTS}
    return frozenset(number for number in found if number >= 2)


def counts(caption: str) -> frozenset[int]:
    """How often a plain caption asks for something: {2} of "nods twice"; none for once."""
    found = {COUNTS.get(times or said, 0) for said, times in TIMES.findall(caption)}
    return frozenset(number for number in found if number >= 2)


def contradictions(sentence: str, caption: str) -> int:
    """In how many points a plain caption contradicts a folded sentence: each side that is not said, and none where one
    is said; each count that is not said, and none where there is a number. Both sides may mean none: "shakes the head
    left and right"."""
    said, read = sides(sentence), sides(caption)
    wrong = len(read - said) + (not read and len(said) == 1) if said else 0
    asked, counted = numbers(sentence), counts(caption)
    return wrong + (len(counted - asked) + (not counted) if asked else 0)
