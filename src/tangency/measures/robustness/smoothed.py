"""The smoothed classifier: its votes, its certified radii and its gradient (Cohen et al., arXiv 1902.02918)."""

from __future__ import annotations

from torch import Tensor

from tangency.measures.batch import Batch
from tangency.measures.definition import INF, Columns, Measure, Scale, guessing
from tangency.measures.keys import Key
from tangency.smoothing import ABSTAIN, Smoothed


def certified(batch: Batch) -> Columns:
    """Accuracy, abstentions, certified radius and certified accuracy of the smoothed classifier, for each σ.

    The radius of an image is that of its right class, 0 where the smoothed classifier abstains or errs; an image is
    certified at radius r where it is classified rightly and its radius is above r.
    """
    robustness = batch.config.robustness
    columns: Columns = {}
    for smoothed in _classifiers(batch):
        made = smoothed.certify(batch.x, batch.comparison.ids, robustness.selection, robustness.draws, robustness.alpha)
        right = made.classes == batch.truth
        radius = made.radius.where(right, 0.0)
        values = {"accuracy_smoothed": right, "abstains": made.classes == ABSTAIN, "certified_radius": radius}
        columns |= {str(Key(family).at(sigma=smoothed.sigma)): each.double() for family, each in values.items()}
        for least in robustness.radii:
            key = Key("certified_accuracy").at(radius=least, sigma=smoothed.sigma)
            columns[str(key)] = (right & (radius > least)).double()
    return columns


def smoothed_gradients(batch: Batch) -> dict[Key, Tensor]:
    """Gradients (N, C, H, W) of the smoothed classifier's log p̄_y for each σ, by key without family."""
    draws, comparison = batch.config.robustness.gradient_draws, batch.comparison
    return {
        Key("", "smoothed_logp_y").at(sigma=smoothed.sigma): smoothed.gradient(
            batch.x, comparison.y, comparison.ids, draws
        ).direction
        for smoothed in (_classifiers(batch) if draws else ())
    }


def _classifiers(batch: Batch) -> list[Smoothed]:
    if "smoothing" not in batch.config.robustness.attacks:
        return []
    return [Smoothed(batch.model, sigma, batch.config.seed) for sigma in batch.config.robustness.sigmas]


_SHARE = Scale("fraction", 0, 1, "fraction, 0 to 1; σ in [0, 1] pixel units")
_GUESS = "1 / number of classes, for a constant answer"

MEASURES = {
    "accuracy_smoothed": Measure(
        "images that the smoothed classifier gets right and does not abstain from",
        _SHARE,
        "higher",
        certified,
        level=guessing,
        heading="Accuracy of the smoothed classifier",
        what="Share of the images whose certified class under noise of size σ is the true one; abstentions count as "
        "wrong.",
        chance=_GUESS,
        reading="the vote under noise is right",
    ),
    "abstains": Measure(
        "images that the smoothed classifier abstains from",
        _SHARE,
        "lower",
        certified,
        heading="Abstentions of the smoothed classifier",
        what="Share of the images for which the votes under noise of size σ prove no class.",
        reading="the vote is clear",
    ),
    "certified_radius": Measure(
        "certified radius of the right class, 0 where wrong or abstained",
        Scale("l2 in [0, 1] pixels", 0, INF, "ℓ₂ in [0, 1] pixel units; σ likewise"),
        "higher",
        certified,
        heading="Certified radius",
        what="ℓ₂ radius within which the smoothed classifier's right class cannot change; 0 where it errs or abstains.",
        reading="proved robustness, at most σ Φ⁻¹(α^(1/n))",
    ),
    "certified_accuracy": Measure(
        "images classified rightly with a certified radius above r",
        Scale("fraction", 0, 1, "fraction, 0 to 1; radius in [0, 1] pixel units"),
        "higher",
        certified,
        level=guessing,
        heading="Certified accuracy",
        what="Share of the images that the smoothed classifier gets right with a certified ℓ₂ radius above r.",
        chance=_GUESS,
        reading="proved robustness",
    ),
}
