"""The clips of a source as records for `build.py`: which files there are, their captions, and how each is loaded.

A record is small: it names its files, and a worker process loads them. Clips of formats with many clips a file
(MyoSkeleton's H5) are the exception, they are loaded here one after the other.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.edits import Edit
from motiongpt.data.prepare.array_folders import added_records, feature_records, joint_records, refuse, with_captions
from motiongpt.data.prepare.caption_table import find_row
from motiongpt.data.prepare.names import clip_id, guess_caption
from motiongpt.data.prepare.options import Options
from motiongpt.data.prepare.pieces import check_models, index_records, trial_records
from motiongpt.data.prepare.sources import SOURCES, reader
from motiongpt.data.raw import RawClip, Record
from motiongpt.data.units import metres
from motiongpt.features.representations import Representation, get_representation
from motiongpt.procedural.clips import Clip, clip_name, generate_clip
from motiongpt.procedural.edits import make_pair
from motiongpt.procedural.performer import STYLES
from motiongpt.procedural.recipes import Recipe, make_recipe_clip

STYLE_WORDS = {style.name: style.words for style in STYLES}  # of the embedded data's participants


# 1) Options and defaults of a source.


def reader_options(source: str, options: Options) -> dict[str, Any]:
    """The arguments of a reader's functions. A reader that resamples gets the skeleton's rate."""
    if source == "bvh":
        return {"fps": options.skeleton.fps, "unit": metres(options.unit), "up": options.up}
    if source == "asfamc":
        unit = metres(options.unit)
        return {"fps": options.skeleton.fps, "recorded_fps": options.fps, "unit": unit, "up": options.up}
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
    """The skeleton of a source. An H5 file with the joints of a built-in skeleton gets that one."""
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
    """The records of a source and of the folder that is added, their number, and the frame rate of the data set.

    Everything that makes a whole source unusable is found here, before anything is written. Raises FileNotFoundError
    or ValueError.
    """
    found, count, fps = _of_source(source, folder, options)
    if options.add is None:
        return found, count, fps
    more = added_records(options.add, options.skeleton, fps, options.repeat)
    return chain(found, more), None if count is None else count + len(more), fps


def _of_source(source: str, folder: Path | None, options: Options) -> tuple[Iterator[Record], int | None, float]:
    fps = options.skeleton.fps
    if source == "procedural":
        return _procedural(options), options.count + 2 * options.edits, fps
    if source == "amass" and not options.index:
        check_models(options)
    _check_input(source, folder, options)
    if source == "joints":
        found = _joints(folder, options)
    elif source in ("humanml3d", "kit-ml"):
        found = list(feature_records(folder, options.skeleton))
    elif options.index:
        found = list(index_records(source, folder, options))
    elif source == "asfamc" and options.cuts_trials:
        found = list(trial_records(folder, options))
    else:
        paths = [folder] if folder.is_file() else reader(source).find(folder)
        if not paths:
            raise FileNotFoundError(f"{folder} holds nothing that --from {source} reads; it looks into subfolders, too")
        if source == "myoskeleton":
            return *_joined_sets(source, [folder, *options.more_input], options), fps
        if source == "smplx" and options.smplx_dir is None:
            fps = _first_fps(source, paths, options)  # parameters know no skeleton, so their own rate counts
        root = folder if folder.is_dir() else folder.parent
        found = [_file_record(source, path, root, options) for path in paths]
    _check_captions(source, found, options)
    return iter(found), len(found), fps


def _check_input(source: str, folder: Path | None, options: Options) -> None:
    may_be_file = bool(SOURCES[source].reader) and not (options.index or options.cuts_trials)
    if folder is None or not (folder.is_dir() or (folder.is_file() and may_be_file)):
        wanted = "a folder or a file of it" if may_be_file else "a folder"
        found = "none was given" if folder is None else f"{folder} is a file"
        if folder is not None and not folder.exists():
            found = f"{folder} does not exist"
        raise FileNotFoundError(f"--input must be {wanted} for --from {source}: {found}")


def _check_captions(source: str, found: list[Record], options: Options) -> None:
    """Raise ValueError if no id of the captions file is a clip: a wrong column would leave all without text.

    So would a source that cuts no trials give whole recordings the captions of their pieces.
    """
    if options.cuts_trials and source not in ("asfamc", "joints"):
        raise ValueError(
            f"--captions {options.captions_file}: its rows are pieces of trials (trial, start, end), which --from "
            f"{source} cannot cut; --from asfamc cuts CMU's files, --from joints takes clips that are cut"
        )
    if options.captions and not any(record.row is not None for record in found):
        raise ValueError(
            f"--captions: no id fits a clip; the ids are like {next(iter(options.captions))!r}, the clips "
            f"like {found[0].id if found else 'none'!r}"
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
    for index in range(options.edits):
        # a pair is drawn here and performed by a worker, which takes ten times as long
        pair = make_pair(index, options.seed)
        edit = Edit(pair.source.id, pair.target.id, pair.texts, pair.kind)
        yield Record(pair.source.id, None, [], partial(_perform, pair.source))
        yield Record(pair.target.id, None, [], partial(_perform, pair.target), edit=edit)


def _generate(index: int, seed: int) -> RawClip:
    return _raw(generate_clip(index, seed))


def _perform(recipe: Recipe) -> RawClip:
    return _raw(make_recipe_clip(recipe))


def _raw(clip: Clip) -> RawClip:
    known = {"captions": tuple(clip.captions), "participant": clip.participant, "split": clip.split}
    known |= {"plain": clip.captions[0], "style": STYLE_WORDS.get(clip.participant, "")}
    return RawClip(clip.joints, HUMANML3D.joints, HUMANML3D.fps, **known)


def _joints(folder: Path, options: Options) -> list[Record]:
    """The records of a folder of joints. What the captions file says of a clip goes before texts/ID.txt and the
    splits; a file that cuts trials lists all clips, and the others are passed over."""
    fps = options.fps or options.skeleton.fps
    found = list(joint_records(folder, options.skeleton, fps, metres(options.unit), options.up))
    if options.captions is None:
        return found
    records = []
    for record in found:
        key, row = find_row(options.captions, record.id)
        if key is None and options.cuts_trials:
            continue
        own = {name: value for name in ("captions", "split", "participant", "plain") if (value := getattr(row, name))}
        records.append(replace(record, row=key, **own))
    return records


def loaded(value: np.ndarray | RawClip) -> np.ndarray | RawClip:
    """The `load` of a record whose clip is in memory already."""
    return value


def _read(source: str, path: Path, arguments: dict[str, Any]) -> RawClip:
    return reader(source).read(path, **arguments)


def _joined_sets(source: str, places: list[Path], options: Options) -> tuple[Iterator[Record], int]:
    """The records of files with many clips, and their number.

    With several places the ids of each begin with its name. Raises ValueError if one has other joints than the first.
    """
    arguments = reader_options(source, options)
    names = _names_of(places) if len(places) > 1 else [""]
    files = [(path, name) for place, name in zip(places, names, strict=True) for path in reader(source).find(place)]
    schemas = [reader(source).read_schema(path, **arguments) for path, _ in files]
    for (path, _), schema in zip(files, schemas, strict=True):
        if len(places) > 1 and (schema.names, schema.parents) != (schemas[0].names, schemas[0].parents):
            raise ValueError(
                f"{path} has {3 * len(schema.names)} columns of joints {', '.join(schema.names):.60}..., {files[0][0]} "
                f"has {3 * len(schemas[0].names)} of {', '.join(schemas[0].names):.60}...: sets that are joined must "
                "have one skeleton; give each an --out of its own"
            )
    clips = chain.from_iterable(_clips_of(source, path, arguments, name) for path, name in files)
    return clips, sum(schema.clips for schema in schemas)


def _names_of(places: list[Path]) -> list[str]:
    """A name for each of several inputs: its own, after its folder's if two are the same."""
    stems = [place.resolve().stem if place.is_file() else place.resolve().name for place in places]
    names = [
        stem if stems.count(stem) == 1 else f"{place.resolve().parent.name}-{stem}"
        for place, stem in zip(places, stems, strict=True)
    ]
    twice = next((place for place, name in zip(places, names, strict=True) if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"--input {twice}: another one has this name too, so their clips would have the same ids")
    return [re.sub(r"[^\w.-]+", "_", name).lstrip(".-") for name in names]


def _clips_of(source: str, path: Path, arguments: dict[str, Any], name: str = "") -> Iterator[Record]:
    """The records of a file with many clips; a bad clip becomes a record that raises when it is loaded.

    Ids begin with `name`, unless they do already.
    """

    def own(clip: str) -> str:
        return clip if not name or clip.startswith(f"{name}_") else f"{name}_{clip}"

    bad: list[tuple[str, str]] = []
    for clip, content in reader(source).read_all(path, **arguments, on_bad=lambda *what: bad.append(what)):
        yield Record(own(clip), None, [], partial(loaded, content), files=(path,))
    for clip, reason in bad:
        yield Record(own(clip), None, [], partial(refuse, reason))


def _file_record(source: str, path: Path, root: Path, options: Options) -> Record:
    """The record of a file, or of a folder of frames, that is one clip.

    Its captions are those of the captions file, else of a .txt beside it. Captions that the reader finds in the file
    go before both.
    """
    name = clip_id(path, root)
    stem = path.name if path.is_dir() else path.stem
    number = stem.removesuffix("_mmm")  # kit-xml: 00001_mmm.xml is clip 00001
    key, row = find_row(options.captions, name, stem, path.name, number)
    load: Callable = partial(_read, source, path, reader_options(source, options))
    captions = row.captions
    beside = path.parent / f"{stem}.txt"
    files = [path, beside, path.with_name(f"{number}_annotations.json")]
    if source == "asfamc":
        with suppress(FileNotFoundError):  # loading says so
            files.append(reader(source).find_skeleton(path))
    if source == "bvh":  # CMU's
        files += reader(source).skeleton_places(path)
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
        files=tuple(files),
        plain=row.plain or "",
    )
