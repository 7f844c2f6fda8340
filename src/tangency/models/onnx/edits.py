"""Edits of a graph: its last softmax removed, one output kept, its batch size made free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Proto = TypeVar("Proto")

_PASSED = ("Identity", "Cast", "Flatten", "Squeeze", "Reshape")
_ENDINGS = ("Softmax", "LogSoftmax", "Sigmoid")


def copied(proto: Proto) -> Proto:
    """A copy of a protobuf."""
    other = type(proto)()
    other.CopyFrom(proto)  # type: ignore[attr-defined]  # of every protobuf
    return other


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators that a model uses."""
    return max([int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx")], default=1)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs among the attributes of a node: branches, and bodies of loops."""
    return (attribute.g for attribute in node.attribute if attribute.HasField("g"))


def used_names(node: NodeProto) -> set[str]:
    """Values that a node reads, in its subgraphs as well."""
    names = set(node.input)
    for graph in subgraphs(node):
        names |= {name for inner in graph.node for name in used_names(inner)} | {value.name for value in graph.output}
    return names - {""}


def constants(graph: GraphProto) -> dict[str, np.ndarray]:
    """Values that are known before any image is seen: initializers and Constant nodes."""
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            tensors.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}


def last(graph: GraphProto, output: str) -> NodeProto | None:
    """The softmax or sigmoid over classes whose result is the output alone; None where there is none."""
    made_by = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in used_names(node))
    node, moved, at = made_by.get(output), False, output
    while node is not None and readers[at] == (at != output) and node.op_type in _PASSED and node.input:
        moved = moved or node.op_type not in ("Identity", "Cast")
        at = node.input[0]
        node = made_by.get(at)
    if node is None or node.op_type not in _ENDINGS or readers[at] != (at != output):
        return None
    axis = next((a.i for a in node.attribute if a.name == "axis"), None)
    over_classes = axis in (None, 1) or (axis == -1 and not moved)
    return node if node.op_type == "Sigmoid" or over_classes else None


def ending(graph: GraphProto, output: str) -> str:
    """The name of the operator `last`, "" where there is none."""
    node = last(graph, output)
    return "" if node is None else str(node.op_type)


def without_ending(model: ModelProto, output: str) -> ModelProto:
    """A copy of a model without its last softmax or sigmoid."""
    model = copied(model)
    if (node := last(model.graph, output)) is not None:
        node.op_type = "Identity"
        del node.attribute[:]
    return model


def with_output(model: ModelProto, name: str) -> ModelProto:
    """A copy of a model that returns one output; what only the others need is not computed."""
    model = copied(model)
    kept = next(copied(value) for value in model.graph.output if value.name == name)
    del model.graph.output[:]
    model.graph.output.append(kept)
    return model


def with_free_batch(model: ModelProto, batch: int) -> ModelProto:
    """A copy of a model of a fixed batch size that takes any; reshapes to (batch, …) keep the size that they get."""
    from onnx import numpy_helper

    free = copied(model)
    for value in (*free.graph.input, *free.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del free.graph.value_info[:]
    known = {tensor.name: tensor for tensor in free.graph.initializer}
    for node in free.graph.node:
        tensor = known.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) > 1 else None
        target = None if tensor is None else numpy_helper.to_array(tensor)
        if target is None or target.size < 2 or target[0] != batch or (target == 0).any():
            continue
        # 0 keeps the axis of the input.
        name = f"{node.input[1]}_of_any_batch_{node.output[0]}"
        free.graph.initializer.append(numpy_helper.from_array(np.concatenate(([0], target[1:])).astype(np.int64), name))
        node.input[1] = name
        for one in [one for one in node.attribute if one.name == "allowzero"]:
            node.attribute.remove(one)
    return free
