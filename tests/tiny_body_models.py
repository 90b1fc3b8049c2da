"""Small, valid SMPL, SMPL-H and SMPL-X models in the published layouts, and the smplx package's forward pass on them.

A body is a closed tube around every bone of `stand_in_body` and of its hands and face: 322 to 440 vertices. Joints of
the rest pose are regressed from the tips of the tubes, up to 4 joints move a vertex, and pose corrections are not zero.
"""

import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from motiongpt.body.body_model import MODEL_JOINTS, stand_in_body
from motiongpt.body.skeletons import HUMANML3D

COLUMNS = {"smpl": 10, "smplh": 16, "smplx": 20}  # of shapedirs: SMPL-X's short file has 10 of shape, 10 of the face
RING = 6  # vertices around a bone
RINGS = {"smpl": (0.25, 0.75), "smplh": (0.4,), "smplx": (0.4,)}  # where along a bone
GENDERS = ("male", "female", "neutral")


def skeleton(kind: str) -> tuple[list[int], np.ndarray]:
    """Parents of all joints (-1 for the root) and their places (J, 3) in the rest pose, the root not at the origin."""
    body = HUMANML3D
    parents = list(body.parents)
    places = list(stand_in_body().rest_joints(np.zeros(0)) + (0.01, -0.25, 0.02))

    def add(parent, *offsets):
        for offset in offsets:
            parents.append(parent)
            places.append(places[parent] + offset)
            parent = len(parents) - 1

    if kind == "smplx":
        for offset in ((0, -0.01, 0.03), (0.03, 0.06, 0.06), (-0.03, 0.06, 0.06)):  # jaw and eyes
            add(body.index("head"), offset)
    for name, side in (("left_wrist", 1), ("right_wrist", -1)):
        if kind == "smpl":
            add(body.index(name), (0.08 * side, 0, 0))
            continue
        for across in (0.03, 0.01, -0.03, -0.01, 0.05):  # index, middle, pinky, ring, thumb
            add(body.index(name), (0.09 * side, 0, across), (0.03 * side, 0, 0), (0.02 * side, 0, 0))
    assert len(parents) == MODEL_JOINTS[kind]
    return parents, np.array(places)


def tubes(starts: np.ndarray, ends: np.ndarray, rings: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A closed tube per bone -> vertices (B, n, 3), from the start's tip to the end's, and faces (B, m, 3) seen from
    outside counter-clockwise."""
    along = ends - starts  # (B, 3)
    length = np.linalg.norm(along, axis=1, keepdims=True)
    least = np.eye(3)[np.abs(along).argmin(axis=1)]
    side = np.cross(along, least)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(along / length, side)
    angle = 2 * np.pi * np.arange(RING)[:, None, None] / RING
    radius = np.clip(0.3 * length, 0.006, 0.07) * (side * np.cos(angle) + other * np.sin(angle))  # (RING, B, 3)
    points = [starts[None], *(starts + share * along + radius for share in rings), ends[None]]
    vertices = np.concatenate(points).transpose(1, 0, 2)
    i = np.arange(RING)
    j = (i + 1) % RING
    last = 1 + RING * len(rings)
    faces = [np.stack((0 * i, 1 + j, 1 + i), 1), np.stack((0 * i + last, last - RING + i, last - RING + j), 1)]
    for ring in range(len(rings) - 1):
        a, b = 1 + RING * ring, 1 + RING * (ring + 1)
        faces += [np.stack((a + i, a + j, b + j), 1), np.stack((a + i, b + j, b + i), 1)]
    one = np.concatenate(faces)
    return vertices, one[None] + len(vertices[0]) * np.arange(len(starts))[:, None, None]


def body_arrays(kind: str, seed: int = 0) -> dict[str, np.ndarray]:
    """A valid body model with everything that the smplx package needs. Other seeds are other persons."""
    return {key: array.copy() for key, array in _body_arrays(kind, seed).items()}


@cache
def _body_arrays(kind: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    parents, places = skeleton(kind)
    places = places * rng.uniform(0.85, 1.15, 3)
    J = len(parents)
    # bones: to every joint from its parent, and the skull
    head = HUMANML3D.index("head")
    owners = np.array([*parents[1:], head])  # the joint that moves a bone
    starts, ends = places[owners], np.concatenate((places[1:], places[[head]] + (0, 0.2, 0)))
    points, faces = tubes(starts, ends, RINGS[kind])
    n = points.shape[1]
    vertices, faces = points.reshape(-1, 3), faces.reshape(-1, 3)
    V = len(vertices)

    # each vertex follows the bones that are near, at most 4 of them
    share = np.einsum("vbc,bc->vb", vertices[:, None] - starts, ends - starts) / ((ends - starts) ** 2).sum(1)
    nearest = starts + np.clip(share, 0, 1)[..., None] * (ends - starts)
    near = np.exp(-(((vertices[:, None] - nearest) ** 2).sum(-1)) / 0.03**2)
    weights = np.zeros((V, J))
    np.add.at(weights.T, owners, near.T)
    np.put_along_axis(weights, np.argsort(weights, axis=1, kind="stable")[:, :-4], 0, axis=1)
    weights /= weights.sum(1, keepdims=True)

    # a joint lies where the tips of its bones meet
    regressor = np.zeros((J, V))
    for j in range(J):
        tips = [n * bone for bone in range(len(owners) - 1) if owners[bone] == j]
        regressor[j, tips] = 0.4 / max(len(tips), 1)
        regressor[j, n * (j - 1) + n - 1 if j else tips[0]] += 1 - regressor[j].sum()

    # shapes: taller, wider, then waves over the body; faces move near the skull alone
    wave = np.sin(vertices @ rng.normal(0, 3, (3, 3 * COLUMNS[kind])) + rng.uniform(0, 6, 3 * COLUMNS[kind]))
    shapes = 0.008 * wave.reshape(V, 3, -1)
    shapes[..., 0] = 0.04 * (vertices - vertices.mean(0))
    shapes[..., 1] = 0.15 * (points - points.mean(1, keepdims=True)).reshape(-1, 3)
    if kind == "smplx":
        shapes[..., 10:] *= np.exp(-((vertices - places[head]) ** 2).sum(1) / 0.1**2)[:, None, None]
    arrays = {
        "v_template": vertices,
        "shapedirs": shapes,
        "J_regressor": regressor,
        "kintree_table": np.array([[2**32 - 1, *parents[1:]], range(J)], np.uint32),  # as published
        "posedirs": rng.normal(0, 0.002, (V, 3, 9 * (J - 1))),
        "weights": weights,
        "f": faces.astype(np.uint32),
    }
    if kind != "smpl":
        for side in "lr":
            arrays[f"hands_components{side}"] = np.linalg.qr(rng.normal(size=(45, 45)))[0]
            arrays[f"hands_mean{side}"] = rng.normal(0, 0.2, 45)
    if kind == "smplx":
        corners = rng.uniform(size=(51 + 79 * 17, 3))
        corners /= corners.sum(1, keepdims=True)
        arrays["lmk_faces_idx"], arrays["lmk_bary_coords"] = np.arange(51), corners[:51]
        arrays["dynamic_lmk_faces_idx"] = rng.integers(len(faces), size=(79, 17))
        arrays["dynamic_lmk_bary_coords"] = corners[51:].reshape(79, 17, 3)
    return arrays


def write_models(folder: Path, kinds=("smplh", "smplx", "smpl"), suffix=".npz") -> Path:
    """All genders of the kinds, under their published names, as .npz or as pickles."""
    for i, (kind, gender) in enumerate((kind, gender) for kind in kinds for gender in GENDERS):
        stem = f"smplh/{gender}/model" if kind == "smplh" else f"{kind}/{kind.upper()}_{gender.upper()}"
        write_model(folder / (stem + suffix), body_arrays(kind, i))
    return folder


def write_model(path: Path, arrays: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes(pickle.dumps(arrays, protocol=2))
    return path


def smplx_forward(
    kind: str, arrays: dict, poses: np.ndarray, betas: np.ndarray, transl: np.ndarray, monkeypatch, tmp_path,
    expression: np.ndarray | None = None, flat_hand_mean: bool = True,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Vertices (F, V, 3) and all joints of the model (F, J, 3) from the smplx package's own forward pass, in float64.

    `poses` (F, 3 J) axis-angle in the order of the model's joints, `betas` (10,) or (F, 10).
    """
    smplx = pytest.importorskip("smplx")
    from smplx import body_models
    from smplx.utils import Struct

    # the picked surface points of the real meshes, which a small mesh does not have
    monkeypatch.setitem(body_models.VERTEX_IDS, "smplh", dict.fromkeys(body_models.VERTEX_IDS["smplh"], 0))
    monkeypatch.setitem(body_models.VERTEX_IDS, "smplx", dict.fromkeys(body_models.VERTEX_IDS["smplx"], 0))
    options = {"num_betas": 10, "dtype": torch.float64, "use_pca": False, "flat_hand_mean": flat_hand_mean}
    if kind == "smplx":  # takes a file only
        path = write_model(tmp_path / "SMPLX_MALE.npz", arrays)
        model = smplx.SMPLX(str(path), gender="male", batch_size=len(poses), **options)
    else:
        cls = {"smpl": smplx.SMPL, "smplh": smplx.SMPLH}[kind]
        model = cls("", data_struct=Struct(**arrays), batch_size=len(poses), **options)
    p = torch.from_numpy(poses)
    rows = torch.from_numpy(np.broadcast_to(betas, (len(poses), betas.shape[-1])).copy())
    parts = {"global_orient": p[:, :3], "transl": torch.from_numpy(transl), "betas": rows}
    if kind == "smpl":
        parts["body_pose"] = p[:, 3:]
    elif kind == "smplh":
        parts |= {"body_pose": p[:, 3:66], "left_hand_pose": p[:, 66:111], "right_hand_pose": p[:, 111:]}
    else:
        parts |= {"body_pose": p[:, 3:66], "jaw_pose": p[:, 66:69], "leye_pose": p[:, 69:72],
                  "reye_pose": p[:, 72:75], "left_hand_pose": p[:, 75:120], "right_hand_pose": p[:, 120:]}  # fmt: skip
        parts["expression"] = (
            torch.zeros(len(poses), 10).double() if expression is None else torch.from_numpy(expression)
        )
    with torch.no_grad():
        made = model(**parts)
    return made.vertices.numpy(), made.joints[:, : MODEL_JOINTS[kind]].numpy()
