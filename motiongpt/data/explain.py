"""What one file of a source holds, what would be kept or dropped, and why: lines for people (`prepare.py --explain`).

A reader explains its own files. Here are joints and features, and the files that lie beside motions and are none.
"""

from pathlib import Path

import numpy as np

from motiongpt.data.motions import SPLITS, load_array, parse_captions, read_ids
from motiongpt.data.sources import SOURCES, Options, load_joints, metres, reader, reader_options
from motiongpt.files import read_json

BROKEN = "broken: "  # begins the line that says why nothing of a file would be kept


def explain(source: str, path: Path, options: Options) -> tuple[list[str], int]:
    """The lines, and 0 for a whole file, 1 for a broken one. Raises FileNotFoundError or ValueError for no file."""
    if source == "procedural":
        raise ValueError("--explain needs files; procedural motion has none")
    if not path.exists():
        raise FileNotFoundError(f"--explain {path} does not exist")
    if path.is_dir() and source != "smplx":
        raise ValueError(f"--explain {path} is a folder; give one file of it")
    try:
        lines = [] if path.is_dir() else _beside(path)
    except (ValueError, OSError) as error:
        lines = [f"{path}:", f"{BROKEN}{error}"]
    if not lines and SOURCES[source].reader:
        lines = reader(source).explain(path, **reader_options(source, options))
    lines = lines or _arrays(source, path, options)
    return lines, int(any(line.startswith(BROKEN) for line in lines))


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


def _arrays(source: str, path: Path, options: Options) -> list[str]:
    """A .npy of joints or features, with the captions that belong to it."""
    skeleton = options.skeleton
    is_features = source != "joints"
    shape = f"(F, {skeleton.feature_dim})" if is_features else f"(F, {skeleton.num_joints}, 3)"
    lines = [f"{path}: expected {'features' if is_features else 'joints in metres'} {shape}"]
    try:
        array = load_array(path, 2 if is_features else 3)
        lines += [f"found {array.dtype} {array.shape}"]
        if is_features:
            array = load_array(path, 2, skeleton.feature_dim)
        else:
            array = load_joints(path, skeleton, None, metres(options.unit) or 1.0, options.up)
        bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))
        lines += [f"{BROKEN}dropped: {len(bad)} frames are not finite, the first is {bad[0]}"] if len(bad) else []
        lines += [f"kept: {len(array)} frames"] if not len(bad) else []
        text = path.parent.parent / "texts" / f"{path.stem}.txt"
        captions = parse_captions(text) if text.is_file() else []
        lines += [f"captions in {text}: {len(captions)}", *(f"  {caption.line()[:200]}" for caption in captions)]
    except (ValueError, OSError) as error:
        lines.append(f"{BROKEN}{error}")
    return lines
