"""Clean joints: what a decoder writes, made the motion of a body with rigid bones that stands on a floor.

    jitter     is smoothed away, but not a nod: `bones.without_jitter`
    bones      get the skeleton's lengths: `bones.rigid`
    feet       stay where they stand, and above the floor: `feet.place_feet`

A decoder writes joints without knowing of bones, so stretching bones tell its motions from others. A motion whose bones
are rigid was measured or computed: its jitter is none, its feet roll and slide as people's do, and both stay. Only its
bones, if it has another body, and feet below the floor are changed.
"""

from dataclasses import dataclass

import numpy as np
import torch

from motiongpt.body.feet import legs, slide_speeds
from motiongpt.body.skeletons import Skeleton
from motiongpt.cleanup.bones import own_lengths, rigid, skeleton_lengths, stretch, without_jitter
from motiongpt.cleanup.feet import footprints, place_feet
from motiongpt.metrics.joints import floor_penetration, jerk

SMOOTHING = 0.05  # strength of `without_jitter`; what is jitter counts in frames, so it is the same at any frame rate
RIGID = 0.001  # metres: 95 of 100 bones are nearer to their usual length, in a motion that no decoder wrote
ROUNDING = 1e-5  # metres: smaller changes are none


@dataclass(frozen=True)
class Faults:
    """What is wrong with a motion; means over frames, or steps, unless it says otherwise."""

    jerk: float  # m/s^3
    stretch: float  # metres, the largest of all bones and frames
    slide: float  # m/s, of toes within footprints
    penetration: float  # metres


@dataclass(frozen=True)
class CleanReport:
    """The faults of a motion before and after, and how far its root was moved at most, metres."""

    before: Faults
    after: Faults
    root_move: float

    def line(self) -> str:
        """One line for people: "jerk 117 -> 70 m/s^3, bone stretch 9.1 -> 0.0 cm, ..."."""
        shown = (  # label, field, unit, units in one metre, digits
            ("jerk", "jerk", "m/s^3", 1, 0),
            ("bone stretch", "stretch", "cm", 100, 1),
            ("foot slide", "slide", "cm/s", 100, 1),
            ("below the floor", "penetration", "mm", 1000, 1),
        )
        parts = [
            f"{label} {scale * getattr(self.before, name):.{digits}f} -> "
            f"{scale * getattr(self.after, name):.{digits}f} {unit}"
            for label, name, unit, scale, digits in shown
        ]
        return ", ".join([*parts, f"root moved by up to {100 * self.root_move:.1f} cm"])


def is_decoded(joints: np.ndarray, skeleton: Skeleton) -> bool:
    """Whether the bones of joints (F, J, 3), metres, stretch as a decoder's do.

    A guess: 19 of 772 clips of CMU, as recorded, have a joint that is as loose. Say `decoded` where it is known.
    """
    return len(joints) > 0 and bool(np.percentile(stretch(joints, own_lengths(joints, skeleton), skeleton), 95) > RIGID)


def clean_joints(
    joints: np.ndarray,
    fps: float,
    skeleton: Skeleton,
    lengths: np.ndarray | None = None,
    floor: float = 0.0,
    decoded: bool | None = None,
) -> tuple[np.ndarray, CleanReport]:
    """Joints (F, J, 3) in metres, y up -> clean ones of the same shape and type, and what changed.

    Args:
        lengths: (J - 1,) metres of the bones. Default the skeleton's, or the motion's own if it has none; for a body of
            other proportions give `bones.own_lengths(joints, skeleton)`.
        floor: height that no foot may be below, metres.
        decoded: whether a decoder wrote the joints; default `is_decoded`. False neither smooths nor holds feet.

    A skeleton without legs of two bones has no feet to hold. Cleaning twice is cleaning once. Raises ValueError for
    joints of another skeleton or that are not finite, and for wrong lengths.
    """
    given = np.asarray(joints)
    J = skeleton.num_joints
    if given.ndim != 3 or given.shape[1:] != (J, 3) or not np.isfinite(given).all():
        raise ValueError(f"joints must be finite and (F, {J}, 3) for {skeleton.name}, got {given.shape}")
    x = given.astype(np.float64)
    if lengths is None:
        lengths = skeleton_lengths(skeleton) if skeleton.has_lengths or len(x) == 0 else own_lengths(x, skeleton)
    lengths = np.asarray(lengths, np.float64)
    if lengths.shape != (J - 1,) or not (lengths >= 0).all():
        raise ValueError(f"lengths must be {J - 1} numbers from 0 up for {skeleton.name}, got shape {lengths.shape}")
    decoded = is_decoded(x, skeleton) if decoded is None else decoded

    calm = without_jitter(x, SMOOTHING) if decoded else x
    out = rigid(calm, lengths, skeleton)
    source = calm if decoded else out  # a decoder means the places of the feet, whatever its bones are
    toes = [source[:, leg.toe] for leg in legs(skeleton)]
    prints = [footprints(toe, fps) for toe in toes] if len(x) else []
    if prints:
        out = place_feet(out, toes, prints if decoded else None, skeleton, floor)
    out = np.where(np.abs(out - x) < ROUNDING, x, out)
    before, after = (_faults(motion, prints, lengths, fps, skeleton, floor) for motion in (x, out))
    root_move = float(np.linalg.norm(out[:, 0] - x[:, 0], axis=-1).max(initial=0.0))
    kind = given.dtype if given.dtype.kind == "f" else np.float32
    return out.astype(kind), CleanReport(before, after, root_move)


def _faults(
    joints: np.ndarray, prints: list[np.ndarray], lengths: np.ndarray, fps: float, skeleton: Skeleton, floor: float
) -> Faults:
    tensor = torch.from_numpy(joints)
    speeds = slide_speeds(joints, prints, skeleton, fps) if prints else np.zeros(0)
    return Faults(
        jerk=_mean(jerk(tensor, fps).numpy() if len(joints) > 3 else np.zeros(0)),
        stretch=float(stretch(joints, lengths, skeleton).max(initial=0.0)),
        slide=_mean(speeds),
        penetration=_mean(floor_penetration(tensor, floor).numpy()),
    )


def _mean(values: np.ndarray) -> float:
    """The mean, 0 of none."""
    return float(values.mean()) if len(values) else 0.0
