"""glTF 2.0 binary files (.glb, .vrm, .vrma): a JSON document and one buffer in a container of chunks.

Container: "glTF", version 2, length; then chunks (length, type, bytes): JSON padded with spaces, BIN with zeros, each
to four bytes (specification 2.0, section 4.4). Only what files of characters need is here: nodes, skins, animations.
"""

import copy
import json
import struct
from pathlib import Path

import numpy as np
import torch

from motiongpt.body.rotations import quaternion_to_matrix
from motiongpt.files.store import write_atomic

MAX_BYTES = 512 << 20
MAX_NODES = 20_000
GENERATOR = "motiongpt"
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_COMPONENTS = {"float32": 5126, "uint8": 5121, "uint16": 5123, "uint32": 5125}
_WIDTHS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_LISTS = ("animations", "accessors", "bufferViews", "buffers")
VERTICES, INDICES = 34962, 34963  # targets of a buffer view


class Document:
    """A document that is being built, or was read: `json` and the bytes of its one buffer."""

    def __init__(self, content: dict | None = None, buffer: bytes = b""):
        self.json: dict = content or {"asset": {"version": "2.0", "generator": GENERATOR}}
        self.buffer = bytearray(buffer)

    def copy(self) -> "Document":
        """One that can be changed."""
        return Document(copy.deepcopy(self.json), bytes(self.buffer))

    def add(self, key: str, value: dict) -> int:
        """Append to a list of the document ("nodes", "meshes", ...) and return the index."""
        self.json.setdefault(key, []).append(value)
        return len(self.json[key]) - 1

    def accessor(self, values: np.ndarray, target: int | None = None, bounds: bool = False, **more) -> int:
        """Append an array (N,) or (N, width) of a type that glTF has; `bounds` writes its min and max."""
        values = np.ascontiguousarray(values)
        rows = values.reshape(len(values), -1)
        self.buffer += bytes(-len(self.buffer) % 4)
        view = {"buffer": 0, "byteOffset": len(self.buffer), "byteLength": values.nbytes}
        if target is not None:
            view["target"] = target
        self.buffer += values.tobytes()
        accessor = {
            "bufferView": self.add("bufferViews", view),
            "componentType": _COMPONENTS[values.dtype.name],
            "count": len(values),
            "type": _WIDTHS[rows.shape[1]],
        }
        if bounds:
            accessor |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        return self.add("accessors", accessor | more)

    def write(self, path: Path) -> Path:
        """Write the container, whole or not at all."""
        self.buffer += bytes(-len(self.buffer) % 4)
        if self.buffer:
            first = (self.json.get("buffers") or [{}])[0]
            self.json["buffers"] = [{**first, "byteLength": len(self.buffer)}, *self.json.get("buffers", [])[1:]]
        text = json.dumps(self.json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        head = text.encode("utf-8", errors="replace")
        head += b" " * (-len(head) % 4)
        chunks = struct.pack("<II", len(head), _JSON) + head
        if self.buffer:
            chunks += struct.pack("<II", len(self.buffer), _BIN) + bytes(self.buffer)
        content = struct.pack("<III", _MAGIC, 2, 12 + len(chunks)) + chunks
        write_atomic(Path(path), lambda temporary: temporary.write_bytes(content))
        return Path(path)


def read_document(path: Path) -> Document:
    """A .glb file. Raises FileNotFoundError, or ValueError naming the file and what is wrong with it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size >> 20} MB, at most {MAX_BYTES >> 20} are read")
    content = path.read_bytes()
    if len(content) < 20 or struct.unpack_from("<I", content)[0] != _MAGIC:
        raise ValueError(f"{path} is no binary glTF file (.glb): it does not begin with glTF")
    version, length = struct.unpack_from("<II", content, 4)
    if version != 2 or length > len(content):
        raise ValueError(
            f"{path}: glTF version {version} of {length} bytes; expected 2, and the file has {len(content)}"
        )
    chunks: dict[int, bytes] = {}
    at = 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<II", content, at)
        if at + 8 + size > length:
            raise ValueError(f"{path} is cut short: a chunk of {size} bytes begins at byte {at} of {length}")
        chunks.setdefault(kind, content[at + 8 : at + 8 + size])
        at += 8 + size
    try:
        document = json.loads(chunks.get(_JSON, b"").decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its JSON chunk is not valid ({str(error)[:80]})") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: its JSON chunk is no object")
    for key in _LISTS:
        values = document.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise ValueError(f"{path}: {key} in its JSON chunk is no list of objects")
    return Document(document, chunks.get(_BIN, b""))


def node_tree(document: Document, path: Path) -> tuple[list[int], np.ndarray]:
    """Parents of the nodes (-1 for a root) and their matrices (N, 4, 4) in the world, at rest.

    Raises ValueError naming the file and the node at fault.
    """
    nodes = document.json.get("nodes", [])
    if not isinstance(nodes, list) or not 0 < len(nodes) <= MAX_NODES:
        raise ValueError(f"{path} needs 1 to {MAX_NODES} nodes to be a character")
    parents = [-1] * len(nodes)
    matrices = np.empty((len(nodes), 4, 4))
    for i, node in enumerate(nodes):
        try:
            matrices[i] = _matrix(node)
            for child in node.get("children", []):
                if parents[child] != -1 or child < 0:
                    raise ValueError(f"node {child} has two parents")
                parents[child] = i
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"{path}: node {i} is malformed ({error})") from error
    world = matrices.copy()
    done = [parent < 0 for parent in parents]
    waiting = [i for i, ready in enumerate(done) if not ready]
    while waiting:
        ready = [i for i in waiting if done[parents[i]]]
        if not ready:
            raise ValueError(f"{path}: its nodes are no tree: node {waiting[0]} is its own ancestor")
        for i in ready:
            world[i] = world[parents[i]] @ matrices[i]
            done[i] = True
        waiting = [i for i in waiting if not done[i]]
    return parents, world


def _matrix(node: dict) -> np.ndarray:
    """The matrix (4, 4) of a node: its own, which is stored by columns, or T R S."""
    if "matrix" in node:
        matrix = np.array(node["matrix"], np.float64).reshape(4, 4).T
    else:
        matrix = np.eye(4)
        x, y, z, w = node.get("rotation", (0, 0, 0, 1))
        q = torch.tensor([w, x, y, z], dtype=torch.float64)
        matrix[:3, :3] = quaternion_to_matrix(q / q.norm()).numpy() * np.array(node.get("scale", (1, 1, 1)), np.float64)
        matrix[:3, 3] = node.get("translation", (0, 0, 0))
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-30:
        raise ValueError("its transform is not finite, or flat")
    return matrix
