"""Every form that an operator has had since opset 7 is what onnxruntime takes it for; whole networks of every opset."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import pytest
import torch
from onnx import TensorProto, defs, helper, numpy_helper
from torch import Tensor, nn

from models.onnx_exports import GRADIENTS, LOGITS, apart, by_runtime, export, gradient, images
from models.onnx_graphs import network, write
from models.test_onnx_operators import SCHEMAS, computed
from tangency.errors import ModelError
from tangency.models import load_model
from tangency.models.onnx import simplify

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
        for old, new in itertools.pairwise(found):
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


class Transformer(nn.Module):
    """Patches, attention written out, a convolution with batch normalisation beside it, and pooling."""

    def __init__(self, plain: bool = False) -> None:
        super().__init__()
        self.plain = plain  # without what opsets 7 and 8 cannot say
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.Hardswish(), nn.MaxPool2d(2))
        self.patches = nn.Conv2d(12, 24, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 24))
        self.first, self.second, self.last = nn.LayerNorm(24), nn.LayerNorm(24), nn.LayerNorm(24)
        self.qkv, self.out = nn.Linear(24, 72), nn.Linear(24, 24)
        self.mlp = nn.Sequential(
            nn.Linear(24, 48), nn.ReLU() if plain else nn.GELU(), nn.Dropout(0.1), nn.Linear(48, 24)
        )
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(self.stem(x)).flatten(2).transpose(1, 2)
        x = x if self.plain else torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        q, k, v = self.qkv(self.first(x)).reshape(len(x), -1, 3, 4, 6).permute(2, 0, 3, 1, 4).unbind(0)
        seen = ((q * 6**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        x = x + self.out(seen.transpose(1, 2).reshape(len(x), -1, 24))
        x = x + self.mlp(self.second(x))
        x = self.last(x)
        return self.head(x[:, 0] + x[:, 1:].mean(1))


def transformer(plain: bool = False) -> nn.Module:
    torch.manual_seed(0)
    net = Transformer(plain)
    with torch.no_grad():
        for value in (*net.parameters(), *net.buffers()):
            if value.dim() == 1 and value.is_floating_point():
                value.add_(torch.rand(value.shape) * 0.3 + 0.1)
    return net.eval()


def agrees(net: nn.Module, path: Path, size: int) -> None:
    found, x = load_model(f"onnx:{path}?{RAW}&shape=3x{size}x{size}").module, images(size)
    with torch.no_grad():
        assert apart(found(x), by_runtime(path, x)) <= LOGITS
        assert apart(found(x), net(x)) <= LOGITS
    assert apart(gradient(found, x), gradient(net, x)) <= GRADIENTS


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 15, 18])
def test_a_transformer_of_an_old_opset(tmp_path: Path, opset: int) -> None:
    net, path = transformer(plain=opset < 9), tmp_path / "net.onnx"
    export(net, path, "legacy", opset, 16)
    agrees(net, path, 16)


@pytest.mark.parametrize("opset", [1, 5, 6])
def test_opsets_before_seven_are_refused(tmp_path: Path, opset: int) -> None:
    """Their broadcasting has an axis, which onnx's converter loses: of equal sides, other numbers would come out."""
    steps = [
        helper.make_node("Add", ["x", "shift"], ["a"], broadcast=1, axis=1),
        helper.make_node("GlobalAveragePool", ["a"], ["y"]),
    ]
    stored = [numpy_helper.from_array(np.arange(3, dtype=np.float32), "shift")]
    path = write(tmp_path / "a.onnx", steps, stored, ("N", 3, 3, 3), ("N", 3, 1, 1), opset)
    with pytest.raises(
        ModelError, match=rf"of opset {opset}, expected 7 .*broadcasting.*Export the network again"
    ) as told:
        load_model(f"onnx:{path}?{RAW}&shape=3x3x3")
    assert str(path) in str(told.value)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("newest") / "net.onnx"
    export(transformer(), path, "dynamo", 23, 16, external_data=False)
    return onnx.load(str(path))


@pytest.mark.parametrize("opset", range(23, min(simplify._NEWEST, defs.onnx_opset_version()) + 1))
def test_a_transformer_of_a_new_opset(tmp_path: Path, exported: Any, opset: int) -> None:
    """onnx itself says what a graph of 23, the newest that torch writes, is in later opsets."""
    path = tmp_path / "net.onnx"
    onnx.save(onnx.version_converter.convert_version(exported, opset), str(path))
    assert onnx.load(str(path)).opset_import[0].version == opset
    agrees(transformer(), path, 16)


def test_an_opset_that_is_newer_than_all_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What onnx does not know is refused; of what it knows, forms that came after those that were compared."""
    last = defs.onnx_opset_version()
    step = helper.make_node("Mod", ["x", "x"], ["y"], fmod=1)
    path = write(tmp_path / "a.onnx", [step], [], ("N", 4), ("N", 4), last)
    with monkeypatch.context() as patched:
        patched.setattr(simplify, "_NEWEST", 12)
        with pytest.raises(ModelError, match=rf"not known here: Mod as of opset {last}.*opset_version=12"):
            load_model(f"onnx:{path}?{RAW}&shape=1x2x2")
    path = network(tmp_path / "b.onnx")
    model = onnx.load(str(path))
    model.opset_import[0].version = last + 1
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=rf"of opset {last + 1}, expected at most {last}.*--upgrade onnx"):
        load_model(f"onnx:{path}?{RAW}&shape=3x6x5")
