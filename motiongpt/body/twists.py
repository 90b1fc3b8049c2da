"""Twists of the 22 HumanML3D joints: what joint positions do not say about a pose, chosen so that a body could do it.

A joint with one child can turn about the bone to it, and no joint moves if the rotations below make up for it. Of the
17 joints that turn, 15 are such; the pelvis and the chest have three children, which fix them. The twists (one angle a
joint and frame) are found for all frames at once, by Gauss-Newton on these squares:

- elbows and knees are hinges: they bend about one axis. So a bent elbow says how the upper arm is twisted.
- ankles are nearly hinges; collars, neck and spine twist little, shoulders and hips if something asks for it.
- rotations change slowly: the angle between the local rotations of neighbouring frames, in radians a second. A straight
  arm, which says nothing, keeps the twist that it had.

Hinges bend one way only: forearms forwards, shanks backwards. The start decides that, in closed form, as the squares
above do not see the difference: where a forearm points, as a complex number whose size says how much it is bent,
smoothed over time.

The rest pose must be a T-pose that faces +z with y up, as that of SMPL, SMPL-H and SMPL-X. Torch, float64.
"""

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.bone_fit import CHILDREN, PARENTS, TURNING, aimed, turned
from motiongpt.body.feet import legs
from motiongpt.body.limbs import limbs
from motiongpt.body.rotations import (
    axis_angle_to_quaternion,
    quaternion_conjugate,
    quaternion_multiply,
    quaternion_to_axis_angle,
    quaternion_to_matrix,
)
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.body.smoothing import smooth

TWISTING = tuple(j for j in TURNING if len(CHILDREN[j]) == 1)  # 15 joints
LOCAL = TURNING[1:]  # 16 joints whose rotation against their parent counts
# what a radian costs beside one of a hinge off its axis: about the bone, across bone and hinge, about the hinge
FREE, HINGE, ANKLE = (0.02, 0.0, 0.0), (1.0, 1.0, 0.0), (0.3, 0.3, 0.0)  # free: shoulders and hips
STIFF, SPINE = (0.3, 0.0, 0.0), (0.2, 0.2, 0.2)
PLACE = HUMANML3D.index
COSTS = dict.fromkeys(LOCAL, FREE) | {PLACE(f"spine{i}"): SPINE for i in (1, 2, 3)} | {PLACE("neck"): STIFF}
COSTS |= {PLACE(f"{side}_collar"): STIFF for side in ("left", "right")}
COSTS |= {PLACE(f"{side}_{joint}"): HINGE for side in ("left", "right") for joint in ("elbow", "knee")}
COSTS |= {PLACE(f"{side}_ankle"): ANKLE for side in ("left", "right")}
SLOW = 0.015  # seconds: so much of a radian costs a change of one radian a second
START_SECONDS = 0.1  # deviation of the Gauss filter of the start
STRAIGHT = 0.02  # sine of a bend that says as much about the start as that there is no twist
STEPS = 6  # of Gauss-Newton: the last changes no angle of human motion by 0.001
LONGEST_STEP = 0.5  # radians
DAMPING = 1e-6


def local_turns(turns: Tensor) -> Tensor:
    """Turns (F, 22, 4) against the world -> against the parents; the pelvis stays."""
    parents = quaternion_conjugate(turns[:, list(PARENTS[1:])])
    return torch.cat((turns[:, :1], quaternion_multiply(parents, turns[:, 1:])), dim=1)


def natural_twists(turns: Tensor, rest: Tensor, fps: float) -> Tensor:
    """Turns (F, 22, 4) against the world, with other twists; all bones stay where they are. Rest bones are (21, 3)."""
    turns = _hinged(turns, rest, fps)
    axes, about = _axes(rest), _unit(rest[[CHILDREN[j][0] - 1 for j in TWISTING]])  # (16, 3, 3), (15, 3)
    costs = torch.tensor([COSTS[j] for j in LOCAL], dtype=rest.dtype)
    slow = (SLOW * fps) ** 2
    for _ in range(STEPS):
        local = local_turns(turns)[:, LOCAL]  # (F, 16, 4)
        C = _effect(local, about)  # (F, 16, 3, 15)
        omega = quaternion_to_axis_angle(local)
        angles = torch.einsum("jab,fjb->fja", axes, omega)
        A = costs[..., None] * (axes @ _inverse_right_jacobian(omega))  # (F, 16, 3, 3)
        J = (A @ C).flatten(1, 2)  # (F, 48, 15)
        D = J.mT @ J
        g = -(J.mT @ (costs * angles).flatten(1)[..., None])[..., 0]

        # between neighbours: the angle of L' M, whose first-order change is c_next - (L' M)' c_this
        step = quaternion_multiply(quaternion_conjugate(local[:-1]), local[1:])
        this, following = (quaternion_to_matrix(step).mT @ C[:-1]).flatten(1, 2), C[1:].flatten(1, 2)
        apart = quaternion_to_axis_angle(step).flatten(1)[..., None]
        D[:-1] += slow * this.mT @ this
        D[1:] += slow * following.mT @ following
        g[:-1] += slow * (this.mT @ apart)[..., 0]
        g[1:] -= slow * (following.mT @ apart)[..., 0]
        D.diagonal(dim1=1, dim2=2).add_(DAMPING)
        change = solve_chain(D, -slow * this.mT @ following, g).clamp(-LONGEST_STEP, LONGEST_STEP)
        turns = _twisted(turns, change, about)
    return turns


def solve_chain(D: Tensor, U: Tensor, b: Tensor) -> Tensor:
    """x (F, N) of the symmetric positive definite block tridiagonal system with diagonal D (F, N, N), blocks U
    (F - 1, N, N) beside it, U[f] in row f and column f + 1, and right-hand side b (F, N).

    Cyclic reduction: every second frame is expressed by its neighbours, which leaves a system half as long.
    """
    F = len(D)
    if F == 1:
        return torch.linalg.solve(D, b)
    left, right = U[0::2].mT, U[1::2]  # of the odd frames 1, 3, ...: the blocks to the frames before and after them
    odd = D[1::2]
    if len(right) < len(odd):  # an even number of frames: the last has none after it
        right = torch.cat((right, torch.zeros_like(odd[:1])))
    solved = torch.linalg.solve(odd, torch.cat((left, right, b[1::2, :, None]), dim=-1))
    N = b.shape[1]
    to_left, to_right, own = solved.split((N, N, 1), dim=-1)

    even, known = D[0::2].clone(), b[0::2].clone()
    even[: len(odd)] -= left.mT @ to_left
    known[: len(odd)] -= (left.mT @ own)[..., 0]
    after = len(even) - 1  # odd frames with a frame after them
    even[1:] -= (right.mT @ to_right)[:after]
    known[1:] -= (right.mT @ own)[:after, :, 0]
    x = torch.empty_like(b)
    x[0::2] = solve_chain(even, -(left.mT @ to_right)[:after], known)
    odd_x = own - to_left @ x[0::2][: len(odd), :, None]
    odd_x[:after] -= to_right[:after] @ x[2::2, :, None]
    x[1::2] = odd_x[..., 0]
    return x


def _unit(v: Tensor) -> Tensor:
    return v / torch.linalg.vector_norm(v, dim=-1, keepdim=True).clamp_min(1e-9)


def _bends(rest: Tensor) -> dict[int, Tensor]:
    """Where a limb bends to, at rest: by its middle joint, a unit vector across the upper bone. Legs to -z, arms +z."""
    knees = {leg.limb.middle for leg in legs(HUMANML3D)}
    found = {}
    for limb in limbs(HUMANML3D).values():
        bone = _unit(rest[limb.middle - 1])
        way = rest.new_tensor([0.0, 0.0, -1.0 if limb.middle in knees else 1.0])
        found[limb.middle] = _unit(way - (way @ bone) * bone)
    return found


def _axes(rest: Tensor) -> Tensor:
    """Three unit vectors (16, 3, 3) of each local joint: along its bone, across both, and about which it bends.

    For the ankle, the hinge is x, and the first is the shank: feet turn in with the leg and not in the ankle.
    """
    bends = _bends(rest)
    rows = []
    for j in LOCAL:
        bone = _unit(rest[CHILDREN[j][0] - 1])
        if COSTS[j] is ANKLE:
            bone, hinge = _unit(rest[j - 1]), rest.new_tensor([1.0, 0.0, 0.0])
        elif COSTS[j] is HINGE:
            hinge = torch.linalg.cross(bone, bends[j])
        else:
            hinge = torch.linalg.cross(bone, torch.eye(3, dtype=rest.dtype)[bone.abs().argmin()])
        hinge = _unit(hinge - (hinge @ bone) * bone)
        rows.append(torch.stack((bone, torch.linalg.cross(hinge, bone), hinge)))
    return torch.stack(rows)


def _effect(local: Tensor, about: Tensor) -> Tensor:
    """How twists change local rotations (F, 16, 4) to first order, L exp(c): (F, 16, 3, 15)."""
    C = local.new_zeros(*local.shape[:2], 3, len(TWISTING))
    for i, j in enumerate(LOCAL):
        if j in TWISTING:
            C[:, i, :, TWISTING.index(j)] = about[TWISTING.index(j)]
        if PARENTS[j] in TWISTING:
            k = TWISTING.index(PARENTS[j])
            C[:, i, :, k] = -turned(quaternion_conjugate(local[:, i]), about[k])
    return C


def _inverse_right_jacobian(omega: Tensor) -> Tensor:
    """d log(exp(omega) exp(c)) / dc at c = 0, (..., 3, 3): Chirikjian 2011, "Stochastic Models, Information Theory,
    and Lie Groups 2", equation 10.86."""
    angle = torch.linalg.vector_norm(omega, dim=-1)[..., None, None]
    half = angle / 2
    share = torch.where(angle > 1e-4, (1 - half / torch.tan(half.clamp_min(1e-5))) / angle.clamp_min(1e-4) ** 2, 1 / 12)
    x, y, z = omega.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))
    return torch.eye(3, dtype=omega.dtype) + cross / 2 + share * (cross @ cross)


def _twisted(turns: Tensor, angles: Tensor, about: Tensor) -> Tensor:
    """Turns (F, 22, 4) with more twist (F, 15) of each bone about itself."""
    q = quaternion_multiply(turns[:, TWISTING], axis_angle_to_quaternion(angles[..., None] * about))
    turns = turns.clone()
    turns[:, TWISTING] = _unit(q)
    return _with_ends(turns)


def _with_ends(turns: Tensor) -> Tensor:
    """Feet, head and wrists, which have no bone, turn with their parents."""
    for j, children in enumerate(CHILDREN):
        if not children:
            turns[:, j] = turns[:, PARENTS[j]]
    return turns


def _hinged(turns: Tensor, rest: Tensor, fps: float) -> Tensor:
    """Turns (F, 22, 4) in which hips and shoulders are twisted so that knees and elbows bend as hinges do."""
    parents = torch.tensor(PARENTS[1:])
    bones = turned(turns[:, parents], rest)  # (F, 21, 3) where they are
    bends = _bends(rest)
    turns = turns.clone()
    for j in TWISTING:  # parents first: no twist against the parent
        child = CHILDREN[j][0] - 1
        turns[:, j] = aimed(turns[:, PARENTS[j]], rest[child], bones[:, child])
        middle = child + 1
        if middle not in bends:
            continue
        upper, lower = _unit(bones[:, child]), _unit(bones[:, CHILDREN[middle][0] - 1])
        way = turned(turns[:, j], bends[middle])
        points = torch.stack(((lower * way).sum(-1), (lower * torch.linalg.cross(upper, way)).sum(-1)), dim=-1)
        points = torch.from_numpy(smooth(np.asarray(points), START_SECONDS * fps))
        angle = torch.atan2(points[:, 1], points[:, 0] + STRAIGHT)
        turns[:, j] = quaternion_multiply(axis_angle_to_quaternion(angle[:, None] * upper), turns[:, j])
    return _with_ends(turns)
