"""The Master Motor Map (MMM) body: its tree, segment lengths, and forward kinematics to KIT's 21 joints.

Facts from the model file of the KIT Motion-Language Dataset (`mmm.xml`, Simox format):

    frame     right-handed, x to the body's right, y to the front, z up; all angles zero: upright, arms hanging
    a joint   fixed offset from the parent, then the turns in the order x, z, y (towards the child), each about its
              own axis: R = R_parent Rx Rz Ry. Joints with fewer axes leave the others out: elbow x z, wrist x y,
              knee x. `Mrot` (middle of the foot) turns about y in a frame tilted by 15 degrees about x after 9
              degrees about z; `F` (toes) follows it.
    signs     LHx, LSx > 0 lift the leg or arm to the front; LEx > 0 bends the elbow; LKx < 0 bends the knee;
              LSy > 0 and RSy < 0 lift the arm sideways
    lengths   in thousandths of the body height, after Winter ("Biomechanics and Motor Control of Human Movement")

What the file leaves open, and what is done here:

- A length is in it twice, as a fixed offset and as the range of a sliding joint. Both agree for limbs, but not for BP
  (80, 40), BT (120, 60), BLN (44, 22) and LS, RS (110, 23). The ranges are taken: only they put the shoulders at 0.818,
  the chin at 0.870 and the crown at 1.000 of the height, as Winter has it. The offsets would make a body of 1.122.
- The order x, z, y is that of the file's nodes. In a recorded walk every other order lets planted feet slide more.
- The offset of the two `Mrot` joints is not mirrored in the file (x = +0.6 on both sides, a millimetre in an adult). It
  is kept.
- Clavicles (`LSCx` ...) are part of the model but not of KIT's files. They turn only if a file lists them.

Which way it faces: the feet of the model point to y, the front, and so do bent knees. In the recorded walk that comes
with the language2pose code (00001) the body moves that way, too, at 0.36 m/s. If the root of a walk "forward" moves to
-y at a yaw of zero, the file's author took -y for the front. Such files are read as they are, as walks backwards.
"""

import math
from collections.abc import Mapping

import numpy as np

from motiongpt.body.skeletons import KIT

# name, parent, offset in thousandths of the height, axes of the turns in their order
_TRUNK = (
    ("root", None, (0.0, 0.0, 0.0), ""),  # between the hips; its pose is the file's RootPosition and RootRotation
    ("BP", "root", (0.0, 0.0, 40.0), "xzy"),
    ("BT", "BP", (0.0, 0.0, 60.0), "xzy"),
    ("collar", "BT", (0.0, 0.0, 188.0), ""),
    ("BLN", "collar", (0.0, 0.0, 22.0), "xzy"),
    ("BUN", "BLN", (0.0, 0.0, 30.0), "xzy"),
)


def _limbs(side: str, x: float) -> tuple:
    """Arm and leg of a side; x is the direction of that side: -1 left, +1 right."""
    limbs = (
        ("SC", "collar", (x * 87.0, 0.0, 0.0), "xzy"),
        ("S", f"{side}SC", (x * 23.0, 0.0, 0.0), "xzy"),
        ("E", f"{side}S", (0.0, 0.0, -188.0), "xz"),
        ("W", f"{side}E", (0.0, 0.0, -145.0), "xy"),
        ("H", "root", (x * 52.0, 0.0, 0.0), "xzy"),
        ("K", f"{side}H", (0.0, 0.0, -245.0), "x"),
        ("A", f"{side}K", (0.0, 0.0, -246.0), "xzy"),
        ("Mrot", f"{side}A", (0.6, 23.8, -18.7), "y"),
        ("F", f"{side}Mrot", (x * 8.8, 53.7, -14.4), "x"),
    )
    return tuple((side + name, parent, offset, axes) for name, parent, offset, axes in limbs)


NODES = _TRUNK + _limbs("L", -1.0) + _limbs("R", 1.0)
_TILT = {side: (("z", math.radians(z)), ("x", math.radians(15))) for side, z in (("LMrot", -9), ("RMrot", 9))}
_COLUMNS = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}  # a turn about an axis mixes the two others


def _joint_name(node: str, axis: str) -> str:
    return f"{node}_joint" if node.endswith("Mrot") else f"{node}{axis}_joint"


JOINTS = tuple(_joint_name(node, axis) for node, _, _, axes in NODES for axis in axes)
"""All joint names that turn this body, in the spelling of JointOrder, with the clavicles'."""


def _turn(matrix: np.ndarray, axis: str, angle: np.ndarray | float) -> np.ndarray:
    """Rotation matrices (F, 3, 3) times a turn about one axis by an angle (F,). It mixes two columns."""
    a, b = _COLUMNS[axis]
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    turned = matrix.copy()
    turned[..., a] = matrix[..., a] * cos + matrix[..., b] * sin
    turned[..., b] = matrix[..., b] * cos - matrix[..., a] * sin
    return turned


def forward_kinematics(
    root: np.ndarray, rotation: np.ndarray, angles: Mapping[str, np.ndarray], height: float
) -> np.ndarray:
    """Joints (F, 21, 3) in metres, y up, with the names and order of `skeletons.KIT`.

    Args:
        root: (F, 3) position of the root in metres, in MMM's axes (z up).
        rotation: (F, 3, 3) of the root, in MMM's axes.
        angles: radians (F,) by joint name ("LKx_joint"); a joint that is not there stays at zero.
        height: of the body, in metres.

    (x, y, z) becomes (-x, z, y), a rotation, so the joints are not mirrored (the KIT-ML features are, see `skeletons`).
    A body without root rotation then faces +z, with its left at +x.
    """
    positions, matrices = {"root": root}, {"root": rotation}
    for node, parent, offset, axes in NODES[1:]:
        positions[node] = positions[parent] + matrices[parent] @ (np.array(offset) * (height / 1000))
        matrix = matrices[parent]
        for axis, tilt in _TILT.get(node, ()):
            matrix = _turn(matrix, axis, np.array(tilt))
        for axis in axes:
            angle = angles.get(_joint_name(node, axis))
            matrix = matrix if angle is None else _turn(matrix, axis, angle)
        matrices[node] = matrix
    x, y, z = np.moveaxis(np.stack([positions[name] for name in KIT.joints], axis=1), -1, 0)
    return np.stack([-x, z, y], axis=-1)
