"""Published SMPL, SMPL-H and SMPL-X body model files: where to find them, and the rest joints for a body shape.

Only the 22 joints of `skeletons.HUMANML3D` are kept, which all three models share. Rest joints are linear in the
shape: J(betas) = R (T + S betas), with R the joint regressor, T the template and S the shape directions (Loper et al.
2015, "SMPL", equation 10). So R T and R S are computed once, and no vertex is ever posed. Pose corrections (posedirs)
move vertices, not joints.

No file is unpickled: .npz arrays of numbers are read by name, and .pkl goes through `motiongpt.files.unpickle`.
Vertices are made by `smpl_mesh.py`, from the same files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.files.arrays import names_in_npz, read_npz
from motiongpt.files.limits import TooLarge
from motiongpt.files.unpickle import load_pickle

J = HUMANML3D.num_joints  # joints that are kept
MODEL_JOINTS = {"smpl": 24, "smplh": 52, "smplx": 55}
"""How many joints each model has; the first 22 are the same."""
LICENCE = {
    "smpl": "https://smpl.is.tue.mpg.de",
    "smplh": "https://mano.is.tue.mpg.de (Extended SMPL+H model)",
    "smplx": "https://smpl-x.is.tue.mpg.de",
}
GENDERS = ("male", "female", "neutral")
_BY_JOINTS = {5: "FLAME", 16: "MANO"} | {joints: kind.upper() for kind, joints in MODEL_JOINTS.items()}
MAX_BETAS = 16  # AMASS has no more
_KEYS = ("J_regressor", "v_template", "shapedirs", "kintree_table")
_NO_EXPRESSION = 400  # columns of shapedirs in SMPL-X's full file; in a shorter one the face starts at column 10
_SMPL_RELEASES = ("basicmodel_{0}_lbs_10_207_0_v1.1.0.pkl", "basicModel_{0}_lbs_10_207_0_v1.0.0.pkl",
                  "basicmodel_{0}_lbs_10_207_0_v1.0.0.pkl")  # fmt: skip


# where the bones of a body model point at rest (parent to joint, left is +x): a T-pose, in round numbers
_T_POSE = (
    (0, 0, 0), (3, -4, 0), (-3, -4, 0), (0, 1, 0), (0, -1, 0), (0, -1, 0), (0, 1, 0), (0, -1, 0), (0, -1, 0),
    (0, 1, 0), (0, -5, 12), (0, -5, 12), (0, 1, 0), (3, 4, 0), (-3, 4, 0), (0, 15, 8), (12, 5, 0), (-12, 5, 0),
    (1, 0, 0), (-1, 0, 0), (1, 0, 0), (-1, 0, 0),
)  # fmt: skip


@dataclass(frozen=True)
class BodyModel:
    """Rest joints as a function of the shape, in metres, y up in the model's own frame."""

    kind: str  # smpl, smplh, smplx or stand-in
    template: np.ndarray  # (22, 3) float64
    directions: np.ndarray  # (22, 3, K) float64: what each beta adds

    def rest_joints(self, betas: np.ndarray) -> np.ndarray:
        """Rest joints (22, 3) float64 for betas (N,). Missing betas count as zero; more than K are a ValueError."""
        if betas.ndim != 1 or len(betas) > self.directions.shape[-1]:
            raise ValueError(f"betas {betas.shape} for a model with {self.directions.shape[-1]} shape directions")
        return self.template + self.directions[..., : len(betas)] @ betas


def stand_in_body() -> BodyModel:
    """A body for pictures when no licensed model is at hand: HumanML3D's bone lengths in a T-pose, without shapes.

    The offsets of HUMANML3D themselves do not serve: their arms hang, and SMPL's rotations count from a T-pose.
    """
    lengths = np.linalg.norm(HUMANML3D.offsets, axis=1, keepdims=True)
    directions = np.array(_T_POSE, dtype=np.float64)
    bones = lengths * directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1)
    rest = bones.copy()
    for j, parent in enumerate(HUMANML3D.parents[1:], 1):
        rest[j] += rest[parent]
    return BodyModel("stand-in", rest, np.zeros((J, 3, 0)))


def candidates(kind: str, gender: str) -> list[str]:
    """Where a model's file may lie below the folder of body models, the most usual place first."""
    upper = f"{kind.upper()}_{gender.upper()}"
    names = [f"{gender}/model.npz", f"{upper}.npz", f"{upper}.pkl", f"{gender}/model.pkl"]
    if kind != "smplh":
        names = [*names[1:3], names[0], names[3]]
    if kind == "smpl":
        letter = gender if gender == "neutral" else gender[0]
        names += [name.format(letter) for name in _SMPL_RELEASES]
    return [f"{kind}/{name}" for name in names] + names


def find_body_model(folder: Path | str, kind: str, gender: str) -> Path:
    """The file of a model below `folder`; upper and lower case do not matter.

    Raises FileNotFoundError, which names the places tried, the models that are there, and the page to get it from.
    Raises ValueError for a kind or gender that no model has.
    """
    if kind not in MODEL_JOINTS or gender not in GENDERS:
        known = f"{', '.join(MODEL_JOINTS)} and {', '.join(GENDERS)}"
        raise ValueError(f"no body model is of kind {kind!r} and gender {gender!r}: there are {known}")
    folder = Path(folder)
    tried = candidates(kind, gender)
    found = _first(folder, tried)
    if found is not None:
        return found
    raise FileNotFoundError(
        f"no {kind.upper()} body model for {gender} in {folder}{_instead(folder)}: looked for {tried[0]}, {tried[1]} "
        f"and {len(tried) - 2} other places; download it after agreeing to the licence at {LICENCE[kind]}"
    )


def _instead(folder: Path) -> str:
    """What is in a folder without the model that was looked for, to go behind the folder's name."""
    if not folder.is_dir():
        return " (it is a file: give the folder it lies in)" if folder.is_file() else " (there is no such folder)"
    pairs = ((kind, gender) for kind in MODEL_JOINTS for gender in GENDERS)
    found = [f"{kind.upper()} {gender}" for kind, gender in pairs if _first(folder, candidates(kind, gender))]
    return f" (it has {', '.join(found)})" if found else ""


def is_body_file(path: Path) -> bool:
    """Whether an .npz is a body and no motion: a body model, or betas with nothing of a pose, such as shape.npz."""
    keys = names_in_npz(path)
    has_pose = any("pose" in key or "orient" in key for key in keys)
    return "v_template" in keys or (not has_pose and bool(keys & {"betas", "shape"}))


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of `names` below a folder that is a file."""
    return next((path for path in (_without_case(folder, name) for name in names) if path is not None), None)


def _without_case(folder: Path, name: str) -> Path | None:
    """The file at a path below a folder: of the exact name if there is one, else of one that differs in case only."""
    if (folder / name).is_file():
        return folder / name
    first, _, rest = name.partition("/")
    others = sorted(path for path in folder.iterdir() if path.name.lower() == first.lower()) if folder.is_dir() else []
    found = (_without_case(path, rest) if rest else path for path in others)
    return next((path for path in found if path is not None and path.is_file()), None)


@lru_cache(maxsize=8)  # a few hundred bytes each, from files of 100 MB that serve thousands of clips
def load_body_model(path: Path, kind: str) -> BodyModel:
    """Read a model's file (.npz or .pkl). Raises FileNotFoundError, or ValueError naming the key at fault."""
    arrays = read_model_file(path, kind)
    regressor, template, shapes = (arrays[key] for key in _KEYS[:3])
    # joints are a product of matrices, so multiply the regressor in once: (22, V) x (V, 3, K) -> (22, 3, K)
    directions = np.einsum("jv,vck->jck", regressor[:J], shapes[..., : num_betas(kind, shapes)], optimize=True)
    return BodyModel(kind, regressor[:J] @ template, directions)


def num_betas(kind: str, shapedirs: np.ndarray) -> int:
    """How many columns of `shapedirs` (V, 3, columns) are shapes of the body, at most `MAX_BETAS`; others are faces."""
    columns = shapedirs.shape[2]
    return min(columns, first_expression(columns) if kind == "smplx" else MAX_BETAS, MAX_BETAS)


def first_expression(columns: int) -> int:
    """The column of SMPL-X's `shapedirs` where the face starts: after 300 shapes, or 10 in a file made shorter."""
    return 300 if columns >= _NO_EXPRESSION else 10


def read_model_file(path: Path, kind: str, more: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a model's file (.npz or .pkl) in float64, checked.

    J_regressor (joints, V), v_template (V, 3), shapedirs (V, 3, columns), kintree_table (2, joints), and those named in
    `more` that are there, with any shape. Raises FileNotFoundError, or ValueError naming the key at fault.
    """
    keys = (*_KEYS, *more)
    try:
        arrays = load_pickle(path) if path.suffix.lower() == ".pkl" else read_npz(path, keys)[1]
    except TooLarge:
        raise
    except ValueError as error:
        raise ValueError(f"{error}; {kind.upper()} body models come from {LICENCE[kind]}") from error
    if not isinstance(arrays, dict):
        raise ValueError(f"{path} is no {kind.upper()} body model: it lacks all keys")
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise ValueError(f"{path} is no {kind.upper()} body model: it lacks {', '.join(missing)}")

    numbers = {key: _numbers(arrays[key], f"{path}: {key}") for key in keys if key in arrays}
    regressor, shapes, tree = (numbers[key] for key in ("J_regressor", "shapedirs", "kintree_table"))
    V = regressor.shape[-1] if regressor.ndim else 0  # vertices
    expected = {
        "J_regressor": (MODEL_JOINTS[kind], V),
        "v_template": (V, 3),
        "shapedirs": (V, 3, *(shapes.shape[2:3] or "K")),  # any number of columns, if there is a third dimension
    }
    for key, shape in expected.items():
        array = numbers[key]
        if array.shape != shape or not array.size:
            other = _BY_JOINTS.get(len(array)) if key == "J_regressor" and array.ndim else None
            hint = f": it is a file of {other}" if other not in (None, kind.upper()) else ""
            raise ValueError(f"{path}: {key} of {kind.upper()} must be {shape}, got {array.shape}{hint}")
    num_joints = MODEL_JOINTS[kind]
    if tree.shape != (2, num_joints) or tuple(tree[0, 1:J].tolist()) != HUMANML3D.parents[1:]:
        raise ValueError(f"{path}: kintree_table {tree.shape} is not the tree of {kind.upper()}, (2, {num_joints})")
    return numbers


def _numbers(value, place: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"{place} must be numbers ({error})") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{place} must be numbers, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{place} has NaN or infinite numbers")
    return array.astype(np.float64, copy=False)
