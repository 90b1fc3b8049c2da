"""Top-k and top-p by the few likeliest ids of a row, in place of all of them.

A row is a few hundred ids to a whole vocabulary. To sort it takes five times as long as to find its likeliest 64, and
what comes after is quicker for few ids as well. Where ties or rounding could make a difference, these functions say so
by None, and `sampling.py` goes the plain way.
"""

import math

import torch
from torch import Tensor

HEAD = 64  # so many of the most likely ids top-p looks at before a row is sorted


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """The k largest of each row, in the order of ids, and their ids: (B, W) -> (B, k) twice, for k < W.

    None if something equals the k-th, which `sampling.top_k_keep` would keep as well.
    """
    values, ids = scores.topk(k + 1)
    if ((values[:, k - 1] == values[:, k]) & (values[:, k] > -math.inf)).any():
        return None
    ids, order = ids[:, :k].sort(-1)
    return values.gather(-1, order), ids


def top_p_keep(p: Tensor, top_p: float) -> Tensor | None:
    """`sampling.top_p_keep`, for p (B, W) with W over 64; None if more than the head is kept, or if it is a close call.

    That is where some of several equal ones are kept, which their order decides, or where a sum is so near to the
    border that the order of summing decides.
    """
    head = p.topk(HEAD).values  # descending
    total = p.sum(-1, keepdim=True)
    tail = total - head.cumsum(-1) + head  # of each of the head, and all that are less likely
    border, rounding = (1 - top_p) * total, p.shape[1] * torch.finfo(p.dtype).eps * total
    count = (tail > border).sum(-1, keepdim=True).clamp(min=1)  # how many are kept
    keep = p >= head.gather(1, count - 1)
    sure = (count < HEAD) & (keep.sum(-1, keepdim=True) == count) & ((tail - border).abs() > rounding).all(-1, True)
    return keep if sure.all() else None
