"""What a motion earns: its condition passed, without sliding feet and jerks.

The reward stage of the language model uses it, and nothing else does: the conditions that measure a
model are no longer blind to one that was trained on them. So some families of actions are left out
of the reward, and their conditions still measure.
"""

import zlib
from collections.abc import Iterable
from functools import cache

import numpy as np
import torch

from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.judge import failings
from motiongpt.faithfulness.measures import FPS
from motiongpt.faithfulness.plain_requests import caption_of, count_parts, manner_parts, part_of, want_of
from motiongpt.faithfulness.quality import TOES
from motiongpt.faithfulness.wants import Step, Want
from motiongpt.metrics.joints import foot_skate, jerk
from motiongpt.procedural.sentences import family

SHORTEST = 4  # frames that have a third difference


def joint_scores(want: Want, joints: np.ndarray) -> dict[str, float]:
    """`passed` 0 or 1, `skate` the share of steps in which a foot slides, `jerk` in m/s^3.

    Joints are (F, 22, 3) in metres at 20 fps. A motion too short to have a jerk did nothing: it
    fails, and costs no more.
    """
    if len(joints) < SHORTEST:
        return {"passed": 0.0, "skate": 0.0, "jerk": 0.0}
    points = torch.as_tensor(joints)
    return {
        "passed": float(not failings(want, np.asarray(joints))),
        "skate": float(foot_skate(points, TOES, FPS).float().mean()),
        "jerk": float(jerk(points, FPS).mean()),
    }


@cache
def plain_wants() -> dict[str, Want]:
    """Plain caption -> what it wants: of every action, every two in order, and every manner of one."""
    pairs = [[part_of(first), part_of(second)] for first in CHECKS for second in CHECKS]
    manners = [[part] for _, part in (*count_parts(), *manner_parts())]
    return {caption_of(parts): want_of(parts) for parts in (*pairs, *manners, *([part_of(name)] for name in CHECKS))}


def known_wants(captions: Iterable[tuple[str, str]]) -> list[Want | None]:
    """What the caption of each pair (clip, caption) wants; None if nobody knows.

    A plain caption says it all. Any other caption of its clip describes the same actions, but need
    not say how often, how fast or how large: its motion may be so or not.
    """
    captions, plain = list(captions), plain_wants()
    clips = {clip: _without_manner(plain[text]) for clip, text in captions if text in plain}
    return [plain.get(text, clips.get(clip)) for clip, text in captions]


def _without_manner(want: Want) -> Want:
    # by how much to turn is a part of the action: each has a condition of its own
    return Want(tuple(Step(step.actions, degrees=step.degrees) for step in want.steps), want.together)


def names_in(want: Want) -> set[str]:
    """The actions that a want names."""
    return {name for step in want.steps for name in step.actions}


def left_out(share: float) -> set[str]:
    """The families of actions that earn nothing: this share of all, the same ones every time.

    Both sides of an action are one family.
    """
    families = sorted({family(name) for name in CHECKS}, key=lambda name: zlib.crc32(name.encode()))
    return set(families[: round(share * len(families))])


def is_left_out(want: Want, families: set[str]) -> bool:
    """Whether one of its actions belongs to `families`."""
    return any(family(name) in families for name in names_in(want))


def match_shares(motions: torch.Tensor, own: torch.Tensor, others: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """How well embedded motions (B, E) match their own sentences (B, E), against M other ones (M, E).

    The share in [0, 1] of the others that lie farther from the motion than its own sentence does;
    `counts` (B, M) bool says which of them are others. It needs no unit: a distance of one matching
    network means nothing in another.
    """
    # a product of matrices would lose the digits of small distances
    distance = torch.cdist(motions, others, compute_mode="donot_use_mm_for_euclid_dist")  # (B, M)
    farther = (distance > (motions - own).norm(dim=-1, keepdim=True)) & counts
    return farther.sum(-1) / counts.sum(-1).clamp(min=1)
