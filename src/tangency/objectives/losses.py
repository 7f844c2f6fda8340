"""Per-example losses of robust training; the mean over them is what training minimises.

Batch normalisation: the classification loss runs in the mode the model is in and, in train mode, updates the running
statistics once a step. Penalties and attacks use the running statistics, so no image's gradient, difference or attack
depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangency.attacks import pgd
from tangency.autodiff import double_backward
from tangency.numerics import flat
from tangency.objectives.cost import INPUT_GRADIENT, SECOND_ORDER, declare
from tangency.objectives.coupling import batch_coupled, running_statistics, wide
from tangency.seeding import Draw


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """−log p(y|x), (N, classes) × (N,) to (N,)."""
    return F.cross_entropy(logits, y, reduction="none")


def standard(model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float) -> Tensor:
    """ℓ_i = −log p(y_i|x_i)."""
    return cross_entropy(model(x), y)


@declare(lambda options, classes: SECOND_ORDER)
def gradient_norm(model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float) -> Tensor:
    """ℓ_i + strength · ‖∇_x ℓ_i‖₂² (double backpropagation, Drucker & LeCun 1992), pixels in [0, 1].

    The gradient is that of the *sum* of the losses, so it holds each image's own gradient whatever the batch size.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    losses, gradient = losses_and_gradient(model, x, y)
    penalty: Tensor = strength * flat(gradient).square().sum(1)
    return losses + penalty


def losses_and_gradient(
    model: nn.Module, x: Tensor, y: Tensor, scalar: Callable[[Tensor, Tensor], Tensor] = cross_entropy
) -> tuple[Tensor, Tensor]:
    """ℓ_i, (N,), and ∇_x s_i under running statistics, (N, C, H, W), both with their graph to the parameters.

    Args:
        model, x, y: as of the objectives.
        scalar: s, of logits (N, classes) and labels, (N,).
    """
    inputs = x.detach().requires_grad_(True)
    with double_backward(), torch.enable_grad():
        if batch_coupled(model):
            # Before the pass that updates the statistics, which would make each gradient depend on the other images.
            with running_statistics(model):
                penalised = scalar(wide(model(inputs)), y)
            losses = cross_entropy(model(x), y)
        else:
            logits = model(inputs)
            losses = cross_entropy(logits, y)
            penalised = losses if scalar is cross_entropy else scalar(wide(logits), y)
        (gradient,) = torch.autograd.grad(penalised.sum(), inputs, create_graph=True)
    return losses, gradient


@declare(lambda options, classes: 2.0)
def noise_consistency(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, sigma: float = 0.1
) -> Tensor:
    """ℓ_i + strength · ‖f(x_i + sigma n) − f(x_i)‖₂², n ~ N(0, I), f the logits, sigma in units of [0, 1] pixels."""
    if strength == 0:
        return cross_entropy(model(x), y)
    noisy = x + sigma * draw.of("noise").normal(x.shape[1:], x.dtype)
    if batch_coupled(model):
        with running_statistics(model):
            difference = model(noisy) - model(x)
        logits = model(x)
    else:
        logits = model(x)
        difference = model(noisy) - logits
    penalty: Tensor = strength * difference.square().sum(1)
    return cross_entropy(logits, y) + penalty


def noise_augmentation(model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float) -> Tensor:
    """−log p(y_i | x_i + strength · n), n ~ N(0, I), strength in units of [0, 1] pixels; not clipped.

    The paper's figures call it randomized smoothing; that name is kept for the smoothed classifier (vote, certificate).
    """
    return cross_entropy(model(x + strength * draw.of("noise").normal(x.shape[1:], x.dtype)), y)


@dataclass(frozen=True)
class InnerAttack:
    """Options of the attack inside a training step.

    Args:
        steps: of gradient ascent.
        relative_step: length of all steps together, over the budget.
        random_start: whether it starts at a random point of the ball.
        clip: whether images stay in [0, 1]; false for images drawn from a world, which are not confined to it.
    """

    steps: int = 10
    relative_step: float = 2.5
    random_start: bool = True
    clip: bool = True


INNER_ATTACK = InnerAttack()
MIXED = (1 / 8, 1 / 2, 1.0)  # shares of the strength that images are attacked at


def attacked_passes(options: Mapping[str, Any], classes: int) -> float:
    """Of a step at attacked images: an input gradient for each step of the attack, and the step itself."""
    return 1 + int(options["steps"]) * INPUT_GRADIENT


@declare(attacked_passes)
def pgd_l2(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, attack: InnerAttack = INNER_ATTACK
) -> Tensor:
    """max over ‖δ_i‖₂ ≤ strength of −log p(y_i | x_i + δ_i), by PGD for each image (Madry et al., 2018)."""
    return _adversarial("l2", model, x, y, draw, strength, attack)


@declare(attacked_passes)
def pgd_linf(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, attack: InnerAttack = INNER_ATTACK
) -> Tensor:
    """max over ‖δ_i‖_∞ ≤ strength of −log p(y_i | x_i + δ_i); see `pgd_l2`."""
    return _adversarial("linf", model, x, y, draw, strength, attack)


@declare(attacked_passes)
def pgd_l2_mixed(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, attack: InnerAttack = INNER_ATTACK
) -> Tensor:
    """max over ‖δ_i‖₂ ≤ ε_i of −log p(y_i | x_i + δ_i), ε_i uniform on {⅛, ½, 1} · strength for each image and step.

    The shares are those of the budgets 1, 4 and 8 that the paper's code for MNIST with a distractor trains at.
    Deviation: there one of them is the budget of a whole batch, which legacy="pags" does.
    """
    budgets = strength * mixed_shares(draw, x) if strength else 0.0
    return _adversarial("l2", model, x, y, draw, budgets, attack)


def mixed_shares(draw: Draw, x: Tensor) -> Tensor:
    """The share of its strength that each image is attacked at, (N,)."""
    return torch.tensor(MIXED, dtype=x.dtype, device=x.device)[draw.of("budget").integers(len(MIXED))]


def _adversarial(
    norm: str, model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float | Tensor, attack: InnerAttack
) -> Tensor:
    if isinstance(strength, float | int) and strength == 0:
        return cross_entropy(model(x), y)
    ascended = pgd(
        model,
        x,
        y,
        strength,
        norm,
        attack.steps,
        attack.relative_step * strength / max(attack.steps, 1),
        draw=draw.of("attack"),
        random_start=attack.random_start,
        bounds=(0.0, 1.0) if attack.clip else None,
    )
    return cross_entropy(model(ascended.images), y)
