"""The conditions on motions of known actions: each recognises its own action and no other."""

import json
import re
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cases import for_each

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.mirror import mirror_joints
from motiongpt.data.spelling import fold
from motiongpt.data.tokens import load_tokens
from motiongpt.faithfulness.conditions import CHECKS, INCLUDED
from motiongpt.faithfulness.fresh import FRESH_SEED, fresh_clips
from motiongpt.faithfulness.judge import does, pass_matrix, performs
from motiongpt.faithfulness.measures import Measures, longest, moving_mean, runs, strokes, swings
from motiongpt.faithfulness.rows import NAMED, PAIRS
from motiongpt.faithfulness.wants import plain_want, read_sentences
from motiongpt.procedural.actions import ACTIONS
from motiongpt.procedural.clips import make_clip
from motiongpt.procedural.performer import STYLES, draw_stance

ROOT = Path(__file__).resolve().parents[1]
# words of the frozen sentences that name no action: the model may never have met them
STOP_WORDS = set("there who that which he she first after before one a an the and then is with".split())


@pytest.fixture(scope="module")
def clips():
    """Ten motions of every action that training never saw, in all styles and tempos. The report takes more."""
    return {name: fresh_clips((name,), 10) for name in CHECKS}


def confusions(matrix, least: float = 0.05) -> list[tuple[str, str, float]]:
    """(condition, action, share) of each action that passes another one's condition too often, unless `INCLUDED`."""
    return [
        (name, action, share)
        for name, row in matrix.items()
        for action, share in row.items()
        if action != name and share > least and (name, action) not in INCLUDED
    ]


def other_side(name: str) -> str:
    if name.endswith("_left"):
        return name.removesuffix("left") + "right"
    return name.removesuffix("right") + "left" if name.endswith("_right") else name


def test_every_action_has_a_condition_that_says_itself():
    assert set(CHECKS) == set(ACTIONS)
    for name, check in CHECKS.items():
        stated = getattr(check, "func", check).__doc__
        assert stated and len(stated) > 30, f"{name} does not say its condition"


@pytest.mark.slow
def test_conditions_recognise_their_own_action_and_no_other(clips):
    matrix = pass_matrix(clips)
    own = {name: matrix[name][name] for name in CHECKS}
    assert min(own.values()) >= 0.99, {name: share for name, share in own.items() if share < 0.99}
    assert confusions(matrix, 0.05) == []


@pytest.mark.slow
def test_every_inclusion_is_real(clips):
    """An exception that no clip needs would only hide a confusion."""
    some = {action: clips[action] for _, action in INCLUDED}
    some["yoga"] = fresh_clips(("yoga",), 30)  # each shows one of several poses
    matrix = pass_matrix(some)
    assert all(matrix[name][action] > 0 for name, action in INCLUDED)


@pytest.mark.slow
def test_a_looser_condition_would_be_caught(clips, monkeypatch):
    some = {name: clips[name] for name in ("wave_left", "nod")}
    assert confusions(pass_matrix(some)) == []
    monkeypatch.setitem(CHECKS, "nod", lambda m: True)
    assert confusions(pass_matrix(some)) == [("nod", "wave_left", 1.0)]


@pytest.mark.slow
def test_the_mirrored_motion_is_the_other_side(clips):
    for name, several in clips.items():
        for joints in several[:4]:
            mirrored = mirror_joints(joints, HUMANML3D)
            assert performs(other_side(name), mirrored), name
            assert other_side(name) == name or not performs(name, mirrored), name


@pytest.mark.slow
def test_facing_and_place_do_not_matter(clips):
    c, s = np.cos(2.0), np.sin(2.0)
    turned = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    for name, several in clips.items():
        for joints in several[:2]:
            assert performs(name, joints @ turned.T + np.array([3.0, 0.0, -5.0])), name


def t_pose() -> np.ndarray:
    """(22, 3): the rest pose with the arms sideways."""
    joints = np.zeros((22, 3))
    for j, parent in enumerate(HUMANML3D.parents[1:], 1):
        offset = np.array(HUMANML3D.offsets[j])
        if HUMANML3D.joints[j].endswith(("shoulder", "elbow", "wrist")):
            offset = np.array([-offset[1] if HUMANML3D.joints[j].startswith("left") else offset[1], 0, 0])
        joints[j] = joints[parent] + offset
    return joints - np.array([0, joints[:, 1].min(), 0])


@pytest.mark.slow
def test_nothing_is_not_an_action(clips):
    rng = np.random.default_rng(0)
    stand = np.repeat(clips["walk_forward"][0][:1], 80, axis=0)
    pose = np.repeat(t_pose()[None], 80, axis=0)
    shaking = pose + rng.normal(0, 0.02, pose.shape)
    scattered = rng.normal(0, 0.3, pose.shape)
    fakes = {"stand": stand, "pose": pose, "shaking": shaking, "scattered": scattered}
    for axis, way in enumerate(("sideways", "upward", "ahead")):  # as on ice, like a balloon
        for sign in (1, -1):
            fakes[f"gliding {sign} {way}"] = stand + np.linspace(0, 2.0 * sign, 80)[:, None, None] * np.eye(3)[axis]
    for what, joints in fakes.items():
        shown = [name for name in CHECKS if performs(name, joints)]
        assert shown == (["stand_still"] if what in ("stand", "pose") else []), what


def broken(joints: np.ndarray) -> dict[str, np.ndarray]:
    """The same motion, by what is no human body."""
    rng, index = np.random.default_rng(0), HUMANML3D.index
    torso = [index(name) for name in ("spine1", "spine2", "spine3", "neck")]
    knees = [index("left_knee"), index("right_knee")]
    left = [j for j, name in enumerate(HUMANML3D.joints) if name.startswith("left")]
    fakes = {what: np.array(joints, np.float64) for what in ("torso", "teleported", "head", "knees", "torn", "lost")}
    fakes["torso"][:, torso] += rng.normal(0, 0.3, (len(joints), len(torso), 3))
    fakes["teleported"][::7] += [0.5, 0, 0]
    fakes["head"][:, index("head")] = joints[:, index("left_foot")]
    fakes["knees"][:, knees] = joints[:, knees[::-1]]
    fakes["torn"][:, left] += [0.3, 0, 0]
    fakes["lost"][5, index("head")] = np.nan
    return fakes | {"floating": joints + np.array([0, 1.0, 0]), "buried": joints - np.array([0, 1.0, 0])}


@pytest.mark.slow
def test_a_broken_body_shows_nothing(clips):
    for name, several in clips.items():
        for what, joints in broken(several[0]).items():
            assert not performs(name, joints), (name, what)
        # a walk in a circle faces every way, and so do hips in a warrior's step: a body stretched along one axis is not
        # always too wide there
        if not name.startswith(("walk_circle", "warrior_pose", "yoga")):
            assert not performs(name, several[0] * np.array([1.3, 1, 1])), name
    first, second = PAIRS[0]
    pair = fresh_clips((first, second), 1)[0]
    assert not any(does((first, second), joints) for joints in broken(pair).values())
    assert pass_matrix({"nod": [broken(clips["nod"][0])["floating"]]})["nod"]["nod"] == 0


def test_a_statue_on_a_turntable_does_not_turn():
    for name, degrees in (("turn_left", 90), ("turn_right", -90), ("turn_around", 180)):
        a = np.radians(np.linspace(0, degrees, 60))
        turn = np.zeros((60, 3, 3))
        turn[:, 0, 0] = turn[:, 2, 2] = np.cos(a)
        turn[:, 0, 2], turn[:, 2, 0], turn[:, 1, 1] = np.sin(a), -np.sin(a), 1
        assert not performs(name, np.einsum("fij,kj->fki", turn, t_pose())), name


REVERSED = {"walk_forward": "walk_backward", "walk_backward": "walk_forward", "sit_down": "stand_up"}
REVERSED |= {"stand_up": "sit_down", "turn_left": "turn_right", "walk_sideways_left": "walk_sideways_right"}
ONE_WAY = ("run", "jump_forward", "kneel_left", "throw_left", "throw_right", "walk_circle_left")


@pytest.mark.slow
def test_a_motion_played_backward_is_another_one(clips):
    for name, becomes in REVERSED.items():
        for joints in clips[name]:
            assert performs(becomes, joints[::-1]) and not performs(name, joints[::-1]), name
    for name in ONE_WAY:
        assert not any(performs(name, joints[::-1]) for joints in clips[name]), name


@pytest.mark.slow
def test_half_of_a_way_is_not_the_action(clips):
    """Somebody who stops before the seat has not sat down; a turn that stops early is none."""
    for name in ("sit_down", "kneel_left", "turn_left", "turn_around", "walk_circle_right"):
        for joints in clips[name]:
            assert not performs(name, joints[: round(0.3 * len(joints))]), name


@pytest.mark.slow
def test_two_actions_in_their_order_only():
    for first, second in PAIRS:
        for joints in fresh_clips((first, second), 5):
            assert does((first, second), joints), (first, second)
            assert not does((second, first), joints), (second, first)


@pytest.mark.slow
def test_one_action_is_not_two(clips):
    for first, second in PAIRS:
        assert not any(does((first, second), joints) for joints in clips[first][:3] + clips[second][:3])


def test_an_unknown_action_and_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="no condition for 'fly'"):
        performs("fly", np.zeros((40, 22, 3)))
    with pytest.raises(ValueError, match=r"\(F, 22, 3\)"):
        performs("run", np.zeros((40, 21, 3)))
    assert not performs("nod", np.zeros((3, 22, 3)))  # too short for anything


def test_fresh_clips_depend_on_their_seed_alone():
    rng = np.random.default_rng([1, zlib.crc32(b"nod"), 0])
    stance = draw_stance(rng)
    again = make_clip(("nod",), rng, STYLES[0], ("slow",), sizes=("small",), stance=stance)
    np.testing.assert_array_equal(fresh_clips(("nod",), 2, 1)[0], again.joints)
    assert not np.array_equal(fresh_clips(("nod",), 1, FRESH_SEED)[0][:40], again.joints[:40])


def test_fresh_clips_of_the_impossible_are_refused():
    with pytest.raises(ValueError, match="no clips of stand_up fit: .*one size only"):
        fresh_clips(("stand_up",), 1, sizes=("large",))


# The measures.


def test_counting_turning_points():
    t = np.linspace(0, 4 * np.pi, 200)
    assert swings(np.sin(t), 0.5) == 5  # up, down, up, down, up to zero
    assert swings(0.2 * np.sin(t), 0.5) == 0
    assert swings(np.linspace(0, 1, 50), 0.5) == 1
    assert swings(np.sin(t) + 0.05 * np.sin(40 * t), 0.5) == 5
    assert runs([0, 1, 1, 0, 1]) == [(1, 3), (4, 5)] and longest(np.array([0, 1, 1, 0, 1])) == 2 and runs([]) == []


def test_strokes_lie_end_to_end():
    t = np.linspace(0, 4 * np.pi, 201)
    found = strokes(np.sin(t), 0.5)
    assert found[0] == (0, 25) and found[1] == (25, 75)  # frames of the first maximum and minimum
    assert all(end == start for (_, end), (start, _) in pairwise(found))
    assert strokes(np.zeros(9), 0.1) == []


def test_smoothing_is_a_mean_with_repeated_ends():
    np.testing.assert_allclose(moving_mean(np.array([0.0, 3.0, 6.0, 0.0]), 3), [1, 3, 3, 2])
    np.testing.assert_allclose(moving_mean(np.full((6, 2), 7.0), 4), 7.0)


def test_measures_of_a_pose_by_hand():
    """A T-pose turns left by 90 degrees while it goes 2 m to +x, which is its left at first."""
    F = 41
    angle = np.linspace(0, np.pi / 2, F)
    turn = np.zeros((F, 3, 3))
    turn[:, 0, 0] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 0, 2], turn[:, 2, 0], turn[:, 1, 1] = np.sin(angle), -np.sin(angle), 1
    joints = np.einsum("fij,kj->fki", turn, t_pose()) + np.linspace(0, 2, F)[:, None, None] * np.array([1.0, 0, 0])
    m = Measures(joints)
    # means over four frames at both ends are 3 / 40 less than the whole
    np.testing.assert_allclose([m.turned, m.travel[0], m.travel[2]], [90 * 37 / 40, 1.85, 0.0], atol=0.12)
    assert abs(m.low_at_start) < 0.03 and m.elbows.max() < 1 and abs(m.lean).max() < 5
    # wrists straight out from the shoulders, to the outside on both sides
    np.testing.assert_allclose(m.hands[:, 0], np.tile([0.2568 + 0.2660, 0, 0], (F, 1)), atol=1e-3)
    np.testing.assert_allclose(m.hands[:, 1], np.tile([0.2631 + 0.2699, 0, 0], (F, 1)), atol=1e-3)


# The frozen sentences.


@pytest.fixture(scope="module")
def sentences():
    """[(sentence, actions)]; each wants plain actions in order, nothing more."""
    path = ROOT / "benchmarks" / "demo_sentences.json"
    found = []
    for one in read_sentences(json.loads(path.read_text(encoding="utf-8")), path.name):
        actions = tuple(name for step in one.want.steps for name in step.actions)
        assert one.want == plain_want(actions), one.sentence
        found.append((one.sentence, actions))
    return found


@pytest.fixture(scope="module")
def captions():
    """Every caption the shipped checkpoint was trained or chosen on."""
    return {fold(entry.text) for entry in load_tokens(ROOT / "checkpoints" / "demo" / "tokens.json.gz")}


@pytest.mark.slow
def test_the_frozen_sentences_are_many_different_and_new(sentences, captions):
    texts = [text for text, _ in sentences]
    assert len(texts) == len(set(texts)) == 72
    # a grammar that writes 100,000 captions writes one of them by chance; the report leaves it out
    assert len(set(texts) & captions) <= 1
    assert sum(len(actions) == 2 for _, actions in sentences) == 14


@pytest.mark.slow
def test_every_word_of_theirs_was_read_in_training(sentences, captions):
    known = {word for text in captions for word in re.findall(r"[a-z'-]+", text)} | STOP_WORDS
    for text, _ in sentences:
        assert set(re.findall(r"[a-z'-]+", text)) <= known, text


def test_they_ask_for_every_named_action_and_both_sides_alike(sentences):
    asked = [action for _, actions in sentences for action in actions]
    assert set(NAMED) <= set(asked) <= set(CHECKS)
    assert sum(name.endswith("_left") for name in asked) == sum(name.endswith("_right") for name in asked)


@for_each(
    "records",
    [{}, ["a"], [{"sentence": "x"}], [{"sentence": "x", "actions": ["fly"]}], [{"sentence": 1, "actions": []}]],
)
def test_a_wrong_list_of_sentences_is_refused(records):
    with pytest.raises(ValueError, match="list.json"):
        read_sentences(records, "list.json")
