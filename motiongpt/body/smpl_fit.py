"""Joints to SMPL: pose, shape and translation of an SMPL, SMPL-H or SMPL-X body that follows a 22-joint motion.

    body = load_body_model(find_body_model("body_models", "smplh", "male"), "smplh")
    fit = fit_body(joints, 20.0, body)          # joints (F, 22, 3) in metres, y up
    write_amass("motion.npz", fit, "male")      # amass_npz.py

1. The shape from the bone lengths, then from the joints of up to 128 frames; `bone_fit.py`.
2. Turns of all joints, frame by frame. Feet on the ground count more, so that they stand where the motion's stand.
3. Twists, which joints do not show, over time: `twists.py`.

No vertex is posed: all that is needed are the rest joints and forward kinematics. The fit follows its input, jitter and
sliding feet included; clean the motion first if it has them (`motiongpt.cleanup`).

A body whose bones have the motion's lengths is recovered to a fraction of a millimetre. Another skeleton, such as that
of CMU's captures, is met as well as the body can: `BodyFit.errors` says how well.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.body_model import BodyModel
from motiongpt.body.bone_fit import Shape, betas_of_lengths, bones_of, fit_betas, fit_turns, shape_of
from motiongpt.body.feet import footprints, legs
from motiongpt.body.kinematics import posed_joints
from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_to_axis_angle
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.body.smoothing import smooth
from motiongpt.body.twists import local_turns, natural_twists

J = HUMANML3D.num_joints
NUM_BETAS = 10
SHAPE_FRAMES = 128  # of a clip that its shape is found from
# how much bone lengths may be missed before the motion is scaled: in metres, and as a multiple of what scaling leaves
MISSED = 0.005, 2.0
LOW, SLOW = 0.05, 0.3  # metres and m/s: a foot that is so low and slow stands
STANDING = 30.0  # how much more the joints of a standing foot count
FADE = 0.1  # seconds over which that comes and goes
PIECE = 128  # frames at a time that do not depend on each other: their matrices stay in the processor's cache
CHUNK = 1024  # frames at a time for the twists, about 40 MB
OVERLAP = 6.0  # seconds on either side: twists forget in 0.75, see SLOW and FREE in twists.py
LARGEST = 1e6  # metres


@dataclass(frozen=True)
class BodyFit:
    """A body in motion, in the model's own frame as published: metres, y up, the frame of the joints it was fitted to.

    `pose` has the pelvis first, then each joint against its parent; angles are at most pi. Rotations are continuous
    over time; their axis-angle vector jumps to the other side only where an angle passes pi. Feet, head and wrists have
    no bone among the 22 joints, so they are zero.
    """

    pose: np.ndarray  # (F, 22, 3) float64 axis-angle
    betas: np.ndarray  # (10,) float64, zero beyond those that the model has
    trans: np.ndarray  # (F, 3) float64: pelvis = rest pelvis + trans
    errors: np.ndarray  # (F, 22) metres from each joint to the scaled motion's
    scale: float  # the motion was multiplied by this, about the origin: 1 if the betas reach its size
    rest: np.ndarray  # (22, 3) rest joints of this shape
    kind: str  # of the body model
    fps: float

    def joints(self) -> np.ndarray:
        """Joints (F, 22, 3) float64 of the body, metres, y up."""
        return posed_joints(self.rest, axis_angle_to_quaternion(torch.from_numpy(self.pose)).numpy(), self.trans)


def fit_body(joints: np.ndarray, fps: float, body: BodyModel, betas: np.ndarray | None = None) -> BodyFit:
    """Fit a body to joints (F, 22, 3) in metres, y up, at `fps` frames a second.

    `betas` (N,) is the shape if it is known, such as that of another clip of the same person; N is at most 10.
    A size that betas up to 5 do not reach (a child, another unit) scales the motion instead, see `BodyFit.scale`.

    Raises ValueError naming the first frame and joint at fault (NaN, infinite, too large), or a wrong shape or rate.
    """
    joints = _checked(joints, fps)
    K = min(NUM_BETAS, body.directions.shape[-1])
    if betas is not None and (betas.ndim != 1 or len(betas) > NUM_BETAS or np.any(betas[K:])):
        raise ValueError(f"betas must be (N,), and 0 beyond the {K} of the {body.kind} model, got {betas.shape}")
    if betas is not None and not np.isfinite(betas).all():
        raise ValueError(f"betas must be finite numbers, got {betas}")
    shape = shape_of(torch.from_numpy(body.template), torch.from_numpy(body.directions[..., :K]))
    wanted = torch.from_numpy(joints)
    found, scale = _shape_and_scale(wanted, shape, betas)
    wanted = wanted * scale
    rest = shape.rest_bones(found)

    weights = torch.from_numpy(_weights(wanted.numpy(), fps))
    pieces = [fit_turns(w, s, rest) for w, s in zip(wanted.split(PIECE), weights.split(PIECE), strict=True)]
    turns, pelvis = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    pose = quaternion_to_axis_angle(local_turns(_twists(turns, rest, fps))).numpy()

    rest_joints = body.rest_joints(found.numpy())
    whole = np.zeros(NUM_BETAS)
    whole[:K] = found
    trans = pelvis.numpy() - rest_joints[0]
    fit = BodyFit(pose, whole, trans, np.zeros((len(pose), J)), scale, rest_joints, body.kind, float(fps))
    fit.errors[:] = np.linalg.norm(fit.joints() - wanted.numpy(), axis=-1)
    return fit


def _checked(joints: np.ndarray, fps: float) -> np.ndarray:
    """Joints in float64, or ValueError."""
    joints = np.asarray(joints)
    if joints.dtype.kind not in "fiu" or joints.ndim != 3 or joints.shape[1:] != (J, 3) or not len(joints):
        raise ValueError(f"joints must be numbers (F, {J}, 3), F at least 1, got {joints.dtype} {joints.shape}")
    if not 1 <= fps <= 1000:
        raise ValueError(f"fps must be from 1 to 1000, got {fps}")
    joints = joints.astype(np.float64)
    bad = np.argwhere(~(np.abs(joints) <= LARGEST))  # NaN is not below anything
    if len(bad):
        frame, joint, axis = bad[0]
        raise ValueError(
            f"frame {frame}: {HUMANML3D.joints[joint]} is at {'xyz'[axis]} = {joints[tuple(bad[0])]:g}, not a place in "
            f"metres; {len(np.unique(bad[:, 0]))} of {len(joints)} frames are like this: cut or mend them first"
        )
    return joints


def _shape_and_scale(joints: Tensor, shape: Shape, betas: np.ndarray | None) -> tuple[Tensor, float]:
    """Betas (K,) and what the joints (F, 22, 3) are to be multiplied by."""
    lengths = torch.linalg.vector_norm(bones_of(joints), dim=-1).median(0).values  # (21,)
    if not lengths.sum() > 0:
        raise ValueError("all joints of most frames are in one place: there is no body to fit")

    if betas is None:
        choices = [betas_of_lengths(lengths, shape, scale) for scale in (1.0, None)]
    else:
        known = shape.bones.new_zeros(shape.directions.shape[-1])
        known[: len(betas)] = torch.from_numpy(betas[: len(known)].astype(np.float64))
        bones = torch.linalg.vector_norm(shape.rest_bones(known), dim=-1)
        choices = [(known, 1.0), (known, float(bones @ lengths / lengths.square().sum()))]
    missed = [
        float((torch.linalg.vector_norm(shape.rest_bones(b), dim=-1) - scale * lengths).square().mean().sqrt())
        for b, scale in choices
    ]
    # with a scale, the betas have the proportions only; another skeleton has bones that neither explains
    found, scale = choices[missed[0] > max(MISSED[0], MISSED[1] * missed[1])]
    if betas is None and len(found):
        some = torch.linspace(0, len(joints) - 1, min(SHAPE_FRAMES, len(joints)), dtype=joints.dtype).round().long()
        found = fit_betas(scale * joints[some], shape, found)
    return found, scale


def _weights(joints: np.ndarray, fps: float) -> np.ndarray:
    """How much each joint (F, 22) counts: more where a foot stands."""
    weights = np.ones(joints.shape[:2])
    for leg in legs(HUMANML3D):
        stands = footprints(joints[:, leg.toe], fps, LOW, SLOW) > 0
        weights[:, leg.foot] += STANDING * smooth(stands.astype(np.float64), FADE * fps)[:, None]
    return weights


def _twists(turns: Tensor, rest: Tensor, fps: float) -> Tensor:
    """Turns (F, 22, 4) with natural twists, in chunks that overlap, of which the middles are kept."""
    margin = round(OVERLAP * fps)
    done = []
    for start in range(0, len(turns), CHUNK):
        first = max(0, start - margin)
        piece = natural_twists(turns[first : start + CHUNK + margin], rest, fps)
        done.append(piece[start - first :][:CHUNK])
    return torch.cat(done)
