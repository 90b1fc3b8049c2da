"""MyoSkeleton H5: `motion` (or `poses`), `text` (or `captions`) and `lengths` in one file per split, many clips each.

`motion` is (n, F, 3 J) joint-major or (n, F, J, 3), padded after `lengths`. The trajectory is kept: nothing is centred.

Joint names and parents come from a skeleton JSON, else from the file's attributes (`joint_names`, `parents`), else from
the width: 84 columns are taken for `skeletons.MYOSKELETON`, 78 for `skeletons.MYOSKELETON_26`, the key joints of the
public MyoSkeleton code. Unit and up axis come from the caller, else from the attributes (`unit`, `up`, or words in
`layout`), else from the size and posture of the body. What is assumed or guessed is noted on every clip.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import MYOSKELETON, MYOSKELETON_26, Skeleton
from motiongpt.data.raw import RawClip, z_up_to_y_up
from motiongpt.data.readers.h5_files import check_texts, h5_attribute, h5_dataset, h5_text, has_key, open_h5
from motiongpt.data.texts import captions_in
from motiongpt.data.units import UNITS
from motiongpt.files.listing import visible

BUILT_IN = (MYOSKELETON, MYOSKELETON_26)
_UNIT_WORDS = {
    "m": "m", "metre": "m", "metres": "m", "meter": "m", "meters": "m", "cm": "cm", "centimetres": "cm",
    "centimeters": "cm", "mm": "mm", "millimetres": "mm", "millimeters": "mm", "inch": "inch", "inches": "inch",
}  # fmt: skip
DEFAULT_FPS = 20.0
PLACEHOLDER = "a person moves"
_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Word of a file's name -> split."""


@dataclass(frozen=True)
class Schema:
    """What holds for every clip of a file."""

    clips: int
    frames: int  # F, the padded length
    names: tuple[str, ...]
    parents: tuple[int, ...] | None
    limits: dict  # of a skeleton JSON: bone lengths and ranges of joint angles, kept as they are
    fps: float
    unit: str
    up: str
    split: str | None
    captions: str | None  # name of their data set
    has_lengths: bool
    notes: tuple[str, ...]


def find(folder: Path | str) -> list[Path]:
    """Every .h5 and .hdf5 file under a folder, or the file itself. Raises FileNotFoundError if there is none."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    found = visible(folder.rglob("*"), folder)
    files = [path for path in found if path.suffix.lower() in (".h5", ".hdf5") and path.is_file()]
    if not files:
        raise FileNotFoundError(f"no .h5 file in {folder}")
    return files


def read_skeleton(path: Path | str) -> tuple[tuple[str, ...], tuple[int, ...] | None, dict]:
    """Joint names, parents and `limits` of a skeleton JSON.

    It is a whole one (`Skeleton.to_json`), or just `joints`, and `parents` as indices or names (-1 or null for the
    root). Raises FileNotFoundError, or ValueError naming the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no skeleton file {path}")
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(record, dict) or not isinstance(record.get("limits", {}), dict):
            raise ValueError("it must be an object, and limits too")
        limits = record.pop("limits", {})
        if "offsets" in record:
            skeleton = Skeleton.from_json(json.dumps(record))
            return skeleton.joints, skeleton.parents, limits
        names = _check_names(record.get("joints"))
        return names, _check_parents(record.get("parents"), names), limits
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: no skeleton JSON ({error})") from error


def read_all(
    path: Path | str,
    fps: float | None = None,
    skeleton: Path | str | None = None,
    unit: str | None = None,
    up: str | None = None,
    allow_no_text: bool = False,
    on_bad: Callable[[str, str], None] | None = None,
) -> Iterator[tuple[str, RawClip]]:
    """(id, clip) one after the other, read in slices: memory does not grow with the file.

    Args:
        fps: counts if the file has none.
        skeleton: JSON file with names and parents of the joints.
        unit, up: m, cm, mm or inch, and y or z; they go before what the file says.
        allow_no_text: give clips of a file without text a placeholder caption.
        on_bad: gets (id, message) of a clip that cannot be used (NaN, impossible length, empty text), and the rest is
            read; without it such a clip raises ValueError naming it.

    Raises FileNotFoundError, or ValueError naming file and key with what was expected and found.
    """
    path = Path(path)
    with open_h5(path) as file:
        schema = _schema(file, path, fps, skeleton, unit, up, allow_no_text)
        ids = _ids(file, path.stem, schema.clips)
        for i in range(schema.clips):
            try:
                clip = _clip(file, i, schema, f"{path}, clip {i} ({ids[i]})")
            except ValueError as error:
                if on_bad is None:
                    raise
                on_bad(ids[i], str(error))
                continue
            yield ids[i], clip


def read_one(path: Path | str, index: int, **options) -> tuple[str, RawClip, int]:
    """(id, clip, how many there are) of the clip `index`, from 0; options and errors are those of `read_all`."""
    path = Path(path)
    options = {"fps": None, "skeleton": None, "unit": None, "up": None, "allow_no_text": False} | options
    with open_h5(path) as file:
        schema = _schema(file, path, **options)
        if not 0 <= index < schema.clips:
            raise ValueError(f"{path} has the clips 0 to {schema.clips - 1}, got {index}")
        name = _ids(file, path.stem, schema.clips)[index]
        return name, _clip(file, index, schema, f"{path}, clip {index} ({name})"), schema.clips


def read_schema(path: Path | str, **options) -> Schema:
    """What holds for every clip; options and errors are those of `read_all`."""
    options = {"fps": None, "skeleton": None, "unit": None, "up": None, "allow_no_text": False} | options
    with open_h5(Path(path)) as file:
        return _schema(file, Path(path), **options)


def built_in_skeleton(path: Path) -> str | None:
    """The built-in skeleton with the joints of a file, or of a folder's first; None for others and for no such file."""
    try:
        with open_h5(find(path)[0]) as file:
            motion = _motion(file)
            names, *_ = _names(file, motion.shape[2] if motion.ndim == 4 else motion.shape[2] / 3, None, [])
            return next((known.name for known in BUILT_IN if known.joints == names), None)
    except (OSError, RuntimeError, TypeError, KeyError, ValueError):
        return None  # reading says what is wrong with it


def explain(path: Path | str, **options) -> list[str]:
    """Lines for people: keys, shapes, joints, what is assumed, or what is wrong with the file."""
    path = Path(path)
    lines: list[str] = []
    try:
        with open_h5(path) as file:
            lines += [f"{path}: H5 with {len(file)} keys"]
            lines += [f"  {key}: {_described(file, key)}" for key in file]
            values = ((key, h5_attribute(file, key)) for key in file.attrs)
            lines += [f"  attribute {key}: {str(value)[:200]}".replace("\n", " ") for key, value in values]
        schema = read_schema(path, **options)
        lines += [f"joints: {len(schema.names)} ({', '.join(schema.names)}), parents {schema.parents or 'not given'}"]
        lines += [f"limits: {', '.join(schema.limits)}"] if schema.limits else []
        lines += [f"{schema.fps:g} fps, unit {schema.unit}, {schema.up} up, split {schema.split or 'not said'}"]
        lines += [f"note: {note}" for note in schema.notes]
        lines += [f"{schema.clips} clips of up to {schema.frames} frames"]
    except (ValueError, OSError, RuntimeError, TypeError, KeyError) as error:
        lines.append(f"broken: {' '.join(str(error).split())[:400]}")
    return lines


def _described(file, key: str) -> str:
    """Shape and type of a data set, or why it is not read."""
    try:
        item = h5_dataset(file, key)
        return f"{item.shape} {item.dtype}"
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        return f"not read ({' '.join(str(error).split())[:150]})"


# 1) What holds for every clip.


def _schema(file, path: Path, fps, skeleton, unit, up, allow_no_text) -> Schema:
    try:
        notes: list[str] = []
        motion = _motion(file)
        joints = motion.shape[2] if motion.ndim == 4 else motion.shape[2] / 3
        names, parents, limits = _names(file, joints, skeleton, notes)
        if len(names) != joints:
            raise ValueError(f"motion has {joints:g} joints a frame, the names are {len(names)}")
        fps = _fps(file, fps, notes)
        # captions and lengths: one per clip, and either may be absent
        captions = next((key for key in ("text", "captions") if has_key(file, key)), None)
        if captions is None and not allow_no_text:
            raise ValueError("no key text or captions; with --allow-no-text every clip gets a placeholder")
        if captions is None:
            notes.append(f"no text: placeholder {PLACEHOLDER!r}")
        else:
            check_texts(h5_dataset(file, captions), captions, motion.shape[0])
        lengths = h5_dataset(file, "lengths") if has_key(file, "lengths") else None
        if lengths is None:
            notes.append("no lengths: each clip ends before its trailing frames of zeros or of NaN")
        elif lengths.shape[0] != motion.shape[0] or lengths.dtype.kind not in "iuf":
            raise ValueError(f"lengths must be {motion.shape[0]} numbers, got {lengths.shape}")
        unit, up = _space(file, motion, names, unit, up, notes)
        words = re.split(r"[^a-z]+", path.stem.lower())
        split = next((_SPLITS[word] for word in words if word in _SPLITS), None)
    except (OSError, RuntimeError, TypeError, KeyError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())[:300]}") from error
    return Schema(
        clips=motion.shape[0],
        frames=motion.shape[1],
        names=names,
        parents=parents,
        limits=limits,
        fps=fps,
        unit=unit,
        up=up,
        split=split,
        captions=captions,
        has_lengths=lengths is not None,
        notes=tuple(notes),
    )


def _motion(file):
    """The data set of the joints, checked for its shape."""
    key = next((key for key in ("motion", "poses") if has_key(file, key)), None)
    if key is None:
        raise ValueError(f"no key motion or poses; it has {', '.join(list(file)[:10]) or 'none'}")
    motion = h5_dataset(file, key)
    shape = motion.shape
    fits = (motion.ndim == 3 and shape[2] % 3 == 0) or (motion.ndim == 4 and shape[3] == 3)
    if not fits or not all(shape) or motion.dtype.kind not in "fiu":
        raise ValueError(f"{key} must be numbers (n, F, 3 J) or (n, F, J, 3), got {shape} {motion.dtype}")
    return motion


def _attribute(file, *keys):
    """The first of these attributes of the file or its motion; bytes become text, arrays become lists."""
    holders = (file, *(h5_dataset(file, key) for key in ("motion", "poses") if has_key(file, key)))
    return next((value for h in holders for key in keys if (value := h5_attribute(h, key)) is not None), None)


def _listed(value):
    """A list attribute, which may be an array, JSON text or words between commas."""
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("[") else [word.strip() for word in value.split(",")]
    if isinstance(value, list | tuple):
        return [h5_text(word) if isinstance(word, str | bytes) else word for word in value]
    return value


def _check_names(names) -> tuple[str, ...]:
    valid = isinstance(names, list | tuple) and all(isinstance(name, str) and name for name in names)
    if not valid or len(set(names)) != len(names):
        raise ValueError("joint names must be a list of unique words")
    return tuple(names)


def _check_parents(parents, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Parents as indices, -1 for the root."""
    if parents is None:
        return None
    if not isinstance(parents, list | tuple) or len(parents) != len(names):
        raise ValueError(f"parents must be a list of {len(names)}")
    numbers = [names.index(p) if p in names else -1 if p in (None, "", "-1") else int(p) for p in parents]
    if numbers.count(-1) != 1 or any(not -1 <= p < len(names) or p == j for j, p in enumerate(numbers)):
        raise ValueError("parents must be joints, with -1 for the one root")
    return tuple(numbers)


def _names(file, joints: float, skeleton, notes: list[str]) -> tuple[tuple[str, ...], tuple[int, ...] | None, dict]:
    """Names, parents and limits: of the skeleton JSON, else the file's, else a built-in skeleton's of this width."""
    if skeleton is not None:
        return read_skeleton(skeleton)
    names = _listed(_attribute(file, "joint_names", "joints", "names"))
    if names is not None:
        names = _check_names(names)
        parents = _check_parents(_listed(_attribute(file, "parents", "joint_parents")), names)
        known = next((skeleton for skeleton in BUILT_IN if skeleton.joints == names), None)
        if parents is None and known:
            notes.append(f"no parents in the file: those of the built-in {known.name} (same joint names)")
            parents = known.parents
        return names, parents, {}
    known = next((skeleton for skeleton in BUILT_IN if skeleton.num_joints == joints), None)
    if known:
        notes.append(f"no joint names in the file: the built-in {known.name} is assumed")
        return known.joints, known.parents, {}
    raise ValueError(f"{joints:g} joints without names; give a skeleton JSON with joints and parents")


def _fps(file, fps, notes: list[str]) -> float:
    stored = _attribute(file, "fps", "frame_rate", "framerate")
    if stored is None and fps is None:
        notes.append(f"no fps in the file: {DEFAULT_FPS:g} assumed")
    elif stored is not None and fps is not None and float(stored) != float(fps):
        notes.append(f"the file says {float(stored):g} fps: the {float(fps):g} given are ignored")
    value = DEFAULT_FPS
    if stored is not None:
        value = float(stored)
    elif fps is not None:
        value = float(fps)
    if not 0 < value <= 1000:
        raise ValueError(f"fps must be above 0 and at most 1000, got {value:g}")
    return value


def _space(file, motion, names, unit, up, notes: list[str]) -> tuple[str, str]:
    """Unit and up axis: given, else said by the file, else guessed from the first frames of up to 16 clips."""
    # 1) What the file says: an attribute, else words of its layout such as "J x 3, metres, z up".
    layout = str(_attribute(file, "layout", "description") or "").lower()
    said_unit = [_UNIT_WORDS[word] for word in re.findall(r"[a-z]+", layout) if len(word) > 1 and word in _UNIT_WORDS]
    said_unit = _attribute(file, "unit", "units") or (said_unit[0] if said_unit else None)
    said_up = re.findall(r"\b([xyz])[ -]?(?:axis )?(?:is )?up\b", layout)
    said_up = _attribute(file, "up", "up_axis") or (said_up[0] if said_up else None)
    up = up or said_up
    unit = unit or said_unit
    unit = _UNIT_WORDS.get(str(unit).lower(), unit)

    # 2) What the bodies look like: a person is about as tall as a person, and taller than wide.
    first = motion[: min(16, motion.shape[0]), 0].reshape(-1, len(names), 3).astype(np.float64)
    first = first[np.isfinite(first).all((1, 2)) & (np.abs(first).max((1, 2)) > 0)]
    extent = np.median(np.ptp(first, axis=1), axis=0) if len(first) else np.ones(3)
    if unit is None:
        size = extent.max()
        # inches are never guessed: a body of 67 inches could be a child of 67 cm
        unit = next((u for u, metres in UNITS.items() if u != "inch" and 0.5 <= size * metres < 5), None)
        if unit is None:
            raise ValueError(f"bodies of size {size:.3g} are no metres, centimetres or millimetres; give unit")
        notes.append(f"unit: {unit} (guessed: the bodies measure {size:.3g})")
    if up is None:
        up = "z" if extent[2] > 1.2 * max(extent[0], extent[1]) else "y"
        notes.append(f"up axis: {up} (guessed: the bodies measure {', '.join(f'{e:.3g}' for e in extent)})")
    up = str(up).lower().lstrip("+")
    if unit not in UNITS or up not in ("y", "z"):
        raise ValueError(f"unit must be one of {', '.join(UNITS)} and up y or z, got {unit!r} and {up!r}")
    return unit, up


def _ids(file, stem: str, clips: int) -> list[str]:
    """The file's own `ids` if they are unique and can name a file, else STEM_00000."""
    if has_key(file, "ids") and h5_dataset(file, "ids").shape == (clips,):
        ids = [h5_text(value, "replace") for value in h5_dataset(file, "ids")]
        if len(set(ids)) == clips and all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) for name in ids):
            return ids
    return [f"{stem}_{i:05d}" for i in range(clips)]


# 2) One clip.


def _clip(file, i: int, schema: Schema, where: str) -> RawClip:
    """Clip i. Raises ValueError that begins with `where` and says what is wrong with it."""
    try:
        return _read_clip(file, i, schema)
    except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise ValueError(f"{where}: {' '.join(str(error).split())[:300]}") from error


def _read_clip(file, i: int, schema: Schema) -> RawClip:
    length = float(np.ravel(h5_dataset(file, "lengths")[i])[0]) if schema.has_lengths else schema.frames
    if not (length == int(length) and 1 <= length <= schema.frames):
        raise ValueError(f"length {length:g} is not between 1 and the {schema.frames} frames there are")
    joints = _motion(file)[i, : int(length)].reshape(int(length), len(schema.names), 3).astype(np.float32)
    if not schema.has_lengths:  # padding is zero or NaN, and a body never is
        padding = (joints == 0).all((1, 2)) | np.isnan(joints).all((1, 2))
        filled = np.flatnonzero(~padding)
        joints = joints[: filled[-1] + 1 if len(filled) else 0]
    bad = np.argwhere(~np.isfinite(joints).all(2))
    if len(bad):
        frame, joint = bad[0]
        raise ValueError(f"frame {frame}, joint {schema.names[joint]}: NaN or infinite")
    if len(joints) == 0:
        raise ValueError("all zero, or NaN")
    joints = joints * np.float32(UNITS[schema.unit])
    if schema.up == "z":
        joints = z_up_to_y_up(joints)
    texts = np.ravel(h5_dataset(file, schema.captions)[i]).tolist() if schema.captions else [PLACEHOLDER]
    captions = tuple(" ".join(text.split()) for value in texts for text in captions_in(h5_text(value)) if text.strip())
    if not captions:
        raise ValueError("its text is empty")
    return RawClip(joints, schema.names, schema.fps, captions, split=schema.split, notes=schema.notes)
