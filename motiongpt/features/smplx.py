"""The 182 SMPL-X numbers of a frame: which they are, their order here, and their order in other projects.

`SMPLX_WIDTHS` is the only table; columns, the total width and the foreign orders follow from it. The public
SignMotionGPT code has two orders for a bare array of 182 numbers. It trains in ours and draws in another, which has the
eyes at the end and no root. The numbers alone cannot tell the two apart, so a caller has to name the order.
"""

import numpy as np
import torch

from motiongpt.body.body_model import stand_in_body
from motiongpt.body.kinematics import posed_joints, turned_upright
from motiongpt.body.rotations import axis_angle_to_quaternion
from motiongpt.body.smpl_mesh import MeshModel, mesh_vertices
from motiongpt.features.columns import named_columns

SMPLX_WIDTHS = {
    "betas": 10, "body_pose": 63, "left_hand_pose": 45, "right_hand_pose": 45, "jaw_pose": 3, "expression": 10,
    "global_orient": 3, "transl": 3,
}  # fmt: skip
"""Name -> how many numbers a frame has of it, in our order. Poses are axis-angle, `transl` is in metres."""

SMPLX_ROTATIONS = ("body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose", "global_orient")  # axis-angle

SMPLX_WIDTH = sum(SMPLX_WIDTHS.values())  # 182

SMPLX_COLUMNS = named_columns(SMPLX_WIDTHS)
"""Name -> its columns in our order."""

_DRAWN = ("betas", "body_pose", "left_hand_pose", "right_hand_pose", "transl", "expression", "jaw_pose", "eye_pose")
_WIDTHS = {**SMPLX_WIDTHS, "eye_pose": 3}  # the eyes are in no array of ours

SMPLX_LAYOUTS = {
    "train": SMPLX_COLUMNS,
    "visualize": named_columns({name: _WIDTHS[name] for name in _DRAWN}),
}
"""Order of a bare array -> name -> columns. The keys are the values of --smplx-layout."""


def from_layout(array: np.ndarray, layout: str | None) -> np.ndarray:
    """Bring (F, 182) of the order `layout` into ours, as float32; what that order lacks is zero (see `missing_in`).

    Raises ValueError without a layout, for an unknown one, and for another width.
    """
    if layout not in SMPLX_LAYOUTS:
        raise ValueError(
            f"182 numbers without names: say which order, --smplx-layout {{{','.join(SMPLX_LAYOUTS)}}}"
            + (f", not {layout!r}" if layout is not None else "")
        )
    array = np.asarray(array)
    if array.ndim != 2 or array.shape[1] != SMPLX_WIDTH or array.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers (F, {SMPLX_WIDTH}), got {array.shape} {array.dtype}")
    ours = np.zeros(array.shape, np.float32)
    for name, columns in SMPLX_LAYOUTS[layout].items():
        if name in SMPLX_COLUMNS:
            ours[:, SMPLX_COLUMNS[name]] = array[:, columns]
    return ours


def body_turns(parameters: np.ndarray) -> np.ndarray:
    """Parameters (F, 182) -> quaternions (F, 22, 4) float64 of the pelvis and the 21 body joints."""
    columns = [parameters[:, SMPLX_COLUMNS[name]] for name in ("global_orient", "body_pose")]
    axis_angles = np.concatenate(columns, axis=1).astype(np.float64).reshape(-1, 22, 3)
    return axis_angle_to_quaternion(torch.from_numpy(axis_angles)).numpy()


def stand_in_joints(parameters: np.ndarray) -> np.ndarray:
    """Parameters (F, 182) -> joints (F, 22, 3) float32 of `stand_in_body`, upright, the clip's lowest joint on y = 0.

    Betas, hands and the face do not count. Bone lengths are not the person's, so feet may slide.
    """
    trans = parameters[:, SMPLX_COLUMNS["transl"]].astype(np.float64)
    rest = stand_in_body().rest_joints(np.zeros(0))
    joints, _ = turned_upright(posed_joints(rest, body_turns(parameters), trans))
    joints[..., 1] -= joints[..., 1].min()
    return joints.astype(np.float32)


def smplx_mesh(
    parameters: np.ndarray, model: MeshModel, *, flat_hand_mean: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (F, 182) -> vertices (F, V, 3) and joints (F, 22, 3) float32: upright, the lowest vertex on y = 0.

    Hands count from the model's mean hand, as where such parameters come from; `flat_hand_mean` counts from a flat one.
    Raises ValueError for another shape, another kind of model, no frames, and what `mesh_vertices` refuses.
    """
    parameters = np.asarray(parameters)
    if parameters.ndim != 2 or parameters.shape[1] != SMPLX_WIDTH or not len(parameters):
        raise ValueError(f"expected parameters (F, {SMPLX_WIDTH}) with F > 0, got {parameters.shape}")
    if model.kind != "smplx":
        raise ValueError(f"the {SMPLX_WIDTH} parameters are SMPL-X's, the body model is {model.kind.upper()}")
    named = {name: parameters[:, columns] for name, columns in SMPLX_COLUMNS.items()}
    vertices, joints = mesh_vertices(model, flat_hand_mean=flat_hand_mean, **named)
    # three unit vectors are turned along with the joints, and show how
    units = np.broadcast_to(np.eye(3, dtype=np.float32), (len(joints), 3, 3))
    turned, _ = turned_upright(np.concatenate((joints[:, :22], units), axis=1))
    np.matmul(vertices, turned[0, 22:], out=vertices)
    low = vertices[..., 1].min()
    vertices[..., 1] -= low
    return vertices, turned[:, :22] - np.float32((0, low, 0))


def missing_in(layout: str) -> list[str]:
    """Our names that an order does not carry."""
    return [name for name in SMPLX_COLUMNS if name not in SMPLX_LAYOUTS[layout]]
