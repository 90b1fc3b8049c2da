"""Every phrase of the embedded captions is spelt as the grammar reads it, and is about one action only."""

import re
from collections import defaultdict

import pytest
from cases import for_each

from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.phrases import DEGREES, PHRASES, SIZED, says_side
from motiongpt.procedural.sentences import family
from motiongpt.procedural.word_forms import conjugate, inflect

SIDED = {family(name) for name in ACTIONS if name.endswith(("_left", "_right"))}
FIELDS = {"the", "side", "other", "wise"}
STANDING = {"balance", "tree_pose", "hop"}  # here a phrase may speak of the other leg
SIZE_WORDS = set("big large wide widely high deep deeply far long little small slight slightly short shallow".split())
SAID_ELSEWHERE = set(
    "slowly quickly fast rapidly unhurriedly once twice two three four five six happily sadly then while".split()
)


def every_list() -> list[tuple[str, str, tuple[str, ...]]]:
    """(family, which list, phrases) of all tables."""
    lists = [(name, "", phrases) for name, phrases in PHRASES.items()]
    for table in (SIZED, DEGREES):
        lists += [(name, str(key), phrases) for name, group in table.items() for key, phrases in group.items()]
    return lists


def unfilled(phrase: str) -> str:
    """A phrase with one article, so that "the left arm" and "{the} left arm" are the same."""
    return phrase.replace("{the}", "the")


def words(phrase: str) -> set[str]:
    return set(re.findall("[a-z-]+", re.sub(r"{\w+}", "", phrase)))


def test_every_action_has_forty_phrasings():
    assert {family(name) for name in ACTIONS} == set(PHRASES)
    for name, phrases in PHRASES.items():
        angles = [phrase for group in DEGREES.get(name, {}).values() for phrase in group]
        assert len({unfilled(phrase) for phrase in (*phrases, *angles)}) >= 40, name
    for table, least in ((SIZED, 10), (DEGREES, 8)):
        for name, lists in table.items():
            assert name in PHRASES and all(len(set(map(unfilled, group))) >= least for group in lists.values()), name
    assert all(set(lists) == {"large", "small"} for lists in SIZED.values())


def test_plain_phrases_of_an_angle():
    """The usual angle is not said, any other one is; `test_sentences.py` has the plain phrases themselves."""
    assert DEGREES["turn"][90][0] == PHRASES["turn"][0] and DEGREES["turn_around"][180][0] == PHRASES["turn_around"][0]
    assert all("{degrees}" in DEGREES["turn"][angle][0] for angle in (45, 180, 360))
    assert DEGREES["spin"][360][0] == PHRASES["spin"][0]


def test_phrases_are_spelt_as_the_grammar_reads_them():
    for name, which, phrases in every_list():
        assert len(set(phrases)) == len(phrases), (name, which)
        for phrase in phrases:
            assert re.fullmatch(r"(?:[a-z-]+|{[a-z]+})(?: (?:[a-z-]+|{[a-z]+}))*", phrase), phrase
            allowed = FIELDS | ({"degrees"} if which.isdigit() else set())
            assert set(re.findall(r"{(\w+)}", phrase)) <= allowed, phrase
            assert not words(phrase) & SAID_ELSEWHERE, phrase  # tempo, count and order are the grammar's business
            assert bool(words(phrase) & SIZE_WORDS) <= (which in ("large", "small")), phrase


def test_only_actions_with_a_side_name_one():
    for name, _, phrases in every_list():
        for phrase in phrases:
            assert name in SIDED or not says_side(phrase), phrase
            assert name in STANDING or "{other}" not in phrase, phrase
            if phrase != "turns {the} head left and right":
                assert not words(phrase) & {"left", "right"}, phrase  # a mirror would turn them round
    for name in SIDED:
        assert says_side(PHRASES[name][0]), name
        assert 6 <= sum(not says_side(phrase) for phrase in PHRASES[name]) <= 0.3 * len(PHRASES[name]), name


def test_no_phrase_is_about_two_actions():
    """In no form of its verbs: the hearer would have to guess."""
    owners = defaultdict(set)
    for name, which, phrases in every_list():
        for phrase in phrases:
            for form in ("finite", "base", "ing", "past"):
                owners[unfilled(inflect(phrase, form)).replace("{degrees}", which)].add(name)
    assert {said: names for said, names in owners.items() if len(names) > 1} == {}


def test_every_verb_has_its_forms():
    """The first word of a phrase is a verb in the third person, and all its forms are words."""
    firsts = {phrase.split()[0] for _, _, phrases in every_list() for phrase in phrases}
    for verb in firsts:
        assert verb.endswith("s") and not verb.endswith("ss"), verb
        assert re.fullmatch("[a-z-]*[a-z]ing", conjugate(verb, "ing")), verb
        for form in ("base", "past", "participle"):
            assert re.fullmatch("[a-z-]{2,}", conjugate(verb, form)), (verb, form)
        assert "left" not in (conjugate(verb, "past"), conjugate(verb, "participle")), verb  # it is a side


@for_each(
    "phrase, form, said",
    [
        ("bends down and picks something up", "past", "bent down and picked something up"),
        ("sneaks up behind someone", "ing", "sneaking up behind someone"),
        ("tiptoes across the room", "base", "tiptoe across the room"),
        ("has a seat and gets up", "past", "had a seat and got up"),
        ("does not move", "ing", "not moving"),
        ("jumps spreading arms and legs", "ing", "jumping spreading arms and legs"),
    ],
)
def test_forms_of_whole_phrases(phrase, form, said):
    assert any(phrase in phrases for _, _, phrases in every_list())
    assert inflect(phrase, form) == said


@pytest.mark.parametrize("phrase", ["kicks a ball", "waves", "raises a hand", "balances on one leg", "sidesteps"])
def test_sides_may_be_left_unsaid(phrase):
    owner = [name for name, phrases in PHRASES.items() if phrase in phrases]
    assert len(owner) == 1 and owner[0] in SIDED and not says_side(phrase)
