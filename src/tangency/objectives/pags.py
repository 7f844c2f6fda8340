"""The objectives as the paper's published code has them (utils/regularized_loss.py), for comparison only.

All run in the mode the model is in, so in train mode batch normalisation couples the images, and every forward pass
updates its running statistics. The mean over the losses has the published value and parameter gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tangency.attacks import pags_pgd
from tangency.autodiff import double_backward
from tangency.numerics import flat
from tangency.objectives.cost import FORWARD, INPUT_GRADIENT, SECOND_ORDER, declare
from tangency.objectives.losses import cross_entropy, mixed_shares
from tangency.seeding import Draw

# Part of the published penalty; with the mean over the batch it makes the effective weight 1e5 / N².
PENALTY_FACTOR = 1e5
# Strengths above which the published sweep (run_experiments.py) trains at a learning rate that falls as 1 / strength.
SLOWED_ABOVE = {"gradient_norm": 0.01, "noise_consistency": 10.0, "pgd_l2": 100.0}


def learning_rate(name: str, strength: float, base: float) -> float:
    """The published rate: base / (strength / s₀) above s₀ = `SLOWED_ABOVE`[name], else base."""
    threshold = SLOWED_ABOVE.get(name, math.inf)
    return base / (strength / threshold) if strength > threshold else base


@declare(lambda options, classes: SECOND_ORDER)
def gradient_norm(model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float) -> Tensor:
    """ℓ_i + strength · 1e5 · ‖∇_{x_i} mean_j ℓ_j‖²; the mean makes it fall with the batch size squared."""
    inputs = x.detach().requires_grad_(True)
    with double_backward(), torch.enable_grad():
        losses = cross_entropy(model(inputs), y)
        (gradient,) = torch.autograd.grad(losses.mean(), inputs, create_graph=True)
    return losses + strength * PENALTY_FACTOR * flat(gradient).square().sum(1)


@declare(lambda options, classes: 2.0)
def noise_consistency(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, sigma: float = 0.1
) -> Tensor:
    """ℓ_i + strength · ‖f(x_i + sigma n) − f(x_i)‖²; batch normalisation also learns from the noisy pass."""
    logits = model(x)
    noisy = model(x + sigma * draw.of("noise").normal(x.shape[1:], x.dtype))
    penalty: Tensor = strength * (noisy - logits).square().sum(1)
    return cross_entropy(logits, y) + penalty


# Each step has an input gradient, and its loss, where it is added, a backward pass to the parameters, too.
@declare(lambda options, classes: 1 + int(options["steps"]) * (1 + FORWARD if options["added"] else INPUT_GRADIENT))
def pgd_l2(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, steps: int = 10, added: bool = True
) -> Tensor:
    """Loss at the published attack; where `added`, its gradient also holds those of the losses the attack ascended.

    The published loop for CIFAR-10 (train_models.py) zeroes the parameters' gradients before the attack, whose backward
    passes add to them; that for ImageNet-64 (train_robust_imagenet.py) zeroes them afterwards. The value is that of the
    final loss, which is what the published code logs.
    """
    images, ascended = pags_pgd(model, x, y, strength, steps, draw=draw.of("attack"))
    losses = cross_entropy(model(images), y)
    if not added:
        return losses
    extra = torch.stack(ascended).sum(0)
    return losses + (extra - extra.detach())


@declare(lambda options, classes: 1 + int(options["steps"]) * INPUT_GRADIENT)
def pgd_l2_mixed(model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, steps: int = 10) -> Tensor:
    """Loss at the published attack whose budget, of the whole batch, is ⅛, ½ or 1 of the strength, by chance.

    The first image of the batch draws it. As notebooks/MNISTDistractorPGDTraining.ipynb has it, the step is
    2.5 · budget / steps, and the gradients of the losses that the attack ascended are not added.
    """
    budget = strength * float(mixed_shares(draw, x)[0])
    images, _ = pags_pgd(model, x, y, budget, steps, draw=draw.of("attack"), relative_step=2.5)
    return cross_entropy(model(images), y)
