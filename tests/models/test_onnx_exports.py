"""What torch.onnx writes today, with both exporters, is what was exported: logits, and gradients of every pixel."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from models.onnx_exports import GRADIENTS, LOGITS, apart, by_runtime, cases, export, gradients, made, one, quiet
from models.onnx_graphs import CLASSES, SHAPE, ints, network, weight, write
from tangency.errors import ModelError
from tangency.models import load_model, read_classifier, save_classifier

RAW = "range=0,1&mean=none"
SMALL = {
    # of the list: its size, exporter, opset, options; of what repeats a layer, few
    "timm/resnet18": (32, "dynamo", 20, {}),
    "timm/ghostnet_100": (64, "legacy", 17, {}),
    "timm/tf_mobilenetv3_small_100": (32, "legacy", 17, {}),
    "timm/convnextv2_atto": (32, "dynamo", 20, {"depths": (1, 1, 2, 1)}),
    "timm/levit_128s": (64, "legacy", 17, {"img_size": 64}),
    "timm/vit_tiny_patch16_224": (32, "dynamo", 23, {"img_size": 32, "depth": 3}),
    "timm/deit_tiny_distilled_patch16_224": (32, "legacy", 20, {"img_size": 32, "depth": 3}),
    "timm/swin_tiny_patch4_window7_224": (
        56,
        "legacy",
        17,
        {"img_size": 56, "depths": (2, 2), "num_heads": (3, 6)},
    ),
    "torchvision/squeezenet1_1": (64, "legacy", 17, {}),
    "torchvision/shufflenet_v2_x1_0": (64, "legacy", 20, {}),
}


QUICK = ("timm/resnet18", "timm/levit_128s", "timm/vit_tiny_patch16_224")  # an exporter and a kind of network each


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in SMALL])
def test_ten_of_the_list_at_small_sizes(tmp_path: Path, name: str) -> None:
    size, exporter, opset, options = SMALL[name]
    net, path = made(*name.split("/"), **options), tmp_path / "net.onnx"
    export(net, path, exporter, opset, size)
    found = load_model(f"onnx:{path}?{RAW}&outputs=logits&shape=3x{size}x{size}").module
    x = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert apart(found(x), by_runtime(path, x)) <= LOGITS
    assert gradients(net, found, x)["gradients"] <= GRADIENTS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv4_conv_small", "res2net50_26w_4s"])
def test_gradients_of_every_image_where_the_exporter_folds_nothing(tmp_path: Path, name: str) -> None:
    """What an image's gradient is off by, beyond the median, is the exporter's rounding of folded normalisation."""
    net, path = made("timm", name), tmp_path / "net.onnx"
    kept = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    export(net, path, "legacy", 17, 64, **kept)
    found = load_model(f"onnx:{path}?{RAW}&outputs=logits&shape=3x64x64").module
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert gradients(net, found, x)["worst"] <= 1e-9


@pytest.mark.slow
def test_the_whole_list(tmp_path: Path) -> None:
    """Of what the exporters can write, 95 % of timm and of torchvision load and agree; the others are printed."""
    good, tried = {"timm": 0, "torchvision": 0}, {"timm": 0, "torchvision": 0}
    for library, name, exporter, opset in cases():
        found = one(library, name, exporter, opset, tmp_path)
        if not found["exported"]:
            print(f"{library}/{name} {exporter} {opset}: no export: {found['why']}")
            continue
        agrees = found["loads"] and found["logits"] <= LOGITS and found["gradients"] <= GRADIENTS
        tried[library] += 1
        good[library] += agrees
        if not agrees:
            print(f"{library}/{name} {exporter} {opset}: {found}")
    for library, count in tried.items():
        assert good[library] >= 0.95 * count > 0, library


def heads() -> nn.Module:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.a, self.b = nn.Linear(8, 10), nn.Linear(8, 10)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            seen = self.body(x)
            return self.a(seen).softmax(1), self.b(seen).softmax(1)

    torch.manual_seed(0)
    return Heads().eval()


PLAIN = {
    "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.GELU(), nn.Linear(16, 10)),
    "convolution": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)
    ),
    "pooling": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "softmax": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 10), nn.Softmax(1)),
}


@pytest.mark.parametrize(
    ("name", "one_file"),
    [
        pytest.param(name, one_file, marks=[] if one_file or name == "pooling" else pytest.mark.slow)
        for name in PLAIN
        for one_file in (False, True)
    ],
)
def test_the_exporter_as_it_is_by_default(tmp_path: Path, name: str, one_file: bool) -> None:
    torch.manual_seed(0)
    net, path, x = PLAIN[name]().eval(), tmp_path / "net.onnx", torch.rand(5, 3, 8, 8)
    with quiet():
        batch = torch.export.Dim("batch", min=2, max=99)
        torch.onnx.export(net, (x,), path, external_data=not one_file, dynamic_shapes=({0: batch},))
    found = load_model(f"onnx:{path}?{RAW}&outputs=logits" if name != "softmax" else f"onnx:{path}?{RAW}")
    own = net[:-1] if name == "softmax" else net
    torch.testing.assert_close(found(x), own(x), rtol=1e-5, atol=1e-6)
    with_data = list(tmp_path.glob("*.data"))
    assert bool(with_data) == (not one_file)
    if with_data and name == "mlp":
        before = found.card.provenance["sha256"]
        data = bytearray(with_data[0].read_bytes())
        data[100] ^= 1
        with_data[0].write_bytes(data)
        assert load_model(f"onnx:{path}?{RAW}&outputs=logits").card.provenance["sha256"] != before


def test_an_output_is_chosen_and_its_own_softmax_taken_off(tmp_path: Path) -> None:
    net, path, x = heads(), tmp_path / "two.onnx", torch.rand(4, 3, 8, 8)
    with quiet():
        axes = {"x": {0: "N"}, "main": {0: "N"}, "aux": {0: "N"}}
        names = {"input_names": ["x"], "output_names": ["main", "aux"], "dynamic_axes": axes}
        torch.onnx.export(net, (x[:1],), path, dynamo=False, opset_version=17, **names)
    for name, head in (("main", net.a), ("aux", net.b)):
        found = load_model(f"onnx:{path}?{RAW}&output={name}")
        torch.testing.assert_close(found(x), head(net.body(x)), rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match=r"no output 'other'.*main.*aux"):
        load_model(f"onnx:{path}?{RAW}&output=other")
    with pytest.raises(ModelError, match="choose the logits with"):
        load_model(f"onnx:{path}?{RAW}")


def test_weights_that_the_exporter_shares(tmp_path: Path) -> None:
    """Equal tensors stand behind Identity nodes in a legacy export of a network as it is initialised."""
    torch.manual_seed(0)
    layer = lambda: nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))  # noqa: E731
    net, path = (
        nn.Sequential(layer(), layer(), nn.LayerNorm([3, 8, 8]), nn.Flatten(), nn.Linear(192, 10)),
        tmp_path / "n",
    )
    with quiet():
        torch.onnx.export(
            net.eval(), (torch.rand(1, 3, 8, 8),), path, dynamo=False, opset_version=17, do_constant_folding=False
        )
    model = onnx.load(path)
    spare = helper.make_node("Identity", [model.graph.initializer[0].name], ["shared"])
    user = next(n for n in model.graph.node if model.graph.initializer[0].name in n.input)
    user.input[list(user.input).index(model.graph.initializer[0].name)] = "shared"
    model.graph.node.insert(0, spare)
    onnx.save(model, path)
    x = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(load_model(f"onnx:{path}?{RAW}&outputs=logits")(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", [None, "any", "each", "loop"])
def test_a_fixed_batch_over_one(tmp_path: Path, way: str | None) -> None:
    """Images go in parts that are filled up, where the graph cannot be rewritten."""
    path = network(tmp_path / "a.onnx", batch=5, reshape=(5, -1))
    x = torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(1))
    found = load_model(f"onnx:{path}?{RAW}&shape=3x6x5{f'&batch={way}' if way else ''}")
    with torch.no_grad():
        torch.testing.assert_close(found(x), by_runtime(path, x), rtol=1e-5, atol=1e-6)
    save_classifier(found, tmp_path / "net.safetensors")
    with torch.no_grad():
        assert torch.equal(read_classifier(tmp_path / "net.safetensors")(x), found(x))


def test_a_packed_graph(tmp_path: Path) -> None:
    path, x = network(tmp_path / "a.onnx"), torch.rand(4, *SHAPE)
    (tmp_path / "a.onnx.gz").write_bytes(gzip.compress(path.read_bytes()))
    plain, packed = (load_model(f"onnx:{file}?{RAW}&shape=3x6x5") for file in (path, f"{path}.gz"))
    assert torch.equal(plain(x), packed(x))
    (tmp_path / "a.onnx.gz").write_bytes(gzip.compress(path.read_bytes())[:-30])
    with pytest.raises(ModelError, match=r"a.onnx.gz.*gzip"):
        load_model(f"onnx:{path}.gz?{RAW}&shape=3x6x5")


def apart_from_its_weights(folder: Path, change: Any) -> Path:
    path = network(folder / "a.onnx")
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location="a.data", size_threshold=0)
    change(folder)
    return path


def renamed(place: str) -> Any:
    def change(folder: Path) -> None:
        model = onnx.load(str(folder / "a.onnx"), load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                entry.value = place if entry.key == "location" else entry.value
        (folder / "a.onnx").write_bytes(model.SerializeToString())

    return change


def cut(folder: Path) -> None:
    (folder / "a.data").write_bytes((folder / "a.data").read_bytes()[:-8])


def linked(folder: Path) -> None:
    (folder / "inner").mkdir()
    os.replace(folder / "a.data", folder / "inner" / "a.data")
    (folder / "a.data").symlink_to(folder / "inner" / "a.data")


BESIDE = {
    "missing": (lambda folder: (folder / "a.data").unlink(), "not beside it"),
    "cut": (cut, "it is cut"),
    "linked": (linked, "no plain file"),
    "above": (renamed("../a.data"), "expected the name of a file beside it"),
    "absolute": (renamed("/etc/passwd"), "expected the name of a file beside it"),
    "the folder": (renamed(".."), "expected the name of a file beside it"),
}


@pytest.mark.parametrize("case", BESIDE)
def test_weights_that_are_not_beside_the_graph(tmp_path: Path, case: str) -> None:
    change, words = BESIDE[case]
    path = apart_from_its_weights(tmp_path, change)
    with pytest.raises(ModelError, match=words) as told:
        load_model(f"onnx:{path}?{RAW}&shape=3x6x5")
    assert str(path) in str(told.value)


UNKNOWN = {
    "com.microsoft": ("FusedConv", "com.microsoft", "give the file from before"),
    "custom": ("Odd", "my.own", r"my\.own\.Odd.*Else give the network as state_dict:"),
    "quantised": ("DynamicQuantizeLinear", "", "before quantisation"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_operators_that_are_not_known_are_named(tmp_path: Path, case: str) -> None:
    op, domain, words = UNKNOWN[case]
    outputs = ["q", "s", "p"] if op == "DynamicQuantizeLinear" else ["q"]
    steps = [helper.make_node(op, ["x"], outputs, domain=domain), helper.make_node("Cast", ["q"], ["f"], to=1)]
    steps += [helper.make_node("Flatten", ["f"], ["l"]), helper.make_node("Gemm", ["l", "v"], ["y"], transB=1)]
    path = write(tmp_path / "a.onnx", steps, [weight("v", CLASSES, 90)], ("N", *SHAPE), ("N", CLASSES))
    model = onnx.load(str(path))
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=words) as told:
        load_model(f"onnx:{path}?{RAW}&shape=3x6x5")
    assert op in str(told.value)
    assert "recent opset" not in str(told.value)


def test_a_graph_that_would_take_all_memory(tmp_path: Path) -> None:
    steps = [
        helper.make_node("ConstantOfShape", ["huge"], ["h"]),
        helper.make_node("ReduceSum", ["h"], ["s"], keepdims=0),
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["z"], transB=1),
        helper.make_node("Add", ["z", "s"], ["y"]),
    ]
    stored = [weight("v", CLASSES, 90), ints("huge", 2**20, 2**14)]
    path = write(tmp_path / "a.onnx", steps, stored, ("N", *SHAPE), ("N", CLASSES))
    with pytest.raises(ModelError, match=r"asks for 64\.0 GiB at once"):
        load_model(f"onnx:{path}?{RAW}&shape=3x6x5")


def test_functions_and_branches_of_a_graph(tmp_path: Path) -> None:
    """A function of the file's own, an If whose condition is known, and weights in Constant nodes."""
    path = network(tmp_path / "a.onnx")
    model = onnx.load(str(path))
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    kind = helper.make_tensor_value_info("i", TensorProto.FLOAT, None)
    branches = [helper.make_graph([helper.make_node(op, ["u"], ["i"])], op, [], [kind]) for op in ("Identity", "Neg")]
    chosen = helper.make_node("If", ["yes"], ["t"], then_branch=branches[0], else_branch=branches[1])
    own = helper.make_function(
        "own", "Bounded", ["a"], ["b"], [helper.make_node("Tanh", ["a"], ["b"])], [helper.make_opsetid("", 13)]
    )
    at = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Tanh")
    del model.graph.node[at]
    for node in (chosen, yes, helper.make_node("Bounded", ["c"], ["u"], domain="own")):
        model.graph.node.insert(at, node)
    model.functions.append(own)
    model.opset_import.append(helper.make_opsetid("own", 1))
    x = torch.rand(4, *SHAPE)
    before = load_model(f"onnx:{path}?{RAW}&shape=3x6x5")(x)
    onnx.save(model, str(path))
    torch.testing.assert_close(load_model(f"onnx:{path}?{RAW}&shape=3x6x5")(x), before)


def test_weights_in_constant_nodes(tmp_path: Path) -> None:
    """As other exporters write them, some of them by an Identity more."""
    path, x = network(tmp_path / "a.onnx", reshape=(-1, 24), ending="Softmax"), torch.rand(4, *SHAPE)
    before = load_model(f"onnx:{path}?{RAW}&shape=3x6x5")(x)
    model = onnx.load(str(path))
    names = {
        tensor.name: f"{tensor.name}'" if tensor.name in "wv" else tensor.name for tensor in model.graph.initializer
    }
    nodes = []
    for tensor in model.graph.initializer:
        nodes.append(helper.make_node("Constant", [], [names[tensor.name]], value=tensor))
        if names[tensor.name] != tensor.name:
            nodes.append(helper.make_node("Identity", [names[tensor.name]], [tensor.name]))
    del model.graph.initializer[:]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    onnx.save(model, str(path))
    torch.testing.assert_close(load_model(f"onnx:{path}?{RAW}&shape=3x6x5")(x), before)


FAILING = {
    "a reshape": (helper.make_node("Reshape", ["f", "odd"], ["r"]), r"the node 'r' \(Reshape\) cannot be computed"),
    "a function": (helper.make_node("Endless", ["f"], ["r"], domain="own"), r"own(::|\.)Endless"),
    "an axis": (helper.make_node("Softmax", ["f"], ["r"], axis=5), r"axis|Softmax"),
    "an attribute": (helper.make_node("Einsum", ["f"], ["r"], equation="ij->ik"), "Einsum"),
}


@pytest.mark.parametrize("case", FAILING)
def test_whatever_fails_is_told_with_the_file_and_a_way_out(tmp_path: Path, case: str) -> None:
    node, words = FAILING[case]
    steps = [helper.make_node("Flatten", ["x"], ["f"]), node, helper.make_node("Gemm", ["r", "v"], ["y"], transB=1)]
    path = write(
        tmp_path / "a.onnx", steps, [weight("v", CLASSES, 90), ints("odd", 7, -1)], ("N", *SHAPE), ("N", CLASSES)
    )
    model = onnx.load(str(path))
    if case == "a function":
        inner = helper.make_node("Endless", ["a"], ["b"], domain="own")
        model.functions.append(helper.make_function("own", "Endless", ["a"], ["b"], [inner], model.opset_import))
        model.functions[0].opset_import.append(helper.make_opsetid("own", 1))
        model.opset_import.append(helper.make_opsetid("own", 1))
        path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=words) as told:
        load_model(f"onnx:{path}?{RAW}&shape=3x6x5")
    assert str(path) in str(told.value)
    assert "state_dict:" in str(told.value) or "Fetch it again" in str(told.value)
    assert "\n" not in str(told.value)
