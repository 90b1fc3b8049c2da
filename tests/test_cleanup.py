"""Clean joints: what a decoder does wrong goes away, what is right stays, and what a motion shows is kept."""

import itertools

import numpy as np
import pytest
import torch
from cases import at_most, for_each
from test_jumps import unpacked

from motiongpt.body.feet import legs, slide_speeds
from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26, Skeleton
from motiongpt.cleanup import bones
from motiongpt.cleanup.bones import own_lengths, rigid, skeleton_lengths, stretch, without_jitter
from motiongpt.cleanup.feet import PRINT, footprints, hold, place_feet
from motiongpt.cleanup.joints import SMOOTHING, CleanReport, Faults, clean_joints, is_decoded
from motiongpt.faithfulness.fresh import fresh_clips
from motiongpt.faithfulness.judge import performs
from motiongpt.features.humanml3d import canonicalise
from motiongpt.metrics.joints import floor_penetration, foot_skate, jerk, mpjpe
from motiongpt.procedural.clips import generate_clip

FPS = 20.0
LENGTHS = skeleton_lengths(HUMANML3D)
FEET = [HUMANML3D.index(f"{side}_{part}") for side in ("left", "right") for part in ("ankle", "foot")]
LEGS = FEET + [HUMANML3D.index(f"{side}_knee") for side in ("left", "right")]
ROUNDING = 1e-5  # metres: float32 numbers of a few metres are 2e-7 apart, and each joint is a sum of six bones


def as_decoded(joints, seed=0, noise=0.004, sway=0.03):
    """A motion as a decoder would write it: every joint trembles by 4 mm, and the whole body sways by 3 cm in 2 s."""
    rng = np.random.default_rng(seed)
    moved = joints + rng.normal(0, noise, joints.shape)
    moved[..., 0] += sway * np.sin(np.pi * np.arange(len(joints)) / FPS)[:, None]
    return moved.astype(np.float32)


def numbers(joints):
    tensor = torch.from_numpy(np.asarray(joints, np.float64))
    toes = [HUMANML3D.feet_left[1], HUMANML3D.feet_right[1]]
    measured = jerk(tensor, FPS), floor_penetration(tensor), foot_skate(tensor, toes, FPS).double()
    return [float(values.mean()) for values in measured]


# 1) Jitter and bones.


@for_each("frequency", [0.5, 2.0, 5.0, 10.0])
def test_a_wave_is_damped_as_the_formula_says(frequency):
    w = 2 * np.pi * frequency / FPS
    wave = np.cos(w * np.arange(200))[:, None]
    kept = 1 / (1 + SMOOTHING * (2 - 2 * np.cos(w)) ** 3)
    inside = slice(40, -40)  # the formula is that of an endless wave; the ends count for less than 1e-6 after 30 frames
    assert np.allclose(without_jitter(wave, SMOOTHING)[inside], kept * wave[inside], atol=1e-6)


def test_steady_movements_stay():
    t = np.linspace(-1, 1, 50)[:, None]
    curves = np.concatenate([np.ones_like(t), t, t * t, 3 * t * t - t], axis=1)
    assert np.allclose(without_jitter(curves, SMOOTHING), curves, atol=1e-9)


def test_a_long_motion_is_smoothed_as_in_one_piece(monkeypatch):
    values = np.random.default_rng(0).normal(size=(bones.WINDOW + 100, 2, 3))
    pieces = without_jitter(values, SMOOTHING)
    monkeypatch.setattr(bones, "WINDOW", len(values))
    assert np.abs(pieces - without_jitter(values, SMOOTHING)).max() < 1e-6


def test_rigid_bones_keep_root_and_directions():
    joints = as_decoded(generate_clip(1, 5).joints).astype(np.float64)
    joints[3, 15] = joints[3, HUMANML3D.parents[15]]  # a head without a direction
    out = rigid(joints, LENGTHS, HUMANML3D)
    assert np.allclose(out[:, 0], joints[:, 0]) and stretch(out, LENGTHS, HUMANML3D).max() < 1e-12
    before, after = (bones.bones_of(x, HUMANML3D) for x in (joints, out))
    assert np.allclose(np.cross(before, after), 0, atol=1e-9) and (before * after).sum(-1).min() >= 0
    assert np.allclose(after[3, 14], HUMANML3D.offsets[15])


# 2) Feet.


def test_footprints_of_a_walk_are_where_its_feet_are_planted():
    agree = total = 0
    for index in range(12):
        clip = generate_clip(index, 3)
        for side, leg in enumerate(legs(HUMANML3D)):
            side = 0 if "left" in HUMANML3D.joints[leg.toe] else 1
            found = footprints(clip.joints[:, leg.toe].astype(np.float64), FPS) > 0
            agree, total = agree + (found == clip.planted[:, side]).sum(), total + len(found)
    assert agree / total > 0.93  # the first frame off the floor may count as on it


def test_a_toe_is_held_and_a_slow_step_is_not():
    F = 40
    creeping = np.zeros((F, 3))
    creeping[:, 0] = np.linspace(0, 0.05, F)  # 2.5 cm/s: a slide
    shift = hold(creeping, np.ones(F, int), floor=0.0)
    assert np.ptp((creeping + shift)[:, 0]) < 1e-12 and np.abs(shift).max() < PRINT
    stepping = creeping * 10  # 25 cm/s: a step without lifting the foot
    assert not hold(stepping, np.ones(F, int), floor=0.0).any()
    assert not hold(creeping, np.zeros(F, int), floor=0.0).any()


def test_between_footprints_the_correction_waits_until_the_toe_is_high():
    height = 0.2 * np.sin(np.pi * np.clip((np.arange(40) - 10) / 20, 0, 1))
    toe = np.stack([np.where(np.arange(40) > 20, 1.0, 0.0), height, np.zeros(40)], axis=1)
    toe[:10, 0] -= np.linspace(-0.02, 0.02, 10)
    toe[31:, 0] -= np.linspace(-0.02, 0.02, 9)
    prints = np.repeat([1, 0, 2], [10, 21, 9])
    step = np.diff(hold(toe, prints, 0.0)[:, 0])
    low, high = height[9:31] < 0.05, height[9:31] > 0.15
    assert np.abs(step[9:31][low]).max() < 0.2 * np.abs(step[9:31][high]).mean()


def test_placed_feet_move_legs_alone_and_keep_bones():
    joints = generate_clip(4, 5).joints.astype(np.float64)
    toes = [joints[:, leg.toe] + [0.02, 0.01, -0.01] for leg in legs(HUMANML3D)]
    out = place_feet(joints, toes, None, HUMANML3D, floor=0.0)
    still = [joint for joint in range(22) if joint not in LEGS]
    assert np.array_equal(out[:, still], joints[:, still])
    assert stretch(out, LENGTHS, HUMANML3D).max() < 1e-6
    reached = [np.linalg.norm(out[:, leg.toe] - toe, axis=-1) for leg, toe in zip(legs(HUMANML3D), toes, strict=True)]
    assert np.percentile(reached, 90) < 1e-9  # the others are legs too straight to follow


def test_feet_below_the_floor_are_lifted_unless_the_floor_is_elsewhere():
    joints = generate_clip(4, 5).joints
    sunk = joints - np.float32([0, 0.03, 0])
    lifted, report = clean_joints(sunk, FPS, HUMANML3D)
    assert lifted[:, FEET, 1].min() > -1e-6 and report.before.penetration > 0.02 and report.after.penetration < 1e-6
    assert np.array_equal(np.delete(lifted, LEGS, axis=1), np.delete(sunk, LEGS, axis=1))
    far = joints - np.float32([0, 0.9, 0])
    assert np.abs(clean_joints(far, FPS, HUMANML3D)[0] - far).max() < ROUNDING
    assert np.abs(clean_joints(far, FPS, HUMANML3D, floor=-0.9)[0] - far).max() < ROUNDING


# 3) Whole motions.


def test_a_trembling_swaying_motion_becomes_a_clean_one():
    for index in range(8):
        true = generate_clip(index, 7).joints
        given = as_decoded(true, index)
        clean, report = clean_joints(given, FPS, HUMANML3D)
        (true_jerk, *_), (was_jerk, was_deep, was_skate), (now_jerk, now_deep, now_skate) = map(
            numbers, (true, given, clean)
        )
        assert true_jerk < now_jerk < 0.75 * was_jerk
        assert stretch(clean.astype(np.float64), LENGTHS, HUMANML3D).max() < 1e-5
        assert was_deep > 0.001 and now_deep < 1e-4 and now_skate <= was_skate + 0.02
        assert report.before.slide > 0.1 and report.after.slide < 0.5 * report.before.slide
        errors = [float(mpjpe(*map(torch.from_numpy, (x.astype(np.float32), true))).mean()) for x in (given, clean)]
        assert errors[1] < errors[0] + 0.003  # feet that stand under a swaying body are off by that, seen from the root
        assert report.root_move < 0.03
        assert report.after.jerk == pytest.approx(now_jerk, rel=1e-3) and report.after.stretch < 1e-5


@pytest.mark.parametrize("action", ["nod", "shake_head", "wave_left", "clap", "walk_circle_right", "kneel_left", "run"])
def test_what_a_motion_shows_is_kept(action):
    """Held feet and smoothing take nothing away, even from a motion that needs neither."""
    for joints in fresh_clips((action,), 4):
        assert performs(action, clean_joints(joints, FPS, HUMANML3D, decoded=True)[0])


def test_what_is_right_stays():
    for index in range(30):
        joints = generate_clip(index, 9).joints
        clean, report = clean_joints(joints, FPS, HUMANML3D)
        assert np.abs(clean - joints).max() < ROUNDING and report.before.stretch < 1e-5
        assert not is_decoded(joints.astype(np.float64), HUMANML3D)


def test_cleaning_twice_is_cleaning_once():
    for index in range(10):
        once, _ = clean_joints(as_decoded(generate_clip(index, 9).joints), FPS, HUMANML3D)
        assert np.abs(clean_joints(once, FPS, HUMANML3D)[0] - once).max() < ROUNDING


def test_the_input_stays_and_the_output_repeats():
    given = as_decoded(generate_clip(2, 9).joints)
    copy = given.copy()
    first, second = (clean_joints(given, FPS, HUMANML3D) for _ in range(2))
    assert np.array_equal(given, copy) and np.array_equal(first[0], second[0]) and first[1] == second[1]
    assert first[0].dtype == np.float32 and clean_joints(given.astype(np.float64), FPS, HUMANML3D)[0].dtype == "float64"


def test_another_body_keeps_its_own_bones_if_asked():
    tall = 1.2 * generate_clip(3, 9).joints
    kept, _ = clean_joints(tall, FPS, HUMANML3D, lengths=own_lengths(tall, HUMANML3D))
    assert np.abs(kept - tall).max() < ROUNDING
    fitted, report = clean_joints(tall, FPS, HUMANML3D)
    assert stretch(fitted.astype(np.float64), LENGTHS, HUMANML3D).max() < 1e-5 and report.before.stretch > 0.05


@pytest.mark.slow
def test_motion_capture_stays(shared_data):
    """Every tenth clip of CMU: on the skeleton's body, and on the actor's own."""
    for _, joints in itertools.islice(unpacked(shared_data / "cmu"), 0, None, 10):
        on_skeleton = canonicalise(joints, HUMANML3D)
        assert np.abs(clean_joints(on_skeleton, FPS, HUMANML3D)[0] - on_skeleton).max() < ROUNDING
        own = own_lengths(joints.astype(np.float64), HUMANML3D)
        lowest = min(0.0, float(joints[..., 1].min()))
        # the recording's own bones are uneven by a millimetre or two
        kept, _ = clean_joints(joints, FPS, HUMANML3D, own, floor=lowest, decoded=False)
        assert np.median(np.abs(kept - joints)) < 1e-3


# 4) Other skeletons, short motions, wrong input.

STICK = Skeleton.from_json(
    '{"name": "stick", "joints": ["root", "left_hip", "right_hip", "left_foot", "right_foot", "left_shoulder", '
    '"right_shoulder"], "parents": [-1, 0, 0, 1, 2, 0, 0], "offsets": [[0,0,0],[1,0,0],[-1,0,0],[0,-1,0],[0,-1,0],'
    '[1,1,0],[-1,1,0]], "feet_left": [1, 3], "feet_right": [2, 4], "face": [2, 1, 6, 5], "leg": [1, 3]}'
)


@for_each("skeleton", [HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26, STICK])
def test_any_skeleton(skeleton):
    rng = np.random.default_rng(0)
    rest = np.array(skeleton.paths) @ np.array(skeleton.offsets[1:])
    joints = rest - [0, rest[:, 1].min(), 0] + rng.normal(0, 0.005, (60, skeleton.num_joints, 3))
    clean, report = clean_joints(joints, FPS, skeleton)
    lengths = skeleton_lengths(skeleton) if skeleton.has_lengths else own_lengths(joints, skeleton)
    assert stretch(clean, lengths, skeleton).max() < 1e-4 and report.after.jerk < report.before.jerk
    assert (report.before.slide > 0) == bool(legs(skeleton)) == (skeleton is not STICK)


@for_each("frames", [0, 1, 2, 3, 4, 5])
def test_short_motions(frames):
    given = as_decoded(generate_clip(2, 9).joints[:frames])
    clean, report = clean_joints(given, FPS, HUMANML3D)
    assert (
        clean.shape == given.shape
        and np.isfinite(clean).all()
        and stretch(clean, LENGTHS, HUMANML3D).max(initial=0) < 1e-5
    )
    assert all(np.isfinite(list(vars(faults).values())).all() for faults in (report.before, report.after))


@for_each(
    "joints, lengths, words",
    [
        (np.zeros((5, 21, 3)), None, r"joints must be finite and \(F, 22, 3\) for humanml3d-22, got \(5, 21, 3\)"),
        (np.full((5, 22, 3), np.nan), None, "finite"),
        (np.zeros((5, 22, 3)), np.ones(22), r"lengths must be 21 numbers .* got shape \(22,\)"),
        (np.zeros((5, 22, 3)), np.full(21, -1.0), "from 0 up"),
    ],
)
def test_wrong_input_is_refused(joints, lengths, words):
    with pytest.raises(ValueError, match=words):
        clean_joints(joints, FPS, HUMANML3D, lengths)


def test_the_report_is_one_line():
    report = CleanReport(Faults(117.4, 0.0911, 0.095, 0.0018), Faults(70.6, 0.0, 0.004, 0.0), 0.0077)
    assert report.line() == (
        "jerk 117 -> 71 m/s^3, bone stretch 9.1 -> 0.0 cm, foot slide 9.5 -> 0.4 cm/s, below the floor 1.8 -> 0.0 mm, "
        "root moved by up to 0.8 cm"
    )


def test_slides_count_within_footprints_only():
    joints = np.zeros((4, 22, 3))
    joints[:, FEET, 0] = np.array([0, 0.01, 0.5, 0.52])[:, None]
    speeds = slide_speeds(joints, [np.array([1, 1, 0, 0]), np.array([0, 0, 2, 2])], HUMANML3D, FPS)
    assert np.allclose(speeds, [0.2, 0.4])


def test_many_motions_are_cleaned_in_seconds():
    given = [as_decoded(np.resize(generate_clip(index, 7).joints, (150, 22, 3)), index) for index in range(40)]
    with at_most(4, "cleaning 40 motions of 150 frames"):
        for joints in given:
            clean_joints(joints, FPS, HUMANML3D)
