"""Images from a score: the probability-flow ODE of Karras et al. (2022), with or without noise put back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from tangency.errors import NumericsError, SpecError
from tangency.score.denoiser import Denoiser
from tangency.score.networks.parametrisation import sigma_steps
from tangency.seeding import Draw
from tangency.types import OnProgress, check_labels

_GREY = 0.5  # centre of the noise of σ_max, in [0, 1] pixel units


@dataclass(frozen=True)
class Sampler:
    """dx/dσ = (x − D(x; σ))/σ from σ_max to 0, by Heun's method of second order.

    Every image has noise of its own, drawn from its identity: image 17 is the same in any batch. The state is float64.

    Args:
        steps: N; a step is two evaluations of D with Heun, the last one: 2N − 1 in all.
        sigma_min, sigma_max: in [0, 1] pixel units (half of Karras et al., whose images lie in [−1, 1]).
        rho: how the steps crowd towards σ_min.
        churn: S_churn: noise put back, N(1 + γ)σ with γ = min(S_churn/N, √2 − 1); 0 is deterministic.
        churn_range: σ between which noise is put back.
        churn_noise: S_noise, standard deviation of it relative to σ.
        solver: "heun", or "euler" of first order.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> ids = torch.arange(4)
        >>> images = Sampler(steps=6).sample(world, ids, y=torch.zeros(4, dtype=torch.int64))
        >>> bool((images[2:] - Sampler(steps=6).sample(world, ids[2:], y=torch.zeros(2).long())).abs().max() < 1e-9)
        True

    Source: algorithms 1 and 2 of arXiv 2206.00364.
    """

    steps: int = 18
    sigma_min: float = 0.001
    sigma_max: float = 40.0
    rho: float = 7.0
    churn: float = 0.0
    churn_range: tuple[float, float] = (0.0, math.inf)
    churn_noise: float = 1.0
    solver: Literal["heun", "euler"] = "heun"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SpecError(f"sampler: got {self.steps} steps, expected at least 1.")
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise SpecError(
                f"sampler: got σ from {self.sigma_min} to {self.sigma_max}, expected 0 < sigma_min < sigma_max."
            )
        if not (self.rho > 0 and self.churn >= 0 and self.churn_noise >= 0):
            raise SpecError(
                f"sampler: got rho {self.rho}, churn {self.churn}, churn_noise {self.churn_noise}; expected rho > 0 "
                "and the others at least 0."
            )
        if self.solver not in ("heun", "euler"):
            raise SpecError(f"sampler: got solver '{self.solver}', expected heun or euler.")

    @property
    def levels(self) -> list[float]:
        """σ_0 = σ_max > … > σ_N = 0."""
        return sigma_steps(self.steps, self.sigma_min, self.sigma_max, self.rho)

    def sample(
        self,
        score: Denoiser,
        ids: Tensor,
        y: Tensor | None = None,
        seed: int = 0,
        batch: int = 64,
        on_progress: OnProgress | None = None,
    ) -> Tensor:
        """Images for the identities `ids` (N,), of classes y (N,) or of no class.

        Args:
            score: evaluated on the device of `ids`.
            ids: identities, whole numbers.
            y: classes.
            seed: of the noise.
            batch: images at once; it changes memory, not results.
            on_progress: called with the number of images and the share that is done.

        Returns:
            (N, C, H, W) float32, not clipped to [0, 1].
        """
        if ids.dim() != 1 or ids.is_floating_point() or batch < 1:
            raise NumericsError(
                f"sampler: got ids {ids.dtype} of shape {tuple(ids.shape)} and batch {batch}, expected whole numbers "
                "(N,) and at least 1."
            )
        if y is not None:
            check_labels(y, len(ids), score.classes)
        parts: list[Tensor] = []
        batches = torch.split(torch.arange(len(ids), device=ids.device), batch)

        def report(_: str, share: float) -> None:
            if on_progress is not None:
                on_progress(f"{len(ids)} images", (len(parts) + share) / len(batches))

        for index in batches if len(ids) else ():
            draw = Draw(seed, ids[index], "sample")
            start = _GREY + self.sigma_max * draw.normal(score.shape, torch.float64)
            parts.append(self.run(score, start, draw, None if y is None else y[index], report).float())
        return torch.cat(parts) if parts else torch.zeros(0, *score.shape, device=ids.device)

    @torch.no_grad()
    def run(
        self,
        score: Denoiser,
        x: Tensor,
        draw: Draw,
        y: Tensor | None = None,
        on_progress: OnProgress | None = None,
    ) -> Tensor:
        """From noisy images x (N, C, H, W) at σ_max down to σ = 0; `draw` gives the noise that is put back."""
        for number, (sigma, below) in enumerate(pairwise(self.levels)):
            x, sigma = self._churned(x, sigma, draw.of("churn", number))
            slope = (x - score.denoise(x, sigma, y)) / sigma
            moved = x + (below - sigma) * slope
            if self.solver == "heun" and below > 0:
                ahead = (moved - score.denoise(moved, below, y)) / below
                moved = x + (below - sigma) * (slope + ahead) / 2
            x = moved
            if on_progress is not None:
                on_progress("steps", (number + 1) / self.steps)
        return x

    def _churned(self, x: Tensor, sigma: float, draw: Draw) -> tuple[Tensor, float]:
        low, high = self.churn_range
        gamma = min(self.churn / self.steps, math.sqrt(2) - 1) if low <= sigma <= high else 0.0
        raised = min(sigma * (1 + gamma), self.sigma_max)  # no σ beyond those that the score was trained for
        if raised <= sigma:
            return x, sigma
        noise = self.churn_noise * draw.normal(x.shape[1:], torch.float64)
        return x + math.sqrt(raised**2 - sigma**2) * noise, raised
