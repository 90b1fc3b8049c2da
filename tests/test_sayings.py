"""Whole sentences of the embedded captions: one list an action, true of it alone, and joined to what else is asked."""

import re

import numpy as np
import pytest

from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.sentences import NUMBERS, family, known_words, write_captions
from motiongpt.procedural.subjects import MOODS, TEMPOS
from motiongpt.procedural.wordings import sayings
from motiongpt.procedural.wordings.sayings import draw_saying

FAMILIES = list(dict.fromkeys(map(family, ACTIONS)))
SIDED = {family(name) for name in ACTIONS if name.endswith(("_left", "_right"))}


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(sayings, "SHARE", 1.0)


def test_every_family_has_its_own_sentences():
    table = sayings.sayings()
    assert list(table) == FAMILIES
    assert all(len(texts) >= 30 for texts in table.values())
    every = [text.casefold() for texts in table.values() for text in texts]
    assert len(set(every)) == len(every)


def test_a_sentence_names_a_side_only_by_its_field():
    for name, texts in sayings.sayings().items():
        fields = {field for text in texts for field in re.findall(r"{(\w*)}", text)}
        assert fields <= ({"side", "other", "wise"} if name in SIDED else set()), name
        for text in texts:
            assert not re.search(r"\b(left|right|(counter|anti)?clockwise)\b", text), text
            assert "side" in text.replace("{other}", "") or "{other}" not in text, text  # "the other leg" of which?
        if name in SIDED:
            sided = sum("{" in text for text in texts)
            assert 10 <= sided < len(texts), name  # people leave it unsaid, and most do not


def test_a_sentence_says_nothing_of_number_tempo_or_mood():
    adverbs = {word for several in TEMPOS.values() for text in several for word in text.split() if word.endswith("ly")}
    counts = set(NUMBERS[2:]) - {"two"} | {"twice", "thrice"}  # "on two feet" is no count
    for texts in sayings.sayings().values():
        for text in texts:
            said = set(re.findall("[a-z]+", text))
            assert not said & (adverbs | set(MOODS)), text
            assert not re.search(rf"\b({'|'.join(counts)}) times\b", text), text


def test_the_fields_are_the_side_of_the_clip(always):
    rng = np.random.default_rng(0)
    for name in ACTIONS:
        side = name.rsplit("_", 1)[1] if name.endswith(("_left", "_right")) else ""
        for _ in range(30):
            text = draw_saying(family(name), {"side": side} if side else {}, None, rng)
            assert text and "{" not in text
            if "clockwise" in text:
                assert ("counterclockwise" in text) == (side == "left")


def test_an_unusual_size_or_angle_is_left_to_the_grammar(always):
    rng = np.random.default_rng(0)
    assert draw_saying("bow", {"size": "large"}, None, rng) == ""
    assert draw_saying("turn", {"side": "left", "degrees": 180}, 90, rng) == ""
    assert draw_saying("turn", {"side": "left", "degrees": 90}, 90, rng) != ""


def test_what_else_is_asked_is_said_behind(always):
    """Number, tempo, mood, what goes on above, and what follows."""
    rng = np.random.default_rng(0)
    shared = {"side": "left", "tempo": "normal", "size": "normal"}
    for facts, word in (
        ({"count": 4}, r"four|4"),
        ({"tempo": "quick"}, "|".join(text.split()[0] for text in TEMPOS["quick"])),
        ({"while_": "clap"}, "while"),
    ):
        for caption in write_captions([("kick_left", shared | facts)], rng, 20)[1:]:
            assert re.search(rf"\b({word})", caption), caption
    both = write_captions([("kick_left", shared), ("bow", {"tempo": "normal", "size": "normal"})], rng, 20)
    assert all(re.search(r"\b(then|after|next)\b", caption) for caption in both[1:])


def test_a_share_of_the_captions_is_whole_sentences():
    facts = {"side": "left", "tempo": "normal", "size": "normal"}
    whole = {text.format(side="left", other="right", wise="counterclockwise") for text in sayings.sayings()["kick"]}
    captions = [write_captions([("kick_left", facts)], np.random.default_rng(i), 2)[1] for i in range(800)]
    # 0.25 but for errors of typing: 196 of 800, sigma 12
    assert 150 < sum(caption in whole for caption in captions) < 240


def test_no_word_of_a_sentence_is_an_error_of_typing():
    for texts in sayings.sayings().values():
        for text in texts:
            assert set(re.findall("[a-z]+", re.sub(r"{\w+}", "", text))) <= known_words()
