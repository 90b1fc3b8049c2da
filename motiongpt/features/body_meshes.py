"""Motions on a published body model: SMPL-X parameters as they are, joints through a body that is fitted to them.

    vertices, joints = BodyMeshes("smplx", "body_models").of_joints(motion.joints, motion.skeleton, motion.fps)

What this module does not know: how a body is fitted (`body/smpl_fit.py`), skinned (`body/smpl_mesh.py`) or drawn.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from motiongpt.body.amass_npz import write_amass
from motiongpt.body.body_model import find_body_model, load_body_model
from motiongpt.body.skeletons import HUMANML3D, Skeleton
from motiongpt.body.smpl_fit import BodyFit, fit_body
from motiongpt.body.smpl_mesh import MeshModel, mesh_vertices
from motiongpt.features.smplx import smplx_mesh

FAR_OFF = 0.03  # metres that joints may be missed by on average, without a word


class BodyMeshes:
    """One body model, read when the first motion needs it."""

    def __init__(
        self, kind: str, folder: Path | str | None, gender: str = "neutral", say: Callable[[str], None] = print
    ) -> None:
        """`kind` is smpl, smplh or smplx; `folder` has body models; `say` gets a line on a fit that needs one."""
        self.kind, self.folder, self.gender, self.say = kind, folder, gender, say

    def check(self) -> None:
        """Raise what `model` raises without a folder, or without such a file in it; nothing is read."""
        MeshModel.find(self.folder, self.kind, self.gender)

    @cached_property
    def model(self) -> MeshModel:
        """Raises FileNotFoundError and ValueError, which say where models come from and what was looked for."""
        return MeshModel.load(self.folder, self.kind, self.gender)

    def of_parameters(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """SMPL-X parameters (F, 182) -> vertices (F, V, 3) and joints (F, 22, 3) in metres, y up."""
        return smplx_mesh(parameters, self.model)

    def of_joints(self, joints: np.ndarray, skeleton: Skeleton, fps: float) -> tuple[np.ndarray, np.ndarray]:
        """Joints (F, 22, 3) -> vertices (F, V, 3) and the joints (F, 22, 3) of the fitted body. Errors: see `fit`."""
        fit = self.fit(joints, skeleton, fps)
        pose = {"global_orient": fit.pose[:, 0], "body_pose": fit.pose[:, 1:].reshape(len(fit.pose), -1)}
        vertices, fitted = mesh_vertices(self.model, betas=fit.betas, transl=fit.trans, **pose)
        # soles are lower than toe joints: they stand where those did
        lift = joints[..., 1].min() * fit.scale - vertices[..., 1].min()
        vertices[..., 1] += lift
        return vertices, fitted[:, : HUMANML3D.num_joints] + np.float32((0, lift, 0))

    def fit(self, joints: np.ndarray, skeleton: Skeleton, fps: float) -> BodyFit:
        """Pose, shape and translation of joints. Raises ValueError for other joints than HumanML3D's 22."""
        if skeleton.joints != HUMANML3D.joints:
            found = f"the {skeleton.num_joints} of {skeleton.name}"
            raise ValueError(f"a body is fitted to the {HUMANML3D.num_joints} joints of humanml3d, not to {found}")
        kind = self.model.kind  # read first: its errors say more
        body = load_body_model(find_body_model(self.folder, kind, self.gender), kind)
        fit = fit_body(joints, fps, body)
        if fit.scale != 1:
            self.say(f"the body model does not come in this size: the motion was scaled by {fit.scale:.3g}")
        if (missed := fit.errors.mean()) > FAR_OFF:
            self.say(f"the body misses the joints by {1000 * missed:.0f} mm on average")
        return fit

    def write_amass(self, path: Path | str, joints: np.ndarray, skeleton: Skeleton, fps: float) -> None:
        """Fit joints and write the body in motion as AMASS's .npz; see `body/amass_npz.py`."""
        write_amass(path, self.fit(joints, skeleton, fps), self.gender)
