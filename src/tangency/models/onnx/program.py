"""A simplified graph as a module: its nodes one after the other, each by an operator of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import quoted
from tangency.models.onnx.operators import OPERATORS, Call
from tangency.models.onnx.operators.calls import KINDS, GraphError
from tangency.models.onnx.values import FLOATS, attributes, to_tensor

# Float inputs that say how, not what: read as numbers, and left on the CPU.
_READ = {"Resize": (1, 2, 3), "Upsample": (1,), "Pad": (1, 2, 3), "Range": (0, 1, 2), "Clip": (1, 2), "Dropout": (1, 2)}
_STATISTICS = (3, 4)  # inputs of BatchNormalization that no training changes by gradients
_LARGE = 64  # integers beyond this many travel with the module, as indices do
_FAILURES = (RuntimeError, ValueError, IndexError, TypeError, KeyError, ZeroDivisionError, OverflowError)


@dataclass(frozen=True)
class _Step:
    """One node: what it is called with, and what is not needed after it."""

    call: Call
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    done: tuple[str, ...] = ()
    branches: tuple[Any, ...] = ()


@dataclass(frozen=True)
class _Body:
    """Nodes of a graph, in order, and the names of what it returns; `own` are constants of a branch."""

    steps: tuple[_Step, ...]
    outputs: tuple[str, ...]
    own: dict[str, Tensor]

    def run(self, values: dict[str, Tensor], dtype: torch.dtype) -> list[Tensor]:
        values.update(self.own)
        for step in self.steps:
            values.update(zip(step.outputs, _made(step, values, dtype), strict=False))
            for name in step.done:
                values.pop(name, None)
        return [values[name] for name in self.outputs]


def _made(step: _Step, values: dict[str, Tensor], dtype: torch.dtype) -> Any:
    call = step.call if dtype == step.call.dtype else replace(step.call, dtype=dtype)
    try:
        inputs = [values[name] if name else None for name in step.inputs]
        if step.branches:
            chosen = step.branches[0 if bool(inputs[0]) else 1]
            return chosen.run(dict(values), dtype)
        found = OPERATORS[call.op](call, *inputs)
    except (GraphError, torch.OutOfMemoryError):
        raise
    except _FAILURES as error:
        raise GraphError(f"onnx: the node '{step.name}' ({call.op}) cannot be computed: {quoted(error)}.") from error
    return found if isinstance(found, (tuple, list)) else (found,)


class Program(nn.Module):
    """A simplified graph with one input and one output.

    Args:
        model: of `without_weights`.
        weights: its tensors by the names that it has for them; None leaves them to be filled.
    """

    def __init__(self, model: Any, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        graph = model.graph
        self.opset = opset_of(model)
        self.input = graph.input[0].name
        self.constants: dict[str, Tensor] = {}
        self.held: dict[str, str] = {}  # the graph's names of what this module holds, and its own
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

    def _hold(self, proto: Any, weights: Mapping[str, Tensor] | None, statistic: bool) -> None:
        name = proto.external_data[0].value
        if proto.data_type not in KINDS or not name.isidentifier() or hasattr(self, name):
            raise GraphError(f"onnx: the weights '{proto.name}' are none that this graph could have; it was altered.")
        value = torch.empty(*proto.dims, dtype=KINDS[proto.data_type]) if weights is None else weights[name]
        self.held[proto.name] = name
        if statistic:
            self.register_buffer(name, value)
        else:
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, x: Tensor) -> Tensor:
        """What the graph returns for its input."""
        values = {name: getattr(self, own) for name, own in self.held.items()}
        values |= self.constants
        values[self.input] = x
        return self.body.run(values, x.dtype)[0]


def opset_of(model: Any) -> int:
    """The version of ONNX's own operators that a model names."""
    return max([int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx")], default=1)


def used_names(node: Any) -> set[str]:
    """Values that a node reads, in its branches as well."""
    found = set(node.input)
    for one in node.attribute:
        if one.HasField("g"):
            found |= {name for inner in one.g.node for name in used_names(inner)} | {o.name for o in one.g.output}
    return found - {""}


def _body(graph: Any, opset: int, kept: frozenset[str]) -> _Body:
    """The nodes of a graph; `kept` are values that outlive their last use here."""
    needed = {value.name for value in graph.output} | kept
    steps: list[_Step] = []
    made = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    for node in reversed(graph.node):
        done = tuple(sorted((used_names(node) | {n for n in node.output if n}) & made - needed))
        needed |= used_names(node)
        call = Call(node.op_type, opset, attributes(node), sum(map(bool, node.output)))
        branches = {one.name: one.g for one in node.attribute if one.HasField("g")}
        inner = tuple(_body(branches[name], opset, kept) for name in ("then_branch", "else_branch") if name in branches)
        label = node.name or (node.output[0] if node.output else "")
        steps.append(_Step(call, tuple(node.input), tuple(node.output), label, done, inner))
    own = {proto.name: to_tensor(proto) for proto in graph.initializer} if graph.output and not kept else {}
    return _Body(tuple(reversed(steps)), tuple(value.name for value in graph.output), own)


def without_weights(model: Any) -> tuple[Any, dict[str, Tensor]]:
    """A copy of a model in which tensors of floats are but named, and those tensors.

    Integers, single numbers, and floats that only say how (of Resize, Pad, …) stay in it.
    """
    from onnx import TensorProto

    light, weights = type(model)(), {}
    light.CopyFrom(model)
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
        named = TensorProto(name=proto.name, data_type=proto.data_type, dims=list(proto.dims))
        named.data_location = TensorProto.EXTERNAL
        entry = named.external_data.add()
        entry.key, entry.value = "location", f"weight_{index}"
        proto.CopyFrom(named)
    return light, weights
