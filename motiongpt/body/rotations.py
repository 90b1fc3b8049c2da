"""Rotations as quaternions, matrices, 6D and axis-angle: batched torch, any leading dimensions, differentiable.

One convention everywhere:

    quaternion  (..., 4)     w x y z, Hamilton product, unit length; q and -q are the same rotation
    matrix      (..., 3, 3)  acts on column vectors from the left: v' = R v, and R(a b) = R(a) R(b)
    6D          (..., 6)     first column of R, then second column (Zhou et al. 2019, "On the Continuity of Rotation
                             Representations"); some libraries take rows instead, which is the inverse rotation
    axis-angle  (..., 3)     direction = axis, length = angle in radians, counter-clockwise seen from the axis' tip

Right-handed, y up: a positive turn about y takes +z to +x, that is to the left of someone who faces +z.
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
    """The shortest rotation (..., 4) that takes the direction of u (..., 3) to that of v (..., 3).

    Opposite directions have no single shortest rotation: a half turn about an axis perpendicular to u is returned,
    so the result is always finite. A zero v gives the identity; u must not be zero.
    """
    u, v = torch.broadcast_tensors(u, v)
    tiny = torch.finfo(u.dtype).tiny
    u = u / torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp_min(tiny)
    v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min(tiny)
    # 1 + cos written as |u + v|^2 / 2: the sum loses no digits where the two are nearly opposite
    w = (u + v).square().sum(-1, keepdim=True) / 2
    q = torch.cat((w, torch.linalg.cross(u, v)), dim=-1)  # length sqrt(2 (1 + cos)) for unit u and v
    length = torch.linalg.vector_norm(q, dim=-1, keepdim=True)
    opposite = length < 4 * torch.finfo(u.dtype).eps
    least = torch.zeros_like(u).scatter(-1, u.abs().argmin(-1, keepdim=True), 1.0)  # the axis farthest from u
    half_turn = torch.linalg.cross(u, least)
    half_turn = half_turn / torch.linalg.vector_norm(half_turn, dim=-1, keepdim=True).clamp_min(tiny)
    half_turn = torch.cat((torch.zeros_like(w), half_turn), dim=-1)
    return torch.where(opposite, half_turn, q / torch.where(opposite, 1.0, length))


def rotate_y(v: Tensor, angle: Tensor) -> Tensor:
    """Vectors v (..., 3) turned about the vertical by angle (...) radians. Leading dimensions broadcast."""
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


def rotation_6d_to_matrix(rotation_6d: Tensor) -> Tensor:
    """Inverse of `matrix_to_rotation_6d`: (..., 6) -> (..., 3, 3), by Gram-Schmidt, so any two vectors that are not
    parallel give a rotation (a network's output needs no constraint)."""
    first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = torch.nn.functional.normalize(first, dim=-1)
    z = torch.nn.functional.normalize(torch.linalg.cross(x, second), dim=-1)
    return torch.stack((x, torch.linalg.cross(z, x), z), dim=-1)


def axis_angle_to_quaternion(axis_angle: Tensor) -> Tensor:
    """Axis-angle (..., 3) -> quaternions (..., 4); exact for small angles and zero."""
    angle = torch.linalg.vector_norm(axis_angle, dim=-1, keepdim=True)
    # sin(angle / 2) / angle; torch.sinc(x) is sin(pi x) / (pi x) and 1 at zero
    return torch.cat((torch.cos(angle / 2), axis_angle * torch.sinc(angle / (2 * math.pi)) / 2), dim=-1)


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """The angle in radians, 0 to pi, (...), of the turn from one rotation to another, both axis-angle (..., 3)."""
    turn = quaternion_multiply(quaternion_conjugate(axis_angle_to_quaternion(a)), axis_angle_to_quaternion(b))
    return 2 * torch.atan2(turn[..., 1:].norm(dim=-1), turn[..., 0].abs())  # acos would lose small angles
