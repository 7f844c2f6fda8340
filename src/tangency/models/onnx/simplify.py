"""A graph made plain: functions written out, what is known before any image computed, what nobody needs left out."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangency.errors import ModelError
from tangency.models.onnx.operators import OPERATORS, Call
from tangency.models.onnx.operators.calls import GraphError
from tangency.models.onnx.program import opset_of, used_names
from tangency.models.onnx.reading import onnx_package
from tangency.models.onnx.values import attributes, limited, to_proto, to_tensor

_OLDEST = 7
_NEWEST = 28  # every form that an operator has had up to this opset is computed as it is meant, or refused
_FOLDED = 256 << 20  # bytes of one result that is computed ahead
_KNOWN = ("", "ai.onnx")
_OURS = "tangency.written_out"
_ROUNDS = 4  # of functions within functions
_QUANTISED = ("QLinear", "QuantizeLinear", "DequantizeLinear", "Integer", "QAttention", "QGemm")
_FLOW = ("Loop", "Scan", "Sequence", "Optional", "SplitToSequence", "ConcatFromSequence")


def written_out(model: Any) -> Any:
    """A copy of a model with its own functions in place of their names.

    Raises:
        GraphError: an opset before 7, of which onnx's own converter loses the axes of additions, or one after those
            that the installed onnx knows.
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


def simplified(model: Any, path: Path | str) -> Any:
    """A model of operators that are known here, with constants computed.

    Args:
        model: of `written_out`, with one output.
        path: for errors.

    Raises:
        ModelError: an operator is not known here.
    """
    model = _by_definition(model)
    model = _folded(model)
    _check(model, path)
    return model


def _by_definition(model: Any) -> Any:
    """Operators that are not known here but are defined by others, as those."""
    onnx = onnx_package("onnx")
    for _ in range(_ROUNDS):
        found: dict[str, Any] = {}
        opset = opset_of(model)
        other = type(model)()
        other.CopyFrom(model)
        types = None
        for node in other.graph.node:
            if node.domain not in _KNOWN or node.op_type in OPERATORS or node.op_type in ("If", "Constant"):
                continue
            if any(kind in node.op_type for kind in _QUANTISED):
                continue  # told by its own name
            if types is None:
                types = _types(onnx, model)
            function = _definition(onnx, node, opset, types)
            if function is not None:
                function.domain, function.name = _OURS, f"{node.op_type}_{len(found)}"
                function.ClearField("overload")
                found[function.name] = function
                node.domain, node.op_type = _OURS, function.name
        if not found:
            return model
        other.functions.extend(found.values())
        other.opset_import.append(onnx.helper.make_opsetid(_OURS, 1))
        model = onnx.inliner.inline_local_functions(other, convert_version=True)
    return model


def _types(onnx: Any, model: Any) -> dict[str, Any]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = {v.name: v.type for v in (*inferred.input, *inferred.value_info, *inferred.output)}
    for tensor in inferred.initializer:
        values[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    return values


def _definition(onnx: Any, node: Any, opset: int, types: dict[str, Any]) -> Any:
    """The function that onnx defines an operator by, or None."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None
    found = onnx.FunctionProto()
    if schema.has_function:
        found.ParseFromString(schema.get_function_with_opset_version(opset_for(schema.function_opset_versions, opset)))
        return found
    if schema.has_context_dependent_function:
        given = [types.get(name, onnx.TypeProto()).SerializeToString() for name in node.input]
        version = opset_for(schema.context_dependent_function_opset_versions, opset)
        found.ParseFromString(
            schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), given)
        )
        return found
    return None


def opset_for(versions: list[int], opset: int) -> int:
    """The newest version that is not newer than an opset, or the oldest."""
    return max([v for v in versions if v <= opset], default=min(versions))


def _renamed(node: Any, names: dict[str, str]) -> None:
    """Inputs of a node, and of the nodes of its branches, by other names."""
    for i, name in enumerate(node.input):
        node.input[i] = names.get(name, name)
    for one in node.attribute:
        if one.HasField("g"):
            for inner in one.g.node:
                _renamed(inner, names)
            for value in one.g.output:
                value.name = names.get(value.name, value.name)


def _branch(node: Any, taken: bool) -> list[Any]:
    """Nodes of the branch of an If that is taken, under names of their own, and what hands its results on."""
    from onnx import helper

    wanted = "then_branch" if taken else "else_branch"
    graph = next(one.g for one in node.attribute if one.name == wanted)
    own = {name for inner in graph.node for name in inner.output if name} | {t.name for t in graph.initializer}
    names = {name: f"{node.output[0]}/{name}" for name in own}
    found = []
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
        found.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
    for inner in graph.node:
        _renamed(inner, names)
        inner.output[:] = [names.get(name, name) for name in inner.output]
        found.append(inner)
    for source, target in zip(graph.output, node.output, strict=True):
        found.append(helper.make_node("Identity", [names.get(source.name, source.name)], [target]))
    return found


class _Folding:
    """Values that are known before any image is seen, and other names of values."""

    def __init__(self, model: Any) -> None:
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

    def step(self, node: Any) -> list[Any] | None:
        """Nodes in place of one: others to look at, or none; None keeps it."""
        _renamed(node, self.names)
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

    def _constant(self, node: Any) -> bool:
        found = attributes(node)
        for name, value in found.items():
            if name == "value":
                self.made[node.output[0]] = value
            elif name in ("value_float", "value_floats"):
                self.made[node.output[0]] = torch.tensor(value, dtype=torch.float32)
            elif name in ("value_int", "value_ints"):
                self.made[node.output[0]] = torch.tensor(value, dtype=torch.int64)
        return node.output[0] in self.made

    def _computed(self, node: Any) -> bool:
        call = Call(node.op_type, self.opset, attributes(node), sum(map(bool, node.output)))
        try:
            with torch.no_grad(), limited(_FOLDED):
                found = OPERATORS[node.op_type](call, *map(self.value, node.input))
        except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):
            return False  # told, with its name, when it is run
        for name, value in zip(node.output, found if isinstance(found, tuple) else (found,), strict=False):
            self.made[name] = value
        return True


def _folded(model: Any) -> Any:
    """A copy with constants computed, branches chosen, and without what does not reach the output."""
    other, folding = type(model)(), _Folding(model)
    other.CopyFrom(model)
    waiting, kept = deque(other.graph.node), []
    while waiting:
        node = waiting.popleft()
        found = folding.step(node)
        if found is None:
            kept.append(node)
        else:
            waiting.extendleft(reversed(found))
    kept = _needed(kept, {value.name for value in other.graph.output})
    read = {name for node in kept for name in used_names(node)} | {value.name for value in other.graph.output}
    constants = [folding.protos[name] for name in folding.protos if name in read]
    constants += [to_proto(value, name) for name, value in folding.made.items() if name in read]
    inputs = [value for value in other.graph.input if value.name not in folding.protos]
    graph = type(other.graph)(name=other.graph.name, output=other.graph.output)
    graph.node.extend(kept)
    graph.initializer.extend(constants)
    graph.input.extend(inputs)
    other.graph.CopyFrom(graph)
    return other


def _needed(nodes: list[Any], outputs: set[str]) -> list[Any]:
    wanted, found = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= used_names(node)
            found.append(node)
    return found[::-1]


def _all_nodes(graph: Any) -> Any:
    for node in graph.node:
        yield node
        for one in node.attribute:
            if one.HasField("g"):
                yield from _all_nodes(one.g)


def _check(model: Any, path: Path | str) -> None:
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
    names = sorted(unknown)
    ways = [f"Forms up to opset {_NEWEST} are known: export it with opset_version={_NEWEST}, or an older one."]
    ways = ways if any("as of opset" in name for name in names) else []
    if any(kind in name for name in names for kind in _QUANTISED):
        ways.append("It is quantised, and integers have no gradients: give the network from before quantisation.")
    if any(name.startswith(("com.microsoft", "ai.onnx.contrib", "com.ms")) for name in names):
        ways.append("onnxruntime writes such operators when it saves its own optimisation: give the file from before.")
    if any(name.startswith(_FLOW) for name in names):
        ways.append("Loops and lists are not followed: export it for images of one size, so that they are written out.")
    ways.append("Else give the network as state_dict:, timm:, hf:, export: or torchscript:.")
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    raise ModelError(f"{path}: operators that are not known here: {shown}. {' '.join(ways)}")
