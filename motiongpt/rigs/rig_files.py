"""The character's own file as a rig: .bvh (its HIERARCHY), .glb or .vrm (its skin and nodes).

Bones are matched by name (`bone_names.py`), in a VRM by the map that the file has. `Rig.notes` lists what could not be
matched. The rest pose of a BVH file is the one with all rotations at zero, or its first frame if only that one stands
upright. The unit does not matter: a motion is scaled by the legs.
"""

import re
from pathlib import Path

import numpy as np

from motiongpt.body.limbs import unit
from motiongpt.rigs.anatomy import PARTS, Anatomy
from motiongpt.rigs.bone_names import HUMAN_BONES, find_parts
from motiongpt.rigs.gltf import Document, node_tree, read_document
from motiongpt.rigs.rig import ORDER, Rig
from motiongpt.rigs.turns import AXES, about

MAX_BYTES = 256 << 20
MAX_BONES = 2048
SUFFIXES = (".bvh", ".glb", ".vrm")
UNITS = (1.0, 0.01, 0.0254, 0.0254 / 0.45, 0.001)  # metres per unit that files have
LEG = 0.85  # metres of an adult's leg
ON_AXIS = np.cos(np.radians(30))  # how closely a body stands along the axes of its file


def load_rig(path: str | Path) -> Rig:
    """The rig of a character's own file. Raises FileNotFoundError, or ValueError naming the file and what it lacks."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a rig is a {', '.join(SUFFIXES)} file; export the character as one of them")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    return _from_bvh(path) if path.suffix.lower() == ".bvh" else _from_glb(path)


def _rig(path: Path, names, parents, rest: np.ndarray, axes: np.ndarray, anatomy: Anatomy, **more) -> Rig:
    """What both kinds of file have in common: which way the body stands, its unit, and the notes."""
    facing = _facing(rest, anatomy)
    if facing is None:
        raise ValueError(
            f"{path}: the rest pose does not stand upright (legs down, hips beside each other); export it in a T-pose "
            "or A-pose"
        )
    leg = anatomy.leg(rest)
    if not 1e-6 < leg < 1e6:
        raise ValueError(f"{path}: the legs are {leg:g} long in the rest pose")
    lacking = [part for part in PARTS if part not in anatomy.parts]
    notes = [f"{path.name}: no bone found for {', '.join(lacking)}"] if lacking else []
    bones = {*anatomy.parts.values(), *anatomy.spine, *anatomy.neck}
    still = [name for bone, name in enumerate(names) if bone not in bones]
    notes += [f"{path.name}: bones that stay as they are on their parent: {', '.join(still[:40])}"] if still else []
    heights = (rest @ facing.T)[[anatomy.parts[p] for p in ("left_ankle", "right_ankle")], 1]
    toes = [anatomy.parts[p] for p in ("left_foot", "right_foot", "left_ankle", "right_ankle") if p in anatomy.parts]
    lowest = float((rest @ facing.T)[toes, 1].min())
    at_zero = 0 <= lowest <= 0.15 * leg and heights.min() > 0  # the file's own floor, if the feet are just above it
    return Rig(
        path.name, tuple(names), tuple(parents), rest, anatomy, axes, facing, 0.0 if at_zero else lowest,
        min(UNITS, key=lambda u: abs(np.log(leg * u / LEG))), notes=tuple(notes), **more,
    )  # fmt: skip


def _facing(rest: np.ndarray, anatomy: Anatomy) -> np.ndarray | None:
    """The rotation (3, 3) that makes a body at rest stand along y and face +z; None if its rest pose does not stand."""
    at = {part: rest[bone] for part, bone in anatomy.parts.items()}
    left = unit(at["left_hip"] - at["right_hip"])
    ups = [at[f"{side}_{upper}"] - at[f"{side}_{lower}"] for side in ("left", "right")
           for upper, lower in (("hip", "knee"), ("knee", "ankle"))]  # fmt: skip
    up = unit(np.sum(ups, axis=0))
    if min(unit(bone) @ up for bone in ups) < 0.8 or abs(left @ up) > 0.3 or not left.any():
        return None
    for axis in np.concatenate((np.eye(3), -np.eye(3))):  # files stand along their axes, legs a little less so
        up = axis if up @ axis > ON_AXIS else up
    left = unit(left - (left @ up) * up)
    for axis in np.concatenate((np.eye(3), -np.eye(3))):
        left = axis if left @ axis > ON_AXIS and abs(axis @ up) < 1e-6 else left
    return np.stack((left, up, np.cross(left, up)))


# BVH


def _from_bvh(path: Path) -> Rig:
    names, parents, offsets, channels, tips, first = _read_hierarchy(path)
    anatomy = find_parts(names, parents, {}, str(path))
    B = len(names)
    still = np.repeat(np.eye(3)[None], B, axis=0)
    rest = _placed(offsets, parents, still)
    orders = []
    turns = still.copy()
    column = 0
    for b, own in enumerate(channels):
        order = "".join(channel[0] for channel in own if channel.endswith("rotation"))
        orders.append(order if sorted(order) == list(AXES) else ORDER)
        for channel in own:
            if channel.endswith("rotation") and first is not None:
                turns[b] = turns[b] @ about(np.eye(3)[AXES.index(channel[0])], np.radians(first[column]))
            column += 1
    axes = still
    if _facing(rest, anatomy) is None and first is not None:
        for b, parent in enumerate(parents):
            turns[b] = turns[parent] @ turns[b] if parent >= 0 else turns[b]
        posed = _placed(offsets, parents, turns)
        if _facing(posed, anatomy) is not None:  # the offsets turn with the bones: these are the bones' own axes
            rest, axes = posed, turns
    return _rig(path, names, parents, rest, axes, anatomy, orders=tuple(orders), tips=tips)


def _placed(offsets: np.ndarray, parents: list[int], turns: np.ndarray) -> np.ndarray:
    rest = offsets.copy()
    for b, parent in enumerate(parents):
        rest[b] = rest[parent] + turns[parent] @ offsets[b] if parent >= 0 else offsets[b]
    return rest


def _read_hierarchy(path: Path):
    """Names, parents, offsets (B, 3), channels, tips by bone, and the numbers of the first frame (None without).

    Raises ValueError naming the file and the line.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size >> 20} MB, at most {MAX_BYTES >> 20} are read")
    names, parents, offsets, channels = [], [], [], []
    tips: dict[int, np.ndarray] = {}
    stack: list[int | None] = []  # open blocks: a bone, or None for an End Site
    pending: int | None = None
    lines = iter(enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1))
    number = 0
    try:
        for numbered in lines:
            number, line = numbered
            words = line.replace("{", " { ").replace("}", " } ").split()
            while words:
                key = words.pop(0).upper()
                if key in ("ROOT", "JOINT"):
                    end = words.index("{") if "{" in words else len(words)
                    name, words = " ".join(words[:end]), words[end:]
                    if not name or len(names) == MAX_BONES:
                        raise ValueError("a joint without a name" if not name else f"more than {MAX_BONES} joints")
                    parents.append(stack[-1] if stack else -1)
                    pending = len(names)
                    names.append(name)
                    offsets.append(np.zeros(3))
                    channels.append(())
                elif key == "END":
                    pending, words = None, words[words.index("{") :] if "{" in words else []
                elif key == "{":
                    stack.append(pending)
                elif key == "}":
                    stack.pop()
                elif key == "OFFSET":
                    offset = np.array([float(word) for word in words[:3]])
                    words = words[3:]
                    if offset.shape != (3,) or not (np.abs(offset) < 1e9).all():
                        raise ValueError("OFFSET needs three numbers")
                    if stack[-1] is None:
                        tips[stack[-2]] = offset
                    else:
                        offsets[stack[-1]] = offset
                elif key == "CHANNELS":
                    count = int(words[0])
                    own = [word.capitalize() for word in words[1 : count + 1]]
                    if len(own) < count or not all(re.fullmatch("[XYZ](position|rotation|scale)", w) for w in own):
                        raise ValueError(f"{count} channels such as Xposition or Zrotation expected")
                    channels[stack[-1]], words = tuple(own), words[count + 1 :]
                elif key == "MOTION":
                    return names, parents, np.array(offsets), channels, tips, _first_frame(lines, channels)
                elif key != "HIERARCHY":
                    raise ValueError(f"unexpected {key[:40]!r}")
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(f"{path}, line {number}: not a BVH hierarchy ({str(error)[:80]})") from error
    if not names or stack:
        raise ValueError(f"{path} ends before its HIERARCHY does; expected ROOT, JOINTs and a }} for each")
    return names, parents, np.array(offsets), channels, tips, None


def _first_frame(lines, channels) -> list[float] | None:
    """The numbers of the first row of a MOTION section, if it has as many as there are channels."""
    for _, line in lines:
        if line.strip() and ":" not in line:
            values = [float(word) for word in line.split()]
            right = len(values) == sum(map(len, channels)) and np.isfinite(values).all()
            return values if right else None
    return None


# glTF


def _from_glb(path: Path) -> Rig:
    document = read_document(path)
    node_parents, world = node_tree(document, path)
    given = _human_bones(document)
    bones = _bones(document, node_parents, set(given.values()), path)
    index = {node: b for b, node in enumerate(bones)}
    names = [str(document.json["nodes"][node].get("name", f"node{node}")) for node in bones]
    parents = [index.get(node_parents[node], -1) for node in bones]
    parts = {part: index[node] for part, node in given.items()}
    anatomy = find_parts(names, parents, parts, str(path))
    # axes without scale: the nearest rotation, by the polar decomposition
    u, _, vt = np.linalg.svd(world[bones, :3, :3])
    axes = u @ vt
    if (np.linalg.det(axes) < 0).any():
        mirrored = names[int(np.argmin(np.linalg.det(axes)))]
        raise ValueError(f"{path}: bone {mirrored} is mirrored (a negative scale); apply the scale and export again")
    return _rig(path, names, parents, world[bones, :3, 3], axes, anatomy, document=document, nodes=tuple(bones))


def _human_bones(document: Document) -> dict[str, int]:
    """Part -> node, as a VRM file (1.0 or 0.x) says it; empty for other files."""
    extensions = document.json.get("extensions", {})
    bones = {}
    try:
        for name, bone in extensions.get("VRMC_vrm", {}).get("humanoid", {}).get("humanBones", {}).items():
            bones[name] = bone["node"]
        for bone in extensions.get("VRM", {}).get("humanoid", {}).get("humanBones", []):
            bones[bone["bone"]] = bone["node"]
    except (AttributeError, TypeError, KeyError):
        return {}  # the names are left
    count = len(document.json.get("nodes", []))
    return {
        HUMAN_BONES[name]: node
        for name, node in bones.items()
        if name in HUMAN_BONES and isinstance(node, int) and 0 <= node < count
    }


def _bones(document: Document, parents: list[int], humans: set[int], path: Path) -> list[int]:
    """The nodes that are bones, parents first: joints of skins and of a VRM's map with all above them, or else all."""
    try:
        joints = {joint for skin in document.json.get("skins", []) for joint in skin["joints"]} | humans
        joints = joints or set(range(len(parents)))
        if min(joints) < 0:  # an index from the end, in Python alone
            raise LookupError(min(joints))
        for joint in list(joints):
            while parents[joint] >= 0:
                joint = parents[joint]
                joints.add(joint)
        depth = {}
        for joint in joints:
            at, depth[joint] = joint, 0
            while parents[at] >= 0:
                at, depth[joint] = parents[at], depth[joint] + 1
    except (TypeError, LookupError) as error:
        raise ValueError(f"{path}: its skins name joints that are no nodes ({error})") from error
    if len(joints) > MAX_BONES:
        raise ValueError(f"{path} has {len(joints)} bones, at most {MAX_BONES} are read")
    return sorted(joints, key=lambda joint: (depth[joint], joint))
