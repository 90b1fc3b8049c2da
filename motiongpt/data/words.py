"""The words of captions: which ones describe the motion, and which of a sentence's words training has seen.

This is for advice to people and for the length of a new sentence; nothing here reaches a model. English endings are
stripped by rule, without a dictionary. Words of other languages are compared as they are written.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

# who does it, and small words: they say nothing about the motion
EMPTY = frozenset(
    "a an the this that these those some any one person people human figure character someone somebody man woman "
    "boy girl guy lady he she it they him her them his hers its their theirs himself herself themselves themself "
    "is are was were be been being am do does did has have had and or but then while as with without of to in on "
    "at by for from into onto up down out off over under after before again very so just also there their who "
    "which what starts begins tries i you we my your our".split()
)
# light verbs, whose next word says what happens: takes a step, keeps walking
LIGHT = frozenset("make makes making take takes taking give gives giving keep keeps perform performs performing doing "
                  "go goes going get gets getting".split())  # fmt: skip

SIDES = frozenset("left right lefts rights leftward rightward leftwards rightwards clockwise counterclockwise "
                  "anticlockwise".split())  # fmt: skip
NUMBER_WORDS = frozenset(
    "once twice thrice one two three four five six seven eight nine ten eleven twelve first second third half quarter "
    "single double triple times time both degree degrees".split()
)
NEGATION = re.compile(
    r"\b(?:not|no longer|no more|never|without|neither|nor|cannot|nobody|nothing|none"
    r"|(?:do|does|did|is|are|was|were|has|have|had|wo|ca|could|should|would|must|need|ai)n'?t)\b"
)
"""In a folded sentence."""
DENIED_UNTIL = re.compile(r"\s*(?:[,;.!?]|\b(?:and|then|but|before|after|while|until)\b)")


def stem(word: str) -> str:
    """`walks`, `walking`, `walked` -> `walk`; `waving`, `waves` -> `wav`; `sitting` -> `sit`; `carries` -> `carry`.

    Stems are for comparing only: `wav` is no word. An ending is stripped only if a vowel stays before it.
    """
    word = word.lower()
    if word.endswith(("ies", "ied")) and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "s"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) > 1 and re.search("[aeiouy]", rest) and not (ending == "s" and rest[-1] == "s"):
            word = rest
            break
    if len(word) > 2 and word[-1] == word[-2]:  # sitt
        return word[:-1]
    return word[:-1] if len(word) > 2 and word.endswith("e") else word


def words(text: str) -> list[str]:
    """The words and numbers of a sentence, in order, in lower case, without spaces and marks."""
    return re.findall(r"[^\W_]+", text.lower())


def content_words(text: str) -> list[str]:
    """The words of a sentence that say something about the motion, in order, in lower case, without numbers."""
    return [word for word in words(text) if word not in EMPTY and not word.isnumeric()]


def stems(captions: Iterable[str]) -> frozenset[str]:
    """The stems of all content words of the captions."""
    return frozenset(map(stem, {word for text in captions for word in content_words(text)}))


def actions(captions: Iterable[str]) -> list[str]:
    """The actions that captions name, most frequent first: the first content word of each caption.

    Adverbs in -ly and light verbs are passed over. Forms of one word count together and are shown in their most
    frequent form: walks 40, walking 12 -> `walks`.
    """
    forms: dict[str, Counter] = defaultdict(Counter)
    for text in captions:
        verbs = [word for word in content_words(text) if not word.endswith("ly")]
        if verbs:
            word = next((word for word in verbs if word not in LIGHT), verbs[0])
            forms[stem(word)][word] += 1
    ranked = sorted(forms.values(), key=lambda counts: (-counts.total(), min(counts)))
    return [min(counts, key=lambda word: (-counts[word], word)) for counts in ranked]


def denials(text: str) -> list[tuple[int, int, str]]:
    """What a folded sentence denies: (start, end) of each negation up to the end of its part of the sentence, and the
    stem of what it denies, the next content word that is no light verb; "" if there is none.

    "walks, does not wave and sits" -> [(7, 20, "wav")]
    """
    found = []
    for match in NEGATION.finditer(text):
        ends = DENIED_UNTIL.search(text, match.end())
        end = ends.start() if ends else len(text)
        denied = (word for word in content_words(text[match.end() : end]) if word not in LIGHT)
        found.append((match.start(), end, stem(next(denied, ""))))
    return found
