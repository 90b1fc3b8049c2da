"""Whole sentences for one action: what people say when they mean it and do not name it.

    "boots the door in"  ->  kick

The grammar of `procedural/sentences.py` varies what stands around a verb; these vary everything else. They were written
one by one, and are true of their action at any tempo and in any mood.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from motiongpt.procedural.wordings.sides import side_fields

SHARE = 0.25  # of the captions of a clip whose first action may be called so


@cache
def sayings() -> dict[str, tuple[str, ...]]:
    """Family of actions -> its sentences, with fields {side}, {other} and {wise}."""
    table = json.loads(Path(__file__).with_name("sayings.json").read_text(encoding="utf-8"))
    return {name: tuple(texts) for name, texts in table.items()}


def draw_saying(family: str, facts: Mapping, usual_angle: int | None, rng: np.random.Generator) -> str:
    """A sentence for one action, for a share of the draws; "" for the others, and for one of unusual size or angle.

    `usual_angle`: the degrees that go without saying, for a family that turns.
    """
    unusual = facts.get("size", "normal") != "normal" or facts.get("degrees", usual_angle) != usual_angle
    if unusual or rng.random() >= SHARE:
        return ""
    texts = sayings()[family]
    return texts[int(rng.integers(len(texts)))].format(**side_fields(facts.get("side", "")))
