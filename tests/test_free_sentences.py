"""The frozen free sentences: complete, unique, known names only, and the sides that the words name."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from motiongpt.body.skeletons import SIDES
from motiongpt.procedural.actions import ACTIONS

FILE = Path(__file__).parents[1] / "benchmarks" / "free_sentences.json"
RECORDS = json.loads(FILE.read_text(encoding="utf-8"))
CATEGORIES = {
    "paraphrase": 38, "side": 20, "count": 18, "sequence": 18, "three": 8, "together": 12, "manner": 14, "mood": 14,
    "degrees": 8, "request": 12, "typo": 10, "distractor": 10, "negation": 8, "unsupported": 6, "other language": 4,
}  # fmt: skip
KEYS = {"actions", "together", "count", "degrees", "tempo", "size", "distance", "mood", "not", "refused"}
NO_SIDE = r"\bright (after|away|now)\b"  # "right" that is no side


def wanted(want: dict) -> list[str]:
    """Every action name of a want, with its stars, those that must not show left out."""
    return [name for step in (*want.get("actions", ()), *want.get("together", ())) for name in step]


def sides_of_names(names: list[str]) -> set[str]:
    return {side for side in SIDES for name in names if name.endswith(f"_{side}")}


def sides_in_words(sentence: str) -> set[str]:
    words = re.sub(NO_SIDE, "", sentence.lower())
    return {side for side in SIDES if re.search(rf"\b{side}(wards|ward)?\b", words)}


def test_two_hundred_sentences_in_their_categories():
    assert Counter(record["category"] for record in RECORDS) == CATEGORIES
    assert len(RECORDS) == 200
    for key in ("id", "sentence"):
        assert len({record[key].lower() for record in RECORDS}) == len(RECORDS), key


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["id"])
def test_a_want_names_what_the_dataset_knows(record):
    assert set(record) == {"id", "sentence", "category", "want"}
    want = record["want"]
    assert set(want) <= KEYS and set(want) & {"actions", "together", "refused"}
    for name in (*wanted(want), *want.get("not", ())):
        meant = [name.replace("*", side) for side in SIDES] if name.endswith("_*") else [name]
        assert set(meant) <= set(ACTIONS), name


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["id"])
def test_sides_in_the_words_are_the_sides_wanted(record):
    said, want = sides_in_words(record["sentence"]), record["want"]
    if record["category"] == "negation":
        assert said == sides_of_names(want.get("not", [])), "the side that is named is the one that must not come"
    elif record["category"] != "other language":
        assert said == sides_of_names(wanted(want))
