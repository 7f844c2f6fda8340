"""Denoisers made of denoisers: guided by labels, or by a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from tangency.autodiff import input_gradient
from tangency.errors import SpecError
from tangency.numerics import norms, per_example
from tangency.score.denoiser import Denoiser
from tangency.score.derived import ScoreOfDenoiser


class DerivedScore(ScoreOfDenoiser):
    """Shape, classes and range of the score that another is made of."""

    def __init__(self, base: Denoiser, **about: Any) -> None:
        self.base, self._about = base, about

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.base.shape

    @property
    def classes(self) -> int:
        """How many classes it can be given."""
        return self.base.classes

    @property
    def data_range(self) -> tuple[float, float]:
        """What black and white are inside of the score that it is made of."""
        return self.base.data_range

    @property
    def card(self) -> Mapping[str, Any]:
        """Its settings, the limits of what it is made of, and the card of that."""
        limits = {key: self.base.card[key] for key in ("sigma_range", "unconditional") if key in self.base.card}
        return {"kind": self.kind, **self._about, **limits, "base": dict(self.base.card)}

    @property
    def differentiable(self) -> bool:
        """Whether what it is made of is."""
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

    def _answer(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        free = self.base.denoise(x, levels)
        return free if y is None else free + self.weight * (self.base.denoise(x, levels, y) - free)


@final
class ClassifierGuided(DerivedScore):
    """D_w(x; σ, y) = D(x; σ) + w σ² ∇_x log p(y | x) of a classifier, which should know noisy images.

    Args:
        base: an unconditional score of the same images.
        classifier: maps (N, C, H, W) in [0, 1] to logits; asked at x + noise, where it may be a stranger.
        weight: w ≥ 0.
        at: "noisy" asks the classifier at x; "denoised" at D(x; σ), for one that knows clean images only, without
            the Jacobian of D.
        classes: how many it tells apart, where neither base nor classifier says so.

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
        self._classes = base.classes or int(getattr(classifier, "classes", classes))

    @property
    def classes(self) -> int:
        """How many classes the classifier tells apart."""
        return self._classes

    @property
    def differentiable(self) -> bool:
        """The gradient of the classifier is taken as it is, not differentiated again."""
        return False

    def _answer(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        free = self.base.denoise(x, levels)
        if y is None:
            return free
        asked = (x if self.at == "noisy" else free).detach()
        found = input_gradient(self.classifier, asked.float(), y, "logp_y")
        length = torch.where(found.log_norm.isfinite(), found.log_norm.exp(), 0.0)  # no gradient, no guidance
        gradient = found.direction.double() * per_example(length / norms(found.direction).clamp(min=1e-38), x)
        return free + (self.weight * per_example(levels, x) ** 2 * gradient).to(x.dtype)
