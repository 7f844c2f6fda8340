"""The smoothed classifier: its votes, its certified radii and its gradient (Cohen et al., arXiv 1902.02918)."""

from __future__ import annotations

from torch import Tensor, nn

from tangency.measures.config import MeasureConfig
from tangency.measures.references import References
from tangency.measures.registry import number
from tangency.smoothing import ABSTAIN, Smoothed

Columns = dict[str, Tensor]


def certified(model: nn.Module, references: References, config: MeasureConfig) -> Columns:
    """Accuracy, abstentions, certified radius and certified accuracy of the smoothed classifier, for each σ.

    The radius of an image is that of its right class, 0 where the smoothed classifier abstains or errs; an image is
    certified at radius r where it is classified rightly and its radius is above r.
    """
    asked = config.robustness
    columns: Columns = {}
    for smoothed in _classifiers(model, config):
        found = smoothed.certify(references.x, references.ids, asked.selection, asked.draws, asked.alpha)
        right = found.classes == references.truth
        radius = found.radius.where(right, 0.0)
        key = f"sigma={number(smoothed.sigma)}"
        columns |= {
            f"accuracy_smoothed.{key}": right.double(),
            f"abstains.{key}": (found.classes == ABSTAIN).double(),
            f"certified_radius.{key}": radius,
        }
        for least in asked.radii:
            columns[f"certified_accuracy.radius={number(least)}.{key}"] = (right & (radius > least)).double()
    return columns


def smoothed_gradients(model: nn.Module, references: References, config: MeasureConfig) -> dict[str, Tensor]:
    """Name to gradient (N, C, H, W) of the smoothed classifier's log p̄_y, for each σ."""
    if not config.robustness.gradient_draws:
        return {}
    return {
        f"smoothed_logp_y.sigma={number(smoothed.sigma)}": smoothed.gradient(
            references.x, references.y, references.ids, config.robustness.gradient_draws
        ).direction
        for smoothed in _classifiers(model, config)
    }


def _classifiers(model: nn.Module, config: MeasureConfig) -> list[Smoothed]:
    if "smoothing" not in config.robustness.attacks:
        return []
    return [Smoothed(model, sigma, config.seed) for sigma in config.robustness.sigmas]
