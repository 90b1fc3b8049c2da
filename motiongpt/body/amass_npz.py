"""Fitted bodies as .npz files in the layout of AMASS, z up: what `motiongpt.data.readers.amass`, Blender add-ons and
retargeters for robots read.

The keys are those of AMASS's own archives. SMPL-H: poses (F, 156), trans, betas (16,), dmpls (F, 8), gender,
mocap_framerate. SMPL-X: poses (F, 165) in the order body, jaw, eyes, hands, the same in parts as root_orient (F, 3),
pose_body (F, 63), pose_hand (F, 90), pose_jaw (F, 3) and pose_eye (F, 6), and num_betas, surface_model_type,
mocap_frame_rate. Tools ask for one spelling of the rate or the other, so both are written for all models, and
so are the parts: GMR (`general_motion_retargeting/utils/smpl.py`) reads root_orient, pose_body, trans, betas, gender
and mocap_frame_rate; PHC (`scripts/data_process/convert_amass_data.py`) reads the first 66 columns of poses, trans,
betas, gender and mocap_framerate.
"""

from pathlib import Path

import numpy as np
import torch

from motiongpt.body.body_model import GENDERS, MAX_BETAS, MODEL_JOINTS
from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_multiply, quaternion_to_axis_angle
from motiongpt.body.smpl_fit import BodyFit
from motiongpt.files.store import write_atomic

_Z_UP = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
"""(x, y, z) -> (-x, z, y), y up to z up: a half turn, so it is its own inverse. The reader's turn is the same."""
_HANDS = 90  # columns of 30 joints


def amass_arrays(fit: BodyFit, gender: str = "neutral", kind: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of an AMASS file by key. `gender` is that of the body model that was fitted.

    `kind` (smpl, smplh or smplx) is needed for a fit of the stand-in body only. Such a file has the right pose for any
    model, but its heights are off by where the model's own pelvis is at rest. Raises ValueError for other names.
    """
    kind = kind or fit.kind
    if kind not in MODEL_JOINTS:
        raise ValueError(f"kind {kind!r} has no layout in AMASS: give one of {', '.join(MODEL_JOINTS)}")
    if fit.kind in MODEL_JOINTS and kind != fit.kind:
        raise ValueError(f"the body of the fit is {fit.kind}, so it cannot be written as {kind}: betas differ")
    if gender not in GENDERS:
        raise ValueError(f"gender must be one of {', '.join(GENDERS)}, got {gender!r}")
    F = len(fit.pose)
    poses = np.zeros((F, MODEL_JOINTS[kind], 3))
    poses[:, :22] = fit.pose
    root = quaternion_multiply(torch.tensor(_Z_UP), axis_angle_to_quaternion(torch.from_numpy(fit.pose[:, 0])))
    poses[:, 0] = quaternion_to_axis_angle(root)
    # the pelvis turns about itself: where it is must be turned, not the translation alone
    x, y, z = (fit.rest[0] + fit.trans).T
    betas = np.zeros(MAX_BETAS)
    betas[: len(fit.betas)] = fit.betas
    arrays = {
        "poses": poses.reshape(F, -1),
        "trans": np.stack((-x, z, y), axis=-1) - fit.rest[0],
        "betas": betas,
        "num_betas": np.array(MAX_BETAS),
        "gender": np.array(gender),
        "surface_model_type": np.array(kind),
        "mocap_framerate": np.array(fit.fps),
        "mocap_frame_rate": np.array(fit.fps),
        "mocap_time_length": np.array(F / fit.fps),
        "root_orient": poses[:, 0],
        "pose_body": poses[:, 1:22].reshape(F, -1),
    }
    if kind != "smpl":
        arrays["pose_hand"] = np.zeros((F, _HANDS))
    if kind == "smplh":
        arrays["dmpls"] = np.zeros((F, 8))
    if kind == "smplx":
        arrays |= {"pose_jaw": np.zeros((F, 3)), "pose_eye": np.zeros((F, 6))}
    return arrays


def write_amass(path: Path | str, fit: BodyFit, gender: str = "neutral", kind: str | None = None) -> None:
    """Write `amass_arrays` to an .npz, whole or not at all. Raises OSError naming the file, and its ValueErrors."""
    arrays = amass_arrays(fit, gender, kind)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a name, NumPy would add .npz to it
            np.savez(file, **arrays)

    write_atomic(Path(path), write)
