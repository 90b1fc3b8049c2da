"""What one file of a source holds, what would be kept or dropped, and why: lines for people (`prepare.py --explain`).

A reader says what is in its own files. Whether it is kept the build says: the file's records go through it, into a
folder that is thrown away. Here are joints and features, and the files that lie beside motions and are none.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from motiongpt.data.motions import SPLITS, read_ids
from motiongpt.data.posture import warnings
from motiongpt.data.prepare.build import Target, make_clips
from motiongpt.data.prepare.report import MAX_SKIPPED
from motiongpt.data.prepare.sources import (
    SOURCES,
    Options,
    choose_representation,
    load_raw_joints,
    metres,
    reader,
    reader_options,
    records,
)
from motiongpt.data.raw import Record
from motiongpt.data.texts import Caption, parse_captions
from motiongpt.files.arrays import load_array, read_array
from motiongpt.files.store import read_json

BROKEN = "broken: "  # begins the line that says why nothing of a file would be kept
FOLDERS = {"joints": ("raw_joints", "joints", "new_joints")}  # where a data set has its arrays; else new_joint_vecs
STAND_IN_FPS = 20.0


def explain(source: str, path: Path, options: Options) -> tuple[list[str], int]:
    """The lines, and 0 where a build would keep the file (a flag that it needs is named), 1 where it would not.

    Raises FileNotFoundError or ValueError for no file.
    """
    if source == "procedural":
        raise ValueError("--explain needs files; procedural motion has none")
    if not path.exists():
        raise FileNotFoundError(f"--explain {path} does not exist")
    if path.is_dir() and source != "smplx":
        raise ValueError(f"--explain {path} is a folder; give one file of it")
    lines = []
    try:
        lines += [] if path.is_dir() else _beside(path)
        if not lines:
            said, options = (_read if SOURCES[source].reader else _array)(source, path, options)
            lines += said
            if not any(line.startswith(BROKEN) for line in lines):
                for line in _build(source, path, options):
                    lines.append(line)  # one by one: those before an error stay
    except (ValueError, OSError) as error:
        lines += [f"{path}:"] * (not lines) + [f"{BROKEN}{error}"]
    return lines, int(any(line.startswith(BROKEN) for line in lines))


def _read(source: str, path: Path, options: Options) -> tuple[list[str], Options]:
    """What the reader says of its file; where only the frame rate is missing, with one that stands in."""
    lines, needed = reader(source).explain(path, **reader_options(source, options)), []
    if source == "smplx" and options.fps is None and "give --fps" in lines[-1]:
        options = replace(options, fps=STAND_IN_FPS)
        lines = reader(source).explain(path, **reader_options(source, options))
        needed = [f"needs --fps: no frame rate in it; {STAND_IN_FPS:g} stands in here"]
    # what was read: whether it is kept comes after
    return [re.sub("^(kept:|would keep)", "read:", line) for line in lines] + needed, options


def _array(source: str, path: Path, options: Options) -> tuple[list[str], Options]:
    skeleton, is_joints = options.skeleton, source == "joints"
    shape = f"(F, {skeleton.num_joints}, 3)" if is_joints else f"(F, {skeleton.feature_dim})"
    array = read_array(path)
    return [f"{path}: expected {'joints' if is_joints else 'features'} {shape}",
            f"found {array.dtype} {array.shape}"], options  # fmt: skip


def _records(source: str, path: Path, options: Options) -> tuple[Iterable[Record], float, list[str]]:
    """The records a build would make of the file, their frame rate, and what else to say."""
    if SOURCES[source].reader:
        found, _, fps = records(source, path, options)
        return found, fps, []
    skeleton, folders = options.skeleton, FOLDERS.get(source, ("new_joint_vecs",))
    if path.parent.name not in folders:
        load = partial(load_array, path, 2, skeleton.feature_dim)
        if source == "joints":
            load = partial(load_raw_joints, path, skeleton, options.fps, metres(options.unit), options.up)
        alone = Record(path.stem, None, [Caption("-")], load, is_features=source != "joints")
        place = f"not in a data set: prepare.py reads DIR/{folders[-1]}/ID.npy, DIR/texts/ID.txt and DIR/train.txt"
        return [alone], skeleton.fps, [place]
    found, _, fps = records(source, path.parent.parent, options)
    record = next((record for record in found if record.id == path.stem and path in record.files), None)
    if record is None:
        raise ValueError(f"a build would not read {path}: no {' or '.join(f'{split}.txt' for split in SPLITS)} lists "
                         f"{path.stem}, or another of {', '.join(folders)} goes first")  # fmt: skip
    return [record], fps, [f"captions: {len(record.captions)}", *(f"  {c.line()[:200]}" for c in record.captions)]


def _build(source: str, path: Path, options: Options) -> Iterator[str]:
    """What a build of the file alone would keep, drop and warn of."""
    found, fps, said = _records(source, path, options)
    yield from said
    try:
        representation = choose_representation(source, None, options)
    except ValueError as error:
        if "representation" not in SOURCES[source].flags:
            raise
        representation = choose_representation(source, "positions", options)
        yield f"needs --representation: {error}"
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder), representation, fps, joint_map=options.joint_map)
        for name in ("new_joint_vecs", "new_joints", "texts"):
            (target.out / name).mkdir()
        for record in found:
            outcomes.append(make_clips(record, target))
            for file in target.out.glob("*/*"):
                file.unlink()
            if outcomes[-1].get("guessed"):
                yield f"no caption, guessed from the name: {record.guess!r}; give --captions, or a .txt beside"
    kept = [frames for outcome in outcomes for _, frames, _ in outcome.get("clips", [])]
    skipped = {outcome["id"]: outcome["skipped"] for outcome in outcomes if "skipped" in outcome}
    yield (f"would keep {len(kept)} clip{'s' * (len(kept) != 1)}, {sum(kept)} frames ({sum(kept) / fps:.1f} s) of "
           f"{representation.name} at {fps:g} fps; drop {len(skipped)}")  # fmt: skip
    yield from (f"  dropped: {clip}: {reason}" for clip, reason in list(skipped.items())[:20])
    postures = [outcome["posture"] for outcome in outcomes if outcome.get("posture")]
    yield from (f"warning: {line}" for line in warnings(postures, SOURCES[source].flags, options.up))
    if len(skipped) > MAX_SKIPPED * len(outcomes):
        yield f"{BROKEN}{len(skipped)} of {len(outcomes)} clips cannot be used, a build stops above {MAX_SKIPPED:.0%}"


def _beside(path: Path) -> list[str]:
    """What a file is that lies beside motions; nothing for one that should be a motion."""
    if path.suffix == ".txt":
        if path.stem in (*SPLITS, "all", "train_val"):
            return [f"{path}: a split, a list of {len(read_ids(path))} clip ids; no motion"]
        captions = parse_captions(path)
        lines = [f"{path}: {len(captions)} captions of the clip {path.stem}; no motion"]
        return lines + [f"  {caption.line()[:200]}" for caption in captions]
    if path.name.lower() in ("mean.npy", "std.npy"):
        width = load_array(path, 1).shape[0]
        what = "mean" if path.name.lower() == "mean.npy" else "deviation"
        return [f"{path}: the {what} of {width} feature columns, which normalises motions; no motion"]
    stem, _, kind = path.stem.rpartition("_")
    if path.suffix == ".json" and kind in ("annotations", "meta"):
        content = read_json(path, list if kind == "annotations" else dict)
        what = f"{len(content)} captions of" if kind == "annotations" else "about the recording (not read) of"
        lines = [f"{path}: {what} the motion {stem}_mmm.xml; no motion"]
        return lines + [f"  {' '.join(str(row).split())[:200]}" for row in content]
    return []
