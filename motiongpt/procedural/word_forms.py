"""Forms of English verbs, and errors of typing.

    inflect("bends down and picks something up", "past")    "bent down and picked something up"
    inflect("does not move", "ing")                         "not moving"
    misspell("a person stretches", rng, known)              "a person strecthes"

A phrase is in the third person: its first word is a verb, and so is one that follows "and" and ends
in s. What it does not know: verbs of other places, English beyond the embedded phrases.
"""

import re
from collections.abc import Container

import numpy as np

FORMS = ("finite", "plural", "first", "base", "command", "ing", "past", "participle")
"""he walks, they walk, I walk, (to) walk, walk!, walking, walked, (has) walked.
Some differ for "is" and "does not" only."""

# base -> past and participle, one word if they are equal
_IRREGULAR = (
    "be was been|beat beat beaten|become became become|begin began begun|bend bent|break broke broken|"
    "bring brought|build built|burst burst|catch caught|come came come|creep crept|cut cut|dig dug|do did done|"
    "draw drew drawn|drink drank drunk|drive drove driven|eat ate eaten|fall fell fallen|feel felt|fight fought|"
    "find found|fling flung|fly flew flown|forget forgot forgotten|freeze froze frozen|get got|give gave given|"
    "go went gone|grow grew grown|hang hung|have had|hit hit|hold held|keep kept|"
    "kneel knelt|lay laid|lead led|leap leapt|leave left|let let|lie lay lain|lose lost|make made|meet met|"
    "pay paid|put put|ride rode ridden|rise rose risen|run ran run|say said|see saw seen|send sent|set set|"
    "shake shook shaken|shoot shot|show showed shown|shrink shrank shrunk|shut shut|sing sang sung|"
    "sink sank sunk|sit sat|"
    "slide slid|sling slung|slink slunk|speak spoke spoken|spin spun|split split|spread spread|"
    "spring sprang sprung|stand stood|steal stole stolen|stick stuck|stride strode stridden|strike struck|sweep swept|"
    "swim swam swum|swing swung|take took taken|tell told|think thought|throw threw thrown|thrust thrust|"
    "tread trod trodden|"
    "wear wore worn|wind wound"
)
IRREGULAR = {base: (past, rest[0] if rest else past) for base, past, *rest in map(str.split, _IRREGULAR.split("|"))}
_BASES = {"is": "be", "has": "have", "boogies": "boogie"}
_BE = dict(zip(FORMS, ("is", "are", "am", "be", "be", "being", "was", "been"), strict=True))
_DOUBLED = re.compile("(?:side)?(?:[^aeiou]|qu)*[aeiou][bdgmnprt]")  # one short vowel, one consonant: run, sit, squat
_NOUNS = "arms|legs|hands|knees|feet|shoulders|fists|hips|toes|fingers|heels|elbows|eyes|palms|steps|sides"
# a verb: the first word, or one after "and"; "does not" in front of it belongs to it
_VERB = re.compile(rf"(?:^|(?<=\band )(?!(?:{_NOUNS})\b))(?:(does not) ([a-z-]+)|([a-z-]+s))\b")

_KEEPS = re.compile(r"^keeps (?=\w+ing\b)")


def base_form(verb: str) -> str:
    """'walks' -> 'walk', 'goes' -> 'go', 'punches' -> 'punch', 'raises' -> 'raise', 'carries' -> 'carry'."""
    if verb in _BASES:
        return _BASES[verb]
    if verb.endswith("ies") and len(verb) > 4:
        return verb[:-3] + "y"
    if verb.endswith(("ches", "shes", "sses", "xes", "zzes")) or verb in ("goes", "does"):
        return verb[:-2]
    return verb[:-1]


def _stem(base: str) -> str:
    """What -ing and -ed are added to: 'run' -> 'runn'."""
    return base + (base[-1] if _DOUBLED.fullmatch(base) else "")


def gerund(verb: str) -> str:
    """'walks' -> 'walking', 'runs' -> 'running', 'makes' -> 'making', 'tiptoes' -> 'tiptoeing'."""
    base = base_form(verb)
    if base.endswith("ie") and len(base) < 5:
        return base[:-2] + "ying"
    if base.endswith("e") and base != "be" and not base.endswith(("oe", "ee", "ye", "ie")):
        return base[:-1] + "ing"
    return _stem(base) + "ing"


def past(verb: str) -> str:
    """'walks' -> 'walked', 'runs' -> 'ran', 'claps' -> 'clapped', 'carries' -> 'carried'."""
    base = base_form(verb)
    if base in IRREGULAR:
        return IRREGULAR[base][0]
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return _stem(base) + "ed"


def participle(verb: str) -> str:
    """'walks' -> 'walked', 'takes' -> 'taken', 'runs' -> 'run'."""
    base = base_form(verb)
    return IRREGULAR[base][1] if base in IRREGULAR else past(verb)


def conjugate(verb: str, form: str) -> str:
    """A verb of the third person in one of `FORMS`.

    Raises ValueError for another form.
    """
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r}; use one of {', '.join(FORMS)}")
    if verb == "is":
        return _BE[form]
    changes = {"finite": str, "ing": gerund, "past": past, "participle": participle}
    return changes.get(form, base_form)(verb)


def _denied(base: str, form: str) -> str:
    """Words "does not" and a base form, in one of `FORMS`."""
    if form == "ing":
        return f"not {gerund(base + 's')}"
    if form == "participle":
        return f"not {participle(base + 's')}"
    helper = {"finite": "does ", "plural": "do ", "first": "do ", "command": "do ", "past": "did ", "base": ""}[form]
    return f"{helper}not {base}"


def inflect(phrase: str, form: str) -> str:
    """A third-person phrase with its verbs in one of `FORMS`.

    'kneels down and gets up' -> 'kneeling down and getting up'.
    """

    def change(match: re.Match) -> str:
        return _denied(match[2], form) if match[1] else conjugate(match[3], form)

    if form == "ing":  # nobody is "keeping walking"
        phrase, kept = _KEEPS.subn("", phrase)
        return phrase if kept else _VERB.sub(change, phrase)
    return phrase if form == "finite" else _VERB.sub(change, phrase)


# 2) Errors of typing.

# never misspelt: sides, order, counts, angles and negations
_EXACT = frozenset(
    "right clockwise counterclockwise anticlockwise before after twice three seven eight times thrice couple degrees "
    "degree forty-five forty ninety hundred eighty sixty quarter without never while first second third doesn't "
    "didn't don't isn't doesnt didnt not other".split()
)
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {letter: row[max(0, i - 1) : i] + row[i + 1 : i + 2] for row in _ROWS for i, letter in enumerate(row)}


def _slip(word: str, rng: np.random.Generator) -> str:
    """A word with one error behind its first letter: two letters exchanged, one lost, doubled, or its neighbour."""
    i = int(rng.integers(1, len(word) - 1))
    kind = int(rng.integers(4))
    if kind == 0:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if kind == 1:
        return word[:i] + word[i + 1 :]
    if kind == 2:
        return word[:i] + word[i] + word[i:]
    near = _NEIGHBOURS[word[i]]
    return word[:i] + near[int(rng.integers(len(near)))] + word[i + 1 :]


def misspell(text: str, rng: np.random.Generator, known: Container[str]) -> str:
    """The text with one error of typing in a word of five letters or more.

    Sides, counts, angles, order and negations stay, and the result is none of the `known` words. The
    text comes back unchanged if it has no such word.
    """
    places = [m for m in re.finditer(r"(?<![\w'-])[a-z]{5,}(?![\w'-])", text) if m[0] not in _EXACT]
    if not places:
        return text
    place = places[int(rng.integers(len(places)))]
    for _ in range(8):
        wrong = _slip(place[0], rng)
        if wrong != place[0] and wrong not in known:
            return text[: place.start()] + wrong + text[place.end() :]
    return text
