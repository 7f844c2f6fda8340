"""The measures of robustness: random steps and noise, worst cases, certificates."""

from __future__ import annotations

from tangency.measures.info import MeasureInfo

_INF = float("inf")
_LOGITS = "l2 of logits"

ROBUSTNESS: dict[str, MeasureInfo] = {
    "logit_change_on": MeasureInfo("logit change (l2) along the manifold", _LOGITS, 0, _INF, "neither"),
    "logit_change_off": MeasureInfo("logit change (l2) off the manifold", _LOGITS, 0, _INF, "lower"),
    "logit_change_curved": MeasureInfo(
        "logit change (l2) along a path that follows the manifold", _LOGITS, 0, _INF, "neither"
    ),
    "kl_on": MeasureInfo("KL(p(x) ‖ p(x + εu)) along the manifold", "nats", 0, _INF, "neither"),
    "kl_off": MeasureInfo("KL(p(x) ‖ p(x + εu)) off the manifold", "nats", 0, _INF, "lower"),
    "kl_curved": MeasureInfo("KL(p(x) ‖ p) along a path that follows the manifold", "nats", 0, _INF, "neither"),
    "accuracy_noise": MeasureInfo("accuracy under isotropic Gaussian noise", "fraction", 0, 1, "higher"),
    "change_noise": MeasureInfo("softmax change (l1) under isotropic Gaussian noise", "probability", 0, 2, "lower"),
    "worst_on": MeasureInfo(
        "softmax change (l1) at the worst case in the tangent space", "probability", 0, 2, "neither"
    ),
    "worst_off": MeasureInfo("softmax change (l1) at the worst case in the normal space", "probability", 0, 2, "lower"),
    "accuracy_worst_on": MeasureInfo("accuracy at the worst case in the tangent space", "fraction", 0, 1, "neither"),
    "accuracy_worst_off": MeasureInfo("accuracy at the worst case in the normal space", "fraction", 0, 1, "higher"),
    "accuracy_pgd_l2": MeasureInfo("accuracy under PGD, l2", "fraction", 0, 1, "higher"),
    "accuracy_pgd_linf": MeasureInfo("accuracy under PGD, linf", "fraction", 0, 1, "higher"),
    "accuracy_autoattack_l2": MeasureInfo("accuracy under AutoAttack, l2", "fraction", 0, 1, "higher"),
    "accuracy_autoattack_linf": MeasureInfo("accuracy under AutoAttack, linf", "fraction", 0, 1, "higher"),
    "accuracy_smoothed": MeasureInfo(
        "images that the smoothed classifier gets right and does not abstain from", "fraction", 0, 1, "higher"
    ),
    "abstains": MeasureInfo("images that the smoothed classifier abstains from", "fraction", 0, 1, "lower"),
    "certified_radius": MeasureInfo(
        "certified radius of the right class, 0 where wrong or abstained", "l2 in [0, 1] pixels", 0, _INF, "higher"
    ),
    "certified_accuracy": MeasureInfo(
        "images classified rightly with a certified radius above r", "fraction", 0, 1, "higher"
    ),
}
