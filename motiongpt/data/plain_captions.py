"""Plain captions as a small language, and what the other captions of training tell about it.

    a happy person | walks forward slowly | then | waves the right hand twice
    subject          clause                        clause

A motion model that learns `read` reads any sentence as one of these. `reading_table` collects subjects and clauses from
the plain captions of training, so the code knows none of them, and the words of all captions, so that a new sentence
can be told from a known one. It is a part of prompts.json (`training_captions.py`).
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from statistics import median, median_low
from string import ascii_lowercase
from typing import TypedDict

from motiongpt.data.spelling import fold
from motiongpt.data.tokens import Entry
from motiongpt.data.words import LIGHT, NUMBER_WORDS, SIDES, content_words, denials, stem, words

THEN = " then "
WHILE = " while "  # two actions at once
USUAL = "a person"
SUBJECT = re.compile(r"((?:an?|the) (?:[^\W_][\w'-]* )?person) (.+)")
# A word tells what is done if one verb of the plain captions goes with it far more often than with any caption.
TELLING_SHARE, TELLING_LIFT = 0.2, 2.5  # of the captions with the word, and so many times as often as in all of them
TELLING_ENOUGH = 0.5  # a share that is enough for any verb
TELLING_COUNT = 3  # captions at least
# A word is an error of typing if it is rare among the captions, and so many times rarer than one a letter away.
TYPO_SHARE, TYPO_LIFT = 2e-4, 200
TOLD_SHARE = 0.1  # of the captions with the word: further verbs that it may tell


class ReadingTable(TypedDict):
    """What prompts.json keeps for reading; a list begins with what is most frequent."""

    subjects: list[str]
    clauses: list[str]
    wholes: list[str]  # plain captions without such a subject, which go with no other clause
    words: list[str]  # of all captions, but for likely errors of typing
    telling: dict[str, list[str]]  # stem of a word that goes with few verbs -> these: "greet" -> "waves"; no "slowly"
    negated: list[str]  # stems of what training's captions deny: "mov" of "does not move"
    lengths: dict[str, int]  # clause -> median length in codes of the motions that show it alone, in no mood
    paces: dict[str, float]  # subject -> how much longer it takes than the usual one


def split_plain(text: str) -> tuple[str, tuple[str, ...]]:
    """A plain caption as subject and clauses; ("", (text,)) if it has no subject of the usual form."""
    found = SUBJECT.fullmatch(text)
    return (found[1], tuple(found[2].split(THEN))) if found else ("", (text,))


def action_of(text: str) -> tuple[str, ...]:
    """What a plain caption does, without side, number and manner, to tell its action from others.

    "a person waves the right hand twice" -> ("waves hand",)
    """
    _, clauses = split_plain(text)
    return tuple(" ".join(filter(_is_action, content_words(clause))) for clause in clauses)


def _is_action(word: str) -> bool:
    return word not in SIDES and word not in NUMBER_WORDS and not word.endswith("ly")


def _may_tell(word: str) -> bool:
    return _is_action(word) and word not in LIGHT


def reading_table(entries: Iterable[Entry]) -> ReadingTable | None:
    """The table of some training entries; None if none of them has a plain caption."""
    entries = list(entries)
    pairs = Counter((entry.text, entry.plain) for entry in entries)  # a caption may have many motions
    if not any(plain for _, plain in pairs):
        return None
    subjects, clauses, wholes = Counter(), Counter(), Counter()
    said, denied = Counter(), Counter()
    for (text, plain), count in pairs.items():
        text = fold(text)
        said.update(dict.fromkeys(words(text), count))
        denied.update(dict.fromkeys((found for *_, found in denials(text)), count))
        subject, parts = split_plain(fold(plain))
        if subject:
            subjects[subject] += count
            clauses.update(dict.fromkeys(parts, count))
        elif plain:
            wholes[parts[0]] += count
    for word in _misspelt(said, pairs.total()):
        del said[word]
    lists = {"subjects": subjects, "clauses": clauses, "wholes": wholes, "words": said, "negated": denied}
    return {**{name: _ranked(found) for name, found in lists.items()}, "telling": _telling(pairs), **_paces(entries)}


def _paces(entries: Sequence[Entry]) -> dict[str, dict]:
    """`lengths` and `paces` of a table. A motion counts once, however many captions it has, and if it is repeated."""
    alone: dict[tuple[str, str], list[int]] = defaultdict(list)
    for plain, codes in dict.fromkeys((entry.plain, entry.codes) for entry in entries if entry.plain):
        subject, clauses = split_plain(fold(plain))
        if subject and len(clauses) == 1:
            alone[subject, clauses[0]].append(len(codes))
    lengths = {clause: median_low(found) for (subject, clause), found in sorted(alone.items()) if subject == USUAL}
    ratios: dict[str, list[float]] = defaultdict(list)
    for (subject, clause), found in sorted(alone.items()):
        ratios[subject] += [length / lengths[clause] for length in found if clause in lengths]
    return {"lengths": lengths, "paces": {who: round(median(found), 3) for who, found in ratios.items() if found}}


def plain_length(table: ReadingTable, text: str) -> int | None:
    """How many codes a plain caption takes: those of its clauses, at the pace of its subject, one less for each seam.

    None if training had one of the clauses only together with others, or no such subject.
    """
    subject, clauses = split_plain(fold(text))
    lengths, pace = table.get("lengths", {}), table.get("paces", {}).get(subject)  # older tables have neither
    if pace is None or not all(clause in lengths for clause in clauses):
        return None
    return max(1, round(pace * sum(lengths[clause] for clause in clauses)) - (len(clauses) - 1))


def _misspelt(said: Counter, captions: int) -> list[str]:
    """Words that are most likely another one with an error of typing, as data may have them on purpose.

    To somebody who types them they must stay errors: a word of training is never corrected.
    """
    rare = captions * TYPO_SHARE

    def commoner(word: str) -> bool:
        meant = (other for other in _one_error_from(word) if said[other] >= TYPO_LIFT * said[word])
        return any(stem(other) != stem(word) for other in meant)

    return [word for word, count in said.items() if len(word) >= 4 and count <= rare and commoner(word)]


def _one_error_from(word: str) -> Iterable[str]:
    """What a word may have been before one letter was left out, added, exchanged with the next or replaced."""
    for i in range(1, len(word) + 1):  # people get the first letter right
        head, tail = word[:i], word[i:]
        if i > 1:
            yield head[:-1] + tail
        if i > 1 and tail:
            yield head[:-1] + tail[0] + head[-1] + tail[1:]
        for letter in ascii_lowercase:
            yield head + letter + tail
            yield head + letter + tail[1:]


def check_reading_table(table: object) -> None:
    """ValueError unless an object is a `ReadingTable`."""
    telling = table.get("telling") if isinstance(table, dict) else table
    numbers = ("lengths", "paces")
    if not isinstance(telling, dict) or not all(isinstance(table.get(name, {}), dict) for name in numbers):
        raise ValueError(
            "prompts.json: reading must be an object with an object telling, as a stage of today writes it, got "
            f"{type(table).__name__} with telling {telling!r:.60}; training a stage writes it anew"
        )
    lists = {name: table.get(name) for name in ReadingTable.__annotations__ if name not in ("telling", *numbers)}
    lists |= table["telling"]
    for name, found in lists.items():
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise ValueError(f"prompts.json: reading: {name} must be a list of texts, got {str(found)[:60]}")
    for name in numbers:
        for key, value in table.get(name, {}).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"prompts.json: reading: {name} of {key!r:.60} must be positive, got {value!r:.60}")
    if not (table["subjects"] and table["clauses"]) and not table["wholes"]:
        raise ValueError("prompts.json: reading has no plain caption; training a stage writes it anew")


def _ranked(counts: Counter) -> list[str]:
    return sorted(counts, key=lambda text: (-counts[text], text))


def verbs_of(text: str) -> tuple[str, ...]:
    """The first word of each clause of a plain caption."""
    _, clauses = split_plain(text)
    return tuple(clause.partition(" ")[0] for clause in clauses)


def _telling(pairs: Mapping[tuple[str, str], int]) -> dict[str, list[str]]:
    """The stems that go with one verb far more often than by chance, in captions of a single clause, and their verbs.

    `pairs` are (caption, plain caption) and how often they come. A caption of two actions at once says nothing here: a
    "clap" that goes with walks, runs and marches would tell none of them.
    """
    verbs: Counter = Counter()
    of_stem: dict[str, Counter] = defaultdict(Counter)
    stem_of, done_by = cache(stem), cache(verbs_of)
    for (text, plain), count in pairs.items():
        done = done_by(fold(plain)) if plain else ()
        if len(done) == 1 and WHILE not in plain:
            verbs[done[0]] += count
            for found in {stem_of(word) for word in content_words(fold(text)) if _may_tell(word)}:
                of_stem[found][done[0]] += count

    def tells(counts: Counter) -> bool:
        verb, count = counts.most_common(1)[0]
        usual = max(TELLING_SHARE, TELLING_LIFT * verbs[verb] / verbs.total())
        surely = count - count**0.5  # a name that came with three walks tells nothing
        return count >= TELLING_COUNT and surely / counts.total() >= min(TELLING_ENOUGH, usual)

    def told(counts: Counter) -> list[str]:
        return sorted(verb for verb, count in counts.items() if count >= TOLD_SHARE * counts.total())

    return {found: told(counts) for found, counts in sorted(of_stem.items()) if tells(counts)}
