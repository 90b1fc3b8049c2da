"""Sentences for the embedded dataset: a small grammar from actions and their facts to English
captions.

    caption = one template around one or two verb phrases, such as "{subject} {finite} before {gerund}"
    verb phrase = phrase [count] [manner], as finite verb ("walks"), base form ("walk") or gerund ("walking")

The first caption of a clip is always the plainest one ("a person waves the right hand"). The others
vary subject, phrase, template and the place of the adverb. A caption only says what is true of the
clip: the side is the clip's side, a count is the clip's count, and only clips made slow, quick,
large or small are called so. Not everything true is said. What it does not know: grammar beyond
these sentences.
"""

import re

import numpy as np

from motiongpt.procedural.phrases import PHRASES, SIZED

SUBJECTS = {
    "a person": (0.5, "their"),
    "someone": (0.12, "their"),
    "a man": (0.1, "his"),
    "a woman": (0.1, "her"),
    "the person": (0.08, "their"),
    "the figure": (0.04, "its"),
    "the man": (0.03, "his"),
    "the woman": (0.03, "her"),
}

# Template -> weight. {s} is the subject; {a} and {b} are the actions in the order they happen, in finite form. {a_base}
# and {a_ing} are the other two forms of the first.
ONE = {
    "{s} {a}": 0.5,
    "{s} is {a_ing}": 0.12,
    "{a_ing}": 0.12,
    "{a_base}": 0.09,
    "{s} {a_ing}": 0.06,
    "{manner}, {s} {a}": 0.04,
    "{s} begins to {a_base}": 0.025,
    "{s} starts to {a_base}": 0.015,
    "there is {s} who {a}": 0.03,
}
TWO = {
    "{s} {a} then {b}": 0.24,
    "{s} {a} and then {b}": 0.2,
    "{s} {a}, then {b}": 0.09,
    "{s} {a} and {b}": 0.06,
    "{s} first {a} and then {b}": 0.06,
    "{s} {a}, after that {b}": 0.06,
    "{s} {a} before {b_ing}": 0.09,
    "after {a_ing}, {s} {b}": 0.07,
    "{a_ing} then {b_ing}": 0.05,
    "{a_base} then {b_base}": 0.04,
    "{s} {a_ing} and then {b_ing}": 0.02,
    "there is {s} who {a} and then {b}": 0.02,
}

_LETTERS = "abcdefgh"  # the fields of a template, one per action; a clip has no room for more
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_SOMETIMES = {
    "clap": 0.7,
    "nod": 0.6,
    "shake_head": 0.6,
    "hop": 0.75,
    "jumping_jacks": 0.6,
}
_UNCOUNTED = {"sit_and_stand"}
_MANNERS = {
    "slow": (("slowly", 0.75), ("at a slow pace", 0.15), ("unhurriedly", 0.1)),
    "quick": (("quickly", 0.75), ("fast", 0.15), ("rapidly", 0.1)),
}
_UNSAID = 0.15  # share of captions that leave out the tempo, and share that leave out the size
_DOUBLED = re.compile("(?:side)?(?:[^aeiou]|qu)*[aeiou][bdgnpt]")  # one short vowel, one consonant: run, sit, squat
_SECOND_VERB = re.compile(r"\band (?!(?:arms|legs|hands)\b)([a-z]+s)\b")


def base_form(verb: str) -> str:
    """'walks' -> 'walk', 'goes' -> 'go', 'punches' -> 'punch', 'raises' -> 'raise'."""
    return verb[:-2] if verb.endswith(("ches", "shes", "sses", "oes")) else verb[:-1]


def gerund(verb: str) -> str:
    """'walks' -> 'walking', 'runs' -> 'running', 'makes' -> 'making'."""
    base = base_form(verb)
    if base.endswith("e"):
        return base[:-1] + "ing"
    return base + (base[-1] if _DOUBLED.fullmatch(base) else "") + "ing"


def inflect(phrase: str, form: str) -> str:
    """A third-person phrase with its verbs in a form: finite, base or ing.
    Verbs: the first word, one after "and"."""
    if form == "finite":
        return phrase
    change = base_form if form == "base" else gerund
    verb, space, rest = phrase.partition(" ")
    return change(verb) + space + _SECOND_VERB.sub(lambda match: f"and {change(match[1])}", rest)


def family(action: str) -> str:
    """The name of an action's phrase list: the action without its side.
    `pick_up` with both hands has its own list."""
    if action == "pick_up":
        return "pick_up_both"
    return action.removesuffix("_left").removesuffix("_right")


def _phrase(name: str, size: str, rng: np.random.Generator | None) -> str:
    """Draw a phrase of a family: the plain one is twice as likely as another,
    "clockwise" much less likely."""
    said = size != "normal" and (rng is None or rng.random() >= _UNSAID)
    phrases = SIZED[name][size] if said else PHRASES[name]
    # without draws: the plain one
    if rng is None:
        return phrases[0]
    weights = np.array([0.3 if "{wise}" in phrase else 1.0 for phrase in phrases])
    weights[0] = 2.0
    return str(rng.choice(phrases, p=weights / weights.sum()))


def verb_phrase(
    action: str,
    facts: dict,
    rng: np.random.Generator | None,
    possessive: str = "the",
    form: str = "finite",
    tempo: str | None = None,
) -> str:
    """One verb phrase for an action: 'waves the right hand', 'jumps up twice quickly'.
    Without `rng`, the plain one.

    `facts` may have `side` ("left", "right"), `count` (repetitions), `tempo` ("slow", "normal",
    "quick") and `size` ("small", "normal", "large"). `form` is one of `inflect`. Pass
    `tempo="normal"` if the template says the tempo.
    """
    name = family(action)
    side = facts.get("side", "")
    # plain captions say the; others also their, his, her, its or your
    article = "the" if rng is None or rng.random() < 0.4 else possessive
    wise = "counterclockwise" if side == "left" else "clockwise"
    other = "right" if side == "left" else "left"
    phrase = inflect(_phrase(name, facts.get("size", "normal"), rng), form)
    phrase = phrase.format(side=side, other=other, the=article, wise=wise)

    # how often: " twice", " three times"
    count = facts.get("count")
    times = ""
    if count is not None and name not in _UNCOUNTED:
        if count > 1 and (rng is None or rng.random() < _SOMETIMES.get(name, 1.0)):
            times = " twice" if count == 2 and (rng is None or rng.random() < 0.8) else f" {NUMBERS[count]} times"
        elif count == 1 and rng is not None and rng.random() < 0.1:
            times = " once"

    # how fast: before the phrase or after it
    tempo = tempo or facts.get("tempo", "normal")
    if tempo == "normal" or (rng is not None and rng.random() < _UNSAID):
        return phrase + times
    words, weights = zip(*_MANNERS[tempo], strict=True)
    manner = words[0] if rng is None else str(rng.choice(words, p=weights))
    if rng is not None and manner.endswith("ly") and rng.random() < 0.4:
        return f"{manner} {phrase}{times}"
    return f"{phrase}{times} {manner}"


def _write(template: str, parts: list[tuple[str, dict]], rng: np.random.Generator) -> str:
    """One caption: a template filled with a subject and the verb phrases of its fields."""
    fields = re.findall(r"{(\w+)}", template)
    # nobody says: there is the person who walks
    names = [name for name in SUBJECTS if "there is" not in template or name.startswith("a ")]
    weights = np.array([SUBJECTS[name][0] for name in names])
    subject = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    if "s" in fields:
        possessive = SUBJECTS[subject][1]
    else:  # an order ("raise your arms"), or no person at all
        possessive = "your" if "a_base" in fields else "the"
    values = {"s": subject}
    for letter, (action, facts) in zip(_LETTERS[: len(parts)], parts, strict=True):
        field = next(field for field in fields if field.startswith(letter))
        tempo = "normal" if "manner" in fields else None
        values[field] = verb_phrase(action, facts, rng, possessive, field.partition("_")[2] or "finite", tempo)
    if "manner" in fields:
        values["manner"] = "slowly" if parts[0][1]["tempo"] == "slow" else "quickly"
    return template.format(**values)


def write_captions(parts: list[tuple[str, dict]], rng: np.random.Generator, count: int = 5) -> list[str]:
    """`count` different captions for actions that follow each other: [(action name, facts), ...].

    One and two actions have templates; three or more are joined by "then".
    """
    # the plainest caption comes first and draws nothing
    captions = ["a person " + " then ".join(verb_phrase(action, facts, None) for action, facts in parts)]
    # the template of three or more actions
    chain = {"{s} " + " then ".join(f"{{{letter}}}" for letter in _LETTERS[: len(parts)]): 1.0}
    weights = dict({1: ONE, 2: TWO}.get(len(parts), chain))
    # no tempo, nothing to begin the sentence with
    if parts[0][1].get("tempo", "normal") == "normal":
        weights.pop("{manner}, {s} {a}", None)
    total = sum(weights.values())
    while len(captions) < count:
        template = str(rng.choice(list(weights), p=[weight / total for weight in weights.values()]))
        caption = _write(template, parts, rng)
        if caption not in captions:
            captions.append(caption)
    return captions
