"""Paths and targets: tolerances, what stays as it was, and that nothing depends on where the room is."""

import math

import numpy as np
import pytest
from cases import for_each
from test_constraints import ABOVE, FPS, bones, cyclic, elsewhere, moved, random_path, random_reach, walk

from motiongpt.body.feet import legs
from motiongpt.body.limbs import limbs
from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON
from motiongpt.constraints.apply import apply_constraints
from motiongpt.constraints.feet import contacts, keep_footprints
from motiongpt.constraints.ground import ground, headings, largest_steps, turned
from motiongpt.constraints.path import TOLERANCE as PATH_TOLERANCE
from motiongpt.constraints.path import follow_path, path_errors
from motiongpt.constraints.reach import LEAN, WINDOW, reach_targets
from motiongpt.constraints.reach import TOLERANCE as REACH_TOLERANCE
from motiongpt.constraints.spec import Constraints, Reach, Waypoint
from motiongpt.procedural.clips import generate_clip, make_clip

# 1) Paths.


def test_waypoints_are_met_and_steps_stay_steps():
    rng = np.random.default_rng(0)
    for seed in range(12):
        joints = walk(seed)
        path = random_path(joints, rng)
        followed = follow_path(joints, FPS, HUMANML3D, path)
        assert followed.error == path_errors(followed.joints, FPS, path).max() <= PATH_TOLERANCE
        # nobody is pushed, and no joint steps farther than longer strides and the turn explain
        assert followed.glide < 0.05
        steps, own = largest_steps(followed.joints), np.percentile(largest_steps(joints), 99)
        assert steps.max() < own * max(1.0, followed.stride) + 0.05
        # 1e-6: joints come in float32
        np.testing.assert_allclose(bones(followed.joints), bones(joints), atol=1e-6)
        before, carried, after = followed.slide
        assert after < carried / 2 and (followed.stride > 1.15 or after < before + 0.02), followed[1:]


def test_the_body_above_the_hips_is_turned_and_nothing_else():
    joints = walk()
    after = follow_path(joints, FPS, HUMANML3D, random_path(joints, np.random.default_rng(1))).joints
    np.testing.assert_allclose(after[:, ABOVE, 1], joints[:, ABOVE, 1], atol=1e-12)
    turn = headings(after, HUMANML3D) - headings(joints, HUMANML3D)
    local = [x - np.where([True, False, True], x[:, :1], 0.0) for x in (after, joints.astype(float))]
    np.testing.assert_allclose(local[0][:, ABOVE], turned(local[1], turn[:, None])[:, ABOVE], atol=1e-9)


def test_a_path_that_is_followed_already_changes_nothing():
    joints = walk()
    path = [Waypoint(f / FPS, *joints[f, 0, [0, 2]].astype(float)) for f in (0, 30, len(joints) - 1)]
    after = follow_path(joints, FPS, HUMANML3D, path).joints
    np.testing.assert_allclose(after, joints, atol=1e-3)


def test_two_waypoints_turn_and_stretch_the_whole_way():
    """Closed form: one straight way to a straight way of another length and direction is one product."""
    joints = walk()
    end = ground(joints[-1, 0].astype(float)) * 1.1 * np.exp(0.5j)
    path = [Waypoint(0, 0, 0), Waypoint((len(joints) - 1) / FPS, end.imag, end.real)]
    followed = follow_path(joints, FPS, HUMANML3D, path)
    want = ground(joints[:, 0].astype(float)) * 1.1 * np.exp(0.5j)
    # strides may differ a little along the way, as the smoothest curve also stays near 1
    np.testing.assert_allclose(ground(followed.joints[:, 0]), want, atol=0.05)
    assert followed.turn == pytest.approx(0.5, abs=0.02) and followed.stride == pytest.approx(1.1, abs=0.05)


def test_a_path_elsewhere_in_the_room_gives_the_motion_elsewhere():
    joints = walk(3)
    asked = Constraints(path=random_path(joints, np.random.default_rng(2)))
    here = follow_path(joints, FPS, HUMANML3D, asked.path).joints
    there = follow_path(moved(joints, 2.0, 1 - 3j), FPS, HUMANML3D, elsewhere(asked, 2.0, 1 - 3j).path).joints
    np.testing.assert_allclose(there, moved(here, 2.0, 1 - 3j), atol=1e-5)  # a straight leg takes an axis of the room


@for_each("times", [(1.0,), (0.0,), (0.5, 1.01, 1.99), tuple(np.linspace(0, 3, 61))])
def test_waypoints_at_any_times(times):
    joints = walk()
    path = [Waypoint(t, 0.3 * math.sin(t), 0.6 * t) for t in times]
    followed = follow_path(joints, FPS, HUMANML3D, path)
    assert np.isfinite(followed.joints).all() and followed.error < PATH_TOLERANCE
    if times[0]:
        np.testing.assert_allclose(followed.joints[0, 0], joints[0, 0], atol=1e-12)  # it starts where it did


def test_somebody_who_stands_glides_and_the_report_says_so():
    joints = make_clip(("wave_left",), np.random.default_rng(0)).joints
    out, report = apply_constraints(joints, FPS, HUMANML3D, Constraints(path=(Waypoint(0, 0, 0), Waypoint(2, 0, 1))))
    assert np.isfinite(out).all() and any("the root glides by up to" in line for line in report)
    assert path_errors(out, FPS, [Waypoint(2, 0, 1)]).max() < PATH_TOLERANCE


def test_contacts_are_the_planted_feet():
    clip = generate_clip(3)
    for side, leg in enumerate(sorted(legs(HUMANML3D), key=lambda leg: leg.toe)):  # left, right
        found = contacts(clip.joints[:, leg.toe], FPS) > 0
        assert (found | ~clip.planted[:, side]).mean() > 0.97  # every planted frame counts


def test_a_motion_turned_as_a_whole_has_its_footprints_already():
    joints = generate_clip(3).joints.astype(np.float64)
    joints += np.linspace(0, 1, len(joints))[:, None, None] * [0.4, 0.0, 0.8]  # feet slide: a footprint has a shape
    on_ground = [contacts(joints[:, leg.toe], FPS) for leg in legs(HUMANML3D)]
    assert all(prints.any() for prints in on_ground)
    there = moved(joints, 1.0, 2 - 1j)
    after = keep_footprints(there, joints, np.ones(len(joints)), on_ground, HUMANML3D)
    np.testing.assert_allclose(after, there, atol=1e-6)


@for_each("skeleton", [HUMANML3D, MYOSKELETON, KIT])
def test_both_legs_of_every_skeleton_have_a_foot(skeleton):
    assert [leg.toe in leg.foot and leg.limb.end in leg.foot for leg in legs(skeleton)] == [True, True]


# 2) Targets.


def test_targets_in_reach_are_met_and_nothing_else_moves():
    rng = np.random.default_rng(0)
    clips = [generate_clip(i).joints for i in range(10)]
    for case in range(80):
        joints, name = clips[case % 10], list(limbs(HUMANML3D))[case % 4]
        frame, reach = random_reach(joints, rng, name)
        out, report = apply_constraints(joints, FPS, HUMANML3D, Constraints(reach=(reach,)))
        limb = limbs(HUMANML3D)[name]
        assert np.linalg.norm(out[frame, limb.end] - reach.target) < 1e-5 < REACH_TOLERANCE, (case, report)
        np.testing.assert_allclose(bones(out), bones(joints), atol=1e-5)
        # bits of other limbs and of frames outside the window
        changed = out != joints
        frames = np.flatnonzero(changed.any(axis=(1, 2)))
        assert len(frames) == 0 or np.abs(frames - frame).max() < WINDOW * FPS
        foot = {7: [10], 8: [11]}.get(limb.end, [])
        assert set(np.flatnonzero(changed.any(axis=(0, 2)))) <= {limb.middle, limb.end, *foot}


def test_a_reach_is_smooth():
    """The end moves by the missing way along a minimum-jerk curve, whose speed is at most 1.875 ways per window."""
    joints = make_clip(("wave_left",), np.random.default_rng(0)).joints
    wrist = HUMANML3D.index("right_wrist")
    target = joints[30, wrist] + [0.1, 0.3, 0.25]
    out, _ = reach_targets(joints, FPS, HUMANML3D, [Reach("right_wrist", 1.5, tuple(map(float, target)))])
    added = np.linalg.norm(np.diff(out[:, wrist] - joints[:, wrist], axis=0), axis=-1)
    assert added.max() <= 1.875 * np.linalg.norm([0.1, 0.3, 0.25]) / (WINDOW * FPS) + 1e-6
    elbow = np.linalg.norm(np.diff(out[:, HUMANML3D.index("right_elbow")], axis=0), axis=-1)
    assert elbow.max() < 0.1  # no snap: 2 m/s


def test_several_targets_of_one_hand_and_of_both():
    joints = make_clip(("wave_left",), np.random.default_rng(0)).joints
    reaches = [
        Reach("left_wrist", 1.0, (0.4, 1.3, 0.3)),
        Reach("left_wrist", 1.2, (0.3, 1.1, 0.25)),
        Reach("right_wrist", 1.2, (-0.4, 1.5, 0.2)),
        Reach("right_ankle", 2.0, (-0.2, 0.3, 0.3)),
    ]
    out, reached = reach_targets(joints, FPS, HUMANML3D, reaches)
    assert max(one.distance for one in reached) < 1e-9 and max(one.lean for one in reached) == 0.0
    with pytest.raises(ValueError, match="left_wrist has two targets in one frame"):
        reach_targets(joints, FPS, HUMANML3D, [Reach("left_wrist", t, (0.4, 1.3, 0.3)) for t in (1.0, 1.01)])


def test_a_little_out_of_reach_the_root_leans_and_the_feet_stay():
    joints = make_clip(("wave_left",), np.random.default_rng(0)).joints
    target = joints[30, HUMANML3D.index("left_shoulder")] + [0.2, -0.2, 0.6]
    reach = Reach("left_wrist", 1.5, tuple(map(float, target)))
    out, report = apply_constraints(joints, FPS, HUMANML3D, Constraints(reach=(reach,)))
    assert np.linalg.norm(out[30, HUMANML3D.index("left_wrist")] - target) < REACH_TOLERANCE
    lean = np.linalg.norm(out[30, 0] - joints[30, 0])
    assert 0.02 < lean < LEAN and f"the root moved by {100 * lean:.0f} cm" in report[0]
    feet = [7, 8, 10, 11]
    np.testing.assert_allclose(out[:, feet], joints[:, feet], atol=1e-6)
    np.testing.assert_allclose(bones(out), bones(joints), atol=1e-5)
    outside = np.abs(np.arange(len(out)) - 30) >= WINDOW * FPS
    np.testing.assert_array_equal(out[outside], joints[outside])


def test_far_out_of_reach_the_rest_is_reported():
    joints = make_clip(("wave_left",), np.random.default_rng(0)).joints
    out, report = apply_constraints(joints, FPS, HUMANML3D, Constraints(reach=(Reach("left_wrist", 1.5, (2, 1, 1)),)))
    left = np.linalg.norm(out[30, HUMANML3D.index("left_wrist")] - [2, 1, 1])
    assert (
        left > 1 and f"reach left_wrist at 1.5 s: {100 * left:.1f} cm away" in report[0] and "out of reach" in report[0]
    )
    np.testing.assert_allclose(bones(out), bones(joints), atol=1e-5)
    assert np.linalg.norm(out[30, 0] - joints[30, 0]) < LEAN + 1e-6


@for_each("frame", [2, 87])
def test_near_the_ends_of_a_loop_a_target_leaves_the_ends_alone(frame):
    joints = cyclic()[:90]
    wrist = HUMANML3D.index("left_wrist")
    target = tuple(joints[frame, wrist] + [0.1, 0.2, 0.1])
    out, reached = reach_targets(joints, FPS, HUMANML3D, [Reach("left_wrist", frame / FPS, target)], is_loop=True)
    assert reached[0].distance < REACH_TOLERANCE
    np.testing.assert_array_equal(out[0], joints[0])
    # three frames before the next cycle: two thirds of the way back, 21 % of a minimum-jerk step are left
    left = np.linalg.norm(out[-1, wrist] - joints[-1, wrist])
    assert left == pytest.approx(0.21 * np.linalg.norm([0.1, 0.2, 0.1]) if frame == 87 else 0.0, abs=0.001)


def test_with_a_path_a_target_out_of_reach_does_not_move_the_root_off_it():
    joints = walk()
    path = (Waypoint(0, 0, 0), Waypoint(2, 0, 1.5))
    asked = Constraints(path, (Reach("left_wrist", 2.0, (1.5, 1.0, 1.5)),))
    out, _ = apply_constraints(joints, FPS, HUMANML3D, asked)
    assert path_errors(out, FPS, path).max() < PATH_TOLERANCE


def test_a_target_elsewhere_in_the_room_gives_the_motion_elsewhere():
    joints = generate_clip(5).joints
    asked = Constraints(reach=(Reach("left_wrist", 1.0, (0.3, 1.4, 0.7)), Reach("right_ankle", 1.6, (-0.4, 0.5, 0.2))))
    here, _ = reach_targets(joints, FPS, HUMANML3D, asked.reach)
    there, _ = reach_targets(moved(joints, 2.0, 1 - 3j), FPS, HUMANML3D, elsewhere(asked, 2.0, 1 - 3j).reach)
    np.testing.assert_allclose(there, moved(here, 2.0, 1 - 3j), atol=1e-5)  # a straight limb takes an axis of the room
