"""Checks an existing HumanML3D or KIT-ML folder where it lies: layout, splits, captions, NaN clips, known counts.

Nothing is written into the folder. The length rule is that of the field's loaders: shorter than 40 frames (KIT-ML: 24)
or 200 and longer is left out there, counted after time tags have cut a caption's part out.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from motiongpt.body.skeletons import Skeleton
from motiongpt.data.motions import SPLITS
from motiongpt.data.prepare.sources import read_splits
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
"""HumanML3D: index.csv has 14,616 rows, two of which were never published; each of the 14,614 others has a mirror
image. KIT-ML as HumanML3D's authors publish it: of the 3,911 motions of KIT, 3,009 are in the splits, and as many
mirror images."""
FULL = 0.5  # of the known clips: from here on a folder is taken for the whole data set


def check(folder: Path, skeleton: Skeleton, progress: Callable[[Iterable], Iterable] = iter) -> dict:
    """What a folder holds and what is wrong with it, for report.json; `problems` and `remarks` are lines for people.

    Raises FileNotFoundError or ValueError where it is no such folder.
    """
    if not (folder / "new_joint_vecs").is_dir():
        raise FileNotFoundError(f"{folder} has no new_joint_vecs/; is it the HumanML3D folder itself?")
    known = KNOWN.get(skeleton.name, {"name": skeleton.name, "min_frames": 40})
    split_of, problems, remarks = read_splits(folder), [], []
    counts, lengths = Counter(), Counter()
    facts: dict = {"missing": [], "not_finite": [], "malformed": {}, "no_captions": [], "bad_captions": {}}
    for clip in progress(list(split_of)):
        path, text = folder / "new_joint_vecs" / f"{clip}.npy", folder / "texts" / f"{clip}.txt"
        try:
            captions = parse_captions(text) if text.is_file() else []
        except ValueError as error:
            captions, facts["bad_captions"][clip] = [], str(error)
        if not captions and clip not in facts["bad_captions"]:
            facts["no_captions"].append(clip)
        if not path.is_file():
            facts["missing"].append(clip)
            continue
        try:
            features = load_array(path, 2, skeleton.feature_dim)
        except (ValueError, OSError) as error:
            facts["malformed"][clip] = str(error)
            continue
        if not np.isfinite(features).all():
            facts["not_finite"].append(clip)
        counts["frames"] += len(features)
        lengths[_rule(len(features), known["min_frames"])] += 1
        counts["captions"] += len(captions)
        for caption in captions:
            if caption.start or caption.end:
                counts["sub_clips"] += 1
                lengths[f"sub-clips {_rule(len(caption.cut(features, skeleton.fps)), known['min_frames'])}"] += 1
    splits = Counter(split_of.values())
    facts |= {
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
    for key, what in (("missing", "features missing"), ("not_finite", "with NaN or infinite frames"),
                      ("malformed", "malformed"), ("no_captions", "without captions"),
                      ("bad_captions", "with malformed captions")):  # fmt: skip
        if found := list(facts[key]):
            expected = " (known, and left out)" if set(found) <= set(known.get("known_nan", ())) else ""
            line = f"{len(found)} clips {what}{expected}: {', '.join(found[:6])}{' ...' if len(found) > 6 else ''}"
            (remarks if expected else problems).append(line)
    lone = facts["without_mirror_image"]
    if lone and facts["mirrored"]:
        problems.append(f"{len(lone)} clips without their mirror image M + id, such as {lone[0]}")
    elif lone:
        remarks.append("no mirrored clips (M + id): the field's loaders train on both")
    _check_statistics(folder, skeleton, problems, remarks)
    _check_counts(facts, known, split_of, problems, remarks)
    return facts | {"problems": problems, "remarks": remarks}


def _rule(frames: int, min_frames: int) -> str:
    return (
        f"below {min_frames}" if frames < min_frames else f"{MAX_LENGTH} and more" if frames >= MAX_LENGTH else "used"
    )


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
    """Against the published numbers, where there are nearly as many clips."""
    if "splits" not in known or facts["clips"] < FULL * sum(known["splits"].values()):
        remarks.append(f"{facts['clips']} clips: not compared with the counts of the whole {known['name']}")
        return
    for split, expected in known["splits"].items():
        if (found := facts["splits"][split]) != expected:
            problems.append(f"{split}.txt lists {found:,} clips, the whole {known['name']} {expected:,}")
    absent = [clip for clip in known.get("known_absent", ()) if clip in split_of]
    if absent:
        remarks.append(f"{', '.join(absent)} are there: the published data set has not got them")
    plain = facts["clips"] - facts["mirrored"]
    expected = sum(known["splits"].values()) // 2
    if plain != expected:
        problems.append(f"{plain:,} clips without their mirror images, expected {expected:,}")


def lines(facts: dict) -> list[str]:
    """One screen of `check`'s result."""
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
