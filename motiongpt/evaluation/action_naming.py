"""Does a sentence name what a clip of the embedded data shows?

    named_actions("someone claps before waving the left hand")    [("clap", ""), ("wave", "left")]
    performed_actions("p00_000042")                               the same of a clip, from its id

A word-by-word score (BLEU, ROUGE-L) hardly notices a wrong hand or a wrong verb. The embedded data
knows which actions its clips show and which phrases name them (`procedural/phrases.py`), so both
can be compared as actions: a pair of the family and the side, "" for none. What it does not know:
phrases of other people, counts, tempo and size.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from motiongpt.body.skeletons import SIDES
from motiongpt.procedural.clips import generate_clip
from motiongpt.procedural.edits import make_pair
from motiongpt.procedural.phrases import DEGREES, PHRASES, SIZED, says_side
from motiongpt.procedural.sentences import ANGLES, family
from motiongpt.procedural.word_forms import FORMS, inflect
from motiongpt.procedural.wordings.sides import side_fields

Action = tuple[str, str]  # family, side
ARTICLES = ("the", "their", "his", "her", "its", "your", "my", "our")  # what {the} of a phrase may be: all read as one
CLIP_ID = re.compile(r"(M?)p(\d+)_(\d+)")  # of `clips.clip_name`; M: left and right exchanged
PAIR_ID = re.compile(r"(M?)e(\d+)_(\d+)_(source|target)")  # of `edits.make_pair`


# 1) What a sentence names.


def _words(text: str) -> list[str]:
    """Lower-case words, with every article and possessive as "the"."""
    words = re.findall(r"[a-z0-9'-]+", text.lower().replace("n't", " not"))
    return ["the" if word in ARTICLES else word for word in words]


def family_phrases(name: str) -> Iterator[str]:
    """Every phrase of a family, its angle in words and in digits."""
    special = [*SIZED.get(name, {}).values(), *DEGREES.get(name, {}).values()]
    yield from (phrase for several in (PHRASES[name], *special) for phrase in several if "{degrees}" not in phrase)
    for degrees, several in DEGREES.get(name, {}).items():
        for phrase in several:
            for angle in (degrees, ANGLES[degrees]):
                yield phrase.replace("a {degrees}", f"a {degrees}-degree").replace("{degrees}", f"{angle} degrees")


@cache
def phrase_table() -> dict[tuple[str, ...], Action]:
    """The words of every phrase, in every form of its verbs and for both sides -> the action it names."""
    table = {}
    for name in PHRASES:
        for phrase in family_phrases(name):
            has_side = says_side(phrase)
            for form in FORMS:
                said = inflect(phrase, form)
                for side in SIDES:
                    words = _words(said.format(**side_fields(side), the="the"))
                    table[tuple(words)] = (name, side if has_side else "")
    return table


@cache
def _longest() -> int:
    """Words of the longest phrase."""
    return max(map(len, phrase_table()))


def named_actions(sentence: str) -> list[Action]:
    """The actions that a sentence names, in its order; of phrases that begin at one word the longest counts."""
    table, longest = phrase_table(), _longest()
    words = _words(sentence)
    found, start = [], 0
    while start < len(words):
        for size in range(min(longest, len(words) - start), 0, -1):
            if action := table.get(tuple(words[start : start + size])):
                found.append(action)
                start += size
                break
        else:
            start += 1
    return found


# 2) What a clip shows.


def action_names(clip: str) -> tuple[str, ...] | None:
    """The names in `ACTIONS` that a clip of the embedded data shows, in order, from its id; None for any other id.

    Those of a mirrored clip (M in front) have the other side. Nothing is read: the clip is made again.
    """
    if match := CLIP_ID.fullmatch(clip):
        names = generate_clip(int(match[3]), int(match[2])).actions
    elif match := PAIR_ID.fullmatch(clip):
        pair = make_pair(int(match[3]), int(match[2]))
        names = tuple(step.action for step in (pair.source if match[4] == "source" else pair.target).steps)
    else:
        return None
    return tuple(map(_mirrored, names)) if match[1] else names


def _mirrored(name: str) -> str:
    for side, other in (SIDES, SIDES[::-1]):
        if name.endswith(f"_{side}"):
            return name.removesuffix(side) + other
    return name


def as_action(name: str) -> Action:
    """A name in `ACTIONS` -> family and side."""
    return family(name), next((side for side in SIDES if name.endswith(f"_{side}")), "")


def performed_actions(clip: str) -> list[Action] | None:
    """`action_names` as actions."""
    names = action_names(clip)
    return None if names is None else list(map(as_action, names))


# 3) Scores.


def naming_scores(sentences: Sequence[str], shown: Sequence[Sequence[Action]]) -> dict[str, np.ndarray]:
    """How well sentences name the actions of their clips, `labels.NAMING`, (N,) by name; 1 is right, 0 wrong.

    `family_named`: the families of the clip, all of them in order and nothing else. `action_named`:
    the sides too. `one_named`: at least one of the clip's actions with its side. `side_named`: the
    sides alone; NaN where a family is wrong or no action has a side.
    """
    rows = []
    for sentence, actions in zip(sentences, shown, strict=True):
        named = named_actions(sentence)
        families = [name for name, _ in named] == [name for name, _ in actions]
        exact = named == list(actions)
        sided = families and any(side for _, side in actions)
        rows.append((families, exact, any(action in named for action in actions), exact if sided else np.nan))
    values = np.array(rows, dtype=float).reshape(-1, 4)
    return dict(zip(("family_named", "action_named", "one_named", "side_named"), values.T, strict=True))
