"""Products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.models.onnx.operators.calls import Call, operator


@operator("MatMul", together=True)
def matmul(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """As of NumPy."""
    return torch.matmul(a, b)


@operator("Gemm", together=True)
def gemm(call: Call, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """alpha a b + beta c, with a and b transposed where asked."""
    a, b = (a.mT if call.get("transA") else a), (b.mT if call.get("transB") else b)
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if c is not None and alpha == beta == 1 and c.dim() == 1 and a.is_floating_point():
        return torch.addmm(c, a, b)
    found = torch.matmul(a, b)
    found = found if alpha == 1 else alpha * found
    if c is None:
        return found
    return found + (c if beta == 1 else beta * c)


@operator("Einsum", together=True)
def einsum(call: Call, *inputs: Tensor) -> Tensor:
    """Sums of products over named axes."""
    return torch.einsum(call.get("equation"), *inputs)


@operator("Det")
def determinant(call: Call, x: Tensor) -> Tensor:
    """Of each matrix."""
    return torch.linalg.det(x)
