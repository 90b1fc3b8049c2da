"""Rotations: scipy confirms the convention, and closed forms hold where a formula would divide by zero."""

import math

import pytest
import torch
from cases import for_each, seeded

from motiongpt.body import rotations as R


@pytest.fixture
def quaternions():
    q = torch.randn(500, 4, dtype=torch.float64, generator=seeded(1))
    return q / q.norm(dim=-1, keepdim=True)


def scipy_rotation(q):
    scipy = pytest.importorskip("scipy.spatial.transform")
    return scipy.Rotation.from_quat(q.numpy()[..., [1, 2, 3, 0]])  # scipy writes x y z w


def turn(q, v):
    return (R.quaternion_to_matrix(q) @ v[..., None])[..., 0]


def assert_same(a, b, atol=1e-12):  # float64 arithmetic on numbers of size one
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=0, atol=atol)


def assert_same_rotation(a, b, atol=1e-12):
    assert_same((a * b).sum(-1).abs(), torch.ones(a.shape[:-1], dtype=a.dtype), atol)


def test_against_scipy(quaternions):
    q, other = quaternions, quaternions.flip(0)
    v = torch.randn(500, 3, dtype=torch.float64, generator=seeded(2))
    rotation = scipy_rotation(q)
    assert_same(R.quaternion_to_matrix(q), rotation.as_matrix())
    assert_same(turn(q, v), rotation.apply(v.numpy()))
    assert_same_rotation(R.axis_angle_to_quaternion(torch.as_tensor(rotation.as_rotvec())), q)
    product = (rotation * scipy_rotation(other)).as_matrix()
    assert_same(R.quaternion_to_matrix(R.quaternion_multiply(q, other)), product)
    assert_same(R.quaternion_to_matrix(R.quaternion_conjugate(q)), rotation.inv().as_matrix())


def test_axis_angle_and_back(quaternions):
    """Against scipy, then at zero, at tiny angles, at half turns and with the other sign of a quaternion."""
    assert_same(R.quaternion_to_axis_angle(quaternions), scipy_rotation(quaternions).as_rotvec())
    assert_same(R.quaternion_to_axis_angle(-quaternions), R.quaternion_to_axis_angle(quaternions))
    axes = torch.eye(3, dtype=torch.float64)
    for angle in (0.0, 1e-12, 1e-6, 1.0, math.pi - 1e-6, math.pi):
        assert_same(R.quaternion_to_axis_angle(R.axis_angle_to_quaternion(angle * axes)), angle * axes)


def test_6d_is_the_first_two_columns(quaternions):
    matrix = R.quaternion_to_matrix(quaternions)
    assert_same(R.matrix_to_rotation_6d(matrix), torch.cat((matrix[..., 0], matrix[..., 1]), -1))  # columns, not rows


def test_half_turns_and_zero():
    half_turns = torch.eye(4, dtype=torch.float64)[1:]  # about x, y, z: w is zero
    assert_same(R.axis_angle_to_quaternion(math.pi * torch.eye(3, dtype=torch.float64)), half_turns)
    identity = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    q = R.axis_angle_to_quaternion(zero)
    assert_same(q, identity)
    q[1:].sum().backward()
    assert_same(zero.grad, torch.full((3,), 0.5, dtype=torch.float64))  # the quaternion holds half of the angle


@pytest.mark.parametrize("angle", [1e-3, 1e-6, 1e-9])
def test_small_angles_keep_their_digits(angle):
    v = torch.tensor([0.6 * angle, 0.0, 0.8 * angle])  # float32: 1 - cos is zero here
    torch.testing.assert_close(2 * R.axis_angle_to_quaternion(v)[1:], v, rtol=1e-6, atol=0)  # sin x = x to x^2 / 6


def test_between_takes_u_to_v_the_short_way(quaternions):
    u, v = 3 * quaternions[:, :3], quaternions.flip(0)[:, 1:]
    q = R.quaternion_between(u, v)
    turned = turn(q, u)
    assert_same(turned / turned.norm(dim=-1, keepdim=True), v / v.norm(dim=-1, keepdim=True))
    cosine = torch.nn.functional.cosine_similarity(u, v, dim=-1)
    assert_same(2 * q[:, 0] ** 2 - 1, cosine)  # cos of the turn = cos between the two: no detour
    assert_same(R.quaternion_between(u, u)[:, 1:], torch.zeros(500, 3, dtype=torch.float64))


@for_each("dtype, atol", [(torch.float32, 2e-6), (torch.float64, 1e-14)])  # a few roundings
@for_each("off", [0.0, 1e-12, 1e-7, 1e-4])
def test_between_opposite_directions(dtype, atol, off):
    u = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, -1], [0.6, -0.8, 0]], dtype=dtype)
    v = -u + off * torch.tensor([0.0, 0.3, 0.7], dtype=dtype)
    q = R.quaternion_between(u, v)
    assert_same(q.norm(dim=-1), torch.ones(4, dtype=dtype), atol)
    assert_same(turn(q, u), v / v.norm(dim=-1, keepdim=True), atol)


def test_between_zero_bone_is_identity():
    q = R.quaternion_between(torch.tensor([0.0, 1.0, 0.0]), torch.zeros(3))
    assert q.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_rotate_y_goes_from_z_to_x(quaternions):
    quarter = torch.tensor(math.pi / 2, dtype=torch.float64)
    assert_same(R.rotate_y(torch.tensor([0.0, 5.0, 1.0]).double(), quarter), torch.tensor([1.0, 5.0, 0.0]).double())
    angles, v = quaternions[:, 0] * 9, quaternions[:, 1:]
    axis_angle = angles[:, None] * torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert_same(R.rotate_y(v, angles), turn(R.axis_angle_to_quaternion(axis_angle), v))


def test_gradients(quaternions):
    q = quaternions[:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda q: R.matrix_to_rotation_6d(R.quaternion_to_matrix(q / q.norm(dim=-1, keepdim=True))), q
    )


def test_angles_between_are_scipys():
    scipy = pytest.importorskip("scipy.spatial.transform")
    a, b = 2 * torch.randn(2, 50, 3, dtype=torch.float64, generator=seeded(4))
    one, two = (scipy.Rotation.from_rotvec(x.numpy()) for x in (a, b))
    assert_same(R.angle_between(a, b), torch.from_numpy((one.inv() * two).magnitude()))
    assert R.angle_between(a, a).max() < 1e-12
