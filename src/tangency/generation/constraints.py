"""Sets that images are kept in: each a function to the nearest image of the set (exactly, for each image)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tangency.attacks.balls import ball
from tangency.errors import NumericsError
from tangency.generation.operators import Operator
from tangency.generation.options import Bounds
from tangency.numerics import norms, per_example

Constraint = Callable[[Tensor], Tensor]


def free(x: Tensor) -> Tensor:
    """No constraint."""
    return x


@dataclass(frozen=True)
class Box:
    """Pixels in [low, high]; everything where bounds is None, as in a world whose images are not confined."""

    bounds: Bounds = (0.0, 1.0)

    def __call__(self, x: Tensor) -> Tensor:
        """x clipped."""
        return x if self.bounds is None else x.clamp(*self.bounds)


@dataclass(frozen=True)
class BallInBox:
    """‖x − centre‖ ≤ radius within bounds: the exact projection on both, also where the centre is out of bounds.

    For l2 the nearest point is clip(x + s(centre − x)) for the least s in [0, 1] that brings it into the ball (the KKT
    conditions are separable), found by bisection. Where no image in bounds is that near, the nearest one is taken.

    Args:
        centre: (N, C, H, W).
        radius: in pixel units, a number or (N,), ≥ 0.
        norm: "l2" or "linf".
        bounds: of pixels; None for none.
    """

    centre: Tensor
    radius: float | Tensor
    norm: str = "l2"
    bounds: Bounds = (0.0, 1.0)

    def __post_init__(self) -> None:
        radius = torch.as_tensor(self.radius)
        if not bool((radius >= 0).all()) or radius.shape not in ((), (len(self.centre),)):
            raise NumericsError(
                f"radius: got {self.radius}, expected a number of at least 0, or one for each of "
                f"{len(self.centre)} images, in [0, 1] pixel units."
            )

    @property
    def reach(self) -> Tensor:
        """Radius of each image, (N,)."""
        return torch.as_tensor(self.radius, dtype=self.centre.dtype, device=self.centre.device).expand(len(self.centre))

    def __call__(self, x: Tensor) -> Tensor:
        """The nearest image of the set, (N, C, H, W)."""
        centre = self.centre.to(x.dtype)
        reach = per_example(self.reach.to(x.dtype), x)
        if self.norm != "l2" or self.bounds is None:
            inside = centre + ball(self.norm).shrink(x - centre, reach)
            return inside if self.bounds is None else inside.clamp(*self.bounds)
        clipped = x.clamp(*self.bounds)
        far = norms(clipped - centre) > reach.flatten()
        if not bool(far.any()):
            return clipped
        low, high = torch.zeros_like(reach), torch.ones_like(reach)
        for _ in range(60 if x.dtype == torch.float64 else 30):
            middle = (low + high) / 2
            outside = per_example(norms((x + middle * (centre - x)).clamp(*self.bounds) - centre), x) > reach
            low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
        nearest = (x + high * (centre - x)).clamp(*self.bounds)
        return torch.where(per_example(far, x), nearest, clipped)


@dataclass(frozen=True)
class Consistent:
    """A x = measured within bounds.

    Args:
        operator: A.
        measured: (N, C, h, w), A of an image within bounds.
        bounds: of pixels; None for none.
    """

    operator: Operator
    measured: Tensor
    bounds: Bounds = (0.0, 1.0)

    def __call__(self, x: Tensor) -> Tensor:
        """The nearest image that agrees with what was measured."""
        return self.operator.project(x, self.measured.to(x.dtype), self.bounds)


@dataclass(frozen=True)
class Both:
    """One constraint after the other: the last one holds exactly."""

    first: Constraint
    last: Constraint

    def __call__(self, x: Tensor) -> Tensor:
        """Both projections."""
        return self.last(self.first(x))
