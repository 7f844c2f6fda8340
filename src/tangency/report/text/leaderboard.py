"""Leaderboards in words: which model is first, what ranks rest on, and warnings about settings, chance and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tangency.evaluate.compare import flat, said
from tangency.evaluate.measured import Measured
from tangency.evaluate.ranking import CHANCE, RankedPart, directions
from tangency.evaluate.significance import SHOWN
from tangency.evaluate.steps import step_warnings
from tangency.measures.keys import FRACTION, Key
from tangency.report.read.models import (
    LabelledModel,
    ModelNumbers,
    above_chance,
    is_above,
    is_aligned,
    is_tangent,
    ranked_by,
    shared_parts,
)
from tangency.report.text.glossary import TARGETS, control_name
from tangency.report.text.numbers import estimate

_MANY = 0.05  # share of images without a gradient from which on it is warned of
_FEWEST = 2  # directions, and estimators, that should back a rank


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


def rank_warnings(models: Sequence[LabelledModel]) -> list[str]:
    """Warnings about what the ranks of a table rest on: fewer than two directions or estimators, models without any."""
    parts = shared_parts(models)
    if not parts:
        return ["No ranks: there is no F² of the margin with a control that all models have."]
    shared = set.intersection(*({Key.parse(key).target for key in directions(m.numbers.measures)} for m in models))
    aligned = ", ".join(TARGETS[name][1] for name in sorted(shared)) or "none"
    rests, backed, favoured = (
        ("The ranks rest", "The ranks are", "some models")
        if len(models) > 1
        else ("What is said of tangent spaces rests", "What is said of the score is", "this model")
    )
    warnings = []
    if len({part.tangents for part in parts}) < _FEWEST:
        warnings.append(
            f"{rests} on one estimator of tangent spaces, whose errors may favour {favoured}: measure with another one "
            "(--tangents), so that the worse of two speaks."
        )
    if len(shared) < _FEWEST:
        warnings.append(
            f"{backed} backed by fewer than two Bayes directions in all models ({aligned}): measure with a closed "
            "form and a trained score (--score mfa,network:REF)."
        )
    if without := [model.label for model in models if model.numbers.ranking is None]:
        warnings.append(f"Without a rank, since what ranks the others was not measured: {', '.join(without)}.")
    return warnings


def model_warnings(model: LabelledModel) -> list[str]:
    """Warnings about one model: its own, a poor accuracy, missing gradients, F² that controls explain, finite steps."""
    numbers = model.numbers
    warnings = list(numbers.warnings)
    accuracy, fraction = numbers.measures.get("accuracy"), numbers.measures.get(FRACTION)
    if accuracy and accuracy.low is not None and not above_chance(accuracy):
        warnings.append("Its accuracy is not shown to be above chance: look at input range, normalisation and labels.")
    if fraction and fraction.degenerate > _MANY * (fraction.n + fraction.degenerate):
        whole = fraction.n + fraction.degenerate
        warnings.append(f"{fraction.degenerate} of {whole} images have no gradient; they are left out.")
    if numbers.ranking is not None and not is_tangent(numbers):
        held = [control_of(worst.part) for worst in numbers.ranking.tangency.values() if not is_above(worst.estimate)]
        warnings.append(f"Its F² is not shown to be above every control: {'; '.join(held)}.")
    if directions(numbers.measures) and not is_aligned(numbers):
        warnings.append("Its alignment is not shown to be above that with other images' targets in every direction.")
    warnings += step_warnings(model.measured.columns, model.measured.dimension)
    return list(dict.fromkeys(warnings))


def control_of(part: RankedPart) -> str:
    """The control of a part in words, with its estimator where that is not the first one."""
    name = "chance, k/d" if part.control == CHANCE else control_name(part.control)
    return f"{name}, under {part.tangents}" if part.tangents else name


def leaderboard_sentence(models: Sequence[LabelledModel]) -> str:
    """Which model is first, and how many are shown to be aligned beyond other images, and tangent beyond controls."""
    ranked = [(model, own) for model in models if (own := ranked_by(model.numbers))]
    if not ranked or ranked[0][0].numbers.ranking is None:
        return "No model can be ranked: none has an accuracy above chance and F² of the margin with its controls."
    (first, best), part = ranked[0], ranked[0][0].numbers.ranking.worst.part
    if len(models) == 1:
        return _model_sentence(first, f"{estimate(best, signed=True)} against {control_of(part)}")
    aligned = sum(is_aligned(model.numbers) for model, _ in ranked)
    tangent = sum(is_tangent(model.numbers) for model, _ in ranked)
    return (
        f"{first.label} stands first: its log F²/best control is {estimate(best, signed=True)} against "
        f"{control_of(part)}. Of {len(ranked)} ranked, {tangent} "
        f"{'is' if tangent == 1 else 'are'} shown to be tangent beyond every control (95 % intervals), {aligned} "
        f"aligned beyond the targets of other images in every direction (Holm's p ≤ {SHOWN:g}). Intervals are over "
        "images: they say nothing of networks trained anew."
    )


def _model_sentence(model: LabelledModel, ratio: str) -> str:
    """What the numbers of one model say: of its gradients, not of its rank."""
    own, towards = model.numbers, directions(model.numbers.measures)
    level = own.ranking.worst.estimate if own.ranking is not None else None
    if level is not None and level.high is not None and level.high < 0:
        compared = "less in the tangent spaces of their own images than in the best control"
    elif is_tangent(own):
        compared = "more in the tangent spaces of their own images than in any control"
    else:
        compared = "not shown to be more in the tangent spaces of their own images than in every control"
    sentences = [f"{model.label}: its gradients are {compared} (log F²/best control {ratio})."]
    if towards:
        shown, which = "" if is_aligned(own) else "not shown to be ", "each" if len(towards) > 1 else "the"
        sentences.append(
            f"They are {shown}more aligned with {which} Bayes direction of their own image than with that of any other "
            f"(Holm's p ≤ {SHOWN:g}){_within_class(own, towards)}."
        )
    if not own.regime:
        sentences.append("What training did to them, a standard network of the same data would tell: --baseline.")
    sentences.append(
        "Intervals are 95 %, over the images of this one network: nothing is said of networks trained anew."
    )
    return " ".join(sentences)


def _within_class(numbers: ModelNumbers, towards: Sequence[str]) -> str:
    """Alignment minus that with another image of the same class: what is about the image beyond its class."""
    controls = [(numbers.excess[key].controls or {}).get("shuffled_class") for key in towards if key in numbers.excess]
    parts = [estimate(each, signed=True) for each in controls if each is not None and each.mean is not None]
    return f"; against another image of the same class the difference is {' and '.join(parts)}" if parts else ""
