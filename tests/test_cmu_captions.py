"""`data/cmu_captions.json`: whole, apart by trial, in plain captions that the motion model's data know."""

import re
from itertools import product
from pathlib import Path

import pytest

from motiongpt.body.skeletons import SIDES
from motiongpt.data.mirror import mirror_caption
from motiongpt.data.motions import SPLITS
from motiongpt.data.prepare.caption_table import read_captions, read_credit
from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.sentences import verb_phrase

FILE = Path(__file__).parents[1] / "data" / "cmu_captions.json"
REAL_ONLY = {"dances salsa", "dances ballet", "dances an Indian dance"}  # clauses that the grammar does not have


@pytest.fixture(scope="module")
def table():
    return read_captions(FILE)


def sides(text):
    return {side for side in SIDES if re.search(rf"\b{side}", text)}


def test_the_file_is_whole(table):
    assert len(table) > 700 and "mocap.cs.cmu.edu" in read_credit(FILE)
    trials = {name: row for name, row in table.items() if row.trial}
    assert len(trials) > 600
    for name, row in table.items():
        assert 1 <= len(row.captions) <= 5 and row.split in SPLITS, name
        texts = [caption.text for caption in row.captions]
        assert len(set(texts)) == len(texts) and all(text == text.strip() and len(text) < 160 for text in texts), name
    for name, row in trials.items():
        assert re.fullmatch(r"\d\d+_\d\d", row.trial) and 1.0 <= row.end - row.start <= 10.0, name


def test_a_trial_is_in_one_split(table):
    split_of = {}
    for row in table.values():
        if row.trial:
            assert split_of.setdefault(row.trial, row.split) == row.split, row.trial


def test_plain_captions_are_the_grammars(table):
    clauses = set(REAL_ONLY)
    for action, tempo, count in product(ACTIONS, ("slow", "normal", "quick"), (None, 2, 3, 4)):
        side = next(({"side": side} for side in SIDES if action.endswith(f"_{side}")), {})
        clauses.add(verb_phrase(action, side | {"tempo": tempo} | ({"count": count} if count else {}), None))
    plain = {name: row.plain for name, row in table.items() if row.plain}
    assert len(plain) > 200
    for name, text in plain.items():
        assert set(text.removeprefix("a person ").split(" then ")) <= clauses, (name, text)
        # what is said in the plain caption is said in a caption too
        assert sides(text) <= sides(" ".join(caption.text for caption in table[name].captions)), name


def test_mirrored_captions_change_sides_only(table):
    for row in table.values():
        for caption in row.captions:
            swapped = mirror_caption(caption.text)
            assert mirror_caption(swapped) == caption.text
            assert sides(swapped) == {{"left": "right", "right": "left"}[side] for side in sides(caption.text)}
