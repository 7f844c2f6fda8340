"""Numbers to numbers, one by one: arithmetic, comparison, choice, change of type, and the nonlinearities of layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.models.onnx.operators.calls import Call, GraphError, operator, operators

# Functions that torch has under the same name in lower case.
_UNARY = (
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Det Erf Exp Floor IsNaN Log Neg Reciprocal Relu Round Sigmoid "
    "Sign Sin Sinh Sqrt Tan Tanh"
)
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
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)

operators({name: getattr(torch, name.lower()) for name in _UNARY.split()}, call=False)
operators({"BitwiseNot": torch.bitwise_not, "Identity": lambda x: x, "Not": torch.logical_not}, call=False)
operators(_BINARY, together=True, call=False)
operators({"Where": torch.where, "PRelu": lambda x, slope: torch.where(x < 0, slope * x, x)}, together=True, call=False)
operators({"Mod": lambda call, a, b: (torch.fmod if call.get("fmod") else torch.remainder)(a, b)}, together=True)
operators(
    {
        "Max": lambda *inputs: reduce(torch.maximum, inputs),
        "Mean": lambda *inputs: reduce(torch.add, inputs) / len(inputs),
        "Min": lambda *inputs: reduce(torch.minimum, inputs),
        "Sum": lambda *inputs: reduce(torch.add, inputs),
    },
    together=True,
    call=False,
)
operators(
    {
        "Cast": lambda call, x: x.to(call.kind(int(call.get("to")))),
        "CastLike": lambda call, x, other: x.to(other.dtype),
        "Celu": lambda call, x: F.celu(x, call.get("alpha", 1.0)),
        "Elu": lambda call, x: F.elu(x, call.get("alpha", 1.0)),
        "Gelu": lambda call, x: F.gelu(x, approximate=call.get("approximate", "none")),
        "HardSigmoid": lambda call, x: (call.get("alpha", 0.2) * x + call.get("beta", 0.5)).clamp(0, 1),
        "HardSwish": lambda call, x: F.hardswish(x),
        "LeakyRelu": lambda call, x: F.leaky_relu(x, call.get("alpha", 0.01)),
        "LogSoftmax": lambda call, x: _over_classes(call, x, torch.log_softmax),
        "Mish": lambda call, x: F.mish(x),
        "Selu": lambda call, x: call.get("gamma", _SELU[1]) * F.elu(x, call.get("alpha", _SELU[0])),
        "Softmax": lambda call, x: _over_classes(call, x, torch.softmax),
        "Softplus": lambda call, x: torch.logaddexp(x, torch.zeros_like(x)),
        "Softsign": lambda call, x: F.softsign(x),
        "Swish": lambda call, x: x * (call.get("alpha", 1.0) * x).sigmoid(),
        "ThresholdedRelu": lambda call, x: torch.where(x > call.get("alpha", 1.0), x, torch.zeros_like(x)),
    }
)


@operator("Div", together=True)
def divide(call: Call, a: Tensor, b: Tensor) -> Tensor:
    """A quotient; that of integers is rounded towards zero."""
    return a / b if a.is_floating_point() or b.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


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


@operator("Clip", together=True)
def clip(call: Call, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Into [low, high], which were attributes up to opset 10; high wins where they cross."""
    if call.opset < 11:
        return x.clamp(call.get("min"), call.get("max")) if call.attributes else x
    x = x if low is None else torch.maximum(x, low.to(x.dtype).reshape(()))
    return x if high is None else torch.minimum(x, high.to(x.dtype).reshape(()))


@operator("IsInf")
def is_infinite(call: Call, x: Tensor) -> Tensor:
    """Of either sign, or of the one that the attributes leave on."""
    above, below = bool(call.get("detect_positive", 1)), bool(call.get("detect_negative", 1))
    return (x == torch.inf) & above | (x == -torch.inf) & below


@operator("Dropout")
def dropout(call: Call, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Any:
    """Itself; refused in training mode."""
    if training is not None and bool(training) and (ratio is None or bool(ratio)):
        raise GraphError(
            "Dropout is in training mode, so that it draws random numbers. Export the network in eval mode."
        )
    return (x, torch.ones_like(x, dtype=torch.bool)) if call.outputs > 1 else x


@operator("Shrink")
def shrink(call: Call, x: Tensor) -> Tensor:
    """x moved towards zero by `bias` beyond ±lambd, 0 between."""
    limit, bias = call.get("lambd", 0.5), call.get("bias", 0.0)
    zero = torch.zeros_like(x)
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, zero)).to(x.dtype)


def _over_classes(call: Call, x: Tensor, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    """A function along an axis; up to opset 12 along all axes from `axis` on, taken as one."""
    if call.opset >= 13:
        return function(x, call.get("axis", -1))
    rows = math.prod(x.shape[: call.get("axis", 1) % x.dim()])
    return function(x.reshape(rows, -1), 1).reshape(x.shape)


@operator("Hardmax")
def hardmax(call: Call, x: Tensor) -> Tensor:
    """1 at the first largest, else 0."""

    def first_largest(flat: Tensor, axis: int) -> Tensor:
        shape = [1] * flat.dim()
        shape[axis] = -1
        places = torch.arange(flat.shape[axis], device=x.device).reshape(shape)
        return (flat.argmax(axis, keepdim=True) == places).to(x.dtype)

    return _over_classes(call, x, first_largest)
