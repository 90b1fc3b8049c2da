"""Motions as glTF 2.0 binary files: a skinned figure that moves, or the user's own character with the motion on it.

`write_glb` makes one node per bone, a plain figure (`figure.py`) bound to them, and an animation: LINEAR quaternions
per bone whose signs do not jump, and a translation of the pelvis. Units are metres, y is up, as glTF demands. With a
rig from a .glb or .vrm file the result is that file, mesh and all, with the animation before its own ones.

`write_vrma` makes a VRM animation (VRMC_vrm_animation 1.0): nodes in a T-pose and the map from VRM's humanoid bones to
them. Players bring it to an avatar's proportions by themselves.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import SIDES, Skeleton
from motiongpt.rigs.figure import figure
from motiongpt.rigs.gltf import INDICES, VERTICES, Document, node_tree
from motiongpt.rigs.retarget import Animation, animate
from motiongpt.rigs.rig import Rig
from motiongpt.rigs.turns import continuous, quaternions

STILL = 1e-6  # a quaternion or place that changes by less has no track
LONGEST_NAME = 300
VRM_NEEDED = ("pelvis", "head") + tuple(
    f"{side}_{part}" for side in SIDES for part in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
)


def write_glb(
    path: Path,
    joints: np.ndarray,
    skeleton: Skeleton,
    fps: float,
    *,
    rig: str | Path | Rig = "own",
    text: str = "",
) -> Path:
    """Write joints (F, J, 3), in metres, y up, on a rig, and return the path. `text` names the animation.

    Raises ValueError as `retarget.animate` does, OSError naming the path.
    """
    animation = animate(joints, skeleton, fps, rig)
    if animation.rig.document:
        return _on_character(animation, text).write(path)
    animation = animation.upright()
    document = Document()
    _add_nodes(document, animation.rig)
    _add_figure(document, animation.rig)
    _add_animation(document, animation, range(len(animation.rig.names)), text)
    return document.write(path)


def write_vrma(
    path: Path,
    joints: np.ndarray,
    skeleton: Skeleton,
    fps: float,
    *,
    rig: str | Path | Rig = "vrm",
    text: str = "",
) -> Path:
    """Write joints (F, J, 3), in metres, y up, as a VRM animation, and return the path.

    It fits every avatar, so `rig` can only be "vrm" (or "own", which means the same here). Raises ValueError for
    another rig, for a skeleton that lacks bones which VRM demands, and as `retarget.animate` does.
    """
    if getattr(rig, "name", rig) not in ("vrm", "own"):
        raise ValueError(f"a .vrma file plays on every VRM avatar, so it takes no rig, got {getattr(rig, 'name', rig)}")
    animation = animate(joints, skeleton, fps, "vrm")
    lacking = [part for part in VRM_NEEDED if part not in animation.rig.anatomy.parts]
    if lacking or not animation.rig.anatomy.spine:
        raise ValueError(f"VRM needs {', '.join(lacking or ['a spine'])}, which skeleton {skeleton.name} lacks")
    document = Document()
    _add_nodes(document, animation.rig)
    _add_animation(document, animation, range(len(animation.rig.names)), text)
    bones = {name: {"node": node} for node, name in enumerate(animation.rig.names)}  # the rig's names are VRM's
    document.json["extensionsUsed"] = ["VRMC_vrm_animation"]
    document.json["extensions"] = {"VRMC_vrm_animation": {"specVersion": "1.0", "humanoid": {"humanBones": bones}}}
    return document.write(path)


def _add_nodes(document: Document, rig: Rig) -> None:
    """One node per bone, in the order of the rig, and a scene of the roots."""
    for bone, (name, parent) in enumerate(zip(rig.names, rig.parents, strict=True)):
        axes, above = rig.axes[bone], rig.axes[parent] if parent >= 0 else np.eye(3)
        offset = above.T @ (rig.rest[bone] - (rig.rest[parent] if parent >= 0 else 0))
        node = {"name": name, "translation": offset.tolist()}
        if not np.allclose(axes, above, atol=1e-9):
            node["rotation"] = _xyzw(quaternions(above.T @ axes)).tolist()
        children = [child for child, other in enumerate(rig.parents) if other == bone]
        document.add("nodes", node | ({"children": children} if children else {}))
    roots = [bone for bone, parent in enumerate(rig.parents) if parent < 0]
    document.json["scene"] = document.add("scenes", {"nodes": roots})


def _add_figure(document: Document, rig: Rig) -> None:
    """A mesh bound to the nodes; its own node stands beside them, since a skin ignores the node's place."""
    mesh = figure(rig)
    weights = np.zeros((len(mesh.bones), 4), np.float32)
    weights[:, 0] = 1
    joints = np.zeros((len(mesh.bones), 4), np.uint8 if len(rig.names) <= 256 else np.uint16)
    joints[:, 0] = mesh.bones
    small = len(mesh.positions) < 1 << 16
    indices = mesh.triangles.ravel().astype(np.uint16 if small else np.uint32)
    primitive = {
        "attributes": {
            "POSITION": document.accessor(mesh.positions, VERTICES, bounds=True),
            "NORMAL": document.accessor(mesh.normals, VERTICES),
            "COLOR_0": document.accessor(mesh.colours, VERTICES, normalized=True),
            "JOINTS_0": document.accessor(joints, VERTICES),
            "WEIGHTS_0": document.accessor(weights, VERTICES),
        },
        "indices": document.accessor(indices, INDICES),
        "material": document.add(
            "materials", {"name": "figure", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}
        ),
    }
    binds = np.zeros((len(rig.names), 4, 4))
    binds[:, :3, :3] = np.swapaxes(rig.axes, -1, -2)
    binds[:, :3, 3] = -(np.swapaxes(rig.axes, -1, -2) @ rig.rest[..., None])[..., 0]
    binds[:, 3, 3] = 1
    columns = np.swapaxes(binds, -1, -2).reshape(-1, 16).astype(np.float32)  # glTF stores matrices by columns
    skin = {"joints": list(range(len(rig.names))), "inverseBindMatrices": document.accessor(columns)}
    node = {
        "name": "figure",
        "mesh": document.add("meshes", {"name": "figure", "primitives": [primitive]}),
        "skin": document.add("skins", skin),
    }
    document.json["scenes"][0]["nodes"].append(document.add("nodes", node))


def _add_animation(
    document: Document, animation: Animation, nodes: Sequence[int], text: str, places: np.ndarray | None = None
) -> None:
    """Tracks of all bones that move, before other animations; bone b is node `nodes[b]`.

    The pelvis has a track of its place, `places` (F, 3) where the nodes above it have a scale.
    """
    rig = animation.rig
    pelvis = rig.anatomy.parts["pelvis"]
    turns, own_places = animation.local(rig.axes)
    places = own_places[:, pelvis] if places is None else places
    q = _xyzw(continuous(quaternions(turns))).astype(np.float32)  # (F, B, 4)
    times = (np.arange(len(q)) / animation.fps).astype(np.float32)
    clock = document.accessor(times, bounds=True)
    samplers, channels = [], []

    def track(node: int, path: str, values: np.ndarray) -> None:
        samplers.append({"input": clock, "output": document.accessor(values), "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    track(nodes[pelvis], "translation", places.astype(np.float32))
    bones = {*rig.anatomy.parts.values(), *rig.anatomy.spine, *rig.anatomy.neck}
    for bone in range(len(rig.names)):
        still = len(q) > 1 and np.ptp(q[:, bone], axis=0).max() < STILL
        if bone in bones or not still:
            track(nodes[bone], "rotation", q[:, bone])
    record = {"name": text[:LONGEST_NAME] or "motion", "samplers": samplers, "channels": channels}
    document.json.setdefault("animations", []).insert(0, record)


def _on_character(animation: Animation, text: str) -> Document:
    """The user's own file with the motion as its first animation."""
    rig = animation.rig
    document = rig.document.copy()
    buffers = document.json.get("buffers") or [{}]
    if "uri" in buffers[0]:
        raise ValueError(f"{rig.name} has its data in other files; export it as one .glb")
    for node in rig.nodes:
        _split_matrix(document.json["nodes"][node])
    pelvis = rig.anatomy.parts["pelvis"]
    places = animation.joints[:, pelvis]
    if rig.parents[pelvis] >= 0:  # nodes above may have a scale, as Mixamo's 0.01
        _, world = node_tree(document, Path(rig.name))
        back = np.linalg.inv(world[rig.nodes[rig.parents[pelvis]]])
        places = places @ back[:3, :3].T + back[:3, 3]
    _add_animation(document, animation, rig.nodes, text, places)
    return document


def _split_matrix(node: dict) -> None:
    """A node that an animation moves must have T, R and S instead of a matrix (specification, section 3.5.3)."""
    if "matrix" in node:
        matrix = np.array(node.pop("matrix"), np.float64).reshape(4, 4).T
        scale = np.linalg.norm(matrix[:3, :3], axis=0)
        node |= {
            "translation": matrix[:3, 3].tolist(),
            "rotation": _xyzw(quaternions(matrix[:3, :3] / scale)).tolist(),
            "scale": scale.tolist(),
        }


def _xyzw(q: np.ndarray) -> np.ndarray:
    """Quaternions w x y z -> x y z w, the order of glTF."""
    return np.roll(q, -1, axis=-1)
