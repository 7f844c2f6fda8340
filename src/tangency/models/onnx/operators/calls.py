"""The table of operators, and what one is called with.

Tensors of images and weights lie on the module's device; integers that describe shapes stay on the CPU, where they are
read. Where an operator takes both, the latter move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from tangency.errors import ModelError


class GraphError(ModelError, RuntimeError):
    """A graph uses something unsupported or impossible; a RuntimeError, like the errors of torch's own operators."""


@dataclass(frozen=True)
class Call:
    """One use of an operator.

    Args:
        op: its name.
        opset: version of the operator.
        attributes: by name, as numbers, strings, lists of them, or arrays.
        outputs: how many are used.
        dtype: in which the module computes; it replaces float32 of the graph.
    """

    op: str
    opset: int
    attributes: dict[str, Any]
    outputs: int = 1
    dtype: torch.dtype = torch.float32

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(name, default)

    def kind(self, number: int) -> torch.dtype:
        """The dtype of torch for one of ONNX; float32 is replaced by the dtype in which the module computes."""
        if number == _FLOAT:
            return self.dtype
        if number not in KINDS:
            raise GraphError(f"{self.op}: numbers of ONNX type {number} are not computed with here, expected floats.")
        return KINDS[number]


Operator = Callable[..., Any]  # (call, *inputs) to a tensor or a tuple of them
Function = TypeVar("Function", bound=Operator)

_FLOAT = 1
KINDS = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    16: torch.bfloat16,
}
OPERATORS: dict[str, Operator] = {}


def operator(*names: str, together: bool = False) -> Callable[[Function], Function]:
    """Register a function as operators of these names; `together` brings its inputs to one device."""

    def register(function: Function) -> Function:
        operators(dict.fromkeys(names, function), together=together)
        return function

    return register


def operators(table: Mapping[str, Operator], *, together: bool = False, call: bool = True) -> None:
    """Register functions by name.

    Args:
        table: name to function (call, *inputs).
        together: whether inputs are brought to one device.
        call: whether the functions take the `Call`; False for functions of the inputs alone.
    """
    OPERATORS.update({name: _adapted(function, together, call) for name, function in table.items()})


def _adapted(function: Operator, together: bool, call: bool) -> Operator:
    def run(use: Call, *inputs: Tensor | None) -> Any:
        placed = on_one_device(inputs) if together else inputs
        return function(use, *placed) if call else function(*placed)

    return run if together or not call else function


def on_one_device(inputs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """The same tensors, those of the CPU where another one is; numbers without axes may stay."""
    devices = {value.device for value in inputs if value is not None}
    if len(devices) < 2:
        return inputs
    target = next(device for device in devices if device.type != "cpu")
    return [value if value is None or value.dim() == 0 else value.to(target) for value in inputs]


def ints(call: Call, name: str, value: Tensor | None = None, default: Sequence[int] | None = None) -> list[int] | None:
    """Integers that are an attribute in old opsets and an input in newer ones."""
    if value is not None:
        return [int(one) for one in value.reshape(-1).tolist()]
    values = call.get(name, default)
    return None if values is None else [int(one) for one in values]


def axes_of(axes: Sequence[int], dims: int) -> list[int]:
    """Axes counted from the front; one that is not there is refused."""
    if any(not -dims <= axis < max(dims, 1) for axis in axes):
        raise GraphError(f"axes {list(axes)} of a tensor of {dims} axes.")
    return [axis % dims if dims else 0 for axis in axes]
