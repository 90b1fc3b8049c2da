"""Two-bone limbs: which joints they are, and inverse kinematics against forward kinematics and closed forms."""

import numpy as np
import pytest
from cases import for_each

from motiongpt.body.limbs import FOLD, STRETCH, Limb, bend, limbs, longest, moved_with, triangle
from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON, MYOSKELETON_26

UP = np.array([0.0, 1.0, 0.0])


def random_limbs(n, seed=0):
    """Starts, middles and ends (n, 3) of limbs with bones of 0.2 to 0.5 m."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(n, 3))
    bones = rng.normal(size=(2, n, 3))
    bones *= rng.uniform(0.2, 0.5, (2, n, 1)) / np.linalg.norm(bones, axis=-1, keepdims=True)
    return start, start + bones[0], start + bones[0] + bones[1]


def length(v):
    return np.linalg.norm(v, axis=-1)


@for_each(
    "skeleton, end, names",
    [
        (HUMANML3D, "left_wrist", "left_shoulder left_elbow left_wrist"),
        (HUMANML3D, "right_ankle", "right_hip right_knee right_ankle"),
        (MYOSKELETON, "left_ankle", "left_hip left_knee left_ankle"),
        (MYOSKELETON_26, "lunate_r", "humerus_r ulna_r lunate_r"),
        (MYOSKELETON_26, "foot_l", "femur_l tibia_l foot_l"),
        (KIT, "LW", "LS LE LW"),
        (KIT, "RA", "RH RK RA"),
    ],
)
def test_limbs_are_found_by_the_name_of_their_end(skeleton, end, names):
    found = limbs(skeleton)
    assert len(found) == 4
    assert found[end] == Limb(*(skeleton.joints.index(name) for name in names.split()))


def test_a_foot_moves_with_its_ankle():
    assert moved_with(HUMANML3D, HUMANML3D.index("left_ankle")) == [7, 10]
    assert moved_with(MYOSKELETON, MYOSKELETON.index("left_wrist")) == [20, 24]
    assert moved_with(HUMANML3D, HUMANML3D.index("spine3"))[:3] == [9, 12, 13]


def test_the_triangle_of_three_four_five():
    along, across = triangle(np.array(3.0), np.array(4.0), np.array(5.0))
    np.testing.assert_allclose([along, across], [9 / 5, 12 / 5])


def test_a_limb_reaches_every_point_in_its_range_and_keeps_its_bones():
    start, middle, end = random_limbs(2000)
    rng = np.random.default_rng(1)
    upper, lower = length(middle - start), length(end - middle)
    aim = rng.normal(size=(2000, 3))
    least, most = np.abs(upper - lower) + FOLD, STRETCH * (upper + lower)
    distance = least + rng.uniform(size=2000) * (most - least)
    target = start + aim * (distance / length(aim))[:, None]
    new_middle, new_end = bend(start, middle, end, target, UP)
    # 1e-9: rounding of float64 is magnified where a limb is nearly straight
    np.testing.assert_allclose(new_end, target, atol=1e-9)
    np.testing.assert_allclose(length(new_middle - start), upper, atol=1e-9)
    np.testing.assert_allclose(length(new_end - new_middle), lower, atol=1e-9)


def test_a_limb_that_stays_does_not_move():
    start, middle, end = random_limbs(500)
    new_middle, new_end = bend(start, middle, end, end, UP)
    np.testing.assert_allclose(new_middle, middle, atol=1e-6)  # the square root doubles the lost digits
    np.testing.assert_allclose(new_end, end, atol=1e-12)


def test_out_of_reach_is_the_nearest_point():
    start, middle, end = random_limbs(500)
    rng = np.random.default_rng(2)
    target = start + 5 * rng.normal(size=(500, 3))
    reach = longest(start, middle, end)
    far = length(target - start) > reach
    assert far.sum() > 400
    _, new_end = bend(start, middle, end, target, UP)
    nearest = start + (target - start) / length(target - start)[:, None] * reach[:, None]
    np.testing.assert_allclose(new_end[far], nearest[far], atol=1e-9)


def test_the_limb_turns_with_its_line_and_keeps_its_plane():
    """A target in the plane of the limb leaves the middle joint in that plane, on its side."""
    start, middle, end = np.zeros(3), np.array([0.1, -0.3, 0.0]), np.array([0.0, -0.6, 0.0])
    new_middle, _ = bend(start, middle, end, np.array([0.3, -0.4, 0.0]), np.array([0.0, 0.0, 1.0]))
    # the hint, across the plane, counts for a centimetre beside the ten by which the limb is bent
    assert abs(new_middle[2]) < 0.03 and np.cross([0.3, -0.4, 0.0], new_middle)[2] > 0


def test_a_straight_limb_bends_where_the_hint_points():
    middle, end = np.array([0.0, -0.4, 0.0]), np.array([0.0, -0.8, 0.0])
    new_middle, _ = bend(np.zeros(3), middle, end, np.array([0.0, -0.6, 0.0]), np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(new_middle, [0.0, -0.3, np.sqrt(0.4**2 - 0.3**2)], atol=1e-6)
    # nothing says where, but the bones stay what they are
    new_middle, new_end = bend(np.zeros(3), middle, end, np.array([0.0, -0.6, 0.0]), np.array([0.0, -1.0, 1e-12]))
    assert np.isfinite(new_middle).all() and length(new_end - new_middle) == pytest.approx(0.4, abs=1e-6)


def test_inverse_kinematics_turns_with_the_room():
    start, middle, end = random_limbs(200)
    target = end + 0.2 * np.random.default_rng(3).normal(size=(200, 3))
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))  # no mirror image
    plain = bend(start, middle, end, target, UP)
    there = bend(*(points @ turn.T for points in (start, middle, end, target)), UP @ turn.T)
    for a, b in zip(plain, there, strict=True):
        np.testing.assert_allclose(a @ turn.T, b, atol=2e-5)  # the last word for a straight limb is an axis of the room
