"""The dataset folder: HumanML3D's own layout, read as it is and written the same way.

    new_joint_vecs/ID.npy (F, D) float32      features; HumanML3D's have one frame fewer than the joints
    new_joints/ID.npy     (F, J, 3)           what the features recover to; none for SMPL-X parameters
    texts/ID.txt          caption#token/POS token/POS#start#end        a line for each caption, times in seconds
    train.txt val.txt test.txt                one id a line
    Mean.npy Std.npy      (D,)                of the training split
    dataset.json          skeleton, representation, fps, source, counts; absent from a plain download
    unfinished.jsonl      only while a build is under way (`prepare/build.py`): such a folder is not opened
    skeleton.json         only if the skeleton is not a built-in one
    plain.json            optional: id -> the plain caption of the clip, what the task `read` reads a caption as

A `MotionDataset` hands out arrays and captions, and knows no batches (`batches.py`). What the
columns of a feature row mean is `features/representations.py`.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton, load_skeleton
from motiongpt.data.texts import Caption, is_text, parse_captions
from motiongpt.features.humanml3d import skeleton_of_width
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.files.arrays import load_array, read_array
from motiongpt.files.fields import get_field
from motiongpt.files.hashes import file_hash, short_hash
from motiongpt.files.store import read_json

SPLITS = ("train", "val", "test")
JOURNAL = "unfinished.jsonl"
PLAIN = "plain.json"


def check_id(clip: str) -> None:
    """ValueError for a clip id that leads out of its folder: ids come from other people's files."""
    # a backslash separates folders on Windows, and no path may hold NUL
    if not clip or Path(clip).is_absolute() or ".." in Path(clip).parts or any(mark in clip for mark in "\\\0"):
        raise ValueError(f"the id {clip!r} leads out of the folder")


def read_ids(path: Path) -> list[str]:
    """The ids of a split, one a line. Raises ValueError naming the file if `check_id` refuses
    one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    for clip in ids:
        try:
            check_id(clip)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return ids


class MotionDataset:
    """A dataset folder opened for reading.

    Raises:
        FileNotFoundError: the folder, its features, its training split or its statistics are
            missing; says which.
        ValueError: the statistics have another width than the skeleton needs, or the build is
            unfinished.
    """

    def __init__(self, folder: Path | str) -> None:
        # 1) Whether it is a data set at all, with a remedy in each message.
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"no dataset folder at {folder}; `python scripts/prepare.py --help` makes one")
        if not (self.folder / "new_joint_vecs").is_dir():
            here = ", ".join(sorted(p.name for p in self.folder.iterdir())[:8]) or "nothing"
            raise FileNotFoundError(
                f"{folder} has no new_joint_vecs/ (it holds: {here}); make one with scripts/prepare.py"
            )
        if (self.folder / JOURNAL).is_file():
            # without statistics and splits of all clips it would pass for a smaller data set
            raise ValueError(f"{folder} is an unfinished build ({JOURNAL}): the same prepare.py command continues it")
        for name in ("Mean.npy", "Std.npy", "train.txt"):
            if not (self.folder / name).is_file():
                raise FileNotFoundError(f"{self.folder / name} is missing; scripts/prepare.py writes it")

        # 2) What its columns mean: a plain download has no dataset.json, and its width says which skeleton it has.
        self.normalizer = Normalizer.load(self.folder)
        self.feature_dim = len(self.normalizer.mean)
        info = self.folder / "dataset.json"
        self.info = read_json(info) if info.is_file() else {}
        self.skeleton = self._skeleton()
        self.fps = float(get_field(self.info, "fps", float, info, self.skeleton.fps, least=1e-3))
        name = get_field(self.info, "representation", str, info, "humanml3d")
        self.representation = get_representation(name, self.skeleton)
        if self.representation.dim != self.feature_dim:
            raise ValueError(
                f"{folder}: Mean.npy has width {self.feature_dim}, skeleton {self.skeleton.name} needs "
                f"{self.representation.dim} ({self.representation.name})"
            )

    def _skeleton(self) -> Skeleton:
        if "skeleton" in self.info:
            return load_skeleton(self.folder, get_field(self.info, "skeleton", str, self.folder / "dataset.json"))
        if skeleton := skeleton_of_width(self.feature_dim):
            return skeleton
        raise ValueError(
            f"{self.folder}/Mean.npy has width {self.feature_dim}: neither HumanML3D (263) nor KIT-ML (251), "
            "and there is no dataset.json that names the skeleton"
        )

    def ids(self, split: str) -> list[str]:
        """Clip ids of a split in the file's order; "val+test" are both.
        FileNotFoundError if there is no such split."""
        if "+" in split:
            return [clip for part in split.split("+") for clip in self.ids(part)]
        path = self.folder / f"{split}.txt"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: the {split} split lists one clip id a line")
        return read_ids(path)

    def check_apart(self) -> None:
        """ValueError if a clip is in two splits: a model would be measured on its training data."""
        splits = {split: set(self.ids(split)) for split in SPLITS if (self.folder / f"{split}.txt").is_file()}
        for one, other in itertools.combinations(splits, 2):
            if both := splits[one] & splits[other]:
                raise ValueError(
                    f"{self.folder}: {one}.txt and {other}.txt share {len(both)} clips, such as {min(both)}; a clip "
                    "belongs to one split, or what is trained on is measured on"
                )

    def hash(self) -> str:
        """16 hex digits over statistics, split files, edits.json and plain.json:
        cheap, and enough to tell two data sets apart."""
        names = ("Mean.npy", "Std.npy", *(f"{split}.txt" for split in SPLITS), "edits.json", PLAIN)
        files = [self.folder / name for name in names]
        return short_hash(file_hash(file).encode() for file in files if file.is_file())

    def features(self, clip: str) -> np.ndarray:
        """(F, D) float32, not normalised. Raises ValueError naming the file if it is missing,
        malformed or has NaN."""
        path = self.folder / "new_joint_vecs" / f"{clip}.npy"
        if not path.is_file():
            raise ValueError(f"{path} is missing, though a split lists it")
        array = load_array(path, 2, self.feature_dim)
        if not np.isfinite(array).all():
            frame = int(np.argwhere(~np.isfinite(array).all(-1))[0, 0])
            raise ValueError(f"{path}: frame {frame} is not finite")
        return array

    def captions(self, clip: str) -> list[Caption]:
        path = self.folder / "texts" / f"{clip}.txt"
        return parse_captions(path) if path.is_file() else []

    def plain_captions(self) -> dict[str, str]:
        """Clip id -> its plain caption; empty without plain.json.
        ValueError naming the clip whose caption is no sentence."""
        path = self.folder / PLAIN
        found = read_json(path) if path.is_file() else {}
        for clip, text in found.items():
            if not isinstance(text, str) or not text.strip() or not is_text(text):
                raise ValueError(f"{path}: the plain caption of {clip!r:.60} must be a sentence, got {text!a:.60}")
        return {clip: " ".join(text.split()) for clip, text in found.items()}

    def frames(self, clip: str) -> int:
        """F, from the header of the file only; 0 if there is no such file."""
        try:
            return len(read_array(self.folder / "new_joint_vecs" / f"{clip}.npy"))
        except (OSError, ValueError, TypeError):  # a single number has no length
            return 0

    def load_split(self, split: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Features (F, D) of every usable clip of a split, not normalised;
        and for the others id -> reason."""
        return self.load(self.ids(split))

    def load_for_report(self, split: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """`load_split` with reasons that do not reveal the path of the data:
        a report may be published."""
        clips, dropped = self.load_split(split)
        folder = self.folder / "new_joint_vecs"
        return clips, {clip: reason.replace(str(folder), folder.name) for clip, reason in dropped.items()}

    def load(self, ids: Iterable[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """`load_split` for given clips."""
        clips: dict[str, np.ndarray] = {}
        dropped: dict[str, str] = {}
        for clip in ids:
            try:
                clips[clip] = self.features(clip)
            except ValueError as error:
                # one bad clip stops nothing, but the caller reports it
                dropped[clip] = str(error)
        return clips, dropped
