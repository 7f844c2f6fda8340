"""The penalty on the angle between an input gradient and a score of the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from tangency.autodiff import log_odds
from tangency.autodiff import scalar as scalar_of
from tangency.devices import arithmetic, autocast
from tangency.numerics import flat, per_example
from tangency.objectives.cost import SECOND_ORDER, declare, positive
from tangency.objectives.losses import cross_entropy, losses_and_gradient
from tangency.score import Denoiser
from tangency.seeding import Draw

# A scalar of the logits, and the log-density whose gradient it would have, were exp f_c(x) the density of x and c.
_SCALARS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "log_odds": log_odds,
    "margin": partial(scalar_of, "margin"),
    "logit_y": partial(scalar_of, "logit_y"),
    "lse": partial(scalar_of, "lse"),
}


@declare(lambda options, classes: SECOND_ORDER, positive("sigma"))
def score_alignment(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    draw: Draw,
    strength: float,
    *,
    score: Denoiser,
    sigma: float = 0.25,
    scalar: Literal["log_odds", "margin", "logit_y", "lse"] = "log_odds",
) -> Tensor:
    """ℓ_i + strength · (1 − cos(∇_x s_i, t_i)), t_i the gradient of the log-density that belongs to the scalar s.

    With f_c read as log p(x, c): "log_odds" log p_y/(1 − p_y) and "margin" f_y − max f_j go with the Bayes direction
    ∇ log p_σ(y | x), "logit_y" f_y with ∇ log p_σ(x | y), "lse" log Σ exp f_c with ∇ log p_σ(x). The score is constant
    in the parameters, and asked in float32 whatever the precision of training. Where a gradient or a target is exactly
    zero there is no angle: the penalty is `strength`, as of a right angle, and has no gradient.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits.
        x: (N, C, H, W), in [0, 1]; the score is taken at the images as they are, without noise.
        y: (N,) int64.
        draw: not used.
        strength: weight of the penalty, ≥ 0.
        score: fixed score of the data, given labels except for "lse".
        sigma: its noise level, > 0, in [0, 1] pixel units.
        scalar: s.

    Returns:
        (N,) losses.

    Example:
        >>> from tangency.worlds import make_world
        >>> world = make_world("linear?rank=3&classes=2&shape=1x8x8")
        >>> drawn, model = world.sample(4, seed=0), nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
        >>> losses = score_alignment(model, drawn.x, drawn.y, Draw(0, torch.arange(4)), 1.0, score=world)
        >>> penalty = losses - cross_entropy(model(drawn.x), drawn.y)
        >>> bool(((penalty >= 0) & (penalty <= 2)).all())
        True

    Source: Ganz, Kawar & Elad, "Do perceptually aligned gradients imply robustness?", arXiv 2207.11378. The reading of
        logits: Grathwohl et al., arXiv 1912.03263.
    Deviation: they align the gradient of every class's logit with a target of that class; here one scalar, of the
        image's own class.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    losses, gradient = losses_and_gradient(model, x, y, _SCALARS[scalar])
    with torch.no_grad(), arithmetic(), autocast("float32", x.device):
        target = _target(score, x.detach(), y, sigma, scalar).to(gradient)
    return losses + strength * (1 - _cosine(gradient, target))


def _target(score: Denoiser, x: Tensor, y: Tensor, sigma: float, scalar: str) -> Tensor:
    if scalar == "lse":
        return score.score(x, sigma)
    return score.score(x, sigma, y) if scalar == "logit_y" else score.bayes_direction(x, y, sigma).direction


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩/(‖a‖‖b‖) of each example, (N, …) to (N,), differentiable; 0 where one of them is exactly zero."""
    dead = (flat(a) == 0).all(1) | (flat(b) == 0).all(1)

    def directed(v: Tensor) -> Tensor:
        safe = torch.where(per_example(dead, v), torch.ones_like(v), v)
        rows = flat(safe / per_example(flat(safe.detach()).abs().amax(1), safe))  # so that squares do not underflow
        length: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return rows / length

    return torch.where(dead, 0.0, (directed(a) * directed(b)).sum(1))
