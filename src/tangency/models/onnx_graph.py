"""ONNX graphs as they come: what they are fed, what they return, and the edits that make logits of a batch of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tangency.data.opening import read_bytes, refuse_foreign
from tangency.errors import DataError, ModelError, TangencyError, listed

_EXPECTED = "a network in ONNX"
_MOVES = ("Transpose", "Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Cast", "Dropout")
_AFFINE = ("Sub", "Add", "Mul", "Div")


@dataclass(frozen=True)
class Affine:
    """Normalisation that a graph begins with: (x − mean) / std, per channel or one for all.

    Args:
        mean, std: in units of what the graph is fed; empty where batch normalisation hides them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def input_range(self) -> tuple[float, float] | None:
        """What it calls black and white: (0, 255) where a mean or std exceeds 1.5, else (0, 1); None if hidden."""
        if not self.mean:
            return None
        return (0.0, 255.0) if max(*self.mean, *self.std) > 1.5 else (0.0, 1.0)


@dataclass(frozen=True)
class Graph:
    """An ONNX network with one image input.

    Args:
        model: the protobuf.
        input_name, output_name: of the tensors.
        dims: of the input behind the batch axis; None for one that is not fixed.
        batch: fixed batch size, None where it is free.
        ending: "Softmax", "LogSoftmax", "Sigmoid" or "" for the last operation.
        inside: the normalisation that it begins with, None where there is none.
    """

    model: Any
    input_name: str
    output_name: str
    dims: tuple[int | None, ...]
    batch: int | None
    ending: str
    inside: Affine | None


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Whatever a converter raises over a graph that passed onnx's checker becomes a ModelError."""
    try:
        yield
    except TangencyError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{path}: the graph cannot be converted ({type(error).__name__}: {reason}); expected {_EXPECTED}. It may "
            "be damaged: export it again."
        ) from error


def read_graph(path: Path | str, output: str | None = None) -> Graph:
    """Read an ONNX file; weights kept in other files are refused, as their names may lead anywhere.

    Args:
        path: the file.
        output: name of the output that holds the logits, where there are several.

    Raises:
        ModelError: another kind of file, a damaged one, several inputs or outputs, or integers for images.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ModelError(f"{path}: {error}; install the extra with pip install 'tangency[onnx]'.") from error

    path = Path(path)
    try:
        data = read_bytes(path, _EXPECTED)
        refuse_foreign(data[:512], str(path), _EXPECTED)
    except DataError as error:
        raise ModelError(str(error)) from error
    try:
        model = onnx.load_from_string(data)
        _refuse_external(model, path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "not its format"
        raise ModelError(f"{path}: not a readable ONNX network ({reason}); expected {_EXPECTED}.") from error
    return _described(model, path, output)


def _refuse_external(model: Any, path: Path) -> None:
    constants = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    if any(tensor.data_location == tensor.EXTERNAL for tensor in (*model.graph.initializer, *constants)):
        raise ModelError(
            f"{path}: its weights lie in other files, which are not followed; write one file with "
            "onnx.save(model, path, save_as_external_data=False)."
        )


def _described(model: Any, path: Path, output: str | None) -> Graph:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    outputs = {value.name: value for value in graph.output}
    if len(inputs) != 1:
        raise ModelError(f"{path}: {len(inputs)} inputs, expected one, the images.")
    if output is not None and output not in outputs:
        raise ModelError(f"{path}: no output '{output}'; there are {listed(outputs)}.")
    if len(outputs) != 1 and output is None:
        raise ModelError(f"{path}: the outputs {listed(outputs)}; choose the logits with ?output=NAME.")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != 1:
        raise ModelError(f"{path}: takes numbers of ONNX type {kind.elem_type}, expected float32 images.")
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim]
    if len(dims) < 2:
        raise ModelError(f"{path}: an input of {len(dims)} axes, expected a batch of images or of flat pixels.")
    name = output or next(iter(outputs))
    if len(outputs) > 1:  # what nobody asks for is not computed
        model = _copy(model)
        graph = model.graph
        del graph.output[:]
        graph.output.append(outputs[name])
    return Graph(
        model, inputs[0].name, name, tuple(dims[1:]), dims[0], _ending(graph, name), _inside(graph, inputs[0].name)
    )


def _last(graph: Any, output: str) -> Any:
    """The node that an output is from, behind those that move values only."""
    made_by = {name: node for node in graph.node for name in node.output}
    node = made_by.get(output)
    while node is not None and node.op_type in ("Identity", "Cast", "Flatten", "Squeeze"):
        node = made_by.get(node.input[0])
    return node


def _ending(graph: Any, output: str) -> str:
    node = _last(graph, output)
    return node.op_type if node is not None and node.op_type in ("Softmax", "LogSoftmax", "Sigmoid") else ""


def constants(graph: Any) -> dict[str, np.ndarray]:
    """Values that are known before any image is seen: initializers and Constant nodes."""
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            found |= {} if value is None else {node.output[0]: numpy_helper.to_array(value)}
    return found


def _inside(graph: Any, start: str) -> Affine | None:
    """What the graph does to its input before its first layer: a x + b with few constants, or a batch normalisation."""
    known, at = constants(graph), start
    scale, shift, seen = np.ones(1), np.zeros(1), False
    while True:
        users = [node for node in graph.node if at in node.input]
        if len(users) != 1:
            break
        node = users[0]
        if node.op_type == "BatchNormalization":
            return Affine((), ())
        if node.op_type in _AFFINE:
            values = [known[name].astype(np.float64).reshape(-1) for name in node.input if name in known]
            if len(values) != 1 or values[0].size not in (1, 3) or (node.op_type == "Div" and node.input[0] != at):
                break
            scale, shift = _composed(node.op_type, scale, shift, values[0], swapped=node.input[0] != at)
            seen = True
        elif node.op_type not in _MOVES:
            break
        at = node.output[0]
    if not seen or not np.all(scale != 0):
        return None
    mean, std = np.broadcast_arrays(-shift / scale, 1 / scale)
    return Affine(tuple(mean.tolist()), tuple(std.tolist()))


def _composed(
    kind: str, scale: np.ndarray, shift: np.ndarray, value: np.ndarray, swapped: bool
) -> tuple[np.ndarray, np.ndarray]:
    if kind == "Sub":
        return (-scale, value - shift) if swapped else (scale, shift - value)
    if kind == "Add":
        return scale, shift + value
    factor = value if kind == "Mul" else 1 / value
    return scale * factor, shift * factor


def without_ending(graph: Graph) -> Any:
    """A copy of the model whose last softmax or sigmoid passes logits on."""
    model = _copy(graph.model)
    if graph.ending:
        last = _last(model.graph, graph.output_name)
        last.op_type = "Identity"
        del last.attribute[:]
    return model


def with_free_batch(model: Any, graph: Graph) -> Any:
    """A copy of a model of batch 1 that takes any: its shapes say N, and reshapes to (1, …) keep the batch."""
    from onnx import numpy_helper

    free = _copy(model)
    for value in (*free.graph.input, *free.graph.output):
        if value.name in (graph.input_name, graph.output_name) and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del free.graph.value_info[:]
    known = constants(free.graph)
    for node in free.graph.node:
        target = known.get(node.input[1]) if node.op_type == "Reshape" else None
        if target is None or target.size < 2 or target[0] != 1:
            continue
        # 0 keeps the axis of what is reshaped.
        name = f"{node.input[1]}_of_any_batch_{node.output[0]}"
        free.graph.initializer.append(numpy_helper.from_array(np.concatenate(([0], target[1:])).astype(np.int64), name))
        node.input[1] = name
    return free


def _copy(model: Any) -> Any:
    other = type(model)()
    other.CopyFrom(model)
    return other
