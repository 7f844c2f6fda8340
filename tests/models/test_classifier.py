"""A classifier feeds its module what the card says, and names what does not fit."""

import pytest
import torch
from torch import nn

from tangency.errors import ModelError
from tangency.models import Classifier
from tangency.types import Card


def linear(shape=(3, 5, 7), classes=11):
    size = shape[0] * shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(size, classes))


def test_forward_scales_to_the_input_range_and_normalises_each_channel():
    module, x = linear(), torch.rand(2, 3, 5, 7)
    mean, std = (1.0, -2.0, 3.0), (0.5, 2.0, 4.0)
    got = Classifier.wrap(module, (3, 5, 7), 11, (-1, 3), mean, std)(x)
    fed = torch.empty_like(x)
    for channel in range(3):
        fed[:, channel] = (x[:, channel] * 4 - 1 - mean[channel]) / std[channel]
    torch.testing.assert_close(got, module(fed))


def test_without_normalisation_the_module_sees_the_images_themselves():
    module, x = linear(), torch.rand(2, 3, 5, 7)
    assert torch.equal(Classifier.wrap(module, (3, 5, 7), 11)(x), module(x))


def test_one_number_is_that_of_all_channels():
    module, x = linear(), torch.rand(2, 3, 5, 7)
    one = Classifier.wrap(module, (3, 5, 7), 11, mean=(0.5,), std=(0.25, 0.5, 1.0))
    assert one.card.mean == (0.5, 0.5, 0.5)
    torch.testing.assert_close(one(x), module((x - 0.5) / torch.tensor([0.25, 0.5, 1.0]).reshape(1, 3, 1, 1)))
    with pytest.raises(ModelError, match="got 2 means"):
        Classifier.wrap(module, (3, 5, 7), 11, mean=(0.5, 0.5), std=(0.25,))


def test_normalisation_is_not_among_the_weights():
    net = Classifier.wrap(linear(), (3, 5, 7), 11, mean=(1, 1, 1), std=(2, 2, 2))
    assert sorted(net.state_dict()) == ["module.1.bias", "module.1.weight"]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 1, 5, 7), ["(2, 1, 5, 7)", "(N, 3, 5, 7)", "expand"]),
        ((2, 3, 7, 5), ["(2, 3, 7, 5)", "(N, 3, 5, 7)", "Resize"]),
        ((3, 5, 7), ["(3, 5, 7)", "x[None]"]),
    ],
)
def test_images_that_do_not_fit_are_named(shape, words):
    net = Classifier.wrap(linear(), (3, 5, 7), 11)
    with pytest.raises(ModelError) as error:
        net(torch.rand(shape))
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("module", [linear(classes=10), nn.Identity(), nn.LSTM(7, 2)])
def test_a_module_that_returns_no_logits_is_named(module):
    net = Classifier.wrap(module, (3, 5, 7), 11)
    x = torch.rand(2, 3, 5, 7)
    if isinstance(module, nn.LSTM):
        module.forward = lambda x: (x, x)
    with pytest.raises(ModelError, match=rf"{type(module).__name__}.*\(2, 11\)"):
        net(x)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (3, 5)},
        {"shape": (0, 5, 7)},
        {"classes": ("one",)},
        {"input_range": (1, 1)},
        {"mean": (1.0, 2.0)},
        {"std": (1.0, 2.0, 0.0)},
        {"std": (1.0, 2.0, float("nan"))},
        {"mean": ("a", "b", "c")},
    ],
)
def test_a_card_that_contradicts_itself_is_refused(change):
    card = Card(**{"architecture": "custom", "shape": (3, 5, 7), "classes": ("a", "b"), **change})
    with pytest.raises(ModelError, match="card"):
        Classifier(linear(classes=2), card)
