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
ANGLE = re.compile(r"\d+\s*(?:-|°|degrees?\b)[\s-]*(?:degrees?)?|\b[\w-]+ degrees?\b")
CONTRADICTED = 4.0  # nats: a reading that contradicts is believed if it is exp(4) = 55 times as likely


def sides(text: str) -> frozenset[str]:
    """The sides that a folded sentence names: left, right, or both."""
    found = set()
    for word in words(text):
        found |= {side for side in ("left", "right") if word in (side, f"{side}s", f"{side}ward", f"{side}wards")}
        found |= {CLOCKWISE[word]} if word in CLOCKWISE else set()
    return frozenset(found)


def numbers(text: str) -> frozenset[int]:
    """The numbers from 2 on that a folded sentence names, but for angles: {3} of "3x", "three", "thrice"."""
    text = ANGLE.sub(" ", text).replace("half a dozen", "six")
    found = {int(digits) for digits in re.findall(r"(?<![\w.])(\d{1,2})(?=x?\b)(?!\.\d)", text)}
    found |= {COUNTS[word] for word in words(text) if word in COUNTS}
    return frozenset(number for number in found if number >= 2)


def counts(caption: str) -> frozenset[int]:
    """How often a plain caption asks for something: {2} of "nods twice"; none for once."""
    found = {COUNTS.get(times or said, 0) for said, times in TIMES.findall(caption)}
    return frozenset(number for number in found if number >= 2)


def contradictions(sentence: str, caption: str) -> int:
    """In how many points a plain caption contradicts a folded sentence: a side that is another one, or that is left
    out; a number that is another one, or that is left out."""
    said, read = sides(sentence), sides(caption)
    wrong = len(read - said) + (not read) if said else 0
    asked, counted = numbers(sentence), counts(caption)
    return wrong + (len(counted - asked) + (not counted) if asked else 0)
