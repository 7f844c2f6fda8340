"""Small ONNX graphs of every layout, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = (3, 6, 5)
CLASSES = 4


def weight(name: str, *shape: int, seed: int = 0) -> Any:
    values = np.random.default_rng([seed, *name.encode()]).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(values / np.float32(max(1, np.prod(shape[1:])) ** 0.5), name)


def ints(name: str, *values: int) -> Any:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def network(
    path: Path,
    layout: str = "nchw",
    batch: int | str = "N",
    ending: str = "",
    inside: tuple[list[float], list[float]] | None = None,
    reshape: tuple[int, ...] | None = None,
    nodes: list[Any] | None = None,
    weights: list[Any] | None = None,
) -> Path:
    """[normalise] → convolution → tanh → linear → [softmax] on images of SHAPE, or a linear layer on flat pixels."""
    channels, height, width = SHAPE
    dims = {"nchw": SHAPE, "nhwc": (height, width, channels), "flat": (channels * height * width,)}[layout]
    steps, stored, at = [], [], "x"
    if inside is not None:
        axes = {"nchw": (1, -1, 1, 1), "nhwc": (1, 1, 1, -1), "flat": (1, -1)}[layout]
        for kind, name, values in (("Sub", "mean", inside[0]), ("Div", "std", inside[1])):
            stored.append(numpy_helper.from_array(np.array(values, np.float32).reshape(axes), name))
            steps.append(helper.make_node(kind, [at, name], [f"{name}d"]))
            at = f"{name}d"
    if layout == "nhwc":
        steps.append(helper.make_node("Transpose", [at], ["moved"], perm=[0, 3, 1, 2]))
        at = "moved"
    features = channels * height * width
    if layout != "flat":
        stored += [weight("w", 2, channels, 3, 3), weight("b", 2)]
        steps += [helper.make_node("Conv", [at, "w", "b"], ["c"]), helper.make_node("Tanh", ["c"], ["t"])]
        at, features = "t", 2 * (height - 2) * (width - 2)
    stored += [weight("v", CLASSES, features), weight("d", CLASSES)]
    if reshape is None:
        steps.append(helper.make_node("Flatten", [at], ["f"], axis=1))
    else:
        stored.append(ints("target", *reshape))
        steps.append(helper.make_node("Reshape", [at, "target"], ["f"]))
    steps += [*(nodes or []), helper.make_node("Gemm", ["f", "v", "d"], ["z" if ending else "y"], transB=1)]
    stored += weights or []
    if ending:
        steps.append(helper.make_node(ending, ["z"], ["y"], axis=1))
    return write(path, steps, stored, (batch, *dims), (batch, CLASSES))


def write(path: Path, steps: list[Any], stored: list[Any], given: Any, returned: Any, opset: int = 13) -> Path:
    graph = helper.make_graph(
        steps,
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, returned)],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(path))
    return path
