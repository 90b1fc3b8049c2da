"""Whether an output may be written where a flag says.

The dangers are a result that cannot be written after hours of work, and one that replaces something else: the
statistics of a data set, the report of an evaluation, the weights of a finished training. So places are checked before
the work begins.
"""

import tempfile
from pathlib import Path

TAKEN = {
    "dataset.json": "a data set", "new_joint_vecs": "a data set", "config.json": "a run or a tokenizer",
    "model.safetensors": "a tokenizer or an evaluator", "adapter_model.safetensors": "a stage of a run",
    "text_mot_match": "an evaluator", "finest.tar": "an evaluator",
}  # fmt: skip
"""File -> the kind of folder it marks; a report must not be written there."""

NO_TRAINING = {
    "dataset.json": "a data set", "new_joint_vecs": "a data set", "report.json": "an evaluation",
    "__init__.py": "a Python package",
}  # fmt: skip
"""File -> the kind of folder it marks; the Mean.npy and Std.npy of a training would replace its own."""


def check_report_folder(out: Path) -> None:
    """ValueError if `out` is `TAKEN`: a data set, for one, has a report.json of its own, which would be lost."""
    if found := [kind for name, kind in TAKEN.items() if (out / name).exists()]:
        raise ValueError(f"--out {out} is {found[0]}; give the evaluation a folder of its own")


def check_training_folder(out: Path, what: str, fresh: bool) -> None:
    """Check that `what` ("a tokenizer") may be trained in `out`.

    Raises ValueError if `out` is something else (`NO_TRAINING`), FileExistsError if it holds finished weights without
    a state to continue from, unless they are to be replaced (`fresh`).
    """
    if found := [kind for name, kind in NO_TRAINING.items() if (out / name).exists()]:
        raise ValueError(f"--out {out} is {found[0]}; give {what} a folder of its own")
    if (out / "model.safetensors").is_file() and not (out / "state").is_dir() and not fresh:
        raise FileExistsError(f"{out} holds {what} that cannot be resumed (no state/); --fresh replaces it")


def output_path(given: str | Path, flag: str = "--output", *, folder: bool = False) -> Path:
    """The path that an output flag names; nothing is made yet.

    It is a folder if it has no suffix, is a folder already, or `folder` says so; else a file.

    Raises ValueError for an empty name, OSError in one line if a file stands in the way of a folder or nothing can be
    written there.
    """
    if not str(given).strip():
        raise ValueError(f"{flag} is empty: name the file or folder to write")
    path = Path(given)
    # the nearest folder that exists: all below it would be made
    place = path if folder or path.is_dir() or not path.suffix else path.parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{flag} {given}: {place} is a file, not a folder to write in")
    try:
        with tempfile.TemporaryFile(dir=place):  # only a write tells: permissions say little about root and networks
            pass
    except OSError as error:
        raise PermissionError(f"{flag} {given}: nothing can be written in {place} ({error.strerror})") from error
    return path
