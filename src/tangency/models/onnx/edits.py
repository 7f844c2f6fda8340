"""Edits that make logits of a batch of a graph: its last softmax taken off, its batch free."""

from __future__ import annotations

from typing import Any

import numpy as np

from tangency.models.onnx.program import used_names

_PASSED = ("Identity", "Cast", "Flatten", "Squeeze", "Reshape")
_ENDINGS = ("Softmax", "LogSoftmax", "Sigmoid")


def copied(model: Any) -> Any:
    """A copy of a protobuf."""
    other = type(model)()
    other.CopyFrom(model)
    return other


def constants(graph: Any) -> dict[str, np.ndarray]:
    """Values that are known before any image is seen: initializers and Constant nodes."""
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            found |= {} if value is None else {node.output[0]: numpy_helper.to_array(value)}
    return found


def last(graph: Any, output: str) -> Any:
    """The softmax or sigmoid over classes that makes an output, which nothing else reads; None where there is none."""
    made_by = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in used_names(node):
            readers[name] = readers.get(name, 0) + 1
    node, moved, at = made_by.get(output), False, output
    while node is not None and readers.get(at, 0) == (at != output) and node.op_type in _PASSED and node.input:
        moved = moved or node.op_type not in ("Identity", "Cast")
        at = node.input[0]
        node = made_by.get(at)
    if node is None or node.op_type not in _ENDINGS or readers.get(at, 0) != (at != output):
        return None
    axis = next((a.i for a in node.attribute if a.name == "axis"), None)
    over_classes = axis in (None, 1) or (axis == -1 and not moved)
    return node if node.op_type == "Sigmoid" or over_classes else None


def ending(graph: Any, output: str) -> str:
    """Its name, or nothing."""
    node = last(graph, output)
    return "" if node is None else str(node.op_type)


def without_ending(model: Any, output: str) -> Any:
    """A copy of a model whose last softmax or sigmoid passes logits on."""
    model = copied(model)
    node = last(model.graph, output)
    node.op_type = "Identity"
    del node.attribute[:]
    return model


def with_output(model: Any, name: str) -> Any:
    """A copy of a model that returns one output; what only the others need is not computed."""
    model = copied(model)
    wanted = next(value for value in model.graph.output if value.name == name)
    kept = copied(wanted)
    del model.graph.output[:]
    model.graph.output.append(kept)
    return model


def with_free_batch(model: Any, batch: int) -> Any:
    """A copy of a model of a fixed batch that takes any: its shapes say N, and reshapes to (batch, …) keep theirs."""
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
        # 0 keeps the axis of what is reshaped.
        name = f"{node.input[1]}_of_any_batch_{node.output[0]}"
        free.graph.initializer.append(numpy_helper.from_array(np.concatenate(([0], target[1:])).astype(np.int64), name))
        node.input[1] = name
        for one in [one for one in node.attribute if one.name == "allowzero"]:
            node.attribute.remove(one)
    return free
