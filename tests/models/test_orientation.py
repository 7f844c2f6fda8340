"""Images are turned before the network, its gradient comes back in theirs, and a converted file still does so."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.onnx_graphs import SHAPE, network
from tangency.errors import ModelError
from tangency.evaluate.convert import convert_model
from tangency.models import build, load_model, read_classifier, save_classifier
from tangency.models.orientation import ORIENTATIONS, composed, turned

PILLOW = {
    "transposed": Image.Transpose.TRANSPOSE,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "flipped": Image.Transpose.FLIP_TOP_BOTTOM,
    "rotated90": Image.Transpose.ROTATE_90,
    "rotated180": Image.Transpose.ROTATE_180,
    "rotated270": Image.Transpose.ROTATE_270,
    "antitransposed": Image.Transpose.TRANSVERSE,
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_turns_are_those_of_pillow(name):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    wanted = np.asarray(Image.fromarray(pixels).transpose(PILLOW[name])).transpose(2, 0, 1)
    assert torch.equal(turned(torch.tensor(pixels).permute(2, 0, 1)[None], name)[0], torch.tensor(wanted))


@pytest.mark.parametrize("first", [None, *ORIENTATIONS])
@pytest.mark.parametrize("second", [None, *ORIENTATIONS])
def test_two_turns_are_one(first, second):
    x = torch.rand(2, 3, 5, 7)
    assert torch.equal(turned(turned(x, first), second), turned(x, composed(first, second)))


def of_script(tmp_path, shape=(1, 10, 12)):
    net = build("convnet", shape, 4, mean=(), std=()).module.eval()
    torch.save(net.state_dict(), tmp_path / "a.pt")
    return net, f"state_dict:{tmp_path / 'a.pt'}?arch=convnet&range=0,1&mean=none"


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_turned_network_and_its_gradient_and_its_file(tmp_path, name):
    """Trained on turned images of 10×12, measured on images as they are."""
    net, reference = of_script(tmp_path)
    x = torch.rand(3, 1, *((12, 10) if ORIENTATIONS[name][0] else (10, 12)), requires_grad=True)
    found = load_model(f"{reference}&shape=1x{x.shape[2]}x{x.shape[3]}&layout={name}")
    pillow = [np.asarray(Image.fromarray(image[0].numpy()).transpose(PILLOW[name])) for image in x.detach()]
    fed = torch.tensor(np.stack(pillow))[:, None].requires_grad_()
    assert torch.allclose(found(x), net(fed), atol=1e-6)
    (gradient,) = torch.autograd.grad(found(x)[:, 0].sum(), x)
    (wanted,) = torch.autograd.grad(net(fed)[:, 0].sum(), fed)
    assert torch.allclose(turned(gradient, name), wanted, atol=1e-6)
    assert any(f"layout={name}" in sentence for sentence in found.card.provenance["reading"])
    save_classifier(found, tmp_path / "again.safetensors")
    again = read_classifier(tmp_path / "again.safetensors")
    assert torch.equal(again(x), found(x))
    assert again.card == found.card


def test_a_file_of_ours_keeps_the_size_that_images_are_brought_to(tmp_path):
    """Written by convert, read again: the architecture is one of ours, whose constructor knows no `resize`."""
    net, reference = of_script(tmp_path)
    convert_model(f"{reference}&shape=1x6x5&layout=transposed&resize=10x12", tmp_path / "b.safetensors")
    x = torch.rand(2, 1, 6, 5)
    up = nn.functional.interpolate(x.transpose(2, 3), (10, 12), mode="bilinear")
    assert torch.allclose(read_classifier(tmp_path / "b.safetensors")(x), net(up), atol=1e-6)


@pytest.mark.parametrize("graph", ["nchw", "nhwc"])
@pytest.mark.parametrize("name", ["transposed", "mirrored"])
def test_onnx_has_its_own_layout_beside(tmp_path, graph, name):
    path = network(tmp_path / "a.onnx", graph)
    sides = (5, 6) if name == "transposed" else (6, 5)
    x = torch.rand(2, 3, *sides)
    plain = load_model(f"onnx:{path}?range=0,1&mean=none&shape=3x6x5")
    for options in (f"layout={name}", f"layout={graph},{name}"):
        found = load_model(f"onnx:{path}?range=0,1&mean=none&shape=3x{sides[0]}x{sides[1]}&{options}")
        assert plain.card.shape == SHAPE
        assert torch.equal(found(x), plain(turned(x, name)))
        save_classifier(found, tmp_path / "b.safetensors")
        assert torch.equal(read_classifier(tmp_path / "b.safetensors")(x), found(x))


def test_code_is_turned_too(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n return nn.Sequential(nn.Flatten(), nn.Linear(6, 2))\n"
    )
    reference = f"py:{tmp_path / 'net.py'}:net?range=0,1&mean=none&shape=1x2x3&layout=transposed"
    convert_model(reference, tmp_path / "b.safetensors", trust_code=True)
    found = read_classifier(tmp_path / "b.safetensors", trust_code=True)
    x = torch.rand(2, 1, 2, 3)
    assert torch.equal(found(x), found.module.net(x.transpose(2, 3)))


@pytest.mark.parametrize("value", ["transpose", "nhwc", ""])
def test_unknown_layouts_are_refused_by_name(tmp_path, value):
    _, reference = of_script(tmp_path)
    with pytest.raises(ModelError, match=r"unknown layout .* transposed"):
        load_model(f"{reference}&shape=1x10x12&layout={value}")
    with pytest.raises(ModelError, match=r"unknown layout .*Known: .*transposed.*nhwc"):
        load_model(f"onnx:{network(tmp_path / 'a.onnx')}?range=0,1&mean=none&shape=3x6x5&layout=transpose")
