"""Builds a dataset folder (layout in `data/motions.py`) from captioned joints or from existing features.

One record at a time: a record that cannot be used is skipped, counted and explained in `report.json`; more
than 5 % of them and the build fails, because then it is the reading that is wrong, not the record.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from motiongpt.data.motions import SPLITS, Caption, load_array, parse_captions, read_ids
from motiongpt.features import features_to_joints, joints_to_features, mirror_caption, mirror_joints
from motiongpt.files import write_json
from motiongpt.normalizer import Normalizer
from motiongpt.skeletons import Skeleton, save_skeleton

MAX_SKIPPED = 0.05
MIN_FRAMES = 5  # one code of four frames, and the frame that the velocities cost


class TooManySkipped(ValueError):
    """So many records could not be used that the dataset would not be what its source is."""


@dataclass
class Record:
    """One captioned clip. `load` returns joints (F, J, 3) in metres or, with `is_features`, features (F, D)."""

    id: str
    split: str
    captions: list[Caption]
    load: Callable[[], np.ndarray]
    participant: str | None = None
    is_features: bool = False


@dataclass
class Report:
    """What a build kept and dropped, and why; `report.json`."""

    source: str
    kept: Counter = field(default_factory=Counter)  # by split
    frames: int = 0
    captions: int = 0
    skipped: dict[str, str] = field(default_factory=dict)  # record id -> reason
    fps: float = 20.0

    def to_dict(self) -> dict:
        clips = sum(self.kept.values())
        return {
            "source": self.source,
            "clips": clips,
            "splits": {split: self.kept[split] for split in SPLITS},
            "hours": round(self.frames / self.fps / 3600, 3),
            "captions": self.captions,
            "skipped": len(self.skipped),
            "reasons": self.skipped,
        }

    def summary(self) -> str:
        facts = self.to_dict()
        splits = ", ".join(f"{n} {split}" for split, n in facts["splits"].items())
        text = f"{facts['clips']} clips ({splits}), {facts['hours']} h, {facts['captions']} captions"
        if self.skipped:
            first, reason = next(iter(self.skipped.items()))
            text += f"; {len(self.skipped)} skipped, first {first}: {reason}"
        return text


def resample(joints: np.ndarray, fps_in: float, fps_out: float) -> np.ndarray:
    """(F, J, 3) at `fps_in` -> the same seconds at `fps_out`, linear between frames."""
    if fps_in == fps_out or len(joints) < 2:
        return joints
    F = len(joints)
    times = np.arange(int((F - 1) * fps_out / fps_in) + 1) * fps_in / fps_out  # in input frames
    low = np.minimum(times.astype(int), F - 2)
    weight = (times - low)[:, None, None]
    return ((1 - weight) * joints[low] + weight * joints[low + 1]).astype(np.float32)


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


def joint_records(folder: Path, skeleton: Skeleton, fps: float) -> Iterator[Record]:
    """Records of a folder of joints: {raw_joints,joints,new_joints}/ID.npy (F, J, 3), texts/ID.txt, splits."""
    names = ("raw_joints", "joints", "new_joints")
    source = next((folder / name for name in names if (folder / name).is_dir()), None)
    if source is None:
        raise FileNotFoundError(f"{folder} has none of {', '.join(n + '/' for n in names)} with (F, J, 3) .npy files")
    for clip, split in read_splits(folder).items():

        def load(path: Path = source / f"{clip}.npy") -> np.ndarray:
            joints = load_array(path, 3, 3)
            if joints.shape[1] != skeleton.num_joints:
                raise ValueError(
                    f"{path}: {joints.shape[1]} joints, skeleton {skeleton.name} has {skeleton.num_joints}"
                )
            return resample(joints, fps, skeleton.fps)

        yield _record(folder, clip, split, load)


def feature_records(folder: Path, skeleton: Skeleton) -> Iterator[Record]:
    """Records of an existing HumanML3D or KIT-ML folder, features as they are."""
    if not (folder / "new_joint_vecs").is_dir():
        raise FileNotFoundError(f"{folder} has no new_joint_vecs/; is it the HumanML3D folder itself?")
    for clip, split in read_splits(folder).items():
        path = folder / "new_joint_vecs" / f"{clip}.npy"

        def load(path: Path = path) -> np.ndarray:
            return load_array(path, 2, skeleton.feature_dim)

        yield _record(folder, clip, split, load, is_features=True)


def _record(folder: Path, clip: str, split: str, load: Callable[[], np.ndarray], is_features: bool = False) -> Record:
    """With captions from texts/ID.txt; where they cannot be read, `load` says so, and `build` skips the record."""
    path, captions = folder / "texts" / f"{clip}.txt", []
    try:
        captions = parse_captions(path) if path.is_file() else []
    except ValueError as error:
        reason = str(error)

        def load() -> np.ndarray:
            raise ValueError(reason)

    return Record(clip, split, captions, load, is_features=is_features)


def _check(record: Record, array: np.ndarray) -> None:
    if not record.captions:
        raise ValueError("no caption")
    if any(not caption.text for caption in record.captions):
        raise ValueError("an empty caption")
    if record.split not in SPLITS:
        raise ValueError(f"unknown split {record.split!r}")
    needed = MIN_FRAMES - record.is_features
    if len(array) < needed:
        raise ValueError(f"{len(array)} frames; {needed} are needed for one code")
    _check_finite(array)


def _check_finite(array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"frame {int(np.argwhere(~np.isfinite(array))[0, 0])} is not finite")


def _versions(record: Record, array: np.ndarray, skeleton: Skeleton, mirror: bool) -> Iterator[tuple]:
    """(id, features, captions) of everything a record becomes: itself and, where asked, its mirror image."""
    if record.is_features:
        yield record.id, array, record.captions
        return
    yield record.id, joints_to_features(array, skeleton), record.captions
    if mirror:
        swapped = [Caption(mirror_caption(c.text), c.start, c.end, mirror_caption(c.tokens)) for c in record.captions]
        yield "M" + record.id, joints_to_features(mirror_joints(array, skeleton), skeleton), swapped


def build(
    records: Iterable[Record], out: Path, skeleton: Skeleton, source: str, licence: str = "", mirror: bool = False
) -> Report:
    """Write the dataset folder `out` and return what was kept.

    With `mirror`, every clip of joints is written a second time with left and right exchanged, in motion and
    caption, as `M` + id (HumanML3D's own augmentation). Records of features are taken as they are. A record is
    written whole, with its mirror image, or skipped whole.

    Raises:
        FileExistsError: `out` is not empty. TooManySkipped: more than 5 % of the records were unusable.
    """
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty; choose another --out, or remove it")
    for name in ("new_joint_vecs", "new_joints", "texts"):
        (out / name).mkdir(parents=True, exist_ok=True)
    report = Report(source, fps=skeleton.fps)
    split_of: dict[str, str] = {}
    participants: dict[str, str] = {}

    def write(clip: str, features: np.ndarray, captions: list[Caption], record: Record) -> None:
        np.save(out / "new_joint_vecs" / f"{clip}.npy", features)
        np.save(out / "new_joints" / f"{clip}.npy", features_to_joints(features, skeleton))
        text = "".join(caption.line() + "\n" for caption in captions)
        (out / "texts" / f"{clip}.txt").write_text(text, encoding="utf-8")
        split_of[clip] = record.split
        if record.participant:
            participants[clip] = record.participant
        report.kept[record.split] += 1
        report.frames += len(features)
        report.captions += len(captions)

    seen = 0
    for record in records:
        seen += 1
        try:
            array = record.load()
            _check(record, array)
            versions = list(_versions(record, array, skeleton, mirror))
            for clip, features, _ in versions:
                _check_finite(features)
                if clip in split_of:
                    raise ValueError(f"a second clip of the name {clip}")
            for clip, features, captions in versions:
                write(clip, features, captions, record)
        except (ValueError, FileNotFoundError) as error:
            report.skipped[record.id] = str(error)
    write_json(out / "report.json", report.to_dict())
    if len(report.skipped) > MAX_SKIPPED * max(1, seen):
        first, reason = next(iter(report.skipped.items()))
        raise TooManySkipped(
            f"{len(report.skipped)} of {seen} records cannot be used (limit 5 %), first {first}: {reason}; "
            f"all are listed in {out / 'report.json'}"
        )
    if not report.kept["train"]:
        raise ValueError(f"no usable training clip among {seen} records of {source}")
    clips = {split: [clip for clip, its_split in split_of.items() if its_split == split] for split in SPLITS}
    for split in SPLITS:
        (out / f"{split}.txt").write_text("".join(clip + "\n" for clip in clips[split]), encoding="utf-8")
    training = (np.load(out / "new_joint_vecs" / f"{clip}.npy", allow_pickle=False) for clip in clips["train"])
    Normalizer.fit(training, skeleton).save(out)  # read again, one at a time: they need not fit in memory
    save_skeleton(skeleton, out)
    if participants:
        write_json(out / "participants.json", participants)
    facts = {key: value for key, value in report.to_dict().items() if key not in ("reasons", "source")}
    write_json(
        out / "dataset.json",
        {
            "name": out.name,
            "skeleton": skeleton.name,
            "representation": f"humanml3d-{skeleton.feature_dim}",
            "fps": skeleton.fps,
            "unit_length": skeleton.unit_length,
            "source": source,
            "licence": licence,
            "counts": facts,
        },
    )
    return report
