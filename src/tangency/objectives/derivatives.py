"""Penalties on derivatives of the classifier: its logits' Jacobian, and the slope and curvature of its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tangency.autodiff import double_backward
from tangency.devices import arithmetic, autocast
from tangency.numerics import flat, norms, per_example, unit
from tangency.objectives.cost import FORWARD, SECOND_ORDER, declare, positive
from tangency.objectives.coupling import layer_chance, repeat_chance, with_penalty
from tangency.objectives.losses import cross_entropy
from tangency.seeding import Draw


@declare(lambda options, classes: 1 + (classes if options["exact"] else options["projections"]))
def jacobian(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    draw: Draw,
    strength: float,
    *,
    projections: int = 1,
    exact: bool = False,
) -> Tensor:
    """ℓ_i + strength · ‖J_i‖_F², J_i = ∂f(x_i)/∂x of the logits f; estimated as classes · mean_k ‖v_kᵀ J_i‖².

    The v_k are uniform on the unit sphere of the logits, drawn for each image and step, so that the estimate is
    unbiased. Logits are known up to a shift c(x) common to all classes only, and the penalty charges ∇c, too.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        draw: random numbers of the directions, by image id.
        strength: weight of the penalty, ≥ 0; J is per unit of pixel range.
        projections: directions v for an image, ≥ 1.
        exact: the sum over all classes in the place of projections.

    Returns:
        (N,) losses.

    Example:
        >>> model, ids = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.arange(5)
        >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
        >>> penalty = jacobian(model, x, y, Draw(0, ids), 1.0, exact=True) - cross_entropy(model(x), y)
        >>> torch.allclose(penalty, model[1].weight.square().sum().expand(5), atol=1e-5)
        True

    Source: Hoffman, Roberts & Yaida, "Robust learning with Jacobian regularization", arXiv 1908.02729.
    Deviation: theirs is λ/2 times the penalty, so that λ = 2 · strength.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    inputs = x.detach().requires_grad_(True)

    def squared(logits: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        classes = logits.shape[1]
        for k in range(classes if exact else projections):
            if exact:
                along = logits[:, k]
            else:
                direction = unit(draw.of("projection", k).normal((classes,), x.dtype))
                along = (classes / projections) ** 0.5 * (logits * direction).sum(1)
            (row,) = torch.autograd.grad(along.sum(), inputs, create_graph=True)
            total = total + flat(row).square().sum(1)
        return total

    with double_backward(), torch.enable_grad():
        logits, penalty = with_penalty(model, inputs, squared)
    return cross_entropy(logits, y) + strength * penalty


@declare(lambda options, classes: 2 * SECOND_ORDER, positive("h"))
def curvature(model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, h: float = 1.5) -> Tensor:
    """ℓ_i + strength · ‖∇ℓ_i(x_i + h z_i) − ∇ℓ_i(x_i)‖₂², z = sign ∇ℓ_i(x_i)/‖sign ∇ℓ_i(x_i)‖₂, held fixed.

    For small h it is h² ‖H_i z_i‖², with the Hessian H_i of the loss. An image whose gradient is zero has no z, and no
    penalty.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits; with smooth activations, since relu has no curvature
            between its kinks.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        draw: not used.
        strength: weight of the penalty, ≥ 0.
        h: length of the step, > 0, l2 in [0, 1] pixel units; x + h z is not clipped.

    Returns:
        (N,) losses.

    Example:
        >>> model, ids = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.arange(5)
        >>> x, y = torch.rand(5, 1, 2, 2), torch.zeros(5, dtype=torch.int64)
        >>> bool((curvature(model, x, y, Draw(0, ids), 1.0) >= cross_entropy(model(x), y)).all())
        True

    Source: Moosavi-Dezfooli et al., "Robustness via curvature regularization, and vice versa", arXiv 1811.09716.
    Deviation: one h throughout, where theirs rises in the first epochs; the squared norm of their equation, where their
        code has the norm.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    inputs = x.detach().requires_grad_(True)
    with double_backward(), torch.enable_grad():
        chance = layer_chance(x.device)

        def bend(logits: Tensor) -> Tensor:
            (here,) = torch.autograd.grad(cross_entropy(logits, y).sum(), inputs, create_graph=True)
            ahead = x.detach() + h * _direction(here.detach().sign())
            ahead.requires_grad_(True)
            repeat_chance(chance, x.device)
            (there,) = torch.autograd.grad(cross_entropy(model(ahead), y).sum(), ahead, create_graph=True)
            return flat(there - here).square().sum(1)

        logits, penalty = with_penalty(model, inputs, bend)
    return cross_entropy(logits, y) + strength * penalty


# Forward, backward to the input, forward, and the backward pass through both forward ones.
@declare(lambda options, classes: 2 + FORWARD, positive("h"))
def finite_difference_gradient(
    model: nn.Module, x: Tensor, y: Tensor, draw: Draw, strength: float, *, h: float = 0.01
) -> Tensor:
    """ℓ_i + strength · ((ℓ_i(x_i + h d_i) − ℓ_i(x_i))/h)², d = ∇ℓ_i(x_i)/‖∇ℓ_i(x_i)‖₂, held fixed.

    It tends to `gradient_norm` for small h, without a second derivative, which relu lacks and which needs more memory.
    The difference is taken in float32 whatever the precision of training, since bfloat16 would leave its rounding, over
    h. An image whose gradient is zero has no d, and no penalty.

    Args:
        model: maps (N, C, H, W) in [0, 1] to (N, classes) logits.
        x: (N, C, H, W), in [0, 1].
        y: (N,) int64.
        draw: not used.
        strength: weight of the penalty, ≥ 0.
        h: length of the step, > 0, l2 in [0, 1] pixel units; x + h d is not clipped.

    Returns:
        (N,) losses.

    Example:
        >>> from tangency.objectives.losses import gradient_norm
        >>> model, draw = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double(), Draw(0, torch.arange(5))
        >>> x, y = torch.rand(5, 1, 2, 2, dtype=torch.float64), torch.zeros(5, dtype=torch.int64)
        >>> exact = gradient_norm(model, x, y, draw, 1.0)
        >>> torch.allclose(finite_difference_gradient(model, x, y, draw, 1.0, h=1e-4), exact, atol=1e-4)
        True

    Source: Finlay & Oberman, "Scaleable input gradient regularization for adversarial robustness", arXiv 1905.11468,
        their l2 case.
    """
    if strength == 0:
        return cross_entropy(model(x), y)
    inputs = x.detach().requires_grad_(True)
    with arithmetic(), autocast("float32", x.device), torch.enable_grad():
        chance = layer_chance(x.device)

        def slope(logits: Tensor) -> Tensor:
            losses = cross_entropy(logits, y)
            (gradient,) = torch.autograd.grad(losses.sum(), inputs, retain_graph=True)
            repeat_chance(chance, x.device)
            ahead = cross_entropy(model(x.detach() + h * _direction(gradient)), y)
            return ((ahead - losses) / h).square()

        logits, penalty = with_penalty(model, inputs, slope)
    return cross_entropy(logits, y) + strength * penalty


def _direction(vector: Tensor) -> Tensor:
    """Unit vectors (N, …); zero for a zero vector, which has no direction to step in."""
    return torch.where(per_example(norms(vector) > 0, vector), unit(vector), torch.zeros_like(vector))
