"""Skeletons: the joints, how they are connected, and which of them have a role in the features.

A `Skeleton` is data and nothing else: it computes no motion (see `features/`) and draws nothing (see `render/`). Four
are built in: `HUMANML3D` (22 SMPL joints, 20 fps, metres), `KIT` (21 joints, 12.5 fps), `MYOSKELETON` and
`MYOSKELETON_26` (28 and 26 joints, 20 fps, metres). Any other one is read from JSON.

`offsets` are the rest-pose bone vectors, parent to joint. Their directions define the bone rotations of the features,
and their lengths the body that every clip is retargeted to, so both are part of the file format. HUMANML3D has the
target skeleton of HumanML3D: the first frame of its clip 000021, directions rounded to the axes as in its
`paramUtil.py`. KIT's target skeleton (clip 03950) is not published with the code. So KIT has unit directions and
`has_lengths=False`; give it lengths with `KIT.with_offsets(...)` before retargeting.

Danger: KIT-ML is stored mirrored. Its left limbs (MMM names starting with L) are at -x, and the field's code calls
joints 11-15 and 5-7 "right". `feet_left`, `feet_right` and `face` follow the field's code, because they fix the order
of the contact columns and the facing direction. The joint names follow MMM.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from motiongpt.body.joint_names import ROLES, joint_with_role, mirror_pairs

SIDES = ("left", "right")
"""A side as an index: 0 is left, 1 is right. `1 - 2 * side` is then its sign on the x axis of a body that faces +z."""


@dataclass(frozen=True)
class Skeleton:
    """Joint names, tree, rest pose and the joints with a role. Every other field names joints by index.

    Raises ValueError when the fields contradict each other: lengths, indices out of range, no single root.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]  # -1 for the root, which is joint 0; a parent comes before its children
    offsets: tuple[tuple[float, float, float], ...]  # rest-pose bone vectors, parent to joint; the root's is not used
    chains: tuple[tuple[int, ...], ...]  # kinematic chains from the root outwards, in the order of the file format
    feet_left: tuple[int, int]  # ankle, foot: the first two contact columns
    feet_right: tuple[int, int]  # ankle, foot: the last two
    face: tuple[int, int, int, int]  # right hip, left hip, right shoulder, left shoulder: they say where it faces
    leg: tuple[int, int]  # knee, ankle of one leg: its length is the scale between two bodies
    foot_threshold: float  # a foot is in contact while its squared step per frame (units^2) is below this
    fps: float
    unit_length: int = 4  # frames per motion token
    metres_per_unit: float = 1.0
    has_lengths: bool = True  # False: offsets are directions only, retargeting is refused
    # bone lengths and joint angle ranges of a file, only kept for others to read; equality ignores them
    limits: dict | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self):
        # values from a file may be of any type
        if not isinstance(self.name, str) or not all(isinstance(joint, str) for joint in self.joints):
            raise ValueError(f"skeleton {self.name!r:.60}: its name and those of its joints must be texts")
        if type(self.unit_length) is not int or type(self.has_lengths) is not bool:
            raise ValueError(f"skeleton {self.name}: unit_length must be a whole number, has_lengths true or false")
        for field in ("unit_length", "fps", "foot_threshold", "metres_per_unit"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                raise ValueError(f"skeleton {self.name}: {field} must be a positive number, got {value!r:.60}")
        J = len(self.joints)
        if len(set(self.joints)) != J:
            raise ValueError(f"skeleton {self.name}: joint names must be unique")
        if len(self.parents) != J or len(self.offsets) != J:
            raise ValueError(
                f"skeleton {self.name}: {J} joints, but {len(self.parents)} parents and {len(self.offsets)} offsets"
            )
        if self.parents[0] != -1 or any(not 0 <= p < j for j, p in enumerate(self.parents[1:], 1)):
            raise ValueError(
                f"skeleton {self.name}: joint 0 must be the root (parent -1) and every other parent a joint before it"
            )
        # as (joint, parent): those of the chains must be those of the tree
        bones = [(joint, parent) for chain in self.chains for parent, joint in pairwise(chain)]
        if sorted(bones) != sorted((j, p) for j, p in enumerate(self.parents) if p >= 0):
            raise ValueError(f"skeleton {self.name}: chains must pass through every bone of parents exactly once")
        if any(len(chain) < 2 for chain in self.chains):
            raise ValueError(f"skeleton {self.name}: every chain must have two joints or more")
        for field, size in (("feet_left", 2), ("feet_right", 2), ("face", 4), ("leg", 2)):
            indices = getattr(self, field)
            if len(indices) != size or any(not 0 <= j < J for j in indices):
                raise ValueError(f"skeleton {self.name}: {field} must be {size} joints below {J}, got {indices}")
        if set(self.feet_left) & set(self.feet_right) or 0 in self.feet_left + self.feet_right:
            raise ValueError(f"skeleton {self.name}: feet_left and feet_right must be other joints, and not the root")
        right_hip, left_hip, right_shoulder, left_shoulder = self.face
        if right_hip == left_hip or right_shoulder == left_shoulder:
            raise ValueError(f"skeleton {self.name}: face must be two hips and two shoulders, got {self.face}")
        if 0 in self.leg or self.leg[0] == self.leg[1]:
            raise ValueError(f"skeleton {self.name}: leg must be a knee and an ankle, got {self.leg}")
        for joint, offset in zip(self.joints, self.offsets, strict=True):
            if len(offset) != 3 or not math.hypot(*offset) < 1e9:
                raise ValueError(f"skeleton {self.name}: offset of {joint} must be three numbers")
            if joint != self.joints[0] and not any(offset):
                raise ValueError(f"skeleton {self.name}: offset of {joint} must have a length")

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def feature_dim(self) -> int:
        """Width D of the HumanML3D features: 4 + 3 (J - 1) + 6 (J - 1) + 3 J + 4 = 12 J - 1 (263 for 22 joints)."""
        return 12 * len(self.joints) - 1

    @cached_property
    def mirror_pairs(self) -> tuple[tuple[int, int], ...]:
        """(left, right) joint indices whose names differ by side only: left_hip / right_hip, LH / RH, hip_l / hip_r."""
        return mirror_pairs(self.joints)

    @cached_property
    def chain_predecessors(self) -> tuple[int, ...]:
        """For joints 1..J-1, the joint that their rotation is relative to: the one before in the chain.

        The first bone of every chain is relative to the root, even that of the arms, which start at the chest.
        """
        before = [0] * len(self.joints)
        for chain in self.chains:
            for parent, joint in pairwise(chain[1:]):
                before[joint] = parent
        return tuple(before[1:])

    @cached_property
    def paths(self) -> tuple[tuple[float, ...], ...]:
        """(J, J - 1) of 0 and 1: entry (k, j - 1) is 1 if the bone that ends in joint j is on the way to joint k.

        So joint positions = root + paths @ bones.
        """
        rows = [[0.0] * len(self.joints) for _ in self.joints]
        for joint, parent in enumerate(self.parents[1:], 1):  # parents come first, so their rows are complete
            rows[joint] = list(rows[parent])
            rows[joint][joint] = 1.0
        return tuple(tuple(row[1:]) for row in rows)

    def index(self, name: str) -> int:
        """Index of a joint by name. Raises ValueError, which lists the names."""
        if name not in self.joints:
            raise ValueError(f"skeleton {self.name} has no joint {name!r}; it has {', '.join(self.joints)}")
        return self.joints.index(name)

    def with_offsets(self, offsets) -> "Skeleton":
        """The same skeleton with other rest-pose bone vectors: J rows (x, y, z) in the skeleton's unit."""
        rows = tuple(tuple(float(x) for x in row) for row in offsets)
        return dataclasses.replace(self, offsets=rows, has_lengths=True)

    def to_json(self) -> str:
        """JSON text; `from_json` is its inverse."""
        record = dataclasses.asdict(self)
        return json.dumps({key: value for key, value in record.items() if key != "limits" or value}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Skeleton":
        """Inverse of `to_json`. A joint may be given by index or by name; the parent of the root is -1 or null.

        `joints` and `parents` are enough. Chains then follow from the parents, and feet, face and leg from English
        joint names. Without `offsets` there are no lengths; representation `positions` needs none. Raises ValueError
        for malformed JSON, unknown or missing keys, unknown joint names, and for names that do not say which joints
        are the feet.
        """
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"skeleton JSON is malformed at line {error.lineno}: {error.msg}") from error
        except RecursionError as error:
            raise ValueError("skeleton JSON is nested too deeply to be read") from error
        if not isinstance(record, dict):
            raise ValueError(f"skeleton JSON must be an object, got {type(record).__name__}")
        unknown = sorted(set(record) - {f.name for f in dataclasses.fields(cls)})
        missing = sorted({"joints", "parents"} - set(record))
        if unknown or missing:
            raise ValueError(f"skeleton JSON: unknown keys {unknown}, missing keys {missing}")
        if not isinstance(record.get("limits") or {}, dict):
            raise ValueError("skeleton JSON: limits must be an object")

        # fill in what is missing, then replace every joint name by its index
        record = {"name": "custom", "foot_threshold": 0.002, "fps": 20.0} | record
        joints = tuple(record["joints"])

        def to_index(joint):
            if isinstance(joint, bool) or (isinstance(joint, str) and joint not in joints):
                raise ValueError(f"skeleton {record['name']} has no joint {joint!r}; it has {', '.join(joints)}")
            if joint is None:
                return -1
            if isinstance(joint, float) and not joint.is_integer():
                raise ValueError(f"skeleton {record['name']}: a joint is a name or a whole number, got {joint}")
            return joints.index(joint) if isinstance(joint, str) else int(joint)

        record["joints"] = joints
        record["parents"] = tuple(to_index(joint) for joint in record["parents"])
        if "offsets" not in record:
            record |= {"offsets": ((0, 0, 0),) + ((0, 1, 0),) * (len(joints) - 1), "has_lengths": False}
        record.setdefault("chains", _chains_of(record["parents"]))
        for field, roles in ROLES.items():
            given = record[field] if field in record else [joint_with_role(joints, role, field) for role in roles]
            record[field] = tuple(to_index(joint) for joint in given)
        record["chains"] = tuple(tuple(to_index(joint) for joint in chain) for chain in record["chains"])
        if not all(type(x) in (int, float) for offset in record["offsets"] for x in offset):
            raise ValueError(f"skeleton {record['name']}: offsets must be rows of three numbers")
        record["offsets"] = tuple(tuple(float(x) for x in offset) for offset in record["offsets"])
        return cls(**record)


def _chains_of(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Chains that pass every bone once: each starts at the root or a branching and follows first children to a tip."""
    chains: list[list[int]] = []
    for joint, parent in enumerate(parents[1:], 1):
        chain = next((chain for chain in chains if chain[-1] == parent), None) if parent else None
        if chain:
            chain.append(joint)
        else:
            chains.append([parent, joint])
    return tuple(map(tuple, chains))


def _parents_of(chains: tuple[tuple[int, ...], ...], num_joints: int) -> tuple[int, ...]:
    parents = [-1] * num_joints
    for chain in chains:
        for parent, joint in pairwise(chain):
            parents[joint] = parent
    return tuple(parents)


_HUMANML3D_JOINTS = (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot right_foot "
    "neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist"
)
_HUMANML3D_CHAINS = ((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20))

HUMANML3D = Skeleton(
    name="humanml3d-22",
    joints=tuple(_HUMANML3D_JOINTS.split()),
    parents=_parents_of(_HUMANML3D_CHAINS, 22),
    offsets=(
        (0.0, 0.0, 0.0),  # pelvis
        (0.103074, 0.0, 0.0),  # hips
        (-0.109883, 0.0, 0.0),
        (0.0, 0.131568, 0.0),  # spine1
        (0.0, -0.393623, 0.0),  # knees
        (0.0, -0.390188, 0.0),
        (0.0, 0.143190, 0.0),  # spine2
        (0.0, -0.432433, 0.0),  # ankles
        (0.0, -0.425643, 0.0),
        (0.0, 0.057365, 0.0),  # spine3
        (0.0, 0.0, 0.143382),  # feet
        (0.0, 0.0, 0.149419),
        (0.0, 0.219360, 0.0),  # neck
        (0.137487, 0.0, 0.0),  # collars
        (-0.143383, 0.0, 0.0),
        (0.0, 0.0, 0.103039),  # head
        (0.0, -0.131614, 0.0),  # shoulders
        (0.0, -0.122984, 0.0),
        (0.0, -0.256840, 0.0),  # elbows
        (0.0, -0.263092, 0.0),
        (0.0, -0.266012, 0.0),  # wrists
        (0.0, -0.269876, 0.0),
    ),
    chains=_HUMANML3D_CHAINS,
    feet_left=(7, 10),
    feet_right=(8, 11),
    face=(2, 1, 17, 16),
    leg=(5, 8),
    foot_threshold=0.002,
    fps=20.0,
)

_KIT_CHAINS = ((0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4), (3, 5, 6, 7), (3, 8, 9, 10))
_UP = (0.0, 1.0, 0.0)
_DOWN = (0.0, -1.0, 0.0)
_FRONT = (0.0, 0.0, 1.0)
_LEFT = (1.0, 0.0, 0.0)
_RIGHT = (-1.0, 0.0, 0.0)

KIT = Skeleton(
    name="kit-21",
    joints=tuple("root BP BT BLN BUN LS LE LW RS RE RW LH LK LA LMrot LF RH RK RA RMrot RF".split()),
    parents=_parents_of(_KIT_CHAINS, 21),
    offsets=(
        ((0.0, 0.0, 0.0),)
        + (_UP,) * 4
        + (_LEFT, _DOWN, _DOWN)
        + (_RIGHT, _DOWN, _DOWN)
        + (_LEFT, _DOWN, _DOWN, _FRONT, _FRONT)
        + (_RIGHT, _DOWN, _DOWN, _FRONT, _FRONT)
    ),
    chains=_KIT_CHAINS,
    feet_left=(19, 20),
    feet_right=(14, 15),
    face=(11, 16, 5, 8),
    leg=(17, 18),
    foot_threshold=0.05,
    fps=12.5,
    metres_per_unit=0.001 / 0.567,  # millimetres of a body scaled to one metre; this makes an adult of 1.76 m
    has_lengths=False,
)

MYOSKELETON = dataclasses.replace(
    HUMANML3D,
    name="myoskeleton-28",
    joints=HUMANML3D.joints
    + tuple("left_toe_tip right_toe_tip left_hand_tip right_hand_tip chest head_top".split()),
    parents=HUMANML3D.parents + (10, 11, 20, 21, 9, 15),
    offsets=HUMANML3D.offsets  # the six tips have an adult's lengths, chosen here
    + ((0.0, 0.0, 0.06), (0.0, 0.0, 0.06), (0.0, -0.17, 0.0), (0.0, -0.17, 0.0), (0.0, 0.11, 0.0), (0.0, 0.14, 0.0)),
    chains=(
        (0, 2, 5, 8, 11, 23), (0, 1, 4, 7, 10, 22), (0, 3, 6, 9, 12, 15, 27),
        (9, 14, 17, 19, 21, 25), (9, 13, 16, 18, 20, 24), (9, 26),
    ),
)  # fmt: skip
"""28 joints, 84 columns: HumanML3D's 22 and six tips. The public MyoSkeleton documents give this number but no matching
names, so this order is an assumption; names in a file take precedence."""

MYOSKELETON_26 = Skeleton.from_json(json.dumps({
    "name": "myoskeleton-26",
    "joints": (
        "myoskeleton_root pelvis lumbar_spine_3 thoracic_spine cervical_spine_4 skull clavicle_r humerus_r ulna_r "
        "lunate_r clavicle_l humerus_l ulna_l lunate_l proximal_phalanx_1_r proximal_phalanx_2_r proximal_phalanx_1_l "
        "proximal_phalanx_2_l hip_r femur_r tibia_r foot_r hip_l femur_l tibia_l foot_l"
    ).split(),
    "parents": [-1, 0, 1, 2, 3, 4, 3, 6, 7, 8, 3, 10, 11, 12, 9, 9, 13, 13, 1, 18, 19, 20, 1, 22, 23, 24],
    "face": ["femur_r", "femur_l", "humerus_r", "humerus_l"],  # a hip bone may begin in the middle of the body
}))  # fmt: skip
"""26 joints, 78 columns: the simplified joints of the public MyoSkeleton code, in its order (its documents say 28).
Their parents are not published; these follow anatomy. There are no lengths, so use representation `positions`."""

SKELETON_FILE = "skeleton.json"
_KNOWN = {"humanml3d-22": HUMANML3D, "humanml3d": HUMANML3D, "t2m": HUMANML3D, "kit-21": KIT, "kit": KIT}
_KNOWN |= {"myoskeleton-28": MYOSKELETON, "myoskeleton": MYOSKELETON, "myoskeleton-26": MYOSKELETON_26}


def get_skeleton(name_or_path: str | Path) -> Skeleton:
    """A skeleton by name (`humanml3d-22`, `kit-21`, `myoskeleton-28`, `myoskeleton-26`) or from a JSON file.

    For the file see `Skeleton.from_json`. Raises ValueError for an unknown name or a malformed file, and
    FileNotFoundError for a missing one.
    """
    name = str(name_or_path)
    if name.lower() in _KNOWN:
        return _KNOWN[name.lower()]
    if not name.endswith(".json"):
        raise ValueError(f"no skeleton named {name!r}; known: {', '.join(_KNOWN)}, or the path of a .json file")
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"no skeleton file {path}")
    try:
        skeleton = Skeleton.from_json(path.read_text(encoding="utf-8-sig"))
        return dataclasses.replace(skeleton, name=path.stem) if skeleton.name == "custom" else skeleton
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:  # a value of another type
        raise ValueError(f"{path}: {error}") from error


def guess_skeleton(num_joints: float) -> Skeleton | None:
    """The built-in skeleton with this number of joints, 22 or 21; None for any other number."""
    return next((skeleton for skeleton in (HUMANML3D, KIT) if skeleton.num_joints == num_joints), None)


def save_skeleton(skeleton: Skeleton, folder: str | Path) -> None:
    """Write skeleton.json into a folder whose files give the skeleton's name; a built-in one needs no file."""
    path = Path(folder) / SKELETON_FILE
    if _KNOWN.get(skeleton.name.lower()) == skeleton and not skeleton.limits:
        path.unlink(missing_ok=True)
    else:
        path.write_text(skeleton.to_json() + "\n", encoding="utf-8")


def load_skeleton(folder: str | Path, name: str) -> Skeleton:
    """Inverse of `save_skeleton`: the folder's skeleton.json if there is one, else the built-in skeleton of that name.

    Raises ValueError naming the file if it is malformed, or missing for a name that is not built in.
    """
    path = Path(folder) / SKELETON_FILE
    if not path.is_file() and str(name).lower() not in _KNOWN:
        raise ValueError(f"{path} is missing: skeleton {name!r} is none of {', '.join(_KNOWN)}")
    return get_skeleton(path if path.is_file() else name)
