"""The norm balls: how to start in one, in which direction a loss grows fastest, and how to get back in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.errors import NumericsError, unknown_name
from tangency.numerics import norms, per_example, unit
from tangency.seeding import Draw


@dataclass(frozen=True)
class Ball:
    """A norm ball of radius one, for each image on its own.

    Args:
        start: draws a point uniformly in the ball, in the shape, dtype and device of the images.
        ascent: gradient (N, …) to the steepest direction of length one, NaN for a zero gradient.
        shrink: (delta, budget) to the nearest perturbation of norm ≤ budget.
    """

    start: Callable[[Draw, Tensor], Tensor]
    ascent: Callable[[Tensor], Tensor]
    shrink: Callable[[Tensor, Tensor], Tensor]


def _l2_start(draw: Draw, x: Tensor) -> Tensor:
    size = x[0].numel() if len(x) else 1
    direction = unit(draw.of("direction").normal(x.shape[1:], x.dtype))
    radius = draw.of("radius").uniform((), x.dtype) ** (1 / size)
    return direction * per_example(radius, x)


def _l2_shrink(delta: Tensor, budget: Tensor) -> Tensor:
    length = per_example(norms(delta), delta)
    # A perturbation inside the ball stays bit for bit what it is.
    return torch.where(length > budget, delta * (budget / length), delta)


def _linf_start(draw: Draw, x: Tensor) -> Tensor:
    return 2 * draw.of("direction").uniform(x.shape[1:], x.dtype) - 1


def _linf_ascent(gradient: Tensor) -> Tensor:
    dead = (gradient == 0).flatten(1).all(1)
    return gradient.sign().masked_fill(per_example(dead, gradient), torch.nan)


def _linf_clip(delta: Tensor, budget: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(delta, -budget), budget)


def _linf_scale(delta: Tensor, budget: Tensor) -> Tensor:
    largest = per_example(delta.flatten(1).abs().amax(1), delta)
    return torch.where(largest > budget, delta * (budget / largest), delta)


_BALLS = {
    "l2": Ball(_l2_start, unit, _l2_shrink),
    "linf": Ball(_linf_start, _linf_ascent, _linf_clip),
}
NORMS = tuple(_BALLS)


def ball(norm: str, preserve_direction: bool = False) -> Ball:
    """The unit ball of a norm, "l2" or "linf"; with `preserve_direction`, `shrink` only scales (keeps a subspace)."""
    if norm not in _BALLS:
        raise NumericsError(unknown_name("norm", norm, NORMS))
    if preserve_direction and norm == "linf":
        return Ball(_linf_start, _linf_ascent, _linf_scale)
    return _BALLS[norm]
