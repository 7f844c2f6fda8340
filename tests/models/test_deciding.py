"""How a network is fed is found from training images; a warning where candidates are alike, a question where not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tangency.data import load
from tangency.errors import ModelError
from tangency.models import build, load_model
from tangency.models.foreign.feeding import PRESETS
from tangency.models.foreign.normalise import Convention, Fed, conventions, resemblance
from tangency.types import Dataset, LabelledImages

OPTIONS = "arch=convnet&activation=relu"


def robust(data, convention, penalty=1.0, steps=220):
    """A small network trained with a penalty on its gradient's norm, fed by a convention."""
    torch.manual_seed(0)
    net = build("convnet", data.shape, 10, mean=(), std=(), activation="relu").module
    optimiser = torch.optim.AdamW(net.parameters(), 4e-3)
    for _ in range(steps):
        index = torch.randint(len(data), (64,))
        x, y = data.images(index).requires_grad_(), data.labels[index]
        loss = F.cross_entropy(net(convention.feed(x)), y)
        (gradient,) = torch.autograd.grad(loss * 64, x, create_graph=True)
        (loss + penalty * gradient.flatten(1).norm(dim=1).mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
    return net.eval()


def reference(tmp_path, net):
    torch.save(net.state_dict(), tmp_path / "w.pt")
    return f"state_dict:{tmp_path / 'w.pt'}?{OPTIONS}"


def coloured(data):
    """Fashion-MNIST in colours whose moments are near CIFAR-10's, where most scripts' std is not the images' own."""
    grey = data.pixels.float().div(255) if data.pixels.dtype == torch.uint8 else data.pixels
    tint = torch.rand(len(grey), 3, 1, 1, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in PRESETS["cifar10"])
    mixed = 0.8 * (grey - grey.mean()) / grey.std() + 0.6 * (tint - 0.5) / 0.29
    pixels = (mean + std * mixed).clamp(0, 1)
    return LabelledImages((pixels * 255).round().to(torch.uint8), data.labels, data.classes, "coloured")


@pytest.fixture(scope="module")
def colours():
    found = load("fashion-mnist-5k")
    return Dataset("coloured", coloured(found.train), coloured(found.test))


def test_candidates_that_are_measured_alike_are_no_question(tmp_path, colours):
    """A robust network with the std that most scripts for CIFAR-10 have: the images' own and ImageNet's do as well."""
    trained = Convention("", "", (0.0, 1.0), *PRESETS["cifar"])
    net = robust(colours.train, trained)
    found = load_model(reference(tmp_path, net), colours)
    warnings = found.card.provenance["warnings"]
    assert warnings
    assert "measures are alike with both: the same class for" in warnings[0]
    assert "?range=0,1&mean=" in warnings[0]
    assert set(warnings) <= set(found.card.provenance["reading"])
    x, y = colours.test.images(slice(0, 200)), colours.test.labels[:200]
    near = resemblance(Fed(net, trained), found, x, y)
    assert near.alike
    assert near.same > 0.85


@pytest.mark.slow
def test_a_clear_winner_needs_no_warning(tmp_path):
    data = load("fashion-mnist-5k")
    found = load_model(reference(tmp_path, robust(data.train, conventions(data.train)[0])), data)
    assert (found.card.input_range, found.card.mean) == ((0.0, 1.0), ())
    assert "warnings" not in found.card.provenance
    assert any("normalisation: images in [0, 1], found from" in text for text in found.card.provenance["reading"])


def test_equal_classes_of_other_sizes_are_asked(tmp_path):
    """[0, 1] and [0, 255] give the same classes to a network without biases, and gradients of other sizes."""
    data = load("fashion-mnist-5k")
    x, y = data.train.images().flatten(1), F.one_hot(data.train.labels, 10).float()
    weight = torch.linalg.solve(x.T @ x + 100 * torch.eye(784), x.T @ y).T
    source = tmp_path / "net.py"
    source.write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))\n"
    )
    torch.save({"1.weight": 3 * weight}, tmp_path / "w.pt")
    text = f"state_dict:{tmp_path / 'w.pt'}?arch=py:{source}:net"
    words = r"do not decide it: .*measured otherwise with images in \[0, 255\], .* times the size"
    with pytest.raises(ModelError, match=words):
        load_model(text, data, trust_code=True)
    assert load_model(f"{text}&range=0,1&mean=none", data, trust_code=True).classes == 10


def test_agreement_is_that_of_the_gradients():
    """Twice the logits: the same classes and directions, and sizes as the closed form of two classes has them."""
    torch.manual_seed(0)
    one = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    two = nn.Sequential(one, nn.Linear(2, 2, bias=False)).double()
    two[1].weight.data = 2 * torch.eye(2, dtype=torch.float64)
    x, y = torch.rand(9, 3, 2, 2, dtype=torch.float64), torch.arange(9) % 2
    found = resemblance(one, two, x, y)
    assert (found.same, found.cosine) == (1.0, pytest.approx(1.0))
    gap = (one(x)[:, 1] - one(x)[:, 0]).detach()
    once, twice = (torch.sigmoid(factor * gap) * torch.sigmoid(-factor * gap) for factor in (1, 2))
    assert found.size == pytest.approx(float(2 * twice.mean() / once.mean()))
    assert resemblance(one, one, x, y).alike


def test_the_std_of_most_scripts_for_cifar_is_tried(colours):
    names = [found.name for found in conventions(colours.train)]
    assert any("most scripts for CIFAR-10" in name for name in names)
    assert not any("CIFAR" in found.name for found in conventions(load("fashion-mnist-5k").train))
