"""Whether a folder may be written to."""

import tempfile
from pathlib import Path

TAKEN = {
    "dataset.json": "a data set", "new_joint_vecs": "a data set", "config.json": "a run or a tokenizer",
    "model.safetensors": "a tokenizer or an evaluator", "adapter_model.safetensors": "a stage of a run",
    "text_mot_match": "an evaluator", "finest.tar": "an evaluator",
}  # fmt: skip
"""What a folder is that holds such a file: none to write a report into."""


def check_report_folder(out: Path) -> None:
    """ValueError where `out` is `TAKEN`: a data set has a report.json of its own, which would be lost."""
    if found := [kind for name, kind in TAKEN.items() if (out / name).exists()]:
        raise ValueError(f"--out {out} is {found[0]}; give the evaluation a folder of its own")


def check_training_folder(out: Path, what: str, fresh: bool) -> None:
    """Whether `what` ("a tokenizer") may be trained in `out`.

    Raises ValueError where it is a data set, whose Mean.npy and Std.npy would be replaced, or an evaluation,
    FileExistsError where it holds weights without a state to go on from and they are not to be replaced (`fresh`).
    """
    kinds = {"dataset.json": "a data set", "new_joint_vecs": "a data set", "report.json": "an evaluation"}
    if found := [kind for name, kind in kinds.items() if (out / name).exists()]:
        raise ValueError(f"--out {out} is {found[0]}; give {what} a folder of its own")
    if (out / "model.safetensors").is_file() and not (out / "state").is_dir() and not fresh:
        raise FileExistsError(f"{out} holds {what} that cannot go on (no state/); --fresh replaces it")


def output_path(given: str | Path, flag: str = "--output", *, folder: bool = False) -> Path:
    """What an output flag names, a file or (no suffix, a folder that exists, or `folder`) a folder, not yet made.

    Found here, before the work whose result it is to take: ValueError for an empty name, OSError in one line where
    nothing can be written because a file is in the way of a folder, or the folder is closed.
    """
    if not str(given).strip():
        raise ValueError(f"{flag} is empty: name the file or folder to write")
    path = Path(given)
    place = path if folder or path.is_dir() or not path.suffix else path.parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(f"{flag} {given}: {place} is a file, not a folder to write in")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise PermissionError(f"{flag} {given}: nothing can be written in {place} ({error.strerror})") from error
    return path
