"""Denoisers made of denoisers: guided by labels, or by a classifier."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from tangency.autodiff import input_gradient
from tangency.errors import SpecError
from tangency.numerics import norms, per_example
from tangency.score.denoiser import Denoiser
from tangency.score.derived import ScoreOfDenoiser


class DerivedScore(ScoreOfDenoiser):
    """A score made of another, whose shape, classes and range it has."""

    def __init__(self, base: Denoiser, **settings: float | str) -> None:
        self.base, self.shape, self.classes, self.data_range = base, base.shape, base.classes, base.data_range
        limits = {key: base.card[key] for key in ("sigma_range", "unconditional") if key in base.card}
        self.card = {"kind": self.kind, **settings, **limits, "base": dict(base.card)}

    @property
    def differentiable(self) -> bool:
        """Whether its base is."""
        return isinstance(self.base, ScoreOfDenoiser) and self.base.differentiable


@final
class ClassifierFreeGuided(DerivedScore):
    """D_w(x; σ, y) = D(x; σ) + w (D(x; σ, y) − D(x; σ)): 0 ignores the label, 1 is conditional, above 1 exaggerates.

    Not the score of any noised density for w other than 0 and 1.

    Source: Ho and Salimans, arXiv 2207.12598 (their strength is w − 1).
    """

    kind = "classifier-free guided"

    def __init__(self, base: Denoiser, weight: float) -> None:
        if not base.classes:
            raise SpecError(f"classifier-free guidance: '{base.kind}' takes no labels, expected a conditional score.")
        super().__init__(base, weight=weight)
        self.weight = weight

    def _denoise(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        free = self.base.denoise(x, levels)
        return free if y is None else free + self.weight * (self.base.denoise(x, levels, y) - free)


@final
class ClassifierGuided(DerivedScore):
    """D_w(x; σ, y) = D(x; σ) + w σ² ∇_x log p(y | x) of a classifier, which should know noisy images.

    Args:
        base: an unconditional score of the same images.
        classifier: maps (N, C, H, W) in [0, 1] to logits; evaluated at x + noise, which it may not have seen in
            training.
        weight: w ≥ 0.
        at: "noisy" evaluates the classifier at x; "denoised" at D(x; σ), for one that knows clean images only, without
            the Jacobian of D.
        classes: how many it distinguishes, where neither base nor classifier says so.

    Source: Dhariwal and Nichol, arXiv 2105.05233.
    """

    kind = "classifier guided"

    def __init__(
        self, base: Denoiser, classifier: nn.Module, weight: float, at: str = "noisy", classes: int = 0
    ) -> None:
        if at not in ("noisy", "denoised"):
            raise SpecError(f"classifier guidance: got at = '{at}', expected noisy or denoised.")
        super().__init__(base, weight=weight, at=at)
        if not 0 <= weight < torch.inf:
            raise SpecError(f"classifier guidance: got weight {weight}, expected a number of at least 0.")
        self.classifier, self.weight, self.at = classifier, weight, at
        self.classes = base.classes or int(getattr(classifier, "classes", classes))

    @property
    def differentiable(self) -> bool:
        """The gradient of the classifier is taken as it is, not differentiated again."""
        return False

    def _denoise(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        free = self.base.denoise(x, levels)
        if y is None:
            return free
        inputs = (x if self.at == "noisy" else free).detach()
        logp = input_gradient(self.classifier, inputs.float(), y, "logp_y")
        length = torch.where(logp.log_norm.isfinite(), logp.log_norm.exp(), 0.0)  # no gradient, no guidance
        gradient = logp.direction.double() * per_example(length / norms(logp.direction).clamp(min=1e-38), x)
        return free + (self.weight * per_example(levels, x) ** 2 * gradient).to(x.dtype)
