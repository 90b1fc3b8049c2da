"""Folders of arrays as sources: joints of your own,
and the features of a downloaded HumanML3D or KIT-ML.

Both have texts/ID.txt beside the arrays, and train.txt, val.txt and test.txt with one clip id a
line. Nothing is loaded here: a record says which file to load, and a worker does it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.data.edits import read_edits
from motiongpt.data.motions import SPLITS, MotionDataset, read_ids
from motiongpt.data.raw import Record, to_metres
from motiongpt.data.resample import resample
from motiongpt.data.texts import Caption, parse_captions
from motiongpt.features.humanml3d import skeleton_of_width
from motiongpt.features.representations import get_representation
from motiongpt.files.arrays import load_array, read_array
from motiongpt.files.fields import get_field
from motiongpt.files.store import read_json

JOINT_FOLDERS = ("raw_joints", "joints", "new_joints")  # the first one that exists is used
MEASURED = 5  # clips whose width is compared with the skeleton's


def read_splits(folder: Path) -> dict[str, str]:
    """Clip id -> split from train.txt, val.txt and test.txt.
    Raises FileNotFoundError, or ValueError on overlap."""
    if not (folder / "train.txt").is_file():
        raise FileNotFoundError(f"{folder / 'train.txt'} is missing: the splits list one clip id a line")
    split_of: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        for clip in read_ids(path) if path.is_file() else []:
            # twice in one split is meant: the clip is trained on twice as often
            if split_of.get(clip, split) != split:
                raise ValueError(f"{path}: clip {clip} is in {split_of[clip]}.txt too")
            split_of[clip] = split
    return split_of


def times_listed(folder: Path) -> Counter:
    """How often the split files list each clip, which `read_splits` found to be in one of them."""
    places = (folder / f"{split}.txt" for split in SPLITS)
    return Counter(clip for path in places if path.is_file() for clip in read_ids(path))


def load_raw_joints(
    path: Path, skeleton: Skeleton, fps: float | None = None, unit: float | None = None, up: str | None = None
) -> np.ndarray:
    """Load a .npy of joints as (F, J, 3) in metres, y up, at the skeleton's rate.

    `fps` is the rate of the file (default the skeleton's), `unit` its metres per unit,
    `up` its y or z axis.
    """
    joints = load_array(path, 3, 3)
    if joints.shape[1] != skeleton.num_joints:
        raise ValueError(f"{path}: {joints.shape[1]} joints, skeleton {skeleton.name} has {skeleton.num_joints}")
    return resample(to_metres(joints, unit, up), fps or skeleton.fps, skeleton.fps)


def joint_records(
    folder: Path, skeleton: Skeleton, fps: float, unit: float | None = None, up: str | None = None
) -> Iterator[Record]:
    """Records of a folder of joints: {raw_joints,joints,new_joints}/ID.npy (F, J, 3), texts/ID.txt,
    splits."""
    place = next((folder / name for name in JOINT_FOLDERS if (folder / name).is_dir()), None)
    if place is None:
        names = ", ".join(f"{name}/" for name in JOINT_FOLDERS)
        raise FileNotFoundError(f"{folder} has none of {names} with (F, J, 3) .npy files")
    times = times_listed(folder)
    for clip, split in read_splits(folder).items():
        path = place / f"{clip}.npy"
        # nothing is read yet: a worker calls `load`
        load, captions = captioned(folder, clip, partial(load_raw_joints, path, skeleton, fps, unit, up))
        yield Record(clip, split, captions, load, files=(path, text_path(folder, clip)), repeat=times[clip])


def feature_records(folder: Path, skeleton: Skeleton) -> Iterator[Record]:
    """Records of an existing HumanML3D or KIT-ML folder, features as they are."""
    if not (folder / "new_joint_vecs").is_dir():
        raise FileNotFoundError(f"{folder} has no new_joint_vecs/; is it the HumanML3D folder itself?")
    split_of = read_splits(folder)
    times = times_listed(folder)
    paths = {clip: folder / "new_joint_vecs" / f"{clip}.npy" for clip in split_of}
    _check_width(folder, list(paths.values()), skeleton)
    for clip, path in paths.items():
        load, captions = captioned(folder, clip, partial(load_array, path, 2, skeleton.feature_dim))
        files = path, text_path(folder, clip)
        yield Record(clip, split_of[clip], captions, load, is_features=True, files=files, repeat=times[clip])


def added_records(folder: Path, skeleton: Skeleton, fps: float, repeat: int = 1) -> list[Record]:
    """Records of a finished dataset folder whose clips join another source: features as they are, with captions,
    splits, participants, plain captions and edits. Its training clips are to be listed `repeat` times as often.

    Raises FileNotFoundError, or ValueError if it is unfinished, or of another skeleton, representation or rate.
    """
    data = MotionDataset(folder)
    has = f"{data.skeleton.name} at {data.fps:g} fps, {data.representation.name}"
    wanted = f"{skeleton.name} at {fps:g} fps, {get_representation('humanml3d', skeleton).name}"
    if has != wanted:
        raise ValueError(f"--add {folder} has {has}; what it joins is {wanted}: build it with the same flags")
    people = folder / "participants.json"
    participant_of = read_json(people) if people.is_file() else {}
    plain_of = data.plain_captions()
    style_of = get_field(data.info, "styles", dict, folder / "dataset.json", {})
    edit_of = {edit.target: edit for edit in read_edits(folder)}
    return [
        replace(
            record,
            participant=participant_of.get(record.id),
            plain=plain_of.get(record.id, ""),
            style=style_of.get(participant_of.get(record.id), ""),
            edit=edit_of.get(record.id),
            repeat=repeat * record.repeat,
        )
        for record in feature_records(folder, skeleton)
    ]


def _check_width(folder: Path, paths: list[Path], skeleton: Skeleton) -> None:
    """ValueError if the first readable clips all have the width of another skeleton."""
    widths = []
    for path in paths:
        with suppress(ValueError, OSError):  # a bad clip is reported when it is loaded
            widths += read_array(path).shape[1:]
        if len(widths) == MEASURED:
            break
    # all alike and all wrong: a flag is wrong, not a clip
    if widths and len(set(widths)) == 1 and widths[0] != skeleton.feature_dim:
        known = {"humanml3d-22": "--from humanml3d", "kit-21": "--from kit-ml"}
        other = skeleton_of_width(widths[0])
        advice = known.get(other and other.name, "give the matching --skeleton")
        raise ValueError(f"{folder}: the features are {widths[0]} wide, expected {skeleton.feature_dim}: {advice}")


def text_path(folder: Path, clip: str) -> Path:
    return folder / "texts" / f"{clip}.txt"


def captioned(folder: Path, clip: str, load: Callable) -> tuple[Callable, list[Caption]]:
    """`load` with the captions of texts/ID.txt, if that file is there."""
    path = text_path(folder, clip)
    return with_captions(path, load) if path.is_file() else (load, [])


def with_captions(path: Path, load: Callable) -> tuple[Callable, list[Caption]]:
    """`load` with the captions of a text file. If the file is malformed,
    loading raises and the record is skipped."""
    try:
        return load, parse_captions(path)
    except ValueError as error:
        return partial(refuse, str(error)), []


def refuse(reason: str) -> Any:
    """The `load` of a record that cannot be used: ValueError with the reason."""
    raise ValueError(reason)
