"""The penalty on a part of the input gradient: along the tangent space of each image, across it, or all of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from tangency import autodiff
from tangency.devices import arithmetic, autocast
from tangency.numerics import flat
from tangency.objectives.cost import SECOND_ORDER, Options, declare
from tangency.objectives.losses import cross_entropy, losses_and_gradient
from tangency.seeding import Draw
from tangency.tangents import StepwiseTangents, TangentEstimator, TangentSpace

Part = Literal["whole", "on", "off"]
Scalar = Literal["loss", "log_odds", "margin", "logit_y"]
_SCALARS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "loss": cross_entropy,
    "log_odds": autodiff.log_odds,
    "margin": partial(autodiff.scalar, "margin"),
    "logit_y": partial(autodiff.scalar, "logit_y"),
}


def part_of(gradients: Tensor, space: TangentSpace, part: Part) -> Tensor:
    """P g or g − P g of gradients (N, d), in float32 whatever the precision of training.

    As matrix products: `TangentSpace.project` takes several times as long with its backward pass.
    """
    with arithmetic(), autocast("float32", gradients.device):
        rows, basis = gradients[:, None], space.basis.to(gradients.dtype)
        along = rows @ basis
        if space.weights is not None:
            along = along * space.weights[:, None].to(along.dtype)
        inside = (along @ basis.mT)[:, 0]
        return inside if part == "on" else gradients - inside


def spaces_at(tangents: TangentEstimator, x: Tensor, draw: Draw) -> TangentSpace:
    """Tangent spaces of the images of a step, as they are augmented, in float32 whatever the precision of training."""
    of_step = tangents.of_step(draw) if isinstance(tangents, StepwiseTangents) else tangents
    with torch.no_grad(), arithmetic(), autocast("float32", x.device):
        return of_step.at(x.detach(), draw.ids)


def _sham_of_the_whole(options: Options) -> str:
    if options["part"] != "whole" or options["sham"] == "none":
        return ""
    return (
        f"got sham {options['sham']} with part whole, which projects on no space that a sham could stand in for, "
        "expected part on or off, or no sham."
    )


@declare(lambda options, classes: SECOND_ORDER, _sham_of_the_whole)
def projected_gradient_norm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    draw: Draw,
    strength: float,
    *,
    tangents: TangentEstimator,
    part: Part = "off",
    scalar: Scalar = "loss",
) -> Tensor:
    """ℓ_i + strength · ‖Q_i ∇_x s_i‖₂², Q_i = P_i ("on"), I − P_i ("off") or I ("whole"), pixels in [0, 1].

    P_i is the tangent space of the image as it is augmented, or a sham in its place; it is constant in the parameters.
    The gradient is taken by double backpropagation, as in `gradient_norm`, which "whole" of the loss is.

    Args:
        model: logits (N, classes) of images.
        x, y: (N, C, H, W) images, (N,) labels.
        draw: of the step; its `ids` are the places of the images in the training data.
        strength: weight of the penalty.
        tangents: fixed tangent spaces.
        part: what is penalised.
        scalar: s, "loss" −log p_y, "log_odds" log p_y/(1 − p_y), "margin" f_y − max f_j, or "logit_y" f_y.

    Returns:
        (N,).

    Source: Drucker & LeCun (1992), double backpropagation; the parts are those that arXiv 2305.19101 measures.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    losses, gradient = losses_and_gradient(model, x, y, _SCALARS[scalar])
    kept = flat(gradient) if part == "whole" else part_of(flat(gradient), spaces_at(tangents, x, draw), part)
    penalty: Tensor = strength * kept.square().sum(1)
    return losses + penalty
