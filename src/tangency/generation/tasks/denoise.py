"""Gaussian noise is added to test images, then removed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tangency.errors import SpecError
from tangency.generation.constraints import BallInBox, Box
from tangency.generation.energy import energy_denoise
from tangency.generation.engine import Ascent, ascend
from tangency.generation.noise import estimate_noise
from tangency.generation.objectives import Objective, WithLikelihood
from tangency.generation.tasks.climb import Climb
from tangency.generation.tasks.inputs import START, TRUTH, Outcome, TaskInputs, in_words
from tangency.generation.tasks.options import TaskOptions
from tangency.generation.tasks.restoration import Restoration, Restored, class_objective
from tangency.generation.tasks.task import CLIMB
from tangency.numerics import noise_levels, norms, per_example
from tangency.score import MixtureScore
from tangency.seeding import Draw
from tangency.types import Sigma, check_images

_GRID = 200  # levels in a unit of σ at which the mixture is asked where each image has a σ of its own


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
        oracle = y if options.label == "oracle" else None
        outcome = Outcome(y)
        outcome.add(TRUTH, x, "test images")
        outcome.add(START, inside(noisy), f"with noise of σ = {options.sigma:g}, clipped to the range of pixels")
        for source, (network, words) in inputs.networks.items():
            _add_network(outcome, source, network, words, options, noisy, oracle, draw)
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
        return outcome


def _add_network(
    outcome: Outcome,
    source: str,
    network: nn.Module,
    words: str,
    options: TaskOptions,
    noisy: Tensor,
    oracle: Tensor | None,
    draw: Draw,
) -> None:
    """What the gradients of one network make of the noisy images."""
    climb, inside = options.climb, Box(options.climb.bounds)
    result = denoise(
        network,
        noisy,
        climb,
        draw=draw,
        sigma=None if options.blind else options.sigma,
        label=options.label,
        y=oracle,
        likelihood=options.method == "map",
    )
    if options.method == "tweedie":
        once = inside(energy_denoise(network, noisy, result.sigma, oracle))
        lost = ~once.isfinite().flatten(1).all(1)
        kept = torch.where(per_example(lost, once), inside(noisy), once)
        outcome.add(source, kept, f"one step of σ²∇ of {words}", 1, diverged=lost)
    else:
        outcome.add_ascent(source, result.ascent, f"{in_words(climb, words, options.label)}, method {options.method}")
    outcome.columns[source]["assumed_sigma"] = result.sigma


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
    labels, objective = class_objective(model, start, climb, label, y)
    reach = levels * math.sqrt(noisy[0].numel()) if len(noisy) else levels
    if likelihood:
        return Restored(_most_likely(model, objective, noisy, levels, reach, climb, draw), labels, levels)

    def arrived(x: Tensor, value: Tensor) -> Tensor:
        return norms(x - noisy) >= reach * (1 - 1e-5)

    plan = climb.plan(reach, BallInBox(noisy, reach, "l2", climb.bounds), arrived)
    return Restored(ascend(climb.raised(objective), start, plan, draw=draw, models=(model,)), labels, levels)


def _most_likely(
    model: nn.Module, prior: Objective, noisy: Tensor, levels: Tensor, reach: Tensor, climb: Climb, draw: Draw
) -> Ascent:
    """The MAP estimate; an image without noise is it already."""
    objective = climb.raised(WithLikelihood(prior, noisy, levels.clamp(min=1e-12)))
    return ascend(objective, noisy, climb.plan(reach, Box(climb.bounds)), draw=draw, models=(model,))
