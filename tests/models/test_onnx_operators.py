"""Every operator does what onnx's own cases of it say, in their old forms as in the new ones."""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, defs, helper
from torch import Tensor

from tangency.models.onnx.operators import OPERATORS, Call
from tangency.models.onnx.operators.calls import KINDS, GraphError
from tangency.models.onnx.values import attributes, to_tensor

# Part of a case's name -> why it is not computed; a case fails where and only where one of these is in its name.
REFUSED = {
    "_uint16": "torch computes no arithmetic with uint16",
    "_uint32": "torch computes no arithmetic with uint32",
    "_uint64": "torch computes no arithmetic with uint64",
    "bitwise_not_3d": "of uint16",
    "FLOAT8": "float8 is a quantised type",
    "FLOAT4": "float4 is a quantised type",
    "INT4": "int4 is a quantised type",
    "INT2": "int2 is a quantised type",
    "E8M0": "float8 is a quantised type",
    "e8m0": "float8 is a quantised type",
    "equal_string": "no texts are computed with",
    "training_dropout": "draws random numbers",
    "training_mode": "statistics of a batch are none of an image",
    "past_and_present": "no memory of earlier keys",
    "ext_cache": "no memory of earlier keys",
    "with_past": "no memory of earlier keys",
    "gqa_rank4_mask": "no memory of earlier keys",
    "qk_matmul": "the scores themselves are not returned",
    "padded_kv": "no lengths of each image",
    "causal_nonpad": "no lengths of each image",
}

SCHEMAS = [s for s in defs.get_all_schemas_with_history() if s.domain == "" and s.name in OPERATORS]


@functools.cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of some cases' own overflows
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    return [
        case
        for case in found
        if len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type in OPERATORS
        and not case.model.graph.node[0].domain
    ]


def tensor(value: Any) -> Tensor:
    if isinstance(value, TensorProto):
        return to_tensor(value)
    array = np.array(value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


class Asked(dict[str, Any]):
    """Attributes of a node, and which of them were asked for."""

    def __init__(self, given: dict[str, Any], asked: set[str]) -> None:
        super().__init__(given)
        self.asked = asked

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


ASKED: dict[str, set[str]] = defaultdict(set)


def computed(node: Any, opset: int, values: dict[str, Tensor]) -> dict[str, Tensor]:
    given = Asked(attributes(node), ASKED[node.op_type])
    call = Call(node.op_type, opset, given, sum(map(bool, node.output)))
    found = OPERATORS[node.op_type](call, *[values[name] if name else None for name in node.input])
    return dict(zip(node.output, found if isinstance(found, (tuple, list)) else (found,), strict=False))


def difference(case: Any) -> str:
    """In what a case is not met, or nothing."""
    graph, opset = case.model.graph, case.model.opset_import[0].version
    for given, wanted in case.data_sets:
        try:
            values = {info.name: tensor(value) for info, value in zip(graph.input, given, strict=True)}
            found = computed(graph.node[0], opset, values)
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            return f"{type(error).__name__}: {error}"
        for info, value in zip(graph.output, wanted, strict=True):
            right, got = tensor(value), found[info.name]
            if (right.shape, right.dtype) != (got.shape, got.dtype):
                return f"{got.dtype} {tuple(got.shape)} instead of {right.dtype} {tuple(right.shape)}"
            low = right.dtype in (torch.float16, torch.bfloat16)
            slack = {"rtol": 2e-2, "atol": 2e-2} if low else {"rtol": max(case.rtol, 1e-4), "atol": 1e-5}
            if not torch.allclose(got.double(), right.double(), equal_nan=True, **slack):
                return f"differs by {float((got.double() - right.double()).abs().max())}"
    return ""


@functools.cache
def failures() -> dict[str, str]:
    return {case.name: told for case in cases() if (told := difference(case))}


@pytest.mark.slow
def test_all_cases_of_onnx_but_those_that_are_named() -> None:
    assert len(cases()) > 1000
    failed = failures()
    unnamed = {name: told for name, told in failed.items() if not any(part in name for part in REFUSED)}
    assert unnamed == {}
    unused = [part for part in REFUSED if not any(part in name for name in failed)]
    assert unused == []


# Attributes that are not asked for, because they change nothing that is computed here.
WITHOUT_EFFECT = {
    ("Attention", "qk_matmul_output_mode"): "of an output that is refused",
    ("Attention", "softmax_precision"): "rounding",
    ("BatchNormalization", "momentum"): "of training, which is refused",
    ("Cast", "round_mode"): "of float8, which is refused",
    ("Cast", "saturate"): "of float8, which is refused",
    ("CastLike", "round_mode"): "of float8, which is refused",
    ("CastLike", "saturate"): "of float8, which is refused",
    ("Conv", "kernel_shape"): "that of the weights",
    ("ConvTranspose", "kernel_shape"): "that of the weights",
    ("Dropout", "ratio"): "of training",
    ("Dropout", "seed"): "of training, which is refused",
    ("GroupNormalization", "stash_type"): "rounding",
    ("LayerNormalization", "stash_type"): "rounding",
    ("RMSNormalization", "stash_type"): "rounding",
    ("Range", "stash_type"): "rounding",
    ("TopK", "sorted"): "any order will do where it is 0",
    ("Upsample", "mode"): "asked for by Resize, on its behalf",
}


def test_no_attribute_of_any_opset_is_passed_over() -> None:
    """What a graph of opset 7 or later could tell an operator, it asks for."""
    failures()
    for name in OLD:
        old_form(name)
    for name in (one for one in OPERATORS if one.startswith("Reduce")):
        computed(helper.make_node(name, ["x"], ["y"], axes=[1]), 11, {"x": X.abs()})
    first: dict[str, int] = {}
    for schema in SCHEMAS:
        if schema.since_version <= 7:
            first[schema.name] = max(first.get(schema.name, 0), schema.since_version)
    told = {
        (schema.name, attribute)
        for schema in SCHEMAS
        if schema.since_version >= first.get(schema.name, 0)
        for attribute in schema.attributes
    }
    assert {(name, attribute) for name, attribute in told if attribute not in ASKED[name]} <= set(WITHOUT_EFFECT)


def test_every_operator_has_a_case() -> None:
    """But those that onnx has no case of, and old names."""
    known = {case.model.graph.node[0].op_type for case in cases()}
    assert set(OPERATORS) - known == {"GlobalLpPool"}


X = torch.linspace(-2, 3, 24).reshape(2, 3, 4)
ROWS = [torch.linspace(1, i, 12).reshape(3, 4) for i in range(2, 6)]
OLD = {
    # node, opset, further inputs, what it gives
    "Squeeze of axes": (("Squeeze", {"axes": [0]}), 11, X[:1], lambda x: x[0]),
    "Unsqueeze of axes": (("Unsqueeze", {"axes": [0, 4]}), 11, X, lambda x: x[None, ..., None]),
    "Slice": (("Slice", {"starts": [1], "ends": [-1], "axes": [2]}), 9, X, lambda x: x[:, :, 1:-1]),
    "Clip": (("Clip", {"min": -1.0, "max": 1.0}), 10, X, lambda x: x.clamp(-1, 1)),
    "ReduceSum of axes": (("ReduceSum", {"axes": [1], "keepdims": 0}), 11, X, lambda x: x.sum(1)),
    "Softmax over the rest": (("Softmax", {}), 11, X, lambda x: x.flatten(1).softmax(1).reshape(x.shape)),
    "Pad": (
        ("Pad", {"pads": [0, 0, 1, 0, 0, 2], "value": 7.0}),
        10,
        X,
        lambda x: torch.nn.functional.pad(x, (1, 2), value=7.0),
    ),
    "Split": (("Split", {"split": [1, 2], "axis": 1}), 11, X, lambda x: x[:, :1]),
    "TopK": (("TopK", {"k": 2, "axis": 2}), 9, X, lambda x: x.topk(2, 2).values),
    "Upsample": (("Upsample", {"scales": [1.0, 1.0, 2.0]}), 8, X, lambda x: x.repeat_interleave(2, 2)),
    "Dropout of a ratio": (("Dropout", {"ratio": 0.9}), 10, X, lambda x: x),
    "GlobalLpPool": (("GlobalLpPool", {"p": 3}), 13, X, lambda x: (x.abs() ** 3).sum(2, keepdim=True) ** (1 / 3)),
    "BatchNormalization of numbers": (
        ("BatchNormalization", {"spatial": 0, "epsilon": 0.5}),
        8,
        X,
        lambda x: (x - ROWS[2]) / (ROWS[3] + 0.5).sqrt() * ROWS[0] + ROWS[1],
    ),
}


def old_form(name: str) -> Tensor:
    (op, given), opset, x, _ = OLD[name]
    more = {f"w{i}": row for i, row in enumerate(ROWS)} if op == "BatchNormalization" else {}
    outputs = ["y", "z"] if op in ("Split", "TopK") else ["y"]
    return computed(helper.make_node(op, ["x", *more], outputs, **given), opset, {"x": x, **more})["y"]


@pytest.mark.parametrize("name", OLD)
def test_old_forms(name: str) -> None:
    _, _, x, right = OLD[name]
    torch.testing.assert_close(old_form(name), right(x))


@pytest.mark.parametrize(
    ("op", "opset", "given", "inputs", "outputs"),
    [
        ("BatchNormalization", 9, {}, 5, 5),
        ("BatchNormalization", 15, {"training_mode": 1}, 5, 3),
        ("Dropout", 13, {}, 3, 1),
    ],
)
def test_training_is_refused(op: str, opset: int, given: dict[str, int], inputs: int, outputs: int) -> None:
    """What other images, or random numbers, would have a part in."""
    values = {"i0": X, **{f"i{i}": torch.ones(3) for i in range(1, inputs)}}
    values |= {"i1": torch.tensor(0.5), "i2": torch.tensor(True)} if op == "Dropout" else {}
    node = helper.make_node(op, list(values), [f"o{i}" for i in range(outputs)], **given)
    with pytest.raises(GraphError, match=r"in training mode.*Export the network in eval mode"):
        computed(node, opset, values)
    if op == "Dropout":
        assert computed(node, opset, {**values, "i1": torch.tensor(0.0)})["o0"] is X


def test_numbers_follow_the_module() -> None:
    """float32 of the graph is what the module computes in; float16 and float64 stay what they are."""
    call = Call("Cast", 13, {"to": 1}, dtype=torch.float64)
    assert OPERATORS["Cast"](call, torch.ones(2, dtype=torch.int64)).dtype == torch.float64
    assert OPERATORS["Cast"](Call("Cast", 13, {"to": 10}, dtype=torch.float64), torch.ones(2)).dtype == torch.float16
    assert KINDS[1] == torch.float32
    with pytest.raises(GraphError, match="ONNX type 8"):
        OPERATORS["Cast"](Call("Cast", 13, {"to": 8}), torch.ones(2))


SMOOTH = {
    "Conv": ({"pads": [0, 1, 2, 0], "strides": [2, 1]}, (2, 3, 5, 6), (4, 3, 3, 2)),
    "AveragePool": ({"kernel_shape": [3, 2], "ceil_mode": 1, "strides": [2, 2], "pads": [1, 0, 1, 1]}, (2, 3, 5, 6)),
    "MaxPool": ({"kernel_shape": [3, 2], "ceil_mode": 1, "strides": [2, 2], "pads": [1, 0, 0, 1]}, (2, 3, 5, 6)),
    "LayerNormalization": ({"axis": 2}, (2, 3, 5), (5,)),
    "Resize": ({"mode": "cubic", "scales": None}, (1, 1, 4, 5)),
}


@pytest.mark.parametrize("op", SMOOTH)
def test_derivatives_and_vectorisation(op: str) -> None:
    given, *shapes = SMOOTH[op]
    generator = torch.Generator().manual_seed(0)
    x, *more = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes)
    call = Call(op, 19, {name: value for name, value in given.items() if value is not None}, dtype=torch.float64)
    extra = (None, torch.tensor([1.0, 1.0, 1.7, 0.6])) if op == "Resize" else tuple(more)

    def apply(value: Tensor) -> Tensor:
        return OPERATORS[op](call, value, *extra)

    assert torch.autograd.gradcheck(apply, x.requires_grad_())
    together = apply(torch.cat([x, x + 1])).detach()
    alone = torch.func.vmap(lambda image: apply(image[None])[0])(torch.cat([x, x + 1])).detach()
    torch.testing.assert_close(alone, together)
