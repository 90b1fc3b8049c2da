"""The normalisation of motion features: one mean and one deviation per column, as Mean.npy and Std.npy.

It knows the columns by group (`features.feature_groups`), because HumanML3D averages the deviation within a group;
what the numbers mean is `features.py`.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motiongpt.features import Array, feature_groups
from motiongpt.skeletons import Skeleton


class Normalizer:
    """Mean and standard deviation of the features, (D,) each: `normalise` and its inverse, on arrays and tensors.

    A deviation of zero (a column that never changes) counts as one. Raises ValueError where the two do not fit
    together or hold NaN. Danger: published checkpoints come with their own pair, and the pairs differ by a factor of
    up to 25 in the root and contact columns, so load the pair a network was trained with.
    """

    def __init__(self, mean: Array, std: Array):
        mean, std = (_float64(a).astype(np.float32) for a in (mean, std))
        if mean.ndim != 1 or mean.shape != std.shape:
            raise ValueError(f"mean and std must both be (D,), got {mean.shape} and {std.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
            raise ValueError("mean and std must be finite and std not negative; recompute them without the NaN clips")
        self.mean, self.std = mean, np.where(std == 0, np.float32(1), std)
        self._tensors: dict[tuple, tuple[Tensor, Tensor]] = {}  # one copy per device and dtype

    def normalise(self, features: Array) -> Array:
        """(features - mean) / std on the last dimension; ValueError where its width differs."""
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
            with torch.inference_mode(False):  # a copy made inside inference mode could not be trained through later
                pair = [torch.from_numpy(a).to(features.device, features.dtype) for a in (self.mean, self.std)]
            self._tensors[key] = (pair[0], pair[1])
        return self._tensors[key]

    @classmethod
    def fit(cls, clips: Iterable[Array], skeleton: Skeleton | None = None) -> "Normalizer":
        """Statistics over all frames of the clips, (F, D) each, read once, one at a time.

        With a skeleton the deviation is averaged within each feature group, as HumanML3D's `cal_mean_variance` does;
        without one (other representations) each column has its own. Raises ValueError on an empty list, a clip whose
        shape does not fit or that holds NaN or infinite values (by its position in the list).
        """
        count, mean, squares = 0, 0.0, 0.0  # squares: sum of squared distances from the mean (Chan et al. 1979)
        for i, clip in enumerate(clips):
            clip = _float64(clip)
            D = skeleton.feature_dim if skeleton else clip.shape[-1] if count == 0 else len(mean)
            if clip.ndim != 2 or clip.shape[1] != D:
                raise ValueError(f"clip {i}: features must be (F, {D}), got {clip.shape}")
            if not np.isfinite(clip).all():
                raise ValueError(f"clip {i}: NaN or infinite features; drop this clip before taking statistics")
            if len(clip) == 0:
                continue
            total = count + len(clip)
            delta = clip.mean(axis=0) - mean
            squares = squares + clip.var(axis=0) * len(clip) + delta**2 * count * len(clip) / total
            mean = mean + delta * len(clip) / total
            count = total
        if count == 0:
            raise ValueError("no frames to take statistics of")
        std = np.sqrt(squares / count)
        for columns in feature_groups(skeleton).values() if skeleton else ():
            std[columns] = std[columns].mean()
        return cls(mean, std)

    def with_feature_bias(self, bias: float, skeleton: Skeleton) -> "Normalizer":
        """The same, with root and contact features `bias` times larger once normalised.

        MoMask's feat_bias (t2m_dataset.py: 5). A yaw velocity is one number of 263, but its error adds up over
        the clip and turns the whole body, so a tokenizer should take it more seriously than its count.
        """
        groups = feature_groups(skeleton)
        std = self.std.copy()
        for name in ("root_yaw_velocity", "root_linear_velocity", "root_height", "contacts"):
            std[groups[name]] /= bias
        return Normalizer(self.mean, std)

    def save(self, folder: str | Path) -> None:
        """Write Mean.npy and Std.npy, HumanML3D's own names, (D,) float32."""
        np.save(Path(folder) / "Mean.npy", self.mean)
        np.save(Path(folder) / "Std.npy", self.std)

    @classmethod
    def load(cls, folder: str | Path) -> "Normalizer":
        """Inverse of `save`. FileNotFoundError where one of the two is missing, ValueError where one is no array."""
        paths = [Path(folder) / "Mean.npy", Path(folder) / "Std.npy"]
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(f"no {path.name} in {folder}; expected Mean.npy and Std.npy beside the motions")
        try:
            return cls(*(np.load(path, allow_pickle=False) for path in paths))
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{folder}: Mean.npy and Std.npy cannot be used ({error})") from error


def _float64(array: Array) -> np.ndarray:
    """As numpy, float64, whatever the kind, the device and the precision; may share memory with `array`."""
    return array.detach().cpu().double().numpy() if isinstance(array, Tensor) else np.asarray(array, np.float64)
