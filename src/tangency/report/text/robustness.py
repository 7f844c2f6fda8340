"""What the page says of the measures of robustness: title, definition, unit, chance, better direction, reading."""

from __future__ import annotations

_STEP = "after a random step of ℓ₂ length ε {where} the tangent space"
_WORST = "found by PGD {where}, ‖δ‖₂ ≤ ε, steps of 2.5 ε / steps, not clipped to [0, 1]"
_LOGITS = "ℓ₂ of logits, 0 to ∞; ε in [0, 1] pixel units"
_NATS = "nats, 0 to ∞; ε in [0, 1] pixel units"
_L1 = "L1 distance, 0 to 2; ε in [0, 1] pixel units"
_SHARE = "fraction, 0 to 1; ε in [0, 1] pixel units"
_SIGMA = "fraction, 0 to 1; σ in [0, 1] pixel units"
_GUESS = "1 / number of classes, for a constant answer"
_ON = "a working classifier must react along the manifold; near 0 it has stopped reacting"
_OFF = "steps off the manifold do not matter to the classifier"
# family: title, what, unit, chance, better, reading
TEXTS: dict[str, tuple[str, str, str, str, str, str]] = {
    "logit_change_on": (
        "On-manifold change of the logits",
        f"Length of the change of the logits {_STEP.format(where='inside')}.",
        _LOGITS,
        "equals the off-manifold change",
        "neither",
        _ON,
    ),
    "logit_change_off": (
        "Off-manifold change of the logits",
        f"Length of the change of the logits {_STEP.format(where='outside')}.",
        _LOGITS,
        "equals the on-manifold change",
        "lower",
        _OFF,
    ),
    "logit_change_curved": (
        "Change of the logits along the manifold",
        "Length of the change of the logits after walking ε along a path that follows the tangent space as it turns.",
        _LOGITS,
        "equals the off-manifold change",
        "neither",
        "what the straight step would show if the manifold were flat",
    ),
    "kl_on": (
        "On-manifold KL divergence",
        f"KL(p(x) ‖ p(x + εu)) {_STEP.format(where='inside')}.",
        _NATS,
        "equals the off-manifold divergence",
        "neither",
        _ON,
    ),
    "kl_off": (
        "Off-manifold KL divergence",
        f"KL(p(x) ‖ p(x + εu)) {_STEP.format(where='outside')}.",
        _NATS,
        "equals the on-manifold divergence",
        "lower",
        _OFF,
    ),
    "kl_curved": (
        "KL divergence along the manifold",
        "KL(p(x) ‖ p) after walking ε along a path that follows the tangent space as it turns.",
        _NATS,
        "equals the off-manifold divergence",
        "neither",
        "what the straight step would show if the manifold were flat",
    ),
    "accuracy_noise": (
        "Accuracy under noise",
        "Share of the images that get their true class under isotropic Gaussian noise of size σ, not clipped.",
        _SIGMA,
        _GUESS,
        "higher",
        "noise does not change the answer",
    ),
    "change_noise": (
        "Change under noise",
        "Change of the softmax under isotropic Gaussian noise of size σ, not clipped.",
        "L1 distance, 0 to 2; σ in [0, 1] pixel units",
        "none",
        "lower",
        "noise does not change the answer",
    ),
    "worst_on": (
        "Worst on-manifold change",
        f"Change of the softmax at the worst point {_WORST.format(where='inside the tangent space')}.",
        _L1,
        "none: read it against the worst off-manifold change, whose space has d − k dimensions to search",
        "neither",
        _ON,
    ),
    "worst_off": (
        "Worst off-manifold change",
        f"Change of the softmax at the worst point {_WORST.format(where='inside the normal space')}.",
        _L1,
        "none: read it against the worst on-manifold change, whose space has k dimensions to search",
        "lower",
        "no step off the manifold matters to the classifier",
    ),
    "accuracy_worst_on": (
        "Accuracy at the worst on-manifold point",
        f"Share of the images classified rightly at x and at the point {_WORST.format(where='in the tangent space')}.",
        _SHARE,
        _GUESS,
        "neither",
        "0 where the class can be changed along the manifold, as it often should",
    ),
    "accuracy_worst_off": (
        "Accuracy at the worst off-manifold point",
        f"Share of the images classified rightly at x and at the point {_WORST.format(where='in the normal space')}.",
        _SHARE,
        _GUESS,
        "higher",
        "no step off the manifold changes the class",
    ),
    **{
        f"accuracy_{attack}_{norm}": (
            f"Accuracy under {name}, {symbol}",
            f"Share of the images classified rightly at x and at the image that {name} finds, ‖δ‖ ≤ ε in {symbol}, "
            "inside [0, 1]; an upper bound of the true one.",
            _SHARE,
            _GUESS,
            "higher",
            "small worst-case changes leave the class alone",
        )
        for attack, name in (("pgd", "PGD"), ("autoattack", "AutoAttack"))
        for norm, symbol in (("l2", "ℓ₂"), ("linf", "ℓ∞"))
    },
    "accuracy_smoothed": (
        "Accuracy of the smoothed classifier",
        "Share of the images whose certified class under noise of size σ is the true one; abstentions count as wrong.",
        _SIGMA,
        _GUESS,
        "higher",
        "the vote under noise is right",
    ),
    "abstains": (
        "Abstentions of the smoothed classifier",
        "Share of the images for which the votes under noise of size σ prove no class.",
        _SIGMA,
        "none",
        "lower",
        "the vote is clear",
    ),
    "certified_radius": (
        "Certified radius",
        "ℓ₂ radius within which the smoothed classifier's right class cannot change; 0 where it errs or abstains.",
        "ℓ₂ in [0, 1] pixel units; σ likewise",
        "none",
        "higher",
        "proved robustness, at most σ Φ⁻¹(α^(1/n))",
    ),
    "certified_accuracy": (
        "Certified accuracy",
        "Share of the images that the smoothed classifier gets right with a certified ℓ₂ radius above r.",
        "fraction, 0 to 1; radius in [0, 1] pixel units",
        _GUESS,
        "higher",
        "proved robustness",
    ),
}
