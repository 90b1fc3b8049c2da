"""Products of few rows with the matrices of a model that writes, and the norm between them.

A few rows leave a product waiting for memory, and each machine reads a matrix fastest in an order of its own. What was
fastest on two kinds of processors, with and without AVX-512, is written down here as rules: a choice that is measured
anew in every process would let chance decide the last bit of a result.
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from motiongpt.layers import RMSNorm, norm

FEW = 64  # rows up to which a product is bound by reading the matrix
LARGE = 1 << 19  # numbers in a matrix from which on reading it costs more than calling the kernel of a packed one
# PyTorch's compiler uses these two; without them F.linear does the work
CAN_PACK = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


@cache
def blocks_are_best() -> bool:
    """Whether blocks are read faster than all else, by 1.1x to 2.5x: on processors of which PyTorch uses AVX2 alone."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


class Matrix:
    """The weight (out, in) and bias (out,) of a linear layer, for a model that writes.

    On a CPU the order of the weights depends on their number, their precision and the processor:

        fp32, AVX2 alone    one row and small: in columns; else in blocks
        fp32                one row: as they are, a matrix with a vector; up to 64 rows and large: in blocks
        bf16                up to 64 rows: weight x^T instead of x weight^T

    Columns are the matrix transposed, and blocks what the kernel of a packed matrix reads. Both are copies, made when
    they are first needed. Everything else is `F.linear`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, copies: bool) -> None:
        """`copies` allows the copies of an fp32 matrix, each of its own size."""
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()
        self.copies = copies and weight.dtype == torch.float32 and weight.device.type == "cpu" and CAN_PACK
        self.large = weight.numel() >= LARGE
        self.columns: Tensor | None = None  # (in, out)
        self.blocks: Tensor | None = None

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """onto + x weight^T + bias: x (R, in), onto (R, out) -> (R, out)."""
        weight, bias, R = self.weight, self.bias, len(x)
        if self.copies and (blocks_are_best() or self.large and 1 < R <= FEW):
            return self._of_blocks(x, onto) if R > 1 or self.large else self._of_columns(x, onto)
        if weight.device.type == "cpu" and R == 1:
            out = torch.mv(weight, x[0]) if onto is None else torch.addmv(onto[0], weight, x[0])
            return (out if bias is None else out + bias)[None]
        if weight.device.type == "cpu" and R <= FEW and weight.dtype == torch.bfloat16:
            out = torch.mm(weight, x.t()) if onto is None else torch.addmm(onto.t(), weight, x.t())
            out = out.t().contiguous()  # attention has no fused kernel for columns
            return out if bias is None else out + bias
        out = F.linear(x, weight, bias)
        return out if onto is None else onto + out

    def _of_blocks(self, x: Tensor, onto: Tensor | None) -> Tensor:
        if self.blocks is None:
            self.blocks = torch.ops.mkldnn._reorder_linear_weight(self.weight.clone(), len(x))
        if onto is None:
            return torch.ops.mkldnn._linear_pointwise(x, self.blocks, self.bias, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise(x, onto, self.blocks, self.bias, "add")

    def _of_columns(self, x: Tensor, onto: Tensor | None) -> Tensor:
        if self.columns is None:
            self.columns = self.weight.t().contiguous()
        out = torch.mm(x, self.columns) if onto is None else torch.addmm(onto, x, self.columns)
        return out if self.bias is None else out + self.bias


@dataclass(frozen=True)
class Norm:
    """`layers.RMSNorm` in four operations: x / hypot(|x|, sqrt(n eps)) * sqrt(n) weight, |x| the length of n channels.

    PyTorch's own takes twice as many on a CPU. The quotient is fp32, or fp64 as x is, and the product is rounded once.
    On a GPU PyTorch's own is one kernel, and does the work.
    """

    weight: Tensor  # (n,) fp32 or fp64, sqrt(n) times that of the norm; on a GPU that of the norm, in its own precision
    root: Tensor  # (), sqrt(n eps)
    eps: float

    @classmethod
    def of(cls, module: RMSNorm) -> "Norm":
        weight, eps = module.weight.detach(), module.eps
        n = len(weight)
        if module.unit_offset or not weight.is_cuda:
            weight = weight.to(torch.promote_types(weight.dtype, torch.float32)) + (1.0 if module.unit_offset else 0.0)
        root = weight.new_tensor((n * eps) ** 0.5)
        return cls(weight if weight.is_cuda else weight * n**0.5, root, eps)

    def direction(self, x: Tensor) -> Tensor:
        """x (..., n) / (sqrt(n) root mean square), in the precision of the weight; on a GPU without sqrt(n)."""
        if x.is_cuda:
            return F.rms_norm(x, x.shape[-1:], eps=self.eps)
        return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=self.weight.dtype), self.root)

    def __call__(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return norm(x, self.weight, self.eps)
        return self.direction(x).mul_(self.weight).to(x.dtype)
