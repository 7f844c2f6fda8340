"""ONNX networks give what onnxruntime gives, whatever their layout, batch, normalisation and last layer."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from data.full_data import needs
from models.onnx_graphs import CLASSES, SHAPE, ints, network, weight, write
from tangency.autodiff import double_backward
from tangency.cli import main
from tangency.data import load
from tangency.errors import ModelError
from tangency.models import load_model, read_classifier, save_classifier
from tangency.models.onnx.graph import read_graph

RAW = "range=0,1&mean=none&shape=3x6x5"


def runtime(path, x, layout="nchw", batch=None):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    fed = (x.permute(0, 2, 3, 1) if layout == "nhwc" else x).contiguous()
    fed = fed.flatten(1) if layout == "flat" else fed
    parts = fed.split(1) if batch == 1 else [fed]
    return torch.cat([torch.from_numpy(session.run(None, {"x": part.numpy()})[0]) for part in parts])


def reading(classifier):
    return " ".join(classifier.card.provenance["reading"])


def images(n=7):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("layout", ["nchw", "nhwc", "flat"])
@pytest.mark.parametrize("ending", ["", "Softmax", "LogSoftmax"])
def test_every_layout_batch_and_ending(tmp_path, layout, batch, ending):
    path = network(tmp_path / "a.onnx", layout, batch, ending)
    found, x = load_model(f"onnx:{path}?{RAW}"), images()
    expected = runtime(path, x, layout, batch)
    with torch.no_grad():
        logits = found(x)
    assert logits.shape == (7, CLASSES)
    own = {"": logits, "Softmax": logits.softmax(1), "LogSoftmax": logits.log_softmax(1)}[ending]
    assert torch.allclose(own, expected, rtol=1e-5, atol=1e-5)
    assert f"its input is {layout}" in reading(found)
    assert ("is taken off" in reading(found)) == bool(ending)
    assert ("rewritten to take any" in reading(found)) == (batch == 1)
    assert "agrees with onnxruntime" in reading(found)


def test_it_comes_back_from_safetensors_without_the_file(tmp_path):
    path = network(tmp_path / "a.onnx", "nhwc", 1, "Softmax")
    found, x = load_model(f"onnx:{path}?{RAW}&classes=a,b,c,d"), images()
    save_classifier(found, tmp_path / "net.safetensors")
    path.unlink()
    again = read_classifier(tmp_path / "net.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), found(x))
    assert again.card == found.card
    assert again.card.architecture == "onnx"
    assert again.card.provenance["sha256"]


@pytest.mark.parametrize(
    ("target", "way"), [((1, -1), "rewritten to take any"), ((1, 24), "rewritten to take any"), ((-1, 24), "rewritten")]
)
def test_reshapes_that_name_a_batch_of_one(tmp_path, target, way):
    path = network(tmp_path / "a.onnx", batch=1, reshape=target)
    found, x = load_model(f"onnx:{path}?{RAW}"), images()
    with torch.no_grad():
        assert torch.allclose(found(x), runtime(path, x, batch=1), rtol=1e-5, atol=1e-5)
    assert way in reading(found)


def test_a_batch_of_one_that_cannot_be_rewritten_is_vectorised(tmp_path):
    """A transposition of the batch axis and a sum over it: only image by image is it the same function."""
    steps = [
        helper.make_node("Flatten", ["x"], ["f"], axis=1),
        helper.make_node("ReduceSum", ["f", "axis"], ["s"], keepdims=1),
        helper.make_node("Gemm", ["s", "v"], ["y"], transB=1),
    ]
    stored = [weight("v", CLASSES, 90), ints("axis", 0)]
    path = write(tmp_path / "a.onnx", steps, stored, (1, *SHAPE), (1, CLASSES))
    x = images().requires_grad_()
    expected = runtime(path, x.detach(), batch=1)
    for options, words in (("", "torch.func.vmap"), ("&batch=loop", "one by one")):
        found = load_model(f"onnx:{path}?{RAW}{options}")
        assert words in reading(found)
        assert torch.allclose(found(x), expected, rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(found(x)[:, 0].sum(), x)
        assert torch.allclose(gradient[0], gradient[6])
        assert float(gradient.norm()) > 0
    with pytest.raises(ModelError, match="batch=any: ValueError: an output of shape"):
        load_model(f"onnx:{path}?{RAW}&batch=any")


INSIDE = {
    "in [0, 1]": ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4], (0.0, 1.0)),
    "in [0, 255]": ([120.0, 110.0, 100.0], [60.0, 50.0, 70.0], (0.0, 255.0)),
}


@pytest.mark.parametrize("case", INSIDE)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_normalisation_inside_the_graph_is_detected(tmp_path, case, layout):
    mean, std, limits = INSIDE[case]
    path = network(tmp_path / "a.onnx", layout, inside=(mean, std))
    graph = read_graph(path)
    assert graph.inside is not None
    assert np.allclose(graph.inside.mean, mean)
    assert np.allclose(graph.inside.std, std)
    found = load_model(f"onnx:{path}?shape=3x6x5")
    assert (found.card.input_range, found.card.mean) == (limits, ())
    assert "normalisation is inside the graph" in reading(found)
    x = images()
    with torch.no_grad():
        assert torch.allclose(found(x), runtime(path, x * limits[1], layout), rtol=1e-4, atol=1e-4)
    overridden = load_model(f"onnx:{path}?shape=3x6x5&range=-1,1&mean=none")
    assert overridden.card.input_range == (-1.0, 1.0)


def test_normalisation_outside_the_graph_is_asked_for(tmp_path):
    path = network(tmp_path / "a.onnx")
    assert read_graph(path).inside is None
    with pytest.raises(ModelError, match=r"nothing says how its images are normalised.*range=0,255.*--data"):
        load_model(f"onnx:{path}?shape=3x6x5")
    found = load_model(f"onnx:{path}?shape=3x6x5&mean=.5,.4,.3&std=.2,.3,.4")
    x = images()
    fed = (x - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(found(x), runtime(path, fed), rtol=1e-5, atol=1e-5)


def test_what_is_detected_can_be_overridden(tmp_path):
    x, path = images(), network(tmp_path / "a.onnx", "flat", ending="Softmax")
    shares = runtime(path, x, "flat")
    with torch.no_grad():
        assert torch.allclose(load_model(f"onnx:{path}?{RAW}&ending=keep")(x), shares, atol=1e-5)
        assert torch.allclose(load_model(f"onnx:{path}?{RAW}&ending=log")(x), shares.log(), atol=1e-4)
        pixels = load_model(f"onnx:{path}?{RAW}&layout=flat-nhwc")(x).softmax(1)
    assert torch.allclose(pixels, runtime(path, x.permute(0, 2, 3, 1), "flat"), atol=1e-5)
    for option, words in (
        ("layout=chw", "unknown layout"),
        ("ending=no", "unknown ending"),
        ("batch=3", "unknown batch"),
    ):
        with pytest.raises(ModelError, match=words):
            load_model(f"onnx:{path}?{RAW}&{option}")


def test_probabilities_without_a_softmax_are_seen(tmp_path):
    steps = [
        helper.make_node("Flatten", ["x"], ["f"], axis=1),
        helper.make_node("Gemm", ["f", "v"], ["z"], transB=1),
        helper.make_node("Exp", ["z"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axis"], ["s"], keepdims=1),
        helper.make_node("Div", ["e", "s"], ["y"]),
    ]
    path = write(tmp_path / "a.onnx", steps, [weight("v", CLASSES, 90), ints("axis", 1)], ("N", *SHAPE), ("N", CLASSES))
    found, x = load_model(f"onnx:{path}?{RAW}"), images()
    assert "returns probabilities" in reading(found)
    with torch.no_grad():
        assert torch.allclose(found(x).softmax(1), runtime(path, x), atol=1e-5)


def test_derivatives_of_every_kind(tmp_path):
    path = network(tmp_path / "a.onnx", "nhwc", 1, "Softmax", inside=([0.5], [0.25]))
    found = load_model(f"onnx:{path}?shape=3x6x5").double()
    x = images(2).double().requires_grad_()
    v = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with double_backward():
        (gradient,) = torch.autograd.grad(found(x)[:, 1].sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((gradient * v).sum(), x)
        slope = torch.func.jvp(lambda z: found(z)[:, 1].sum(), (x.detach(),), (v,))[1]
        step = 1e-4 * v
        with torch.no_grad():
            finite = (found(x + step)[:, 1].sum() - found(x - step)[:, 1].sum()) / 2e-4
    assert float(slope.detach()) == pytest.approx(float((gradient * v).sum().detach()), rel=1e-8)
    assert float(finite) == pytest.approx(float(slope.detach()), rel=1e-5)
    assert float(second.norm()) > 0


def external(tmp_path):
    path = network(tmp_path / "a.onnx")
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../../etc/passwd"), ("offset", "0"), ("length", "216")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    return path


def unknown_operation(tmp_path):
    steps = [helper.make_node("Flatten", ["x"], ["f"], axis=1), helper.make_node("Unique", ["q"], ["y"])]
    steps.insert(1, helper.make_node("Gemm", ["f", "v"], ["q"], transB=1))
    return write(tmp_path / "a.onnx", steps, [weight("v", CLASSES, 90)], ("N", *SHAPE), ("N",))


def two_inputs(tmp_path):
    path = network(tmp_path / "a.onnx")
    model = onnx.load(str(path))
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, (1,)))
    onnx.save(model, str(path))
    return path


def integers(tmp_path):
    path = network(tmp_path / "a.onnx")
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    path.write_bytes(model.SerializeToString())
    return path


def text(content):
    def make(tmp_path):
        (tmp_path / "a.onnx").write_bytes(content)
        return tmp_path / "a.onnx"

    return make


BAD = {
    "external": (external, "the name of a file beside it"),
    "operation": (unknown_operation, "operators that are not known here: Unique"),
    "two inputs": (two_inputs, "2 inputs"),
    "integers": (integers, "float32 images|not a readable"),
    "web page": (text(b"<!doctype html>404"), "web page"),
    "empty": (text(b""), "empty"),
    "jpeg": (text(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(200)), "JPEG|not a readable ONNX"),
    "zip": (text(b"PK\x03\x04" + bytes(30)), "zip archive"),
    "noise": (text(bytes(range(1, 200))), "not a readable ONNX"),
    "absent": (lambda folder: folder / "b.onnx", "no such file"),
    "cut": (lambda folder: text(network(folder / "b.onnx").read_bytes()[:-200])(folder), "not a readable ONNX"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(tmp_path, case):
    make, words = BAD[case]
    path = make(tmp_path)
    with pytest.raises(ModelError, match=words) as error:
        load_model(f"onnx:{path}?{RAW}")
    assert str(path) in str(error.value) or "onnx" in str(error.value)


def returning(path, steps, shape, kind=TensorProto.FLOAT):
    """A convolution, then these steps."""
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", *SHAPE))]
    returned = [helper.make_tensor_value_info("y", kind, shape)]
    stored = [weight("w", 4, 3, 3, 3), ints("by class", 0, 4, -1)]
    first = helper.make_node("Conv", ["x", "w"], ["c"])
    graph = helper.make_graph([first, *steps], "returning", given, returned, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


SEQUENCE = [
    helper.make_node("Reshape", ["c", "by class"], ["r"]),
    helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
    helper.make_node("Softmax", ["t"], ["y"], axis=-1),
]
POOLED = helper.make_node("GlobalAveragePool", ["c"], ["g"])
NO_LOGITS = {
    "maps": ([helper.make_node("Tanh", ["c"], ["y"])], ("N", 4, 4, 3), r"float32 numbers of shape 1x4x4x3 for 1 image"),
    "a sequence": (SEQUENCE, ("N", 12, 4), r"float32 numbers of shape 1x12x4 for 1 image.*\?output=NAME"),
    "labels": ([POOLED, helper.make_node("ArgMax", ["g"], ["y"], axis=1)], ("N", 1, 1, 1), r"int64 numbers.*argmax"),
    "one number": (
        [helper.make_node("ReduceMean", ["c"], ["y"], axes=[1, 2, 3])],
        ("N", 1, 1, 1),
        "two classes or more",
    ),
    "no batch": ([helper.make_node("ReduceMean", ["c"], ["y"], keepdims=0)], (), "of shape none for 1 image"),
}


@pytest.mark.parametrize("case", NO_LOGITS)
def test_outputs_that_are_no_logits(tmp_path, case, capsys, monkeypatch):
    steps, shape, words = NO_LOGITS[case]
    kind = TensorProto.INT64 if case == "labels" else TensorProto.FLOAT
    path = returning(tmp_path / "a.onnx", steps, shape, kind)
    with pytest.raises(ModelError, match=words) as error:
        load_model(f"onnx:{path}?{RAW}")
    assert f"{path}: its output 'y' is" in str(error.value)
    monkeypatch.setattr("sys.argv", ["tangency", "convert", f"onnx:{path}?{RAW}", str(tmp_path / "net.safetensors")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "net.safetensors").exists()


def test_axes_of_one_behind_the_classes_are_dropped(tmp_path):
    path = returning(tmp_path / "a.onnx", [helper.make_node("GlobalAveragePool", ["c"], ["y"])], ("N", 4, 1, 1))
    found, x = load_model(f"onnx:{path}?{RAW}&outputs=logits"), images()
    assert torch.allclose(found(x), runtime(path, x).flatten(1), atol=1e-6)


def test_free_height_and_width(tmp_path):
    """The size of the images is asked for, and any will do."""
    steps = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalMaxPool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    path = write(tmp_path / "a.onnx", steps, [weight("w", CLASSES, 3, 3, 3)], ("N", 3, "H", "W"), ("N", CLASSES))
    with pytest.raises(ModelError, match=r"3x\?x\?.*give the shape"):
        load_model(f"onnx:{path}?range=0,1&mean=none")
    for shape in ("3x6x5", "3x9x9"):
        found = load_model(f"onnx:{path}?range=0,1&mean=none&outputs=logits&shape={shape}")
        x = torch.rand(2, *map(int, shape.split("x")))
        assert torch.allclose(found(x), runtime(path, x), atol=1e-6)


def test_images_of_another_size_are_asked_about(tmp_path):
    path = network(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"takes 3x6x5 numbers an image, the images are 3x12x10.*resize"):
        load_model(f"onnx:{path}?range=0,1&mean=none&shape=3x12x10")
    found = load_model(f"onnx:{path}?range=0,1&mean=none&shape=3x12x10&resize=6x5")
    assert found(torch.rand(2, 3, 12, 10)).shape == (2, CLASSES)
    with pytest.raises(ModelError, match="give the shape of its images"):
        load_model(f"onnx:{network(tmp_path / 'b.onnx', 'flat')}")


REAL = {
    # file, data, shape, accuracy on the 10,000 test images
    "cifar10_small.onnx": ("cifar10", (3, 32, 32), 0.6234),
    "mnist-net_256x2.onnx": ("mnist", (1, 28, 28), 0.9808),
}


@needs("onnx", "mnist", "cifar10-train.parquet", "cifar10-test.parquet")
@pytest.mark.parametrize("name", REAL)
def test_third_party_networks_reach_their_accuracy(data_root, name):
    kind, shape, accuracy = REAL[name]
    path, data = data_root / "onnx" / name, load(kind)
    found = load_model(f"onnx:{path}", data)
    assert (found.card.shape, found.card.input_range, found.card.mean) == (shape, (0.0, 1.0), ())
    assert "images in [0, 1]" in reading(found)
    test = data.test
    with torch.no_grad():
        predicted = torch.cat([found(test.images(slice(i, i + 500))).argmax(1) for i in range(0, len(test), 500)])
    assert float((predicted == test.labels).double().mean()) == pytest.approx(accuracy, abs=0.0005)
