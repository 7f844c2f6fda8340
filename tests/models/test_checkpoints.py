"""Checkpoints in the layouts of robustness, RobustBench and TRADES, and state dicts of our own networks."""

import re
from collections import OrderedDict

import pytest
import torch

from models.state_support import RAW, prefixed, random_state, save, small
from tangency.errors import ModelError
from tangency.models.architectures.cifar import build_cifar
from tangency.models.references import load_model


def robustness_checkpoint(state, mean, std):
    """As `robustness.train` saves: DataParallel around AttackerModel, with its attacker's copies."""
    model = OrderedDict()
    for scope in ("module.normalizer", "module.attacker.normalize"):
        model[f"{scope}.new_mean"] = torch.tensor(mean).view(3, 1, 1)
        model[f"{scope}.new_std"] = torch.tensor(std).view(3, 1, 1)
    for scope in ("module.model.", "module.attacker.model."):
        model.update(prefixed(state, scope))
    schedule = {"step_size": 50, "lr_lambdas": [len]}
    return {"model": model, "optimizer": {"state": {}}, "schedule": schedule, "epoch": 150, "prec1": torch.tensor(0.8)}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_robustness_checkpoint_of_cifar(tmp_path, zipped):
    net = build_cifar("resnet18thin", (3, 32, 32), 10)
    state, mean, std = random_state(net), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
    net.load_state_dict(state)
    path = save(tmp_path / "a.ckpt", robustness_checkpoint(state, mean, std), zipped)
    found = load_model(f"robustness:{path}?arch=resnet18thin&dataset=cifar")
    x = torch.rand(3, 3, 32, 32)
    fed = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(found(x), net.eval()(fed), rtol=1e-5, atol=1e-4)
    assert found.card.mean == pytest.approx(mean)
    assert found.card.classes[3] == "cat"
    assert found.card.input_range == (0.0, 1.0)
    assert not any(part.training for part in found.modules())
    notes = " ".join(found.card.provenance["reading"])
    assert "prefix 'module.model.' taken off" in notes
    assert "mean and std taken from the checkpoint" in notes


def test_a_checkpoint_of_robust_models_transfer(tmp_path):
    """ImageNet: torchvision's names of layers, 1000 classes, 224 pixels."""
    from torchvision.models import squeezenet1_1

    net = squeezenet1_1(num_classes=1000).eval()
    path = save(
        tmp_path / "a.ckpt", robustness_checkpoint(net.state_dict(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    found = load_model(f"robustness:{path}?arch=squeezenet1_1&dataset=imagenet")
    assert found.card.shape == (3, 224, 224)
    x = torch.rand(1, 3, 224, 224)
    fed = (x - torch.tensor(found.card.mean).view(3, 1, 1)) / torch.tensor(found.card.std).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(found(x), net(fed), rtol=1e-5, atol=1e-4)


def test_a_checkpoint_of_restricted_imagenet(tmp_path):
    """Nine classes and a mean of their own, as robustness.datasets.RestrictedImageNet has them."""
    from torchvision.models import squeezenet1_1

    net = squeezenet1_1(num_classes=9).eval()
    path = save(tmp_path / "a.ckpt", {"model": prefixed(net.state_dict(), "module.model.")})
    found = load_model(f"robustness:{path}?arch=squeezenet1_1&dataset=restricted_imagenet")
    assert (found.card.shape, found.classes, found.card.classes[8]) == ((3, 224, 224), 9, "insect")
    assert found.card.mean == (0.4717, 0.4499, 0.3837)
    assert found.card.std == (0.2600, 0.2516, 0.2575)
    with pytest.raises(ModelError, match="do not fit CifarResNet"):
        load_model(f"robustness:{path}?arch=resnet18&dataset=cifar")


def test_robustness_of_another_layout_is_told(tmp_path):
    path = save(tmp_path / "a.ckpt", {"model": prefixed(small().state_dict(), "module.model.")})
    with pytest.raises(ModelError, match="do not fit CifarResNet: missing"):
        load_model(f"robustness:{path}?arch=resnet18&dataset=cifar")
    for options, words in (
        ("dataset=cifar", "no arch"),
        ("arch=resnet18", "no dataset"),
        ("arch=resnet18&dataset=svhn", "unknown dataset"),
    ):
        with pytest.raises(ModelError, match=words):
            load_model(f"robustness:{path}?{options}")


def test_robustbench_checkpoints_load_without_it(tmp_path):
    net = build_cifar("preactresnet18", (3, 32, 32), 10)
    net.load_state_dict(random_state(net))
    path = save(tmp_path / "cifar_linf_8.pt", {"state_dict": prefixed(net.state_dict(), "module.")})
    found = load_model(f"robustbench:Wong2020Fast?weights={path}")
    assert found.card.std == (0.2471, 0.2435, 0.2616)
    x = torch.rand(2, 3, 32, 32)
    fed = (x - torch.tensor(found.card.mean).view(3, 1, 1)) / torch.tensor(found.card.std).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(found(x), net.eval()(fed), rtol=1e-5, atol=1e-4)
    with pytest.raises(ModelError, match=r"Did you mean 'Wong2020Fast'.*state_dict:FILE"):
        load_model(f"robustbench:Wong2020?weights={path}")
    with pytest.raises(ModelError, match=re.escape("tangency[robustbench]")):
        load_model("robustbench:Carmon2019Unlabeled")


def test_the_unused_block_of_trades_is_left_out(tmp_path):
    net = build_cifar("wrn-10-1", (3, 32, 32), 10)
    state = {**net.state_dict(), **{f"sub_{k}": v for k, v in net.state_dict().items() if k.startswith("block1.")}}
    path = save(tmp_path / "a.pt", state)
    found = load_model(f"state_dict:{path}?arch=cifar:wrn-10-1&shape=3x32x32&{RAW}")
    with torch.no_grad():
        assert torch.equal(found(torch.ones(1, 3, 32, 32)), net.eval()(torch.ones(1, 3, 32, 32)))


def test_state_dicts_of_our_own_networks(tmp_path):
    from tangency.models import build

    net = build("convnet", (1, 12, 12), 4, mean=(), std=(), norm="group", channels=(3, 4, 5)).eval()
    path = save(tmp_path / "a.pth", net.module.state_dict())
    found = load_model(f"{path}?arch=convnet&norm=group&channels=3,4,5&shape=1x12x12&{RAW}&classes=a,b,c,d")
    x = torch.rand(2, 1, 12, 12)
    assert torch.equal(found(x), net(x))
    assert found.card.classes == ("a", "b", "c", "d")
    scaled = load_model(f"{path}?arch=convnet&norm=group&channels=3,4,5&shape=1x12x12&range=0,255&mean=none")
    assert torch.allclose(scaled(x), net.module(255 * x), atol=1e-4)


QUESTIONS = {
    "arch": ("shape=1x12x12", "no arch; give"),
    "unknown arch": ("arch=resnet9&shape=1x12x12", "unknown architecture"),
    "normalisation": ("arch=convnet&shape=1x12x12", "nothing says how its images are normalised"),
    "shape": (f"arch=convnet&{RAW}", "nothing says what images"),
    "channels": (f"arch=convnet&shape=3x12x12&{RAW}", "a network for images of 1 channel, these have 3"),
    "classes": (f"arch=convnet&shape=1x12x12&{RAW}&classes=7", "7 classes were named, the network has 4"),
    "half a normalisation": ("arch=convnet&shape=1x12x12&mean=.5", "mean without std"),
    "range": ("arch=convnet&shape=1x12x12&range=1,0&mean=none", "low,high"),
    "words": ("arch=convnet&shape=1x12x12&mean=a&std=b", "numbers with commas"),
    "size": ("arch=convnet&shape=12x12", "3x32x32"),
    "option": ("arch=convnet&shap=1x12x12", "Did you mean 'shape'"),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_what_nothing_says_is_asked_for_by_name(tmp_path, case):
    from tangency.models import build

    path = save(tmp_path / "a.pt", build("convnet", (1, 12, 12), 4).module.state_dict())
    options, words = QUESTIONS[case]
    with pytest.raises(ModelError, match=words):
        load_model(f"state_dict:{path}?{options}")
