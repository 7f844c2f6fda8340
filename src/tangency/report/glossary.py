"""What each measure is, in one line: title, definition, unit, chance level, and which direction is better."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tangency.measures.similarity.metrics import METRICS, metric_family
from tangency.report.robustness_texts import TEXTS

OBJECTIVES = {
    "gradient_norm": "gradient norm",
    "noise_consistency": "noise consistency",
    "noise_augmentation": "noise augmentation",
    "pgd_l2": "PGD ℓ₂",
    "pgd_linf": "PGD ℓ∞",
}
STANDARD = "standard"
UNTRAINED = "untrained"
BAYES = "bayes"
# What nothing was trained for: name in words, and what stands in place of a regime.
REFERENCES = {UNTRAINED: ("untrained", "control"), BAYES: ("Bayes rule", "optimum")}
REGIMES = {
    "weak": ("weak", "κ is not shown to have halved; accuracy is kept"),
    "bayes_aligned": (
        "Bayes-aligned",
        "κ has at least halved and is below 1; accuracy and on-manifold change are kept",
    ),
    "excessive": ("excessive", "accuracy or on-manifold change is lost"),
    "undetermined": ("undetermined", "the intervals do not settle it"),
}
TARGETS = {
    "bayes_gradient": ("Bayes gradient", "the Bayes gradient ∇ log p(y|x)"),
    "score_y": ("class score", "the class score ∇ log p(x|y)"),
    "score": ("score", "the score ∇ log p(x)"),
    "network_bayes_gradient": ("network's Bayes gradient", "the trained network's ∇ log p(y|x)"),
    "network_score_y": ("network's class score", "the trained network's ∇ log p(x|y)"),
    "network_score": ("network's score", "the trained network's ∇ log p(x)"),
}
SCALARS = {
    "logp_y": "log p(y|x)",
    "logit_y": "the true class's logit",
    "logit_pred": "the predicted class's logit",
    "sum_logits": "the sum of the logits",
    "lse": "the logits' log-sum-exp",
    "margin": "the margin",
    "loss": "the loss",
    "logits": "the logits",
    "smoothed_logp_y": "the smoothed classifier's log p(y|x)",
}
SCORES = {
    "mfa": "a mixture of factor analysers",
    "exact": "the world's own law, exact",
    "gaussian": "one Gaussian of all images",
    "empirical": "the training images themselves",
}
SHORT_SCORES = {"mfa": "Mixture", "gaussian": "Gaussian", "empirical": "Training images", "exact": "Exact law"}
SUBSPACE_CONTROLS = {
    "shuffled": "another image's tangent space",
    "shuffled_class": "the tangent space of another image of the same class",
    "dct": "the lowest cosine frequencies (DCT)",
    "pca": "one global PCA subspace",
}
TARGET_CONTROLS = {
    "shuffled": "another image's target",
    "shuffled_class": "the target of another image of the same class",
    "phase": "the gradient with its phases drawn anew",
    "random": "a random direction",
    "image": "the image itself",
    "edge": "the image's own high-pass",
    "untrained": "an untrained network's gradient",
}


@dataclass(frozen=True)
class Measure:
    """How the page presents one family of measures.

    Args:
        title: a few words, with the symbol.
        what: one line that defines it; may hold {scalar} and {target}.
        unit: unit and range.
        chance: what a gradient that knows nothing would score.
        better: "higher", "lower" or "neither".
        reading: what the better direction means.
    """

    title: str
    what: str
    unit: str
    chance: str
    better: str
    reading: str


MEASURES = {name: Measure(*texts) for name, texts in TEXTS.items()} | {
    "accuracy": Measure(
        "Accuracy",
        "Share of the test images that get their true class.",
        "fraction, 0 to 1",
        "1 / number of classes",
        "higher",
        "the classifier still does its job",
    ),
    "tangent_fraction": Measure(
        "Tangent fraction F²",
        "Share of the gradient's energy inside the tangent space, ‖Pg‖² / ‖g‖², for the gradient of {scalar}.",
        "fraction, 0 to 1",
        "k/d for a random direction; read it against the equal-rank controls",
        "higher",
        "the gradient lies along the manifold",
    ),
    "kappa": Measure(
        "Off/on energy ratio κ",
        "Gradient energy per dimension off the tangent space, over that on it, pooled over images.",
        "ratio, 0 to ∞",
        "1",
        "lower",
        "below 1, steps along the manifold move the output more than steps off it",
    ),
    "log_kappa": Measure(
        "log κ per image",
        "Natural logarithm of κ, image by image, then averaged.",
        "nats",
        "slightly above 0, see the dashed line",
        "lower",
        "the gradient lies along the manifold",
    ),
    "rho": Measure(
        "Relative off-manifold change ρ",
        "Squared change of {scalar} under the off-tangent part of Gaussian noise, over that under all of it.",
        "ratio; σ in [0, 1] pixel units",
        "1 − k/d",
        "lower",
        "0 is perfect off-manifold robustness",
    ),
    "change_on": Measure(
        "On-manifold change",
        "Change of the softmax after a random step of ℓ₂ length ε inside the tangent space.",
        "L1 distance, 0 to 2; ε in [0, 1] pixel units",
        "equals the off-manifold change",
        "neither",
        "a working classifier must react along the manifold; near 0 it has stopped reacting",
    ),
    "change_curved": Measure(
        "Change along the manifold",
        "Change of the softmax after walking ε along a path that follows the tangent space as it turns.",
        "L1 distance, 0 to 2; ε in [0, 1] pixel units",
        "equals the off-manifold change",
        "neither",
        "what the straight step would show if the manifold were flat",
    ),
    "change_off": Measure(
        "Off-manifold change",
        "Change of the softmax after a random step of ℓ₂ length ε outside the tangent space.",
        "L1 distance, 0 to 2; ε in [0, 1] pixel units",
        "equals the on-manifold change",
        "lower",
        "steps off the manifold do not matter to the classifier",
    ),
    "outside_on": Measure(
        "Pixels outside after an on-manifold step",
        "Share of the pixels that an unclipped step of length ε inside the tangent space puts outside [0, 1].",
        "fraction, 0 to 1; the same for every classifier",
        "none",
        "neither",
        "how far the step leaves the range of images",
    ),
    "outside_off": Measure(
        "Pixels outside after an off-manifold step",
        "Share of the pixels that an unclipped step of length ε outside the tangent space puts outside [0, 1].",
        "fraction, 0 to 1; the same for every classifier",
        "none",
        "neither",
        "how far the step leaves the range of images",
    ),
    "residual_on": Measure(
        "Distance from the manifold after a straight step",
        "Distance of x + εu from the estimator's own reconstruction, u in the tangent space.",
        "ℓ₂, [0, 1] pixel units; the same for every classifier",
        "none",
        "neither",
        "how far a straight step leaves the manifold",
    ),
    "residual_curved": Measure(
        "Distance from the manifold after a curved step",
        "Distance of the end of a path of length ε along the manifold from the estimator's own reconstruction.",
        "ℓ₂, [0, 1] pixel units; the same for every classifier",
        "none",
        "neither",
        "how far a curved step leaves the manifold",
    ),
    "working_share": Measure(
        "Gradient at the working size",
        "Share of the gradient's energy in what resizing to the working size keeps, ‖P g‖² / ‖g‖², for the gradient of "
        "{scalar}; F², κ and alignments are of that part.",
        "fraction, 0 to 1",
        "pixels of the working size over those of the images",
        "neither",
        "how much of the gradient the other numbers speak of",
    ),
    "signal_fraction": Measure(
        "Gradient on the signal",
        "Share of the gradient's energy on the signal's pixels, ‖m ⊙ g‖² / ‖g‖², for the gradient of {scalar}.",
        "fraction, 0 to 1",
        "the signal's share of the pixels",
        "higher",
        "the gradient lies on what the class depends on",
    ),
    "noise_signal": Measure(
        "Change under noise on the signal",
        "Change of the softmax under Gaussian noise of size σ on the signal's pixels, not clipped.",
        "L1 distance, 0 to 2; σ in [0, 1] pixel units",
        "equals the change under noise on the distractor",
        "neither",
        "a working classifier must react to its signal",
    ),
    "noise_distractor": Measure(
        "Change under noise on the distractor",
        "Change of the softmax under Gaussian noise of size σ on the distractor's pixels, not clipped.",
        "L1 distance, 0 to 2; σ in [0, 1] pixel units",
        "equals the change under noise on the signal",
        "lower",
        "noise on what says nothing of the class leaves the answer alone",
    ),
    "relative_noise": Measure(
        "Relative noise robustness",
        "Change of the softmax under noise of size σ on the signal's pixels, over that on the distractor's; pooled.",
        "ratio, 0 to ∞; σ in [0, 1] pixel units",
        "1: both parts matter alike",
        "higher",
        "the classifier answers to the signal, not to the distractor",
    ),
    "alignment_cosine": Measure(
        "Cosine with the {target}",
        "Signed cosine between the gradient of {scalar} and {target_long} at noise σ.",
        "cosine, −1 to 1",
        "0 for a random direction; read it against the shuffled control",
        "higher",
        "the gradient points where the data density says",
    ),
    "alignment_lpips": Measure(
        "1 − LPIPS with the {target}",
        "Perceptual similarity (LPIPS-Alex) of the gradient of {scalar} to {target_long} at noise σ, as pictures.",
        "similarity, at most 1",
        "no fixed level; read it against the shuffled control",
        "higher",
        "the gradient looks like the target",
    ),
}


def _similarity(name: str) -> Measure:
    """The texts of a metric from its row in the registry."""
    metric = METRICS[name]
    chance = "no fixed level" if metric.chance is None else f"{metric.chance:g} for a random direction"
    if name == "retrieval":
        chance = "1/n, n the number of candidates"
    low = "" if math.isinf(metric.low) else f"{metric.low:g} to "
    return Measure(
        f"{metric.title[0].upper()}{metric.title[1:]}, {{target}}",
        f"The gradient of {{scalar}} and {{target_long}} at noise σ: {metric.title} ({metric.reference}).",
        f"{metric.unit}, {low or 'at most '}{metric.high:g}",
        f"{chance}; read it against the shuffled control",
        "higher",
        "the gradient looks like the target",
    )


MEASURES |= {metric_family(name): _similarity(name) for name in METRICS if metric_family(name) not in MEASURES}


@dataclass(frozen=True)
class Key:
    """A measure's key, taken apart: "alignment_cosine.logp_y.score.sigma=0.5.shuffled" and its like."""

    text: str
    family: str
    scalar: str
    target: str
    parameter: str
    value: float | None
    control: str
    tangents: str = ""
    variant: str = ""

    @property
    def panel(self) -> str:
        """What shares one set of axes: everything but parameter and control."""
        return ".".join(part for part in (self.family, self.variant, self.scalar, self.target) if part)

    @property
    def base(self) -> str:
        """The key without its control."""
        return self.text.removesuffix(f".{self.control}") if self.control else self.text


def parse(text: str) -> Key:
    """Take a key apart; a dot inside a number does not split."""
    estimator = re.search(r"\.tangents=([\w-]+)", text)
    normalisation = re.search(r"\.norm=([a-z]+\d*(?:\.\d+)?)", text)
    bare = text
    for found in (estimator, normalisation):
        bare = bare if found is None else bare.replace(found[0], "")
    parts = re.split(r"\.(?=[A-Za-z])", bare)
    (family, _, band), rest = parts[0].partition("."), parts[1:]
    variant = ".".join(part for part in (band, normalisation[1] if normalisation else "") if part)
    at = next((i for i, part in enumerate(rest) if "=" in part), None)
    if at is None:
        names, parameter, value, controls = rest[:1], "", None, rest[1:]
    else:
        parameter, _, number = rest[at].partition("=")
        settings = [part for part in rest[at + 1 :] if "=" in part]  # of what is on the axis: "sigma=0.25"
        names, value = rest[:at] + settings, float(number)
        controls = [part for part in rest[at + 1 :] if "=" not in part]
    scalar, target = [*names, "", ""][:2]
    tangents = estimator[1] if estimator else ""
    return Key(text, family, scalar, target, parameter, value, ".".join(controls), tangents, variant)


def describe(key: Key) -> Measure:
    """The measure's texts with its scalar and target filled in; a measure unknown here is shown by its key."""
    known = MEASURES.get(key.family)
    if known is None:
        return Measure(
            key.panel, "A measure of a registry entry that this page has no text for.", "", "", "neither", ""
        )
    target, target_long = TARGETS.get(key.target, (key.target or "target", key.target or "the target"))
    scalar = SCALARS.get(key.scalar, key.scalar or "the chosen scalar")
    fill = {"scalar": scalar, "target": target, "target_long": target_long}
    variant = f" ({key.variant})" if key.variant else ""
    return Measure(
        known.title.format(**fill) + variant,
        known.what.format(**fill),
        known.unit,
        known.chance,
        known.better,
        known.reading,
    )


def trained(trials: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The trials that are networks someone trained."""
    return [trial for trial in trials if trial["objective"] not in REFERENCES]


def swept(trials: Iterable[Mapping[str, Any]]) -> list[str]:
    """The objectives that have a strength axis, in the order of the summary."""
    return [o for o in dict.fromkeys(trial["objective"] for trial in trained(trials)) if o != STANDARD]


def objective_name(objective: str) -> str:
    """An objective in words; behind a dash stands what sets it apart from others of its name."""
    if objective in REFERENCES:
        return REFERENCES[objective][0]
    name, _, variant = objective.partition("-")
    words = OBJECTIVES.get(name, name.replace("_", " "))
    notes = ["as published" if part == "pags" else f"options {part}" for part in variant.split("-") if part]
    return f"{words} ({', '.join(notes)})" if notes else words


def control_name(control: str | None, family: str = "tangent_fraction") -> str:
    """A control in words; what is shuffled depends on the measure."""
    if control is None:
        return "an undefined control"
    names = SUBSPACE_CONTROLS if family == "tangent_fraction" else TARGET_CONTROLS
    return names.get(control, control.replace("_", " "))


def short_label(key: Key) -> str:
    """A measure with its target and its parameter, short enough for an axis: "cos Bayes gradient, σ = 0.5"."""
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
