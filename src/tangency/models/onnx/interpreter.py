"""A simplified graph as a module: its nodes run one after the other, each by an operator of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tangency.errors import quoted
from tangency.models.onnx.edits import copied, opset_of, used_names
from tangency.models.onnx.operators import OPERATORS, Call
from tangency.models.onnx.operators.calls import KINDS, GraphError
from tangency.models.onnx.values import FLOATS, attributes, to_tensor

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

# Float inputs that are settings, not values: read as numbers, and left on the CPU.
_READ = {"Resize": (1, 2, 3), "Upsample": (1,), "Pad": (1, 2, 3), "Range": (0, 1, 2), "Clip": (1, 2), "Dropout": (1, 2)}
_STATISTICS = (3, 4)  # inputs of BatchNormalization that have no gradients
_LARGE = 64  # larger tensors of integers are buffers of the module, so that they move with it
_FAILURES = (RuntimeError, ValueError, IndexError, TypeError, KeyError, ZeroDivisionError, OverflowError)


@dataclass(frozen=True)
class _Operation:
    """One node: its call, its inputs and outputs, and the values that are not needed after it."""

    call: Call
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    done: tuple[str, ...] = ()
    branches: tuple[_Body, ...] = ()


@dataclass(frozen=True)
class _Body:
    """Nodes of a graph, in order, and the names of its outputs; `own` are constants of a branch."""

    operations: tuple[_Operation, ...]
    outputs: tuple[str, ...]
    own: dict[str, Tensor]

    def run(self, values: dict[str, Tensor], dtype: torch.dtype) -> list[Tensor]:
        values.update(self.own)
        for operation in self.operations:
            values.update(zip(operation.outputs, _results(operation, values, dtype), strict=False))
            for name in operation.done:
                values.pop(name, None)
        return [values[name] for name in self.outputs]


def _results(operation: _Operation, values: dict[str, Tensor], dtype: torch.dtype) -> Sequence[Tensor]:
    call = operation.call if dtype == operation.call.dtype else replace(operation.call, dtype=dtype)
    try:
        inputs = [values[name] if name else None for name in operation.inputs]
        if operation.branches:
            return operation.branches[0 if bool(inputs[0]) else 1].run(dict(values), dtype)
        result = OPERATORS[call.op](call, *inputs)
    except (GraphError, torch.OutOfMemoryError):
        raise
    except _FAILURES as error:
        raise GraphError(
            f"onnx: the node '{operation.name}' ({call.op}) cannot be computed: {quoted(error)}."
        ) from error
    return result if isinstance(result, (tuple, list)) else (result,)


class Interpreter(nn.Module):
    """A simplified graph with one input and one output.

    Args:
        model: of `without_weights`.
        weights: its tensors by name; None leaves them to be filled.
    """

    def __init__(self, model: ModelProto, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        graph = model.graph
        self.opset = opset_of(model)
        self.input = graph.input[0].name
        self.constants: dict[str, Tensor] = {}
        self.held: dict[str, str] = {}  # name in the graph to name of a parameter or buffer here
        statistics = {n.input[i] for n in graph.node if n.op_type == "BatchNormalization" for i in _STATISTICS}
        for index, proto in enumerate(graph.initializer):
            if proto.external_data:
                self._hold(proto, weights, proto.name in statistics)
                continue
            value = to_tensor(proto)
            if value.numel() > _LARGE and not value.is_floating_point():
                self.register_buffer(f"indices_{index}", value, persistent=False)
                self.held[proto.name] = f"indices_{index}"
            else:
                self.constants[proto.name] = value
        self.body = _body(graph, self.opset, frozenset(p.name for p in graph.initializer))

    def _hold(self, proto: TensorProto, weights: Mapping[str, Tensor] | None, statistic: bool) -> None:
        name = proto.external_data[0].value
        if proto.data_type not in KINDS or not name.isidentifier() or hasattr(self, name):
            raise GraphError(f"onnx: the weights '{proto.name}' do not belong to this graph; the file was altered.")
        value = torch.empty(*proto.dims, dtype=KINDS[proto.data_type]) if weights is None else weights[name]
        self.held[proto.name] = name
        if statistic:
            self.register_buffer(name, value)
        else:
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        """The output of the graph for its input."""
        values = {name: getattr(self, own) for name, own in self.held.items()}
        values |= self.constants
        values[self.input] = x
        return self.body.run(values, x.dtype)[0]


def _body(graph: GraphProto, opset: int, kept: frozenset[str]) -> _Body:
    """The nodes of a graph; the values `kept` are needed after their last use here."""
    needed = {value.name for value in graph.output} | kept
    operations: list[_Operation] = []
    made = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    for node in reversed(graph.node):
        done = tuple(sorted((used_names(node) | {n for n in node.output if n}) & made - needed))
        needed |= used_names(node)
        call = Call(node.op_type, opset, attributes(node), sum(map(bool, node.output)))
        branches = {attribute.name: attribute.g for attribute in node.attribute if attribute.HasField("g")}
        inner = tuple(_body(branches[name], opset, kept) for name in ("then_branch", "else_branch") if name in branches)
        label = node.name or (node.output[0] if node.output else "")
        operations.append(_Operation(call, tuple(node.input), tuple(node.output), label, done, inner))
    own = {proto.name: to_tensor(proto) for proto in graph.initializer} if graph.output and not kept else {}
    return _Body(tuple(reversed(operations)), tuple(value.name for value in graph.output), own)


def without_weights(model: ModelProto) -> tuple[ModelProto, dict[str, Tensor]]:
    """A copy of a model that only names its float tensors, and those tensors.

    Integers, single numbers, and floats that are settings (of Resize, Pad, …) stay in it.
    """
    light, weights = copied(model), {}
    uses: dict[str, list[bool]] = {}
    for node in light.graph.node:
        for i, name in enumerate(node.input):
            uses.setdefault(name, []).append(i in _READ.get(node.op_type, ()))
        for name in used_names(node) - set(node.input):
            uses.setdefault(name, []).append(False)
    for index, proto in enumerate(light.graph.initializer):
        if not proto.dims or KINDS.get(proto.data_type) not in FLOATS or all(uses.get(proto.name, [True])):
            continue
        weights[f"weight_{index}"] = to_tensor(proto)
        name, kind, dims = proto.name, proto.data_type, list(proto.dims)
        proto.Clear()
        proto.name, proto.data_type, proto.data_location = name, kind, proto.EXTERNAL
        proto.dims.extend(dims)
        proto.external_data.add(key="location", value=f"weight_{index}")
    return light, weights
