"""Losses at worst-case perturbations, besides those of `losses`: of the prediction, and within a tangent space."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tangency.attacks import Threat
from tangency.attacks.pgd import attack as attacked
from tangency.autodiff import undisturbed
from tangency.numerics import flat
from tangency.objectives.cost import FORWARD, INPUT_GRADIENT, declare, positive
from tangency.objectives.coupling import layer_chance, repeat_chance, wide, with_penalty
from tangency.objectives.losses import INNER_ATTACK, InnerAttack, attacked_passes, cross_entropy
from tangency.objectives.projected import part_of, spaces_at
from tangency.seeding import Draw
from tangency.tangents import TangentEstimator

_needs_budget = positive("epsilon")


def _passes(options: Mapping[str, Any], classes: int) -> float:
    """Two passes, an input gradient for each step, and the prediction at x that the attack moves away from."""
    return 2 + FORWARD + int(options["steps"]) * INPUT_GRADIENT


def _refused(options: Mapping[str, Any]) -> str:
    if not options["random_start"]:
        return "random_start is false, expected true, since the divergence has no gradient at δ = 0, its minimum."
    return _needs_budget(options)


@declare(_passes, _refused)
def trades(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    draw: Draw,
    strength: float,
    *,
    epsilon: float = 0.5,
    norm: Literal["l2", "linf"] = "l2",
    attack: InnerAttack = INNER_ATTACK,
) -> Tensor:
    """ℓ_i + strength · max over ‖δ_i‖ ≤ epsilon of KL(p(·|x_i) ‖ p(·|x_i + δ_i)), the maximum by PGD for each image.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        draw: random numbers of the attack's starts, by image id.
        strength: weight of the divergence, ≥ 0: the published β = 1/λ.
        epsilon: budget of each image, > 0, in [0, 1] pixel units of the norm.
        norm: "l2" or "linf".
        attack: its steps; it runs in eval mode, and starts at random, since δ = 0 is the minimum of the divergence.

    Returns:
        (N,) losses. Gradients reach the parameters through both predictions.

    Example:
        >>> model, ids = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.arange(5)
        >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
        >>> bool((trades(model, x, y, Draw(0, ids), 6.0) > cross_entropy(model(x), y)).all())
        True

    Source: Zhang et al., "Theoretically principled trade-off between robustness and accuracy", arXiv 1901.08573.
    Deviation: the attack starts uniformly in the ball, where their code adds noise of 0.001; l2, too; batch
        normalisation uses running statistics in the divergence.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    with undisturbed(model), torch.no_grad():
        prediction = wide(model(x)).log_softmax(1)
    threat = Threat(
        epsilon,
        norm,
        attack.steps,
        attack.relative_step * epsilon / attack.steps,
        (0.0, 1.0) if attack.clip else None,
        attack.random_start,
        raised=lambda logits: divergence(prediction, wide(logits).log_softmax(1)),
    )
    moved = attacked(model, x, y, threat, draw.of("attack")).images
    chance = layer_chance(x.device)

    def parted(logits: Tensor) -> Tensor:
        repeat_chance(chance, x.device)
        return divergence(logits.log_softmax(1), wide(model(moved)).log_softmax(1))

    logits, penalty = with_penalty(model, x, parted)
    return cross_entropy(logits, y) + strength * penalty


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_c p_c (log p_c − log q_c), (N, classes) log-probabilities twice to (N,)."""
    return (first.exp() * (first - second)).sum(1)


WITHIN = InnerAttack(clip=False)


@declare(attacked_passes)
def tangent_attack(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    draw: Draw,
    strength: float,
    *,
    tangents: TangentEstimator,
    part: Literal["on", "off"] = "on",
    attack: InnerAttack = WITHIN,
) -> Tensor:
    """max over ‖δ_i‖₂ ≤ strength, δ_i = Q_i δ_i, of −log p(y_i | x_i + δ_i); Q_i = P_i ("on") or I − P_i ("off").

    P_i projects to the tangent space of the image as it is augmented, or to a sham in its place. Gradients, steps and
    starts are projected, so that perturbations stay in the space exactly. An image that has no such direction, of rank
    0 "on", stays where it is.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        draw: random numbers of the attack's starts; its `ids` are the places of the images in the training data.
        strength: budget of each image, ≥ 0, l2 in [0, 1] pixel units.
        tangents: fixed tangent spaces; of a soft one the span is used.
        part: the space that perturbations are confined to.
        attack: its steps; with clip=True images are clipped to [0, 1], which leaves the space.

    Returns:
        (N,) losses.

    Example:
        >>> import tangency
        >>> from tangency.models import build
        >>> data = tangency.load_data("world:linear?rank=2&classes=2&shape=1x8x8&train=60&test=10")
        >>> model, images = build("convnet", (1, 8, 8), 2), data.train.subset(torch.arange(5))
        >>> x, y, draw = images.images(), images.labels, Draw(0, torch.arange(5))
        >>> exact = tangency.load_tangents("exact", data)
        >>> bool((tangent_attack(model, x, y, draw, 0.5, tangents=exact) > cross_entropy(model(x), y)).all())
        True

    Source: Yi, Lai & Li, "TART: boosting clean accuracy through tangent direction guided adversarial training", arXiv
        2408.14728; attacks on the manifold: Stutz, Hein & Schiele, arXiv 1812.00740.
    Deviation: TART scales the budget of each image by the tangential part of a free attack; here the attack itself is
        confined, so that "on" and "off" can be compared at equal budgets.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    space = dataclasses.replace(spaces_at(tangents, x, draw), weights=None)
    threat = Threat(
        strength,
        "l2",
        attack.steps,
        attack.relative_step * strength / attack.steps,
        (0.0, 1.0) if attack.clip else None,
        attack.random_start,
        project=lambda delta: part_of(flat(delta), space, part).reshape(delta.shape),
    )
    return cross_entropy(model(attacked(model, x, y, threat, draw.of("attack")).images), y)
