"""Heads and feet for pictures: which joint is the head, the middle of a head, and heels that skeletons leave out.

What this module does not know: how they are drawn.
"""

from collections.abc import Iterable

import numpy as np

from motiongpt.body.skeletons import Skeleton


def head_joint(skeleton: Skeleton) -> int:
    """The joint named head or skull, else the tip of the first chain in the middle of the body."""
    named = [j for j, name in enumerate(skeleton.joints) if "head" in name.lower() or "skull" in name.lower()]
    middle = [chain for chain in skeleton.chains if chain_side(chain, skeleton) == 0] or [skeleton.chains[0]]
    return (named or middle[0][-1:])[0]


def head_ball(joints: np.ndarray, skeleton: Skeleton, limb: float) -> np.ndarray:
    """(F, 3) the middle of the head: past the joint of that name, else past the tip of the first chain of the spine."""
    head = head_joint(skeleton)
    neck_to_head = joints[:, head] - joints[:, max(skeleton.parents[head], 0)]
    neck_to_head /= np.maximum(np.linalg.norm(neck_to_head, axis=1, keepdims=True), 1e-9)
    return joints[:, head] + 0.07 * limb * neck_to_head


def heels(joints: np.ndarray, skeleton: Skeleton, ground: float) -> np.ndarray:
    """Left and right heel (F, 2, 3): below the ankle in the plane of shin and foot, never under the ground.

    Two joints do not say how a foot is turned about its length, so the shin has to. A skeleton with more than ankle and
    toe (KIT-ML's) needs no heel; it gets the ankle.
    """
    ankles, toes = np.array([skeleton.feet_left, skeleton.feet_right]).T  # (2,) each
    foot = joints[:, toes] - joints[:, ankles]  # (F, 2, 3)
    below = joints[:, ankles]
    if skeleton.leg[1] in ankles:
        shin = joints[:, ankles] - joints[:, np.array(skeleton.parents)[ankles]]
        shin, along = (v / np.maximum(np.linalg.norm(v, axis=2, keepdims=True), 1e-9) for v in (shin, foot))
        length = np.linalg.norm(foot, axis=2, keepdims=True)
        below = below + 0.55 * length * (shin - (shin * along).sum(axis=2, keepdims=True) * along)
    below[..., 1] = np.maximum(below[..., 1], ground)
    return below


def chain_side(chain: Iterable[int], skeleton: Skeleton) -> int:
    """1 for a chain of mostly left joints, -1 for right, 0 for the middle of the body."""
    left, right = {i for i, _ in skeleton.mirror_pairs}, {i for _, i in skeleton.mirror_pairs}
    return int(np.sign(sum((j in left) - (j in right) for j in chain)))
