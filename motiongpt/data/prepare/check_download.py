"""Checks a downloaded HumanML3D or KIT-ML folder in place: layout, splits, captions, NaN clips, known counts.

Nothing is written into the folder. Lengths follow the rule of the field's loaders: they leave out clips shorter than 40
frames (KIT-ML: 24), and those of 200 and more. A caption with time tags counts with the part of the clip it is about.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.data.motions import SPLITS
from motiongpt.data.prepare.array_folders import read_splits
from motiongpt.data.texts import parse_captions
from motiongpt.features.normalizer import Normalizer, pair_name
from motiongpt.features.representations import get_representation
from motiongpt.files.arrays import load_array

MAX_LENGTH = 200  # the first length that is left out
KNOWN = {
    "humanml3d-22": {
        "name": "HumanML3D", "splits": {"train": 23_384, "val": 1_460, "test": 4_384}, "min_frames": 40,
        "known_absent": ("009707", "011059"), "known_nan": ("007975", "M007975"),
    },
    "kit-21": {"name": "KIT-ML", "splits": {"train": 4_888, "val": 300, "test": 830}, "min_frames": 24},
}  # fmt: skip
"""HumanML3D: index.csv has 14,616 rows, two of which were never published. Each of the 14,614 others has a mirror
image. KIT-ML is as HumanML3D's authors publish it: 3,009 of the 3,911 motions of KIT are in the splits, each with its
mirror image."""
FULL = 0.5  # of the known clips: a folder with more is taken for the whole data set
FAULTS = {
    "missing": "features missing",
    "not_finite": "with NaN or infinite frames",
    "malformed": "malformed",
    "no_captions": "without captions",
    "bad_captions": "with malformed captions",
}


def check_download(folder: Path, skeleton: Skeleton, progress: Callable[[Iterable], Iterable] = iter) -> dict:
    """What a folder holds and what is wrong with it, for report.json; `problems` and `remarks` are lines for people.

    Raises FileNotFoundError or ValueError if it is no such folder.
    """
    if not (folder / "new_joint_vecs").is_dir():
        raise FileNotFoundError(f"{folder} has no new_joint_vecs/; is it the HumanML3D folder itself?")
    known = KNOWN.get(skeleton.name, {"name": skeleton.name, "min_frames": 40})
    split_of = read_splits(folder)
    splits = Counter(split_of.values())
    faults, counts, lengths = _scan(folder, progress(list(split_of)), skeleton, known["min_frames"])
    facts = faults | {
        "source": f"{known['name']} layout in {folder}",
        "splits": {split: splits[split] for split in SPLITS},
        "clips": len(split_of),
        "hours": round(counts["frames"] / skeleton.fps / 3600, 3),
        "captions": counts["captions"],
        "captions_with_time_tags": counts["sub_clips"],
        "lengths": dict(sorted(lengths.items())),
        "mirrored": sum(clip.startswith("M") for clip in split_of),
        "without_mirror_image": [clip for clip in split_of if not clip.startswith("M") and f"M{clip}" not in split_of],
    }
    problems: list[str] = []
    remarks: list[str] = []
    _check_faults(facts, known, problems, remarks)
    _check_mirror_images(facts, problems, remarks)
    _check_statistics(folder, skeleton, problems, remarks)
    _check_counts(facts, known, split_of, problems, remarks)
    return facts | {"problems": problems, "remarks": remarks}


def _scan(folder: Path, clips: Iterable[str], skeleton: Skeleton, min_frames: int) -> tuple[dict, Counter, Counter]:
    """Read every clip: the faulty ones by kind, counts of frames and captions, and lengths by the field's rule."""
    faults: dict = {"missing": [], "not_finite": [], "malformed": {}, "no_captions": [], "bad_captions": {}}
    counts, lengths = Counter(), Counter()
    for clip in clips:
        text = folder / "texts" / f"{clip}.txt"
        captions = []
        try:
            captions = parse_captions(text) if text.is_file() else []
            if not captions:
                faults["no_captions"].append(clip)
        except ValueError as error:
            faults["bad_captions"][clip] = str(error)
        path = folder / "new_joint_vecs" / f"{clip}.npy"
        if not path.is_file():
            faults["missing"].append(clip)
            continue
        try:
            features = load_array(path, 2, skeleton.feature_dim)
        except (ValueError, OSError) as error:
            faults["malformed"][clip] = str(error)
            continue
        if not np.isfinite(features).all():
            faults["not_finite"].append(clip)
        counts["frames"] += len(features)
        counts["captions"] += len(captions)
        lengths[_rule(len(features), min_frames)] += 1
        for caption in captions:
            if caption.start or caption.end:
                counts["sub_clips"] += 1
                lengths[f"sub-clips {_rule(len(caption.cut(features, skeleton.fps)), min_frames)}"] += 1
    return faults, counts, lengths


def _rule(frames: int, min_frames: int) -> str:
    """What the field's loaders do with a clip of so many frames."""
    if frames < min_frames:
        return f"below {min_frames}"
    return f"{MAX_LENGTH} and more" if frames >= MAX_LENGTH else "used"


def _check_faults(facts: dict, known: dict, problems: list[str], remarks: list[str]) -> None:
    for key, what in FAULTS.items():
        if found := list(facts[key]):
            # the publication has two clips with NaN; its loaders leave them out, as ours do
            expected = " (known, and left out)" if set(found) <= set(known.get("known_nan", ())) else ""
            line = f"{len(found)} clips {what}{expected}: {', '.join(found[:6])}{' ...' if len(found) > 6 else ''}"
            (remarks if expected else problems).append(line)


def _check_mirror_images(facts: dict, problems: list[str], remarks: list[str]) -> None:
    lone = facts["without_mirror_image"]
    if lone and facts["mirrored"]:
        problems.append(f"{len(lone)} clips without their mirror image M + id, such as {lone[0]}")
    elif lone:
        remarks.append("no mirrored clips (M + id): the field's loaders train on both")


def _check_statistics(folder: Path, skeleton: Skeleton, problems: list[str], remarks: list[str]) -> None:
    representation = get_representation("humanml3d", skeleton)
    try:
        normalizer = Normalizer.load(folder)
        if len(normalizer.mean) != representation.dim:
            raise ValueError(f"Mean.npy has width {len(normalizer.mean)}, expected {representation.dim}")
        normalizer.check_pair(representation, 1.0, folder / "Std.npy")
        bias = normalizer.feature_bias(representation)
        remarks.append(f"Mean.npy and Std.npy are {pair_name(bias) if bias else 'there'}")
    except (ValueError, FileNotFoundError) as error:
        problems.append(str(error))


def _check_counts(facts: dict, known: dict, split_of: dict, problems: list[str], remarks: list[str]) -> None:
    """Compare the counts with the published ones, unless the folder is only a part of the data set."""
    if "splits" not in known or facts["clips"] < FULL * sum(known["splits"].values()):
        remarks.append(f"{facts['clips']} clips: not compared with the counts of the whole {known['name']}")
        return
    for split, expected in known["splits"].items():
        if (found := facts["splits"][split]) != expected:
            problems.append(f"{split}.txt lists {found:,} clips, the whole {known['name']} {expected:,}")
    absent = [clip for clip in known.get("known_absent", ()) if clip in split_of]
    if absent:
        remarks.append(f"{', '.join(absent)} are in the folder, but not in the published data set")
    # every motion is there twice, as it is and mirrored
    plain = facts["clips"] - facts["mirrored"]
    expected = sum(known["splits"].values()) // 2
    if plain != expected:
        problems.append(f"{plain:,} clips without their mirror images, expected {expected:,}")


def summary_lines(facts: dict) -> list[str]:
    """One screen of the result of `check_download`."""
    splits = ", ".join(f"{n:,} {split}" for split, n in facts["splits"].items())
    rule = ", ".join(f"{n:,} {name}" for name, n in facts["lengths"].items())
    return [
        facts["source"],
        f"{facts['clips']:,} clips ({splits}), {facts['mirrored']:,} of them mirrored, {facts['hours']} h",
        f"{facts['captions']:,} captions, {facts['captions_with_time_tags']:,} with time tags (sub-clips)",
        f"lengths in frames: {rule}",
        *facts["remarks"],
        *(f"problem: {problem}" for problem in facts["problems"]),
        "no problems found" if not facts["problems"] else f"{len(facts['problems'])} problems",
    ]
