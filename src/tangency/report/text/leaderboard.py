"""Leaderboards in words: which model is first, and warnings about settings, chance and missing gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tangency.evaluate.compare import flat, said
from tangency.evaluate.measured import Measured
from tangency.evaluate.significance import SHOWN
from tangency.measures.keys import FRACTION
from tangency.report.read.models import LabelledModel, ModelNumbers, above_chance, is_shown, ranked_by
from tangency.report.text.numbers import estimate

_MANY = 0.05  # share of images without a gradient from which on it is warned of


def group_warnings(models: Mapping[str, Measured]) -> list[str]:
    """Warnings about the comparison of models on one data set: other settings, other images."""
    settings = {label: flat(model.about["settings"]) for label, model in models.items()}
    warnings = []
    for name in dict.fromkeys(name for each in settings.values() for name in each):
        by_value: dict[str, list[str]] = {}
        for label, each in settings.items():
            by_value.setdefault(said(each.get(name)), []).append(label)
        if len(by_value) > 1:
            listed = "; ".join(f"{value} for {', '.join(labels)}" for value, labels in by_value.items())
            warnings.append(f"Settings differ in {name}, so numbers that depend on it cannot be compared: {listed}.")
    images = {label: model.ids.tolist() for label, model in models.items()}
    if len({tuple(ids) for ids in images.values()}) > 1:
        listed = ", ".join(f"{len(ids)} for {label}" for label, ids in images.items())
        warnings.append(f"Not all were measured on the same images of this data set: {listed}.")
    return warnings


def model_warnings(numbers: ModelNumbers) -> list[str]:
    """Warnings about one model: its own, a poor accuracy, images without a gradient, an excess that is not shown."""
    warnings = list(numbers.warnings)
    accuracy, fraction = numbers.measures.get("accuracy"), numbers.measures.get(FRACTION)
    if accuracy and accuracy.low is not None and not above_chance(accuracy):
        warnings.append("Its accuracy is not shown to be above chance: look at input range, normalisation and labels.")
    if fraction and fraction.degenerate > _MANY * (fraction.n + fraction.degenerate):
        whole = fraction.n + fraction.degenerate
        warnings.append(f"{fraction.degenerate} of {whole} images have no gradient; they are left out.")
    excess = numbers.excess.get(FRACTION)
    if excess and excess.mean is not None and not is_shown(excess):
        warnings.append(f"Its F² is not shown to be above its best control ({excess.best_control}).")
    return warnings


def leaderboard_sentence(models: Sequence[LabelledModel]) -> str:
    """Which model is first, and how many are shown (by Holm's p) to be above shuffled images and every control."""
    ranked = [(model, own) for model in models if (own := ranked_by(model.numbers))]
    if not ranked:
        return "No model can be ranked: none has both an accuracy above chance and F² with its shuffled control."
    first, best = ranked[0]
    above = sum(is_shown(own) for _, own in ranked)
    every = sum(is_shown(model.numbers.excess[FRACTION]) for model, _ in ranked)
    return (
        f"{first.label} stands first: its F² minus that of shuffled images is {estimate(best, signed=True)}. "
        f"Of {len(ranked)} ranked, {above} {'is' if above == 1 else 'are'} shown to be above shuffled images, {every} "
        f"above every control (Holm's p ≤ {SHOWN:g})."
    )
