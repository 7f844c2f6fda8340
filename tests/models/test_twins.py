"""Weights that fit several functions: training images tell which, or an option does, or it is asked; never a guess."""

import hashlib
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.twin_support import images, normalised, own_labels, spread
from tangency.errors import ModelError
from tangency.models import load_model, read_classifier, save_classifier
from tangency.models.architectures.cifar import build_cifar
from tangency.models.foreign.twins import twins_of

RAW = "range=0,1&mean=none"


class PreActOfPytorchCifar(nn.Module):
    """Written after kuangliu/pytorch-cifar's preact_resnet.py, whose shortcut sees relu(bn1(x))."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        before = 64
        for stage, width in enumerate((64, 128, 256, 512)):
            blocks = []
            for index in range(2):
                stride = 2 if stage and not index else 1
                block = nn.Module()
                block.bn1, block.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, width, 3, stride, 1, bias=False)
                block.bn2, block.conv2 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, 1, 1, bias=False)
                if stride != 1 or before != width:
                    block.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False))
                blocks.append(block)
                before = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(512, classes)

    def forward(self, x):
        x = self.conv1(x)
        for stage in range(4):
            for block in self.get_submodule(f"layer{stage + 1}"):
                out = F.relu(block.bn1(x))
                kept = block.shortcut(out) if hasattr(block, "shortcut") else x
                x = block.conv2(F.relu(block.bn2(block.conv1(out)))) + kept
        return self.linear(x.mean((2, 3)))


@pytest.fixture(scope="module")
def preact(tmp_path_factory):
    torch.manual_seed(0)
    net = spread(PreActOfPytorchCifar(5))
    data = own_labels(net, images(120, 3, 16, 16), net.linear, 5)
    path = tmp_path_factory.mktemp("preact") / "ckpt.pth"
    torch.save({"net": net.state_dict(), "acc": 95.1, "epoch": 199}, path)
    return net, data, f"state_dict:{path}?arch=cifar:preactresnet18"


def reading(found):
    return " ".join(found.card.provenance["reading"])


def close(found, net, x):
    with torch.no_grad():
        wanted = net(x)
        return float((found(x) - wanted).abs().max() / (wanted - wanted.mean(0)).abs().max()) < 1e-5


def test_pytorch_cifars_preactivation_network_is_told_from_robustbenchs(preact, tmp_path):
    net, data, reference = preact
    x = data.test.images(slice(0, 8))
    with pytest.raises(ModelError, match=r"\?shortcut=raw.*\?shortcut=activated.*--data"):
        load_model(f"{reference}&{RAW}&shape=3x16x16")
    found = load_model(f"{reference}&{RAW}", data)
    assert close(found, net, x)
    assert "as in pytorch-cifar (?shortcut=activated), found from" in reading(found)
    assert "shortcut=activated 100.0%" in reading(found)
    save_classifier(found, tmp_path / "again.safetensors")
    assert torch.equal(read_classifier(tmp_path / "again.safetensors")(x), found(x))
    for option, same in (("activated", True), ("raw", False)):
        chosen = load_model(f"{reference}&{RAW}&shape=3x16x16&shortcut={option}")
        assert close(chosen, net, x) == same
        assert f"(?shortcut={option})" in reading(chosen)
    with pytest.raises(ModelError, match=r"unknown shortcut 'none'.*Known: activated, raw"):
        load_model(f"{reference}&{RAW}&shape=3x16x16&shortcut=none")


def test_the_network_and_its_normalisation_are_found_together(preact):
    net, data, reference = preact
    found = load_model(reference, data)
    assert close(found, net, data.test.images(slice(0, 8)))
    assert "normalisation: images in [0, 1], found from" in reading(found)
    assert "(?shortcut=activated), found from" in reading(found)


def test_images_that_tell_nothing_are_a_question(preact):
    _, data, reference = preact
    labels = data.train.labels[torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))]
    split = replace(data.train, labels=labels)
    other = replace(data, train=split, test=split)
    with pytest.raises(ModelError, match=r"\?shortcut=raw.*do not decide it: accuracy with shortcut=raw"):
        load_model(f"{reference}&{RAW}", other)


def test_a_named_twin_and_an_owner_that_is_known_are_no_question(preact, tmp_path):
    net, data, reference = preact
    named = load_model(f"{reference}v2&{RAW}&shape=3x16x16")
    assert close(named, net, data.test.images(slice(0, 8)))
    with pytest.raises(ModelError, match="unknown option"):
        load_model(f"{reference}v2&{RAW}&shape=3x16x16&shortcut=raw")
    torch.save({"state_dict": build_cifar("preactresnet18", (3, 32, 32), 10).state_dict()}, tmp_path / "a.pt")
    found = load_model(f"robustbench:Andriushchenko2020Understanding?weights={tmp_path / 'a.pt'}")
    assert found.card.architecture == "cifar:preactresnet18"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("transforms", [True, False])
def test_torchvisions_networks_that_may_rescale_their_input(tmp_path, name, transforms):
    from torchvision import models

    torch.manual_seed(0)
    net = getattr(models, name)(num_classes=5, transform_input=transforms, init_weights=False)
    side = 48 if name == "googlenet" else 80
    x = images(60, 3, side, side)
    data = own_labels(normalised(spread(net), x), x, net.fc, 5)
    path = tmp_path / "w.pth"
    torch.save(net.state_dict(), path)
    reference = f"torchvision:{name}?weights={path}&{RAW}"
    with pytest.raises(ModelError, match=r"\?transform_input=true.*\?transform_input=false.*--data"):
        load_model(f"{reference}&shape=3x{side}x{side}")
    found = load_model(reference, data)
    assert close(found, net, data.test.images(slice(0, 4)))
    value = str(transforms).lower()
    assert f"(?transform_input={value}), found from" in reading(found)
    asked = load_model(f"{reference}&shape=3x{side}x{side}&transform_input={value}")
    assert close(asked, net, data.test.images(slice(0, 4)))
    save_classifier(found, tmp_path / "again.safetensors")
    again = read_classifier(tmp_path / "again.safetensors")
    assert close(again, net, data.test.images(slice(0, 4)))


def test_torchvisions_published_weights_are_known_by_their_hash(tmp_path, monkeypatch):
    """The address of its weights holds the beginning of their SHA-256; a file of random weights stands for them."""
    from torchvision import models

    net = spread(models.googlenet(num_classes=1000, transform_input=True, init_weights=False))
    torch.save(net.state_dict(), tmp_path / "w.pth")
    digest = hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest()[:8]
    reference = f"torchvision:googlenet?weights={tmp_path / 'w.pth'}&resize=48"
    with pytest.raises(ModelError, match="transform_input"):
        load_model(f"{reference}&shape=3x48x48")
    address = models.GoogLeNet_Weights.IMAGENET1K_V1.url
    assert address.endswith("-1378be20.pth")
    monkeypatch.setattr(
        "tangency.models.foreign.loaders._published", lambda name: [address.replace("1378be20", digest)]
    )
    found = load_model(f"{reference}&shape=3x48x48")
    assert "(?transform_input=true)" in reading(found)


@pytest.mark.parametrize("caffe", [pytest.param(True, marks=pytest.mark.slow), False])
def test_the_stride_of_bottlenecks_is_checked_on_the_data(tmp_path, caffe):
    from torchvision.models import resnet50
    from torchvision.models.resnet import Bottleneck

    torch.manual_seed(0)
    net = resnet50(num_classes=5)
    for block in net.modules():
        if caffe and isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
    data = own_labels(spread(net), images(60, 3, 32, 32), net.fc, 5)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    reference = f"torchvision:resnet50?weights={tmp_path / 'w.pth'}&{RAW}"
    found = load_model(reference, data)
    assert close(found, net, data.test.images(slice(0, 8)))
    assert ("(?stride=1x1), found from" if caffe else "(?stride=3x3), as usual; right for 100%") in reading(found)
    alone = load_model(f"{reference}&shape=3x32x32")
    assert close(alone, net, data.test.images(slice(0, 8))) != caffe
    assert "(?stride=3x3), as usual; no data were given" in reading(alone)
    save_classifier(found, tmp_path / "again.safetensors")
    assert close(read_classifier(tmp_path / "again.safetensors"), net, data.test.images(slice(0, 8)))


class FixMatch(nn.Module):
    """Written after kekmodel/FixMatch-pytorch's wideresnet.py, from the weights of a network of the same names."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        def act(y):
            return F.leaky_relu(y, 0.1)

        x = self.net.conv1(x)
        for stage in (1, 2, 3):
            for block in self.net.get_submodule(f"block{stage}").layer:
                equal = block.convShortcut is None
                if not equal and stage == 1:
                    x = act(block.bn1(x))
                else:
                    out = act(block.bn1(x))
                out = act(block.bn2(block.conv1(out if equal else x)))
                x = (x if equal else block.convShortcut(x)) + block.conv2(out)
        return self.net.fc(act(self.net.bn1(x)).mean((2, 3)))


@pytest.mark.parametrize("fixmatch", [True, False])
def test_wide_resnets_of_fixmatch_and_of_trades(tmp_path, fixmatch):
    torch.manual_seed(0)
    plain = spread(build_cifar("wrn-10-2", (3, 16, 16), 5))
    net = FixMatch(plain).eval() if fixmatch else plain
    data = own_labels(net, images(300, 3, 16, 16), plain.fc, 5)
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    found = load_model(f"state_dict:{tmp_path / 'w.pth'}?arch=cifar:wrn-10-2&{RAW}", data)
    assert close(found, net, data.test.images(slice(0, 8)))
    assert f"(?block={'fixmatch' if fixmatch else 'trades'})" in reading(found)


def test_every_twin_has_the_same_names_and_shapes():
    from tangency.models.foreign.rebuilt import build_foreign

    names = ["cifar:preactresnet34bn", "cifar:wrn-16-1", "torchvision:resnext50_32x4d", "torchvision:googlenet"]
    for name in names:
        made = []
        for architecture, options in twins_of(name).choices.values():
            with torch.device("meta"):
                made.append(build_foreign(architecture, (3, 32, 32), 10, options).state_dict())
        assert {key: value.shape for key, value in made[0].items()} == {k: v.shape for k, v in made[1].items()}
    assert twins_of("cifar:resnet50") is None
    assert twins_of("torchvision:resnet18") is None
