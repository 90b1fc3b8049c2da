"""SMPL-X clips of sign language: 182 numbers a frame, by name, in the order of `features/smplx.py`.

A clip is a folder of .pkl or .npz files, one a frame, or one .npz with (F, ...) arrays. A .pkl may also hold a list of
frames, as `video_data.pkl` does; pickles are never run (`files/unpickle.py`). The word of a folder named `ID-word` is
the caption. Body shape is averaged over the clip, because one person has one body. Rotations are axis-angle, metres are
as stored. With a folder of body models a clip has joints, too: the first 22 of the neutral SMPL-X body.

An array of 182 numbers without names needs `layout` (flag --smplx-layout): `features/smplx.py` says why.
"""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from motiongpt.body.body_model import find_body_model, is_body_file, load_body_model
from motiongpt.body.kinematics import posed_joints, turned_upright
from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.jumps import turned_points, without_rest_pose
from motiongpt.data.raw import RawClip
from motiongpt.features.smplx import SMPLX_COLUMNS, SMPLX_ROTATIONS, SMPLX_WIDTH, body_turns, from_layout, missing_in
from motiongpt.files.arrays import copy_array, read_npz
from motiongpt.files.listing import visible
from motiongpt.files.unpickle import load_pickle

KEYS = {
    "betas": ("shape", "betas"),
    "body_pose": ("body_pose",),
    "left_hand_pose": ("lhand_pose", "left_hand_pose"),
    "right_hand_pose": ("rhand_pose", "right_hand_pose"),
    "jaw_pose": ("jaw_pose",),
    "expression": ("expression",),
    "global_orient": ("root_pose", "global_orient"),
    "transl": ("cam_trans", "trans", "transl"),
}
"""Our name -> the keys it is read from, the first that is there."""
_IGNORED = ("eye_pose", "leye_pose", "reye_pose")  # not among the 182
_FPS = ("fps", "mocap_frame_rate", "mocap_framerate")


def natural_key(path: Path | str) -> list:
    """A sort key under which frame2 comes before frame10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", Path(path).name)]


def find(folder: Path | str) -> list[Path]:
    """One path per clip under a folder: each folder of frames, and each .npz or .npy that is a clip.

    A folder of .npz files is one clip if the first of them is one frame. Raises FileNotFoundError if there is no clip.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist")
    clips = []
    for place in [folder, *(path for path in visible(folder.rglob("*"), folder) if path.is_dir())]:
        files = [file for file in _files(place, ".npz") if not is_body_file(file)]
        if _files(place, ".pkl") or (files and _is_frame(files[0])):
            clips.append(place)
        else:
            clips += files + _files(place, ".npy")
    if not clips:
        raise FileNotFoundError(f"no folder of .pkl or .npz frames and no .npz clip in {folder}")
    return clips


def read(
    path: Path | str,
    fps: float | None = None,
    layout: str | None = None,
    body_models: Path | str | None = None,
) -> RawClip:
    """One clip: `parameters` (F, 182) float32 in our order, and joints (F, 22, 3) if there are `body_models`.

    Args:
        fps: counts if the file has none.
        layout: order of an array without names, see `from_layout`.
        body_models: folder with smplx/SMPLX_NEUTRAL.npz.

    A gap in the numbers of the frames' files is noted. Raises FileNotFoundError, or ValueError naming file, frame and
    key with what was expected and found.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    folder = path if path.is_dir() else None
    if path.name == "video_data.pkl":  # the only file of its clip, whose name is the folder's
        folder = path.parent
    files = _frame_files(path)
    notes = _gap(files)
    frames: list[np.ndarray] = []
    for file in files:
        content = _load(file)
        bare = _array_without_names(content)
        if isinstance(content, dict):
            stored = next((content[key] for key in _FPS if key in content), None)
            fps = fps if stored is None else _number(stored, f"{file}: fps")
        if bare is not None:
            frames.append(_in_our_order(bare, layout, file, notes))
        elif isinstance(content, dict):
            frames.append(_parameters(content, str(file), notes))
        else:
            frames += [_parameters(frame, f"{file}, frame {i}", notes) for i, frame in enumerate(content)]
    if not frames or not sum(map(len, frames)):
        raise ValueError(f"{path}: no frames")
    parameters = np.concatenate(frames)
    bad = np.argwhere(~np.isfinite(parameters))
    if len(bad):
        frame, column = bad[0]
        name = next(name for name, columns in SMPLX_COLUMNS.items() if column < columns.stop)
        raise ValueError(f"{path}: frame {frame}, {name}: NaN or infinite")
    columns = [np.r_[SMPLX_COLUMNS[name]] for name in SMPLX_ROTATIONS if name != "global_orient"]
    keep, found = without_rest_pose(parameters[:, np.concatenate(columns)], lambda: turned_points(parameters))
    notes += found
    parameters = parameters[keep]
    shape = parameters[:, SMPLX_COLUMNS["betas"]]
    if np.ptp(shape, axis=0).max() > 1e-6:
        notes.append(f"betas vary by up to {np.ptp(shape, axis=0).max():.3g} in the clip: averaged")
        parameters[:, SMPLX_COLUMNS["betas"]] = shape.mean(0, dtype=np.float64)
    if fps is None:
        raise ValueError(f"{path}: no frame rate in it; give --fps")
    caption = _caption(folder, notes)
    participant = _participant(folder or path)
    joints = None if body_models is None else _joints(parameters, body_models, notes)
    names = () if joints is None else HUMANML3D.joints
    notes = tuple(dict.fromkeys(notes))  # every frame may have noted the same
    try:
        return RawClip(joints, names, float(fps), caption, participant, notes=notes, parameters=parameters)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _joints(parameters: np.ndarray, body_models: Path | str, notes: list[str]) -> np.ndarray:
    """(F, 182) -> the 22 joints (F, 22, 3) float32 of the neutral body, turned so that heads are up."""
    body = load_body_model(find_body_model(body_models, "smplx", "neutral"), "smplx")
    betas = parameters[0, SMPLX_COLUMNS["betas"]].astype(np.float64)[: body.directions.shape[-1]]
    trans = parameters[:, SMPLX_COLUMNS["transl"]].astype(np.float64)
    joints, up = turned_upright(posed_joints(body.rest_joints(betas), body_turns(parameters), trans))
    if up != "y":
        notes.append(f"up axis: {up} (guessed from the heads)")
    return joints.astype(np.float32)


def explain(
    path: Path | str,
    fps: float | None = None,
    layout: str | None = None,
    body_models: Path | str | None = None,
) -> list[str]:
    """Lines for people: keys and shapes of the first file, frames, what is kept and dropped.

    A broken file raises nothing: a line says what is wrong with it.
    """
    path = Path(path)
    lines = [f"{path}:"]
    try:
        files = _frame_files(path)
        content = _load(files[0])
        lines.append(f"{len(files)} file{'s' * (len(files) > 1)}, the first is {files[0].name}")
        if isinstance(content, list | tuple):
            lines.append(f"a list of {len(content)} frames")
            content = content[0] if len(content) else {}
        bare = _array_without_names(content)
        if bare is not None:
            lines.append(f"  one array without names: {bare.shape} {bare.dtype}")
        elif isinstance(content, dict):
            known = {key: name for name, keys in KEYS.items() for key in keys}
            for key, value in content.items():
                shape = getattr(value, "shape", None)
                what = f"{tuple(shape)} {value.dtype}" if shape is not None else type(value).__name__
                lines.append(f"  {str(key)[:80]}: {what} -> {known.get(key, 'fps' if key in _FPS else 'dropped')}")
        clip = read(path, fps, layout, body_models)
        captions = ", ".join(clip.captions) or "none in the file"
        lines.append(
            f"would keep {len(clip.parameters)} frames at {clip.fps:g} fps, captions: {captions}, "
            f"participant {clip.participant or 'not said'}"
        )
        lines += [f"note: {note}" for note in clip.notes]
    except (ValueError, OSError) as error:
        lines.append(f"broken: {error}")
    return lines


# Files.


def _files(folder: Path, suffix: str) -> list[Path]:
    found = visible(folder.iterdir(), folder)
    return sorted((p for p in found if p.suffix.lower() == suffix and p.is_file()), key=natural_key)


def _frame_files(path: Path) -> list[Path]:
    """The files of a clip in the order of its frames."""
    if not path.is_dir():
        return [path]
    pickles = _files(path, ".pkl")
    archives = [file for file in _files(path, ".npz") if not is_body_file(file)]
    if pickles and archives:
        raise ValueError(f"{path} has both .pkl and .npz files; keep the frames of one clip only")
    if not pickles and not archives:
        raise ValueError(f"{path} has no .pkl and no .npz files")
    return pickles or archives


def _gap(files: list[Path]) -> list[str]:
    """A note if frames are missing: the last numbers of the files' names rise in equal steps, and some are left out."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", file.name.removesuffix(file.suffix)) for file in files]
    if len(files) < 3 or not all(parts) or len({(part[1], part[3]) for part in parts}) > 1:
        return []
    numbers = [int(part[2]) for part in parts]
    step = min(b - a for a, b in pairwise(numbers))
    lost = [n for a, b in pairwise(numbers) if step > 0 for n in range(a + step, b, step)]
    if not lost:
        return []
    name = f"{parts[0][1]}{lost[0]:0{len(parts[0][2])}d}{parts[0][3]}{files[0].suffix}"
    more = f" and {len(lost) - 1} more frames are" if len(lost) > 1 else " is"
    return [f"{files[0].parent.name}: {name}{more} missing, the motion jumps there"]


def _load(file: Path):
    """The content of a file: a dict of arrays, a list of such dicts, or an array without names."""
    content = _load_numpy(file) if file.suffix.lower() in (".npz", ".npy") else load_pickle(file)
    if not isinstance(content, dict | list | tuple | np.ndarray):
        raise ValueError(f"{file}: expected a dict of arrays or a list of such, got {type(content).__name__}")
    return content


def _array_without_names(content) -> np.ndarray | None:
    """The array of an .npy, or the one of an .npz beside a frame rate, if it is 182 wide; None if there are names."""
    arrays = [value for key, value in content.items() if key not in _FPS] if isinstance(content, dict) else [content]
    is_bare = isinstance(content, np.ndarray) or (
        len(arrays) == 1 and getattr(arrays[0], "shape", ())[-1:] == (SMPLX_WIDTH,)
    )
    return np.asarray(arrays[0]) if is_bare else None


def _load_numpy(file: Path):
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    return copy_array(file) if file.suffix.lower() == ".npy" else read_npz(file)[1]


def _is_frame(file: Path) -> bool:
    """Whether an .npz is one frame of a clip: its body_pose has one row, or none."""
    try:
        content = _load(file)
    except (ValueError, OSError):
        return False  # then it counts as a clip of its own, and `read` says what is wrong
    return isinstance(content, dict) and "body_pose" in content and _frame_count(content["body_pose"]) in (None, 1)


# Contents.


def _frame_count(value) -> int | None:
    """F of a (F, 63), (F, 66) or (F, J, 3) body pose; None for one frame's (63,), (66,) or (J, 3)."""
    shape = tuple(getattr(value, "shape", ()))
    per_joint = len(shape) == 2 and shape[1] == 3
    return int(shape[0]) if len(shape) >= 2 and not per_joint else None


def _number(value, place: str) -> float:
    try:
        return float(np.asarray(value).reshape(()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place} must be a number, got {str(value)[:40]!r}") from error


def _in_our_order(array: np.ndarray, layout: str | None, file: Path, notes: list[str]) -> np.ndarray:
    """(F, 182) of an array without names."""
    try:
        ours = from_layout(array[None] if array.ndim == 1 else array, layout)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    notes.append(f"an array without names, read in the order {layout}")
    notes += [f"{name} is not in the order {layout}: zero" for name in missing_in(layout)]
    return ours


def _parameters(content, place: str, notes: list[str]) -> np.ndarray:
    """(F, 182) of a dict of arrays with F rows each (betas may have one); F is 1 if it is one frame.

    `place` is where the dict is, for errors.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{place}: expected a dict of arrays, got {type(content).__name__}")
    keys = {name: next((key for key in keys if content.get(key) is not None), None) for name, keys in KEYS.items()}
    frames = _frame_count(content.get("body_pose")) or 1
    values = {name: _matrix(content[key], frames, f"{place}: {key}") for name, key in keys.items() if key is not None}
    if "body_pose" in values and values["body_pose"].shape[1] == 66:  # root first
        root = values["body_pose"][:, :3]
        values["body_pose"] = values["body_pose"][:, 3:]
        has_own = "global_orient" in values
        notes.append(
            "body_pose has 66 numbers: the first three are the root's"
            + (", dropped for the key of the root" if has_own else "")
        )
        values.setdefault("global_orient", root)
    out = np.zeros((frames, SMPLX_WIDTH), np.float32)
    for name, columns in SMPLX_COLUMNS.items():
        width = columns.stop - columns.start
        if name not in values:
            raise ValueError(f"{place}: no key {' or '.join(KEYS[name])}; it has {_few(content)}")
        found = values[name].shape[1]
        if found > width and name in ("betas", "expression"):
            notes.append(f"{name} has {found} numbers: the first {width} are kept")
        elif found != width:
            raise ValueError(f"{place}: {keys[name]} must have {width} numbers a frame, got {found}")
        out[:, columns] = values[name][:, :width]
    eyes = [key for key in _IGNORED if key in content]
    if eyes:
        notes.append(f"{', '.join(eyes)} ignored: not among the 182")
    known = {key for some in KEYS.values() for key in some} | {*_FPS, *eyes}
    others = [str(key)[:40] for key in content if key not in known]
    if others:
        notes.append(f"keys not read: {', '.join(others[:10])}")
    return out


def _few(content: dict) -> str:
    return ", ".join(str(key)[:40] for key in list(content)[:12]) or "no keys"


def _matrix(value, frames: int, place: str) -> np.ndarray:
    """(frames, width) float32. A single row, like that of betas, stands for all frames."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{array.dtype} instead of numbers")
        array = array.astype(np.float32)
        if frames == 1 or (array.size and array.ndim == 1):
            array = array.reshape(1, -1)
        elif len(array) not in (1, frames) or not array.size:
            raise ValueError(f"shape {array.shape} for {frames} frames")
        return np.broadcast_to(array.reshape(len(array), -1), (frames, array.size // len(array)))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{place}: {' '.join(str(error).split())[:150]}") from error


def _caption(folder: Path | None, notes: list[str]) -> tuple[str, ...]:
    """The word of a folder `ID-word`, if the ID has a digit."""
    found = re.fullmatch(r"([^-]*\d[^-]*)-(.*\S.*)", folder.name) if folder else None
    if found is None:
        return ()
    notes.append("the caption is the word of the folder's name")
    return (" ".join(re.split(r"[_\s]+", found[2].strip())),)


def _participant(path: Path) -> str | None:
    """P and a number that is part of the clip's name or is its parent folder: P003, P12_0007-hello. Else None."""
    found = re.search(r"(?:^|[_-])(P\d{1,4})(?=$|[_.-])", path.name) or re.fullmatch(r"(P\d{1,4})", path.parent.name)
    return found[1] if found else None
