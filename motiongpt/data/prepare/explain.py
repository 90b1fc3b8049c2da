"""What one file of a source contains, and what a build would keep or drop: lines for people (`--explain`).

A reader explains its own files; arrays and files beside motions are explained here. To find out what a build would
keep, the file's records are built in a temporary folder.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from motiongpt.data.jumps import jump_warnings
from motiongpt.data.motions import SPLITS, read_ids
from motiongpt.data.posture import warnings
from motiongpt.data.prepare.array_folders import JOINT_FOLDERS, load_raw_joints
from motiongpt.data.prepare.clip_files import Target, make_clips
from motiongpt.data.prepare.options import Options
from motiongpt.data.prepare.records import choose_representation, reader_options, records
from motiongpt.data.prepare.report import MAX_SKIPPED
from motiongpt.data.prepare.sources import SOURCES, reader
from motiongpt.data.raw import Record
from motiongpt.data.texts import Caption, parse_captions
from motiongpt.data.units import metres
from motiongpt.files.arrays import load_array, read_array
from motiongpt.files.store import read_json

BROKEN = "broken: "  # begins the line that says why nothing of a file would be kept
STAND_IN_FPS = 20.0
MAX_LINES, MAX_LINE = 20, 200  # dropped clips that are listed; characters of a caption that are shown


def explain(source: str, path: Path, options: Options) -> tuple[list[str], int]:
    """The lines, and an exit code: 0 if a build would keep the file, perhaps with a flag that is named, 1 if not.

    Raises FileNotFoundError or ValueError if `path` is no file.
    """
    if source == "procedural":
        raise ValueError("--explain needs files; procedural motion has none")
    if not path.exists():
        raise FileNotFoundError(f"--explain {path} does not exist")
    if path.is_dir() and source != "smplx":
        raise ValueError(f"--explain {path} is a folder; give one file of it")
    lines: list[str] = []
    try:
        # one by one: if a line raises, those before it stay
        for line in _lines(source, path, options):
            lines.append(line)
    except (ValueError, OSError) as error:
        if not lines:
            lines.append(f"{path}:")
        lines.append(f"{BROKEN}{error}")
    return lines, int(_is_broken(lines))


def _lines(source: str, path: Path, options: Options) -> Iterator[str]:
    """All lines about a file: what it is, or what it holds and what a build does with it."""
    beside = [] if path.is_dir() else _beside(path)
    if beside:
        yield from beside
        return
    content, options = (_explain_file if SOURCES[source].reader else _explain_array)(source, path, options)
    yield from content
    if not _is_broken(content):
        yield from _try_build(source, path, options)


def _is_broken(lines: Iterable[str]) -> bool:
    return any(line.startswith(BROKEN) for line in lines)


def _explain_file(source: str, path: Path, options: Options) -> tuple[list[str], Options]:
    """What the reader says about its file. If only the frame rate is missing, a stand-in lets the rest be explained."""
    lines = reader(source).explain(path, **reader_options(source, options))
    needed = []
    if source == "smplx" and options.fps is None and "give --fps" in lines[-1]:
        options = replace(options, fps=STAND_IN_FPS)
        lines = reader(source).explain(path, **reader_options(source, options))
        needed = [f"needs --fps: no frame rate in it; {STAND_IN_FPS:g} stands in here"]
    # a reader says what it would keep; here that is only what was read, the build decides what is kept
    return [re.sub("^(kept:|would keep)", "read:", line) for line in lines] + needed, options


def _explain_array(source: str, path: Path, options: Options) -> tuple[list[str], Options]:
    """What an array is expected to hold, and what it holds."""
    skeleton = options.skeleton
    if source == "joints":
        expected = f"joints (F, {skeleton.num_joints}, 3)"
    else:
        expected = f"features (F, {skeleton.feature_dim})"
    array = read_array(path)
    return [f"{path}: expected {expected}", f"found {array.dtype} {array.shape}"], options


def _records_of(source: str, path: Path, options: Options) -> tuple[Iterable[Record], float, list[str]]:
    """The records a build would make of the file, their frame rate, and what else to say."""
    if SOURCES[source].reader:
        found, _, fps = records(source, path, options)
        return found, fps, []
    skeleton = options.skeleton
    folders = JOINT_FOLDERS if source == "joints" else ("new_joint_vecs",)
    if path.parent.name not in folders:
        # outside of a data set an array has no captions: one stands in, so that the rest is tried
        load = partial(load_array, path, 2, skeleton.feature_dim)
        if source == "joints":
            load = partial(load_raw_joints, path, skeleton, options.fps, metres(options.unit), options.up)
        alone = Record(path.stem, None, [Caption("-")], load, is_features=source != "joints")
        place = f"not in a data set: prepare.py reads DIR/{folders[-1]}/ID.npy, DIR/texts/ID.txt and DIR/train.txt"
        return [alone], skeleton.fps, [place]
    found, _, fps = records(source, path.parent.parent, options)
    record = next((record for record in found if record.id == path.stem and path in record.files), None)
    if record is None:
        lists = " or ".join(f"{split}.txt" for split in SPLITS)
        raise ValueError(
            f"a build would not read {path}: no {lists} lists {path.stem}, "
            f"or another of {', '.join(folders)} takes precedence"
        )
    return [record], fps, [f"captions: {len(record.captions)}", *map(_shown, record.captions)]


def _try_build(source: str, path: Path, options: Options) -> Iterator[str]:
    """What a build of the file alone would keep, drop and warn of."""
    found, fps, facts = _records_of(source, path, options)
    yield from facts
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
        for name in target.folders:
            (target.out / name).mkdir()
        for record in found:
            # a name without words gives no caption: one stands in, so that the rest is tried
            # (files of a reader only: a folder of joints has texts/ for its captions)
            needs = SOURCES[source].reader and "captions" in SOURCES[source].flags and not record.guess
            outcomes.append(make_clips(replace(record, guess="-") if needs else record, target))
            for file in target.out.glob("*/*"):  # an H5 file may hold more clips than a temporary folder has room for
                file.unlink()
            if outcomes[-1].get("guessed") and needs:
                yield "needs --captions: no caption, and no words in its name; a .txt beside will do, too"
            elif outcomes[-1].get("guessed"):
                yield f"no caption, guessed from the name: {record.guess!r}; give --captions, or a .txt beside"
    kept = [frames for outcome in outcomes for _, frames, _ in outcome.get("clips", [])]
    skipped = {outcome["id"]: outcome["skipped"] for outcome in outcomes if "skipped" in outcome}
    yield (
        f"would keep {len(kept)} clip{'s' * (len(kept) != 1)}, {sum(kept)} frames ({sum(kept) / fps:.1f} s) of "
        f"{representation.name} at {fps:g} fps; drop {len(skipped)}"
    )
    yield from (f"  dropped: {clip}: {reason}" for clip, reason in list(skipped.items())[:MAX_LINES])
    postures = [outcome["posture"] for outcome in outcomes if outcome.get("posture")]
    jumps = {outcome["id"]: outcome["jump"] for outcome in outcomes if outcome.get("jump")}
    lines = warnings(postures, SOURCES[source].flags, options.up) + jump_warnings(jumps, len(outcomes), fps)
    yield from (f"warning: {line}" for line in lines)
    if len(skipped) > MAX_SKIPPED * len(outcomes):
        yield f"{BROKEN}{len(skipped)} of {len(outcomes)} clips cannot be used, a build stops above {MAX_SKIPPED:.0%}"


def _beside(path: Path) -> list[str]:
    """Lines about a file that lies beside motions: splits, captions, statistics, notes; none if it may be a motion."""
    if path.suffix == ".txt":
        if path.stem in (*SPLITS, "all", "train_val"):
            return [f"{path}: a split, a list of {len(read_ids(path))} clip ids; no motion"]
        captions = parse_captions(path)
        return [f"{path}: {len(captions)} captions of the clip {path.stem}; no motion", *map(_shown, captions)]
    if path.name.lower() in ("mean.npy", "std.npy"):
        width = load_array(path, 1).shape[0]
        what = "mean" if path.name.lower() == "mean.npy" else "deviation"
        return [f"{path}: the {what} of {width} feature columns, which normalises motions; no motion"]
    if path.suffix.lower() == ".asf":
        asfamc = reader("asfamc")
        return [*asfamc.explain_skeleton(asfamc.parse_asf(path)), "a skeleton for the .amc files beside it; no motion"]
    stem, _, kind = path.stem.rpartition("_")
    if path.suffix == ".json" and kind in ("annotations", "meta"):
        content = read_json(path, list if kind == "annotations" else dict)
        what = f"{len(content)} captions of" if kind == "annotations" else "about the recording (not read) of"
        lines = [f"{path}: {what} the motion {stem}_mmm.xml; no motion"]
        return lines + [f"  {' '.join(str(row).split())[:MAX_LINE]}" for row in content]
    return []


def _shown(caption: Caption) -> str:
    return f"  {caption.line()[:MAX_LINE]}"
