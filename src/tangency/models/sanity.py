"""Tests whether a classifier is fed as in its training: its accuracy on a few images, and the usual mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from tangency.autodiff import undisturbed
from tangency.models.classifier import Classifier
from tangency.models.foreign.normalise import Convention, binomial_tail, clearly_better, conventions, predicted_classes
from tangency.models.orientation import ORIENTATIONS, composed, swaps_sides, turned
from tangency.numerics import at_once
from tangency.seeding import permutation
from tangency.types import Dataset, LabelledImages

_LEVEL = 1e-3
_IMAGES = 512  # that tell 84 % of hits from 78 %
_SOME = 0.25  # of the way from chance to no error: less without a mistake is what an untrained network has by accident
_GOOD = 0.9  # an accuracy that no other way of feeding can clearly exceed
_ONE_CLASS = 0.95
_FEWEST, _PIXELS = 64, 1 << 22  # images that are used, and pixels of all of them
_FIRST = 32  # images after which a cause that does not help is dropped
_IMAGES_A_CLASS = 8  # fewer say little about a permutation of labels


@dataclass(frozen=True)
class SanityCheck:
    """How often a classifier is right.

    Args:
        images: number of images that were used.
        accuracy: share of the images for which it is right.
        chance: share of the largest class.
        p_value: probability of as many hits by chance, by an exact binomial test.
        warnings: about likely mistakes, in sentences.
    """

    images: int
    accuracy: float
    chance: float
    p_value: float
    warnings: list[str]


def check_classifier(classifier: Classifier, data: Dataset, images: int = _IMAGES) -> SanityCheck:
    """Accuracy against chance, and warnings about the likely mistake.

    Other ranges, normalisations, orientations and labels are tried on the same images, and reported where they are
    right clearly more often (one-sided exact sign test at 0.001); those that are not right more often on the first
    quarter (at least 32) are dropped there.

    Args:
        classifier: left unchanged.
        data: test images in [0, 1] with labels; training images for their mean and std.
        images: number of images, a fixed random subset; of more than 128 × 128 pixels fewer, at least 64.

    Example:
        >>> from tangency.data import load
        >>> from tangency.models import build
        >>> check_classifier(build("convnet", (1, 28, 28), 10), load("fashion-mnist-5k")).chance < 0.2
        True
    """
    x, y = _chosen(data.test, images, classifier.scale)
    with undisturbed(classifier), torch.no_grad():
        logits = torch.cat([classifier(part) for part in torch.split(x, at_once(x.shape[1:], 128))])
        broken = int((~logits.isfinite().all(1)).sum())
        predicted = logits.argmax(1)
        right = (predicted == y) & logits.isfinite().all(1)
        accuracy = float(right.double().mean())
        warnings = _broken(broken, len(y)) or _constant(predicted, y)
        if accuracy < _GOOD and not broken:
            warnings += _causes(classifier, data.train, x, y, predicted)
    chance = float(torch.bincount(y).max()) / len(y)
    p_value = binomial_tail(int(right.sum()), len(y), chance) if chance < 1 else 1.0
    if p_value > 0.01 and not warnings:
        warnings.append(
            f"it is right for {accuracy:.1%} of {len(y)} images, no better than naming one class ({chance:.1%}); no "
            "usual range, normalisation, turn of the images or shift of labels helps: its weights may be untrained, or "
            "of other data."
        )
    return SanityCheck(len(y), accuracy, chance, p_value, warnings)


def likely_mistake(classifier: nn.Module, train: LabelledImages, like: Tensor) -> list[str]:
    """Of the warnings of `check_classifier` the one about its input or labels, from training images alone.

    Args:
        classifier: maps images in [0, 1] to logits; left unchanged.
        train: images that it was trained on, in [0, 1], with labels.
        like: floating, of the precision and on the device of the images that the classifier takes.

    Returns:
        A sentence, or nothing where no usual range, normalisation, turn or order of labels does clearly better.

    Example:
        >>> from tangency.data import load
        >>> from tangency.models import build
        >>> likely_mistake(build("convnet", (1, 28, 28), 10), load("fashion-mnist-5k").train, torch.zeros(()))
        []
    """
    x, y = _chosen(train, _IMAGES, like)
    with undisturbed(classifier):
        predicted = predicted_classes(classifier, x)
        if float((predicted == y).double().mean()) >= _GOOD:
            return []
        return _causes(classifier, train, x, y, predicted)


def _chosen(data: LabelledImages, images: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """A fixed random subset, fewer of large images."""
    count = min(images, max(_FEWEST, at_once(data.shape, images, _PIXELS)))
    chosen = permutation(len(data), 0, "sanity check")[:count]
    return data.images(chosen).to(like), data.labels[chosen].to(like.device)


def _broken(count: int, images: int) -> list[str]:
    if not count:
        return []
    return [
        f"its logits are NaN or infinite for {count} of {images} images, which count as wrong and have no gradients: "
        "its weights diverged in training, or its input is far outside what it was trained on."
    ]


def _constant(predicted: Tensor, y: Tensor) -> list[str]:
    share = float(torch.bincount(predicted).max()) / len(y)
    largest = float(torch.bincount(y).max()) / len(y)
    if share < _ONE_CLASS or largest > 0.5 or len(y) < 16:
        return []
    return [
        f"it says class {int(predicted.mode().values)} for {share:.0%} of the images: its input is far from what it "
        "was trained on, as with a wrong range, or its weights are not those of this network."
    ]


@dataclass(frozen=True)
class _Cause:
    """A possible mistake.

    Args:
        predict: images (n, C, H, W) and their classes as predicted now, to the classes predicted without the mistake.
        text: the warning, from the accuracy then and now.
    """

    predict: Callable[[Tensor, Tensor], Tensor]
    text: Callable[[str, str], str]


def _causes(classifier: nn.Module, train: LabelledImages, x: Tensor, y: Tensor, predicted: Tensor) -> list[str]:
    """The mistake without which it is right most often, if clearly more often than now."""
    right = predicted == y
    causes = [*_feeding(classifier, train), *_turns(classifier, x), *_shifts(len(train.classes))]
    tried = [(cause, _hits(cause, x, y, predicted)) for cause in causes]
    better = [(cause, hits) for cause, hits in tried if hits is not None and _explains(hits, right, y)]
    best = max(better, key=lambda pair: int(pair[1].sum()), default=None)
    permuted = _permuted(predicted, y, right if best is None else best[1], train.classes, _share(right))
    return permuted or ([] if best is None else [best[0].text(_share(best[1]), _share(right))])


def _explains(hits: Tensor, rival: Tensor, y: Tensor) -> bool:
    """Whether a network is clearly more often right so than otherwise, and clearly more often than by chance."""
    chance = float(torch.bincount(y).max()) / len(y)
    return float(hits.double().mean()) >= chance + _SOME * (1 - chance) and clearly_better(hits, rival, _LEVEL)


def _hits(cause: _Cause, x: Tensor, y: Tensor, predicted: Tensor) -> Tensor | None:
    """(N,) bool, for which images it is right then; None where it is not right more often on the first."""
    first = max(_FIRST, len(x) // 4)
    hits = cause.predict(x[:first], predicted[:first]) == y[:first]
    if int(hits.sum()) <= int((predicted[:first] == y[:first]).sum()):
        return None
    if len(x) <= first:
        return hits
    return torch.cat([hits, cause.predict(x[first:], predicted[first:]) == y[first:]])


def _feeding(classifier: nn.Module, data: LabelledImages) -> list[_Cause]:
    """Other ranges and normalisations."""
    if not data.unit_range:
        return []
    bare = classifier.module if isinstance(classifier, Classifier) else classifier

    def cause(convention: Convention) -> _Cause:
        kind = "normalisation" if convention.mean else "range or normalisation"
        return _Cause(
            lambda x, _: predicted_classes(bare, convention.feed(x)),
            lambda then, now: (
                f"it is right for {then} of the images when given {convention.name}, and for {now} as it is fed "
                f"now: likely a wrong {kind}. Try ?{convention.options} after its reference, in Python "
                f"Classifier.wrap({convention.arguments})."
            ),
        )

    return [cause(convention) for convention in conventions(data)]


def _turns(classifier: nn.Module, x: Tensor) -> list[_Cause]:
    """Images transposed, mirrored or rotated, in addition to the turn of its card."""
    card = classifier.card.options if isinstance(classifier, Classifier) else {}
    now = cast("str | None", card.get("orientation"))

    def cause(name: str) -> _Cause:
        whole = composed(name, now)
        advice = f"Try ?layout={whole} after its reference." if whole else f"Leave ?layout={now} out."
        return _Cause(
            lambda images, _: predicted_classes(classifier, turned(images, name)),
            lambda then, share: (
                f"it is right for {then} of the images when they are {name}, and for {share} as they are: likely "
                f"{name} images. {advice}"
            ),
        )

    square = x.shape[2] == x.shape[3]
    return [cause(name) for name in ORIENTATIONS if square or not swaps_sides(name)]


def _shifts(count: int) -> list[_Cause]:
    """Labels counted from another number."""

    def cause(offset: int, word: str) -> _Cause:
        return _Cause(
            lambda _, classes: (classes + offset) % count,
            lambda then, now: (
                f"it is right for {then} of the images when 1 is {word} its classes, and for {now} without: likely "
                "labels that are off by one."
            ),
        )

    return [cause(1, "added to"), cause(-1, "taken off")]


def _permuted(predicted: Tensor, y: Tensor, rival: Tensor, classes: tuple[str, ...], now: str) -> list[str]:
    """The best order of the classes on half of the images, if clearly better than `rival` on the other half."""
    count = len(classes)
    if len(y) < _IMAGES_A_CLASS * count:
        return []
    from scipy.optimize import linear_sum_assignment

    table = torch.zeros(count, count, dtype=torch.int64)
    table.index_put_((predicted[::2].cpu(), y[::2].cpu()), torch.ones(len(y[::2]), dtype=torch.int64), accumulate=True)
    meant = torch.as_tensor(linear_sum_assignment(table.numpy(), maximize=True)[1])
    hits = meant.to(y.device)[predicted[1::2]] == y[1::2]
    if not _explains(hits, rival[1::2], y[1::2]):
        return []
    moved = [f"{classes[i]} is {classes[j]}" for i, j in enumerate(meant.tolist()) if i != j]
    return [
        f"it is right for {_share(hits)} of the images with its classes in another order, and for {now} in the order "
        f"given: likely permuted labels ({', '.join(moved[:4])}{', …' if len(moved) > 4 else ''}). Name them in the "
        "network's order with ?classes=a,b,c."
    ]


def _share(right: Tensor) -> str:
    return f"{float(right.double().mean()):.0%}"
