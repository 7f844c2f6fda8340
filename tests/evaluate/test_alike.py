"""A baseline of another architecture is said; one that differs in its weights only is not."""

from __future__ import annotations

from torch import nn

from tangency.evaluate.classifiers.alike import architecture_warnings
from tangency.models import Classifier, build

SHAPE = (1, 8, 8)


def wrapped(width: int) -> Classifier:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 2))
    return Classifier.wrap(net, SHAPE, ["cat", "dog"])


def test_the_same_architecture_with_other_weights_is_no_doubt() -> None:
    assert architecture_warnings(build("convnet", SHAPE, 2, seed=0), build("convnet", SHAPE, 2, seed=1)) == []
    assert architecture_warnings(wrapped(4), wrapped(4)) == []


def test_another_architecture_is_named_by_options_or_by_its_parameters() -> None:
    (said,) = architecture_warnings(build("convnet", SHAPE, 2), build("convnet", SHAPE, 2, activation="relu"))
    assert "another architecture (convnet, activation relu, " in said
    (said,) = architecture_warnings(wrapped(4), wrapped(5))
    assert "(custom, 337 parameters) than the model (custom, 270 parameters)" in said
