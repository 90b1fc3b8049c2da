"""Joints (F, J, 3) -> rotations of every joint, with twist: inverse kinematics for export.

The features' own rotations (`features/humanml3d.py`) are the shortest from a rest pose, without twist, and count from
the root. Characters need more:

- Pelvis and chest turn by best fit over the bones that they carry, so a body may face anywhere, lie or stand on its
  head. The twist between the two is spread over the spine.
- Thighs and upper arms point where knee and elbow are, with the twist of the plane of the bent limb (`twist.py`).
- Forearms, shins, neck, hands and feet take the shortest rotation from their parent; their twist is unknown.

Bones get the median length of the clip. A joint that carries several bones turns them together; where the clip moves
one by more than `RIGID` against the others (shrugs, joints from a decoder), a joint of no length, NAME_base, is put
before it. So a clip whose bones keep their length is met exactly. If they stretch, hands and feet are still put where
the clip has them, by bending elbows and knees, and `Solved.error` says how far each joint is off.
"""

from dataclasses import dataclass

import numpy as np

from motiongpt.body.limbs import bend, limbs, unit
from motiongpt.body.skeletons import Skeleton
from motiongpt.rigs.anatomy import Anatomy, of_skeleton, way_up
from motiongpt.rigs.rest_pose import HINGES, t_pose
from motiongpt.rigs.turns import about, best_fit, twist_of
from motiongpt.rigs.twist import aimed

RIGID = 2e-4  # metres by which a bone may move against its siblings
NEAR = 5e-4  # metres by which a hand or foot may be off: to put a straight limb right, its middle would move far more
SHORT = 1e-6  # metres: a shorter bone points nowhere
FARTHEST = 1e6  # metres
FASTEST = 1e4  # frames per second; a .bvh has eight decimals of a second for the time of a frame


@dataclass(frozen=True)
class Solved:
    """A clip as rotations of a T-pose. K joints: the skeleton's in their order, each NAME_base before its own."""

    skeleton: Skeleton
    anatomy: Anatomy  # of the K joints
    names: tuple[str, ...]
    parents: tuple[int, ...]
    at: tuple[int, ...]  # (J,) where the skeleton's joints are among the K
    rest: np.ndarray  # (K, 3) T-pose in metres, its lowest joint at y = 0
    turns: np.ndarray  # (F, K, 3, 3) from the T-pose to the frame, in the world
    joints: np.ndarray  # (F, K, 3) metres, where the rotations put the joints
    error: np.ndarray  # (F, J) metres from the clip's joints


def checked(joints: np.ndarray, skeleton: Skeleton, fps: float) -> np.ndarray:
    """Joints (F, J, 3), in metres, as float64. Raises ValueError for what cannot be exported, naming the frame."""
    joints = np.asarray(joints, dtype=np.float64)
    if joints.ndim != 3 or joints.shape[2] != 3 or len(joints) == 0:
        raise ValueError(f"joints must have shape (F, J, 3) with F > 0, got {joints.shape}")
    if joints.shape[1] != skeleton.num_joints:
        raise ValueError(f"got {joints.shape[1]} joints, but skeleton {skeleton.name} has {skeleton.num_joints}")
    bad = ~(np.abs(joints) < FARTHEST).all(axis=(1, 2))  # true for NaN
    if bad.any():
        raise ValueError(
            f"joints are NaN, infinite or too far in {bad.sum()} frames, the first is frame {bad.argmax()}"
        )
    if not 0 < fps <= FASTEST:
        raise ValueError(f"fps must be a positive number, at most {FASTEST:.0f}, got {fps}")
    return joints


def solve(joints: np.ndarray, skeleton: Skeleton, fps: float) -> Solved:
    """The rotations of a clip (F, J, 3), in metres, y up. Errors: `checked`, `of_skeleton`."""
    joints = checked(joints, skeleton, fps)
    return _Solver(joints, skeleton, fps).solved()


class _Solver:
    """The walk from the root outwards; a joint's rotation is known before its children are looked at."""

    def __init__(self, joints: np.ndarray, skeleton: Skeleton, fps: float):
        self.joints, self.skeleton, self.fps = joints, skeleton, fps
        self.F, self.J = joints.shape[:2]
        self.parents = skeleton.parents
        self.anatomy = of_skeleton(skeleton)
        self.pose = t_pose(skeleton, self.anatomy)
        self.children = [[k for k in range(self.J) if self.parents[k] == j] for j in range(self.J)]
        bones = joints - joints[:, np.maximum(self.parents, 0)]
        size = np.linalg.norm(bones, axis=-1)
        self.lengths = np.median(size, axis=0)
        self.points = (size > SHORT) & (self.lengths > SHORT)  # (F, J) whether the bone has a direction
        self.directions = unit(bones)
        offsets = self.pose - self.pose[np.maximum(self.parents, 0)]
        self.rest = self.lengths[:, None] * unit(offsets)  # (J, 3) bone vectors of the T-pose
        self.turns = np.empty((self.F, self.J, 3, 3))
        self.bases = np.empty((self.F, self.J, 3, 3))  # of the joint of no length before each joint
        self.at = np.empty((self.F, self.J, 3))  # where the rotations put the joints
        self.off = np.zeros(self.J)  # how far the clip moves a bone against its siblings, metres

    def solved(self) -> Solved:
        parts = self.anatomy.parts
        above = way_up(self.parents, parts["pelvis"])
        self._carry(parts["pelvis"], self._pelvis_members(), None)
        for j in above[1:]:  # what carries the pelvis turns with it
            self.turns[:, j] = self.turns[:, parts["pelvis"]]
            self._shape(j, self.children[j])
        if self.anatomy.spine:
            self._carry(self.anatomy.chest, self._chest_members(), None)
            self._shape(self.anatomy.chest, self.children[self.anatomy.chest])
        done = {*above, self.anatomy.chest}
        self.at[:, 0] = self.joints[:, 0]
        for j in range(self.J):
            self._place(j)
            if j not in done:
                self._turn(j)
            self._bend(j)
        return self._result()

    def _pelvis_members(self) -> list[int]:
        pelvis = self.anatomy.parts["pelvis"]
        ends = [self.anatomy.parts["left_hip"], self.anatomy.parts["right_hip"], *self.anatomy.spine[:1]]
        return [k for k in self.children[pelvis] if any(k in way_up(self.parents, end) for end in ends)]

    def _chest_members(self) -> list[int]:
        chest = self.anatomy.chest
        ends = [self.anatomy.parts[f"{side}_shoulder"] for side in ("left", "right")] + list(self.anatomy.neck[:1])
        return [k for k in self.children[chest] if any(k in way_up(self.parents, end) for end in ends)]

    def _carry(self, j: int, members: list[int], first: np.ndarray | None) -> None:
        """Turn joint j by best fit over the bones to `members`, which get the shape that the clip has.

        `first` (F, 3, 3) are rotations to begin with, where the T-pose does not say enough.
        """
        members = [k for k in members if self.points[:, k].all()]
        found, rest = self.directions[:, members], unit(self.rest[members])
        if j == self.anatomy.chest and not self.anatomy.neck and j != 0:
            # the head moves by itself, and shoulders lie on a line: the bone below the chest says how it leans
            found = np.concatenate((found, -self.directions[:, [j]]), axis=1)
            rest = np.concatenate((rest, -unit(self.rest[[j]])))
        if len(rest) == 0:
            self.turns[:, j] = np.eye(3) if first is None else first
            return
        turns = best_fit(found, rest) if first is None else first
        for _ in range(3):  # the shape is the median over frames, seen from the joint, and turned with the T-pose
            shape = unit(np.median(np.einsum("fab,fna->fnb", turns, found), axis=0))
            shape = shape @ best_fit(shape[None], rest)[0] if first is None else shape
            turns = best_fit(found, shape)
        self.turns[:, j] = turns
        self._shape(j, self.children[j])

    def _shape(self, j: int, members: list[int]) -> None:
        """Bones to `members` point in the T-pose as they do in the median of the clip, seen from joint j."""
        for k in members:
            if self.points[:, k].all():
                seen = np.einsum("fab,fa->fb", self.turns[:, j], self.directions[:, k])
                self.rest[k] = self.lengths[k] * unit(np.median(seen, axis=0))
                self.off[k] = self.lengths[k] * np.linalg.norm(seen - unit(self.rest[k]), axis=-1).max()

    def _place(self, j: int) -> None:
        """Where joint j is, by the rotation of its parent, and the rotation of the joint of no length before it."""
        parent = self.parents[j]
        if parent < 0:
            return
        turn = self.turns[:, parent]
        if self.off[j] > RIGID:
            turn = turn @ self._aim(turn, self.rest[j], self.directions[:, j])
        self.bases[:, j] = turn
        self.at[:, j] = self.at[:, parent] + turn @ self.rest[j]

    def _turn(self, j: int) -> None:
        """The rotation of a joint that is neither pelvis nor chest."""
        parent = self.bases[:, j]
        below = [k for k in self.children[j] if self.points[:, k].any()]
        if not below:
            self.turns[:, j] = parent
        elif len(self.children[j]) == 1:
            self.turns[:, j] = parent @ self._aim(parent, self.rest[below[0]], self.directions[:, below[0]])
            if j in self.anatomy.spine:
                self._spread(j)
        else:  # several bones: the shortest rotation to their mean, then best fit
            mean = unit(self.directions[:, below].mean(1))
            rest = unit(self.rest[below]).mean(0)
            first = parent @ self._aim(parent, rest, mean) if np.linalg.norm(rest) > SHORT else parent
            self._carry(j, below, first)

    def _aim(self, parent: np.ndarray, rest: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """The shortest rotation, seen from the parent, that makes a bone point along `direction` (F, 3)."""
        local = np.einsum("fab,fa->fb", parent, direction)
        return aimed(rest, np.where(np.abs(local).max(-1, keepdims=True) > 0, local, unit(rest)), self.fps)

    def _spread(self, j: int) -> None:
        """Give a joint of the spine its share of the twist between pelvis and chest."""
        spine, chest = self.anatomy.spine, self.anatomy.chest
        left = spine[spine.index(j) : -1]  # the joints below the chest that are still to share
        turn = self.turns[:, j]
        for k in left[1:]:  # as if none twisted
            turn = turn @ self._aim(turn, self.rest[self.children[k][0]], self.directions[:, self.children[k][0]])
        axis = unit(self.rest[chest])
        twist = np.unwrap(twist_of(np.swapaxes(turn, -1, -2) @ self.turns[:, chest], axis))
        own = unit(self.rest[self.children[j][0]])
        self.turns[:, j] = self.turns[:, j] @ about(own, twist / (len(left) + 1))

    def _bend(self, j: int) -> None:
        """At the start of a limb: aim both bones so that its end is where the clip has it, and twist the upper one."""
        part = next((part for part in HINGES if self.anatomy.parts.get(part) == j), None)
        limb = next((limb for limb in limbs(self.skeleton).values() if limb.start == j), None)
        if part is None or limb is None or not self.points[:, [limb.middle, limb.end]].all():
            return
        start, target = self.at[:, j], self.joints[:, limb.end]
        middle = start + self.lengths[limb.middle] * self.directions[:, limb.middle]
        end = middle + self.lengths[limb.end] * self.directions[:, limb.end]
        off = np.linalg.norm(target - end, axis=-1, keepdims=True)
        if off.max() > NEAR:
            target = target - np.minimum(NEAR / np.maximum(off, NEAR), 1) * (target - end)
            hint = self.joints[:, limb.middle] - (self.joints[:, j] + target) / 2
            middle, end = bend(start, middle, end, target, hint)
            self.directions[:, limb.middle] = unit(middle - start)
            self.directions[:, limb.end] = unit(end - middle)
        if len(self.children[j]) == 1:
            parent = self.bases[:, j]
            upper, lower = (np.einsum("fab,fa->fb", parent, self.directions[:, k]) for k in (limb.middle, limb.end))
            self.turns[:, j] = parent @ aimed(self.rest[limb.middle], upper, self.fps, np.array(HINGES[part]), lower)

    def _result(self) -> Solved:
        """Joints of no length take their places in the tree."""
        names: list[str] = []
        parents: list[int] = []
        at: list[int] = []
        source: list[tuple[np.ndarray, int]] = []
        bones = []
        for j, name in enumerate(self.skeleton.joints):
            above = at[self.parents[j]] if j else -1
            if self.off[j] > RIGID:
                names.append(_free(f"{name}_base", {*names, *self.skeleton.joints}))
                parents.append(above)
                source.append((self.bases, j))
                bones.append(np.zeros(3))
                above = len(names) - 1
            at.append(len(names))
            names.append(name)
            parents.append(above)
            source.append((self.turns, j))
            bones.append(self.rest[j])
        rest = np.array(bones)
        rest[0] = 0
        for k, parent in enumerate(parents[1:], 1):
            rest[k] += rest[parent]
        rest[:, 1] -= rest[:, 1].min()
        turns = np.stack([array[:, j] for array, j in source], axis=1)
        placed = np.empty((self.F, len(names), 3))
        for k, parent in enumerate(parents):
            placed[:, k] = (
                self.joints[:, 0] if k == 0 else placed[:, parent] + turns[:, parent] @ (rest[k] - rest[parent])
            )
        own = self.anatomy
        anatomy = Anatomy(
            {part: at[j] for part, j in own.parts.items()},
            tuple(at[j] for j in own.spine),
            tuple(at[j] for j in own.neck),
        )
        error = np.linalg.norm(placed[:, at] - self.joints, axis=-1)
        return Solved(self.skeleton, anatomy, tuple(names), tuple(parents), tuple(at), rest, turns, placed, error)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
