"""What a sentence wants is read strictly; a motion is judged by all of it: counts, manners, moods, two at once."""

import collections
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from cases import for_each

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.mirror import mirror_joints
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.counts import COUNTERS, UNSAID, count_of, family_and_side, right_count
from motiongpt.faithfulness.fresh import fresh_clips, performances
from motiongpt.faithfulness.judge import does, does_together, failings
from motiongpt.faithfulness.locomotion_checks import DEGREES
from motiongpt.faithfulness.manners import CURVES, has_curve, stroke_seconds
from motiongpt.faithfulness.measures import Measures
from motiongpt.faithfulness.mood_checks import LOOKS
from motiongpt.faithfulness.plain_requests import count_parts, fresh_parts, manner_parts, part_of, want_of
from motiongpt.faithfulness.quality import end_speed, restarts
from motiongpt.faithfulness.together_checks import BASES, OVERLAYS
from motiongpt.faithfulness.wants import PER_STEP, Step, Want, plain_want, read_sentences, read_want
from motiongpt.procedural import clips, layers, phrases, sentences
from motiongpt.procedural.moods import MOODS
from motiongpt.procedural.performer import SIZES, TEMPOS
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.sentences import family

ROOT = Path(__file__).resolve().parents[1]
ONE = {"id": "x", "sentence": "a man kicks", "category": "side", "want": {"actions": ["kick_*"]}}


# 1) The format.


def test_a_want_is_read_with_its_short_forms():
    want = read_want({"actions": ["kick_*", ["jump", "hop_left"]], "count": [2, None], "tempo": "slow", "not": ["bow"]})
    assert want == Want(
        (Step(("kick_left", "kick_right"), count=2, tempo="slow"), Step(("jump", "hop_left"), tempo="slow")),
        absent=("bow",),
    )
    assert want.name() == "kick_left|kick_right then jump|hop_left"
    both = read_want({"together": ["walk_forward", ["wave_*", "wave_both"]], "mood": "sad"})
    assert both.together and both.steps[1].actions == ("wave_left", "wave_right", "wave_both") and both.mood == "sad"
    assert read_want({"refused": True}) == Want(refused=True)


def test_the_old_form_stays_readable():
    old = [{"sentence": "walks and sits", "actions": ["walk_forward", "sit_down"]}]
    (one,) = read_sentences(old, "old.json")
    assert one.want == plain_want(("walk_forward", "sit_down")) and one.category == "walk_forward then sit_down"


def test_the_frozen_free_sentences_can_all_be_judged():
    path = ROOT / "benchmarks" / "free_sentences.json"
    sentences = read_sentences(json.loads(path.read_text(encoding="utf-8")), path.name)
    assert len(sentences) == 200


@for_each(
    "want, said",
    [
        ({"actions": ["fly"]}, "no condition for fly"),
        ({"actions": ["jump"], "often": 2}, "unknown often"),
        ({"actions": ["jump"], "count": "two"}, "count is one of"),
        ({"actions": ["jump", "bow"], "count": [1]}, "one per step"),
        ({"actions": ["jump"], "degrees": 90}, "jump has no degrees"),
        ({"actions": ["sit_down"], "size": "large"}, "sit_down has no size"),
        ({"actions": ["stand_still"], "tempo": "slow"}, "stand_still has no tempo"),
        ({"actions": ["walk_circle_*"], "count": 2}, "walk_circle_left has no count"),
        ({"together": ["wave_left", "walk_forward"]}, "wave_left has no condition here"),
        ({"together": ["walk_forward"]}, "together has two steps"),
        ({"actions": ["jump"], "mood": "green"}, "mood is one of"),
        ({"actions": ["jump"], "refused": False}, "refused is one of"),
        ({}, "needs actions"),
        ({"mood": "sad"}, "needs actions"),
    ],
)
def test_a_want_that_nobody_can_judge_is_refused(want, said):
    with pytest.raises(ValueError, match=f"list.json, entry 1: .*{said}"):
        read_sentences([ONE, ONE | {"id": "y", "want": want}], "list.json")


def test_an_id_names_one_sentence():
    with pytest.raises(ValueError, match="every id once, but x"):
        read_sentences([ONE, ONE], "list.json")


def test_tables_of_conditions_name_what_the_data_can_do():
    """Each is the second of a pair: one makes the motion, one recognises it."""
    assert set(BASES) == set(layers.BASES) and set(OVERLAYS) == set(layers.OVERLAYS)
    assert set(LOOKS) == set(MOODS)
    assert set(DEGREES) == set(clips.DEGREES) == set(sentences.ANGLES) == set(phrases.DEGREES["turn"])
    assert set(PER_STEP["tempo"]) == set(TEMPOS) - {"normal"} and set(PER_STEP["size"]) == set(SIZES) - {"normal"}
    assert {family_and_side(name)[0] for name in CHECKS} - set(CURVES) == {"stand_still", "yoga"}  # no tempo


def test_every_manner_of_every_family_is_asked_for():
    """A one-sided family on one side; both sides come about equally often."""
    groups = collections.defaultdict(list)
    for group, (action, _) in manner_parts():
        groups[group].append(action)
    for tempo in ("slow", "quick"):
        assert sorted(map(family, groups[tempo])) == sorted({family(name) for name in CHECKS if has_curve(name)})
    for size in ("small", "large"):
        assert sorted(map(family, groups[size])) == sorted(SIZED)
    left, right = (sum(name.endswith(side) for name in groups["slow"]) for side in ("_left", "_right"))
    assert abs(left - right) <= 4
    assert len(groups["sad"]) == len(groups["energetic"]) and len(groups["180 degrees"]) == 2


# 2) Judging.


def own(part, count: int, seed: int = 3):
    """Fresh motions of a part with what each has to show."""
    return [(want_of(done), joints) for done, joints in islice(fresh_parts(part, seed), count)]


@pytest.mark.slow
def test_every_count_is_found_and_no_other():
    for name in CHECKS:
        kind = family_and_side(name)[0]
        if kind in COUNTERS:  # captions say a count if the performance tells one
            told = "count" in next(performances((name,), 3)).performed[0].facts
            assert told == (kind not in UNSAID), name
    for _, part in list(count_parts())[::2]:  # each action once; what a clip really counts is in its facts
        for want, joints in own(part, 1):
            assert failings(want, joints) == [], part
            (step,) = want.steps
            other = Want((Step(step.actions, count=step.count + 3),))
            assert failings(other, joints) == ["count"], part


def test_a_count_of_gestures_may_be_one_off_from_four_on():
    assert right_count("clap", 5, 4) and right_count("nod", 3, 4) and not right_count("clap", 3, 2)
    assert not right_count("jump", 5, 4) and not right_count("clap", 6, 4) and right_count("kick_left", 2, 2)
    with pytest.raises(ValueError, match="walk_circle_left is not counted"):
        count_of("walk_circle_left", Measures(np.zeros((9, 22, 3))))


@pytest.mark.slow
def test_degrees_are_told_apart_and_so_are_sides():
    for degrees in DEGREES:
        for want, joints in own(part_of("turn_left", degrees=degrees), 3):
            found = {d for d in DEGREES if not failings(read_want({"actions": ["turn_left"], "degrees": d}), joints)}
            assert found == {degrees}, want
            assert failings(read_want({"actions": ["turn_right"], "degrees": degrees}), joints) == ["actions"]
            assert not failings(read_want({"actions": ["turn_*"], "degrees": degrees}), joints)


@pytest.mark.slow
def test_tempo_and_size_are_found_and_their_opposites_are_not():
    opposite = {"slow": "quick", "quick": "slow", "small": "large", "large": "small"}
    some = {"walk_forward", "jump", "kick", "bow", "wave", "squat"}
    right, wrong, tries = 0, 0, 0
    tried = set()
    for group, (action, facts) in manner_parts():
        if group not in opposite or family(action) not in some:
            continue
        tried.add(family(action))
        key = "tempo" if group in ("slow", "quick") else "size"
        for _, joints in own((action, facts), 2):
            tries += 1
            right += not failings(Want((Step((action,), **{key: group}),)), joints)
            wrong += not failings(Want((Step((action,), **{key: opposite[group]}),)), joints)
    assert tried == some
    assert right >= 0.95 * tries and wrong <= 0.01 * tries, (right, wrong, tries)


@pytest.mark.slow
def test_a_mood_is_told_from_none_and_from_its_opposite():
    pairs = {"sad": "proud", "old": "happy", "proud": "sad", "angry": "relaxed", "sneaky": "proud", "nervous": "sad"}
    for mood, other in pairs.items():
        for action in ("walk_forward", "wave_right"):
            for want, joints in own(part_of(action, mood=mood), 3):
                assert failings(want, joints) == [], (mood, action)
                assert failings(Want((Step((action,)),), mood=other), joints) == ["mood"], (mood, other)
    for joints in fresh_clips(("walk_forward",), 6, varied=False):
        assert failings(Want((Step(("walk_forward",)),), mood="proud"), joints) == ["mood"]


def test_a_tempo_that_is_asked_for_is_no_mood():
    """A happy person who is asked to walk slowly is not quick."""
    clip = next(performances(("walk_forward",), 3, tempos=("slow",), sizes=("normal",), mood="happy"))
    plain = Want((Step(("walk_forward",)),), mood="happy")
    assert failings(plain, clip.joints) == ["mood"]
    assert failings(Want((Step(("walk_forward",), tempo="slow"),), mood="happy"), clip.joints) == []


@pytest.mark.slow
def test_two_at_once_need_both_at_once():
    for base in ("walk_forward", "run", "jog_in_place"):
        for over in OVERLAYS:
            clip = next(performances((base,), 4, varied=False, over=(over,)))
            assert does_together(base, over, clip.joints), (base, over)
            others = [o for o in OVERLAYS if o != over and does_together(base, o, clip.joints)]
            assert len(others) <= 1, (base, over, others)
            swapped = {"left": "right", "right": "left"}
            if (side := over.rpartition("_")[2]) in swapped:
                mirrored = mirror_joints(clip.joints, HUMANML3D)
                assert not does_together(base, over, mirrored), (base, over, side)
    for first, second in (("wave_right", "walk_forward"), ("walk_forward", "wave_right")):
        (joints,) = fresh_clips((first, second), 1, varied=False)
        assert does((first, second), joints) and not does_together("walk_forward", "wave_right", joints)
    for base in BASES:
        for joints in fresh_clips((base,), 2, varied=False):
            assert not any(does_together(base, over, joints) for over in OVERLAYS), base


@pytest.mark.slow
def test_three_in_order():
    names = ("turn_left", "jump", "bow")
    (joints,) = fresh_clips(names, 1, varied=False)
    assert does(names, joints)
    for wrong in (("jump", "turn_left", "bow"), ("turn_left", "bow"), ("turn_left", "bow", "jump"), (*names, "nod")):
        assert not does(wrong, joints), wrong


@pytest.mark.slow
def test_what_must_not_show_is_found_in_a_part():
    (joints,) = fresh_clips(("walk_forward", "wave_left"), 1, varied=False)
    both = {"actions": ["walk_forward", "wave_left"]}
    assert failings(read_want(both), joints) == []
    assert failings(read_want(both | {"not": ["wave_left"]}), joints) == ["not"]
    assert failings(read_want(both | {"not": ["wave_right", "sit_down"]}), joints) == []
    clip = next(performances(("walk_forward",), 4, varied=False, over=("wave_left",)))
    walk = {"actions": ["walk_forward"], "not": ["wave_*", "wave_both"]}
    assert failings(read_want(walk), clip.joints) == ["not"]


def test_distance_is_the_way_over_the_ground():
    walks = fresh_clips(("walk_forward",), 12, varied=False)
    for joints in walks:
        far = float(np.ptp(joints[:, 0, 2]))
        for word, right in (("far", far > 5.3), ("short", far < 2.8)):
            lacks = failings(read_want({"actions": ["walk_forward"], "distance": word}), joints)
            if not 4.7 < far < 5.3 and not 2.8 < far < 3.2:
                assert lacks == ([] if right else ["distance"]), (word, far)


def test_no_motion_is_right_where_a_refusal_is():
    joints = fresh_clips(("jump",), 1)[0]
    assert failings(Want(refused=True), None) == [] and failings(Want(refused=True), joints) == ["refusal"]
    assert failings(plain_want(("jump",)), None) == ["answer"]
    near = read_want({"refused": True, "actions": ["jump"]})
    assert failings(near, joints) == [] and failings(near, None) == []
    assert failings(plain_want(("jump",)), joints * np.array([1, 1, 3])) == ["body"]


# 3) The measures under it.


def test_the_seconds_of_a_stroke_and_of_a_beat():
    t = np.arange(120) / 20.0
    wave = np.sin(2 * np.pi * t / 1.5)  # 1.5 s a wave
    assert stroke_seconds(wave, beats=True) == pytest.approx(1.5, abs=0.02)
    # a half wave of 0.75 s spends arccos(-0.7) - arccos(0.7) of pi on the middle of its way
    assert stroke_seconds(wave) == pytest.approx(0.75 * (np.arccos(-0.7) - np.arccos(0.7)) / np.pi, abs=0.02)
    held = np.concatenate([np.zeros(20), np.linspace(0, 1, 11), np.ones(50)])  # 0.5 s up, and a hold
    assert stroke_seconds(held) == pytest.approx(0.35, abs=0.01)
    assert np.isnan(stroke_seconds(np.zeros(30))) and np.isnan(stroke_seconds(held, beats=True))


def test_restarts_and_end_speed_of_a_made_up_way():
    speed = np.array([0.0] * 5 + [1.0] * 10 + [0.0] * 10 + [1.0] * 10 + [0.0] * 5)
    assert restarts(speed) == 1 and restarts(speed[:25]) == 0 and restarts(np.zeros(9)) == 0
    joints = np.zeros((30, 22, 3))
    joints[:, :, 2] = np.concatenate([np.zeros(20), np.arange(10) * 0.05])[:, None]
    assert end_speed(joints) == pytest.approx(1.0) and end_speed(joints[:20]) == 0
