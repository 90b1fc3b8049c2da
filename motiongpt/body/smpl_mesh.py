"""SMPL, SMPL-H and SMPL-X as meshes: poses, shape and translation -> vertices and joints, in torch.

Linear blend skinning (Loper et al. 2015, "SMPL", equations 2 to 9): the template plus shape, expression and pose
corrections, then each vertex moved by the joints' transforms, weighted. The joints are those of `body_model.py` and
all others of the model (hands, jaw, eyes).

The forward pass is our own, and the `smplx` package is its oracle in the tests. The package's SMPL-X class opens the
file itself with unpickling allowed, prints warnings, and needs the real meshes' vertex numbers; ours reads files as
`body_model.py` does, works for any mesh, and skips what no caller wants. Everything is differentiable.

    F frames   V vertices   J joints of the model (24, 52 or 55)   K betas, then expressions   P = 9 (J - 1)
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motiongpt.body.body_model import (
    LICENCE,
    MODEL_JOINTS,
    find_body_model,
    first_expression,
    num_betas,
    read_model_file,
)
from motiongpt.body.rotations import axis_angle_to_quaternion, quaternion_to_matrix

CHUNK = 64  # frames that are skinned at once; SMPL-X takes 100 MB for as many
MAX_BYTES = 2 << 30  # of vertices in one array: 17,000 frames of SMPL-X
MAX_EXPRESSIONS = 10
_HANDS = ("left_hand_pose", "right_hand_pose")
_BODY = {"global_orient": 1, "body_pose": 21}
_POSES = {
    "smpl": _BODY | dict.fromkeys(_HANDS, 1),
    "smplh": _BODY | dict.fromkeys(_HANDS, 15),
    "smplx": _BODY | {"jaw_pose": 1, "leye_pose": 1, "reye_pose": 1} | dict.fromkeys(_HANDS, 15),
}
"""Kind -> how many joints each part of the pose has, in the order of the model's joints."""


@dataclass(frozen=True, eq=False)
class MeshModel:
    """A body model with its mesh. All tensors are float32, metres, y up in the model's own frame."""

    kind: str  # smpl, smplh or smplx
    faces: np.ndarray  # (N, 3) int64, counter-clockwise seen from outside
    parents: tuple[int, ...]  # (J,) -1 for the root; a parent comes before its children
    num_betas: int
    num_expressions: int
    template: Tensor  # (V, 3)
    directions: Tensor  # (K, V, 3): what each beta, and then each expression, adds
    rest_template: Tensor  # (J, 3) joints of the template
    rest_directions: Tensor  # (K, J, 3)
    pose_directions: Tensor  # (P, V * 3)
    weights: Tensor  # (V, J)
    hand_mean: Tensor  # (hand joints of both sides, 3) axis-angle; zero where the file has none

    @classmethod
    def load(cls, folder: Path | str | None, kind: str = "smplx", gender: str = "neutral") -> "MeshModel":
        """The model of a kind and gender below a folder of body models. It is read once.

        Raises what `find` and `load_mesh_model` raise.
        """
        return load_mesh_model(cls.find(folder, kind, gender), kind)

    @staticmethod
    def find(folder: Path | str | None, kind: str, gender: str) -> Path:
        """The file of the model of a kind and gender below a folder of body models.

        Raises FileNotFoundError and ValueError as `find_body_model` does, and ValueError without a folder.
        """
        if folder is None:
            raise ValueError(
                f"a mesh needs a body model of {kind.upper()}: give the folder of body models, --smplx-dir DIR or the "
                f"environment variable SMPLX_MODEL_DIR; models come from {LICENCE.get(kind, ' or '.join(LICENCE))}"
            )
        return find_body_model(folder, kind, gender)

    @property
    def num_vertices(self) -> int:
        """How many vertices the mesh has."""
        return len(self.template)

    def transforms(self, poses: Tensor, shape: Tensor, transl: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Poses (F, J, 3) axis-angle, shape (F or 1, up to K), translations (F, 3) -> the skeleton alone.

        Returns joints (F, J, 3), what skinning moves points of the rest pose by, (F, J, 3, 4), and the local rotation
        matrices (F, J, 3, 3). Use it where no vertex is needed, such as a fit.
        """
        F, J = poses.shape[:2]
        turns = quaternion_to_matrix(axis_angle_to_quaternion(poses))  # (F, J, 3, 3) relative to the parent
        rest = self.rest_template + torch.einsum("fk,kjc->fjc", shape, self.rest_directions[: shape.shape[1]])
        rest = rest.expand(F, J, 3)
        world, places = [turns[:, 0]], [rest[:, 0] + transl]
        for j in range(1, J):
            parent = self.parents[j]
            bone = rest[:, j] - rest[:, parent]
            places.append(places[parent] + (world[parent] @ bone[..., None])[..., 0])
            world.append(world[parent] @ turns[:, j])
        joints, rotations = torch.stack(places, dim=1), torch.stack(world, dim=1)
        shifts = joints - (rotations @ rest[..., None])[..., 0]
        return joints, torch.cat((rotations, shifts[..., None]), dim=-1), turns

    def posed(self, poses: Tensor, shape: Tensor, transl: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of `transforms` -> vertices (F, V, 3) and joints (F, J, 3). All frames at once."""
        F = len(poses)
        V = self.num_vertices
        joints, moves, turns = self.transforms(poses, shape, transl)
        # equation 9: how far each joint is from its rest pose moves vertices, linearly in the matrices' entries
        bends = (turns[:, 1:] - torch.eye(3).to(turns)).reshape(F, -1)  # (F, P)
        shaped = self.template + torch.einsum("fk,kvc->fvc", shape, self.directions[: shape.shape[1]])
        points = shaped + (bends @ self.pose_directions).view(F, V, 3)
        blended = (self.weights @ moves.reshape(F, len(self.parents), 12)).view(F, V, 3, 4)
        return (blended[..., :3] @ points[..., None])[..., 0] + blended[..., 3], joints


@lru_cache(maxsize=2)  # SMPL-X takes 80 MB
def load_mesh_model(path: Path, kind: str) -> MeshModel:
    """Read a model's file (.npz or .pkl) with its mesh. Raises what `read_model_file` raises, for the mesh's keys too:
    f (N, 3) faces, weights (V, joints), posedirs (V, 3, 9 (joints - 1)); hands_meanl, hands_meanr (45,) may be absent.
    """
    arrays = read_model_file(path, kind, ("f", "weights", "posedirs", "hands_meanl", "hands_meanr"))
    missing = [key for key in ("f", "weights", "posedirs") if key not in arrays]
    if missing:
        raise ValueError(f"{path} has joints of {kind.upper()} but no mesh: it lacks {', '.join(missing)}")
    template, regressor, shapes = arrays["v_template"], arrays["J_regressor"], arrays["shapedirs"]
    V, J = len(template), MODEL_JOINTS[kind]
    hands = 3 * _POSES[kind][_HANDS[0]]  # numbers of one hand
    expected = {
        "f": (*(arrays["f"].shape[:1] or "N"), 3),
        "weights": (V, J),
        "posedirs": (V, 3, 9 * (J - 1)),
        "hands_meanl": (hands,),
        "hands_meanr": (hands,),
    }
    if kind == "smpl":  # hands of one joint have no mean
        arrays = {key: value for key, value in arrays.items() if not key.startswith("hands_mean")}
    for key, size in expected.items():
        if key in arrays and (arrays[key].shape != size or not arrays[key].size):
            raise ValueError(f"{path}: {key} of {kind.upper()} must be {size}, got {arrays[key].shape}")
    faces = arrays["f"].astype(np.int64)
    if faces.min() < 0 or faces.max() >= V or (faces != arrays["f"]).any():
        raise ValueError(f"{path}: f must be whole numbers from 0 to {V - 1}, the vertices of its {len(faces)} faces")
    parents = arrays["kintree_table"][0, 1:].astype(np.int64)
    if (parents != arrays["kintree_table"][0, 1:]).any() or (parents < 0).any() or (parents > np.arange(J - 1)).any():
        raise ValueError(f"{path}: kintree_table has a joint before its parent")

    K = num_betas(kind, shapes)
    first = first_expression(shapes.shape[2])
    faces_of_it = shapes[..., first : first + MAX_EXPRESSIONS] if kind == "smplx" else shapes[..., :0]
    directions = np.concatenate((shapes[..., :K], faces_of_it), axis=2).transpose(2, 0, 1)  # (K, V, 3)
    means = [arrays.get(key, np.zeros(hands)) for key in ("hands_meanl", "hands_meanr")]

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    return MeshModel(
        kind=kind,
        faces=faces,
        parents=(-1, *parents.tolist()),
        num_betas=K,
        num_expressions=faces_of_it.shape[2],
        template=tensor(template),
        directions=tensor(directions),
        rest_template=tensor(regressor @ template),
        rest_directions=tensor(regressor @ directions),
        pose_directions=tensor(arrays["posedirs"].reshape(V * 3, -1).T),
        weights=tensor(arrays["weights"]),
        hand_mean=tensor(np.concatenate(means).reshape(-1, 3)),
    )


def full_pose(model: MeshModel, *, flat_hand_mean: bool = False, **parts: np.ndarray | None) -> Tensor:
    """Named parts of a pose, (F, 3 n) or (F, n, 3) axis-angle -> (F, J, 3) float32 in the order of the model's joints.

    global_orient and body_pose (21 joints) are needed; left_hand_pose, right_hand_pose (15 joints, SMPL: 1), and for
    SMPL-X jaw_pose, leye_pose, reye_pose are zero if left out or None. Hands count from the file's mean hand, as in
    smplx, or with `flat_hand_mean` from the flat one, as in AMASS. Raises ValueError naming the part at fault.
    """
    widths = _POSES[model.kind]
    unknown = sorted(set(parts) - set(widths))
    if unknown:
        raise ValueError(f"{model.kind.upper()} has no {', '.join(unknown)}: its poses are {', '.join(widths)}")
    lacking = [name for name in _BODY if parts.get(name) is None]
    if lacking:
        raise ValueError(f"a pose needs {' and '.join(lacking)}")
    F = len(np.atleast_1d(parts["global_orient"]))
    rows = [_rows(parts.get(name), name, F, 3 * joints).view(F, joints, 3) for name, joints in widths.items()]
    poses = torch.cat(rows, dim=1)
    if not flat_hand_mean:
        poses[:, -len(model.hand_mean) :] += model.hand_mean  # the hands come last in every kind
    return poses


def mesh_vertices(
    model: MeshModel,
    *,
    betas: np.ndarray | None = None,
    expression: np.ndarray | None = None,
    transl: np.ndarray | None = None,
    **poses,
) -> tuple[np.ndarray, np.ndarray]:
    """Named arrays of a motion -> vertices (F, V, 3) and joints (F, J, 3), float32 metres. In chunks of frames.

    Args:
        betas: (K,) or (F, K); those left out are zero. More than the model has are a ValueError.
        expression: (F, up to 10), of SMPL-X alone.
        transl: (F, 3), zero if left out.
        poses: what `full_pose` takes.

    Raises ValueError for a wrong name or shape, for NaN (naming the part and the first such frame), and for more than
    `MAX_BYTES` of vertices.
    """
    pose = full_pose(model, **poses)
    F, V = len(pose), model.num_vertices
    if F * V * 12 > MAX_BYTES:
        most = MAX_BYTES // (V * 12)
        raise ValueError(f"{F:,} frames of {V:,} vertices take more than 2 GB: cut the motion to {most:,} frames")
    shape = _shape(model, betas, expression, F)
    shift = _rows(transl, "transl", F, 3)
    vertices = np.empty((F, V, 3), np.float32)
    joints = np.empty((F, len(model.parents), 3), np.float32)
    with torch.no_grad():
        for start in range(0, F, CHUNK):
            part = slice(start, start + CHUNK)
            own = shape[part] if len(shape) > 1 else shape
            posed = model.posed(pose[part], own, shift[part])
            vertices[part], joints[part] = (values.numpy() for values in posed)
    return vertices, joints


def _shape(model: MeshModel, betas, expression, frames: int) -> Tensor:
    """Betas and expressions -> (F or 1, K) in the order of the model's directions."""
    betas = np.zeros((1, 0)) if betas is None else np.atleast_2d(np.asarray(betas))
    constant = len(betas) == 1 or (len(betas) and (betas == betas[:1]).all())
    if betas.shape[-1] > model.num_betas:
        raise ValueError(f"{betas.shape[-1]} betas for a model of {model.num_betas}")
    betas = _rows(betas[:1] if constant else betas, "betas", 1 if constant else frames, betas.shape[-1])
    if expression is None:
        return betas
    width = np.shape(expression)[-1] if np.ndim(expression) else 0
    if not 0 < width <= model.num_expressions:
        raise ValueError(f"{width} expressions for a model of {model.kind.upper()} with {model.num_expressions}")
    face = _rows(expression, "expression", frames, width)
    # expressions start behind all betas, given or not
    betas = torch.nn.functional.pad(betas, (0, model.num_betas - betas.shape[1])).expand(frames, -1)
    return torch.cat((betas, face), dim=1)


def _rows(values: np.ndarray | None, name: str, frames: int, width: int) -> Tensor:
    """Values (F, width) or (F, width / 3, 3) as a float32 tensor (F, width); zeros for None."""
    if values is None:
        return torch.zeros(frames, width)
    array = np.asarray(values)
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or len(array) != frames or array[:1].size != width:
        if frames or array.size:  # an empty array has no width
            raise ValueError(f"{name} must be numbers ({frames}, {width}), got {array.dtype} {array.shape}")
    array = array.reshape(frames, width).astype(np.float32)
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ValueError(f"{name} is NaN or infinite in {bad.sum()} frames, the first is frame {bad.argmax()}")
    return torch.from_numpy(array)
