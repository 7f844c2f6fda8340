"""ONNX graphs as read from files: input, output, and the normalisation that they begin with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tangency.errors import ModelError, listed
from tangency.models.onnx.edits import constants, ending, with_output
from tangency.models.onnx.reading import naming, read_model
from tangency.models.onnx.simplify import simplified, written_out

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

_MOVES = ("Transpose", "Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Cast", "Dropout")
_AFFINE = ("Sub", "Add", "Mul", "Div")


@dataclass(frozen=True)
class Affine:
    """Normalisation that a graph begins with: (x − mean) / std, per channel or one for all.

    Args:
        mean, std: in units of the graph's input; empty where batch normalisation hides them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def input_range(self) -> tuple[float, float] | None:
        """Values of black and white: (0, 255) where a mean or std exceeds 1.5, else (0, 1); None if hidden."""
        if not self.mean:
            return None
        return (0.0, 255.0) if max(*self.mean, *self.std) > 1.5 else (0.0, 1.0)


@dataclass(frozen=True)
class Graph:
    """An ONNX network with one image input.

    Args:
        path: of the file, for errors.
        model: the protobuf, with one output.
        plain: the same, simplified (`simplified`).
        input_name, output_name: of the tensors.
        dims: of the input without the batch axis; None for one that is not fixed.
        batch: fixed batch size, None where it is free.
        ending: "Softmax", "LogSoftmax", "Sigmoid" or "" for the last operation.
        inside: the normalisation that it begins with, None where there is none.
        beside: files that hold its weights.
    """

    path: Path
    model: ModelProto
    plain: ModelProto
    input_name: str
    output_name: str
    dims: tuple[int | None, ...]
    batch: int | None
    ending: str
    inside: Affine | None
    beside: tuple[Path, ...] = ()

    @property
    def shown(self) -> str:
        """The axes of one image, such as 3x?x?."""
        return "x".join("?" if d is None else str(d) for d in self.dims)


def read_graph(path: Path | str, output: str | None = None) -> Graph:
    """Read and simplify an ONNX file; weights may lie in a plain file beside it.

    Args:
        path: the file, or a gzip file of it.
        output: name of the output that holds the logits, where there are several.

    Raises:
        ModelError: another kind of file, a damaged one, several inputs or outputs, integers for images, or operators
            that are not known here.
    """
    path = Path(path)
    model, beside = read_model(path)
    with naming(path):
        given, batch, dims = _input(model.graph, path)
        name = _output(model.graph, output, path)
        model = written_out(with_output(model, name))
        plain = simplified(model, path)
        own = ending(plain.graph, name)
        own = own if own == ending(model.graph, name) else ""
        return Graph(path, model, plain, given, name, dims, batch, own, _inside(plain.graph, given), beside)


def _input(graph: GraphProto, path: Path) -> tuple[str, int | None, tuple[int | None, ...]]:
    """The name of the images, how many at a time (None for any), and their axes."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ModelError(f"{path}: {len(inputs)} inputs, expected one, the images.")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != 1:
        raise ModelError(f"{path}: takes numbers of ONNX type {kind.elem_type}, expected float32 images.")
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in kind.shape.dim]
    if len(dims) < 2:
        raise ModelError(f"{path}: an input of {len(dims)} axes, expected a batch of images or of flat pixels.")
    return inputs[0].name, dims[0], tuple(dims[1:])


def _output(graph: GraphProto, requested: str | None, path: Path) -> str:
    names = [value.name for value in graph.output]
    if requested is not None and requested not in names:
        raise ModelError(f"{path}: no output '{requested}'; there are {listed(names)}.")
    if len(names) != 1 and requested is None:
        raise ModelError(f"{path}: the outputs {listed(names)}; choose the logits with ?output=NAME.")
    return requested or names[0]


def _inside(graph: GraphProto, start: str) -> Affine | None:
    """The operations before the first layer: a x + b with few constants, or a batch normalisation; else None."""
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
