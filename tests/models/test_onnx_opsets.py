"""Every form that an operator has had since opset 7 is what onnxruntime takes it for; whole networks of every opset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, defs, helper, numpy_helper
from torch import Tensor, nn

from models.onnx_exports import GRADIENTS, LOGITS, apart, by_runtime, export, gradient, images, quiet
from models.onnx_graphs import CLASSES, SHAPE, weight, write
from models.test_onnx_operators import SCHEMAS, computed
from tangency.errors import ModelError
from tangency.models import load_model
from tangency.models.onnx import simplify
from tangency.models.onnx.operators.calls import GraphError

RAW = "range=0,1&mean=none&outputs=logits"
X = np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype(np.float32)
POSITIVE, FOUR = np.abs(X) + np.float32(0.1), np.linspace(0.5, 2, 4, dtype=np.float32)
HALF = np.float32(np.linspace(-3, 3, 8)).astype(np.float16)
PLACES = np.array([[0, 1, 3], [2, 0, 1]], dtype=np.int64)
UPDATES = np.arange(6, dtype=np.float32).reshape(2, 3)
GRID = np.random.default_rng(1).uniform(-1.2, 1.2, (2, 3, 3, 2)).astype(np.float32)
POOL = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
QKV = [X, X[::-1].copy(), X[:, ::-1].copy()]
STATISTICS = [FOUR, FOUR - 1, FOUR[::-1].copy(), FOUR + 1]


def whole(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


# (operator, the last opset of a form that was changed after it) -> attributes and inputs that show it.
FORMS: dict[tuple[str, int], tuple[dict[str, Any], list[Any]]] = {
    ("ArgMax", 11): ({"axis": 2, "keepdims": 0}, [X]),
    ("ArgMin", 11): ({"axis": 2, "keepdims": 0}, [X]),
    ("Attention", 23): ({"is_causal": 1, "softcap": 2.0}, QKV),
    ("Attention", 24): ({"scale": 0.3}, [*QKV, np.float32(np.eye(5) * -2)]),
    ("AveragePool", 9): ({**POOL, "count_include_pad": 1}, [X]),
    ("AveragePool", 18): ({**POOL, "ceil_mode": 1}, [X]),
    ("BatchNormalization", 8): ({"spatial": 1, "epsilon": 0.01}, [X, *STATISTICS]),
    ("BatchNormalization", 13): ({"epsilon": 0.01}, [X, *STATISTICS]),
    ("Cast", 18): ({"to": TensorProto.INT32}, [X * 3]),
    ("Cast", 23): ({"to": TensorProto.FLOAT16}, [X]),
    ("CastLike", 18): ({}, [X, HALF]),
    ("CastLike", 23): ({}, [X, HALF]),
    ("Clip", 10): ({"min": -0.5, "max": 0.25}, [X]),
    ("DepthToSpace", 10): ({"blocksize": 2}, [X]),
    ("Dropout", 11): ({"ratio": 0.9}, [X]),
    ("GatherND", 11): ({}, [X, PLACES[:, :2] % 2]),
    ("Gemm", 10): ({"alpha": 0.5, "beta": 2.0, "transB": 1}, [X[0, 0], X[0, 1], X[0, 2, :, :1]]),
    ("GridSample", 19): ({"mode": "bicubic", "padding_mode": "border"}, [X, GRID]),
    ("GroupNormalization", 20): ({"num_groups": 2}, [X, FOUR[:2], FOUR[2:]]),
    ("Hardmax", 12): ({}, [X]),
    ("LogSoftmax", 12): ({"axis": 2}, [X]),
    ("LpPool", 17): ({**POOL, "p": 3}, [X]),
    ("MaxPool", 7): (POOL, [X]),
    ("MaxPool", 9): ({**POOL, "storage_order": 0}, [X]),
    ("Pad", 10): ({"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 7.0}, [X]),
    ("Pad", 17): ({"mode": "reflect"}, [X, whole(0, 0, 1, 2, 0, 0, 3, 0)]),
    ("Range", 26): ({}, [np.array(v, np.float32) for v in (1, 2.3, 0.25)]),
    ("ReduceSum", 12): ({"axes": [1, 3]}, [X]),
    ("Reshape", 13): ({}, [X, whole(0, -1, 6)]),
    ("Resize", 10): ({"mode": "linear"}, [X, np.float32([1, 1, 1.7, 2])]),
    ("Resize", 12): ({"mode": "cubic", "cubic_coeff_a": -0.5}, [X, np.float32([]), np.float32([]), whole(2, 4, 9, 7)]),
    ("Resize", 17): ({"coordinate_transformation_mode": "align_corners"}, [X, None, np.float32([1, 1, 2, 1.5])]),
    ("ScatterElements", 15): ({"axis": 1}, [X[0, 0, :2], PLACES, UPDATES]),
    ("ScatterND", 15): ({}, [X[0, 0], whole(3, 1).reshape(2, 1), X[1, 1, :2]]),
    ("Shape", 14): ({}, [X]),
    ("Slice", 9): ({"starts": [1, -3], "ends": [100, -1], "axes": [1, 3]}, [X]),
    ("Softmax", 12): ({}, [X]),
    ("SpaceToDepth", 27): ({"blocksize": 2}, [X[:, :, :4]]),
    ("Split", 12): ({"axis": 3, "split": [1, 5]}, [X]),
    ("Split", 17): ({"axis": -1}, [X]),
    ("Squeeze", 12): ({"axes": [1, 3]}, [X[:, :1, :, :1]]),
    ("TopK", 9): ({"k": 2, "axis": 3}, [X]),
    ("TopK", 10): ({"axis": 3}, [X, whole(2)]),
    ("Unsqueeze", 12): ({"axes": [0, 5]}, [X]),
    ("Upsample", 8): ({"mode": "linear", "scales": [1.0, 1.0, 2.0, 3.0]}, [X]),
} | {
    (f"Reduce{kind}", 17): ({"axes": [1, -1], "keepdims": int(kind in ("L2", "Max"))}, [POSITIVE])
    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
}

def former_forms() -> Iterator[tuple[str, int]]:
    """Operators, and the last opset of each form since 7 that another one with other attributes or inputs followed."""
    versions = defaultdict(list)
    for schema in SCHEMAS:
        if schema.since_version <= simplify._NEWEST:
            versions[schema.name].append(schema)
    for name, found in versions.items():
        found.sort(key=lambda schema: schema.since_version)
        for old, new in zip(found, found[1:], strict=False):
            if new.since_version > 7 and _form(old) != _form(new):
                yield name, new.since_version - 1


def _form(schema: Any) -> Any:
    given = {name: str(one.default_value) for name, one in schema.attributes.items()}
    return given, schema.min_input, schema.max_input, schema.max_output


def test_every_former_form_is_among_these() -> None:
    assert set(former_forms()) - set(FORMS) == set()


@pytest.mark.parametrize("case", FORMS, ids=lambda case: f"{case[0]} of opset {case[1]}")
def test_former_forms(case: tuple[str, int]) -> None:
    (name, opset), (given, inputs) = case, FORMS[case]
    names = [f"i{i}" if value is not None else "" for i, value in enumerate(inputs)]
    outputs = ["y", "z"] if name in ("Split", "TopK") else ["y"]
    node = helper.make_node(name, names, outputs, **given)
    values = {key: torch.from_numpy(np.array(v)) for key, v in zip(names, inputs, strict=True) if key}
    found = computed(node, opset, values)
    for key, value in zip(outputs, alone(node, opset, dict(zip(names, inputs, strict=True))), strict=True):
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


def alone(node: Any, opset: int, inputs: dict[str, Any]) -> list[Tensor]:
    """What onnxruntime makes of one node."""
    import onnxruntime

    kinds = {name: helper.np_dtype_to_tensor_dtype(v.dtype) for name, v in inputs.items() if name}
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(name, kind, inputs[name].shape) for name, kind in kinds.items()],
        [onnx.ValueInfoProto(name=name) for name in node.output],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(np.array(v)) for v in session.run(None, {k: v for k, v in inputs.items() if k})]
