"""Metrics: arrays in, numbers out. No networks, no files, no global randomness.

Joint errors follow the field: millimetres are for the reader, metres are returned.
"""

import torch
from torch import Tensor


def mpjpe(predicted: Tensor, target: Tensor, root: int | None = 0) -> Tensor:
    """Mean per-joint position error, metres, per frame: mean_j |p_j - t_j|.

    Args:
        predicted, target: (..., J, 3).
        root: joint both are moved to before comparing (root-aligned, MoMask's and MotionGPT's MPJPE);
            None compares global positions.

    Returns: (...,) errors.
    """
    if predicted.shape != target.shape:
        raise ValueError(f"mpjpe compares equal shapes, got {tuple(predicted.shape)} and {tuple(target.shape)}")
    if root is not None:
        predicted = predicted - predicted[..., root : root + 1, :]
        target = target - target[..., root : root + 1, :]
    return (predicted - target).norm(dim=-1).mean(-1)


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of a histogram (N,): how many codes are in use, were all used equally often. 0 when empty.

    A float32 number () on the device of `counts`: a training step does not wait for it.
    """
    total = counts.sum()
    p = counts.float() / total.clamp(min=1)
    entropy = -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum()  # 0 log 0 = 0
    return entropy.exp() * (total > 0)
