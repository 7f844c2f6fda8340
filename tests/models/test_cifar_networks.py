"""The CIFAR networks against their formulas, written out layer by layer with the names of the checkpoints."""

import pytest
import torch
from torch.nn import functional as F

from models.state_support import random_state
from tangency.errors import ModelError
from tangency.models.architectures.cifar import NAMES, build_cifar


def functional(state, name, x):
    """The published forward pass of robustness' and RobustBench's networks, from a state_dict alone."""

    def bn(y, key):
        return F.batch_norm(
            y, state[f"{key}.running_mean"], state[f"{key}.running_var"], state[f"{key}.weight"], state[f"{key}.bias"]
        )

    def conv(y, key, stride=1):
        w = state[f"{key}.weight"]
        return F.conv2d(y, w, None, stride, w.shape[-1] // 2)

    if name.startswith("wrn"):
        y = conv(x, "conv1")
        for stage in (1, 2, 3):
            count = len({key.split(".")[2] for key in state if key.startswith(f"block{stage}.")})
            for i in range(count):
                at, stride = f"block{stage}.layer.{i}", 2 if stage > 1 and i == 0 else 1
                inner = F.relu(bn(y, f"{at}.bn1"))
                kept = conv(inner, f"{at}.convShortcut", stride) if f"{at}.convShortcut.weight" in state else y
                y = kept + conv(F.relu(bn(conv(inner, f"{at}.conv1", stride), f"{at}.bn2")), f"{at}.conv2")
        y = F.avg_pool2d(F.relu(bn(y, "bn1")), 8).flatten(1)
        return F.linear(y, state["fc.weight"], state["fc.bias"])
    if name.startswith("vgg"):
        convolutions = sorted({int(key.split(".")[1]) for key, value in state.items() if value.dim() == 4})
        for i, at in enumerate(convolutions):
            x = F.conv2d(x, state[f"features.{at}.weight"], state[f"features.{at}.bias"], padding=1)
            x = F.relu(bn(x, f"features.{at + 1}"))
            # A maximum stands between an activation and a convolution that does not follow at once, and at the end.
            if i + 1 == len(convolutions) or convolutions[i + 1] > at + 3:
                x = F.max_pool2d(x, 2)
        return F.linear(x.flatten(1), state["classifier.weight"], state["classifier.bias"])
    if name.startswith("densenet"):
        y = conv(x, "conv1")
        for block in (1, 2, 3, 4):
            for i in range(len({key.split(".")[1] for key in state if key.startswith(f"dense{block}.")})):
                z = conv(F.relu(bn(y, f"dense{block}.{i}.bn1")), f"dense{block}.{i}.conv1")
                z = conv(F.relu(bn(z, f"dense{block}.{i}.bn2")), f"dense{block}.{i}.conv2")
                y = torch.cat([z, y], 1)
            if block < 4:
                y = F.avg_pool2d(conv(F.relu(bn(y, f"trans{block}.bn")), f"trans{block}.conv"), 2)
        y = F.avg_pool2d(F.relu(bn(y, "bn")), 4).flatten(1)
        return F.linear(y, state["linear.weight"], state["linear.bias"])
    y = conv(x, "conv1")
    y = y if name.startswith("preact") else F.relu(bn(y, "bn1"))
    for stage in (1, 2, 3, 4):
        for i in range(len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")})):
            at, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            short = f"{at}.shortcut.0.weight" in state
            if name.startswith("preact"):
                inner = F.relu(bn(y, f"{at}.bn1"))
                kept = conv(inner if "v2" in name else y, f"{at}.shortcut.0", stride) if short else y
                y = kept + conv(F.relu(bn(conv(inner, f"{at}.conv1", stride), f"{at}.bn2")), f"{at}.conv2")
                continue
            kept = bn(conv(y, f"{at}.shortcut.0", stride), f"{at}.shortcut.1") if short else y
            if f"{at}.conv3.weight" in state:
                z = F.relu(bn(conv(y, f"{at}.conv1"), f"{at}.bn1"))
                z = F.relu(bn(conv(z, f"{at}.conv2", stride), f"{at}.bn2"))
                y = F.relu(bn(conv(z, f"{at}.conv3"), f"{at}.bn3") + kept)
            else:
                z = F.relu(bn(conv(y, f"{at}.conv1", stride), f"{at}.bn1"))
                y = F.relu(bn(conv(z, f"{at}.conv2"), f"{at}.bn2") + kept)
    y = F.relu(bn(y, "bn")) if name.endswith("bn") else y
    return F.linear(F.avg_pool2d(y, 4).flatten(1), state["linear.weight"], state["linear.bias"])


@pytest.mark.parametrize(
    "name",
    [
        "resnet18thin",
        "resnet50",
        "preactresnet18",
        "preactresnet18v2bn",
        "wrn-10-1",
        "wrn-16-2",
        "vgg11",
        "vgg16",
        "densenet_cifar",
    ],
)
def test_cifar_networks_are_the_published_ones(name):
    net = build_cifar(name, (3, 32, 32), 10)
    state = random_state(net)
    net.load_state_dict(state)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = functional(state, name, x)
        assert torch.allclose(net.eval()(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_unknown_cifar_networks():
    assert "resnet152" in NAMES
    for name, words in (("resnet19", "Did you mean"), ("wrn-27-10", r"6 n \+ 4")):
        with pytest.raises(ModelError, match=words):
            build_cifar(name, (3, 32, 32), 10)
