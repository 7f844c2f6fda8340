"""The same tasks by a score: samplers guided by labels, by a classifier, or by a measurement."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from tangency.errors import NumericsError, SpecError
from tangency.generation.operators import Operator
from tangency.score import ClassifierFreeGuided, ClassifierGuided, Denoiser, Sampler
from tangency.score.guidance import DerivedScore
from tangency.seeding import Draw
from tangency.types import Direction, Sigma

_GREY = 0.5


@dataclass(frozen=True)
class ScoreSample:
    """Pictures, and how many evaluations they took.

    Args:
        images: (N, C, H, W) float32, not clipped.
        evaluations: of the denoiser for each image (and as many passes of a guiding classifier, where there is one).
        how: in words.
    """

    images: Tensor
    evaluations: int
    how: str


class CountedScore:
    """A score that counts its evaluations; otherwise the same."""

    def __init__(self, base: Denoiser) -> None:
        self.base, self.count = base, 0
        self.kind, self.shape, self.classes = base.kind, base.shape, base.classes
        self.data_range, self.card = base.data_range, base.card

    def denoise(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """D(x; σ[, y])."""
        self.count += 1
        return self.base.denoise(x, sigma, y)

    def score(self, x: Tensor, sigma: Sigma, y: Tensor | None = None) -> Tensor:
        """s_σ(x)."""
        self.count += 1
        return self.base.score(x, sigma, y)

    def bayes_direction(self, x: Tensor, y: Tensor, sigma: Sigma) -> Direction:
        """∇ log p_σ(y | x)."""
        self.count += 2
        return self.base.bayes_direction(x, y, sigma)


@final
class ConsistentScore(DerivedScore):
    """D(x; σ) with what was measured put in its place: D − A⁺(A D − r), the posterior guidance of DDNM.

    The range of A is taken from the measurement, its null space from the denoiser. It keeps every sample exactly
    consistent and needs no Jacobian of D; its samples are near p(x | r), not exactly from it.

    Args:
        base: any score.
        operator: A.
        measured: r, (N, C, h, w) of the images that are denoised, without noise.

    Source: Wang et al., "Zero-shot image restoration using denoising diffusion null-space model", arXiv 2212.00490.
    """

    kind = "consistent"

    def __init__(self, base: Denoiser, operator: Operator, measured: Tensor) -> None:
        super().__init__(base)
        self.operator, self.measured = operator, measured

    def _denoise(self, x: Tensor, levels: Tensor, y: Tensor | None) -> Tensor:
        return self.operator.project(self.base.denoise(x, levels, y), self.measured.to(x), None)


def sampler_within(score: Denoiser, budget: int, passes: int = 1) -> Sampler:
    """Heun's sampler with as many steps as the budget allows: 2N − 1 evaluations of `passes` answers each.

    Args:
        score: sampling starts no higher than the noise it was trained for.
        budget: evaluations of the network for each image.
        passes: evaluations of the network for one of a guided denoiser.
    """
    steps = max(1, (budget // passes + 1) // 2)
    trained = score.card.get("sigma_range")
    highest = float(trained[1]) if trained else math.inf
    return Sampler(steps, sigma_max=min(Sampler().sigma_max, highest))


def generate_by_score(
    score: Denoiser,
    y: Tensor,
    ids: Tensor,
    budget: int,
    *,
    seed: int = 0,
    guidance: float = 1.0,
    classifier: nn.Module | None = None,
) -> ScoreSample:
    """Images of class y at an equal budget: conditional, classifier-free guided, or guided by a classifier.

    Args:
        score: takes labels, unless a classifier guides.
        y: (N,) classes.
        ids: (N,) identities, which give each image its noise.
        budget: evaluations for each image at most (of the score and of the classifier, each).
        seed: of the noise.
        guidance: classifier-free weight, 1 for none; with a classifier the weight of its gradient.
        classifier: guides the unconditional score, evaluated at D(x; σ), where images are clean.
    """
    counted = CountedScore(score)
    guided: Denoiser = counted
    how, passes = "conditional score", 1
    if classifier is not None:
        guided = ClassifierGuided(counted, classifier, guidance, at="denoised", classes=int(y.max()) + 1)
        how = f"score guided by the classifier, weight {guidance:g}"
    elif not score.classes:
        raise SpecError(
            f"score '{score.kind}': takes no labels, expected a conditional one, or guidance by a classifier."
        )
    elif guidance != 1.0:
        guided, passes = ClassifierFreeGuided(counted, guidance), 2
        how = f"classifier-free guided score, weight {guidance:g}"
    sampler = sampler_within(score, budget, passes)
    images = sampler.sample(guided, ids, y, seed=seed, batch=max(1, len(ids)))
    return ScoreSample(images, counted.count, how)


def restore_by_score(
    score: Denoiser,
    operator: Operator,
    measured: Tensor,
    draw: Draw,
    budget: int,
    y: Tensor | None = None,
    *,
    highest: float = 5.0,
) -> ScoreSample:
    """A sample that agrees with what was measured, at an equal budget (`ConsistentScore`).

    As much noise is put back at every step as the sampler allows: without it, generated and measured
    parts do not become consistent (Lugmayr et al., arXiv 2201.09865).

    Args:
        score: any.
        operator: A.
        measured: (N, C, h, w).
        draw: of the images.
        budget: evaluations for each image at most.
        y: (N,) classes that are known, or None.
        highest: σ to start from at most; at 5 images of [0, 1] are noise.
    """
    if y is None and score.card.get("unconditional") is False:
        raise NumericsError(f"score '{score.kind}': answers with labels only, expected them to be known.")
    counted = CountedScore(score)
    sampler = sampler_within(score, budget)
    sampler = dataclasses.replace(sampler, churn=sampler.steps, sigma_max=min(highest, sampler.sigma_max))
    start = _GREY + sampler.sigma_max * draw.of("sample").normal(score.shape, torch.float64)
    guided = ConsistentScore(counted, operator, measured)
    sample = sampler.run(guided, start, draw.of("sample"), y)
    return ScoreSample(
        operator.project(sample, measured.to(sample), None).float(),
        counted.count,
        "null-space guidance (DDNM), with noise put back",
    )
