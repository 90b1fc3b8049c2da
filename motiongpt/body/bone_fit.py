"""Turns and a shape of a body of the 22 HumanML3D joints so that its joints come to given places. Torch, float64.

Everything here is in turns against the world, a quaternion for each joint: where a joint is, is then a sum of turned
bones, and a turn of one joint moves no other's bones. A joint with one child says nothing about the twist around that
bone; see `twists.py`. Frames do not depend on each other, so any pieces of a clip give the same turns.

1. Start: the turn that is best for the bones of a joint: Horn 1987, "Closed-form solution of absolute orientation
   using unit quaternions", for the pelvis and the chest with their three children, the shortest turn for the others.
2. Gauss-Newton on all turns of a frame: squared distances of the joints, and of the bones, so that a chain of bones
   that are too long does not buckle. The translation is eliminated: it is the mean of what is left.
3. The shape is common to all frames: the same step with the betas, whose share is split off by the Schur complement.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from motiongpt.body.rotations import (
    axis_angle_to_quaternion,
    quaternion_between,
    quaternion_multiply,
    quaternion_to_matrix,
)
from motiongpt.body.skeletons import HUMANML3D

PARENTS = HUMANML3D.parents
CHILDREN = tuple(tuple(c for c, parent in enumerate(PARENTS) if parent == j) for j in range(HUMANML3D.num_joints))
BONES = tuple(range(1, HUMANML3D.num_joints))  # a bone is named by the joint at its end
TURNING = tuple(j for j, children in enumerate(CHILDREN) if children)  # 17 joints; the others turn with their parents
SPINE = tuple(HUMANML3D.index(name) for name in ("spine1", "spine2", "spine3", "neck"))
# of a bone's squared error beside that of a joint; a spine longer than the motion's must not fold to fit in
BONE_WEIGHTS = tuple(10.0 if j in SPINE else 1.0 for j in BONES)
LENGTH_STEPS = 10
STEPS = 4  # of Gauss-Newton: the last moves joints of CMU captures by 0.1 mm in the mean, 1.5 mm at most
LONGEST_STEP = 0.5  # radians
DAMPING = 1e-7  # square metres: twists, which change nothing, stay as they are
BETA_ERROR = 0.002  # metres: how much error of a frame weighs as much as a beta of 1
MAX_BETA = 5.0  # published shapes are drawn from a normal distribution with deviation 1


class Shape(NamedTuple):
    """A body model as tensors of bone vectors."""

    bones: Tensor  # (21, 3) of the template
    directions: Tensor  # (21, 3, K)

    def rest_bones(self, betas: Tensor) -> Tensor:
        """Bone vectors (21, 3) for betas (K,)."""
        return self.bones + self.directions @ betas


def shape_of(template: Tensor, directions: Tensor) -> Shape:
    """The bones of rest joints (22, 3) and of their directions (22, 3, K)."""
    parents = [PARENTS[j] for j in BONES]
    return Shape(template[1:] - template[parents], directions[1:] - directions[parents])


def bones_of(joints: Tensor) -> Tensor:
    """Joints (..., 22, 3) -> bone vectors (..., 21, 3), parent to joint."""
    return joints[..., 1:, :] - joints[..., [PARENTS[j] for j in BONES], :]


def turned(q: Tensor, v: Tensor) -> Tensor:
    """Vectors v (..., 3) turned by unit quaternions (..., 4). Leading dimensions broadcast."""
    return (quaternion_to_matrix(q) @ v[..., None])[..., 0]


def aimed(parent: Tensor, bone: Tensor, target: Tensor) -> Tensor:
    """The turn (F, 4) of a joint that carries its rest bone (3,) to the direction of target (F, 3), with no twist
    against the turn of its parent (F, 4)."""
    return quaternion_multiply(quaternion_between(turned(parent, bone), target), parent)


def best_turn(rest: Tensor, target: Tensor) -> Tensor:
    """The turn (F, 4) with the least squared distance of turned vectors rest (N, 3) from target (F, N, 3)."""
    S = torch.einsum("na,fnb->fab", rest, target)
    xx, xy, xz, yx, yy, yz, zx, zy, zz = S.flatten(1).unbind(1)
    rows = (
        (xx + yy + zz, yz - zy, zx - xz, xy - yx),
        (yz - zy, xx - yy - zz, xy + yx, zx + xz),
        (zx - xz, xy + yx, yy - xx - zz, yz + zy),
        (xy - yx, zx + xz, yz + zy, zz - xx - yy),
    )
    matrix = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    return torch.linalg.eigh(matrix).eigenvectors[..., -1]  # of the largest eigenvalue


def start_turns(bones: Tensor, rest: Tensor) -> Tensor:
    """Turns (F, 22, 4) that carry rest bones (21, 3) to bones (F, 21, 3) as well as each joint alone can."""
    turns: list[Tensor] = []
    for j, children in enumerate(CHILDREN):
        e = [c - 1 for c in children]  # the place of a child's bone
        if len(children) > 1:
            turns.append(best_turn(rest[e], bones[:, e]))
        elif children:
            turns.append(aimed(turns[PARENTS[j]], rest[e[0]], bones[:, e[0]]))
        else:
            turns.append(turns[PARENTS[j]])
    return torch.stack(turns, dim=1)


class _Step(NamedTuple):
    """The normal equations of one Gauss-Newton step."""

    turns: Tensor  # (F, 51, 51)
    mixed: Tensor  # (F, 51, K)
    betas: Tensor  # (K, K)
    turns_left: Tensor  # (F, 51) right-hand sides
    betas_left: Tensor  # (K,)


def _normal_equations(joints: Tensor, weights: Tensor, turns: Tensor, rest: Tensor, directions: Tensor) -> _Step:
    """Of joints (F, 22, 3) with weights (F, 22), at turns (F, 22, 4) of rest bones (21, 3)."""
    F, K = len(joints), directions.shape[-1]
    paths = torch.tensor(HUMANML3D.paths, dtype=joints.dtype)  # (22, 21)
    parents = [PARENTS[j] for j in BONES]
    R = quaternion_to_matrix(turns[:, parents])  # (F, 21, 3, 3)
    v = (R @ rest[..., None])[..., 0]  # (F, 21, 3) bones where they are
    left = joints - paths @ v - place(joints, weights, v)[:, None]
    wanted = _directions(bones_of(joints)) * torch.linalg.vector_norm(rest, dim=-1)[:, None] - v

    # weights of pairs of bones: how much the joints that hang on both count, less their common translation
    weighted = weights[..., None] * paths  # (F, 22, 21)
    total = weighted.sum(1)  # (F, 21)
    W = paths.T @ weighted - total[:, :, None] * total[:, None] / weights.sum(1)[:, None, None]
    own = W.new_tensor(BONE_WEIGHTS)
    W = W + own.diag()
    y = weighted.transpose(1, 2) @ left + own[:, None] * wanted  # (F, 21, 3)
    G = R @ directions  # (F, 21, 3, K): how betas move the bones
    WG = (W @ G.flatten(2)).view_as(G)

    # a turn d of a bone's parent moves it by d x v; blocks are [v]' [u] = (v . u) 1 - u v'
    blocks = -v[:, None, :, :, None] * v[:, :, None, None, :]  # (F, 21, 21, 3, 3), row u, column v
    blocks = blocks + (v @ v.transpose(1, 2))[..., None, None] * torch.eye(3, dtype=v.dtype)
    slot = torch.tensor([TURNING.index(parent) for parent in parents])
    N = len(TURNING)
    H = blocks.new_zeros(F, N, len(BONES), 3, 3).index_add_(1, slot, blocks * W[..., None, None])
    H = H.new_zeros(F, N, N, 3, 3).index_add_(2, slot, H).transpose(2, 3).reshape(F, 3 * N, 3 * N)
    mixed = torch.linalg.cross(v[..., None].expand_as(WG), WG, dim=2)
    mixed = mixed.new_zeros(F, N, 3, K).index_add_(1, slot, mixed).flatten(1, 2)
    g = torch.linalg.cross(v, y)
    g = g.new_zeros(F, N, 3).index_add_(1, slot, g).flatten(1)
    H.diagonal(dim1=1, dim2=2).add_(DAMPING)
    return _Step(H, mixed, torch.einsum("fecj,feck->jk", G, WG), g, torch.einsum("feck,fec->k", G, y))


def _directions(v: Tensor) -> Tensor:
    return v / torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min(1e-9)


def place(joints: Tensor, weights: Tensor, bones: Tensor) -> Tensor:
    """Where the pelvis (F, 3) of a body with turned bones (F, 21, 3) is best for joints (F, 22, 3)."""
    paths = torch.tensor(HUMANML3D.paths, dtype=joints.dtype)
    share = weights / weights.sum(1, keepdim=True)
    return torch.einsum("fj,fjc->fc", share, joints - paths @ bones)


def _apply(turns: Tensor, step: Tensor) -> Tensor:
    """Turns (F, 22, 4) after a step (F, 51), in radians about axes of the world."""
    step = step.unflatten(1, (-1, 3))
    length = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
    step = step * (LONGEST_STEP / length.clamp_min(LONGEST_STEP))
    q = quaternion_multiply(axis_angle_to_quaternion(step), turns[:, TURNING])
    turns = turns.clone()
    turns[:, TURNING] = q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)
    for j, children in enumerate(CHILDREN):
        if not children:
            turns[:, j] = turns[:, PARENTS[j]]
    return turns


def fit_turns(joints: Tensor, weights: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Turns (F, 22, 4) against the world and pelvis (F, 3) of a body with rest bones (21, 3) that follows joints
    (F, 22, 3); weights (F, 22) say how much each joint counts."""
    turns = start_turns(bones_of(joints), rest)
    none = rest.new_zeros(len(BONES), 3, 0)
    for _ in range(STEPS):
        step = _normal_equations(joints, weights, turns, rest, none)
        turns = _apply(turns, _solve(step.turns, step.turns_left[..., None])[..., 0])
    v = turned(turns[:, [PARENTS[j] for j in BONES]], rest)
    return turns, place(joints, weights, v)


def fit_betas(joints: Tensor, shape: Shape, betas: Tensor) -> Tensor:
    """Betas (K,) of the body that follows joints (F, 22, 3) best, starting from betas (K,)."""
    weights = joints.new_ones(joints.shape[:2])
    turns = start_turns(bones_of(joints), shape.rest_bones(betas))
    prior = len(joints) * BETA_ERROR**2
    for _ in range(2 * STEPS):
        step = _normal_equations(joints, weights, turns, shape.rest_bones(betas), shape.directions)
        solved = _solve(step.turns, torch.cat((step.mixed, step.turns_left[..., None]), dim=-1))
        mixed = step.mixed.transpose(1, 2)
        left = (step.betas_left - prior * betas) - (mixed @ solved[..., -1:]).sum(0)[:, 0]
        matrix = step.betas - (mixed @ solved[..., :-1]).sum(0) + prior * torch.eye(len(betas), dtype=betas.dtype)
        change = torch.linalg.solve(matrix, left)
        bounded = (betas + change).clamp(-MAX_BETA, MAX_BETA)
        turns = _apply(turns, solved[..., -1] - solved[..., :-1] @ (bounded - betas))
        betas = bounded
    return betas


def betas_of_lengths(lengths: Tensor, shape: Shape, scale: float | None = 1.0) -> tuple[Tensor, float]:
    """Betas (K,) of the body whose bones are about `scale` times these lengths (21,), and the scale.

    None leaves the scale open, so that the betas have the proportions only. Gauss-Newton on the lengths alone.
    """
    K = shape.directions.shape[-1]
    betas = shape.directions.new_zeros(K)
    is_open = scale is None
    size = torch.linalg.vector_norm(shape.bones, dim=-1).sum() / lengths.sum() if is_open else lengths.new_tensor(scale)
    prior = BETA_ERROR**2 * torch.eye(K + is_open, dtype=betas.dtype)
    prior[K:] = 0  # no scale is likelier than another
    for _ in range(LENGTH_STEPS):
        bones = shape.rest_bones(betas)
        missed = size * lengths - torch.linalg.vector_norm(bones, dim=-1)
        J = torch.einsum("ec,eck->ek", _directions(bones), shape.directions)
        J = torch.cat((J, -lengths[:, None]), dim=1) if is_open else J
        change = torch.linalg.solve(J.T @ J + prior, J.T @ missed - prior[:, :K] @ betas)
        betas = (betas + change[:K]).clamp(-MAX_BETA, MAX_BETA)
        size = size + change[K:].sum()
    return betas, float(size)


def _solve(matrices: Tensor, right: Tensor) -> Tensor:
    """x of A x = b for symmetric positive definite A (F, N, N) and b (F, N, K)."""
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrices))
