"""Directions that any good tangent space should hold, known without a classifier or a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tangency.data.search import Neighbours
from tangency.types import LabelledImages

Matrix = Sequence[Sequence[float]]
_PIXELS, _DEGREES, _GROWTH = 0.5, 3.0, 0.03  # steps of the central differences


def neighbour_steps(x: Tensor, ids: Tensor, pool: LabelledImages, count: int = 1) -> Tensor:
    """y − x for the `count` nearest other images y of the pool, (N, count, C, H, W).

    Along a flat manifold without noise they are tangent; curvature and noise turn them off it, for every estimator
    alike.

    Args:
        x: (N, C, H, W), images of the pool at the places ids (N,).
        pool: images that the tangent spaces were not fitted to.
    """
    nearest = Neighbours(pool, x.device).of(x, min(count + 1, len(pool)))
    order = (nearest == ids[:, None]).int().argsort(dim=1, stable=True)  # the image itself goes last, and out
    index = nearest.gather(1, order)[:, :count]
    others = pool.images(index.flatten().cpu()).to(x)
    return others.reshape(len(x), -1, *x.shape[1:]) - x[:, None]


def transformation_steps(x: Tensor) -> Tensor:
    """Derivatives under a shift right, one down, a turn, growth, (N, 4, C, H, W): tangent where the manifold has them.

    Central differences of bilinear resampling, black beyond the edges.

    Source: Simard et al. (1998), transformation invariance in pattern recognition: tangent distance.
    """
    height, width = x.shape[2:]
    turn, growth = math.radians(_DEGREES), _GROWTH
    steps: dict[str, tuple[Matrix, Matrix]] = {
        "shift right": ([[1, 0, -2 * _PIXELS / width], [0, 1, 0]], [[1, 0, 2 * _PIXELS / width], [0, 1, 0]]),
        "shift down": ([[1, 0, 0], [0, 1, -2 * _PIXELS / height]], [[1, 0, 0], [0, 1, 2 * _PIXELS / height]]),
        "turn": (_turned(turn, height, width), _turned(-turn, height, width)),
        "grow": ([[1 - growth, 0, 0], [0, 1 - growth, 0]], [[1 + growth, 0, 0], [0, 1 + growth, 0]]),
    }
    return torch.stack([_moved(x, ahead) - _moved(x, behind) for ahead, behind in steps.values()], 1)


def _turned(angle: float, height: int, width: int) -> Matrix:
    """A rotation in pixels, in the coordinates of an image whose sides are 2."""
    sine, cosine = math.sin(angle), math.cos(angle)
    return [[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]]


def _moved(x: Tensor, matrix: Matrix) -> Tensor:
    theta = torch.tensor(matrix, dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
