"""Names of clips: ids from the paths of files, and captions of last resort from the words of names."""

import re
from pathlib import Path


def clip_id(path: Path, root: Path) -> str:
    """A file name for a clip: its path below the input folder, without suffix, subfolders joined by _."""
    name = "_".join(path.relative_to(root).parts) if path != root else path.name
    if not path.is_dir():
        name = name.removesuffix(path.suffix)
    return re.sub(r"[^\w.-]+", "_", name.removesuffix("_mmm")).lstrip(".-") or "clip"


def guess_caption(*names: str) -> str:
    """The words of the first name that has any: "dataset-1_walk-turn-left_004" says "dataset walk turn left"."""
    for name in names:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # TurnLeft -> Turn Left
        words = [word.lower() for word in re.findall(r"[^\W\d_]+", words) if len(word) > 1]
        if words:
            return " ".join(words)
    return ""
