"""How accurate the Bayes rule of a closed form is: a fitted mixture's is not the data's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tangency.evaluate.entries import IntervalEntry, MeasureEntry
from tangency.score.quality import noised
from tangency.types import LabelledImages
from tangency.worlds import World

_AT_ONCE, _SEED, _Z = 512, 0, 1.959964
_WHOSE = {"mfa": "the mixture", "gaussian": "the Gaussian", "empirical": "the training images", "exact": "the world"}


@runtime_checkable
class Posterior(Protocol):
    """A closed form that knows the class."""

    @property
    def classes(self) -> int:
        """Their number."""
        ...

    def log_posterior(self, x: Tensor, sigma: float) -> Tensor:
        """log p_σ(c | x), (N, classes)."""
        ...


@dataclass(frozen=True, kw_only=True)
class PosteriorAccuracy(IntervalEntry):
    """Share of test images whose most probable class is the true one, with noise σ in [0, 1] pixel units."""

    sigma: float


def posterior_accuracy(
    score: object, images: LabelledImages, ids: Tensor, sigmas: Sequence[float], device: str
) -> list[PosteriorAccuracy]:
    """Accuracy of argmax_c log p_σ(c | x + σn) at 0 and at each σ, with 95 % Wilson intervals over images.

    The noise n of an image depends on its place and on σ only. None for a score without classes, and no σ = 0 where the
    closed form has no posterior there.

    Args:
        score: a closed form; any other score, and None, has none.
        images: test images, at the size of the score.
        ids: (N,) places of those that are looked at.
        sigmas: noise levels, in [0, 1] pixel units.
        device: of the score.
    """
    if not isinstance(score, Posterior) or score.classes < 2 or not len(ids):
        return []
    entries = []
    for sigma in [level for level in sorted({0.0, *sigmas}) if level > 0 or _clean(score)]:
        right = torch.cat([_right(score, images, own, sigma, device) for own in torch.split(ids.cpu(), _AT_ONCE)])
        mean, (low, high) = float(right.double().mean()), wilson(int(right.sum()), len(right))
        entries.append(PosteriorAccuracy(mean=mean, low=low, high=high, n=len(right), sigma=sigma))
    return entries


def bayes_rule_words(kind: str, accuracies: Sequence[PosteriorAccuracy]) -> str:
    """The Bayes rule of a closed form of this kind, named with its accuracy; "" where it is not known.

    Example:
        >>> two = [PosteriorAccuracy(mean=m, low=None, high=None, sigma=s) for m, s in ((0.83, 0.0), (0.78, 0.5))]
        >>> bayes_rule_words("mfa", two)
        'Bayes rule of the mixture (accuracy 0.830; 0.780 at σ = 0.5)'
    """
    return f"Bayes rule of {_WHOSE.get(kind, 'the score')}{ends_words(accuracies)}" if accuracies else ""


def ends_words(accuracies: Sequence[PosteriorAccuracy]) -> str:
    """The accuracies at the smallest and at the largest σ, in brackets; "" without any.

    Example:
        >>> ends_words([PosteriorAccuracy(mean=0.83, low=None, high=None, sigma=0.0)])
        ' (accuracy 0.830)'
    """
    ordered = sorted(accuracies, key=lambda each: each.sigma)
    ends = ordered[:1] + ordered[1:][-1:]
    said = [f"{each.mean:.3f}" + (f" at σ = {each.sigma:g}" if each.sigma else "") for each in ends]
    return f" (accuracy {'; '.join(said)})" if said else ""


def rule_doubt(kind: str, accuracies: Sequence[PosteriorAccuracy], network: MeasureEntry | None) -> str:
    """A warning where the rule's best accuracy is less than half as far above chance as a network's; "" otherwise.

    The lower end of the difference of the two must be above 0, too. Alignment is then agreement with a rule that knows
    far less of the classes than the network does. Source: Newcombe (1998), Statistics in Medicine 17.

    Args:
        kind: of the closed form; the exact law of a world is no model, and never doubted.
        accuracies: of its Bayes rule.
        network: the accuracy of the network, with its chance level.

    Example:
        >>> rule = [PosteriorAccuracy(mean=0.30, low=0.24, high=0.37, n=200, sigma=0.0)]
        >>> rule_doubt("mfa", rule, MeasureEntry(mean=0.95, low=0.91, high=0.97, n=200, chance=0.1))[:61]
        'the Bayes rule of the mixture is right for 0.300 of the image'
    """
    best = max(accuracies, key=lambda each: each.mean or 0.0, default=None)
    if kind == "exact" or best is None or best.mean is None or network is None or network.mean is None:
        return ""
    chance = network.chance or 0.0
    half = math.hypot((best.high or best.mean) - best.mean, network.mean - (network.low or 0.0))
    if 2 * (best.mean - chance) >= network.mean - chance or network.mean - best.mean <= half:
        return ""
    return (
        f"the Bayes rule of {_WHOSE.get(kind, 'the score')} is right for {best.mean:.3f} of the images at its best, "
        f"the network for {network.mean:.3f}: alignment is with a rule that knows less of the classes "
        "than the network. A score trained on these images, with classes, may know more: tangency score fit."
    )


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, which has a width at 0 and 1, too.

    Source: Wilson (1927), Journal of the American Statistical Association 22.

    Example:
        >>> [round(end, 3) for end in wilson(500, 500)]
        [0.992, 1.0]
    """
    p, square = right / n, _Z**2 / n
    centre, half = p + square / 2, math.sqrt(square * p * (1 - p) + square**2 / 4)
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    return (low if right else 0.0), (high if right < n else 1.0)  # exact where rounding would leave the share outside


def _clean(score: Posterior) -> bool:
    """Whether the posterior of clean images is defined."""
    if isinstance(score, World):
        return not any("posterior" in what for what in score.undefined)
    return getattr(score, "kind", "") != "empirical"


@torch.no_grad()
def _right(score: Posterior, images: LabelledImages, ids: Tensor, sigma: float, device: str) -> Tensor:
    x, y = images.images(ids), images.labels[ids]
    noisy = noised(x, ids, sigma, _SEED) if sigma else x
    return score.log_posterior(noisy.to(device), sigma).argmax(1).cpu() == y.cpu()
