"""Sides and numbers that a sentence says outright, against what it was read as."""

import pytest
import torch
from cases import for_each

from motiongpt.generation.reading import Beam, Reader
from motiongpt.generation.said import CONTRADICTED, contradictions, counts, numbers, sides


@for_each(
    "sentence, said",
    [
        ("he kicks with the left leg", {"left"}),
        ("leftwards, then to the right", {"left", "right"}),
        ("walks counterclockwise", {"left"}),
        ("circles clockwise", {"right"}),
        ("counter-clockwise", {"left"}),
        ("spins anti clockwise", {"left"}),
        ("jump right now, all right?", set()),
        ("a bright idea", set()),
        ("waves", set()),
    ],
)
def test_sides(sentence, said):
    assert sides(sentence) == said


@for_each(
    "sentence, said",
    [
        ("five star jumps and you are done", {5}),
        ("kicks 3x", {3}),
        ("12 claps", {12}),
        ("thrice", {3}),
        ("half a dozen lunges, then a couple of nods", {6, 2}),
        ("bows once", set()),
        ("turns 90 degrees", set()),
        ("pivots by 45°", set()),
        ("a forty-five degree turn", set()),
        ("half of version 2.5", set()),
        ("spins three hundred and sixty degrees", set()),
        ("a three-quarter turn", set()),
        ("waves for 3 seconds", set()),
        ("do 5 - fast", {5}),
        ("walks", set()),
    ],
)
def test_numbers(sentence, said):
    assert numbers(sentence) == said


def test_counts_of_plain_captions():
    assert counts("a person nods twice then claps four times") == {2, 4}
    assert counts("a person turns 180 degrees to the left") == counts("a person bows once") == frozenset()


@for_each(
    "sentence, caption, found",
    [
        ("five star jumps", "a person does jumping jacks five times", 0),
        ("five star jumps", "a person does jumping jacks three times", 1),
        ("five star jumps", "a person does jumping jacks", 1),
        ("nods", "a person nods twice", 0),  # "nods" may be more than once
        ("kicks left", "a person kicks with the left leg", 0),
        ("kicks left", "a person kicks with the right leg", 1),
        ("kicks left", "a person kicks with the right leg twice", 1),
        ("kicks left twice", "a person kicks with the right leg", 2),
        ("kicks left", "a person walks forward", 1),
        ("kicks", "a person kicks with the right leg", 0),
        ("shakes the head left and right", "a person shakes the head", 0),
        ("looks left, then right", "a person looks to the left then looks to the left", 0),  # order is the model's
    ],
)
def test_contradictions(sentence, caption, found):
    assert contradictions(sentence, caption) == found


@for_each("lead, wins", [(CONTRADICTED - 0.1, False), (CONTRADICTED + 0.1, True)])
def test_a_reading_that_contradicts_must_be_far_likelier(lead, wins):
    """The certainty stays that of the action: both do the same."""
    texts = {1: "a person squats", 2: "a person squats four times"}
    reader = object.__new__(Reader)
    reader.run = type("Run", (), {})()
    reader.run.vocab = type("Vocab", (), {})()
    reader.run.vocab.text_tokenizer = type("Words", (), {"decode": staticmethod(lambda ids: texts[ids[0]])})()
    beams = [Beam((1,), -0.1, {}), Beam((2,), -0.1 - lead, {})]
    both = torch.tensor([beam.score for beam in beams]).exp().sum()
    read = reader._reading("4 squats", beams)
    assert (read.text == texts[1]) == wins and read.others == ()
    assert read.certainty == pytest.approx(min(1.0, float(both)))
    assert reader._reading("", beams).text == texts[1]  # a motion says nothing outright
