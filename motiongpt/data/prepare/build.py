"""Builds a dataset folder (layout in `data/motions.py`) from the records of a source.

Worker processes make the clips (`clip_files.py`), and the bytes do not depend on how many workers
there are. A record that cannot be used is skipped, counted and explained in `report.json`. If more
than 5 % are skipped the build fails, because then the reader or a flag is probably wrong, not the
data.

A journal names the finished records, so a killed build continues where it was; a record whose
source has changed is made again. Statistics, splits and dataset.json, which make the folder a data
set, come last. While the journal exists, the folder cannot be opened as a data set.
"""

import json
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton, save_skeleton
from motiongpt.data.edits import Edit, write_edits
from motiongpt.data.joint_maps import JointMap
from motiongpt.data.jumps import jump_warnings
from motiongpt.data.mirror import mirror_caption
from motiongpt.data.motions import JOURNAL, PLAIN, SPLITS
from motiongpt.data.posture import warnings
from motiongpt.data.prepare.clip_files import Target, is_whole, make_clips, remove_clips
from motiongpt.data.prepare.processes import map_in_order
from motiongpt.data.prepare.report import Report, check_skipped
from motiongpt.data.raw import Record
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import Representation, get_representation
from motiongpt.files.hashes import split_by_hash
from motiongpt.files.listing import visible
from motiongpt.files.lock import hold
from motiongpt.files.store import naming, write_atomic, write_json

# of a report, for dataset.json
NOT_COUNTS = ("reasons", "source", "notes", "lengths", "warnings", "jumps", "unused_captions")


def build(
    records: Iterable[Record],
    out: Path,
    skeleton: Skeleton,
    source: str,
    licence: str = "",
    mirror: bool = False,
    representation: Representation | None = None,
    fps: float | None = None,
    joint_map: JointMap | None = None,
    workers: int = 1,
    given: dict[str, str] | None = None,
    captions: Collection[str] = (),
    flags: Collection[str] = ("unit", "up"),
) -> Report:
    """Write the dataset folder `out` and return what was kept.

    A record is written whole, with its mirror image, or skipped whole. Records of features are
    taken as they are. An unfinished build of the same settings continues. If no record can be used,
    `out` is left as it was.

    Args:
        mirror: write every clip of joints a second time with left and right exchanged, in motion
            and caption, as `M` + id (HumanML3D's own augmentation).
        representation: humanml3d unless given.
        fps: the skeleton's unless given.
        given: the flags of the command; an unfinished build with other flags is refused.
        captions: the ids of the captions file, to report those that no clip has.
        flags: the flags of the source, which warnings may advise.

    Raises:
        FileExistsError: `out` is not empty. BlockingIOError: another process builds it. OSError: it
            cannot be made.
        TooManySkipped: more than 5 % of the records were unusable. ValueError: no training clip.
    """
    representation = representation or get_representation("humanml3d", skeleton)
    target = Target(out, representation, fps or skeleton.fps, mirror, joint_map)
    # a folder made by this call goes again if the build fails before it writes
    is_new = not out.exists()
    try:
        with hold(out, "written"):
            return _build_locked(records, target, source, licence, workers, given or {}, set(captions), flags)
    finally:
        if is_new:
            with suppress(OSError):  # a folder that holds something stays
                out.rmdir()


def _build_locked(
    records: Iterable[Record],
    target: Target,
    source: str,
    licence: str,
    workers: int,
    given: dict[str, str],
    unused: set[str],
    flags: Collection[str],
) -> Report:
    # 1) What an earlier, killed build has finished.
    out = target.out
    settings = {
        "source": source,
        "skeleton": target.skeleton.to_json(),
        "representation": target.representation.name,
        "fps": target.fps,
        "mirror": target.mirror,
        "joint_map": target.joint_map,
        "said": given,
    }
    plan = Plan(target, _resume(out, settings), unused)
    _open(target, settings, plan.done)

    # 2) The clips that are still to make, in the order of the records.
    outcomes = _make(records, plan, workers)
    kept = [outcome for outcome in outcomes if "clips" in outcome]

    # 3) The report.
    report = Report(source, fps=target.fps)
    report.skipped = {outcome["id"]: outcome["skipped"] for outcome in outcomes if "skipped" in outcome}
    _fill_splits(kept, report)
    _count(kept, report)
    postures = [outcome["posture"] for outcome in kept if outcome.get("posture")]
    report.jumps = {outcome["id"]: outcome["jump"] for outcome in kept if outcome.get("jump")}
    report.warnings = warnings(postures, flags, given.get("up")) + jump_warnings(report.jumps, len(kept), target.fps)
    report.unused_captions = len(plan.unused)
    if plan.unused:
        report.warnings.append(f"{len(plan.unused)} ids of --captions match no clip, such as {min(plan.unused)!r}")

    # 4) The folder: report.json even if the build fails, unless nothing at all was kept.
    remove_clips(out, plan.gone())
    if kept:
        report.save(out)
    else:
        _clear(target)
    check_skipped(report.skipped, len(outcomes) - len(kept), len(outcomes), out / "report.json" if kept else None)
    if not report.kept["train"]:
        raise ValueError(f"no usable training clip among {len(outcomes)} records of {source}")
    _finish(kept, plan.edits, target, report, licence, given)
    return report


# 1) Where a killed build continues.


def _resume(out: Path, settings: dict) -> dict[str, dict]:
    """Record id -> outcome of what an unfinished build of the same settings has finished.

    Raises FileExistsError for an unfinished build of other settings,
    and for a folder of something else.
    """
    journal = out / JOURNAL
    if not journal.is_file():
        # hidden files are an operating system's, or those of a build that was killed in its first moment
        if visible(out.iterdir(), out):
            done = (out / "dataset.json").is_file()
            found = "is finished already, a whole data set" if done else "is not empty"
            raise FileExistsError(f"{out} {found}; choose another --out, or remove it")
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
    return {name: line for name, line in done.items() if all(is_whole(out, *clip) for clip in line["clips"])}


def _open(target: Target, settings: dict, done: dict[str, dict]) -> None:
    """The journal with what is finished, then the folders:
    a folder without a journal is somebody else's."""
    text = "".join(json.dumps(line) + "\n" for line in (settings, *done.values()))
    write_atomic(target.out / JOURNAL, lambda path: path.write_text(text, encoding="utf-8"))
    for name in target.folders:
        (target.out / name).mkdir(exist_ok=True)


# 2) All clips.


@dataclass
class Plan:
    """Which records are still to make, and what is known of the others.
    `todo` fills it while records come in."""

    target: Target
    done: dict[str, dict]  # record id -> outcome, of an earlier build
    unused: set[str]  # ids of the captions file that no record had yet
    known: list[dict | None] = field(default_factory=list)  # per record its outcome, None: it is to be made
    names: set[str] = field(default_factory=set)  # ids of clips
    fingerprints: dict[str, str] = field(default_factory=dict)  # by record id
    edits: list[Edit] = field(default_factory=list)  # of the records that have one

    def todo(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            made = {record.id, f"M{record.id}"} if self.target.is_mirrored(record) else {record.id}
            if self.names & made:  # one would overwrite the other
                self.known.append({"id": record.id, "skipped": f"a second clip of the name {record.id}"})
                continue
            self.names |= made
            self.unused.discard(record.row)
            self.edits += [record.edit] if record.edit else []
            self.fingerprints[record.id] = record.fingerprint()
            outcome = self.done.get(record.id)
            if outcome and outcome.get("fingerprint") != self.fingerprints[record.id]:  # the source has changed since
                remove_clips(self.target.out, [clip for clip, *_ in outcome["clips"]])
                outcome = None
            self.known.append(outcome)
            if not outcome:
                yield record

    def gone(self) -> set[str]:
        """Clips of the earlier build whose records the source has lost."""
        lost = self.done.keys() - self.fingerprints.keys()
        return {clip for name in lost for clip, *_ in self.done[name]["clips"]} - self.names


def _make(records: Iterable[Record], plan: Plan, workers: int) -> list[dict]:
    """The outcome of every record, in the order of the records;
    each new one goes into the journal at once."""
    made = []
    path = plan.target.out / JOURNAL
    with naming(path), open(path, "a", encoding="utf-8") as journal:
        for outcome in map_in_order(partial(make_clips, target=plan.target), plan.todo(records), workers):
            journal.write(json.dumps(outcome | {"fingerprint": plan.fingerprints[outcome["id"]]}) + "\n")
            # at once, so that a kill loses only the records still being made
            journal.flush()
            made.append(outcome)
    # None stands for a record that was made, and those come in order
    new = iter(made)
    return [outcome or next(new) for outcome in plan.known]


# 3) The report.


def _fill_splits(outcomes: list[dict], report: Report) -> None:
    """Give a split to the clips whose source names none.

    Even a small data set gets a val and a test clip: no tokenizer can be trained without them.
    """
    free = [outcome for outcome in outcomes if outcome["split"] is None]
    for outcome in free:
        outcome["split"] = split_by_hash(outcome["id"])
    for split in SPLITS[1:]:
        training = [outcome for outcome in free if outcome["split"] == "train"]
        if len(training) > 2 and not any(outcome["split"] == split for outcome in outcomes):
            # by a hash of the id: the choice does not depend on the order of the records
            moved = min(training, key=lambda outcome: zlib.crc32(outcome["id"].encode()))
            moved["split"] = split
            report.add_notes([f"{split}: the hash chose no clip, {moved['id']} was taken"])


def _count(kept: list[dict], report: Report) -> None:
    for outcome in kept:
        report.add_notes(outcome["notes"])
        for _, frames, captions in outcome["clips"]:
            report.add_clip(outcome["split"], frames, captions, outcome["guessed"])


# 4) The folder.


def _clear(target: Target) -> None:
    """Remove a build that kept nothing: the same --out is free for other flags."""
    for name in target.folders:
        shutil.rmtree(target.out / name)
    (target.out / "report.json").unlink(missing_ok=True)  # of an earlier run
    (target.out / JOURNAL).unlink()


def _finish(
    kept: list[dict], edits: list[Edit], target: Target, report: Report, licence: str, given: dict[str, str]
) -> None:
    """Write everything that makes the folder a data set, then remove the journal."""
    out, representation = target.out, target.representation
    clips: dict[str, list[str]] = {split: [] for split in SPLITS}
    people: dict[str, str] = {}
    plain: dict[str, str] = {}
    for outcome in kept:
        # a clip that is listed several times is trained on, and counts in the statistics, that often
        times = outcome.get("repeat", 1) if outcome["split"] == "train" else 1
        for clip, *_ in outcome["clips"]:
            clips[outcome["split"]] += [clip] * times
            if outcome["participant"]:
                people[clip] = outcome["participant"]
            if text := outcome.get("plain"):
                plain[clip] = text if clip == outcome["id"] else mirror_caption(text)

    # read again, one at a time: all clips need not fit in memory
    training = (np.load(out / "new_joint_vecs" / f"{clip}.npy", allow_pickle=False) for clip in clips["train"])
    Normalizer.fit(training, representation).save(out)
    save_skeleton(target.skeleton, out)
    report.save_histogram(out / "lengths.png")
    styles = {
        outcome["participant"]: outcome["style"] for outcome in kept if outcome.get("style") and outcome["participant"]
    }
    for name, known in (("participants.json", people), (PLAIN, plain)):
        (out / name).unlink(missing_ok=True)  # of a build killed here, whose source has changed since
        if known:
            write_json(out / name, known)
    write_edits(out, edits, {clip for names in clips.values() for clip in names})
    for split, names in clips.items():
        text = "".join(clip + "\n" for clip in names)
        write_atomic(out / f"{split}.txt", lambda path, text=text: path.write_text(text, encoding="utf-8"))
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
            **({"styles": dict(sorted(styles.items()))} if styles else {}),
            **{name: given[name] for name in ("smplx_layout",) if name in given},
            "counts": {key: value for key, value in report.to_dict().items() if key not in NOT_COUNTS},
        },
    )
    (out / JOURNAL).unlink()  # from here on the folder can be opened
