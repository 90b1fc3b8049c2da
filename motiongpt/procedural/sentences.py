"""Sentences for the embedded dataset: a small grammar from actions and their facts to English
captions.

    caption = one template around verb phrases, such as "{s} {a} before {b_ing}", with a subject and frills
    verb phrase = phrase [side said after] [count] [manner], in one of `word_forms.FORMS`

The first caption of a clip is always the plainest one ("a person waves the right hand"). The others
vary subject, phrase, tense, template and the place of the adverb; some are requests, some name a
place, a few have an error of typing. A caption only says what is true of the clip: the side is the
clip's side, a count is the clip's count, and only clips made slow, quick, large, small or in a mood
are called so. Not everything true is said. What it does not know: grammar beyond these sentences.
"""

import re
from bisect import bisect
from collections.abc import Sequence
from functools import cache

import numpy as np

from motiongpt.procedural import subjects
from motiongpt.procedural.phrases import DEGREES, PHRASES, SIZED, says_side
from motiongpt.procedural.subjects import MOODS, NOBODY, OPENINGS, TEMPOS, Subject, draw_subject, extra, pick
from motiongpt.procedural.templates import ONE, THREE, TWO, WHILE
from motiongpt.procedural.word_forms import FORMS, conjugate, inflect, misspell
from motiongpt.procedural.wordings.counted import COUNTED
from motiongpt.procedural.wordings.sayings import draw_saying, sayings
from motiongpt.procedural.wordings.sides import AFTER, side_fields

_LETTERS = "abcdefgh"  # the fields of a template, one per action; a clip has no room for more
NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split()
_USUAL_ANGLES = {"turn": 90, "turn_around": 180, "spin": 360}  # degrees, where the facts name none
ANGLES = {45: "forty-five", 90: "ninety", 180: "a hundred and eighty", 360: "three hundred and sixty"}
_SOMETIMES = {"clap": 0.7, "nod": 0.6, "shake_head": 0.6, "hop": 0.75, "jumping_jacks": 0.6}
_UNCOUNTED = {"sit_and_stand", "stand_still"}
_UNPACED = {"stand_still"}  # nothing moves that could be slow
_UNSAID = 0.15  # share of captions that leave out the tempo, and shares that leave out size, angle and mood
_NO_SIDE = 0.08  # share of captions of a one-sided action whose phrase has no side
_SIDE_AFTER = 0.07  # share whose side is said behind such a phrase: "kicks, using the left leg"
_TYPOS = 0.04  # share of captions with an error of typing
# the words of this file, none of which is an error of typing
_SAID = (
    "once one time a single just only twice a couple of times in row degree degrees perform person like somebody who "
    "as if him them it me us you next to near beside by front of clockwise counterclockwise left right slowly quickly"
)
MAX_WORDS = 30

_SPEAKERS = {"their": "they", "his": "he", "her": "she", "its": "it", "my": "i", "your": "you", "our": "we"}
_NOUN = re.compile(r"(?:does|makes|gives|performs) (an? (?!(?:little|bit|few)\b)(?:(?! and ).)*)")
_STANDING = re.compile(r"(?:stands|poses|strikes a)\b|.* in place$")  # nobody who walks does that
_PRONOUN_FORMS = {"they": "plural", "you": "plural", "we": "plural", "i": "first"}
_AGREEING = ("is", "was", "has", "does", "begins", "starts", "tries", "wants", "decides", "manages", "goes", "ends")


def family(action: str) -> str:
    """The name of an action's phrase list: the action without its side. `pick_up` with both hands has its own."""
    if action == "pick_up":
        return "pick_up_both"
    return action.removesuffix("_left").removesuffix("_right")


# 1) Verb phrases.


def _nouns(phrases: Sequence[str]) -> tuple[str, ...]:
    """'does a left kick' -> 'a left kick', of those that have a noun."""
    return tuple(match[1] for match in map(_NOUN.fullmatch, phrases) if match)


@cache
def _choices(name: str, size: str, degrees: int | None, angled: bool, form: str, on_top: bool) -> tuple[tuple, ...]:
    """The phrases of a family with a side, running sums of their weights, and the phrases without one.

    The plain one has a share of 15 %, clockwise ones weigh less. `angled`: only those that say the angle.
    `on_top` of a walk: none that say that the body stands.
    """
    phrases = SIZED.get(name, {}).get(size) or (() if angled else PHRASES[name])
    phrases = (*DEGREES.get(name, {}).get(degrees, ()), *phrases)
    if on_top:
        phrases = tuple(phrase for phrase in phrases if not _STANDING.match(phrase))
    if form == "noun":
        phrases = _nouns(phrases) or _nouns(PHRASES[name])
    bare = tuple(phrase for phrase in phrases if not says_side(phrase))
    sided = tuple(filter(says_side, phrases))
    # a family without sides, or a list where nothing says one
    if not sided:
        sided, bare = bare, ()
    weights = np.array([0.3 if "{wise}" in phrase else 1.0 for phrase in sided])
    if len(sided) > 1:
        weights[0] = 0.15 / 0.85 * weights[1:].sum()
    return sided, tuple(np.cumsum(weights)), bare


def _phrase(name: str, facts: dict, rng: np.random.Generator | None, form: str, unsided: bool) -> tuple[str, str]:
    """Draw a phrase of a family with its verbs in a form, and what says its side behind it."""
    size, degrees = facts.get("size", "normal"), facts.get("degrees", _USUAL_ANGLES.get(name))
    # without draws: the plain one
    if rng is None:
        return inflect(_choices(name, size, degrees, False, "finite", False)[0][0], form), ""
    size = "normal" if rng.random() < _UNSAID else size
    plain = DEGREES.get(name, {}).get(degrees, (PHRASES[name][0],))[0] == PHRASES[name][0]
    angled = not plain and rng.random() >= _UNSAID
    form_of = "noun" if form == "noun" else "finite"
    sided, sums, bare = _choices(name, size, degrees, angled, form_of, "on_top" in facts)
    phrase, after = sided[bisect(sums, rng.random() * sums[-1])], ""
    draw = rng.random()
    if bare and unsided and draw < _NO_SIDE + _SIDE_AFTER:
        phrase = pick(rng, bare)
        if draw >= _NO_SIDE:
            # "on one leg (left leg)", but not "on one leg on the left leg"
            ways = AFTER[name] if " one " not in phrase else [w for w in AFTER[name] if w.startswith((",", " ("))]
            after = pick(rng, tuple(ways))
    return (phrase if form == "noun" else inflect(phrase, form)), after


def _as_noun(name: str, count: int, rng: np.random.Generator) -> str:
    """'does three squats', 'does a single squat': a phrase that counts."""
    noun = pick(rng, COUNTED[name])
    many = {1: "a single"}.get(count) or pick(rng, (NUMBERS[count], NUMBERS[count], str(count)))
    plural = "" if count == 1 else "es" if "ch%" in noun else "s"
    return f"{pick(rng, ('does', 'does', 'performs'))} {many} {noun.replace('%', plural)}"


def _times(count: int, rng: np.random.Generator | None) -> str:
    """' twice', ' three times', ' 3x'."""
    if rng is None:
        return " twice" if count == 2 else f" {NUMBERS[count]} times"
    if count == 1:
        return pick(rng, (" once", " once", " once", " one time", " a single time", " just once", " only once"))
    if count == 2 and rng.random() < 0.65:
        return pick(rng, (" twice",) * 6 + (" a couple of times", " twice in a row"))
    words = (f" {NUMBERS[count]} times",) * 6 + (f" {count} times",) * 3
    return pick(rng, (*words, f" {count}x", f" {NUMBERS[count]} times in a row", f" {count} times in a row"))


def verb_phrase(
    action: str,
    facts: dict,
    rng: np.random.Generator | None,
    possessive: str = "the",
    form: str = "finite",
    tempo: str | None = None,
    unsided: bool = False,
    adverb: str = "",
) -> str:
    """One verb phrase for an action: 'waves the right hand', 'jumps up twice quickly'.
    Without `rng`, the plain one.

    `facts` may have `side` ("left", "right"), `count` (repetitions), `tempo` ("slow", "normal", "quick"), `size`
    ("small", "normal", "large"), `degrees`, `while_` (the name of an action on top) and `on_top` (this is one).
    `form` is one of `word_forms.FORMS`, or "noun" where a phrase has one. Pass `tempo="normal"` if the template says
    the tempo, `unsided=True` where a phrase may leave the side unsaid, and an `adverb` for the verb.
    """
    name = family(action)
    side = facts.get("side", "")
    # plain captions say the; others also their, his, her, its or your
    article = "the" if rng is None or rng.random() < 0.4 else possessive
    phrase, after = _phrase(name, facts, rng, form, unsided)
    uncounted = name in _UNCOUNTED or form == "noun" or phrase.startswith("keep")
    count = 0 if uncounted else facts.get("count", 0)
    if rng is not None and count and name in COUNTED and facts.get("size", "normal") == "normal":
        if rng.random() < (0.15 if count > 1 else 0.02):
            phrase, after, count = inflect(_as_noun(name, count, rng), form), "", 0
    degrees = facts.get("degrees", _USUAL_ANGLES.get(name))
    angle = degrees if rng is None or "a {degrees}" in phrase or rng.random() < 0.5 else ANGLES.get(degrees)
    phrase = phrase.replace("a {degrees}", f"a {degrees}{'-' if rng is None or rng.random() < 0.5 else ' '}degree")
    phrase = (phrase + after).format(
        **side_fields(side),
        the=article,
        degrees=f"{angle} degrees",
    )
    still = re.search(r"\bnot\b", phrase)

    # how often: " twice", " three times"
    said = _SOMETIMES.get(name, 1.0) if count > 1 else 0.1
    if count > 1 and rng is None or count and rng is not None and rng.random() < said:
        phrase += _times(count, rng)

    # how fast and in what mood: before the phrase or after it
    tempo = tempo or facts.get("tempo", "normal")
    manners = [adverb] if adverb else []
    if tempo != "normal" and name not in _UNPACED and (rng is None or rng.random() >= _UNSAID):
        manners.append(TEMPOS[tempo][0] if rng is None or rng.random() < 0.4 else pick(rng, TEMPOS[tempo]))
    for k, manner in enumerate(manners):
        manner = manner.format(the=possessive, pronoun=_SPEAKERS.get(possessive, "they"))
        able = rng is not None and form != "noun" and not still and re.fullmatch("[a-z]+ly", manner)
        # of two adverbs, the first is in front
        if able and k == 0 and (len(manners) > 1 or manner in subjects.FILLERS or rng.random() < 0.4):
            phrase = f"{manner} {phrase}"
        elif manner not in subjects.FILLERS:
            phrase = f"{phrase} {manner}"

    # what the arms or the head do meanwhile
    if overlaid := facts.get("while_"):
        phrase += f" while {verb_phrase(overlaid, _overlaid_facts(overlaid), rng, possessive, 'ing', unsided=unsided)}"
    return phrase


def _overlaid_facts(action: str) -> dict:
    """The facts of an action on top of another, from its name."""
    side = action.rsplit("_", 1)[-1]
    return {"on_top": True} | ({"side": side} if side in ("left", "right") else {})


# 2) Captions.


@cache
def _table(count: int, layered: bool, paced: bool, named: bool) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The templates for a number of actions, and running sums of their weights."""
    groups = WHILE if layered and count == 1 else {1: ONE, 2: TWO, 3: THREE}.get(count)
    if groups is None:  # four or more
        several = [f"{{{letter}}}" for letter in _LETTERS[:count]]
        groups = ((1.0, "{s} " + " then ".join(several) + "|{s} " + ", then ".join(several)),)
    weights = {}
    for share, texts in groups:
        templates = texts.split("|")
        weights |= dict.fromkeys(templates, share / len(templates))
    # no tempo, nothing to begin the sentence with; no noun, nothing to show
    missing = [field for field, there in (("{manner}", paced), ("{a_noun}", named)) if not there]
    kept = {template: weight for template, weight in weights.items() if not any(field in template for field in missing)}
    return tuple(kept), tuple(np.cumsum(list(kept.values())))


@cache
def _fields(template: str) -> tuple[str, ...]:
    return tuple(re.findall(r"{(\w+)}", template))


def _who(fields: Sequence[str], mood: str | None, rng: np.random.Generator) -> tuple[Subject, bool]:
    """The subject of a template, and whether its words say the mood."""
    kinds = {"s": "any", "s3": "third", "obj": "third", "indef": "indefinite"}
    kind = next((kinds[field] for field in fields if field in kinds), None)
    if kind:
        return draw_subject(rng, kind, mood)
    # nobody is named: an order ("raise your arms"), or no person at all
    ordered = any(field.endswith(("_base", "_command")) for field in fields)
    return NOBODY if ordered else NOBODY._replace(possessive="the"), False


def _manner_of(mood: str, rng: np.random.Generator) -> tuple[str, str]:
    """An adverb or a clause that says a mood; the other one is empty."""
    draw = rng.random()
    if draw < 0.35:
        return pick(rng, MOODS[mood].adverbs), ""
    if draw < 0.8:
        return "", pick(rng, MOODS[mood].clauses)
    word = pick(rng, MOODS[mood].adjectives[:5])
    somebody = subjects.with_article(word, "a")
    return "", pick(
        rng,
        (
            f"as if {word}",
            f"like {somebody} person",
            f"like somebody who is {word}",
            f"like {somebody} man",
            f"feeling {word}",
        ),
    )


def _write(parts: list[tuple[str, dict]], rng: np.random.Generator) -> str:
    """One caption: a template filled with a subject and the verb phrases of its fields, or a whole sentence."""
    name = family(parts[0][0])
    if said := draw_saying(name, parts[0][1], _USUAL_ANGLES.get(name), rng):
        return _mistyped(_in_a_manner(said, parts, rng), rng)
    mood = parts[0][1].get("mood")
    tempo = parts[0][1].get("tempo", "normal")
    paced = tempo != "normal" and name not in _UNPACED
    templates, sums = _table(len(parts), "while_" in parts[0][1], paced, bool(_nouns(PHRASES[name])))
    template = templates[bisect(sums, rng.random() * sums[-1])]
    fields = _fields(template)
    subject, told = _who(fields, mood, rng)
    adverb, tail = "", ""
    if mood and not told and rng.random() >= 1.6 * _UNSAID:  # of those left; some say it in the subject
        adverb, tail = _manner_of(mood, rng)
    elif rng.random() < 0.03:
        adverb = pick(rng, subjects.FILLERS)

    # the words that agree
    pronoun_form = _PRONOUN_FORMS.get(subject.pronoun, "finite")
    forms = {"": subject.form, "third": "finite", "pro": pronoun_form}
    named = subject.object if subject.text == subject.pronoun else subject.text
    values = {"s": subject.text, "s3": subject.text, "indef": subject.text, "obj": named, "pro": subject.pronoun}
    for field in fields:
        word, _, ending = field.partition("_")
        if word in _AGREEING:
            form = pronoun_form if ending else subject.form
            values[field] = {"was": {"plural": "were"}.get(form, "was")}.get(word) or conjugate(word, form)
    # the verbs
    clauses = dict(zip(_LETTERS[: len(parts)], parts, strict=True))
    if "while_" in parts[0][1] and len(parts) == 1:
        overlaid = parts[0][1]["while_"]
        clauses["a"] = (parts[0][0], {key: value for key, value in parts[0][1].items() if key != "while_"})
        clauses["w"] = (overlaid, _overlaid_facts(overlaid))
    # one action of a caption may leave its side unsaid, but "raises both arms and waves" is another action
    loose = int(rng.integers(len(clauses))) if "} and {" not in template else -1
    for k, (letter, (action, facts)) in enumerate(clauses.items()):
        field = next(field for field in fields if field.partition("_")[0] == letter)
        ending = field.partition("_")[2]
        form = forms.get(ending, ending)
        said = "normal" if "manner" in fields else None
        values[field] = verb_phrase(
            action, facts, rng, subject.possessive, form, said, k == loose, adverb if letter == "a" else ""
        )
    if "manner" in fields:
        values["manner"] = {"slow": "slowly", "quick": "quickly"}[tempo]
    caption = template.format(**values)
    return _frilled(caption, tail.format(the=subject.possessive), fields, rng)


def _in_a_manner(said: str, parts: list[tuple[str, dict]], rng: np.random.Generator) -> str:
    """A whole sentence for the first action, with how often and in what manner it is done, and what follows it."""
    facts = parts[0][1]
    notes = [_times(facts["count"], rng).strip()] if facts.get("count", 1) > 1 else []
    if facts.get("tempo", "normal") != "normal" and family(parts[0][0]) not in _UNPACED:
        notes.append(pick(rng, TEMPOS[facts["tempo"]]).format(the="the", pronoun="they"))
    if mood := facts.get("mood"):
        adverb, tail = _manner_of(mood, rng)
        notes.append(adverb or tail.format(the="the"))
    if overlaid := facts.get("while_"):
        notes.append(f"while {verb_phrase(overlaid, _overlaid_facts(overlaid), rng, form='ing')}")
    for note in notes:
        said = said.rstrip(".!?") + pick(rng, (", ", " ", ", ", " - ")) + note
    if len(parts) > 1:
        said = said.rstrip(".!?") + pick(rng, (", then ", ". then ", " and then ", "; after that ", ". next, "))
        said += _write(parts[1:], rng)
    return said


def _frilled(caption: str, tail: str, fields: Sequence[str], rng: np.random.Generator) -> str:
    """A caption with what says the mood or nothing at all, and as people type it."""
    if not tail and rng.random() < 0.1:
        tail = extra(rng)
    elif rng.random() < 0.03 and fields[0] in ("s", "indef"):
        caption = f"{pick(rng, OPENINGS)}, {caption}"
    if tail:
        mark = "?" if caption.endswith("?") else ""
        caption = f"{caption.removesuffix('?')} {tail}{mark}"
    # short forms, and marks that people leave out
    if " not " in caption and rng.random() < 0.6:
        caption = re.sub(r"\b(does|do|did) not\b", r"\1n't", caption)
    if rng.random() < 0.3:
        caption = re.sub(r"^(he|she|it) is ", r"\1's ", caption)
        caption = re.sub(r"^i am ", "i'm ", re.sub(r"^(they|you|we) are ", r"\1're ", caption))
    if "'" in caption and rng.random() < 0.15:
        caption = caption.replace("'", "")
    if "," in caption and rng.random() < 0.08:
        caption = caption.replace(",", "")
    return _mistyped(caption, rng)


def _mistyped(caption: str, rng: np.random.Generator) -> str:
    """A caption, a few of them with an error of typing."""
    return misspell(caption, rng, known_words()) if rng.random() < _TYPOS else caption


@cache
def known_words() -> frozenset[str]:
    """Every word that a caption may have, in every form: none of them is an error of typing."""
    tables = [PHRASES, *SIZED.values(), *DEGREES.values()]
    phrases = [phrase for table in tables for several in table.values() for phrase in several]
    texts = [inflect(phrase, form) for phrase in phrases for form in FORMS]
    texts += [text for groups in (ONE, TWO, THREE, WHILE) for _, text in groups]
    for table in (subjects.ROLES, subjects.NAMES, TEMPOS):
        texts += [word for several in table.values() for word in several]
    texts += [text for mood in MOODS.values() for several in mood for text in several]
    texts += [text for table in (AFTER, COUNTED) for several in table.values() for text in several]
    texts += [conjugate(verb, form) for verb in _AGREEING for form in FORMS]
    texts += [_SAID, "were", *NUMBERS, *ANGLES.values(), *_SPEAKERS, *_SPEAKERS.values()]
    texts += [text for several in sayings().values() for text in several]
    texts += [*subjects.ADJECTIVES, *subjects.LOOKS, *subjects.SCENERY, *OPENINGS, *subjects.FILLERS, *subjects.THINGS]
    words = {word for text in texts for word in re.findall("[a-z]+", text.replace("%", ""))}
    return frozenset(words | {word + "s" for word in words})


def write_captions(parts: list[tuple[str, dict]], rng: np.random.Generator, count: int = 5) -> list[str]:
    """`count` different captions for actions that follow each other: [(action name, facts), ...].

    One to three actions have templates, and so has one with another on top (`while_`); four or more
    are joined by "then".
    """
    # the plainest caption comes first and draws nothing
    subject = subjects.with_article(f"{mood} person", "a") if (mood := parts[0][1].get("mood")) else "a person"
    captions = [f"{subject} " + " then ".join(verb_phrase(action, facts, None) for action, facts in parts)]
    while len(captions) < count:
        for _ in range(8):  # a long one is drawn again, unless all are
            caption = _write(parts, rng)
            if len(caption.split()) <= MAX_WORDS:
                break
        if caption not in captions:
            captions.append(caption)
    return captions
