"""Operators of ONNX in torch: differentiable, vectorised, the same under `torch.func` and on any device."""

from tangency.models.onnx.operators import (
    activations,
    attention,
    convolutions,
    elementwise,
    indexing,
    linear,
    normalisation,
    pooling,
    reductions,
    resizing,
    shapes,
)
from tangency.models.onnx.operators.calls import OPERATORS, Call, Operator

__all__ = [
    "OPERATORS",
    "Call",
    "Operator",
    "activations",
    "attention",
    "convolutions",
    "elementwise",
    "indexing",
    "linear",
    "normalisation",
    "pooling",
    "reductions",
    "resizing",
    "shapes",
]
