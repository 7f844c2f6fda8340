"""Projected gradient descent with a budget for every image (Madry et al., arXiv 1706.06083)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tangency.attacks.balls import Ball, ball
from tangency.autodiff import log_odds, undisturbed
from tangency.errors import NumericsError
from tangency.numerics import per_example
from tangency.seeding import Draw

Projection = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Attack:
    """What an attack returns.

    Args:
        images: (N, C, H, W), the attacked images, detached.
        stalled: (N,) bool, images whose gradient was zero or not finite at some step, where they could not move.
    """

    images: Tensor
    stalled: Tensor


@dataclass(frozen=True)
class Threat:
    """What an attack may do, and how.

    Args:
        epsilon: budget of each image in pixel units, a number or (N,), ≥ 0.
        norm: "l2" or "linf".
        steps: gradient steps, ≥ 0.
        step_size: length of a step in the norm; 2.5 · epsilon / steps by default.
        bounds: range of the result, reached by clipping after the ball (which clipping does not leave); None for none.
        random_start: uniform in the ball (l2: radius epsilon · U^(1/d)), else δ = 0.
        project: a linear projection of (N, C, H, W) perturbations, for example on tangent spaces. Clipping comes after
            it, so give bounds=None to stay in its range exactly.
        raised: logits (N, classes) to what is raised in the place of the cross-entropy, (N,), each image's of its own
            logits.
    """

    epsilon: float | Tensor
    norm: str = "l2"
    steps: int = 10
    step_size: float | Tensor | None = None
    bounds: tuple[float, float] | None = (0.0, 1.0)
    random_start: bool = True
    project: Projection | None = None
    raised: Callable[[Tensor], Tensor] | None = None


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epsilon: float | Tensor,
    norm: str = "l2",
    steps: int = 10,
    step_size: float | Tensor | None = None,
    *,
    draw: Draw,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    random_start: bool = True,
    project: Projection | None = None,
) -> Attack:
    """Raise the cross-entropy of each image within ‖δ‖ ≤ epsilon: δ ← Π(δ + step_size · direction(∇_δ loss)).

    The direction is g/‖g‖₂ (l2) or sign g (linf). It is taken from −log-odds(y), whose gradient is parallel to that of
    the cross-entropy and, unlike it, does not underflow where p_y rounds to one; so no threshold is needed, and an
    image stalls only where its gradient is exactly zero (or not finite). Every image is attacked on its own: batch size
    and order change nothing but floating-point rounding. The model runs in eval mode with frozen parameters; its mode,
    flags, buffers and `.grad` are left as they were.

    Args:
        model: maps (N, C, H, W) images to (N, classes) logits.
        x: (N, C, H, W), inside `bounds`.
        y: (N,) int64, the labels to move away from.
        epsilon: budget of each image in pixel units, a number or (N,), ≥ 0.
        norm: "l2" or "linf".
        steps: gradient steps, ≥ 0.
        step_size: length of a step in the norm; 2.5 · epsilon / steps by default.
        draw: random numbers of the starts, by image id.
        bounds: range of the result, reached by clipping after the ball (which clipping does not leave); None for none.
        random_start: uniform in the ball (l2: radius epsilon · U^(1/d)), else δ = 0.
        project: a linear projection of (N, C, H, W) perturbations, for example on tangent spaces. Clipping comes after
            it, so give bounds=None to stay in its range exactly.

    Returns:
        Attack, with images in the ball and in `bounds`.

    Raises:
        NumericsError: a negative or non-finite budget, an unknown norm, images outside `bounds`.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        >>> x = torch.rand(5, 3, 2, 2)
        >>> images = pgd(model, x, torch.zeros(5, dtype=torch.int64), 0.1, draw=Draw(0, torch.arange(5))).images
        >>> bool(((images - x).flatten(1).norm(dim=1) <= 0.1001).all())
        True
    """
    return attack(model, x, y, Threat(epsilon, norm, steps, step_size, bounds, random_start, project), draw)


def attack(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, draw: Draw) -> Attack:
    """As `pgd`, with what the attack may do in one object."""
    _check(x, y, threat.steps, threat.bounds)
    limits = ball(threat.norm, preserve_direction=threat.project is not None)
    budget, step_size = _budget(threat.epsilon, x), threat.step_size
    length = 2.5 * budget / max(threat.steps, 1) if step_size is None else _budget(step_size, x, "step_size")
    delta = limits.start(draw.of("start"), x) * budget if threat.random_start else torch.zeros_like(x)
    stalled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    with undisturbed(model):
        delta = _settle(x, delta, budget, limits, threat)
        for _ in range(threat.steps):
            direction, still = _direction(model, x + delta, y, limits, threat)
            stalled |= still
            delta = _settle(x, delta + length * direction, budget, limits, threat)
    images = x.detach() + delta
    return Attack(images if threat.bounds is None else images.clamp(*threat.bounds), stalled)


def _direction(model: nn.Module, x: Tensor, y: Tensor, limits: Ball, threat: Threat) -> tuple[Tensor, Tensor]:
    """Steepest ascent of the loss, (N, C, H, W), and which images have none, (N,) bool; their direction is zero."""
    with torch.enable_grad():
        inputs = x.detach().requires_grad_(True)
        logits = model(inputs.clone())  # a clone, since a model may overwrite its input in place
        loss = -log_odds(logits, y) if threat.raised is None else threat.raised(logits)
        (gradient,) = torch.autograd.grad(loss.sum(), inputs, materialize_grads=True)
    direction = limits.ascent(gradient if threat.project is None else threat.project(gradient))
    still = ~torch.isfinite(direction).flatten(1).all(1)
    return direction.masked_fill(per_example(still, direction), 0.0), still


def _settle(x: Tensor, delta: Tensor, budget: Tensor, limits: Ball, threat: Threat) -> Tensor:
    """The perturbation in the range of `project`, in the ball, and (shrinking it towards x) in the bounds."""
    delta = limits.shrink(delta if threat.project is None else threat.project(delta), budget)
    return delta if threat.bounds is None else (x + delta).clamp(*threat.bounds) - x


def _budget(value: float | Tensor, x: Tensor, what: str = "epsilon") -> Tensor:
    """(N, 1, 1, 1), checked."""
    budget = torch.as_tensor(value, dtype=x.dtype, device=x.device)
    if budget.dim() > 1 or (budget.dim() == 1 and len(budget) != len(x)):
        raise NumericsError(
            f"{what}: got shape {tuple(budget.shape)}, expected a number or ({len(x)},), one per image."
        )
    if not bool((torch.isfinite(budget) & (budget >= 0)).all()):
        raise NumericsError(f"{what}: got {value}, expected finite numbers >= 0, in units of pixels in [0, 1].")
    return per_example(budget.expand(len(x)), x)


def _check(x: Tensor, y: Tensor, steps: int, bounds: tuple[float, float] | None) -> None:
    if steps < 0:
        raise NumericsError(f"steps: got {steps}, expected >= 0.")
    if x.dim() != 4 or y.shape != (len(x),):
        raise NumericsError(
            f"attack: got images {tuple(x.shape)}, labels {tuple(y.shape)}; expected (N, C, H, W), (N,)."
        )
    if bounds is None or not x.numel():
        return
    low, high = float(x.min()), float(x.max())
    if not (bounds[0] - 1e-6 <= low and high <= bounds[1] + 1e-6):  # also catches NaN
        raise NumericsError(
            f"attack: images in [{low:.3g}, {high:.3g}], expected {list(bounds)}. Undo the normalisation and let the "
            "classifier do it, or give the bounds that hold (None for none)."
        )
