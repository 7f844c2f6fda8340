"""Operators of ONNX in torch: differentiable, vectorised, the same under `torch.func` and on any device."""

from tangency.models.onnx.operators import elementwise, indexing, layers, reductions, resizing, shapes, windows
from tangency.models.onnx.operators.calls import OPERATORS, Call, Operator

__all__ = [
    "OPERATORS",
    "Call",
    "Operator",
    "elementwise",
    "indexing",
    "layers",
    "reductions",
    "resizing",
    "shapes",
    "windows",
]
