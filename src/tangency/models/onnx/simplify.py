"""Graphs simplified: functions inlined, constants computed, unused nodes removed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tangency.errors import ModelError, listed
from tangency.models.onnx.edits import copied, opset_of, subgraphs, used_names
from tangency.models.onnx.operators import OPERATORS, Call
from tangency.models.onnx.operators.calls import GraphError
from tangency.models.onnx.reading import onnx_package
from tangency.models.onnx.values import attributes, limited, to_proto, to_tensor

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TypeProto

_OLDEST = 7
_NEWEST = 28  # every form of an operator up to this opset is computed as specified, or refused
_FOLDED = 256 << 20  # largest result, in bytes, that is computed in advance
_KNOWN = ("", "ai.onnx")
_OURS = "tangency.written_out"
_ROUNDS = 4  # of functions within functions
_QUANTISED = ("QLinear", "QuantizeLinear", "DequantizeLinear", "Integer", "QAttention", "QGemm")
_FLOW = ("Loop", "Scan", "Sequence", "Optional", "SplitToSequence", "ConcatFromSequence")


def written_out(model: ModelProto) -> ModelProto:
    """The model with its own functions inlined.

    Raises:
        GraphError: an opset before 7, whose axes of additions onnx's own converter loses, or one newer than those
            of the installed onnx.
    """
    onnx = onnx_package("onnx")
    opset, newest = opset_of(model), onnx.defs.onnx_opset_version()
    if opset < _OLDEST:
        raise GraphError(
            f"it is of opset {opset}, expected {_OLDEST} (of 2018) or later: before, broadcasting was said in another "
            "way. Export the network again, or give it as state_dict:, timm: or hf:."
        )
    if opset > newest:
        raise GraphError(
            f"it is of opset {opset}, expected at most {newest}, the newest that the installed onnx knows: pip install "
            "--upgrade onnx, or export the network with an older opset."
        )
    return onnx.inliner.inline_local_functions(model, convert_version=True) if model.functions else model


def simplified(model: ModelProto, path: Path | str) -> ModelProto:
    """A model of operators that are known here, with constants computed.

    Args:
        model: of `written_out`, with one output.
        path: for errors.

    Raises:
        ModelError: an operator is not known here.
    """
    model = _folded(_by_definition(model))
    _check(model, path)
    return model


def _by_definition(model: ModelProto) -> ModelProto:
    """The model with operators that are not known here replaced by onnx's own definition of them."""
    onnx = onnx_package("onnx")
    for _ in range(_ROUNDS):
        definitions: dict[str, FunctionProto] = {}
        other, types = copied(model), None
        for node in other.graph.node:
            if node.domain not in _KNOWN or node.op_type in OPERATORS or node.op_type in ("If", "Constant"):
                continue
            if any(kind in node.op_type for kind in _QUANTISED):
                continue  # refused later under its own name
            types = types or _types(onnx, model)
            function = _definition(onnx, node, opset_of(model), types)
            if function is not None:
                function.domain, function.name = _OURS, f"{node.op_type}_{len(definitions)}"
                function.ClearField("overload")
                definitions[function.name] = function
                node.domain, node.op_type = _OURS, function.name
        if not definitions:
            return model
        other.functions.extend(definitions.values())
        other.opset_import.append(onnx.helper.make_opsetid(_OURS, 1))
        model = onnx.inliner.inline_local_functions(other, convert_version=True)
    return model


def _types(onnx: ModuleType, model: ModelProto) -> dict[str, TypeProto]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = {v.name: v.type for v in (*inferred.input, *inferred.value_info, *inferred.output)}
    for tensor in inferred.initializer:
        values[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    return values


def _definition(onnx: ModuleType, node: NodeProto, opset: int, types: dict[str, TypeProto]) -> FunctionProto | None:
    """The function by which onnx defines an operator, or None."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    if schema.has_function:
        data = schema.get_function_with_opset_version(opset_for(schema.function_opset_versions, opset))
    elif schema.has_context_dependent_function:
        given = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
        version = opset_for(schema.context_dependent_function_opset_versions, opset)
        data = schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), given)
    else:
        return None
    return onnx.FunctionProto.FromString(data)


def opset_for(versions: list[int], opset: int) -> int:
    """The newest version that is not newer than an opset, or the oldest."""
    return max([v for v in versions if v <= opset], default=min(versions))


def _rename(node: NodeProto, names: dict[str, str]) -> None:
    """Give the inputs of a node, and of the nodes of its branches, their new names."""
    node.input[:] = [names.get(name, name) for name in node.input]
    for graph in subgraphs(node):
        for inner in graph.node:
            _rename(inner, names)
        for value in graph.output:
            value.name = names.get(value.name, value.name)


def _branch(node: NodeProto, taken: bool) -> list[NodeProto]:
    """Nodes of the branch of an If that is taken, under names of their own, and copies of its results."""
    from onnx import helper

    name = "then_branch" if taken else "else_branch"
    graph = next(attribute.g for attribute in node.attribute if attribute.name == name)
    own = {name for inner in graph.node for name in inner.output if name} | {t.name for t in graph.initializer}
    names = {name: f"{node.output[0]}/{name}" for name in own}
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    for inner in graph.node:
        _rename(inner, names)
        inner.output[:] = [names.get(name, name) for name in inner.output]
    return [
        *(helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in graph.initializer),
        *graph.node,
        *(
            helper.make_node("Identity", [names.get(source.name, source.name)], [target])
            for source, target in zip(graph.output, node.output, strict=True)
        ),
    ]


class _Folding:
    """Values that are known before any image is seen, and other names of values."""

    def __init__(self, model: ModelProto) -> None:
        self.protos = {tensor.name: tensor for tensor in model.graph.initializer}
        self.made: dict[str, Tensor] = {}
        self.names: dict[str, str] = {}
        self.opset = opset_of(model)
        self.outputs = {value.name for value in model.graph.output}

    def knows(self, name: str) -> bool:
        return name in self.made or name in self.protos

    def value(self, name: str) -> Tensor | None:
        if not name:
            return None
        return self.made[name] if name in self.made else to_tensor(self.protos[name])

    def step(self, node: NodeProto) -> list[NodeProto] | None:
        """The nodes that replace one, none for a known value; None keeps the node."""
        _rename(node, self.names)
        if node.domain not in _KNOWN:
            return None
        if node.op_type == "Constant":
            return [] if self._constant(node) else None
        if node.op_type == "Identity" and node.output[0] not in self.outputs:
            self.names[node.output[0]] = node.input[0]
            return []
        if node.op_type == "If" and self.knows(node.input[0]):
            return _branch(node, bool(self.value(node.input[0])))
        known = node.op_type in OPERATORS and node.input and all(self.knows(n) for n in node.input if n)
        return [] if known and not self.outputs & set(node.output) and self._computed(node) else None

    def _constant(self, node: NodeProto) -> bool:
        for name, value in attributes(node).items():
            if name == "value":
                self.made[node.output[0]] = value
            elif name in ("value_float", "value_floats", "value_int", "value_ints"):
                kind = torch.float32 if "float" in name else torch.int64
                self.made[node.output[0]] = torch.tensor(value, dtype=kind)
        return node.output[0] in self.made

    def _computed(self, node: NodeProto) -> bool:
        call = Call(node.op_type, self.opset, attributes(node), sum(map(bool, node.output)))
        try:
            with torch.no_grad(), limited(_FOLDED):
                result = OPERATORS[node.op_type](call, *map(self.value, node.input))
        except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
            return False  # reported with its name when it is run
        self.made.update(zip(node.output, result if isinstance(result, tuple) else (result,), strict=False))
        return True


def _folded(model: ModelProto) -> ModelProto:
    """A copy with constants computed, branches chosen, and without nodes that do not reach the output."""
    other, folding = copied(model), _Folding(model)
    waiting, kept = deque(other.graph.node), []
    while waiting:
        node = waiting.popleft()
        replacement = folding.step(node)
        if replacement is None:
            kept.append(node)
        else:
            waiting.extendleft(reversed(replacement))
    used, needed = {value.name for value in other.graph.output}, []
    for node in reversed(kept):
        if used & set(node.output):
            used |= used_names(node)
            needed.append(node)
    graph = type(other.graph)(name=other.graph.name, output=other.graph.output)
    graph.node.extend(reversed(needed))
    graph.initializer.extend(proto for name, proto in folding.protos.items() if name in used)
    graph.initializer.extend(to_proto(value, name) for name, value in folding.made.items() if name in used)
    graph.input.extend(value for value in other.graph.input if value.name not in folding.protos)
    other.graph.CopyFrom(graph)
    return other


def _all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from _all_nodes(inner)


def _check(model: ModelProto, path: Path | str) -> None:
    """Refuse operators that are not known here, or in a newer form, by name and with the way out."""
    unknown, opset = set(), opset_of(model)
    for node in _all_nodes(model.graph):
        if node.domain not in _KNOWN:
            unknown.add(f"{node.domain}.{node.op_type}")
        elif node.op_type not in OPERATORS and node.op_type != "If":
            unknown.add(node.op_type)
        elif opset > _NEWEST and onnx_package(path).defs.get_schema(node.op_type, opset, "").since_version > _NEWEST:
            unknown.add(f"{node.op_type} as of opset {opset}")
    if not unknown:
        return
    names, ways = sorted(unknown), []
    if any("as of opset" in name for name in names):
        ways.append(f"Forms up to opset {_NEWEST} are known: export it with opset_version={_NEWEST}, or an older one.")
    if any(kind in name for name in names for kind in _QUANTISED):
        ways.append("It is quantised, and integers have no gradients: give the network from before quantisation.")
    if any(name.startswith(("com.microsoft", "ai.onnx.contrib", "com.ms")) for name in names):
        ways.append("onnxruntime writes such operators when it saves its own optimisation: give the file from before.")
    if any(name.startswith(_FLOW) for name in names):
        ways.append("Loops and lists are not followed: export it for images of one size, so that they are written out.")
    ways.append("Else give the network as state_dict:, timm:, hf:, export: or torchscript:.")
    raise ModelError(f"{path}: operators that are not known here: {listed(names, 8)}. {' '.join(ways)}")
