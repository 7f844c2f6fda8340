"""Steps that follow a curved manifold, so that a large one stays on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tangency.errors import NumericsError
from tangency.numerics import per_example, unit
from tangency.tangents.space import TangentEstimator
from tangency.tangents.stored import StoredTangents


@runtime_checkable
class Retraction(Protocol):
    """An estimator that can also bring images back to its manifold."""

    def retract(self, x: Tensor) -> Tensor:
        """Points of the manifold near x (N, C, H, W)."""
        ...


def curved_path(
    estimator: TangentEstimator,
    x: Tensor,
    direction: Tensor,
    lengths: Sequence[float],
    substeps: int = 4,
    ids: Tensor | None = None,
) -> list[Tensor]:
    """Images after walking so far along the manifold, each (N, C, H, W): a polygon that turns with the tangent space.

    At every corner the direction is projected on the tangent space there, brought back to the manifold where the
    estimator can (`Retraction`: decode(encode(·)), D(·; σ)), and made a unit vector; a path of length ε has
    `substeps` edges from the length before.

    Args:
        estimator: one that works at any image, so not stored tangent spaces.
        x: (N, C, H, W), where the walk starts.
        direction: (N, C, H, W) unit vectors, tangent at x.
        lengths: l2, rising, in [0, 1] pixel units, each image its own.
        substeps: edges from one length to the next, at least 1; 1 to the first length is the straight step.
        ids: (N,) places of the images, for estimators that draw at random.

    Example:
        >>> from tangency.tangents import WorldTangents
        >>> from tangency.worlds import make_world
        >>> world = make_world("sphere?shape=1x4x4&rank=2&contrast=0.25")  # of radius 1
        >>> x = world.sample(1, seed=0).x
        >>> exact = WorldTangents(world)
        >>> u = exact.at(x).basis[:, :, 0].reshape(x.shape)
        >>> away = [(y - 0.5).norm().item() - 1 for y in curved_path(exact, x, u, [1.0], substeps=50)]
        >>> round(away[0], 2), round((x + u - 0.5).norm().item() - 1, 2)
        (0.01, 0.41)
    """
    if isinstance(estimator, StoredTangents):
        raise NumericsError(
            "curved steps: stored tangent spaces are known at their own images only; name an estimator."
        )
    rising = all(a < b for a, b in pairwise([0.0, *lengths])) and all(map(math.isfinite, lengths))
    if substeps < 1 or not rising:
        raise NumericsError(
            f"curved steps: got lengths {list(lengths)} in {substeps} edges, expected them to rise from 0."
        )
    places, travelled = [], 0.0
    lost = ~torch.isfinite(direction).flatten(1).all(1)  # no direction: NaN in the end
    for length in lengths:
        edge = (length - travelled) / substeps
        for _ in range(substeps):
            ahead = unit(estimator.at(x, ids).project(direction.nan_to_num(0.0)))
            if isinstance(estimator, Retraction):
                whole = ahead.nan_to_num(0.0)
                ahead = unit(estimator.retract(x + edge * whole) - estimator.retract(x))
            lost = lost | ~torch.isfinite(ahead).flatten(1).all(1)
            direction = ahead.masked_fill(per_example(lost, ahead), 0.0)
            x = x + edge * direction
        places.append(x.masked_fill(per_example(lost, x), torch.nan))
        travelled = length
    return places
