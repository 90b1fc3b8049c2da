"""The normalisation of motion features: one mean and one deviation per column,
as Mean.npy and Std.npy.

It knows the columns by group, because HumanML3D averages the deviation within a group. What the
numbers mean is the business of `representations.py`.

Published HumanML3D and KIT-ML files come with three pairs that differ in the root and contact
columns (`PAIRS`). They can be told apart: a contact is 0 or 1, so its mean p determines its
deviation, sqrt(p (1 - p)). That deviation divided by the stored one is the pair's feature bias.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motiongpt.features.humanml3d import Array, float64_array
from motiongpt.features.representations import Representation
from motiongpt.files.arrays import read_array
from motiongpt.files.store import write_atomic
from motiongpt.files.unpickle import load_pickle

PAIRS = {
    1.0: "the data set's own pair (root and contact deviations as measured)",
    5.0: "a VQ-VAE's pair (root and contact deviations / 5, as MoMask's meta and ours)",
    25.0: "the evaluators' pair (root and contact deviations / 25), which T2M-GPT's VQ-VAEs use as well",
}
"""Feature bias -> who uses that pair in the field."""
SAME_BIAS = 1.5  # published pairs of one kind agree within 2 %, different ones are 5 apart
LARGEST = 1e6  # of a mean or deviation; KIT-ML's are in millimetres, and a flipped bit makes 1e38
CONSTANT = 1e-6  # a deviation below this (metres, radians) is rounding, not motion


class Normalizer:
    """Mean and standard deviation of the features, (D,) each:
    `normalise` and its inverse, on arrays and tensors.

    A deviation of zero (a column that never changes) counts as one. Raises ValueError if the two
    have different shapes or hold NaN. Danger: published checkpoints come with their own pair, and
    the pairs differ by a factor of up to 25 in the root and contact columns. So load the pair that
    the network was trained with.
    """

    def __init__(self, mean: Array, std: Array):
        mean, std = (float64_array(a).astype(np.float32) for a in (mean, std))
        if mean.ndim != 1 or mean.shape != std.shape or not len(mean):
            raise ValueError(f"mean and std must both be (D,), got {mean.shape} and {std.shape}")
        for name, values, least in (("mean", mean, -LARGEST), ("std", std, 0)):
            if len(wrong := np.flatnonzero(~((least <= values) & (values <= LARGEST)))):  # NaN is among the wrong
                raise ValueError(
                    f"column {wrong[0]} of the {name} is {values[wrong[0]]:g}; expected finite numbers from {least:g} "
                    f"to {LARGEST:g}: copy the file again, or recompute it without clips that have NaN"
                )
        self.mean, self.std = mean, np.where(std == 0, np.float32(1), std)
        self._tensors: dict[tuple, tuple[Tensor, Tensor]] = {}  # one copy per device and dtype

    def normalise(self, features: Array) -> Array:
        """(features - mean) / std on the last dimension. Raises ValueError if its width differs."""
        mean, std = self._pair(features)
        return (features - mean) / std

    def denormalise(self, features: Array) -> Array:
        """Inverse of `normalise`: features * std + mean."""
        mean, std = self._pair(features)
        return features * std + mean

    def _pair(self, features: Array) -> tuple[Array, Array]:
        if features.shape[-1] != len(self.mean):
            raise ValueError(f"features of width {features.shape[-1]}, but the normalisation has {len(self.mean)}")
        if isinstance(features, np.ndarray):
            return self.mean, self.std
        key = (features.device, features.dtype)
        if key not in self._tensors:
            # a copy made inside inference mode could not be trained through later
            with torch.inference_mode(False):
                pair = [torch.from_numpy(a).to(features.device, features.dtype) for a in (self.mean, self.std)]
            self._tensors[key] = (pair[0], pair[1])
        return self._tensors[key]

    @classmethod
    def fit(cls, clips: Iterable[Array], representation: Representation | None = None) -> "Normalizer":
        """Statistics over all frames of the clips, (F, D) each, which are read once, one at a time.

        If the representation is `averaged`, the deviation is averaged within each group, as
        HumanML3D's `cal_mean_variance` does. Otherwise each column has its own, and that of a
        constant column is 1. Raises ValueError for no frames, and for a clip with a wrong shape or
        NaN, which it names by its position.
        """
        # running statistics, merged clip by clip (Chan et al. 1979): they never hold more than one clip in memory
        count = 0
        mean = 0.0
        squares = 0.0  # sum of squared distances from the mean
        for i, clip in enumerate(clips):
            clip = float64_array(clip)
            if representation:
                D = representation.dim
            else:  # the first clip decides
                D = clip.shape[-1] if count == 0 else len(mean)
            if clip.ndim != 2 or clip.shape[1] != D:
                raise ValueError(f"clip {i}: features must be (F, {D}), got {clip.shape}")
            if not np.isfinite(clip).all():
                raise ValueError(f"clip {i}: NaN or infinite features; drop this clip before taking statistics")
            if len(clip) == 0:
                continue
            total = count + len(clip)
            delta = clip.mean(axis=0) - mean
            # within the clip, and between its mean and the mean so far
            squares = squares + clip.var(axis=0) * len(clip) + delta**2 * count * len(clip) / total
            mean = mean + delta * len(clip) / total
            count = total
        if count == 0:
            raise ValueError("no frames to take statistics of")
        std = np.sqrt(squares / count)
        if representation and representation.averaged:
            # one deviation per group keeps the relative sizes of its columns
            for columns in representation.groups.values():
                std[columns] = std[columns].mean()
        # the constructor makes the deviation of a constant column 1
        std[std < CONSTANT] = 0
        return cls(mean, std)

    def with_feature_bias(self, bias: float, representation: Representation) -> "Normalizer":
        """The same normalisation, but the representation's `biased` features come out `bias` times
        larger.

        MoMask's feat_bias (t2m_dataset.py: 5). A yaw velocity is one number of 263, but its error
        adds up over the clip and turns the whole body. So a tokenizer should give it more weight
        than one column in 263.
        """
        std = self.std.copy()
        for name in representation.biased:
            std[representation.groups[name]] /= bias
        return Normalizer(self.mean, std)

    def feature_bias(self, representation: Representation) -> float | None:
        """The feature bias this pair was made with, read off its contact columns.

        None if they cannot tell: no contacts among the columns,
        or feet that always or never touch the ground.
        """
        if representation.contacts is None or len(self.mean) != representation.dim:
            return None
        # the deviation of the contacts before any bias divided it
        p = np.clip(self.mean[representation.contacts].astype(np.float64), 0, 1)
        measured = np.sqrt(p * (1 - p)).mean()
        # feet that always or never touch the ground have no deviation to divide by
        return float(measured / self.std[representation.contacts].mean()) if measured > 0.01 else None

    def check_pair(self, representation: Representation, expected: float, source: str | Path) -> None:
        """Raise ValueError if this is not the pair of feature bias `expected`.
        `source` is the file in the message."""
        found = self.feature_bias(representation)
        if found is not None and not 1 / SAME_BIAS < found / expected < SAME_BIAS:
            raise ValueError(
                f"{source} is {pair_name(found)}; expected {pair_name(expected)}: with the wrong pair the root and the "
                f"feet are {max(found / expected, expected / found):.0f} times off"
            )

    def save(self, folder: str | Path) -> None:
        """Write Mean.npy and Std.npy (HumanML3D's own names), (D,) float32 each, into a folder."""
        for name, array in (("Mean.npy", self.mean), ("Std.npy", self.std)):
            write_atomic(Path(folder) / name, partial(_write_array, array))

    @classmethod
    def load(cls, folder: str | Path) -> "Normalizer":
        """Inverse of `save`, which also reads what others publish.

        In a folder the names may be in lower case, as in published checkpoints. In place of a
        folder it takes SignMotionGPT's single file of torch.save or pickle with {"mean": ...,
        "std": ...}. Raises FileNotFoundError if one of the two is missing, and ValueError if one is
        no array, or if both spellings of a name exist and differ.
        """
        if Path(folder).is_file():
            return cls._load_file(Path(folder))
        try:
            return cls(*(_load_array(Path(folder), name) for name in ("Mean.npy", "Std.npy")))
        except ValueError as error:
            raise ValueError(f"{folder}: Mean.npy and Std.npy cannot be used ({error})") from error

    @classmethod
    def _load_file(cls, path: Path) -> "Normalizer":
        if path.suffix == ".npy":
            raise ValueError(f"{path} is one of two: give the folder of Mean.npy and Std.npy, {path.parent}")
        content = load_pickle(path)
        if not isinstance(content, dict) or not {"mean", "std"} <= content.keys():
            raise ValueError(f"{path} holds no mean and std; expected a folder with Mean.npy and Std.npy, or a dict")
        try:
            return cls(*(float64_array(content[name]).squeeze() for name in ("mean", "std")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: mean and std cannot be used ({error})") from error


def _write_array(array: np.ndarray, path: Path) -> None:
    with open(path, "wb") as file:  # given a path, NumPy would append .npy to a temporary name
        np.save(file, array)


def _load_array(folder: Path, name: str) -> np.ndarray:
    """An array under its name, or under the same name in lower case."""
    found = [path for path in (folder / name, folder / name.lower()) if path.is_file()]
    if not found:
        raise FileNotFoundError(f"no {name} in {folder}; expected Mean.npy and Std.npy beside the motions")
    arrays = [read_array(path) for path in found]
    if len(arrays) > 1 and not np.array_equal(*arrays, equal_nan=True):
        raise ValueError(f"{found[0].name} and {found[1].name} are there and differ; keep the one that belongs here")
    return arrays[0]


def pair_name(bias: float) -> str:
    """What the field calls the pair with this feature bias."""
    known = next((name for pair, name in PAIRS.items() if 1 / SAME_BIAS < bias / pair < SAME_BIAS), None)
    return known or f"a pair with root and contact deviations / {bias:.3g}"
