"""Sentences of the embedded grammar are read back as the actions they were made from."""

import math

import numpy as np
import pytest
from cases import for_each

from motiongpt.data.mirror import mirror_caption
from motiongpt.evaluation.action_naming import (
    as_action,
    family_phrases,
    named_actions,
    naming_scores,
    performed_actions,
    phrase_table,
)
from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.clips import clip_name, generate_clip
from motiongpt.procedural.edits import make_pair
from motiongpt.procedural.phrases import PHRASES
from motiongpt.procedural.sentences import write_captions
from motiongpt.procedural.wordings import sayings


def sentences_of(names: tuple[str, ...], rng: np.random.Generator, count: int) -> list[str]:
    parts = []
    for name in names:
        side = as_action(name)[1]
        facts = {"tempo": str(rng.choice(["slow", "normal", "quick"])), "size": "normal", "count": 2}
        parts.append((name, facts | ({"side": side} if side else {})))
    return write_captions(parts, rng, count)


def test_plain_captions_name_their_actions():
    """The oracle: the grammar writes a sentence of known actions, and reading it gives these actions again."""
    rng = np.random.default_rng(0)
    for name in ACTIONS:
        assert named_actions(sentences_of((name,), rng, 1)[0]) == [as_action(name)]
    names = list(ACTIONS)
    for _ in range(400):
        pair = tuple(str(name) for name in rng.choice(names, 2, replace=False))
        sentence = sentences_of(pair, rng, 1)[0]
        assert named_actions(sentence) == [as_action(name) for name in pair], sentence


def test_most_sentences_of_the_grammar_name_their_actions(monkeypatch):
    """All but errors of typing, some nouns ("a toe touch"), and sides that are unsaid or said behind the phrase."""
    monkeypatch.setattr(sayings, "SHARE", 0.0)  # whole sentences name no action
    rng = np.random.default_rng(0)
    families, sides = [], []
    for name in (*ACTIONS, *ACTIONS):
        for sentence in sentences_of((name,), rng, 12)[1:]:
            said = named_actions(sentence)
            families.append([family for family, _ in said] == [as_action(name)[0]])
            if families[-1] and as_action(name)[1]:
                sides.append(said[0][1])
                assert said[0] in (as_action(name), (as_action(name)[0], "")), sentence
    assert np.mean(families) > 0.95 and np.mean([side != "" for side in sides]) > 0.78


def test_no_two_actions_share_a_phrase():
    """Each entry of the table would otherwise name the action that came last."""
    owners: dict[str, set] = {}
    for name in PHRASES:
        for phrase in family_phrases(name):
            owners.setdefault(phrase.replace("{the}", "the"), set()).add(name)
    assert max(map(len, owners.values())) == 1 and len(phrase_table()) > 10_000


@for_each(
    "sentence, wanted",
    [
        ("A PERSON WAVES THE LEFT HAND.", [("wave", "left")]),
        ("he kneels on his right knee and stands up", [("kneel_and_rise", "right")]),
        ("a person walks in a clockwise circle", [("walk_circle", "right")]),
        ("lifts the right leg and balances", [("balance", "left")]),
        ("someone picks something up", [("pick_up_both", "")]),
        ("a person walks forward slowly then claps three times", [("walk_forward", ""), ("clap", "")]),
        ("nothing that the data has", []),
        ("", []),
    ],
)
def test_named_actions(sentence, wanted):
    assert named_actions(sentence) == wanted


def test_a_clip_is_known_by_its_id():
    for index in (3, 8, 21):
        clip = generate_clip(index, 5)
        shown = performed_actions(clip_name(index, 5))
        assert shown == [as_action(name) for name in clip.actions]
        assert named_actions(clip.captions[0]) == shown
        # the mirror image does with the other hand what its captions say
        mirrored = performed_actions("M" + clip_name(index, 5))
        assert named_actions(mirror_caption(clip.captions[0])) == mirrored
    pair = make_pair(4, 5)
    for recipe in (pair.source, pair.target):
        assert performed_actions(recipe.id) == [as_action(step.action) for step in recipe.steps]
    assert performed_actions("000021") is None and performed_actions("p00_12_more") is None


def test_scores_by_hand():
    shown = [[("wave", "left")], [("wave", "left")], [("clap", "")], [("clap", ""), ("kick", "right")], [("run", "")]]
    sentences = [
        "a person waves the left hand",
        "a person waves the right hand",  # the family, not the side
        "a person claps then bows",  # one too many
        "a person kicks with the right leg then claps",  # not in this order
        "a person",
    ]
    scores = naming_scores(sentences, shown)
    assert scores["family_named"].tolist() == [1, 1, 0, 0, 0]
    assert scores["action_named"].tolist() == [1, 0, 0, 0, 0]
    assert scores["one_named"].tolist() == [1, 0, 1, 1, 0]
    assert scores["side_named"].tolist()[:2] == [1, 0] and all(map(math.isnan, scores["side_named"][2:]))
    assert naming_scores([], [])["action_named"].shape == (0,)
    with pytest.raises(ValueError):
        naming_scores(["one"], [])
