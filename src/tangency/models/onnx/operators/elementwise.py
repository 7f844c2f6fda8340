"""Numbers to numbers, one by one: arithmetic, comparison, choice and change of type."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from tangency.models.onnx.operators.calls import Call, GraphError, operator

_UNARY: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "BitwiseNot": torch.bitwise_not,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
_BINARY: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}


def _unary(name: str) -> None:
    function = _UNARY[name]

    def apply(call: Call, x: Tensor) -> Tensor:
        return function(x)

    operator(name)(apply)


def _binary(name: str) -> None:
    function = _BINARY[name]

    def apply(call: Call, a: Tensor, b: Tensor) -> Tensor:
        return function(a, b)

    operator(name, together=True)(apply)


for _name in _UNARY:
    _unary(_name)
for _name in _BINARY:
    _binary(_name)


@operator("Div", together=True)
def divide(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """A quotient; of integers, the one next to zero."""
    return a / b if a.is_floating_point() or b.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Mod", together=True)
def remainder(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """With the sign of b, or of a where fmod is asked for."""
    return torch.fmod(a, b) if call.get("fmod") else torch.remainder(a, b)


@operator("Pow", together=True)
def power(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """a to the b, in a's type."""
    if a.is_floating_point() and b.is_floating_point():
        return torch.pow(a, b)
    exact = a if b.dtype == a.dtype or a.is_floating_point() else a.double()
    return torch.pow(exact, b).to(a.dtype)


@operator("BitShift", together=True)
def shift(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """Bits moved to the LEFT or the RIGHT."""
    moved = torch.bitwise_left_shift if call.get("direction") == "LEFT" else torch.bitwise_right_shift
    if a.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return moved(a.long(), b.long()).to(a.dtype)
    return moved(a, b)


def _folded(name: str, function: Any) -> None:
    def apply(call: Call, *inputs: Tensor) -> Tensor:
        return reduce(function, inputs)

    operator(name, together=True)(apply)


_folded("Sum", torch.add)
_folded("Max", torch.maximum)
_folded("Min", torch.minimum)


@operator("Mean", together=True)
def mean(call: Call, *inputs: Tensor) -> Tensor:
    """Of tensors, number by number."""
    return reduce(torch.add, inputs) / len(inputs)


@operator("Where", together=True)
def where(call: Call, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where the condition holds, else b."""
    return torch.where(condition, a, b)


@operator("Clip", together=True)
def clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Into [low, high], which were attributes up to opset 10; high wins where they cross."""
    if call.opset < 11:
        return x.clamp(call.get("min"), call.get("max")) if call.attributes else x
    x = x if low is None else torch.maximum(x, low.to(x.dtype).reshape(()))
    return x if high is None else torch.minimum(x, high.to(x.dtype).reshape(()))


@operator("IsInf")
def is_infinite(call: Call, x: Tensor) -> Tensor:
    """Of the signs that are asked about."""
    return (x == torch.inf) & bool(call.get("detect_positive", 1)) | (x == -torch.inf) & bool(
        call.get("detect_negative", 1)
    )


@operator("Identity")
def identity(call: Call, x: Tensor) -> Tensor:
    """Itself."""
    return x


@operator("Cast")
def cast(call: Call, x: Tensor) -> Tensor:
    """To another type of numbers."""
    to = call.get("to")
    return x.to(call.kind(int(to)))


@operator("CastLike")
def cast_like(call: Call, x: Tensor, other: Tensor) -> Tensor:
    """To the type of another tensor."""
    return x.to(other.dtype)


@operator("Dropout")
def dropout(call: Call, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Any:
    """Itself; where the graph says that it is being trained, it is refused."""
    if training is not None and bool(training) and (ratio is None or bool(ratio)):
        raise GraphError(
            "Dropout is in training mode, so that it draws random numbers. Export the network in eval mode."
        )
    return (x, torch.ones_like(x, dtype=torch.bool)) if call.outputs > 1 else x
