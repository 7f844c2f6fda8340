"""Is the classifier fed as it was trained? Its accuracy on a few images, and the usual mistakes where it is low."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tangency.autodiff import undisturbed
from tangency.models import Classifier
from tangency.models.normalise import binomial_tail, clearly_better, conventions, correct_under
from tangency.seeding import permutation
from tangency.types import Dataset, LabelledImages

_LEVEL = 1e-3
_GOOD = 0.9  # an accuracy that no other way of feeding can clearly exceed
_ONE_CLASS = 0.95
_IMAGES_A_CLASS = 8  # fewer say little about a permutation of labels


def check_classifier(classifier: Classifier, data: Dataset, images: int = 256) -> dict[str, Any]:
    """Accuracy against chance by an exact binomial test, and warnings in words about the likely mistake.

    Chance is the share of the largest class. Other ranges, normalisations and labels are tried on the same images, and
    reported where they are right clearly more often (one-sided exact sign test at 0.001).

    Args:
        classifier: left as found.
        data: test images in [0, 1] with labels; training images for their mean and std.
        images: how many are looked at, a fixed random subset.

    Returns:
        {"images", "accuracy", "chance", "p_value": P(as many right by chance), "warnings": sentences}.

    Example:
        >>> from tangency.data import load
        >>> from tangency.models import build
        >>> check_classifier(build("convnet", (1, 28, 28), 10), load("fashion-mnist-5k"))["chance"] < 0.2
        True
    """
    chosen = permutation(len(data.test), 0, "sanity check")[:images].sort().values
    device = classifier.scale.device
    x, y = data.test.images(chosen).to(device), data.test.labels[chosen].to(device)
    with undisturbed(classifier), torch.no_grad():
        predicted = torch.cat([classifier(part).argmax(1) for part in x.split(128)])
        right = predicted == y
        accuracy = float(right.double().mean())
        warnings = _constant(predicted, y)
        if accuracy < _GOOD:
            warnings += _feeding(classifier, data.train, x, y, right)
            warnings += _labels(predicted, y, right, data.test.classes)
    chance = float(torch.bincount(y).max()) / len(y)
    p_value = binomial_tail(int(right.sum()), len(y), chance) if chance < 1 else 1.0
    if p_value > 0.01 and not warnings:
        warnings.append(
            f"it is right for {accuracy:.1%} of {len(y)} images, no better than naming one class ({chance:.1%}); no "
            "usual range, normalisation or shift of labels helps: its weights may be untrained, or of other data."
        )
    return {
        "images": len(y),
        "accuracy": accuracy,
        "chance": chance,
        "p_value": p_value,
        "warnings": warnings,
    }


def _constant(predicted: Tensor, y: Tensor) -> list[str]:
    share = float(torch.bincount(predicted).max()) / len(y)
    largest = float(torch.bincount(y).max()) / len(y)
    if share < _ONE_CLASS or largest > 0.5 or len(y) < 16:
        return []
    return [
        f"it says class {int(predicted.mode().values)} for {share:.0%} of the images: its input is far from what it "
        "was trained on, as with a wrong range, or its weights are not those of this network."
    ]


def _feeding(classifier: Classifier, data: LabelledImages, x: Tensor, y: Tensor, right: Tensor) -> list[str]:
    """A range or normalisation under which it does clearly better."""
    if not data.unit_range:
        return []
    tried = conventions(data)
    found = correct_under(classifier.module, tried, x, y)
    best = int(found.sum(1).argmax())
    if not clearly_better(found[best], right, _LEVEL):
        return []
    kind = "normalisation" if tried[best].mean else "range or normalisation"
    return [
        f"it is right for {_share(found[best])} of the images when given {tried[best].name}, and for {_share(right)} "
        f"as its card feeds it: likely a wrong {kind}. Try ?{tried[best].options} behind its reference."
    ]


def _labels(predicted: Tensor, y: Tensor, right: Tensor, classes: tuple[str, ...]) -> list[str]:
    """Another numbering of the classes under which it does clearly better; tried on images it was not found from."""
    count = len(classes)
    for offset, said in ((1, "1 is added to"), (-1, "1 is taken off")):
        shifted = (predicted + offset) % count == y
        if clearly_better(shifted, right, _LEVEL):
            return [
                f"it is right for {_share(shifted)} of the images when {said} its classes, and for {_share(right)} "
                "without: likely labels that are off by one."
            ]
    if len(y) < _IMAGES_A_CLASS * count:
        return []
    from scipy.optimize import linear_sum_assignment

    table = torch.zeros(count, count, dtype=torch.int64)
    table.index_put_((predicted[::2].cpu(), y[::2].cpu()), torch.ones(len(y[::2]), dtype=torch.int64), accumulate=True)
    meant = torch.as_tensor(linear_sum_assignment(table.numpy(), maximize=True)[1])
    other = meant.to(y.device)[predicted[1::2]] == y[1::2]
    if not clearly_better(other, right[1::2], _LEVEL):
        return []
    moved = [f"{classes[i]} is {classes[j]}" for i, j in enumerate(meant.tolist()) if i != j]
    return [
        f"it is right for {_share(other)} of the images with its classes in another order, and for "
        f"{_share(right)} in the order given: likely permuted labels ({', '.join(moved[:4])}"
        f"{', …' if len(moved) > 4 else ''}). Name them in the network's order with ?classes=a,b,c."
    ]


def _share(right: Tensor) -> str:
    return f"{float(right.double().mean()):.0%}"
