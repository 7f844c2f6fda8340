"""Names in words: objectives, references, regimes, targets, scalars, scores and controls."""

from __future__ import annotations

from collections.abc import Mapping

from tangency.measures.registry import measure_of
from tangency.report.read.trials import BAYES, FILTERED, GIVEN, UNTRAINED

OBJECTIVES = {
    "gradient_norm": "gradient norm",
    "noise_consistency": "noise consistency",
    "noise_augmentation": "noise augmentation",
    "pgd_l2": "PGD ℓ₂",
    "pgd_linf": "PGD ℓ∞",
    "pgd_l2_mixed": "PGD ℓ₂ of mixed budgets",
}
# References, for which nothing was trained: name in words, and what stands in place of a regime.
REFERENCE_TEXTS = {
    UNTRAINED: ("untrained", "control"),
    BAYES: ("Bayes rule", "optimum"),
    FILTERED[0]: ("standard, filtered", "control"),
    FILTERED[1]: ("standard, filtered (score)", "control"),
}
REGIMES = {
    "collapsed": ("collapsed", "accuracy is not shown to be above a constant answer's"),
    "weak": ("weak", "alignment is no better than behind a fixed filter; accuracy is kept"),
    "bayes_aligned": ("Bayes-aligned", "alignment is beyond smoothing; accuracy is kept"),
    "excessive": ("excessive", "accuracy is lost, or the alignment of a smaller strength"),
    "undetermined": ("undetermined", "the intervals do not settle it"),
}
ON_MANIFOLD = {  # mark beside the label, in words
    "shown": ("∈", "on-manifold"),
    "shown (global)": ("∈", "on-manifold (global)"),
    "not": ("∉", "not on-manifold"),
    "open": ("?", "on-manifold is open"),
}
KAPPA_REGIMES = {  # what the former rule means by them
    "weak": "κ is not shown to have halved; accuracy is kept",
    "bayes_aligned": "κ has halved; accuracy and on-manifold change are kept",
    "excessive": "accuracy or on-manifold change is lost",
    "undetermined": "the intervals do not settle it",
}
KAPPA_RULE = "rule kappa"  # named with every label of the former rule
TARGETS = {
    "bayes_gradient": ("closed form's Bayes direction", "the closed form's Bayes direction ∇ log p(y|x)"),
    "score_y": ("class score", "the class score ∇ log p(x|y)"),
    "score": ("score", "the score ∇ log p(x)"),
    "network_bayes_gradient": ("trained score's Bayes direction", "the trained score's Bayes direction ∇ log p(y|x)"),
    "network_score_y": ("trained score's class score", "the trained score's ∇ log p(x|y)"),
    "network_score": ("trained score's ∇ log p(x)", "the trained score's ∇ log p(x)"),
}
SCALARS = {
    "logp_y": "log p(y|x)",
    "calibrated_logp_y": "the calibrated log p(y|x)",
    "logit_y": "the true class's logit",
    "logit_pred": "the predicted class's logit",
    "sum_logits": "the sum of the logits",
    "lse": "the logits' log-sum-exp",
    "margin": "the margin",
    "loss": "the loss",
    "logits": "the logits",
    "smoothed_logp_y": "the smoothed classifier's log p(y|x)",
}
PARTS = {  # rows that exist only so that others can be formed from them
    "tangent_rank": "Rank k of the tangent space",
    "rho_off": "Squared change under off-manifold noise",
    "rho_all": "Squared change under all noise",
}
SCORES = {
    "mfa": "a mixture of factor analysers",
    "exact": "the world's own law, exact",
    "gaussian": "one Gaussian of all images",
    "empirical": "the training images themselves",
}
SHORT_SCORES = {"mfa": "Mixture", "gaussian": "Gaussian", "empirical": "Training images", "exact": "Exact law"}


def objective_name(objective: str) -> str:
    """An objective in words; a variant, written after a dash, is named in brackets."""
    if objective in REFERENCE_TEXTS:
        return REFERENCE_TEXTS[objective][0]
    if objective.startswith(GIVEN):
        return f"{objective.removeprefix(GIVEN)} (given)"
    name, _, variant = objective.partition("-")
    words = OBJECTIVES.get(name, name.replace("_", " "))
    notes = [_note(part) for part in variant.split("-") if part]
    return f"{words} ({', '.join(notes)})" if notes else words


def _note(part: str) -> str:
    """What a part of a variant says: legacy, what a control changes (a tag of five letters), or options."""
    return "as published" if part == "pags" else f"control {part}" if len(part) == 5 else f"options {part}"


def control_name(control: str | None, family: str = "tangent_fraction") -> str:
    """A control in words, which are the measure's: tangent spaces or targets may be shuffled."""
    if control is None:
        return "an undefined control"
    return controls_of(family).get(control, control.replace("_", " "))


def controls_of(family: str) -> Mapping[str, str]:
    """Name to words of a measure's controls."""
    measure = measure_of(family)
    return measure.controls if measure else {}
