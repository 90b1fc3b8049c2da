"""Where motion comes from: the table of sources, which flags each takes, and its records for `data/build.py`.

A source is a folder of a known layout (`joints`, `humanml3d`, `kit-ml`), a module of `data/readers/` (imported when it
is asked for), or the embedded data (`procedural`). Every record can be loaded in another process.
"""

import importlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, Skeleton
from motiongpt.data.joint_maps import JointMap
from motiongpt.data.motions import SPLITS, read_ids
from motiongpt.data.prepare.caption_table import CaptionRow
from motiongpt.data.raw import RawClip, Record, to_metres
from motiongpt.data.resample import resample
from motiongpt.data.texts import Caption, parse_captions
from motiongpt.features.humanml3d import skeleton_of_width
from motiongpt.features.representations import Representation, get_representation
from motiongpt.files.arrays import load_array, read_array
from motiongpt.procedural.clips import clip_name, generate_clip


@dataclass(frozen=True)
class Source:
    """One value of --from: its reader, its defaults, and the flags that mean something for it."""

    flags: frozenset[str]
    reader: str = ""  # module in data/readers/; empty: read here
    skeleton: str = "humanml3d"
    representation: str = "humanml3d"


def _flags(text: str) -> frozenset[str]:
    return frozenset(text.split())


_JOINTS = "mirror skeleton representation"
SOURCES = {
    "joints": Source(_flags(f"input fps unit up {_JOINTS}")),
    "humanml3d": Source(_flags("input skeleton")),
    "kit-ml": Source(_flags("input"), skeleton="kit"),
    "kit-xml": Source(_flags(f"input captions joint_map plain {_JOINTS}"), "kit_xml"),
    "bvh": Source(_flags(f"input captions joint_map unit up {_JOINTS}"), "bvh"),
    "amass": Source(_flags(f"input captions smplx_dir exact_fps index {_JOINTS}"), "amass"),
    "myoskeleton": Source(
        _flags(f"input fps unit up joint_map allow_no_text {_JOINTS}"), "myoskeleton", "myoskeleton", "positions"
    ),
    "smplx": Source(
        _flags("input fps captions smplx_layout smplx_dir representation"), "smplx", representation="smplx"
    ),
    "procedural": Source(_flags(f"count seed {_JOINTS}")),
}
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254}  # metres


@dataclass(frozen=True)
class Options:
    """What the flags say, checked; None where the source decides."""

    skeleton: Skeleton
    skeleton_file: Path | None = None
    fps: float | None = None  # of an input that does not say
    unit: str | None = None
    up: str | None = None
    captions: dict[str, CaptionRow] | None = None
    joint_map: JointMap | None = None
    allow_no_text: bool = False
    smplx_layout: str | None = None
    smplx_dir: Path | None = None
    exact_fps: bool = False
    index: Path | None = None
    count: int = 4000
    seed: int = 0


def check_flags(source: str, given: dict[str, Any]) -> None:
    """ValueError in one line for a flag that has no meaning for a source. `given` is name -> value, unset ones None."""
    for name, value in given.items():
        owners = [other for other, row in SOURCES.items() if name in row.flags]
        if value is not None and value is not False and owners and source not in owners:
            what = "needs joints: it is for" if name == "mirror" else "is for"
            raise ValueError(f"--{name.replace('_', '-')} {what} --from {', '.join(owners)}; not for {source}")


def reader(source: str) -> ModuleType:
    """The module that reads a source. ValueError where it is not there."""
    name = f"motiongpt.data.readers.{SOURCES[source].reader}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ValueError(f"--from {source} has no reader in this version") from error


def reader_options(source: str, options: Options) -> dict[str, Any]:
    """The arguments of a reader's functions; a rate that is resampled to is the skeleton's."""
    if source == "bvh":
        return {"fps": options.skeleton.fps, "unit": metres(options.unit), "up": options.up}
    if source == "kit-xml":
        return {"fps": options.skeleton.fps}
    if source == "amass":
        return {"fps": options.skeleton.fps, "body_models": options.smplx_dir, "exact_fps": options.exact_fps}
    if source == "smplx":
        return {"fps": options.fps, "layout": options.smplx_layout, "body_models": options.smplx_dir}
    return {
        "fps": options.fps, "skeleton": options.skeleton_file, "unit": options.unit, "up": options.up,
        "allow_no_text": options.allow_no_text,
    }  # fmt: skip


def default_skeleton(source: str, path: Path | None) -> str:
    """The source's; of an H5, the built-in one of its joints."""
    own = reader(source).built_in_skeleton(path) if source == "myoskeleton" and path else None
    return own or SOURCES[source].skeleton


def choose_representation(source: str, given: str | None, options: Options) -> Representation:
    """The one given, else the source's; of SMPL-X with body models, joints' features.

    Raises ValueError where no clip of the source could become it.
    """
    default = "humanml3d" if source == "smplx" and options.smplx_dir else SOURCES[source].representation
    chosen, skeleton = get_representation(given or default, options.skeleton), options.skeleton
    if source == "smplx" and chosen.has_joints and options.smplx_dir is None:
        raise ValueError(f"{chosen.name} needs joints: give --smplx-dir, the folder of body models")
    if chosen.kind == "humanml3d" and not skeleton.has_lengths and "representation" in SOURCES[source].flags:
        raise ValueError(f"{skeleton.name} has no bone lengths to retarget to: add --representation positions")
    return chosen


def metres(unit: str | None) -> float | None:
    """Metres of a unit: m, cm, mm, inch, or a number."""
    if unit is None or unit in UNITS:
        return UNITS.get(unit)
    try:
        value = float(unit)
    except ValueError:
        value = 0.0
    if not 1e-6 < value <= 1000:  # NaN, too
        raise ValueError(f"--unit must be one of {', '.join(UNITS)}, or metres as a number above 0, got {unit!r}")
    return value


# Records.


def records(source: str, folder: Path | None, options: Options) -> tuple[Iterator[Record], int | None, float]:
    """The records of a source, how many there are (None: not known before), and the frame rate of the data set.

    What is no such source at all is found here, before anything is written. Raises FileNotFoundError or ValueError.
    """
    fps = options.skeleton.fps
    if source == "procedural":
        return _procedural(options), options.count, fps
    if source == "amass" and not options.index:
        _check_models(options)
    one_file = bool(SOURCES[source].reader) and not options.index
    if folder is None or not (folder.is_dir() or (folder.is_file() and one_file)):
        wanted = "a folder or a file of it" if one_file else "a folder"
        raise FileNotFoundError(f"--input must be {wanted} for --from {source}, got {folder}")
    if source == "joints":
        unit = metres(options.unit)
        found = list(joint_records(folder, options.skeleton, options.fps or fps, unit, options.up))
    elif source in ("humanml3d", "kit-ml"):
        found = list(feature_records(folder, options.skeleton))
    elif options.index:
        found = list(index_records(folder, options))
    else:
        paths = [folder] if folder.is_file() else reader(source).find(folder)
        if not paths:
            raise FileNotFoundError(f"{folder} holds nothing that --from {source} reads; it looks into subfolders, too")
        if source == "myoskeleton":
            arguments = reader_options(source, options)
            total = sum(reader(source).read_schema(path, **arguments).clips for path in paths)
            return _many(source, paths, arguments), total, fps
        if source == "smplx" and options.smplx_dir is None:
            fps = _first_fps(source, paths, options)
        root = folder if folder.is_dir() else folder.parent
        found = [_file_record(source, path, root, options) for path in paths]
    if options.captions and not any(record.row is not None for record in found):
        raise ValueError(f"--captions: no id fits a clip; the ids are like {next(iter(options.captions))!r}, the clips "
                         f"like {found[0].id if found else 'none'!r}")  # fmt: skip
    return iter(found), len(found), fps


def _procedural(options: Options) -> Iterator[Record]:
    for index in range(options.count):
        yield Record(clip_name(index, options.seed), None, [], partial(_generate, index, options.seed))


def _generate(index: int, seed: int) -> RawClip:
    clip = generate_clip(index, seed)
    return RawClip(clip.joints, HUMANML3D.joints, HUMANML3D.fps, tuple(clip.captions), clip.participant, clip.split)


def _given(value: np.ndarray | RawClip) -> np.ndarray | RawClip:
    return value


def _refuse(reason: str) -> np.ndarray:
    raise ValueError(reason)


def _read(source: str, path: Path, arguments: dict[str, Any]) -> RawClip:
    return reader(source).read(path, **arguments)


def _many(source: str, paths: list[Path], arguments: dict[str, Any]) -> Iterator[Record]:
    """Of files with many clips each; a bad clip becomes a record that says so when it is loaded."""
    for path in paths:
        bad: list[tuple[str, str]] = []
        for clip_id, clip in reader(source).read_all(path, **arguments, on_bad=lambda *what: bad.append(what)):  # noqa: B023
            yield Record(clip_id, None, [], partial(_given, clip), files=(path,))
        yield from (Record(clip_id, None, [], partial(_refuse, reason)) for clip_id, reason in bad)


def _check_models(options: Options) -> None:
    if options.smplx_dir is None:
        raise ValueError("--from amass needs --smplx-dir DIR, the body models that its poses are of; --explain FILE "
                         "says which, and where they come from")  # fmt: skip


def _first_fps(source: str, paths: list[Path], options: Options) -> float:
    """The rate of the first clip that can be read: the others are resampled to it."""
    reason = ""
    for path in paths:
        try:
            return _read(source, path, reader_options(source, options)).fps
        except (ValueError, OSError) as error:
            reason = reason or str(error)
    raise ValueError(f"none of {len(paths)} clips can be read; first: {reason}")


def clip_id(path: Path, root: Path) -> str:
    """A file name for a clip: its path below the input folder, without suffix, subfolders joined by _."""
    name = "_".join(path.relative_to(root).parts) if path != root else path.name
    if not path.is_dir():
        name = name.removesuffix(path.suffix)
    return re.sub(r"[^\w.-]+", "_", name.removesuffix("_mmm")).lstrip(".-") or "clip"


def _file_record(source: str, path: Path, root: Path, options: Options) -> Record:
    name, stem = clip_id(path, root), path.name if path.is_dir() else path.stem
    arguments = reader_options(source, options)
    number = stem.removesuffix("_mmm")  # of kit-xml
    key, row = _row(options, name, stem, path.name, number)
    load, captions = partial(_read, source, path, arguments), row.captions
    beside = path.parent / f"{stem}.txt"
    annotations = path.with_name(f"{number}_annotations.json")
    if not captions and beside.is_file():
        load, captions = _with_captions(beside, load)
    guess = guess_caption(number, path.parent.name)
    return Record(
        name, row.split, captions, load, row.participant, guess=guess, row=key,
        files=(path, beside, annotations),
    )  # fmt: skip


def _row(options: Options, *names: str) -> tuple[str | None, CaptionRow]:
    """The first of these ids that the captions file has, and its row."""
    table = options.captions or {}
    key = next((name for name in names if name in table), None)
    return key, CaptionRow() if key is None else table[key]


def guess_caption(*names: str) -> str:
    """The words of the first name that has any: "dataset-1_walk-turn-left_004" says "dataset walk turn left"."""
    for name in names:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # TurnLeft
        words = [word.lower() for word in re.findall(r"[^\W\d_]+", words) if len(word) > 1]
        if words:
            return " ".join(words)
    return ""


def _with_captions(path: Path, load: Any) -> tuple[Any, list[Caption]]:
    """The captions of a text file; where it cannot be read, loading says so, and the record is skipped."""
    try:
        return load, parse_captions(path)
    except ValueError as error:
        return partial(_refuse, str(error)), []


def read_splits(folder: Path) -> dict[str, str]:
    """Clip id -> split from train.txt, val.txt and test.txt. Raises FileNotFoundError, or ValueError on overlap."""
    if not (folder / "train.txt").is_file():
        raise FileNotFoundError(f"{folder / 'train.txt'} is missing: the splits list one clip id a line")
    split_of: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        for clip in read_ids(path) if path.is_file() else []:
            if clip in split_of:
                raise ValueError(f"{path}: clip {clip} is in {split_of[clip]}.txt too")
            split_of[clip] = split
    return split_of


def load_raw_joints(
    path: Path, skeleton: Skeleton, fps: float | None = None, unit: float | None = None, up: str | None = None
) -> np.ndarray:
    """(F, J, 3) of a .npy in metres, y up, from `fps` to the skeleton's; `unit` is metres, `up` y or z of the file."""
    joints = load_array(path, 3, 3)
    if joints.shape[1] != skeleton.num_joints:
        raise ValueError(f"{path}: {joints.shape[1]} joints, skeleton {skeleton.name} has {skeleton.num_joints}")
    return resample(to_metres(joints, unit, up), fps or skeleton.fps, skeleton.fps)


def joint_records(
    folder: Path, skeleton: Skeleton, fps: float, unit: float | None = None, up: str | None = None
) -> Iterator[Record]:
    """Records of a folder of joints: {raw_joints,joints,new_joints}/ID.npy (F, J, 3), texts/ID.txt, splits."""
    names = ("raw_joints", "joints", "new_joints")
    place = next((folder / name for name in names if (folder / name).is_dir()), None)
    if place is None:
        raise FileNotFoundError(f"{folder} has none of {', '.join(n + '/' for n in names)} with (F, J, 3) .npy files")
    for clip, split in read_splits(folder).items():
        path = place / f"{clip}.npy"
        load, captions = _texts(folder, clip, partial(load_raw_joints, path, skeleton, fps, unit, up))
        yield Record(clip, split, captions, load, files=(path, _text(folder, clip)))


def feature_records(folder: Path, skeleton: Skeleton) -> Iterator[Record]:
    """Records of an existing HumanML3D or KIT-ML folder, features as they are."""
    if not (folder / "new_joint_vecs").is_dir():
        raise FileNotFoundError(f"{folder} has no new_joint_vecs/; is it the HumanML3D folder itself?")
    split_of = read_splits(folder)
    paths = {clip: folder / "new_joint_vecs" / f"{clip}.npy" for clip in split_of}
    _check_width(folder, list(paths.values()), skeleton)
    for clip, path in paths.items():
        load, captions = _texts(folder, clip, partial(load_array, path, 2, skeleton.feature_dim))
        yield Record(clip, split_of[clip], captions, load, is_features=True, files=(path, _text(folder, clip)))


def _check_width(folder: Path, paths: list[Path], skeleton: Skeleton) -> None:
    """ValueError where the first clips that can be read are all of another skeleton's width."""
    widths = []
    for path in paths:
        with suppress(ValueError, OSError):
            widths += read_array(path).shape[1:]
        if len(widths) == 5:
            break
    if widths and len(set(widths)) == 1 and widths[0] != skeleton.feature_dim:
        known = {"humanml3d-22": "--from humanml3d", "kit-21": "--from kit-ml"}
        other = skeleton_of_width(widths[0])
        advice = known.get(other and other.name, "give the --skeleton they are of")
        raise ValueError(f"{folder}: the features are {widths[0]} wide, expected {skeleton.feature_dim}: {advice}")


def index_records(folder: Path, options: Options) -> Iterator[Record]:
    """A record per row of HumanML3D's index.csv over a folder of AMASS; its rate is HumanML3D's.

    Splits and texts/ID.txt are those beside the index, or in the folder HumanML3D beside it, where they are; the
    captions file goes first.
    """
    from motiongpt.data.readers.amass_index import index_rows, is_humanact12, read_row, source_file

    places = (options.index.parent, options.index.parent / "HumanML3D")
    place = next((p for p in places if (p / "texts").is_dir()), places[0])
    split_of = read_splits(place) if (place / "train.txt").is_file() else {}
    rows = index_rows(options.index)
    if not all(map(is_humanact12, rows)):
        _check_models(options)
    for row in rows:
        load = partial(read_row, row, folder, options.smplx_dir, None, options.exact_fps)
        key, known = _row(options, row.id)
        captions = known.captions
        if not captions:
            load, captions = _texts(place, row.id, load)
        guess = guess_caption(row.source.stem.removesuffix("_poses"))
        files = [_text(place, row.id)]
        with suppress(FileNotFoundError):  # loading says so
            files.append(source_file(row, folder))
        yield Record(
            row.id, known.split or split_of.get(row.id), captions, load, known.participant, guess=guess, row=key,
            files=tuple(files),
        )  # fmt: skip


def _text(folder: Path, clip: str) -> Path:
    return folder / "texts" / f"{clip}.txt"


def _texts(folder: Path, clip: str, load: Any) -> tuple[Any, list[Caption]]:
    path = _text(folder, clip)
    return _with_captions(path, load) if path.is_file() else (load, [])
