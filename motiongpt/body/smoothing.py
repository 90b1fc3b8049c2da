"""The Gaussian filter over time, for numpy curves."""

import numpy as np


def gaussian_kernel(sigma: float, truncate: float = 3.0) -> np.ndarray:
    """Weights (2 r + 1,) float64 that sum to 1; `sigma` is in frames, and r = ceil(truncate sigma)."""
    radius = int(np.ceil(truncate * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return kernel / kernel.sum()


def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Filter values (F, ...) along frames; the first and the last frame are repeated beyond the ends."""
    kernel = gaussian_kernel(sigma)
    radius = len(kernel) // 2
    padded = np.concatenate([values[:1]] * radius + [values] + [values[-1:]] * radius)
    # a sum of shifted copies: fast for a short kernel, and any trailing dimensions come along
    return sum(weight * padded[i : i + len(values)] for i, weight in enumerate(kernel))
