"""Rotations as quaternions, matrices, 6D and axis-angle: batched torch, any leading dimensions, differentiable.

One convention everywhere:

    quaternion  (..., 4)     w x y z, Hamilton product, unit length; q and -q are the same rotation
    matrix      (..., 3, 3)  acts on column vectors from the left: v' = R v, and R(a b) = R(a) R(b)
    6D          (..., 6)     first column of R, then second column (Zhou et al. 2019, "On the Continuity of Rotation
                             Representations"); some libraries take rows, which gives the inverse rotation
    axis-angle  (..., 3)     direction = axis, length = angle in radians, counter-clockwise seen from the axis tip

Right-handed, y up: a positive turn about y takes +z to +x, which is to the left of someone who faces +z.
"""

import math

import torch
from torch import Tensor


def quaternion_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product a b (..., 4): rotate by b first, then by a. Leading dimensions broadcast."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        dim=-1,
    )


def quaternion_conjugate(q: Tensor) -> Tensor:
    """The inverse rotation of a unit quaternion (..., 4)."""
    return torch.cat((q[..., :1], -q[..., 1:]), dim=-1)


def quaternion_between(u: Tensor, v: Tensor) -> Tensor:
    """The shortest rotation (..., 4) from the direction of u (..., 3) to that of v (..., 3).

    Opposite directions have no single shortest rotation; they get a half turn about an axis perpendicular to u, so
    the result is always finite. A zero v gives the identity; u must not be zero.
    """
    u, v = torch.broadcast_tensors(u, v)
    tiny = torch.finfo(u.dtype).tiny
    u = u / torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp_min(tiny)
    v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min(tiny)
    # 1 + cos written as |u + v|^2 / 2: this sum loses no digits when the two are nearly opposite
    w = (u + v).square().sum(-1, keepdim=True) / 2
    q = torch.cat((w, torch.linalg.cross(u, v)), dim=-1)  # length sqrt(2 (1 + cos)) for unit u and v
    length = torch.linalg.vector_norm(q, dim=-1, keepdim=True)

    # opposite directions: a half turn about any axis perpendicular to u, here u x (the coordinate axis farthest from u)
    opposite = length < 4 * torch.finfo(u.dtype).eps
    least = torch.zeros_like(u).scatter(-1, u.abs().argmin(-1, keepdim=True), 1.0)
    half_turn = torch.linalg.cross(u, least)
    half_turn = half_turn / torch.linalg.vector_norm(half_turn, dim=-1, keepdim=True).clamp_min(tiny)
    half_turn = torch.cat((torch.zeros_like(w), half_turn), dim=-1)
    return torch.where(opposite, half_turn, q / torch.where(opposite, 1.0, length))


def rotate_y(v: Tensor, angle: Tensor) -> Tensor:
    """Turn vectors v (..., 3) about the vertical by angle (...) radians. Leading dimensions broadcast."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    x, y, z = v.unbind(-1)
    across = x * cos + z * sin
    return torch.stack((across, y.expand_as(across), z * cos - x * sin), dim=-1)


def quaternion_to_matrix(q: Tensor) -> Tensor:
    """Unit quaternions (..., 4) -> rotation matrices (..., 3, 3)."""
    w, x, y, z = q.unbind(-1)
    entries = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in entries], dim=-2)


def matrix_to_rotation_6d(matrix: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) -> their first two columns (..., 6)."""
    return matrix[..., :2].transpose(-1, -2).flatten(-2)


def axis_angle_to_quaternion(axis_angle: Tensor) -> Tensor:
    """Axis-angle (..., 3) -> quaternions (..., 4); exact for small angles and zero."""
    angle = torch.linalg.vector_norm(axis_angle, dim=-1, keepdim=True)
    # sin(angle / 2) / angle; torch.sinc(x) is sin(pi x) / (pi x) and 1 at zero
    return torch.cat((torch.cos(angle / 2), axis_angle * torch.sinc(angle / (2 * math.pi)) / 2), dim=-1)


def quaternion_to_axis_angle(q: Tensor) -> Tensor:
    """Unit quaternions (..., 4) -> axis-angle (..., 3), angles up to pi: the inverse of `axis_angle_to_quaternion`."""
    v = torch.where(q[..., :1] < 0, -1.0, 1.0) * q[..., 1:]  # q and -q are one rotation; w >= 0 has the angle up to pi
    sine = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    half = torch.atan2(sine, q[..., :1].abs())
    # angle / sin(angle / 2), which is 2 in the limit of no rotation
    return v * torch.where(sine > 1e-9, 2 * half / sine.clamp_min(1e-9), 2.0)


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """The angle (...) between two rotations, both axis-angle (..., 3): radians, 0 to pi."""
    turn = quaternion_multiply(quaternion_conjugate(axis_angle_to_quaternion(a)), axis_angle_to_quaternion(b))
    return 2 * torch.atan2(turn[..., 1:].norm(dim=-1), turn[..., 0].abs())  # acos would lose small angles
