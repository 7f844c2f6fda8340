"""What each measure is, in one line: title, definition, unit, chance level, and which direction is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tangency.measures.similarity.metrics import METRICS, Metric, metric_family, metric_of
from tangency.report.read.keys import Key, parse
from tangency.report.text.glossary import SCALARS, TARGETS
from tangency.report.text.robustness import TEXTS


@dataclass(frozen=True)
class MeasureText:
    """What the page says of one family of measures.

    Args:
        title: a few words, with the symbol.
        what: one line that defines it; may hold {scalar} and {target}.
        unit: unit and range.
        chance: the value for a gradient that is unrelated to the image.
        better: "higher", "lower" or "neither".
        reading: what a value in the better direction means.
    """

    title: str
    what: str
    unit: str
    chance: str
    better: str
    reading: str


MEASURES = {name: MeasureText(*texts) for name, texts in TEXTS.items()} | {
    "accuracy": MeasureText(
        "Accuracy",
        "Share of the test images that get their true class.",
        "fraction, 0 to 1",
        "1 / number of classes",
        "higher",
        "the classifier still does its job",
    ),
    "tangent_fraction": MeasureText(
        "Tangent fraction F²",
        "Share of the gradient's energy inside the tangent space, ‖Pg‖² / ‖g‖², for the gradient of {scalar}.",
        "fraction, 0 to 1",
        "k/d for a random direction; read it against the equal-rank controls",
        "higher",
        "the gradient lies along the manifold",
    ),
    "kappa": MeasureText(
        "Off/on energy ratio κ",
        "Gradient energy per dimension off the tangent space, over that on it, pooled over images.",
        "ratio, 0 to ∞",
        "1",
        "lower",
        "below 1, steps along the manifold move the output more than steps off it",
    ),
    "log_kappa": MeasureText(
        "log κ per image",
        "Natural logarithm of κ, image by image, then averaged.",
        "nats",
        "slightly above 0, see the dashed line",
        "lower",
        "the gradient lies along the manifold",
    ),
    "rho": MeasureText(
        "Relative off-manifold change ρ",
        "Squared change of {scalar} under the off-tangent part of Gaussian noise, over that under all of it.",
        "ratio; σ in [0, 1] pixel units",
        "1 − k/d",
        "lower",
        "0 is perfect off-manifold robustness",
    ),
    "change_on": MeasureText(
        "On-manifold change",
        "Change of the softmax after a random step of ℓ₂ length ε inside the tangent space.",
        "L1 distance, 0 to 2; ε in [0, 1] pixel units",
        "equals the off-manifold change",
        "neither",
        "a working classifier must react along the manifold; near 0 it has stopped reacting",
    ),
    "change_curved": MeasureText(
        "Change along the manifold",
        "Change of the softmax after walking ε along a path that follows the tangent space as it turns.",
        "L1 distance, 0 to 2; ε in [0, 1] pixel units",
        "equals the off-manifold change",
        "neither",
        "what the straight step would show if the manifold were flat",
    ),
    "change_off": MeasureText(
        "Off-manifold change",
        "Change of the softmax after a random step of ℓ₂ length ε outside the tangent space.",
        "L1 distance, 0 to 2; ε in [0, 1] pixel units",
        "equals the on-manifold change",
        "lower",
        "steps off the manifold do not matter to the classifier",
    ),
    "outside_on": MeasureText(
        "Pixels outside after an on-manifold step",
        "Share of the pixels that an unclipped step of length ε inside the tangent space puts outside [0, 1].",
        "fraction, 0 to 1; the same for every classifier",
        "none",
        "neither",
        "how far the step leaves the range of images",
    ),
    "outside_off": MeasureText(
        "Pixels outside after an off-manifold step",
        "Share of the pixels that an unclipped step of length ε outside the tangent space puts outside [0, 1].",
        "fraction, 0 to 1; the same for every classifier",
        "none",
        "neither",
        "how far the step leaves the range of images",
    ),
    "residual_on": MeasureText(
        "Distance from the manifold after a straight step",
        "Distance of x + εu from the estimator's own reconstruction, u in the tangent space.",
        "ℓ₂, [0, 1] pixel units; the same for every classifier",
        "none",
        "neither",
        "how far a straight step leaves the manifold",
    ),
    "residual_curved": MeasureText(
        "Distance from the manifold after a curved step",
        "Distance of the end of a path of length ε along the manifold from the estimator's own reconstruction.",
        "ℓ₂, [0, 1] pixel units; the same for every classifier",
        "none",
        "neither",
        "how far a curved step leaves the manifold",
    ),
    "working_share": MeasureText(
        "Gradient at the working size",
        "Share of the gradient's energy that remains after resizing to the working size, ‖P g‖² / ‖g‖², for the "
        "gradient of {scalar}; F², κ and alignments are those of that part.",
        "fraction, 0 to 1",
        "pixels of the working size over those of the images",
        "neither",
        "how much of the gradient the other numbers describe",
    ),
    "signal_fraction": MeasureText(
        "Gradient on the signal",
        "Share of the gradient's energy on the signal's pixels, ‖m ⊙ g‖² / ‖g‖², for the gradient of {scalar}.",
        "fraction, 0 to 1",
        "the signal's share of the pixels",
        "higher",
        "the gradient lies on what the class depends on",
    ),
    "noise_signal": MeasureText(
        "Change under noise on the signal",
        "Change of the softmax under Gaussian noise of size σ on the signal's pixels, not clipped.",
        "L1 distance, 0 to 2; σ in [0, 1] pixel units",
        "equals the change under noise on the distractor",
        "neither",
        "a working classifier must react to its signal",
    ),
    "noise_distractor": MeasureText(
        "Change under noise on the distractor",
        "Change of the softmax under Gaussian noise of size σ on the distractor's pixels, not clipped.",
        "L1 distance, 0 to 2; σ in [0, 1] pixel units",
        "equals the change under noise on the signal",
        "lower",
        "noise on pixels that are unrelated to the class does not change the answer",
    ),
    "relative_noise": MeasureText(
        "Relative noise robustness",
        "Change of the softmax under noise of size σ on the signal's pixels, over that on the distractor's; pooled.",
        "ratio, 0 to ∞; σ in [0, 1] pixel units",
        "1: both parts matter alike",
        "higher",
        "the classifier answers to the signal, not to the distractor",
    ),
    "alignment_cosine": MeasureText(
        "Cosine with the {target}",
        "Signed cosine between the gradient of {scalar} and {target_long} at noise σ.",
        "cosine, −1 to 1",
        "0 for a random direction; read it against the shuffled control",
        "higher",
        "the gradient points where the data density says",
    ),
    "alignment_lpips": MeasureText(
        "1 − LPIPS with the {target}",
        "Perceptual similarity (LPIPS-Alex) of the gradient of {scalar} to {target_long} at noise σ, as pictures.",
        "similarity, at most 1",
        "no fixed level; read it against the shuffled control",
        "higher",
        "the gradient looks like the target",
    ),
}


def _similarity(name: str, metric: Metric) -> MeasureText:
    """The texts of a metric, made from its row in the registry."""
    chance = "no fixed level" if metric.chance is None else f"{metric.chance:g} for a random direction"
    if name == "retrieval":
        chance = "1/n, n the number of candidates"
    low = "" if math.isinf(metric.low) else f"{metric.low:g} to "
    return MeasureText(
        f"{metric.title[0].upper()}{metric.title[1:]}, {{target}}",
        f"The gradient of {{scalar}} and {{target_long}} at noise σ: {metric.title} ({metric.reference}).",
        f"{metric.unit}, {low or 'at most '}{metric.high:g}",
        f"{chance}; read it against the shuffled control",
        "higher",
        "the gradient looks like the target",
    )


MEASURES |= {
    metric_family(name): _similarity(name, METRICS[name]) for name in METRICS.own if metric_family(name) not in MEASURES
}


def describe(key: Key) -> MeasureText:
    """The measure's texts with its scalar and target filled in; an unknown measure is shown by its key."""
    known = MEASURES.get(key.family)
    if known is None and (metric := metric_of(key.family)) is not None:  # of another package
        known = _similarity(key.family, metric)
    if known is None:
        return MeasureText(key.panel, "A measure for which this page has no text.", "", "", "neither", "")
    target, target_long = TARGETS.get(key.target, (key.target or "target", key.target or "the target"))
    scalar = SCALARS.get(key.scalar, key.scalar or "the chosen scalar")
    fill = {"scalar": scalar, "target": target, "target_long": target_long}
    variant = f" ({key.variant})" if key.variant else ""
    return MeasureText(
        known.title.format(**fill) + variant,
        known.what.format(**fill),
        known.unit,
        known.chance,
        known.better,
        known.reading,
    )


def short_label(key: Key) -> str:
    """A measure with its target and parameter, short enough for an axis: "cos Bayes gradient, σ = 0.5"."""
    target = TARGETS.get(key.target, (key.target,))[0]
    names = {"alignment_cosine": f"cos {target}", "alignment_lpips": f"1 − LPIPS {target}"}
    name = names.get(key.family) or describe(key).title
    return ", ".join(part for part in (name, parameter_label(key).partition(" (")[0]) if part)


def parameter_label(key: Key) -> str:
    """ "σ = 0.5 (1 in [−1, 1] units)", "ε = 2", or nothing."""
    if key.value is None:
        return ""
    if key.parameter == "sigma" and key.value == 0:
        return "σ = 0 (clean images)"
    if key.parameter == "sigma":
        return f"σ = {key.value:g} ({2 * key.value:g} in [−1, 1] units)"
    return f"{'ε' if key.parameter == 'eps' else key.parameter} = {key.value:g}"


def heading(text: str) -> str:
    """The heading of a column or a curve, from the measure's key."""
    return short_label(parse(text))
