"""Builds a dataset folder (layout in `data/motions.py`) from records: captioned joints, features or parameters.

One record at a time, over processes: a record that cannot be used is skipped, counted and explained in `report.json`;
more than 5 % of them and the build fails, because then it is the reading that is wrong, not the record. Workers write
the clips; a journal names the finished ones, so a killed build goes on where it was, and does again what has changed.
What makes a folder a data set (statistics, splits, dataset.json) comes last, and as long as the journal is there nobody
opens it. The bytes do not depend on how many workers there are. Where records come from is `data/sources.py`.
"""

import glob
import json
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton, save_skeleton
from motiongpt.data.joint_maps import JointMap, to_skeleton
from motiongpt.data.motions import JOURNAL, SPLITS, check_id
from motiongpt.data.posture import measure_posture, warnings
from motiongpt.data.prepare.processes import map_in_order
from motiongpt.data.prepare.report import Report, check_skipped
from motiongpt.data.raw import RawClip, Record
from motiongpt.data.resample import resample, resample_parameters
from motiongpt.data.texts import Caption, mirror_caption
from motiongpt.data.tokens import MAX_CAPTION
from motiongpt.features.humanml3d import mirror_joints
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation, get_representation
from motiongpt.files.arrays import read_array
from motiongpt.files.hashes import split_by_hash
from motiongpt.files.lock import hold
from motiongpt.files.store import write_atomic, write_json

MIN_FRAMES = 5  # one code of four frames, and the frame that the velocities cost


@dataclass(frozen=True)
class Target:
    """What every clip becomes, and where it goes."""

    out: Path
    representation: Representation
    fps: float
    mirror: bool = False
    joint_map: JointMap | None = None

    @property
    def skeleton(self) -> Skeleton:
        return self.representation.skeleton


# 1) One clip.


def _array(clip: RawClip, target: Target) -> np.ndarray:
    if target.representation.has_joints:
        if clip.joints is None:
            raise ValueError(f"the clip has parameters and no joints; {target.representation.name} needs joints: "
                             "give --smplx-dir")  # fmt: skip
        return resample(to_skeleton(clip, target.skeleton, target.joint_map), clip.fps, target.fps)
    if clip.parameters is None:
        raise ValueError(f"the clip has joints and no parameters; {target.representation.name} needs parameters")
    return resample_parameters(clip.parameters, target.representation.groups, clip.fps, target.fps)


def _short_enough(record: Record, notes: list[str]) -> Record:
    """Without the captions that training refuses, which a note says. Raises ValueError where none is left."""
    kept = [caption for caption in record.captions if len(caption.text) <= MAX_CAPTION]
    if count := len(record.captions) - len(kept):
        what = f"{count} captions of more than {MAX_CAPTION} characters, which are not trained on"
        if not kept:
            raise ValueError(f"no caption but {what}")
        notes.append(f"{record.id}: left out {what}")
    return replace(record, captions=kept)


def _check(record: Record, array: np.ndarray, target: Target) -> None:
    if not record.captions:
        raise ValueError("no caption")
    if any(not caption.text for caption in record.captions):
        raise ValueError("an empty caption")
    if record.split not in (None, *SPLITS):
        raise ValueError(f"unknown split {record.split!r}")
    needed = MIN_FRAMES - (1 if record.is_features else 1 - target.representation.frames_lost)
    if len(array) < needed:
        raise ValueError(f"{len(array)} frames; {needed} are needed for one code")
    _check_finite(array)


def _check_finite(array: np.ndarray) -> None:
    if not np.isfinite(array).all():
        raise ValueError(f"frame {int(np.argwhere(~np.isfinite(array))[0, 0])} is not finite")


def _versions(record: Record, array: np.ndarray, target: Target) -> Iterator[tuple]:
    """(id, features, captions) of everything a record becomes: itself and, where asked, its mirror image."""
    if record.is_features:
        yield record.id, array, record.captions
        return
    yield record.id, target.representation.encode(array), record.captions
    if target.mirror:
        swapped = [Caption(mirror_caption(c.text), c.start, c.end, mirror_caption(c.tokens)) for c in record.captions]
        yield "M" + record.id, target.representation.encode(mirror_joints(array, target.skeleton)), swapped


def make_clips(record: Record, target: Target) -> dict:
    """Write what a record becomes, whole or not at all; say what was written, or why it is skipped."""
    notes = []
    try:
        check_id(record.id)
        if "/" in record.id:
            raise ValueError(f"the id {record.id!r} has a folder in it; here ids are file names")
        loaded = record.load()
        if isinstance(loaded, RawClip):
            notes += loaded.notes
            own = [Caption(" ".join(text.split())) for text in loaded.captions]
            record = replace(
                record,
                captions=own or record.captions,
                split=loaded.split or record.split,
                participant=loaded.participant or record.participant,
            )
            loaded = _array(loaded, target)
        guessed = not record.captions and bool(record.guess)
        if guessed:
            record = replace(record, captions=[Caption(record.guess)])
        record = _short_enough(record, notes)
        _check(record, loaded, target)
        versions = list(_versions(record, loaded, target))
        is_joints = target.representation.has_joints and not record.is_features
        posture = (
            measure_posture(loaded, target.skeleton) if is_joints else []
        )  # of the clip's own body, not the retargeted
        for _, features, _ in versions:
            _check_finite(features)
    except (ValueError, OSError) as error:
        return {"id": record.id, "skipped": " ".join(str(error).split())}
    for clip, features, captions in versions:
        features = features.astype(np.float32)
        np.save(target.out / "new_joint_vecs" / f"{clip}.npy", features)
        if target.representation.has_joints:
            np.save(target.out / "new_joints" / f"{clip}.npy", target.representation.decode(features))
        text = "".join(caption.line() + "\n" for caption in captions)
        (target.out / "texts" / f"{clip}.txt").write_text(text, encoding="utf-8")
    return {
        "id": record.id,
        "clips": [[clip, len(features), len(captions)] for clip, features, captions in versions],
        "split": record.split,
        "participant": record.participant,
        "guessed": guessed,
        "notes": notes,
        "posture": posture,
    }


# 2) All of them.


def _fill_splits(outcomes: list[dict], report: Report) -> None:
    """A split for the clips whose source says none. Small data sets get a val and a test clip whatever the hash says,
    because no tokenizer can be trained without."""
    free = [outcome for outcome in outcomes if outcome["split"] is None]
    for outcome in free:
        outcome["split"] = split_by_hash(outcome["id"])
    for split in ("val", "test"):
        training = [outcome for outcome in free if outcome["split"] == "train"]
        if len(training) > 2 and not any(outcome["split"] == split for outcome in outcomes):
            moved = min(training, key=lambda outcome: zlib.crc32(outcome["id"].encode()))
            moved["split"] = split
            report.add_notes([f"{split}: the hash chose no clip, {moved['id']} was taken"])


def _resume(out: Path, settings: dict) -> dict[str, dict]:
    """What an unfinished build of the same settings has finished, by record id. Raises FileExistsError otherwise."""
    journal = out / JOURNAL
    if not journal.is_file():
        if any(not path.name.startswith(".") for path in out.iterdir()):  # of a build killed in its first moment
            raise FileExistsError(f"{out} is not empty; choose another --out, or remove it")
        return {}
    lines = []
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the line that was being written when the build was killed
    if not lines or lines[0] != settings:
        raise FileExistsError(f"{out} holds an unfinished build of other settings; choose another --out, or remove it")
    done = {line["id"]: line for line in lines[1:] if "clips" in line}  # the skipped ones get another chance
    return {name: line for name, line in done.items() if all(_is_whole(out, *clip) for clip in line["clips"])}


def _is_whole(out: Path, clip: str, frames: int, _captions: int) -> bool:
    """Whether a clip of the journal is on the disk in full; after a power cut it may not be."""
    try:
        found = [read_array(path) for path in sorted(out.glob(f"new_joint*/{glob.escape(clip)}.npy"))]
        return bool(found) and all(len(array) == frames for array in found)
    except (ValueError, OSError):
        return False


def _remove(out: Path, clips: Iterable[str]) -> None:
    for clip in clips:
        for name in (f"new_joint_vecs/{clip}.npy", f"new_joints/{clip}.npy", f"texts/{clip}.txt"):
            (out / name).unlink(missing_ok=True)


def build(
    records: Iterable[Record], out: Path, skeleton: Skeleton, source: str, licence: str = "", mirror: bool = False,
    representation: Representation | None = None, fps: float | None = None, joint_map: JointMap | None = None,
    workers: int = 1, said: dict[str, str] | None = None, captions: Collection[str] = (),
    flags: Collection[str] = ("unit", "up"),
) -> Report:  # fmt: skip
    """Write the dataset folder `out` and return what was kept.

    With `mirror`, every clip of joints is written a second time with left and right exchanged, in motion and
    caption, as `M` + id (HumanML3D's own augmentation). Records of features are taken as they are. A record is
    written whole, with its mirror image, or skipped whole. `representation` is humanml3d unless given, `fps` the
    skeleton's. An unfinished build of the same settings is gone on with, and what changed since is done again; `said`
    are further settings, of the reader. Where nothing can be used, `out` is left as it was.
    `captions` are the ids of the captions file, to report those no record has; `flags` the source's, for warnings.

    A mirror image is made of the joints before they are retargeted. The skeleton's two sides differ, and one leg gives
    the scale, so it is not the retargeted clip mirrored: in 13 BVH samples up to 17 mm off around the root, and the
    root up to 11 cm, at the end of a run.

    Raises:
        FileExistsError: `out` is not empty. BlockingIOError: another process builds it. OSError: it cannot be made.
        TooManySkipped: more than 5 % of the records were unusable.
    """
    representation = representation or get_representation("humanml3d", skeleton)
    target = Target(out, representation, fps or skeleton.fps, mirror, joint_map)
    is_new = not out.exists()
    try:
        with hold(out, "written"):
            return _build(records, target, source, licence, workers, said or {}, set(captions), flags)
    finally:
        if is_new:
            with suppress(OSError):  # it holds something
                out.rmdir()


def _build(
    records: Iterable[Record], target: Target, source: str, licence: str, workers: int, said: dict[str, str],
    unused: set[str], flags: Collection[str],
) -> Report:  # fmt: skip
    out, representation, mirror = target.out, target.representation, target.mirror
    settings = {
        "source": source, "skeleton": target.skeleton.to_json(), "representation": representation.name,
        "fps": target.fps, "mirror": mirror, "joint_map": target.joint_map, "said": said,
    }  # fmt: skip
    done = _resume(out, settings)
    # the journal comes before all else: a folder without one is somebody else's
    text = "".join(json.dumps(line) + "\n" for line in (settings, *done.values()))
    write_atomic(out / JOURNAL, lambda path: path.write_text(text, encoding="utf-8"))
    folders = ("new_joint_vecs", "texts") + (("new_joints",) if representation.has_joints else ())
    for name in folders:
        (out / name).mkdir(exist_ok=True)
    report, outcomes, names, seen, prints = Report(source, fps=target.fps), [], set(), [], {}

    def fresh() -> Iterator[Record]:
        """The records still to do; every one is noted in `seen`, with what is known of it already."""
        for record in records:
            made = {record.id, "M" + record.id} if mirror and not record.is_features else {record.id}
            if names & made:
                seen.append({"id": record.id, "skipped": f"a second clip of the name {record.id}"})
                continue
            names.update(made)
            unused.discard(record.row)
            prints[record.id] = record.fingerprint()
            known = done.get(record.id)
            if known and known.get("fingerprint") != prints[record.id]:
                _remove(out, [clip for clip, *_ in known["clips"]])
                known = None
            seen.append(known)
            if not known:
                yield record

    with open(out / JOURNAL, "a", encoding="utf-8") as journal:
        for outcome in map_in_order(partial(make_clips, target=target), fresh(), workers):
            journal.write(json.dumps(outcome | {"fingerprint": prints[outcome["id"]]}) + "\n")
            journal.flush()
            outcomes.append(outcome)
    new = iter(outcomes)
    outcomes = [known or next(new) for known in seen]  # in the order of the records
    kept = [outcome for outcome in outcomes if "clips" in outcome]
    report.skipped = {outcome["id"]: outcome["skipped"] for outcome in outcomes if "skipped" in outcome}
    _fill_splits(kept, report)
    for outcome in kept:
        report.add_notes(outcome["notes"])
        for _, frames, captions in outcome["clips"]:
            report.add_clip(outcome["split"], frames, captions, outcome["guessed"])
    postures = [posture for outcome in kept if (posture := outcome.get("posture"))]
    report.warnings = warnings(postures, flags, said.get("up"))
    report.unused_captions = len(unused)
    if unused:
        report.warnings.append(f"{len(unused)} ids of --captions fit no clip, such as {min(unused)!r}")
    gone = [clip for name in done.keys() - prints.keys() for clip, *_ in done[name]["clips"]]  # the source lost them
    _remove(out, set(gone) - names)
    if kept:
        report.save(out)
    else:  # nothing to go on from: the same --out is free for other flags
        for name in folders:
            shutil.rmtree(out / name)
        (out / "report.json").unlink(missing_ok=True)  # of an earlier run
        (out / JOURNAL).unlink()
    check_skipped(report.skipped, len(outcomes) - len(kept), len(outcomes), out / "report.json" if kept else None)
    if not report.kept["train"]:
        raise ValueError(f"no usable training clip among {len(outcomes)} records of {source}")
    _finish(kept, target, report, licence, said)
    return report


def _finish(kept: list[dict], target: Target, report: Report, licence: str, said: dict[str, str]) -> None:
    """Everything that makes the folder a data set."""
    out, representation = target.out, target.representation
    clips = {
        split: [clip for outcome in kept if outcome["split"] == split for clip, *_ in outcome["clips"]]
        for split in SPLITS
    }
    training = (np.load(out / "new_joint_vecs" / f"{clip}.npy", allow_pickle=False) for clip in clips["train"])
    Normalizer.fit(training, representation).save(out)  # read again, one at a time: they need not fit in memory
    save_skeleton(target.skeleton, out)
    report.save_histogram(out / "lengths.png")
    people = {clip: o["participant"] for o in kept if o["participant"] for clip, *_ in o["clips"]}
    (out / "participants.json").unlink(missing_ok=True)  # of a build killed here, whose source has changed since
    if people:
        write_json(out / "participants.json", people)
    for split in SPLITS:
        text = "".join(clip + "\n" for clip in clips[split])
        write_atomic(out / f"{split}.txt", lambda path, text=text: path.write_text(text, encoding="utf-8"))
    left_out = ("reasons", "source", "notes", "lengths", "warnings", "unused_captions")
    write_json(
        out / "dataset.json",
        {
            "name": out.name,
            "skeleton": target.skeleton.name,
            "representation": representation.name,
            "fps": target.fps,
            "unit_length": target.skeleton.unit_length,
            "source": report.source,
            "licence": licence,
            **{name: said[name] for name in ("smplx_layout",) if name in said},
            "counts": {key: value for key, value in report.to_dict().items() if key not in left_out},
        },
    )
    (out / JOURNAL).unlink()
