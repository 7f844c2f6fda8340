"""Test images that are damaged and restored: denoising, inpainting, super-resolution."""

from __future__ import annotations

import torch
from torch import Tensor

from tangency.generate import (
    AveragePool,
    Box,
    Conditional,
    Restored,
    denoise,
    energy_denoise,
    estimate_noise,
    first_guess,
    make_mask,
    restore,
    restore_by_score,
)
from tangency.generate.operators import Operator
from tangency.numerics import flat, noise_levels, per_example
from tangency.score import MixtureScore
from tangency.seeding import Draw
from tangency.study.generation_shop import START, TRUTH, Outcome, Workshop, in_words

_GRID = 200  # levels in a unit of σ at which the mixture is asked where each image has a σ of its own


def denoised(shop: Workshop, x: Tensor, y: Tensor, draw: Draw) -> Outcome:
    """Gaussian noise is added, then removed."""
    config, climb, inside = shop.config, shop.config.climb, Box(shop.config.climb.bounds)
    noisy = x + config.sigma * draw.of("noise to remove").normal(x.shape[1:], x.dtype)
    oracle = y if config.label == "oracle" else None
    outcome = Outcome(y)
    outcome.add(TRUTH, x, "test images")
    outcome.add(START, inside(noisy), f"with noise of σ = {config.sigma:g}, clipped to the range of pixels")
    for source, (network, words) in shop.networks.items():
        found = denoise(
            network,
            noisy,
            climb,
            draw=draw,
            sigma=None if config.blind else config.sigma,
            label=config.label,
            y=oracle,
            likelihood=config.method == "map",
        )
        if config.method == "tweedie":
            once = inside(energy_denoise(network, noisy, found.sigma, oracle))
            lost = ~once.isfinite().flatten(1).all(1)
            kept = torch.where(per_example(lost, once), inside(noisy), once)
            outcome.add(source, kept, f"one step of σ²∇ of {words}", 1, diverged=lost)
        else:
            outcome.add_ascent(source, found.ascent, f"{in_words(climb, words, config.label)}, method {config.method}")
        outcome.columns[source]["assumed_sigma"] = found.sigma
    levels = noise_levels(estimate_noise(noisy) if config.blind else config.sigma, noisy).to(noisy.dtype).double()
    if config.blind:
        levels = (levels * _GRID).round() / _GRID
    if shop.mixture is not None:
        exact = MixtureScore(shop.mixture).denoise(noisy, levels.clamp(min=1 / _GRID), oracle)
        outcome.add("mixture", inside(exact), "posterior mean of the mixture")
    if shop.score is not None:
        known = oracle if shop.score.classes else None
        outcome.add("score", inside(shop.score.denoise(noisy, levels, known)), "D(x; σ) of the score", 1)
    return outcome


def restored(shop: Workshop, x: Tensor, y: Tensor, draw: Draw) -> Outcome:
    """Pixels are hidden, or averaged away, then found again."""
    config, climb, inside = shop.config, shop.config.climb, Box(shop.config.climb.bounds)
    inpaint = config.task == "inpaint"
    operator: Operator = (
        make_mask(config.mask, shop.data.test.shape, config.share, draw) if inpaint else AveragePool(config.factor)
    )
    measured = operator.apply(x)
    measured = measured * operator.seen(measured)
    guess = first_guess(operator, measured, x)
    oracle = y if config.label == "oracle" else None
    outcome = Outcome(y)
    outcome.add(TRUTH, x, "test images")
    told = f"the mean of what is known in a {config.mask} mask" if inpaint else f"blocks of {config.factor}² pixels"
    outcome.add(START, guess, told)
    for source, (network, words) in shop.networks.items():
        found: Restored = restore(network, operator, measured, guess, climb, draw=draw, label=config.label, y=oracle)
        outcome.add_ascent(source, found.ascent, in_words(climb, words, config.label))
        outcome.columns[source]["raised_class"] = found.labels
    if shop.mixture is not None:
        exact = Conditional(shop.mixture, operator, measured, oracle).mean()
        outcome.add("mixture", inside(exact), "conditional mean of the mixture")
    if shop.score is not None:
        known = oracle if shop.score.classes else None
        if known is None and shop.score.card.get("unconditional") is False:
            return outcome
        drawn = restore_by_score(shop.score, operator, measured, draw, config.budget, known)
        outcome.add("score", inside(drawn.images), f"a sample, {drawn.how}", drawn.evaluations)
    return outcome


def noise_cosine(found: Tensor, start: Tensor, truth: Tensor) -> Tensor:
    """Cosine of what a restoration changed with what it should have, (N,) float64; NaN where nothing changed."""
    moved, wanted = flat(found - start).double(), flat(truth - start).double()
    return torch.nn.functional.cosine_similarity(moved, wanted, dim=1).where(moved.norm(dim=1) > 0, torch.nan)
