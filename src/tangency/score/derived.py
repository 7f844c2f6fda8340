"""Score and Bayes gradient of whatever gives D, with every check of its arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import noise_levels, norms, per_example
from tangency.types import Direction, Sigma, check_images, check_labels

_ABOVE = 1 + 1e-6  # rounding of a σ that was computed


class ScoreOfDenoiser(ABC):
    """s = (D − x)/σ² and ∇ log p_σ(y|x) = (D_y − D)/σ², for whatever gives D.

    Arguments are checked here, once: images are finite, of the right shape and at least float32 (in half precision
    (D − x)/σ² has no digit left); σ ≥ 0 and not above the largest of training; labels are in range, and given where D
    needs them. Values of D that are not finite raise an error. For a score D is evaluated in float64, so that the
    difference loses nothing; where that is of no use (`wide` is False), in the precision of the images.

    Attributes:
        kind: short name for specs and reports.
        shape: (C, H, W).
        classes: how many classes it can be given; 0 for none.
        data_range: what black and white are inside of it.
        card: "unconditional" says whether it works without labels, "sigma_range" for which σ it was made.
    """

    kind: str
    shape: tuple[int, int, int]
    classes: int
    data_range: tuple[float, float]
    card: Mapping[str, Any]
    wide = True

    @property
    def differentiable(self) -> bool:
        """Whether D can be differentiated in x."""
        return True

    @abstractmethod
    def _denoise(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        """D(x; σ, y) for checked arguments, σ > 0 of each image (N,) float64."""

    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ) or D(x; σ, y); x itself where σ = 0."""
        levels = self._checked(x, sigma, y)
        if not len(x):
            return x.clone()
        noisy = levels > 0
        denoised = self._denoise(x, torch.where(noisy, levels, 1.0), y).to(x.dtype)
        self._check_finite(denoised)
        return denoised if bool(noisy.all()) else torch.where(per_example(noisy, x), denoised, x)

    def score(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """s_σ(x) = (D − x)/σ², or given y."""
        levels, inputs = self._positive(x, sigma), self._inputs(x)
        return ((self.denoise(inputs, levels, y) - inputs) / per_example(levels, x) ** 2).to(x.dtype)

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: Sigma) -> Direction:
        """∇ log p_σ(y | x) = (D(x; σ, y) − D(x; σ))/σ²: a difference of two values of D, not exact.

        `tangency.score.bayes_gradient` also estimates its error.
        """
        levels, inputs = self._positive(x, sigma), self._inputs(x)
        difference = self.denoise(inputs, levels, y) - self.denoise(inputs, levels)
        return Direction(difference.to(x.dtype), norms(difference).double().log() - 2 * levels.log())

    def targets(self, x: Tensor, y: Tensor, sigma: Sigma, names: Collection[str]) -> dict[str, Tensor]:
        """Several of "score", "score_y" and "bayes_gradient" (a direction), with one value of D(x; σ) and D(x; σ, y).

        Args:
            x: (N, C, H, W).
            y: (N,) labels.
            sigma: in [0, 1] pixel units.
            names: which of them.

        Returns:
            Name to (N, C, H, W), equal to those of `score` and `bayes_direction`.
        """
        levels, inputs = self._positive(x, sigma), self._inputs(x)
        square = per_example(levels, x) ** 2
        free = self.denoise(inputs, levels) if {"score", "bayes_gradient"} & set(names) else inputs
        given = self.denoise(inputs, levels, y) if {"score_y", "bayes_gradient"} & set(names) else inputs
        every = {
            "score": (free - inputs) / square,
            "score_y": (given - inputs) / square,
            "bayes_gradient": given - free,
        }
        return {name: every[name].to(x.dtype) for name in names}

    def _inputs(self, x: Tensor) -> Tensor:
        return x.double() if self.wide else x

    def _positive(self, x: Tensor, sigma: Sigma) -> Tensor:
        levels = noise_levels(sigma, x)
        if not bool((levels > 0).all()):
            raise NumericsError(
                f"sigma: got 0, expected a noise level > 0: '{self.kind}' knows the density of noisy images only."
            )
        return levels

    def _checked(self, x: Tensor, sigma: Sigma, y: Tensor | None) -> Tensor:
        check_images(x, unit_range=False)
        if x.dtype not in (torch.float32, torch.float64):
            raise NumericsError(f"images: got {x.dtype}, expected float32 or float64: x.float() makes them so.")
        if tuple(x.shape[1:]) != tuple(self.shape):
            wanted = ", ".join(map(str, self.shape))
            raise NumericsError(
                f"images: got shape {tuple(x.shape)}, expected (N, {wanted}), the size that '{self.kind}' was made "
                "for. Resize or convert the images, or take a score of their size."
            )
        levels = noise_levels(sigma, x)
        largest = (self.card.get("sigma_range") or (0.0, torch.inf))[1]
        if len(x) and float(levels.max()) > largest * _ABOVE:
            raise NumericsError(
                f"sigma: got {float(levels.max()):g}, expected at most {largest:g} in [0, 1] pixel units, the largest "
                f"that '{self.kind}' was trained for."
            )
        self._check_labels(x, y)
        return levels

    def _check_labels(self, x: Tensor, y: Tensor | None) -> None:
        if y is None and self.card.get("unconditional") is False:
            raise NumericsError(
                f"labels: '{self.kind}' is conditional only and needs labels, expected a class 0 to "
                f"{self.classes - 1} for each image."
            )
        if y is not None and not self.classes:
            raise NumericsError(f"labels: '{self.kind}' takes none, expected y = None.")
        if y is not None:
            check_labels(y, len(x), self.classes)

    def _check_finite(self, denoised: Tensor) -> None:
        if not bool(torch.isfinite(denoised).all()):
            bad = (~torch.isfinite(denoised)).flatten(1).any(1).nonzero().flatten()[:5].tolist()
            raise NumericsError(
                f"'{self.kind}': its values are NaN or infinite for images {bad}; its weights are damaged, or its "
                "training diverged. Take another score."
            )
