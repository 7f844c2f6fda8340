"""Draws of recipes' numbers: networks and images anew, the same for every recipe, so that recipes can be compared."""

from __future__ import annotations

import numpy as np

from tangency.errors import NumericsError
from tangency.statistics.crossed import image_variances
from tangency.statistics.resamples import Array


class CrossedDraws:
    """Draws of the mean over networks, θ̄ + √(ν/χ²_ν) Σ_s (θ_s − θ̄) z_s/√(S·ν) + c·(image draws), ν = S − 1.

    The second term is multivariate t over recipes: its scale is that of the mean over S seeds, without the factor
    (S − 1)/S of a bootstrap over them, and its tails are those of `crossed`. z and χ² are the same for all numbers of S
    networks, so recipes stay paired by seed. The third are draws of a paired bootstrap over images, less the estimate;
    c makes their variance the part that the networks share, as in `crossed`. One network has no second term: its draws
    are by images.

    Args:
        networks: S ≥ 1.
        replicates: B, as of the draws over images.
        seed: of z and χ².

    Example:
        >>> each = np.array([[1.0] * 501, [3.0] * 501])  # two networks without spread over images
        >>> draws = CrossedDraws(2, 500).of(each, np.zeros((2, 10)))
        >>> float(draws[0]), draws.shape
        (2.0, (501,))

    Source: as `crossed`. Intervals of their percentiles are as wide as its intervals to 2 %, and cover as often.
    """

    def __init__(self, networks: int, replicates: int, seed: int = 0) -> None:
        if networks < 1 or replicates < 1:
            raise NumericsError(
                f"crossed draws: got {networks} networks and {replicates} replicates, expected at least 1 of each."
            )
        rng, nu = np.random.default_rng(seed), networks - 1
        self.weights: Array = np.zeros((networks, 1 + replicates))
        if nu:
            normal = rng.standard_normal((networks, replicates))
            self.weights[:, 1:] = normal / np.sqrt(networks * rng.chisquare(nu, replicates))

    def of(self, draws: Array, influence: Array) -> Array:
        """Draws (1 + B,) of the mean over networks, the mean itself first.

        Args:
            draws: (S, 1 + B), of each network by images alone, its estimate first.
            influence: (S, N), as of `crossed`; an image that is not finite for some network is left out.
        """
        if draws.shape != self.weights.shape or len(influence) != len(draws):
            raise NumericsError(
                f"crossed draws: got draws {draws.shape} and influence {influence.shape}, expected "
                f"{self.weights.shape} and ({len(self.weights)}, N)."
            )
        influence = influence[:, np.isfinite(influence).all(0)]
        whole, common = image_variances(influence) if influence.shape[1] >= 2 else (0.0, 0.0)
        share = (common / whole) ** 0.5 if whole > 0 else 0.0
        return self.of_sets(draws[:, 0], share * (draws.mean(0) - draws[:, 0].mean()))

    def of_sets(self, estimates: Array, by_images: Array) -> Array:
        """The same of estimates (S,) of whole sets, with the draws (1 + B,) of their common image part, 0 first."""
        if estimates.shape != self.weights.shape[:1] or by_images.shape != self.weights.shape[1:]:
            raise NumericsError(
                f"crossed draws: got estimates {estimates.shape} and draws by images {by_images.shape}, expected "
                f"{self.weights.shape[:1]} and {self.weights.shape[1:]}."
            )
        mean = estimates.mean()
        made: Array = mean + (estimates - mean) @ self.weights + by_images
        return made
