"""The clips of a source as records for `build.py`: which files there are, their captions, and how each is loaded.

A record is small: it names its files, and a worker process loads them. Clips of formats with many clips a file
(MyoSkeleton's H5) are the exception, they are loaded here one after the other.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from motiongpt.body.skeletons import HUMANML3D, Skeleton
from motiongpt.data.joint_maps import JointMap
from motiongpt.data.prepare.array_folders import (
    captioned,
    feature_records,
    joint_records,
    read_splits,
    refuse,
    text_path,
    with_captions,
)
from motiongpt.data.prepare.caption_table import CaptionRow
from motiongpt.data.prepare.sources import SOURCES, reader
from motiongpt.data.raw import RawClip, Record
from motiongpt.data.units import metres
from motiongpt.features.representations import Representation, get_representation
from motiongpt.procedural.clips import clip_name, generate_clip


@dataclass(frozen=True)
class Options:
    """The flags, checked; None if the source decides."""

    skeleton: Skeleton
    skeleton_file: Path | None = None
    fps: float | None = None  # of files that do not say
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


# 1) Options and defaults of a source.


def reader_options(source: str, options: Options) -> dict[str, Any]:
    """The arguments of a reader's functions. A reader that resamples gets the skeleton's rate."""
    if source == "bvh":
        return {"fps": options.skeleton.fps, "unit": metres(options.unit), "up": options.up}
    if source == "kit-xml":
        return {"fps": options.skeleton.fps}
    if source == "amass":
        return {"fps": options.skeleton.fps, "body_models": options.smplx_dir, "exact_fps": options.exact_fps}
    if source == "smplx":
        return {"fps": options.fps, "layout": options.smplx_layout, "body_models": options.smplx_dir}
    return {
        "fps": options.fps,
        "skeleton": options.skeleton_file,
        "unit": options.unit,
        "up": options.up,
        "allow_no_text": options.allow_no_text,
    }


def default_skeleton(source: str, path: Path | None) -> str:
    """The skeleton of a source. An H5 file whose joints are a built-in skeleton's has that one."""
    own = reader(source).built_in_skeleton(path) if source == "myoskeleton" and path else None
    return own or SOURCES[source].skeleton


def choose_representation(source: str, given: str | None, options: Options) -> Representation:
    """The representation that was given, else the source's; SMPL-X with body models has joints, hence humanml3d.

    Raises ValueError if no clip of the source could become it.
    """
    default = "humanml3d" if source == "smplx" and options.smplx_dir else SOURCES[source].representation
    skeleton = options.skeleton
    chosen = get_representation(given or default, skeleton)
    if source == "smplx" and chosen.has_joints and options.smplx_dir is None:
        raise ValueError(f"{chosen.name} needs joints: give --smplx-dir, the folder of body models")
    if chosen.kind == "humanml3d" and not skeleton.has_lengths and "representation" in SOURCES[source].flags:
        raise ValueError(f"{skeleton.name} has no bone lengths to retarget to: add --representation positions")
    return chosen


# 2) All records of a source.


def records(source: str, folder: Path | None, options: Options) -> tuple[Iterator[Record], int | None, float]:
    """The records of a source, their number, and the frame rate of the data set.

    Everything that makes a whole source unusable is found here, before anything is written. Raises FileNotFoundError
    or ValueError.
    """
    fps = options.skeleton.fps
    if source == "procedural":
        return _procedural(options), options.count, fps
    if source == "amass" and not options.index:
        _check_models(options)
    _check_input(source, folder, options)
    if source == "joints":
        found = list(joint_records(folder, options.skeleton, options.fps or fps, metres(options.unit), options.up))
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
            return chain.from_iterable(_clips_of(source, path, arguments) for path in paths), total, fps
        if source == "smplx" and options.smplx_dir is None:
            fps = _first_fps(source, paths, options)  # parameters know no skeleton, so their own rate counts
        root = folder if folder.is_dir() else folder.parent
        found = [_file_record(source, path, root, options) for path in paths]
    _check_captions(found, options)
    return iter(found), len(found), fps


def _check_input(source: str, folder: Path | None, options: Options) -> None:
    may_be_file = bool(SOURCES[source].reader) and not options.index
    if folder is None or not (folder.is_dir() or (folder.is_file() and may_be_file)):
        wanted = "a folder or a file of it" if may_be_file else "a folder"
        raise FileNotFoundError(f"--input must be {wanted} for --from {source}, got {folder}")


def _check_captions(found: list[Record], options: Options) -> None:
    """ValueError if the captions file has other ids than the clips: a mistyped column would leave all without text."""
    if options.captions and not any(record.row is not None for record in found):
        raise ValueError(
            f"--captions: no id fits a clip; the ids are like {next(iter(options.captions))!r}, the clips "
            f"like {found[0].id if found else 'none'!r}"
        )


def _check_models(options: Options) -> None:
    if options.smplx_dir is None:
        raise ValueError(
            "--from amass needs --smplx-dir DIR, the body models that its poses are of; --explain FILE "
            "says which, and where they come from"
        )


def _first_fps(source: str, paths: list[Path], options: Options) -> float:
    """The rate of the first clip that can be read: the others are resampled to it."""
    reason = ""
    for path in paths:
        try:
            return _read(source, path, reader_options(source, options)).fps
        except (ValueError, OSError) as error:
            reason = reason or str(error)
    raise ValueError(f"none of {len(paths)} clips can be read; first: {reason}")


# 3) One record. What loads it must pickle, so it is a module's function with its arguments.


def _procedural(options: Options) -> Iterator[Record]:
    for index in range(options.count):
        yield Record(clip_name(index, options.seed), None, [], partial(_generate, index, options.seed))


def _generate(index: int, seed: int) -> RawClip:
    clip = generate_clip(index, seed)
    return RawClip(clip.joints, HUMANML3D.joints, HUMANML3D.fps, tuple(clip.captions), clip.participant, clip.split)


def loaded(value: np.ndarray | RawClip) -> np.ndarray | RawClip:
    """The `load` of a record whose clip is in memory already."""
    return value


def _read(source: str, path: Path, arguments: dict[str, Any]) -> RawClip:
    return reader(source).read(path, **arguments)


def _clips_of(source: str, path: Path, arguments: dict[str, Any]) -> Iterator[Record]:
    """The records of a file with many clips; a bad clip becomes a record that raises when it is loaded."""
    bad: list[tuple[str, str]] = []
    for name, clip in reader(source).read_all(path, **arguments, on_bad=lambda *what: bad.append(what)):
        yield Record(name, None, [], partial(loaded, clip), files=(path,))
    for name, reason in bad:
        yield Record(name, None, [], partial(refuse, reason))


def _file_record(source: str, path: Path, root: Path, options: Options) -> Record:
    """The record of a file, or of a folder of frames, that is one clip.

    Its captions are those of the captions file, else of a .txt beside it. Captions that the reader finds in the file
    go before both.
    """
    name = clip_id(path, root)
    stem = path.name if path.is_dir() else path.stem
    number = stem.removesuffix("_mmm")  # kit-xml: 00001_mmm.xml is clip 00001
    key, row = _row(options, name, stem, path.name, number)
    load: Callable = partial(_read, source, path, reader_options(source, options))
    captions = row.captions
    beside = path.parent / f"{stem}.txt"
    if not captions and beside.is_file():
        load, captions = with_captions(beside, load)
    return Record(
        name,
        row.split,
        captions,
        load,
        row.participant,
        guess=guess_caption(number, path.parent.name),
        row=key,
        files=(path, beside, path.with_name(f"{number}_annotations.json")),
    )


def index_records(folder: Path, options: Options) -> Iterator[Record]:
    """A record for each row of HumanML3D's index.csv over a folder of AMASS, at HumanML3D's rate.

    Captions come from the captions file, else from texts/ID.txt. That folder and the splits are looked for beside the
    index, and in a folder HumanML3D beside it.
    """
    from motiongpt.data.readers.amass_index import index_rows, is_humanact12, read_row, source_file

    places = (options.index.parent, options.index.parent / "HumanML3D")
    place = next((p for p in places if (p / "texts").is_dir()), places[0])
    split_of = read_splits(place) if (place / "train.txt").is_file() else {}
    rows = index_rows(options.index)
    if not all(map(is_humanact12, rows)):  # HumanAct12 comes as joints, which need no body model
        _check_models(options)
    for row in rows:
        load: Callable = partial(read_row, row, folder, options.smplx_dir, None, options.exact_fps)
        key, known = _row(options, row.id)
        captions = known.captions
        if not captions:
            load, captions = captioned(place, row.id, load)
        files = [text_path(place, row.id)]
        with suppress(FileNotFoundError):  # loading says so
            files.append(source_file(row, folder))
        yield Record(
            row.id,
            known.split or split_of.get(row.id),
            captions,
            load,
            known.participant,
            guess=guess_caption(row.source.stem.removesuffix("_poses")),
            row=key,
            files=tuple(files),
        )


# 4) Names and captions.


def clip_id(path: Path, root: Path) -> str:
    """A file name for a clip: its path below the input folder, without suffix, subfolders joined by _."""
    name = "_".join(path.relative_to(root).parts) if path != root else path.name
    if not path.is_dir():
        name = name.removesuffix(path.suffix)
    return re.sub(r"[^\w.-]+", "_", name.removesuffix("_mmm")).lstrip(".-") or "clip"


def _row(options: Options, *names: str) -> tuple[str | None, CaptionRow]:
    """The first of these ids that the captions file has, and its row; else None and an empty row."""
    table = options.captions or {}
    key = next((name for name in names if name in table), None)
    return key, CaptionRow() if key is None else table[key]


def guess_caption(*names: str) -> str:
    """The words of the first name that has any: "dataset-1_walk-turn-left_004" says "dataset walk turn left"."""
    for name in names:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # TurnLeft -> Turn Left
        words = [word.lower() for word in re.findall(r"[^\W\d_]+", words) if len(word) > 1]
        if words:
            return " ".join(words)
    return ""
