"""The frames that a model was not given: alignment, baselines and errors against closed forms."""

import math

import numpy as np
import pytest
import torch

from motiongpt.body.rotations import rotate_y
from motiongpt.evaluation.completion import (
    as_long_as,
    completion_errors,
    fit_ground,
    given_frames,
    ground_turn,
    hold_last_pose,
    interpolate_poses,
)
from motiongpt.tasks.table import end_codes, first_codes


def body(frames: int = 20, joints: int = 6) -> torch.Tensor:
    """Random joints (F, J, 3) that walk along z."""
    x = torch.randn(frames, joints, 3, dtype=torch.float64)
    x[..., 2] += torch.linspace(0, 3, frames, dtype=torch.float64)[:, None]
    return x


def test_given_frames_are_those_of_the_given_codes():
    mask = given_frames([0, 3], 4, 2)
    assert mask.tolist() == [True, True, False, False, False, False, True, True]
    # the shares of the tasks themselves: the first fifth, the first and last quarter
    rng = np.random.default_rng(0)
    assert given_frames(first_codes(10, rng), 10, 4).sum() == 8
    assert given_frames(end_codes(20, rng), 20, 4).tolist() == [True] * 20 + [False] * 40 + [True] * 20


def test_a_turned_and_moved_copy_is_put_back_exactly():
    target, given = body(), torch.arange(20) < 5
    for angle in (0.3, -2.8, math.pi - 1e-3):
        moved = rotate_y(target, torch.tensor(angle, dtype=torch.float64)) + torch.tensor([2.0, 0.0, -7.0])
        # float64: rounding only
        torch.testing.assert_close(fit_ground(moved, target, given), target, rtol=0, atol=1e-9)
        turn = ground_turn(target.flatten(0, 1), moved.flatten(0, 1))
        assert float(turn) == pytest.approx(angle, abs=1e-9)
    # heights are left alone, and only given frames decide
    raised = target + torch.tensor([0.0, 0.5, 0.0])
    torch.testing.assert_close(fit_ground(raised, target, given), raised, rtol=0, atol=1e-9)
    other = target.clone()
    other[5:] += 100.0
    torch.testing.assert_close(fit_ground(other, target, given)[:5], target[:5], rtol=0, atol=1e-9)


def test_the_fit_is_the_best_one():
    """No other turn and shift near it has a smaller squared distance over the given frames."""
    target, given = body(), torch.arange(20) < 7
    written = target + 0.3 * torch.randn_like(target)

    def cost(x: torch.Tensor) -> float:
        return float((x[given] - target[given]).square().sum())

    best = fit_ground(written, target, given)
    for _ in range(50):
        angle, shift = 0.05 * torch.randn(1).double(), 0.05 * torch.randn(3).double() * torch.tensor([1.0, 0.0, 1.0])
        assert cost(rotate_y(best, angle) + shift) > cost(best)


def test_points_above_each_other_have_no_direction():
    column = torch.tensor([[1.0, 0.0, 2.0], [1.0, 1.0, 2.0]])
    assert float(ground_turn(column, column + 1.0)) == 0.0


def test_lengths_are_made_equal():
    x = body(5)
    assert torch.equal(as_long_as(x, 3), x[:3]) and torch.equal(as_long_as(x, 5), x)
    held = as_long_as(x, 7)
    assert torch.equal(held[:5], x) and torch.equal(held[5], x[4]) and torch.equal(held[6], x[4])


def test_hold_last_pose():
    x = body(6)
    held = hold_last_pose(x, torch.tensor([True, True, False, False, False, False]))
    assert torch.equal(held, x[[0, 1, 1, 1, 1, 1]])
    assert torch.equal(hold_last_pose(x, torch.tensor([True, False, False, True, True, False])), x[[0, 0, 0, 3, 4, 4]])


def test_interpolation_of_an_even_motion_is_that_motion():
    """A rigid body that walks and turns evenly: 4 radians in all, 2.2 in the gap."""
    pose = torch.randn(6, 3, dtype=torch.float64)
    pose[0] = 0  # the root
    steps = torch.arange(21, dtype=torch.float64)
    path = steps[:, None] * torch.tensor([0.1, 0.01, -0.2], dtype=torch.float64)
    x = rotate_y(pose.expand(21, -1, -1), 0.2 * steps[:, None]) + path[:, None]
    given = (steps < 5) | (steps > 15)
    torch.testing.assert_close(interpolate_poses(x, given), x, rtol=0, atol=1e-9)
    assert not torch.allclose(hold_last_pose(x, given), x)


def test_interpolation_goes_evenly_and_keeps_what_is_given():
    x = body(9)
    given = torch.tensor([True, True, False, False, False, True, False, False, True])
    out = interpolate_poses(x, given)
    assert torch.equal(out[given], x[given])
    for before, after in ((1, 5), (5, 8)):
        root = out[before : after + 1, 0]
        torch.testing.assert_close(
            root.diff(dim=0), (x[after, 0] - x[before, 0]).expand(after - before, -1) / (after - before)
        )
    # turning half-way round, the body does not shrink to its axis
    wide = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]]]).expand(5, -1, -1).clone()
    wide[4] = rotate_y(wide[4], torch.tensor(math.pi - 0.01))
    middle = interpolate_poses(wide, torch.tensor([True, False, False, False, True]))[2]
    assert float((middle[1] - middle[2]).norm()) == pytest.approx(2.0, abs=1e-5)  # float32
    with pytest.raises(ValueError, match="first and the last frame"):
        interpolate_poses(x, torch.tensor([True] * 8 + [False]))


def test_errors_by_hand():
    target = torch.zeros(4, 4, 3)
    given = torch.tensor([True, False, False, True])
    joints = target.clone()
    joints[0] += 50.0  # given frames do not count
    joints[1] += torch.tensor([3.0, 0.0, 4.0])  # the whole body 5 m off
    joints[2, 1] = torch.tensor([0.0, 6.0, 0.0])
    found = completion_errors(joints, target, given)
    assert found == pytest.approx(
        {
            "ade": (10 + 6) / 2,
            "fde": 6.0,
            "ade_root": (0 + 6) / 2,
            "fde_root": 6.0,
            "mpjpe_mm": 1000 * (0 + 6 / 4) / 2,
            "global_mpjpe_mm": 1000 * (5 + 6 / 4) / 2,
        }
    )
    assert all(value == 0 for value in completion_errors(target, target, given).values())
