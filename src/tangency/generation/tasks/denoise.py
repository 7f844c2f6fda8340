"""Gaussian noise is added to test images, then removed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import NumericsError, SpecError
from tangency.generation.constraints import BallInBox, Box
from tangency.generation.energy import energy_denoise
from tangency.generation.engine import ascend
from tangency.generation.objectives import Objective, WithLikelihood
from tangency.generation.options import Climb, TaskOptions
from tangency.generation.tasks.climb import plan, raised
from tangency.generation.tasks.inputs import START, TRUTH, Outcome, TaskInputs, in_words
from tangency.generation.tasks.restoration import Restoration, Restored, class_objective, true_labels
from tangency.generation.tasks.task import CLIMB
from tangency.numerics import noise_levels, norms, per_example
from tangency.score import MixtureScore
from tangency.seeding import Draw
from tangency.types import Sigma, check_images

_GRID = 200  # levels in a unit of σ of the mixture's denoiser where each image has a σ of its own
_QUARTILE = 0.6744897501960817  # of the absolute value of a standard normal number: its median


class DenoiseTask(Restoration):
    """Gaussian noise is added, then removed, whether its level is known or not."""

    name = "denoise"
    title = "Denoising"
    options = ("sigma", "blind", "method", "label")
    unclimbed = ("radius", "confidence")
    qualities = ("psnr_gain", "psnr", "ssim", "lpips")

    def check(self, options: TaskOptions) -> None:
        """Raise where the method cannot raise what the label says."""
        if options.method == "tweedie" and options.label == "predicted":
            raise SpecError("label: the tweedie method raises the energy; give label energy, or oracle.")

    def moot(self, options: TaskOptions) -> dict[str, str]:
        """As of every restoration; the method "tweedie" has no use for an ascent."""
        moot = super().moot(options)
        if options.method == "tweedie":
            why = "method 'tweedie' is one step"
            moot |= {f"climb.{name}": why for name in CLIMB if name != "bounds"} | {"animation": why}
            moot.pop("label", None)
        return moot

    def smoothing(self, options: TaskOptions) -> float:
        """σ where the task knows it: the Bayes rule is that of noisy images."""
        return 0.0 if options.blind else options.sigma

    def described(self, settings: Mapping[str, Any]) -> str:
        """Noise level, method and label in words."""
        return f"noise of σ = {settings['sigma']:g}, {settings['method']} method, raising the {settings['label']}"

    def apply(self, inputs: TaskInputs, x: Tensor, y: Tensor, draw: Draw) -> Outcome:
        """Add noise to the images and remove it."""
        options, inside = inputs.options, Box(inputs.options.climb.bounds)
        noisy = x + options.sigma * draw.of("noise to remove").normal(x.shape[1:], x.dtype)
        outcome = Outcome(y)
        outcome.add(TRUTH, x, "test images")
        outcome.add(START, inside(noisy), f"with noise of σ = {options.sigma:g}, clipped to the range of pixels")
        for source in inputs.networks:
            _add_network(inputs, outcome, source, noisy, draw)
        _add_references(inputs, outcome, noisy)
        return outcome


def _add_network(inputs: TaskInputs, outcome: Outcome, source: str, noisy: Tensor, draw: Draw) -> None:
    """Add what the gradients of one network make of the noisy images."""
    options, (network, words) = inputs.options, inputs.networks[source]
    climb, inside, oracle = options.climb, Box(options.climb.bounds), true_labels(options, outcome.y)
    sigma, label, likelihood = None if options.blind else options.sigma, options.label, options.method == "map"
    result = denoise(network, noisy, climb, draw=draw, sigma=sigma, label=label, y=oracle, likelihood=likelihood)
    if options.method == "tweedie":
        once = inside(energy_denoise(network, noisy, result.sigma, oracle))
        lost = ~once.isfinite().flatten(1).all(1)
        kept = torch.where(per_example(lost, once), inside(noisy), once)
        outcome.add(source, kept, f"one step of σ²∇ of {words}", 1, diverged=lost)
    else:
        outcome.add_ascent(source, result.ascent, f"{in_words(climb, words, label)}, method {options.method}")
    outcome.columns[source]["assumed_sigma"] = result.sigma


def _add_references(inputs: TaskInputs, outcome: Outcome, noisy: Tensor) -> None:
    """Add what the mixture and the score make of the noisy images."""
    options, inside = inputs.options, Box(inputs.options.climb.bounds)
    oracle = true_labels(options, outcome.y)
    levels = noise_levels(estimate_noise(noisy) if options.blind else options.sigma, noisy)
    levels = levels.to(noisy.dtype).double()
    if options.blind:
        levels = (levels * _GRID).round() / _GRID
    if inputs.mixture is not None:
        exact = MixtureScore(inputs.mixture).denoise(noisy, levels.clamp(min=1 / _GRID), oracle)
        outcome.add("mixture", inside(exact), "posterior mean of the mixture")
    if inputs.score is not None:
        labels = oracle if inputs.score.classes else None
        outcome.add("score", inside(inputs.score.denoise(noisy, levels, labels)), "D(x; σ) of the score", 1)


def denoise(
    model: nn.Module,
    noisy: Tensor,
    climb: Climb,
    *,
    draw: Draw,
    sigma: Sigma | None = None,
    label: str = "energy",
    y: Tensor | None = None,
    likelihood: bool = False,
) -> Restored:
    """Remove Gaussian noise by the classifier's gradients.

    The truth lies σ√d from the noisy image (to a share of 1/√(2d)), so that is the l2 budget, and an image stops once
    it is that far away (Morozov's discrepancy principle). With `likelihood` it climbs objective − ‖x − noisy‖²/(2σ²)
    instead, without a budget: the MAP estimate where the objective is log p.

    Args:
        model: maps (N, C, H, W) to logits; left as it was.
        noisy: (N, C, H, W), not clipped.
        climb: how; its radius is ignored, its default length 2.5 σ√d/steps.
        draw: of the images.
        sigma: noise level, one number or (N,); None estimates it from each image (`estimate_noise`).
        label: "energy" raises the logsumexp, which stands for log p(x), and no class; "predicted" the class that the
            classifier sees in the noisy image, which is no score even of the Bayes rule; "oracle" the true one.
        y: (N,) true classes, for "oracle" only.
        likelihood: see above.
    """
    check_images(noisy, "noisy images", unit_range=False)
    noisy = noisy.detach()
    levels = noise_levels(estimate_noise(noisy) if sigma is None else sigma, noisy).to(noisy.dtype)
    start = Box(climb.bounds)(noisy)
    labels, prior = class_objective(model, start, climb, label, y)
    reach = levels * math.sqrt(noisy[0].numel()) if len(noisy) else levels
    if likelihood:  # an image without noise is its own MAP estimate
        start, how = noisy, plan(climb, reach, Box(climb.bounds))
        objective: Objective = WithLikelihood(prior, noisy, levels.clamp(min=1e-12))
    else:
        ball = BallInBox(noisy, reach, "l2", climb.bounds)
        how = plan(climb, reach, ball, lambda x, value: norms(x - noisy) >= reach * (1 - 1e-5))
        objective = prior
    return Restored(ascend(raised(climb, objective), start, how, draw=draw, models=(model,)), labels, levels)


def estimate_noise(x: Tensor) -> Tensor:
    """σ̂ = median |(a − b − c + d)/2| / 0.6745 over 2×2 blocks: the finest diagonal Haar coefficients, (N,).

    Unbiased for white Gaussian noise on an image that is linear over most blocks; fine texture reads as noise, and
    noise that was clipped at black or white is underestimated (so give it images before they are clipped).

    Args:
        x: (N, C, H, W), sides of at least 2 pixels; an odd last row or column is left out.

    Returns:
        (N,) in the unit of x.

    Source: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994.

    Example:
        >>> import torch
        >>> from tangency.seeding import Draw
        >>> noise = 0.2 * Draw(0, torch.arange(3)).normal((1, 64, 64))
        >>> bool(((estimate_noise(0.5 + noise) - 0.2).abs() < 0.02).all())
        True
    """
    if x.dim() != 4 or min(x.shape[2:]) < 2:
        raise NumericsError(f"noise level: got shape {tuple(x.shape)}, expected (N, C, H, W) with sides of at least 2.")
    height, width = (side - side % 2 for side in x.shape[2:])
    a, b = x[:, :, 0:height:2, 0:width:2], x[:, :, 0:height:2, 1:width:2]
    c, d = x[:, :, 1:height:2, 0:width:2], x[:, :, 1:height:2, 1:width:2]
    detail = ((a - b - c + d) / 2).flatten(1).abs()
    return detail.median(1).values / _QUARTILE
